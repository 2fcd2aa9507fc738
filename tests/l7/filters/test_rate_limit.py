"""Token buckets: how many pass, whose bucket it is, and two proxies that share one in a real Redis."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import shutil
import socket
import subprocess
import time

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lbcore.l7 import notes
from lbcore.l7.filters.jwt import CLAIMS
from lbcore.l7.filters.rate_limit import RateLimit, RateLimitOptions
from lbcore.l7.filters.rate_redis import Redis
from lbcore.l7.filters.rate_store import Memory, Unreachable, left
from lbcore.l7.message import Response
from lbcore.testbed.ports import free_ports
from tests.l7.fakes import FakeExchange, request
from tests.l7.live import OK, answering, backend, get, proxying, say, together

OPTIONS = RateLimitOptions(rate=1, burst=3)


class Clock:
    now = 1000.0

    def __call__(self):
        return self.now


class Bucket:
    """The picture of the textbook: a number of tokens, and when it was looked at."""

    def __init__(self, rate, burst, now):
        self.rate, self.burst, self.tokens, self.at = rate, burst, burst, now

    def take(self, now):
        self.tokens = min(self.burst, self.tokens + (now - self.at) * self.rate)
        self.at = now
        if self.tokens >= 1 - 1e-6:
            self.tokens -= 1
            return True
        return False


@given(
    st.sampled_from([0.1, 0.5, 1, 3, 250]),
    st.integers(1, 20),
    st.lists(st.tuples(st.sampled_from(b"abc"), st.integers(0, 5000)), max_size=80),
)
def test_it_is_the_bucket_of_the_textbook(rate, burst, steps):
    clock = Clock()
    store = Memory(rate, burst, 100, clock)
    buckets = {}
    for key, milliseconds in steps:
        clock.now += milliseconds / 1000
        bucket = buckets.setdefault(key, Bucket(rate, burst, clock.now))
        passes = bucket.take(clock.now)
        debt = store.take(bytes([key]))
        assert (debt <= 0) == passes
        assert left(debt, rate) == pytest.approx(max(bucket.tokens, 0), abs=1e-3)
        if not passes:
            assert debt == pytest.approx((1 - bucket.tokens) / rate, abs=1e-3)


@given(st.lists(st.floats(0, 3), min_size=1, max_size=100))
def test_never_more_than_burst_and_rate_allow_in_any_window(pauses):
    clock, passed = Clock(), []
    store = Memory(2.0, 5, 10, clock)
    for pause in pauses:
        clock.now += pause
        if store.take(b"k") <= 0:
            passed.append(clock.now)
    for first, start in enumerate(passed):
        for last, end in enumerate(passed[first:], first):
            assert last - first + 1 <= 5 + 2 * (end - start) + 1e-6


def test_the_table_is_bounded_and_who_asked_last_stays():
    store = Memory(1, 1, 100, Clock())
    for number in range(1000):
        store.take(b"%d" % number)
        assert store.take(b"0") > 0  # asked all the time, so never forgotten
    assert len(store) == 100


def through(one, exchange):
    return exchange.passes(one)


def test_the_answer_says_how_long_and_how_much():
    clock = Clock()
    one = RateLimit(RateLimitOptions(rate=0.5, burst=2), clock)
    said = [through(one, FakeExchange(request())) for _ in range(4)]
    assert [answer.status for answer in said] == [200, 200, 429, 429]
    assert [answer.headers.get(b"ratelimit") for answer in said] == [
        b'"default";r=%d;t=%d' % pair for pair in ((1, 2), (0, 4), (0, 4), (0, 4))
    ]
    assert said[0].headers.get(b"ratelimit-policy") == b'"default";q=2;w=4'
    assert said[2].headers.get(b"retry-after") == b"2"
    clock.now += 2.0
    assert through(one, FakeExchange(request())).status == 200
    assert one.counts == {"passed": 3, "refused": 2, "store_failed": 0}


def test_no_fields_if_they_are_not_wanted():
    one = RateLimit(msgspec.structs.replace(OPTIONS, fields=False), Clock())
    assert b"ratelimit" not in through(one, FakeExchange(request())).headers


def served(options, exchanges):
    """How many of them pass."""
    one = RateLimit(options, Clock())
    return sum(through(one, exchange).status == 200 for exchange in exchanges)


def by(kind, name="", **more):
    return RateLimitOptions(rate=1, burst=1, by=kind, name=name, **more)


def test_by_client_as_far_as_it_is_believed():
    def behind_a_proxy(address):
        exchange = FakeExchange(request(address="10.0.0.1"))
        exchange.notes[notes.CLIENT] = notes.Client(address, b"http", b"a", 80)
        return exchange

    assert served(by("client"), [FakeExchange(request(address=f"192.0.2.{n}")) for n in (1, 2, 1)]) == 2
    assert served(by("client"), [behind_a_proxy(f"192.0.2.{n}") for n in (1, 2, 1)]) == 2
    lies = [FakeExchange(request(b"/", (b"x-forwarded-for", b"%d" % n))) for n in range(5)]
    assert served(by("client"), lies) == 1


def test_addresses_of_one_network_are_one_client():
    own = [FakeExchange(request(address=f"2001:db8::{n:x}")) for n in range(50)]
    other = [FakeExchange(request(address=f"2001:db8:0:{n:x}::1")) for n in range(1, 4)]
    assert served(by("client"), own + other) == 4
    assert served(by("client", ipv6_prefix=128), own) == 50
    mapped = [FakeExchange(request(address=f"::ffff:192.0.2.{n}")) for n in (1, 2)]
    assert served(by("client"), [*mapped, FakeExchange(request(address="192.0.2.1"))]) == 2


@pytest.mark.parametrize(
    ("options", "make"),
    [
        (by("header", "X-Api-Key"), lambda n: FakeExchange(request(b"/", (b"x-api-key", b"key%d" % n)))),
        (by("header", "X-Api-Key"), lambda n: FakeExchange(request(b"/", (b"x-api-key", b"k" * 5000 + b"%d" % n)))),
        (by("cookie", "Id"), lambda n: FakeExchange(request(b"/", (b"cookie", b"a=1; Id=%d; id=0" % n)))),
        (by("claim", "sub"), lambda n: FakeExchange(request(), notes={CLAIMS: {"sub": f"user{n}"}})),
        (by("claim", "groups"), lambda n: FakeExchange(request(), notes={CLAIMS: {"groups": [n]}})),
        (by("route"), lambda n: FakeExchange(request(address=f"192.0.2.{n}0"), route=f"route{n}")),
    ],
)
def test_other_keys(options, make):
    assert served(options, [make(n) for n in (1, 2, 1, 3, 2)]) == 3


@pytest.mark.parametrize(("missing", "passed"), [("client", 1), ("pass", 4), ("refuse", 0)])
@pytest.mark.parametrize("kind", ["header", "cookie", "claim"])
def test_leaving_the_key_out(kind, missing, passed):
    assert served(by(kind, "x-key", missing=missing), [FakeExchange(request()) for _ in range(4)]) == passed


def test_a_header_that_spells_an_address_is_another_bucket_than_the_address():
    one = RateLimit(by("header", "x-key"), Clock())
    assert through(one, FakeExchange(request(b"/", (b"x-key", b"192.0.2.7")))).status == 200
    assert through(one, FakeExchange(request())).status == 200


@pytest.mark.parametrize(
    "options",
    [
        {"rate": 0},
        {"rate": float("nan")},
        {"rate": float("inf")},
        {"burst": 0},
        {"by": "header"},
        {"name": "x"},
        {"by": "header", "name": "host"},
        {"by": "cookie", "name": "a b"},
        {"policy": 'a"'},
        {"limit": 0},
        {"redis": "http://hunter2@x"},
        {"redis": "redis://[x"},
        {"redis": "redis://:a:hunter2/@x"},
        {"redis": "redis://x", "redis_file": "y"},
        {"timeout": 0},
        {"ipv6_prefix": 0},
    ],
)
def test_options_are_checked(options):
    with pytest.raises(ValueError, match="must") as caught:
        RateLimitOptions(**({"rate": 1, "burst": 1} | options))
    assert "hunter2" not in str(caught.value)


def test_secrets_are_not_shown():
    assert "hunter2" not in repr(RateLimitOptions(rate=1, burst=1, redis="redis://:hunter2@127.0.0.1"))


# ---- a real Redis ----


@pytest.fixture(scope="module")
def redis():
    """Address of a server that ends with this module."""
    program = shutil.which("redis-server")
    if program is None:
        pytest.fail("redis-server is not installed; .ci/run installs it")
    (port,) = free_ports(1)
    process = subprocess.Popen(
        [program, "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"],
        stdout=subprocess.DEVNULL,
    )
    try:
        for _ in range(200):
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1) as one:
                one.sendall(b"PING\r\n")
                if one.recv(7) == b"+PONG\r\n":
                    break
            time.sleep(0.02)
        yield f"redis://127.0.0.1:{port}/0"
    finally:
        process.terminate()
        process.wait(10)


def shared(url, name, **more):
    """Time enough for a machine that does other things."""
    return RateLimitOptions(**({"rate": 0.01, "burst": 20, "redis": url, "policy": name, "timeout": 5.0} | more))


def test_two_proxies_share_one_limit(redis):
    async def main():
        one, two = (RateLimit(shared(redis, "two")) for _ in range(2))
        async with (
            backend(answering(OK)) as behind,
            proxying(behind, filters=(one,)) as (_, first),
            proxying(behind, filters=(two,)) as (_, second),
        ):
            answers = await asyncio.gather(*(say(port, get()) for port in (first, second) for _ in range(20)))
            last = await say(first, get())
        one.close()
        two.close()
        await asyncio.gather(one._store._closing, two._store._closing)
        return answers, last, one.counts["passed"], two.counts["passed"]

    answers, last, one, two = together(main)
    assert sum(answer.startswith(b"HTTP/1.1 200 ") for answer in answers) == 20
    assert sum(answer.startswith(b"HTTP/1.1 429 ") for answer in answers) == 20
    assert one + two == 20
    assert min(one, two) > 0
    assert b"retry-after: " in last
    assert b'ratelimit-policy: "two";q=20;w=2000' in last


@given(st.lists(st.sampled_from([b"a", b"b"]), max_size=12), st.integers(1, 5))
@settings(max_examples=20, deadline=None)
def test_redis_counts_as_memory_does(redis, keys, burst):
    async def main():
        name = b"same:%d:" % time.monotonic_ns()
        store = Redis(0.001, burst, redis, name, timeout=5.0, pause=1.0)
        memory = Memory(0.001, burst, 100, Clock())
        try:
            for key in keys:
                asked, wanted = await store.take(key), memory.take(key)
                assert (asked <= 0) == (wanted <= 0)
                assert left(asked, 0.001) == pytest.approx(left(wanted, 0.001), abs=0.1)
                assert asked == pytest.approx(wanted, abs=60)
        finally:
            await store._client.aclose()

    asyncio.run(main())


def test_a_bucket_in_redis_fills_and_is_forgotten_when_full(redis):
    async def main():
        store = Redis(20, 2, redis, b"fills:", timeout=5.0, pause=1.0)
        debts = [await store.take(b"k") for _ in range(3)]
        assert [debt > 0 for debt in debts] == [False, False, True]
        await asyncio.sleep(debts[2] + 0.01)
        assert await store.take(b"k") <= 0
        await asyncio.sleep(0.2)
        assert await store._client.exists(b"fills:k") == 0
        await store._client.set(b"fills:k", "999999999999999999")  # of a clock that was set back
        assert 0 < await store.take(b"k") < 0.2
        await store._client.script_flush()  # it was started anew
        assert await store.take(b"other") <= 0
        await store._client.aclose()

    asyncio.run(main())


@contextlib.asynccontextmanager
async def silent():
    """A server that takes connections and says nothing."""
    got = asyncio.Event()

    async def serve(reader, writer):
        got.set()
        with contextlib.suppress(ConnectionError):
            await reader.read()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield f"redis://127.0.0.1:{server.sockets[0].getsockname()[1]}"


@pytest.mark.parametrize(("on_failure", "status"), [("pass", 200), ("refuse", 503)])
@pytest.mark.parametrize("how", ["silent", "gone"])
def test_a_store_that_does_not_answer(on_failure, status, how, caplog):
    caplog.set_level(logging.WARNING, "lbcore")

    async def main():
        async with silent() as url:
            if how == "gone":
                url = "redis://127.0.0.1:1"
            clock = Clock()
            one = RateLimit(shared(url, "gone", timeout=0.2, on_failure=on_failure), clock)

            async def ask():
                said = one.on_request(FakeExchange(request()))
                if said is not None and not isinstance(said, Response):
                    said = await asyncio.wait_for(said, 5)
                return said.status if said else 200

            assert [await ask() for _ in range(5)] == [status] * 5
            said = one.on_request(FakeExchange(request()))
            assert said is None or isinstance(said, Response)  # nobody waits while it is known to be silent
            clock.now += 1.5
            assert await ask() == status
            assert one.counts["store_failed"] == 7
            one.close()
            await asyncio.sleep(0)
            await one._store._closing

    asyncio.run(main())
    assert len([record for record in caplog.records if "its store fails" in record.message]) == 1


def test_redis_py_cve_2023_28858_a_late_reply_goes_to_nobody_else():
    """A reply that came after its asker had given up was taken for that to the next question."""

    async def serve(reader, writer):
        """Speaks Redis as far as the script needs; the answer to key `slow` is late, and says that nothing is left."""
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            while True:
                words = []
                for _ in range(int((await reader.readline())[1:])):
                    words.append(await reader.readexactly(int((await reader.readline())[1:]) + 2))
                if words[0].strip().upper() != b"EVALSHA":
                    writer.write(b"+OK\r\n")
                elif b"slow" in words[3]:
                    await asyncio.sleep(0.4)
                    writer.write(b"*2\r\n$8\r\n99999999\r\n$1\r\n0\r\n")
                else:
                    writer.write(b"*2\r\n$1\r\n0\r\n$7\r\n1000000\r\n")
                await writer.drain()
        writer.close()

    async def main():
        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        async with server:
            url = f"redis://127.0.0.1:{server.sockets[0].getsockname()[1]}"
            store = Redis(1, 1, url, b"", timeout=0.2, pause=0.001, connections=1)
            assert await store.take(b"quick") <= 0
            with pytest.raises(Unreachable):
                await store.take(b"slow")
            await asyncio.sleep(0.4)
            for _ in range(3):
                assert await store.take(b"quick") <= 0
            await store._client.aclose()

    asyncio.run(main())
