"""The readable side of the measurements: growth.md, peers.csv and the plots."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import psutil
import torch

from artifacts.text_files import write_whole
from avatar_models.device import describe_device
from benchmarks.growth.fits import (
    FLAT_MB_PER_1000,
    clip_steps,
    fit_line,
    measured,
    memory_growth,
    number,
    usual_frames,
    usual_side,
)
from benchmarks.growth.measuring import RENDERING, TRAIN
from benchmarks.growth.peers import peers_markdown, peers_table
from benchmarks.growth.plots import draw_plots

Cells = list[dict[str, object]]


def write_page(table: pd.DataFrame, folder: Path) -> None:
    """Write all that is made of the rows."""
    machine = describe_machine()
    peers = peers_table(table)
    write_whole(folder / "peers.csv", peers.to_csv(index=False))
    parts = [f"# How cost grows\n\nMeasured on {machine}. {describe_load(table)}\n"]
    steps = clip_steps(table)
    if not steps.empty:
        parts += [steps_over_frames(steps), memory_over_frames(steps), steps_over_sides(steps)]
    parts += [of_no_clip(table), models_over_sides(table), workflows(table), problems(table)]
    parts.append(
        "## Beside others\n\n" + peers_markdown(peers, f"{machine}. {describe_load(table)}")
    )
    write_whole(folder / "growth.md", "\n".join(part for part in parts if part))
    draw_plots(table, folder)


def describe_machine() -> str:
    """Processor, cores, memory, and the GPU or that there is none."""
    processor = describe_device(torch.device("cpu")).split(",")[0]
    memory_gb = psutil.virtual_memory().total / 1e9
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else "no GPU"
    return f"{processor}, {os.cpu_count()} cores, {memory_gb:.0f} GB, {gpu}"


def describe_load(table: pd.DataFrame) -> str:
    """How busy the machine was with anything, in a sentence."""
    load = table["load"].dropna()
    if load.empty:
        return ""
    return (
        f"When a measurement began, {load.min():.1f} to {load.max():.1f} processes wanted to run (mean of a minute; half of the "
        f"measurements above {load.median():.1f}): where that is more than the cores, wall times hold waiting, and processor "
        "times say more."
    )


def markdown(cells: Cells) -> str:
    """A table whose numbers are written as they are."""
    return pd.DataFrame(cells).to_markdown(index=False, disable_numparse=True) + "\n"


def look_up(rows: pd.DataFrame, column: str, value: int, wanted: str) -> str:
    """One number of the row whose ``column`` is ``value``."""
    found = rows[rows[column] == value][wanted]
    return number(float(found.iloc[0])) if len(found) else "—"


def steps_over_frames(steps: pd.DataFrame) -> str:
    """Times of each step with the length of the clip."""
    side = usual_side(steps)
    rows = steps[steps["side"] == side]
    lengths = sorted(set(rows["frames"]))
    cells: Cells = []
    for name, of_step in rows.groupby("name"):
        cell: dict[str, object] = {"step": name}
        cell |= {f"s, {n} frames": look_up(of_step, "frames", n, "seconds") for n in lengths}
        last = of_step.sort_values("frames").iloc[-1]
        cell["frames/s, longest"] = number(last["frames_per_s"])
        for column, label in (("seconds", ""), ("cpu_s", "processor ")):
            line = fit_line(of_step["frames"].tolist(), of_step[column].tolist())
            cell[f"{label}s fixed"] = number(line.fixed) if line else "—"
            cell[f"{label}ms/frame"] = number(1000 * line.per_unit) if line else "—"
        cells.append(cell)
    return (
        f"## Steps with the length of the clip ({side} pixels)\n\n{markdown(cells)}\n"
        "Frames/s: what the longest clip's result holds (of a render and its measures, a fifth of the clip) over wall time, start-up "
        "included. Fixed and per frame of the clip: a line through the lengths. Training is of the baseline.\n"
    )


def memory_over_frames(steps: pd.DataFrame) -> str:
    """Memory of each step with the length of the clip, and whether it stays flat."""
    grown = memory_growth(steps[steps["side"] == usual_side(steps)])
    if not grown:
        return ""
    cells: Cells = [
        {
            "step": memory.name,
            "frames": " → ".join(map(str, memory.frames)),
            "MB": " → ".join(f"{peak:.0f}" for peak in memory.peak_mb),
            "MB per 1000 more": f"{memory.mb_per_1000:.1f}",
            "memory": memory.verdict,
        }
        for memory in grown
    ]
    return (
        f"## Peak memory with the length of the clip\n\n{markdown(cells)}\n"
        f"Flat: less than {FLAT_MB_PER_1000:g} MB for each 1000 frames between the two longest clips. Their landmarks are 6 MB, and 11 in double precision; their pictures of 128² would be 49 MB.\n"
    )


def steps_over_sides(steps: pd.DataFrame) -> str:
    """Times and memory of each step with the side of the pictures."""
    frames = usual_frames(steps)
    rows = steps[steps["frames"] == frames]
    sides = sorted(set(rows["side"]))
    if len(sides) < 2:
        return ""
    cells: Cells = []
    for name, of_step in rows.groupby("name"):
        cell: dict[str, object] = {"step": name}
        for column, unit in (("seconds", "s"), ("cpu_s", "processor s"), ("peak_mb", "MB")):
            cell |= {f"{unit}, {side}²": look_up(of_step, "side", side, column) for side in sides}
        cells.append(cell)
    return f"## Steps with the side of the pictures ({frames} frames)\n\n{markdown(cells)}"


def of_no_clip(table: pd.DataFrame) -> str:
    """What is made once, whatever the clips."""
    rows = measured(table, "step")
    cells: Cells = [
        {
            "step": row["name"],
            "s": number(row["seconds"]),
            "processor s": number(row["cpu_s"]),
            "MB": number(row["peak_mb"]),
        }
        for _, row in rows[rows["frames"] == 0].iterrows()
    ]
    return f"## Once for all clips\n\n{markdown(cells)}" if cells else ""


def models_over_sides(table: pd.DataFrame) -> str:
    """Training and rendering of each model."""
    rows = measured(table, "model")
    cells: Cells = []
    for (name, frames, side), of_point in rows.groupby(["model", "frames", "side"]):
        by_rule = of_point.set_index("name")
        cell: dict[str, object] = {"model": name, "frames": frames, "side": side}
        values: tuple[tuple[str, str, str, Callable[[float], float]], ...] = (
            ("iterations", TRAIN, "iterations", float),
            ("ms/iteration", TRAIN, "s_per_iteration", lambda s: 1000 * s),
            ("training MB", TRAIN, "peak_mb", float),
            ("s/frame", RENDERING, "s_per_frame", float),
            ("frames/s", RENDERING, "s_per_frame", lambda s: 1 / s),
            ("rendering MB", RENDERING, "peak_mb", float),
        )
        for label, rule, column, change in values:
            known = rule in by_rule.index
            cell[label] = number(change(float(by_rule.loc[rule, column]))) if known else "—"
        cell["load"] = " and ".join(number(load) for load in by_rule["load"])
        cells.append(cell)
    if not cells:
        return ""
    return (
        f"## Models (preset tiny, trainings stopped early)\n\n{markdown(cells)}\n"
        "Iterations: as many as the training took, over its own time, without start-up. A frame: the median over the held-out frames, "
        "without start-up, reading and writing. Load: processes that wanted to run when training and rendering began.\n"
    )


def workflows(table: pd.DataFrame) -> str:
    """Snakemake's whole run of toy subjects."""
    rows = measured(table, "workflow").sort_values(["subjects", "cores"])
    if rows.empty:
        return ""
    cells: Cells = [
        {
            "subjects": row["subjects"],
            "workers": row["cores"],
            "s": number(row["seconds"]),
            "s/subject": number(row["seconds"] / row["subjects"]),
            "processor s/subject": number(row["cpu_s"] / row["subjects"]),
            "MB": number(row["peak_mb"]),
            "load": number(row["load"]),
        }
        for _, row in rows.iterrows()
    ]
    text = f"## Whole workflow of toy subjects (30 frames of 64 pixels, the baseline, clip to report)\n\n{markdown(cells)}"
    for cores, of_cores in rows.groupby("cores"):
        line = fit_line(of_cores["subjects"].tolist(), of_cores["seconds"].tolist())
        if line:
            text += f"\nWorkers: {cores}. Time: {line.fixed:.0f} s, and {line.per_unit:.1f} s for each subject.\n"
    return text


def problems(table: pd.DataFrame) -> str:
    """What could not be measured, and why."""
    rows = table[table["problem"] != ""]
    keys = ["name", "model", "frames", "side", "subjects", "cores", "problem"]
    if rows.empty:
        return ""
    return "## Not measured\n\n" + rows[keys].to_markdown(index=False, disable_numparse=True) + "\n"
