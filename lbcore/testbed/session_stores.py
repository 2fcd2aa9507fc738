"""Where a session's state may live: in the server that made it, in a file that servers share, in a store of its own.

Rule of this file: a session is a number of items under a name that nobody can guess. Each store does the same four
things with it; what they differ in is who can reach it, and what it costs.

Theory. `add` is one step, also for servers that share a store. Whoever reads with `get`, adds one and writes with `put`
takes two, and another server may come in between: one of two items is lost. In the memory of a single server nobody
comes in between.

Traps
- Sessions that nobody ends have to end by themselves: a store without expiry only grows. Time is given, in seconds.
- SQLite is one file on one machine: it stands here for any store outside of the servers, not for a recommendation.
"""

from __future__ import annotations

import socket
import sqlite3
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from shutil import which
from tempfile import TemporaryDirectory
from typing import Protocol

import redis

from lbcore.testbed.ports import free_ports

HOUR = 3600.0
PATIENCE = 10.0


class StoreGone(Exception):
    """The store does not answer."""


class Store(Protocol):
    """Items by session. StoreGone from any of them: the store does not answer."""

    def get(self, session: str) -> int | None:
        """The session's items; None: there is no such session, or it is over."""
        ...

    def put(self, session: str, items: int) -> None:
        """Set them; the session begins if there was none, and lives for `idle` seconds from now."""
        ...

    def add(self, session: str) -> int:
        """One item more, in one step: how many there are now. Renews the session."""
        ...

    def forget(self, session: str) -> None:
        """End it."""
        ...


class Memory:
    """A dictionary in the server's own memory: gone with the server, and nobody else sees it."""

    def __init__(self, idle: float = HOUR, clock: Callable[[], float] = time.monotonic) -> None:
        self._idle, self._clock = idle, clock
        self._items: dict[str, tuple[int, float]] = {}

    def get(self, session: str) -> int | None:
        """See `Store`."""
        items, until = self._items.get(session, (0, -1.0))
        if until > self._clock():
            return items
        self._items.pop(session, None)
        return None

    def put(self, session: str, items: int) -> None:
        """See `Store`."""
        self._items[session] = items, self._clock() + self._idle

    def add(self, session: str) -> int:
        """See `Store`."""
        items = (self.get(session) or 0) + 1
        self.put(session, items)
        return items

    def forget(self, session: str) -> None:
        """See `Store`."""
        self._items.pop(session, None)


ADD = """INSERT INTO sessions VALUES (:session, 1, :until)
ON CONFLICT (session) DO UPDATE SET items = IIF(until > :now, items, 0) + 1, until = :until RETURNING items"""


class Sqlite:
    """A table in a file: every server that can open the file sees it."""

    def __init__(self, path: Path, idle: float = HOUR, clock: Callable[[], float] = time.time) -> None:
        self._idle, self._clock = idle, clock
        self._base = sqlite3.connect(path, timeout=PATIENCE, isolation_level=None)
        self._base.execute("PRAGMA journal_mode = WAL")
        self._base.execute("PRAGMA synchronous = NORMAL")  # survives a crash of the server, not of the machine
        self._base.execute("CREATE TABLE IF NOT EXISTS sessions (session TEXT PRIMARY KEY, items INT, until REAL)")

    def _ask(self, words: str, **values: object) -> int | None:
        now = self._clock()
        try:
            found = self._base.execute(words, {"now": now, "until": now + self._idle, **values}).fetchone()
        except sqlite3.Error as error:
            raise StoreGone(str(error)) from None
        return found[0] if found else None

    def get(self, session: str) -> int | None:
        """See `Store`."""
        return self._ask("SELECT items FROM sessions WHERE session = :session AND until > :now", session=session)

    def put(self, session: str, items: int) -> None:
        """See `Store`."""
        self._ask("INSERT OR REPLACE INTO sessions VALUES (:session, :items, :until)", session=session, items=items)

    def add(self, session: str) -> int:
        """See `Store`."""
        return self._ask(ADD, session=session) or 0

    def forget(self, session: str) -> None:
        """See `Store`."""
        self._ask("DELETE FROM sessions WHERE session = :session", session=session)

    def sweep(self) -> None:
        """Throw out what is over. SQLite does not do it by itself."""
        self._ask("DELETE FROM sessions WHERE until <= :now")

    def close(self) -> None:
        """From now on it is gone."""
        self._base.close()


class Redis:
    """A server of its own, that all others ask over a connection."""

    def __init__(self, port: int, idle: float = HOUR) -> None:
        self._idle = max(1, round(idle * 1000))
        self._server = redis.Redis(host="127.0.0.1", port=port, socket_timeout=PATIENCE)

    def get(self, session: str) -> int | None:
        """See `Store`."""
        with answering():
            found = self._server.get(session)
            return None if found is None else int(found)

    def put(self, session: str, items: int) -> None:
        """See `Store`."""
        with answering():
            self._server.set(session, items, px=self._idle)

    def add(self, session: str) -> int:
        """See `Store`."""
        with answering(), self._server.pipeline(transaction=True) as steps:
            steps.incr(session)
            steps.pexpire(session, self._idle)
            return int(steps.execute()[0])

    def forget(self, session: str) -> None:
        """See `Store`."""
        with answering():
            self._server.delete(session)

    def close(self) -> None:
        """Hang up."""
        self._server.close()


@contextmanager
def answering() -> Iterator[None]:
    """StoreGone instead of whatever the client of Redis raises."""
    try:
        yield
    except redis.RedisError as error:
        raise StoreGone(str(error)) from None


@contextmanager
def redis_server() -> Iterator[int]:
    """A Redis of our own on 127.0.0.1, keeping nothing on disk: its port. FileNotFoundError: there is none on PATH."""
    program = which("redis-server")
    if program is None:
        raise FileNotFoundError("there is no redis-server on PATH")
    (port,) = free_ports(1)
    with TemporaryDirectory() as folder:
        options = ["--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--dir", folder]
        server = subprocess.Popen([program, *options], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            wait_for(port, server)
            yield port
        finally:
            server.terminate()
            with suppress(subprocess.TimeoutExpired):
                server.wait(PATIENCE)
            server.kill()
            server.wait()


def wait_for(port: int, server: subprocess.Popen[bytes]) -> None:
    """Until it answers. TimeoutError: it does not."""
    until = time.monotonic() + PATIENCE
    while time.monotonic() < until and server.poll() is None:
        with suppress(OSError), socket.create_connection(("127.0.0.1", port), 1.0) as line:
            line.sendall(b"PING\r\n")
            if line.recv(7) == b"+PONG\r\n":
                return
        time.sleep(0.02)
    raise TimeoutError(f"redis-server does not answer on port {port}")
