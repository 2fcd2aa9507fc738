"""A program that the kernel refuses, to be mended: it counts where UDP packets are going.

Trap. It is broken on purpose, and it works in plain Python as long as nobody sends a short packet.
"""

from __future__ import annotations

from typing import Any

from lbcore.ebpf import maps
from lbcore.ebpf.compiler import xdp
from lbcore.ebpf.contexts import XDP_PASS
from lbcore.wire import ethernet, ipv4
from lbcore.wire.seam import advance, u16, view

ports = maps.array("ports", 1 << 16)


@xdp
def count_ports(context: Any) -> int:
    """Count UDP packets by destination port; all of them pass."""
    p = view(context)
    link = ethernet.parse(p)
    if link.verdict or link.ethertype != ethernet.IPV4:
        return XDP_PASS
    p = advance(p, link.header_length)
    ip = ipv4.parse(p)
    if ip.verdict or ip.protocol != ipv4.UDP or ip.fragment_offset:
        return XDP_PASS
    p = advance(p, ip.header_length)
    ports.increment(u16(p, 2))
    return XDP_PASS
