"""WebSocket through the proxy with real clients and servers of the `websockets` package, and by hand over HTTP/2;
server-sent events."""

from __future__ import annotations

import asyncio
import contextlib

import h2.events
import pytest
import websockets
import websockets.asyncio.client
import websockets.asyncio.server
from websockets.frames import Frame, Opcode

from lbcore.l7 import websocket
from lbcore.l7.errors import Malformed
from lbcore.l7.limits import Limits
from lbcore.l7.message import Headers
from lbcore.l7.pools.pool import Timeouts
from tests.l7.http2.live import chain, client, head, proxying
from tests.l7.live import OK, Seen, answering, backend, get, say, together

CONNECT = [(b":method", b"CONNECT"), (b":protocol", b"websocket"), (b":scheme", b"http"), (b":authority", b"a"),
           (b":path", b"/chat?room=1"), (b"sec-websocket-version", b"13")]  # fmt: skip


@contextlib.asynccontextmanager
async def echoing(**options):
    """A server that says everything twice; its port."""

    async def serve(connection):
        async for message in connection:
            await connection.send(message + message)

    async with websockets.asyncio.server.serve(serve, "127.0.0.1", 0, max_size=None, **options) as server:
        yield server.sockets[0].getsockname()[1]


def connecting(port: int, **options):
    return websockets.asyncio.client.connect(f"ws://127.0.0.1:{port}/", max_size=None, proxy=None, **options)


@pytest.mark.parametrize("through", ["http1", "http2 between two proxies"])
def test_a_real_client_and_a_real_server(through):
    """Text, binary, fragments, ping, a large message, subprotocols, compression, the closing handshake."""

    async def scene():
        async with echoing(subprotocols=["chat"]) as there, contextlib.AsyncExitStack() as stack:
            if through == "http1":
                _, port = await stack.enter_async_context(proxying(there))
            else:
                _, _, port = await stack.enter_async_context(chain(there))
            async with connecting(port, subprotocols=["chat"]) as one:
                assert one.subprotocol == "chat"
                await one.send("hö")
                assert await one.recv() == "höhö"
                await one.send([b"a", b"b", b"c"])
                assert await one.recv() == b"abcabc"
                await one.send(b"x" * 2_000_000)
                assert await one.recv() == b"x" * 4_000_000
                await (await one.ping())
                await one.close(4000, "bye")
            assert one.close_code == 4000

    together(scene)


def test_many_at_once():
    async def scene():
        async with echoing() as there, chain(there) as (_, _, port):

            async def one(number):
                async with connecting(port) as connection:
                    for turn in range(5):
                        await connection.send(f"{number} {turn}")
                        assert await connection.recv() == f"{number} {turn}" * 2

            await asyncio.gather(*(one(number) for number in range(30)))

    together(scene)


@pytest.mark.parametrize("hops", [1, 2])
def test_rfc_8441_from_an_http2_client_to_an_http1_backend(hops):
    """Extended CONNECT: 200, no key and no proof for the client; frames of WebSocket inside DATA."""

    async def scene():
        async with echoing() as there, contextlib.AsyncExitStack() as stack:
            made = await stack.enter_async_context(chain(there) if hops == 2 else proxying(there))
            async with client(made[-1]) as one:
                settings = await one.until(h2.events.RemoteSettingsChanged)
                assert settings.changed_settings[8].new_value == 1
                number = one.request(CONNECT, None, ended=False)
                answer = dict((await one.until(h2.events.ResponseReceived, number)).headers)
                assert answer[b":status"] == b"200"
                assert not [name for name in answer if name in (websocket.ACCEPT, b"upgrade", b"connection")]
                one.h2.send_data(number, Frame(Opcode.TEXT, b"hello").serialize(mask=True))
                one.send()
                data = b""
                while len(data) < 12:
                    data += (await one.until(h2.events.DataReceived, number)).data
                assert data == Frame(Opcode.TEXT, b"hellohello").serialize(mask=False)
                other = one.request(CONNECT, None, ended=False)  # beside the first, on the same connection
                assert (await one.until(h2.events.ResponseReceived, other)).stream_id == other
                for stream in (number, other):
                    one.h2.send_data(stream, Frame(Opcode.CLOSE, b"\x03\xe8").serialize(mask=True))
                    one.send()
                    await one.until(h2.events.StreamEnded, stream)

    together(scene)


