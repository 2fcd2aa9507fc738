"""Counts packets per protocol, and TCP and UDP per destination port, in IPv4 and IPv6. Everything passes.

Theory. A program forgets everything at its end; what is to last is in a map, and user space reads it while packets go
on. Per-CPU counters are not shared between processors, so counting costs no waiting; who reads adds them up. IPv4 and
IPv6 draw from one list of protocol numbers, so they share the tables; an IPv6 packet counts as what its chain of
extension headers ends in.

Trap. Only the first fragment of a packet has ports. In the others the same bytes are data.
"""

from __future__ import annotations

from typing import Any

from lbcore.ebpf import maps
from lbcore.ebpf.compiler import xdp
from lbcore.ebpf.contexts import XDP_PASS
from lbcore.wire import ethernet, ipv4, ipv6
from lbcore.wire.portable import portable
from lbcore.wire.seam import View, advance, need, u16, view

protocols = maps.percpu_array("protocols", 256)
ports = maps.percpu_array("ports", 1 << 16)


@portable
def count(p: View, protocol: int, fragment_offset: int) -> None:
    """Count what starts at `p`."""
    protocols.increment(protocol)
    if protocol in (ipv4.TCP, ipv4.UDP) and fragment_offset == 0 and need(p, 4):
        ports.increment(u16(p, 2))


@xdp
def count_protocols(context: Any) -> int:
    p = view(context)
    link = ethernet.parse(p)
    if link.verdict:
        return XDP_PASS
    p = advance(p, link.header_length)
    if link.ethertype == ethernet.IPV4:
        ip = ipv4.parse(p)
        if not ip.verdict:
            count(advance(p, ip.header_length), ip.protocol, ip.fragment_offset)
    elif link.ethertype == ethernet.IPV6:
        six = ipv6.parse(p)
        if not six.verdict:
            count(advance(p, six.header_length), six.protocol, six.fragment_offset)
    return XDP_PASS
