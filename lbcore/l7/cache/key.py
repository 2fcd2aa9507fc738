"""Under what a response is stored (RFC 9111, 2 and 4).

Rule of this file: the parts of a request that make it another one; each part whole, none that could run into the next.

Theory. Two requests that may get different answers must never have the same key. The path alone is not enough: one
proxy serves many hosts, and a key without the host serves the pages of one as the pages of another (a proxy library had
that very default: CVE-2026-2836). The scheme belongs to it (many a backend answers http with a redirect to https), and
the route: a response of the canary's pool is none of the main one's. Only answers to GET are stored; HEAD is answered
from them.

Traps
- A proxy in front may name another host in X-Forwarded-Host, and the backend may write that host into its links. If it
  is believed it is part of the key; if it is not the filter `forwarded` takes it out.
- Parts are joined by NUL, which none of them may hold: by a blank, or by nothing, `a` + `bc` would be `ab` + `c`.
"""

from __future__ import annotations

from urllib.parse import urljoin, urlsplit


def key(route: str, scheme: bytes, authority: bytes, target: bytes, asked_for: bytes = b"") -> bytes:
    """The key of the answer to GET. asked_for: the host that the client asked a trusted proxy for, if another one."""
    return b"GET\0%b\0%b\0%b\0%b\0%b" % (scheme, authority, target, asked_for, route.encode())


def url(of: bytes) -> bytes:
    """What is stored under a key: scheme, host and target, `http://example.org/a?b`."""
    _, scheme, authority, target, asked_for, _ = of.split(b"\0")
    return b"%b://%b%b" % (scheme, asked_for or authority, target)


def origin(of: bytes) -> tuple[bytes, bytes]:
    """Scheme and host that the client asked for."""
    _, scheme, authority, _, asked_for, _ = of.split(b"\0")
    return scheme, asked_for or authority


def with_target(of: bytes, target: bytes) -> bytes:
    """The key of another target, all else the same."""
    method, scheme, authority, _, asked_for, route = of.split(b"\0")
    return b"\0".join((method, scheme, authority, target, asked_for, route))


def same_origin(reference: bytes, scheme: bytes, authority: bytes, target: bytes) -> bytes | None:
    """The target that a Location names, seen from a request; None if it is at another origin or no reference."""
    try:
        here = f"{scheme.decode()}://{authority.decode()}{target.decode()}"
        there = urlsplit(urljoin(here, reference.decode("ascii")))
        if (there.scheme.encode(), there.netloc.lower().encode()) != (scheme, authority):
            return None
        return (there.path or "/").encode() + (b"?" + there.query.encode() if there.query else b"")
    except ValueError:
        return None
