"""QUIC, as far as one who has no keys can read it: the invariants (RFC 8999), and whose connection id it is.

Rule of this file: it reads the first bytes of a UDP datagram and remembers nothing.

Theory. A connection id is chosen by who receives packets with it, so a server can put into it what balancers need to
find that server again, whatever address the client has moved to. In the form that Katran reads, the first two bits say
how long the server's number is: 16 bits, 24 or 32 (the numbers travel in plain sight).

A client's first packets carry an id that the client has made up, so there is no server in it: long headers of the types
Initial and 0-RTT have none to read.
"""

from __future__ import annotations

from lbcore.wire.portable import portable
from lbcore.wire.seam import View, advance, need, u8, u16, u32

LONG, TYPE, INITIAL, ZERO_RTT = 0x80, 0x30, 0x00, 0x10
NO_ID = 0
SHORTEST = 8
"""Bytes of a connection id that may hold a server's number."""


@portable
def server_id(p: View) -> int:
    """The server's number in the destination connection id of a datagram's first packet, or NO_ID."""
    if not need(p, 1 + SHORTEST):
        return NO_ID
    first = u8(p, 0)
    if not first & LONG:
        return _read(advance(p, 1))
    if first & TYPE in (INITIAL, ZERO_RTT) or not need(p, 6 + SHORTEST) or u8(p, 5) < SHORTEST:
        return NO_ID
    return _read(advance(p, 6))


@portable
def _read(p: View) -> int:
    kind = u8(p, 0) >> 6
    if kind == 1:
        return (u32(p, 0) >> 14) & 0xFFFF
    if kind == 2:
        return u32(p, 0) & 0xFFFFFF
    if kind == 3:
        return u8(p, 1) << 24 | u16(p, 2) << 8 | u8(p, 4)
    return NO_ID
