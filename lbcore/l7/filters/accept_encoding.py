"""Which content coding a client wants (RFC 9110, 12.5.3).

Rule of this file: the field's value and what is on offer in, one coding or None out.

Theory. `gzip;q=0.5, br, *;q=0` is a list of wishes, each with a weight from 0 to 1 in steps of 0.001; 0 means never,
`*` means all that are not named. Without the field anything would do by the letter; old clients that send none could
not read it, so nothing is compressed for them.

Trap. A weight that cannot be read is taken for 0: better a long answer than one that cannot be read.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

WEIGHT: Final = re.compile(rb"[ \t]*[qQ]=(0(?:\.[0-9]{0,3})?|1(?:\.0{0,3})?)")
SAME: Final = {b"x-gzip": b"gzip"}  # RFC 9110, 8.4.1.3


def weights(value: bytes) -> dict[bytes, float]:
    """Coding, in lower case, to its weight; of a coding that stands there twice the lower one."""
    found: dict[bytes, float] = {}
    for element in value.split(b","):
        name, semicolon, parameter = element.partition(b";")
        name = name.strip(b" \t").lower()
        if name:
            name = SAME.get(name, name)
            match = WEIGHT.fullmatch(parameter.rstrip(b" \t")) if semicolon else None
            weight = float(match[1]) if match else 0.0 if semicolon else 1.0
            found[name] = min(weight, found.get(name, 1.0))
    return found


def choose(value: bytes, offered: Sequence[bytes]) -> bytes | None:
    """The one of `offered` that is liked best, the earlier of two that are liked equally; None: as it is.

    identity, when it is named, wins against what is liked less than it.
    """
    wanted = weights(value)
    other = wanted.get(b"*", 0.0)
    best = max(offered, key=lambda coding: wanted.get(coding, other), default=None)
    if best is None:
        return None
    weight = wanted.get(best, other)
    return best if weight > 0 and weight >= wanted.get(b"identity", 0.0) else None
