"""What lab 05 reads: object files that the book's compiler made, and the same laid out anew.

Rule of this file: material and records, no judgement.

Theory. A linker may put sections in any order, leave gaps, and keep names of sections and of symbols in one table or
in two: a reader that follows the numbers in the file does not notice. So `relaid` writes a file again with all of that
changed and its meaning kept, and a reader that only fits the first file does notice.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from importlib import import_module
from random import Random
from typing import Any, NamedTuple

from lbcore.ebpf import btf, elf_file
from lbcore.ebpf.elf_file import File
from lbcore.ebpf.object import Object

PROGRAMS = ("drop_all", "count_protocols", "block_list")
"""Of lbcore.ebpf.programs: without maps, with two of a simple kind, with two that have flags."""
NAMES = ".shstrtab"
KINDS = {btf.POINTER: "pointer", btf.ARRAY: "array", btf.STRUCT: "struct", btf.VARIABLE: "variable",
         btf.DATA_SECTION: "section"}  # fmt: skip
SIZED = (btf.INT, btf.POINTER, btf.ARRAY, btf.STRUCT, btf.UNION, btf.ENUM, btf.ENUM64, btf.FLOAT)
REFERS = (*btf.WRAPPERS, btf.POINTER, btf.FUNCTION, btf.PROTOTYPE, btf.VARIABLE)
"""Kinds whose values take bytes; kinds that consist of another type's number (an array says it otherwise)."""


class Section(NamedTuple):
    """A section as the file's table has it: where its bytes are, not the bytes."""

    name: str
    type: int
    flags: int
    offset: int
    size: int
    link: int
    info: int


class Type(NamedTuple):
    """A type of BTF. to: the number of the type it refers to; length: of an array; members: (name, number of type).

    size: bytes that a value of it takes, behind typedefs too; 0 if nothing can be of this type.
    """

    kind: str
    name: str
    to: int
    length: int
    members: tuple[tuple[str, int], ...]
    size: int = 0


@functools.cache
def compiled(name: str) -> Object:
    """The object of one of lbcore.ebpf.programs; compiling takes about a second, once."""
    made: Object = getattr(import_module(f"lbcore.ebpf.programs.{name}"), name).object
    return made


def types(elf: bytes) -> list[Type]:
    """The types in an object's section .BTF, by number, as far as maps are defined by them. Raises BadObject."""
    section = elf_file.parse(elf).section(".BTF")
    if section is None:
        return []
    parsed = btf.parse(section.data)
    return [_type(parsed, one) for one in parsed.types]


def _type(parsed: btf.Btf, one: btf.Type) -> Type:
    to, length = one.value if one.kind in REFERS else 0, 0
    size = parsed.size(one.number) if parsed.bare(one.number).kind in SIZED else 0
    members: tuple[tuple[str, int], ...] = ()
    if one.kind == btf.ARRAY:
        to, _, length = one.rows[0]
    elif one.kind == btf.STRUCT:
        members = tuple((parsed.string(name), number) for name, number, _ in one.rows)
    elif one.kind == btf.DATA_SECTION:
        members = tuple((parsed.type(number).name, number) for number, _, _ in one.rows)
    return Type(KINDS.get(one.kind, "other"), one.name, to, length, members, size)


def relaid(elf: bytes, seed: int, *, rename: Mapping[str, str] | None = None, license: str | None = None) -> bytes:
    """The same object with sections in another order, gaps between them, and a table of names for sections alone.

    rename: new names of sections; license: another text, or "" for no such section.
    """
    rng, file, rename = Random(seed), elf_file.parse(elf), rename or {}
    gone = {"license"} if license == "" else set()
    gone |= {".BTF.ext", ".rel.BTF.ext"} if rename else set()  # it tells of code by the names of sections
    order = [one for one in file.sections[1:] if one.name not in gone]
    rng.shuffle(order)
    moved = {0: 0} | {one.index: new for new, one in enumerate(order, 1)}
    names = _names([rename.get(one.name, one.name) for one in order], rng)
    headers, body = [bytes(elf_file.SECTION_HEADER.size)], bytearray(elf_file.HEADER.size)

    def add(name: str, kind: int, flags: int, link: int, info: int, data: bytes, record: int) -> None:
        body.extend(rng.randbytes(8 * rng.randrange(1, 5)))
        at = names.index(name.encode() + b"\0")
        headers.append(elf_file.SECTION_HEADER.pack(at, kind, flags, 0, len(body), len(data), link, info, 8, record))
        body.extend(data + bytes(-len(data) % 8))

    for one in order:
        data = license.encode() + b"\0" if license and one.name == "license" else one.data
        data = _symbols(one, file, moved) if one.type == elf_file.SYMTAB else data
        info = moved.get(one.info, 0) if one.type in elf_file.RELOCATIONS else one.info
        add(rename.get(one.name, one.name), one.type, one.flags, moved.get(one.link, 0), info, data, _record(one))
    add(NAMES, 3, 0, 0, 0, names, 0)
    elf_file.HEADER.pack_into(
        body, 0, elf[:16], elf_file.RELOCATABLE, elf_file.BPF, 1, 0, 0, len(body), 0, elf_file.HEADER.size, 0, 0,
        elf_file.SECTION_HEADER.size, len(headers), len(headers) - 1,
    )  # fmt: skip
    return bytes(body) + b"".join(headers)


def _names(names: list[str], rng: Random) -> bytes:
    """A table of names in a random order; one that another ends with is found within it, as LLVM does it."""
    table = b"\0"
    for name in sorted([*names, NAMES], key=lambda name: (-len(name), rng.random())):
        if name.encode() + b"\0" not in table:
            table += name.encode() + b"\0"
    return table


def _record(section: elf_file.Section) -> int:
    """sh_entsize: the size of a record of a table."""
    if section.type == elf_file.SYMTAB:
        return elf_file.SYMBOL.size
    return elf_file.RELOCATIONS[section.type].size if section.type in elf_file.RELOCATIONS else 0


def _symbols(table: elf_file.Section, file: File, moved: Mapping[int, int]) -> bytes:
    """The table of symbols with the new numbers of sections; a symbol of a section that is gone is undefined."""
    rows: list[tuple[Any, ...]] = list(elf_file.SYMBOL.iter_unpack(table.data))
    return b"".join(
        elf_file.SYMBOL.pack(name, info, other, at if at >= elf_file.RESERVED else moved.get(at, 0), value, size)
        for name, info, other, at, value, size in rows
    )
