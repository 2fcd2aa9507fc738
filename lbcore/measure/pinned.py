"""Who does the work when calls share connections: the relay of layer 4, the proxy of layer 7, the callers themselves.

Rule of this file: the same callers and the same services each time; who answered is what the answers say.

Theory. The relay chooses when a connection begins, the proxy for each stream. A caller that knows all addresses goes
round them by itself and needs neither. "ageing" is the relay again, before services that say goodbye to a connection
after every twenty calls: the caller comes back, and the relay chooses anew.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from lbcore.l4.relay import Listener, Options, Relay, Target
from lbcore.l4.relay import Pool as Targets
from lbcore.l7.engine.proxy import Proxy
from lbcore.l7.front.door import listen
from lbcore.l7.routing.router import Router
from lbcore.measure.calls import Answer, Service, calling, serving
from lbcore.measure.counted import pool, route
from lbcore.testbed import aside
from lbcore.testbed.smallest import Address

Mode = Literal["L4", "L7", "client side", "L4, ageing"]
MODES: tuple[Mode, ...] = ("L4", "L4, ageing", "L7", "client side")
AGE = 20  # calls on one connection of an ageing service


class Trial(NamedTuple):
    """shares: of the calls, by backend, the busiest first: float64[backends]. failed: calls. opened: connections that
    callers made."""

    shares: npt.NDArray[np.float64]
    failed: int
    opened: int


def trial(mode: Mode, *, clients: int = 1, connections: int = 1, calls: int = 240, backends: int = 4) -> Trial:
    """`calls` in all, shared out evenly among clients and their connections, one after the other on each."""
    return aside.run(_trial(mode, clients, connections, calls, backends))


async def _trial(mode: Mode, clients: int, connections: int, calls: int, backends: int) -> Trial:
    services = [Service(f"backend {n}", calls=AGE if mode == "L4, ageing" else 100_000) for n in range(backends)]
    each = calls // (clients * connections)

    async def client(number: int, doors: Sequence[Address]) -> tuple[list[Answer], int]:
        async with calling([door for door in doors for _ in range(connections)]) as callers:
            turns = range(number, number + each * connections)  # if all began at the first, it would have most
            answers = [await callers[n % len(callers)].call() for n in turns]
            return answers, sum(one.opened for one in callers)

    async with serving(*services) as addresses, front(mode, addresses) as doors:
        ended = await asyncio.gather(*(client(number, doors) for number in range(clients)))
    answers = [answer for one, _ in ended for answer in one]
    counts = Counter(answer.by for answer in answers if answer.status == 0)
    done = np.array(sorted((counts[one.name] for one in services), reverse=True), np.float64)
    return Trial(done / len(answers), len(answers) - counts.total(), sum(opened for _, opened in ended))


@asynccontextmanager
async def front(mode: Mode, addresses: Sequence[Address], protocol: str = "h2c") -> AsyncIterator[Sequence[Address]]:
    """What stands between callers and services: where callers are to go. protocol: of the proxy to its backends."""
    if mode == "client side":
        yield addresses
    elif mode == "L7":
        async with Proxy(Router([route("all", pool("all", addresses, protocol=protocol))])) as proxy:
            yield [await listen(proxy, "127.0.0.1")]
    else:
        targets = Targets("all", [Target(f"{host}:{port}") for host, port in addresses])
        async with Relay(Options([Listener("all")], [targets])) as relay:
            yield relay.addresses
