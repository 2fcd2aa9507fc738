"""Lab 03, exercise 3: from evidence to the mistake, and who makes it.

Rule of this file: an answer is a claim, and the evidence refutes it or does not; each hint is the piece of evidence
that refutes.
"""

from __future__ import annotations

import random
from typing import Any

from lbcore.labs.dsr.asking import asked
from lbcore.labs.dsr.evidence import Evidence, Exhibit, recorded
from lbcore.labs.dsr.plan import COMBINATIONS, FAULTS
from lbcore.labs.judge import Case, Exercise, Property, Verdict, judge
from lbcore.measure.table import Table

MEASURED = "TcpExtIPReversePathFilter"
CHOICES = ", ".join(FAULTS)


def right(evidence: Evidence) -> tuple[str, str]:
    """(mistake, host), from the readings alone."""
    hosts, vip = evidence.hosts, evidence.vip
    entry = hosts["router"].neighbours.get("eth1", {}).get(vip)
    for name in ("b1", "b2"):
        host = hosts[name]
        if entry == host.ethernet["eth0"]:
            return "arp", name
        if evidence.backends[host.addresses["eth0"][0]] != host.ethernet["eth0"]:
            return "wrong_mac", "balancer"
        if all(vip not in some for some in host.addresses.values()):
            return "no_vip", name
    return "rp_filter", max(hosts, key=lambda name: hosts[name].counters[MEASURED])


def form(answer: Any, evidence: Evidence) -> str | None:
    """A mistake and a host."""
    if not isinstance(answer, list) or len(answer) != 2:
        return f"Give back a pair: the mistake and the host that makes it. Yours is {str(answer)[:60]}."
    fault, host = answer
    if fault not in FAULTS:
        return f"{fault!r} is not one of the mistakes: {CHOICES}."
    return None if host in evidence.hosts else f"{host!r} is not one of the hosts: {', '.join(evidence.hosts)}."


def filter_harmless(answer: list[str], evidence: Evidence) -> str | None:
    fault, name = answer
    if fault != "rp_filter" or evidence.hosts[name].counters[MEASURED]:
        return None
    strict = [
        setting
        for setting, value in evidence.hosts[name].settings.items()
        if value == 1 and setting.endswith(".rp_filter")
    ]
    has = f"{name} has {strict[0]} = 1, and it harmed nobody" if strict else f"{name} filters nothing"
    return f"{has}: its counter IPReversePathFilter stood still while the client tried. That setting is no mistake."


def has_address(answer: list[str], evidence: Evidence) -> str | None:
    fault, name = answer
    if fault != "no_vip":
        return None
    there = [interface for interface, some in evidence.hosts[name].addresses.items() if evidence.vip in some]
    if there:
        return f"{name} has {evidence.vip}, on {there[0]}. Did you look at the addresses of every interface?"
    return None if name in ("b1", "b2") else f"{name} serves nothing: it needs no virtual address. Only backends do."


def arp_is_right(answer: list[str], evidence: Evidence) -> str | None:
    fault, name = answer
    mac = evidence.hosts["router"].neighbours.get("eth1", {}).get(evidence.vip)
    if fault != "arp" or evidence.hosts[name].ethernet["eth0"] == mac != evidence.hosts["balancer"].ethernet["eth0"]:
        return None
    owner = next((n for n, one in evidence.hosts.items() if mac in one.ethernet.values()), "nobody")
    return (
        f"The router's neighbour table says that {evidence.vip} is at {mac}, which is {owner}. Whoever answered, "
        f"{name} was not believed, or is not to blame."
    )


def macs_are_right(answer: list[str], evidence: Evidence) -> str | None:
    fault, name = answer
    if fault != "wrong_mac":
        return None
    owners = {host.ethernet["eth0"] for host in evidence.hosts.values()}
    if all(mac in owners for mac in evidence.backends.values()):
        return "Both Ethernet addresses in the balancer's configuration are those of its backends."
    return (
        None if name == "balancer" else f"The wrong address is written in the balancer's configuration, not in {name}."
    )


DIAGNOSIS = Exercise(
    names=("evidence",),
    right=right,
    praise="Right: {cases} broken networks, each with its mistake and who makes it.",
    mistakes=(),
    properties=(
        Property("wrong_form", form),
        Property("harmless_filter", filter_harmless),
        Property("has_address", has_address),
        Property("arp_is_right", arp_is_right),
        Property("macs_are_right", macs_are_right),
    ),
    advice={"KeyError": ("not_there", "that is not known of this host. Ask with .get(name).")},
)


def chosen(seed: int) -> list[Exhibit]:
    """Recorded networks in an order of the seed's, every mistake at every host among the first nine."""
    some = list(recorded())
    random.Random(seed).shuffle(some)
    first = {(one.plan.fault, one.plan.host): one for one in some}
    heads = [first[pair] for pair in COMBINATIONS]
    return heads + [one for one in some if one not in heads]


def check_diagnosis(diagnosis: Any, seed: int = 1) -> Verdict:
    """Exercise 3: diagnosis(evidence) -> (mistake, host), on every recorded network."""
    return judge(DIAGNOSIS, diagnosis, [Case((one.evidence,)) for one in chosen(seed)])


def show_diagnosis(diagnosis: Any) -> Table | Verdict:
    """How often each mistake was taken for which."""
    exhibits = recorded()
    said, verdict = asked(diagnosis, [(one.evidence,) for one in exhibits])
    if verdict:
        return verdict
    names = [one[0] if isinstance(one, list) and one and one[0] in FAULTS else "?" for one in said]
    columns = [*FAULTS, *["?"] * ("?" in names)]
    rows = []
    for fault in FAULTS:
        mine = [
            (name, one) for name, one, exhibit in zip(names, said, exhibits, strict=True) if exhibit.plan.fault == fault
        ]
        hosts = [exhibit.plan.host for exhibit in exhibits if exhibit.plan.fault == fault]
        found = sum(list(answer) == [fault, host] for (_, answer), host in zip(mine, hosts, strict=True) if answer)
        rows.append((fault, len(mine), *[sum(name == one for name, _ in mine) for one in columns], found))
    return Table(("the mistake is", "networks", *[f"you said {one}" for one in columns], "host right too"), tuple(rows))
