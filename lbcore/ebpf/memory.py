"""What a program in the machine can touch: regions, and addresses that are no addresses.

Rule of this file: it keeps the table of regions, and reads and writes through it for everybody but the compiled loop
(which does the same in `access`).

Theory. A program's address is the number of a region in the upper 16 bits and an offset in the lower 48. Whatever
follows a pointer asks the table first, so a program can neither reach nor learn where anything lies in this process; a
pointer that ends up in r0 tells nobody anything. The packet is region 0, because programs load its address from 32-bit
fields of their context. Address 0 lies below its first offset: a null pointer faults. A map's values are a region of
slots, each at a power of two, so that running over the end of one value is not yet the beginning of the next.

Trap. The table holds host addresses: `Memory` keeps every buffer alive that is in it.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from lbcore.ebpf.access import (
    FIRST_FRAME,
    FRAME_SIZE,
    HIGH,
    LOW,
    MAX_FRAMES,
    SLOTS,
    WRITABLE,
)

PACKET, CONTEXT, MEMORY = 0, 1, 2
CODE = FIRST_FRAME + MAX_FRAMES
FIRST_MAP = CODE + 1
"""Each map has two regions: its handle, which only helpers take, and its values."""

PACKET_START = 0x10000
"""The offset of the packet buffer's first byte: far from 0, so that null pointers with an offset fault."""

OFFSET_BITS = 48
OFFSET_MASK = (1 << OFFSET_BITS) - 1

Bytes = npt.NDArray[np.uint8]


class Fault(Exception):
    """An access outside of what a program may touch; says what was touched, in words."""


class Region(NamedTuple):
    """`buffer` uint8[n]; its first byte has offset `origin`; slots of `stride` bytes appear 1 << shift apart."""

    name: str
    buffer: Bytes
    origin: int = 0
    shift: int = OFFSET_BITS
    stride: int = 0


NOTHING = Region("nothing", np.zeros(0, np.uint8))


def address(region: int, offset: int = 0) -> int:
    """The program's address of an offset in a region."""
    return region << OFFSET_BITS | offset


class Memory:
    """The regions of one machine."""

    def __init__(self, maps: int = 0) -> None:
        regions = FIRST_MAP + 2 * maps
        self.table: npt.NDArray[np.uint64] = np.zeros((regions, 7), np.uint64)
        self.regions = [NOTHING] * regions
        for depth, stack in enumerate(np.zeros((MAX_FRAMES, FRAME_SIZE), np.uint8)):
            self.place(FIRST_FRAME + depth, Region(f"stack frame {depth}", stack), high=0)
        self.close_frames()
        self.regions[CODE] = Region("the program itself", NOTHING.buffer)

    def place(
        self, number: int, region: Region, *, low: int = 0, high: int | None = None, writable: bool = True
    ) -> None:
        """Put a region into the table; offsets `low` to `high` of it (all of it by default) are in bounds."""
        if not region.buffer.flags.c_contiguous:
            raise ValueError(f"{region.name}: the buffer of a region is one run of bytes; this one has gaps")
        self.regions[number] = region
        whole = region.stride or region.origin + region.buffer.size
        top = whole if high is None else high
        base = (region.buffer.ctypes.data - region.origin) & (1 << 64) - 1
        slots = region.buffer.size // region.stride if region.stride else 1
        self.table[number] = base, low, top, top if writable else 0, region.shift, region.stride, slots

    def bound(self, number: int, low: int, high: int) -> None:
        """Move the bounds of a writable region: a packet that grows, a stack frame that opens or closes."""
        self.table[number, LOW] = low
        self.table[number, HIGH] = self.table[number, WRITABLE] = high

    def close_frames(self) -> None:
        """Leave only the outermost stack frame open."""
        self.table[FIRST_FRAME + 1 : CODE, [HIGH, WRITABLE]] = 0
        self.bound(FIRST_FRAME, 0, FRAME_SIZE)

    def read(self, at: int, size: int) -> bytes:
        """`size` bytes at the program's address. Raises Fault."""
        buffer, start = self._find(at, size, writing=False)
        return buffer[start : start + size].tobytes()

    def peek(self, at: int, size: int, *, writing: bool) -> tuple[Region, bytes]:
        """The region of an address and the bytes there, if they may be read (or written). Raises Fault."""
        buffer, start = self._find(at, size, writing=writing)
        return self.regions[at >> OFFSET_BITS], buffer[start : start + size].tobytes()

    def write(self, at: int, data: bytes) -> None:
        """Write bytes at the program's address. Raises Fault, having written nothing."""
        buffer, start = self._find(at, len(data), writing=True)
        buffer[start : start + len(data)] = np.frombuffer(data, np.uint8)

    def explain(self, at: int, size: int, *, writing: bool) -> str:
        """What an access is that is not allowed, in words."""
        # A pointer that fell below its region has borrowed from the region's number: give it back.
        number = at + (1 << OFFSET_BITS - 1) >> OFFSET_BITS
        offset = at - (number << OFFSET_BITS)
        what = f"{'writes' if writing else 'reads'} {size} byte{'s' * (size != 1)} at "
        if number == PACKET and offset < 4096:
            return f"{what}{at:#x}, a null pointer"
        if (
            number >= len(self.regions)
            or self.regions[number] is NOTHING
            or (number == PACKET and offset < PACKET_START)
        ):
            return f"{what}{at:#x}, which is a number and no pointer"
        region, row = self.regions[number], self.table[number]
        where, low, high = region.name, int(row[LOW]), int(row[HIGH])
        if region.stride:
            slot = max(offset >> region.shift, 0)
            if slot >= int(row[SLOTS]):
                return f"{what}slot {slot} of {where}, which has {int(row[SLOTS])} slots"
            where, offset = f"slot {slot} of {where}", offset - (slot << region.shift)
        if low == high:
            return f"{what}offset {offset} of {where}, where nothing can be read or written"
        if writing and not row[WRITABLE]:
            return f"{what}offset {offset} of {where}, which is read-only"
        if FIRST_FRAME <= number < CODE:
            return f"{what}r10{offset - FRAME_SIZE:+d} of {where}, which reaches from r10-{FRAME_SIZE} to r10-1"
        return f"{what}offset {offset - low} of {where}, which has {high - low} bytes"

    def _find(self, at: int, size: int, *, writing: bool) -> tuple[Bytes, int]:
        """The buffer and the index of `size` bytes at the program's address."""
        number, offset = at >> OFFSET_BITS, at & OFFSET_MASK
        if 0 <= number < len(self.regions) and size >= 0:
            region, row = self.regions[number], self.table[number]
            slot, offset = offset >> region.shift, offset & (1 << region.shift) - 1
            end = int(row[WRITABLE] if writing else row[HIGH])
            if slot < int(row[SLOTS]) and int(row[LOW]) <= offset and offset + size <= end:
                return region.buffer, slot * region.stride + offset - region.origin
        raise Fault(self.explain(at, size, writing=writing))
