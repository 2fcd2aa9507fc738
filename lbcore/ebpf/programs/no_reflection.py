"""Drops UDP that comes from port 53: the answers of DNS servers that somebody asked in this host's name.

Theory. The attacker sends small questions with the victim's address as their source, and servers send large answers to
the victim. All that the answers have in common is where they come from. Bytes at constant offsets tell: the ethertype
at 12, the IPv4 header's version and length at 14, its protocol at 23, the UDP source port at 34.

Traps. Constant offsets hold for plain IPv4 over plain Ethernet only; whatever else it is passes (`parse` knows better).
Of later fragments these two bytes are data. And a host that asks DNS servers itself drops the answers it waits for.
"""

from __future__ import annotations

from typing import Any

from lbcore.ebpf.compiler import xdp
from lbcore.ebpf.contexts import XDP_DROP, XDP_PASS
from lbcore.wire.seam import need, u8, u16, view


@xdp
def no_reflection(context: Any) -> int:
    p = view(context)
    if not need(p, 38):
        return XDP_PASS
    if u16(p, 12) != 0x0800 or u8(p, 14) != 0x45 or u8(p, 23) != 17:
        return XDP_PASS
    return XDP_DROP if u16(p, 34) == 53 else XDP_PASS
