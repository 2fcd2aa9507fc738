"""What a conditional jump tells about the numbers it compares.

Rule of this file: two numbers and a comparison in; whether the jump is taken, or what each number is on either way.

Theory. Where intervals do not overlap, the outcome is known and only one way exists. Otherwise both do, and each is a
gift: behind `if r1 > 14 goto`, on the way not taken, r1 is at most 14. This is how a program proves anything to the
verifier: not by being right, but by asking.
"""

from __future__ import annotations

from functools import lru_cache

from lbcore.ebpf.verify import bits, number
from lbcore.ebpf.verify.bits import M32
from lbcore.ebpf.verify.number import Number, Range

OPPOSITE = {
    "jeq": "jne", "jgt": "jle", "jge": "jlt", "jsgt": "jsle", "jsge": "jslt", "jset": "not jset",
}  # fmt: skip
OPPOSITE |= {other: name for name, other in OPPOSITE.items()}
MIRRORED = {"jgt": "jlt", "jge": "jle", "jsgt": "jslt", "jsge": "jsle"}
MIRRORED |= {other: name for name, other in MIRRORED.items()}


def split(name: str) -> tuple[str, int]:
    """The comparison, and how many bits it looks at."""
    return (name[:-2], 32) if name.endswith("32") else (name, 64)


def outcome(name: str, a: Number, b: Number, width: int) -> bool | None:
    """Is the jump taken? None: it depends."""
    x, y = (a.wide, b.wide) if width == 64 else (a.low, b.low)
    if name in MIRRORED:
        low, high = (2, 3) if name.startswith("js") else (0, 1)
        if name.endswith(("gt", "ge")):
            name, x, y = MIRRORED[name], y, x
        strict = name.endswith("lt")
        if x[high] < y[low] or (not strict and x[high] == y[low]):
            return True
        if x[low] > y[high] or (strict and x[low] == y[high]):
            return False
        return None
    if name == "jset":
        return _common_bits(a, b, width)
    if x[0] == x[1] == y[0] == y[1]:
        return name == "jeq"
    apart = x[0] > y[1] or x[1] < y[0] or x[2] > y[3] or x[3] < y[2]
    if width == 64:
        apart = apart or a.umin32 > b.umax32 or a.umax32 < b.umin32 or a.smin32 > b.smax32 or a.smax32 < b.smin32
    return name == "jne" if apart else None


@lru_cache(maxsize=1 << 15)
def refine(name: str, a: Number, b: Number, width: int) -> tuple[Number, Number]:
    """The two numbers where the comparison holds; anything, as in the kernel, where it cannot hold."""
    if name in ("jgt", "jge", "jsgt", "jsge"):
        right, left = refine(MIRRORED[name], b, a, width)
        return left, right
    known_a, known_b = a.bits, b.bits
    x, y = (a.wide, b.wide) if width == 64 else (a.low, b.low)
    if name == "jeq":
        x = y = (max(x[0], y[0]), min(x[1], y[1]), max(x[2], y[2]), min(x[3], y[3]))
        common = bits.both(known_a, known_b) if width == 64 else bits.both(bits.low(known_a), bits.low(known_b))
        known_a, known_b = (common, common) if width == 64 else (_with_low(known_a, common), _with_low(known_b, common))
    elif name == "jne":
        x, y = (_without(x, y), y) if y[0] == y[1] else (x, _without(y, x) if x[0] == x[1] else y)
    elif name in ("jset", "not jset"):
        known_a = _bits_told(name, known_a, known_b if width == 64 else bits.low(known_b))
    else:
        one = 1 if name.endswith("lt") else 0
        if name.startswith("js"):
            x, y = (*x[:2], x[2], min(x[3], y[3] - one)), (*y[:2], max(y[2], x[2] + one), y[3])
        else:
            x, y = (x[0], min(x[1], y[1] - one), *x[2:]), (max(y[0], x[0] + one), y[1], *y[2:])
    return _made(known_a, a, x, width), _made(known_b, b, y, width)


def _made(known: bits.Bits, before: Number, ranges: Range, width: int) -> Number:
    if width == 64:
        return number.known(known, ranges, before.low)
    return number.known(known, before.wide, ranges)


def _without(x: Range, y: Range) -> Range:
    """x without the only number in y, if that is at one of its ends."""
    return (x[0] + (x[0] == y[0]), x[1] - (x[1] == y[0]), x[2] + (x[2] == y[2]), x[3] - (x[3] == y[2]))


def _common_bits(a: Number, b: Number, width: int) -> bool | None:
    known = b.bits if width == 64 else bits.low(b.bits)
    if known[1]:
        return None
    if a.value & known[0]:
        return True
    return None if (a.value | a.mask) & known[0] else False


def _bits_told(name: str, a: bits.Bits, b: bits.Bits) -> bits.Bits:
    """A single bit that is tested is set behind `jset`; all that are tested are clear where it was not taken."""
    if b[1]:
        return a
    if name == "jset":
        single = b[0] and not b[0] & b[0] - 1
        return (a[0] | b[0], a[1] & ~b[0]) if single else a
    return a[0] & ~b[0], a[1] & ~b[0]


def _with_low(a: bits.Bits, low: bits.Bits) -> bits.Bits:
    return a[0] & ~M32 | low[0], a[1] & ~M32 | low[1]
