"""A relay's configuration file: the example is what it says; what is wrong is told by line, key, value and remedy."""

from __future__ import annotations

import re
import tomllib
from dataclasses import fields
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lbcore.l4 import config_file
from lbcore.l4.config import BadConfig
from lbcore.l4.config_file import File, parse
from lbcore.l4.relay import Limits, Listener, Options, Pool, Route, Target, Timeouts, file
from lbcore.l4.relay.file import RelayFile

EXAMPLES = Path(__file__).parents[3] / "lbcore/l4/examples"
EXAMPLE = (EXAMPLES / "relay.toml").read_text()
RIGHT = """\
[relay]
seed = 5

[[relay.listener]]                  # line 4
address = "127.0.0.1:8443"
pool = "web"
accept_proxy = ["10.0.0.0/8"]

  [[relay.listener.route]]          # line 9
  names = ["api.example"]
  pool = "api.v2"

[[relay.listener]]                  # line 13
address = "127.0.0.1:53"
protocol = "udp"
pool = "api.v2"

[[relay.pool]]                      # line 18
name = "web"
send_proxy = 2
proxy_extras = ["crc32c"]

  [[relay.pool.target]]             # line 23
  address = "10.0.0.11:80"
  weight = 2

  [[relay.pool.target]]             # line 27
  address = "[2001:db8::1]:80"
  state = "draining"

[[relay.pool]]                      # line 31
name = "api.v2"
target = [{ address = "10.0.0.12:80" }, { address = "[2001:db8:0::1]:80", state = "draining" }]

[relay.timeouts]                    # line 35
idle = 60

[relay.limits]                      # line 38
attempts = 2
"""


def read(text: str) -> RelayFile:
    made = parse(text.encode(), "r.toml")
    assert isinstance(made, RelayFile)
    return made


def complaints(text: str) -> list[str]:
    with pytest.raises(BadConfig) as caught:
        read(text)
    return str(caught.value).split("\n")


def test_all_of_it_is_understood() -> None:
    made = read(RIGHT)
    web = Pool("web", [Target("10.0.0.11:80", 2), Target("[2001:db8::1]:80")], send_proxy=2, proxy_extras=["crc32c"])
    api = Pool("api.v2", [Target("10.0.0.12:80"), Target("[2001:db8:0::1]:80")])
    listeners = [
        Listener("web", "127.0.0.1:8443", "tcp", [Route("api.v2", ["api.example"])], ["10.0.0.0/8"]),
        Listener("api.v2", "127.0.0.1:53", "udp", []),
    ]
    assert made.options == Options(listeners, [web, api], Limits(attempts=2), Timeouts(idle=60), seed=5)
    assert made.states == {"10.0.0.11:80": "active", "[2001:db8::1]:80": "draining", "10.0.0.12:80": "active"}


def test_the_examples_are_right_and_have_every_key() -> None:
    made = read(EXAMPLE)
    assert [listener.protocol for listener in made.options.listeners] == ["tcp", "udp"]
    assert made.states["127.0.0.1:9002"] == "draining"
    for text, options in (
        ("connections = 10000 ", {"connections": 10_000}),
        ("per_source = 100 ", {"per_source": 100}),
    ):
        assert text in EXAMPLE
        assert all(getattr(made.options.limits, name) == value for name, value in options.items())
    for keys in (file.RELAY, file.LIMITS, file.TIMEOUTS, file.LISTENER, file.ROUTE, file.POOL, file.TARGET):
        for key in keys:
            assert re.search(rf"^\s*(\w+ = .*)?({key} = |\[+relay\.(\w+\.)?{key}\])", EXAMPLE, re.M), key
    assert isinstance(config_file.read(EXAMPLES / "balancer.toml"), File)


def test_defaults_of_the_example_are_those_of_the_options() -> None:
    for section, kind in (("limits", Limits), ("timeouts", Timeouts)):
        told = tomllib.loads(EXAMPLE)["relay"][section]
        assert set(told) == {field.name for field in fields(kind)}
        for name, value in told.items():
            marked = re.search(rf"^{name} = .*\(default\)", EXAMPLE, re.M)
            default = getattr(kind(), name)
            said_otherwise = re.search(rf"^{name} = .*\b{default}: [^.]*\(default\)", EXAMPLE, re.M)
            assert said_otherwise or (marked and value == default), name


