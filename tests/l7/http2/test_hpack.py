"""HPACK against the `hpack` package, in both directions, and against what no decent peer sends."""

from __future__ import annotations

import hpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lbcore.l7.http2 import translate
from lbcore.l7.http2.hpack import FIRST, STATIC, BadBlock, Decoder, Encoder, Secret, TooBig
from lbcore.l7.limits import Limits
from lbcore.l7.message import Names, Peer

names = st.sampled_from([name for name, _ in STATIC] + [b"x-a", b"x-b", b"grpc-status"]) | st.binary(max_size=40)
values = st.sampled_from([value for _, value in STATIC] + [b"v" * 200, b"w" * 2000]) | st.binary(max_size=60)
lines = st.tuples(names, values)
heads = st.lists(st.lists(lines, max_size=12), max_size=8)
sizes = st.sampled_from([0, 32, 100, 4096, 8192])


def plain(found) -> list[tuple[bytes, bytes]]:
    return [(bytes(name), bytes(value)) for name, value in found]


@given(heads)
def test_we_read_what_others_write(blocks):
    theirs, ours = hpack.Encoder(), Decoder()
    for number, head in enumerate(blocks):
        assert plain(ours.decode(theirs.encode(head, huffman=bool(number % 2)), 1 << 20)) == head


@given(heads, st.lists(sizes, max_size=8))
def test_others_read_what_we_write(blocks, changes):
    """Also when they change the size of their table between blocks, several times even (RFC 7541 section 4.2)."""
    ours, theirs = Encoder(), hpack.Decoder()
    theirs.max_header_list_size = 1 << 20
    for number, head in enumerate(blocks):
        for size in changes[number : number + 2]:
            theirs.max_allowed_table_size = max(4096, size)
            ours.resize(size)
        assert plain(theirs.decode(ours.encode(head), raw=True)) == head


@given(heads, st.lists(sizes.filter(lambda size: size <= 4096), max_size=8))
def test_we_follow_changes_of_the_table(blocks, changes):
    theirs, ours = hpack.Encoder(), Decoder()
    for number, head in enumerate(blocks):
        if number < len(changes):
            theirs.header_table_size = changes[number]
        assert plain(ours.decode(theirs.encode(head), 1 << 20)) == head


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused_as_others_do(block):
    """What the other accepts we accept, and as the same lines. We may refuse more (numbers beyond 28 bits)."""
    other = hpack.Decoder(max_header_list_size=1 << 30)
    try:
        expected = plain(other.decode(block, raw=True))
    except Exception:
        expected = None
    try:
        found = plain(Decoder().decode(block, 1 << 30, 1 << 30))
    except BadBlock:
        found = None
    if found is not None:
        assert found == expected
    elif expected is not None:
        pytest.fail(f"refused: {expected}")


def test_the_second_request_of_a_connection_is_a_few_bytes():
    head = [(b":method", b"GET"), (b":scheme", b"https"), (b":authority", b"a.example"), (b"user-agent", b"x" * 80)]
    encoder = Encoder()
    first, second = encoder.encode(head), encoder.encode(head)
    assert len(first) > 80
    assert len(second) == len(head)


def test_a_secret_is_never_in_a_table():
    """Neither what we know to be one, nor what its sender marked (RFC 7541 section 7.1.3)."""
    marked = hpack.Encoder().encode([hpack.NeverIndexedHeaderTuple(b"x-key", b"secret")])
    [line] = Decoder().decode(marked, 1000)
    assert type(line[1]) is Secret
    encoder = Encoder()
    for secret in (line, (b"authorization", b"Basic c2VjcmV0"), (b"accept-encoding", Secret(b"gzip, deflate"))):
        first, second = encoder.encode([secret]), encoder.encode([secret])
        assert first == second
        assert first[0] & 0xF0 == 0x10
        [found] = hpack.Decoder().decode(first, raw=True)
        assert isinstance(found, hpack.NeverIndexedHeaderTuple)


def test_a_secret_stays_one_on_its_way_through_a_proxy():
    """RFC 7541, 7.1.3: who passes a line on passes on that it is never indexed, though filters make lines anew."""
    head = [(b":method", b"GET"), (b":scheme", b"https"), (b":authority", b"a.example"), (b":path", b"/")]
    marked = hpack.Encoder().encode([*head, (b"x-other", b"1"), hpack.NeverIndexedHeaderTuple(b"x-key", b"secret")])
    lines = Decoder().decode(marked, 1000)
    request, _ = translate.request(lines, True, Peer("192.0.2.7", 50000), b"https", Limits())
    request.drop(Names((b"x-other",)))
    request.put(b"x-more: 2\r\n")
    found = hpack.Decoder().decode(Encoder().encode(translate.request_lines(request)), raw=True)
    assert [line for line in found if isinstance(line, hpack.NeverIndexedHeaderTuple)] == [(b"x-key", b"secret")]
    assert (b"x-more", b"2") in found


def test_a_bomb_is_not_kept_and_the_tables_stay_together():
    """One byte for each 4,000: 16 KB would be 64 MB (an "HPACK bomb", CVE-2016-6581)."""
    theirs, ours = hpack.Encoder(), Decoder()
    assert ours.decode(theirs.encode([(b"x", b"v" * 4000)]), 10_000) == [(b"x", b"v" * 4000)]
    with pytest.raises(TooBig, match="16000 lines"):
        ours.decode(bytes([0x80 | FIRST]) * 16_000, 10_000)
    assert ours.decode(bytes([0x80 | FIRST]), 10_000) == [(b"x", b"v" * 4000)]
    again = theirs.encode([(b"y", b"1")])
    assert ours.decode(again, 10_000) == [(b"y", b"1")]


@pytest.mark.parametrize(
    ("block", "why"),
    [
        (b"\x80", "no table"),  # number 0
        (b"\xbe", "no table"),  # the first of an empty dynamic table
        (b"\xff\xff\xff\xff\xff\x7f", "28 bits"),
        (b"\xff", "ends"),
        (b"\x40", "ends"),
        (b"\x40\x05ab", "string of 5 bytes"),
        (b"\x82\x20", "behind a line"),
        (b"\x3f\xe2\x1f", "4096 bytes at most"),  # 4097
        (b"\x40\x81\x00\x00", "Huffman"),
    ],
)
def test_faults(block, why):
    with pytest.raises(BadBlock, match=why):
        Decoder().decode(block, 1000)
