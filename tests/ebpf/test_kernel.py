"""The kernel takes what the reader makes of an object, and does with it what the book's machine does."""

from __future__ import annotations

import ctypes
import errno
import os
import struct
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest

from lbcore.ebpf import btf, elf, isa, kernel, maps_memory, settings, storage, system_call
from lbcore.ebpf.assembler import assemble
from lbcore.ebpf.machine import Machine
from lbcore.ebpf.maps_kernel import KernelMap, possible_cpus
from lbcore.ebpf.object import BadObject, Line, MapSpec, Object, Program
from tests import needs
from tests.ebpf.compiled import c

pytestmark = [needs.tier(2), needs.command("clang")]


def word(number: int) -> bytes:
    return number.to_bytes(4, "little")


@pytest.fixture(autouse=True)
def no_descriptor_is_left() -> Iterator[None]:
    before = set(os.listdir("/proc/self/fd"))
    yield
    assert set(os.listdir("/proc/self/fd")) <= before


def test_kernel_and_machine_agree_on_what_clang_made() -> None:
    compiled = elf.read(c("many"))
    memory = maps_memory.create(compiled)
    random = Random(3)
    packets = [random.randbytes(random.randrange(14, 200)) for _ in range(200)]
    with kernel.load(compiled, "count") as count, kernel.load(compiled, "second", maps=count.maps) as second:
        machines = [Machine(program, memory) for program in compiled.programs]
        for packet in packets:
            for loaded, machine in zip((count, second), machines, strict=True):
                assert loaded.test_run(packet).verdict == machine.run(packet).verdict
        assert dict(count.maps["counts"]) == dict(memory["counts"])
        assert bytes(count.maps[".bss"][word(0)]) == bytes(memory[".bss"][word(0)])


def test_maps_of_maps_start_with_what_the_object_names() -> None:
    with kernel.load(elf.read(c("many")), "count") as program:
        assert list(program.maps["outer"]) == [word(1)]


def test_legacy_objects_load() -> None:
    with kernel.load(elf.read(c("legacy"))) as program:
        run = program.test_run(bytes(64), repeat=5)
        assert (run.verdict, run.packet) == (2, bytes(64))  # "cells" has no third
        assert program.maps["numbers"].as_array("<u8").tolist() == [0, 0, 35]


def test_the_kernel_places_fields_of_its_own_types() -> None:
    """A CO-RE relocation ends at the offset that the running kernel's own types tell."""
    compiled = elf.read(c("kernel_types"))
    (place,) = (program for program in compiled.programs if program.name == "place")
    types = btf.parse(Path("/sys/kernel/btf/vmlinux").read_bytes())
    task = types.named("task_struct", btf.STRUCT)
    assert task is not None
    (bits,) = (bits for name, _, bits in task.rows if types.string(name) == "tgid")
    assert len(place.core) == 1
    with kernel.load(compiled, "place") as program:
        moves = {one.imm for one in isa.decode(program.translated) if one.opcode == isa.ALU64 | isa.MOV}
        adds = {one.imm for one in isa.decode(program.translated) if one.opcode == isa.ALU64 | isa.ADD}
        assert bits // 8 in moves | adds


def test_one_type_is_found_as_among_all() -> None:
    data = Path("/sys/kernel/btf/vmlinux").read_bytes()
    types = btf.parse(data)
    for one in Random(4).sample([one for one in types.types if one.name], 8):
        first = types.named(one.name, one.kind)
        assert first is not None
        assert btf.number(data, one.name, one.kind) == first.number
    assert btf.number(data, "no_such_function", btf.FUNCTION) == 0


def test_callbacks_and_ring_buffers() -> None:
    with kernel.load(elf.read(c("kernel_types")), "loops") as program:
        assert program.test_run(bytes(64), repeat=3).verdict == 10
        ring = program.maps["ring"]
        assert ring.consume() == [word(10)] * 3
        assert ring.consume() == []


