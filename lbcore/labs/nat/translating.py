"""Lab 02, exercise 2: the way in, destination NAT.

Rule of this file: specification, cases and hints. Frames are Ethernet (14 bytes), IPv4 without options (20) and TCP, so
every field has a fixed place.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

from lbcore.labs.judge import Case, Exercise, Mistake, Property, Verdict, judge
from lbcore.labs.nat.checksums import folded
from lbcore.wire import checksum, compose
from lbcore.wire.difference import changes

TTL, IP_SUM, SOURCE, DESTINATION, PORTS, TCP_SUM = 22, 24, 26, 30, 34, 50
"""Offsets in the lab's frames."""


def frames(seed: int) -> list[bytes]:
    """Whole frames, then expired ones, then damaged ones."""
    rng = random.Random(seed)

    def made(ttl: int, size: int) -> bytes:
        return compose.tcp_frame(
            source=f"198.51.100.{rng.randrange(1, 255)}:{rng.randrange(1024, 65536)}",
            destination=f"203.0.113.{rng.randrange(1, 255)}:{rng.randrange(1, 65536)}",
            payload=rng.randbytes(size),
            sequence=rng.getrandbits(32),
            ttl=ttl,
        )

    whole = [made(ttl, size) for size in (0, 1, 40) for ttl in (64, 2, 255)]
    damaged = [bytearray(made(64, 20)) for _ in range(4)]
    for frame in damaged:
        frame[-1] ^= 0x20
    return [*whole, made(1, 8), made(0, 8), *map(bytes, damaged), *(made(64, rng.randrange(60)) for _ in range(20))]


def rewritten(
    frame: bytes, address: bytes, port: int, *, end: str = "destination", leave: Sequence[str] = (), fresh: bool = False
) -> bytes | None:
    """A frame with another end. leave: what is left out, "ip", "tcp", "address in tcp", "port in tcp", "ttl",
    "ttl in ip", "port" or "expired"; fresh: compute TCP's checksum anew."""
    if frame[TTL] <= 1 and "expired" not in leave:
        return None
    out = bytearray(frame)
    at, port_at = (SOURCE, PORTS) if end == "source" else (DESTINATION, PORTS + 2)
    out[at : at + 4] = address
    if "port" not in leave:
        out[port_at : port_at + 2] = port.to_bytes(2, "big")
    if "ttl" not in leave:
        out[TTL] = (out[TTL] - 1) & 0xFF
    ip = [] if "ip" in leave else [at, at + 2] + [TTL] * ("ttl in ip" not in leave)
    tcp = [at, at + 2] * ("address in tcp" not in leave) + [port_at] * ("port in tcp" not in leave)
    for place, words in ((IP_SUM, ip), (TCP_SUM, [] if "tcp" in leave else tcp)):
        value = word(frame, place)
        for offset in words:
            value = checksum.update16(value, word(frame, offset), word(out, offset))
        out[place : place + 2] = value.to_bytes(2, "big")
    if fresh:
        out[TCP_SUM : TCP_SUM + 2] = tcp_sum(out).to_bytes(2, "big")
    return bytes(out)


def word(frame: bytes | bytearray, at: int) -> int:
    """The 16-bit word at an offset."""
    return int.from_bytes(frame[at : at + 2], "big")


def tcp_sum(frame: bytes | bytearray) -> int:
    """TCP's checksum of a frame, from all of its data."""
    data = bytes(frame[PORTS:TCP_SUM]) + b"\0\0" + bytes(frame[TCP_SUM + 2 :])
    pseudo = bytes(frame[SOURCE:PORTS]) + b"\0\6" + len(data).to_bytes(2, "big")
    padded = pseudo + data + b"\0" * (len(data) % 2)
    return folded(sum(word(padded, at) for at in range(0, len(padded), 2))) ^ 0xFFFF


def translate_cases(seed: int) -> list[Case]:
    """Every frame, to a backend and a port."""
    rng = random.Random(seed + 1)
    return [Case((frame, bytes([10, 0, 0, rng.randrange(1, 255)]), rng.randrange(1, 65536))) for frame in frames(seed)]


def ends_here(frame: bytes, *rest: Any) -> bool:
    """Has a frame no hop left, or (for replies, whose second argument are ways) no flow?"""
    return frame[TTL] <= 1 or (isinstance(rest[0], dict) and frame[SOURCE : PORTS + 4] not in rest[0])


