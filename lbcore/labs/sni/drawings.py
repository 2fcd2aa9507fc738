"""Lab 06's drawings: what a student's functions made of hellos, and where real clients came out behind their router.

Rule of this file: it draws what it was given, right or wrong. Where there is nothing to draw it gives back the reason
in words.

Theory. `show_route` is a router on loopback: for each chunk that arrives it asks the student's function, in a process
of its own, and moves the bytes itself. TLS is between Python's client and the sites behind; the router has no key.
"""

from __future__ import annotations

import asyncio
from asyncio import StreamReader, StreamWriter
from typing import Any

from lbcore.labs.drawing import called, refused
from lbcore.labs.judge import Verdict
from lbcore.labs.sandbox import Outcome, run
from lbcore.measure.table import Table
from lbcore.show.packet_diagram import PacketDiagram, Span, packet
from lbcore.testbed import aside, smallest, tls_sites
from lbcore.wire import tls_hello
from lbcore.wire.errors import Incomplete
from lbcore.wire.tls_compose import client_hello, records

SITES = ["shop.example", "pay.example", "default.example"]
TABLE = {"shop.example": "shop.example", "*.pay.example": "pay.example"}
NOWHERE = "(no connection)"
VISITS: list[tuple[str | None, int]] = [
    ("shop.example", 0), ("shop.example", 150), ("SHOP.example", 0), ("eu.pay.example", 150), ("pay.example", 0),
    (None, 0),
]  # fmt: skip


def told(outcome: Outcome) -> str:
    """An outcome in a word or two."""
    if refused(outcome):
        return "refused"
    value = outcome.value
    return f"{len(value)} bytes" if isinstance(value, bytes) else str(value)[:40]


def show_missing(missing: Any) -> Table | Verdict:
    """Streams as they begin: your count, and what the library's parser says."""
    hello = records(client_hello())
    streams = {
        "nothing yet": b"",
        "a hello's first byte": hello[:1],
        "its record header": hello[:5],
        "half of it": hello[:150],
        "all of it": hello,
        "plain HTTP": b"GET / HTTP/1.1\r\n",
    }
    outcomes, reason = called(missing, *((data,) for data in streams.values()), refusals=True)
    if reason:
        return reason
    rows = [
        (name, data[:6].hex(" "), len(data), told(one))
        for (name, data), one in zip(streams.items(), outcomes, strict=False)
    ]
    return Table(("stream", "first bytes", "bytes here", "yours: missing"), tuple(rows))


def show_message(message: Any) -> Table | Verdict:
    """A post-quantum hello in records of 500 bytes, as it arrives in segments of 600."""
    stream = records(client_hello(post_quantum=True), 500)
    ends = [*range(600, len(stream), 600), len(stream)]
    outcomes, reason = called(message, *((stream[:end],) for end in ends), refusals=True)
    if reason:
        return reason
    rows = []
    for end, one in zip(ends, outcomes, strict=False):
        try:
            library = f"{tls_hello.parse(stream[:end]).size} bytes of records, whole"
        except Incomplete as wait:
            library = f"{wait.needed} bytes missing at least"
        rows.append((end, told(one), library))
    return Table(("bytes here", "your message", "library's parser"), tuple(rows))


def show_server_name(server_name: Any) -> PacketDiagram | Verdict:
    """A hello with its extensions in random order; framed are the bytes that you took for the name."""
    hello = client_hello("www.shop.example", shuffled=True, seed=4)
    outcomes, reason = called(server_name, (hello,), refusals=True)
    if reason:
        return reason
    name = outcomes[0].value
    caption = f"your server_name: {told(outcomes[0])}"
    at = hello.find(name.encode()) if isinstance(name, str) and name else -1
    spans = [Span(0, len(hello), "", "hello")]
    if at >= 0:
        spans.append(Span(at, at + len(name.encode()), "your name", "name", name))
    return packet(hello, spans, highlight=["your name"] if at >= 0 else [], caption=caption, legend=False)


def show_choose(choose: Any) -> Table | Verdict:
    """A few names, with and without ECH."""
    routes = {"shop.example": "shop", "*.shop.example": "shops", "public.example": "edge"}
    asked = [("shop.example", False), ("a.b.shop.example", False), ("evilshop.example", False), ("shop.example", True)]
    asked += [("public.example", True)]
    every: list[tuple[str | None, bool]] = [*asked, (None, False)]
    outcomes, reason = called(choose, *((name, ech, routes, "default") for name, ech in every), refusals=True)
    if reason:
        return reason
    rows = [(name, ech, told(one)) for (name, ech), one in zip(every, outcomes, strict=False)]
    return Table(("name", "ECH", "yours"), tuple(rows), f"routes: {routes}")


def show_route(route: Any) -> Table | Verdict:
    """Python's TLS clients, some with their hello in pieces, through your router on loopback to three sites."""
    _, reason = called(route, (b"", TABLE, SITES[-1]), refusals=True)
    if reason:
        return reason
    rows = aside.run(journeys(route))
    columns = ("asks for", "hello sent", "your router was asked", "last answer", "certificate seen")
    return Table(columns, tuple(rows), f"routes: {TABLE}; default: {SITES[-1]}")


async def journeys(route: Any) -> list[tuple[Any, ...]]:
    """A row for each visit, up to the first that gets nowhere: to wait for more such would take a while."""
    rows = []
    async with tls_sites.sites(SITES) as (doors, authority):
        for name, piece in VISITS:
            asked: list[Outcome] = []
            async with smallest.listening(router(route, doors, asked)) as door:
                try:
                    seen = (await tls_sites.visit(door, name, authority, piece=piece)).certificate
                except (OSError, TimeoutError):
                    seen = NOWHERE
            times = "once" if len(asked) == 1 else "several times"
            rows.append((name, f"in pieces of {piece}" if piece else "whole", times, told(asked[-1]), seen))
            if seen == NOWHERE:
                break
    return rows


def router(route: Any, doors: dict[str, smallest.Address], asked: list[Outcome]) -> smallest.Handler:
    """The moving part of an SNI router; `asked` gets what the function said."""

    async def handle(client: StreamReader, to_client: StreamWriter) -> None:
        data = b""
        while chunk := await client.read(smallest.CHUNK):
            data += chunk
            asked.append((await asyncio.to_thread(run, route, [(data, TABLE, SITES[-1])]))[0])
            choice = asked[-1].value if asked[-1].kind == "answer" else ""
            if choice is not None:
                break
        else:
            return
        if choice not in doors:
            return
        async with smallest.connected(doors[choice]) as (server, to_server):
            to_server.write(data)
            await asyncio.gather(smallest.pump(client, to_server), smallest.pump(server, to_client))

    return handle
