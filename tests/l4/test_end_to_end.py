"""Packets that really arrive: a TCP client, web servers, and a balancer of each kind and mode between them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from ipaddress import ip_address
from typing import Any

import pytest

from lbcore.balance.hashes.jhash import jhash_2words, jhash_4words
from lbcore.ebpf import kernel
from lbcore.l4.config import Balancer, Config, ethernet_of
from lbcore.l4.tables import ACTIVE, DRAINING, GONE, TRACK
from lbcore.testbed import capabilities
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
    until_equal,
)

REQUESTS = 100
MODES = ("nat", "full_nat", "dsr", "ipip", "gre", "gue")
CASES = [
    *((mode, version, version) for mode in MODES for version in (4, 6)),
    ("ipip", 4, 6),
    ("gre", 6, 4),
    ("gue", 4, 6),
]
"""Mode, IP version of the client and the virtual address, IP version of the backends."""
NO_TUNNEL = (*TRANSLATING, "dsr")


def on(plane: str, mode: str, *more: Any) -> Any:
    """A case, with what it needs: BPF, except where neither balancer nor backends run any."""
    plain = plane == "AF_PACKET" and mode in NO_TUNNEL
    return pytest.param(plane, mode, *more, marks=[needs.tier(1), needs.root()] if plain else needs.tier(2))


@pytest.fixture(scope="module")
def net() -> Iterator[Lan]:
    with lan(programs=capabilities.machine().tier >= 2) as made:
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


@pytest.mark.parametrize(("plane", "mode", "outer", "inner"), [on(plane, *case) for case in CASES for plane in PLANES])
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
        until_equal(lambda: lb.counters()["vips"][0].tolist(), seen)
        assert lengths(ear, "in")[1] > 100 * REQUESTS
        assert lb.counters()["backends"][1:].sum(axis=0).tolist() == seen()[:2]


# ---- backends go ----


@pytest.mark.parametrize(("plane", "mode"), [on(plane, mode) for mode in ("nat", "gue") for plane in PLANES])
def test_a_backend_leaves(net: Lan, plane: str, mode: str) -> None:
    """Draining, it keeps what it has and gets nothing new; gone, it loses all; back again, it gets what it had.

    Except for ports that were used while it was draining: they stay where they went, for a SYN follows a living entry.
    So the test says which ports are new.
    """
    source, config = client_of(mode), net.config(mode)
    port, leaver = config.services[0].port, SERVERS[4][0]
    kept, drained, new = range(20_000, 20_030), range(20_030, 20_060), range(20_060, 20_090)
    with net.plane(plane, config) as lb:
        there = connect(net, source, VIP[4], port, len(kept), kept[0])
        try:
            first = [answer["backend"] for answer in ask(there)]
            assert set(first) == {"server1", "server2", "server3"}
            before = [answer["backend"] for answer in fetch(net, source, VIP[4], port, len(drained), drained[0])]
            assert "server1" in before
            lb.set_state(leaver, DRAINING)
            assert [answer["backend"] for answer in ask(there)] == first
            elsewhere = [answer["backend"] for answer in fetch(net, source, VIP[4], port, len(drained), drained[0])]
            assert set(elsewhere) == {"server2", "server3"}
            lb.set_state(leaver, GONE)
            after = ask(there)
            assert [answer["backend"] for answer in after if isinstance(answer, dict)] == [
                name for name in first if name != "server1"
            ]
            broken = [answer for name, answer in zip(first, after, strict=True) if name == "server1"]
            assert {type(error) for error in broken} == {ConnectionResetError}
            lb.set_state(leaver, ACTIVE)
            ring = {number: backend_of(lb.balancer, source, number) for number in (*drained, *new)}
            assert [ring[number] for number in drained] != elsewhere
            again = [answer["backend"] for answer in fetch(net, source, VIP[4], port, len(drained), drained[0])]
            assert again == elsewhere
            fresh = [answer["backend"] for answer in fetch(net, source, VIP[4], port, len(new), new[0])]
            assert fresh == [ring[number] for number in new]
            assert "server1" in fresh
        finally:
            close(there)


# ---- balancers go ----


def survivors(net: Lan, kept: Config) -> tuple[list[str], list[Any], list[int]]:
    """Connections through two balancers behind a router, of which one is lost; the other has the configuration `kept`.

    (who answered each before, what came of each afterwards, packets through each of the balancers).
    """
    lost = net.config("ipip", SHARED)
    with (
        net.router.inside(),
        kernel.load(ecmp.object) as router,
        router.attach("eth0"),
        net.plane("XDP", lost) as first,
        net.plane("AF_XDP", kept, net.other) as second,
    ):
        hops = router.maps["next_hops"]
        for number, host in enumerate((net.balancer, net.other)):
            hops[number.to_bytes(4, "little")] = ethernet_of(mac(host)).to_bytes(8, "little")
        there = connect(net, DIRECT[4], SHARED, PORT, 40)
        try:
            before = [answer["backend"] for answer in ask(there)]
            through = [int(lb.counters()["vips"][0, 0]) for lb in (first, second)]
            hops[bytes(4)] = ethernet_of(mac(net.other)).to_bytes(8, "little")
            after = ask(there)
            assert int(first.counters()["vips"][0, 0]) == through[0]  # nothing comes that way any more
            return before, after, through
        finally:
            close(there)


@needs.tier(2)
def test_a_balancer_is_lost_and_nobody_notices(net: Lan) -> None:
    """One in the kernel, one in user space, which share nothing but the configuration: their rings agree."""
    before, after, through = survivors(net, net.config("ipip", SHARED))
    assert min(through) > 0  # both had their part
    assert [answer["backend"] for answer in after] == before


@needs.tier(2)
def test_that_takes_rings_that_agree(net: Lan) -> None:
    """The same with another seed: most of the lost balancer's connections break, those of the other do not."""
    before, after, _ = survivors(net, net.config("ipip", SHARED, seed=7))
    broken = [answer for answer in after if isinstance(answer, Exception)]
    assert 0 < len(broken) < 40
    assert {type(error) for error in broken} == {ConnectionResetError}
    kept = [(name, answer) for name, answer in zip(before, after, strict=True) if isinstance(answer, dict)]
    assert all(answer["backend"] == name for name, answer in kept)
