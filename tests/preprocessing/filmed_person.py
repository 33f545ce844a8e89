"""A synthetic person as the synthesis draws it, with a chosen turn and light, tracked by the real steps."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from clips import detector_path
from image_artifacts import write_frames

from artifacts.kinds import FACE_FIT, LANDMARKS
from artifacts.store import read_artifact
from assets.fetch import fetch_asset
from head_geometry.cameras import project, transform
from head_geometry.head_model import HeadModel
from head_geometry.rotations import axis_angle_from_matrix, matrix_from_axis_angle
from preprocessing import face_fit, head_model, landmarks, matte
from preprocessing.synthesis.motion import Motion, Pose
from preprocessing.synthesis.person import make_person
from preprocessing.synthesis.render import Renderer
from preprocessing.synthesis.scene import Scene
from preprocessing.synthesis.speech import Speech

RATE_HZ = 25.0


@dataclass(frozen=True)
class FilmedPerson:
    """Frames of a person, and the truth behind them: vertices in camera axes, metres."""

    image: np.ndarray
    vertices: torch.Tensor
    camera_from_head: torch.Tensor
    intrinsics: torch.Tensor
    head: Path


def write_small_head_model(path: Path) -> Path:
    """The default head model, made from fewer heads than usual (13 s)."""
    nets = detector_path(), fetch_asset("face_landmark_with_attention.tflite")
    size = {"samples": 60, "components": 25, "portraits": 50, "held_out": 2}
    head_model.main(head_model.Options(*nets, path, portrait_size_px=192, **size))
    return path


def film_person(head: Path, yaw_deg: np.ndarray, size_px: int, light_of=None) -> FilmedPerson:
    """Film a person who talks and sways as synthetic people do.

    Args:
        head: head_model artifact.
        yaw_deg: Turn of the whole person in each frame, positive towards the picture's right.
        size_px: Width and height of the frames.
        light_of: The light of a frame, from its number and the scene's own light.
    """
    model, random = HeadModel.load(head), np.random.default_rng(3)
    person = replace(make_person(random, len(model.identity_std)), hair_style="short")
    scene = Scene(model, person, random, size_px)
    renderer, own_light = Renderer(scene), scene.light
    sounds = Speech(
        np.zeros(4000, np.int16), 1000, ("", "ɑː", "m", "uː"), np.array([0, 0.5, 1.2, 2.0])
    )
    motion = Motion(model, sounds, random, scene.camera.world_from_rest, scene.neck_joint)
    images, vertices, poses = [], [], []
    for frame, yaw in enumerate(np.radians(yaw_deg)):
        pose = _turned(motion.at(frame / RATE_HZ), float(yaw), scene.neck_joint.double())
        scene.light = own_light if light_of is None else light_of(frame, own_light)
        drawn, in_head = renderer.draw(pose, frame)
        images.append(drawn.image)
        poses.append(pose.world_from_head.float())
        vertices.append(transform(poses[-1], in_head))
    return FilmedPerson(
        np.stack(images), torch.stack(vertices), torch.stack(poses), scene.camera.intrinsics, head
    )


def _turned(pose: Pose, yaw_rad: float, neck: torch.Tensor) -> Pose:
    """The pose with head and torso turned about the upright axis through the neck."""
    turn = torch.eye(4, dtype=torch.float64)
    turn[:3, :3] = matrix_from_axis_angle(torch.tensor([0.0, yaw_rad, 0.0], dtype=torch.float64))
    turn[:3, 3] = neck - turn[:3, :3] @ neck
    return replace(
        pose,
        world_from_head=pose.world_from_head @ turn,
        world_from_torso=pose.world_from_torso @ turn,
    )


@dataclass(frozen=True)
class Tracked:
    """What the real steps made of some frames of a person."""

    person: FilmedPerson
    folder: Path

    @property
    def fit(self) -> dict[str, np.ndarray]:
        return read_artifact(self.folder / "face_fit.h5", FACE_FIT)

    @property
    def landmarks(self) -> dict[str, np.ndarray]:
        return read_artifact(self.folder / "landmarks.h5", LANDMARKS)

    def rotation_errors_deg(self) -> np.ndarray:
        """Of each frame, apart from what all share."""
        found = torch.from_numpy(self.fit["world_from_head"][:, :3, :3]).float()
        turn = axis_angle_from_matrix(found @ self.person.camera_from_head[:, :3, :3].mT)
        return np.degrees(torch.linalg.vector_norm(turn - turn.median(0).values, dim=-1).numpy())

    def landmark_errors(self) -> np.ndarray:
        """Mean distance of the fitted face points from the true ones over the true eye distance, of each frame."""
        model, fit = HeadModel.load(self.person.head), self.fit
        own = model.personal(torch.from_numpy(fit["vertex_offset"]))
        numbers = (
            torch.from_numpy(fit[name]) for name in ("identity", "expression", "joint_rotation")
        )
        pose = torch.from_numpy(fit["world_from_head"]).float()
        fitted = model.mediapipe_points(transform(pose, own.vertices(*numbers)))
        found = project(fitted, torch.from_numpy(fit["intrinsics"]).float())
        true = project(model.mediapipe_points(self.person.vertices), self.person.intrinsics)
        unit = torch.linalg.vector_norm(true[:, 33] - true[:, 263], dim=-1)
        usable = model.mediapipe_weight > 0
        error = torch.linalg.vector_norm(found - true, dim=-1)[:, usable].mean(1)
        return (error / unit).numpy()


def find_points(image: np.ndarray, folder: Path) -> Path:
    """Frames and landmarks artifacts of some images."""
    folder.mkdir(parents=True, exist_ok=True)
    frames, points = write_frames(folder / "frames.h5", image), folder / "landmarks.h5"
    mesh = fetch_asset("face_landmark_with_attention.tflite")
    landmarks.main(landmarks.Options(frames, detector_path(), points, mesh=mesh))
    return frames


def track(person: FilmedPerson, image: np.ndarray, folder: Path, photometric="light") -> Tracked:
    """Run landmarks, matte and face_fit on frames of a person, as they are or damaged."""
    frames = find_points(image, folder)
    points, alpha = folder / "landmarks.h5", folder / "matte.h5"
    segmenter = fetch_asset("selfie_segmentation.tflite")
    matte.main(matte.Options(frames=frames, landmarks=points, segmenter=segmenter, out=alpha))
    face_fit.main(
        face_fit.Options(
            points, person.head, folder / "face_fit.h5", frames, alpha, photometric=photometric
        )
    )
    return Tracked(person, folder)
