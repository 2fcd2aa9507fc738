"""A SYN cookie: the state of a half-open connection, kept by the client as the number it has to send back.

Rule of this file: arithmetic on numbers, no packets. It shows the idea (RFC 4987 section 3.6); the bits that Linux uses
lie elsewhere, and its own kernel makes and checks them.

Theory. A server chooses the first sequence number of its side, and an honest client acknowledges it. So the number can
say what the server would have had to remember: 5 bits for when, 3 for one of eight segment sizes, and a seal of 24 bits
over all of it and the addresses, which only the holder of the key can make.

Trap. 24 bits can be guessed, once in 16 million tries for each minute that is accepted. And what is not in the number
is lost: window scale, selective acknowledgements.
"""

from __future__ import annotations

from lbcore.balance.hashes.siphash import key_words, siphash24


def make(key: bytes, client: str, server: str, minute: int, size: int) -> int:
    """The number (32 bits) for a SYN from `client` to `server`. key: 16 secret bytes; size: which of eight, 0 to 7."""
    if not 0 <= size < 8:
        raise ValueError(f"size: {size}; which of eight segment sizes, 0 to 7")
    seal = siphash24(f"{client} {server} {minute} {size}".encode(), *key_words(key)) & 0xFFFFFF
    return (minute % 32) << 27 | size << 24 | seal


def accepts(key: bytes, number: int, client: str, server: str, minute: int) -> bool:
    """Is this our number for that client, made in this minute or in the one before?"""
    size = number >> 24 & 7
    return number in (make(key, client, server, minute, size), make(key, client, server, minute - 1, size))
