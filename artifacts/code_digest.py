"""Fingerprint of the code a step runs, so that Snakemake reruns it when (and only when) that code changes."""

from __future__ import annotations

import ast
import hashlib
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
LOCAL = (
    "artifacts",
    "assets",
    "head_geometry",
    "image_similarity",
    "media",
    "preprocessing",
    "avatar_models",
    "evaluation",
    "likeness",
)


def _source(module: str) -> Path | None:
    base = ROOT.joinpath(*module.split("."))
    for path in (base.with_suffix(".py"), base / "__init__.py"):
        if path.is_file():
            return path
    return None


def _imports(tree: ast.AST) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return {name for name in found if name.split(".")[0] in LOCAL}


def _packages(module: str) -> list[str]:
    """The packages above ``module``; importing it runs their ``__init__`` too."""
    parts = module.split(".")
    return [".".join(parts[:depth]) for depth in range(1, len(parts))]


def _is_text(node: ast.AST) -> bool:
    return (
        isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
    )


def _without_docstrings(tree: ast.AST) -> ast.AST:
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if isinstance(body, list):
            body[:] = [statement for statement in body if not _is_text(statement)]
    return tree


@cache
def _parsed(path: Path) -> tuple[frozenset[str], str]:
    """Local modules that a file imports, and its code as text; most files are part of many steps."""
    tree = ast.parse(path.read_text())
    return frozenset(_imports(tree)), ast.dump(_without_docstrings(tree))


@cache
def code_digest(*modules: str) -> str:
    """SHA-256 (12 hex digits) of ``modules`` and of every local module they import; comments, docstrings and layout do not count."""
    todo, seen, texts = list(modules), set(), {}
    for module in modules:
        if _source(module) is None:
            raise FileNotFoundError(f"no source file for module {module!r} under {ROOT}")
    while todo:
        name = todo.pop()
        path = _source(name)
        if name in seen or path is None:
            continue
        seen.add(name)
        imports, texts[path.relative_to(ROOT).as_posix()] = _parsed(path)
        todo.extend(imports)
        todo.extend(_packages(name))
    return hashlib.sha256(repr(sorted(texts.items())).encode()).hexdigest()[:12]
