"""The data plane's tables in the kernel: BPF maps behind the names of `tables`.

Rule of this file: one map a table, and for each function of `tables` its meaning over them. A program that is given
`MAPS` as its tables uses these.

Theory. The kernel's LRU hashes take the place of the flow tables: fixed memory, the least recently used gives way, and
that there are two of them keeps the promise of `tables` here too. Counters are one copy a CPU, so that no two CPUs
write one cache line.

Trap. What the kernel calls LRU is near, not exact: each CPU frees entries in batches from a list of its own. An entry
can go while a few older ones stay.
"""

# What numba compiles has no annotations.
# mypy: disable-error-code="no-untyped-def,no-untyped-call"
from __future__ import annotations

from typing import Any

from numba import types
from numba.core.imputils import lower_constant
from numba.extending import models, overload, register_model, typeof_impl

from lbcore.ebpf import maps
from lbcore.ebpf.helpers import ktime_get_ns
from lbcore.ebpf.maps import U32, U64
from lbcore.l4 import tables
from lbcore.l4.tables import Backend, Found, Settings, Way
from lbcore.wire.words import int64, word64

KEY = (U64,) * 5
MAX_VIPS, MAX_RINGS, MAX_BACKENDS, RING_SIZE = 1024, 64, 4096, 65537

SETTINGS = maps.array("settings", 1, (U64,) * 13)
VIPS = maps.hash_map("vips", MAX_VIPS, key=(U64, U64, U64), value=(U64, U64))
RINGS = maps.array("rings", MAX_RINGS * RING_SIZE, value=U32)
BACKENDS = maps.array("backends", MAX_BACKENDS, (U64,) * 5)
SERVER_IDS = maps.hash_map("server_ids", MAX_BACKENDS * 4, key=U32, value=U32)
ESTABLISHED = maps.lru_hash("established", 1 << 17, key=KEY, value=(U64, U64))
ATTEMPTS = maps.lru_hash("attempts", 1 << 16, key=KEY, value=(U64, U64))
RETURNS = maps.lru_hash("returns", 1 << 17, key=KEY, value=(U64,) * 6)
VIP_COUNTERS = maps.percpu_array("vip_counters", 2 * MAX_RINGS, value=(U64, U64))
BACKEND_COUNTERS = maps.percpu_array("backend_count", MAX_BACKENDS, value=(U64, U64))
REASON_COUNTERS = maps.percpu_array("reason_counters", 16)


class Maps:
    """The marker that stands where user space passes its arrays."""


class MapsType(types.Type):  # type: ignore[misc]
    """Its numba type."""

    def __init__(self) -> None:
        super().__init__("l4.Maps")


MAPS = Maps()
register_model(MapsType)(models.OpaqueModel)
typeof_impl.register(Maps)(lambda value, context: MapsType())
lower_constant(MapsType)(lambda context, builder, kind, value: context.get_dummy_value())


def over_maps(function: Any) -> Any:
    """Marks the meaning of one of the seam's functions over maps."""
    original = getattr(tables, function.__name__)

    def chosen(*arguments: Any) -> Any:
        return function if isinstance(arguments[0], MapsType) else None

    overload(original, strict=False, target="bpf")(chosen)
    return function


@over_maps
def now(t):
    return int64(ktime_get_ns())


@over_maps
def settings(t):
    s = SETTINGS.lookup(0)[1]
    return Settings(
        int64(s[0]),
        int64(s[1]),
        int64(s[2]),
        s[3],
        s[4],
        int64(s[5]),
        s[6],
        int64(s[7]),
        int64(s[8]),
        int64(s[9]),
        int64(s[10]),
        int64(s[11]),
        int64(s[12]),
    )


@over_maps
def vip(t, high, low, service):
    found, value = VIPS.lookup((high, low, word64(service)))
    if not found:
        return -1, 0
    return int64(value[0]), int64(value[1])


@over_maps
def ring(t, number, position):
    return RINGS.lookup(number * RING_SIZE + position)[1]


@over_maps
def backend(t, number):
    b = BACKENDS.lookup(number)[1]
    return Backend(int64(b[0]), b[1], b[2], int64(b[3]), int64(b[4]))


@over_maps
def server(t, server_id):
    return SERVER_IDS.lookup(server_id)[1]


@over_maps
def established(t, hash32, key):
    found, e = ESTABLISHED.lookup(key)
    return Found(0 if found else -1, int64(e[0]), int64(e[1]))


@over_maps
def attempt(t, hash32, key):
    found, e = ATTEMPTS.lookup(key)
    return Found(0 if found else -1, int64(e[0]), int64(e[1]))


@over_maps
def establish(t, hash32, key, when, number):
    ESTABLISHED.update(key, (word64(when), word64(number)))


@over_maps
def try_out(t, hash32, key, when, number):
    ATTEMPTS.update(key, (word64(when), word64(number)))


@over_maps
def forget_attempt(t, hash32, key, place):
    ATTEMPTS.delete(key)


@over_maps
def way_back(t, hash32, key):
    found, w = RETURNS.lookup(key)
    return Way(1 if found else 0, w[0], w[1], w[2], w[3], int64(w[4]), int64(w[5]))


@over_maps
def remember_way(t, hash32, key, way, when):
    ends = (way.vip_high, way.vip_low, way.client_high, way.client_low)
    RETURNS.update(key, (*ends, word64(way.ports), word64(way.ethernet)))


@over_maps
def count_vip(t, number, reply, size):
    VIP_COUNTERS.add(2 * number + reply, (1, size))


@over_maps
def count_backend(t, number, size):
    BACKEND_COUNTERS.add(number, (1, size))


@over_maps
def count_reason(t, reason):
    REASON_COUNTERS.increment(reason)
