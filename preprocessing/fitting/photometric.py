"""How a posed, lit and coloured head explains a picture: residuals at points of its skin, and their normal equations."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from head_geometry.cameras import project
from head_geometry.head_model import HeadModel
from head_geometry.images import DISPLAY_GAMMA
from head_geometry.normals import vertex_normals
from head_geometry.rasteriser import depth_ranges
from head_geometry.spherical_harmonics import irradiance_basis
from head_geometry.surface_points import SurfacePoints
from preprocessing.fitting.model import FitState, LandmarkModel, make_point_model, pose_points
from preprocessing.fitting.normal import motion_columns
from preprocessing.fitting.pictures import Picture
from preprocessing.fitting.posed_head import PosedHead

# A point this far behind what is in front of it is hidden, metres.
_HIDDEN_M = 0.004
# Skin seen at more of a slant than this (cosine) is left out.
_LEAST_FACING = 0.25
# The person's matte must be at least this.
_LEAST_ALPHA = 0.9
# No picture is explained better than this (sRGB, 0..1).
_LEAST_SIGMA = 0.02
# Residuals beyond this many sigmas lose influence.
_ROBUST_SCALE = 2.0
# Expected change of a frame's light from the clip's, in shares of it. What changes by more than a few times this (a
# lamp that is switched, an exposure that jumps) is taken for real: Student's t with this many degrees of freedom.
_LIGHT_STD, _LIGHT_FREEDOM = 0.05, 3.0
_LIGHT_ROUNDS = 4
# As many points tell the light of a frame well enough.
_LIGHT_POINTS = 1500


@dataclass(frozen=True)
class Skin:
    """Points of a subject's skin whose colour is followed.

    Attributes:
        head: The subject's own head model, float32.
        points: Where they sit.
        model: The same points as unknowns move them, float32.
    """

    head: HeadModel
    points: SurfacePoints
    model: LandmarkModel

    @classmethod
    def of(cls, head: HeadModel, points: SurfacePoints, landmarks: LandmarkModel) -> Skin:
        """Points on a subject's head, with the unknowns of its landmarks."""
        identities = len(landmarks.identity)
        return cls(head, points, make_point_model(head, points, identities, landmarks.landmarks))


@dataclass(frozen=True)
class Appearance:
    """How the points look.

    Attributes:
        albedo: Linear RGB under white light of irradiance 1.
        trust: How well each point's colour is known, 0..1.
        light: Spherical harmonics of the clip's light, camera axes.
    """

    albedo: Float[Tensor, "point 3"]
    trust: Float[Tensor, " point"]
    light: Float[Tensor, "9 3"]


@dataclass(frozen=True)
class View:
    """Points of the skin in one frame.

    Attributes:
        camera: Camera axes, metres.
        pixel: Pixels of the picture.
        shading: Irradiance basis of each point's normal, camera axes.
        weight: How well it is seen: 0 where hidden, turned away or not the person's.
        value: Channels of the picture there.
    """

    camera: Float[Tensor, "point 3"]
    pixel: Float[Tensor, "point 2"]
    shading: Float[Tensor, "point 9"]
    weight: Float[Tensor, " point"]
    value: Float[Tensor, "point 10"]


@dataclass(frozen=True)
class Explained:
    """A view compared with the appearance.

    Attributes:
        light: The frame's own light.
        residual: Picture minus lit albedo, sRGB.
        weight: Of each point, with its robust weight.
        sigma: Robust size of the residuals, sRGB.
        error: Mean absolute residual of the points seen.
    """

    light: Float[Tensor, "9 3"]
    residual: Float[Tensor, "point 3"]
    weight: Float[Tensor, " point"]
    sigma: float
    error: float


def view_points(head: HeadModel, points: SurfacePoints, posed: PosedHead, picture: Picture) -> View:
    """See points of the skin in a picture."""
    side = picture.channels.shape[-1]
    camera = points.at(posed.vertices)
    pixel = project(camera, posed.intrinsics)
    normal = points.at(vertex_normals(posed.vertices, head.triangle))
    normal = torch.nn.functional.normalize(normal, dim=-1)
    facing = -(normal * torch.nn.functional.normalize(camera, dim=-1)).sum(-1)
    drawn = depth_ranges(posed.vertices, head.triangle, posed.intrinsics, (side, side))
    nearest = torch.minimum(drawn.front, drawn.back)
    cell = pixel.round().long().clamp(0, side - 1)
    hidden = camera[:, 2] > nearest[cell[:, 1], cell[:, 0]] + _HIDDEN_M
    value = picture.at(pixel)
    seen = ~hidden & (facing > _LEAST_FACING) & (value[:, 9] > _LEAST_ALPHA)
    return View(camera, pixel, irradiance_basis(normal), facing.clamp_min(0) * seen, value)


def explain(view: View, appearance: Appearance) -> Explained:
    """Compare a view with the appearance under the frame's own light."""
    weight = view.weight * appearance.trust
    light = fit_light(view, appearance, weight)
    lit = appearance.albedo * (view.shading @ light)
    residual = view.value[:, :3] - lit.clamp(1e-4, 4.0) ** (1 / DISPLAY_GAMMA)
    size = torch.linalg.vector_norm(residual, dim=-1) / math.sqrt(3)
    used = weight > 0
    if not bool(used.any()):
        return Explained(light, residual, torch.zeros_like(weight), _LEAST_SIGMA, 0.0)
    sigma = max(1.4826 * float(size[used].median()), _LEAST_SIGMA)
    robust = 1 / (1 + (size / (_ROBUST_SCALE * sigma)) ** 2) ** 2
    error = float((weight * residual.abs().mean(-1)).sum() / weight.sum())
    return Explained(light, residual, weight * robust, sigma, error)


