"""Tell the person from the background: a soft opacity for every pixel of every frame.

The raw masks of the segmentation network lose other people's blobs, their flicker is damped without
lag, and their outline is drawn to the edges of the image.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue

import numpy as np
from jaxtyping import Bool, Float, Float32, UInt8
from tqdm import tqdm

from artifacts.errors import InputError
from artifacts.kinds import FRAMES, LANDMARKS, MATTE
from artifacts.provenance import make_provenance
from artifacts.step import run_step
from artifacts.store import ArtifactReader, open_artifact, open_writer, read_artifact
from preprocessing.cores import claim_cores
from preprocessing.matting.filter import damp_flicker, keep_person, refine_edges
from preprocessing.matting.segmenter import MASK_SIZE, Segmenter, shrink_image

BLOCK_FRAMES = 16


@dataclass(frozen=True)
class Options:
    """Find the person's soft matte in every frame."""

    frames: Path
    """Clip: an artifact of kind frames."""
    landmarks: Path
    """Its landmarks: whoever they follow is kept, blobs of other people are dropped."""
    segmenter: Path
    """Network file selfie_segmentation.tflite."""
    out: Path
    """File to write (kind matte)."""
    reach_frames: int = 3
    """Frames before and after each one that help to damp its flicker (0: none)."""


@dataclass(frozen=True)
class _RawMask:
    """A frame at the network's size, and its mask with one person left."""

    small: UInt8[np.ndarray, "row column 3"]
    mask: Float32[np.ndarray, "row column"]


def face_boxes(
    points: Float32[np.ndarray, "frame landmark 3"],
    valid: Bool[np.ndarray, " frame"],
    image_size: tuple[int, int],
) -> Float[np.ndarray, "frame 4"]:
    """Box (x0, y0, x1, y1) around each frame's face in pixels of the small mask; that of the nearest valid frame where there is none.

    Args:
        points: Landmarks in pixels of the frames.
        valid: False where there are none.
        image_size: Width, height of the frames in pixels.
    """
    known, index = np.nonzero(valid)[0], np.arange(len(valid))
    after = np.searchsorted(known, index).clip(max=len(known) - 1)
    before = (after - 1).clip(min=0)
    is_before = index - known[before] <= known[after] - index
    nearest = known[np.where(is_before, before, after)]
    boxes = np.concatenate([points[..., :2].min(axis=1), points[..., :2].max(axis=1)], axis=1)
    scale = MASK_SIZE / np.tile(np.array(image_size, np.float64), 2)
    return (boxes[nearest] + 0.5) * scale - 0.5


class MatteMaker:
    """Makes the mattes of a clip block by block on several threads."""

    def __init__(
        self, segmenter_path: Path, boxes: Float[np.ndarray, "frame 4"], reach: int, threads: int
    ) -> None:
        """Load one network per thread.

        Args:
            segmenter_path: ``selfie_segmentation.tflite``.
            boxes: Face of each frame in pixels of the small mask.
            reach: Frames on each side that damp a frame's flicker.
            threads: Frames worked on at a time (does not change the result).
        """
        self._boxes, self._reach, self._threads = boxes, reach, threads
        self._segmenters: SimpleQueue[Segmenter] = SimpleQueue()
        for _ in range(threads):
            self._segmenters.put(Segmenter(segmenter_path))

    def iterate(self, reader: ArtifactReader) -> Iterator[UInt8[np.ndarray, "block height width"]]:
        """Mattes of all frames, in blocks in the order of time."""
        count = len(self._boxes)
        images: dict[int, np.ndarray] = {}
        raw: dict[int, _RawMask] = {}
        with ThreadPoolExecutor(self._threads) as pool:
            for start in range(0, count, BLOCK_FRAMES):
                stop = min(start + BLOCK_FRAMES, count)
                ahead = min(stop + self._reach, count)
                first = max(images, default=-1) + 1
                if first < ahead:
                    images |= dict(enumerate(reader.read("image", slice(first, ahead)), first))
                new = range(first, ahead)
                masks = pool.map(self._segment, [images[index] for index in new], new)
                raw |= zip(new, masks, strict=True)
                frames = range(start, stop)
                windows = [self._window(raw, index) for index in frames]
                own = [images[index] for index in frames]
                yield np.stack(list(pool.map(self._finish, own, windows, frames)))
                images = {index: images[index] for index in range(stop, ahead)}
                raw = {index: raw[index] for index in range(max(0, stop - self._reach), ahead)}

    def _segment(self, image: UInt8[np.ndarray, "height width 3"], index: int) -> _RawMask:
        small = shrink_image(image)
        segmenter = self._segmenters.get()
        try:
            mask = segmenter.segment(small)
        finally:
            self._segmenters.put(segmenter)
        return _RawMask(small, keep_person(mask, self._boxes[index]))

    def _window(self, raw: dict[int, _RawMask], index: int) -> list[_RawMask]:
        """Raw masks of the frames around ``index`` that exist."""
        begin = max(0, index - self._reach)
        return [raw[i] for i in range(begin, min(index + self._reach + 1, len(self._boxes)))]

    def _finish(
        self, image: UInt8[np.ndarray, "height width 3"], window: list[_RawMask], index: int
    ) -> UInt8[np.ndarray, "height width"]:
        center = min(index, self._reach)
        masks, images = [raw.mask for raw in window], [raw.small for raw in window]
        return refine_edges(damp_flicker(masks, images, center), images[center], image)


def main(options: Options) -> None:
    """Read frames and landmarks, write the matte.

    Raises:
        InputError: the landmarks belong to another clip, or show no face.
    """
    landmarks = read_artifact(options.landmarks, LANDMARKS)
    with open_artifact(options.frames, FRAMES) as reader, claim_cores() as cores:
        count, height, width, _ = reader.shape("image")
        if (len(landmarks["valid"]), *landmarks["image_size"]) != (count, width, height):
            raise InputError(
                f"{options.landmarks}: these landmarks were found in other images than those of {options.frames}; run the landmarks step on these frames"
            )
        if not landmarks["valid"].any():
            raise InputError(
                f"{options.landmarks}: shows no face in any frame; choose a clip in which one person faces the camera"
            )
        boxes = face_boxes(landmarks["points"], landmarks["valid"], (width, height))
        maker = MatteMaker(options.segmenter, boxes, options.reach_frames, cores)
        inputs = {
            "frames": options.frames,
            "landmarks": options.landmarks,
            "segmenter": options.segmenter,
        }
        provenance = make_provenance("preprocessing.matte", options, inputs)
        with (
            open_writer(options.out, MATTE, provenance) as writer,
            tqdm(desc="matte", total=count, unit="frame", mininterval=1) as progress,
        ):
            for block in maker.iterate(reader):
                # Mattes are mostly constant: a tenth of their size is left.
                writer.append("alpha", block, compressed=True)
                progress.update(len(block))


if __name__ == "__main__":
    run_step(Options, main)
