"""What one instruction does to a state; jumps excepted, which `jumps` has.

Rule of this file: one rule for each class of instruction. Each raises Refusal for what the kernel would not let pass.
"""

from __future__ import annotations

from lbcore.ebpf import isa
from lbcore.ebpf.isa import Instruction
from lbcore.ebpf.verify import access, arithmetic, calls, number, pointers, value
from lbcore.ebpf.verify.bits import M32
from lbcore.ebpf.verify.environment import Environment
from lbcore.ebpf.verify.maps import Facts
from lbcore.ebpf.verify.refusal import MAP, NOT_A_POINTER, REGISTER, UNKNOWN, Refusal
from lbcore.ebpf.verify.state import State
from lbcore.ebpf.verify.value import NONE, NUMBER, Value


def read(state: State, register: int) -> Value:
    """The content of a register that must have one."""
    held = state.registers[register]
    if held.kind == NONE:
        raise Refusal(REGISTER, f"reads r{register}, which has no value here", _why(state, register))
    return held


def arithmetic_of(env: Environment, state: State, i: Instruction, name: str) -> None:
    """name: of the instruction's form."""
    if i.code == isa.MOV:
        state.registers[i.dst] = _moved(env, state, i, name)
        return
    a = read(state, i.dst)
    b = read(state, i.src) if i.source and i.code != isa.END else value.constant(i.imm)
    if a.pointer or b.pointer:
        state.registers[i.dst] = pointers.compute_pointer(env, name, a, b)
    else:
        made = arithmetic.compute(name, a.number, b.number)
        state.registers[i.dst] = Value(NUMBER, made, made_of=a.made_of | b.made_of)


def load(env: Environment, state: State, i: Instruction) -> None:
    pointer = read(state, i.src)
    signed = i.mode == isa.MEMSX
    state.registers[i.dst] = access.load(env, state, f"r{i.src}", pointer, i.offset, i.size, signed=signed)


def store(env: Environment, state: State, i: Instruction) -> None:
    content = read(state, i.src) if i.klass == isa.STX else value.constant(i.imm)
    access.store(env, state, f"r{i.dst}", read(state, i.dst), i.offset, i.size, content)


def atomic(env: Environment, state: State, i: Instruction) -> None:
    read(state, i.src)
    if i.imm == isa.CMPXCHG:
        read(state, 0)
    target = 0 if i.imm == isa.CMPXCHG else i.src
    if i.imm & isa.FETCH and target == i.dst:
        raise Refusal(NOT_A_POINTER, f"fetches into r{i.dst}, which holds the address", "use two registers")
    fetched = access.atomic(env, state, f"r{i.dst}", read(state, i.dst), i.offset, i.size)
    if i.imm & isa.FETCH:
        state.registers[target] = fetched


def wide(state: State, i: Instruction, facts: Facts | None) -> None:
    """facts: of the map that the load names, if it does."""
    if i.src == isa.IMM64:
        state.registers[i.dst] = value.constant(i.imm)
    elif facts is None:
        raise Refusal(UNKNOWN, "loads an address that is no map's", "only constants, maps and their values are known")
    elif i.src in (isa.MAP_FD, isa.MAP_INDEX):
        state.registers[i.dst] = Value(value.MAP, about=facts)
    else:
        state.registers[i.dst] = _first_value(facts, i.high)


def packet_load(env: Environment, state: State, i: Instruction) -> None:
    calls.packet_load(env, state, state.registers[i.src] if i.mode == isa.IND else None)


def _first_value(facts: Facts, offset: int) -> Value:
    if facts.kind != "array" or facts.max_entries != 1:
        why = f"{facts.name} is a {facts.kind} of {facts.max_entries}"
        raise Refusal(MAP, f"loads the address of a value: {why}", "that is for arrays with one entry")
    if not 0 <= offset < facts.value_size:
        raise Refusal(MAP, f"loads the address of byte {offset} of {facts.name}", f"it has {facts.value_size} bytes")
    return Value(value.VALUE, about=facts, offset=offset)


def _moved(env: Environment, state: State, i: Instruction, name: str) -> Value:
    """A copy has the same id as the original: they are the same number, whatever it is."""
    if not i.source:
        return value.constant(i.imm if i.klass == isa.ALU64 else i.imm & M32)
    held = read(state, i.src)
    if held.kind != NUMBER:
        if name == "mov":
            return held
        return value.of(number.unsigned(32) if i.klass == isa.ALU else number.ANY)
    if not name.startswith("movsx") and not held.number.constant and (name == "mov" or held.number.umax <= M32):
        if not held.id:
            held = held._replace(id=env.fresh())
            state.registers[i.src] = held
        return held
    return Value(NUMBER, arithmetic.compute(name, number.ZERO, held.number), made_of=held.made_of)


def _why(state: State, register: int) -> str:
    if register in (1, 2, 3, 4, 5):
        return "a call leaves nothing in r1 to r5; what is needed afterwards is kept in r6 to r9"
    if register == 0:
        return "r0 is written by a call, or by the program"
    return "write it first"
