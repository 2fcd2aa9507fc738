"""BTF, the type information of BPF: enough of it to define maps and to tell source lines.

Rule of this file: it reads sections .BTF and .BTF.ext into tuples; what a type is for is others' business.

Theory (the kernel's Documentation/bpf/btf.rst). .BTF is a list of types that refer to one another by number, from 1 on,
and a section of strings. .BTF.ext says where in each code section a function starts, which source line an instruction
comes from (with the line's text), and which instructions depend on the layout of the kernel's own types.

Trap. The compiler leaves two things to the loader: the size of each data section and the place of each variable in
it. The kernel refuses BTF in which they are still zero; `Btf.placed` fills them in. Nor does it take declarations of
what is defined elsewhere: to keep the numbers of all others, `placed` puts a pointer in their place.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from struct import Struct
from typing import NamedTuple

from lbcore.ebpf.elf_file import text
from lbcore.ebpf.object import BadObject

MAGIC = 0xEB9F
(INT, POINTER, ARRAY, STRUCT, UNION, ENUM, FORWARD, TYPEDEF, VOLATILE, CONST, RESTRICT, FUNCTION, PROTOTYPE, VARIABLE,
 DATA_SECTION, FLOAT, DECLARATION_TAG, TYPE_TAG, ENUM64) = range(1, 20)  # fmt: skip
WRAPPERS = (TYPEDEF, VOLATILE, CONST, RESTRICT, TYPE_TAG)
"""Kinds that only rename or qualify another type."""

HEADER = Struct("<HBBIIIII")
TYPE = Struct("<III")
WORD, PAIR, TRIPLE = Struct("<I"), Struct("<II"), Struct("<III")
ONCE = {INT: WORD, ARRAY: TRIPLE, VARIABLE: WORD, DECLARATION_TAG: WORD}
"""What follows a type of these kinds, once."""
EACH = {STRUCT: TRIPLE, UNION: TRIPLE, ENUM: PAIR, PROTOTYPE: PAIR, DATA_SECTION: TRIPLE, ENUM64: TRIPLE}
"""What follows a type of these kinds, once for each of its members."""
WIDTH = 8
"""Bytes in a pointer."""
EXTERN = 2
"""The linkage of a variable or function that is only declared."""
LARGEST = (1 << 32) - 1
DEPTH = 32
"""How many types may refer to one another in a chain."""

FUNCTION_INFO, LINE_INFO, CORE_INFO = Struct("<II"), Struct("<IIII"), Struct("<IIII")


class Type(NamedTuple):
    """One type. value: a size, or the number of another type; rows: what follows it, as the file has it.

    vlen: how many rows there are, or the linkage of a function; offset: where it stands in the section.
    """

    number: int
    name: str
    kind: int
    value: int
    rows: tuple[tuple[int, ...], ...]
    offset: int
    vlen: int = 0

    @property
    def extern(self) -> bool:
        linkage = {FUNCTION: self.vlen, VARIABLE: self.rows[0][0] if self.rows else 0}
        return linkage.get(self.kind) == EXTERN


@dataclass(frozen=True)
class Btf:
    """The types of a section .BTF; `types[0]` is void."""

    data: bytes
    types: tuple[Type, ...]
    strings: bytes

    def type(self, number: int) -> Type:
        """The type of this number. Raises BadObject."""
        if number >= len(self.types):
            raise BadObject(".BTF", "type number", number, f"there are {len(self.types)} types")
        return self.types[number]

    def bare(self, number: int) -> Type:
        """The same, behind typedefs and qualifiers."""
        for _ in range(DEPTH):
            found = self.type(number)
            if found.kind not in WRAPPERS:
                return found
            number = found.value
        raise BadObject(".BTF", "type number", number, f"more than {DEPTH} typedefs and qualifiers in a row")

    def size(self, number: int) -> int:
        """Bytes that a value of the type takes. Raises BadObject for a type without a size."""
        count = 1
        for _ in range(DEPTH):
            found = self.bare(number)
            if found.kind != ARRAY:
                break
            number, _, length = found.rows[0]
            count *= length
        if found.kind not in (INT, POINTER, STRUCT, UNION, ENUM, ENUM64, FLOAT):
            raise BadObject(".BTF", f"type {found.name!r}", found.number, f"kind {found.kind} has no size")
        size = count * (WIDTH if found.kind == POINTER else found.value)
        if size > LARGEST:
            raise BadObject(".BTF", f"size of type {found.name!r}", size, f"at most {LARGEST} bytes are allowed")
        return size

    def string(self, offset: int) -> str:
        """The string at `offset`. Raises BadObject."""
        found = text(self.strings, offset)
        if found is None:
            raise BadObject(".BTF", "string offset", offset, f"there are {len(self.strings)} bytes of strings")
        return found

    def named(self, name: str, kind: int) -> Type | None:
        """The first type of this name and kind."""
        return next((found for found in self.types if found.kind == kind and found.name == name), None)

    def placed(self, sizes: Mapping[str, int], places: Mapping[tuple[str, str], int]) -> bytes:
        """The section as the kernel takes it: sizes of data sections and places of variables filled in, by name

        and by (name of the section, name), and nothing declared extern.
        """
        data = bytearray(self.data)
        for section in self.types:
            if section.kind != DATA_SECTION or section.name not in sizes:
                continue
            names = [(section.name, self.type(number).name) for number, _, _ in section.rows]
            rows = [(row[0], places.get(name, row[1]), row[2]) for name, row in zip(names, section.rows, strict=True)]
            WORD.pack_into(data, section.offset + 8, sizes[section.name])
            for i, row in enumerate(sorted(rows, key=lambda row: row[1])):
                TRIPLE.pack_into(data, section.offset + TYPE.size + i * TRIPLE.size, *row)
        gone = self._declared()
        return self._without(gone, bytes(data)) if gone else bytes(data)

    def _declared(self) -> set[int]:
        """The types that are declared extern, and those that are about such types only."""
        gone = {one.number for one in self.types if one.extern}
        gone |= {one.number for one in self.types if one.kind == DATA_SECTION and gone & {row[0] for row in one.rows}}
        return gone | {one.number for one in self.types if one.kind == DECLARATION_TAG and one.value in gone}

    def _without(self, gone: set[int], data: bytes) -> bytes:
        """`data` with a pointer to nothing, which has no name and is always right, in the place of the types `gone`."""
        pointer = TYPE.pack(0, POINTER << 24, 0)
        ends = [one.offset for one in self.types[2:]] + [self.types[-1].offset + self._length(self.types[-1])]
        kept = b"".join(
            pointer if one.number in gone else data[one.offset : end]
            for one, end in zip(self.types[1:], ends, strict=True)
        )
        header = HEADER.pack(MAGIC, 1, 0, HEADER.size, 0, len(kept), len(kept), len(self.strings))
        return header + kept + self.strings

    @staticmethod
    def _length(one: Type) -> int:
        """Bytes that a type takes in the section."""
        return TYPE.size + len(one.rows) * (EACH | ONCE).get(one.kind, WORD).size


class Info(NamedTuple):
    """Records of .BTF.ext that belong to one section of code; each starts with the offset of an instruction in it."""

    section: str
    records: tuple[tuple[int, ...], ...]


@dataclass(frozen=True)
class Extension:
    """functions: (offset, type); lines: (offset, file, text, line << 10 | column); core: (offset, type, path, kind)."""

    functions: tuple[Info, ...] = ()
    lines: tuple[Info, ...] = ()
    core: tuple[Info, ...] = ()


def parse(data: bytes) -> Btf:
    """The types in the contents of .BTF. Raises BadObject."""
    start, (types_at, types_size, strings_at, strings_size) = _header(".BTF", data, 4)
    types = _part(".BTF", "types", data, start + types_at, types_size)
    strings = _part(".BTF", "strings", data, start + strings_at, strings_size)
    found = Btf(data, (Type(0, "void", 0, 0, (), 0),), strings)
    return Btf(data, (*found.types, *_types(found, types, start + types_at)), strings)


def number(data: bytes, name: str, kind: int) -> int:
    """The number of the first type of this name and kind in the contents of .BTF; 0 if there is none.

    It makes nothing of all others: the kernel has more than 100,000 types. Raises BadObject.
    """
    start, (types_at, types_size, strings_at, _) = _header(".BTF", data, 4)
    at, end, strings = start + types_at, start + types_at + types_size, start + strings_at
    wanted, found = name.encode() + b"\0", 0
    once, each = ([table[other].size if other in table else 0 for other in range(32)] for table in (ONCE, EACH))
    while at < end:
        found += 1
        called, info, _ = _take(TYPE, data, at, f"type {found}")
        this = info >> 24 & 31
        if this == kind and data.startswith(wanted, strings + called):
            return found
        at += TYPE.size + once[this] + each[this] * (info & 0xFFFF)
    return 0


def parse_extension(data: bytes, btf: Btf) -> Extension:
    """The contents of .BTF.ext, whose names are in `btf`. Raises BadObject."""
    start, fields = _header(".BTF.ext", data, 4)
    if start >= HEADER.size + PAIR.size:  # older compilers know no third part
        fields += PAIR.unpack_from(data, HEADER.size)
    parts = {"func_info": FUNCTION_INFO, "line_info": LINE_INFO, "core_relo": CORE_INFO}
    found = []
    for (name, record), at, size in zip(parts.items(), fields[::2], fields[1::2], strict=False):
        found.append(tuple(_infos(name, _part(".BTF.ext", name, data, start + at, size), record, btf)))
    return Extension(*found)


def _header(section: str, data: bytes, count: int) -> tuple[int, tuple[int, ...]]:
    """Where the parts begin, and `count` offsets and sizes."""
    if len(data) < HEADER.size:
        raise BadObject(section, "length", len(data), f"the header alone takes {HEADER.size} bytes")
    magic, version, _, length, *fields = HEADER.unpack_from(data)
    if magic != MAGIC:
        raise BadObject(section, "magic", magic, f"{MAGIC} is wanted")
    if version != 1:
        raise BadObject(section, "version", version, "1 is wanted")
    if not HEADER.size <= length <= len(data):
        raise BadObject(section, "hdr_len", length, f"{HEADER.size} to {len(data)} is wanted")
    return length, tuple(fields[:count])


def _part(section: str, name: str, data: bytes, at: int, size: int) -> bytes:
    if at + size > len(data):
        raise BadObject(section, f"end of {name}", at + size, f"the section has {len(data)} bytes")
    return data[at : at + size]


def _types(btf: Btf, data: bytes, start: int) -> Iterator[Type]:
    at, number = 0, 1
    while at < len(data):
        begin = at
        name, info, value = _take(TYPE, data, at, f"type {number}")
        kind, count = info >> 24 & 31, info & 0xFFFF
        if not INT <= kind <= ENUM64:
            raise BadObject(".BTF", f"kind of type {number}", kind, f"kinds go from {INT} to {ENUM64}")
        at += TYPE.size
        record, times = (EACH[kind], count) if kind in EACH else (ONCE.get(kind, WORD), int(kind in ONCE))
        ends = at + times * record.size
        rows = [_take(record, data, i, f"type {number}") for i in range(at, ends, record.size)]
        at = ends
        yield Type(number, btf.string(name), kind, value, tuple(rows), start + begin, count)
        number += 1


def _take(record: Struct, data: bytes, at: int, what: str) -> tuple[int, ...]:
    if at + record.size > len(data):
        raise BadObject(".BTF", f"end of {what}", at + record.size, f"the types take {len(data)} bytes")
    return record.unpack_from(data, at)


def _infos(name: str, data: bytes, record: Struct, btf: Btf) -> Iterator[Info]:
    """One part of .BTF.ext: a record size, then for each section its name, a count, and so many records."""
    if not data:
        return

    def end(at: int, size: int) -> int:
        if at + size > len(data):
            raise BadObject(".BTF.ext", f"end of {name}", at + size, f"the part has {len(data)} bytes")
        return at + size

    at = end(0, WORD.size)
    (size,) = WORD.unpack_from(data)
    if size < record.size:
        raise BadObject(".BTF.ext", f"record size of {name}", size, f"at least {record.size} is wanted")
    while at < len(data):
        after = end(at, PAIR.size)
        section, count = PAIR.unpack_from(data, at)
        at = end(after, count * size)
        yield Info(btf.string(section), tuple(record.unpack_from(data, i) for i in range(after, at, size)))
