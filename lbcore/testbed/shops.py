"""Servers that know their customers, and a browser that keeps its cookies: what stickiness is about.

Rule of this file: a shop looks a session up in the store it was given and answers; whether the store is its own is for
whoever opens it to say. No balancing here.

Theory. HTTP has no memory: what makes requests a session is a name that the browser brings back each time (a cookie),
and something kept under that name. The cookie is the client's; what is kept has to be somewhere.

Trap. The name is the key to the session, so it must be one that nobody can guess: 16 random bytes.
"""

from __future__ import annotations

from asyncio import StreamReader, StreamWriter
from base64 import b64encode
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from hashlib import sha1
from http.cookies import CookieError, SimpleCookie
from secrets import token_hex
from typing import NamedTuple

from lbcore.testbed import callers, smallest
from lbcore.testbed.session_stores import Memory, Store, StoreGone
from lbcore.testbed.smallest import Address, Request

SESSION = "sid"
GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455 section 1.3
REASONS = {200: "OK", 400: "Bad Request", 503: "Service Unavailable"}


class Shop:
    """A server called `name`, with a cart for each session in `store`.

    GET /add puts an item into the cart, anything else looks at it: the body is the shop's name and the number of
    items. GET /poll is for those who have a session already: 400 to all others. With `Upgrade: websocket` the
    connection becomes one of lines, each answered by the shop's name.
    """

    def __init__(self, name: str, store: Store) -> None:
        self.name, self.store = name, store
        self.address: Address = ("", 0)
        self.served = 0
        self._open = AsyncExitStack()

    async def open(self) -> None:
        """Listen on a free port of 127.0.0.1."""
        self.address = await self._open.enter_async_context(smallest.listening(self.handle))

    async def crash(self) -> None:
        """Stop listening, cut all connections."""
        await self._open.aclose()

    async def handle(self, reader: StreamReader, writer: StreamWriter) -> None:
        """One connection, request by request."""
        while head := await smallest.read_head(reader):
            request = smallest.parse_request(head)
            self.served += 1
            if key := request.headers.get("sec-websocket-key"):
                await self.chat(key.encode(), reader, writer)
                return
            writer.write(self.answer(request))

    def answer(self, request: Request) -> bytes:
        """The response to a request."""
        session = cookies(request.headers.get("cookie", "")).get(SESSION, "")
        fields: list[str] = []
        try:
            known = self.store.get(session) if session else None
            if request.path == "/poll":
                status, said = (200, self.name) if known is not None else (400, "no such session here")
            else:
                if known is None:  # a name that we did not give is no session of ours: never take it over
                    session = token_hex(16)
                    fields = [f"Set-Cookie: {SESSION}={session}; Path=/; HttpOnly; SameSite=Lax"]
                    self.store.put(session, 0)
                items = self.store.add(session) if request.path == "/add" else known or 0
                status, said = 200, f"{self.name} {items}"
        except StoreGone:
            status, said, fields = 503, "no store", []
        lines = [f"HTTP/1.1 {status} {REASONS[status]}", f"Content-Length: {len(said)}", *fields, "", said]
        return "\r\n".join(lines).encode("latin-1")

    async def chat(self, key: bytes, reader: StreamReader, writer: StreamWriter) -> None:
        """Take the upgrade (RFC 6455, section 4.2.2), then answer lines. Lines, and not WebSocket's frames: what is
        shown with it is which connection they travel on."""
        proof = b64encode(sha1(key + GUID).digest())
        writer.write(
            b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
            b"Sec-WebSocket-Accept: %b\r\n\r\n" % proof
        )
        while await reader.readline():
            writer.write(self.name.encode() + b"\n")


@asynccontextmanager
async def opened(names: Sequence[str], store: Callable[[], Store] = Memory) -> AsyncIterator[list[Shop]]:
    """Shops of these names, each with the store that `store` gives for it; closed at the end."""
    shops = [Shop(name, store()) for name in names]
    async with AsyncExitStack() as stack:
        for shop in shops:
            stack.push_async_callback(shop.crash)
            await shop.open()
        yield shops


class Answer(NamedTuple):
    """What a browser got: the status, the body, and whether the response set cookies."""

    status: int
    body: str
    set_cookies: tuple[str, ...] = ()

    @property
    def shop(self) -> str:
        """Who answered."""
        return self.body.partition(" ")[0]

    @property
    def items(self) -> int:
        """How many items are in the cart; 0 where the body tells no number."""
        last = self.body.rpartition(" ")[2]
        return int(last) if last.isdecimal() else 0


class Browser:
    """A client at `source` that asks `door`, with one connection for each request; `jar` holds its cookies."""

    def __init__(self, door: Address, source: str = "127.0.0.1", *, keeps_cookies: bool = True) -> None:
        self.door, self.source, self.keeps_cookies = door, source, keeps_cookies
        self.jar: dict[str, str] = {}

    def head(self, path: str, *fields: str) -> bytes:
        """A request with the cookies of the jar."""
        jar = [f"Cookie: {'; '.join(f'{name}={value}' for name, value in self.jar.items())}"] if self.jar else []
        return "\r\n".join([f"GET {path} HTTP/1.1", "Host: shop.example", *jar, *fields, "", ""]).encode("latin-1")

    async def get(self, path: str = "/") -> Answer:
        """One request. ValueError if what comes back is no response."""
        text = await callers.ask(self.door, self.head(path, "Connection: close"), source=self.source, end=False)
        head, _, body = text.partition("\r\n\r\n")
        line, *fields = head.split("\r\n")
        if not line.startswith("HTTP/1.1 "):
            raise ValueError(f"the answer begins {line[:60]!r}, wanted: HTTP/1.1 200 OK")
        found = [field.partition(":")[2].strip() for field in fields if field.lower().startswith("set-cookie:")]
        if self.keeps_cookies:
            for one in found:
                self.jar.update(cookies(one.partition(";")[0]))
        return Answer(int(line.split()[1]), body.strip(), tuple(found))

    async def visit(self, *paths: str) -> list[Answer]:
        """These requests, one after the other."""
        return [await self.get(path) for path in paths]

    async def chat(self, lines: int) -> list[str]:
        """Open a WebSocket and send so many lines: who answered each. ConnectionError if it is refused."""
        ask = ("Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13")
        async with callers.calling(self.door, self.source) as (reader, writer):
            writer.write(self.head("/chat", *ask, f"Sec-WebSocket-Key: {b64encode(bytes(16)).decode()}"))
            head = await smallest.read_head(reader)
            if not head.startswith(b"HTTP/1.1 101 "):
                raise ConnectionError(f"no WebSocket: {head[:40]!r}")
            answers = []
            for _ in range(lines):
                writer.write(b"hello\n")
                answers.append((await reader.readline()).decode().strip())
            return answers


def cookies(field: str) -> dict[str, str]:
    """Names and values in a Cookie field; nothing if it cannot be read."""
    try:
        return {name: morsel.value for name, morsel in SimpleCookie(field).items()}
    except CookieError:
        return {}
