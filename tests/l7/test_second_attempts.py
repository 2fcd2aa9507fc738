"""Requests that wait for a place, and requests that are asked twice: by a file, through the running proxy."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from pathlib import Path

import pytest

from lbcore.l7.program.service import Service
from tests.l7.live import PATIENCE, get, read_request, say, together
from tests.l7.test_pools_in_force import Server, in_force, until
from tests.l7.test_service import LISTEN, body, port_of, serving

FULL = "[pool.breaker]\npool_active = 2\npending = 3\n"
HEDGE = "[pool.hedge]\ndelay = 0.1\n"
TIMEOUTS = "timeouts = { connect = 1.0, head = 0.5, queue = 0.3 }\n"


async def asking(service: Service, *requests: bytes) -> list[bytes]:
    """At once, each on a connection of its own, in this order."""
    tasks = []
    for each in requests:
        tasks.append(asyncio.create_task(say(port_of(service), each)))
        await asyncio.sleep(0.01)
    return list(await asyncio.gather(*tasks))


def statuses(said: list[bytes]) -> list[int]:
    return [int(one[9:12]) for one in said]


async def at_rest(service: Service) -> None:
    """Nothing is left: in the proxy, in the pool, or of those who waited."""
    pool = service.parts.pools["web"]
    await until(lambda: not service.proxy.exchanges)
    shown = pool.snapshot()
    assert (shown["active"], shown["waiting"]) == (0, 0)
    assert [one.active for one in pool.backends] == [0] * len(pool.backends)


def reset(writer: asyncio.StreamWriter) -> None:
    """Leave so that the other side sees it; who only ends its half may still wait for its answer."""
    sock = writer.get_extra_info("socket")
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


# ---- a place in a pool that is full ----


def test_who_finds_the_pool_full_waits_for_a_place(tmp_path: Path) -> None:
    one = Server("one", wait=0.1)

    async def test() -> None:
        async with in_force(tmp_path, FULL, one) as (service, _):
            said = await asking(service, *(get(f"/{number}") for number in range(5)))
            assert statuses(said) == [200] * 5
            assert one.most == 2
            assert [line.split()[1] for line in one.seen] == [b"/%d" % number for number in range(5)]  # in turn
            assert service.parts.pools["web"].requests == 5
            await at_rest(service)

    together(test)


def test_who_finds_the_row_full_is_turned_away_at_once(tmp_path: Path) -> None:
    one = Server("one", wait=0.2)

    async def test() -> None:
        async with in_force(tmp_path, FULL, one) as (service, _):
            said = await asking(service, *(get() for _ in range(8)))
            assert statuses(said) == [200] * 5 + [503] * 3
            assert one.asked == 5
            await at_rest(service)

    together(test)


def test_nobody_waits_longer_than_its_patience(tmp_path: Path) -> None:
    one = Server("one", wait=5.0)

    async def test() -> None:
        timeouts = "timeouts = { head = 1.0, queue = 0.2 }\n"
        async with in_force(tmp_path, timeouts + FULL, one) as (service, _):
            put = b"PUT / HTTP/1.1\r\nhost: a\r\ncontent-length: 3\r\nconnection: close\r\n\r\n"  # the body never comes
            said = await asking(service, get(), get(), get(), put)
            assert statuses(said) == [504, 504, 503, 503]
            assert b"no backend" in said[2]
            assert one.asked == 2
            await at_rest(service)

    together(test)


def test_who_is_called_at_the_last_moment_is_served(tmp_path: Path) -> None:
    """The place and the patience for it come to an end in the same look at the clock: no backend is to blame for it."""
    one = Server("one", wait=9.0)

    async def test() -> None:
        full = "timeouts = { head = 1.5, queue = 1.5 }\n" + FULL.replace("_active = 2", "_active = 1").replace(
            "3", "40"
        )
        async with in_force(tmp_path, full, one) as (service, _):
            pool = service.parts.pools["web"]
            await until_tick(service)
            asked = [asyncio.create_task(say(port_of(service), get(f"/{number}"))) for number in range(12)]
            await until(lambda: pool.snapshot()["waiting"] == 11)
            one.wait = 0.0
            said = statuses(await asyncio.gather(*asked))
            assert said.count(504) == 1
            assert pool.backends[0].errors == 1
            await at_rest(service)

    together(test)


async def until_tick(service: Service) -> None:
    """The proxy has just looked at the clock, and will not for a while."""
    before = service.proxy.now
    await until(lambda: service.proxy.now != before)


def test_who_gives_up_leaves_the_row(tmp_path: Path) -> None:
    one = Server("one", wait=0.3)

    async def test() -> None:
        async with in_force(tmp_path, FULL, one) as (service, _):
            pool = service.parts.pools["web"]
            first = [asyncio.create_task(say(port_of(service), get("/first"))) for _ in range(2)]
            await until(lambda: pool.in_flight == 2)
            _, writer = await asyncio.open_connection("127.0.0.1", port_of(service))
            writer.write(get("/gone"))
            await until(lambda: pool.snapshot()["waiting"] == 1)
            reset(writer)
            await until(lambda: pool.snapshot()["waiting"] == 0)
            assert statuses([*await asyncio.gather(*first), await say(port_of(service), get())]) == [200] * 3
            assert not any(b"/gone" in line for line in one.seen)
            await at_rest(service)

    together(test)


def test_a_body_waits_along(tmp_path: Path) -> None:
    """More than is kept in memory: the client is held back, and all of it arrives."""
    one = Server("one", wait=0.2)
    size = 3_000_000

    async def test() -> None:
        async with in_force(tmp_path, FULL.replace("= 2", "= 1"), one) as (service, _):
            post = b"POST /big HTTP/1.1\r\nhost: a\r\ncontent-length: %d\r\nconnection: close\r\n\r\n" % size
            said = await asking(service, get(), post + bytes(size))
            assert statuses(said) == [200, 200]
            await at_rest(service)

    together(test)


def test_who_waits_over_a_reload_is_served(tmp_path: Path) -> None:
    one = Server("one", wait=0.2)

    async def test() -> None:
        async with in_force(tmp_path, FULL, one) as (service, _):
            asked = [asyncio.create_task(say(port_of(service), get())) for _ in range(5)]
            await until(lambda: service.parts.pools["web"].snapshot()["waiting"] == 3)
            assert await service.reload() == ""
            assert statuses(await asyncio.gather(*asked)) == [200] * 5
            await at_rest(service)

    together(test)


def test_of_many_none_is_forgotten(tmp_path: Path) -> None:
    """Clients that come and go, three times as many as there are places: all are answered, no place is lost."""
    one, two = Server("one", wait=0.002), Server("two", wait=0.004)
    more = "[pool.breaker]\nactive = 2\npending = 100\n"

    async def test() -> None:
        async with in_force(tmp_path, more, one, two) as (service, _):

            async def client(number: int) -> None:
                for turn in range(20):
                    if number % 4 == 3 and turn % 3 == 2:
                        _, writer = await asyncio.open_connection("127.0.0.1", port_of(service))
                        writer.write(get())
                        await asyncio.sleep(0.001 * turn)
                        reset(writer)
                        continue
                    assert statuses([await say(port_of(service), get())]) == [200]

            await asyncio.gather(*(client(number) for number in range(12)))
            assert max(one.most, two.most) <= 2
            await at_rest(service)

    together(test)


# ---- a second attempt beside the first ----


def test_a_slow_one_is_overtaken(tmp_path: Path) -> None:
    one, two = Server("one", wait=3.0), Server("two")

    async def test() -> None:
        async with in_force(tmp_path, HEDGE, one, two) as (service, _):
            pool = service.parts.pools["web"]
            said = await asyncio.wait_for(say(port_of(service), get()), 1.5)
            assert body(said) == "two"
            assert (one.asked, two.asked) == (1, 1)
            await until(lambda: one.gone == 1)  # the other one was cancelled
            assert [backend.total for backend in pool.backends] == [1, 1]
            assert [backend.errors for backend in pool.backends] == [0, 0]  # nobody is to blame
            assert pool.retries.granted == 1
            await at_rest(service)

    together(test)


def test_who_answers_in_time_is_asked_alone(tmp_path: Path) -> None:
    one, two = Server("one", wait=0.02), Server("two", wait=0.02)

    async def test() -> None:
        async with in_force(tmp_path, HEDGE, one, two) as (service, _):
            assert statuses([await say(port_of(service), get()) for _ in range(6)]) == [200] * 6
            assert one.asked + two.asked == 6
            await asyncio.sleep(0.15)
            assert one.asked + two.asked == 6
            await at_rest(service)

    together(test)


def test_the_first_may_still_win(tmp_path: Path) -> None:
    one, two = Server("one", wait=0.25), Server("two", wait=3.0)

    async def test() -> None:
        async with in_force(tmp_path, HEDGE, one, two) as (service, _):
            assert body(await say(port_of(service), get())) == "one"
            assert (one.asked, two.asked) == (1, 1)
            await until(lambda: two.gone == 1)
            await at_rest(service)

    together(test)


def test_off_unless_the_file_says_so(tmp_path: Path) -> None:
    one, two = Server("one", wait=0.4), Server("two")

    async def test() -> None:
        async with in_force(tmp_path, "", one, two) as (service, _):
            assert body(await say(port_of(service), get())) == "one"
            assert two.asked == 0

    together(test)


@pytest.mark.parametrize(
    "request_bytes",
    [
        get().replace(b"GET", b"POST"),
        b"PUT / HTTP/1.1\r\nhost: a\r\ncontent-length: 2\r\nconnection: close\r\n\r\nab",
        b"PUT / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\nconnection: close\r\n\r\n0\r\n\r\n",
    ],
)
def test_what_may_not_be_done_twice_is_asked_once(tmp_path: Path, request_bytes: bytes) -> None:
    one, two = Server("one", wait=0.3), Server("two", wait=0.3)

    async def test() -> None:
        async with in_force(tmp_path, HEDGE, one, two) as (service, _):
            assert statuses([await say(port_of(service), request_bytes)]) == [200]
            assert one.asked + two.asked == 1
            await at_rest(service)

    together(test)


def test_the_budget_holds(tmp_path: Path) -> None:
    one, two = Server("one", wait=0.3), Server("two", wait=0.3)
    more = f"retry = {{ budget = 0.0, per_second = 0.2, window = 10.0 }}\n{HEDGE}"

    async def test() -> None:
        async with in_force(tmp_path, more, one, two) as (service, _):
            assert statuses(await asking(service, *(get() for _ in range(8)))) == [200] * 8
            assert one.asked + two.asked == 10  # two hedges for eight requests that were all slow
            await at_rest(service)

    together(test)


@pytest.mark.parametrize("failing", ["first", "hedge"])
def test_a_failure_is_no_answer(tmp_path: Path, failing: str) -> None:
    """503 of one of the two, while the other one is still at work: the other one's answer is the answer."""
    status = {"first": (503, 200), "hedge": (200, 503)}[failing]
    one, two = Server("one", status=status[0], wait=0.2), Server("two", status=status[1], wait=0.05)
    if failing == "first":
        two.wait = 0.3

    async def test() -> None:
        async with in_force(tmp_path, HEDGE, one, two) as (service, _):
            said = await say(port_of(service), get())
            assert statuses([said]) == [200]
            assert body(said) == {"first": "two", "hedge": "one"}[failing]
            assert (one.asked, two.asked) == (1, 1)
            await at_rest(service)

    together(test)


