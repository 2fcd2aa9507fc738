"""Compile beforehand what somebody would wait for: `python -m lbcore.warm`, where the book is set up.

Rule of this file: what is compiled at the first start of a program, or under a reader's eyes in the first chapters. All
else is compiled when it is first called; either way it is then on the disk (see `jit`).
"""

from __future__ import annotations

from lbcore.balance.maglev import Maglev
from lbcore.l7.http1 import scan


def main() -> None:
    """Some seconds once; a moment when it is there already."""
    Maglev(["a", "b"])
    scan.load()


if __name__ == "__main__":
    main()
