"""Carries out the checks of pools: the edge, where sockets and the event loop are.

Rule of this file: it connects, sends and reads what a probe says, and reports. What a good answer is, `probes` knows;
what follows from it, `health`.

    checker = Checker()
    checker.watch(pool)      # for each pool with checks; after a reload also `forget(old_pool)`
    ...
    await checker.close()

Trap. A check has to end, whatever the other side does: everything it waits for is under one deadline, and the
connection is cut at its end, without a farewell that somebody could keep waiting for.
"""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import Callable

from lbcore.l7.pools.health import Health
from lbcore.l7.pools.options import GrpcProbeOptions
from lbcore.l7.pools.pool import Backend, Pool
from lbcore.l7.pools.probes import probe_of

PIECE = 65536  # bytes read at once


class Checker:
    """One task for each backend. clock: the pools' own. tls: a context for checks over TLS (`HealthOptions.tls`)."""

    def __init__(
        self, clock: Callable[[], float] = time.monotonic, tls: Callable[[Pool], ssl.SSLContext] | None = None
    ) -> None:
        self._clock, self._tls = clock, tls
        self._tasks: dict[Pool, list[asyncio.Task[None]]] = {}

    def watch(self, pool: Pool) -> None:
        """Check its backends from now on. ValueError if its checks go over TLS and nobody can say how."""
        watched = [(backend, health) for backend in pool.backends if (health := pool.health(backend)) is not None]
        context = None
        if watched and watched[0][1].options.tls:
            if self._tls is None:
                raise ValueError(f"health.tls of pool {pool.name} is true: give the checker a TLS context for it")
            context = self._tls(pool)
        self._tasks[pool] = [
            asyncio.create_task(self._watch(pool, backend, health, context), name=f"health of {backend.name}")
            for backend, health in watched
        ]

    def forget(self, pool: Pool) -> None:
        """Check its backends no more."""
        for task in self._tasks.pop(pool, ()):
            task.cancel()

    async def close(self) -> None:
        """Check nobody any more."""
        tasks = [task for each in self._tasks.values() for task in each]
        for pool in list(self._tasks):
            self.forget(pool)
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _watch(self, pool: Pool, backend: Backend, health: Health, tls: ssl.SSLContext | None) -> None:
        while True:
            await asyncio.sleep(max(0.0, health.next - self._clock()))
            health.begin(self._clock())
            pool.checked(backend, await check(backend, health, tls))


async def check(backend: Backend, health: Health, tls: ssl.SSLContext | None = None) -> str:
    """One check, from connection to verdict: why not, or empty for a good answer. Raises CancelledError only."""
    options = health.options
    probe = probe_of(options.probe, backend.name, tls=options.tls)
    writer = None
    try:
        async with asyncio.timeout(options.timeout):
            where = backend.host, options.port or backend.port
            name = backend.host if tls else None
            reader, writer = await asyncio.open_connection(*where, ssl=tls, server_hostname=name, limit=PIECE)
            if tls and isinstance(options.probe, GrpcProbeOptions):
                negotiated = writer.get_extra_info("ssl_object").selected_alpn_protocol()
                if negotiated != "h2":
                    return f"ALPN chose {negotiated}, gRPC needs h2"
            writer.write(probe.opening())
            while probe.verdict is None:
                data = await reader.read(PIECE)
                if data:
                    writer.write(probe.feed(data))
                    await writer.drain()
                else:
                    probe.closed()
            return probe.verdict
    except TimeoutError:
        return f"no answer within {options.timeout:g} s"
    except OSError as error:
        return f"{type(error).__name__}: {error.strerror or error}"
    finally:
        if writer is not None:
            writer.transport.abort()
