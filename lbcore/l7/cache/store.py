"""Where responses are kept: the contract, and the store in memory.

Rule of this file: keep and give, up to so many bytes; what may be given is not its business.

Theory. What was not used for longest goes first (LRU). One dict is both the table and the order: what is used is taken
out and put in again at its end. Under one key there may be several responses, told apart by `vary`.

Trap. The bound counts bytes, not entries, and the field lines as well as bodies; and one key cannot take all of it: it
has at most `VARIANTS` responses, or whoever makes up values for a varying field empties the store.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, Protocol

from lbcore.l7.cache import key as keys
from lbcore.l7.cache.entry import Entry

VARIANTS: Final = 32


class Store(Protocol):
    """Keeps entries by key. Never raises: a store that fails counts it in `failed` and knows nothing."""

    failed: int
    evicted: int

    def get(self, key: bytes) -> Sequence[Entry]:
        """All entries under the key."""
        ...

    def put(self, key: bytes, entry: Entry) -> bool:
        """Keep it, in place of one that was chosen by the same fields. False: it was not kept."""
        ...

    def drop(self, key: bytes) -> int:
        """Forget all under this key; how many there were."""
        ...

    def purge(self, fits: Callable[[bytes], bool]) -> int:
        """Forget all whose url (`http://host/path`) fits; how many there were. Looks at every key."""
        ...

    def size(self) -> tuple[int, int]:
        """Entries and bytes."""
        ...

    def close(self) -> None:
        """Let go of files."""
        ...


class MemoryStore:
    """At most `limit` bytes."""

    def __init__(self, limit: int) -> None:
        self._limit, self._bytes, self._count = limit, 0, 0
        self._table: dict[bytes, tuple[Entry, ...]] = {}
        self.failed = self.evicted = 0

    def get(self, key: bytes) -> Sequence[Entry]:
        entries = self._table.pop(key, None)
        if entries is None:
            return ()
        self._table[key] = entries
        return entries

    def put(self, key: bytes, entry: Entry) -> bool:
        if entry.size + len(key) > self._limit:
            self.drop(key)  # what it would have replaced is older than what the backend says now
            return False
        others = tuple(one for one in self._table.get(key, ()) if one.vary != entry.vary)
        self.drop(key)
        entries = (*others[-VARIANTS + 1 :], entry)
        self.evicted += len(others) + 1 - len(entries)
        while entries[1:] and self._cost(key, entries) > self._limit:
            entries = entries[1:]
            self.evicted += 1
        self._table[key] = entries
        self._count += len(entries)
        self._bytes += self._cost(key, entries)
        while self._bytes > self._limit:
            self.evicted += self.drop(next(iter(self._table)))
        return True

    def drop(self, key: bytes) -> int:
        entries = self._table.pop(key, ())
        self._bytes -= self._cost(key, entries)
        self._count -= len(entries)
        return len(entries)

    def purge(self, fits: Callable[[bytes], bool]) -> int:
        return sum(self.drop(key) for key in [key for key in self._table if fits(keys.url(key))])

    def size(self) -> tuple[int, int]:
        return self._count, self._bytes

    def close(self) -> None:
        self._table.clear()
        self._bytes = self._count = 0

    @staticmethod
    def _cost(key: bytes, entries: Sequence[Entry]) -> int:
        return sum(one.size for one in entries) + len(key) if entries else 0
