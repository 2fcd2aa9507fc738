"""The stream parsers over whatever arrives: inputs that a long hunt kept, changed a little, and bytes without sense."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.wire import fuzz_streams
from tests.wire.fuzz_streams import check

KEPT = fuzz_streams.kept()


def test_what_the_hunt_kept():
    assert len(KEPT) > 100
    for data in KEPT:
        check(data)


@given(
    st.sampled_from(KEPT), st.lists(st.tuples(st.floats(0, 1), st.binary(max_size=3), st.integers(0, 3)), max_size=4)
)
def test_and_near_it(data, changes):
    for place, put, drop in changes:
        at = int(place * len(data))
        data = data[:at] + put + data[at + drop :]
    check(data)


@given(st.sampled_from(KEPT), st.sampled_from(KEPT), st.floats(0, 1), st.binary(max_size=100))
def test_and_two_of_it_together(one, other, place, rest):
    check(one[: int(place * len(one))] + other + rest)


def test_the_check_can_fail(monkeypatch):
    """With a parser that takes a header before it is whole, it says so."""
    right = fuzz_streams.proxy_protocol.parse
    monkeypatch.setattr(fuzz_streams.proxy_protocol, "parse", lambda data: right(bytes(data) + b"\n"))
    with pytest.raises(AssertionError):
        check(b"PROXY UNKNOWN\r\n")
