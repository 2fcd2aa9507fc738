"""Lab 02: the packet walk. Checksums repaired by hand, a packet translated, and its answer translated back.

Rule of this file: specifications, cases and hints of the lab's exercises. The right answers are words taken out and put
in, as `lbcore.l4.nat` does it; the drawings are in `nat_drawings`.

Theory. Frames are Ethernet (14 bytes), IPv4 without options (20) and TCP, so every field has a fixed place. Some arrive
damaged: a repaired checksum stays as wrong as it was, and the receiver finds the damage. One computed anew would hide
it.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

from lbcore.labs.judge import Case, Exercise, Mistake, Property, Verdict, judge
from lbcore.labs.nat_drawings import show_back, show_translate, show_udp, show_update
from lbcore.wire import checksum, compose
from lbcore.wire.difference import changes

__all__ = [
    "check_back", "check_translate", "check_udp", "check_update", "show_back", "show_translate", "show_udp",
    "show_update",
]  # fmt: skip

TTL, IP_SUM, SOURCE, DESTINATION, PORTS, TCP_SUM = 22, 24, 26, 30, 34, 50
"""Offsets in the lab's frames."""
Words = list[tuple[int, int]]


# ----------------------------------------------------------------------------------------- 1: one word of a checksum
def update_cases(seed: int) -> list[Case]:
    """RFC 1624's own example first: the one where the older formula fails. Then carries, then random words."""
    rng = random.Random(seed)
    known = [(0xDD2F, 0x5555, 0x3285), (0xFFFE, 0, 1), (0, 0, 0xFFFF), (0x0001, 0xFFFF, 0), (0x8000, 0x8000, 0x7FFF)]
    words = [(rng.getrandbits(16), rng.getrandbits(16), rng.getrandbits(16)) for _ in range(200)]
    return [Case(one) for one in [*known, *words]]


def folded(total: int) -> int:
    """All carries brought back in."""
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return total


def sixteen_bits(answer: Any, *_: Any) -> str | None:
    """A checksum is a whole number of 16 bits."""
    if type(answer) is not int:
        return "Give back a whole number: the new checksum."
    if not 0 <= answer <= 0xFFFF:
        return f"{answer:#x} does not fit 16 bits. What is carried out at the top comes back in at the bottom."
    return None


UPDATE = Exercise(
    names=("value", "old", "new"),
    right=checksum.update16,
    praise="Right in all {cases} cases, the trap of RFC 1624 among them.",
    mistakes=(
        Mistake(
            "older_formula",
            lambda value, old, new: folded(value + old + (new ^ 0xFFFF)),
            "This is the formula of RFC 1141. It differs in one case: it gives 0xffff where 0x0000 is right. Take the "
            "complement of the checksum first, add, and complement the result.",
        ),
        Mistake(
            "no_complement",
            lambda value, old, new: folded(value + (old ^ 0xFFFF) + new),
            "You add to the checksum itself. What is stored is the complement of the sum: complement it, add, and "
            "complement again.",
        ),
        Mistake(
            "not_complemented_back",
            lambda value, old, new: folded((value ^ 0xFFFF) + (old ^ 0xFFFF) + new),
            "Your answer is the sum. What is stored is its complement.",
        ),
        Mistake(
            "swapped",
            lambda value, old, new: checksum.update16(value, new, old),
            "You put the old word in and take the new one out.",
        ),
        Mistake(
            "carry_lost",
            lambda value, old, new: ((value ^ 0xFFFF) + (old ^ 0xFFFF) + new) & 0xFFFF ^ 0xFFFF,
            "You cut the carry off. In ones' complement it comes back in at the bottom: (total & 0xffff) + (total >> "
            "16).",
        ),
        Mistake(
            "old_left_in",
            lambda value, old, new: folded((value ^ 0xFFFF) + new) ^ 0xFFFF,
            "The new word is in, but the old one is not out. To subtract a word, add its complement.",
        ),
    ),
    properties=(Property("not_sixteen_bits", sixteen_bits),),
)


def check_update(update: Any, seed: int = 1) -> Verdict:
    """Exercise 1: update(value, old, new) -> the checksum after one word has changed."""
    return judge(UPDATE, update, update_cases(seed))


# --------------------------------------------------------------------------------------------- 2: the way in, DNAT
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


# ------------------------------------------------------------------------------------------------ 3: UDP's two zeros
def right_udp(value: int, words: Words) -> int:
    """UDP's checksum after words have changed: none stays none, and a computed 0 is sent as 0xFFFF."""
    return (repaired(value, words) or 0xFFFF) if value else 0


def repaired(value: int, words: Words) -> int:
    """A checksum after words have changed."""
    for old, new in words:
        value = checksum.update16(value, old, new)
    return value


def udp_cases(seed: int) -> list[Case]:
    """No word and one word; then none sent; then results that come out as 0; then random ones."""
    rng = random.Random(seed)

    def words(count: int) -> Words:
        return [(rng.getrandbits(16), rng.getrandbits(16)) for _ in range(count)]

    found = [(0x1234, []), (0x1234, [(80, 8080)])]
    found += [(0, words(count)) for count in (0, 1, 3)]
    for _ in range(6):
        value, some = rng.randrange(1, 0xFFFF), words(2)
        missing = repaired(value, some)
        found.append((value, [*some, (0, missing)]))
    return [Case(one) for one in found + [(rng.randrange(1, 0x10000), words(rng.randrange(5))) for _ in range(80)]]


