"""The benchmark of growth: plans, measurements of one command, failing points, fits, the table of peers, refusals."""

from __future__ import annotations

import os
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from artifacts.errors import InputError
from benchmarks.growth import __main__ as command
from benchmarks.growth import measuring
from benchmarks.growth.fits import fit_line, memory_growth
from benchmarks.growth.jobs import Job, measure, parse_plan, run_job
from benchmarks.growth.ledger import Key, Ledger, Row
from benchmarks.growth.page import write_page
from benchmarks.growth.peers import MEASURED, NONE, QUOTED, peers_table, quoted_systems
from benchmarks.growth.points import Point, make_clip
from media.video import decode_frames, probe

PLAN = """Building DAG of jobs...
[Mon Nov 23 09:03:33 2026]
localrule asset:
    output: results/assets/net.tflite
    log: results/logs/assets/net.tflite.log
    wildcards: asset=net.tflite
Shell command: python -m assets.fetch --name net.tflite

[Mon Nov 23 09:03:34 2026]
rule train_avatar:
    input: results/anna/frames.h5, results/anna/matte.h5
    output: results/anna/monoavatar_d/avatar.h5
    log: results/logs/anna/monoavatar_d/train_avatar.log
    wildcards: subject=anna, model=monoavatar_d
    threads: 2
    resources: tmpdir=/tmp, mem_mb=6000
Shell command: python -m avatar_models.train --set 'steps=3, 4' 2>&1 | tee log

[Mon Nov 23 09:03:34 2026]
rule all:
    input: results/anna/monoavatar_d/avatar.h5
    jobid: 0
"""


def test_a_plan_is_read():
    fetch, train = parse_plan(PLAN)
    assert (fetch.name, fetch.threads, fetch.inputs, fetch.model) == ("asset", 1, (), "")
    assert train == Job(
        name="train_avatar",
        command="python -m avatar_models.train --set 'steps=3, 4' 2>&1 | tee log",
        outputs=("results/anna/monoavatar_d/avatar.h5",),
        inputs=("results/anna/frames.h5", "results/anna/matte.h5"),
        log="results/logs/anna/monoavatar_d/train_avatar.log",
        threads=2,
        model="monoavatar_d",
    )


def test_the_plan_of_a_real_project_is_read(tmp_path):
    """Snakemake's text is what it was when this was written: every step is found, with its threads and log."""
    from benchmarks.growth.jobs import plan_jobs
    from benchmarks.growth.points import write_toy

    write_toy(tmp_path, 1)
    jobs = {job.name: job for job in plan_jobs(tmp_path, 2, ["results/tables/scores.csv"])}
    expected = {"asset", "head_model", "frames", "landmarks", "matte", "face_fit", "filmed_fit"}
    expected |= {"train_avatar", "render_avatar", "render_landmarks", "render_fit", "scores"}
    assert set(jobs) == expected | {"tables"}
    assert jobs["face_fit"].threads == 2
    assert jobs["frames"].threads == 1
    assert "results/toy0000/frames.h5" in jobs["matte"].inputs
    assert jobs["scores"].model == "nearest_frame"
    for job in jobs.values():
        assert job.command.startswith("python -m ")
        assert job.log.endswith(".log")
        assert job.outputs


def python(code: str) -> list[str]:
    return [sys.executable, "-c", code]


def test_a_command_is_measured(tmp_path):
    small = measure(python("pass"), tmp_path, 60)
    large = measure(python("x = bytearray(300_000_000)"), tmp_path, 60)
    assert small.status == large.status == 0
    # The kernel's own count, so that what is there for an instant is seen.
    assert 250 < large.peak_mb - small.peak_mb < 350
    busy = measure(python("import time\nwhile time.process_time() < 1: pass"), tmp_path, 60)
    assert 1 <= busy.cpu_s < 2
    assert busy.seconds >= 1


def test_children_count_together(tmp_path):
    child = "import time; x = bytearray(100_000_000); time.sleep(1.5)"
    both = f"import subprocess, sys; p = [subprocess.Popen([sys.executable, '-c', {child!r}]) for _ in '12']; [q.wait() for q in p]"
    assert measure(python(both), tmp_path, 60).peak_mb > 200


