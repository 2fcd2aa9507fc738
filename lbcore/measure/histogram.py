"""Latency percentiles from any number of samples in fixed memory.

Rule of this file: non-negative whole nanoseconds in, percentiles and an empirical distribution out.

Theory. A mean hides the slow requests that users remember, so latencies are kept as a distribution. Buckets grow
with the value, as in Gil Tene's HdrHistogram: below 256 ns each value has its own, above that every power of two is
divided into 128, so a bucket is never wider than 1/128 of its values. Histograms of several runs or threads add up,
percentiles do not: never average percentiles.

Trap. A percentile far out needs samples out there: p99.9 of 500 samples is their maximum under another name.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lbcore.measure.table import Table

BITS = 8  # values below 2**BITS are exact; above, 2**(BITS - 1) buckets for each power of two
HALF = 1 << (BITS - 1)
HIGHEST = 1 << 53  # nanoseconds, 104 days: up to here a float64 holds every whole number exactly
SIZE = (53 - BITS + 2) * HALF
USUAL = (50.0, 90.0, 99.0, 99.9)


def _index(values: NDArray[np.int64]) -> NDArray[np.int64]:
    """The bucket of each value (int64[n], 0 <= value < HIGHEST)."""
    shift = np.maximum(np.frexp(values.astype(np.float64))[1].astype(np.int64) - BITS, 0)
    index: NDArray[np.int64] = shift * HALF + (values >> shift)
    return index


def _top(index: NDArray[np.int64]) -> NDArray[np.int64]:
    """The largest value in each bucket."""
    shift = np.maximum(index // HALF - 1, 0)
    top: NDArray[np.int64] = ((index - shift * HALF + 1) << shift) - 1
    return top


class Histogram:
    """Counts of latencies in logarithmic buckets; percentiles err by less than 1 in 128, upwards, never beyond max."""

    def __init__(self, samples: ArrayLike = ()) -> None:
        self.counts: NDArray[np.int64] = np.zeros(SIZE, np.int64)
        self.max = 0
        self.add(samples)

    def add(self, samples: ArrayLike) -> None:
        """Count `samples` (nanoseconds, any shape; fractions are cut off). ValueError for negative or NaN."""
        values = np.asarray(samples, np.float64).ravel()
        wrong = values[~((values >= 0) & (values < HIGHEST))]
        if wrong.size:
            raise ValueError(f"a latency is {wrong[0]} ns, wanted 0 <= latency < {HIGHEST} (2**53)")
        if values.size:
            whole = values.astype(np.int64)
            self.counts += np.bincount(_index(whole), minlength=SIZE)
            self.max = max(self.max, int(whole.max()))

    def merge(self, other: Histogram) -> Histogram:
        """A new histogram of the samples of both."""
        both = Histogram()
        both.counts, both.max = self.counts + other.counts, max(self.max, other.max)
        return both

    def __len__(self) -> int:
        return int(self.counts.sum())

    def percentile(self, percent: float) -> int:
        """The latency (ns) that `percent` of the samples do not exceed. ValueError out of 0..100 or without samples."""
        if not 0 <= percent <= 100:
            raise ValueError(f"percent is {percent}, wanted 0 to 100 (99.9, not 0.999)")
        seen = np.cumsum(self.counts)
        if not seen[-1]:
            raise ValueError("the histogram is empty, wanted at least one sample")
        # The same order statistic as numpy's "inverted_cdf"; rounding keeps 99.9 % of 1000 at 999, not 1000.
        rank = max(1, int(np.ceil(round(percent * int(seen[-1]) / 100, 9))))
        return min(int(_top(np.searchsorted(seen, [rank]))[0]), self.max)

    def percentiles(self, percents: tuple[float, ...] = USUAL) -> dict[float, int]:
        """`percentile` of each."""
        return {percent: self.percentile(percent) for percent in percents}

    def ecdf(self) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """Empirical distribution: latencies (ns, ascending) and the share of samples at or below each."""
        used = np.flatnonzero(self.counts)
        share = np.cumsum(self.counts[used]) / max(len(self), 1)
        return np.minimum(_top(used), self.max), share

    def table(self) -> Table:
        """The usual percentiles and the maximum, in microseconds."""
        rows: list[tuple[Any, ...]] = [(f"p{p:g}", f"{ns / 1000:,.1f}") for p, ns in self.percentiles().items()]
        return Table(
            ("percentile", "microseconds"), (*rows, ("max", f"{self.max / 1000:,.1f}")), f"{len(self):,} samples"
        )

    def _repr_html_(self) -> str:
        return self.table()._repr_html_()

    def __repr__(self) -> str:
        return self.table().text() if len(self) else "Histogram of no samples"
