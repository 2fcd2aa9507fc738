"""Packets inside packets: IPIP (RFC 2003, 2473), GRE (RFC 2784), GUE (UDP with the packet behind it).

Rule of this file: it adds one header or two in front, and changes nothing of the packet itself.

Theory. The backend may be anywhere that can be routed to, and still sees the client's packet as it was sent; it answers
the client directly. The cost is 20 to 48 bytes a packet, and a largest packet that is smaller by so much: who cannot
fragment (we never do) must have the room on the way, or clients that send less.

Routers and network cards spread load by hashing the outer header, and one balancer to one backend would always hash
alike. So something of the flow goes into it: for IPIP the lower half of the source address, for GUE the UDP source
port. Layout and values are those of Katran.

Traps. The outer UDP checksum of GUE covers everything behind it; it is computed here without reading the data: the
inner transport checksum, taken to be right, says what the data add up to. A packet whose UDP has no checksum says
nothing, and gets none outside. Lengths are those of the IP packet, not of the frame: Ethernet pads.
"""

from __future__ import annotations

from typing import Any

from lbcore.l4 import flags
from lbcore.l4.flow import QUOTED, UDP, Flow
from lbcore.l4.link import HOPS, carry_over
from lbcore.l4.reasons import FORWARDED, NO_ROOM
from lbcore.l4.tables import Backend, Settings
from lbcore.wire import checksum, ethernet, ipv4, ipv6
from lbcore.wire.portable import portable
from lbcore.wire.seam import View, advance, grow_head, need, set16, set32, u8, u16, view
from lbcore.wire.words import int64, word64

GRE_LENGTH, GUE_LENGTH = 4, 8
"""Bytes between the outer IP header and the packet."""
LONGEST_LINK = 22


@portable
def is_ipv4(high: int, low: int) -> bool:
    """Is this two-word address an IPv4 one?"""
    return int64(high >> 32) == 0 and int64(high & 0xFFFFFFFF) == 0 and int64(low >> 32) == 0xFFFF


@portable
def spread16(low: int, port: int) -> int:
    """Sixteen bits of a flow for the outer header over IPv4: the end of the client's address, and its port turned."""
    return int64(low & 0xFFFF) ^ ((port & 0xFF) << 8 | port >> 8)


@portable
def spread_port6(low: int, port: int, version: int) -> int:
    """The same for the UDP source port over IPv6, of a packet of IP `version`."""
    return int64((low >> (16 if version == 6 else 0)) & 0xFFFF) ^ port


