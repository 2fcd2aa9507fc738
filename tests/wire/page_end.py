"""Run as a program: parse packets that end exactly where readable memory ends.

Behind the page that holds the packet lies one that may not be touched: a read past the packet's end, by a single byte,
kills the process. `corpus` parses every frame cut at every length there (`corpus.cut`), unchecked, and prints how many;
`trap` reads one byte too far on purpose and must not come back.
"""

from __future__ import annotations

import ctypes
import mmap
import sys

import numpy as np

from tests.wire import corpus, driver

PROT_NONE = 0


def page_before_a_wall() -> np.ndarray:
    """uint8[page size]: readable memory with an unreadable page right behind it."""
    pages = mmap.mmap(-1, 2 * mmap.PAGESIZE)
    both = np.frombuffer(pages, np.uint8)
    libc = ctypes.CDLL(None, use_errno=True)
    libc.mprotect.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
    if libc.mprotect(both.ctypes.data + mmap.PAGESIZE, mmap.PAGESIZE, PROT_NONE):
        raise OSError(ctypes.get_errno(), "mprotect")
    return both[: mmap.PAGESIZE]


def main(what: str) -> None:
    page = page_before_a_wall()
    if what == "trap":
        print(driver.too_far(page, page.size - 60, page.size))
        return
    parsed, end = 0, np.array([page.size])
    for frame in corpus.FRAMES:
        for length in range(len(frame) + 1):
            start = page.size - length
            short = corpus.cut(frame, length)
            page[start:] = np.frombuffer(short, np.uint8)
            row = np.zeros((1, driver.COLUMNS), np.uint64)
            driver.walk_many(page, np.array([start]), end, row)
            assert (row == driver.plain([short])).all(), (frame.hex(), length)
            parsed += 1
    print(parsed)


if __name__ == "__main__":
    main(sys.argv[1])