def test_both_hang(tmp_path: Path) -> None:
    one, two = Server("one", wait=9.0), Server("two", wait=9.0)

    async def test() -> None:
        async with in_force(tmp_path, TIMEOUTS + HEDGE, one, two) as (service, _):
            assert statuses([await say(port_of(service), get())]) == [504]
            await until(lambda: one.gone == two.gone == 1)
            await at_rest(service)

    together(test)


def test_a_client_that_leaves_ends_both(tmp_path: Path) -> None:
    one, two = Server("one", wait=9.0), Server("two", wait=9.0)

    async def test() -> None:
        async with in_force(tmp_path, HEDGE, one, two) as (service, _):
            _, writer = await asyncio.open_connection("127.0.0.1", port_of(service))
            writer.write(get())
            await until(lambda: one.asked == two.asked == 1)
            reset(writer)
            await until(lambda: one.gone == two.gone == 1)
            await at_rest(service)

    together(test)


def test_a_backend_that_cannot_be_reached_is_left_to_the_hedge(tmp_path: Path) -> None:
    """The hedge goes to an address that refuses; the first one answers all the same."""
    one, two = Server("one", wait=0.3), Server("two")

    async def test() -> None:
        async with in_force(tmp_path, HEDGE, one, two) as (service, file):
            file.write_text(file.read_text().replace(f":{two.port}", ":1"))
            assert await service.reload() == ""
            assert [body(await say(port_of(service), get())) for _ in range(4)] == ["one"] * 4
            await at_rest(service)

    together(test)


