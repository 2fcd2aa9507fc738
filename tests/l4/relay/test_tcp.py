"""The TCP relay on loopback: what passes, what is refused and why, and that nothing stays behind."""

from __future__ import annotations

import asyncio
import os
import resource
import signal
import socket
import struct
import tracemalloc
from contextlib import suppress

import pytest

from lbcore.l4.relay import BadOptions, Limits, Listener, Options, Pool, Relay, Route, Target, Timeouts, sockets
from lbcore.l4.relay.counters import TEXT, Reason
from lbcore.l4.relay.side import Side
from lbcore.l4.relay.side import relay as relayed
from lbcore.wire import proxy_protocol, tls_hello
from lbcore.wire.proxy_protocol import Header, Inet, encode
from tests.holding import holding
from tests.l4.relay import stage
from tests.l4.relay.stage import Backend, Program, hello, in_records, play, relay, talk, until, with_extension

MEGABYTE = os.urandom(1 << 20)


@pytest.fixture(autouse=True, params=sorted(stage.LOOPS))
def on_every_loop(request, monkeypatch):
    """A loop may read before it is asked to, and stop in another order."""
    monkeypatch.setattr(stage, "loop_factory", stage.LOOPS[request.param])


def test_every_reason_has_words():
    assert set(TEXT) == set(Reason)


def test_bytes_arrive_whole_both_ways_and_are_counted():
    async def scene():
        async with Backend("one") as one, relay(one) as running:
            answers = await asyncio.gather(*(talk(running.addresses[0], MEGABYTE) for _ in range(8)))
            assert answers == [b"one\n" + MEGABYTE] * 8
            await until(lambda: running.counters.open == 0)
            counters = running.counters
            assert (counters.accepted, counters.connected, counters.ended) == (8, 8, {Reason.DONE: 8})
            assert (counters.from_clients, counters.from_backends) == (8 << 20, (8 << 20) + 32)
            assert counters.by_backend == {one.address: 8}

    play(scene)


def test_an_end_is_passed_on_and_the_other_way_goes_on():
    """Either side may end first; the other may then say as much as it likes."""

    async def last_word(reader, writer):
        assert await reader.read() == b"question"  # the client's end is seen while its answer has not begun
        writer.write(MEGABYTE)

    async def first_end(reader, writer):
        writer.write_eof()
        said.append(await reader.read())

    said = []

    async def scene():
        async with Backend("late", last_word) as late, relay(late) as running:
            assert await talk(running.addresses[0], b"question") == MEGABYTE
        async with Backend("early", first_end) as early, relay(early) as running:
            reader, writer = await asyncio.open_connection(*running.addresses[0])
            assert await reader.read() == b""
            for _ in range(4):
                writer.write(MEGABYTE)
                await writer.drain()
            writer.close()
            await until(lambda: said)
            assert said == [MEGABYTE * 4]
            await until(lambda: running.counters.ended[Reason.DONE] == 1)

    play(scene)


@pytest.mark.parametrize("word", [b"", b"220 ready\r\n", MEGABYTE[:100_000]])
@pytest.mark.parametrize("ends", [True, False])
def test_a_backend_that_speaks_first_and_ends_at_once(word, ends):
    """All of it arrives, both ends are passed on, and the relay can go: fifty relays, one after the other."""

    async def greets(reader, writer):
        writer.write(word)
        writer.write_eof()
        await reader.read()

    async def scene():
        async with Backend("greets", greets) as backend:
            for _ in range(50):
                async with asyncio.timeout(10), relay(backend) as running:
                    said = await asyncio.gather(*(talk(running.addresses[0], b"", end=ends) for _ in range(2)))
                    assert said == [word, word]
                    assert await running.drain(5) == 0
                    assert running.counters.ended == {Reason.DONE: 2}

    play(scene)


def test_ends_that_came_before_the_two_were_joined():
    """Nobody will say so again: the relay has to end by itself, not by the idle time."""

    async def scene():
        sides = []
        for _ in range(2):
            ours, theirs = socket.socketpair()
            with theirs:
                ours.setblocking(False)
                theirs.sendall(b"x")
            _, side = await asyncio.get_running_loop().connect_accepted_socket(lambda: Side(lambda size: None), ours)
            assert [await side.read(), await side.read()] == [b"x", b""]
            sides.append(side)
        assert await asyncio.wait_for(relayed(*sides, b"", 60.0), 10) is Reason.DONE

    play(scene)


