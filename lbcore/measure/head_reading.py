"""What reading a request's head costs: by the short cut, by it with somebody who looks at the fields, and carefully.

Rule of this file: the readers are the proxy's own; only what they are asked differs.
"""

from __future__ import annotations

from collections.abc import Callable

from lbcore.l7.http1.reader import Reader
from lbcore.l7.http1.requests import RequestReader
from lbcore.l7.limits import Limits
from lbcore.l7.message import Peer, Request


class Looking(RequestReader):
    """Somebody wants a header."""

    def on_head(self, request: Request) -> None:
        """Make the list."""
        request.headers  # noqa: B018


class Careful(Looking):
    """As if the short cut did not exist."""

    _head = Reader._head


def ways(head: bytes) -> dict[str, Callable[[], None]]:
    """By name, what reads this head once per call."""
    kinds = {"short cut": RequestReader, "short cut, headers read": Looking, "careful": Careful}
    return {name: _reading(kind, head) for name, kind in kinds.items()}


def _reading(kind: type[RequestReader], head: bytes) -> Callable[[], None]:
    reader = kind(Limits(), Peer("192.0.2.1", 1024), b"http")

    def read() -> None:
        reader.feed(head)
        reader.next()

    return read
