"""Loads and stores: may these bytes be touched through this pointer?

Rule of this file: one rule for each kind of pointer. A refusal says where the access can lead and where it may.

Theory. An access is judged by its extremes: the lowest byte that the variable part of the pointer can lead to, and the
highest. Both must be inside. For the packet the highest comes out of the comparison with its end, so the question is
whether the bytes are within the range that was proven.
"""

from __future__ import annotations

from lbcore.ebpf.verify import arithmetic, bits, context, number, value
from lbcore.ebpf.verify.environment import Environment
from lbcore.ebpf.verify.pointers import FARTHEST
from lbcore.ebpf.verify.refusal import (
    ALIGNMENT,
    NOT_A_POINTER,
    NULL,
    PACKET,
    READ_ONLY,
    RECORD,
    STACK,
    VALUE,
    Refusal,
)
from lbcore.ebpf.verify.stack import SIZE as FRAME_SIZE
from lbcore.ebpf.verify.stack import Stack
from lbcore.ebpf.verify.state import State
from lbcore.ebpf.verify.value import UNKNOWN, Value

SOCKET_FIELD = 4
"""Bytes of an AF_XDP socket that programs see: its queue."""


def load(env: Environment, state: State, name: str, pointer: Value, offset: int, size: int, *, signed: bool) -> Value:
    """What a load of `size` bytes at `pointer` + offset gives. name: of the register, for people. Raises Refusal."""
    _usable(name, pointer)
    if pointer.kind == value.CONTEXT:
        held = context.read(env, pointer, offset, size, signed=signed)
    elif pointer.kind == value.STACK:
        held = _load_stack(env, state, name, pointer, offset, size)
    else:
        reach(env, name, pointer, offset, size)
        held = _fixed(pointer, offset, size)
    if held.kind == value.NUMBER and signed:
        return Value(value.NUMBER, arithmetic.extended(held.number, 8 * size), made_of=held.made_of)
    return held


def store(env: Environment, state: State, name: str, pointer: Value, offset: int, size: int, content: Value) -> None:
    """Store the lower `size` bytes of `content`. Raises Refusal."""
    _usable(name, pointer)
    if pointer.kind == value.CONTEXT:
        context.write(env, pointer, offset, size)
    elif pointer.kind == value.STACK:
        _store_stack(env, state, name, pointer, offset, size, content)
    else:
        reach(env, name, pointer, offset, size, writing=True)


def atomic(env: Environment, state: State, name: str, pointer: Value, offset: int, size: int) -> Value:
    """What an atomic operation may fetch. It reads and writes, at an aligned place, never context or packet."""
    _usable(name, pointer)
    if pointer.kind in (value.CONTEXT, *value.PACKETS):
        raise Refusal(NOT_A_POINTER, f"an atomic operation through {name} = {pointer}", "only on stack and maps")
    aligned(name, pointer, offset, size)
    held = load(env, state, name, pointer, offset, size, signed=False)
    if held.pointer:
        raise Refusal(NOT_A_POINTER, f"an atomic operation on {held}", "only on numbers")
    store(env, state, name, pointer, offset, size, value.of(number.unsigned(8 * size)))
    return value.of(number.unsigned(8 * size))


def reach(env: Environment, name: str, pointer: Value, offset: int, size: int, *, writing: bool = False) -> None:
    """Raise Refusal unless `size` bytes at `pointer` + offset are in a packet, a map's value, or a record."""
    if pointer.kind in value.PACKETS:
        _in_packet(name, pointer, offset, size)
    elif pointer.kind == value.VALUE:
        if writing and pointer.about.readonly:
            raise Refusal(READ_ONLY, f"writes through {name} = {pointer}", f"{pointer.about.name} is read-only")
        _within(VALUE, name, pointer, offset, size, pointer.about.value_size)
    elif pointer.kind == value.RECORD:
        _within(RECORD, name, pointer, offset, size, pointer.about)
    elif pointer.kind == value.SOCKET and not writing and (pointer.offset + offset, size) == (0, SOCKET_FIELD):
        return
    else:
        raise Refusal(NOT_A_POINTER, f"{'writes' if writing else 'reads'} through {name} = {pointer}", _RIGHT)


def aligned(name: str, pointer: Value, offset: int, size: int) -> None:
    """Raise Refusal unless pointer + offset is a multiple of the size, as far as is known."""
    place = bits.add(pointer.number.bits, number.constant(pointer.offset + offset).bits)
    if (place[0] | place[1]) & size - 1:
        raise Refusal(
            ALIGNMENT, f"{name} {offset:+d} is {_at(pointer, offset)}", f"{size} bytes want a multiple of {size}"
        )


