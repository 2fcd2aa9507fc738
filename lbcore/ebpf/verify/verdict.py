"""What a verification found, and every step of it, to be paged through.

Rule of this file: it keeps and words; it decides nothing.

Theory. A walk can have a million steps, and a reader looks at a few of them. So a step keeps what it changed as the
values themselves, which cost nothing since they never change, and becomes text when somebody asks. Of a long walk the
first steps and the last are kept.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from lbcore.ebpf.object import Line

COLUMNS = ("step", "path", "slot", "instruction", "what changed", "note", "line")


class Change(NamedTuple):
    """A register ("r2") or a slot of the stack ("[r10-8]") and its content before and after (str() them)."""

    name: str
    before: Any
    after: Any

    def __str__(self) -> str:
        return f"{self.name} = {self.after}"


class Step(NamedTuple):
    """One instruction on one path.

    number: from 0, in the order of the walk; slot; text: disassembled; path: its number, from 0; depth: 0, or how deep
    in local calls; changes; note: which way a jump went, why a path ended; line: of the source, or None.
    """

    number: int
    slot: int
    text: str
    path: int
    depth: int
    changes: tuple[Change, ...]
    note: str
    line: Line | None

    @property
    def row(self) -> tuple[str, ...]:
        """Its cells, as COLUMNS names them."""
        line = f"{self.line.file.rsplit('/', 1)[-1]}:{self.line.line}" if self.line else ""
        changed = "; ".join(map(str, self.changes))
        return str(self.number), str(self.path), str(self.slot), "  " * self.depth + self.text, changed, self.note, line


class Record(NamedTuple):
    """A step as it was kept. place: the index of its instruction; before, after: the registers of its function;
    written: slots of the stack, as (offset from r10, before, after)."""

    number: int
    place: int
    path: int
    depth: int
    before: list[Any]
    after: list[Any]
    written: tuple[tuple[int, Any, Any], ...]
    note: str

    @property
    def changes(self) -> tuple[Change, ...]:
        registers = enumerate(zip(self.before, self.after, strict=True))
        return (
            *(Change(f"r{n}", old, new) for n, (old, new) in registers if old is not new and old != new),
            *(Change(f"[r10{base}]", old, new) for base, old, new in self.written),
        )


class Steps(Sequence[Step]):
    """The steps of a walk: the first `keep` ones and as many of the last; `omitted` in between."""

    def __init__(self, keep: int, tell: Callable[[Record], Step]) -> None:
        self.keep, self.tell = keep, tell
        self.first: list[Record] = []
        self.last: deque[Record] = deque(maxlen=keep)
        self.total = 0

    def add(self, record: Record) -> None:
        self.total += 1
        (self.first if len(self.first) < self.keep else self.last).append(record)

    @property
    def omitted(self) -> int:
        return self.total - len(self)

    def __len__(self) -> int:
        return len(self.first) + len(self.last)

    def __getitem__(self, at: Any) -> Any:
        if isinstance(at, slice):
            return [self[one] for one in range(*at.indices(len(self)))]
        at = range(len(self))[at]
        return self.tell(self.first[at] if at < len(self.first) else self.last[at - len(self.first)])

    def __iter__(self) -> Iterator[Step]:
        return (self[at] for at in range(len(self)))


@dataclass(frozen=True)
class Verdict:
    """accepted, or why not.

    reason: in words, what is wrong and what would have been right; category: one of `refusal.CATEGORIES`, or "";
    instruction, text, line: where (slot, disassembly, source line or None); registers: what was known of r0 to r10
    there, as text, those without a value left out. processed: instructions walked over; paths: how many ways were
    begun; pruned: how many of them ended where the walk had been before; stack: bytes the outermost function uses.
    steps: `Steps`; origins: path -> (the path it left, the number of the step that left it).
    """

    program: str
    accepted: bool
    reason: str
    category: str
    instruction: int | None
    text: str
    line: Line | None
    registers: dict[str, str]
    steps: Steps
    processed: int
    paths: int
    pruned: int
    stack: int
    origins: dict[int, tuple[int, int]]

    def __bool__(self) -> bool:
        return self.accepted

    def __str__(self) -> str:
        if self.accepted:
            return (
                f"{self.program}: accepted; {self.processed} instructions on {self.paths} paths, {self.pruned} of "
                f"which ended where the walk had been before; {self.stack} bytes of stack"
            )
        told = [f"{self.program}: refused ({self.category}): {self.reason}"]
        if self.line is not None:
            told += [f"  {self.line.file}:{self.line.line}", f"    {self.line.text.strip()}"]
        if self.instruction is not None:
            told.append(f"  instruction {self.instruction}: {self.text}")
        if self.registers:
            told.append("  " + "; ".join(f"{name} = {held}" for name, held in self.registers.items()))
        return "\n".join(told)

    @property
    def story(self) -> list[Step]:
        """The steps, from the first instruction on, that led to the last one: for a refusal, how it came to it."""
        if not len(self.steps):
            return []
        found: list[Step] = []
        path, until = self.steps[-1].path, self.steps.total
        spans: dict[int, int] = {}
        while path not in spans:
            spans[path] = until
            path, until = self.origins.get(path, (path, until))
        for step in self.steps:
            if step.number < spans.get(step.path, 0):
                found.append(step)
        return found

    def rows(self, start: int = 0, stop: int | None = None) -> list[tuple[str, ...]]:
        """Rows of the table of steps, cells as COLUMNS names them."""
        return [step.row for step in self.steps[start:stop]]

    def table(self, start: int = 0, stop: int | None = 40) -> str:
        """The same rows as text, aligned."""
        rows = [COLUMNS, *self.rows(start, stop)]
        widths = [max(len(row[n]) for row in rows) for n in range(len(COLUMNS))]
        lines = ("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in rows)
        return "\n".join(line.rstrip() for line in lines)
