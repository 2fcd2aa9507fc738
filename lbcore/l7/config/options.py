"""What may stand in a configuration, section by section; `lbcore proxy --keys` prints it as a table.

Rule of this file: fields, and what each section can know to be wrong by itself. What only the whole file shows is
`config`'s to find. Sections of other parts (filters, pools, TLS, limits) stand beside those parts.

Trap. Nothing is reachable from outside this machine unless the file says so: a listener is on 127.0.0.1 if it gives no
address, and all interfaces, 0.0.0.0 or ::, have to be written out.
"""

from __future__ import annotations

import math
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Annotated, Literal

from msgspec import Meta, Struct

from lbcore.l7.filters.kinds import AnyOptions
from lbcore.l7.front.tls import BackendTlsOptions, TlsOptions
from lbcore.l7.limits import Limits
from lbcore.l7.pools.options import BackendOptions, HashOptions, PoolOptions
from lbcore.l7.routing.match import MatchOptions, name_of
from lbcore.l7.target import STRICT, Rules
from lbcore.l7.trust import networks_of

Port = Annotated[int, Meta(ge=0, le=65535)]
Name = Annotated[str, Meta(min_length=1)]
Share = Annotated[float, Meta(ge=0)]


class Section(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What all sections have in common: a key that is not known is an error."""


class PassOptions(Section, frozen=True):
    """TLS that is not terminated: the connection goes to the pool as it came, by the name in its ClientHello."""

    names: Annotated[tuple[str, ...], Meta(min_length=1)]
    """Server names, `shop.example` or `*.shop.example` (all below it)."""
    pool: Name
    """Whose backends have the certificates."""

    def __post_init__(self) -> None:
        for name in self.names:
            name_of(name, "names")


class ListenOptions(Section, frozen=True):
    """Where clients come in."""

    port: Port
    """TCP port; 0 takes a free one."""
    address: str = "127.0.0.1"
    """Of the interface: 127.0.0.1 and ::1 are this machine alone, 0.0.0.0 and :: are everybody."""
    tls: TlsOptions | None = None
    """With it, TLS is terminated here."""
    http2: bool = True
    """HTTP/2 too: with TLS by ALPN, in the clear for clients that know beforehand (RFC 9113, 3.3)."""
    proxy_protocol: tuple[str, ...] = ()
    """Networks, 10.0.0.0/8, whose every connection begins with a PROXY header. If there are any, others are refused."""
    passthrough: tuple[PassOptions, ...] = ()
    """TLS connections that go on undecrypted, by server name. Without `tls` all others are refused."""

    def __post_init__(self) -> None:
        check_address(self.address, "; 0.0.0.0 is every interface, and has to be written out")
        networks_of(self.proxy_protocol, "proxy_protocol")

    @property
    def name(self) -> str:
        """address:port, as logs have it."""
        return authority(self.address, self.port)


class ShareOptions(Section, frozen=True):
    """One side of a split."""

    pool: Name
    """Where this share of the requests goes."""
    weight: Share
    """Its share, next to the others'."""


class RouteOptions(MatchOptions, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Where requests go that fit its conditions, and through which filters on their way."""

    name: str = ""
    """As logs and metrics have it; without one, `route-1` and so on."""
    pool: Name | None = None
    """The pool that answers; without pool and split, a filter has to."""
    split: tuple[ShareOptions, ...] = ()
    """Several pools that share the requests by weight, instead of `pool`."""
    split_by: HashOptions | None = None
    """What a client keeps its side of the split by; without it each request draws anew."""
    filters: tuple[Name, ...] = ()
    """Names of chains of `[[filters.NAME]]`, from the outside to the inside."""
    filter: tuple[AnyOptions, ...] = ()
    """Filters of this route alone, inside of those."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.pool is not None and self.split:
            raise ValueError(f"pool is {self.pool!r} and there is a split: wanted one of the two")
        if self.split and not any(share.weight for share in self.split):
            raise ValueError("split has weight 0 everywhere, wanted more for one pool at least")
        for share in self.split:
            if [one.pool for one in self.split].count(share.pool) > 1:
                raise ValueError(f"split has {share.pool!r} twice, wanted each pool once")
        if self.split_by is not None and not self.split:
            raise ValueError("split_by is there and no split is, wanted both or neither")


class PoolSection(PoolOptions, frozen=True, forbid_unknown_fields=True, kw_only=True, rename={"backends": "backend"}):
    """Backends that can stand in for each other."""

    backends: tuple[BackendOptions, ...]
    """At least one, each with an address of its own."""
    tls: BackendTlsOptions | None = None
    """With it, backends are spoken to over TLS, and verified."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.protocol == "h2" and self.tls is None:
            raise ValueError("protocol is 'h2', which is TLS: wanted a section tls, or protocol 'h2c'")
        if self.protocol == "h2c" and self.tls is not None:
            raise ValueError("protocol is 'h2c', which is in the clear: wanted 'h2', or no section tls")
        if self.health is not None and self.health.tls and self.tls is None:
            raise ValueError("health.tls is True, and the pool has no TLS: wanted a section tls, or false")


class AdminOptions(Section, frozen=True):
    """The admin endpoint. On loopback only: whoever reaches it can drain the fleet."""

    port: Port
    """TCP port; 0 takes a free one."""
    address: str = "127.0.0.1"
    """Of loopback."""
    token: str = ""
    """What changes have to bring along, as `authorization: Bearer ...`; without one, whoever is on this machine may."""
    token_file: str = ""
    """A file with it, instead."""

    def __post_init__(self) -> None:
        if not check_address(self.address, " of loopback").is_loopback:
            raise ValueError(f"address is {self.address!r}, wanted one of loopback: 127.0.0.1 or ::1")
        if self.token and self.token_file:
            raise ValueError(f"token_file is {self.token_file!r} and there is a token: wanted one of the two")

    def __repr__(self) -> str:
        return f"AdminOptions(address={self.address!r}, port={self.port}, token_file={self.token_file!r})"

    @property
    def name(self) -> str:
        """address:port."""
        return authority(self.address, self.port)


class LogOptions(Section, frozen=True):
    """What the proxy says of itself. Requests are logged by the filter access_log."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    """And what is graver."""
    file: str = ""
    """Appended to; without one, standard error."""


class Config(Section, frozen=True):
    """A configuration."""

    listen: Annotated[tuple[ListenOptions, ...], Meta(min_length=1)]
    """Where clients come in."""
    route: Annotated[tuple[RouteOptions, ...], Meta(min_length=1)]
    """Which requests go where; a request that fits none gets 404."""
    pool: tuple[PoolSection, ...] = ()
    """Who answers."""
    filters: dict[str, tuple[AnyOptions, ...]] = {}
    """Chains of filters by name. Routes that name the same chain share its filters: one count for a rate limit, say."""
    always: tuple[Name, ...] = ()
    """Names of chains that every request passes first, those that fit no route too; from the outside to the inside."""
    order: Literal["first", "longest"] = "first"
    """Of the routes that fit, the first in the file, or the most specific."""
    drain: float = 30.0
    """Seconds that requests in flight have, when the proxy stops or its listeners change."""
    paths: Rules = STRICT
    """What to do with paths that parsers disagree about."""
    limits: Limits = Limits()
    """How much of everything one client may have, and for how long."""
    admin: AdminOptions | None = None
    """Without it there is none."""
    log: LogOptions = LogOptions()
    """What the proxy says of itself."""

    def __post_init__(self) -> None:
        if not (self.drain >= 0 and math.isfinite(self.drain)):
            raise ValueError(f"drain is {self.drain!r}, wanted seconds, 0 or more")


def check_address(address: str, more: str = "") -> IPv4Address | IPv6Address:
    """The address as the library has it. ValueError names the field `address`."""
    try:
        return ip_address(address)
    except ValueError:
        raise ValueError(f"address is {address!r}, wanted an IPv4 or IPv6 address{more}") from None


def authority(address: str, port: int) -> str:
    """address:port, brackets around an IPv6 address."""
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"