@portable
def encapsulate(context: Any, flow: Flow, service: int, backend: Backend, gateway: int, s: Settings) -> int:
    """Put the packet into one for the backend; `service`: mode and flags, `gateway`: the next Ethernet address.

    What the service's flags ignore of a flow does not spread its packets either.
    """
    mode = service & flags.MODE
    low = word64(0) if service & flags.BY_DESTINATION_PORT else flow.source_low
    port = 0 if service & flags.IGNORE_SOURCE_PORT else flow.source_port
    outer4 = is_ipv4(backend.high, backend.low)
    between = GUE_LENGTH if mode == flags.GUE else GRE_LENGTH if mode == flags.GRE else 0
    header = ipv4.LENGTH if outer4 else ipv6.LENGTH
    inner = inner_sum(context, flow, service) if mode == flags.GUE else 0
    if not grow_head(context, header + between):
        return NO_ROOM
    p = view(context)
    old = advance(p, header + between)
    if not need(p, LONGEST_LINK) or not need(old, LONGEST_LINK):
        return NO_ROOM
    carry_over(p, old, flow.link, gateway, ethernet.IPV4 if outer4 else ethernet.IPV6)
    q = advance(p, flow.link)
    if not need(q, ipv6.LENGTH + GUE_LENGTH):
        return NO_ROOM
    protocol = ipv4.IPIP if flow.version == 4 else ipv4.IPV6
    protocol = ipv4.GRE if mode == flags.GRE else UDP if mode == flags.GUE else protocol
    total = header + between + flow.length
    pseudo = 0
    if outer4:
        source = s.source4
        if mode == flags.IPIP and s.spread4:
            source = s.spread4 << 16 | spread16(low, port)
        target = int64(backend.low & 0xFFFFFFFF)
        ipv4.build(q, ipv4.Header(0, ipv4.LENGTH, flow.tos, total, 0, 0, 0, 0, HOPS, protocol, 0, source, target))
        pseudo = checksum.pseudo_ipv4(source, target, UDP, GUE_LENGTH + flow.length)
    else:
        source_high, source_low = s.source6_high, s.source6_low
        if mode == flags.IPIP and s.spread6_high:
            source_high, source_low = s.spread6_high, word64(int64(low & 0xFFFFFFFF) ^ port << 16)
        ip = ipv6.Header(
            0,
            ipv6.LENGTH,
            flow.tos,
            0,
            total,
            protocol,
            HOPS,
            source_high,
            source_low,
            backend.high,
            backend.low,
            protocol,
            0,
            0,
            0,
            0,
        )
        ipv6.build(q, ip)
        pseudo = ipv6.pseudo_header(ip)
    if between:
        r = advance(q, header)
        if mode == flags.GRE:
            set32(r, 0, ethernet.IPV4 if flow.version == 4 else ethernet.IPV6)
        else:
            outer_port = spread16(low, port) if outer4 else spread_port6(low, port, flow.version)
            udp(r, outer_port, s.gue_port, GUE_LENGTH + flow.length, inner, pseudo)
    return FORWARDED


@portable
def udp(p: View, source: int, destination: int, length: int, inner: int, pseudo: int) -> None:
    """GUE's UDP header. inner: what the data add up to, below 0 if nobody knows; pseudo: the outer pseudo-header."""
    set16(p, 0, source)
    set16(p, 2, destination)
    set16(p, 4, length)
    value = 0
    if inner >= 0:
        value = checksum.finish(inner + pseudo + source + destination + length)
        value = value if value else 0xFFFF
    set16(p, 6, value)


@portable
def inner_sum(context: Any, flow: Flow, service: int) -> int:
    """What the words of the IP packet add up to (folded), read from its headers alone; -1 if they do not say.

    A right IPv4 header adds up to 0xFFFF, which is nothing; so do a TCP or UDP segment and its pseudo-header together.
    What is left is the pseudo-header, taken away, and for IPv6 the header, which has no checksum.

    Katran takes a pseudo-header away from all that it sends: from an ICMP error over IPv4 too, whose checksum covers
    none (RFC 792), and from UDP without a checksum. Neither sum is right, and a receiver that checks it drops them.
    """
    p = view(context)
    q = advance(p, flow.link)
    if flow.version == 4:
        if not need(q, ipv4.LENGTH):
            return -1
        if flow.flags & QUOTED and not service & flags.AS_KATRAN:
            return 0xFFFF
        header = checksum.add(q, 0, ipv4.LENGTH)
        covered = checksum.add(q, 12, ipv4.LENGTH) + u8(q, 9) + flow.length - ipv4.LENGTH
    else:
        if not need(q, ipv6.LENGTH) or flow.transport - flow.link != ipv6.LENGTH:
            return -1
        header = checksum.add(q, 0, ipv6.LENGTH)
        covered = checksum.add(q, 8, ipv6.LENGTH) + flow.protocol + flow.length - (flow.transport - flow.link)
        if flow.flags & QUOTED:
            covered += 58 - flow.protocol
    if flow.protocol == UDP and not flow.flags & QUOTED and not service & flags.AS_KATRAN:
        r = advance(p, flow.transport)
        if not need(r, 8) or u16(r, 6) == 0:
            return -1
    return checksum.fold(header + (checksum.fold(covered) ^ 0xFFFF))
