"""Lab 03, exercise 4: mend what is broken, and no more.

Rule of this file: a repair is carried out on the readings of a network, and `model` says whether traffic flows then:
now, with what the router remembers, and later, when it has forgotten and asks again.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from lbcore.labs.dsr.asking import asked
from lbcore.labs.dsr.commands import after
from lbcore.labs.dsr.diagnosing import chosen, right
from lbcore.labs.dsr.evidence import Evidence, Exhibit, recorded
from lbcore.labs.dsr.model import SERVED, Fate, effective, fate
from lbcore.labs.dsr.plan import COMBINATIONS
from lbcore.labs.judge import RIGHT, Verdict
from lbcore.measure.table import Table

MOST = 3
Steps = list[tuple[str, str]]


def later(evidence: Evidence) -> Evidence:
    """The same network when the router has forgotten its neighbours."""
    router = replace(evidence.hosts["router"], neighbours={})
    return replace(evidence, hosts=evidence.hosts | {"router": router})


def steps_of(answer: Any) -> Steps | None:
    """(host, command) pairs, if that is what they are."""
    pairs = isinstance(answer, list) and all(isinstance(one, list) and len(one) == 2 for one in answer)
    return [(str(host), str(line)) for host, line in answer] if pairs else None


def flaw(evidence: Evidence, steps: Steps) -> tuple[str, str] | None:
    """(key, hint) of the first thing that is wrong with a network after a repair."""
    try:
        mended = after(evidence, steps)
    except ValueError as error:
        return "cannot_be_done", f"This repair cannot be carried out: {error}"
    now, then = fate(mended), fate(later(mended))
    if now.flows and then.flows:
        changed = {host for host, line in steps if " neigh" not in line}
        if len(steps) > MOST or len(changed) > 1:
            hint = (
                "Traffic flows, but you have changed more than was wrong, and the next one to look will not know why."
            )
            return "shotgun", f"{hint} One host makes the mistake."
        return None
    return why(evidence, mended, steps, now, then)


def why(evidence: Evidence, mended: Evidence, steps: Steps, now: Fate, then: Fate) -> tuple[str, str]:
    """What still keeps traffic from flowing."""
    fault, host = right(evidence)
    if now.entry != "balancer" and then.entry == "balancer":
        return "remembered", (
            f"Nobody claims the address any more, but the router remembers: it sends to {now.entry} until it forgets. "
            "Have it forget (ip neigh del)."
        )
    if then.entry != "balancer":
        if fault == "arp":
            return "contested", f"When the router asks again, {then.entry} may answer. Who should keep quiet?"
        return "new_mistake", (
            f"Now {then.entry} answer for the address by ARP: you have mended one mistake and made another. On which "
            "interface must the address be?"
        )
    name, (words, blamed) = next((n, one) for n, one in now.backends.items() if one[0] != SERVED)
    if words.endswith("rp_filter"):
        interface = "eth2" if blamed == "router" else "eth0"
        tried = any(where == blamed and "rp_filter" in line for where, line in steps)
        value = effective(mended.hosts[blamed], interface, "rp_filter")
        if tried:
            return "larger_counts", (
                f"On {blamed}'s {interface} the filter in force is still {value}: the larger of `all` and the "
                "interface counts."
            )
    if words.startswith("sent to") and mended.backends != evidence.backends:
        return "wrong_address", f"The balancer's frames for {name} are {words}. Which interface is on its segment?"
    where = "" if not steps or steps[0][0] == host else f" You worked on {steps[0][0]}, and {host} makes the mistake."
    return "not_mended", f"What the balancer sends to {name}: {words}.{where}"


def repaired(repair: Any, exhibits: list[Exhibit]) -> tuple[list[Steps], Verdict | None]:
    """The steps for each network, given the right diagnosis."""
    answers, verdict = asked(repair, [(one.evidence, *right(one.evidence)) for one in exhibits])
    if verdict:
        return [], verdict
    made = [steps_of(answer) for answer in answers]
    if None in made:
        bad = str(answers[made.index(None)])[:80]
        return [], Verdict("wrong_form", f"Give back a list of (host, command) pairs; yours is {bad}.")
    return [one for one in made if one is not None], None


def check_repair(repair: Any, seed: int = 1) -> Verdict:
    """Exercise 4: repair(evidence, fault, host) -> [(host, command), ...], for every recorded network."""
    exhibits = chosen(seed)
    made, verdict = repaired(repair, exhibits)
    if verdict:
        return verdict
    for exhibit, steps in zip(exhibits, made, strict=True):
        if found := flaw(exhibit.evidence, steps):
            shown = [f"{host}: {line}" for host, line in steps] or ["(no commands)"]
            fault, host = right(exhibit.evidence)
            return Verdict(*found, "\n".join([f"{exhibit.evidence.name}: {fault} at {host}", *shown]))
    return Verdict(RIGHT, f"Right: {len(exhibits)} networks mended, and each stays so when the router asks again.")


def show_repair(repair: Any) -> Table | Verdict:
    """One network for each mistake and host: what was done, and what becomes of packets now."""
    first = {(one.plan.fault, one.plan.host): one for one in reversed(recorded())}
    exhibits = [first[pair] for pair in COMBINATIONS]
    made, verdict = repaired(repair, exhibits)
    if verdict:
        return verdict
    rows = []
    for exhibit, steps in zip(exhibits, made, strict=True):
        try:
            now = fate(after(exhibit.evidence, steps))
            fates = [f"{name}: {words}" for name, (words, _) in now.backends.items()]
            ends = f"the router sends to {now.entry}; " + ", ".join(fates)
        except ValueError as error:
            ends = str(error)[:90]
        done = "; ".join(f"{host}: {line}" for host, line in steps)
        rows.append((f"{exhibit.plan.fault} at {exhibit.plan.host}", done, ends))
    return Table(("mistake", "your commands", "then"), tuple(rows))
