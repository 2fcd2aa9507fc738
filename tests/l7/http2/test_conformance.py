"""What RFC 9113, 7541 and 8441 demand of whoever receives what must not be sent, through a running proxy: a table.

Rule of this file: what is sent is built by `hyperframe` and `hpack`, or by hand where they would not; what comes back
is read by them. Each row has its section, what is sent after the greetings, and what must come of it:

    goaway CODE         the connection is over: GOAWAY with this code, then the end
    reset STREAM CODE   that stream is over, and the connection goes on: another request on it is answered
    answer STREAM STATUS    a response: what looked odd was none of it

An endpoint may treat an error of a stream as one of the connection (5.4.1); where we do, the row says `goaway`. All
others show that one bad stream is its own fault alone.
"""

from __future__ import annotations

import asyncio
import struct

import hpack
import pytest
from hyperframe import frame as hf

from lbcore.l7.http2.frames import Code
from tests.l7.http2.live import proxying
from tests.l7.live import OK, answering, backend, get, together

PATIENCE = 10.0
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
GREETING = PREFACE + hf.SettingsFrame(0).serialize()
GOOD = 201  # the stream of the request that must be answered at the end
GET = [(b":method", b"GET"), (b":scheme", b"http"), (b":authority", b"a.example"), (b":path", b"/")]
POST = [(b":method", b"POST"), *GET[1:]]
CONNECT = [(b":method", b"CONNECT"), (b":authority", b"a.example:443")]
WEBSOCKET = [(b":method", b"CONNECT"), (b":protocol", b"websocket"), *GET[1:], (b"sec-websocket-version", b"13")]

DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = range(10)
END_STREAM, END_HEADERS, PADDED, PRIORITIZED = 0x1, 0x4, 0x8, 0x20


# ------------------------------------------------------------------------------------------------------------- builders
def raw(kind: int, flags: int, stream: int, payload: bytes = b"", length: int | None = None) -> bytes:
    """Nine bytes and a payload, right or wrong."""
    length = len(payload) if length is None else length
    return length.to_bytes(3, "big") + bytes((kind, flags)) + struct.pack(">L", stream) + payload


def block(lines) -> bytes:
    """Lines that leave nothing in a table."""
    return hpack.Encoder().encode([hpack.NeverIndexedHeaderTuple(*line) for line in lines])


def head(stream: int, lines, *flags: str) -> bytes:
    """HEADERS, complete; END_STREAM unless "open" is said."""
    kinds = ["END_HEADERS", *([] if "open" in flags else ["END_STREAM"])]
    return hf.HeadersFrame(stream, block(lines), flags=kinds).serialize()


def data(stream: int, payload: bytes = b"x", ended: bool = True) -> bytes:
    return hf.DataFrame(stream, payload, flags=["END_STREAM"] if ended else []).serialize()


def update(stream: int, more: int) -> bytes:
    return raw(WINDOW_UPDATE, 0, stream, struct.pack(">L", more))


def setting(kind: int, value: int) -> bytes:
    return raw(SETTINGS, 0, 0, struct.pack(">HL", kind, value))


def without(name: bytes, lines=GET):
    return [line for line in lines if line[0] != name]


def changed(name: bytes, value: bytes, lines=GET):
    return [(name, value) if line[0] == name else line for line in lines]


RESET = raw(RST_STREAM, 0, 1, struct.pack(">L", 8))
PING_1 = raw(PING, 0, 0, b"12345678")
OPEN = head(1, POST, "open")
PIECES = block(GET)
MOST = 2**31 - 1

