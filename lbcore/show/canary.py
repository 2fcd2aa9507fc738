"""What a canary of so many per cent really got: drawn many times, where each draw decides for several requests.

Rule of this file: arithmetic on binomial draws; no balancer is asked.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from lbcore.show.style import PALETTE, Picture, figure, finish

CANARIES = 2000


def canary_shares(weight: float, per_draw: int, requests: int, *, seed: int = 1) -> npt.NDArray[np.float64]:
    """float64[2000]: share of `requests` on the canary. weight: the wanted one. per_draw: requests that one decides."""
    draws = max(1, requests // per_draw)
    return np.asarray(np.random.default_rng(seed).binomial(draws, weight, CANARIES) / draws)


def canary_funnel(weight: float, per_draw: Sequence[int], requests: int, *, title: str, alt: str) -> Picture:
    """The spread against requests for each draw, with the band that holds 95 % by theory."""
    fig, ax = figure(height=3.4)
    per, jitter = np.array(per_draw), np.random.default_rng(2)
    for n in per.tolist():
        shares = 100 * canary_shares(weight, n, requests)[::5]
        ax.plot(n * np.exp(jitter.normal(0, 0.06, len(shares))), shares, ".", color=PALETTE[0], alpha=0.15)
    band = 196 * np.sqrt(weight * (1 - weight) * per / requests)
    ax.plot(per, 100 * weight + band, "--", color=PALETTE[1], marker="", label="95 % by theory")
    ax.plot(per, np.maximum(0, 100 * weight - band), "--", color=PALETTE[1], marker="")
    ax.set(xscale="log", xticks=per, xticklabels=per, ylim=(0, None))
    ax.set_xticks([], minor=True)
    ax.set(xlabel=f"requests per connection ({requests:,} requests in all)", ylabel="requests on the canary (%)")
    ax.legend(frameon=False, loc="upper left")
    return finish(fig, title=title, alt=alt)


def canary_histogram(weight: float, per_draw: int, requests: int) -> Picture:
    """How often a canary got which share."""
    shares, draws = 100 * canary_shares(weight, per_draw, requests), max(1, requests // per_draw)
    fig, ax = figure(height=3)
    ax.hist(shares, bins=np.arange(0, 42) - 0.5, color=PALETTE[0])
    ax.axvline(100 * weight, color=PALETTE[1], linestyle="--", label="wanted")
    ax.set(xlabel="requests on the canary (%)", ylabel=f"canaries (of {CANARIES})")
    ax.legend(frameon=False)
    alt = f"Histogram of what {CANARIES} canaries got, around a dashed line at {100 * weight:g} percent."
    return finish(fig, title=f"Connections that decide for each canary: {draws:,}", alt=alt)
