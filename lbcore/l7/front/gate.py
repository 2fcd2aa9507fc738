"""Where TLS connections come in: some are ended here, others passed on as they are, by the name they ask for.

Rule of this file: accept, look, hand over. It reads no byte that belongs to somebody else.

Theory. The ClientHello says in the clear whom a client wants (SNI). Where that decides, it is looked at while it still
lies in the kernel (MSG_PEEK): then nothing has to be handed on, neither to our own TLS, which reads the hello from the
socket as ever, nor to a backend, which gets the client's bytes from the first to the last. SO_RCVLOWAT says how many
bytes make the socket readable, so half a hello does not wake us again and again.

Of the ways to give asyncio's TLS bytes that were read already, none is in its interface (start_tls takes a transport
that has read nothing), and feeding an SSLObject by hand would give up uvloop's TLS for the whole connection.

Traps
- A client that has sent half a hello and its end is readable for ever: no more bytes than before is the end.
- What is passed on is not ours to verify: the backend's certificate and the client's meet beyond us.
- With Encrypted Client Hello the name seen here is the outer one.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Callable, Sequence
from typing import Final

import msgspec

from lbcore.l4.relay.router import Router
from lbcore.l4.relay.side import Side, relay
from lbcore.l4.relay.sockets import EXHAUSTED
from lbcore.l7.front.tls import Terminator
from lbcore.wire import tls_hello
from lbcore.wire.errors import Incomplete, Malformed
from lbcore.wire.tls_hello import ClientHello

AT_ONCE: Final = 64  # clients accepted before those who are in have their turn
PATIENCE: Final = 0.1  # seconds until descriptors are looked for again


class PassthroughOptions(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Names whose connections are passed on as they are.

    names: "shop.example", or "*.shop.example" for all below it. targets: "host:port", in turn; the next one if a
    connection cannot be made. connect, idle: seconds.
    """

    names: tuple[str, ...]
    targets: tuple[str, ...]
    connect: float = 3.0
    idle: float = 300.0

    def __post_init__(self) -> None:
        if not self.names or not self.targets:
            raise ValueError(f"names is {self.names}, targets is {self.targets}: one of each at least")
        for target in self.targets:
            host, _, port = target.rpartition(":")
            if not host or not port.isdigit() or not 0 < int(port) < 65536:
                raise ValueError(f"targets has {target!r}: host:port, as in 10.0.0.1:443 or [2001:db8::1]:443")


class _Rule:
    """A passthrough as the relay's router takes it; its number is the pool's name."""

    alpn: tuple[str, ...] = ()
    ech: bool | None = None

    def __init__(self, number: int, names: Sequence[str]) -> None:
        self.pool, self.names = str(number), tuple(name.lower() for name in names)


