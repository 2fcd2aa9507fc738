"""Users behind shared addresses, sessions of very different lengths: what sticking to a server does to its load.

Rule of this file: numbers of users and seconds; nothing is sent. The picker is the real one, `lbcore.balance.maglev`.

The model. Users share addresses, a few of them with thousands of others: the address of rank r has a share of the users
that falls as r ** -tail (Zipf). An operator's addresses are neighbours, so ranks next to each other lie in one /24,
`PER_BLOCK` of them. A key (a user's cookie, an address, a /24) goes to one backend as a whole.

Theory. However good a hash is, it places keys, and cannot split one. The fullest backend has at least the largest key's
users. With more backends the mean falls and the largest key does not: max/mean grows.

Trap. Sessions that are running at a given moment are not like sessions in general: long ones are more likely to be
running (the inspection paradox). Who drains a server meets those.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from lbcore.balance.maglev import Maglev

Counts = npt.NDArray[np.int64]
Seconds = npt.NDArray[np.float64]
KEYS = ("cookie", "address", "/24")
PER_BLOCK = 16  # addresses in use in one /24
SLOTS = 65537


def crowds(users: int = 100_000, addresses: int = 20_000, tail: float = 0.8, seed: int = 0) -> Counts:
    """Users behind each address, the largest expected first: int64[addresses], their sum is `users`.

    tail: 0 shares them out alike; the larger, the more users sit behind a few addresses. ValueError for a number that
    cannot be.
    """
    for name, value in (("users", users), ("addresses", addresses)):
        if value < 1:
            raise ValueError(f"{name} is {value}, wanted at least 1")
    if not 0 <= tail <= 3:
        raise ValueError(f"tail is {tail}, wanted 0 (all alike) to 3")
    weight = np.arange(1, addresses + 1, dtype=np.float64) ** -tail
    return np.asarray(np.random.default_rng(seed).multinomial(users, weight / weight.sum()), np.int64)


def blocks(crowd: Counts) -> Counts:
    """The same users by /24: int64[addresses / PER_BLOCK, rounded up]."""
    padded = np.concatenate([crowd, np.zeros(-crowd.size % PER_BLOCK, np.int64)])
    return np.asarray(padded.reshape(-1, PER_BLOCK).sum(axis=1))


def loads(crowd: Counts, key: str, backends: int, seed: int = 0) -> Counts:
    """Users of each backend when they are placed by `key`: int64[backends].

    "address" and "/24": by a hash through Maglev's table. "cookie": each user is placed alone, in turn. ValueError for
    another key, or fewer than one backend.
    """
    if key not in KEYS:
        raise ValueError(f"key is {key!r}, wanted one of: {', '.join(KEYS)}")
    if backends < 1:
        raise ValueError(f"backends is {backends}, wanted at least 1")
    if key == "cookie":
        return np.asarray((int(crowd.sum()) + np.arange(backends)) // backends, np.int64)
    sizes = crowd if key == "address" else blocks(crowd)
    hashes = np.random.default_rng(seed).integers(0, 2**64, sizes.size, dtype=np.uint64)
    table = Maglev([f"backend {i}" for i in range(backends)], size=SLOTS)
    return np.asarray(np.bincount(table.pick_many(hashes), weights=sizes, minlength=backends), np.int64)


def max_over_mean(load: Counts) -> float:
    """How many times its fair share the fullest backend has; 1 is even."""
    return float(load.max() / load.mean())


def unevenness(crowd: Counts, key: str, backends: int, draws: int = 25) -> float:
    """The median of max/mean over so many hash functions."""
    return float(np.median([max_over_mean(loads(crowd, key, backends, seed)) for seed in range(draws)]))


def lengths(count: int, median: float = 600.0, spread: float = 1.2, seed: int = 0) -> Seconds:
    """Lengths of sessions, log-normal: float64[count]. spread: of the logarithm; 0 makes all alike."""
    return np.asarray(median * np.exp(spread * np.random.default_rng(seed).standard_normal(count)))


def remaining(every: Seconds, seed: int = 1) -> Seconds:
    """What is left of the sessions that run at a moment, of sessions of these lengths that begin evenly over time.

    float64[n], ascending; n is chance. Sessions begin over twice the longest length, and the moment is in the middle:
    early enough that all which could still run have begun.
    """
    longest = float(every.max())
    starts = np.random.default_rng(seed).uniform(0, 2 * longest, every.size)
    left = starts + every - longest
    return np.asarray(np.sort(left[(starts <= longest) & (left > 0)]))
