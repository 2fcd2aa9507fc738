"""The PROXY protocol: others' lines, inet_pton as a second opinion, every cut, and bytes without sense."""

from __future__ import annotations

import socket

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from lbcore.wire import proxy_protocol, proxy_tlv
from lbcore.wire.errors import Incomplete, Malformed
from lbcore.wire.proxy_protocol import LIMIT, LINE_LIMIT, SIGNATURE, Header, Inet, encode, parse
from lbcore.wire.proxy_tlv import Ssl, Tlv
from tests import needs, vectors

CASES = "proxy_protocol_v1.json"


@needs.vectors(CASES)
def test_the_lines_of_others():
    cases = vectors.load(CASES)["v1"]
    assert len(cases) >= 22
    for case in cases:
        line = case["line"].encode()
        if case["expect"].startswith("ok"):
            header, size = parse(line + b"GET / HTTP/1.1\r\n\r\n")
            assert (header.version, size) == (1, len(line)), case
            assert (header.source is None) == line.startswith(b"PROXY UNKNOWN")
            continue
        with pytest.raises((Malformed, Incomplete)) as caught:
            parse(line)
        # "PROX" is all that there is and may still become a header: who reads a stream waits, and at its end refuses
        assert caught.type is (Incomplete if line == b"PROX" else Malformed), (case, caught.value)


def test_a_line_says_who_the_client_is():
    line = b"PROXY TCP4 192.168.0.1 192.168.0.11 56324 443\r\n"
    assert parse(line + b"rest") == (
        Header(1, "TCP4", Inet("192.168.0.1", 56324), Inet("192.168.0.11", 443)),
        len(line),
    )
    assert encode(parse(line)[0]) == line


def v2(command=0x21, family=0x11, block=bytes(12), length=None):
    return SIGNATURE + bytes([command, family]) + (len(block) if length is None else length).to_bytes(2, "big") + block


ADDRESSES = bytes.fromhex("7f000001 7f000001 002a 0539")


@pytest.mark.parametrize(
    ("data", "tlvs"),
    [  # the same four as HAProxy's own regression test
        (v2(block=ADDRESSES + b"\2\0\x0512345"), (Tlv(2, b"12345"),)),
        (v2(block=ADDRESSES + b"\2\0\x0512345") + b"\2\0\x0554321", (Tlv(2, b"12345"),)),
        (v2(block=ADDRESSES + b"\2\0\x0a12345") + b"12345", None),
        (v2(block=ADDRESSES + b"\2\0\x041234", length=20) + b"\0", None),
    ],
)
def test_tlvs_fill_the_header_to_the_byte(data, tlvs):
    if tlvs is None:
        with pytest.raises(Malformed, match="TLV length"):
            parse(data)
    else:
        header, size = parse(data)
        assert header == Header(2, "TCP4", Inet("127.0.0.1", 42), Inet("127.0.0.1", 1337), tlvs)
        assert size == 16 + 12 + 8


@pytest.mark.parametrize(
    ("data", "field"),
    [
        (b"GET / HTTP/1.1\r\n", "signature"),
        (b"\x16\x03\x01", "signature"),
        (b"proxy TCP4", "signature"),
        (SIGNATURE[:6] + b"X", "signature"),
        (SIGNATURE + b"\x11", "version and command"),
        (SIGNATURE + b"\x22", "version and command"),
        (SIGNATURE + b"\x21\x41", "family and transport"),
        (SIGNATURE + b"\x21\x13", "family and transport"),
        (SIGNATURE + b"\x21\x11\xff", "length"),
        (v2(block=bytes(11)), "length"),
        (v2(family=0x21, block=bytes(35)), "length"),
        (v2(family=0x31, block=bytes(215)), "length"),
        (v2(block=ADDRESSES + b"\x03\0\4\0\0\0\1"), "CRC32C"),
        (v2(block=ADDRESSES + b"\x03\0\3\0\0\0"), "TLV CRC32C"),
        (v2(block=ADDRESSES + b"\2\0\1\xff"), "TLV AUTHORITY"),
        (v2(block=ADDRESSES + b"\5\0\x81" + bytes(129)), "TLV UNIQUE_ID"),
        (v2(block=ADDRESSES + b"\x20\0\4\1\0\0\0"), "TLV SSL"),
        (v2(block=ADDRESSES + b"\x20\0\x08\1\0\0\0\0\x21\0\7"), "TLV SSL"),
        (v2(0x20, 0x00, b"\x03\0\4\0\0\0\1"), "CRC32C"),
        (b"PROXY TCP5", "protocol"),
        (b"PROXY TCP4 1.2.3.4 1.2.3.4 1 2\n", "line end"),
        (b"PROXY TCP4 1.2.3.4 1.2.3.4 1 2\rX", "line end"),
        (b"PROXY UNKNOWN a\nb\r\n", "line end"),
        (b"PROXY UNKNOWN" + b" " * 93, "line length"),
        (b"PROXY TCP4 1.2.3.4 1.2.3.4 65536 2\r\n", "source port"),
        (b"PROXY TCP4 1.2.3.4 1.2.3.4 1 \r\n", "destination port"),
        (b"PROXY TCP4 1.2.3.4 1.2.3.4 1\r\n", "line"),
        (b"PROXY TCP4 1.2.3 ", "source"),
        (b"PROXY TCP4 x", "source"),
        (b"PROXY TCP6 ::1 fe80::1%1", "destination"),
    ],
)
def test_what_is_wrong_is_named_as_soon_as_it_is_known(data, field):
    with pytest.raises(Malformed) as caught:
        parse(data)
    assert caught.value.field == field
    assert 0 <= caught.value.at <= len(data)


