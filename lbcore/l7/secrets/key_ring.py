"""The keys of now: those of the configuration and those of a JWK set that is read again and again.

Rule of this file: when to read, and what holds meanwhile. How to read (file, URL) is a function that it is given.

Theory. An issuer changes its keys: the new one appears in the set before tokens use it. So the set is read every
`refresh` seconds, and earlier when a token names a key that is not known; but not more often than every `cooldown`
seconds, for whoever makes up names would otherwise make the proxy ask the issuer for each.

Traps
- A set that cannot be read does not change the keys; the old ones hold until they are `stale`: an issuer that is down
  does not lock everybody out, one that is cut off on purpose cannot keep a withdrawn key alive for ever.
- Nobody waits for a set to be read again, except those whose key is missing.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

from lbcore.l7.secrets.keys import Key, read_set

log = logging.getLogger(__name__)
WITHOUT_NAME: Final = 4
"""Keys that are tried for a token without kid; each costs a verification."""


class KeyRing:
    """Fixed keys, and those that `load` brings (times in seconds of `clock`)."""

    def __init__(
        self,
        fixed: Sequence[Key],
        load: Callable[[], Awaitable[bytes]] | None,
        clock: Callable[[], float],
        *,
        refresh: float,
        cooldown: float,
        stale: float,
    ) -> None:
        self._fixed, self._load, self._clock = tuple(fixed), load, clock
        self._refresh, self._cooldown, self._stale = refresh, cooldown, stale
        self._loaded: tuple[Key, ...] = ()
        self._read_at = self._tried_at = float("-inf")
        self._reading: asyncio.Task[None] | None = None
        self.version = 0
        """Goes up when keys have changed: what was checked with the old ones may hold no more."""

    def find(self, algorithm: object, id: object) -> list[Key]:
        """Keys for a token that says so: those of its name, or without a name a few of its algorithm."""
        keys = [*self._fixed, *self._loaded]
        if id is None:
            return [key for key in keys if key.algorithm == algorithm][:WITHOUT_NAME]
        return [key for key in keys if key.id == id and key.algorithm == algorithm]

    def keep_fresh(self) -> None:
        """Begin to read the set again if it is time; forget it if it is too old. Within an event loop, never waits."""
        if self._load is None:
            return
        now = self._clock()
        if self._loaded and now - self._read_at > self._stale:
            log.error("the JWK set could not be read for %d s; its keys hold no more", int(now - self._read_at))
            self._loaded = ()
            self.version += 1
        if now - self._read_at >= self._refresh:
            self._begin(now)

    def look_again(self) -> Awaitable[None] | None:
        """For a token whose key is not known: wait for this, then ask `find` again. None: nothing to wait for."""
        if self._load is None:
            return None
        self._begin(self._clock())
        return asyncio.shield(self._reading) if self._reading is not None else None

    def _begin(self, now: float) -> None:
        if self._reading is None and now - self._tried_at >= self._cooldown:
            self._tried_at = now
            self._reading = asyncio.get_running_loop().create_task(self._read())

    async def _read(self) -> None:
        assert self._load is not None
        try:
            loaded = read_set(await self._load())
        except (OSError, ValueError, TimeoutError) as error:
            log.warning("the JWK set is not read, the old keys hold: %s", error)
            return
        finally:
            self._reading = None
        self._read_at = self._clock()
        if [(key.algorithm, key.id, _number(key)) for key in loaded] != [
            (key.algorithm, key.id, _number(key)) for key in self._loaded
        ]:
            self._loaded = loaded
            self.version += 1


def _number(key: Key) -> object:
    return key.key.public_numbers()
