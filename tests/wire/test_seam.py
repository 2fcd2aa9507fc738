"""The seam: growing, cutting, reading and writing do the same to a Frame and to a compiled cell, limits included."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lbcore.jit import kernel
from lbcore.wire import seam
from lbcore.wire.portable import portable
from lbcore.wire.seam import (
    Frame,
    advance,
    grow_head,
    grow_tail,
    lookup,
    need,
    set8,
    set16,
    set32,
    set64,
    size_of,
    u8,
    u16,
    u32,
    u64,
    view,
)
from lbcore.wire.seam_numba import checked_context, memory_context, new_cell, place
from tests.wire import driver
from tests.wire.packets import number

GROW_HEAD, GROW_TAIL, NEED, ADVANCE, SET8, SET16, SET32, SET64, U8, U16, U32, U64 = range(12)


@portable
def inside(p, offset, size):
    return offset >= 0 and need(p, offset + size)


@portable
def perform(context, kinds, numbers, values, results):
    """A list of operations on one packet; what each answered, and what the last one left of the packet's length."""
    for i in range(len(kinds)):
        kind, n, value, answer = kinds[i], numbers[i], values[i], 7
        p = view(context)
        if kind == GROW_HEAD:
            answer = 1 if grow_head(context, n) else 0
        elif kind == GROW_TAIL:
            answer = 1 if grow_tail(context, n) else 0
        elif kind == NEED and n >= 0:
            answer = 1 if need(p, n) else 0
        elif kind == ADVANCE and n >= 0 and need(p, n):
            answer = size_of(advance(p, n))
        elif kind == SET8 and inside(p, n, 1):
            set8(p, n, value)
        elif kind == SET16 and inside(p, n, 2):
            set16(p, n, value)
        elif kind == SET32 and inside(p, n, 4):
            set32(p, n, value)
        elif kind == SET64 and inside(p, n, 8):
            set64(p, n, value)
        elif kind == U8 and inside(p, n, 1):
            answer = u8(p, n)
        elif kind == U16 and inside(p, n, 2):
            answer = u16(p, n)
        elif kind == U32 and inside(p, n, 4):
            answer = u32(p, n)
        results[i] = answer
        if kind == U64 and inside(p, n, 8):
            results[i] = u64(p, n)
    results[len(kinds)] = size_of(view(context))


@kernel
def perform_compiled(cell, kinds, numbers, values, results):
    perform(memory_context(cell), kinds, numbers, values, results)


@kernel
def perform_checked(cell, kinds, numbers, values, results):
    perform(checked_context(cell), kinds, numbers, values, results)


operations = st.lists(st.tuples(st.integers(0, 11), st.integers(-12, 24), number(64)), max_size=30)
distances = st.sampled_from([2**62, -(2**62), 2**31, -(2**31)])
far = st.lists(st.tuples(st.sampled_from([GROW_HEAD, GROW_TAIL]), distances, number(64)), max_size=3)


@given(
    st.binary(max_size=20),
    st.integers(0, 16),
    st.integers(0, 16),
    st.tuples(operations, far).map(lambda t: t[0] + t[1]),
)
def test_a_frame_and_a_cell_do_the_same(data, headroom, tailroom, todo):
    frame = Frame(data, headroom=headroom, tailroom=tailroom)
    kinds, numbers, values = ([step[i] for step in todo] for i in range(3))
    said = [0] * (len(todo) + 1)
    perform(frame, kinds, numbers, values, said)
    arrays = np.array(kinds, np.int64), np.array(numbers, np.int64), np.array(values, np.uint64)
    for run in (perform_compiled, perform_checked):
        # Guard bytes on both sides: the room ends where `place` is told, and nothing beyond it may change.
        memory = np.full(64 + headroom + len(data) + tailroom, 0xA5, np.uint8)
        room = memory[32 : memory.size - 32]
        room[:] = np.frombuffer(Frame(data, headroom=headroom, tailroom=tailroom).buffer, np.uint8)
        cell, answers = new_cell(), np.zeros(len(said), np.uint64)
        place(cell, room, headroom, headroom + len(data))
        run(cell, *arrays, answers)
        assert answers.tolist() == said
        assert room.tobytes() == bytes(frame.buffer)
        assert (cell[:2] - cell[2]).tolist() == [frame.start, frame.end]
        assert set(memory[:32]) | set(memory[-32:]) == {0xA5}


@pytest.mark.parametrize("n", [11, 2**40, -9, -(2**40)])
@pytest.mark.parametrize("grow", [grow_head, grow_tail])
def test_beyond_the_room_or_the_packet_nothing_changes(grow, n):
    frame = Frame(b"8 bytes!", headroom=10, tailroom=10)
    assert not grow(frame, n)
    assert (bytes(frame), frame.start, frame.end) == (b"8 bytes!", 10, 18)


@given(st.lists(number(31), max_size=5), st.integers(-3, 8))
def test_a_lookup_outside_the_table_finds_nothing(table, key):
    found = (True, table[key]) if 0 <= key < len(table) else (False, 0)
    assert lookup(table, key) == lookup(np.array(table, np.int32), key) == found
    for kind in (np.int32, np.int64):
        assert lookup_compiled(np.array(table, kind), key) == found


@kernel
def lookup_compiled(table, key):
    return lookup(table, key)


@given(st.binary(min_size=1, max_size=12), st.integers(-3, 14), st.sampled_from([1, 2, 4, 8]), st.booleans())
def test_an_access_outside_the_packet_raises_where_accesses_are_checked(data, offset, size, writes):
    frame = Frame(b"before" + data + b"behind", headroom=0)
    frame.start, frame.end = 6, 6 + len(data)
    kind = {1: SET8, 2: SET16, 4: SET32, 8: SET64}[size] + (0 if writes else 4)
    access = getattr(seam, f"{'set' if writes else 'u'}{8 * size}")
    cell, buffer = new_cell(), np.frombuffer(frame.buffer, np.uint8)
    place(cell, buffer, frame.start, frame.end)
    if offset >= 0 and offset + size <= len(data):
        access(view(frame), offset, *[0] * writes)
        bare_access(cell, kind, offset)
        return
    before = bytes(frame.buffer)
    with pytest.raises(IndexError, match="ask need"):
        access(view(frame), offset, *[0] * writes)
    with pytest.raises(IndexError, match="ask need"):
        bare_access(cell, kind, offset)
    assert bytes(frame.buffer) == before


@kernel
def bare_access(cell, kind, offset):
    p, zero = view(checked_context(cell)), 0
    if kind == SET8:
        set8(p, offset, zero)
    elif kind == SET16:
        set16(p, offset, zero)
    elif kind == SET32:
        set32(p, offset, zero)
    elif kind == SET64:
        set64(p, offset, zero)
    elif kind == U8:
        u8(p, offset)
    elif kind == U16:
        u16(p, offset)
    elif kind == U32:
        u32(p, offset)
    elif kind == U64:
        u64(p, offset)


def test_a_reader_that_does_not_ask_is_caught():
    with pytest.raises(IndexError):
        driver.read_one_too_far(b"1234")
    with pytest.raises(IndexError):
        driver.too_far_checked(np.zeros(8, np.uint8), 0, 4)
