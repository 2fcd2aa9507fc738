"""Counts IPv4 packets: per protocol, and for TCP and UDP per destination port. Everything passes.

Theory. A program forgets everything at its end; what is to last is in a map, and user space reads it while packets go
on. Per-CPU counters are not shared between processors, so counting costs no waiting; who reads adds them up.

Trap. Only the first fragment of a packet has ports. In the others the same bytes are data.
"""

from __future__ import annotations

from typing import Any

from lbcore.ebpf import maps
from lbcore.ebpf.compiler import xdp
from lbcore.ebpf.contexts import XDP_PASS
from lbcore.wire import ethernet, ipv4
from lbcore.wire.seam import advance, need, u16, view

protocols = maps.percpu_array("protocols", 256)
ports = maps.percpu_array("ports", 1 << 16)


@xdp
def count_protocols(context: Any) -> int:
    p = view(context)
    link = ethernet.parse(p)
    if link.verdict or link.ethertype != ethernet.IPV4:
        return XDP_PASS
    p = advance(p, link.header_length)
    ip = ipv4.parse(p)
    if ip.verdict:
        return XDP_PASS
    protocols.increment(ip.protocol)
    p = advance(p, ip.header_length)
    if ip.protocol in (ipv4.TCP, ipv4.UDP) and ip.fragment_offset == 0 and need(p, 4):
        ports.increment(u16(p, 2))
    return XDP_PASS