@pytest.mark.parametrize(
    "data",
    [
        v2(0x21, 0x00, b""),
        v2(0x21, 0x01, b""),
        v2(0x21, 0x10, bytes(12)),
        v2(0x21, 0x00, b"what\0is\0this"),
        v2(0x20, 0x00, b""),
        v2(0x20, 0xFF, b"\1\2\3\4"),
        v2(0x20, 0x11, b"short"),
    ],
)
def test_local_and_unknown_stand_for_the_connection_itself(data):
    header, size = parse(data + b"x")
    assert size == len(data)
    assert (header.protocol, header.source, header.destination) == ("UNKNOWN", None, None)
    assert header.command == ("PROXY" if data[12] & 1 else "LOCAL")


def test_local_may_carry_a_checksum():
    data = encode(Header(2, command="LOCAL", tlvs=(Tlv(proxy_tlv.CRC32C, b"\0\0\0\0"), Tlv(proxy_tlv.NOOP, b"--"))))
    header, _ = parse(data)
    assert [tlv.kind for tlv in header.tlvs] == [3, 4]
    assert encode(header) == data


def test_a_header_may_take_as_much_as_the_limit_and_no_more():
    filled = ADDRESSES + b"\4" + (LIMIT - 16 - 12 - 3).to_bytes(2, "big") + bytes(LIMIT - 16 - 12 - 3)
    assert parse(v2(block=filled) + b"more")[1] == LIMIT
    with pytest.raises(Malformed, match="our limit"):
        parse(v2(block=filled), limit=LIMIT - 1)
    assert parse(v2(block=filled), limit=LIMIT + 1)[1] == LIMIT


# ---------------------------------------------------------------------------------------------------------- properties
ports = st.integers(0, 65535)
v4 = st.ip_addresses(v=4).map(str)
v6 = st.ip_addresses(v=6).map(str)
paths = st.binary(max_size=107).map(lambda name: b"/" + name.replace(b"\0", b"_")) | st.just(b"")
abstract = st.binary(max_size=107).map(lambda name: (b"\0" + name).rstrip(b"\0"))
ends = {
    "TCP4": st.builds(Inet, v4, ports),
    "TCP6": st.builds(Inet, v6, ports),
    "UNIX_STREAM": paths | abstract,
}
ends |= {"UDP4": ends["TCP4"], "UDP6": ends["TCP6"], "UNIX_DGRAM": ends["UNIX_STREAM"]}
SUB = st.sampled_from([proxy_tlv.SSL_VERSION, proxy_tlv.SSL_CN, proxy_tlv.SSL_CIPHER, 0x7F])
ascii_bytes = st.text(st.characters(max_codepoint=127), max_size=20).map(str.encode)
ssl = st.builds(
    Ssl, st.integers(0, 255), st.integers(0, 2**32 - 1), st.lists(st.builds(Tlv, SUB, ascii_bytes)).map(tuple)
)
tlv = st.one_of(
    st.builds(Tlv, st.sampled_from([proxy_tlv.AUTHORITY]), st.text(max_size=30).map(str.encode)),
    st.builds(
        Tlv, st.sampled_from([proxy_tlv.ALPN, proxy_tlv.UNIQUE_ID, proxy_tlv.NOOP, 0xE0, 0xFF]), st.binary(max_size=128)
    ),
    st.builds(Tlv, st.sampled_from([proxy_tlv.NETNS]), ascii_bytes),
    ssl.map(Ssl.encode),
)


