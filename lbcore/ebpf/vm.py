"""The virtual machine: runs a program in this process, safely, as fast as numba can make a loop.

    run(assemble("r0 = 42\nexit"))  ->  42

Rule of this file: the two functions most readers need. `machine` runs programs on packets.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from lbcore.ebpf.engine import LIMIT, Helper, Maps, Vm
from lbcore.ebpf.program import VmError
from lbcore.ebpf.trace import Step, steps

__all__ = ["LIMIT", "Step", "Vm", "VmError", "run", "trace"]


def run(
    code: bytes,
    memory: bytearray | bytes = b"",
    *,
    maps: Maps = (),
    context: bytearray | None = None,
    helpers: Mapping[int, Helper] | None = None,
    limit: int = LIMIT,
) -> int:
    """Run a program; returns r0, an unsigned 64-bit number.

    r1 is the address of `memory` (0 if it is empty) and r2 its length; with a `context`, r1 is the context's address.
    A bytearray can be written to and holds afterwards what the program wrote; bytes are read-only. `maps`: by index,
    or by whatever number the program's wide loads use. `helpers`: more of them, or others, by number: functions of
    (vm, r1, r2, r3, r4, r5). Raises VmError.
    """
    vm = Vm(code, maps=maps, helpers=helpers)
    vm.place(memory, context)
    return vm.run(limit)


def trace(
    code: bytes,
    memory: bytearray | bytes = b"",
    *,
    maps: Maps = (),
    context: bytearray | None = None,
    helpers: Mapping[int, Helper] | None = None,
    limit: int = LIMIT,
) -> Iterator[Step]:
    """The steps of a program; arguments as for `run`, and VmError at the same places, after the steps before it."""
    vm = Vm(code, maps=maps, helpers=helpers)
    vm.place(memory, context)
    return steps(vm, limit)
