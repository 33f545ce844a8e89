"""The three drivers: expression, picture or sound to a place in the personal subspace."""

from __future__ import annotations

from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from avatar_models.driving_signals import WINDOWS
from avatar_models.hfa_gp.config import HfaGpConfig
from avatar_models.hfa_gp.encoder import PictureEncoder
from avatar_models.triplane.layers import EqualisedLinear

# A coefficient that hardly ever moves in the training frames is not blown up when it does.
_SMALLEST_STD = 0.02
# Where the subspace starts at the prior, a driver that has learnt nothing yet moves it by this many of its deviations.
_FIRST_AMOUNT = 0.1
# Nor is a channel of audio features that hardly ever sounds.
_SMALLEST_SOUND = 1e-3
_SOUND_LEAK = 0.02
_SOUND_SIZE = 64


def mapper(n_in: int, layers: int, config: HfaGpConfig, n_out: int | None = None) -> nn.Sequential:
    """Equalised linear layers without activation between them, to places in the subspace.

    Args:
        n_in: Numbers that they read.
        layers: Before the last one.
        config: Sizes.
        n_out: Numbers that they give; None: one of each direction.

    Source: HFA-GP (CVPR 2023), published networks.
    """
    sizes = [n_in, *[config.driver_width] * layers, n_out or config.directions]
    linear = [EqualisedLinear(one, two) for one, two in pairwise(sizes)]
    if config.starts_at_prior:
        linear[-1].weight.data.mul_(_FIRST_AMOUNT)
    return nn.Sequential(*linear)


def mean_and_deviation(
    codes: Float[Tensor, "frame code"], smallest: float
) -> tuple[Float[Tensor, " code"], Float[Tensor, " code"]]:
    """What driving codes are standardised by; deviations are at least ``smallest``."""
    return codes.mean(0), codes.std(0, correction=0).clamp_min(smallest)


class ExpressionDriver(nn.Module):
    """Expression coefficients and joint rotations, each in its own standard deviations.

    Args:
        config: Sizes.
        n_codes: Length of the driving code.

    Source: HFA-GP, 3DMM driver; the standardisation is own.
    """

    code_mean: Tensor
    code_std: Tensor

    def __init__(self, config: HfaGpConfig, n_codes: int) -> None:
        super().__init__()
        self.register_buffer("code_mean", torch.zeros(n_codes))
        self.register_buffer("code_std", torch.ones(n_codes))
        self.mapper = mapper(n_codes, config.expression_layers, config)

    def measure(self, codes: Float[Tensor, "frame code"]) -> None:
        """Take mean and deviation of the training frames."""
        mean, deviation = mean_and_deviation(codes, _SMALLEST_STD)
        self.code_mean.copy_(mean)
        self.code_std.copy_(deviation)

    def forward(
        self, code: Float[Tensor, "n code"], progress: float
    ) -> Float[Tensor, "n direction"]:
        """Places in the subspace."""
        del progress
        return self.mapper((code - self.code_mean) / self.code_std)


class PictureDriver(nn.Module):
    """A picture of a face.

    Source: HFA-GP, RGB driver.
    """

    def __init__(self, config: HfaGpConfig) -> None:
        super().__init__()
        self.encoder = PictureEncoder(config.picture_side, config.encoder_base, config.driver_width)
        self.mapper = mapper(config.driver_width, config.picture_layers, config)

    def forward(
        self, picture: Float[Tensor, "n height width 3"], progress: float
    ) -> Float[Tensor, "n direction"]:
        """Places in the subspace."""
        del progress
        return self.mapper(self.encoder(picture.movedim(-1, 1)))


def disturbed(
    picture: Float[Tensor, "side side 3"],
    noise: float,
    new_side: int,
    generator: torch.Generator,
) -> Float[Tensor, "new_side new_side 3"]:
    """A person over white in another light, size and place, so that these are not what a driver goes by.

    Args:
        picture: 0..1.
        noise: Standard deviation of half the log of each channel's darkness; size and twice the shift change by up to as
            much.
        new_side: Of the picture that is made, pixels.
        generator: Of the choice.

    Source: own.
    """
    side = len(picture)
    draw = {"generator": generator, "device": generator.device}
    darkness = torch.exp(2 * noise * torch.randn(3, **draw)).to(picture)
    # White, which is no part of the person, stays white.
    changed = (1 - darkness * (1 - picture)).clamp(0, 1)
    size, right, down = (noise * (2 * torch.rand(3, **draw) - 1)).tolist()
    seen = round(side * (1 + size))
    left, top = (round((side - seen + shift * side) / 2) for shift in (right, down))
    around = (-left, left + seen - side, -top, top + seen - side)
    cut = functional.pad(changed.movedim(-1, 0)[None], around, value=1.0)
    made = functional.interpolate(cut, (new_side, new_side), mode="bilinear", antialias=True)
    return made[0].movedim(0, -1)


