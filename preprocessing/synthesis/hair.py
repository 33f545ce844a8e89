"""Simple hair: a shell over the scalp that sinks into the skin at the hairline, and a curtain where hair is long.

Strands run from the crown down the shell; its edge is ragged and soft.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from head_geometry.head_model import HeadModel
from head_geometry.normals import vertex_normals
from head_geometry.rasteriser import cast_rays
from preprocessing.synthesis.noise import NoiseField
from preprocessing.synthesis.person import Person
from preprocessing.synthesis.surface import Surface, grid_triangles, smooth_step

COLUMNS, CAP_ROWS, CURTAIN_ROWS = 160, 44, 26
# Rays through the shell start here, around an axis through the crown (mean head, metres and radians).
_CENTRE = (0.0, 0.045, -0.005)
_CROWN_TILT_RAD = 0.5
_STEEPEST_RAD = 2.6
# Height of the hairline over the eyes' height, by the angle around the vertical axis from the front: forehead,
# temples, sideburns, around the ears, nape.
_HAIRLINE_DEG = (0, 18, 34, 46, 58, 68, 76, 84, 104, 112, 122, 140, 180)
_HAIRLINE_M = (
    *(0.079, 0.078, 0.072, 0.060, 0.042, 0.012, -0.012, 0.014, 0.014, -0.02, -0.07, -0.092, -0.092),
)
SINK_M = 0.006
# Columns of the surface's attributes: angle around the crown (in the noise's units), length along the strand, how far
# inside the hairline and from the ends of hanging hair it is (1 and more is well inside), direction of the strand.
ATTRIBUTES = ("turn", "length", "edge", "end", "along_x", "along_y", "along_z")


@dataclass(frozen=True)
class HairStyle:
    """Measures of a haircut, metres.

    Attributes:
        top: Thickness on the crown.
        side: Thickness beside and behind.
        bumps: Height of its locks.
        lock: Size of a lock.
        bottom: Height over the eyes down to which the hair hangs; None for short hair.
        sweep: How far strands turn sideways on their way down, turns.
        softness: How gradually the hairline begins, as a share of the way from the crown.
    """

    top: float
    side: float
    bumps: float
    lock: float
    bottom: float | None = None
    sweep: float = 0.0
    softness: float = 0.08


STYLES = {
    "buzz": HairStyle(0.0035, 0.002, 0.0003, 0.02, softness=0.16),
    "short": HairStyle(0.019, 0.008, 0.004, 0.025),
    "side_part": HairStyle(0.026, 0.010, 0.005, 0.035, sweep=0.12),
    "curly": HairStyle(0.036, 0.024, 0.009, 0.016),
    "bob": HairStyle(0.022, 0.019, 0.003, 0.04, bottom=-0.115, sweep=0.03),
    "long": HairStyle(0.023, 0.019, 0.004, 0.05, bottom=-0.215, sweep=0.02),
}


def hairline_distance(
    model: HeadModel, place: Float[Tensor, "point 3"], recession_m: float = 0.0
) -> Float[Tensor, " point"]:
    """How far above the hairline each place on the mean head lies, metres (negative on face and neck).

    Args:
        model: The head model.
        place: On its template.
        recession_m: How much higher the hairline is at the temples.
    """
    eyes = float((model.joint_regressor @ model.template)[model.joint_name.index("eye_left"), 1])
    angle = torch.atan2(place[:, 0].abs(), place[:, 2] - _CENTRE[2]) * (180 / np.pi)
    height = np.interp(angle.numpy(), _HAIRLINE_DEG, _HAIRLINE_M)
    temple = torch.exp(-(((angle - 32) / 12) ** 2)) * recession_m
    return place[:, 1] - eyes - torch.from_numpy(height).float() - temple


def hair_roots(model: HeadModel, recession_m: float) -> Float[Tensor, " vertex"]:
    """How densely hair grows at each vertex, 0..1."""
    inside = ("ear", "lips", "eye_left", "eye_right", "teeth", "tongue", "mouth_cavity")
    roots = torch.sigmoid((hairline_distance(model, model.template, recession_m) - 0.003) / 0.003)
    roots[model.part_vertices(*inside)] = 0
    return roots


class Hair:
    """Hair of one person: its surface and its colours."""

    def __init__(
        self,
        model: HeadModel,
        neutral: Float[Tensor, "vertex 3"],
        person: Person,
        recession_m: float,
    ) -> None:
        """Grow it.

        Args:
            model: The head model.
            neutral: The person's vertices at rest.
            person: Looks.
            recession_m: See :func:`hairline_distance`.
        """
        self.style = STYLES[person.hair_style]
        self._noise = NoiseField(person.texture_seed + 1)
        self._colour = torch.from_numpy(person.hair).float()
        self._model, self._recession_m = model, recession_m
        self.surface = self._grow(neutral)

    def _grow(self, neutral: Float[Tensor, "vertex 3"]) -> Surface:
        style, eyes_m = self.style, self._eye_height(neutral)
        face, barycentric, share, hangs = self._places()
        corners = self._model.triangle[face]
        weights = barycentric[..., None]
        root = (neutral[corners] * weights).sum(-2)
        normal = (vertex_normals(neutral, self._model.triangle)[corners] * weights).sum(-2)
        normal = torch.nn.functional.normalize(normal, dim=-1)
        up = smooth_step(normal[..., 1], -0.1, 0.75)
        thick = style.side + (style.top - style.side) * up
        locks = self._noise.fractal((root / style.lock).reshape(-1, 3), 2).reshape(share.shape)
        thick = thick + style.bumps * (2 * locks - 1)
        # Where hair hangs on it does not thin out towards the hairline.
        thin = 1 - torch.exp(-(1 - share).clamp_min(0) / 0.14)
        thin = torch.maximum(thin, hangs.expand_as(share))
        sunk = SINK_M * ((share - 1) / 0.05).clamp(0, 1) * (1 - hangs)
        cap = root + normal * (thick * thin - sunk)[..., None]
        edge = torch.maximum((1.02 - share) / style.softness, 4 * hangs.expand_as(share))
        whole = torch.full_like(edge, 4.0)
        rows, edges, ends = [cap], [edge], [whole]
        if style.bottom is not None:
            hanging, end = self._hang(cap[-1], hangs, eyes_m + style.bottom)
            rows, edges = [cap, hanging], [edge, torch.full_like(end, 4.0)]
            ends = [whole, end]
        return self._surface(torch.cat(rows), torch.cat(edges), torch.cat(ends))

    def _places(
        self,
    ) -> tuple[Tensor, Tensor, Float[Tensor, "row column"], Float[Tensor, " column"]]:
        """Triangle and barycentrics of each root, its share of the way from the crown to the hairline (a little
        more than 1 at the last rows), and how far each column goes on as hanging hair.
        """
        model, style = self._model, self.style
        column_angle = torch.linspace(0, 2 * np.pi, COLUMNS)
        steps = torch.linspace(0.0, _STEEPEST_RAD, 200)
        face, barycentric = self._cast(steps[:, None].expand(-1, COLUMNS), column_angle)
        place = _on_mesh(model.template, model, face, barycentric)
        flat = place.reshape(-1, 3)
        inside = hairline_distance(model, flat, self._recession_m).reshape(face.shape)
        azimuth = torch.atan2(flat[:, 0].abs(), flat[:, 2] - _CENTRE[2]).reshape(face.shape)
        last = _first_outside(inside < 0)
        hangs = torch.zeros(COLUMNS)
        if style.bottom is not None:
            side = azimuth.gather(0, last[None])[0]
            hangs = smooth_step(side, 0.92, 1.35)
            eyes = self._eye_height(model.template)
            at_ears = _first_outside(place[..., 1] < eyes + 0.004)
            last = torch.where(hangs > 0, torch.minimum(last, at_ears), last)
        share = torch.cat([torch.linspace(0, 1, CAP_ROWS - 2), torch.tensor([1.025, 1.05])])
        polar = share[:, None] * steps[last][None]
        face, barycentric = self._cast(polar, column_angle)
        return face, barycentric, share[:, None].expand(-1, COLUMNS), hangs

    def _cast(
        self, polar: Float[Tensor, "row column"], column_angle: Float[Tensor, " column"]
    ) -> tuple[Tensor, Tensor]:
        """Triangle and barycentrics of the skin of the mean head along rays from inside."""
        model = self._model
        radius = torch.sin(polar)
        ray = [radius * torch.sin(column_angle), torch.cos(polar), radius * torch.cos(column_angle)]
        direction = torch.stack([axis.expand(polar.shape) for axis in ray], -1).reshape(-1, 3)
        cosine, sine = np.cos(_CROWN_TILT_RAD), np.sin(_CROWN_TILT_RAD)
        tilt = torch.tensor([[1, 0, 0], [0, cosine, -sine], [0, sine, cosine]]).float()
        direction = direction @ tilt
        skin = torch.isin(
            model.vertex_part[model.triangle], _part_indices(model, "face", "scalp", "neck", "ear")
        ).all(1)
        chosen = skin.nonzero()[:, 0]
        origin = torch.tensor(_CENTRE).expand(len(direction), 3)
        hit, barycentric = cast_rays(model.template, model.triangle[chosen], origin, direction)
        hit, barycentric = _bridge_misses(hit, barycentric, polar.shape)
        return chosen[hit], barycentric

    def _hang(
        self,
        start: Float[Tensor, "column 3"],
        hangs: Float[Tensor, " column"],
        bottom_m: float,
    ) -> tuple[Float[Tensor, "row column 3"], Float[Tensor, "row column"]]:
        """Rows of the curtain below the cap's last row, and how far each is from its ragged end."""
        share = torch.linspace(0, 1, CURTAIN_ROWS + 1)[1:, None]
        outward = (start - torch.tensor(_CENTRE)) * torch.tensor([1.0, 0.0, 1.0])
        outward = torch.nn.functional.normalize(outward, dim=-1)
        length = (start[:, 1] - bottom_m).clamp_min(0) * hangs
        fall = share * length
        wave = self._noise.at(
            torch.stack(
                torch.broadcast_tensors(
                    torch.arange(COLUMNS) * (64 / (COLUMNS - 1)) / 2, fall / 0.06, torch.zeros(1)
                ),
                -1,
            ).reshape(-1, 3)
        ).reshape(fall.shape)
        swing = 0.012 * torch.sin(share * np.pi * 0.9) + 0.012 * (wave - 0.5) * share
        swing = swing - 0.014 * share**2
        place = start + outward * (swing * hangs)[..., None]
        place = place - torch.tensor([0.0, 1.0, 0.0]) * fall[..., None]
        end = torch.minimum((1.02 - share) / 0.15, 8 * hangs[None])
        return place, end

    def _surface(
        self,
        place: Float[Tensor, "row column 3"],
        edge: Float[Tensor, "row column"],
        end: Float[Tensor, "row column"],
    ) -> Surface:
        """The shell of a grid of places, with what :meth:`colour` needs of it."""
        rows = len(place)
        along = torch.nn.functional.normalize(torch.gradient(place, dim=0)[0], dim=-1)
        step = torch.linalg.vector_norm(torch.diff(place, dim=0, prepend=place[:1]), dim=-1)
        length = step.cumsum(0).mean(1, keepdim=True).expand(-1, COLUMNS)
        turn = torch.linspace(0, NoiseField.PERIOD, COLUMNS).expand(rows, -1)
        attributes = torch.cat([torch.stack([turn, length, edge, end], -1), along], -1)
        attributes = attributes.reshape(-1, len(ATTRIBUTES))
        vertices = place.reshape(-1, 3)
        low = smooth_step(vertices[:, 1], -0.06, -0.20)
        return Surface(vertices, grid_triangles(rows, COLUMNS), attributes, 0.75 * low)

    def _eye_height(self, vertices: Float[Tensor, "vertex 3"]) -> float:
        model = self._model
        return float((model.joint_regressor @ vertices)[model.joint_name.index("eye_left"), 1])

    def colour(
        self, attributes: Float[Tensor, "point attribute"], on_skin: Bool[Tensor, " point"]
    ) -> tuple[Float[Tensor, "point 3"], Float[Tensor, " point"]]:
        """Linear RGB and opacity (0..1) of points of the shell.

        Args:
            attributes: The surface's, interpolated.
            on_skin: Where skin lies close behind: there the hairline is soft. Elsewhere more hair is behind.
        """
        turn, length, edge, end = attributes[:, :4].unbind(1)
        turn = turn + self.style.sweep * NoiseField.PERIOD * length / 0.2
        place = torch.stack([turn, length, torch.zeros_like(turn)], 1)
        lock = self._noise.at(place * torch.tensor([1.0, 25.0, 1.0]))
        strand = self._noise.at(place * torch.tensor([4.0, 40.0, 1.0]))
        fine = self._noise.at(place * torch.tensor([11.0, 60.0, 1.0]) + 3)
        bright = 0.35 + 0.45 * lock + 0.5 * strand + 0.45 * (fine - 0.25)
        edge = torch.where(on_skin, torch.minimum(edge, end), end)
        opacity = (edge * 1.25 - 0.9 * (0.4 * strand + 0.6 * fine)).clamp(0, 1)
        return self._colour * bright.clamp_min(0.1)[:, None], opacity


def _on_mesh(
    vertices: Float[Tensor, "vertex 3"], model: HeadModel, face: Tensor, barycentric: Tensor
) -> Float[Tensor, "row column 3"]:
    return (vertices[model.triangle[face]] * barycentric[..., None]).sum(-2)


def _part_indices(model: HeadModel, *names: str) -> Tensor:
    return torch.tensor([model.part_name.index(name) for name in names])


def _first_outside(outside: Bool[Tensor, "step column"]) -> Tensor:
    """Index of the first step of each column that is outside; the last step where none is."""
    last = len(outside) - 1
    return torch.where(outside.any(0), outside.int().argmax(0), last)


def _bridge_misses(hit: Tensor, barycentric: Tensor, shape: torch.Size) -> tuple[Tensor, Tensor]:
    """Rays that slip through a gap of the mesh (or out of the open neck) take the hit of the ray above."""
    hit, barycentric = hit.reshape(shape).clone(), barycentric.reshape(*shape, 3).clone()
    for row in range(1, shape[0]):
        missed = hit[row] < 0
        hit[row, missed] = hit[row - 1, missed]
        barycentric[row, missed] = barycentric[row - 1, missed]
    return hit.clamp_min(0), barycentric
