"""The trainer: schedules, checkpoints, and what happens when something goes wrong."""

from __future__ import annotations

import errno
import io
import logging
import os
import pickle
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from mean_image import MeanImage

from artifacts.errors import InputError
from artifacts.kinds import AVATAR
from artifacts.provenance import decode_provenance
from artifacts.store import open_artifact
from avatar_models.checkpoint import CheckpointFile
from avatar_models.trainer import Training, train


@dataclass(frozen=True)
class Schedule:
    steps: int = 40
    max_minutes: float = 0.0

    @classmethod
    def preset(cls, name):
        return cls()


def make_training(data, schedule=None, **model_options) -> Training:
    return Training(MeanImage(**model_options), schedule or Schedule(), data, seed=1)


def test_rates_decay_exponentially_with_progress(toy_data):
    training = make_training(toy_data)
    rates = []
    for _ in range(40):
        training.take_step()
        rates.append(training.optimiser.param_groups[0]["lr"])
    expected = 0.05 * (0.01 / 0.05) ** (np.arange(40) / 40)
    np.testing.assert_allclose(rates, expected, rtol=1e-6)


def test_time_ends_a_training(toy_data, tmp_path):
    schedule = Schedule(steps=10**9, max_minutes=0.5 / 60)
    result = train(make_training(toy_data, schedule), CheckpointFile(tmp_path / "c.pt", ""))
    assert 0.5 <= result.training_time_s < 5
    assert result.losses.table()[-1, 0] < result.losses.table()[0, 0]


def test_losses_are_means_between_entries(toy_data, tmp_path):
    training = make_training(toy_data, Schedule(steps=1600))
    every_loss = []
    for _ in range(1600):
        every_loss.append(float(training.take_step()))
    assert training.losses.names == ["colour", "size"]
    assert training.losses.steps == list(range(2, 1601, 2))
    means = np.array(every_loss).reshape(-1, 2).mean(1)
    np.testing.assert_allclose(training.losses.table()[:, 0], means, rtol=1e-5)


class StoppedError(Exception):
    """Stands for the end of the process."""


def test_resumed_training_equals_an_uninterrupted_one(toy_data, tmp_path):
    whole = make_training(toy_data)
    train(whole, CheckpointFile(tmp_path / "whole.pt", "key"))

    half = make_training(toy_data)
    original = half.model.training_losses

    def interrupted(*args):
        if half.step == 23:
            raise StoppedError
        return original(*args)

    half.model.training_losses = interrupted
    with pytest.raises(StoppedError):
        train(half, CheckpointFile(tmp_path / "half.pt", "key"), checkpoint_every_s=0.0)
    rest = make_training(toy_data)
    train(rest, CheckpointFile(tmp_path / "half.pt", "key"))
    assert rest.model.n_calls == 40 - 23
    assert torch.equal(rest.model.image, whole.model.image)
    assert torch.equal(rest.losses.table(), whole.losses.table())
    assert rest.losses.steps == whole.losses.steps


def test_nan_stops_with_the_last_good_state(toy_data, tmp_path):
    checkpoint = CheckpointFile(tmp_path / "c.pt", "key")
    with pytest.raises(InputError, match=r"the loss became nan at step 7; lower the learning rate"):
        train(make_training(toy_data, spoilt_at=7), checkpoint)
    state = checkpoint.load(torch.device("cpu"))
    assert state["step"] == 7
    assert torch.isfinite(state["model"]["image"]).all()
    # The cause removed, training goes on from there.
    rest = make_training(toy_data)
    train(rest, checkpoint)
    assert rest.model.n_calls == 40 - 7


def test_spoilt_parameters_never_reach_a_checkpoint(toy_data, tmp_path):
    checkpoint = CheckpointFile(tmp_path / "c.pt", "key")
    training = make_training(toy_data)
    training.take_step()
    checkpoint.save(training.state())
    with torch.no_grad():
        training.model.image[0, 0, 0] = torch.nan
    with pytest.raises(InputError, match="parameter image became infinite or NaN before step 1"):
        training.state()
    assert torch.isfinite(checkpoint.load(torch.device("cpu"))["model"]["image"]).all()


