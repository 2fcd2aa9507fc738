"""Lab 06: each known answer gets the verdict meant for it, and the specification is what the library's parser reads."""

import pytest

from lbcore.l4.relay import Route
from lbcore.l4.relay.router import Router
from lbcore.labs import sni
from lbcore.labs.answers import sni as answers
from lbcore.labs.judge import Verdict
from lbcore.labs.sandbox import plain
from lbcore.labs.sni import choosing, naming, reading
from lbcore.measure.table import Table
from lbcore.notebooks.labs import student
from lbcore.testbed import tls_sites
from lbcore.wire import tls_hello
from lbcore.wire.errors import Incomplete, Malformed
from lbcore.wire.tls_compose import client_hello, records
from tests.labs.notebook import cells, run_cell

CHECK = {
    "missing": sni.check_missing,
    "message": sni.check_message,
    "name": sni.check_server_name,
    "choose": sni.check_choose,
    "route": sni.check_route,
}
SHOW = {
    "missing": sni.show_missing,
    "message": sni.show_message,
    "name": sni.show_server_name,
    "choose": sni.show_choose,
    "route": sni.show_route,
}
EXERCISES = {
    "missing": (reading.MISSING, reading.missing_cases),
    "message": (reading.MESSAGE, reading.message_cases),
    "name": (naming.NAME, naming.name_cases),
    "choose": (choosing.CHOOSE, choosing.choice_cases),
    "route": (choosing.ROUTE, choosing.route_cases),
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


def outcome(function, arguments):
    """An answer, or that there is none."""
    try:
        return plain(function(*arguments))
    except (ValueError, IndexError, UnicodeDecodeError):
        return "refused"


@pytest.mark.parametrize("exercise", EXERCISES)
@pytest.mark.parametrize("seed", [1, 2026])
def test_known_mistakes_differ_from_the_specification_and_from_each_other(exercise, seed):
    table, cases = EXERCISES[exercise]
    given = [case.arguments for case in cases(seed)]
    given = [arguments for arguments in given if table.expect(arguments).kind == "answer"]
    rights = [outcome(table.right, arguments) for arguments in given]
    made = [[outcome(one.makes, arguments) for arguments in given] for one in table.mistakes]
    assert all(answers != rights for answers in made)
    assert len({repr(answers) for answers in made}) == len(made)


def read(data):
    """The library's name for a stream: a name, None for no name, "more" or "refused"."""
    try:
        return tls_hello.parse(data).server_name
    except Incomplete:
        return "more"
    except Malformed:
        return "refused"


@pytest.mark.parametrize("size", [7, 100, 2**14])
def test_the_specification_is_what_the_librarys_parser_reads(size):
    for seed in range(6):
        stream = records(client_hello("A.Shop.example", post_quantum=seed % 2, shuffled=True, seed=seed), size)
        for end in [*range(0, len(stream), 97), len(stream)]:
            said = outcome(reading.right_message, (stream[:end],))
            assert (said is None) == (read(stream[:end]) == "more")
            if said:
                assert naming.right_name(said) == read(stream) == "a.shop.example"


def test_real_hellos_are_read():
    for asked in ("shop.example", "X.example", None):
        stream = tls_sites.first_flight(asked)
        assert naming.right_name(reading.right_message(stream)) == read(stream) == (asked.lower() if asked else None)


def test_the_choice_is_the_relays():
    router = Router([Route(backend, [pattern]) for pattern, backend in choosing.ROUTES.items()], "default")
    for asked in ("shop.example", "a.shop.example", "b.a.eu.shop.example", "example", "x.test", None):
        for ech in (False, True):
            hello = tls_hello.parse(records(client_hello(asked, ech=ech)))
            assert router.pool(hello) == choosing.right_choice(asked, ech, choosing.ROUTES, "default")


def test_real_clients_reach_their_sites_through_a_right_answer_and_not_through_a_hasty_one():
    shown = sni.show_route(choosing.right_route)
    assert isinstance(shown, Table)
    assert [row[-1] for row in shown.rows] == [
        "shop.example", "shop.example", "shop.example", "pay.example", "default.example", "default.example",
    ]  # fmt: skip
    hasty = sni.show_route(choosing.hasty)
    assert [row[-1] for row in hasty.rows][1] == "default.example"


def test_a_router_that_never_decides_is_shown_once():
    shown = sni.show_route(lambda data, routes, default: None)
    assert [row[-1] for row in shown.rows] == ["(no connection)"]


def test_solution_passes_every_check_and_hidden_test():
    names = {}
    shown = [value for source in cells("06-sni-router") if (value := run_cell(source, names)) is not None]
    verdicts = [value for value in shown if isinstance(value, Verdict)]
    assert len(verdicts) == 5
    assert all(verdict.passed for verdict in verdicts), verdicts
    assert len(shown) == 10


def test_stub_runs_to_the_end_and_fails_every_check_and_hidden_test():
    names = {}
    sources = cells("06-sni-router")
    hidden = [source for source in sources if "### BEGIN HIDDEN TESTS" in source]
    shown = [run_cell(student(source), names) for source in sources if student(source).strip()]
    assert [value.key for value in shown if isinstance(value, Verdict)] == ["stub"] * 10
    assert len(hidden) == 5
    for source in hidden:
        with pytest.raises(AssertionError):
            run_cell(source, names)
