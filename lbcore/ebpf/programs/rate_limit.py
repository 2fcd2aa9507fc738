"""Each IPv4 source may send RATE packets a second, and BURST at once after a pause; what is more is dropped.

Theory. A token bucket: tokens drip in at a fixed rate, at most BURST are kept, each packet takes one. Nothing drips
while nobody looks: the bucket holds when it was last looked at, and what would have come in since is added then. Tokens
are counted in nanoseconds of waiting, so there is no division and nothing is rounded away.

Traps. Buckets are in an LRU hash: a flood from forged addresses pushes others out, and who is forgotten starts with a
full bucket. And two processors that look at one bucket at once may both take the last token: the limit is near, not
exact. An exact one needs a lock, which costs more than the packet that slips through.
"""

from __future__ import annotations

from typing import Any

from lbcore.ebpf import maps
from lbcore.ebpf.compiler import xdp
from lbcore.ebpf.contexts import XDP_DROP, XDP_PASS
from lbcore.ebpf.helpers import ktime_get_ns
from lbcore.ebpf.maps import B32, U64
from lbcore.wire import ethernet, ipv4
from lbcore.wire.seam import advance, view
from lbcore.wire.words import int64, word64

RATE, BURST = 100, 10
TOKEN = 1_000_000_000 // RATE
"""Nanoseconds in which one token comes in."""
FULL = BURST * TOKEN

buckets = maps.lru_hash("buckets", 65_536, key=B32, value=(U64, U64))
"""Source address -> (when it was looked at, what was in it then), both in nanoseconds."""


@xdp
def rate_limit(context: Any) -> int:
    p = view(context)
    link = ethernet.parse(p)
    if link.verdict or link.ethertype != ethernet.IPV4:
        return XDP_PASS
    ip = ipv4.parse(advance(p, link.header_length))
    if ip.verdict:
        return XDP_PASS
    now, credit = int64(ktime_get_ns()), FULL
    known, bucket = buckets.lookup(ip.source)
    if known:
        waited = now - int64(bucket[0])
        if waited < 0:  # another processor looked after this one had read the clock
            now, waited = int64(bucket[0]), 0
        if waited < FULL:
            credit = int64(bucket[1]) + waited
            credit = credit if credit < FULL else FULL
    verdict = XDP_DROP
    if credit >= TOKEN:
        credit, verdict = credit - TOKEN, XDP_PASS
    buckets.update(ip.source, (word64(now), word64(credit)))
    return verdict
