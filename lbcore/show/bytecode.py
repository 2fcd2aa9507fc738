"""A BPF program as a page shows it: each source line above the instructions that it became, one of them marked.

Rule of this file: it draws a program; what happens in it is said by whoever runs or judges it.

Trap. Pages that were not run here lose style sheets, so there are only tables with inline styles, and every colour
comes with its ink: pages may be dark. The marked row also has an arrow: colour is never the only sign.
"""

from __future__ import annotations

import textwrap
from collections.abc import Collection
from html import escape
from typing import Any, NamedTuple

from lbcore.ebpf import program as programs
from lbcore.ebpf.object import Object

MARKED = "background-color: #fbe0ad; color: #111111; font-weight: bold"
DONE = "background-color: #e6e6e6; color: #111111"
CELL = "padding: 0 6px; text-align: left; white-space: pre; border: none"
TABLE = "border-collapse: collapse; font-family: monospace; font-size: 13px; line-height: 1.45"
PLAIN = "background-color: transparent"
LINE = 56  # characters of a source line
SHOWN = 24  # instructions; of a longer program, those around the marked one


class Row(NamedTuple):
    """An instruction: its slot, what it says, the source line that it came from ("" where there is none), and the
    slot that it may jump to (-1 where it does not)."""

    slot: int
    text: str
    line: str
    target: int


def linked(program: Any) -> Any:
    """What can be run or judged, of a decorated function, an object file, a program of one, or plain bytes."""
    program = getattr(program, "object", program)
    return program.program if isinstance(program, Object) else program


def rows(program: Any) -> list[Row]:
    """The instructions of a program (see `linked`)."""
    program = linked(program)
    checked = programs.check(program if isinstance(program, bytes) else program.code)
    line_of = getattr(program, "line_of", lambda slot: None)
    lines = [line_of(slot) for slot in checked.slots[: len(checked.texts)]]
    targets = {index: checked.slots[target] for index, target in checked.targets.items()}
    return [
        Row(slot, text, line.text.strip() if line else "", targets.get(index, -1))
        for index, (slot, text, line) in enumerate(zip(checked.slots, checked.texts, lines, strict=False))
    ]


def window(program: list[Row], marked: int | None) -> list[Row]:
    """The rows to draw: all, or SHOWN of them around the slot `marked`."""
    if len(program) <= SHOWN:
        return program
    at = next((i for i, row in enumerate(program) if row.slot == marked), 0)
    first = max(0, min(at - SHOWN // 2, len(program) - SHOWN))
    return program[first : first + SHOWN]


def listing(
    program: list[Row],
    marked: int | None,
    *,
    seen: Collection[int] = (),
    caption: str = "the program",
) -> str:
    """HTML. `marked` is the slot with the arrow; those in `seen` are grey."""
    drawn, line, out = window(program, marked), "", []
    for row in drawn:
        if row.line != line:
            line = row.line
            words = escape(textwrap.shorten(line, LINE, placeholder=" …")) or "(no line of the source)"
            out.append(f'<tr style="{PLAIN}"><td colspan="4" style="{CELL}; padding-top: 4px"><i>{words}</i></td></tr>')
        here = row.slot == marked
        look = MARKED if here else DONE if row.slot in seen else PLAIN
        cells = ("▶" if here else "", str(row.slot), row.text, f"→ {row.target}" if row.target >= 0 else "")
        out.append(f'<tr style="{look}">' + "".join(f'<td style="{CELL}">{escape(c)}</td>' for c in cells) + "</tr>")
    left = len(program) - len(drawn)
    more = f'<tr style="{PLAIN}"><td colspan="4" style="{CELL}">… {left} more</td></tr>' * bool(left)
    return f'<table aria-label="{escape(caption)}" style="{TABLE}">{"".join(out)}{more}</table>'


def side_by_side(left: str, right: str) -> str:
    """Two pieces of a page; a narrow page scrolls, for one is read against the other."""
    cell = "padding: 0 20px 0 0; text-align: left; vertical-align: top; border: none"
    return (
        f'<div style="overflow-x: auto"><table style="border-collapse: collapse"><tr style="{PLAIN}">'
        f'<td style="{cell}">{left}</td><td style="{cell}">{right}</td></tr></table></div>'
    )


def heading(words: str) -> str:
    """The first line of a page."""
    return f'<p style="margin: 4px 0"><b>{escape(words)}</b></p>'
