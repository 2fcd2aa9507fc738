"""A proxy's configuration as a TOML file, checked: every complaint names the line, the key and the value.

    [[listen]]
    port = 8080

    [[route]]
    hosts = ["shop.example"]
    prefix = "/api"
    pool = "api"

    [[pool]]
    name = "api"

    [[pool.backend]]
    address = "127.0.0.1:9001"

Rule of this file: what only the whole file shows to be wrong: names that nobody has or two have, listeners in each
other's way, certificates that are not there, routes that no request can reach. What a section by itself can know stands
beside the section (`options`); nothing is opened that would be seen from outside.

Theory. A reload must be all or nothing, and its nothing must cost nothing: so whatever can be found out beforehand is.
Files that the configuration names are read, filters are made once and closed again, the router's tables are built.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from ipaddress import ip_address
from pathlib import Path
from typing import Any, Final, NamedTuple

from msgspec.structs import replace

from lbcore.l4.toml_lines import Place
from lbcore.l7.config.options import (
    AdminOptions,
    Config,
    ListenOptions,
    PassOptions,
    PoolSection,
    RouteOptions,
    ShareOptions,
)
from lbcore.l7.config.toml_struct import BadConfig, Reader, lookup, shown, suggestion, written
from lbcore.l7.filters.kinds import FILTERS, make
from lbcore.l7.filters.metrics import MetricsOptions
from lbcore.l7.front.tls import BackendTlsOptions, Terminator, TlsOptions, backend_context
from lbcore.l7.pools.pool import Pool
from lbcore.l7.routing.match import match
from lbcore.l7.routing.router import Route, Router
from lbcore.l7.rpc.gateway import GatewayOptions
from lbcore.l7.target import BadTarget, Rules, normal

__all__ = ["BadConfig", "Config", "File", "parse", "read"]


OPTIONS: Final = frozenset(options for options, _ in FILTERS.values())


class File(NamedTuple):
    """What a file says; and what is not wrong with it but odd, a line each."""

    config: Config
    warnings: tuple[str, ...]


def read(path: str | Path) -> File:
    """The file's configuration. BadConfig: all that is wrong, one complaint a line; OSError."""
    return parse(Path(path).read_bytes(), str(path))


def parse(data: bytes, name: str = "configuration") -> File:
    """The same from the file's bytes; `name` is what complaints call it."""
    reader = Reader(data, name)
    config = reader.read(Config)
    together = Together(reader)
    together.look()
    reader.end()
    assert config is not None
    return File(config, tuple(together.warnings()))


def is_filter(place: Place) -> bool:
    """Is this where filters stand: filters.NAME[1], route[1].filter[1]?"""
    return (place[:1] == ("filters",) and len(place) == 3) or (place[:1] == ("route",) and place[2:3] == ("filter",))


