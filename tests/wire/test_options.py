"""The walk along options: against scapy's list, and over any bytes without a step too far."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from scapy.layers.inet import TCP

from lbcore.jit import kernel
from lbcore.wire import options
from lbcore.wire.seam import advance, view
from lbcore.wire.seam_numba import checked_context, new_cell, place
from lbcore.wire.verdict import BAD_OPTION, OK
from tests.wire import packets

SCAPY_KINDS = {"EOL": 0, "NOP": 1, "MSS": 2, "WScale": 3, "SAckOK": 4, "SAck": 5, "Timestamp": 8}


@kernel
def find_compiled(data, length, kind):
    cell = new_cell()
    place(cell, data, 0, data.size)
    return options.find(view(checked_context(cell)), length, kind)


def find(data, length, kind):
    plain = options.find(view(data), length, kind)
    assert find_compiled(np.frombuffer(data + b"\0", np.uint8)[: len(data)], length, kind) == plain
    return plain


@given(packets.tcps)
def test_every_option_is_found_where_scapy_put_it(segment):
    raw = bytes(segment)
    listed = [(SCAPY_KINDS[name], value) for name, value in TCP(raw).options]
    for kind in range(2, 10):
        option = find(raw[20:], len(raw) - 20, kind)
        assert (option.verdict, option.length > 0) == (OK, kind in dict(listed))
        if option.length:
            before = list(TCP(raw).options)[: [kind for kind, _ in listed].index(kind)]
            assert raw[20 + option.offset] == kind
            assert raw[20 + option.offset + 1] == option.length
            assert option.offset == sum(1 if name == "NOP" else raw_length(name, value) for name, value in before)


def raw_length(name, value):
    return {"MSS": 4, "WScale": 3, "SAckOK": 2, "Timestamp": 10, "SAck": 10}[name]


def naive(data, kind):
    """The same in Python's own terms: (found, offset, length) or None where it is malformed before."""
    at = 0
    while at < len(data) and data[at] != 0:
        if data[at] == 1:
            at += 1
            continue
        length = data[at + 1] if at + 1 < len(data) else 0
        if length < 2 or at + length > len(data):
            return None
        if data[at] == kind:
            return True, at, length
        at += length
    return False, 0, 0


small = st.lists(st.integers(0, 6) | st.integers(0, 255), max_size=40).map(bytes)


@given(small, st.integers(2, 6))
def test_any_bytes_give_an_answer(data, kind):
    option, expected = find(data, len(data), kind), naive(data, kind)
    if expected is None:
        assert (option.verdict, option.length) == (BAD_OPTION, 0)
    else:
        found, offset, length = expected
        assert (option.verdict, option.length) == (OK, length)
        assert not found or (option.kind, option.offset) == (kind, offset)


@given(small, st.integers(0, 60), st.integers(2, 6))
def test_a_header_that_promises_more_than_there_is_reads_no_further(data, length, kind):
    find(data, length, kind)


def test_forty_bytes_of_nothing_are_walked_to_the_end():
    data = bytes([1] * 36 + [2, 4, 5, 0xB4])
    assert find(data, 40, 2) == (OK, 2, 36, 4)
    assert find(bytes([2, 0] * 20), 40, 3).verdict == BAD_OPTION
    assert options.find(advance(view(data), 40), 0, 2) == (OK, 0, 0, 0)
