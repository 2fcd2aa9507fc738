"""Configuration files: right ones are what they say; of wrong ones each complaint names line, key, value and remedy."""

from __future__ import annotations

import tomllib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lbcore.l4 import config_file, config_keys, flags
from lbcore.l4.config import Backend, BadConfig
from lbcore.l4.config_file import File, Port, parse, same_but_states
from lbcore.l4.tables import ACTIVE, DRAINING, GONE
from lbcore.l4.toml_lines import lines_of

RIGHT = """\
gateway = "02:00:00:00:00:fe"       # line 1
source4 = "10.0.0.2"
source6 = "fd00::2"
ring_size = 4099
horizon = ["10.0.0.11"]

[driver]                            # line 7
kind = "af_xdp"
interface = "eth0"
queue = 1

[server_ids]                        # line 12
7 = "10.0.0.11"

[[service]]                         # line 15
address = "203.0.113.1"
port = 443
protocol = "udp"
mode = "ipip"
flags = ["quic", "ignore_source_port"]

  [[service.backend]]               # line 22
  address = "10.0.0.11"
  weight = 2

  [[service.backend]]               # line 26
  address = "fd00::12"
  ethernet = "02:00:00:00:00:12"
  state = "draining"

[[service]]                         # line 31
address = "2001:db8::1"
port = 0
protocol = "tcp"
mode = "nat"
backend = [
  { address = "fd00::12", state = "draining" },
  { address = "fd00::13", port = 8080, state = "gone" },
]
"""


def read(text: str) -> File:
    return parse(text.encode(), "lb.toml")


def complaints(text: str) -> list[str]:
    with pytest.raises(BadConfig) as caught:
        read(text)
    return str(caught.value).split("\n")


def test_all_of_it_is_understood() -> None:
    file = read(RIGHT)
    first, second = file.config.services
    assert file.driver == Port("af_xdp", "eth0", queue=1)
    assert (file.config.gateway, file.config.ring_size, list(file.config.horizon)) == (
        "02:00:00:00:00:fe", 4099, ["10.0.0.11"],
    )  # fmt: skip
    assert file.config.server_ids == {7: "10.0.0.11"}
    assert (first.address, first.port, first.protocol, first.mode) == ("203.0.113.1", 443, "udp", "ipip")
    assert first.flags == flags.QUIC | flags.IGNORE_SOURCE_PORT
    assert list(first.backends) == [
        Backend("10.0.0.11", weight=2), Backend("fd00::12", ethernet="02:00:00:00:00:12"),
    ]  # fmt: skip
    assert list(second.backends) == [Backend("fd00::12"), Backend("fd00::13", 8080)]
    assert file.states == {"10.0.0.11": ACTIVE, "fd00::12": DRAINING, "fd00::13": GONE}


