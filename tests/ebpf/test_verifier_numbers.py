"""What is known of numbers stays true: whatever the numbers are, results lie where the verifier says."""

from __future__ import annotations

from random import Random

import pytest

from lbcore.ebpf import forms, semantics
from lbcore.ebpf.isa import Instruction
from lbcore.ebpf.verify import arithmetic, bits, compare, number
from lbcore.ebpf.verify.bits import M32, M64
from lbcore.ebpf.verify.number import Number

ROUNDS = 3_000
EXTENSIONS = [form.name for form in forms.FORMS if form.name.startswith("movsx")]


def some(random: Random) -> int:
    """64 bits, with a liking for the places where signs and halves change."""
    edge = random.choice((0, 1 << 31, 1 << 32, 1 << 63))
    return random.choice((random.getrandbits(random.randrange(1, 65)), edge + random.randrange(-3, 4))) & M64


def known(random: Random) -> tuple[Number, list[int]]:
    """Some numbers, and what is to be known of one that may be any of them."""
    found = [some(random) for _ in range(random.randrange(1, 4))]
    if random.random() < 0.5:
        found = [found[0] + random.getrandbits(random.randrange(1, 12)) & M64 for _ in range(4)]
    value, mask = found[0], 0
    for x in found:
        mask |= x ^ value
    signed = [semantics.signed(x, 64) for x in found]
    low, signed_low = [x & M32 for x in found], [semantics.signed(x, 32) for x in found]
    wide, narrow = (
        (min(found), max(found), min(signed), max(signed)),
        (min(low), max(low), min(signed_low), max(signed_low)),
    )
    made = number.settle((value & ~mask, mask), wide, narrow)
    assert made is not None
    for x in found:
        assert made.includes(number.constant(x))
    return made, found


@pytest.mark.parametrize("width", [64, 32])
@pytest.mark.parametrize("name", [*semantics.ARITHMETIC])
def test_arithmetic(name: str, width: int) -> None:
    random = Random(f"{name}{width}")
    form = name if width == 64 else f"{name}32"
    for _ in range(ROUNDS // 10):
        (a, lefts), (b, rights) = known(random), known(random)
        if name in ("lsh", "rsh", "arsh") or random.random() < 0.3:
            rights = [random.randrange(width)]
            b = number.constant(rights[0])
        result = arithmetic.compute(form, a, b)
        for x in lefts:
            for y in rights:
                exact = semantics.arithmetic(form, Instruction(0), x, y)
                assert result.includes(number.constant(exact)), (form, a, b, x, y)


@pytest.mark.parametrize("name", EXTENSIONS)
def test_extensions(name: str) -> None:
    random, width = Random(name), int(name.removeprefix("movsx")[:-2])
    for _ in range(ROUNDS // 10):
        a, found = known(random)
        result = arithmetic.compute(name, number.ZERO, a)
        for x in found:
            exact = semantics.arithmetic(name, Instruction(0, offset=width), 0, x)
            assert result.includes(number.constant(exact)), (a, x)


@pytest.mark.parametrize("width", [64, 32])
@pytest.mark.parametrize("name", [*semantics.COMPARISONS])
def test_comparisons(name: str, width: int) -> None:
    """The outcome is right if there is one, and numbers for which a jump goes some way are among those it says do."""
    random = Random(f"{name}{width}")
    form, decided = name if width == 64 else f"{name}32", 0
    for _ in range(ROUNDS // 10):
        (a, lefts), (b, rights) = known(random), known(random)
        outcome = compare.outcome(name, a, b, width)
        decided += outcome is not None
        ways = {True: compare.refine(name, a, b, width), False: compare.refine(compare.OPPOSITE[name], a, b, width)}
        for x in lefts:
            for y in rights:
                jumps = semantics.jumps(form, x, y)
                assert outcome is None or outcome == jumps
                left, right = ways[jumps]
                assert left.includes(number.constant(x)), (form, a, b, x, y)
                assert right.includes(number.constant(y)), (form, a, b, x, y)
    assert decided


def test_loads_cut_numbers() -> None:
    random = Random(1)
    for _ in range(ROUNDS):
        a, found = known(random)
        for size in (1, 2, 4, 8):
            low, signed = arithmetic.loaded(a, size), arithmetic.extended(a, 8 * size)
            for x in found:
                cut = x & (1 << 8 * size) - 1
                assert low.includes(number.constant(cut))
                assert signed.includes(number.constant(semantics.signed(cut, 8 * size)))


def test_what_the_kernel_forgets_is_forgotten() -> None:
    seven, byte = number.constant(7), number.unsigned(8)
    for name in ("div", "mod", "sdiv", "smod", "neg", "be16", "div32", "mod32"):
        assert arithmetic.compute(name, byte, seven) == number.ANY
    for name in ("lsh", "rsh", "arsh", "rsh32"):
        assert arithmetic.compute(name, byte, number.unsigned(8)) == number.ANY


@pytest.mark.parametrize(
    ("known", "text"),
    [
        (number.constant(5), "5"), (number.constant(-3), "-3"), (number.unsigned(8), "0..255"), (number.ANY, "any"),
        (number.signed(8), "-128..127"), (number.known((0, 0xFC)), "0..252 in steps of 4"),
        (number.constant(1 << 40), "0x10000000000"),
    ],
)  # fmt: skip
def test_numbers_read_well(known: Number, text: str) -> None:
    assert str(known) == text


def test_bits_of_an_interval() -> None:
    random = Random(2)
    for _ in range(ROUNDS):
        low, high = sorted((some(random), some(random)))
        made = bits.between(low, high)
        for x in (low, high, random.randint(low, high)):
            assert bits.includes(made, (x, 0))