# ------------------------------------------------------------------------------ what clients may do, and what not
CLIENTS: dict[str, tuple[bytes, str]] = {
    # 3.4 and 4: frames
    "3.4 the first frame is not SETTINGS": (PING_1, "goaway PROTOCOL_ERROR"),
    "4.1 an unknown kind of frame is ignored": (raw(0x16, 0xFF, 0, bytes(8)) + head(1, GET), "answer 1 200"),
    "4.1 unknown flags are ignored": (raw(PING, 0x16, 0, bytes(8)) + head(1, GET), "answer 1 200"),
    "4.1 the reserved bit of a stream is ignored": (raw(HEADERS, 5, 0x80000001, PIECES), "answer 1 200"),
    "4.2 a frame of 2^14 bytes is taken": (OPEN + data(1, bytes(1 << 14)), "answer 1 200"),
    "4.2 DATA beyond it": (OPEN + data(1, bytes((1 << 14) + 1)), "goaway FRAME_SIZE_ERROR"),
    "4.2 HEADERS beyond it": (raw(HEADERS, 5, 1, bytes((1 << 14) + 1)), "goaway FRAME_SIZE_ERROR"),
    "4.2 too small for the priority that it announces": (raw(HEADERS, 0x25, 1, b"\0\0\0"), "goaway FRAME_SIZE_ERROR"),
    "4.3 a block that is no HPACK": (raw(HEADERS, 5, 1, b"\xff\xff\xff\xff\xff\xff"), "goaway COMPRESSION_ERROR"),
    "4.3 PRIORITY within a block": (raw(HEADERS, 1, 1, PIECES) + raw(PRIORITY, 0, 1, bytes(5)),
                                    "goaway PROTOCOL_ERROR"),
    "4.3 another stream's HEADERS within a block": (raw(HEADERS, 1, 1, PIECES) + head(3, GET), "goaway PROTOCOL_ERROR"),
    "5.5 an unknown frame within a block": (raw(HEADERS, 1, 1, PIECES) + raw(0x16, 0, 1), "goaway PROTOCOL_ERROR"),
    # 5.1: states of streams
    "5.1 idle: DATA": (data(1), "goaway PROTOCOL_ERROR"),
    "5.1 idle: RST_STREAM": (RESET, "goaway PROTOCOL_ERROR"),
    "5.1 idle: WINDOW_UPDATE": (update(1, 100), "goaway PROTOCOL_ERROR"),
    "5.1 idle: CONTINUATION": (raw(CONTINUATION, 4, 1, PIECES), "goaway PROTOCOL_ERROR"),
    "5.1 idle: PRIORITY may be": (raw(PRIORITY, 0, 1, bytes(5)) + head(1, GET), "answer 1 200"),
    "5.1 half-closed: DATA": (head(1, GET) + data(1), "goaway STREAM_CLOSED"),
    "5.1 half-closed: HEADERS": (head(1, GET) + head(1, GET), "goaway STREAM_CLOSED"),
    "5.1 half-closed: CONTINUATION": (head(1, GET) + raw(CONTINUATION, 4, 1, PIECES), "goaway PROTOCOL_ERROR"),
    "5.1 half-closed: WINDOW_UPDATE may be": (head(1, GET) + update(1, 100), "answer 1 200"),
    "5.1 closed by RST_STREAM: DATA": (OPEN + RESET + data(1), "goaway STREAM_CLOSED"),
    "5.1 closed by RST_STREAM: HEADERS": (OPEN + RESET + head(1, GET), "goaway STREAM_CLOSED"),
    "5.1 closed: WINDOW_UPDATE and RST_STREAM may be late": (OPEN + RESET + update(1, 9) + RESET + head(3, GET),
                                                              "answer 3 200"),
    "5.1.1 an even stream": (head(2, GET), "goaway PROTOCOL_ERROR"),
    "5.1.1 a lower stream, never opened": (head(5, GET) + head(3, GET), "goaway PROTOCOL_ERROR"),
    "5.1.1 a lower stream after several gaps": (head(7, GET) + head(21, GET) + head(9, GET), "goaway PROTOCOL_ERROR"),
    "5.1.1 streams may be skipped": (head(1, GET) + head(33, GET), "answer 33 200"),
    "5.3 a stream that depends on itself": (raw(PRIORITY, 0, 1, struct.pack(">LB", 1, 5)), "goaway PROTOCOL_ERROR"),
    "5.3 HEADERS that depend on their own stream": (raw(HEADERS, 0x25, 1, struct.pack(">LB", 1, 5) + PIECES),
                                                     "goaway PROTOCOL_ERROR"),
    # 6.1 to 6.10: kinds of frames
    "6.1 DATA of no stream": (data(1).replace(b"\0\0\0\1x", b"\0\0\0\0x"), "goaway PROTOCOL_ERROR"),
    "6.1 padding is no body": (OPEN + raw(DATA, END_STREAM | PADDED, 1, b"\x05hello" + bytes(5)), "answer 1 200"),
    "6.1 nothing but padding": (OPEN + raw(DATA, END_STREAM | PADDED, 1, b"\x05" + bytes(5)), "answer 1 200"),
    "6.1 as much padding as payload": (OPEN + raw(DATA, END_STREAM | PADDED, 1, b"\x06hello"), "goaway PROTOCOL_ERROR"),
    "6.2 HEADERS of no stream": (raw(HEADERS, 5, 0, PIECES), "goaway PROTOCOL_ERROR"),
    "6.2 padding and a priority": (raw(HEADERS, 0x2D, 1, b"\x02" + bytes(5) + PIECES + bytes(2)), "answer 1 200"),
    "6.2 more padding than is left": (raw(HEADERS, 0xD, 1, b"\xff" + PIECES), "goaway PROTOCOL_ERROR"),
    "6.3 PRIORITY of no stream": (raw(PRIORITY, 0, 0, bytes(5)), "goaway PROTOCOL_ERROR"),
    "6.3 PRIORITY of 4 bytes": (raw(PRIORITY, 0, 1, bytes(4)), "goaway FRAME_SIZE_ERROR"),
    "6.4 RST_STREAM of no stream": (raw(RST_STREAM, 0, 0, bytes(4)), "goaway PROTOCOL_ERROR"),
    "6.4 RST_STREAM of 3 bytes": (OPEN + raw(RST_STREAM, 0, 1, bytes(3)), "goaway FRAME_SIZE_ERROR"),
    "6.4 an unknown error code": (OPEN + raw(RST_STREAM, 0, 1, b"\xff" * 4) + head(3, GET), "answer 3 200"),
    "6.5 SETTINGS of a stream": (raw(SETTINGS, 0, 1), "goaway PROTOCOL_ERROR"),
    "6.5 SETTINGS of 3 bytes": (raw(SETTINGS, 0, 0, bytes(3)), "goaway FRAME_SIZE_ERROR"),
    "6.5 an acknowledgement that says something": (raw(SETTINGS, 1, 0, bytes(6)), "goaway FRAME_SIZE_ERROR"),
    "6.5.2 ENABLE_PUSH is 2": (setting(2, 2), "goaway PROTOCOL_ERROR"),
    "6.5.2 INITIAL_WINDOW_SIZE is 2^31": (setting(4, 1 << 31), "goaway FLOW_CONTROL_ERROR"),
    "6.5.2 MAX_FRAME_SIZE is 2^14 - 1": (setting(5, (1 << 14) - 1), "goaway PROTOCOL_ERROR"),
    "6.5.2 MAX_FRAME_SIZE is 2^24": (setting(5, 1 << 24), "goaway PROTOCOL_ERROR"),
    "6.5.2 an unknown setting is ignored": (setting(0xFFFF, 7) + head(1, GET), "answer 1 200"),
    "6.5.3 the last of several values counts": (raw(SETTINGS, 0, 0, struct.pack(">HLHL", 4, 0, 4, 9)) + head(1, GET),
                                                 "answer 1 200"),
    "6.6 PUSH_PROMISE of a client": (raw(PUSH_PROMISE, 4, 1, struct.pack(">L", 2) + PIECES), "goaway PROTOCOL_ERROR"),
    "6.7 PING of a stream": (raw(PING, 0, 1, bytes(8)), "goaway PROTOCOL_ERROR"),
    "6.7 PING of 6 bytes": (raw(PING, 0, 0, bytes(6)), "goaway FRAME_SIZE_ERROR"),
    "6.7 an answer to no PING": (raw(PING, 1, 0, bytes(8)) + head(1, GET), "answer 1 200"),
    "6.8 GOAWAY of a stream": (raw(GOAWAY, 0, 1, bytes(8)), "goaway PROTOCOL_ERROR"),
    "6.8 GOAWAY of 7 bytes": (raw(GOAWAY, 0, 0, bytes(7)), "goaway FRAME_SIZE_ERROR"),
    "6.9 WINDOW_UPDATE of 3 bytes": (update(0, 1)[:2] + b"\x03" + update(0, 1)[3:-1], "goaway FRAME_SIZE_ERROR"),
    "6.9 by nothing, of the connection": (update(0, 0), "goaway PROTOCOL_ERROR"),
    "6.9 by nothing, of a stream": (OPEN + update(1, 0), "reset 1 PROTOCOL_ERROR"),
    "6.9.1 beyond 2^31 - 1, of the connection": (update(0, MOST) * 2, "goaway FLOW_CONTROL_ERROR"),
    "6.9.1 beyond 2^31 - 1, of a stream": (OPEN + update(1, MOST) * 2, "reset 1 FLOW_CONTROL_ERROR"),
    "6.9.1 exactly 2^31 - 1": (OPEN + update(1, MOST - 65_535) + data(1), "answer 1 200"),
    "6.9.2 INITIAL_WINDOW_SIZE makes a window too large": (OPEN + update(1, 1) + setting(4, MOST),
                                                            "goaway FLOW_CONTROL_ERROR"),
    "6.10 a block in three frames": (raw(HEADERS, 1, 1, PIECES[:1]) + raw(CONTINUATION, 0, 1, b"")
                                     + raw(CONTINUATION, 4, 1, PIECES[1:]), "answer 1 200"),
    "6.10 CONTINUATION of no stream": (raw(HEADERS, 1, 1, PIECES) + raw(CONTINUATION, 4, 0), "goaway PROTOCOL_ERROR"),
    "6.10 CONTINUATION of another stream": (raw(HEADERS, 1, 1, PIECES) + raw(CONTINUATION, 4, 3),
                                            "goaway PROTOCOL_ERROR"),
    "6.10 CONTINUATION behind a whole block": (OPEN + raw(CONTINUATION, 4, 1), "goaway PROTOCOL_ERROR"),
    "6.10 CONTINUATION behind DATA": (OPEN + data(1, b"x", False) + raw(CONTINUATION, 4, 1), "goaway PROTOCOL_ERROR"),
    # 8: requests
    "8.1 a second head in the middle of a body": (OPEN + head(1, [(b"x", b"1")], "open"), "reset 1 PROTOCOL_ERROR"),
    "8.1 trailers": (OPEN + data(1, b"x", False) + head(1, [(b"x", b"1")]), "answer 1 200"),
    "8.1 trailers with pseudo-fields": (OPEN + head(1, [(b":path", b"/")]), "reset 1 PROTOCOL_ERROR"),
    "8.1.1 content-length that DATA falls short of": (head(1, [*POST, (b"content-length", b"2")], "open") + data(1),
                                                       "reset 1 PROTOCOL_ERROR"),
    "8.1.1 content-length that DATA exceeds in two": (
        head(1, [*POST, (b"content-length", b"1")], "open") + data(1, b"x", False) + data(1), "reset 1 PROTOCOL_ERROR"),
    "8.1.1 content-length that trailers cut off": (
        head(1, [*POST, (b"content-length", b"2")], "open") + data(1, b"x", False) + head(1, [(b"x", b"1")]),
        "reset 1 PROTOCOL_ERROR"),
    "8.1.1 content-length and no DATA": (head(1, [*POST, (b"content-length", b"2")]), "reset 1 PROTOCOL_ERROR"),
    "8.2.1 an upper-case name": (head(1, [*GET, (b"X-Name", b"1")]), "reset 1 PROTOCOL_ERROR"),
    "8.2.1 a blank in a name": (head(1, [*GET, (b"x name", b"1")]), "reset 1 PROTOCOL_ERROR"),
    "8.2.1 a colon in a name": (head(1, [*GET, (b"x:name", b"1")]), "reset 1 PROTOCOL_ERROR"),
    "8.2.1 NUL in a value": (head(1, [*GET, (b"x", b"a\0b")]), "reset 1 PROTOCOL_ERROR"),
    "8.2.1 CR LF in a value": (head(1, [*GET, (b"x", b"a\r\nb: c")]), "reset 1 PROTOCOL_ERROR"),
    "8.2.1 a blank before a value": (head(1, [*GET, (b"x", b" a")]), "reset 1 PROTOCOL_ERROR"),
    "8.2.1 a tab behind a value": (head(1, [*GET, (b"x", b"a\t")]), "reset 1 PROTOCOL_ERROR"),
    **{f"8.2.2 {name.decode()}": (head(1, [*GET, (name, value)]), "reset 1 PROTOCOL_ERROR") for name, value in (
        (b"connection", b"close"), (b"proxy-connection", b"close"), (b"keep-alive", b"timeout=5"),
        (b"transfer-encoding", b"chunked"), (b"upgrade", b"h2c"), (b"te", b"trailers, gzip"))},
    "8.2.2 te may be trailers": (head(1, [*GET, (b"te", b"trailers")]), "answer 1 200"),
    "8.3 an unknown pseudo-field": (head(1, [*GET, (b":test", b"ok")]), "reset 1 PROTOCOL_ERROR"),
    "8.3 a pseudo-field of responses": (head(1, [*GET, (b":status", b"200")]), "reset 1 PROTOCOL_ERROR"),
    "8.3 a pseudo-field behind a field": (head(1, [*GET[:3], (b"x", b"1"), GET[3]]), "reset 1 PROTOCOL_ERROR"),
    **{f"8.3.1 no {name.decode()}": (head(1, without(name)), "reset 1 PROTOCOL_ERROR")
       for name in (b":method", b":scheme", b":path")},
    **{f"8.3.1 twice {line[0].decode()}": (head(1, [*GET, line]), "reset 1 PROTOCOL_ERROR") for line in GET},
    "8.3.1 an empty :path": (head(1, changed(b":path", b"")), "reset 1 PROTOCOL_ERROR"),
    "8.3.1 :path * with GET": (head(1, changed(b":path", b"*")), "reset 1 PROTOCOL_ERROR"),
    "8.3.1 a user in :authority": (head(1, changed(b":authority", b"user@a.example")), "reset 1 PROTOCOL_ERROR"),
    "8.3.1 host instead of :authority": (head(1, [*without(b":authority"), (b"host", b"a.example")]), "answer 1 200"),
    "8.3.1 host that differs": (head(1, [*GET, (b"host", b"b.example")]), "reset 1 PROTOCOL_ERROR"),
    "8.5 CONNECT is for no tunnel here": (head(1, CONNECT, "open"), "answer 1 405"),
    "8.5 CONNECT with :path": (head(1, [*CONNECT, (b":path", b"/")], "open"), "reset 1 PROTOCOL_ERROR"),
    "8.5 CONNECT with :scheme": (head(1, [*CONNECT, (b":scheme", b"http")], "open"), "reset 1 PROTOCOL_ERROR"),
    "8.5 CONNECT without :authority": (head(1, CONNECT[:1], "open"), "reset 1 PROTOCOL_ERROR"),
    "8.5 HEADERS in a tunnel": (head(1, WEBSOCKET, "open") + head(1, [(b"x", b"1")]), "reset 1 PROTOCOL_ERROR"),
    # RFC 8441 and 7541
    "8441 3: ENABLE_CONNECT_PROTOCOL is 2": (setting(8, 2), "goaway PROTOCOL_ERROR"),
    "8441 4: :protocol with GET": (head(1, [*GET, (b":protocol", b"websocket")]), "reset 1 PROTOCOL_ERROR"),
    "8441 4: without :path": (head(1, without(b":path", WEBSOCKET), "open"), "reset 1 PROTOCOL_ERROR"),
    "8441 4: without :scheme": (head(1, without(b":scheme", WEBSOCKET), "open"), "reset 1 PROTOCOL_ERROR"),
    "7541 2.3.3: a line of no table": (raw(HEADERS, 5, 1, b"\xff\x0f" + PIECES), "goaway COMPRESSION_ERROR"),
    "7541 4.2: a size update behind a line": (raw(HEADERS, 5, 1, PIECES + b"\x20"), "goaway COMPRESSION_ERROR"),
    "7541 4.2: size updates before the lines": (raw(HEADERS, 5, 1, b"\x20\x3f\xe1\x1f" + PIECES), "answer 1 200"),
    "7541 5.1: a number without end": (raw(HEADERS, 5, 1, b"\xff" * 20), "goaway COMPRESSION_ERROR"),
    "7541 5.2: padding longer than 7 bits": (raw(HEADERS, 5, 1, PIECES + b"\x00\x81\xff\x82\x1c\xff"),
                                             "goaway COMPRESSION_ERROR"),
    "7541 5.2: padding of zeros": (raw(HEADERS, 5, 1, PIECES + b"\x00\x01x\x81\x18"), "goaway COMPRESSION_ERROR"),
    "7541 5.2: the end-of-string symbol": (raw(HEADERS, 5, 1, PIECES + b"\x00\x01x\x84\xff\xff\xff\xff"),
                                           "goaway COMPRESSION_ERROR"),
    "7541 6.1: line 0": (raw(HEADERS, 5, 1, PIECES + b"\x80"), "goaway COMPRESSION_ERROR"),
    "7541 6.3: a size beyond what was offered": (raw(HEADERS, 5, 1, b"\x3f\xe2\x1f" + PIECES),
                                                 "goaway COMPRESSION_ERROR"),
}  # fmt: skip

