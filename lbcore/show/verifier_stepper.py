"""The teaching verifier at work, one step a page: the instruction, what is known of each register, the path, and why.

Rule of this file: it replays what a verdict wrote down, and draws it; it judges nothing.

Theory. A verdict's steps say what each instruction changed. To know *all* that is known at a step, changes are added up
along its path; and a path starts with what was known just before the jump at which it left another one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any, NamedTuple

from lbcore.ebpf.verifier import Change, Step, Verdict, verify
from lbcore.ebpf.verify import value
from lbcore.show import bytecode
from lbcore.show.bytecode import CELL, MARKED, PLAIN, TABLE, Row
from lbcore.show.stepper import Stepper

MOST = 2000
"""Steps that can be paged through; a walk may have a million."""
ARGUMENTS = [f"r{n}" for n in range(1, 6)]

Known = dict[str, str]


class Moment(NamedTuple):
    """A step, and what is known after it: of registers and stack slots, by name, innermost function only."""

    step: Step
    known: Known


@dataclass(frozen=True)
class Replay:
    """A verification as a list of moments."""

    program: tuple[Row, ...]
    verdict: Verdict
    moments: tuple[Moment, ...]

    @property
    def last(self) -> int:
        return len(self.moments) - 1

    @property
    def cut(self) -> int:
        """Steps that are not shown."""
        return self.verdict.steps.total - len(self.moments)


def replay(program: Any, maps: Mapping[str, Any] | Sequence[Any] = ()) -> Replay:
    """Verify a program (a decorated function, an object, a program or bytes), and keep what was known at each step."""
    verdict = verify(getattr(program, "object", program), maps)
    if not len(verdict.steps):
        raise ValueError(f"nothing to step through: {verdict.reason}")
    moments: list[Moment] = []
    before: list[list[Known]] = []  # at each step: what was known in every open function, before it
    frames: list[Known] = [{"r1": "context", "r10": "r10"}]
    path = 0
    for step in verdict.steps[: min(MOST, len(verdict.steps.first))]:
        if step.path != path:
            path = step.path
            frames = [dict(frame) for frame in before[verdict.origins[path][1]]]
        if step.depth >= len(frames):
            known = {name: frames[-1][name] for name in ARGUMENTS if name in frames[-1]}
            frames.append({**known, "r10": f"frame {step.depth}'s r10"})
        while step.depth < len(frames) - 1:
            result = frames.pop().get("r0", "nothing")
            frames[-1] = {"r0": result, **{n: text for n, text in frames[-1].items() if n not in ("r0", *ARGUMENTS)}}
        before.append([dict(frame) for frame in frames])
        for change in step.changes:
            frames[-1][change.name] = str(change.after)
        frames[-1] = {name: text for name, text in frames[-1].items() if text != "nothing"}
        moments.append(Moment(step, dict(frames[-1])))
    return Replay(tuple(bytecode.rows(program)), verdict, tuple(moments))


@dataclass(frozen=True)
class Page:
    """One moment of a replay."""

    replay: Replay
    number: int

    @property
    def moment(self) -> Moment:
        return self.replay.moments[self.number]

    @property
    def heading(self) -> str:
        step = self.moment.step
        return f"Step {self.number} of {self.replay.last}, path {step.path}. {step.slot}: {step.text}"

    @property
    def story(self) -> str:
        """What the step found out, and what becomes of the path."""
        step = self.moment.step
        told = list(dict.fromkeys(filter(None, (why(step, change) for change in step.changes))))
        if step.note == "taken":
            parent, at = self.replay.verdict.origins[step.path]
            told.insert(0, f"Path {step.path} begins: as path {parent} was before step {at}, but the jump is taken.")
        elif step.note and step.note != "refused":
            told.append(step.note[0].upper() + step.note[1:] + ".")
        return " ".join(told) or "Nothing new is known."

    @property
    def verdict(self) -> str:
        """On the last page: accepted or not."""
        if self.number != self.replay.last:
            return ""
        if self.replay.cut:
            return f"{self.replay.cut} more steps are not shown."
        verdict = self.replay.verdict
        if verdict.accepted:
            return f"Accepted: all {verdict.paths} paths end, and no access on any of them can go wrong."
        return f"Refused ({verdict.category}): {verdict.reason}."

    @property
    def waiting(self) -> list[int]:
        """Paths that were found and are not walked yet, the next one first."""
        begun = {moment.step.path for moment in self.replay.moments[: self.number + 1]}
        now = self.moment.step.number
        return [
            path for path, (_, at) in sorted(self.replay.verdict.origins.items()) if at <= now and path not in begun
        ][::-1]

    def known(self) -> list[tuple[str, str, str]]:
        """(name, what is known of it, what was known before this step if that was something else)."""
        changes = {change.name: change for change in self.moment.step.changes}
        names = {*self.moment.known, *changes}
        return [
            (name, self.moment.known.get(name, "nothing"), f"was {changes[name].before}" if name in changes else "")
            for name in sorted(names, key=order)
        ]

    def _repr_html_(self) -> str:
        step = self.moment.step
        seen = {moment.step.slot for moment in self.replay.moments[: self.number]}
        left = bytecode.listing(list(self.replay.program), step.slot, seen=seen)
        rows = "".join(
            f'<tr style="{MARKED if was else PLAIN}">'
            + "".join(f'<td style="{CELL}">{escape(cell)}</td>' for cell in ("▶" * bool(was), name, text, was))
            + "</tr>"
            for name, text, was in self.known()
        )
        right = f'<table aria-label="what is known" style="{TABLE}">{rows}</table>'
        waiting = ", ".join(map(str, self.waiting[:12])) + (" …" if len(self.waiting) > 12 else "") or "none"
        right += f'<p style="margin: 6px 8px">Paths still to walk: {waiting}.</p>'
        paragraph = '<p style="margin: 4px 0; min-height: 1.5em">'
        end = f"{paragraph}<b>{escape(self.verdict)}</b></p>" if self.verdict else ""
        story = f"{paragraph}{escape(self.story)}</p>{end}"
        return f"<div>{bytecode.heading(self.heading)}{story}{bytecode.side_by_side(left, right)}</div>"

    def __repr__(self) -> str:
        lines = [self.heading, self.story, *filter(None, [self.verdict])]
        lines += [
            f"{'>' if was else ' '} {name} = {text}" + f" ({was})" * bool(was) for name, text, was in self.known()
        ]
        return "\n".join([*lines, f"paths still to walk: {', '.join(map(str, self.waiting)) or 'none'}"])


def order(name: str) -> tuple[bool, int]:
    """Registers by number, then the stack from its end."""
    return (False, int(name[1:])) if name.startswith("r") else (True, -int(name.strip("[]").removeprefix("r10")))


def why(step: Step, change: Change) -> str:
    """What a change means, in words; "" for a register that holds nothing any more."""
    old, new = change.before, change.after
    if not isinstance(new, value.Value):
        return f"The stack holds something at {change.name}."
    if new.kind in value.PACKETS and isinstance(old, value.Value) and old.kind == new.kind and new.range > old.range:
        return f"On this path the packet has at least {new.range} bytes from there: they may be read."
    if isinstance(old, value.Value) and old.null and not new.null:
        return f"{change.name} is not null here: what it points to may be touched."
    text = step.text
    if " = *(" in text and new.kind == value.NUMBER:
        return f"What stands there is not known before a packet comes: {change.name} is {new}."
    if " = *(" in text:
        return f"{change.name} is an address from the context: {new}."
    if text.startswith("if ") and new.kind == value.NUMBER:
        return f"The comparison tells: {change.name} is {new} here."
    if text.startswith("call ") and change.name == "r0":
        return f"The call may have returned: {new}."
    return "" if new.kind == value.NONE else f"{change.name} is {new}."


def verifier_steps(
    program: Any,
    *,
    maps: Mapping[str, Any] | Sequence[Any] = (),
    start: int | None = None,
    hint: str = "press Next, and watch what is known of the register that is read through",
) -> Stepper:
    """Step through the verification of a program. The saved page shows step `start` (by itself: the last one).

    program: a decorated function, an object file, a program of one, or bytes; maps as `verify` takes them. ValueError
    for a program of which no instruction was looked at, because it is none.
    """
    made = replay(program, maps)
    first = made.last if start is None else start

    def draw(step: int = first) -> Page:
        return Page(made, step)

    return Stepper(draw, made.last, hint=hint, start=first)
