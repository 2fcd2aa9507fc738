"""The balancer of lbcore against its like: in memory, in the kernel, and on the wire.

    python -m benchmarks.l4 [--part memory | kernel | wire | proxy] [--rounds 9] [--json chapters/recorded/l4.json]

memory: `Forwarder.process` and the same in C. kernel: the XDP program and the same by clang. wire: packets through a
balancer between two hosts. proxy: connections and bytes through those that end connections. Each part has a file of its
own that says how it measures. Rounds and ratios are those of
`lbcore.measure`. Exit status: 0, 2 where something that all this takes is lacking.
"""

from __future__ import annotations

import argparse
import importlib
import shutil
import sys
from pathlib import Path
from typing import Any

from lbcore.measure import record
from lbcore.testbed import capabilities

PARTS = ("memory", "kernel", "wire", "proxy")
COMMANDS = {"memory": ("gcc",), "kernel": ("clang",), "wire": ("nft",), "proxy": ("nft", "haproxy")}
TIERS = {"memory": 0, "kernel": 2, "wire": 2, "proxy": 1}


def lacking(part: str) -> str:
    """What this machine lacks for a part, in words; empty if nothing."""
    for command in COMMANDS[part]:
        if shutil.which(command) is None:
            return f"compares with {command}, which is not on PATH"
    machine, wanted = capabilities.machine(), TIERS[part]
    if machine.tier >= wanted:
        return ""
    return f"wants tier {wanted} ({capabilities.TIERS[wanted]}); this machine has tier {machine.tier}"


def part(name: str) -> Any:
    """The module that measures a part: measure(rounds, seconds), tables(rows), samples(rows)."""
    return importlib.import_module(f"benchmarks.l4_{name}")


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--part", choices=PARTS, help="only one of the four")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--seconds", type=float, default=0.02, help="CPU time of one sample")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the samples there too, as a recorded result")
    options = parser.parse_args(arguments)
    samples: dict[str, list[float]] = {}
    for name in [options.part] if options.part else PARTS:
        lack = lacking(name)
        if lack:
            print(f"benchmarks.l4, part {name}: {lack}")
            return 2
        module = part(name)
        rows = module.measure(options.rounds, options.seconds)
        samples |= module.samples(rows)
        print(*module.tables(rows), sep="\n\n", end="\n\n", flush=True)
    if options.json:
        print(
            "written:", record(options.json.stem, samples, "python -m benchmarks.l4", folder=options.json.parent).name
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
