"""How evenly calls fall on backends when it is connections that are placed.

Rule of this file: shares and luck, no sockets. What a real relay and a real proxy do is `lbcore.measure.pinned`'s.

The model. Each client has a rate of calls and spreads it evenly over its connections. "L4" puts each connection on a
backend drawn at random, as a hash does. "L7" and "client side" place each call: in turn, in one row for all or in one
row for each client. "subset": client side, among a few backends that each client has drawn.

Theory. Jain's index of N loads (Jain, Chiu and Hawe, 1984) is (sum x)^2 / (N sum x^2): 1 when all are equal, 1/N when
one has everything. n equal connections on N backends have about n / (n + N - 1). If they are not equal, n is to be
replaced by the number of equal ones that would be as lumpy (Kish's effective sample size), which is n times Jain's
index of the rates: so a fleet of a thousand clients, one of which makes half of the calls, behaves like four.

Trap. The index looks at loads over some time. A client whose one connection moves every hour is fair over a day, and
at no moment is it on more than one backend.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from lbcore.sim import queues

Floats = npt.NDArray[np.float64]
Mode = Literal["L4", "L7", "client side", "subset"]
MODES: tuple[Mode, ...] = ("L4", "L7", "client side", "subset")
SUBSET = 3  # backends that a client of "subset" knows
JITTER = 0.1  # of a connection's age, either way (gRFC A9)


def jain(loads: npt.ArrayLike) -> float:
    """Jain's index of the loads: 1/N to 1. ValueError if there is no load."""
    x = np.asarray(loads, np.float64)
    if not x.size or not (x >= 0).all() or not x.any():
        raise ValueError(f"loads is {x}, wanted numbers from 0, at least one of them above")
    return float(x.sum() ** 2 / (x.size * (x**2).sum()))


def busiest(loads: npt.ArrayLike) -> float:
    """The largest load over the mean."""
    x = np.asarray(loads, np.float64)
    return float(x.max() / x.mean())


def effective(rates: npt.ArrayLike) -> float:
    """How many equal ones would be as lumpy as these: 1 to n."""
    return np.asarray(rates).size * jain(rates)


def expected(connections: float, backends: int) -> float:
    """About what Jain's index of so many (effective) connections is at L4."""
    return connections / (connections + backends - 1)


def rates(clients: int, skew: float = 0.0) -> Floats:
    """Each client's share of the calls, the busiest first: float64[clients]. skew: 0 all alike, 1 Zipf's law."""
    if clients < 1 or skew < 0:
        raise ValueError(f"clients is {clients}, skew {skew}: wanted at least one client, and a skew from 0")
    weight = np.arange(1, clients + 1, dtype=np.float64) ** -skew
    return np.asarray(weight / weight.sum())


def shares(
    mode: Mode, clients: Floats, connections: int, backends: int, rng: np.random.Generator, subset: int = SUBSET
) -> Floats:
    """Which share of all calls goes from each client to each backend: float64[clients, backends].

    clients: their rates. connections: of each client ("L4" only). subset: backends that each knows ("subset" only).
    ValueError for another mode, or a number that cannot be.
    """
    if mode not in MODES:
        raise ValueError(f"mode is {mode!r}, wanted one of: {', '.join(MODES)}")
    if connections < 1 or backends < 1 or subset < 1:
        raise ValueError(f"connections {connections}, backends {backends}, subset {subset}: wanted at least 1 of each")
    if mode == "L4":
        counts = rng.multinomial(connections, np.full(backends, 1 / backends), clients.size)
        return np.asarray(clients[:, None] * counts / connections)
    if mode == "subset":
        order = np.argsort(rng.random((clients.size, backends)), axis=1)  # rendezvous: everybody's own order of them
        known = order < min(subset, backends)
        return np.asarray(clients[:, None] * known / known.sum(axis=1, keepdims=True))
    return np.repeat(clients[:, None] / backends, backends, axis=1)


def typical(clients: Floats, connections: int, backends: int, *, draws: int = 100, seed: int = 0) -> float:
    """Jain's index of what backends get at L4, the mean of so many placements. clients: their rates."""
    rng = np.random.default_rng(seed)
    placements = (shares("L4", clients, connections, backends, rng) for _ in range(draws))
    return float(np.mean([jain(one.sum(axis=0)) for one in placements]))


class Result(NamedTuple):
    """jain, busiest: of the calls that backends got. wait: response time that 99 % stay under, in units of the mean
    work of a call."""

    jain: float
    busiest: float
    wait: float


def trial(
    mode: Mode,
    *,
    clients: int,
    connections: int = 1,
    backends: int = 4,
    skew: float = 0.0,
    utilisation: float = 0.6,
    calls: int = 40_000,
    seed: int = 0,
) -> Result:
    """Play it with queues: Poisson arrivals, exponential work, each backend one call after the other."""
    rng = np.random.default_rng(seed)
    load = queues.poisson(backends, utilisation, calls, seed=seed)
    rate = rates(clients, skew)
    placed = shares(mode, rate, connections, backends, rng)
    client = rng.choice(clients, calls, p=rate)
    if mode == "L7":
        picks = np.arange(calls) % backends
    elif mode == "client side":
        picks = (queues.turns(client, backends) + rng.integers(0, backends, clients)[client]) % backends
    else:
        picks = (rng.random(calls)[:, None] > np.cumsum(placed / rate[:, None], axis=1)[client]).sum(axis=1)
    outcome = queues.run(load, np.minimum(picks, backends - 1).astype(np.int64))
    wait = float(np.percentile(outcome.settled(outcome.response), 99))
    return Result(jain(outcome.counts), busiest(outcome.counts), wait)


def newcomers(
    connections: int, before: int, after: int, age: float, times: npt.ArrayLike, rng: np.random.Generator
) -> Floats:
    """Share of the load on the backends that joined at time 0, at each of `times`: float64[len(times)].

    There were `before`, now there are `after`. Connections end at `age`, give or take JITTER, and are then placed anew;
    at time 0 they are of all ages. age: infinite if they never end. ValueError unless backends joined.
    """
    if not 1 <= before < after:
        raise ValueError(f"before is {before}, after {after}: wanted at least one before, and more after")
    when = np.asarray(times, np.float64)
    if np.isinf(age):
        return np.zeros(when.shape)
    life = age * rng.uniform(1 - JITTER, 1 + JITTER, connections)
    ends = life * rng.random(connections)  # the first: of the age that it happens to have
    turns = np.maximum(np.ceil((when[:, None] - ends) / life), 0)  # how often each was placed anew
    new = rng.random((int(turns.max()) + 1, connections)) < (after - before) / after
    new[0] = False
    return np.asarray(np.take_along_axis(new, turns.astype(np.int64), axis=0).mean(axis=1))
