"""What the benchmark of sound and lips makes of told and fitted lips."""

import pytest
import torch

from benchmarks.sound_lips import judge


def test_a_mouth_that_never_moves_is_wrong_by_all_of_its_movement():
    torch.manual_seed(0)
    wanted = torch.randn(50, 12)
    assert judge(wanted, wanted) == pytest.approx([0, 1, 1, 1], abs=1e-5)
    told = 1e-6 * torch.randn(50, 12)
    assert judge(told, wanted)[0] == pytest.approx(1, abs=1e-3)
    assert judge(-wanted, wanted) == pytest.approx([2, -1, -1, -1], abs=1e-5)
