"""Every number of a table leads back to the files and the code behind it."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from artifacts.code_digest import code_digest
from artifacts.errors import InputError
from artifacts.kinds import SCORES
from artifacts.provenance import file_digest
from artifacts.store import write_artifact
from avatar_models.registry import model_module
from evaluation.aggregate import MEAN_SUBJECT, read_score_table
from evaluation.explain import explain
from evaluation.tables import Options, main
from evaluation.trace import _code_now, sources_of

STEP = "evaluation.scores"


def write(path, values, inputs, code=None, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    write_artifact(
        path,
        SCORES,
        {
            "frame_metric": np.array(["psnr_person"]),
            "frame_metric_unit": np.array(["dB"]),
            "frame_value": np.array([values], np.float32),
            "frame_valid": np.ones((1, len(values)), bool),
            "driver_frame": np.arange(len(values), dtype=np.int32),
            "clip_metric": np.array(["training_time_s"]),
            "clip_metric_unit": np.array(["s"]),
            "clip_value": np.array([300.0]),
            "missing_metric": np.array(["lpips_alex_person"]),
            "missing_reason": np.array(["its weights are not here"]),
        },
        {
            "step": STEP,
            "options": {"out": path.name, **options},
            "inputs": inputs,
            "code": code or code_digest(STEP),
            "seed": None,
            "versions": {"numpy": "2.0"},
        },
    )
    return file_digest(path)


@pytest.fixture
def results(tmp_path):
    """Two subjects; the scores of each come from an avatar, and that from a clip and a prior that is elsewhere."""
    folder = tmp_path / "results"
    for subject, level in (("ann", 20.0), ("bob", 30.0)):
        clip = write(folder / subject / "frames.h5", [level], {})
        avatar = write(
            folder / subject / "m/avatar.h5",
            [level],
            {"frames": clip, "prior": "feedfeedfeedfeed"},
            code="0123456789ab",
            prior="tiny.safetensors",
        )
        write(
            folder / subject / "m/scores.h5", [level, level + 2], {"avatar": avatar, "frames": clip}
        )
    main(
        Options(
            scores=str(folder / "{subject}/{model}/scores.h5"),
            subjects=("ann", "bob"),
            models=("m",),
            splits=("tail-20",),
            csv=folder / "tables/scores.csv",
            markdown=folder / "tables/scores.md",
        )
    )
    return folder


def text_of(results, cell):
    return "\n".join(explain(read_score_table(results / "tables/scores.csv"), cell, results))


def test_a_cell_leads_to_its_files_and_their_code(results):
    text = text_of(results, "ann/m/psnr_person")
    assert text.startswith("ann / m / psnr_person: 21 dB")
    assert "split tail-20" in text
    assert "scores.h5 says 21, as the table does" in text
    for name in ("ann/m/scores.h5", "ann/m/avatar.h5", "ann/frames.h5"):
        assert f"{file_digest(results / name)}  {name}" in text
    assert text.count(f"  {'ann/frames.h5'}\n") == 1
    assert f"code {code_digest(STEP)} (as here)" in text
    assert "code 0123456789ab (other code is here now)" in text
    assert "feedfeedfeedfeed  prior (tiny.safetensors): not below" in text
    assert "bob" not in text


def test_code_of_a_model_counts_for_its_avatars():
    for step in ("avatar_models.train", "avatar_models.render"):
        made = {"step": step, "code": code_digest(step, model_module("monoavatar_d"))}
        assert _code_now(made) == " (as here)"
    assert _code_now({"step": "no.step", "code": "1"}) == " (there is no such step here)"


def test_a_value_of_a_whole_clip_and_a_missing_one(results):
    assert "says 300, as the table does" in text_of(results, "bob/m/training_time_s")
    text = text_of(results, "bob/m/lpips_alex_person")
    assert "nan" in text
    assert "note: missing: its weights are not here" in text


def test_a_mean_leads_to_all_subjects(results):
    text = text_of(results, f"{MEAN_SUBJECT}/m/psnr_person")
    assert text.startswith(f"{MEAN_SUBJECT} / m / psnr_person: 26 dB")
    assert "over 2 subjects" in text
    for subject in ("ann", "bob"):
        assert f"{subject}/m/scores.h5 says" in text


def test_scores_that_were_made_again_and_that_are_gone(results):
    write(results / "ann/m/scores.h5", [25.0], {"avatar": "0" * 16})
    text = text_of(results, "ann/m/psnr_person")
    assert "says 25, but the table 21: make the table again" in text
    assert f"{'0' * 16}  avatar: not below" in text
    (results / "ann/m/scores.h5").unlink()
    assert "not there, so nothing stands behind" in text_of(results, "ann/m/psnr_person")


def test_files_that_are_no_artifacts_have_no_history(tmp_path):
    (tmp_path / "clip.mp4").write_bytes(b"film")
    (tmp_path / "odd.h5").write_bytes(b"no hdf5")
    digests = {n: file_digest(tmp_path / n) for n in ("clip.mp4", "odd.h5")}
    write(tmp_path / "a.h5", [1.0], {"clip": digests["clip.mp4"], "odd": digests["odd.h5"]})
    found, lost = sources_of(tmp_path / "a.h5", tmp_path.iterdir())
    assert [source.path.name for source in found] == ["a.h5", "clip.mp4", "odd.h5"]
    assert lost == {}
    assert found[2].provenance is None


@pytest.mark.parametrize(
    ("cell", "sentence"),
    [
        ("psnr_person", "names no cell; write SUBJECT/MODEL/METRIC"),
        ("eve/m/psnr_person", "no subject 'eve'.*there are ann, bob"),
        ("ann/x/psnr_person", "no model 'x'.*there are m"),
        ("ann/m/beauty", "no metric 'beauty'.*psnr_person"),
    ],
)
def test_a_cell_that_is_not_there(results, cell, sentence):
    with pytest.raises(InputError, match=sentence):
        text_of(results, cell)


def test_the_command(results):
    table = results / "tables/scores.csv"
    command = [sys.executable, "-m", "likeness.cli", "explain", str(table), "--cell"]
    done = subprocess.run(
        [*command, "ann/m/psnr_person"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "ann/m/avatar.h5" in done.stdout
    command[4] = str(results / "none.csv")
    done = subprocess.run([*command, "a/b/c"], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith("error: ")
    assert "no such file" in done.stderr