def test_a_break_is_passed_on_as_a_break():
    async def breaks(reader, writer):
        writer.write(b"half of")
        await writer.drain()
        await reader.readexactly(1)
        writer.transport.get_extra_info("socket").setsockopt(
            socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0)
        )
        writer.transport.abort()

    async def scene():
        async with Backend("breaks", breaks) as backend, relay(backend) as running:
            reader, writer = await asyncio.open_connection(*running.addresses[0])
            assert await reader.readexactly(7) == b"half of"
            writer.write(b"x")
            with pytest.raises(ConnectionResetError):
                await reader.read()
            writer.close()
            await until(lambda: running.counters.ended[Reason.RESET] == 1)

    play(scene)


def test_a_slow_reader_costs_constant_memory():
    """A backend offers 64 MB to a client that does not read: the relay holds a chunk, and the sender is held up."""
    sent = 0

    async def pours(reader, writer):
        nonlocal sent
        while sent < 64:
            writer.write(MEGABYTE)
            await writer.drain()
            sent += 1

    async def scene():
        async with Backend("pours", pours) as backend, relay(backend) as running:
            tracemalloc.start()
            reader, writer = await asyncio.open_connection(*running.addresses[0], limit=1 << 16)
            before = -1
            while before != running.counters.from_backends or not before:
                before = running.counters.from_backends
                await asyncio.sleep(0.3)
            _, peak = tracemalloc.get_traced_memory()
            tracemalloc.stop()
            assert sent < 64
            # one chunk of the relay (256 KB), what asyncio's own streams of both ends hold (a megabyte), and no more
            assert peak < 3 << 20, peak
            total = 0
            while data := await reader.read(1 << 16):
                total += len(data)
            assert total == 64 << 20
            writer.close()

    play(scene)


def test_idle_connections_end_and_busy_ones_do_not():
    async def scene():
        async with Backend("one") as one, relay(one, timeouts=Timeouts(idle=0.4)) as running:
            reader, writer = await asyncio.open_connection(*running.addresses[0])
            quiet, silent = await asyncio.open_connection(*running.addresses[0])
            assert await reader.readline() == await quiet.readline() == b"one\n"
            for _ in range(8):
                writer.write(b"x")
                assert await reader.readexactly(1) == b"x"
                await asyncio.sleep(0.1)
            with pytest.raises(ConnectionResetError):
                await quiet.read()
            assert running.counters.ended == {Reason.IDLE: 1}
            with pytest.raises(ConnectionResetError):
                await reader.read()
            writer.close()
            silent.close()

    play(scene)


def closed_port() -> str:
    with socket.create_server(("127.0.0.1", 0)) as gone:
        return f"127.0.0.1:{gone.getsockname()[1]}"


@pytest.mark.parametrize(
    "picker", ["maglev", "ring", "round_robin", "least_connections", "power_of_two", "smooth_weighted"]
)
def test_a_backend_that_is_gone_costs_nobody_an_answer(picker):
    async def scene():
        async with Backend("alive") as alive:
            targets = [Target(closed_port()), Target(alive.address), Target(closed_port())]
            pool = {"targets": targets, "picker": picker}
            async with relay(pool=pool, timeouts=Timeouts(rest=0.0)) as running:
                answers = [await talk(running.addresses[0], b"hi") for _ in range(20)]
                assert answers == [b"alive\nhi"] * 20
                assert running.counters.retries > 0
                backends = running.groups["web"].backends
                await until(lambda: running.counters.open == 0)
                assert backends.open == [0, 0, 0]
            async with relay(pool=pool, timeouts=Timeouts(rest=60.0)) as running:
                for _ in range(20):
                    await talk(running.addresses[0], b"hi")
                assert running.counters.retries <= 2  # each of the two is found out once

    play(scene)


