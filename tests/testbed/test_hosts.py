"""Networks of namespaces: what is sent arrives where it should and nowhere else, and every hop can be watched."""

from __future__ import annotations

import os
import shutil
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import pytest

import lbcore
from lbcore.testbed import backends, capabilities, capture, links, rtnetlink, traffic, xdp_stub
from lbcore.testbed.hosts import Topology, Unavailable
from lbcore.testbed.namespaces import Died
from lbcore.wire import compose
from lbcore.wire.dissect import dissect, find
from tests import needs
from tests.testbed import leftovers

pytestmark = [needs.linux(), needs.tier(1)]

VIP = "203.0.113.80"
NOBODY = 65534


@pytest.fixture(autouse=True)
def _nothing_is_left_behind():
    before = leftovers.of_this_process()
    yield
    assert leftovers.of_this_process() == before


@pytest.fixture(params=[None, True], ids=["as this user may", "rootless"])
def net(request):
    with Topology(rootless=request.param) as net:
        yield net


def layer(frame, name):
    return find(dissect(frame), name)


def has(frame, name):
    return name in {layer.name for layer in dissect(frame)}


def only(frames, name):
    return [one for one in frames if has(one.frame, name)]


# ----------------------------------------------------------------------------------------------------------- topologies
def test_hosts_on_a_switch_talk_by_ping_tcp_and_udp(net):
    client, server = net.lan("client", "server")
    assert client.run(traffic.ping, "10.0.0.2") > 0
    with backends.serve_http(server), backends.serve_udp(server):
        http = client.run(traffic.ask, "10.0.0.2", 80)
        udp = client.run(traffic.ask, "10.0.0.2", 53, kind="udp")
    for said, port in ((http, 80), (udp, 53)):
        assert said["backend"] == "server"
        assert said["client"][0] == "10.0.0.1"
        assert said["server"] == ["10.0.0.2", port]
    with pytest.raises(ConnectionRefusedError):  # the backends are gone with their blocks
        client.run(traffic.ask, "10.0.0.2", 80)


def test_ipv6_works_from_the_first_packet(net):
    client, server = net.lan("client", "server")
    client.address("fd00::1/64")
    server.address("fd00::2/64")
    assert client.run(traffic.ping, "fd00::2") > 0
    with backends.serve_http(server, address="::"), backends.serve_udp(server, address="::"):
        assert client.run(traffic.ask, "fd00::2", 80)["client"][0] == "fd00::1"
        assert client.run(traffic.ask, "fd00::2", 53, kind="udp")["server"] == ["fd00::2", 53]


def test_a_router_rewrites_macs_and_lowers_the_ttl(net):
    client, router, server = net.host("client"), net.host("router", forward=True), net.host("server")
    net.link(client, router, "10.1.0.2/24", "10.1.0.1/24")
    net.link(server, router, "10.2.0.2/24", "10.2.0.1/24")
    client.route("default", via="10.1.0.1")
    server.route("10.1.0.0/24", via="10.2.0.1")
    hops = {(host, name): host.capture(name) for host in (client, router, server) for name in host.interfaces}
    client.run(traffic.ping, "10.2.0.2", ttl=9)
    seen = {}
    for (host, name), ear in hops.items():
        with ear:
            request, reply = only(ear.wait(lambda frames: len(only(frames, "icmp")) == 2), "icmp")
        assert request.when <= reply.when
        for one, what in ((request, "request"), (reply, "reply")):
            eth, ip = layer(one.frame, "ethernet"), layer(one.frame, "ipv4")
            macs = eth.field("source").text, eth.field("destination").text
            seen[host.name, name, what] = one.way, *macs, ip.field("ttl").value
    c, r0, r1, s = (i.mac for i in (client.interfaces["eth0"], *router.interfaces.values(), server.interfaces["eth0"]))
    assert seen == {
        ("client", "eth0", "request"): ("out", c, r0, 9),
        ("router", "eth0", "request"): ("in", c, r0, 9),
        ("router", "eth1", "request"): ("out", r1, s, 8),
        ("server", "eth0", "request"): ("in", r1, s, 8),
        ("server", "eth0", "reply"): ("out", s, r1, 64),
        ("router", "eth1", "reply"): ("in", s, r1, 64),
        ("router", "eth0", "reply"): ("out", r0, c, 63),
        ("client", "eth0", "reply"): ("in", r0, c, 63),
    }


