"""Maps as a program is written with them: tables that the program and everybody else can read and write.

    hits = maps.array("hits", 256)                                           # 64-bit counters
    flows = maps.lru_hash("flows", 1024, key=(B128, B16), value=U32)         # an IPv6 address and a port
    backends = maps.array("backends", 512, value={"packets": U64, "octets": U64, "port": B16})

    hits.increment(protocol)
    found, number = flows.lookup((ip.source_high, ip.source_low, port))
    backends.add(number, size_of(p), "octets")
    found, backend = backends.lookup(number)                                 # backend.port: a copy
    backend = backends.find(number)                                          # if backend: backend.port = 80 changes it

Rule of this file: what a map holds, and what its methods do in plain Python: to `storage`, where the machine finds it.
`methods_numba` gives the methods their compiled meaning.

Theory. A program forgets everything at its end; what is to last, or to be known to others, is in a map. Keys and values
are numbers or tuples of numbers (`layouts` says how they lie in memory).

Trap. `update` writes a whole value, and two CPUs that read, change and write it lose one change. What is counted is
counted with `add`, which changes it where it is.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from lbcore.ebpf import ring, storage, tables
from lbcore.ebpf.layouts import B16, B32, B64, B128, U8, U16, U32, U64, Field, Fields, Layout, Number, countable
from lbcore.ebpf.storage import ANY, EXIST, NOEXIST

__all__ = ["ANY", "B16", "B32", "B64", "B128", "EXIST", "NOEXIST", "U8", "U16", "U32", "U64", "Layout", "Map"]


class TailCall(Exception):
    """How a tail call leaves a function in plain Python: `function` is to go on."""

    def __init__(self, function: Callable[[Any], int]) -> None:
        self.function = function
        super().__init__("a tail call: call the program itself, not the function it was made of")


MAX_TAIL_CALLS = 33


class Map:
    """One map of a kind of `storage.KINDS`. `name`: what the kernel will call it: at most 15 characters, an identifier.

    `storage` is its content outside of the kernel: for plain Python, for numba, and for the machine.
    """

    def __init__(self, kind: str, name: str, max_entries: int, key: Fields = (), value: Fields = ()) -> None:
        if not name.isidentifier() or not name.isascii() or len(name) > 15:
            raise ValueError(f"map name {name!r}: the kernel wants letters, digits and _, at most 15")
        self.kind, self.name, self.max_entries = kind, name, max_entries
        self.key, self.value = Layout(key, f"{name}_key"), Layout(value, f"{name}_value")
        if "add" in self.value.names:
            raise ValueError(f"map {name!r}: a field cannot be called 'add', which is what entries can do")
        self.storage = storage.Map(kind, self.key.size, self.value.size, max_entries, name=name)

    def __repr__(self) -> str:
        return f"<{self.kind} {self.name!r}>"

    def __len__(self) -> int:
        return len(self.storage)

    def __getitem__(self, key: Number) -> Any:
        return self.value.unpack(self.storage[self.key.pack(key)])

    def lookup(self, key: Number) -> tuple[bool, Any]:
        """(True, value) of a key that is there, else (False, zero or zeros)."""
        slot = self.storage.slot(self.key.pack(key), use=True)
        if slot < 0:
            return False, self.value.unpack(bytes(self.value.size))
        return True, self.value.unpack(self.storage.table.values[slot].tobytes())

    def update(self, key: Number, value: Number, flags: int = ANY) -> int:
        """Write a value: 0, or the negative of the kernel's error number. NOEXIST: only if new; EXIST: only if not."""
        try:
            self.storage.update_entry(self.key.pack(key), self.value.pack(value), flags)
        except OSError as error:
            return -(error.errno or 0)
        return 0

    def delete(self, key: Number) -> int:
        """Remove a key: 0, or the negative of the kernel's error number."""
        try:
            del self.storage[self.key.pack(key)]
        except KeyError:
            return -tables.ENOENT
        except OSError as error:
            return -(error.errno or 0)
        return 0

    def increment(self, key: Number, by: int = 1) -> bool:
        """Add to a key's value, if that is one number."""
        return self.add(key, by)

    def add(self, key: Number, by: Number, field: int | str | None = None) -> bool:
        """Add to a key's value where it is; to one field of it (by name or position), or `by` is a tuple for all.

        Each number, of 32 or 64 bits, changes in one step that no other CPU can split; in a per-CPU map no other could.
        A key that is not there starts at zero. False if there is no room for it.
        """
        layout = self.value
        more = [0] * len(layout.fields)
        if field is not None or layout.single:
            more[layout.position(field or 0)] = self._one(by)
        elif isinstance(by, tuple):
            more = list(by)
        else:
            raise ValueError(f"map {self.name!r}: add {layout.names} or say which field; given was {by!r}")
        for number, kind in zip(more, layout.fields, strict=True):
            if number and not countable(kind):
                raise ValueError(f"map {self.name!r}: only U32 and U64 can be added to, and this is {kind}")
        found, before = self.lookup(key)
        old = (before,) if layout.single else before
        total = tuple(a + b for a, b in zip(old, more, strict=True))
        return self.update(key, total, ANY if found else NOEXIST) == 0

    def set_field(self, key: Number, field: int | str, value: int) -> bool:
        """Write one field (by name or position) of a key's value where it is. False if there is no such key."""
        position = self.value.position(field)
        found, before = self.lookup(key)
        if not found:
            return False
        after = [before] if self.value.single else list(before)
        after[position] = value
        return self.update(key, tuple(after), EXIST) == 0

    def find(self, key: Number) -> Entry:
        """A key's value where it is, to be read and written field by field; false if there is no such key."""
        return Entry(self, self.storage.slot(self.key.pack(key), use=True))

    def redirect(self, key: int, otherwise: int) -> int:
        """The verdict that sends the packet to entry `key` of a devmap, cpumap or xskmap; without one, `otherwise`."""
        return 4 if self.storage.slot(self.key.pack(key)) >= 0 else otherwise & 3

    def _one(self, by: Number) -> int:
        if isinstance(by, tuple):
            raise ValueError(f"map {self.name!r}: one number is to be added; given was {by!r}")
        return by


