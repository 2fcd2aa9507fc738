"""Adding, setting, removing; and what no configuration may touch."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lbcore.l7.field import FRAMING, legal
from lbcore.l7.filters.headers import Changes, HeaderChanges, HeadersOptions
from lbcore.l7.message import Headers, Response
from tests.l7.fakes import FakeExchange, request


def test_remove_then_set_then_add_both_ways():
    changes = Changes(remove=("X-Gone",), set={"X-One": "new"}, add={"X-More": "2"})
    lines = [(b"x-gone", b"1"), (b"x-one", b"a"), (b"x-one", b"b"), (b"x-more", b"1"), (b"accept", b"*/*")]
    wanted = [(b"x-more", b"1"), (b"accept", b"*/*"), (b"x-one", b"new"), (b"x-more", b"2")]
    exchange = FakeExchange(request(b"/", *lines))
    one = HeaderChanges(HeadersOptions(request=changes, response=changes))
    answer = exchange.passes(one, answer=Response(200, Headers(lines)))
    assert exchange.request.headers == wanted
    assert answer.headers == wanted


@pytest.mark.parametrize("verb", ["remove", "set", "add"])
@pytest.mark.parametrize("side", ["request", "response"])
@pytest.mark.parametrize("name", sorted(name.decode() for name in FRAMING))
def test_framing_and_host_are_refused_when_the_filter_is_made(side, verb, name):
    value = [name.title()] if verb == "remove" else {name.title(): "1"}
    with pytest.raises(msgspec.ValidationError, match=rf"{side}\.{verb}.*must not be a field that frames"):
        msgspec.convert({"kind": "headers", side: {verb: value}}, HeadersOptions)


@given(st.text(max_size=20))
def test_a_value_is_one_legal_line_or_refused(value):
    if not legal(value.encode()):
        with pytest.raises(ValueError, match=r"response\.set\.x-a"):
            HeadersOptions(response=Changes(set={"x-a": value}))
        return
    options = HeadersOptions(response=Changes(set={"x-a": value}))
    answer = FakeExchange(request()).passes(HeaderChanges(options), answer=Response(200))
    assert all(legal(line) and not set(line) & set(b"\r\n\0") for _, line in answer.headers)


@pytest.mark.parametrize("name", ["", "a b", "a:b", "a\r\n", ":path", "é"])
def test_a_name_is_a_token(name):
    with pytest.raises(ValueError, match="must be a field's name"):
        HeadersOptions(request=Changes(add={name: "1"}))
