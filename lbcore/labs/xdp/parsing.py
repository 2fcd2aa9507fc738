"""Rung 4: find the destination port behind tags and options.

Rule of this file: the specification, by scapy, and known mistakes: a walk over the headers with one thing wrong.
"""

from __future__ import annotations

from random import Random
from typing import Any

from scapy.layers.inet import IP, TCP, UDP
from scapy.layers.l2 import Dot1AD, Dot1Q, Ether

from lbcore.labs.judge import Mistake, Verdict
from lbcore.labs.xdp.counting import PASSES, Key, counting
from lbcore.labs.xdp.ladder import LENGTH, LOOKS, VERDICT, Ladder, check
from lbcore.labs.xdp.packets import OPTIONS, Packet, Traffic, cuts, each, icmp, tcp, udp
from lbcore.wire.compose import ip_frame

SIX = {"source": "[2001:db8::1]:40000", "destination": "[2001:db8::9]:443"}


def port(packet: Packet) -> int | None:
    """The destination port of a TCP segment or UDP datagram over IPv4, as scapy finds it."""
    if packet.cut:
        return None
    layer = Ether(packet.frame).payload
    for _ in range(2):
        layer = layer.payload if isinstance(layer, Dot1Q | Dot1AD) else layer
    return int(layer.payload.dport) if isinstance(layer, IP) and isinstance(layer.payload, TCP | UDP) else None


def walk(
    packet: Packet,
    *,
    tags: int = 2,
    options: bool = True,
    at: int = 2,
    order: Any = "big",
    fragments: int = 0x1FFF,
    protocols: tuple[int, ...] = (6, 17),
    six: bool = False,
) -> int | None:
    """A parser with a mistake: skips at most `tags`, takes every IPv4 header for 20 bytes, reads elsewhere.

    fragments: the bits of the word at offset 6 that keep it from reading on; six: it reads IPv6 too.
    """
    frame, start = packet.frame, 14
    while tags and frame[start - 2 : start] in (b"\x81\x00", b"\x88\xa8"):
        start, tags = start + 4, tags - 1
    kind, packet_bytes = frame[start - 2 : start], frame[start:]
    if packet.cut or kind not in (b"\x08\x00", *([b"\x86\xdd"] if six else [])):
        return None
    if kind == b"\x86\xdd":
        return int.from_bytes(packet_bytes[42:44], "big") if packet_bytes[6] in protocols else None
    if packet_bytes[9] not in protocols or int.from_bytes(packet_bytes[6:8], "big") & fragments:
        return None
    end = (packet_bytes[0] & 15) * 4 if options else 20
    return int.from_bytes(packet_bytes[end + at : end + at + 2], order)


def wrong(**mistake: Any) -> Any:
    """The reports of a parser with a mistake."""
    key: Key = lambda packet: walk(packet, **mistake)  # noqa: E731
    return counting(key)


