"""Answers UDP to port 7 (RFC 862) from the interface itself: no socket, no server, no network stack.

Theory. The answer is the question with both ends exchanged: hardware addresses, IP addresses, ports. No checksum
changes, for a sum does not care in which order its words are added. XDP_TX sends the frame out where it came in.

Traps. An echo that answers an echo never ends, so a question from port 7 is not answered. Nor is one to a group of
hosts: its answer would come from a group. And only whole packets: later fragments have no ports to exchange.
"""

from __future__ import annotations

from typing import Any

from lbcore.ebpf.compiler import xdp
from lbcore.ebpf.contexts import XDP_PASS, XDP_TX
from lbcore.wire import ethernet, ipv4, udp
from lbcore.wire.seam import advance, set16, set32, view

PORT = 7
GROUP = 1 << 40
"""The bit of a hardware address that says: more than one host."""


@xdp
def echo(context: Any) -> int:
    frame = view(context)
    link = ethernet.parse(frame)
    if link.verdict or link.ethertype != ethernet.IPV4 or link.destination & GROUP:
        return XDP_PASS
    packet = advance(frame, link.header_length)
    ip = ipv4.parse(packet)
    if ip.verdict or ip.protocol != ipv4.UDP or ipv4.is_fragment(ip):
        return XDP_PASS
    datagram = advance(packet, ip.header_length)
    ports = udp.parse(datagram)
    if ports.verdict or ports.destination_port != PORT or ports.source_port == PORT:
        return XDP_PASS
    set16(frame, 0, link.source >> 32)
    set32(frame, 2, link.source)
    set16(frame, 6, link.destination >> 32)
    set32(frame, 8, link.destination)
    set32(packet, 12, ip.destination)
    set32(packet, 16, ip.source)
    set16(datagram, 0, ports.destination_port)
    set16(datagram, 2, ports.source_port)
    return XDP_TX
