"""One point of the grid: so many frames of so many pixels, as a clip and as a configuration of the workflow."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from artifacts.text_files import write_whole
from assets.fetch import fetch_asset
from media.ffmpeg import file_url, raise_write_error, run_ffmpeg

CLIP = "carphone_pristine.mp4"
RATE_HZ = 25
# Its picture and the head crop that the step frames takes of it, pixels.
CLIP_SIZE = (176, 144)
CROP_PX = 112


@dataclass(frozen=True)
class Point:
    """A clip of ``frames`` frames, whose head crop has ``side`` pixels."""

    frames: int
    side: int

    @property
    def subject(self) -> str:
        """Its name in the workflow."""
        return f"clip_{self.frames}_{self.side}"

    @property
    def size(self) -> tuple[int, int]:
        """Width, height of the clip: enlarged where the crop would be too small (even; pixel)."""
        scale = max(1.0, self.side / CROP_PX)
        width, height = (2 * round(scale * length / 2) for length in CLIP_SIZE)
        return width, height


def make_clip(point: Point, path: Path) -> None:
    """Write the demo clip, played to and fro as often as it takes, with pink noise for its sound.

    Its own pictures, one a frame at 25 frames/s, enlarged to ``point.size``; it has no sound of its own.

    Raises:
        InputError: ffmpeg refuses.
        OSError: the disk is full or the folder is not writable.
    """
    if path.exists():
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    width, height = point.size
    to_and_fro = (
        "[0:v]split[there][again];[again]reverse[back];[there][back]concat,loop=-1:32767,"
        f"setpts=N/{RATE_HZ}/TB,scale={width}:{height}:flags=lanczos[film]"
    )
    partial = path.with_name(path.name + ".partial.mp4")
    arguments = ["-i", file_url(fetch_asset(CLIP))]
    arguments += ["-f", "lavfi", "-i", "anoisesrc=color=pink:sample_rate=16000:seed=1"]
    arguments += ["-filter_complex", to_and_fro, "-map", "[film]", "-map", "1:a"]
    arguments += ["-frames:v", str(point.frames), "-t", str(point.frames / RATE_HZ)]
    arguments += ["-r", str(RATE_HZ), "-c:v", "libx264", "-preset", "veryfast", "-crf", "17"]
    arguments += ["-pix_fmt", "yuv420p", "-c:a", "aac", "-y", file_url(partial)]
    status, _, log = run_ffmpeg(arguments)
    if status != 0:
        raise_write_error(path, log)
    os.replace(partial, path)


def write_config(
    folder: Path, point: Point, models: Sequence[str], minutes: float, device: str
) -> None:
    """Make ``folder`` the project of one point: its clip and its config.yaml. Results of other points may lie beside it."""
    make_clip(point, folder / "clips" / f"{point.subject}.mp4")
    config = {
        "subjects": {point.subject: {"video": f"clips/{point.subject}.mp4"}},
        "models": list(models),
        "image_size": point.side,
        "frames": {"max_side_px": point.side},
        "device": device,
        "modes": ["self"],
        "model_options": {model: {"max_minutes": minutes} for model in models},
    }
    save_config(folder, config)


def write_toy(folder: Path, n_subjects: int) -> None:
    """Make ``folder`` a study of toy subjects: 30 frames of 64 pixels and the baseline, from the clip to the report."""
    clip = {"video": CLIP, "duration_s": 1.2}
    config = {
        "subjects": {f"toy{number:04d}": clip for number in range(n_subjects)},
        "models": ["nearest_frame"],
        "image_size": 64,
        "device": "cpu",
        "modes": ["self"],
        "model_options": {"nearest_frame": {"steps": 5}},
    }
    save_config(folder, config)


def save_config(folder: Path, config: dict[str, Any]) -> None:
    """Write the config.yaml of a project."""
    write_whole(folder / "config.yaml", yaml.safe_dump(config))
