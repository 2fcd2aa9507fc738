"""The machine: it says clearly what went wrong, touches nothing it should not, always stops, and has one meaning."""

from __future__ import annotations

import re
from random import Random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numba import njit

from lbcore.ebpf import forms, interpreter, isa, program, signatures, vm
from lbcore.ebpf.assembler import assemble
from lbcore.ebpf.engine import Vm
from lbcore.ebpf.machine import Machine
from lbcore.ebpf.memory import MEMORY, Region
from lbcore.ebpf.storage import Map
from lbcore.ebpf.vm import VmError
from tests.ebpf.programs import instruction, straight


def outcome(code: bytes, memory: bytes, limit: int = 300) -> tuple[object, ...]:
    """What running gives, and what the same program gives step by step: (result or error, memory) twice."""
    mine, others = maps(), maps()
    fast, slow = bytearray(memory), bytearray(memory)
    results: list[object] = []
    try:
        results.append(vm.run(code, fast, maps=mine, limit=limit))
    except VmError as error:
        results.append((error.instruction, error.reason, error.registers))
    try:
        last = 0
        for step in vm.trace(code, slow, maps=others, limit=limit):
            last = step.after[0]
        results.append(last)
    except VmError as error:
        results.append((error.instruction, error.reason, error.registers))
    assert [dict(m) for m in mine] == [dict(m) for m in others]
    return results[0], bytes(fast), results[1], bytes(slow)


def maps() -> list[Map]:
    return [
        Map("array", 4, 16, 4, name="numbers"),
        Map("hash", 8, 5, 8, name="flows"),
        Map("ringbuf", 0, 0, 4096),
        Map("lru_hash", 4, 4, 2),
        Map("devmap", 4, 4, 4),
        Map("prog_array", 4, 4, 1),
        Map("lpm_trie", 8, 4, 4),
    ]


@settings(max_examples=300)
@given(st.integers(0, 2**32), st.integers(1, 60))
def test_running_and_stepping_agree(seed: int, length: int) -> None:
    code = isa.encode(straight(Random(seed), length))
    fast, memory, slow, memory_slow = outcome(code, bytes(16), limit=1000)
    assert isinstance(fast, int), fast
    assert (fast, memory) == (slow, memory_slow)


CALLS = [*signatures.HELPERS, 0, 9999]


def random_program(random: Random) -> bytes:
    """Valid instructions in any order, jumps within reach, pointers likely to be used as such; or noise."""
    kind = random.randrange(10)
    if kind == 0:
        return random.randbytes(8 * random.randrange(1, 20))
    length = random.randrange(1, 25)
    body = []
    for index in range(length):
        form = random.choice(forms.FORMS)
        chosen = {"offset": random.choice((0, -8, -4, 4, 8, 16))} if form.opcode & 7 in (1, 2, 3) else {}
        if form.opcode & 7 in (isa.JMP, isa.JMP32):
            near = random.randrange(-index - 1, length - index)
            chosen = {
                "offset": near,
                "imm": near if form.name in ("ja32", "call local") else random.choice((1, 2, 3, 5, 7)),
            }
        if form.opcode == isa.LDDW and form.fixed["src"]:
            chosen = {"low": random.randrange(8), "high": random.choice((0, 8, 16))}
        chosen["dst"] = random.choice((0, 1, 2, 3, 6, 9, 10 if form.opcode & 7 in (2, 3) else 1))
        chosen["src"] = random.choice((1, 2, 10, 10, 0, 3))
        body.append(instruction(random, form, **chosen))
    code = isa.encode([*body, isa.Instruction(isa.JMP | isa.EXIT)])
    if kind == 1:
        noisy = bytearray(code)
        noisy[random.randrange(len(noisy))] ^= 1 << random.randrange(8)
        return bytes(noisy)
    return code


