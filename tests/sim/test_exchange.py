"""The packets of an exchange: no byte is lost, and every segment is acknowledged."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lbcore.sim.exchange import exchange, totals
from lbcore.wire import compose

sizes = st.integers(0, 200_000)


@given(sizes, sizes, st.integers(1, 9000), st.integers(1, 50))
def test_all_bytes_go_and_all_segments_are_acknowledged(request_size, response, mss, per_ack):
    segments = list(exchange(request_size, response, mss=mss, per_ack=per_ack))
    for inbound, size in ((True, request_size), (False, response)):
        data = [s.data for s in segments if s.inbound is inbound]
        assert sum(data) == size
        assert max(data) <= mss
        full = sum(d > 0 for d in data)
        empty = sum(d == 0 for d in (s.data for s in segments if s.inbound is not inbound))
        assert empty == -(-full // per_ack) + (2 if inbound else 4)
    unacknowledged = 0
    for s in segments:
        unacknowledged = unacknowledged + 1 if s.data else 0
        assert unacknowledged <= per_ack


@given(sizes, sizes)
def test_totals_are_the_segments_frames(request_size, response):
    t = totals(request_size, response)
    assert 0 < t.bytes_saved < 1
    assert 0 < t.packets_saved <= 2 / 3 + 0.1
    mirrored = totals(response, request_size)
    assert (mirrored.bytes_in - t.bytes_out, mirrored.packets_in - t.packets_out) == (86 + 66 - 20, 2)


def test_a_segments_size_is_that_of_its_frame():
    for segment in exchange(700, 3000):
        frame = compose.tcp_frame(payload=bytes(segment.data), options=bytes(segment.options))
        assert len(frame) == segment.size


@pytest.mark.parametrize("wrong", [{"request": -1}, {"response": -1}, {"mss": 0}, {"per_ack": 0}])
def test_what_cannot_be_is_named(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        list(exchange(**{"request": 1, "response": 1, **wrong}))
