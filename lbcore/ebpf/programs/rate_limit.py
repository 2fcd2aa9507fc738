"""Each source may send RATE packets a second, and BURST at once after a pause; what is more is dropped.

Theory. A token bucket: tokens drip in at a fixed rate, at most BURST are kept, each packet takes one. Nothing drips
while nobody looks: the bucket holds when it was last looked at, and what would have come in since is added then. Tokens
are counted in nanoseconds of waiting, so there is no division and nothing is rounded away.

Who is a source? In IPv4 an address. In IPv6 a /64, for a site is given at least that (RFC 6177): whoever owns one may
send each packet from another of its 2**64 addresses, and with a bucket each would never meet a limit. Both share one
table, whose keys read as IPv6 addresses: 2001:db8:0:7:: is a prefix, ::ffff:10.0.0.1 (RFC 4291 section 2.5.5.2) an
IPv4 host. No prefix has anything in its last 64 bits, so nobody can empty a bucket of the other family.

Traps. Buckets are in an LRU hash: a flood from forged addresses pushes others out, and who is forgotten starts with a
full bucket. Two processors that look at one bucket at once may both take the last token: the limit is near, not exact.
An exact one needs a lock, which costs more than the packet that slips through. And IP that cannot be read has no
source, so it is dropped: else it would be the flood that has no limit. What is not IP, ARP above all, passes.
"""

from __future__ import annotations

from typing import Any

from lbcore.ebpf import maps
from lbcore.ebpf.compiler import xdp
from lbcore.ebpf.contexts import XDP_DROP, XDP_PASS
from lbcore.ebpf.helpers import ktime_get_ns
from lbcore.ebpf.maps import B128, U64
from lbcore.wire import ethernet, ipv4, ipv6
from lbcore.wire.portable import portable
from lbcore.wire.seam import View, advance, view
from lbcore.wire.words import int64, word64

RATE, BURST = 100, 10
TOKEN = 1_000_000_000 // RATE
"""Nanoseconds in which one token comes in."""
FULL = BURST * TOKEN
MAPPED = 0xFFFF << 32
"""With an IPv4 address behind it: the low word of its IPv4-mapped IPv6 address."""

buckets = maps.lru_hash("buckets", 65_536, key=B128, value={"seen": U64, "credit": U64})
"""Source, as a 128-bit address -> (when it was looked at, what was in it then), both in nanoseconds."""


@portable
def source_of(p: View, ethertype: int) -> tuple[bool, int, int]:
    """Whether the IP header can be read, and the two words of the source's key."""
    if ethertype == ethernet.IPV4:
        ip = ipv4.parse(p)
        return ip.verdict == 0, word64(0), word64(MAPPED | ip.source)
    six = ipv6.parse(p)
    return six.verdict == 0, six.source_high, word64(0)


@xdp
def rate_limit(context: Any) -> int:
    p = view(context)
    link = ethernet.parse(p)
    if link.verdict:
        return XDP_DROP
    if link.ethertype not in (ethernet.IPV4, ethernet.IPV6):
        return XDP_PASS
    readable, high, low = source_of(advance(p, link.header_length), link.ethertype)
    if not readable:
        return XDP_DROP
    now, credit = int64(ktime_get_ns()), FULL
    bucket = buckets.find((high, low))
    if bucket:
        waited = now - int64(bucket.seen)
        if waited < 0:  # another processor looked after this one had read the clock
            now, waited = int64(bucket.seen), 0
        if waited < FULL:
            credit = int64(bucket.credit) + waited
            credit = credit if credit < FULL else FULL
    verdict = XDP_DROP
    if credit >= TOKEN:
        credit, verdict = credit - TOKEN, XDP_PASS
    if bucket:
        bucket.seen, bucket.credit = word64(now), word64(credit)
    else:
        buckets.update((high, low), (word64(now), word64(credit)))
    return verdict