def test_ten_thousand_random_programs_neither_crash_nor_hang_nor_escape() -> None:
    random, shared, told = Random(1), maps(), 0
    ends = {"finished": 0, "refused": 0, "stopped": 0}
    for number in range(10_000):
        code = random_program(random)
        machine: Machine | None = None
        try:
            machine = Machine(code, shared, kind=random.choice(("xdp", "tc")), programs={0: code} if number % 2 else {})
            guarded = np.arange(3 * 64, dtype=np.uint8)  # the program gets the middle of it
            machine.vm.memory.place(MEMORY, Region("the memory", guarded[64:128]))
            machine.run(random.randbytes(random.randrange(14, 100)), limit=200)
            ends["finished"] += 1
        except VmError as error:
            ends["refused" if machine is None else "stopped"] += 1
            told += bool(error.reason) and error.instruction <= len(code) // 8
        if machine:
            assert machine.vm.executed <= 200
            outside = np.r_[guarded[:64], guarded[128:]]
            assert (outside == np.r_[0:64, 128:192]).all()
    assert told == ends["refused"] + ends["stopped"]
    assert min(ends.values()) > 100, ends


def test_random_programs_fault_alike_when_stepped() -> None:
    random = Random(2)
    for _ in range(1_000):
        code = random_program(random)
        fast, memory, slow, memory_slow = outcome(code, bytes(64))
        assert fast == slow
        assert memory == memory_slow


@pytest.mark.parametrize(
    ("text", "instruction", "reason"),
    [
        ("r0 = *(u32 *)(r1 +62)\nexit", 0, "reads 4 bytes at offset 62 of the memory, which has 64 bytes"),
        ("*(u8 *)(r1 -1) = 0\nexit", 0, "writes 1 byte at offset -1 of the memory"),
        ("r0 = *(u64 *)(r10 -516)\nexit", 0, "reads 8 bytes at r10-516 of stack frame 0"),
        (
            "r0 = *(u64 *)(r10 -4)\nexit",
            0,
            "reads 8 bytes at r10-4 of stack frame 0, which reaches from r10-512 to r10-1",
        ),
        ("*(u8 *)(r10 +0) = 1\nexit", 0, "writes 1 byte at r10+0 of stack frame 0"),
        ("r1 = 0\nr0 = *(u8 *)(r1 +4)\nexit", 1, "reads 1 byte at 0x4, a null pointer"),
        ("r1 = 0x1234567\nr0 = *(u8 *)(r1 +0)\nexit", 1, "no pointer"),
        ("r1 = -1\nr0 = *(u64 *)(r1 +0)\nexit", 1, "reads 8 bytes at 0xffffffffffffffff, which is a number"),
        ("r0 = 1", 1, "runs over its end"),
        ("goto -1", 0, "not finished after 1000000 instructions"),
        ("call local -1\nexit", 0, "deeper than 8 frames"),
        ("call 9999\nexit", 0, "there is no helper 9999"),
        ("r1 = 7\nr2 = r10\ncall 1\nexit", 2, "argument 1 (map) of map_lookup_elem: 0x7 is no map"),
        (
            "r1 = map_by_idx(0)\nr2 = r10\ncall 1\nexit",
            3,
            "argument 2 (key) of map_lookup_elem: reads 4 bytes at r10+0",
        ),
        ("r1 = map_by_idx(0)\nr0 = *(u8 *)(r1 +0)\nexit", 2, "map 'numbers' itself, where nothing can be read"),
        (
            "r1 = map_val(map_by_idx(0)) +14\n*(u32 *)(r1 +0) = 1\nexit",
            2,
            "at offset 14 of slot 0 of map 'numbers', which has 16",
        ),
        ("call btf 5\nexit", 0, "no kernel here"),
        ("r0 = *(u8 *)skb[0]\nexit", 0, "loads from the packet, and there is none"),
        ("call 44\nexit", 0, "works on a packet, and there is none"),
        ("call local 1\nexit\nr6 = r10\nexit", None, ""),
    ],
)
def test_faults_are_told_in_words(text: str, instruction: int | None, reason: str) -> None:
    code = assemble(text)
    if instruction is None:
        assert vm.run(code, bytearray(64), maps=maps()) == 0
        return
    with pytest.raises(VmError) as caught:
        vm.run(code, bytearray(64), maps=maps())
    assert caught.value.instruction == instruction
    assert reason in caught.value.reason
    assert caught.value.text in str(caught.value)
    assert "r10=0x" in str(caught.value)


