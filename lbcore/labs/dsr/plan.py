"""Which mistake a seed stands for, and where it is made.

Rule of this file: it chooses; making the mistake is `network`'s business, finding it the student's.

Theory. Four mistakes, each at every host where it can be made, and each in two forms: a setting may be wrong for one
interface or for all, an address missing or mistyped. Beside the mistake stand decoys, settings that look like one and
harm nobody: a strict filter where all packets come by the way that answers go, a talkative host that has not got the
virtual address.
"""

from __future__ import annotations

import random
from dataclasses import dataclass

FAULTS = {
    "rp_filter": ("b1", "b2", "router"),
    "no_vip": ("b1", "b2"),
    "arp": ("b1", "b2"),
    "wrong_mac": ("balancer",),
}
"""Each mistake, and the hosts that can make it."""
COMBINATIONS = [(fault, host) for fault, hosts in FAULTS.items() for host in hosts]
DECOYS = (
    ("client", "all.rp_filter", 1),
    ("router", "eth1.arp_ignore", 0),
    ("b1", "eth1.rp_filter", 1),
    ("b2", "eth1.rp_filter", 1),
)
STOCK = {
    f"{scope}.{name}": value
    for name, value in {"rp_filter": 1, "arp_ignore": 0, "arp_announce": 0}.items()
    for scope in ("all", "eth0", "eth1")
}
"""A backend as it came: a strict filter everywhere, and ARP as Linux has it."""
Setting = tuple[str, str, int]
"""Host, setting below net/ipv4/conf with a dot, value."""


@dataclass(frozen=True)
class Plan:
    """One broken network. fault, host: the mistake and who makes it; "" for a network without one.

    victim: the backend whose Ethernet address the balancer has wrong, and `mac` what it has. scope: "all" or "eth0",
    where a strict filter is set (at the router "eth2" for eth0). typo: a virtual address nearly right, or "".
    """

    seed: int
    fault: str
    host: str
    vip: str
    victim: str = "b1"
    mac: str = ""
    scope: str = "all"
    typo: str = ""
    decoys: tuple[Setting, ...] = ()


def plan(seed: int) -> Plan:
    """The plan of a seed: a mistake, drawn from `COMBINATIONS`, its form, and decoys."""
    rng = random.Random(seed)
    fault, host = rng.choice(COMBINATIONS)
    last = rng.randrange(20, 200)
    scope = rng.choice(["all", "eth2" if host == "router" else "eth0"])
    return Plan(
        seed,
        fault,
        host,
        vip=f"203.0.113.{last}",
        victim=rng.choice(["b1", "b2"]),
        mac=f"02:00:00:00:{rng.randrange(1, 256):02x}:{rng.randrange(256):02x}",
        scope=scope,
        typo=rng.choice(["", f"203.0.113.{last + 1}"]),
        decoys=tuple(one for one in DECOYS if rng.random() < 0.5),
    )


def sound(seed: int = 0) -> Plan:
    """A network without a mistake."""
    return Plan(seed, "", "", vip="203.0.113.80")
