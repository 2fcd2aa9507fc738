"""Frames as a balancer meets them: clients' flows, strangers' packets, errors about both, and damage. Made by scapy."""

from __future__ import annotations

from functools import cache
from random import Random

from scapy.layers.inet import ICMP, IP, TCP, UDP, ICMPerror, IPerror, IPOption_NOP, TCPerror, UDPerror  # noqa: F401
from scapy.layers.inet6 import (
    ICMPv6EchoRequest,
    ICMPv6PacketTooBig,
    ICMPv6TimeExceeded,
    IPv6,
    IPv6ExtHdrDestOpt,
    IPv6ExtHdrFragment,
)
from scapy.layers.l2 import ARP, Dot1Q, Ether
from scapy.packet import Raw

from lbcore.l4 import flags
from lbcore.l4.config import Backend, Config, Service

VIP4, VIP6, OTHER4, OTHER6 = "203.0.113.80", "2001:db8:80::1", "203.0.113.9", "2001:db8:80::9"
BACKENDS4 = tuple(Backend(f"10.0.0.{i}", 8080 if i % 2 else 0, f"02:00:00:00:00:{i:02x}") for i in range(1, 6))
BACKENDS6 = tuple(Backend(f"2001:db8::{i}", 0, f"02:00:00:00:00:{i:02x}" if i % 2 else "") for i in range(1, 6))


def config(mode, **more):
    """Services of every flavour in one mode."""
    across = (BACKENDS4, BACKENDS6) if mode in ("nat", "full_nat") else (BACKENDS6, BACKENDS4)
    services = [
        Service(VIP4, 80, "tcp", mode, BACKENDS4),
        Service(VIP6, 80, "tcp", mode, BACKENDS6),
        Service(VIP4, 53, "udp", mode, across[0]),
        Service(VIP6, 53, "udp", mode, across[1]),
        Service(VIP4, 443, "udp", mode, BACKENDS4, flags.QUIC),
        Service(OTHER4, 0, "tcp", mode, BACKENDS4),
        Service(OTHER4, 99, "udp", mode, BACKENDS4, flags.BY_DESTINATION_PORT),
        Service(OTHER6, 0, "udp", mode, BACKENDS6, flags.IGNORE_SOURCE_PORT),
        Service(OTHER6, 81, "tcp", mode, ()),
    ]
    return Config(
        services,
        gateway="02:00:00:00:00:fe",
        source4="10.0.0.100",
        source6="2001:db8::100",
        server_ids={7: "10.0.0.3", 70_000: "10.0.0.4"},
        **more,
    )


CONFIGS = {
    "dsr": config("dsr"),
    "ipip": config("ipip", spread4="172.16", spread6="100::"),
    "ipip_plain": config("ipip"),
    "gre": config("gre"),
    "gue": config("gue"),
    "nat": config("nat", ethernet="02:00:00:00:00:aa"),
    "full_nat": config("full_nat"),
    "jet": config("ipip", horizon=("10.0.0.1", "2001:db8::1"), ethernet="02:00:00:00:00:aa"),
}


def quic(random):
    """A QUIC-like datagram: long or short header, with and without a server id that is known."""
    identity = random.choice((b"\x40\x01\xc0", b"\x80\x01\x11\x70", b"\xc0\0\0\0\x07", b"\x00", b"\x40\xff\xff"))
    cid = identity.ljust(8, b"\x33")
    first = random.choice((0x40, 0xC0, 0xD0, 0xE0))
    return bytes([first]) + (b"\0\0\0\1" + bytes([len(cid)]) if first & 0x80 else b"") + cid + b"data"


