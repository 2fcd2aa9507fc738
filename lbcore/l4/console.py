"""What a balancer is doing, as plain text: services, backends, why packets met their end, what the driver says.

Rule of this file: numbers in, text out. Who prints it, and when, is `command`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from lbcore.l4.config import Balancer
from lbcore.l4.reasons import TEXT, Reason
from lbcore.l4.tables import ACTIVE, DRAINING, GONE

STATES = {ACTIVE: "active", DRAINING: "draining", GONE: "gone"}
UNITS = ("", "k", "M", "G", "T", "P", "E")


class Look(NamedTuple):
    """The counters at a moment: seconds since the start, `Balancer.counters`, and what the driver counts."""

    seconds: float
    counters: Mapping[str, Any]
    driver: Mapping[str, int]


def state(title: str, balancer: Balancer, now: Look, before: Look | None = None) -> str:
    """The whole table. Rates are those since `before`, or since the start."""
    since = before.seconds if before else 0.0
    span = max(now.seconds - since, 1e-9)
    vips, earlier = now.counters["vips"], before.counters["vips"] if before else 0
    rates = (vips - earlier) / span
    lines = [f"{title}  {now.seconds:.0f} s", ""]
    head = ("service", "mode", "packets in", "bytes", "packets/s", "packets out", "bytes", "packets/s")
    lines += table(
        head,
        [
            (f"{ending(s.address, s.port)}/{s.protocol}", s.mode, *map(scaled, (*v[:2], r[0], *v[2:], r[2])))
            for s, v, r in zip(balancer.config.services, vips, rates, strict=True)
        ],
    )
    counted = now.counters["backends"]
    all_bytes = max(int(counted[1:, 1].sum()), 1)
    rows = [
        (
            ending(backend.address, backend.port) if backend.port else backend.address,
            STATES[balancer.states[backend]],
            *map(scaled, counted[number]),
            f"{100 * int(counted[number, 1]) / all_bytes:.1f} %",
        )
        for backend, number in balancer.numbers.items()
    ]
    lines += ["", *table(("backend", "state", "packets", "bytes", "share"), rows)]
    reasons = [(scaled(now.counters["reasons"][r]), TEXT[r]) for r in Reason if now.counters["reasons"][r]]
    lines += ["", *table(("packets", "what became of them"), reasons, left=(1,))]
    if now.driver:
        told = ", ".join(f"{name} {scaled(value)}" for name, value in now.driver.items())
        lines += ["", f"driver: {told}"]
    return "\n".join(lines) + "\n"


def ending(address: str, port: int) -> str:
    """An address and a port, as people write them; port 0 is any."""
    return f"{f'[{address}]' if ':' in address else address}:{port or '*'}"


def scaled(value: float) -> str:
    """12, 999, 1.00k, 12.3M: three digits that count, and a unit."""
    number = float(value)
    if number < 999.5 and number == int(number):
        return f"{number:.0f}"
    unit = 0
    while number >= 999.5 and unit < len(UNITS) - 1:
        number, unit = number / 1000, unit + 1
    digits = 2 if number < 9.995 else 1 if number < 99.95 else 0
    return f"{number:.{digits}f}{UNITS[unit]}"


def table(head: Sequence[str], rows: Sequence[Sequence[str]], left: Sequence[int] = (0, 1)) -> list[str]:
    """Lines with columns of equal width; those in `left` begin at the left."""
    widths = [max(len(row[i]) for row in (head, *rows)) for i in range(len(head))]
    lines = []
    for row in (head, *rows):
        cells = [
            cell.ljust(w) if i in left else cell.rjust(w) for i, (cell, w) in enumerate(zip(row, widths, strict=True))
        ]
        lines.append("  ".join(cells).rstrip())
    return lines
