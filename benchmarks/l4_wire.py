"""The balancer on a cable: what a packet costs, forwarded in XDP, over AF_XDP or AF_PACKET, by nftables or scapy.

Rule of this file: the same blast over cables that differ only in who forwards at their far end. The balancer has one
arm: what it forwards comes back by the same cable, and is counted and dropped there by XDP.

Theory. The meter is that of `xdp_drop`: one thread, pinned, sends; a veth hands its packets on in soft interrupts on
the same processor, so the thread's CPU time and ksoftirqd's are all there is. User space forwards in that thread, too,
after each TURN packets: no wake-up, no change of context, no waiting on a second processor. What sending alone costs is
taken off within each round. The packets are *frames*, pages without a socket buffer, as a network card's driver has
them: XDP takes them as they are, and everybody else has a socket buffer built first.

nftables does what mode nat does: another destination, checksums, the flow remembered.

What AF_XDP costs on a veth is the kernel's part of copy mode. By perf, of 1,760 ns a packet beyond sending (DSR):
350 on the way in (the redirect, a copy), 230 for a socket buffer to send with, 140 in veth_xmit, and 620 for the soft
interrupt at the other end, one for each packet: who sends from a system call leaves it with soft interrupts enabled,
where XDP and nftables send from within one and pay for it once in 64. Of the 620, 420 turn the buffer into a frame
again. That is 1,340 ns without a line of ours, and nftables takes 1,110 for everything: its 1.5-fold is out of reach
here. Tried, each in one run with the others:

| what | ns a packet beyond sending (nat; nftables 1,118) |
|---|---|
| as it is: 32 packets a sendto, need-wakeup | 1,626 (in a second run 1,596) |
| all packets in one sendto (XDP_MAX_TX_SKB_BUDGET, Linux 6.17) | 1,588 (1,590): a call is nothing in 32 packets |
| busy polling (SO_PREFER_BUSY_POLL) | 1,600 |
| the other end's NAPI in a thread, to collect what comes | 1,699, and two packets of three lost |
| what comes back dropped by nftables' ingress hook, not XDP | 0.73 of nftables' packets a CPU-second instead of 0.71 |

None helps, so none is kept.

Traps. The kernel sends the same pages again and again, rewritten as they are; so `launch` writes the packet anew, each
time. What comes back is dropped by the same XDP program, but user space and nftables send socket buffers, which a veth
turns into frames before XDP sees them. It is part of what they cost here, and a card would not ask it of them.
"""

from __future__ import annotations

import contextlib
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from statistics import median
from typing import Any, NamedTuple

from scapy.layers.inet import IP, UDP
from scapy.layers.l2 import Ether

from benchmarks.xdp_blast import redirected
from benchmarks.xdp_drop import ksoftirqd, pinned, receive_in_batches
from lbcore.ebpf import kernel, maps
from lbcore.ebpf.compiler import xdp
from lbcore.ebpf.contexts import XDP_DROP
from lbcore.ebpf.maps import B64
from lbcore.ebpf.programs.redirect import other_port
from lbcore.l4.config import Backend, Balancer, Config, Service
from lbcore.l4.data_plane import exhaust
from lbcore.l4.drivers.af_packet import AfPacket
from lbcore.l4.drivers.af_xdp import AfXdp
from lbcore.l4.xdp import InKernel
from lbcore.measure import Table, facts_line
from lbcore.testbed.hosts import Host, Interface, Topology
from lbcore.wire.compose import udp_frame
from lbcore.wire.seam import need, set64, view

VIP, PORT = "203.0.113.80", 53
TURN = 1536
"""Packets between two looks of user space: an AF_XDP socket has lent the kernel 2048 frames."""
PACKETS = 8 * TURN
"""Packets of a blast."""
FEW = 128
"""The same for scapy: packets between two looks, and 4 times as many a blast."""
SIZE = 64
"""Bytes of a packet."""
BACKEND = 100
"""The last byte of the backend's address, which is nobody's: its frames come to the sender."""
SO_RCVBUFFORCE, SOL_PACKET, PACKET_IGNORE_OUTGOING = 33, 263, 23  # asm-generic/socket.h, linux/if_packet.h
ALONE, NFTABLES, SCAPY = "sending alone", "nftables, nat", "scapy, nat"

