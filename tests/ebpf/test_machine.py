"""Programs on packets: contexts, moving packets, helpers, maps that stay, tail calls."""

from __future__ import annotations

from dataclasses import dataclass, field
from random import Random
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lbcore.ebpf.assembler import assemble
from lbcore.ebpf.machine import Machine
from lbcore.ebpf.storage import Map
from lbcore.ebpf.vm import VmError

FRAME = bytes(range(64))

LENGTH = """
    r2 = *(u32 *)(r1 +4)
    r1 = *(u32 *)(r1 +0)
    r0 = r2
    r0 -= r1
    exit
"""

COUNT = """
    r6 = *(u32 *)(r1 +0)
    r2 = *(u8 *)(r6 +23)
    *(u32 *)(r10 -4) = r2
    r1 = map_by_idx(0)
    r2 = r10
    r2 += -4
    call map_lookup_elem#1
    if r0 == 0 goto out
    r1 = 1
    lock *(u64 *)(r0 +0) += r1
out:
    r0 = 2
    exit
"""


@given(st.binary(min_size=14, max_size=5000))
def test_a_program_sees_the_packet_from_its_first_to_its_last_byte(frame: bytes) -> None:
    assert Machine(assemble(LENGTH)).run(frame).verdict == len(frame)
    last = "r1 = *(u32 *)(r1 +4)\nr0 = *(u8 *)(r1 -1)\nexit"
    assert Machine(assemble(last)).run(frame).verdict == frame[-1]
    with pytest.raises(VmError, match=f"offset {len(frame)} of the packet, which has {len(frame)} bytes"):
        Machine(assemble("r1 = *(u32 *)(r1 +4)\nr0 = *(u8 *)(r1 +0)\nexit")).run(frame)
    with pytest.raises(VmError, match="offset -1 of the packet"):
        Machine(assemble("r1 = *(u32 *)(r1 +0)\nr0 = *(u8 *)(r1 -1)\nexit")).run(frame)


def test_maps_stay_from_packet_to_packet() -> None:
    counters = Map("array", 4, 8, 256, name="per_protocol")
    machine = Machine(assemble(COUNT), [counters])
    frames = [bytes(23) + bytes([protocol]) + bytes(40) for protocol in (6, 17, 6, 1, 6)]
    assert [machine.run(frame).verdict for frame in frames] == [2] * 5
    assert {n: int(c) for n, c in enumerate(counters.as_array("<u8")) if c} == {6: 3, 17: 1, 1: 1}


def test_the_context_is_not_for_writing() -> None:
    with pytest.raises(VmError, match="offset 12 of the context, which is read-only"):
        Machine(assemble("*(u32 *)(r1 +12) = 1\nexit")).run(FRAME)


def test_the_context_tells_interface_and_queue() -> None:
    code = assemble("r0 = *(u32 *)(r1 +12)\nr2 = *(u32 *)(r1 +16)\nr0 <<= 8\nr0 |= r2\nexit")
    assert Machine(code).run(FRAME, interface=7, queue=3).verdict == 0x703


def test_a_packet_grows_and_shrinks_at_both_ends() -> None:
    code = assemble("""
        r6 = r1
        r2 = -20
        call xdp_adjust_head#44
        r1 = r6
        r2 = -4
        call xdp_adjust_tail#65
        r1 = *(u32 *)(r6 +0)
        *(u32 *)(r1 +0) = 0x64636261
        r0 = 3
        exit""")
    result = Machine(code).run(FRAME)
    assert (result.verdict, result.packet) == (3, b"abcd" + bytes(16) + FRAME[:-4])


def test_a_pointer_from_before_the_packet_moved_is_checked_against_the_new_bounds() -> None:
    code = assemble("r7 = *(u32 *)(r1 +0)\nr2 = 14\ncall 44\nr0 = *(u8 *)(r7 +13)\nexit")
    with pytest.raises(VmError, match="offset -1 of the packet, which has 50 bytes"):
        Machine(code).run(FRAME)


def test_redirects_are_told_with_the_map_and_the_key() -> None:
    ports = Map("devmap", 4, 4, 8, name="ports")
    ports[(3).to_bytes(4, "little")] = (5).to_bytes(4, "little")
    code = "r1 = map_by_idx(0)\nr2 = {}\nr3 = 1\ncall redirect_map#51\nexit"
    there = Machine(assemble(code.format(3)), [ports]).run(FRAME)
    assert (there.verdict, there.redirect) == (4, (ports, 3))
    absent = Machine(assemble(code.format(4)), [ports]).run(FRAME)
    assert (absent.verdict, absent.redirect) == (1, None)
    plain = assemble("r1 = 9\nr2 = 0\ncall redirect#23\nexit")
    assert Machine(plain).run(FRAME).redirect == (None, 9)
    assert Machine(plain, kind="tc").run(FRAME).verdict == 7
    dropped = assemble("r1 = 9\nr2 = 0\ncall redirect#23\nr0 = 1\nexit")
    assert Machine(dropped).run(FRAME).redirect is None


