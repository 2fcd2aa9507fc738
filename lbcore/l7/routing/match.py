"""The conditions of a route: what a request has to be like for the route to take it.

Rule of this file: questions about one request. In which order routes are asked is the router's business.

Theory. All conditions of a route must hold; where one lists several values (hosts, methods), any of them will do. A
condition on a field (header, query, cookie) holds if any of the values of that name fits. So what stands in a route is
an "and" of "or"s, and "or" of whole conditions is two routes.

    hosts     "shop.example" itself; "*.shop.example": all below, at any depth, and not shop.example. No port: the
              same site on another port is the same site. A dot at the end changes nothing (RFC 1034, 3.1).
    path      exactly this, once it is normal (see `lbcore.l7.routing.router`)
    prefix    this path and all below it, by whole segments: "/api" takes /api and /api/v1, not /apiary
    regex     the whole path, from end to end
    grpc      "pkg.Service" or "pkg.Service/Method": its path, POST, and a gRPC content type (gRPC over HTTP/2)

Traps
- Names and values of a query are compared decoded, with `+` as a space; cookies and headers as they stand.
- A regular expression of Python may take exponential time: `(a+)+$` is a way for clients to stop the proxy. Who writes
  the configuration is trusted; who writes the path is not. Say it by prefix where a prefix says it.
- A request without Host (HTTP/1.0) fits only routes without hosts.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Final, TypeAlias
from urllib.parse import unquote_to_bytes

import msgspec

from lbcore.l7.message import Names, Request

Test: TypeAlias = Callable[[Request, bytes], bool]
"""Asked of a request and its normal path."""

LONGEST_NAME: Final = 253
"""Bytes of a host's name, as text (RFC 1035, 2.3.4). What is longer is no name."""
TOKEN: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
"""A method, a field's name, a cookie's name (RFC 9110, 5.6.2)."""
HOST: Final = re.compile(r"(\*\.)?([a-z0-9_]([a-z0-9_-]*[a-z0-9_])?\.)*[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?")
GRPC_NAME: Final = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*(/[A-Za-z_]\w*)?", re.ASCII)
GRPC_TYPE: Final = re.compile(rb"application/grpc(?:[+;].*)?", re.IGNORECASE | re.DOTALL)


