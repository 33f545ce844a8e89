"""Write docs/config.md from the schema and the models' options: ``python docs/make_config_page.py``."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import docstring_parser
import yaml

from avatar_models.registry import PRESETS, registered_models

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

Options of one model on top of its preset, for example `model_options: {monoavatar_d: {steps: 2000}}`. The columns show
the value in each preset.
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
        shown = "" if shown in ({}, None) else shown
        bounds = _bounds(entry.get("items", entry))
        kind = entry["type"]
        kind = kind if isinstance(kind, str) else " or ".join(kind)
        yield f"| `{key}` | {kind} | {shown} | {bounds} | {entry['description']} |"
        yield from _rows(entry, f"{key}/")
        if isinstance(entry.get("additionalProperties"), dict):
            yield from _rows(entry["additionalProperties"], f"{key}/<name>/")


def _meanings(options: type) -> dict[str, str]:
    """The docstring of every field, those of base classes included."""
    meanings: dict[str, str] = {}
    for cls in reversed(options.__mro__[:-1]):
        for param in docstring_parser.parse_from_object(cls).params:
            if param.description:
                meanings[param.arg_name] = " ".join(param.description.split())
    return meanings


def _model_section(names: list[str], options: type[Any]) -> str:
    meanings = _meanings(options)
    presets = [options.preset(preset) for preset in PRESETS]
    lines = [
        f"\n### {', '.join(names)}\n",
        f"| option | type | {' | '.join(PRESETS)} | meaning |",
        "|---|---|---|---|---|---|",
    ]
    for field in dataclasses.fields(options):
        kind = str(getattr(field.type, "__name__", field.type)).replace("|", "\\|")
        values = " | ".join(str(getattr(preset, field.name)) for preset in presets)
        lines.append(f"| `{field.name}` | {kind} | {values} | {meanings.get(field.name, '')} |")
    return "\n".join(lines) + "\n"


def config_reference() -> str:
    """The page as Markdown."""
    schema = yaml.safe_load(SCHEMA.read_text(encoding="utf-8"))
    # Variants of one method have the same options: one table for all of them.
    variants: dict[tuple[Any, ...], list[str]] = {}
    models = registered_models()
    for name, options in models.items():
        presets = tuple(dataclasses.astuple(options.preset(preset)) for preset in PRESETS)
        variants.setdefault((options.__module__, *presets), []).append(name)
    sections = [_model_section(names, models[names[0]]) for names in variants.values()]
    return HEAD + "\n".join(_rows(schema, "")) + "\n" + MODELS + "".join(sections)


if __name__ == "__main__":
    PAGE.write_text(config_reference(), encoding="utf-8")
