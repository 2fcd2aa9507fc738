"""The maps of an object: what sections .maps and maps say, and the maps that hold its global variables.

Rule of this file: it reads definitions. Whether the kernel can make such a map is the kernel's to say.

Theory. There are two ways to define a map. The old one is a struct of numbers in section "maps": kind, key size, value
size, entries, flags. Two old loaders had more behind these, each its own way to say what a map of maps holds: by its
place among the definitions (the kernel's samples), or by a number that it bears (iproute2). The newer way says it all
in types: a variable in ".maps" whose struct has a member for each property. A number is the length of an array that a
pointer points to, `int (*max_entries)[64]`, and a type is what a pointer points to, `struct key *key`. The variable
itself is all zeroes; the types are in BTF.

Global variables need a map too, because a program has no memory of its own: each of .rodata, .data and .bss becomes
an array of one entry, and a variable is a place in it. Programs may not write .rodata, so the verifier knows what is
in it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from itertools import pairwise

from lbcore.ebpf import btf, kinds
from lbcore.ebpf.btf import Btf, Type
from lbcore.ebpf.elf_file import ALLOC, EXECUTE, GLOBAL, File, Relocation, Section, Symbol
from lbcore.ebpf.elf_file import SECTION as SECTION_SYMBOL
from lbcore.ebpf.object import PROGRAM_READS_ONLY, BadObject, MapSpec

SPECIFIED, LEGACY = ".maps", "maps"
DATA = (".rodata", ".data", ".bss")
WORD = 4
LEGACY_FIELDS = ("type", "key_size", "value_size", "max_entries", "map_flags")
SAMPLES = (*LEGACY_FIELDS, "inner_map_idx", "numa_node")
IPROUTE2 = (*LEGACY_FIELDS, "id", "pinning", "inner_id", "inner_idx")
PROPERTIES = {"type": "kind", "key_size": "key_size", "value_size": "value_size", "max_entries": "max_entries",
              "map_flags": "flags", "pinning": "pinned"}  # fmt: skip
"""Members of a map's struct that are numbers, and what they are called here."""
FIXED = {
    "ringbuf": {"key_size": 0, "value_size": 0, "key_type": 0, "value_type": 0},
    "perf_event_array": {"key_size": WORD, "value_size": WORD, "key_type": 0, "value_type": 0},
}
"""Kinds whose sizes are the kernel's; the types that an object gives them are those of its records."""
IGNORED = ("numa_node", "map_extra", "id")


Words = tuple[int, ...]


@dataclass(frozen=True)
class Maps:
    """All maps; where each begins, by section number and offset; data sections by section number."""

    specs: tuple[MapSpec, ...] = ()
    at: dict[tuple[int, int], str] = field(default_factory=dict)
    data: dict[int, Section] = field(default_factory=dict)


def read(file: File, types: Btf | None) -> Maps:
    """The maps that an object defines. Raises BadObject."""
    specs: list[MapSpec] = []
    at: dict[tuple[int, int], str] = {}
    legacy = _legacy(file)
    for section in file.sections:
        if section.name == SPECIFIED and section.data:
            found = list(_specified(file, section, types))
        else:
            found = [(symbol, spec) for symbol, spec in legacy if symbol.section == section.index]
        for symbol, spec in found:
            specs.append(spec)
            at[section.index, symbol.value] = spec.name
    data = {section.index: section for section in file.sections if _is_data(section)}
    specs += [_variables(section, types) for section in data.values()]
    seen: set[str] = set()
    for spec in specs:
        if spec.name in seen:
            raise BadObject(SPECIFIED, "name of a map", spec.name, "a second map of this name")
        seen.add(spec.name)
    return Maps(tuple(specs), at, data)


def _is_data(section: Section) -> bool:
    named = section.name.startswith(tuple(f"{name}." for name in DATA)) or section.name in DATA
    return bool(named and section.data and section.flags & ALLOC and not section.flags & EXECUTE)


def _variables(section: Section, types: Btf | None) -> MapSpec:
    flags = PROGRAM_READS_ONLY if section.name.startswith(".rodata") else 0
    described = types.named(section.name, btf.DATA_SECTION) if types else None
    number = described.number if described else 0
    size = len(section.data)
    return MapSpec(section.name, "array", WORD, size, 1, flags, value_type=number, content=section.data)


