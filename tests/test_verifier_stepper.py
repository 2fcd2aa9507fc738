"""The verifier's stepper: what its pages say is known is what the verifier knew."""

from __future__ import annotations

import re

import pytest

from lbcore import show
from lbcore.ebpf.assembler import assemble
from lbcore.ebpf.programs.block_list import block_list
from lbcore.ebpf.programs.count_protocols import count_protocols
from lbcore.ebpf.programs.echo import echo
from lbcore.ebpf.programs.no_reflection import no_reflection
from lbcore.ebpf.programs.rate_limit import rate_limit
from lbcore.ebpf.verifier import verify
from lbcore.show.verifier_stepper import Page, replay

CARELESS = assemble("r1 = *(u32 *)(r1 +0)\nr0 = *(u16 *)(r1 +34)\nexit")
LOCAL = assemble("r6 = 7\nr1 = 5\ncall local sum\nr0 += r6\nexit\nsum:\nr0 = r1\nr6 = 1\nr0 += r6\nexit")


def pages(program) -> list[Page]:
    made = replay(program)
    return [Page(made, number) for number in range(made.last + 1)]


@pytest.mark.parametrize("program", [no_reflection, count_protocols, echo, block_list, rate_limit, CARELESS], ids=repr)
def test_what_was_known_before_a_step_is_what_the_replay_had(program):
    """Along every path, and across the jump at which it left another."""
    made = replay(program)
    known = {"r1": "context", "r10": "r10"}
    for number, moment in enumerate(made.moments):
        step = moment.step
        if step.note == "taken":
            origin = made.verdict.origins[step.path][1]
            known = made.moments[origin - 1].known
        for change in step.changes:
            empty = "nothing" if change.name.startswith("r") else "0 bytes written"
            assert known.get(change.name, empty) == str(change.before), (number, step)
        known = moment.known
    assert made.cut == made.verdict.steps.total - len(made.moments)


def test_a_refusal_is_the_last_page_and_knows_what_the_verdict_knew():
    every = pages(CARELESS)
    assert len(every) == 2
    assert "Refused (packet bounds): r1 = packet, range 0 reaches bytes 34 to 35" in repr(every[-1])
    assert every[-1].moment.known == verify(CARELESS).registers
    assert [page.verdict for page in every[:-1]] == [""]


def test_a_check_widens_the_range_and_lays_a_path_aside():
    page = next(page for page in pages(no_reflection) if "goto pc+9" in page.moment.step.text)
    assert ("r1", "packet, range 38", "was packet, range 0") in page.known()
    assert page.story.startswith("On this path the packet has at least 38 bytes")
    assert page.waiting == [1]
    assert re.search(r"Paths still to walk: 1\.", page._repr_html_())


def test_every_path_is_walked_and_then_the_program_is_accepted():
    every = pages(no_reflection)
    assert every[-1].waiting == []
    assert every[-1].verdict.startswith("Accepted: all 6 paths end")
    begun = [page.story for page in every if page.moment.step.note == "taken"]
    assert len(begun) == 5
    assert begun[0].startswith("Path 5 begins: as path 0 was before step 14, but the jump is taken.")


def test_a_local_function_has_registers_of_its_own():
    every = pages(LOCAL)
    assert every[-1].verdict.startswith("Accepted")
    inside = [page.moment for page in every if page.moment.step.depth == 1]
    assert inside[0].known["r1"] == "5"
    assert "r6" not in inside[0].known
    assert every[-1].moment.known["r6"] == "7"
    assert every[-1].moment.known["r0"] == "13"


def test_the_saved_page_shows_the_end_and_buttons_go_back():
    stepper = show.verifier_steps(CARELESS)
    assert "Refused" in repr(stepper)
    stepper.buttons["Back"].click()
    assert "Step 0 of 1" in stepper.view.value
    assert "Refused" not in stepper.view.value
    assert "Step 0 of 27" in repr(show.verifier_steps(no_reflection, start=0))


def test_what_is_no_program_cannot_be_stepped_through():
    with pytest.raises(ValueError, match="nothing to step through"):
        show.verifier_steps(b"\xff" * 8)
