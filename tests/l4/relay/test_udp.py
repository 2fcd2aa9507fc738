"""The UDP relay on loopback: flows, their limits and ends, and headers datagram by datagram."""

from __future__ import annotations

import asyncio
import os
import socket
from contextlib import asynccontextmanager

from lbcore.l4.relay import Limits, Options, Relay, Target, Timeouts
from lbcore.l4.relay import Listener as Where
from lbcore.l4.relay import Pool as Group
from lbcore.l4.relay.counters import Reason
from lbcore.wire import proxy_protocol
from lbcore.wire.proxy_protocol import Header, Inet, encode
from tests.holding import holding
from tests.l4.relay.stage import play, until


@asynccontextmanager
async def socket_of(address=("127.0.0.1", 0), connect=None):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.setblocking(False)
        sock.bind(address)
        if connect:
            sock.connect(connect)
        yield sock


async def ask(sock, data, seconds=5.0):
    loop = asyncio.get_running_loop()
    await loop.sock_sendto(sock, data, sock.getpeername())
    async with asyncio.timeout(seconds):
        return await loop.sock_recv(sock, 65535)


class Echo(asyncio.DatagramProtocol):
    """Answers each datagram with its name and the datagram; remembers whom it heard."""

    def __init__(self, name):
        self.name, self.heard = name, []

    def connection_made(self, transport):
        self.transport = transport

    def datagram_received(self, data, where):
        self.heard.append((where, data))
        self.transport.sendto(self.name + data, where)


@asynccontextmanager
async def stage(*names, pool=None, listener=None, **options):
    loop = asyncio.get_running_loop()
    echoes = [(await loop.create_datagram_endpoint(lambda n=n: Echo(n), ("127.0.0.1", 0)))[1] for n in names]
    targets = [Target(":".join(map(str, e.transport.get_extra_info("sockname")))) for e in echoes]
    told = Options(
        [Where("dns", protocol="udp", **listener or {})],
        [Group(**{"name": "dns", "targets": targets} | (pool or {}))],
        **options,
    )
    try:
        async with Relay(told) as running:
            yield running, echoes
        assert running.counters.open == 0
    finally:
        for echo in echoes:
            echo.transport.abort()
        await asyncio.sleep(0)


def test_each_client_gets_its_own_answers_whole():
    async def scene():
        async with stage(b"a", b"b") as (running, _):
            where = running.addresses[0]

            async def client(number):
                async with socket_of(connect=where) as sock:
                    said = [os.urandom(size) + b"%d" % number for size in (0, 1, 1400, 9000, 60_000)]
                    answers = [await ask(sock, data) for data in said]
                    assert [answer[1:] for answer in answers] == said
                    assert len({answer[:1] for answer in answers}) == 1
                    return answers[0][:1]

            assert {await client(i) for i in range(16)} == {b"a", b"b"}
            assert (running.counters.accepted, running.counters.open) == (16, 16)

    play(scene)


def test_a_flow_ends_by_its_idle_time_and_begins_anew():
    async def scene():
        async with (
            stage(b"a", timeouts=Timeouts(udp_idle=0.4)) as (running, (echo,)),
            socket_of(connect=running.addresses[0]) as busy,
            socket_of(connect=running.addresses[0]) as idle,
        ):
            await ask(idle, b"once")
            for _ in range(8):
                await ask(busy, b"x")
                await asyncio.sleep(0.1)
            assert running.counters.ended == {Reason.IDLE: 1}
            await until(lambda: running.counters.open == 0)
            await ask(idle, b"again")
            assert running.counters.accepted == 3
            ports = [where[1] for where, data in echo.heard if data in (b"once", b"again")]
            assert len(ports) == 2

    play(scene)


def test_a_full_table_refuses_the_new_and_keeps_the_old():
    async def scene():
        async with stage(b"a", limits=Limits(flows=2)) as (running, _):
            where = running.addresses[0]
            async with socket_of(connect=where) as a, socket_of(connect=where) as b, socket_of(connect=where) as c:
                await ask(a, b"1"), await ask(b, b"2")
                c.send(b"3")
                await until(lambda: running.counters.ended[Reason.FULL] == 1)
                assert await ask(a, b"4") == b"a4"
        async with stage(b"a", limits=Limits(per_source=1)) as (running, _):
            where = running.addresses[0]
            async with socket_of(connect=where) as a, socket_of(connect=where) as b:
                await ask(a, b"1")
                b.send(b"2")
                await until(lambda: running.counters.ended[Reason.PER_SOURCE] == 1)
                assert await ask(a, b"4") == b"a4"

    play(scene)


def test_a_port_where_nobody_is_loses_the_flow_and_the_next_datagram_finds_another():
    async def scene():
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as gone:
            gone.bind(("127.0.0.1", 0))
            nobody = f"127.0.0.1:{gone.getsockname()[1]}"
        async with stage(b"a") as (first, _):
            alive = first.options.pools[0].targets[0]
            pool = {"targets": [Target(nobody), alive], "picker": "round_robin"}
            async with stage(pool=pool) as (running, _), socket_of(connect=running.addresses[0]) as sock:
                sock.send(b"lost")
                await until(lambda: running.counters.ended[Reason.RESET] == 1)
                assert await ask(sock, b"found") == b"afound"

    play(scene)


def test_draining_lets_flows_go_on_and_takes_no_new_ones():
    async def scene():
        async with stage(b"a", timeouts=Timeouts(udp_idle=0.5)) as (running, _):
            where = running.addresses[0]
            async with socket_of(connect=where) as old, socket_of(connect=where) as new:
                await ask(old, b"1")
                draining = asyncio.create_task(running.drain(10))
                await asyncio.sleep(0.05)
                new.send(b"2")
                assert await ask(old, b"3") == b"a3"
                assert await draining == 0
                assert running.counters.ended == {Reason.FULL: 1, Reason.IDLE: 1}

    play(scene)


def test_each_datagram_has_its_header_in_and_out():
    async def scene():
        listener, pool = {"accept_proxy": ["127.0.0.1"]}, {"send_proxy": 2, "proxy_extras": ["crc32c"]}
        async with (
            stage(b"a", listener=listener, pool=pool) as (running, (echo,)),
            socket_of(connect=running.addresses[0]) as proxy,
        ):
            here = Inet("203.0.113.80", 53)
            for port in (1000, 1001, 1000):
                header = Header(2, "UDP4", Inet("192.0.2.7", port), here)
                answer = await ask(proxy, encode(header) + b"q%d" % port)
                seen, size = proxy_protocol.parse(answer[1:])
                assert (seen.protocol, seen.source, seen.destination) == ("UDP4", header.source, here)
                assert answer[1 + size :] == b"q%d" % port
            assert running.counters.accepted == 2
            assert len({where for where, _ in echo.heard}) == 2
            for bad in (b"no header", encode(header)[:-1], b""):
                proxy.send(bad)
            await until(lambda: running.counters.ended[Reason.BAD_PROXY] == 3)
        async with (
            stage(b"a", listener={"accept_proxy": ["10.0.0.0/8"]}) as (running, (echo,)),
            socket_of(connect=running.addresses[0]) as stranger,
        ):
            stranger.send(encode(header) + b"spoofed")
            await until(lambda: running.counters.ended[Reason.UNTRUSTED] == 1)
            assert not echo.heard

    play(scene)


def test_every_socket_is_closed():
    async def scene():
        before = holding()
        async with stage(b"a") as (running, _), socket_of(connect=running.addresses[0]) as sock:
            await ask(sock, b"1")
        await until(lambda: holding() <= before)

    play(scene)