@pytest.mark.parametrize(
    ("code", "instruction", "reason"),
    [
        (b"\xff" * 8, 0, "opcode 0xff is not assigned"),
        (b"1234", 0, "8 bytes each"),
        (
            assemble("r1 = 2\nr0 = 1 ll")[:-16] + assemble("r0 = 1 ll")[:8] + assemble("exit"),
            2,
            "second half of a wide",
        ),
        (assemble("r0 = 1 ll")[:8], 0, "ends within a wide load"),
        (assemble("r0 = 1\ngoto +1\nexit"), 1, "leads to 3; there are instructions 0 to 2"),
        (assemble("goto -2\nexit"), 0, "leads to -1"),
        (assemble("goto +1\nr0 = 1 ll\nexit"), 0, "second half of a wide load"),
        (assemble("call local 7\nexit"), 0, "leads to 8"),
        (bytes([isa.ALU64 | isa.MOV, 10, 0, 0, 0, 0, 0, 0]), 0, "writes r10"),
        (bytes([isa.ALU64 | isa.MOV, 11, 0, 0, 0, 0, 0, 0]), 0, "dst is register 11"),
        (bytes([isa.ALU64 | isa.MOV | isa.X, 0xB0, 0, 0, 0, 0, 0, 0]), 0, "src is register 11"),
        (bytes([isa.ALU64 | isa.ADD, 0, 1, 0, 0, 0, 0, 0]), 0, "not a valid add: src 0x0, offset 0x0 is wanted"),
        (bytes([isa.ALU | isa.END, 0, 0, 0, 17, 0, 0, 0]), 0, "not a valid le16 or le32 or le64"),
        (bytes([isa.STX | isa.ATOMIC | isa.DW, 0x1A, 0xF8, 0xFF, 0x02, 0, 0, 0]), 0, "not a valid lock add"),
        (bytes([isa.STX | isa.ATOMIC | isa.DW, 0xAA, 0xF8, 0xFF, 0xE1, 0, 0, 0]), 0, "writes r10"),
        (assemble("r1 = map_by_idx(5)\nexit"), 0, "there is no map 5; given were none"),
        (assemble("r1 = var_addr(1)\nexit"), 0, "no platform variable 1"),
    ],
)
def test_what_is_no_program_is_refused_before_it_runs(code: bytes, instruction: int, reason: str) -> None:
    with pytest.raises(VmError) as caught:
        Vm(code)
    assert caught.value.instruction == instruction
    assert reason in caught.value.reason
    assert caught.value.registers == ()


def test_bytes_are_read_only_and_bytearrays_keep_what_was_written() -> None:
    code = assemble("*(u16 *)(r1 +1) = 0x2211\nr0 = *(u32 *)(r1 +0)\nexit")
    with pytest.raises(VmError, match="read-only"):
        vm.run(code, bytes(8))
    memory = bytearray(8)
    assert vm.run(code, memory) == 0x221100
    assert memory == b"\0\x11\x22\0\0\0\0\0"


def test_a_closed_frame_is_closed() -> None:
    """A pointer into a callee's stack is dead when it has returned; a caller's stack is open to the callee."""
    code = assemble("""
        r1 = r10
        call local callee
        r0 = *(u64 *)(r0 -8)
        exit
        callee: *(u64 *)(r1 -8) = 5
        *(u64 *)(r10 -8) = 6
        r0 = r10
        exit""")
    with pytest.raises(VmError, match="offset 504 of stack frame 1, where nothing"):
        vm.run(code)


