"""gRPC through the proxy: grpcio's own client and server, the four kinds of calls, deadlines, errors; and a gateway."""

from __future__ import annotations

import asyncio
import contextlib
import json
import textwrap
from pathlib import Path

import grpc
import grpc.aio
import h2.events
import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lbcore.l7.errors import Malformed
from lbcore.l7.filters.filter import Filter
from lbcore.l7.limits import Limits
from lbcore.l7.message import Headers, text
from lbcore.l7.pools.pool import Timeouts
from lbcore.l7.program.service import Service as InForce
from lbcore.l7.rpc import gateway
from lbcore.l7.rpc import grpc as ours
from lbcore.l7.rpc.gateway import Call, Field, Gateway, GatewayOptions
from tests.l7.http2.live import client, head, proxying
from tests.l7.live import PATIENCE

GREETING = (Field(name="name", number=1, kind="string"), Field(name="times", number=2, kind="int64"))


def play(scene) -> None:
    """grpc.aio wants asyncio's own event loop."""
    asyncio.run(asyncio.wait_for(scene(), PATIENCE * 6))


class Service(grpc.GenericRpcHandler):
    """Messages are bytes here: what they mean does not matter to a proxy."""

    def __init__(self, name: bytes = b"") -> None:
        self.name, self.calls, self.cancelled = name, 0, asyncio.Event()
        self.kinds = {
            "/t.T/Unary": grpc.unary_unary_rpc_method_handler(self.unary),
            "/t.T/ServerStream": grpc.unary_stream_rpc_method_handler(self.server_stream),
            "/t.T/ClientStream": grpc.stream_unary_rpc_method_handler(self.client_stream),
            "/t.T/Both": grpc.stream_stream_rpc_method_handler(self.both),
            "/t.T/Fail": grpc.unary_unary_rpc_method_handler(self.fail),
            "/t.T/Slow": grpc.unary_unary_rpc_method_handler(self.slow),
            "/t.T/Greet": grpc.unary_unary_rpc_method_handler(self.greet),
        }

    def service(self, details):
        return self.kinds.get(details.method)

    async def unary(self, request, context):
        self.calls += 1
        context.set_trailing_metadata((("x-end", "1"), ("x-bin", b"\0\xff")))
        return self.name + request[::-1]

    async def server_stream(self, request, context):
        for number in range(int(request)):
            yield b"%d" % number

    async def client_stream(self, requests, context):
        return b"%d" % sum([int(one) async for one in requests])

    async def both(self, requests, context):
        async for one in requests:
            yield b"got " + one

    async def fail(self, request, context):
        await context.abort(grpc.StatusCode.FAILED_PRECONDITION, "nicht so, 100 %")

    async def slow(self, request, context):
        try:
            await asyncio.sleep(30)
        except asyncio.CancelledError:
            self.cancelled.set()
            raise
        return b""

    async def greet(self, request, context):
        asked = gateway.decode(request, GREETING)
        if asked["times"] < 0:
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, "times")
        return gateway.encode({"name": "hello " * asked["times"] + asked["name"], "times": asked["times"]}, GREETING)


@contextlib.asynccontextmanager
async def serving(service: Service):
    server = grpc.aio.server()
    server.add_generic_rpc_handlers((service,))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        yield port
    finally:
        await server.stop(None)


@contextlib.asynccontextmanager
async def calling(*services: Service, **options):
    """A channel of grpcio to a proxy in front of these."""
    async with contextlib.AsyncExitStack() as stack:
        ports = [await stack.enter_async_context(serving(service)) for service in services]
        proxy, port = await stack.enter_async_context(proxying(*ports, protocol="h2c", **options))
        channel = grpc.aio.insecure_channel(f"127.0.0.1:{port}", options=[("grpc.enable_http_proxy", 0)])
        yield await stack.enter_async_context(channel), proxy, port


def test_four_kinds_of_calls():
    async def scene():
        async with calling(Service()) as (channel, _, _):
            call = channel.unary_unary("/t.T/Unary")(b"abc")
            assert await call == b"cba"
            assert dict(await call.trailing_metadata())["x-end"] == "1"
            assert dict(await call.trailing_metadata())["x-bin"] == b"\0\xff"
            found = [one async for one in channel.unary_stream("/t.T/ServerStream")(b"500")]
            assert found == [b"%d" % number for number in range(500)]

            async def numbers():
                for number in range(300):
                    yield b"%d" % number

            assert await channel.stream_unary("/t.T/ClientStream")(numbers()) == b"%d" % sum(range(300))
            both = channel.stream_stream("/t.T/Both")()
            for number in range(50):  # a conversation: each answer is waited for before the next word
                await both.write(b"%d" % number)
                assert await both.read() == b"got %d" % number
            await both.done_writing()
            assert await both.read() is grpc.aio.EOF

    play(scene)


def test_large_messages_and_many_calls_at_once():
    async def scene():
        async with calling(Service()) as (channel, _, _):
            unary = channel.unary_unary("/t.T/Unary")
            body = bytes(range(256)) * 12_000  # 3 MB: flow control on both sides, many times over
            assert await unary(body) == body[::-1]
            found = await asyncio.gather(*(unary(b"%d" % number) for number in range(300)))
            assert found == [(b"%d" % number)[::-1] for number in range(300)]

    play(scene)