def test_when_no_backend_answers_the_client_is_told():
    async def scene():
        async with relay(pool={"targets": [Target(closed_port()), Target(closed_port())]}) as running:
            with pytest.raises(ConnectionResetError):
                await talk(running.addresses[0], b"hi")
            await until(lambda: running.counters.open == 0)
            assert running.counters.ended == {Reason.NO_BACKEND: 1}

    play(scene)


def test_a_backend_that_does_not_answer_is_given_up_in_time():
    """A listener whose queue is full: the kernel drops further SYNs, as a dead host would."""

    async def scene():
        with socket.socket() as full, socket.socket() as first, socket.socket() as second:
            full.bind(("127.0.0.1", 0))
            full.listen(0)
            for filler in (first, second):
                filler.setblocking(False)
                filler.connect_ex(full.getsockname())
            silent = f"127.0.0.1:{full.getsockname()[1]}"
            async with Backend("alive") as alive:
                pool = {"targets": [Target(silent), Target(alive.address)], "picker": "round_robin"}
                async with relay(pool=pool, timeouts=Timeouts(connect=0.2)) as running:
                    assert await talk(running.addresses[0], b"hi") == b"alive\nhi"
                    assert running.counters.retries == 1

    play(scene)


def test_one_source_cannot_have_more_than_its_share_and_the_whole_waits_in_the_queue():
    async def scene():
        async with Backend("one") as one:
            async with relay(one, limits=Limits(per_source=3)) as running:
                held = [await asyncio.open_connection(*running.addresses[0]) for _ in range(3)]
                for reader, _ in held:
                    await reader.readline()
                with pytest.raises(ConnectionResetError):
                    await talk(running.addresses[0])
                await until(lambda: running.counters.ended[Reason.PER_SOURCE] == 1)
                held[0][1].close()
                await until(lambda: running.counters.open == 2)
                assert await talk(running.addresses[0], b"again") == b"one\nagain"
                for _, writer in held[1:]:
                    writer.close()
            async with relay(one, limits=Limits(connections=2)) as running:
                answers = await asyncio.gather(*(talk(running.addresses[0], b"%d" % i) for i in range(20)))
                assert answers == [b"one\n%d" % i for i in range(20)]
                reader, writer = await asyncio.open_connection(*running.addresses[0])
                other, closer = await asyncio.open_connection(*running.addresses[0])
                await reader.readline(), await other.readline()
                waiting = asyncio.create_task(talk(running.addresses[0], b"late"))
                await asyncio.sleep(0.2)
                assert running.counters.open == 2
                assert not waiting.done()
                writer.close()
                assert await waiting == b"one\nlate"
                closer.close()

    play(scene)


def test_draining_takes_nobody_new_and_lets_the_old_finish():
    async def scene():
        async with Backend("one") as one, relay(one) as running:
            reader, writer = await asyncio.open_connection(*running.addresses[0])
            await reader.readline()
            draining = asyncio.create_task(running.drain(10.0))
            await asyncio.sleep(0.1)
            with pytest.raises(ConnectionRefusedError):
                await talk(running.addresses[0])
            writer.write(b"last words")
            writer.write_eof()
            assert await reader.read() == b"last words"
            writer.close()
            assert await draining == 0
            assert running.counters.ended == {Reason.DONE: 1}
        async with Backend("two") as two, relay(two) as running:
            reader, writer = await asyncio.open_connection(*running.addresses[0])
            await reader.readline()
            assert await running.drain(0.2) == 1
            await running.close()
            assert running.counters.ended == {Reason.CUT: 1}
            with pytest.raises(ConnectionResetError):
                await reader.read()
            writer.close()

    play(scene)


