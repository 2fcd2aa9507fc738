"""Packets of the XDP lab, each with a name that a hint can use.

Rule of this file: it makes packets; what is to become of them, it does not know.

Theory. A program reads bytes at offsets, so what can go wrong is in the places where offsets move or bytes are missing:
tags, options, fragments, packets that end too early. A packet cut at every length is the test that no unchecked access
survives.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any

from lbcore.wire.compose import icmp_frame, tcp_frame, udp_frame

OPTIONS = bytes([1] * 8)
"""Eight bytes of IPv4 options that say nothing: what follows starts at 28, not at 20."""
ARP = bytes.fromhex("ffffffffffff020000000001080600010800060400010200000000010a0000010000000000000a000009")


@dataclass(frozen=True)
class Packet:
    """A frame under a name. `cut`: it ends before what the exercise wants to read, so it is to be left alone."""

    name: str
    frame: bytes
    cut: bool = False

    def __repr__(self) -> str:
        return f"{self.name} ({len(self.frame)} bytes)"


@dataclass(frozen=True)
class Traffic:
    """Packets in the order in which they come. `apart`: each meets a program that has seen no other."""

    packets: tuple[Packet, ...]
    apart: bool = False

    def __repr__(self) -> str:
        return str(self.packets[0]) if len(self.packets) == 1 else f"{len(self.packets)} packets"


def udp(name: str, **fields: Any) -> Packet:
    """A UDP packet; fields as in `lbcore.wire.compose.udp_frame`."""
    return Packet(name, udp_frame(**{"payload": b"who is there?", **fields}))


def tcp(name: str, **fields: Any) -> Packet:
    """A TCP packet."""
    return Packet(name, tcp_frame(**fields))


def icmp(name: str, **fields: Any) -> Packet:
    """An echo request."""
    return Packet(name, icmp_frame(**fields))


def cuts(packet: Packet, end: int) -> Iterator[Packet]:
    """The packet cut to every length below `end`, the longest first: the smallest step over the edge shows best."""
    for length in range(end - 1, -1, -1):
        yield Packet(f"{packet.name}, cut short", packet.frame[:length], cut=True)


def each(*packets: Packet) -> Iterator[Traffic]:
    """Every packet on its own."""
    return (Traffic((packet,)) for packet in packets)


def address(text: str) -> int:
    """An IP address as a number."""
    return int(ip_address(text))


def mac(text: str) -> int:
    """A hardware address as a number."""
    return int(text.replace(":", ""), 16)


def mac_text(number: int) -> str:
    """A number as a hardware address."""
    return number.to_bytes(6, "big").hex(":")


ASSORTED = (
    udp("UDP to port 53"),
    tcp("TCP to port 80"),
    icmp("ICMP, a ping"),
    Packet("ARP, a question", ARP),
    udp("UDP over IPv6", source="[2001:db8::1]:40000", destination="[2001:db8::9]:53"),
    tcp("TCP over IPv6", source="[2001:db8::1]:40000", destination="[2001:db8::9]:443"),
    udp("UDP in VLAN 5", vlan=5),
    udp("UDP over IPv6 in VLAN 5", source="[2001:db8::1]:40000", destination="[2001:db8::9]:53", vlan=5),
    tcp("TCP behind IPv4 options", ip_options=OPTIONS),
)
"""One of each kind that a network shows you on its first day."""
