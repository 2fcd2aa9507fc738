"""The load generator keeps its promises: times are times of the plan, and nothing is lost from the count."""

from __future__ import annotations

import asyncio
import itertools
import math
import socket
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lbcore.testbed import backends, rtnetlink, traffic
from lbcore.testbed.hosts import Topology
from tests import needs

SEEDS = st.integers(0, 2**32)


@given(st.floats(1, 2000), st.floats(0.1, 5), SEEDS)
def test_arrivals_are_a_poisson_process_of_that_rate(rate, seconds, seed):
    times = list(traffic.arrivals(rate, seconds, seed=seed))
    assert times == sorted(times)
    assert all(0 < at < seconds for at in times)
    expected = rate * seconds
    assert abs(len(times) - expected) < 7 * math.sqrt(expected) + 7  # seven standard deviations
    assert times == list(traffic.arrivals(rate, seconds, seed=seed))


def test_poisson_gaps_are_exponential_and_constant_ones_constant():
    def variation(process):
        times = list(traffic.arrivals(1000, 20, process=process))
        gaps = [after - before for before, after in itertools.pairwise(times)]
        mean = sum(gaps) / len(gaps)
        return math.sqrt(sum((gap - mean) ** 2 for gap in gaps) / len(gaps)) / mean

    assert variation("poisson") == pytest.approx(1, abs=0.05)
    assert variation("constant") == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("wrong", [{"rate": 0}, {"rate": math.nan}, {"seconds": -1}, {"process": "pareto"}])
def test_arrivals_refuse_what_makes_no_sense(wrong):
    with pytest.raises(ValueError, match="wanted"):
        list(traffic.arrivals(**{"rate": 10, "seconds": 1, **wrong}))


@given(st.lists(st.sampled_from(["fine", "refused", "garbage"]), max_size=30))
def test_every_request_is_answered_or_failed_or_shed(fates):
    pending, recorded = iter(fates), []

    async def request():
        fate = next(pending)
        await asyncio.sleep(0)
        if fate == "refused":
            raise ConnectionRefusedError
        if fate == "garbage":
            raise ValueError
        return fate

    report = asyncio.run(traffic.open_loop(request, [0.0] * len(fates), record=recorded.append))
    assert report.due == len(fates)
    assert report.answered == len(report.answers) == fates.count("fine")
    assert recorded == list(report.latencies)
    assert report.failed.get("ConnectionRefusedError", 0) == fates.count("refused")
    assert report.failed.get("ValueError", 0) == fates.count("garbage")


def test_latency_counts_from_when_a_request_was_due():
    """The generator itself stalls for 0.3 s: a closed loop would call the following requests fast."""
    stalls = iter([0.3])

    async def request():
        time.sleep(next(stalls, 0))  # the whole loop stands still

    report = asyncio.run(traffic.open_loop(request, [0.0, 0.01, 0.1, 0.2]))
    assert [latency > floor for latency, floor in zip(report.latencies, (0.3, 0.29, 0.2, 0.1), strict=True)] == [
        True
    ] * 4
    assert report.late > 0.28


def test_slow_answers_do_not_slow_the_questions_and_too_many_are_shed():
    async def request():
        await asyncio.sleep(0.5)

    start = time.monotonic()
    report = asyncio.run(traffic.open_loop(request, [at / 100 for at in range(10)], limit=6))
    assert (report.answered, report.shed) == (6, 4)
    assert time.monotonic() - start < 0.5 * 6  # one after the other it would take that long


def test_a_request_without_an_answer_fails_in_time():
    async def request():
        await asyncio.sleep(100)

    report = asyncio.run(traffic.open_loop(request, [0.0, 0.0], attempt=0.1))
    assert report.failed == {"TimeoutError": 2}


def test_a_mistake_in_the_request_is_raised_and_not_counted():
    async def request():
        raise KeyError("a bug")

    with pytest.raises(KeyError, match="a bug"):
        asyncio.run(traffic.open_loop(request, [0.0]))


# ----------------------------------------------------------------------------------------------------- through backends
def test_an_http_backend_answers_what_it_understands_and_survives_what_it_does_not():
    async def talk():
        server = await asyncio.start_server(backends.http_handler("b"), "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        async with server:
            for bad, status in ((b"\0\r\n\r\n", b"400"), (b"GET / HTTP/3.0\r\nhost: x\r\n\r\n", b"505")):
                reader, writer = await asyncio.open_connection("127.0.0.1", port)
                writer.write(bad)
                assert (await reader.read()).split()[1] == status
                writer.close()
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            for body in (b"one", b"two"):  # the connection stays
                writer.write(b"POST /p HTTP/1.1\r\nhost: x\r\ncontent-length: 3\r\n\r\n" + body)
                head = await reader.readuntil(b"\r\n\r\n")
                assert f'"body": "{body.decode()}"'.encode() in await reader.readline(), head
            writer.close()
            return await traffic.ask_http("127.0.0.1", port, "/q?a=1")

    said = asyncio.run(talk())
    assert (said["backend"], said["method"], said["path"], said["client"][0]) == ("b", "GET", "/q?a=1", "127.0.0.1")


@needs.linux()
@needs.tier(1)
@pytest.mark.parametrize("kind", ["http", "udp"])
def test_load_on_a_backend_comes_back_whole(kind):
    with Topology() as net:
        client, server = net.lan("client", "server")
        serve = {"http": backends.serve_http, "udp": backends.serve_udp}[kind]
        with serve(server, 8000):
            report = client.run(traffic.load, "10.0.0.2", 8000, rate=100, seconds=1, kind=kind, seed=3)
        assert report.due == len(list(traffic.arrivals(100, 1, seed=3)))
        assert report.answered == report.due, report.failed
        assert len({tuple(said["client"]) for said in report.answers}) > 0.9 * report.due  # a new connection each
        after = client.run(traffic.load, "10.0.0.2", 8000, rate=20, seconds=0.2, process="constant", kind=kind)
        assert after.failed == {"ConnectionRefusedError": 3}  # few: a host sends few ICMP errors at a time


@needs.linux()
@needs.tier(1)
def test_the_blaster_sends_as_many_as_told_in_turn_and_no_longer_than_told():
    frames = [bytes(12) + b"\x88\xb5" + bytes([number]) * 50 for number in range(3)]
    with Topology() as net:
        client, server = net.host("client"), net.host("server")
        net.link(client, server)
        with client.packet_socket() as sender, server.capture() as ear:
            blast = traffic.blast(sender, frames, count=500)
            assert (blast.sent, blast.refused) == (500, 0)
            arrived = [one.frame for one in ear.wait(lambda seen: len(seen) >= 500)]
            assert arrived == [frames[at % 3] for at in range(500)]
            assert traffic.blast(sender, frames, count=10**9, seconds=0.05).sent < 10**9
            assert traffic.blast(sender, frames, count=0).sent == 0
            with pytest.raises(ValueError, match="at least one frame"):
                traffic.blast(sender, [], count=1)
            with pytest.raises(OSError, match=r"[Mm]essage too long"):
                traffic.blast(sender, [bytes(3000)], count=1)
            client.run(rtnetlink.set_up, "eth0", up=False)
            with pytest.raises(OSError, match="down"):
                traffic.blast(sender, frames, count=1)


def test_the_blaster_counts_what_was_refused():
    """A sender whose peer does not read: the buffer fills, and the blast ends by its time."""
    sender, _peer = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    with sender, _peer:
        blast = traffic.blast(sender, [b"x"], count=10**9, seconds=0.1)
        assert blast.sent > 0
        assert blast.refused > 0
