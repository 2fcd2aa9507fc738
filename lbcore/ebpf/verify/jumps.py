"""Both ways of a conditional jump, each with what it tells.

Rule of this file: a state and a jump in; the ways that exist out, the one that falls through first.

Theory. Three questions matter to safety, and compilers and programmers ask them in many forms: how large is this
number, is this pointer null, and does the packet reach this far? Any other comparison splits the way and tells nothing.
"""

from __future__ import annotations

from lbcore.ebpf.isa import Instruction
from lbcore.ebpf.verify import compare, value
from lbcore.ebpf.verify.environment import Environment
from lbcore.ebpf.verify.instructions import read
from lbcore.ebpf.verify.number import Number
from lbcore.ebpf.verify.state import State
from lbcore.ebpf.verify.value import NUMBER, Value

LONGEST_PACKET = 0xFFFF
"""Packet pointers further out than this are not believed: sums might wrap around."""

PROVES = {"jgt": (False, 0), "jge": (False, 1), "jlt": (True, 1), "jle": (True, 0)}
"""packet pointer OP packet end: on which way the bytes before the pointer are there, and how many more."""


def ways(env: Environment, state: State, i: Instruction, form: str) -> list[tuple[bool, State]]:
    """(taken?, the state there) of each way of a jump of this form. Raises Refusal.

    The first state may be the given one itself, changed.
    """
    name, width = compare.split(form)
    a = read(state, i.dst)
    b = read(state, i.src) if i.source else value.constant(i.imm)
    if a.kind == NUMBER and b.kind == NUMBER:
        return _numbers(env, state, i, name, width, a, b)
    if width == 64 and not i.source and i.imm == 0 and name in ("jeq", "jne"):
        if a.null:
            other = state.copy()
            state.settle_null(a.id, null=name == "jne")
            other.settle_null(a.id, null=name == "jeq")
            return [(False, state), (True, other)]
        if a.kind in (value.VALUE, value.MAP, value.SOCKET, value.RECORD):
            return [(name == "jne", state)]
    other = state.copy()
    if width == 64:
        for pointer, end, op in ((a, b, name), (b, a, compare.MIRRORED.get(name, ""))):
            if op in PROVES and _is_end(pointer, end):
                taken, more = PROVES[op]
                _prove(other if taken else state, pointer, more)
                break
    return [(False, state), (True, other)]


def _numbers(
    env: Environment, state: State, i: Instruction, name: str, width: int, a: Value, b: Value
) -> list[tuple[bool, State]]:
    taken = compare.outcome(name, a.number, b.number, width)
    if taken is not None:
        env.decisive |= a.made_of | b.made_of
        return [(taken, state)]
    other = state.copy()
    _learn(state, i, a, b, compare.refine(compare.OPPOSITE[name], a.number, b.number, width))
    _learn(other, i, a, b, compare.refine(name, a.number, b.number, width))
    return [(False, state), (True, other)]


def _learn(state: State, i: Instruction, a: Value, b: Value, known: tuple[Number, Number]) -> None:
    registers, made_of = state.registers, a.made_of | b.made_of
    if i.source:
        registers[i.src] = b._replace(number=known[1], made_of=made_of)
        state.learn(b.id, known[1], made_of)
    registers[i.dst] = a._replace(number=known[0], made_of=made_of)
    state.learn(a.id, known[0], made_of)


def _is_end(pointer: Value, end: Value) -> bool:
    """Metadata ends where the packet starts."""
    if pointer.kind == value.META:
        return end.kind == value.PACKET and end == Value(value.PACKET, range=end.range)
    return pointer.kind == value.PACKET and end.kind == value.END


def _prove(state: State, pointer: Value, more: int) -> None:
    size = pointer.offset + more
    if pointer.offset < 0 or (pointer.offset == 0 and more) or pointer.number.umax + pointer.offset > LONGEST_PACKET:
        return
    state.widen_range(pointer, size)
