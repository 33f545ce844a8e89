"""Write docs/config.md from the schema and the models' options: ``python docs/make_config_page.py``."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import docstring_parser
import yaml

from avatar_models.registry import registered_models

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs/config.md"
SCHEMA = ROOT / "workflow/schemas/config.schema.yaml"

HEAD = """# config.yaml

<!-- Made by `python docs/make_config_page.py`; edit workflow/schemas/config.schema.yaml or a model's options instead. -->

What a user chooses. An unknown key, a wrong type or an impossible value is refused before any job, with one sentence that names
the key. A single value can also be given on the command line: `snakemake --cores all --config seed=1`.

| key | type | default | range | meaning; unit |
|---|---|---|---|---|
"""

MODELS = """
## model_options

Options of one model on top of its preset, for example `model_options: {monoavatar_d: {steps: 2000}}`. The defaults shown are those
of the options class; presets may set others.
"""


def _bounds(schema: dict[str, Any]) -> str:
    if "enum" in schema:
        return ", ".join(map(str, schema["enum"]))
    low = schema.get("minimum", schema.get("exclusiveMinimum"))
    high = schema.get("maximum", schema.get("exclusiveMaximum"))
    words = []
    if low is not None:
        words.append(f"{'from' if 'minimum' in schema else 'above'} {low}")
    if high is not None:
        words.append(f"{'to' if 'maximum' in schema else 'below'} {high}")
    return " ".join(words)


def _rows(schema: dict[str, Any], path: str) -> Iterator[str]:
    for name, entry in schema.get("properties", {}).items():
        key = f"{path}{name}"
        default = "required" if name in schema.get("required", []) else entry.get("default", "")
        shown = str(default).lower() if isinstance(default, bool) else default
        shown = "" if shown == {} else shown
        bounds = _bounds(entry.get("items", entry))
        yield f"| `{key}` | {entry['type']} | {shown} | {bounds} | {entry['description']} |"
        yield from _rows(entry, f"{key}/")
        if isinstance(entry.get("additionalProperties"), dict):
            yield from _rows(entry["additionalProperties"], f"{key}/<name>/")


def _default(field: dataclasses.Field[Any]) -> str:
    if field.default is not dataclasses.MISSING:
        return str(field.default)
    if field.default_factory is not dataclasses.MISSING:
        return str(field.default_factory())
    return "required"


def _model_section(names: list[str], options: type) -> str:
    docs = {
        param.arg_name: param.description
        for param in docstring_parser.parse_from_object(options).params
    }
    lines = [
        f"\n### {', '.join(names)}\n",
        "| option | type | default | meaning |",
        "|---|---|---|---|",
    ]
    for field in dataclasses.fields(options):
        meaning = " ".join((docs.get(field.name) or "").split())
        kind = str(getattr(field.type, "__name__", field.type)).replace("|", "\\|")
        lines.append(f"| `{field.name}` | {kind} | {_default(field)} | {meaning} |")
    return "\n".join(lines) + "\n"


def config_reference() -> str:
    """The page as Markdown."""
    schema = yaml.safe_load(SCHEMA.read_text(encoding="utf-8"))
    classes: dict[type, list[str]] = {}
    for name, options in registered_models().items():
        classes.setdefault(options, []).append(name)
    sections = [_model_section(names, options) for options, names in classes.items()]
    return HEAD + "\n".join(_rows(schema, "")) + "\n" + MODELS + "".join(sections)


if __name__ == "__main__":
    PAGE.write_text(config_reference(), encoding="utf-8")
