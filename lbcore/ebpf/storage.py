"""Maps, as Python sees them: dictionaries from bytes to bytes, of a fixed size and with the kernel's rules.

Rule of this file: names, checks and exceptions. The memory and the operations are in `tables`; the machine's helpers
and compiled functions work on the same memory.

There is one simulated CPU, so a per-CPU map is the plain kind of the same size.
"""

# What numba compiles has no annotations.
# mypy: disable-error-code="no-untyped-def"
from __future__ import annotations

import os
from collections.abc import Iterator, MutableMapping
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from lbcore.ebpf import ring, tables
from lbcore.ebpf.arithmetic import U64
from lbcore.ebpf.ring import output
from lbcore.ebpf.tables import ANY, EXIST, NOEXIST, Table, delete, find, lookup, update, value_address
from lbcore.jit import kernel

__all__ = ["ANY", "EXIST", "KINDS", "NOEXIST", "Map", "Table", "delete", "find", "lookup", "output", "update",
           "value_address"]  # fmt: skip


class Kind(NamedTuple):
    """number: the kernel's BPF_MAP_TYPE; key_sizes, value_sizes: allowed ones in bytes."""

    number: int
    family: int
    key_sizes: range = range(1, 513)
    value_sizes: range = range(1, 1 << 24)


_INDEX, _WORD = range(4, 5), range(4, 9, 4)
_PREFIX = range(5, 261)
_NONE = range(1)

KINDS = {
    "hash": Kind(1, tables.HASH),
    "array": Kind(2, tables.ARRAY, _INDEX),
    "prog_array": Kind(3, tables.SPARSE, _INDEX, _INDEX),
    "perf_event_array": Kind(4, tables.SPARSE, _INDEX, _INDEX),
    "percpu_hash": Kind(5, tables.HASH),
    "percpu_array": Kind(6, tables.ARRAY, _INDEX),
    "lru_hash": Kind(9, tables.LRU),
    "lru_percpu_hash": Kind(10, tables.LRU),
    "lpm_trie": Kind(11, tables.PREFIX, _PREFIX),
    "array_of_maps": Kind(12, tables.SPARSE, _INDEX, _INDEX),
    "hash_of_maps": Kind(13, tables.HASH, range(1, 513), _INDEX),
    "devmap": Kind(14, tables.SPARSE, _INDEX, _WORD),
    "cpumap": Kind(16, tables.SPARSE, _INDEX, _WORD),
    "xskmap": Kind(17, tables.SPARSE, _INDEX, _INDEX),
    "devmap_hash": Kind(25, tables.HASH, _INDEX, _WORD),
    "ringbuf": Kind(27, tables.RING, _NONE, _NONE),
}
"""The kinds of maps, named as in the kernel."""

MOST_BYTES = 1 << 31


