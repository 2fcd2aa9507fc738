"""Objects that clang makes of the C programs beside this file."""

from __future__ import annotations

import subprocess
from functools import cache
from pathlib import Path

HERE = Path(__file__).parent / "c"


@cache
def c(name: str, *options: str, target: str = "bpf") -> bytes:
    """The object file of c/`name`.c."""
    command = ["clang", "-O2", "-g", "-Wall", "-target", target, "-mcpu=v3", *options, "-c", f"{name}.c", "-o", "-"]
    return subprocess.run(command, cwd=HERE, check=True, capture_output=True).stdout
