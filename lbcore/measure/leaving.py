"""Servers that leave under load: announced or not, with time or without; and what their clients noticed.

Rule of this file: `lbcore proxy` as an operator has it, from a configuration and with its admin endpoint, on loopback.

Theory. A server that leaves has requests at work, and gets new ones until the balancer knows. So two things have to
come first: the balancer is told (an order, or a check that fails), and what is at work ends.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from random import Random
from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from lbcore.l7.config import document
from lbcore.l7.program.service import Service
from lbcore.measure.chat import upgrade
from lbcore.measure.mortal import Mortal, Sent, asking, started
from lbcore.testbed import aside, callers, smallest
from lbcore.testbed.smallest import Address

WINDOW = 10.0
LOOK = 0.01
Seconds = npt.NDArray[np.float64]
Step = Literal["stop", "finish, then stop", "drain briefly, then stop", "drain, then stop"]


def configuration(addresses: Sequence[Address], more: str = "") -> str:
    """One pool with these servers, on free ports. more: lines of the pool."""
    servers = ", ".join(f'{{ address = "{host}:{port}" }}' for host, port in addresses)
    return f"""
[admin]
port = 0
[[listen]]
port = 0
[[route]]
pool = "site"
[[pool]]
name = "site"
backend = [{servers}]
{more}
"""


class Site(NamedTuple):
    """door: where clients ask. admin: where the operator does."""

    servers: list[Mortal]
    door: Address
    admin: Address

    async def order(self, server: Mortal, what: str, **told: float) -> None:
        """POST it, as `curl` would."""
        host, port = server.address
        path, body = f"/pools/site/{host}:{port}/{what}", json.dumps(told).encode()
        head = f"POST {path} HTTP/1.1\r\nhost: {self.admin[0]}:{self.admin[1]}\r\nx-lbcore-admin: 1\r\n"
        await self._call(head + f"content-length: {len(body)}\r\nconnection: close\r\n\r\n", body)

    async def seen(self, server: Mortal) -> dict[str, Any]:
        """What the admin endpoint shows of it."""
        head = f"GET /pools/site HTTP/1.1\r\nhost: {self.admin[0]}:{self.admin[1]}\r\nconnection: close\r\n\r\n"
        there: list[dict[str, Any]] = json.loads(await self._call(head))["backends"]
        return there[self.servers.index(server)]

    async def _call(self, head: str, body: bytes = b"") -> str:
        status, _, said = (await callers.ask(self.admin, head.encode() + body, end=False)).partition("\r\n\r\n")
        if " 200 " not in status[:20]:
            raise RuntimeError(f"the admin endpoint said: {status.splitlines()[:1]} {said}")
        return said


@asynccontextmanager
async def site(count: int, more: str = "", *, polite: bool = False) -> AsyncIterator[Site]:
    """So many servers behind the proxy. more: lines of the pool. polite: streams are ended with a last word."""
    servers = [Mortal(f"server {i}", polite=polite) for i in range(1, count + 1)]
    async with started(*servers):
        text = configuration([one.address for one in servers], more)
        async with Service("site.toml", document.parse(text.encode(), "site.toml")) as service:
            assert service.admin is not None
            yield Site(servers, _address(service.listeners[0].address), _address(service.admin.address))


def _address(name: str) -> Address:
    host, _, port = name.rpartition(":")
    return host, int(port)


def durations(median: float, spread: float, seed: int = 1) -> Callable[[], str]:
    """Paths that take log-normal times to answer, in seconds."""
    random, log = Random(seed), float(np.log(median))
    return lambda: f"/{random.lognormvariate(log, spread):.4f}"


# ---- a deploy ----


async def take_out(here: Site, server: Mortal, step: Step, brief: float) -> None:
    """A server leaves, by one of four ways."""
    if step.startswith("drain"):
        await here.order(server, "drain", seconds=brief if "briefly" in step else WINDOW)
        while not (await here.seen(server))["finished"]:
            await asyncio.sleep(LOOK)
    await server.stop(WINDOW if step.startswith("finish") else 0.0)


def deploy(step: Step, *, rate: float = 150, brief: float = 0.1, more: str = "") -> list[Sent]:
    """Three servers are exchanged one after the other, under POSTs that take a tenth of a second in the median."""

    async def rolling() -> list[Sent]:
        async with site(3, more) as here:
            async with asking(here.door, rate, durations(0.1, 0.6), method="POST") as seen:
                await asyncio.sleep(0.3)
                for server in here.servers:
                    await take_out(here, server, step, brief)
                    await asyncio.sleep(0.05)  # the new version starts
                    await server.start()
                    await here.order(server, "undrain")
                    await asyncio.sleep(0.15)
            return seen

    return aside.run(rolling())


# ---- how long what is at work goes on ----


def ending(
    moments: Seconds, *, median: float, spread: float, rate: float = 300, warm: float = 3.0, rounds: int = 2
) -> Seconds:
    """Three of four servers are drained at once: the share of their requests that is still at work at these moments.

    float64[moments]; the first moment has to be 0. Nobody is killed: who is at work at a moment would have been, had
    the window ended there. warm: seconds of load before, long enough for long requests to be there.
    """

    async def watching() -> list[list[int]]:
        counts: list[list[int]] = []
        async with site(4) as here, asking(here.door, rate, durations(median, spread)):
            for _ in range(rounds):
                await asyncio.sleep(warm)
                counts.append(await _one_drain(here, here.servers[1:], moments.tolist()))
            for server in here.servers:  # nobody has to wait for the rest
                await server.stop()
        return counts

    counts = np.array(aside.run(watching()), np.float64).sum(axis=0)
    return np.asarray(counts / counts[0])


async def _one_drain(here: Site, leaving: Sequence[Mortal], moments: Sequence[float]) -> list[int]:
    """Requests at work at these moments of a drain."""
    clock, counts = asyncio.get_running_loop().time, []
    await asyncio.gather(*(here.order(server, "drain", seconds=WINDOW) for server in leaving))
    began = clock()
    for moment in moments:
        await asyncio.sleep(began + moment - clock())
        counts.append(sum(server.at_work for server in leaving))
    for server in leaving:
        await here.order(server, "undrain")
    return counts


# ---- what has no end ----


def streams(window: float, *, polite: bool) -> tuple[list[tuple[float, int, bool]], dict[str, str]]:
    """A WebSocket and a stream of events on a server that drains for so long and is stopped then.

    Gives what the operator saw (seconds of the drain, requests at work, finished?) and the last words that each client
    heard, "cut" if its connection broke.
    """

    async def scene() -> tuple[list[tuple[float, int, bool]], dict[str, str]]:
        async with site(1, polite=polite) as here:
            server = here.servers[0]
            asks = {"WebSocket": "\r\n".join(("GET /chat HTTP/1.1", "host: a", *upgrade(), "", ""))}
            asks["event stream"] = "GET /events HTTP/1.1\r\nhost: a\r\n\r\n"
            async with asyncio.TaskGroup() as group:
                tasks = {name: group.create_task(_listen(here.door, head)) for name, head in asks.items()}
                while server.at_work < len(tasks):
                    await asyncio.sleep(LOOK)
                await here.order(server, "drain", seconds=window)
                story = []
                for moment in (0.0, window / 2, window):
                    shown = await here.seen(server)
                    story.append((moment, shown["active"], shown["finished"]))
                    await asyncio.sleep(window / 2 + LOOK)
                await server.stop(grace=0.2)
            return story, {name: task.result() for name, task in tasks.items()}

    return aside.run(scene())


async def _listen(door: Address, head: str) -> str:
    """Until the connection ends: its last words."""
    last = ""
    async with callers.calling(door) as (reader, writer):
        writer.write(head.encode())
        await smallest.read_head(reader)
        try:
            while line := await reader.readline():
                last = line.decode().strip() or last
                if last in ("bye", "data: bye"):
                    return "bye"
        except ConnectionError:
            pass
    return "cut"


# ---- announced by a failing check ----


def announced(wait: float, *, interval: float, fall: int, rate: float = 200) -> tuple[int, int]:
    """(failed, sent) when a server lets /health fail, serves for `wait` seconds more, and stops. No order is given."""
    probe = 'probe = { kind = "http", path = "/health" }'
    health = f"[pool.health]\n{probe}\ninterval = {interval}\nfall = {fall}\ntimeout = {interval}\njitter = 0"

    async def scene() -> list[Sent]:
        async with site(3, f"{health}\n[pool.retry]\nattempts = 1") as here:
            async with asking(here.door, rate) as seen:
                await asyncio.sleep(0.2)
                here.servers[0].ready = False
                await asyncio.sleep(wait)
                await here.servers[0].stop(grace=1.0)
                await asyncio.sleep((fall + 1) * interval)
            return seen

    seen = aside.run(scene())
    return sum(one.status != 200 for one in seen), len(seen)
