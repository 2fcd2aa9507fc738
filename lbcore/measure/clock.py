"""What one operation costs, and how many times dearer it is than another.

Rule of this file: it times callables against each other in one run and keeps every sample.

Theory. On a shared machine the speed of the processor changes from second to second, so two numbers taken one after
the other say more about the weather than about the code. Three habits help. CPU time instead of wall-clock time:
waiting for the processor is not charged. Interleaving: every round times each callable once, in alternating order,
so a slow second slows all of them. Pairing: a ratio is taken within a round and the median over rounds is reported,
so a disturbed round moves it little.

Traps. A call costs some tens of nanoseconds in Python before the callable does anything: for small operations let
one call do thousands and say how many (`operations`). CPU time counts every thread of the process, which is right
for a parallel callable and wrong beside a busy background thread (then pass `clock=time.thread_time_ns`). Each
callable is called once before timing, so that a compiler's first call is not in the samples.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from statistics import median, quantiles
from typing import Any, Literal

from lbcore.measure.facts import facts_line
from lbcore.measure.table import Table

Work = Callable[[], Any]
MAX_CALLS = 1 << 22  # in one sample: ends calibration of a callable that costs next to nothing


def _significant(value: float) -> str:
    """Three significant digits without an exponent: 0.0123, 1.23, 12.3, 12,300."""
    return f"{float(f'{value:.3g}'):,.{max(0, 2 - int(f'{value:.2e}'.split('e')[1]))}f}"


@dataclass(frozen=True)
class Comparison:
    """Samples of several callables, taken round by round: index i of every name belongs to the same round.

    `samples` holds nanoseconds of CPU time for one operation; `baseline` is the name that ratios refer to.
    """

    samples: Mapping[str, tuple[float, ...]]
    baseline: str
    facts: str = field(default_factory=facts_line, compare=False)

    def _of(self, name: str) -> tuple[float, ...]:
        if name not in self.samples:
            raise KeyError(f"no measurement called {name!r}; there are: {', '.join(self.samples)}")
        return self.samples[name]

    def ns(self, name: str) -> float:
        """Median nanoseconds of CPU time for one operation."""
        return median(self._of(name))

    def spread(self, name: str) -> tuple[float, float]:
        """Lower and upper quartile of the same (nanoseconds)."""
        low, _, high = quantiles(self._of(name), n=4, method="inclusive")
        return low, high

    def ratios(self, name: str, baseline: str | None = None) -> tuple[float, ...]:
        """`name` over `baseline`, one ratio a round."""
        below = self._of(self.baseline if baseline is None else baseline)
        return tuple(a / b for a, b in zip(self._of(name), below, strict=True))

    def ratio(self, name: str, baseline: str | None = None) -> float:
        """How many times dearer `name` is than `baseline`: the median of the ratios within each round."""
        return median(self.ratios(name, baseline))

    def table(self) -> Table:
        """Cost, spread and ratio of each callable, in the order they were given."""
        columns = ("what", "ns per operation", "middle half", f"times {self.baseline}")
        rows = []
        for name in self.samples:
            low, high = self.spread(name)
            spread = f"{_significant(low)} to {_significant(high)}"
            rows.append((name, _significant(self.ns(name)), spread, _significant(self.ratio(name))))
        return Table(columns, tuple(rows), caption=f"CPU time, {self.facts}")

    def _repr_html_(self) -> str:
        return self.table()._repr_html_()

    def __str__(self) -> str:
        return self.table().text()

    __repr__ = __str__


def _sample(work: Work, calls: int, operations: int | None, clock: Callable[[], int]) -> tuple[int, int]:
    """Nanoseconds and operations of `calls` calls; `operations` None means each call returns its number."""
    if operations is not None:
        start = clock()
        for _ in range(calls):
            work()
        return clock() - start, calls * operations
    done = 0
    start = clock()
    for _ in range(calls):
        done += work()
    return clock() - start, done


def _calls_for(work: Work, operations: int | None, seconds: float, clock: Callable[[], int]) -> int:
    """Calls that together take at least `seconds`: doubled until they do, then scaled to just above."""
    calls = 1
    while (taken := _sample(work, calls, operations, clock)[0]) < seconds * 1e9 / 2 and calls < MAX_CALLS:
        calls *= 2
    if taken <= 0:
        raise ValueError(f"clock did not advance during {calls:,} calls, wanted one that counts the time they take")
    return max(1, min(MAX_CALLS, round(calls * seconds * 1e9 / taken)))


def _declared(operations: int | Mapping[str, int] | Literal["returned"], names: list[str]) -> dict[str, int | None]:
    """Operations in one call of each callable; None where the call itself will say."""
    if operations == "returned":
        return dict.fromkeys(names)
    table = dict(operations) if isinstance(operations, Mapping) else dict.fromkeys(names, operations)
    for name in names:
        if not isinstance(table.get(name), int) or table[name] < 1:
            raise ValueError(f"operations of {name!r} is {table.get(name)!r}, wanted a whole number of at least 1")
    return {name: table[name] for name in names}


def compare(
    callables: Mapping[str, Work],
    *,
    rounds: int = 9,
    min_seconds: float = 0.02,
    operations: int | Mapping[str, int] | Literal["returned"] = 1,
    baseline: str | None = None,
    clock: Callable[[], int] = time.process_time_ns,
) -> Comparison:
    """CPU time for one operation of each callable, measured in interleaved rounds.

    `callables` take no arguments. `operations` is the number of operations one call performs: one number for all,
    a number for each name, or "returned" where every call returns its own. A round calls each of them for about
    `min_seconds` of CPU time. `baseline` (by default the first) is what ratios refer to. `clock` gives nanoseconds.

    Raises ValueError that names what is wrong with the arguments; an exception of a callable passes through.
    """
    names = list(callables)
    if not names:
        raise ValueError("callables is empty, wanted at least one {name: callable}")
    if rounds < 3:
        raise ValueError(f"rounds is {rounds}, wanted at least 3: a median of fewer is no median")
    if not 0 < min_seconds <= 10:
        raise ValueError(f"min_seconds is {min_seconds}, wanted more than 0 and at most 10")
    if baseline is not None and baseline not in callables:
        raise ValueError(f"baseline is {baseline!r}, wanted one of: {', '.join(names)}")
    each = _declared(operations, names)
    for name in names:
        returned = callables[name]()  # compiles what compiles, fills what caches
        if each[name] is None and (not isinstance(returned, int) or returned < 1):
            raise ValueError(f'{name!r} returned {returned!r}; operations="returned" wants a count of at least 1')
    samples: dict[str, list[float]] = {name: [] for name in names}
    collecting = gc.isenabled()
    gc.disable()  # as timeit does: a collection belongs to whoever made the garbage, not to the round it falls in
    try:
        calls = {name: _calls_for(callables[name], each[name], min_seconds, clock) for name in names}
        for number in range(rounds):
            for name in names if number % 2 == 0 else reversed(names):
                taken, done = _sample(callables[name], calls[name], each[name], clock)
                samples[name].append(max(taken, 1) / done)
    finally:
        if collecting:
            gc.enable()
    return Comparison({name: tuple(values) for name, values in samples.items()}, baseline or names[0])
