"""Who is not let in: the same in the machine and in the kernel, against a model of prefixes and buckets."""

from __future__ import annotations

import ipaddress
from random import Random

import pytest

from lbcore.l4 import reasons
from lbcore.l4.config import BadConfig
from lbcore.l4.guard import Guard
from lbcore.l4.xdp import InKernel, InMachine
from lbcore.testbed import capabilities
from lbcore.wire import tcp
from lbcore.wire.compose import tcp_frame
from tests import needs
from tests.l4.corpus import CONFIGS, VIP4, VIP6, frames

CONFIG = CONFIGS["dsr"]
BLOCKED = ("198.18.0.0/15", "2001:db8:bad::/48", "192.0.2.7/32")
ALLOWED = ("198.18.5.0/24", "2001:db8:bad:1::/64")


def frame(source, flags=tcp.SYN):
    six = ":" in source
    at, to = (f"[{source}]", f"[{VIP6}]") if six else (source, VIP4)
    ours = "02:00:00:00:00:aa"  # where a configuration of the corpus says whose frames are taken
    return tcp_frame(source=f"{at}:40000", destination=f"{to}:80", flags=flags, destination_mac=ours)


def refuses(source):
    """The longest prefix that fits decides, said with Python's own addresses."""
    address = ipaddress.ip_address(source)
    rules = [(ipaddress.ip_network(p), p in BLOCKED) for p in BLOCKED + ALLOWED]
    fitting = [(net.prefixlen, blocked) for net, blocked in rules if net.version == address.version and address in net]
    return bool(fitting) and max(fitting)[1]


class Machine(InMachine):
    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass


def targets(guard):
    """A balancer in the machine, and where there is a kernel for it, in the kernel."""
    yield Machine(CONFIG, guard=guard)
    if capabilities.machine().tier >= 2:
        yield InKernel(CONFIG, guard=guard)


def test_the_longest_prefix_decides():
    random = Random(1)
    sources = [str(ipaddress.ip_address(random.choice((0xC6120000, 0xC6130000, 0xC6140000, 0xC6120500))
                                        + random.randrange(256))) for _ in range(100)]  # fmt: skip
    sources += [f"2001:db8:bad:{random.randrange(3):x}::{random.randrange(9):x}" for _ in range(100)]
    sources += ["192.0.2.6", "192.0.2.7", "192.0.2.8", "2001:db8:bac::1", "::ffff:1", "2001:db8:bad::"]
    wanted = [reasons.DROP if refuses(source) else reasons.TX for source in sources]
    assert {reasons.DROP, reasons.TX} == set(wanted)
    for target in targets(Guard(BLOCKED, ALLOWED)):
        with target as lb:
            for flags in (tcp.SYN, tcp.ACK):
                assert [lb.run(frame(source, flags))[0] for source in sources] == wanted
            assert lb.reasons()["limited"] == 2 * wanted.count(reasons.DROP)


def test_a_guard_that_lets_all_in_changes_nothing():
    """Damaged frames, errors, strangers: verdict and bytes are the unguarded balancer's."""
    plain = InMachine(CONFIG, clock=lambda: 1)
    guarded = InMachine(CONFIG, guard=Guard(), clock=lambda: 1)
    for packet in frames(1500)[:500]:
        assert guarded.run(packet) == plain.run(packet), packet.hex()


def test_a_source_opens_as_many_connections_as_it_may():
    """Ten at once, then one every hundredth of a second; what is no SYN is free; others have buckets of their own."""
    now = 10**12
    lb = InMachine(CONFIG, guard=Guard(rate=100, burst=10), clock=lambda: now)
    tries = lambda source, n=25: [lb.run(frame(source))[0] for _ in range(n)].count(reasons.TX)  # noqa: E731
    assert tries("192.0.2.1") == 10
    assert [lb.run(frame("192.0.2.1", tcp.ACK))[0] for _ in range(50)] == 50 * [reasons.TX]
    assert tries("192.0.2.2") == 10
    now += 10**7
    assert tries("192.0.2.1") == 1
    now += 35 * 10**6
    assert tries("192.0.2.1") == 3
    now += 10**12
    assert tries("192.0.2.1") == 10, "a bucket holds no more than its burst"
    assert lb.reasons()["limited"] == 15 + 15 + 24 + 22 + 15


def test_a_site_of_ipv6_is_one_source():
    lb = InMachine(CONFIG, guard=Guard(rate=100, burst=10), clock=lambda: 10**12)
    verdicts = [lb.run(frame(f"2001:db8:1:1::{i:x}"))[0] for i in range(1, 30)]
    assert verdicts.count(reasons.TX) == 10
    assert lb.run(frame("2001:db8:1:2::1"))[0] == reasons.TX


@pytest.mark.parametrize(
    ("guard", "words"),
    [
        (Guard(blocked=("198.18.0.1/15",)), "198.18.0.1/15"),
        (Guard(allowed=("nonsense",)), "nonsense"),
        (Guard(rate=-1), "rate -1"),
        (Guard(burst=0), "burst 0"),
    ],
)
def test_a_guard_that_cannot_be(guard, words):
    with pytest.raises(BadConfig, match=words):
        InMachine(CONFIG, guard=guard)


@pytest.mark.parametrize("mode", ["ipip", "nat"])
@needs.tier(2)
def test_the_kernel_takes_a_guard_before_every_mode(mode):
    with InKernel(CONFIGS[mode], guard=Guard(blocked=("198.18.0.0/15",))) as lb:
        assert lb.run(frame("198.18.0.1"))[0] == reasons.DROP
        assert lb.run(frame("192.0.2.1"))[0] == reasons.TX
