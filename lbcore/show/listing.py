"""A listing of the library's own source: what a chapter prints is the file itself, never a pasted copy.

Rule of this file: the text comes from `inspect`; highlighting is left to whatever shows the page (JupyterLab, GitHub
and Sphinx all colour a fenced block in the reader's own theme).
"""

from __future__ import annotations

import inspect
import re
import textwrap
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HOME = Path(__file__).parents[2]


@dataclass(frozen=True)
class Listing:
    """Source text and where it stands: `path` relative to the checkout, `first` and `last` line of the file."""

    text: str
    path: str
    first: int
    last: int

    @property
    def caption(self) -> str:
        """For example "lbcore/wire/ipv4.py, lines 30-62"."""
        return f"{self.path}, lines {self.first}-{self.last}"

    def _repr_markdown_(self) -> str:
        longest = max(map(len, re.findall(r"`{3,}", self.text)), default=2)
        fence = "`" * (longest + 1)
        return f"*{self.caption}*\n\n{fence}python\n{self.text}\n{fence}"

    def __repr__(self) -> str:
        return f"# {self.caption}\n{self.text}"


def source(thing: Any, *, lines: tuple[int, int] | None = None) -> Listing:
    """The source of a module, class or function; a numba function shows the Python it was made from.

    `lines` (first, last) are lines of the file, both included, as editors number them. ValueError names lines that
    are not in the file; TypeError names a thing that has no Python source.
    """
    plain = inspect.unwrap(getattr(thing, "py_func", thing))
    try:
        path = Path(inspect.getsourcefile(plain) or "")
        body, start = inspect.getsourcelines(plain)
    except (TypeError, OSError):
        raise TypeError(f"{thing!r} has no Python source; wanted a module, class or function") from None
    first = max(start, 1)
    if lines is not None:
        whole = path.read_text().splitlines()
        if not 1 <= lines[0] <= lines[1] <= len(whole):
            raise ValueError(f"lines is {lines}, wanted 1 <= first <= last <= {len(whole)}")
        body, first = whole[lines[0] - 1 : lines[1]], lines[0]
    text = textwrap.dedent("\n".join(line.rstrip("\n") for line in body)).rstrip()
    shown = path.relative_to(HOME).as_posix() if path.is_relative_to(HOME) else path.name
    return Listing(text, shown, first, first + text.count("\n"))
