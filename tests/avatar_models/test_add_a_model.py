"""docs/add_a_model.md, followed to the letter."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from artifacts.kinds import AVATAR, FRAMES, MATTE, RENDER
from artifacts.store import open_artifact, read_artifact

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "add_a_model.md"


@pytest.fixture(scope="module")
def checkout(tmp_path_factory, toy) -> Path:
    """A copy of the project with the page's files written and a subject's artifacts in place."""
    copy = tmp_path_factory.mktemp("checkout")
    ignored = shutil.ignore_patterns("__pycache__", "frozen_*")
    for name in (
        "artifacts",
        "assets",
        "avatar_models",
        "head_geometry",
        "image_similarity",
        "media",
    ):
        shutil.copytree(ROOT / name, copy / name, ignore=ignored)
    shutil.copytree(ROOT / "tests" / "avatar_models", copy / "tests" / "avatar_models")
    for name in ("conftest.py", "toy.py"):
        shutil.copy(ROOT / "tests" / name, copy / "tests" / name)
    shutil.copy(ROOT / "pyproject.toml", copy)
    for kind in ("frames", "matte", "face_fit"):
        (copy / "results/alice").mkdir(parents=True, exist_ok=True)
        shutil.copy(getattr(toy, kind), copy / f"results/alice/{kind}.h5")
    (copy / "results/head_models").mkdir()
    shutil.copy(toy.head_model, copy / "results/head_models/anny.h5")
    for path, code in _python_blocks():
        (copy / path).parent.mkdir(exist_ok=True)
        (copy / path).write_text(code)
    return copy


def _blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL)


def _python_blocks() -> list[tuple[str, str]]:
    named = [re.match(r"# (\S+\.py)\n", block) for block in _blocks("python")]
    assert all(named), "every python block of the page starts with its path"
    return [
        (name.group(1), block) for name, block in zip(named, _blocks("python"), strict=True) if name
    ]


def _run(checkout: Path, script: str) -> str:
    environment = {
        **os.environ,
        # The page says "python": the interpreter that runs this test.
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(checkout),
        "OMP_NUM_THREADS": "1",
    }
    ended = subprocess.run(
        ["bash", "-e", "-c", script],
        cwd=checkout,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return ended.stdout


def test_page_has_the_files_it_speaks_of():
    assert [path for path, _ in _python_blocks()] == [
        f"avatar_models/linear/{name}.py" for name in ("__init__", "config", "model")
    ]
    assert len(_blocks("bash")) == 2


def test_the_page_trains_and_renders(checkout):
    _run(checkout, _blocks("bash")[0])
    folder = checkout / "results/alice/linear"
    with open_artifact(folder / "avatar.h5", AVATAR) as reader:
        assert str(reader.read("model_name")) == "linear"
        loss = reader.read("loss")[:, 0]
    assert loss[-20:].mean() < 0.3 * loss[:5].mean()
    render = read_artifact(folder / "render_self.h5", RENDER)
    assert render["driver_frame"].tolist() == [16, 17, 18, 19]
    truth = read_artifact(checkout / "results/alice/frames.h5", FRAMES)["image"][16:]
    error = (render["image"].astype(float) - truth) / 255
    assert -10 * np.log10((error**2).mean()) > 18
    matte = read_artifact(checkout / "results/alice/matte.h5", MATTE)["alpha"][16:]
    assert np.abs(render["person_alpha"].astype(float) - matte).mean() < 0.08 * 255
    assert (folder / "render_self.mp4").stat().st_size > 0


def test_the_page_s_model_keeps_the_contract(checkout):
    output = _run(checkout, _blocks("bash")[1])
    assert re.search(r"\b[1-9]\d* passed", output), output


def test_the_page_s_code_is_clean(checkout):
    for command in ("ruff check", "ruff format --check --config line-length=100"):
        _run(checkout, f"{Path(sys.executable).parent}/{command} avatar_models/linear")
