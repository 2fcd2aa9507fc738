"""A hunt: `python -m tests.fuzz NAME SECONDS [--keep]`.

With atheris (it is not among our packages, and wants a Python that it has a wheel for) a hunt is led by the branches
that an input reaches; without it, by chance. --keep writes what reached something new into corpus/NAME.txt, made as
small as libFuzzer's merge makes it. An input that breaks something is written to the folder it names, and the exit
status is 1.

Rule of this file: what is hunted in is imported by the child alone, because code is instrumented on its way in.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from random import Random

from tests.fuzz import corpus
from tests.fuzz.names import HARNESSES

LONGEST = {"core": 4096, "config": 4096}
SLOW = 20
"""Seconds after which an input counts as one that hangs."""


def hunt(name: str, arguments: list[str]) -> subprocess.CompletedProcess[str]:
    """libFuzzer with its own options, in a process of its own: it never comes back from a fault."""
    longest = f"-max_len={LONGEST.get(name, 1500)}"
    command = [sys.executable, "-m", "tests.fuzz.child", name, longest, f"-timeout={SLOW}", "-rss_limit_mb=4096"]
    environment = os.environ | {"PYTHONHASHSEED": "0"}
    pipe = subprocess.PIPE
    return subprocess.run([*command, *arguments], env=environment, stdout=pipe, stderr=pipe, text=True, check=False)


def led(name: str, seconds: float, keep: bool) -> int:
    """By coverage."""
    folder = Path(tempfile.mkdtemp(prefix=f"fuzz-{name}-"))
    for part in ("found", "seeds", "small", "broken"):
        (folder / part).mkdir()
    HARNESSES[name]()(corpus.seeds(name)[-1])  # compiles what it compiles: the child finds it in numba's cache
    for number, data in enumerate(corpus.seeds(name)):
        (folder / "seeds" / str(number)).write_bytes(data)
    done = hunt(
        name,
        [f"-max_total_time={seconds:g}", f"-artifact_prefix={folder}/broken/", f"{folder}/found", f"{folder}/seeds"],
    )
    counts = re.findall(r"^#(\d+)\t", done.stderr, re.M)
    runs = int(counts[-1]) if counts else 0
    print(f"{name}: {runs:,} inputs in {seconds:g} s, by coverage; status {done.returncode}")
    if done.returncode:
        print(done.stdout[-3000:], done.stderr[-3000:], f"\nwhat broke it: {folder}/broken", sep="")
        return 1
    if keep:
        merged = hunt(name, ["-merge=1", f"{folder}/small", f"{folder}/found", f"{folder}/seeds"])
        small = [file.read_bytes() for file in (folder / "small").iterdir()]
        if merged.returncode or not small:
            print(merged.stderr[-3000:])
            return 1
        corpus.keep(
            name, small, f"what a hunt of {seconds:g} s and {runs:,} inputs kept; hexadecimal, one input a line"
        )
        print(f"{len(small)} inputs kept")
    shutil.rmtree(folder)
    return 0


def by_chance(name: str, seconds: float) -> int:
    """Without atheris: what is kept, changed at random."""
    function, known, random = HARNESSES[name](), corpus.seeds(name), Random()
    end, runs = time.monotonic() + seconds, 0
    while time.monotonic() < end:
        data = corpus.changed(random, random.choice(known), random.choice(known))
        try:
            function(data)
        except BaseException:
            print(f"{name}: input number {runs + 1}, {data.hex()}")
            raise
        runs += 1
    print(f"{name}: {runs:,} inputs in {seconds:g} s, by chance: atheris is not installed")
    return 0


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__.split("\n")[0])
    parser.add_argument("name", choices=HARNESSES)
    parser.add_argument("seconds", type=float)
    parser.add_argument("--keep", action="store_true", help="write what reached something new into the corpus")
    told = parser.parse_args()
    if importlib.util.find_spec("atheris") is None:
        return by_chance(told.name, told.seconds)
    return led(told.name, told.seconds, told.keep)


if __name__ == "__main__":
    sys.exit(main())