# ------------------------------------------------------------------- what backends may not answer, and what comes of it
OK_HEAD = [(b":status", b"200")]

# what is sent once the request (GET on stream 1) is there; what our end says to that; what the client gets
BACKENDS: dict[str, tuple[bytes, str, int]] = {
    "a whole answer": (head(1, OK_HEAD), "", 200),
    "5.1 DATA on a stream that nobody opened": (data(3), "goaway PROTOCOL_ERROR", 502),
    "5.1.1 HEADERS on a stream of the server's own": (head(2, OK_HEAD), "goaway PROTOCOL_ERROR", 502),
    "6.5.2 ENABLE_PUSH is 1": (setting(2, 1), "goaway PROTOCOL_ERROR", 502),
    "6.9.1 a window too large": (update(1, MOST), "reset 1 FLOW_CONTROL_ERROR", 502),
    "8.1 DATA before a head": (data(1), "reset 1 PROTOCOL_ERROR", 502),
    "8.1 an end without a head": (data(1, b""), "reset 1 PROTOCOL_ERROR", 502),
    "8.1 an early head that ends the stream": (head(1, [(b":status", b"103")]), "reset 1 PROTOCOL_ERROR", 502),
    "8.1 an early head, then the head": (head(1, [(b":status", b"103")], "open") + head(1, OK_HEAD), "", 200),
    "8.1.1 content-length and no DATA": (head(1, [*OK_HEAD, (b"content-length", b"2")]), "reset 1 PROTOCOL_ERROR", 502),
    "8.2.1 an upper-case name": (head(1, [*OK_HEAD, (b"Server", b"x")]), "reset 1 PROTOCOL_ERROR", 502),
    "8.2.2 connection": (head(1, [*OK_HEAD, (b"connection", b"close")]), "reset 1 PROTOCOL_ERROR", 502),
    "8.2.2 transfer-encoding": (head(1, [*OK_HEAD, (b"transfer-encoding", b"chunked")]), "reset 1 PROTOCOL_ERROR", 502),
    "8.3 a pseudo-field of requests": (head(1, [*OK_HEAD, (b":path", b"/")]), "reset 1 PROTOCOL_ERROR", 502),
    "8.3 a pseudo-field behind a field": (head(1, [(b"x", b"1"), *OK_HEAD]), "reset 1 PROTOCOL_ERROR", 502),
    "8.3.2 no :status": (head(1, [(b"x", b"1")]), "reset 1 PROTOCOL_ERROR", 502),
    "8.3.2 two of them": (head(1, OK_HEAD * 2), "reset 1 PROTOCOL_ERROR", 502),
    "8.4 PUSH_PROMISE": (raw(PUSH_PROMISE, 4, 1, struct.pack(">L", 2) + PIECES), "goaway PROTOCOL_ERROR", 502),
    "8.6 101": (head(1, [(b":status", b"101")], "open"), "reset 1 PROTOCOL_ERROR", 502),
    "7541 a block that is no HPACK": (raw(HEADERS, 5, 1, b"\xbe"), "goaway COMPRESSION_ERROR", 502),
}  # fmt: skip