def test_who_is_no_router_forwards_nothing(net):
    client, middle, server = net.host("client"), net.host("middle"), net.host("server")
    net.link(client, middle, "10.1.0.2/24", "10.1.0.1/24")
    net.link(server, middle, "10.2.0.2/24", "10.2.0.1/24")
    client.route("default", via="10.1.0.1")
    server.route("default", via="10.2.0.1")
    with pytest.raises(TimeoutError):
        client.run(traffic.ping, "10.2.0.2", timeout=0.3)
    middle.sysctl("net/ipv4/ip_forward", 1)
    assert client.run(traffic.ping, "10.2.0.2") > 0


def test_two_hosts_are_as_separate_as_two_machines(net):
    one, other = net.host("one"), net.host("other")
    assert one.run(socket.if_nameindex) == other.run(socket.if_nameindex) == [(1, "lo")]
    with backends.serve_http(one), backends.serve_http(other):  # both on port 80 of every address
        assert one.run(traffic.ask, "127.0.0.1")["backend"] == "one"
        assert other.run(traffic.ask, "127.0.0.1")["backend"] == "other"


def test_a_quiet_network_is_silent(net):
    client, _ = net.lan("client", "server")
    with client.capture() as ear, net.hosts["switch"].capture("server") as port:
        time.sleep(0.5)
        assert ear.frames() == port.frames() == []


# ---------------------------------------------------------------------------------------------------- virtual addresses
def arp_answers(client, address, others):
    """MACs that say they have `address`. Each of the others is asked for its own address too: when all have answered
    that later question, they have had their time for the first."""
    mac = rtnetlink.mac_bytes(client.interfaces["eth0"].mac)

    def question(wanted):
        head = struct.pack("!6s6sHHHBBH", b"\xff" * 6, mac, 0x0806, 1, 0x0800, 6, 4, 1)
        return head + mac + socket.inet_aton(client.ip) + bytes(6) + socket.inet_aton(wanted)

    def answers(frames, wanted):
        replies = [one.frame for one in only(frames, "arp") if one.way == "in" and one.frame[20:22] == b"\0\2"]
        return {frame[6:12].hex(":") for frame in replies if frame[28:32] == socket.inet_aton(wanted)}

    with client.packet_socket() as sender, client.capture() as ear:
        for wanted in (address, *(other.ip for other in others)):
            sender.send(question(wanted))
        frames = ear.wait(lambda frames: all(answers(frames, other.ip) for other in others))
        return answers(frames, address)


def test_a_virtual_address_is_served_and_never_claimed(net):
    client, balancer, *pool = net.lan("client", "balancer", "b1", "b2")
    client.route(f"{VIP}/32", interface="eth0")
    for backend in pool:
        backend.vip(VIP)
    assert arp_answers(client, VIP, [balancer, *pool]) == set()
    balancer.address(f"{VIP}/32")
    assert arp_answers(client, VIP, [balancer, *pool]) == {balancer.interfaces["eth0"].mac}
    for backend in pool:  # a balancer in direct server return changes the MAC address and nothing else
        client.neighbour(VIP, backend.interfaces["eth0"].mac)
        with backends.serve_http(backend), backends.serve_udp(backend):
            for kind, port in (("http", 80), ("udp", 53)):
                said = client.run(traffic.ask, VIP, port, kind=kind)
                assert (said["backend"], said["client"][0], said["server"]) == (backend.name, "10.0.0.1", [VIP, port])


def test_without_arp_ignore_every_backend_would_claim_it(net):
    client, *pool = net.lan("client", "b1", "b2")
    for backend in pool:
        backend.vip(VIP)
        for scope in ("all", "eth0"):
            backend.sysctl(f"net/ipv4/conf/{scope}/arp_ignore", 0)
    assert arp_answers(client, VIP, pool) == {backend.interfaces["eth0"].mac for backend in pool}


