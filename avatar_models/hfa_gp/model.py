"""HFA-GP: latents of a driver's signal within the personal subspace, and the prior that draws them."""

from __future__ import annotations

import logging
from dataclasses import replace
from threading import Lock

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional

from artifacts.errors import InputError
from avatar_models.background import BackgroundLayer
from avatar_models.dataset import SubjectData
from avatar_models.hfa_gp.config import HfaGpConfig
from avatar_models.hfa_gp.detail import PersonalDetail
from avatar_models.hfa_gp.drivers import ExpressionDriver, PictureDriver, SoundDriver
from avatar_models.hfa_gp.looks import CanonicalLook, Look, WindowLook
from avatar_models.hfa_gp.places import Places
from avatar_models.hfa_gp.subspace import PersonalSubspace
from avatar_models.interface import AvatarModel, Driving, Layers
from avatar_models.prior.known import Known, read_known
from avatar_models.prior.own import prior_file
from avatar_models.torso import TorsoLayer
from avatar_models.triplane.framing import FramedView, frame_view, from_canonical, front_label
from avatar_models.triplane.generator import TriPlaneGenerator
from avatar_models.triplane.layout import Layout
from avatar_models.triplane.weights import load_generator
from avatar_models.triplane.windows import Window, choose_window
from head_geometry.head_region import sure_of_region

LOGGER = logging.getLogger(__name__)
# Parts of a picture are compared at full and at half size; the whole of it is compared besides, made smaller.
_PART_LEVELS = (1, 2)
# Side at which pictures of published generators are compared, pixels.
COMPARED_SIDE = 256
# Gradients of the detail smaller than this hardly count: texels that windows rarely show stay as they are.
_DETAIL_EPS = 1e-6
# Finished pictures are drawn this many times as large and averaged: a ray misses or hits thin hair, a pixel sees part
# of it. Where the light is taken along one ray a pixel, outlines have specks, and are .3 dB further from the film.
_FINISHED_SCALE = 2


