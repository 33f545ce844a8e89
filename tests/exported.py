"""A clip that is awkward to export, our own pixels of its vertices, and FLAME's kinematics written a second time."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from toy import make_toy_subject

from artifacts.kinds import FACE_FIT, FRAMES, HEAD_MODEL
from artifacts.store import read_artifact, write_artifact
from head_geometry.head_model import HeadModel
from head_geometry.rotations import matrix_from_axis_angle
from preprocessing.export import Options, main

N_FRAMES, SIDE, INVALID = 10, 96, 3
FLAME_JOINTS = ("head", "neck", "jaw", "eye_left", "eye_right")


@dataclass(frozen=True)
class ExportedClip:
    """Paths of the artifacts, and every vertex's pixel as our own camera sees it, per frame."""

    folder: Path
    options: dict[str, Path]
    head: HeadModel
    fit: dict[str, np.ndarray]
    vertices: np.ndarray
    """Posed, head axes, (frame, vertex, 3)."""
    pixels: np.ndarray
    """(frame, vertex, 2)."""
    train: np.ndarray
    test: np.ndarray

    @property
    def kept(self) -> np.ndarray:
        """Frames that every format holds."""
        return np.concatenate([self.train, self.test])

    def write(self, name: str) -> Path:
        """Export in one format, once; the folder."""
        out = self.folder / name
        if not out.is_dir():
            main(Options(format=name, out=out, **self.options))
        return out

    def joints(self) -> np.ndarray:
        """Places in the neutral head."""
        neutral = self.head.neutral(torch.from_numpy(self.fit["identity"]))
        return (self.head.joint_regressor @ neutral).double().numpy()


def make_clip(folder: Path, flame_like: bool, root_known: bool = True) -> ExportedClip:
    """A toy clip with an off-centre principal point, two focal lengths, a moving camera, a bent neck, a personal displacement
    and one frame that was not fitted.

    Args:
        folder: Made if missing.
        flame_like: With the joints of FLAME, the head being the root; else the toy's own, the neck being it.
        root_known: Let the root lie elsewhere than the pivot between neck and head.
    """
    subject = make_toy_subject(folder, N_FRAMES, SIDE, seed=4, invalid_frames=(INVALID,))
    model, fit = (
        read_artifact(subject.head_model, HEAD_MODEL),
        read_artifact(subject.face_fit, FACE_FIT),
    )
    rng = np.random.default_rng(7)
    if flame_like:
        model |= _flame_joints(model)
        if not root_known:
            model["joint_regressor"][0] = model["joint_regressor"][1]
    joints = len(model["joint_name"])
    fit["joint_rotation"] = rng.normal(0, 0.15, (N_FRAMES, joints, 3)).astype(np.float32)
    root = list(model["joint_parent"]).index(-1)
    fit["joint_rotation"][:, root] = 0
    fit["vertex_offset"] = rng.normal(0, 0.001, model["template"].shape).astype(np.float32)
    fit["intrinsics"] = np.array([[150.0, 0, 50.25], [0, 148.0, 45.5], [0, 0, 1]])
    moved = np.tile(np.eye(4), (N_FRAMES, 1, 1))
    for frame in range(N_FRAMES):
        turn = torch.tensor([0.01 * frame, -0.02 * frame, 0.005 * frame]).double()
        moved[frame, :3, :3] = matrix_from_axis_angle(turn).numpy()
        moved[frame, :3, 3] = [0.002 * frame, -0.001 * frame, 0.003 * frame]
    fit["camera_from_world"] = moved
    paths = {"head_model": folder / "flame_like.h5", "face_fit": folder / "awkward_fit.h5"}
    note = {"step": "tests.exported", "options": {}}
    write_artifact(paths["head_model"], HEAD_MODEL, model, note)
    write_artifact(paths["face_fit"], FACE_FIT, fit, note)
    options = {"frames": subject.frames, "matte": subject.matte, **paths}
    head = HeadModel.load(paths["head_model"]).of_subject(fit)
    vertices = head.vertices(
        *(torch.from_numpy(fit[name]) for name in ("identity", "expression", "joint_rotation"))
    )
    camera = fit["camera_from_world"] @ fit["world_from_head"]
    placed = vertices.double().numpy() @ camera[:, :3, :3].swapaxes(1, 2) + camera[:, None, :3, 3]
    pixels = placed @ fit["intrinsics"].T
    kept = np.delete(np.arange(N_FRAMES), INVALID)
    return ExportedClip(
        folder=folder,
        options=options,
        head=head,
        fit=fit,
        vertices=vertices.numpy(),
        pixels=pixels[..., :2] / pixels[..., 2:],
        train=kept[kept < 8],
        test=kept[kept >= 8],
    )