def test_reverse_path_filtering_is_off_and_would_have_dropped(net):
    client, server = net.lan("client", "server")
    elsewhere = net.host("elsewhere")
    net.link(server, elsewhere, "10.9.0.1/24", "10.9.0.2/24")
    server.sysctl("net/ipv4/conf/all/log_martians", 0)
    mac = server.interfaces["eth0"].mac
    frame = compose.udp_frame(
        source="10.9.0.2:1000", destination="10.0.0.2:53", payload=b"x", destination_mac=mac
    )  # from the wrong cable
    with server.open_socket(socket.AF_INET, socket.SOCK_DGRAM) as ear, client.packet_socket() as sender:
        ear.bind(("10.0.0.2", 53))
        ear.settimeout(0.4)
        sender.send(frame)
        assert ear.recvfrom(100) == (b"x", ("10.9.0.2", 1000))
        server.sysctl("net/ipv4/conf/all/rp_filter", 1)
        sender.send(frame)
        with pytest.raises(TimeoutError):
            ear.recv(100)


# ------------------------------------------------------------------------------------------------------------- captures
def test_frames_are_as_on_a_wire_and_would_not_be_with_offloads():
    with Topology() as net:
        marks = {}
        for offloads in (False, True):
            one, two = net.host(f"a{offloads}"), net.host(f"b{offloads}")
            net.link(one, two, "10.0.0.1/24", "10.0.0.2/24", offloads=offloads)
            with two.run(socket.create_server, ("10.0.0.2", 80)) as listener, one.capture() as ear:
                with one.open_socket() as client:
                    client.connect(("10.0.0.2", 80))
                    client.sendall(bytes(20000))
                    with listener.accept()[0] as server:
                        assert len(server.recv(20000, socket.MSG_WAITALL)) == 20000
                frames = [one.frame for one in only(ear.frames(), "tcp") if one.way == "out"]
            marks[offloads] = (
                all("(right)" in layer(frame, "tcp").field("checksum").text for frame in frames),
                max(map(len, frames)) <= 1514,
            )
        assert marks == {False: (True, True), True: (False, False)}


def test_a_vlan_tag_is_shown_where_it_was(net):
    client, server = net.host("client"), net.host("server")
    net.link(client, server)
    frame = compose.udp_frame(source="10.0.0.1:1", destination="10.0.0.2:2", payload=b"x" * 40, vlan=7)
    with client.packet_socket() as sender, server.capture() as ear:
        sender.send(frame)
        assert [one.frame for one in ear.wait()] == [frame]


def test_a_capture_that_lost_frames_says_so(net):
    client, server = net.host("client"), net.host("server")
    net.link(client, server)
    frame = compose.udp_frame(source="10.0.0.1:1", destination="10.0.0.2:2", payload=bytes(1000))
    with client.packet_socket() as sender, server.capture() as ear:
        ear._ear.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        traffic.blast(sender, [frame], count=500)
        with pytest.raises(capture.Lost, match="frames at server eth0 did not fit"):
            ear.wait(lambda frames: False)


def test_a_capture_keeps_its_frames_when_it_is_closed_and_waits_no_longer_than_told(net):
    client, server = net.lan("client", "server")
    with server.capture() as ear:
        with pytest.raises(TimeoutError, match="0 frames"):
            ear.wait(timeout=0.05)
        client.run(traffic.ping, "10.0.0.2")
        before = time.time()
    assert len(only(ear.frames(), "icmp")) == 2
    assert all(before - 5 < one.when <= before for one in ear.frames())
    ear.close()


# ------------------------------------------------------------------------------------------------- running things there
def test_a_function_takes_closures_along_and_brings_its_result_back(net):
    host, secret = net.host("h"), bytes(3_000_000)
    assert host.run(lambda more: (secret, more), "x") == (secret, "x")
    with host.run(socket.create_server, ("127.0.0.1", 0)) as listener:  # an open socket is handed over itself
        port = listener.getsockname()[1]
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", port), 1).close()
        host.run(lambda: socket.create_connection(("127.0.0.1", port), 1).close())


