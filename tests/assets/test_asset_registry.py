import importlib.util
from pathlib import Path

import pytest
import yaml

from artifacts.errors import InputError
from assets.fetch import fetch_asset
from assets.registry import ByHand, Download, PackageFile, WheelFile, load_registry

ROOT = Path(__file__).resolve().parents[2]
GOOD = {
    "needed_by": ["preprocessing.frames"],
    "licence": "MIT",
    "forbids": [],
    "origin": "nobody",
    "source": {"url": "https://example.org/a"},
    "sha256": "0" * 64,
    "size_bytes": 1,
}


def _load(tmp_path, name="a.bin", groups=None, **changes):
    path = tmp_path / "registry.yaml"
    path.write_text(yaml.safe_dump({"assets": {name: {**GOOD, **changes}}, "groups": groups or {}}))
    return load_registry(path)


def test_the_files_that_the_pipeline_needs_are_there():
    assert set(load_registry().assets) >= {
        "face_detection_short_range.tflite",
        "face_landmark_with_attention.tflite",
        "selfie_segmentation.tflite",
        "carphone_pristine.mp4",
        "astronaut.png",
    }
    assert len(load_registry().members("lpips_alex")) == 2


def test_every_step_named_exists_and_every_wheel_is_used():
    registry = load_registry()
    for asset in registry.assets.values():
        for step in asset.needed_by:
            module = step.split(" ")[0]
            assert module == "tests" or importlib.util.find_spec(module), (asset.name, step)
    assert all(registry.in_wheel(name) for name in registry.wheels)


@pytest.mark.parametrize(
    ("source", "kind"),
    [
        ({"url": "https://example.org/a"}, Download),
        ({"package": "skimage", "path": "data/a.png"}, PackageFile),
        ({"page": "https://example.org", "steps": "accept the licence"}, ByHand),
    ],
)
def test_kinds_of_sources(tmp_path, source, kind):
    assert isinstance(_load(tmp_path, source=source).asset("a.bin").source, kind)


def test_only_what_is_fetched_by_hand_may_come_in_several_versions(tmp_path, monkeypatch):
    by_hand = {"page": "https://example.org", "steps": "accept the licence"}
    registry = _load(tmp_path, source=by_hand, sha256="", size_bytes=0)
    monkeypatch.setenv("LIKENESS_CACHE", str(tmp_path / "cache"))
    with pytest.raises(InputError, match="accept the licence"):
        fetch_asset("a.bin", registry)
    (tmp_path / "cache/a.bin").write_bytes(b"any")
    assert fetch_asset("a.bin", registry) == tmp_path / "cache/a.bin"
    with pytest.raises(InputError, match="needs a SHA-256"):
        _load(tmp_path / "cache", sha256="")


@pytest.mark.parametrize("name", ["../a", "a/b", "/etc/passwd", "", ".hidden", "a\\b"])
def test_a_name_cannot_leave_the_cache(tmp_path, name):
    with pytest.raises(InputError, match="no plain file name"):
        _load(tmp_path, name)


@pytest.mark.parametrize(
    "changes",
    [
        {"sha256": "abc"},
        {"size_bytes": 0},
        {"source": {"url": "http://example.org/a"}},
        {"source": {"somewhere": "else"}},
        {"source": {"wheel": "missing.whl", "member": "a"}},
        {"source": {"package": "skimage", "path": "../../secret"}},
        {"groups": {"pair": ["a.bin", "b.bin"]}},
        {"forbids": None},
        {"forbids": "commercial use"},
        {"forbids": [""]},
        {"remark": 3},
    ],
)
def test_what_is_not_pinned_or_not_safe_is_refused(tmp_path, changes):
    with pytest.raises(InputError, match=r"registry\.yaml"):
        _load(tmp_path, **changes)


def test_unknown_names_are_refused_with_the_known_ones():
    with pytest.raises(InputError, match=r"astronaut\.png"):
        load_registry().asset("nothing.bin")


def test_package_data_travels():
    text = (ROOT / "pyproject.toml").read_text()
    assert 'assets = ["registry.yaml"]' in text
    assert any(isinstance(a.source, WheelFile) for a in load_registry().assets.values())