class SoundDriver(nn.Module):
    """Windows of audio features: the middle one alone at first, later a weighted mean of all.

    Args:
        config: Sizes, and when the attention begins.
        n_channels: Of the audio features.
        n_out: Numbers that it gives; None: one of each direction.

    Attributes:
        sound_mean: What features are standardised by, (channel,); 0 and 1 where they are taken as they are.
        sound_std: The same.

    Source: HFA-GP, audio driver; networks of AD-NeRF (Guo et al. 2021), section 3.2.
    """

    sound_mean: Tensor
    sound_std: Tensor

    def __init__(self, config: HfaGpConfig, n_channels: int, n_out: int | None = None) -> None:
        super().__init__()
        self.register_buffer("sound_mean", torch.zeros(n_channels))
        self.register_buffer("sound_std", torch.ones(n_channels))
        self.attention_start, self.n_channels = config.attention_start, n_channels
        sizes = (n_channels, 32, 32, 64, _SOUND_SIZE)
        self.convolutions = nn.ModuleList(
            nn.Conv1d(one, two, 3, stride=2, padding=1) for one, two in pairwise(sizes)
        )
        self.linear = nn.ModuleList(nn.Linear(_SOUND_SIZE, _SOUND_SIZE) for _ in range(2))
        sizes = (_SOUND_SIZE, 16, 8, 4, 2, 1)
        self.attention = nn.ModuleList(
            nn.Conv1d(one, two, 3, padding=1) for one, two in pairwise(sizes)
        )
        self.attention_linear = nn.Linear(WINDOWS, WINDOWS)
        self.mapper = mapper(_SOUND_SIZE, config.expression_layers, config, n_out)

    def forward(
        self, sound: Float[Tensor, "n window 16 channel"], progress: float
    ) -> Float[Tensor, "n number"]:
        """Places in the subspace, or what else is wanted of it.

        Args:
            sound: Of each moment the windows around its own, which is the fifth of eight.
            progress: Share of the training done; 1 when rendering.
        """
        sound = (sound - self.sound_mean) / self.sound_std
        if progress < self.attention_start:
            return self.mapper(self.embed(sound[:, WINDOWS // 2]))
        embedded = self.embed(sound.flatten(0, 1)).unflatten(0, sound.shape[:2])
        return self.mapper((self.attend(embedded)[:, None] @ embedded)[:, 0])

    def measure(self, sound: Float[Tensor, "frame 16 channel"]) -> None:
        """Standardise features by mean and deviation of the training frames' own windows."""
        mean, deviation = mean_and_deviation(sound.flatten(0, 1), _SMALLEST_SOUND)
        self.sound_mean.copy_(mean)
        self.sound_std.copy_(deviation)

    def with_noise(self, sound: Tensor, noise: float, generator: torch.Generator) -> Tensor:
        """Sound with white noise on its features.

        Args:
            sound: Windows of training frames, (..., channel).
            noise: Deviation of the noise, in :attr:`sound_std`.
            generator: Of the noise.
        """
        draw = {"generator": generator, "device": generator.device}
        return sound + noise * self.sound_std * torch.randn(sound.shape, **draw).to(sound)

    def embed(self, windows: Float[Tensor, "window 16 channel"]) -> Float[Tensor, "window 64"]:
        """Each window by itself."""
        found = windows.movedim(1, 2)
        for layer in self.convolutions:
            found = functional.leaky_relu(layer(found), _SOUND_LEAK)
        one, two = self.linear
        return two(functional.leaky_relu(one(found[..., 0]), _SOUND_LEAK))

    def attend(self, embedded: Float[Tensor, "n window 64"]) -> Float[Tensor, "n window"]:
        """Weights of each moment's windows; they sum to 1."""
        found = embedded.mT
        for layer in self.attention:
            found = functional.leaky_relu(layer(found), _SOUND_LEAK)
        return torch.softmax(self.attention_linear(found[:, 0]), 1)


def make_driver(config: HfaGpConfig, n_signals: int, n_told: int | None = None) -> nn.Module:
    """The driver that the options name.

    Args:
        config: Options.
        n_signals: Length of the driving code, or channels of the audio features.
        n_told: Numbers that a sound says; None: a place in the subspace.
    """
    if config.driven_by == "picture":
        return PictureDriver(config)
    if config.driven_by == "sound":
        return SoundDriver(config, n_signals, n_told)
    return ExpressionDriver(config, n_signals)
