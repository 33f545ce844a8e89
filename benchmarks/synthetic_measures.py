"""How far a face fit of a synthetic clip is from the truth: pure functions, and one row of numbers per fit."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from scipy.spatial import KDTree
from torch import Tensor

from artifacts.kinds import FACE_FIT, FRAMES, LANDMARKS, MATTE, TRUTH
from artifacts.store import ArtifactReader, open_artifact, read_artifact
from head_geometry.cameras import project, transform
from head_geometry.head_model import HeadModel
from head_geometry.landmark_sets import MEDIAPIPE
from head_geometry.rotations import axis_angle_from_matrix, matrix_from_axis_angle
from head_geometry.surface import nearest_on_surface

# The face is what lies this close to a landmark on the mean head: no ears, no throat.
FACE_REACH_M = 0.010
# Frames in which surfaces are compared (others cost much and say the same), points per frame, rounds of alignment.
SURFACE_FRAMES, SURFACE_POINTS, SURFACE_ROUNDS = 8, 600, 6


@dataclass(frozen=True)
class Seen:
    """Heads of all frames of a clip, true or fitted. Float64.

    Attributes:
        vertices: Camera axes, metres.
        points: The 478 landmarks on the mesh, camera axes, metres.
        pixels: Their projections, pixels of the clip.
        rotation: From head axes to camera axes.
        gaze: Unit direction of the left and the right eye, camera axes.
        focal_px: Focal length, pixels of the clip.
    """

    vertices: Float[Tensor, "frame vertex 3"]
    points: Float[Tensor, "frame mediapipe 3"]
    pixels: Float[Tensor, "frame mediapipe 2"]
    rotation: Float[Tensor, "frame 3 3"]
    gaze: Float[Tensor, "frame 2 3"]
    focal_px: float


def see(
    model: HeadModel,
    vertices: Float[Tensor, "frame vertex 3"],
    held: dict[str, np.ndarray],
    clip_from_image: Float[np.ndarray, "3 3"],
) -> Seen:
    """Heads before the camera.

    Args:
        model: The head model.
        vertices: Head axes.
        held: Poses and camera, from a truth or a face_fit artifact.
        clip_from_image: From pixels of the camera's image to pixels of the clip.
    """
    pose = torch.from_numpy(held["camera_from_world"] @ held["world_from_head"])
    placed = transform(pose, vertices)
    points = model.mediapipe_points(placed)
    intrinsics = torch.from_numpy(clip_from_image @ held["intrinsics"])
    turned = matrix_from_axis_angle(torch.from_numpy(held["joint_rotation"]).double())
    forward = torch.eye(3, dtype=torch.float64).expand(len(pose), 3, 3)
    # The eyes of a model without eye joints look where the head looks.
    eyes = [
        turned[:, model.joint_name.index(name)] if name in model.joint_name else forward
        for name in ("eye_left", "eye_right")
    ]
    gaze = torch.einsum("fab,febc->feac", pose[:, :3, :3], torch.stack(eyes, 1))[..., 2]
    return Seen(
        placed, points, project(points, intrinsics), pose[:, :3, :3], gaze, float(intrinsics[0, 0])
    )


def face_vertices(model: HeadModel) -> Int[Tensor, " chosen"]:
    """Vertices of the face region: skin and lips close to the landmarks."""
    usable = [i for i in MEDIAPIPE.face if model.mediapipe_weight[i] > 0]
    points = model.mediapipe_points(model.template)[usable]
    skin = model.part_vertices("face", "lips")
    distance = KDTree(points.numpy()).query(model.template[skin].numpy())[0]
    return skin[torch.from_numpy(distance < FACE_REACH_M)]


def rigid_errors_m(
    found: Float[Tensor, "frame point 3"], true: Float[Tensor, "frame point 3"], scaled: bool
) -> Float[Tensor, "frame point"]:
    """Distances of corresponding points after the best rigid motion of each frame.

    Args:
        found: Metres.
        true: Metres.
        scaled: Also bring all frames to size with one common factor.

    Source: Kabsch (1976); the factor of Umeyama (1991), shared by the frames.
    """
    found = found - found.mean(1, keepdim=True)
    true = true - true.mean(1, keepdim=True)
    turned = found @ _best_rotation(found.mT @ true)
    if scaled:
        turned = turned * (turned * true).sum() / (turned**2).sum()
    return torch.linalg.vector_norm(turned - true, dim=-1)


def _best_rotation(covariance: Float[Tensor, "*batch 3 3"]) -> Float[Tensor, "*batch 3 3"]:
    """The rotation R with the largest trace of R^T covariance."""
    u, _, vh = torch.linalg.svd(covariance)
    sign = torch.ones(covariance.shape[:-1], dtype=covariance.dtype)
    sign[..., 2] = torch.linalg.det(u @ vh).sign()
    return (u * sign[..., None, :]) @ vh


def rotation_errors_deg(
    found: Float[Tensor, "frame 3 3"], true: Float[Tensor, "frame 3 3"], remove_mean: bool
) -> Float[Tensor, " frame"]:
    """Angle between found and true head rotation of each frame.

    Args:
        found: From head axes to camera axes.
        true: The same of the truth.
        remove_mean: First turn the found head axes by the constant rotation that brings them closest to the
            true ones (the chordal mean over the frames): two head models do not share their axes.
    """
    if remove_mean:
        found = found @ _best_rotation((found.mT @ true).sum(0))
    angle = torch.linalg.vector_norm(axis_angle_from_matrix(found @ true.mT), dim=-1)
    return torch.rad2deg(angle)


def surface_distances_m(
    points: Float[np.ndarray, "point 3"],
    vertices: Float[np.ndarray, "vertex 3"],
    triangle: Int[np.ndarray, "face 3"],
    start: tuple[Float[np.ndarray, "landmark 3"], Float[np.ndarray, "landmark 3"]],
) -> Float[np.ndarray, " point"]:
    """Distances of points to a surface after rigid alignment.

    Args:
        points: On the true face, metres.
        vertices: Of the fitted mesh.
        triangle: Of the fitted mesh.
        start: Landmarks on the true and on the fitted mesh, which the alignment starts from.

    Source: Besl and McKay, iterative closest points (1992).
    """
    points = _move(points, *start)
    allowed = np.arange(len(triangle))
    for _ in range(SURFACE_ROUNDS):
        face, weights = nearest_on_surface(points, vertices, triangle, allowed)
        nearest = (vertices[triangle[face]] * weights[..., None]).sum(1)
        distance = np.linalg.norm(nearest - points, axis=1)
        # What has no counterpart (a mouth closed here and open there) does not pull.
        close = distance <= np.quantile(distance, 0.95)
        points = _move(points, points[close], nearest[close])
    face, weights = nearest_on_surface(points, vertices, triangle, allowed)
    return np.linalg.norm((vertices[triangle[face]] * weights[..., None]).sum(1) - points, axis=1)


def _move(points: np.ndarray, first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """``points`` after the rigid motion that brings ``first`` closest to ``second``."""
    middle, goal = first.mean(0), second.mean(0)
    covariance = torch.from_numpy((first - middle).T @ (second - goal))
    return (points - middle) @ _best_rotation(covariance).numpy() + goal


@dataclass(frozen=True)
class Clip:
    """Files of one synthetic clip and the model of its truth."""

    model: HeadModel
    truth: Path
    frames: Path
    landmarks: Path
    matte: Path


def measure_fit(clip: Clip, fit_path: Path, model: HeadModel) -> dict[str, float]:
    """One fit of a clip against its truth.

    Args:
        clip: The clip; its truth's model in float64.
        fit_path: face_fit artifact.
        model: The head model of the fit, float64.
    """
    fit = read_artifact(fit_path, FACE_FIT)
    with open_artifact(clip.frames, FRAMES) as reader:
        clip_from_crop = reader.read("source_from_crop")
    with open_artifact(clip.truth, TRUTH) as reader:
        names = ("camera_from_world", "world_from_head", "intrinsics", "joint_rotation")
        held = {name: reader.read(name) for name in names}
        true = see(clip.model, torch.from_numpy(reader.read("vertex")).double(), held, np.eye(3))
    personal = model.of_subject(fit)
    vertices = personal.vertices(
        *(
            torch.from_numpy(fit[name]).double()
            for name in ("identity", "expression", "joint_rotation")
        )
    )
    found = see(personal, vertices, fit, clip_from_crop)
    valid = torch.from_numpy(fit["valid"])
    same = model.triangle.shape == clip.model.triangle.shape and bool(
        (model.triangle == clip.model.triangle).all()
    )
    row = {"frames": float(len(valid)), "valid %": 100 * float(valid.double().mean())}
    if same:
        face = face_vertices(clip.model)
        pair = found.vertices[valid][:, face], true.vertices[valid][:, face]
        row["face mm"] = 1e3 * float(rigid_errors_m(*pair, scaled=False).mean())
        row["face scaled mm"] = 1e3 * float(rigid_errors_m(*pair, scaled=True).mean())
    row["surface mm"] = 1e3 * _surface_error_m(clip.model, model, found, true, valid)
    turns = found.rotation[valid], true.rotation[valid]
    if same:
        row["rotation °"] = float(rotation_errors_deg(*turns, remove_mean=False).mean())
    row["rotation - mean °"] = float(rotation_errors_deg(*turns, remove_mean=True).mean())
    row["focal %"] = 100 * abs(found.focal_px / true.focal_px - 1)
    row["focal signed %"] = 100 * (found.focal_px / true.focal_px - 1)
    gap = [_lip_gap_m(seen)[valid] for seen in (found, true)]
    row["lips mm"] = 1e3 * float((gap[0] - gap[1]).abs().mean())
    cosine = (found.gaze[valid] * true.gaze[valid]).sum(-1).clamp(-1, 1)
    row["gaze °"] = float(torch.rad2deg(torch.arccos(cosine)).mean())
    usable = (model.mediapipe_weight > 0) & (clip.model.mediapipe_weight > 0)
    row["NME"] = float(_nme(found.pixels, true.pixels, usable)[valid].mean())
    row["shake ‰"] = shake_permille(found.pixels, true.pixels, usable, valid)
    return row


def measure_clip(clip: Clip, fit_path: Path) -> dict[str, float]:
    """What does not depend on the fit's head: detector, matte, torso, and how far off the mean head is."""
    with open_artifact(clip.frames, FRAMES) as reader:
        clip_from_crop = reader.read("source_from_crop")
    landmarks = read_artifact(clip.landmarks, LANDMARKS)
    scale, shift = clip_from_crop[0, 0], clip_from_crop[:2, 2]
    seen = torch.from_numpy(landmarks["points"][..., :2].astype(np.float64) * scale + shift)
    valid = torch.from_numpy(landmarks["valid"])
    fit = read_artifact(fit_path, FACE_FIT)
    with open_artifact(clip.truth, TRUTH) as truth, open_artifact(clip.matte, MATTE) as matte:
        names = ("camera_from_world", "world_from_head", "intrinsics", "joint_rotation")
        held = {name: truth.read(name) for name in names}
        vertices = torch.from_numpy(truth.read("vertex")).double()
        true = see(clip.model, vertices, held, np.eye(3))
        unit = _eye_corner_distance(true.pixels)
        moved = torso_errors_px(truth, fit, clip_from_crop)
        row = {"matte IoU": matte_iou(truth, matte, clip_from_crop)}
        moving = [truth.read(name) for name in ("expression", "joint_rotation")]
    # A fit that beats this has learned something of the person's shape; one that does not has not.
    mean = clip.model.vertices(
        torch.zeros(1, dtype=torch.float64), *(torch.from_numpy(m).double() for m in moving)
    )
    face = face_vertices(clip.model)
    errors = rigid_errors_m(mean[:, face], vertices[:, face], scaled=False)
    row["mean head mm"] = 1e3 * float(errors.mean())
    gap = [_lip_gap_px(points) / _eye_corner_distance(points) for points in (seen, true.pixels)]
    right, left = MEDIAPIPE.eye_corners
    metre = torch.linalg.vector_norm(true.points[:, right] - true.points[:, left], dim=-1)
    row["detector lips mm"] = 1e3 * float(((gap[0] - gap[1]).abs() * metre)[valid].mean())
    row["torso NME"] = float((moved / unit).mean())
    usable = clip.model.mediapipe_weight > 0
    row["detector NME"] = float(_nme(seen, true.pixels, usable)[valid].mean())
    row["detector shake ‰"] = shake_permille(seen, true.pixels, usable, valid)
    return row


