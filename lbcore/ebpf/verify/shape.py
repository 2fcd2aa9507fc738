"""The shape of a program, before anything is known of its values: functions, ways through it, who reads what.

Rule of this file: the graph of the code, and nothing else.

Theory. A function starts where a local call leads, and ends where the next one starts; nothing but calls crosses that
border. Every instruction must be reachable, and no way may run over the end. Going backwards from every use of a
register finds where it is live, that is, where its content can still matter.
"""

from __future__ import annotations

from functools import cached_property

from lbcore.ebpf import forms, isa, signatures
from lbcore.ebpf.isa import ALU, ALU64, JMP, LD, LDX, ST, STX, Instruction
from lbcore.ebpf.program import Program
from lbcore.ebpf.verify.refusal import ARITHMETIC, CALL, CODE, SHAPE, UNKNOWN, Refusal

MAX_FRAMES, MAX_STACK = 8, 512


class Shape:
    """A checked program with its graph. Raises Refusal."""

    def __init__(self, checked: Program) -> None:
        self.program, self.instructions = checked, checked.instructions
        if not self.instructions:
            raise Refusal(CODE, "there are no instructions", "the least program is r0 = 0; exit")
        called = {self.program.targets[i] for i, one in enumerate(self.instructions) if _is_local_call(one)}
        self.starts = sorted({0, *called})
        for index, one in enumerate(self.instructions):
            self._instruction(index, one)
        self._functions()
        self._reachable()

    @cached_property
    def successors(self) -> list[tuple[int, ...]]:
        """Where each instruction can lead, a call behind itself."""
        return [self._after(index) for index in range(len(self.instructions))]

    @cached_property
    def joins(self) -> frozenset[int]:
        """Where ways meet: worth remembering the state."""
        seen, found = set[int](), set(self.starts[1:])
        for index, behind in enumerate(self.successors):
            for one in behind:
                if one in seen or one <= index:
                    found.add(one)
                seen.add(one)
        return frozenset(found)

    @cached_property
    def live(self) -> list[int]:
        """For each instruction a bit for each register that may be read, from there on, before it is written."""
        live, work = [0] * len(self.instructions), list(range(len(self.instructions)))
        before: list[list[int]] = [[] for _ in self.instructions]
        for index, behind in enumerate(self.successors):
            for one in behind:
                before[one].append(index)
        effects = [_effect(one) for one in self.instructions]
        while work:
            index = work.pop()
            after = 0
            for one in self.successors[index]:
                after |= live[one]
            read, written = effects[index]
            now = read | after & ~written
            if now != live[index]:
                live[index] = now
                work.extend(before[index])
        return live

    def function_of(self, index: int) -> int:
        """The index at which the function of an instruction starts."""
        return max(start for start in self.starts if start <= index)

    def stack_used(self, depths: dict[int, int]) -> None:
        """Raise Refusal if calls can be nested too deep, or use too much stack together; depths: of each function."""
        calls: dict[int, list[int]] = {start: [] for start in self.starts}
        for index, one in enumerate(self.instructions):
            if _is_local_call(one):
                calls[self.function_of(index)].append(index)
        pending = [(0, 1, _rounded(depths.get(0, 0)))]
        worst: dict[int, tuple[int, int]] = {}
        while pending:
            start, frames, used = pending.pop()
            for index in calls[start]:
                target = self.program.targets[index]
                total = used + _rounded(depths.get(target, 0))
                if frames + 1 > MAX_FRAMES:
                    raise Refusal(CALL, f"{frames + 1} functions deep", f"there may be {MAX_FRAMES}", index=index)
                if total > MAX_STACK:
                    why = f"the functions open here use {total} bytes of stack together"
                    raise Refusal(CALL, why, f"there are {MAX_STACK}", index=index)
                deeper = (frames + 1, total)
                known = worst.get(target)
                if known is None or deeper[0] > known[0] or deeper[1] > known[1]:
                    worst[target] = deeper if known is None else (max(known[0], deeper[0]), max(known[1], deeper[1]))
                    pending.append((target, *worst[target]))

    def _instruction(self, index: int, one: Instruction) -> None:
        """What the kernel wants of single instructions beyond RFC 9669."""
        if one.klass in (ALU, ALU64) and one.source == isa.K:
            width = 64 if one.klass == ALU64 else 32
            if one.code in (isa.LSH, isa.RSH, isa.ARSH) and not 0 <= one.imm < width:
                raise Refusal(ARITHMETIC, f"shifts by {one.imm}", f"0 to {width - 1} is wanted", index=index)
            if one.code in (isa.DIV, isa.MOD) and one.imm == 0:
                raise Refusal(ARITHMETIC, "divides by the constant 0", index=index)
        if one.wide and one.src == isa.CODE:
            raise Refusal(UNKNOWN, "loads the address of a function", "callbacks are not modelled", index=index)
        if one.opcode == JMP | isa.CALL | isa.X:
            raise Refusal(CODE, "calls a register", "the kernel wants the helper's number", index=index)

    def _functions(self) -> None:
        for start, end in zip(self.starts, [*self.starts[1:], len(self.instructions)], strict=True):
            last = self.instructions[end - 1]
            if last.klass not in (JMP, isa.JMP32) or last.code not in (isa.EXIT, isa.JA):
                raise Refusal(SHAPE, "a function ends here", "its last instruction is exit or goto", index=end - 1)
            for index in range(start, end):
                target = self.program.targets.get(index)
                if target is not None and not _is_local_call(self.instructions[index]) and not start <= target < end:
                    raise Refusal(SHAPE, "jumps into another function", "only calls lead there", index=index)

    def _reachable(self) -> None:
        seen, pending = {0}, [0]
        while pending:
            index = pending.pop()
            behind = set(self.successors[index])
            if _is_local_call(self.instructions[index]):
                behind.add(self.program.targets[index])
            pending.extend(behind - seen)
            seen |= behind
        for index in range(len(self.instructions)):
            if index not in seen:
                raise Refusal(SHAPE, "no way leads here", "leave out code that cannot run", index=index)

    def _after(self, index: int) -> tuple[int, ...]:
        one, target = self.instructions[index], self.program.targets.get(index)
        if one.klass in (JMP, isa.JMP32):
            if one.code == isa.EXIT:
                return ()
            if one.code == isa.JA:
                assert target is not None
                return (target,)
            if one.code != isa.CALL and target is not None:
                return (index + 1, target)
        return (index + 1,)


