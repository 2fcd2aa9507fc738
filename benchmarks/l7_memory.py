"""The proxy in memory: what a request costs without a socket, and what each filter adds to it.

    python -m benchmarks.l7_memory [--rounds 100] [--requests 40] [--profile ROW] [--show ROW] [--json FILE]

Rule of this file: real connections of `lbcore.l7.http1` on either side of a real proxy, between transports that take
what is written and send it nowhere. Filters and pool are those of the target `lbcore+filters` (`l7_targets.USUAL`).

Theory. Under load most of a proxy's time is the kernel's, and hides what its own code costs. Here only that is left,
and a microsecond more in a filter is seen. What else the machine does makes code slower and never faster, so of many
short rounds, taken in turns, the best one counts.

Traps. The client asks on one connection, one request at a time: all caches are warm, and the address is always known. A
thread that writes the access log is in the figures, for CPU time is the whole process's.
"""

from __future__ import annotations

import argparse
import asyncio
import cProfile
import gc
import pstats
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from benchmarks.l7_targets import USUAL
from lbcore.l7.config import document
from lbcore.l7.engine.proxy import Proxy
from lbcore.l7.filters.filter import Filter
from lbcore.l7.filters.kinds import make
from lbcore.l7.http1 import scan
from lbcore.l7.http1.backend import BackendConnection
from lbcore.l7.http1.client import ClientConnection
from lbcore.l7.pools.pool import Pool
from lbcore.l7.routing.router import Route, Router
from lbcore.measure import Table, facts_line, record

PLAIN = b"GET /1k HTTP/1.1\r\nHost: 127.0.0.1:9003\r\n\r\n"
"""As wrk asks."""
BROWSER = (
    b"GET /1k?page=2 HTTP/1.1\r\nHost: www.example.org\r\nConnection: keep-alive\r\n"
    b"User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0\r\n"
    b"Accept: text/html,application/xhtml+xml,*/*;q=0.8\r\nAccept-Language: en-GB,en;q=0.7\r\n"
    b"Accept-Encoding: gzip, deflate, br\r\nReferer: http://www.example.org/\r\n"
    b"Cookie: theme=dark; seen=2026-11-20; basket=4f1c\r\nUpgrade-Insecure-Requests: 1\r\n\r\n"
)
ASKED = {"as wrk asks": PLAIN, "as a browser asks": BROWSER}
ANSWER = (
    b"HTTP/1.1 200 OK\r\nServer: nginx/1.22.1\r\nDate: Sat, 21 Nov 2026 08:00:00 GMT\r\n"
    b"Content-Type: application/octet-stream\r\nContent-Length: 1024\r\n"
    b"Last-Modified: Sat, 21 Nov 2026 08:00:00 GMT\r\nConnection: keep-alive\r\n"
    b'ETag: "6740-400"\r\nAccept-Ranges: bytes\r\n\r\n' + b"x" * 1024
)
LISTEN = "[[listen]]\nport = 8080\n"
BARE, STICKY, ALL = "nothing", "sticky cookie", "all of them"


class Nowhere(asyncio.Transport):
    """Takes what is written, and remembers the last of it."""

    def __init__(self) -> None:
        super().__init__({"peername": ("127.0.0.1", 50000), "sockname": ("127.0.0.1", 9003)})
        self.last = b""

    def write(self, data: Any) -> None:
        self.last = data

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        pass

    def is_closing(self) -> bool:
        return False

    def _unexpected(self) -> None:
        raise AssertionError("the proxy closes a connection that is in order")

    close = abort = pause_reading = _unexpected


class Line:
    """One client, one proxy, one backend, a connection for each."""

    def __init__(self, filters: Sequence[Filter], pool: Pool) -> None:
        self.filters = filters
        self.proxy = proxy = Proxy(Router([Route("all", lambda request: True, lambda request: pool, tuple(filters))]))
        self.client, self.to_client = ClientConnection(proxy), Nowhere()
        (backend,) = pool.backends

        def give_back(connection: BackendConnection, usable: bool) -> None:
            proxy.connections.idle[backend].append(connection)

        self.backend, self.to_backend = BackendConnection(proxy.limits, give_back, 30.0, proxy.scratch), Nowhere()
        self.client.connection_made(self.to_client)
        self.backend.connection_made(self.to_backend)
        proxy.connections.idle[backend] = [self.backend]

    def carry(self, request: bytes, times: int) -> None:
        """So many requests, each answered before the next one comes."""
        ask, answer = self.client.data_received, self.backend.data_received
        for _ in range(times):
            ask(request)
            answer(ANSWER)

    def close(self) -> None:
        for one in self.filters:
            one.close()