def test_a_refusal_is_told_at_its_source_line() -> None:
    source = (Path(__file__).parent / "c" / "bad.c").read_text().splitlines()
    wanted = next(number for number, line in enumerate(source, 1) if "nobody asked" in line)
    with pytest.raises(kernel.Rejected) as caught:
        kernel.load(elf.read(c("bad")))
    error = caught.value
    assert error.line is not None
    assert (Path(error.line.file).name, error.line.line) == ("bad.c", wanted)
    assert "invalid access to packet" in error.reason
    for words in (f"bad.c:{wanted}", source[wanted - 1].strip(), error.reason, "*(u8 *)(r1 +40)"):
        assert words in str(error)


def test_a_refusal_without_types_still_names_the_line() -> None:
    """Line information is the object's; the kernel need not know it."""
    lines = (Line(0, "a.py", 3, "start"), Line(1, "a.py", 4, "read"), Line(2, "a.py", 5, "stop"))
    code = assemble("r2 = 1\nr0 = *(u64 *)(r2 +0)\nexit")
    with pytest.raises(kernel.Rejected, match=r"(?s)inv.*a\.py:4.*read"):
        kernel.load(Object(b"", (Program("p", "xdp", "xdp", code, lines=lines),), license="GPL"))


def test_what_cannot_be_loaded_is_refused_in_words() -> None:
    with pytest.raises(BadObject, match="symbol is 'elsewhere': declared extern"):
        kernel.load(elf.read(c("extern")))
    plain = Program("p", "xdp", "xdp", assemble("r0 = 0\nexit"))
    hooks = (("fentry/no_fork", "tracing", "have no no_fork"), ("freplace/one", "ext", "for one program"))
    for section, kind, words in (("mine", "", "tells no kind"), *hooks):
        with pytest.raises(BadObject, match=words):
            kernel.load(Object(b"", (replace(plain, section=section, kind=kind),)))
    with kernel.load(Object(b"", (replace(plain, section="mine", kind=""),)), kind="xdp") as program:
        assert program.test_run(bytes(14)).verdict == 0
    with pytest.raises(ValueError, match="'q': the object has p"):
        kernel.load(Object(b"", (plain,)), "q")
    with kernel.load(Object(b"", (plain,))) as program, pytest.raises(OSError, match="at least 14"):
        program.test_run(bytes(3))


def test_names_of_the_kernels_are_looked_up() -> None:
    """Functions, addresses and hooks; what is weak may be missing, as long as nobody goes there."""
    compiled = elf.read(c("kernel_names"))
    for name, verdict in (("calls", 3), ("weak", 5), ("address", 6), ("configured", settings.version())):
        with kernel.load(compiled, name) as program:
            assert program.test_run(bytes(64)).verdict == verdict
    for name in ("watches", "walks"):
        kernel.load(compiled, name).close()
    with pytest.raises(kernel.Rejected, match=r"has not got this function(?s:.)*return no_such_function"):
        kernel.load(compiled, "asks_for_what_is_not_there")
    for name, words in (("waits", "have no no_such_function"),):
        with pytest.raises(BadObject, match=words):
            kernel.load(compiled, name)


@pytest.mark.parametrize("options", [(), ("-DSAMPLES",)])
def test_maps_of_maps_of_old(options: tuple[str, ...]) -> None:
    compiled = elf.read(c("legacy_nested", *options))
    outer = next(spec for spec in compiled.maps if spec.name == "c_outer")
    assert outer.inner == MapSpec("b_held", "hash", 8, 16, 3)
    with kernel.load(compiled) as program:
        assert program.test_run(bytes(64)).verdict == 2
        program.maps["c_outer"][word(1)] = word(program.maps["b_held"].fd)
        assert program.test_run(bytes(64)).verdict == 1


def test_maps_of_programs_start_with_what_the_object_names() -> None:
    with kernel.load(elf.read(c("tails")), "first") as program:
        assert sorted(program.maps["steps"]) == [word(1), word(3)]
        assert program.test_run(bytes(64), repeat=4).verdict == 5
        assert program.maps["shared"].as_array("<u8").tolist() == [4]


def test_statistics_count_runs() -> None:
    with kernel.load(elf.read(c("legacy"))) as program, kernel.statistics():
        program.test_run(bytes(64), repeat=1000)
        assert program.statistics.runs == 1000
        assert program.statistics.nanoseconds > 0
        assert program.machine_code
        assert isa.decode(program.translated)


