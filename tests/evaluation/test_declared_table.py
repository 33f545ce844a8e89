"""Declared tables: measured beside published, never mistaken for each other, with the reasons for what is missing."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

from artifacts.errors import InputError
from artifacts.kinds import AVATAR, PICTURE_FEATURES, SCORES
from artifacts.store import write_artifact
from evaluation.aggregate import COLUMNS, MEAN_SUBJECT
from evaluation.declared_table import Options, latex, main, measured_cell, subjects_of
from evaluation.metric_names import metric_info
from evaluation.pooled import pooled_fid
from evaluation.table_spec import Column, ModelRow, read_table_spec

PAPER = sorted(Path(__file__).resolve().parents[2].glob("evaluation/paper/*.yaml"))
SPEC = {
    "title": "Two & more",
    "columns": [
        {"name": "PSNR", "metric": "psnr_person", "subjects": ["ann"]},
        {"name": "mean", "metric": "psnr_person"},
        {"name": "LPIPS", "metric": "lpips_alex_person", "subjects": ["ann"]},
        {"name": "FID", "metric": ""},
        {"name": "zed", "metric": "psnr_person", "subjects": ["zed"]},
    ],
    "rows": [{"name": "ours", "model": "new"}, {"name": "gone", "model": "other"}],
    "published": [{"name": "theirs", "values": [25.71, None, 0.075, 12, "20.10"]}],
    "source": "Them 2023, table 1",
    "protocol": {"image_size": 512, "split": "tail-20"},
    "notes": ["100 % of it."],
}


def write_spec(folder, **changes):
    path = folder / "mine.yaml"
    path.write_text(yaml.safe_dump({**SPEC, **changes}))
    return path


def scores_row(subject, model, metric, value, note=""):
    values = {"subject": subject, "model": model, "split": "tail-20", "metric": metric}
    values |= {"value": value, "ci_low": value - 1, "ci_high": value + 1, "n": 20, "note": note}
    return {**values, "unit": metric_info(metric).unit}


@pytest.fixture
def made(tmp_path, toy_avatar):
    rows = [
        scores_row("ann", "new", "psnr_person", 26.0),
        scores_row("bob", "new", "psnr_person", 30.0),
        scores_row(MEAN_SUBJECT, "new", "psnr_person", 99.0),
        scores_row("ann", "new", "lpips_alex_person", np.nan, "missing: fetch alex.pth"),
    ]
    scores = tmp_path / "scores.csv"
    pd.DataFrame(rows)[list(COLUMNS)].to_csv(scores, index=False)
    toy_avatar(tmp_path / "results/ann/new/avatar.h5")
    out = {kind: tmp_path / f"mine.{kind}" for kind in ("csv", "md", "tex")}
    main(
        Options(
            spec=write_spec(tmp_path),
            scores=scores,
            results=tmp_path / "results",
            csv=out["csv"],
            markdown=out["md"],
            latex=out["tex"],
        )
    )
    return out


@pytest.fixture
def toy_avatar():
    def write(path):
        """The provenance is all that is read of an avatar."""
        import h5py

        from artifacts.provenance import encode_provenance

        path.parent.mkdir(parents=True)
        options = {"image_size": 128, "split": "tail-20", "preset": "tiny", "set": []}
        with h5py.File(path, "w") as file:
            file.attrs["artifact_kind"] = AVATAR.kind
            file.attrs["provenance_json"] = encode_provenance({"options": options})

    return write


def test_each_cell_says_where_it_is_from(made):
    table = pd.read_csv(made["csv"]).set_index(["row", "column"])
    assert table.loc[("theirs", "PSNR"), "origin"] == "published"
    assert table.loc[("theirs", "PSNR"), "value"] == 25.71
    assert "\ntheirs,published,zed,20.1,,,,20.10\n" in made["csv"].read_text()
    assert np.isnan(table.loc[("theirs", "PSNR"), "ci_low"])
    assert table.loc[("ours", "PSNR"), "origin"] == "measured here"
    assert table.loc[("ours", "PSNR"), ["value", "ci_low", "ci_high"]].tolist() == [26, 25, 27]
    # Of two subjects there is no interval.
    assert table.loc[("ours", "mean"), "value"] == 28
    assert table.loc[("ours", "mean"), ["ci_low", "ci_high"]].isna().all()


def test_what_is_missing_has_its_reason(made):
    notes = pd.read_csv(made["csv"]).set_index(["row", "column"])["note"]
    assert notes["ours", "LPIPS"] == "lpips_alex_person: fetch alex.pth"
    assert notes["ours", "FID"] == "nothing alike is measured here"
    assert notes["ours", "zed"] == "no subject zed in the scores"
    assert notes["gone", "PSNR"] == "no model other in the scores"
    page = made["md"].read_text()
    assert "- Missing (ours / zed): no subject zed in the scores." in page


def test_the_page_marks_published_rows_and_says_what_differs(made):
    page = made["md"].read_text()
    rows = {line.split("|")[1].strip(): line for line in page.splitlines() if line[:1] == "|"}
    assert [cell.strip() for cell in rows["*theirs* (published)"].split("|")[2:7]] == [
        *("*25.71*", "—", "*0.075*", "*12*", "*20.10*")
    ]
    assert "26.00 [25.00, 27.00]" in rows["ours (measured here)"]
    assert "*" not in rows["ours (measured here)"]
    assert "quoted from Them 2023, table 1, and were not measured here" in page
    assert "ours (ann): preset tiny; image_size 128, published 512; split tail-20." in page
    assert "PSNR ↑" in page


def test_latex_is_for_booktabs_and_escaped(made):
    text = made["tex"].read_text()
    for word in (r"\toprule", r"\midrule", r"\bottomrule", r"\caption{Two \& more}"):
        assert word in text
    assert r"\textit{theirs (published)} & \textit{25.71} & -- & \textit{0.075}" in text
    assert r"ours (measured here) & 26.00 {\scriptsize [25.00, 27.00]}" in text
    assert r"100 \% of it." in text
    assert latex("a_b\\{}^~") == r"a\_b\textbackslash{}\{\}\textasciicircum{}\textasciitilde{}"


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"titel": "x"}, "unknown key 'titel'; there are title"),
        ({"title": 3}, "title is 3, but must be str"),
        ({"rows": []}, "needs a column and a row"),
        ({"columns": [{"name": "a"}]}, "column 1: lacks the key 'metric'"),
        ({"rows": ["ours"]}, "row 1: holds no keys; there are name, model"),
        ({"columns": [{"name": "a", "metric": "psnr_persn"}]}, "unknown metric 'psnr_persn'"),
        (
            {"columns": [{"name": "a", "metric": "", "subjects": ["x", "x"]}]},
            "column 1: names a subject twice",
        ),
        ({"protocol": {"spilt": "tail-20"}}, "protocol: unknown key 'spilt'; there are preset"),
        ({"source": ""}, "source does not say where"),
        (
            {"published": [{"name": "t", "values": [1]}]},
            "published row 1: has 1 values for 5 columns",
        ),
        ({"published": [{"name": "t", "values": [True, 1, 1, 1, 1]}]}, "True is no number"),
        ({"published": [{"name": "t", "values": ["many", 1, 1, 1, 1]}]}, "'many' is no number"),
        ({"published": [{"name": "t", "values": ["1e3", 1, 1, 1, 1]}]}, "'1e3' is no number"),
        ({"published": [{"name": "t", "values": [np.nan, 1, 1, 1, 1]}]}, "nan is no number"),
        ({"rows": [{"name": "theirs", "model": "new"}]}, "there are two rows 'theirs'"),
    ],
)
def test_a_mistake_in_a_declaration_is_named(tmp_path, changes, sentence):
    with pytest.raises(InputError, match=sentence):
        read_table_spec(write_spec(tmp_path, **changes))


def test_files_that_are_no_declarations(tmp_path):
    with pytest.raises(InputError, match="No such file"):
        read_table_spec(tmp_path / "none.yaml")
    path = tmp_path / "odd.yaml"
    path.write_text("a: [")
    with pytest.raises(InputError, match="is no YAML"):
        read_table_spec(path)
    path.write_text("- a")
    with pytest.raises(InputError, match="holds no keys"):
        read_table_spec(path)


def test_the_command_ends_with_one_sentence(tmp_path):
    words = ["--spec", "none.yaml", "--scores", "s.csv", "--results", "r"]
    words += ["--csv", "a.csv", "--markdown", "a.md", "--latex", "a.tex"]
    command = [sys.executable, "-m", "evaluation.declared_table", *words]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith("error: none.yaml: No such file")


@pytest.mark.parametrize("path", PAPER, ids=lambda path: path.stem)
def test_the_declarations_of_the_papers_are_in_order(path):
    spec = read_table_spec(path)
    assert spec.published
    assert spec.source
    for column in spec.columns:
        if column.metric:
            metric_info(column.metric)
            assert column.subjects


def test_published_numbers_are_those_of_the_papers():
    """A few of them, as the papers print them."""
    specs = {path.stem: read_table_spec(path) for path in PAPER}
    assert sorted(specs) == ["monoavatar_1", "monoavatar_2", *(f"nofa_{n}" for n in range(1, 6))]
    one = {row.name: row.values for row in specs["monoavatar_1"].published}
    names = [column.name for column in specs["monoavatar_1"].columns]
    assert dict(zip(names, one["NerFACE"], strict=True))["S4 PSNR"] == "25.57"
    assert one["Ours-D"][:3] == ("0.144", "0.864", "21.92")
    two = {row.name: row.values for row in specs["monoavatar_2"].published}
    assert two["Ours-C"] == ("0.1417", "0.1457", "0.1383", "0.1550")


def write_features(path, rows):
    arrays = {
        "image_size": np.array([64, 64], np.int32),
        "inception": np.asarray(rows, np.float32),
        "identity": np.zeros((len(rows), 0), np.float32),
        "identity_valid": np.zeros(len(rows), bool),
    }
    write_artifact(path, PICTURE_FEATURES, arrays, {"step": "tests", "options": {}})


def two_people(folder, exchanged=False):
    """Two people far from each other; each is rendered as filmed, or as the other was."""
    generator = np.random.default_rng(0)
    for number, name in enumerate(("x_1", "x_2")):
        filmed = generator.standard_normal((20, 3)) + 10 * number
        write_features(folder / name / "picture_features.h5", filmed)
        rendered = filmed[12:] + (10 * (-1) ** number if exchanged else 0)
        write_features(folder / name / "m" / "render_self_features.h5", rendered)
        write_features(folder / name / "m" / "cross" / "other" / "features.h5", filmed)
        empty = {k: np.zeros(0, "U1") for k in SCORES.arrays if SCORES.arrays[k].dtype == "str"}
        scores = {
            "frame_value": np.zeros((0, 8), np.float32),
            "frame_valid": np.zeros((0, 8), bool),
            "driver_frame": np.arange(12, 20, dtype=np.int32),
            "clip_value": np.zeros(0),
        }
        write_artifact(
            folder / name / "m" / "scores.h5", SCORES, {**empty, **scores}, {"step": "tests"}
        )


def test_fid_of_several_people_is_of_their_frames_together(tmp_path):
    two_people(tmp_path, exchanged=True)
    pooled = pooled_fid(tmp_path, ["x_1", "x_2"], "m", "fid_person_pooled")
    alone = [pooled_fid(tmp_path, [name], "m", "fid_person_pooled") for name in ("x_1", "x_2")]
    np.testing.assert_allclose(alone, 3 * 10**2, rtol=1e-4)
    # Together they are the two people again.
    assert pooled < 3
    crossed = pooled_fid(tmp_path, ["x_1", "x_2"], "m", "cross_fid_person_pooled")
    assert crossed == pytest.approx(0, abs=1e-3)
    # The film of one who is never driven would stand on one side alone.
    shutil.rmtree(tmp_path / "x_1/m/cross")
    with pytest.raises(InputError, match="x_1/m: no render is driven by another person"):
        pooled_fid(tmp_path, ["x_1", "x_2"], "m", "cross_fid_person_pooled")


def test_a_star_takes_all_whose_names_begin_so_and_a_pooled_fid_stands_in_the_table(tmp_path):
    two_people(tmp_path)
    scores = pd.DataFrame(
        [scores_row(name, "m", "psnr_person", 30.0) for name in ("x_1", "x_2", "y")]
    )
    row, stars = ModelRow("ours", "m"), ("x_*",)
    column = Column("PSNR", "psnr_person", stars)
    assert subjects_of(column, ["x_1", "x_2", "y"]) == ["x_1", "x_2"]
    assert measured_cell(row, column, scores, tmp_path, 0).value == 30
    fid = measured_cell(row, Column("FID", "fid_person_pooled", stars), scores, tmp_path, 0)
    assert fid.value == pytest.approx(0, abs=1e-3)
    lacking = measured_cell(row, Column("FID", "fid_person_pooled", ("y",)), scores, tmp_path, 0)
    assert np.isnan(lacking.value)
    assert "picture_features.h5" in lacking.note
    none = measured_cell(row, Column("PSNR", "psnr_person", ("z_*",)), scores, tmp_path, 0)
    assert none.note == "no subject z_* in the scores"
