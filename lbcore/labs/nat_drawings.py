"""Lab 02's drawings: what a student's functions did to real checksums and packets.

Rule of this file: it draws what it was given, right or wrong. Where there is nothing to draw it gives back the reason
in words.
"""

from __future__ import annotations

from typing import Any

from lbcore.l4.walk import Site, Stop
from lbcore.labs.drawing import called, nothing
from lbcore.labs.judge import Verdict
from lbcore.measure.table import Table
from lbcore.show.packet_walk import Page
from lbcore.wire import compose
from lbcore.wire.difference import repairs

NAT = Site("nat", backend_port=8080)
BACKEND, PORT = bytes([10, 0, 0, 12]), 8080


def shown(value: Any) -> str:
    """A checksum that a student gave back, be it one or not."""
    return f"{value:04x}" if type(value) is int else str(value)[:40]


def show_update(update: Any) -> Table | Verdict:
    """A TCP checksum on its way from one address and port to another, word by word, and the library's beside it."""
    stops = NAT.walk()
    repair = next(one for one in repairs(stops[1].frame, stops[2].frame) if one.layer == "tcp")
    value, rows = repair.start, [("", "", "", f"{repair.start:04x}", f"{repair.start:04x}")]
    for step in repair.steps:
        outcomes, reason = called(update, (value, step.old, step.new))
        if reason:
            return reason
        value = outcomes[0].value
        rows.append((step.what, f"{step.old:04x}", f"{step.new:04x}", shown(value), f"{step.result:04x}"))
        if type(value) is not int:
            break
    return Table(("word", "out", "in", "yours", "library's"), tuple(rows), "TCP's checksum of a translated packet")


def page(function: Any, frame: bytes, *arguments: Any) -> Page | Verdict:
    """A frame, and what the function made of it."""
    outcomes, reason = called(function, (frame, *arguments))
    if reason:
        return reason
    made = outcomes[0].value
    if not isinstance(made, bytes) or len(made) != len(frame):
        return nothing(function.__name__, outcomes)
    words = "What your function made of it."
    return Page((Stop("balancer", "in", frame, ""), Stop("balancer", "out", made, words)), 1)


def show_translate(translate: Any) -> Page | Verdict:
    """A request on its way to a backend."""
    return page(translate, NAT.walk()[1].frame, BACKEND, PORT)


def show_udp(repair_udp: Any) -> Table | Verdict:
    """Three datagrams: a usual one, one without a checksum, and one whose checksum comes out as 0."""
    kinds = {
        "usual": (0x1234, [(80, 8080)]),
        "none was sent": (0, [(80, 8080)]),
        "adds up to 0": (0xFFFE, [(0, 0xFFFE)]),
    }
    rows = []
    for kind, (value, words) in kinds.items():
        outcomes, reason = called(repair_udp, (value, words))
        if reason:
            return reason
        told = ", ".join(f"{old:04x} > {new:04x}" for old, new in words)
        rows.append((kind, f"{value:04x}", told, shown(outcomes[0].value)))
    return Table(("datagram", "arrived with", "words changed", "leaves with"), tuple(rows))


def show_back(translate_back: Any) -> Page | Verdict:
    """A backend's reply on its way to the client."""
    reply = compose.tcp_frame(source="10.0.0.12:8080", destination="198.51.100.7:40000", payload=b"HTTP/1.1 200 OK\r\n")
    return page(translate_back, reply, {reply[26:38]: (bytes([203, 0, 113, 80]), 80)})
