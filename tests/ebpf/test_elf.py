"""Objects are read as another reader reads them; what is broken is refused by section, field and value."""

from __future__ import annotations

import re
import struct
import subprocess
from dataclasses import replace
from pathlib import Path
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lbcore.ebpf import btf, elf, elf_file, isa, maps_memory
from lbcore.ebpf.machine import Machine
from lbcore.ebpf.object import BadObject, MapSpec
from lbcore.ebpf.program import VmError
from tests import needs
from tests.ebpf.compiled import c

pytestmark = needs.command("clang")
OBJECTS = ("many", "legacy", "bad", "kernel_types", "extern", "kernel_names", "tails", "legacy_nested", "settings")


def readelf(option: str, data: bytes, tmp_path: Path) -> list[list[str]]:
    path = tmp_path / "object"
    path.write_bytes(data)
    text = subprocess.run(["readelf", "-W", option, path], check=True, capture_output=True, text=True).stdout
    return [line.split() for line in text.splitlines()]


@needs.command("readelf")
@pytest.mark.parametrize("name", OBJECTS)
def test_tables_are_those_of_another_reader(name: str, tmp_path: Path) -> None:
    data = c(name)
    file = elf_file.parse(data)
    theirs = [row for row in readelf("--symbols", data, tmp_path) if row and re.fullmatch(r"\d+:", row[0])]
    types = {"NOTYPE": 0, "OBJECT": 1, "FUNC": 2, "SECTION": 3, "FILE": 4}
    bindings = {"LOCAL": 0, "GLOBAL": 1, "WEAK": 2}
    places = {"UND": 0, "ABS": 0xFFF1}
    assert [(one.value, one.size, one.type, one.binding, one.section) for one in file.symbols] == [
        (
            int(row[1], 16),
            int(row[2], 0),
            types[row[3]],
            bindings[row[4]],
            places.get(row[6]) or int(row[6].replace("UND", "0")),
        )
        for row in theirs
    ]
    assert [one.name for one in file.symbols if one.type != elf_file.SECTION] == [
        "".join(row[7:8]) for row in theirs if row[3] != "SECTION"
    ]
    ours = [(one.offset, one.type, one.symbol.name) for section in file.sections for one in file.relocations(section)]
    listed = [
        row for row in readelf("--relocs", data, tmp_path) if len(row) > 1 and re.fullmatch("[0-9a-f]{16}", row[0])
    ]
    assert sorted(at for at, _, _ in ours) == sorted(int(row[0], 16) for row in listed)
    assert sorted(kind for _, kind, _ in ours) == sorted(int(row[1], 16) & 0xFFFFFFFF for row in listed)


def test_maps_of_both_definitions() -> None:
    maps = {spec.name: spec for spec in elf.read(c("many")).maps}
    counts = maps["counts"]
    assert (counts.kind, counts.key_size, counts.value_size, counts.max_entries) == ("hash", 4, 8, 16)
    assert maps["outer"].inner is not None
    assert maps["outer"].inner.kind == "hash"
    assert maps["outer"].entries == ((1, "first"),)
    assert maps[".rodata"].content[:4] == (5).to_bytes(4, "little")
    assert maps[".data"].content == struct.pack("<4I", 10, 20, 30, 40)
    assert maps[".bss"].content == bytes(4)
    assert elf.read(c("legacy")).maps == (
        MapSpec("numbers", "array", 4, 8, 3),
        MapSpec("cells", "percpu_array", 4, 12, 2),
    )


def test_programs_bring_the_functions_they_call() -> None:
    count, second = elf.read(c("many")).programs
    assert [one.name for one in count.functions] == ["count", "weigh"]
    assert [one.name for one in second.functions] == ["second", "bounded", "weigh"]
    assert (count.kind, second.kind) == ("xdp", "xdp")
    for program in (count, second):
        starts = {one.instruction for one in program.functions}
        found = isa.decode(program.code)
        calls = [
            at + 1 + one.imm
            for at, one in zip(isa.slots(found), found, strict=False)
            if one.opcode == isa.JMP | isa.CALL and one.src == isa.LOCAL
        ]
        assert set(calls) == starts - {0}


@pytest.mark.parametrize("name", OBJECTS)
def test_lines_are_lines_of_the_source(name: str) -> None:
    source = (Path(__file__).parent / "c" / f"{name}.c").read_text().splitlines()
    for program in elf.read(c(name)).programs:
        assert program.lines
        for line in program.lines:
            if line.file.endswith(f"{name}.c") and line.line:
                assert line.text == source[line.line - 1]
        assert program.line_of(0) == program.lines[0]


