"""Maglev against the same algorithm in C: filling the table, and looking flows up in it.

    python benchmarks/maglev.py [--backends 1000] [--size 65537] [--rounds 60]

The C twin stands below, is built on the spot (gcc -O3) and takes the same arrays; where the two compilers like one line
written differently, each gets its own. Rounds and ratios are those of `lbcore.measure.compare`. The look-ups of the
other pickers follow, on the same keys. Exit status: 0, 1 when the two disagree about a table or a pick, 2 without a C
compiler.
"""

from __future__ import annotations

import argparse
import ctypes
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from lbcore.balance.jump import Jump
from lbcore.balance.maglev import RECIPES, Maglev, look_up_many, populate
from lbcore.balance.modulo import Modulo
from lbcore.balance.rendezvous import Rendezvous
from lbcore.balance.ring import Ring
from lbcore.measure import compare

C_TWIN = r"""
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

static inline uint32_t step(uint32_t slot, uint32_t skip, uint32_t size) {
    slot += skip;  /* lbcore's form of this line, slot < size - skip ? ..., makes gcc's code a third slower */
    return slot >= size ? slot - size : slot;
}

void populate(const int64_t *offsets, const int64_t *skips, int64_t backends, int64_t size, int32_t *table) {
    uint32_t *position = malloc(backends * sizeof *position), *skip = malloc(backends * sizeof *skip);
    for (int64_t i = 0; i < backends; i++) { position[i] = offsets[i]; skip[i] = skips[i]; }
    memset(table, 0xff, size * sizeof *table);
    for (int64_t filled = 0; filled < size;) {
        for (int64_t i = 0; i < backends && filled < size; i++, filled++) {
            uint32_t slot = position[i], s = skip[i];
            while (table[slot] >= 0) slot = step(slot, s, size);
            table[slot] = i;
            position[i] = step(slot, s, size);
        }
    }
    free(position);
    free(skip);
}

void look_up(const int32_t *table, uint64_t size, const uint64_t *hashes, int64_t count, int32_t *picks) {
    for (int64_t i = 0; i < count; i++) picks[i] = table[hashes[i] % size];
}
"""


def build(folder: Path) -> ctypes.CDLL:
    """The C twin, compiled and loaded."""
    compiler = shutil.which("gcc") or shutil.which("cc")
    if compiler is None:
        print("benchmarks/maglev.py compares with C, and neither gcc nor cc is on PATH (Debian: apt install gcc)")
        raise SystemExit(2)
    source, library = folder / "twin.c", folder / "twin.so"
    source.write_text(C_TWIN)
    subprocess.run([compiler, "-O3", "-shared", "-fPIC", "-o", library, source], check=True)
    return ctypes.CDLL(str(library))


def pointer(array: np.ndarray[Any, Any]) -> ctypes.c_void_p:
    return ctypes.c_void_p(array.ctypes.data)


def pick(picker: Any, keys: np.ndarray[Any, Any]) -> Callable[[], object]:
    return lambda: picker.pick_many(keys)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--backends", type=int, default=1000)
    parser.add_argument("--size", type=int, default=65537, help="slots of the table, a prime")
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument("--keys", type=int, default=1_000_000, help="look-ups in a round")
    options = parser.parse_args()

    size = options.size
    names = [f"10.0.{i // 256}.{i % 256}:80" for i in range(options.backends)]
    offsets, skips = np.array([RECIPES["envoy"].walk(name, size) for name in names]).T.copy()
    keys = np.random.default_rng(1).integers(0, 2**64, options.keys, dtype=np.uint64)
    table = populate(offsets, skips, size)

    with tempfile.TemporaryDirectory() as folder:
        twin = build(Path(folder))

        def populate_in_c() -> np.ndarray[Any, Any]:
            out = np.empty(size, np.int32)
            walks = pointer(offsets), pointer(skips), ctypes.c_int64(len(names))
            twin.populate(*walks, ctypes.c_int64(size), pointer(out))
            return out

        def look_up_in_c() -> np.ndarray[Any, Any]:
            out = np.empty(keys.size, np.int32)
            where = pointer(table), ctypes.c_uint64(size)
            twin.look_up(*where, pointer(keys), ctypes.c_int64(keys.size), pointer(out))
            return out

        same_table = np.array_equal(populate_in_c(), table)
        same_picks = np.array_equal(look_up_in_c(), look_up_many(table, keys))
        filling = compare(
            {"populate, lbcore": lambda: populate(offsets, skips, size), "populate, C": populate_in_c},
            rounds=options.rounds,
            baseline="populate, C",
        )
        looking = compare(
            {"look up, lbcore": lambda: look_up_many(table, keys), "look up, C": look_up_in_c},
            operations=keys.size,
            baseline="look up, C",
        )

    print(f"{len(names)} backends, {size} slots; a whole table is one operation", filling, "", sep="\n")
    print(f"{keys.size} keys; a look-up is one operation", looking, "", sep="\n")
    rate = {name: 1e3 / looking.ns(name) for name in looking.samples}
    print(", ".join(f"{name}: {value:.0f} million a second" for name, value in rate.items()), end="\n\n")

    few = keys[: max(keys.size // 100, 1)]  # rendezvous asks every backend for every key
    pickers = [Maglev(names, size=size), Modulo(names), Jump(names), Ring(names), Rendezvous(names)]
    print(
        "a look-up in each picker",
        compare({type(p).__name__: pick(p, few) for p in pickers}, operations=few.size),
        sep="\n",
    )
    print(f"the same table in both: {same_table}; the same picks: {same_picks}")
    return 0 if same_table and same_picks else 1


if __name__ == "__main__":
    sys.exit(main())