@st.composite
def headers(draw):
    protocol = draw(st.sampled_from(sorted(ends)))
    source, destination = draw(ends[protocol]), draw(ends[protocol])
    if protocol in ("TCP4", "TCP6") and draw(st.booleans()):
        return Header(1, protocol, source, destination)
    tlvs = draw(st.lists(tlv, max_size=4))
    if draw(st.booleans()):
        tlvs.insert(draw(st.integers(0, len(tlvs))), Tlv(proxy_tlv.CRC32C, b"????"))
    return Header(2, protocol, source, destination, tuple(tlvs))


def bitwise_crc(data):
    crc = 0xFFFFFFFF
    for byte in data:
        for bit in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if (crc ^ byte >> bit) & 1 else 0)
    return crc ^ 0xFFFFFFFF


def plain(header):
    """Without the checksum's value."""
    tlvs = tuple(Tlv(t.kind, b"") if t.kind == proxy_tlv.CRC32C else t for t in header.tlvs)
    return Header(header.version, header.protocol, header.source, header.destination, tlvs)


@given(headers(), st.binary(max_size=20))
def test_what_is_written_is_read(header, rest):
    data = encode(header)
    read, size = parse(data + rest)
    assert size == len(data)
    assert plain(read) == plain(header)
    assert encode(read) == data


@given(headers())
def test_a_cut_header_is_incomplete_and_never_wrong(header):
    data = encode(header)
    for size in range(len(data)):
        with pytest.raises(Incomplete) as caught:
            parse(data[:size])
        assert 1 <= caught.value.needed <= len(data) - size


@given(headers().filter(lambda header: header.version == 2), st.data())
def test_the_checksum_finds_every_changed_bit_behind_the_length(header, data):
    tlvs = (*(t for t in header.tlvs if t.kind != proxy_tlv.CRC32C), Tlv(proxy_tlv.CRC32C, bytes(4)))
    raw = bytearray(encode(Header(2, header.protocol, header.source, header.destination, tlvs)))
    assert int.from_bytes(raw[-4:], "big") == bitwise_crc(raw[:-4] + bytes(4))
    raw[data.draw(st.integers(16, len(raw) - 8))] ^= 1 << data.draw(st.integers(0, 7))
    with pytest.raises(Malformed):
        parse(raw)


streams = st.one_of(
    st.binary(max_size=300),
    st.binary(max_size=300).map(SIGNATURE.__add__),
    st.builds(
        lambda a, b, block, more: v2(a, b, block) + more,
        st.sampled_from([0x20, 0x21]),
        st.sampled_from([0, 0x11, 0x12, 0x21, 0x31, 0x10, 0x01]),
        st.binary(max_size=300),
        st.binary(max_size=5),
    ),
    st.text("0123456789abcdef.: \r\nTCP46UNKOW%", max_size=110).map(lambda text: b"PROXY " + text.encode()),
    st.builds(
        lambda *parts: " ".join(("PROXY", *parts)).encode() + b"\r\n",
        st.sampled_from(["TCP4", "TCP6"]),
        *(st.one_of(v4, v6, st.text("0123456789abcdef.:", max_size=45)) for _ in range(2)),
        *(st.text("0123456789+-", max_size=6) for _ in range(2)),
    ),
)


@given(streams)
@example(b"PROXY TCP6 ::1 ::ffff:1.2.3.4 1 2\r\n")
@example(b"PROXY TCP6 1::2::3 ::1 1 2\r\n")
@example(b"PROXY TCP4 1.2.3.4 1.2.3.04 1 2\r\n")
def test_of_any_bytes_every_prefix_agrees_with_the_whole(data):
    """Malformed stays, a header stays, and Incomplete never asks for more than turns out to be needed."""
    settled, needed_at = None, []
    for size in range(len(data) + 1):
        try:
            outcome = parse(data[:size])
        except Incomplete as error:
            assert settled is None
            needed_at.append(size + error.needed)
            continue
        except Malformed:
            outcome = "malformed"
        if settled is None and outcome != "malformed":
            assert all(needed <= size for needed in needed_at)
        assert settled in (None, outcome)
        settled = outcome
    if data[:6] == b"PROXY " and settled not in (None, "malformed") and settled[0].protocol != "UNKNOWN":
        words = data[: settled[1]].decode("ascii").split(" ")
        family = {"TCP4": socket.AF_INET, "TCP6": socket.AF_INET6}[words[1]]
        packed = [socket.inet_pton(family, word) for word in words[2:4]]  # OSError: we took what the C library does not
        assert packed == [socket.inet_pton(family, end.address) for end in (settled[0].source, settled[0].destination)]


