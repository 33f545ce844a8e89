"""Put a render back into the source video's own frames (step ``paste``)."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float, Float64, UInt8
from torch import Tensor
from torch.nn import functional
from tqdm import tqdm

from artifacts.errors import InputError
from artifacts.kinds import FRAMES, RENDER
from artifacts.step import run_step
from artifacts.store import ArtifactReader, open_artifact
from head_geometry.images import resize_area
from media.video import TimeSpan, VideoWriter, decode_frames, probe

LOGGER = logging.getLogger(__name__)


@dataclass(frozen=True)
class Options:
    """Paste a render into the frames of the clip that its driver was cut from."""

    render: Path
    """``render`` artifact."""
    frames: Path
    """``frames`` artifact of the driver, which knows where the crop lies."""
    video: Path
    """The clip that ``frames`` was made from."""
    out: Path
    """Video to write."""
    layer: Literal["image", "person"] = "image"
    """image: the whole crop, soft at its border; person: head and torso alone, over the source's pixels."""
    feather: float = 0.06
    """Width of the soft border, as a share of the crop's side."""


def main(options: Options) -> None:
    """Decode the source, paste, encode."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    if not 0 <= options.feather <= 0.5:
        raise InputError(f"--feather {options.feather:g} is outside 0..0.5; 0.06 is usual")
    with (
        open_artifact(options.render, RENDER) as render,
        open_artifact(options.frames, FRAMES) as frames,
    ):
        driver_frame = render.read("driver_frame")
        time_s = render.read("time_s")
        rate_hz = float(frames.read("frame_rate_hz"))
        width, height = (int(side) for side in frames.read("source_size"))
        if driver_frame.max(initial=0) >= frames.shape("time_s")[0]:
            raise InputError(
                f"{options.render}: renders frame {driver_frame.max()}, which {options.frames} does not "
                "have; give the frames of the render's driver"
            )
        place = CropPlace(
            frames.read("source_from_crop"), frames.shape("image")[1], render.shape("image")[1]
        )
        audio = _sound(frames, float(time_s[0]))
        sources = _source_frames(options.video, frames, driver_frame)
        with VideoWriter(options.out, rate_hz, (width, height), audio) as movie:
            interval_s = 0.5 if sys.stderr.isatty() else 10.0
            bar = tqdm(sources, total=len(driver_frame), desc="paste", mininterval=interval_s)
            for row, source in enumerate(bar):
                if source.shape[:2] != (height, width):
                    raise InputError(
                        f"{options.video}: {source.shape[1]}x{source.shape[0]} pixels, but {options.frames} "
                        f"was made from {width}x{height}; give the clip that it was made from"
                    )
                picture = torch.from_numpy(render.read(options.layer, row)).float() / 255
                opacity = torch.ones(picture.shape[:2])
                if options.layer == "person":
                    opacity = torch.from_numpy(render.read("person_alpha", row)).float() / 255
                    # Stored over white; make it premultiplied.
                    picture = picture - (1 - opacity)[..., None]
                movie.write(place.paste(source, picture, opacity, options.feather))
    LOGGER.info("%s: %d frames of %dx%d", options.out, len(driver_frame), width, height)


def _sound(frames: ArtifactReader, start_s: float) -> tuple[np.ndarray, int] | None:
    if not bool(frames.read("has_audio")):
        return None
    rate_hz = int(frames.read("audio_rate_hz"))
    return frames.read("audio")[round(start_s * rate_hz) :], rate_hz


def _source_frames(
    video: Path, frames: ArtifactReader, wanted: np.ndarray
) -> Iterator[UInt8[np.ndarray, "height width 3"]]:
    """Source frames of the ``wanted`` indices (ascending, or one index again and again)."""
    options = frames.provenance.get("options", {})
    span = TimeSpan(float(options.get("start_s", 0)), float(options.get("duration_s", 0)))
    if (np.diff(wanted) < 0).any():
        raise InputError(f"{frames.path}: the rendered frames are not in order; render them again")
    decoded = decode_frames(probe(video), float(frames.read("frame_rate_hz")), span)
    index, current = -1, None
    for target in wanted:
        while index < target:
            current = next(decoded, None)
            index += 1
        if current is None:
            raise InputError(
                f"{video}: ends before frame {target}; give the clip that {frames.path} was made from"
            )
        yield current


@dataclass(frozen=True)
class CropPlace:
    """Where a render lies in the source frame.

    Attributes:
        source_from_crop: Homogeneous similarity, pixels of the crop to pixels of the source.
        crop_side_px: Side of the crop that the similarity belongs to.
        render_side_px: Side of the rendered pictures.
    """

    source_from_crop: Float64[np.ndarray, "3 3"]
    crop_side_px: int
    render_side_px: int

    def paste(
        self,
        source: UInt8[np.ndarray, "height width 3"],
        picture: Float[Tensor, "side side 3"],
        opacity: Float[Tensor, "side side"],
        feather: float,
    ) -> UInt8[np.ndarray, "height width 3"]:
        """``source`` with a premultiplied picture (0..1) over it, fading out towards the crop's border."""
        scale = float(np.hypot(*self.source_from_crop[:2, 0])) * self.crop_side_px
        # A render finer than the source is averaged down first, so that nothing flickers.
        side = min(self.render_side_px, max(1, round(scale)))
        planes = torch.cat([picture, opacity[..., None]], -1)
        planes = resize_area(planes, (side, side))
        crop_scale = self.crop_side_px / side
        crop_from_small = np.diag([crop_scale, crop_scale, 1.0])
        crop_from_small[:2, 2] = 0.5 * crop_scale - 0.5
        source_from_small = self.source_from_crop @ crop_from_small
        top, left, bottom, right = self._box(source_from_small, side, source.shape[:2])
        if bottom <= top or right <= left:
            return source.copy()
        pixels = np.stack(np.meshgrid(np.arange(left, right), np.arange(top, bottom)), -1)
        inverse = np.linalg.inv(source_from_small)
        small = torch.from_numpy(pixels @ inverse[:2, :2].T + inverse[:2, 2]).float()
        fade = _fade(small, side, feather * side)
        grid = (2 * small + 1) / side - 1
        rgba = functional.grid_sample(
            planes.permute(2, 0, 1)[None], grid[None], padding_mode="border", align_corners=False
        )[0].permute(1, 2, 0)
        rgba = rgba * fade[..., None]
        result = source.copy()
        behind = torch.from_numpy(result[top:bottom, left:right]).float() / 255
        mixed = rgba[..., :3] + (1 - rgba[..., 3:]) * behind
        result[top:bottom, left:right] = (255 * mixed).round().clamp(0, 255).to(torch.uint8).numpy()
        return result

    @staticmethod
    def _box(
        source_from_small: np.ndarray, side: int, size: tuple[int, ...]
    ) -> tuple[int, int, int, int]:
        """Rows and columns of the source that the crop touches: top, left, bottom, right (exclusive)."""
        edge = np.array([-0.5, side - 0.5])
        corners = np.stack(np.meshgrid(edge, edge), -1).reshape(-1, 2)
        corners = corners @ source_from_small[:2, :2].T + source_from_small[:2, 2]
        left, top = np.floor(corners.min(0)).astype(int).clip(0)
        right, bottom = np.ceil(corners.max(0)).astype(int) + 1
        return int(top), int(left), min(int(bottom), size[0]), min(int(right), size[1])


def _fade(small: Float[Tensor, "row column 2"], side: int, width_px: float) -> Tensor:
    """1 inside the crop, falling to 0 at its border over ``width_px`` (0 outside)."""
    depth = torch.minimum(small + 0.5, side - 0.5 - small).amin(-1)
    return (depth / max(width_px, 1e-6)).clamp(0, 1)


if __name__ == "__main__":
    run_step(Options, main)
