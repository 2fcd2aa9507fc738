"""The proxy's busiest modules compiled ahead: the same files, made into machine code by mypyc.

    lbcore proxy --compiled CONFIG.toml

Rule of this file: make a folder with a copy of the package in which these modules are compiled, and find it again.
Nothing of the copy is imported here; another process runs from it.

Theory. The modules say the types of all they handle, for readers and for mypy. mypyc makes C of them by the same types:
an attribute is at a fixed place, a call of a known function is a call. What a module does stays the same, and so do the
tests that it has to pass; what goes is most of the interpreter's share. (numba compiles what handles bytes, as `scan`
does; but a proxy is mostly objects that know of each other, and those are not numba's.)

The copy's name is a digest of all sources and of the interpreter: edit a file, and the next start compiles anew.

Traps
- An interpreted class cannot be derived from a compiled one: who derives from one of `MODULES` belongs to them.
- mypyc makes no class whose statement takes arguments (msgspec's options) and none that is a kind of list or bytes.
  `apart` leaves those interpreted: in the copy they come from a twin of their module.
- A `tuple[bytes, bytes]` is two bytes to compiled code, and made anew where it leaves it: what has to stay with a line
  of a head has to be a part of it (as `hpack.Secret`), not a kind of tuple.
"""

from __future__ import annotations

import ast
import hashlib
import importlib.util
import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path
from typing import Final

PACKAGE: Final = Path(__file__).parents[2]
MODULES: Final = {
    "balance": "chooser",
    "l7": "entropy limits message notes target",
    "l7/engine": "*",
    "l7/filters": "access_log chain forwarded metrics rate_limit rate_store request_id security_headers traceparent",
    "l7/http1": "*",
    "l7/http2": "*",
    "l7/pools": "backend pool retry standing sticky_cookie window",
    "l7/program": "assemble",
    "l7/routing": "router split",
}
"""What most requests pass through."""
INTERPRETED: Final = ("__init__.py", "scan.py")
"""Not these: there is nothing in the one, and numba compiles the other."""
BUILTIN: Final = ("bytes", "dict", "frozenset", "list", "set", "str", "tuple")
TWIN: Final = "_apart"
KEPT: Final = 8
"""Copies that are kept; each edit makes another one, of some 10 MB."""
SETTINGS: Final = "[mypy]\nignore_missing_imports = true\n[mypy-numba.*,llvmlite.*]\nfollow_imports = skip\n"
BUILD: Final = """
import sys
from mypyc.build import mypycify
from setuptools import setup
modules = mypycify(["--config-file", "mypy.ini", *sys.argv[1:]], opt_level="2", debug_level="0", multi_file=True)
setup(name="lbcore", packages=[], ext_modules=modules, script_args=["-q", "build_ext", "--inplace"])
"""


class CannotCompile(RuntimeError):
    """What is lacking on this machine, or what the compiler said."""


def lacking() -> str:
    """What this machine has not got for it, in words; empty if nothing."""
    for module in ("mypyc", "setuptools"):
        if importlib.util.find_spec(module) is None:
            return f"the module {module} is not installed (it comes with lbcore[test])"
    compiler = (sysconfig.get_config_var("CC") or "cc").split()[0]
    if shutil.which(compiler) is None:
        return f"there is no C compiler (this Python was made by {compiler})"
    if not Path(sysconfig.get_path("include"), "Python.h").exists():
        return f"Python.h is not in {sysconfig.get_path('include')} (Debian: package python3-dev)"
    return ""


def ready(home: Path | None = None) -> Path | None:
    """The folder that `folder` would give, if it is there already."""
    place = (home or _home()) / _digest()
    return place if place.is_dir() else None


def folder(home: Path | None = None) -> Path:
    """What to put on PYTHONPATH to run the compiled proxy; made if it is not there, which takes a minute or two.

    home: where such folders are kept; by default in the user's cache. CannotCompile, OSError.
    """
    home = home or _home()
    if found := ready(home):
        return found
    if why := lacking():
        raise CannotCompile(why)
    home.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=home) as made:
        _build(Path(made, "copy"))
        try:
            os.rename(Path(made, "copy"), home / _digest())
        except OSError:  # somebody else was faster
            if not ready(home):
                raise
    for old in sorted(home.iterdir(), key=lambda one: one.stat().st_mtime)[:-KEPT]:
        shutil.rmtree(old, ignore_errors=True)
    return home / _digest()


def start(arguments: list[str]) -> None:
    """Become `lbcore proxy ARGUMENTS`, compiled. CannotCompile, OSError; does not return otherwise."""
    path = os.pathsep.join(filter(None, (str(folder()), os.environ.get("PYTHONPATH"))))
    command = [sys.executable, "-P", "-m", "lbcore", "proxy", *arguments]  # -P: not what lies in this directory
    os.execve(sys.executable, command, {**os.environ, "PYTHONPATH": path})


def apart(source: str, twin: str) -> str | None:
    """The module with classes that cannot be compiled taken from the module `twin` instead; None if it has none."""
    lines = source.splitlines(keepends=True)
    stay = [node for node in ast.parse(source).body if isinstance(node, ast.ClassDef) and _stays(node)]
    for node in reversed(stay):
        first = min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)])
        lines[first - 1 : node.end_lineno] = [f"from {twin} import {node.name} as {node.name}\n"]
    return "".join(lines) if stay else None


def _stays(node: ast.ClassDef) -> bool:
    bases = [ast.unparse(base).partition("[")[0] for base in node.bases]
    return bool(node.keywords) or any(base in BUILTIN for base in bases)


def _home() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache", "lbcore", "compiled")


def _digest() -> str:
    digest = hashlib.sha256(f"{sys.version} {sysconfig.get_config_var('SOABI')}".encode())
    for path in sorted(PACKAGE.rglob("*.py")):
        digest.update(b"%b\0%b\0" % (str(path.relative_to(PACKAGE)).encode(), path.read_bytes()))
    return digest.hexdigest()[:16]


def _build(place: Path) -> None:
    """The package, compiled, in a folder that is not there yet."""
    shutil.copytree(PACKAGE, place / PACKAGE.name, ignore=shutil.ignore_patterns("__pycache__", "*.so"))
    modules = [
        path
        for part, names in MODULES.items()
        for name in names.split()
        for path in sorted(Path(place, PACKAGE.name, part).glob(f"{name}.py"))
        if path.name not in INTERPRETED
    ]
    for path in modules:
        twin = path.with_name(path.stem + TWIN + path.suffix)
        source = path.read_text()
        rest = apart(source, ".".join(twin.relative_to(place).with_suffix("").parts))
        if rest is not None:
            twin.write_text(source)
            path.write_text(rest)
    (place / "mypy.ini").write_text(SETTINGS)
    command = [sys.executable, "-P", "-c", BUILD, *(str(path.relative_to(place)) for path in modules)]
    made = subprocess.run(command, cwd=place, capture_output=True, text=True, check=False)
    if made.returncode:
        said = [line for line in (made.stdout + made.stderr).splitlines() if "error" in line.lower()]
        raise CannotCompile(f"the modules could not be compiled: {said[0] if said else 'see mypyc'}")
    for rest_of_it in ("build", ".mypy_cache"):
        shutil.rmtree(place / rest_of_it, ignore_errors=True)
