"""Parts of a step or a frame on several cores: the same numbers as on one."""

import os
import subprocess
import sys
from dataclasses import replace

import pytest
import torch

from avatar_models.monoavatar.config import MonoAvatarDConfig
from avatar_models.monoavatar.model import build_model
from avatar_models.parallel import all_cores, map_parts, part_size, run_together
from avatar_models.trainer import Training


@pytest.fixture(params=[1, 2])
def cores(request, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", str(request.param))
    return request.param


def test_parts_come_back_in_order_and_in_the_callers_inference_mode(cores):
    cpu = torch.device("cpu")
    with torch.inference_mode():
        inside = map_parts(lambda n: (n, torch.is_inference_mode_enabled()), range(5), cpu)
    outside = map_parts(lambda n: (n, torch.is_inference_mode_enabled()), range(5), cpu)
    assert inside == [(n, True) for n in range(5)]
    assert outside == [(n, False) for n in range(5)]


def test_an_error_in_a_part_reaches_the_caller(cores):
    def fail(part):
        raise ZeroDivisionError(part)

    with pytest.raises(ZeroDivisionError):
        map_parts(fail, [1, 2], torch.device("cpu"))


def test_training_and_rendering_do_not_depend_on_the_number_of_cores(toy_data, monkeypatch):
    config = replace(
        MonoAvatarDConfig.preset("tiny"),
        steps=40,
        max_minutes=0.0,
        rays=256,
        parts=2,
        uv_size=32,
        channels=(8, 16),
        occupancy_start=0.1,
    )
    found = []
    for cores in ("1", "2"):
        monkeypatch.setenv("OMP_NUM_THREADS", cores)
        torch.manual_seed(0)
        model = build_model(config, toy_data)
        model.render_rays = {"cpu": 100}
        training = Training(model, config, toy_data, seed=0)
        for _ in range(12):
            training.take_step()
        model.eval()
        with torch.inference_mode():
            head, alpha = model.render_head(toy_data.driving(3))
        found.append((model.state_dict(), head, alpha))
    (state, head, alpha), (other_state, other_head, other_alpha) = found
    assert alpha.max() > 0.5
    assert torch.equal(head, other_head)
    assert torch.equal(alpha, other_alpha)
    for name, value in state.items():
        assert torch.equal(value, other_state[name]), name


def test_a_part_that_has_parts_does_not_wait_for_itself(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    cpu = torch.device("cpu")
    sums = map_parts(lambda n: sum(map_parts(lambda m: n * m, range(4), cpu)), range(4), cpu)
    assert sums == [0, 6, 12, 18]


def test_two_functions_run_together_and_keep_their_order():
    cpu = torch.device("cpu")
    assert run_together(lambda: 1, lambda: "two", cpu) == (1, "two")


@pytest.mark.parametrize("n", [0, 1, 700, 6177, 10_105, 40_000])
def test_parts_are_even_round_and_cover_everything(monkeypatch, n):
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    size = part_size(n, 4096, torch.device("cpu"))
    n_parts = -(-n // size)
    assert size % 256 == 0
    assert size <= 4096
    # Two cores end together: an even number of parts, except where there are hardly any items.
    assert n_parts % 2 == 0 or n < 512
    assert 0 <= n_parts * size - n <= n_parts * 256
    assert part_size(n, 65_536, torch.device("cuda")) >= min(n, 65_536)


# Two threads take entries of the same parameters, step after step.
_ENTRIES_IN_THREADS = """
import types, torch
from avatar_models.interface import Trainable
from avatar_models.trainer import Training

class Net(Trainable):
    parts = 2

    def __init__(self):
        super().__init__()
        self.weights = torch.nn.ParameterList(torch.randn(4, 4, 3, 3) for _ in range(50))

    def parameter_groups(self):
        return [{"params": list(self.parameters()), "lr": 1e-3, "lr_end": 1e-3}]

    def training_losses(self, data, progress, generator):
        x = torch.randn(1, 4, 4, 4, generator=generator)
        drawn = [torch.conv2d(x, weight / weight[0].numel()).mean() for weight in self.weights]
        return {"loss": torch.stack(drawn).square().sum()}

config = types.SimpleNamespace(steps=1000, max_minutes=0.0)
data = types.SimpleNamespace(device=torch.device("cpu"))
training = Training(Net(), config, data, seed=0)
for _ in range(600):
    training.take_step()
print("done", training.step)
"""


def test_threads_that_take_entries_of_a_parameter_do_not_wait_for_each_other():
    ended = subprocess.run(
        [sys.executable, "-c", _ENTRIES_IN_THREADS],
        env={**os.environ, "OMP_NUM_THREADS": "2"},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.split() == ["done", "600"]


def test_all_cores_work_on_an_operation_and_are_given_back(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with all_cores(torch.device("cpu")):
            assert torch.get_num_threads() == 2
        assert torch.get_num_threads() == 1
        with pytest.raises(ValueError, match="stop"), all_cores(torch.device("cpu")):
            raise ValueError("stop")
        assert torch.get_num_threads() == 1
        with all_cores(torch.device("cuda")):
            assert torch.get_num_threads() == 1
    finally:
        torch.set_num_threads(before)
