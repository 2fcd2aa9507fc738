"""UDP: datagrams have no connection, so the relay makes one up: a flow, with a socket of its own towards its backend.

Rule of this file: one listener's flows. A datagram is relayed whole or not at all, and nothing waits for it.

Theory. The first datagram from a source opens a flow: a backend is picked and a connected socket opened; its port is
what tells this client's answers from another's. Every datagram either way is a sign of life; flows are kept in the
order of theirs, so the one that is idle longest is always the first, and one timer is enough for all.

When the table is full, datagrams of new flows are dropped and those of known flows pass: a flood of made-up sources
must not push out anybody who is being served.

Traps
- The source of a datagram can be made up, and an answer goes there. What is behind must not answer with much more than
  it was asked (amplification); the limit by source bounds flows, not bytes.
- With the PROXY protocol each datagram has a header of its own, in and out. One proxy's many clients are told apart by
  what the header says.
- Answers must come from the address that was asked: a listener has one address, never all of them.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import ip_address

from lbcore.l4.relay import sockets
from lbcore.l4.relay.backends import key_of
from lbcore.l4.relay.counters import Counters, Reason
from lbcore.l4.relay.introduce import ends, introduction
from lbcore.l4.relay.limits import Room
from lbcore.l4.relay.options import Listener, Options, network
from lbcore.l4.relay.pools import Group
from lbcore.wire import proxy_protocol
from lbcore.wire.proxy_protocol import Endpoint, Header, Inet

log = logging.getLogger(__name__)
LONGEST = 65535
AT_ONCE = 64  # datagrams of one socket before others have their turn


@dataclass(slots=True)
class Flow:
    """One source and its backend. prefix: the PROXY header that each of its datagrams begins with."""

    key: tuple[Inet, Endpoint]
    reply_to: tuple[str, int]
    number: int
    sock: socket.socket
    prefix: bytes
    seen: float


class Udp:
    """One listener. sock: bound already; closed by `cut`."""

    def __init__(
        self, listener: Listener, sock: socket.socket, groups: Mapping[str, Group],
        options: Options, room: Room, counters: Counters,
    ) -> None:  # fmt: skip
        self._sock, self._options, self._room, self._counters = sock, options, room, counters
        self._group = groups[listener.pool]
        self._trusted = [network(text) for text in listener.accept_proxy]
        self._here = Inet(*sock.getsockname()[:2])
        self._flows: dict[tuple[Inet, Endpoint], Flow] = {}  # in the order of their last datagram
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._open_for_new = True
        self._empty = asyncio.Event()
        self.accepting: asyncio.Future[None] = self._loop.create_future()
        self._loop.add_reader(sock, self._guarded, self._from_clients)

    # ------------------------------------------------------------------------------------------------- the life of it
    async def stop(self) -> None:
        """No new flows."""
        self._open_for_new = False
        if not self._flows:
            self._empty.set()

    async def drain(self, seconds: float) -> None:
        """Wait until all flows have ended, but no longer than this."""
        try:
            async with asyncio.timeout(seconds):
                await self._empty.wait()
        except TimeoutError:
            pass

    async def cut(self) -> None:
        """End those that are left."""
        self._loop.remove_reader(self._sock)
        self._sock.close()
        self.accepting.cancel()
        for flow in list(self._flows.values()):
            self._end(flow, Reason.CUT)
        if self._timer:
            self._timer.cancel()

    def _guarded(self, work, *arguments) -> None:  # type: ignore[no-untyped-def]
        """A fault in a callback ends the relay, in the open: the loop would only log it."""
        try:
            work(*arguments)
        except Exception as error:
            if not self.accepting.done():
                self.accepting.set_exception(error)

    # ------------------------------------------------------------------------------------------------- both directions
    def _from_clients(self) -> None:
        for _ in range(AT_ONCE):
            try:
                data, where = self._sock.recvfrom(LONGEST)
            except BlockingIOError:
                return
            except OSError:  # an ICMP error about an answer of ours: its flow goes by its idle time
                continue
            reason = self._forward(data, Inet(*where[:2]), where)
            if reason:
                self._counters.ended[reason] += 1

    def _forward(self, data: bytes, peer: Inet, where: tuple[str, int]) -> Reason | None:
        """Pass one datagram on; a reason if it is dropped."""
        self._counters.from_clients += len(data)
        header = None
        if self._trusted:
            if not any(ip_address(peer.address) in net for net in self._trusted):
                return Reason.UNTRUSTED
            try:
                header, size = proxy_protocol.parse(data)
            except ValueError:  # Malformed, or Incomplete: the rest will not come
                return Reason.BAD_PROXY
            data = data[size:]
        source, destination, _ = ends(header, peer, self._here)
        flow = self._flows.get((peer, source))
        if flow is None:
            opened = self._open((peer, source), destination, where, header)
            if isinstance(opened, Reason):
                return opened
            flow = opened
        self._alive(flow)
        try:
            flow.sock.send(flow.prefix + data)
        except BlockingIOError:
            return Reason.LOST
        except OSError as error:
            return self._broken(flow, error)
        return None

    def _from_backend(self, flow: Flow) -> None:
        for _ in range(AT_ONCE):
            try:
                data = flow.sock.recv(LONGEST)
            except BlockingIOError:
                return
            except OSError as error:
                reason = self._broken(flow, error)
                if reason:
                    self._counters.ended[reason] += 1
                return
            self._counters.from_backends += len(data)
            self._group.backends.answered(flow.number)
            self._alive(flow)
            try:
                self._sock.sendto(data, flow.reply_to)
            except OSError:  # no room, no way, too long: it is lost, as UDP is
                self._counters.ended[Reason.LOST] += 1

    # ------------------------------------------------------------------------------------------------------------ flows
    def _open(
        self, key: tuple[Inet, Endpoint], destination: Endpoint, where: tuple[str, int], header: Header | None
    ) -> Flow | Reason:
        if not self._open_for_new or len(self._flows) >= self._options.limits.flows:
            return Reason.FULL
        peer, source = key
        group = self._group
        if group.pool.preserve_source and not isinstance(source, Inet):
            return Reason.FAMILY
        counted = source.address if isinstance(source, Inet) else source
        number = group.backends.choose(key_of(group.pool.hash_on, source, destination, self._options.seed))
        if number is None:
            return Reason.NO_BACKEND
        target = group.targets[number]
        try:
            if not self._room.admit(counted):
                group.backends.done(number)
                return Reason.PER_SOURCE
            bound = source if group.pool.preserve_source and isinstance(source, Inet) else None
            sock = sockets.dialling(target, socket.SOCK_DGRAM, bound)
            with sockets.or_closed(sock):
                sock.connect(target)
        except OSError as error:
            self._room.dismiss(counted)
            group.backends.done(number)
            return Reason.NO_DESCRIPTOR if error.errno in sockets.EXHAUSTED else Reason.NO_BACKEND
        pool = group.pool
        prefix = introduction(pool.send_proxy, pool.proxy_extras, header, None, peer, self._here, udp=True)
        flow = Flow(key, where, number, sock, prefix, self._loop.time())
        self._flows[key] = flow
        self._loop.add_reader(sock, self._guarded, self._from_backend, flow)
        self._counters.accepted += 1
        self._counters.open += 1
        self._counters.connected += 1
        self._counters.by_backend[group.backends.names[number]] += 1
        if self._timer is None:
            self._timer = self._loop.call_later(self._options.timeouts.udp_idle, self._sweep)
        return flow

    def _alive(self, flow: Flow) -> None:
        flow.seen = self._loop.time()
        self._flows[flow.key] = self._flows.pop(flow.key)

    def _broken(self, flow: Flow, error: OSError) -> Reason | None:
        """ECONNREFUSED is the backend's host saying that nobody is there: the next datagram is for another."""
        if not isinstance(error, ConnectionError):
            return Reason.LOST
        self._group.backends.failed(flow.number)
        self._end(flow, Reason.RESET)
        return None

    def _sweep(self) -> None:
        """End the flows that are idle; come back when the next one may be."""
        idle, now = self._options.timeouts.udp_idle, self._loop.time()
        self._timer = None
        for flow in list(self._flows.values()):
            if flow.seen + idle > now:
                self._timer = self._loop.call_at(flow.seen + idle, self._sweep)
                break
            self._end(flow, Reason.IDLE)

    def _end(self, flow: Flow, reason: Reason) -> None:
        del self._flows[flow.key]
        self._loop.remove_reader(flow.sock)
        flow.sock.close()
        source = flow.key[1]
        self._room.dismiss(source.address if isinstance(source, Inet) else source)
        self._group.backends.done(flow.number)
        self._counters.open -= 1
        self._counters.ended[reason] += 1
        if not (self._flows or self._open_for_new):
            self._empty.set()
