"""The balancer in the kernel: the same core, compiled for XDP, and its configuration written into maps.

Rule of this file: the one place that says what XDP cannot have. A program holds one family of modes, because the
verifier follows every path to its end and gives up after a million instructions: DSR; or the tunnels; or the two kinds
of NAT. A configuration that mixes families is refused in words, and runs in user space (`forwarder`). Everything else
is the same, packet by packet.

Theory. The kernel keeps maps apart from programs. `fill` writes a configuration into maps by name; they may be the
kernel's, or the book's machine's. Backends change state by writing their row and the rings again, under traffic: each
packet sees an old slot or a new one, and both are right.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any

import numpy as np

from lbcore.ebpf import compiler, kernel, storage
from lbcore.ebpf.compiler import Source
from lbcore.ebpf.machine import Machine, Result
from lbcore.l4 import flags, kernel_tables, tables
from lbcore.l4 import guard as guards
from lbcore.l4.config import BadConfig, Balancer, Config
from lbcore.l4.core import TRANSLATING, TUNNELS, forward
from lbcore.l4.guard import Guard, refused
from lbcore.l4.kernel_tables import MAPS, MAX_BACKENDS, MAX_RINGS, MAX_VIPS, RING_SIZE
from lbcore.l4.reasons import DROP, LIMITED, Reason

FAMILIES = {"dsr": 1 << flags.DSR, "tunnels": TUNNELS, "nat": TRANSLATING}
"""What one program can hold."""


def family_of(config: Config) -> str:
    """Which family a configuration's modes are of. BadConfig if there is more than one, or too much of anything."""
    modes = functools.reduce(lambda bits, service: bits | 1 << flags.NAMES.index(service.mode), config.services, 0)
    limits = {"services": (len(config.services), MAX_RINGS), "addresses": (2 * len(config.services), MAX_VIPS)}
    limits["backends"] = (len({b for s in config.services for b in s.backends}), MAX_BACKENDS - 1)
    limits["ring_size"] = (config.ring_size, RING_SIZE)
    for what, (wanted, most) in limits.items():
        if wanted > most:
            raise BadConfig(f"{what}: {wanted}; an XDP program has room for {most}")
    for name, family in FAMILIES.items():
        if modes & ~family == 0:
            return name
    used = ", ".join(name for bit, name in enumerate(flags.NAMES) if modes >> bit & 1)
    raise BadConfig(f"modes {used}: one XDP program holds dsr alone, or tunnels (ipip, gre, gue), or nat and full_nat")


@functools.cache
def program(family: str, guarded: bool = False) -> Source:
    """The program for one of `FAMILIES`; compiled when first asked for its object, in some ten seconds."""
    modes = FAMILIES[family]

    def balance(context: Any) -> int:
        return forward(context, MAPS, modes)

    def guard_and_balance(context: Any) -> int:
        if refused(context):
            tables.count_reason(MAPS, LIMITED)
            return DROP
        return forward(context, MAPS, modes)

    return compiler.xdp(guard_and_balance if guarded else balance)


def fill(maps: Mapping[str, Any], balancer: Balancer, guard: Guard | None = None) -> None:
    """Write a configuration into maps (the kernel's or the machine's) of a program of this file."""
    if guard is not None:
        guards.check(guard)
        guards.fill(maps, guard)
    t, layout = balancer.tables, kernel_tables
    maps["settings"][layout.SETTINGS.key.pack(0)] = layout.SETTINGS.value.pack(tuple(int(x) for x in t.settings))
    for key, value in zip(t.vip_keys, t.vip_values, strict=True):
        if key[2] != np.uint64(0xFFFFFFFFFFFFFFFF):
            words = tuple(int(x) for x in value)
            maps["vips"][layout.VIPS.key.pack(tuple(int(x) for x in key))] = layout.VIPS.value.pack(words)
    if "server_ids" in maps:
        for server_id, number in t.server_ids:
            maps["server_ids"][layout.SERVER_IDS.key.pack(int(server_id))] = layout.SERVER_IDS.value.pack(int(number))
    refresh(maps, balancer)


def refresh(maps: Mapping[str, Any], balancer: Balancer) -> None:
    """Write backends and rings again, after a backend's state has changed; in the order of `Balancer.refresh`."""
    t, layout, keys = balancer.tables, kernel_tables.BACKENDS, np.arange(len(balancer.tables.backends), dtype="<u4")
    before = [layout.value.unpack(maps["backends"][layout.key.pack(int(key))])[0] for key in keys]
    coming = t.backends.copy()
    coming[:, 0] = np.maximum(coming[:, 0], np.array(before, np.uint64))
    _write(maps["backends"], keys, coming)
    for number, ring in enumerate(t.rings):
        _write(maps["rings"], np.arange(len(ring), dtype="<u4") + np.uint32(number * RING_SIZE), ring)
    _write(maps["backends"], keys, t.backends)


