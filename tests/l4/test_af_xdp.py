"""AF_XDP: the redirect to user space in the machine and on the wire, the socket's rings, and what is left of it."""

from __future__ import annotations

import errno
import signal
import socket
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from lbcore.ebpf import kernel
from lbcore.ebpf.contexts import XDP_PASS, XDP_REDIRECT
from lbcore.ebpf.machine import Machine
from lbcore.ebpf.programs.drop_all import drop_all
from lbcore.ebpf.programs.pass_all import pass_all
from lbcore.ebpf.programs.to_user_space import sockets, to_user_space
from lbcore.l4.drivers.af_xdp import AfXdp
from lbcore.l4.drivers.driver import INTERFACE, QUEUE, batch, content, receive, release, wait, write
from lbcore.wire.compose import udp_frame
from lbcore.wire.seam import Frame
from tests import needs
from tests.ebpf.ladder import frames, machine, packets
from tests.ebpf.wire import Wire, until, wire
from tests.l4.ports import descriptors, rings_mapped, take

FRAME = udp_frame(payload=b"for somebody")
each_mode = pytest.mark.parametrize("mode", ["native", "generic"])


@pytest.fixture
def cable() -> Iterator[Wire]:
    with wire() as made, kernel.statistics():
        yield made


def open_at(cable: Wire, **options: Any) -> AfXdp:
    with cable.server.inside():
        return AfXdp("eth0", **options)


# ---- the program ----


@pytest.fixture
def one_socket() -> Iterator[None]:
    """Something is in the map, under queue 3."""
    assert sockets.update(3, 1) == 0
    yield
    sockets.delete(3)


@pytest.mark.usefixtures("one_socket")
def test_the_machine_and_python_redirect_by_queue() -> None:
    made = machine(to_user_space)
    for queue, verdict in ((0, XDP_PASS), (3, XDP_REDIRECT), (63, XDP_PASS), (64, XDP_PASS), (1 << 31, XDP_PASS)):
        result = made.run(FRAME, queue=queue)
        assert (result.verdict, result.packet) == (verdict, FRAME)
        assert result.redirect == ((sockets.storage, 3) if queue == 3 else None)
        assert to_user_space(Frame(FRAME, queue=queue)) == verdict


@pytest.mark.usefixtures("one_socket")
def test_the_machine_redirects_packets_of_all_kinds() -> None:
    made = Machine(to_user_space.object.program, {"sockets": sockets.storage})
    results = [made.run(packet, queue=3) for packet in packets()]
    assert {one.verdict for one in results} == {XDP_REDIRECT}
    assert [one.packet for one in results] == list(packets())


@needs.tier(2)
@each_mode
def test_the_wire_does_what_the_machine_does(cable: Wire, mode: str) -> None:
    """Without a socket the stack gets all, byte by byte; with one, the socket gets them and the stack none."""
    with kernel.load(to_user_space.object) as program:
        assert program.test_run(FRAME)[:2] == (XDP_PASS, FRAME)
        with cable.server.inside():
            program.attach("eth0", mode)
        assert cable.seen_by(program, frames()) == (frames(), [])
        with open_at(cable) as driver:
            program.maps["sockets"][bytes(4)] = driver.fd.to_bytes(4, "little")
            assert program.test_run(FRAME).verdict == XDP_REDIRECT
            with cable.server.inside():
                program.attach("eth0", mode)
            assert cable.seen_by(program, frames()) == ([], [])
            assert take(driver, len(frames())) == frames()
            assert driver.statistics()["dropped by kernel"] == 0
        assert program.test_run(FRAME).verdict == XDP_PASS  # the kernel has taken the closed socket out


# ---- the rings ----

tier2 = needs.tier(2)


@tier2
def test_rows_tell_where_a_packet_came_in(cable: Wire) -> None:
    with open_at(cable, steer="native") as driver:
        assert not driver.zero_copy  # no veth has it
        rows = batch(4)
        assert receive(driver.port, rows) == 0
        cable.send(FRAME)
        until(lambda: wait(driver.port, 100))
        assert receive(driver.port, rows) == 1
        with cable.server.inside():
            assert rows[0, INTERFACE] == socket.if_nametoindex("eth0")
        assert (rows[0, QUEUE], content(rows[0])) == (0, FRAME)
        release(driver.port, rows, 1)


@tier2
def test_who_keeps_all_frames_gets_no_more(cable: Wire) -> None:
    """The kernel drops and counts what it has no frame for, and goes on when it gets some back."""
    with open_at(cable, steer="native", frames=8) as driver:
        rows = batch(20)

        def sent(count: int) -> None:
            for number in range(count):
                cable.send(FRAME + b"%02d" % number)

        held = 0
        while held < 8:
            sent(1)
            until(lambda: wait(driver.port, 20))
            held += receive(driver.port, rows[held:])
        assert len({int(row[0]) for row in rows[:8]}) == 8
        assert receive(driver.port, rows[8:]) == 0
        sent(5)
        until(lambda: driver.statistics()["dropped by kernel"] + driver.statistics()["fill ring empty"] >= 5)
        assert write(driver, [FRAME]) == 0
        assert driver.statistics()["refused"] == 1
        release(driver.port, rows, 8)
        assert not wait(driver.port, 0)
        sent(3)
        assert take(driver, 3) == [FRAME + b"%02d" % number for number in range(3)]
        assert write(driver, [FRAME]) == 1


