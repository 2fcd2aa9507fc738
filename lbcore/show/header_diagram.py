"""A header drawn as the RFCs draw it: 32 bits a row, a box for each field, with its value in it.

Rule of this file: bits in, boxes out. A field that does not fit its row is continued in the next one.
"""

from __future__ import annotations

from dataclasses import dataclass
from html import escape

from lbcore.show.packet_diagram import TINTS, LayerLike

WIDTH = 32  # bits in a row
_BOX = "border: 1px solid #777777; padding: 2px 1px; text-align: center; color: #111111; overflow: hidden"
_SCALE = "padding: 0; text-align: center; font-size: 9px; border: none"


@dataclass(frozen=True)
class Box:
    """A piece of a field: `first` bit (from the start of the header) and `bits`, all in one row or in whole rows."""

    name: str
    text: str
    first: int
    bits: int
    continued: bool = False

    @property
    def rows(self) -> int:
        return max(1, self.bits // WIDTH)


def _boxes(layer: LayerLike) -> list[Box]:
    """The fields of `layer` cut at row ends, gaps filled with nameless boxes, in order."""
    boxes: list[Box] = []
    at = 0

    def put(name: str, text: str, bits: int) -> None:
        nonlocal at
        continued = False
        while bits:
            room = WIDTH - at % WIDTH
            taken = bits // WIDTH * WIDTH if room == WIDTH and bits >= WIDTH else min(bits, room)
            boxes.append(Box(name, text, at, taken, continued))
            at, bits, continued = at + taken, bits - taken, True

    for field in sorted(layer.fields, key=lambda field: field.bit_offset):
        first = field.bit_offset - layer.offset * 8
        if first < at:
            raise ValueError(f"{layer.name}.{field.name} starts at bit {first}, wanted {at} or later: fields overlap")
        put("", "", first - at)
        put(field.name, field.text, field.bits)
    put("", "", -at % WIDTH)
    return boxes


@dataclass(frozen=True)
class HeaderDiagram:
    """A header's boxes in order, and the layer's name."""

    name: str
    boxes: tuple[Box, ...]

    def _box_html(self, box: Box) -> str:
        if not box.name:
            return f'<td colspan="{box.bits}" title="no field" style="border: none"></td>'
        tint = TINTS.get(self.name.lower(), "#eeeeee")
        value = "" if box.continued else f"<br><b>{escape(box.text)}</b>"
        name = f"{escape(box.name)} (continued)" if box.continued else escape(box.name)
        title = escape(f"{box.name} = {box.text}, {box.bits} bits")
        columns, rows = min(box.bits, WIDTH), box.rows
        return (
            f'<td colspan="{columns}" rowspan="{rows}" title="{title}" '
            f'style="background-color: {tint}; {_BOX}; font-size: {"9" if columns < 4 else "12"}px">{name}{value}</td>'
        )

    def _repr_html_(self) -> str:
        scale = "".join(f'<th scope="col" style="{_SCALE}">{bit}</th>' for bit in range(WIDTH))
        # A row spanned from above holds no box of its own but must exist.
        lines: dict[int, list[str]] = {row: [] for row in range(sum(box.bits for box in self.boxes) // WIDTH)}
        for box in self.boxes:
            lines[box.first // WIDTH].append(self._box_html(box))
        rows = "".join(
            f'<tr style="height: 26px; background-color: transparent">{"".join(row)}</tr>' for row in lines.values()
        )
        caption = f"{self.name} header, 32 bits a row"
        style = "border-collapse: collapse; table-layout: fixed; width: 760px; line-height: 1.2"
        return (
            f'<div style="overflow-x: auto"><table style="{style}" '
            f'aria-label="{escape(caption)}"><caption style="text-align: left">{escape(caption)}</caption>'
            f'<thead><tr style="background-color: transparent">{scale}</tr></thead><tbody>{rows}</tbody></table></div>'
        )

    def __repr__(self) -> str:
        rule = "+" + "-+" * WIDTH
        lines = [f"{self.name} header", " " + " ".join(str(bit % 10) for bit in range(WIDTH)), rule]
        line = "|"
        for box in self.boxes:
            room = min(box.bits, WIDTH) * 2 - 1
            name = f"{box.name}..." if box.continued else box.name
            line += f"{name[:room]:^{room}}|"
            if len(line) == 2 * WIDTH + 1:
                blank = "|" + " " * (2 * WIDTH - 1) + "|"
                lines += [line, *[blank] * (box.rows - 1), rule]
                line = "|"
        values = [f"{box.name} = {box.text}" for box in self.boxes if box.name and not box.continued]
        return "\n".join([*lines, *values])


def header(layer: LayerLike) -> HeaderDiagram:
    """The fields of one dissected layer as boxes, 32 bits a row. ValueError if they overlap or there are none."""
    if not layer.fields:
        raise ValueError(f"{layer.name} has no fields, wanted a layer with a header to draw")
    return HeaderDiagram(layer.name, tuple(_boxes(layer)))
