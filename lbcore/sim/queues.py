"""Queues behind a balancer: how long requests wait under each way of choosing a backend.

Rule of this file: it simulates. Every number it gives belongs to the model below and to no server of yours.

The model. Requests arrive in a Poisson stream. Each needs a random amount of work, on average one unit, and one unit is
what a processor does in one unit of time. A backend works on up to `concurrency` requests at once, the others queue in
order of arrival; those at work share its `processors` equally, none getting more than one. So 1 and 1 is the textbook's
first-come-first-served queue, many and 1 is processor sharing, c and c is a bank counter with c clerks, and many and
many is a backend that only waits for somebody else. A choice takes no time and reaches the backend at once.

Theory. Only arrivals are events. What happened at a backend since it was last looked at is worked out when somebody
looks (`advance`), so there is no event list, and a request costs a few dozen instructions for each backend examined.
Sharing is kept on a virtual clock: it runs at 1/k of real time while k requests share a processor, so each request
leaves at a virtual moment that is known on entry, whoever comes or goes later.

A `Load` holds everything random, drawn once. Policies that are run on one load face the same requests, the same work
and the same luck (common random numbers), so that differences between them are theirs.

Traps. A queue starts empty: leave out the first part (`Outcome.settled`). Close to full load, means converge slowly:
the noise of a mean wait grows like 1 / (1 - utilisation)**2.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from lbcore.jit import kernel

Floats = npt.NDArray[np.float64]
Picks = npt.NDArray[np.int32]
Policy = str | int | npt.NDArray[np.integer[Any]]

CANDIDATES = {"random": 1, "power of two": 2}  # how many backends a policy compares; "least connections": all
POLICIES = ("random", "round robin", "least connections", "power of two")


# ------------------------------------------------------------------------------------------------------- the load
def gamma(rng: np.random.Generator, cv: float, size: int) -> Floats:
    """Mean 1, coefficient of variation `cv`: exponential at 1, steadier below, many trifles and few giants above."""
    return rng.gamma(1 / cv**2, cv**2, size)


def lognormal(rng: np.random.Generator, cv: float, size: int) -> Floats:
    """Mean 1, coefficient of variation `cv`, with the longer tail that measured service times often have."""
    spread = np.sqrt(np.log1p(cv**2))
    return rng.lognormal(-(spread**2) / 2, spread, size)


MIXES: Mapping[str, Callable[[np.random.Generator, float, int], Floats]] = {"gamma": gamma, "lognormal": lognormal}


@dataclass(frozen=True)
class Load:
    """n requests for a number of backends, and the luck that policies draw on."""

    backends: int
    arrival: Floats  # float64[n], ascending
    work: Floats  # float64[n], mean 1
    luck: npt.NDArray[np.uint64]  # uint64[n]


def poisson(
    backends: int, utilisation: float, requests: int, *, cv: float = 1.0, mix: str = "gamma", seed: int = 0
) -> Load:
    """`requests` arrivals that bring each of `backends` on average `utilisation` units of work in a unit of time.

    A backend with one processor is busy for that share of the time; from 1 on it is overloaded. `cv` is the work's
    standard deviation over its mean: 0 constant, 1 exponential. ValueError names a bad argument.
    """
    for name, value in (("backends", backends), ("requests", requests)):
        if value < 1:
            raise ValueError(f"{name} is {value}, wanted at least 1")
    if not 0 < utilisation < np.inf:
        raise ValueError(f"utilisation is {utilisation}, wanted a number above 0, such as 0.8")
    if not 0 <= cv < np.inf:
        raise ValueError(f"cv is {cv}, wanted a number from 0")
    if mix not in MIXES:
        raise ValueError(f"mix is {mix!r}, wanted one of: {', '.join(MIXES)}")
    rng = np.random.default_rng(seed)
    gaps = rng.exponential(1 / (utilisation * backends), requests)
    luck = rng.integers(0, 2**64, requests, dtype=np.uint64)
    work = MIXES[mix](rng, cv, requests) if cv else np.ones(requests)
    return Load(backends, np.cumsum(gaps), work, luck)


# ---------------------------------------------------------------------------------------------------- the backends
class Pool(NamedTuple):
    """What goes on at B backends. Row b of an array belongs to backend b."""

    processors: Any  # float: of each backend
    now: Any  # float64[B]: real time up to which b has been worked out
    virtual: Any  # float64[B]: its virtual clock
    active: Any  # int64[B]: number of requests being worked on
    request: Any  # int64[B, concurrency]: which ones
    leaves: Any  # float64[B, concurrency]: at which virtual time each is done
    slot: Any  # int64[B]: which of them is done first
    soonest: Any  # float64[B]: and at what real time, if nobody comes; infinite when b is idle
    first: Any  # int64[B]: front of the queue, -1 when it is empty
    last: Any  # int64[B]: its back
    behind: Any  # int64[n]: who queues behind a request, -1 for nobody
    total: Any  # int64[B]: outstanding requests, active and queued
    sent: Any  # int64[balancers, B]: the same by who sent them


@kernel
def slowness(pool: Pool, b: int) -> float:
    """Real time for a unit of work at backend b, which is at work: 1 while everyone has a processor."""
    return float(max(1.0, pool.active[b] / pool.processors))


@kernel
def plan(pool: Pool, b: int) -> None:
    """Find out who leaves backend b next, and when."""
    if pool.active[b] == 0:
        pool.virtual[b] = 0.0  # an idle backend's clock may as well start again: small numbers keep their digits
        pool.soonest[b] = np.inf
        return
    slot = np.argmin(pool.leaves[b, : pool.active[b]])
    pool.slot[b] = slot
    pool.soonest[b] = pool.now[b] + max(pool.leaves[b, slot] - pool.virtual[b], 0.0) * slowness(pool, b)


@kernel
def start(pool: Pool, b: int, i: int, work: float) -> None:
    """Backend b begins to work on request i."""
    slot = pool.active[b]
    pool.request[b, slot] = i
    pool.leaves[b, slot] = pool.virtual[b] + work
    pool.active[b] += 1


@kernel
def advance(pool: Pool, b: int, until: float, work: Any, owner: Any, finish: Any) -> None:
    """Work out backend b up to the time `until`: who leaves, and who comes in from the queue."""
    while pool.soonest[b] <= until and pool.active[b] > 0:
        slot, end = pool.slot[b], pool.active[b] - 1
        done = pool.request[b, slot]
        pool.now[b] = finish[done] = pool.soonest[b]
        pool.virtual[b] = pool.leaves[b, slot]
        pool.total[b] -= 1
        pool.sent[owner[done], b] -= 1
        pool.active[b] = end
        pool.request[b, slot] = pool.request[b, end]
        pool.leaves[b, slot] = pool.leaves[b, end]
        i = pool.first[b]
        if i >= 0:
            pool.first[b] = pool.behind[i]
            start(pool, b, i, work[i])
        plan(pool, b)
    if pool.active[b] > 0:
        pool.virtual[b] += (until - pool.now[b]) / slowness(pool, b)
    pool.now[b] = until


@kernel
def admit(pool: Pool, b: int, i: int, work: Any) -> None:
    """Request i reaches backend b, which has been worked out up to this moment."""
    if pool.active[b] < pool.request.shape[1]:
        start(pool, b, i, work[i])
        plan(pool, b)
        return
    if pool.first[b] < 0:
        pool.first[b] = i
    else:
        pool.behind[pool.last[b]] = i
    pool.last[b] = i


# ---------------------------------------------------------------------------------------------------- the balancers
@kernel
def scramble(word: Any) -> Any:
    """The next number of a SplitMix64 sequence (uint64)."""
    word += np.uint64(0x9E3779B97F4A7C15)
    word = (word ^ (word >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    word = (word ^ (word >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return word ^ (word >> np.uint64(31))


@kernel
def simulate(pool, arrival, demand, scale, fixed, luck, owner, picks, candidates, refresh):  # type: ignore[no-untyped-def]
    """Run all requests; (backend int32[n], work float64[n], finish float64[n]).

    Request i costs `fixed[b] + scale[b] * demand[i]` at backend b. It goes to `picks[i]`, or, when `picks` is empty,
    to the one with the fewest outstanding requests among `candidates` backends drawn at random. "Fewest" in whose
    eyes: `refresh` < 0, of the requests that this balancer sent; 0, of all; above 0, of all as it was at the last
    multiple of `refresh`.
    """
    n, backends = arrival.size, scale.size
    backend, work, finish = np.empty(n, np.int32), np.empty(n), np.empty(n)
    order = np.arange(backends)
    board = pool.total if refresh <= 0 else np.zeros_like(pool.total)
    posted = 0.0
    for i in range(n):
        now = arrival[i]
        if refresh > 0 and now >= posted + refresh:
            posted = np.floor(now / refresh) * refresh
            for b in range(backends):
                advance(pool, b, posted, work, owner, finish)
                board[b] = pool.total[b]
        best, word = -1, luck[i]
        if picks.size:
            best = picks[i]
        else:
            seen = pool.sent[owner[i]] if refresh < 0 else board
            for k in range(candidates):  # the first steps of a shuffle: distinct, and in random order, so ties are fair
                word = scramble(word)
                j = k + np.int64(((word >> np.uint64(32)) * np.uint64(backends - k)) >> np.uint64(32))
                order[k], order[j] = order[j], order[k]
                b = order[k]
                if pool.soonest[b] <= now:
                    advance(pool, b, now, work, owner, finish)
                if best < 0 or seen[b] < seen[best]:
                    best = b
        advance(pool, best, now, work, owner, finish)
        backend[i] = best
        work[i] = fixed[best] + scale[best] * demand[i]
        pool.total[best] += 1
        pool.sent[owner[i], best] += 1
        admit(pool, best, i, work)
    for b in range(backends):
        advance(pool, b, np.inf, work, owner, finish)
    return backend, work, finish


@dataclass(frozen=True)
class Outcome:
    """What became of each request of a load."""

    load: Load
    backend: Picks  # int32[n]
    work: Floats  # float64[n]: time it would have taken alone on that backend
    finish: Floats  # float64[n]

    @property
    def response(self) -> Floats:
        """float64[n]: from arrival to answer."""
        return self.finish - self.load.arrival

    @property
    def waiting(self) -> Floats:
        """float64[n]: the part of `response` that is owed to other requests."""
        return self.response - self.work

    @property
    def counts(self) -> npt.NDArray[np.int64]:
        """int64[B]: requests that each backend got."""
        return np.bincount(self.backend, minlength=self.load.backends)

    def settled(self, values: Floats) -> Floats:
        """`values` (one a request) without the first tenth, in which the queues fill."""
        return values[values.size // 10 :]

    def outstanding(self, times: npt.ArrayLike) -> npt.NDArray[np.int64]:
        """int64[len(times), B]: requests that have come to each backend by each time, and not left it."""
        by_backend = np.argsort(self.backend, kind="stable")
        columns = []
        for mine in np.split(by_backend, np.cumsum(self.counts)[:-1]):
            left = np.searchsorted(np.sort(self.finish[mine]), times, side="right")
            columns.append(np.searchsorted(self.load.arrival[mine], times, side="right") - left)
        return np.stack(columns, axis=-1)


def turns(owner: npt.NDArray[np.int64], backends: int) -> Picks:
    """Round robin: each balancer (the `owner` of a request) goes through the list on its own, from its start."""
    by_owner = np.argsort(owner, kind="stable")
    begins = np.searchsorted(owner[by_owner], owner[by_owner])
    picks = np.empty(owner.size, np.int32)
    picks[by_owner] = (np.arange(owner.size) - begins) % backends
    return picks


def as_choice(policy: Policy, load: Load, owner: npt.NDArray[np.int64]) -> tuple[Picks, int]:
    """(picks int32[n] or empty, number of candidates) of a policy. ValueError for one that means nothing."""
    none, backends = np.empty(0, np.int32), load.backends
    if isinstance(policy, str):
        if policy not in POLICIES:
            raise ValueError(f"policy is {policy!r}, wanted one of: {', '.join(POLICIES)}; a number, or picks")
        if policy == "round robin":
            return turns(owner, backends), 0
        return none, min(CANDIDATES.get(policy, backends), backends)
    if isinstance(policy, int):
        if not 1 <= policy <= backends:
            raise ValueError(f"policy is {policy} candidates, wanted 1 to {backends}, the number of backends")
        return none, policy
    picks = np.asarray(policy)
    if picks.shape != load.arrival.shape or picks.dtype.kind not in "iu":
        got = f"{picks.dtype} of shape {picks.shape}"
        raise ValueError(f"policy is {got}, wanted an integer for each request: shape {load.arrival.shape}")
    if picks.min() < 0 or picks.max() >= backends:
        raise ValueError(f"policy picks backends {picks.min()} to {picks.max()}, wanted 0 to {backends - 1}")
    return np.ascontiguousarray(picks, np.int32), 0


def run(
    load: Load,
    policy: Policy,
    *,
    balancers: int = 1,
    refresh: float | None = None,
    speeds: Sequence[float] | None = None,
    broken: Mapping[int, float] | None = None,
    concurrency: int = 1,
    processors: float = 1,
) -> Outcome:
    """Send `load` to its backends by `policy`: a name of POLICIES, a number of random candidates to compare
    (2 is "power of two"), or the picks themselves (integers[n], for instance from a hash).

    `balancers`: requests come through that many, at random, and each counts only what it sent itself. `refresh`: all
    read one board instead, with everybody's requests, renewed each `refresh` units of time (0: always up to date).
    `speeds`: work done in a unit of time, by backend. `broken`: backend -> time in which it answers with an error.
    `concurrency`, `processors`: see the header of this file. ValueError names a bad argument.
    """
    for name, value in (("balancers", balancers), ("concurrency", concurrency), ("processors", processors)):
        if not value >= 1:
            raise ValueError(f"{name} is {value}, wanted at least 1")
    if refresh is not None and not 0 <= refresh < np.inf:
        raise ValueError(f"refresh is {refresh}, wanted None or a time from 0")
    speed = np.ones(load.backends) if speeds is None else np.asarray(speeds, np.float64)
    if speed.shape != (load.backends,) or not (np.isfinite(speed) & (speed > 0)).all():
        raise ValueError(f"speeds is {speeds}, wanted {load.backends} numbers above 0")
    scale, fixed = 1 / speed, np.zeros(load.backends)
    for b, answer in (broken or {}).items():
        if not 0 <= b < load.backends or not 0 <= answer < np.inf:
            raise ValueError(f"broken has {b}: {answer}, wanted a backend below {load.backends} and a time from 0")
        scale[b], fixed[b] = 0.0, answer

    n, shape = load.arrival.size, (load.backends, min(concurrency, load.arrival.size))
    owner = (load.luck % np.uint64(balancers)).astype(np.int64)
    picks, candidates = as_choice(policy, load, owner)
    nobody = np.full(load.backends, -1)
    pool = Pool(
        processors=float(processors),
        now=np.zeros(load.backends),
        virtual=np.zeros(load.backends),
        active=np.zeros(load.backends, np.int64),
        request=np.zeros(shape, np.int64),
        leaves=np.zeros(shape),
        slot=np.zeros(load.backends, np.int64),
        soonest=np.full(load.backends, np.inf),
        first=nobody,
        last=nobody.copy(),
        behind=np.full(n, -1),
        total=np.zeros(load.backends, np.int64),
        sent=np.zeros((balancers, load.backends), np.int64),
    )
    seen = -1.0 if refresh is None else float(refresh)
    made = simulate(pool, load.arrival, load.work, scale, fixed, load.luck, owner, picks, candidates, seen)
    return Outcome(load, *made)


# ------------------------------------------------------------------------------------------------------- the theory
def pollaczek_khinchine(utilisation: float, cv: float) -> float:
    """Mean wait in one first-come-first-served queue with Poisson arrivals, in units of the mean work (M/G/1)."""
    return utilisation * (1 + cv**2) / (2 * (1 - utilisation))


def mean_field_tail(utilisation: float, candidates: int, length: int) -> float:
    """Share of queues with at least `length` requests when each request takes the shortest of `candidates` queues.

    Exponential work, infinitely many backends: Mitzenmacher, "The Power of Two Choices in Randomized Load Balancing",
    IEEE TPDS 12(10), 2001. One candidate gives the familiar utilisation**length of random choice.
    """
    exponent = length if candidates == 1 else (candidates**length - 1) / (candidates - 1)
    return float(utilisation**exponent)
