"""The walk that chapter 04 shows is the one that packets take: computed frames and captured ones, byte for byte.

Nothing is exempt but "backend, opened", where there is nothing to capture: the packet behind the backend's tunnel is
taken out of the captured frame.
"""

from __future__ import annotations

import pytest

from lbcore.l4 import flags
from lbcore.l4.walk import NAMES, Site
from lbcore.measure import walked
from tests import needs


@needs.tier(1)
@pytest.mark.parametrize("rootless", [None, True], ids=["as allowed", "in a user namespace"])
def test_captured_walks_are_the_computed_ones(rootless):
    def sites():
        return [Site(mode, backend_port=8080) for mode in flags.NAMES]

    captured = walked.captured(sites(), rootless=rootless)
    assert list(captured) == list(flags.NAMES)
    for site in sites():
        assert captured[site.mode] == site.walk()


@needs.tier(1)
def test_networks_are_used_where_there_are_any():
    found = walked.walks(Site("dsr"))
    assert found.label == walked.LIVE
    assert found["dsr"] == Site("dsr").walk()


def test_elsewhere_the_same_frames_are_computed_and_it_says_so(monkeypatch):
    monkeypatch.setenv("LBCORE_TIER", "0")
    found = walked.walks(Site("nat"), Site("dsr"))
    assert found.label == walked.COMPUTED
    assert found["nat"] == Site("nat").walk()


def test_everybody_on_the_way_has_a_name():
    for mode in flags.NAMES:
        for stop in Site(mode).walk():
            assert {stop.frame[:6].hex(":"), stop.frame[6:12].hex(":")} <= set(NAMES)
