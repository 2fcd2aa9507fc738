"""Who the client is: what is believed, and what the backend is told (X-Forwarded-*, Forwarded of RFC 7239, X-Real-IP).

Rule of this file: whom to believe and what to write; reading the fields is `wire.forwarded`.

Theory. An entry of X-Forwarded-For is as true as the one who wrote it. What came from a peer that is not ours is
thrown away, all of it, and the list begins with that peer. From a peer of ours the list is kept from the client's
entry on: what stands left of it the client wrote itself, and no backend ever sees it. The believed client is left in
`exchange.notes` as `notes.CLIENT`, for limits, logs, redirects.

Traps
- One field is read: the one that our proxies write (`field`). The others come from whoever sent them.
- X_Forwarded_For becomes the same variable as X-Forwarded-For in CGI and WSGI: both spellings are taken out.
- Scheme, host and port of a trusted peer are taken only if there is one value that can be one. A proxy that appends
  ("https, http") leaves open which is which; then this connection's own are told. Where `field` is "forwarded" they
  stand in the client's element of it: X-Forwarded-Proto and -Host such a proxy passes on as its client wrote them.
- `hops` counts proxies in front of this one, and is right only if nobody can come past them.
"""

from __future__ import annotations

import itertools
import re
from typing import Final, Literal, NamedTuple

import msgspec

from lbcore.l7 import notes
from lbcore.l7.field import name_of
from lbcore.l7.filters.filter import Answer, Exchange, Filter
from lbcore.l7.message import Headers, Names, Request, block_of, checked, text
from lbcore.l7.trust import REMEMBERED, Trust, networks_of
from lbcore.wire import forwarded
from lbcore.wire.errors import Malformed

AUTHORITY: Final = re.compile(rb"(?:[A-Za-z0-9._-]{1,253}|\[[0-9A-Fa-f:.]{2,45}\])(?::[0-9]{1,5})?")
SCHEMES: Final = {b"http": b"http", b"https": b"https"}
PORTS: Final = {b"http": 80, b"https": 443}
LONGEST_NAME: Final = 253
STANDARD: Final = (
    "forwarded", "x-forwarded-for", "x-forwarded-proto", "x-forwarded-host", "x-forwarded-port", "x-forwarded-server",
    "x-forwarded-scheme", "x-forwarded-ssl", "x-real-ip",
)  # fmt: skip


class ForwardedOptions(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, tag_field="kind", tag="forwarded"
):
    """Whom to believe, and what to tell. At most one of `trusted` and `hops`; with neither, nobody is believed."""

    trusted: tuple[str, ...] = ()
    """Networks that our proxies are in."""
    hops: int = 0
    """How many proxies of ours stand in front of this one, on every way to it."""
    field: Literal["x-forwarded-for", "forwarded"] = "x-forwarded-for"
    """The field that those proxies write; no other is read."""
    x_forwarded: bool = True
    """Tell X-Forwarded-For, -Proto, -Host and -Port."""
    forwarded: bool = False
    """Tell Forwarded (RFC 7239)."""
    real_ip: bool = False
    """Tell X-Real-IP."""
    drop: tuple[str, ...] = ("x-client-ip", "x-cluster-client-ip", "true-client-ip")
    """Further fields that say such things, taken out in any case."""

    def __post_init__(self) -> None:
        networks_of(self.trusted, "trusted")
        if self.hops < 0:
            raise ValueError(f"hops is {self.hops}; must be the number of proxies in front, 0 or more")
        if self.hops and self.trusted:
            raise ValueError(f"hops is {self.hops} and trusted names networks; must be one way or the other")
        for name in self.drop:
            name_of(name, "drop")


def spellings(name: str) -> set[bytes]:
    """The name with each `-` as `-` or `_`: what CGI cannot tell from each other."""
    parts = name.lower().split("-")
    joints = itertools.product("-_", repeat=len(parts) - 1)
    return {"".join(map("".join, zip(parts, (*joint, ""), strict=True))).encode() for joint in joints}


class Words(NamedTuple):
    """What is believed, and the lines that tell the backend."""

    client: notes.Client
    lines: bytes
    ours: bool = False
    """Is the peer one of our proxies?"""


