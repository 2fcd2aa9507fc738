"""Objects that clang makes of the C programs beside this file."""

from __future__ import annotations

import subprocess
from functools import cache
from pathlib import Path

from llvmlite import binding as llvm

from lbcore.ebpf import emitter

HERE = Path(__file__).parent / "c"


@cache
def c(name: str, *options: str, target: str = "bpf") -> bytes:
    """The object file of c/`name`.c."""
    command = ["clang", "-O2", "-g", "-Wall", "-target", target, "-mcpu=v3", *options, "-c", f"{name}.c", "-o", "-"]
    return subprocess.run(command, cwd=HERE, check=True, capture_output=True).stdout


@cache
def newest(name: str) -> bytes:
    """The same for version 4 of the instruction set, of which older clangs know nothing: LLVM's newer back end does."""
    bitcode = c(name, "-emit-llvm")
    emitter.machine()  # makes LLVM know the target
    return bytes(emitter.machine("v4").emit_object(llvm.parse_bitcode(bitcode)))
