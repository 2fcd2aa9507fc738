"""The proxy compiled ahead: the copy is right, and does what the tests of the proxy want of it."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

from lbcore.l7.program import compiled
from tests import needs

ROOT = Path(__file__).parents[2]
SOURCES = sorted((ROOT / "lbcore" / "l7").rglob("*.py"))
SUITES = (
    "test_engine.py", "test_second_attempts.py", "test_regressions.py", "test_service.py", "test_grpc.py",
    "test_websocket.py", "http2/test_live.py", "http2/test_translate.py", "http2/test_hpack.py",
)  # fmt: skip
"""Tests that take the proxy as it is. (Others derive from its classes or change them, which compiled ones forbid.)"""


def names(source: str) -> set[str]:
    """What a module's top level defines, or imports under a name of its own."""
    found = set()
    for node in ast.parse(source).body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef):
            found.add(node.name)
        elif isinstance(node, ast.ImportFrom):
            found |= {one.asname for one in node.names if one.asname}
    return found


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT / "lbcore" / "l7")))
def test_what_is_taken_apart_still_says_the_same_names(path):
    source = path.read_text()
    rest = compiled.apart(source, "a.twin")
    if rest is not None:
        assert names(rest) == names(source)
    for node in ast.parse(rest or source).body:
        if isinstance(node, ast.ClassDef):
            assert not node.keywords, f"{node.name}: mypyc would leave out what its statement says"
            assert not {ast.unparse(base).partition("[")[0] for base in node.bases} & set(compiled.BUILTIN)


def test_every_module_that_is_named_is_there():
    for part, listed in compiled.MODULES.items():
        for name in listed.split():
            assert list((compiled.PACKAGE / part).glob(f"{name}.py")), f"{part}/{name}"


def test_no_compiler_is_said_before_anything_is_made(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(compiled.CannotCompile, match="no C compiler"):
        compiled.folder(tmp_path / "home")
    assert not (tmp_path / "home").exists()


def proxy(tmp_path: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """What `lbcore proxy --compiled` says, with a cache of its own."""
    config = tmp_path / "proxy.toml"
    config.write_text('[[listen]]\nport = 0\n[[route]]\nprefix = "/"\npool = "p"\n[[pool]]\nname = "p"\n'
                      'backend = [{ address = "127.0.0.1:9" }]\n')  # fmt: skip
    command = [sys.executable, "-m", "lbcore", "proxy", str(config), "--compiled"]
    environment = {**os.environ, "XDG_CACHE_HOME": str(tmp_path / "cache"), **environment}
    return subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)


def test_the_command_becomes_the_compiled_one(tmp_path):
    """In this place of the checkout's package: what is in the copy's folder is run, with the same file."""
    copy = tmp_path / "cache" / "lbcore" / "compiled" / compiled._digest() / "lbcore"
    copy.mkdir(parents=True)
    (copy / "__init__.py").touch()
    (copy / "__main__.py").write_text("import sys; print(__file__, *sys.argv[1:]); sys.exit(7)")
    ran = proxy(tmp_path)
    assert (ran.returncode, ran.stderr) == (7, "")
    assert ran.stdout.split("\n")[-2] == f"{copy / '__main__.py'} proxy {tmp_path / 'proxy.toml'}"


def test_the_command_says_what_is_lacking(tmp_path):
    ran = proxy(tmp_path, PATH=str(tmp_path))
    assert ran.returncode == 1
    assert ran.stderr.startswith("lbcore proxy --compiled: there is no C compiler")


@needs.command("cc", "gcc")
def test_what_the_compiler_says_is_told_and_nothing_is_left(monkeypatch, tmp_path):
    monkeypatch.setattr(compiled, "BUILD", "raise SystemExit('x.py:1: error: this is no Python')")
    with pytest.raises(compiled.CannotCompile, match="this is no Python"):
        compiled.folder(tmp_path)
    assert not list(tmp_path.iterdir())
    assert compiled.ready(tmp_path) is None


@needs.command("cc", "gcc")
def test_copies_do_not_pile_up(monkeypatch, tmp_path):
    """One is made for each edit; the oldest go."""
    monkeypatch.setattr(compiled, "BUILD", "")
    for number in range(compiled.KEPT + 3):
        monkeypatch.setattr(compiled, "_digest", lambda number=number: f"copy{number}")
        made = compiled.folder(tmp_path)
        os.utime(made, (number, number))
    assert {one.name for one in tmp_path.iterdir()} == {f"copy{number}" for number in range(3, compiled.KEPT + 3)}


@needs.command("cc", "gcc")
def test_the_compiled_proxy_passes_the_proxys_tests(tmp_path):
    folder = compiled.folder(tmp_path)
    assert compiled.ready(tmp_path) == folder
    path = os.pathsep.join((str(folder), str(ROOT)))
    environment = {**os.environ, "PYTHONPATH": path, "PYTHONSAFEPATH": "1"}
    where = "import lbcore.l7.engine.exchange as it; print(it.__file__)"
    said = subprocess.run([sys.executable, "-c", where], env=environment, capture_output=True, text=True, check=True)
    assert said.stdout.startswith(str(folder))
    assert not said.stdout.rstrip().endswith(".py")
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-x",
        "-o",
        "pythonpath=",
        "-p",
        "no:cacheprovider",
        "-p",
        "no:xdist",
    ]
    suites = [str(ROOT / "tests" / "l7" / name) for name in SUITES]
    ran = subprocess.run([*command, *suites], env=environment, cwd=ROOT, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stdout[-3000:] + ran.stderr[-1000:]
