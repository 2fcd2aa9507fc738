"""The packet inspector: one packet, one balancer, what it may read, what it decides, what that costs.

Rule of this file: it draws readings (`lbcore.testbed.inspector`) and measured costs; it decides and measures nothing.

Trap. Pages that were not run here lose style sheets and scripts, so everything is tables with inline styles; what
colour says is said in words or by shape as well.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from html import escape
from math import log10
from typing import Literal

import ipywidgets as widgets

from lbcore.measure.clock import Comparison
from lbcore.show.explorer import Explorer, explore
from lbcore.show.packet_diagram import PacketDiagram, packet
from lbcore.testbed.inspector import MODES, Mode, Reading, Tape, inspect
from lbcore.testbed.layer_costs import Step
from lbcore.testbed.routes import Site

Protocol = Literal["HTTP", "HTTPS"]
MOMENTS = ("SYN", "first bytes", "request", "response")
DECADES = ("1 ns", "10 ns", "100 ns", "1 µs", "10 µs", "100 µs")  # the last one reaches to 1 ms
BAR, PALE, RIGHT = "#0072B2", "#d0d0d0", "#009E73"
HATCH = "background-image: repeating-linear-gradient(45deg, transparent 0 3px, #ffffff 3px 5px)"
CELL = "padding: 1px 8px; text-align: left; border: none; white-space: nowrap"
CLEAR = "background-color: transparent"
ROWS = 16  # of the byte diagram


@dataclass(frozen=True)
class Page:
    """What the inspector shows for one packet.

    wanted: the backends that the whole request belongs to. costs: nanoseconds by step; compiled: steps in machine code.
    """

    reading: Reading
    heading: str
    diagram: PacketDiagram
    site: Site
    wanted: frozenset[str]
    costs: Mapping[str, float]
    compiled: frozenset[str]

    @property
    def luck(self) -> str:
        """How much of the choice is settled, and how much is left to the hash, in words."""
        choice = self.reading.choice
        if choice is None:
            return "No backend yet."
        candidates, right = len(choice.candidates), len(self.wanted & set(choice.candidates))
        if candidates == right == 1:
            return f"One backend is left, and it is the right one: {choice.backend}."
        if candidates == right:
            return f"Left to choose from: {candidates}, any of them right. Picked: {choice.backend}."
        end = "right" if choice.backend in self.wanted else "wrong"
        return (
            f"Left to choose from: {candidates}, of which the rules want {right}. "
            f"The hash picked {choice.backend}: {end}, and at every repetition the same."
        )

    @property
    def bill(self) -> str:
        """The measured work of this packet, added up."""
        if not self.reading.work:
            return "Nothing measured here is needed for this packet."
        total = sum(self.costs[step] for step in self.reading.work)
        return f"Work on this packet: {', '.join(self.reading.work)}. Together {rounded(total)}."

    def _chips(self) -> str:
        choice = self.reading.choice
        rows = []
        for pool, backends in self.site.pools.items():
            cells = [f'<th scope="row" style="{CELL}; font-weight: normal">{escape(pool)}</th>']
            for name in backends:
                style, mark = (
                    f"{CELL}; color: #111111; background-color: #ffffff; border: 1px solid #888888",
                    "possible",
                )
                if choice is not None and name == choice.backend:
                    style, mark = f"{style}; border: 3px solid #111111; font-weight: bold", "picked"
                elif choice is not None and name not in choice.candidates:
                    style, mark = (
                        f"{style}; color: #555555; background-color: {PALE}; text-decoration: line-through",
                        "out",
                    )
                tick = " ✓" if name in self.wanted else ""
                cells.append(f'<td style="{style}" title="{mark}">{escape(name)}{tick}</td>')
            rows.append(f'<tr style="{CLEAR}">{"".join(cells)}</tr>')
        return (
            f'<table aria-label="backends: picked, possible, ruled out" style="border-spacing: 6px 3px; '
            f'border-collapse: separate; font-size: 13px">{"".join(rows)}</table>'
            "<p>✓ where the rules want this request · bold frame: picked · struck out: ruled out by what was read</p>"
        )

    def _bars(self) -> str:
        head = "".join(f'<th scope="col" style="{CELL}; border-left: 1px solid #aaaaaa">{d}</th>' for d in DECADES)
        rows = []
        for step, ns in self.costs.items():
            mine = step in self.reading.work
            width = max(1.0, min(100.0, 100 * log10(max(ns, 1)) / len(DECADES)))
            hatch = "" if step in self.compiled else f"; {HATCH}"
            label = escape(step) + ("" if step in self.compiled or "Python" in step else " (in Python)")
            bar = f"width: {width:.1f}%; height: 14px; background-color: {BAR if mine else PALE}{hatch}"
            weight = "bold" if mine else "normal"
            rows.append(
                f'<tr style="{CLEAR}"><th scope="row" style="{CELL}; font-weight: {weight}">{label}</th>'
                f'<td colspan="{len(DECADES)}" style="padding: 1px 0; border: none"><div style="{bar}"></div></td>'
                f'<td style="{CELL}; font-weight: {weight}">{rounded(ns)}</td></tr>'
            )
        columns = f'<col style="width: 20em">{"<col>" * len(DECADES)}<col style="width: 6em">'
        return (
            '<table aria-label="measured cost of each step, logarithmic" style="border-collapse: collapse; '
            f'margin-top: 14px; font-size: 13px; width: 100%; max-width: 800px; table-layout: fixed">'
            f"<colgroup>{columns}</colgroup>"
            f'<tr style="{CLEAR}"><th style="{CELL}">CPU time, measured here</th>{head}'
            f'<th style="{CELL}"></th></tr>{"".join(rows)}</table>'
            "<p>Bold: paid for this packet. Hatched: in Python, and so far slower than it need be. "
            "Each column is ten times the one before.</p>"
        )

    def _repr_html_(self) -> str:
        opened = ""
        if self.reading.opened:
            lines = escape(self.reading.opened.decode("latin-1").rstrip())
            opened = (
                "<p><b>After decryption</b>, inside the balancer, which is the TLS server. Not in the packet:</p>"
                f'<pre style="padding: 4px 10px; border: 2px dashed {RIGHT}">{lines}</pre>'
            )
        return (
            f"<p><b>{escape(self.heading)}</b></p><p>{escape(self.reading.words)} {escape(self.luck)}</p>"
            f"{self._chips()}{self.diagram._repr_html_()}{opened}{self._bars()}<p>{escape(self.bill)}</p>"
        )

    def __repr__(self) -> str:
        parts = [self.heading, f"{self.reading.words} {self.luck}", repr(self.diagram)]
        if self.reading.opened:
            parts.append("After decryption: " + self.reading.opened.decode("latin-1").split("\r\n")[0])
        return "\n".join([*parts, self.bill])


def rounded(ns: float) -> str:
    """Nanoseconds with two significant digits and a unit that fits: "29 ns", "1.4 µs", "220 µs"."""
    for unit, size in (("ms", 1e6), ("µs", 1e3), ("ns", 1.0)):
        if ns >= size or unit == "ns":
            value = float(f"{ns / size:.2g}")
            return f"{value:.0f} {unit}" if value >= 10 else f"{value:.1f} {unit}"
    raise AssertionError("the last unit takes everything")


def page(tape: Tape, at: int, mode: Mode, site: Site, costs: Mapping[str, float], compiled: frozenset[str]) -> Page:
    """Frame `at` as a balancer of this mode sees it."""
    reading = inspect(tape, at, mode, site)
    full = inspect(tape, len(tape.frames) - 1, "L7", site).choice
    way = "client to balancer" if tape.pieces[at].from_client else "balancer to client"
    heading = f"{mode} · packet {at + 1} of {len(tape.frames)} · {way}"
    present = {layer.name for layer in reading.layers}
    diagram = packet(
        reading.frame,
        reading.layers,
        highlight=sorted(reading.used),
        readable=sorted(reading.readable & present),
        caption=f"{len(reading.frame)} bytes; framed: what the balancer goes by; ▒▒ (locked): not read by it",
        legend=False,
        max_rows=ROWS,
    )
    return Page(reading, heading, diagram, site, frozenset(full.candidates if full else ()), costs, compiled)


def inspector(tapes: Mapping[Protocol, Tape], site: Site, steps: Mapping[str, Step], measured: Comparison) -> Explorer:
    """The packet inspector over recorded conversations, with the steps' cost as `measured` (by the same names)."""
    costs = {step: measured.ns(step) for step in steps}
    compiled = frozenset(name for name, step in steps.items() if step.compiled)

    def look(balancer: Mode = "L4 + SNI", protocol: Protocol = "HTTPS", packet: str = "first bytes") -> Page:
        tape = tapes[protocol]
        return page(tape, tape.moments()[packet], balancer, site, costs, compiled)

    return explore(
        look,
        hint="stay on HTTPS and the request, and switch between L4, L4 + SNI and L7: "
        "what becomes readable, how many backends stay possible, which bars turn bold? Then the same with HTTP.",
        balancer=widgets.ToggleButtons(options=MODES, value="L4 + SNI"),
        protocol=widgets.ToggleButtons(options=tuple(tapes), value="HTTPS"),
        packet=widgets.SelectionSlider(options=MOMENTS, value="first bytes"),
    )