def printing(template: bytes, *values: int) -> list[str]:
    words = template + b"\0" * (8 - len(template) % 8)
    lines = [f"r{1 + n} = {value} ll\n*(u64 *)(r10 -{8 * (n + 1)}) = r{1 + n}" for n, value in enumerate(values)]
    size = len(words)
    for at in range(0, size, 8):
        number = int.from_bytes(words[at : at + 8], "little")
        lines += [f"r1 = {number} ll", f"*(u64 *)(r10 {at - size - 64:+d}) = r1"]
    lines += [f"r{3 + n} = *(u64 *)(r10 -{8 * (n + 1)})" for n in range(len(values))]
    lines += ["r1 = r10", f"r1 += {-size - 64}", f"r2 = {size}", "call trace_printk#6", "exit"]
    return list(Machine(assemble("\n".join(lines))).run(FRAME).printed)


@given(st.integers(0, 2**64 - 1), st.integers(0, 2**64 - 1))
def test_printk_prints_as_c_does(a: int, b: int) -> None:
    low = (a & 0xFFFFFFFF ^ 0x80000000) - 0x80000000
    assert printing(b"a=%d b=%llx %%", a, b) == [f"a={low} b={b:x} %"]
    assert printing(b"%u %lu %08x", a, b, 255) == [f"{a & 0xFFFFFFFF} {b} 000000ff"]


def test_clock_and_chance_are_the_readers_to_set() -> None:
    code = assemble("call ktime_get_ns#5\nr6 = r0\ncall get_prandom_u32#7\nr0 ^= r6\nexit")
    first = Machine(code, clock=lambda: 5, seed=1)
    again = Machine(code, clock=lambda: 5, seed=1)
    results = [first.run(FRAME).verdict for _ in range(3)]
    assert results == [again.run(FRAME).verdict for _ in range(3)]
    assert len(set(results)) == 3
    assert results != [Machine(code, clock=lambda: 5, seed=2).run(FRAME).verdict for _ in range(3)]


def test_tail_calls_go_on_with_another_program_33_times_at_most() -> None:
    call = "r6 = r1\nr2 = map_by_idx(1)\nr3 = 0\ncall tail_call#12\nr0 = 1\nexit"
    step = """
        r6 = r1
        r1 = map_by_idx(0)
        *(u32 *)(r10 -4) = 0
        r2 = r10
        r2 += -4
        call 1
        r1 = 1
        lock *(u64 *)(r0 +0) += r1
        r1 = r6
        r2 = map_by_idx(1)
        r3 = 0
        call tail_call#12
        r0 = 77
        exit"""
    counter, jump = Map("array", 4, 8, 1), Map("prog_array", 4, 4, 1)
    absent = Machine(assemble(call), [counter, jump]).run(FRAME)
    assert (absent.verdict, absent.executed) == (1, 6)
    jump[bytes(4)] = (9).to_bytes(4, "little")
    machine = Machine(assemble(call), [counter, jump], programs={9: assemble(step)})
    assert machine.run(FRAME).verdict == 77
    assert counter.as_array("<u8")[0] == 33
    *_, last = machine.trace(FRAME)
    assert (last.after[0], counter.as_array("<u8")[0]) == (77, 66)
    assert machine.run(FRAME).verdict == 77


def test_a_tail_call_from_a_local_call_is_refused_and_not_done_wrong() -> None:
    jump = Map("prog_array", 4, 4, 1)
    jump[bytes(4)] = bytes(4)
    code = assemble("call local inside\nexit\ninside: r2 = map_by_idx(0)\nr3 = 0\ncall 12\nexit")
    machine = Machine(code, [jump], programs={0: code})
    with pytest.raises(VmError, match="instruction 5: call 12: a tail call from within a local call"):
        machine.run(FRAME)
    with pytest.raises(VmError, match="instruction 5: call 12: a tail call from within a local call"):
        list(machine.trace(FRAME))


