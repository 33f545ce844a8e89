"""Videos of the report: truth, every model and its errors side by side in one film, so that they stay in step."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Int, UInt8
from tqdm import tqdm

from artifacts.errors import InputError
from artifacts.kinds import FRAMES, RENDER
from artifacts.store import ArtifactReader, open_artifact
from evaluation.report_files import SubjectFiles
from evaluation.report_pictures import (
    Picture,
    heat_map,
    heat_scale,
    label_strip,
    stack_rows,
    tile_row,
    tile_side,
)
from evaluation.truth import read_pictures
from media.video import VideoWriter

# Small files: heat maps and bicubic enlargements need no more.
CRF = 23


@dataclass(frozen=True)
class Film:
    """An encoded video and its size."""

    mp4: bytes
    width_px: int
    height_px: int
    n_frames: int
    n_left_out: int
    """Frames of the render that the film's length limit left out."""


@dataclass(frozen=True)
class ComparedFrame:
    """Truth and renders of one held-out frame, uint8 sRGB at the renders' size."""

    frame: int
    truth_full: Picture
    truth_person: Picture
    renders: dict[str, tuple[Picture, Picture]]
    """Model to (whole picture, person over white)."""

    def picture_row(self, side: int) -> Picture:
        """Truth and every render, as filmed and as rendered."""
        return tile_row([self.truth_full, *(image for image, _ in self.renders.values())], side)

    def error_maps(self) -> list[Picture]:
        """Heat map of every model, person over white."""
        return [heat_map(self.truth_person, person) for _, person in self.renders.values()]


class Comparison:
    """The held-out frames of a subject beside what every model made of them; read frame by frame."""

    def __init__(self, files: SubjectFiles) -> None:
        """Check that all models rendered the same frames at the same size.

        Raises:
            InputError: they did not.
        """
        self.files = files
        self.driver_frame: Int[np.ndarray, " frame"] = np.zeros(0, np.int64)
        self.size = (0, 0)
        for number, model in enumerate(files.models):
            with open_artifact(model.render_self, RENDER) as reader:
                frames = reader.read("driver_frame").astype(np.int64)
                height, width = reader.shape("image")[1:3]
            if number == 0:
                self.driver_frame, self.size = frames, (width, height)
            elif not np.array_equal(frames, self.driver_frame) or self.size != (width, height):
                raise InputError(
                    f"{model.render_self}: other frames or another size than "
                    f"{files.models[0].render_self}; render all models with one split and one image size"
                )

    @property
    def labels(self) -> list[str]:
        """Titles of the columns."""
        return ["truth", *(model.name for model in self.files.models)]

    @property
    def side(self) -> int:
        """Side of a tile in pixels."""
        return tile_side(max(self.size), len(self.labels))

    def read(self, rows: Int[np.ndarray, " row"]) -> Iterator[ComparedFrame]:
        """The given rows of the renders, one by one."""
        with ExitStack() as stack:
            readers = {
                model.name: stack.enter_context(open_artifact(model.render_self, RENDER))
                for model in self.files.models
            }
            for row in rows:
                frame = int(self.driver_frame[row])
                full, person = read_pictures(
                    self.files.frames, self.files.matte, np.array([frame]), self.size
                )
                renders = {
                    name: (_picture(reader, "image", row), _picture(reader, "person", row))
                    for name, reader in readers.items()
                }
                yield ComparedFrame(frame, _bytes(full[0]), _bytes(person[0]), renders)


def _picture(reader: ArtifactReader, name: str, row: int | np.integer) -> Picture:
    return reader.read(name, np.s_[int(row)])


def _bytes(image: object) -> UInt8[np.ndarray, "height width 3"]:
    return (np.asarray(image) * 255).round().astype(np.uint8)


