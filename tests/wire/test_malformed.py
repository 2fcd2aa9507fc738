"""Cut and spoiled packets: plain Python, numba and numba with checks say the same, and nothing reads past the end.

Plain Python and checked numba raise IndexError for an access outside the packet (test_seam proves that they do), so
here it is enough that they never raise.
"""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tests.wire import corpus, driver, packets

ROOT = Path(__file__).resolve().parents[2]


def agree(frames):
    rows = driver.plain(frames)
    for checked in (True, False):
        other = driver.compiled(frames, checked=checked)
        different = np.flatnonzero((rows != other).any(axis=1))
        assert not different.size, (
            frames[different[0]].hex(),
            np.flatnonzero(rows[different[0]] != other[different[0]]),
        )
    return rows


def test_every_frame_cut_at_every_length():
    rows = agree([frame[:length] for frame in corpus.FRAMES for length in range(len(frame) + 1)])
    verdicts = set(np.unique(rows[:, [driver.ETHERNET, driver.IPV4, driver.IPV6, driver.TCP, driver.UDP]]).tolist())
    assert {0, 1, 4} <= verdicts


def test_ten_thousand_spoiled_frames():
    random = np.random.default_rng(791)
    frames = []
    for _ in range(10_000):
        frame = bytearray(corpus.FRAMES[random.integers(len(corpus.FRAMES))])
        for at in random.integers(12, min(len(frame), 80), random.integers(1, 4)):
            frame[at] = random.integers(256)
        frames.append(bytes(frame[: random.integers(len(frame) + 1) if random.random() < 0.3 else None]))
    rows = agree(frames)
    for column in (driver.IPV4, driver.IPV6, driver.TCP, driver.UDP, driver.OPTION):
        assert len(np.unique(rows[:, column])) > 1, "no frame was spoiled here: the test has lost its point"


@given(packets.frames().map(bytes), st.data())
def test_random_packets_cut_and_spoiled(raw, draw):
    spoiled = bytearray(raw)
    for at, value in draw.draw(st.lists(st.tuples(st.integers(0, len(raw) - 1), st.integers(0, 255)), max_size=4)):
        spoiled[at] = value
    agree([raw, bytes(spoiled), raw[: draw.draw(st.integers(0, len(raw)))]])


@given(st.lists(st.binary(max_size=120), min_size=1, max_size=8))
def test_noise(frames):
    agree([*frames, *(b"\0" * 12 + b"\x08\x00\x45" + frame for frame in frames)])


def at_the_page_end(what):
    command = [sys.executable, "-m", "tests.wire.page_end", what]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)


def test_packets_that_end_where_memory_ends_are_parsed_unchecked():
    run = at_the_page_end("corpus")
    assert run.returncode == 0, run.stderr
    assert int(run.stdout) == sum(len(frame) + 1 for frame in corpus.FRAMES)


def test_one_byte_further_would_have_been_deadly():
    assert -at_the_page_end("trap").returncode in (signal.SIGSEGV, signal.SIGBUS)
