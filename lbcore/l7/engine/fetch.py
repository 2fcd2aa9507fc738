"""A client's side that is not a client: it gathers a response, for a cache that looks behind its entries."""

from __future__ import annotations

import asyncio

from lbcore.l7.message import Headers, Response


class Fetched:
    """Gathers one response; `response` is done when it is whole, or as good as it gets."""

    writable = True

    def __init__(self, limit: int) -> None:
        self.limit = limit
        """Bytes of a body; a longer one is given up."""
        self.response: asyncio.Future[Response] = asyncio.get_running_loop().create_future()
        self._head: Response | None = None
        self._pieces: list[bytes] = []

    def informational(self, status: int, headers: Headers) -> None:
        """Nobody to tell."""

    def send_head(self, response: Response) -> None:
        """The head."""
        self._head = response
        if response.body:
            self._pieces.append(response.body)

    def send_data(self, data: bytes) -> None:
        """A piece."""
        self.limit -= len(data)
        if self.limit < 0:
            self._pieces.clear()
            self.abort("more bytes than may be fetched")
        else:
            self._pieces.append(data)

    def send_end(self, trailers: Headers) -> None:
        """The whole of it."""
        assert self._head is not None
        self._head.body, self._head.trailers = b"".join(self._pieces), trailers
        if not self.response.done():
            self.response.set_result(self._head)

    def abort(self, why: str) -> None:
        """Broken off. ConnectionError for whoever waits."""
        if not self.response.done():
            self.response.set_exception(ConnectionError(why))

    def pause_request(self) -> None:
        """There is none."""

    def resume_request(self) -> None:
        """There is none."""

    def flush(self) -> None:
        """There is nowhere to."""
