"""Ethernet II with up to two VLAN tags: who is next on this link, and what follows.

Theory. Six bytes to whom, six from whom, two that name what comes next (IEEE 802.3). A VLAN tag (802.1Q) slips four
bytes in before that name, a provider's tag (802.1ad) four more; the name then stands behind the tags. A balancer that
looks for 0x0800 at offset 12 and nowhere else is blind on a trunk port.
"""

from __future__ import annotations

from typing import NamedTuple

from lbcore.wire.portable import portable
from lbcore.wire.seam import View, advance, need, set16, set32, u16, u32
from lbcore.wire.verdict import OK, TOO_MANY_HEADERS, TRUNCATED

LENGTH = 14
IPV4, ARP, IPV6 = 0x0800, 0x0806, 0x86DD
VLAN, PROVIDER_VLAN = 0x8100, 0x88A8
UNTAGGED = 0xFFFF


class Header(NamedTuple):
    """An Ethernet header. Addresses are 48-bit integers."""

    verdict: int = OK
    header_length: int = LENGTH
    """Bytes up to the next header: 14, 18 or 22."""
    destination: int = 0
    source: int = 0
    ethertype: int = IPV4
    """What follows the tags. At most 1500 it would be an 802.3 length: not IP, and nobody here reads on."""
    vlan: int = UNTAGGED
    """The innermost tag's 16 bits (priority 3, drop eligible 1, VLAN id 12), or UNTAGGED."""


@portable
def parse(p: View) -> Header:
    """The header at the start of a view. Verdicts: TRUNCATED; TOO_MANY_HEADERS for a third VLAN tag."""
    if not need(p, LENGTH):
        return Header(TRUNCATED, 0, 0, 0, 0, UNTAGGED)
    destination = (u16(p, 0) << 32) | u32(p, 2)
    source = (u16(p, 6) << 32) | u32(p, 8)
    ethertype, vlan, length = u16(p, 12), UNTAGGED, LENGTH
    q = advance(p, LENGTH)
    for _ in range(2):
        if ethertype not in (VLAN, PROVIDER_VLAN):
            break
        if not need(q, 4):
            return Header(TRUNCATED, length, destination, source, ethertype, vlan)
        vlan, ethertype, length = u16(q, 0), u16(q, 2), length + 4
        q = advance(q, 4)
    verdict = TOO_MANY_HEADERS if ethertype in (VLAN, PROVIDER_VLAN) else OK
    return Header(verdict, length, destination, source, ethertype, vlan)


@portable
def build(p: View, header: Header) -> None:
    """Write an untagged header (14 bytes, which the caller has asked for)."""
    set16(p, 0, header.destination >> 32)
    set32(p, 2, header.destination)
    set16(p, 6, header.source >> 32)
    set32(p, 8, header.source)
    set16(p, 12, header.ethertype)
