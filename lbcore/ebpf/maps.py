"""Maps as a program is written with them: tables that the program and everybody else can read and write.

    hits = maps.array("hits", 256)                        # 64-bit counters
    flows = maps.lru_hash("flows", 1024, key=(B32, B16), value=U32)

    hits.increment(protocol)
    found, backend = flows.lookup((address, port))

Rule of this file: what a map holds, and what its methods do in plain Python: to `storage`, where the machine finds it.
`maps_numba` gives the methods their compiled meaning.

Theory. To the kernel, keys and values are bytes. Here they are numbers, or tuples of numbers laid out as C lays out a
struct: each field at a multiple of its size, gaps zero (the kernel compares keys byte by byte, so a gap of garbage
would be another key). A field of 64 bits is a word (`words.word64`), a smaller one a plain integer.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from lbcore.ebpf import ring, storage, tables
from lbcore.ebpf.storage import ANY, EXIST, NOEXIST

__all__ = ["ANY", "B16", "B32", "B64", "EXIST", "NOEXIST", "U8", "U16", "U32", "U64", "Map"]

Number = int | tuple[int, ...]


@dataclass(frozen=True)
class Field:
    """An unsigned number of `size` bytes; `order`: "little", as processors have it, or "big", as on the wire."""

    size: int
    order: Any = "little"


U8, U16, U32, U64 = Field(1), Field(2), Field(4), Field(8)
B16, B32, B64 = Field(2, "big"), Field(4, "big"), Field(8, "big")

Fields = Field | tuple[Field, ...]


class Layout:
    """Where each field of a key or value is, as in a C struct. `single`: it is a number, not a tuple of numbers."""

    def __init__(self, fields: Fields) -> None:
        self.single = isinstance(fields, Field)
        self.fields: tuple[Field, ...] = (fields,) if isinstance(fields, Field) else fields
        self.offsets: list[int] = []
        end = 0
        for field in self.fields:
            start = -(-end // field.size) * field.size
            self.offsets.append(start)
            end = start + field.size
        widest = max((field.size for field in self.fields), default=1)
        self.size = -(-end // widest) * widest

    def pack(self, value: Number) -> bytes:
        """The bytes of a number or tuple; of each number the low bits of its field."""
        values = value if isinstance(value, tuple) else (value,)
        if len(values) != len(self.fields):
            raise ValueError(f"{value!r}: {len(self.fields)} numbers were expected")
        data = bytearray(self.size)
        for field, offset, number in zip(self.fields, self.offsets, values, strict=True):
            low = int(number) & ((1 << 8 * field.size) - 1)
            data[offset : offset + field.size] = low.to_bytes(field.size, field.order)
        return bytes(data)

    def unpack(self, data: bytes) -> Any:
        """The number or tuple in these bytes."""
        places = zip(self.fields, self.offsets, strict=True)
        values = tuple(int.from_bytes(data[at : at + field.size], field.order) for field, at in places)
        return values[0] if self.single else values


class Map:
    """One map of a kind of `storage.KINDS`. `name`: what the kernel will call it: at most 15 characters, an identifier.

    `storage` is its content outside of the kernel: for plain Python, for numba, and for the machine.
    """

    def __init__(self, kind: str, name: str, max_entries: int, key: Fields = (), value: Fields = ()) -> None:
        if not name.isidentifier() or not name.isascii() or len(name) > 15:
            raise ValueError(f"map name {name!r}: the kernel wants letters, digits and _, at most 15")
        self.kind, self.name, self.max_entries = kind, name, max_entries
        self.key, self.value = Layout(key), Layout(value)
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
        """Add to a key's value, a number of 32 or 64 bits, in one step that no other CPU can split.

        A key that is not there starts at 0. False if there is no room for it.
        """
        found, count = self.lookup(key)
        return self.update(key, count + by if found else by) == 0

    def redirect(self, key: int, otherwise: int) -> int:
        """The verdict that sends the packet to entry `key` of a devmap, cpumap or xskmap; without one, `otherwise`."""
        return 4 if self.storage.slot(self.key.pack(key)) >= 0 else otherwise & 3

    def tail_call(self, context: Any, index: int) -> None:
        """Go on in program `index` of a prog_array and never come back; without one, nothing happens, as in Python."""


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


def lpm_trie(name: str, max_entries: int, key: Fields = B32, value: Fields = U32) -> Map:
    """Longest prefix match: keys are (length in bits, address ...); the longest prefix that fits is found."""
    fields = key if isinstance(key, tuple) else (key,)
    return Map("lpm_trie", name, max_entries, (U32, *fields), value)


def devmap(name: str, max_entries: int) -> Map:
    """Interfaces to `redirect` to; values are interface indexes."""
    return Map("devmap", name, max_entries, U32, U32)


def xskmap(name: str, max_entries: int) -> Map:
    """AF_XDP sockets to `redirect` to."""
    return Map("xskmap", name, max_entries, U32, U32)


def prog_array(name: str, max_entries: int) -> Map:
    """Programs to go on in (`tail_call`)."""
    return Map("prog_array", name, max_entries, U32, U32)


def ringbuf(name: str, size: int, record: Fields) -> Map:
    """A ring of `size` bytes, a power of two from 4096 on, through which programs send records."""
    return RingBuffer(name, size, record)


class RingBuffer(Map):
    """A ring buffer whose records are all laid out alike."""

    def __init__(self, name: str, size: int, record: Fields) -> None:
        super().__init__("ringbuf", name, size)
        self.record = Layout(record)

    def output(self, record: Number) -> int:
        """Append a record: 0, or negative if the ring is full."""
        data, table = self.record.pack(record), self.storage.table
        offset = int(ring.reserve(table, len(data)))
        if offset >= 0:
            table.values[0, offset : offset + len(data)] = bytearray(data)
            ring.commit(table, offset, False)
        return min(offset, 0)
