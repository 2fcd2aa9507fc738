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

Rule of this file: text in, `File` out, or all that is wrong with it at once. Nothing is opened or started here.

Theory. A configuration is read by people in a hurry. So a table per section says what may stand there; whatever else
does is a mistake, for a key that is silently ignored is a setting that somebody believes in. What is nearest to a word
that is not known is suggested. What each key by itself cannot show (a service twice, IPv4 translated into IPv6) is
looked at when all of them are right.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from lbcore.l4.config import Backend, BadConfig, Balancer, Config, Service, words_of
from lbcore.l4.config_keys import (
    BACKEND,
    DRIVERS,
    FLAGS,
    KIND,
    LARGEST_ID,
    NAMES,
    SERVICE,
    STATES,
    TOP,
    Key,
    suggestion,
    version_of,
)
from lbcore.l4.toml_lines import Place, lines_of


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


def read(path: str | Path) -> File:
    """The file's configuration. BadConfig: all that is wrong, one complaint a line; OSError."""
    return parse(Path(path).read_bytes(), str(path))


def parse(data: bytes, name: str = "configuration") -> File:
    """The same from the file's bytes; `name` is what complaints call it."""
    try:
        text = data.decode()
        told = tomllib.loads(text)
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise BadConfig(f"{name}:{line}: byte {data[error.start]:#04x}: TOML is text in UTF-8") from None
    except tomllib.TOMLDecodeError as error:
        line = int(found[1]) if (found := re.search(r"at line (\d+)", str(error))) else text.count("\n") + 1
        raise BadConfig(f"{name}:{line}: {error}") from None
    except RecursionError:
        raise BadConfig(f"{name}:1: nested too deep") from None
    reader = Reader(name, lines_of(text))
    made = reader.file(told)
    if made is None or reader.complaints:
        raise BadConfig("\n".join(text for _, text in sorted(reader.complaints)))
    return made


class Reader:
    """Goes through what TOML has read, and notes what is wrong."""

    def __init__(self, name: str, lines: Mapping[Place, int]) -> None:
        self.name = name
        self.lines = lines
        self.complaints: list[tuple[int, str]] = []

    def complain(self, place: Place, text: str) -> None:
        """Note it, with the line of the place, or of what it stands in."""
        known = (self.lines[place[:size]] for size in range(len(place), 0, -1) if place[:size] in self.lines)
        line = next(known, 1)
        self.complaints.append((line, f"{self.name}:{line}: {text}"))

    def section(self, place: Place, told: Mapping[str, Any], keys: Mapping[str, Key]) -> dict[str, Any]:
        """Those values of a section that are as they should be."""
        good = {}
        for name, value in told.items():
            here = (*place, name)
            if name not in keys:
                why = f"{written(here)}: no such key{suggestion(name, keys)}; there are {', '.join(keys)}"
                self.complain(here, why)
                continue
            kind, wanted, check, _ = keys[name]
            try:
                if type(value) is not kind and not (kind is float and type(value) is int):
                    raise BadConfig(f"{wanted} ({NAMES[kind]})")
                check(value)
                good[name] = value
            except BadConfig as error:
                self.complain(here, f"{written(here)} is {shown(value)}, wanted {error}")
        for name, key in keys.items():
            if key.needed and name not in told:
                self.complain(place, f"{written((*place, name))}: missing, wanted {key.wanted}")
        return good

    def sections(
        self, place: Place, told: Iterable[Any] | None, keys: Mapping[str, Key]
    ) -> list[tuple[Place, dict[str, Any]]]:
        """The same for each of an array of tables; None: there is none, and that has been said."""
        made: list[tuple[Place, dict[str, Any]]] = []
        if told is None:
            return made
        for number, one in enumerate(told):
            here = (*place, number)
            if isinstance(one, dict):
                made.append((here, self.section(here, one, keys)))
            else:
                self.complain(here, f"{written(here)} is {shown(one)}, wanted a table")
        if not told:
            self.complain(place, f"{written(place)}: empty, wanted at least one")
        return made

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


def shown(value: Any) -> str:
    """A value in a complaint, not too long."""
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def written(place: Place) -> str:
    """service[1].backend[2].port: numbers count from 1, as people do."""
    text = "".join(f"[{part + 1}]" if isinstance(part, int) else f".{part}" for part in place)
    return text.removeprefix(".")


def same_but_states(a: File, b: File) -> bool:
    """Do two files differ in nothing but their backends' states?"""
    return a.driver == b.driver and all(
        getattr(a.config, field.name) == getattr(b.config, field.name) for field in fields(Config)
    )