came_back = maps.percpu_array("came_back", 1)
words = maps.array("words", 1, value=(B64,) * (SIZE // 8))


@xdp
def launch(context: Any) -> int:
    """Write a packet and send it out."""
    p = view(context)
    if need(p, SIZE):
        w = words.lookup(0)[1]
        set64(p, 0, w[0])
        set64(p, 8, w[1])
        set64(p, 16, w[2])
        set64(p, 24, w[3])
        set64(p, 32, w[4])
        set64(p, 40, w[5])
        set64(p, 48, w[6])
        set64(p, 56, w[7])
    return other_port.redirect(0, XDP_DROP)


@xdp
def swallow(context: Any) -> int:
    """Count a packet and drop it."""
    came_back.increment(0)
    return XDP_DROP


class Arm(NamedTuple):
    """A balancer's side of a cable; `near` is the sender's."""

    stack: ExitStack
    host: Host
    near: Interface
    far: Interface

    def config(self, mode: str) -> Config:
        """The VIP with one backend, whose frames go to the sender."""
        address = f"{self.near.ip.rsplit('.', 1)[0]}.{BACKEND}"
        return Config([Service(VIP, PORT, "udp", mode, [Backend(address, 5353, self.near.mac)])])


Drain = Callable[[], object]


def in_xdp(mode: str, arm: Arm) -> Drain:
    balancer = arm.stack.enter_context(InKernel(arm.config(mode)))
    with arm.host.inside():
        arm.stack.enter_context(balancer.attach("eth0"))
    return lambda: None


def over_driver(mode: str, open_driver: Callable[[str], Any], arm: Arm) -> Drain:
    balancer = Balancer(arm.config(mode))
    with arm.host.inside():
        driver = arm.stack.enter_context(open_driver("eth0"))
    exhaust(driver.port, balancer.tables)
    return partial(exhaust, driver.port, balancer.tables)


def by_nftables(arm: Arm) -> Drain:
    host, backend = arm.host, arm.config("nat").services[0].backends[0]
    host.sysctl("net/ipv4/ip_forward", 1)
    for where in ("all", "eth0"):
        host.sysctl(f"net/ipv4/conf/{where}/send_redirects", 0)
    host.neighbour(backend.address, arm.near.mac, "eth0")
    host.command("nft", "add table ip t")
    host.command("nft", "add chain ip t c { type nat hook prerouting priority dstnat; }")
    rule = f"ip daddr {VIP} udp dport {PORT} dnat to {backend.address}:{backend.port}"
    host.command("nft", f"add rule ip t c {rule}")
    return lambda: None


def by_scapy(arm: Arm) -> Drain:
    """As a textbook has it: dissect, set fields, delete checksums, build."""
    backend = arm.config("nat").services[0].backends[0]
    with arm.host.inside():
        ear = arm.stack.enter_context(socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(0x0003)))
    ear.bind(("eth0", 0x0003))
    ear.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 1 << 24)
    ear.setsockopt(SOL_PACKET, PACKET_IGNORE_OUTGOING, 1)
    ear.setblocking(False)

    def drain() -> None:
        with contextlib.suppress(BlockingIOError):
            while True:
                packet = Ether(ear.recv(2048))
                if IP in packet and packet[IP].dst == VIP and UDP in packet:
                    packet.src, packet.dst = packet.dst, backend.ethernet
                    packet[IP].dst, packet[UDP].dport = backend.address, backend.port
                    packet[IP].ttl -= 1
                    del packet[IP].chksum, packet[UDP].chksum
                    ear.send(bytes(packet))

    return drain


WAYS: dict[str, Callable[[Arm], Drain]] = {
    NFTABLES: by_nftables,
    "XDP, nat": partial(in_xdp, "nat"),
    "XDP, dsr": partial(in_xdp, "dsr"),
    "AF_XDP, nat": partial(over_driver, "nat", partial(AfXdp, steer="native")),
    "AF_XDP, dsr": partial(over_driver, "dsr", partial(AfXdp, steer="native")),
    "AF_PACKET, nat": partial(over_driver, "nat", AfPacket),
    SCAPY: by_scapy,
}


class Way(NamedTuple):
    """send: puts so many packets on the cable. drain: lets user space forward. counted: came back, up to now.

    turn: packets between two drains; turns: of a blast.
    """

    send: Callable[[int], object]
    drain: Drain
    counted: Callable[[], int]
    turn: int = TURN
    turns: int = PACKETS // TURN


class Run(NamedTuple):
    """One blast."""

    sent: int
    counted: int
    nanoseconds: float


Runs = dict[str, list[Run]]


