"""What an answer tells browsers to be careful with.

Rule of this file: it says each thing once: a backend's own word is replaced, or with `override` off kept.

Theory. Strict-Transport-Security (RFC 6797): this name only by https from now on. X-Content-Type-Options: believe
Content-Type, do not guess. frame-ancestors (CSP level 3) with its older sister X-Frame-Options: who may show the page
in a frame. Referrer-Policy, Permissions-Policy, Cross-Origin-Opener-Policy: what other sites learn and may do.

Traps
- HSTS counts on https alone, and must not be sent on http (RFC 6797, 7.2); a backend's is taken out there. Once sent it
  cannot be taken back before `max-age` is over: whoever is cut off from https is cut off from the site.
- Two Content-Security-Policy lines are both in force. So a backend's is not replaced by `frame_ancestors` alone: ours
  is then a second line, and both hold.
- X-XSS-Protection made holes and is gone from browsers; it is taken out.
"""

from __future__ import annotations

from typing import NamedTuple

import msgspec

from lbcore.l7 import notes
from lbcore.l7.field import value_of
from lbcore.l7.filters.filter import Exchange, Filter
from lbcore.l7.message import Names, Response, block_of, checked

FRAMES = {"'none'": "DENY", "'self'": "SAMEORIGIN"}
YEAR = 31_536_000
HSTS, POLICY = b"strict-transport-security", b"content-security-policy"


class SecurityHeadersOptions(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, tag_field="kind", tag="security_headers"
):
    """An empty text, or None, leaves a field alone."""

    hsts: int | None = YEAR
    """Seconds of Strict-Transport-Security, on https only; 0 makes browsers forget."""
    hsts_subdomains: bool = False
    """For all names below this one too."""
    hsts_preload: bool = False
    """Ask for the list that browsers come with; needs subdomains and a year."""
    nosniff: bool = True
    """X-Content-Type-Options: a browser believes the type that is said."""
    frame_ancestors: str = "'self'"
    """`'none'`, `'self'`, or sources such as `https://a.example`."""
    content_security_policy: str = ""
    """A whole policy; without frame-ancestors, which has its own option."""
    referrer_policy: str = "strict-origin-when-cross-origin"
    """How much of a page's address other sites are told."""
    permissions_policy: str = ""
    """Which devices and features of the browser pages may use."""
    cross_origin_opener_policy: str = ""
    """`same-origin` keeps windows of other sites from holding on to ours."""
    override: bool = True
    """Replace what a backend says; False: say only what it does not."""

    def __post_init__(self) -> None:
        if self.hsts is not None and self.hsts < 0:
            raise ValueError(f"hsts is {self.hsts}; must be seconds, 0 or more, or nothing")
        if self.hsts_preload and not (self.hsts_subdomains and (self.hsts or 0) >= YEAR):
            raise ValueError(f"hsts_preload without hsts_subdomains and {YEAR} seconds of hsts; must have both")
        for field in ("content_security_policy", "referrer_policy", "permissions_policy", "cross_origin_opener_policy"):
            value_of(getattr(self, field), field)
        if ";" in self.frame_ancestors or "," in value_of(self.frame_ancestors, "frame_ancestors").decode():
            raise ValueError(f"frame_ancestors is {self.frame_ancestors!r}; must be sources with blanks between them")
        if "frame-ancestors" in self.content_security_policy.lower():
            raise ValueError(
                "content_security_policy holds frame-ancestors; must be said in the option frame_ancestors"
            )


class Words(NamedTuple):
    """What is said by one scheme."""

    lines: list[tuple[bytes, bytes]]
    block: bytes
    """The same as bytes."""
    gone: frozenset[bytes]
    """Fields of a backend that are taken out."""
    names: Names
    """All fields that matter here."""


class SecurityHeaders(Filter):
    """Says what browsers should be careful with."""

    def __init__(self, options: SecurityHeadersOptions) -> None:
        frames = f"frame-ancestors {options.frame_ancestors}" if options.frame_ancestors else ""
        policy = "; ".join(part for part in (options.content_security_policy.rstrip("; "), frames) if part)
        lines = {
            "x-content-type-options": "nosniff" if options.nosniff else "",
            "x-frame-options": FRAMES.get(options.frame_ancestors, ""),
            "content-security-policy": policy,
            "referrer-policy": options.referrer_policy,
            "permissions-policy": options.permissions_policy,
            "cross-origin-opener-policy": options.cross_origin_opener_policy,
        }
        hsts = ""
        if options.hsts is not None:
            also = ("; includeSubDomains" if options.hsts_subdomains else "") + (
                "; preload" if options.hsts_preload else ""
            )
            hsts = f"max-age={options.hsts}{also}"
        plain = [(name.encode(), value.encode()) for name, value in lines.items() if value]
        secure = [*plain, *([(HSTS, hsts.encode())] if hsts else [])]
        self._override = options.override
        # A second policy adds to the first, and ours may be too little to stand in a backend's place.
        self._added = None if options.content_security_policy else (POLICY, policy.encode())
        self._plain, self._secure = self._words(plain, HSTS), self._words(secure)

    def _words(self, lines: list[tuple[bytes, bytes]], *gone: bytes) -> Words:
        names = {name for name, _ in lines}
        replaced = names - {self._added[0] if self._added else b""} if self._override else set()
        out = frozenset({b"x-xss-protection", *gone, *replaced})
        return Words(lines, checked(block_of(lines), len(lines)), out, Names(out | names | {POLICY}))

    def on_response(self, exchange: Exchange, response: Response) -> None:
        lines, block, gone, names = self._secure if notes.scheme(exchange) == b"https" else self._plain
        if not response.lines(names):  # most backends say nothing of all this
            response.put_checked(block)
            return
        headers, added = response.headers, self._added
        headers[:] = [line for line in headers if line[0] not in gone and line != added]
        if self._override:
            headers += lines
        else:
            there = {name for name, _ in headers}
            headers += [line for line in lines if line[0] not in there or line == added]