def _is_local_call(one: Instruction) -> bool:
    return one.opcode == JMP | isa.CALL and one.src == isa.LOCAL


def _rounded(depth: int) -> int:
    """As a kernel with a just-in-time compiler counts."""
    return depth + 15 & ~15


def _effect(one: Instruction) -> tuple[int, int]:
    """Registers read and registers written, as bits."""
    written = sum(1 << n for n in forms.written(one))
    dst, src = 1 << one.dst, 1 << one.src
    if one.klass in (ALU, ALU64):
        if one.code == isa.MOV:
            return src if one.source else 0, written
        return dst | (src if one.source and one.code not in (isa.END, isa.NEG) else 0), written
    if one.wide:
        return 0, written
    if one.klass == LD:
        return 1 << 6 | src, written
    if one.klass == LDX:
        return src, written
    if one.klass == ST:
        return dst, 0
    if one.klass == STX:
        return dst | src | (1 if one.mode == isa.ATOMIC and one.imm == isa.CMPXCHG else 0), written
    if one.code == isa.EXIT:
        return 1, 0
    if one.code == isa.JA:
        return 0, 0
    if one.code == isa.CALL:
        known = signatures.HELPERS.get(one.imm) if one.src == isa.HELPER else None
        count = len(known.arguments) if known else 5
        return (1 << count + 1) - 2, written
    return dst | (src if one.source else 0), 0