def sender_of(stack: ExitStack, sender: Host, near: Interface, far: Interface) -> Callable[[int], object]:
    """Frames for the VIP into a cable."""
    program = stack.enter_context(kernel.load(launch.object))
    with sender.inside():
        program.maps["other_port"][bytes(4)] = socket.if_nametoindex(near.name).to_bytes(4, "little")
    packet = udp_frame(
        source=f"{near.ip}:1234", destination=f"{VIP}:{PORT}", source_mac=near.mac, destination_mac=far.mac,
        payload=bytes(SIZE - 42),
    )  # fmt: skip
    program.maps["words"][bytes(4)] = packet

    def send(count: int) -> None:
        with sender.inside():
            redirected(program, packet, count)

    return send


@contextlib.contextmanager
def ways() -> Iterator[dict[str, Way]]:
    """Every way at once, each with a cable and a host of its own."""
    with Topology(rootless=False) as net, ExitStack() as stack:
        sender = net.host("sender")
        deaf = net.link(sender, net.host("deaf"), "10.0.250.1/24", "10.0.250.2/24")
        made = {ALONE: Way(sender_of(stack, sender, *deaf), lambda: None, lambda: 0)}
        for number, (name, prepare) in enumerate(WAYS.items(), 1):
            host = net.host(f"lb{number}")
            addresses = (f"10.0.{number}.2/24",) if name == NFTABLES else ()
            near, far = net.link(sender, host, f"10.0.{number}.1/24", addresses)
            host.run(receive_in_batches, far.name)
            end = stack.enter_context(kernel.load(swallow.object))
            with sender.inside():
                stack.enter_context(end.attach(near.name))
            drain = prepare(Arm(stack, host, near, far))
            counted = partial(lambda program: int(program.maps["came_back"].as_array("<u8").sum()), end)
            sizes = (FEW, 4) if name == SCAPY else (TURN, PACKETS // TURN)
            made[name] = Way(sender_of(stack, sender, near, far), drain, counted, *sizes)
        yield made


def blast(way: Way, turns: int, aside: Callable[[], int]) -> Run:
    """Send so many turns of packets and say what that cost this processor."""
    counted = way.counted()
    start, other = time.thread_time_ns(), aside()
    for _ in range(turns):
        way.send(way.turn)
        way.drain()
    time.sleep(0.005)  # AF_PACKET hands a block over after a millisecond; ksoftirqd may have some left
    way.drain()
    spent = time.thread_time_ns() - start + aside() - other
    sent = turns * way.turn
    return Run(sent, way.counted() - counted, spent / sent)


def measure(rounds: int, seconds: float) -> Runs:
    """Every way, round by round, in alternating order."""
    with pinned() as cpu, ways() as made:
        aside = ksoftirqd(cpu)
        for way in made.values():
            blast(way, 1, aside)
        runs: Runs = {name: [] for name in made}
        for number in range(rounds):
            for name in made if number % 2 == 0 else reversed(made):
                runs[name].append(blast(made[name], made[name].turns, aside))
    return runs


def beyond(runs: Runs, name: str) -> list[float]:
    """Nanoseconds of a packet beyond sending it, round by round."""
    return [one.nanoseconds - alone.nanoseconds for one, alone in zip(runs[name], runs[ALONE], strict=True)]


def tables(runs: Runs) -> list[Table]:
    """Cost by way, and the evidence that the packets came back."""

    def line(name: str) -> tuple[object, ...]:
        of = runs[name]
        sent, counted = sum(one.sent for one in of), sum(one.counted for one in of)
        cost = median(one.nanoseconds for one in of)
        if name == ALONE:
            return name, f"{sent:,}", "0", f"{cost:,.0f}", "0", "", ""
        extra = beyond(runs, name)
        times = median(theirs / ours for ours, theirs in zip(extra, beyond(runs, NFTABLES), strict=True))
        return (name, f"{sent:,}", f"{counted:,}", f"{cost:,.0f}", f"{median(extra):,.0f}",
                f"{1e3 / median(extra):.3g}", f"{times:.3g}")  # fmt: skip

    columns = (
        "forwarded by",
        "sent",
        "came back",
        "CPU ns",
        "beyond sending",
        "million a CPU-second",
        "times nftables",
    )
    return [Table(columns, tuple(map(line, runs)), f"frames of {SIZE} bytes, {facts_line()}")]


def samples(runs: Runs) -> dict[str, list[float]]:
    """Series "wire, way, CPU" in nanoseconds a packet, "sent" and "came back" in packets."""
    found: dict[str, list[float]] = {}
    for name, of in runs.items():
        found[f"wire, {name}, CPU"] = [round(one.nanoseconds, 2) for one in of]
        found[f"wire, {name}, sent"] = [one.sent for one in of]
        found[f"wire, {name}, came back"] = [one.counted for one in of]
    return found
