#!/usr/bin/env python3
"""Opens the book, and proves it. Needs Python 3.11 or newer with pip, nothing else; no root.

    python3 book.py lab [JUPYTERLAB ARGUMENTS]    open the book in the browser (the first time: a minute or two)
    python3 book.py test [PYTEST ARGUMENTS]       run every check; with arguments, only the tests, with those arguments
    python3 book.py setup                         only make .venv, or bring it up to date
    python3 book.py lock [UV ARGUMENTS]           renew requirements.lock and binder/requirements.txt (--upgrade)

.tools holds uv (unless uv is on PATH), .venv the packages that requirements.lock names by version and hash. Delete
both and everything is undone; the next command makes them again.
"""

import sys

if sys.version_info < (3, 11):  # noqa: UP036 - first of all, and in syntax that Python 3.6 reads, to be able to say it
    sys.exit(
        "book.py needs Python 3.11 or newer, and {} is Python {}.{}.\n"
        "Run it with a newer one, for instance: python3.12 book.py lab".format(sys.executable, *sys.version_info[:2])
    )
if sys.platform == "win32":
    sys.exit(
        "book.py runs on Linux and macOS. On Windows use WSL, or open the book on Binder (the badge in README.md)."
    )

import ast
import contextlib
import fcntl
import functools
import hashlib
import json
import os
import platform
import shutil
import subprocess
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent
LOCK = ROOT / "requirements.lock"
BINDER = ROOT / "binder" / "requirements.txt"
PROJECT = ROOT / "pyproject.toml"
OWN_UV = ROOT / ".tools" / "bin" / "uv"
VENV = ROOT / ".venv"
PYTHON = VENV / "bin" / "python"
STAMP = VENV / "book.stamp"  # written last: what .venv was made from
SETTINGS = VENV / "share" / "jupyter" / "lab" / "settings" / "overrides.json"
HOST = getattr(sys, "_base_executable", "") if sys.prefix == str(VENV) else sys.executable  # any Python but .venv's own
PIP = (HOST, "-m", "pip")

# Where tools keep their files when the home folder cannot be written: a folder of .cache for each.
HOMELESS = {
    "XDG_CACHE_HOME": ".",
    "UV_CACHE_DIR": "uv",
    "IPYTHONDIR": "ipython",
    "JUPYTER_CONFIG_DIR": "jupyter/config",
    "JUPYTER_DATA_DIR": "jupyter/data",
    "MPLCONFIGDIR": "matplotlib",
    "NUMBA_CACHE_DIR": "numba",
}

# uv does not read pip's configuration. Who taught pip a mirror or a proxy should not have to say it twice, and the
# hashes of the lock make any source as good as another. uv's own settings, where there are any, come first.
PIP_TO_UV = {  # pip's option: uv's variable, and what stands between several values there
    "index-url": ("UV_DEFAULT_INDEX", " "),
    "extra-index-url": ("UV_INDEX", " "),
    "find-links": ("UV_FIND_LINKS", ","),
    "cert": ("SSL_CERT_FILE", ""),
    "proxy": ("ALL_PROXY", ""),
}

# JupyterLab asks at its first start whether it may fetch news, and looks for new versions of itself. Not in a book.
QUIET = {"@jupyterlab/apputils-extension:notification": {"fetchNews": "false", "checkForUpdates": False}}

NOTEBOOKS = ["chapters", "labs/solutions", "--nbval", "--nbval-current-env", "--nbval-cell-timeout=60"]
NOTEBOOKS += ["--nbval-sanitize-with=tests/nbval_sanitize.cfg", "-p", "tests.nbval_kernels"]
CHECKS = [  # what, arguments of pytest, what changes in the environment
    ("tests", ["tests"], {}),
    ("notebooks, own tier", NOTEBOOKS, {}),
    ("notebooks, tier 0", NOTEBOOKS, {"LBCORE_TIER": "0"}),
]


class Trouble(Exception):
    """What could not be done and what to do about it, in words for the reader."""


def environment() -> dict[str, str]:
    """What is started here sees .venv first on PATH, and writes only to this folder when home cannot be written."""
    env = dict(os.environ, VIRTUAL_ENV=str(VENV))
    env["PATH"] = f"{VENV / 'bin'}{os.pathsep}{env.get('PATH', os.defpath)}"
    if not os.access(env.get("HOME", os.path.expanduser("~")), os.W_OK):
        for name, folder in HOMELESS.items():
            env.setdefault(name, str(ROOT / ".cache" / folder))
    return env


