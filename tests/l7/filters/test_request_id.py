"""One name for one exchange."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lbcore.l7 import notes
from lbcore.l7.field import legal
from lbcore.l7.filters.request_id import RequestId, RequestIdOptions
from lbcore.l7.message import Headers, Response
from tests.l7.fakes import FakeExchange, request

NAME = b"x-request-id"
FROM_10 = RequestIdOptions(trusted=("10.0.0.0/8",))


def named(options, *lines, address="10.0.0.1", answer=None):
    exchange = FakeExchange(request(b"/", *lines, address=address))
    exchange.passes(RequestId(options), answer=answer or Response(200))
    return exchange


def test_one_is_made_and_said_to_everybody():
    first, second = named(RequestIdOptions()), named(RequestIdOptions())
    identity = first.request.headers.get(NAME)
    assert len(identity) == 32
    assert identity == first.response.headers.get(NAME) == first.notes[notes.REQUEST_ID]
    assert identity != second.notes[notes.REQUEST_ID]


def test_only_trusted_peers_may_bring_one():
    brought = (NAME, b"abc-1234567")
    assert named(FROM_10, brought).request.headers == [brought]
    assert named(FROM_10, brought, address="192.0.2.1").request.headers != [brought]
    assert named(RequestIdOptions(), brought).request.headers != [brought]
    assert named(FROM_10, brought, brought).request.headers != [brought]


@given(st.binary(max_size=200).filter(legal))
def test_only_sane_ones_and_always_one_that_is_legal(value):
    exchange = named(FROM_10, (NAME, value), answer=Response(200, Headers([(NAME, b"other"), (NAME, b"more")])))
    (identity,) = exchange.request.headers.all(NAME)
    assert exchange.response.headers.all(NAME) == [identity]
    assert legal(identity)
    assert 8 <= len(identity) <= 128
    assert identity == value or len(identity) == 32


def test_no_echo_leaves_the_answer_alone():
    assert named(RequestIdOptions(echo=False)).response.headers == []


@pytest.mark.parametrize("header", ["host", "a b", "content-length"])
def test_a_header_that_cannot_be(header):
    with pytest.raises(ValueError, match="header"):
        RequestIdOptions(header=header)
