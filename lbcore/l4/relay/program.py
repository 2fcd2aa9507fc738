"""A relay as a program: `lbcore l4 CONFIG.toml` with a section [relay].

    SIGTERM, Ctrl-C     accept no more, wait for those who are in (relay.timeouts.drain); a second one ends it at once
    SIGHUP              read the file again: targets' states may have changed, and nothing else

Rule of this file: one loop, in which everything happens: connections, signals, the table of each second.
"""

from __future__ import annotations

import asyncio
import signal
import sys
import time
from collections.abc import Callable

from lbcore.l4.config import BadConfig
from lbcore.l4.relay import console
from lbcore.l4.relay.file import RelayFile
from lbcore.l4.relay.relay import Relay, until_told
from lbcore.l4.relay.signals import noted


def serve(
    file: RelayFile, again: Callable[[], object], show: Callable[[str], None], every: float, once: bool = False
) -> None:
    """Run until a signal, or until one table was shown. again: reads the file once more. OSError.

    show: is given a table `every` so many seconds.
    """
    asyncio.run(_serve(file, again, show, every, once))


async def _serve(
    file: RelayFile, again: Callable[[], object], show: Callable[[str], None], every: float, once: bool
) -> None:
    start, before = time.monotonic(), None
    asked = asyncio.Event()
    with noted({signal.SIGHUP: asked.set}):
        async with Relay(file.options) as relay:
            for address, state in file.states.items():
                relay.set_state(address, state)
            ending = asyncio.ensure_future(until_told(relay))
            try:
                while not ending.done():
                    hup = asyncio.ensure_future(asked.wait())
                    await asyncio.wait([ending, hup], timeout=every, return_when=asyncio.FIRST_COMPLETED)
                    hup.cancel()
                    if asked.is_set():
                        asked.clear()
                        file = _read_again(file, again, relay)
                    now = console.Look.at(time.monotonic() - start, relay)
                    show(console.state(relay, now, before))
                    before = now
                    if once:
                        return
                ending.result()
            finally:
                ending.cancel()
                await asyncio.wait([ending])


def _read_again(file: RelayFile, again: Callable[[], object], relay: Relay) -> RelayFile:
    """The file as it is now, its states in force; or, if it is wrong or more has changed, as it was, and why."""
    try:
        new = again()
        if not isinstance(new, RelayFile) or new.options != file.options:
            raise BadConfig("more than states has changed, so nothing was done: that takes a new start")
    except (BadConfig, OSError) as error:
        print(f"lbcore l4: {error}", file=sys.stderr)
        return file
    for address, state in new.states.items():
        if state != file.states[address]:
            relay.set_state(address, state)
    return new
