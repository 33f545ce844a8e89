"""How frames are best stored: size, writing time and random reading time of each compression.

    python benchmarks/frame_storage.py frames.h5 [more.h5 …]

Source: own.
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path

import h5py
import numpy as np
from jaxtyping import UInt8

# h5py options of each candidate; a chunk is one frame.
CANDIDATES: dict[str, dict[str, object]] = {
    "none": {},
    "lzf": {"compression": "lzf"},
    "shuffle + lzf": {"compression": "lzf", "shuffle": True},
    "gzip 1": {"compression": "gzip", "compression_opts": 1},
    "gzip 4": {"compression": "gzip", "compression_opts": 4},
    "shuffle + gzip 1": {"compression": "gzip", "compression_opts": 1, "shuffle": True},
}
N_FRAMES = 200
N_READS = 300


def measure(
    images: UInt8[np.ndarray, "frame height width 3"], options: dict[str, object], path: Path
) -> tuple[float, float, float]:
    """Bytes per raw byte, and milliseconds per written and per randomly read frame."""
    start = time.perf_counter()
    with h5py.File(path, "w") as file:
        dataset = file.create_dataset(
            "image", shape=images.shape, dtype="uint8", chunks=(1, *images.shape[1:]), **options
        )
        for index, image in enumerate(images):
            dataset[index] = image
    write_ms = (time.perf_counter() - start) / len(images) * 1e3
    order = np.random.default_rng(0).integers(len(images), size=N_READS)
    with h5py.File(path, "r") as file:
        dataset = file["image"]
        start = time.perf_counter()
        for index in order:
            dataset[index]
        read_ms = (time.perf_counter() - start) / N_READS * 1e3
    return path.stat().st_size / images.nbytes, write_ms, read_ms


def main(paths: list[Path]) -> None:
    """Print a table for each ``frames`` artifact."""
    for path in paths:
        with h5py.File(path, "r") as file:
            images = file["image"][:N_FRAMES]
        print(f"\n{path}: {len(images)} frames of {images.shape[2]} x {images.shape[1]}\n")
        print("| compression | size | write ms | random read ms |\n|---|---|---|---|")
        for name, options in CANDIDATES.items():
            with tempfile.TemporaryDirectory() as folder:
                size, write_ms, read_ms = measure(images, options, Path(folder) / "frames.h5")
            print(f"| {name} | {size:.2f} | {write_ms:.1f} | {read_ms:.2f} |")


if __name__ == "__main__":
    main([Path(argument) for argument in sys.argv[1:]])
