"""Chapter 07's experiment: floods and defences in the test-bed, and how many good clients are served (tier 2).

Rule of this file: who defends how against what. The network is `testbed.under_attack`, the defences are `l4.guard`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from lbcore.l4.config import Backend, Config, Service
from lbcore.l4.crowd import syn
from lbcore.l4.guard import Guard
from lbcore.l4.xdp import InKernel
from lbcore.testbed.under_attack import PORT, VIP, Arena, Outcome
from lbcore.wire.floods import forged, senders

FORGED = senders("198.18.0.0/15", 20_000, np.random.default_rng(7))
FOUR = np.resize(senders("192.0.2.0/24", 4, np.random.default_rng(4)), 20_000)


RATES = (0.0, 100.0, 200.0, 800.0, 3200.0)
CURVES = {"let through": "forged, nothing done", "dropped early": "forged, a block list"}
"""Names of lines, and their cases."""


class Case(NamedTuple):
    """A flood, a defence, and whether the backends may use SYN cookies. helps: what we expect of it."""

    senders: npt.NDArray[np.uint32]
    guard: Guard
    cookies: bool
    helps: bool


def cases() -> dict[str, Case]:
    """By name."""
    return {
        "forged, nothing done": Case(FORGED, Guard(), cookies=False, helps=False),
        "forged, a limit for each source": Case(FORGED, Guard(rate=1, burst=5), cookies=False, helps=False),
        "forged, a block list": Case(FORGED, Guard(blocked=["198.18.0.0/15"]), cookies=False, helps=True),
        "forged, the backends' cookies": Case(FORGED, Guard(), cookies=True, helps=True),
        "four sources, a limit for each": Case(FOUR, Guard(rate=1, burst=5), cookies=False, helps=True),
    }


def balancer(guard: Guard) -> Callable[[Sequence[tuple[str, str]]], InKernel]:
    """How to make a guarded balancer, once the backends' addresses are known."""

    def make(backends: Sequence[tuple[str, str]]) -> InKernel:
        pool = [Backend(address, ethernet=mac) for address, mac in backends]
        return InKernel(Config([Service(VIP, PORT, "tcp", "dsr", pool)]), guard=guard)

    return make


def outcome(case: Case, *, arena: Arena, flood_rate: float = 2000.0, seconds: float = 0.5) -> Outcome:
    """Good clients for so many seconds, in one of the cases."""
    ports = np.arange(len(case.senders)).astype(np.uint16) | np.uint16(1024)
    flood = [row.tobytes() for row in forged(syn(f"{VIP}:{PORT}"), case.senders, ports)]
    return arena.goodput(balancer(case.guard), flood, cookies=case.cookies, flood_rate=flood_rate, seconds=seconds)


def run() -> dict[str, list[float]]:
    """Case -> the fields of its `Outcome`: due, answered, flood, cookies sent, cookies that came back."""
    with Arena() as arena:
        return {name: list(map(float, outcome(case, arena=arena))) for name, case in cases().items()}


def curve() -> dict[str, list[float]]:
    """ "SYNs a second": `RATES`; for each of `CURVES` the good requests that were due and were answered, in percent."""
    found: dict[str, list[float]] = {"SYNs a second": list(RATES)}
    with Arena() as arena:
        quiet = 100 * outcome(Case(FORGED[:0], Guard(), cookies=False, helps=True), arena=arena).goodput
        for name, case in CURVES.items():
            seen = [outcome(cases()[case], arena=arena, flood_rate=rate) for rate in RATES[1:]]
            found[name] = [quiet, *[100 * one.goodput for one in seen]]
    return found
