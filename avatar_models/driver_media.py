"""What drives a model beside the fit: the driver's own pictures, or the sound."""

from __future__ import annotations

from collections.abc import Container, Iterable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from artifacts.errors import InputError
from artifacts.kinds import AUDIO_FEATURES, FRAMES, MATTE
from artifacts.store import open_artifact
from avatar_models.driving_signals import PICTURE_SIDE, WINDOWS, Driving
from avatar_models.frame_images import FrameImages, ImageCache
from head_geometry.images import resize_area

# Two thousand pictures; a long clip is read by slice.
CACHE_BYTES = 400_000_000
WINDOWS_BEFORE = WINDOWS // 2


class DriverPictures:
    """The frames of a clip as a driving signal: the person over white, by the matte.

    Args:
        frames: ``image`` of the clip's ``frames``.
        matte: ``alpha`` of its ``matte``.
        device: Where pictures go.
        readable: Frames whose pixels may be read; None for all.
        cache_bytes: Memory for pictures that were made.

    Raises:
        InputError: the clip has no pictures, or the two differ in length or size.
    """

    def __init__(
        self,
        frames: FrameImages,
        matte: FrameImages,
        device: torch.device | str = "cpu",
        readable: Container[int] | None = None,
        cache_bytes: int = CACHE_BYTES,
    ) -> None:
        if 0 in frames.image_size:
            raise InputError(
                f"{frames.path}: holds no pictures (it is a recording of motion or sound), so it cannot drive a model "
                "that is driven by pictures; give a filmed clip"
            )
        if (frames.n_frames, frames.image_size) != (matte.n_frames, matte.image_size):
            raise InputError(
                f"{matte.path}: {_measures(matte)}, but {frames.path} has {_measures(frames)}; "
                "give frames and matte of the same clip"
            )
        self.n_frames = frames.n_frames
        self._frames, self._matte = frames, matte
        self._device, self._readable = torch.device(device), readable
        self._cache = ImageCache(cache_bytes)

    def picture(self, frame: int) -> Float[Tensor, "side side 3"]:
        """The driver in one frame, 0..1, :data:`PICTURE_SIDE` pixels square.

        Raises:
            KeyError: the frame's pixels may not be read.
        """
        if self._readable is not None and frame not in self._readable:
            raise KeyError(f"frame {frame} is not a training frame; its pixels may not be read")
        return self._cache.get(frame, lambda: self._make(frame)).float() / 255

    def some(self, frames: Iterable[int]) -> Float[Tensor, "n side side 3"]:
        """Pictures of several frames, 0..1.

        Raises:
            KeyError: the pixels of one may not be read.
        """
        return torch.stack([self.picture(frame) for frame in frames])

    def _make(self, frame: int) -> UInt8[Tensor, "side side 3"]:
        image = self._frames.read(frame).to(self._device).float()
        alpha = self._matte.read(frame).to(self._device).float() / 255
        # Composited before it is resized: so the mean of an area is the mean of what is seen there.
        over_white = image * alpha + 255 * (1 - alpha)
        small = resize_area(over_white, (PICTURE_SIDE, PICTURE_SIDE))
        return small.round().clamp(0, 255).to(torch.uint8)


def _measures(images: FrameImages) -> str:
    return "{} frames of {}x{} px".format(images.n_frames, *images.image_size)


class DriverSound:
    """The audio features of a clip as a driving signal, in memory (ten minutes of 80 channels: 77 MB).

    Args:
        feature: Windows of all frames.
        device: Where windows go.
    """

    def __init__(
        self, feature: Float[np.ndarray, "frame 16 channel"], device: torch.device | str = "cpu"
    ) -> None:
        self.n_frames = len(feature)
        self._feature = torch.from_numpy(feature)
        self._device = torch.device(device)

    @classmethod
    def load(cls, path: Path, device: torch.device | str = "cpu") -> DriverSound:
        """Read an ``audio_features`` artifact.

        Raises:
            InputError: no frame of the clip has sound.
        """
        with open_artifact(path, AUDIO_FEATURES) as reader:
            if not reader.read("valid").any():
                raise InputError(
                    f"{path}: the clip has no sound, so it can neither train nor drive a model that is driven by "
                    "sound; give a clip with sound"
                )
            return cls(reader.read("feature"), device)

    def windows(self, frame: int) -> Float[Tensor, "window 16 channel"]:
        """Windows of the frames around one, repeated at the ends of the clip; see :class:`Driving`."""
        wanted = torch.arange(frame - WINDOWS_BEFORE, frame - WINDOWS_BEFORE + WINDOWS)
        return self._feature[wanted.clamp(0, self.n_frames - 1)].to(self._device)


@dataclass(frozen=True)
class DriverMedia:
    """Pictures and sound of a clip, each only where the model is driven by it."""

    pictures: DriverPictures | None = None
    sound: DriverSound | None = None

    def add_to(self, driving: Driving, frame: int) -> Driving:
        """The driving signals, with picture and sound of one frame of this clip."""
        if self.pictures is None and self.sound is None:
            return driving
        return replace(
            driving,
            picture=None if self.pictures is None else self.pictures.picture(frame),
            sound=None if self.sound is None else self.sound.windows(frame),
        )

    def check_length(self, n_frames: int, path: Path) -> None:
        """Refuse media of another clip.

        Args:
            n_frames: Frames of the clip.
            path: Whose length that is.

        Raises:
            InputError: the lengths differ.
        """
        for kind, medium in (("matte", self.pictures), ("audio features", self.sound)):
            if medium is not None and medium.n_frames != n_frames:
                raise InputError(
                    f"{path}: {n_frames} frames, but the driver's {kind} have {medium.n_frames}; "
                    "give files of the same clip"
                )


NO_MEDIA = DriverMedia()


def open_pictures(frames: Path, matte: Path, device: torch.device | str = "cpu") -> DriverPictures:
    """All pictures of a clip, from its ``frames`` and ``matte`` artifacts.

    Raises:
        InputError: the clip has no pictures, or the two do not belong together.
    """
    images = FrameImages(frames, FRAMES, "image")
    return DriverPictures(images, FrameImages(matte, MATTE, "alpha"), device)
