"""The Ethernet header on the way out, and the two modes of answering that need nothing else: DSR and echo.

Theory. A frame leaves through the interface it came in by, so its source address is the one it was sent to. Tags stay:
the answer belongs to the same VLAN. Direct server return changes nothing but the destination's Ethernet address: the
backend has the virtual address on its loopback, takes the packet for its own, and answers the client past us.

Trap. An echo's checksum is repaired by adding what the type lost. RFC 1624's formula would give 0 where the rest of the
message is zeros, and a receiver that adds up nothing but zeros sees no checksum at all.
"""

from __future__ import annotations

from typing import Any

from lbcore.l4.flow import Flow
from lbcore.l4.reasons import ECHO, FORWARDED, TRUNCATED
from lbcore.wire import checksum, ethernet, icmp, ipv4, ipv6
from lbcore.wire.portable import portable
from lbcore.wire.seam import View, advance, need, set8, set16, set32, set64, u16, u32, u64, view

HOPS = 64
"""The hop count of packets that start here."""


@portable
def source_of(p: View) -> int:
    """The Ethernet address a frame (14 bytes asked for) came from."""
    return (u16(p, 6) << 32) | u32(p, 8)


@portable
def is_for_another(p: View, own: int) -> bool:
    """Is the frame for another than `own` (48 bits; 0: everybody)? A broadcast is: no client sends to us like that."""
    return own != 0 and need(p, ethernet.LENGTH) and (u16(p, 0) << 32) | u32(p, 2) != own


@portable
def readdress(p: View, destination: int) -> None:
    """From whom it was sent to, to `destination` (48 bits); 14 bytes have been asked for."""
    high, low = u16(p, 0), u32(p, 2)
    set16(p, 0, destination >> 32)
    set32(p, 2, destination)
    set16(p, 6, high)
    set32(p, 8, low)


@portable
def carry_over(p: View, old: View, length: int, destination: int, ethertype: int) -> None:
    """Write the Ethernet header of a frame that has grown in front: `old` is where its header was.

    length: bytes of the header; both views have been asked for so many. The last two name what follows.
    """
    high, low = u16(old, 0), u32(old, 2)
    first, second, third = u16(old, 12), u32(old, 14), u32(old, 18)
    set16(p, 0, destination >> 32)
    set32(p, 2, destination)
    set16(p, 6, high)
    set32(p, 8, low)
    if length == ethernet.LENGTH:
        set16(p, 12, ethertype)
    elif length == ethernet.LENGTH + 4:
        set16(p, 12, first)
        set16(p, 14, second >> 16)
        set16(p, 16, ethertype)
    else:
        set16(p, 12, first)
        set32(p, 14, second)
        set16(p, 18, third >> 16)
        set16(p, 20, ethertype)


@portable
def send_direct(context: Any, destination: int) -> int:
    """Direct server return: the frame, readdressed."""
    p = view(context)
    if not need(p, ethernet.LENGTH):
        return TRUNCATED
    readdress(p, destination)
    return FORWARDED


@portable
def answer_echo(context: Any, flow: Flow) -> int:
    """Turn an echo request (ICMP or ICMPv6) into its reply, in place."""
    p = view(context)
    if not need(p, ethernet.LENGTH):
        return TRUNCATED
    q = advance(p, flow.link)
    r = advance(p, flow.transport)
    if flow.version == 4:
        if not need(q, ipv4.LENGTH) or not need(r, icmp.LENGTH):
            return TRUNCATED
        source, old = u32(q, 12), u16(q, 8)
        set32(q, 12, u32(q, 16))
        set32(q, 16, source)
        set8(q, 8, HOPS)
        set16(q, 10, checksum.update16(u16(q, 10), old, u16(q, 8)))
        set8(r, 0, icmp.ECHO_REPLY)
        set16(r, 2, checksum.fold(u16(r, 2) + (icmp.ECHO << 8)))
    else:
        if not need(q, ipv6.LENGTH) or not need(r, icmp.LENGTH):
            return TRUNCATED
        high, low = u64(q, 8), u64(q, 16)
        set64(q, 8, u64(q, 24))
        set64(q, 16, u64(q, 32))
        set64(q, 24, high)
        set64(q, 32, low)
        set8(q, 7, HOPS)
        set8(r, 0, icmp.ECHO_REPLY6)
        set16(r, 2, checksum.fold(u16(r, 2) + (0xFFFF ^ 1 << 8)))
    readdress(p, source_of(p))
    return ECHO