@tier2
def test_what_cannot_be_sent_is_refused(cable: Wire) -> None:
    with open_at(cable) as driver:
        assert write(driver, [b"", bytes(13), bytes(1793), FRAME]) == 1
        told = driver.statistics()
        assert (told["refused"], told["invalid to send"], told["sent bytes"]) == (3, 0, len(FRAME))
        assert cable.came_back([FRAME])


@tier2
def test_more_is_sent_than_there_are_frames(cable: Wire) -> None:
    """Frames come back from the kernel as they are sent, and are used again, thousands of times."""
    with open_at(cable, frames=64) as driver:
        sent = [FRAME + b"%06d" % number for number in range(2000)]
        for start in range(0, len(sent), 16):
            some = sent[start : start + 16]
            left = some
            while left:  # until a frame is free for each
                left = left[write(driver, left) :]
            assert cable.came_back(some)


@tier2
@pytest.mark.parametrize("options", [{"frame_size": 4096}, {"mode": "copy"}, {"busy_poll": 50}, {"frames": 2}], ids=str)
def test_every_setting_carries_packets(cable: Wire, options: dict[str, Any]) -> None:
    with open_at(cable, steer="native", **options) as driver:
        for number in range(50):
            cable.send(FRAME + b"%d" % number)
            assert take(driver, 1) == [FRAME + b"%d" % number]
            assert write(driver, [b"%02d" % number + FRAME]) == 1
            assert cable.came_back([b"%02d" % number + FRAME])


# ---- closing ----


@pytest.fixture
def nothing_left(cable: Wire) -> Iterator[Wire]:
    """The test leaves no descriptor and no mapping, and the queue and the interface are as they were."""
    before = (descriptors(), rings_mapped())
    yield cable
    assert (descriptors(), rings_mapped()) == before
    with open_at(cable), cable.server.inside(), kernel.load(pass_all.object) as program:
        program.attach("eth0")
        assert cable.seen_by(program, [FRAME]) == ([FRAME], [])


@tier2
@each_mode
def test_closed_and_opened_again_and_again(nothing_left: Wire, mode: str) -> None:
    for _ in range(10):
        with open_at(nothing_left, steer=mode) as driver:
            nothing_left.send(FRAME)
            assert take(driver, 1) == [FRAME]
        driver.close()


def fail_within(cable: Wire) -> None:
    with open_at(cable, steer="native"):
        assert rings_mapped() == 4
        raise ZeroDivisionError


def wait_for_ever(cable: Wire) -> None:
    with open_at(cable, steer="native") as driver:
        wait(driver.port, 0)  # compiled, and loaded
        signal.setitimer(signal.ITIMER_REAL, 0.05)
        while True:
            wait(driver.port, 10_000)


@tier2
def test_an_error_within_closes(nothing_left: Wire) -> None:
    with pytest.raises(ZeroDivisionError):
        fail_within(nothing_left)
    assert rings_mapped() == 0


@tier2
def test_an_interrupt_within_closes(nothing_left: Wire) -> None:
    """Also while compiled code waits for packets that do not come."""
    before = signal.signal(signal.SIGALRM, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            wait_for_ever(nothing_left)
    finally:
        signal.signal(signal.SIGALRM, before)
    assert rings_mapped() == 0


@tier2
def test_a_forgotten_one_is_closed(nothing_left: Wire) -> None:
    forgotten = [open_at(nothing_left, steer="native")]
    with pytest.warns(ResourceWarning):
        forgotten.clear()


@tier2
def test_a_closed_port_is_silent(nothing_left: Wire) -> None:
    """Who goes on with the port of a closed driver finds nothing there; and nothing of what has its number now."""
    with open_at(nothing_left, steer="native") as driver:
        nothing_left.send(FRAME)
        until(lambda: wait(driver.port, 100))
    told = driver.statistics()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as heir:
        heir.bind(("127.0.0.1", 0))
        heir.sendto(b"for the heir", heir.getsockname())
        rows = np.zeros((4, 7), np.uint64)
        assert not wait(driver.port, 1)
        assert receive(driver.port, rows) == 0
        write(driver, [FRAME])
        assert heir.recv(100) == b"for the heir"
    assert driver.statistics().keys() == told.keys()


@tier2
def test_what_cannot_be_opened_is_said_and_leaves_nothing(nothing_left: Wire) -> None:
    with open_at(nothing_left, steer="native"):
        with pytest.raises(OSError, match=r"eth0 queue 0 \(any\): .* another socket has this queue") as caught:
            open_at(nothing_left)
        assert caught.value.errno == errno.EBUSY
    with pytest.raises(OSError, match=r"the network driver does not offer it: try mode 'copy'"):
        open_at(nothing_left, mode="zero-copy")
    with pytest.raises(OSError, match=r"queue 7 .* no such queue"):
        open_at(nothing_left, queue=7)
    with pytest.raises(OSError, match="interface 'eth9': not here; there are: lo, eth0"), nothing_left.server.inside():
        AfXdp("eth9")
    with (
        nothing_left.server.inside(), kernel.load(drop_all.object) as other, other.attach("eth0"),
        pytest.raises(OSError, match="attach to eth0: "),
    ):  # fmt: skip
        AfXdp("eth0", steer="native")


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"frames": 100}, "frames is 100, wanted a power of two"),
        ({"frame_size": 1024}, "frame_size is 1024, wanted 2048 or 4096"),
        ({"mode": "fast"}, "mode is 'fast'; there are: any, copy, zero-copy"),
    ],
)
def test_wrong_settings_are_named(options: dict[str, Any], why: str) -> None:
    with pytest.raises(ValueError, match=why):
        AfXdp("eth0", **options)
