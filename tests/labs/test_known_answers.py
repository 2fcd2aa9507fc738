"""Every lab: each known answer gets the verdict meant for it, and its notebook works from the stub to the solution.

What is particular to a lab stands in a file of its own, test_NAME.py.
"""

import importlib
from dataclasses import dataclass, field

import pytest

from lbcore import labs
from lbcore.labs import maglev, nat
from lbcore.labs.judge import Case, Verdict
from lbcore.labs.proxy import exchanging, forwarding, measuring, routing
from lbcore.labs.sandbox import plain
from lbcore.labs.sni import choosing, naming, reading
from lbcore.labs.stateless import affinity, draining, storing, tokens
from lbcore.labs.tls_bill import names, paying, placing, tickets
from lbcore.notebooks.labs import student
from tests.labs.notebook import cells, run_cell


@dataclass(frozen=True)
class Lab:
    """A lab's notebook, and for each exercise the checker's table and what makes its cases."""

    notebook: str
    exercises: dict
    functions: dict = field(default_factory=dict)  # exercise: what the checker calls it, where that is another name
    longest: int = 1500  # characters of a verdict
    also_checked: tuple = ()  # keys, of the stub, of checks that belong to no single exercise
    also_shown: tuple = ()


LABS = {
    "maglev": Lab(
        "01-maglev",
        {
            "walk": (maglev.WALK, lambda seed: [case for case in maglev.walk_cases(seed) if not case.group]),
            "populate": (maglev.POPULATE, lambda seed: [Case(one) for one in maglev.pools(seed)]),
            "weighted": (maglev.WEIGHTED, maglev.weighted_cases),
            "disruption": (maglev.DISRUPTION, maglev.disruption_cases),
        },
        also_checked=("walk_first",),
    ),
    "nat": Lab(
        "02-the-packet-walk",
        {
            "update": (nat.UPDATE, nat.update_cases),
            "translate": (nat.TRANSLATE, nat.translate_cases),
            "udp": (nat.UDP, nat.udp_cases),
            "back": (nat.BACK, nat.back_cases),
        },
    ),
    "sni": Lab(
        "06-sni-router",
        {
            "missing": (reading.MISSING, reading.missing_cases),
            "message": (reading.MESSAGE, reading.message_cases),
            "name": (naming.NAME, naming.name_cases),
            "choose": (choosing.CHOOSE, choosing.choice_cases),
            "route": (choosing.ROUTE, choosing.route_cases),
        },
        functions={"name": "server_name"},
    ),
    "proxy": Lab(
        "07-route-and-proxy",
        {
            "route": (routing.ROUTE, routing.route_cases),
            "forwarded": (forwarding.FORWARDED, forwarding.forwarded_cases),
            "framing": (measuring.FRAMING, measuring.framing_cases),
            "exchange": (exchanging.EXCHANGE, exchanging.exchange_cases),
        },
        longest=2500,
        also_shown=("stub",),
    ),
    "tls_bill": Lab(
        "08-tls-bill",
        {
            "cpu": (paying.CPU, paying.cpu_cases),
            "resumed": (tickets.RESUMED, tickets.ticket_cases),
            "certificate": (names.CERTIFICATE, names.name_cases),
            "place": (placing.PLACE, placing.place_cases),
            "machines": (paying.MACHINES, paying.machine_cases),
        },
    ),
    "stateless": Lab(
        "09-from-sticky-to-stateless",
        {
            "choose": (affinity.CHOOSE, affinity.choose_cases),
            "affinity": (affinity.AFFINITY, affinity.affinity_cases),
            "serve": (draining.SERVE, draining.serve_cases),
            "store": (storing.STORE, storing.store_cases),
            "accept": (tokens.ACCEPT, tokens.accept_cases),
        },
        longest=2500,
    ),
}
ANSWERS = {lab: importlib.import_module(f"lbcore.labs.answers.{lab}") for lab in LABS}
EACH = [(lab, exercise) for lab, one in LABS.items() for exercise in one.exercises]
RIGHT = [(lab, exercise, answer) for lab, exercise in EACH for answer in ANSWERS[lab].RIGHT[exercise]]
WRONG = [(lab, exercise, answer, key) for lab, exercise in EACH for answer, key in ANSWERS[lab].WRONG[exercise]]
SEEDS = (1, 2026)
OF_NO_CASE = ("not_constant_time",)
"""What is found in the way to an answer, not in the answer to a case."""


def the(verb, lab, exercise):
    """`check_...` or `show_...` of an exercise."""
    return getattr(getattr(labs, lab), f"{verb}_{LABS[lab].functions.get(exercise, exercise)}")


