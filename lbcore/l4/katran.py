"""How Katran's control plane builds a ring, so that this balancer and a Katran send every flow to the same backend.

Rule of this file: from addresses to ring; facts of facebookincubator/katran (MaglevBase.cpp, Vip.cpp) and of folly,
whose hash of an IP address it uses.

Theory. A backend is known by a 64-bit number, the hash of its address. Backends take their turns in the order of these
numbers, and their walks come from MurmurHash3 of them. Whoever wants the same ring must do all three alike.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from typing import Any

from lbcore.balance.hashes.fnv import fnv1_32
from lbcore.balance.hashes.spooky import spooky128
from lbcore.balance.maglev import RECIPES, Maglev
from lbcore.wire.words import MASK64

FAMILY4, FAMILY6 = 2, 10
"""AF_INET and AF_INET6, as Linux numbers them."""
MULTIPLIER = 0x9DDFEA08EB382D69


def hash_128_to_64(upper: int, lower: int) -> int:
    """Murmur-inspired, from CityHash: two 64-bit words into one."""
    a = ((lower ^ upper) * MULTIPLIER) & MASK64
    a ^= a >> 47
    b = ((upper ^ a) * MULTIPLIER) & MASK64
    b ^= b >> 47
    return (b * MULTIPLIER) & MASK64


def address_number(address: str) -> int:
    """The 64-bit number that a backend's address stands for."""
    ip = ipaddress.ip_address(address)
    if ip.version == 4:
        return hash_128_to_64(FAMILY4, fnv1_32(ip.packed))
    return hash_128_to_64(FAMILY6, hash_128_to_64(*spooky128(ip.packed)))


def ring(addresses: Sequence[str], weights: Sequence[float], size: int) -> Any:
    """int32[size]: for each slot, which of `addresses` it belongs to."""
    numbers = [address_number(address) for address in addresses]
    return Maglev(numbers, size=size, weights=weights, recipe=RECIPES["katran_v2"]).table
