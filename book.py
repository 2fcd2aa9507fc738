#!/usr/bin/env python3
"""Opens the book, and proves it. Needs Python 3.11 or newer with pip, nothing else; no root.

    python3 book.py lab [JUPYTERLAB ARGUMENTS]    open the book in the browser (the first time: a minute or two)
    python3 book.py test [PYTEST ARGUMENTS]       run every check; with arguments, only the tests, with those arguments
    python3 book.py setup                         only make .venv, or bring it up to date
    python3 book.py lock [UV ARGUMENTS]           renew requirements.lock and binder/requirements.txt (--upgrade: newest)

Everything stays in this folder: .tools holds uv (unless uv is on PATH), .venv the packages that requirements.lock names
by version and hash. Deleting both undoes it all; the next command makes them again.
"""

import sys

if sys.version_info < (3, 11):  # before any other import, in syntax that Python 3.6 can read, so that this can be said
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
import hashlib
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
TOOLS = ROOT / ".tools"
VENV = ROOT / ".venv"
PYTHON = VENV / "bin" / "python"
STAMP = VENV / "book.stamp"  # written last: what .venv was made from

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
PIP_TO_UV = {
    "index-url": ("UV_DEFAULT_INDEX", " "),
    "extra-index-url": ("UV_INDEX", " "),
    "find-links": ("UV_FIND_LINKS", ","),
    "cert": ("SSL_CERT_FILE", ""),
    "proxy": ("ALL_PROXY", ""),
}

NOTEBOOKS = ["--nbval", "--nbval-current-env", "--nbval-cell-timeout=60"]
NOTEBOOKS += ["--nbval-sanitize-with=tests/nbval_sanitize.cfg", "chapters", "labs/solutions"]
CHECKS = [  # what, pytest's arguments, what changes in the environment
    ("tests", ["tests"], {}),
    ("notebooks, this machine's tier", NOTEBOOKS, {}),
    ("notebooks, tier 0", NOTEBOOKS, {"LBCORE_TIER": "0"}),
]


class Trouble(Exception):
    """What could not be done and what to do about it, in words for the reader."""


def environment() -> "dict[str, str]":
    """The environment of everything started here: .venv first on PATH, no file outside this folder if home is closed."""
    env = dict(os.environ, VIRTUAL_ENV=str(VENV))
    env["PATH"] = f"{VENV / 'bin'}{os.pathsep}{env.get('PATH', os.defpath)}"
    if not os.access(env.get("HOME", os.path.expanduser("~")), os.W_OK):
        for name, folder in HOMELESS.items():
            env.setdefault(name, str(ROOT / ".cache" / folder))
    return env


def run(command: list, env: "dict[str, str]", trouble: str) -> None:
    """Run `command` in this folder; if it fails, its own words stand above and `trouble` says what they mean."""
    if subprocess.run([str(word) for word in command], cwd=ROOT, env=env).returncode:
        raise Trouble(trouble)


# ---- setup: .tools/bin/uv, then .venv ----


def pip_settings(env: "dict[str, str]") -> "dict[str, str]":
    """What pip was told about where packages come from, in uv's names; nothing if uv was told something itself."""
    homes = (env.get("XDG_CONFIG_HOME") or os.path.expanduser("~/.config"), "/etc")
    if any(name.startswith("UV_") and "INDEX" in name for name in env) or any(
        Path(h, "uv/uv.toml").exists() for h in homes
    ):
        return {}
    listing = subprocess.run(
        [sys.executable, "-m", "pip", "config", "list"], env=env, capture_output=True, text=True
    ).stdout
    told = {}
    for scope in ("global.", "install.", ":env:."):  # a later one wins, as in pip
        for line in listing.splitlines():
            key, _, value = line.partition("=")
            if key.startswith(scope):
                told[key[len(scope) :]] = ast.literal_eval(value).split()
    found = {name: joint.join(told[key]) for key, (name, joint) in PIP_TO_UV.items() if key in told}
    return dict(found, UV_INDEX_STRATEGY="unsafe-best-match")  # pip's way: the newest from anywhere; the hashes decide


def find_uv(env: "dict[str, str]") -> str:
    """The uv on PATH if it runs, else our own in .tools, fetched with pip (`--target` never touches the system's Python)."""
    for uv in (shutil.which("uv"), str(TOOLS / "bin" / "uv")):
        with contextlib.suppress(OSError):
            if uv and subprocess.run([uv, "--version"], env=env, capture_output=True).returncode == 0:
                return uv
    pip = [sys.executable, "-m", "pip"]
    if subprocess.run([*pip, "--version"], env=env, capture_output=True).returncode:
        raise Trouble(
            f"{sys.executable} has no pip. Install it (Debian, Ubuntu: apt install python3-pip; Fedora: dnf install\n"
            "python3-pip; any: python3 -m ensurepip), or install uv, and run the same command again."
        )
    print("book.py: fetching uv into .tools", flush=True)
    shutil.rmtree(TOOLS, ignore_errors=True)  # the remains of an interrupted fetch
    options = ["--quiet", "--disable-pip-version-check", "--root-user-action=ignore", "--retries=2", "--target", TOOLS]
    # Neither setting fits --target, and both are common on shared machines.
    run([*pip, "install", *options, "uv"], dict(env, PIP_USER="0", PIP_REQUIRE_VIRTUALENV="0"), not_fetched("uv"))
    return str(TOOLS / "bin" / "uv")


