"""Steps that run side by side take different GPUs."""

from __future__ import annotations

import subprocess
import sys
import tempfile

import pytest
import torch

from artifacts.errors import InputError
from head_geometry import devices

NAMES = ("GPU-a", "GPU-b")
CLAIM = f"""
import sys
from head_geometry.devices import claim_gpu
print(claim_gpu({NAMES}), flush=True)
sys.stdin.read()
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", None)
    devices.claim_gpu.cache_clear()
    yield tmp_path
    devices.claim_gpu.cache_clear()
    while devices._held:
        devices._held.pop().close()


def claimed(process):
    return int(process.stdout.readline())


def test_a_gpu_is_free_again_when_its_step_has_ended(folder, caplog):
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen([sys.executable, "-c", CLAIM], **pipes) as first:
        assert claimed(first) == 0
        with subprocess.Popen([sys.executable, "-c", CLAIM], **pipes) as second:
            assert claimed(second) == 1
            assert devices.claim_gpu(NAMES) == 0
            assert "all 2 GPUs are in use by other steps" in caplog.text
            second.kill()
        devices.claim_gpu.cache_clear()
        assert devices.claim_gpu(NAMES) == 1
        # Once for a process.
        assert devices.claim_gpu(NAMES) == 1
        first.stdin.close()


def test_claims_in_a_folder_of_somebody_else_are_refused(folder):
    other = folder / "other"
    other.mkdir()
    (folder / f"likeness-gpus-{devices.os.getuid()}").symlink_to(other)
    with pytest.raises(InputError, match="belongs to another user; set TMPDIR"):
        devices.claim_gpu(NAMES)


def test_a_file_or_a_link_to_nowhere_in_the_place_of_the_claims_is_refused(folder):
    place = folder / f"likeness-gpus-{devices.os.getuid()}"
    place.write_text("not a folder")
    with pytest.raises(InputError, match="is no folder or belongs to another user; set TMPDIR"):
        devices.claim_gpu(NAMES)
    place.unlink()
    place.symlink_to(folder / "nowhere")
    with pytest.raises(InputError, match="is no folder or belongs to another user; set TMPDIR"):
        devices.claim_gpu(NAMES)


def test_of_several_gpus_a_free_one_is_taken_and_of_one_that(folder, monkeypatch):
    class Properties:
        def __init__(self, uuid):
            self.uuid = uuid

    chosen = []
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda i: Properties(NAMES[i]))
    monkeypatch.setattr(torch.cuda, "set_device", chosen.append)
    with subprocess.Popen(
        [sys.executable, "-c", CLAIM], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert claimed(other) == 0
        assert devices.find_device("auto") == torch.device("cuda", 1)
        assert chosen == [1]
        other.stdin.close()
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    assert devices.find_device("cuda") == torch.device("cuda")
    assert devices.find_device("cpu") == torch.device("cpu")
