import hashlib
import http.server
import threading
import time
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from artifacts.errors import InputError
from assets.cache import store
from assets.fetch import Options, cached_asset, fetch_all, fetch_asset, main
from assets.registry import (
    Asset,
    ByHand,
    Download,
    PackageFile,
    Registry,
    Wheel,
    WheelFile,
    load_registry,
)
from assets.sources import extract

CONTENT = b"seven bytes times many. " * 5000
WHEEL = "toy_pack-1.0-py3-none-any.whl"
# pip is started once per test that wants it; these names are all it may look at.
OFFLINE = {"PIP_NO_INDEX": "1", "PIP_CONFIG_FILE": "/dev/null"}


def _digest(data):
    return hashlib.sha256(data).hexdigest()


def _asset(source, content=CONTENT, name="toy.bin", **changes):
    fields = {"forbids": (), "sha256": _digest(content), "size_bytes": len(content), **changes}
    return Asset(name, ("tests",), "MIT", "own", source, **fields)


def _registry(*assets, wheels=()):
    return Registry({a.name: a for a in assets}, {}, {w.file_name: w for w in wheels})


def _make_wheel(folder: Path, members: dict[str, bytes]) -> Wheel:
    path = folder / WHEEL
    info = "toy_pack-1.0.dist-info"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
        archive.writestr(
            f"{info}/METADATA", "Metadata-Version: 2.1\nName: toy-pack\nVersion: 1.0\n"
        )
        archive.writestr(
            f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        archive.writestr(f"{info}/RECORD", "")
    data = path.read_bytes()
    return Wheel(WHEEL, "toy-pack==1.0", "manylinux_2_28_x86_64", _digest(data), len(data))


@pytest.fixture
def cache(tmp_path, monkeypatch):
    folder = tmp_path / "cache"
    folder.mkdir()
    monkeypatch.setenv("LIKENESS_CACHE", str(folder))
    return folder


@pytest.fixture
def index(tmp_path, monkeypatch):
    folder = tmp_path / "index"
    folder.mkdir()
    for name, value in OFFLINE.items():
        monkeypatch.setenv(name, value)
    for name in ("PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    return folder


class _Server:
    """Answers every request with ``content``, late, announcing ``announced`` bytes."""

    def __init__(self, content=CONTENT, announced=None, status=200):
        self.requests = 0
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                outer.requests += 1
                time.sleep(0.2)
                self.send_response(status)
                self.send_header("Content-Length", str(announced or len(content)))
                self.end_headers()
                try:
                    self.wfile.write(content)
                except ConnectionError:
                    return  # the reader has seen enough

            def log_message(self, *_):
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}/toy"

    def __enter__(self):
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_):
        self._server.shutdown()
        self._server.server_close()


def _nothing_but_locks(cache):
    return [path.name for path in cache.iterdir() if path.name != "locks"] == []


def test_from_a_wheel_through_pip_once_for_all_its_files(cache, index):
    assets = [
        _asset(WheelFile(WHEEL, "pack/a.bin"), b"a" * 100, "a.bin"),
        _asset(WheelFile(WHEEL, "pack/b.bin"), b"b" * 100, "b.bin"),
    ]
    wheel = _make_wheel(index, {"pack/a.bin": b"a" * 100, "pack/b.bin": b"b" * 100})
    registry = _registry(*assets, wheels=[wheel])
    assert fetch_asset("a.bin", registry).read_bytes() == b"a" * 100
    (index / WHEEL).unlink()  # the second file is already here
    assert fetch_asset("b.bin", registry).read_bytes() == b"b" * 100
    assert sorted(path.name for path in cache.iterdir()) == ["a.bin", "b.bin", "locks"]