UDP = Exercise(
    names=("value", "words"),
    right=right_udp,
    praise="Right in all {cases} cases: no checksum stays none, and no computed zero is sent.",
    mistakes=(
        Mistake(
            "none_repaired",
            lambda value, words: repaired(value, words) or 0xFFFF,
            "The sender sent no checksum: 0. You repaired it, and now there is one, and it is wrong.",
        ),
        Mistake(
            "zero_sent",
            lambda value, words: repaired(value, words) if value else 0,
            "Your result is 0, and to a receiver 0 says: there is none. Send 0xffff, which adds up to the same.",
        ),
        Mistake(
            "both_zeros", repaired, "You treat UDP as TCP. A 0 that comes in means none; a 0 that results is 0xffff."
        ),
        Mistake(
            "none_becomes_ones",
            lambda value, words: (repaired(value, words) if value else 0) or 0xFFFF,
            "Where the sender sent none you send 0xffff: a checksum, and a wrong one.",
        ),
        Mistake(
            "first_word_only",
            lambda value, words: right_udp(value, words[:1]),
            "You repair for the first word only.",
        ),
    ),
    properties=(Property("not_sixteen_bits", sixteen_bits),),
)


def check_udp(repair_udp: Any, seed: int = 1) -> Verdict:
    """Exercise 3: repair_udp(value, words) -> UDP's checksum after words have changed."""
    return judge(UDP, repair_udp, udp_cases(seed))


# ----------------------------------------------------------------------------------------------- 4: the way back
Ways = dict[bytes, tuple[bytes, int]]


def right_back(frame: bytes, ways: Ways) -> bytes | None:
    """A reply with its flow's virtual end for its source; None if there is no such flow, or no hop left."""
    way = ways.get(frame[SOURCE : PORTS + 4])
    return rewritten(frame, *way, end="source") if way else None


def by_client(frame: bytes, ways: Ways) -> bytes | None:
    """The first flow of the same client's end."""
    mine = frame[DESTINATION:PORTS] + frame[PORTS + 2 : PORTS + 4]
    way = next((way for key, way in ways.items() if key[4:8] + key[10:12] == mine), None)
    return rewritten(frame, *way, end="source") if way else None


def by_backend(frame: bytes, ways: Ways) -> bytes | None:
    """The first flow of the same backend."""
    way = next((way for key, way in ways.items() if key[:4] == frame[SOURCE:DESTINATION]), None)
    return rewritten(frame, *way, end="source") if way else None


def back_cases(seed: int) -> list[Case]:
    """Replies of flows among others: one client's port at two services, and replies of no flow at all."""
    rng = random.Random(seed + 2)
    replies, ways = frames(seed), Ways()
    for frame in replies:
        other = bytes([10, 0, 1, rng.randrange(256)])
        key = frame[SOURCE : PORTS + 4]
        # The same client's end with another backend, and the same backend with another client: both first.
        ways[other + key[4:]] = (bytes([203, 0, 113, 1]), 443)
        ways[key[:4] + other + key[8:]] = (bytes([203, 0, 113, 2]), 25)
        ways[key] = (bytes([203, 0, 113, rng.randrange(3, 255)]), rng.randrange(1, 65536))
    few = [{key: ways[key] for key in list(ways)[3 * n : 3 * n + 3]} for n in range(len(replies))]
    stray = [(frame, few[n - 1]) for n, frame in enumerate(replies[:4])]
    return [Case(one) for one in [*zip(replies, few, strict=True), *stray]]


def known(makes: Any) -> Any:
    """A mistake of the rewrite, made to the right flow."""
    return lambda frame, ways: (
        makes(frame, *ways[frame[SOURCE : PORTS + 4]]) if frame[SOURCE : PORTS + 4] in ways else None
    )


BACK = Exercise(
    names=("frame", "ways"),
    right=right_back,
    praise="Right: {cases} replies, and those of no flow go nowhere.",
    mistakes=(
        *(Mistake(one.key, known(one.makes), one.hint) for one in mistakes("source")),
        Mistake(
            "by_client",
            by_client,
            "You look for the client's address and port. One client's port may talk to two services: the backend's end "
            "belongs to the key. All of bytes 26 to 37.",
        ),
        Mistake("by_backend", by_backend, "You look for the backend's address. It has many clients."),
        Mistake(
            "wrong_end",
            known(rewritten),
            "You wrote over the destination, which is the client. On the way back the source changes: bytes 26 to 29, "
            "port at 34.",
        ),
        Mistake(
            "passed_on",
            lambda frame, ways: right_back(frame, ways) if frame[SOURCE : PORTS + 4] in ways else frame,
            "A packet of no flow is given back as it is. It is not a reply that you know of: None.",
        ),
    ),
    properties=(
        Property("wrong_form", whole_frame),
        Property(
            "elsewhere",
            elsewhere(COMMON | set(range(SOURCE, DESTINATION)) | {34, 35}, "source, its port, hop count and checksums"),
        ),
    ),
    advice={
        **IMMUTABLE,
        "KeyError": ("unknown_flow", "there is no such flow, and then the answer is None: ways.get(key)."),
    },
    difference=differing,
)


def check_back(translate_back: Any, seed: int = 1) -> Verdict:
    """Exercise 4: translate_back(frame, ways) -> the reply for the client, or None."""
    return judge(BACK, translate_back, back_cases(seed))
