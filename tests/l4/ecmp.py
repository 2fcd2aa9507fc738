"""A router with two equal ways, as an XDP program: a flow's hash says which, and nothing is remembered."""

from __future__ import annotations

from typing import Any

from lbcore.ebpf import maps
from lbcore.ebpf.compiler import xdp
from lbcore.ebpf.contexts import XDP_PASS, XDP_TX
from lbcore.ebpf.maps import U64
from lbcore.l4.choose import hash_of
from lbcore.l4.flow import parse
from lbcore.l4.link import readdress
from lbcore.l4.reasons import FORWARDED
from lbcore.wire import ethernet
from lbcore.wire.seam import need, view
from lbcore.wire.words import int64

SEED = 0xEC3
"""Not the balancers' own: who hashes alike twice sends each balancer only half of the ring."""

next_hops = maps.array("next_hops", 2, value=U64)
"""Ethernet addresses."""


@xdp
def ecmp(context: Any) -> int:
    frame = view(context)
    flow = parse(frame)
    if flow.reason != FORWARDED or not need(frame, ethernet.LENGTH):
        return XDP_PASS
    found, hop = next_hops.lookup(hash_of(flow, SEED, SEED) & 1)
    if not found:
        return XDP_PASS
    readdress(frame, int64(hop))
    return XDP_TX
