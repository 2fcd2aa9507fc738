"""A proxy's surroundings without sockets: a client, and backends whose fate is written beforehand.

Rule of this file: it plays and takes note; what is right, it does not know.

Theory. Whether an order was carried out twice, and whether a connection was kept that ought not to be, is not to be
seen in an answer. So all that surrounds the student's function keeps a book, and the book is what gets judged. Nothing
here waits, so the same script gives the same book on every machine.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import wraps
from typing import Any, NamedTuple

OK = b"HTTP/1.1 200 OK\r\ncontent-length: 8\r\n\r\n"
CLOSING = b"HTTP/1.1 200 OK\r\ncontent-length: 8\r\nconnection: close\r\n\r\n"
EMPTY = b"HTTP/1.1 204 No Content\r\n\r\n"
BAD_GATEWAY = b"HTTP/1.1 502 Bad Gateway\r\ncontent-length: 0\r\n\r\n"
BODY, SURPLUS, PIECE = b"abcdefgh", b"EXTRA", 3
IDEMPOTENT = frozenset({"GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE"})  # RFC 9110, 9.2.2
ATTEMPTS = 3

FATES = {
    "works": "does the work and answers",
    "empty": "does the work; the answer has no body",
    "closes": "does the work; the answer says Connection: close",
    "chatters": "does the work; bytes follow that belong to no answer",
    "breaks": "does the work; the connection breaks within the body",
    "refuses": "takes no connection",
    "lost": "the connection breaks while it is asked; no work is done",
    "dies": "does the work, and the connection breaks before the answer",
}
CLIENTS = ("stays", "leaves at once", "leaves", "is stopped")

Row = list[Any]  # what the client got, times that the work was done, what became of each connection
Script = list[list[str]]  # rows of: method, the client, a fate for each attempt; further attempts work
Exchange = Callable[[str, bytes, Any, Any], Awaitable[None]]


class Answer(NamedTuple):
    """A backend's answer as far as it has been read: its head."""

    head: bytes
    length: int
    """Bytes of body that follow."""
    closes: bool
    """It said Connection: close."""


class Client:
    """Who asked. It may leave, or the proxy may be stopped, while it is sent something."""

    def __init__(self, who: str) -> None:
        self.who, self.got, self.sends = who, b"", 0
        self.end = ""
        self.held = False

    async def send(self, data: bytes) -> None:
        """Send it. ConnectionError: the client has left."""
        self.sends += 1
        if self.who == "leaves at once" or (self.who == "leaves" and self.sends > 1):
            self.end = ", gone"
            raise ConnectionResetError("the client has left")
        if self.who == "is stopped" and self.sends == 2:
            self.end = ", gone"
            raise asyncio.CancelledError
        self.got += data

    def abort(self) -> None:
        """Cut the connection: so that the client sees that its answer is not whole."""
        self.end = self.end or ", cut off"

    def told(self) -> str:
        """What it got, in short."""
        text = self.got.decode("latin-1")
        for head, short in ((OK, "[200] "), (CLOSING, "[200] "), (EMPTY, "[204] "), (BAD_GATEWAY, "[502] ")):
            text = text.replace(head.decode(), short)
        return f"{text.removesuffix(' ') or 'nothing'}{self.end}{', held back' * self.held}"


class Backend:
    """A connection to a backend."""

    def __init__(self, pool: Pool) -> None:
        self.pool, self.fate, self.begin, self.end = pool, "works", "new", "left open"
        self.answer = Answer(OK, len(BODY), False)
        self.rest, self.given, self.broken = b"", 0, False

    async def send(self, request: bytes) -> None:
        """Send the request. ConnectionError: it broke on the way."""
        if self.fate == "lost" or self.broken:
            self.broken = True
            raise ConnectionResetError("the connection broke while the request was sent")
        self.pool.worked += 1
        self.rest = {"empty": b"", "chatters": BODY + SURPLUS, "breaks": BODY[:PIECE]}.get(self.fate, BODY)

    async def head(self) -> Answer:
        """The head of its answer. ConnectionError: none came."""
        if self.fate == "dies":
            self.broken = True
            raise ConnectionResetError("the connection broke before an answer")
        head = {"closes": CLOSING, "empty": EMPTY}.get(self.fate, OK)
        self.answer = Answer(head, 0 if self.fate == "empty" else len(BODY), self.fate == "closes")
        return self.answer

    async def read(self, most: int) -> bytes:
        """The next piece, at most so many bytes; b"": the connection has broken or ended."""
        client = self.pool.client
        client.held = client.held or len(client.got) < len(self.answer.head) + self.given
        if not self.rest and self.fate == "breaks":
            self.broken = True
        if not self.rest and self.fate not in ("breaks", "closes"):
            client.end = client.end or ", waits for ever"
            raise TimeoutError("nothing more will come: the backend keeps the connection open")
        most = min(most, PIECE) if self.given < len(BODY) else most
        piece, self.rest = self.rest[:most], self.rest[most:]
        self.given += len(piece)
        return piece

    @property
    def unread(self) -> int:
        """Bytes that have come and that nobody has read."""
        return len(self.rest)

    def close(self) -> None:
        """Close it."""
        self.end = "closed"

    def kept(self) -> str:
        """How it was when it was kept."""
        if self.broken or self.end == "closed":
            return "kept, though it was broken"
        if self.given < self.answer.length or self.fate in ("lost", "dies"):
            return "kept, with its answer half read"
        if self.answer.closes:
            return "kept, though it said close"
        return "kept, with bytes unread" if self.rest else "kept"


class Pool:
    """Connections to backends: kept ones, and new ones."""

    def __init__(self) -> None:
        self.idle: list[Backend] = []
        self.begin([], Client("stays"))

    def begin(self, fates: list[str], client: Client) -> None:
        """Turn the page: the next exchange."""
        self.fates, self.client, self.worked = list(fates), client, 0
        self.taken: list[Backend] = []

    async def take(self) -> Backend:
        """A connection, a kept one if there is one. ConnectionError: no backend takes one."""
        fate = self.fates.pop(0) if self.fates else "works"
        kept = self.idle.pop() if self.idle else None
        if fate == "refuses" and kept is None:
            raise ConnectionRefusedError("no backend takes a connection")
        one = kept or Backend(self)
        one.fate = "lost" if fate == "refuses" else fate
        one.begin, one.end, one.given, one.rest = ("again" if kept else "new"), "left open", 0, b""
        self.taken.append(one)
        return one

    def keep(self, backend: Backend) -> None:
        """Keep it for a later request."""
        backend.end = backend.kept()
        if backend not in self.idle:
            self.idle.append(backend)


def played(exchange: Exchange) -> Callable[[Script], list[Row]]:
    """A function that plays a script through `exchange` and gives back the book, a row for each request."""

    async def play(script: Script) -> list[Row]:
        pool, rows = Pool(), []
        for method, who, *fates in script:
            client = Client(who)
            pool.begin(fates, client)
            with suppress(ConnectionError, TimeoutError, asyncio.CancelledError):  # what that means is in the book
                await exchange(method, f"{method} /order HTTP/1.1\r\n\r\n".encode(), pool, client)
            rows.append([client.told(), pool.worked, [f"{one.begin}: {one.end}" for one in pool.taken]])
        return rows

    @wraps(exchange)
    def run(script: Script) -> list[Row]:
        return asyncio.run(play(script))

    return run
