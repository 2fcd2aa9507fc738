"""The two halves of an exchange: towards the client, and towards the backend. `http1` and `http2` each have both.

Rule of this file: the contract between the exchange and what carries it; nothing that does anything.

Theory. An exchange is one request and one response, each a head, then pieces of a body, then an end with trailers. A
side takes these of one of the two and puts them on its connection; what comes from the connection it reports to the
exchange, by the methods named in `Exchange`. Whoever reports calls `exchange.flush()` when it has no more to report for
now, so that a head and what follows it leave in one write.

Backpressure. `writable` is False while more than enough waits to be sent. The exchange then pauses the other side's
reading; `exchange.client_ready()` and `exchange.backend_ready()` say that it can go on.

Traps. A side may be told to `send` or `abort` after its connection has gone: it then does nothing. It may report
nothing after it has reported an end or a failure.
"""

from __future__ import annotations

import asyncio
from typing import Protocol

from lbcore.l7.message import Headers, Request, Response


class ClientSide(Protocol):
    """Where the response goes, and the request comes from."""

    writable: bool

    def informational(self, status: int, headers: Headers) -> None:
        """A 1xx before the response proper (RFC 9110, 15.2): 100, 103."""
        ...

    def send_head(self, response: Response) -> None:
        """The head. Of the body the side knows by it whether there is one, and whether its length is known."""
        ...

    def send_data(self, data: bytes) -> None:
        """A piece of the body."""
        ...

    def send_end(self, trailers: Headers) -> None:
        """The body is complete. Called for every response, with or without a body."""
        ...

    def abort(self, why: str) -> None:
        """The response can't be completed: make sure that the client cannot take it for a whole one."""
        ...

    def pause_request(self) -> None:
        """Read no more of the request's body for now."""
        ...

    def resume_request(self) -> None:
        """Go on reading."""
        ...

    def flush(self) -> None:
        """Write what was sent."""
        ...


class BackendSide(Protocol):
    """Where the request goes, and the response comes from."""

    exchange: Carried | None
    """Whom it reports to; may become another one between two reports."""
    writable: bool
    reused: bool
    """Has the connection carried a request before? Then its backend may have closed it, and nobody is to blame."""

    def send_head(self, request: Request) -> None:
        """The head; `request.length` 0 says that nothing follows, and that `send_end` will not be called."""
        ...

    def send_data(self, data: bytes) -> None:
        """A piece of the body."""
        ...

    def send_end(self, trailers: Headers) -> None:
        """The body is complete."""
        ...

    def cancel(self) -> None:
        """The answer is of no interest any more; report nothing further."""
        ...

    def pause_response(self) -> None:
        """Read no more of the response's body for now."""
        ...

    def resume_response(self) -> None:
        """Go on reading."""
        ...

    def flush(self) -> None:
        """Write what was sent."""
        ...


class Carried(Protocol):
    """The exchange, as its backend's side sees it."""

    __slots__ = ()

    def informational(self, status: int, headers: Headers) -> None:
        """The backend sent a 1xx; not 101, which is a response here."""
        ...

    def response_head(self, response: Response) -> None:
        """The head of the response; with a body, it is the whole of it, and nothing follows."""
        ...

    def response_data(self, data: bytes) -> None:
        """A piece of the response's body."""
        ...

    def response_end(self, trailers: Headers) -> None:
        """The response is complete."""
        ...

    def backend_failed(self, why: str) -> None:
        """No response, or no more of it: `reset`, `garbage: ...`, `timeout`..."""
        ...

    def backend_ready(self) -> None:
        """The backend's side is writable again."""
        ...

    def flush(self) -> None:
        """No more to report for now."""
        ...


class Served(Carried, Protocol):
    """The exchange, as its client's side sees it: what the backend's does, and this."""

    __slots__ = ()

    def request_data(self, data: bytes) -> None:
        """A piece of the request's body."""
        ...

    def request_end(self, trailers: Headers) -> None:
        """The request is complete."""
        ...

    def client_gone(self, why: str) -> None:
        """The client broke the connection or the stream off, or sent what cannot be read."""
        ...

    def client_ready(self) -> None:
        """The client's side is writable again."""
        ...


class Client(Protocol):
    """A client's connection as the proxy sees it, whatever it speaks."""

    transport: asyncio.Transport
    deadline: float
    """Seconds of `monotonic`; 0: there is none."""

    def expired(self) -> None:
        """The deadline has passed."""
        ...

    def finish(self) -> None:
        """Take no further request."""
        ...


class Door(Protocol):
    """Where connections come in."""

    def close(self) -> None:
        """Take no more; those that are in stay."""
        ...
