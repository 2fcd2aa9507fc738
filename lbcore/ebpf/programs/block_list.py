"""Drops packets by where they come from: rules for IPv4 and IPv6 prefixes, the longest one that fits decides.

    rules4.update((8, 0x0A000000), BLOCK)          10.0.0.0/8 is blocked
    rules4.update((24, 0x0A010200), ALLOW)         but 10.1.2.0/24 is not

Theory. A trie walks along the bits of an address and remembers the last prefix it met that has a rule: as many steps as
bits at most, however many rules there are. So an exception is just a longer prefix, and no order of rules matters. An
allow list is the same table with one rule more: the prefix of every address, `(0, 0)`, is blocked, and who may come in
is an exception.

Traps. What it cannot read it drops: else one VLAN tag too many would be the way around. And the address is read from
the packet: whoever sends it can write there what they like.
"""

from __future__ import annotations

from typing import Any

from lbcore.ebpf import maps
from lbcore.ebpf.compiler import xdp
from lbcore.ebpf.contexts import XDP_DROP, XDP_PASS
from lbcore.ebpf.maps import B32, B128
from lbcore.wire import ethernet, ipv4, ipv6
from lbcore.wire.seam import advance, view

ALLOW, BLOCK = 0, 1

rules4 = maps.lpm_trie("rules4", 10_000, key=B32)
rules6 = maps.lpm_trie("rules6", 10_000, key=B128)


@xdp
def block_list(context: Any) -> int:
    p = view(context)
    link = ethernet.parse(p)
    if link.verdict:
        return XDP_DROP
    p = advance(p, link.header_length)
    found, rule = False, ALLOW
    if link.ethertype == ethernet.IPV4:
        ip = ipv4.parse(p)
        if ip.verdict:
            return XDP_DROP
        found, rule = rules4.lookup((32, ip.source))
    elif link.ethertype == ethernet.IPV6:
        six = ipv6.parse(p)
        if six.verdict:
            return XDP_DROP
        found, rule = rules6.lookup((128, six.source_high, six.source_low))
    return XDP_DROP if found and rule == BLOCK else XDP_PASS
