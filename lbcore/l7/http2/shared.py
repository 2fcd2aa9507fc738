"""Connections of HTTP/2 with backends, each shared by many exchanges.

Rule of this file: keep, and find one with room; it decides nothing about backends.

Theory. One connection carries a hundred streams or more, so a second one is opened only when the first has no room. A
hundred requests that come before it stands must not open a hundred: the first opens it, the others wait for it.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from time import monotonic
from typing import TYPE_CHECKING, Any

from lbcore.l7.http2.backend import BackendConnection, BackendStream
from lbcore.l7.limits import Limits

if TYPE_CHECKING:
    from lbcore.l7.engine.sides import Carried
    from lbcore.l7.pools.pool import Backend, Pool


class Seat:
    """Room for one exchange on a connection."""

    def __init__(self, connection: BackendConnection) -> None:
        self._connection = connection

    def open(self, exchange: Carried) -> BackendStream:
        """Carry this exchange."""
        return self._connection.open_stream(exchange)

    def close(self) -> None:
        """Not needed after all; the connection stays."""


class Shared:
    """Connections by backend."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.open: dict[Backend, list[BackendConnection]] = {}
        self._coming: dict[Backend, asyncio.Task[BackendConnection]] = {}

    def take(self, pool: Pool, backend: Backend) -> Seat | None:
        """A seat on a connection that stands, or None."""
        for connection in self.open.get(backend, ()):
            if connection.usable:
                if monotonic() - connection.born < pool.timeouts.life:
                    return Seat(connection)
                connection.finish()
        return None

    async def connect(self, pool: Pool, backend: Backend) -> Seat:
        """A seat on a new one. OSError (TimeoutError among them): it could not be made."""
        while (seat := self.take(pool, backend)) is None:
            coming = self._coming.get(backend)
            if coming is None:
                coming = asyncio.get_running_loop().create_task(self._connect(pool, backend))
                self._coming[backend] = coming
                coming.add_done_callback(lambda _: self._coming.pop(backend, None))
            connection = await asyncio.shield(coming)
            if connection.usable:
                return Seat(connection)
            if not connection.streams:
                raise ConnectionRefusedError("the backend takes no stream")
        return seat

    async def _connect(self, pool: Pool, backend: Backend) -> BackendConnection:
        tls: ssl.SSLContext | None = getattr(pool, "tls", None) if pool.protocol == "h2" else None
        options: dict[str, Any] = {}
        if tls is not None:
            options = {"ssl": tls, "server_hostname": getattr(pool, "server_name", "") or backend.host}
        async with asyncio.timeout(pool.timeouts.connect):
            transport, connection = await asyncio.get_running_loop().create_connection(
                lambda: BackendConnection(self.limits, self._forget(backend), pool.timeouts.keep),
                backend.host,
                backend.port,
                **options,
            )
            try:
                chosen: Any = transport.get_extra_info("ssl_object")
                if chosen is not None and chosen.selected_alpn_protocol() != "h2":
                    raise ConnectionRefusedError("the backend does not speak HTTP/2 (ALPN)")
                await connection.ready
            except BaseException:
                transport.abort()
                raise
        connection.idle_since = monotonic()
        self.open.setdefault(backend, []).append(connection)
        return connection

    def _forget(self, backend: Backend) -> Callable[[BackendConnection], None]:
        def forget(connection: BackendConnection) -> None:
            kept = self.open.get(backend, [])
            if connection in kept:
                kept.remove(connection)
            if not kept:
                self.open.pop(backend, None)

        return forget

    def prune(self) -> None:
        """Close what has been idle for too long."""
        now = monotonic()
        for connections in self.open.values():
            for connection in connections:
                if not connection.streams and now - connection.idle_since > connection.keep:
                    connection.finish()

    def close(self) -> None:
        """Close all; what they carry goes with its exchanges."""
        for task in list(self._coming.values()):
            task.cancel()
        for connections in list(self.open.values()):
            for connection in connections:
                connection.transport.abort()
