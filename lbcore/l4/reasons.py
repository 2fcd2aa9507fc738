"""What the data plane does with a packet, and why: one small integer each, the same on every target.

Rule of this file: a table. `action_of` is what happens, `TEXT` says it to people.

Theory. A balancer on a host's own interface sees everything that arrives there, and most of it may be none of its
business: what is not for a virtual address goes on to the host's own stack. What *is* for a virtual address and cannot
be balanced is dropped and counted under its reason; to hand it to the host would be to answer for a service that the
host does not run.
"""

from __future__ import annotations

from enum import IntEnum

from lbcore.wire.portable import portable

DROP, PASS, TX = 1, 2, 3
"""Actions, numbered as XDP numbers its verdicts: drop it, leave it to the host, send it out where it came from."""


class Reason(IntEnum):
    """Why a packet met its end. FORWARDED, REPLY and ECHO leave through the interface; the others go nowhere."""

    FORWARDED = 0
    REPLY = 1
    ECHO = 2
    NOT_IP = 3
    NOT_OURS = 4
    TRUNCATED = 5
    MALFORMED = 6
    OPTIONS = 7
    FRAGMENT = 8
    TTL = 9
    TOO_BIG = 10
    NO_BACKEND = 11
    NO_ROOM = 12
    NO_PORT = 13
    FAMILY = 14
    LIMITED = 15


TEXT = {
    Reason.FORWARDED: "sent to a backend",
    Reason.REPLY: "a backend's reply, sent to its client",
    Reason.ECHO: "a ping of a virtual address, answered",
    Reason.NOT_IP: "neither IPv4 nor IPv6",
    Reason.NOT_OURS: "for no virtual address, or another host's frame",
    Reason.TRUNCATED: "the frame ends before the headers do",
    Reason.MALFORMED: "a header contradicts itself or the frame's length",
    Reason.OPTIONS: "IPv4 options: nothing a client sends in earnest",
    Reason.FRAGMENT: "a fragment: without ports in it, or with later ones to come that have none",
    Reason.TTL: "the hop count is used up",
    Reason.TOO_BIG: "longer than the configured largest frame",
    Reason.NO_BACKEND: "no backend is in the table",
    Reason.NO_ROOM: "no room before the packet for one more header",
    Reason.NO_PORT: "full NAT found no free port",
    Reason.FAMILY: "NAT cannot turn IPv4 into IPv6 or back",
    Reason.LIMITED: "its source sends more than it may",
}

# The same as plain integers, for code that is compiled.
FORWARDED, REPLY, ECHO, NOT_IP, NOT_OURS = range(5)
TRUNCATED, MALFORMED, OPTIONS, FRAGMENT, TTL = range(5, 10)
TOO_BIG, NO_BACKEND, NO_ROOM, NO_PORT, FAMILY, LIMITED = range(10, 16)


ACTIONS = {FORWARDED: TX, REPLY: TX, ECHO: TX, NOT_IP: PASS, NOT_OURS: PASS}
"""What becomes of a packet with a reason; with any other it is dropped."""
_PACKED = sum(ACTIONS.get(reason, DROP) << 2 * reason for reason in Reason)
"""The same in one word, two bits each: every target has that."""


@portable
def action_of(reason: int) -> int:
    """What becomes of a packet with this reason."""
    return _PACKED >> 2 * reason & 3
