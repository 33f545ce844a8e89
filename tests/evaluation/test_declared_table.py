"""Declared tables: measured beside published, never mistaken for each other, with the reasons for what is missing."""

from __future__ import annotations

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
from evaluation.aggregate import COLUMNS, MEAN_SUBJECT, read_score_table
from evaluation.declared_cells import (
    aggregate,
    measured_cell,
    read_declared_cells,
    subjects_of,
)
from evaluation.declared_table import Options, latex, main
from evaluation.explain import explain_declared
from evaluation.metric_names import metric_info
from evaluation.pooled import pooled_fid
from evaluation.table_spec import Column, ModelRow, read_table_spec

# Provenance of the files that the tests write.
TESTS = {"step": "tests", "options": {}, "inputs": {}, "code": "0" * 12, "seed": None}
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
    values = {"subject": subject, "model": model, "split": "tail-20@1", "metric": metric}
    values |= {"value": value, "ci_low": value - 1, "ci_high": value + 1, "n": 20, "note": note}
    return {**values, "unit": metric_info(metric).unit, "drivers": "", "may_be_best": False}


@pytest.fixture
def made(tmp_path, toy_avatar):
    rows = [
        scores_row("ann", "new", "psnr_person", 26.0),
        scores_row("bob", "new", "psnr_person", 30.0),
        scores_row(MEAN_SUBJECT, "new", "psnr_person", 99.0),
        scores_row("ann", "new", "lpips_alex_person", np.nan, "missing: fetch alex.pth"),
        scores_row("ann", "new", "n_train_frames", 80.0),
        scores_row("ann", "new", "n_test_frames", 20.0),
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
        made = {"options": options, "split": "tail-20@1"}
        with h5py.File(path, "w") as file:
            file.attrs["artifact_kind"] = AVATAR.kind
            file.attrs["provenance_json"] = encode_provenance(made)

    return write


def test_each_cell_says_where_it_is_from(made):
    table = pd.read_csv(made["csv"]).set_index(["row", "column"])
    assert table.loc[("theirs", "PSNR"), "origin"] == "published"
    assert table.loc[("theirs", "PSNR"), "value"] == 25.71
    assert "\ntheirs,published,zed,20.1,,,,20.10," in made["csv"].read_text()
    assert table.loc[("theirs", "PSNR"), "source"] == "Them 2023, table 1"
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
    assert (
        "ours (ann): preset tiny; image_size 128, published 512; split tail-20@1; frames trained on 80; "
        "frames tested 20."
    ) in page
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
        ({"baseline": "theirs"}, "baseline is 'theirs', but the rows are ours, gone"),
        ({"aggregate": "mode"}, "column 1: unknown aggregate 'mode'; there are mean, median"),
        ({"split": "tail-30"}, "column 1: unknown split 'tail-30'"),
        ({"split": "tail-20@7"}, "split 'tail-20@7': there are versions 1 to 1 of tail-20"),
        (
            {"columns": [{"name": "a", "metric": "cross_aed_l1_mean", "aggregate": "frames"}]},
            "is a mean over drivers",
        ),
        (
            {"columns": [{"name": "a", "metric": "fid_person_pooled", "aggregate": "median"}]},
            "is one number of all subjects",
        ),
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
    assert spec.protocol


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


def write_features(path, rows, side=64):
    arrays = {
        "image_size": np.array([side, side], np.int32),
        "inception": np.asarray(rows, np.float32),
        "identity": np.zeros((len(rows), 0), np.float32),
        "identity_valid": np.zeros(len(rows), bool),
    }
    write_artifact(path, PICTURE_FEATURES, arrays, TESTS)


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
        write_artifact(folder / name / "m" / "scores.h5", SCORES, {**empty, **scores}, TESTS)


def pooled(folder, metric, drivers):
    return pooled_fid(folder, drivers, "m", metric)


def test_fid_of_several_people_is_of_their_frames_together(tmp_path):
    two_people(tmp_path, exchanged=True)
    both = pooled(tmp_path, "fid_person_pooled", {"x_1": [], "x_2": []})
    alone = [pooled(tmp_path, "fid_person_pooled", {name: []}).value for name in ("x_1", "x_2")]
    np.testing.assert_allclose(alone, 3 * 10**2, rtol=1e-4)
    # Together they are the two people again.
    assert both.value < 3
    assert (both.n_rendered, both.n_filmed, both.side_px) == (16, 16, 64)
    others = {"x_1": ["other"], "x_2": ["other"]}
    crossed = pooled(tmp_path, "cross_fid_person_pooled", others)
    assert crossed.value == pytest.approx(0, abs=1e-3)
    # A render by somebody who is not in the table any more does not count.
    write_features(tmp_path / "x_1/m/cross/gone/features.h5", np.full((20, 3), 99.0))
    assert pooled(tmp_path, "cross_fid_person_pooled", others) == crossed
    # The film of one who is never driven would stand on one side alone.
    with pytest.raises(InputError, match="x_1/m: no render is driven by another person"):
        pooled(tmp_path, "cross_fid_person_pooled", {"x_1": [], "x_2": ["other"]})


def test_fid_needs_pictures_of_one_size(tmp_path):
    two_people(tmp_path)
    write_features(tmp_path / "x_2/picture_features.h5", np.zeros((20, 3)), side=128)
    with pytest.raises(
        InputError, match=r"x_2/picture_features\.h5: its pictures are of another size"
    ):
        pooled(tmp_path, "fid_person_pooled", {"x_1": [], "x_2": []})


def test_a_star_takes_all_whose_names_begin_so_and_a_pooled_fid_stands_in_the_table(tmp_path):
    two_people(tmp_path)
    scores = pd.DataFrame(
        [scores_row(name, "m", "psnr_person", 30.0) for name in ("x_1", "x_2", "y")]
    )
    row, stars = ModelRow("ours", "m"), ("x_*",)
    column = Column("PSNR", "psnr_person", stars)
    assert subjects_of(column, scores) == (["x_1", "x_2"], "")
    assert measured_cell(row, column, scores, tmp_path, 0).value == 30
    fid = measured_cell(row, Column("FID", "fid_person_pooled", stars), scores, tmp_path, 0)
    assert fid.value == pytest.approx(0, abs=1e-3)
    assert fid.note == "16 rendered against 16 filmed frames of 64 px"
    lacking = measured_cell(row, Column("FID", "fid_person_pooled", ("y",)), scores, tmp_path, 0)
    assert np.isnan(lacking.value)
    assert "render_self_features.h5" in lacking.note
    none = measured_cell(row, Column("PSNR", "psnr_person", ("z_*",)), scores, tmp_path, 0)
    assert none.note == "no subject z_* in the scores"


def test_a_pooled_fid_leads_to_its_files(tmp_path):
    two_people(tmp_path / "results")
    scores = pd.DataFrame([scores_row(name, "m", "psnr_person", 30.0) for name in ("x_1", "x_2")])
    column = Column("FID", "fid_person_pooled")
    cell = measured_cell(ModelRow("ours", "m"), column, scores, tmp_path / "results", 0)
    text = "\n".join(explain_declared([cell], "ours/FID", scores, tmp_path / "results"))
    assert ", as the table does" in text
    for name in ("x_1/m/render_self_features.h5", "x_2/picture_features.h5"):
        assert f"  {name}\n" in text


def people(values, model="m", metric="psnr_person", split="tail-20@1", n=20):
    rows = [scores_row(name, model, metric, value) for name, value in values.items()]
    return pd.DataFrame([{**row, "split": split, "n": n} for row in rows])


def test_a_column_takes_the_subjects_of_its_split(tmp_path):
    scores = pd.concat(
        [people({"a": 20.0, "b": 30.0}), people({"c": 90.0}, split="nerface-1k@1")],
        ignore_index=True,
    )
    row = ModelRow("ours", "m")

    def cell(**options):
        return measured_cell(row, Column("x", "psnr_person", **options), scores, tmp_path, 0)

    assert (cell(split="tail-20").value, cell(split="tail-20").subjects) == (25, "a b")
    assert (cell(split="nerface-1k@1").value, cell(split="nerface-1k@1").n) == (90, 20)
    assert cell().split == "tail-20@1 nerface-1k@1"
    wrong = cell(split="tail-20", subjects=("a", "c"))
    assert wrong.note == "not of split tail-20: c (split nerface-1k@1)"
    assert cell(split="insta-100").note == "no subject of split insta-100 in the scores"


def test_several_subjects_are_aggregated_as_declared(tmp_path):
    scores = people({"a": 20.0, "b": 30.0, "c": 70.0})
    scores["n"] = [80, 10, 10]
    row = ModelRow("ours", "m")
    values = {
        how: measured_cell(row, Column("x", "psnr_person", (), how), scores, tmp_path, 0).value
        for how in ("mean", "median", "min", "max", "std", "frames")
    }
    expected = {"mean": 40, "median": 30, "min": 20, "max": 70, "frames": 26}
    assert values == pytest.approx({**expected, "std": np.std([20, 30, 70], ddof=1)})
    assert not aggregate(np.array([1.0, 2, 3]), np.ones(3), "median", 0).is_known
    scores["n"] = 1
    column = Column("x", "psnr_person", (), "frames")
    assert "no frames to aggregate" in measured_cell(row, column, scores, tmp_path, 0).note
    column = Column("x", "psnr_person", ("a",), "std")
    assert "no standard deviation" in measured_cell(row, column, scores, tmp_path, 0).note


@pytest.fixture
def judged(tmp_path):
    """Ten people, two models that differ by chance and one that is better; one of the people with frames."""
    generator = np.random.default_rng(0)
    level = dict(zip("abcdefghij", generator.normal(25, 3, 10), strict=True))
    parts = [people(level, "base")]
    parts.append(people({name: it + generator.normal(0, 0.3) for name, it in level.items()}, "odd"))
    parts.append(people({name: it + 2 for name, it in level.items()}, "good"))
    scores = pd.concat(parts, ignore_index=True)[list(COLUMNS)]
    folder = tmp_path / "results"
    (folder / "tables").mkdir(parents=True)
    scores.to_csv(folder / "tables/scores.csv", index=False)
    noise = generator.normal(0, 3, 40)
    for model, gain in (("base", 0.0), ("odd", generator.normal(0, 0.3, 40)), ("good", 2.0)):
        write_psnr(folder / "a" / model / "scores.h5", 25 + noise + gain)
    columns = [
        {"name": "all", "metric": "psnr_person"},
        {"name": "a", "metric": "psnr_person", "subjects": ["a"]},
        {"name": "two", "metric": "psnr_person", "subjects": ["a", "b"]},
        {"name": "median", "metric": "psnr_person", "aggregate": "median"},
    ]
    rows = [{"name": name, "model": name} for name in ("base", "odd", "good")]
    spec = write_spec(tmp_path, columns=columns, rows=rows, published=[], baseline="base")
    out = {kind: folder / f"tables/mine.{kind}" for kind in ("csv", "md", "tex")}
    main(
        Options(
            spec=spec,
            scores=folder / "tables/scores.csv",
            results=folder,
            csv=out["csv"],
            markdown=out["md"],
            latex=out["tex"],
        )
    )
    return out


def write_psnr(path, values):
    path.parent.mkdir(parents=True)
    empty = {k: np.zeros(0, "U1") for k in SCORES.arrays if SCORES.arrays[k].dtype == "str"}
    scores = {
        "frame_metric": np.array(["psnr_person"]),
        "frame_metric_unit": np.array(["dB"]),
        "frame_value": values[None].astype(np.float32),
        "frame_valid": np.ones((1, len(values)), bool),
        "driver_frame": np.arange(len(values), dtype=np.int32),
        "clip_value": np.zeros(0),
    }
    write_artifact(path, SCORES, {**empty, **scores}, TESTS)


def test_a_difference_from_the_baseline_that_may_be_chance_is_marked(judged):
    verdicts = {(it.row, it.column): it.verdict for it in read_declared_cells(judged["csv"])}
    for column in ("all", "a"):
        assert verdicts["odd", column] == "not significant"
        assert verdicts["good", column] == "significant"
    assert verdicts["good", "two"] == "not judged"
    assert verdicts["good", "median"] == verdicts["base", "all"] == ""
    page, text = judged["md"].read_text(), judged["tex"].read_text()
    assert "†: the difference from base is not significant" in page
    assert "‡: too few frames or subjects" in page
    (odd,) = [line for line in page.splitlines() if line.startswith("| odd")]
    assert odd.count("†") == 2
    assert r"\dag{}" in text
    assert "†" not in text


def explained(judged, cell):
    table = judged["csv"]
    command = [sys.executable, "-m", "evaluation.explain", str(table), "--cell", cell]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_a_cell_of_a_declared_table_leads_to_its_files(judged, made):
    done = explained(judged, "good/a")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("good / a, measured here\n  psnr_person of good: ")
    assert "from the baseline [+2, +2]: significant" in done.stdout
    assert "a/good/scores.h5" in done.stdout
    assert done.stdout.count("step tests") == 1
    none = explained(judged, "good/b")
    assert none.returncode == 1
    assert "write ROW/COLUMN of the rows base, odd, good and the columns all, a" in none.stderr
    cells, folder = read_declared_cells(made["csv"]), made["csv"].parent
    scores = read_score_table(folder / "scores.csv")
    lines = list(explain_declared(cells, "theirs/PSNR", scores, folder))
    assert lines[1] == "  25.71, quoted from Them 2023, table 1; it was not measured here"
