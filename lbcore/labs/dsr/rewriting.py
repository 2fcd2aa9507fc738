"""Lab 03, exercise 1: the one thing that a balancer does in direct server return.

Rule of this file: specification, cases and hints; the right answer is one line of bytes.
"""

from __future__ import annotations

import random
from typing import Any

from lbcore.l4.walk import arriving
from lbcore.labs.judge import Case, Exercise, Mistake, Property, Verdict, judge
from lbcore.labs.nat.drawings import page
from lbcore.labs.nat.translating import IMMUTABLE, IP_SUM, TTL, differing, word
from lbcore.show.packet_walk import Page
from lbcore.wire import checksum, compose

BACKEND = bytes.fromhex("020000000008")


def right(frame: bytes, backend: bytes) -> bytes:
    """From whom it was sent to, to the backend."""
    return backend + frame[:6] + frame[12:]


def routed(frame: bytes, backend: bytes) -> bytes:
    """The same by a router: one hop less."""
    out = bytearray(right(frame, backend))
    if frame[12:14] == b"\x08\x00":
        out[TTL] = (out[TTL] - 1) & 0xFF
        value = checksum.update16(word(frame, IP_SUM), word(frame, TTL), word(out, TTL))
        out[IP_SUM : IP_SUM + 2] = value.to_bytes(2, "big")
    return bytes(out)


def cases(seed: int) -> list[Case]:
    """TCP and UDP, IPv6, a tag, a last hop, and one that arrived damaged."""
    rng = random.Random(seed)

    def mac() -> str:
        return (0x020000000000 + rng.getrandbits(24)).to_bytes(6, "big").hex(":")

    def made(**more: Any) -> bytes:
        ends = {"source": f"198.51.100.7:{rng.randrange(1024, 65536)}", "destination": "203.0.113.80:80"}
        return compose.tcp_frame(**ends | {"source_mac": mac(), "destination_mac": mac()} | more)

    six = {"source": "[2001:db8::7]:4000", "destination": "[2001:db8:f::1]:80"}
    found = [made(), made(payload=rng.randbytes(40)), made(ttl=1), made(ttl=255), made(vlan=7), made(**six)]
    found.append(compose.udp_frame(destination="203.0.113.80:53", source_mac=mac(), destination_mac=mac()))
    found.append(found[1][:-1] + bytes([found[1][-1] ^ 1]))
    return [Case((frame, (0x020000000000 + rng.getrandbits(24)).to_bytes(6, "big"))) for frame in found]


def whole(answer: Any, frame: bytes, _: bytes) -> str | None:
    """A frame of the same length."""
    if not isinstance(answer, bytes):
        return "Give back the frame: bytes, or a bytearray. On one segment no frame is too old: hops are for routers."
    if len(answer) != len(frame):
        return f"The frame had {len(frame)} bytes, yours has {len(answer)}."
    return None


def only_ethernet(answer: bytes, frame: bytes, _: bytes) -> str | None:
    """Nothing changes behind the Ethernet addresses."""
    strange = next((at for at in range(12, len(frame)) if answer[at] != frame[at]), None)
    return None if strange is None else f"Byte {strange} has changed. Only bytes 0 to 11 may."


READDRESS = Exercise(
    names=("frame", "backend"),
    right=right,
    praise="Right: {cases} frames, and not a byte has changed that the backend's stack will see.",
    mistakes=(
        Mistake(
            "source_kept",
            lambda frame, backend: backend + frame[6:],
            "The source is still the router's Ethernet address. A switch learns from sources: it will look for the "
            "router at the balancer's port, and send the router's frames there. The source is yours: the address "
            "that the frame was sent to.",
        ),
        Mistake(
            "turned_round",
            lambda frame, backend: frame[:6] + backend + frame[12:],
            "You sent it to yourself, and from the backend. The destination comes first: bytes 0 to 5.",
        ),
        Mistake(
            "sent_back",
            lambda frame, backend: frame[6:12] + frame[:6] + frame[12:],
            "It goes back to where it came from. The backend's address is the new destination.",
        ),
        Mistake("untouched", lambda frame, backend: frame, "It is still addressed to you."),
        Mistake(
            "hop_counted",
            routed,
            "You count a hop, as a router does. This balancer is none: it hands a frame on within a segment, and the "
            "backend is to see the packet as it was.",
        ),
    ),
    properties=(Property("wrong_form", whole), Property("elsewhere", only_ethernet)),
    advice=IMMUTABLE,
    difference=differing,
)


def check_readdress(readdress: Any, seed: int = 1) -> Verdict:
    """Exercise 1: readdress(frame, backend) -> the frame, on its way to the backend."""
    return judge(READDRESS, readdress, cases(seed))


def show_readdress(readdress: Any) -> Page | Verdict:
    """A client's request on its way to a backend."""
    return page(readdress, arriving(payload=b"GET / HTTP/1.1\r\n"), BACKEND)
