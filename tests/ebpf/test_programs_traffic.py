"""The ladder on real packets between hosts, in native and in generic mode: each does on the wire what it does in the
machine, on the same frames; and clients of the hosts see what it is for."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from itertools import count
from typing import Any

import pytest

from lbcore.ebpf import kernel
from lbcore.ebpf.compiler import Source
from lbcore.ebpf.contexts import XDP_PASS, XDP_REDIRECT, XDP_TX
from lbcore.ebpf.maps import Map
from lbcore.ebpf.programs.block_list import block_list
from lbcore.ebpf.programs.count_protocols import count_protocols
from lbcore.ebpf.programs.drop_all import drop_all
from lbcore.ebpf.programs.echo import echo
from lbcore.ebpf.programs.parse import parse
from lbcore.ebpf.programs.pass_all import pass_all
from lbcore.ebpf.programs.rate_limit import BURST, TOKEN, buckets, rate_limit
from lbcore.ebpf.programs.redirect import other_port, redirect
from lbcore.testbed import traffic
from lbcore.testbed.hosts import Host, Topology
from lbcore.wire import ethernet
from lbcore.wire.compose import icmp_frame
from tests import needs
from tests.ebpf.ladder import EVERY, TIMELESS, empty, entries, frames, machine, prepare
from tests.ebpf.wire import END, PATIENCE, Seen, Wire, arrived, udp_socket, until, up_to_end, wire

pytestmark = needs.tier(2)

SERVER, SERVER6 = "10.0.0.2", "fd00::2"
IPV4_AND_IPV6 = ["IPv4", "IPv6"]
each_mode = pytest.mark.parametrize("mode", ["native", "generic"])


@pytest.fixture(autouse=True)
def empty_maps() -> Iterator[None]:
    yield
    for program in EVERY:
        empty(program.maps)


@pytest.fixture
def cable() -> Iterator[Wire]:
    """Two hosts without addresses: nothing but the program's own doing is on the wire."""
    with wire() as made, kernel.statistics():
        yield made


@pytest.fixture
def hosts() -> Iterator[tuple[Host, Host]]:
    """A client and a server on one cable."""
    with Topology(rootless=False) as net:
        client, server = net.host("client"), net.host("server")
        net.link(client, server, ("10.0.0.1/24", "fd00::1/64"), (f"{SERVER}/24", f"{SERVER6}/64"))
        server.xdp_ready()
        yield client, server


def by_machine(program: Source, sent: list[bytes], **options: Any) -> Seen:
    made = machine(program, **options)
    done = [made.run(frame) for frame in sent]
    return Seen(*([one.packet for one in done if one.verdict == verdict] for verdict in (XDP_PASS, XDP_TX)))


def give(program: kernel.Program, maps: dict[str, Map]) -> None:
    """The maps' content, to the program in the kernel."""
    for name, one in maps.items():
        if one.kind != "percpu_array":
            program.maps[name].update(one.storage)


# ---- the wire and the machine agree ----


@each_mode
@pytest.mark.parametrize("program", TIMELESS, ids=lambda program: program.__name__)
def test_the_wire_does_what_the_machine_does(cable: Wire, program: Source, mode: str) -> None:
    """VLAN tags, IPv6 extension headers, fragments, what is cut or spoiled: verdicts, bytes, order and maps."""
    prepare(program)
    with kernel.load(program.object) as loaded:
        give(loaded, program.maps)
        expected = by_machine(program, frames())
        with cable.server.inside():
            loaded.attach("eth0", mode)
        assert cable.seen_by(loaded, frames()) == expected
        assert entries(loaded.maps) == entries({name: one.storage for name, one in program.maps.items()})


def limited(family: str, source: int = 1) -> bytes:
    ends = (f"10.1.0.{source}", "10.0.0.9") if family == "IPv4" else (f"2001:db8:0:{source}::7", "2001:db8::9")
    return icmp_frame(source=ends[0], destination=ends[1])


