"""The teaching verifier against the kernel's and against the machine, on generated programs.

What it accepts, the kernel accepts, and the machine runs without a fault. LBCORE_CORPUS sets how many programs of each
sort there are; a run of 30,000 takes some minutes.
"""

from __future__ import annotations

import os
from collections import Counter
from functools import cache
from random import Random

from lbcore.ebpf.assembler import assemble
from lbcore.ebpf.machine import Machine
from lbcore.ebpf.program import VmError
from lbcore.ebpf.verifier import CATEGORIES
from tests import needs
from tests.ebpf import generated, verified

COUNT = int(os.environ.get("LBCORE_CORPUS", "400"))
STRICTER = 0.01
"""Share of programs that the kernel takes and this verifier may refuse; `verifier.DIFFERENCES` says why."""


@cache
def whole():
    """Programs put together, half of them with a mistake."""
    return generated.programs(3, COUNT)


@cache
def broken():
    """The same with fields of their instructions changed."""
    random = Random(4)
    return [generated.mutated(random, assemble(random.choice(whole()))) for _ in range(COUNT)]


def disagreements(programs):
    """(accepted here and refused by the kernel, refused here and accepted there)."""
    unsafe, strict = [], Counter()
    for program in programs:
        verdict, kernel = verified.ours(program), verified.kernels(program)
        if verdict and kernel:
            unsafe.append((program, kernel))
        elif not verdict and not kernel:
            strict[verdict.category] += 1
    return unsafe, strict


@needs.tier(2)
def test_nothing_is_accepted_that_the_kernel_refuses():
    unsafe, strict = disagreements(whole())
    assert not unsafe, unsafe[0]
    assert strict.total() <= max(3, STRICTER * COUNT), strict


@needs.tier(2)
def test_nor_among_programs_with_changed_fields():
    unsafe, strict = disagreements(broken())
    assert not unsafe, unsafe[0]
    assert strict.total() <= max(6, 4 * STRICTER * COUNT), strict


def test_what_is_accepted_the_machine_runs_without_a_fault():
    random, accepted = Random(5), 0
    for program in [*whole(), *broken()]:
        if not verified.ours(program):
            continue
        accepted += 1
        machine = Machine(verified.program(program), verified.memory())
        for _ in range(3):
            packet = random.randbytes(random.choice((14, 15, 20, 34, 60, 80, 400)))
            try:
                machine.run(packet)
            except VmError as fault:
                raise AssertionError(f"{program!r} on {packet.hex()}: {fault}") from fault
    assert accepted > COUNT // 2


def test_both_verdicts_are_common():
    verdicts = Counter(bool(verified.ours(program)) for program in whole())
    assert min(verdicts.values()) > COUNT // 20


def test_random_bytes_get_a_verdict():
    random = Random(6)
    for _ in range(COUNT):
        code = random.randbytes(8 * random.randrange(1, 12))
        verdict = verified.ours(code)
        assert verdict or verdict.category in CATEGORIES
    assert not verified.ours(b"")
    assert not verified.ours(b"\0" * 7)
