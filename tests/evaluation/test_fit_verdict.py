import numpy as np
import pytest

from evaluation.fit_verdict import CRITERIA, judge


def in_step(**changes):
    sync = {
        "is_found": np.array(True),
        "is_out_of_step": np.array(False),
        "audio_shift_s": np.array(0),
        "verdict": np.array("in step"),
    }
    return sync | changes


GOOD = {name: criterion.bound.good for name, criterion in CRITERIA.items()}


@pytest.mark.parametrize("name", CRITERIA)
def test_a_criterion_is_good_up_to_its_bound_and_worse_beyond(name):
    bound = CRITERIA[name].bound
    worse = -1 if bound.more_is_better else 1
    assert bound.level(bound.good) == "good"
    assert bound.level(bound.good - worse * 0.01) == "good"
    assert bound.level(bound.good + worse * 1e-6) == "usable"
    if bound.usable is None:
        assert bound.level(bound.good + worse * 1e6) == "usable"
    else:
        assert worse * (bound.usable - bound.good) > 0
        assert bound.level(bound.usable) == "usable"
        assert bound.level(bound.usable + worse * 1e-6) == "film again"


def test_a_clip_that_is_good_in_everything_is_good_and_needs_no_advice():
    verdict = judge(GOOD, in_step())
    assert verdict.level == "good"
    assert verdict.sentence == "This clip is good enough to train on."
    assert verdict.advice == []
    assert len(verdict.findings) == len(CRITERIA) + 1


def test_the_worst_finding_decides_and_its_advice_comes_first():
    verdict = judge(GOOD | {"mouth": 0.05, "nme": 0.1}, None)
    assert verdict.level == "film again"
    assert verdict.sentence == "Film this clip again, because of: landmarks of the fit."
    assert verdict.advice == [CRITERIA["nme"].advice, CRITERIA["mouth"].advice]
    usable = judge(GOOD | {"mouth": 0.05, "blinks": 0.0}, None)
    assert usable.level == "usable"
    assert usable.sentence.endswith("more care for: mouth, eyes.")


def test_what_was_not_measured_is_not_judged():
    verdict = judge({"tracked": 0.99}, None)
    assert [finding.title for finding in verdict.findings] == ["Face found"]
    assert verdict.findings[0].text == "in 99.0% of the frames"
    assert verdict.findings[0].wanted == "at least 98.0%"


def test_frames_that_are_not_explained_are_named():
    verdict = judge(GOOD | {"unexplained": 0.1}, None, {"unexplained": "frames 40 to 65"})
    text = verdict.findings[1].text
    assert text.startswith("10.0% of the frames are not explained by the head: a hand or an object")
    assert text.endswith("(frames 40 to 65)")
    assert verdict.sentence.endswith("more care for: nothing before the face.")
    good = judge(GOOD | {"unexplained": 0.0}, None, {"unexplained": "no frame"})
    assert "(" not in good.findings[1].text


def test_sound_out_of_step_is_mended_by_a_shift_not_by_filming():
    out = in_step(is_out_of_step=np.array(True), audio_shift_s=np.array(-0.16))
    verdict = judge(GOOD, out)
    assert verdict.level == "usable"
    assert "audio_shift_s: -0.160" in verdict.advice[0]


def test_sound_of_which_nothing_can_be_told_counts_neither_way():
    unknown = in_step(is_found=np.array(False), verdict=np.array("cannot tell: no sound"))
    verdict = judge(GOOD, unknown)
    assert verdict.level == "good"
    assert verdict.findings[-1].level == ""
    assert verdict.findings[-1].text == "cannot tell: no sound"
