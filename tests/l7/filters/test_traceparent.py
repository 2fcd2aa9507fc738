"""W3C Trace Context: its own examples, and every character changed."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lbcore.l7 import notes
from lbcore.l7.entropy import Entropy
from lbcore.l7.field import legal
from lbcore.l7.filters.traceparent import Parent, Traceparent, TraceparentOptions, identities, parse, state
from tests.l7.fakes import FakeExchange, request

TRACE, SPAN = b"4bf92f3577b34da6a3ce929d0e0e4736", b"00f067aa0ba902b7"
GOOD = b"00-%b-%b-01" % (TRACE, SPAN)
FORM = re.compile(rb"00-[0-9a-f]{32}-[0-9a-f]{16}-0[01]")


def carried(*lines, options=None, **more):
    exchange = FakeExchange(request(b"/", *lines))
    exchange.passes(Traceparent(options or TraceparentOptions(), **more))
    return exchange


@pytest.mark.parametrize(
    ("value", "wanted"),
    [
        (GOOD, Parent(TRACE, SPAN, True)),
        (GOOD[:-2] + b"00", Parent(TRACE, SPAN, False)),
        (GOOD[:-2] + b"02", Parent(TRACE, SPAN, False)),
        (GOOD[:-2] + b"ff", Parent(TRACE, SPAN, True)),
        (b"cc" + GOOD[2:], Parent(TRACE, SPAN, True)),
        (b"cc" + GOOD[2:] + b"-what-the-future", Parent(TRACE, SPAN, True)),
        (b"cc" + GOOD[2:] + b".what", None),
        (GOOD + b"-more", None),
        (b"ff" + GOOD[2:], None),
        (GOOD.upper(), None),
        (GOOD[:-1], None),
        (b" " + GOOD, None),
        (GOOD + b"\n", None),
        (GOOD.replace(TRACE, b"0" * 32), None),
        (GOOD.replace(SPAN, b"0" * 16), None),
        (b"", None),
    ],
)
def test_what_is_a_parent(value, wanted):
    assert parse(value) == wanted


@given(st.integers(0, len(GOOD) - 1), st.integers(0, 255))
def test_one_byte_changed_is_a_parent_of_the_form_or_none(at, byte):
    value = GOOD[:at] + bytes([byte]) + GOOD[at + 1 :]
    form = re.fullmatch(rb"(?!ff)[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}", value)
    assert (parse(value) is not None) == (form is not None)


def test_the_trace_goes_on_under_a_new_span():
    exchange = carried((b"traceparent", GOOD), (b"tracestate", b"a=1"), (b"tracestate", b" b@v=2 ,, "))
    (line,) = exchange.request.headers.all(b"traceparent")
    assert FORM.fullmatch(line)
    assert line[3:35] == TRACE == exchange.notes[notes.TRACE_ID]
    assert line[36:52] != SPAN
    assert line.endswith(b"-01")
    assert exchange.request.headers.all(b"tracestate") == [b"a=1,b@v=2"]


@pytest.mark.parametrize(
    "lines",
    [
        [],
        [(b"traceparent", GOOD)] * 2,
        [(b"traceparent", GOOD[:-1]), (b"tracestate", b"a=1")],
        [(b"tracestate", b"a=1")],
    ],
)
def test_otherwise_a_new_one_begins_without_luggage(lines):
    exchange = carried(*lines)
    (line,) = exchange.request.headers.all(b"traceparent")
    assert FORM.fullmatch(line)
    assert line[3:35] != TRACE
    assert exchange.request.headers.get(b"tracestate") is None


def test_at_the_front_gate_strangers_traces_end():
    exchange = carried((b"traceparent", GOOD), options=TraceparentOptions(trusted=("10.0.0.0/8",)))
    assert exchange.notes[notes.TRACE_ID] != TRACE


@pytest.mark.parametrize(
    ("lines", "wanted"),
    [
        ([b"a=1, b=2"], b"a=1,b=2"),
        ([b"a=1,a=2"], b""),
        ([b"A=1"], b""),
        ([b"a=1=2"], b""),
        ([b"a"], b""),
        ([b"1a@x=1"], b"1a@x=1"),
        ([b"a@1x=1"], b""),
        ([",".join(f"k{n}=1" for n in range(32)).encode()], ",".join(f"k{n}=1" for n in range(32)).encode()),
        ([",".join(f"k{n}=1" for n in range(33)).encode()], b""),
        ([b"a=" + b"x" * 256], b"a=" + b"x" * 256),
        ([b"a=" + b"x" * 257], b""),
        ([b"k" * 257 + b"=1"], b""),
        ([b"a=\xff"], b""),
    ],
)
def test_luggage_is_whole_or_none(lines, wanted):
    assert state(lines) == wanted


@given(st.lists(st.tuples(st.sampled_from([b"traceparent", b"tracestate"]), st.binary(max_size=80).filter(legal))))
def test_what_goes_out_is_legal(lines):
    headers = carried(*lines).request.headers
    assert all(legal(value) for _, value in headers)
    assert FORM.fullmatch(headers.get(b"traceparent"))


@pytest.mark.parametrize(("sample", "flags"), [(0.0, {b"00"}), (1.0, {b"01"}), (0.5, {b"00", b"01"})])
def test_a_share_of_new_traces_is_sampled(sample, flags):
    options = TraceparentOptions(sample=sample)
    seen = {carried(options=options).request.headers.get(b"traceparent")[-2:] for _ in range(100)}
    assert seen == flags


def test_zeros_are_no_identity():
    pieces = iter([b"0" * 48, b"01" * 16 + b"0" * 16, b"0" * 32 + b"02" * 8, b"01" * 16 + b"02" * 8])
    entropy = Entropy(lambda size: identities(size, lambda size: next(pieces)))
    line = carried(entropy=entropy).request.headers.get(b"traceparent")
    assert line == b"00-" + b"01" * 16 + b"-" + b"02" * 8 + b"-01"