class Entry:
    """A value in a map: `if entry:` it is there, then `entry.field` reads and `entry.field = n` writes; `entry.value`,
    if it is one number. As with a pointer in C, one look-up serves for all, and two CPUs can write at once."""

    __slots__ = ("_map", "_slot")

    _map: Map
    _slot: int

    def __init__(self, map_: Map, slot: int) -> None:
        object.__setattr__(self, "_map", map_)
        object.__setattr__(self, "_slot", slot)

    def __bool__(self) -> bool:
        return self._slot >= 0

    def __getattr__(self, name: str) -> int:
        field, place = self._place(name)
        return int.from_bytes(place.tobytes(), field.order)

    def __setattr__(self, name: str, value: int) -> None:
        field, place = self._place(name)
        place[:] = np.frombuffer(Layout(field).pack(value), np.uint8)

    def add(self, field: int | str, by: int) -> None:
        """Add to a field of 32 or 64 bits, in one step that no other CPU can split."""
        name = self._map.value.names[self._map.value.position(field)]
        if not countable(self._place(name)[0]):
            raise ValueError(f"{name!r} of {self._map}: only U32 and U64 can be added to")
        setattr(self, name, getattr(self, name) + by)

    def _place(self, name: str) -> tuple[Field, Any]:
        """A field, and its bytes."""
        layout = self._map.value
        if name not in layout.names:
            raise AttributeError(f"{name!r} is no field of {self._map}: {', '.join(layout.names)}")
        if self._slot < 0:
            raise LookupError(f"{self._map} has no such key: ask first whether the entry is there")
        at = layout.names.index(name)
        field, offset = layout.fields[at], layout.offsets[at]
        return field, self._map.storage.table.values[self._slot, offset : offset + field.size]


def array(name: str, max_entries: int, value: Fields = U64) -> Map:
    """Keys 0 to max_entries - 1; every value is there from the start, zero."""
    return Map("array", name, max_entries, U32, value)


def percpu_array(name: str, max_entries: int, value: Fields = U64) -> Map:
    """An array with one copy for each CPU: counters that no two CPUs fight over."""
    return Map("percpu_array", name, max_entries, U32, value)


