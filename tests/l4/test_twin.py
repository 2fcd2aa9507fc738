"""The C twins that the benchmark compares with do what the balancer does, packet by packet and counter by counter."""

from __future__ import annotations

from random import Random

import pytest

from benchmarks import l4_twins
from lbcore.l4 import reasons
from lbcore.l4.forwarder import batch
from tests import needs
from tests.l4 import targets
from tests.l4.corpus import CONFIGS, answered, frames

PACKETS = 4000
ENTRIES = 4096


class InC(targets.InNumba):
    """The twin in memory."""

    def __init__(self, config):
        self.forwarder = l4_twins.ForwarderInC(config)
        self.balancer = self.forwarder.balancer


class InKernelInC(l4_twins.InKernelInC, targets.InKernel):
    """The twin in the kernel."""


def compare(name, ours, theirs):
    """Run both on the same packets; replies, too, where there are any."""
    random, waiting = Random(name), []
    try:
        for number in range(PACKETS):
            reply = waiting and random.random() < 0.4
            frame = waiting.pop() if reply else frames()[number] if number < 7 else random.choice(frames())
            verdict, out = ours.run(frame)
            assert theirs.run(frame) == (verdict, out), f"packet {number}: {frame.hex()}"
            if verdict == reasons.TX and name in ("nat", "full_nat"):
                reply = answered(random, out)
                if reply is not None:
                    waiting.append(reply)
        assert targets.same_counters(ours.counters(), theirs.counters())
    finally:
        ours.close()
        theirs.close()


@needs.command("gcc")
@pytest.mark.parametrize("name", CONFIGS)
def test_in_memory_verdicts_bytes_counters_and_tables_are_the_same(name):
    ours, theirs = targets.InNumba(CONFIGS[name]), InC(CONFIGS[name])
    compare(name, ours, theirs)
    for one, other in zip(ours.balancer.tables, theirs.balancer.tables, strict=True):
        for a, b in zip(one, other, strict=True):
            assert (a == b).all()


@needs.command("gcc")
def test_full_tables_give_way_to_the_same_entries():
    """More flows than there is room for, a clock that moves: the same are pushed out."""
    config = CONFIGS["dsr"].__class__(**{**vars(CONFIGS["dsr"]), "flows": 64, "idle": 3e-9})
    ours, theirs = targets.InNumba(config), InC(config)
    random = Random(5)
    block, lengths = batch([random.choice(frames()) for _ in range(ENTRIES)], width=2048)
    for turn in range(4):
        one, other = block.copy(), block.copy()
        a = ours.forwarder.process(one, lengths, now=targets.NOW + turn)
        b = theirs.forwarder.process(other, lengths, now=targets.NOW + turn)
        assert all((x == y).all() for x, y in zip(a, b, strict=True))
        assert (one == other).all()
    for table in ("established", "attempts"):
        mine, yours = getattr(ours.balancer.tables, table), getattr(theirs.balancer.tables, table)
        assert all((x == y).all() for x, y in zip(mine, yours, strict=True))
        assert mine.counts[0] > 0


@needs.tier(2)
@needs.command("clang")
@pytest.mark.parametrize("name", CONFIGS)
def test_in_the_kernel_verdicts_bytes_and_counters_are_the_same(name):
    compare(name, targets.InKernel(CONFIGS[name]), InKernelInC(CONFIGS[name]))
