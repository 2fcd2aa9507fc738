"""Fields as bytes that nobody has read: all that is done to them comes out as it does on the list."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lbcore.l7.message import Headers, Message, Names, Request, block_of

NAMES = (b"a", b"ab", b"a-b", b"a_b", b"b", b"cookie", b"x.y", b"x+y", b"xay")
names = st.sampled_from(NAMES)
values = st.one_of(
    st.sampled_from([b"", b": ", b"a: b", b"a=1; b=2", b"b =1;b=2;;c", b" ;a=1"]),
    st.text("ab: =;,\t\xe9", max_size=12).map(lambda text: text.encode("latin-1").strip()),
)
lines = st.lists(st.tuples(names, values), max_size=8)
sets = st.sets(names, max_size=4).map(Names)
crumbs = st.lists(
    st.tuples(st.sampled_from([b"cookie", b"x"]), st.sampled_from([b"a=1", b"a=2;b=3", b"c"])), max_size=2
)
changes = st.lists(
    st.one_of(
        st.tuples(st.just("drop"), sets),
        st.tuples(st.just("put"), lines.map(lambda some: (block_of(some), len(some)))),
        st.tuples(st.just("read"), st.none()),
    ),
    max_size=6,
)


def both(some):
    """The same message, unread and read."""
    return Message(block_of(some)), Message(Headers(some))


@given(lines, changes, names, sets)
def test_bytes_and_list_come_to_the_same(some, done, name, wanted):
    unread, read = both(some)
    for what, how in done:
        if what == "read":
            assert unread.headers == read.headers
        else:
            for message in (unread, read):
                message.put(*how) if what == "put" else message.drop(how)
        assert unread.get(name) == read.get(name) == read.headers.get(name)
        assert unread.lines(wanted) == read.lines(wanted) == [line for line in read.headers if line[0] in wanted]
        block = unread.unread
        assert block is None or block == block_of(read.headers)
    assert unread.headers == read.headers


@given(lines, sets)
def test_what_is_dropped_is_what_was_found_and_the_rest_stays(some, wanted):
    unread, _ = both(some)
    found = unread.lines(wanted)
    unread.drop(wanted)
    assert unread.unread == block_of([line for line in some if line[0] not in wanted])
    assert sorted(found + unread.headers) == sorted(some)


@given(lines, st.binary(max_size=20), st.booleans())
def test_a_value_that_would_end_its_line_is_refused_and_changes_nothing(some, value, read):
    message = both(some)[read]
    line = b"a: %b\r\n" % value
    if re.search(rb"[\r\n\0]", value):
        with pytest.raises(ValueError, match="CR, LF or NUL inside a field"):
            message.put(line)
        assert message.headers == some
    else:
        message.put(line)
        assert message.headers == [*some, (b"a", value)]


@pytest.mark.parametrize("lines", [b"", b"a: b\r\nc: d\r\n", b"a: b\r\n\r\n", b"\0: b\r\n", b"a\r: b\r\n"])
def test_what_is_not_one_line_is_refused(lines):
    for message in both([(b"x", b"y")]):
        with pytest.raises(ValueError, match="CR, LF or NUL inside a field"):
            message.put(lines)
        assert message.headers == [(b"x", b"y")]


@given(lines, st.sampled_from([b"a", b"b", b"c", b""]))
def test_cookies_are_found_without_taking_all_apart(some, wanted):
    for headers in (Headers(some), block_of(some)):
        request = Request(b"GET", b"/", b"h", b"http", headers, None)  # type: ignore[arg-type]
        named = [value for name, value in request.cookies() if name == wanted]
        assert request.cookie(wanted) == (named[0] if named else None)


@given(crumbs, st.lists(st.one_of(crumbs, st.sampled_from([Names(()), Names((b"cookie",))])), max_size=4))
def test_cookies_are_those_of_now_whoever_asked_before(some, done):
    asked = [Request(b"GET", b"/", b"h", b"http", headers, None) for headers in (Headers(some), block_of(some))]  # type: ignore[arg-type]
    for what in done:
        for request in asked:
            if isinstance(what, list):
                request.put(block_of(what), len(what))
            else:
                request.drop(what)
        for wanted in (b"a", b"b"):
            fresh = Request(b"GET", b"/", b"h", b"http", asked[0].headers.copy(), None)  # type: ignore[arg-type]
            assert [request.cookie(wanted) for request in asked] == [fresh.cookie(wanted)] * 2


@given(st.sets(st.text("ab-_.+|", min_size=1, max_size=5).map(str.encode), max_size=6), st.text("ab-_.+|", max_size=5))
def test_names_find_what_they_hold_and_nothing_else(held, asked):
    name = asked.encode()
    message = Message(b"%b: v\r\n" % name)
    assert bool(message.lines(Names(held))) == (name in held)