def test_a_command_that_takes_too_long_is_stopped_with_its_children(tmp_path):
    started = time.perf_counter()
    usage = measure(["bash", "-c", "sleep 60 | sleep 61"], tmp_path, 0.5)
    assert usage.status < 0
    assert time.perf_counter() - started < 10
    log = tmp_path / "none.log"
    assert measuring.why_failed(usage, log, 0.5).startswith("stopped after 0.00833")


def test_a_job_starts_from_nothing_and_has_its_threads(tmp_path, monkeypatch):
    monkeypatch.delenv("OMP_WAIT_POLICY", raising=False)
    job = Job(
        "train_avatar",
        "echo $OMP_NUM_THREADS $OMP_WAIT_POLICY > out/avatar.h5",
        ("out/avatar.h5",),
        (),
        "logs/a.log",
        2,
        "m",
    )
    (tmp_path / "out").mkdir()
    (tmp_path / "out/avatar.checkpoint.pt").write_text("half a training")
    (tmp_path / "out/render_self.h5").write_text("another job's")
    assert run_job(job, tmp_path, 60).status == 0
    assert (tmp_path / "out/avatar.h5").read_text() == "2 PASSIVE\n"
    assert sorted(os.listdir(tmp_path / "out")) == ["avatar.h5", "render_self.h5"]


def settings(folder: Path) -> measuring.Settings:
    return measuring.Settings(folder=folder, minutes=0.1, limit_s=60, cores=2, device="cpu")


def planned(*jobs: Job):
    return lambda *_: list(jobs)


def job(name: str, command: str, inputs: tuple[str, ...] = ()) -> Job:
    return Job(name, command, (f"results/{name}.md",), inputs, f"results/{name}.log", 1, "")


def test_a_failed_point_is_reported_and_the_others_go_on(tmp_path, monkeypatch):
    log = "> results/matte.log"
    jobs = (
        job("matte", f"echo 'error: no face is seen' {log}; exit 1"),
        job("scores", "touch results/scores.md", ("results/matte.md",)),
        job("tables", "touch results/tables.md; echo x >> count"),
    )
    monkeypatch.setattr(measuring, "plan_jobs", planned(*jobs))
    monkeypatch.setattr(
        measuring, "write_config", lambda *_: (tmp_path / "project").mkdir(exist_ok=True)
    )
    ledger = Ledger.open(tmp_path / "growth.csv")
    points = [Point(100, 64), Point(200, 64)]
    measuring.measure_steps(settings(tmp_path), ledger, points, ())
    table = pd.read_csv(tmp_path / "growth.csv")
    found = table.set_index(["name", "frames"])["problem"]
    assert found["matte", 100] == "exit status 1: error: no face is seen"
    assert found["scores", 200] == "not run: results/matte.md is missing"
    assert found[["tables"]].isna().all()
    assert (table.loc[table["name"] == "tables", "seconds"] > 0).all()
    # What was measured is not measured again; what failed is tried again.
    again = Ledger.open(tmp_path / "growth.csv")
    mended = (job("matte", "touch results/matte.md"), *jobs[1:])
    monkeypatch.setattr(measuring, "plan_jobs", planned(*mended))
    monkeypatch.setattr(measuring, "_OF_WHOLE_CLIP", ("scores",))
    measuring.measure_steps(settings(tmp_path), again, points, ())
    assert not pd.read_csv(tmp_path / "growth.csv")["problem"].notna().any()
    assert (tmp_path / "project/count").read_text() == "x\n" * 2


def test_an_unknown_step_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(measuring, "plan_jobs", planned(job("matte", "exit 1")))
    monkeypatch.setattr(measuring, "write_config", lambda *_: None)
    ledger = Ledger.open(tmp_path / "growth.csv")
    with pytest.raises(InputError, match=r"^--steps mat: no such step .*; there are matte$"):
        measuring.measure_steps(settings(tmp_path), ledger, [Point(100, 64)], ["matte", "mat"])
    assert not ledger.rows


def test_a_project_that_is_refused_is_a_failed_point(tmp_path, monkeypatch):
    def refuse(*_):
        raise InputError("the plan failed: no such model")

    monkeypatch.setattr(measuring, "plan_jobs", refuse)
    monkeypatch.setattr(measuring, "write_config", lambda *_: None)
    ledger = Ledger.open(tmp_path / "growth.csv")
    measuring.measure_models(settings(tmp_path), ledger, [Point(100, 64)], ["nearest_frame"])
    (row,) = ledger.rows.values()
    assert row.problem == "the plan failed: no such model"