def test_bodies_of_winners_are_whole(tmp_path: Path) -> None:
    """Keep-alive clients, both backends now fast, now slow: every answer is whole and its own."""
    one, two = Server("one" * 50_000, wait=0.0), Server("two" * 50_000, wait=0.0)

    async def test() -> None:
        async with in_force(tmp_path, "retry = { budget = 1.0 }\n[pool.hedge]\ndelay = 0.01\n", one, two) as (
            service,
            _,
        ):

            async def client() -> None:
                reader, writer = await asyncio.open_connection("127.0.0.1", port_of(service), limit=1 << 20)
                for _ in range(25):
                    writer.write(get(close=False))
                    head = await reader.readuntil(b"\r\n\r\n")
                    assert head.startswith(b"HTTP/1.1 200 ")
                    whole = (await reader.readexactly(150_000)).decode()
                    assert whole in (one.name, two.name)
                    one.wait, two.wait = two.wait, 0.03 - one.wait
                writer.close()

            one.wait = 0.03
            await asyncio.gather(*(client() for _ in range(6)))
            pool = service.parts.pools["web"]
            assert pool.retries.granted > 0
            assert sum(backend.errors for backend in pool.backends) == 0
            await at_rest(service)

    together(test)


@pytest.mark.parametrize("more", [b"HTTP/1.1 200 X\r\ncontent-length: 6\r\n\r\npoison", b""])
def test_the_connection_of_a_winner_is_nobodys_when_it_has_answered(tmp_path: Path, more: bytes) -> None:
    """What comes on it then, unasked or an end, is no answer to the next request, and breaks nobody's connection."""

    class Winner(Server):
        async def talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await read_request(reader)
            writer.write(b"HTTP/1.1 200 X\r\ncontent-length: 3\r\n\r\ntwo")
            await asyncio.sleep(0.05)
            if more:
                writer.write(more)
                await reader.read()

    one, two = Server("one", wait=0.4), Winner("two")

    async def test() -> None:
        async with in_force(tmp_path, HEDGE, one, two) as (service, _):
            reader, writer = await asyncio.open_connection("127.0.0.1", port_of(service))
            for _ in range(4):
                writer.write(get(close=False))
                assert b" 200 " in await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), PATIENCE)
                assert await reader.readexactly(3) in (b"one", b"two")
                await asyncio.sleep(0.1 if more else 0)
            writer.close()
            await at_rest(service)

    together(test)


