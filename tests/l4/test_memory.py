"""The driver without a machine, and with it the protocol: what is delivered, kept, copied and refused."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lbcore.ebpf.contexts import XDP_PASS, XDP_TX
from lbcore.ebpf.programs.echo import echo
from lbcore.l4.drivers.driver import START, batch, content, read, receive, release, send, wait, write
from lbcore.l4.drivers.memory import HEADROOM, TAILROOM, Memory
from lbcore.l4.drivers.umem import FREE
from lbcore.wire.seam import Frame
from tests.ebpf.ladder import packets
from tests.l4.loops import answer_once, grow

frames = st.lists(st.binary(min_size=14, max_size=100), max_size=20)


@given(frames, st.integers(0, 3), st.integers(1, 7), st.integers(1, 9))
def test_it_delivers_all_in_order_and_again(some: list[bytes], turns: int, slots: int, limit: int) -> None:
    driver = Memory(some, turns=turns, slots=slots)
    found: list[bytes] = []
    while wait(driver.port, 0):
        more = read(driver, limit)
        assert 0 < len(more) <= min(limit, slots)
        found += more
    assert found == some * turns
    assert driver.statistics()["received"] == len(found)
    assert driver.statistics()["received bytes"] == sum(map(len, found))
    driver.deliver_again()
    assert read(driver, 1) == some[:1]


@given(frames)
def test_it_keeps_what_is_sent(some: list[bytes]) -> None:
    driver = Memory(keep=1000)
    room, kept = 1000, []
    for frame in some:
        fits = len(frame) <= room
        assert write(driver, [frame]) == fits
        if fits:
            kept.append(frame)
            room -= len(frame)
    assert driver.sent == kept
    told = driver.statistics()
    assert (told["sent"], told["sent bytes"], told["refused"]) == (len(kept), 1000 - room, len(some) - len(kept))


def test_what_is_no_frame_is_refused() -> None:
    driver = Memory()
    assert write(driver, [b"", b"thirteen.....", b"fourteen......"]) == 1
    assert driver.sent == [b"fourteen......"]


def test_a_packet_stays_where_it_is_until_it_is_given_back() -> None:
    driver, rows = Memory([b"first frame...", b"second frame.."], turns=4, slots=4), batch(8)
    assert receive(driver.port, rows) == 4
    assert [content(row) for row in rows[:4]] == [b"first frame...", b"second frame.."] * 2
    assert receive(driver.port, rows[4:]) == 0  # every slot is with us
    release(driver.port, rows[1:], 1)
    assert receive(driver.port, rows[4:]) == 1
    assert rows[4, START] == rows[1, START]
    first, second = b"first frame...", b"second frame.."
    assert [content(row) for row in rows[[0, 2, 3, 4]]] == [first, first, second, first]


def test_what_another_port_received_is_copied() -> None:
    left, right, rows = Memory([b"to the right.."] * 3, slots=3), Memory(slots=1), batch(3)
    assert receive(left.port, rows) == 3
    assert send(right.port, rows, np.array([XDP_TX, XDP_PASS, XDP_TX], np.uint8), 3) == 2
    release(left.port, rows, 3)
    assert right.sent == [b"to the right.."] * 2
    assert right.port.umem.state[FREE] == 1  # it got no slot that is not its own
    left.deliver_again()
    assert receive(left.port, rows) == 3


def test_packet_code_runs_where_the_packets_are() -> None:
    """The ladder's echo on a driver's packets is the echo in Python, for packets of all kinds."""
    driver = Memory(packets())
    while wait(driver.port, 0):
        answer_once(driver.port)
    expected = []
    for packet in packets():
        frame = Frame(packet)
        if echo(frame) == XDP_TX:
            expected.append(bytes(frame))
    assert len(expected) > 20
    assert driver.sent == expected


@pytest.mark.parametrize("more", [(HEADROOM, 0), (0, TAILROOM), (20, 4), (-4, -2)])
def test_packets_have_room_to_grow(more: tuple[int, int]) -> None:
    driver = Memory([b"x" * 1600, b"y" * 60])
    assert grow(driver.port, *more) == 2
    head, tail = more
    assert [len(frame) for frame in driver.sent] == [1600 + head + tail, 60 + head + tail]


def test_there_is_no_room_beyond() -> None:
    driver = Memory([b"y" * 2000])
    assert grow(driver.port, HEADROOM + 1, 0) == 0
    driver.deliver_again()
    assert grow(driver.port, 0, 4096 - HEADROOM - 2000 + 1) == 0
    driver.deliver_again()
    assert read(driver) == [b"y" * 2000]


def test_a_closed_driver_delivers_nothing() -> None:
    with Memory([b"f" * 14], turns=5) as driver:
        assert len(read(driver, 2)) == 2
    assert not wait(driver.port, 0)
    assert read(driver) == []
