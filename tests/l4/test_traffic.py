"""Real packets through every driver: nothing lost, answered, forwarded; and the same rules of closing."""

from __future__ import annotations

import errno
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from lbcore.l4.drivers.af_packet import AfPacket
from lbcore.l4.drivers.af_xdp import AfXdp
from lbcore.l4.drivers.driver import Driver, batch, content, read, receive, release, wait, write
from lbcore.l4.drivers.loop import Loop
from lbcore.testbed import backends, traffic
from lbcore.testbed.hosts import Host, Topology
from lbcore.wire.compose import udp_frame
from tests import needs
from tests.ebpf.ladder import frames, packets
from tests.ebpf.wire import PATIENCE, Wire, udp_socket, until, wire
from tests.l4.loops import answer, bridge, swallow
from tests.l4.ports import descriptors, rings_mapped, take

pytestmark = needs.tier(2)

SERVER = "10.0.0.2"
WINDOW = 64
KINDS: dict[str, Callable[..., Any]] = {
    "AF_XDP native": lambda name: AfXdp(name, steer="native"),
    "AF_XDP generic": lambda name: AfXdp(name, steer="generic"),
    "AF_PACKET": AfPacket,
}
each_driver = pytest.mark.parametrize("kind", KINDS)


def open_at(host: Host, kind: str, interface: str = "eth0") -> Driver:
    with host.inside():
        driver: Driver = KINDS[kind](interface)
        return driver


@pytest.fixture
def cable() -> Iterator[Wire]:
    with wire() as made:
        yield made


@pytest.fixture
def hosts() -> Iterator[tuple[Host, Host]]:
    """A client and a server without an address, whose MAC the client knows."""
    with Topology(rootless=False) as net:
        client, server = net.host("client"), net.host("server")
        net.link(client, server, "10.0.0.1/24")
        server.xdp_ready()
        client.neighbour(SERVER, server.interfaces["eth0"].mac)
        yield client, server


@each_driver
def test_frames_of_all_kinds_arrive_and_leave(cable: Wire, kind: str) -> None:
    """VLAN tags included, which the kernel takes out and AF_PACKET puts back."""
    with open_at(cable.server, kind) as driver:
        for start in range(0, len(frames()), WINDOW):
            some = frames()[start : start + WINDOW]
            for frame in some:
                cable.send(frame)
            assert take(driver, len(some)) == some
            assert write(driver, some) == len(some)
            assert cable.came_back(some)


@each_driver
def test_none_of_ten_thousand_is_lost(cable: Wire, kind: str) -> None:
    """The sender waits for every window to arrive; frames come and go back many times over."""
    with open_at(cable.server, kind) as driver:
        for start in range(0, 10_000, WINDOW):
            some = [udp_frame(payload=b"%05d" % number) for number in range(start, min(start + WINDOW, 10_000))]
            for frame in some:
                cable.send(frame)
            assert take(driver, len(some)) == some
        told = driver.statistics()
        assert (told["received"], told["dropped by kernel"], told["receive ring full"]) == (10_000, 0, 0)


@each_driver
def test_a_real_client_is_answered_ten_thousand_times(hosts: tuple[Host, Host], kind: str) -> None:
    """The ladder's echo, compiled for this process, in a thread; the client's stack checks every checksum."""
    client, server = hosts
    with open_at(server, kind) as driver, Loop(answer, driver.port) as loop, udp_socket(client) as asker:
        asker.connect((SERVER, 7))
        for start in range(0, 10_000, WINDOW):
            questions = [b"question %d" % number for number in range(start, min(start + WINDOW, 10_000))]
            for question in questions:
                asker.send(question)
            assert [asker.recv(2000) for _ in questions] == questions
        assert loop.running
        told = driver.statistics()
        assert (told["received"], told["sent"], told["refused"]) == (10_000, 10_000, 0)
        loop.stop()
        assert loop.result == 10_000


