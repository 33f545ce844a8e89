"""The benchmark of planning counts the jobs that are planned."""

from __future__ import annotations

import pandas as pd
import pytest

from artifacts.errors import InputError
from benchmarks.planning import Options, main


def test_more_subjects_are_more_jobs(tmp_path):
    out = tmp_path / "planning.csv"
    main(Options(out=out, subjects=(1, 3), models=("nearest_frame",), modes=("self",)))
    table = pd.read_csv(out)
    assert table["subjects"].tolist() == [1, 3]
    # frames, landmarks, matte, face_fit, audio_features, sync, filmed_fit, fit_report; training, render, its landmarks and
    # its fit, scores.
    assert table["jobs"].diff().iloc[1] == 2 * 13
    measured = ["seconds", "memory_mb", "seconds_quiet", "memory_mb_quiet"]
    assert (table[measured].to_numpy() > 0).all()


def test_a_plan_that_is_refused_says_why(tmp_path):
    options = Options(out=tmp_path / "p.csv", subjects=(1,), models=("gaussian",))
    with pytest.raises(InputError, match=r"the plan failed: error: config:.*gaussian"):
        main(options)
    assert not options.out.exists()
