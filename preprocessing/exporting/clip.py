"""A fitted clip as the exporters see it: cameras, coefficients and meshes at hand, pictures one by one."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor

from artifacts.errors import InputError
from artifacts.kinds import FACE_FIT, FRAMES, MATTE
from artifacts.provenance import file_digest
from artifacts.splits import split_frames
from artifacts.store import ArtifactReader, open_artifact, read_artifact, read_provenance
from head_geometry.head_model import HeadModel
from head_geometry.head_region import head_region

# Vertices of the published FLAME topology: what tells its coefficients from those of any other model.
FLAME_VERTICES = 5023
# Frames that watch a training; they are among the training frames, so that no choice is made on the test.
N_VALIDATION = 20


@dataclass(frozen=True)
class Picture:
    """One frame of the clip."""

    frame: int
    image: UInt8[np.ndarray, "height width 3"]
    """sRGB."""
    alpha: UInt8[np.ndarray, "height width"]
    """Opacity of the person."""


@dataclass(frozen=True)
class FittedClip:
    """A clip with its fit.

    Attributes:
        head: The subject's own head model (its personal displacement applied).
        head_name: Name of the published model, as the file is called.
        fit: Datasets of the ``face_fit``.
        time_s: Time of each frame.
        frame_rate_hz: Frames per second.
        train: Frames of the split that were fitted, in order.
        test: The held-out ones that were fitted, in order.
    """

    head: HeadModel
    head_name: str
    fit: dict[str, np.ndarray]
    time_s: Float[np.ndarray, " frame"]
    frame_rate_hz: float
    train: Int[np.ndarray, " train_frame"]
    test: Int[np.ndarray, " test_frame"]
    frames_reader: ArtifactReader
    matte_reader: ArtifactReader

    @property
    def size(self) -> tuple[int, int]:
        """Width, height of the pictures, pixels."""
        width, height = self.fit["image_size"].tolist()
        return width, height

    @property
    def kept(self) -> Int[np.ndarray, " kept_frame"]:
        """Training and test frames together: every frame that was fitted."""
        return np.concatenate([self.train, self.test])

    @property
    def validation(self) -> Int[np.ndarray, " validation_frame"]:
        """A few training frames, evenly spaced."""
        places = np.linspace(0, len(self.train) - 1, min(N_VALIDATION, len(self.train)))
        return self.train[places.round().astype(int)]

    @property
    def is_flame(self) -> bool:
        """True where the coefficients are those of FLAME."""
        return len(self.head.template) == FLAME_VERTICES and "jaw" in self.head.joint_name

    @cached_property
    def identity(self) -> Float[Tensor, " identity"]:
        """Shape coefficients, standard deviations."""
        return torch.from_numpy(self.fit["identity"])

    @cached_property
    def joint_rotation(self) -> Float[Tensor, "frame joint 3"]:
        """Axis-angle of each joint, radians, head axes."""
        return torch.from_numpy(self.fit["joint_rotation"])

    @cached_property
    def world_from_head(self) -> Float[Tensor, "frame 4 4"]:
        """Metres; the world has the OpenCV axes of the first camera."""
        return torch.from_numpy(self.fit["world_from_head"])

    @cached_property
    def camera_from_world(self) -> Float[Tensor, "frame 4 4"]:
        """Metres; OpenCV camera axes."""
        return torch.from_numpy(self.fit["camera_from_world"])

    @cached_property
    def camera_from_head(self) -> Float[Tensor, "frame 4 4"]:
        """Metres; OpenCV camera axes."""
        return self.camera_from_world @ self.world_from_head

    @cached_property
    def intrinsics(self) -> Float[Tensor, "3 3"]:
        """Pinhole matrix in pixels of the pictures."""
        return torch.from_numpy(self.fit["intrinsics"])

    @cached_property
    def neutral(self) -> Float[Tensor, "vertex 3"]:
        """The subject's neutral vertices, head axes, metres."""
        return self.head.neutral(self.identity)

    @cached_property
    def expression(self) -> Float[Tensor, "frame expression"]:
        """Coefficients, 1 is the full action."""
        return torch.from_numpy(self.fit["expression"])

    @cached_property
    def joints(self) -> Float[Tensor, "frame joint 3"]:
        """Places of the joints before any of them turns, head axes, metres."""
        return self.head.joint_places(self.identity, self.expression)

    def joint(self, name: str) -> int | None:
        """Index of a joint; None where the head model has none of that name."""
        names = self.head.joint_name
        return names.index(name) if name in names else None

    def vertices(self, frame: int) -> Float[Tensor, "vertex 3"]:
        """Posed vertices of a frame, head axes, metres."""
        row = slice(frame, frame + 1)
        return self.head.vertices(self.identity, self.expression[row], self.joint_rotation[row])[0]

    def head_alpha(self, picture: Picture) -> UInt8[np.ndarray, "height width"]:
        """Opacity of the head without the torso."""
        region = head_region(
            self.head,
            self.vertices(picture.frame),
            self.camera_from_head[picture.frame].float(),
            self.intrinsics.float(),
            self.size,
        )
        return (region.numpy() * picture.alpha).round().astype(np.uint8)

    def pictures(self, frames: Iterable[int] | np.ndarray) -> Iterator[Picture]:
        """The given frames, read one by one."""
        for frame in map(int, frames):
            image = self.frames_reader.read("image", frame)
            yield Picture(frame, image, self.matte_reader.read("alpha", frame))

    def coefficient_owner(self) -> dict[str, object]:
        """What a file must say about its coefficients: the model they belong to, and their names."""
        return {
            "head_model": self.head_name,
            "expression_name": list(self.head.expression_name),
            "joint_name": list(self.head.joint_name),
        }


