"""IPv6: forty fixed bytes, then a chain of extension headers until something carries ports (RFC 8200).

Theory. Each header names the next one. Options, routing, fragments and authentication stand between the fixed header
and TCP or UDP, each with its own length rule, so finding the ports is a walk, not an offset. Nobody says how long the
chain may be; a parser that must be done in bounded time says it itself (`MAX_EXTENSIONS`).
"""

from __future__ import annotations

from typing import NamedTuple

from lbcore.wire import checksum
from lbcore.wire.portable import portable
from lbcore.wire.seam import View, advance, need, set8, set16, set32, set64, size_of, u8, u16, u32, u64
from lbcore.wire.verdict import BAD_TOTAL_LENGTH, BAD_VERSION, OK, TOO_MANY_HEADERS, TRUNCATED
from lbcore.wire.words import word64

LENGTH = 40
TCP, UDP, ICMP = 6, 17, 58
HOP_BY_HOP, ROUTING, FRAGMENT, ESP, AUTHENTICATION, NO_NEXT, DESTINATION = 0, 43, 44, 50, 51, 59, 60
MOBILITY, HIP, SHIM6 = 135, 139, 140
EXTENSIONS = (HOP_BY_HOP, ROUTING, FRAGMENT, AUTHENTICATION, DESTINATION, MOBILITY, HIP, SHIM6)
MAX_EXTENSIONS = 6
"""RFC 8200 section 4.1 lists six that can be walked, each once, destination options twice."""


class Header(NamedTuple):
    """An IPv6 header and where its chain ends. Each address is two 64-bit words, lengths are in bytes."""

    verdict: int = OK
    header_length: int = LENGTH
    """Bytes up to the first header that is not an extension: 40 without any."""
    traffic_class: int = 0
    flow_label: int = 0
    total_length: int = LENGTH
    """Fixed header and payload: the payload length field plus 40."""
    next_header: int = TCP
    """The field of the fixed header."""
    hop_limit: int = 64
    source_high: int = 0
    source_low: int = 0
    destination_high: int = 0
    destination_low: int = 0
    protocol: int = TCP
    """What the chain ends in."""
    fragment_offset: int = 0
    more_fragments: int = 0
    identification: int = 0
    """Of the fragment header, else 0."""
    fragmented: int = 0
    """1 if there is a fragment header, even one that says "the whole packet" (RFC 6946)."""


@portable
def is_extension(protocol: int) -> bool:
    """Does this number name a header that says where the next one begins? (ESP does not: what follows is secret.)"""
    return protocol in EXTENSIONS


@portable
def parse(p: View) -> Header:
    """The fixed header at the start of a view and the walk along its extension headers.

    Verdicts: TRUNCATED, BAD_VERSION, BAD_TOTAL_LENGTH, TOO_MANY_HEADERS. The walk ends behind the fragment header of a
    fragment that is not the first, because what follows there is data.
    """
    if not need(p, LENGTH):
        nothing = word64(0)
        return Header(TRUNCATED, 0, 0, 0, 0, 0, 0, nothing, nothing, nothing, nothing, 0, 0, 0, 0, 0)
    first, next_header, total_length = u32(p, 0), u8(p, 6), u16(p, 4) + LENGTH
    verdict, length, protocol = OK, LENGTH, next_header
    offset, more, identification, fragmented = 0, 0, 0, 0
    if first >> 28 != 6:
        verdict = BAD_VERSION
    elif total_length > size_of(p):
        verdict = BAD_TOTAL_LENGTH
    else:
        q = advance(p, LENGTH)
        for _ in range(MAX_EXTENSIONS):
            if not is_extension(protocol) or offset:
                break
            if not need(q, 8):
                verdict = TRUNCATED
                break
            here, protocol = protocol, u8(q, 0)
            if here == FRAGMENT:
                field, identification, fragmented = u16(q, 2), u32(q, 4), 1
                offset, more, size = field & 0xFFF8, field & 1, 8
            elif here == AUTHENTICATION:
                size = (u8(q, 1) + 2) * 4
            else:
                size = (u8(q, 1) + 1) * 8
            length += size
            if length > total_length:
                verdict = TRUNCATED
                break
            q = advance(q, size)
        if verdict == OK and is_extension(protocol) and not offset:
            verdict = TOO_MANY_HEADERS
    return Header(
        verdict,
        length,
        (first >> 20) & 0xFF,
        first & 0xFFFFF,
        total_length,
        next_header,
        u8(p, 7),
        u64(p, 8),
        u64(p, 16),
        u64(p, 24),
        u64(p, 32),
        protocol,
        offset,
        more,
        identification,
        fragmented,
    )


@portable
def is_fragment(header: Header) -> bool:
    """Is this a part of a packet, the first one included? An atomic fragment (RFC 6946) is whole."""
    return header.more_fragments != 0 or header.fragment_offset != 0


@portable
def build(p: View, header: Header) -> None:
    """Write the fixed 40 bytes (asked for by the caller): `next_header` as given, extension headers are not written."""
    set32(p, 0, 6 << 28 | header.traffic_class << 20 | header.flow_label)
    set16(p, 4, header.total_length - LENGTH)
    set8(p, 6, header.next_header)
    set8(p, 7, header.hop_limit)
    set64(p, 8, header.source_high)
    set64(p, 16, header.source_low)
    set64(p, 24, header.destination_high)
    set64(p, 32, header.destination_low)


@portable
def pseudo_header(header: Header) -> int:
    """The unfolded sum of what TCP, UDP and ICMPv6 add to their checksum from this header (RFC 8200 section 8.1)."""
    addresses = (
        checksum.words64(header.source_high)
        + checksum.words64(header.source_low)
        + checksum.words64(header.destination_high)
        + checksum.words64(header.destination_low)
    )
    return addresses + header.total_length - header.header_length + header.protocol