def stack_of(env: Environment, state: State, pointer: Value) -> Stack:
    """The stack that a pointer leads to."""
    stack: Stack = state.frames[pointer.about].stack
    return stack


def stack_bounds(env: Environment, state: State, name: str, pointer: Value, offset: int, size: int) -> tuple[int, int]:
    """The lowest byte that can be touched and the byte behind the highest, from r10. Raises Refusal."""
    if pointer.number.smax >= FARTHEST or pointer.number.smin <= -FARTHEST:
        raise Refusal(STACK, f"{name} = {pointer} can be anywhere", "bound what was added to it")
    fixed = pointer.offset + offset
    low, high = pointer.number.smin + fixed, pointer.number.smax + fixed + size
    if low < -FRAME_SIZE or low >= 0 or high > 0:
        raise Refusal(
            STACK, f"{name} {offset:+d} reaches r10{low:+d} to r10{high - 1:+d}", f"there is r10-{FRAME_SIZE} to r10-1"
        )
    function = state.frames[pointer.about].function
    env.depths[function] = max(env.depths.get(function, 0), -low)
    return low, high


def _load_stack(env: Environment, state: State, name: str, pointer: Value, offset: int, size: int) -> Value:
    aligned(name, pointer, offset, size)
    low, high = stack_bounds(env, state, name, pointer, offset, size)
    stack = stack_of(env, state, pointer)
    if pointer.number.constant:
        return stack.read(low, size, trusting=env.trusting)
    stack.check(low, high, trusting=env.trusting)
    return value.of(number.unsigned(8 * size))


def _store_stack(
    env: Environment, state: State, name: str, pointer: Value, offset: int, size: int, content: Value
) -> None:
    aligned(name, pointer, offset, size)
    low, high = stack_bounds(env, state, name, pointer, offset, size)
    stack = stack_of(env, state, pointer)
    if not pointer.number.constant:
        stack.blur(low, high, surely=False)
        return
    if content.kind == value.STACK and pointer.about < len(state.frames) - 1:
        raise Refusal(STACK, f"puts {content} into a caller's stack", "a callee's frame is gone when it returns")
    stack.write(low, size, content)


def _usable(name: str, pointer: Value) -> None:
    if pointer.null:
        raise Refusal(NULL, f"{name} is {pointer}", f"compare {name} with 0 first, and use it where it is not 0")
    if not pointer.pointer:
        was = f" (it was {pointer.note})" if pointer.note else ""
        raise Refusal(NOT_A_POINTER, f"{name} is the number {pointer}{was}", _RIGHT)


def _in_packet(name: str, pointer: Value, offset: int, size: int) -> None:
    if pointer.number.smin < 0:
        raise Refusal(
            PACKET, f"{name} = {pointer} may lie before the packet", "make sure that what is added is not negative"
        )
    start = pointer.offset + offset
    if start < 0 or start + size > pointer.range:
        where = "the packet" if pointer.number.constant else "the place it points to"
        wanted = f"compare a pointer to byte {start + size} with data_end first"
        if start < 0:
            wanted = "packet pointers are checked forward only"
        elif pointer.range:
            wanted += f"; the program has asked for {pointer.range}"
        raise Refusal(PACKET, f"{name} = {pointer} reaches {_bytes(start, start + size)} of {where}", wanted)


def _within(category: str, name: str, pointer: Value, offset: int, size: int, room: int) -> None:
    fixed = pointer.offset + offset
    low, high = pointer.number.smin + fixed, pointer.number.umax + fixed + size
    right = f"it has bytes 0 to {room - 1}"
    if low < 0 and not pointer.number.constant:
        raise Refusal(
            category, f"{name} = {pointer} may lie before its beginning", "what is added must not be negative"
        )
    if pointer.number.umax >= FARTHEST:
        raise Refusal(category, f"{name} = {pointer} can lead anywhere", f"bound what is added: {right}")
    if low < 0 or high > room:
        raise Refusal(category, f"{name} = {pointer} reaches {_bytes(low, high)}", right)


def _fixed(pointer: Value, offset: int, size: int) -> Value:
    """What stands there for good, in a map that nobody can change; else any number of that size."""
    if pointer.kind == value.VALUE and pointer.about.content and pointer.number.constant:
        at = pointer.offset + pointer.number.smin + offset
        return value.constant(int.from_bytes(pointer.about.content[at : at + size], "little"))
    return value.of(number.unsigned(8 * size)) if size < 8 else UNKNOWN


def _at(pointer: Value, offset: int) -> str:
    return str(pointer._replace(offset=pointer.offset + offset)).split(",")[0]


def _bytes(first: int, end: int) -> str:
    return f"byte {first}" if end == first + 1 else f"bytes {first} to {end - 1}"


_RIGHT = "memory is reached through pointers to context, stack, packet, map values and records"
