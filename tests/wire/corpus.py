"""Frames of every kind the parsers know, to be cut and spoiled."""

from __future__ import annotations

from scapy.layers.inet import TCP, UDP
from scapy.layers.inet6 import (
    ICMPv6EchoRequest,
    IPv6,
    IPv6ExtHdrDestOpt,
    IPv6ExtHdrFragment,
    IPv6ExtHdrHopByHop,
    IPv6ExtHdrRouting,
    PadN,
)
from scapy.layers.ipsec import AH
from scapy.layers.l2 import ARP, Ether
from scapy.packet import Raw

from lbcore.wire import compose, ethernet, icmp, ipv4, ipv6, tcp
from lbcore.wire.seam import Frame, advance, set16, view
from tests.wire.packets import too_big

_TIMESTAMP = bytes([68, 8, 5, 0, 0, 0, 0, 9])
_TCP_OPTIONS = bytes([2, 4, 5, 0xB4, 4, 2, 8, 10, 0, 0, 0, 1, 0, 0, 0, 2, 1, 3, 3, 7])
_LINK = Ether(src="02:00:00:00:00:01", dst="02:00:00:00:00:02")
_IPV6 = IPv6(src="2001:db8::1", dst="2001:db8::2")
_SEGMENT = compose.tcp_frame(payload=b"GET / HTTP/1.1\r\n\r\n", flags=tcp.PSH | tcp.ACK)

FRAMES = [
    _SEGMENT,
    compose.tcp_frame(options=_TCP_OPTIONS, ip_options=_TIMESTAMP, vlan=(7, 8), payload=b"odd"),
    compose.tcp_frame(source="[2001:db8::1]:40000", destination="[2001:db8::2]:443", options=_TCP_OPTIONS),
    compose.udp_frame(payload=b"to be continued"),
    compose.udp_frame(source="[::1]:53", destination="[::2]:53", payload=b"12345", vlan=9),
    compose.udp_frame(fragment_offset=1480, payload=b"the middle of something"),
    compose.icmp_frame(payload=b"ping") + bytes(14),
    compose.icmp_frame(source="2001:db8::1", destination="2001:db8::2", payload=b"ping"),
    compose.icmp_frame(type=icmp.UNREACHABLE, code=icmp.FRAGMENTATION_NEEDED, sequence=1400, payload=_SEGMENT[14:42]),
    too_big(compose.tcp_frame(source="[::1]:1", destination="[::2]:2")[14:], 1280, six=True),
    compose.ip_frame(protocol=4, payload=_SEGMENT[14:]),
    compose.ip_frame(protocol=132, payload=b"sctp"),
    bytes(_LINK / ARP(pdst="10.0.0.2", psrc="10.0.0.1", hwsrc="02:00:00:00:00:01")) + bytes(18),
    bytes(
        _LINK
        / _IPV6
        / IPv6ExtHdrHopByHop(options=[PadN(optdata=bytes(4))])
        / IPv6ExtHdrDestOpt(options=[PadN(optdata=bytes(12))])
        / IPv6ExtHdrRouting(addresses=["2001:db8::3"], segleft=0)
        / IPv6ExtHdrFragment(m=1, id=7, nh=51)
        / AH(nh=6, payloadlen=4, spi=1, seq=2, icv=bytes(12))
        / TCP(sport=40000, dport=80)
    ),
    bytes(_LINK / _IPV6 / IPv6ExtHdrFragment(m=0, id=7) / UDP(sport=1, dport=2) / Raw(b"whole")),
    bytes(_LINK / _IPV6 / IPv6ExtHdrFragment(offset=185, id=7, nh=17) / Raw(b"the end of something")),
    bytes(_LINK / _IPV6 / IPv6ExtHdrRouting(addresses=["::3"], segleft=1) / ICMPv6EchoRequest()),
]


def cut(frame: bytes, length: int) -> bytes:
    """The first `length` bytes of a frame, with the length in its IP header put right: a parser reads on to the cut."""
    short = Frame(frame[:length])
    p = view(short)
    link = ethernet.parse(p)
    ip, left = advance(p, link.header_length), length - link.header_length
    if link.ethertype == ethernet.IPV4 and left >= ipv4.LENGTH:
        set16(ip, 2, left)
    if link.ethertype == ethernet.IPV6 and left >= ipv6.LENGTH:
        set16(ip, 4, left - ipv6.LENGTH)
    return bytes(short)
