"""An exchange without an engine: what filters see, and nothing behind it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from lbcore.l7.filters.filter import Filter
from lbcore.l7.message import Headers, Peer, Request, Response


def request(
    target: bytes = b"/",
    *headers: tuple[bytes, bytes],
    method: bytes = b"GET",
    authority: bytes = b"www.example.org",
    scheme: bytes = b"http",
    address: str = "192.0.2.7",
    **more: Any,
) -> Request:
    """A request as the engine would have read it."""
    peer = Peer(address, 50000, 443 if scheme == b"https" else 80)
    return Request(method, target, authority, scheme, Headers(headers), peer, **more)


@dataclass(eq=False)
class FakeExchange:
    """One exchange; `passes` leads it through filters as the engine does."""

    request: Request
    response: Response | None = None
    notes: dict[Any, Any] = field(default_factory=dict)
    started: float = 0.0
    route: str = "main"
    backend: str = ""
    attempts: int = 0
    error: str = ""
    bytes_in: int = 0
    bytes_out: int = 0

    def fetch(self, request: Request) -> Any:
        raise NotImplementedError("nobody is behind this exchange")

    def passes(self, *filters: Filter, answer: Response | None = None) -> Response:
        """In order on the way in; then the answer (`answer`, 200 if none is given) back through those that were asked.

        Filters that answer at once only.
        """
        asked: list[Filter] = []
        for one in filters:
            asked.append(one)
            self.response = one.on_request(self)  # type: ignore[assignment]
            if self.response:
                break
        else:
            self.response = answer or Response(200, Headers([(b"content-type", b"text/plain")]), b"well\n")
            self.backend, self.attempts = "127.0.0.1:8000", 1
        for one in reversed(asked):
            one.on_response(self, self.response)
        for one in asked:
            one.on_end(self)
        return self.response
