import os
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest

from artifacts.errors import InputError
from artifacts.kinds import SCORES
from artifacts.store import read_artifact, write_artifact
from evaluation.aggregate import (
    COLUMNS,
    MEAN_SUBJECT,
    read_score_table,
    read_scores,
    value_of,
)
from evaluation.comparison import differences
from evaluation.explain import _renders, cell_of
from evaluation.missing import CLIP_STEPS, MODEL_STEPS, are_outdated, why_missing
from evaluation.tables import Options, format_gain, format_value, main

PSNR = {("ann", "base"): 20.0, ("ann", "new"): 23.0, ("bob", "base"): 15.0, ("bob", "new"): 16.0}


def write_scores(path, psnr, lmd_valid=True):
    rng = np.random.default_rng(0)
    frames = np.arange(80, 100)
    # Frames differ a lot, models by a constant: only paired differences see that.
    values = np.stack([psnr + 4 * rng.normal(size=20), np.linspace(1, 2, 20)])
    valid = np.stack([np.ones(20, bool), np.arange(20) < (20 if lmd_valid else 5)])
    write_artifact(
        path,
        SCORES,
        {
            "frame_metric": np.array(["psnr_person", "lmd_px"]),
            "frame_metric_unit": np.array(["dB", "px"]),
            "frame_value": (values * valid).astype(np.float32),
            "frame_valid": valid,
            "driver_frame": frames.astype(np.int32),
            "clip_metric": np.array(["training_time_s"]),
            "clip_metric_unit": np.array(["s"]),
            "clip_value": np.array([300.0]),
            "missing_metric": np.array(["lpips_alex_person"]),
            "missing_reason": np.array(["its weights are not here: fetch alex.pth"]),
        },
        {"step": "test"},
    )
    return path


@pytest.fixture
def scores(tmp_path):
    for (s, m), psnr in PSNR.items():
        write_scores(tmp_path / f"{s}_{m}.h5", psnr, lmd_valid=s == "ann")
    names = {"subjects": ("ann", "bob"), "models": ("base", "new")}
    return {"scores": str(tmp_path / "{subject}_{model}.h5"), **names}


def tables_of(folder, **options):
    """Both tables, written into a folder: the long one, and the text of the page."""
    made = Options(
        **{"splits": ("tail-20",), **options},
        csv=folder / "t/scores.csv",
        markdown=folder / "t/scores.md",
    )
    main(made)
    return pd.read_csv(made.csv), made.markdown.read_text()


@pytest.fixture
def tables(scores, tmp_path):
    return tables_of(tmp_path, **scores)


def row(table, subject, model, metric):
    found = table[
        (table["subject"] == subject) & (table["model"] == model) & (table["metric"] == metric)
    ]
    assert len(found) == 1
    return found.iloc[0]


def test_the_long_table_has_one_row_each_with_interval_count_and_unit(tables):
    table, _ = tables
    assert tuple(table.columns) == COLUMNS
    psnr = row(table, "ann", "new", "psnr_person")
    assert psnr["ci_low"] < psnr["value"] < psnr["ci_high"]
    assert (psnr["n"], psnr["unit"], psnr["split"]) == (20, "dB", "tail-20@1")
    time = row(table, "ann", "new", "training_time_s")
    assert time["value"] == 300
    assert np.isnan(time["ci_low"])


def test_a_missing_metric_keeps_its_row_and_says_what_to_fetch(tables):
    table, page = tables
    missing = row(table, "bob", "base", "lpips_alex_person")
    assert np.isnan(missing["value"])
    assert missing["n"] == 0
    assert "fetch alex.pth" in missing["note"]
    assert "## What is missing" in page
    assert "fetch alex.pth" in page


def test_frames_without_a_value_are_counted_not_averaged(tables):
    table, _ = tables
    lmd = row(table, "bob", "new", "lmd_px")
    assert lmd["n"] == 5
    assert lmd["value"] == pytest.approx(np.linspace(1, 2, 20)[:5].mean())
    assert lmd["note"] == "15 frames have no value, of this or another model"


def test_the_mean_over_subjects_is_of_subject_means(tables):
    table, _ = tables
    by_subject = [row(table, s, "new", "psnr_person")["value"] for s in ("ann", "bob")]
    mean = row(table, MEAN_SUBJECT, "new", "psnr_person")
    assert mean["value"] == pytest.approx(np.mean(by_subject))
    assert mean["n"] == 2
    assert "no value for ann, bob" in row(table, MEAN_SUBJECT, "new", "lpips_alex_person")["note"]


