"""How much of everything one client may have, and for how long.

Rule of this file: numbers with a name, a unit and a default; whoever enforces one says so where it does.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from lbcore.l7.http2.limits import Http2Limits


@dataclass(frozen=True, slots=True)
class Limits:
    """Sizes in bytes, times in seconds."""

    target: int = 8_192
    """Of a request's target; longer: 414."""
    head: int = 32_768
    """Of a whole head, request or response; longer: 431, or 502 of a backend's."""
    fields: int = 100
    """Lines in a head, and in trailers; more: 431."""
    body: int = 1 << 40
    """Of a request's body; longer: 413."""
    chunk_line: int = 256
    """Of the line that gives a chunk's size, extensions included."""
    kept: int = 65_536
    """Of a request's body kept in memory so that it can be sent to a second backend, or while the first is reached."""
    fetched: int = 1 << 24
    """Of a response that a filter fetches for itself, whole in memory; a longer one is given up."""
    buffer: int = 65_536
    """Waiting to be sent on one connection before whoever writes has to pause."""
    connections: int = 10_000
    """Of clients, at once; one more is closed as soon as it comes."""
    requests: int = 100_000
    """On one connection, which is then closed."""
    head_time: float = 10.0
    """From a connection's or a head's first byte to the head's last: a client that dribbles gets 408."""
    idle_time: float = 60.0
    """Between two requests of a connection, and between two pieces of a body either way."""
    rate: float = 100.0
    """Bytes a second that a request's body must come at, on the average, once `idle_time` has passed."""
    linger: float = 2.0
    """How long a client may go on sending what nobody reads any more, so that it gets to see the answer."""
    http2: Http2Limits = field(default_factory=Http2Limits)
    """Of a connection of HTTP/2, a client's or a backend's, beside those of all."""
