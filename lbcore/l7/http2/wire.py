"""A connection of HTTP/2 on a transport of asyncio.

Rule of this file: it reads, writes and closes; it decides nothing.

Theory. Whoever has something to send says `flush`, as often as it likes: once in each round of the event loop all that
streams have is gathered and written. Twenty backends that answer in one round make one write to a client that asked
them all.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import cast

from lbcore.l7.http2.connection import Connection
from lbcore.l7.http2.frames import Code, Fault


class Wire(Connection, asyncio.Protocol):
    """Subclasses are a client's or a backend's connection."""

    transport = cast("asyncio.Transport", None)
    _loop = cast("asyncio.AbstractEventLoop", None)
    _scheduled = False
    _closing = False
    ended = False
    """The transport has gone."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)
        self._loop = asyncio.get_running_loop()
        self.transport.set_write_buffer_limits(self.limits.buffer)
        self.flush()

    def connection_lost(self, error: Exception | None) -> None:
        self.ended = True
        self.lost("client gone" if self.server else "reset")

    def data_received(self, data: bytes) -> None:
        if self._closing:
            return
        try:
            self.receive(data)
        except Fault as fault:
            self.failed(fault)
        self.flush()

    def eof_received(self) -> bool:
        return False

    def pause_writing(self) -> None:
        self.blocked = True

    def resume_writing(self) -> None:
        self.blocked = False
        self.write()

    def failed(self, fault: Fault) -> None:
        """It cannot go on: say why, and close."""
        self.fail(fault)
        self.close()

    def later(self, what: Callable[..., None], *arguments: object) -> None:
        """Do this in the next round of the event loop."""
        self._loop.call_soon(what, *arguments)

    def flush(self) -> None:
        if not self._scheduled and not self.ended:
            self._scheduled = True
            self._loop.call_soon(self.write)

    def write(self) -> None:
        """Write what there is, as far as the socket takes it."""
        self._scheduled = False
        while not self.blocked and not self.ended:
            data = self.emit()
            if not data:
                break
            self.transport.write(data)
        if self._closing and not self.ended:
            self.hang_up()

    def hang_up(self) -> None:
        """All is written."""
        self.transport.close()

    def close(self) -> None:
        """Write what is left of frames, then close."""
        self._closing = True
        self.flush()

    def goodbye(self) -> None:
        """Say so, and close; for connections without a stream."""
        if not self._closing:
            self.fail(Fault(Code.NO_ERROR, ""))
            self.close()

    def on_leave(self) -> None:
        self.close()
