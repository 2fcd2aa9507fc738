"""Lab 03: each known answer gets the verdict meant for it, and the model that judges agrees with real hosts."""

from __future__ import annotations

import socket

import pytest

from lbcore.labs import dsr as lab
from lbcore.labs.answers import dsr as answers
from lbcore.labs.dsr import commands, diagnosing, hosting, live, model, repairing
from lbcore.labs.dsr.evidence import PLACES, from_json, recorded, to_json
from lbcore.labs.dsr.network import ADDRESSES, BACKENDS, Network
from lbcore.labs.dsr.plan import COMBINATIONS, plan, sound
from lbcore.labs.judge import Verdict
from lbcore.notebooks.labs import student
from tests import needs
from tests.labs.notebook import cells, run_cell
from tests.testbed import leftovers

EXERCISES = ("readdress", "backend", "diagnosis", "repair")
RIGHT = [(exercise, one) for exercise, some in answers.RIGHT.items() for one in some]
WRONG = [(exercise, one, key) for exercise, some in answers.WRONG.items() for one, key in some]
TOLD_BY_FORM = ("wrong_form", "cannot_be_done")
EXHIBITS = {exhibit.plan.seed: exhibit for exhibit in recorded()}


def name(value: object) -> str:
    return getattr(value, "__name__", str(value))


def check(exercise, answer, seed=1):
    return getattr(lab, f"check_{exercise}")(answer, seed=seed)


def show(exercise, answer):
    return getattr(lab, f"show_{exercise}")(answer)


@pytest.mark.parametrize(("exercise", "answer"), RIGHT, ids=name)
@pytest.mark.parametrize("seed", [1, 2026])
def test_right_answers_pass(exercise, answer, seed):
    verdict = check(exercise, answer, seed)
    assert verdict.passed, verdict


@pytest.mark.parametrize(("exercise", "answer", "key"), WRONG, ids=name)
@pytest.mark.parametrize("seed", [1, 2026])
def test_wrong_answers_get_their_own_hint(exercise, answer, key, seed):
    verdict = check(exercise, answer, seed)
    assert verdict.key == key, verdict
    assert len(repr(verdict)) < 1500


@pytest.mark.parametrize(("exercise", "answer"), [*RIGHT, *((e, f) for e, f, _ in WRONG)], ids=name)
def test_every_answer_is_drawn_or_the_reason_is_told(exercise, answer):
    drawn = show(exercise, answer)
    assert drawn._repr_html_()
    assert not isinstance(drawn, Verdict) or not drawn.passed


def test_each_exercise_has_enough_known_answers():
    for exercise in EXERCISES:
        assert len(answers.RIGHT[exercise]) >= 2
        assert len({key for _, key in answers.WRONG[exercise]}) >= 3


@pytest.mark.parametrize("exercise", EXERCISES)
def test_stub_and_no_function_are_told(exercise):
    def stub(*given):
        raise NotImplementedError("about 3 lines")

    assert check(exercise, stub).key == show(exercise, stub).key == "stub"
    assert check(exercise, None).key == show(exercise, None).key == "not_a_function"


# ---------------------------------------------------------------------------------------------------- recordings
def test_every_mistake_at_every_host_is_recorded_twice_and_can_be_told_from_the_readings():
    pairs = [(one.plan.fault, one.plan.host) for one in recorded()]
    assert {pair: pairs.count(pair) >= 2 for pair in COMBINATIONS} == dict.fromkeys(COMBINATIONS, True)
    assert [diagnosing.right(one.evidence) for one in recorded()] == pairs
    assert {bool(one.plan.typo) for one in recorded() if one.plan.fault == "no_vip"} == {True, False}
    assert any(one.plan.decoys for one in recorded())


