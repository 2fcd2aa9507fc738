"""Random packets, made by scapy: the independent implementation that the parsers are held against."""

from __future__ import annotations

import ipaddress

from hypothesis import strategies as st
from scapy.layers.inet import ICMP, IP, TCP, UDP, IPOption_NOP, IPOption_Router_Alert, IPOption_RR, IPOption_Timestamp
from scapy.layers.inet6 import (
    ICMPv6EchoRequest,
    ICMPv6PacketTooBig,
    IPv6,
    IPv6ExtHdrDestOpt,
    IPv6ExtHdrFragment,
    IPv6ExtHdrHopByHop,
    IPv6ExtHdrRouting,
    PadN,
)
from scapy.layers.ipsec import AH
from scapy.layers.l2 import Dot1AD, Dot1Q, Ether
from scapy.packet import Packet, Raw


def number(bits: int) -> st.SearchStrategy[int]:
    """Of so many bits, the smallest and the largest often."""
    return st.integers(0, 2**bits - 1) | st.sampled_from([0, 1, 2**bits - 1])


macs = number(48).map(lambda n: n.to_bytes(6, "big").hex(":"))
addresses4 = number(32).map(lambda n: str(ipaddress.IPv4Address(n)))
addresses6 = number(128).map(lambda n: str(ipaddress.IPv6Address(n)))
payloads = st.binary(max_size=64)
# Well-known ports would have scapy take the payload for DNS, NTP and so on.
ports = st.integers(40000, 45000)

ip_options = st.lists(
    st.one_of(
        st.just(IPOption_NOP()),
        st.just(IPOption_Router_Alert()),
        st.lists(addresses4, min_size=1, max_size=2).map(lambda hops: IPOption_RR(routers=hops)),
        number(32).map(lambda t: IPOption_Timestamp(flg=0, timestamp=t)),
    ),
    max_size=2,
)
tcp_options = st.lists(
    st.one_of(
        st.just(("NOP", None)),
        number(16).map(lambda mss: ("MSS", mss)),
        number(8).map(lambda shift: ("WScale", shift)),
        st.just(("SAckOK", b"")),
        st.tuples(number(32), number(32)).map(lambda edges: ("SAck", edges)),
        st.tuples(number(32), number(32)).map(lambda times: ("Timestamp", times)),
    ),
    max_size=3,
)

tcps = st.builds(
    TCP,
    sport=ports,
    dport=ports,
    seq=number(32),
    ack=number(32),
    flags=number(8),
    window=number(16),
    urgptr=number(16),
    options=tcp_options,
)
udps = st.builds(UDP, sport=ports, dport=ports)
pings = st.builds(ICMP, type=st.sampled_from([0, 8]), code=number(8), id=number(16), seq=number(16))
data = payloads.map(lambda load: Raw(load) if load else None)


def _on(below: Packet, above: Packet | None) -> Packet:
    return below if above is None else below / above


segments = st.builds(_on, tcps | udps, data)
v4_parts = st.one_of(segments, st.builds(_on, pings, data))


@st.composite
def ipv4_packets(draw: st.DrawFn, inner: st.SearchStrategy[Packet] = v4_parts) -> Packet:
    fragment = draw(st.booleans()) and draw(st.booleans())
    header = IP(
        src=draw(addresses4),
        dst=draw(addresses4),
        tos=draw(number(8)),
        id=draw(number(16)),
        ttl=draw(number(8)),
        flags=draw(st.sampled_from(["DF", "MF", 0])) if fragment else draw(st.sampled_from(["DF", 0])),
        frag=draw(st.integers(0, 2**13 - 1)) if fragment else 0,
        options=draw(ip_options),
    )
    return header / draw(inner)


checksummed = st.one_of(
    st.integers(0, 12).map(lambda n: IPv6ExtHdrHopByHop(options=[PadN(optdata=bytes(n))])),
    st.integers(0, 12).map(lambda n: IPv6ExtHdrDestOpt(options=[PadN(optdata=bytes(n))])),
    st.lists(addresses6, max_size=2).map(lambda hops: IPv6ExtHdrRouting(addresses=hops, segleft=0)),
    st.builds(IPv6ExtHdrFragment, offset=st.just(0), m=st.integers(0, 1), id=number(32)),
)
"""Extension headers behind which scapy still computes checksums."""
sealed = st.builds(lambda spi, seq: AH(payloadlen=4, spi=spi, seq=seq, icv=bytes(range(12))), number(32), number(32))

NUMBERS = {
    IPv6ExtHdrHopByHop: 0,
    TCP: 6,
    UDP: 17,
    IPv6ExtHdrRouting: 43,
    IPv6ExtHdrFragment: 44,
    AH: 51,
    ICMPv6EchoRequest: 58,
    IPv6ExtHdrDestOpt: 60,
}
"""The protocol numbers, from IANA's registry: scapy does not know every pair of extension headers."""


@st.composite
def ipv6_packets(
    draw: st.DrawFn, most: int = 4, extensions: st.SearchStrategy[Packet] = checksummed | sealed
) -> Packet:
    packet = IPv6(
        src=draw(addresses6), dst=draw(addresses6), tc=draw(number(8)), fl=draw(number(20)), hlim=draw(number(8))
    )
    echo = st.builds(ICMPv6EchoRequest, id=number(16), seq=number(16), data=payloads)
    for part in [*draw(st.lists(extensions, max_size=most)), draw(segments | echo)]:
        packet.lastlayer().nh = NUMBERS[type(part)]
        packet = packet / part
    return packet


@st.composite
def frames(draw: st.DrawFn, inner: st.SearchStrategy[Packet] | None = None) -> Packet:
    link = Ether(src=draw(macs), dst=draw(macs))
    tag = {"prio": draw(number(3)), "vlan": draw(number(12))}
    tags = draw(st.sampled_from([(), (Dot1Q,), (Dot1AD, Dot1Q)]))
    for kind in tags:
        link = link / kind(**tag)
    return link / draw(ipv4_packets() | ipv6_packets() if inner is None else inner)


def too_big(packet: bytes, mtu: int, *, six: bool) -> bytes:
    """The frame that tells a sender of this packet about the path's MTU."""
    if six:
        return bytes(
            Ether(dst="02:00:00:00:00:02")
            / IPv6(src="2001:db8::9", dst="2001:db8::1")
            / ICMPv6PacketTooBig(mtu=mtu)
            / Raw(packet)
        )
    return bytes(
        Ether(dst="02:00:00:00:00:02")
        / IP(src="10.0.0.9", dst="10.0.0.1")
        / ICMP(type=3, code=4, nexthopmtu=mtu)
        / Raw(packet)
    )