WRONG = {
    "a typo in the name": ("[relay]\n", "[rely]\n", 1, "rely: no such key; did you mean relay?"),
    "a typo in a listener": ("accept_proxy", "accept_prox", 7, "no such key; did you mean accept_proxy?"),
    "a typo in a route": ("names =", "name =", 10, "relay.listener[1].route[1].name: no such key; did you mean names?"),
    "a typo in a section": ("[relay.limits]", "[relay.limit]", 38, "relay.limit: no such key; did you mean limits?"),
    "a typo in a timeout": ("idle = 60", "idel = 60", 36, "relay.timeouts.idel: no such key; did you mean idle?"),
    "a key of the other kind": ("[relay]\n", 'gateway = ""\n[relay]\n', 1, "gateway: not beside [relay]: a file is"),
    "a service too": ("[relay]\n", "service = []\n[relay]\n", 1, "service: not beside [relay]"),
    "a strange key on top": ("[relay]\n", "x = 1\n[relay]\n", 1, "x: no such key; there are relay"),
    "a relay of one word": (RIGHT, 'relay = "web"', 1, "relay is 'web', wanted the section [relay] (a table)"),
    "an unknown pool": ('pool = "web"', 'pool = "wbe"', 6, "listener[1].pool is 'wbe', wanted one of web, api.v2; did"),
    "an unknown pool of a route": ('"api.v2"', '"api.v3"', 11, "route[1].pool is 'api.v3', wanted one of web, api.v2"),
    "no pool and no route": ('udp"\npool = "api.v2"', 'udp"', 13, "relay.listener[2].pool is '', wanted one of web"),
    "no port": ('"127.0.0.1:8443"', '"127.0.0.1"', 5, "relay.listener[1].address is '127.0.0.1', wanted such as"),
    "a name for an address": ("127.0.0.1:8443", "localhost:8443", 5, "address is 'localhost:8443', wanted such as"),
    "all the world": ("127.0.0.1:8443", "0.0.0.0:8443", 5, "'0.0.0.0:8443', wanted an address of loopback such as"),
    "no such protocol": ('"udp"', '"upd"', 15, "relay.listener[2].protocol is 'upd', wanted one of tcp, udp; did"),
    "routes of datagrams": ('accept_proxy = ["10', 'protocol = "udp"\naccept_proxy = ["10', 10, "wanted none with udp"),
    "a network that is none": ("10.0.0.0/8", "10.0.0.1/8", 7, "wanted networks such as"),
    "a name in capitals": ("api.example", "API.example", 10, "route[1].names is 'API.example', wanted lower case"),
    "a name twice": ('name = "api.v2"', 'name = "web"', 32, "relay.pool[2].name is 'web', wanted a name of its own"),
    "no such picker": ('name = "web"', 'name = "web"\npicker = "magleft"', 20, "did you mean maglev?"),
    "no such version": ("send_proxy = 2", "send_proxy = 3", 20, "relay.pool[1].send_proxy is 3, wanted 0 to 2"),
    "no such extra": ('["crc32c"]', '["crc32"]', 21, "did you mean crc32c?"),
    "extras of version 1": ("send_proxy = 2", "send_proxy = 1", 21, "proxy_extras is ['crc32c'], wanted with"),
    "version 1 of datagrams": ('name = "api.v2"', 'name = "api.v2"\nsend_proxy = 1', 33, "wanted 0 or 2 with udp"),
    "a target twice": ('[2001:db8::1]:80"\n  state = "draining', "10.0.0.11:80", 28, "is '10.0.0.11:80', wanted each"),
    "a target without port": ("10.0.0.11:80", "10.0.0.11:0", 24, "wanted with a port of 1 to 65535"),
    "no weight": ("weight = 2", "weight = 0", 25, "relay.pool[1].target[1].weight is 0, wanted 0.001 to 1000"),
    "a state of packets": ('"draining"\n', '"gone"\n', 29, "state is 'gone', wanted one of active, draining"),
    "two states": ('80", state = "draining" }', '80" }', 33, "target[2].state is 'active', and 'draining' further up"),
    "no patience": ("idle = 60", "idle = nan", 36, "relay.timeouts.idle is nan, wanted 0.001 to 1000000"),
    "no attempt": ("attempts = 2", "attempts = 0", 39, "relay.limits.attempts is 0, wanted 1 to 1000000"),
    "too great a seed": ("seed = 5", "seed = -1", 2, "relay.seed is -1, wanted 0 to 9223372036854775807"),
    "a number for a word": ('name = "web"', "name = 5", 19, "relay.pool[1].name is 5, wanted a pool's name (text"),
    "a word for a switch": ("seed = 5", 'expose = "yes"', 2, "relay.expose is 'yes', wanted a switch (true or false)"),
    "a number of 5000 digits": ("seed = 5", f"seed = {'9' * 5000}", 2, "a number of thousands of digits: TOML's"),
}  # fmt: skip