# --------------------------------------------------------------------------------------------------------------- judges
class Reader:
    """What an endpoint says, in the words of the tables."""

    def __init__(self, reader: asyncio.StreamReader) -> None:
        self.reader, self.decoder = reader, hpack.Decoder()
        self.said: set[str] = set()
        self.opened: set[int] = set()

    async def frame(self) -> hf.Frame:
        """The next one, noted. IncompleteReadError: the end."""
        found, size = hf.Frame.parse_frame_header(memoryview(await self.reader.readexactly(9)))
        found.parse_body(memoryview(await self.reader.readexactly(size)))
        if isinstance(found, hf.GoAwayFrame):
            self.said.add(f"goaway {Code(found.error_code).name}")
        elif isinstance(found, hf.RstStreamFrame) and found.error_code:  # NO_ERROR behind an answer: 8.1
            self.said.add(f"reset {found.stream_id} {Code(found.error_code).name}")
        elif isinstance(found, hf.HeadersFrame):
            assert "END_HEADERS" in found.flags
            lines = self.decoder.decode(found.data, raw=True)
            if found.stream_id not in self.opened:
                self.opened.add(found.stream_id)
                self.said.add(f"answer {found.stream_id} {dict(lines).get(b':status', b'').decode()}")
        return found

    async def until(self, *wanted: str) -> bool:
        """Have these been said? False: the connection ended before."""
        try:
            while not set(wanted) <= self.said:
                await self.frame()
        except (asyncio.IncompleteReadError, ConnectionResetError):
            return False
        return True


