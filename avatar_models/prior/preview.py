"""What a prior draws, as one picture to look at, and its test over the training as a table."""

from __future__ import annotations

import csv
import io
import math
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor

from artifacts.text_files import write_whole
from avatar_models.prior.decoder import CURVE_COLUMNS, PriorDecoder
from avatar_models.prior.pictures import PriorPictures

SIDE, COLUMNS = 128, 8
# Turns of the camera around a head in the row of views, radians.
_TURNS = torch.linspace(-1.1, 1.1, COLUMNS)
_FOCAL, _DISTANCE_M = 2.6, 0.9


def write_preview(path: Path, model: PriorDecoder, data: PriorPictures) -> None:
    """Rows: test people as they are; as the prior draws them; one from all sides; from one to another; random heads."""
    generator = torch.Generator().manual_seed(1)
    spread = np.linspace(0, len(data.test_moments) - 1, COLUMNS).round().astype(int)
    moments = data.test_moments[spread].tolist()
    real = data.whole(torch.stack([data.views(m)[0] for m in moments]), SIDE)
    latents = model.latents(data.known[moments])
    share = torch.linspace(0, 1, COLUMNS, device=data.device)[:, None, None]
    random = model.random_latents(COLUMNS, generator)
    front = orbit_label(model, torch.tensor(0.0)).expand(COLUMNS, -1)
    around = torch.stack([orbit_label(model, turn) for turn in _TURNS])
    rows = [
        (real.colour, real.alpha),
        model.pictures(latents, real.label, SIDE),
        model.pictures(latents[:1].expand(COLUMNS, -1, -1), around, SIDE),
        model.pictures(latents[1:2].lerp(latents[2:3], share), front, SIDE),
        model.pictures(random, front, SIDE),
        model.pictures(random[:1].expand(COLUMNS, -1, -1), around, SIDE),
    ]
    pictures = [colour + (1 - alpha) for colour, alpha in rows]
    sheet = torch.cat([torch.cat(list(row), 2) for row in pictures], 1).movedim(0, -1)
    picture = io.BytesIO()
    Image.fromarray((sheet.clamp(0, 1) * 255).round().byte().cpu().numpy()).save(picture, "PNG")
    write_whole(path, picture.getvalue())


def orbit_label(model: PriorDecoder, turn: Float[Tensor, ""]) -> Float[Tensor, " 25"]:
    """A camera before the head, turned around its upright axis.

    Args:
        model: Whose scene it is.
        turn: Radians; 0 is the front.
    """
    units = model.generator.layout.units_per_metre
    sine, cosine = float(turn.sin()), float(turn.cos())
    distance = _DISTANCE_M * units
    world_from_camera = [
        [cosine, 0.0, -sine, sine * distance],
        [0.0, -1.0, 0.0, 0.0],
        [-sine, 0.0, -cosine, cosine * distance],
        [0.0, 0.0, 0.0, 1.0],
    ]
    pinhole = [[_FOCAL, 0.0, 0.5], [0.0, _FOCAL, 0.5], [0.0, 0.0, 1.0]]
    return torch.tensor([x for row in (*world_from_camera, *pinhole) for x in row])


def write_curve(path: Path, curve: Float[Tensor, "point column"]) -> None:
    """The test's results over the training as CSV; points that were not measured are left out."""
    table = io.StringIO()
    writer = csv.writer(table, lineterminator="\n")
    writer.writerow(CURVE_COLUMNS)
    writer.writerows(
        [f"{value:.6g}" for value in row]
        for row in curve.tolist()
        if not any(math.isnan(value) for value in row)
    )
    write_whole(path, table.getvalue())
