"""What this process holds: threads and open files, to be compared before and after. Nothing new may be held.

What was there before may go meanwhile (a thread of an earlier test that ends late), so compare with <=, not with ==.
"""

from __future__ import annotations

import gc
import os
import threading


def holding() -> set[tuple[str, int, object]]:
    """Threads by number and name; open files by number and by what they are open on."""
    gc.collect()
    threads = {("thread", thread.ident or 0, thread.name) for thread in threading.enumerate()}
    return threads | {("file", int(number), target) for number in os.listdir("/dev/fd") if (target := _target(number))}


def _target(number: str) -> object:
    try:
        status = os.fstat(int(number))
    except OSError:
        return None  # the one that listed them
    return status.st_dev, status.st_ino