@pytest.mark.parametrize("turns", range(6))
@pytest.mark.parametrize("first", ["clients", "drain"])
def test_draining_serves_those_whom_the_kernel_has_let_in_already(first, turns):
    """Whatever turn of the loop they come in: who is not refused is served."""

    async def scene():
        async with Backend("one") as one, relay(one) as running:
            clients = []
            draining = asyncio.create_task(running.drain(10.0)) if first == "drain" else None
            for _ in range(turns * (first == "drain")):
                await asyncio.sleep(0)
            with suppress(ConnectionRefusedError):
                clients = [socket.create_connection(running.addresses[0]) for _ in range(3)]
            assert clients or (first == "drain" and turns > 0)
            for _ in range(turns * (first == "clients")):
                await asyncio.sleep(0)
            draining = draining or asyncio.create_task(running.drain(10.0))
            loop = asyncio.get_running_loop()
            for client in reversed(clients):
                client.setblocking(False)
                await loop.sock_sendall(client, b"hi")
                client.shutdown(socket.SHUT_WR)
                got = b""
                while data := await loop.sock_recv(client, 100):
                    got += data
                assert got == b"one\nhi"
                client.close()
            assert await draining == 0

    play(scene)


def test_a_draining_backend_keeps_its_connections_and_gets_no_more():
    async def scene():
        async with Backend("a") as a, Backend("b") as b, relay(a, b, pool={"picker": "round_robin"}) as running:
            reader, writer = await asyncio.open_connection(*running.addresses[0])
            assert await reader.readline() == b"a\n"
            running.set_state(a.address, "draining")
            assert {await talk(running.addresses[0]) for _ in range(6)} == {b"b\n"}
            writer.write(b"still here")
            assert await reader.readexactly(10) == b"still here"
            running.set_state(a.address, "active")
            assert {await talk(running.addresses[0]) for _ in range(6)} == {b"a\n", b"b\n"}
            writer.close()
            with pytest.raises(BadOptions, match="one of 127"):
                running.set_state("10.0.0.1:1", "active")

    play(scene)


# ------------------------------------------------------------------------------------------------- names and protocols
@pytest.mark.parametrize("size", [1, 7, 100, 100_000])
def test_the_hello_decides_and_arrives_untouched_however_it_is_cut(size):
    async def scene():
        async with Backend("web") as web, Backend("api") as api, Backend("h2") as h2:
            pools = [Pool(b.name, [Target(b.address)]) for b in (web, api, h2)]
            routes = [Route("api", names=["api.example", "*.api.example"]), Route("h2", alpn=["h2"])]
            async with Relay(Options([Listener("web", routes=routes)], pools)) as running:
                for name, alpn, wanted in (
                    ("shop.example", ("http/1.1",), b"web"),
                    ("api.example", ("h2",), b"api"),
                    ("v1.eu.api.example", ("h2",), b"api"),
                    ("shop.example", ("http/1.1", "h2"), b"h2"),
                    (None, (), b"web"),
                ):
                    data = hello(name, alpn)
                    reader, writer = await asyncio.open_connection(*running.addresses[0])
                    for at in range(0, len(data), size):
                        writer.write(data[at : at + size])
                        await asyncio.sleep(0)
                    writer.write(b"and more")
                    writer.write_eof()
                    assert await reader.read() == wanted + b"\n" + data + b"and more"
                    writer.close()

    play(scene)


def test_an_encrypted_hello_goes_by_its_outer_name_and_is_counted():
    ech = b"\0" + bytes.fromhex("00010001 07 0020") + bytes(32) + bytes.fromhex("0010") + bytes(16)
    data = in_records(with_extension(hello("front.example"), tls_hello.ECH, ech))

    async def scene():
        async with Backend("front") as front, Backend("plain") as plain:
            pools = [Pool(b.name, [Target(b.address)]) for b in (front, plain)]
            routes = [Route("front", names=["front.example"], ech=True), Route("plain", names=["front.example"])]
            async with Relay(Options([Listener(routes=routes)], pools)) as running:
                assert await talk(running.addresses[0], data) == b"front\n" + data
                assert (await talk(running.addresses[0], hello("front.example"))).startswith(b"plain\n")
                assert running.counters.ech == 1

    play(scene)


