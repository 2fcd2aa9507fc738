"""The Binder image, as far as it can be proved without building it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
BINDER = ROOT / "binder"


@pytest.fixture(scope="module")
def dockerfile() -> str:
    """What repo2docker would build from this repository."""
    command = [
        sys.executable,
        "-m",
        "repo2docker",
        "--no-build",
        "--debug",
        "--user-id=1000",
        "--user-name=reader",
        ".",
    ]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def test_the_image_has_python_3_12(dockerfile: str) -> None:
    assert "Building conda environment for python=3.12" in dockerfile
    assert re.search(r"environment-2epy-2d3-2e12-2d.*/tmp/env/environment\.lock", dockerfile)


def test_the_pins_are_installed_before_the_book_is_copied(dockerfile: str) -> None:
    """So that a changed page does not install everything again."""
    pins = dockerfile.index('pip install --no-cache-dir -r "binder/requirements.txt"')
    book = dockerfile.index("src/ ${REPO_DIR}/\n")
    prepared = dockerfile.index("RUN ./binder/postBuild")
    assert pins < book < prepared


def test_everything_runs_through_start(dockerfile: str) -> None:
    assert 'ENV R2D_ENTRYPOINT="${REPO_DIR}/binder/start"' in dockerfile


@pytest.mark.parametrize("name", ["postBuild", "start"])
def test_scripts_can_run_and_stop_at_the_first_error(name: str) -> None:
    script = BINDER / name
    assert os.access(script, os.X_OK)
    assert "set -euo pipefail" in script.read_text()
    subprocess.run(["bash", "-n", script], check=True)


def test_jupyterlab_is_left_as_it_is_there() -> None:
    assert not re.search(r"^jupyterlab=", (BINDER / "requirements.txt").read_text(), re.MULTILINE)


SHOW = "from numba.core.registry import cpu_target as t; print(*t.target_context.codegen().magic_tuple()[1:], sep='|')"


def test_start_passes_on_and_fixes_the_cpu_that_compiled_code_is_for() -> None:
    """The cache's key is CPU name and features: with both fixed, code compiled into the image is found on any host."""
    done = subprocess.run([BINDER / "start", sys.executable, "-c", SHOW], capture_output=True, text=True, check=True)
    name, _, features = done.stdout.strip().partition("|")
    assert (name, features) == ("x86-64-v3", "") or os.uname().machine != "x86_64"


def test_start_hands_on_arguments_and_exit_status() -> None:
    done = subprocess.run([BINDER / "start", "sh", "-c", 'echo "$1"; exit 7', "sh", "two words"], capture_output=True)
    assert (done.returncode, done.stdout) == (7, b"two words\n")
