"""The compiled code's cache: kept while nothing changed, dropped when any file of the package changed."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import lbcore

PROGRAM = """
from lbcore.jit import kernel
from lbcore.wire.trial import double

@kernel
def apply(x):
    return double(x)

print(apply(21), sum(apply.stats.cache_hits.values()))
"""


def run(folder: Path) -> str:
    command = [sys.executable, str(folder / "program.py")]
    env = {"PYTHONPATH": str(folder), "PATH": "/usr/bin:/bin", "HOME": str(folder)}
    return subprocess.run(command, env=env, check=True, capture_output=True, text=True, timeout=120).stdout.strip()


def test_a_kernel_is_compiled_again_when_a_file_it_calls_into_changed(tmp_path: Path) -> None:
    package = tmp_path / "lbcore"
    shutil.copytree(Path(lbcore.__file__).parent, package, ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "program.py").write_text(PROGRAM)
    callee = package / "wire" / "trial.py"
    head = "from lbcore.wire.portable import portable\n\n@portable\ndef double(x):\n"
    callee.write_text(head + "    return 2 * x\n")
    assert run(tmp_path) == "42 0"
    assert run(tmp_path) == "42 1", "an unchanged package should have come from the cache"
    callee.write_text(head + "    return 2 * x + 1  # edited\n")
    assert run(tmp_path) == "43 0", "the edit of a callee was not seen"