@contextmanager
def open_clip(
    frames: Path, matte: Path, head_model: Path, face_fit: Path, split: str
) -> Iterator[FittedClip]:
    """Open the artifacts of one clip.

    Raises:
        InputError: they do not belong together, or the split leaves nothing.
    """
    fit = read_artifact(face_fit, FACE_FIT)
    head = HeadModel.load(head_model).of_subject(fit, face_fit)
    _check_origin(face_fit, {"frames": frames, "matte": matte, "head_model": head_model})
    count = len(fit["valid"])
    with open_artifact(frames, FRAMES) as images, open_artifact(matte, MATTE) as mattes:
        expected = (count, *fit["image_size"].tolist()[::-1])
        for path, shape in ((frames, images.shape("image")[:3]), (matte, mattes.shape("alpha"))):
            if shape != expected:
                raise InputError(
                    f"{path}: {shape[0]} frames of {shape[2]}x{shape[1]} pixels, but {face_fit} was fitted to "
                    f"{count} of {expected[2]}x{expected[1]}; give frames, matte and fit of the same clip"
                )
        train, test = split_frames(split, count)
        train, test = train[fit["valid"][train]], test[fit["valid"][test]]
        if not len(train) or not len(test):
            raise InputError(
                f"{face_fit}: the face was found in no training or in no test frame of split {split!r}; "
                "choose another split or another clip"
            )
        yield FittedClip(
            head=head,
            head_name=head_model.stem,
            fit=fit,
            time_s=images.read("time_s"),
            frame_rate_hz=float(images.read("frame_rate_hz")),
            train=train,
            test=test,
            frames_reader=images,
            matte_reader=mattes,
        )


def _check_origin(face_fit: Path, inputs: dict[str, Path]) -> None:
    """Compare the digests that the fit recorded of its inputs; a fit that recorded none is taken as it is."""
    recorded = read_provenance(face_fit).get("inputs") or {}
    for name, path in inputs.items():
        if name in recorded and path.is_file() and file_digest(path) != recorded[name]:
            raise InputError(
                f"{path}: is not the {name} file that {face_fit} was fitted to; give the one of the same run, "
                "or run face_fit again"
            )
