"""A scheduler at work: real backends on 127.0.0.1, a connection for each request, no simulation.

Rule of this file: it opens sockets on 127.0.0.1 alone, and every one of them is closed when `drive` returns or raises.

Theory. The load is open loop: requests come when they come, however slow the answers are, as strangers do. A backend
here only waits before it answers, like one whose work is done by a database; so it can serve any number at once, and
what differs between runs is whom the scheduler picked.

Trap. Everything shares one Python process. Keep to some hundreds of requests a second, or you measure Python.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack

import numpy as np
import numpy.typing as npt

from lbcore.balance.pool import Scheduler

HOST = "127.0.0.1"


async def serve(seconds: float) -> asyncio.Server:
    """A backend on a free port that reads a line, waits `seconds` and answers with a line."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await reader.readline()
            await asyncio.sleep(seconds)
            writer.write(b"done\n")
            await writer.drain()
        finally:
            writer.close()

    return await asyncio.start_server(answer, HOST, 0)


async def ask(port: int) -> None:
    """One request, on a connection of its own. ConnectionError when the backend hangs up without an answer."""
    reader, writer = await asyncio.open_connection(HOST, port)
    try:
        writer.write(b"hello\n")
        if not await reader.readline():
            raise ConnectionError(f"the backend on port {port} hung up without an answer")
    finally:
        writer.close()
        await writer.wait_closed()


async def balance(scheduler: Scheduler, answers: Sequence[float], arrivals: npt.ArrayLike) -> list[int]:
    """`drive`, for callers that are in an event loop already."""
    clock = asyncio.get_running_loop().time
    async with AsyncExitStack() as stack:
        servers = [await stack.enter_async_context(await serve(seconds)) for seconds in answers]
        ports = [server.sockets[0].getsockname()[1] for server in servers]
        began = clock()

        async def request(arrival: float) -> int:
            await asyncio.sleep(began + arrival - clock())
            index = scheduler.pick()
            try:
                await ask(ports[index])
            finally:
                scheduler.done(index)
            return index

        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(request(arrival)) for arrival in np.asarray(arrivals, float)]
        return [task.result() for task in tasks]


def drive(
    scheduler: Scheduler, answers: Sequence[float], arrivals: npt.ArrayLike, *, limit: float = 30
) -> npt.NDArray[np.int64]:
    """Send a request at each of `arrivals` (float64[n], seconds) to the backend that `scheduler` picks.

    Backend i answers after answers[i] seconds. int64[n]: the backend of each request. ValueError unless there is one
    answer for each of the scheduler's backends; ExceptionGroup if a request fails; TimeoutError after `limit` seconds.
    """
    if len(answers) != len(scheduler.backends):
        raise ValueError(f"answers: {len(answers)} for {len(scheduler.backends)} backends; give one for each")
    with ThreadPoolExecutor(1) as thread:  # a notebook's own thread already runs an event loop
        work = asyncio.wait_for(balance(scheduler, answers, arrivals), limit)
        return np.array(thread.submit(asyncio.run, work).result(), np.int64)
