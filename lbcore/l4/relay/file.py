"""A relay's configuration as a section of a TOML file, checked: every complaint names the line, the key and the value.

    [relay]
    expose = true

    [relay.timeouts]
    idle = 60

    [[relay.listener]]
    address = "0.0.0.0:443"
    pool = "web"

      [[relay.listener.route]]
      names = ["api.example"]
      pool = "api"

    [[relay.pool]]
    name = "web"

      [[relay.pool.target]]
      address = "10.0.0.11:8443"
      state = "draining"

Rule of this file: what TOML has read in, `RelayFile` out, or complaints. Every key is a field of `options`, where it
is explained; one that is left out has the value that stands there. examples/relay.toml has them all.

Theory. A table says what each key may be by itself. What several keys together can be wrong about, `Options.check`
knows; it speaks of fields, and `_place` turns its words into a place in the file.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from lbcore.l4.config_keys import TOP, Key, between, each, in_words, one_of, word
from lbcore.l4.config_reader import Sections, shown, written
from lbcore.l4.relay.backends import ACTIVE, DRAINING, PICKERS
from lbcore.l4.relay.introduce import EXTRAS
from lbcore.l4.relay.options import (
    HASHED,
    PROTOCOLS,
    BadOptions,
    Limits,
    Listener,
    Options,
    Pool,
    Route,
    Target,
    Timeouts,
    endpoint,
    network,
)
from lbcore.l4.relay.options import written as address_of
from lbcore.l4.toml_lines import Place

SWITCH = Key(bool, "a switch")
NAME = Key(str, "a pool's name", needed=True)
ADDRESS = Key(str, "an address and a port", in_words(endpoint, 'such as "10.0.0.1:80" or "[2001:db8::1]:80"'), True)
NETWORK = in_words(network, 'networks such as "10.0.0.0/8", the bits after the prefix zero')
COUNT, ANY_COUNT = Key(int, "a number", between(1, 1_000_000)), Key(int, "a number", between(0, 1_000_000))
WAIT, ANY_WAIT = Key(float, "seconds", between(0.001, 1_000_000)), Key(float, "seconds", between(0, 1_000_000))
WORDS = Key(list, "a list of words", each(lambda word: None))

RELAY = {
    "expose": SWITCH,
    "seed": Key(int, "a number", between(0, (1 << 63) - 1)),  # as far as TOML's whole numbers go
    "limits": Key(dict, "the section [relay.limits]"),
    "timeouts": Key(dict, "the section [relay.timeouts]"),
    "listener": Key(list, "tables: [[relay.listener]]", needed=True),
    "pool": Key(list, "tables: [[relay.pool]]", needed=True),
}
LIMITS = {
    "connections": ANY_COUNT,
    "per_source": ANY_COUNT,
    "flows": COUNT,
    "attempts": COUNT,
    "backlog": COUNT,
}
TIMEOUTS = {"opening": WAIT, "connect": WAIT, "idle": WAIT, "udp_idle": WAIT, "rest": ANY_WAIT, "drain": ANY_WAIT}
LISTENER = {
    "address": ADDRESS,
    "pool": NAME._replace(needed=False),
    "protocol": word(*PROTOCOLS),
    "accept_proxy": Key(list, "a list of networks", each(NETWORK)),
    "transparent": SWITCH,
    "route": Key(list, "tables: [[relay.listener.route]]"),
}
ROUTE = {"pool": NAME, "names": WORDS, "alpn": WORDS, "ech": SWITCH}
POOL = {
    "name": NAME,
    "picker": word(*PICKERS),
    "hash_on": word(*HASHED),
    "send_proxy": Key(int, "a version", between(0, 2)),
    "proxy_extras": Key(list, "a list of words", each(one_of(EXTRAS))),
    "preserve_source": SWITCH,
    "target": Key(list, "tables: [[relay.pool.target]]", needed=True),
}
TARGET = {"address": ADDRESS, "weight": Key(float, "a number", between(0.001, 1000)), "state": word(ACTIVE, DRAINING)}
PLACES = {"listeners": "listener", "routes": "route", "pools": "pool", "targets": "target"}
"""Fields that are arrays of tables here."""


@dataclass(frozen=True)
class RelayFile:
    """What a file says. states: of targets, by address."""

    options: Options
    states: Mapping[str, str]


class Reader(Sections):
    """Of a relay."""

    def file(self, told: Mapping[str, Any]) -> RelayFile | None:
        """All of it, or None and complaints."""
        for name in told.keys() & TOP.keys() - {"relay"}:
            why = "not beside [relay]: a file is for packets (driver, service) or for connections (relay)"
            self.complain((name,), f"{name}: {why}")
        there = {name: value for name, value in told.items() if name == "relay" or name not in TOP}
        top = self.section((), there, {"relay": TOP["relay"]}).get("relay")
        if top is None:
            return None
        one = self.section(("relay",), top, RELAY)
        states: dict[str, str] = {}
        pools = [
            self.pool(at, pool, states) for at, pool in self.sections(("relay", "pool"), one.pop("pool", None), POOL)
        ]
        found = self.sections(("relay", "listener"), one.pop("listener", None), LISTENER)
        listeners = [self.listener(at, listener) for at, listener in found]
        limits = self.section(("relay", "limits"), one.pop("limits", {}), LIMITS)
        timeouts = self.section(("relay", "timeouts"), one.pop("timeouts", {}), TIMEOUTS)
        if self.complaints:
            return None
        options = Options(listeners, pools, Limits(**limits), Timeouts(**timeouts), **one)
        try:
            options.check()
        except BadOptions as error:
            place = _place(error.key, options)
            self.complain(place, f"{written(place)} is {shown(error.value)}, wanted {error.wanted}")
        return RelayFile(options, states)

    def pool(self, place: Place, told: dict[str, Any], states: dict[str, str]) -> Pool:
        """One with what is right about it; what is missing has been complained of."""
        targets = []
        for at, target in self.sections((*place, "target"), told.pop("target", None), TARGET):
            state = target.pop("state", ACTIVE)
            if "address" in target:
                self.state((*at, "state"), state, address_of(*endpoint(target["address"])), states)
                targets.append(Target(**target))
        return Pool(**{"name": "", "targets": targets} | told)

    def listener(self, place: Place, told: dict[str, Any]) -> Listener:
        """The same."""
        routes = self.sections((*place, "route"), told.pop("route", None), ROUTE)
        return Listener(**told, routes=[Route(**{"pool": ""} | route) for _, route in routes])

    def state(self, place: Place, state: str, address: str, states: dict[str, str]) -> None:
        """A target has one state, in however many pools it stands."""
        if states.setdefault(address, state) != state:
            self.complain(place, f"{written(place)} is {state!r}, and {states[address]!r} further up")


def _place(key: str, options: Options) -> Place:
    """ "pools.web.targets[0].address" -> ("relay", "pool", 1, "target", 0, "address"), if "web" is the second."""
    by_length = sorted(enumerate(options.pools), key=lambda found: -len(found[1].name))
    for number, pool in by_length:  # a name may have dots: the longest that fits
        if key.startswith(f"pools.{pool.name}."):
            key = key.replace(f"pools.{pool.name}.", f"pools[{number}].", 1)
            break
    words = re.findall(r"\w+", key)
    return ("relay", *(int(word) if word.isdecimal() else PLACES.get(word, word) for word in words))