class Map(MutableMapping[bytes, bytes]):
    """One map. Keys and values are bytes of exactly `key_size` and `value_size`, numbers in them little-endian.

    `max_entries` of a ring buffer is its size in bytes. Errors: KeyError where a dictionary has it; OSError with the
    kernel's error number when the kernel would refuse an update (E2BIG: full, or an index too large).
    `events` collects what programs send through a perf_event_array.
    """

    def __init__(
        self, kind: str, key_size: int, value_size: int, max_entries: int, *, name: str = "", readonly: bool = False
    ) -> None:
        _check(kind, key_size, value_size, max_entries)
        self.kind, self.key_size, self.value_size, self.max_entries = kind, key_size, value_size, max_entries
        self.name, self.readonly = name or kind, readonly
        self.events: list[bytes] = []
        self.table = tables.empty(KINDS[kind].family, key_size, value_size, max_entries)

    def __repr__(self) -> str:
        return f"<{self.kind} {self.name!r}: {len(self)} of {self.max_entries} entries>"

    @property
    def family(self) -> int:
        """Which of the families in `tables` holds it."""
        return KINDS[self.kind].family

    def __getitem__(self, key: bytes) -> bytes:
        slot = _find(self.table, self._bytes("key", key, self.key_size))
        if slot < 0:
            raise KeyError(key)
        return bytes(self.table.values[slot, : self.value_size])

    def __setitem__(self, key: bytes, value: bytes) -> None:
        self.update_entry(key, value)

    def __delitem__(self, key: bytes) -> None:
        error = _delete(self.table, self._bytes("key", key, self.key_size))
        if error == -tables.ENOENT:
            raise KeyError(key)
        self._raise(error)

    def __iter__(self) -> Iterator[bytes]:
        used = np.flatnonzero(self.table.links[:, tables.USED]) if self.family != tables.RING else ()
        if self.family in (tables.ARRAY, tables.SPARSE):
            return (int(slot).to_bytes(4, "little") for slot in used)
        return iter([self.table.keys[slot].tobytes() for slot in used])

    def __len__(self) -> int:
        return int(self.table.facts[tables.COUNT])

    def __contains__(self, key: object) -> bool:
        return isinstance(key, bytes) and _find(self.table, self._bytes("key", key, self.key_size)) >= 0

    def update_entry(self, key: bytes, value: bytes, flags: int = ANY) -> None:
        """Write an entry; NOEXIST wants it to be new (else EEXIST), EXIST to be there (else ENOENT)."""
        key_bytes = self._bytes("key", key, self.key_size)
        self._raise(_update(self.table, key_bytes, self._bytes("value", value, self.value_size), flags))

    def slot(self, key: bytes, *, use: bool = False) -> int:
        """The key's slot, or -1; `use` makes it the newest of an LRU map."""
        return int((_lookup if use else _find)(self.table, self._bytes("key", key, self.key_size)))

    def as_array(self, dtype: Any) -> npt.NDArray[Any]:
        """The values of all slots as numbers, without copying: shape (max_entries,) if a value is one `dtype`."""
        numbers: npt.NDArray[Any] = self.table.values.view(dtype)
        count = self.value_size // np.dtype(dtype).itemsize
        return numbers[:, 0] if count == 1 else numbers[:, :count]

    def consume(self) -> list[bytes]:
        """Take all finished records out of a ring buffer, oldest first."""
        return ring.consume(self.table)

    def _bytes(self, what: str, data: bytes, size: int) -> npt.NDArray[np.uint8]:
        if len(data) != size:
            raise ValueError(f"{what} of {self.name!r}: {len(data)} bytes; this map's have {size}")
        return np.frombuffer(bytes(data) or b"\0", np.uint8)

    def _raise(self, result: int) -> None:
        if result < 0:
            raise OSError(-result, f"map {self.name!r}: {os.strerror(-result)}")


def _check(kind: str, key_size: int, value_size: int, max_entries: int) -> None:
    if kind not in KINDS:
        raise ValueError(f"kind {kind!r}: there are {', '.join(KINDS)}")
    entry = KINDS[kind]
    for field, value, allowed in (
        ("key_size", key_size, entry.key_sizes),
        ("value_size", value_size, entry.value_sizes),
    ):
        if value not in allowed:
            right = " or ".join(map(str, allowed)) if len(allowed) < 3 else f"{allowed[0]} to {allowed[-1]}"
            raise ValueError(f"{field} {value} of a map of kind {kind}: {right} bytes")
    if entry.family == tables.RING and (max_entries < 4096 or max_entries & (max_entries - 1)):
        raise ValueError(f"max_entries {max_entries} of a ringbuf: its size in bytes, a power of two from 4096 on")
    if max_entries < 1:
        raise ValueError(f"max_entries {max_entries}: at least 1")
    size = max_entries * (2 if entry.family == tables.RING else key_size + value_size + 64)
    if size > MOST_BYTES:
        raise ValueError(
            f"max_entries {max_entries}: that is {size} bytes; the machine gives a map {MOST_BYTES} at most"
        )


@kernel
def _lookup(table, key):
    return lookup(table, U64(key.ctypes.data))


@kernel
def _find(table, key):
    return find(table, U64(key.ctypes.data))


@kernel
def _update(table, key, value, flags):
    return update(table, U64(key.ctypes.data), U64(value.ctypes.data), flags)


@kernel
def _delete(table, key):
    return delete(table, U64(key.ctypes.data))
