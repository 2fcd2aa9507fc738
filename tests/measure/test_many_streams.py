"""Calls in the manner of gRPC: against grpcio at either end, and what the experiments of the chapter rest on."""

from __future__ import annotations

import asyncio
import contextlib

import grpc
import grpc.aio
import pytest

from lbcore.l7.http2 import frames
from lbcore.measure import calls, downgrade, mishaps, pinned, stream_prices, windows, wiretap
from lbcore.measure.calls import Answer, Service, calling, serving
from lbcore.sim import two_readers
from lbcore.testbed import aside

PATIENCE = 60.0  # seconds; the first proxy of all compiles


def play(scene):
    return asyncio.run(asyncio.wait_for(scene(), PATIENCE))


class Theirs(grpc.GenericRpcHandler):
    """A service of grpcio. Messages are bytes."""

    def service(self, details):
        async def add(request, context):
            if request == b"slow":
                await asyncio.sleep(PATIENCE)
            if request == b"no":
                await context.abort(grpc.StatusCode.NOT_FOUND, "not here")
            return request[::-1]

        return grpc.unary_unary_rpc_method_handler(add)


@contextlib.asynccontextmanager
async def theirs(**options):
    server = grpc.aio.server(options=[(f"grpc.{name}", value) for name, value in options.items()])
    server.add_generic_rpc_handlers((Theirs(),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        yield "127.0.0.1", port
    finally:
        await server.stop(None)


def test_our_caller_and_their_service():
    async def scene():
        async with theirs() as door, calling([door]) as (caller,):
            answers = await asyncio.gather(*(caller.call(message=b"%d-" % n) for n in range(50)))
            assert [(one.status, one.message) for one in answers] == [(0, (b"%d-" % n)[::-1]) for n in range(50)]
            assert (await caller.call(message=b"no"))[0] == 5
            assert (await caller.call(message=b"slow", deadline=0.1)).status == 4
            assert (await caller.call(message=b"ab")).message == b"ba"
            assert caller.opened == 1

    play(scene)


def test_our_caller_waits_for_room_at_their_service():
    async def scene():
        async with theirs(max_concurrent_streams=3) as door, calling([door]) as (caller,):
            answers = await asyncio.gather(*(caller.call(message=b"ab") for _ in range(40)))
            assert {(one.status, one.message) for one in answers} == {(0, b"ba")}
            assert caller.opened == 1

    play(scene)


def test_their_caller_and_our_service():
    async def scene():
        service = Service("one", size=70_000)
        async with serving(service) as ((host, port),):
            async with grpc.aio.insecure_channel(f"{host}:{port}", options=[("grpc.enable_http_proxy", 0)]) as channel:
                call = channel.unary_unary(calls.PATH)
                assert await asyncio.gather(*(call(b"x") for _ in range(20))) == [b"x" * 70_000] * 20
            assert (service.done, service.connections) == (20, 1)

    play(scene)


def test_a_goodbye_costs_no_call():
    async def scene():
        service = Service("one", calls=5)
        async with serving(service) as doors, calling(doors) as (caller,):
            one_by_one = [await caller.call() for _ in range(23)]
            assert {one.status for one in one_by_one} == {0}
            assert caller.opened == 5
            together = await asyncio.gather(*(caller.call() for _ in range(60)))
            assert {one.status for one in together} == {0}

    play(scene)


def test_nobody_listens():
    async def scene():
        async with serving(Service("one")) as doors:
            pass
        async with calling(doors) as (caller,):
            with pytest.raises(OSError):  # noqa: PT011
                await caller.call()

    play(scene)


def test_callers_who_wait_for_room_hear_of_the_end():
    async def scene():
        service = Service("one", work=PATIENCE, streams=2)
        async with serving(service) as doors, calling(doors) as (caller,):
            tasks = [asyncio.create_task(caller.call()) for _ in range(6)]
            while service.now < 2:
                await asyncio.sleep(0.005)
            await service.proxy.close()
            ended = await asyncio.gather(*tasks, return_exceptions=True)
        assert [one.status for one in ended if isinstance(one, Answer)] == [14, 14]
        assert sum(isinstance(one, OSError) for one in ended) == 4  # nobody listens any more

    play(scene)


@pytest.mark.parametrize("clients", [1, 6])
@pytest.mark.parametrize("mode", pinned.MODES)
def test_who_does_the_work(mode, clients):
    seen = pinned.trial(mode, clients=clients, calls=240, backends=3)
    assert seen.failed == 0
    assert seen.shares.sum() == pytest.approx(1)
    if mode == "L4" and clients == 1:
        assert list(seen.shares) == [1, 0, 0]
    if mode in ("L7", "client side"):
        assert seen.shares[0] == pytest.approx(1 / 3)
    wanted = {"client side": 3 * clients, "L4, ageing": 12}.get(mode, clients)
    assert seen.opened == wanted


def test_leaving():
    assert mishaps.leaving("goodbye") == {0: 120}
    cut = mishaps.leaving("cut")
    assert sum(cut.values()) == 120
    assert cut[14] >= 1
    assert set(cut) == {0, 14}


def test_limits_deadlines_deaths():
    assert mishaps.crowd("L4", calls=9, streams=3) == (3, 1)
    assert mishaps.crowd("L7", calls=9, streams=3) == (9, 3)
    for mode in ("L4", "L7"):
        assert mishaps.too_late(mode) == (4, True)
        assert mishaps.dying(mode) == (14, 1)
        assert mishaps.dying(mode, 3) == (0, 2)
    assert mishaps.inside("h2c", calls=5) == (0, 1)
    assert mishaps.inside("h1", calls=5).connections == 5


def test_windows():
    tight = windows.progress(stream=65_535, connection=65_535)
    assert tight[1] == 0
    assert all(0 < tight[number] < 500_000 for number in (3, 5))
    assert windows.progress(stream=65_535, connection=1 << 20) == {1: 0, 3: 500_000, 5: 500_000}
    assert windows.progress(stream=1 << 20, connection=65_535)[3] < 500_000
    # where nothing is larger than the window, nothing stands still
    assert windows.progress(stream=65_535, connection=65_535, streams=2, size=30_000) == {1: 0, 3: 30_000}


@pytest.mark.parametrize("silent", [1, 3, 5, 9])
def test_who_does_not_read_keeps_nobody_waiting(silent):
    status, connections = mishaps.strangers(silent)
    assert status == 0
    assert connections <= silent  # a connection for each would be the other extreme


def test_the_tape_has_the_calls():
    tape = wiretap.calls(b"one", b"two", answer=40_000)
    sent = list(frames.split(tape.sent.removeprefix(frames.PREFACE)))
    assert sum(len(payload) + 9 for *_, payload in sent) + len(frames.PREFACE) == len(tape.sent)
    assert [stream for kind, _, stream, _ in sent if kind == frames.HEADERS] == [1, 3]
    bodies = dict.fromkeys((1, 3), b"")
    order = []
    for kind, _, stream, payload in frames.split(tape.received):
        if kind == frames.DATA:
            bodies[stream] += payload
            order.append(stream)
    assert {len(body) for body in bodies.values()} == {40_005}
    assert order == [1, 3] * 3  # they take turns


def test_careless_is_read_in_two_ways_and_ours_refuses():
    inner = two_readers.INNER
    bad = [
        (downgrade.lines((b"content-length", b"0")), inner),
        (downgrade.lines((b"content-length", b"%d" % (len(inner) + 1))), inner),
        (downgrade.lines((b"x", b"y\r\ntransfer-encoding: chunked")), two_readers.LAST_CHUNK + inner),
        (downgrade.lines((b"transfer-encoding", b"chunked")), two_readers.LAST_CHUNK + inner),
        (downgrade.lines((b"x: y\r\ntransfer-encoding", b"chunked")), two_readers.LAST_CHUNK + inner),
    ]
    for head, body in bad:
        assert downgrade.through(head, body).seen == 0, head
    assert all(len(two_readers.requests(downgrade.careless(*bad[at]), two_readers.BACK)) == 2 for at in (0, 2, 3, 4))
    assert downgrade.through(downgrade.lines((b"content-length", b"%d" % len(inner))), inner) == ("answered by one", 1)


def test_prices_are_of_every_way():
    seen = stream_prices.costs(8, rounds=3)
    assert set(seen.samples) == set(stream_prices.WAYS)
    assert {len(taken) for taken in seen.samples.values()} == {3}
    assert min(min(taken) for taken in seen.samples.values()) > 0
    least = {way: min(taken) for way, taken in seen.samples.items()}
    assert least["relay"] < least["HTTP/2 to HTTP/2"]


def test_run_from_plain_code_twice():
    async def scene():
        async with serving(Service("one")) as doors, calling(doors) as (caller,):
            return (await caller.call()).by

    assert [aside.run(scene()) for _ in range(2)] == ["one", "one"]