class FieldOptions(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A condition on a header, a parameter of the query or a cookie; with a name alone, that it is there."""

    name: str
    """Of the field; of headers upper and lower case are the same."""
    value: str | None = None
    """Exactly this, upper and lower case told apart."""
    regex: str | None = None
    """The whole value fits this regular expression."""
    present: bool = True
    """false: there is no such field."""

    def __post_init__(self) -> None:
        if not self.name:
            raise ValueError("name is '', wanted the name of a field")
        if self.value is not None and self.regex is not None:
            raise ValueError(f"regex is {self.regex!r} and value is {self.value!r}: wanted one of the two")
        if not self.present and (self.value is not None or self.regex is not None):
            raise ValueError("present is False and there is a value or regex: what is not there has no value")
        _compiled("regex", self.regex)


class MatchOptions(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The conditions of a route. Without any, it takes every request."""

    hosts: tuple[str, ...] = ()
    """Names, `shop.example` or `*.shop.example` (all below it); of any name if there are none."""
    path: str | None = None
    """The path is this one."""
    prefix: str | None = None
    """The path is this one or below it, by whole segments: /api takes /api/v1 and not /apiary."""
    regex: str | None = None
    """The whole path fits this regular expression."""
    grpc: str | None = None
    """A gRPC call of this service, `pkg.Service`, or of this method, `pkg.Service/Method`."""
    methods: tuple[str, ...] = ()
    """One of these, `GET`; of any method if there are none."""
    headers: tuple[FieldOptions, ...] = ()
    """Each of these fits."""
    query: tuple[FieldOptions, ...] = ()
    """Each of these parameters fits."""
    cookies: tuple[FieldOptions, ...] = ()
    """Each of these fits."""

    def __post_init__(self) -> None:
        said = [name for name in ("path", "prefix", "regex", "grpc") if getattr(self, name) is not None]
        if len(said) > 1:
            raise ValueError(f"{said[1]} and {said[0]} are both there: wanted one of path, prefix, regex and grpc")
        for name in self.hosts:
            name_of(name)
        for key in ("path", "prefix"):
            value = getattr(self, key)
            if value is not None and (not value.startswith("/") or "?" in value or "#" in value):
                raise ValueError(f"{key} is {value!r}, wanted a path that begins with / and has no ? or #")
        for method in self.methods:
            if not TOKEN.fullmatch(method):
                raise ValueError(f"methods has {method!r}, wanted methods such as 'GET'")
            if method != method.upper() and method.upper() in METHODS:
                raise ValueError(
                    f"methods has {method!r}, wanted {method.upper()!r}: methods know upper and lower case"
                )
        for header in self.headers:
            if not TOKEN.fullmatch(header.name):
                raise ValueError(f"headers has the name {header.name!r}, wanted one such as 'x-canary'")
            if header.name.lower() == "host":
                raise ValueError("headers has the name 'host', wanted that in hosts")
        if self.grpc is not None and not GRPC_NAME.fullmatch(self.grpc):
            raise ValueError(f"grpc is {self.grpc!r}, wanted 'pkg.Service' or 'pkg.Service/Method'")
        _compiled("regex", self.regex)


METHODS: Final = ("GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH")


def _compiled(key: str, pattern: str | None) -> re.Pattern[bytes] | None:
    try:
        return re.compile(pattern.encode()) if pattern is not None else None
    except (re.error, RecursionError, OverflowError) as error:
        raise ValueError(f"{key} is {pattern!r}, wanted a regular expression: {error}") from None


def name_of(name: str, key: str = "hosts") -> bytes:
    """The name as `host_of` would give it. ValueError, naming `key`, for what can be no host of a request."""
    with suppress(ValueError):
        address = ip_address(name)
        return (f"[{address}]" if address.version == 6 else name).encode()
    if not HOST.fullmatch(name) or len(name) > LONGEST_NAME:
        remedy = "wanted a name such as 'shop.example' or '*.shop.example', or an address"
        if name.lower() != name:
            remedy = f"wanted {name.lower()!r}: in lower case"
        elif ":" in name:
            remedy = "wanted it without a port: routes do not look at it"
        elif not name.isascii():
            remedy = "wanted its ASCII form, xn--..."
        elif name == "*":
            remedy = "wanted none at all: that takes any"
        raise ValueError(f"{key} has {name!r}, {remedy}")
    return name.encode()


def host_of(authority: bytes) -> bytes:
    """Of an authority (lower case) the name that routes are found by: no port, no dot at the end."""
    if authority.startswith(b"["):
        return authority[: authority.find(b"]") + 1]
    return authority.partition(b":")[0].removesuffix(b".")


def covers(pattern: bytes, host: bytes) -> bool:
    """Is the host, or the narrower pattern `host`, one that the pattern speaks of? b"" speaks of all."""
    if pattern.startswith(b"*"):
        return len(pattern) <= len(host) <= LONGEST_NAME and host.endswith(pattern[1:])
    return not pattern or pattern == host


def below(prefix: bytes, path: bytes) -> bool:
    """Is the path the prefix, or does it go on after it with a new segment? The prefix has no / at its end."""
    return path.startswith(prefix) and path[len(prefix) : len(prefix) + 1] in (b"", b"/")


@dataclass(frozen=True, slots=True)
class Match:
    """Conditions, ready to be asked: what `Route.fits` may be. Called, it asks them one after the other, on the path
    as it stands; the router gets to the same answer through its tables."""

    hosts: tuple[bytes, ...] = ()
    path: bytes | None = None
    prefix: bytes | None = None
    """Without / at its end, so that b"" is everything."""
    regex: re.Pattern[bytes] | None = None
    rest: tuple[Test, ...] = ()
    """Neither host nor path."""

    def __call__(self, request: Request) -> bool:
        return self.accepts(request, request.path)

    def accepts(self, request: Request, path: bytes) -> bool:
        """Does a request of this normal path fit?"""
        host = host_of(request.authority)
        return (
            (not self.hosts or any(covers(pattern, host) for pattern in self.hosts))
            and self.takes(path)
            and all(test(request, path) for test in self.rest)
        )

    def takes(self, path: bytes) -> bool:
        """Does the path fit?"""
        if self.path is not None:
            return path == self.path
        if self.prefix is not None:
            return below(self.prefix, path)
        return self.regex is None or self.regex.fullmatch(path) is not None


def match(options: MatchOptions) -> Match:
    """The conditions that the options say."""
    path, prefix, rest = options.path, options.prefix, list[Test]()
    if options.grpc is not None:
        path, prefix = (f"/{options.grpc}", None) if "/" in options.grpc else (None, f"/{options.grpc}")
        rest.append(_grpc)
    if options.methods:
        rest.append(_method(frozenset(method.encode() for method in options.methods)))
    rest += [_field(one, _header(one.name.lower().encode())) for one in options.headers]
    rest += [_field(one, _parameter(one.name.encode())) for one in options.query]
    rest += [_field(one, _cookie(one.name.encode())) for one in options.cookies]
    return Match(
        tuple(map(name_of, options.hosts)),
        path.encode() if path is not None else None,
        prefix.encode().rstrip(b"/") if prefix is not None else None,
        _compiled("regex", options.regex),
        tuple(rest),
    )


def _grpc(request: Request, path: bytes) -> bool:
    kind = request.get(b"content-type")
    return request.method == b"POST" and kind is not None and GRPC_TYPE.fullmatch(kind) is not None


def _method(methods: frozenset[bytes]) -> Test:
    return lambda request, path: request.method in methods


def _field(options: FieldOptions, values: Callable[[Request], Iterable[bytes]]) -> Test:
    if not options.present:
        return lambda request, path: not any(True for _ in values(request))
    if options.value is not None:
        wanted = options.value.encode()
        return lambda request, path: wanted in values(request)
    pattern = _compiled("regex", options.regex)
    if pattern is not None:
        fits = pattern.fullmatch
        return lambda request, path: any(fits(value) for value in values(request))
    return lambda request, path: any(True for _ in values(request))


def _header(name: bytes) -> Callable[[Request], Iterable[bytes]]:
    names = Names((name,))
    return lambda request: [value for _, value in request.lines(names)]


def _cookie(name: bytes) -> Callable[[Request], Iterable[bytes]]:
    return lambda request: [value for found, value in request.cookies() if found == name]


def _parameter(name: bytes) -> Callable[[Request], Iterable[bytes]]:
    def values(request: Request) -> Iterable[bytes]:
        for pair in request.query.split(b"&"):
            key, _, value = pair.replace(b"+", b" ").partition(b"=")
            if unquote_to_bytes(key) == name:
                yield unquote_to_bytes(value)

    return values
