"""What the bits of each header are called and how people read them: one table per protocol.

Rule of this file: a table lists every bit of its header in wire order, as (name, bits, text). Names are those of the
parsers' `Header` where both have the field. `text(value, bits)` says what the value means; REST bits reach to the
layer's end. Nothing here walks a packet: `dissect` does.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Mapping

from lbcore.wire import ethernet, icmp, ipv4, ipv6, tcp

Text = Callable[[int, int], str]
Table = tuple[tuple[str, int, Text], ...]
REST = 0


def plain(value: int, bits: int) -> str:
    return str(value)


def hexadecimal(value: int, bits: int) -> str:
    return f"0x{value:0{bits // 4}x}"


def quantity(unit: str, scale: int = 1) -> Text:
    """A number of `unit`, counted on the wire in steps of `scale`."""
    return lambda value, bits: f"{value * scale} {unit}"


def named(names: Mapping[int, str]) -> Text:
    """A number and, where it has one, its name."""
    return lambda value, bits: f"{value} ({names[value]})" if value in names else str(value)


def flag(value: int, bits: int) -> str:
    return "yes" if value else "no"


def mac(value: int, bits: int) -> str:
    return value.to_bytes(6, "big").hex(":")


def address4(value: int, bits: int) -> str:
    return str(ipaddress.IPv4Address(value))


def address6(value: int, bits: int) -> str:
    return str(ipaddress.IPv6Address(value))


def tcp_flags(value: int, bits: int) -> str:
    return " ".join(name for bit, name in enumerate(tcp.FLAG_NAMES) if value >> bit & 1) or "none"


def ether_type(value: int, bits: int) -> str:
    if value <= 1500:
        return f"{value} bytes (an 802.3 length)"
    return f"0x{value:04x}" + (f" ({ETHERTYPES[value]})" if value in ETHERTYPES else "")


def content(value: int, bits: int) -> str:
    """The beginning of some data: as text if that is what it seems to be, else in hexadecimal."""
    data = value.to_bytes(bits // 8, "big")
    is_text = all(32 <= byte < 127 or byte in b"\t\r\n" for byte in data[:48])
    shown = 48 if is_text else 16
    start = data[:shown].decode().encode("unicode_escape").decode() if is_text else data[:shown].hex(" ")
    return start + " …" if len(data) > shown else start


ETHERTYPES = {
    ethernet.IPV4: "IPv4",
    ethernet.ARP: "ARP",
    ethernet.IPV6: "IPv6",
    ethernet.VLAN: "VLAN tag",
    ethernet.PROVIDER_VLAN: "provider's VLAN tag",
}
PROTOCOLS = {
    ipv6.HOP_BY_HOP: "hop-by-hop options",
    ipv4.ICMP: "ICMP",
    2: "IGMP",
    ipv4.IPIP: "IPv4",
    ipv4.TCP: "TCP",
    ipv4.UDP: "UDP",
    ipv4.IPV6: "IPv6",
    ipv6.ROUTING: "routing header",
    ipv6.FRAGMENT: "fragment header",
    ipv4.GRE: "GRE",
    ipv6.ESP: "ESP",
    ipv6.AUTHENTICATION: "authentication header",
    ipv6.ICMP: "ICMPv6",
    ipv6.NO_NEXT: "nothing",
    ipv6.DESTINATION: "destination options",
    89: "OSPF",
    112: "VRRP",
    132: "SCTP",
    ipv6.MOBILITY: "mobility header",
    ipv6.HIP: "host identity header",
    ipv6.SHIM6: "shim6 header",
}
protocol = named(PROTOCOLS)
ECN = {0: "not capable", 1: "ECT(1)", 2: "ECT(0)", 3: "congestion experienced"}

ETHERNET: Table = (("destination", 48, mac), ("source", 48, mac), ("ethertype", 16, ether_type))
VLAN: Table = (
    ("priority", 3, plain),
    ("drop_eligible", 1, flag),
    ("vlan_id", 12, plain),
    ("ethertype", 16, ether_type),
)
ARP: Table = (
    ("hardware_type", 16, named({1: "Ethernet"})),
    ("protocol_type", 16, ether_type),
    ("hardware_length", 8, quantity("bytes")),
    ("protocol_length", 8, quantity("bytes")),
    ("operation", 16, named({1: "request", 2: "reply"})),
    ("sender_mac", 48, mac),
    ("sender_address", 32, address4),
    ("target_mac", 48, mac),
    ("target_address", 32, address4),
)
GRE: Table = (
    ("checksum_present", 1, flag),
    ("reserved", 12, plain),
    ("version", 3, plain),
    ("protocol", 16, ether_type),
)
IPV4: Table = (
    ("version", 4, plain),
    ("header_length", 4, quantity("bytes", 4)),
    ("dscp", 6, plain),
    ("ecn", 2, named(ECN)),
    ("total_length", 16, quantity("bytes")),
    ("identification", 16, hexadecimal),
    ("reserved", 1, plain),
    ("dont_fragment", 1, flag),
    ("more_fragments", 1, flag),
    ("fragment_offset", 13, quantity("bytes", 8)),
    ("ttl", 8, plain),
    ("protocol", 8, protocol),
    ("checksum", 16, hexadecimal),
    ("source", 32, address4),
    ("destination", 32, address4),
)
IPV6: Table = (
    ("version", 4, plain),
    ("dscp", 6, plain),
    ("ecn", 2, named(ECN)),
    ("flow_label", 20, lambda value, bits: f"0x{value:05x}"),
    ("payload_length", 16, quantity("bytes")),
    ("next_header", 8, protocol),
    ("hop_limit", 8, plain),
    ("source", 128, address6),
    ("destination", 128, address6),
)
_NEXT = ("next_header", 8, protocol)
_LENGTH = ("length", 8, lambda value, bits: f"{value * 8 + 8} bytes")
OPTIONS: Table = (_NEXT, _LENGTH, ("options", REST, content))
ROUTING: Table = (_NEXT, _LENGTH, ("type", 8, plain), ("segments_left", 8, plain), ("data", REST, content))
FRAGMENT: Table = (
    _NEXT,
    ("reserved", 8, plain),
    ("fragment_offset", 13, quantity("bytes", 8)),
    ("reserved_2", 2, plain),
    ("more_fragments", 1, flag),
    ("identification", 32, hexadecimal),
)
AUTHENTICATION: Table = (
    _NEXT,
    ("length", 8, lambda value, bits: f"{value * 4 + 8} bytes"),
    ("reserved", 16, plain),
    ("security_parameters_index", 32, hexadecimal),
    ("sequence", 32, plain),
    ("integrity_check", REST, content),
)
EXTENSIONS = {
    ipv6.HOP_BY_HOP: OPTIONS,
    ipv6.ROUTING: ROUTING,
    ipv6.FRAGMENT: FRAGMENT,
    ipv6.AUTHENTICATION: AUTHENTICATION,
    ipv6.DESTINATION: OPTIONS,
    ipv6.MOBILITY: OPTIONS,
    ipv6.HIP: OPTIONS,
    ipv6.SHIM6: OPTIONS,
}
"""By protocol number; a layer is called what PROTOCOLS calls the number."""
TCP: Table = (
    ("source_port", 16, plain),
    ("destination_port", 16, plain),
    ("sequence", 32, plain),
    ("acknowledgment", 32, plain),
    ("header_length", 4, quantity("bytes", 4)),
    ("reserved", 4, plain),
    ("flags", 8, tcp_flags),
    ("window", 16, plain),
    ("checksum", 16, hexadecimal),
    ("urgent", 16, plain),
)
UDP: Table = (
    ("source_port", 16, plain),
    ("destination_port", 16, plain),
    ("total_length", 16, quantity("bytes")),
    ("checksum", 16, hexadecimal),
)
PAYLOAD: Table = (("data", REST, content),)

ICMP_TYPES = {
    icmp.ECHO_REPLY: "echo reply",
    icmp.UNREACHABLE: "destination unreachable",
    icmp.SOURCE_QUENCH: "source quench",
    icmp.REDIRECT: "redirect",
    icmp.ECHO: "echo request",
    icmp.TIME_EXCEEDED: "time exceeded",
    icmp.PARAMETER: "parameter problem",
}
ICMP6_TYPES = {
    icmp.UNREACHABLE6: "destination unreachable",
    icmp.TOO_BIG6: "packet too big",
    icmp.TIME_EXCEEDED6: "time exceeded",
    icmp.PARAMETER6: "parameter problem",
    icmp.ECHO6: "echo request",
    icmp.ECHO_REPLY6: "echo reply",
    133: "router solicitation",
    134: "router advertisement",
    135: "neighbour solicitation",
    136: "neighbour advertisement",
}
ICMP_CODES = {
    (icmp.UNREACHABLE, 0): "network unreachable",
    (icmp.UNREACHABLE, 1): "host unreachable",
    (icmp.UNREACHABLE, 2): "protocol unreachable",
    (icmp.UNREACHABLE, 3): "port unreachable",
    (icmp.UNREACHABLE, icmp.FRAGMENTATION_NEEDED): "fragmentation needed",
    (icmp.UNREACHABLE, 13): "administratively prohibited",
    (icmp.TIME_EXCEEDED, 0): "TTL ran out on the way",
    (icmp.TIME_EXCEEDED, 1): "reassembly took too long",
}
ICMP6_CODES = {
    (icmp.UNREACHABLE6, 0): "no route",
    (icmp.UNREACHABLE6, 1): "administratively prohibited",
    (icmp.UNREACHABLE6, 3): "address unreachable",
    (icmp.UNREACHABLE6, 4): "port unreachable",
    (icmp.TIME_EXCEEDED6, 0): "hop limit ran out on the way",
    (icmp.TIME_EXCEEDED6, 1): "reassembly took too long",
}
_ECHO: Table = (("identifier", 16, plain), ("sequence", 16, plain))
_UNUSED: Table = (("unused", 32, hexadecimal),)
_MTU: Table = (("unused", 16, hexadecimal), ("next_hop_mtu", 16, quantity("bytes")))
ICMP_TAILS = {
    icmp.ECHO: _ECHO,
    icmp.ECHO_REPLY: _ECHO,
    icmp.UNREACHABLE: _MTU,
    icmp.REDIRECT: (("gateway", 32, address4),),
    icmp.PARAMETER: (("pointer", 8, plain), ("unused", 24, hexadecimal)),
}
ICMP6_TAILS = {
    icmp.ECHO6: _ECHO,
    icmp.ECHO_REPLY6: _ECHO,
    icmp.TOO_BIG6: (("mtu", 32, quantity("bytes")),),
    icmp.PARAMETER6: (("pointer", 32, plain),),
}


def icmp_table(type: int, *, six: bool) -> Table:
    """The table of an ICMP message: what its last four bytes hold, and what its code means, depends on the type."""
    types, codes, tails = (ICMP6_TYPES, ICMP6_CODES, ICMP6_TAILS) if six else (ICMP_TYPES, ICMP_CODES, ICMP_TAILS)
    code = named({code: text for (of, code), text in codes.items() if of == type})
    return (("type", 8, named(types)), ("code", 8, code), ("checksum", 16, hexadecimal), *tails.get(type, _UNUSED))


def sack(value: int, bits: int) -> str:
    edges = [value >> at & 0xFFFFFFFF for at in range(bits - 32, -1, -32)]
    return ", ".join(f"{left} to {right}" for left, right in zip(edges[::2], edges[1::2], strict=False))


def timestamps(value: int, bits: int) -> str:
    return f"sent {value >> 32}, echoes {value & 0xFFFFFFFF}"


def nothing(value: int, bits: int) -> str:
    return ""


Options = Mapping[int, tuple[str, int | None, Text]]
"""By kind: name, the option's one right length in bytes (None: it varies), text of the value behind kind and length."""
_FILL: Options = {0: ("end_of_options", 1, nothing), 1: ("no_operation", 1, nothing)}
IPV4_OPTIONS: Options = {
    **_FILL,
    7: ("record_route", None, content),
    68: ("timestamp", None, content),
    130: ("security", None, content),
    131: ("loose_source_route", None, content),
    137: ("strict_source_route", None, content),
    148: ("router_alert", 4, plain),
}
TCP_OPTIONS: Options = {
    **_FILL,
    2: ("maximum_segment_size", 4, quantity("bytes")),
    3: ("window_scale", 3, lambda value, bits: f"times {1 << min(value, 14)}"),
    4: ("sack_permitted", 2, nothing),
    5: ("sack", None, sack),
    8: ("timestamps", 10, timestamps),
    30: ("multipath", None, content),
    34: ("fast_open", None, content),
}
