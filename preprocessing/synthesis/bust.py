"""Neck to chest in clothes: a bust that begins beneath the skin of the neck, and a collar."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from head_geometry.head_model import HeadModel
from preprocessing.synthesis.noise import NoiseField
from preprocessing.synthesis.person import Person
from preprocessing.synthesis.surface import Surface, grid_triangles, smooth_step

COLUMNS, ROWS, COLLAR_ROWS = 128, 44, 18
# Half-width and half-depth of the body, its drop below the base of the neck, and how far its middle lies in front of
# the neck's, down the bust (metres).
_SHARE = (0.0, 0.1, 0.25, 0.45, 0.62, 0.74, 0.86, 1.0)
_WIDTH = (0.062, 0.072, 0.098, 0.140, 0.180, 0.203, 0.212, 0.214)
_DEPTH = (0.060, 0.066, 0.076, 0.088, 0.100, 0.110, 0.122, 0.132)
_DROP = (0.0, 0.010, 0.026, 0.045, 0.066, 0.092, 0.160, 0.330)
_FORWARD = (0.0, 0.002, 0.004, 0.006, 0.008, 0.012, 0.018, 0.024)
# Depth of the first rows beneath the skin of the neck's lower edge.
_BENEATH_M = (0.009, 0.004, 0.0004)


class Bust:
    """Bust and collar of one person: surface and colours."""

    def __init__(
        self, model: HeadModel, neutral: Float[Tensor, "vertex 3"], person: Person
    ) -> None:
        """Shape it to the person's neck.

        Args:
            model: The head model.
            neutral: The person's vertices at rest.
            person: Looks.
        """
        self._person = person
        self._noise = NoiseField(person.texture_seed + 2)
        loop = neutral[neck_edge(model)]
        self._angle = torch.linspace(-np.pi, np.pi, COLUMNS)
        self._middle = loop.mean(0)
        body = self._body(self._resample(loop))
        pieces = [self._piece(body, 0.0), self._piece(self._collar(body), 1.0)]
        offset = len(pieces[0][0])
        self.surface = Surface(
            vertices=torch.cat([vertices for vertices, _, _ in pieces]),
            triangle=torch.cat([pieces[0][1], pieces[1][1] + offset]),
            attributes=torch.cat([attributes for _, _, attributes in pieces]),
            torso_share=torch.ones(sum(len(vertices) for vertices, _, _ in pieces)),
        )

    def _resample(self, loop: Float[Tensor, "corner 3"]) -> Float[Tensor, "column 3"]:
        """The open edge of the neck at the grid's angles around its middle (0 is the front)."""
        away = (loop - self._middle).numpy().astype(np.float64)
        angle = np.arctan2(away[:, 0], away[:, 2])
        columns = [np.interp(self._angle, angle, axis, period=2 * np.pi) for axis in away.T]
        return torch.from_numpy(np.stack(columns, 1)).float() + self._middle

    def _body(self, edge: Float[Tensor, "column 3"]) -> Float[Tensor, "row column 3"]:
        """Rings from the neck over the shoulders down."""
        share = torch.linspace(0, 1, ROWS - 3)
        width, depth, drop, forward = (
            torch.from_numpy(np.interp(share, _SHARE, table)).float()
            for table in (_WIDTH, _DEPTH, _DROP, _FORWARD)
        )
        sine, cosine = torch.sin(self._angle), torch.cos(self._angle)
        round_x = sine.sign() * sine.abs() ** 0.9
        round_z = cosine.sign() * cosine.abs() ** 0.9
        x = width[:, None] * round_x
        z = depth[:, None] * round_z + forward[:, None]
        # The edge of the neck is higher at the back than at the front: so are the first rings.
        tilt = (edge[:, 1] - self._middle[1]) * (1 - smooth_step(share, 0.0, 0.75))[:, None]
        y = tilt - drop[:, None]
        rings = torch.stack([x, y.expand_as(x), z], -1) + self._middle
        from_neck = smooth_step(share, 0.0, 0.35)[:, None, None]
        rings = edge * (1 - from_neck) + rings * from_neck
        rings[:, :, 1] = rings[:, :, 1] - drop[:, None] * (1 - from_neck[:, :, 0])
        out = torch.nn.functional.normalize(
            (edge - self._middle) * torch.tensor([1.0, 0, 1.0]), dim=1
        )
        # The first rows lie beneath the skin: the seam is closed.
        inside = [edge - depth * out for depth in _BENEATH_M]
        return torch.cat([torch.stack(inside), rings])

    def _neckline(self) -> Float[Tensor, " column"]:
        """Share of the way down the bust at which clothes begin, at each angle."""
        front = torch.exp(-((self._angle / 0.62) ** 2))
        match self._person.clothes:
            case "crew":
                return 0.11 + 0.05 * front
            case "v_neck":
                return 0.12 + 0.42 * torch.exp(-(self._angle.abs() / 0.42))
            case "jacket":
                return 0.07 + 0.05 * front
            case _:
                return torch.full_like(self._angle, 0.06)

    def _collar(self, body: Float[Tensor, "row column 3"]) -> Float[Tensor, "collar_row column 3"]:
        """A rim along the neckline: a ribbed band, a turned-down shirt collar, or a turtleneck."""
        base = _along_rows(body, 3 + self._neckline() * (ROWS - 4))
        # Outwards and upwards across the neckline, wherever it runs.
        along = torch.gradient(base, dim=0)[0]
        along[[0, -1]] = along[0] + along[-1]
        along = torch.nn.functional.normalize(along, dim=1)
        out = (base - self._middle) * torch.tensor([1.0, 0.0, 1.0])
        out = out - (out * along).sum(1, keepdim=True) * along
        out = torch.nn.functional.normalize(out, dim=1)
        up = torch.linalg.cross(out, along)
        match self._person.clothes:
            case "turtleneck":
                profile = [
                    (-0.002, -0.01),
                    (0.004, 0.0),
                    (0.007, 0.012),
                    (0.0075, 0.028),
                    (0.005, 0.036),
                    (0.0, 0.036),
                    (-0.004, 0.03),
                ]
                open_front = torch.zeros_like(self._angle)
            case "jacket":
                profile = [
                    (-0.004, -0.012),
                    (0.016, -0.02),
                    (0.021, -0.016),
                    (0.017, 0.0),
                    (0.009, 0.017),
                    (0.005, 0.02),
                    (0.001, 0.017),
                    (-0.003, 0.004),
                ]
                open_front = torch.exp(-((self._angle / 0.16) ** 2))
            case _:
                profile = [
                    (-0.004, -0.007),
                    (0.004, -0.009),
                    (0.0075, -0.004),
                    (0.007, 0.003),
                    (0.003, 0.006),
                    (-0.003, 0.003),
                ]
                open_front = torch.zeros_like(self._angle)
        share = np.linspace(0, 1, COLLAR_ROWS)
        knots = np.linspace(0, 1, len(profile))
        outwards, upwards = (
            torch.from_numpy(np.interp(share, knots, column)).float()
            for column in np.array(profile).T
        )
        sink = 1 - open_front
        place = base + out * (outwards[:, None] * sink - 0.006 * open_front)[..., None]
        place = place + up * (upwards[:, None] * sink - 0.01 * open_front)[..., None]
        # Grids run down, profiles run up and inwards: turn them round, or their insides would be outside.
        return place.flip(0)

    def _piece(
        self, place: Float[Tensor, "row column 3"], is_collar: float
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Vertices, triangles and attributes: place at rest, share of the way below the neckline, collar or not."""
        rows = len(place)
        share = (torch.arange(rows).float()[:, None] - 3) / (ROWS - 4)
        below = (share - self._neckline()) * (1 - is_collar) + is_collar
        attributes = torch.cat(
            [
                place,
                below[..., None],
                torch.full((rows, COLUMNS, 1), is_collar),
                self._angle.expand(rows, -1)[..., None],
            ],
            -1,
        )
        triangle = grid_triangles(rows, COLUMNS)
        return place.reshape(-1, 3), triangle, attributes.reshape(-1, 6)

    def colour(
        self, attributes: Float[Tensor, "point 6"]
    ) -> tuple[Float[Tensor, "point 3"], Float[Tensor, " point"]]:
        """Linear RGB of points of the bust, and 1 where it is a garment, 0 where it is skin."""
        person, noise = self._person, self._noise
        place, below, is_collar, angle = attributes.split([3, 1, 1, 1], 1)
        below, is_collar, angle = below[:, 0], is_collar[:, 0] > 0.5, angle[:, 0]
        thread = noise.at(place * torch.tensor([900.0, 900.0, 500.0]))
        fold = noise.fractal(place * torch.tensor([22.0, 9.0, 22.0]), 2)
        weave = (0.8 + 0.25 * thread + 0.45 * (fold - 0.5))[:, None]
        cloth = torch.from_numpy(person.cloth).float()
        garment = cloth * weave
        if person.clothes == "jacket":
            shirt = torch.from_numpy(person.shirt).float() * (0.9 + 0.2 * (fold - 0.5))[:, None]
            # The jacket leaves a V free; its lapels are a little darker along their edge.
            side, height = place[:, 0].abs(), self._middle[1] - place[:, 1]
            free = 0.062 - 0.24 * (height - 0.02).clamp_min(0) - side
            front = place[:, 2] > self._middle[2]
            shows = is_collar | (front & (free > 0)) | (height < -0.02)
            lapel = front & ((free > -0.0035) | ((free + 0.045).abs() < 0.002)) & (height < 0.2)
            garment = torch.where(lapel[:, None], 0.45 * garment, garment)
            button = (side - 0.0012).abs() < 0.0008
            shirt = torch.where((button & (place[:, 2] > 0))[:, None], 0.8 * shirt, shirt)
            garment = torch.where(shows[:, None], shirt, garment)
        elif person.clothes == "turtleneck":
            rib = 0.85 + 0.15 * torch.cos(angle * 70)
            garment = torch.where(is_collar[:, None], garment * rib[:, None], garment)
        else:
            garment = torch.where(is_collar[:, None], 0.8 * garment, garment)
        skin = torch.from_numpy(person.skin).float()
        blotch = noise.fractal(place * 45, 3) - 0.5
        chest = skin * (1 + 0.2 * blotch)[:, None]
        worn = below > 0
        return torch.where(worn[:, None], garment, chest), worn.float()


def neck_edge(model: HeadModel) -> Int[Tensor, " corner"]:
    """Vertices of the open lower edge of the neck, around it."""
    edges = torch.cat(
        [model.triangle[:, [0, 1]], model.triangle[:, [1, 2]], model.triangle[:, [2, 0]]]
    )
    unique, count = torch.unique(edges.sort(1).values, dim=0, return_counts=True)
    rim = torch.unique(unique[count == 1])
    rim = rim[model.vertex_part[rim] == model.part_name.index("neck")]
    away = model.template[rim] - model.template[rim].mean(0)
    return rim[torch.atan2(away[:, 0], away[:, 2]).argsort()]


def _along_rows(
    body: Float[Tensor, "row column 3"], row: Float[Tensor, " column"]
) -> Float[Tensor, "column 3"]:
    """Points of a grid at a fractional row of each column."""
    low = row.floor().long().clamp(0, len(body) - 2)
    share = (row - low)[:, None]
    columns = torch.arange(body.shape[1])
    return body[low, columns] * (1 - share) + body[low + 1, columns] * share
