"""A compiled loop in a thread of its own, which stops when it is told to.

    @kernel
    def forward(stop, port):
        packets, verdicts = ...
        while not stopped(stop):
            if wait(port, PATIENCE): ...

    with AfXdp("eth0") as driver, Loop(forward, driver.port):
        ...                                         Python goes on; driver.statistics() tells how far the loop is

Rule of this file: one thread and one word of memory.

Theory. A `kernel` runs without Python's lock, so the loop has a processor to itself while the notebook stays alive.
A thread cannot be ended from outside without leaving things half done; so the loop looks at a word between two batches,
and comes to look soon, because it never waits longer than `PATIENCE`.

Trap. Close the driver after the loop, never under it: in one `with`, the driver comes first.
"""

# What numba compiles has no annotations.
# mypy: disable-error-code="no-untyped-def,no-untyped-call"
from __future__ import annotations

import threading
from types import TracebackType
from typing import Any, Self

import numpy as np
from numba import typeof
from numba.extending import register_jitable

from lbcore.l4.drivers.ordered import load_acquire

PATIENCE = 20
"""Milliseconds that a loop may wait before it looks whether it is to stop."""


@register_jitable
def stopped(stop):
    """Is the loop to end? To be asked between two batches."""
    return load_acquire(stop, 0) != 0


class Loop:
    """Calls `function(stop, *arguments)`, a `kernel`, in a thread until `stop` or the end of a `with`.

    It is compiled first, here. What the function raises is raised by `stop`; what it returned is `result` then.
    """

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.result: Any = None
        self._word = np.zeros(1, np.uint32)
        self._error: BaseException | None = None
        function.compile(tuple(map(typeof, (self._word, *arguments))))
        self._thread = threading.Thread(target=self._run, args=(function, arguments), name=f"loop {function.__name__}")
        self._thread.start()

    @property
    def running(self) -> bool:
        return self._thread.is_alive()

    def stop(self) -> None:
        """End the loop and wait for its end; twice does no harm."""
        self._word[0] = 1
        self._thread.join()
        if self._error is not None:
            error, self._error = self._error, None
            raise error

    def _run(self, function: Any, arguments: tuple[Any, ...]) -> None:
        try:
            self.result = function(self._word, *arguments)
        except BaseException as error:
            self._error = error

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.stop()
