"""Rung 3: count IPv4 packets by protocol.

Rule of this file: the specification, by scapy, and known mistakes, each as what it would count.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from random import Random
from typing import Any

from scapy.layers.inet import IP
from scapy.layers.l2 import Ether

from lbcore.labs.judge import Mistake, Property, Verdict
from lbcore.labs.xdp import stage
from lbcore.labs.xdp.ladder import LENGTH, LOOKS, VERDICT, Ladder, check, report
from lbcore.labs.xdp.packets import ASSORTED, Packet, Traffic, cuts, each, icmp, tcp, udp
from lbcore.wire.compose import ip_frame

PROTOCOL, LAST = 23, 24
"""Where the protocol stands in an untagged frame, and how many bytes that needs."""

Key = Callable[[Packet], int | None]
"""Under which number a packet is counted; None: it is not."""


def counting(key: Key, count: Callable[[int], int] = lambda times: times) -> Callable[[Traffic], stage.Report]:
    """Everything passes, and `count(times)` is what is in the map for a key that came so often."""

    def made(traffic: Traffic) -> stage.Report:
        times = Counter(found for one in traffic.packets if (found := key(one)) is not None)
        entries = [(found, count(times[found])) for found in sorted(times)]
        return [[report("XDP_PASS", one.frame) for one in traffic.packets], tally(entries)]

    return made


def tally(entries: Sequence[tuple[int, int]]) -> str:
    """As a report has it."""
    return ", ".join(f"{key}: {value}" for key, value in entries if value)


def protocol(packet: Packet) -> int | None:
    """The protocol of an untagged IPv4 packet, as scapy reads it."""
    if packet.cut:
        return None
    inside = Ether(packet.frame).payload
    return int(inside.proto) if isinstance(inside, IP) else None


def byte(at: int, key: Key = protocol) -> Key:
    """The byte there instead, of what `key` would count."""
    return lambda packet: packet.frame[at] if key(packet) is not None else None


def any_frame(packet: Packet) -> int | None:
    """Byte 23, whatever the frame is."""
    return packet.frame[PROTOCOL] if len(packet.frame) >= LAST else None


def tagged_too(packet: Packet) -> int | None:
    """With the VLAN tag skipped."""
    tagged = packet.frame[12:14] == b"\x81\x00" and packet.frame[16:18] == b"\x08\x00"
    return packet.frame[PROTOCOL + 4] if tagged else protocol(packet)


def all_pass(answer: stage.Report, traffic: Traffic) -> str | None:
    """A counter does not interfere."""
    verdict = next((made[0] for made in answer[0] if made[0] != "XDP_PASS"), None)
    return f"A packet gets {verdict}. Who only counts lets everything pass." if verdict else None


PASSES = Property("not_passed", all_pass)
COUNT = Ladder(
    right=counting(protocol),
    praise="Right: the map holds what came, protocol by protocol, in {cases} streams of packets.",
    mistakes=(
        Mistake("nothing_counted", counting(lambda _: None), "Your map stays empty: nothing was counted."),
        Mistake(
            "one_counter",
            counting(lambda packet: 0 if protocol(packet) is not None else None),
            "All packets are counted under 0. The key is the packet's protocol.",
        ),
        Mistake(
            "any_frame",
            counting(any_frame),
            "You count byte 23 of every frame. Only where the type (offset 12) is 0x0800 is that an IPv4 protocol.",
        ),
        Mistake(
            "vlan_too",
            counting(tagged_too),
            "You count behind a VLAN tag too. Rung 4 asks for it; here a frame counts if bytes 12 and 13 say IPv4.",
        ),
        Mistake("offset", counting(byte(22)), "You count by TTL, which stands at 22. The protocol is one further: 23."),
        Mistake("offset", counting(byte(24)), "You count by the first byte of the checksum (24). The protocol is 23."),
        Mistake(
            "offset",
            counting(byte(9)),
            "Byte 9 of the IPv4 header, but your view still starts at the frame: 14 + 9 = 23, or advance(p, 14) first.",
        ),
        Mistake(
            "set_not_added",
            counting(protocol, lambda times: 1),
            "Your counters never pass 1: you write 1 where you should add it. increment(key) adds, in one step.",
        ),
        Mistake(
            "first_not_counted",
            counting(protocol, lambda times: times - 1),
            "One too few: the first packet of each protocol makes its entry, and must be counted too.",
        ),
        Mistake(
            "counted_twice",
            counting(protocol, lambda times: 2 * times),
            "Every packet is counted twice.",
        ),
    ),
    properties=(VERDICT, LENGTH, LOOKS, PASSES),
)


def count_cases(seed: int) -> list[Traffic]:
    """One of each kind; every length below 24; streams in which protocols come again."""
    random = Random(seed)
    odd = [
        Packet(
            f"IPv4, protocol {number}",
            ip_frame(protocol=number, payload=bytes(12), source_mac=f"02:00:00:{at:02}:00:01"),
        )
        for at, number in enumerate((2, 6, 17, 47, 132, 255, random.randrange(2, 255)))
    ]
    again = [udp("UDP"), udp("UDP, another", ttl=9), tcp("TCP"), icmp("ICMP"), ASSORTED[3], ASSORTED[4]]
    streams = [Traffic(tuple(random.choices([*again, *odd], k=size))) for size in (8, 30)]
    return [*each(*ASSORTED, *odd, *cuts(again[0], LAST)), Traffic((again[0],) * 2), *streams]


def check_count(program: Any, protocols: Any, seed: int = 1) -> Verdict:
    """Rung 3: IPv4 packets are counted by protocol; everything passes."""
    return check(COUNT, program, count_cases(seed), protocols, takes_map=True)
