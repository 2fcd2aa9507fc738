"""The machine's stepper: what its pages say is what the machine did."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lbcore import show
from lbcore.ebpf.assembler import assemble
from lbcore.ebpf.machine import Machine
from lbcore.ebpf.programs.count_protocols import count_protocols
from lbcore.ebpf.programs.echo import echo
from lbcore.show import twin
from lbcore.show.bytecode import SHOWN, listing, rows, window
from lbcore.show.machine_stepper import Page, record
from lbcore.wire import compose

UDP = compose.udp_frame(source="192.0.2.7:40000", destination="203.0.113.1:7")
FIRST = assemble(
    "r2 = *(u32 *)(r1 +0); r3 = *(u32 *)(r1 +4); r4 = r2; r4 += 14; r0 = 2; if r4 > r3 goto +3;"
    "r5 = *(u16 *)(r2 +12); *(u64 *)(r10 -8) = r5; r0 = 1; exit".replace("; ", "\n").replace(";", "\n")
)


def pages(program, packet) -> list[Page]:
    recording = record(program, packet)
    return [Page(recording, number) for number in range(recording.last + 1)]


def test_pages_follow_the_machine():
    every = pages(FIRST, UDP)
    assert [page.moment.step.text for page in every[1:]] == [s.text for s in Machine(FIRST).trace(UDP)]
    assert re.search(r"▶</td><td[^>]*>6</td>.*r5 = \*\(u16", every[7]._repr_html_())
    assert "Reads 2 bytes, packet + 12: 08 00." in every[7].story
    assert "context + 0, its data" in every[1].story
    assert ("r2", "0x10100", "packet + 0", "was 0") in every[1].registers()
    assert ("r3", "0x1012a", "packet + 42 (its end)", "was 0") in every[2].registers()
    assert ("r7", "-", "", "") in every[-1].registers()
    assert every[8].stack() == [("r10 - 8", "08 00 00 00 00 00 00 00", True)]
    assert every[-1].stack() == [("r10 - 8", "08 00 00 00 00 00 00 00", False)]
    assert every[-1].story == "The program ends; its verdict is r0 = 1, XDP_DROP."


def test_a_listing_says_where_jumps_lead():
    program = rows(FIRST)
    assert [(row.slot, row.target) for row in program if row.target >= 0] == [(5, 9)]
    assert "→ 9</td>" in listing(program, 5)
    assert listing(program, 5).count("▶") == 1


def test_touched_bytes_are_framed_and_a_changed_packet_is_shown():
    every = pages(echo, UDP)
    read = next(page for page in every if page.story.startswith("Reads 2 bytes, packet + 36"))
    assert "[00 07]" in repr(read.diagram())
    assert every[-1].moment.packet == Machine(echo.object.program).run(UDP).packet != UDP


@given(st.binary(min_size=14, max_size=80), st.booleans())
@settings(deadline=None, max_examples=50)
def test_any_packet_can_be_stepped_through(data, udp):
    data = UDP[: 14 + len(data)] if udp else data
    recording = record(echo, data)
    assert recording.fault == ""
    last = Page(recording, recording.last)
    assert f"r0 = {Machine(echo.object.program).run(data).verdict}, XDP_" in last.story
    assert all(Page(recording, n)._repr_html_() and repr(Page(recording, n)) for n in range(0, recording.last, 7))


def test_a_fault_is_the_end_of_the_story():
    every = pages(assemble("r2 = *(u32 *)(r1 +0)\nr0 = *(u16 *)(r2 +200)\nexit"), UDP)
    assert len(every) == 2
    assert "Then the machine stops: instruction 1 " in every[-1].story
    assert "offset 200 of the packet" in every[-1].story
    only = pages(assemble("r0 = *(u8 *)(r3 +0)\nexit"), UDP)
    assert "Then the machine stops: instruction 0 " in only[0].story


def test_maps_are_named_by_slot():
    stories = [page.story for page in pages(count_protocols, UDP)]
    assert any(story.startswith("Writes 8 bytes, slot 17 of map 'protocols'") for story in stories)
    assert any(story.startswith("map_lookup_elem returned 0x") for story in stories)


@pytest.mark.parametrize("marked", [0, 40, 10_000, None])
def test_of_a_long_program_a_window_is_drawn(marked):
    program = rows(assemble("r0 = 0\n" * 100 + "exit"))
    drawn = window(program, marked)
    assert len(drawn) == SHOWN
    assert marked not in range(100) or marked in [row.slot for row in drawn]


def test_buttons_turn_pages_and_stop_at_the_ends(monkeypatch):
    stepper = show.machine_steps(FIRST, UDP, start=3)
    twin_before = repr(stepper)
    for name, step in (("Next", 4), ("Back", 3), ("First", 0), ("Back", 0), ("Last", 10), ("Next", 10)):
        stepper.buttons[name].click()
        assert stepper.controls["step"].value == step, name
        assert f"Step {step} of 10." in stepper.view.value
    shown = []
    monkeypatch.setattr("IPython.display.display", lambda data, metadata=None, raw=False: shown.append(data))
    stepper._ipython_display_()
    assert twin.VIEW in shown[1]
    assert shown[1]["text/plain"] == twin_before
    assert "Step 3 of 10." in shown[1]["text/html"]


def test_a_start_outside_of_the_run_is_named():
    with pytest.raises(ValueError, match=r"start is 11, wanted a step from 0 to 10"):
        show.machine_steps(FIRST, UDP, start=11)