class Together:
    """Looks at what was made of the file, section by section; what could not be made has its complaint already."""

    def __init__(self, reader: Reader) -> None:
        self.reader = reader
        self.pools = self.names("pool")
        chains = lookup(reader.told, ("filters",))
        self.chains = set(chains) if isinstance(chains, dict) else set()
        self.used: set[str] = set()
        """Pools and chains that something names."""

    def look(self) -> None:
        """Complain of all that is wrong."""
        self.twice("pool")
        self.twice("route")
        self.listeners()
        self.references()
        for place, one in self.reader.made.items():
            if isinstance(one, TlsOptions):
                self.certificates(place, one)
            elif isinstance(one, BackendTlsOptions):
                self.attempt(place, backend_context, one)
            elif isinstance(one, PoolSection):
                self.attempt(place, Pool.build, one)
            elif is_filter(place) and type(one) in OPTIONS:
                self.attempt(place, lambda options: make(options).close(), one)
        for place, route in self.made("route", RouteOptions):
            self.route(place, route)
        self.limits()
        self.buckets()
        self.reached()

    def made(self, section: str, kind: type[Any]) -> Iterator[tuple[Place, Any]]:
        """Those sections of an array that are right by themselves, in order."""
        for place, one in list(self.reader.made.items()):
            if len(place) == 2 and place[0] == section and isinstance(one, kind):
                yield place, one

    def told(self, *section: str) -> Iterator[tuple[Place, Any]]:
        """What stands in an array, right or wrong: of what is wrong elsewhere in its section too."""
        told = lookup(self.reader.told, section)
        for number, one in enumerate(told if isinstance(told, list) else ()):
            yield (*section, number), one

    def names(self, section: str) -> set[str]:
        """The names in an array of sections, right or wrong: one complaint about a pool is enough."""
        there = (lookup(one, ("name",)) for _, one in self.told(section))
        return {name for name in there if isinstance(name, str)}

    def references(self) -> None:
        """Pools and chains are named that there are."""
        for place, one in self.reader.made.items():
            if isinstance(one, ShareOptions | PassOptions):
                self.known((*place, "pool"), one.pool, self.pools, "pool")
        chains = [*self.told("always")]
        for place, route in self.told("route"):
            pool = lookup(route, ("pool",))
            if isinstance(pool, str):
                self.known((*place, "pool"), pool, self.pools, "pool")
            there = lookup(route, ("filters",))
            chains += [
                ((*place, "filters", at), one) for at, one in enumerate(there if isinstance(there, list) else ())
            ]
        for place, chain in chains:
            if isinstance(chain, str):
                self.known(place, chain, self.chains, "chain of filters")

    def twice(self, section: str) -> None:
        """No two have the same name."""
        first: dict[str, Place] = {}
        for place, one in self.told(section):
            name = lookup(one, ("name",))
            if isinstance(name, str) and name and first.setdefault(name, place) != place:
                here = (*place, "name")
                self.reader.complain(here, f"{written(here)} is {name!r}, and so is that of {written(first[name])}")

    def known(self, place: Place, name: str, there: set[str], what: str) -> None:
        """Complain unless there is one of this name."""
        self.used.add(name)
        if name not in there:
            near = suggestion(name, sorted(there)) or (f"; there are {', '.join(sorted(there))}" if there else "")
            self.reader.complain(place, f"{written(place)} is {shown(name)}, and there is no such {what}{near}")

    def attempt(self, place: Place, what: Callable[[Any], object], options: Any) -> None:
        """Make something of the options, and complain if that cannot be."""
        try:
            what(options)
        except ValueError as error:
            self.reader.blame(place, error)
        except OSError as error:
            self.reader.complain(place, f"{written(place)}: {error}")

    def certificates(self, place: Place, tls: TlsOptions) -> None:
        """Each by itself, so that all faults are seen."""
        for number, pair in enumerate(tls.certificates):
            try:
                Terminator(replace(tls, certificates=(pair,)))
            except ValueError as error:
                here = str(error).replace("certificates[0]", f"certificates[{number}]", 1)
                self.reader.blame(place, ValueError(here))

    def listeners(self) -> None:
        """No two may want the same port of the same interface; all interfaces are everybody's."""
        there = [*self.made("listen", ListenOptions)]
        admin = self.reader.made.get(("admin",))
        if isinstance(admin, AdminOptions):
            there.append((("admin",), admin))
        for number, (place, one) in enumerate(there):
            for before, other in there[:number]:
                a, b = ip_address(one.address), ip_address(other.address)
                meet = a == b or (a.version == b.version and (a.is_unspecified or b.is_unspecified))
                if one.port == other.port != 0 and meet:
                    here = (*place, "port")
                    self.reader.complain(
                        here, f"{written(here)} is {one.port}, and {written(before)} is on {other.name}"
                    )
                    break

    def route(self, place: Place, route: RouteOptions) -> None:
        if not (route.pool or route.split or route.filters or route.filter):
            self.reader.complain(
                place, f"{written((*place, 'pool'))}: missing, wanted pool, split or a filter that answers"
            )
        self.calls(place, route)
        rules = self.reader.made.get(("paths",))
        for key in ("path", "prefix"):
            value = getattr(route, key)
            if value is not None:
                self.reachable((*place, key), value, rules if isinstance(rules, Rules) else Rules())

    def calls(self, place: Place, route: RouteOptions) -> None:
        """What becomes gRPC needs somebody who speaks it."""
        names = [route.pool] if route.pool else [share.pool for share in route.split]
        spoken = {pool.name: pool.protocol for _, pool in self.made("pool", PoolSection)}
        slow = next((f"pool {name!r} has protocol 'h1'" for name in names if spoken.get(name) == "h1"), "")
        why = slow if names else "there is no pool"
        its = {
            place,
            *(("filters", name) for name in route.filters),
            *(("filters", name) for _, name in self.told("always")),
        }
        for where, one in list(self.reader.made.items()):
            if why and isinstance(one, GatewayOptions) and where[:2] in its:
                told = f"wanted a pool with protocol 'h2' or 'h2c' behind it, and of {written(place)} {why}"
                self.reader.complain(where, f"{written(where)}: {told}")

    def reachable(self, place: Place, path: str, rules: Rules) -> None:
        """Routes are found by normal paths: one that is not normal is nobody's."""
        try:
            form = normal(path.encode(), rules).decode()
            why = "" if form == path else f"wanted its normal form, {form!r}"
        except BadTarget as error:
            why = f"and no request has such a path: {error}"
        if why:
            self.reader.complain(place, f"{written(place)} is {path!r}, {why}")

    def limits(self) -> None:
        for section in (("limits",), ("limits", "http2")):
            told = lookup(self.reader.told, section)
            for name, value in told.items() if isinstance(told, dict) else ():
                if isinstance(value, int | float) and not isinstance(value, bool) and value <= 0:
                    place = (*section, name)
                    self.reader.complain(place, f"{written(place)} is {value}, wanted more than 0")

    def buckets(self) -> None:
        """Counters are shown together: histograms with other buckets cannot be added up."""
        there = [(place, one.buckets) for place, one in self.reader.made.items() if isinstance(one, MetricsOptions)]
        for place, buckets in there[1:]:
            if buckets != there[0][1]:
                here = (*place, "buckets")
                self.reader.complain(
                    here, f"{written(here)} is {shown(buckets)}, wanted those of {written(there[0][0])}"
                )

    def reached(self) -> None:
        """Each route must be one that some request can take."""
        routes = {str(place[1]): (place, one) for place, one in self.made("route", RouteOptions)}
        made = [Route(number, match(one), lambda request: None) for number, (_, one) in routes.items()]
        order = self.reader.told.get("order", "first")
        router = Router(made, order=order if order == "longest" else "first")
        for route in router.unreachable():
            place, _ = routes[route.name]
            self.reader.complain(place, f"{written(place)}: no request gets here, routes before it take them all")

    def warnings(self) -> Iterator[str]:
        """What is right and does nothing."""
        for place, pool in self.made("pool", PoolSection):
            if pool.name not in self.used:
                yield self.warning(place, f"pool {pool.name!r} is named by no route")
        for chain in sorted(self.chains - self.used):
            yield self.warning(("filters", chain), f"the chain of filters {chain!r} is named by no route")

    def warning(self, place: Place, text: str) -> str:
        line = next((self.reader.lines[place[:size]] for size in (2, 1) if place[:size] in self.reader.lines), 1)
        return f"{self.reader.name}:{line}: {text}"
