"""Clients: requests at times of their own choosing, single questions, and frames as fast as they go.

Rule of this file: it sends and measures; what the times mean is for others. It runs in any host, or in none.

Theory. An open loop sends at times fixed beforehand, whether or not earlier answers have come: as users do, who do not
know of each other. A closed loop (send, wait, send) slows down with the server and so hides every stall. A request's
latency counts from the time when it was due, not from when it could be sent: a generator that falls behind must not
hide it (G. Tene calls the mistake coordinated omission). Independent users make a Poisson process: the gaps are
exponential.
"""

from __future__ import annotations

import asyncio
import errno
import itertools
import json
import random
import socket
import struct
import time
from array import array
from collections.abc import Awaitable, Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple, TypeAlias

BATCH = 64  # frames between two looks at the clock
ATTEMPT = 5.0  # seconds that a request may take
ECHO = {  # family, protocol, type of an echo request
    4: (socket.AF_INET, socket.IPPROTO_ICMP, 8), 6: (socket.AF_INET6, socket.IPPROTO_ICMPV6, 128)
}  # fmt: skip
NO_ROOM = (errno.EAGAIN, errno.ENOBUFS)

Process: TypeAlias = Literal["poisson", "constant"]


# ------------------------------------------------------------------------------------------------------- the open loop
@dataclass
class Report:
    """What came of an open loop. latencies: seconds from due to answered (float64[answered]), as they were answered.

    failed: error's name and how often. shed: requests not sent, because `limit` of them were under way.
    late: by how many seconds the worst request was sent after it was due; beyond a few milliseconds the generator, or
    the machine, was the bottleneck.
    """

    latencies: array[float] = field(default_factory=lambda: array("d"))
    answers: list[Any] = field(default_factory=list)
    failed: dict[str, int] = field(default_factory=dict)
    shed: int = 0
    late: float = 0.0

    @property
    def answered(self) -> int:
        """Requests that got an answer."""
        return len(self.latencies)

    @property
    def due(self) -> int:
        """All requests: answered, failed and shed."""
        return self.answered + sum(self.failed.values()) + self.shed


def arrivals(rate: float, seconds: float, *, process: Process = "poisson", seed: int = 0) -> Iterator[float]:
    """Times in [0, seconds), `rate` a second on average. The same seed gives the same times."""
    if not 0 < rate < 1e6 or not 0 < seconds < 86400:
        raise ValueError(f"rate is {rate} a second for {seconds} s, wanted 0 < rate < 1e6 and 0 < seconds < 86400")
    if process not in ("poisson", "constant"):
        raise ValueError(f"process is {process!r}, wanted 'poisson' or 'constant'")
    draw = random.Random(seed)
    gaps = (draw.expovariate(rate) if process == "poisson" else 1 / rate for _ in itertools.count())
    return itertools.takewhile(lambda at: at < seconds, itertools.accumulate(gaps))


async def open_loop(
    request: Callable[[], Awaitable[Any]],
    times: Iterable[float],
    *,
    record: Callable[[float], object] = lambda latency: None,
    limit: int = 1000,
    attempt: float = ATTEMPT,
) -> Report:
    """Start `request` at each of `times` (seconds from now, ascending) and see what comes of each.

    record: called with the latency in seconds of each answered one, as it is answered: a histogram's own method.
    A request that raises OSError, EOFError, TimeoutError or ValueError has failed; after `attempt` seconds it has too.
    """
    report = Report()
    running: set[asyncio.Task[None]] = set()
    start = time.perf_counter()

    async def one(due: float) -> None:
        try:
            async with asyncio.timeout(attempt):
                answer = await request()
        except (OSError, EOFError, ValueError) as error:  # TimeoutError is an OSError
            name = type(error).__name__
            report.failed[name] = report.failed.get(name, 0) + 1
            return
        latency = time.perf_counter() - start - due
        report.latencies.append(latency)
        report.answers.append(answer)
        record(latency)

    try:
        async with asyncio.TaskGroup() as group:
            for due in times:
                await asyncio.sleep(max(0.0, due - (time.perf_counter() - start)))
                report.late = max(report.late, time.perf_counter() - start - due)
                if len(running) >= limit:
                    report.shed += 1
                    continue
                task = group.create_task(one(due))
                running.add(task)
                task.add_done_callback(running.discard)
    except BaseExceptionGroup as errors:
        raise errors.exceptions[0] from None
    return report


