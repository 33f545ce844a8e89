r"""Three ways to train the same small generator in the same time: with known codes, with free codes, and as a GAN.

    python -m benchmarks.prior_training --pictures results/prior/pictures_*.h5 \
        --head-model results/head_models/anny.h5 --minutes 20 --out results/benchmarks/prior

``known``: the project's way, z is what each head was drawn from (:mod:`avatar_models.prior.decoder`). ``free``: an
auto-decoder, each training moment has a code of its own that is learnt. ``gan``: z is N(0, 1), a residual discriminator
judges whole pictures; non-saturating loss with R1 (Mescheder et al. 2018), both players take their steps at once. All
are judged by the Fréchet distance of random heads from people kept for the test
(:func:`avatar_models.prior.held_out.picture_features`), and by the pictures, a row each: kept people, then random heads
of each way.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from jaxtyping import Float
from PIL import Image
from tabulate import tabulate
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional

from artifacts.step import run_step
from avatar_models.checkpoint import CheckpointFile
from avatar_models.device import choose_device
from avatar_models.hfa_gp.encoder import PictureEncoder
from avatar_models.prior.decoder import PriorDecoder
from avatar_models.prior.options import PriorOptions, prior_options
from avatar_models.prior.pictures import PriorPictures
from avatar_models.trainer import Training, train
from avatar_models.triplane.generator import TriPlaneGenerator
from head_geometry.head_model import HeadModel

_CODES = 64
_R1_WEIGHT = 1.0
_GAN_RATE = 2e-3
_SHOWN, _SHOWN_SIDE = 8, 96


@dataclass(frozen=True)
class Options:
    """Compare ways to train a prior."""

    pictures: tuple[Path, ...]
    """``prior_pictures`` artifacts."""
    head_model: Path
    """head_model artifact that they were drawn with."""
    out: Path
    """Folder for table and pictures."""
    minutes: float = 20.0
    """Training time of each."""
    ways: tuple[str, ...] = ("known", "free", "gan")
    """Which to train."""
    seed: int = 0
    """Of all randomness."""
    device: str = "auto"
    """auto, cpu or cuda."""


class FreeCodes(PriorDecoder):
    """An auto-decoder: each training moment's z is learnt (Bojanowski et al. 2018)."""

    def __init__(
        self, options: PriorOptions, pictures: PriorPictures, head_model: HeadModel
    ) -> None:
        super().__init__(options, pictures, head_model)
        layout = replace(self.generator.layout, z_dim=_CODES, z_unit_moment=True, person_z=0)
        self.generator = TriPlaneGenerator(layout)
        self.code = nn.Embedding(len(pictures.known), _CODES)

    def parameter_groups(self) -> list[dict[str, object]]:
        """The codes learn ten times as fast as the layers: each is seen rarely."""
        options = self.options
        codes = {
            "params": list(self.code.parameters()),
            "lr": 10 * options.learning_rate,
            "lr_end": 10 * options.learning_rate_end,
        }
        return [*super().parameter_groups(), codes]

    def moment_latents(self, moments: list[int]) -> Float[Tensor, "n latent w"]:
        """Latents of the moments' own codes."""
        return self._mapped(self.code(torch.tensor(moments)))

    def random_latents(self, count: int, generator: torch.Generator) -> Float[Tensor, "n latent w"]:
        """Latents of codes with the mean and covariance of the trained ones."""
        trained = self.code.weight.detach()[torch.from_numpy(self._data.train_moments)]
        root = torch.linalg.cholesky(trained.T.cov() + 1e-6 * torch.eye(_CODES))
        drawn = torch.randn(count, _CODES, generator=generator) @ root.T
        return self._mapped(trained.mean(0) + drawn)

    def test(self) -> tuple[float, float]:
        """Nothing is known of test people: the Fréchet distance alone."""
        return float("nan"), self.test_random()

    def finish(self) -> None:
        """Nothing is kept."""

    def _mapped(self, z: Tensor) -> Tensor:
        label = z.new_zeros(len(z), self.generator.layout.label_dim)
        return self.generator.backbone.mapping(z, label)


