"""Answers that are judged by what they do, not by what they are.

Rule of this file: it runs a student's function and hands on what it gave back, or a verdict why there is nothing.

Theory. Many lists of commands mend a host. So an answer is not compared: it is carried out, on a model or on a host,
and looked at from outside.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from lbcore.labs.judge import Case, Exercise, Verdict, diagnose
from lbcore.labs.sandbox import Outcome, run

ANYTHING = Exercise(names=(), right=lambda *_: None, praise="", mistakes=(), properties=())


def asked(function: Any, calls: Sequence[tuple[Any, ...]]) -> tuple[list[Any], Verdict | None]:
    """(an answer to each call, None), or a verdict on the first call that has none."""
    if not callable(function):
        return [], Verdict(
            "not_a_function", f"Give the function itself, not a {type(function).__name__}: its bare name."
        )
    outcomes = run(function, calls)
    bad = next((at for at, one in enumerate(outcomes) if one.kind != "answer"), None)
    if bad is None:
        return [one.value for one in outcomes], None
    rounds = [(Case(call), Outcome("answer")) for call in calls]
    return [], Verdict(*diagnose(ANYTHING, outcomes, rounds, bad))
