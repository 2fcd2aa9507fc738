"""Our connection without a proxy, and the `h2` package at the other end; bytes are carried by hand."""

from __future__ import annotations

import h2.config
import h2.connection
import h2.events
import hpack

from lbcore.l7.http2 import frames
from lbcore.l7.http2.connection import Connection
from lbcore.l7.http2.frames import Fault
from lbcore.l7.http2.limits import Http2Limits
from lbcore.l7.http2.stream import Stream
from lbcore.l7.limits import Limits

GET = [(b":method", b"GET"), (b":scheme", b"http"), (b":authority", b"a"), (b":path", b"/")]
POST = [(b":method", b"POST"), *GET[1:]]
OK = [(b":status", b"200")]


class Recorder(Stream):
    """Writes down what it is told."""

    def __init__(self, connection: Ours, number: int = 0) -> None:
        super().__init__(connection)
        self.id = number
        self.heads: list[list] = []
        self.data = bytearray()
        self.trailers: list | None = None
        self.broken = ""
        self.ready = self.settled = 0

    def on_head(self, lines, ended):
        self.heads.append(lines)
        if ended:
            self.take_end(lines if len(self.heads) > 1 else [])

    def on_data(self, data):
        self.data += data

    def on_end(self, trailers):
        self.trailers = trailers

    def on_broken(self, why):
        assert not self.broken
        self.broken = why

    def on_ready(self):
        self.ready += 1

    def on_settled(self):
        self.settled += 1


class Ours(Connection):
    """Our end; `answer(stream)` is called when a request is complete."""

    def __init__(
        self, server: bool = True, own: Http2Limits | None = None, answer=None, common=None, clock=None
    ) -> None:
        self.all: dict[int, Stream] = {}
        self.left = 0
        self.answer = answer
        super().__init__(server, common or Limits(), own, clock or (lambda: 0.0))

    def on_stream(self, number, lines, ended):
        stream = self.all[number] = self.streams[number] = Recorder(self, number)
        if self.answer:
            end = stream.on_end
            stream.on_end = lambda trailers: (end(trailers), self.answer(stream))
        stream.on_head(lines, ended)
        return stream

    def on_too_big(self, number, why):
        raise AssertionError(why)

    def on_leave(self):
        self.left += 1

    def request(self, lines, body: bytes | None = None) -> Recorder:
        """A stream of our own, as a client."""
        stream = Recorder(self)
        self.open(stream)
        stream.put_head(lines)
        if body is not None:
            stream.put_data(body)
            stream.put_end([])
        return stream

    def everything(self) -> bytes:
        """All that can go out now."""
        out = b""
        while data := self.emit():
            out += data
        return out


def theirs(client: bool = True) -> h2.connection.H2Connection:
    """The other end."""
    made = h2.connection.H2Connection(h2.config.H2Configuration(client_side=client, header_encoding=None))
    made.initiate_connection()
    return made


def exchange(ours: Ours, other: h2.connection.H2Connection, acknowledge: bool = True) -> list[h2.events.Event]:
    """Carry bytes both ways until both are silent; what the other was told."""
    events: list[h2.events.Event] = []
    for _ in range(2000):
        out = other.data_to_send()
        if out:
            ours.receive(out)
        back = ours.emit()
        if not out and not back:
            return events
        if back:
            for event in other.receive_data(back):
                events.append(event)
                if acknowledge and isinstance(event, h2.events.DataReceived) and event.flow_controlled_length:
                    other.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
    raise AssertionError("they never stop talking")


def raw(server: bool = True, **options) -> Ours:
    """Our end with its greetings done, for frames written by hand."""
    ours = Ours(server, **options)
    ours.receive((frames.PREFACE if server else b"") + frames.settings({}))
    ours.emit()
    return ours


def head(stream: int, lines, ended: bool = True) -> bytes:
    """HEADERS that need no table."""
    block = hpack.Encoder().encode([hpack.NeverIndexedHeaderTuple(*line) for line in lines])
    return frames.head(stream, block, ended, frames.LARGEST)


def split(data: bytes) -> list[tuple[int, int, int, bytes]]:
    """Frames apart: kind, flags, stream, payload."""
    return list(frames.split(data))


def fault(ours: Ours, data: bytes) -> Fault | None:
    """What is wrong with these bytes, if they end the connection."""
    try:
        ours.receive(data)
    except Fault as wrong:
        return wrong
    return None
