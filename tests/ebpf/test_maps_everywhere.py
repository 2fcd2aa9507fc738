"""Every kind of map on every target: plain Python, numba, machine and kernel agree on verdicts, packets and content."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterator
from random import Random
from typing import Any

import pytest

from lbcore.ebpf import btf, compiler, elf_file, kernel, maps, system_call
from lbcore.ebpf.compiler import Source, tc, xdp
from lbcore.ebpf.contexts import XDP_DROP, XDP_PASS, XDP_REDIRECT, XDP_TX
from lbcore.ebpf.errors import CompileError
from lbcore.ebpf.machine import Machine
from lbcore.ebpf.maps import B16, B32, B64, B128, U8, U16, U32, U64
from lbcore.wire.seam import (
    Frame,
    interface_of,
    length_of,
    mark_of,
    need,
    queue_of,
    set8,
    set_mark,
    size_of,
    u8,
    u16,
    u32,
    u64,
    view,
)  # fmt: skip
from lbcore.wire.words import int64, word64
from tests import needs
from tests.ebpf.everywhere import Outcome, Sent, fill, in_kernel, in_machine, in_numba, in_python

BACKEND = {"mac": B16, "weight": U8, "port": B16, "flags": U32, "packets": U64, "octets": U64}

totals = maps.array("totals", 8, value={"packets": U64, "octets": U64})
backends = maps.array("backends", 8, value=BACKEND)
per_cpu = maps.percpu_array("per_cpu", 8, value={"packets": U32, "octets": U64})
per_source = maps.percpu_hash("per_source", 64, key=B128, value=(U64, U64))
recent = maps.lru_percpu_hash("recent", 4096, key=(B128, B16), value=U64)
sessions = maps.hash_map(
    "sessions", 64, key={"source": B128, "port": B16}, value={"state": U8, "seen": U32, "id": B128}
)
routes4 = maps.lpm_trie("routes4", 16, key=B32, value=(U16, U8))
routes6 = maps.lpm_trie("routes6", 16, key=B128)
log = maps.ringbuf("log", 1 << 16, record={"address": B128, "length": U16})
ways = maps.devmap("ways", 8)
interfaces = maps.devmap_hash("interfaces", 8)
queues = maps.xskmap("queues", 8)
stages = maps.prog_array("stages", 8)


@xdp
def counts(context):
    p = view(context)
    if not need(p, 40):
        return XDP_DROP
    i = u8(p, 0) & 15
    done = totals.add(i, (1, size_of(p)))
    per_cpu.add(i, size_of(p), "octets")
    per_cpu.add(i, 1, field=0)
    backends.add(i, size_of(p), "octets")
    backends.set_field(i, "port", u16(p, 2))
    backends.set_field(i, "weight", i + 300)
    backends.add(i, 1, "flags")
    found, backend = backends.lookup(i)
    _, total = totals.lookup(i)
    if done != found:
        return 7
    return (backend.port << 8 | backend.weight) + total.packets if found else XDP_PASS


@xdp
def addresses(context):
    p = view(context)
    if not need(p, 40):
        return XDP_DROP
    high, low, port = u64(p, 8), u64(p, 16), u16(p, 24) & 3
    per_source.add((high, low), (1, size_of(p)))
    per_source.add((high, low), 5, 1)
    recent.increment((high, low, port), 2)
    found, session = sessions.lookup((high, low, port))
    if found:
        if session.id_high != high or session.id_low != low:
            return 99
        sessions.add((high, low, port), 1, "seen")
        sessions.set_field((high, low, port), "state", session.state + 1)
        if session.seen == 3:
            sessions.delete((high, low, port))
    else:
        sessions.update((high, low, port), (200, 1, high, low))
    log.output((high, low, size_of(p)))
    known, six = routes6.lookup((128, high, low))
    there, four = routes4.lookup((32, u32(p, 20)))
    return (six if known else 0) << 16 | ((four[0] << 8) + four[1] if there else 0)


@xdp
def in_place(context):
    p = view(context)
    if not need(p, 40):
        return XDP_DROP
    high, low, port = u64(p, 8), u64(p, 16), u16(p, 24) & 3
    session = sessions.find((high, low, port))
    if not session:
        sessions.update((high, low, port), (200, 1, high, low))
        recent.update((high, low, port), word64(7))
        return XDP_PASS
    session.state = session.state + 1
    session.add("seen", size_of(p))
    session.id_low = session.id_low ^ session.id_high
    times = recent.find((high, low, port))
    if times:
        times.value = times.value << word64(1)
        times.add("value", 3)
    where = totals.find(u8(p, 0) & 15)
    if where:
        where.octets = where.octets + word64(size_of(p))
        where.add(0, 2)
        return int64(where.packets) << 8 | session.state
    return session.seen


@xdp
def by_device(context):
    p = view(context)
    if not need(p, 2):
        return XDP_DROP
    return ways.redirect(u8(p, 0) & 15, XDP_PASS) if u8(p, 1) & 1 else interfaces.redirect(u8(p, 0) & 15, XDP_TX)


@xdp
def by_queue(context):
    return queues.redirect(queue_of(context), XDP_PASS)


@xdp
def last_stage(context):
    totals.add(7, (1, length_of(context)))
    return XDP_TX


@xdp
def middle_stage(context):
    p = view(context)
    if need(p, 2):
        set8(p, 1, u8(p, 1) + 1)
        stages.tail_call(context, 1 if u8(p, 1) & 3 else 2)
    return XDP_DROP


@xdp
def first_stage(context):
    p = view(context)
    if not need(p, 1):
        return XDP_DROP
    stages.tail_call(context, u8(p, 0) & 7)
    totals.add(0, (1, 1))
    return XDP_PASS


@xdp
def endless(context):
    stages.tail_call(context, 3)
    return 40 + interface_of(context)


@tc
def marks(context):
    before = mark_of(context)
    set_mark(context, before + length_of(context))
    return (mark_of(context) ^ interface_of(context) << 24) & 0x7FFFFFFF


LOCAL = 0xFE80 << 48


def six(random: Random) -> tuple[int, int]:
    """One of few addresses with the top bits set."""
    return LOCAL | random.randrange(2), 0x8000_0000_0000_0000 | random.randrange(4)


def packets() -> list[Sent]:
    random = Random(8)
    made = []
    for _ in range(400):
        high, low = six(random)
        data = bytearray(random.randbytes(random.choice((14, 39, 40, 60, 120))))
        data[8:24] = (high << 64 | low).to_bytes(16, "big")[: max(len(data) - 8, 0)]
        made.append(Sent(bytes(data[:120])))
    return made


def rules() -> dict[str, Any]:
    return {
        "routes6": {(0, 0, 0): 1, (16, LOCAL, 0): 2, (128, LOCAL, 1 << 63 | 1): 3, (64, LOCAL | 1, 0): 4},
        "routes4": {(31, 2): (500, 3), (32, 1): (600, 4)},
        "ways": {0: 1, 3: 1},
        "interfaces": {1: 1, 9: 1},
    }  # fmt: skip


EVERY = [counts, addresses, in_place, by_device]
each = pytest.mark.parametrize("program", EVERY, ids=lambda program: program.__name__)


@pytest.fixture(autouse=True)
def empty_maps() -> Iterator[None]:
    """Programs of other tests find nothing here, and the kernel's per-CPU values are all of one CPU."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(before)})
    yield
    os.sched_setaffinity(0, before)
    for program in (*EVERY, by_queue, first_stage, last_stage):
        fill(program.maps, {})
    stages.sources.clear()


