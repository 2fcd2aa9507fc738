"""What this machine can do for the book, probed once, in words.

Rule of this file: it decides tiers and names facts; how each fact is found out is in `probes`.

Theory. Chapters ask for a tier, never for a tool. Tier 0 is any machine: memory, loopback sockets, the book's own
BPF machine. Tier 1 adds network namespaces, as root or through user namespaces. Tier 2 adds the kernel's BPF. Each
tier includes the ones below, so a machine with BPF but no namespaces is tier 0: there is nothing to attach to.

`LBCORE_TIER` forces a lower tier (to see the book as a reader on Binder sees it); a higher one than the machine's
own has no effect, for wishing does not make a kernel.
"""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial
from typing import NamedTuple

from lbcore.testbed import probes

VARIABLE = "LBCORE_TIER"
TIERS = (
    "any machine: memory, loopback sockets and the book's own BPF machine",
    "network namespaces: whole networks of hosts on this machine",
    "the kernel's BPF: the same programs loaded into the running kernel",
)


@dataclass(frozen=True)
class Capability:
    """One fact about the machine: whether it is `available`, and `why` (or why not) in words."""

    name: str
    available: bool
    why: str


@dataclass(frozen=True)
class Machine:
    """What this machine can do. `tier` (0..2) is what chapters go by, `natural_tier` the same before LBCORE_TIER."""

    tier: int
    natural_tier: int
    facts: list[Capability]

    def __getitem__(self, name: str) -> Capability:
        """The fact called `name`. KeyError lists the names there are."""
        for fact in self.facts:
            if fact.name == name:
                return fact
        raise KeyError(f"no fact called {name!r}; there are: {', '.join(fact.name for fact in self.facts)}")


class Probe(NamedTuple):
    """A fact to be found out; `linux_only` is what to say is missing elsewhere, empty where every system has it."""

    name: str
    find: Callable[[], probes.Finding]
    linux_only: str = ""


PROBES = (
    Probe("network namespaces", probes.namespaces, "network namespaces"),
    Probe("BPF", probes.bpf, "bpf(2)"),
    Probe("AF_XDP", probes.af_xdp, "AF_XDP sockets"),
    Probe("AF_PACKET", probes.af_packet, "AF_PACKET sockets"),
    Probe("BTF", probes.btf, "kernel types"),
    Probe("unprivileged BPF", probes.unprivileged_bpf, "bpf(2)"),
    Probe("loopback range", probes.loopback_range),
    *(Probe(name, partial(probes.program, name)) for name in ("clang", "gcc", "nginx", "haproxy")),
    Probe("CPU", probes.cpu),
    Probe("cores", probes.cores),
    Probe("memory", probes.memory),
    Probe("kernel", probes.kernel),
)


def _find(probe: Probe) -> Capability:
    """Run one probe. Whatever goes wrong in it is a finding too: this function does not raise."""
    if probe.linux_only and sys.platform != "linux":
        system = {"darwin": "macOS", "win32": "Windows"}.get(sys.platform, platform.system() or sys.platform)
        return Capability(probe.name, False, f"this is {system}: no {probe.linux_only}")
    try:
        return Capability(probe.name, *probe.find())
    except Exception as error:
        return Capability(probe.name, False, f"could not be found out: {type(error).__name__}: {error}")


@cache
def _facts() -> tuple[Capability, ...]:
    return tuple(map(_find, PROBES))


def forced_tier(value: str | None) -> int | None:
    """LBCORE_TIER's value as a tier; None where it is unset or empty. ValueError names a bad value."""
    if not value:
        return None
    if value not in ("0", "1", "2"):
        raise ValueError(f"{VARIABLE} is {value!r}, wanted 0, 1 or 2 (or unset, for the machine's own tier)")
    return int(value)


def machine() -> Machine:
    """This machine, probed at the first call of the process. ValueError if LBCORE_TIER is none of 0, 1, 2."""
    forced = forced_tier(os.environ.get(VARIABLE))
    facts = list(_facts())
    can = {fact.name: fact.available for fact in facts}
    natural = (1 + can["BPF"]) if can["network namespaces"] else 0
    return Machine(natural if forced is None else min(natural, forced), natural, facts)
