"""One order, two backends, one of which fails: how often is the order carried out?

Rule of this file: the books of the backends are what counts.
"""

from __future__ import annotations

from collections.abc import Collection

from lbcore.l7.message import Request
from lbcore.l7.pools.pool import Backend, Pool, Result
from lbcore.measure.counted import Counting, front, pool, route, serving, talk
from lbcore.testbed import aside, smallest


class Careless(Pool):
    """It tries again whatever failed."""

    def again(
        self, request: Request, result: Result, attempts: int, *, tried: Collection[Backend] | None = None
    ) -> bool:
        """One more, please."""
        return attempts < 2


def order(method: str, kind: type[Pool], keys: set[str] | None = None) -> tuple[int, int]:
    """(status that the client sees, times that it was done); the backend asked first dies after its work.

    keys: idempotency keys that both backends remember; None: they look at none.
    """

    async def ordering() -> tuple[int, int]:
        dying, fine = Counting("dying", "dies", keys), Counting("fine", keys=keys)
        async with serving(dying, fine):
            shop = pool("shop", [dying.address, fine.address], kind)
            async with front(route("all", shop)) as door:
                (reply,) = await talk(door, f"{method} /order", fields=["idempotency-key: 7f3a"])
        return reply.status, len(dying.done) + len(fine.done)

    return aside.run(ordering())


def refused(method: str) -> tuple[int, int]:
    """The same, where the backend asked first does not even listen."""

    async def ordering() -> tuple[int, int]:
        fine = Counting("fine")
        async with smallest.listening(fine.serve) as gone:
            pass  # a port that was free a moment ago; nobody listens there now
        async with serving(fine), front(route("all", pool("shop", [gone, fine.address]))) as door:
            (reply,) = await talk(door, f"{method} /order")
        return reply.status, len(fine.done)

    return aside.run(ordering())
