"""Compare what a student wrote with the specification, and choose the hint that fits the mistake.

Rule of this file: it knows outcomes and exercises, no subject. An exercise is a table: cases, the right answer, known
mistakes, properties.

Theory. A known mistake is kept as a function that makes it. If the student's answers equal the mistake's answers in
every case, that is the mistake, whatever the code looks like. Otherwise the properties are asked in order, the first
that the answer breaks gives the hint. Cases stand in order of size, so the first that fails is the smallest
counterexample we have, and it is the one that the hint shows. Every case runs twice: an answer that depends on chance
or on earlier calls is found whatever it is.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from typing import Any

from lbcore.labs.sandbox import Outcome, plain, run
from lbcore.show.style import GREEN, VERMILION

RIGHT = "right"
TWICE = (
    "Called twice with the same arguments, your function gives two answers. It may use no chance, no clock and nothing "
    "kept from earlier calls."
)


@dataclass(frozen=True)
class Verdict:
    """What a checker says. `key` names the finding ("right" or a mistake), `evidence` shows the counterexample."""

    key: str
    text: str
    evidence: str = ""

    @property
    def passed(self) -> bool:
        """Whether the specification is met."""
        return self.key == RIGHT

    def __repr__(self) -> str:
        return "\n\n".join(filter(None, [f"{'✓' if self.passed else '✗'} {self.text}", self.evidence]))

    def _repr_html_(self) -> str:
        evidence = f'<pre style="margin: 6px 0 0 0">{escape(self.evidence)}</pre>' if self.evidence else ""
        style = f"border-left: 4px solid {GREEN if self.passed else VERMILION}; padding: 4px 12px; max-width: 60em"
        return f'<div style="{style}">{"✓" if self.passed else "✗"} {escape(self.text)}{evidence}</div>'


@dataclass(frozen=True)
class Mistake:
    """A known mistake: a function that makes it (None: no answer), and what to say to whoever made it."""

    key: str
    makes: Callable[..., Any]
    hint: str


@dataclass(frozen=True)
class Property:
    """What every right answer has: `broken(answer, *arguments)` says what is wrong with one that has it not."""

    key: str
    broken: Callable[..., str | None]


@dataclass(frozen=True)
class Case:
    """Arguments of one call. Cases of one group share their mistakes: diagnosis looks at one group at a time."""

    arguments: tuple[Any, ...]
    group: str = ""


@dataclass(frozen=True)
class Exercise:
    """All that a checker needs to know of one exercise."""

    names: tuple[str, ...]  # of the arguments
    right: Callable[..., Any]  # the specification: an answer, or ValueError
    praise: str
    mistakes: Sequence[Mistake]
    properties: Sequence[Property]
    advice: Mapping[str, tuple[str, str]] = field(default_factory=dict)  # of an exception's class: key, hint
    accepted: Callable[..., str] = lambda *_: "This input has no right answer: raise ValueError."
    refusals: Mapping[str, str] = field(default_factory=dict)  # of a group that is to be refused: who accepts it
    difference: Callable[[Any, Any], str] = lambda got, wanted: ""  # where two answers part, in words

    def expect(self, arguments: tuple[Any, ...]) -> Outcome:
        """What the specification gives."""
        try:
            return Outcome("answer", plain(self.right(*arguments)))
        except ValueError:
            return Outcome("raised", "ValueError")

    def meets(self, got: Outcome, wanted: Outcome, arguments: tuple[Any, ...]) -> bool:
        """Whether an outcome is the one that was wanted, of the right types too (1.0 is no slot)."""
        same = (got.kind, got.value) == (wanted.kind, wanted.value)
        return same and (got.kind != "answer" or self.flaw(got.value, arguments) is None)

    def flaw(self, answer: Any, arguments: tuple[Any, ...]) -> tuple[str, str] | None:
        """(key, hint) of the first property that `answer` breaks."""
        found = ((one.key, one.broken(answer, *arguments)) for one in self.properties)
        return next(((key, hint) for key, hint in found if hint), None)

    def given(self, case: Case) -> str:
        """A case's arguments by name."""
        return ", ".join(f"{name} = {brief(value)}" for name, value in zip(self.names, case.arguments, strict=True))

    def words(self, outcome: Outcome) -> str:
        """An outcome in a line."""
        if outcome.kind == "answer":
            return brief(outcome.value)
        return f"{outcome.value}: {outcome.note}".rstrip(": ") if outcome.kind == "raised" else outcome.note

    def evidence(self, case: Case, wanted: Outcome, got: Outcome) -> str:
        """The counterexample, for people."""
        lines = [self.given(case), f"right: {self.words(wanted)}", f"yours: {self.words(got)}"]
        if got.kind == wanted.kind == "answer":
            lines += first_difference(got.value, wanted.value)
            lines += filter(None, [self.difference(got.value, wanted.value)])
        return "\n".join(lines)


