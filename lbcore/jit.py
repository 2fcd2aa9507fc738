"""`kernel`: numba's `njit` with this project's settings, and a cache that can be trusted.

numba keeps compiled code on disk and throws it away when the file of that function changes. But a kernel here is
mostly other files: a forwarder compiles `ipv4.parse` into itself. So the cache is stamped with every source file of
the package: edit any of them, and what is run is what you read.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from typing import Any

from numba import njit
from numba.core.caching import FunctionCache

PACKAGE = Path(__file__).parent


@cache
def package_stamp() -> tuple[tuple[str, int, int], ...]:
    """Name, modification time (ns) and size of each of the package's source files, sorted."""
    files = sorted(PACKAGE.rglob("*.py"))
    return tuple((str(f.relative_to(PACKAGE)), f.stat().st_mtime_ns, f.stat().st_size) for f in files)


class PackageCache(FunctionCache):  # type: ignore[misc]
    """numba's cache of one function, fresh only while the whole package is what it was."""

    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__(function)
        self._cache_file._source_stamp = (self._cache_file._source_stamp, package_stamp())


def kernel(function: Callable[..., Any] | None = None, *, counted: bool = True, gil: bool = False) -> Any:
    """Compile `function` on first call: no GIL, division as in C (a division by zero gives 0 or inf), cached on disk.

    counted=False: nobody counts references to arrays, all the way down. Then the function makes no arrays of its own,
    and who handles packets one by one wants that: to count is an atomic operation for each table that is passed on.
    gil=True: keep Python's lock, for what takes less time than to hand it over and wait for it. `.py_func` is the plain
    Python function.
    """
    if function is None:
        return partial(kernel, counted=counted, gil=gil)
    compiled = njit(nogil=not gil, error_model="numpy", _nrt=counted)(function)
    compiled._cache = PackageCache(function)
    return compiled
