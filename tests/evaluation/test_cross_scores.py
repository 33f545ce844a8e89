import numpy as np
import pandas as pd
import pytest
from scipy.spatial.transform import Rotation
from scored_toy import BY_TEST, make_toy_render
from test_scores import clip_value, frame_values, made_up_features
from toy import make_toy_subject

from artifacts.errors import InputError
from artifacts.kinds import FACE_FIT, SCORES
from artifacts.store import read_artifact, write_artifact
from evaluation import tables
from evaluation.aggregate import MEAN_SUBJECT
from evaluation.cross_scores import Options, main
from evaluation.explain import explain
from evaluation.scores import main as score_self


@pytest.fixture(scope="module")
def subject(tmp_path_factory):
    return make_toy_subject(tmp_path_factory.mktemp("subject"), n_frames=30, size=64)


def score(render, driver_fit, out=None, **options):
    out = out or render.folder / "cross_scores.h5"
    main(
        Options(
            render=render.render,
            avatar=render.avatar,
            render_landmarks=render.landmarks,
            render_fit=render.fit,
            driver_fit=driver_fit,
            out=out,
            **options,
        )
    )
    return read_artifact(out, SCORES)


def other_driver(subject, path, expression=0.0, turn_rad=0.0):
    """The fit of somebody who moves like the subject, with another resting face and another way of holding the head."""
    fit = read_artifact(subject.face_fit, FACE_FIT)
    fit["expression"] = fit["expression"] + np.float32(expression)
    turn = Rotation.from_rotvec([0, turn_rad, 0]).as_matrix()
    fit["world_from_head"][:, :3, :3] = turn @ fit["world_from_head"][:, :3, :3]
    write_artifact(path, FACE_FIT, fit, BY_TEST)
    return path


def test_who_follows_exactly_has_no_distance(subject, tmp_path):
    scores = score(make_toy_render(subject, tmp_path), subject.face_fit)
    for metric in ("aed_l1_mean", "aed_change_l1_mean", "apd_geodesic_rad", "apd_pose6_l1"):
        assert np.abs(frame_values(scores, f"cross_{metric}")).max() < 1e-5
    assert clip_value(scores, "cross_landmark_detected_share") == 1
    assert "cross_jitter_render_px" in scores["clip_metric"].tolist()
    assert all(name.startswith("cross_") for name in scores["frame_metric"].tolist())


def test_a_resting_face_counts_in_the_plain_distances_and_not_in_those_of_change(subject, tmp_path):
    driver = other_driver(subject, tmp_path / "driver.h5", expression=0.25, turn_rad=0.2)
    scores = score(make_toy_render(subject, tmp_path), driver)
    np.testing.assert_allclose(frame_values(scores, "cross_aed_l1_mean"), 0.25, rtol=1e-4)
    np.testing.assert_allclose(frame_values(scores, "cross_apd_geodesic_rad"), 0.2, rtol=1e-4)
    assert frame_values(scores, "cross_aed_change_l1_mean").max() < 1e-5
    assert frame_values(scores, "cross_apd_change_geodesic_rad").max() < 1e-5


def test_identity_is_compared_with_the_avatars_person(subject, tmp_path):
    render = make_toy_render(subject, tmp_path)
    scores = score(render, subject.face_fit)
    missing = scores["missing_metric"].tolist()
    assert {"cross_fid_person", "cross_csim_source"} <= set(missing)
    scores = score(render, subject.face_fit, features=made_up_features(tmp_path))
    np.testing.assert_allclose(frame_values(scores, "cross_csim_source"), 0.6, rtol=1e-5)
    # Against all 30 filmed frames: not the 0 of the six that the features of the render were copied from.
    assert clip_value(scores, "cross_fid_person") > 0.1


def test_files_that_do_not_belong_together_are_refused(subject, tmp_path):
    render = make_toy_render(subject, tmp_path)
    short = make_toy_subject(tmp_path / "short", n_frames=20, size=64)
    with pytest.raises(InputError, match=r"frame 29 is not in .*face_fit\.h5"):
        score(render, short.face_fit)
    fit = read_artifact(subject.face_fit, FACE_FIT)
    fit["expression"] = fit["expression"][:, :-1]
    write_artifact(tmp_path / "other.h5", FACE_FIT, fit, BY_TEST)
    with pytest.raises(InputError, match="two head models"):
        score(render, tmp_path / "other.h5")


