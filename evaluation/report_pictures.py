"""Pictures of the report: labelled tiles, error heat maps, contact sheets, overlays of the fit."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

import matplotlib as mpl
import numpy as np
import torch
from jaxtyping import Float, UInt8
from PIL import Image, ImageDraw, ImageFont

from evaluation.truth import FittedClip
from head_geometry.cameras import transform
from head_geometry.images import resize_area

# Sizes differ between the pictures of one function, so they have no names here.
Picture = UInt8[np.ndarray, "_ _ 3"]

LABEL_HEIGHT_PX = 30
GAP_PX = 4
BACKDROP = (22, 24, 29)
LABEL_COLOUR = (226, 229, 235)
# Mean absolute difference of the channels (0..1) that reaches the end of the colour scale.
HEAT_LIMIT = 0.3
HEAT_COLOURS = "inferno"
DETECTED_COLOUR = (64, 222, 128)
FITTED_COLOUR = (255, 72, 160)
MATTE_COLOUR = (255, 206, 64)
# Direction towards the light, unit length, OpenCV camera axes.
LIGHT = (-0.36, -0.48, -0.8)


def tile_side(image_side: int, columns: int) -> int:
    """Width of one tile in pixels: large enough to see, small enough that a row stays below 1600 px."""
    wanted = 384 if image_side >= 384 else 256
    return max(128, min(wanted, 1600 // max(columns, 1))) // 2 * 2


def heat_map(truth: Picture, render: Picture) -> Picture:
    """Mean absolute difference of the channels as colours, 0 to :data:`HEAT_LIMIT`."""
    difference = np.abs(truth.astype(np.float32) - render).mean(-1) / 255
    colours = mpl.colormaps[HEAT_COLOURS](np.clip(difference / HEAT_LIMIT, 0, 1))
    return (colours[..., :3] * 255).round().astype(np.uint8)


def heat_scale(side: int) -> Picture:
    """The colour scale of :func:`heat_map` as a square picture, from 0 at the bottom up."""
    ramp = np.linspace(1, 0, side // 2)[:, None].repeat(side // 10, 1)
    bar = (mpl.colormaps[HEAT_COLOURS](ramp)[..., :3] * 255).round().astype(np.uint8)
    picture = Image.new("RGB", (side, side), BACKDROP)
    left, top = side * 2 // 5, side // 4
    picture.paste(Image.fromarray(bar), (left, top))
    draw = ImageDraw.Draw(picture)
    font = ImageFont.load_default(max(11, side // 18))
    for text, y in ((f"{HEAT_LIMIT:g}", top), ("0", top + side // 2)):
        draw.text((left + side // 8, y), text, LABEL_COLOUR, font, anchor="lm")
    return np.asarray(picture)


def resize(picture: Picture, side: int) -> Picture:
    """A square picture at another size, for display only."""
    if picture.shape[:2] == (side, side):
        return picture
    return np.asarray(Image.fromarray(picture).resize((side, side), Image.Resampling.BICUBIC))


def thumbnail(picture: Picture, width: int) -> Picture:
    """A picture at a smaller width, of its own shape, for display only."""
    small = Image.fromarray(picture)
    small.thumbnail((width, picture.shape[0]), Image.Resampling.LANCZOS)
    return np.asarray(small)


def label_strip(texts: Sequence[str], side: int) -> Picture:
    """One strip of labels, one centred over each tile of a row."""
    width = len(texts) * side + (len(texts) - 1) * GAP_PX
    strip = Image.new("RGB", (width, LABEL_HEIGHT_PX), BACKDROP)
    draw = ImageDraw.Draw(strip)
    for column, text in enumerate(texts):
        centre = column * (side + GAP_PX) + side / 2
        size = 18.0
        font = ImageFont.load_default(size)
        while draw.textlength(text, font=font) > side - 8 and size > 8:
            size -= 0.5
            font = ImageFont.load_default(size)
        draw.text((centre, LABEL_HEIGHT_PX / 2), text, LABEL_COLOUR, font, anchor="mm")
    return np.asarray(strip)


def tile_row(pictures: Sequence[Picture], side: int) -> Picture:
    """Pictures side by side, each ``side`` pixels wide and high."""
    gap = np.broadcast_to(np.array(BACKDROP, np.uint8), (side, GAP_PX, 3))
    parts: list[np.ndarray] = []
    for picture in pictures:
        parts += [resize(picture, side), gap]
    return np.concatenate(parts[:-1], 1)


def stack_rows(rows: Sequence[Picture]) -> Picture:
    """Rows of one width under each other."""
    gap = np.broadcast_to(np.array(BACKDROP, np.uint8), (GAP_PX, rows[0].shape[1], 3))
    parts: list[np.ndarray] = []
    for row in rows:
        parts += [row, gap]
    return np.concatenate(parts[:-1], 0)


def side_labels(texts: Sequence[str], heights: Sequence[int], width: int = 180) -> Picture:
    """A column of labels, one beside each row of a contact sheet."""
    total = sum(heights) + GAP_PX * (len(heights) - 1)
    column = Image.new("RGB", (width, total), BACKDROP)
    draw = ImageDraw.Draw(column)
    font = ImageFont.load_default(18)
    y = 0
    for text, height in zip(texts, heights, strict=True):
        draw.multiline_text((8, y + height / 2), text, LABEL_COLOUR, font, anchor="lm", spacing=4)
        y += height + GAP_PX
    return np.asarray(column)


def with_labels(rows: Sequence[Picture], texts: Sequence[str]) -> Picture:
    """Rows under each other, each with its text on the left."""
    labels = side_labels(texts, [len(row) for row in rows])
    return np.concatenate([labels, stack_rows(rows)], 1)


def resize_exactly(image: UInt8[np.ndarray, "_ _ *_"], size: tuple[int, int]) -> np.ndarray:
    """A picture or a matte at another size (width, height), by the rule that intrinsics are resized by."""
    flat = image if image.ndim == 3 else image[..., None]
    out = resize_area(torch.from_numpy(flat), size).numpy()
    return out if image.ndim == 3 else out[..., 0]


def read_picture(path: Path) -> Picture:
    """An RGB picture file."""
    with Image.open(path) as opened:
        return np.asarray(opened.convert("RGB"))


def encode(picture: Picture, kind: str = "jpeg") -> bytes:
    """The picture as a JPEG (quality 88) or PNG file."""
    buffer = io.BytesIO()
    options = {"quality": 88} if kind == "jpeg" else {"optimize": True}
    Image.fromarray(picture).save(buffer, kind, **options)
    return buffer.getvalue()


def draw_points(
    picture: Picture, points: Float[np.ndarray, "point 2"], colour: tuple[int, int, int]
) -> Picture:
    """Points (pixels) drawn as small discs."""
    image = Image.fromarray(picture)
    draw = ImageDraw.Draw(image)
    radius = max(0.8, picture.shape[0] / 320)
    for x, y in points:
        draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=colour)
    return np.asarray(image)


def draw_outline(picture: Picture, opacity: UInt8[np.ndarray, "height width"]) -> Picture:
    """The half-opacity outline of a matte."""
    inside = opacity > 127
    edge = np.zeros_like(inside)
    edge[:-1] |= inside[:-1] != inside[1:]
    edge[:, :-1] |= inside[:, :-1] != inside[:, 1:]
    drawn = picture.copy()
    drawn[edge] = MATTE_COLOUR
    return drawn


def draw_mesh(picture: Picture, clip: FittedClip, frame: int) -> Picture:
    """The posed head mesh, lit from above the camera's left, half transparent over the picture."""
    raster = clip.raster(frame)
    covered = (raster.face_id >= 0).numpy()
    corners = transform(clip.camera(frame), clip.vertices(frame))[clip.head_model.triangle]
    normal = torch.linalg.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    lit = torch.nn.functional.normalize(normal, dim=-1) @ normal.new_tensor(LIGHT)
    shade = 0.15 + 0.85 * lit.abs().numpy()[raster.face_id.numpy()[covered]] ** 1.5
    colour = shade[:, None] * np.array([150, 190, 255])
    drawn = picture.astype(np.float32)
    drawn[covered] = 0.35 * drawn[covered] + 0.65 * colour
    return drawn.round().astype(np.uint8)