def test_one_channel_is_spread_over_all_backends():
    """gRPC over one connection of the client: balanced by call, not by connection."""
    services = [Service(name) for name in (b"a", b"b", b"c")]

    async def scene():
        async with calling(*services) as (channel, _, _):
            await asyncio.gather(*(channel.unary_unary("/t.T/Unary")(b"x") for _ in range(60)))

    play(scene)
    assert [service.calls for service in services] == [20, 20, 20]


def test_errors_of_the_service_come_through_as_they_are():
    async def scene():
        async with calling(Service()) as (channel, _, _):
            for method, code, words in (
                ("/t.T/Fail", grpc.StatusCode.FAILED_PRECONDITION, "nicht so, 100 %"),
                ("/t.T/None", grpc.StatusCode.UNIMPLEMENTED, ""),
            ):
                with pytest.raises(grpc.aio.AioRpcError) as caught:
                    await channel.unary_unary(method)(b"")
                assert caught.value.code() == code
                assert words in caught.value.details()

    play(scene)


class Refuse(Filter):
    def __init__(self, status: int) -> None:
        self.status = status

    def on_request(self, exchange):
        return text(self.status, "not today")


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (401, "UNAUTHENTICATED"),
        (403, "PERMISSION_DENIED"),
        (404, "UNIMPLEMENTED"),
        (429, "UNAVAILABLE"),
        (418, "UNKNOWN"),
    ],
)
def test_errors_of_the_proxy_are_of_grpcs_form(status, code):
    async def scene():
        async with calling(Service(), filters=(Refuse(status),)) as (channel, _, _):
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await channel.unary_unary("/t.T/Unary")(b"")
            assert caught.value.code() == grpc.StatusCode[code]
            assert caught.value.details() == "not today"

    play(scene)


def test_no_backend_is_unavailable():
    async def scene():
        async with (
            proxying(1, protocol="h2c") as (_, port),
            grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel,
        ):
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await channel.unary_unary("/t.T/Unary")(b"")
            assert caught.value.code() == grpc.StatusCode.UNAVAILABLE
            assert "gateway" in caught.value.details()

    play(scene)


def test_a_deadline_is_the_proxys_limit_too():
    """A client that says how long it waits and then does not go: it is told, and the backend is called off."""
    service = Service()

    async def scene():
        lines = [(b"content-type", b"application/grpc"), (b"te", b"trailers"), (b"grpc-timeout", b"300m")]
        async with calling(service) as (_, _, port), client(port) as one:
            number = one.request(head(b"/t.T/Slow", b"POST", *lines), ours.framed(b""))
            fields, body, _ = await one.whole(number)
            assert (fields[b":status"], fields[b"grpc-status"], body) == (b"200", b"4", b"")
            await asyncio.wait_for(service.cancelled.wait(), PATIENCE)

    play(scene)


def test_grpcio_sees_its_deadline_and_a_slow_backend_as_one_too():
    async def scene():
        async with calling(Service()) as (channel, proxy, _):
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await channel.unary_unary("/t.T/Slow")(b"", timeout=0.3)
            assert caught.value.code() == grpc.StatusCode.DEADLINE_EXCEEDED
            for _ in range(200):
                if not proxy.exchanges:
                    break
                await asyncio.sleep(0.02)
        async with calling(Service(), timeouts=Timeouts(head=0.3)) as (channel, _, _):
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await channel.unary_unary("/t.T/Slow")(b"")
            assert caught.value.code() == grpc.StatusCode.DEADLINE_EXCEEDED

    play(scene)


def test_a_call_that_is_cancelled_is_cancelled_at_the_backend():
    service = Service()

    async def scene():
        async with calling(service) as (channel, _, _):
            call = channel.unary_unary("/t.T/Slow")(b"")
            await asyncio.sleep(0.3)
            call.cancel()
            await asyncio.wait_for(service.cancelled.wait(), PATIENCE)

    play(scene)


def test_a_bad_timeout_is_refused():
    async def scene():
        lines = [(b"content-type", b"application/grpc"), (b"grpc-timeout", b"1 second")]
        async with proxying(1, protocol="h2c", limits=Limits()) as (_, port), client(port) as one:
            number = one.request(head(b"/t.T/Slow", b"POST", *lines), b"x")
            assert (await one.until(h2.events.StreamReset, number)).error_code == 1

    play(scene)


@pytest.mark.parametrize(
    ("written", "seconds"),
    [(b"1H", 3600), (b"2M", 120), (b"30S", 30), (b"250m", 0.25), (b"5u", 5e-6), (b"99999999n", 0.099999999)],
)
def test_timeouts(written, seconds):
    assert ours.timeout(Headers([(b"grpc-timeout", written)])) == pytest.approx(seconds)