WRONG = {
    "a typo at the top": ('gateway = "02', 'gatway = "02', 1, "gatway: no such key; did you mean gateway?"),
    "a typo in a driver": (
        "interface = ",
        "interfaces = ",
        9,
        "driver.interfaces: no such key; did you mean interface?",
    ),
    "a typo in a service": ("protocol = ", "protocoll = ", 18, "did you mean protocol?"),
    "a typo in a backend": (
        "weight = 2",
        "wait = 2",
        24,
        "service[1].backend[1].wait: no such key; did you mean weight?",
    ),
    "a key of another section": ("weight = 2", "mode = 2", 24, "backend[1].mode: no such key"),
    "a key of another driver": ("queue = 1", 'output = "x"', 10, "driver.output: no such key"),
    "a mode with a typo": ('"ipip"', '"ippi"', 19, "service[1].mode is 'ippi', wanted one of nat, full_nat"),
    "a driver with a typo": ('"af_xdp"', '"af_xpd"', 8, "driver.kind is 'af_xpd', wanted one of xdp, af_xdp"),
    "a flag with a typo": ('"quic",', '"quick",', 20, "did you mean quic?"),
    "a flag that is none": ('"quic",', "5,", 20, "flags is [5, 'ignore_source_port'], wanted words, and 5 is none"),
    "a state with a typo": ('"draining"\n', '"drained"\n', 29, "state is 'drained', wanted one of active, draining"),
    "a port too high": ("port = 443", "port = 65536", 17, "service[1].port is 65536, wanted 0 to 65535"),
    "a port below": ("port = 443", "port = -1", 17, "service[1].port is -1, wanted 0 to 65535"),
    "a port in quotes": ("port = 443", 'port = "443"', 17, "service[1].port is '443', wanted a port (a whole number)"),
    "a port that is true": ("port = 443", "port = true", 17, "service[1].port is True, wanted a port (a whole number)"),
    "a fraction of a port": ("port = 443", "port = 44.3", 17, "wanted a port (a whole number)"),
    "no port": ("port = 443\n", "", 15, "service[1].port: missing, wanted a port"),
    "no mode": ('mode = "ipip"\n', "", 15, "service[1].mode: missing, wanted one of nat,"),
    "no address": ('address = "203.0.113.1"\n', "", 15, "service[1].address: missing"),
    "no driver": (
        '[driver]                            # line 7\nkind = "af_xdp"\ninterface = "eth0"\nqueue = 1\n',
        "",
        1,
        "driver: missing",
    ),
    "no interface": ('interface = "eth0"\n', "", 7, "driver.interface: missing, wanted an interface's name"),
    "no address at all": (
        '"203.0.113.1"',
        '"203.0.113"',
        16,
        "service[1].address is '203.0.113', wanted an IPv4 or IPv6",
    ),
    "an address that is a number": (
        '"203.0.113.1"',
        "203",
        16,
        "service[1].address is 203, wanted an address (text in",
    ),
    "no Ethernet address": (':fe"', ':f"', 1, "gateway is '02:00:00:00:00:f', wanted an Ethernet address such as"),
    "the other family": (
        'source4 = "10.0.0.2"',
        'source4 = "fd00::2"',
        2,
        "source4 is 'fd00::2', wanted an IPv4 address",
    ),
    "a ring of no prime": ("4099", "4096", 4, "ring_size is 4096, wanted a prime number"),
    "a ring of less": ("4099", "-3", 4, "ring_size is -3, wanted a prime number"),
    "no weight": ("weight = 2", "weight = 0", 24, "weight is 0, wanted 0.001 to 1000"),
    "a weight of nan": ("weight = 2", "weight = nan", 24, "weight is nan, wanted 0.001 to 1000"),
    "a server id of none": ('7 = "10.0.0.11"', '0 = "10.0.0.11"', 13, "server_ids.0 = '10.0.0.11', wanted server ids"),
    "a server id of nobody": (
        '7 = "10.0.0.11"',
        '7 = "10.0.0.99"',
        13,
        "server_ids.7 is '10.0.0.99', which is no backend",
    ),
    "a horizon of nobody": ('["10.0.0.11"]', '["10.0.0.99"]', 5, "horizon names '10.0.0.99', which is no backend"),
    "a service twice": (
        '"203.0.113.1"\nport = 443\nprotocol = "udp"',
        '"2001:db8:0::1"\nport = 0\nprotocol = "tcp"',
        31,
        "service[2]: the address, port and protocol of service[1] again",
    ),
    "a backend twice": (
        '"fd00::13", port = 8080, state = "gone"',
        '"fd00::12", state = "draining"',
        36,
        "service[2].backend[2]: fd00::12 is in this service already",
    ),
    "two states": ('"fd00::12", state = "draining"', '"fd00::12"', 36, "is 'active', and 'draining' further up"),
    "families mixed": (
        '"fd00::13", port',
        '"10.0.0.13", port',
        36,
        "nat cannot turn 2001:db8::1 into 10.0.0.13: one is",
    ),
    "no way to a backend": (
        'gateway = "02:00:00:00:00:fe" ',
        "",
        22,
        "service[1].backend[1].ethernet: missing, and there is",
    ),
    "no source": ('source4 = "10.0.0.2"\n', "", 14, "source4: missing: ipip sends to 10.0.0.11 from it"),
    "a table that is a word": (
        "[driver]  ",
        'driver = "eth0"\n[other]',
        7,
        "driver is 'eth0', wanted the section [driver] (a table)",
    ),
    "no such section": ("[server_ids] ", "[servers_id] ", 12, "servers_id: no such key; did you mean server_ids?"),
    "no TOML": ("port = 443", "port = ", 17, "Invalid value (at line 17, column 8)"),
}


