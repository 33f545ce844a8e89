"""What was measured: one row per command and point, on disk after every one of them."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, fields
from pathlib import Path

import pandas as pd

from artifacts.errors import InputError
from artifacts.text_files import write_whole

NAN = float("nan")


@dataclass(frozen=True)
class Key:
    """What was run, and on what; 0 where something does not matter.

    Attributes:
        what: step (a rule's command, alone), model (a model's training or rendering) or workflow (Snakemake's whole run).
        name: Of the rule or model.
        model: Of the avatar, where there is one.
        frames: Frames of the clip.
        side: Side of the head crop and of the avatar's pictures, pixels.
        subjects: Subjects of the workflow.
        cores: Cores that it may use.
    """

    what: str
    name: str
    model: str = ""
    frames: int = 0
    side: int = 0
    subjects: int = 0
    cores: int = 0


@dataclass(frozen=True)
class Row:
    """One measurement; a number is nan where there is none.

    Attributes:
        key: What was run.
        handled: Frames that the result holds (a render: those held out of training).
        seconds: Wall time, start-up included.
        cpu_s: Processor time.
        peak_mb: Largest resident memory, megabyte.
        frames_per_s: ``handled / seconds``.
        iterations: Of a training.
        s_per_iteration: Of a training, without start-up.
        s_per_frame: Median of a render's frames, without start-up, reading and writing.
        load: Runnable processes of the machine when it began, mean of a minute: other work beside it.
        problem: Why there are no numbers; "" where there are.
    """

    key: Key
    handled: float = NAN
    seconds: float = NAN
    cpu_s: float = NAN
    peak_mb: float = NAN
    frames_per_s: float = NAN
    iterations: float = NAN
    s_per_iteration: float = NAN
    s_per_frame: float = NAN
    load: float = NAN
    problem: str = ""


KEYS = [item.name for item in fields(Key)]
VALUES = [item.name for item in fields(Row) if item.name != "key"]
_DIGITS = {"seconds": 3, "cpu_s": 2, "peak_mb": 1, "frames_per_s": 3, "load": 2}


@dataclass
class Ledger:
    """The rows of one CSV file, which is written anew with every row."""

    path: Path
    rows: dict[Key, Row] = field(default_factory=dict)

    @classmethod
    def open(cls, path: Path) -> Ledger:
        """What the file holds already, or nothing.

        Raises:
            InputError: it is not such a file.
        """
        if not path.exists():
            return cls(path)
        types = dict.fromkeys(("what", "name", "model", "problem"), str)
        try:
            table = pd.read_csv(
                path,
                dtype=types,
                keep_default_na=False,
                na_values={v: [""] for v in VALUES if v != "problem"},
            )
        except ValueError as error:
            raise InputError(
                f"{path}: cannot be read as a table ({error}); move it away"
            ) from error
        if list(table.columns) != [*KEYS, *VALUES]:
            raise InputError(
                f"{path}: is no table of this version of benchmarks.growth; move it away or choose another folder"
            )
        rows = [
            Row(Key(*record[: len(KEYS)]), *record[len(KEYS) :])
            for record in table.itertuples(index=False, name=None)
        ]
        return cls(path, {row.key: row for row in rows})

    def has(self, key: Key) -> bool:
        """Whether it was measured; what failed was not."""
        return key in self.rows and not self.rows[key].problem

    def put(self, row: Row) -> None:
        """Add a row or replace it, and write the file."""
        self.rows[row.key] = row
        write_whole(self.path, self.table().to_csv(index=False))

    def table(self) -> pd.DataFrame:
        """All rows, sorted."""
        records = [
            asdict(row.key) | {name: getattr(row, name) for name in VALUES}
            for row in self.rows.values()
        ]
        table = pd.DataFrame(records, columns=[*KEYS, *VALUES])
        for name, digits in _DIGITS.items():
            table[name] = table[name].astype(float).round(digits)
        return table.sort_values(KEYS, kind="stable", ignore_index=True)