@pytest.fixture(scope="module")
def results(subject, tmp_path_factory):
    """Ann's avatar, driven by two others."""
    from evaluation.scores import Options as SelfOptions

    results = tmp_path_factory.mktemp("results")
    folder = results / "ann" / "toy"
    render = make_toy_render(subject, folder)
    score_self(
        SelfOptions(
            render=render.render,
            avatar=render.avatar,
            frames=subject.frames,
            matte=subject.matte,
            landmarks=subject.landmarks,
            face_fit=subject.face_fit,
            head_model=subject.head_model,
            render_landmarks=render.landmarks,
            render_fit=render.fit,
            filmed_fit=subject.face_fit,
            out=folder / "scores.h5",
        )
    )
    for name, shift in (("bob", 0.1), ("cid", 0.3)):
        (results / name).mkdir()
        fit = other_driver(subject, results / name / "filmed_fit.h5", expression=shift)
        score(render, fit, folder / "cross" / name / "scores.h5")
    tables.main(
        tables.Options(
            scores=str(results / "{subject}/{model}/scores.h5"),
            subjects=("ann",),
            models=("toy",),
            splits=("tail-20",),
            csv=results / "tables/scores.csv",
            markdown=results / "tables/scores.md",
            drivers=("ann", "bob", "cid", "dora"),
        )
    )
    return results


def test_the_table_has_the_mean_over_the_drivers(results):
    table = pd.read_csv(results / "tables/scores.csv").set_index("metric")
    row = table.loc["cross_aed_l1_mean"]
    assert row["value"] == pytest.approx(0.2, rel=1e-4)
    assert row["n"] == 2
    # Two drivers say nothing about others.
    assert np.isnan(row["ci_low"])
    assert "scores: {fid: true}" in table.loc["cross_fid_person"]["note"]
    assert MEAN_SUBJECT not in set(table["subject"])
    page = (results / "tables/scores.md").read_text(encoding="utf-8")
    assert "`cross_aed_l1_mean` ↓" in page


def tables_of_failed_run(results, folder, **options):
    logs = results / "logs/ann/toy"
    logs.mkdir(parents=True, exist_ok=True)
    (logs / "cross_cid_scores.log").write_text("error: no face\n")
    tables.main(
        tables.Options(
            scores=str(results / "{subject}/{model}/scores.h5"),
            splits=("tail-20",),
            csv=folder / "scores.csv",
            markdown=folder / "scores.md",
            results=results,
            **options,
        )
    )
    return pd.read_csv(folder / "scores.csv", keep_default_na=False).set_index("metric")


def test_a_failed_run_names_the_drivers_that_are_missing_and_why(results, tmp_path, monkeypatch):
    """Bob's scores are of this run, Cid's failed, Dora was never begun; Eve only drives, and nobody asked for her."""
    monkeypatch.setattr(tables, "are_outdated", lambda *names: names[-1] == "cid")
    table = tables_of_failed_run(
        results,
        tmp_path,
        subjects=("ann", "cid", "dora"),
        models=("toy",),
        drivers=("ann", "bob", "cid", "dora", "eve"),
    )
    row = table.loc["cross_aed_l1_mean"].iloc[0]
    assert float(row["value"]) == pytest.approx(0.1, rel=1e-4)
    assert row["drivers"] == "bob"
    assert row["note"].startswith("without the drivers cid (")
    assert "dora (" in row["note"]
    assert "eve" not in row["note"]


def test_people_of_another_head_model_are_not_missed(results, tmp_path, monkeypatch):
    monkeypatch.setattr(tables, "are_outdated", lambda *_: False)
    table = tables_of_failed_run(
        results,
        tmp_path,
        subjects=("ann", "dora"),
        models=("toy",),
        drivers=("ann", "bob", "dora"),
        head_models=("anny", "anny", "flame"),
    )
    assert table.loc["cross_aed_l1_mean"].iloc[0]["note"] == ""


def test_a_mean_over_drivers_is_explained_to_the_drivers_clips(results):
    table = pd.read_csv(
        results / "tables/scores.csv", keep_default_na=False, na_values={"value": ""}
    )
    for name in ("ci_low", "ci_high"):
        table[name] = pd.to_numeric(table[name])
    text = "\n".join(explain(table, "ann/toy/cross_aed_l1_mean", results))
    assert "their mean says 0.2, as the table does" in text
    assert "bob/scores.h5: 0.1" in text
    assert "cid/filmed_fit.h5" in text
    text = "\n".join(explain(table, "ann/toy/cross_fid_person", results))
    assert "ann: no render that another person drives has a value" in text
