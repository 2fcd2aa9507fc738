"""Machine code of a program: LLVM's for this processor, the kernel's for its bytecode."""

from __future__ import annotations

import platform
import shutil

import pytest

from lbcore.ebpf import kernel, native
from lbcore.ebpf.programs.drop_all import drop_all
from lbcore.ebpf.programs.echo import echo
from lbcore.ebpf.programs.no_reflection import no_reflection
from tests import needs


@pytest.mark.parametrize("source", [drop_all, no_reflection, echo], ids=lambda one: one.__name__)
def test_assembly_is_the_program_and_nothing_else(source):
    text = native.assembly(source)
    assert text[0] == f"{source.__name__}:"
    assert not [line for line in text if line.lstrip().startswith(".") and not line.startswith(".LBB")]
    assert not [line for line in text if "passthrough" in line]


def test_assembly_is_of_this_machine():
    text = native.assembly(drop_all)
    if platform.machine() == "x86_64":
        assert [line.split() for line in text[1:]] == [["movl", "$1,", "%eax"], ["retq"]]
    assert len(native.assembly(echo)) > len(native.assembly(no_reflection)) > 10


@needs.tier(2)
def test_the_kernels_code_is_listed_whole():
    with kernel.load(echo.object) as program:
        code = program.machine_code
    listed = native.in_order(native.listing(code))
    places = [at for at, _ in listed]
    assert places[0] == 0
    assert places == sorted(set(places))
    assert max(places) < len(code)
    if shutil.which("objdump"):
        assert "(bad)" not in {text for _, text in listed}


def test_without_a_disassembler_bytes_are_shown(monkeypatch):
    monkeypatch.setattr(shutil, "which", lambda name: None)
    listed = native.in_order(native.listing(bytes(range(40))))
    assert [at for at, _ in listed] == [0, 16, 32]
    assert listed[2][1] == "20 21 22 23 24 25 26 27"