@pytest.mark.parametrize("answers", ["one", "two"])
def test_over_http2_the_other_stream_is_reset(tmp_path: Path, answers: str) -> None:
    """Backends that speak HTTP/2: the loser's stream ends, its connection stays."""
    waits = {"one": (0.25, 9.0), "two": (9.0, 0.0)}[answers]
    servers = [Server(name, wait=wait) for name, wait in zip(("one", "two"), waits, strict=True)]

    async def test() -> None:
        async with contextlib.AsyncExitStack() as stack:
            inner = []
            for each in servers:
                (tmp_path / each.name).mkdir()
                service, _ = await stack.enter_async_context(in_force(tmp_path / each.name, "", each))
                inner.append(service)
            there = ", ".join(f'{{ address = "127.0.0.1:{port_of(one)}" }}' for one in inner)
            text = f'{LISTEN}[[route]]\npool = "web"\n[[pool]]\nname = "web"\nprotocol = "h2c"\nbackend = [{there}]\n'
            service, _ = await stack.enter_async_context(serving(tmp_path, text + HEDGE))
            assert body(await say(port_of(service), get())) == answers
            await until(lambda: not any(one.proxy.exchanges for one in inner))
            assert [len(one.proxy.clients) for one in inner] == [1, 1]
            await at_rest(service)

    together(test)