class Gate:
    """A listening socket with TLS. factory: makes a protocol for each connection that is ended here."""

    def __init__(
        self,
        sock: socket.socket,
        terminator: Terminator,
        factory: Callable[[], asyncio.Protocol],
        *,
        passthrough: Sequence[PassthroughOptions] = (),
        most: int = 10_000,
        linger: float = 2.0,
    ) -> None:
        self.terminator: Final = terminator
        self.passed = 0
        """Connections that were passed on."""
        self._passthrough = tuple(passthrough)
        self._turn = [0] * len(self._passthrough)
        self._router = Router((_Rule(n, one.names) for n, one in enumerate(passthrough)), "") if passthrough else None
        self._factory, self._most, self._linger = factory, most, linger
        self._sock = sock
        self._loop = asyncio.get_running_loop()
        self._tasks: set[asyncio.Task[None]] = set()
        self._again: asyncio.TimerHandle | None = None
        sock.setblocking(False)
        self._open()

    @property
    def busy(self) -> bool:
        """Are there handshakes, or connections that are passed on?"""
        return bool(self._tasks)

    @property
    def sockets(self) -> tuple[socket.socket, ...]:
        """The listening socket."""
        return (self._sock,)

    def close(self) -> None:
        """Accept no more; connections that are passed on end with their two ends, or with `wait_closed`."""
        if self._sock.fileno() >= 0:
            self._loop.remove_reader(self._sock.fileno())
            self._sock.close()
        if self._again is not None:
            self._again.cancel()

    async def wait_closed(self) -> None:
        """End what is left, and wait for it."""
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    # ---- accepting ----

    def _open(self) -> None:
        self._again = None
        self._loop.add_reader(self._sock.fileno(), self._accept)

    def _accept(self) -> None:
        for _ in range(AT_ONCE):
            try:
                client, _ = self._sock.accept()
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno in EXHAUSTED:
                    self._loop.remove_reader(self._sock.fileno())
                    self._again = self._loop.call_later(PATIENCE, self._open)
                return
            client.setblocking(False)
            if len(self._tasks) >= self._most:
                client.close()
                continue
            task = self._loop.create_task(self._session(client))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _session(self, client: socket.socket) -> None:
        options = self.terminator.options
        try:
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if self._router is not None:
                async with asyncio.timeout(options.handshake_timeout):
                    hello = await peek(client, options.hello_limit)
                if chosen := self._router.pool(hello):
                    await self._pass_on(int(chosen), client)
                    return
            transport, _ = await self._loop.connect_accepted_socket(
                self._factory,
                client,
                ssl=self.terminator.context,
                ssl_handshake_timeout=options.handshake_timeout,
                ssl_shutdown_timeout=self._linger,
            )
            self.terminator.handshakes.count(transport.get_extra_info("ssl_object"))
        except (OSError, Malformed):  # TimeoutError and SSLError are OSErrors
            self.terminator.handshakes.failed += 1
            client.close()
        except BaseException:
            client.close()
            raise

    # ---- passing on ----

    async def _pass_on(self, number: int, client: socket.socket) -> None:
        options = self._passthrough[number]
        self.passed += 1
        server = await self._dial(number)
        try:
            _, side = await self._loop.connect_accepted_socket(lambda: Side(_uncounted), client)
        except BaseException:
            server.reset()
            raise
        try:
            await relay(side, server, await side.read(), options.idle)  # there is a hello at least: it was peeked at
        finally:
            for one in (side, server):
                if not one.gone.done():
                    one.reset()

    async def _dial(self, number: int) -> Side:
        """A connection with the next target that takes one. OSError: none does."""
        options = self._passthrough[number]
        for _ in options.targets:
            host, _, port = options.targets[self._turn[number] % len(options.targets)].rpartition(":")
            self._turn[number] += 1
            with contextlib.suppress(OSError):
                async with asyncio.timeout(options.connect):
                    _, side = await self._loop.create_connection(lambda: Side(_uncounted), host.strip("[]"), int(port))
                    return side
        raise ConnectionRefusedError(f"none of {', '.join(options.targets)} takes a connection")


def _uncounted(size: int) -> None:
    """Bytes that nobody counts."""


async def peek(client: socket.socket, limit: int) -> ClientHello:
    """The ClientHello that waits in a socket, which is left as it was. Malformed; ConnectionError: it has ended."""
    loop, wanted = asyncio.get_running_loop(), 1
    try:
        while True:
            await _readable(loop, client)
            data = client.recv(limit, socket.MSG_PEEK)
            if len(data) < wanted:
                raise ConnectionResetError("the client ended in the middle of its ClientHello")
            try:
                return tls_hello.parse(data, limit=limit)
            except Incomplete as short:
                wanted = len(data) + short.needed
                client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, wanted)
    finally:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, 1)


async def _readable(loop: asyncio.AbstractEventLoop, client: socket.socket) -> None:
    ready: asyncio.Future[None] = loop.create_future()
    number = client.fileno()
    loop.add_reader(number, lambda: None if ready.done() else ready.set_result(None))
    try:
        await ready
    finally:
        loop.remove_reader(number)
