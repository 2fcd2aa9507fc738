"""Finds the transport header wherever it is: behind VLAN tags, IPv4 options, IPv6 extension headers.

Theory. Each header says what comes next and where that begins, so a parser is a walk. The verifier follows every way
that the walk can take: each step asks for its bytes, and the loops have bounds (two tags, six extension headers).
What was found is counted per (ethertype, VLAN, protocol, destination port): the traffic of a link as one table.

Trap. What cannot be read is counted (`unread`, by the parser's verdict) and passed, not dropped: a parser that drops
what it does not understand is an outage that waits for a new protocol.
"""

from __future__ import annotations

from typing import Any

from lbcore.ebpf import maps
from lbcore.ebpf.compiler import xdp
from lbcore.ebpf.contexts import XDP_PASS
from lbcore.ebpf.maps import U16
from lbcore.wire import ethernet, ipv4, ipv6
from lbcore.wire.portable import portable
from lbcore.wire.seam import View, advance, need, u16, view

NO_PORT = 0

traffic = maps.lru_hash("traffic", 4096, key=(U16, U16, U16, U16))
unread = maps.percpu_array("unread", 16)


@portable
def destination_port(p: View, protocol: int, fragment_offset: int) -> int:
    """The port, if this is the start of a TCP segment or UDP datagram."""
    if protocol in (ipv4.TCP, ipv4.UDP) and fragment_offset == 0 and need(p, 4):
        return u16(p, 2)
    return NO_PORT


@xdp
def parse(context: Any) -> int:
    p = view(context)
    link = ethernet.parse(p)
    if link.verdict:
        unread.increment(link.verdict)
        return XDP_PASS
    p = advance(p, link.header_length)
    if link.ethertype == ethernet.IPV4:
        ip = ipv4.parse(p)
        if ip.verdict:
            unread.increment(ip.verdict)
            return XDP_PASS
        port = destination_port(advance(p, ip.header_length), ip.protocol, ip.fragment_offset)
        traffic.increment((link.ethertype, link.vlan, ip.protocol, port))
    elif link.ethertype == ethernet.IPV6:
        six = ipv6.parse(p)
        if six.verdict:
            unread.increment(six.verdict)
            return XDP_PASS
        port = destination_port(advance(p, six.header_length), six.protocol, six.fragment_offset)
        traffic.increment((link.ethertype, link.vlan, six.protocol, port))
    return XDP_PASS
