"""Which pages of other origins may read the answers (CORS, the Fetch standard, section 3.2).

Rule of this file: it is the one that decides: what a backend says in Access-Control-* is taken out.

Theory. A browser asks before it sends what a form could not send: OPTIONS with Origin and
Access-Control-Request-Method, the preflight. It is answered here; the backend never sees it. For the request itself the
browser looks at the answer's Access-Control-Allow-Origin and keeps the answer from the page if its origin is not there.

Traps
- It is the browser that refuses. A request of a foreign page has been served when its answer is withheld.
- The answer depends on Origin: it says `Vary: Origin`, with and without Origin in the request, or a cache serves one
  origin's answer to another. Only a plain `*` is the same for all.
- Never `*` with credentials, nor the echo of whoever asks, which means the same. `null` is the origin of every
  sandboxed frame, anybody's.
"""

from __future__ import annotations

import re
from typing import Final

import msgspec

from lbcore.l7.field import TOKEN
from lbcore.l7.filters.filter import Answer, Exchange, Filter
from lbcore.l7.message import Headers, Message, Names, Response, block_of, text

ORIGIN: Final = re.compile(
    r"(?P<scheme>[a-z][a-z0-9+.-]*)://(?P<any>\*\.)?(?P<host>[a-z0-9._-]+|\[[0-9a-f:.]+\])(?::\d{1,5})?"
)
DECIDED: Final = Names(
    b"access-control-" + name
    for name in (
        b"allow-origin", b"allow-credentials", b"allow-methods", b"allow-headers", b"expose-headers", b"max-age",
        b"allow-private-network",
    )
)  # fmt: skip
LABELS: Final = re.compile(rb"[a-z0-9_-]+(?:\.[a-z0-9_-]+)*")


class CorsOptions(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, tag_field="kind", tag="cors"):
    """Who may ask for what."""

    origins: tuple[str, ...]
    """`https://app.example.org`, `https://*.example.org` for all names under it, or `*` alone for everybody."""
    methods: tuple[str, ...] = ("GET", "HEAD", "POST")
    """Methods that a page may use; `*`: any, as with `headers`."""
    headers: tuple[str, ...] = ()
    """Fields that a page may set, beyond those that any page may."""
    expose: tuple[str, ...] = ()
    """Fields that a page may read, beyond those that any page may."""
    credentials: bool = False
    """With cookies and authorization."""
    max_age: int = 600
    """Seconds for which a browser need not ask again."""

    def __post_init__(self) -> None:
        if not self.origins:
            raise ValueError("origins is empty; must hold origins such as 'https://app.example.org', or '*'")
        if "*" in self.origins and len(self.origins) > 1:
            raise ValueError(f"origins is {self.origins!r}; must hold nothing else beside '*'")
        if "*" in self.origins and self.credentials:
            raise ValueError(
                "origins is '*' with credentials; must name the origins that may ask with a user's cookies"
            )
        for origin in self.origins:
            if origin != "*" and not ORIGIN.fullmatch(origin):
                raise ValueError(
                    f"origins holds {origin!r}; must be like 'https://app.example.org', lower case, no path"
                )
        for field, names in (("methods", self.methods), ("headers", self.headers), ("expose", self.expose)):
            for name in names:
                if not TOKEN.fullmatch(name.encode()) or (name == "*" and self.credentials):
                    raise ValueError(f"{field} holds {name!r}; must be a name (never '*' with credentials)")
        if not 0 <= self.max_age <= 86400:
            raise ValueError(f"max_age is {self.max_age}; must be seconds, 0 to 86400")


class Cors(Filter):
    """Answers preflights, marks answers."""

    def __init__(self, options: CorsOptions) -> None:
        self._everybody = "*" in options.origins
        found = [ORIGIN.fullmatch(origin) for origin in options.origins if origin != "*"]
        self._exact = frozenset(match[0].encode() for match in found if match and not match["any"])
        self._under = [tuple(m[0].encode().split(b"*")) for m in found if m and m["any"]]
        self._methods = frozenset(method.encode() for method in options.methods)
        self._headers = frozenset(name.lower().encode() for name in options.headers)
        both = [(b"access-control-allow-credentials", b"true")] if options.credentials else []
        exposed = ", ".join(options.expose).lower().encode()
        self._answer = [*both, *([(b"access-control-expose-headers", exposed)] if exposed else [])]
        self._preflight = [
            *both,
            (b"access-control-allow-methods", ", ".join(options.methods).encode()),
            *([(b"access-control-allow-headers", b", ".join(sorted(self._headers)))] if self._headers else []),
            (b"access-control-max-age", b"%d" % options.max_age),
            (b"vary", b"origin, access-control-request-method, access-control-request-headers"),
        ]

    def on_request(self, exchange: Exchange) -> Answer:
        request = exchange.request
        if request.method != b"OPTIONS":
            return None
        origin = request.get(b"origin")
        method = request.get(b"access-control-request-method")
        if origin is None or method is None:
            return None
        exchange.notes[self] = True
        if not self._allowed(origin):
            return text(403, "This origin may not ask.")
        if b"*" not in self._methods and method not in self._methods:
            return text(403, "This method may not be used from other origins.")
        asked = request.headers.tokens(b"access-control-request-headers")
        if b"*" not in self._headers and not self._headers.issuperset(asked):
            return text(403, "One of these fields may not be set from other origins.")
        return Response(204, Headers([(b"access-control-allow-origin", self._named(origin)), *self._preflight]), b"")

    def on_response(self, exchange: Exchange, response: Response) -> None:
        if self in exchange.notes:
            return
        response.drop(DECIDED)
        if not self._everybody:
            add_vary(response, b"origin")
        origin = exchange.request.get(b"origin")
        if origin is not None and self._allowed(origin):
            response.put(b"access-control-allow-origin: %b\r\n" % self._named(origin))
            response.put(block_of(self._answer), len(self._answer))

    def _named(self, origin: bytes) -> bytes:
        return b"*" if self._everybody else origin

    def _allowed(self, origin: bytes) -> bool:
        """One of the origins? Compared as bytes: browsers write scheme and host in lower case."""
        if self._everybody or origin in self._exact:
            return True
        return any(
            origin.startswith(head) and origin.endswith(tail) and LABELS.fullmatch(origin[len(head) : -len(tail)])
            for head, tail in self._under
        )


def add_vary(message: Message, *names: bytes) -> None:
    """Vary names these too, once (RFC 9110, 12.5.5); `*` says it all already."""
    if message.get(b"vary") is None:
        message.put(b"vary: %b\r\n" % b", ".join(names))
        return
    headers = message.headers
    said = headers.tokens(b"vary")
    if b"*" not in said:
        missing = [name for name in names if name not in said]
        if missing:
            headers.set(b"vary", b", ".join([*headers.all(b"vary"), *missing]))
