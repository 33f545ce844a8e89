"""HFA-GP: latents of a driver's signal within the personal subspace, and the generator that draws them."""

from __future__ import annotations

from dataclasses import replace
from threading import Lock

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional

from artifacts.errors import InputError
from avatar_models.background import BackgroundLayer
from avatar_models.dataset import DrivingClip, SubjectData
from avatar_models.hfa_gp.config import HfaGpConfig
from avatar_models.hfa_gp.detail import PersonalDetail
from avatar_models.hfa_gp.drivers import SoundDriver, disturbed, make_driver
from avatar_models.hfa_gp.lips import LIP_SHAPES, LipPlaces
from avatar_models.hfa_gp.looks import CanonicalLook, Look, WindowLook, worth_looking_at
from avatar_models.hfa_gp.places import Places
from avatar_models.hfa_gp.subspace import PersonalSubspace
from avatar_models.interface import AvatarModel, Driving, Layers
from avatar_models.prior.known import Known
from avatar_models.torso import TorsoLayer
from avatar_models.triplane.framing import FramedView, frame_view, from_canonical, front_label
from avatar_models.triplane.generator import TriPlaneGenerator
from avatar_models.triplane.windows import Window, choose_window
from head_geometry.head_region import sure_of_region

# Parts of a picture are compared at full and at half size; the whole of it is compared besides, made smaller.
_PART_LEVELS = (1, 2)
# Side at which pictures of published generators are compared, pixels.
COMPARED_SIDE = 256
# Gradients of the detail smaller than this hardly count: texels that windows rarely show stay as they are.
_DETAIL_EPS = 1e-6
# Finished pictures are drawn this many times as large and averaged: a ray misses or hits thin hair, a pixel sees part
# of it. Where the light is taken along one ray a pixel, outlines have specks, and are .3 dB further from the film.
_FINISHED_SCALE = 2
# Pictures and sounds of others lead no further from the training's middle than this, standard deviations along each
# principal axis. (Coefficients of expressions are bounded by the head model.)
_FURTHEST = 3.0


