"""Step ``export``: a fitted clip in the layout of another tool."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from artifacts.errors import InputError
from artifacts.provenance import make_provenance
from artifacts.step import run_step
from preprocessing.cores import claim_cores
from preprocessing.exporting.arkit import write_arkit
from preprocessing.exporting.clip import FittedClip, open_clip
from preprocessing.exporting.eg3d import write_eg3d
from preprocessing.exporting.folder import PictureWriter, new_folder, write_json
from preprocessing.exporting.gltf import write_gltf
from preprocessing.exporting.imavatar import write_imavatar
from preprocessing.exporting.insta import write_insta
from preprocessing.exporting.nerface import write_nerface
from preprocessing.exporting.obj import write_obj
from preprocessing.exporting.vhap import write_vhap

log = logging.getLogger(__name__)

FORMATS: dict[str, Callable[[FittedClip, Path, PictureWriter], None]] = {
    "arkit": write_arkit,
    "eg3d": write_eg3d,
    "gltf": write_gltf,
    "imavatar": write_imavatar,
    "insta": write_insta,
    "nerface": write_nerface,
    "obj": write_obj,
    "vhap": write_vhap,
}
# Formats whose coefficients mean FLAME to the tool that reads them.
FLAME_FORMATS = ("imavatar", "insta", "vhap")


@dataclass(frozen=True)
class Options:
    """Write a fitted clip as another tool reads it (docs/other_tools.md)."""

    format: str
    """arkit, eg3d, gltf, imavatar, insta, nerface, obj or vhap."""
    frames: Path
    """``frames`` artifact."""
    matte: Path
    """``matte`` artifact of the same clip."""
    head_model: Path
    """``head_model`` artifact that the fit was made with."""
    face_fit: Path
    """``face_fit`` artifact of the same clip."""
    out: Path
    """Folder to write: a new or an empty one."""
    split: str = "tail-20"
    """Which frames train and which test."""


def main(options: Options) -> None:
    """Check, write the folder, and a note of where it came from.

    Raises:
        InputError: unknown format, a folder that is not empty, or artifacts that do not belong together.
    """
    write = FORMATS.get(options.format)
    if write is None:
        raise InputError(f"unknown format {options.format!r}; choose one of {', '.join(FORMATS)}")
    inputs = {
        name: getattr(options, name) for name in ("frames", "matte", "head_model", "face_fit")
    }
    with (
        new_folder(options.out) as folder,
        open_clip(split=options.split, **inputs) as clip,
        claim_cores() as cores,
    ):
        warn_of_model(clip, options.format)
        with PictureWriter(cores) as pictures:
            write(clip, folder, pictures)
        write_json(
            folder / "provenance.json", make_provenance("preprocessing.export", options, inputs)
        )
        log.info(
            "%s: %d training and %d test frames of %d (head model %s)",
            options.format,
            len(clip.train),
            len(clip.test),
            len(clip.time_s),
            clip.head_name,
        )


def warn_of_model(clip: FittedClip, name: str) -> None:
    """Say so where a tool would take another model's coefficients for FLAME's."""
    if name in FLAME_FORMATS and not clip.is_flame:
        log.warning(
            "%s reads FLAME; shape, expression and mesh written here belong to head model %s (key head_model): "
            "cameras and pictures are exact, the coefficients only serve tools that take them as plain numbers",
            name,
            clip.head_name,
        )


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    run_step(Options, main)
