"""Whose word is taken: networks, asked often.

Rule of this file: addresses as text in, yes or no out.

Theory. Reading an address and comparing it with networks takes microseconds, and the same few peers ask again and
again: answers are remembered, a bounded number of them.

Trap. A listener for both families reports IPv4 peers as ::ffff:10.0.0.1; they are compared as what they are.
"""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from typing import Final

from lbcore.wire.forwarded import canonical

REMEMBERED: Final = 4096


def networks_of(texts: Iterable[str], where: str) -> tuple[IPv4Network | IPv6Network, ...]:
    """Networks such as 10.0.0.0/8 or 2001:db8::/32; one address alone is a network too. ValueError names `where`."""
    found = []
    for text in texts:
        try:
            found.append(ip_network(text))
        except ValueError as error:
            raise ValueError(f"{where} holds {text!r}: {error}; must be like 10.0.0.0/8 or 2001:db8::/32") from None
    return tuple(found)


class Trust:
    """A set of addresses, given by networks; `address in trust` is a look-up for those seen before."""

    def __init__(self, networks: Iterable[IPv4Network | IPv6Network]) -> None:
        self.networks: Final = tuple(networks)
        self._known: dict[str, bool] = {}

    def __contains__(self, address: str) -> bool:
        known = self._known.get(address)
        if known is None:
            if len(self._known) >= REMEMBERED:
                self._known.clear()
            known = self._known[address] = self._find(address)
        return known

    def _find(self, address: str) -> bool:
        plain = canonical(address)
        return plain is not None and any(ip_address(plain) in network for network in self.networks)
