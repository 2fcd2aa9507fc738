"""Which conversation a packet belongs to: addresses, ports and protocol, and what is odd about it.

Rule of this file: it reads and never writes, and it knows no configuration.

Theory. Addresses of both families are two 64-bit words; an IPv4 address stands in them as ::ffff:a.b.c.d (RFC 4291
section 2.5.5.2), so one key, one table and one comparison serve both. An ICMP error is nobody's packet but talks about
one: it quotes the head of the packet that failed, which travelled the other way. So its flow is the quoted one with
source and destination exchanged, and the error finds the backend whose connection it is about.

Traps. In a quote only the first eight bytes behind the IP header are certain (RFC 792): ports yes, TCP flags no. Only
the first fragment of a packet has ports, so all fragments are reported as odd; the later ones could never follow the
first without memory. And an Ethernet frame may be longer than the packet in it: lengths come from the IP header.
"""

from __future__ import annotations

from typing import NamedTuple

from lbcore.l4.reasons import ECHO, FORWARDED, FRAGMENT, MALFORMED, NOT_IP, NOT_OURS, OPTIONS, TRUNCATED, TTL
from lbcore.wire import ethernet, icmp, ipv4, ipv6, tcp, udp
from lbcore.wire.portable import portable
from lbcore.wire.seam import View, advance, need, settled, u8, u16, u32, u64
from lbcore.wire.words import word64

MAPPED = 0xFFFF_0000_0000
"""The low word of an IPv4 address in an IPv6 one, but for the address itself."""
TCP, UDP, ICMP, ICMP6 = 6, 17, 1, 58
SYN, QUOTED = 1, 2


class Flow(NamedTuple):
    """A packet as the balancer sees it. Addresses are two 64-bit words each, ports host integers, lengths bytes."""

    reason: int = FORWARDED
    """FORWARDED: nothing odd about it. Of the odd ones the addresses are known, but for NOT_IP and some TRUNCATED."""
    link: int = 14
    """Length of the Ethernet header, VLAN tags included."""
    version: int = 4
    transport: int = 34
    """Where the TCP, UDP or ICMP header starts, from the frame's first byte."""
    length: int = 0
    """Bytes of the IP packet, header included."""
    tos: int = 0
    ttl: int = 64
    protocol: int = TCP
    """Of the quoted packet, in an error."""
    source_high: int = 0
    source_low: int = 0
    destination_high: int = 0
    destination_low: int = 0
    source_port: int = 0
    destination_port: int = 0
    flags: int = 0
    """SYN: opens a TCP connection (and does not accept one). QUOTED: an ICMP error about this flow."""


@portable
def parse(p: View) -> Flow:
    """The flow of the frame that a view starts with."""
    link = ethernet.parse(p)
    none = word64(0)
    if link.verdict or (link.ethertype != ethernet.IPV4 and link.ethertype != ethernet.IPV6):
        return Flow(NOT_IP, 0, 0, 0, 0, 0, 0, 0, none, none, none, none, 0, 0, 0)
    q = advance(p, link.header_length)
    flow = _ipv4(q, link.header_length) if link.ethertype == ethernet.IPV4 else _ipv6(q, link.header_length)
    # Every kind of packet goes the same way from here on: let the verifier see one way, not one for each kind.
    return Flow(
        flow.reason,
        settled(flow.link, 32),
        settled(flow.version, 8),
        settled(flow.transport, 4096),
        flow.length,
        flow.tos,
        flow.ttl,
        settled(flow.protocol, 256),
        flow.source_high,
        flow.source_low,
        flow.destination_high,
        flow.destination_low,
        flow.source_port,
        flow.destination_port,
        settled(flow.flags, 4),
    )


