"""One subject's clip as models see it: driving signals for every frame, pixels for the training frames only."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor

from artifacts.errors import InputError
from artifacts.kinds import FACE_FIT, FRAMES, MATTE
from artifacts.splits import split_frames
from artifacts.store import read_artifact
from avatar_models.driver_media import NO_MEDIA, DriverMedia, DriverPictures, DriverSound
from avatar_models.driving_signals import Driving
from avatar_models.frame_images import FrameImages, ImageCache
from head_geometry.cameras import project, resize_intrinsics, transform
from head_geometry.head_model import HeadModel
from head_geometry.head_region import head_region
from head_geometry.images import resize_area
from head_geometry.landmark_sets import landmark_set_of

# Ten minutes of 512² must fit in 4 GB with the model beside it.
CACHE_BYTES = 1_500_000_000


class DrivingClip:
    """The driving signals of one clip: those of its ``face_fit``, and ``media`` for a model that needs them.

    It is all that rendering needs: no training frame is read.

    Attributes:
        head_model: The head model of the fit.
        neutral: Shaped vertices, neutral expression, no joint rotation; (vertex, 3), head axes, metres.
        image_size: Width, height of the images to make, pixels.
        valid: False where the pose was filled in from neighbours, (frame,) NumPy bool.
        media: The clip's pictures or sound, for a model that is driven by them.
    """

    media: DriverMedia = NO_MEDIA

    def __init__(
        self,
        head_model: HeadModel,
        fit: dict[str, np.ndarray],
        image_size: tuple[int, int],
        device: torch.device | str = "cpu",
    ) -> None:
        self.device = torch.device(device)
        self.head_model = head_model.to(self.device)
        self.image_size = image_size
        self.valid = fit["valid"]
        self.identity = self._tensor(fit["identity"])
        self.expression = self._tensor(fit["expression"])
        self.joint_rotation = self._tensor(fit["joint_rotation"])
        camera_from_head = fit["camera_from_world"] @ fit["world_from_head"]
        self.camera_from_head = self._tensor(camera_from_head)
        old_size = (int(fit["image_size"][0]), int(fit["image_size"][1]))
        intrinsics = torch.from_numpy(fit["intrinsics"])
        self.intrinsics = resize_intrinsics(intrinsics, old_size, image_size).float().to(device)
        self.torso_from_reference = self._tensor(
            resize_similarity(fit["torso_from_reference"], old_size, image_size)
        )
        self.torso_reference_frame = int(fit["torso_reference_frame"])
        self.landmark_offset = self._tensor(fit["landmark_offset"])
        self.landmark_set = landmark_set_of(len(self.landmark_offset), "face_fit")
        self.neutral: Float[Tensor, "vertex 3"] = self.head_model.neutral(self.identity)

    @classmethod
    def load(
        cls,
        head_model: Path,
        face_fit: Path,
        image_size: tuple[int, int],
        device: torch.device | str = "cpu",
    ) -> DrivingClip:
        """Read a ``head_model`` and a ``face_fit`` made with it.

        Raises:
            InputError: the two do not belong together.
        """
        fit = read_artifact(face_fit, FACE_FIT)
        model = HeadModel.load(head_model).of_subject(fit, face_fit)
        return cls(model, fit, image_size, device)

    @property
    def n_frames(self) -> int:
        """Frames in the clip."""
        return self.expression.shape[0]

    @property
    def usable_frames(self) -> Int[Tensor, " usable"]:
        """Frames whose pose was found; all where none was; on the CPU."""
        found = self.valid if self.valid.any() else np.ones_like(self.valid)
        return torch.from_numpy(np.flatnonzero(found))

    @property
    def code(self) -> Float[Tensor, "frame code"]:
        """Driving codes of all frames: expression coefficients, then joint rotations in radians."""
        return torch.cat([self.expression, self.joint_rotation.flatten(1)], -1)

    def driving(self, frame: int) -> Driving:
        """The driving signals of one frame (about a millisecond without media; nothing but pictures is cached).

        Raises:
            KeyError: the model is driven by pictures, and the frame's pixels may not be read.
        """
        return self.media.add_to(self.tracked(frame), frame)

    def tracked(self, frame: int) -> Driving:
        """The driving signals of one frame that come from the fit: neither picture nor sound."""
        return self.pose(
            frame,
            self.expression[frame],
            self.joint_rotation[frame],
            self.camera_from_head[frame],
            self.torso_from_reference[frame],
        )

    def pose(
        self,
        frame: int,
        expression: Float[Tensor, " expression"],
        joint_rotation: Float[Tensor, "joint 3"],
        camera_from_head: Float[Tensor, "4 4"],
        torso_from_reference: Float[Tensor, "3 3"],
    ) -> Driving:
        """Driving signals of any expression and pose of this subject.

        Args:
            frame: Index to record.
            expression: Coefficients, 1 is the full action.
            joint_rotation: Axis-angle of each joint, radians, head axes.
            camera_from_head: Head axes to OpenCV camera axes, metres.
            torso_from_reference: Similarity in pixels of ``image_size``.
        """
        vertices = self.head_model.vertices(self.identity, expression[None], joint_rotation[None])[
            0
        ]
        points = self.head_model.landmark_points(vertices, self.landmark_set)
        points = points + self.landmark_offset
        return Driving(
            frame=frame,
            vertices=vertices,
            displacement=vertices - self.neutral,
            code=torch.cat([expression, joint_rotation.flatten()]),
            camera_from_head=camera_from_head,
            intrinsics=self.intrinsics,
            image_size=self.image_size,
            landmarks=project(transform(camera_from_head, points), self.intrinsics),
            torso_from_reference=torso_from_reference,
        )

    def _tensor(self, array: np.ndarray) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(array)).float().to(self.device)


class SubjectData:
    """What a model trains on.

    Pixels of frames outside ``train_frames`` cannot be read through it. Images are resized once, by exact
    pixel areas, and kept as uint8 in a bounded cache, so a short clip ends up in memory and a long one is
    read by slice.

    Attributes:
        clip: Driving signals of every frame.
        image_size: Width, height, pixels.
        train_frames: Frames of the split that were fitted, int64, in order, on the CPU.
        test_frames: Held-out frames, int64, in order, on the CPU.
        device: Where all tensors live.
    """

    def __init__(
        self,
        clip: DrivingClip,
        frames: Path,
        matte: Path,
        split: str,
        cache_bytes: int = CACHE_BYTES,
    ) -> None:
        self.clip = clip
        self.image_size = clip.image_size
        self.device = clip.device
        self._image = _images_of(clip, FrameImages(frames, FRAMES, "image"))
        self._alpha = _images_of(clip, FrameImages(matte, MATTE, "alpha"))
        train, test = split_frames(split, clip.n_frames)
        train = train[clip.valid[train]]
        if len(train) == 0:
            raise InputError(
                f"{frames}: the face was found in none of the training frames of split {split!r}; "
                "choose another split or another clip"
            )
        self.train_frames: Int[Tensor, " train_frame"] = torch.from_numpy(train)
        self.test_frames: Int[Tensor, " test_frame"] = torch.from_numpy(test)
        self._readable = frozenset(train.tolist())
        self._cache = ImageCache(cache_bytes)

    @classmethod
    def load(
        cls,
        frames: Path,
        matte: Path,
        head_model: Path,
        face_fit: Path,
        split: str,
        image_size: tuple[int, int],
        device: torch.device | str = "cpu",
    ) -> SubjectData:
        """Open the four artifacts of a subject.

        Args:
            frames: ``frames`` artifact.
            matte: ``matte`` artifact of the same clip.
            head_model: ``head_model`` artifact.
            face_fit: ``face_fit`` artifact of the same clip and head model.
            split: Name of a split (:func:`artifacts.splits.split_names`).
            image_size: Width, height to train at, pixels.
            device: Where tensors go.

        Raises:
            InputError: the files do not belong together, or the split leaves nothing to train on.
        """
        return cls(DrivingClip.load(head_model, face_fit, image_size, device), frames, matte, split)

    @property
    def head_model(self) -> HeadModel:
        """The head model of the fit."""
        return self.clip.head_model

    @property
    def neutral(self) -> Float[Tensor, "vertex 3"]:
        """The subject's neutral vertices, head axes, metres."""
        return self.clip.neutral

    def driving(self, frame: int) -> Driving:
        """Driving signals of any frame of the clip; with pictures (:meth:`drive_by`) of training frames only.

        Raises:
            KeyError: the model is driven by pictures, and ``frame`` is not a training frame.
        """
        return self.clip.driving(frame)

    def drive_by(self, signal: str, audio_features: Path | None = None) -> None:
        """Let :meth:`driving` also give what a model is driven by.

        Args:
            signal: What :func:`avatar_models.registry.driven_by` says of the model.
            audio_features: ``audio_features`` artifact of the clip, for ``sound``.

        Raises:
            InputError: the clip has no sound, or the files do not belong together.
        """
        if signal == "picture":
            pictures = DriverPictures(self._image, self._alpha, self.device, self._readable)
            self.clip.media = DriverMedia(pictures=pictures)
        elif signal == "sound":
            if audio_features is None:
                raise InputError(
                    "a model that is driven by sound needs the audio features of the subject; "
                    "give them with --audio-features"
                )
            self.clip.media = DriverMedia(sound=DriverSound.load(audio_features, self.device))
            self.clip.media.check_length(self.clip.n_frames, self._image.path)

    def spread_train_frames(self, count: int) -> list[int]:
        """At most ``count`` of the training frames, evenly spaced."""
        return evenly_spaced(self.train_frames, count)

    def image(self, frame: int) -> Float[Tensor, "height width 3"]:
        """A training image, 0..1, over its own background.

        Raises:
            KeyError: ``frame`` is not a training frame.
        """
        return self.image_bytes(frame).float() / 255

    def alpha(self, frame: int) -> Float[Tensor, "height width"]:
        """The person's matte in a training frame, 0..1.

        Raises:
            KeyError: ``frame`` is not a training frame.
        """
        return self.alpha_bytes(frame).float() / 255

    def head_region(self, frame: int) -> Float[Tensor, "height width"]:
        """The head's side of the neck cut in a training frame, 0..1; times ``alpha`` it is the head's matte.

        Source: :func:`head_geometry.head_region.head_region`.

        Raises:
            KeyError: ``frame`` is not a training frame.
        """
        return self._cached("region", frame, self._make_region).float() / 255

    def image_bytes(self, frame: int) -> UInt8[Tensor, "height width 3"]:
        """A training image as it is cached, 0..255."""
        return self._cached("image", frame, lambda f: self._read(self._image, f))

    def alpha_bytes(self, frame: int) -> UInt8[Tensor, "height width"]:
        """The person's matte as it is cached, 0..255."""
        return self._cached("alpha", frame, lambda f: self._read(self._alpha, f)[..., 0])

    def _cached(self, name: str, frame: int, make: Callable[[int], Tensor]) -> Tensor:
        frame = int(frame)
        if frame not in self._readable:
            raise KeyError(f"frame {frame} is not a training frame; its pixels may not be read")
        return self._cache.get((name, frame), lambda: make(frame))

    def _read(self, images: FrameImages, frame: int) -> Tensor:
        return resize_area(images.read(frame).to(self.device), self.image_size)

    def _make_region(self, frame: int) -> Tensor:
        signal = self.clip.tracked(frame)
        region = head_region(
            self.head_model,
            signal.vertices,
            signal.camera_from_head,
            signal.intrinsics,
            self.image_size,
        )
        return (region * 255).round().to(torch.uint8)


def evenly_spaced(frames: Int[Tensor, " frame"], count: int) -> list[int]:
    """At most ``count`` of some frames, the first and the last among them."""
    if len(frames) <= count:
        return frames.tolist()
    return frames[torch.linspace(0, len(frames) - 1, count).round().long()].tolist()


def resize_similarity(
    matrix: Float[np.ndarray, "*batch 3 3"], old_size: tuple[int, int], new_size: tuple[int, int]
) -> Float[np.ndarray, "*batch 3 3"]:
    """A homogeneous pixel-to-pixel map after the images were resized from ``old_size`` to ``new_size``."""
    new_from_old = resize_intrinsics(torch.eye(3, dtype=torch.float64), old_size, new_size).numpy()
    return new_from_old @ matrix @ np.linalg.inv(new_from_old)


def _images_of(clip: DrivingClip, images: FrameImages) -> FrameImages:
    if images.n_frames != clip.n_frames:
        raise InputError(
            f"{images.path}: {images.n_frames} frames, but the face fit has {clip.n_frames}; "
            "run face_fit again on this clip"
        )
    return images