@each_mode
@pytest.mark.parametrize("family", IPV4_AND_IPV6)
def test_a_bucket_lets_through_what_is_in_it(cable: Wire, family: str, mode: str) -> None:
    """Buckets looked at in the far future stand still: so wire and machine agree, however long it takes."""
    future, sent = time.monotonic_ns() + 10**18, [limited(family, source) for source in (1, 2, 3) * 3]
    for source in (1, 2, 3):
        key = (0, 0xFFFF0A010000 + source) if family == "IPv4" else (0x20010DB8 << 32 | source, 0)
        buckets.update(key, (future, source * TOKEN))
    with kernel.load(rate_limit.object) as loaded:
        give(loaded, rate_limit.maps)
        expected = by_machine(rate_limit, sent)
        with cable.server.inside():
            loaded.attach("eth0", mode)
        assert cable.seen_by(loaded, sent) == expected
        assert loaded.maps["buckets"] == dict(buckets.storage)
    assert [expected.passed.count(limited(family, source)) for source in (1, 2, 3)] == [1, 2, 3]


@each_mode
@pytest.mark.parametrize("family", IPV4_AND_IPV6)
def test_a_flood_is_held_to_its_rate(cable: Wire, family: str, mode: str) -> None:
    """BURST at once, then no more than time gave; and the next source is not made to pay for it."""
    flood = [limited(family)] * (4 * BURST)
    with kernel.load(rate_limit.object) as loaded:
        with cable.server.inside():
            loaded.attach("eth0", mode)
        start = time.monotonic_ns()
        passed = cable.seen_by(loaded, [*flood, limited(family, 2)]).passed
        tokens = BURST + (time.monotonic_ns() - start) // TOKEN
    assert BURST <= passed.count(limited(family)) <= min(tokens, len(flood))
    assert passed.count(limited(family, 2)) == 1


@each_mode
def test_redirect_makes_a_wire_of_two_ports(mode: str) -> None:
    """Both ways and byte by byte; without the program nothing crosses."""
    other_port.update(0, 1)
    made = machine(redirect)
    assert {(made.run(frame).verdict, made.run(frame).packet == frame) for frame in frames()} == {(XDP_REDIRECT, True)}
    with Topology(rootless=False) as net, kernel.statistics():
        left, middle, right = net.host("left"), net.host("middle"), net.host("right")
        net.link(left, middle)
        net.link(right, middle)
        middle.xdp_ready()
        with (
            left.packet_socket() as from_left, right.packet_socket() as from_right,
            middle.packet_socket("eth1") as from_middle, middle.capture("eth0") as at_middle,
            left.capture() as at_left, right.capture() as at_right, middle.inside(),
            kernel.load(redirect.object) as there, kernel.load(redirect.object) as back,
        ):  # fmt: skip
            from_left.send(END)
            until(lambda: END in arrived(at_middle))
            from_middle.send(END)
            assert up_to_end(at_right) == []
            for program, port in ((there, "eth1"), (back, "eth0")):
                program.maps["other_port"][bytes(4)] = socket.if_nametoindex(port).to_bytes(4, "little")
            there.attach("eth0", mode)
            back.attach("eth1", mode)
            for number, frame in enumerate(frames(), 1):
                from_left.send(frame)
                from_right.send(frame)
                until(lambda number=number: min(there.statistics.runs, back.statistics.runs) >= number)  # type: ignore[misc]
            from_left.send(END)
            from_right.send(END)
            assert up_to_end(at_right, start=1) == frames()
            assert up_to_end(at_left) == frames()


# ---- what clients see ----


@each_mode
def test_pass_and_drop(hosts: tuple[Host, Host], mode: str) -> None:
    """A client whose requests are dropped gets no answer; it gets one, still, when the program has gone."""
    client, server = hosts
    with server.inside(), kernel.load(pass_all.object) as program, program.attach("eth0", mode):
        client.run(traffic.ping, SERVER, timeout=PATIENCE / 3)
    with server.inside(), kernel.statistics(), kernel.load(drop_all.object) as program:
        client.neighbour(SERVER, server.interfaces["eth0"].mac)  # nobody asks by ARP, and then only once
        with program.attach("eth0", mode), udp_socket(client) as asker, udp_socket(server) as answerer:
            answerer.bind((SERVER, 9))
            for number in range(20):
                asker.sendto(b"dropped %d" % number, (SERVER, 9))
            until(lambda: program.statistics.runs >= 20)
            program.detach()
            asker.sendto(b"passed", (SERVER, 9))
            assert answerer.recv(100) == b"passed"


