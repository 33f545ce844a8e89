"""What is kept of a run: one file, the same bytes for the same results."""

from __future__ import annotations

import hashlib
import json
import subprocess
from dataclasses import replace

import pytest
import yaml
from report_toy import CONFIG, MODELS, SUBJECTS, make_results, record_options

from artifacts.code_digest import ROOT
from artifacts.errors import InputError
from artifacts.kinds import RENDER
from artifacts.provenance import file_digest
from assets import licences
from assets.registry import load_registry
from evaluation import records
from evaluation.records import main, make_records, merged_config, read_records


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    return make_results(tmp_path_factory.mktemp("toy") / "results").results


@pytest.fixture(scope="module")
def content(results):
    return json.loads((results / "records.json").read_text(encoding="utf-8"))


def test_every_artifact_is_there_with_what_made_it(results, content):
    files = {
        file["file"]: file
        for place in (*content["subjects"].values(), {"files": content["shared_files"]})
        for file in (place["files"])
    }
    there = {path.relative_to(results).as_posix() for path in results.rglob("*.h5")}
    assert files.keys() == there
    assert len(there) > 4 * len(SUBJECTS) * len(MODELS)
    for name, file in files.items():
        assert file["sha256"] == hashlib.sha256((results / name).read_bytes()).hexdigest()
    render = files["ann/near/render_self.h5"]
    assert (render["kind"], render["step"]) == ("render", "tests.toy")
    assert render["version"] == "{}.{}".format(*RENDER.version)
    scores = files["ann/near/scores.h5"]
    assert scores["step"] == "evaluation.scores"
    assert len(scores["code"]) == 12
    assert scores["inputs"]["render"] == render["sha256"][:16]
    assert scores["inputs"]["render"] == file_digest(results / "ann/near/render_self.h5")
    assert scores["options"]["out"] == "scores.h5"
    assert "numpy" in scores["versions"]


def test_people_are_there_with_consent_or_named_without(content):
    people = content["subjects"]
    assert list(people) == ["ann", "bob", "cid", "una"]
    assert people["ann"]["consent"] == "form 17"
    assert people["ann"]["split"] == "insta-350@1"
    assert (people["bob"]["consent"], people["bob"]["split"]) == (None, "tail-20@1")
    assert people["bob"]["notes"] == "<i>glasses</i>"
    assert people["cid"]["role"] == "driver"
    assert people["una"]["is_made_up"]
    assert content["recordings"]["song"] == {"kind": "wav", "consent": "form 21"}
    assert content["recordings"]["wave"] == {"kind": "arkit", "consent": None}
    assert content["without_consent"] == ["bob", "cid", "wave"]


def test_the_configuration_and_the_code_are_named(results, content):
    (file,) = content["configuration"]
    digest = hashlib.sha256((results / "config.yaml").read_bytes()).hexdigest()
    assert file == {"path": "config.yaml", "sha256": digest}
    command = ["git", "-C", str(ROOT), "rev-parse", "HEAD"]
    head = subprocess.run(command, capture_output=True, text=True, check=False)
    if head.returncode == 0:
        assert content["version"]["commit"].removesuffix("-dirty") == head.stdout.strip()


def test_code_without_a_repository_has_no_commit(tmp_path, monkeypatch):
    monkeypatch.setattr(records, "ROOT", tmp_path)
    assert records._commit() is None


def test_the_same_results_give_the_same_bytes(results, tmp_path):
    main(record_options(results, out=tmp_path / "again.json"))
    assert (tmp_path / "again.json").read_bytes() == (results / "records.json").read_bytes()


def test_what_is_read_is_what_was_written(results):
    assert read_records(results / "records.json") == make_records(record_options(results))


def test_what_a_licence_forbids_is_there(results, monkeypatch):
    known = load_registry()
    grim = replace(known.asset("flame.pkl"), forbids=("use on Sundays",), remark="")
    changed = replace(known, assets={**known.assets, "flame.pkl": grim})
    monkeypatch.setattr(licences, "load_registry", lambda: changed)
    made = make_records(record_options(results, assets=("flame.pkl",)))
    assert made.restrictions == ("No use on Sundays, because of flame.pkl.",)
    assert [row.forbids for row in made.licences] == [("use on Sundays",)]
    assert make_records(record_options(results, assets=("astronaut.png",))).restrictions == ()


def test_people_of_the_sheet_and_of_several_configurations(results, tmp_path):
    above, sheet = tmp_path / "above.yaml", tmp_path / "people.tsv"
    above.write_text("subjects: {bob: {consent: form 18}}\nmodels: [near]\n")
    sheet.write_text("name\tclip\tconsent\tnotes\ndora\td.mp4\tform 19\ttired\neve\te.mp4\t\t\n")
    files = (results / "config.yaml", above)
    made = make_records(record_options(results, config=files, subject_sheet=sheet))
    assert made.subjects["bob"].consent == "form 18"
    assert made.subjects["bob"].notes == "<i>glasses</i>"
    assert made.subjects["dora"].consent == "form 19"
    assert made.without_consent == ("cid", "eve", "wave")
    assert made.subject_sheet is not None
    assert made.subject_sheet.path == "people.tsv"
    assert merged_config(files) == {
        **yaml.safe_load(CONFIG),
        "models": ["near"],
        "subjects": {
            **yaml.safe_load(CONFIG)["subjects"],
            "bob": {"video": "b.mp4", "notes": "<i>glasses</i>", "consent": "form 18"},
        },
    }


@pytest.mark.parametrize("text", [None, "- a list", "a: [", "\x00"])
def test_what_is_no_configuration_is_refused(tmp_path, text):
    if text is not None:
        (tmp_path / "c.yaml").write_text(text)
    with pytest.raises(InputError, match=r"c\.yaml: .*name (one|a configuration) with --config"):
        merged_config((tmp_path / "c.yaml",))


def test_a_damaged_artifact_is_named(results, tmp_path):
    options = make_results(tmp_path / "other")
    damaged = options.results / "ann/near/avatar.h5"
    damaged.write_bytes(damaged.read_bytes()[:1000])
    with pytest.raises(InputError, match=r"ann/near/avatar\.h5: not a readable artifact"):
        make_records(record_options(options.results))