PARSE = Ladder(
    right=counting(port),
    praise="Right: tags, options, fragments and stumps of packets, {cases} streams, and every port found.",
    mistakes=(
        Mistake("nothing_counted", counting(lambda _: None), "Your map stays empty: no port was found anywhere."),
        Mistake(
            "vlan_ignored",
            wrong(tags=0),
            "You are blind on a trunk port: a VLAN tag slips four bytes in, and the type stands behind it. While the "
            "type is 0x8100 or 0x88A8, read on four bytes later (twice at most).",
        ),
        Mistake(
            "one_tag", wrong(tags=1), "One tag is skipped, two are not. Providers put a second one (0x88A8) in front."
        ),
        Mistake(
            "options_ignored",
            wrong(options=False),
            "You take the IPv4 header for 20 bytes. Options make it longer: the low half of its first byte counts its "
            "length in words of 4 bytes.",
        ),
        Mistake("source_port", wrong(at=0), "You count the source port. The destination port comes behind it."),
        Mistake("off_by_one", wrong(at=1), "You read one byte too early: the destination port is bytes 2 and 3."),
        Mistake("off_by_one", wrong(at=3), "You read one byte too late: the destination port is bytes 2 and 3."),
        Mistake(
            "byte_order",
            wrong(order="little"),
            "Your ports have their bytes swapped. u16 gives host numbers already: no second turn.",
        ),
        Mistake(
            "fragments",
            wrong(fragments=0),
            "You read ports in the middle of somebody's data: only the first fragment has a TCP or UDP header. If the "
            "fragment offset (13 bits at offset 6 of the IPv4 header) is not 0, there is no port here.",
        ),
        Mistake(
            "first_fragment",
            wrong(fragments=0x3FFF),
            "You leave out first fragments. They do have ports: more fragments to come is no reason, an offset is.",
        ),
        *(
            Mistake(
                "fragments_dont",
                wrong(fragments=bits),
                "You take `don't fragment` for a fragment. The offset is the low 13 bits: & 0x1FFF.",
            )
            for bits in (0x5FFF, 0xFFFF)
        ),
        Mistake(
            "any_protocol",
            wrong(protocols=tuple(range(256))),
            "You count other protocols too. ICMP has no ports; what stands there is a checksum.",
        ),
        Mistake("tcp_only", wrong(protocols=(6,)), "UDP (17) has ports too."),
        Mistake("udp_only", wrong(protocols=(17,)), "TCP (6) has ports too."),
        Mistake("ipv6_too", wrong(six=True), "You count IPv6 too: well done, but this rung asks for IPv4 only."),
    ),
    properties=(VERDICT, LENGTH, LOOKS, PASSES),
)


def some_packet(random: Random) -> Packet:
    """TCP or UDP to a random port, behind whatever comes."""
    tags = tuple(random.randrange(1, 4095) for _ in range(random.randrange(3)))
    options = bytes([1] * 4 * random.randrange(4))
    name = f"{len(tags)} tags and {len(options)} bytes of options"
    made = random.choice((tcp, udp))
    target = f"10.0.0.9:{random.randrange(1, 65536)}"
    return made(f"{made.__name__.upper()} behind {name}", destination=target, vlan=tags, ip_options=options)


def parse_cases(seed: int) -> list[Traffic]:
    """Plain packets first, then what makes parsing hard, one thing at a time; then all of it at random; then stumps."""
    random = Random(seed)
    plain = (tcp("TCP"), udp("UDP"), udp("UDP, may be fragmented", dont_fragment=False))
    hard = (
        tcp("TCP behind one VLAN tag", vlan=5),
        tcp("TCP behind two VLAN tags", vlan=(7, 5)),
        udp("UDP behind IPv4 options", ip_options=OPTIONS),
        udp("first fragment of UDP", more_fragments=True, dont_fragment=False),
        udp("first fragment of UDP, behind options", more_fragments=True, dont_fragment=False, ip_options=OPTIONS),
        Packet("second fragment of UDP", ip_frame(protocol=17, fragment_offset=16, payload=b"half a letter" * 2)),
        Packet(
            "second of three", ip_frame(protocol=6, fragment_offset=8, more_fragments=True, payload=bytes(range(40)))
        ),
        icmp("ICMP", identifier=7),
        Packet("GRE", ip_frame(protocol=47, payload=bytes(range(24)))),
        tcp("TCP over IPv6", **SIX),
        tcp("TCP over IPv6 behind a tag", vlan=5, **SIX),
    )
    mixed = [some_packet(random) for _ in range(24)]
    stumps = [
        *cuts(udp("UDP"), 14 + 20 + 4),
        *cuts(tcp("TCP behind two VLAN tags and options", vlan=(7, 5), ip_options=OPTIONS), 22 + 28 + 4),
    ]
    return [*each(*plain, *hard, *mixed), Traffic((*mixed, *plain, *plain)), *each(*stumps)]


def check_parse(program: Any, ports: Any, seed: int = 1) -> Verdict:
    """Rung 4: TCP and UDP over IPv4 are counted by destination port; everything passes."""
    return check(PARSE, program, parse_cases(seed), ports, takes_map=True)
