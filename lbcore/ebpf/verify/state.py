"""The state of a walk at one instruction: registers and stack of every open function, and what is owed.

Rule of this file: what a state holds, what changes in all of it at once, and when one state stands for another.

Theory. A program of n branches has up to 2^n ways through it. What makes verifying one possible is that ways meet: if
the walk comes to an instruction with no more than what it had when it was there before, and went well from there, it
need not go again. "No more": each register and slot is included in what it was then. Registers that nobody will read
before they are written (`live`) do not count, and of numbers only those that something was decided by: that were added
to a pointer, given as a size, or settled which way a jump goes. The kernel calls this precision. To know which matter,
every number carries the places it was made of since the last checkpoint; when one is used so, these places matter
there, and what they were made of matters one checkpoint earlier.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

from lbcore.ebpf import isa
from lbcore.ebpf.verify import value
from lbcore.ebpf.verify.number import Number
from lbcore.ebpf.verify.stack import SIZE, SLOT, Slot, Stack, place
from lbcore.ebpf.verify.value import NOTHING, NUMBER, UNKNOWN, Ids, Value

PLACES = isa.REGISTERS + SIZE // SLOT
"""Registers and slots of one frame."""
MOVED = "a pointer into the packet, before a helper moved the packet"


class Frame:
    """An open function. back: the index of the instruction it returns to; function: the index where it starts."""

    __slots__ = ("back", "function", "registers", "stack")

    def __init__(self, number: int, function: int, back: int) -> None:
        self.function, self.back = function, back
        self.registers = [NOTHING] * isa.REGISTERS
        self.registers[isa.FRAME] = Value(value.STACK, about=number)
        self.stack = Stack()

    def copy(self) -> Frame:
        made = Frame.__new__(Frame)
        made.function, made.back = self.function, self.back
        made.registers, made.stack = self.registers.copy(), self.stack.copy()
        return made


class State:
    """frames: the innermost last; owed: ids of records that were reserved and not yet given back, and where."""

    __slots__ = ("frames", "owed")

    def __init__(self) -> None:
        self.frames = [Frame(0, 0, -1)]
        self.owed: dict[int, int] = {}

    def copy(self) -> State:
        made = State.__new__(State)
        made.frames, made.owed = [frame.copy() for frame in self.frames], self.owed.copy()
        return made

    @property
    def registers(self) -> list[Value]:
        return self.frames[-1].registers

    def rewrite(self, wanted: Callable[[Value], bool], new: Callable[[Value], Value]) -> None:
        """Replace every value that is wanted, in registers and slots of all frames."""
        for frame in self.frames:
            registers = frame.registers
            for n, held in enumerate(registers):
                if wanted(held):
                    registers[n] = new(held)
            for base, slot in list(frame.stack.items()):
                if slot.value is not None and wanted(slot.value):
                    frame.stack[base] = Slot(slot.marks, new(slot.value))

    def learn(self, id: int, known: Number, made_of: int) -> None:
        """All numbers with this id are this one; made_of: where that comes from."""
        if id:
            self.rewrite(
                lambda held: held.id == id and held.kind == NUMBER,
                lambda held: held._replace(number=known, made_of=held.made_of | made_of),
            )

    def settle_null(self, id: int, *, null: bool) -> None:
        """The pointer with this id was found to be null, or not to be."""
        if null:
            self.owed.pop(id, None)
            self.rewrite(lambda held: held.id == id and held.null, lambda held: value.constant(0))
        else:
            self.rewrite(lambda held: held.id == id and held.null, _not_null)

    def widen_range(self, like: Value, size: int) -> None:
        """`size` bytes behind the variable part of this packet pointer are in the packet."""
        self.rewrite(
            lambda held: held.kind == like.kind and held.id == like.id and held.range < size,
            lambda held: held._replace(range=size),
        )

    def forget_packet(self) -> None:
        """The packet has moved: pointers into it are numbers now, and nothing is known of them."""
        self.rewrite(lambda held: held.kind in (*value.PACKETS, value.END), lambda held: UNKNOWN._replace(note=MOVED))

    def give_back(self, id: int) -> None:
        """A record is gone, and so are all pointers to it."""
        del self.owed[id]
        self.rewrite(
            lambda held: held.kind == value.RECORD and held.id == id,
            lambda held: UNKNOWN._replace(note="a record that was given back"),
        )

    def remembered(self) -> State:
        """A copy to be kept; in this one, every number is now made of itself."""
        kept, at = self.copy(), 1
        for frame in self.frames:
            registers = frame.registers
            for n, held in enumerate(registers):
                if held.kind == NUMBER:
                    registers[n] = held._replace(made_of=at << n)
            for base, slot in frame.stack.items():
                if slot.value is not None and slot.value.kind == NUMBER:
                    made_of = at << isa.REGISTERS + place(base)
                    frame.stack[base] = Slot(slot.marks, slot.value._replace(made_of=made_of))
            at <<= PLACES
        return kept

    def made_of(self, places: int) -> int:
        """What the numbers in these places are made of."""
        found = 0
        for frame in self.frames:
            for n in _members(places & (1 << isa.REGISTERS) - 1):
                found |= frame.registers[n].made_of
            slots = places >> isa.REGISTERS & (1 << PLACES - isa.REGISTERS) - 1
            for base, slot in frame.stack.items() if slots else ():
                if slot.value is not None and slots >> place(base) & 1:
                    found |= slot.value.made_of
            places >>= PLACES
        return found

    def resembles(self, new: State, live: int) -> bool:
        """Have the registers of the innermost function the same content? A quick look, to save a thorough one."""
        ours, theirs = self.registers, new.registers
        for n in reversed(_members(live)):
            old, now = ours[n], theirs[n]
            if old.number is not now.number and old.number != now.number:
                return False
        return True

    def within(self, old: State) -> State:
        """A copy without the slots that lie deeper in the stack than any that was in use in the old state."""
        made = self.copy()
        for ours, theirs in zip(made.frames, old.frames, strict=True):
            deepest = min(theirs.stack, default=0)
            ours.stack = Stack({base: slot for base, slot in ours.stack.items() if base >= deepest})
        return made

    def includes(self, new: State, live: Callable[[int], int], index: int, matter: int, *, trusting: bool) -> bool:
        """Is whatever is safe in this state, at instruction `index`, safe in the new one?

        matter: bits for the places whose numbers matter.
        """
        if len(self.frames) != len(new.frames) or len(self.owed) != len(new.owed):
            return False
        ids, at = Ids(), index
        for number in range(len(self.frames) - 1, -1, -1):
            ours, theirs, important = self.frames[number], new.frames[number], matter >> number * PLACES
            if ours.back != theirs.back:
                return False
            wanted = live(at) if ours is self.frames[-1] else live(at) & ~0b111111
            for n in _members(wanted):
                old, now = ours.registers[n], theirs.registers[n]
                if old is now and not old.id:
                    continue
                if not value.includes(old, now, ids, matters=bool(important >> n & 1)):
                    return False
            if not ours.stack.includes(theirs.stack, ids, important >> isa.REGISTERS, trusting=trusting):
                return False
            at = ours.back
        return all(ids.get(old, -1) in new.owed for old in self.owed)


def _not_null(held: Value) -> Value:
    if held.kind == value.INNER:
        return Value(value.MAP, about=held.about.inner)
    return held._replace(null=False, id=held.id if held.kind == value.RECORD else 0)


@cache
def _members(mask: int) -> tuple[int, ...]:
    """The numbers of the bits that are set, of those for registers."""
    return tuple(n for n in range(isa.REGISTERS) if mask >> n & 1)
