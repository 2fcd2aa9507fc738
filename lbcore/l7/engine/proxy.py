"""The proxy: what all connections share, and how it is opened and closed.

Rule of this file: it keeps count, and looks at the clock. How connections come in says `front`; single requests are the
exchange's business.

Theory. Deadlines are looked at a few times a second by one timer for all connections and exchanges, instead of a timer
for each: setting one is an assignment, and there are many more requests than timeouts.

Closing. `drain` closes the doors and lets every exchange come to its end; connections are told with their last
response. After the window what is left is cut.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine
from time import monotonic
from typing import Any

from lbcore.l7.engine.connections import Connections
from lbcore.l7.engine.exchange import Exchange
from lbcore.l7.engine.fetch import Fetched
from lbcore.l7.engine.sides import Client, ClientSide, Door
from lbcore.l7.http1 import scan
from lbcore.l7.http1.scan import Scratch
from lbcore.l7.limits import Limits
from lbcore.l7.message import Peer, Request, Response
from lbcore.l7.pools.pool import Pool
from lbcore.l7.routing.router import Router
from lbcore.l7.target import STRICT, Rules

log = logging.getLogger("lbcore.l7")
TICK = 0.1  # seconds between two looks at the deadlines


class Proxy:
    """One proxy, on one event loop: `async with Proxy(router) as proxy: await door.listen(proxy, "127.0.0.1")`."""

    def __init__(self, router: Router, limits: Limits | None = None, rules: Rules = STRICT) -> None:
        self.router, self.limits, self.rules = router, limits or Limits(), rules
        self.clients: set[Client] = set()
        self.exchanges: set[Exchange] = set()
        self.scratch = Scratch(self.limits.head)
        self.connections = Connections(self.limits, self.scratch)
        self.draining = False
        self.now = monotonic()
        """What the clock said at its last tick: good enough for deadlines."""
        self.sessions: set[asyncio.Task[None]] = set()
        """Connections that no client's side has yet, or ever: handshakes, and what is passed through."""
        self.doors: list[Door] = []
        """Where connections come in; closed with the proxy."""
        self._tasks: set[asyncio.Task[Any]] = set()
        self._clock: asyncio.TimerHandle | None = None

    async def __aenter__(self) -> Proxy:
        scan.load()
        self._tick()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    @property
    def crowded(self) -> bool:
        """Are there as many connections as there may be?"""
        return len(self.clients) + len(self.sessions) >= self.limits.connections

    def exchange(self, client: ClientSide, request: Request) -> Exchange:
        """A new exchange for a request that a client's side has read."""
        return Exchange(self, client, request)

    # ---- what goes wrong ----

    def refused(self, peer: Peer, status: int, why: str) -> None:
        """Bytes came that are no request."""
        log.info("%s:%d: %d: %s", peer.address, peer.port, status, why)

    def broken(self, who: object, error: Exception) -> None:
        """A fault of our own: a filter raised what it should not."""
        log.error("%s failed", type(who).__name__, exc_info=error)

    # ---- work that has to wait ----

    def task(self, work: Coroutine[Any, Any, None]) -> None:
        """Let it run; it is cancelled when the proxy closes."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def fetch(self, pool: Pool, request: Request) -> Response:
        """A whole response of the pool, past all filters; its status is 502 and so on where a client would get that."""
        fetched = Fetched(self.limits.fetched)
        exchange = Exchange(self, fetched, request)
        exchange.ask(pool)
        exchange.flush()
        try:
            return await fetched.response
        finally:
            exchange.client_gone("not wanted any more")

    def _tick(self) -> None:
        now = self.now = monotonic()
        self._clock = asyncio.get_running_loop().call_later(TICK, self._tick)  # first: whatever fails below, it goes on
        for one in [one for one in self.exchanges if 0 < one.deadline < now]:
            if 0 < one.deadline < now:  # still: one that ended before it may have made room for it
                self._expire(one)
        for client in [client for client in self.clients if 0 < client.deadline < now]:
            self._expire(client)
        self.connections.prune(now)

    def _expire(self, one: Exchange | Client) -> None:
        one.deadline = 0.0
        try:
            one.expired()
        except Exception as error:
            self.broken(one, error)

    # ---- the end ----

    async def drain(self, window: float = 30.0) -> bool:
        """Take nothing new, let what is there come to its end. Did it, within so many seconds?"""
        self.draining = True
        for door in self.doors:
            door.close()
        for client in list(self.clients):
            client.finish()
        until = monotonic() + window
        while self._occupied() and monotonic() < until:
            await asyncio.sleep(0.02)
        return not self._occupied()

    def _occupied(self) -> bool:
        return bool(self.exchanges or self.clients or self.sessions)

    async def close(self) -> None:
        """Let go of everything, now."""
        self.draining = True
        if self._clock is not None:
            self._clock.cancel()
        for door in self.doors:
            door.close()
        for client in list(self.clients):
            client.transport.abort()
        await asyncio.sleep(0)
        tasks = [*self._tasks, *self.sessions]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self.connections.close()
        for door in self.doors:
            if isinstance(door, asyncio.AbstractServer):
                await door.wait_closed()
        self.doors.clear()


def run(main: Coroutine[Any, Any, Any]) -> Any:
    """`asyncio.run` on uvloop's event loop, where there is one."""
    try:
        import uvloop
    except ImportError:
        return asyncio.run(main)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(main)