def run(*command, env: dict[str, str], trouble: str, **options) -> None:
    """Run `command` in this folder; if it fails, its own words stand above and `trouble` says what they mean."""
    if subprocess.run([str(word) for word in command], cwd=ROOT, env=env, **options).returncode:
        raise Trouble(trouble)


def answer(*command, env: dict[str, str]) -> "str | None":
    """What `command` prints, or None when it does not run or fails."""
    try:
        done = subprocess.run(command, env=env, capture_output=True, text=True)
    except OSError:
        return None
    return None if done.returncode else done.stdout


# ---- setup: uv, then .venv ----


def not_fetched(what: str) -> str:
    """The advice for a download that failed."""
    return (
        f"Could not fetch {what}; the lines above say why.\n"
        "Setting up needs the network once. Behind a proxy set HTTPS_PROXY; for a mirror, pip's own configuration\n"
        "(pip config set global.index-url ...) is enough. Then run the same command again: nothing is fetched twice."
    )


def pip_settings(env: dict[str, str]) -> dict[str, str]:
    """Where pip was told to look for packages, in uv's names; nothing if uv itself was told something."""
    homes = (env.get("XDG_CONFIG_HOME") or os.path.expanduser("~/.config"), "/etc")
    told_by_file = any(os.path.exists(os.path.join(home, "uv", "uv.toml")) for home in homes)
    if told_by_file or any(name.startswith("UV_") and "INDEX" in name for name in env):
        return {}
    listing = (answer(*PIP, "config", "list", env=env) or "").splitlines()
    told = {}
    for scope in ("global.", "install.", ":env:."):  # a later one wins, as in pip
        for key, _, value in (line.partition("=") for line in listing):
            if key.startswith(scope):
                told[key[len(scope) :]] = ast.literal_eval(value)
    known = [(key, name, joint) for key, (name, joint) in PIP_TO_UV.items() if key in told]
    found = {name: joint.join(told[key].split()) if joint else told[key] for key, name, joint in known}
    return dict(found, UV_INDEX_STRATEGY="unsafe-best-match")  # as pip: every source is equal; the hashes decide


def find_uv(env: dict[str, str]) -> str:
    """The uv on PATH if it runs, else our own, fetched with pip, whose --target leaves the system's Python alone."""
    for uv in (shutil.which("uv"), str(OWN_UV)):
        if uv and answer(uv, "--version", env=env):
            return uv
    if not answer(*PIP, "--version", env=env):
        raise Trouble(
            f"{HOST} has no pip. Install it (Debian, Ubuntu: apt install python3-pip; Fedora: dnf install\n"
            "python3-pip; elsewhere: python3 -m ensurepip), or install uv, and run the same command again."
        )
    print("book.py: fetching uv into .tools", flush=True)
    target = OWN_UV.parent.parent
    shutil.rmtree(target, ignore_errors=True)  # the remains of an interrupted fetch
    options = ("--quiet", "--disable-pip-version-check", "--root-user-action=ignore", "--retries=2", "--target", target)
    env = dict(env, PIP_USER="0", PIP_REQUIRE_VIRTUALENV="0")  # common on shared machines, and neither fits --target
    run(*PIP, "install", *options, "uv", env=env, trouble=not_fetched("uv, the package installer"))
    return str(OWN_UV)


def uv_ready(env: dict[str, str]) -> "functools.partial[None]":
    """`run`, with uv as its command."""
    certificates = {"UV_SYSTEM_CERTS": "1", "UV_NATIVE_TLS": "1"}  # the system's: a company's proxy is known there
    return functools.partial(run, find_uv(env), env={**certificates, **pip_settings(env), **env})


@contextlib.contextmanager
def alone():
    """Of two commands started at once, one sets up while the other waits."""
    folder = os.open(ROOT, os.O_RDONLY)
    try:
        with contextlib.suppress(OSError):  # some network file systems have no locks; there, nobody waits
            fcntl.flock(folder, fcntl.LOCK_EX)
        yield
    finally:
        os.close(folder)


