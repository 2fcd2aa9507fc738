"""What is served, by whom, in which way: checked, and turned into the data plane's tables.

Rule of this file: it is read and changed by people; nothing in it runs once for each packet.

Theory. Backends keep their numbers for as long as the configuration lives, because flow tables remember numbers. A
service's ring is Maglev's table over its active backends. When one drains it leaves the ring, and flows that are
remembered stay; when it is gone, so are they.

`horizon`: backends that may come or go soon (Mendelson et al., CoNEXT 2021). With it, only those slots are tracked that
would change if one of them did. Without, every slot is.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from lbcore.balance.maglev import Maglev
from lbcore.l4 import flags, katran, tables
from lbcore.l4.flow import MAPPED
from lbcore.l4.flow_table import flow_table
from lbcore.l4.tables import ACTIVE, DRAINING, GONE, TRACK, Tables

PROTOCOLS = {"tcp": 6, "udp": 17}
FREE = 0xFFFFFFFFFFFFFFFF


class BadConfig(ValueError):
    """A configuration that cannot be: names the field, its value, and what would have been right."""


def words_of(address: str) -> tuple[int, int]:
    """An IPv4 or IPv6 address as the tables hold it: two 64-bit words."""
    try:
        ip = ipaddress.ip_address(address)
    except ValueError:
        raise BadConfig(f"address {address!r}: an IPv4 or IPv6 address such as 10.0.0.1 or 2001:db8::1") from None
    number = int(ip)
    return (0, MAPPED | number) if ip.version == 4 else (number >> 64, number & FREE)


def ethernet_of(address: str) -> int:
    """An Ethernet address such as "02:00:00:00:00:01" as a 48-bit integer; "" is 0."""
    if not address:
        return 0
    digits = address.split(":")
    try:
        if len(digits) != 6 or not all(len(d) == 2 for d in digits):
            raise ValueError
        return int("".join(digits), 16)
    except ValueError:
        raise BadConfig(f"ethernet {address!r}: six bytes such as 02:00:00:00:00:01") from None


@dataclass(frozen=True)
class Backend:
    """Who does the work. `port`, for NAT: 0 leaves the client's choice. `ethernet`: "" sends by the gateway."""

    address: str
    port: int = 0
    ethernet: str = ""
    weight: float = 1.0


@dataclass(frozen=True)
class Service:
    """A virtual address and port (0: any), tcp or udp, in one of `flags.NAMES`, and the backends behind it."""

    address: str
    port: int
    protocol: str
    mode: str
    backends: Sequence[Backend]
    flags: int = 0


@dataclass
class Config:
    """Everything that a data plane is told. Lengths in bytes, times in seconds."""

    services: Sequence[Service]
    gateway: str = ""
    ethernet: str = ""
    """The balancer's own Ethernet address: frames for others are passed by. "" takes all that come in."""
    source4: str = "0.0.0.0"
    source6: str = "::"
    spread4: str = ""
    """A prefix of 16 bits such as "172.16": IPIP's source, the rest by flow."""
    spread6: str = ""
    """A prefix of 64 bits such as "100::"."""
    gue_port: int = 6080
    max_frame: int = 1514
    seed: int = 0x2000200
    seed6: int = 512
    ring_size: int = 65537
    idle: float = 30.0
    flows: int = 1 << 16
    server_ids: dict[int, str] = field(default_factory=dict)
    """QUIC server id -> a backend's address."""
    horizon: Sequence[str] = ()
    ring: str = "maglev"
    """Who else must agree: "maglev", others like this one; "katran", Katran with the same backends and weights."""


