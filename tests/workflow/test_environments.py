"""With --use-conda each step finds what it imports: everything is in the environment that its rule names."""

from __future__ import annotations

import ast
import re
import sys
from importlib.metadata import packages_distributions

import pytest
import yaml
from workflow_project import ROOT

from artifacts import code_digest

DISTRIBUTIONS = packages_distributions()


def steps() -> list[tuple[str, str, str]]:
    """Rule, environment and module of every rule that runs a step."""
    found = []
    for path in sorted((ROOT / "rules").glob("*.smk")):
        for block in re.split(r"^(?:use rule|rule) ", path.read_text(encoding="utf-8"), flags=re.M):
            environment = re.search(r"\.\./envs/(\w+)\.yaml", block)
            module = re.search(r"python -m ([\w.]+)", block)
            if environment and module:
                found.append((block.split(":")[0], environment[1], module[1]))
    return found


def imported(module: str) -> dict[str, str]:
    """Third-party packages that a module and all local ones behind it import, also within functions, and one place of each."""
    todo, seen, found = [module], set(), {}
    while todo:
        name = todo.pop()
        path = code_digest._source(name)
        if name in seen or path is None:
            continue
        seen.add(name)
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and node.module:
                names = [node.module]
            for top in (package.split(".")[0] for package in names):
                if top not in code_digest.LOCAL and top not in sys.stdlib_module_names:
                    found[top] = path.relative_to(ROOT).as_posix()
        imports, _ = code_digest._parsed(path)
        todo += [*imports, *code_digest._packages(name)]
    return found


def plain(name: str) -> str:
    """A package's name as indexes compare it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def test_every_kind_of_step_is_looked_at():
    rules = {rule for rule, _, _ in steps()}
    assert {"asset", "frames", "train_avatar", "scores", "declared_table", "export"} <= rules
    assert {"h5py", "torch", "scipy"} <= imported("preprocessing.face_fit").keys()
    assert "face_alignment" in imported("preprocessing.landmarks")  # within a function


@pytest.mark.parametrize(("rule", "environment", "module"), steps(), ids=lambda word: word)
def test_a_step_imports_only_what_its_environment_has(rule: str, environment: str, module: str):
    text = (ROOT / f"envs/{environment}.yaml").read_text(encoding="utf-8")
    packages = yaml.safe_load(text)["dependencies"][-1]["pip"]
    there = {plain(package.split("==")[0]) for package in packages}
    for package, place in imported(module).items():
        names = {plain(name) for name in DISTRIBUTIONS.get(package, [package])}
        assert names & there, f"{rule}: {place} imports {package}, envs/{environment}.yaml lacks it"
