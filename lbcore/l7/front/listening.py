"""Where clients come in: sockets, and what is settled about a connection before anybody speaks HTTP on it.

Rule of this file: it accepts, looks and hands over. What is said on the connection it does not read, but for a PROXY
header, which is taken off.

Theory. The socket that listens outlives what is behind it: a reload puts a new server on the same socket, so nobody who
waits in the kernel's queue notices. Where something has to be known before TLS begins (who the client is, by a PROXY
header; whose TLS it is, by the name in the ClientHello) the bytes are looked at while they lie in the kernel (`peek`).

Traps
- A PROXY header is believed of some networks, and there every connection has to begin with one: who may leave it out
  could also write it.
- What is passed on is not ours to verify: the backend's certificate and the client's meet beyond us.
- Everything before HTTP has one deadline: a client that sends nothing holds a descriptor, no longer.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Mapping
from contextlib import suppress
from time import monotonic
from typing import TYPE_CHECKING, Final

from lbcore.l4.relay import sockets
from lbcore.l4.relay.side import Side, relay
from lbcore.l7.config.options import ListenOptions, authority
from lbcore.l7.front.arrivals import Arrival
from lbcore.l7.front.peek import header_of, hello_of
from lbcore.l7.front.tls import Terminator
from lbcore.l7.http1.client import ClientConnection as Http1
from lbcore.l7.http2.client import ClientConnection as Http2
from lbcore.l7.message import Headers, Peer, Request
from lbcore.l7.pools.pool import Backend, Pool, Result
from lbcore.l7.routing.match import covers, name_of
from lbcore.l7.trust import Trust, networks_of
from lbcore.wire.errors import Malformed
from lbcore.wire.proxy_protocol import Inet

if TYPE_CHECKING:
    from lbcore.l7.engine.proxy import Proxy

log = logging.getLogger("lbcore.l7")
BACKLOG: Final = 1024
AT_ONCE: Final = 64
"""Clients accepted before those who are in have their turn."""
PATIENCE: Final = 0.1
"""Seconds until descriptors are looked for again."""
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

    tls: of connections that end here. pools: of those that do not, by name. Those that are passed through, or not
    settled yet, are tasks in the proxy's `sessions`.
    """

    def __init__(
        self,
        proxy: Proxy,
        options: ListenOptions,
        sock: socket.socket,
        tls: Terminator | None = None,
        pools: Mapping[str, Pool] | None = None,
    ) -> None:
        self.proxy, self.options, self.sock, self.tls = proxy, options, sock, tls
        self._pools: Mapping[str, Pool] = pools or {}
        self._trust = Trust(networks_of(options.proxy_protocol, "proxy_protocol"))
        self._passes = [(name_of(name), one.pool) for one in options.passthrough for name in one.names]
        self._looks = tls is not None or bool(self._passes) or bool(options.proxy_protocol)
        self._servers: socket.socket | None = None
        self._server: asyncio.Server | None = None
        self._accepting: asyncio.Task[None] | None = None

    @property
    def address(self) -> str:
        """Where it is, with the port that it got."""
        name = self.sock.getsockname()
        return authority(name[0], name[1])

    def prepare(self) -> None:
        """Take what `start` needs, which then cannot fail for want of it. OSError: there is no descriptor left."""
        if not self._looks and self._servers is None:
            self._servers = self.sock.dup()  # for a server of asyncio's, which closes what it gets

    async def start(self) -> None:
        """Accept from now on."""
        loop = asyncio.get_running_loop()
        if self._looks:
            self._accepting = loop.create_task(self._accept())
            return
        self.prepare()
        assert self._servers is not None
        self._server = await loop.create_server(self._client, sock=self._servers, backlog=BACKLOG)

    def stop(self) -> None:
        """Accept no more; the socket stays open, and so do connections."""
        if self._server is not None:
            self._server.close()
        elif self._servers is not None:
            self._servers.close()
        if self._accepting is not None:
            self._accepting.cancel()
        self._server = self._accepting = self._servers = None

    def close(self) -> None:
        """Accept no more, and close the socket; who was in its queue is let in first."""
        self.stop()
        with suppress(OSError):
            while True:
                self._take()
        self.sock.close()

    def _client(self, peer: Peer | None = None) -> asyncio.Protocol:
        """Whoever is to have a new connection."""
        if peer is None and self.proxy.crowded:
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
        if self.proxy.crowded:
            sock.close()
            return
        sock.setblocking(False)
        sessions = self.proxy.sessions
        task = asyncio.get_running_loop().create_task(self._begin(sock, Peer(name[0], name[1])))
        sessions.add(task)
        task.add_done_callback(sessions.discard)

    async def _begin(self, sock: socket.socket, peer: Peer) -> None:
        """From an accepted socket to a protocol that has it."""
        pool, tls = None, self.tls
        try:
            with sockets.or_closed(sock):
                async with asyncio.timeout(tls.options.handshake_timeout if tls else self.proxy.limits.head_time):
                    if self.options.proxy_protocol:
                        peer = await self._introduced(sock, peer)
                    if self._passes:
                        pool = await self._whose(sock)
                await (self._pass_on(sock, peer, pool) if pool is not None else self._let_in(sock, peer))
        except (OSError, Malformed) as error:  # TimeoutError and ssl.SSLError are OSErrors
            log.info("%s:%d: %s", peer.address, peer.port, str(error) or type(error).__name__)
            if tls is not None and pool is None:
                tls.handshakes.failed += 1
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
        hello = await hello_of(sock, self.tls.options.hello_limit if self.tls else HELLO)
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
        transport, _ = await loop.connect_accepted_socket(
            lambda: self._client(peer),
            sock,
            ssl=tls.context,
            ssl_handshake_timeout=tls.options.handshake_timeout,
            ssl_shutdown_timeout=self.proxy.limits.linger,
        )
        tls.handshakes.count(transport.get_extra_info("ssl_object"))

    async def _pass_on(self, sock: socket.socket, peer: Peer, pool: Pool) -> None:
        """Bytes both ways, until both ends are gone. OSError: no backend."""
        backend, there, start = await _dial(pool, Request(b"", b"*", b"", b"https", Headers(), peer))
        result = Result(status=200, seconds=monotonic() - start, sent=True)
        try:
            _, here = await asyncio.get_running_loop().connect_accepted_socket(lambda: Side(_uncounted), sock)
            try:
                hello = await here.read()  # uvloop does not keep a new transport paused: it may be there already
                await relay(here, there, hello, self.proxy.limits.idle_time)
            finally:
                here.transport.abort()
        finally:
            there.transport.abort()
            pool.ended(backend, result, start)


