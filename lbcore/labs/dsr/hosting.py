"""Lab 03, exercise 2: what a backend must be told.

Rule of this file: it carries a student's commands out on the readings of a host, and asks `model` what that host does
now. The same commands on a real host: `live`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from lbcore.labs.dsr.asking import asked
from lbcore.labs.dsr.commands import applied, parse
from lbcore.labs.dsr.evidence import Readings
from lbcore.labs.dsr.model import SERVED, announces, answers, effective, takes
from lbcore.labs.dsr.plan import STOCK
from lbcore.labs.judge import RIGHT, Verdict
from lbcore.measure.table import Table

VIP, OTHER, OWN = "203.0.113.80", "203.0.113.17", "10.0.0.11"
AS_IT_CAME = Readings(
    ethernet={"eth0": "02:00:00:00:00:08", "eth1": "02:00:00:00:00:0f"},
    addresses={"lo": ["127.0.0.1"], "eth0": [OWN], "eth1": ["10.1.0.11"]},
    neighbours={},
    settings=STOCK,
)
QUESTIONS: tuple[tuple[str, Callable[[Readings, str], Any]], ...] = (
    ("a client's packet by eth0", takes),
    ("does it claim the virtual address, asked by ARP?", lambda host, vip: "yes" if answers(host, vip) else "no"),
    ("does it claim its own?", lambda host, _: "yes" if answers(host, OWN) else "no"),
    ("does it ask in the virtual address's name?", lambda host, vip: "yes" if announces(host, vip) else "no"),
)


def told(lines: Any, host: Readings = AS_IT_CAME) -> Readings | Verdict:
    """A host after commands, or what is wrong with them."""
    if not isinstance(lines, list) or not all(isinstance(line, str) for line in lines):
        return Verdict("wrong_form", f"Give back a list of commands, as strings; yours is {str(lines)[:80]}.")
    for line in lines:
        try:
            command = parse(line)
            if command.kind == "ethernet":
                raise ValueError("'ethernet' is a line for the balancer")
            host = applied(host, command)
        except ValueError as error:
            return Verdict("cannot_be_done", f"This command fails: {line[:80]}", str(error))
    return host


def flaw(host: Readings, vip: str, lines: list[str]) -> tuple[str, str] | None:
    """(key, hint) of the first thing that is wrong with a host, in the order in which a packet would find out."""
    text = " ".join(lines)
    if takes(host, vip) == "dropped by rp_filter":
        if "rp_filter" not in text:
            return "filtered", (
                "The packet is dropped before anybody looks at its address. It comes in by eth0, and the way back to "
                "the client is eth1: a strict rp_filter takes that for a forgery."
            )
        return "larger_counts", (
            "The filter is still strict: the larger of `all` and `eth0` counts. Either both go to 0, or one of them "
            "to 2, which asks only that there be a way back."
        )
    if takes(host, vip) != SERVED:
        if any("addr" in line for line in lines):
            return "other_address", f"The host has an address more, but not {vip}: use the argument."
        return "no_address", f"The packet is for {vip}, which is not this host's address, and is dropped."
    if not answers(host, OWN):
        return "deaf", f"Now it answers no ARP at all, not even for {OWN}: nobody on the segment can reach it any more."
    if answers(host, vip):
        if vip in host.addresses.get("eth0", []):
            return "on_the_segment", (
                "The address is on eth0, so the host answers for it there, whatever arp_ignore says. Put it where "
                "nobody asks: lo."
            )
        if host.settings.get("lo.arp_ignore"):
            return (
                "on_lo",
                "The question comes in by eth0, so eth0's arp_ignore is asked, or all's. That of lo never is.",
            )
        return "claims", (
            "Asked by ARP, it says that the virtual address is its own: Linux answers for any address on any interface."
            " The router may believe it. See arp_ignore."
        )
    if announces(host, vip):
        return "announces", (
            "When it asks for its gateway by ARP, to send the reply, it does so in the virtual address's name. "
            "Everybody who hears that learns a wrong place for it. See arp_announce."
        )
    return None


def check_backend(backend: Any, seed: int = 1) -> Verdict:
    """Exercise 2: backend(vip) -> the commands that make a host a backend."""
    vips = [VIP, OTHER, f"203.0.113.{20 + seed % 200}"]
    made, verdict = asked(backend, [(vip,) for vip in vips])
    if verdict:
        return verdict
    for vip, lines in zip(vips, made, strict=True):
        host = told(lines)
        if isinstance(host, Verdict):
            return host
        if found := flaw(host, vip, lines):
            return Verdict(*found, "\n".join([f"vip = {vip!r}", *lines]))
    return Verdict(RIGHT, "Right: the host takes the packet, keeps quiet about the address, and answers.")


def show_backend(backend: Any) -> Table | Verdict:
    """What the host does before and after the commands."""
    made, verdict = asked(backend, [(VIP,)])
    host = verdict or told(made[0])
    if isinstance(host, Verdict):
        return host
    rows = [(words, ask(AS_IT_CAME, VIP), ask(host, VIP)) for words, ask in QUESTIONS]
    settings = ("rp_filter", "arp_ignore"), ("arp_announce",)
    rows += [
        (f"{name} in force on {interface}", effective(AS_IT_CAME, interface, name), effective(host, interface, name))
        for names, interface in zip(settings, ("eth0", "eth1"), strict=True)
        for name in names
    ]
    return Table(("", "as it came", "after your commands"), tuple(rows), f"a backend for {VIP}")