@pytest.mark.parametrize(
    ("data", "end", "reason"),
    [
        (b"GET / HTTP/1.1\r\n\r\n", False, Reason.BAD_HELLO),
        (b"\x16\x03\x01\x02", True, Reason.SHORT),
        (b"\x16\x03\x01\x02", False, Reason.SLOW),
        (b"", False, Reason.SLOW),
        (None, False, Reason.NO_ROUTE),
    ],
)
def test_a_client_that_shows_no_name_for_us_is_refused_for_a_reason(data, end, reason):
    async def scene():
        async with Backend("web") as web:
            listener = {"pool": "", "routes": [Route("web", names=["shop.example"])]}
            async with relay(web, listener=listener, timeouts=Timeouts(opening=0.3)) as running:
                with pytest.raises(ConnectionResetError):
                    await talk(running.addresses[0], hello("other.example") if data is None else data, end=end)
                await until(lambda: running.counters.open == 0)
                assert running.counters.ended == {reason: 1}
                assert web.seen == 0

    play(scene)


# ------------------------------------------------------------------------------------------------------ PROXY protocol
async def shows_header(reader, writer):
    """Answers with the header it got, in words, then echoes."""
    data = b""
    while True:
        data += await reader.read(1)
        try:
            header, _ = proxy_protocol.parse(data)
            break
        except proxy_protocol.Incomplete:
            continue
    writer.write(repr(header).encode() + b"\n")
    while more := await reader.read(65536):
        writer.write(more)


FAR = Header(2, "TCP6", Inet("2001:db8::1", 50000), Inet("2001:db8::2", 443), (proxy_protocol.Tlv(0xE0, b"ours"),))


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize(
    "earlier",
    [None, FAR, Header(1, "TCP4", Inet("192.0.2.1", 1), Inet("192.0.2.2", 2)), Header(2, command="LOCAL"), Header(1)],
)
def test_who_the_client_is_passes_through(version, earlier):
    async def scene():
        async with Backend("web", shows_header) as web:
            listener = {"accept_proxy": ["127.0.0.0/8"]} if earlier else {}
            extras = ["crc32c", "unique_id", "forward"] if version == 2 else []
            async with relay(web, listener=listener, pool={"send_proxy": version, "proxy_extras": extras}) as running:
                reader, writer = await asyncio.open_connection(*running.addresses[0])
                for byte in encode(earlier) + b"data" if earlier else b"data":
                    writer.write(bytes([byte]))
                    await asyncio.sleep(0)
                writer.write_eof()
                shown = eval((await reader.readline()).decode(), vars(proxy_protocol))  # our own repr
                assert await reader.read() == b"data"
                known = earlier and earlier.source
                me, there = Inet(*writer.get_extra_info("sockname")), Inet(*running.addresses[0])
                assert (shown.version, shown.command) == (version, "PROXY")
                assert shown.source == (earlier.source if known else me)
                assert shown.destination == (earlier.destination if known else there)
                kinds = [tlv.kind for tlv in shown.tlvs]
                assert kinds == ([0xE0] * (earlier is FAR) + [5, 3] if version == 2 else [])
                writer.close()

    play(scene)


@pytest.mark.parametrize(
    ("trusted", "data", "reason"),
    [
        (["10.0.0.0/8", "2001:db8::/32"], encode(FAR), Reason.UNTRUSTED),
        (["127.0.0.1"], b"GET / HTTP/1.1\r\n", Reason.BAD_PROXY),
        (["127.0.0.1"], b"PROXY TCP4 1.2.3.4 1.2.3.4 1 99999\r\n", Reason.BAD_PROXY),
        (["127.0.0.1"], b"PROX", Reason.SHORT),
    ],
)
def test_a_header_is_taken_from_those_alone_who_must_send_one(trusted, data, reason):
    async def scene():
        async with Backend("web") as web, relay(web, listener={"accept_proxy": trusted}) as running:
            with pytest.raises(ConnectionResetError):
                await talk(running.addresses[0], data)
            await until(lambda: running.counters.open == 0)
            assert (running.counters.ended, web.seen) == ({reason: 1}, 0)

    play(scene)


