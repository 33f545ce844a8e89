"""The colours of a head: skin with pores and blotches, lips, brows, lashes, stubble, eyes, teeth, without light.

Colours are a function of the place on the head, not of a texture: no seam shows, and eyelids and lips, which are small
in the head model's texture, are as sharp as the picture. The texture of the truth is this function at its texels.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from head_geometry.head_model import HeadModel
from head_geometry.rasteriser import rasterise_uv
from preprocessing.head_models.points import LOWER_LID, UPPER_LID
from preprocessing.head_models.portraits import IRIS_ANGLE_RAD, PUPIL_ANGLE_RAD, brow_amount
from preprocessing.synthesis.noise import NoiseField
from preprocessing.synthesis.person import Person
from preprocessing.synthesis.surface import smooth_step

EYES = ("eye_left", "eye_right")
# Width of the dark line of lashes on the rim of the upper and of the lower lid.
LASH_M = {"upper": 0.0013, "lower": 0.0008}
_TEETH = (0.58, 0.53, 0.43)
_CAVITY = (0.10, 0.03, 0.028)
_TONGUE = (0.30, 0.10, 0.095)
_SCLERA = (0.66, 0.62, 0.59)


@dataclass(frozen=True)
class HeadPoints:
    """Points of the head to colour.

    Attributes:
        place: On the template, metres, head axes (so that colours stick to the skin).
        direction: Unit direction from the eyeball's centre on eyeballs, 0 elsewhere.
        mask: Columns of :class:`HeadPaint`'s ``mask``.
        part: Index into the model's ``part_name``.
    """

    place: Float[Tensor, "point 3"]
    direction: Float[Tensor, "point 3"]
    mask: Float[Tensor, "point mask"]
    part: Int[Tensor, " point"]


class HeadPaint:
    """Colours of one person's head.

    Attributes:
        vertex_attributes: Per vertex: place (3), direction (3), then the masks, to be interpolated over triangles.
    """

    MASKS = ("lip", "lash", "ruddy", "beard", "scalp")

    def __init__(
        self, model: HeadModel, person: Person, hairline: Float[Tensor, " vertex"]
    ) -> None:
        """Prepare the masks.

        Args:
            model: The head model.
            person: Looks.
            hairline: How much hair grows at each vertex, 0..1.
        """
        self._model, self._person = model, person
        joints = model.joint_regressor @ model.template
        self._eye = joints[model.joint_name.index("eye_left")]
        self._noise = NoiseField(person.texture_seed)
        self._parts = {name: index for index, name in enumerate(model.part_name)}
        masks = [
            _is_part(model, "lips"),
            _lashes(model),
            self._ruddy(),
            self._beard(),
            hairline,
        ]
        directions = torch.zeros_like(model.template)
        for name in EYES:
            chosen = model.part_vertices(name)
            centre = joints[model.joint_name.index(name)]
            directions[chosen] = torch.nn.functional.normalize(
                model.template[chosen] - centre, dim=-1
            )
        self.vertex_attributes = torch.cat([model.template, directions, torch.stack(masks, 1)], 1)

    def colour(self, points: HeadPoints) -> Float[Tensor, "point 3"]:
        """Linear RGB in 0..1 of points of the head."""
        colour = self._skin(points)
        for name, plain in (("mouth_cavity", _CAVITY), ("tongue", _TONGUE)):
            chosen = points.part == self._parts[name]
            grain = 0.85 + 0.3 * self._noise.at(points.place[chosen] * 700)
            colour[chosen] = torch.tensor(plain) * grain[:, None]
        chosen = points.part == self._parts["teeth"]
        colour[chosen] = self._teeth(points.place[chosen])
        for name in EYES:
            chosen = points.part == self._parts[name]
            colour[chosen] = self._eyeball(points.direction[chosen])
        return colour.clamp(0.003, 0.95)

    def texture(self, side: int) -> Float[Tensor, "texel_row texel_column 3"]:
        """Colours (linear RGB) on the head model's texture; black where no triangle lies."""
        model = self._model
        face, barycentric = rasterise_uv(model.uv, model.triangle_uv, (side, side))
        covered = face >= 0
        corners = model.triangle[face[covered]]
        weights = barycentric[covered]
        values = (self.vertex_attributes[corners] * weights[..., None]).sum(1)
        nearest = corners.gather(1, weights.argmax(1, keepdim=True))[:, 0]
        texture = torch.zeros(side, side, 3)
        texture[covered] = self.colour(split_attributes(values, model.vertex_part[nearest]))
        return texture

    def _skin(self, points: HeadPoints) -> Float[Tensor, "point 3"]:
        person, noise, place = self._person, self._noise, points.place
        lip, lash, ruddy, beard, scalp = points.mask.unbind(1)
        skin = torch.from_numpy(person.skin).float()
        pale = float(skin.mean())
        blotch = noise.fractal(place * 55, 3) - 0.5
        pore = noise.at(place * 900) - 0.5
        colour = skin * (1 + 0.22 * blotch + 0.10 * pore)[:, None]
        flush = (person.ruddy * ruddy * (0.7 + 0.9 * blotch))[:, None]
        colour = colour * (1 - flush * torch.tensor([-0.02, 0.28, 0.24]) * min(1.0, 3 * pale))
        if person.freckles > 0:
            spot = ((noise.at(place * 420 + 5) - 0.74) * 9).clamp(0, 1) * ruddy.clamp(0, 1)
            colour = colour * (
                1 - (person.freckles * spot)[:, None] * torch.tensor([0.3, 0.42, 0.5])
            )
        hair = torch.from_numpy(person.hair).float()
        strand = noise.at(place * torch.tensor([1500.0, 350.0, 900.0]))
        # Beard hairs under the skin look grey.
        shadow = (person.stubble * beard * (0.55 + 0.5 * (strand - 0.5)))[:, None].clamp(0, 1)
        colour = colour * (1 - shadow) + (0.35 * skin + 0.25 * hair) * shadow
        crease = 0.75 + 0.5 * noise.at(place * torch.tensor([800.0, 150.0, 300.0]))
        lips = torch.from_numpy(person.lip).float() * crease[:, None]
        amount = ((lip - 0.25) / 0.5).clamp(0, 1)[:, None]
        colour = colour * (1 - amount) + lips * amount
        brow = self._brow(place, strand)[:, None]
        colour = colour * (1 - brow) + hair * 0.8 * brow
        roots = (scalp * (0.75 + 0.6 * (strand - 0.5))).clamp(0, 0.97)[:, None]
        colour = colour * (1 - roots) + hair * 0.7 * roots
        dark = (0.85 * lash)[:, None]
        return colour * (1 - dark) + 0.012 * dark

    def _brow(
        self, place: Float[Tensor, "point 3"], strand: Float[Tensor, " point"]
    ) -> Float[Tensor, " point"]:
        amount = brow_amount(place, self._eye)
        on_skin = (place[:, 2] > 0.06).float()
        ragged = ((amount * 1.5 - 0.5 + (strand - 0.5)) * 1.6).clamp(0, 1)
        return self._person.brow_strength * ragged * on_skin

    def _teeth(self, place: Float[Tensor, "point 3"]) -> Float[Tensor, "point 3"]:
        """Ivory, with a dark gap between tooth and tooth; the corners of the mouth lie in the dark."""
        angle = torch.atan2(place[:, 0], place[:, 2] - 0.065)
        gap = torch.cos(angle * 17).abs() < 0.14
        far = 1 - 0.93 * smooth_step(place[:, 0].abs(), 0.012, 0.022)
        colour = torch.tensor(_TEETH) * far[:, None]
        return torch.where(gap[:, None], 0.55 * colour, colour)

    def _eyeball(self, direction: Float[Tensor, "point 3"]) -> Float[Tensor, "point 3"]:
        """White with a few veins, a radial iris with a dark rim, a pupil."""
        angle = torch.arccos(direction[:, 2].clamp(-1, 1))
        around = torch.atan2(direction[:, 1], direction[:, 0])
        ring = torch.stack([torch.cos(around), torch.sin(around)], 1)
        spoke = self._noise.at(torch.cat([9 * ring, 4 * angle[:, None]], 1))
        iris = torch.from_numpy(self._person.iris).float()
        rim = 1 - 0.75 * ((angle / IRIS_ANGLE_RAD - 0.82) / 0.18).clamp(0, 1)
        bright = (0.5 + 1.1 * spoke) * rim
        vein = ((self._noise.at(direction * 9) - 0.5).abs() < 0.03).float() * (angle - 0.6).clamp(
            0, 1
        )
        sclera = torch.tensor(_SCLERA) * (1 - vein[:, None] * torch.tensor([0.0, 0.5, 0.5]))
        edge = ((IRIS_ANGLE_RAD - angle) / 0.05).clamp(0, 1)[:, None]
        colour = sclera * (1 - edge) + iris * bright[:, None] * edge
        pupil = ((PUPIL_ANGLE_RAD - angle) / 0.03).clamp(0, 1)[:, None]
        return colour * (1 - pupil) + 0.004 * pupil

    def _ruddy(self) -> Float[Tensor, " vertex"]:
        """How much blood shows at each vertex: cheeks, nose, ears, 0..1."""
        model = self._model
        place = model.template - self._eye * torch.tensor([0.0, 1.0, 1.0])
        side = torch.stack([place[:, 0].abs(), place[:, 1], place[:, 2]], 1)
        cheek = _bump(side, [0.042, -0.036, 0.002], 0.02)
        nose = _bump(side, [0.0, -0.03, 0.04], 0.014)
        ear = _is_part(model, "ear")
        return torch.maximum(torch.maximum(cheek, 0.8 * nose), 0.6 * ear)

    def _beard(self) -> Float[Tensor, " vertex"]:
        """How densely a beard would grow at each vertex, 0..1."""
        model = self._model
        place = model.template - self._eye * torch.tensor([0.0, 1.0, 1.0])
        side = place[:, 0].abs()
        # From the corner of the mouth up to the sideburns; not on the throat.
        height = -0.066 + 0.045 * ((side - 0.028) / 0.04).clamp(0, 1)
        cheek = torch.sigmoid((height - place[:, 1]) / 0.004)
        moustache = _bump(
            torch.stack([0.45 * side, place[:, 1], place[:, 2]], 1), [0.0, -0.058, 0.03], 0.009
        )
        throat = torch.sigmoid(
            (place[:, 1] + 0.128 - 0.3 * (0.02 - place[:, 2]).clamp_min(0)) / 0.006
        )
        skin = 1 - torch.maximum(_is_part(model, "ear"), _is_part(model, "scalp"))
        front = torch.sigmoid((model.template[:, 2] - 0.022) / 0.005)
        return torch.maximum(cheek * throat, moustache) * skin * front


