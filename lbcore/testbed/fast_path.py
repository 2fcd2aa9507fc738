"""What chapter 06 asks the kernel, each answer as samples that can be recorded (tier 2, one also at tier 1).

Rule of this file: it asks; `sights`, `switches` and `native` know how. Texts become the names of series.
"""

from __future__ import annotations

from lbcore.ebpf import kernel, native
from lbcore.ebpf.compiler import Source
from lbcore.testbed import sights, switches

Samples = dict[str, list[float]]


def machine_code(source: Source) -> Samples:
    """Instruction -> where it stands: what the kernel's compiler made of the program (`native.in_order`)."""
    with kernel.load(source.object) as program:
        return {text: list(map(float, places)) for text, places in native.listing(program.machine_code).items()}


def refusal(source: Source) -> Samples:
    """Source line and the verifier's reason, joined by a newline -> the instruction at which it gave up.

    Empty if the kernel takes the program.
    """
    try:
        kernel.load(source.object).close()
    except kernel.Rejected as rejected:
        line = rejected.line.text.strip() if rejected.line else ""
        return {f"{line}\n{rejected.reason}": [float(rejected.instruction or 0)]}
    return {}


def run_times(source: Source, packet: bytes, *, rounds: int = 7, repeat: int = 200_000) -> Samples:
    """Nanoseconds of a run in the kernel, the kernel's own loop around it included (BPF_PROG_TEST_RUN)."""
    with kernel.load(source.object) as program:
        return {"in the kernel": [float(program.test_run(packet, repeat).nanoseconds) for _ in range(rounds)]}


def drops() -> Samples:
    """Place of the drop -> what driver, capture, IP, UDP and the socket counted of twenty datagrams."""
    return {name: list(map(float, seen)) for name, seen in sights.drops(20).items()}


def kernel_path() -> Samples:
    """Way through a host without processes -> packets that went there, context switches of the whole machine."""
    ways = {"forwarded by the kernel": False, "dropped by XDP": True}
    return {name: list(map(float, switches.through_kernel(xdp=xdp))) for name, xdp in ways.items()}