@pytest.mark.parametrize(("old", "new", "line", "words"), WRONG.values(), ids=list(WRONG))
def test_what_is_wrong_is_said(old: str, new: str, line: int, words: str) -> None:
    assert old in RIGHT
    told = complaints(RIGHT.replace(old, new, 1))
    assert any(one.startswith(f"lb.toml:{line}: ") and words in one for one in told), told


def test_all_complaints_at_once_by_line() -> None:
    text = RIGHT.replace("4099", "4").replace("443", "-1").replace('"ipip"', '"ip"').replace("weight", "wait")
    assert [int(one.split(":")[1]) for one in complaints(text)] == [4, 17, 19, 24]


def test_empty_lists_and_files() -> None:
    driver = '[driver]\nkind = "xdp"\ninterface = "eth0"\n'
    assert complaints("") == [
        "lb.toml:1: driver: missing, wanted the section [driver]",
        "lb.toml:1: service: missing, wanted tables: [[service]]",
    ]
    assert complaints("service = []\n" + driver) == ["lb.toml:1: service: empty, wanted at least one"]
    assert complaints("service = [5]\n" + driver) == ["lb.toml:1: service[1] is 5, wanted a table"]


def test_bytes_that_are_no_text() -> None:
    with pytest.raises(BadConfig, match=r"lb\.toml:2: byte 0xff: TOML is text in UTF-8"):
        parse(b'gateway = ""\n\xff', "lb.toml")
    with pytest.raises(BadConfig, match=r"lb\.toml:1: "):
        parse(b"a = " + b"[" * 100_000, "lb.toml")


def test_an_end_too_early() -> None:
    assert complaints(RIGHT[: RIGHT.rindex("]")]) == ["lb.toml:39: Invalid value (at end of document)"]


def test_states_may_change_and_nothing_else() -> None:
    file = read(RIGHT)
    assert same_but_states(file, read(RIGHT.replace('"draining"', '"active"')))
    assert not same_but_states(file, read(RIGHT.replace("weight = 2", "weight = 3")))
    assert not same_but_states(file, read(RIGHT.replace("queue = 1", "queue = 2")))


def test_lines_of_every_place() -> None:
    lines = lines_of(RIGHT)
    assert lines[("driver",)] == 7
    assert lines[("driver", "queue")] == 10
    assert lines[("service", 0, "backend", 1, "state")] == 29
    assert lines[("service", 1, "mode")] == 35
    assert lines[("service", 1, "backend")] == 36


VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=5)
    | st.sampled_from(["tcp", "10.0.0.1"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from([*config_keys.TOP, *config_keys.SERVICE, "x"]), inner, max_size=4)
    ),
    max_leaves=12,
)


@settings(max_examples=300, deadline=None)
@given(st.dictionaries(st.sampled_from([*config_keys.TOP, "y"]), VALUES, max_size=6))
def test_whatever_toml_says_there_is_an_answer(told: dict[str, object]) -> None:
    """A `File`, or complaints; never another exception."""
    reader = config_file.Reader("lb.toml", {})
    assert reader.file(told) is not None or reader.complaints


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_damaged_files_are_complained_of(data: st.DataObject) -> None:
    damaged = bytearray(RIGHT.encode())
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(damaged) - 1))
        damaged[at : at + data.draw(st.integers(0, 9))] = data.draw(
            st.sampled_from([b"", b"[", b'"', b"=", b"9", b"\n"])
        )
    try:
        parse(bytes(damaged), "lb.toml")
    except BadConfig as error:
        count = bytes(damaged).count(b"\n") + 1
        for one in str(error).split("\n"):
            assert one.startswith("lb.toml:")
            assert 1 <= int(one.split(":")[1]) <= count
    else:
        tomllib.loads(damaged.decode())