def split_attributes(
    values: Float[Tensor, "point attribute"], part: Int[Tensor, " point"]
) -> HeadPoints:
    """Interpolated :attr:`HeadPaint.vertex_attributes` as points to colour."""
    direction = torch.nn.functional.normalize(values[:, 3:6], dim=-1)
    return HeadPoints(values[:, :3], direction, values[:, 6:], part)


def _is_part(model: HeadModel, name: str) -> Float[Tensor, " vertex"]:
    return (model.vertex_part == model.part_name.index(name)).float()


def _bump(
    place: Float[Tensor, "point 3"], centre: list[float], radius_m: float
) -> Float[Tensor, " point"]:
    square = ((place - torch.tensor(centre)) ** 2).sum(1)
    return torch.exp(-0.5 * square / radius_m**2)


def _lashes(model: HeadModel) -> Float[Tensor, " vertex"]:
    """How dark each vertex is with lashes: 1 on the rims of the lids."""
    places = model.mediapipe_points(model.template)
    amount = torch.zeros(len(model.template))
    for name, lids, strength in (("upper", UPPER_LID, 1.0), ("lower", LOWER_LID, 0.5)):
        for points in lids.values():
            distance = _distance_to_line(model.template, places[list(points)])
            amount = torch.maximum(amount, strength * torch.exp(-((distance / LASH_M[name]) ** 2)))
    return amount * _is_part(model, "face")


def _distance_to_line(
    place: Float[Tensor, "point 3"], line: Float[Tensor, "corner 3"]
) -> Float[Tensor, " point"]:
    """Distance of each point to a chain of straight pieces, metres."""
    start, along = line[:-1], line[1:] - line[:-1]
    offset = place[:, None] - start
    share = ((offset * along).sum(-1) / (along**2).sum(-1).clamp_min(1e-12)).clamp(0, 1)
    return torch.linalg.vector_norm(offset - share[..., None] * along, dim=-1).amin(1)
