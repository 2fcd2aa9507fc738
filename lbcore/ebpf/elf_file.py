"""The outer form of an object file: sections, symbols, relocations, as tables of plain tuples.

Rule of this file: it knows ELF and nothing of BPF but its machine number.

Theory. A relocatable ELF file is a header, a table of sections, and what they hold. Names are offsets into sections of
strings; a symbol is a name for a place in a section; a relocation says that at a place in one section, the value of a
symbol is wanted. Four fixed records carry all of it.

Trap. Every number in the file is an offset, a size or an index that somebody else wrote, and any of them may lead out
of the file. So each is checked where it is read, and nothing behind this file sees a wild one. A general library reads
valid files just as well and leaves the broken ones to surprise its caller.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from struct import Struct
from typing import NamedTuple

from lbcore.ebpf.object import BadObject

BPF = 247
RELOCATABLE = 1
PROGBITS, SYMTAB, RELA, NOBITS, REL = 1, 2, 4, 8, 9
WRITE, ALLOC, EXECUTE = 1, 2, 4
"""Flags of a section."""
NOTYPE, OBJECT, FUNCTION, SECTION = range(4)
"""Types of a symbol."""
LOCAL, GLOBAL, WEAK = range(3)
"""Bindings of a symbol."""
UNDEFINED, RESERVED = 0, 0xFF00
"""Section indices: of a symbol that is defined elsewhere; from here on they mean no section."""
MOST_ZEROES = 1 << 26
"""Bytes that a section without contents may claim: such a section costs its file nothing, and its reader memory."""

HEADER = Struct("<16sHHIQQQIHHHHHH")
SECTION_HEADER = Struct("<IIQQQQIIQQ")
SYMBOL = Struct("<IBBHQQ")
RELOCATIONS = {REL: Struct("<QQ"), RELA: Struct("<QQq")}


@dataclass(frozen=True, slots=True)
class Section:
    index: int
    name: str
    type: int
    flags: int
    link: int
    info: int
    data: bytes


class Symbol(NamedTuple):
    """A name for `size` bytes at `value` of section number `section` (UNDEFINED: extern)."""

    name: str
    type: int
    binding: int
    section: int
    value: int
    size: int


class Relocation(NamedTuple):
    """At byte `offset` of the section, `symbol` is wanted in the way that `type` says."""

    offset: int
    type: int
    symbol: Symbol


@dataclass(frozen=True)
class File:
    sections: tuple[Section, ...]
    symbols: tuple[Symbol, ...]

    def section(self, name: str) -> Section | None:
        """The first section of this name."""
        return next((section for section in self.sections if section.name == name), None)

    def relocations(self, section: Section) -> Iterator[Relocation]:
        """The relocations of one section, in the file's order."""
        for table in self.sections:
            if table.type not in RELOCATIONS or table.info != section.index:
                continue
            for offset, info, *addend in _records(RELOCATIONS[table.type], table):
                if any(addend):
                    why = "BPF relocations keep their addend in the code"
                    raise BadObject(table.name, "r_addend", addend[0], why)
                number = info >> 32
                if number >= len(self.symbols):
                    raise BadObject(table.name, "r_info", number, f"there are {len(self.symbols)} symbols")
                if offset >= len(section.data):
                    raise BadObject(table.name, "r_offset", offset, f"{section.name} has {len(section.data)} bytes")
                yield Relocation(offset, info & 0xFFFFFFFF, self.symbols[number])


def parse(data: bytes) -> File:
    """The sections and symbols of `data`. Raises BadObject."""
    sections = tuple(_sections(data))
    tables = [section for section in sections if section.type == SYMTAB]
    if len(tables) > 1:
        raise BadObject(tables[1].name, "sh_type", SYMTAB, "a second symbol table; one is allowed")
    return File(sections, tuple(_symbols(tables[0], sections)) if tables else ())


def text(strings: bytes, offset: int) -> str | None:
    """The string at `offset` of a section of strings, up to its zero byte; None if there is none."""
    end = strings.find(b"\0", offset)
    return None if offset > len(strings) or end < 0 else strings[offset:end].decode(errors="surrogateescape")