@portable
def _ipv4(p: View, link: int) -> Flow:
    ip = ipv4.parse(p)
    source, destination = word64(MAPPED | ip.source), word64(MAPPED | ip.destination)
    none, protocol, flags = word64(0), ip.protocol, 0
    reason = FORWARDED
    if ip.verdict:
        reason = TRUNCATED if ip.verdict == 1 else MALFORMED
    elif ip.header_length != ipv4.LENGTH:
        reason = OPTIONS
    elif ipv4.is_fragment(ip):
        reason = FRAGMENT
    elif ip.ttl == 0:
        reason = TTL
    ports = 0
    if reason == FORWARDED:
        q, left = advance(p, ipv4.LENGTH), ip.total_length - ipv4.LENGTH
        if protocol == ICMP:
            if left < icmp.LENGTH or not need(q, icmp.LENGTH):
                reason = TRUNCATED
            elif u8(q, 0) == icmp.ECHO:
                reason = ECHO
            elif u8(q, 0) not in (icmp.UNREACHABLE, icmp.TIME_EXCEEDED, icmp.PARAMETER):
                reason = NOT_OURS
            elif left < icmp.LENGTH + ipv4.LENGTH + 4 or not need(q, icmp.LENGTH + ipv4.LENGTH + 4):
                reason = TRUNCATED
            elif u8(q, 8) != 0x45 or u16(q, 14) & 0x1FFF:
                reason = MALFORMED
            else:
                protocol, flags = u8(q, 17), QUOTED
                destination, source = word64(MAPPED | u32(q, 20)), word64(MAPPED | u32(q, 24))
                ports = u16(q, 30) << 16 | u16(q, 28)
        reason, ports, flags = _ports(q, left, reason, protocol, ports, flags)
    return Flow(
        reason,
        link,
        4,
        link + ipv4.LENGTH,
        ip.total_length,
        ip.tos,
        ip.ttl,
        protocol,
        none,
        source,
        none,
        destination,
        ports >> 16,
        ports & 0xFFFF,
        flags,
    )


@portable
def _ipv6(p: View, link: int) -> Flow:
    ip = ipv6.parse(p)
    source_high, source_low = ip.source_high, ip.source_low
    destination_high, destination_low = ip.destination_high, ip.destination_low
    protocol, flags, ports = ip.protocol, 0, 0
    reason = FORWARDED
    if ip.verdict:
        reason = TRUNCATED if ip.verdict == 1 else MALFORMED
    elif ip.fragmented:
        reason = FRAGMENT
    elif ip.hop_limit == 0:
        reason = TTL
    if reason == FORWARDED:
        q, left = advance(p, ip.header_length), ip.total_length - ip.header_length
        if protocol == ICMP6:
            if left < icmp.LENGTH or not need(q, icmp.LENGTH):
                reason = TRUNCATED
            elif u8(q, 0) == icmp.ECHO6:
                reason = ECHO
            elif not 1 <= u8(q, 0) <= 4:
                reason = NOT_OURS
            elif left < icmp.LENGTH + ipv6.LENGTH + 4 or not need(q, icmp.LENGTH + ipv6.LENGTH + 4):
                reason = TRUNCATED
            else:
                protocol, flags = u8(q, 14), QUOTED
                destination_high, destination_low = u64(q, 16), u64(q, 24)
                source_high, source_low = u64(q, 32), u64(q, 40)
                ports = u16(q, 50) << 16 | u16(q, 48)
        reason, ports, flags = _ports(q, left, reason, protocol, ports, flags)
    return Flow(
        reason,
        link,
        6,
        link + ip.header_length,
        ip.total_length,
        ip.traffic_class,
        ip.hop_limit,
        protocol,
        source_high,
        source_low,
        destination_high,
        destination_low,
        ports >> 16,
        ports & 0xFFFF,
        flags,
    )


@portable
def _ports(p: View, left: int, reason: int, protocol: int, ports: int, flags: int) -> tuple[int, int, int]:
    """(reason, source port << 16 | destination port, flags) of the transport header at a view.

    left: bytes of the IP packet from there on; what the frame has behind them is padding. Quoted ports are known.
    """
    if reason != FORWARDED:
        return reason, 0, 0
    if protocol != TCP and protocol != UDP:
        return NOT_OURS, 0, 0
    if flags & QUOTED:
        return FORWARDED, ports, flags
    if protocol == TCP:
        if left < tcp.LENGTH or not need(p, tcp.LENGTH):
            return TRUNCATED, 0, 0
        opens = u8(p, 13) & (tcp.SYN | tcp.ACK) == tcp.SYN
        return FORWARDED, u32(p, 0), SYN if opens else 0
    if left < udp.LENGTH or not need(p, udp.LENGTH):
        return TRUNCATED, 0, 0
    return FORWARDED, u32(p, 0), 0
