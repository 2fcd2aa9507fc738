"""What kept connections save: the proxy under a steady load, with room for so many idle ones.

Rule of this file: the count of connections is the backend's, the time is of the thread in which clients, proxy and
backend all run; so only ratios mean anything.
"""

from __future__ import annotations

import asyncio
import time
from typing import NamedTuple

from lbcore.l7.engine.proxy import Proxy
from lbcore.l7.front.door import listen
from lbcore.l7.routing.router import Router
from lbcore.measure.counted import Counting, pool, route, serving, talk
from lbcore.testbed import aside


class Cost(NamedTuple):
    """connections: that the backend saw, for each request. cpu: ns of processor time for each request."""

    connections: float
    cpu: float


def trial(kept: int, *, clients: int = 16, requests: int = 40) -> Cost:
    """So many clients at a time, each with so many requests on one connection. kept: idle connections at most."""
    return aside.run(_trial(kept, clients, requests))


async def _trial(kept: int, clients: int, requests: int) -> Cost:
    backend = Counting("one")
    async with serving(backend), Proxy(Router([route("all", pool("all", [backend.address]))])) as proxy:
        proxy.connections.most = kept
        door = await listen(proxy, "127.0.0.1")
        started = time.thread_time_ns()
        await asyncio.gather(*(talk(door, *["GET /"] * requests) for _ in range(clients)))
        cpu = time.thread_time_ns() - started
    return Cost(backend.connections / len(backend.done), cpu / len(backend.done))
