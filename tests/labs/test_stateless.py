"""Lab 09: each known answer gets the verdict meant for it, and the specifications are what the library does."""

import json

import jwt
import pytest

from lbcore.l7.message import Headers, Peer, Request, Response
from lbcore.l7.pools.options import BackendOptions, PoolOptions, StickyCookieOptions
from lbcore.l7.pools.pool import Backend, Pool
from lbcore.labs import stateless
from lbcore.labs.answers import stateless as answers
from lbcore.labs.judge import Verdict
from lbcore.labs.sandbox import plain
from lbcore.labs.stateless import affinity, draining, storing, tokens
from lbcore.notebooks.labs import student
from lbcore.testbed.session_stores import Memory
from tests.labs.notebook import cells, run_cell

LAB = "09-from-sticky-to-stateless"
EXERCISES = {
    "choose": (affinity.CHOOSE, affinity.choose_cases),
    "affinity": (affinity.AFFINITY, affinity.affinity_cases),
    "serve": (draining.SERVE, draining.serve_cases),
    "store": (storing.STORE, storing.store_cases),
    "accept": (tokens.ACCEPT, tokens.accept_cases),
}
CHECK = {name: getattr(stateless, f"check_{name}") for name in EXERCISES}
SHOW = {name: getattr(stateless, f"show_{name}") for name in EXERCISES}
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
    assert len(repr(verdict)) < 2500


@pytest.mark.parametrize(("exercise", "answer"), [*RIGHT, *((e, f) for e, f, _ in WRONG)], ids=name)
def test_every_answer_is_shown_or_the_reason_is_told(exercise, answer):
    shown = SHOW[exercise](answer)
    assert shown._repr_html_()
    assert not isinstance(shown, Verdict) or not shown.passed


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
    except (ValueError, IndexError, ZeroDivisionError):
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


def test_who_loses_nothing_stays():
    clients = [f"10.0.{i}.1:80" for i in range(200)]
    before = {one: affinity.right_choose(one, affinity.NAMES) for one in clients}
    left = [name for name in affinity.NAMES if name != "bee"]
    assert {one for one in clients if affinity.right_choose(one, left) != before[one]} == {
        one for one, name in before.items() if name == "bee"
    }
    assert len(set(before.values())) == len(affinity.NAMES)


def test_cookies_and_drains_are_the_pools():
    """Scenes that both know: a good cookie, a forged one, an old key; a drain's window."""
    now = [0.0]
    keys = ("n" * 32, "o" * 32)

    def pool(*with_keys):
        backends = tuple(BackendOptions(address=f"10.0.0.{i}:80") for i in (1, 2))
        sticky = StickyCookieOptions(keys=with_keys)
        return Pool.build(PoolOptions(name="p", backends=backends, sticky=sticky), lambda: now[0])

    def visit(one: Pool, cookie: str = "") -> tuple[Backend, str | None]:
        headers = Headers([(b"cookie", f"lb={cookie}".encode())] if cookie else [])
        request = Request(b"GET", b"/", b"a", b"http", headers, Peer("192.0.2.1", 1))
        backend, response = one.pick(request), Response(200)
        one.mark(request, backend, response)
        found = response.headers.get(b"set-cookie")
        return backend, found and found.decode().partition(";")[0].partition("=")[2]

    old_pool = pool(keys[1])
    home, old = visit(old_pool)
    both = pool(*keys)
    again, renewed = visit(both, old)
    lab_keys = [key.encode() for key in keys]
    lab = affinity.right_affinity(lab_keys, affinity.sign(lab_keys[1], home.name), "x")
    assert (again.name, renewed is None) == (lab[0], lab[1] is None) == (home.name, False)
    kept = visit(both, renewed)
    lab = affinity.right_affinity(lab_keys, lab[1], "x")
    assert (kept[0].name, kept[1]) == (lab[0], lab[1]) == (home.name, None)
    assert visit(both, renewed[:-1])[1] is not None and affinity.right_affinity(lab_keys, "x.0", "x")[1]  # noqa: PT018
    both.drain(kept[0], 100)
    other = next(each for each in both.backends if each is not kept[0])
    table = [[kept[0].name, "draining", 100, 0], [other.name, "active", 0, 0]]
    for now[0] in (0.0, 99.0, 100.0):
        for cookie, belongs in ((renewed, kept[0].name), ("", None)):
            assert visit(both, cookie)[0].name == draining.right_serve(belongs, table, int(now[0]))


@pytest.mark.parametrize("seed", range(5))
def test_the_store_is_the_test_beds(seed):
    now = [0.0]
    for case in storing.store_cases(seed):
        wanted: list[object] = []
        store = Memory(storing.IDLE, lambda: now[0])
        for _, method, *given in case.arguments[0]:
            if method != "forget":
                now[0] = float(given[-1])
            if method == "get":
                items = store.get(given[0])
                if items is not None:
                    store.put(given[0], items)
                wanted.append(items)
            elif method == "sweep":
                wanted.append("?")
            else:
                wanted.append(getattr(store, method)(given[0]))
        found = storing.right_store(case.arguments[0])
        assert [one for one, other in zip(found, wanted, strict=True) if other != "?"] == [
            one for one in wanted if one != "?"
        ]


@pytest.mark.parametrize("seed", [1, 2026])
def test_tokens_are_those_of_pyjwt(seed):
    options = {"verify_exp": False, "require": ["exp", "jti", "sub"]}  # its clock is the machine's
    for case in tokens.accept_cases(seed):
        token, key, now, revoked = case.arguments
        try:
            claims = jwt.decode(token, key, ["HS256"], options=options)
            good = now < claims["exp"] and claims["jti"] not in revoked
        except (jwt.InvalidTokenError, UnicodeEncodeError, ValueError):
            good = False
        assert tokens.right_accept(*case.arguments) == (claims["sub"] if good else None), token
    made = jwt.encode({"sub": "x", "jti": "y", "exp": tokens.NOW + 1}, tokens.KEY, "HS256")
    assert tokens.right_accept(made, tokens.KEY, tokens.NOW, []) == "x"
    assert json.loads(json.dumps(jwt.get_unverified_header(tokens.token({})))) == {"alg": "HS256", "typ": "JWT"}


def test_solution_passes_every_check_and_hidden_test():
    names = {}
    shown = [value for source in cells(LAB) if (value := run_cell(source, names)) is not None]
    verdicts = [value for value in shown if isinstance(value, Verdict)]
    assert len(verdicts) == 5
    assert all(verdict.passed for verdict in verdicts), verdicts
    assert len(shown) == 10


def test_stub_runs_to_the_end_and_fails_every_check_and_hidden_test():
    names = {}
    sources = cells(LAB)
    hidden = [source for source in sources if "### BEGIN HIDDEN TESTS" in source]
    shown = [run_cell(student(source), names) for source in sources if student(source).strip()]
    assert [value.key for value in shown if isinstance(value, Verdict)] == ["stub"] * 10
    assert len(hidden) == 5
    for source in hidden:
        with pytest.raises(AssertionError):
            run_cell(source, names)
