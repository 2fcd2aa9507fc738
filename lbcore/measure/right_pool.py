"""How many requests reach a backend that can serve them: the relay of layer 4 against the proxy of layer 7.

Rule of this file: the same clients and the same backends for both; who answered is what the answers say.

Theory. /api and /video are served by two backends each. The relay chooses when a connection begins, from addresses and
ports; the proxy chooses for each request, from its path.
"""

from __future__ import annotations

import asyncio
from typing import Literal

import numpy as np
import numpy.typing as npt

from lbcore.l4.relay import Listener, Options, Relay, Target
from lbcore.l4.relay import Pool as Targets
from lbcore.l7.engine.proxy import Proxy
from lbcore.l7.front.door import listen
from lbcore.l7.routing.router import Router
from lbcore.measure.counted import Counting, pool, route, serving, talk
from lbcore.testbed import aside
from lbcore.testbed.smallest import Address

POOLS = {"api": ("api-1", "api-2"), "video": ("video-1", "video-2")}
AT_ONCE = 16  # client connections
Layer = Literal["L4", "L7"]


def trial(layer: Layer, *, video: float, connections: int, requests: int, seed: int = 1) -> npt.NDArray[np.bool_]:
    """Was it the right pool? bool[connections, requests]. video: share of requests for /video."""
    wanted = np.where(np.random.default_rng(seed).random((connections, requests)) < video, "video", "api")
    answered = aside.run(_trial(layer, wanted))
    return np.char.startswith(np.array(answered), wanted)


async def _trial(layer: Layer, wanted: npt.NDArray[np.str_]) -> list[list[str]]:
    backends = {name: Counting(name) for names in POOLS.values() for name in names}
    async with serving(*backends.values()):
        where = {name: one.address for name, one in backends.items()}
        if layer == "L4":
            targets = Targets("all", [Target(f"{host}:{port}") for host, port in where.values()])
            async with Relay(Options([Listener("all")], [targets])) as relay:
                return await _clients(relay.addresses[0], wanted)
        routes = [
            route(name, pool(name, [where[one] for one in names]), prefix=f"/{name}") for name, names in POOLS.items()
        ]
        async with Proxy(Router(routes)) as proxy:
            return await _clients(await listen(proxy, "127.0.0.1"), wanted)


async def _clients(door: Address, wanted: npt.NDArray[np.str_]) -> list[list[str]]:
    gate = asyncio.Semaphore(AT_ONCE)

    async def client(paths: list[str]) -> list[str]:
        async with gate:
            return [reply.by for reply in await talk(door, *(f"GET /{path}" for path in paths))]

    return await asyncio.gather(*(client(paths) for paths in wanted.tolist()))
