"""What happened, and why: numbers that only rise, and how many are open now.

Rule of this file: a table of reasons, and sums.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from enum import StrEnum


class Reason(StrEnum):
    """How a connection, a flow or a datagram ended."""

    DONE = "done"
    RESET = "reset"
    IDLE = "idle"
    CUT = "cut"
    UNTRUSTED = "untrusted"
    BAD_PROXY = "bad proxy header"
    BAD_HELLO = "bad hello"
    SLOW = "slow opening"
    SHORT = "short opening"
    NO_ROUTE = "no route"
    FAMILY = "family"
    NO_BACKEND = "no backend"
    PER_SOURCE = "per source"
    NO_DESCRIPTOR = "no descriptor"
    FULL = "full"
    LOST = "lost"
    FAULT = "fault"


TEXT = {
    Reason.DONE: "both ends finished",
    Reason.RESET: "one end broke off, and the other was told so",
    Reason.IDLE: "no byte either way for the idle time",
    Reason.CUT: "still open when the drain window or the relay ended",
    Reason.UNTRUSTED: "from none of the networks that a PROXY header is taken from",
    Reason.BAD_PROXY: "a PROXY header was due and this is none",
    Reason.BAD_HELLO: "a ClientHello was due and this is none",
    Reason.SLOW: "PROXY header or ClientHello not whole in time",
    Reason.SHORT: "the client ended before its PROXY header or ClientHello did",
    Reason.NO_ROUTE: "no route takes this name, and there is no default",
    Reason.FAMILY: "its address is to be kept, and is of another family than the backend's",
    Reason.NO_BACKEND: "no backend could be reached in the attempts allowed",
    Reason.PER_SOURCE: "its source has as many open as it may",
    Reason.NO_DESCRIPTOR: "the process has no descriptor left",
    Reason.FULL: "UDP: the table of flows is full",
    Reason.LOST: "UDP: a datagram that a socket did not take",
    Reason.FAULT: "a fault of the relay itself, logged",
}


@dataclass
class Counters:
    """accepted: connections and UDP flows. open: of these, now. connected: that reached a backend.

    from_clients, from_backends: bytes. retries: attempts that failed and were followed by another.
    pauses: how often accepting stopped for want of descriptors. ech: hellos with ECH, real or GREASE.
    ended: by reason; of UDP datagrams, those that were dropped. by_backend: connections, by address.
    """

    accepted: int = 0
    open: int = 0
    connected: int = 0
    from_clients: int = 0
    from_backends: int = 0
    retries: int = 0
    pauses: int = 0
    ech: int = 0
    ended: Counter[Reason] = field(default_factory=Counter)
    by_backend: Counter[str] = field(default_factory=Counter)
