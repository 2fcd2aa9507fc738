"""What becomes of a client's packet: Linux's rules for a virtual address, as far as this lab needs them.

Rule of this file: it reasons from readings, and sends nothing. A test lets it and real hosts answer the same questions.

Theory (Linux: ip-sysctl, and net/ipv4 where it is silent).
- An address of any interface is taken on every interface. One that is nobody's is dropped, and counted (InAddrErrors).
- The larger of `all` and the interface's own value counts, for rp_filter, arp_ignore and arp_announce.
- rp_filter 1: a packet is dropped unless the way back to its source leads out of the interface that it came in by.
  2 asks only that there be a way.
- arp_ignore 0: a host answers for any address that it has. 1: for those of the interface that was asked. 2: to askers
  of the same subnet only, as well. 8: for none.
- arp_announce 0: it asks with the source address of the packet that waits. 1, 2: with one that fits the neighbour.
"""

from __future__ import annotations

from typing import NamedTuple

from lbcore.labs.dsr.evidence import Evidence, Readings

SEGMENT = ("balancer", "b1", "b2")
"""Who is asked, by the router, for the virtual address."""
SERVED = "served"


class Fate(NamedTuple):
    """backends: what becomes of the packets that the balancer means for each; `SERVED` or why not, and the host that
    is to blame. entry: who gets what the router sends to the virtual address; "balancer" if all is well."""

    entry: str
    backends: dict[str, tuple[str, str]]

    @property
    def flows(self) -> bool:
        """Does traffic come to all backends, by way of the balancer?"""
        return self.entry == "balancer" and all(words == SERVED for words, _ in self.backends.values())


def effective(host: Readings, interface: str, name: str) -> int:
    """A setting's value in force."""
    return max(host.settings.get(f"{scope}.{name}", 0) for scope in ("all", interface))


def answers(host: Readings, vip: str, interface: str = "eth0") -> bool:
    """Does it answer, when asked for `vip` by ARP on an interface (from a subnet that is not the address's)?"""
    here = vip in host.addresses.get(interface, [])
    has = any(vip in some for some in host.addresses.values())
    value = effective(host, interface, "arp_ignore")
    return {0: has, 1: here, 2: False}.get(value, has and value < 8)


def announces(host: Readings, vip: str) -> bool:
    """Does it ask for its gateway with `vip` as the sender, when a reply from `vip` is waiting?"""
    return any(vip in some for some in host.addresses.values()) and effective(host, "eth1", "arp_announce") == 0


def takes(host: Readings, vip: str) -> str:
    """What it does with a client's packet that comes in by eth0, the way back being eth1."""
    if effective(host, "eth0", "rp_filter") == 1:
        return "dropped by rp_filter"
    return SERVED if any(vip in some for some in host.addresses.values()) else "not its address"


def fate(evidence: Evidence) -> Fate:
    """What becomes of the client's packets in a network."""
    hosts, vip = evidence.hosts, evidence.vip
    by_mac = {host.ethernet["eth0"]: name for name, host in hosts.items() if name in SEGMENT}
    known = hosts["router"].neighbours.get("eth1", {}).get(vip)
    asked = [name for name in SEGMENT if answers(hosts[name], vip)]
    entry = by_mac.get(known, "nobody") if known else " or ".join(asked) or "nobody"
    found = {}
    for address, mac in evidence.backends.items():
        meant = next(name for name, host in hosts.items() if address in host.addresses.get("eth0", []))
        there = by_mac.get(mac)
        if there != meant:
            found[meant] = (f"sent to {there or 'nobody'}", "balancer")
        elif (words := takes(hosts[meant], vip)) != SERVED:
            found[meant] = (words, meant)
        elif effective(hosts["router"], "eth2", "rp_filter") == 1:
            found[meant] = ("its answer is dropped by rp_filter", "router")
        else:
            found[meant] = (SERVED, "")
    return Fate(entry, found)