@pytest.mark.parametrize(("old", "new", "line", "words"), WRONG.values(), ids=list(WRONG))
def test_what_is_wrong_is_said(old: str, new: str, line: int, words: str) -> None:
    assert old in RIGHT
    told = complaints(RIGHT.replace(old, new, 1))
    assert any(one.startswith(f"r.toml:{line}: ") and words in one for one in told), told


def test_all_complaints_at_once_by_line() -> None:
    text = RIGHT.replace("seed", "sed").replace("weight", "wait").replace("attempts = 2", "attempts = false")
    assert [int(one.split(":")[1]) for one in complaints(text)] == [2, 25, 39]


def test_what_is_missing_is_said() -> None:
    assert complaints("[relay]\n") == [
        "r.toml:1: relay.listener: missing, wanted tables: [[relay.listener]]",
        "r.toml:1: relay.pool: missing, wanted tables: [[relay.pool]]",
    ]
    told = complaints(RIGHT.replace('address = "127.0.0.1:8443"\n', "").replace('name = "web"\n', ""))
    assert told == [
        "r.toml:4: relay.listener[1].address: missing, wanted an address and a port",
        "r.toml:17: relay.pool[1].name: missing, wanted a pool's name",
    ]


TOKENS = re.findall(r'"[^"\n]*"|[\w.-]+|\s+|.', EXAMPLE)
STRANGE = [
    "",
    "[",
    "]",
    "[[",
    '"',
    "=",
    "\n",
    "9",
    "-1",
    "nan",
    "inf",
    "true",
    "{}",
    "[]",
    '""',
    "1e999",
    "\0",
    "é",
    ",",
]
BITS = st.sampled_from([*STRANGE, *sorted({token for token in TOKENS if token.strip()})])


@settings(max_examples=400, deadline=None)
@given(st.lists(st.tuples(st.integers(0, len(TOKENS) - 1), st.integers(0, 3), BITS), min_size=1, max_size=4))
def test_a_damaged_file_loads_or_is_complained_of(changes: list[tuple[int, int, str]]) -> None:
    """Words of the example taken out, doubled, exchanged: options that can be, or complaints of lines that exist."""
    tokens = list(TOKENS)
    for at, width, word in changes:
        tokens[at : at + width] = [word]
    text = "".join(tokens)
    try:
        made = parse(text.encode(), "r.toml")
    except BadConfig as error:
        for one in str(error).split("\n"):
            found = re.match(r"r\.toml:(\d+): .", one)
            assert found, one
            assert 1 <= int(found[1]) <= text.count("\n") + 1
    else:
        assert isinstance(made, RelayFile)
        made.options.check()
        assert set(made.states.values()) <= {"active", "draining"}


SECTIONS = (file.RELAY, file.LIMITS, file.TIMEOUTS, file.LISTENER, file.ROUTE, file.POOL, file.TARGET)
VALUES = st.recursive(
    st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.sampled_from(["tcp", "10.0.0.1:1", "web"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(sorted({key for keys in SECTIONS for key in keys})), inner, max_size=4)
    ),
    max_leaves=12,
)


@settings(max_examples=300, deadline=None)
@given(st.dictionaries(st.sampled_from(sorted(file.RELAY)), VALUES, max_size=6) | VALUES)
def test_whatever_toml_says_there_is_an_answer(told: object) -> None:
    """Options, or complaints; never another exception."""
    reader = file.Reader("r.toml", {})
    assert reader.file({"relay": told}) is not None or reader.complaints
