"""Lines for a file, written by somebody else than who made them.

Rule of this file: whoever adds a line never waits: not for a disk, not for the reader of a pipe.

Theory. Lines are put into a queue; a thread of its own takes what is there, all of it in one write, and goes back to
sleep. It wakes by time, or when a batch is full. The queue has a limit: a log that cannot be written costs lines, which
are counted, and never memory or requests.

Traps
- The thread begins with the first line: threads do not survive a fork.
- deque's append and popleft are atomic; nothing else is shared without the lock.
- A write that fails (full disk, reader gone) loses its lines and says so in `lost`; the next one is tried again. A
  partial write is gone on with, so that no line is cut in two while the file takes bytes.
"""

from __future__ import annotations

import os
import threading
from collections import deque
from typing import BinaryIO, Final

BATCH: Final = 1024
"""Lines after which the thread is woken before its time."""


class LineFile:
    """A file that lines are put at the end of. `out`: a file that is open already, instead of a path."""

    def __init__(self, path: str, out: BinaryIO | None = None, pending: int = 65536, flush: float = 1.0) -> None:
        self._path, self._given = path, out
        self._pending, self._interval = pending, flush
        self._lines: deque[bytes] = deque()
        self._writing = threading.Lock()
        self._wake = threading.Event()
        self._closed = False
        self._writer: threading.Thread | None = None
        self._file = self._open()
        self.lost = 0

    def _open(self) -> BinaryIO:
        if self._given:
            return self._given
        if self._path == "-":
            return open(os.dup(1), "wb", buffering=0)
        return open(self._path, "ab", buffering=0)

    def add(self, line: bytes) -> None:
        """One line, with its end. Lost, and counted, if too many wait."""
        waiting = len(self._lines)
        if waiting >= self._pending or self._closed:
            self.lost += 1
            return
        self._lines.append(line)
        if waiting == BATCH:
            self._wake.set()
        if self._writer is None:
            self._writer = threading.Thread(target=self._run, name=f"log {self._path}", daemon=True)
            self._writer.start()

    def flush(self) -> None:
        """Write what waits; returns when it is written, or lost."""
        with self._writing:
            lines = [self._lines.popleft() for _ in range(len(self._lines))]
            data = memoryview(b"".join(lines))
            try:
                while data:
                    data = data[self._file.write(data) :]
                self._file.flush()
            except (OSError, ValueError):  # ValueError: the given file is closed
                self.lost += len(lines)

    def reopen(self) -> None:
        """Lines that wait go to the old file, all later ones to a new one of the same path.

        Standard output stays what it is. If the new file cannot be opened the old one stays, and OSError is raised.
        """
        if self._given or self._path == "-":
            return
        self.flush()
        file = self._open()
        with self._writing:
            self._file, old = file, self._file
        old.close()

    def close(self) -> None:
        """Write what waits, and no more."""
        if self._closed:
            return
        self._closed = True
        self._wake.set()
        if self._writer:
            self._writer.join(timeout=5.0)
        if not self._writer or not self._writer.is_alive():
            self.flush()
            if not self._given:
                self._file.close()

    def _run(self) -> None:
        while not self._closed:
            self._wake.wait(self._interval)
            self._wake.clear()
            if self._lines:
                self.flush()