def whole_frame(answer: Any, frame: bytes, *rest: Any) -> str | None:
    """None where the way ends, else a frame of the same length."""
    if ends_here(frame, *rest):
        return None if answer is None else "This frame goes nowhere: give back None."
    if answer is None:
        return "Your function gives back None for a frame that has to go on: is there a `return` at its end?"
    if not isinstance(answer, bytes):
        return "Give back the frame: bytes, or a bytearray."
    if len(answer) != len(frame):
        return f"The frame had {len(frame)} bytes, yours has {len(answer)}: a translation changes no length."
    return None


def elsewhere(places: set[int], words: str) -> Any:
    """A property: nothing changes but the bytes at `places`."""

    def broken(answer: Any, frame: bytes, *_: Any) -> str | None:
        if answer is None:
            return None
        strange = [at for at, (a, b) in enumerate(zip(frame, answer, strict=True)) if a != b and at not in places]
        return f"Byte {strange[0]} has changed. Only {words} may." if strange else None

    return broken


def differing(got: Any, wanted: Any) -> str:
    """Where two frames part, field by field."""
    if not (isinstance(got, bytes) and isinstance(wanted, bytes) and len(got) == len(wanted)):
        return ""
    lines = [f"{c.layer} {c.field}: right {c.before}, yours {c.after}" for c in changes(wanted, got)]
    return "\n".join(line.replace(" (right)", "") for line in lines[:6])


COMMON = {TTL, IP_SUM, IP_SUM + 1, TCP_SUM, TCP_SUM + 1}
IMMUTABLE = {"TypeError": ("immutable", "bytes cannot be written to. Work on a copy: out = bytearray(frame).")}
LEFT_OUT = (
    ("ip_checksum", ["ip"], "The IP header's checksum is the old one: it covers the address and the hop count."),
    ("tcp_checksum", ["tcp"], "TCP's checksum is the old one. The receiver drops the packet, and says nothing."),
    (
        "pseudo_header",
        ["address in tcp"],
        "TCP's checksum is repaired for the port alone. It covers the IP addresses as well (the pseudo-header).",
    ),
    ("port_in_checksum", ["port in tcp"], "TCP's checksum is repaired for the address, not for the port."),
    ("hop_not_counted", ["ttl", "ttl in ip"], "Who translates is a router: byte 22, the hop count, goes down by one."),
    (
        "hop_in_checksum",
        ["ttl in ip"],
        "You count the hop, but the IP checksum has not heard of it. Its word is bytes 22 and 23, count and protocol.",
    ),
    ("expired", ["expired"], "A frame with a hop count of 1 or 0 ends here: give back None."),
    ("port_kept", ["port", "port in tcp"], "The port is the old one."),
)


def mistakes(end: str) -> list[Mistake]:
    """The known mistakes of a rewrite of an end."""

    def made(leave: Sequence[str]) -> Any:
        return lambda frame, address, port: rewritten(frame, address, port, end=end, leave=leave)

    return [Mistake(key, made(leave), hint) for key, leave, hint in LEFT_OUT]


TRANSLATE = Exercise(
    names=("frame", "address", "port"),
    right=rewritten,
    praise="Right: {cases} frames, and the damaged ones are as damaged as before.",
    mistakes=(
        *mistakes("destination"),
        Mistake(
            "wrong_end",
            lambda *given: rewritten(*given, end="source"),
            "You wrote over the source. On the way in it is the destination that changes: bytes 30 to 33, port at 36.",
        ),
        Mistake(
            "recomputed",
            lambda *given: rewritten(*given, fresh=True),
            "You computed TCP's checksum anew. For a frame that was damaged on the way, that makes the damage look "
            "right: nobody will ever find it. Repair the old value instead, and you need not read the data either.",
        ),
    ),
    properties=(
        Property("wrong_form", whole_frame),
        Property(
            "elsewhere",
            elsewhere(
                COMMON | set(range(DESTINATION, PORTS)) | {36, 37}, "destination, its port, hop count and checksums"
            ),
        ),
    ),
    advice=IMMUTABLE,
    difference=differing,
)


def check_translate(translate: Any, seed: int = 1) -> Verdict:
    """Exercise 2: translate(frame, address, port) -> the frame for a backend, or None."""
    return judge(TRANSLATE, translate, translate_cases(seed))