def _flame_joints(model: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Joints as FLAME has them: the head is the root, a jaw hangs on it."""
    old = list(model["joint_name"])
    weight = np.zeros((len(model["template"]), len(FLAME_JOINTS)), np.float32)
    regressor = np.zeros((len(FLAME_JOINTS), len(model["template"])), np.float32)
    for place, name in enumerate(FLAME_JOINTS):
        if name in old:
            weight[:, place] = model["skin_weight"][:, old.index(name)]
            regressor[place] = model["joint_regressor"][old.index(name)]
    low = (model["template"][:, 1] < -0.06) & (model["template"][:, 2] > 0)
    share = 0.5 * low * weight[:, 0]
    weight[:, 2] += share
    weight[:, 0] -= share
    regressor[2, np.flatnonzero(low)[:5]] = 0.2
    return {
        "joint_name": np.array(FLAME_JOINTS),
        "joint_parent": np.array([-1, 0, 0, 0, 0], np.int32),
        "joint_regressor": regressor,
        "skin_weight": weight,
        "joint_expression": np.zeros((0, len(FLAME_JOINTS), 3), np.float32),
    }


def rotation(axis_angle: np.ndarray) -> np.ndarray:
    """Rodrigues' formula."""
    angle = np.linalg.norm(axis_angle)
    x, y, z = axis_angle / max(angle, 1e-12)
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    return np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * cross @ cross


def flame_vertices(clip: ExportedClip, shaped: np.ndarray, pose: np.ndarray) -> np.ndarray:
    """FLAME's own chain, root (lower neck) -> neck (head) -> jaw and eyes, over ``shaped`` vertices.

    Args:
        clip: Says which column of the skinning weights is which.
        shaped: Neutral vertices with the expression, before any rotation.
        pose: Global, neck, jaw, left eye, right eye: 15 numbers.
    """
    names, parents, places = clip.head.joint_name, clip.head.joint_parent, clip.joints()
    skull, neck = names.index("head"), names.index("neck")
    root, pivot = (neck, skull) if parents[skull] == neck else (skull, neck)
    points = {"root": places[root], "neck": places[pivot]}
    chain = {"root": None, "neck": "root", "jaw": "neck", "eye_left": "neck", "eye_right": "neck"}
    column = {"root": neck, "neck": skull}
    for name in ("jaw", "eye_left", "eye_right"):
        if name in names:
            points[name], column[name] = places[names.index(name)], names.index(name)
    weight, posed = clip.head.skin_weight.double().numpy(), np.zeros_like(shaped, np.float64)
    turns: dict[str, np.ndarray] = {}
    for name, local in zip(chain, pose.reshape(5, 3), strict=True):
        if name not in points:
            continue
        parent = chain[name]
        matrix = np.eye(4)
        matrix[:3, :3] = rotation(local)
        matrix[:3, 3] = points[name] - (0 if parent is None else points[parent])
        turns[name] = matrix if parent is None else turns[parent] @ matrix
        moved = (shaped - points[name]) @ turns[name][:3, :3].T + turns[name][:3, 3]
        posed += weight[:, column[name], None] * moved
    return posed


def gradient_frames(clip: ExportedClip) -> Path:
    """The clip's frames with pictures whose red is twice the column and whose green twice the row."""
    arrays = read_artifact(clip.options["frames"], FRAMES)
    y, x = np.mgrid[:SIDE, :SIDE]
    picture = np.dstack([2 * x, 2 * y, np.zeros_like(x)]).astype(np.uint8)
    arrays["image"] = np.repeat(picture[None], N_FRAMES, 0)
    path = clip.folder / "gradient.h5"
    write_artifact(path, FRAMES, arrays, {"step": "tests.exported", "options": {}})
    return path