class Balancer:
    """A configuration in force: its tables, the backends' numbers and states."""

    def __init__(self, config: Config) -> None:
        self.config = config
        check(config)
        known: dict[Backend, None] = {}
        for service in config.services:
            known.update(dict.fromkeys(service.backends))
        self.backends: list[Backend] = list(known)
        self.numbers = {backend: number for number, backend in enumerate(self.backends, 1)}
        self.states = dict.fromkeys(self.backends, ACTIVE)
        self.tables = self._tables()
        self.refresh()

    def number_of(self, address: str) -> int:
        """The number of the (first) backend at an address."""
        for backend, number in self.numbers.items():
            if words_of(backend.address) == words_of(address):
                return number
        raise BadConfig(f"backend {address!r}: there are {', '.join(b.address for b in self.backends)}")

    def set_state(self, address: str, state: int) -> None:
        """ACTIVE, DRAINING or GONE, on all ports and in all services at once; rings are made anew."""
        if state not in (GONE, DRAINING, ACTIVE):
            raise BadConfig(f"state {state!r}: 0 (gone), 1 (draining) or 2 (active)")
        self.number_of(address)  # which complains of an address that nobody has
        for backend in self.backends:
            if words_of(backend.address) == words_of(address):
                self.states[backend] = state
        self.refresh()

    def refresh(self) -> None:
        """Bring the tables in line with the backends' states. Rings change slot by slot, under running packets.

        Who comes is let in before a ring names him, and who goes is shut out when no ring names him any more: no packet
        finds a slot whose backend takes nothing.
        """
        now, states = self.tables.backends[1:, 0], np.array([self.states[b] for b in self.backends], np.uint64)
        now[:] = np.maximum(now, states)
        for number, service in enumerate(self.config.services):
            self.tables.rings[number] = self.ring(service)
        now[:] = states

    def counters(self) -> dict[str, Any]:
        """A copy of the tables': "vips" int64[services, 4], "backends" int64[n + 1, 2], "reasons" int64[16]."""
        t = self.tables
        return {
            "vips": t.vip_counters.copy(),
            "backends": t.backend_counters.copy(),
            "reasons": t.reason_counters.copy(),
        }

    def ring(self, service: Service) -> Any:
        """uint32[ring size]: a service's ring over its active backends, with TRACK where flows are to be remembered."""
        active = [b for b in service.backends if self.states[b] == ACTIVE]
        now = self._lookup(active)
        if not self.config.horizon:
            return now | np.uint32(TRACK) if active else now
        horizon = {words_of(address) for address in self.config.horizon}
        moved = np.zeros(self.config.ring_size, bool)
        for one in [b for b in service.backends if words_of(b.address) in horizon]:
            other = [b for b in active if b != one] if one in active else [*active, one]
            moved |= self._lookup(other) != now
        return np.where(moved, now | np.uint32(TRACK), now)

    def _lookup(self, backends: Sequence[Backend]) -> Any:
        if not backends:
            return np.zeros(self.config.ring_size, np.uint32)
        names = sorted(f"{b.address} {b.port}" for b in backends)
        by_name = {f"{b.address} {b.port}": b for b in backends}
        weights = [by_name[name].weight for name in names]
        if self.config.ring == "katran":
            picked = katran.ring([by_name[name].address for name in names], weights, self.config.ring_size)
        else:
            picked = Maglev(names, size=self.config.ring_size, weights=weights).table
        return np.array([self.numbers[by_name[name]] for name in names], np.uint32)[picked]

    def _tables(self) -> Tables:
        c = self.config
        alike = flags.AS_KATRAN if c.ring == "katran" else 0
        services = [
            (words_of(s.address), s.port << 8 | PROTOCOLS[s.protocol], n, flags_of(s) | alike)
            for n, s in enumerate(c.services)
        ]
        anywhere = [(address, 0, n, 0) for address, _, n, _ in services]
        rows = {(a, service): (n, f) for a, service, n, f in [*anywhere, *services]}
        size = 1 << (2 * len(rows)).bit_length()
        keys, values = np.full((size, 3), FREE, np.uint64), np.zeros((size, 2), np.uint64)
        for (address, service), value in rows.items():
            at = tables.place_of(*address, service) & (size - 1)
            while keys[at, 2] != FREE:
                at = (at + 1) & (size - 1)
            keys[at], values[at] = (*address, service), value
        ids = sorted((server_id, self.number_of(address)) for server_id, address in c.server_ids.items())
        backends = np.zeros((len(self.backends) + 1, 5), np.uint64)
        for backend, number in self.numbers.items():
            backends[number] = (ACTIVE, *words_of(backend.address), ethernet_of(backend.ethernet), backend.port)
        returns = flow_table(c.flows)
        return Tables(
            np.array(settings_of(c), np.uint64),
            keys,
            values,
            np.zeros((len(c.services), c.ring_size), np.uint32),
            backends,
            np.array(ids, np.int64).reshape(-1, 2),
            flow_table(c.flows),
            flow_table(max(8, c.flows // 2)),
            returns,
            np.zeros((returns.tags.size, 6), np.uint64),
            np.zeros(1, np.uint64),
            np.zeros((len(c.services), 4), np.int64),
            np.zeros((len(self.backends) + 1, 2), np.int64),
            np.zeros(16, np.int64),
        )


def settings_of(c: Config) -> tuple[int, ...]:
    """The numbers of `tables.Settings`, in their order."""
    source6 = words_of(c.source6)
    spread4 = 0
    if c.spread4:
        high, low = (int(part) for part in c.spread4.split("."))
        spread4 = high << 8 | low
    return (
        ethernet_of(c.gateway),
        c.max_frame,
        words_of(c.source4)[1] & 0xFFFFFFFF,
        *source6,
        spread4,
        words_of(c.spread6)[0] if c.spread6 else 0,
        c.gue_port,
        c.seed,
        c.seed6,
        c.ring_size,
        int(c.idle * 1e9),
        ethernet_of(c.ethernet),
    )


def flags_of(service: Service) -> int:
    """Mode and flags of a service as the tables hold them."""
    return flags.NAMES.index(service.mode) | service.flags | (0 if service.port else flags.ANY_PORT)


def check(config: Config) -> None:
    """BadConfig unless all of it can be."""
    if not config.services:
        raise BadConfig("services: none; a balancer needs at least one")
    if config.ring not in ("maglev", "katran"):
        raise BadConfig(f"ring {config.ring!r}: maglev or katran")
    for service in config.services:
        words_of(service.address)
        if service.protocol not in PROTOCOLS:
            raise BadConfig(f"protocol {service.protocol!r} of {service.address}: tcp or udp")
        if service.mode not in flags.NAMES:
            raise BadConfig(f"mode {service.mode!r} of {service.address}: one of {', '.join(flags.NAMES)}")
        if not 0 <= service.port <= 65535:
            raise BadConfig(f"port {service.port} of {service.address}: 0 (any) to 65535")
        for backend in service.backends:
            words_of(backend.address), ethernet_of(backend.ethernet)
            if not 0 <= backend.port <= 65535:
                raise BadConfig(f"port {backend.port} of backend {backend.address}: 0 (as the client's) to 65535")
