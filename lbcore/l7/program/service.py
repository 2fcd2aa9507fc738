"""A configuration in force: started, exchanged for another one under way, and ended, without a request that fails.

Rule of this file: the order of things. What the parts do, they know.

Theory. A reload first makes everything that could fail (the file is read, sockets are opened, certificates and keys are
loaded), and only then changes anything, with steps that cannot fail. If something is wrong, what was in force stays in
force, and the operator is told why. New requests take the new routes; exchanges under way keep the filters, the pool
and the backend they have. A listener that stays keeps its socket, so nobody who waits to be accepted notices.

Traps
- Filters of the old configuration are closed when the last exchange that has them is over, not before.
- What a running connection was given (sizes, times: `limits`) cannot be changed under it: that takes a new start.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
from collections.abc import Callable, Coroutine
from pathlib import Path
from time import monotonic
from typing import Any

from msgspec.structs import replace

from lbcore.l7.config import document
from lbcore.l7.config.document import File
from lbcore.l7.config.options import Config, ListenOptions
from lbcore.l7.engine.proxy import Proxy
from lbcore.l7.filters.access_log import AccessLog
from lbcore.l7.front.listening import Listener, opened
from lbcore.l7.front.tls import Terminator, TlsOptions
from lbcore.l7.pools.checker import Checker
from lbcore.l7.pools.pool import Pool
from lbcore.l7.program.admin import Endpoint
from lbcore.l7.program.assemble import Parts, Reached, assemble

log = logging.getLogger("lbcore.l7")
LOOK = 0.02  # seconds between two looks whether all is over


class Service:
    """One proxy as its file says. `async with Service(path) as service: ...`

    BadConfig, ValueError, OSError: it cannot be started; nothing is left behind.
    """

    def __init__(self, path: str | Path, file: File | None = None) -> None:
        self.path = path
        self.file = file or document.read(path)
        self.parts = assemble(self.file.config)
        self.proxy = Proxy(self.parts.router, self.file.config.limits, self.file.config.paths)
        self.listeners: list[Listener] = []
        self.admin: Endpoint | None = None
        self.started = monotonic()
        self.reloads = 0
        """Those that went well."""
        self.refused = ""
        """Why the last reload did not."""
        self._replaced: list[Parts] = []
        """Parts of earlier configurations that exchanges under way still use."""
        self._later: set[asyncio.Task[None]] = set()
        self._checker = Checker(tls=tls_of)
        self._reloading = asyncio.Lock()

    @property
    def config(self) -> Config:
        """What is in force."""
        return self.file.config

    # ---- the life of it ----

    async def __aenter__(self) -> Service:
        await self.proxy.__aenter__()
        try:
            self.listeners, _ = self._prepare(self.config, self.parts)
            if self.config.admin is not None:
                self.admin = await Endpoint.open(self, self.config.admin)
            for listener in self.listeners:
                await listener.start()
            for pool in self.parts.pools.values():
                self._checker.watch(pool)
        except BaseException:
            await self.close()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def reload(self) -> str:
        """Read the file again and put it in force; why not, or empty if it is."""
        async with self._reloading:
            try:
                await self._exchange(document.read(self.path))
            except (ValueError, OSError) as error:
                self.refused = str(error)
                log.error("not reloaded, all stays as it was: %s", error)
                self._reopen()
            else:
                self.reloads, self.refused = self.reloads + 1, ""
                log.info("reloaded")
            return self.refused

    def _reopen(self) -> None:
        """Logs that were moved away are begun anew, as with a reload that goes well."""
        for one in self.parts.of(AccessLog):
            try:
                one.reopen()
            except OSError as error:
                log.error("the old log is written to, not a new one: %s", error)

    async def drain(self, seconds: float | None = None) -> bool:
        """Accept nobody any more, and let what is under way come to its end. Did it, in time?"""
        for listener in self.listeners:
            listener.close()
        return await self.proxy.drain(self.config.drain if seconds is None else seconds)

    async def close(self) -> None:
        """Let go of everything, now."""
        for listener in self.listeners:
            listener.close()
        if self.admin is not None:
            await self.admin.close()
        tasks = list(self._later)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._checker.close()
        await self.proxy.close()
        for parts in (*self._replaced, self.parts):
            parts.close()

    # ---- a new configuration ----

    async def _exchange(self, file: File) -> None:
        """Put it in force. ValueError or OSError: nothing was changed."""
        new, old = file.config, self.parts
        if new.limits != self.config.limits:
            raise ValueError(f"{self.path}: limits have changed, wanted as they were: new ones take a new start")
        parts, admin = assemble(new), self.admin
        listeners: list[Listener] = []
        try:
            listeners, renew = self._prepare(new, parts)
            if new.admin != self.config.admin:
                admin = await Endpoint.open(self, new.admin) if new.admin else None
        except BaseException:
            self._give_back(listeners)
            parts.close()
            raise
        under_way = set(self.proxy.exchanges)
        for certificates in renew:
            certificates()
        parts.take_over(old)
        self.file, self.parts = file, parts
        self._replaced.append(old)
        self.proxy.router, self.proxy.rules = parts.router, new.paths
        for pool in parts.pools.values():
            self._checker.watch(pool)
        for pool in old.pools.values():
            self._checker.forget(pool)
        await self._move(listeners)
        if self.admin is not None and admin is not self.admin:
            self._soon(self.admin.leave())
        self.admin = admin
        self._soon(self._close_after(old, under_way))

    def _prepare(self, new: Config, parts: Parts) -> tuple[list[Listener], list[Callable[[], None]]]:
        """Listeners that accept nobody yet, on the sockets that there are and on new ones; and what puts certificates
        in force that were read for those that stay. ValueError, OSError."""
        there = list(self.listeners)
        made: list[Listener] = []
        renew: list[Callable[[], None]] = []
        try:
            for options in new.listen:
                kept = next((one for one in there if where(one.options) == where(options)), None)
                if kept is not None:
                    there.remove(kept)
                tls = self._tls(options, kept)
                if tls is not None and kept is not None and tls is kept.tls:
                    renew.append(tls.read())
                sock = kept.sock if kept is not None else opened(options)
                made.append(Listener(self.proxy, options, sock, tls, parts.pools))
                made[-1].prepare()
        except BaseException:
            self._give_back(made)
            raise
        return made, renew

    def _tls(self, options: ListenOptions, kept: Listener | None) -> Terminator | None:
        """The one that there is where nothing but its files has changed: tickets stay good."""
        tls = tls_options(options)
        if tls is None:
            return None
        if kept is None or kept.tls is None or kept.tls.options != tls:
            return Terminator(tls)
        return kept.tls

    def _give_back(self, listeners: list[Listener]) -> None:
        """Close the sockets that were opened for nothing."""
        there = {one.sock for one in self.listeners}
        for one in listeners:
            one.stop()
            if one.sock not in there:
                one.sock.close()

    async def _move(self, listeners: list[Listener]) -> None:
        """From the listeners that there are to these."""
        staying: set[socket.socket] = {one.sock for one in listeners}
        for one in self.listeners:
            if one.sock in staying:
                one.stop()
            else:
                one.close()
        self.listeners = listeners
        for one in listeners:
            await one.start()

    async def _close_after(self, old: Parts, under_way: set[Any]) -> None:
        while under_way & self.proxy.exchanges:
            await asyncio.sleep(LOOK)
        self._replaced.remove(old)
        old.close()

    def _soon(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._later.add(task)
        task.add_done_callback(self._later.discard)


def where(options: ListenOptions) -> tuple[str, int]:
    """What makes a listener the same one after a reload."""
    return options.address, options.port


def tls_options(options: ListenOptions) -> TlsOptions | None:
    """A listener's TLS, which offers HTTP/2 only if the listener has it."""
    if options.tls is None or options.http2:
        return options.tls
    return replace(options.tls, alpn=("http/1.1",))


def tls_of(pool: Pool) -> ssl.SSLContext:
    """For checks over TLS. ValueError: the pool's backends are not spoken to over TLS."""
    if isinstance(pool, Reached) and pool.tls is not None:
        return pool.tls
    raise ValueError(f"health.tls of pool {pool.name} is true, wanted a section tls of the pool too")
