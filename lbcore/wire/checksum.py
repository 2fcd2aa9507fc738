"""The Internet checksum: computing it, and repairing it after a rewrite.

Rule of this file: it knows 16-bit words, nothing about who owns them.

Theory. RFC 1071 adds the data up as big-endian 16-bit words in ones' complement arithmetic (what is carried out at
the top comes back in at the bottom) and stores the complement. Such a sum does not care in which order words are
added. So whoever changes one address need not read the packet again: take the old words out, put the new ones in
(RFC 1624, equation 3). That is why NAT costs the same for a packet of 60 bytes and of 1500.

Traps. RFC 1141's shorter formula gives 0xFFFF where 0x0000 is right; `update16` uses RFC 1624's. And UDP over IPv4
sends 0xFFFF for a computed 0, because 0 there means "no checksum" (RFC 768): see `udp.finish`.
"""

from __future__ import annotations

from lbcore.wire.portable import portable
from lbcore.wire.seam import View, u8, u16
from lbcore.wire.words import int64


@portable
def fold(total: int) -> int:
    """A sum of 16-bit words (0 <= total < 2**48), carries added back in, as 16 bits (RFC 1071 section 4.1)."""
    total = (total & 0xFFFF) + (total >> 16)
    total = (total & 0xFFFF) + (total >> 16)
    total = (total & 0xFFFF) + (total >> 16)
    return (total & 0xFFFF) + (total >> 16)


@portable
def add(p: View, start: int, end: int) -> int:
    """The unfolded sum of the words of p[start:end]; an odd last byte counts as if a zero byte followed.

    The caller has asked for the bytes with `need`. Sums may be added to each other: that is how a pseudo-header joins.
    """
    total = 0
    for at in range(start, end - 1, 2):
        total += u16(p, at)
    if (end - start) & 1:
        total += u8(p, end - 1) << 8
    return total


@portable
def finish(total: int) -> int:
    """The checksum (16 bits, host order) of an unfolded sum. Data that contains its right checksum finishes as 0."""
    return fold(total) ^ 0xFFFF


@portable
def pseudo_ipv4(source: int, destination: int, protocol: int, length: int) -> int:
    """The unfolded sum of the IPv4 pseudo-header (RFC 9293 section 3.1): `length` is that of the TCP or UDP part."""
    return (source >> 16) + (source & 0xFFFF) + (destination >> 16) + (destination & 0xFFFF) + protocol + length


@portable
def words64(x: int) -> int:
    """The unfolded sum of the four words of a 64-bit word (half an IPv6 address)."""
    return int64((x >> 48) + ((x >> 32) & 0xFFFF) + ((x >> 16) & 0xFFFF) + (x & 0xFFFF))


@portable
def update16(checksum: int, old: int, new: int) -> int:
    """The checksum after one 16-bit word changed (RFC 1624 equation 3: HC' = ~(~HC + ~m + m'))."""
    return finish((checksum ^ 0xFFFF) + (old ^ 0xFFFF) + new)


@portable
def update32(checksum: int, old: int, new: int) -> int:
    """The checksum after a 32-bit field, such as an IPv4 address, changed."""
    old ^= 0xFFFFFFFF
    return finish((checksum ^ 0xFFFF) + (old >> 16) + (old & 0xFFFF) + (new >> 16) + (new & 0xFFFF))