def run(target: Callable[..., Outcome], program: Source, **options: Any) -> Outcome:
    fill(program.maps, rules())
    return target(program, packets(), **options)


@each
def test_numba_and_machine_do_what_python_does(program: Source) -> None:
    expected = run(in_python, program)
    assert len({verdict for verdict, _ in expected[0]}) >= 3
    assert run(in_numba, program) == expected
    assert run(in_machine, program) == expected


@needs.tier(2)
@each
def test_the_kernel_does_what_python_does(program: Source) -> None:
    verdicts, contents = run(in_python, program)
    found, theirs = run(in_kernel, program)
    assert found == verdicts
    for name in set(theirs) - {"ways", "interfaces"}:
        assert theirs[name] == contents[name], name


def test_what_the_counters_say() -> None:
    """Once more by hand, so that four equal mistakes show."""
    fill(counts.maps, {})
    for _ in range(3):
        counts(Frame(bytes([2]) + bytes(59)))
    assert totals[2] == (3, 180)
    assert per_cpu[2].octets == 180
    assert (backends[2].flags, backends[2].octets, backends[2].packets, backends[2].weight) == (3, 180, 0, 302 & 255)
    assert not totals.add(8, (1, 1))
    assert not totals.set_field(8, "packets", 1)


def test_an_entry_is_there_or_not() -> None:
    fill(counts.maps, {})
    assert not totals.find(8)
    entry = totals.find(3)
    entry.octets = 1 << 70 | 5
    entry.add("octets", 1)
    assert totals[3] == (0, 6)
    with pytest.raises(LookupError, match="ask first whether"):
        _ = totals.find(8).octets
    with pytest.raises(AttributeError, match="'bytes' is no field of <array 'totals'>: packets, octets"):
        entry.bytes = 1
    with pytest.raises(ValueError, match="only U32 and U64"):
        backends.find(1).add("port", 1)
    with pytest.raises(ValueError, match="cannot be called 'add'"):
        maps.array("sums", 1, value={"add": U64})


