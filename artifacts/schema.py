"""What an artifact file holds: names, dtypes, dimensions and units, checked on write and on read."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class ArraySpec:
    """One dataset of an artifact.

    Attributes:
        dtype: NumPy dtype name, e.g. ``"float32"``; ``"str"`` for UTF-8 text of fixed storage length.
        dims: Dimension names (equal names have equal lengths in one file) or fixed sizes; ``()`` for one value.
        unit: Physical unit or value convention; ``"1"`` for a pure number.
        doc: One sentence for a reader who sees only the file.
        since_minor: Minor version that brought the dataset; in files of an older one it reads as zeros.
    """

    dtype: str
    dims: tuple[str | int, ...]
    unit: str
    doc: str
    since_minor: int = 0


@dataclass(frozen=True)
class ArtifactSpec:
    """A kind of file.

    Attributes:
        kind: Name of the kind, the same word as the step that writes it.
        version: (major, minor); a reader refuses another major and a newer minor.
        arrays: Dataset name to its ArraySpec; every one that the file's version has must be there and no
            other may be.
        tensor_group: Where set, the file also has an HDF5 group of this name with freely named
            arrays (the state tensors of a network), whose shapes the kind does not fix.
    """

    kind: str
    version: tuple[int, int]
    arrays: dict[str, ArraySpec]
    tensor_group: str | None = None
