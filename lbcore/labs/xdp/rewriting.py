"""Rung 5: lower the TTL, and keep the checksum right.

Rule of this file: the specification, by scapy, and known mistakes, each as a TTL and a checksum.

Theory. The checksum is a sum of words, and the TTL is the upper half of one of them: one less in the TTL is 0x0100
less in the sum, and so 0x0100 more in its complement. What is carried out at the top comes back in at the bottom; and
of the two zeros that such arithmetic has, 0xFFFF never is the checksum of an IPv4 header (RFC 1624 section 3).
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any

from scapy.layers.inet import IP
from scapy.layers.l2 import Ether

from lbcore.labs.judge import Mistake, Property, Verdict
from lbcore.labs.xdp import stage
from lbcore.labs.xdp.first_steps import SIX, behind_tags
from lbcore.labs.xdp.ladder import LENGTH, VERDICT, Fate, Ladder, alone, check
from lbcore.labs.xdp.packets import ARP, OPTIONS, Packet, Traffic, cuts, each, icmp, tcp, udp
from lbcore.wire.compose import udp_frame

TTL, CHECKSUM = 22, 24
"""Where they stand in an untagged frame."""


def one_hop(packet: Packet) -> Fate:
    """What a router does to an untagged IPv4 packet, the checksum computed afresh by scapy."""
    ether = None if packet.cut else Ether(packet.frame)
    if ether is None or not isinstance(ether.payload, IP):
        return "XDP_PASS", packet.frame
    if ether.payload.ttl <= 1:
        return "XDP_DROP", b""
    ether.payload.ttl -= 1
    del ether.payload.chksum
    return "XDP_PASS", bytes(ether)


Sum = Callable[[int], int]
"""The new checksum, from the old one."""


def rewriting(
    sum_of: Sum = lambda old: carried(old + 0x0100), least: int = 2, step: int = 1, late: str = "XDP_DROP"
) -> Callable[[Traffic], stage.Report]:
    """A router with a mistake: another checksum, packets of a TTL below `least` get `late`, another step."""

    def one(packet: Packet) -> Fate:
        frame = bytearray(packet.frame)
        if packet.cut or bytes(frame[12:14]) != b"\x08\x00":
            return "XDP_PASS", packet.frame
        if frame[TTL] < least:
            return late, packet.frame
        frame[TTL] = (frame[TTL] - step) & 0xFF
        frame[CHECKSUM : CHECKSUM + 2] = (sum_of(read(packet)) & 0xFFFF).to_bytes(2, "big")
        return "XDP_PASS", bytes(frame)

    return alone(one)


def read(packet: Packet) -> int:
    """The checksum that a packet came with."""
    return int.from_bytes(packet.frame[CHECKSUM : CHECKSUM + 2], "big")


def carried(total: int) -> int:
    """Sixteen bits, what is carried out added back in; 0xFFFF is 0."""
    total = (total & 0xFFFF) + (total >> 16)
    return 0 if total == 0xFFFF else total


def tagged_too(traffic: Traffic) -> stage.Report:
    """Behind a VLAN tag too."""

    def one(packet: Packet) -> Fate:
        if packet.cut or behind_tags(packet) != 0x0800:
            return one_hop(packet)
        frame = packet.frame
        verdict, after = one_hop(Packet("", frame[:12] + frame[16:]))
        return verdict, after and after[:12] + frame[12:16] + after[12:]

    return alone(one)(traffic)


def only_these_bytes(answer: stage.Report, traffic: Traffic) -> str | None:
    """TTL and checksum, nothing else."""
    for made, packet in zip(answer[0], traffic.packets, strict=True):
        after = bytes.fromhex(made[1]) or packet.frame
        rest = [after[:TTL] + after[TTL + 1 : CHECKSUM] + after[CHECKSUM + 2 :] for after in (after, packet.frame)]
        if rest[0] != rest[1]:
            return "You change more than two fields. Only the TTL (byte 22) and the checksum (24 and 25) are to change."
    return None


CARRY = (
    "Nearly. When the sum passes 0xFFFF, what is carried out at the top has to be added in at the bottom: "
    "(total & 0xFFFF) + (total >> 16)."
)
REWRITE = Ladder(
    right=alone(one_hop),
    praise="Right: TTL and checksum of {cases} packets are those that scapy computes from scratch.",
    mistakes=(
        Mistake(
            "checksum_kept",
            rewriting(lambda old: old),
            "You lower the TTL, and the checksum is the old one. The next router finds it wrong and drops the packet, "
            "silently: the classic of rewriting. Repair it: the word at offset 22 (TTL and protocol) has changed.",
        ),
        Mistake(
            "checksum_zero",
            rewriting(lambda old: 0),
            "You set the checksum to 0. In UDP that means `none`; an IPv4 header always needs a right one.",
        ),
        Mistake(
            "wrong_direction",
            rewriting(lambda old: (old - 0x0100) & 0xFFFF),
            "The checksum goes the wrong way. It is the complement of the sum: as the sum gets smaller, it grows.",
        ),
        Mistake(
            "wrong_direction",
            rewriting(lambda old: carried(old + (0xFFFF - 0x0100))),
            "The checksum goes the wrong way: old and new value of the word have changed places.",
        ),
        Mistake(
            "byte_order",
            rewriting(lambda old: carried(old + 1)),
            "You add 1 to the checksum. The TTL is the upper byte of its word: one less is 0x0100 less in the sum.",
        ),
        Mistake("carry_lost", rewriting(lambda old: old + 0x0100), CARRY),
        Mistake(
            "other_zero",
            rewriting(lambda old: (old + 0x0100 & 0xFFFF) + (old + 0x0100 >> 16)),
            "Right but for one value in 65536: your sum comes out as 0xFFFF, the other zero of such arithmetic, and "
            "the checksum must be 0x0000. RFC 1624 tells the story; checksum.update16 has it right.",
        ),
        Mistake(
            "ttl_kept",
            rewriting(lambda old: old, step=0),
            "The TTL does not change: it is byte 22 of an untagged frame, and set8 writes it.",
        ),
        Mistake(
            "ttl_wraps",
            rewriting(least=0),
            "A TTL of 0 becomes 255, and one of 1 becomes 0. Packets in a loop would live for ever: that is the one "
            "thing the TTL is for. At 0 or 1: XDP_DROP, before you subtract.",
        ),
        Mistake(
            "off_by_one",
            rewriting(least=1),
            "A packet that comes with TTL 1 goes on with 0. It has reached its end here: drop at 1 too.",
        ),
        Mistake("off_by_one", rewriting(least=3), "You drop a TTL of 2. It may go one hop more, and leaves as 1."),
        Mistake(
            "late_passed",
            rewriting(late="XDP_PASS"),
            "A packet whose TTL is used up goes on as it is. It is to be dropped.",
        ),
        Mistake(
            "vlan_too", tagged_too, "You rewrite behind a VLAN tag too. Well done, but here only untagged IPv4 counts."
        ),
    ),
    properties=(VERDICT, LENGTH, Property("scribbles", only_these_bytes)),
)


def with_checksum(wanted: int, **fields: Any) -> Packet:
    """A packet whose right checksum is this one: the identification, a word like any other, makes it so."""
    rest = (read(Packet("", udp_frame(identification=0, **fields))) - wanted) % 0xFFFF
    return udp(f"UDP, checksum 0x{wanted:04x}", payload=b"", identification=rest, **fields)


def rewrite_cases(seed: int) -> list[Traffic]:
    """Plain ones; the ends of the TTL; the ends of the checksum; what is to be left alone; random ones; stumps."""
    random = Random(seed)
    plain = (udp("UDP"), tcp("TCP", ttl=255), icmp("ICMP", ttl=128), udp("UDP, TTL 2", ttl=2))
    ends = [udp(f"UDP, TTL {ttl}", ttl=ttl) for ttl in (1, 0, 3)]
    sums = [with_checksum(wanted) for wanted in (0x0000, 0xFE00, 0xFF00, 0xFFFE, 0xFF01, 0xFEFF)]
    other = (Packet("ARP", ARP), SIX, udp("UDP in VLAN 5", vlan=5))
    mixed = [
        udp(f"UDP, number {n}", ttl=random.randrange(2, 256), identification=random.randrange(65536),
            ip_options=OPTIONS * random.randrange(3))
        for n in range(20)
    ]  # fmt: skip
    return [*each(*plain, *ends, *other, *mixed, *sums, *cuts(plain[0], 14 + 12))]


def check_rewrite(program: Any, seed: int = 1) -> Verdict:
    """Rung 5: an IPv4 packet has one hop less to go, and a right checksum."""
    return check(REWRITE, program, rewrite_cases(seed), takes_map=False)
