"""Provenance: where a file came from, in a form that is equal for equal runs."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from artifacts.code_digest import code_digest
from artifacts.provenance import decode_provenance, encode_provenance, file_digest, make_provenance


@dataclass(frozen=True)
class Options:
    """Options of a toy step."""

    out: Path
    sizes: tuple[int, ...] = (1, 2)
    rate_hz: float = 25.0


def test_the_digest_is_that_of_the_bytes(tmp_path: Path):
    data = bytes(range(256)) * 40_000  # more than one piece
    (tmp_path / "a").write_bytes(data)
    assert file_digest(tmp_path / "a") == hashlib.sha256(data).hexdigest()[:16]


def test_folders_do_not_matter(tmp_path: Path):
    made = []
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "in").write_text("input")
        made.append(
            make_provenance(
                "artifacts.store",
                Options(tmp_path / folder / "out.h5"),
                {"in": tmp_path / folder / "in"},
                seed=3,
            )
        )
    assert encode_provenance(made[0]) == encode_provenance(made[1])
    assert made[0]["options"] == {"out": "out.h5", "sizes": [1, 2], "rate_hz": 25.0}
    assert made[0]["code"] == code_digest("artifacts.store")
    assert made[0]["seed"] == 3
    assert "numpy" in made[0]["versions"]
    assert str(tmp_path) not in encode_provenance(made[0])


def test_decoding_is_the_inverse(tmp_path: Path):
    made = make_provenance("artifacts.store", Options(tmp_path), {})
    assert decode_provenance(encode_provenance(made)) == made