def _sections(data: bytes) -> Iterator[Section]:
    offset, count, names_at = _header(data)
    headers = [SECTION_HEADER.unpack_from(data, offset + i * SECTION_HEADER.size) for i in range(count)]
    if names_at >= count:
        raise BadObject("ELF header", "e_shstrndx", names_at, f"there are {count} sections")
    names = _contents("section names", data, headers[names_at])
    for index, header in enumerate(headers):
        name = text(names, header[0])
        if name is None:
            raise BadObject(f"number {index}", "sh_name", header[0], f"the section of names has {len(names)} bytes")
        yield Section(index, name, header[1], header[2], header[6], header[7], _contents(name, data, header))


def _header(data: bytes) -> tuple[int, int, int]:
    """Where the section headers are, how many, and which one holds their names."""

    def want(field: str, value: object, good: bool, why: str) -> None:
        if not good:
            raise BadObject("ELF header", field, value, why)

    want("e_ident", data[:4], data[:4] == b"\x7fELF", "an ELF file starts with b'\\x7fELF'")
    want("length", len(data), len(data) >= HEADER.size, f"the header alone takes {HEADER.size} bytes")
    want("EI_CLASS", data[4], data[4] == 2, "2 (64 bits) is wanted")
    want("EI_DATA", data[5], data[5] == 1, "1 (little-endian) is wanted; compile with -target bpfel")
    _, kind, machine, _, _, _, offset, _, _, _, _, size, count, names_at = HEADER.unpack_from(data)
    want("e_type", kind, kind == RELOCATABLE, "1 (a relocatable object, as a compiler's -c makes it) is wanted")
    want("e_machine", machine, machine in (0, BPF), f"{BPF} (BPF) is wanted; compile with -target bpf")
    want("e_shentsize", size, size == SECTION_HEADER.size, f"{SECTION_HEADER.size} is wanted")
    want("e_shnum", count, count > 0, "a file without sections holds no program")
    want("e_shoff", offset, offset + count * size <= len(data), f"{count} headers end behind the file's {len(data)}")
    return offset, count, names_at


def _contents(name: str, data: bytes, header: tuple[int, ...]) -> bytes:
    _, kind, _, _, offset, size, *_ = header
    if kind == NOBITS:
        if size > MOST_ZEROES:
            raise BadObject(name, "sh_size", size, f"more than {MOST_ZEROES} bytes of zeroes")
        return bytes(size)
    if kind == 0:
        return b""
    if offset + size > len(data):
        raise BadObject(name, "sh_offset + sh_size", offset + size, f"the file has {len(data)} bytes")
    return data[offset : offset + size]


def _symbols(table: Section, sections: tuple[Section, ...]) -> Iterator[Symbol]:
    if table.link >= len(sections):
        raise BadObject(table.name, "sh_link", table.link, f"there are {len(sections)} sections")
    strings = sections[table.link].data
    for name_at, info, _, section, value, size in _records(SYMBOL, table):
        name = text(strings, name_at)
        if name is None:
            raise BadObject(table.name, "st_name", name_at, f"the section of strings has {len(strings)} bytes")
        if len(sections) <= section < RESERVED:
            raise BadObject(table.name, f"st_shndx of {name!r}", section, f"there are {len(sections)} sections")
        if 0 < section < RESERVED and value > len(sections[section].data):
            why = f"section {sections[section].name} has {len(sections[section].data)} bytes"
            raise BadObject(table.name, f"st_value of {name!r}", value, why)
        name = name or (sections[section].name if info & 15 == SECTION and section < RESERVED else "")
        yield Symbol(name, info & 15, info >> 4, section, value, size)


def _records(record: Struct, table: Section) -> Iterator[tuple[int, ...]]:
    try:
        return record.iter_unpack(table.data)
    except struct.error:
        size = len(table.data)
        raise BadObject(table.name, "sh_size", size, f"not a multiple of {record.size}, the size of a record") from None