class Adversarial(FreeCodes):
    """A GAN at the side that its pictures are judged at."""

    def __init__(
        self, options: PriorOptions, pictures: PriorPictures, head_model: HeadModel
    ) -> None:
        super().__init__(options, pictures, head_model)
        side = self.generator.layout.neural_side
        self.judge = nn.Sequential(PictureEncoder(side, 2048, 128), nn.Linear(128, 1))

    def parameter_groups(self) -> list[dict[str, object]]:
        """Both players at one rate."""
        rates = {"lr": _GAN_RATE, "lr_end": _GAN_RATE, "betas": (0.0, 0.99)}
        mapping = [*self.generator.backbone.mapping.parameters()]
        drawing = [x for x in self.generator.parameters() if not any(x is y for y in mapping)]
        players = [*drawing, *mapping, *self.judge.parameters()]
        return [{"params": players, **rates}]

    def random_latents(self, count: int, generator: torch.Generator) -> Float[Tensor, "n latent w"]:
        """Latents of normal z."""
        return self._mapped(torch.randn(count, _CODES, generator=generator))

    def training_losses(
        self, data: PriorPictures, progress: float, generator: torch.Generator
    ) -> dict[str, Float[Tensor, ""]]:
        """Losses of both players; each is blind to the other's."""
        self._progress = progress
        side, count = self.generator.layout.neural_side, self.options.moments
        chosen = torch.randint(len(data.train_moments), (2, count), generator=generator).tolist()
        shown, seen_by = (
            data.whole(torch.stack([data.views(int(data.train_moments[i]))[0] for i in row]), side)
            for row in chosen
        )
        planes = self.generator.planes(self.random_latents(count, generator))
        drawn = self.generator.renderer().render(planes, seen_by.label, side, generator)
        made = (drawn.features[:, :3] + 1) / 2
        real = shown.colour.requires_grad_()
        verdict = self.judge(real)
        (slope,) = torch.autograd.grad(verdict.sum(), real, create_graph=True)
        fixed = {name: value.detach() for name, value in self.judge.named_parameters()}
        return {
            "generator": functional.softplus(-functional_call(self.judge, fixed, made)).mean(),
            "fake": functional.softplus(self.judge(made.detach())).mean(),
            "real": functional.softplus(-verdict).mean(),
            "r1": 0.5 * _R1_WEIGHT * slope.square().flatten(1).sum(1).mean(),
        }


WAYS = {"known": PriorDecoder, "free": FreeCodes, "gan": Adversarial}


def main(options: Options) -> None:
    """Train each, measure, draw."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    device = choose_device(options.device)
    settings = replace(prior_options("tiny"), max_minutes=options.minutes, steps=10**9)
    data = PriorPictures(list(options.pictures), settings.layout.units_per_metre, device)
    head_model = HeadModel.load(options.head_model)
    options.out.mkdir(parents=True, exist_ok=True)
    views = torch.stack([data.views(int(m))[0] for m in data.test_moments[:_SHOWN]])
    kept = data.whole(views, _SHOWN_SIDE)
    rows, sheet = [], [kept.colour + 1 - kept.alpha]
    for way in options.ways:
        torch.manual_seed(options.seed)
        model = WAYS[way](settings, data, head_model).to(device)
        training = Training(model, settings, data, options.seed)
        checkpoint = CheckpointFile(options.out / f"{way}.checkpoint.pt", repr((settings, way)))
        result = train(training, checkpoint, 1e9)
        psnr, frechet = model.test()
        rows.append((way, training.step, result.training_time_s / 60, psnr, frechet))
        latents = model.random_latents(_SHOWN, torch.Generator().manual_seed(1))
        colour, alpha = model.pictures(latents, kept.label, _SHOWN_SIDE)
        sheet.append(colour + 1 - alpha)
        checkpoint.remove()
    table = tabulate(rows, ("way", "steps", "minutes", "PSNR of kept people", "Fréchet distance"))
    (options.out / "prior_training.txt").write_text(table + "\n")
    picture = torch.cat([torch.cat(list(row), 2) for row in sheet], 1).movedim(0, -1)
    pixels = (picture.clamp(0, 1) * 255).round().byte().cpu().numpy()
    Image.fromarray(pixels).save(options.out / "prior_training.png")
    logging.getLogger(__name__).info("%s", table)


if __name__ == "__main__":
    run_step(Options, main)
