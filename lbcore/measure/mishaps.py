"""What callers see when something behind the balancer changes: it leaves, it dies, it is full, it is late.

Rule of this file: real calls on loopback; what was done is what services counted.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Literal, NamedTuple

from lbcore.l7.rpc import grpc
from lbcore.measure.calls import Answer, Service, calling, serving
from lbcore.measure.pinned import Mode, front
from lbcore.testbed import aside

PATIENCE = 5.0
LONG = 0.2  # seconds of work: all calls are there before the first ends, on a busy machine as well


def leaving(how: Literal["goodbye", "cut"], *, calls: int = 120, at_once: int = 8) -> dict[int, int]:
    """Calls by status, behind a relay, while the service that has the connection leaves: {0: 120} is all well.

    "goodbye": GOAWAY, and what runs may end. "cut": the process is gone.
    """

    async def scene() -> dict[int, int]:
        services = [Service(f"backend {n}", work=0.004) for n in range(2)]
        async with serving(*services) as addresses, front("L4", addresses) as doors, calling(doors) as (caller,):

            async def some() -> list[Answer]:
                return [await caller.call() for _ in range(calls // at_once)]

            tasks = [asyncio.create_task(some()) for _ in range(at_once)]
            while not (busy := max(services, key=lambda one: one.done)).done >= calls // 4:
                await asyncio.sleep(0.002)
            await (busy.proxy.drain(PATIENCE) if how == "goodbye" else busy.proxy.close())
            return dict(Counter(answer.status for row in await asyncio.gather(*tasks) for answer in row))

    return aside.run(scene())


class Dead(NamedTuple):
    """status: of the call, as its caller saw it in the end. done: times that its work was done."""

    status: int
    done: int


def dying(mode: Mode, attempts: int = 1) -> Dead:
    """One call, whose backend does the work and dies before it answers. attempts: of a caller who tries UNAVAILABLE
    again; a second backend is there."""

    async def scene() -> Dead:
        services = [Service(f"backend {n}", dies=True) for n in range(2)]
        async with serving(*services) as addresses, front(mode, addresses) as doors, calling(doors) as (caller,):
            for _ in range(attempts):
                status = (await caller.call()).status
                if status != grpc.UNAVAILABLE:
                    break
                for one in services:
                    one.dies = False
        return Dead(status, sum(one.done for one in services))

    return aside.run(scene())


def crowd(mode: Mode, *, calls: int = 16, streams: int = 4) -> tuple[int, int]:
    """One caller with so many calls at once, one backend that takes so many streams on a connection: how many it had
    at a time, and on how many connections."""

    async def scene() -> tuple[int, int]:
        service = Service("one", work=LONG, streams=streams)
        async with serving(service) as addresses, front(mode, addresses) as doors, calling(doors) as (caller,):
            await caller.channel()
            await asyncio.gather(*(caller.call() for _ in range(calls)))
        return service.most, service.connections

    return aside.run(scene())


def too_late(mode: Mode) -> tuple[int, bool]:
    """A call with a deadline shorter than its work: its status, and whether the backend was told to stop."""

    async def scene() -> tuple[int, bool]:
        service = Service("one", work=5 * LONG)
        async with serving(service) as addresses, front(mode, addresses) as doors, calling(doors) as (caller,):
            status = (await caller.call(deadline=LONG)).status
            for _ in range(1000):
                if service.cancelled:
                    break
                await asyncio.sleep(0.002)
            return status, bool(service.cancelled)

    return aside.run(scene())


def strangers(silent: int = 3) -> tuple[int, int]:
    """So many callers do not read their answers; one does, over the same proxy with HTTP/2 inside: the status of its
    call, and how many connections the proxy has to the backend."""

    async def scene() -> tuple[int, int]:
        service = Service("one", size=2_000_000)
        async with (
            serving(service) as addresses,
            front("L7", addresses) as (door,),
            calling([door] * (silent + 1)) as (last, *others),
        ):
            for one in others:
                (await one.channel()).unread()
            await asyncio.sleep(LONG)
            return (await last.call(deadline=PATIENCE)).status, service.connections

    return aside.run(scene())


class Inside(NamedTuple):
    """status: of all calls. connections: from the proxy to the backend."""

    status: int
    connections: int


def inside(protocol: Literal["h1", "h2c"], *, calls: int = 16) -> Inside:
    """One caller with so many calls at once over HTTP/2, a proxy that speaks `protocol` to the backend."""

    async def scene() -> Inside:
        service = Service("one", work=LONG)
        async with (
            serving(service) as addresses,
            front("L7", addresses, protocol) as (door,),
            calling([door]) as (caller,),
        ):
            answers = await asyncio.gather(*(caller.call() for _ in range(calls)))
        (status,) = {answer.status for answer in answers}
        return Inside(status, service.connections)

    return aside.run(scene())
