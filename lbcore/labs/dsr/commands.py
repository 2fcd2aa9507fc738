"""The few commands that mend this network: read, and carried out on readings.

Rule of this file: a line of text becomes a `Command`, or ValueError says what could have been meant. The same command
is carried out on a real host by `network`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from ipaddress import ip_address
from typing import NamedTuple

from lbcore.labs.dsr.evidence import Evidence, Readings

ADDRESS, MAC, INTERFACE = r"(?P<address>[0-9.]+)", r"(?P<mac>(?:[0-9a-f]{2}:){5}[0-9a-f]{2})", r"(?P<interface>\w+)"
FORMS = {
    "add": rf"ip addr(?:ess)? add {ADDRESS}(?:/32)? dev {INTERFACE}",
    "forget": rf"ip neigh(?:bou?r)? del(?:ete)? {ADDRESS} dev {INTERFACE}",
    "set": rf"sysctl (?:-w )?net[./]ipv4[./]conf[./]{INTERFACE}[./](?P<name>rp_filter|arp_ignore|arp_announce)"
    r" ?= ?(?P<value>[0-8])",
    "ethernet": rf"ethernet {ADDRESS} {MAC}",
}
SAMPLES = (
    "ip addr add 203.0.113.80/32 dev lo",
    "ip neigh del 203.0.113.80 dev eth1",
    "sysctl -w net.ipv4.conf.all.rp_filter=0 (rp_filter, arp_ignore or arp_announce)",
    "ethernet 10.0.0.11 02:00:00:00:00:0b (a line of the balancer's configuration)",
)


class Command(NamedTuple):
    """kind: a key of `FORMS`; the rest as far as the form has it."""

    kind: str
    address: str = ""
    interface: str = ""
    mac: str = ""
    name: str = ""
    value: str = ""


def parse(line: str) -> Command:
    """A line as a command. ValueError shows the forms there are."""
    text = " ".join(str(line).lower().split())
    for kind, form in FORMS.items():
        if found := re.fullmatch(form, text):
            parts = found.groupdict()
            if "address" in parts:
                ip_address(parts["address"])
            return Command(kind, **parts)
    raise ValueError(f"no command of this lab: {str(line)[:60]!r}. There are: {'; '.join(SAMPLES)}")


def applied(readings: Readings, command: Command) -> Readings:
    """A host after a command. ValueError in the words of the real program."""
    kind, address, interface, _, name, value = command
    known = {"lo", "all", "default", *readings.ethernet} if kind == "set" else {"lo", *readings.ethernet}
    if interface not in known:
        raise ValueError(f"Cannot find device {interface!r}")
    if kind == "set":
        return replace(readings, settings=readings.settings | {f"{interface}.{name}": int(value)})
    if kind == "add":
        there = readings.addresses.get(interface, [])
        if address in there:
            raise ValueError(f"{address} on {interface}: File exists")
        return replace(readings, addresses=readings.addresses | {interface: [*there, address]})
    left = dict(readings.neighbours.get(interface, {}))
    if left.pop(address, None) is None:
        raise ValueError(f"{address} on {interface}: No such file or directory")
    return replace(readings, neighbours=readings.neighbours | {interface: left})


def after(evidence: Evidence, steps: Iterable[tuple[str, str]]) -> Evidence:
    """The network after (host, line) steps. ValueError names the step that cannot be done."""
    for host, line in steps:
        command = parse(line)
        check_place(host, command, evidence.hosts, evidence.backends)
        if command.kind == "ethernet":
            evidence = replace(evidence, backends=evidence.backends | {command.address: command.mac})
        else:
            changed = applied(evidence.hosts[host], command)
            evidence = replace(evidence, hosts=evidence.hosts | {host: changed})
    return evidence


def check_place(host: str, command: Command, hosts: Mapping[str, object], backends: Mapping[str, str]) -> None:
    """ValueError if there is no such host, or the command is not for it."""
    if host not in hosts:
        raise ValueError(f"there is no host {host!r}; there are {', '.join(hosts)}")
    if command.kind == "ethernet" and (host != "balancer" or command.address not in backends):
        raise ValueError(f"'ethernet' is a line for the balancer, and for one of its backends {', '.join(backends)}")
