"""How the compiled machine reaches memory: through the table of regions, checked every time.

Rule of this file: the only place where a program's address becomes one of this process.

Theory. `memory` keeps the table and says what an address is. Here are its columns, and the few functions that the
compiled loop needs: locate a range, change a word in it at once, open and close stack frames. A frame that is closed
has size zero, so a pointer into it is as dead as the frame.
"""

# What numba compiles has no annotations.
# mypy: disable-error-code="no-untyped-def"
from __future__ import annotations

from numba.extending import register_jitable

from lbcore.ebpf import isa
from lbcore.ebpf.arithmetic import I64, LOW32, U64, ZERO
from lbcore.wire.seam_numba import load, store

# The columns of regions: uint64[n, 7]
BASE, LOW, HIGH, WRITABLE, SHIFT, STRIDE, SLOTS = (U64(column) for column in range(7))

# What `state` (int64[6]) holds: where the program is, how deep in calls, how many instructions it may still execute,
# and for a fault the address, the size, and 1 if it was a store.
PC, DEPTH, LEFT, TOUCHED, SIZE, WRITING = range(6)

REGION_SHIFT, OFFSET_MASK = U64(48), U64((1 << 48) - 1)

MAX_FRAMES = 8
FRAME_SIZE = 512
FIRST_FRAME = 3
"""The region of the outermost stack frame; those of its callees follow."""

load8, load16, load32, load64 = (load(bits, big_endian=False) for bits in (8, 16, 32, 64))
store8, store16, store32, store64 = (store(bits, big_endian=False) for bits in (8, 16, 32, 64))


@register_jitable
def locate(regions, address, size, end, state):
    """The host address of `size` bytes at the program's `address`, or 0 and a note of the fault in `state`.

    `end` is the column that bounds the access: HIGH for loads, WRITABLE for stores.
    """
    region = address >> REGION_SHIFT
    if region < U64(regions.shape[0]):
        offset = address & OFFSET_MASK
        shift = regions[region, SHIFT]
        slot = offset >> shift
        offset -= slot << shift
        if (
            slot < regions[region, SLOTS]
            and regions[region, LOW] <= offset
            and offset + U64(size) <= regions[region, end]
        ):
            return regions[region, BASE] + slot * regions[region, STRIDE] + offset
    state[TOUCHED], state[SIZE], state[WRITING] = I64(address), size, end == WRITABLE
    return ZERO


@register_jitable
def atomic(operation, registers, source, at, wide):
    """An atomic operation at a host address (section 5.3). Alone in its machine, a program is never interrupted."""
    old = load64(at, 0) if wide else U64(load32(at, 0))
    value = registers[source]
    new = value
    code = operation & 0xF0
    if operation == isa.CMPXCHG:
        expected = registers[U64(0)] if wide else registers[U64(0)] & LOW32
        new = value if old == expected else old
        source = U64(0)
    elif code == isa.ADD:
        new = old + value
    elif code == isa.OR:
        new = old | value
    elif code == isa.AND:
        new = old & value
    elif code == isa.XOR:
        new = old ^ value
    if wide:
        store64(at, 0, new)
    else:
        store32(at, 0, I64(new))
    if operation & isa.FETCH:
        registers[source] = old


@register_jitable
def enter(registers, regions, frames, state, back):
    """Open a frame for a local call: remember where to go on and r6 to r9, point r10 to a stack of its own."""
    depth = state[DEPTH]
    frames[depth, 0] = back
    for i in range(4):
        frames[depth, 1 + i] = I64(registers[6 + i])
    state[DEPTH] = depth + 1
    region = FIRST_FRAME + depth + 1
    regions[region, HIGH] = regions[region, WRITABLE] = FRAME_SIZE
    registers[10] = U64(region) << REGION_SHIFT | U64(FRAME_SIZE)


@register_jitable
def leave(registers, regions, frames, state):
    """Close the frame, so that no pointer into it works any more; returns where to go on."""
    depth = state[DEPTH] - 1
    state[DEPTH] = depth
    region = FIRST_FRAME + depth
    regions[region + 1, HIGH] = regions[region + 1, WRITABLE] = 0
    for i in range(4):
        registers[6 + i] = U64(frames[depth, 1 + i])
    registers[10] = U64(region) << REGION_SHIFT | U64(FRAME_SIZE)
    return frames[depth, 0]