@pytest.mark.parametrize("exhibit", recorded(), ids=lambda one: one.evidence.name)
def test_what_the_model_says_is_what_was_seen(exhibit):
    """Which backend opened connections, whom the router sent to, and where the client got answers."""
    seen, fate = exhibit.evidence, model.fate(exhibit.evidence)
    assert not fate.flows
    assert seen.label.startswith("recorded on a ")
    opened = {backend: seen.hosts[backend].counters["TcpPassiveOpens"] > 0 for backend in BACKENDS}
    served = {backend: words == model.SERVED for backend, (words, _) in fate.backends.items()}
    if fate.entry == "balancer":
        assert opened == served
        assert sum(seen.answered.values()) == 3 * sum(served.values())
    else:
        assert opened == {backend: backend == fate.entry for backend in BACKENDS}
        assert all(seen.answered.values())
        assert "forwarded" not in seen.reasons


def test_a_recording_comes_back_as_it_was():
    for exhibit in recorded():
        assert from_json(to_json(exhibit.evidence), exhibit.evidence.label) == exhibit.evidence


def test_the_tools_show_every_place_and_host():
    evidence = EXHIBITS[9].evidence
    assert len(lab.hops(evidence).rows) == len(PLACES)
    assert "nobody's" in "".join(lab.capture(evidence, place).text() for place in PLACES)
    for host in evidence.hosts:
        assert evidence.label in lab.readings(evidence, host).text()


def test_without_networks_there_are_recordings_and_words(monkeypatch):
    monkeypatch.setenv("LBCORE_TIER", "0")
    assert lab.broken(3) == EXHIBITS[3].evidence
    with pytest.raises(ValueError, match="0 to 23 are recorded"):
        lab.broken(1000)
    right = [answers.RIGHT[exercise][0] for exercise in EXERCISES]
    for verdict in (lab.real_traffic(*right[:2]), lab.mend(*right[2:])):
        assert verdict.key == "not_here"
        assert not verdict.passed


@pytest.mark.parametrize("line", ["ip addr add 10.0.0.300/32 dev lo", "rm -rf x", "sysctl -w kernel.panic=1", "", "ip"])
def test_only_the_labs_commands_are_carried_out(line):
    with pytest.raises(ValueError, match=r"no command of this lab|does not appear to be"):
        commands.parse(line)


# ---------------------------------------------------------------------------------------------------- real hosts
HOSTED = [*answers.RIGHT["backend"], *(one for one, _ in answers.WRONG["backend"])]
HOSTED = [one for one in HOSTED if isinstance(hosting.told(one("203.0.113.80")), hosting.Readings)]


@needs.tier(1)
@pytest.mark.parametrize("pair", [HOSTED[at : at + 2] for at in range(0, len(HOSTED), 2)], ids=lambda p: name(p[0]))
def test_a_real_host_does_what_the_model_says(pair):
    """Each backend of one network gets the commands of one known answer."""
    where = sound()
    chosen = dict(zip(BACKENDS, [pair[0], pair[-1]], strict=True))
    with Network(where, prepared=False) as net:
        net.do([(host, line) for host, one in chosen.items() for line in one(where.vip)])
        net.router.neighbour(
            where.vip, net.balancer.interfaces["eth0"].mac, "eth1"
        )  # or a talkative one may get it all
        macs = [bytes.fromhex(mac.replace(":", "")) for mac in net.configured.values()]
        ends = live.balance, answers.readdress_slices, socket.inet_aton(where.vip), macs
        with net.router.capture("eth2") as ear, net.balancer.start(*ends):
            got = set(net.fetch(live.PORTS).values())
            asked = [one.frame for one in ear.frames() if one.way == "in" and one.frame[12:14] == b"\x08\x06"]
        claims = {host: net.claims(host) for host in BACKENDS}
        macs_back = {host: net.hosts[host].interfaces["eth1"].mac for host in BACKENDS}
    for host, one in chosen.items():
        expected = hosting.told(one(where.vip))
        assert (host in got) == (model.takes(expected, where.vip) == model.SERVED), (one, got)
        assert claims[host] == model.answers(expected, where.vip), one
        aloud = any(
            frame[6:12].hex(":") == macs_back[host] and frame[28:32] == socket.inet_aton(where.vip) for frame in asked
        )
        assert aloud == (model.announces(expected, where.vip) and host in got), one


