"""The packet walk's pages: what is framed is what changed, and the saved page is the live one."""

from __future__ import annotations

import re

import pytest

from lbcore import show
from lbcore.l4 import flags
from lbcore.l4.walk import Site
from lbcore.show.packet_walk import Page
from lbcore.wire.difference import labelled


def pages(mode):
    stops = Site(mode).walk()
    return [Page(stops, number) for number in range(len(stops))]


@pytest.mark.parametrize("mode", flags.NAMES)
def test_framed_bytes_are_those_that_changed(mode):
    for page in pages(mode):
        cells = [cell for row in page.diagram().rows for cell in row]
        framed = {at for cell in cells if cell.framed for at in range(cell.start, cell.start + len(cell.data))}
        if len(page.before) == len(page.stop.frame):
            differ = {
                at for at, pair in enumerate(zip(page.before, page.stop.frame, strict=True)) if pair[0] != pair[1]
            }
            assert differ <= framed
            assert differ or not framed
        else:
            outer = [layer for layer in labelled(page.stop.frame) if layer.name.startswith(("outer", "gre"))]
            assert all(set(range(o.offset, o.offset + o.length)) <= framed for o in outer)


@pytest.mark.parametrize("mode", flags.NAMES)
def test_a_new_packet_and_an_unchanged_one_say_so(mode):
    every = pages(mode)
    fresh = [page for page in every if page.number == 0 or page.stop.new]
    assert [page.stop.name for page in fresh] == ["client, out", "backend, out"]
    assert all("A new packet" in page.verdict and not page.changes for page in fresh)
    same = [page for page in every if page not in fresh and page.before == page.stop.frame]
    assert all(page.verdict == "No byte has changed." for page in same)


def test_repairs_are_drawn_word_by_word():
    page = pages("nat")[2]
    words = [table.caption for table in page.tables()]
    assert words[1:] == ["the ipv4 checksum, repaired (RFC 1624)", "the tcp checksum, repaired (RFC 1624)"]
    for repair in page.repairs:
        assert f"{repair.end:04x}" in repr(page)
        assert f"{repair.start:04x}" in page._repr_html_()
    assert not pages("dsr")[2].repairs


def test_the_stepper_turns_and_its_saved_page_is_the_live_one():
    stepper = show.packet_steps(Site("dsr"), start=2)
    assert stepper.controls["step"].max == len(Site("dsr").walk()) - 1
    assert "3 of 6: balancer, out" in stepper.view.value
    assert repr(stepper).count("balancer, out") == 1
    stepper.buttons["Next"].click()
    assert "4 of 6: backend, in" in stepper.view.value
    assert len(re.findall("▶", stepper.view.value)) == 1
    assert "<style" not in stepper.view.value
    assert "<script" not in stepper.view.value
