"""SETTINGS (RFC 9113 section 6.5): what each end tells the other about itself.

Rule of this file: one setting, one line; what a setting means for windows or for the table of header blocks is said
where those are.

Theory. Settings are no negotiation. Each end says what it will take, the other acknowledges that it has heard, and they
hold for the sender of the SETTINGS only. A setting that we do not know is ignored (6.5.2).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from lbcore.l7.http2 import frames, patience, windows
from lbcore.l7.http2.frames import Code, Fault

if TYPE_CHECKING:
    from lbcore.l7.http2.connection import Connection


def greeting(connection: Connection) -> list[bytes]:
    """What a connection begins with: a client's preface, our settings, and a window wider than the usual one."""
    own = connection.own
    values = {frames.INITIAL_WINDOW: own.window, frames.MAX_HEAD: connection.limits.head}
    if connection.server:
        values |= {frames.MAX_STREAMS: own.streams, frames.ENABLE_CONNECT: 1}
    else:
        values |= {frames.ENABLE_PUSH: 0}
    out = [] if connection.server else [frames.PREFACE]
    out.append(frames.settings(values))
    if (more := own.connection_window - frames.WINDOW) > 0:
        out.append(frames.window_update(0, more))
    return out


def on_settings(connection: Connection, flags: int, number: int, payload: bytes) -> None:
    """SETTINGS: heed them in order, then acknowledge."""
    if number:
        raise Fault(Code.PROTOCOL_ERROR, "SETTINGS for a stream (RFC 9113 section 6.5)")
    if len(payload) % 6 or (flags & frames.ACK and payload):
        raise Fault(Code.FRAME_SIZE_ERROR, "SETTINGS of a size that they cannot have (RFC 9113 section 6.5)")
    if flags & frames.ACK:
        return
    connection.charge(patience.COST[frames.SETTINGS])
    for kind, value in frames.SETTING.iter_unpack(payload):
        _heed(connection, kind, value)
    connection.out.append(frames.frame(frames.SETTINGS, frames.ACK, 0))
    connection.on_settings()


def _heed(connection: Connection, kind: int, value: int) -> None:
    if kind == frames.TABLE_SIZE:
        connection.encoder.resize(value)
    elif kind == frames.INITIAL_WINDOW:
        windows.change_initial(connection, value)
    elif kind == frames.MAX_FRAME:
        if not frames.LARGEST <= value < 1 << 24:
            raise Fault(Code.PROTOCOL_ERROR, f"SETTINGS_MAX_FRAME_SIZE is {value}: 16384 to 16777215")
        connection.largest = min(value, frames.LARGEST)  # larger ones help nobody who shares the connection
    elif kind == frames.MAX_STREAMS:
        connection.peer_streams = value
    elif kind in (frames.ENABLE_PUSH, frames.ENABLE_CONNECT):
        if value > 1 or (kind == frames.ENABLE_PUSH and value and not connection.server):
            raise Fault(Code.PROTOCOL_ERROR, f"setting {kind} is {value} (RFC 9113 section 6.5.2)")
        connection.peer_connect = connection.peer_connect or (kind == frames.ENABLE_CONNECT and value == 1)
