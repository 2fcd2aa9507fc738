"""The mark of code that runs on every target.

A `@portable` function stays the plain Python function that it is. numba also knows it now, and compiles it into
whatever calls it; so does the kernel's compiler. In exchange it keeps to what every target can do: fixed-width
numbers (`words`), packets through the `seam`, bounded loops, no allocation, no exceptions, no slices.

Compiled, it has no function left in it: all of them are inlined, everywhere. Tuples of twenty fields cost nothing then,
and a call would copy them; so do tables, that are tuples of arrays.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from numba.extending import register_jitable

F = TypeVar("F", bound=Callable[..., Any])


def portable(function: F) -> F:
    """`function` itself, made known to numba."""
    return register_jitable(forceinline=True)(function)  # type: ignore[no-any-return]
