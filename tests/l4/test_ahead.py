"""Looking ahead changes nothing but time: in large tables batches end as one packet after another does."""

from __future__ import annotations

from dataclasses import replace
from random import Random

import numpy as np
import pytest

from lbcore.l4 import ahead, flow_table
from lbcore.l4.config import Balancer
from lbcore.l4.data_plane import run
from lbcore.l4.drivers.memory import Memory
from lbcore.l4.forwarder import Forwarder, batch
from lbcore.l4.reasons import TX
from tests.l4 import targets
from tests.l4.corpus import CONFIGS, answered, frames

LARGE, SMALL = 1 << 15, 1 << 10


def sized(name, flows):
    return replace(CONFIGS[name], flows=flows)


def test_it_is_for_tables_that_are_not_near():
    assert LARGE * flow_table.BYTES > ahead.NEAR > SMALL * flow_table.BYTES
    assert ahead.lead_for(Balancer(sized("nat", LARGE)).tables) == ahead.LEAD
    assert ahead.lead_for(Balancer(sized("nat", SMALL)).tables) == 0


@pytest.mark.parametrize("name", CONFIGS)
def test_a_batch_ends_as_its_packets_do_one_by_one(name):
    random = Random(name)
    together, alone = Forwarder(sized(name, LARGE)), targets.InNumba(sized(name, LARGE))
    sent = [random.choice(frames()) for _ in range(600)]
    for _ in range(2):
        block, lengths = batch(sent)
        verdicts, starts, lengths = together.process(block, lengths, now=targets.NOW)
        assert starts.min() >= 0
        out = [row[at : at + n].tobytes() for row, at, n in zip(block, starts, lengths, strict=True)]
        assert list(zip(verdicts.tolist(), out, strict=True)) == [alone.run(frame) for frame in sent]
        replies = [answered(random, frame) for frame in out]
        sent = [reply or frame for reply, frame in zip(replies, sent, strict=True)]
    for one, other in zip(together.balancer.tables, alone.balancer.tables, strict=True):
        assert all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))


@pytest.mark.parametrize("name", CONFIGS)
def test_so_does_what_a_driver_brings(name):
    alone, driver = targets.InNumba(sized(name, LARGE)), Memory(frames())
    balancer = run(sized(name, LARGE), driver)
    ends = [alone.run(frame) for frame in frames()]
    assert driver.sent == [out for verdict, out in ends if verdict == TX]
    assert targets.same_counters(balancer.counters(), alone.counters())
