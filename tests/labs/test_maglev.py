"""Lab 01: each known answer gets the verdict meant for it, and nothing that a student writes harms the checker."""

import pytest

from lbcore.labs import maglev
from lbcore.labs.answers import maglev as answers
from lbcore.labs.judge import Case
from lbcore.labs.maglev import counting, filling, walking, weighing
from lbcore.labs.sandbox import plain
from lbcore.notebooks.labs import student
from tests.labs.notebook import cells, run_cell

CHECK = {
    "walk": maglev.check_walk,
    "populate": maglev.check_populate,
    "weighted": maglev.check_weighted,
    "disruption": maglev.check_disruption,
}
SHOW = {
    "walk": maglev.show_walk,
    "populate": maglev.show_populate,
    "weighted": maglev.show_weighted,
    "disruption": maglev.show_disruption,
}
RIGHT = [(exercise, function) for exercise, some in answers.RIGHT.items() for function in some]
WRONG = [(exercise, function, key) for exercise, some in answers.WRONG.items() for function, key in some]


def name(value: object) -> str:
    return getattr(value, "__name__", str(value))


@pytest.mark.parametrize(("exercise", "answer"), RIGHT, ids=name)
@pytest.mark.parametrize("seed", [1, 2026])
def test_right_answers_pass(exercise, answer, seed):
    verdict = CHECK[exercise](answer, seed=seed)
    assert verdict.passed, verdict


@pytest.mark.parametrize(("exercise", "answer", "key"), WRONG, ids=name)
def test_wrong_answers_get_their_own_hint(exercise, answer, key):
    verdict = CHECK[exercise](answer)
    assert verdict.key == key, verdict
    assert " = " in verdict.evidence  # the case, its arguments by name
    assert key == "changed_input" or ("right:" in verdict.evidence and "yours:" in verdict.evidence)
    assert len(repr(verdict)) < 1500


@pytest.mark.parametrize(("exercise", "answer", "key"), WRONG, ids=name)
def test_wrong_answers_are_drawn_or_the_reason_is_told(exercise, answer, key):
    drawn = SHOW[exercise](answer)
    assert getattr(drawn, "alt", "") or not drawn.passed


@pytest.mark.parametrize("answer", [answers.walk_skip_zero, answers.walk_skip_mod_size, answers.walk_skip_whole_turn])
def test_drawing_shows_a_walk_that_stands_still(answer):
    assert "5 rows are complete" not in maglev.show_walk(answer).alt
    assert "5 rows are complete" in maglev.show_walk(answers.RIGHT["walk"][0]).alt


def test_each_exercise_has_enough_known_answers():
    for exercise in CHECK:
        assert len(answers.RIGHT[exercise]) >= 2
        assert len({key for _, key in answers.WRONG[exercise]}) >= 3


@pytest.mark.parametrize("exercise", CHECK)
def test_stub_fails_without_a_counterexample(exercise):
    def stub(*given):
        raise NotImplementedError("about 3 lines")

    assert CHECK[exercise](stub).key == "stub"
    assert "about 3 lines" in repr(CHECK[exercise](stub))
    assert SHOW[exercise](stub).key == "stub"


@pytest.mark.parametrize("exercise", CHECK)
@pytest.mark.parametrize("thing", [None, 7, [1], "populate"])
def test_what_is_no_function_is_told(exercise, thing):
    assert CHECK[exercise](thing).key == "not_a_function"


def test_whole_wants_both_parts_right():
    walk, weighted = answers.RIGHT["walk"][0], answers.RIGHT["weighted"][0]
    assert maglev.check_whole(walk, weighted).passed
    assert maglev.check_whole(answers.walk_skip_zero, weighted).key in ("another_table", "weighted_first")
    assert maglev.check_whole(answers.walk_division, weighted).key == "walk_first"
    assert maglev.check_whole(walk, answers.weighted_ignores).key == "another_table"
    assert maglev.check_whole(walk, answers.populate_endless).key == "weighted_first"


@pytest.mark.parametrize("seed", [1, 2026])
def test_every_known_mistake_differs_from_the_specification(seed):
    exercises = [
        (walking.WALK, [case for case in walking.walk_cases(seed) if not case.group]),
        (filling.POPULATE, [Case(one) for one in filling.pools(seed)]),
        (weighing.WEIGHTED, weighing.weighted_cases(seed)),
        (counting.DISRUPTION, counting.disruption_cases(seed)),
    ]
    for exercise, cases in exercises:
        rights = [exercise.expect(case.arguments).value for case in cases]
        made = [[plain(one.makes(*case.arguments)) for case in cases] for one in exercise.mistakes]
        assert all(answers != rights for answers in made)
        assert len({repr(answers) for answers in made}) == len(made)


def test_worked_example_of_the_paper():
    assert list(filling.right_table(*filling.PAPER)) == [1, 0, 1, 0, 2, 2, 0]


def test_solution_passes_every_check_and_hidden_test():
    names = {}
    shown = [value for source in cells("01-maglev") if (value := run_cell(source, names)) is not None]
    verdicts = [value for value in shown if hasattr(value, "passed")]
    assert len(verdicts) == 5
    assert all(verdict.passed for verdict in verdicts)
    assert len([value for value in shown if hasattr(value, "alt")]) == 4


def test_stub_runs_to_the_end_and_fails_every_check_and_hidden_test():
    names = {}
    hidden = [source for source in cells("01-maglev") if "### BEGIN HIDDEN TESTS" in source]
    shown = [run_cell(student(source), names) for source in cells("01-maglev") if student(source).strip()]
    verdicts = [value for value in shown if hasattr(value, "passed")]
    assert [verdict.key for verdict in verdicts] == ["stub"] * 8 + ["walk_first"]
    assert len(hidden) == 5
    for source in hidden:
        with pytest.raises(AssertionError):
            run_cell(source, names)