def test_each_subject_has_its_own_split_and_their_mean_has_several(scores, tmp_path):
    table, page = tables_of(tmp_path, **scores, splits=("insta-350", "tail-20"))
    assert row(table, "ann", "new", "psnr_person")["split"] == "insta-350@1"
    assert row(table, "bob", "new", "psnr_person")["split"] == "tail-20@1"
    assert row(table, MEAN_SUBJECT, "new", "psnr_person")["split"] == "several"
    assert "Held-out frames of split `insta-350@1` and `tail-20@1`." in page
    assert "## ann (split insta-350@1)" in page
    with pytest.raises(InputError, match="3 splits are named for 2 subjects"):
        tables_of(tmp_path, **scores, splits=("tail-20",) * 3)


def test_a_single_subject_has_no_mean_rows(scores, tmp_path):
    table, _ = tables_of(tmp_path, **scores | {"subjects": ("ann",)})
    assert set(table["subject"]) == {"ann"}


def test_paired_differences_are_sharper_than_the_scores_themselves(scores, tables):
    table, page = tables
    gains = differences(read_scores(scores["scores"], list(PSNR)), "base", "psnr_person").set_index(
        "subject"
    )
    assert gains.loc["ann", "value"] == pytest.approx(3, abs=1e-5)
    assert gains.loc["ann", "ci_high"] - gains.loc["ann", "ci_low"] < 1e-4
    psnr = row(table, "ann", "new", "psnr_person")
    assert psnr["ci_high"] - psnr["ci_low"] > 0.5
    assert "## Difference from base" in page
    assert "+3.000 [+3.000, +3.000]" in page


def test_the_page_marks_the_best_model_and_explains_every_metric(tables):
    table, page = tables
    value = row(table, "ann", "new", "psnr_person")["value"]
    assert f"**{value:.2f} [" in page
    for metric in table["metric"].unique():
        assert f"- `{metric}`: " in page


@pytest.fixture
def failed(scores, tmp_path):
    """A run in which the clip of one more subject could not be read, and one more training was cut off."""
    results = tmp_path / "results"
    logs = results / "logs"
    (logs / "zed").mkdir(parents=True)
    (logs / "zed/frames.log").write_text(
        "frames  10%\rframes 20%\nerror: zed.mp4: cannot be read\n\n"
    )
    for subject in ("ann", "bob"):
        (results / subject).mkdir()
        (logs / subject / "late").mkdir(parents=True)
        for step in ("frames", "landmarks", "matte", "face_fit", "filmed_fit"):
            (results / subject / f"{step}.h5").touch()
    (logs / "ann/late/train_avatar.log").write_text("train 3%\n")
    more = {"subjects": ("ann", "bob", "zed"), "models": ("base", "new", "late")}
    return tables_of(tmp_path, **scores | more, results=results)


def test_a_table_of_a_failed_run_says_what_is_missing_and_why(failed):
    table, page = failed
    assert "5 of its 9 scores are missing" in page
    assert "- zed / base, zed / new, zed / late: frames: zed.mp4: cannot be read\n" in page
    assert "- ann / late: train_avatar: was cut off or failed; its log " in page
    assert "ends with 'train 3%'" in page
    assert "- bob / late: train_avatar was not run" in page
    assert "## zed" not in page
    gone = row(table, "zed", "new", "psnr_person")
    assert np.isnan(gone["value"])
    assert gone["note"] == "missing: frames: zed.mp4: cannot be read"
    assert row(table, "ann", "new", "psnr_person")["n"] == 20
    # Nobody has all three models.
    assert not (table["subject"] == MEAN_SUBJECT).any()


def results_of(results, steps, since):
    """Results of one subject and model, made one after the other."""
    for number, step in enumerate(steps):
        path = results / f"{step}.h5"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
        os.utime(path, (since + number, since + number))


def log_of(results, name, text, when):
    path = results / "logs" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    os.utime(path, (when, when))


CHAIN = [f"a/{step}" for step in CLIP_STEPS] + [f"a/m/{step}" for step in MODEL_STEPS]


def test_scores_of_an_earlier_run_are_not_of_this_one(tmp_path):
    results_of(tmp_path, CHAIN, 1000)
    assert not are_outdated(tmp_path, "a", "m")
    (tmp_path / "a/m/avatar.h5").unlink()
    log_of(tmp_path, "a/m/train_avatar.log", "error: out of memory\n", 2000)
    assert are_outdated(tmp_path, "a", "m")
    assert why_missing(tmp_path, "a", "m") == "train_avatar: out of memory"
    results_of(tmp_path, ["a/m/avatar"], 3000)
    assert are_outdated(tmp_path, "a", "m")