def _symbols(file: File, section: Section) -> list[Symbol]:
    """The symbols of a section of maps, in the order of their places."""
    named = (one for one in file.symbols if one.section == section.index and one.type != SECTION_SYMBOL and one.name)
    return sorted(named, key=lambda symbol: symbol.value)


# ---- the old way ----


def _legacy(file: File) -> list[tuple[Symbol, MapSpec]]:
    """All maps of the old way; some compilers' users gave each map a section, "maps/name"."""
    sections = (one for one in file.sections if one.name == LEGACY or one.name.startswith(f"{LEGACY}/"))
    rows = [(symbol, words) for section in sections for symbol, words in _definitions(file, section)]
    specs = [_plain(file.sections[symbol.section].name, symbol.name, words) for symbol, words in rows]
    return [
        (symbol, replace(spec, inner=_held(words, rows, specs)) if spec.kind in kinds.NESTED else spec)
        for (symbol, words), spec in zip(rows, specs, strict=True)
    ]


def _definitions(file: File, section: Section) -> Iterator[tuple[Symbol, Words]]:
    """Each map's symbol, and the numbers of its struct."""
    symbols = [symbol for symbol in _symbols(file, section) if symbol.binding >= GLOBAL] or _symbols(file, section)
    ends = [symbol.value for symbol in symbols] + [len(section.data)]
    for symbol, (start, end) in zip(symbols, pairwise(ends), strict=True):
        size = len(LEGACY_FIELDS) * WORD
        if not size - WORD <= end - start or end > len(section.data):
            why = f"bytes {start} to {end} are too few for {', '.join(LEGACY_FIELDS)}"
            raise BadObject(section.name, f"definition of {symbol.name}", section.data[start:end], why)
        told = min(end, start + max(symbol.size, size)) if symbol.size else end
        raw = section.data[start : min(told, start + len(IPROUTE2) * WORD)].ljust(size, b"\0")
        yield symbol, tuple(int.from_bytes(raw[i : i + WORD], "little") for i in range(0, len(raw), WORD))


def _plain(section: str, name: str, words: Words) -> MapSpec:
    number, key, value, entries, flags = words[: len(LEGACY_FIELDS)]
    kind = _kind(section, name, number)
    usual = FIXED.get(kind, {}) | ({"value_size": WORD} if kind in kinds.NESTED else {})
    return MapSpec(name, kind, key or usual.get("key_size", 0), value or usual.get("value_size", 0), entries, flags)


def _held(words: Words, rows: list[tuple[Symbol, Words]], specs: list[MapSpec]) -> MapSpec | None:
    """What a map of maps holds; None if its struct does not tell."""
    index = -1
    if len(words) == len(SAMPLES):
        index = words[SAMPLES.index("inner_map_idx")]
    elif len(words) == len(IPROUTE2):
        ids = [other[IPROUTE2.index("id")] if len(other) == len(IPROUTE2) else 0 for _, other in rows]
        wanted = words[IPROUTE2.index("inner_id")]
        index = ids.index(wanted) if wanted and wanted in ids else -1
    return specs[index] if 0 <= index < len(specs) and specs[index].kind not in kinds.NESTED else None


def _kind(section: str, name: str, number: int) -> str:
    if not 0 < number < len(kinds.MAPS):
        raise BadObject(section, f"type of map {name}", number, f"kinds of maps go from 1 to {len(kinds.MAPS) - 1}")
    return kinds.MAPS[number]


# ---- the new way ----


def _specified(file: File, section: Section, types: Btf | None) -> Iterator[tuple[Symbol, MapSpec]]:
    listed = types.named(SPECIFIED, btf.DATA_SECTION) if types else None
    if types is None or listed is None:
        why = "the definitions are types: compile with -g, and do not strip"
        raise BadObject(section.name, "BTF", None, why)
    variables = {types.type(number).name: types.type(number) for number, _, _ in listed.rows}
    for symbol in _symbols(file, section):
        if symbol.name not in variables:
            raise BadObject(section.name, "symbol", symbol.name, "BTF says nothing of a map of this name")
        number = variables[symbol.name].value
        spec = _spec(types, symbol.name, number)
        entries = _entries(symbol, types, number, file.relocations(section))
        yield symbol, replace(spec, entries=tuple(entries))


