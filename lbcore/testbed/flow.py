"""The five numbers that name a flow, and their hash: all that a layer 4 balancer decides with.

Rule of this file: Ethernet, IPv4, TCP or UDP, and nothing behind the ports. The same source runs in Python and
compiled.

Theory. Protocol, two addresses and two ports are 13 bytes that do not change while a connection lives, so a hash of
them is the same for all of its packets, and two balancers that share the key pick alike without talking. They fit into
two 64-bit words.

Trap. A fragment behind the first has no ports, and IP options move them; both are answered with a verdict.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from lbcore.balance.hashes.siphash import siphash24_2words
from lbcore.wire import ethernet, ipv4
from lbcore.wire.portable import portable
from lbcore.wire.seam import advance, need, u16
from lbcore.wire.verdict import BAD_VERSION, OK, TRUNCATED
from lbcore.wire.words import word64

KEY = (0x0706050403020100, 0x0F0E0D0C0B0A0908)  # in use, random and secret; here the same for every reader


class Flow(NamedTuple):
    """Who talks to whom, in host integers; `verdict` is not OK where that cannot be read."""

    verdict: int
    protocol: int
    source: int
    destination: int
    source_port: int
    destination_port: int


@portable
def parse(p: Any) -> Flow:
    """The flow of the frame in view. Verdicts: those of the headers; BAD_VERSION for anything but IPv4;
    TRUNCATED where there are no ports."""
    eth = ethernet.parse(p)
    q = advance(p, eth.header_length)
    ip = ipv4.parse(q)
    r = advance(q, ip.header_length)
    verdict = eth.verdict
    if verdict == OK and eth.ethertype != ethernet.IPV4:
        verdict = BAD_VERSION
    if verdict == OK:
        verdict = ip.verdict
    if verdict == OK and (ip.fragment_offset != 0 or not need(r, 4)):
        verdict = TRUNCATED
    if verdict != OK:
        return Flow(verdict, 0, 0, 0, 0, 0)
    return Flow(OK, ip.protocol, ip.source, ip.destination, u16(r, 0), u16(r, 2))


@portable
def hash64(flow: Flow) -> int:
    """SipHash-2-4 of the five numbers: a 64-bit word."""
    addresses = word64(flow.source) << 32 | word64(flow.destination)
    ports = word64(flow.protocol) << 32 | word64(flow.source_port) << 16 | word64(flow.destination_port)
    return siphash24_2words(addresses, ports, word64(KEY[0]), word64(KEY[1]))
