"""Lab 02: each known answer gets the verdict meant for it, and the specification is what senders compute."""

import pytest

from lbcore.l4.walk import Site
from lbcore.labs import nat
from lbcore.labs.answers import nat as answers
from lbcore.labs.judge import Verdict
from lbcore.labs.nat import answering, checksums, translating
from lbcore.labs.sandbox import plain
from lbcore.notebooks.labs import student
from lbcore.wire.dissect import dissect
from tests.labs.notebook import cells, run_cell

CHECK = {"update": nat.check_update, "translate": nat.check_translate, "udp": nat.check_udp, "back": nat.check_back}
SHOW = {"update": nat.show_update, "translate": nat.show_translate, "udp": nat.show_udp, "back": nat.show_back}
EXERCISES = {
    "update": (checksums.UPDATE, checksums.update_cases),
    "translate": (translating.TRANSLATE, translating.translate_cases),
    "udp": (checksums.UDP, checksums.udp_cases),
    "back": (answering.BACK, answering.back_cases),
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
    for seed in (1, 2026):
        verdict = CHECK[exercise](answer, seed=seed)
        assert verdict.key == key, verdict
    assert "right:" in verdict.evidence
    assert "yours:" in verdict.evidence
    assert len(repr(verdict)) < 1500


@pytest.mark.parametrize(("exercise", "answer"), [*RIGHT, *((e, f) for e, f, _ in WRONG)], ids=name)
def test_every_answer_is_drawn_or_the_reason_is_told(exercise, answer):
    drawn = SHOW[exercise](answer)
    assert drawn._repr_html_()
    assert not isinstance(drawn, Verdict) or not drawn.passed


def test_each_exercise_has_enough_known_answers():
    for exercise in CHECK:
        assert len(answers.RIGHT[exercise]) >= 2
        assert len({key for _, key in answers.WRONG[exercise]}) >= 3


@pytest.mark.parametrize("exercise", CHECK)
def test_stub_and_no_function_are_told(exercise):
    def stub(*given):
        raise NotImplementedError("about 3 lines")

    assert CHECK[exercise](stub).key == SHOW[exercise](stub).key == "stub"
    assert CHECK[exercise](None).key == SHOW[exercise](None).key == "not_a_function"


@pytest.mark.parametrize("exercise", EXERCISES)
@pytest.mark.parametrize("seed", [1, 2026])
def test_known_mistakes_differ_from_the_specification_and_from_each_other(exercise, seed):
    table, cases = EXERCISES[exercise]
    given = [case.arguments for case in cases(seed)]
    rights = [plain(table.right(*arguments)) for arguments in given]
    made = [[plain(one.makes(*arguments)) for arguments in given] for one in table.mistakes]
    assert all(answers != rights for answers in made)
    assert len({repr(answers) for answers in made}) == len(made)


def test_the_specification_is_the_data_planes():
    """But for the Ethernet addresses, which the lab leaves alone."""
    stops = Site("nat", backend_port=8080).walk()
    arrived, left = stops[1].frame, stops[2].frame
    assert translating.rewritten(arrived, bytes([10, 0, 0, 12]), 8080)[12:] == left[12:]
    reply, back = stops[5].frame, stops[6].frame
    assert answering.right_back(reply, {reply[26:38]: (bytes([203, 0, 113, 80]), 80)})[12:] == back[12:]


def test_whole_frames_stay_right_and_damaged_ones_stay_damaged():
    for case in translating.translate_cases(7):
        frame, *_ = case.arguments
        out = translating.rewritten(*case.arguments)
        if out is not None:
            for layer, was in zip(dissect(out), dissect(frame), strict=True):
                for field, before in zip(layer.fields, was.fields, strict=True):
                    assert ("wrong" in field.text) == ("wrong" in before.text)
        assert (out is None) == (frame[22] <= 1)


def test_solution_passes_every_check_and_hidden_test():
    names = {}
    shown = [value for source in cells("02-the-packet-walk") if (value := run_cell(source, names)) is not None]
    verdicts = [value for value in shown if isinstance(value, Verdict)]
    assert len(verdicts) == 4
    assert all(verdict.passed for verdict in verdicts)
    assert len(shown) == 8


def test_stub_runs_to_the_end_and_fails_every_check_and_hidden_test():
    names = {}
    sources = cells("02-the-packet-walk")
    hidden = [source for source in sources if "### BEGIN HIDDEN TESTS" in source]
    shown = [run_cell(student(source), names) for source in sources if student(source).strip()]
    assert [value.key for value in shown if isinstance(value, Verdict)] == ["stub"] * 8
    assert len(hidden) == 4
    for source in hidden:
        with pytest.raises(AssertionError):
            run_cell(source, names)