def _surface_error_m(
    true_model: HeadModel, model: HeadModel, found: Seen, true: Seen, valid: Bool[Tensor, " frame"]
) -> float:
    frames = valid.nonzero()[:, 0]
    chosen = frames[torch.linspace(0, len(frames) - 1, min(SURFACE_FRAMES, len(frames))).long()]
    face = face_vertices(true_model)
    face = face[:: max(1, len(face) // SURFACE_POINTS)]
    both = (true_model.mediapipe_weight > 0) & (model.mediapipe_weight > 0)
    both[list(MEDIAPIPE.irises)] = False
    errors = [
        surface_distances_m(
            true.vertices[frame, face].numpy(),
            found.vertices[frame].numpy(),
            model.triangle.numpy(),
            (true.points[frame, both].numpy(), found.points[frame, both].numpy()),
        ).mean()
        for frame in chosen.tolist()
    ]
    return float(np.mean(errors))


def _lip_gap_m(seen: Seen) -> Float[Tensor, " frame"]:
    upper, lower = (seen.points[:, point] for point in MEDIAPIPE.lip_pairs[0])
    return torch.linalg.vector_norm(upper - lower, dim=-1)


def _lip_gap_px(pixels: Float[Tensor, "frame mediapipe 2"]) -> Float[Tensor, " frame"]:
    upper, lower = (pixels[:, point] for point in MEDIAPIPE.lip_pairs[0])
    return torch.linalg.vector_norm(upper - lower, dim=-1)


def _eye_corner_distance(pixels: Float[Tensor, "frame mediapipe 2"]) -> Float[Tensor, " frame"]:
    right, left = (pixels[:, corner] for corner in MEDIAPIPE.eye_corners)
    return torch.linalg.vector_norm(right - left, dim=-1)


def _nme(
    found: Float[Tensor, "frame mediapipe 2"],
    true: Float[Tensor, "frame mediapipe 2"],
    usable: Bool[Tensor, " mediapipe"],
) -> Float[Tensor, " frame"]:
    """Mean distance of the usable landmarks over the true distance of the outer eye corners."""
    error = torch.linalg.vector_norm(found - true, dim=-1)[:, usable].mean(1)
    return error / _eye_corner_distance(true)


def shake_permille(
    found: Float[Tensor, "frame mediapipe 2"],
    true: Float[Tensor, "frame mediapipe 2"],
    usable: Bool[Tensor, " mediapipe"],
    valid: Bool[Tensor, " frame"],
) -> float:
    """RMS second difference in time of the landmarks' error, thousandths of the distance of the outer eye corners.

    True motion has no part in it, unlike in the second difference of the landmarks themselves.
    """
    error = (found - true)[:, usable] / _eye_corner_distance(true)[:, None, None]
    bend = error.diff(n=2, dim=0)[valid[2:] & valid[1:-1] & valid[:-2]]
    return 1e3 * float(bend.square().sum(-1).mean().sqrt())


def torso_errors_px(
    truth: ArtifactReader, fit: dict[str, np.ndarray], clip_from_crop: Float[np.ndarray, "3 3"]
) -> Float[Tensor, " frame"]:
    """How far the fit's torso motion takes visible points of the bust from where they truly go, pixels of the clip."""
    bust = torch.from_numpy(truth.read("bust_vertex")).double()
    pose = truth.read("camera_from_world") @ truth.read("world_from_torso")
    placed = transform(torch.from_numpy(pose), bust)
    pixels = project(placed, torch.from_numpy(truth.read("intrinsics")))
    size = torch.from_numpy(truth.read("image_size")).double()
    reference = int(fit["torso_reference_frame"])
    start = pixels[reference]
    in_picture = ((start >= 0) & (start < size)).all(1)
    # The half of the bust that faces the camera.
    seen = in_picture & (placed[reference, :, 2] < placed[reference, :, 2].median())
    to_clip = torch.from_numpy(clip_from_crop)
    motion = to_clip @ torch.from_numpy(fit["torso_from_reference"]) @ torch.linalg.inv(to_clip)
    start = torch.cat([start[seen], torch.ones(int(seen.sum()), 1, dtype=start.dtype)], 1)
    moved = start @ motion.mT
    return torch.linalg.vector_norm(moved[..., :2] - pixels[:, seen], dim=-1).mean(1)


def matte_iou(
    truth: ArtifactReader, matte: ArtifactReader, clip_from_crop: Float[np.ndarray, "3 3"]
) -> float:
    """Intersection over union of the matte and the true person, both above one half, inside the clip."""
    frames, height, width = matte.shape("alpha")
    y, x = np.mgrid[:height, :width]
    place = np.stack([x, y, np.ones_like(x)], -1) @ clip_from_crop.T
    column, row = np.rint(place[..., 0]).astype(int), np.rint(place[..., 1]).astype(int)
    true_height, true_width = truth.shape("alpha")[1:]
    inside = (column >= 0) & (column < true_width) & (row >= 0) & (row < true_height)
    shared = either = 0
    for frame in range(frames):
        person = truth.read("alpha", frame)[row[inside], column[inside]] > 127
        found = matte.read("alpha", frame)[inside] > 127
        shared += int((person & found).sum())
        either += int((person | found).sum())
    return shared / max(either, 1)