@pytest.mark.parametrize("written", [b"", b"1", b"S", b"-1S", b"1.5S", b"123456789S", b"1s", b"1 S"])
def test_timeouts_that_are_none(written):
    with pytest.raises(Malformed):
        ours.timeout(Headers([(b"grpc-timeout", written)]))


# ------------------------------------------------------------------------------------------------------------ gateway
OPTIONS = GatewayOptions(calls=(Call(path="/greet", method="/t.T/Greet", takes=GREETING, gives=GREETING),
                                Call(path="/fail", method="/t.T/Fail", takes=(), gives=())))  # fmt: skip


def test_json_in_a_call_and_json_out():
    async def scene():
        async with calling(Service(), filters=(Gateway(OPTIONS),)) as (_, _, port), httpx.AsyncClient() as http:
            address = f"http://127.0.0.1:{port}"
            answer = await http.post(f"{address}/greet", json={"name": "wörld", "times": 2})
            assert (answer.status_code, answer.json()) == (200, {"name": "hello hello wörld", "times": 2})
            answer = await http.post(f"{address}/greet", json={"name": "x"})
            assert answer.json() == {"name": "x", "times": 0}
            for data, status, words in (
                (b'{"nam": 1}', 400, "one of name, times"),
                (b'{"name": 1}', 400, "'name' is 1: string"),
                (b'{"times": true}', 400, "int64"),
                (b'{"times": 9223372036854775808}', 400, "64 bits"),
                (b"[]", 400, "an object"),
                (b"{", 400, ""),
                (b'{"times": -1}', 400, '"times"'),
            ):
                answer = await http.post(f"{address}/greet", content=data)
                assert (answer.status_code, words in answer.text) == (status, True), (data, answer.text)
            assert (await http.get(f"{address}/greet")).status_code == 405
            answer = await http.post(f"{address}/fail", json={})
            assert (answer.status_code, answer.json()["code"]) == (400, 9)

    play(scene)


def test_a_gateway_whose_service_is_down():
    async def scene():
        gate = Gateway(OPTIONS)
        async with proxying(1, protocol="h2c", filters=(gate,)) as (_, port), httpx.AsyncClient() as http:
            assert (await http.post(f"http://127.0.0.1:{port}/greet", json={})).status_code == 502

    play(scene)


ANY = tuple(Field(name=kind, number=at, kind=kind) for at, kind in enumerate(gateway.TYPES, 1))


@given(st.text(), st.integers(-(1 << 63), (1 << 63) - 1), st.booleans(), st.floats(allow_nan=False))
def test_the_codec_gives_back_what_it_took(string, integer, boolean, double):
    values = {"string": string, "int64": integer, "bool": boolean, "double": double}
    try:
        string.encode()
    except UnicodeEncodeError:
        return
    message = gateway.encode(values, ANY)
    assert gateway.decode(message, ANY) == values
    assert json.loads(json.dumps(gateway.decode(message, ANY[:1]))) == {"string": string}  # the rest is unknown there


@given(st.binary(max_size=60))
def test_any_bytes_are_a_message_or_malformed(data):
    with contextlib.suppress(Malformed):
        gateway.decode(data, ANY)
    with contextlib.suppress(Malformed):
        ours.unframed(data)


def test_the_codec_agrees_with_the_specification():
    """The examples of protobuf.dev/programming-guides/encoding: 150 and "testing"."""
    fields = (Field(name="a", number=1, kind="int64"), Field(name="b", number=2, kind="string"))
    assert gateway.encode({"a": 150}, fields).hex() == "089601"
    assert gateway.encode({"b": "testing"}, fields).hex() == "120774657374696e67"
    assert gateway.decode(bytes.fromhex("08ffffffffffffffffff01"), fields)["a"] == -1


def test_the_gateway_of_a_file(tmp_path: Path) -> None:
    """The example in the head of `gateway`, in force: what is in its table is called, the rest goes on as it came."""
    example = textwrap.dedent(
        "    [[route.filter]]" + gateway.__doc__.partition("    [[route.filter]]")[2].partition("\n\n")[0]
    )
    example = example.replace("/shop.Greeter/Greet", "/t.T/Greet").replace('"text"', '"name"')

    async def scene():
        async with serving(Service()) as port, httpx.AsyncClient() as http:
            pool = f'[[pool]]\nname = "shop"\nprotocol = "h2c"\nbackend = [{{ address = "127.0.0.1:{port}" }}]\n'
            file = tmp_path / "proxy.toml"
            file.write_text(f'[[listen]]\nport = 0\n[[route]]\npool = "shop"\n{example}\n{pool}')
            async with InForce(file) as service:
                address = f"http://{service.listeners[0].address}"
                answer = await http.post(f"{address}/greet", json={"name": "Ann", "times": 2})
                assert (answer.status_code, answer.json()) == (200, {"name": "hello hello Ann"})
                assert (await http.post(f"{address}/greet", json={"nam": "Ann"})).status_code == 400
                channel = grpc.aio.insecure_channel(service.listeners[0].address)
                assert await channel.unary_unary("/t.T/Unary")(b"abc") == b"cba"
                await channel.close()

    play(scene)
