"""The loop over a driver: the same as the core frame by frame, alive while it runs, gone when it is stopped."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from lbcore.l4.config import Backend, Balancer, Config, Service
from lbcore.l4.data_plane import DataPlane, run
from lbcore.l4.drivers import pcap
from lbcore.l4.drivers.memory import Memory
from lbcore.l4.drivers.pcap import Pcap
from lbcore.l4.reasons import TX
from lbcore.l4.tables import ACTIVE, GONE
from lbcore.wire.compose import tcp_frame
from tests.ebpf.wire import until
from tests.l4 import corpus
from tests.l4.targets import InPython

HERE = [Backend("10.0.0.3"), Backend("10.0.0.4")]
MODES = ("nat", "full_nat", "dsr", "ipip", "gre", "gue")


def config(mode: str = "nat") -> Config:
    service = Service(corpus.VIP4, 80, "tcp", mode, HERE)
    return Config([service], gateway="02:00:00:00:00:01", source4="10.0.0.2", ring_size=4099)


def asked(count: int) -> list[bytes]:
    return [tcp_frame(source=f"198.51.100.9:{2000 + i}", destination=f"{corpus.VIP4}:80") for i in range(count)]


@pytest.mark.parametrize("mode", MODES)
def test_it_sends_what_the_core_sends(mode: str) -> None:
    frames = [*asked(100), *corpus.frames(300)]
    python = InPython(config(mode))
    done = [python.run(frame) for frame in frames]
    with Memory(frames, slots=100) as driver:
        balancer = run(config(mode), driver)
        assert driver.sent == [frame for verdict, frame in done if verdict == TX]
    for name, counted in python.counters().items():
        assert np.array_equal(balancer.counters()[name], counted)


def test_counters_and_states_while_it_runs() -> None:
    with Memory(asked(50)) as driver, DataPlane(config(), driver) as lb:
        until(lambda: lb.reasons() == {"forwarded": 50})
        before = lb.counters()
        assert (before["backends"][1:, 0] > 0).all()
        lb.set_state("10.0.0.3", GONE)
        driver.deliver_again()
        until(lambda: lb.reasons() == {"forwarded": 100})
        assert list(lb.counters()["backends"][:, 0] - before["backends"][:, 0]) == [0, 0, 50]
        lb.set_state("10.0.0.3", ACTIVE)
        assert lb.running
        assert before["vips"][0, 0] == 50  # a copy: what was read stays
    assert lb.loop.result == 100
    assert not any(thread.name.startswith("loop") for thread in threading.enumerate())


def test_the_clock_is_the_machines() -> None:
    with Memory(asked(1)) as driver:
        before = time.monotonic_ns()
        balancer = run(config(), driver)
        assert before <= int(balancer.tables.clock[0]) <= time.monotonic_ns()


def test_it_stops_on_an_error_within_and_twice() -> None:
    with pytest.raises(ZeroDivisionError), Memory() as driver, DataPlane(config(), driver) as lb:
        raise ZeroDivisionError
    lb.stop()
    assert not lb.running


def test_a_capture_goes_through(tmp_path: Path) -> None:
    source, target = tmp_path / "in.pcap", tmp_path / "out.pcap"
    source.write_bytes(pcap.write(pcap.Packet(frame) for frame in asked(20)))
    with Pcap(source, target) as driver:
        balancer = run(Balancer(config("dsr")), driver)
    sent = list(pcap.read(target.read_bytes()))
    assert [packet.data[:6].hex(":") for packet in sent] == ["02:00:00:00:00:01"] * 20
    assert balancer.counters()["vips"][0, 0] == 20


def test_packet_code_compiles_without_the_kernels_compiler() -> None:
    """In a process that has never heard of BPF; here, other tests have imported it."""
    code = (
        "from numba import njit; from lbcore.wire import seam_numba; from lbcore.wire.seam import settled; import sys;"
        "print(njit(lambda n: settled(n, 8))(5), any(name.startswith('lbcore.ebpf') for name in sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120)
    assert done.stdout == "5 False\n"