def step(name: str, frames: int, seconds: float, peak_mb: float, **values) -> Row:
    key = Key("step", name, "", frames, values.pop("side", 128), 0, 2)
    row = Row(key, frames, seconds, seconds, peak_mb, frames / seconds, load=1.0)
    return replace(row, **values)


def model(name: str, side: int) -> list[Row]:
    train = Row(
        Key("model", "train_avatar", name, 100, side, 0, 2),
        seconds=40,
        cpu_s=60,
        peak_mb=900,
        iterations=200,
        s_per_iteration=0.15,
    )
    render = Row(
        Key("model", "render_avatar", name, 100, side, 0, 2), 20, 5, 6, 500, 4, s_per_frame=0.04
    )
    return [train, render]


def made_up(path: Path) -> Ledger:
    ledger = Ledger.open(path)
    rows = [step("landmarks", n, 3 + 0.01 * n, 300) for n in (100, 1000, 10000)]
    rows += [step("matte", n, 2 + 0.02 * n, 250 + 0.05 * n) for n in (100, 1000, 10000)]
    rows += [step("face_fit", n, 8 + 0.05 * n, 800) for n in (100, 1000)]
    rows += [step("face_fit", 10000, np.nan, np.nan, problem="stopped after 60 minutes")]
    rows += [step("landmarks", 100, 5.0, 310, side=256)]
    rows += [*model("monoavatar_d", 64), *model("monoavatar_d", 128)]
    rows += [Row(Key("step", "head_model", cores=2), seconds=40, cpu_s=37, peak_mb=1100)]
    rows += [
        Row(
            Key("workflow", "workflow", "nearest_frame", 30, 64, n, cores),
            30 * n,
            40 + 30 * n / cores,
            60 * n,
            900,
            load=2,
        )
        for n, cores in ((1, 2), (3, 1), (3, 2), (10, 2))
    ]
    for row in rows:
        ledger.put(row)
    return ledger


def test_rows_come_back_as_they_were_written(tmp_path):
    ledger = made_up(tmp_path / "growth.csv")
    again = Ledger.open(tmp_path / "growth.csv")
    pd.testing.assert_frame_equal(again.table(), ledger.table())
    assert again.has(Key("step", "matte", "", 1000, 128, 0, 2))
    assert not again.has(Key("step", "face_fit", "", 10000, 128, 0, 2))


@pytest.mark.parametrize("text", ["", "a,b\n1,2\n", "what,name\nstep\n"])
def test_another_table_is_refused_in_a_sentence(tmp_path, text):
    path = tmp_path / "growth.csv"
    path.write_text(text)
    with pytest.raises(InputError, match=r"growth\.csv: .*move it away"):
        Ledger.open(path)
    assert path.read_text() == text


def test_a_line_tells_start_up_from_frames():
    line = fit_line([100, 1000, 10000], [4, 13, 103])
    assert line is not None
    assert (line.fixed, line.per_unit) == (pytest.approx(3), pytest.approx(0.01))
    assert fit_line([100, 100], [4, 5]) is None


def test_memory_that_grows_is_said_to(tmp_path):
    table = made_up(tmp_path / "growth.csv").table()
    steps = table[(table["what"] == "step") & (table["side"] == 128) & (table["problem"] == "")]
    found = {memory.name: memory for memory in memory_growth(steps)}
    assert found["landmarks"].verdict == "flat"
    assert found["matte"].verdict == "NOT flat"
    assert found["matte"].mb_per_1000 == pytest.approx(50)
    assert found["face_fit"].frames == (100, 1000)
    short = [step("matte", 100, 1, 100), step("matte", 500, 1, 101)]
    rows = [{"name": r.key.name, "frames": r.key.frames, "peak_mb": r.peak_mb} for r in short]
    (few,) = memory_growth(pd.DataFrame(rows))
    assert few.verdict == "clips too short to tell"


def test_memory_that_first_fills_a_window_is_flat_beyond_it():
    peaks = ((100, 464.0), (3000, 1469.0), (10000, 1500.0))
    rows = [{"name": "face_fit", "frames": frames, "peak_mb": peak} for frames, peak in peaks]
    (memory,) = memory_growth(pd.DataFrame(rows))
    assert memory.peak_mb == (464, 1469, 1500)
    assert memory.mb_per_1000 == pytest.approx(31 / 7)
    assert memory.verdict == "flat"
    (shorter,) = memory_growth(pd.DataFrame(rows[:2]))
    assert shorter.verdict == "NOT flat"


