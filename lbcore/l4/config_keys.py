"""What may stand in a configuration file: for each section its keys, and for each key what its value has to be.

Rule of this file: tables, and the small checks that they are made of. A check raises BadConfig with what would have
been right; whoever goes through a file (`config_file`) adds the line, the key and the value.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from lbcore.l4 import flags
from lbcore.l4.config import PROTOCOLS, BadConfig, ethernet_of, words_of
from lbcore.l4.flow import MAPPED
from lbcore.l4.tables import ACTIVE, DRAINING, GONE

STATES = {"active": ACTIVE, "draining": DRAINING, "gone": GONE}
FLAGS = {
    "by_destination_port": flags.BY_DESTINATION_PORT,
    "ignore_source_port": flags.IGNORE_SOURCE_PORT,
    "quic": flags.QUIC,
}

LARGEST_ID = (1 << 32) - 1

NAMES = {
    str: "text in quotes",
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    list: "a list",
    dict: "a table",
}


def version_of(words: tuple[int, int]) -> int:
    """4 or 6, of an address as the tables hold it."""
    return 4 if words[0] == 0 and words[1] >> 32 == MAPPED >> 32 else 6


def suggestion(word: str, there: Iterable[str]) -> str:
    """'; did you mean ...?', or nothing."""
    near = difflib.get_close_matches(word, list(there), 1)
    return f"; did you mean {near[0]}?" if near else ""


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
            raise BadConfig(f"{least} to {most}")

    return check


def in_words(check: Callable[[str], object], wanted: str) -> Callable[[str], None]:
    """A check by a function that raises ValueError."""

    def checked(value: str) -> None:
        try:
            check(value)
        except ValueError:
            raise BadConfig(wanted) from None

    return checked


def each(check: Callable[[Any], object]) -> Callable[[Iterable[Any]], None]:
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
    "ethernet": ETHERNET,
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
    "horizon": Key(list, "a list of addresses", each(_version(4, 6))),
    "ring": word("maglev", "katran"),
    "server_ids": Key(dict, "the section [server_ids]"),
    "driver": Key(dict, "the section [driver]", needed=True),
    "service": Key(list, "tables: [[service]]", needed=True),
    "relay": Key(dict, "the section [relay]"),  # and nothing else: see `relay.file`
}
SERVICE = {
    "address": ADDRESS,
    "port": PORT._replace(needed=True),
    "protocol": word(*PROTOCOLS, needed=True),
    "mode": word(*flags.NAMES, needed=True),
    "flags": Key(list, "a list of words", each(one_of(FLAGS))),
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
