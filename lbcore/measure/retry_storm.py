"""How many requests reach the backends for each one of a client, when backends fail and proxies try again.

Rule of this file: the decisions are the pools' own; there are no sockets, and the clock is a number.

Theory. With a share p of failures and at most n attempts, a request costs 1 + p + ... + p^(n-1) attempts: n of them in
a full outage, when the backends can bear it least. Proxies behind proxies multiply. A budget of a share b of the
requests bounds it by 1 + b, whatever p is.
"""

from __future__ import annotations

from random import Random

from lbcore.l7.message import Headers, Peer, Request
from lbcore.l7.pools.options import BackendOptions, PoolOptions
from lbcore.l7.pools.pool import Backend, Pool, Result
from lbcore.l7.pools.retry import RetryOptions

MANY = 1e6  # retries a second: more than anybody asks for
GET = Request(b"GET", b"/", b"shop.example", b"http", Headers(), Peer("192.0.2.1", 1024))


def load(
    failing: float, *, attempts: int = 3, budget: float | None = None, requests: int = 2000, seed: int = 1
) -> float:
    """Attempts for each request of a client. failing: share of attempts that are answered by 503. budget: None
    for none, that is, retries without a bound.

    A thousand requests a second, each ended before the next begins. ValueError for options that cannot be.
    """
    now, random = 0.0, Random(seed)
    backends = [BackendOptions(address=f"127.0.0.1:{port}") for port in range(1, attempts + 1)]
    options = PoolOptions(
        name="storm",
        backends=tuple(backends),
        retry=RetryOptions(
            attempts=attempts, budget=1.0 if budget is None else budget, per_second=0.0 if budget is not None else MANY
        ),
    )
    pool, sent = Pool.build(options, clock=lambda: now, random=random), 0
    for tick in range(requests):
        now, tried = tick / 1000, list[Backend]()
        while (backend := pool.pick(GET, tried)) is not None:
            result = Result(503 if random.random() < failing else 200, sent=True)
            pool.began(backend)
            pool.ended(backend, result)
            sent, tried = sent + 1, [*tried, backend]
            if not pool.again(GET, result, len(tried), tried=tried):
                break
    return sent / requests