def xdp_socket() -> socket.socket:
    """An AF_XDP socket with a receive ring: what an xskmap takes."""
    made = socket.socket(44, socket.SOCK_RAW)
    made.setsockopt(283, 2, 64)  # SOL_XDP, XDP_RX_RING
    return made


def test_a_queue_without_a_socket_falls_back() -> None:
    fill(by_queue.maps, {"queues": {3: 1}})
    sent = [Sent(bytes(64), queue=queue) for queue in (3, 4, 2, 3)]
    expected = in_python(by_queue, sent)
    assert [verdict for verdict, _ in expected[0]] == [XDP_REDIRECT, XDP_PASS, XDP_PASS, XDP_REDIRECT]
    assert in_numba(by_queue, sent) == in_machine(by_queue, sent) == expected


@needs.tier(2)
def test_the_kernel_redirects_to_a_socket() -> None:
    sent = [Sent(bytes(64))]
    assert in_kernel(by_queue, sent)[0] == [(XDP_PASS, bytes(64))]
    with xdp_socket() as one:
        assert in_kernel(by_queue, sent, {"queues": {0: one.fileno()}})[0] == [(XDP_REDIRECT, bytes(64))]
        assert in_kernel(by_queue, sent, {"queues": {1: one.fileno()}})[0] == [(XDP_PASS, bytes(64))]


def staged() -> None:
    fill(first_stage.maps | last_stage.maps, {})
    stages.put(1, middle_stage)
    stages.put(2, last_stage)


@pytest.mark.parametrize("target", [in_machine, pytest.param(in_kernel, marks=needs.tier(2))])
def test_tail_calls_go_where_python_goes(target: Callable[..., Outcome]) -> None:
    sent = [Sent(bytes([i, j]) + bytes(20)) for i in range(8) for j in range(4)]
    staged()
    expected, after = in_python(first_stage, sent)
    assert {verdict for verdict, _ in expected} == {XDP_PASS, XDP_TX}
    staged()
    results, found = target(first_stage, sent)
    assert results == expected
    assert found["totals"] == after["totals"]


@pytest.mark.parametrize("target", [in_python, in_machine, pytest.param(in_kernel, marks=needs.tier(2))])
def test_after_33_tail_calls_the_next_one_does_nothing(target: Callable[..., Outcome]) -> None:
    fill({"stages": stages}, {})
    stages.put(3, endless)
    assert target(endless, [Sent(bytes(64))] * 2)[0] == [(41, bytes(64))] * 2