@pytest.mark.parametrize("damage", ["truncated", "empty", "other bytes", "pickled code"])
def test_damaged_checkpoint_starts_afresh_and_says_so(damage, toy_data, tmp_path, caplog):
    checkpoint = CheckpointFile(tmp_path / "c.pt", "key")
    half = make_training(toy_data)
    half.take_step()
    checkpoint.save(half.state())
    content = checkpoint.path.read_bytes()
    damaged = {
        "truncated": content[: len(content) // 2],
        "empty": b"",
        "other bytes": b"\x89HDF\r\n" + bytes(1000),
        "pickled code": pickle.dumps(_Trap(), protocol=2),
    }[damage]
    checkpoint.path.write_bytes(damaged)
    with caplog.at_level(logging.WARNING):
        training = make_training(toy_data)
        train(training, checkpoint)
    assert training.model.n_calls == 40
    assert f"{checkpoint.path}: damaged" in caplog.text
    assert not _Trap.sprung


class _Trap:
    """Unpickling this would run code."""

    sprung = False

    def __reduce__(self):
        return (_spring, ())


def _spring():
    _Trap.sprung = True


def test_full_disk_keeps_the_last_checkpoint(toy_data, tmp_path, monkeypatch):
    checkpoint = CheckpointFile(tmp_path / "c.pt", "key")
    training = make_training(toy_data)
    training.take_step()
    checkpoint.save(training.state())
    training.take_step()

    class Full(io.FileIO):
        def write(self, data):
            raise OSError(errno.ENOSPC, "No space left on device")

    def open_full(path, mode):
        return Full(path, mode)

    monkeypatch.setattr(Path, "open", open_full)
    with pytest.raises(OSError, match="No space left on device") as raised:
        checkpoint.save(training.state())
    assert raised.value.errno == errno.ENOSPC
    assert [path.name for path in tmp_path.iterdir()] == ["c.pt"]
    monkeypatch.undo()
    assert checkpoint.load(torch.device("cpu"))["step"] == 1


def test_checkpoint_of_other_options_is_not_used(toy_data, tmp_path, caplog):
    half = make_training(toy_data)
    half.take_step()
    CheckpointFile(tmp_path / "c.pt", "one").save(half.state())
    with caplog.at_level(logging.WARNING):
        assert CheckpointFile(tmp_path / "c.pt", "two").load(torch.device("cpu")) is None
    assert "of other options, code or inputs; training starts afresh" in caplog.text


def _command(toy, out, steps):
    options = {
        "model": "nearest_frame",
        "frames": toy.frames,
        "matte": toy.matte,
        "head-model": toy.head_model,
        "face-fit": toy.face_fit,
        "out": out,
        "image-size": 64,
        "device": "cpu",
        "checkpoint-every-s": 0.2,
        "set": f"steps={steps}",
    }
    words = [word for key, value in options.items() for word in (f"--{key}", str(value))]
    return [sys.executable, "-m", "avatar_models.train", *words]


def _weights(path) -> tuple[np.ndarray, np.ndarray, dict]:
    with open_artifact(path, AVATAR) as reader:
        provenance = decode_provenance(reader.file.attrs["provenance_json"])
        return reader.tensors()["log_weight"], reader.read("loss"), provenance


def test_training_survives_kill_9(toy, tmp_path):
    steps = 60
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    out = tmp_path / "killed" / "avatar.h5"
    checkpoint = out.with_suffix(".checkpoint.pt")
    process = subprocess.Popen(
        _command(toy, out, steps), env=environment, stderr=subprocess.DEVNULL
    )
    deadline = time.monotonic() + 60
    while not checkpoint.is_file() and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert checkpoint.is_file()
    assert not out.exists()
    resumed = subprocess.run(
        _command(toy, out, steps), env=environment, capture_output=True, text=True, check=True
    )
    assert "continuing from step" in resumed.stderr
    assert not checkpoint.exists()

    straight = tmp_path / "straight" / "avatar.h5"
    subprocess.run(_command(toy, straight, steps), env=environment, check=True, capture_output=True)
    for found, expected in zip(_weights(out), _weights(straight), strict=True):
        if isinstance(expected, np.ndarray):
            np.testing.assert_array_equal(found, expected)
        else:
            assert found == expected


def test_other_files_end_in_one_sentence(toy, tmp_path):
    command = _command(toy, tmp_path / "avatar.h5", 2)
    command[command.index("--matte") + 1] = str(toy.frames)
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ended.returncode == 1
    assert ended.stderr.strip().startswith("error: ")
    assert "Traceback" not in ended.stderr
    assert "holds artifact kind 'frames', expected 'matte'" in ended.stderr
