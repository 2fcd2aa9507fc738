"""A balancer's configuration as a TOML file, checked: every complaint names the line, the key and the value.

    gateway = "02:00:00:00:00:fe"
    source4 = "10.0.0.2"

    [driver]
    kind = "xdp"
    interface = "eth0"

    [[service]]
    address = "203.0.113.1"
    port = 80
    protocol = "tcp"
    mode = "nat"

    [[service.backend]]
    address = "10.0.0.11"
    port = 8080
    state = "draining"

A file with a section [relay] is for a balancer of connections instead: see `relay.file`.

Rule of this file: text in, `File` out, or all that is wrong with it at once. Nothing is opened or started here.

Theory. A configuration is read by people in a hurry. So a table per section says what may stand there; whatever else
does is a mistake, for a key that is silently ignored is a setting that somebody believes in. What is nearest to a word
that is not known is suggested. What each key by itself cannot show (a service twice, IPv4 translated into IPv6) is
looked at when all of them are right.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from lbcore.l4.config import Backend, BadConfig, Balancer, Config, Service, words_of
from lbcore.l4.config_keys import BACKEND, DRIVERS, FLAGS, KIND, LARGEST_ID, SERVICE, STATES, TOP, version_of
from lbcore.l4.config_reader import Sections, opened, shown, written
from lbcore.l4.relay import file as relay_file
from lbcore.l4.relay.file import RelayFile
from lbcore.l4.toml_lines import Place


@dataclass(frozen=True)
class Port:
    """Where packets come from. Of these fields, a kind has those that `DRIVERS` gives it."""

    kind: str
    interface: str = ""
    mode: str = "native"
    queue: int = 0
    busy_poll: int = 0
    input: str = ""
    output: str = ""


@dataclass(frozen=True)
class File:
    """What a file says. states: of backends, by address."""

    config: Config
    driver: Port
    states: Mapping[str, int]


def read(path: str | Path) -> File | RelayFile:
    """The file's configuration. BadConfig: all that is wrong, one complaint a line; OSError."""
    return parse(Path(path).read_bytes(), str(path))


def parse(data: bytes, name: str = "configuration") -> File | RelayFile:
    """The same from the file's bytes; `name` is what complaints call it."""
    told, lines = opened(data, name)
    reader = relay_file.Reader(name, lines) if "relay" in told else Reader(name, lines)
    made = reader.file(told)
    reader.end()
    assert made is not None  # it would have been complained of
    return made


class Reader(Sections):
    """Of a balancer of packets."""

    def file(self, told: Mapping[str, Any]) -> File | None:
        top = self.section((), told, TOP)
        driver = self.driver(top.pop("driver")) if "driver" in top else None
        ids = self.server_ids(top.pop("server_ids", {}))
        services, places, states = [], [], dict[str, int]()
        for place, one in self.sections(("service",), top.pop("service", None), SERVICE):
            there = []
            for at, backend in self.sections((*place, "backend"), one.pop("backend", None), BACKEND):
                state = backend.pop("state", "active")
                if "address" in backend:
                    self.state(at, state, backend["address"], states)
                    there.append(Backend(**backend))
            bits = sum(FLAGS[word] for word in set(one.pop("flags", ())))
            if all(name in one for name in ("address", "port", "protocol", "mode")):
                services.append(Service(**one, backends=there, flags=bits))
                places.append(place)
        if self.complaints or driver is None:
            return None
        config = Config(services, server_ids=ids, **top)
        self.together(config, places)
        return File(config, driver, states)

    def driver(self, told: Mapping[str, Any]) -> Port | None:
        kind = told.get("kind")
        keys = {"kind": KIND, **(DRIVERS.get(kind, {}) if isinstance(kind, str) else {})}
        if len(keys) == 1:  # which keys there are depends on the kind: nothing else can be said yet
            self.section(("driver",), {name: value for name, value in told.items() if name == "kind"}, keys)
            return None
        good = self.section(("driver",), told, keys)
        return Port(**good) if all(name in good for name, key in keys.items() if key.needed) else None

    def server_ids(self, told: Mapping[str, Any]) -> dict[int, str]:
        ids = {}
        for name, address in told.items():
            place = ("server_ids", name)
            try:
                if not name.isascii() or not name.isdecimal() or not 1 <= int(name) <= LARGEST_ID:
                    raise BadConfig(f"server ids from 1 to {LARGEST_ID}")
                if not isinstance(address, str):
                    raise BadConfig("a backend's address")
                words_of(address)
                ids[int(name)] = address
            except BadConfig as error:
                self.complain(place, f"{written(place)} = {shown(address)}, wanted {error}")
        return ids

    def state(self, place: Place, word: str, address: str, states: dict[str, int]) -> None:
        """A backend has one state, in however many services it stands."""
        if states.setdefault(address, STATES[word]) != STATES[word]:
            other = next(name for name, state in STATES.items() if state == states[address])
            self.complain((*place, "state"), f"{written((*place, 'state'))} is {word!r}, and {other!r} further up")

    def together(self, config: Config, places: list[Place]) -> None:
        """What only several keys together can be wrong about."""
        seen: dict[tuple[Any, ...], Place] = {}
        known = {words_of(backend.address) for service in config.services for backend in service.backends}
        for service, place in zip(config.services, places, strict=True):
            first = seen.setdefault((words_of(service.address), service.port, service.protocol), place)
            if first != place:
                self.complain(place, f"{written(place)}: the address, port and protocol of {written(first)} again")
            self.backends(config, service, place)
        for number, address in enumerate(config.horizon):
            if words_of(address) not in known:
                self.complain(("horizon", number), f"horizon names {address!r}, which is no backend")
        for server_id, address in config.server_ids.items():
            if words_of(address) not in known:
                place = ("server_ids", str(server_id))
                self.complain(place, f"{written(place)} is {address!r}, which is no backend")
        if not self.complaints:
            try:
                Balancer(config)
            except ValueError as error:
                self.complain((), str(error))

    def backends(self, config: Config, service: Service, place: Place) -> None:
        translated = service.mode in ("nat", "full_nat")
        sources = {4: config.source4 != "0.0.0.0", 6: config.source6 != "::"}
        if service.mode == "ipip":
            sources = {4: sources[4] or bool(config.spread4), 6: sources[6] or bool(config.spread6)}
        seen = set()
        for number, backend in enumerate(service.backends):
            here = (*place, "backend", number)
            version = version_of(words_of(backend.address))
            if (backend.address, backend.port) in seen:
                self.complain(here, f"{written(here)}: {backend.address} is in this service already")
            seen.add((backend.address, backend.port))
            if translated and version != version_of(words_of(service.address)):
                why = (
                    f"{service.mode} cannot turn {service.address} into {backend.address}: one is IPv4, the other IPv6"
                )
                self.complain((*here, "address"), f"{written((*here, 'address'))}: {why}")
            if not backend.ethernet and not config.gateway:
                why = "missing, and there is no gateway either: where are frames for it to go?"
                self.complain(here, f"{written((*here, 'ethernet'))}: {why}")
            if service.mode not in ("nat", "dsr") and not sources[version]:
                why = f"missing: {service.mode} sends to {backend.address} from it"
                self.complain(place, f"source{version}: {why}")


def same_but_states(a: File, b: File) -> bool:
    """Do two files differ in nothing but their backends' states?"""
    return a.driver == b.driver and all(
        getattr(a.config, field.name) == getattr(b.config, field.name) for field in fields(Config)
    )
