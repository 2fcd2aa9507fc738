"""book.py: what it says when it cannot work, and what it does, and does not do twice, when it can.

A stand-in for uv (a shell script that writes down what it is asked, and can be told to fail) takes the place of the
network. The real thing runs in front of every run of these tests: it made the .venv that they run in.
"""

from __future__ import annotations

import ast
import importlib.util
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

BOOK = Path(__file__).resolve().parents[1] / "book.py"
TREE = ast.parse(BOOK.read_text(encoding="utf-8"))

UV = """#!/bin/sh
echo "$@" >> {log}
case "$1 $2" in
  "--version "*) echo "uv 1.2.3" ;;
  "venv "*) mkdir -p .venv/bin && ln -s {python} .venv/bin/python ;;
  "pip sync") test ! -e {fail} ;;
esac
"""


@pytest.fixture
def book() -> ModuleType:
    """book.py as a module."""
    spec = importlib.util.spec_from_file_location("book", BOOK)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class Checkout:
    """A copy of what book.py needs, in a folder with spaces in its name, with a stand-in for uv."""

    def __init__(self, folder: Path) -> None:
        self.root = folder / "my books" / "load balancing"
        self.root.mkdir(parents=True)
        for name in ("book.py", "requirements.lock", "pyproject.toml"):
            shutil.copy(BOOK.parent / name, self.root)
        self.log, self.fail = folder / "log", folder / "fail"
        (self.root / "lbcore").mkdir()
        (self.root / "lbcore" / "__init__.py").touch()
        (self.root / "lbcore" / "warm.py").write_text(f"print('warm up', file=open({str(self.log)!r}, 'a'))")
        tools = folder / "bin"
        tools.mkdir()
        uv = tools / "uv"
        places = {"log": self.log, "fail": self.fail, "python": sys.executable}
        uv.write_text(UV.format(**{name: shlex.quote(str(place)) for name, place in places.items()}))
        uv.chmod(0o755)
        self.env = {"PATH": f"{tools}:/usr/bin:/bin", "HOME": str(folder)}

    def run(self, *arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, str(self.root / "book.py"), *arguments]
        return subprocess.run(command, env={**self.env, **env}, cwd="/", capture_output=True, text=True)

    def asked(self) -> list[str]:
        """What uv was asked since the last time, its first two words each, without asking for its version."""
        lines = self.log.read_text().splitlines() if self.log.exists() else []
        self.log.unlink(missing_ok=True)
        return [" ".join(line.split()[:2]) for line in lines if line != "--version"]


@pytest.fixture
def checkout(tmp_path: Path) -> Checkout:
    return Checkout(tmp_path)


EVERYTHING = ["venv -q", "pip sync", "pip install", "warm up"]


def test_it_parses_on_python_3_6_and_wants_nothing_installed() -> None:
    ast.parse(BOOK.read_text(encoding="utf-8"), feature_version=(3, 6))
    imports = [node for node in ast.walk(TREE) if isinstance(node, (ast.Import, ast.ImportFrom))]
    names = {alias.name for node in imports if isinstance(node, ast.Import) for alias in node.names}
    names |= {node.module for node in imports if isinstance(node, ast.ImportFrom) and node.module}
    assert names <= sys.stdlib_module_names
    assert not any(node.module == "__future__" for node in imports if isinstance(node, ast.ImportFrom))


def test_an_old_python_is_told_so_before_anything_else_is_imported() -> None:
    program = f"import sys; sys.version_info = (3, 8, 1, 'final', 0); import runpy; runpy.run_path({str(BOOK)!r})"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 1
    assert "needs Python 3.11 or newer" in done.stderr
    assert "is Python 3.8" in done.stderr
    first = next(node for node in TREE.body if not isinstance(node, ast.Expr))
    assert isinstance(first, ast.Import)
    assert [alias.name for alias in first.names] == ["sys"]


def test_help_names_every_command_and_a_wrong_one_is_named(checkout: Checkout, book: ModuleType) -> None:
    shown = checkout.run("--help").stdout
    assert all(f"book.py {name}" in shown for name in book.COMMANDS)
    wrong = checkout.run("labs")
    assert wrong.returncode == 2
    assert "'labs'" in wrong.stderr
    assert checkout.asked() == []


def test_a_second_start_does_nothing(checkout: Checkout) -> None:
    first = checkout.run("setup")
    assert first.returncode == 0, first.stderr
    assert checkout.asked() == EVERYTHING
    again = checkout.run("setup")
    assert (again.returncode, again.stdout) == (0, "")
    assert checkout.asked() == []


@pytest.mark.parametrize("name", ["requirements.lock", "pyproject.toml"])
def test_a_changed_file_is_brought_up_to_date_without_starting_again(checkout: Checkout, name: str) -> None:
    checkout.run("setup")
    checkout.asked()
    (checkout.root / name).write_text((checkout.root / name).read_text() + "\n# changed\n")
    assert checkout.run("setup").returncode == 0
    assert checkout.asked() == EVERYTHING[1:]


def test_a_failed_setup_says_what_to_do_and_is_repaired_by_the_next(checkout: Checkout) -> None:
    checkout.fail.touch()
    failed = checkout.run("setup")
    assert failed.returncode == 1
    assert "Could not fetch the packages that requirements.lock names" in failed.stderr
    assert "HTTPS_PROXY" in failed.stderr
    assert "Traceback" not in failed.stderr
    checkout.asked()
    left = checkout.root / ".venv" / "half-made"
    left.touch()
    checkout.fail.unlink()
    assert checkout.run("setup").returncode == 0
    assert checkout.asked() == EVERYTHING
    assert not left.exists()


