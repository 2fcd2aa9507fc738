"""Where clients come in: sockets, and what is settled about a connection before anybody speaks HTTP on it.

Rule of this file: it accepts, looks and hands over. What is said on the connection it does not read, but for a PROXY
header, which is taken off.

Theory. The socket that listens outlives what is behind it: a reload puts a new server on the same socket, so nobody who
waits in the kernel's queue notices. Where something has to be known before TLS begins (who the client is, by a PROXY
header; whose TLS it is, by the name in the ClientHello) the bytes are looked at with MSG_PEEK and stay in the kernel:
whoever gets the connection then, TLS here or a backend that has the key, reads it from its first byte.

Traps
- Looking again finds the same bytes at once; SO_RCVLOWAT makes the kernel wait for more of them.
- A PROXY header is believed of some networks, and there every connection has to begin with one: who may leave it out
  could also write it.
- Everything before HTTP has one deadline: a client that sends nothing holds a descriptor, no longer.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Mapping
from contextlib import suppress
from time import monotonic
from typing import Final

from lbcore.l4.relay import sockets
from lbcore.l4.relay.side import Side, relay
from lbcore.l7.config.options import ListenOptions, authority
from lbcore.l7.engine.proxy import Proxy
from lbcore.l7.front.arrivals import Arrival
from lbcore.l7.front.gate import peek
from lbcore.l7.front.tls import Terminator
from lbcore.l7.http1.client import ClientConnection as Http1
from lbcore.l7.http2.client import ClientConnection as Http2
from lbcore.l7.message import Headers, Peer, Request
from lbcore.l7.pools.pool import Pool, Result
from lbcore.l7.routing.match import covers, name_of
from lbcore.l7.trust import Trust, networks_of
from lbcore.wire import proxy_protocol
from lbcore.wire.errors import Incomplete, Malformed
from lbcore.wire.proxy_protocol import Inet

log = logging.getLogger("lbcore.l7")
BACKLOG: Final = 1024
AT_ONCE: Final = 64
"""Clients accepted before those who are in have their turn."""
PATIENCE: Final = 0.1
"""Seconds until descriptors are looked for again."""
HEADER: Final = 1 << 16
"""Bytes looked at for a PROXY header; its parser has a limit of its own."""
HELLO: Final = 16384
"""Bytes of a ClientHello, where no TLS of ours has a limit."""


def opened(options: ListenOptions) -> socket.socket:
    """A socket that listens there. OSError that names the address: it is taken, or not ours."""
    try:
        return sockets.listening(
            (options.address, options.port), socket.SOCK_STREAM, backlog=BACKLOG, transparent=False
        )
    except OSError as error:
        raise OSError(error.errno, f"cannot listen on {options.name}: {error.strerror}") from None


class Introduced(Arrival):
    """A client of whom a PROXY header has told."""

    def __init__(self, proxy: Proxy, peer: Peer) -> None:
        super().__init__(proxy)
        self.peer = peer

    def _become(self, protocol: Http1 | Http2, data: bytes = b"") -> None:
        protocol.peer.address, protocol.peer.port = self.peer.address, self.peer.port
        super()._become(protocol, data)


class Listener:
    """One socket, and what it leads to.

    tls: of connections that end here. pools: of those that do not, by name. sessions: where tasks are noted of
    connections that are passed through or not settled yet; whoever closes all cancels them.
    """

    def __init__(
        self,
        proxy: Proxy,
        options: ListenOptions,
        sock: socket.socket,
        tls: Terminator | None = None,
        pools: Mapping[str, Pool] | None = None,
        sessions: set[asyncio.Task[None]] | None = None,
    ) -> None:
        self.proxy, self.options, self.sock, self.tls = proxy, options, sock, tls
        self._pools: Mapping[str, Pool] = pools or {}
        self._sessions: set[asyncio.Task[None]] = set() if sessions is None else sessions
        self._trust = Trust(networks_of(options.proxy_protocol, "proxy_protocol"))
        self._passes = [(name_of(name), one.pool) for one in options.passthrough for name in one.names]
        self._server: asyncio.Server | None = None
        self._accepting: asyncio.Task[None] | None = None

    @property
    def address(self) -> str:
        """Where it is, with the port that it got."""
        name = self.sock.getsockname()
        return authority(name[0], name[1])

    async def start(self) -> None:
        """Accept from now on."""
        loop = asyncio.get_running_loop()
        if self.tls is not None or self._passes or self.options.proxy_protocol:
            self._accepting = loop.create_task(self._accept())
            return
        self._server = await loop.create_server(self._client, sock=self.sock.dup(), backlog=BACKLOG)

    def stop(self) -> None:
        """Accept no more; the socket stays open, and so do connections."""
        if self._server is not None:
            self._server.close()
        if self._accepting is not None:
            self._accepting.cancel()
        self._server = self._accepting = None

    def close(self) -> None:
        """Accept no more, and close the socket; who was in its queue is let in first."""
        self.stop()
        with suppress(OSError):
            while True:
                self._take()
        self.sock.close()

    def _client(self, peer: Peer | None = None) -> asyncio.Protocol:
        """Whoever is to have a new connection."""
        if len(self.proxy.clients) + len(self._sessions) > self.proxy.limits.connections:
            return Crowded()
        if not self.options.http2:
            return Http1(self.proxy, peer)
        return Arrival(self.proxy) if peer is None else Introduced(self.proxy, peer)

    async def _accept(self) -> None:
        loop, ready = asyncio.get_running_loop(), asyncio.Event()
        loop.add_reader(self.sock, ready.set)
        try:
            while True:
                await ready.wait()
                ready.clear()
                try:
                    for _ in range(AT_ONCE):
                        self._take()
                    ready.set()
                    await asyncio.sleep(0)
                except BlockingIOError:
                    continue
                except OSError as error:  # out of descriptors: whoever waits does so in the kernel's queue
                    if error.errno in sockets.EXHAUSTED:
                        log.warning("%s: cannot accept: %s", self.address, error.strerror)
                        await asyncio.sleep(PATIENCE)
                    ready.set()
        finally:
            loop.remove_reader(self.sock)

    def _take(self) -> None:
        """Accept one, now, and begin. BlockingIOError if nobody is there."""
        sock, name = self.sock.accept()
        sock.setblocking(False)
        task = asyncio.get_running_loop().create_task(self._begin(sock, Peer(name[0], name[1])))
        self._sessions.add(task)
        task.add_done_callback(self._sessions.discard)

    async def _begin(self, sock: socket.socket, peer: Peer) -> None:
        """From an accepted socket to a protocol that has it."""
        try:
            with sockets.or_closed(sock):
                pool = None
                async with asyncio.timeout(self.proxy.limits.head_time):
                    if self.options.proxy_protocol:
                        peer = await self._introduced(sock, peer)
                    if self._passes:
                        pool = await self._whose(sock)
                await (self._pass_on(sock, peer, pool) if pool is not None else self._let_in(sock, peer))
        except (OSError, Malformed) as error:  # TimeoutError and ssl.SSLError are OSErrors
            log.info("%s:%d: %s", peer.address, peer.port, error or type(error).__name__)
        except Exception:
            log.exception("%s:%d: a fault of the proxy", peer.address, peer.port)

    async def _introduced(self, sock: socket.socket, peer: Peer) -> Peer:
        """Who the client is, by the header that is taken off. Malformed: none, or nobody may write one here."""
        if peer.address not in self._trust:
            raise Malformed("peer", peer.address, "must be in proxy_protocol's networks")
        source = (await header_of(sock)).source
        return Peer(source.address, source.port) if isinstance(source, Inet) else peer

    async def _whose(self, sock: socket.socket) -> Pool | None:
        """The pool that a connection goes on to, by its ClientHello; None: it stays here. Malformed: neither."""
        hello = await peek(sock, self.tls.options.hello_limit if self.tls else HELLO)
        name = (hello.server_name or "").encode()
        found = max((one for one in self._passes if name and covers(one[0], name)), key=_narrow, default=None)
        if found is not None:
            return self._pools[found[1]]
        if self.tls is None:
            raise Malformed("server name", repr(name.decode()), "must be one that is passed through")
        return None

    async def _let_in(self, sock: socket.socket, peer: Peer) -> None:
        """To HTTP, after the handshake if there is TLS. OSError: it failed."""
        loop, tls = asyncio.get_running_loop(), self.tls
        if tls is None:
            await loop.connect_accepted_socket(lambda: self._client(peer), sock)
            return
        try:
            transport, _ = await loop.connect_accepted_socket(
                lambda: self._client(peer),
                sock,
                ssl=tls.context,
                ssl_handshake_timeout=tls.options.handshake_timeout,
                ssl_shutdown_timeout=self.proxy.limits.linger,
            )
            tls.handshakes.count(transport.get_extra_info("ssl_object"))
        except OSError:
            tls.handshakes.failed += 1
            raise

    async def _pass_on(self, sock: socket.socket, peer: Peer, pool: Pool) -> None:
        """Bytes both ways, until both ends are gone. OSError: no backend."""
        loop = asyncio.get_running_loop()
        backend = pool.pick(Request(b"", b"*", b"", b"https", Headers(), peer))
        if backend is None:
            raise ConnectionRefusedError(f"no backend in pool {pool.name}: {pool.why}")
        pool.began(backend)
        result, start = Result(error="refused"), monotonic()
        try:
            async with asyncio.timeout(pool.timeouts.connect):
                _, there = await loop.create_connection(lambda: Side(_uncounted), backend.host, backend.port)
            result = Result(status=200, seconds=monotonic() - start, sent=True)
            try:
                _, here = await loop.connect_accepted_socket(lambda: Side(_uncounted), sock)
                try:
                    hello = await here.read()  # uvloop does not keep a new transport paused: it may be there already
                    await relay(here, there, hello, self.proxy.limits.idle_time)
                finally:
                    here.transport.abort()
            finally:
                there.transport.abort()
        finally:
            pool.ended(backend, result)


class Crowded(asyncio.Protocol):
    """A connection too many."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        transport.close()


def _uncounted(size: int) -> None:
    """Bytes that are passed on are nobody's requests."""


def _narrow(one: tuple[bytes, str]) -> tuple[bool, int]:
    """Larger for the more specific name."""
    return not one[0].startswith(b"*"), len(one[0])


async def header_of(sock: socket.socket) -> proxy_protocol.Header:
    """The PROXY header, taken off; what follows it stays in the kernel. Malformed; ConnectionError: it ended."""
    wanted = 1
    while True:
        await readable(sock, wanted)
        data = sock.recv(HEADER, socket.MSG_PEEK)
        if len(data) < wanted:
            raise ConnectionResetError("the client left before it said who it is")
        try:
            header, size = proxy_protocol.parse(data)
        except Incomplete as error:
            wanted = len(data) + error.needed
            continue
        sock.recv(size)
        return header


async def readable(sock: socket.socket, size: int) -> None:
    """Until so many bytes are there, or the end."""
    loop, ready = asyncio.get_running_loop(), asyncio.Event()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, size)
    loop.add_reader(sock, ready.set)
    try:
        await ready.wait()
    finally:
        loop.remove_reader(sock)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, 1)
