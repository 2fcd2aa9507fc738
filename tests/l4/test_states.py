"""Backends come and go under running packets: at no moment does a ring name one that takes nothing."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from lbcore.ebpf import storage
from lbcore.l4 import kernel_tables, reasons, xdp
from lbcore.l4.config import Backend, BadConfig, Balancer, Config, Service
from lbcore.l4.kernel_tables import RING_SIZE
from lbcore.l4.tables import ACTIVE, DRAINING, GONE, TRACK
from lbcore.wire.compose import tcp_frame
from lbcore.wire.tcp import ACK, SYN
from tests import needs
from tests.l4 import targets

STEPS = [("10.0.0.3", GONE), ("10.0.0.4", DRAINING), ("10.0.0.3", ACTIVE), ("10.0.0.4", GONE), ("10.0.0.3", DRAINING)]


def config() -> Config:
    here = [Backend("10.0.0.3", 80), Backend("10.0.0.3", 81), Backend("10.0.0.4", 80), Backend("10.0.0.5", 80)]
    services = [Service(f"203.0.113.{n}", 80, "tcp", "nat", here) for n in (1, 2)]
    return Config(services, gateway="02:00:00:00:00:01", ring_size=251)


def named(ring: Any) -> set[int]:
    return set((np.asarray(ring) & (TRACK - 1)).tolist()) - {0}


def test_in_user_space(monkeypatch: pytest.MonkeyPatch) -> None:
    balancer = Balancer(config())
    made = Balancer.ring

    def ring(self: Balancer, service: Service) -> Any:
        """Between two rings: some are new, the others old."""
        new = made(self, service)
        for one in (*self.tables.rings, new):
            assert all(self.tables.backends[number, 0] != GONE for number in named(one))
        return new

    monkeypatch.setattr(Balancer, "ring", ring)
    for address, state in STEPS:
        balancer.set_state(address, state)
        assert {int(row[0]) for b, row in zip(balancer.backends, balancer.tables.backends[1:], strict=True)
                if b.address == address} == {state}  # fmt: skip


def test_in_maps(monkeypatch: pytest.MonkeyPatch) -> None:
    balancer = Balancer(config())
    layouts = (kernel_tables.SETTINGS, kernel_tables.VIPS, kernel_tables.RINGS, kernel_tables.BACKENDS)
    maps = {m.name: storage.Map(m.kind, m.key.size, m.value.size, m.max_entries, name=m.name) for m in layouts}
    write, checked = xdp._write, 0

    def watched(target: Any, keys: Any, values: Any) -> None:
        nonlocal checked
        write(target, keys, values)
        states = maps["backends"].table.values.view("<u8")[:, 0]
        for number in range(2):
            slots = maps["rings"].table.values.view("<u4")[number * RING_SIZE : number * RING_SIZE + 251, 0]
            assert all(states[one] != GONE for one in named(slots))
            checked += 1

    monkeypatch.setattr(xdp, "_write", watched)
    xdp.fill(maps, balancer)
    for address, state in STEPS:
        balancer.set_state(address, state)
        xdp.refresh(maps, balancer)
        assert list(maps["backends"].table.values.view("<u8")[1:5, 0]) == [
            balancer.states[b] for b in balancer.backends
        ]
    assert checked == 2 * 4 * (1 + len(STEPS))


def test_nobody_is_named() -> None:
    with pytest.raises(BadConfig, match=r"backend '10\.0\.0\.9': there are 10\.0\.0\.3, 10\.0\.0\.3, 10\.0\.0\.4"):
        Balancer(config()).set_state("10.0.0.9", GONE)
    with pytest.raises(BadConfig, match="state 3"):
        Balancer(config()).set_state("10.0.0.3", 3)


# ---- a port comes again ----

TARGETS = [targets.InPython, targets.InNumba, pytest.param(targets.InKernel, marks=needs.tier(2))]


@pytest.mark.parametrize("horizon", [(), ("10.0.0.4",)], ids=["all are remembered", "a horizon"])
@pytest.mark.parametrize("shown", [1, 2], ids=["tried", "established"])
@pytest.mark.parametrize("target", TARGETS)
def test_a_new_connection_from_an_old_port_stays_together(target: Any, shown: int, horizon: tuple[str, ...]) -> None:
    """The old one's backend drains: the SYN goes elsewhere, and what follows it goes where it went."""
    there = [Backend(f"10.0.0.{n}", ethernet=f"02:00:00:00:00:0{n}") for n in (3, 4, 5)]
    lb = target(Config([Service("203.0.113.1", 80, "tcp", "dsr", there)], ring_size=251, horizon=horizon))

    def to(port: int, flags: int) -> int:
        frame = tcp_frame(source=f"198.51.100.9:{port}", destination="203.0.113.1:80", flags=flags)
        return int(lb.run(frame)[1][5])

    try:
        flags = [SYN, ACK][:shown]
        first = {port: {to(port, one) for one in flags} for port in range(2000, 2060)}
        set_state = getattr(lb, "set_state", lb.balancer.set_state)
        set_state("10.0.0.4", DRAINING)
        moved = [port for port, backends in first.items() if backends == {4}]
        assert moved
        for port in moved:
            assert to(port, ACK) == 4  # the old one still has its backend
            new = to(port, SYN)
            assert new in (3, 5)
            assert {to(port, ACK) for _ in range(3)} == {new}
    finally:
        lb.close()


# ---- frames of others ----


@pytest.mark.parametrize("target", TARGETS)
def test_frames_for_other_hosts_pass(target: Any) -> None:
    """To the host's stack, which drops them, as they came; and they are counted as none of ours."""
    own, there = "02:00:00:00:00:aa", [Backend("10.0.0.3", ethernet="02:00:00:00:00:03")]
    lb = target(Config([Service("203.0.113.1", 80, "tcp", "dsr", there)], ring_size=251, ethernet=own))
    try:
        for to in (own, "02:00:00:00:00:ab", "03:00:00:00:00:aa", "ff:ff:ff:ff:ff:ff"):
            frame = tcp_frame(destination="203.0.113.1:80", destination_mac=to)
            verdict, after = lb.run(frame)
            assert verdict == (reasons.TX if to == own else reasons.PASS)
            assert (after == frame) == (to != own)
        assert lb.counters()["reasons"][reasons.NOT_OURS] == 3
    finally:
        lb.close()
