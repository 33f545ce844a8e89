"""HFA-GP: latents of a driver's signal within the personal subspace, and the prior that draws them."""

from __future__ import annotations

from threading import Lock

import torch
from jaxtyping import Float
from torch import Tensor, nn

from artifacts.errors import InputError
from avatar_models.background import BackgroundLayer
from avatar_models.dataset import SubjectData
from avatar_models.hfa_gp.config import HfaGpConfig
from avatar_models.hfa_gp.drivers import ExpressionDriver, PictureDriver, SoundDriver
from avatar_models.hfa_gp.subspace import PersonalSubspace
from avatar_models.interface import AvatarModel, Driving, Layers
from avatar_models.prior.decoder import gradient_loss
from avatar_models.prior.own import prior_file
from avatar_models.prior.pictures import label_of_head
from avatar_models.torso import TorsoLayer
from avatar_models.triplane.generator import TriPlaneGenerator
from avatar_models.triplane.layout import Layout
from avatar_models.triplane.weights import load_generator
from avatar_models.triplane.windows import Window, choose_window

# A pixel with a larger share of the head region than this is the head's, with a smaller one than the rest not.
SURE_REGION = 0.98
# Gradients of the torso's texture smaller than this hardly count.
TORSO_EPS = 1e-6


class HfaGp(AvatarModel):
    """The model of one subject.

    Args:
        config: Options.
        generator: The prior; becomes the subject's own when it is tuned.
        n_signals: Length of the driving code, or channels of the audio features.
        torso: Layer behind the head.
        background: Layer behind both.

    Source: HFA-GP (CVPR 2023). Own: the layers behind the head, its opacity, and parts of pictures.
    """

    def __init__(
        self,
        config: HfaGpConfig,
        generator: TriPlaneGenerator,
        n_signals: int,
        torso: TorsoLayer,
        background: BackgroundLayer,
    ) -> None:
        super().__init__()
        self.config, self.parts = config, config.parts
        self.generator = generator
        layout = generator.layout
        self.subspace = PersonalSubspace(config.directions, layout.n_latents, layout.w_dim)
        self.driver = make_driver(config, n_signals)
        self.torso, self.background = torso, background
        text = torch.frombuffer(bytearray(layout.to_json().encode()), dtype=torch.uint8)
        self.register_buffer("layout_text", text)
        # Minibatches of one step come from several threads and share the subject's cache.
        self._lock = Lock()

    def parameter_groups(self) -> list[dict[str, object]]:
        """Driver and subspace, the generator and the torso's texture, each at its own rate."""
        config = self.config
        personal = [*self.driver.parameters(), *self.subspace.parameters()]
        drawing = [
            parameter
            for name, parameter in self.generator.named_parameters()
            if not name.startswith("backbone.mapping")
        ]
        return [
            {"params": personal, "lr": config.lr, "lr_end": config.lr_end},
            {
                "params": drawing,
                "lr": config.generator_lr,
                "lr_end": config.generator_lr_end,
                "betas": (0.0, 0.99),
            },
            {
                "params": [self.torso.texture],
                "lr": config.torso_lr,
                "lr_end": 0.1 * config.torso_lr,
                # Texels that windows rarely show stay as they are, instead of Adam's full steps.
                "eps": TORSO_EPS,
            },
        ]

    def latents(self, driving: Driving, progress: float = 1.0) -> Float[Tensor, "1 latent w"]:
        """Latents of a moment: its place in the subspace."""
        return self.subspace(self.driver(self._signal(driving), progress)[None])

    def training_losses(
        self, data: SubjectData, progress: float, generator: torch.Generator
    ) -> dict[str, Float[Tensor, ""]]:
        """Losses of one frame's windows: head over torso against the person, and the head's own share of the matte."""
        config = self.config
        # The same in all minibatches of a step.
        self.generator.requires_grad_(progress >= config.generator_start)
        place = torch.randint(
            len(data.train_frames), (), generator=generator, device=generator.device
        )
        frame = int(data.train_frames[int(place)])
        with self._lock:
            driving = data.driving(frame)
            truth = _Truth.of(data, frame)
        windows = self._windows(truth.alpha, generator)
        label = self.label(driving)
        labels = torch.stack([window.label(label, data.image_size[0]) for window in windows])
        latents = self.latents(driving, progress)
        with torch.autocast(data.device.type, torch.bfloat16, enabled=config.mixed_precision):
            planes = self.generator.planes(latents).float()
        seen = self.generator.renderer().render(planes, labels, windows[0].side, generator)
        behind = torch.cat([layer.movedim(-1, 0) for layer in self._torso(driving)])
        behind, wanted = (
            torch.stack([window.cut(planes) for window in windows])
            for planes in (behind, truth.planes)
        )
        colour = (seen.features[:, :3] + 1) / 2
        # Any colour may lie behind the person: over one fixed colour, fog of that colour would hide errors.
        backdrop = torch.rand(len(windows), 3, 1, 1, generator=generator, device=data.device)
        torso = behind[:, :3] + (1 - behind[:, 3:]) * backdrop
        person = colour + (1 - seen.opacity) * torso
        target = wanted[:, :3] + (1 - wanted[:, 3:4]) * backdrop
        missing = wanted[:, 5:] * (seen.opacity - wanted[:, 4:5]).square()
        return {
            # Squared error of colours in -1..1.
            "colour": 4 * (person - target).square().mean(),
            "perceptual": config.perceptual_weight * gradient_loss(person, target),
            "opacity": config.opacity_weight * missing.mean(),
        }

    def label(self, driving: Driving) -> Float[Tensor, " 25"]:
        """The generator's label of a frame's camera."""
        layout = self.generator.layout
        return label_of_head(
            driving.camera_from_head,
            driving.intrinsics,
            driving.image_size[0],
            layout.units_per_metre,
            layout.origin_m,
        )

    def render(self, driving: Driving) -> Layers:
        """The layers of one frame."""
        head, alpha = self.render_head(driving, self.latents(driving))
        torso, torso_alpha = self.torso(driving)
        return Layers(head, alpha, torso, torso_alpha, self.background(driving))

    def render_head(
        self, driving: Driving, latents: Float[Tensor, "1 latent w"]
    ) -> tuple[Float[Tensor, "height width 3"], Float[Tensor, "height width"]]:
        """Premultiplied colour and opacity of the head alone.

        Args:
            driving: Camera and size of the picture.
            latents: What is drawn.
        """
        side = _square_side(driving.image_size)
        planes = self.generator.planes(latents)
        seen = self.generator.renderer().render(planes, self.label(driving)[None], side)
        colour = (seen.features[0, :3] + 1) / 2
        return colour.movedim(0, -1), seen.opacity[0, 0]

    def _signal(self, driving: Driving) -> Tensor:
        """What the driver reads."""
        found = {
            "expression": driving.code,
            "picture": driving.picture,
            "sound": driving.sound,
        }[self.config.driven_by]
        if found is None:
            raise ValueError(f"a model driven by {self.config.driven_by} was given none")
        return found

    def _torso(self, driving: Driving) -> tuple[Tensor, Tensor]:
        colour, opacity = self.torso(driving)
        return colour, opacity[..., None]

    def _windows(self, alpha: Tensor, generator: torch.Generator) -> list[Window]:
        """The whole picture made small, and random parts of it."""
        config, side = self.config, alpha.shape[0]
        if config.patch == 0 or config.patch >= side:
            return [Window(1, 0, 0, side)]
        # The largest small picture that a patch's rays can make; what is left over at the border is not looked at.
        whole = Window(side // config.patch, 0, 0, config.patch)
        rest = [choose_window(alpha, config.patch, generator) for _ in range(config.patches - 1)]
        return [whole, *rest]


class _Truth:
    """What a training frame shows.

    Attributes:
        alpha: The person's matte as bytes.
        planes: Premultiplied colour of the person, opacity of person and of head, and where the latter is sure;
            (6, height, width).
    """

    def __init__(self, alpha: Tensor, planes: Tensor) -> None:
        self.alpha, self.planes = alpha, planes

    @classmethod
    def of(cls, data: SubjectData, frame: int) -> _Truth:
        alpha, region = data.alpha(frame), data.head_region(frame)
        is_sure = ((region - 0.5).abs() > SURE_REGION - 0.5).to(region)
        colour = (data.image(frame) * alpha[..., None]).movedim(-1, 0)
        return cls(
            data.alpha_bytes(frame),
            torch.cat([colour, torch.stack([alpha, alpha * region, is_sure])]),
        )


def make_driver(config: HfaGpConfig, n_signals: int) -> nn.Module:
    """The driver that the options name.

    Args:
        config: Options.
        n_signals: Length of the driving code, or channels of the audio features.
    """
    if config.driven_by == "picture":
        return PictureDriver(config)
    if config.driven_by == "sound":
        return SoundDriver(config, n_signals)
    return ExpressionDriver(config, n_signals)


def build_model(config: HfaGpConfig, data: SubjectData) -> HfaGp:
    """The untrained model of a subject: the prior, with torso and background of the training frames.

    Raises:
        InputError: the prior cannot be read, or the options ask for more than the clip supports.
    """
    _square_side(data.image_size)
    if config.directions > len(data.train_frames):
        raise InputError(
            f"directions is {config.directions}, but the clip has only {len(data.train_frames)} training frames to tell "
            f"them apart; set directions to {max(1, len(data.train_frames) // 2)} or give a longer clip"
        )
    generator = load_generator(prior_file(config.prior))
    signal = data.driving(int(data.train_frames[0]))
    n_signals = len(signal.code)
    if config.driven_by == "sound":
        assert signal.sound is not None  # noqa: S101 - the data gives it to models that ask for it
        n_signals = signal.sound.shape[-1]
    torso, background = TorsoLayer.estimate(data), BackgroundLayer.estimate(data)
    model = HfaGp(config, generator, n_signals, torso, background).to(data.device)
    if isinstance(model.driver, ExpressionDriver):
        model.driver.measure(data.clip.code[data.train_frames.to(data.device)])
    if config.starts_at_prior:
        mean = generator.backbone.mapping.w_avg.to(data.device)
        model.subspace.offset.data.copy_(mean.repeat(generator.layout.n_latents))
    return model


def restore_model(config: HfaGpConfig, state: dict[str, Tensor]) -> HfaGp:
    """A model of the shapes in ``state``; its values follow by ``load_state_dict``."""
    layout = Layout.from_json(bytes(state["layout_text"].tolist()).decode())
    n_signals = 0
    if config.driven_by == "expression":
        n_signals = len(state["driver.code_mean"])
    elif config.driven_by == "sound":
        n_signals = state["driver.convolutions.0.weight"].shape[1]
    return HfaGp(
        config,
        TriPlaneGenerator(layout),
        n_signals,
        TorsoLayer.restore(state, "torso"),
        BackgroundLayer.restore(state, "background"),
    )


def _square_side(size: tuple[int, int]) -> int:
    if size[0] != size[1]:
        raise InputError(f"HFA-GP draws square pictures, not {size[0]}x{size[1]}")
    return size[0]
