"""Balancers that end connections beside one that does not: what a TCP connection costs, and what a gigabyte.

Rule of this file: the same client and the same server; between them a plain cable, or a host that forwards. A proxy
sees no packets, so its units are others: CPU microseconds a connection (connect, ask, a short answer, the end) and CPU
seconds a gigabyte (one connection, read to its end). nftables is here too: it ties this table to that of `l4_wire`.

Theory. Client, server and proxy share one processor, to which all of them are pinned, and their CPU time is added up,
with ksoftirqd's: a veth's soft interrupts run in whoever's time it happens to be. What client and server take over the
plain cable is taken off within each round; what is left is the balancer's, wherever in the kernel it was spent.

Traps
- The cables' segmentation offloads are off, so packets are what a wire has, 1500 bytes; with them a proxy and nftables
  alike would move 64 kB at a time.
- One connection at a time: a proxy with many has less to do for each (one call tells it of several that are ready).
"""

from __future__ import annotations

import contextlib
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

from benchmarks.xdp_drop import ksoftirqd, pinned
from lbcore.measure import Table, facts_line
from lbcore.testbed.hosts import Host, Topology

SERVER, PORT, VIP = "10.1.{}.2", 8080, "203.0.113.80"
CONNECTIONS = 150
SHORT, LONG = 200, 24_000_000
"""Bytes of an answer."""
PATIENCE = 30.0
ALONE, NFTABLES = "a cable", "nftables, nat"

HAPROXY = """\
global
  nbthread 1
defaults
  mode tcp
  timeout connect 5s
  timeout client 30s
  timeout server 30s
listen l
  bind {address}:{port}
  server s {server}:{port}
"""
RELAY = """\
[relay]
expose = true
[[relay.listener]]
address = "{address}:{port}"
pool = "p"
[[relay.pool]]
name = "p"
target = [{{ address = "{server}:{port}" }}]
"""


def serve(listener: socket.socket) -> None:
    """Four bytes say how many are wanted; then the end."""
    data = bytes(1 << 18)
    while True:
        client, _ = listener.accept()
        with client, contextlib.suppress(OSError):
            left = int.from_bytes(client.recv(4, socket.MSG_WAITALL), "big")
            while left > 0:
                left -= client.send(data[:left])


def started(stack: ExitStack, command: list[str], **options: Any) -> int:
    """A process until the end of the stack, on this thread's processor: its number."""
    process = subprocess.Popen(command, **options)
    stack.callback(process.wait)
    stack.callback(process.kill)
    return process.pid


class Cable(NamedTuple):
    """A way from the client to a server of its own; what forwards is at `host`, `server` behind it."""

    stack: ExitStack
    host: Host
    server: str


Started = tuple[str, tuple[int, ...]]
"""The address that the client connects to, and the processes that work for it."""


def by_nftables(cable: Cable) -> Started:
    cable.host.command("nft", "add table ip t")
    cable.host.command("nft", "add chain ip t c { type nat hook prerouting priority dstnat; }")
    cable.host.command("nft", f"add rule ip t c ip daddr {VIP} tcp dport {PORT} dnat to {cable.server}")
    return VIP, ()


def by_program(text: str, command: Callable[[Path], list[str]], cable: Cable) -> Started:
    """A proxy with a configuration file."""
    address = cable.host.interfaces["eth0"].ip
    folder = Path(cable.stack.enter_context(tempfile.TemporaryDirectory()))
    file = folder / "proxy.toml"
    file.write_text(text.format(address=address, server=cable.server, port=PORT))
    with cable.host.inside(), (folder / "said").open("wb") as said:
        return address, (started(cable.stack, command(file), stdout=said, stderr=said),)


WAYS: dict[str, Callable[[Cable], Started]] = {
    NFTABLES: by_nftables,
    "HAProxy, mode tcp": partial(by_program, HAPROXY, lambda file: ["haproxy", "-db", "-f", str(file)]),
    "lbcore's relay": partial(
        by_program, RELAY, lambda file: [sys.executable, "-m", "lbcore", "l4", str(file), "--every", "3600"]
    ),
}


class Way(NamedTuple):
    """fetch: a connection, and so many bytes over it. others: CPU nanoseconds of all but this thread, up to now."""

    fetch: Callable[[int], None]
    others: Callable[[], int]


def fetch(host: Host, address: str, count: int) -> None:
    """One answer, read to its end."""
    with host.open_socket(socket.AF_INET, socket.SOCK_STREAM, 0) as client:
        client.settimeout(PATIENCE)
        client.connect((address, PORT))
        client.sendall(count.to_bytes(4, "big"))
        room, got = bytearray(1 << 18), 0
        while size := client.recv_into(room):
            got += size
    if got != count:
        raise RuntimeError(f"{address} sent {got} bytes, wanted {count}")


