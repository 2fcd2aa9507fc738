"""What the data plane knows: who is served, by whom, and who was given what. The second seam, beside the packet's.

Rule of this file: the functions through which the core reaches its tables, and their meaning in user space, where
tables are numpy arrays. `kernel_tables` gives the same names their meaning over the kernel's maps.

Theory. Configuration is read-only to the packets: virtual addresses in a small hash, one Maglev ring a service, the
backends by number. State is two flow tables and, for NAT, the way back. Counters are plain arrays that anybody may read
while packets run.

Two flow tables, not one, make the promise: *a connection that has shown a second packet is never pushed out by one that
has not*. A key that is new goes into `attempts`; when it comes again, it moves to `established`. A flood from forged
addresses shows each of them once, so it fills `attempts`, however large it is, and nothing else.

Trap. A second packet counts as one while the first is remembered. Where a flood turns `attempts` over faster than a
client answers, connections that begin then are not remembered; the ring leads them, and moves them if it changes.

Arrays are indexed by `word64`: numba need not ask then whether an index is below zero and means the array's end.
"""

# What numba compiles on behalf of `on_arrays` keeps to plain integers; annotations are for people.
from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt
from numba import types
from numba.extending import overload

from lbcore.l4 import flow_table
from lbcore.l4.flow_table import ROW, FlowTable
from lbcore.wire.portable import portable
from lbcore.wire.words import int64, mul64, word64

F = TypeVar("F", bound=Callable[..., Any])
Words = npt.NDArray[np.uint64]
Key = tuple[int, int, int, int, int]

NO_BACKEND = 0
"""Backends count from 1; a slot of a ring that holds 0 leads nowhere."""
TRACK = 1 << 31
"""The bit of a ring's slot that says: flows of this slot could move, remember them."""
GONE, DRAINING, ACTIVE = 0, 1, 2
"""A backend's states: takes nothing, takes the flows it has, takes all."""


class Settings(NamedTuple):
    """Numbers that hold for all packets. Addresses of 48 (Ethernet), 32 and 2 * 64 bits, lengths in bytes."""

    gateway: int
    """Where frames go whose backend has no Ethernet address of its own."""
    max_frame: int
    source4: int
    """Source of tunnels over IPv4, and of full NAT."""
    source6_high: int
    source6_low: int
    spread4: int
    """IPIP over IPv4: the upper 16 bits of the source; the lower ones differ by flow. 0: `source4` as it stands."""
    spread6_high: int
    """The same over IPv6: the upper 64 bits; the lowest 32 differ by flow. 0: `source6` as it stands."""
    gue_port: int
    seed: int
    seed6: int
    """Of the flow hash; `seed6` folds IPv6 addresses."""
    ring_size: int
    idle: int
    """Nanoseconds after which an entry of UDP is no longer believed."""
    ethernet: int
    """Whose frames are handled; 0: all that come in."""


class Backend(NamedTuple):
    """A backend. Its address stands as flows have theirs; `ethernet` 0: by the gateway; `port` 0: the client's."""

    state: int
    high: int
    low: int
    ethernet: int
    port: int


class Found(NamedTuple):
    """An entry of a flow table. `place` is for giving back; below 0 there is none."""

    place: int
    seen: int
    backend: int


class Way(NamedTuple):
    """The way back of a translated flow: what a reply's source and destination are to become."""

    found: int
    vip_high: int
    vip_low: int
    client_high: int
    client_low: int
    ports: int
    """Number of the service << 32 | the virtual port << 16 | the client's."""
    ethernet: int
    """Where the client's frames came from."""


