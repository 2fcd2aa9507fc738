"""Lab 01, at the end: the student's parts put together over names, against the library's Maglev."""

from __future__ import annotations

from typing import Any

from lbcore.balance import maglev
from lbcore.labs.judge import Verdict
from lbcore.labs.maglev.walking import walk_form
from lbcore.labs.sandbox import run


def check_whole(walk: Any, populate_weighted: Any, size: int = 251) -> Verdict:
    """Whether the student's parts, put together over names, give the table of lbcore.balance.maglev.Maglev."""
    pool = sorted(f"10.0.0.{i}:80" for i in range(1, 11))
    weights = [1.0 + i % 3 for i in range(len(pool))]
    recipe = maglev.RECIPES["envoy"]
    walks = run(walk, [(*(recipe.hash(name, seed) for seed in recipe.seeds), size) for name in pool])
    if len(walks) < len(pool) or not all(
        one.kind == "answer" and walk_form(one.value, 0, 0, 0) is None for one in walks
    ):
        return Verdict("walk_first", "`walk` does not give an offset and a skip yet; see its checker.")
    offsets, skips = ([one.value[part] for one in walks] for part in (0, 1))
    table = run(populate_weighted, [(offsets, skips, weights, size)])[0]
    if table.kind != "answer":
        return Verdict("weighted_first", "`populate_weighted` gives no table yet; see its checker.")
    theirs = maglev.Maglev(pool, size=size, weights=weights).table.tolist()
    if table.value != theirs:
        return Verdict(
            "another_table", "Your table is not the library's yet; the checkers above say which part differs."
        )
    return Verdict("right", f"Your {size} slots are those of lbcore's Maglev for the same ten names, every one.")