class Unpicklable(Exception):
    def __init__(self, one, two):
        super().__init__(f"{one} and {two}")


def raise_(error):
    raise error


def test_exceptions_come_back_with_the_place_where_they_were_raised(net):
    host = net.host("h")
    with pytest.raises(KeyError, match="nope") as caught:
        host.run(raise_, KeyError("nope"))
    assert "in raise_" in "".join(caught.value.__notes__)
    with pytest.raises(RuntimeError, match="Unpicklable: 1 and 2"):
        host.run(raise_, Unpicklable(1, 2))
    with pytest.raises(RuntimeError, match="SystemExit: 3"):
        host.run(sys.exit, 3)
    with pytest.raises((TypeError, AttributeError, RuntimeError), match="pickle"):
        host.run(lambda: lambda: 0)
    with pytest.raises(Died, match="_exit in h ended with status 7 without a result"):
        host.run(os._exit, 7)


def test_a_command_runs_in_the_host(net):
    host = net.host("h")
    print_names = "import socket; print(socket.if_nameindex())"
    python = shutil.which("python3", path="/usr/local/bin:/usr/bin:/bin") or sys.executable
    assert host.command(python, "-c", print_names).stdout == "[(1, 'lo')]\n"
    with pytest.raises(subprocess.CalledProcessError, match="exit status 3"):
        host.command("sh", "-c", "exit 3")
    assert host.command("sh", "-c", "cat; exit 3", check=False).returncode == 3  # and no input to wait for
    with pytest.raises(FileNotFoundError):
        host.command("no-such-program")
    with pytest.raises(subprocess.TimeoutExpired):
        host.command("sleep", "60", timeout=0.2)


def test_a_task_ends_with_all_that_it_started(net, monkeypatch):
    host = net.host("h")
    monkeypatch.setenv(leftovers.MARK, mark := os.urandom(8).hex())
    task = host.start(subprocess.run, ["sh", "-c", "setsid sleep 1000 & sleep 1000 & wait"], check=True)
    assert leftovers.until(lambda: len(leftovers.marked(mark)) == 3)
    assert task.running()
    with pytest.raises(TimeoutError, match="run in h has no result after"):
        task.result(timeout=0.1)
    task.stop()
    assert leftovers.marked(mark) == []
    with pytest.raises(Died, match="was stopped"):
        task.result()
    task.stop()


def test_a_task_outlives_the_thread_that_started_it(net):
    host, tasks = net.host("h"), []
    thread = threading.Thread(target=lambda: tasks.append(host.start(lambda: time.sleep(0.3) or "done")))
    thread.start()
    thread.join()
    assert tasks[0].result() == "done"
    assert tasks[0].result() == "done"


def test_leaving_the_block_stops_what_runs(monkeypatch):
    monkeypatch.setenv(leftovers.MARK, mark := os.urandom(8).hex())

    def fail_inside():
        with Topology() as net:
            host = net.host("h")
            host.start(subprocess.run, ["sleep", "1000"])
            backends.serve_http(host)
            host.capture("lo")
            assert leftovers.until(lambda: leftovers.marked(mark))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail_inside()
    assert leftovers.marked(mark) == []


@needs.root()
def test_this_thread_can_step_inside_and_comes_back():
    with Topology() as net:
        host = net.host("h")
        before = socket.if_nameindex()
        with host.inside():
            assert socket.if_nameindex() == [(1, "lo")]
        with pytest.raises(KeyError), host.inside():
            raise_(KeyError)
        assert socket.if_nameindex() == before
    with Topology(rootless=True) as net, pytest.raises(PermissionError, match="with root only"):
        net.host("h").inside()


