"""One source, four targets: Python, numba, the machine and the kernel do the same with the same packets."""

from __future__ import annotations

from random import Random

import pytest

from lbcore.l4 import reasons
from lbcore.testbed import capabilities
from tests.l4 import targets
from tests.l4.corpus import CONFIGS, answered, frames

PACKETS = 10_000


@pytest.mark.parametrize("name", CONFIGS)
def test_verdicts_bytes_and_counters_are_the_same(name):
    kinds = [targets.InPython, targets.InNumba, targets.InMachine]
    if capabilities.machine().tier >= 2:
        kinds.append(targets.InKernel)
    all_targets = [kind(CONFIGS[name]) for kind in kinds]
    first, *others = all_targets
    random, waiting = Random(name), []
    try:
        for number in range(PACKETS // len(CONFIGS)):
            reply = waiting and random.random() < 0.4
            frame = waiting.pop() if reply else frames()[number] if number < 7 else random.choice(frames())
            verdict, out = first.run(frame)
            for other in others:
                got = other.run(frame)
                assert got == (verdict, out), f"{type(other).__name__}, packet {number}: {frame.hex()}"
            if verdict == reasons.TX and name in ("nat", "full_nat"):
                reply = answered(random, out)
                if reply is not None:
                    waiting.append(reply)
        for other in others:
            assert targets.same_counters(first.counters(), other.counters()), type(other).__name__
    finally:
        for target in all_targets:
            target.close()
    ends = first.balancer.tables.reason_counters
    wanted = [reasons.FORWARDED, reasons.ECHO, reasons.NOT_OURS, reasons.OPTIONS, reasons.FRAGMENT, reasons.TTL]
    wanted += [reasons.NO_BACKEND, reasons.TOO_BIG, reasons.TRUNCATED, reasons.MALFORMED]
    wanted += [reasons.REPLY] if name in ("nat", "full_nat") else []
    missed = [reasons.Reason(reason).name for reason in wanted if not ends[reason]]
    assert not missed, "the packets do not reach all that they should"
