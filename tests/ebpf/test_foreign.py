"""Objects of other compilers use more of the format than ours: each such thing, read and run by machine and kernel."""

from __future__ import annotations

import re

import pytest

from lbcore.ebpf import elf, isa, kernel, maps_memory
from lbcore.ebpf.machine import Machine
from lbcore.ebpf.object import BadObject, Object
from tests import needs
from tests.ebpf.compiled import c, newest

pytestmark = needs.command("clang")
PACKET = bytes(range(0x80, 0xC0))


def machine(source: Object, name: str) -> Machine:
    (one,) = (one for one in source.programs if one.name == name)
    return Machine(one, maps_memory.create(source))


def signed(data: bytes) -> int:
    return int.from_bytes(data, "little", signed=True)


def quotient(a: int, b: int) -> int:
    """As C divides: towards zero."""
    return abs(a) // abs(b) * (1 if (a < 0) == (b < 0) else -1)


def by_hand(packet: bytes) -> int:
    """What `arithmetic` of newer.c computes."""
    a, b, c = signed(packet[1:2]), signed(packet[2:4]), signed(packet[4:8])
    mixed = signed(packet[8:12][::-1])
    first, second = b | 1, c | 1
    remainder = b - quotient(b, second) * second
    narrow = signed(bytes([mixed >> 3 & 0xFF]))
    return (quotient(a, first) ^ remainder ^ mixed ^ int.from_bytes(packet[8:16], "big") ^ narrow) & 0xFFFFFFFF


def test_version_4_means_what_c_means() -> None:
    source = elf.read(newest("newer"))
    for packet in (PACKET, bytes(64), bytes(range(64)), b"\xff" * 64, b"\x80\x7f" * 32):
        assert machine(source, "arithmetic").run(packet).verdict == by_hand(packet)
    text = source.assembly
    for instruction in ("s/=", "s%=", "*(s8 *)", "*(s16 *)", "bswap32", "bswap64", "= (s8)w"):
        assert instruction in text


def test_jumps_may_be_farther_than_an_offset_tells() -> None:
    source = elf.read(newest("newer"))
    (far,) = (one for one in source.programs if one.name == "far")
    jumps = [one for one in isa.decode(far.code) if one.opcode == isa.JMP32 | isa.JA]
    assert any(one.imm > 0x7FFF for one in jumps)
    made = machine(source, "far")
    expected = 7
    for _ in range(10_000):
        expected = expected * 3 + 1 & 0xFFFFFFFF
    assert made.run(PACKET, interface=12345).verdict == 7
    assert made.run(PACKET, interface=1).verdict == expected


@needs.tier(2)
@pytest.mark.parametrize("name", ["arithmetic", "far"])
def test_the_kernel_agrees_on_version_4(name: str) -> None:
    source = elf.read(newest("newer"))
    with kernel.load(source, name) as loaded:
        assert loaded.test_run(PACKET).verdict == machine(source, name).run(PACKET).verdict


def test_functions_of_several_sections_are_brought_together() -> None:
    sums, *_ = elf.read(c("parts")).programs
    assert [one.name for one in sums.functions] == ["sums", "global", "second", "first"]


def test_data_sections_of_any_name_are_maps() -> None:
    specs = {one.name: one for one in elf.read(c("parts")).maps}
    assert specs[".data.weights"].content == bytes([3, 0, 0, 0, 4, 0, 0, 0])
    assert specs[".rodata.offsets"].flags == specs[".rodata.str1.1"].flags == specs[".rodata"].flags == 1 << 7
    assert specs[".rodata.str1.1"].content == b"seen\0"
    assert (specs[".bss"].content, specs[".bss.total"].content) == (bytes(4), bytes(8))


def test_maps_of_maps_of_both_kinds() -> None:
    specs = {one.name: one for one in elf.read(c("parts")).maps}
    assert specs["pair"].entries == ((0, "nine"), (2, "ten"))
    inner = specs["by_name"].inner
    assert inner is not None
    assert (inner.kind, inner.key_size, inner.value_size, inner.max_entries) == ("hash", 8, 8, 3)


def test_the_machine_runs_the_parts() -> None:
    found = machine(elf.read(c("parts")), "sums").run(PACKET, queue=0).verdict
    tens, weights, offsets = (0, 10, 20, 30), (3, 4), (100, 200)
    assert found == sum(tens[i & 3] + weights[i & 1] + offsets[i & 1] for i in (0, 3))


@needs.tier(2)
def test_the_kernel_runs_the_parts() -> None:
    source = elf.read(c("parts"))
    with kernel.load(source, "sums") as loaded:
        assert loaded.test_run(PACKET).verdict == machine(source, "sums").run(PACKET).verdict
        assert loaded.maps[".bss"].as_array("<u4")[0] == 2
        assert loaded.maps[".bss.total"].as_array("<u8")[0] == 3
    with kernel.load(source, "called_back") as loaded:
        assert loaded.test_run(PACKET).verdict == 0 + 10 + 20 + 30
    with kernel.load(source, "prints") as loaded:
        assert loaded.test_run(PACKET).verdict == 11
    with kernel.load(source, "nested") as loaded:
        assert [loaded.test_run(PACKET).verdict for _ in range(2)] == [7, 14]
        assert loaded.maps["ten"].as_array("<u4").tolist() == [14]
        spec = next(one for one in source.maps if one.name == "by_name").inner
        assert spec is not None
        with kernel.KernelMap.create(spec) as held:
            loaded.maps["by_name"][(2).to_bytes(4, "little")] = held.fd.to_bytes(4, "little")
            assert loaded.test_run(PACKET).verdict == 121
            assert dict(held) == {(5).to_bytes(8, "little"): (5).to_bytes(8, "little")}


@pytest.mark.parametrize("name", ["many", "parts", "legacy", "tails", "kernel_types"])
def test_newer_compilers_say_the_same(name: str) -> None:
    """The same source through a back end that is many versions younger: the same maps, functions and sections."""
    old, new = elf.read(c(name)), elf.read(newest(name))
    assert {one.name: one.kind for one in old.maps} == {one.name: one.kind for one in new.maps}
    assert [(one.name, one.section) for one in old.programs] == [(one.name, one.section) for one in new.programs]


@needs.tier(2)
@pytest.mark.parametrize(
    ("name", "section", "words"),
    [
        ("threshold", "struct_ops/threshold", "one program or table of functions, which this loader cannot know"),
        ("replaces", "freplace/second", "one program or table of functions, which this loader cannot know"),
        ("waits", "fentry/a_function_of_a_module", "types of modules are not looked up"),
        ("calls", "tc", "symbol is 'function_of_a_module': declared extern; the running kernel has no such function"),
    ],
)
def test_what_is_for_somebody_elses_program_is_refused_by_section(name: str, section: str, words: str) -> None:
    with pytest.raises(BadObject, match=f"^section {re.escape(section)}: .*{re.escape(words)}"):
        kernel.load(elf.read(c("hooks")), name)