def test_the_machine_runs_what_clang_made() -> None:
    compiled = elf.read(c("many"))
    maps = maps_memory.create(compiled)
    count, second = (Machine(program, maps) for program in compiled.programs)
    packet = bytes([9, 2, 3, *range(61)])
    assert [count.run(packet).verdict for _ in range(3)] == [2 * 3 + 30] * 3
    assert maps["counts"][(9).to_bytes(4, "little")] == (3).to_bytes(8, "little")
    assert maps[".bss"].as_array("<u4")[0] == 3
    assert second.run(packet).verdict == 3 * 5 + 40 + 1 + 20


def test_the_machine_has_nothing_of_the_kernels() -> None:
    """What is weak is missing; everything else is refused by name."""
    programs = {program.name: program for program in elf.read(c("kernel_names")).programs}
    tc = {name: replace(program, kind="tc") for name, program in programs.items()}
    assert Machine(tc["weak"]).run(bytes(64)).verdict == 5
    with pytest.raises(VmError, match="no kernel here"):
        Machine(tc["asks_for_what_is_not_there"]).run(bytes(64))
    for name, words in (("calls", "'bpf_rdonly_cast': the program wants it of the kernel"),
                        ("configured", "'LINUX_KERNEL_VERSION': a setting of the kernel's")):  # fmt: skip
        with pytest.raises(ValueError, match=words):
            Machine(tc[name])


def test_linking_knows_no_order() -> None:
    """An object whose sections come in another order means the same."""
    plain, sections = elf.read(c("many")), elf.read(c("many", "-ffunction-sections"))
    assert [program.name for program in sections.programs] == [program.name for program in plain.programs]
    by_name = {program.name: program for program in sections.programs}
    for program in plain.programs:
        assert by_name[program.name].code == program.code


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda data: data[:60], "ELF header: length is 60"),
        (lambda data: b"PK" + data[2:], "ELF header: e_ident"),
        (lambda data: data[:4] + b"\1" + data[5:], "EI_CLASS is 1"),
        (lambda data: data[:16] + b"\2" + data[17:], "e_type is 2"),
        (lambda data: data[:18] + b"\x3e" + data[19:], "e_machine is 62"),
        (lambda data: data[:-100], "e_shoff"),
        (lambda data: data.replace(b"\x9f\xeb\x01", b"\x9f\xeb\x09", 1), "section .BTF: version is 9"),
    ],
)
def test_broken_files_are_told_by_section_field_and_value(change: object, words: str) -> None:
    assert callable(change)
    data = c("legacy")
    if "e_shoff" in words:  # put the section headers last, so that the cut goes through them
        assert struct.unpack_from("<Q", data, 40)[0] + 64 * struct.unpack_from("<H", data, 60)[0] == len(data)
    with pytest.raises(BadObject, match=re.escape(words)):
        elf.read(change(data))


def test_big_endian_objects_are_refused_in_words() -> None:
    with pytest.raises(BadObject, match="EI_DATA is 2: 1 \\(little-endian\\) is wanted"):
        elf.read(c("legacy", target="bpfeb"))


def test_maps_in_types_need_types() -> None:
    with pytest.raises(BadObject, match=r"section .maps: BTF is None: .* -g"):
        elf.read(c("many", "-g0"))


def test_btf_gets_sizes_and_places() -> None:
    compiled = elf.read(c("many"))
    types = btf.parse(compiled.btf)
    for name, content in compiled.data_sections.items():
        section = types.named(name, btf.DATA_SECTION)
        assert section is not None
        assert section.value == len(content)
        places = [(at, size) for _, at, size in section.rows]
        assert places == sorted(places)
        assert all(at + size <= len(content) for at, size in places)


def test_early_compilers_gave_relocations_no_type() -> None:
    data = bytearray(c("legacy"))
    file = elf_file.parse(bytes(data))
    offset = struct.unpack_from("<Q", data, 40)[0]
    for table in file.sections:
        if table.name == ".relxdp_old":
            at, size = elf_file.SECTION_HEADER.unpack_from(data, offset + 64 * table.index)[4:6]
            for entry in range(at, at + size, 16):
                assert struct.unpack_from("<I", data, entry + 8)[0] == elf.ADDRESS
                data[entry + 8] = elf.ANY
    assert elf.read(bytes(data)).programs == elf.read(c("legacy")).programs


