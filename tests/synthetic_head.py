"""A small head model made of formulas (a skull on a neck, two eyeballs), so that a fit's truth is known."""

import numpy as np
import torch

from artifacts.store import write_artifact
from head_geometry.head_model import HeadModel
from head_geometry.landmark_sets import MEDIAPIPE, SPARSE68

RINGS, SECTORS = 40, 40
EYE = np.array([0.032, 0.03, 0.075])
EYE_RADIUS = 0.012
NAMES = (
    "jawOpen", "mouthClose", "eyeBlinkLeft", "eyeBlinkRight", "mouthSmileLeft", "mouthSmileRight",
    "browInnerUp", "cheekPuff",
)  # fmt: skip
JOINTS = ("neck", "head", "eye_left", "eye_right")


def _grid_triangles(rings, sectors, start):
    i, j = np.meshgrid(np.arange(rings - 1), np.arange(sectors), indexing="ij")
    a = i * sectors + j
    b = i * sectors + (j + 1) % sectors
    lower = np.stack([a, a + sectors, b], -1).reshape(-1, 3)
    upper = np.stack([b, a + sectors, b + sectors], -1).reshape(-1, 3)
    return np.concatenate([lower, upper]) + start


def _skull():
    height = np.linspace(0.13, -0.17, RINGS)
    head = np.sqrt(np.clip(1 - (height / 0.131) ** 2, 0.02, None))
    radius = np.where(height > -0.09, np.maximum(head, 0.55), 0.55)
    angle = np.linspace(0, 2 * np.pi, SECTORS, endpoint=False)
    x = 0.075 * radius[:, None] * np.sin(angle)
    z = 0.09 * radius[:, None] * np.cos(angle) - 0.03 * (radius[:, None] < 0.6)
    nose = 0.02 * np.exp(-((x / 0.012) ** 2) - ((height[:, None] + 0.01) / 0.02) ** 2) * (z > 0)
    y = np.broadcast_to(height[:, None], x.shape)
    return np.stack([x, y, z + nose], -1).reshape(-1, 3)


def _eye(centre):
    latitude = np.linspace(0.05, np.pi - 0.05, 9)
    angle = np.linspace(0, 2 * np.pi, 12, endpoint=False)
    ring = np.stack(
        [
            np.sin(latitude)[:, None] * np.sin(angle),
            np.broadcast_to(np.cos(latitude)[:, None], (9, 12)),
            np.sin(latitude)[:, None] * np.cos(angle),
        ],
        -1,
    )
    return centre + EYE_RADIUS * ring.reshape(-1, 3)


def _bump(skin, centre, width, move):
    weight = np.exp(-(((skin - centre) / width) ** 2).sum(1)) * (skin[:, 2] > 0)
    return weight[:, None] * np.asarray(move)


def _expressions(skin, count):
    basis = np.zeros((len(NAMES), count, 3))
    jaw = _bump(skin, [0, -0.085, 0.07], [0.05, 0.035, 0.08], [0, -0.025, -0.005])
    bumps = {
        "jawOpen": jaw,
        "mouthClose": -0.8 * jaw * np.exp(-(((skin[:, 1:2] + 0.065) / 0.012) ** 2)),
        "mouthSmileLeft": _bump(skin, [0.028, -0.055, 0.08], [0.015, 0.015, 0.05], [0.008, 0.006, 0]),
        "mouthSmileRight": _bump(skin, [-0.028, -0.055, 0.08], [0.015, 0.015, 0.05], [-0.008, 0.006, 0]),
        "eyeBlinkLeft": _bump(skin, [0.032, 0.034, 0.08], [0.016, 0.007, 0.05], [0, -0.009, 0.001]),
        "eyeBlinkRight": _bump(skin, [-0.032, 0.034, 0.08], [0.016, 0.007, 0.05], [0, -0.009, 0.001]),
        "browInnerUp": _bump(skin, [0, 0.055, 0.08], [0.03, 0.012, 0.05], [0, 0.008, 0]),
        "cheekPuff": _bump(skin, [0.04, -0.03, 0.07], [0.02, 0.02, 0.05], [0.006, 0, 0.006])
        + _bump(skin, [-0.04, -0.03, 0.07], [0.02, 0.02, 0.05], [-0.006, 0, 0.006]),
    }  # fmt: skip
    for row, name in enumerate(NAMES):
        basis[row, : len(skin)] = bumps[name]
    return basis


def _identity(template, count, generator):
    """Random smooth deformations without rigid motion and size, orthonormal."""
    frequencies = generator.normal(size=(count, 3, 3)) * 18
    phases = generator.uniform(0, 6, size=(count, 1, 3))
    raw = np.sin(np.einsum("vk,ckj->cvj", template, frequencies) + phases)
    centred = template - template.mean(0)
    rigid = [np.broadcast_to(axis, template.shape) for axis in np.eye(3)]
    rigid += [np.cross(axis, centred) for axis in np.eye(3)] + [centred]
    flat = np.concatenate([np.stack(rigid), raw]).reshape(count + 7, -1)
    basis = np.linalg.qr(flat.T)[0].T[7:]
    return basis.reshape(count, -1, 3), np.geomspace(0.06, 0.01, count)


