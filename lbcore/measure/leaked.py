"""One of four servers falls ill under load: when the proxy leaves it out, and what clients saw until then.

Rule of this file: the same pool, options and faults as `lbcore.sim.outage`, on sockets. Clients say what failed.

Trap. Proxy, servers, checks and clients share one thread, and the proxy looks at its deadlines ten times a second: give
windows of some hundred milliseconds, and compare with bounds, not with a number.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from random import Random
from typing import Any, NamedTuple

from lbcore.l7.pools.backend import Backend
from lbcore.l7.pools.checker import Checker, check
from lbcore.l7.pools.health import Health
from lbcore.l7.pools.options import HealthOptions, ProbeOptions, TimeoutsOptions
from lbcore.measure.counted import front, pool, route, talk
from lbcore.measure.mortal import Mortal, asking, started
from lbcore.testbed import aside
from lbcore.testbed.smallest import Address

SERVERS = 4
PATIENCE = 6.0


class Live(NamedTuple):
    """failed: requests that clients saw fail. sent: all of them. window: seconds until it was left out."""

    failed: int
    sent: int
    window: float


async def outage(condition: str, *, rate: float = 200, method: str = "GET", seed: int = 1, **options: Any) -> Live:
    """The first server falls ill; the load goes on until it is left out, and a little longer. options: of the pool.

    TimeoutError if it is never left out.
    """
    servers = [Mortal(f"server {i}") for i in range(SERVERS)]
    async with started(*servers):
        behind, checker = pool("site", [one.address for one in servers], **options), Checker()
        async with front(route("all", behind)) as door, asyncio.timeout(PATIENCE):
            checker.watch(behind)
            clock = asyncio.get_running_loop().time
            try:
                async with asking(door, rate, method=method, seed=seed) as seen:
                    await asyncio.sleep(0.1)
                    await servers[0].fall_ill(condition)
                    broke = clock()
                    while not behind.why_not(behind.backends[0]):
                        await asyncio.sleep(0.002)
                    window = clock() - broke
                    await asyncio.sleep(0.05)
            finally:
                await checker.close()
        return Live(sum(one.status != 200 for one in seen), len(seen), window)


def outages(condition: str, *, repeat: int = 2, **how: Any) -> list[Live]:
    """So many at a time, each with servers, proxy and clients of its own. how: as for `outage`."""

    async def all_of_them() -> list[Live]:
        return await asyncio.gather(*(outage(condition, seed=seed, **how) for seed in range(repeat)))

    return aside.run(all_of_them())


def verdicts(condition: str, probes: Mapping[str, ProbeOptions]) -> tuple[int, dict[str, str]]:
    """Of a server in this condition: the status that a client gets, and what a check by each probe says (empty: well).

    The server is alone in its pool, and whatever waits for it waits half a second.
    """

    async def ask() -> tuple[int, dict[str, str]]:
        server = Mortal("one")
        async with started(server):
            await server.fall_ill(condition)
            said = {name: await _check(server.address, probe) for name, probe in probes.items()}
            alone = pool("one", [server.address], timeouts=TimeoutsOptions(head=0.5))
            async with front(route("all", alone)) as door:
                (reply,) = await talk(door, "GET /")
        return reply.status, said

    return aside.run(ask())


async def _check(address: Address, probe: ProbeOptions) -> str:
    health = Health(HealthOptions(probe=probe, timeout=0.5), Random(1), 0.0)
    return await check(Backend(*address), health)
