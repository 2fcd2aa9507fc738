"""What a client shows to prove who it is: the one field Authorization, and what is said to a client that shows nothing.

Rule of this file: RFC 9110, 11.6; what credentials mean is the business of each scheme's filter.

Trap. Two lines of Authorization are two answers to one question: the proxy would check one, the backend might believe
the other. There is no right choice, so it is refused.
"""

from __future__ import annotations

from lbcore.l7.message import Message, Names, Response, text


class Several(ValueError):
    """More than one Authorization; answered with 400."""


AUTHORIZATION = Names((b"authorization",))


def credentials(message: Message, scheme: bytes) -> bytes | None:
    """What follows the scheme (in lower case here, in any case there); None without it. Several: of two lines."""
    found = message.lines(AUTHORIZATION)
    if not found:
        return None
    if len(found) > 1:
        raise Several
    said, blank, rest = found[0][1].partition(b" ")
    return rest.strip(b" ") if blank and said.lower() == scheme else None


def two_answers() -> Response:
    """For Several."""
    return text(400, "Bad request: more than one Authorization")


def challenge(status: int, words: str, challenge: bytes) -> Response:
    """Who are you? Not to be kept by any cache."""
    return text(status, words, (b"www-authenticate", challenge), (b"cache-control", b"no-store"))


def quotable(text: str, where: str) -> bytes:
    """A realm, to stand between quotes. ValueError, naming `where`, if it cannot."""
    if not text.isascii() or not text.isprintable() or '"' in text or "\\" in text:
        raise ValueError(f"{where} is {text!r}; must be visible ASCII without quotes and backslashes")
    return text.encode()
