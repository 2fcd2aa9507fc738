"""How many entries a table of small groups loses, only because too many keys meet in one group.

Rule of this file: it counts keys in groups. That a real table does the same is for its own tests to show.
"""

from __future__ import annotations

import numpy as np

ROWS = 1 << 15


def forced_out(fill: float, ways: int, *, rows: int = ROWS, seed: int = 1) -> float:
    """The share of random keys, `fill` times as many as rows, that find all `ways` rows of their group taken.

    ValueError where there is nothing to put in, or rows do not make whole groups.
    """
    count = int(fill * rows)
    if count < 1 or ways < 1 or rows % ways:
        raise ValueError(f"fill {fill}, ways {ways}: wanted a share above 0, and groups that divide {rows} rows")
    in_group = np.bincount(np.random.default_rng(seed).integers(0, rows // ways, count), minlength=rows // ways)
    return float(np.maximum(in_group - ways, 0).sum() / count)
