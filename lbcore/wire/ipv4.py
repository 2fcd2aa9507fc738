"""IPv4: from which host to which host, and whether this is the whole packet (RFC 791).

Theory. Twenty bytes and up to forty of options; the header says how long it is, so what follows starts at
`header_length`, never at 20. Only the first fragment of a packet holds the ports. The others carry the middle of
somebody's data where the ports would be, so whoever reads ports there reads noise.
"""

from __future__ import annotations

from typing import NamedTuple

from lbcore.wire import checksum
from lbcore.wire.portable import portable
from lbcore.wire.seam import View, need, set16, set32, size_of, u8, u16, u32
from lbcore.wire.verdict import BAD_HEADER_LENGTH, BAD_TOTAL_LENGTH, BAD_VERSION, OK, TRUNCATED

LENGTH = 20
ICMP, IPIP, TCP, UDP, IPV6, GRE = 1, 4, 6, 17, 41, 47
DONT_FRAGMENT, MORE_FRAGMENTS = 0x4000, 0x2000


class Header(NamedTuple):
    """An IPv4 header. Addresses are 32-bit integers, lengths and offsets are in bytes."""

    verdict: int = OK
    header_length: int = LENGTH
    tos: int = 0
    """Differentiated services (6 bits) and congestion notification (2 bits)."""
    total_length: int = LENGTH
    identification: int = 0
    dont_fragment: int = 1
    more_fragments: int = 0
    fragment_offset: int = 0
    ttl: int = 64
    protocol: int = TCP
    checksum: int = 0
    source: int = 0
    destination: int = 0


@portable
def parse(p: View) -> Header:
    """The header at the start of a view.

    Verdicts: TRUNCATED, BAD_VERSION, BAD_HEADER_LENGTH, BAD_TOTAL_LENGTH. A view may be longer than the packet
    (Ethernet pads to 60 bytes), never shorter. The checksum is not looked at: `checksum_ok` does that.
    """
    if not need(p, LENGTH):
        return Header(TRUNCATED, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0)
    header_length, total_length, fragment = (u8(p, 0) & 15) * 4, u16(p, 2), u16(p, 6)
    verdict = OK
    if u8(p, 0) >> 4 != 4:
        verdict = BAD_VERSION
    elif header_length < LENGTH:
        verdict = BAD_HEADER_LENGTH
    elif not need(p, header_length):
        verdict = TRUNCATED
    elif total_length < header_length or total_length > size_of(p):
        verdict = BAD_TOTAL_LENGTH
    return Header(
        verdict,
        header_length,
        u8(p, 1),
        total_length,
        u16(p, 4),
        (fragment >> 14) & 1,
        (fragment >> 13) & 1,
        (fragment & 0x1FFF) * 8,
        u8(p, 8),
        u8(p, 9),
        u16(p, 10),
        u32(p, 12),
        u32(p, 16),
    )


@portable
def is_fragment(header: Header) -> bool:
    """Is this a part of a packet, the first one included?"""
    return header.more_fragments != 0 or header.fragment_offset != 0


@portable
def checksum_ok(p: View, header: Header) -> bool:
    """Is the checksum of a well-formed header right?"""
    return checksum.finish(checksum.add(p, 0, header.header_length)) == 0


@portable
def build(p: View, header: Header) -> None:
    """Write the fixed 20 bytes with a fresh checksum. The caller has asked for `header_length` bytes and, where that is
    more than 20, has written the options first: the checksum covers them. `header.checksum` is not used."""
    first = 0x4000 | header.header_length << 6 | header.tos
    fragment = header.dont_fragment << 14 | header.more_fragments << 13 | header.fragment_offset >> 3
    last = header.ttl << 8 | header.protocol
    # The sum is that of the fields, not of the bytes: to read what was written a moment ago in other portions would
    # wait for the memory.
    total = first + header.total_length + header.identification + fragment + last
    total += (
        (header.source >> 16) + (header.source & 0xFFFF) + (header.destination >> 16) + (header.destination & 0xFFFF)
    )
    set16(p, 0, first)
    set16(p, 2, header.total_length)
    set16(p, 4, header.identification)
    set16(p, 6, fragment)
    set16(p, 8, last)
    set16(p, 10, checksum.finish(total + checksum.add(p, LENGTH, header.header_length)))
    set32(p, 12, header.source)
    set32(p, 16, header.destination)


@portable
def pseudo_header(header: Header) -> int:
    """The unfolded sum of what TCP and UDP add to their checksum from this header (RFC 9293 section 3.1)."""
    length = header.total_length - header.header_length
    return checksum.pseudo_ipv4(header.source, header.destination, header.protocol, length)
