"""Random adult heads of the base mesh, and its facial actions, before any alignment."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int

from preprocessing.head_models.source import read_target

# Macro targets are products of these; only adults are drawn.
AGES = ("young", "old")
GENDERS = ("male", "female")
MUSCLES = ("minmuscle", "averagemuscle", "maxmuscle")
WEIGHTS = ("minweight", "averageweight", "maxweight")
HEIGHTS = ("minheight", "maxheight")
PROPORTIONS = ("idealproportions", "uncommonproportions")
RACES = ("african", "asian", "caucasian")
LOCAL_FOLDERS = (
    "head",
    "forehead",
    "eyebrows",
    "neck",
    "eyes",
    "nose",
    "mouth",
    "ears",
    "chin",
    "cheek",
)
LOCAL_STD = 0.33
"""Spread of each local change; 1 is the end of the modeller's slider."""
SIDE_CORRELATION = 0.95
"""Correlation between the left and the right half of a two-sided local change."""


@dataclass(frozen=True)
class LocalChange:
    """A slider of the modeller: displacements towards its two ends and the slider of the other side."""

    name: str
    negative: Float[np.ndarray, "vertex 3"]
    positive: Float[np.ndarray, "vertex 3"]
    side: str


@dataclass(frozen=True)
class Targets:
    """Every displacement that random heads are mixed from, for the kept vertices only."""

    macro: Float[np.ndarray, "macro vertex 3"]
    macro_factors: list[tuple[str, ...]]
    local: list[LocalChange]


def read_targets(folder: Path, n_base: int, keep: Int[np.ndarray, " vertex"]) -> Targets:
    """Read macro and local targets of adults.

    Args:
        folder: Data folder of the package.
        n_base: Number of vertices of the base mesh.
        keep: Base-mesh indices of the vertices wanted.
    """
    targets = folder / "mpfb2/targets"
    macro, factors = [], []
    for names, path in _macro_files(targets / "macrodetails"):
        macro.append(read_target(path, n_base)[keep])
        factors.append(names)
    local = []
    described = json.loads((targets / "target.json").read_text())
    for part in LOCAL_FOLDERS:
        for category in described[part]["categories"]:
            ends = category.get("opposites", {})
            for side in ("left", "right", "unsided"):
                low, high = ends.get(f"negative-{side}"), ends.get(f"positive-{side}")
                if low and high:
                    both = [
                        read_target(targets / part / f"{end}.target.gz", n_base)[keep]
                        for end in (low, high)
                    ]
                    local.append(LocalChange(f"{part}/{category['name']}", both[0], both[1], side))
    return Targets(np.stack(macro), factors, local)


def _macro_files(folder: Path) -> list[tuple[tuple[str, ...], Path]]:
    files: list[tuple[tuple[str, ...], Path]] = []
    for gender in GENDERS:
        for age in AGES:
            files += [
                ((race, gender, age), folder / f"{race}-{gender}-{age}.target.gz") for race in RACES
            ]
            for muscle in MUSCLES:
                for weight in WEIGHTS:
                    base = (gender, age, muscle, weight)
                    name = "-".join(base)
                    files.append((base, folder / f"universal-{name}.target.gz"))
                    files += [
                        ((*base, h), folder / f"height/{name}-{h}.target.gz") for h in HEIGHTS
                    ]
                    files += [
                        ((*base, p), folder / f"proportions/{name}-{p}.target.gz")
                        for p in PROPORTIONS
                    ]
    return files


def sample_heads(
    template: Float[np.ndarray, "vertex 3"], targets: Targets, count: int, seed: int
) -> Float[np.ndarray, "sample vertex 3"]:
    """Random adults: independent phenotypes, then Gaussian local changes.

    Args:
        template: Base mesh without any target, metres.
        targets: Displacements to mix.
        count: Heads wanted.
        seed: Random seed.
    """
    random = np.random.default_rng(seed)
    factor: dict[str, np.ndarray] = {}
    factor.update(_hats(AGES, random.beta(1.0, 1.8, count)))
    factor.update(_hats(GENDERS, random.beta(0.6, 0.6, count)))
    factor.update(_hats(MUSCLES, random.beta(2.5, 2.5, count)))
    factor.update(_hats(WEIGHTS, random.beta(2.5, 2.5, count)))
    factor.update(_hats(HEIGHTS, random.beta(3.0, 3.0, count)))
    factor.update(_hats(PROPORTIONS, random.beta(3.0, 3.0, count)))
    factor.update(zip(RACES, random.dirichlet([0.6] * 3, count).T, strict=True))
    weights = [np.prod([factor[name] for name in names], axis=0) for names in targets.macro_factors]
    shared = {
        name: random.standard_normal(count)
        for name in dict.fromkeys(change.name for change in targets.local)
    }
    displacements = list(targets.macro)
    for change in targets.local:
        draw = shared[change.name]
        if change.side != "unsided":
            own = random.standard_normal(count)
            draw = np.sqrt(SIDE_CORRELATION) * draw + np.sqrt(1 - SIDE_CORRELATION) * own
        amount = np.clip(LOCAL_STD * draw, -1, 1)
        weights += [np.maximum(amount, 0), np.maximum(-amount, 0)]
        displacements += [change.positive, change.negative]
    return template + np.tensordot(np.stack(weights, 1), np.stack(displacements), axes=1)


def _hats(names: tuple[str, ...], value: Float[np.ndarray, " sample"]) -> dict[str, np.ndarray]:
    """Weights of equally spaced anchors under linear interpolation of ``value`` in 0..1."""
    place = value * (len(names) - 1)
    return {name: np.clip(1 - np.abs(place - i), 0, 1) for i, name in enumerate(names)}


def read_facial_actions(
    folder: Path, n_base: int, keep: Int[np.ndarray, " vertex"]
) -> dict[str, Float[np.ndarray, "vertex 3"]]:
    """Displacement of each facial action at full strength, by its ARKit name, in metres."""
    files = sorted((folder / "faceunits01/targets/faceunits").glob("*.target"))
    return {path.stem: read_target(path, n_base)[keep] for path in files}