def not_fetched(what: str) -> str:
    """The advice for a download that failed."""
    return (
        f"Could not fetch {what}; the lines above say why.\n"
        "Setting up needs the network once. Behind a proxy set HTTPS_PROXY; for a mirror, pip's own configuration is\n"
        "enough (pip config set global.index-url ...). Then run the same command again: it goes on where this one ended."
    )


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


def setup() -> "dict[str, str]":
    """Make .venv what requirements.lock says, unless it is that already; returns the environment to run things in."""
    env = environment()
    ground = f"Python {platform.python_version()} on {platform.machine()} in {ROOT}\n"
    wanted = ground + hashlib.sha256(LOCK.read_bytes() + PROJECT.read_bytes()).hexdigest()
    with alone():
        stamp = STAMP.read_text() if PYTHON.exists() and STAMP.exists() else ""
        if stamp == wanted:
            return env
        uv = find_uv(env)
        # The system's certificates, as pip and browsers use: a company's proxy is known there.
        told = {"UV_SYSTEM_CERTS": "1", "UV_NATIVE_TLS": "1", **pip_settings(env), **env}
        if not stamp.startswith(ground):  # none, unfinished, or made for another Python or place: from the start
            if VENV.exists():
                shutil.rmtree(VENV)
            # Inside a virtual environment, even our own that has just gone, the Python it was made from.
            python = getattr(sys, "_base_executable", sys.executable)
            run(
                [uv, "venv", "--quiet", "--python", python, VENV],
                told,
                "uv could not make .venv; the lines above say why.",
            )
        STAMP.unlink(missing_ok=True)
        print("book.py: making .venv what requirements.lock says", flush=True)
        run([uv, "pip", "sync", "--python", PYTHON, LOCK], told, not_fetched("the packages of requirements.lock"))
        install = [
            uv,
            "pip",
            "install",
            "--quiet",
            "--python",
            PYTHON,
            "--no-deps",
            "--no-build-isolation",
            "--editable",
            ROOT,
        ]
        run(install, told, "uv could not install lbcore from this folder; the lines above say why.")
        STAMP.write_text(wanted)
    return env


# ---- the commands ----


def lab(arguments: "list[str]") -> int:
    """JupyterLab on this machine only, on the first page; this process becomes it, so Ctrl-C and signals are its own."""
    env = setup()
    command = [str(PYTHON), "-m", "jupyterlab", f"--ServerApp.root_dir={ROOT}", "--ServerApp.ip=127.0.0.1"]
    command += ["--LabApp.default_url=/lab/tree/chapters/00-start-here.ipynb"]
    if os.geteuid() == 0:
        command += ["--allow-root"]  # containers, and machines where root is lent for the kernel chapters
    sys.stdout.flush()
    os.chdir(ROOT)
    os.execve(PYTHON, command + arguments, env)


def test(arguments: "list[str]") -> int:
    """Every check, its own closing line after each, and a table; 1 if any failed."""
    env = setup()
    checks = [("tests", arguments, {})] if arguments else CHECKS
    rows = []
    for what, words, changes in checks:
        print(f"\n---- {what} ----", flush=True)
        start = time.monotonic()
        pytest = [str(PYTHON), "-m", "pytest", "-n", "2", "--dist", "loadfile", *words]
        status = subprocess.run(pytest, cwd=ROOT, env=dict(env, **changes)).returncode
        rows.append((what, f"FAILED ({status})" if status else "passed", time.monotonic() - start))
    print("\n{:<32}{:<12}{:>8}".format("what", "result", "seconds"))
    for row in rows:
        print("{:<32}{:<12}{:>8.1f}".format(*row))
    return int(any(result != "passed" for _, result, _ in rows))


def lock(arguments: "list[str]") -> int:
    """Pin what pyproject.toml asks for, for every platform, and the part of it that Binder needs: two files, one run."""
    import tomllib

    env = environment()
    told = {"UV_SYSTEM_CERTS": "1", "UV_NATIVE_TLS": "1", **pip_settings(env), **env}
    compile_ = [find_uv(env), "pip", "compile", "--quiet", "--no-header", "--no-emit-index-url", "--no-emit-find-links"]
    everything = [
        "--universal",
        "--generate-hashes",
        "--python-version",
        "3.11",
        "--extra",
        "test",
        PROJECT,
        "-o",
        LOCK,
    ]
    run(compile_ + everything + arguments, told, not_fetched("the versions to choose from"))
    # Binder brings a JupyterLab and all that serves it: the pins are those of the book's other needs.
    needs = tomllib.loads(PROJECT.read_text())["project"]["dependencies"]
    needs = "\n".join(need for need in needs if not need.startswith("jupyterlab"))
    here = [
        "--python-version",
        "3.12",
        "--python-platform",
        "linux",
        "--no-annotate",
        "--constraints",
        LOCK,
        "-",
        "-o",
        BINDER,
    ]
    BINDER.unlink(missing_ok=True)
    subprocess.run([str(word) for word in compile_ + here], input=needs, text=True, cwd=ROOT, env=told, check=True)
    return 0


COMMANDS = {"lab": lab, "test": test, "setup": lambda arguments: setup() and 0, "lock": lock}


def main(argv: "list[str]") -> int:
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
        print(f"\nbook.py: {error}. Everything is kept in {ROOT}: it must be writable.", file=sys.stderr)
    except KeyboardInterrupt:
        print("\nbook.py: stopped; the same command goes on where this one ended.", file=sys.stderr)
        return 130
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
