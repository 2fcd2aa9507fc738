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
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lbcore.wire import ethernet, icmp, ipv4, ipv6, tcp, udp
from lbcore.wire.seam import view
from lbcore.wire.verdict import (
    BAD_HEADER_LENGTH,
    BAD_TOTAL_LENGTH,
    BAD_VERSION,
    OK,
    TOO_MANY_HEADERS,
    TRUNCATED,
)
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
    assert set(rows[:, driver.ETHERNET]) == {OK, TRUNCATED}
    assert set(rows[:, driver.IPV4]) == {OK, TRUNCATED, BAD_TOTAL_LENGTH}


def test_every_frame_cut_where_its_ip_header_says_it_ends():
    rows = agree([corpus.cut(frame, length) for frame in corpus.FRAMES for length in range(len(frame) + 1)])
    assert set(rows[:, driver.IPV6]) == set(rows[:, driver.TCP]) == {OK, TRUNCATED}
    assert set(rows[:, driver.UDP]) == {OK, TRUNCATED, BAD_TOTAL_LENGTH}


IP4, IP6 = bytes.fromhex("4500001c") + bytes(24), bytes.fromhex("60000000000806") + bytes(41)


def patched(data, at, value):
    return data[:at] + bytes([value]) + data[at + 1 :]


@pytest.mark.parametrize(
    ("parse", "data", "verdict"),
    [
        (ethernet.parse, bytes(13), TRUNCATED),
        (ethernet.parse, bytes(12) + b"\x81\0\0\0\x08", TRUNCATED),
        (ethernet.parse, bytes(12) + b"\x81\0\0\0\x81\0\0\0\x81\0", TOO_MANY_HEADERS),
        (ipv4.parse, IP4, OK),
        (ipv4.parse, IP4[:19], TRUNCATED),
        (ipv4.parse, patched(IP4, 0, 0x55), BAD_VERSION),
        (ipv4.parse, patched(IP4, 0, 0x44), BAD_HEADER_LENGTH),
        (ipv4.parse, patched(IP4, 0, 0x47), OK),
        (ipv4.parse, patched(IP4, 0, 0x48), TRUNCATED),
        (ipv4.parse, patched(IP4, 3, 19), BAD_TOTAL_LENGTH),
        (ipv4.parse, patched(IP4, 3, 20), OK),
        (ipv4.parse, patched(IP4, 3, 29), BAD_TOTAL_LENGTH),
        (ipv6.parse, IP6, OK),
        (ipv6.parse, IP6[:39], TRUNCATED),
        (ipv6.parse, patched(IP6, 0, 0x40), BAD_VERSION),
        (ipv6.parse, patched(IP6, 5, 9), BAD_TOTAL_LENGTH),
        (ipv6.parse, patched(IP6, 6, ipv6.HOP_BY_HOP), TRUNCATED),  # ... which names another behind itself
        (ipv6.parse, patched(patched(IP6, 6, ipv6.DESTINATION), 40, ipv6.NO_NEXT), OK),
        (ipv6.parse, patched(patched(IP6, 6, ipv6.DESTINATION), 41, 1), TRUNCATED),
        (ipv6.parse, patched(patched(IP6, 5, 7), 6, ipv6.DESTINATION), TRUNCATED),
        (tcp.parse, bytes(19), TRUNCATED),
        (tcp.parse, patched(bytes(20), 12, 0x40), BAD_HEADER_LENGTH),
        (tcp.parse, patched(bytes(20), 12, 0x50), OK),
        (tcp.parse, patched(bytes(23), 12, 0x60), TRUNCATED),
        (udp.parse, bytes(7), TRUNCATED),
        (udp.parse, patched(bytes(8), 5, 7), BAD_TOTAL_LENGTH),
        (udp.parse, patched(bytes(8), 5, 8), OK),
        (udp.parse, patched(bytes(8), 5, 9), BAD_TOTAL_LENGTH),
        (icmp.parse, bytes(7), TRUNCATED),
        (icmp.parse, bytes(8), OK),
    ],
)
def test_the_verdict_on_each_way_to_be_malformed(parse, data, verdict):
    assert parse(view(data)).verdict == verdict


def test_ten_thousand_spoiled_frames():
    random = np.random.default_rng(791)
    frames = []
    for _ in range(10_000):
        frame = bytearray(corpus.FRAMES[random.integers(len(corpus.FRAMES))])
        for at in random.integers(12, min(len(frame), 80), random.integers(1, 4)):
            frame[at] = random.integers(256)
        if random.random() < 0.3:
            frame = corpus.cut(bytes(frame), random.integers(len(frame) + 1))
        frames.append(bytes(frame))
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
