"""A body through what filters have put in its way (`Response.transforms`), one after the other.

Rule of this file: the order. What one makes of its bytes is its own affair; what an earlier one has left at the end
still has to pass those after it.
"""

from __future__ import annotations

from collections.abc import Sequence

from lbcore.l7.message import Transform


def whole(transforms: Sequence[Transform], body: bytes) -> bytes:
    """All of a body at once."""
    for one in transforms:
        body = one.feed(body) + one.finish()
    return body


def rest(transforms: Sequence[Transform]) -> bytes:
    """What is left in them when the last piece has been fed."""
    left = b""
    for one in transforms:
        left = (one.feed(left) if left else b"") + one.finish()
    return left
