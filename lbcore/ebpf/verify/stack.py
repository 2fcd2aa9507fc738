"""A stack frame: 512 bytes of which the verifier knows, slot by slot, what was put there.

Rule of this file: bytes and slots. Whether an access is inside of the frame is for `access` to say.

Theory. A slot is eight bytes, aligned. Each byte has a mark: nothing was written, something was, a zero was, or it is
part of a register that was put there whole (spilled). A spilled register comes back as what it was, pointer or number
with bounds; that is how a compiler that runs out of registers keeps what the program has proven. Bytes of a pointer one
by one are nothing that the verifier would follow, so it refuses to read or write parts of one.

Trap. Spilled numbers of fewer than eight bytes stand at the slot's lower end only, as in the kernel.
"""

from __future__ import annotations

from typing import NamedTuple

from lbcore.ebpf.verify import arithmetic, number, value
from lbcore.ebpf.verify.refusal import NOT_A_POINTER, UNWRITTEN, Refusal
from lbcore.ebpf.verify.value import UNKNOWN, Ids, Value

SIZE, SLOT = 512, 8
UNSET, MISC, ZERO, SPILL = b".", b"m", b"0", b"s"


class Slot(NamedTuple):
    """marks: of its eight bytes; value: what was spilled, if any byte is marked so."""

    marks: bytes = UNSET * SLOT
    value: Value | None = None

    @property
    def pointer(self) -> bool:
        return self.value is not None and self.value.pointer

    def __str__(self) -> str:
        if self.value is not None:
            covered = self.marks.count(SPILL)
            return str(self.value) + ("" if covered == SLOT else f" in {covered} bytes")
        if self.marks == ZERO * SLOT:
            return "0"
        known = sum(mark != UNSET[0] for mark in self.marks)
        return "any" if known == SLOT else f"{known} bytes written"


EMPTY = Slot()


class Stack(dict[int, Slot]):
    """Slots by the offset from r10 of their first byte: -8, -16 ... -512.

    trusting: bytes that were never written may be read, as the kernel lets root.
    """

    def copy(self) -> Stack:
        return Stack(self)

    def write(self, offset: int, size: int, content: Value) -> None:
        """Write `size` bytes at r10 + offset, aligned to their size."""
        base = offset & -SLOT
        slot, at = self.get(base, EMPTY), offset - base
        if content.pointer:
            if size != SLOT:
                raise Refusal(NOT_A_POINTER, f"writes {size} bytes of a pointer to the stack", "write all eight")
            self[base] = Slot(SPILL * SLOT, content)
        elif at == 0:
            if content.number.umax >> 8 * size:  # the id says "the same number", which a part of it is not
                content = content._replace(id=0)
            rest = slot.marks[size:].replace(SPILL, MISC)
            self[base] = Slot(SPILL * size + rest, content)
        else:
            mark = ZERO if content.number == number.ZERO and not content.made_of else MISC
            marks = slot.marks.replace(SPILL, MISC)
            self[base] = Slot(marks[:at] + mark * size + marks[at + size :])

    def blur(self, low: int, high: int, *, surely: bool) -> None:
        """Anything may have been written to bytes low to high - 1; if `surely`, all of them were written."""
        for base in range(low & -SLOT, high, SLOT):
            slot = self.get(base, EMPTY)
            marks = bytearray(slot.marks.replace(SPILL, MISC))
            for at in range(max(low - base, 0), min(high - base, SLOT)):
                if surely or marks[at] != UNSET[0]:
                    marks[at] = MISC[0]
            self[base] = Slot(bytes(marks))

    def read(self, offset: int, size: int, *, trusting: bool) -> Value:
        """What `size` bytes at r10 + offset are, aligned to their size."""
        base = offset & -SLOT
        slot, at = self.get(base, EMPTY), offset - base
        marks = slot.marks[at : at + size]
        if slot.value is not None and SPILL in marks:
            if slot.value.pointer:
                if size != SLOT:
                    raise Refusal(
                        NOT_A_POINTER, f"reads {size} bytes of a slot that holds {slot.value}", "read all eight bytes"
                    )
                return slot.value
            covered = slot.marks.count(SPILL)
            if at == 0 and size <= covered:
                if size == SLOT:
                    return slot.value
                same = slot.value.id if not slot.value.number.umax >> 8 * size else 0
                return slot.value._replace(number=arithmetic.loaded(slot.value.number, size), id=same)
            if slot.value.number == number.ZERO and not slot.value.made_of:
                marks = marks.replace(SPILL, ZERO)
        self.check(offset, offset + size, trusting=trusting)
        return (
            value.constant(0) if marks == ZERO * size else Value(value.NUMBER, arithmetic.loaded(UNKNOWN.number, size))
        )

    def check(self, low: int, high: int, *, trusting: bool) -> None:
        """Raise Refusal if one of the bytes low to high - 1 was never written."""
        if trusting:
            return
        for base in range(low & -SLOT, high, SLOT):
            marks = self.get(base, EMPTY).marks[max(low - base, 0) : high - base]
            if UNSET in marks:
                at = max(base, low) + marks.index(UNSET)
                raise Refusal(UNWRITTEN, f"reads the stack at r10{at:+d}, where nothing was written", "write it first")

    def includes(self, new: Stack, ids: Ids, matter: int, *, trusting: bool) -> bool:
        """Is whatever is safe with this stack safe with the new one? matter: bits for slots whose number matters."""
        for base, slot in self.items():
            now = new.get(base, EMPTY)
            if slot is now and (slot.value is None or not slot.value.id):
                continue
            if not _includes(slot, now, ids, bool(matter >> place(base) & 1), trusting):
                return False
        return True


def place(base: int) -> int:
    """The number of a slot, from 0, by the offset of its first byte."""
    return -base // SLOT - 1


def _includes(old: Slot, new: Slot, ids: Ids, matters: bool, trusting: bool) -> bool:
    if old.value is not None and old.marks == new.marks and new.value is not None:
        return value.includes(old.value, new.value, ids, matters=matters)
    if old.pointer or (new.pointer and old.marks != UNSET * SLOT):
        return False
    if old.value is not None and matters and (old.value.id or not _anything(old)):
        return False
    for was, now in zip(old.marks, new.marks, strict=True):
        if was == ZERO[0] and now != was:
            return False
        if was != UNSET[0] and now == UNSET[0] and not trusting:
            return False
    return True


def _anything(slot: Slot) -> bool:
    """Is what was spilled as good as any written bytes?"""
    size = slot.marks.count(SPILL)
    return slot.value is not None and slot.value.number.includes(arithmetic.loaded(UNKNOWN.number, size))
