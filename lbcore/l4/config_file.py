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

Trap. Python's TOML reader tells no lines, so they are looked up: headers and `key =` at the start of a line. What
stands inside an array or an inline table is told by the line that those begin in.
"""

from __future__ import annotations

import difflib
import re
import tomllib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, NamedTuple

from lbcore.l4 import flags
from lbcore.l4.config import PROTOCOLS, Backend, BadConfig, Balancer, Config, Service, ethernet_of, words_of
from lbcore.l4.flow import MAPPED
from lbcore.l4.tables import ACTIVE, DRAINING, GONE

Place = tuple[str | int, ...]
"""Where something stands: ("service", 0, "backend", 1, "port")."""
STATES = {"active": ACTIVE, "draining": DRAINING, "gone": GONE}
FLAGS = {
    "by_destination_port": flags.BY_DESTINATION_PORT,
    "ignore_source_port": flags.IGNORE_SOURCE_PORT,
    "quic": flags.QUIC,
}

LARGEST_ID = (1 << 32) - 1


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


class Key(NamedTuple):
    """What a value has to be: its type (float: integers too), and a function that raises BadConfig for what is wrong
    all the same. `wanted` says it in words."""

    kind: type
    wanted: str
    check: Callable[[Any], object] = lambda value: None
    needed: bool = False


def one_of(words: Iterable[str]) -> Callable[[str], None]:
    """A check: the value is one of these."""
    there = list(words)

    def check(value: str) -> None:
        if value not in there:
            raise BadConfig(f"one of {', '.join(there)}{suggestion(value, there)}")

    return check


def word(*words: str, needed: bool = False) -> Key:
    """A key whose value is one of these."""
    return Key(str, f"one of {', '.join(words)}", one_of(words), needed)


def between(least: float, most: float) -> Callable[[float], None]:
    """A check: the value is at least and at most so much."""

    def check(value: float) -> None:
        if not least <= value <= most:
            raise BadConfig(f"{least:g} to {most:g}")

    return check


def in_words(check: Callable[[str], object], wanted: str) -> Callable[[str], None]:
    """A check by a function that raises ValueError."""

    def checked(value: str) -> None:
        try:
            check(value)
        except ValueError:
            raise BadConfig(wanted) from None

    return checked


def _each(check: Callable[[Any], object]) -> Callable[[Iterable[Any]], None]:
    def checked(values: Iterable[Any]) -> None:
        for value in values:
            if not isinstance(value, str):
                raise BadConfig(f"words, and {value!r} is none")
            check(value)

    return checked


def _prime(value: int) -> None:
    if value < 3 or value > 1 << 22 or any(value % by == 0 for by in range(2, int(value**0.5) + 1)):
        raise BadConfig("a prime number, such as 4099 or 65537")


def _version(*versions: int) -> Callable[[str], None]:
    """A check: an address of one of these IP versions."""
    names = " or ".join(f"IPv{version}" for version in versions)
    example = "10.0.0.1" if 4 in versions else "2001:db8::1"

    def check(value: str) -> None:
        words = words_of(value)
        if version_of(words) not in versions:
            raise ValueError

    return in_words(check, f"an {names} address such as {example}")


def _spread4(value: str) -> None:
    high, low = value.split(".")
    if not (0 <= int(high) <= 255 and 0 <= int(low) <= 255):
        raise ValueError


ADDRESS = Key(str, "an address", _version(4, 6), needed=True)
ETHERNET = Key(str, "an Ethernet address", in_words(ethernet_of, "an Ethernet address such as 02:00:00:00:00:01"))
PORT = Key(int, "a port", between(0, 65535))
TEXT = Key(str, "text")

TOP = {
    "gateway": ETHERNET,
    "source4": Key(str, "an IPv4 address", _version(4)),
    "source6": Key(str, "an IPv6 address", _version(6)),
    "spread4": Key(str, "16 bits", in_words(_spread4, 'the first two numbers of an address, such as "172.16"')),
    "spread6": Key(str, "64 bits", _version(6)),
    "gue_port": Key(int, "a port", between(1, 65535)),
    "max_frame": Key(int, "bytes", between(60, 9600)),
    "seed": Key(int, "a number", between(0, (1 << 32) - 1)),
    "seed6": Key(int, "a number", between(0, (1 << 32) - 1)),
    "ring_size": Key(int, "a number", _prime),
    "idle": Key(float, "seconds", between(0.001, 86400)),
    "flows": Key(int, "a number", between(8, 1 << 26)),
    "horizon": Key(list, "a list of addresses", _each(_version(4, 6))),
    "ring": word("maglev", "katran"),
    "server_ids": Key(dict, "the section [server_ids]"),
    "driver": Key(dict, "the section [driver]", needed=True),
    "service": Key(list, "tables: [[service]]", needed=True),
}
SERVICE = {
    "address": ADDRESS,
    "port": PORT._replace(needed=True),
    "protocol": word(*PROTOCOLS, needed=True),
    "mode": word(*flags.NAMES, needed=True),
    "flags": Key(list, "a list of words", _each(one_of(FLAGS))),
    "backend": Key(list, "tables: [[service.backend]]", needed=True),
}
BACKEND = {
    "address": ADDRESS,
    "port": PORT,
    "ethernet": ETHERNET,
    "weight": Key(float, "a number", between(0.001, 1000)),
    "state": word(*STATES),
}
INTERFACE = Key(str, "an interface's name", needed=True)
ATTACHED = word("native", "generic")
DRIVERS = {
    "xdp": {"interface": INTERFACE, "mode": ATTACHED},
    "af_xdp": {
        "interface": INTERFACE,
        "mode": ATTACHED,
        "queue": Key(int, "a number", between(0, 63)),
        "busy_poll": Key(int, "microseconds", between(0, 1000)),
    },
    "af_packet": {"interface": INTERFACE},
    "pcap": {"input": Key(str, "a file's name", needed=True), "output": TEXT},
}
KIND = word(*DRIVERS, needed=True)


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


NAMES = {str: "text in quotes", int: "a whole number", float: "a number", list: "a list", dict: "a table"}


def version_of(words: tuple[int, int]) -> int:
    """4 or 6, of an address as the tables hold it."""
    return 4 if words[0] == 0 and words[1] >> 32 == MAPPED >> 32 else 6


def suggestion(word: str, there: Iterable[str]) -> str:
    """'; did you mean ...?', or nothing."""
    near = difflib.get_close_matches(word, list(there), 1)
    return f"; did you mean {near[0]}?" if near else ""


def shown(value: Any) -> str:
    """A value in a complaint, not too long."""
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def written(place: Place) -> str:
    """service[1].backend[2].port: numbers count from 1, as people do."""
    text = "".join(f"[{part + 1}]" if isinstance(part, int) else f".{part}" for part in place)
    return text.removeprefix(".")


HEADER = re.compile(r"\s*(\[\[?)\s*([^\[\]]+?)\s*\]")
ASSIGNMENT = re.compile(r"""\s*((?:[\w-]+|"[^"]*"|'[^']*')(?:\s*\.\s*(?:[\w-]+|"[^"]*"|'[^']*'))*)\s*=""")


def lines_of(text: str) -> dict[Place, int]:
    """Where sections and keys stand: place -> line, from 1."""
    found: dict[Place, int] = {}
    counts: dict[Place, int] = {}
    section: Place = ()
    for number, line in enumerate(text.split("\n"), 1):
        if match := HEADER.match(line):
            section = ()
            *above, last = _parts(match[2])
            for part in above:
                section = (*section, part)
                section = (*section, counts[section] - 1) if section in counts else section
            section = (*section, last)
            found.setdefault(section, number)
            if match[1] == "[[":
                counts[section] = counts.get(section, 0) + 1
                section = (*section, counts[section] - 1)
                found.setdefault(section, number)
        elif match := ASSIGNMENT.match(line):
            found.setdefault((*section, *_parts(match[1])), number)
    return found


def _parts(dotted: str) -> list[str]:
    return [part.strip().strip("\"'") for part in dotted.split(".")]


def same_but_states(a: File, b: File) -> bool:
    """Do two files differ in nothing but their backends' states?"""
    return a.driver == b.driver and all(
        getattr(a.config, field.name) == getattr(b.config, field.name) for field in fields(Config)
    )
