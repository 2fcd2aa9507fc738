"""The relay as a whole: open everything or nothing, run, drain, close.

Rule of this file: order of starting and stopping. What happens to a connection is in `tcp` and `udp`.

Theory. Starting: options are checked, then every socket is opened, and only then is anything accepted; if one cannot be
opened the others are closed again. Stopping in three steps: accept no more; wait for those who are in, as long as the
window lasts; cut off who is left. However the block is left, by its end, an error or an interrupt, the last step is
done, and it returns when every socket is closed.
"""

from __future__ import annotations

import asyncio
import signal
import socket
from collections.abc import Callable
from contextlib import AsyncExitStack
from typing import Any

from lbcore.l4.relay import sockets
from lbcore.l4.relay.counters import Counters
from lbcore.l4.relay.limits import Room
from lbcore.l4.relay.options import BadOptions, Listener, Options, endpoint
from lbcore.l4.relay.pools import groups
from lbcore.l4.relay.signals import noted
from lbcore.l4.relay.tcp import Tcp
from lbcore.l4.relay.udp import Udp

KINDS: dict[str, tuple[socket.SocketKind, type[Tcp] | type[Udp]]] = {
    "tcp": (socket.SOCK_STREAM, Tcp),
    "udp": (socket.SOCK_DGRAM, Udp),
}


class Relay:
    """`async with Relay(options) as relay:`.

    addresses: what its listeners got, in their order. counters: see there. draining: `drain` was called.

    Entering raises BadOptions, or OSError for a socket that cannot be had.
    """

    def __init__(self, options: Options) -> None:
        options.check()
        self.options = options
        self.counters = Counters()
        self.groups = groups(options)
        self.addresses: list[tuple[str, int]] = []
        self.draining = False
        self._services: list[Tcp | Udp] = []

    async def __aenter__(self) -> Relay:
        limits = self.options.limits
        room = Room(limits.connections or sockets.connections_possible(), limits.per_source)
        async with AsyncExitStack() as stack:
            opened = [(listener, stack.enter_context(self._open(listener))) for listener in self.options.listeners]
            self._may_preserve()
            stack.pop_all()
        self.addresses = [sock.getsockname()[:2] for _, sock in opened]
        for listener, sock in opened:
            service = KINDS[listener.protocol][1]
            self._services.append(service(listener, sock, self.groups, self.options, room, self.counters))
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    def set_state(self, address: str, state: str) -> None:
        """A target "active" or "draining", in every pool that has it. BadOptions names those that there are."""
        found = False
        for group in self.groups.values():
            for number, name in enumerate(group.backends.names):
                if endpoint(name) == endpoint(address):
                    group.backends.set_state(number, state)
                    found = True
        if not found:
            names = sorted({name for group in self.groups.values() for name in group.backends.names})
            raise BadOptions("address", address, f"one of {', '.join(names)}")

    async def drain(self, seconds: float | None = None) -> int:
        """Accept no more, and wait for those who are in: `seconds`, or the window of the options. Says who is left."""
        window = self.options.timeouts.drain if seconds is None else seconds
        self.draining = True
        await self._each(lambda service: service.stop())
        await self._each(lambda service: service.drain(window))
        return self.counters.open

    async def close(self) -> None:
        """End everything now. It may be called again."""
        await self._each(lambda service: service.stop())
        await self._each(lambda service: service.cut())
        self._services.clear()

    async def until_stopped(self, stop: asyncio.Event | None = None) -> None:
        """Run until `stop` is set. Raises what a listener could not go on with."""
        waiter = asyncio.ensure_future((stop or asyncio.Event()).wait())
        try:
            tasks: list[asyncio.Future[Any]] = [service.accepting for service in self._services]
            done, _ = await asyncio.wait([waiter, *tasks], return_when=asyncio.FIRST_COMPLETED)
            for task in done - {waiter}:
                task.result()
        finally:
            waiter.cancel()

    async def _each(self, work: Callable[[Tcp | Udp], Any]) -> None:
        await asyncio.gather(*(work(service) for service in self._services))

    def _open(self, listener: Listener) -> socket.socket:
        return sockets.listening(
            endpoint(listener.address),
            KINDS[listener.protocol][0],
            backlog=self.options.limits.backlog,
            transparent=listener.transparent,
        )

    def _may_preserve(self) -> None:
        """PermissionError now rather than at the first client."""
        if any(pool.preserve_source for pool in self.options.pools):
            with socket.socket(socket.AF_INET) as probe:
                sockets.make_transparent(probe)


def run(options: Options, *, started: Callable[[Relay], None] = lambda relay: None) -> None:
    """Run until SIGINT or SIGTERM, then drain; a second one ends it at once. `started` is told when it listens."""
    asyncio.run(_run(options, started))


async def _run(options: Options, started: Callable[[Relay], None]) -> None:
    async with Relay(options) as relay:
        await until_told(relay, lambda: started(relay))


async def until_told(relay: Relay, ready: Callable[[], None] = lambda: None) -> None:
    """Wait for SIGINT or SIGTERM, then drain; a second one ends it at once. `ready` is called when they are heard."""
    stop, hurry = asyncio.Event(), asyncio.Event()

    def asked() -> None:
        (hurry if stop.is_set() else stop).set()

    with noted({signal.SIGINT: asked, signal.SIGTERM: asked}):
        ready()
        await relay.until_stopped(stop)
        draining = asyncio.ensure_future(relay.drain())
        hurrying = asyncio.ensure_future(hurry.wait())
        await asyncio.wait([draining, hurrying], return_when=asyncio.FIRST_COMPLETED)
        for task in (draining, hurrying):
            task.cancel()
        await asyncio.wait([draining, hurrying])