def hash_map(name: str, max_entries: int, key: Fields, value: Fields = U64) -> Map:
    """Any keys; a full map refuses new ones."""
    return Map("hash", name, max_entries, key, value)


def percpu_hash(name: str, max_entries: int, key: Fields, value: Fields = U64) -> Map:
    """A hash with one copy of each value for each CPU."""
    return Map("percpu_hash", name, max_entries, key, value)


def lru_hash(name: str, max_entries: int, key: Fields, value: Fields = U64) -> Map:
    """Any keys; a full map gives up the one that was unused for longest."""
    return Map("lru_hash", name, max_entries, key, value)


def lru_percpu_hash(name: str, max_entries: int, key: Fields, value: Fields = U64) -> Map:
    """The same with one copy of each value for each CPU."""
    return Map("lru_percpu_hash", name, max_entries, key, value)


def lpm_trie(name: str, max_entries: int, key: Fields = B32, value: Fields = U32) -> Map:
    """Longest prefix match: keys are (length in bits, address ...); the longest prefix that fits is found.

    An address is B32, B128 or other big-endian fields: its bits are counted from the first byte on.
    """
    made = Map("lpm_trie", name, max_entries, {"length": U32, "address": key}, value)
    if made.key.offsets[1] != U32.size:
        raise ValueError(f"trie {name!r}: the address begins right behind the length; B64 does not, B128 or B32 does")
    return made


def devmap(name: str, max_entries: int) -> Map:
    """Interfaces to `redirect` to; values are interface indexes."""
    return Map("devmap", name, max_entries, U32, U32)


def devmap_hash(name: str, max_entries: int) -> Map:
    """The same under any numbers, such as interface indexes themselves."""
    return Map("devmap_hash", name, max_entries, U32, U32)


def xskmap(name: str, max_entries: int) -> Map:
    """AF_XDP sockets to `redirect` to."""
    return Map("xskmap", name, max_entries, U32, U32)


def prog_array(name: str, max_entries: int) -> ProgramArray:
    """Programs to go on in (`tail_call`)."""
    return ProgramArray(name, max_entries)


class ProgramArray(Map):
    """A map of programs. `sources`: those that were put in, by index, which is also their number in the machine."""

    def __init__(self, name: str, max_entries: int) -> None:
        super().__init__("prog_array", name, max_entries, U32, U32)
        self.sources: dict[int, Callable[[Any], int]] = {}

    def put(self, index: int, source: Callable[[Any], int]) -> None:
        """Let entry `index` be this program: in plain Python, and in a machine with `programs=` these."""
        if self.update(index, index):
            raise ValueError(f"map {self.name!r}: index {index}; there are {self.max_entries} entries")
        self.sources[index] = source

    def tail_call(self, context: Any, index: int) -> None:
        """Go on in program `index` with the same packet and never come back; without one, nothing happens.

        33 times at most. In plain Python the first program is to be called as a program (`@xdp`), not as its function.
        """
        if self.storage.slot(self.key.pack(index)) >= 0 and context.tail_calls < MAX_TAIL_CALLS:
            context.tail_calls += 1
            raise TailCall(self.sources[self[index]])


def ringbuf(name: str, size: int, record: Fields) -> RingBuffer:
    """A ring of `size` bytes, a power of two from 4096 on, through which programs send records."""
    return RingBuffer(name, size, record)


class RingBuffer(Map):
    """A ring buffer whose records are all laid out alike."""

    def __init__(self, name: str, size: int, record: Fields) -> None:
        super().__init__("ringbuf", name, size)
        self.record = Layout(record, f"{name}_record")

    def consume(self) -> list[Any]:
        """The records that were sent since, as numbers or tuples, oldest first."""
        return [self.record.unpack(data) for data in self.storage.consume()]

    def output(self, record: Number) -> int:
        """Append a record: 0, or negative if the ring is full."""
        data, table = self.record.pack(record), self.storage.table
        offset = int(ring.reserve(table, len(data)))
        if offset >= 0:
            table.values[0, offset : offset + len(data)] = bytearray(data)
            ring.commit(table, offset, False)
        return min(offset, 0)
