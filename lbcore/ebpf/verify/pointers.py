"""Arithmetic with pointers: what may be added to what.

Rule of this file: two values in, of which one at least is a pointer; a value out, or a refusal.

Theory. Adding a constant moves the fixed part of a pointer; adding anything else becomes its variable part, whose
bounds then have to hold up at every access. A packet pointer with something unknown added leads to a new place: what
was compared with the packet's end before was another one, so the range is gone and the program asks again.

Trap. How far from the packet's start a pointer surely is does not count: what may be negative is subtracted from 0.
That is stricter than the kernel, and lets ways meet that differ in nothing else.
"""

from __future__ import annotations

from lbcore.ebpf.verify import number, value
from lbcore.ebpf.verify.arithmetic import compute
from lbcore.ebpf.verify.environment import Environment
from lbcore.ebpf.verify.number import S64_MIN, Number
from lbcore.ebpf.verify.refusal import NULL, POINTER, Refusal
from lbcore.ebpf.verify.value import UNKNOWN, Value

FARTHEST = 1 << 29
"""A pointer leads less than so many bytes away from where it points (BPF_MAX_VAR_OFF)."""

FIXED = (value.MAP, value.END, value.SOCKET, value.INNER)
"""Pointers that nothing may be added to."""


def compute_pointer(env: Environment, name: str, a: Value, b: Value) -> Value:
    """The result of `name`, a form of arithmetic other than a move. Raises Refusal."""
    if name in ("neg", "neg32") or name.startswith(("le", "be", "bswap")):
        return UNKNOWN
    if a.pointer and b.pointer:
        if name in ("sub", "sub32"):
            return UNKNOWN._replace(note="the difference of two pointers")
        raise Refusal(POINTER, f"{name} of two pointers, {a} and {b}", "two pointers can only be subtracted")
    if name == "sub32":
        return UNKNOWN
    pointer, other = (a, b) if a.pointer else (b, a)
    env.decisive |= other.made_of
    if name not in ("add", "sub"):
        raise Refusal(POINTER, f"{name} with a pointer, {pointer}", "only 64-bit + and - keep a pointer a pointer")
    if name == "sub" and b.pointer:
        raise Refusal(POINTER, f"subtracts a pointer, {b}, from a number", "a pointer minus a number is a pointer")
    return _moved(env, name, pointer, other.number)


def _moved(env: Environment, name: str, pointer: Value, by: Number) -> Value:
    if pointer.null:
        raise Refusal(NULL, f"moves a pointer that is {pointer}", "compare it with 0 first")
    if pointer.kind in FIXED and not (pointer.kind == value.MAP and by == number.ZERO):
        raise Refusal(POINTER, f"moves {pointer}", "this pointer can only be used as it is")
    _sane(pointer, by)
    _sane(pointer, pointer.number)
    if name == "sub" and pointer.kind == value.STACK:
        raise Refusal(POINTER, f"subtracts from {pointer}", "add a negative number to a stack pointer")
    if by.constant:
        distance = by.smin if name == "add" else -by.smin
        moved = pointer._replace(offset=pointer.offset + distance)
    else:
        start = pointer.number
        if pointer.kind in value.PACKETS and (name == "sub" or by.smin < 0) and start.smin >= 0:
            start = number.known(UNKNOWN.number.bits, (0, start.umax, 0, start.smax))
        moved = pointer._replace(number=compute(name, start, by))
        if pointer.kind in value.PACKETS:
            keeps = name == "sub" and by.smin >= 0
            moved = moved._replace(id=env.fresh(), range=pointer.range if keeps else 0)
    if abs(moved.offset) >= FARTHEST:
        raise Refusal(POINTER, f"makes {moved}", f"less than {FARTHEST} bytes away can be checked")
    _sane(moved, moved.number)
    return moved


def _sane(pointer: Value, by: Number) -> None:
    if by.constant and abs(by.smin) >= FARTHEST:
        raise Refusal(POINTER, f"moves {pointer} by {by}", f"less than {FARTHEST} bytes away can be checked")
    if by.smin == S64_MIN:
        raise Refusal(POINTER, f"moves {pointer} by a number without a lower bound: {by}", "bound it first")
    if abs(by.smin) >= FARTHEST:
        raise Refusal(POINTER, f"moves {pointer} by {by}, too far", f"keep it less than {FARTHEST} away")
