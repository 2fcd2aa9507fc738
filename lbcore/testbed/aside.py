"""Run a coroutine from plain code, also where an event loop is running already: a notebook has one.

Rule of this file: the loop lives in a thread of its own, and does not outlive the call. Ctrl-C in the caller cancels
the coroutine there, so that its `finally` blocks close what it opened.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from contextlib import suppress
from typing import Any, TypeVar

T = TypeVar("T")


def run(coroutine: Coroutine[Any, Any, T], *, seconds: float = 60.0) -> T:
    """What `coroutine` returns or raises; TimeoutError, and everything closed, after `seconds`."""
    stop: Future[tuple[asyncio.AbstractEventLoop, asyncio.Task[Any]]] = Future()

    async def bounded() -> T:
        task = asyncio.current_task()
        assert task is not None, "asyncio.run makes a task of what it runs"
        stop.set_result((asyncio.get_running_loop(), task))
        async with asyncio.timeout(seconds):
            return await coroutine

    with ThreadPoolExecutor(1, thread_name_prefix="aside") as thread:
        result = thread.submit(asyncio.run, bounded())
        result.add_done_callback(lambda _: stop.cancel())  # a loop that never began has nothing to stop
        try:
            return result.result()
        finally:
            if not result.done():
                with suppress(CancelledError, RuntimeError):  # the loop ended a moment ago by itself
                    loop, task = stop.result()
                    loop.call_soon_threadsafe(task.cancel)
