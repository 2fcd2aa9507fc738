"""Who the client is, when HTTP proxies say so: X-Forwarded-For and Forwarded (RFC 7239).

Rule of this file: header values in, addresses out. The only thing known for sure is the peer, whom the TCP connection
names; all else is hearsay, and the caller says whom it trusts.

Theory. Each proxy appends the address that its own connection came from, on the right. So the list reads from the
client, left, to the last proxy but one, right, and the peer is that last proxy. An entry is as true as the one who
wrote it, and that is whoever stands right of it. So walk from the right: believe the peer; as long as the one believed
is a proxy of ours, believe what it wrote. The first that is not ours is the client. All that is left of it, the client
may have written itself.

Two ways to say "ours": networks, or a number of proxies. The number is right only as long as nobody can come by a
shorter way; where the list is too short for it, nobody is named rather than somebody else.

Traps
- Leftmost is whatever the client wrote. There is no way to see that from the list.
- Two fields, one truth: a proxy that appends to one of them passes the other on as the client sent it. So the caller
  names the one field that its proxies write, and the other is not looked at.
- One field may come in several lines: they are one list, in order (RFC 9110 section 5.3). The last line alone is the
  right end of it; the first line alone is the client's.
- In Forwarded a quoted string may hold commas. A client that opens a quote and never closes it swallows what proxies
  append. Such a list is Malformed: refuse the request.
- A listener for both families reports IPv4 peers as ::ffff:10.0.0.1, which is in none of the networks meant.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_address

from lbcore.wire.errors import Malformed

Trusted = int | Sequence[IPv4Network | IPv6Network]
"""How many proxies stand in front, the peer included; or the networks that they are in."""

NODE = re.compile(
    r"(?:\[(?P<six>[0-9A-Fa-f]*:[0-9A-Fa-f:.]+)\]|(?P<four>[0-9.]+))(?::(?:[0-9]{1,5}|_[A-Za-z0-9._-]+))?"
)
PAIR = re.compile(
    r"(?P<name>[!#$%&'*+.^_`|~0-9A-Za-z-]+)="
    r"(?:(?P<token>[!#$%&'*+.^_`|~0-9A-Za-z-]+)|\"(?P<quoted>(?:[\t !#-\[\]-~\x80-\xff]|\\[\t -~\x80-\xff])*)\")"
)
GAP, OWS, EMPTY = re.compile(r"[ \t,]*"), re.compile(r"[ \t]*"), re.compile(r"[ \t;]*")


def canonical(text: str) -> str | None:
    """An address in its one form, IPv4 within IPv6 as IPv4; None for what is no address."""
    try:
        address = ip_address(text)
    except ValueError:
        return None
    if isinstance(address, IPv6Address):
        if address.scope_id is not None:
            return None
        address = address.ipv4_mapped or address
    return str(address)


def address_of(node: str) -> str | None:
    """The address of an entry, with or without a port: "192.0.2.7", "192.0.2.7:80", "[2001:db8::1]:80", "2001:db8::1".

    None for "unknown", for "_hidden" (RFC 7239 section 6) and for anything else.
    """
    found = NODE.fullmatch(node)
    return canonical((found["six"] or found["four"]) if found else node)


def x_forwarded_for(values: Iterable[str]) -> list[str | None]:
    """The list that these lines of the field make, left to right; None for an entry that is no address."""
    entries = (entry.strip(" \t") for value in values for entry in value.split(","))
    return [address_of(entry) for entry in entries if entry]


def forwarded(values: Iterable[str]) -> list[dict[str, str]]:
    """The elements that these lines of the field make (RFC 7239 section 4), by lower-cased name, unquoted.

    Malformed if the syntax is not the RFC's, or an element says something twice.
    """
    elements: list[dict[str, str]] = []
    for value in values:
        at = GAP.match(value).end()  # type: ignore[union-attr]  # it matches nothing, too
        while at < len(value):
            element, at = _element(value, at)
            elements.append(element)
    return elements


def _element(value: str, at: int) -> tuple[dict[str, str], int]:
    """One element, and where the next one starts."""
    element: dict[str, str] = {}
    while True:
        at = EMPTY.match(value, at).end()  # type: ignore[union-attr]
        if value[at : at + 1] in ("", ","):
            break
        pair = PAIR.match(value, at)
        if not pair:
            raise Malformed("Forwarded", ascii(value[at : at + 20]), 'must be name=token or name="text"', at)
        name, quoted = pair["name"].lower(), pair["quoted"]
        if name in element:
            raise Malformed("Forwarded", ascii(name), "must be there once in an element (RFC 7239 section 4)", at)
        element[name] = pair["token"] if quoted is None else re.sub(r"\\(.)", r"\1", quoted)
        at = OWS.match(value, pair.end()).end()  # type: ignore[union-attr]
        if value[at : at + 1] not in ("", ";", ","):
            raise Malformed("Forwarded", ascii(value[at : at + 20]), "must go on with ';' or ',', or end", at)
    return element, GAP.match(value, at).end()  # type: ignore[union-attr]


def element(peer: str, **said: str) -> str:
    """What a proxy appends to Forwarded: element("2001:db8::1", proto="https") is 'for="[2001:db8::1]";proto=https'."""
    node = f"[{peer}]" if ":" in peer else peer
    return ";".join(f"{name}={_quoted(text)}" for name, text in {"for": node, **said}.items())


def _quoted(text: str) -> str:
    if re.fullmatch(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+", text):
        return text
    return '"' + re.sub(r'(["\\])', r"\\\1", text) + '"'


def forwarded_for(values: Iterable[str]) -> list[str | None]:
    """The addresses of Forwarded's elements, left to right; None where one names none. Malformed as `forwarded`."""
    return [address_of(said.get("for", "")) for said in forwarded(values)]


CHAINS = {"x-forwarded-for": x_forwarded_for, "forwarded": forwarded_for}


def client_of(peer: str, values: Iterable[str], trusted: Trusted, field: str = "x-forwarded-for") -> str | None:
    """The client's address, for who trusts these proxies; None if the last of them does not name one.

    values: of all lines of the field, in order (bytes as Latin-1: RFC 9110 section 5.5). field: which one it is,
    "x-forwarded-for" or "forwarded": the one that these proxies write, and no other. Malformed for a Forwarded that
    cannot be read; ValueError for another field, a negative number, or a peer that is no address.
    """
    if field not in CHAINS:
        raise ValueError(f"field is {field!r}; must be one of {', '.join(CHAINS)}")
    if isinstance(trusted, int) and trusted < 0:
        raise ValueError(f"trusted is {trusted}; must be 0 or more proxies")
    last = canonical(peer)
    if last is None:
        raise ValueError(f"peer is {peer!r}; must be an address")
    return believed([*CHAINS[field](values), last], trusted)


def believed(chain: Sequence[str | None], trusted: Trusted) -> str | None:
    """The client of a chain: what each proxy said, left to right, and then the peer. None if nobody says."""
    if isinstance(trusted, int):
        return chain[-1 - trusted] if trusted < len(chain) else None
    for address in reversed(chain):
        if address is None or not _within(address, trusted):
            return address
    return chain[0]


def _within(address: str, networks: Iterable[IPv4Network | IPv6Network]) -> bool:
    return any(ip_address(address) in network for network in networks)