def test_a_wheel_that_is_not_the_pinned_one(cache, index):
    wheel = _make_wheel(index, {"pack/a.bin": CONTENT})
    _make_wheel(index, {"pack/a.bin": CONTENT, "pack/evil.py": b"import os"})
    registry = _registry(_asset(WheelFile(WHEEL, "pack/a.bin")), wheels=[wheel])
    with pytest.raises(InputError, match="another SHA-256"):
        fetch_asset("toy.bin", registry)
    assert _nothing_but_locks(cache)


def test_an_index_without_the_wheel_is_one_sentence(cache, index):
    wheel = Wheel(WHEEL, "toy-pack==1.0", "manylinux_2_28_x86_64", "0" * 64, 10)
    registry = _registry(_asset(WheelFile(WHEEL, "pack/a.bin")), wheels=[wheel])
    with pytest.raises(InputError) as caught:
        fetch_asset("toy.bin", registry)
    sentence = str(caught.value)
    assert "toy-pack==1.0 could not be downloaded" in sentence
    assert WHEEL in sentence
    assert "\n" not in sentence


def test_a_wheel_put_into_the_cache_by_hand_needs_no_index(cache, index):
    wheel = _make_wheel(cache, {"pack/a.bin": CONTENT})
    registry = _registry(_asset(WheelFile(WHEEL, "pack/a.bin")), wheels=[wheel])
    assert fetch_asset("toy.bin", registry).read_bytes() == CONTENT


def test_names_inside_an_archive_lead_nowhere_else(tmp_path):
    folder = tmp_path / "deep" / "cache"
    folder.mkdir(parents=True)
    hostile = "../../escaped.bin"
    wheel = _make_wheel(tmp_path, {hostile: CONTENT, "/absolute.bin": b"x", "..\\back.bin": b"x"})
    registry = _registry(_asset(WheelFile(WHEEL, hostile)), wheels=[wheel])
    extract(tmp_path / WHEEL, registry, folder)
    everything = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*")}
    assert everything == {WHEEL, "deep", "deep/cache", "deep/cache/toy.bin"}


@pytest.mark.parametrize(
    "member", [CONTENT + b"more", CONTENT[:-1], CONTENT[:-1] + b"!", bytes(10**7)]
)
def test_a_member_that_is_not_the_pinned_one(tmp_path, member):
    cache = tmp_path / "cache"
    cache.mkdir()
    wheel = _make_wheel(tmp_path, {"a.bin": member})
    registry = _registry(_asset(WheelFile(WHEEL, "a.bin")), wheels=[wheel])
    with pytest.raises(InputError, match="is not the file"):
        extract(tmp_path / WHEEL, registry, cache)
    assert list(cache.iterdir()) == []