def test_old_logs_explain_nothing(tmp_path):
    results_of(tmp_path, ["a/frames"], 1000)
    log_of(tmp_path, "a/m/train_avatar.log", "error: directions is 50\n", 500)
    assert why_missing(tmp_path, "a", "m") == "landmarks was not run"
    log_of(tmp_path, "a/landmarks.log", "landmarks 40%\n", 2000)
    found = why_missing(tmp_path, "a", "m")
    assert found.startswith("landmarks: was cut off")


def test_what_several_subjects_share_is_named(tmp_path):
    log_of(tmp_path, "assets/x.tflite.log", "error: no connection\n", 2000)
    assert why_missing(tmp_path, "a", "m") == "assets/x.tflite: no connection"


def test_the_baseline_stays_the_first_model(scores, tmp_path):
    (tmp_path / "ann_base.h5").unlink()
    _, page = tables_of(tmp_path, **scores, results=tmp_path)
    assert "## Difference from base" in page


def test_means_of_a_failed_run_say_whom_they_are_without(scores, tmp_path):
    more = {"subjects": ("ann", "bob", "zed"), "results": tmp_path / "results"}
    table, _ = tables_of(tmp_path, **scores | more)
    mean = row(table, MEAN_SUBJECT, "new", "psnr_person")
    assert mean["n"] == 2
    assert mean["note"] == "without zed"
    assert np.isfinite(mean["value"])


def test_a_failed_run_without_any_scores_has_no_table(scores, tmp_path):
    with pytest.raises(InputError, match="no scores yet"):
        tables_of(tmp_path, **scores | {"subjects": ("zed",)}, results=tmp_path)


def test_what_may_be_chance_says_so(tmp_path):
    rng = np.random.default_rng(1)
    people = tuple("abcdef")
    for place, subject in enumerate(people):
        write_scores(tmp_path / f"{subject}_base.h5", 20.0)
        write_scores(tmp_path / f"{subject}_new.h5", 23.0 + place / 10)
        write_scores(tmp_path / f"{subject}_odd.h5", 20.0 + rng.normal(size=20))
    names = {"models": ("base", "new", "odd"), "scores": str(tmp_path / "{subject}_{model}.h5")}

    def gains(subjects):
        _, page = tables_of(tmp_path, **names, subjects=subjects)
        rows = [x for x in page.split("## Difference")[1].splitlines() if x.startswith("|")]
        return {tuple(cell.strip() for cell in line.split("|")[1:3]): line for line in rows}

    of = gains(people)
    assert "n.s." not in of["a", "new"].split("|")[3]
    assert "n.s." in of["a", "odd"].split("|")[3]
    assert "+3.250 [+" in of[MEAN_SUBJECT, "new"]
    # Of two there is nothing to say.
    assert (MEAN_SUBJECT, "new") not in gains(people[:2])


def test_a_gain_has_its_sign_and_says_what_may_be_chance():
    assert format_gain(0.5, 0.25, 0.75) == "+0.5000 [+0.2500, +0.7500]"
    assert format_gain(-0.5, -1.0, 0.0) == "-0.5000 [-1.0000, +0.0000] n.s."
    assert format_gain(-0.5, np.nan, np.nan) == "-0.5000 not judged"


def test_values_show_four_digits():
    assert format_value(24.2134, 23.9, 24.6) == "24.21 [23.90, 24.60]"
    assert format_value(0.94321, np.nan, np.nan) == "0.9432"
    assert format_value(345.67, np.nan, np.nan) == "345.7"
    assert format_value(float("nan"), 1.0, 2.0) == "—"


