"""Connections with backends that wait for their next request.

Rule of this file: keep and give; it decides nothing about backends.

Theory. The connection used last is given first: it is the warmest, and those that are not needed grow old and are
closed. A connection that a backend may just be closing can't be told from a good one; that is why one failure on a
reused connection is the exchange's to forgive.
"""

from __future__ import annotations

import asyncio
import ssl
from time import monotonic
from typing import TYPE_CHECKING, Any

from lbcore.l7.http1.backend import BackendConnection
from lbcore.l7.http1.scan import Scratch
from lbcore.l7.http2.shared import Seat, Shared
from lbcore.l7.limits import Limits

if TYPE_CHECKING:
    from lbcore.l7.pools.pool import Backend, Pool


class Connections:
    """Idle connections of HTTP/1.1, by backend. most: idle ones of each backend."""

    def __init__(self, limits: Limits, scratch: Scratch, most: int = 256) -> None:
        self.limits, self.scratch, self.most = limits, scratch, most
        self.idle: dict[Backend, list[BackendConnection]] = {}
        self.shared = Shared(limits)
        self.now = monotonic()
        """What the clock said when it was last looked who is idle for too long."""

    def take(self, pool: Pool, backend: Backend) -> BackendConnection | Seat | None:
        """An idle one that is still good, or None."""
        if pool.protocol != "h1":
            return self.shared.take(pool, backend)
        idle = self.idle.get(backend)
        while idle:
            connection = idle.pop()
            if monotonic() - connection.born < pool.timeouts.life and not connection.transport.is_closing():
                return connection
            connection.close()
        return None

    async def reach(self, pool: Pool, backend: Backend) -> tuple[BackendConnection | Seat | None, str]:
        """A new one, or None and why not."""
        try:
            return await self.connect(pool, backend), ""
        except TimeoutError:
            return None, "connect timeout"
        except ConnectionRefusedError:
            return None, "refused"
        except OSError as error:
            return None, f"unreachable: {error}"

    async def connect(self, pool: Pool, backend: Backend) -> BackendConnection | Seat:
        """A new one. OSError (TimeoutError among them, and ssl.SSLError): it could not be made."""
        if pool.protocol != "h1":
            return await self.shared.connect(pool, backend)

        def give_back(connection: BackendConnection, usable: bool) -> None:
            kept, connection.idle_since = self.idle.setdefault(backend, []), self.now
            if usable and len(kept) < self.most:
                kept.append(connection)
            elif usable:
                connection.close()
            elif connection in kept:
                kept.remove(connection)

        tls: ssl.SSLContext | None = getattr(pool, "tls", None)
        options: dict[str, Any] = {}
        if tls is not None:
            options = {"ssl": tls, "server_hostname": getattr(pool, "server_name", "") or backend.host}
        async with asyncio.timeout(pool.timeouts.connect):
            _, connection = await asyncio.get_running_loop().create_connection(
                lambda: BackendConnection(self.limits, give_back, pool.timeouts.keep, self.scratch),
                backend.host,
                backend.port,
                **options,
            )
        if connection.transport.is_closing():  # uvloop may tell of its end before we hear of its beginning
            raise ConnectionResetError("closed as soon as it stood")
        return connection

    def prune(self, now: float) -> None:
        """Close what has been idle for too long. now: seconds of `monotonic`."""
        self.now = now
        self.shared.prune()
        for backend, idle in list(self.idle.items()):
            while idle and now - idle[0].idle_since > idle[0].keep:
                idle.pop(0).close()
            if not idle:  # its pool may be gone since a reload, and would be kept by this
                del self.idle[backend]

    def close(self) -> None:
        """Close the idle ones; those in use go with their exchanges."""
        self.shared.close()
        for idle in self.idle.values():
            for connection in idle:
                connection.close()
            idle.clear()
