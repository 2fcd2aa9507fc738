"""What RFC 9111 says of storing, giving, confirming and forgetting, for a cache that many clients share.

Rule of this file: pure functions of messages and a moment; nothing is stored here, nobody is asked.

Theory. A cache answers for somebody else, so it needs leave: to store (section 3), to give what it stored (4), to give
it although it is stale (4.2.4). The backend gives leave and takes it back in Cache-Control, the client can only ask for
less (5.2.1). Where a message is unclear the answer is no: a request more costs little, a wrong answer is kept for long.

Traps
- `no-cache` does not mean "do not store", it means "ask before you give it"; `no-store` is the one that forbids.
- s-maxage means proxy-revalidate too (5.2.2.10): beside it stale-while-revalidate has no effect on a shared cache,
  whatever some of them do.
- Set-Cookie does not forbid storing by itself (7.3). Here it does unless configured otherwise: a session given to
  everybody is the worst mistake a shared cache can make.
- Pragma is not looked at: it is deprecated (5.4), and never said anything about responses.
"""

from __future__ import annotations

from enum import Enum
from typing import Final, Literal

from lbcore.l7.cache import directives
from lbcore.l7.cache import entry as entries
from lbcore.l7.cache.directives import Directives
from lbcore.l7.cache.entry import HEURISTIC, Entry
from lbcore.l7.message import Headers

UNDERSTOOD: Final = HEURISTIC | {201, 202, 302, 303, 307, 400, 401, 403, 406, 409, 421, 422, 429, 500, 502, 503, 504}
"""Statuses whose rules for caches are known and kept here: what `must-understand` asks (RFC 9111, 5.2.2.3)."""
SAFE: Final = frozenset((b"GET", b"HEAD", b"OPTIONS", b"TRACE"))  # RFC 9110, 9.2.1
ERRORS: Final = frozenset((500, 502, 503, 504))  # RFC 5861, 4
NOT_UPDATED: Final = frozenset(
    (b"content-encoding", b"content-length", b"content-md5", b"content-range", b"content-digest", b"etag")
)
"""Fields that belong to the stored body, and so are not taken from a 304 (RFC 9111, 3.2)."""
SetCookie = Literal["refuse", "strip", "store"]


class Use(Enum):
    """What may be done with a stored response for one request."""

    FRESH = "fresh"
    STALE = "stale"
    """The client takes it so old."""
    WHILE_REVALIDATE = "while-revalidate"
    """Give it, and fetch a new one."""
    VALIDATE = "validate"
    """Ask the backend first."""


def unstorable(
    authorized: bool,
    asked: Directives,
    status: int,
    response: Headers,
    said: Directives,
    set_cookie: SetCookie = "refuse",
) -> str:
    """Why the answer to a GET must not be stored; empty if it may be (RFC 9111, 3).

    authorized: the request had Authorization (3.5). asked, said: Cache-Control of request and response.
    """
    if status < 200 or status in (206, 304):
        return "status"
    if b"no-store" in asked:
        return "request no-store"
    if b"must-understand" in said:
        if status not in UNDERSTOOD:
            return "must-understand"
    elif b"no-store" in said:
        return "no-store"
    if b"private" in said and not directives.fields(said, b"private"):
        return "private"
    if authorized and not any(leave in said for leave in (b"must-revalidate", b"public", b"s-maxage")):
        return "authorization"
    if set_cookie == "refuse" and response.has(b"set-cookie"):
        return "set-cookie"
    if b"*" in response.tokens(b"vary"):
        return "vary"
    explicit = b"public" in said or b"max-age" in said or b"s-maxage" in said or response.has(b"expires")
    return "" if explicit or status in HEURISTIC else "no freshness"


def kept(response: Headers, said: Directives, set_cookie: SetCookie = "refuse") -> Headers:
    """The fields that may be stored (RFC 9111, 3.1): without those that private="..." and no-cache="..." name."""
    out = directives.fields(said, b"private") | directives.fields(said, b"no-cache")
    if set_cookie != "store":
        out |= {b"set-cookie"}
    return Headers([line for line in response if line[0] not in out])


