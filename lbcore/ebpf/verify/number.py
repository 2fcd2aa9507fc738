"""What the verifier knows of a number in a register: four intervals and the bits.

Rule of this file: what is known, and making the most of it (`settle`). What instructions do to it is in `arithmetic`,
what jumps tell about it in `compare`.

Theory. The same 64 bits are read as an unsigned number, as a signed one, and their lower half alone as either, and each
reading can be bounded where another cannot: `r1 s> -5` says much about the signed one and nothing about the unsigned.
So all four intervals are kept, and what one of them knows is told to the others whenever the signs allow: an unsigned
interval that does not cross 2^63 is a signed interval as well.

Trap. This is at most as clever as the kernel's (kernel/bpf/verifier.c, __reg_deduce_bounds and around), on purpose: if
it knew more, it would take programs that the kernel refuses. docs.kernel.org/bpf/verifier.html describes the idea.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

from lbcore.ebpf.verify import bits
from lbcore.ebpf.verify.bits import M32, M64

S32_MIN, S32_MAX, S64_MIN, S64_MAX = -(1 << 31), (1 << 31) - 1, -(1 << 63), (1 << 63) - 1

Range = tuple[int, int, int, int]
"""Unsigned from, to, signed from, to."""
FULL: dict[int, Range] = {64: (0, M64, S64_MIN, S64_MAX), 32: (0, M32, S32_MIN, S32_MAX)}


class Number(NamedTuple):
    """Known bits (value, mask), and bounds, inclusive: unsigned, signed, and of the lower 32 bits unsigned, signed."""

    value: int
    mask: int
    umin: int
    umax: int
    smin: int
    smax: int
    umin32: int
    umax32: int
    smin32: int
    smax32: int

    @property
    def bits(self) -> bits.Bits:
        return self[0], self[1]

    @property
    def wide(self) -> Range:
        return self[2:6]

    @property
    def low(self) -> Range:
        return self[6:10]

    @property
    def constant(self) -> bool:
        return not self.mask

    def includes(self, other: Number) -> bool:
        """Is every number that `other` can be one that this can be?"""
        return self == other or (
            self.umin <= other.umin and self.umax >= other.umax
            and self.smin <= other.smin and self.smax >= other.smax
            and self.umin32 <= other.umin32 and self.umax32 >= other.umax32
            and self.smin32 <= other.smin32 and self.smax32 >= other.smax32
            and bits.includes(self.bits, other.bits)
        )  # fmt: skip

    def __str__(self) -> str:
        """5, -3, 0..255, 0..60 in steps of 4, any."""
        if self.constant:
            return _plain(self.value)
        unsigned, signed = (self.umin, self.umax) != (0, M64), (self.smin, self.smax) != (S64_MIN, S64_MAX)
        if unsigned and (self.umax - self.umin <= self.smax - self.smin):
            text = f"{_plain(self.umin)}..{_plain(self.umax)}" if self.umax <= S64_MAX else _above(self)
        elif signed:
            text = f"{_plain(self.smin)}..{_plain(self.smax)}"
        elif (self.umin32, self.umax32) != (0, M32):
            text = f"any, low half {self.umin32}..{self.umax32}"
        else:
            text = "any"
        step = self.mask & -self.mask
        return text if step == 1 else f"{text} in steps of {step}"


def settle(known: bits.Bits, wide: Range, low: Range) -> Number | None:
    """All of it, with each part as narrow as the others can make it; None if they contradict each other."""
    value, mask = known
    umin, umax, smin, smax = wide
    umin32, umax32, smin32, smax32 = low
    for final in (False, True):
        # What the bits say about the intervals.
        umin, umax = max(umin, value), min(umax, value | mask)
        smin = max(smin, _signed(value | mask & 1 << 63, 64))
        smax = min(smax, _signed(value | mask & S64_MAX, 64))
        value32, mask32 = value & M32, mask & M32
        umin32, umax32 = max(umin32, value32), min(umax32, value32 | mask32)
        smin32 = max(smin32, _signed(value32 | mask32 & 1 << 31, 32))
        smax32 = min(smax32, _signed(value32 | mask32 & S32_MAX, 32))
        if final:
            break
        for _ in range(2):
            before = umin, umax, smin, smax, umin32, umax32, smin32, smax32
            # 64 bits to their lower half, where the upper half is the same at both ends.
            if umin >> 32 == umax >> 32:
                umin32, umax32 = max(umin32, umin & M32), min(umax32, umax & M32)
            if smin >> 32 == smax >> 32:
                umin32, umax32 = max(umin32, smin & M32), min(umax32, smax & M32)
            smin32, smax32, umin32, umax32 = _signs(umin32, umax32, smin32, smax32, 32)
            if (smin >> 32) + 1 == smax >> 32 == 0 and smin & 1 << 31 and not smax & 1 << 31:
                smin32, smax32 = max(smin32, smin), min(smax32, smax)
            smin, smax, umin, umax = _signs(umin, umax, smin, smax, 64)
            # The lower half to 64 bits.
            umin, umax = max(umin, umin & ~M32 | umin32), min(umax, umax & ~M32 | umax32)
            smin, smax = max(smin, smin & ~M32 | umin32), min(smax, smax & ~M32 | umax32)
            smin, smax, umin, umax = _signs(umin, umax, smin, smax, 64)
            if before == (umin, umax, smin, smax, umin32, umax32, smin32, smax32):
                break
        if umin > umax or smin > smax or umin32 > umax32 or smin32 > smax32:
            return None
        # What the intervals say about the bits.
        value, mask = bits.both((value, mask), bits.between(umin, umax))
        value32, mask32 = bits.both(bits.low((value, mask)), bits.between(umin32, umax32))
        value, mask = value & ~M32 | value32, mask & ~M32 | mask32
    if umin > umax or smin > smax or umin32 > umax32 or smin32 > smax32:
        return None
    return Number(value, mask, umin, umax, smin, smax, umin32, umax32, smin32, smax32)


@lru_cache(maxsize=1 << 16)
def constant(x: int) -> Number:
    """Exactly x, of which the lower 64 bits count."""
    x &= M64
    signed, low = _signed(x, 64), x & M32
    return Number(x, 0, x, x, signed, signed, low, low, _signed(low, 32), _signed(low, 32))


def unsigned(width: int) -> Number:
    """Any unsigned number of so many bits."""
    return _UNSIGNED[width]


def signed(width: int) -> Number:
    """Any signed number of so many bits, extended to 64."""
    return _SIGNED[width]


def known(known_bits: bits.Bits, wide: Range = FULL[64], low: Range = FULL[32]) -> Number:
    """`settle`, for parts that belong together; what contradicts itself anyway (code that cannot run) is anything."""
    return settle(known_bits, wide, low) or ANY


def _signs(umin: int, umax: int, smin: int, smax: int, width: int) -> tuple[int, int, int, int]:
    """(smin, smax, umin, umax) after each has told the other what it knows, where the interval is one in both."""
    top = 1 << width - 1
    if umin >= top or umax < top:
        shift = 0 if umax < top else 1 << width
        smin, smax = max(smin, umin - shift), min(smax, umax - shift)
    if smin >= 0 or smax < 0:
        shift = 0 if smin >= 0 else 1 << width
        umin, umax = max(umin, smin + shift), min(umax, smax + shift)
    return smin, smax, umin, umax


def _signed(x: int, width: int) -> int:
    return x - (1 << width) if x >> width - 1 else x


def _plain(x: int) -> str:
    """A number as a reader would write it: small ones decimal, pointers-to-be in hexadecimal."""
    x = _signed(x, 64) if x >= 0 else x
    return str(x) if abs(x) < 1 << 20 else hex(x)


def _above(number: Number) -> str:
    if number.umin > S64_MAX:
        return f"{_plain(number.smin)}..{_plain(number.smax)}"
    return f"{_plain(number.umin)}..{number.umax:#x}"


ANY = Number(*bits.UNKNOWN, *FULL[64], *FULL[32])
ZERO = constant(0)
_UNSIGNED = {width: known((0, (1 << width) - 1)) for width in (8, 16, 32)} | {64: ANY}
_SIGNED = {width: known(bits.UNKNOWN, (0, M64, -(1 << width - 1), (1 << width - 1) - 1)) for width in (8, 16, 32)} | {
    64: ANY
}
