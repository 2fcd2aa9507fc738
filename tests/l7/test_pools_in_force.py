"""What a file says of a pool is what the running proxy does, and does no more when the proxy has ended."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from lbcore.l7.program.service import Service
from tests.l7.live import PATIENCE, backend, get, read_request, say, together
from tests.l7.test_service import LISTEN, body, port_of, serving

CHECKS = '[pool.health]\ninterval = 0.03\nfall = 2\nrise = 2\n[pool.health.probe]\nkind = "http"\npath = "/health"\n'


@dataclass
class Server:
    """A backend that does as it is told, and counts."""

    name: str
    status: int = 200
    healthy: bool = True
    wait: float = 0.0
    port: int = 0
    asked: int = 0
    checks: int = 0
    at_once: int = 0
    most: int = 0
    gone: int = 0
    """Connections that ended while an answer was awaited."""
    seen: list[bytes] = field(default_factory=list)
    """First line of each request."""

    async def talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            request = await read_request(reader)
            if request.startswith(b"GET /health "):
                self.checks += 1
                status = 200 if self.healthy else 503
            else:
                self.asked += 1
                self.seen.append(request.partition(b"\r\n")[0])
                status = self.status
                self.at_once += 1
                self.most = max(self.most, self.at_once)
                try:
                    await self._wait(reader)
                finally:
                    self.at_once -= 1
            name = self.name.encode()
            writer.write(b"HTTP/1.1 %d X\r\ncontent-length: %d\r\n\r\n%b" % (status, len(name), name))
            await writer.drain()

    async def _wait(self, reader: asyncio.StreamReader) -> None:
        if self.wait:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self.wait):
                    if await reader.read(1) == b"":
                        self.gone += 1
                        raise ConnectionResetError


@contextlib.asynccontextmanager
async def in_force(
    where: Path, more: str, *servers: Server, listen: str = LISTEN
) -> AsyncIterator[tuple[Service, Path]]:
    """A proxy whose one pool has these backends."""
    async with contextlib.AsyncExitStack() as stack:
        for one in servers:
            one.port = await stack.enter_async_context(backend(one.talk))
        there = ", ".join(f'{{ address = "127.0.0.1:{one.port}" }}' for one in servers)
        text = f'{listen}[[route]]\npool = "web"\n[[pool]]\nname = "web"\nbackend = [{there}]\n{more}'
        yield await stack.enter_async_context(serving(where, text))


async def until(true: Callable[[], bool]) -> None:
    """TimeoutError: it never is."""
    async with asyncio.timeout(PATIENCE):
        while not true():
            await asyncio.sleep(0.01)


async def answers(service: Service, count: int) -> list[str]:
    return [body(await say(port_of(service), get())) for _ in range(count)]


def test_checks_run_decide_and_stop(tmp_path: Path) -> None:
    one, two = Server("one"), Server("two")

    async def test() -> None:
        async with in_force(tmp_path, CHECKS, one, two) as (service, file):
            pool = service.parts.pools["web"]
            await until(lambda: one.checks > 1 and two.checks > 1)
            assert set(await answers(service, 8)) == {"one", "two"}
            one.healthy = False
            await until(lambda: pool.why_not(pool.backends[0]) != "")
            assert "503" in pool.why_not(pool.backends[0])
            assert set(await answers(service, 8)) == {"two"}

            file.write_text(file.read_text().replace("fall = 2", "fall = 3"))
            assert await service.reload() == ""
            assert service.parts.pools["web"] is not pool
            assert set(await answers(service, 8)) == {"two"}  # it is known who is down
            pool = service.parts.pools["web"]
            tasks = [task for task in asyncio.all_tasks() if task.get_name().startswith("health of ")]
            assert len([task for task in tasks if not task.cancelling()]) == 2  # nobody is checked twice

            one.healthy = True
            await until(lambda: pool.why_not(pool.backends[0]) == "")
            assert set(await answers(service, 8)) == {"one", "two"}

            file.write_text(file.read_text().partition("[pool.health]")[0])
            assert await service.reload() == ""
            await asyncio.sleep(0.05)
            before = one.checks
            await asyncio.sleep(0.15)
            assert one.checks == before
            file.write_text(file.read_text() + CHECKS)
            assert await service.reload() == ""
            await until(lambda: one.checks > before + 2)
        before = one.checks, two.checks
        await asyncio.sleep(0.15)
        assert (one.checks, two.checks) == before

    together(test)


def test_who_comes_back_starts_slowly(tmp_path: Path) -> None:
    """Of two with the same weight, one of which has just come back, hardly anything goes there."""
    one, two = Server("one", healthy=False), Server("two")
    more = f'picker = "smooth_weighted"\nslow_start = {{ window = 600.0, least = 0.05 }}\n{CHECKS}'

    async def test() -> None:
        async with in_force(tmp_path, more, one, two) as (service, _):
            pool = service.parts.pools["web"]
            await until(lambda: pool.why_not(pool.backends[0]) != "")
            one.healthy = True
            await until(lambda: pool.why_not(pool.backends[0]) == "")
            assert await answers(service, 40)
            assert 1 <= one.asked <= 4
            assert one.asked + two.asked == 40

    together(test)


def test_panic_believes_no_check(tmp_path: Path) -> None:
    one, two = Server("one", healthy=False), Server("two", healthy=False)

    async def test() -> None:
        async with in_force(tmp_path, f"panic = 0.5\n{CHECKS}", one, two) as (service, _):
            pool = service.parts.pools["web"]
            await until(lambda: all(each["health"]["up"] is False for each in pool.snapshot()["backends"]))
            assert pool.snapshot()["panic"] is True
            assert set(await answers(service, 8)) == {"one", "two"}

    together(test)


def test_who_fails_real_requests_is_ejected_and_comes_back(tmp_path: Path) -> None:
    one, two = Server("one", status=503), Server("two")
    more = "retry = { attempts = 1 }\n[pool.outlier]\nconsecutive = 3\nejection = 0.4\n"

    async def test() -> None:
        async with in_force(tmp_path, more, one, two) as (service, _):
            assert (await answers(service, 6)).count("one") == 3
            assert set(await answers(service, 8)) == {"two"}
            assert await service.reload() == ""
            assert set(await answers(service, 4)) == {"two"}  # a reload forgives nobody
            one.status = 200
            pool = service.parts.pools["web"]
            await until(lambda: pool.why_not(pool.backends[0]) == "")
            assert set(await answers(service, 8)) == {"one", "two"}

    together(test)


def test_a_breaker_opens_tries_and_closes(tmp_path: Path) -> None:
    one = Server("one", status=503)
    more = "retry = { attempts = 1 }\n[pool.breaker]\nfailures = 3\nrest = 0.3\n"

    async def test() -> None:
        async with in_force(tmp_path, more, one) as (service, _):
            assert await answers(service, 3) == ["one"] * 3
            for _ in range(3):
                refused = await say(port_of(service), get())
                assert refused.startswith(b"HTTP/1.1 503 ")
                assert refused.endswith(b"no backend\n")
            assert one.asked == 3
            pool = service.parts.pools["web"]
            await until(lambda: pool.why_not(pool.backends[0]) == "")
            one.status = 200
            assert await answers(service, 3) == ["one"] * 3
            assert pool.snapshot()["backends"][0]["breaker"] == {"state": "closed", "opened": 1}

    together(test)


@pytest.mark.parametrize("kind", ["cookie", "header"])
def test_a_client_keeps_its_backend_over_a_reload(tmp_path: Path, kind: str) -> None:
    servers = [Server(name) for name in ("one", "two", "three")]
    more = '[pool.sticky]\nkind = "' + ('cookie"\n' if kind == "cookie" else 'header"\nname = "x-user"\n')

    async def test() -> None:
        async with in_force(tmp_path, more, *servers) as (service, _):
            for user in range(4):
                first = await say(port_of(service), get("/", f"x-user: u{user}"))
                brought = [f"x-user: u{user}"]
                if kind == "cookie":
                    cookie = first.partition(b"set-cookie: ")[2].partition(b";")[0].decode()
                    assert cookie.startswith("lb=")
                    brought = [f"cookie: {cookie}"]
                for turn in range(6):
                    if turn == 3:
                        assert await service.reload() == ""
                    again = await say(port_of(service), get("/", *brought))
                    assert body(again) == body(first)
                    assert b"set-cookie" not in again

    together(test)


def test_who_is_drained_gets_nothing_new(tmp_path: Path) -> None:
    one, two = Server("one"), Server("two")

    async def test() -> None:
        async with in_force(tmp_path, "", one, two) as (service, _):
            pool = service.parts.pools["web"]
            pool.drain(pool.backends[0])
            assert set(await answers(service, 6)) == {"two"}
            assert await service.reload() == ""
            assert set(await answers(service, 6)) == {"two"}

    together(test)


def test_nothing_is_kept_for_pools_of_earlier_files(tmp_path: Path) -> None:
    """Not even an empty list of connections: it would hold the backend, its pool, and all that this remembers."""
    one = Server("one")

    async def test() -> None:
        async with in_force(tmp_path, "timeouts = { keep = 0.1 }\n", one) as (service, _):
            for _ in range(3):
                assert await answers(service, 1) == ["one"]
                assert await service.reload() == ""
            await until(lambda: not service.proxy.connections.idle)

    together(test)
