"""Code slot by slot: bytes coloured by what they are, the instruction they make, and a remark.

Rule of this file: it draws any bytes, also those that are no code; what is marked, and why, comes from outside.

Trap. As everywhere in the book: plain tables, inline styles, background and text colour together, for a dark page.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from html import escape
from itertools import groupby

from lbcore.ebpf import isa
from lbcore.ebpf.assembler import disassemble

PARTS = (("opcode", 1, "#cfe6f5"), ("registers", 1, "#fbe0ad"), ("offset", 2, "#c4e8d8"), ("immediate", 4, "#efd2e3"))
"""Of a slot: name, bytes, colour."""
OF_BYTE = tuple((name, tint) for name, size, tint in PARTS for _ in range(size))
SECOND = "(second half)"
_CELL = "padding: 1px 6px; text-align: left; white-space: pre; border: none"
_FRAME = "border: 2px solid #111111; font-weight: bold; text-decoration: underline"


@dataclass(frozen=True)
class Row:
    """A slot: its number, its bytes, the instruction that starts there, a remark, and which bytes are marked."""

    slot: int
    data: bytes
    text: str
    note: str
    marked: frozenset[int]

    def groups(self) -> Iterator[tuple[str, str, bool]]:
        """(hexadecimal bytes, colour, whether they are marked) of neighbours that look alike."""
        places = range(len(self.data))
        for (_, tint, marked), some in groupby(places, lambda i: (*OF_BYTE[i], i in self.marked)):
            yield " ".join(f"{self.data[i]:02x}" for i in some), tint, marked


@dataclass(frozen=True)
class Listing:
    """Rows of a program under a caption; rows that are left out are shown as one line of dots."""

    caption: str
    rows: tuple[Row, ...]

    @property
    def alt(self) -> str:
        """What it shows, in words."""
        return self.caption

    def __repr__(self) -> str:
        lines, last = [self.caption], -1
        for row in self.rows:
            lines += ["..."] * (row.slot != last + 1)
            drawn = " ".join(f"[{text}]" if marked else f" {text} " for text, _, marked in row.groups())
            lines.append(f"{row.slot:4d}  {drawn:<36}  {row.text:<32}  {row.note}".rstrip())
            last = row.slot
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        style = "border-collapse: collapse; font-family: monospace; font-size: 13px; line-height: 1.3"
        chips = "&ensp; ".join(
            f'<span style="background-color: {tint}; color: #111111; padding: 1px 8px">{name}</span>'
            for name, _, tint in PARTS
        )
        return (
            f'<div style="overflow-x: auto"><table style="{style}" aria-label="{escape(self.caption)}">'
            f'<caption style="text-align: left">{escape(self.caption)}</caption><tbody>{"".join(self._lines())}</tbody>'
            f"</table></div><p>{chips}</p>"
        )

    def _lines(self) -> Iterator[str]:
        last = -1
        for row in self.rows:
            if row.slot != last + 1:
                yield f'<tr style="background-color: transparent"><td style="{_CELL}">…</td></tr>'
            style = "color: #111111; padding: 0 3px; background-color:"
            data = "".join(
                f'<span style="{style} {tint}; {_FRAME * marked}">{text}</span>' for text, tint, marked in row.groups()
            )
            cells = "".join(f'<td style="{_CELL}">{cell}</td>' for cell in (data, escape(row.text), escape(row.note)))
            yield (
                f'<tr style="background-color: transparent"><th scope="row" style="{_CELL}; font-weight: normal">'
                f"{row.slot}</th>{cells}</tr>"
            )
            last = row.slot


@dataclass(frozen=True)
class Page:
    """Lines of text as they are, under a caption; marked ones have an arrow, and stand out."""

    caption: str
    lines: tuple[tuple[str, bool], ...]

    def __repr__(self) -> str:
        return "\n".join([self.caption, *(f"{'→' if marked else ' '} {line}" for line, marked in self.lines)])

    def _repr_html_(self) -> str:
        stand_out = "background-color: #fbe0ad; color: #111111; font-weight: bold"
        lines = "\n".join(
            f'<span style="{stand_out}">→ {escape(line)}</span>' if marked else f"  {escape(line)}"
            for line, marked in self.lines
        )
        style = "overflow-x: auto; font-size: 13px; line-height: 1.3"
        return f'<p>{escape(self.caption)}</p><pre style="{style}">{lines}</pre>'


def listing(
    code: bytes,
    caption: str,
    *,
    slots: Collection[int] | None = None,
    notes: Mapping[int, str] | None = None,
    marked: Collection[int] = (),
) -> Listing:
    """The slots of `code` (all of them, or `slots`), with notes by slot; `marked`: places of bytes in the code."""
    notes = notes or {}
    whole = code[: len(code) // isa.SLOT * isa.SLOT]
    texts = [""] * (len(whole) // isa.SLOT)
    slot = 0
    for text in disassemble(whole):
        texts[slot] = text
        wide = whole[slot * isa.SLOT] == isa.LDDW and not text.startswith(".8byte")
        if wide:
            texts[slot + 1] = SECOND
        slot += 1 + wide
    rows = [
        Row(
            slot,
            whole[slot * isa.SLOT : (slot + 1) * isa.SLOT],
            text,
            notes.get(slot, ""),
            frozenset(at - slot * isa.SLOT for at in marked if at // isa.SLOT == slot),
        )
        for slot, text in enumerate(texts)
        if slots is None or slot in slots
    ]
    return Listing(caption, tuple(rows))