class Failing:
    """The C library, whose system calls from number `first` on fail: one of them, or all."""

    def __init__(self, real: Any, first: int, code: int, *, once: bool) -> None:
        self.real, self.first, self.code, self.once, self.calls = real, first, code, once, 0

    def syscall(self, *arguments: Any) -> int:
        self.calls += 1
        if self.calls == self.first or (self.calls > self.first and not self.once):
            ctypes.set_errno(self.code)
            return -1
        return int(self.real.syscall(*arguments))


@pytest.mark.parametrize(("name", "program"), [("many", "count"), ("tails", "first"), ("kernel_types", "place")])
@pytest.mark.parametrize("once", [True, False])
@pytest.mark.parametrize("code", [errno.EPERM, errno.ENOSPC])
def test_nothing_is_left_open_whichever_call_fails(
    name: str, program: str, once: bool, code: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, real = elf.read(c(name)), system_call._libc()
    before = set(os.listdir("/proc/self/fd"))
    failures = 0
    for first in range(1, 100):
        library = Failing(real, first, code, once=once)
        monkeypatch.setattr(system_call, "_libc", lambda library=library: library)
        try:
            kernel.load(source, program).close()
        except (OSError, BadObject):
            failures += 1
        assert set(os.listdir("/proc/self/fd")) <= before, f"call {first}"
        if library.calls < first:
            break
    assert library.calls < first
    assert failures


DICTIONARIES = ("hash", "lru_hash")


@pytest.mark.parametrize("kind", DICTIONARIES)
def test_a_map_is_a_dictionary_as_the_machines_is(kind: str) -> None:
    """Random operations on the kernel's map and on the machine's have the same results and the same errors."""
    random = Random(kind)
    memory = storage.Map(kind, 4, 8, 64)
    with KernelMap.create(MapSpec("trial", kind, 4, 8, 64)) as real:
        for _ in range(500):
            key, value = word(random.randrange(40)), random.randbytes(8)
            flags = random.choice((storage.ANY, storage.NOEXIST, storage.EXIST))
            action = random.choice(("update", "delete", "get", "contains"))
            results = []
            for map_ in (memory, real):
                try:
                    match action:
                        case "update":
                            results.append(map_.update_entry(key, value, flags))
                        case "delete":
                            del map_[key]
                        case "get":
                            results.append(map_[key])
                        case "contains":
                            results.append(key in map_)
                except (KeyError, OSError) as error:
                    results.append((type(error), getattr(error, "errno", None)))
            assert results[: len(results) // 2] == results[len(results) // 2 :]
        assert dict(real) == dict(memory)
        assert len(real) == len(memory)


def test_dumps_are_arrays() -> None:
    size = 10_000
    keys = np.random.default_rng(1).permutation(size).astype("<u4")
    pair = np.dtype([("packets", "<u4"), ("bytes", "<u8")])
    values = np.zeros(size, pair)
    values["packets"], values["bytes"] = keys, keys.astype(np.uint64) * 100
    with KernelMap.create(MapSpec("many", "hash", 4, pair.itemsize, size)) as map_:
        map_.update_many(keys, values)
        got_keys, got = map_.dump("<u4", pair)
        assert sorted(got_keys) == list(range(size))
        assert (got["packets"] == got_keys).all()
        assert (got["bytes"] == got_keys.astype(np.uint64) * 100).all()
        with pytest.raises(ValueError, match="12 bytes, uint16 has 2"):
            map_.dump("<u4", "<u2")


def test_values_per_cpu_have_a_column_for_each() -> None:
    cpus = possible_cpus()
    with KernelMap.create(MapSpec("cells", "percpu_array", 4, 12, 3)) as map_:
        rows = [struct.pack("<3I", cpu, 7, 9) for cpu in range(cpus)]
        map_[word(1)] = b"".join(rows)
        map_[word(2)] = rows[0]
        assert map_[word(1)] == b"".join(rows)
        _, values = map_.dump("<u4", "V12")
        assert values.shape == (3, cpus)
        assert [bytes(value) for value in values[1]] == rows
        assert {bytes(value) for value in values[2]} == {rows[0]}
        with pytest.raises(ValueError, match="value has 11 bytes, wanted 12"):
            map_[word(0)] = bytes(11)


@pytest.mark.parametrize(("kind", "flags"), [("lpm_trie", 1), ("hash", 0), ("array", 0)])
def test_walking_and_batches_see_the_same(kind: str, flags: int, monkeypatch: pytest.MonkeyPatch) -> None:
    with KernelMap.create(MapSpec("walk", kind, 8 if kind != "array" else 4, 4, 32, flags)) as map_:
        for i in range(20):
            map_[word(i) if kind == "array" else word(32) + word(i)] = word(i * i)
        in_batches = dict(map_)
        monkeypatch.setattr(KernelMap, "_batches", KernelMap._one_by_one)
        assert dict(map_) == in_batches
        assert in_batches[word(5) if kind == "array" else word(32) + word(5)] == word(25)


def in_a_mount_namespace(script: str, where: Path) -> str:
    """What a Python script prints whose BPF file system is at `where`; the machine's own stays as it is."""
    head = f"""
import os, subprocess
from pathlib import Path
where = Path({str(where)!r})
subprocess.run(["mount", "-t", "bpf", "bpf", where], check=True)
"""
    command = ["unshare", "--mount", sys.executable, "-c", head + script]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_pinned_map_outlives_its_process(tmp_path: Path) -> None:
    script = """
from lbcore.ebpf.maps_kernel import KernelMap
from lbcore.ebpf.object import MapSpec
if os.fork() == 0:
    with KernelMap.create(MapSpec("kept", "hash", 4, 8, 5)) as map_:
        map_[b"abcd"] = b"12345678"
        map_.pin(where / "kept")
    os._exit(0)
assert os.wait()[1] == 0
with KernelMap.open(where / "kept") as map_:
    print(map_.spec, dict(map_))
"""
    printed = in_a_mount_namespace(script, tmp_path)
    assert "name='kept', kind='hash', key_size=4, value_size=8, max_entries=5" in printed
    assert "{b'abcd': b'12345678'}" in printed


def test_maps_are_pinned_and_found_only_if_that_is_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "object"
    path.write_bytes(c("tails"))
    fs = tmp_path / "fs"
    fs.mkdir()
    script = f"""
from lbcore.ebpf import elf, kernel
from lbcore.ebpf.maps_kernel import KernelMap
from lbcore.ebpf.object import MapSpec
source = elf.read(Path({str(path)!r}).read_bytes())
with kernel.load(source, "second") as program:
    program.test_run(bytes(64))
print((where / "shared").exists())
for _ in range(3):
    with kernel.load(source, "second", pins=where) as program:
        program.test_run(bytes(64))
        print((where / "shared").exists(), program.maps["shared"].as_array("<u8"))
(where / "shared").unlink()
with KernelMap.create(MapSpec("shared", "array", 4, 4, 1)) as other:
    other.pin(where / "shared")
before = os.listdir("/proc/self/fd")
try:
    kernel.load(source, "second", pins=where)
except ValueError as error:
    print(error)
assert os.listdir("/proc/self/fd") == before
"""
    *lines, refusal = in_a_mount_namespace(script, fs).splitlines()
    assert lines == ["False", "True [1]", "True [2]", "True [3]"]
    assert "value_size of the pinned map is 4, and the object wants 8" in refusal


def test_a_map_that_cannot_be_says_why() -> None:
    with pytest.raises(OSError, match=r"map 'odd' \(array, key 3, value 4, 2 entries"):
        KernelMap.create(MapSpec("odd", "array", 3, 4, 2))
    with pytest.raises(ValueError, match="kind is 'no such'"):
        KernelMap.create(MapSpec("odd", "no such", 4, 4, 2))


def test_maps_are_closed_when_one_of_them_cannot_be() -> None:
    good, bad = MapSpec("good", "array", 4, 4, 2), MapSpec("bad", "array", 3, 4, 2)
    with pytest.raises(OSError, match="map 'bad'"):
        kernel.create_maps(Object(b"", (), (good, bad)))
