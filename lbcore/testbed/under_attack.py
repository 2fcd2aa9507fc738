"""Good clients and a SYN flood, through a balancer, to two backends: how many of the good ones are served.

Rule of this file: it builds the network, sends, and counts. What balances is given to it, so it can be anything that
attaches to an interface.

Theory. A SYN flood is no matter of volume: a listening socket keeps a place for each SYN until its handshake ends or is
given up, a minute later by default (tcp_synack_retries in the kernel's ip-sysctl), and it has few places. Here it has
`BACKLOG`, so a flood of two thousand packets a second, which hurts nobody else on this machine, does what a large one
does elsewhere.

Traps. A kernel trusts clients that it remembers from earlier connections and lets them in past a full backlog:
tcp_no_metrics_save makes it forget. Answers to forged addresses need a way out that ends nowhere, or the kernel notices
at once that nobody is there; here it ends at the attacker's host, which throws away what is not for it. A backlog that
a flood has filled stays full for a minute, so a backend that is to be asked again listens anew. A fork of a notebook is
large and slow: what needs no process of its own is done by this thread, inside the host.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import socket
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, ExitStack
from ipaddress import ip_address, ip_interface, ip_network
from typing import Any, NamedTuple, Protocol, Self

from lbcore.testbed import backends, links, rtnetlink, traffic
from lbcore.testbed.hosts import Host, Topology

VIP = "203.0.113.80"
PORT = 80
BACKLOG = 64
"""Half-open connections that a backend has room for; without cookies the kernel stops at three quarters of it."""
SETTINGS = {
    "net/core/somaxconn": BACKLOG,
    "net/ipv4/tcp_max_syn_backlog": BACKLOG,
    "net/ipv4/tcp_no_metrics_save": 1,
}
CLIENTS = [f"10.0.0.{last}" for last in range(100, 164)]
PATIENCE = 0.7
"""Seconds that a good client waits: less than TCP's first repetition of a SYN, so each request is one try."""
LEAD = 0.3
"""Seconds that the flood is ahead of the good clients."""


class Balances(Protocol):
    """What takes packets from an interface and brings them to backends, for the length of a `with` block."""

    def attach(self, to: Any) -> AbstractContextManager[Any]: ...

    def __enter__(self) -> Self: ...

    def __exit__(self, *_: object) -> None: ...


class Outcome(NamedTuple):
    """Requests of good clients: how many there were, and were answered. flood: forged packets sent meanwhile.

    cookies_sent, cookies_back: SYN cookies of all backends (TcpExt's SyncookiesSent and SyncookiesRecv).
    """

    due: int
    answered: int
    flood: int
    cookies_sent: int
    cookies_back: int

    @property
    def goodput(self) -> float:
        """The share of good requests that were answered."""
        return self.answered / self.due