def setup() -> dict[str, str]:
    """Make .venv what requirements.lock says, unless it is that already; returns the environment to run things in."""
    env = environment()
    ground = f"Python {platform.python_version()} on {platform.machine()} in {ROOT}\n"
    wanted = ground + hashlib.sha256(LOCK.read_bytes() + PROJECT.read_bytes()).hexdigest()
    with alone():
        stamp = STAMP.read_text() if PYTHON.exists() and STAMP.exists() else ""
        if stamp == wanted:
            return env
        uv = uv_ready(env)
        if not stamp.startswith(ground):  # never finished, or made for another Python or place: from the start
            if VENV.exists():
                shutil.rmtree(VENV)
            uv("venv", "-q", "-p", HOST, VENV, trouble="uv could not make .venv; the lines above say why.")
        STAMP.unlink(missing_ok=True)
        print("book.py: making .venv what requirements.lock says", flush=True)
        uv("pip", "sync", "-p", PYTHON, LOCK, trouble=not_fetched("the packages that requirements.lock names"))
        project = ("--no-deps", "--no-build-isolation", "-e", ROOT)
        uv("pip", "install", "-q", "-p", PYTHON, *project, trouble="lbcore could not be installed; see above.")
        run(PYTHON, "-m", "lbcore.warm", env=env, trouble="What needs speed could not be compiled; see above.")
        SETTINGS.parent.mkdir(parents=True, exist_ok=True)
        SETTINGS.write_text(json.dumps(QUIET))
        STAMP.write_text(wanted)
    return env


# ---- the commands ----


def lab(arguments: list[str]) -> int:
    """JupyterLab, for this machine only, on the first page. This process becomes it, so Ctrl-C is its own."""
    env = setup()
    command = [str(PYTHON), "-m", "jupyterlab", "--ServerApp.ip=127.0.0.1", f"--ServerApp.root_dir={ROOT}"]
    command += ["--LabApp.default_url=/lab/tree/chapters/00-start-here.ipynb"]
    if os.geteuid() == 0:
        command += ["--allow-root"]  # containers, and machines where root is lent for the kernel's chapters
    sys.stdout.flush()
    os.execve(PYTHON, command + arguments, env)


def test(arguments: list[str]) -> int:
    """Every check, its own closing line after each, and a table; 1 if any failed."""
    env = setup()
    rows = []
    for what, words, changes in [("tests", arguments, {})] if arguments else CHECKS:
        print(f"\n==== {what} ====", flush=True)
        start = time.monotonic()
        pytest = [str(PYTHON), "-m", "pytest", "-n", "2", "--dist", "loadfile", *words]
        status = subprocess.run(pytest, cwd=ROOT, env=dict(env, **changes)).returncode
        rows.append((what, f"FAILED ({status})" if status else "passed", time.monotonic() - start))
    print("\n{:<24}{:<12}{:>8}".format("what", "result", "seconds"))
    for row in rows:
        print("{:<24}{:<12}{:>8.1f}".format(*row))
    return int(any(result != "passed" for _, result, _ in rows))


def lock(arguments: list[str]) -> int:
    """Pin what pyproject.toml asks for, on every platform, and the part that Binder needs: two files, one run."""
    import tomllib

    uv = uv_ready(environment())
    pin = functools.partial(uv, "pip", "compile", "-q", "--no-header", "--no-emit-index-url", "--no-emit-find-links")
    everything = ("--universal", "--generate-hashes", "--python-version=3.11", "--extra=test", PROJECT, "-o", LOCK)
    pin(*everything, *arguments, trouble=not_fetched("the versions to choose from"))
    # Binder brings a JupyterLab and all that serves it: the pins are those of the book's other needs.
    needs = tomllib.loads(PROJECT.read_text())["project"]["dependencies"]
    needs = "\n".join(need for need in needs if not need.startswith("jupyterlab"))
    binder = ("--python-platform=linux", "--python-version=3.12", "--no-annotate", "-c", LOCK, "-", "-o", BINDER)
    BINDER.unlink(missing_ok=True)  # so that the lock alone decides
    pin(*binder, input=needs, text=True, trouble=not_fetched("what Binder needs"))
    return 0


COMMANDS = {"lab": lab, "test": test, "setup": lambda arguments: setup() and 0, "lock": lock}


def main(argv: list[str]) -> int:
    """Run `book.py ARGV`; 0 when all is well."""
    if not argv or argv[0] in ("-h", "--help", "help"):
        print(__doc__.strip())
        return 0
    if argv[0] not in COMMANDS:
        print(f"book.py: no command {argv[0]!r}; there are: {', '.join(COMMANDS)}", file=sys.stderr)
        return 2
    try:
        return COMMANDS[argv[0]](argv[1:])
    except Trouble as trouble:
        print(f"\nbook.py: {trouble}", file=sys.stderr)
    except OSError as error:
        print(f"\nbook.py: {error}\nEverything is kept in {ROOT}: it must be complete and writable.", file=sys.stderr)
    except KeyboardInterrupt:
        print("\nbook.py: stopped. The same command goes on where this one ended.", file=sys.stderr)
        return 130
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
