"""How often a cache is right: things with Zipf's popularity, and a store that is too small for all of them.

Rule of this file: requests from a random generator, the store that the proxy's cache uses, hits counted.

Theory. On the Web the n-th most wanted thing is wanted about 1/n**s times as often as the first, s near 1 (Breslau et
al., 1999: 0.64 to 0.83 behind proxies). So a small store catches many requests, and each further share of hits costs
many times the room of the one before.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from lbcore.l7.cache.entry import entry_of
from lbcore.l7.cache.store import MemoryStore
from lbcore.l7.message import Headers


def wanted(things: int, s: float, requests: int, rng: np.random.Generator) -> npt.NDArray[np.int64]:
    """Which thing each request is for, int64, shape (requests,); 0 is the most popular."""
    weights = np.arange(1, things + 1) ** -float(s)
    return rng.choice(things, requests, p=weights / weights.sum())


def hits(asked: npt.NDArray[np.int64], room: int) -> float:
    """The share of requests found in a store with room for so many things of 1000 bytes; it begins empty."""
    entry = entry_of(200, Headers(), (), 0.0, 0.0, 3600.0, bytes(1000))
    store = MemoryStore(room * (entry.size + 8))
    found = 0
    for thing in asked.tolist():
        key = b"%08d" % thing
        if store.get(key):
            found += 1
        else:
            store.put(key, entry)
    return found / len(asked)
