"""Lab 07's tables: what a student's functions said, and what became of real requests that went through them.

Rule of this file: it shows what it was given, right or wrong. Where there is nothing to show it gives back the reason
in words.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from functools import wraps
from typing import Any

from lbcore.labs.drawing import called, nothing, refused
from lbcore.labs.judge import Verdict
from lbcore.labs.proxy.forwarding import ACCEPT, CLIENT, EDGE, FORGED, HOST, INNER, TRUSTED, XFF
from lbcore.labs.proxy.live import HANGS, Parts, Shop, say, standing
from lbcore.labs.proxy.measuring import head_of, right_framing
from lbcore.labs.proxy.routing import ROUTES
from lbcore.labs.proxy.world import FATES, played
from lbcore.labs.sandbox import Outcome, run
from lbcore.measure.table import Table

PATIENCE = 5.0  # seconds for what takes milliseconds


def told(outcome: Outcome) -> str:
    """An outcome in a few words."""
    return "refused" if refused(outcome) else str(outcome.value)[:40]


def show_route(route: Any) -> Table | Verdict:
    """A few requests; one table of routes."""
    asked = [("GET", host, path) for host in ("www.example", "de.shop.example") for path in ("/api/v2/cart", "/apiary")]
    asked += [("POST", "www.example", "/api/v2/cart")]
    asked += [("GET", "www.example", path) for path in ("/admin", "/public/%2e%2e/admin", "/public/%2fadmin", "/../x")]
    outcomes, reason = called(route, *((*one, [list(each) for each in ROUTES]) for one in asked), refusals=True)
    if reason:
        return reason
    rows = [(*one, told(outcome)) for one, outcome in zip(asked, outcomes, strict=True)]
    return Table(("method", "host", "path", "yours"), tuple(rows), f"routes: {'; '.join(map(' '.join, ROUTES))}")


def show_forwarded(forwarded: Any) -> Table | Verdict:
    """Heads as they come from a stranger and from proxies of ours, and as they go on."""
    heads = {
        "a stranger, who says he is somebody": ([HOST, [XFF, FORGED], ACCEPT], CLIENT),
        "our edge": ([HOST, [XFF, CLIENT]], EDGE),
        "our edge, for one who lies": ([HOST, [XFF, f"{FORGED}, {CLIENT}"]], EDGE),
        "two of ours in a row": ([HOST, [XFF, f"{CLIENT}, {EDGE}"]], INNER),
        "a stranger with a debugger": ([HOST, ["connection", "close, X-Debug"], ["x-debug", "1"]], CLIENT),
    }
    outcomes, reason = called(
        forwarded, *(([list(one) for one in fields], peer, list(TRUSTED)) for fields, peer in heads.values())
    )
    if reason:
        return reason
    rows = [
        (name, peer, lines(fields), lines(one.value))
        for (name, (fields, peer)), one in zip(heads.items(), outcomes, strict=True)
    ]
    return Table(("from", "peer", "comes", "goes on (yours)"), tuple(rows), f"trusted: {', '.join(TRUSTED)}")


def lines(fields: Any) -> str:
    """Fields in a line, without Host, which is the same everywhere."""
    if not isinstance(fields, list):
        return str(fields)[:60]
    return "; ".join(": ".join(map(str, one)) if isinstance(one, list) else str(one) for one in fields if one != HOST)


def show_framing(framing: Any) -> Table | Verdict:
    """Heads by what they say of their body."""
    said = [
        [], ["Content-Length: 5"], ["Transfer-Encoding: chunked"], ["Content-Length: 5", "Transfer-Encoding: chunked"],
        ["Content-Length: 5", "Content-Length: 6"], ["Content-Length: +5"], ["Content-Length : 5"],
        ["Transfer-Encoding: chunked, gzip"], ["X: y\nTransfer-Encoding: chunked"],
    ]  # fmt: skip
    outcomes, reason = called(framing, *((head_of(*lines),) for lines in said), refusals=True)
    if reason:
        return reason
    rows = [(" ⏎ ".join(some).replace("\n", "\\n") or "-", told(one)) for some, one in zip(said, outcomes, strict=True)]
    return Table(("the head says", "yours: bytes of body"), tuple(rows))


# ------------------------------------------------------------------------------------------------------ real requests
def staged(function: Any, play: Callable[..., Coroutine[Any, Any, list[Any]]]) -> Callable[..., list[Any]]:
    """`play` as a function of its own, to be run in a process of its own; lines of `function` are the student's."""

    @wraps(function)
    def stage(*given: Any) -> list[Any]:
        return asyncio.run(play(*given))

    return stage


