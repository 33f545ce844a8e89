"""A synthetic subject written as real artifacts: a simple head that turns, talks and blinks over a moving torso."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from artifacts.kinds import AUDIO_FEATURES, FACE_FIT, FRAMES, HEAD_MODEL, LANDMARKS, MATTE
from artifacts.store import read_artifact, write_artifact
from preprocessing.head_models.points import JAW_17, STATIC_51

N_RINGS, N_NECK_RINGS, N_AROUND = 15, 4, 24
EYE_CENTRES = np.array([[0.032, 0.025, 0.072], [-0.032, 0.025, 0.072]])
EYE_RADIUS = 0.014
PARTS = [
    "face",
    "scalp",
    "ear",
    "neck",
    "lips",
    "eye_left",
    "eye_right",
    "teeth",
    "tongue",
    "mouth_cavity",
]
EXPRESSIONS = ("jawOpen", "eyeBlinkLeft", "eyeBlinkRight", "mouthSmileLeft", "mouthSmileRight")
JOINTS = ("neck", "head", "eye_left", "eye_right")
# The MediaPipe points that others rely on, by place on the face (x to the subject's left, y up).
NAMED_POINTS = {
    1: (0, -0.01),
    10: (0, 0.08),
    152: (0, -0.095),
    33: (-0.046, 0.025),
    133: (-0.018, 0.025),
    263: (0.046, 0.025),
    362: (0.018, 0.025),
    61: (-0.024, -0.05),
    291: (0.024, -0.05),
    13: (0, -0.047),
    14: (0, -0.053),
    0: (0, -0.042),
    17: (0, -0.06),
    78: (-0.02, -0.05),
    308: (0.02, -0.05),
}
# Chin, nose tip, eye corners, mouth corners.
SPARSE68_FROM_MEDIAPIPE = {8: 152, 30: 1, 36: 33, 39: 133, 42: 362, 45: 263, 48: 61, 54: 291}


@dataclass(frozen=True)
class ToySubject:
    """Paths of the artifacts of a synthetic subject, and the exact layers they were composed of (0..1)."""

    folder: Path
    frames: Path
    landmarks: Path
    matte: Path
    head_model: Path
    face_fit: Path
    audio_features: Path
    head_alpha: np.ndarray
    """(frame, height, width): opacity of the head alone."""
    background: np.ndarray
    """(height, width, 3)."""


def make_toy_subject(
    folder: Path,
    n_frames: int = 20,
    size: int = 64,
    seed: int = 0,
    invalid_frames: tuple[int, ...] = (),
) -> ToySubject:
    """Write the artifacts of a toy clip into ``folder``.

    Args:
        folder: Made if missing.
        n_frames: Length of the clip at 25 frames/s.
        size: Width and height of the crop, pixels.
        seed: Another person: shape, colours and motion (the head model stays the same).
        invalid_frames: Frames marked as not found (their pose is kept).
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    head = toy_head_model()
    fit = _motion(n_frames, size, seed, invalid_frames)
    fit["vertex_offset"] = np.zeros_like(head["template"])
    fit["expression_offset"] = np.zeros((0, 0, 3), np.float32)
    vertices = _posed(head, fit)
    camera = vertices @ fit["world_from_head"][:, :3, :3].swapaxes(1, 2)
    camera = camera + fit["world_from_head"][:, None, :3, 3]
    image, person, head_alpha, background = _compose(head, fit, camera, size, seed)
    write = _Writer(folder)
    write("head_model", HEAD_MODEL, head)
    write("face_fit", FACE_FIT, fit)
    write("matte", MATTE, {"alpha": _bytes(person)})
    write("frames", FRAMES, _frames_arrays(_bytes(image), size))
    write("audio_features", AUDIO_FEATURES, _audio_arrays(fit["expression"][:, 0]))
    write("landmarks", LANDMARKS, _landmark_arrays(head, camera, fit, size, seed))
    return ToySubject(
        folder=folder,
        head_alpha=head_alpha,
        background=background,
        **{name: folder / f"{name}.h5" for name in write.written},
    )