def test_eight_frames_have_a_stack_each_and_keep_r6_to_r9() -> None:
    code = assemble("""
        r1 = 7
        call local down
        exit
    down: r6 = r1
        *(u64 *)(r10 -512) = r1
        r0 = 0
        if r1 == 1 goto exit
        r1 += -1
        call local down
        r2 = *(u64 *)(r10 -512)
        if r2 != r6 goto wrong
        r0 += r6
        exit
    wrong: r0 = -1
        exit""")
    assert vm.run(code) == 7 + 6 + 5 + 4 + 3 + 2


def test_own_helpers_get_the_registers() -> None:
    seen = []

    def helper(machine: Vm, *arguments: int) -> int:
        seen.append(arguments)
        return -1

    code = assemble("r1 = 1\nr2 = 2\nr3 = 3\nr4 = 4\nr5 = -1\ncall 1000\nexit")
    assert vm.run(code, helpers={1000: helper}) == 2**64 - 1
    by_register = assemble("r1 = 9\nr6 = 1000\ncallx r6\nexit")
    assert vm.run(by_register, helpers={1000: helper}) == 2**64 - 1
    assert seen == [(1, 2, 3, 4, 2**64 - 1), (9, 0, 0, 0, 0)]


def test_the_limit_counts_instructions() -> None:
    code = assemble("r0 = 1\nr0 = 2\nexit")
    assert vm.run(code, limit=3) == 2
    with pytest.raises(VmError, match="not finished after 2 instructions"):
        vm.run(code, limit=2)
    machine = Vm(code)
    machine.run()
    assert machine.executed == 3


def test_running_again_starts_afresh() -> None:
    machine = Vm(assemble("r0 = r3\nr3 = 5\nr0 += *0\nexit".replace("r0 += *0", "r0 += r3")))
    assert [machine.run(), machine.run()] == [5, 5]


def test_a_step_says_what_changed_and_what_was_touched() -> None:
    code = assemble("r2 = 7\n*(u16 *)(r10 -2) = r2\nr0 = *(s8 *)(r10 -2)\nlock *(u32 *)(r10 -4) += r2\nexit")
    move, store, load, add, end = vm.trace(code)
    assert (move.changed, move.touched) == ((2,), None)
    assert store.touched is not None
    assert (store.touched.region, store.touched.offset, store.touched.size) == ("stack frame 0", 510, 2)
    assert (store.touched.writing, store.touched.after) == (True, b"\7\0")
    assert (load.changed, load.after[0]) == ((0,), 7)
    assert add.touched is not None
    assert add.touched.after == bytes([7, 0, 7, 0])
    assert (end.text, end.slot, end.changed) == ("exit", 4, ())


def test_the_loop_is_a_jump_table() -> None:
    """What makes the machine fast: without it, LLVM would compare opcodes one after the other."""
    fresh = njit(error_model="numpy")(interpreter.execute.py_func)  # what is cached cannot be inspected
    words, table = np.zeros(1, np.uint64), np.zeros((1, 7), np.uint64)
    fresh(words, words, table, np.zeros((8, 5), np.int64), np.zeros(6, np.int64))
    (text,) = fresh.inspect_llvm().values()
    assert max(cases.count("label") for cases in re.findall(r"switch [^\[]*\[([^\]]*)\]", text)) > 60


def test_no_address_of_this_process_reaches_a_program() -> None:
    machine = Vm(assemble("r0 = r10\nexit"), maps=maps())
    machine.place(bytearray(8))
    bases = set(machine.memory.table[:, 0].tolist()) - {0}
    reachable = {machine.run(), machine.arguments[0], machine.handle(0), machine.value_address(machine.maps[0], 3)}
    assert not bases & reachable
    assert len(reachable) == 4


def test_checked_programs_are_shared_between_machines() -> None:
    checked = program.check(assemble("r0 = 3\nexit"))
    assert Vm(checked).run() == Vm(checked).run() == 3
