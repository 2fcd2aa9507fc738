"""LLVM's part, in a process of its own: bitcode in, object file out.

Rule of this file: it imports LLVM and nothing else, so that the process starts fast.

Theory. What LLVM's BPF back end cannot compile, it says on standard error, and ends the process: a call to a function
that the kernel does not have, more than 512 bytes of stack. A notebook should not die of that, so a child does.

The instruction set is version 3, which kernels know since 5.1; a program that divides signed numbers needs version 4,
Linux 6.6.
"""

from __future__ import annotations

import subprocess
import sys
from typing import Any

from llvmlite import binding as llvm

TRIPLE = "bpfel"
LAYOUT = "e-m:e-p:64:64-i64:64-i128:128-n32:64-S128"
CPU, DIVIDING_CPU = "v3", "v4"


class Refused(Exception):
    """LLVM cannot make an object file of this; its own words."""


def emit(bitcode: bytes, what: str = "object") -> bytes:
    """The object file of a linked module, or ("assembly") its text for this machine's processor. Raises Refused."""
    done = subprocess.run([sys.executable, __file__, what], input=bitcode, capture_output=True, check=False)
    if done.returncode or not done.stdout:
        raise Refused(done.stderr.decode(errors="replace").strip() or f"LLVM ended with status {done.returncode}")
    return done.stdout


def machine(cpu: str = CPU) -> Any:
    """LLVM's machine: it lowers for BPF and emits."""
    llvm.initialize_all_targets()
    llvm.initialize_all_asmprinters()
    return llvm.Target.from_triple(TRIPLE).create_target_machine(cpu=cpu, opt=2)


def optimised(module: Any, target: Any) -> Any:
    """Everything inlined, then the pipeline of the target's machine.

    The first act of BPF's is to hide comparisons from the optimiser, for the verifier's sake. Those of numba's
    statuses, which are constants once all is inlined, are to be gone by then. Level 3, because it unrolls a walk of six
    headers, as clang does: a rolled one keeps its state on the stack.
    """
    inlining = llvm.create_new_module_pass_manager()
    inlining.add_always_inliner_pass()
    inlining.add_sroa_pass()
    inlining.add_sccp_pass()
    inlining.add_jump_threading_pass()
    passes = llvm.create_pass_builder(target, llvm.create_pipeline_tuning_options(speed_level=3))
    for stage in (inlining, passes.getModulePassManager()):
        stage.run(module, passes)
    return module


def for_this_machine(module: Any) -> str:
    """Its assembly: the same program, by another of LLVM's back ends and that one's pipeline.

    What BPF's pipeline hides comparisons in, other back ends cannot lower.
    """
    target = llvm.Target.from_default_triple().create_target_machine(opt=2)
    module.triple, module.data_layout = llvm.get_default_triple(), str(target.target_data)
    text: str = target.emit_assembly(complete(optimised(module, target)))
    return text


def complete(module: Any) -> Any:
    """The module, if it calls nothing that there is not; else the process ends with the words of LLVM."""
    for one in module.functions:
        if one.is_declaration and not one.name.startswith("llvm."):
            sys.exit(f"error: A call to built-in function '{one.name}' is not supported.")
    return module


def divides(module: Any) -> bool:
    """Is there a signed division?"""
    return any(
        instruction.opcode in ("sdiv", "srem")
        for function in module.functions
        for block in function.blocks
        for instruction in block.instructions
    )


def main() -> None:
    bpf, module = machine(), llvm.parse_bitcode(sys.stdin.buffer.read())
    if sys.argv[1] == "assembly":
        sys.stdout.buffer.write(for_this_machine(module).encode())
        return
    complete(optimised(module, bpf))
    sys.stdout.buffer.write((machine(DIVIDING_CPU) if divides(module) else bpf).emit_object(module))


if __name__ == "__main__":
    main()
