"""TCP: accept, learn what there is to learn, pick, dial, relay.

Rule of this file: the order of things, for one listener. Each connection is one task and one line of counters.

Theory. Whoever is refused is told by RST, at once and without a byte. Nothing is read from a client before it is
wanted: the kernel's buffers hold it, and the window says so. Out of descriptors the relay stops accepting until one
is free; those who wait do so in the kernel's queue. Nobody is accepted without a descriptor kept for the way on:
clients who hold one each and wait for a second would wait for each other. That a backend does not answer is noticed
before a byte was sent to it, so the next one can be tried; afterwards nobody can know what was done already, and the
client is told.

Trap. Closing a listening socket breaks those connections that the kernel has completed and nobody has accepted yet. So
`stop` accepts what is there first; what comes in between the last accept and the close is lost all the same.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import socket
from collections.abc import Mapping
from ipaddress import ip_address
from typing import NamedTuple

from lbcore.l4.relay import sockets
from lbcore.l4.relay.backends import key_of
from lbcore.l4.relay.counters import Counters, Reason
from lbcore.l4.relay.introduce import ends, introduction
from lbcore.l4.relay.limits import Room
from lbcore.l4.relay.opening import Opening
from lbcore.l4.relay.options import Listener, Options, network
from lbcore.l4.relay.pools import Group
from lbcore.l4.relay.router import Router
from lbcore.l4.relay.side import Side, relay
from lbcore.wire.errors import Malformed
from lbcore.wire.proxy_protocol import Endpoint, Inet

log = logging.getLogger(__name__)
PASSING = (errno.ECONNABORTED, errno.EPROTO, errno.EPERM, errno.EINTR)  # accept(2): this one is lost, others come
AT_ONCE = 64  # clients accepted before those who are in have their turn
PATIENCE = 1.0  # seconds until descriptors are looked for again, should nobody have said that one is free


class Refused(Exception):
    """A connection that is not relayed."""

    def __init__(self, reason: Reason) -> None:
        super().__init__(str(reason))
        self.reason = reason


class Client(NamedTuple):
    """Who is in. spare: the descriptor of the way on."""

    side: Side
    peer: Inet
    here: Inet
    spare: sockets.Spare


class Tcp:
    """One listener. sock: listening already; closed by `stop`."""

    def __init__(
        self, listener: Listener, sock: socket.socket, groups: Mapping[str, Group],
        options: Options, room: Room, counters: Counters,
    ) -> None:  # fmt: skip
        self._sock, self._options, self._room, self._counters = sock, options, room, counters
        self._groups = groups
        self._router = Router(listener.routes, listener.pool)
        self._peeks = bool(listener.routes)
        self._trusted = [network(text) for text in listener.accept_proxy]
        self._sessions: set[asyncio.Task[None]] = set()
        self._loop = asyncio.get_running_loop()
        self.accepting = self._loop.create_task(self._accept())

    # ------------------------------------------------------------------------------------------------- the life of it
    async def stop(self) -> None:
        """Accept no more."""
        self.accepting.cancel()
        await asyncio.wait([self.accepting])
        try:
            while self._sock.fileno() >= 0 and self._room.left:
                self._take()
        except OSError:  # nobody is left in the queue, or nothing to take them with
            pass
        self._sock.close()

    async def drain(self, seconds: float) -> None:
        """Wait until all connections have ended, but no longer than this."""
        if self._sessions:
            await asyncio.wait(self._sessions, timeout=seconds)

    async def cut(self) -> None:
        """End those that are left."""
        await asyncio.sleep(0)  # a task that is cancelled before its first step never gets to close its socket
        for session in self._sessions:
            session.cancel()
        if self._sessions:
            await asyncio.wait(self._sessions)

    async def _accept(self) -> None:
        while True:
            await self._somebody()
            await self._room.free()
            try:
                for _ in range(min(AT_ONCE, self._room.left)):
                    self._take()
            except BlockingIOError:  # that was all
                continue
            except OSError as error:
                if error.errno in sockets.EXHAUSTED:
                    self._counters.pauses += 1
                    await self._room.freed(PATIENCE)
                elif error.errno not in PASSING:
                    raise

    async def _somebody(self) -> None:
        """Wait until a client is in the queue.

        Not `loop.sock_accept`: cancelled at the wrong moment, that loses a client whom it has accepted already.
        """
        ready = asyncio.Event()
        self._loop.add_reader(self._sock, ready.set)
        try:
            await ready.wait()
        finally:
            self._loop.remove_reader(self._sock)

    def _take(self) -> None:
        """Accept one, now, and begin. BlockingIOError if nobody is there."""
        spare = sockets.Spare()
        try:
            sock, peer = self._sock.accept()
        except BaseException:
            spare.give()
            raise
        sock.setblocking(False)  # accept(2) on Linux does not hand this down
        self._room.taken += 1
        session = self._loop.create_task(self._session(sock, Inet(*peer[:2]), spare))
        self._sessions.add(session)
        session.add_done_callback(self._sessions.discard)

    # ------------------------------------------------------------------------------------------------- one connection
    async def _session(self, sock: socket.socket, peer: Inet, spare: sockets.Spare) -> None:
        counters = self._counters
        counters.accepted += 1
        counters.open += 1
        reason = Reason.FAULT
        side: Side | None = None
        try:
            with sockets.or_closed(sock):
                here = Inet(*sock.getsockname()[:2])
                _, side = await self._loop.connect_accepted_socket(lambda: Side(self._from_client), sock)
            reason = await self._serve(Client(side, peer, here, spare))
        except asyncio.CancelledError:
            reason = Reason.CUT
        except Refused as refusal:
            reason = refusal.reason
        except ConnectionError:
            reason = Reason.RESET
        except Exception:
            log.exception("a connection from %s ended by a fault of the relay", peer)
        finally:
            counters.open -= 1
            counters.ended[reason] += 1
            spare.give()
            if side:
                await _gone(side)
            self._room.leave()

    async def _serve(self, client: Client) -> Reason:
        if self._trusted and not any(ip_address(client.peer.address) in net for net in self._trusted):
            raise Refused(Reason.UNTRUSTED)
        opening = await self._open(client.side)
        source, destination, _ = ends(opening.header, client.peer, client.here)
        counted = source.address if isinstance(source, Inet) else source
        if not self._room.admit(counted):
            raise Refused(Reason.PER_SOURCE)
        try:
            self._counters.ech += bool(opening.hello and opening.hello.ech)
            name = self._router.pool(opening.hello)
            if not name:
                raise Refused(Reason.NO_ROUTE)
            return await self._relay(self._groups[name], client, opening, (source, destination))
        finally:
            self._room.dismiss(counted)

    async def _open(self, client: Side) -> Opening:
        opening = Opening(proxy=bool(self._trusted), hello=self._peeks)
        try:
            async with asyncio.timeout(self._options.timeouts.opening):
                while not opening.done:
                    data = await client.read()
                    if not data:
                        raise Refused(Reason.SHORT)
                    opening.feed(data)
        except TimeoutError:
            raise Refused(Reason.SLOW) from None
        except Malformed:
            raise Refused(Reason.BAD_PROXY if opening.missing == "PROXY header" else Reason.BAD_HELLO) from None
        return opening

    async def _relay(self, group: Group, client: Client, opening: Opening, flow: tuple[Endpoint, Endpoint]) -> Reason:
        pool = group.pool
        first = introduction(
            pool.send_proxy, pool.proxy_extras, opening.header, opening.hello, client.peer, client.here
        )
        server, number = await self._dial(group, flow, client.spare)
        try:
            self._counters.connected += 1
            self._counters.by_backend[group.backends.names[number]] += 1
            return await relay(client.side, server, first + opening.pending, self._options.timeouts.idle)
        finally:
            group.backends.done(number)
            await _gone(server)

    # ---------------------------------------------------------------------------------------------------- a backend
    async def _dial(self, group: Group, flow: tuple[Endpoint, Endpoint], spare: sockets.Spare) -> tuple[Side, int]:
        """A connected backend and its number, still counted as open. Refused when attempts have run out."""
        backends, tried = group.backends, set[int]()
        key = key_of(group.pool.hash_on, *flow, self._options.seed)
        while len(tried) < self._options.limits.attempts:
            number = backends.choose(key, tried)
            if number is None:
                break
            self._counters.retries += bool(tried)
            tried.add(number)
            try:
                side = await self._connect(group, number, flow[0], spare)
            except Refused:
                backends.done(number)
                raise
            except (OSError, TimeoutError):
                backends.done(number)
                backends.failed(number)
            except BaseException:
                backends.done(number)
                raise
            else:
                backends.answered(number)
                return side, number
        raise Refused(Reason.NO_BACKEND)

    async def _connect(self, group: Group, number: int, client: Endpoint, spare: sockets.Spare) -> Side:
        target = group.targets[number]
        source = None
        if group.pool.preserve_source:
            if not isinstance(client, Inet) or sockets.family_of(client.address) != sockets.family_of(target[0]):
                raise Refused(Reason.FAMILY)
            source = client
        async with asyncio.timeout(self._options.timeouts.connect):
            spare.give()
            sock = self._socket(target, source)
            with sockets.or_closed(sock):
                await self._loop.sock_connect(sock, target)
                _, side = await self._loop.create_connection(lambda: Side(self._from_backend), sock=sock)
                return side

    def _socket(self, target: tuple[str, int], source: Inet | None) -> socket.socket:
        try:
            return sockets.dialling(target, socket.SOCK_STREAM, source)
        except OSError as error:
            if error.errno in sockets.EXHAUSTED:  # somebody else in this process was quicker: not the backend's fault
                raise Refused(Reason.NO_DESCRIPTOR) from None
            raise

    def _from_client(self, size: int) -> None:
        self._counters.from_clients += size

    def _from_backend(self, size: int) -> None:
        self._counters.from_backends += size


async def _gone(side: Side) -> None:
    """Break a side off, unless it is closed, and wait until its socket is."""
    if not side.gone.done():
        side.reset()
        await asyncio.wait([side.gone])
