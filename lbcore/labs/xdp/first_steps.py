"""Rungs 1 and 2: pass everything, drop IPv6.

Rule of this file: specifications, by scapy, and known mistakes, each as what it does to a packet.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from scapy.layers.l2 import Dot1Q, Ether

from lbcore.labs.judge import Mistake, Verdict
from lbcore.labs.xdp.ladder import LENGTH, LOOKS, VERDICT, Fate, Ladder, alone, check
from lbcore.labs.xdp.packets import ASSORTED, Packet, Traffic, cuts, each, udp

PASS, DROP = "XDP_PASS", "XDP_DROP"
IPV6 = 0x86DD
SIX = udp("UDP over IPv6", source="[2001:db8::1]:40000", destination="[2001:db8::9]:53")
OTHER = SIX.frame[:12] + b"\x88\xb5" + bytes(48)
"""A frame of a type for experiments."""
FALSE_FRIENDS = (
    udp("IPv4, with dd86 in its payload", payload=bytes.fromhex("86dddd86") * 4),
    Packet("a frame of type dd86", SIX.frame[:12] + b"\xdd\x86" + SIX.frame[14:]),
    Packet("IPv4 of identification 86dd", udp("", identification=IPV6).frame),
    *(Packet(f"86dd at offset {at}", OTHER[:at] + b"\x86\xdd" + OTHER[at + 2 :]) for at in (10, 11, 13, 14)),
    Packet("a frame of type 86de", SIX.frame[:12] + b"\x86\xde" + SIX.frame[14:]),
    Packet("a frame of type 88dd", SIX.frame[:12] + b"\x88\xdd" + SIX.frame[14:]),
    Packet("IPv6, the header alone, nothing behind", SIX.frame[:14]),
)


def always(verdict: str) -> Callable[[Traffic], Any]:
    """Everything gets this verdict."""
    return alone(lambda packet: (verdict, packet.frame))


PASS_ALL = Ladder(
    right=always(PASS),
    praise="Right: {cases} packets of all kinds went on as they had come.",
    mistakes=(
        Mistake("drops", always(DROP), "Your program drops everything. This rung is the gentle one: XDP_PASS."),
        Mistake(
            "aborts",
            always("XDP_ABORTED"),
            "Your verdict is 0, and 0 is XDP_ABORTED: the packet is dropped and counted as a program's fault. "
            "XDP_PASS is 2; use the names.",
        ),
        Mistake(
            "sends_back",
            always("XDP_TX"),
            "XDP_TX sends each packet back out of the interface that it came in by. To let it go on up: XDP_PASS.",
        ),
    ),
    properties=(VERDICT, LENGTH, LOOKS),
)


def check_pass(program: Any, seed: int = 1) -> Verdict:
    """Rung 1: every packet goes on."""
    return check(PASS_ALL, program, [*each(*ASSORTED, *cuts(SIX, 20))], takes_map=False)


def ether_type(packet: Packet) -> int:
    """Bytes 12 and 13, as scapy reads them; 0 if they are not there."""
    return 0 if packet.cut else int(Ether(packet.frame).type)


def behind_tags(packet: Packet) -> int:
    """The type behind VLAN tags; 0 if there are none."""
    link = Ether(packet.frame) if len(packet.frame) >= 14 else None
    return int(link.getlayer(Dot1Q).type) if link and link.haslayer(Dot1Q) else 0


def dropping(test: Callable[[Packet], bool]) -> Callable[[Traffic], Any]:
    """What `test` is true for is dropped."""

    def one(packet: Packet) -> Fate:
        return (DROP if test(packet) else PASS), packet.frame

    return alone(one)


def word(packet: Packet, at: int) -> int:
    """Two bytes of a frame."""
    return int.from_bytes(packet.frame[at : at + 2], "big")


DROP_SIX = Ladder(
    right=dropping(lambda packet: ether_type(packet) == IPV6),
    praise="Right: IPv6 is gone, all else went on, and no byte was read that was not there ({cases} packets).",
    mistakes=(
        Mistake(
            "byte_order",
            dropping(lambda packet: word(packet, 12) == 0xDD86),
            "You compare with 0xDD86: the bytes in the order of a PC's memory. The wire is big-endian, and u16 has "
            "turned it round for you already: compare with 0x86DD.",
        ),
        Mistake(
            "inverted",
            dropping(lambda packet: ether_type(packet) != IPV6),
            "The other way round: you drop what should go on (ARP too: nobody finds this host any more).",
        ),
        Mistake("all_dropped", always(DROP), "You drop everything. Only IPv6 is to go."),
        Mistake("all_passed", always(PASS), "IPv6 goes on. Its frames have 0x86DD at offset 12; are they dropped?"),
        *(
            Mistake(
                "offset",
                dropping(lambda packet, at=at: word(packet, at) == IPV6),  # type: ignore[misc]
                f"You read the type at offset {at}. Six bytes to whom, six from whom: it stands at 12.",
            )
            for at in (10, 11, 13, 14)
        ),
        Mistake(
            "one_byte",
            dropping(lambda packet: packet.frame[12] == 0x86),
            "You look at one byte of the type. It has two: u16.",
        ),
        Mistake(
            "asks_too_much",
            dropping(lambda packet: ether_type(packet) == IPV6 and len(packet.frame) > 14),
            "You ask for more bytes than you read: an IPv6 frame with nothing behind its type goes on. The type ends "
            "with byte 13; need(p, 14) is enough.",
        ),
        Mistake(
            "vlan_too",
            dropping(lambda packet: IPV6 in (ether_type(packet), behind_tags(packet))),
            "You drop IPv6 behind a VLAN tag too. A good thought, and rung 4 asks for it; here only bytes 12 and 13 "
            "count.",
        ),
        Mistake(
            "ipv4_dropped",
            dropping(lambda packet: ether_type(packet) == 0x0800),
            "You drop IPv4 (0x0800). IPv6 is 0x86DD.",
        ),
        Mistake(
            "aborts",
            alone(lambda packet: ("XDP_ABORTED" if ether_type(packet) == IPV6 else PASS, packet.frame)),
            "XDP_ABORTED drops too, but it says that the program has failed. XDP_DROP says that you meant it.",
        ),
    ),
    properties=(VERDICT, LENGTH, LOOKS),
)


def drop_cases() -> Sequence[Traffic]:
    """One of each, those that only look like IPv6, and IPv6 cut short."""
    return [*each(*ASSORTED, *FALSE_FRIENDS, *cuts(SIX, 14))]


def check_drop(program: Any, seed: int = 1) -> Verdict:
    """Rung 2: IPv6 is dropped, all else goes on."""
    return check(DROP_SIX, program, drop_cases(), takes_map=False)