def fit_light(
    view: View, appearance: Appearance, weight: Float[Tensor, " point"]
) -> Float[Tensor, "9 3"]:
    """The frame's light: the clip's, brighter or darker in each channel, and a little different all around.

    Source: own (ridge regression around the clip's light, iteratively reweighted so that few large changes pass).
    """
    used = (weight > 0).nonzero()[:, 0]
    used = used[:: max(1, len(used) // _LIGHT_POINTS)]
    albedo, shading, weight = appearance.albedo[used], view.shading[used], weight[used, None]
    linear = view.value[used, :3].clamp_min(1e-3) ** DISPLAY_GAMMA
    start = appearance.light * _gain(linear, albedo * (shading @ appearance.light))
    spread = _LIGHT_STD * start[0].mean().abs().clamp_min(1e-3)
    # The points together count as 400 with a noise of 0.02.
    precision = weight.sum().clamp_min(1e-6) * (0.02 / spread) ** 2 / 400
    change, loose = torch.zeros_like(start), torch.ones_like(start)
    for _ in range(_LIGHT_ROUNDS):
        expected = albedo * (shading @ (start + change))
        # Errors count as they are seen: dark ones more.
        steep = expected.clamp_min(1e-2) ** (1 / DISPLAY_GAMMA - 1) / DISPLAY_GAMMA
        size = (steep * (linear - expected)).abs().mean(-1, keepdim=True)
        robust = weight / (1 + (size / 0.05) ** 2) ** 2 * steep**2
        rows = (robust * albedo**2).T[..., None] * shading
        gram = shading.T @ rows + torch.diag_embed((precision * loose).T)
        target = linear - albedo * (shading @ start)
        right = shading.T @ (robust * albedo * target)
        change = torch.linalg.solve(gram, right.T).T
        loose = (1 + 1 / _LIGHT_FREEDOM) / (1 + (change / spread) ** 2 / _LIGHT_FREEDOM)
    return start + change


def _gain(
    linear: Float[Tensor, "point 3"], expected: Float[Tensor, "point 3"]
) -> Float[Tensor, "3"]:
    """How much brighter than expected the points are in each channel: the median."""
    told = (expected > 1e-2).all(-1)
    if not bool(told.any()):
        return torch.ones_like(linear[0])
    return (linear[told] / expected[told]).median(0).values.clamp(0.05, 20)


@dataclass(frozen=True)
class FrameTerm:
    """Normal equations of one frame, on the CPU: frame unknowns first, then identity and log focal length where asked for."""

    matrix: Float[Tensor, "unknown unknown"]
    gradient: Float[Tensor, " unknown"]


def linearise(
    skin: Skin, posed: PosedHead, seen: tuple[View, Explained], evidence: float, shared: bool
) -> FrameTerm:
    """Normal equations of a frame's photometric residuals.

    Args:
        skin: The points.
        posed: The head in the frame.
        seen: The points in its picture, and compared with the appearance.
        evidence: The points together count as this many independent measurements of one sigma.
        shared: Also identity and log focal length.
    """
    (view, explained), model = seen, skin.model
    total = (view.weight * (explained.weight > 0)).sum().clamp_min(1e-6)
    used = (explained.weight > 1e-4 * explained.weight.max()).nonzero()[:, 0]
    weight = explained.weight[used] * (evidence / total / explained.sigma**2 / 3)
    slope = view.value[used, 3:9].view(-1, 2, 3)  # axis, colour
    # Two rows per point carry what three colours say.
    gram = torch.einsum("pac,pbc->pab", slope, slope) + 1e-8 * torch.eye(2, device=slope.device)
    force = torch.einsum("pac,pc->pa", slope, explained.residual[used])
    root = torch.linalg.cholesky(gram)
    residual = torch.linalg.solve_triangular(root, force[..., None], upper=False)[..., 0]
    # The square root of the weight goes to both sides.
    scale = weight.sqrt()[:, None]
    rows = (root.mT @ _pixel_jacobian(view.camera, posed)[used]) * scale[..., None]

    state = posed.state
    still = FitState(state.identity, state.log_focal, torch.zeros_like(view.camera), state.frame)
    motion = motion_columns(model, still, pose_points(model, still))[0][used]
    parts = [torch.einsum("pra,epa->pre", rows, model.expression[:, used]), rows @ motion]
    if shared:
        # Dolly zoom, as in the landmarks' normal equations.
        zoom = view.pixel[used] - posed.intrinsics[:2, 2]
        backwards = motion[..., -1] * state.frame[0, -1]
        zoom = (root.mT @ zoom[..., None]) * scale[..., None] + rows @ backwards[..., None]
        parts += [torch.einsum("pra,epa->pre", rows, model.identity[:, used]), zoom]
    columns = torch.cat(parts, -1).flatten(0, 1)
    gradient = columns.T @ (residual * scale).flatten()
    return FrameTerm((columns.T @ columns).cpu().double(), gradient.cpu().double())


def _pixel_jacobian(
    camera: Float[Tensor, "point 3"], posed: PosedHead
) -> Float[Tensor, "point 2 3"]:
    """Derivative of each point's pixel by its displacement in head axes."""
    x, y, z = camera.unbind(-1)
    rotation = posed.camera_from_head[:3, :3]
    scale = posed.intrinsics[0, 0] / z
    return torch.stack(
        [
            scale[:, None] * (rotation[axis] - (along / z)[:, None] * rotation[2])
            for axis, along in enumerate((x, y))
        ],
        1,
    )
