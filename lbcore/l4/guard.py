"""In front of the balancer, in the kernel: who is not let in. A block list, and a limit of new connections per source.

    with InKernel(config, guard=Guard(blocked=("198.18.0.0/15",), rate=100, burst=20)) as lb: ...

Rule of this file: it refuses; it never forwards. What is refused is dropped, and counted as LIMITED.

Theory. Dropping is cheapest before anything is looked up, remembered or rewritten, so this runs first. Each of the two
answers another flood. A block list answers one that has a sign, here the prefix it comes from. A limit answers one that
comes from few true addresses: a token bucket for each, of which every SYN takes a token (how a bucket drips, and what a
source is in IPv6: `ebpf.programs.rate_limit`). Packets of connections that exist cost nothing: a client who
downloads is not an attacker.

Neither answers a SYN flood from forged, random addresses: each is new, and blocks or limits nobody but the innocent
owner. That is what SYN cookies are for, and they are not here. Who sends a cookie has chosen the connection's first
sequence number, and the backend would choose another: every later packet would have to be translated, in both
directions, with a state for each connection. A balancer whose replies go past it (DSR, tunnels) does not even see
one of the two. The backends' kernels have had cookies all along (RFC 4987 section 3.6), and a SYN and its ACK come to
the same backend by the ring alone. (A proxy without state is possible if the backends' kernels are taught to accept its
cookies: bpf_sk_assign_tcp_reqsk.)

Traps. An address is what the sender wrote there: who blocks on what an attacker writes, blocks whom the attacker names.
Buckets are in an LRU hash, so a flood from forged addresses makes them forget, and who is forgotten starts anew. Many
clients behind one translated address share one bucket. An ICMP error is judged as its quoted flow's client, not as the
router that sent it.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lbcore.ebpf import maps
from lbcore.ebpf.helpers import ktime_get_ns
from lbcore.ebpf.maps import B128, U64
from lbcore.l4.config import BadConfig, words_of
from lbcore.l4.flow import SYN, parse
from lbcore.l4.reasons import NOT_IP
from lbcore.wire.portable import portable
from lbcore.wire.seam import view
from lbcore.wire.words import int64, word64

BLOCKED = maps.lpm_trie("blocked", 10_000, key=B128)
"""Prefix of an IPv6 or IPv4-mapped address -> 1 (blocked) or 0 (an exception within a longer one)."""
LIMIT = maps.array("limit", 1, (U64, U64))
"""Nanoseconds in which a token comes in (0: no limit), and what a full bucket holds."""
BUCKETS = maps.lru_hash("buckets", 65_536, key=B128, value=(U64, U64))
"""Source -> when it was looked at, and what was in it then, both in nanoseconds."""


@dataclass(frozen=True)
class Guard:
    """blocked: prefixes such as "198.18.0.0/15"; allowed: longer ones within them. rate: SYNs a second that a source
    may send, 0 for any number; burst: how many at once after a pause. A source is an IPv4 address or an IPv6 /64."""

    blocked: Sequence[str] = ()
    allowed: Sequence[str] = ()
    rate: int = 0
    burst: int = 10


@portable
def refused(context: Any) -> bool:
    """Is this packet's source blocked, or does it open more connections than it may?"""
    flow = parse(view(context))
    if flow.reason == NOT_IP:
        return False
    found, blocked = BLOCKED.lookup((128, flow.source_high, flow.source_low))
    if found and blocked:
        return True
    if not flow.flags & SYN:
        return False
    mapped = flow.source_high == word64(0)
    return not spend(flow.source_high, flow.source_low if mapped else word64(0))


@portable
def spend(high: int, low: int) -> bool:
    """Take a token from a source's bucket; False if there is none."""
    limit = LIMIT.lookup(0)[1]
    token, full = int64(limit[0]), int64(limit[1])
    if token == 0:
        return True
    now, credit = int64(ktime_get_ns()), full
    known, bucket = BUCKETS.lookup((high, low))
    if known:
        waited = now - int64(bucket[0])
        if waited < 0:  # another processor looked after this one had read the clock
            now, waited = int64(bucket[0]), 0
        credit = int64(bucket[1]) + waited
        credit = credit if credit < full else full
    enough = credit >= token
    BUCKETS.update((high, low), (word64(now), word64(credit - token if enough else credit)))
    return enough


def check(guard: Guard) -> None:
    """BadConfig unless all of it can be."""
    if not 0 <= guard.rate <= 1_000_000_000:
        raise BadConfig(f"rate {guard.rate}: SYNs a second from one source, 0 (any number) to 1000000000")
    if not 1 <= guard.burst <= 1_000_000:
        raise BadConfig(f"burst {guard.burst}: SYNs at once from one source, 1 to 1000000")
    for prefix in (*guard.blocked, *guard.allowed):
        try:
            ipaddress.ip_network(prefix)
        except ValueError as error:
            raise BadConfig(f"prefix {prefix!r}: {error}; such as 198.18.0.0/15 or 2001:db8::/32") from None


def fill(target: Mapping[str, Any], guard: Guard) -> None:
    """Write a guard into a program's maps (the kernel's or the machine's)."""
    token = 1_000_000_000 // guard.rate if guard.rate else 0
    target["limit"][LIMIT.key.pack(0)] = LIMIT.value.pack((token, guard.burst * token))
    for blocked, prefixes in ((1, guard.blocked), (0, guard.allowed)):
        for prefix in prefixes:
            net = ipaddress.ip_network(prefix)
            length = net.prefixlen + (96 if net.version == 4 else 0)
            key = BLOCKED.key.pack((length, *words_of(str(net.network_address))))
            target["blocked"][key] = BLOCKED.value.pack(blocked)
