"""Two toy readers and the proxy's own, on bytes that can be read in two ways."""

from __future__ import annotations

from dataclasses import fields, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lbcore.sim.two_readers import BACK, FRONT, WAITS, Habits, requests, strict, variants

STREAMS = variants()
ATTACKS = [name for name in STREAMS if name != "honest"]


def parted(front=FRONT, back=BACK):
    return {name for name in STREAMS if requests(STREAMS[name], front) != requests(STREAMS[name], back)}


@pytest.mark.parametrize("name", ATTACKS)
def test_the_front_sees_one_request_the_back_two_and_ours_refuses(name):
    assert requests(STREAMS[name], FRONT) == ["POST /search HTTP/1.1"]
    assert requests(STREAMS[name], BACK) == ["POST /search HTTP/1.1", "GET /admin HTTP/1.1"]
    assert isinstance(strict(STREAMS[name]), str)


def test_the_honest_one_is_read_alike_by_all():
    assert requests(STREAMS["honest"], FRONT) == requests(STREAMS["honest"], BACK) == strict(STREAMS["honest"])


def test_what_is_read_alike_makes_no_hole():
    assert parted(FRONT, FRONT) == parted(BACK, BACK) == set()


def test_each_habit_is_needed_for_one_stream_and_one_for_most():
    without = {one.name: set(ATTACKS) - parted(back=replace(BACK, **{one.name: False})) for one in fields(Habits)}
    closed = without.pop("chunked_wins")
    assert closed == set(ATTACKS) - {"two lengths", "length with a sign"}
    assert all(len(names) == 1 for names in without.values())
    assert set().union(*without.values()) | closed == set(ATTACKS)


habits = st.builds(Habits, *[st.booleans()] * len(fields(Habits)))


@given(st.lists(st.binary(max_size=30).filter(lambda body: b"\r" not in body), max_size=4), habits)
def test_honest_streams_are_read_alike_whatever_the_habits(bodies, habits):
    stream = b"".join(b"PUT /%d HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%b" % (n, len(body), body)
                      for n, body in enumerate(bodies))  # fmt: skip
    assert requests(stream, habits) == strict(stream) == [f"PUT /{n} HTTP/1.1" for n in range(len(bodies))]


@given(st.binary(max_size=200), habits)
def test_any_bytes_come_to_an_end(stream, habits):
    assert requests(stream, habits).count(WAITS) <= 1
    assert isinstance(strict(stream), str | list)
