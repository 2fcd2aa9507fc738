"""What a check found, in the one form that every check uses."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Problem:
    """One finding: where, what, and what to do about it."""

    path: str
    cell: str  # empty when it is about the whole notebook
    what: str
    mend: str

    def __str__(self) -> str:
        where = f"{self.path}: {self.cell}" if self.cell else self.path
        return f"{where}: {self.what}\n    to mend: {self.mend}"
