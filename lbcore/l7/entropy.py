"""Random bytes and digits, many small pieces of them.

Rule of this file: the operating system's bytes, fetched in large pieces; no generator of our own.

Theory. Asking the system for 16 bytes costs a system call, more than all else that is done to name a request. Asking
for 4096 at a time costs it once for hundreds of names.

Trap. A fork copies what was fetched: parent and child would hand out the same bytes, and two requests would have one
name. The pieces that a process inherited are thrown away.
"""

from __future__ import annotations

import os
from binascii import hexlify
from collections.abc import Callable
from typing import ClassVar, Final

PIECE: Final = 4096


def digits(size: int) -> bytes:
    """So many random hexadecimal digits, an even number, in lower case: a source for `Entropy`."""
    return hexlify(os.urandom(size // 2))


class _Forks:
    count: ClassVar[int] = 0  # of the forks that led to this process


def _forked() -> None:
    _Forks.count += 1


os.register_at_fork(after_in_child=_forked)


class Entropy:
    """Small pieces of what the source gives, `os.urandom` or `digits`. Not for threads."""

    def __init__(self, source: Callable[[int], bytes] = os.urandom) -> None:
        self._source = source
        self._piece, self._at, self._forks = b"", PIECE, _Forks.count

    def take(self, size: int) -> bytes:
        """So many, at most 4096, that nobody was given before."""
        at = self._at
        end = at + size
        if end > PIECE or self._forks != _Forks.count:
            self._piece, at, end, self._forks = self._source(PIECE), 0, size, _Forks.count
        self._at = end
        return self._piece[at:end]
