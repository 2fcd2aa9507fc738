"""The student's functions among real hosts: their rewrite as the balancer, their commands on the hosts (tier 1).

Rule of this file: it builds, lets the functions do their work in processes of their own, and asks whether packets
arrive.

Theory. In the first part the balancer is the student's: a loop in plain Python over an AF_PACKET socket, with a choice
of backend that nobody would use elsewhere (the client's port, modulo 2). In the second it is the library's.
"""

from __future__ import annotations

import socket
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

from lbcore.labs.dsr.asking import asked
from lbcore.labs.dsr.evidence import Evidence
from lbcore.labs.dsr.hosting import told
from lbcore.labs.dsr.plan import Plan, plan, sound
from lbcore.labs.dsr.repairing import steps_of
from lbcore.labs.judge import RIGHT, Verdict
from lbcore.testbed import capture
from lbcore.testbed.capabilities import machine
from lbcore.testbed.namespaces import Task
from lbcore.wire import ethernet, ipv4

PORTS = tuple(range(40000, 40006))
NEW_SEEDS = (104, 110)
"""Of networks that are in no recording."""
NOT_HERE = (
    "Not run: this machine builds no networks (`lbcore doctor` says why). Where it can, {what}. The checkers above "
    "have said what there is to say from recordings."
)


def balance(readdress: Callable[[bytes, bytes], bytes], vip: bytes, backends: Sequence[bytes]) -> None:
    """In the balancer's host, for ever: each TCP packet for the virtual address goes to a backend, by port."""
    with capture.open_ear("eth0") as wire:
        while True:
            frame, (_, _, kind, *_) = wire.recvfrom(65535)
            mine = kind != socket.PACKET_OUTGOING and frame[12:14] == ethernet.IPV4.to_bytes(2, "big")
            if mine and frame[30:34] == vip and frame[23] == ipv4.TCP:
                wire.send(readdress(frame, backends[int.from_bytes(frame[34:36], "big") % len(backends)]))


def real_traffic(readdress: Any, backend: Any) -> Verdict:
    """Client, router, balancer and two backends as hosts: your rewrite on one, your commands on two."""
    if machine().tier < 1:
        what = "your rewrite is the balancer, your commands make the backends, and a client asks for six pages"
        return Verdict("not_here", NOT_HERE.format(what=what))
    from lbcore.labs.dsr.network import BACKENDS, Network

    where = sound()
    made, verdict = asked(backend, [(where.vip,)])
    tried = verdict or asked(readdress, [(bytes(60), bytes(6))])[1]
    host = tried or told(made[0])
    if isinstance(host, Verdict):
        return host
    with Network(where, prepared=False) as net:
        try:
            net.do([(name, line) for name in BACKENDS for line in made[0]])
        except (OSError, ValueError) as error:
            return Verdict("cannot_be_done", "A command failed on the host.", str(error))
        macs = [bytes.fromhex(mac.replace(":", "")) for mac in net.configured.values()]
        with net.balancer.start(balance, readdress, socket.inet_aton(where.vip), macs) as running:
            answers = net.fetch(PORTS)
            if not running.running():
                return Verdict("raised", f"Your balancer stopped: {stopped(running)}.")
            claims = {name: net.claims(name) for name in BACKENDS}
    counts = Counter(answers.values())
    talkative = [name for name, yes in claims.items() if yes]
    if talkative:
        return Verdict("claims", f"{' and '.join(talkative)} answered the router's ARP question for {where.vip}.")
    if set(counts) != set(BACKENDS):
        return Verdict("lost", f"Six requests, and this is what the client got: {dict(counts)}.")
    pages = f"{counts['b1']} pages from b1 and {counts['b2']} from b2"
    return Verdict(RIGHT, f"Six requests through your balancer, {pages}; none of them came back through it.")


def stopped(task: Task[None]) -> str:
    """Why a balancer that runs for ever has ended."""
    try:
        task.result()
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return "it came to an end"


def mend(diagnosis: Any, repair: Any, seeds: Sequence[int] = NEW_SEEDS) -> Verdict:
    """New broken networks: your diagnosis of each, your repair of it, and then requests."""
    if machine().tier < 1:
        what = "new networks are built and broken, your diagnosis and repair are tried on them, and a client asks again"
        return Verdict("not_here", NOT_HERE.format(what=what))
    told_of = []
    for seed in seeds:
        verdict = mended(plan(seed), diagnosis, repair)
        if not verdict.passed:
            return verdict
        told_of.append(verdict.text)
    return Verdict(RIGHT, "Traffic flows again, in all of them.", "\n".join(told_of))


def mended(wrong: Plan, diagnosis: Any, repair: Any) -> Verdict:
    """One network: built, broken, diagnosed, mended, tried."""
    from lbcore.labs.dsr.network import Network

    with Network(wrong) as net:
        evidence: Evidence = net.evidence()
        said, verdict = asked(diagnosis, [(evidence,)])
        if verdict:
            return verdict
        if said[0] != [wrong.fault, wrong.host]:
            return Verdict("misjudged", f"Network {wrong.seed} is broken otherwise than {said[0]}: {evidence!r}.")
        made, verdict = asked(repair, [(evidence, wrong.fault, wrong.host)])
        steps = steps_of(made[0]) if made else None
        if verdict or steps is None:
            return verdict or Verdict("wrong_form", "The repair is a list of (host, command) pairs.")
        shown = [f"network {wrong.seed}: {wrong.fault} at {wrong.host}", *[f"{host}: {line}" for host, line in steps]]
        try:
            net.do(steps)
        except (OSError, ValueError) as error:
            return Verdict("cannot_be_done", f"A command failed on the host: {error}", "\n".join(shown))
        if not net.flows():
            return Verdict("not_mended", f"After your repair the client gets {net.fetch()}.", "\n".join(shown))
    return Verdict(RIGHT, "; ".join(shown))
