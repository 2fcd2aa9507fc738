"""Pools behind a proxy that is working: what clients notice when backends die, drain and are exchanged. Nothing."""

from __future__ import annotations

import asyncio
import contextlib
from random import Random

import pytest

from lbcore.l7.engine.proxy import Proxy
from lbcore.l7.front.door import listen
from lbcore.l7.pools.options import (
    BackendOptions,
    OutlierOptions,
    PoolOptions,
    RetryOptions,
    StickyCookieOptions,
)
from lbcore.l7.pools.pool import Pool
from lbcore.l7.routing.router import Route, Router
from tests.l7.live import backend, read_request, together

CLIENTS, REQUESTS = 8, 60


def naming(name, wait=0.0):
    """A backend that answers with its name."""

    async def talk(reader, writer):
        while True:
            await read_request(reader)
            await asyncio.sleep(wait)
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%s" % (len(name), name))
            await writer.drain()

    return talk


def pool_of(ports, **fields):
    backends = tuple(BackendOptions(address=f"127.0.0.1:{port}") for port in ports)
    return Pool.build(PoolOptions(name="web", backends=backends, **fields), random=Random(1))


@contextlib.asynccontextmanager
async def proxying(pool):
    """A proxy whose pool can be exchanged: gives its port and a list that holds the pool."""
    current = [pool]
    async with Proxy(Router([Route("all", lambda request: True, lambda request: current[0], ())])) as proxy:
        _, port = await listen(proxy, "127.0.0.1")
        yield port, current


async def client(port, number, answers, halfway, cookies=False):
    """So many requests on one connection; `halfway` is awaited once, in the midst of them."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    cookie = b""
    for i in range(REQUESTS):
        if i == REQUESTS // 2:
            await halfway(number)
        writer.write(b"GET /%d HTTP/1.1\r\nhost: example.org\r\n%s\r\n" % (i, cookie))
        head = await reader.readuntil(b"\r\n\r\n")
        fields = dict(line.split(b": ", 1) for line in head.split(b"\r\n")[1:-2])
        body = await reader.readexactly(int(fields[b"content-length"]))
        if cookies and b"set-cookie" in fields:
            cookie = b"cookie: %s\r\n" % fields[b"set-cookie"].partition(b";")[0]
        answers.append((number, i, head.split(b" ", 2)[1], body))
    writer.close()


async def load(port, halfway, **fields):
    """Clients side by side; what each request was answered: (client, request, status, body)."""
    answers = []
    async with asyncio.timeout(60):
        await asyncio.gather(*(client(port, n, answers, halfway, **fields) for n in range(CLIENTS)))
    return answers


def once(action):
    """`action` for the first who comes, the others go on."""

    async def halfway(number):
        if number == 0:
            await action()

    return halfway


@pytest.mark.parametrize("attempts", [2, 1])
def test_a_backend_dies_and_no_client_notices_if_there_is_a_second_attempt(attempts):
    async def scene():
        async with backend(naming(b"a")) as stays, contextlib.AsyncExitStack() as stack:
            dies = await stack.enter_async_context(backend(naming(b"b")))
            pool = pool_of(
                [stays, dies],
                retry=RetryOptions(attempts=attempts, per_second=50),
                outlier=OutlierOptions(consecutive=2, ejection=60),
            )
            async with proxying(pool) as (port, _):
                answers = await load(port, once(stack.aclose))
            failed = sum(status != b"200" for _, _, status, _ in answers)
            assert failed == 0 if attempts == 2 else 1 <= failed <= 2 + CLIENTS
            assert {body for *_, body in answers[-CLIENTS:]} == {b"a"}
            gone = pool.backends[1]
            assert pool.why_not(gone).startswith("ejected: ")
            assert 1 <= gone.errors <= 2 + CLIENTS  # those on their way when it died
            assert pool.in_flight == 0

    together(scene)


def test_a_drained_backend_is_closed_when_it_has_finished_and_no_client_notices():
    async def scene():
        async with backend(naming(b"a", 0.002)) as stays, contextlib.AsyncExitStack() as stack:
            leaves = await stack.enter_async_context(backend(naming(b"b", 0.002)))
            pool = pool_of([stays, leaves], retry=RetryOptions(attempts=1), picker="least_connections")
            leaving = pool.backends[1]

            async def deploy():
                pool.drain(leaving, 30)
                while not pool.finished(leaving):
                    await asyncio.sleep(0.001)
                await stack.aclose()

            async with proxying(pool) as (port, _):
                answers = await load(port, once(deploy))
            assert {status for _, _, status, _ in answers} == {b"200"}
            assert {body for _, i, _, body in answers if i < REQUESTS // 2} == {b"a", b"b"}
            assert leaving.errors == 0
            assert leaving.active == 0

    together(scene)


def test_a_reload_under_load_loses_no_request_and_no_session():
    async def scene():
        async with backend(naming(b"a")) as one, backend(naming(b"b")) as two, backend(naming(b"c")) as three:
            told = {"sticky": StickyCookieOptions(keys=("k" * 32,)), "retry": RetryOptions(attempts=1)}
            old, new = pool_of([one, two], **told), pool_of([two, one, three], **told)
            async with proxying(old) as (port, current):

                async def reload():
                    new.take_over(old)
                    current[0] = new

                answers = await load(port, once(reload), cookies=True)
            assert {status for _, _, status, _ in answers} == {b"200"}
            homes = {number: {body for n, _, _, body in answers if n == number} for number in range(CLIENTS)}
            assert all(len(home) == 1 for home in homes.values())
            assert set().union(*homes.values()) == {b"a", b"b"}
            assert (old.in_flight, new.in_flight) == (0, 0)
            assert 0 < old.requests < new.requests == CLIENTS * REQUESTS

    together(scene)
