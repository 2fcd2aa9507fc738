"""Lab 08: each known answer gets the verdict meant for it, and the specification is what the model and OpenSSL say."""

import ssl

import pytest

from lbcore.l7.front.tls import KeyPair, Terminator, TlsOptions
from lbcore.labs import tls_bill
from lbcore.labs.answers import tls_bill as answers
from lbcore.labs.judge import Verdict
from lbcore.labs.sandbox import plain
from lbcore.labs.tls_bill import drawings, names, paying, placing, tickets
from lbcore.notebooks.labs import student
from lbcore.sim.tls_bill import Prices, bill
from lbcore.testbed import aside, tls_doors
from lbcore.testbed.tls_memory import Identity, handshake, turn
from tests.labs.notebook import cells, run_cell

EXERCISES = {
    "cpu": (paying.CPU, paying.cpu_cases),
    "resumed": (tickets.RESUMED, tickets.ticket_cases),
    "certificate": (names.CERTIFICATE, names.name_cases),
    "place": (placing.PLACE, placing.place_cases),
    "machines": (paying.MACHINES, paying.machine_cases),
}
CHECK = {exercise: getattr(tls_bill, f"check_{exercise}") for exercise in EXERCISES}
SHOW = {exercise: getattr(tls_bill, f"show_{exercise}") for exercise in EXERCISES}
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
    assert hasattr(drawn, "_repr_mimebundle_") or drawn._repr_html_()
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
    given = [arguments for arguments in given if table.expect(arguments).kind == "answer"]
    rights = [plain(table.right(*arguments)) for arguments in given]
    made = [[plain(one.makes(*arguments)) for arguments in given] for one in table.mistakes]
    assert all(answers != rights for answers in made)
    assert len({repr(answers) for answers in made}) == len(made)


@pytest.mark.parametrize("seed", [1, 2026])
def test_the_bill_is_the_librarys(seed):
    for case in paying.cpu_cases(seed):
        mix, full, resumed, kilobyte, request = case.arguments
        wanted = 0.0
        for new, returning, requests, size in mix:
            if count := new + returning:
                one = bill(Prices(full, resumed, kilobyte, request), requests, size, returning / count)
                wanted += count * requests * sum(one.values())
        assert paying.right_cpu(*case.arguments) == pytest.approx(wanted)


def test_tickets_open_where_openssl_opens_them():
    site = Identity()
    for case in tickets.ticket_cases(3):
        visits, keys, _ = case.arguments
        contexts = {key: site.server() for key in set(keys.values())}
        client, session, real = site.client(), None, []
        for _, backend in visits:
            one = handshake(contexts[keys[backend]], client, session)
            session = one.session
            real.append(one.resumed)
        assert tickets.right_resumed(visits, keys, lifetime=10_000) == real


def test_openssl_believes_a_choice_exactly_where_the_certificate_fits():
    sites = [Identity("P-256", *some) for some in names.SHOP]
    for asked in [case.arguments[0] for case in names.name_cases(1)[:14]]:
        chosen = names.right_certificate(asked, names.SHOP)
        anyone = any(drawings.believed(site, asked) for site in sites)
        assert drawings.believed(sites[chosen], asked) == anyone


def test_the_choice_is_the_proxys(tmp_path):
    sites = [Identity("P-256", *some) for some in names.SHOP]
    pairs = []
    for number, site in enumerate(sites):
        path = tmp_path / f"{number}.pem"
        site.certificate.private_key_and_cert_chain_pem.write_to_path(str(path))
        pairs.append(KeyPair(chain=str(path), key=str(path)))
    terminator = Terminator(TlsOptions(certificates=tuple(pairs)))
    client_side = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client_side.check_hostname = False
    for site in sites:
        site.authority.configure_trust(client_side)
    for asked in [case.arguments[0] for case in names.name_cases(1)[:15]]:
        to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
        client = client_side.wrap_bio(to_client, to_server, server_hostname=asked)
        server = terminator.context.wrap_bio(to_server, to_client, server_side=True)
        while not all([turn(client.do_handshake)[0], turn(server.do_handshake)[0]]):
            pass
        shown = [value for _, value in client.getpeercert()["subjectAltName"]]
        assert shown == names.SHOP[names.right_certificate(asked, names.SHOP)]


def test_what_the_middle_can_read_is_what_the_table_says():
    for mode, lacking in placing.CANNOT.items():
        answer, read = aside.run(tls_doors.overhear(mode, b"secret"))
        assert answer == b"SECRET"
        assert read == (placing.SECRET in lacking) == (placing.PATH not in lacking)


def test_solution_passes_every_check_and_hidden_test():
    scope = {}
    shown = [value for source in cells("08-tls-bill") if (value := run_cell(source, scope)) is not None]
    verdicts = [value for value in shown if isinstance(value, Verdict)]
    assert len(verdicts) == 5
    assert all(verdict.passed for verdict in verdicts), verdicts
    assert len(shown) == 10


def test_stub_runs_to_the_end_and_fails_every_check_and_hidden_test():
    scope = {}
    sources = cells("08-tls-bill")
    hidden = [source for source in sources if "### BEGIN HIDDEN TESTS" in source]
    shown = [run_cell(student(source), scope) for source in sources if student(source).strip()]
    assert [value.key for value in shown if isinstance(value, Verdict)] == ["stub"] * 10
    assert len(hidden) == 5
    for source in hidden:
        with pytest.raises(AssertionError):
            run_cell(source, scope)