class Tables(NamedTuple):
    """Everything, as arrays. Built by `config`; packets write the flow tables, `ways` and the counters."""

    settings: tuple[np.uint64, ...]
    """13 numbers in the order of `Settings`. No array: compiled code would have to read it anew behind every store."""
    vip_keys: Words
    """uint64[size, 3]: address, port << 8 | protocol; open addressing, size a power of two; free rows are all ones."""
    vip_values: Words
    """uint64[size, 2]: number of the service, flags."""
    rings: npt.NDArray[np.uint32]
    """uint32[services, ring size]: backend, TRACK."""
    backends: Words
    """uint64[backends + 1, 5], in the order of `Backend`; row 0 is nobody."""
    server_ids: npt.NDArray[np.int64]
    """int64[n, 2], sorted: QUIC server id, backend."""
    established: FlowTable
    attempts: FlowTable
    returns: FlowTable
    ways: Words
    """uint64[rows of returns, 6], in the order of `Way` behind `found`."""
    clock: Words
    """uint64[1]: now, in nanoseconds; whoever runs the packets sets it."""
    vip_counters: npt.NDArray[np.int64]
    """int64[services, 4]: packets and bytes from clients, packets and bytes of replies."""
    backend_counters: npt.NDArray[np.int64]
    """int64[backends + 1, 2]: packets, bytes."""
    reason_counters: npt.NDArray[np.int64]
    """int64[16], by `reasons.Reason`."""


@portable
def in_shape(t: Tables) -> bool:
    """Has every row as many words as its docstring says? Whoever has asked compiles to constants, not to products."""
    flows: bool = t.established.rows.shape[1] == ROW and t.attempts.rows.shape[1] == ROW
    returns: bool = t.returns.rows.shape[1] == ROW and t.ways.shape[1] == 6
    services: bool = t.vip_keys.shape[1] == 3 and t.vip_values.shape[1] == 2 and t.vip_counters.shape[1] == 4
    backends: bool = t.backends.shape[1] == 5 and t.backend_counters.shape[1] == 2
    return flows and returns and services and backends


def on_arrays(function: F) -> F:
    """Marks a function of the seam: Python and numba run it as it stands where tables are arrays."""

    def chosen(*arguments: Any) -> Any:
        return function if isinstance(arguments[0], types.BaseTuple) else None

    overload(function, strict=False, jit_options={"forceinline": True})(chosen)
    return function


@portable
def place_of(high: int, low: int, service: int) -> int:
    """A hash of an address and a port, for tables of virtual addresses: 32 bits."""
    mixed = mul64(high ^ (high >> 29) ^ low ^ word64(service << 40), word64(0x9E3779B97F4A7C15))
    return int64(mixed >> 32)


@on_arrays
def now(tables: Any) -> int:
    """Nanoseconds of a clock that never goes back."""
    return int64(int(tables.clock[0]))


@on_arrays
def settings(tables: Any) -> Settings:
    """The numbers that hold for all packets."""
    s = tables.settings
    return Settings(
        int64(int(s[0])),
        int64(int(s[1])),
        int64(int(s[2])),
        word64(int(s[3])),
        word64(int(s[4])),
        int64(int(s[5])),
        word64(int(s[6])),
        int64(int(s[7])),
        int64(int(s[8])),
        int64(int(s[9])),
        int64(int(s[10])),
        int64(int(s[11])),
        int64(int(s[12])),
    )


@on_arrays
def vip(tables: Any, high: int, low: int, service: int) -> tuple[int, int]:
    """(number, flags) of the service at an address and port << 8 | protocol, else (-1, 0). Service 0: any at all."""
    mask = tables.vip_keys.shape[0] - 1
    at = place_of(high, low, service) & mask
    for _ in range(mask + 1):
        key = tables.vip_keys[word64(at)]
        if key[0] == high and key[1] == low and key[2] == word64(service):
            value = tables.vip_values[word64(at)]
            return int64(int(value[0])), int64(int(value[1]))
        if key[2] == word64(0xFFFFFFFFFFFFFFFF):
            break
        at = (at + 1) & mask
    return -1, 0


@on_arrays
def ring(tables: Any, number: int, position: int) -> int:
    """The slot of a service's ring: a backend, and perhaps TRACK."""
    return int(tables.rings[word64(number), word64(position)])


