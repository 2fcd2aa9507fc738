"""Flow control (RFC 9113 sections 5.2 and 6.9): what may come, and what may go.

Rule of this file: windows only; bytes are counted here and kept elsewhere.

Theory. There are two windows in each direction: one of the stream and one of the connection, and DATA counts against
both. What we grant is an `Intake`: bytes that come close it, bytes that were passed on open it again, and the peer
hears of that when half of it has gathered, so that a WINDOW_UPDATE is rare. What we are granted is a number, `room`:
the peer's WINDOW_UPDATE and SETTINGS_INITIAL_WINDOW_SIZE change it.

Traps
- Streams that nobody reads hold the connection's window, and then the others wait as well: `clogged`. If what was read
  were given back by half of the connection's window, a few such streams would be enough for nothing to move again; so
  it is given back by half of a stream's.
- SETTINGS_INITIAL_WINDOW_SIZE changes the windows of open streams, which may become negative (6.9.2); never that of the
  connection.
- An increment of 0 or a window above 2**31 - 1 is the fault of the stream, or of the connection, that it is for
  (6.9, 6.9.1).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from lbcore.l7.http2 import frames, patience
from lbcore.l7.http2.frames import Code, Fault

if TYPE_CHECKING:
    from lbcore.l7.http2.connection import Connection


class Intake:
    """A window that we grant: `size` bytes may be on their way to us and not yet passed on.

    It is opened again when half of it, or half of `smaller`, has been passed on.
    """

    __slots__ = ("_passed_on", "_room", "_size", "_step")

    def __init__(self, size: int, smaller: int | None = None) -> None:
        self._size = self._room = size
        self._step = size if smaller is None else min(size, smaller)
        self._passed_on = 0

    @property
    def clogged(self) -> bool:
        """Is more than half of it taken by what was not passed on?"""
        return self._room * 2 < self._size

    def take(self, size: int) -> bool:
        """So many bytes came. False: more than the peer was allowed."""
        self._room -= size
        return self._room >= 0

    def give_back(self, size: int) -> int:
        """So many were passed on, or dropped. By how much to open the window now; mostly 0."""
        self._passed_on += size
        if self._passed_on * 2 < self._step:
            return 0
        more, self._passed_on = self._passed_on, 0
        self._room += more
        return more


def on_window_update(connection: Connection, flags: int, number: int, payload: bytes) -> None:
    """WINDOW_UPDATE (6.9): the peer takes more, on one stream or (number 0) on all together."""
    if len(payload) != 4:
        raise Fault(Code.FRAME_SIZE_ERROR, "WINDOW_UPDATE has 4 bytes (RFC 9113 section 6.9)")
    more = frames.WORD.unpack(payload)[0] & frames.MOST
    connection.charge(patience.COST[frames.WINDOW_UPDATE])
    if not number:
        if not more:
            raise Fault(Code.PROTOCOL_ERROR, "WINDOW_UPDATE by 0 (RFC 9113 section 6.9)")
        connection.room += more
        if connection.room > frames.MOST:
            raise Fault(Code.FLOW_CONTROL_ERROR, "the connection's window is too large (RFC 9113 section 6.9.1)")
        return
    stream = connection.streams.get(number)
    if stream is None:
        if connection.idle(number):
            raise Fault(Code.PROTOCOL_ERROR, f"WINDOW_UPDATE for stream {number}, which is idle")
        return
    stream.room += more
    if not more:
        connection.broken(stream, Code.PROTOCOL_ERROR, "WINDOW_UPDATE by 0")
    elif stream.room > frames.MOST:
        connection.broken(stream, Code.FLOW_CONTROL_ERROR, "a window that is too large")


def change_initial(connection: Connection, value: int) -> None:
    """SETTINGS_INITIAL_WINDOW_SIZE (6.9.2): of streams to come, and by the difference of those that are open."""
    if value > frames.MOST:
        raise Fault(Code.FLOW_CONTROL_ERROR, f"SETTINGS_INITIAL_WINDOW_SIZE is {value}: at most {frames.MOST}")
    change, connection.send_initial = value - connection.send_initial, value
    for stream in connection.streams.values():
        stream.room += change
        if stream.room > frames.MOST:
            raise Fault(Code.FLOW_CONTROL_ERROR, f"the window of stream {stream.id} is too large")