def test_the_command_line_ends_with_one_sentence(tmp_path):
    arguments = ["--subjects", "ann", "--models", "m", "--splits", "tail-20"]
    arguments += ["--csv", str(tmp_path / "a.csv"), "--markdown", str(tmp_path / "a.md")]
    command = [sys.executable, "-m", "evaluation.tables", "--scores", str(tmp_path / "no.h5")]
    done = subprocess.run([*command, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith("error: ")
    assert "no.h5: no such file; run the step that makes it" in done.stderr
    assert "Traceback" not in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_means_of_all_models_are_over_the_same_frames(tmp_path):
    write_scores(tmp_path / "ann_base.h5", 20.0)
    write_scores(tmp_path / "ann_new.h5", 23.0, lmd_valid=False)
    names = {"subjects": ("ann",), "scores": str(tmp_path / "{subject}_{model}.h5")}
    table, _ = tables_of(tmp_path, **names, models=("base", "new"))
    for model in ("base", "new"):
        lmd = row(table, "ann", model, "lmd_px")
        assert lmd["n"] == 5
        assert lmd["value"] == pytest.approx(np.linspace(1, 2, 20)[:5].mean())
        assert row(table, "ann", model, "psnr_person")["n"] == 20
    alone, _ = tables_of(tmp_path, **names, models=("base",))
    assert row(alone, "ann", "base", "lmd_px")["n"] == 20
    # What stands behind the number is read in the same way.
    results = tmp_path / "results"
    for model in ("base", "new"):
        (results / "ann" / model).mkdir(parents=True)
        (tmp_path / f"ann_{model}.h5").rename(results / "ann" / model / "scores.h5")
    pattern = str(results / "{subject}/{model}/scores.h5")
    tables_of(tmp_path, subjects=("ann",), models=("base", "new"), scores=pattern)
    made = read_score_table(tmp_path / "t/scores.csv")
    renders = _renders(made, cell_of(made, "ann/base/lmd_px"), results)
    assert [value_of(it, "lmd_px") for it in renders.values()] == pytest.approx(
        [np.linspace(1, 2, 20)[:5].mean()]
    )


def test_models_without_a_frame_in_common_have_no_mean(tmp_path):
    for model, there in (("base", slice(0, 10)), ("new", slice(10, 20))):
        path = write_scores(tmp_path / f"ann_{model}.h5", 20.0)
        arrays = read_artifact(path, SCORES)
        arrays["frame_valid"][1] = False
        arrays["frame_valid"][1, there] = True
        write_artifact(path, SCORES, arrays, {"step": "test"})
    names = {"subjects": ("ann",), "scores": str(tmp_path / "{subject}_{model}.h5")}
    table, _ = tables_of(tmp_path, **names, models=("base", "new"))
    gone = row(table, "ann", "new", "lmd_px")
    assert np.isnan(gone["value"])
    assert "no frame in which all models have a value" in gone["note"]


def test_all_that_may_be_the_best_are_marked(tmp_path):
    rng = np.random.default_rng(1)
    write_scores(tmp_path / "a_base.h5", 20.0)
    write_scores(tmp_path / "a_good.h5", 23.0)
    write_scores(tmp_path / "a_odd.h5", 23.0 + rng.normal(size=20))
    names = {"subjects": ("a",), "scores": str(tmp_path / "{subject}_{model}.h5")}
    table, page = tables_of(tmp_path, **names, models=("base", "good", "odd"))
    marks = {
        model: row(table, "a", model, "psnr_person")["may_be_best"]
        for model in ("base", "good", "odd")
    }
    assert marks == {"base": False, "good": True, "odd": True}
    (line,) = [x for x in page.splitlines() if x.startswith("| `psnr_person`")]
    assert line.count("**") == 4


def test_too_few_frames_mark_nobody(tmp_path):
    for model, level in (("base", 20.0), ("good", 23.0)):
        path = write_scores(tmp_path / f"a_{model}.h5", level)
        arrays = read_artifact(path, SCORES)
        arrays["frame_valid"][:, 10:] = False
        write_artifact(path, SCORES, arrays, {"step": "test"})
    names = {"subjects": ("a",), "scores": str(tmp_path / "{subject}_{model}.h5")}
    table, _ = tables_of(tmp_path, **names, models=("base", "good"))
    assert not table["may_be_best"].any()


def test_features_and_renders_of_others_are_steps_too(tmp_path):
    results_of(tmp_path, CHAIN, 1000)
    (tmp_path / "a/m/scores.h5").unlink()
    (tmp_path / "a/m/render_self_features.h5").unlink()
    assert why_missing(tmp_path, "a", "m") == "scores was not run"
    log_of(tmp_path, "a/m/render_features.log", "error: its network is damaged\n", 2000)
    assert why_missing(tmp_path, "a", "m") == "render_features: its network is damaged"
    # Who is driven by another needs that one's clip, and the render.
    assert why_missing(tmp_path, "a", "m", "b") == "frames was not run"
    log_of(tmp_path, "b/frames.log", "error: b.mp4: cannot be read\n", 2000)
    assert why_missing(tmp_path, "a", "m", "b") == "frames: b.mp4: cannot be read"
    results_of(tmp_path, [f"b/{step}" for step in CLIP_STEPS], 3000)
    results_of(tmp_path, ["a/m/render_cross_b", "a/m/cross/b/landmarks"], 4000)
    log_of(tmp_path, "a/m/cross_b_fit.log", "error: no face was found\n", 5000)
    assert why_missing(tmp_path, "a", "m", "b") == "fit: no face was found"