def load(
    address: str, port: int, *, rate: float, seconds: float, kind: Literal["http", "udp"] = "http",
    process: Process = "poisson", seed: int = 0, limit: int = 1000,
    record: Callable[[float], object] = lambda latency: None,
) -> Report:  # fmt: skip
    """An open loop of questions to a backend (a new connection each), from plain code: for `host.run(load, ...)`.

    There `record` is called in the host's process; afterwards the report's latencies are what comes back.
    """
    times = arrivals(rate, seconds, process=process, seed=seed)
    return asyncio.run(open_loop(lambda: ASK[kind](address, port), times, record=record, limit=limit))


# ----------------------------------------------------------------------------------------------------- single questions
async def ask_http(address: str, port: int = 80, path: str = "/") -> dict[str, Any]:
    """GET `path` on a connection of its own: the JSON that a backend answered. OSError, EOFError, ValueError."""
    reader, writer = await asyncio.open_connection(address, port)
    try:
        writer.write(f"GET {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n".encode())
        head, _, body = (await reader.read()).partition(b"\r\n\r\n")
        if not head:
            raise EOFError("the connection ended without an answer")
        return _said(body, head)
    finally:
        writer.transport.abort()


async def ask_udp(address: str, port: int = 53, body: bytes = b"?") -> dict[str, Any]:
    """One datagram on a connected socket, which takes answers from that address only: the JSON that came back."""
    loop = asyncio.get_running_loop()
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as question:
        question.setblocking(False)
        question.connect((address, port))
        await loop.sock_sendall(question, body)
        return _said(await loop.sock_recv(question, 65535))


ASK: dict[str, Callable[[str, int], Awaitable[dict[str, Any]]]] = {"http": ask_http, "udp": ask_udp}


def ask(
    address: str, port: int = 80, *, kind: Literal["http", "udp"] = "http", timeout: float = ATTEMPT
) -> dict[str, Any]:
    """One question from plain code, for `host.run(ask, ...)`. TimeoutError, ConnectionRefusedError, ..."""

    async def bounded() -> dict[str, Any]:
        async with asyncio.timeout(timeout):
            return await ASK[kind](address, port)

    return asyncio.run(bounded())


def ping(address: str, *, timeout: float = 2.0, ttl: int = 64) -> float:
    """Seconds until an echo request was answered (RFC 792, RFC 4443): for `host.run(ping, ...)`.

    TimeoutError when nothing came back; OSError when a router said why (EHOSTUNREACH, ...). A socket of this kind
    fills in checksum and identifier, and hears only its own answers (icmp(7)).
    """
    family, protocol, kind = ECHO[6 if ":" in address else 4]
    with socket.socket(family, socket.SOCK_DGRAM, protocol) as echo:
        level, option = (socket.IPPROTO_IP, socket.IP_TTL) if family == socket.AF_INET else (socket.IPPROTO_IPV6, 16)
        echo.setsockopt(level, option, ttl)
        echo.settimeout(timeout)
        echo.connect((address, 0))
        start = time.perf_counter()
        echo.send(struct.pack("!BBHHH", kind, 0, 0, 0, 1) + b"lbcore")
        echo.recv(65535)
        return time.perf_counter() - start


def _said(body: bytes, head: bytes = b"") -> dict[str, Any]:
    said = json.loads(body)  # JSONDecodeError is a ValueError
    if not isinstance(said, dict):
        raise ValueError(f"the answer is {body[:60]!r} {head[:60]!r}, wanted a JSON object")
    return said


# ------------------------------------------------------------------------------------------------------- the blaster
class Blast(NamedTuple):
    """sent: frames the kernel took. refused: times it had no room for one. seconds: how long it lasted."""

    sent: int
    refused: int
    seconds: float


def blast(sender: socket.socket, frames: Iterable[bytes], *, count: int, seconds: float = 10.0) -> Blast:
    """Send prepared frames in turn, again from the first, until `count` were sent or `seconds` have passed.

    sender: Host.packet_socket(). ValueError without frames; OSError where the interface is down or a frame too long.
    """
    turn = tuple(frames)
    if not turn or count < 0:
        raise ValueError(f"{len(turn)} frames and count={count}, wanted at least one frame and count >= 0")
    sent = refused = 0
    sender.setblocking(False)
    turns = itertools.cycle(turn)
    start = time.perf_counter()
    while sent < count and time.perf_counter() - start < seconds:
        for frame in itertools.islice(turns, min(BATCH, count - sent)):
            try:
                sender.send(frame)
            except OSError as error:
                if error.errno not in NO_ROOM:
                    raise
                refused += 1
            else:
                sent += 1
    return Blast(sent, refused, time.perf_counter() - start)
