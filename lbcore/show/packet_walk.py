"""A packet's walk through a balancer, one place a page: the frame, what is new in it, and how checksums were repaired.

Rule of this file: it draws stops (`lbcore.l4.walk`) and differences (`lbcore.wire.difference`); it sends nothing.

Trap. Pages that were not run here lose style sheets, so everything is tables with inline styles. What changed is framed
in the bytes, and named in words below them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from html import escape

from lbcore.l4.walk import Site, Stop
from lbcore.measure.table import Table
from lbcore.show.packet_diagram import PacketDiagram, packet
from lbcore.show.stepper import Stepper
from lbcore.wire.difference import Change, Repair, changes, labelled, repairs

CHIP = "padding: 2px 8px; border: 1px solid #888888; color: #111111; background-color: #ffffff"
HERE = "padding: 2px 8px; border: 3px solid #111111; color: #111111; background-color: #fbe0ad; font-weight: bold"
HINT = "press Next, and see at each place which bytes are framed: only those are new"
ROWS = 9


@dataclass(frozen=True)
class Page:
    """One stop of a walk, compared with the one before."""

    stops: Sequence[Stop]
    number: int

    @property
    def stop(self) -> Stop:
        return self.stops[self.number]

    @property
    def before(self) -> bytes:
        """The frame to compare with: the stop before, or itself where a new packet starts."""
        new = self.stop.new or self.number == 0
        return self.stop.frame if new else self.stops[self.number - 1].frame

    @property
    def changes(self) -> list[Change]:
        return changes(self.before, self.stop.frame)

    @property
    def repairs(self) -> list[Repair]:
        return repairs(self.before, self.stop.frame)

    @property
    def heading(self) -> str:
        return f"{self.number + 1} of {len(self.stops)}: {self.stop.name}"

    @property
    def verdict(self) -> str:
        """What differs, in a few words."""
        if self.number == 0 or self.stop.new:
            return f"A new packet, {len(self.stop.frame)} bytes."
        if not self.changes:
            return "No byte has changed."
        grown = len(self.stop.frame) - len(self.before)
        longer = f", {grown:+} bytes" if grown else ""
        return f"Changed: {len(self.changes)} field{'s' * (len(self.changes) != 1)}{longer}."

    def diagram(self) -> PacketDiagram:
        """The frame, with what has changed framed."""
        layers = labelled(self.stop.frame)
        present = {layer.name for layer in layers}
        marks = [c.layer if c.field == "header" else f"{c.layer}.{c.field}" for c in self.changes if c.layer in present]
        caption = f"{len(self.stop.frame)} bytes; framed: new since the stop before"
        drawn = packet(self.stop.frame, layers, highlight=marks, caption=caption, max_rows=ROWS)
        return replace(drawn, spans=())

    def tables(self) -> list[Table]:
        """The changed fields, and each changed checksum word by word."""
        found = []
        if self.changes:
            rows = tuple((c.layer, c.field.replace("_", " "), c.before, c.after) for c in self.changes)
            found.append(Table(("layer", "field", "before", "after"), rows))
        for repair in self.repairs:
            lines = [("", "", "", f"{repair.start:04x}")]
            lines += [
                (s.what.replace("_", " "), f"{s.old:04x}", f"{s.new:04x}", f"{s.result:04x}") for s in repair.steps
            ]
            columns = ("word", "out", "in", "checksum")
            found.append(Table(columns, tuple(lines), f"the {repair.layer} checksum, repaired (RFC 1624)"))
        return found

    def _path(self) -> str:
        cells = " ".join(
            f'<td style="{HERE if at == self.number else CHIP}">{"▶ " * (at == self.number)}{escape(stop.name)}</td>'
            for at, stop in enumerate(self.stops)
        )
        style = "border-collapse: separate; border-spacing: 4px"
        return f'<table aria-label="the way" style="{style}"><tr>{cells}</tr></table>'

    def _repr_html_(self) -> str:
        tables = "".join(table._repr_html_() for table in self.tables())
        words = f"<p><b>{escape(self.heading)}.</b> {escape(self.stop.words)} {escape(self.verdict)}</p>"
        return f"<div>{self._path()}{words}{self.diagram()._repr_html_()}{tables}</div>"

    def __repr__(self) -> str:
        tables = [table.text() for table in self.tables()]
        return "\n".join([f"{self.heading}. {self.stop.words} {self.verdict}", repr(self.diagram()), *tables])


def packet_steps(walk: Site | Sequence[Stop], *, start: int = 2, hint: str = HINT) -> Stepper:
    """Step along the stops of a walk, or of a site's usual request. The saved page shows stop `start`."""
    stops = walk.walk() if isinstance(walk, Site) else walk

    def draw(step: int = start) -> Page:
        return Page(stops, step)

    return Stepper(draw, len(stops) - 1, hint=hint, start=start)
