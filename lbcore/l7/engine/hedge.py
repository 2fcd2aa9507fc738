"""A second attempt beside the first, when the first takes its time: whoever answers first is the answer.

Rule of this file: the attempt beside the exchange's own. Until it wins, the exchange knows of it only that it is there.

Theory (Dean and Barroso, "The Tail at Scale", 2013). Of many requests some are slow for no reason of their own: a
collection of garbage, a queue, a lost packet. Asked a second time, elsewhere, most of these are answered soon; and if
that happens only to the slowest few in a hundred, it costs only a few requests in a hundred more. When the delay is too
short, it doubles the load of those who are slow because they have too much to do: so it takes from the retries' budget.

    the exchange's attempt ... ... ... ... ... ... cancelled
    |------- delay -------| the hedge ... response's head: from here on it is the exchange's attempt

A failure is no answer: with an error, or a status of 500 and more, one of the two leaves it to the other; the one that
is left is the exchange's, and may fail or be followed by a retry as ever.

Traps
- Both are carried out. So only methods that may be repeated (RFC 9110, 9.2.2) are, and of these only requests without
  a body: two writes that overtake each other are not one write.
- Both count, at their backends and in the pool, until each has ended; who was cancelled is not to blame.
"""

from __future__ import annotations

import asyncio
from time import monotonic
from typing import TYPE_CHECKING

from lbcore.l7.engine.sides import BackendSide, Carried
from lbcore.l7.message import Headers, Response
from lbcore.l7.pools.pool import Backend, Pool, Result

if TYPE_CHECKING:
    from lbcore.l7.engine.attempt import Attempts


class Hedge(Carried):
    """Begins `delay` seconds from now, if the exchange still waits then, and the pool allows it."""

    __slots__ = ("_exchange", "_over", "_pool", "_timer", "asked", "backend", "side")

    def __init__(self, exchange: Attempts, pool: Pool, delay: float) -> None:
        self._exchange, self._pool = exchange, pool
        self.backend: Backend | None = None
        """Who is asked; None: nobody, yet or any more."""
        self.side: BackendSide | None = None
        self.asked = 0.0
        self._over = False
        self._timer = asyncio.get_running_loop().call_later(delay, self._begin)

    def _begin(self) -> None:
        exchange, pool = self._exchange, self._pool
        asked = exchange.asked
        if not asked:
            return
        backend = pool.pick(exchange.request, asked)
        if backend is None or not pool.hedge(exchange.request, exchange.attempts):
            return
        exchange.attempts += 1
        self.backend, self.asked = backend, monotonic()
        pool.began(backend)
        exchange.proxy.task(self._connect(pool, backend))

    async def _connect(self, pool: Pool, backend: Backend) -> None:
        connections, why = self._exchange.proxy.connections, ""
        connection = connections.take(pool, backend)
        if connection is None:
            connection, why = await connections.reach(pool, backend)
        if self._over:
            if connection is not None:
                connection.close()
            return
        if connection is None:
            self.backend_failed(why)
            self.flush()
            return
        self.side = connection.open(self)
        try:
            self.side.send_head(self._exchange.request)
        except ValueError as error:
            self._exchange.proxy.broken(self, error)
            self.cancel(Result(error="proxy"))
        self.flush()

    def cancel(self, result: Result | None = None) -> None:
        """Not needed any more, or of no use."""
        self._timer.cancel()
        side, backend = self.leave()
        if side is not None:
            side.cancel()
        if backend is not None:
            result = result or Result(0, "cancelled", monotonic() - self.asked, side is not None)
            self._pool.ended(backend, result, self.asked)

    def leave(self) -> tuple[BackendSide | None, Backend | None]:
        """What there is of it is somebody else's now."""
        self._over = True
        side, backend, self.side, self.backend = self.side, self.backend, None, None
        return side, backend

    # ---- from the backend ----

    def response_head(self, response: Response) -> None:
        """The answer, unless it is one that says no, and there is hope of another."""
        exchange = self._exchange
        if response.body is not None:
            self.side = None  # its connection is free again, and may be somebody else's
        if response.status >= 500 and exchange.asked:
            self.cancel(Result(response.status, "", monotonic() - self.asked, True))
            return
        exchange.adopt(self)
        exchange.response_head(response)

    def backend_failed(self, why: str) -> None:
        """No response."""
        exchange = self._exchange
        if exchange.asked:
            sent, self.side = self.side is not None, None
            self.cancel(Result(0, why, monotonic() - self.asked, sent))
            return
        exchange.adopt(self)
        exchange.backend_failed(why)

    def flush(self) -> None:
        """No more to report for now; when this one has won, the exchange has."""
        if self.side is not None:
            self.side.flush()
        else:
            self._exchange.flush()

    def informational(self, status: int, headers: Headers) -> None:
        """Of one that may yet lose: not passed on."""

    def response_data(self, data: bytes) -> None:
        """None comes before a head."""

    def response_end(self, trailers: Headers) -> None:
        """None comes before a head."""

    def backend_ready(self) -> None:
        """There is no body that could wait."""
