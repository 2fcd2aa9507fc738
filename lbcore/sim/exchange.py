"""The packets of one request and its response over TCP: how many, which way, how large.

Rule of this file: it counts; it sends nothing and loses nothing.

Theory. A connection is opened with three packets and closed with three. Data are cut into segments of at most `mss`
bytes, and whoever receives them acknowledges every second segment (RFC 9293 section 3.8.6.3), with a packet that has no
data. So a response of n segments makes n packets one way and about n / 2 the other.

Trap. Real receivers acknowledge less often when their network card or kernel glues segments together, and more often
when segments are lost. `per_ack` says how often; shares in packets depend on it, shares in bytes hardly.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

MSS = 1448
"""Of an Ethernet of 1500 bytes with IPv4 (20), TCP (20) and timestamps (12)."""
OPENING, USUAL = 20, 12
"""Bytes of TCP options: in a SYN, and with timestamps afterwards."""
HEADERS = 14 + 20 + 20
"""Bytes of a frame's Ethernet, IPv4 and TCP headers."""


class Segment(NamedTuple):
    """A packet: from the client or to it, bytes of TCP options, bytes of data."""

    inbound: bool
    options: int
    data: int

    @property
    def size(self) -> int:
        """Bytes of its frame, as on any Ethernet without the checksum at the end."""
        return HEADERS + self.options + self.data


class Totals(NamedTuple):
    """Packets and bytes of frames, from the client and to it."""

    packets_in: int
    bytes_in: int
    packets_out: int
    bytes_out: int

    @property
    def packets_saved(self) -> float:
        """The share of all packets that goes to the client: what direct server return spares the balancer."""
        return self.packets_out / (self.packets_in + self.packets_out)

    @property
    def bytes_saved(self) -> float:
        """The same in bytes."""
        return self.bytes_out / (self.bytes_in + self.bytes_out)


def exchange(request: int, response: int, *, mss: int = MSS, per_ack: int = 2) -> Iterator[Segment]:
    """The segments of a connection with one request and one response of so many bytes.

    per_ack: segments that are acknowledged at once. ValueError names what cannot be.
    """
    for name, value, least in (("request", request, 0), ("response", response, 0), ("mss", mss, 1)):
        if value < least:
            raise ValueError(f"{name} is {value}, wanted at least {least}")
    if per_ack < 1:
        raise ValueError(f"per_ack is {per_ack}, wanted at least 1")
    yield Segment(True, OPENING, 0)
    yield Segment(False, OPENING, 0)
    yield Segment(True, USUAL, 0)
    yield from transfer(True, request, mss, per_ack)
    yield from transfer(False, response, mss, per_ack)
    yield Segment(True, USUAL, 0)
    yield Segment(False, USUAL, 0)
    yield Segment(True, USUAL, 0)


def transfer(inbound: bool, size: int, mss: int, per_ack: int) -> Iterator[Segment]:
    """The segments of so many bytes, and their acknowledgments."""
    count = -(-size // mss)
    for number in range(1, count + 1):
        yield Segment(inbound, USUAL, min(mss, size - (number - 1) * mss))
        if number % per_ack == 0 or number == count:
            yield Segment(not inbound, USUAL, 0)


def totals(request: int, response: int, *, mss: int = MSS, per_ack: int = 2) -> Totals:
    """What the segments of an exchange add up to."""
    sums = [0, 0, 0, 0]
    for segment in exchange(request, response, mss=mss, per_ack=per_ack):
        at = 0 if segment.inbound else 2
        sums[at] += 1
        sums[at + 1] += segment.size
    return Totals(*sums)
