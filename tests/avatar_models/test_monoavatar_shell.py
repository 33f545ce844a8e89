"""The shell holds the head's matte of every training frame."""

import pytest
import torch

from avatar_models.dataset import SubjectData
from avatar_models.monoavatar import frames as frames_module
from avatar_models.monoavatar.frames import find_outside, fit_shell
from avatar_models.monoavatar.shell import BASE_THICKNESS_M, Shell
from head_geometry.cameras import project, transform


class StillClip(SubjectData):
    """Sixty equal training frames; in one of them a tuft of hair stands 5 cm above the head."""

    def __init__(self, one: SubjectData) -> None:
        self.__dict__.update(one.__dict__)
        self.frame = int(one.train_frames[0])
        self.train_frames = torch.arange(60)

    def driving(self, frame):
        return super().driving(self.frame)

    def head_region(self, frame):
        return super().head_region(self.frame)

    def alpha(self, frame):
        alpha = super().alpha(self.frame).clone()
        if frame == 2:
            driving = self.driving(frame)
            top = driving.vertices[driving.vertices[:, 1].argmax()]
            tuft = top + torch.tensor([[0.0, 0.01, 0], [0, 0.03, 0], [0, 0.05, 0]])
            places = project(transform(driving.camera_from_head, tuft), driving.intrinsics)
            for column, row in places.round().int().tolist():
                alpha[row - 1 : row + 2, column - 1 : column + 2] = 1
        return alpha


def test_shell_holds_a_tuft_that_one_frame_shows(toy_data, caplog):
    data = StillClip(toy_data)
    shell = Shell.of(data.head_model)
    frames = data.train_frames.tolist()
    bare = find_outside(data, shell, [2])
    assert bare.share > 0
    # What asks is near the top.
    top = data.neutral[bare.wanted_m > 0.03]
    assert len(top) > 0
    assert float(top[:, 1].min()) > float(data.neutral[:, 1].max()) - 0.05
    with caplog.at_level("INFO"):
        fit_shell(data, shell)
    assert find_outside(data, shell, frames).share == 0
    assert "0 % of the head's matte lies outside the shell" in caplog.text
    # Far from the tuft the shell is as thin as before.
    low = data.neutral[:, 1] < data.neutral[:, 1].median()
    assert float(shell.thickness_m[low].median()) == pytest.approx(BASE_THICKNESS_M)


def test_what_is_too_far_out_for_hair_is_given_up_and_told(toy_data, caplog, monkeypatch):
    data = StillClip(toy_data)
    shell = Shell.of(data.head_model)
    monkeypatch.setattr(frames_module, "MAX_THICKNESS_M", BASE_THICKNESS_M)
    with caplog.at_level("INFO"):
        fit_shell(data, shell)
    assert (shell.thickness_m == BASE_THICKNESS_M).all()
    assert "0 % of" not in caplog.text
    assert "lies outside the shell (60 of 60 training frames looked at)" in caplog.text
