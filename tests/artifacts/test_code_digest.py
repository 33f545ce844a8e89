"""The code digest changes with the code a step runs, and with nothing else."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from artifacts import code_digest as module

STEP = '''"""A step."""
from preprocessing import tool
from preprocessing.inner.deep import depth


def main() -> int:
    """Add."""
    # a comment
    return tool.one() + depth()
'''


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A small project: step -> tool -> base, step -> inner.deep; other stands apart."""
    files = {
        "__init__": "",
        "step": STEP,
        "tool": "import preprocessing.base as base\n\ndef one():\n    return base.ONE\n",
        "base": "ONE = 1\n",
        "other": "import preprocessing.step\n",
        "inner/__init__": "",
        "inner/deep": "def depth():\n    import preprocessing.lazy\n    return 3\n",
        "lazy": "LAZY = 1\n",
    }
    for name, text in files.items():
        path = tmp_path / "preprocessing" / f"{name}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    monkeypatch.setattr(module, "ROOT", tmp_path)
    forget()
    yield tmp_path / "preprocessing"
    forget()


def forget() -> None:
    module.code_digest.cache_clear()
    module._parsed.cache_clear()


def digest(*modules: str) -> str:
    forget()
    return module.code_digest(*(modules or ("preprocessing.step",)))


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("# a comment", "# another comment"),
        ('"""Add."""', '"""Add two numbers."""'),
        ('"""A step."""\n', ""),
        ("return tool.one() + depth()", "return (\n        tool.one()\n        + depth()\n    )"),
    ],
)
def test_comments_docstrings_and_layout_do_not_count(project: Path, old: str, new: str):
    before = digest()
    edit(project / "step.py", old, new)
    assert digest() == before


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("step", "tool.one() + depth()", "tool.one() - depth()"),
        ("tool", "base.ONE", "base.ONE + 0"),
        ("base", "ONE = 1", "ONE = 2"),
        ("inner/deep", "return 3", "return 4"),
        ("inner/__init__", "", "FLAG = 1\n"),
        ("lazy", "LAZY = 1", "LAZY = 2"),
    ],
)
def test_the_step_and_all_it_imports_count(project: Path, name: str, old: str, new: str):
    before = digest()
    edit(project / f"{name}.py", old, new)
    assert digest() != before


def test_code_that_is_not_imported_does_not_count(project: Path):
    before = digest()
    (project / "other.py").write_text("import preprocessing.step\nprint(1)\n")
    assert digest() == before


def test_a_docstring_only_function_is_still_code(project: Path):
    (project / "step.py").write_text('def main():\n    """Nothing."""\n')
    before = digest()
    (project / "step.py").write_text('def main():\n    """Nothing."""\n    return 1\n')
    assert digest() != before


def test_the_digest_does_not_depend_on_the_place(project: Path, tmp_path: Path, monkeypatch):
    before = digest()
    moved = tmp_path / "elsewhere"
    moved.mkdir()
    project.rename(moved / "preprocessing")
    monkeypatch.setattr(module, "ROOT", moved)
    assert digest() == before


def test_an_unknown_module_is_an_error(project: Path):
    with pytest.raises(FileNotFoundError, match=r"preprocessing\.none"):
        digest("preprocessing.none")


def test_order_of_modules_does_not_count(project: Path):
    assert digest("preprocessing.tool", "preprocessing.lazy") == digest(
        "preprocessing.lazy", "preprocessing.tool"
    )


def test_every_package_of_the_project_counts():
    text = (Path(__file__).resolve().parents[2] / "pyproject.toml").read_text(encoding="utf-8")
    packages = tomllib.loads(text)["tool"]["importlinter"]["root_packages"]
    assert set(module.LOCAL) == set(packages)