async def _dial(pool: Pool, request: Request) -> tuple[Backend, Side, float]:
    """A connection with a backend, of the first that takes one, and when it began there. OSError: nobody does."""
    tried: tuple[Backend, ...] = ()
    while (backend := pool.pick(request, tried)) is not None:
        pool.began(backend)
        result, start = Result(error="cancelled"), monotonic()
        try:
            async with asyncio.timeout(pool.timeouts.connect):
                _, side = await asyncio.get_running_loop().create_connection(
                    lambda: Side(_uncounted), backend.host, backend.port
                )
            result = Result()
            return backend, side, start
        except OSError:
            result = Result(error="refused", seconds=monotonic() - start)
        finally:
            if result.error:
                pool.ended(backend, result, start)
        tried = (*tried, backend)
        if not pool.again(request, result, len(tried), tried=tried):
            break
    raise ConnectionRefusedError(f"no backend in pool {pool.name} takes a connection{pool.why and ': '}{pool.why}")


class Crowded(asyncio.Protocol):
    """A connection too many."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        transport.close()


def _uncounted(size: int) -> None:
    """Bytes that are passed on are nobody's requests."""


def _narrow(one: tuple[bytes, str]) -> tuple[bool, int]:
    """Larger for the more specific name."""
    return not one[0].startswith(b"*"), len(one[0])