def test_numba_cannot_go_on_in_another_program_and_says_so() -> None:
    fill(first_stage.maps, {})
    sent = [Sent(bytes(64))]
    assert in_numba(first_stage, sent)[0] == in_python(first_stage, sent)[0] == [(XDP_PASS, bytes(64))]
    stages.put(0, last_stage)
    with pytest.raises(RuntimeError, match="tail_call"):
        in_numba(first_stage, sent)
    with pytest.raises(ValueError, match="there are 8 entries"):
        stages.put(8, last_stage)


MARKED = [Sent(bytes(60), mark=mark, interface=1) for mark in (0, 7, 0xFFFFFFFF)]


def test_marks_travel_with_the_packet() -> None:
    frame = Frame(bytes(60), mark=0xFFFFFFFF, interface=5)
    assert marks(frame) == (59 ^ 5 << 24)
    assert frame.mark == 59
    expected = in_python(marks, MARKED)
    assert in_numba(marks, MARKED) == in_machine(marks, MARKED) == expected
    assert Machine(marks.object.program).run(bytes(60), mark=7).mark == 67


@needs.tier(2)
def test_the_kernel_knows_mark_and_interface() -> None:
    assert in_kernel(marks, MARKED) == in_python(marks, MARKED)


@pytest.mark.parametrize(
    "program", [*EVERY, by_queue, first_stage, middle_stage, endless, marks], ids=lambda program: program.__name__
)
def test_the_teaching_verifier_takes_it(program: Source) -> None:
    program.check()


TYPED = ("array", "percpu_array", "hash", "percpu_hash", "lru_percpu_hash", "lpm_trie")


@needs.tier(2)
@pytest.mark.parametrize("program", [*EVERY, by_queue, first_stage], ids=lambda program: program.__name__)
def test_the_kernel_knows_the_types_of_keys_and_values(program: Source) -> None:
    with kernel.load(program.object) as loaded:
        for name, one in loaded.maps.items():
            told = system_call.information(one.fd, system_call.MapInformation)
            known = (told.btf_key_type_id > 0, told.btf_value_type_id > 0)
            assert known == (one.kind in TYPED,) * 2, name


def test_types_name_every_field() -> None:
    types = btf.parse(elf_file.parse(addresses.object.elf).section(".BTF").data)
    spec = next(spec for spec in addresses.object.maps if spec.name == "sessions")
    key, value = types.type(spec.key_type), types.type(spec.value_type)

    def fields(struct: btf.Type) -> list[tuple[str, str, int]]:
        return [(types.string(name), types.type(kind).name, bits // 8) for name, kind, bits in struct.rows]

    assert fields(key) == [("source_high", "__be64", 0), ("source_low", "__be64", 8), ("port", "__be16", 16)]
    assert fields(value) == [
        ("state", "unsigned char", 0), ("seen", "unsigned int", 4), ("id_high", "__be64", 8), ("id_low", "__be64", 16),
    ]  # fmt: skip
    assert (key.name, key.value, value.value) == ("sessions_key", 20, 24)


def test_an_address_in_a_trie_begins_right_behind_the_length() -> None:
    with pytest.raises(ValueError, match="B128 or B32"):
        maps.lpm_trie("wrong", 4, key=(B64, B64))


@pytest.mark.parametrize(
    ("call", "why"),
    [
        (lambda: totals.add(0, 1), "packets"),
        (lambda: totals.add(0, 1, "bytes"), "has packets, octets"),
        (lambda: backends.add(0, 1, "port"), "only U32 and U64"),
        (lambda: routes6.set_field((0, 0, 0), 1, 2), "is one number"),
        (lambda: totals.add(0, (1, 2), 0), "one number"),
    ],
)
def test_what_cannot_be_added(call: Callable[[], Any], why: str) -> None:
    with pytest.raises(ValueError, match=why):
        call()


def redirects_by_counter(context):
    return totals.redirect(0, XDP_PASS)


def test_a_map_has_the_methods_of_its_kind() -> None:
    with pytest.raises(CompileError, match=r"map 'totals' is of kind array: a program has lookup, .* and not redirect"):
        compiler.emit(redirects_by_counter)