def test_a_symbol_outside_of_all_sections_says_nothing_of_a_variable() -> None:
    data = c("many")
    file, changed = elf_file.parse(data), bytearray(data)
    offset = struct.unpack_from("<Q", data, 40)[0]
    (table,) = (section for section in file.sections if section.type == elf_file.SYMTAB)
    at = elf_file.SECTION_HEADER.unpack_from(data, offset + 64 * table.index)[4]
    (number,) = (i for i, symbol in enumerate(file.symbols) if symbol.name == "licence")
    struct.pack_into("<HQ", changed, at + elf_file.SYMBOL.size * number + 6, elf_file.RESERVED, 1 << 40)
    assert elf.read(bytes(changed)).btf == elf.read(data).btf


def test_types_that_are_only_declared_are_left_out() -> None:
    """All others keep their numbers; the kernel would take none of them else."""
    data = c("kernel_names")
    section = elf_file.parse(data).section(".BTF")
    assert section is not None
    before, after = btf.parse(section.data), btf.parse(elf.read(data).btf)
    gone = {one.number for one, other in zip(before.types, after.types, strict=True) if one.kind != other.kind}
    names = {before.type(number).name for number in gone}
    assert {".ksyms", ".kconfig", "no_such_function", "LINUX_KERNEL_VERSION", "tcp_v4_rcv"} <= names
    assert all(after.type(number)[1:5] == ("", btf.POINTER, 0, ()) for number in gone)
    assert "license" in {one.name for one in after.types}


@pytest.mark.parametrize("name", OBJECTS)
def test_any_truncation_is_a_bad_object(name: str) -> None:
    data = c(name)
    random = Random(name)
    for size in {random.randrange(len(data)) for _ in range(300)}:
        with pytest.raises(BadObject):
            elf.read(data[:size])


def places(data: bytes) -> list[tuple[int, int]]:
    """Where the parts that a loader reads begin and end: debug information would dilute the mutations."""
    offset, count = struct.unpack_from("<Q", data, 40)[0], struct.unpack_from("<H", data, 60)[0]
    found = [(0, 64), (offset, offset + 64 * count)]
    for section in elf_file.parse(data).sections:
        header = elf_file.SECTION_HEADER.unpack_from(data, offset + 64 * section.index)
        if (
            not section.name.startswith((".debug", ".rel.debug"))
            and header[1] not in (0, elf_file.NOBITS)
            and header[5]
        ):
            found.append((header[4], header[4] + header[5]))
    return found


WILD = st.sampled_from((0, 1, 7, 0x7F, 0x80, 0xFF, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 1 << 40, 1 << 60, -1))


@given(st.data())
def test_mutated_objects_are_read_or_refused(draw: st.DataObject) -> None:
    original = c(draw.draw(st.sampled_from(OBJECTS)))
    data = bytearray(original)
    for _ in range(draw.draw(st.integers(1, 4))):
        start, end = draw.draw(st.sampled_from(places(original)))
        at = draw.draw(st.integers(start, end - 1))
        width = draw.draw(st.sampled_from((1, 2, 4, 8)))
        value = draw.draw(WILD | st.integers(0, 255)) & (1 << 8 * width) - 1
        data[at : at + width] = value.to_bytes(width, "little")
    try:
        found = elf.read(bytes(data))
    except BadObject:
        return
    assert bool(found.assembly) == bool(found.programs)


@given(st.binary(max_size=300))
def test_any_bytes_are_refused(data: bytes) -> None:
    with pytest.raises(BadObject):
        elf.read(data)
    with pytest.raises(BadObject):
        elf.read(c("legacy")[:64] + data)


def test_several_programs_are_not_one() -> None:
    compiled = elf.read(c("many"))
    with pytest.raises(ValueError, match="count, second"):
        _ = compiled.program
    assert replace(compiled, programs=compiled.programs[:1]).code == compiled.programs[0].code


def test_a_small_file_cannot_ask_for_very_much(monkeypatch: pytest.MonkeyPatch) -> None:
    compiled = elf.read(c("many"))
    slots = sum(len(program.code) for program in compiled.programs) // isa.SLOT
    monkeypatch.setattr(elf, "MOST_SLOTS", slots)
    assert elf.read(c("many")) == compiled
    monkeypatch.setattr(elf, "MOST_SLOTS", slots - 1)
    with pytest.raises(BadObject, match=f"program is 'second': .* more than {slots - 1} slots"):
        elf.read(c("many"))
