"""Another place for the client to ask: http to https, an old name to the new one, an old path to its heir.

Rule of this file: it answers, or lets pass what stands at the right place already.

Theory (RFC 9110, 15.4). 301 and 302 let clients make a GET of a POST, 307 and 308 do not; 301 and 308 may be kept for
good. Location is a URI of its own, or a path on the same origin.

Trap: the open redirect. If a client's input decides the host of Location, a link to our name leads to somebody else's
site. Scheme, host and port are therefore the configuration's; the Host of the request is taken only if it is one of
`hosts`. Path and query are the client's, and two slashes, or a slash and a backslash, at the beginning of a path are a
host to browsers: what begins Location's path is one slash, followed by neither.
"""

from __future__ import annotations

import re
from typing import Final, Literal

import msgspec

from lbcore.l7 import notes
from lbcore.l7.filters.filter import Answer, Exchange, Filter
from lbcore.l7.filters.rewrite import compiled
from lbcore.l7.message import Request, text

NAME: Final = re.compile(r"(?:[A-Za-z0-9_-]{1,63}(?:\.[A-Za-z0-9_-]{1,63})*|\[[0-9A-Fa-f:.]{2,45}\])(?::[0-9]{1,5})?")
LABELS: Final = re.compile(rb"[a-z0-9_-]+(?:\.[a-z0-9_-]+)*")
NOT_URI: Final = re.compile(rb"[^!$&'()*+,\-./0-9:;=?@A-Z\[\]_a-z~%|]")
START: Final = re.compile(rb"^[/\\]+")


class RedirectOptions(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, tag_field="kind", tag="redirect"
):
    """What is different about the other place; what is left out stays as the client asked."""

    status: Literal[301, 302, 303, 307, 308] = 308
    """308 and 307 keep the method, 301 and 302 may turn POST into GET, 303 does (RFC 9110, 15.4)."""
    scheme: Literal["", "http", "https"] = ""
    """Of the other place."""
    host: str = ""
    """Host of the other place, with its port if it has one of its own."""
    hosts: tuple[str, ...] = ()
    """Hosts (exact, or `*.example.org` for any name under it) that the client may have asked for and is sent to again;
    needed if `scheme` is given without `host`. A port in Host is left out."""
    regex: str = ""
    """Which paths; empty: all."""
    path: str = ""
    """Path of the other place, a template with \\1 or \\g<name> if there is a `regex`; may hold a query of its own."""
    query: bool = True
    """Take the client's query along."""

    def __post_init__(self) -> None:
        if not (self.scheme or self.host or self.path):
            raise ValueError("scheme, host and path are empty; must say at least one thing that is different")
        if self.host and not NAME.fullmatch(self.host):
            raise ValueError(f"host is {self.host!r}; must be a name such as 'www.example.org', and a port if need be")
        for host in self.hosts:
            if not NAME.fullmatch(host.removeprefix("*.")) or ":" in host.rpartition("]")[2]:
                raise ValueError(f"hosts holds {host!r}; must be names such as 'example.org' or '*.example.org'")
        if self.host and not self.scheme:
            raise ValueError(f"host is {self.host!r} and scheme is empty; must be 'http' or 'https' for another host")
        if self.scheme and not self.host and not self.hosts:
            raise ValueError(
                "scheme is given, host and hosts are empty; must name one host, or in hosts those that clients may be"
                " sent back to: the Host of a request is whatever the client wrote"
            )
        if self.path and self.path[0] != "/":
            raise ValueError(f"path is {self.path!r}; must begin with '/'")
        if NOT_URI.search(self.path.replace("\\", "").replace("<", "").replace(">", "").encode()):
            raise ValueError(f"path is {self.path!r}; must be of the characters of a URI")
        if self.regex:
            compiled(self.regex, self.path, "path")
        elif "\\" in self.path:
            raise ValueError(f"path is {self.path!r} without a regex; must hold no '\\'")


class Redirect(Filter):
    """Answers with another place."""

    def __init__(self, options: RedirectOptions) -> None:
        self._options = options
        self._scheme = options.scheme.encode()
        self._host = options.host.lower().encode()
        self._exact = frozenset(host.lower().encode() for host in options.hosts if host[0] != "*")
        self._under = tuple(host.lower().encode()[1:] for host in options.hosts if host[0] == "*")
        self._path = options.path.encode()
        self._regex = compiled(options.regex, options.path, "path") if options.regex else None

    def on_request(self, exchange: Exchange) -> Answer:
        request = exchange.request
        path, _, query = request.target.partition(b"?")
        found = self._regex.fullmatch(path) if self._regex else None
        if self._regex and not found:
            return None
        theirs = notes.scheme(exchange)
        if theirs == self._scheme and not self._host and not self._path:
            return None  # whatever the port is
        origin = b""
        if self._scheme:
            host = self._host or self._known(request)
            if not host:
                return text(400, "Bad request: Host is none of this server's names")
            origin = self._scheme + b"://" + host
        if self._path:
            path = found.expand(self._path) if found else self._path
        location = origin + _from_root(path)
        if self._options.query and query:
            location += (b"&" if b"?" in location else b"?") + _escaped(query)
        if location in (request.target, theirs + b"://" + request.authority + request.target):
            return None
        return text(self._options.status, "See the other place.", (b"location", location))

    def _known(self, request: Request) -> bytes:
        """The host that the client asked for, in lower case, if it is one of `hosts`; else empty."""
        host = (b"[" + request.host + b"]" if request.authority.startswith(b"[") else request.host).lower()
        if host in self._exact or (host.endswith(self._under) and LABELS.fullmatch(host)):
            return host
        return b""


def _from_root(path: bytes) -> bytes:
    """The path with one slash at its beginning, of characters that a URI holds."""
    return _escaped(b"/" + START.sub(b"", path))


def _escaped(text: bytes) -> bytes:
    return NOT_URI.sub(lambda found: b"%%%02X" % found[0][0], text)
