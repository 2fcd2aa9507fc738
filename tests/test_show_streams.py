"""Frames, heat maps and placements as readers see them."""

from __future__ import annotations

import numpy as np
import pytest

from lbcore import show
from lbcore.l7.http2 import frames
from lbcore.show.frame_chart import placed

SENT = (
    frames.PREFACE
    + frames.settings({frames.INITIAL_WINDOW: 70_000})
    + frames.head(1, b"\x82\x86", False, 100)
    + frames.frame(frames.DATA, frames.END_STREAM, 1, b"hello")
    + frames.frame(0xFA, 0, 3, b"?")
)


def test_frames_cover_the_bytes():
    found = list(placed(SENT))
    assert [(one.kind, one.stream) for one in found] == [
        ("SETTINGS", 0), ("HEADERS", 1), ("DATA", 1), ("type 250", 3)
    ]  # fmt: skip
    assert found[0].start == len(frames.PREFACE)
    assert [one.end for one in found[:-1]] == [one.start for one in found[1:]]
    assert found[-1].end == len(SENT)


def test_bytes_open_and_locked():
    text = repr(show.frame_bytes(SENT))
    assert "68 65 6c 6c 6f" in text
    assert "stream 1" in text
    locked = repr(show.frame_bytes(SENT, locked=True))
    assert "68" not in locked.replace("0068", "")
    assert "▒▒" in locked


def test_a_frame_that_is_not_whole_is_left_alone():
    cut = repr(show.frame_bytes(SENT[:-1]))
    assert "not dissected" in cut
    assert repr(show.frame_bytes(b"PRI * HTTP/2.0"))


def test_lanes():
    picture = show.frame_lanes(SENT, title="Two streams", alt="lanes")
    assert picture.png.startswith(b"\x89PNG")


def test_heat():
    labels = {"x_label": "x", "y_label": "y", "value_label": "v", "title": "t", "alt": "a"}
    assert show.heat([[0, 1], [0.5, 0.2]], [1, 2], [3, 4], **labels).png
    with pytest.raises(ValueError, match=r"shape \(1, 2\), wanted \(2, 2\)"):
        show.heat([[0, 1]], [1, 2], [3, 4], **labels)


def test_placement_says_what_it_draws():
    assert show.placement is show.placement  # no file of the same name comes in between
    picture = show.placement(np.array([[0.5, 0.0], [0.25, 0.25]]))
    assert picture.alt == (
        "Bars of 2 backends, each made of the parts that 2 clients bring. The largest has 75 % of the calls, the "
        "smallest 25 %."
    )