def brief(value: Any, most: int = 31) -> str:
    """A value in a line: long lists lose their middle."""
    if isinstance(value, bytes) and len(value) > 16:
        return f"{value[:8].hex(' ')} … ({len(value)} bytes)"
    if isinstance(value, list) and len(value) > most:
        return f"[{', '.join(map(repr, value[:12]))}, … {len(value)} in all]"
    return repr(value) if len(repr(value)) <= 200 else f"{repr(value)[:200]}…"


def first_difference(got: Any, wanted: Any) -> list[str]:
    """Where two long lists part."""
    if not (isinstance(got, list) and isinstance(wanted, list) and len(got) == len(wanted) > 31):
        return []
    place = next((i for i in range(len(got)) if got[i] != wanted[i]), None)
    return [] if place is None else [f"first difference in slot {place}: right {wanted[place]}, yours {got[place]!r}"]


def judge(exercise: Exercise, function: Any, cases: Sequence[Case]) -> Verdict:
    """The verdict on `function`. It never raises for anything that `function` is or does."""
    if not callable(function):
        return Verdict("not_a_function", f"Give the function itself, not a {type(function).__name__}: its bare name.")
    outcomes = run(function, [case.arguments for case in (*cases, *cases)])
    expected = [exercise.expect(case.arguments) for case in cases]
    rounds = [*zip(cases, expected, strict=True)] * 2
    unsteady = next(
        (i for i, (one, two) in enumerate(zip(outcomes, outcomes[len(cases) :], strict=False)) if one != two), None
    )
    if unsteady is not None:
        evidence = exercise.evidence(cases[unsteady], expected[unsteady], outcomes[unsteady])
        return Verdict(
            "not_the_same_twice", TWICE, f"{evidence}\nagain: {exercise.words(outcomes[unsteady + len(cases)])}"
        )
    failed = [
        i
        for i, (got, (case, wanted)) in enumerate(zip(outcomes, rounds, strict=False))
        if not exercise.meets(got, wanted, case.arguments)
    ]
    if failed:
        case, wanted = rounds[failed[0]]
        key, hint = diagnose(exercise, outcomes, rounds, failed[0])
        evidence = "" if key == "stub" else exercise.evidence(case, wanted, outcomes[failed[0]])
        return Verdict(key, hint, evidence)
    changed = next((i for i, outcome in enumerate(outcomes) if outcome.changed), None)
    if changed is not None:
        hint = "Right answers, but your function changes what it is given. Callers keep theirs: work on a copy."
        return Verdict("changed_input", hint, f"For instance {exercise.given(rounds[changed][0])}.")
    return Verdict(RIGHT, exercise.praise.format(cases=len(cases)))


def diagnose(
    exercise: Exercise, outcomes: Sequence[Outcome], rounds: Sequence[tuple[Case, Outcome]], first: int
) -> tuple[str, str]:
    """(key, hint) for the outcome at `first`, the first that is not what was wanted."""
    got, (case, wanted) = outcomes[first], rounds[first]
    if got.kind == "stub":
        return "stub", f"Not written yet ({got.note})." if got.note else "Not written yet."
    if got.kind == "answer" and wanted.kind == "raised":
        if case.group in exercise.refusals:
            return case.group, exercise.refusals[case.group]
        return "accepted", exercise.accepted(*case.arguments)
    if mistake := recognise(exercise, outcomes, rounds, case.group):
        return mistake.key, mistake.hint
    if got.kind == "answer":
        differs = "differs", "Your answer is not the one that the specification gives. Follow this case by hand:"
        return exercise.flaw(got.value, case.arguments) or differs
    line = f" The line: {got.line}" if got.line else ""
    if got.kind == "raised" and got.value == "ValueError":
        return "refused", f"Your function refuses an input that has an answer ({got.note or 'ValueError'})." + line
    if got.kind == "raised" and got.value in exercise.advice:
        key, hint = exercise.advice[got.value]
        return key, f"{got.value}: {hint}{line}"
    if got.kind == "raised":
        return "raised", f"Your function stopped with {got.value}: {got.note}." + line
    if got.kind == "endless":
        return "endless", f"Your function does not come to an end: {got.note}. Which condition never comes true?" + line
    return "died", f"Your function was ended before it had an answer: {got.note}."


def recognise(
    exercise: Exercise, outcomes: Sequence[Outcome], rounds: Sequence[tuple[Case, Outcome]], group: str
) -> Mistake | None:
    """The known mistake that gives just these answers, in every case of the group that has one."""
    made = [
        (case.arguments, got.value, got.value != wanted.value)
        for got, (case, wanted) in zip(outcomes, rounds, strict=False)
        if got.kind == wanted.kind == "answer" and case.group == group
    ]
    if not any(wrong for *_, wrong in made):
        return None
    return next(
        (one for one in exercise.mistakes if all(plain(one.makes(*given)) == value for given, value, _ in made)), None
    )