@pytest.mark.parametrize("case", CLIENTS)
def test_clients(case):
    sent, expected = CLIENTS[case]

    async def test():
        async with backend(answering(OK)) as there, proxying(there) as (_, port):
            stream, writer = await asyncio.open_connection("127.0.0.1", port)
            reader = Reader(stream)
            async with asyncio.timeout(PATIENCE):
                writer.write((PREFACE if case.startswith("3.4") else GREETING) + sent)
                if expected.startswith("goaway"):
                    assert await reader.until(expected), reader.said
                    assert not await reader.until("the end")
                else:
                    writer.write(head(GOOD, GET))
                    assert await reader.until(expected, f"answer {GOOD} 200"), reader.said
                    wrong = {one for one in reader.said if not one.startswith("answer")}
                    assert wrong <= {expected}, reader.said
            writer.close()

    together(test)


@pytest.mark.parametrize("case", BACKENDS)
def test_backends(case):
    """Our end says what is wrong; the client gets a clear status, and the next request a good answer."""
    sent, expected, status = BACKENDS[case]
    said: list[set[str]] = []

    async def talk(reader, writer):
        await reader.readexactly(len(PREFACE))
        writer.write(hf.SettingsFrame(0).serialize())
        said.append(set())
        heard = Reader(reader)
        heard.said = said[-1]
        first = len(said) == 1
        while True:
            found = await heard.frame()
            if isinstance(found, hf.HeadersFrame):
                writer.write(sent if first and found.stream_id == 1 else head(found.stream_id, OK_HEAD))

    async def test():
        async with backend(talk) as there, proxying(there, protocol="h2c") as (_, port):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            for wanted in (status, 200):
                writer.write(get(close=False))
                async with asyncio.timeout(PATIENCE):
                    answer = await reader.readuntil(b"\r\n\r\n")
                    while answer.startswith(b"HTTP/1.1 103 "):
                        answer = await reader.readuntil(b"\r\n\r\n")
                    assert answer.startswith(b"HTTP/1.1 %d " % wanted), answer
                    if wanted != 200:
                        await reader.readuntil(b"bad gateway\n")
            async with asyncio.timeout(PATIENCE):
                while expected and expected not in said[0]:
                    await asyncio.sleep(0.01)
            assert {one for one in said[0] if not one.startswith("answer")} == ({expected} if expected else set())
            writer.close()

    together(test)


def test_a_backend_that_says_fields_in_a_tunnel():
    """Section 8.5: they are an error of the stream; the client sees the tunnel break off, not end."""
    said: set[str] = set()

    async def talk(reader, writer):
        await reader.readexactly(len(PREFACE))
        writer.write(setting(8, 1))
        heard = Reader(reader)
        heard.said = said
        while True:
            found = await heard.frame()
            if isinstance(found, hf.HeadersFrame):
                writer.write(head(1, OK_HEAD, "open") + data(1, b"in the tunnel", False) + head(1, [(b"x", b"1")]))

    async def test():
        async with backend(talk) as there, proxying(there, protocol="h2c") as (_, port):
            stream, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(GREETING + head(1, WEBSOCKET, "open"))
            async with asyncio.timeout(PATIENCE):
                client = Reader(stream)
                assert await client.until("reset 1 INTERNAL_ERROR")
                while "reset 1 PROTOCOL_ERROR" not in said:
                    await asyncio.sleep(0.01)
            writer.close()

    together(test)
