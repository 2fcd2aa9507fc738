"""Signals as calls, for as long as a program on an event loop wants them.

Rule of this file: whoever takes a signal gives it back as it was.

Trap. An event loop forgets what it found: `remove_signal_handler` puts the default in place, so that a program started
by nohup, which has SIGHUP ignored, would die of the next one.
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager


@contextmanager
def noted(handlers: Mapping[signal.Signals, Callable[[], None]]) -> Iterator[None]:
    """These are called, on the running loop, when the signals come; afterwards the signals do what they did before."""
    loop = asyncio.get_running_loop()
    before = {number: signal.getsignal(number) for number in handlers}
    for number, handler in handlers.items():
        loop.add_signal_handler(number, handler)
    try:
        yield
    finally:
        for number, handler_before in before.items():
            loop.remove_signal_handler(number)
            signal.signal(number, handler_before)
