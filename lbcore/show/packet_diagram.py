"""The bytes of a frame, coloured by layer, and headers drawn as in the RFCs, 32 bits a row.

Rule of this file: it draws bytes and names; what they mean comes in from outside, as `Span`s or as dissected layers.

Theory. Every byte gets the fields that own it; neighbours with the same owners become one cell. Of two layers that
claim a byte the later one wins, so an outer layer may claim its whole payload and inner ones take from it.
Colour is never the only sign: bytes that nobody may read are replaced by ▒▒, highlighted ones are framed and bold,
and each row says in words which layers it holds.

Trap. JupyterLab strips style sheets, scripts and SVG from pages that were not run on this machine. So everything here
is a plain table with plain inline styles, and each cell sets background and text colour together, for a dark page.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from html import escape
from itertools import groupby
from typing import Protocol

ROW = 16  # bytes
LOCKED = "▒▒"
TINTS = {
    "ethernet": "#cfe6f5",
    "arp": "#cfe6f5",
    "ipv4": "#fbe0ad",
    "ipv6": "#fbe0ad",
    "tcp": "#c4e8d8",
    "udp": "#c4e8d8",
    "icmp": "#c4e8d8",
    "tls": "#efd2e3",
    "quic": "#efd2e3",
    "http": "#f8cdb4",
}
SPARE = ("#dcd7f2", "#f3eeb4", "#c8ecef", "#e8d9c8")  # for layers without a tint of their own, in order
REST = "not dissected"
_CELL = "padding: 1px 0; text-align: center; white-space: nowrap; border: 1px solid #888888"
_PLAIN = "padding: 1px 8px; text-align: left; white-space: pre; border: none"
_HATCH = "background: repeating-linear-gradient(45deg, #e2e2e2, #e2e2e2 3px, #c9c9c9 3px, #c9c9c9 6px)"
_FRAMED = "border: 2px solid #111111; font-weight: bold; text-decoration: underline"


@dataclass(frozen=True)
class Span:
    """Bytes `start` to `end` (excluded) of a frame: field `name` of the layer `kind`, and what it says (`text`)."""

    start: int
    end: int
    name: str
    kind: str
    text: str = ""

    @property
    def place(self) -> str:
        """Its bytes in words: "26-29", or "23" for a single one."""
        return str(self.start) if self.end == self.start + 1 else f"{self.start}-{self.end - 1}"


class FieldLike(Protocol):
    """A field of a dissected layer: `bit_offset` counts bits from the start of the frame."""

    @property
    def name(self) -> str: ...
    @property
    def bit_offset(self) -> int: ...
    @property
    def bits(self) -> int: ...
    @property
    def text(self) -> str: ...


class LayerLike(Protocol):
    """A dissected layer: `offset` and `length` in bytes, from the start of the frame."""

    @property
    def name(self) -> str: ...
    @property
    def offset(self) -> int: ...
    @property
    def length(self) -> int: ...
    @property
    def fields(self) -> Sequence[FieldLike]: ...


def _spans(parts: Iterable[Span | LayerLike]) -> Iterator[list[Span]]:
    """The spans of each part: a layer gives one for each field and, first, one for its bytes that have no field."""
    for part in parts:
        if isinstance(part, Span):
            yield [part]
            continue
        fields = [
            Span(f.bit_offset // 8, -(-(f.bit_offset + f.bits) // 8), f.name, part.name, f.text) for f in part.fields
        ]
        yield [Span(part.offset, part.offset + part.length, "", part.name), *fields]


def _owners(size: int, parts: Iterable[Span | LayerLike]) -> tuple[list[tuple[Span, ...]], list[Span]]:
    """For each byte the spans that own it, and all spans in order. ValueError names one that leaves the frame."""
    owners: list[tuple[Span, ...]] = [(Span(0, size, REST, ""),)] * size
    every: list[Span] = []
    for spans in _spans(parts):
        fresh: list[list[Span]] = [[] for _ in range(size)]
        for span in spans:
            if not 0 <= span.start <= span.end <= size:
                where = f"{span.kind}.{span.name}" if span.name else span.kind
                raise ValueError(f"{where} spans bytes {span.start} to {span.end}, wanted 0 <= start <= end <= {size}")
            for at in range(span.start, span.end):
                fresh[at] = [span] if fresh[at] and not fresh[at][0].name else [*fresh[at], span]
        owners = [tuple(new) or old for new, old in zip(fresh, owners, strict=True)]
        every += [span for span in spans if span.name]
    return owners, every


def _named(span: Span, names: Collection[str]) -> bool:
    """Whether one of `names` (lower case) means this span: its layer, its field, or "layer.field"."""
    kind, name = span.kind.lower(), span.name.lower()
    return bool({kind, name, f"{kind}.{name}"} & set(names))


@dataclass(frozen=True)
class Cell:
    """Neighbouring bytes of one row with the same owners."""

    start: int
    data: bytes
    spans: tuple[Span, ...]
    locked: bool
    framed: bool

    @property
    def words(self) -> str:
        """What a pointer resting on the cell is told."""
        end = self.start + len(self.data) - 1
        place = f"byte {self.start}" if end == self.start else f"bytes {self.start} to {end}"
        if self.locked:
            return f"{place}: {self.spans[0].kind or REST}, locked"
        named = (f"{s.kind} {s.name}".strip() + (f" = {s.text}" if s.text else "") for s in self.spans)
        return f"{place}: " + "; ".join(named)

    @property
    def hexes(self) -> str:
        return " ".join([LOCKED] * len(self.data)) if self.locked else self.data.hex(" ")

    @property
    def ascii(self) -> str:
        return "".join("▒" if self.locked else chr(b) if 32 <= b < 127 else "·" for b in self.data)


@dataclass(frozen=True)
class PacketDiagram:
    """A frame as rows of cells; rows left out in the middle are one empty tuple."""

    rows: tuple[tuple[Cell, ...], ...]
    spans: tuple[Span, ...]
    kinds: tuple[str, ...]
    size: int
    legend: bool
    caption: str

    def tint(self, kind: str) -> str:
        """The background of a layer."""
        if kind in ("", REST):
            return "#eeeeee"
        own = [k for k in self.kinds if k.lower() not in TINTS]
        return TINTS.get(kind.lower()) or SPARE[own.index(kind) % len(SPARE)]

    def _style(self, cell: Cell) -> str:
        tint = "#d8d8d8" if cell.locked else self.tint(cell.spans[0].kind)
        ink = "#888888" if cell.locked else "#111111"
        extra = [_HATCH] * cell.locked + [_FRAMED] * cell.framed
        return "; ".join([f"background-color: {tint}; color: {ink}", _CELL, *extra])

    def _row_words(self, row: Sequence[Cell]) -> str:
        return ", ".join(dict.fromkeys((cell.spans[0].kind or REST) + " (locked)" * cell.locked for cell in row))

    def _row_html(self, row: Sequence[Cell]) -> str:
        if not row:
            return (
                f'<tr><td style="{_PLAIN}">…</td><td colspan="{ROW + 2}" style="{_PLAIN}">{self._left_out()}</td></tr>'
            )
        cells = "".join(
            f'<td colspan="{len(c.data)}" title="{escape(c.words)}" style="{self._style(c)}">{c.hexes}</td>'
            for c in row
        )
        gap = ROW - sum(len(c.data) for c in row)
        filler = f'<td colspan="{gap}" style="border: none"></td>' * bool(gap)
        letters = escape("".join(c.ascii for c in row))
        return (
            f'<tr style="background-color: transparent"><th scope="row" style="{_PLAIN}; font-weight: normal">'
            f'{row[0].start:04x}</th>{cells}{filler}<td style="{_PLAIN}">{letters}</td>'
            f'<td style="{_PLAIN}">{escape(self._row_words(row))}</td></tr>'
        )

    def _left_out(self) -> str:
        return f"{self.size - sum(len(cell.data) for row in self.rows for cell in row):,} bytes not drawn"

    def _legend_html(self) -> str:
        cells = [cell for row in self.rows for cell in row]
        chips = [
            f'<span style="background-color: {self.tint(kind)}; color: #111111; padding: 1px 8px; '
            f'border: 1px solid #888888">{escape(kind)}</span>'
            for kind in self.kinds
        ]
        if any(cell.locked for cell in cells):
            chips.append(f"<span>{LOCKED} cannot be read here</span>")
        if any(cell.framed for cell in cells):
            chips.append('<span style="font-weight: bold; text-decoration: underline">framed</span>: what matters here')
        return f"<p>{'&ensp; '.join(chips)}</p>"

    def _fields_html(self) -> str:
        if not self.spans:
            return ""
        style = f'style="{_PLAIN}"'
        lines = "".join(
            "<tr>" + "".join(f"<td {style}>{escape(cell)}</td>" for cell in (s.place, s.kind, s.name, s.text)) + "</tr>"
            for s in self.spans
        )
        head = "".join(f'<th scope="col" {style}>{name}</th>' for name in ("bytes", "layer", "field", "value"))
        return f"<details><summary>{len(self.spans)} fields</summary><table><tr>{head}</tr>{lines}</table></details>"

    def _repr_html_(self) -> str:
        caption = self.caption or f"{self.size} bytes: {', '.join(self.kinds) or REST}"
        # Three characters a byte: a cell's centred text then stands under the bytes of the row above. The width in
        # em says nearly the same to viewers that drop ch.
        columns = (
            '<col style="width: 4.3em; width: 7ch">' + '<col style="width: 1.81em; width: 3ch">' * ROW + "<col><col>"
        )
        rows = "".join(map(self._row_html, self.rows))
        style = "border-collapse: collapse; font-family: monospace; font-size: 13px; line-height: 1.3"
        return (
            f'<div style="overflow-x: auto"><table style="{style}" '
            f'aria-label="{escape(caption)}"><caption style="text-align: left">{escape(caption)}</caption>'
            f"<colgroup>{columns}</colgroup><tbody>{rows}</tbody></table></div>"
            + (self._legend_html() if self.legend else "")
            + self._fields_html()
        )

    def __repr__(self) -> str:
        lines = [self.caption] if self.caption else []
        for row in self.rows:
            if not row:
                lines.append(f"...   {self._left_out()}")
                continue
            drawn = "".join(f"[{c.hexes}]" if c.framed else f" {c.hexes} " for c in row)
            drawn = drawn.replace("  ", " ").replace(" [", "[").replace("] ", "]").replace("][", "|")
            letters = "".join(c.ascii for c in row)
            lines.append(f"{row[0].start:04x} {drawn:<{3 * ROW + 1}} {letters:<{ROW}}  {self._row_words(row)}")
        return "\n".join(lines)


def packet(
    frame: bytes | bytearray | memoryview,
    parts: Sequence[Span | LayerLike] = (),
    *,
    highlight: Collection[str] = (),
    readable: Collection[str] | None = None,
    legend: bool = True,
    caption: str = "",
    max_rows: int = 24,
) -> PacketDiagram:
    """The bytes of `frame`, 16 a row, coloured by the layers in `parts` (dissected layers, or `Span`s).

    `highlight` frames bytes, `readable` names those that can be read (None: all; the others are locked: neither
    bytes nor values are shown). Both take layers ("tcp"), fields ("destination port") or both ("tcp.checksum"), in
    any case. Of a frame with more than `max_rows` rows the middle is left out, and said to be.

    ValueError names a part that leaves the frame, or a highlight that nothing in the frame is called.
    """
    data = bytes(frame)
    if isinstance(highlight, str) or isinstance(readable, str):
        raise ValueError(f"highlight is {highlight!r}, readable is {readable!r}, wanted collections of names: ['tcp']")
    if max_rows < 3:
        raise ValueError(f"max_rows is {max_rows}, wanted at least 3: a first row, the gap, a last row")
    owners, every = _owners(len(data), parts)
    kinds = tuple(dict.fromkeys(span.kind for owner in owners for span in owner if span.kind))
    framed = {name.lower() for name in highlight}
    open_to = None if readable is None else {name.lower() for name in readable}
    present = {span for owner in owners for span in owner}
    for name in framed:
        if not any(_named(span, {name}) for span in present):
            raise ValueError(f"highlight names {name!r}, wanted a layer or field of this frame: {', '.join(kinds)}")

    def is_locked(owner: tuple[Span, ...]) -> bool:
        return open_to is not None and not any(_named(span, open_to) for span in owner)

    def together(at: int) -> object:
        """What neighbours must have in common: their fields, or of locked bytes the layer, for fields are unseen."""
        owner = owners[at]
        return owner[0].kind if is_locked(owner) and not any(_named(span, framed) for span in owner) else owner

    def cells(start: int) -> tuple[Cell, ...]:
        made = []
        for _, group in groupby(range(start, min(start + ROW, len(data))), key=together):
            at = list(group)
            owner = owners[at[0]]
            mark = any(_named(span, framed) for span in owner)
            made.append(Cell(at[0], data[at[0] : at[-1] + 1], owner, is_locked(owner), mark))
        return tuple(made)

    starts = list(range(0, len(data), ROW))
    if len(starts) > max_rows:
        rows = (*map(cells, starts[: max_rows - 2]), (), cells(starts[-1]))
    else:
        rows = tuple(map(cells, starts))
    if open_to is not None:
        every = [span for span in every if _named(span, open_to)]
    return PacketDiagram(rows, tuple(every), kinds, len(data), legend, caption)