def test_header_and_hello_in_one_and_the_limit_is_the_clients():
    async def scene():
        async with Backend("web", shows_header) as web:
            listener = {"accept_proxy": ["127.0.0.1"], "routes": [Route("web", names=["shop.example"])]}
            pool = {"send_proxy": 2, "proxy_extras": ["authority"]}
            async with relay(web, listener=listener, pool=pool, limits=Limits(per_source=1)) as running:
                reader, writer = await asyncio.open_connection(*running.addresses[0])
                writer.write(encode(FAR) + hello())
                assert b"shop.example" in await reader.readline()
                with pytest.raises(ConnectionResetError):  # the same client by way of the same proxy
                    await talk(running.addresses[0], encode(FAR) + hello())
                other = Header(2, "TCP6", Inet("2001:db8::9", 1), FAR.destination)
                assert b"2001:db8::9" in await talk(running.addresses[0], encode(other) + hello())
                writer.close()

    play(scene)


# ------------------------------------------------------------------------------------------------------ bad days
def test_out_of_descriptors_those_who_wait_are_served_later():
    """With descriptors for a quarter of the clients, all are served and nobody is broken off."""

    async def scene():
        async with Backend("one") as one:
            told = Options([Listener("web")], [Pool("web", [Target(one.address)])], Limits(connections=10_000))
            with Program(told, descriptors=30) as program:
                address = await asyncio.to_thread(program.address)
                answers = await asyncio.gather(*(talk(address, b"%d" % i) for i in range(60)))
                assert answers == [b"one\n%d" % i for i in range(60)]
                program.process.send_signal(signal.SIGTERM)
                counters = await asyncio.to_thread(program.counters)
            assert counters["pauses"] > 0
            assert counters["ended"] == {"done": 60}

    play(scene)


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM"])
def test_a_signal_drains_and_a_second_one_ends_it(name):
    async def scene():
        async with Backend("one") as one:
            told = Options([Listener("web")], [Pool("web", [Target(one.address)])])
            with Program(told) as program:
                address = await asyncio.to_thread(program.address)
                reader, writer = await asyncio.open_connection(*address)
                await reader.readline()
                program.process.send_signal(getattr(signal, name))
                while True:
                    try:
                        await talk(address)
                    except ConnectionRefusedError:
                        break
                    except ConnectionResetError:  # between the last accept and the close, as tcp.py's trap says
                        continue
                writer.write(b"still")
                assert await reader.readexactly(5) == b"still"
                program.process.send_signal(getattr(signal, name))
                with pytest.raises(ConnectionResetError):
                    await reader.read()
                counters = await asyncio.to_thread(program.counters)
                assert (counters["open"], counters["ended"]["cut"], program.process.wait(5)) == (0, 1, 0)
                writer.close()

    play(scene)


@pytest.mark.parametrize("how", ["return", "error", "cancel"])
def test_however_it_ends_every_socket_is_closed(how):
    async def scene():
        async with Backend("one") as one:
            before = holding()
            ends = []

            async def life():
                async with relay(one, timeouts=Timeouts(opening=60)) as running:
                    ends.append(await asyncio.open_connection(*running.addresses[0]))
                    ends.append(await asyncio.open_connection(*running.addresses[0]))
                    if how == "error":
                        raise ZeroDivisionError
                    if how == "cancel":
                        await running.until_stopped()

            task = asyncio.create_task(life())
            if how == "cancel":
                await until(lambda: len(ends) == 2)
                task.cancel()
            await asyncio.wait([task])
            for reader, writer in ends:
                with pytest.raises(ConnectionResetError):
                    await reader.read()
                writer.close()
            await until(lambda: not one.writers)
            await until(lambda: holding() <= before)
            assert task.cancelled() if how == "cancel" else bool(task.exception()) == (how == "error")

    play(scene)


def test_if_one_listener_cannot_be_had_none_stays():
    async def scene():
        with socket.create_server(("127.0.0.1", 0)) as taken:
            before = holding()
            address = f"127.0.0.1:{taken.getsockname()[1]}"
            told = Options([Listener("web"), Listener("web", address)], [Pool("web", [Target("127.0.0.1:1")])])
            with pytest.raises(OSError, match="in use"):
                async with Relay(told):
                    pass
            assert holding() <= before

    play(scene)


def test_the_limit_leaves_room_for_both_ends():
    assert 1 <= sockets.connections_possible() <= resource.getrlimit(resource.RLIMIT_NOFILE)[0] // 2
