"""From an object file to programs that need nothing but maps: what a linker does, for BPF.

Rule of this file: it follows symbols and relocations. The forms of the parts are read by `elf_file`, `btf`, `elf_maps`.

Theory. A program is a function in a section whose name says its kind; the functions it calls are in .text, shared with
other programs. The kernel takes one stretch of instructions for each program, so every function that a program
reaches is copied behind it, and every call is made to point to the copy. What is left open are loads of addresses
of maps (R_BPF_64_64): those are known only when the maps exist.

Trap. A call's target is written in three ways: against the function's own symbol, against the symbol of its section
with the distance in the instruction, and not at all where caller and function share a section. All three
are the same sum: the symbol's value (or the call's own place), plus the instruction's immediate, plus one.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import pairwise

from lbcore.ebpf import btf, elf_file, elf_maps, isa, kinds, settings
from lbcore.ebpf.btf import Btf, Extension
from lbcore.ebpf.elf_file import File, Section, Symbol
from lbcore.ebpf.isa import SLOT, Instruction
from lbcore.ebpf.object import BadObject, CoreRelocation, Function, Line, MapSpec, Object, Program, Relocation

__all__ = ["BadObject", "read"]

STRUCT_OPS = ".struct_ops"
SHARED = (".text", ".text.")
"""How names of sections of functions that are called are or begin; elsewhere, functions are programs."""
ANY, ADDRESS, CALL = 0, 1, 10
"""Types of relocations in code: R_BPF_64_64 in a wide load, R_BPF_64_32 in a call; early compilers wrote 0."""
MOST_SLOTS = 1 << 21
"""Of all programs of an object together: each has copies of what it calls, so a small file could ask for very much."""


@dataclass(frozen=True)
class Code:
    """A function as the file has it: slots `start` to `end` of a section."""

    section: Section
    name: str
    start: int
    end: int
    exported: bool

    def offset(self, slot: int) -> str:
        return f"{self.name}, instruction {slot - self.start}"


def read(data: bytes) -> Object:
    """The object in the bytes of an ELF file, as `clang -target bpf -g -c` or `compiler.compile` makes it.

    Raises BadObject for whatever is wrong with it, and nothing else.
    """
    data = bytes(data)
    file = elf_file.parse(data)
    types, extension = _types(file)
    maps = elf_maps.read(file, types)
    linker = Linker(file, types, extension, maps)
    programs = tuple(linker.link(entry) for entry in linker.entries())
    _check_entries(maps.specs, {program.name for program in programs})
    if not programs and not maps.specs:
        raise _empty(file)
    return Object(
        elf=data,
        programs=programs,
        maps=maps.specs,
        license=_license(file),
        btf=_placed(file, types) if types else b"",
        data_sections={section.name: section.data for section in maps.data.values()},
        settings=linker.settings,
    )


def _check_entries(specs: tuple[MapSpec, ...], programs: set[str]) -> None:
    """What a map is to start with must be there, and have a place in it."""
    maps = {spec.name for spec in specs}
    for spec in specs:
        for index, name in spec.entries:
            if name not in (maps if spec.inner else programs):
                what = "maps" if spec.inner else "programs"
                raise BadObject(elf_maps.SPECIFIED, f"values[{index}] of map {spec.name}", name, f"no such {what} here")
            if index >= spec.max_entries or spec.key_size != elf_maps.WORD:
                why = f"it has {spec.max_entries} entries, and keys of {spec.key_size} bytes; numbers of 4 are wanted"
                raise BadObject(elf_maps.SPECIFIED, f"index in values of map {spec.name}", index, why)


def _empty(file: File) -> BadObject:
    for section in file.sections:
        if section.name.startswith(STRUCT_OPS):
            why = "it holds a table of functions for the kernel, which this reader does not know; no program, no map"
            return BadObject(section.name, "name of the section", section.name, why)
    return BadObject("ELF file", "programs", 0, "no program and no map: was it compiled with -target bpf?")


def _types(file: File) -> tuple[Btf | None, Extension]:
    plain, extension = file.section(".BTF"), file.section(".BTF.ext")
    if plain is None or not plain.data:
        return None, Extension()
    types = btf.parse(plain.data)
    return types, btf.parse_extension(extension.data, types) if extension and extension.data else Extension()


def _license(file: File) -> str:
    section = file.section("license")
    return section.data.split(b"\0")[0].decode(errors="replace") if section else ""


def _placed(file: File, types: Btf) -> bytes:
    sizes = {section.name: len(section.data) for section in file.sections}
    objects = [one for one in file.symbols if one.type == elf_file.OBJECT and 0 < one.section < elf_file.RESERVED]
    return types.placed(sizes, {(file.sections[one.section].name, one.name): one.value for one in objects})


class Linker:
    """The functions of a file by place, and what belongs to their instructions."""

    def __init__(self, file: File, types: Btf | None, extension: Extension, maps: elf_maps.Maps) -> None:
        self.file, self.types, self.extension, self.maps = file, types, extension, maps
        self.functions: dict[tuple[int, int], Code] = {}
        self.wanted: dict[tuple[int, int], tuple[int, Symbol]] = {}
        self.room = MOST_SLOTS
        self.settings = settings.described(types)
        self.asked = {one.name for one in self.settings}
        for section in file.sections:
            if section.type == elf_file.PROGBITS and section.flags & elf_file.EXECUTE and section.data:
                self._add(section)
        described = _by_place(file, extension.functions)
        self.types_of = {(number, slot): row for number, rows in described.items() for slot, row in rows}
        self.lines = _by_place(file, extension.lines)
        self.core = _by_place(file, extension.core)

    def _add(self, section: Section) -> None:
        for function in _functions(self.file, section):
            self.functions[section.index, function.start] = function
        for relocation in self.file.relocations(section):
            if relocation.type == ANY and not relocation.symbol.name:
                continue  # R_BPF_NONE: nothing is wanted
            slot = _slot(section.name, "r_offset", relocation.offset)
            self.wanted[section.index, slot] = relocation.type, relocation.symbol

    def entries(self) -> list[Code]:
        """The programs: exported functions outside .text, or, where all are in .text, those that are exported."""
        exported = [code for code in self.functions.values() if code.exported]
        name, prefix = SHARED
        programs = [one for one in exported if one.section.name != name and not one.section.name.startswith(prefix)]
        return programs or exported

    def link(self, entry: Code) -> Program:
        """One program and what it calls, in the order in which calls to it are met."""
        starts: dict[tuple[int, int], int] = {}
        layout: list[Code] = []
        length = 0

        def place(code: Code) -> int:
            """Where the copy of a function begins; a new one goes to the end."""
            nonlocal length
            key = code.section.index, code.start
            if key not in starts:
                starts[key] = length
                layout.append(code)
                length += code.end - code.start
                self.room -= code.end - code.start
                if self.room < 0:
                    why = f"with what it calls, the programs take more than {MOST_SLOTS} slots"
                    raise BadObject(entry.section.name, "program", entry.name, why)
            return starts[key]

        place(entry)
        relocations: list[Relocation] = []
        linked: list[Instruction] = []
        for code in layout:  # grows while it is walked
            base = starts[code.section.index, code.start]
            for slot, instruction in _instructions(code):
                at = base + slot - code.start
                made, relocation = self._resolve(code, slot, instruction, at, place)
                linked.append(made)
                relocations += [relocation] if relocation else []
        moved = [(code, starts[code.section.index, code.start] - code.start) for code in layout]
        return Program(
            name=entry.name,
            section=entry.section.name,
            kind=kinds.convention(entry.section.name).kind,
            code=isa.encode(linked),
            relocations=tuple(relocations),
            lines=tuple(self._lines(moved)),
            functions=tuple(self._functions(moved)),
            core=tuple(self._core(moved)),
        )

    def _resolve(
        self, code: Code, slot: int, instruction: Instruction, at: int, place: Callable[[Code], int]
    ) -> tuple[Instruction, Relocation | None]:
        """An instruction as it is to be in slot `at` of the program, and what it still lacks."""
        kind, symbol = self.wanted.get((code.section.index, slot), (0, None))
        local = instruction.opcode == isa.JMP | isa.CALL and instruction.src == isa.LOCAL
        if symbol is None:
            if not local:
                return instruction, None
            target = slot + 1 + instruction.imm
            callee = self.functions.get((code.section.index, target))
            if callee is None:
                return self._inside(code, slot, instruction, target), None
            return replace(instruction, imm=place(callee) - at - 1), None
        if kind not in (ANY, ADDRESS, CALL):
            raise self._bad(
                code, slot, "type of relocation", kind, f"{ADDRESS} (an address) or {CALL} (a call) is wanted"
            )
        if not (instruction.wide or instruction.opcode == isa.JMP | isa.CALL):
            raise self._bad(
                code, slot, "opcode", instruction.opcode, f"a relocation ({symbol.name}) wants a wide load or a call"
            )
        if symbol.section == elf_file.UNDEFINED:
            kind_of = "setting" if symbol.name in self.asked else "kernel"
            return instruction, Relocation(at, symbol.name, kind_of, symbol.binding == elf_file.WEAK)
        if instruction.wide:
            return self._address(code, slot, instruction, symbol, at, place)
        start = _slot(code.section.name, f"value of symbol {symbol.name}", symbol.value) + instruction.imm + 1
        callee = self._function(code, slot, symbol, start)
        return replace(instruction, src=isa.LOCAL, imm=place(callee) - at - 1), None

    def _address(
        self, code: Code, slot: int, load: Instruction, symbol: Symbol, at: int, place: Callable[[Code], int]
    ) -> tuple[Instruction, Relocation | None]:
        """A wide load of the address of a map, of a variable, or of a function (which a helper is to call)."""
        offset = symbol.value + load.low
        name = self.maps.at.get((symbol.section, offset))
        if name is not None:
            return replace(load, src=isa.MAP_FD, imm=0), Relocation(at, name)
        section = self.maps.data.get(symbol.section)
        if section is not None:
            if not 0 <= offset <= len(section.data):
                raise self._bad(
                    code, slot, f"place of {symbol.name}", offset, f"{section.name} has {len(section.data)} bytes"
                )
            return replace(load, src=isa.MAP_VALUE_FD, imm=offset << 32), Relocation(at, section.name, "data")
        if any(section_number == symbol.section for section_number, _ in self.functions):
            callee = self._function(
                code, slot, symbol, _slot(code.section.name, f"value of symbol {symbol.name}", offset)
            )
            return replace(load, src=isa.CODE, imm=(place(callee) - at - 1) & 0xFFFFFFFF), None
        raise self._bad(
            code, slot, "symbol", symbol.name, f"offset {offset} of its section is no map, variable or function"
        )

    def _function(self, code: Code, slot: int, symbol: Symbol, start: int) -> Code:
        found = self.functions.get((symbol.section, start))
        if found is None:
            raise self._bad(
                code, slot, f"call of {symbol.name}", start, "no function starts in this slot of its section"
            )
        return found

    def _inside(self, code: Code, slot: int, call: Instruction, target: int) -> Instruction:
        """A call to a place in the middle of its own function: hand-written code does that, and it stays as it is."""
        if not code.start <= target < code.end:
            raise self._bad(code, slot, "call", target, f"no function starts in this slot of {code.section.name}")
        return call

    def _bad(self, code: Code, slot: int, field: str, value: object, why: str) -> BadObject:
        return BadObject(code.section.name, f"{field} ({code.offset(slot)})", value, why)

    def _lines(self, moved: list[tuple[Code, int]]) -> Iterator[Line]:
        assert self.types or not self.lines
        for slot, (file, line, place, *_) in _moved(self.lines, moved):
            if self.types:
                yield Line(slot, self.types.string(file), place >> 10, self.types.string(line), place & 0x3FF)

    def _functions(self, moved: list[tuple[Code, int]]) -> Iterator[Function]:
        for code, shift in moved:
            (number, *_) = self.types_of.get((code.section.index, code.start), (0,))
            yield Function(code.start + shift, code.name, number)

    def _core(self, moved: list[tuple[Code, int]]) -> Iterator[CoreRelocation]:
        for slot, (number, access, kind, *_) in _moved(self.core, moved):
            if self.types:
                yield CoreRelocation(slot, number, self.types.string(access), kind)


Records = dict[int, list[tuple[int, tuple[int, ...]]]]
"""By section number: slots, and what a record says about each, in order."""


def _by_place(file: File, infos: Iterable[btf.Info]) -> Records:
    """Records of .BTF.ext by the section and slot they are about."""
    numbers = {section.name: section.index for section in file.sections}
    found: Records = {}
    for info in infos:
        if info.section not in numbers:
            raise BadObject(".BTF.ext", "section", info.section, "the file has no section of this name")
        rows = [
            (_slot(".BTF.ext", f"instruction offset in {info.section}", at), tuple(rest)) for at, *rest in info.records
        ]
        found.setdefault(numbers[info.section], []).extend(rows)
    # One record for a slot, as the kernel has it.
    return {number: sorted(dict(rows).items()) for number, rows in found.items()}


def _moved(records: Records, moved: list[tuple[Code, int]]) -> Iterator[tuple[int, tuple[int, ...]]]:
    """The records about functions of a program, with slots of the program."""
    for code, shift in moved:
        rows = records.get(code.section.index, [])
        first, last = (bisect_left(rows, slot, key=_slot_of) for slot in (code.start, code.end))
        for slot, rest in rows[first:last]:
            yield slot + shift, rest


def _slot_of(row: tuple[int, tuple[int, ...]]) -> int:
    return row[0]


def _functions(file: File, section: Section) -> Iterator[Code]:
    """The functions in a section; a section without symbols of functions is one function."""
    here = [symbol for symbol in file.symbols if symbol.section == section.index and symbol.name]
    # Old compilers gave functions no type; exported names without one are functions then.
    named = [symbol for symbol in here if symbol.type == elf_file.FUNCTION] or [
        symbol for symbol in here if symbol.type == elf_file.NOTYPE and symbol.binding != elf_file.LOCAL
    ]
    symbols = sorted({symbol.value: symbol for symbol in named}.values(), key=lambda symbol: symbol.value)
    whole = _slot(section.name, "sh_size", len(section.data))
    if not symbols:
        yield Code(section, section.name, 0, whole, True)
        return
    starts = [_slot(section.name, f"value of symbol {symbol.name}", symbol.value) for symbol in symbols]
    for symbol, (start, following) in zip(symbols, pairwise([*starts, whole]), strict=True):
        size = _slot(section.name, f"size of symbol {symbol.name}", symbol.size) or following - start
        if not start < start + size <= following:
            why = f"the next function, or the end of the section, is at {following}"
            raise BadObject(section.name, f"slots of function {symbol.name}", (start, start + size), why)
        yield Code(section, symbol.name, start, start + size, symbol.binding != elf_file.LOCAL)


def _instructions(code: Code) -> Iterator[tuple[int, Instruction]]:
    """The instructions of a function with their slots in the section."""
    try:
        found = isa.decode(code.section.data[code.start * SLOT : code.end * SLOT])
    except isa.BadCode as error:
        raise BadObject(code.section.name, f"code of {code.name}", code.end - code.start, str(error)) from error
    return ((code.start + at, instruction) for at, instruction in zip(isa.slots(found), found, strict=False))


def _slot(section: str, field: str, offset: int) -> int:
    """A byte offset as a slot number."""
    if offset % SLOT:
        raise BadObject(section, field, offset, f"not a multiple of {SLOT}, the size of an instruction")
    return offset // SLOT
