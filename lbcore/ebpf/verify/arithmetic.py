"""What arithmetic makes of numbers that are only known to lie somewhere.

Rule of this file: numbers in, a number out, by the name of a form; pointers are `pointers`' business.

Theory. Each operation has a rule for bits and a rule for intervals, and the interval rule is the same for 64 bits and
for 32, so it is written once. Where a result could wrap around, nothing is known of that interval any more. A 64-bit
addition adds the lower halves as well, so the intervals of the lower half survive even where the upper half is unknown.

Trap. Of divisions and of shifts by an unknown distance the kernel remembers nothing at all, not even that a remainder
is less than the divisor. Nor does this. A program that wants to use such a result as an index has to ask again.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

from lbcore.ebpf import semantics
from lbcore.ebpf.verify import bits, number
from lbcore.ebpf.verify.bits import M32, M64
from lbcore.ebpf.verify.number import ANY, FULL, Number, Range

Rule = Callable[[Range, Range, int, bits.Bits], Range]


@lru_cache(maxsize=1 << 15)
def compute(name: str, a: Number, b: Number) -> Number:
    """The result of `name` ("add", "add32", "movsx832", ...), a form of `forms`; b: source register or immediate."""
    name, width = (name[:-2], 32) if name.endswith("32") and not name.startswith("movsx") else (name, 64)
    if name == "mov":
        return b if width == 64 else truncate(b)
    if name.startswith("movsx"):
        return _extend(name, b)
    if width == 32:
        a, b = truncate(a), truncate(b)
    if name in ("lsh", "rsh", "arsh"):
        return _shift(name, a, b.value, width) if b.constant and b.value < width else ANY
    if name not in _BITS:
        return ANY
    if a.constant and b.constant:
        return number.constant(semantics.ARITHMETIC[name](a.value, b.value, width) & (M64 if width == 64 else M32))
    known = _BITS[name](a.bits, b.bits)
    rule = _RANGES[name]
    low = rule(a.low, b.low, 32, bits.low(known))
    if width == 32:
        return number.known(bits.low(known), FULL[64], low)
    return number.known(known, rule(a.wide, b.wide, 64, known), low)


def truncate(a: Number) -> Number:
    """The lower 32 bits, zeros above."""
    return a if a.umax <= M32 else number.known(bits.low(a.bits), FULL[64], a.low)


def loaded(a: Number, size: int) -> Number:
    """The lower `size` bytes of a number, zeros above."""
    if size == 8 or a.umax < 1 << 8 * size:
        return a
    if size == 4:
        return truncate(a)
    mask = (1 << 8 * size) - 1
    return number.known((a.value & mask, a.mask & mask))


def extended(a: Number, width: int) -> Number:
    """The lower `width` bits as a signed number."""
    if a.constant:
        return number.constant(semantics.signed(a.value, width))
    if -(1 << width - 1) <= a.smin and a.smax < 1 << width - 1:
        return a
    return number.signed(width)


def _extend(name: str, b: Number) -> Number:
    digits = name.removeprefix("movsx")
    width, to = (int(digits[:-2]), int(digits[-2:]))
    result = extended(b, width)
    return truncate(result) if to == 32 else result


# ---- intervals ----


def _add(a: Range, b: Range, width: int, _: bits.Bits) -> Range:
    return _fit(a[0] + b[0], a[1] + b[1], a[2] + b[2], a[3] + b[3], width)


def _sub(a: Range, b: Range, width: int, _: bits.Bits) -> Range:
    return _fit(a[0] - b[1], a[1] - b[0], a[2] - b[3], a[3] - b[2], width)


def _mul(a: Range, b: Range, width: int, _: bits.Bits) -> Range:
    if a[2] < 0 or b[2] < 0 or a[1] >> width // 2 or b[1] >> width // 2:
        return FULL[width]
    return _fit(a[0] * b[0], a[1] * b[1], a[0] * b[0], a[1] * b[1], width)


def _and(a: Range, b: Range, width: int, known: bits.Bits) -> Range:
    return _unsigned(known[0], min(a[1], b[1]), width)


def _or(a: Range, b: Range, width: int, known: bits.Bits) -> Range:
    return _unsigned(max(a[0], b[0]), known[0] | known[1], width)


def _xor(a: Range, b: Range, width: int, known: bits.Bits) -> Range:
    return _unsigned(known[0], known[0] | known[1], width)


def _fit(umin: int, umax: int, smin: int, smax: int, width: int) -> Range:
    """These, where nothing has wrapped around."""
    whole = FULL[width]
    if umin < 0 or umax > whole[1]:
        umin, umax = whole[:2]
    if smin < whole[2] or smax > whole[3]:
        smin, smax = whole[2:]
    return umin, umax, smin, smax


def _unsigned(umin: int, umax: int, width: int) -> Range:
    """Unsigned bounds; `settle` finds the signed ones."""
    return umin, umax, *FULL[width][2:]


def _shift(name: str, a: Number, n: int, width: int) -> Number:
    """By a distance that is known and less than the width; a is truncated already if the width is 32."""
    wide, low = a.wide, a.low
    if name == "lsh":
        known = bits.lsh(a.bits, n)
        low = _left(low, n, 32) if n < 32 else FULL[32]
        wide = _left(wide, n, 64)
        if n == 32 and width == 64:  # the first half of how compilers extend a sign
            wide = (*wide[:2], a.smin32 << 32, a.smax32 << 32)
    elif name == "rsh":
        known = bits.rsh(a.bits, n)
        low = wide = (wide[0] >> n, wide[1] >> n, *FULL[64][2:])
    else:
        known = bits.arsh(a.bits, n, width)
        low = (*FULL[32][:2], low[2] >> n, low[3] >> n)
        wide = (*FULL[64][:2], wide[2] >> n, wide[3] >> n)
    if width == 32:
        low = (*low[:2], *FULL[32][2:]) if name != "arsh" else low
        return number.known(bits.low(known), FULL[64], low)
    return number.known(known, wide, low if name == "lsh" else FULL[32])


def _left(a: Range, n: int, width: int) -> Range:
    umin, umax = (0, FULL[width][1]) if a[1] << n > FULL[width][1] else (a[0] << n, a[1] << n)
    return umin, umax, *FULL[width][2:]


_BITS: dict[str, Callable[[bits.Bits, bits.Bits], bits.Bits]] = {
    "add": bits.add, "sub": bits.sub, "mul": bits.mul, "and": bits.and_, "or": bits.or_, "xor": bits.xor,
}  # fmt: skip
_RANGES: dict[str, Rule] = {"add": _add, "sub": _sub, "mul": _mul, "and": _and, "or": _or, "xor": _xor}