def name(value):
    return getattr(value, "__name__", str(value))


@pytest.mark.parametrize(("lab", "exercise", "answer"), RIGHT, ids=name)
@pytest.mark.parametrize("seed", SEEDS)
def test_right_answers_pass(lab, exercise, answer, seed):
    verdict = the("check", lab, exercise)(answer, seed=seed)
    assert verdict.passed, verdict


@pytest.mark.parametrize(("lab", "exercise", "answer", "key"), WRONG, ids=name)
def test_wrong_answers_get_their_own_hint(lab, exercise, answer, key):
    for seed in SEEDS:
        verdict = the("check", lab, exercise)(answer, seed=seed)
        assert verdict.key == key, verdict
        assert " = " in verdict.evidence or key in OF_NO_CASE  # its arguments by name
        assert key == "changed_input" or ("right:" in verdict.evidence and "yours:" in verdict.evidence)
        assert len(repr(verdict)) < LABS[lab].longest


@pytest.mark.parametrize(("lab", "exercise", "answer"), [*RIGHT, *(one[:3] for one in WRONG)], ids=name)
def test_every_answer_is_drawn_or_the_reason_is_told(lab, exercise, answer):
    drawn = the("show", lab, exercise)(answer)
    if isinstance(drawn, Verdict):
        assert not drawn.passed
        assert drawn._repr_html_()
    else:
        assert getattr(drawn, "alt", "") or hasattr(drawn, "_repr_mimebundle_") or drawn._repr_html_()


@pytest.mark.parametrize(("lab", "exercise"), EACH)
def test_each_exercise_has_enough_known_answers(lab, exercise):
    assert len(ANSWERS[lab].RIGHT[exercise]) >= 2
    assert len({key for _, key in ANSWERS[lab].WRONG[exercise]}) >= 3


@pytest.mark.parametrize("lab", LABS)
def test_no_known_answer_belongs_to_no_exercise(lab):
    assert {*ANSWERS[lab].RIGHT, *ANSWERS[lab].WRONG} == set(LABS[lab].exercises)


@pytest.mark.parametrize(("lab", "exercise"), EACH)
def test_stub_and_no_function_are_told(lab, exercise):
    def stub(*given):
        raise NotImplementedError("about 3 lines")

    check, show = the("check", lab, exercise), the("show", lab, exercise)
    assert check(stub).key == show(stub).key == "stub"
    assert "about 3 lines" in repr(check(stub))
    for thing in (None, 7, [1], "populate"):
        assert check(thing).key == show(thing).key == "not_a_function"


def outcome(function, arguments):
    """An answer, or that there is none."""
    try:
        return plain(function(*arguments))
    except (ValueError, IndexError, ZeroDivisionError):
        return "refused"


@pytest.mark.parametrize(("lab", "exercise"), EACH)
@pytest.mark.parametrize("seed", SEEDS)
def test_known_mistakes_differ_from_the_specification_and_from_each_other(lab, exercise, seed):
    table, cases = LABS[lab].exercises[exercise]
    given = [case.arguments for case in cases(seed)]
    given = [arguments for arguments in given if table.expect(arguments).kind == "answer"]
    rights = [outcome(table.right, arguments) for arguments in given]
    made = [[outcome(one.makes, arguments) for arguments in given] for one in table.mistakes]
    assert all(answers != rights for answers in made)
    assert len({repr(answers) for answers in made}) == len(made)


@pytest.mark.parametrize("lab", LABS)
def test_solution_passes_every_check_and_hidden_test(lab):
    one, scope = LABS[lab], {}
    shown = [value for source in cells(one.notebook) if (value := run_cell(source, scope)) is not None]
    verdicts = [value for value in shown if isinstance(value, Verdict)]
    assert len(verdicts) == len(one.exercises) + len(one.also_checked)
    assert all(verdict.passed for verdict in verdicts), verdicts
    assert len(shown) - len(verdicts) == len(one.exercises) + len(one.also_shown)


@pytest.mark.parametrize("lab", LABS)
def test_stub_runs_to_the_end_and_fails_every_check_and_hidden_test(lab):
    one, scope = LABS[lab], {}
    sources = cells(one.notebook)
    hidden = [source for source in sources if "### BEGIN HIDDEN TESTS" in source]
    shown = [run_cell(student(source), scope) for source in sources if student(source).strip()]
    keys = [value.key for value in shown if isinstance(value, Verdict)]
    assert keys == ["stub"] * 2 * len(one.exercises) + [*one.also_checked, *one.also_shown]
    assert len(hidden) == len(one.exercises) + len(one.also_checked)
    for source in hidden:
        with pytest.raises(AssertionError):
            run_cell(source, scope)