def use(entry: Entry, asked: Directives, now: float) -> Use:
    """What may be done with a stored response (RFC 9111, 4, 4.2.4 and 5.2.1; RFC 5861, 3)."""
    age = entry.age(now)
    left = entry.lifetime - age
    if not asked:
        if left > 0 and not entry.validate:
            return Use.FRESH
    else:
        oldest = directives.seconds(asked, b"max-age")
        if b"no-cache" in asked or (oldest is not None and age > oldest):
            return Use.VALIDATE
        if left > 0 and not entry.validate and left >= (directives.seconds(asked, b"min-fresh") or 0):
            return Use.FRESH
        if left > 0 or b"min-fresh" in asked:
            return Use.VALIDATE
    if entry.validate or entry.strict:
        return Use.VALIDATE
    if b"max-stale" in asked and (
        asked[b"max-stale"] is None or -left <= (directives.seconds(asked, b"max-stale") or 0)
    ):
        return Use.STALE
    return Use.WHILE_REVALIDATE if -left < entry.while_revalidate else Use.VALIDATE


def may_replace_error(entry: Entry, asked: Directives, now: float, at_least: float = 0.0) -> bool:
    """May it be given instead of an error (RFC 5861, 4; RFC 9111, 4.2.4)? at_least: seconds that are allowed anyway."""
    if entry.validate or entry.strict or b"no-cache" in asked:
        return False
    oldest = directives.seconds(asked, b"max-age")
    if oldest is not None and entry.age(now) > oldest:
        return False
    allowed = max(entry.if_error, at_least, directives.seconds(asked, b"stale-if-error") or 0)
    return entry.age(now) - entry.lifetime < allowed


def conditions(entry: Entry) -> list[tuple[bytes, bytes]]:
    """The fields that ask whether a stored response still holds (RFC 9111, 4.3.1); none if it has no validator."""
    lines = [(b"if-none-match", entry.etag)] if entry.etag else []
    return [*lines, (b"if-modified-since", entry.modified)] if entry.modified else lines


def confirms(entry: Entry, response: Headers) -> bool:
    """Does a 304 speak of this stored response (RFC 9111, 4.3.4)? If it names a validator, it must be this one's."""
    etag, modified = response.get(b"etag"), response.get(b"last-modified")
    if etag is not None and entry.etag:
        return weak(etag) == weak(entry.etag)
    return modified is None or not entry.modified or modified == entry.modified


def weak(etag: bytes) -> bytes:
    """An entity tag as weak comparison sees it (RFC 9110, 8.8.3.2)."""
    return etag.removeprefix(b"W/")


def freshened(
    entry: Entry,
    response: Headers,
    requested: float,
    received: float,
    heuristic_limit: float,
    set_cookie: SetCookie = "refuse",
) -> Entry:
    """The stored response with the fields of a 304, or of a HEAD's 200, in place of its own (RFC 9111, 3.2)."""
    said = directives.parse(response.joined(b"cache-control"))
    news = [line for line in kept(response, said, set_cookie) if line[0] not in NOT_UPDATED]
    if not response.has(b"date"):
        news.append((b"date", b""))  # the old one would make the confirmed response old
    names = {name for name, _ in news}
    lines = [line for line in entry.headers if line[0] not in names] + [line for line in news if line != (b"date", b"")]
    return entries.entry_of(
        entry.status, Headers(lines), entry.vary, requested, received, heuristic_limit, entry.body
    )  # fmt: skip


def head_confirms(entry: Entry, status: int, response: Headers, length: int | None) -> bool:
    """Does the answer to a HEAD speak of the response stored for GET (RFC 9111, 4.3.5)? If not, that one is old."""
    if status != 200 or entry.status != 200 or (length is not None and length != len(entry.body)):
        return False
    etag, modified = response.get(b"etag"), response.get(b"last-modified")
    return (etag is None or etag == entry.etag) and (modified is None or modified == entry.modified)


def invalidates(method: bytes, status: int) -> bool:
    """Does this exchange make what is stored for its target invalid (RFC 9111, 4.4)?"""
    return method not in SAFE and 200 <= status < 400