# ------------------------------------------------------------------------------------------------------- what XDP needs
@needs.tier(2)
def test_a_veth_gives_back_frames_only_with_a_stub_at_its_far_end(monkeypatch):
    send_back = struct.pack("<BBhiBBhi", 0xB7, 0, 0, 3, 0x95, 0, 0, 0)  # r0 = XDP_TX; exit
    frame = compose.udp_frame(source="10.0.0.1:1", destination="10.0.0.2:2", payload=b"there and back")
    with Topology() as net:
        client, server = net.host("client"), net.host("server")
        net.link(client, server)
        with monkeypatch.context() as patch:
            patch.setattr(xdp_stub, "CODE", send_back)
            server.run(xdp_stub.attach, "eth0")
        with client.packet_socket() as sender, client.capture() as ear:
            sender.send(frame)
            ear.wait()
            time.sleep(0.1)
            assert [one.way for one in ear.frames()] == ["out"]
            server.xdp_ready()
            sender.send(frame)
            frames = ear.wait(lambda frames: len(frames) == 3)
            assert (frames[2].way, frames[2].frame) == ("in", frame)


# ------------------------------------------------------------------------------------------------------------- refusals
def test_mistakes_are_named(net):
    host = net.host("h")
    with pytest.raises(ValueError, match="there is a host 'h' already"):
        net.host("h")
    for name in ("", "a" * 16, "a b", "a/b"):
        with pytest.raises(ValueError, match="wanted 1 to 15 bytes"):
            net.host(name)
    with pytest.raises(ValueError, match="needs via="):
        host.route("10.0.0.0/8")
    with pytest.raises(OSError, match=r"route to 10.0.0.0/8 via 192.0.2.1: .*the kernel says"):
        host.route("10.0.0.0/8", via="192.0.2.1")
    with pytest.raises(OSError, match=r"No such device|no interface|No such"):
        host.capture("eth7")
    with pytest.raises(ValueError, match="MAC address is '02:00', wanted six bytes"):
        rtnetlink.mac_bytes("02:00")
    with pytest.raises(ValueError, match="too small for 3 hosts"):
        net.lan("a", "b", "c", network="10.0.0.0/30")
    host.address("10.0.0.1/24", "lo")
    with pytest.raises(FileExistsError, match=r"address 10\.0\.0\.1/24 on lo"):
        host.address("10.0.0.1/24", "lo")
    with pytest.raises(OSError, match="cannot be switched off"):
        host.run(links.no_offloads, "eth7")


def test_a_machine_of_tier_0_says_why_there_are_no_hosts(monkeypatch):
    monkeypatch.setenv(capabilities.VARIABLE, "0")
    with pytest.raises(Unavailable, match="this is tier 0"), Topology():
        pass


SCRIPT = """
import os, sys
sys.path.insert(0, sys.argv[1])
from lbcore.testbed import backends, hosts, traffic
with hosts.Topology() as net:
    client, server = net.lan("client", "server")
    server.vip("203.0.113.80")
    client.route("203.0.113.80/32", via="10.0.0.2")
    with server.capture() as ear, backends.serve_http(server), backends.serve_udp(server):
        client.run(traffic.ping, "10.0.0.2")
        said = [client.run(traffic.ask, "203.0.113.80", port, kind=kind) for port, kind in ((80, "http"), (53, "udp"))]
    print(os.getuid(), client._space.user is not None, len(ear.frames()) > 10, *(one["server"] for one in said))
"""


@needs.root()
def test_an_ordinary_user_builds_the_same_network():
    assert capabilities.machine()["network namespaces"].available
    python = shutil.which("python3", path="/usr/local/bin:/usr/bin:/bin") or sys.executable
    with tempfile.TemporaryDirectory() as folder:
        # A copy, because an ordinary user may not be let into the folder of this checkout.
        os.chmod(folder, 0o755)
        shutil.copytree(Path(lbcore.__file__).parent, Path(folder, "lbcore"))
        done = subprocess.run(
            [python, "-I", "-c", SCRIPT, folder],
            user=NOBODY, group=NOBODY, extra_groups=[], cwd="/",
            capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout == "65534 True True ['203.0.113.80', 80] ['203.0.113.80', 53]\n"
