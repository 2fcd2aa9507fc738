"""What a filter is: one concern, asked on the way in, told on the way out, and told when all is over.

Rule of this file: the contract, nothing that does anything.

Theory. The exchange passes the filters of its route in their order on the way in, and those that were passed, in
reverse order, on the way out, as layers of an onion. A filter that answers by itself (401, a hit of the cache) turns
the exchange round: filters further in never see it, those before it see its answer like a backend's.

Nearly all filters decide at once. One that has to wait (for a store, for another request) returns an awaitable; only
such exchanges pay for a task.

Traps. A filter object serves many exchanges at once: what belongs to one of them is kept in `exchange.notes`, under the
filter itself as key. `on_end` is called exactly once for every exchange whose `on_request` was called, whatever
happened to it: what is counted up in one is counted down in the other.
"""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Any, Protocol, TypeAlias

from lbcore.l7.message import Request, Response

Answer: TypeAlias = Response | None
"""A filter's word: a response to be sent instead of asking further, or None to go on."""


class Exchange(Protocol):
    """One request and what becomes of it, as filters see it."""

    request: Request
    response: Response | None
    """The answer being sent, once there is one."""
    notes: dict[Any, Any]
    """What filters keep for themselves about this exchange."""
    started: float
    """When its head had been read, seconds of `time.monotonic()`."""
    route: str
    """Name of the route that was found; empty before and if none fits."""
    backend: str
    """Name of the backend that was asked last; empty if none was."""
    attempts: int
    """How many backends were asked."""
    error: str
    """Why there was no whole answer: `timeout`, `refused`, `reset`, `client gone`...; empty if all went well."""
    bytes_in: int
    """Bytes of the request's body so far."""
    bytes_out: int
    """Bytes of the response's body sent so far, after transforms."""

    def fetch(self, request: Request) -> Awaitable[Response]:
        """Ask the route's pool, past all filters; the whole body in memory. For caches that look behind them."""
        ...


class Filter:
    """One concern. Subclasses overwrite what they need; each hook sees the exchange."""

    body_limit: int = 0
    """Bytes of request body that the filter wants to have read before `on_request`, in `request.body`; longer ones are
    refused with 413. 0: it does not look at the body, which is then streamed."""

    def on_request(self, exchange: Exchange) -> Answer | Awaitable[Answer]:
        """On the way in; may change `exchange.request`."""
        return None

    def on_response(self, exchange: Exchange, response: Response) -> Awaitable[None] | None:
        """On the way out, before the head is sent; changes the response in place, may add to its transforms."""
        return None

    def on_end(self, exchange: Exchange) -> None:
        """After the last byte, or when it broke off (`exchange.error` says why)."""

    def close(self) -> None:
        """Let go of files, connections and tasks; the proxy stops, or has a new configuration."""