def _write(target: Any, keys: Any, values: Any) -> None:
    """Many entries of an array map."""
    if isinstance(target, storage.Map):
        rows = np.ascontiguousarray(values).view(np.uint8).reshape(len(keys), -1)
        target.table.values[keys, : rows.shape[1]] = rows
    else:
        target.update_many(keys, values)


def counters(maps: Mapping[str, Any], balancer: Balancer) -> dict[str, Any]:
    """The counters of user space: "vips" int64[services, 4], "backends" int64[n + 1, 2], "reasons" int64[16]."""
    shapes = {"vip_counters": (-1, 4), "backend_count": (-1, 2), "reason_counters": (16,)}
    sums = {}
    for name, shape in shapes.items():
        sums[name] = _copies(maps[name]).sum(axis=1).astype(np.int64).reshape(shape)
    t = balancer.tables
    return {
        "vips": sums["vip_counters"][: len(t.vip_counters)],
        "backends": sums["backend_count"][: len(t.backend_counters)],
        "reasons": sums["reason_counters"],
    }


def _copies(counts: Any) -> Any:
    """uint64[entries, copies, words] of a map of counters: the kernel has a copy for each CPU, the machine has one."""
    if isinstance(counts, storage.Map):
        return counts.as_array("<u8").reshape(counts.max_entries, 1, -1)
    return counts.as_array(None).view("<u8")


class InKernel:
    """A balancer as an XDP program in the kernel: a context manager that detaches and closes everything.

    with InKernel(config) as lb, lb.attach("eth0"): ...
    """

    def __init__(self, config: Config | Balancer, *, guard: Guard | None = None) -> None:
        self.balancer = config if isinstance(config, Balancer) else Balancer(config)
        source = program(family_of(self.balancer.config), guard is not None)
        self.program = kernel.load(source.object)
        try:
            fill(self.program.maps, self.balancer, guard)
        except BaseException:
            self.program.close()
            raise

    def __enter__(self) -> InKernel:
        return self

    def __exit__(self, *_: object) -> None:
        self.program.close()

    def attach(self, to: Any, mode: str = "native") -> Any:
        """Balance what arrives at an interface, by name or index; see `ebpf.attach`."""
        return self.program.attach(to, mode)

    def set_state(self, address: str, state: int) -> None:
        """ACTIVE, DRAINING or GONE, under traffic."""
        self.balancer.set_state(address, state)
        refresh(self.program.maps, self.balancer)

    def counters(self) -> dict[str, Any]:
        """As they are now: "vips" int64[services, 4], "backends" int64[n + 1, 2], "reasons" int64[16]."""
        return counters(self.program.maps, self.balancer)

    def run(self, frame: bytes) -> tuple[int, bytes]:
        """(verdict, frame afterwards) of one frame, without an interface."""
        done = self.program.test_run(frame)
        return done.verdict, done.packet

    def reasons(self) -> dict[str, int]:
        """How many packets met their end for which reason, those of 0 left out."""
        counts = counters(self.program.maps, self.balancer)["reasons"]
        return {reason.name.lower(): int(counts[reason]) for reason in Reason if counts[reason]}


class InMachine:
    """The same program in the book's virtual machine."""

    def __init__(self, config: Config | Balancer, *, guard: Guard | None = None, **options: Any) -> None:
        self.balancer = config if isinstance(config, Balancer) else Balancer(config)
        source = program(family_of(self.balancer.config), guard is not None)
        specs = source.object.maps
        self.maps = {
            spec.name: storage.Map(spec.kind, spec.key_size, spec.value_size, spec.max_entries, name=spec.name)
            for spec in specs
        }
        fill(self.maps, self.balancer, guard)
        self.machine = Machine(source.object.program, self.maps, **options)

    def run(self, frame: bytes) -> tuple[int, bytes]:
        """(verdict, frame afterwards) of one frame."""
        done: Result = self.machine.run(frame)
        return done.verdict, done.packet

    def reasons(self) -> dict[str, int]:
        """How many packets met their end for which reason, those of 0 left out."""
        counts = counters(self.maps, self.balancer)["reasons"]
        return {reason.name.lower(): int(counts[reason]) for reason in Reason if counts[reason]}