def test_a_backend_that_answers_200_has_not_switched():
    """An ordinary answer over HTTP/1.1; over HTTP/2 the same status would be a tunnel, and its body WebSocket."""

    async def scene():
        async with backend(answering(OK)) as there, proxying(there) as (_, port), client(port) as one:
            number = one.request(CONNECT, None, ended=False)
            answer = dict((await one.until(h2.events.ResponseReceived, number)).headers)
            assert answer[b":status"] == b"502"

    together(scene)


def test_what_is_for_a_tunnel_waits_until_there_is_one():
    """A backend that does not switch must not find the client's next bytes behind the request: they could be another
    request, of the client's choice (smuggling by upgrade)."""
    seen = bytearray()

    async def talk(reader, writer):
        seen.extend(await reader.readuntil(b"\r\n\r\n"))
        await asyncio.sleep(0.3)
        writer.write(b"HTTP/1.1 403 Forbidden\r\ncontent-length: 2\r\n\r\nno")
        with contextlib.suppress(asyncio.IncompleteReadError):
            seen.extend(await reader.read())

    async def scene():
        async with backend(talk) as there, proxying(there) as (_, port), client(port) as one:
            number = one.request(CONNECT, None, ended=False)
            one.h2.send_data(number, b"GET /admin HTTP/1.1\r\nhost: a\r\n\r\n")
            one.send()
            fields, body, _ = await one.whole(number)
            assert (fields[b":status"], body) == (b"403", b"no")

    together(scene)
    assert b"admin" not in seen


def ask(*lines: str) -> bytes:
    return get("/", "Connection: Upgrade", "Upgrade: websocket", *lines, close=False)


KEY = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (ask("Sec-WebSocket-Version: 13"), b"400"),
        (ask("Sec-WebSocket-Version: 13", KEY, KEY), b"400"),
        (ask("Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: short"), b"400"),
        (ask("Sec-WebSocket-Version: 8", KEY), b"426"),
        (ask(KEY), b"426"),
        (ask("Sec-WebSocket-Version: 13", KEY).replace(b"GET", b"POST"), b"400"),
    ],
)
def test_requests_for_a_websocket_that_are_none(request_, status):
    async def scene():
        async with echoing() as there, proxying(there) as (_, port):
            answer = await say(port, request_, eof=True)
            assert answer.startswith(b"HTTP/1.1 " + status), answer

    together(scene)


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 101 x\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n",
        b"HTTP/1.1 101 x\r\nconnection: upgrade\r\nupgrade: websocket\r\nsec-websocket-accept: bm90aXQ=\r\n\r\n",
        b"HTTP/1.1 101 x\r\nconnection: upgrade\r\nupgrade: h2c\r\n\r\n",
    ],
)
def test_a_backend_that_proves_nothing_is_not_believed(answer):
    async def talk(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        await reader.read()

    async def scene():
        async with backend(talk) as there, proxying(there) as (_, port):
            said = await say(port, ask("Sec-WebSocket-Version: 13", KEY), eof=True)
            assert said.startswith(b"HTTP/1.1 502"), said
            async with client(port) as one:
                number = one.request(CONNECT, None, ended=False)
                assert (await one.whole(number))[0][b":status"] == b"502"

    together(scene)


def test_a_silent_tunnel_is_ended():
    async def scene():
        limits, timeouts = Limits(idle_time=0.5), Timeouts(idle=0.5)
        async with (
            echoing() as there,
            proxying(there, limits=limits, timeouts=timeouts) as (_, port),
            connecting(port) as one,
        ):
            with pytest.raises(websockets.ConnectionClosed):
                await asyncio.wait_for(one.recv(), 10)

    together(scene)


def test_a_tunnel_that_one_end_has_closed_still_carries_the_other():
    """Half-close from the client's side, over HTTP/2 to HTTP/1.1 (END_STREAM becomes a FIN)."""

    async def talk(reader, writer):
        request = await reader.readuntil(b"\r\n\r\n")
        key = next(line for line in request.split(b"\r\n") if line.startswith(b"sec-websocket-key")).split(b": ")[1]
        proof = websocket.proof(key)
        writer.write(
            b"HTTP/1.1 101 x\r\nconnection: upgrade\r\nupgrade: websocket\r\nsec-websocket-accept: %b\r\n\r\n" % proof
        )
        assert await reader.read() == b"all I have to say"
        writer.write(b"heard")

    async def scene():
        async with backend(talk) as there, proxying(there) as (_, port), client(port) as one:
            number = one.request(CONNECT, None, ended=False)
            await one.until(h2.events.ResponseReceived, number)
            one.h2.send_data(number, b"all I have to say", end_stream=True)
            one.send()
            assert (await one.until(h2.events.DataReceived, number)).data == b"heard"
            await one.until(h2.events.StreamEnded, number)

    together(scene)


def test_an_http2_backend_without_rfc_8441():
    """The h2 package's server does not announce it: nobody asks it."""
    import h2.config
    import h2.connection

    async def talk(reader, writer):
        server = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False))
        server.initiate_connection()
        server.update_settings({8: 0})
        writer.write(server.data_to_send())
        while data := await reader.read(1000):
            server.receive_data(data)
            writer.write(server.data_to_send())

    async def scene():
        async with backend(talk) as there, proxying(there, protocol="h2c") as (_, port):
            said = await say(port, ask("Sec-WebSocket-Version: 13", KEY), eof=True)
            assert said.startswith(b"HTTP/1.1 502"), said

    together(scene)