class HfaGp(AvatarModel):
    """The model of one subject.

    Args:
        config: Options.
        generator: The prior; becomes the subject's own when it is tuned.
        n_signals: Length of the driving code, or channels of the audio features.
        torso: Layer behind the head.
        background: Layer behind both.
        n_codes: Length of the driving code.

    Attributes:
        lip_places: Places by lips and what is beside them, where the driver by sound says lips alone; None without.
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
        n_codes: int,
    ) -> None:
        super().__init__()
        self.config, self.parts = config, config.parts
        self.generator = generator
        layout = generator.layout
        self.subspace = PersonalSubspace(config.directions, layout.n_latents, layout.w_dim)
        self.lip_places = None
        if config.lips_alone and config.driven_by == "sound":
            self.lip_places = LipPlaces(n_codes, config.directions)
        n_told = None if self.lip_places is None else LIP_SHAPES
        self.driver = make_driver(config, n_signals, n_told)
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
        # Lips of the training frames and what they show beside; neither.
        self._fitted: Tensor | None = None
        # Some pictures of a driver who is another person, and his mean place.
        self._other: tuple[Tensor, Tensor] | None = None
        self.places = Places(config.directions)

    def parameter_groups(self) -> list[dict[str, object]]:
        """Driver and subspace, the generator and the torso's texture, each at its own rate."""
        config = self.config
        personal = [*self.driver.parameters(), *self.subspace.parameters()]
        if self.lip_places is not None:
            personal += self.lip_places.parameters()
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
        places = around @ self.subspace.basis().T / self.subspace.reach
        self._taught = places
        if self.lip_places is not None and self._fitted is not None:
            self.lip_places.start_at(self._fitted, places)

    def see_lips(self, clip: DrivingClip, frames: Int[Tensor, " frame"]) -> None:
        """Have training frames drawn by their fit and the driver taught their lips, where that is wanted."""
        if self.lip_places is not None:
            self._fitted = self.lip_places.measure(clip, frames)

    def amount(self, driving: Driving) -> Float[Tensor, " direction"]:
        """Place of a moment in the subspace: the driver's, or one along the principal axes of the training's places."""
        reach = self.subspace.reach
        if driving.navigation is not None:
            return self.places.mean + driving.navigation @ self.places.steps(reach)
        place = self.driver(self._signal(driving)[None], 1.0)[0]
        if self.lip_places is not None:
            place = self.lip_places.of_moment(place, driving)
        if driving.driver_pictures is not None:
            place = self.places.mean + place - self._place_of_other(driving.driver_pictures)
        if self.config.driven_by == "expression":
            return place
        return self.places.within(place, reach, _FURTHEST)

    def _place_of_other(
        self, pictures: Float[Tensor, "n side side 3"]
    ) -> Float[Tensor, " direction"]:
        if self._other is None or self._other[0] is not pictures:
            self._other = pictures, self.driver(pictures, 1.0).mean(0)
        return self._other[1]

    @property
    def n_directions(self) -> int:
        """Directions of the subspace, and axes that ``Driving.navigation`` moves along."""
        return self.config.directions

    def training_losses(
        self, data: SubjectData, progress: float, generator: torch.Generator
    ) -> dict[str, Float[Tensor, ""]]:
        """Losses of one frame: head over torso against the person, and the head's own share of the matte."""
        config = self.config
        taught = self._taught_losses(data, progress, generator)
        if self._taught is not None and progress < config.taught_alone:
            nothing = torch.zeros((), device=data.device)
            return {
                **taught,
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
        if self.lip_places is not None and self._fitted is not None:
            amount = self.lip_places(self._fitted[place, None])[0]
        else:
            signal = self._disturbed(self._signal(driving), generator)
            amount = self.driver(signal[None], progress)[0]
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
            **taught,
            # Squared error of colours in -1..1.
            "colour": 4 * (person - target).square().mean(),
            self.perceptual.name: config.perceptual_weight * self.perceptual(person, target),
            "opacity": config.opacity_weight * missing.mean(),
        }

    def _taught_losses(
        self, data: SubjectData, progress: float, generator: torch.Generator
    ) -> dict[str, Float[Tensor, ""]]:
        """What is taught without pictures: where the prior has the expressions of some frames, and their lips.

        The weight of the first falls to nothing. The lips are all that a driver of :class:`LipPlaces` ever learns.
        """
        config, taught = self.config, self._taught
        weight = 0.0
        if taught is not None and progress < config.taught_share:
            weight = 1 - progress / config.taught_share
        draw = {"generator": generator, "device": generator.device}
        chosen = torch.randint(len(data.train_frames), (config.taught_frames,), **draw)
        lips: dict[str, Float[Tensor, ""]] = {}
        if self.lip_places is not None and self._fitted is not None:
            numbers = self._fitted[chosen]
            told = self.driver(self._disturbed_signals(data, chosen, generator), progress)
            lips = {"lips": self.lip_places.lip_error(told, numbers)}
            places = self.lip_places.of_expression(numbers)
        elif weight > 0:
            places = self.driver(self._disturbed_signals(data, chosen, generator), progress)
        else:
            places = None
        if places is None or taught is None:
            return {"taught": torch.zeros((), device=data.device), **lips}
        return {"taught": weight * functional.mse_loss(places, taught[chosen]), **lips}

    def _disturbed_signals(
        self, data: SubjectData, chosen: Int[Tensor, " n"], generator: torch.Generator
    ) -> Tensor:
        """What the driver reads of some training frames.

        Args:
            data: The clip.
            chosen: Indices into its ``train_frames``.
            generator: Of the disturbance.
        """
        clip, frames = data.clip, data.train_frames[chosen.to(data.train_frames.device)].tolist()
        with self._lock:
            # Drivers read neither camera nor mesh: those of one frame do for all, and take long to make.
            one, codes = clip.tracked(frames[0]), clip.code
            signals = [
                self._signal(clip.media.add_to(replace(one, code=codes[frame]), frame))
                for frame in frames
            ]
        return torch.stack([self._disturbed(signal, generator) for signal in signals])

    def _disturbed(self, signal: Tensor, generator: torch.Generator) -> Tensor:
        """A driver's signal as it might have been filmed or recorded otherwise; expressions are not changed."""
        config = self.config
        if config.driven_by == "picture" and config.picture_noise > 0:
            return disturbed(signal, config.picture_noise, config.picture_side, generator)
        if isinstance(self.driver, SoundDriver) and config.sound_noise > 0:
            return self.driver.with_noise(signal, config.sound_noise, generator)
        return signal

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
        side = square_side(driving.image_size)
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
        points = worth_looking_at(driving, head, generator)
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


def true_layers(data: SubjectData, frame: int) -> Float[Tensor, "6 height width"]:
    """What a training frame shows.

    Returns:
        Premultiplied colour of the person, opacity of person and of head, and 1 where the latter is sure.
    """
    alpha, region = data.alpha(frame), data.head_region(frame)
    colour = (data.image(frame) * alpha[..., None]).movedim(-1, 0)
    return torch.cat([colour, torch.stack([alpha, alpha * region, sure_of_region(region)])])


def square_side(size: tuple[int, int]) -> int:
    """Side of the pictures, pixels.

    Raises:
        InputError: they are not square.
    """
    if size[0] != size[1]:
        raise InputError(f"HFA-GP draws square pictures, not {size[0]}x{size[1]}")
    return size[0]
