"""The verifier against the kernel's, and against the machine, on random programs.

What is accepted must run: that is what accepting means, and it is tested where there is no kernel. Where there is one,
it must accept whatever is accepted here; the other way round, disagreements are few, and known.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import cache
from random import Random

import pytest

from lbcore.ebpf import isa, signatures
from lbcore.ebpf.assembler import assemble
from lbcore.ebpf.calls import HELPERS
from lbcore.ebpf.machine import Machine
from lbcore.ebpf.verifier import Verdict, verify
from lbcore.ebpf.verify import refusal
from lbcore.ebpf.verify.shape import Shape
from tests import needs
from tests.ebpf.programs import halves, straight
from tests.ebpf.verified import kernels, memory, ours, program
from tests.ebpf.verifier_corpus import called, generate, single

PROGRAMS = int(os.environ.get("LBCORE_VERIFIER_PROGRAMS", "300"))
"""How many random programs; by hand, some thousands."""
STRICTER = 0.02
"""Of the programs that the kernel accepts, the part that may be refused here. Measured on 2,500: 0.6 %."""
SEEDS = range(PROGRAMS)

Make = Callable[[int, str], bytes]


@cache
def verdict(seed: int) -> Verdict:
    return ours(generate(seed), limit=50_000)


def test_the_corpus_is_near_the_border() -> None:
    accepted = sum(verdict(seed).accepted for seed in SEEDS)
    assert 0.3 < accepted / PROGRAMS < 0.7
    assert len({verdict(seed).category for seed in SEEDS}) > 12


def test_what_is_accepted_runs() -> None:
    random = Random(1)
    for seed in SEEDS:
        if not verdict(seed):
            continue
        machine = Machine(program(generate(seed)), memory(), seed=seed)
        for length in (14, 15, 34, 60, random.randrange(14, 300)):
            packet = bytearray(random.randbytes(length))
            packet[:2] = random.choice((packet[:2], b"\0\0", b"\x04\0", b"\xff\xff"))
            machine.run(bytes(packet))  # raises VmError for whatever is unsafe


def test_nothing_is_accepted_because_the_walk_ended_early(monkeypatch: pytest.MonkeyPatch) -> None:
    """Walking every way to its end, however often ways meet, finds nothing more."""
    accepted = [seed for seed in SEEDS if verdict(seed)]
    monkeypatch.setattr(Shape, "joins", frozenset())
    whole = 0
    for seed in accepted:
        again = ours(generate(seed), limit=20_000)
        assert again.accepted or again.category == refusal.LIMIT, str(again)
        whole += again.accepted and again.processed > verdict(seed).processed
    assert whole > PROGRAMS // 8


@needs.tier(2)
def test_the_kernel_takes_what_is_accepted() -> None:
    unsafe, stricter, both = {}, {}, 0
    for seed in SEEDS:
        mine = verdict(seed)
        if mine.category in (refusal.LOOP, refusal.LIMIT):
            continue  # the kernel walks a million instructions, and writes them all down, before it says so
        why = kernels(generate(seed))
        both += mine.accepted and not why
        if mine and why:
            unsafe[seed] = why
        if not mine and not why:
            stricter[seed] = str(mine)
    assert not unsafe
    assert len(stricter) <= STRICTER * (both + len(stricter)), stricter


@needs.tier(2)
def test_arithmetic_is_never_known_better_than_the_kernel_knows_it() -> None:
    """Straight programs, whose result then is an index: accepted here only if the kernel accepts it."""
    random = Random(2)
    accepted = 0
    for _ in range(PROGRAMS // 2):
        body = halves(straight(random, random.randrange(1, 30)))[:-1]
        most = random.choice((15, 15, 255, 65535))
        tail = (
            f"r6 = map_val(map_by_fd(2)) +0\nif r0 > {most} goto +3\nr6 += r0\nr0 = *(u8 *)(r6 +0)\nexit\nr0 = 1\nexit"
        )
        code = isa.encode(body) + assemble(tail)
        mine, why = ours(code), kernels(code)
        accepted += mine.accepted
        assert not (mine and why), why
    assert accepted


STAND_INS = {number: lambda vm, *arguments: 0 for number in signatures.HELPERS if number not in HELPERS}
"""For the helpers that only the kernel has: any answer will do."""
SMALL = pytest.mark.parametrize(("make", "kind"), [(single, "xdp"), (single, "tc"), (called, "xdp"), (called, "tc")])


@needs.tier(2)
@SMALL
def test_single_instructions_and_calls_are_judged_as_the_kernel_judges(make: Make, kind: str) -> None:
    stricter = both = 0
    for seed in SEEDS:
        code = make(seed, kind)
        mine, why = ours(code, kind), kernels(code, kind)
        both += mine.accepted and not why
        stricter += not mine and not why
        assert not (mine and why), why
    assert stricter <= STRICTER * (both + stricter)


@SMALL
def test_single_instructions_and_calls_that_are_accepted_run(make: Make, kind: str) -> None:
    random, accepted = Random(5), 0
    for seed in SEEDS:
        code = make(seed, kind)
        if ours(code, kind):
            accepted += 1
            machine = Machine(program(code, kind), memory(), helpers=STAND_INS)
            for length in (14, 16, 200):
                machine.run(random.randbytes(length))
    assert accepted > PROGRAMS // 8


# ---- bytes of all kinds ----


def mutated(random: Random, code: bytes) -> bytes:
    changed = bytearray(code)
    for _ in range(random.choice((1, 1, 2, 4))):
        at = random.randrange(len(changed))
        what = random.random()
        if what < 0.5:
            changed[at] ^= 1 << random.randrange(8)
        elif what < 0.7:
            changed[at] = random.randrange(256)
        else:
            slot, other = (random.randrange(len(changed) // 8) * 8 for _ in range(2))
            changed[slot : slot + 8] = changed[other : other + 8]
    return bytes(changed)


@cache
def mutants() -> list[bytes]:
    random = Random(3)
    whole = [assemble(generate(seed)) for seed in SEEDS if verdict(seed)]
    return [mutated(random, random.choice(whole)) for _ in range(2 * PROGRAMS)]


def test_mutants_that_are_accepted_run() -> None:
    random, accepted = Random(4), 0
    for code in mutants():
        if ours(code, limit=20_000):
            accepted += 1
            machine = Machine(program(code), memory())
            for length in (14, 40, 200):
                machine.run(random.randbytes(length))
    assert accepted > PROGRAMS // 4


@needs.tier(2)
def test_the_kernel_takes_the_mutants_that_are_accepted() -> None:
    for code in mutants()[:PROGRAMS]:
        mine = ours(code, limit=20_000)
        if mine:
            assert kernels(code) == ""


@pytest.mark.parametrize("seed", range(5))
def test_random_bytes_are_judged(seed: int) -> None:
    """Neither another exception nor an endless walk, whatever the bytes are."""
    random = Random(seed)
    for _ in range(PROGRAMS):
        size = random.choice((0, 7, 8, 16, 80, 400))
        code = random.randbytes(size)
        if random.random() < 0.5:  # opcodes that exist, registers that exist
            some = bytearray(code)
            for at in range(0, size - 7, 8):
                some[at] = random.choice((0xB7, 0xBF, 0x07, 0x0F, 0x61, 0x63, 0x7B, 0x79, 0x15, 0x2D, 0x05, 0x85, 0x95))
                some[at + 1] = random.randrange(11) << 4 | random.randrange(11)
                some[at + 2 : at + 4] = random.randrange(-9, 9).to_bytes(2, "little", signed=True)
                some[at + 4 : at + 8] = random.choice((b"\0\0\0\0", b"\1\0\0\0", random.randbytes(4)))
            code = bytes(some)
        judged = verify(code, limit=2_000)
        assert judged.accepted or judged.category in refusal.CATEGORIES
        assert judged.steps.total <= 4_100
        str(judged), judged.table(), judged.story