class HfaGp(AvatarModel):
    """The model of one subject.

    Args:
        config: Options.
        generator: The prior; becomes the subject's own when it is tuned.
        n_signals: Length of the driving code, or channels of the audio features.
        torso: Layer behind the head.
        background: Layer behind both.

    Attributes:
        places: Where in the subspace the last steps have been.
        detail: What the person's own volume adds to the planes; None without.

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
        self.detail = None
        if config.detail_lr > 0:
            self.detail = PersonalDetail(layout, min(config.detail_moving, config.directions))
        text = torch.frombuffer(bytearray(layout.to_json().encode()), dtype=torch.uint8)
        self.register_buffer("layout_text", text)
        # Minibatches of one step come from several threads and share the subject's cache.
        self._lock = Lock()
        self._amounts: list[Tensor] = []
        # Where the prior has the expressions of the training frames; not a part of the avatar.
        self._taught: Tensor | None = None
        self.places = Places(config.directions)

    def parameter_groups(self) -> list[dict[str, object]]:
        """Driver and subspace, the generator and the torso's texture, each at its own rate."""
        config = self.config
        personal = [*self.driver.parameters(), *self.subspace.parameters()]
        drawing = [
            parameter
            for name, parameter in self.generator.named_parameters()
            if not name.startswith("backbone.mapping")
        ]
        detail: list[dict[str, object]] = []
        if self.detail is not None:
            rates = {"lr": config.detail_lr, "lr_end": 0.1 * config.detail_lr}
            detail = [{"params": [self.detail.volume], **rates, "eps": _DETAIL_EPS}]
        return [
            *detail,
            {"params": personal, "lr": config.lr, "lr_end": config.lr_end},
            {
                "params": drawing,
                "lr": config.generator_lr,
                "lr_end": config.generator_lr_end,
                "betas": (0.0, 0.99),
            },
            self.torso.parameter_group(config.torso_lr),
        ]

    @torch.no_grad()
    def teach(
        self,
        known: Known,
        identity: Float[Tensor, " identity"],
        codes: Float[Tensor, "frame code"],
    ) -> None:
        """Start where the prior has a head of this shape, and have the driver taught the place of each expression.

        Args:
            known: What the numbers of the prior's z mean.
            identity: Fitted shape of the head.
            codes: Of the training frames.

        Source: own.
        """
        mapping = self.generator.backbone.mapping
        label = front_label(mapping.layout).to(codes).expand(len(codes), -1)
        latents = mapping(known.z_of_codes(identity, codes), label).flatten(1)
        self.subspace.offset.copy_(latents.mean(0))
        around = latents - latents.mean(0)
        self._taught = around @ self.subspace.basis().T / self.subspace.reach

    def amount(self, driving: Driving) -> Float[Tensor, " direction"]:
        """Place of a moment in the subspace: the driver's, or one along the principal axes of the training's places."""
        if driving.navigation is not None:
            return self.places.mean + driving.navigation @ self.places.steps(self.subspace.reach)
        return self.driver(self._signal(driving)[None], 1.0)[0]

    @property
    def n_directions(self) -> int:
        """Directions of the subspace, and axes that ``Driving.navigation`` moves along."""
        return self.config.directions

    def training_losses(
        self, data: SubjectData, progress: float, generator: torch.Generator
    ) -> dict[str, Float[Tensor, ""]]:
        """Losses of one frame: head over torso against the person, and the head's own share of the matte."""
        config = self.config
        taught = self._taught_loss(data, progress, generator)
        if self._taught is not None and progress < config.taught_alone:
            nothing = torch.zeros((), device=data.device)
            return {
                "taught": taught,
                "colour": nothing,
                self.perceptual.name: nothing,
                "opacity": nothing,
            }
        # The same in all minibatches of a step.
        self.generator.requires_grad_(progress >= config.generator_start)
        draw = {"generator": generator, "device": generator.device}
        place = int(torch.randint(len(data.train_frames), (), **draw))
        frame = int(data.train_frames[place])
        with self._lock:
            driving = data.driving(frame)
            truth = true_layers(data, frame)
        amount = self.driver(self._signal(driving)[None], progress)[0]
        looks = self._looks(driving, truth[4], generator)
        colour, opacity = self._draw(amount, looks, generator)
        behind = torch.cat([layer.movedim(-1, 0) for layer in self._torso(driving)])
        behind, wanted = (
            torch.stack([look.cut(planes) for look in looks]) for planes in (behind, truth)
        )
        # Any colour may lie behind the person: over one fixed colour, fog of that colour would hide errors.
        backdrop = torch.rand(len(looks), 3, 1, 1, **draw)
        torso = behind[:, :3] + (1 - behind[:, 3:]) * backdrop
        person = colour + (1 - opacity) * torso
        target = wanted[:, :3] + (1 - wanted[:, 3:4]) * backdrop
        missing = wanted[:, 5:] * (opacity - wanted[:, 4:5]).square()
        with self._lock:
            self._amounts.append(amount.detach())
        return {
            "taught": taught,
            # Squared error of colours in -1..1.
            "colour": 4 * (person - target).square().mean(),
            self.perceptual.name: config.perceptual_weight * self.perceptual(person, target),
            "opacity": config.opacity_weight * missing.mean(),
        }

    def _taught_loss(
        self, data: SubjectData, progress: float, generator: torch.Generator
    ) -> Float[Tensor, ""]:
        """How far the driver is from where the prior has the expressions of some frames, while it is taught that."""
        config = self.config
        if self._taught is None or progress >= config.taught_share:
            return torch.zeros((), device=data.device)
        draw = {"generator": generator, "device": generator.device}
        chosen = torch.randint(len(data.train_frames), (config.taught_frames,), **draw).tolist()
        frames = data.train_frames[chosen].tolist()
        clip = data.clip
        with self._lock:
            # Drivers read neither camera nor mesh: those of one frame do for all, and take long to make.
            one, codes = clip.tracked(frames[0]), clip.code
            signals = [
                self._signal(clip.media.add_to(replace(one, code=codes[frame]), frame))
                for frame in frames
            ]
        found = self.driver(torch.stack(signals), progress)
        weight = 1 - progress / config.taught_share
        return weight * functional.mse_loss(found, self._taught[chosen])

    @torch.no_grad()
    def after_step(self) -> None:
        """Take the step's places in the subspace into their statistics."""
        if self._amounts:
            self.places.take(torch.stack(self._amounts))
            self._amounts = []

    def render(self, driving: Driving) -> Layers:
        """The layers of one frame."""
        head, alpha = self.render_head(driving, self.amount(driving))
        torso, torso_alpha = self.torso(driving)
        return Layers(head, alpha, torso, torso_alpha, self.background(driving))

    def render_head(
        self, driving: Driving, amount: Float[Tensor, " direction"]
    ) -> tuple[Float[Tensor, "height width 3"], Float[Tensor, "height width"]]:
        """Premultiplied colour and opacity of the head alone.

        Args:
            driving: Camera and size of the picture.
            amount: Place in the subspace of what is drawn.
        """
        view = self._view(driving)
        if self.generator.layout.ray_bounds == "box":
            view = view.resized(_FINISHED_SCALE * view.picture_side)
            look: Look = WindowLook(Window(1, 0, 0, view.picture_side), view)
            drawn = torch.cat(self._draw(amount, [look], None), 1)
            drawn = functional.avg_pool2d(drawn, _FINISHED_SCALE)[0].movedim(0, -1)
        else:
            drawn = torch.cat(self._draw(amount, [CanonicalLook(view)], None), 1)[0]
            drawn = from_canonical(drawn.movedim(0, -1), view, driving.image_size)
        # Colours of the decoder reach a little beyond 0..1, and super-resolution knows nothing of opacity.
        opacity = drawn[..., 3].clamp(0, 1)
        return torch.minimum(drawn[..., :3].clamp_min(0), opacity[..., None]), opacity

    def _view(self, driving: Driving) -> FramedView:
        side = _square_side(driving.image_size)
        layout = self.generator.layout
        return frame_view(driving.camera_from_head, driving.intrinsics, side, layout)

    def _looks(
        self, driving: Driving, head: Float[Tensor, "height width"], generator: torch.Generator
    ) -> list[Look]:
        """What a step compares: the whole picture (made small) and random parts, or the generator's own picture.

        Args:
            driving: The frame's signals.
            head: Opacity of the head in the frame.
            generator: Of the choice.
        """
        config, view = self.config, self._view(driving)
        if self.generator.layout.ray_bounds != "box":
            return [CanonicalLook(view.resized(min(COMPARED_SIDE, view.picture_side)))]
        if config.patch == 0 or config.patch >= view.picture_side:
            return [WindowLook(Window(1, 0, 0, view.picture_side), view)]
        # The smallest picture that is no smaller than a patch; what is left over at its border is not looked at.
        whole = Window(view.picture_side // config.patch, 0, 0, config.patch)
        points = _worth_looking_at(driving, head, generator)
        rest = [
            choose_window(points, view.picture_side, config.patch, generator, _PART_LEVELS)
            for _ in range(config.patches - 1)
        ]
        return [WindowLook(window, view) for window in (whole, *rest)]

    def _draw(
        self,
        amount: Float[Tensor, " direction"],
        looks: list[Look],
        generator: torch.Generator | None,
    ) -> tuple[Float[Tensor, "look 3 side side"], Float[Tensor, "look 1 side side"]]:
        """Premultiplied colour and opacity as each look sees them."""
        mixed = self.config.mixed_precision and generator is not None
        latents = self.subspace(amount[None])
        with torch.autocast(latents.device.type, torch.bfloat16, enabled=mixed):
            planes = self.generator.planes(latents).float()
        if self.detail is not None:
            planes = planes + self.detail(amount)
        labels = torch.stack([look.label for look in looks])
        if self.generator.layout.ray_bounds == "box":
            seen = self.generator.renderer().render(planes, labels, looks[0].side, generator)
            return (seen.features[:, :3] + 1) / 2, seen.opacity
        made = self.generator.render(planes, latents, labels, generator=generator)
        size = (looks[0].side, looks[0].side)
        colour = functional.interpolate(made.image, size, mode="area")
        opacity = functional.interpolate(made.rendered.opacity, size, mode="bilinear")
        return (colour + 1) / 2, opacity

    def _signal(self, driving: Driving) -> Tensor:
        """What the driver reads."""
        found = {
            "expression": driving.code,
            "picture": driving.picture,
            "sound": driving.sound,
        }[self.config.driven_by]
        if found is None:
            raise ValueError(f"a model driven by {self.config.driven_by} was given none")
        if isinstance(self.driver, SoundDriver) and found.shape[-1] != self.driver.n_channels:
            raise InputError(
                f"the driver's audio features have {found.shape[-1]} channels, but the avatar was trained with "
                f"{self.driver.n_channels}; make them of the same kind (audio_features/kind)"
            )
        return found

    def _torso(self, driving: Driving) -> tuple[Tensor, Tensor]:
        colour, opacity = self.torso(driving)
        return colour, opacity[..., None]


def _worth_looking_at(
    driving: Driving, head: Float[Tensor, "height width"], generator: torch.Generator
) -> Int[Tensor, "n 2"]:
    """Rows and columns: the landmarks, most of which lie on eyes and lips, and as many pixels of the head."""
    width, height = driving.image_size
    landmarks = driving.landmarks.flip(-1).round().long()
    inside = (landmarks >= 0) & (landmarks < landmarks.new_tensor([height, width]))
    landmarks = landmarks[inside.all(-1)]
    pixels = head.nonzero()
    if len(landmarks) == 0 or len(pixels) == 0:
        return torch.cat([landmarks, pixels])
    draw = {"generator": generator, "device": generator.device}
    return torch.cat([landmarks, pixels[torch.randint(len(pixels), (len(landmarks),), **draw)]])


def true_layers(data: SubjectData, frame: int) -> Float[Tensor, "6 height width"]:
    """What a training frame shows.

    Returns:
        Premultiplied colour of the person, opacity of person and of head, and 1 where the latter is sure.
    """
    alpha, region = data.alpha(frame), data.head_region(frame)
    colour = (data.image(frame) * alpha[..., None]).movedim(-1, 0)
    return torch.cat([colour, torch.stack([alpha, alpha * region, sure_of_region(region)])])


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
    if generator.layout.ray_bounds == "published":
        generator.layout = replace(
            generator.layout, origin_m=canonical_origin(data, generator.layout)
        )
    signal = data.driving(int(data.train_frames[0]))
    n_signals = len(signal.code)
    if config.driven_by == "sound":
        assert signal.sound is not None  # noqa: S101 - the data gives it to models that ask for it
        n_signals = signal.sound.shape[-1]
    torso, background = TorsoLayer.estimate(data), BackgroundLayer.estimate(data)
    model = HfaGp(config, generator, n_signals, torso, background).to(data.device)
    if model.detail is not None:
        model.detail.measure(model.generator)
    if isinstance(model.driver, ExpressionDriver):
        model.driver.measure(data.clip.code[data.train_frames.to(data.device)])
    if config.starts_at_prior:
        model.subspace.start_at(generator.backbone.mapping, torch.Generator().manual_seed(0))
    if config.taught_share > 0:
        known = read_known(prior_file(config.prior))
        if known is not None and known.fits(data.head_model):
            codes = data.clip.code[data.train_frames.to(data.device)]
            model.teach(known, data.clip.identity, codes)
        else:
            LOGGER.info(
                "the driver is not taught the prior's expressions: the prior %r knows none of this head model",
                config.prior,
            )
    return model


def canonical_origin(data: SubjectData, layout: Layout) -> tuple[float, float, float]:
    """Where a published generator's origin lies, head axes, metres: its cameras' pivot in the middle of the face."""
    points = data.head_model.landmark_points(data.neutral, data.clip.landmark_set)
    pivot_m = points.new_tensor(layout.camera_pivot) / layout.units_per_metre
    x, y, z = (points.mean(0) - pivot_m).tolist()
    return x, y, z


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
