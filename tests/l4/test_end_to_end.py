"""Packets that really arrive: a TCP client, web servers, and a balancer of each kind and mode between them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from ipaddress import ip_address
from typing import Any

import pytest

from lbcore.balance.hashes.jhash import jhash_2words, jhash_4words
from lbcore.ebpf import kernel
from lbcore.l4.config import Balancer, Config
from lbcore.l4.tables import ACTIVE, DRAINING, GONE, TRACK
from lbcore.testbed.capture import Capture
from tests import needs
from tests.l4.ecmp import ecmp
from tests.l4.lan import (
    DIRECT,
    OWN,
    PLANES,
    PORT,
    SERVERS,
    SHARED,
    THROUGH,
    TRANSLATING,
    VIP,
    Lan,
    ask,
    close,
    connect,
    fetch,
    lan,
    mac,
    until,
)

pytestmark = needs.tier(2)

REQUESTS = 100
MODES = ("nat", "full_nat", "dsr", "ipip", "gre", "gue")
CASES = [*((mode, version, version) for mode in MODES for version in (4, 6)), ("ipip", 4, 6), ("gre", 6, 4), ("gue", 4, 6)]
"""Mode, IP version of the client and the virtual address, IP version of the backends."""

each_plane = pytest.mark.parametrize("plane", PLANES)


@pytest.fixture(scope="module")
def net() -> Iterator[Lan]:
    with lan() as made:
        yield made


def client_of(mode: str, version: int = 4) -> str:
    """The client's address whose answers come back as the mode wants it."""
    return THROUGH[version] if mode == "nat" else DIRECT[version]


def backend_of(balancer: Balancer, client: str, port: int) -> str:
    """The name of the server that a flow belongs to: Katran's hash of it, and the ring's slot."""
    config, address = balancer.config, ip_address(client)
    words = [int.from_bytes(address.packed[at : at + 4], "little") for at in range(0, len(address.packed), 4)]
    source = words[0] if len(words) == 1 else jhash_4words(*words, config.seed6)
    ports = int.from_bytes(port.to_bytes(2, "big") + config.services[0].port.to_bytes(2, "big"), "little")
    slot = jhash_2words(source, ports, config.seed) % config.ring_size
    return f"server{int(balancer.tables.rings[0][slot]) & (TRACK - 1)}"


def lengths(ear: Capture, way: str) -> tuple[int, int]:
    """Packets and bytes of IP that the client sent or got."""
    frames = [one.frame for one in ear.frames() if one.way == way]
    sizes = [int.from_bytes(f[16:18], "big") if f[12] == 8 else 40 + int.from_bytes(f[18:20], "big") for f in frames]
    return len(sizes), sum(sizes)


@each_plane
@pytest.mark.parametrize(("mode", "outer", "inner"), CASES, ids=lambda value: str(value))
def test_a_client_fetches_a_hundred_answers(net: Lan, plane: str, mode: str, outer: int, inner: int) -> None:
    """From the servers that the ring names, which see the right client; and every byte is counted, by direction."""
    source, config = client_of(mode, outer), net.config(mode, VIP[outer], version=inner)
    with net.client.capture() as ear, net.plane(plane, config) as lb:
        answers = fetch(net, source, VIP[outer], config.services[0].port, REQUESTS)
        assert not [answer for answer in answers if isinstance(answer, Exception)]
        for answer in answers:
            name = backend_of(lb.balancer, source, answer["port"])
            at = SERVERS[inner][int(name[-1]) - 1]
            assert answer["backend"] == name
            assert answer["server"] == [at if mode in TRANSLATING else VIP[outer], PORT]
            if mode == "full_nat":
                assert answer["client"][0] == OWN[outer]
            else:
                assert answer["client"] == [source, answer["port"]]
        assert len(Counter(answer["backend"] for answer in answers)) == 3
        seen = lambda: [*lengths(ear, "out"), *(lengths(ear, "in") if mode in TRANSLATING else (0, 0))]  # noqa: E731
        until(lambda: list(lb.counters()["vips"][0]) == seen())
        assert lengths(ear, "in")[1] > 100 * REQUESTS
        assert lb.counters()["backends"][1:].sum(axis=0).tolist() == seen()[:2]
