"""The student's balancer between real hosts: a client, four web servers behind one VIP, a kernel that runs the program.

Rule of this file: it builds, loads, asks and counts.

Theory. All hosts hang on one switch. The client's route to the VIP leads to the balancer, whose program readdresses
each frame to a backend. Backends have the VIP on `lo` (where ARP does not speak of it) and answer the client directly:
the balancer sees one half of each connection, and needs no more.

Trap. A veth delivers what XDP_TX sends only if its other end runs a program too: `xdp_ready` puts one there.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

from lbcore.ebpf import kernel
from lbcore.ebpf.compiler import Source
from lbcore.ebpf.errors import CompileError
from lbcore.ebpf.maps import Map
from lbcore.ebpf.verifier import verify
from lbcore.labs.judge import Verdict
from lbcore.labs.xdp.balancing import VIP, maglev
from lbcore.labs.xdp.ladder import NOT_MARKED
from lbcore.labs.xdp.stage import image
from lbcore.testbed import backends, traffic
from lbcore.testbed.capabilities import machine
from lbcore.testbed.hosts import Topology

CONNECTIONS = 40
NAMES = ("b1", "b2", "b3", "b4")
NO_ROOT = (
    "Not run: your balancer stays in the book's machine here, where check_balance has run it (`lbcore doctor` says "
    "what is missing for more). Where programs may be loaded into the kernel: client, balancer and four web servers "
    "as hosts of their own, forty connections to the VIP, and each server says whom it has answered."
)


def judges() -> str:
    """Who judges programs on this machine."""
    told = ["your function as plain Python", "the book's verifier", "the book's machine"]
    facts = machine()
    if facts.tier >= 2:
        told.append(f"the kernel ({facts['kernel'].why})")
    return f"Judged by {', '.join(told)}. The verdict has to be the same with all of them."


def real_traffic(program: Any, slots: Any) -> Verdict:
    """Forty HTTP connections through the program, on hosts of their own; words where the kernel may not be asked."""
    if not isinstance(program, Source) or not isinstance(slots, Map):
        return Verdict("not_a_program", NOT_MARKED)
    if machine().tier < 2:
        return Verdict("no_root", NO_ROOT)
    try:
        verdict = verify(program.object, keep=1)
    except CompileError as error:
        return Verdict("not_compiled", f"Nothing to run yet: {error.why}.")
    if not verdict.accepted:
        return Verdict("rejected", f"The verifier does not let this program in: {verdict.reason}.")
    with Topology() as net:
        client, balancer, *servers = net.lan("client", "balancer", *NAMES, network="10.0.0.0/24")
        macs = tuple(server.interfaces["eth0"].mac for server in servers)
        for server in servers:
            server.vip(VIP)
            backends.serve_http(server, 80, "0.0.0.0", name=server.name)
        client.route(f"{VIP}/32", interface="eth0")
        client.neighbour(VIP, balancer.interfaces["eth0"].mac, "eth0")
        balancer.xdp_ready()
        with kernel.load(program.object) as loaded, balancer.inside():
            loaded.maps[slots.name].update(image(slots, maglev(macs)))
            with loaded.attach("eth0"):
                answers = client.run(ask, VIP, CONNECTIONS)
    counts = Counter(one for one in answers if one in NAMES)
    told = ", ".join(f"{name} {counts[name]}" for name in NAMES)
    if len(answers) == counts.total() and len(counts) > 1:
        return Verdict("right", f"{CONNECTIONS} of {CONNECTIONS} connections answered through your program: {told}.")
    failed = next((one for one in answers if one not in NAMES), "")
    return Verdict("lost", f"{counts.total()} of {CONNECTIONS} connections answered: {told}.", failed)


def ask(vip: str, count: int) -> list[str]:
    """Who answers each of so many connections: a backend's name, or what went wrong. Stops at the third failure."""
    answers: list[str] = []
    while len(answers) < count and sum(one not in NAMES for one in answers) < 3:
        try:
            answers.append(str(traffic.ask(vip, 80, kind="http", timeout=1.0)["backend"]))
        except (OSError, TimeoutError) as error:
            answers.append(f"{type(error).__name__}: {error}")
    return answers
