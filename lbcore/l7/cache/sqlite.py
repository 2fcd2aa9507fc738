"""Responses in a file that outlives the process.

Rule of this file: the contract of `store`, by SQLite. Whatever goes wrong with the file is counted, and the cache then
knows nothing: a request never waits for a disk that is full or for a lock of somebody else.

Theory. SQLite with a log that is written ahead (WAL) lets one process write while others read. Nothing is synced to the
disk: what is here can be had again, so a power failure may cost the file. A file that is no cache of this form is never
touched. Bytes are summed up by triggers, for several processes may share the file, and the file itself has a limit in
pages, for the sum knows nothing of what pages waste.

Traps
- `timeout=0`: with SQLite's usual 5 seconds one lock held elsewhere would stop the whole event loop for so long.
- A hit would cost a write if each moved its entry to the end of the order; it does so once in `COARSE` seconds.
- "Full" has several names: the disk (SQLITE_FULL, or an I/O error in the log), the file's own limit, a locked file.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

import msgspec

from lbcore.l7.cache import key as keys
from lbcore.l7.cache.entry import Entry
from lbcore.l7.cache.store import VARIANTS

APPLICATION: Final = 0x6C624361  # "lbCa"
VERSION: Final = 1
PAGE: Final = 4096
COARSE: Final = 30.0
SCHEMA: Final = """
create table entries (
  key blob not null, vary blob not null, size integer not null, used real not null, head blob not null,
  body integer not null, primary key (key, vary)
) without rowid;
create index by_use on entries (used);
create table bodies (id integer primary key, data blob not null);
create table total (bytes integer not null, entries integer not null);
insert into total values (0, 0);
create trigger added after insert on entries begin
  update total set bytes = bytes + new.size, entries = entries + 1;
end;
create trigger gone after delete on entries begin
  update total set bytes = bytes - old.size, entries = entries - 1;
  delete from bodies where id = old.body;
end;
"""
_encode: Final = msgspec.msgpack.Encoder().encode
_decode: Final = msgspec.msgpack.Decoder(Entry).decode


class SqliteStore:
    """At most about `limit` bytes in the file `path`. ValueError: something else is in that file; OSError: it can't be
    made. now: seconds since 1970."""

    def __init__(self, path: str | Path, limit: int, now: Callable[[], float] = time.time) -> None:
        self._limit, self._now = limit, now
        self.failed = self.evicted = 0
        try:
            self._db = sqlite3.connect(path, timeout=0, isolation_level=None, check_same_thread=False)
            self._open(path)
        except sqlite3.DatabaseError as error:
            raise OSError(f"path is {str(path)!r}; must be a file that can be written: {error}") from error

    def _open(self, path: str | Path) -> None:
        db = self._db
        (application,), (version,) = (
            db.execute(f"pragma {name}").fetchone() for name in ("application_id", "user_version")
        )
        tables = [name for (name,) in db.execute("select name from sqlite_master where type = 'table'")]
        if tables and application != APPLICATION:
            db.close()
            raise ValueError(f"path is {str(path)!r}; must be a new file or a cache's, but it holds another database")
        db.execute("pragma journal_mode = wal")
        db.execute("pragma synchronous = off")
        db.execute(f"pragma journal_size_limit = {1 << 22}")
        db.execute(f"pragma max_page_count = {2 * self._limit // PAGE + 64}")
        if version != VERSION:
            old = "".join(f"drop table {name};" for name in tables)
            marks = f"pragma application_id = {APPLICATION}; pragma user_version = {VERSION};"
            db.executescript(f"begin immediate; {old} {SCHEMA} {marks} commit;")

    def get(self, key: bytes) -> Sequence[Entry]:
        try:
            rows = self._db.execute(
                "select head, data, used, vary from entries join bodies on id = body where key = ? order by used",
                (key,),
            ).fetchall()
            now = self._now()
            for _, _, used, vary in rows:
                if not 0 <= now - used < COARSE:
                    self._touch(key, vary, now)
            return [msgspec.structs.replace(_decode(head), body=body) for head, body, _, _ in rows]
        except (sqlite3.Error, msgspec.DecodeError, msgspec.ValidationError):
            self.failed += 1
            return ()

    def _touch(self, key: bytes, vary: bytes, now: float) -> None:
        try:
            self._db.execute("update entries set used = ? where key = ? and vary = ?", (now, key, vary))
        except sqlite3.Error:
            self.failed += 1  # it is still there, and may be given

    def put(self, key: bytes, entry: Entry) -> bool:
        size = entry.size + len(key)
        if size > self._limit:
            self.drop(key)
            return False
        for _ in range(2):
            try:
                self._put(key, entry, size)
            except sqlite3.Error:
                self._rollback()
                self.failed += 1
                if not self._make_room(self._limit // 10):
                    break
            else:
                return True
        self.drop(key)
        return False

    def _put(self, key: bytes, entry: Entry, size: int) -> None:
        db = self._db
        db.execute("begin immediate")
        vary = _encode(entry.vary)
        db.execute("delete from entries where key = ? and vary = ?", (key, vary))
        ((count,),) = db.execute("select count(*) from entries where key = ?", (key,)).fetchall()
        if count >= VARIANTS:
            db.execute(
                "delete from entries where key = ?1 and vary ="
                " (select vary from entries where key = ?1 order by used limit 1)",
                (key,),
            )
            self.evicted += 1
        ((bytes_,),) = db.execute("select bytes from total").fetchall()
        if bytes_ + size > self._limit:
            self._evict(bytes_ + size - self._limit)
        body = db.execute("insert into bodies (data) values (?)", (entry.body,)).lastrowid
        head = _encode(msgspec.structs.replace(entry, body=b""))
        db.execute("insert into entries values (?, ?, ?, ?, ?, ?)", (key, vary, size, self._now(), head, body))
        db.execute("commit")

    def _evict(self, bytes_: int) -> None:
        """Forget what was not used for longest, so many bytes of it."""
        for key, vary, size in self._db.execute("select key, vary, size from entries order by used").fetchall():
            if bytes_ <= 0:
                return
            self._db.execute("delete from entries where key = ? and vary = ?", (key, vary))
            self.evicted += 1
            bytes_ -= size

    def _make_room(self, bytes_: int) -> bool:
        """The file is full, or the disk. Deleting frees pages of the file, which are used again."""
        try:
            self._db.execute("begin immediate")
            before = self.evicted
            self._evict(bytes_)
            self._db.execute("commit")
            return self.evicted > before
        except sqlite3.Error:
            self._rollback()
            return False

    def _rollback(self) -> None:
        try:
            if self._db.in_transaction:
                self._db.execute("rollback")
        except sqlite3.Error:
            self.failed += 1

    def drop(self, key: bytes) -> int:
        try:
            return self._db.execute("delete from entries where key = ?", (key,)).rowcount
        except sqlite3.Error:
            self.failed += 1
            return 0

    def purge(self, fits: Callable[[bytes], bool]) -> int:
        try:
            found = [key for (key,) in self._db.execute("select distinct key from entries") if fits(keys.url(key))]
        except sqlite3.Error:
            self.failed += 1
            return 0
        return sum(self.drop(key) for key in found)

    def size(self) -> tuple[int, int]:
        try:
            bytes_, count = self._db.execute("select bytes, entries from total").fetchone()
            return count, bytes_
        except sqlite3.Error:
            self.failed += 1
            return 0, 0

    def close(self) -> None:
        self._db.close()