@pytest.mark.parametrize("damage", ["cut off", "missing member", "flipped bytes"])
def test_a_damaged_archive(tmp_path, damage):
    cache = tmp_path / "cache"
    cache.mkdir()
    noise = hashlib.shake_256(b"x").digest(50000)
    wheel = _make_wheel(tmp_path, {"b.bin" if damage == "missing member" else "a.bin": noise})
    path = tmp_path / WHEEL
    data = bytearray(path.read_bytes())
    if damage == "cut off":
        path.write_bytes(data[: len(data) // 2])
    if damage == "flipped bytes":
        data[20000:20100] = bytes(100)
        path.write_bytes(data)
    registry = _registry(_asset(WheelFile(WHEEL, "a.bin"), noise), wheels=[wheel])
    with pytest.raises(InputError, match=WHEEL):
        extract(path, registry, cache)
    assert list(cache.iterdir()) == []


def test_download(cache):
    with _Server() as server:
        registry = _registry(_asset(Download(server.url)))
        assert fetch_asset("toy.bin", registry).read_bytes() == CONTENT
        fetch_asset("toy.bin", registry)
        assert server.requests == 1


def test_two_at_once_download_once(cache):
    with _Server() as server, ThreadPoolExecutor(2) as pool:
        registry = _registry(_asset(Download(server.url)))
        paths = list(pool.map(lambda _: fetch_asset("toy.bin", registry), range(2)))
        assert server.requests == 1
    assert [path.read_bytes() for path in paths] == [CONTENT, CONTENT]


@pytest.mark.parametrize(
    "answer",
    [
        {"content": CONTENT[:-1] + b"!"},
        {"content": CONTENT + b"more"},
        {"content": CONTENT[:100]},
        {"content": CONTENT[:100], "announced": len(CONTENT)},
        {"content": b"not found", "status": 404},
    ],
)
def test_a_download_that_goes_wrong_leaves_nothing(cache, answer):
    with _Server(**answer) as server:
        registry = _registry(_asset(Download(server.url)))
        with pytest.raises(InputError, match=r"toy\.bin") as caught:
            fetch_asset("toy.bin", registry)
    assert "\n" not in str(caught.value)
    assert _nothing_but_locks(cache)


def test_no_connection_is_one_sentence_with_what_to_do(cache):
    registry = _registry(_asset(Download("http://127.0.0.1:9/toy")))
    with pytest.raises(InputError, match="connect to the network") as caught:
        fetch_asset("toy.bin", registry)
    assert str(cache) in str(caught.value)


def test_a_changed_file_in_the_cache_is_fetched_anew(cache):
    (cache / "toy.bin").write_bytes(b"changed")
    with _Server() as server:
        registry = _registry(_asset(Download(server.url)))
        assert cached_asset("toy.bin", registry) is None
        assert fetch_asset("toy.bin", registry).read_bytes() == CONTENT


def test_by_hand(cache):
    source = ByHand("https://example.org/licence", "accept the licence and download toy.zip")
    registry = _registry(_asset(source))
    with pytest.raises(InputError, match=r"open https://example\.org/licence, accept the licence"):
        fetch_asset("toy.bin", registry)
    (cache / "toy.bin").write_bytes(b"another version")
    with pytest.raises(InputError, match="is not the file pinned"):
        fetch_asset("toy.bin", registry)
    assert (cache / "toy.bin").read_bytes() == b"another version"
    (cache / "toy.bin").write_bytes(CONTENT)
    assert fetch_asset("toy.bin", registry) == cache / "toy.bin"


def test_installed_file_and_copy(cache, tmp_path):
    main(Options(name="astronaut.png", out=tmp_path / "new" / "photo.png"))
    expected = load_registry().asset("astronaut.png")
    assert _digest((tmp_path / "new/photo.png").read_bytes()) == expected.sha256
    assert cached_asset("astronaut.png") == cache / "astronaut.png"


def test_installed_file_of_another_version(cache):
    registry = _registry(_asset(PackageFile("skimage", "data/astronaut.png")))
    with pytest.raises(InputError, match=r"constraints\.txt"):
        fetch_asset("toy.bin", registry)


def test_package_that_is_not_installed(cache):
    registry = _registry(_asset(PackageFile("no_such_package_here", "a.png")))
    with pytest.raises(InputError, match="not installed"):
        fetch_asset("toy.bin", registry)


def test_all_goes_on_after_a_failure_and_lists_what_is_by_hand(cache):
    with _Server() as server:
        registry = _registry(
            _asset(Download("http://127.0.0.1:9/toy"), name="gone.bin"),
            _asset(Download(server.url)),
            _asset(ByHand("https://example.org", "accept"), name="licensed.bin"),
        )
        lines, failures = fetch_all(registry)
    assert failures == ["gone.bin"]
    assert len(lines) == 3
    assert "by hand" in lines[2]
    assert (cache / "toy.bin").read_bytes() == CONTENT


def test_store_writes_whole_files_or_none(tmp_path):
    def broken():
        yield CONTENT[:10]
        raise OSError("unplugged")

    with pytest.raises(OSError, match="unplugged"):
        store(broken(), tmp_path / "a", _digest(CONTENT), len(CONTENT))
    assert list(tmp_path.iterdir()) == []
