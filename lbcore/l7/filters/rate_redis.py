"""Token buckets in Redis: several proxies, one limit.

Rule of this file: at the edge; one question, one answer, in time or `Unreachable`.

Theory. Between reading a bucket and writing it another proxy could take the same token. Redis runs one script at a
time, so the whole step is one script (the same arithmetic as `rate_store.Memory`), and the time is Redis's own: clocks
of proxies need not agree. A bucket that has become full again expires.

Traps
- Lua's numbers are doubles and its `tostring` keeps 14 digits: microseconds since 1970 have 16. `%.0f`
  writes them all.
- A reply that comes after its asker has given up must not be taken by the next one (redis-py had that fault:
  CVE-2023-28858). A connection on which a reply is outstanding is closed.
- A store that hangs would add `timeout` to every request. After a failure nobody asks for `pause` seconds.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any, Final

from lbcore.l7.filters.rate_store import Unreachable

SCRIPT: Final = """
local t = redis.call('TIME')
local now = t[1] * 1000000 + t[2]
local step, depth = tonumber(ARGV[1]), tonumber(ARGV[2])
local full_at = tonumber(redis.call('GET', KEYS[1]) or 0)
if full_at < now then full_at = now end
if full_at > now + depth then full_at = now + depth end
local after = full_at + step
if after - now > depth then
  return {string.format('%.0f', after - now - depth), string.format('%.0f', depth - (full_at - now))}
end
redis.call('SET', KEYS[1], string.format('%.0f', after), 'PX', math.ceil((after - now) / 1000))
return {'0', string.format('%.0f', depth - (after - now))}
"""
"""Times in microseconds. A time further ahead than a bucket is deep is of another configuration, or of a clock that was
set back: it counts as an empty bucket."""


class Redis:
    """Buckets under `prefix` in the Redis at `url`. timeout, pause: seconds."""

    def __init__(
        self,
        rate: float,
        burst: int,
        url: str,
        prefix: bytes,
        *,
        timeout: float,
        pause: float,
        connections: int = 32,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        import redis.asyncio as client
        from redis.asyncio.retry import Retry
        from redis.backoff import NoBackoff
        from redis.exceptions import RedisError

        self._errors = (RedisError, OSError, TimeoutError, asyncio.TimeoutError, ValueError)
        self._arguments = (str(1e6 / rate), str(1e6 * burst / rate))
        self._prefix, self._timeout, self._pause, self._clock = prefix, timeout, pause, clock
        pool = client.BlockingConnectionPool.from_url(
            url,
            max_connections=connections,
            timeout=timeout,
            socket_timeout=timeout,
            socket_connect_timeout=timeout,
            retry=Retry(NoBackoff(), 0),
        )
        self._client: Any = client.Redis.from_pool(pool)
        self._script = self._client.register_script(SCRIPT)
        self._silent_until = 0.0

    def take(self, key: bytes) -> Awaitable[float]:
        """See Store."""
        if self._clock() < self._silent_until:
            raise Unreachable("did not answer a moment ago")
        return self._ask(key)

    async def _ask(self, key: bytes) -> float:
        try:
            async with asyncio.timeout(self._timeout):
                wait, left = await self._script(keys=[self._prefix + key], args=self._arguments)
            return (int(wait) or -int(left)) / 1e6
        except self._errors as error:
            self._silent_until = self._clock() + self._pause
            raise Unreachable(type(error).__name__) from error

    def close(self) -> None:
        """Close the connections, as soon as the loop comes to it."""
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            return  # no loop, no connections: they ended with it
        self._closing = loop.create_task(self._client.aclose(close_connection_pool=True))
