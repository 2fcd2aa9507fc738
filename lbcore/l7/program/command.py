"""`lbcore proxy CONFIG.toml`: the proxy as a program.

    lbcore proxy proxy.toml             until Ctrl-C or SIGTERM: then what is under way comes to its end
    lbcore proxy proxy.toml --check     is the file right? One line for each listener; nothing is opened
    lbcore proxy --keys                 every key that may stand in a file, as a table
    lbcore proxy proxy.toml --compiled  the same program, compiled ahead for this machine (see `compiled`)
    kill -HUP ...                       read the file again: if it is right it is in force, if not all stays;
                                        logs that were moved away are begun anew either way

Rule of this file: the command line, signals and words for people. What runs is `service`.

Theory. The first signal asks politely: no listener any more, exchanges under way have `drain` seconds. The second one
does not ask.

Exit status: 0 after a clean end, 1 where the machine refuses (rights, a port that is taken) or something had to be cut
off, 2 for a configuration or a command line that cannot be.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import signal
import sys
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from logging.handlers import WatchedFileHandler

from lbcore.l4.relay.signals import noted
from lbcore.l7.config import document
from lbcore.l7.config.document import BadConfig, File
from lbcore.l7.config.options import Config, ListenOptions, LogOptions
from lbcore.l7.program import compiled

REFUSED, WRONG = 1, 2


def main(argv: list[str]) -> int:
    """Run the proxy of a file; see the head of this file."""
    parser = argparse.ArgumentParser(prog="lbcore proxy", description="run an HTTP proxy from a configuration file")
    parser.add_argument("config", metavar="CONFIG.toml", nargs="?", help="examples stand in lbcore/l7/examples")
    parser.add_argument("--check", action="store_true", help="only say whether the file is right")
    parser.add_argument("--keys", action="store_true", help="print every key that may stand in a file")
    parser.add_argument("--compiled", action="store_true", help="compile it ahead, once, and run that")
    arguments = parser.parse_args(argv)
    if arguments.keys:
        from lbcore.l7.config.reference import keys, table

        print(table(keys(Config)))
        return 0
    if arguments.config is None:
        parser.error("wanted CONFIG.toml")
    try:
        file = document.read(arguments.config)
        if arguments.compiled and not arguments.check:
            with said("compiling the proxy ahead, once: a minute or two", after=1.0):
                compiled.folder()
            compiled.start([arguments.config])
        for warning in file.warnings:
            print(f"{warning} (warning)", file=sys.stderr)
        if arguments.check:
            for listen in file.config.listen:
                print(line(listen))
            print(f"{arguments.config}: right")
            return 0
        with logs(file.config.log):
            from lbcore.l7.engine.proxy import run
            from lbcore.l7.http1 import scan

            with said("compiling for this machine, once: some seconds", after=1.0):
                scan.load()
            return 0 if run(serve(arguments.config, file)) else REFUSED
    except BadConfig as error:
        print(error, file=sys.stderr)
        return WRONG
    except compiled.CannotCompile as error:
        print(f"lbcore proxy --compiled: {error}", file=sys.stderr)
        return REFUSED
    except (OSError, ValueError) as error:
        print(f"lbcore proxy: {error}", file=sys.stderr)
        return REFUSED
    except KeyboardInterrupt:
        return REFUSED


def line(listen: ListenOptions, address: str = "") -> str:
    """A listener, for people."""
    speaks = ["HTTP/2", "HTTP/1.1"] if listen.http2 else ["HTTP/1.1"]
    words = [f"listen {address or listen.name}:", " and ".join(speaks)]
    if listen.tls is not None:
        words.append(f"over TLS ({len(listen.tls.certificates)} certificates)")
    elif listen.passthrough:
        words = words[:1]
    if listen.passthrough:
        words.append(f"passes on {', '.join(name for one in listen.passthrough for name in one.names)}")
    if listen.proxy_protocol:
        words.append(f"behind {', '.join(listen.proxy_protocol)} (PROXY protocol)")
    return f"{words[0]} {', '.join(words[1:])}"


async def serve(path: str, file: File) -> bool:
    """Until a signal; did all that was under way come to its end? OSError, ValueError."""
    from lbcore.l7.program.service import Service

    loop = asyncio.get_running_loop()
    asked, at_once = asyncio.Event(), asyncio.Event()
    again = asyncio.Event()

    def end() -> None:
        (at_once if asked.is_set() else asked).set()

    with noted({signal.SIGINT: end, signal.SIGTERM: end, signal.SIGHUP: again.set}):
        async with Service(path, file) as service:
            for listener in service.listeners:
                print(line(listener.options, listener.address), flush=True)
            if service.admin is not None:
                print(f"admin http://{service.admin.address}/", flush=True)
            reloading = loop.create_task(_reload(service.reload, again))
            try:
                await asked.wait()
            finally:
                reloading.cancel()
            draining = loop.create_task(service.drain())
            waiting = loop.create_task(at_once.wait())
            await asyncio.wait([draining, waiting], return_when=asyncio.FIRST_COMPLETED)
            waiting.cancel()
            done = draining.done() and draining.result()
            draining.cancel()
            print("ended" if done else "ended: what was under way has been cut off", flush=True)
            return done


async def _reload(reload: Callable[[], Awaitable[str]], again: asyncio.Event) -> None:
    """Whenever it is asked for."""
    while True:
        await again.wait()
        again.clear()
        why = await reload()
        print(f"not reloaded, all stays as it was:\n{why}" if why else "reloaded", flush=True)


@contextmanager
def said(words: str, after: float) -> Iterator[None]:
    """Say so, if what is done here takes longer than that many seconds."""
    timer = threading.Timer(after, print, (words,), {"flush": True})
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


@contextmanager
def logs(options: LogOptions) -> Iterator[None]:
    """What the proxy says of itself goes where the file wants it. OSError: it cannot be opened."""
    handler = WatchedFileHandler(options.file) if options.file else logging.StreamHandler()  # may be moved away
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    logger = logging.getLogger("lbcore")
    before = logger.level
    logger.addHandler(handler)
    logger.setLevel(options.level.upper())
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(before)
        handler.close()