@on_arrays
def backend(tables: Any, number: int) -> Backend:
    """The backend with a number; of one that never was, the state is GONE."""
    known = word64(number) < word64(tables.backends.shape[0])
    b = tables.backends[word64(number if known else 0)]
    return Backend(int64(int(b[0])), word64(int(b[1])), word64(int(b[2])), int64(int(b[3])), int64(int(b[4])))


@on_arrays
def server(tables: Any, server_id: int) -> int:
    """The backend with a QUIC server id, or NO_BACKEND."""
    low, high = 0, tables.server_ids.shape[0]
    while low < high:
        middle = (low + high) >> 1
        if int(tables.server_ids[middle, 0]) < server_id:
            low = middle + 1
        else:
            high = middle
    if low < tables.server_ids.shape[0] and int(tables.server_ids[low, 0]) == server_id:
        return int(tables.server_ids[low, 1])
    return NO_BACKEND


@on_arrays
def established(tables: Any, hash32: int, key: Key) -> Found:
    """The entry of a flow that has shown two packets."""
    e = flow_table.find(tables.established, hash32, key)
    return Found(e.row, e.seen, e.backend)


@on_arrays
def attempt(tables: Any, hash32: int, key: Key) -> Found:
    """The entry of a flow that has shown one packet."""
    e = flow_table.find(tables.attempts, hash32, key)
    return Found(e.row, e.seen, e.backend)


@on_arrays
def establish(tables: Any, hash32: int, key: Key, when: int, number: int) -> None:
    """Remember a flow for good, or note that it was used. `number`: of its backend."""
    flow_table.put(tables.established, hash32, key, when, int64(int(tables.settings[11])), number)


@on_arrays
def try_out(tables: Any, hash32: int, key: Key, when: int, number: int) -> None:
    """Remember a flow that has shown one packet."""
    flow_table.put(tables.attempts, hash32, key, when, int64(int(tables.settings[11])), number)


@on_arrays
def forget_attempt(tables: Any, hash32: int, key: Key, place: int) -> None:
    """It is established now, or wrong."""
    flow_table.remove(tables.attempts, place)


@on_arrays
def way_back(tables: Any, hash32: int, key: Key) -> Way:
    """What a reply is to become; the key is the reply's own. Counts as use."""
    row = flow_table.find(tables.returns, hash32, key).row
    if row < 0:
        none = word64(0)
        return Way(0, none, none, none, none, 0, 0)
    flow_table.touch(tables.returns, row, int64(int(tables.clock[0])))
    w = tables.ways[word64(row)]
    return Way(
        1,
        word64(int(w[0])),
        word64(int(w[1])),
        word64(int(w[2])),
        word64(int(w[3])),
        int64(int(w[4])),
        int64(int(w[5])),
    )


@on_arrays
def remember_way(tables: Any, hash32: int, key: Key, way: Way, when: int) -> None:
    """Note the way back of a flow, under the key that its replies will have."""
    row = flow_table.put(tables.returns, hash32, key, when, int64(int(tables.settings[11])), 0)
    w = tables.ways[word64(row)]
    w[0], w[1], w[2], w[3] = way.vip_high, way.vip_low, way.client_high, way.client_low
    w[4], w[5] = way.ports, way.ethernet


@on_arrays
def count_vip(tables: Any, number: int, reply: int, size: int) -> None:
    """One packet of `size` bytes from a client (reply 0) or to one (1)."""
    counts = tables.vip_counters[word64(number)]
    counts[2 * reply] += 1
    counts[2 * reply + 1] += size


@on_arrays
def count_backend(tables: Any, number: int, size: int) -> None:
    """One packet of `size` bytes to a backend."""
    counts = tables.backend_counters[word64(number)]
    counts[0] += 1
    counts[1] += size


@on_arrays
def count_reason(tables: Any, reason: int) -> None:
    """One packet that met its end for a reason."""
    tables.reason_counters[word64(reason)] += 1