def lines(folder: Path) -> Iterator[tuple[str, Callable[[], Line]]]:
    """Names, and what is measured under them."""
    config = document.parse((LISTEN + USUAL.format(folder=folder, backend=1)).encode()).config
    usual, (section,) = config.filters["usual"], config.pool
    plain = replace(section, sticky=None)
    yield BARE, lambda: Line((), Pool.build(plain))
    for options in usual:
        yield str(options.__struct_config__.tag), lambda options=options: Line((make(options),), Pool.build(plain))  # type: ignore[misc]
    yield STICKY, lambda: Line((), Pool.build(section))
    yield ALL, lambda: Line([make(options) for options in usual], Pool.build(section))


def measure(made: dict[str, Line], rounds: int, requests: int) -> dict[str, dict[str, list[float]]]:
    """Microseconds of CPU time a request: by request, by row, all rounds."""
    found: dict[str, dict[str, list[float]]] = {words: {name: [] for name in made} for words in ASKED}
    gc.collect()
    gc.freeze()
    for number in range(rounds + 1):
        for words, request in ASKED.items():
            for name, line in made.items():
                began = time.process_time_ns()
                line.carry(request, requests)
                taken = time.process_time_ns() - began
                if number:  # the first one warms up
                    found[words][name].append(taken / requests / 1e3)
    return found


def table(found: dict[str, dict[str, list[float]]]) -> Table:
    """What each row adds to the bare path."""
    best = {words: {name: min(samples) for name, samples in rows.items()} for words, rows in found.items()}

    def cell(words: str, name: str) -> tuple[str, str]:
        cost, bare = best[words][name], best[words][BARE]
        return f"{cost:.1f}", f"{cost - bare:.1f}"

    first = next(iter(best.values()))
    rows = [(name, *(text for words in best for text in cell(words, name))) for name in first]
    rows.append(("the sum of each alone", *(t for words in best for t in ("", f"{_sum(best[words]):.1f}"))))
    columns = ("filters", *(text for words in best for text in (f"{words}, us", "added, us")))
    return Table(columns, tuple(rows), f"CPU time of a request in memory, best round, {facts_line()}")


def _sum(best: dict[str, float]) -> float:
    return sum(cost - best[BARE] for name, cost in best.items() if name not in (BARE, ALL))


async def run(options: argparse.Namespace, folder: Path) -> int:
    """On an event loop, for connections want one."""
    rows = dict(lines(folder))
    for chosen in (options.profile, options.show):
        if chosen and chosen not in rows:
            print(f"benchmarks.l7_memory: no row {chosen!r}; there are: {', '.join(rows)}")
            return 2
    scan.load()
    made = {name: make_line() for name, make_line in rows.items()}
    try:
        if options.show:
            line = made[options.show]
            line.carry(BROWSER, 1)
            print(line.to_backend.last.decode(), line.to_client.last.partition(b"\r\n\r\n")[0].decode(), sep="")
        elif options.profile:
            line, profile = made[options.profile], cProfile.Profile()
            line.carry(PLAIN, 1000)
            profile.runcall(line.carry, PLAIN, 10_000)
            pstats.Stats(profile).sort_stats("tottime").print_stats(45)
        else:
            found = measure(made, options.rounds, options.requests)
            print(table(found))
            if options.json:
                samples = {f"{words}: {name}": row for words, rows in found.items() for name, row in rows.items()}
                record(options.json.stem, samples, "python -m benchmarks.l7_memory", folder=options.json.parent)
    finally:
        for line in made.values():
            line.close()
    return 0


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; its exit status."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.l7_memory", description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=100)
    parser.add_argument("--requests", type=int, default=40, help="in a round of each row")
    parser.add_argument("--profile", metavar="ROW", help="say instead where the time of this row goes")
    parser.add_argument("--show", metavar="ROW", help="say instead what the backend and the client are sent")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all samples there too")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        return asyncio.run(run(options, Path(folder)))


if __name__ == "__main__":
    sys.exit(main())
