"""Opens tunnels: IPIP, GRE and GUE over IPv4 and IPv6. What was inside goes on to the stack as if it had come so.

Theory. A balancer that tunnels puts the client's packet, untouched, into one for the backend. To open it is to cut off
the outer IP header, and what stands between it and the packet (nothing, or 4 bytes of GRE, or 8 of UDP). The Ethernet
header is written anew in front of what is left, for its type may have changed. The stack then finds a packet for the
virtual address, which the backend has on its loopback. No checksum needs work: none covers the outer header but its
own. GUE here is the variant with the packet right behind UDP (draft-ietf-intarea-gue-09, variant 1): its first four
bits are the IP version, so there is nothing else to read.

Traps. It opens whatever comes: whoever can send to this host can put any source address inside. Let only the balancers
reach it that way (a filter upstream, or `block_list` in front). It does not look at GUE's outer UDP checksum: what is
inside has checksums of its own. Tagged frames, outer options and extension headers, fragments, GRE with more than its
first 4 bytes (RFC 2784): passed as they are, for the stack to judge.
"""

from __future__ import annotations

from typing import Any

from lbcore.ebpf import maps
from lbcore.ebpf.compiler import xdp
from lbcore.ebpf.contexts import XDP_ABORTED, XDP_PASS
from lbcore.wire import ethernet, ipv4, ipv6
from lbcore.wire.portable import portable
from lbcore.wire.seam import View, advance, grow_head, need, settled, u8, u16, u32, view

GUE_PORT = 6080
GRE_LENGTH, GUE_LENGTH = 4, 8
IPIP, GRE, GUE, NONE = range(4)
LONGEST = 64
"""A power of two above what is ever cut off: 40 + 8."""

opened = maps.percpu_array("opened", 3)
"""Packets by kind of tunnel."""


@portable
def tunnel_of(p: View, protocol: int) -> tuple[int, int, int]:
    """What the payload (`p`) of an IP packet is: the kind of tunnel or NONE, bytes before the packet inside, and the IP
    version that is announced for it; 0: none is."""
    if protocol == ipv4.IPIP:
        return IPIP, 0, 4
    if protocol == ipv4.IPV6:
        return IPIP, 0, 6
    if protocol == ipv4.GRE and need(p, GRE_LENGTH):
        word = u32(p, 0)
        if word == ethernet.IPV4:
            return GRE, GRE_LENGTH, 4
        if word == ethernet.IPV6:
            return GRE, GRE_LENGTH, 6
    if protocol == ipv4.UDP and need(p, GUE_LENGTH) and u16(p, 2) == GUE_PORT:
        return GUE, GUE_LENGTH, 0
    return NONE, 0, 0


@xdp
def decapsulate(context: Any) -> int:
    frame = view(context)
    link = ethernet.parse(frame)
    if link.verdict or link.header_length != ethernet.LENGTH:
        return XDP_PASS
    p = advance(frame, ethernet.LENGTH)
    protocol, outer = 0, 0
    if link.ethertype == ethernet.IPV4:
        ip = ipv4.parse(p)
        if ip.verdict or ip.header_length != ipv4.LENGTH or ipv4.is_fragment(ip):
            return XDP_PASS
        protocol, outer = ip.protocol, ipv4.LENGTH
    elif link.ethertype == ethernet.IPV6:
        six = ipv6.parse(p)
        if six.verdict or six.header_length != ipv6.LENGTH:
            return XDP_PASS
        protocol, outer = six.protocol, ipv6.LENGTH
    if outer == 0:
        return XDP_PASS
    p = advance(p, outer)
    kind, between, announced = tunnel_of(p, protocol)
    if kind == NONE:
        return XDP_PASS
    inner = advance(p, between)
    if not need(inner, ipv4.LENGTH):
        return XDP_PASS
    version = u8(inner, 0) >> 4
    if version not in (4, 6) or (announced and version != announced):
        return XDP_PASS
    if not grow_head(context, -settled(outer + between, LONGEST)):
        return XDP_PASS
    frame = view(context)
    if not need(frame, ethernet.LENGTH):
        return XDP_ABORTED  # cannot be: at least 20 bytes are left behind the header
    ethertype = ethernet.IPV4 if version == 4 else ethernet.IPV6
    ethernet.build(frame, ethernet.Header(0, ethernet.LENGTH, link.destination, link.source, ethertype, 0))
    opened.increment(kind)
    return XDP_PASS
