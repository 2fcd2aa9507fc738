"""What a relay is doing, as plain text: listeners, clients, backends, why connections ended.

Rule of this file: numbers in, text out. Who prints it, and when, is `program`.
"""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from typing import NamedTuple

from lbcore.l4.console import scaled, table
from lbcore.l4.relay.counters import TEXT, Counters, Reason
from lbcore.l4.relay.options import written
from lbcore.l4.relay.pools import Group
from lbcore.l4.relay.relay import Relay

RISING = {
    "accepted": "accepted",
    "connected": "reached a backend",
    "from_clients": "bytes from clients",
    "from_backends": "bytes from backends",
    "retries": "attempts that failed and were followed by another",
    "pauses": "pauses for want of descriptors",
    "ech": "hellos with ECH",
}
"""Fields of `Counters`, in words."""


class Look(NamedTuple):
    """The counters at a moment, in seconds since the start."""

    seconds: float
    counters: Counters

    @classmethod
    def at(cls, seconds: float, relay: Relay) -> Look:
        return cls(seconds, deepcopy(relay.counters))


def state(relay: Relay, now: Look, before: Look | None = None) -> str:
    """The whole table. Rates are those since `before`, or since the start."""
    counted = now.counters
    then = before or Look(0.0, Counters())
    span = max(now.seconds - then.seconds, 1e-9)
    doing = "draining" if relay.draining else "relay"
    lines = [f"lbcore l4: {doing}, {counted.open} open  {now.seconds:.0f} s", ""]
    lines += table(("listener", "protocol", "pool", "routes"), _listeners(relay))
    rows = []
    for name, text in RISING.items():
        value, earlier = getattr(counted, name), getattr(then.counters, name)
        if value or name in ("accepted", "connected"):
            rows.append((scaled(value), scaled((value - earlier) / span), text))
    lines += ["", *table(("so far", "per second", "clients"), rows, left=(2,))]
    lines += ["", *table(("pool", "backend", "state", "open", "connections"), _backends(relay.groups, counted))]
    ended = [(scaled(counted.ended[r]), TEXT[r]) for r in Reason if counted.ended[r]]
    lines += ["", *table(("ended", "how"), ended, left=(1,))]
    return "\n".join(lines) + "\n"


def _listeners(relay: Relay) -> list[tuple[str, ...]]:
    return [
        (written(*address), told.protocol, told.pool or "(none)", str(len(told.routes)))
        for address, told in zip(relay.addresses, relay.options.listeners, strict=True)
    ]


def _backends(groups: Mapping[str, Group], counted: Counters) -> list[tuple[str, ...]]:
    """`by_backend` is by address, so a backend of two pools has the same number twice."""
    rows: list[tuple[str, ...]] = []
    for name, group in groups.items():
        there = group.backends
        for address, state, open_now in zip(there.names, there.state, there.open, strict=True):
            rows.append((name, address, state, str(open_now), scaled(counted.by_backend[address])))
    return rows
