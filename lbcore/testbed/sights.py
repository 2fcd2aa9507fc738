"""Who still sees a packet that is dropped, by where it is dropped: the receive path, mapped by experiment.

Rule of this file: two hosts, one cable, a few datagrams, and what each observer counted.

Theory. On its way in, a packet meets the driver (native XDP), generic XDP, the taps (AF_PACKET: what a capture sees),
traffic control (tc), IP, netfilter, UDP, and the filter of the socket. Whoever stands behind the drop sees nothing. So
dropping at each place in turn, and counting at each observer, shows the order.

Trap. A program that drops everything drops ARP too, so neighbours are written down beforehand.
"""

from __future__ import annotations

import shutil
import socket
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, NamedTuple

from lbcore.ebpf import kernel
from lbcore.ebpf.compiler import Source, socket_filter, tc
from lbcore.ebpf.contexts import TC_ACT_SHOT
from lbcore.ebpf.programs.drop_all import drop_all
from lbcore.testbed import counters
from lbcore.testbed.hosts import Host, Topology

PORT = 9
SETTLE = 5.0  # seconds in which everything must have arrived
NFT = (("add", "table", "ip", "t"),
       ("add", "chain", "ip", "t", "c", "{ type filter hook prerouting priority -300 ; }"),
       ("add", "rule", "ip", "t", "c", "udp", "dport", str(PORT), "drop"))  # fmt: skip


class Seen(NamedTuple):
    """Datagrams that each observer of the receiving host counted.

    driver: the interface's own counter; capture: an AF_PACKET socket on it; ip: the IP layer (InReceives); udp: UDP
    (InDatagrams, and InErrors for those that a socket's filter refused); socket: what could be read.
    """

    driver: int
    capture: int
    ip: int
    udp: int
    socket: int


@tc
def tc_drop(context: Any) -> int:
    return TC_ACT_SHOT


@socket_filter
def deaf(context: Any) -> int:
    return 0


def drops(packets: int = 20) -> dict[str, Seen]:
    """For each place where `packets` datagrams are dropped, in the order of the path: who saw how many (tier 2).

    netfilter only where there is the program nft. Raises `hosts.Unavailable`, or OSError.
    """
    with Topology() as net:
        left, right = net.host("left"), net.host("right")
        near, far = net.link(left, right, "10.0.0.1/24", "10.0.0.2/24")
        left.neighbour("10.0.0.2", far.mac)
        right.neighbour("10.0.0.1", near.mac)
        with right.run(_listening) as ear:
            places = _places(right, ear)
            return {name: _count(left, right, ear, place, packets) for name, place in places.items()}


def _places(host: Host, ear: socket.socket) -> Mapping[str, Callable[[], AbstractContextManager[Any]]]:
    """What to switch on to drop at each place."""
    places: dict[str, Callable[[], AbstractContextManager[Any]]] = {
        "XDP, native": lambda: _attached(host, drop_all, "eth0", "native"),
        "XDP, generic": lambda: _attached(host, drop_all, "eth0", "generic"),
        "tc": lambda: _attached(host, tc_drop, "eth0", "ingress"),
        "netfilter": lambda: _netfilter(host),
        "socket filter": lambda: _attached(host, deaf, ear, "native"),
        "nowhere": nullcontext,
    }
    if shutil.which("nft") is None:
        del places["netfilter"]
    return places


@contextmanager
def _attached(host: Host, program: Source, where: Any, mode: str) -> Iterator[None]:
    with host.inside(), kernel.load(program.object) as loaded:
        loaded.attach(where, mode)
        yield


@contextmanager
def _netfilter(host: Host) -> Iterator[None]:
    for command in NFT:
        host.command("nft", *command)
    try:
        yield
    finally:
        host.command("nft", "delete", "table", "ip", "t")


def _count(
    left: Host, right: Host, ear: socket.socket, place: Callable[[], AbstractContextManager[Any]], packets: int
) -> Seen:
    with place(), right.capture() as tap:
        driver, ip, udp = right.run(_counted)
        left.run(_send, packets)
        right.run(_wait_for, driver + packets)
        read = 0
        while _read(ear):
            read += 1
        after = right.run(_counted)
        captured = sum(seen.way == "in" for seen in tap.frames())
    return Seen(after[0] - driver, captured, after[1] - ip, after[2] - udp, read)


def _counted() -> tuple[int, int, int]:
    return counters.driver_packets(), counters.ip_packets(), counters.udp_datagrams()


def _listening() -> socket.socket:
    ear = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    ear.bind(("10.0.0.2", PORT))
    return ear


def _send(packets: int) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as mouth:
        for _ in range(packets):
            mouth.sendto(b"seen?", ("10.0.0.2", PORT))


def _read(ear: socket.socket) -> bool:
    try:
        return bool(ear.recv(64, socket.MSG_DONTWAIT))
    except BlockingIOError:
        return False


def _wait_for(packets: int) -> None:
    """Until the driver has handled so many: on a veth everything else has happened by then."""
    end = time.monotonic() + SETTLE
    while counters.driver_packets() < packets and time.monotonic() < end:
        time.sleep(0.002)
