"""ICMP for IPv4 (RFC 792) and IPv6 (RFC 4443): the network talking about somebody else's packet.

Theory. An error message quotes the head of the packet it is about, and that quote is the only thing that says which
connection it belongs to. A balancer that sends "packet too big" to a random backend breaks path MTU discovery for
the right one; so it must read the quote, source and destination swapped.
"""

from __future__ import annotations

from typing import NamedTuple

from lbcore.wire import checksum
from lbcore.wire.portable import portable
from lbcore.wire.seam import View, need, set8, set16, u8, u16
from lbcore.wire.verdict import OK, TRUNCATED

LENGTH = 8
ECHO_REPLY, UNREACHABLE, SOURCE_QUENCH, REDIRECT, ECHO, TIME_EXCEEDED, PARAMETER = 0, 3, 4, 5, 8, 11, 12
FRAGMENTATION_NEEDED = 4
UNREACHABLE6, TOO_BIG6, TIME_EXCEEDED6, PARAMETER6, ECHO6, ECHO_REPLY6 = 1, 2, 3, 4, 128, 129


class Header(NamedTuple):
    """The 8 bytes that every message starts with. What the last four mean depends on the type."""

    verdict: int = OK
    header_length: int = LENGTH
    type: int = ECHO
    code: int = 0
    checksum: int = 0
    identifier: int = 0
    """Echo: whose ping this is."""
    sequence: int = 0
    """Echo: which one. "Fragmentation needed": the next hop's MTU."""


@portable
def parse(p: View) -> Header:
    """The header at the start of a view. Verdict: TRUNCATED."""
    if not need(p, LENGTH):
        return Header(TRUNCATED, 0, 0, 0, 0, 0, 0)
    return Header(OK, LENGTH, u8(p, 0), u8(p, 1), u16(p, 2), u16(p, 4), u16(p, 6))


@portable
def quotes_ipv4(header: Header) -> bool:
    """Does an ICMPv4 message of this type quote a packet behind its 8 bytes?"""
    return UNREACHABLE <= header.type <= REDIRECT or header.type in (TIME_EXCEEDED, PARAMETER)


@portable
def quotes_ipv6(header: Header) -> bool:
    """Does an ICMPv6 message of this type quote a packet? (Errors are the types below 128; 1 to 4 are in use.)"""
    return UNREACHABLE6 <= header.type <= PARAMETER6


@portable
def build(p: View, header: Header) -> None:
    """Write the 8 bytes, checksum as given."""
    set8(p, 0, header.type)
    set8(p, 1, header.code)
    set16(p, 2, header.checksum)
    set16(p, 4, header.identifier)
    set16(p, 6, header.sequence)


@portable
def finish(p: View, pseudo_header: int, length: int) -> None:
    """Write the checksum over `length` bytes. `pseudo_header` is 0 for IPv4; ICMPv6 includes that of its IP header."""
    set16(p, 2, 0)
    set16(p, 2, checksum.finish(pseudo_header + checksum.add(p, 0, length)))
