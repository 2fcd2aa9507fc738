"""WebSocket cases in the manner of the Autobahn suite, through the proxy: frames by the table, the verdict by a peer
that is not ours.

The proxy is a tunnel here: it may neither mend nor break what the two ends say. So the server of the `websockets`
package, on the far side, is the judge: what it makes of each frame (an echo, a pong, a close with this code) must come
back as it would without anybody between. Every case runs along every way: HTTP/1.1 with an upgrade, extended CONNECT
over HTTP/2 (RFC 8441), and both one after the other.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
import tracemalloc
from collections.abc import AsyncIterator

import h2.events
import h2.exceptions
import pytest
import websockets.asyncio.server
from hypothesis import given, settings
from hypothesis import strategies as st
from websockets.exceptions import ConnectionClosed
from websockets.extensions.permessage_deflate import PerMessageDeflate
from websockets.frames import Close, Frame, Opcode
from websockets.protocol import Protocol, Side

from lbcore.l7 import websocket
from lbcore.l7.http2 import frames
from lbcore.l7.limits import Limits
from lbcore.l7.pools.pool import Timeouts
from tests.l7.http2.live import Client, chain, proxying
from tests.l7.live import backend, get, together

PATIENCE = 20.0
KEY = b"dGhlIHNhbXBsZSBub25jZQ=="
ASK = ("Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13", f"Sec-WebSocket-Key: {KEY.decode()}")
CONNECT = [(b":method", b"CONNECT"), (b":protocol", b"websocket"), (b":scheme", b"http"),
           (b":authority", b"example.org"), (b":path", b"/"), (b"sec-websocket-version", b"13")]  # fmt: skip
WAYS = ("http1", "http2", "http1 over http2", "http2 over http2")
every_way = pytest.mark.parametrize("way", WAYS)


# ------------------------------------------------------------------------------------- a tunnel, by either HTTP
class Http1Tunnel:
    """Bytes each way after a 101. Reading gives b"" at an end, ConnectionError at anything else."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer
        self.extensions = b""

    async def open(self, extensions: str) -> None:
        self.writer.write(
            get("/", *ASK, *([f"Sec-WebSocket-Extensions: {extensions}"] if extensions else ()), close=False)
        )
        head = await self.reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 101 "), head
        fields = dict(line.split(b": ", 1) for line in head.split(b"\r\n")[1:-2])
        assert fields[websocket.ACCEPT] == websocket.proof(KEY)
        self.extensions = fields.get(b"sec-websocket-extensions", b"")

    async def write(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def read(self) -> bytes:
        return await self.reader.read(65_536)

    def end(self) -> None:
        self.writer.write_eof()

    def die(self) -> None:
        """A reset, as when a program is killed with unread bytes."""
        self.writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.close()


class NoGoodbye:
    """Frames without GOAWAY: h2 takes it for the end of everything, but streams go on (RFC 9113 section 6.8)."""

    def __init__(self, reader: asyncio.StreamReader) -> None:
        self.reader = reader

    async def read(self, most: int) -> bytes:
        try:
            while True:
                head = await self.reader.readexactly(9)
                payload = await self.reader.readexactly(int.from_bytes(head[:3], "big"))
                if head[3] != frames.GOAWAY:
                    return head + payload
        except asyncio.IncompleteReadError:
            return b""


class Http2Tunnel:
    """Bytes each way inside DATA of one stream; a byte read is a byte given back as window, not before."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.client = Client(NoGoodbye(reader), writer)
        self.client.acknowledge = False
        self.stream = 0
        self.extensions = b""
        self._inbox = bytearray()
        self._over: str = ""
        self._news = asyncio.Event()
        self._pump: asyncio.Task[None] | None = None

    async def open(self, extensions: str) -> None:
        self.client.send()
        lines = [*CONNECT, *([(b"sec-websocket-extensions", extensions.encode())] if extensions else ())]
        self.stream = self.client.request(lines, None, ended=False)
        head = dict((await self.client.until(h2.events.ResponseReceived, self.stream)).headers)
        assert head[b":status"] == b"200"
        assert websocket.ACCEPT not in head
        self.extensions = head.get(b"sec-websocket-extensions", b"")
        self._sort()
        self._pump = asyncio.create_task(self._go_on())

    def _sort(self) -> None:
        for event in self.client.events:
            if getattr(event, "stream_id", None) == self.stream:
                if isinstance(event, h2.events.DataReceived):
                    self._inbox += event.data
                elif isinstance(event, h2.events.StreamEnded):
                    self._over = self._over or "end"
                elif isinstance(event, h2.events.StreamReset) and (self._over != "end" or event.error_code):
                    self._over = f"reset {event.error_code}"  # NO_ERROR behind an end adds nothing (RFC 9113 8.1)
        self.client.events.clear()
        self._news.set()

    async def _go_on(self) -> None:
        try:
            while True:
                await self.client._more()
                self._sort()
        except ConnectionError:
            self._over = self._over or "gone"
            self._news.set()

    async def _wait(self) -> None:
        self._news.clear()
        await self._news.wait()

    async def write(self, data: bytes) -> None:
        while data:
            if self._over.startswith(("reset", "gone")):
                raise ConnectionResetError(self._over)
            size = min(self.client.h2.local_flow_control_window(self.stream), 16_384, len(data))
            if size <= 0:
                await self._wait()
                continue
            self.client.h2.send_data(self.stream, data[:size])
            self.client.send()
            await self.client.writer.drain()
            data = data[size:]

    async def read(self) -> bytes:
        while not self._inbox and not self._over:
            await self._wait()
        if not self._inbox:
            if self._over != "end":
                raise ConnectionResetError(self._over)
            return b""
        data, self._inbox = bytes(self._inbox), bytearray()
        with contextlib.suppress(h2.exceptions.StreamClosedError):
            self.client.h2.acknowledge_received_data(len(data), self.stream)
        self.client.send()
        return data

    def end(self) -> None:
        self.client.h2.end_stream(self.stream)
        self.client.send()

    def die(self) -> None:
        self.client.h2.reset_stream(self.stream, 8)
        self.client.send()


Tunnel = Http1Tunnel | Http2Tunnel


@contextlib.asynccontextmanager
async def tunnel(port: int, way: str, extensions: str = "", limit: int = 65_536) -> AsyncIterator[Tunnel]:
    """The client's end of one."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=limit)
    made = (Http1Tunnel if way.startswith("http1") else Http2Tunnel)(reader, writer)
    try:
        async with asyncio.timeout(PATIENCE):
            await made.open(extensions)
        yield made
    finally:
        if isinstance(made, Http2Tunnel) and made._pump is not None:
            made._pump.cancel()
            await asyncio.gather(made._pump, return_exceptions=True)
        writer.close()


@contextlib.asynccontextmanager
async def through(there: int, way: str, **options):
    """A proxy in front of that backend, or two with HTTP/2 between them: (the proxy that clients see, its port)."""
    async with contextlib.AsyncExitStack() as stack:
        if way.endswith("over http2"):
            assert not options
            outer, _, port = await stack.enter_async_context(chain(there))
            yield outer, port
        else:
            yield await stack.enter_async_context(proxying(there, **options))


class Talker(Protocol):
    """A WebSocket client of the `websockets` package on a tunnel: it checks every frame that comes, and may be made
    to send what it would not."""

    def __init__(self, tunnel: Tunnel) -> None:
        super().__init__(Side.CLIENT, max_size=None)
        self.tunnel = tunnel
        self._found: list[Frame] = []

    async def say(self, *said: Frame) -> None:
        """These, masked, in one write."""
        await self.tunnel.write(b"".join(frame.serialize(mask=True, extensions=self.extensions) for frame in said))

    async def hear(self) -> Frame | None:
        """The next frame; None at the end of the tunnel."""
        while not self._found:
            data = await self.tunnel.read()
            if not data:
                return None
            self.receive_data(data)
            self._found += self.events_received()
            self.data_to_send()  # its own pongs and close frames: what is sent is what the table says
        return self._found.pop(0)

    async def message(self) -> tuple[Opcode, bytes]:
        """The next message, put together; what is between its pieces is an error."""
        first = await self.hear()
        assert first is not None
        data, fin = first.data, first.fin
        while not fin:
            more = await self.hear()
            assert more is not None
            assert more.opcode is Opcode.CONT
            data, fin = data + more.data, more.fin
        return first.opcode, bytes(data)


@contextlib.asynccontextmanager
async def echoing(**options):
    """The server of `websockets`: each message comes back, "close CODE" closes."""

    async def serve(connection):
        async for message in connection:
            if isinstance(message, str) and message.startswith("close "):
                await connection.close(int(message[6:]), "as you wish")
            else:
                await connection.send(message)

    options = {"compression": None, "max_size": None, **options}
    async with websockets.asyncio.server.serve(serve, "127.0.0.1", 0, **options) as server:
        yield server.sockets[0].getsockname()[1]


def judged(way: str, scene) -> None:
    """Run `scene(talker)` on a tunnel to a server that echoes."""

    async def test():
        async with echoing() as there, through(there, way) as (_, port), tunnel(port, way) as made:
            async with asyncio.timeout(PATIENCE):
                await scene(Talker(made))

    together(test)


# ---------------------------------------------------------------------------------------------------------- the table
def raw(first: int, data: bytes) -> bytes:
    """A frame that the library would not build: its first byte, and up to 125 bytes behind a mask of zeros."""
    return bytes((first, 0x80 | len(data), 0, 0, 0, 0)) + data


def text(data: bytes, fin: bool = True) -> Frame:
    return Frame(Opcode.TEXT, data, fin)


def binary(data: bytes, fin: bool = True) -> Frame:
    return Frame(Opcode.BINARY, data, fin)


def more(data: bytes, fin: bool = True) -> Frame:
    return Frame(Opcode.CONT, data, fin)


def closing(code: int, reason: bytes = b"") -> Frame:
    return Frame(Opcode.CLOSE, struct.pack(">H", code) + reason)


PING, PONG = Frame(Opcode.PING, b"are you there"), Frame(Opcode.PONG, b"are you there")
SIZES = (0, 1, 125, 126, 127, 128, 65_535, 65_536, 1 << 20)  # the borders of the three forms of a length (RFC 6455 5.2)
WORDS = "κόσμε, 世界, 🌍".encode()

# name: what is sent, and the frames that come back
ECHOED: dict[str, tuple[list[Frame], list[Frame]]] = {
    "in two": ([text(b"ab", False), more(b"cd")], [text(b"abcd")]),
    "in bytes, cut inside characters": (
        [text(WORDS[:1], False), *(more(WORDS[at : at + 1], False) for at in range(1, len(WORDS))), more(b"")],
        [text(WORDS)],
    ),
    "empty pieces": ([binary(b"", False), more(b"", False), more(b"")], [binary(b"")]),
    "a ping between pieces": ([text(b"a", False), PING, more(b"b")], [PONG, text(b"ab")]),
    "pings, one empty, one as long as it may be": (
        [Frame(Opcode.PING, b""), Frame(Opcode.PING, bytes(125))],
        [Frame(Opcode.PONG, b""), Frame(Opcode.PONG, bytes(125))],
    ),
    "a pong that nobody asked for": ([Frame(Opcode.PONG, b"x"), text(b"a")], [text(b"a")]),
    "several messages in one write": ([text(b"%d" % at) for at in range(50)], [text(b"%d" % at) for at in range(50)]),
    "all that UTF-8 has": ([text(WORDS + b"\x00\x7f\xef\xbf\xbd\xf4\x8f\xbf\xbf")],) * 2,
}

# name: what is sent, and the code that the server closes with
CLOSED: dict[str, tuple[bytes, int]] = {
    **{f"code {code}": (raw(0x88, struct.pack(">H", code) + b"bye"), code)
       for code in (1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 3000, 3999, 4000, 4999)},
    **{f"code {code}, which nobody may send": (raw(0x88, struct.pack(">H", code)), 1002)
       for code in (0, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65_535)},
    "no code": (raw(0x88, b""), 1005),
    "half a code": (raw(0x88, b"\x03"), 1002),
    "a reason as long as it may be": (raw(0x88, b"\x03\xe8" + b"r" * 123), 1000),
    "a reason that is no UTF-8": (raw(0x88, b"\x03\xe8\xce\xba\xff"), 1007),
    "text that is no UTF-8": (raw(0x81, b"ab\xff"), 1007),
    "a surrogate": (raw(0x81, b"\xed\xa0\x80"), 1007),
    "half a character": (raw(0x81, b"\xe4\xb8"), 1007),
    **{f"reserved bits {bits:x}": (raw(0x81 | bits, b"a"), 1002) for bits in (0x40, 0x20, 0x10, 0x70)},
    **{f"reserved opcode {code}": (raw(0x80 | code, b""), 1002) for code in (3, 4, 5, 6, 7, 11, 12, 13, 14, 15)},
    "not masked": (b"\x81\x01a", 1002),
    "a ping in pieces": (raw(0x09, b""), 1002),
    "a ping of 126 bytes": (b"\x89\xfe\x00\x7e\0\0\0\0" + bytes(126), 1002),
    "a piece of nothing": (raw(0x80, b"a"), 1002),
    "a message within a message": (raw(0x01, b"a") + raw(0x81, b"b"), 1002),
}  # fmt: skip


@every_way
def test_every_size_as_text_and_as_binary(way):
    async def scene(talker):
        for size in SIZES:
            for opcode in (Opcode.TEXT, Opcode.BINARY):
                data = (b"0123456789abcdef" * (size // 16 + 1))[:size]
                await talker.say(Frame(opcode, data))
                assert await talker.message() == (opcode, data)

    judged(way, scene)


@every_way
@pytest.mark.parametrize("case", ECHOED)
def test_what_comes_back(case, way):
    async def scene(talker):
        sent, expected = ECHOED[case]
        await talker.say(*sent)
        assert [await talker.hear() for _ in expected] == expected

    judged(way, scene)


@every_way
@pytest.mark.parametrize("case", CLOSED)
def test_the_code_that_the_server_closes_with(case, way):
    """It comes as a close frame, then the tunnel ends: neither is the proxy's own doing."""
    data, code = CLOSED[case]

    async def scene(talker):
        await talker.tunnel.write(data)
        frame = await talker.hear()
        assert frame is not None
        assert frame.opcode is Opcode.CLOSE
        assert Close.parse(frame.data).code == code
        assert await talker.hear() is None

    judged(way, scene)


@every_way
@pytest.mark.parametrize("code", [1000, 1001, 1011, 3000, 4999])
def test_a_close_by_the_server(code, way):
    async def scene(talker):
        await talker.say(text(b"close %d" % code))
        frame = await talker.hear()
        assert Close.parse(frame.data) == Close(code, "as you wish")
        await talker.say(closing(code))
        assert await talker.hear() is None

    judged(way, scene)


# -------------------------------------------------------------------------------------------------- permessage-deflate
@every_way
def test_compression_is_agreed_from_end_to_end(way):
    """The offer and the answer pass as they were said, and so do frames with RSV1, which mean something to the two ends
    alone: whoever took them apart on the way would have to put them together with the very same windows."""
    offer = "permessage-deflate; server_no_context_takeover; client_max_window_bits=12"

    async def test():
        async with (
            echoing(compression="deflate") as there,
            through(there, way) as (_, port),
            tunnel(port, way, offer) as made,
            asyncio.timeout(PATIENCE),
        ):
            assert made.extensions.startswith(b"permessage-deflate")
            assert b"server_no_context_takeover" in made.extensions
            assert b"client_max_window_bits=12" in made.extensions
            talker = Talker(made)
            talker.extensions = [PerMessageDeflate(True, False, 12, 12)]
            for turn in range(3):  # the client's window goes on from message to message
                data = b"the same words again, and again %d " % turn * 5000
                await talker.say(text(data))
                assert await talker.message() == (Opcode.TEXT, data)
            packed = text(data).serialize(mask=True, extensions=[PerMessageDeflate(True, True, 12, 12)])
            assert len(packed) * 20 < len(data)

    together(test)


@every_way
def test_without_an_offer_nobody_compresses(way):
    async def test():
        async with echoing(compression="deflate") as there, through(there, way) as (_, port), tunnel(port, way) as made:
            assert made.extensions == b""
            talker = Talker(made)
            await talker.say(text(b"a" * 1000))
            assert await talker.message() == (Opcode.TEXT, b"a" * 1000)

    together(test)


# ------------------------------------------------------------------------------------------------- the tunnel by itself
async def accept(reader, writer) -> None:
    """The server's half of a handshake, by hand."""
    head = await reader.readuntil(b"\r\n\r\n")
    fields = dict(line.split(b": ", 1) for line in head.split(b"\r\n")[1:-2])
    lines = (b"HTTP/1.1 101 x", b"connection: upgrade", b"upgrade: websocket")
    proof = websocket.proof(fields[websocket.KEY])
    writer.write(b"\r\n".join(lines) + b"\r\nsec-websocket-accept: " + proof + b"\r\n\r\n")


async def until(wanted: int, read) -> bytes:
    got = b""
    while len(got) < wanted:
        data = await read()
        if not data:
            break
        got += data
    return got


pieces = st.lists(
    st.binary(min_size=1, max_size=300) | st.sampled_from([b"\0" * 70_000, b"\r\n\r\nGET / HTTP/1.1\r\n"]), max_size=8
)


@every_way
@settings(max_examples=15, deadline=None)
@given(there_to_here=pieces, here_to_there=pieces)
def test_any_bytes_in_any_pieces_arrive_both_ways_at_once(way, there_to_here, here_to_there):
    """No frame of WebSocket among them: nothing on the way looks inside."""
    got = bytearray()

    async def talk(reader, writer):
        await accept(reader, writer)

        async def listen():
            while data := await reader.read(65_536):
                got.extend(data)

        listening = asyncio.create_task(listen())
        for piece in there_to_here:
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(0)
        await listening

    async def test():
        async with backend(talk) as there, through(there, way) as (_, port), tunnel(port, way) as made:
            async with asyncio.timeout(PATIENCE):
                heard = asyncio.create_task(until(sum(map(len, there_to_here)), made.read))
                for piece in here_to_there:
                    await made.write(piece)
                assert await heard == b"".join(there_to_here)
                made.end()
                assert await made.read() == b""  # the other end has heard all, and ends too

    together(test)
    assert bytes(got) == b"".join(here_to_there)


# ---------------------------------------------------------------------------------------------- slow, silent, and dead
@pytest.mark.parametrize("way", ["http1", "http2"])
@pytest.mark.parametrize("lazy", ["client", "server"])
def test_whoever_does_not_read_holds_the_other_back(lazy, way):
    """What the proxy keeps of 200 MB that somebody would send: two buffers and a window, in numbers. The rest of what
    was `sent` lies in the kernel."""
    piece, sent, enough = bytes(65_536), 0, asyncio.Event()

    async def pour(write):
        nonlocal sent
        for _ in range(200_000_000 // len(piece)):
            await write(piece)
            sent += len(piece)

    async def talk(reader, writer):
        await accept(reader, writer)

        async def write(data):
            writer.write(data)
            await writer.drain()

        if lazy == "client":
            await pour(write)
        else:
            reader._transport.pause_reading()
            await enough.wait()

    async def test():
        async with backend(talk) as there, proxying(there) as (proxy, port), tunnel(port, way, limit=1000) as made:
            if isinstance(made, Http2Tunnel) and lazy == "client":
                assert made._pump is not None  # it reads frames; what it never gives is window
            tracemalloc.start()
            pouring = asyncio.create_task(pour(made.write)) if lazy == "server" else None
            try:
                before = -1
                while sent != before or not sent:
                    before = sent
                    await asyncio.sleep(0.4)
                assert sent < 30_000_000
                assert tracemalloc.get_traced_memory()[1] < 2_500_000
            finally:
                tracemalloc.stop()
                if pouring is not None:
                    pouring.cancel()
                    await asyncio.gather(pouring, return_exceptions=True)
            assert len(proxy.exchanges) == 1
            made.die()
            enough.set()

    together(test)


@pytest.mark.parametrize("way", ["http1", "http2"])
def test_pings_keep_a_tunnel_and_silence_ends_it(way):
    limits, timeouts = Limits(idle_time=0.6), Timeouts(idle=0.6)

    async def test():
        async with (
            echoing(ping_interval=None) as there,
            through(there, way, limits=limits, timeouts=timeouts) as (_, port),
            tunnel(port, way) as made,
            asyncio.timeout(PATIENCE),
        ):
            talker = Talker(made)
            for _ in range(6):
                await talker.say(PING)
                assert await talker.hear() == PONG
                await asyncio.sleep(0.25)
            with contextlib.suppress(ConnectionError):  # not in the words of WebSocket: those are the two ends'
                assert await talker.hear() is None

    together(test)


@every_way
def test_a_server_that_dies_is_no_close_frame(way):
    async def talk(reader, writer):
        await accept(reader, writer)
        writer.write(text(b"half a message", False).serialize(mask=False))
        await reader.readexactly(1)
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    async def test():
        async with backend(talk) as there, through(there, way) as (proxy, port), tunnel(port, way) as made:
            async with asyncio.timeout(PATIENCE):
                talker = Talker(made)
                assert (await talker.hear()).data == b"half a message"
                await made.write(b"x")
                with contextlib.suppress(ConnectionError):
                    assert await talker.hear() is None
                while proxy.exchanges:
                    await asyncio.sleep(0.01)

    together(test)


@every_way
def test_a_client_that_dies_is_gone_for_the_server(way):
    heard: list[type] = []

    async def serve(connection):
        try:
            await connection.send("hello")
            await connection.recv()
        except ConnectionClosed as closed:
            heard.append(type(closed.rcvd))

    async def test():
        async with websockets.asyncio.server.serve(serve, "127.0.0.1", 0) as server:
            there = server.sockets[0].getsockname()[1]
            async with through(there, way) as (_, port), tunnel(port, way) as made, asyncio.timeout(PATIENCE):
                assert (await Talker(made).message())[1] == b"hello"
                made.die()
                while not heard:
                    await asyncio.sleep(0.01)

    together(test)
    assert heard == [type(None)]  # no close frame was made up for it


@pytest.mark.parametrize("way", ["http1", "http2"])
@pytest.mark.parametrize("polite", [True, False])
def test_a_drain_waits_for_tunnels_and_not_for_ever(polite, way):
    """Nobody new gets in; what is open goes on to its end. After the window what is left is cut."""

    async def test():
        async with echoing() as there, proxying(there) as (proxy, port), tunnel(port, way) as made:
            talker = Talker(made)
            await talker.say(text(b"before"))
            assert (await talker.message())[1] == b"before"
            drained = asyncio.create_task(proxy.drain(10 if polite else 0.5))
            await asyncio.sleep(0.1)
            with pytest.raises(ConnectionRefusedError):
                await asyncio.open_connection("127.0.0.1", port)
            await talker.say(text(b"during"))
            assert (await talker.message())[1] == b"during"
            if polite:
                await talker.say(closing(1000))
                assert Close.parse((await talker.hear()).data).code == 1000
            assert await drained is polite
            if not polite:
                await proxy.close()
            with contextlib.suppress(ConnectionError):
                assert await talker.hear() is None

    together(test)
