"""A program as machine code: what LLVM makes of it for this processor, and what the kernel made of its bytecode.

Rule of this file: text to be read; nothing here is run.

Theory. LLVM's code for a processor is the better one: it sees the whole program, folds a load into the comparison that
follows, reorders. The kernel translates the bytecode instruction by instruction, because it has to be quick and above
all right: registers are mapped one to one, and the optimising was done before.
"""

from __future__ import annotations

import platform
import re
import shutil
import subprocess
import tempfile

from lbcore.ebpf import emitter
from lbcore.ebpf.compiler import Source, bitcode

OBJDUMP = {"x86_64": "i386:x86-64", "aarch64": "aarch64"}
BYTES_A_ROW = 16


def assembly(source: Source) -> list[str]:
    """The program for this machine's processor, as LLVM writes it: labels and instructions, no directives."""
    text = emitter.emit(bitcode(source.function, source.kind), "assembly").decode()
    start = text.index(f"\n{source.__name__}:")
    body = text[start : text.index(".Lfunc_end", start)].splitlines()
    kept = (line.partition("#")[0].expandtabs(4).rstrip() for line in body)
    return [line for line in kept if line and not re.match(r"\s+\.|\.L(tmp|func)", line)]


def listing(code: bytes) -> dict[str, list[int]]:
    """The kernel's machine code (`Program.machine_code`), disassembled: instruction -> where it stands.

    By objdump, if this machine has it; else rows of 16 bytes stand for instructions.
    """
    objdump, machine = shutil.which("objdump"), OBJDUMP.get(platform.machine())
    found: dict[str, list[int]] = {}
    if objdump is None or machine is None:
        for at in range(0, len(code), BYTES_A_ROW):
            found.setdefault(code[at : at + BYTES_A_ROW].hex(" "), []).append(at)
        return found
    with tempfile.NamedTemporaryFile() as file:
        file.write(code)
        file.flush()
        command = [objdump, "-D", "-b", "binary", "-m", machine, file.name]
        text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    for line in re.finditer(r"^ *([0-9a-f]+):\t([0-9a-f ]+?) *\t(.*?)\s*$", text, re.M):
        found.setdefault(" ".join(line[3].split()), []).append(int(line[1], 16))
    return found


def in_order(found: dict[str, list[float]]) -> list[tuple[int, str]]:
    """(place, instruction), from a `listing` or its recording."""
    return sorted((int(at), text) for text, places in found.items() for at in places)
