"""Memory shared with the kernel: pages of a descriptor, or pages of nobody, as numpy arrays.

Rule of this file: pages. What is in them, others know.

Theory. A mapped ring is a reference to its socket: as long as the pages are mapped, the socket lives, even if its
descriptor was closed, and so keeps its place at the interface. And a numpy array on pages that are gone ends the
process. So `release` does neither: it puts empty pages of nobody in the place of the socket's. The socket is free, who
still holds an array reads zeros, and the pages go when the last array goes.

Trap. A fork would share the pages with the child, and the child would keep the socket. They are marked not to be
inherited (MADV_DONTFORK); the descriptor is, and a child that lives on with it keeps the socket too.
"""

from __future__ import annotations

import ctypes
import mmap
import os
import weakref
from typing import Any

import numpy as np
import numpy.typing as npt

MAP_FIXED, MADV_DONTFORK = 0x10, 10  # linux/mman.h; the rest is in mmap
FAILED = ctypes.c_void_p(-1).value
NOBODY = -1
OF_NOBODY = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS


class Mapping:
    """`size` bytes of a descriptor from `offset` on; or, without one, fresh ones, all zero. OSError."""

    def __init__(self, size: int, fd: int = NOBODY, offset: int = 0) -> None:
        self.size = size
        flags = OF_NOBODY if fd == NOBODY else mmap.MAP_SHARED
        self.address = _map(None, size, flags | mmap.MAP_POPULATE, fd, offset)
        pages = (ctypes.c_uint8 * size).from_address(self.address)
        # Every array refers to this object: it goes last. At the process's end the kernel does it, behind all threads.
        weakref.finalize(pages, _unmap, self.address, size).atexit = False
        self._pages: Any = pages
        _check(_libc().madvise(ctypes.c_void_p(self.address), ctypes.c_size_t(size), MADV_DONTFORK), "madvise(2)")

    def array(self, dtype: npt.DTypeLike, count: int, offset: int = 0) -> npt.NDArray[Any]:
        """`count` numbers, starting `offset` bytes in."""
        return np.frombuffer(self._pages, dtype, count, offset)

    def release(self) -> None:
        """Let go of the descriptor's pages; arrays read zeros from now on."""
        _map(self.address, self.size, OF_NOBODY | MAP_FIXED, NOBODY, 0)


def _map(at: int | None, size: int, flags: int, fd: int, offset: int) -> int:
    libc = _libc()
    libc.mmap.restype = ctypes.c_void_p
    address = libc.mmap(
        ctypes.c_void_p(at), ctypes.c_size_t(size), mmap.PROT_READ | mmap.PROT_WRITE, flags, fd, ctypes.c_long(offset)
    )
    if address is None or address == FAILED:
        code = ctypes.get_errno()
        raise OSError(code, f"mmap(2) of {size} bytes: {os.strerror(code)}")
    return int(address)


def _unmap(address: int, size: int) -> None:
    _libc().munmap(ctypes.c_void_p(address), ctypes.c_size_t(size))


def _check(result: int, what: str) -> None:
    if result:
        code = ctypes.get_errno()
        raise OSError(code, f"{what}: {os.strerror(code)}")


def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)
