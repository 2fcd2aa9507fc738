"""Questions the reader answers before the next cell does: a choice, or a number.

Rule of this file: every answer, right or wrong, is answered with a reason. The static twin keeps the solution folded.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from html import escape
from typing import Any

import ipywidgets as widgets

from lbcore.show.style import GREEN, VERMILION
from lbcore.show.twin import bundle, note


def plain(value: float) -> str:
    """A number as one writes it: three figures, and whole with commas from a thousand on."""
    return f"{value:,.0f}" if abs(value) >= 999.5 else f"{value:.3g}"


def _folded(question: str, body: str, solution: str) -> str:
    """The static twin: question, body, and the solution behind a fold."""
    return f"<p><b>{escape(question)}</b></p>{body}<details><summary>Answer</summary>{solution}</details>"


@dataclass(eq=False)
class Quiz:
    """A multiple-choice question. `choice` and `feedback` are the live widgets."""

    question: str
    answers: Mapping[str, str]
    correct: str
    choice: Any = field(init=False)
    feedback: Any = field(init=False)

    def __post_init__(self) -> None:
        if len(self.answers) < 2:
            raise ValueError(f"a quiz has {len(self.answers)} answers, wanted at least 2")
        if self.correct not in self.answers:
            raise ValueError(f"correct is {self.correct!r}, wanted one of the answers: {', '.join(self.answers)}")
        for answer, why in self.answers.items():
            if not why.strip():
                raise ValueError(f"answer {answer!r} has no reason, wanted why it is right or wrong")
        self.choice = widgets.RadioButtons(
            options=list(self.answers), value=None, layout={"width": "max-content", "max_width": "100%"}
        )
        self.feedback = widgets.HTML()
        self.choice.observe(self._answered, names="value")

    def verdict(self, answer: str) -> str:
        """What to say to `answer`, in words."""
        return f"{'Right' if answer == self.correct else 'Not quite'}. {self.answers[answer]}"

    def _answered(self, change: Any) -> None:
        answer = change["new"]
        color = GREEN if answer == self.correct else VERMILION
        self.feedback.value = "" if answer is None else note(self.verdict(answer), color)

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> Any:
        heading = widgets.HTML(f"<b>{escape(self.question)}</b>")
        options = "".join(f"<li>{escape(answer)}</li>" for answer in self.answers)
        reasons = "".join(
            f"<li>{'✓' if answer == self.correct else '✗'} <b>{escape(answer)}</b>: {escape(why)}</li>"
            for answer, why in self.answers.items()
        )
        html = _folded(self.question, f"<ul>{options}</ul>", f"<ul>{reasons}</ul>")
        return bundle(
            widgets.VBox([heading, self.choice, self.feedback]), {"text/html": html, "text/plain": repr(self)}
        )

    def __repr__(self) -> str:
        return "\n".join([self.question, *(f"  ( ) {answer}" for answer in self.answers)])


@dataclass(eq=False)
class Prediction:
    """A number to guess before it is measured. `guess` and `feedback` are the live widgets, in shown units."""

    question: str
    answer: float
    tolerance: float
    unit: str
    why: str
    guess: Any = field(init=False)
    feedback: Any = field(init=False)
    _button: Any = field(init=False, repr=False)

    def __post_init__(self) -> None:
        if not self.tolerance > 0:
            raise ValueError(f"tolerance is {self.tolerance!r}, wanted more than 0, in the unit of the answer")
        self.guess = widgets.FloatText(value=None, layout={"width": "8em"})
        self.feedback = widgets.HTML()
        self._button = widgets.Button(description="Compare")
        self._button.on_click(self._answered)

    @property
    def _scale(self) -> float:
        return 100.0 if self.unit == "%" else 1.0

    def _shown(self, value: float) -> str:
        gap = "" if self.unit in ("", "x") else " "
        return f"{plain(value * self._scale)}{gap}{self.unit}"

    def verdict(self, guess: float) -> str:
        """What to say to `guess` (in the unit of `answer`: a share, where `unit` is "%")."""
        off = guess - self.answer
        if abs(off) <= self.tolerance:
            start = f"Well predicted: it is {self._shown(self.answer)}."
        else:
            start = f"{self._shown(guess)} is too {'high' if off > 0 else 'low'}: it is {self._shown(self.answer)}."
        return f"{start} {self.why}".strip()

    def _answered(self, _: Any) -> None:
        guess = self.guess.value / self._scale
        color = GREEN if abs(guess - self.answer) <= self.tolerance else VERMILION
        self.feedback.value = note(self.verdict(guess), color)

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> Any:
        heading = widgets.HTML(f"<b>{escape(self.question)}</b>")
        entry = widgets.HBox([self.guess, widgets.HTML(escape(self.unit)), self._button])
        solution = f"<p>{escape(f'{self._shown(self.answer)}. {self.why}'.strip())}</p>"
        html = _folded(self.question, "<p>Write a number down before you unfold the answer.</p>", solution)
        return bundle(widgets.VBox([heading, entry, self.feedback]), {"text/html": html, "text/plain": repr(self)})

    def __repr__(self) -> str:
        return f"{self.question}\n  your prediction: ____ {self.unit}".rstrip()


def quiz(question: str, answers: Mapping[str, str], *, correct: str) -> Quiz:
    """A multiple-choice question; `answers` maps each answer to why it is right or wrong.

    ValueError if `correct` is not among the answers, there are fewer than two, or one has no reason.
    """
    return Quiz(question, dict(answers), correct)


def predict(question: str, *, answer: float, tolerance: float, unit: str = "", why: str = "") -> Prediction:
    """A numeric prediction. With `unit="%"`, `answer` and `tolerance` are shares (0.89) and the reader types 89.

    The saved page holds the answer behind a fold, so a measured answer must be rounded to what always holds.
    ValueError for a tolerance that is not above 0.
    """
    return Prediction(question, float(answer), tolerance, unit, why)
