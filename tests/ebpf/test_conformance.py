"""The conformance suite of the instruction set (bpf_conformance): all cases, on both machines."""

from __future__ import annotations

from pathlib import Path

import pytest

from lbcore.ebpf import vm
from lbcore.ebpf.assembler import assemble, disassemble
from tests import vectors

CASES = sorted(vectors.path("bpf_conformance/tests").glob("*.data"))


def sections(case: Path) -> dict[str, str]:
    """The parts of a case by name: asm, raw, mem (hex), result (r0, hex)."""
    parts: dict[str, str] = {}
    name = ""
    for line in case.read_text(encoding="utf-8").splitlines(keepends=True):
        if line.startswith("--"):
            name = line.removeprefix("--").strip()
            parts[name] = ""
        elif name:
            parts[name] += line
    return parts


def test_all_cases_are_here() -> None:
    assert len(CASES) >= 313


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.stem)
def test_case(case: Path) -> None:
    parts = sections(case)
    assert {"asm", "result"} <= set(parts), "a section that this test does not know"
    code = assemble(parts["asm"])
    if "raw" in parts:
        assert code == b"".join(int(word, 16).to_bytes(8, "little") for word in parts["raw"].split())
    assert assemble("\n".join(disassemble(code))) == code
    memory = bytes.fromhex("".join(parts.get("mem", "").split()))
    expected = int(parts["result"].split()[0], 16)
    assert vm.run(code, bytearray(memory)) == expected
    *_, last = vm.trace(code, bytearray(memory))
    assert last.after[0] == expected
