"""Pictures and the film of the fit page: the posed head over the frames, lit as the fit says, and the recovered skin."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor
from tqdm import tqdm

from artifacts.kinds import FRAMES, MATTE
from artifacts.store import open_artifact
from evaluation.fit_review import Review
from evaluation.metrics.coefficients import FRONTAL
from evaluation.report_pictures import (
    DETECTED_COLOUR,
    FITTED_COLOUR,
    LIGHT,
    Picture,
    draw_mesh,
    draw_outline,
    draw_points,
    heat_map,
    label_strip,
    resize_exactly,
    stack_rows,
    tile_row,
    with_labels,
)
from evaluation.report_videos import Film, encode_film, sound_of
from evaluation.truth import FittedClip
from head_geometry.cameras import transform
from head_geometry.images import DISPLAY_GAMMA
from head_geometry.normals import vertex_normals
from head_geometry.rasteriser import rasterise
from head_geometry.spherical_harmonics import irradiance_basis

# The film shows this many stretches of the clip, evenly spread.
EXCERPTS = 4
SHEET_SIDE_PX = 240
# Directions from which the neutral head is shown, degrees that the camera goes around it.
VIEWS = {"front": 0.0, "three quarters": 40.0, "side": 90.0}


@dataclass(frozen=True)
class Surface:
    """What a picture sees of a head: where, and its unit normals in camera axes and texture coordinates there."""

    covered: Tensor
    normal: Float[Tensor, "seen 3"]
    uv: Float[Tensor, "seen 2"]


def see_surface(
    clip: FittedClip,
    vertices: Float[Tensor, "vertex 3"],
    camera_from_head: Float[Tensor, "4 4"],
    intrinsics: Float[Tensor, "3 3"],
) -> Surface:
    """The posed head of ``vertices`` (head axes) in a picture of the clip's working size."""
    head = clip.head_model
    placed = transform(camera_from_head, vertices)
    raster = rasterise(placed, head.triangle, intrinsics, clip.size)
    normals = raster.interpolate(vertex_normals(placed, head.triangle), head.triangle)
    covered = raster.face_id >= 0
    uv = raster.interpolate(head.uv, head.triangle_uv)
    return Surface(covered, torch.nn.functional.normalize(normals[covered], dim=-1), uv[covered])


def sample_texture(
    texture: Float[Tensor, "texel_row texel_column channel"], uv: Float[Tensor, "seen 2"]
) -> Float[Tensor, "seen channel"]:
    """Texture values (bilinear); (0, 0) is the texture's top-left corner."""
    values = torch.nn.functional.grid_sample(
        texture.permute(2, 0, 1)[None],
        (2 * uv - 1)[None, None],
        align_corners=False,
        padding_mode="border",
    )
    return values[0, :, 0].T


def draw_lit(
    picture: Picture, surface: Surface, albedo: np.ndarray, light: np.ndarray | None
) -> Picture:
    """The albedo under a light, over the picture.

    Args:
        picture: What lies behind.
        surface: The head that is seen.
        albedo: Texture, uint8 sRGB.
        light: Harmonics (9, 3) in camera axes; None: even white light.
    """
    linear = (torch.from_numpy(albedo).float() / 255) ** DISPLAY_GAMMA
    colour = sample_texture(linear, surface.uv)
    if light is not None:
        colour = colour * (irradiance_basis(surface.normal) @ torch.from_numpy(light))
    drawn = picture.copy()
    shown = colour.clamp(0, 1) ** (1 / DISPLAY_GAMMA)
    drawn[surface.covered.numpy()] = (255 * shown).round().byte().numpy()
    return drawn


def draw_shaded(picture: Picture, surface: Surface) -> Picture:
    """The bare shape, lit from above the camera's left, over the picture."""
    lit = (surface.normal @ surface.normal.new_tensor(LIGHT)).clamp_min(0)
    shade = 0.2 + 0.8 * lit.numpy()[:, None]
    drawn = picture.copy()
    drawn[surface.covered.numpy()] = (shade * np.array([200, 205, 215])).round().astype(np.uint8)
    return drawn


class FrameDrawer:
    """Draws the fit over frames of the clip, read one by one."""

    def __init__(self, review: Review) -> None:
        self.review = review
        self.clip = review.clip

    @property
    def labels(self) -> list[str]:
        """Titles of the tiles of the film."""
        names = ["filmed", "fitted head; landmarks found (green), fitted (pink)"]
        return [*names, "albedo in the frame's light"] if self.review.has_photometry else names

    def lit(self, image: Picture, frame: int) -> Picture:
        """The recovered skin under the frame's light, over the frame."""
        clip = self.clip
        surface = see_surface(clip, clip.vertices(frame), clip.camera(frame), clip.intrinsics)
        return draw_lit(image, surface, clip.fit["albedo"], clip.fit["light"][frame])

    def landmarks(self, image: Picture, frame: int) -> Picture:
        """Landmarks as detected, where they were, and as fitted."""
        if self.review.found[frame]:
            image = draw_points(image, self.review.detected[frame], DETECTED_COLOUR)
        return draw_points(image, self.clip.landmarks(frame), FITTED_COLOUR)

    def tiles(self, image: Picture, frame: int) -> list[Picture]:
        """The frame and the fit beside it."""
        tiles = [image, self.landmarks(draw_mesh(image, self.clip, frame), frame)]
        return [*tiles, self.lit(image, frame)] if self.review.has_photometry else tiles


