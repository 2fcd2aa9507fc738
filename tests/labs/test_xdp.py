"""Lab 04: each known answer gets the verdict meant for it, on every machine the same."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import pytest

from lbcore.ebpf import kernel
from lbcore.ebpf.compiler import Source
from lbcore.ebpf.verifier import verify
from lbcore.labs import xdp as lab
from lbcore.labs.answers import xdp_balancing, xdp_counting, xdp_first_steps, xdp_forwarding, xdp_parsing, xdp_rewriting
from lbcore.labs.judge import Verdict
from lbcore.labs.sandbox import plain
from lbcore.labs.xdp import (
    balancing,
    counting,
    first_steps,
    forwarding,
    ladder,
    live,
    parsing,
    rewriting,
    stage,
)
from lbcore.notebooks.labs import student
from tests import needs
from tests.labs.notebook import cells, run_cell

MODULES: tuple[ModuleType, ...] = (
    xdp_first_steps, xdp_counting, xdp_parsing, xdp_rewriting, xdp_forwarding, xdp_balancing,
)  # fmt: skip
RUNGS = ("pass", "drop", "count", "parse", "rewrite", "redirect", "balance")
TABLES = {rung: maps for module in MODULES for rung, maps in getattr(module, "TABLES", {}).items()}
RIGHT = [(rung, one) for module in MODULES for rung, some in module.ANSWERS.RIGHT.items() for one in some]
WRONG = [(rung, one, key) for module in MODULES for rung, some in module.ANSWERS.WRONG.items() for one, key in some]
CASES = {
    "pass": (first_steps.PASS_ALL, lambda seed: first_steps.drop_cases()),
    "drop": (first_steps.DROP_SIX, lambda seed: first_steps.drop_cases()),
    "count": (counting.COUNT, counting.count_cases),
    "parse": (parsing.PARSE, parsing.parse_cases),
    "rewrite": (rewriting.REWRITE, rewriting.rewrite_cases),
    "redirect": (forwarding.REDIRECT, forwarding.redirect_cases),
}


def name(value: object) -> str:
    return getattr(value, "__name__", str(value))


def check(rung: str, program: Any, seed: int = 1) -> Verdict:
    return getattr(lab, f"check_{rung}")(program, *TABLES.get(rung, ()), seed=seed)


def drawn(rung: str, program: Any) -> Any:
    return getattr(lab, f"show_{rung}")(program, *TABLES.get(rung, ()))


@pytest.mark.parametrize(("rung", "program"), RIGHT, ids=name)
@pytest.mark.parametrize("seed", [1, 2026])
def test_right_answers_pass(rung, program, seed):
    verdict = check(rung, program, seed)
    assert verdict.passed, verdict


@pytest.mark.parametrize(("rung", "program", "key"), WRONG, ids=name)
def test_wrong_answers_get_their_own_hint(rung, program, key):
    verdict = check(rung, program)
    assert verdict.key == key, verdict
    assert len(repr(verdict)) < 1700
    told = {"not_a_program": "", "not_compiled": "line ", "rejected": "line "}.get(key, "yours:")
    assert told in verdict.evidence


def test_each_rung_has_enough_known_answers():
    for rung in RUNGS:
        assert len([one for of, one in RIGHT if of == rung]) >= 2
        assert len({key for of, _, key in WRONG if of == rung}) >= 3


@pytest.mark.parametrize(("rung", "program", "key"), WRONG[::4], ids=name)
def test_wrong_answers_are_drawn_or_the_reason_is_told(rung, program, key):
    picture = drawn(rung, program)
    assert getattr(picture, "alt", "") or not picture.passed


@pytest.mark.parametrize("seed", [1, 2026])
@pytest.mark.parametrize("rung", CASES)
def test_every_known_mistake_differs_from_the_specification(rung, seed):
    exercise, make = CASES[rung]
    cases = [one for one in make(seed) if not one.packets[0].cut]
    rights = [exercise.expect((one,)).value for one in cases]
    made = [[plain(mistake.makes(one)) for one in cases] for mistake in exercise.mistakes]
    assert all(answers != rights for answers in made)
    assert len({repr(answers) for answers in made}) == len(made)


@pytest.mark.parametrize("rung", RUNGS)
def test_a_verdict_reads_the_same_without_the_kernel(rung, monkeypatch):
    programs = [next(one for of, one in RIGHT if of == rung)]
    programs += [one for of, one, key in WRONG if of == rung and key in ("unchecked", "rejected", "not_compiled")][:3]
    here = [repr(check(rung, one)) for one in programs]
    monkeypatch.setattr(ladder, "machine", lambda: type("Machine", (), {"tier": 0}))
    assert [repr(check(rung, one)) for one in programs] == here


@needs.tier(2)
@pytest.mark.parametrize(("rung", "program"), RIGHT, ids=name)
def test_the_kernel_lets_right_answers_in(rung, program):
    assert verify(program.object).accepted
    kernel.load(program.object).close()


@needs.tier(2)
@pytest.mark.parametrize("program", [one for _, one, key in WRONG if key in ("unchecked", "rejected")], ids=name)
def test_the_kernel_refuses_what_the_books_verifier_refuses(program):
    assert not verify(program.object).accepted
    with pytest.raises(kernel.Rejected):
        kernel.load(program.object)


def test_the_machine_is_asked_and_not_only_python(monkeypatch):
    monkeypatch.setattr(stage, "in_machine", lambda program, table, entries, traffic: [
        [[["XDP_DROP", "", None] for _ in one.packets], ""] for one in traffic
    ])  # fmt: skip
    assert check("pass", xdp_first_steps.pass_plain).key == "compiled"


@pytest.mark.parametrize("thing", [None, 7, "drop", len, lambda context: 2])
@pytest.mark.parametrize("rung", RUNGS)
def test_what_is_no_program_is_told(rung, thing):
    assert check(rung, thing).key == "not_a_program"
    assert drawn(rung, thing).key == "not_a_program"


def test_what_is_no_map_is_told():
    assert lab.check_count(xdp_counting.count_plain, None).key == "not_a_map"
    assert lab.show_count(xdp_counting.count_plain, "protocols").key == "not_a_map"


def test_a_reader_s_own_maps_stay_as_they_are():
    xdp_counting.protocols.update(6, 41)
    try:
        assert lab.check_count(xdp_counting.count_plain, xdp_counting.protocols).passed
        lab.show_count(xdp_counting.count_plain, xdp_counting.protocols)
        assert xdp_counting.protocols[6] == 41
    finally:
        xdp_counting.protocols.update(6, 0)


@pytest.mark.parametrize("seed", range(5))
def test_slots_of_the_balancer_are_lab_01_s_table(seed):
    entries = balancing.maglev()
    assert sorted(entries) == list(range(balancing.SLOTS))
    assert len(set(entries.values())) == 4


@needs.tier(2)
def test_real_traffic_through_a_right_and_a_spraying_balancer():
    right = live.real_traffic(xdp_balancing.balance_plain, xdp_balancing.slots)
    assert right.passed, right
    assert not live.real_traffic(xdp_balancing.balance_in_turns, xdp_balancing.slots).passed


def test_real_traffic_says_why_there_is_none(monkeypatch):
    unchecked = xdp_balancing.balance_ports_unchecked
    if live.machine().tier >= 2:
        assert live.real_traffic(unchecked, xdp_balancing.slots).key == "rejected"
    monkeypatch.setattr(live, "machine", lambda: type("Machine", (), {"tier": 0}))
    assert live.real_traffic(unchecked, xdp_balancing.slots).key == "no_root"
    assert "kernel" not in live.judges()


def test_solution_passes_every_check_and_hidden_test():
    names: dict[str, Any] = {}
    source = [one for one in cells("04-xdp-ladder") if "real_traffic" not in one]
    shown = [value for one in source if (value := run_cell(one, names)) is not None]
    verdicts = [value for value in shown if hasattr(value, "passed")]
    assert len(verdicts) == len(RUNGS)
    assert all(verdict.passed for verdict in verdicts)
    assert len([value for value in shown if hasattr(value, "alt")]) == len(RUNGS)
    assert all(isinstance(names[one], Source) for one in ("pass_all", "balance"))


def test_stub_runs_to_the_end_and_fails_every_check_and_hidden_test():
    names: dict[str, Any] = {}
    hidden = [one for one in cells("04-xdp-ladder") if "### BEGIN HIDDEN TESTS" in one]
    shown = [run_cell(student(one), names) for one in cells("04-xdp-ladder") if student(one).strip()]
    verdicts = [value for value in shown if hasattr(value, "passed")]
    assert [verdict.key for verdict in verdicts[:-1]] == ["stub"] * 2 * len(RUNGS)
    assert verdicts[-1].key in ("not_compiled", "no_root")
    assert len(hidden) == len(RUNGS)
    for source in hidden:
        with pytest.raises(AssertionError):
            run_cell(source, names)
