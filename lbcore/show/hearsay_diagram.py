"""A request on its way through proxies, the list that the backend gets, and whom it believes by which rule.

Rule of this file: `lbcore.wire.forwarded` decides who is believed, but for the two rules that it does not offer because
they are wrong; here it is drawn.

Theory. The stage is fixed: a client, an edge (a CDN's), a balancer, an ingress, a backend. A client may come in by a
later door than it should, may sit in the same network as the edge, and may write what it likes before it knocks.
"""

from __future__ import annotations

from dataclasses import dataclass
from html import escape
from ipaddress import ip_address, ip_network

from lbcore.show.style import GREEN, VERMILION
from lbcore.show.twin import note
from lbcore.wire.forwarded import client_of, x_forwarded_for

PROXIES = (("edge", "192.0.2.10"), ("balancer", "10.0.0.2"), ("ingress", "10.0.1.3"))
OURS = (ip_network("192.0.2.0/24"), ip_network("10.0.0.0/8"))
CLIENTS = {"anywhere": "198.51.100.9", "in the edge's network": "192.0.2.77"}
LIES = {"nothing": "", "1.2.3.4": "1.2.3.4", "an address of ours": "10.0.0.7", "a whole chain": "1.2.3.4, 192.0.2.10"}
WRONG_RULES = ("peer", "leftmost")
RULES = (*WRONG_RULES, "1 proxy", "2 proxies", "3 proxies", "networks")
BOX = "display: inline-block; vertical-align: middle; text-align: center; padding: 3px 10px; margin: 2px 0"
BOX += "; border: 1px solid #888888; color: #111111"
CELL = "padding: 4px 10px; text-align: center; border: 1px solid #888888; color: #111111"
TRUE, FALSE, SELF = "#c4e8d8", "#f8cdb4", "#cfe6f5"


@dataclass(frozen=True)
class Hearsay:
    """One request; see `hearsay`."""

    rule: str
    lie: str
    client: str
    proxies: int
    skipped: int

    @property
    def way(self) -> tuple[tuple[str, str], ...]:
        """The proxies that the request really passes."""
        return PROXIES[: self.proxies][self.skipped :]

    @property
    def truth(self) -> str:
        """The client's address."""
        return CLIENTS[self.client]

    @property
    def entries(self) -> list[tuple[str, str]]:
        """(address, who says so) of all that the backend has, left to right, the peer last."""
        said = [(lie, "client") for lie in x_forwarded_for([LIES[self.lie]]) if lie]
        callers = [self.truth, *(address for _, address in self.way)]
        return said + list(zip(callers, [*(name for name, _ in self.way), "backend"], strict=True))

    @property
    def believed(self) -> str | None:
        """The address that the rule picks; None for nobody."""
        *listed, peer = (address for address, _ in self.entries)
        if self.rule in WRONG_RULES:
            return listed[0] if listed and self.rule == "leftmost" else peer
        trusted = OURS if self.rule == "networks" else int(self.rule[0])
        return client_of(peer, [", ".join(listed)], trusted)

    @property
    def chosen(self) -> int | None:
        """Which of the entries that is: the same address may stand in several."""
        size = len(self.entries)
        if self.rule == "networks":
            strangers = [at for at, (address, _) in enumerate(self.entries) if not ours(address)]
            return max(strangers, default=0)
        at = {"peer": size - 1, "leftmost": 0}.get(self.rule)
        at = size - 1 - int(self.rule[0]) if at is None else at
        return at if at >= 0 else None

    @property
    def verdict(self) -> str:
        """ "client", "lie", "proxy" or "nobody"."""
        if self.chosen is None:
            return "nobody"
        address, who = self.entries[self.chosen]
        return "lie" if who == "client" else "client" if address == self.truth else "proxy"

    def _repr_html_(self) -> str:
        hosts = [("client", self.truth, True)]
        hosts += [(name, address, (name, address) in self.way) for name, address in PROXIES[: self.proxies]]
        boxes = " → ".join(
            f'<span style="{BOX}; background-color: {"#f4f4f4" if passed else "#ffffff"}">{name}<br>'
            f"{escape(address) if passed else '(gone around)'}</span>"
            for name, address, passed in [*hosts, ("backend", "believes whom?", True)]
        )
        chosen = self.chosen
        cells = "".join(
            f'<td style="{CELL}; background-color: {FALSE if who == "client" else SELF if who == "backend" else TRUE}'
            f'{"; border: 3px solid #111111; font-weight: bold" if at == chosen else ""}">{escape(address)}</td>'
            for at, (address, who) in enumerate(self.entries)
        )
        marks = "".join(
            f'<td style="{CELL}; background-color: #ffffff">{"▲ believed" if at == chosen else ""}</td>'
            for at in range(len(self.entries))
        )
        by = "".join(
            f'<td style="{CELL}; background-color: #ffffff">{"its own connection" if who == "backend" else who}</td>'
            for _, who in self.entries
        )
        head = [f'<th style="{CELL}; background-color: #ffffff">{text}</th>' for text in ("address", "who says so", "")]
        rows = "".join(f"<tr>{name}{row}</tr>" for name, row in zip(head, (cells, by, marks), strict=True))
        table = f'<table style="border-collapse: collapse" aria-label="{escape(self.words)}">{rows}</table>'
        return f"<p>{boxes}</p>{table}{note(self.words, GREEN if self.verdict == 'client' else VERMILION)}"

    @property
    def words(self) -> str:
        """The verdict in a sentence."""
        return {
            "client": f"✓ {self.believed}: that is the client.",
            "lie": f"✗ {self.believed}: the client wrote that itself.",
            "proxy": f"✗ {self.believed}: a proxy. Every client behind it looks the same.",
            "nobody": "✗ The list is too short for this rule: nobody is named, and the request can be refused.",
        }[self.verdict]

    def __repr__(self) -> str:
        way = " > ".join(["client", *(name for name, _ in self.way), "backend"])
        listed = "  ".join(f"{address} ({who})" for address, who in self.entries)
        return f"{way}\n{listed}\n{self.rule}: {self.words}"


def ours(address: str) -> bool:
    """Whether the networks rule trusts it."""
    return any(ip_address(address) in network for network in OURS)


def hearsay(
    rule: str = "leftmost", lie: str = "1.2.3.4", client: str = "anywhere", proxies: int = 2, skipped: int = 0
) -> Hearsay:
    """Whom a backend believes. rule: one of RULES; lie: of LIES; client: of CLIENTS. proxies: 1 to 3; skipped: how many
    of them the client goes around. ValueError names what is none of these."""
    for name, value, known in (("rule", rule, RULES), ("lie", lie, LIES), ("client", client, CLIENTS)):
        if value not in known:
            raise ValueError(f"{name} is {value!r}, wanted one of: {', '.join(known)}")
    if not 0 <= skipped <= proxies <= len(PROXIES) or not proxies:
        raise ValueError(f"proxies is {proxies}, skipped {skipped}; wanted 1 to {len(PROXIES)}, and at most so many")
    return Hearsay(rule, lie, client, proxies, skipped)
