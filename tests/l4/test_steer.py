"""What an AF_XDP balancer takes from its host: all that it would handle, and not what keeps the host alive."""

from __future__ import annotations

from collections.abc import Iterator
from random import Random

import pytest

from lbcore.l4 import steer
from lbcore.l4.data_plane import DataPlane
from lbcore.l4.drivers.af_xdp import AfXdp
from lbcore.l4.reasons import PASS, TX
from lbcore.testbed import traffic
from lbcore.wire.seam import Frame
from tests import needs
from tests.ebpf.ladder import empty
from tests.l4 import corpus
from tests.l4.lan import THROUGH, VIP, fetch, lan
from tests.l4.targets import InPython


@pytest.fixture(autouse=True)
def empty_maps() -> Iterator[None]:
    yield
    for one in (steer.served, steer.answering):
        empty({one.name: one})


@pytest.mark.parametrize("name", ["nat", "full_nat", "dsr", "gue"])
def test_all_that_the_balancer_would_handle_is_taken(name: str) -> None:
    """Generated packets, damaged ones, backends' answers and errors about them; of strangers' packets none."""
    config, random = corpus.CONFIGS[name], Random(3)
    for declared, entries in zip((steer.served, steer.answering), steer.addresses(config), strict=True):
        for words in entries:
            declared.update(words, 1)
    python, waiting = InPython(config), list(corpus.frames(600))
    taken = left = answers = 0
    while waiting:
        frame = waiting.pop()
        wanted = steer.wanted(Frame(frame))
        verdict, out = python.run(frame)
        assert wanted or verdict == PASS
        taken, left = taken + bool(wanted), left + (not wanted)
        if verdict == TX and name in ("nat", "full_nat") and answers < 200:
            answer = corpus.answered(random, out)
            answers += answer is not None
            waiting += [answer] if answer is not None else []
    assert taken > 300
    assert left > 20


@needs.tier(2)
def test_the_host_stays_reachable() -> None:
    """It answers ARP and pings at its own address, while a client's connections go through the balancer."""
    with lan() as net:
        net.balancer.address("10.0.0.9/24")
        net.router.address("10.0.0.8/24")
        config = net.config("nat")
        with (
            net.balancer.inside(),
            AfXdp("eth0", frames=1024) as driver,
            steer.steered(driver, config),
            DataPlane(config, driver) as lb,
        ):
            assert net.router.run(traffic.ping, "10.0.0.9") < 5
            assert len(fetch(net, THROUGH[4], VIP[4], 80, 20)) == 20
            assert net.client.run(traffic.ping, VIP[4]) < 5  # this one the balancer answers
            assert set(lb.reasons()) == {"forwarded", "reply", "echo"}