def test_records_of_a_ring_buffer_come_out_in_order() -> None:
    ring = Map("ringbuf", 0, 0, 4096, name="events")
    code = assemble("""
        r1 = map_by_idx(0)
        r2 = 8
        r3 = 0
        call ringbuf_reserve#131
        if r0 == 0 goto full
        r1 = 0x6f6c6c6568 ll
        *(u64 *)(r0 +0) = r1
        r1 = r0
        r2 = 0
        call ringbuf_submit#132
        r1 = map_by_idx(0)
        r2 = r10
        r2 += -2
        *(u16 *)(r2 +0) = 0x3231
        r3 = 2
        r4 = 0
        call ringbuf_output#130
    full: r0 = 2
        exit""")
    machine = Machine(code, [ring])
    machine.run(FRAME)
    assert ring.consume() == [b"hello\0\0\0", b"12"]
    for _ in range(300):
        assert machine.run(FRAME).verdict == 2
    assert len(ring.consume()) == 2 * (4096 // 32)
    twice = assemble("r1 = r10\nr2 = 0\ncall ringbuf_submit#132\nexit")
    with pytest.raises(VmError, match="no reserved record"):
        Machine(twice, [ring]).run(FRAME)


def word_sum(data: bytes) -> int:
    total = sum(int.from_bytes(data[i : i + 2], "big") for i in range(0, len(data), 2))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return total


@given(st.binary(min_size=20, max_size=20), st.binary(min_size=4, max_size=4))
def test_a_rewritten_address_gets_its_checksum_repaired(header: bytes, address: bytes) -> None:
    right = (word_sum(header[:10] + b"\0\0" + header[12:]) ^ 0xFFFF).to_bytes(2, "big")
    frame = bytes(14) + header[:10] + right + header[12:] + bytes(30)
    old, new = int.from_bytes(header[16:20], "little"), int.from_bytes(address, "little")
    code = assemble(f"""
        r6 = r1
        r2 = 24
        r3 = {old} ll
        r4 = {new} ll
        r5 = 4
        call l3_csum_replace#10
        *(u32 *)(r10 -4) = {new}
        r1 = r6
        r2 = 30
        r3 = r10
        r3 += -4
        r4 = 4
        r5 = 0
        call skb_store_bytes#9
        exit""")
    result = Machine(code, kind="tc").run(frame)
    after = result.packet[14:34]
    assert (result.verdict, after[16:]) == (0, address)
    assert word_sum(after) == 0xFFFF or not any(after)


def test_packet_loads_of_old_read_big_endian_and_end_the_program_outside() -> None:
    inside = assemble("r6 = r1\nr0 = *(u16 *)skb[12]\nexit")
    assert Machine(inside, kind="socket").run(FRAME).verdict == 0x0C0D
    indirect = assemble("r6 = r1\nr7 = 10\nr0 = *(u32 *)skb[r7 +2]\nexit")
    assert Machine(indirect, kind="socket").run(FRAME).verdict == 0x0C0D0E0F
    outside = assemble("r6 = r1\nr0 = *(u32 *)skb[62]\nr0 = 9\nexit")
    assert Machine(outside, kind="socket").run(FRAME).verdict == 0
    *_, last = Machine(outside, kind="socket").trace(FRAME)
    assert (last.slot, last.after[0]) == (1, 0)


@dataclass
class Linked:
    """What a loader gives, as far as the machine needs it."""

    code: bytes
    relocations: list[Any] = field(default_factory=list)
    kind: str = "xdp"


def test_relocations_name_maps() -> None:
    first, second = Map("array", 4, 8, 256, name="first"), Map("array", 4, 8, 256, name="second")
    relocation = SimpleNamespace(instruction=3, symbol="second")
    program = Linked(assemble(COUNT.replace("map_by_idx(0)", "0 ll")), [relocation])
    Machine(program, {"first": first, "second": second}).run(FRAME)
    assert (int(first.as_array("<u8").sum()), int(second.as_array("<u8").sum())) == (0, 1)
    with pytest.raises(ValueError, match="map 'second': the program uses it; given were first"):
        Machine(program, {"first": first})
    with pytest.raises(ValueError, match="kind 'kprobe'"):
        Machine(b"", kind="kprobe")


def test_running_a_packet_and_stepping_through_it_agree() -> None:
    random = Random(4)
    fast, slow = Map("array", 4, 8, 256), Map("array", 4, 8, 256)
    for _ in range(50):
        frame = random.randbytes(64)
        verdict = Machine(assemble(COUNT), [fast]).run(frame).verdict
        *_, last = Machine(assemble(COUNT), [slow]).trace(frame)
        assert last.after[0] == verdict
    assert (fast.as_array("<u8") == slow.as_array("<u8")).all()
