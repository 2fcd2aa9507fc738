"""What a relay is told: plain fields that a configuration file can fill, checked before a socket is opened.

Rule of this file: no sockets, no names to resolve. A fault names its key, its value and what would have been right.

Theory. A listener leads to a pool, its own or a route's; a pool leads to targets. Addresses are numbers: a name that
has to be asked for stops a relay at the moment when it has least time, and a name that changes is a pool's change.

Trap. Nothing is reachable from outside this machine unless `expose` says so: "0.0.0.0", all interfaces, is one typing
error away from what was meant.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network

from lbcore.l4.config_keys import suggestion
from lbcore.l4.relay.backends import PICKERS
from lbcore.l4.relay.introduce import EXTRAS

PROTOCOLS = ("tcp", "udp")
HASHED = ("connection", "source")


class BadOptions(ValueError):
    """key: where, such as "pools.web.targets[0].address". value: what was found. wanted: what would have been right."""

    def __init__(self, key: str, value: object, wanted: str) -> None:
        super().__init__(f"{key} is {value!r}: {wanted}")
        self.key, self.value, self.wanted = key, value, wanted


@dataclass(frozen=True)
class Target:
    """A backend. address: "10.0.0.1:80" or "[2001:db8::1]:80". weight: its share, for pickers that know weights."""

    address: str
    weight: float = 1.0


@dataclass(frozen=True)
class Pool:
    """Targets that do the same work.

    picker: one of `backends.PICKERS`. hash_on: "connection" (addresses and ports) or "source" (the client's address).
    send_proxy: 0 (none), 1 or 2: the PROXY protocol's version. proxy_extras: for 2, see `introduce.EXTRAS`.
    preserve_source: dial from the client's own address and port (Linux, CAP_NET_ADMIN, and routes back through here).
    """

    name: str
    targets: Sequence[Target]
    picker: str = "maglev"
    hash_on: str = "connection"
    send_proxy: int = 0
    proxy_extras: Sequence[str] = ()
    preserve_source: bool = False


@dataclass(frozen=True)
class Route:
    """To `pool`, when all that is given fits; the most specific name wins, then the route that is first.

    names: server names, "shop.example", or "*.shop.example" for all below it. alpn: any one of these is offered.
    ech: Encrypted Client Hello is there (its name is then the client-facing server's), or is not; None: no matter.
    """

    pool: str
    names: Sequence[str] = ()
    alpn: Sequence[str] = ()
    ech: bool | None = None


@dataclass(frozen=True)
class Listener:
    """Where clients come in.

    pool: for all that no route takes; "": that is refused. address: as a target's; port 0 takes a free one.
    routes: TCP only; with any, the ClientHello is awaited, and what is not TLS is refused.
    accept_proxy: networks ("10.0.0.0/8") whose every connection (or datagram) begins with a PROXY header. If there are
    any, all others are refused: who may leave the header out could also write it.
    transparent: take connections to any address that is routed here (Linux, CAP_NET_ADMIN).
    """

    pool: str = ""
    address: str = "127.0.0.1:0"
    protocol: str = "tcp"
    routes: Sequence[Route] = ()
    accept_proxy: Sequence[str] = ()
    transparent: bool = False


@dataclass(frozen=True)
class Limits:
    """How many at once. connections: 0 for as many as there are descriptors. per_source: 0 for no limit.

    At `connections` accepting stops and clients wait in the kernel's queue; over `per_source` they are refused.
    flows: UDP; a datagram of one more flow is dropped. attempts: backends tried for one connection.
    """

    connections: int = 0
    per_source: int = 0
    flows: int = 4096
    attempts: int = 3
    backlog: int = 1024


@dataclass(frozen=True)
class Timeouts:
    """Seconds. opening: for PROXY header and ClientHello together. connect: for one attempt. idle: without a byte
    either way. udp_idle: the same of a UDP flow. rest: how long a backend that failed is asked last. drain: the window.
    """

    opening: float = 5.0
    connect: float = 3.0
    idle: float = 300.0
    udp_idle: float = 30.0
    rest: float = 1.0
    drain: float = 30.0


@dataclass(frozen=True)
class Options:
    """All of it. expose: listeners may have addresses beyond loopback. seed: of hashing; the same on all of a fleet."""

    listeners: Sequence[Listener]
    pools: Sequence[Pool]
    limits: Limits = Limits()
    timeouts: Timeouts = Timeouts()
    expose: bool = False
    seed: int = 0

    def check(self) -> None:
        """BadOptions unless all of it can be."""
        names = [pool.name for pool in self.pools]
        _want(bool(self.listeners), "listeners", self.listeners, "at least one")
        for i, pool in enumerate(self.pools):
            _want(pool.name not in ("", *names[:i]), f"pools[{i}].name", pool.name, "a name of its own")
            _check_pool(pool, f"pools.{pool.name}")
        for i, listener in enumerate(self.listeners):
            self._check_listener(listener, f"listeners[{i}]", names)
        for key, least in (("connections", 0), ("per_source", 0), ("flows", 1), ("attempts", 1), ("backlog", 1)):
            value = getattr(self.limits, key)
            _want(isinstance(value, int) and value >= least, f"limits.{key}", value, f"a whole number from {least} on")
        for key, seconds in vars(self.timeouts).items():
            shortest = 0.0 if key in ("rest", "drain") else 1e-3
            right = shortest <= seconds and math.isfinite(seconds)
            _want(right, f"timeouts.{key}", seconds, f"seconds, from {shortest} on")
        _want(0 <= self.seed < 1 << 64, "seed", self.seed, "0 to 2**64 - 1")

    def _check_listener(self, listener: Listener, key: str, pools: list[str]) -> None:
        host, _ = endpoint(listener.address, f"{key}.address")
        loopback = ip_address(host).is_loopback
        wanted = "an address of loopback such as 127.0.0.1, or expose = true"
        _want(loopback or self.expose, f"{key}.address", listener.address, wanted)
        _choice(listener.protocol, PROTOCOLS, f"{key}.protocol")
        udp = listener.protocol == "udp"
        wanted = "one of the host's addresses: answers must come from the one that was asked"
        _want(not (udp and ip_address(host).is_unspecified), f"{key}.address", listener.address, wanted)
        _want(not (udp and listener.routes), f"{key}.routes", listener.routes, "none with udp: there is no ClientHello")
        _want(not (udp and listener.transparent), f"{key}.transparent", True, "false with udp")
        if listener.pool or not listener.routes:
            _choice(listener.pool, pools, f"{key}.pool")
        for i, route in enumerate(listener.routes):
            _choice(route.pool, pools, f"{key}.routes[{i}].pool")
            for name in route.names:
                rest = name.removeprefix("*.")
                plain = bool(rest) and rest == rest.lower() and "*" not in rest and rest.isascii()
                _want(plain, f"{key}.routes[{i}].names", name, 'lower case, "shop.example" or "*.shop.example"')
        for i, text in enumerate(listener.accept_proxy):
            network(text, f"{key}.accept_proxy[{i}]")
        versions = {pool.send_proxy for pool in self.pools if udp and pool.name == listener.pool}
        _want(1 not in versions, f"pools.{listener.pool}.send_proxy", 1, "0 or 2 with udp: version 1 knows TCP only")


def _check_pool(pool: Pool, key: str) -> None:
    _choice(pool.picker, PICKERS, f"{key}.picker")
    _choice(pool.hash_on, HASHED, f"{key}.hash_on")
    _choice(pool.send_proxy, (0, 1, 2), f"{key}.send_proxy")
    for extra in pool.proxy_extras:
        _choice(extra, EXTRAS, f"{key}.proxy_extras")
    _want(
        pool.send_proxy == 2 or not pool.proxy_extras, f"{key}.proxy_extras", pool.proxy_extras, "with send_proxy = 2"
    )
    _want(len(pool.targets) > 0, f"{key}.targets", pool.targets, "at least one")
    addresses = [endpoint(target.address, f"{key}.targets[{i}].address") for i, target in enumerate(pool.targets)]
    for i, target in enumerate(pool.targets):
        where = f"{key}.targets[{i}]"
        _want(addresses[i] not in addresses[:i], f"{where}.address", target.address, "each once")
        _want(addresses[i][1] > 0, f"{where}.address", target.address, "with a port of 1 to 65535")
        _want(0 < target.weight < 1e9, f"{where}.weight", target.weight, "over 0; to take one out, set its state")


def _want(right: bool, key: str, value: object, wanted: str) -> None:
    if not right:
        raise BadOptions(key, value, wanted)


def _choice(value: object, allowed: Iterable[object], key: str) -> None:
    allowed = tuple(allowed)
    words = [str(word) for word in allowed]
    _want(value in allowed, key, value, f"one of {', '.join(words)}{suggestion(str(value), words)}")


def endpoint(text: str, key: str = "address") -> tuple[str, int]:
    """ "10.0.0.1:80" or "[2001:db8::1]:80" as (address, port). BadOptions otherwise."""
    host, colon, port = text.rpartition(":")
    bare = host[1:-1] if host[:1] == "[" and host[-1:] == "]" else host
    try:
        ip = ip_address(bare)
        number = int(port) if port.isascii() and port.isdigit() else -1
        right = bool(colon) and 0 <= number <= 0xFFFF and "%" not in bare and (ip.version == 6) == (bare != host)
    except ValueError:
        right = False
    if not right:
        raise BadOptions(key, text, 'an address and a port, "10.0.0.1:80" or "[2001:db8::1]:80"')
    return str(ip), number


def written(host: str, port: int) -> str:
    """The way back: as `endpoint` reads it."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def network(text: str, key: str = "network") -> IPv4Network | IPv6Network:
    """ "10.0.0.0/8" or one address. BadOptions otherwise."""
    try:
        return ip_network(text)
    except ValueError as error:
        raise BadOptions(key, text, f'a network such as "10.0.0.0/8" ({error})') from None