def in_memory(exchange: Any) -> Any:
    """A plain function, to see whether it can be called at all."""
    return played(exchange) if callable(exchange) else exchange


VISITS = [
    ["GET", "works"], ["POST", "works"], ["GET", "closes"], ["POST", "chatters"], ["GET", "dies"], ["POST", "dies"],
    ["GET", "breaks"],
]  # fmt: skip


def show_exchange(exchange: Any) -> Table | Verdict:
    """Real requests over one pool of connections to a shop with a book, up to the first that gets no answer."""
    _, reason = called(in_memory(exchange), ([["GET", "stays"]],), seconds=PATIENCE)
    if reason:
        return reason

    async def visits() -> list[Any]:
        shop = Shop("cart 42", [])
        rows = []
        parts = Parts(lambda *_: shop.name, lambda fields, peer, trusted: fields, right_framing, exchange)
        async with standing(parts, [shop], []) as (door, _):
            for method, fate in VISITS:
                shop.fates, done = [fate], len(shop.done)
                got = await say(door, f"{method} /order HTTP/1.1\r\nHost: shop.example\r\n\r\n".encode())
                rows.append([method, FATES[fate], got, len(shop.done) - done, shop.connections])
                if HANGS in got:
                    break
        return rows

    (outcome,) = run(staged(exchange, visits), [()])
    if outcome.kind != "answer":
        return nothing("exchange", [outcome])
    columns = ("method", "the backend, asked first", "client got", "work done", "connections so far")
    return Table(columns, tuple(map(tuple, outcome.value)))


REQUESTS = {
    "a plain one": "GET /public/logo HTTP/1.1\r\nHost: www.example\r\n\r\n",
    "an order": "POST /api/v2 HTTP/1.1\r\nHost: www.example\r\nContent-Length: 6\r\n\r\n1 book",
    "one in chunks": "POST /api/v2 HTTP/1.1\r\nHost: www.example\r\nTransfer-Encoding: chunked\r\n\r\n"
    "6\r\n2 pens\r\n0\r\n\r\n",
    "two on one connection": "GET /api HTTP/1.1\r\nHost: www.example\r\n\r\nGET /apiary HTTP/1.1\r\n"
    "Host: www.example\r\n\r\n",
    "admin in disguise": "GET /public/%2e%2e/admin HTTP/1.1\r\nHost: www.example\r\n\r\n",
    "one inside another": "POST /public HTTP/1.1\r\nHost: www.example\r\nContent-Length: 46\r\n"
    "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /admin HTTP/1.1\r\nHost: www.example\r\n\r\n",
    "one with a false name": "GET / HTTP/1.1\r\nHost: pay.shop.example\r\nX-Forwarded-For: 10.0.0.1\r\n\r\n",
}


def show_proxy(route: Any, forwarded: Any, framing: Any, exchange: Any) -> Table | Verdict:
    """Your four functions as one proxy on loopback, in front of a shop for each backend of the table."""
    for function, call in (
        (route, ("GET", "www.example", "/", ROUTES)), (forwarded, ([HOST], CLIENT, TRUSTED)), (framing, (head_of(),)),
        (in_memory(exchange), ([["GET", "stays"]],)),
    ):  # fmt: skip
        if reason := called(function, call, seconds=PATIENCE)[1]:
            return reason

    async def visits() -> list[Any]:
        log: list[tuple[str, str]] = []
        shops = [Shop(name, log) for name in dict.fromkeys(backend for *_, backend in ROUTES)]
        rows = []
        async with standing(Parts(route, forwarded, framing, exchange), shops, ROUTES) as (door, _):
            for name, request in REQUESTS.items():
                got = await say(door, request.encode())
                way = [line[17:] for _, head in log for line in head.split("\r\n") if line.startswith(XFF)]
                rows.append([name, got, ", ".join(shop for shop, _ in log), "; ".join(way)])
                log.clear()
                if HANGS in got:
                    break
        return rows

    (outcome,) = run(staged(route, visits), [()])
    if outcome.kind != "answer":
        return nothing("your proxy", [outcome])
    return Table(("request", "client got", "arrived at", XFF), tuple(map(tuple, outcome.value)))
