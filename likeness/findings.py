"""What the doctor finds: one line each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Status = Literal["ok", "warning", "error"]


@dataclass(frozen=True)
class Finding:
    """One line of the doctor.

    Attributes:
        status: ``error`` where the chosen configuration cannot run, ``warning`` where it can but may not do what is meant.
        what: What was looked at, a word or two.
        text: What was seen; for anything but ``ok`` also what to do.
    """

    status: Status
    what: str
    text: str

    def __str__(self) -> str:
        return f"{self.status:7}  {self.what}: {self.text}"