@given(st.sampled_from(["TCP4", "TCP6"]), st.text("0123456789abcdefABCDEF.:", max_size=45) | v6 | v4)
def test_an_address_is_taken_if_the_c_library_takes_it(protocol, text):
    family = socket.AF_INET if protocol == "TCP4" else socket.AF_INET6
    other = "1.2.3.4" if protocol == "TCP4" else "::1"
    line = f"PROXY {protocol} {text} {other} 1 2\r\n".encode()
    try:
        socket.inet_pton(family, text)
        theirs = len(line) <= LINE_LIMIT
    except OSError:
        theirs = False
    try:
        ours = bool(parse(line))
    except Malformed:
        ours = False
    assert ours == theirs


@pytest.mark.parametrize(
    ("header", "words"),
    [
        (Header(3), "version 3"),
        (Header(1, command="LOCAL"), "version 1 has none"),
        (Header(1, tlvs=(Tlv(4, b""),)), "version 1 has none"),
        (Header(2, "TCP4", Inet("::1", 1), Inet("1.2.3.4", 1)), "source '::1'"),
        (Header(2, "TCP4", Inet("1.2.3.4", 1), Inet("1.2.3.4", 65536)), "destination"),
        (Header(2, "TCP6", Inet("fe80::1%eth0", 1), Inet("::1", 1)), "zone"),
        (Header(2, "TCP4"), "source None"),
        (Header(2, "UNIX_STREAM", b"/a\0b", b""), "source"),
        (Header(2, "UNIX_STREAM", b"/", b"x" * 109), "destination"),
        (Header(2, "SCTP"), "protocol 'SCTP'"),
        (Header(2, "TCP4", command="LOCAL"), "speaks for itself"),
        (Header(2, source=Inet("1.2.3.4", 1)), "None with UNKNOWN"),
        (Header(2, tlvs=(Tlv(3, b""), Tlv(3, b""))), "CRC32C twice"),
        (Header(2, tlvs=(Tlv(256, b""),)), "0 to 255"),
        (Header(2, tlvs=(Tlv(5, bytes(129)),)), "at most 128"),
        (Header(2, tlvs=(Tlv(4, bytes(65535)),) * 2), "at most 65535"),
    ],
)
def test_what_cannot_be_written_is_refused_by_name(header, words):
    with pytest.raises(ValueError, match=words):
        encode(header)


def test_version_1_calls_unknown_what_it_has_no_word_for():
    for protocol, end in (("UDP4", Inet("1.2.3.4", 5)), ("UNIX_STREAM", b"/run/x"), ("UNKNOWN", None)):
        assert encode(Header(1, protocol, end, end)) == b"PROXY UNKNOWN\r\n"


def test_the_values_have_names():
    inner = Ssl(7, 0, (Tlv(proxy_tlv.SSL_VERSION, b"TLSv1.3"), Tlv(proxy_tlv.SSL_CN, "bücher".encode())))
    end = Inet("10.0.0.1", 443)
    tlvs = (Tlv(1, b"h2"), Tlv(2, b"shop.example"), Tlv(5, b"id"), inner.encode(), Tlv(0x30, b"blue"))
    read, _ = parse(encode(Header(2, "TCP4", end, end, tlvs)))
    assert (read.alpn, read.authority, read.unique_id, read.netns) == (b"h2", "shop.example", b"id", "blue")
    assert read.ssl == inner
    assert (read.ssl.text(proxy_tlv.SSL_VERSION), read.ssl.text(proxy_tlv.SSL_CN)) == ("TLSv1.3", "bücher")
    nothing = Header(1)
    assert (nothing.alpn, nothing.authority, nothing.unique_id, nothing.netns, nothing.ssl) == (None,) * 5
    assert proxy_protocol.parse(memoryview(encode(nothing)))[0] == nothing