REPAIRS = [
    (0, answers.repair_plain), (0, answers.repair_arp_half), (1, answers.repair_plain), (2, answers.repair_eth0_only),
    (3, answers.repair_other_way), (9, answers.repair_plain),
]  # fmt: skip


@needs.tier(1)
@pytest.mark.parametrize(("seed", "repair"), REPAIRS, ids=name)
def test_real_traffic_flows_when_the_model_says_so(seed, repair):
    """Where the router asks again and two may answer, the model calls it broken; a real race may go well once."""
    with Network(plan(seed)) as net:
        evidence = net.evidence()
        assert diagnosing.right(evidence) == (plan(seed).fault, plan(seed).host)
        steps = [(host, line) for host, line in repair(evidence, *diagnosing.right(evidence))]
        after = commands.after(evidence, steps)
        net.do(steps)
        fate = model.fate(after)
        if " or " not in fate.entry:
            assert net.flows() == fate.flows
        assert (repairing.flaw(evidence, steps) is None) == (fate.flows and model.fate(repairing.later(after)).flows)


@needs.tier(1)
def test_without_root_it_is_the_same_network():
    """In a user namespace, where the balancer is a process over AF_PACKET."""
    with Network(plan(9), rootless=True) as net:
        evidence = net.evidence()
        assert diagnosing.right(evidence) == ("wrong_mac", "balancer")
        assert evidence.reasons["forwarded"] >= 9
        net.do(answers.repair_plain(evidence, "wrong_mac", "balancer"))
        assert net.flows()


@needs.tier(1)
def test_the_students_own_balancer_and_hosts():
    readdress, backend = answers.readdress_in_place, answers.backend_loose
    assert lab.real_traffic(readdress, backend).passed
    assert lab.real_traffic(readdress, answers.backend_talkative).key == "claims"
    assert lab.real_traffic(readdress, answers.backend_script).key == "wrong_form"
    assert lab.real_traffic(lambda frame, mac: frame[1000], backend).key == "raised"


@needs.tier(1)
def test_whole_repairs_are_tried_on_new_networks():
    diagnosis, repair = answers.diagnosis_by_frames, answers.repair_other_way
    assert lab.mend(diagnosis, repair, seeds=[106]).passed
    assert lab.mend(diagnosis, answers.repair_restart, seeds=[106]).key == "not_mended"


@needs.tier(1)
def test_nothing_is_left_behind_when_a_network_fails():
    before = leftovers.of_this_process()

    def fail() -> None:
        with Network(plan(3)) as net:
            assert net.hosts["b1"].ip == ADDRESSES["b1"]
            raise RuntimeError("half way")

    with pytest.raises(RuntimeError, match="half way"):
        fail()
    assert leftovers.of_this_process() == before


# ------------------------------------------------------------------------------------------------------ notebook
def test_solution_passes_every_check_and_hidden_test(monkeypatch):
    monkeypatch.setenv("LBCORE_TIER", "0")
    names = {}
    shown = [value for source in cells("03-dsr-in-namespaces") if (value := run_cell(source, names)) is not None]
    verdicts = [value for value in shown if isinstance(value, Verdict)]
    assert [verdict.key for verdict in verdicts].count("right") == 4
    assert [verdict.key for verdict in verdicts].count("not_here") == 2
    assert len(verdicts) == 6


def test_stub_runs_to_the_end_and_fails_every_check_and_hidden_test(monkeypatch):
    monkeypatch.setenv("LBCORE_TIER", "0")
    names = {}
    sources = cells("03-dsr-in-namespaces")
    hidden = [source for source in sources if "### BEGIN HIDDEN TESTS" in source]
    shown = [run_cell(student(source), names) for source in sources if student(source).strip()]
    assert [value.key for value in shown if isinstance(value, Verdict)].count("stub") == 8
    assert len(hidden) == 4
    for source in hidden:
        with pytest.raises(AssertionError):
            run_cell(source, names)
