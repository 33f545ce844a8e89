"""Pictures of the synthetic head under known light, with known colours, hair and matte, as artifacts of a clip."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from synthetic_head import make_synthetic_head

from artifacts.kinds import FRAMES, MATTE
from artifacts.store import write_artifact
from head_geometry.cameras import project
from head_geometry.head_model import HeadModel
from head_geometry.normals import vertex_normals
from head_geometry.rasteriser import rasterise
from head_geometry.rotations import matrix_from_axis_angle
from head_geometry.spherical_harmonics import irradiance_basis
from preprocessing.fitting.model import FRONTAL

SIDE = 96
FOCAL = 170.0
LIGHT = torch.tensor([2.6, -0.5, -0.4, 0.35, 0.1, 0.0, 0.05, -0.1, 0.1])[:, None].expand(9, 3)
TONE = torch.tensor([0.5, 0.32, 0.24])


@dataclass(frozen=True)
class Film:
    """The truth behind a clip; camera axes, metres, pixels of the clip's frames."""

    head: HeadModel
    """Hair included."""
    vertex_offset: torch.Tensor
    identity: torch.Tensor
    expression: torch.Tensor
    rotation: torch.Tensor
    translation: torch.Tensor
    points: np.ndarray
    frames: Path
    matte: Path
    intrinsics: torch.Tensor


def albedo_of(template: torch.Tensor) -> torch.Tensor:
    """Skin of one tone with darker bands and freckles, (vertex, 3) linear."""
    x, y, z = (60 * template).unbind(-1)
    pattern = torch.sin(4.1 * x + 1) * torch.sin(3.7 * y) * torch.cos(1.3 * z)
    return TONE * (1 - 0.7 * pattern[:, None].clamp_min(0))


def hair_of(head: HeadModel) -> torch.Tensor:
    """A tuft: the crown pushed outwards by up to two centimetres, (vertex, 3) metres."""
    height = ((head.template[:, 1:2] - 0.05) / 0.08).clamp(0, 1)
    outward = torch.nn.functional.normalize(head.template, dim=-1)
    is_skin = (head.vertex_part != 2) & (head.vertex_part != 3)
    return 0.02 * height * outward * is_skin[:, None]


def film_head(folder: Path, n_frames: int = 24, noise_px: float = 0.4, seed: int = 3) -> Film:
    """Film the head while it nods, turns and talks; landmarks are the true ones with noise."""
    generator = np.random.default_rng(seed)
    base = _with_texture(_with_scalp(make_synthetic_head()))
    offset = hair_of(base)
    head = base.personal(offset)
    t = torch.arange(n_frames) / 25.0
    expression = torch.zeros(n_frames, len(head.expression_name))
    expression[:, 0] = 0.4 - 0.4 * torch.cos(5 * t)
    expression[:, 4] = 0.3 - 0.3 * torch.cos(3 * t)
    rotation = torch.stack(
        [0.1 * torch.sin(2 * t), 0.35 * torch.sin(2.5 * t - 1.2), 0.05 * t.sin()], 1
    )
    translation = torch.stack([0.01 * t.sin(), 0.005 * t.cos(), 0.6 + 0.01 * t.sin()], 1)
    identity = torch.from_numpy(generator.normal(0, 0.4, 8)).float()
    joints = torch.zeros(n_frames, 4, 3)
    vertices = head.vertices(identity, expression, joints)
    pose = matrix_from_axis_angle(rotation) @ FRONTAL.float()
    camera = vertices @ pose.mT + translation[:, None]
    middle = (SIDE - 1) / 2
    intrinsics = torch.tensor([[FOCAL, 0, middle], [0, FOCAL, middle], [0, 0, 1.0]])
    points = project(head.mediapipe_points(camera), intrinsics).double().numpy()
    # A detector's errors go together: each frame's points are shifted and sheared a little.
    shear = generator.normal(size=(n_frames, 2, 2)) * noise_px / 20
    points += (points - middle) @ shear + generator.normal(size=(n_frames, 1, 2)) * noise_px
    albedo = albedo_of(base.template)
    pictures = [_picture(placed, head, albedo, intrinsics) for placed in camera]
    frames, matte = folder / "frames.h5", folder / "matte.h5"
    _write(frames, matte, pictures)
    return Film(
        base, offset, identity, expression, rotation, translation, points, frames, matte, intrinsics
    )


def _with_scalp(head: HeadModel) -> HeadModel:
    """The crown is a part of its own, where hair may be."""
    crown = (head.template[:, 1] > 0.03) & (head.vertex_part == 0)
    part = torch.where(crown, len(head.part_name), head.vertex_part)
    return replace(head, vertex_part=part, part_name=(*head.part_name, "scalp"))


def _with_texture(head: HeadModel) -> HeadModel:
    """The head seen from the front fills the texture; its back and its eyes have no texels."""
    flat = torch.stack([0.5 + 4 * head.template[:, 0], 0.5 - 3 * head.template[:, 1]], -1)
    is_eye = (head.vertex_part == 2) | (head.vertex_part == 3)
    hidden = (head.template[:, 2] < 0) | is_eye
    # Triangles without texels have no area: all their corners are the last texture vertex.
    nowhere = torch.full_like(head.triangle, len(flat))
    textured = torch.where(hidden[head.triangle].any(1, keepdim=True), nowhere, head.triangle)
    return replace(head, uv=torch.cat([flat, torch.zeros(1, 2)]), triangle_uv=textured)


def _picture(camera, head, albedo, intrinsics):
    """One frame, four times supersampled: sRGB and matte, 0..255."""
    large = intrinsics.clone()
    large[:2] *= 4
    large[:2, 2] += 1.5
    raster = rasterise(camera, head.triangle, large, (4 * SIDE, 4 * SIDE))
    lit = albedo * (irradiance_basis(vertex_normals(camera, head.triangle)) @ LIGHT)
    seen = (raster.face_id >= 0).float()[..., None]
    image = raster.interpolate(lit, head.triangle) + 0.2 * (1 - seen)
    small = torch.cat([image, seen], -1).reshape(SIDE, 4, SIDE, 4, 4).mean((1, 3))
    colour = small[..., :3].clamp(0, 1) ** (1 / 2.2)
    return (torch.cat([colour, small[..., 3:]], -1) * 255).round().to(torch.uint8).numpy()


def _write(frames: Path, matte: Path, pictures) -> None:
    stack = np.stack(pictures)
    count = len(stack)
    arrays = {
        "image": stack[..., :3],
        "time_s": np.arange(count) / 25,
        "frame_rate_hz": np.float64(25),
        "source_from_crop": np.eye(3),
        "source_size": np.array([SIDE, SIDE], np.int32),
        "audio": np.zeros(0, np.int16),
        "audio_rate_hz": np.int32(16000),
        "has_audio": np.bool_(False),
    }
    write_artifact(frames, FRAMES, arrays, {})
    write_artifact(matte, MATTE, {"alpha": stack[..., 3]}, {})