class Arena:
    """Client, attacker, balancer and two backends, for the length of a `with` block (tier 2)."""

    def __enter__(self) -> Self:
        self._net = Topology(rootless=False).__enter__()
        try:
            names = ("client", "attacker", "balancer", "b1", "b2")
            self.client, self.attacker, self.balancer, *self.servers = self._net.lan(*names)
            self._mac = self.balancer.interfaces["eth0"].mac
            for server in self.servers:
                server.run(_prepare, self.attacker.ip)
            self.client.run(_know, self._mac)
            self.balancer.xdp_ready()
        except BaseException:
            self._net.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._net.close()

    def goodput(
        self,
        balance: Callable[[Sequence[tuple[str, str]]], Balances],
        flood: Sequence[bytes] = (),
        *,
        cookies: bool = False,
        flood_rate: float = 2000.0,
        rate: float = 40.0,
        seconds: float = 0.5,
    ) -> Outcome:
        """Good clients ask `rate` times a second while `flood` frames come in turn, `flood_rate` a second.

        balance: makes the balancer, from the backends' (address, Ethernet address). Its mode has to be direct return:
        the backends have the address `VIP`. The frames' Ethernet destination is filled in. cookies: may the backends
        use them? Each time the backends listen anew, so their backlogs are empty.
        """
        with ExitStack() as stack:
            for server in self.servers:
                with server.inside():
                    links.sysctl("net/ipv4/tcp_syncookies", int(cookies))
                stack.enter_context(backends.serve_http(server, PORT))
            pool = [(server.ip, server.interfaces["eth0"].mac) for server in self.servers]
            running = stack.enter_context(balance(pool))
            with self.balancer.inside():
                stack.enter_context(running.attach("eth0"))
            with self.attacker.inside():
                sender = stack.enter_context(links.packet_socket("eth0"))
            before = [_counted(server) for server in self.servers]
            frames = [bytes.fromhex(self._mac.replace(":", "")) + frame[6:] for frame in flood]
            began, begin = (stack.enter_context(end) for end in socket.socketpair())
            attack = stack.enter_context(self.attacker.start(paced, sender, frames, flood_rate, LEAD + seconds, begin))
            began.settimeout(30)
            began.recv(1)
            time.sleep(LEAD if frames else 0)  # until the backlogs are full, if they will be
            report = self.client.run(good_clients, rate, seconds)
            sent = attack.result(30)
            after = [_counted(server) for server in self.servers]
        sent_back = (
            sum(new[name] - old[name] for old, new in zip(before, after, strict=True))
            for name in ("SyncookiesSent", "SyncookiesRecv")
        )
        return Outcome(report.due, report.answered, sent, *sent_back)


def paced(sender: socket.socket, frames: Sequence[bytes], rate: float, seconds: float, begin: socket.socket) -> int:
    """Send frames in turn, `rate` a second, for `seconds`; how many went. A hundredth of a second's worth at a time.

    begin: a byte is written to it first, for a process may be late on a busy machine.
    """
    begin.send(b"!")
    start, sent, turn = time.perf_counter(), 0, itertools.cycle(frames)
    while frames and (passed := time.perf_counter() - start) < seconds:
        due = int(passed * rate) - sent
        sent += traffic.blast(sender, itertools.islice(turn, due), count=due, seconds=1.0).sent if due else 0
        time.sleep(0.01)
    return sent


def good_clients(rate: float, seconds: float) -> traffic.Report:
    """An open loop of requests to the virtual address, each from another of `CLIENTS`."""
    sources = itertools.cycle(CLIENTS)

    async def request() -> Any:
        reader, writer = await asyncio.open_connection(VIP, PORT, local_addr=(next(sources), 0))
        try:
            writer.write(b"GET / HTTP/1.1\r\nhost: lab\r\nconnection: close\r\n\r\n")
            return json.loads((await reader.read()).partition(b"\r\n\r\n")[2])
        finally:
            writer.transport.abort()

    times = traffic.arrivals(rate, seconds, process="constant")
    return asyncio.run(traffic.open_loop(request, times, attempt=PATIENCE))


def tcp_counters() -> dict[str, int]:
    """The TcpExt counters of the network namespace that this thread is in (/proc/net/netstat)."""
    with open("/proc/thread-self/net/netstat") as file:
        names, values = (line.split()[1:] for line in file if line.startswith("TcpExt:"))
    return dict(zip(names, map(int, values), strict=True))


def _counted(host: Host) -> dict[str, int]:
    with host.inside():
        return tcp_counters()


def _prepare(nowhere: str) -> None:
    """In a backend: a small backlog, and answers to strangers end at another host. One process for all of it."""
    rtnetlink.add_address("lo", ip_interface(VIP))
    rtnetlink.add_route(ip_network("0.0.0.0/0"), ip_address(nowhere), None)
    for name, value in SETTINGS.items():
        links.sysctl(name, value)


def _know(mac: str) -> None:
    """In the client: its addresses, and where the virtual one is."""
    for address in CLIENTS:
        rtnetlink.add_address("eth0", ip_interface(f"{address}/24"))
    rtnetlink.add_route(ip_network(f"{VIP}/32"), None, "eth0")
    rtnetlink.add_neighbour(ip_address(VIP), mac, "eth0")
