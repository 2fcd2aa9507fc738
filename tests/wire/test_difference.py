"""Differences between frames: nothing that changed is left out, and checksums repaired word by word come out right."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from lbcore.wire import compose
from lbcore.wire.difference import changes, checksum_of, labelled, repairs

MAKE = {"tcp": compose.tcp_frame, "udp": compose.udp_frame}
port = st.integers(1, 65535)
ends4 = st.tuples(st.ip_addresses(v=4), st.ip_addresses(v=4), port, port, st.integers(1, 255))
ends6 = st.tuples(st.ip_addresses(v=6), st.ip_addresses(v=6), port, port, st.integers(1, 255))


def framed(kind, ends, payload):
    source, destination, sport, dport, ttl = ends
    form = "[{}]:{}" if source.version == 6 else "{}:{}"
    return MAKE[kind](
        source=form.format(source, sport), destination=form.format(destination, dport), payload=payload, ttl=ttl
    )


@given(
    st.sampled_from(sorted(MAKE)),
    st.one_of(st.tuples(ends4, ends4), st.tuples(ends6, ends6)),
    st.binary(max_size=40),
)
def test_repaired_is_what_a_sender_computes(kind, ends, payload):
    before, after = (framed(kind, e, payload) for e in ends)
    layers = {layer.name: layer for layer in labelled(after)}
    mended = {repair.layer: repair for repair in repairs(before, after)}
    for name, repair in mended.items():
        assert repair.end == checksum_of(layers[name])
        assert all(step.old != step.new for step in repair.steps)
    changed = {change.layer for change in changes(before, after) if change.field == "checksum"}
    assert changed == set(mended)


@given(st.tuples(ends4, ends4), st.binary(max_size=40))
def test_every_byte_that_differs_is_in_a_named_field(ends, payload):
    before, after = (framed("tcp", e, payload) for e in ends)
    named = {(change.layer, change.field) for change in changes(before, after)}
    inside = set()
    for layer in labelled(after):
        for field in layer.fields:
            if (layer.name, field.name) in named:
                inside |= set(range(field.bit_offset // 8, -(-(field.bit_offset + field.bits) // 8)))
    assert {at for at, (a, b) in enumerate(zip(before, after, strict=True)) if a != b} <= inside
    assert changes(before, before) == [] == repairs(before, before)


def test_a_udp_checksum_that_was_not_sent_is_not_repaired():
    frame = bytearray(compose.udp_frame(payload=b"data"))
    frame[40:42] = b"\0\0"
    other = bytearray(frame)
    other[36:38] = b"\1\2"
    other[40:42] = b"\3\4"
    assert repairs(bytes(frame), bytes(other)) == []


def test_a_header_in_front_is_called_outer_and_is_one_change():
    inner = compose.tcp_frame()
    outer = compose.ip_frame(source="10.0.0.2", destination="10.9.0.11", protocol=4, payload=inner[14:])
    assert [layer.name for layer in labelled(outer)] == ["ethernet", "outer ipv4", "ipv4", "tcp"]
    (came,) = changes(inner, outer)
    (went,) = changes(outer, inner)
    assert (came.layer, came.field, came.before, came.after) == (
        "outer ipv4", "header", "", "20 bytes: 10.0.0.2 10.9.0.11",
    )  # fmt: skip
    assert (went.before, went.after) == (came.after, "")
    assert repairs(inner, outer) == []