def client_packet(random):
    """A packet of one of few flows, so that they meet again."""
    six = random.random() < 0.4
    vip = random.choice((VIP6, VIP6, OTHER6, "2001:db8:80::77") if six else (VIP4, VIP4, VIP4, OTHER4, "198.51.100.9"))
    client = f"2001:db8:c::{random.randrange(1, 9)}" if six else f"198.51.100.{random.randrange(1, 9)}"
    port = random.choice((1234, 5555, 40_000, 65_000))
    ip = (
        IPv6(src=client, dst=vip, hlim=random.choice((64, 64, 64, 1, 0)), tc=random.choice((0, 0xB8)))
        if six
        else IP(
            src=client,
            dst=vip,
            ttl=random.choice((64, 64, 64, 1, 0)),
            tos=random.choice((0, 0x2E)),
            id=random.randrange(99),
        )
    )
    kind = random.random()
    data = Raw(random.randbytes(random.choice((0, 1, 7, 40, 300))))
    if kind < 0.5:
        to = random.choice((80, 80, 80, 81, 8443))
        rest = TCP(sport=port, dport=to, flags=random.choice(("S", "A", "A", "PA", "FA", "R", "SA"))) / data
    elif kind < 0.8:
        rest = (
            UDP(sport=port, dport=random.choice((53, 99, 1000)), **random.choice(({}, {} if six else {"chksum": 0})))
            / data
        )
    elif kind < 0.9:
        rest = UDP(sport=port, dport=443) / Raw(quic(random))
    elif kind < 0.95:
        rest = ICMPv6EchoRequest(id=1, data=b"hello") if six else ICMP(type=8, id=1) / b"hello"
    else:
        inner = TCP(sport=80, dport=port, seq=7) / data if random.random() < 0.6 else UDP(sport=53, dport=port) / data
        if six:
            error = random.choice((ICMPv6PacketTooBig(mtu=1280), ICMPv6TimeExceeded()))
            rest = error / Raw(bytes(IPv6(src=vip, dst=client) / inner))
        else:
            rest = ICMP(type=random.choice((3, 11, 5, 12)), code=4) / Raw(
                bytes(IP(src=vip, dst=client) / inner)[: random.choice((28, 60))]
            )
        if random.random() < 0.5:
            ip.src = "2001:db8:f::1" if six else "192.0.2.1"
    if six and random.random() < 0.1:
        rest = random.choice((IPv6ExtHdrDestOpt(), IPv6ExtHdrFragment(m=1), IPv6ExtHdrFragment())) / rest
    elif not six and random.random() < 0.06:
        if random.random() < 0.5:
            ip.options = [IPOption_NOP()] * 4
        else:
            ip.flags, ip.frag = random.choice((("MF", 0), ("", 100), ("MF", 7)))
    to = "02:00:00:00:00:aa" if random.random() < 0.97 else random.choice(("02:00:00:00:00:ab", "ff:ff:ff:ff:ff:ff"))
    link = Ether(src=f"02:00:00:00:01:{random.randrange(1, 9):02x}", dst=to)
    tags = random.choice((0, 0, 0, 0, 1, 2))
    for tag in range(tags):
        link /= Dot1Q(vlan=100 + tag)
    return bytes(link / ip / rest)


def damaged(random, frame):
    """The same with bytes changed, or cut short; at least an Ethernet header is left."""
    changed = bytearray(frame)
    if random.random() < 0.4:
        del changed[random.randrange(14, len(changed) + 1) :]
    for _ in range(random.choice((0, 1, 1, 2))):
        changed[random.randrange(min(len(changed), 80))] = random.choice(
            (0, 1, 6, 17, 0x45, 0x46, random.randrange(256))
        )
    return bytes(changed)


def answered(random, frame):
    """A backend's answer to a forwarded frame, or a router's error about it; None where it is no plain packet."""
    packet = Ether(frame)
    ip = packet.getlayer(IP) or packet.getlayer(IPv6)
    transport = ip.payload if ip is not None else None
    if not isinstance(transport, TCP | UDP):
        return None
    back = type(ip)(src=ip.dst, dst=ip.src)
    link = Ether(src=packet.dst, dst="02:00:00:00:00:aa")
    if random.random() < 0.2:
        quote = Raw(bytes(ip)[: random.choice((48, 100))])
        if isinstance(ip, IPv6):
            return bytes(link / back / ICMPv6PacketTooBig(mtu=1300) / quote)
        if random.random() < 0.5:
            back.src = "10.0.0.254"
        return bytes(link / back / ICMP(type=3, code=4) / quote)
    answer = type(transport)(sport=transport.dport, dport=transport.sport)
    return bytes(link / back / answer / Raw(random.randbytes(random.choice((0, 5, 200)))))


@cache
def frames(count=1500, seed=1):
    """A pool of frames, some of them damaged; the first seven are one of each rare kind."""
    random = Random(seed)
    here = Ether(src="02:00:00:00:01:01", dst="02:00:00:00:00:aa")
    made = [
        bytes(here / ARP()),
        bytes(here / IP(src="198.51.100.1", dst=VIP4) / UDP(sport=9, dport=53) / Raw(bytes(1600))),
        bytes(here / IPv6(src="2001:db8:c::1", dst=OTHER6) / TCP(sport=9, dport=81, flags="S")),
        bytes(here / IP(src="198.51.100.1", dst=VIP4, ihl=4, len=40) / TCP(sport=9, dport=80)),
        bytes(here / IP(src="198.51.100.1", dst=VIP4) / TCP(sport=9, dport=80))[:40],
        bytes(here / IP(src="198.51.100.1", dst=VIP4, len=30) / TCP(sport=9, dport=80)),
        bytes(here / IP(src="198.51.100.1", dst=VIP4) / ICMP(type=8, id=1) / b"ping"),
    ]
    while len(made) < count:
        frame = client_packet(random)
        made.append(damaged(random, frame) if random.random() < 0.15 else frame)
    return made
