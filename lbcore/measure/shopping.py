"""A row of shops behind the proxy, and customers: what affinity does, scene by scene.

Rule of this file: proxy, pool and policies are the real ones (`lbcore.l7`); each scene opens its own on loopback,
closes all of it, and tells what customers saw. `store` makes each shop's store; all other keywords are options of the
pool.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

from lbcore.l7.engine.proxy import Proxy
from lbcore.l7.front.door import listen
from lbcore.l7.pools.options import BackendOptions, PoolOptions
from lbcore.l7.pools.pool import Pool
from lbcore.l7.routing.router import Route, Router
from lbcore.testbed import shops
from lbcore.testbed.session_stores import Memory, Sqlite, Store
from lbcore.testbed.shops import Answer, Browser, Shop

NAMES = ("ant", "bee", "cat")


class Street(NamedTuple):
    """The proxy's `door`, the `pool` behind it, and its `shops` in the same order."""

    door: tuple[str, int]
    pool: Pool
    shops: list[Shop]


@asynccontextmanager
async def street(
    store: Callable[[], Store] = Memory, clock: Callable[[], float] = time.monotonic, **policy: Any
) -> AsyncIterator[Street]:
    """Three shops behind one proxy, all closed at the end."""
    async with shops.opened(NAMES, store) as row:
        backends = tuple(BackendOptions(address="{}:{}".format(*shop.address)) for shop in row)
        pool = Pool.build(PoolOptions(name="shop", backends=backends, **policy), clock)
        everything = Route("everything", lambda request: True, lambda request: pool)
        async with Proxy(Router([everything])) as proxy:
            yield Street(await listen(proxy, "127.0.0.1"), pool, row)


async def one_customer(*paths: str, **policy: Any) -> list[str]:
    """What one browser is told, request by request."""
    async with street(**policy) as here:
        return [answer.body for answer in await Browser(here.door).visit(*paths)]


async def one_each(*sources: str, **policy: Any) -> dict[str, list[str]]:
    """The same for a browser at each of these addresses, three times /add."""
    async with street(**policy) as here:
        visits = {source: await Browser(here.door, source).visit("/add", "/add", "/add") for source in sources}
        return {source: [answer.body for answer in answers] for source, answers in visits.items()}


async def crowd(people: int = 12, source: str = "127.0.0.9", **policy: Any) -> list[int]:
    """Requests of each shop when so many share one address, two requests each; the emptiest shop first."""
    async with street(**policy) as here:
        for _ in range(people):
            await Browser(here.door, source).visit("/add", "/add")
        return sorted(shop.served for shop in here.shops)


async def tampered(change: Callable[[str], str], **policy: Any) -> tuple[int, str, bool]:
    """A customer of ant's who changes the balancer's cookie: status, shop, and was a new cookie set?"""
    async with street(**policy) as here:
        browser = Browser(here.door)
        await browser.visit("/add")
        browser.jar["lb"] = change(browser.jar["lb"])
        answer = await browser.get("/add")
        return answer.status, answer.shop, any(one.startswith("lb=") for one in answer.set_cookies)


async def after_a_crash(customers: int = 30, **policy: Any) -> list[Answer]:
    """Everybody puts two items into a cart; ant dies; everybody looks at the cart."""
    async with street(**policy) as here:
        everybody = [Browser(here.door) for _ in range(customers)]
        for browser in everybody:
            await browser.visit("/add", "/add")
        await here.shops[0].crash()
        return [await browser.get() for browser in everybody]


async def drained(window: float = 600.0, **policy: Any) -> list[tuple[float, str, str, bool]]:
    """ant drains. At its begin, just before the window's end, and after it: (second, what an old customer is told, to
    whom a new one comes, may ant be switched off?)."""
    now, story = [0.0], []
    async with street(clock=lambda: now[0], **policy) as here:
        old, ant = Browser(here.door), here.pool.backends[0]
        await old.visit("/add")
        here.pool.drain(ant, window)
        for now[0] in (0.0, window - 1, window):
            mine, new = await old.get("/add"), await Browser(here.door).get("/add")
            story.append((now[0], mine.body, new.shop, here.pool.finished(ant)))
    return story


async def whale(**policy: Any) -> list[int]:
    """Requests of each shop when one customer asks thirty times and thirty others ask once."""
    async with street(**policy) as here:
        await Browser(here.door).visit(*["/add"] * 30)
        for _ in range(30):
            await Browser(here.door).visit("/add")
        return [shop.served for shop in here.shops]


async def store_dies(make: Callable[[], Sqlite], customers: int = 6) -> tuple[list[int], list[int]]:
    """Statuses that customers see before and after the one store that all shops share is closed."""
    store = make()
    async with street(lambda: store) as here:
        everybody = [Browser(here.door) for _ in range(customers)]
        before = [(await browser.get("/add")).status for browser in everybody]
        store.close()
        return before, [(await browser.get("/add")).status for browser in everybody]


async def sockets(lines: int = 6, **policy: Any) -> list[list[str]]:
    """Two WebSockets, one after the other: who answered each line."""
    async with street(**policy) as here:
        return [await Browser(here.door).chat(lines) for _ in range(2)]


async def polling(times: int = 9, **policy: Any) -> list[int]:
    """One customer begins a session and polls under its name: the statuses."""
    async with street(**policy) as here:
        return [answer.status for answer in await Browser(here.door).visit("/", *["/poll"] * times)]
