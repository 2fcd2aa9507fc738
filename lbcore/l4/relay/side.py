"""One end of a relayed connection, and what two of them do for each other.

Rule of this file: it moves bytes from one socket to another and says how that ended. It decides nothing.

Theory. A side is read first by pulling (`read`, while a backend has yet to be picked) and then, joined to another, by
pushing: what arrives is written to the other. When the other's socket does not take it all, reading stops until it has:
so between the two there is never more than one chunk, however slow the reader, and the sender feels it through TCP's
window. An end of one direction is passed on as an end of that direction (shutdown), and the connection goes on the
other way. A break (RST) is passed on as a break: a client that cannot tell a cut answer from a whole one would keep it.

Traps
- A side starts paused: what the peer sends before anybody asks stays in the kernel. But uvloop begins to read behind
  `connection_made`, whatever was said in it, so a first piece and an end may be here before the two are joined.
- After its end a side is not watched any more: that its peer has vanished is noticed by writing, or by the idle time.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from contextlib import suppress
from typing import cast

from lbcore.l4.relay import sockets
from lbcore.l4.relay.counters import Reason


class Side(asyncio.Protocol):
    """gone: done when the socket is closed, with the fault that closed it or None. ended: the peer sends no more."""

    def __init__(self, tally: Callable[[int], None]) -> None:
        self._loop = asyncio.get_running_loop()
        self.gone: asyncio.Future[Exception | None] = self._loop.create_future()
        self.ended = False
        self.moved_at = self._loop.time()
        self._tally = tally
        self._other: Side | None = None
        self._early = bytearray()
        self._reader: asyncio.Future[None] | None = None
        self.transport: asyncio.Transport

    async def read(self) -> bytes:
        """What has arrived, b"" at the end of the stream. ConnectionError when it broke."""
        if not (self._early or self.ended or self.gone.done()):
            self._reader = self._loop.create_future()
            self.transport.resume_reading()
            await self._reader
        if self.gone.done():
            raise ConnectionResetError("the connection broke")
        data, self._early = bytes(self._early), bytearray()
        return data

    def finish(self) -> None:
        """Nothing more will be written."""
        try:
            if not self.transport.is_closing():
                self.transport.write_eof()
        except OSError:  # the peer broke off at this moment
            self.reset()

    def reset(self) -> None:
        """Break off, and let the peer know."""
        with suppress(OSError):
            self.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, sockets.NOW)
        self.transport.abort()

    @property
    def waiting(self) -> int:
        """Bytes that the socket has not taken yet."""
        return self.transport.get_write_buffer_size()

    # ------------------------------------------------------------------------------------------------ asyncio.Protocol
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self.transport.pause_reading()
        self.transport.set_write_buffer_limits(0)

    def data_received(self, data: bytes) -> None:
        self._tally(len(data))
        self.moved_at = self._loop.time()
        if self._other is None:
            self._early += data
            self.transport.pause_reading()
            self._wake()
        elif not self._other.transport.is_closing():
            self._other.transport.write(data)

    def eof_received(self) -> bool:
        self.ended = True
        self._wake()
        if self._other:
            self._other.finish()
            if self._other.ended:
                self.transport.close()
                self._other.transport.close()
        return True

    def pause_writing(self) -> None:
        if self._other:
            self._other.transport.pause_reading()

    def resume_writing(self) -> None:
        self.moved_at = self._loop.time()
        if self._other:
            self._other.transport.resume_reading()

    def connection_lost(self, error: Exception | None) -> None:
        self.gone.set_result(error)
        self._wake()
        if self._other and error:
            self._other.reset()

    def _wake(self) -> None:
        if self._reader and not self._reader.done():
            self._reader.set_result(None)


async def relay(client: Side, server: Side, pending: bytes, idle: float) -> Reason:
    """Send `pending` to the server, then what each sends to the other, until both are gone. DONE, RESET or IDLE."""
    _join(client, server, pending)
    loop = asyncio.get_running_loop()
    waiting = (client.waiting, server.waiting)
    left = idle
    while True:
        await asyncio.wait([client.gone, server.gone], timeout=left)
        if client.gone.done() and server.gone.done():
            return Reason.RESET if client.gone.result() or server.gone.result() else Reason.DONE
        now = loop.time()
        before, waiting = waiting, (client.waiting, server.waiting)
        left = max(client.moved_at, server.moved_at) + idle - now
        if left <= 0:
            if before == waiting:
                client.reset()
                server.reset()
                return Reason.IDLE
            left = idle  # a slow reader took some of what was waiting for it


def _join(client: Side, server: Side, pending: bytes) -> None:
    client._other, server._other = server, client
    for side, other, before in ((client, server, pending), (server, client, b"")):
        first, side._early = before + side._early, bytearray()
        if first and not other.transport.is_closing():
            other.transport.write(first)
        if side.gone.done():
            other.reset()
        elif side.ended:
            other.finish()
        elif not other.waiting:
            side.transport.resume_reading()
    if client.ended and server.ended:
        client.transport.close()
        server.transport.close()
