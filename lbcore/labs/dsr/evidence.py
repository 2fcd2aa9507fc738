"""What can be known of a network from outside: readings of each host, captures at each hop, counters.

Rule of this file: it holds what was seen, and where it was seen. It draws no conclusions.

Theory. The evidence is plain data, so a recording of it serves where no network can be built. A recording says which
host, kernel, date and command it comes from, and is never shown without saying so.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from lbcore.labs.dsr.plan import Plan, plan
from lbcore.measure.facts import facts
from lbcore.measure.recorded import Recorded

FILE = Path(__file__).parents[3] / "labs" / "recorded" / "dsr.json"
COMMAND = "python -c 'from lbcore.labs.dsr.evidence import record; record()'"
LIVE = "seen on this machine, just now"
SEEDS = tuple(range(24))
"""Of the recorded networks."""
PLACES = ("client", "router", "balancer", "b1", "b2", "back")
"""Where frames were captured: at the client, on the segment's interfaces, and at the router on the way back."""


class Frame(NamedTuple):
    """way: "in" or "out", as the host at that place sees it."""

    way: str
    data: bytes


@dataclass(frozen=True)
class Readings:
    """One host.

    ethernet: by interface. addresses: by interface, without prefixes (`ip addr`). neighbours: by interface, address to
    Ethernet address (`ip neigh`). settings: "all.rp_filter", "eth0.arp_ignore", ... (`sysctl net.ipv4.conf`).
    counters: by how much each grew while the client tried (`nstat`).
    """

    ethernet: dict[str, str]
    addresses: dict[str, list[str]]
    neighbours: dict[str, dict[str, str]]
    settings: dict[str, int]
    counters: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True, repr=False)
class Evidence:
    """One network, seen while a client tried to connect.

    hosts: "client", "router", "balancer", "b1", "b2". backends: the balancer's configuration, address to Ethernet
    address. reasons: what became of the packets that it handled. frames: by `PLACES`. answered: by the client's port.
    name: "network 7". label: from where this is.
    """

    name: str
    vip: str
    hosts: dict[str, Readings]
    backends: dict[str, str]
    reasons: dict[str, int]
    frames: dict[str, list[Frame]]
    answered: dict[int, bool]
    label: str = LIVE

    def __repr__(self) -> str:
        came, tried = sum(self.answered.values()), len(self.answered)
        handled = self.reasons.get("forwarded", 0)
        return f"<{self.name}: {self.vip}, {came} of {tried} connections, {handled} packets forwarded>"


class Exhibit(NamedTuple):
    """Evidence, and what it is evidence of."""

    plan: Plan
    evidence: Evidence


def to_json(evidence: Evidence) -> dict[str, Any]:
    """As a recording holds it: frames in hex."""
    plain = asdict(evidence)
    del plain["label"]
    return plain | {
        "frames": {at: [f"{way} {data.hex()}" for way, data in some] for at, some in evidence.frames.items()}
    }


def from_json(content: dict[str, Any], label: str) -> Evidence:
    """The other way."""
    hosts = {name: Readings(**readings) for name, readings in content["hosts"].items()}
    lines = {at: [line.split(" ") for line in some] for at, some in content["frames"].items()}
    frames = {at: [Frame(way, bytes.fromhex(data)) for way, data in some] for at, some in lines.items()}
    answered = {int(port): came for port, came in content["answered"].items()}
    return Evidence(**content | {"hosts": hosts, "frames": frames, "answered": answered, "label": label})


@functools.cache
def recorded() -> tuple[Exhibit, ...]:
    """All recorded networks."""
    content = json.loads(FILE.read_text())
    label = Recorded("dsr", {}, content["origin"], content["origin"]["command"]).label
    return tuple(Exhibit(plan(one["seed"]), from_json(one["evidence"], label)) for one in content["networks"])


def record(seeds: Sequence[int] = SEEDS, path: Path = FILE) -> Path:
    """Build the networks of `seeds`, one after the other, and write down what is seen (tier 1)."""
    from lbcore.labs.dsr.network import Network

    networks = []
    for seed in seeds:
        with Network(plan(seed)) as net:
            networks.append({"seed": seed, "evidence": to_json(net.evidence())})
    origin = facts() | {"command": COMMAND}
    lines = ",\n".join(json.dumps(one) for one in networks)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f'{{"origin": {json.dumps(origin)},\n"networks": [\n{lines}\n]}}\n')
    return path