def excerpts(n_frames: int, wanted: int) -> list[Int[np.ndarray, " frame"]]:
    """Stretches of frames, ``wanted`` in all, evenly spread over a clip; all of a shorter one."""
    if n_frames <= wanted:
        return [np.arange(n_frames)]
    count = min(EXCERPTS, wanted)
    length = wanted // count
    starts = np.linspace(0, n_frames - length, count).round().astype(int)
    return [np.arange(start, start + length) for start in starts]


def overlay_film(review: Review, max_frames: int) -> tuple[Film, str]:
    """The film of the fit over the clip, with its sound, and which frames it shows."""
    drawer, side = FrameDrawer(review), max(review.clip.size)
    parts = excerpts(review.clip.n_frames, max_frames)
    shown = np.concatenate(parts)

    def pictures() -> Iterator[Picture]:
        for frame in tqdm(shown, "overlay", unit="frame"):
            image = resize_exactly(reader.read("image", np.s_[int(frame)]), review.clip.size)
            state = "" if review.tracked[frame] else ", filled in"
            state = ", not explained, filled in" if review.doubted[frame] else state
            first, *others = drawer.labels
            top = label_strip([f"{first}, frame {frame}{state}", *others], side)
            yield stack_rows([top, tile_row(drawer.tiles(image, int(frame)), side)])

    with open_artifact(review.files.frames, FRAMES) as reader:
        sounds = [sound_of(reader, int(part[0]), len(part), review.rate_hz) for part in parts]
        heard = [sound for sound in sounds if sound is not None]
        sound = (np.concatenate([samples for samples, _ in heard]), heard[0][1]) if heard else None
        film = encode_film(pictures(), review.rate_hz, sound, 0)
    ranges = ", ".join(f"{part[0]} to {part[-1]}" for part in parts)
    return film, f"Frames {ranges} of {review.clip.n_frames}."


def worst_sheet(review: Review, worst: dict[int, str]) -> Picture:
    """The given frames with matte, landmarks, head and, after a photometric fit, skin and what it misses."""
    drawer, size = FrameDrawer(review), review.clip.size
    columns = ["matte outline", "landmarks found and fitted", "fitted head"]
    if review.has_photometry:
        columns += ["albedo in its light", "difference"]
    rows, texts = [label_strip(columns, SHEET_SIDE_PX)], [""]
    with (
        open_artifact(review.files.frames, FRAMES) as images,
        open_artifact(review.files.matte, MATTE) as mattes,
    ):
        for frame, reason in worst.items():
            image = resize_exactly(images.read("image", np.s_[frame]), size)
            alpha = resize_exactly(mattes.read("alpha", np.s_[frame]), size)
            tiles = [
                draw_outline(image, alpha),
                drawer.landmarks(image, frame),
                draw_mesh(image, review.clip, frame),
            ]
            if review.has_photometry:
                lit = drawer.lit(image, frame)
                tiles += [lit, heat_map(image, lit)]
            rows.append(tile_row(tiles, SHEET_SIDE_PX))
            texts.append(f"frame {frame}\n{reason}")
    return with_labels(rows, texts)


def shape_sheet(review: Review) -> Picture:
    """The subject's neutral head from several sides: its shape, and below its skin in even light."""
    clip = review.clip
    vertices = clip.head_model.neutral(torch.from_numpy(clip.fit["identity"]))
    rows = [label_strip(list(VIEWS), max(clip.size))]
    surfaces = [_turned(clip, vertices, angle) for angle in VIEWS.values()]
    white = np.full((clip.size[1], clip.size[0], 3), 255, np.uint8)
    rows.append(_row([draw_shaded(white, surface) for surface in surfaces], clip))
    if review.has_photometry:
        albedo = clip.fit["albedo"]
        rows.append(_row([draw_lit(white, surface, albedo, None) for surface in surfaces], clip))
    return stack_rows(rows)


def _row(pictures: Sequence[Picture], clip: FittedClip) -> Picture:
    return tile_row(pictures, max(clip.size))


def _turned(clip: FittedClip, vertices: Float[Tensor, "vertex 3"], angle_deg: float) -> Surface:
    """The head from a far camera that went around it, filling the picture."""
    angle = np.radians(angle_deg)
    turn = np.array(
        [[np.cos(angle), 0, np.sin(angle)], [0, 1, 0], [-np.sin(angle), 0, np.cos(angle)]]
    )
    middle = (vertices.amax(0) + vertices.amin(0)) / 2
    extent_m = float((vertices - middle).norm(dim=-1).max())
    distance_m = 8 * extent_m
    camera_from_head = torch.eye(4)
    camera_from_head[:3, :3] = torch.from_numpy(FRONTAL @ turn).float()
    camera_from_head[:3, 3] = (
        vertices.new_tensor([0, 0, distance_m]) - camera_from_head[:3, :3] @ middle
    )
    width, height = clip.size
    focal_px = 0.48 * min(width, height) * distance_m / extent_m
    intrinsics = torch.tensor(
        [[focal_px, 0, (width - 1) / 2], [0, focal_px, (height - 1) / 2], [0, 0, 1]]
    )
    return see_surface(clip, vertices, camera_from_head, intrinsics)


def albedo_sheet(review: Review) -> Picture:
    """The albedo on the head model's texture, and how well each texel was seen (bright: well)."""
    fit, side = review.clip.fit, 2 * SHEET_SIDE_PX
    seen = np.repeat(fit["albedo_seen"][..., None], 3, -1)
    rows = [label_strip(["albedo", "how well it was seen"], side)]
    return stack_rows([*rows, tile_row([fit["albedo"], seen], side)])