@pytest.mark.parametrize("protocol", ["h2c", "H2C", "http/2.0"])
def test_h2c_smuggling(protocol):
    """A tunnel of HTTP/2 to a backend would carry requests past every route and filter: over HTTP/1.1 the wish is
    ignored, over HTTP/2 refused."""
    seen = Seen()

    async def scene():
        async with backend(answering(OK, seen)) as there, proxying(there) as (_, port):
            wish = ("Connection: Upgrade, HTTP2-Settings", f"Upgrade: {protocol}", "HTTP2-Settings: AAMAAABkAARAAAAA")
            answer = await say(port, get("/", *wish, close=False), eof=True)
            assert answer.startswith(b"HTTP/1.1 200")
            async with client(port) as one:
                lines = [(name, protocol.encode() if name == b":protocol" else value) for name, value in CONNECT]
                number = one.request(lines, None, ended=False)
                assert (await one.whole(number))[0][b":status"] == b"501"

    together(scene)
    assert len(seen.connections) == 1
    assert b"pgrade" not in seen.all
    assert b"settings" not in seen.all.lower()


def test_the_example_of_rfc_6455():
    assert websocket.proof(b"dGhlIHNhbXBsZSBub25jZQ==") == b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
    key = websocket.new_key()
    assert key != websocket.new_key()
    websocket.check_request(b"GET", Headers([(websocket.KEY, key), (websocket.VERSION, b"13")]))
    with pytest.raises(Malformed):
        websocket.check_response(key, Headers([(websocket.ACCEPT, websocket.proof(websocket.new_key()))]))


# ------------------------------------------------------------------------------------------------- server-sent events
@pytest.mark.parametrize("through", ["http1 to http1", "http2 to http1", "http2 to http2"])
def test_events_come_when_they_are_sent(through):
    """Each is seen before the next is sent: nobody on the way gathers them."""
    told: asyncio.Queue[None] = asyncio.Queue()

    async def talk(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n")
        for number in range(5):
            event = b"data: %d\n\n" % number
            writer.write(b"%x\r\n%b\r\n" % (len(event), event))
            await asyncio.wait_for(told.get(), 10)
        writer.write(b"0\r\n\r\n")
        await reader.read()

    async def scene():
        async with backend(talk) as there, contextlib.AsyncExitStack() as stack:
            made = await stack.enter_async_context(chain(there) if through.endswith("http2") else proxying(there))
            port = made[-1]
            if through.startswith("http1"):
                reader, writer = await asyncio.open_connection("127.0.0.1", port)
                writer.write(get("/", close=False))
                for number in range(5):
                    await asyncio.wait_for(reader.readuntil(b"data: %d\n\n" % number), 10)
                    told.put_nowait(None)
                writer.close()
                return
            async with client(port) as one:
                stream = one.request(head(b"/events"))
                for number in range(5):
                    assert (await one.until(h2.events.DataReceived, stream)).data == b"data: %d\n\n" % number
                    told.put_nowait(None)
                await one.until(h2.events.StreamEnded, stream)

    together(scene)
