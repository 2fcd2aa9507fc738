"""One form for each path, so that whoever decides by it and whoever serves it mean the same.

Rule of this file: bytes in, bytes out or `BadTarget`; the engine calls `normal` once, before the router sees a request.

Theory (RFC 3986, 6.2.2). `/a/%7Eb/./c` and `/a/~b/c` are the same path. A rule "nobody gets /admin" holds only if
there is one way to write /admin: percent-encoded unreserved characters are decoded, hexadecimal digits are in upper
case, dot segments are walked (5.2.4). Then the path goes on in that form: what was checked is what is served.

Where two parsers could disagree about what remains, no form is the right one, and the target is refused:
- %2F: to some a slash, to others a letter of a name. %5C and \\: to some a slash.
- %00, %0A and other control bytes: to some the end of the name.
- `/..` beyond the root, `/..;x/`: a parser that knows path parameters (RFC 3986, 3.3) walks up there, others do not.
- a `%` that no two hexadecimal digits follow; `#`, blanks, control bytes and bytes from 0x80, which no URI holds.
`Rules` allows some of it where a backend needs it.

Traps. Decoding twice is a fault of its own: %252e%252e is a name with a percent sign, and stays as it is. The query is
not touched: it has no common form; it is only searched for what no URI holds.
"""

from __future__ import annotations

import re
from typing import Final, Literal

import msgspec

UNRESERVED: Final = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")
ILLEGAL: Final = re.compile(rb"[\x00-\x20\x7f-\xff#]")
SUSPECT: Final = re.compile(rb"[%\\\x00-\x20\x7f-\xff#]|/[/.]")
"""A path without any of this is in its normal form already: nearly all are."""
PERCENT: Final = re.compile(rb"%([0-9A-Fa-f]{2})?")


class BadTarget(ValueError):
    """A target that has no one meaning; answered with 400."""


class Rules(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What to do with a path that parsers disagree about."""

    slashes: Literal["merge", "keep", "refuse"] = "merge"
    """`//`: most servers of files read it as `/`."""
    encoded_slash: Literal["refuse", "keep"] = "refuse"
    """`%2F`. A backend that has slashes within names (object stores, package registries) needs "keep"."""
    backslash: Literal["refuse", "keep"] = "refuse"
    """`\\` and `%5C`."""
    control: Literal["refuse", "keep"] = "refuse"
    """%00 to %1F and %7F. Raw ones are always refused."""


STRICT: Final = Rules()


def normal(target: bytes, rules: Rules = STRICT) -> bytes:
    """A path with its query, the path in its one form. `normal(normal(x)) == normal(x)`.

    `*` (OPTIONS) stays. BadTarget for what is refused, and for anything that does not begin with a slash.
    """
    path, mark, query = target.partition(b"?")
    if mark and ILLEGAL.search(query):
        raise BadTarget(f"query is {shown(query)}; must be visible ASCII without '#'")
    if not SUSPECT.search(path) and path[:1] == b"/":
        return target
    if target == b"*":
        return target
    if path[:1] != b"/":
        raise BadTarget(f"target is {shown(target)}; must begin with '/'")
    if ILLEGAL.search(path):
        raise BadTarget(f"path is {shown(path)}; must be visible ASCII without '#'")
    path = PERCENT.sub(lambda found: _decoded(found[1], path, rules), path)
    if b"\\" in path and rules.backslash == "refuse":
        raise BadTarget(f"path is {shown(path)}; must hold no backslash")
    return _walked(path, rules) + mark + query


def shown(text: bytes) -> str:
    """For a message: in ASCII, not too long."""
    return ascii(text[:80].decode("latin-1")) + ("..." if len(text) > 80 else "")


def _decoded(digits: bytes | None, path: bytes, rules: Rules) -> bytes:
    """What stands for %XX."""
    if digits is None:
        raise BadTarget(f"path is {shown(path)}; must have two hexadecimal digits after each '%'")
    byte = int(digits, 16)
    if byte in UNRESERVED:
        return bytes([byte])
    if byte == 0x2F and rules.encoded_slash == "refuse":
        raise BadTarget(f"path is {shown(path)}; must hold no %2F")
    if byte == 0x5C and rules.backslash == "refuse":
        raise BadTarget(f"path is {shown(path)}; must hold no %5C")
    if (byte < 0x20 or byte == 0x7F) and rules.control == "refuse":
        raise BadTarget(f"path is {shown(path)}; must hold no encoded control byte")
    return b"%" + digits.upper()


def _walked(path: bytes, rules: Rules) -> bytes:
    """The path without dot segments (RFC 3986, 5.2.4)."""
    *inner, last = path.split(b"/")[1:]
    done: list[bytes] = []
    for segment in inner if last not in (b".", b"..") else [*inner, last]:
        if segment == b"..":
            if not done or not done[-1]:  # behind an empty one, who merges slashes walks elsewhere than who keeps them
                raise BadTarget(f"path is {shown(path)}; must not walk up from the root, nor out of '//'")
            done.pop()
        elif segment == b"" and rules.slashes != "keep":
            if rules.slashes == "refuse":
                raise BadTarget(f"path is {shown(path)}; must hold no '//'")
        elif segment != b".":
            _no_parameters(segment, path)
            done.append(segment)
    _no_parameters(last, path)
    return b"/" + b"".join(segment + b"/" for segment in done) + (last if last not in (b".", b"..") else b"")


def _no_parameters(segment: bytes, path: bytes) -> None:
    name, found, _ = segment.partition(b";")
    if found and name in (b".", b".."):
        raise BadTarget(f"path is {shown(path)}; must have no parameters behind a dot segment")
