"""The CPU bill of a TLS front: what a request costs, part by part.

Rule of this file: multiplication. The prices come from whoever measured them.

Theory. A handshake is paid once a connection, so a request pays its share of one: full for clients that come new,
resumed for those that bring a ticket. Bytes are paid for one by one, the request itself once.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Prices:
    """CPU time, all in one unit (the book uses microseconds). byte: of encrypted body. request: of everything that is
    no TLS."""

    full: float
    resumed: float
    byte: float
    request: float = 0.0


FULL, RESUMED, BYTES, REQUEST = "full handshakes", "resumed handshakes", "encryption", "the request itself"


def bill(prices: Prices, requests: float, size: float, resumed: float) -> dict[str, float]:
    """CPU time of one request by part. requests: on each connection. size: bytes of an answer. resumed: share of the
    connections that come back with a ticket that fits.

    ValueError where one of them cannot be.
    """
    if requests < 1:
        raise ValueError(f"requests is {requests}, wanted 1 or more on each connection")
    if size < 0:
        raise ValueError(f"size is {size}, wanted 0 bytes or more")
    if not 0 <= resumed <= 1:
        raise ValueError(f"resumed is {resumed}, wanted a share from 0 to 1")
    return {
        FULL: (1 - resumed) * prices.full / requests,
        RESUMED: resumed * prices.resumed / requests,
        BYTES: size * prices.byte,
        REQUEST: prices.request,
    }
