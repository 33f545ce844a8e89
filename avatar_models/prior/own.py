"""The project's own trained priors, as files (no torch here)."""

from __future__ import annotations

from pathlib import Path

from artifacts.errors import InputError

_FOLDER = Path(__file__).parent / "weights"


def prior_file(name: str) -> Path:
    """Weights of a prior: one of the project's own by name, or the path of a file.

    Raises:
        InputError: there is no such file.
    """
    own = {path.stem: path for path in sorted(_FOLDER.glob("*.safetensors"))}
    path = own.get(name) or Path(name).expanduser()
    if not path.is_file():
        raise InputError(
            f"prior {name!r} is neither one of the project's own ({', '.join(own) or 'none'}) nor a file; "
            "give the path of a .safetensors or a published .pkl"
        )
    return path