def test_an_update_that_failed_is_not_taken_for_done(checkout: Checkout) -> None:
    checkout.run("setup")
    lock = checkout.root / "requirements.lock"
    before = lock.read_text()
    lock.write_text(before + "\n# changed\n")
    checkout.fail.touch()
    assert checkout.run("setup").returncode == 1
    lock.write_text(before)
    checkout.fail.unlink()
    checkout.asked()
    assert checkout.run("setup").returncode == 0
    assert checkout.asked() == EVERYTHING


def test_a_moved_checkout_and_a_lost_python_start_again(checkout: Checkout) -> None:
    checkout.run("setup")
    checkout.asked()
    checkout.root = checkout.root.rename(checkout.root.parent / "moved")
    assert checkout.run("setup").returncode == 0
    assert checkout.asked() == EVERYTHING
    (checkout.root / ".venv" / "bin" / "python").unlink()
    assert checkout.run("setup").returncode == 0
    assert checkout.asked() == EVERYTHING


def test_a_uv_that_does_not_run_is_no_uv(book: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A version manager's stub on PATH, for instance: ours is fetched, beside the system's Python and not into it."""
    asked: list[str] = []

    def pretend(command: list[str], **_: object) -> subprocess.CompletedProcess[str]:
        if "install" in command:
            asked.extend(command)
        return subprocess.CompletedProcess(
            command, 0 if command[-1] == "--version" and "pip" in command else 1, "pip 1"
        )

    monkeypatch.setattr(book.subprocess, "run", pretend)
    monkeypatch.setattr(book.shutil, "which", lambda name: f"/shims/{name}")
    monkeypatch.setattr(book, "OWN_UV", tmp_path / "bin" / "uv")
    with pytest.raises(book.Trouble, match="Could not fetch uv"):
        book.find_uv({})
    assert asked[asked.index("--target") + 1] == str(tmp_path)


def test_without_pip_and_uv_it_says_how_to_get_either(book: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(book, "answer", lambda *command, env: None)
    with pytest.raises(book.Trouble, match="has no pip"):
        book.find_uv({})


@pytest.mark.parametrize("home", ["", "/no/such/folder"])
def test_without_a_home_every_tool_writes_into_this_folder(
    book: ModuleType, monkeypatch: pytest.MonkeyPatch, home: str
) -> None:
    monkeypatch.setenv("HOME", home)
    monkeypatch.setenv("MPLCONFIGDIR", "/chosen")
    for name in book.HOMELESS.keys() - {"MPLCONFIGDIR"}:
        monkeypatch.delenv(name, raising=False)
    env = book.environment()
    assert env["MPLCONFIGDIR"] == "/chosen", "the reader's own choice stays"
    for name in book.HOMELESS.keys() - {"MPLCONFIGDIR"}:
        assert Path(env[name]).is_relative_to(book.ROOT / ".cache"), name


def test_with_a_home_nothing_is_moved(book: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in book.HOMELESS:
        monkeypatch.delenv(name, raising=False)
    assert not book.HOMELESS.keys() & book.environment().keys()


LISTING = """global.index-url='https://mirror.example/simple'
global.cert='/etc/my certs/all.pem'
global.timeout='60'
install.find-links='/wheels\\n/more'
:env:.index-url='https://nearer.example/simple'
"""


def test_pips_mirror_is_uvs_mirror(book: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(book, "answer", lambda *command, env: LISTING)
    assert book.pip_settings({"XDG_CONFIG_HOME": str(tmp_path)}) == {
        "UV_DEFAULT_INDEX": "https://nearer.example/simple",
        "UV_FIND_LINKS": "/wheels,/more",
        "SSL_CERT_FILE": "/etc/my certs/all.pem",
        "UV_INDEX_STRATEGY": "unsafe-best-match",
    }


def test_uvs_own_settings_come_first(book: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(book, "answer", lambda *command, env: LISTING)
    assert book.pip_settings({"UV_INDEX_URL": "https://mine.example/simple"}) == {}
    (tmp_path / "uv").mkdir()
    (tmp_path / "uv" / "uv.toml").touch()
    assert book.pip_settings({"XDG_CONFIG_HOME": str(tmp_path)}) == {}


def test_every_check_runs_even_after_one_failed_and_the_table_says_which(
    book: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    ran: list[tuple[list[str], str]] = []

    def pretend(command: list[str], cwd: Path, env: dict[str, str]) -> subprocess.CompletedProcess[str]:
        ran.append((command, env.get("LBCORE_TIER", "own")))
        return subprocess.CompletedProcess(command, 1 if "tests" in command else 0)

    monkeypatch.setattr(book, "setup", dict)
    monkeypatch.setattr(book.subprocess, "run", pretend)
    assert book.test([]) == 1
    assert [tier for _, tier in ran] == ["own", "own", "0"]
    table = capsys.readouterr().out.split("seconds")[1].splitlines()
    assert [line.split()[-2] for line in table if line] == ["(1)", "passed", "passed"]
    ran.clear()
    assert book.test(["-k", "maglev"]) == 0
    assert len(ran) == 1
    assert ran[0][0][-2:] == ["-k", "maglev"]