def test_peers_are_quoted_and_never_mixed_with_measurements(tmp_path):
    peers = peers_table(made_up(tmp_path / "growth.csv").table())
    measured, quoted = (peers[peers["origin"] == origin] for origin in (MEASURED, QUOTED))
    assert len(measured) + len(quoted) == len(peers)
    assert measured["system"].str.startswith("likeness: ").all()
    assert not quoted["system"].str.contains("likeness").any()
    assert {"INSTA (2023)", "VHAP", "ER-NeRF (2023)"} <= set(quoted["system"])
    avatar = measured[measured["system"] == "likeness: monoavatar_d"].iloc[0]
    assert avatar["training"] == "150 ms/iteration at 128²"
    assert avatar["rendering"] == "25 fps at 128²"
    # (3 + 10) + (2 + 20) + (8 + 50) seconds over 1000 frames; the longest clip has no fit.
    track = measured[measured["tracking"] != NONE].iloc[0]
    assert track["tracking"] == "0.093 s/frame (1000 frames of 128², start-up included)"


def test_every_peer_says_something():
    for peer in quoted_systems():
        assert {peer.training, peer.rendering, peer.tracking, peer.quality} != {NONE}, peer


def test_the_page_shows_all_of_it(tmp_path):
    ledger = made_up(tmp_path / "growth.csv")
    write_page(ledger.table(), tmp_path)
    text = (tmp_path / "growth.md").read_text(encoding="utf-8")
    assert "|matte|100→1000→10000|255→300→750|50.0|NOTflat|" in text.replace(" ", "")
    assert "stopped after 60 minutes" in text
    assert "*< 10 min on a 3090*" in text
    assert "Workers: 2. Time: 40 s, and 15.0 s for each subject." in text
    names = ("steps_frames", "steps_sides", "models_sides", "workflow")
    for name in names:
        assert (tmp_path / f"{name}.png").read_bytes().startswith(b"\x89PNG")


def test_a_page_of_nothing_has_the_peers(tmp_path):
    write_page(Ledger.open(tmp_path / "growth.csv").table(), tmp_path)
    assert "RGBAvatar" in (tmp_path / "growth.md").read_text(encoding="utf-8")


def test_a_clip_has_its_frames_and_sound(tmp_path):
    path = tmp_path / "clip.mp4"
    make_clip(Point(270, 256), path)
    info = probe(path)
    frames = np.concatenate([frame[None] for frame in decode_frames(info, 25.0)])
    assert len(frames) == 270
    assert min(frames.shape[1:3]) >= 256
    # To and fro: the 240 frames of one swing come back.
    assert np.abs(frames[245].astype(int) - frames[5]).mean() < 2
    assert np.abs(frames[200].astype(int) - frames[39]).mean() < 2
    assert np.abs(frames[60].astype(int) - frames[5]).mean() > 4


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"frames": (100, 0)}, r"^--frames 100 0 must be 30 or more each: .*$"),
        ({"frames": ()}, "^--frames .*"),
        ({"sides": (63,)}, "^--sides 63 must be 64"),
        ({"side": 129}, "^--side and --sides must be even"),
        ({"minutes": 0}, "above 0$"),
        ({"models": ("gaussian",)}, "^--models gaussian: not registered; there are hfa_gp_3dmm"),
    ],
)
def test_wrong_options_are_refused_in_one_sentence(tmp_path, change, sentence):
    with pytest.raises(InputError, match=sentence) as refusal:
        command.main(replace(command.Options(out=tmp_path / "out"), **change))
    assert "\n" not in str(refusal.value)
    assert not (tmp_path / "out").exists()


def test_an_interruption_keeps_what_was_measured(tmp_path, monkeypatch):
    def interrupted(options, ledger):
        ledger.put(step("frames", 100, 4.0, 320))
        raise KeyboardInterrupt

    monkeypatch.setattr(command, "measure_all", interrupted)
    with pytest.raises(SystemExit, match="the same command goes on from there"):
        command.main(command.Options(out=tmp_path))
    assert Ledger.open(tmp_path / "growth.csv").has(Key("step", "frames", "", 100, 128, 0, 2))
    assert "frames" in (tmp_path / "growth.md").read_text(encoding="utf-8")
