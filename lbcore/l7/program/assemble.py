"""From a configuration to what it describes: pools, filters and the router.

Rule of this file: it makes things; nothing listens, no check runs, and what was made before stays as it was.

Theory. A reload makes all of it anew, and lets it go on where the old one was: pools take over what they knew of
backends that stay (`Pool.take_over`), counters go on counting. Exchanges under way keep what they began with. So there
is no moment at which half of a configuration is in force.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from lbcore.l7.config.options import Config, PoolSection, RouteOptions
from lbcore.l7.filters.cache import Cache
from lbcore.l7.filters.filter import Filter
from lbcore.l7.filters.kinds import make
from lbcore.l7.filters.metrics import Metrics
from lbcore.l7.filters.rate_limit import RateLimit
from lbcore.l7.filters.waf import Waf
from lbcore.l7.front.tls import backend_context
from lbcore.l7.message import Request
from lbcore.l7.pools.key import hashed
from lbcore.l7.pools.pool import Pool
from lbcore.l7.routing.match import match
from lbcore.l7.routing.router import Route, Router
from lbcore.l7.routing.split import by_chance, by_key

F = TypeVar("F", bound=Filter)
CARRIED_ON: Final[tuple[type[Any], ...]] = (Metrics, Cache, RateLimit, Waf)
"""Filters that may go on where those before a reload were."""
Choose = Callable[[Request], Pool | None]


class Reached(Pool):
    """A pool, and how its backends are spoken to over TLS, if they are."""

    tls: ssl.SSLContext | None = None
    server_name: str = ""


@dataclass(frozen=True, slots=True)
class Parts:
    """What a configuration describes."""

    router: Router
    pools: dict[str, Pool]
    filters: tuple[Filter, ...]
    """Each once, wherever it is used."""

    def of(self, kind: type[F]) -> tuple[F, ...]:
        """The filters of one kind."""
        return tuple(one for one in self.filters if isinstance(one, kind))

    @property
    def metrics(self) -> tuple[Metrics, ...]:
        """The filters that count."""
        return self.of(Metrics)

    @property
    def caches(self) -> tuple[Cache, ...]:
        """The filters that store."""
        return self.of(Cache)

    def take_over(self, old: Parts) -> None:
        """Go on where these were: health, who is stuck to whom, counters."""
        for name, pool in self.pools.items():
            if name in old.pools:
                pool.take_over(old.pools[name])
        for kind in CARRIED_ON:
            for new, before in zip(self.of(kind), old.of(kind), strict=False):
                new.share(before)

    def close(self) -> None:
        """Let go of what filters hold."""
        for one in self.filters:
            one.close()


def assemble(config: Config) -> Parts:
    """The parts. ValueError or OSError, for what was right when it was looked at and is not any more."""
    pools = {section.name: _pool(section) for section in config.pool}
    made: list[Filter] = []
    try:
        chains = {name: _made(made, chain) for name, chain in config.filters.items()}
        always = sum((chains[name] for name in config.always), ())
        routes = [
            Route(
                route.name or f"route-{number}",
                match(route),
                _choose(route, pools),
                always + sum((chains[name] for name in route.filters), ()) + _made(made, route.filter),
            )
            for number, route in enumerate(config.route, 1)
        ]
    except BaseException:
        for one in made:
            one.close()
        raise
    return Parts(Router(routes, always, order=config.order), pools, tuple(made))


def _made(made: list[Filter], chain: tuple[object, ...]) -> tuple[Filter, ...]:
    """The filters of a chain; each is noted as soon as it is there."""
    start = len(made)
    for options in chain:
        made.append(make(options))  # type: ignore[arg-type]
    return tuple(made[start:])


def _pool(section: PoolSection) -> Pool:
    pool = Reached.build(section)
    assert isinstance(pool, Reached)
    if section.tls is not None:
        pool.tls = backend_context(section.tls, ("h2",) if section.protocol == "h2" else ("http/1.1",))
        pool.server_name = section.tls.server_name or ""
    return pool


def _choose(route: RouteOptions, pools: dict[str, Pool]) -> Choose:
    if not route.split:
        pool = pools[route.pool] if route.pool is not None else None
        return lambda request: pool
    sides = [pools[share.pool] for share in route.split]
    weights = [share.weight for share in route.split]
    return by_key(sides, weights, hashed(route.split_by)) if route.split_by else by_chance(sides, weights)