def make_synthetic_head(identities=8, seed=0):
    """HeadModel with known, smooth bases; landmarks 33 and 263 are the outer eye corners."""
    generator = np.random.default_rng(seed)
    skin = _skull()
    eyes = [_eye(EYE), _eye(EYE * [-1, 1, 1])]
    template = np.concatenate([skin, *eyes])
    triangle = np.concatenate(
        [_grid_triangles(RINGS, SECTORS, 0), _grid_triangles(9, 12, len(skin)), _grid_triangles(9, 12, len(skin) + 108)]
    )  # fmt: skip
    count = len(template)
    basis, std = _identity(template, identities, generator)
    weight = np.zeros((count, 4))
    weight[: len(skin), 1] = 1
    weight[len(skin) : len(skin) + 108, 2] = 1
    weight[len(skin) + 108 :, 3] = 1
    regressor = np.zeros((4, count))
    regressor[0, np.arange(len(skin))[skin[:, 1] < -0.15]] = 1
    regressor[1, np.arange(len(skin))[np.abs(skin[:, 1] + 0.1) < 0.01]] = 1
    regressor[2, len(skin) : len(skin) + 108] = 1
    regressor[3, len(skin) + 108 :] = 1
    regressor /= regressor.sum(1, keepdims=True)
    part = np.zeros(count, np.int64)
    part[: len(skin)][skin[:, 1] < -0.12] = 1
    part[len(skin) : len(skin) + 108], part[len(skin) + 108 :] = 2, 3
    faces, barycentric = _landmarks(MEDIAPIPE, template, triangle, len(skin), generator)
    faces68, barycentric68 = _landmarks(SPARSE68, template, triangle, len(skin), generator)

    def real(array):
        return torch.from_numpy(np.ascontiguousarray(array, np.float32))

    bounds = torch.ones(len(NAMES))
    return HeadModel(
        template=real(template), identity_basis=real(basis), identity_std=real(std),
        expression_basis=real(_expressions(skin, count)), expression_name=NAMES,
        expression_lower=torch.zeros(len(NAMES)), expression_upper=bounds,
        joint_name=JOINTS, joint_parent=(-1, 0, 1, 1), joint_regressor=real(regressor),
        skin_weight=real(weight), triangle=torch.from_numpy(triangle),
        pose_corrective=torch.zeros(0, 9, len(weight), 3), joint_expression=torch.zeros(0, len(JOINTS), 3),
        uv=torch.zeros(count, 2), triangle_uv=torch.from_numpy(triangle),
        vertex_part=torch.from_numpy(part), part_name=("face", "neck", "eye_left", "eye_right"),
        mirror_vertex=torch.arange(count),
        mediapipe_face=torch.from_numpy(faces), mediapipe_barycentric=real(barycentric),
        mediapipe_weight=torch.ones(478),
        sparse68_face=torch.from_numpy(faces68), sparse68_barycentric=real(barycentric68),
    )  # fmt: skip


def _nearest(template, triangle, targets):
    centres = template[triangle].mean(1)
    return np.linalg.norm(centres[None] - np.asarray(targets)[:, None], axis=-1).argmin(1)


def _landmarks(landmarks, template, triangle, skin_vertices, generator):
    centres = template[triangle].mean(1)
    front = (
        (centres[:, 2] > 0.025) & (centres[:, 1] > -0.12) & (centres[:, 1] < 0.1)
        & (triangle.max(1) < skin_vertices)
    )  # fmt: skip
    faces = generator.choice(np.flatnonzero(front), landmarks.count)
    faces[list(landmarks.eye_corners)] = _nearest(
        template, triangle, [[-0.045, 0.03, 0.06], [0.045, 0.03, 0.06]]
    )
    lids, half = landmarks.eyelid_pairs, len(landmarks.eyelid_pairs) // 2
    for side, pairs in ((-1, lids[:half]), (1, lids[half:]), (0, landmarks.lip_pairs)):
        height = -0.06 if side == 0 else 0.03
        for place, (upper, lower) in enumerate(pairs):
            x, gap = 0.032 * side + 0.006 * (place - (len(pairs) - 1) / 2), 0.004
            faces[[upper, lower]] = _nearest(
                template, triangle, [[x, height + gap, 0.08], [x, height - gap, 0.08]]
            )
    barycentric = generator.dirichlet([2, 2, 2], landmarks.count)
    if not landmarks.irises:
        faces[8] = _nearest(template, triangle, [[0, -0.125, 0.02]])[0]  # the chin
        return faces, barycentric
    eyes = np.array([[-1, 1, 1]] * 5 + [[1, 1, 1]] * 5) * EYE
    ring = np.array([[0, 0], [1, 0], [0, 1], [-1, 0], [0, -1]] * 2) * 0.005
    depth = np.full((10, 1), EYE_RADIUS)
    skinless = template.copy()
    skinless[:skin_vertices] += 10  # irises lie on the eyeballs
    faces[468:] = _nearest(skinless, triangle, eyes + np.concatenate([ring, depth], 1))
    return faces, barycentric


def write_head(path, head):
    """Write the model as an artifact."""
    from dataclasses import fields

    from artifacts.kinds import HEAD_MODEL

    arrays = {}
    for field in fields(head):
        value = getattr(head, field.name)
        spec = HEAD_MODEL.arrays[field.name]
        arrays[field.name] = (
            np.array(value) if spec.dtype == "str" else np.asarray(value, spec.dtype)
        )
    write_artifact(path, HEAD_MODEL, arrays, {})
