"""What the pages have in common: templates, style, and pictures and films as addresses that a page can hold."""

from __future__ import annotations

import base64
from collections.abc import Iterable
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape
from markupsafe import Markup

from evaluation.report_files import Origin
from evaluation.report_pictures import Picture, encode
from evaluation.report_videos import Film

TEMPLATES = Path(__file__).with_name("templates")


def data_uri(data: bytes, media_type: str) -> str:
    """``data`` as an address that a page can hold."""
    return f"data:{media_type};base64,{base64.b64encode(data).decode('ascii')}"


def picture_uri(picture: Picture) -> str:
    """A picture as a JPEG that a page can hold."""
    return data_uri(encode(picture), "image/jpeg")


def film_uri(film: Film) -> str:
    """A film as an MP4 that a page can hold."""
    return data_uri(film.mp4, "video/mp4")


def page_environment() -> Environment:
    """The templates of this package; every value is escaped unless it is marked as HTML."""
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=select_autoescape(default=True, default_for_string=True),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"picture_uri": picture_uri, "film_uri": film_uri}
    for name in ("style", "script"):
        suffix = {"style": "css", "script": "js"}[name]
        text = (TEMPLATES / f"report.{suffix}").read_text(encoding="utf-8")
        environment.globals[name] = Markup(text)  # noqa: S704  # our own files
    return environment


def library_versions(origins: Iterable[Origin]) -> dict[str, str]:
    """Versions of the libraries that made the files; several where the files differ."""
    versions: dict[str, set[str]] = {}
    for origin in origins:
        for name, version in origin.versions.items():
            versions.setdefault(name, set()).add(version)
    return {name: ", ".join(sorted(found)) for name, found in sorted(versions.items())}