def _entries(symbol: Symbol, types: Btf, number: int, relocations: Iterable[Relocation]) -> Iterator[tuple[int, str]]:
    """What `values` of a map is initialised with: relocations in the variable, one for each pointer."""
    offsets = [bits // 8 for name, _, bits in types.bare(number).rows if types.string(name) == "values"]
    for relocation in relocations:
        if not symbol.value <= relocation.offset < symbol.value + symbol.size:
            continue
        index, rest = divmod(relocation.offset - symbol.value - (offsets or [0])[0], btf.WIDTH)
        if not offsets or rest or index < 0:
            why = "a relocation here is wanted in `values` alone, one for each pointer"
            raise BadObject(SPECIFIED, f"r_offset in map {symbol.name}", relocation.offset, why)
        yield index, relocation.symbol.name


def _spec(types: Btf, name: str, number: int, *, outer: bool = True) -> MapSpec:
    """The map that the struct type of this number defines."""
    struct = types.bare(number)
    if struct.kind != btf.STRUCT:
        raise BadObject(SPECIFIED, f"type of map {name}", struct.kind, "a struct is wanted")
    found: dict[str, int] = {}
    inner = None
    for member_name, member_type, _ in struct.rows:
        member = types.string(member_name)
        if member in PROPERTIES:
            found[PROPERTIES[member]] = _number(types, name, member, member_type)
        elif member in ("key", "value"):
            pointed = _pointed(types, name, member, types.bare(member_type))
            found[f"{member}_type"] = pointed
            size = types.size(pointed)
            if found.setdefault(f"{member}_size", size) != size:
                raise BadObject(
                    SPECIFIED, f"{member}_size of map {name}", found[f"{member}_size"], f"the type has {size}"
                )
        elif member == "values":
            inner = _inner(types, name, member_type) if outer else None
            found.setdefault("value_size", WORD)
        elif member not in IGNORED:
            why = f"known are {', '.join((*PROPERTIES, 'key', 'value', 'values', *IGNORED))}"
            raise BadObject(SPECIFIED, f"member of map {name}", member, why)
    kind = _kind(SPECIFIED, name, found.get("kind", 0))
    found |= FIXED.get(kind, {})
    return MapSpec(
        name,
        kind,
        found.get("key_size", 0),
        found.get("value_size", 0),
        found.get("max_entries", 0),
        found.get("flags", 0),
        key_type=found.get("key_type", 0),
        value_type=found.get("value_type", 0),
        inner=inner,
        pinned=bool(found.get("pinned", 0)),
    )


def _number(types: Btf, name: str, member: str, number: int) -> int:
    """A property that is a number: the length of the array that a pointer points to, or an enum's only value."""
    kind = types.bare(number)
    if kind.kind == btf.ENUM and len(kind.rows) == 1:
        return kind.rows[0][1]
    array = types.bare(_pointed(types, name, member, kind))
    if array.kind != btf.ARRAY:
        raise BadObject(SPECIFIED, f"{member} of map {name}", array.kind, "a pointer to an array is wanted")
    return array.rows[0][2]


def _pointed(types: Btf, name: str, member: str, pointer: Type) -> int:
    if pointer.kind != btf.POINTER:
        raise BadObject(SPECIFIED, f"{member} of map {name}", pointer.kind, "a pointer is wanted")
    return pointer.value


def _inner(types: Btf, name: str, number: int) -> MapSpec | None:
    """What the array of pointers `values` holds: a map's definition, or (of programs) None."""
    array = types.bare(number)
    if array.kind != btf.ARRAY:
        raise BadObject(SPECIFIED, f"values of map {name}", array.kind, "an array of pointers is wanted")
    pointed = _pointed(types, name, "values", types.bare(array.rows[0][0]))
    if types.bare(pointed).kind == btf.PROTOTYPE:
        return None
    return _spec(types, f"{name}.inner", pointed, outer=False)