class _Writer:
    def __init__(self, folder: Path) -> None:
        self.folder, self.written = folder, []

    def __call__(self, name, spec, arrays) -> None:
        write_artifact(
            self.folder / f"{name}.h5", spec, arrays, {"step": "tests.toy", "options": {}}
        )
        self.written.append(name)


def _cross2(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return a[..., 0] * b[..., 1] - a[..., 1] * b[..., 0]


def _bytes(image: np.ndarray) -> np.ndarray:
    return (image * 255).round().clip(0, 255).astype(np.uint8)


# --- head model ---------------------------------------------------------------------------------


def toy_head_model() -> dict[str, np.ndarray]:
    """Arrays of the toy ``head_model``: an ellipsoid with nose, chin, neck and two eyeballs (about 500 vertices)."""
    skin, skin_triangle, skin_uv, skin_triangle_uv, mirror = _skin_mesh()
    vertices, triangles, uvs, triangle_uvs, mirrors = (
        [skin],
        [skin_triangle],
        [skin_uv],
        [skin_triangle_uv],
        [mirror],
    )
    part = _skin_parts(skin)
    parts = [part]
    for eye in range(2):
        ball, ball_triangle, ball_uv, flip = _eyeball(EYE_CENTRES[eye], eye)
        start = sum(map(len, vertices))
        uv_start = sum(map(len, uvs))
        triangles.append(ball_triangle + start)
        triangle_uvs.append(ball_triangle + uv_start)
        vertices.append(ball)
        uvs.append(ball_uv)
        other = len(skin) + (1 - eye) * len(ball)
        mirrors.append(flip + other)
        parts.append(np.full(len(ball), PARTS.index(("eye_left", "eye_right")[eye])))
    template = np.concatenate(vertices)
    triangle = np.concatenate(triangles)
    part = np.concatenate(parts)
    arrays = {
        "template": template,
        "triangle": triangle,
        "uv": np.concatenate(uvs),
        "triangle_uv": np.concatenate(triangle_uvs),
        "vertex_part": part,
        "part_name": np.array(PARTS),
        "mirror_vertex": np.concatenate(mirrors),
        **_bases(template, part),
        **_rig(template, part),
        **_embeddings(template, triangle),
        "corrective_joint": np.zeros(0),
        "pose_corrective": np.zeros((0, 9, len(template), 3)),
        "joint_expression": np.zeros((0, len(JOINTS), 3)),
        "albedo_mean": np.zeros((0, 3)),
        "albedo_basis": np.zeros((0, 0, 3)),
        "albedo_std": np.zeros(0),
    }
    return {name: _stored(HEAD_MODEL.arrays[name].dtype, array) for name, array in arrays.items()}


def _stored(dtype: str, array: np.ndarray) -> np.ndarray:
    return array if dtype == "str" else np.array(array, dtype=dtype, order="C")


def _skin_mesh():
    theta = np.linspace(0.12, 2.6, N_RINGS)
    radius_x, radius_z = 0.075 * np.sin(theta), 0.092 * np.sin(theta)
    height, centre_z = 0.11 * np.cos(theta), np.zeros(N_RINGS)
    neck = np.linspace(0.25, 1, N_NECK_RINGS)
    radius_x = np.concatenate([radius_x, np.full(N_NECK_RINGS, 0.044)])
    radius_z = np.concatenate([radius_z, np.full(N_NECK_RINGS, 0.048)])
    centre_z = np.concatenate([centre_z, np.full(N_NECK_RINGS, -0.012)])
    height = np.concatenate([height, height[-1] - 0.075 * neck])
    angle = 2 * np.pi * (np.arange(N_AROUND) / N_AROUND - 0.5)
    grid = np.stack(
        [
            radius_x[:, None] * np.sin(angle),
            np.broadcast_to(height[:, None], (len(height), N_AROUND)),
            radius_z[:, None] * np.cos(angle) + centre_z[:, None],
        ],
        -1,
    )
    front = np.cos(angle).clip(0)[None] ** 6
    grid[..., 2] += 0.022 * front * np.exp(-(((grid[..., 1] + 0.008) / 0.018) ** 2))
    grid[..., 2] += 0.010 * front * np.exp(-(((grid[..., 1] + 0.09) / 0.02) ** 2))
    n_rings = len(height)
    vertices = np.concatenate([grid.reshape(-1, 3), [[0, 0.11, 0]]])
    top = len(vertices) - 1
    ring, column = np.meshgrid(np.arange(n_rings - 1), np.arange(N_AROUND), indexing="ij")
    ring, column = ring.ravel(), column.ravel()

    def quads(width: int, following: np.ndarray) -> np.ndarray:
        a, b = ring * width + column, ring * width + following
        return np.concatenate(
            [np.stack([a, a + width, b + width], 1), np.stack([a, b + width, b], 1)]
        )

    around = np.arange(N_AROUND)
    cap = np.stack([np.full(N_AROUND, top), around, (around + 1) % N_AROUND], 1)
    triangle = np.concatenate([quads(N_AROUND, (column + 1) % N_AROUND), cap])
    # The texture is cut at the back of the head: its grid has one column more.
    width = N_AROUND + 1
    u, v = np.meshgrid(np.arange(width) / N_AROUND, 0.05 + 0.75 * np.arange(n_rings) / n_rings)
    uv = np.concatenate([np.stack([u, v], -1).reshape(-1, 2), [[0.5, 0.01]]])
    cap_uv = np.stack([np.full(N_AROUND, len(uv) - 1), around, around + 1], 1)
    triangle_uv = np.concatenate([quads(width, column + 1), cap_uv])
    flip = (-np.arange(N_AROUND)) % N_AROUND
    mirror = np.concatenate([(np.arange(n_rings)[:, None] * N_AROUND + flip).ravel(), [top]])
    return vertices, triangle, uv, triangle_uv, mirror


def _skin_parts(skin: np.ndarray) -> np.ndarray:
    x, y, z = skin.T
    part = np.full(len(skin), PARTS.index("scalp"))
    part[(z > 0.01) & (y < 0.07)] = PARTS.index("face")
    part[(np.abs(x) < 0.03) & (np.abs(y + 0.05) < 0.016) & (z > 0)] = PARTS.index("lips")
    n_skin_rings = N_RINGS * N_AROUND
    part[n_skin_rings:-1] = PARTS.index("neck")
    return part


def _eyeball(centre: np.ndarray, eye: int):
    n_rings, n_around = 5, 8
    theta = np.pi * (np.arange(n_rings) + 0.5) / n_rings
    angle = 2 * np.pi * np.arange(n_around) / n_around
    sine, cosine = np.sin(theta)[:, None], np.cos(theta)[:, None]
    unit = np.stack(
        [sine * np.cos(angle), sine * np.sin(angle), np.broadcast_to(cosine, (n_rings, n_around))],
        -1,
    )
    vertices = centre + EYE_RADIUS * np.concatenate([unit.reshape(-1, 3), [[0, 0, 1], [0, 0, -1]]])
    triangles = []
    for ring in range(n_rings - 1):
        for k in range(n_around):
            a, b = ring * n_around + k, ring * n_around + (k + 1) % n_around
            triangles += [[a, a + n_around, b + n_around], [a, b + n_around, b]]
    last = (n_rings - 1) * n_around
    front, back = n_rings * n_around, n_rings * n_around + 1
    for k in range(n_around):
        following = (k + 1) % n_around
        triangles += [[front, k, following], [back, last + following, last + k]]
    plane = (vertices - centre)[:, :2] / EYE_RADIUS
    uv = np.array([0.25 + 0.5 * eye, 0.91]) + 0.08 * plane * (1, -1)
    flip = ((n_around // 2 - np.arange(n_around)) % n_around)[None] + n_around * np.arange(n_rings)[
        :, None
    ]
    return vertices, np.array(triangles), uv, np.concatenate([flip.ravel(), [front, back]])


def _bases(template: np.ndarray, part: np.ndarray) -> dict[str, np.ndarray]:
    x, y, z = template.T
    skin = (part != PARTS.index("eye_left")) & (part != PARTS.index("eye_right"))
    zero = np.zeros_like(x)
    jaw = skin * (part != PARTS.index("neck")) / (1 + np.exp((y + 0.05) / 0.006)) * (z > 0)
    smile = np.exp(-(((np.abs(x) - 0.026) / 0.012) ** 2 + ((y + 0.05) / 0.015) ** 2)) * (z > 0)
    lid = np.exp(-(((np.abs(x) - 0.032) / 0.015) ** 2 + ((y - 0.033) / 0.012) ** 2)) * (z > 0)
    left, right = skin * (x > 0), skin * (x < 0)
    expression = [
        np.stack([zero, -0.03 * jaw, -0.008 * jaw], -1),
        np.stack([zero, -0.006 * lid * left, 0.006 * lid * left], -1),
        np.stack([zero, -0.006 * lid * right, 0.006 * lid * right], -1),
        np.stack([0.008 * smile * left, 0.006 * smile * left, zero], -1),
        np.stack([-0.008 * smile * right, 0.006 * smile * right, zero], -1),
    ]
    modes = [(x, zero, zero), (zero, y, zero), (zero, zero, z), (x * y, zero, zero)]
    modes += [(zero, zero, y * y), (zero, y * z, zero)]
    flat = np.stack([np.stack(mode, -1).ravel() for mode in modes], 1)
    orthonormal = np.linalg.qr(flat)[0].T.reshape(len(modes), -1, 3)
    return {
        "expression_basis": np.stack(expression),
        "expression_name": np.array(EXPRESSIONS),
        "expression_lower": np.zeros(len(EXPRESSIONS)),
        "expression_upper": np.ones(len(EXPRESSIONS)),
        "identity_basis": orthonormal,
        "identity_std": 0.04 * 0.8 ** np.arange(len(modes)),
    }


def _rig(template: np.ndarray, part: np.ndarray) -> dict[str, np.ndarray]:
    n_vertices = len(template)
    neck = np.flatnonzero(part == PARTS.index("neck"))
    rows = np.zeros((len(JOINTS), n_vertices))
    rows[0, neck[-N_AROUND:]] = 1
    rows[1, neck[:N_AROUND]] = 1
    weight = np.zeros((n_vertices, len(JOINTS)))
    low, high = template[neck, 1].min(), template[neck, 1].max()
    weight[:, 1] = ((template[:, 1] - low) / (high - low)).clip(0, 1)
    weight[:, 0] = 1 - weight[:, 1]
    for joint, name in ((2, "eye_left"), (3, "eye_right")):
        eye = part == PARTS.index(name)
        rows[joint, eye] = 1
        weight[eye] = np.eye(len(JOINTS))[joint]
    return {
        "joint_name": np.array(JOINTS),
        "joint_parent": np.array([-1, 0, 1, 1]),
        "joint_regressor": rows / rows.sum(1, keepdims=True),
        "skin_weight": weight,
    }


def _embeddings(template: np.ndarray, triangle: np.ndarray) -> dict[str, np.ndarray]:
    """Points on the front of the face, fixed whatever the subject; the named ones at their places."""
    rng = np.random.default_rng(478)
    corners = template[triangle]
    facing = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])[:, 2] > 0

    def place(xy: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        a, b, c = (corners[:, k, :2] for k in range(3))
        area = _cross2(b - a, c - a)
        area = np.where(np.abs(area) < 1e-12, 1e-12, area)
        p = xy[:, None]
        w1 = ((p - a)[..., 0] * (c - a)[:, 1] - (p - a)[..., 1] * (c - a)[:, 0]) / area
        w2 = ((b - a)[:, 0] * (p - a)[..., 1] - (b - a)[:, 1] * (p - a)[..., 0]) / area
        bary = np.stack([1 - w1 - w2, w1, w2], -1)
        depth = (bary * corners[None, :, :, 2]).sum(-1)
        inside = (bary.min(-1) >= -1e-9) & facing & (depth > 0)
        face = np.where(inside, depth, -np.inf).argmax(1)
        chosen = bary[np.arange(len(xy)), face].clip(0)
        return face, chosen / chosen.sum(1, keepdims=True)

    angle, radius = rng.uniform(0, 2 * np.pi, 478), np.sqrt(rng.uniform(0, 1, 478))
    xy = np.stack([0.055 * radius * np.cos(angle), 0.085 * radius * np.sin(angle) - 0.005], 1)
    for index, where in NAMED_POINTS.items():
        xy[index] = where
    ring = 0.006 * np.array([[0, 0], [1, 0], [0, 1], [-1, 0], [0, -1]])
    xy[468:473] = EYE_CENTRES[1, :2] + ring
    xy[473:478] = EYE_CENTRES[0, :2] + ring
    face, bary = place(xy)
    xy68 = xy[: 68 * 6 : 6].copy()
    for index, mediapipe in SPARSE68_FROM_MEDIAPIPE.items():
        xy68[index] = xy[mediapipe]
    face68, bary68 = place(xy68)
    return {
        "mediapipe_face": face,
        "mediapipe_barycentric": bary,
        "mediapipe_weight": np.ones(478),
        "sparse68_face": face68,
        "sparse68_barycentric": bary68,
    }


# --- motion -------------------------------------------------------------------------------------


def _rotation(axis_angle: np.ndarray) -> np.ndarray:
    angle = np.linalg.norm(axis_angle)
    x, y, z = axis_angle / max(angle, 1e-12)
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    return np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * cross @ cross


def _motion(n_frames, size, seed, invalid_frames) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    phase = rng.uniform(0, 2 * np.pi, 6)
    time = np.arange(n_frames) / 25
    yaw = 0.3 * np.sin(2 * np.pi * 0.9 * time + phase[0])
    pitch = 0.1 * np.sin(2 * np.pi * 0.6 * time + phase[1])
    world_from_head = np.tile(np.eye(4), (n_frames, 1, 1))
    for frame in range(n_frames):
        turn = _rotation(np.array([0, yaw[frame], 0])) @ _rotation(np.array([pitch[frame], 0, 0]))
        world_from_head[frame, :3, :3] = np.diag([1.0, -1, -1]) @ turn
    world_from_head[:, 0, 3] = 0.008 * np.sin(2 * np.pi * 0.7 * time + phase[2])
    world_from_head[:, 1, 3] = -0.02 + 0.004 * np.sin(2 * np.pi * 0.5 * time + phase[3])
    world_from_head[:, 2, 3] = 0.6
    expression = np.zeros((n_frames, len(EXPRESSIONS)))
    expression[:, 0] = 0.5 - 0.5 * np.cos(2 * np.pi * 2.1 * time + phase[4])
    expression[:, 1] = expression[:, 2] = (np.arange(n_frames) % 9 == 4).astype(float)
    expression[:, 3] = expression[:, 4] = 0.5 + 0.5 * np.sin(2 * np.pi * 0.8 * time + phase[5])
    joint_rotation = np.zeros((n_frames, len(JOINTS), 3))
    joint_rotation[:, 1, 0] = 0.05 * np.sin(2 * np.pi * 0.8 * time)
    joint_rotation[:, 2:, 1] = (0.3 * np.sin(2 * np.pi * 0.5 * time))[:, None]
    focal = 1.5 * size
    centre = (size - 1) / 2
    torso = np.stack([_torso_motion(t, size) for t in time])
    arrays = {
        "identity": rng.normal(0, 0.6, 6),
        "expression": expression,
        "joint_rotation": joint_rotation,
        "world_from_head": world_from_head,
        "camera_from_world": np.tile(np.eye(4), (n_frames, 1, 1)),
        "intrinsics": np.array([[focal, 0, centre], [0, focal, centre], [0, 0, 1]]),
        "image_size": np.array([size, size]),
        "landmark_offset": np.zeros((478, 3)),
        "nme": np.full(n_frames, 0.005),
        "valid": ~np.isin(np.arange(n_frames), invalid_frames),
        "torso_from_reference": torso @ np.linalg.inv(torso[0]),
        "torso_reference_frame": np.array(0),
        "torso_valid": np.ones(n_frames, bool),
        "outline_iou": np.zeros(n_frames),
        "albedo": np.zeros((0, 0, 3)),
        "albedo_seen": np.zeros((0, 0)),
        "light": np.zeros((0, 9, 3)),
        "photometric_error": np.zeros(0),
    }
    return {name: _stored(FACE_FIT.arrays[name].dtype, array) for name, array in arrays.items()}


def _torso_motion(time: float, size: int) -> np.ndarray:
    angle = 0.04 * np.sin(2 * np.pi * 0.5 * time)
    shift = size * np.array([0.03 * np.sin(2 * np.pi * 0.4 * time), 0.01 * np.sin(6 * time)])
    middle = np.array([size / 2, size])
    matrix = np.eye(3)
    matrix[:2, :2] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    matrix[:2, 2] = middle - matrix[:2, :2] @ middle + shift
    return matrix


def _posed(head: dict[str, np.ndarray], fit: dict[str, np.ndarray]) -> np.ndarray:
    shape = np.tensordot(fit["identity"] * head["identity_std"], head["identity_basis"], 1)
    neutral = (head["template"] + shape).astype(np.float64)
    joints = head["joint_regressor"] @ neutral
    shaped = neutral + np.tensordot(fit["expression"], head["expression_basis"], 1)
    posed = np.empty_like(shaped)
    for frame, rotation in enumerate(fit["joint_rotation"]):
        globals_: list[tuple[np.ndarray, np.ndarray]] = []
        for joint, parent in enumerate(head["joint_parent"]):
            local = _rotation(rotation[joint])
            shift = joints[joint] - local @ joints[joint]
            if parent >= 0:
                up, move = globals_[parent]
                local, shift = up @ local, up @ shift + move
            globals_.append((local, shift))
        moved = [shaped[frame] @ turn.T + shift for turn, shift in globals_]
        posed[frame] = (head["skin_weight"].T[..., None] * np.stack(moved)).sum(0)
    return posed


# --- pictures -----------------------------------------------------------------------------------


def _compose(head, fit, camera, size: int, seed: int):
    rng = np.random.default_rng(seed + 1000)
    skin_colour, hair_colour = rng.uniform(0.5, 0.9, 3), rng.uniform(0.05, 0.5, 3)
    shirt_colour = rng.uniform(0.1, 0.9, 3)
    y, x = np.mgrid[:size, :size] / size
    background = np.stack([0.3 + 0.4 * x, 0.5 + 0.3 * y, 0.6 + 0.2 * np.sin(9 * x)], -1)
    images, people, heads = [], [], []
    for frame in range(len(camera)):
        rgba = _render_head(
            head,
            camera[frame],
            fit["intrinsics"],
            size,
            fit["expression"][frame],
            skin_colour,
            hair_colour,
        )
        torso = _render_torso(fit["torso_from_reference"][frame], size, shirt_colour)
        torso_alpha, head_alpha = torso[..., 3:], rgba[..., 3:]
        behind = torso[..., :3] * torso_alpha + (1 - torso_alpha) * background
        images.append(rgba[..., :3] + (1 - head_alpha) * behind)
        people.append((head_alpha + (1 - head_alpha) * torso_alpha)[..., 0])
        heads.append(head_alpha[..., 0])
    return np.stack(images), np.stack(people), np.stack(heads), background


def _render_torso(torso_from_reference: np.ndarray, size: int, colour: np.ndarray) -> np.ndarray:
    y, x = np.mgrid[:size, :size].astype(float)
    pixel = np.stack([x, y, np.ones_like(x)], -1) @ np.linalg.inv(torso_from_reference).T
    u, v = pixel[..., 0] / size - 0.5, pixel[..., 1] / size - 1.12
    outside = (np.sqrt((u / 0.42) ** 2 + (v / 0.40) ** 2) - 1) * 0.4 * size
    stripes = 0.5 + 0.25 * np.sin(2 * np.pi * 6 * u) + 0.2 * np.sin(2 * np.pi * 5 * v)
    rgb = colour * stripes[..., None]
    return np.concatenate([rgb, (0.5 - outside).clip(0, 1)[..., None]], -1)


def _render_head(head, camera, intrinsics, size, expression, skin_colour, hair_colour):
    """Premultiplied RGBA of the head, drawn at twice the size and averaged down."""
    fine = 2 * size
    pixel = camera @ intrinsics.T
    pixel = (pixel[:, :2] / pixel[:, 2:] + 0.5) * 2 - 0.5
    template, triangle = head["template"], head["triangle"]
    depth = np.full((fine, fine), np.inf)
    place, part = np.zeros((fine, fine, 3)), np.full((fine, fine), -1)
    corners = pixel[triangle]
    area = _cross2(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    low = np.ceil(corners.min(1)).astype(int).clip(0)
    high = np.floor(corners.max(1)).astype(int).clip(max=fine - 1)
    inverse_z = 1 / camera[triangle][..., 2]
    # y runs down in pixels, so triangles that face the camera have negative area.
    for face in np.flatnonzero((area < -1e-9) & (low <= high).all(1)):
        (x0, y0), (x1, y1) = low[face], high[face]
        x, y = np.arange(x0, x1 + 1)[None], np.arange(y0, y1 + 1)[:, None]
        a, b, c = corners[face]
        w1 = ((x - a[0]) * (c[1] - a[1]) - (y - a[1]) * (c[0] - a[0])) / area[face]
        w2 = ((b[0] - a[0]) * (y - a[1]) - (b[1] - a[1]) * (x - a[0])) / area[face]
        w0 = 1 - w1 - w2
        z = 1 / (w0 * inverse_z[face, 0] + w1 * inverse_z[face, 1] + w2 * inverse_z[face, 2])
        here = (w0 >= 0) & (w1 >= 0) & (w2 >= 0) & (z < depth[y0 : y1 + 1, x0 : x1 + 1])
        depth[y0 : y1 + 1, x0 : x1 + 1][here] = z[here]
        spot = np.stack([w0, w1, w2], -1) @ template[triangle[face]]
        place[y0 : y1 + 1, x0 : x1 + 1][here] = spot[here]
        part[y0 : y1 + 1, x0 : x1 + 1][here] = head["vertex_part"][triangle[face, 0]]
    colour = _paint(place, part, expression, skin_colour, hair_colour)
    alpha = (part >= 0)[..., None].astype(float)
    rgba = np.concatenate([colour * alpha, alpha], -1)
    return rgba.reshape(size, 2, size, 2, 4).mean((1, 3))


def _paint(place, part, expression, skin_colour, hair_colour) -> np.ndarray:
    """Colour of points of the template: skin with freckles, hair, mouth (dark when open), eyes (skin when shut)."""
    x, y, z = np.moveaxis(place, -1, 0)
    colour = skin_colour * (0.9 + 0.1 * np.sin(200 * x) * np.sin(150 * y))[..., None]
    hair = (part == PARTS.index("scalp")) & (y > -0.04)
    colour[hair] = hair_colour * (0.8 + 0.2 * np.sin(160 * x[hair]))[:, None]
    mouth = (x / 0.022) ** 2 + ((y + 0.05) / (0.004 + 0.007 * expression[0])) ** 2 < 1
    colour[mouth & (z > 0.03)] = (0.55 - 0.4 * expression[0], 0.1, 0.1)
    for eye, name in enumerate(("eye_left", "eye_right")):
        ball = part == PARTS.index(name)
        offset = place - EYE_CENTRES[eye]
        iris = ball & (np.hypot(offset[..., 0], offset[..., 1]) < 0.007)
        colour[ball] = (0.95, 0.95, 0.95)
        colour[iris] = (0.15, 0.25, 0.4)
        if expression[1 + eye] > 0.5:
            colour[ball] = skin_colour * 0.8
    return colour.clip(0, 1)


def _frames_arrays(image: np.ndarray, size: int) -> dict[str, np.ndarray]:
    n_frames = len(image)
    n_samples = round(n_frames / 25 * 16000)
    # The crop lies at (10, 6) of a source frame with 1.5 source pixels to each of its own.
    scale = 1.5
    return {
        "image": image,
        "time_s": np.arange(n_frames) / 25,
        "frame_rate_hz": np.array(25.0),
        "source_from_crop": np.array(
            [[scale, 0, 10 + (scale - 1) / 2], [0, scale, 6 + (scale - 1) / 2], [0, 0, 1.0]]
        ),
        "source_size": np.array([int(scale * size) + 30, int(scale * size) + 20], np.int32),
        "audio": (8000 * np.sin(2 * np.pi * 220 * np.arange(n_samples) / 16000)).astype(np.int16),
        "audio_rate_hz": np.array(16000, np.int32),
        "has_audio": np.array(True),
    }


def _audio_arrays(jaw_open: np.ndarray) -> dict[str, np.ndarray]:
    """Windows of 29 channels that all tell how far the jaw is open, each at its own loudness."""
    padded = np.pad(jaw_open, (8, 7))
    windows = np.lib.stride_tricks.sliding_window_view(padded, 16)[..., None]
    loudness = np.linspace(0.5, 1.5, 29)
    return {
        "feature": (windows * loudness).astype(np.float32),
        "valid": np.ones(len(jaw_open), bool),
    }


def _landmark_arrays(head, camera, fit, size, seed) -> dict[str, np.ndarray]:
    corners = camera[:, head["triangle"][head["mediapipe_face"]]]
    points = (corners * head["mediapipe_barycentric"][..., None]).sum(-2)
    pixel = points @ fit["intrinsics"].T
    xy = pixel[..., :2] / pixel[..., 2:]
    z = (points[..., 2:] - 0.6) * fit["intrinsics"][0, 0] / 0.6
    noise = np.random.default_rng(seed + 2000).normal(0, 0.05, xy.shape)
    valid = fit["valid"]
    return {
        "points": np.concatenate([xy + noise, z], -1).astype(np.float32),
        "confidence": np.where(valid, 0.9, 0.0).astype(np.float32),
        "valid": valid,
        "image_size": np.array([size, size], np.int32),
    }


def with_classic_68(subject: ToySubject, folder: Path) -> ToySubject:
    """The same subject as a detector of the classic 68 points sees it."""
    chosen = list(JAW_17 + STATIC_51)
    landmarks = read_artifact(subject.landmarks, LANDMARKS)
    fit = read_artifact(subject.face_fit, FACE_FIT)
    landmarks["points"] = landmarks["points"][:, chosen]
    fit["landmark_offset"] = np.zeros((68, 3), np.float32)
    classic = replace(subject, landmarks=folder / "landmarks68.h5", face_fit=folder / "fit68.h5")
    write_artifact(classic.landmarks, LANDMARKS, landmarks, {"step": "tests.toy"})
    write_artifact(classic.face_fit, FACE_FIT, fit, {"step": "tests.toy"})
    return classic
