"""A stored response, and the numbers that decide about it.

Rule of this file: what is worked out once, when the response is stored, so that a hit has little left to work out.

Theory. How long a response is fresh and how old it was when it came are functions of its head and of two moments
(RFC 9111, 4.2). They do not change while it is stored; only `now` does.

Traps
- Seconds are of the clock on the wall: Date and Expires are, and so is a store that outlives the process. If that clock
  is set back, ages stand still until it has caught up; they are never negative.
- A Date of a backend whose clock is ahead makes no response younger: an apparent age below 0 is 0.
"""

from __future__ import annotations

from typing import Final

import msgspec

from lbcore.l7.cache import dates, directives
from lbcore.l7.cache.directives import Directives
from lbcore.l7.message import Headers, block_of

HEURISTIC: Final = frozenset((200, 203, 204, 300, 301, 308, 404, 405, 410, 414, 501))
"""Statuses that may be stored without a word about how long (RFC 9110, 15.1), but 206, which is not stored here."""
FRACTION: Final = 0.1
"""Of the time since the last change, for which a response without a word is taken as fresh (RFC 9111, 4.2.2)."""


class Entry(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One stored response. Times are seconds since 1970, durations seconds."""

    status: int
    block: bytes
    """The field lines, each `name: value CRLF`; without Age, and with a Date."""
    vary: tuple[tuple[bytes, bytes | None], ...]
    """Fields of the request that chose this response, and what they said (RFC 9111, 4.1)."""
    received: float
    date: float
    """What Date says, or `received`."""
    initial_age: float
    """How old it was when it came."""
    lifetime: float
    etag: bytes
    """Empty if it has none; so is `modified`."""
    modified: bytes
    validate: bool
    """`no-cache`: it is given to nobody before the backend was asked."""
    strict: bool
    """Stale, it is given to nobody, whatever happens: `must-revalidate` and what means the same to a shared cache."""
    while_revalidate: float
    """For so long after its freshness it may be given while a new one is fetched (RFC 5861, 3)."""
    if_error: float
    """For so long it may stand in for an error (RFC 5861, 4)."""
    body: bytes = b""

    @property
    def headers(self) -> Headers:
        """The field lines as a list of one's own."""
        pairs = (line.split(b": ", 1) for line in self.block.split(b"\r\n")[:-1])
        return Headers([(name, value) for name, value in pairs])

    @property
    def size(self) -> int:
        """Bytes that it takes, about."""
        return len(self.body) + len(self.block) + sum(len(n) + len(v or b"") for n, v in self.vary) + OVERHEAD

    def age(self, now: float) -> float:
        """Seconds since the backend made it or last confirmed it (RFC 9111, 4.2.3: current_age)."""
        return self.initial_age + max(0.0, now - self.received)


OVERHEAD: Final = 512
"""Bytes that an entry takes beside what it holds."""


def initial_age(headers: Headers, requested: float, received: float) -> float:
    """How old a response was when it came (RFC 9111, 4.2.3: corrected_initial_age)."""
    date = dates.parse(headers.get(b"date"), received)
    apparent = max(0.0, received - date) if date is not None else 0.0
    first = (headers.get(b"age") or b"").partition(b",")[0].strip()
    # Not a number: ignored (5.1). A response from another cache that hides its age is younger than it seems to be.
    said = directives.seconds({b"age": first}, b"age") or 0
    return max(apparent, said + max(0.0, received - requested))


def lifetime(status: int, headers: Headers, said: Directives, received: float, heuristic_limit: float) -> float:
    """For how long after its making a response is fresh (RFC 9111, 4.2.1); the first that is there of s-maxage,
    max-age, Expires, and a tenth of the time since its last change, at most `heuristic_limit`."""
    for name in (b"s-maxage", b"max-age"):
        explicit = directives.seconds(said, name)
        if explicit is not None:
            return explicit
    date = dates.parse(headers.get(b"date"), received)
    date = received if date is None else date
    expires = headers.get(b"expires")
    if expires is not None:
        until = dates.parse(expires, received)
        return 0.0 if until is None else max(0.0, until - date)
    modified = dates.parse(headers.get(b"last-modified"), received)
    if modified is None or (status not in HEURISTIC and b"public" not in said):
        return 0.0
    return min(max(0.0, date - modified) * FRACTION, heuristic_limit)


def entry_of(
    status: int,
    headers: Headers,
    vary: tuple[tuple[bytes, bytes | None], ...],
    requested: float,
    received: float,
    heuristic_limit: float,
    body: bytes = b"",
) -> Entry:
    """An entry of a response whose head came at `received`, to a request sent at `requested`.

    headers: what is to be stored; Age goes, a missing Date comes (RFC 9110, 6.6.1).
    """
    said = directives.parse(headers.joined(b"cache-control"))
    date = dates.parse(headers.get(b"date"), received)
    lines = [line for line in headers if line[0] != b"age"]
    if not headers.has(b"date"):
        lines.append((b"date", dates.written(received)))
    return Entry(
        status=status,
        block=block_of(lines),
        vary=vary,
        received=received,
        date=received if date is None else date,
        initial_age=initial_age(headers, requested, received),
        lifetime=lifetime(status, headers, said, received, heuristic_limit),
        etag=headers.get(b"etag") or b"",
        modified=headers.get(b"last-modified") or b"",
        validate=b"no-cache" in said and not directives.fields(said, b"no-cache"),
        strict=any(name in said for name in (b"must-revalidate", b"proxy-revalidate", b"s-maxage")),
        while_revalidate=directives.seconds(said, b"stale-while-revalidate") or 0,
        if_error=directives.seconds(said, b"stale-if-error") or 0,
        body=body,
    )
