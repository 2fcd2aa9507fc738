"""The walk: every way through a program, one after another, until each has ended well or one has not.

Rule of this file: which instruction comes next, and where a way may end early. What instructions do is elsewhere.

Theory. Ways are taken depth first. At a conditional jump one is followed and the other laid aside with its state. Where
ways meet, the state is remembered (a checkpoint). If all ways from a checkpoint ended well, a state that it includes
need not go on: it is pruned. If a state comes back to a checkpoint that is still open, and is the same, the program has
gone round in a circle, and will for ever. A loop that does something else each time is followed round by round.

Trap. A checkpoint that is open must not prune: what it leads to has not been seen yet.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from lbcore.ebpf import forms, isa, signatures
from lbcore.ebpf.isa import ALU, ALU64, ATOMIC, JMP, JMP32, LD, LDX, ST, STX, Instruction
from lbcore.ebpf.verify import calls, instructions, jumps, value
from lbcore.ebpf.verify.environment import Environment
from lbcore.ebpf.verify.maps import Facts
from lbcore.ebpf.verify.refusal import CALL, LIMIT, LOOP, REFERENCE, STACK, UNKNOWN, Refusal
from lbcore.ebpf.verify.shape import MAX_FRAMES, Shape
from lbcore.ebpf.verify.stack import EMPTY, Stack
from lbcore.ebpf.verify.state import Frame, State
from lbcore.ebpf.verify.value import NOTHING
from lbcore.ebpf.verify.verdict import Record, Steps

MOST_PENDING = 8192
"""Ways laid aside at once, as in the kernel (BPF_COMPLEXITY_LIMIT_JMP_SEQ)."""
SPACING = 8
"""Instructions between checkpoints, at least: remembering costs more than walking."""
EVERY = -1
"""All places."""
PATIENCE = 12
"""Comparisons in vain after which a checkpoint is forgotten, and more for each that was not."""


class Checkpoint:
    """A state at a place where ways meet. open: how many ways from here have not ended yet; matter: the places whose
    numbers something was decided by since."""

    __slots__ = ("hits", "matter", "misses", "open", "parent", "state")

    def __init__(self, state: State, parent: Checkpoint | None) -> None:
        self.state, self.parent = state, parent
        self.open, self.hits, self.misses, self.matter = 1, 0, 0, 0


class Walk:
    """steps: where to write down what happens. maps: what wide loads load, by the index of the instruction."""

    def __init__(self, shape: Shape, env: Environment, maps: dict[int, Facts], steps: Steps, limit: int) -> None:
        self.shape, self.env, self.maps, self.steps, self.limit = shape, env, maps, steps, limit
        self.index = self.path = self.processed = self.pruned = 0
        self.paths = 1
        self.state = State()
        self.state.registers[1] = value.CONTEXT_POINTER
        self.origins: dict[int, tuple[int, int]] = {}
        self._before: tuple[list[value.Value], Stack | None] = self.state.registers, None
        self._parent: Checkpoint | None = None
        self._since = SPACING
        self._seen: dict[int, list[Checkpoint]] = {index: [] for index in shape.joins}
        self._pending: list[tuple[int, State, Checkpoint | None, int, int, tuple[list[value.Value], Stack | None]]] = []
        self._rules = [self._rule(index, one) for index, one in enumerate(shape.instructions)]

    def run(self) -> None:
        """Walk all ways. Raises Refusal; `index` and `state` say where."""
        while True:
            if self.index in self._seen and self._been_here():
                if not self._next_way():
                    return
                continue
            self.processed += 1
            if self.processed > self.limit:
                raise Refusal(LIMIT, f"not done after {self.limit} instructions", "fewer rounds of loops, fewer ways")
            self._since += 1
            state, index = self.state, self.index
            rule, writes = self._rules[index]
            frame = state.frames[-1]
            self._before = frame.registers.copy(), frame.stack.copy() if writes else None
            note: str | None = "refused"
            try:
                note = rule()
            finally:
                self._note(index, frame, *self._before, note or "")
            if self.env.decisive:
                self._decided_by(self.env.decisive)
                self.env.decisive = 0
            if self.index < 0 and not self._next_way():
                return

    # ---- one instruction; each returns a note, and sets self.index ----

    def _rule(self, index: int, i: Instruction) -> tuple[Callable[[], str | None], bool]:
        """What is to be done at an instruction, and whether what is known of the stack may change."""
        form = forms.find(i)
        assert form is not None, "a checked program has only known forms"
        if i.klass in (JMP, JMP32):
            if i.code == isa.EXIT:
                return self._exit, False
            if i.code == isa.JA:
                return partial(self._go, self.shape.program.targets[index]), False
            if i.code != isa.CALL:
                return partial(self._jump, i, form.name, self.shape.program.targets[index]), True
            if i.src == isa.LOCAL:
                return partial(self._enter, self.shape.program.targets[index]), False
            if i.src == isa.KERNEL:
                return partial(self._kernel, i), False
            slot, called = self.shape.program.slots[index], signatures.HELPERS.get(i.imm)
            rule = partial(calls.call, self.env, helper=i.imm, slot=slot)
            return self._then(rule, f"calls {called.name}" if called else ""), True
        if i.klass in (ALU, ALU64):
            return self._then(partial(instructions.arithmetic_of, self.env, i=i, name=form.name)), False
        if i.wide:
            self._look(index, i)
            return self._then(partial(instructions.wide, i=i, facts=self.maps.get(index))), False
        if i.klass == LD:
            return self._then(partial(instructions.packet_load, self.env, i=i)), False
        if i.klass == LDX:
            return self._then(partial(instructions.load, self.env, i=i)), False
        assert i.klass in (ST, STX), "a checked program has only known forms"
        store = instructions.atomic if i.klass == STX and i.mode == ATOMIC else instructions.store
        return self._then(partial(store, self.env, i=i)), True

    def _look(self, index: int, i: Instruction) -> None:
        """The kernel looks maps up before it walks, so what is wrong with one is wrong even where no way leads."""
        try:
            instructions.wide(State(), i, self.maps.get(index))
        except Refusal as why:
            raise Refusal(why.category, why.why, why.instead, index=index) from None

    def _then(self, rule: Callable[..., None], note: str = "") -> Callable[[], str]:
        def run() -> str:
            rule(state=self.state)
            self.index += 1
            return note

        return run

    def _go(self, target: int) -> None:
        self.index = target

    def _kernel(self, i: Instruction) -> None:
        why = f"calls function {i.imm} of the kernel"
        raise Refusal(UNKNOWN, why, "helpers are known, the kernel's own functions are not")

    def _jump(self, i: Instruction, form: str, target: int) -> str:
        ways = jumps.ways(self.env, self.state, i, form)
        (taken, state), others = ways[0], ways[1:]
        before = self.index
        self.state, self.index = state, target if taken else before + 1
        if not others:
            return "always taken here" if taken else "never taken here"
        if len(self._pending) >= MOST_PENDING:
            raise Refusal(LIMIT, f"{MOST_PENDING} ways are laid aside at once", "fewer branches, or functions")
        self.origins[self.paths] = (self.path, self.steps.total)
        self._pending.append((target, others[0][1], self._parent, before, self.paths, self._before))
        if self._parent is not None:
            self._parent.open += 1
        self.paths += 1
        return f"not taken; path {self.paths - 1} will take it"

    def _enter(self, target: int) -> str:
        frames = self.state.frames
        if len(frames) >= MAX_FRAMES:
            raise Refusal(CALL, f"calls deeper than {MAX_FRAMES} functions", "recursion has to end, and early")
        frame = Frame(len(frames), target, self.index + 1)
        frame.registers[1:6] = self.state.registers[1:6]
        frames.append(frame)
        self.env.depths.setdefault(target, 0)
        self.index = target
        return "calls a function: r1 to r5 go along"

    def _exit(self) -> str:
        state = self.state
        if len(state.frames) == 1:
            instructions.read(state, 0)
            if state.owed:
                slots = ", ".join(map(str, sorted(state.owed.values())))
                raise Refusal(REFERENCE, f"ends with a record that was reserved at {slots}", "submit or discard it")
            self.index = -1
            return "the program ends"
        result = state.registers[0]
        if result.kind == value.STACK:
            raise Refusal(STACK, f"returns {result}", "a frame is gone when its function returns")
        self.index = state.frames.pop().back
        state.registers[:6] = [result, *[NOTHING] * 5]
        return "returns to its caller"

    # ---- where ways end and meet ----

    def _been_here(self) -> bool:
        """Has a state that includes this one gone well from here? If not, remember this one."""
        seen, live, trusting = self._seen[self.index], self.shape.live.__getitem__, self.env.trusting
        for checkpoint in reversed(seen):
            if checkpoint.open:
                if self._same(checkpoint.state):
                    self._note(self.index, self.state.frames[-1], self.state.registers, None, "refused")
                    raise Refusal(LOOP, "comes back here with nothing changed", "each round must bring the end nearer")
            elif checkpoint.state.includes(self.state, live, self.index, checkpoint.matter, trusting=trusting):
                checkpoint.hits += 1
                self._decided_by(self.state.made_of(checkpoint.matter))
                frame = self.state.frames[-1]
                self._note(self.index, frame, frame.registers, None, "pruned: been here, with no less")
                self.pruned += 1
                return True
            checkpoint.misses += 1
            if checkpoint.misses > PATIENCE * (checkpoint.hits + 1):
                seen.remove(checkpoint)
        if self._since >= SPACING:
            self._since = 0
            self._parent = Checkpoint(self.state.remembered(), self._parent)
            seen.append(self._parent)
        return False

    def _same(self, open: State) -> bool:
        """Is the state of an open checkpoint this one? Stack in use only later does not count, as in the kernel."""
        state, live, trusting = self.state, self.shape.live.__getitem__, self.env.trusting
        return (
            open.resembles(state, live(self.index))
            and open.includes(state, live, self.index, EVERY, trusting=trusting)
            and state.within(open).includes(open, live, self.index, EVERY, trusting=trusting)
        )

    def _decided_by(self, places: int) -> None:
        """Something was decided by the numbers that were in these places at the last checkpoint."""
        checkpoint = self._parent
        while checkpoint is not None and places:
            places &= ~checkpoint.matter
            checkpoint.matter |= places
            places, checkpoint = checkpoint.state.made_of(places), checkpoint.parent

    def _next_way(self) -> bool:
        """Go on with the way that was laid aside last. False if there is none."""
        checkpoint = self._parent
        while checkpoint is not None:
            checkpoint.open -= 1
            if checkpoint.open:
                break
            checkpoint = checkpoint.parent
        if not self._pending:
            return False
        self.index, self.state, self._parent, jump, self.path, before = self._pending.pop()
        self._note(jump, self.state.frames[-1], *before, "taken")
        return True

    def _note(self, index: int, frame: Frame, before: list[value.Value], stack: Stack | None, note: str) -> None:
        """Write down what has changed since; stack: what the frame's was before, if it can have changed."""
        written = (
            ()
            if stack is None
            else tuple(
                (base, stack.get(base, EMPTY), slot)
                for base, slot in frame.stack.items()
                if stack.get(base) is not slot
            )
        )
        depth = len(self.state.frames) - 1
        self.steps.add(Record(self.steps.total, index, self.path, depth, before, frame.registers.copy(), written, note))
