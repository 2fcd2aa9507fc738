"""The picture at the top of README.md, drawn by the same function as the explorer of the chapter on Maglev.

python -m lbcore.show.cover        write chapters/images/maglev-disruption.png, from the top of the repository
"""

from __future__ import annotations

from pathlib import Path

from lbcore.show.slots import removal
from lbcore.show.style import Picture

PATH = Path("chapters/images/maglev-disruption.png")


def cover() -> Picture:
    """Modulo and Maglev, the same 1,021 keys, one of ten backends gone: 1200 x 500 pixels."""
    return removal(10, 1021, 4, pickers=("modulo", "Maglev"), height=3.125)


if __name__ == "__main__":
    PATH.parent.mkdir(parents=True, exist_ok=True)
    PATH.write_bytes(cover().png)