def time_of(*processes: int) -> Callable[[], int]:
    """A reader of their CPU time, in nanoseconds; threads that are not the first are left out."""
    files = [Path(f"/proc/{pid}/task/{pid}/schedstat") for pid in processes]
    return lambda: sum(int(file.read_text().split()[0]) for file in files)


def until_it_listens(way: Callable[[int], None]) -> None:
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            return way(1)
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)


@contextlib.contextmanager
def ways(cpu: int) -> Iterator[dict[str, Way]]:
    """Every way at once, each with hosts of its own."""
    aside = ksoftirqd(cpu)
    with Topology(rootless=False) as net, ExitStack() as stack:
        made = {}
        for number, name in enumerate((ALONE, *WAYS)):
            client, server = net.host(f"client{number}"), net.host(f"server{number}")
            if name == ALONE:
                address = f"10.0.{number}.2"
                net.link(client, server, f"10.0.{number}.1/24", f"{address}/24")
            else:
                middle = net.host(f"lb{number}", forward=True)
                net.link(client, middle, f"10.0.{number}.1/24", f"10.0.{number}.2/24")
                net.link(middle, server, f"10.1.{number}.1/24", f"{SERVER.format(number)}/24")
                client.route("default", via=f"10.0.{number}.2")
                server.route("default", via=f"10.1.{number}.1")
            with server.inside(), socket.create_server(("0.0.0.0", PORT), backlog=512) as listener:
                command = [sys.executable, "-m", "benchmarks.l4_proxy", str(listener.fileno())]
                helpers = (started(stack, command, pass_fds=[listener.fileno()]),)
            if name != ALONE:
                address, proxies = WAYS[name](Cable(stack, middle, SERVER.format(number)))
                helpers += proxies
            get = partial(fetch, client, address)
            until_it_listens(get)
            used = time_of(*helpers)
            made[name] = Way(get, lambda used=used: used() + aside())
        yield made


class Run(NamedTuple):
    """CPU nanoseconds of a connection, and of a byte beyond it."""

    connection: float
    byte: float


Runs = dict[str, list[Run]]


def spent(way: Way, count: int, times: int) -> float:
    """CPU nanoseconds of an answer of so many bytes, everybody's together."""
    start, other = time.thread_time_ns(), way.others()
    for _ in range(times):
        way.fetch(count)
    time.sleep(0.005)  # they are not done when the client is
    return (time.thread_time_ns() - start + way.others() - other) / times


def measure(rounds: int, seconds: float) -> Runs:
    """Every way, round by round, in alternating order."""
    with pinned() as cpu, ways(cpu) as made:
        for way in made.values():
            spent(way, SHORT, 20)
        runs: Runs = {name: [] for name in made}
        for number in range(rounds):
            for name in made if number % 2 == 0 else reversed(made):
                connection = spent(made[name], SHORT, CONNECTIONS)
                runs[name].append(Run(connection, (spent(made[name], LONG, 1) - connection) / (LONG - SHORT)))
    return runs


def beyond(runs: Runs, name: str) -> list[Run]:
    """What is the balancer's own, round by round."""
    pairs = zip(runs[name], runs[ALONE], strict=True)
    return [Run(one.connection - alone.connection, one.byte - alone.byte) for one, alone in pairs]


def tables(runs: Runs) -> list[Table]:
    """Cost by way, beyond client and server."""

    def line(name: str) -> tuple[object, ...]:
        total = runs[name]
        connection, byte = (median(getattr(one, field) for one in total) for field in Run._fields)
        costs = f"{connection / 1e3:,.0f}", f"{byte:.2f}"
        if name == ALONE:
            return name, *costs, "0", "0", ""
        own = beyond(runs, name)
        connection, byte = (median(getattr(one, field) for one in own) for field in Run._fields)
        return name, *costs, f"{connection / 1e3:,.0f}", f"{byte:.2f}", f"{1e9 / connection:,.0f}"

    columns = (
        "between client and server",
        "all: CPU us a connection",
        "all: CPU s a GB",
        "its own: CPU us a connection",
        "its own: CPU s a GB",
        "its own: connections a CPU-second",
    )
    return [Table(columns, tuple(map(line, runs)), f"answers of {SHORT} and {LONG:,} bytes, {facts_line()}")]


def samples(runs: Runs) -> dict[str, list[float]]:
    """Series "proxy, way, connection" in nanoseconds a connection, "byte" in nanoseconds a byte; everybody's CPU."""
    found: dict[str, list[float]] = {}
    for name, of in runs.items():
        found[f"proxy, {name}, connection"] = [round(one.connection, 1) for one in of]
        found[f"proxy, {name}, byte"] = [round(one.byte, 4) for one in of]
    return found


if __name__ == "__main__":
    serve(socket.socket(fileno=int(sys.argv[1])))
