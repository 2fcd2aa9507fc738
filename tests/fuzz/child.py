"""One process of a hunt: `python -m tests.fuzz.child NAME`, then libFuzzer's own arguments.

Instrumented is what inputs run through: wire, l4 and Python's reader of TOML. What numba compiles (the forwarder) is
left as it is, for its compiled code comes from numba's cache, which knows it by its bytecode.
"""

from __future__ import annotations

import sys
from pathlib import Path

import lbcore
from tests.fuzz.names import HARNESSES

PACKAGE = Path(lbcore.__file__).parent
INSTRUMENTED = ("lbcore.wire.", "lbcore.l4.")
PLAIN = ("lbcore.l4.forwarder", "lbcore.wire.seam_numba", "lbcore.wire.words_numba")


def plain() -> set[str]:
    """Modules of ours that are not instrumented: atheris takes packages in, and modules out."""
    files = (file.relative_to(PACKAGE.parent).with_suffix("") for file in PACKAGE.rglob("*.py"))
    names = {".".join(file.parts).removesuffix(".__init__") for file in files}
    return {name for name in names if not name.startswith(INSTRUMENTED) or name in PLAIN}


def main() -> None:
    import atheris

    name = sys.argv.pop(1)
    sys.argv[0] = f"{sys.executable} -m tests.fuzz.child {name}"  # how libFuzzer calls itself, when it merges
    with atheris.instrument_imports(include=["lbcore", "tomllib"], exclude=sorted(plain())):
        function = HARNESSES[name]()
    function(b"")
    atheris.Setup(sys.argv, function)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