@each_driver
def test_two_ports_become_a_wire(kind: str) -> None:
    """A client fetches pages through two drivers and one loop: packets are copied from one's memory to the other's."""
    with Topology(rootless=False) as net, ExitStack() as stack:
        client, middle, server = net.host("client"), net.host("middle"), net.host("server")
        net.link(client, middle, "10.0.0.1/24", ())
        net.link(server, middle, f"{SERVER}/24", ())
        middle.xdp_ready()
        stack.enter_context(backends.serve_http(server, 80, "0.0.0.0", name="behind"))
        left, right = (stack.enter_context(open_at(middle, kind, name)) for name in ("eth0", "eth1"))
        stack.enter_context(Loop(bridge, left.port, right.port))
        for _ in range(20):
            said = client.run(traffic.ask, SERVER, 80, timeout=PATIENCE / 3)
            assert (said["backend"], said["client"][0]) == ("behind", "10.0.0.1")
        assert left.statistics()["received"] >= 20 * 4
        assert left.statistics()["sent"] >= 20 * 3


@each_driver
def test_the_counters_can_be_read_while_it_runs(cable: Wire, kind: str) -> None:
    """And Python is free meanwhile: the loop holds no lock of it."""
    with open_at(cable.server, kind) as driver, Loop(swallow, driver.port) as loop:
        for number in range(1, 400):
            cable.send(udp_frame(payload=b"%d" % number))
            until(lambda number=number: driver.statistics()["received"] == number)  # type: ignore[misc]
        assert loop.running
    assert not any(thread.name.startswith("loop") for thread in threading.enumerate())


@each_driver
def test_nothing_is_left(cable: Wire, kind: str) -> None:
    before = (descriptors(), rings_mapped())
    for _ in range(3):
        with open_at(cable.server, kind) as driver, Loop(swallow, driver.port):
            pass
        driver.close()
        assert not wait(driver.port, 1)
        assert read(driver) == []
        write(driver, [bytes(60)])
    with pytest.raises(ZeroDivisionError):
        stop_within(open_at(cable.server, kind))
    with pytest.raises(OSError, match="interface 'eth9': not here") as caught:
        open_at(cable.server, kind, "eth9")
    assert caught.value.errno == errno.ENODEV
    assert (descriptors(), rings_mapped()) == before


def stop_within(driver: Driver) -> None:
    with driver, Loop(swallow, driver.port):
        raise ZeroDivisionError


# ---- what only AF_PACKET has ----


def test_a_block_goes_back_with_its_last_packet(cable: Wire) -> None:
    """Packets stay until they are given back, in whatever order; while a block is held the kernel drops, and counts."""
    with cable.server.inside():
        driver = AfPacket("eth0", blocks=2, block_size=4096)
    with driver:
        rows, held, number = batch(64), 0, 0
        while "the kernel still has a block":
            cable.send(udp_frame(payload=b"%04d" % number + bytes(800)))
            number += 1
            wait(driver.port, 50)
            held += receive(driver.port, rows[held:])
            if driver.statistics()["dropped by kernel"]:
                break
        kept = [content(row)[42:46] for row in rows[:held]]
        assert kept == [b"%04d" % i for i in range(held)]
        order = list(range(held))[::-1]
        for i in order:
            release(driver.port, rows[i:], 1)
        cable.send(udp_frame(payload=b"once more"))
        assert take(driver, 1)[0][42:51] == b"once more"


def test_what_is_sent_is_not_heard(cable: Wire) -> None:
    with cable.server.inside():
        driver = AfPacket("eth0")
    with driver:
        assert write(driver, packets()[:10]) == 10
        assert cable.came_back(list(packets()[:10]))
        cable.send(packets()[0])
        assert take(driver, 1) == [packets()[0]]
        assert driver.statistics()["received"] == 1


def test_slots_are_used_again_and_frames_that_do_not_fit_refused(cable: Wire) -> None:
    with cable.server.inside():
        driver = AfPacket("eth0", slots=8, block_size=1 << 14, slot_size=2048)
    with driver:
        assert write(driver, [b"", bytes(13), bytes(2001)]) == 0
        assert driver.statistics()["refused"] == 3
        for start in range(0, 200, 4):
            some = [udp_frame(payload=b"%d" % number) for number in range(start, start + 4)]
            left = some
            while left:
                left = left[write(driver, left) :]
            assert cable.came_back(some)


def test_wrong_rings_are_named(cable: Wire) -> None:
    with pytest.raises(ValueError, match="block_size is 12288 and slot_size 2048, wanted a power of two"):
        AfPacket("eth0", block_size=12288)
    with cable.server.inside(), pytest.raises(OSError, match="AF_PACKET ring of 16 blocks of 1024 bytes"):
        AfPacket("eth0", block_size=1024)
