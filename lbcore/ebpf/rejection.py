"""The verifier's refusal, told at the source line.

Rule of this file: text to text. It knows how the verifier writes, and nothing of how it is asked.

Theory. The verifier walks through every path of a program and writes down what it does: an instruction, what it
knows of the registers then, the next instruction. Where it gives up, the last instruction of the log is the one, and
what follows it is the reason. The object's line information leads from there to the source.
"""

from __future__ import annotations

import re

from lbcore.ebpf import isa
from lbcore.ebpf.assembler import describe
from lbcore.ebpf.kernel_symbols import MISSING
from lbcore.ebpf.object import Line, Program

_INSTRUCTION = re.compile(r"^(?:\d+: )*?(\d+): \([0-9a-f]{2}\) ")
_HINTS = {
    "invalid func unknown#195896080": "the running kernel has not got the type, field or value of a CO-RE relocation",
    f"invalid func unknown#{MISSING}": "the running kernel has not got this function, which is declared weak",
}
"""What stands in the place of something that is missing, and what is."""
_PROCESSED = re.compile(r"processed \d+ insns .*")
"""The verifier's last line; it does not always begin on a line of its own."""
_NO_REASON = re.compile(
    r"^(;|\d+: |processed \d+ insns|verification time|stack depth|from \d+ to|last_idx|regs=|parent |mark_precise|func#"
    r"|Validating |arg#\d+ |R\d+(_w)?=|caller:|callee:|max_states|$)"
)


class Rejected(Exception):
    """The verifier does not take the program.

    reason: its own words; instruction: the slot where it gave up, and line the source line of that (None where there
    is no telling); log: all that it wrote.
    """

    def __init__(self, program: Program, log: str) -> None:
        self.log = log
        self.instruction, self.reason = last_words(log)
        self.line: Line | None = None if self.instruction is None else program.line_of(self.instruction)
        super().__init__("\n".join(_told(program, self.instruction, self.line, self.reason)))


def last_words(log: str) -> tuple[int | None, str]:
    """(the last instruction in a log, what the verifier says after it)."""
    instruction, reason = None, list[str]()
    for line in log.splitlines():
        seen = _INSTRUCTION.match(line)
        if seen:
            instruction, reason = int(seen[1]), []
        elif not _NO_REASON.match(line):
            reason.append(_PROCESSED.sub("", line).strip())
    reason += [hint for said, hint in _HINTS.items() if said in reason]
    return instruction, "; ".join(reason) or "no reason given"


def _told(program: Program, instruction: int | None, line: Line | None, reason: str) -> list[str]:
    told = [f"the verifier refuses {program.name}: {reason}"]
    if line is not None:
        told += [f"  {line.file}:{line.line}", f"    {line.text.strip()}"]
    if instruction is not None:
        text = _instructions(program.code).get(instruction)
        told.append(f"  instruction {instruction}" + (f": {describe(text)}" if text else ""))
    return told


def _instructions(code: bytes) -> dict[int, isa.Instruction]:
    """Instructions by slot; none of code that the kernel may have refused for being none."""
    try:
        found = isa.decode(code)
    except isa.BadCode:
        return {}
    return dict(zip(isa.slots(found), found, strict=False))
