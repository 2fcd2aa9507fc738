"""Windows of HTTP/2 at work: how far answers get when a caller does not read one of them.

Rule of this file: two ends of one connection, in memory; bytes are carried until both are silent.

Theory (RFC 9113 section 5.2). Each stream has a window, and the connection has one for all of its streams together. A
receiver gives back what it has read. What it has not read stays out of both, so a stream that nobody reads can use up
the connection's window, and then nobody sends anything. SETTINGS change the windows of streams; the connection's begins
at 65,535 bytes and grows by WINDOW_UPDATE alone (section 6.9.2).
"""

from __future__ import annotations

from lbcore.l7.http2.connection import Connection
from lbcore.l7.http2.hpack import Line
from lbcore.l7.http2.limits import Http2Limits
from lbcore.l7.http2.stream import AnyStream, Stream
from lbcore.l7.limits import Limits


class _Quiet(Stream[Connection]):
    """Counts bytes."""

    __slots__ = ("got",)

    def __init__(self, connection: Connection, number: int = 0) -> None:
        super().__init__(connection)
        self.got = 0
        if number:
            self.id = number

    def on_head(self, lines: list[Line], ended: bool) -> None:
        if ended:
            self.take_end([])

    def on_data(self, data: bytes) -> None:
        self.got += len(data)

    def on_end(self, trailers: list[Line]) -> None:
        pass

    def on_broken(self, why: str) -> None:
        raise ConnectionError(why)

    def on_ready(self) -> None:
        pass

    def on_settled(self) -> None:
        pass


class _Server(Connection):
    """Answers each stream with so many bytes."""

    def __init__(self, size: int) -> None:
        super().__init__(True, Limits(buffer=1 << 24))
        self.size = size

    def on_stream(self, number: int, lines: list[Line], ended: bool) -> AnyStream:
        stream = self.streams[number] = _Quiet(self, number)
        stream.put_head([(b":status", b"200")])
        stream.put_data(bytes(self.size))
        stream.put_end([])
        if ended:
            stream.take_end([])
        return stream


def progress(*, stream: int, connection: int, streams: int = 3, size: int = 500_000) -> dict[int, int]:
    """Bytes that the caller has read of each answer, by number of the stream, when nothing moves any more.

    It asks for so many answers of `size` bytes at once and never reads the first. stream, connection: its windows, in
    bytes; 65,535 at least for the connection.
    """
    client = Connection(False, Limits(), Http2Limits(window=stream, connection_window=connection))
    server = _Server(size)
    calls = [_Quiet(client) for _ in range(streams)]
    for call in calls:
        client.open(call)
        call.put_head([(b":method", b"GET"), (b":scheme", b"http"), (b":authority", b"a"), (b":path", b"/")])
        call.put_end([])
    calls[0].pause()
    there, back = client.emit(), b""
    while there or back:
        server.receive(there)
        back = server.emit()
        client.receive(back)
        there = client.emit()
    return {call.id: call.got for call in calls}