@each_mode
def test_counts_what_is_sent(hosts: tuple[Host, Host], mode: str) -> None:
    client, server = hosts
    with server.inside(), kernel.load(count_protocols.object) as program, program.attach("eth0", mode):

        def counted(name: str, key: int) -> int:
            return entries(program.maps)[name].get(key.to_bytes(4, "little"), 0)

        with udp_socket(client) as asker, udp_socket(server) as answerer:
            answerer.bind((SERVER, 9999))
            for _ in range(20):
                asker.sendto(b"count me", (SERVER, 9999))
                assert answerer.recv(100) == b"count me"
        assert (counted("protocols", 17), counted("ports", 9999)) == (20, 20)


@each_mode
def test_parse_finds_a_client_behind_extension_headers(hosts: tuple[Host, Host], mode: str) -> None:
    """A client's own kernel writes the headers, and the server still gets what it is sent."""
    client, server = hosts
    nothing_to_do = bytes(2) + b"\1\4" + bytes(4)  # one option, PadN: RFC 8200 section 4.2
    with (
        server.inside(), kernel.load(parse.object) as program, program.attach("eth0", mode),
        udp_socket(client, socket.AF_INET6) as asker, udp_socket(server, socket.AF_INET6) as answerer,
    ):  # fmt: skip
        for option in (socket.IPV6_HOPOPTS, socket.IPV6_DSTOPTS):
            asker.setsockopt(socket.IPPROTO_IPV6, option, nothing_to_do)
        answerer.bind((SERVER6, 4433))
        asker.sendto(b"behind two headers", (SERVER6, 4433))
        assert answerer.recv(100) == b"behind two headers"
        found = entries(program.maps)["traffic"]
    assert found[parse.maps["traffic"].key.pack((ethernet.IPV6, ethernet.UNTAGGED, 17, 4433))] == 1


@each_mode
def test_echo_answers_where_nobody_listens(hosts: tuple[Host, Host], mode: str) -> None:
    client, server = hosts
    with (
        udp_socket(client) as asker, server.inside(), kernel.load(echo.object) as program, program.attach("eth0", mode)
    ):  # fmt: skip
        for text in (b"is anybody there?", b"", bytes(1400)):
            asker.sendto(text, (SERVER, 7))
            assert asker.recvfrom(2000) == (text, (SERVER, 7))


@each_mode
def test_a_rule_shuts_one_client_out(hosts: tuple[Host, Host], mode: str) -> None:
    """While the program runs, a rule comes and goes; the other address of the same client is served all the time."""
    client, server = hosts
    client.address("10.0.0.7/24")
    rule, number = block_list.maps["rules4"].key.pack((32, 0x0A000001)), count()
    with (
        server.inside(), kernel.load(block_list.object) as program, program.attach("eth0", mode),
        udp_socket(client) as barred, udp_socket(client) as other, udp_socket(server) as answerer,
    ):  # fmt: skip
        barred.bind(("10.0.0.1", 5001))
        other.bind(("10.0.0.7", 5007))
        answerer.bind((SERVER, 53))

        def heard() -> list[str]:
            """Whom the server hears when both ask; the other one asks last."""
            body = b"%d" % next(number)
            barred.sendto(body, (SERVER, 53))
            other.sendto(body, (SERVER, 53))
            who: list[str] = []
            while "10.0.0.7" not in who:
                said, (address, _) = answerer.recvfrom(100)
                assert said == body
                who.append(address)
            return who

        assert heard() == ["10.0.0.1", "10.0.0.7"]
        program.maps["rules4"][rule] = (1).to_bytes(4, "little")
        assert heard() == ["10.0.0.7"]
        del program.maps["rules4"][rule]
        assert heard() == ["10.0.0.1", "10.0.0.7"]


@each_mode
def test_redirect_connects_two_hosts(mode: str) -> None:
    with Topology(rootless=False) as net:
        client, middle, server = net.host("client"), net.host("middle"), net.host("server")
        net.link(client, middle, "10.0.0.1/24", ())
        net.link(server, middle, f"{SERVER}/24", ())
        middle.xdp_ready()
        with middle.inside(), kernel.load(redirect.object) as there, kernel.load(redirect.object) as back:
            for program, port in ((there, "eth1"), (back, "eth0")):
                program.maps["other_port"][bytes(4)] = socket.if_nametoindex(port).to_bytes(4, "little")
            with there.attach("eth0", mode), back.attach("eth1", mode):
                client.run(traffic.ping, SERVER, timeout=PATIENCE / 3)
