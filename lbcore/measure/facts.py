"""One line that says where a measurement was made: without it a number means nothing to the next reader.

Rule of this file: facts that change what a measurement means, no host name, no path, no user.
"""

from __future__ import annotations

import datetime
import platform
from importlib.metadata import version

from lbcore.testbed import hardware


def today() -> str:
    """The date in UTC, e.g. "2026-01-31"."""
    return datetime.datetime.now(datetime.UTC).date().isoformat()


def facts() -> dict[str, str | int]:
    """Host kind, CPU, cores, kernel, Python, numba and date: what a recorded result carries with it."""
    return {
        "host": hardware.host_kind(),
        "cpu": hardware.cpu_model(),
        "cores": hardware.cores(),
        "kernel": hardware.kernel(),
        "python": platform.python_version(),
        "numba": version("numba"),
        "date": today(),
    }


def facts_line() -> str:
    """The same in one line of words."""
    f = facts()
    cores = f"{f['cores']} core{'' if f['cores'] == 1 else 's'}"
    return f"{f['cpu']}, {cores}, {f['host']}, {f['kernel']}, Python {f['python']}, numba {f['numba']}, {f['date']}"