def comparison_film(comparison: Comparison, max_frames: int) -> Film:
    """Truth and every model in the upper row, their errors below, with the clip's sound."""
    side = comparison.side
    top = label_strip(comparison.labels, side)
    below = label_strip(["error, person over white", *("" for _ in comparison.files.models)], side)
    scale = heat_scale(side)
    rows = np.arange(min(max_frames, len(comparison.driver_frame)))

    def pictures() -> Iterator[Picture]:
        for compared in tqdm(comparison.read(rows), "comparison", total=len(rows), unit="frame"):
            errors = tile_row([scale, *compared.error_maps()], side)
            yield stack_rows([top, compared.picture_row(side), below, errors])

    with open_artifact(comparison.files.frames, FRAMES) as reader:
        rate_hz = float(reader.read("frame_rate_hz"))
        sound = sound_of(reader, int(comparison.driver_frame[0]), len(rows), rate_hz)
    return encode_film(pictures(), rate_hz, sound, len(comparison.driver_frame) - len(rows))


def sound_of(
    reader: ArtifactReader, first_frame: int, n_frames: int, rate_hz: float
) -> tuple[np.ndarray, int] | None:
    """The clip's sound under ``n_frames`` frames from ``first_frame`` on, with its rate; None without sound."""
    if not bool(reader.read("has_audio")):
        return None
    audio_rate_hz = int(reader.read("audio_rate_hz"))
    start = round(first_frame / rate_hz * audio_rate_hz)
    stop = start + round(n_frames / rate_hz * audio_rate_hz)
    return reader.read("audio", np.s_[start:stop]), audio_rate_hz


def film_of_renders(
    renders: dict[str, Path],
    layer: str,
    max_frames: int,
    rate_hz: float,
    driver: Path | None = None,
    heard: Path | None = None,
) -> Film:
    """One render mode of several models side by side, behind the driving clip where one is given.

    Args:
        renders: Model to ``render`` artifact; the shortest sets the length.
        layer: Dataset to show: ``image``, ``person`` or ``head``.
        max_frames: Longest film.
        rate_hz: Frames per second.
        driver: ``frames`` artifact of the driving clip, to be seen.
        heard: ``frames`` artifact whose sound drives from its beginning.
    """
    with ExitStack() as stack:
        readers = [stack.enter_context(open_artifact(path, RENDER)) for path in renders.values()]
        whole = min(reader.shape(layer)[0] for reader in readers)
        n_frames = min(max_frames, whole)
        labels = list(renders)
        filmed = None
        if driver is not None:
            filmed = stack.enter_context(open_artifact(driver, FRAMES))
            labels = ["driver", *labels]
        side = tile_side(readers[0].shape(layer)[1], len(labels))
        top = label_strip(labels, side)
        driver_frame = readers[0].read("driver_frame")

        def pictures() -> Iterator[Picture]:
            for row in range(n_frames):
                tiles = [_picture(reader, layer, row) for reader in readers]
                if filmed is not None:
                    tiles = [_picture(filmed, "image", driver_frame[row]), *tiles]
                yield stack_rows([top, tile_row(tiles, side)])

        sound = None
        if heard is not None:
            with open_artifact(heard, FRAMES) as reader:
                sound = sound_of(reader, 0, n_frames, rate_hz)
        return encode_film(pictures(), rate_hz, sound, whole - n_frames)


def encode_film(
    pictures: Iterator[Picture],
    rate_hz: float,
    sound: tuple[np.ndarray, int] | None,
    n_left_out: int,
) -> Film:
    """H.264 in an MP4, in memory; an odd side loses its last row or column."""
    first = next(pictures)
    height, width = (side // 2 * 2 for side in first.shape[:2])
    n_frames = 0
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "film.mp4"
        with VideoWriter(path, rate_hz, (width, height), sound, CRF) as writer:
            for picture in _chain(first, pictures):
                writer.write(np.ascontiguousarray(picture[:height, :width]))
                n_frames += 1
        return Film(path.read_bytes(), width, height, n_frames, n_left_out)


def _chain(first: Picture, others: Iterator[Picture]) -> Iterator[Picture]:
    yield first
    yield from others