class Forwarded(Filter):
    """Finds the client, and tells the backend."""

    def __init__(self, options: ForwardedOptions) -> None:
        self._options = options
        self._trust = Trust(networks_of(options.trusted, "trusted"))
        self._field = options.field.encode()
        self._dropped = Names(frozenset().union(*map(spellings, (*STANDARD, *options.drop))))
        self._remembered: dict[tuple[str, bytes, bytes, int], Words] = {}

    def on_request(self, exchange: Exchange) -> Answer:
        request = exchange.request
        peer, given = request.peer, request.lines(self._dropped)
        key = (peer.address, request.scheme, request.authority, peer.local_port)
        words = self._remembered.get(key) or self._learn(key)
        if given:
            if words.ours:
                try:
                    words = self._words(*self._heard(Headers(given), request, words.client.address))
                except Malformed as error:
                    return text(400, f"Bad request: {error}")
            request.drop(self._dropped)
        exchange.notes[notes.CLIENT] = words.client
        request.put_checked(words.lines)
        return None

    def _learn(self, key: tuple[str, bytes, bytes, int]) -> Words:
        """What is said where only the peer is believed, who has no address if it is `unknown`."""
        peer, scheme, host, port = key
        address = forwarded.canonical(peer)
        ours = address is not None and (self._options.hops > 0 or address in self._trust)
        words = self._words([address or "unknown"], scheme, host, port)._replace(ours=ours)
        if len(host) <= LONGEST_NAME:  # hosts are the client's to choose: few, and short ones
            if len(self._remembered) >= REMEMBERED:
                self._remembered.clear()
            self._remembered[key] = words
        return words

    def _words(self, way: list[str], scheme: bytes, host: bytes, port: int) -> Words:
        options, lines = self._options, Headers()
        if options.x_forwarded:
            lines += (b"x-forwarded-for", ", ".join(way).encode()), (b"x-forwarded-proto", scheme)
            if host:
                lines.append((b"x-forwarded-host", host))
            if port:
                lines.append((b"x-forwarded-port", b"%d" % port))
        if options.forwarded:
            lines.append((b"forwarded", _elements(way, scheme, host)))
        if options.real_ip:
            lines.append((b"x-real-ip", way[0].encode()))
        return Words(notes.Client(way[0], scheme, host, port), checked(block_of(lines), len(lines)))

    def _heard(self, headers: Headers, request: Request, peer: str) -> tuple[list[str], bytes, bytes, int]:
        """What a trusted peer tells: the way (addresses from the client to the peer, as far as they are believed; the
        peer alone if nobody is named), scheme, host and port."""
        lines = [value.decode("latin-1") for value in headers.all(self._field)]
        if self._field == b"forwarded":
            elements = forwarded.forwarded(lines)
            entries = [*(forwarded.address_of(one.get("for", "")) for one in elements), peer]
        else:
            elements, entries = None, [*forwarded.x_forwarded_for(lines), peer]
        start = len(entries) - 1 - self._options.hops
        if not self._options.hops:
            while start > 0 and (entries[start] or "") in self._trust:
                start -= 1
        told = _told(headers) if elements is None else _told_in(elements[start] if 0 <= start < len(elements) else {})
        if start < 0 or entries[start] is None:
            return [peer], *_asked_for(told, request)
        return [entry or "unknown" for entry in entries[start:]], *_asked_for(told, request)


def _told(headers: Headers) -> dict[bytes, bytes]:
    """X-Forwarded-*, those that say one thing."""
    told = [line for line in headers if line[0].startswith(b"x-forwarded-")]
    names = [name for name, _ in told]
    return {name: value for name, value in told if names.count(name) == 1}


def _told_in(element: dict[str, str]) -> dict[bytes, bytes]:
    """The same of the client's element of Forwarded; X-Forwarded-* beside it the client may have written."""
    names = [name for name in ("proto", "host") if name in element]
    return {f"x-forwarded-{name}".encode(): element[name].encode("latin-1") for name in names}


def _asked_for(single: dict[bytes, bytes], request: Request) -> tuple[bytes, bytes, int]:
    """Scheme, host and port as a trusted peer tells them; this connection's own where it does not."""
    said = SCHEMES.get(single.get(b"x-forwarded-proto", b"").lower())
    scheme = said or request.scheme
    host = single.get(b"x-forwarded-host", b"")
    host = host.lower() if AUTHORITY.fullmatch(host) else request.authority
    number = single.get(b"x-forwarded-port", b"")
    if number.isdigit() and len(number) <= 5 and 0 < int(number) < 65536:
        return scheme, host, int(number)
    return scheme, host, PORTS[scheme] if said else request.peer.local_port


def _elements(way: list[str], scheme: bytes, host: bytes) -> bytes:
    """The value of Forwarded: who asked for what, then each proxy that passed it on."""
    said = {"proto": scheme.decode()} | ({"host": host.decode("latin-1")} if host else {})
    first = forwarded.element(way[0], **said)
    return ", ".join([first, *map(forwarded.element, way[1:])]).encode("latin-1")
