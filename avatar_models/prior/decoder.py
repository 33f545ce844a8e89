"""The own prior while it is trained: what is known of a synthetic head goes in as z, its pictures come out.

A GAN has to find out by itself what faces have in common, from pictures alone; here every picture comes with the shape,
looks, expression and light it was drawn from. Given these as z, the generator learns to draw them by comparing pixels, on
patches of any view, and needs no discriminator.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional

from avatar_models.interface import Trainable
from avatar_models.perceptual import structure_loss
from avatar_models.prior import held_out
from avatar_models.prior.known import Known, count_of_person, importance, largest_movement_m
from avatar_models.prior.options import PriorOptions
from avatar_models.prior.pictures import Patches, PriorPictures
from avatar_models.triplane.generator import TriPlaneGenerator
from head_geometry.head_model import HeadModel

# What is rarely anything but 0 would otherwise be huge when it is not.
_SMALLEST_STD = 0.15
# The curve of the test has at most this many points.
CURVE_POINTS = 25
CURVE_COLUMNS = ("progress", "psnr", "frechet")


class PriorDecoder(Trainable):
    """A generator with the scale of what is known.

    Source: own.

    Attributes:
        generator: The prior.
        curve: Test results over the training, rows of :data:`CURVE_COLUMNS`; NaN where there is none yet.
    """

    known_mean: Tensor
    known_std: Tensor
    known_scale: Tensor
    curve: Tensor

    def __init__(
        self, options: PriorOptions, pictures: PriorPictures, head_model: HeadModel
    ) -> None:
        super().__init__()
        self.options = options
        self.parts = options.parts
        self._data, self._progress = pictures, 0.0
        layout = replace(
            options.layout,
            z_dim=len(pictures.known_name),
            person_z=count_of_person(pictures.known_name),
            origin_m=pictures.origin_m,
        )
        self.generator = TriPlaneGenerator(layout)
        known = pictures.known[torch.from_numpy(pictures.train_moments)]
        self.register_buffer("known_mean", known.mean(0))
        self.register_buffer("known_std", known.std(0).clamp_min(_SMALLEST_STD))
        moves_m = known.std(0) * largest_movement_m(head_model, pictures.known_name).to(known)
        self.register_buffer("known_scale", importance(moves_m))
        self.register_buffer("curve", torch.full((CURVE_POINTS, len(CURVE_COLUMNS)), torch.nan))

    def known(self, head_model: HeadModel) -> Known:
        """What the numbers of z mean."""
        return Known(
            self._data.known_name,
            tuple(self.known_mean.tolist()),
            tuple(self.known_std.tolist()),
            head_model.expression_name,
            head_model.joint_name,
        )

    def parameter_groups(self) -> list[dict[str, object]]:
        """All layers learn at one speed: what the mapping's stored weights are multiplied by is undone."""
        options, mapping = self.options, self.generator.backbone.mapping
        slow = [x for name, x in mapping.named_parameters() if name.startswith("fc")]
        rest = [x for x in self.generator.parameters() if not any(x is other for other in slow)]
        return [
            {
                "params": parameters,
                "lr": factor * options.learning_rate,
                "lr_end": factor * options.learning_rate_end,
                "betas": (0.0, 0.99),
            }
            for parameters, factor in (
                (rest, 1.0),
                (slow, options.mapping_speed),
            )
        ]

    def latents(self, known: Float[Tensor, "n known"]) -> Float[Tensor, "n latent w"]:
        """Latents of what is known of some pictures."""
        z = (known - self.known_mean) / self.known_std * self.known_scale
        label = z.new_zeros(len(z), self.generator.layout.label_dim)
        return self.generator.backbone.mapping(z, label)

    def moment_latents(self, moments: list[int]) -> Float[Tensor, "n latent w"]:
        """Latents that training moments are drawn from."""
        return self.latents(self._data.known[moments])

    def random_latents(self, count: int, generator: torch.Generator) -> Float[Tensor, "n latent w"]:
        """Latents of heads that nobody has drawn."""
        return self.latents(held_out.recombined(self._data, count, generator))

    def training_losses(
        self, data: PriorPictures, progress: float, generator: torch.Generator
    ) -> dict[str, Float[Tensor, ""]]:
        """Differences of colour, of structure and of opacity, on patches of a few moments."""
        options = self.options
        self._progress = progress
        draw = {"generator": generator, "device": data.device}
        chosen = torch.randint(len(data.train_moments), (options.moments,), **draw).tolist()
        moments = [int(data.train_moments[index]) for index in chosen]
        latents = self.moment_latents(moments)
        # Convolutions take half the time in bfloat16; rendering stays in float32.
        with torch.autocast(data.device.type, torch.bfloat16, enabled=options.mixed_precision):
            planes = self.generator.planes(latents).float()
        patches = [
            data.patches(self._views(data.views(moment), generator), options.patch, generator)
            for moment in moments
        ]
        label = torch.cat([patch.label for patch in patches])
        seen = self.generator.renderer().render(planes, label, options.patch, generator)
        wanted = Patches(
            torch.cat([patch.colour for patch in patches]),
            torch.cat([patch.alpha for patch in patches]),
            label,
        )
        colour = (seen.features[:, :3] + 1) / 2
        # Squares: of an absolute difference the best guess is a median, which leaves out small dark features, eyes and
        # mouths, while it is still unsure of their place.
        return {
            "colour": 4 * functional.mse_loss(colour, wanted.colour),
            "structure": options.structure_weight * structure_loss(colour, wanted.colour),
            "alpha": options.alpha_weight * functional.mse_loss(seen.opacity, wanted.alpha),
        }

    def after_step(self) -> None:
        """Test at equal steps of the training."""
        row = min(int(self._progress * CURVE_POINTS), CURVE_POINTS - 1)
        if bool(self.curve[row, 0].isnan()):
            values = (self._progress, *self.test())
            self.curve[row] = torch.tensor(values)

    @torch.no_grad()
    def test(self) -> tuple[float, float]:
        """PSNR of test people drawn from what is known of them (dB), and Fréchet distance of random heads."""
        data = self._data
        spread = np.linspace(0, len(data.test_moments) - 1, held_out.COMPARED).round().astype(int)
        moments = data.test_moments[spread].tolist()
        real = data.whole(torch.stack([data.views(m)[0] for m in moments]), held_out.COMPARED_SIDE)
        made, _ = self.pictures(
            self.latents(data.known[moments]), real.label, held_out.COMPARED_SIDE
        )
        return held_out.peak_signal_to_noise(made, real.colour), self.test_random()

    @torch.no_grad()
    def test_random(self) -> float:
        """Fréchet distance of random heads from test people, seen by the same cameras."""
        data, generator = self._data, torch.Generator().manual_seed(0)
        latents = self.random_latents(held_out.RANDOM, generator)
        views = torch.cat([data.views(m) for m in data.test_moments.tolist()])
        views = views[torch.randperm(len(views), generator=generator)]
        several = views.repeat(-(-held_out.RANDOM // len(views)))[: held_out.RANDOM]
        drawn, _ = self.pictures(latents, data.whole(several, 1).label, held_out.RANDOM_SIDE)
        return held_out.frechet_distance(
            held_out.picture_features(drawn),
            held_out.picture_features(data.whole(views, held_out.RANDOM_SIDE).colour),
        )

    @torch.no_grad()
    def finish(self) -> None:
        """Set the mean latent, which truncation and inversion start from; z is in standard deviations from now on."""
        mapping = self.generator.backbone.mapping
        mapping.get_parameter("fc0.weight")[:, : len(self.known_scale)].mul_(self.known_scale)
        self.known_scale.fill_(1.0)
        known = self._data.known[torch.from_numpy(self._data.train_moments)]
        mapping.w_avg.copy_(self.latents(known)[:, 0].mean(0))

    def _views(
        self, views: Int[Tensor, " view"], generator: torch.Generator
    ) -> Int[Tensor, " patch"]:
        order = torch.randint(
            len(views), (self.options.patches,), generator=generator, device=generator.device
        )
        return views[order.cpu()]

    @torch.no_grad()
    def pictures(
        self, latents: Float[Tensor, "n latent w"], label: Float[Tensor, "n 25"], side: int
    ) -> tuple[Float[Tensor, "n 3 side side"], Float[Tensor, "n 1 side side"]]:
        """Colour times opacity, and opacity, 0..1, one picture after the other."""
        found = [
            self.generator(own[None], seen[None], side).rendered
            for own, seen in zip(latents, label, strict=True)
        ]
        colour = torch.cat([(made.features[:, :3] + 1) / 2 for made in found])
        return colour, torch.cat([made.opacity for made in found])
