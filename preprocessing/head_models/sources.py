"""The published head models by name, and where their files come from."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Literal

from artifacts.errors import InputError
from preprocessing.head_models.basel import read_basel
from preprocessing.head_models.flame import read_flame
from preprocessing.head_models.gnm import read_gnm
from preprocessing.head_models.ict import read_ict
from preprocessing.head_models.published import PublishedHead

log = logging.getLogger(__name__)

Source = Literal["anny", "gnm", "flame", "basel", "ict"]
READERS = {"gnm": read_gnm, "basel": read_basel, "ict": read_ict}


def read_published(source: Source, file: Path | None, texture: Path | None) -> PublishedHead:
    """A published model from the user's file.

    Args:
        source: Which model.
        file: Its file.
        texture: A separate file with its texture, which only flame has.

    Raises:
        InputError: no file is given, or it is not usable; one sentence.
    """
    if file is None:
        raise InputError(
            f"the head model {source} needs --file; docs/head_models.md says where to get it"
        )
    if source == "flame":
        head = read_flame(file, texture)
    else:
        if texture is not None:
            raise InputError(f"--texture goes with the head model flame, not with {source}")
        head = READERS[source](file)
    log.info(
        "%s: %d vertices, %d triangles, %d identity and %d expression components",
        *(source, len(head.template), len(head.triangle)),
        *(len(head.identity), len(head.expression)),
    )
    return head


def published_inputs(file: Path | None, texture: Path | None) -> dict[str, Path]:
    """The user's files that the artifact's provenance names."""
    named = {"file": file, "texture": texture}
    return {name: path for name, path in named.items() if path is not None and path.is_file()}
