"""What each kind of frame does to a connection (RFC 9113 section 6).

Rule of this file: one function for one kind, and the table of them. Every function has the frame's flags, its stream
and its payload, checks them, charges what they cost, and tells the connection or the stream.

Faults. What is wrong with a stream ends that stream (`connection.broken`); what leaves the two ends without a common
state (lengths, order, compression, windows of the connection) is raised as Fault and ends the connection.

Traps
- A header block changes the HPACK table whatever becomes of its stream, so it is always decoded.
- DATA counts against the connection's window even if its stream has gone: given back at once, or the window leaks.
- A GOAWAY ends nothing by itself (6.8): streams up to the one it names go on.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from lbcore.l7.http2 import frames, hpack, patience
from lbcore.l7.http2.frames import Code, Fault
from lbcore.l7.http2.hpack import Line
from lbcore.l7.http2.settings import on_settings
from lbcore.l7.http2.windows import on_window_update

if TYPE_CHECKING:
    from lbcore.l7.http2.connection import Connection


def on_data(connection: Connection, flags: int, number: int, payload: bytes) -> None:
    """DATA (6.1): counts against both windows whatever becomes of it."""
    size = len(payload)
    ended = bool(flags & frames.END_STREAM)
    if flags & frames.PADDED:
        payload = frames.unpadded(payload, flags & frames.PADDED)
    if not connection.intake.take(size):
        raise Fault(Code.FLOW_CONTROL_ERROR, "more than the connection's window has room for")
    stream = connection.streams.get(number)
    if stream is None or stream.ended_in:
        connection.closed(number, "DATA")
        connection.give_back(size)
        return
    connection.charge(patience.MOVED if payload else patience.EMPTY if not ended else 0.0)
    connection.touched[stream] = None
    stream.take(payload, size, ended)


def on_headers(connection: Connection, flags: int, number: int, payload: bytes) -> None:
    """HEADERS (6.2): a header block, or its beginning."""
    if flags & frames.PADDED_PRIORITIZED:
        if flags & frames.PRIORITIZED:
            at = 1 if flags & frames.PADDED else 0
            if len(payload) >= at + 4 and frames.WORD.unpack_from(payload, at)[0] & frames.MOST == number:
                raise Fault(Code.PROTOCOL_ERROR, f"stream {number} depends on itself")
        payload = frames.unpadded(payload, flags)
    if flags & frames.END_HEADERS:
        _head(connection, flags, number, payload)
    else:
        connection.block = (number, flags, [payload])


def on_continuation(connection: Connection, flags: int, number: int, payload: bytes) -> None:
    """CONTINUATION (6.10): more of a header block."""
    if connection.block is None:
        raise Fault(Code.PROTOCOL_ERROR, "CONTINUATION that continues nothing (RFC 9113 section 6.10)")
    _, first, pieces = connection.block
    pieces.append(payload)
    if len(pieces) > connection.own.continuations or sum(map(len, pieces)) > connection.limits.head:
        raise Fault(Code.ENHANCE_YOUR_CALM, "a header block in too many frames, or of too many bytes")
    if flags & frames.END_HEADERS:
        connection.block = None
        _head(connection, first, number, b"".join(pieces))


def _head(connection: Connection, flags: int, number: int, block: bytes) -> None:
    """A whole header block. It changes the table of the decoder, so it is decoded whatever becomes of its stream."""
    ended = bool(flags & frames.END_STREAM)
    lines: list[Line] | None
    why = ""
    try:
        lines = connection.decoder.decode(block, connection.limits.head, connection.limits.fields + 8)
    except hpack.TooBig as error:
        lines, why = None, str(error)
    except hpack.BadBlock as error:
        raise Fault(Code.COMPRESSION_ERROR, str(error)) from None
    stream = connection.streams.get(number)
    if stream is None:
        _new(connection, number, lines, ended, why)
        return
    connection.touched[stream] = None
    if stream.ended_in:
        connection.closed(number, "HEADERS")
    elif lines is None:
        connection.broken(stream, Code.ENHANCE_YOUR_CALM, why)
    else:
        stream.on_head(lines, ended)


def _new(connection: Connection, number: int, lines: list[Line] | None, ended: bool, why: str) -> None:
    """A header block for a stream that is not open: the peer opens one, or is late, or is wrong."""
    if connection.server and not number & 1:
        raise Fault(Code.PROTOCOL_ERROR, f"HEADERS for stream {number}: a client's are odd (RFC 9113 section 5.1.1)")
    if not connection.server or number <= connection.last:
        if any(number in gap for gap in connection.skipped):
            raise Fault(Code.PROTOCOL_ERROR, f"stream {number}: passed over before (RFC 9113 section 5.1.1)")
        connection.closed(number, "HEADERS")
        return
    if number > connection.last + 2:
        connection.skipped.append(range(connection.last + 1, number))
    connection.last = number
    if connection.leaving and connection.going is not None and number > connection.going:
        connection.out.append(frames.reset(number, Code.REFUSED_STREAM))
        connection.remember(number)
    elif len(connection.streams) >= connection.own.streams:
        connection.charge(patience.RESET)
        connection.out.append(frames.reset(number, Code.REFUSED_STREAM))
        connection.remember(number)
    elif lines is None:
        connection.charge(patience.BAD)
        connection.on_too_big(number, why)
    else:
        connection.touched[connection.on_stream(number, lines, ended)] = None


def on_priority(connection: Connection, flags: int, number: int, payload: bytes) -> None:
    """PRIORITY (6.3): deprecated, checked and ignored."""
    if len(payload) != 5:
        raise Fault(Code.FRAME_SIZE_ERROR, "PRIORITY has 5 bytes (RFC 9113 section 6.3)")
    if number == 0 or frames.WORD.unpack_from(payload)[0] & frames.MOST == number:
        raise Fault(Code.PROTOCOL_ERROR, "PRIORITY of no stream, or on itself")
    connection.charge(patience.COST[frames.PRIORITY])


def on_reset(connection: Connection, flags: int, number: int, payload: bytes) -> None:
    """RST_STREAM (6.4): the peer gives a stream up."""
    if len(payload) != 4:
        raise Fault(Code.FRAME_SIZE_ERROR, "RST_STREAM has 4 bytes (RFC 9113 section 6.4)")
    if connection.idle(number):
        raise Fault(Code.PROTOCOL_ERROR, f"RST_STREAM for stream {number}, which is idle")
    stream = connection.streams.get(number)
    if stream is None:
        connection.charge(patience.LATE)
        return
    code = frames.WORD.unpack(payload)[0]
    stream.leave()
    connection.touched[stream] = None
    stream.on_broken("refused stream" if code == Code.REFUSED_STREAM else f"reset: {frames.name_of(code)}")
    if connection.server:
        connection.charge(patience.RESET)


def on_push(connection: Connection, flags: int, number: int, payload: bytes) -> None:
    """PUSH_PROMISE (6.6): we never allow it."""
    raise Fault(Code.PROTOCOL_ERROR, "PUSH_PROMISE, which was switched off (RFC 9113 section 8.4)")


def on_ping(connection: Connection, flags: int, number: int, payload: bytes) -> None:
    """PING (6.7): answered. The answer to our own, which followed a GOAWAY: everything sent before it is here."""
    if number:
        raise Fault(Code.PROTOCOL_ERROR, "PING for a stream (RFC 9113 section 6.7)")
    if len(payload) != 8:
        raise Fault(Code.FRAME_SIZE_ERROR, "PING has 8 bytes (RFC 9113 section 6.7)")
    if not flags & frames.ACK:
        if connection.pinged == connection.moved:  # else it measures how long the DATA took that we sent, as gRPC does
            connection.charge(patience.COST[frames.PING])
        connection.pinged = connection.moved
        connection.out.append(frames.frame(frames.PING, frames.ACK, 0, payload))
    elif connection.leaving and connection.going is None:
        connection.going = connection.last
        connection.out.append(frames.goaway(connection.last, Code.NO_ERROR))
        connection.perhaps_leave()


def on_goaway(connection: Connection, flags: int, number: int, payload: bytes) -> None:
    """GOAWAY (6.8): the peer takes no more streams; those up to the one it names go on."""
    if number:
        raise Fault(Code.PROTOCOL_ERROR, "GOAWAY for a stream (RFC 9113 section 6.8)")
    if len(payload) < 8:
        raise Fault(Code.FRAME_SIZE_ERROR, "GOAWAY has 8 bytes at least (RFC 9113 section 6.8)")
    if connection.server:
        connection.leaving = True  # a client that says goodbye: nothing of ours is in question
        connection.going = connection.last
    else:
        connection.going = frames.WORD.unpack_from(payload)[0] & frames.MOST
        for stream in [one for key, one in connection.streams.items() if key > connection.going or not one.begun]:
            stream.leave()
            connection.touched[stream] = None
            stream.on_broken("refused stream")
    connection.perhaps_leave()


HANDLERS: Final[dict[int, Callable[[Connection, int, int, bytes], None]]] = {
    frames.DATA: on_data,
    frames.HEADERS: on_headers,
    frames.PRIORITY: on_priority,
    frames.RST_STREAM: on_reset,
    frames.SETTINGS: on_settings,
    frames.PUSH_PROMISE: on_push,
    frames.PING: on_ping,
    frames.GOAWAY: on_goaway,
    frames.WINDOW_UPDATE: on_window_update,
    frames.CONTINUATION: on_continuation,
}
