"""The flow table against a model of it, and what the data plane promises its connections."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from lbcore.jit import kernel
from lbcore.l4 import flow_table as ft
from lbcore.l4.config import ACTIVE, DRAINING, GONE, Backend, Balancer, Config, Service
from lbcore.l4.crowd import Crowd, ack, one_table, syn
from lbcore.l4.forwarder import Forwarder
from lbcore.l4.tables import TRACK
from lbcore.wire.compose import udp_frame

VIP = "203.0.113.80"
SECOND = 1_000_000_000
IDLE = 30 * SECOND

# ------------------------------------------------------------------------------------------------ the table, by a model
HASHES = (0, 1, 0x80, 0x9E37, 0xDEADBEEF, 0xFFFFFFFF)
"""Few, so that groups fill up; 0 and 0x80 have one tag."""
keys = st.integers(0, 59)


def words_of(key):
    """Five words; keys that differ only in the last, or only in the first."""
    return (key // 30, 0, 7, (1 << 64) - 1, key % 30)


def hash_of(key):
    return HASHES[key % len(HASHES)]


def group_of(hash32, entries):
    """Which group a hash names, asked of an empty table."""
    return ft.put(ft.flow_table(entries), hash32, (1, 1, 1, 1, 1), 1, 0, 1) // ft.WAYS


class AgainstAModel(RuleBasedStateMachine):
    """Groups as dicts of at most eight keys; the one seen longest ago makes room. Time never stands still."""

    ENTRIES = 4 * ft.WAYS

    def __init__(self):
        super().__init__()
        self.table = ft.flow_table(self.ENTRIES)
        self.groups = {group_of(h, self.ENTRIES): {} for h in HASHES}
        self.now = 1
        self.made = self.idle = self.used = 0

    def group(self, key):
        return self.groups[group_of(hash_of(key), self.ENTRIES)]

    @rule(key=keys, backend=st.integers(1, 2**31), wait=st.sampled_from([1, 1, SECOND, IDLE, IDLE + 1]))
    def put(self, key, backend, wait):
        self.now += wait
        group = self.group(key)
        if key not in group:
            self.made += 1
            if len(group) == ft.WAYS:
                victim = min(group, key=lambda k: group[k][0])
                if self.now - group.pop(victim)[0] > IDLE:
                    self.idle += 1
                else:
                    self.used += 1
        group[key] = (self.now, backend)
        row = ft.put(self.table, hash_of(key), words_of(key), self.now, IDLE, backend)
        assert row == ft.find(self.table, hash_of(key), words_of(key)).row

    @rule(key=keys)
    def touch(self, key):
        self.now += 1
        entry = ft.find(self.table, hash_of(key), words_of(key))
        if entry.row >= 0:
            ft.touch(self.table, entry.row, self.now)
            self.group(key)[key] = (self.now, entry.backend)

    @rule(key=keys)
    def remove(self, key):
        entry = ft.find(self.table, hash_of(key), words_of(key))
        if entry.row >= 0:
            ft.remove(self.table, entry.row)
            del self.group(key)[key]

    @invariant()
    def finds_what_the_model_finds(self):
        for key in range(60):
            entry = ft.find(self.table, hash_of(key), words_of(key))
            wanted = self.group(key).get(key)
            assert (entry.seen, entry.backend) == (wanted or (0, 0)), key
            assert (entry.row >= 0) == (wanted is not None), key

    @invariant()
    def counts_what_the_model_counts(self):
        assert ft.in_use(self.table) == sum(map(len, self.groups.values()))
        assert self.table.counts.tolist() == [self.made, self.idle, self.used]


TestAgainstAModel = AgainstAModel.TestCase
TestAgainstAModel.settings = settings(max_examples=30, stateful_step_count=60)


@kernel
def fill(table, hashes, now, idle):
    """Put keys (i, i, i, i, i) for i in range(n), a nanosecond apart."""
    for i in range(hashes.size):
        word = np.uint64(i)
        ft.put(table, np.int64(hashes[i]), (word, word, word, word, word), now + i, idle, i)


@kernel
def present(table, hashes):
    """bool[n]: which of those keys are there, with their own backend."""
    there = np.zeros(hashes.size, np.bool_)
    for i in range(hashes.size):
        word = np.uint64(i)
        entry = ft.find(table, np.int64(hashes[i]), (word, word, word, word, word))
        there[i] = entry.row >= 0 and entry.backend == i
    return there


@given(entries=st.integers(1, 5000))
def test_memory_is_fixed_and_said_beforehand(entries):
    table = ft.flow_table(entries)
    rows = table.tags.size
    assert rows >= entries
    assert rows & (rows - 1) == 0
    assert rows < 2 * max(entries, ft.WAYS)
    assert table.rows.nbytes + table.tags.nbytes == rows * ft.BYTES


@pytest.mark.parametrize("entries", [0, -1, (1 << 30) + 1])
def test_a_table_of_no_size(entries):
    with pytest.raises(ValueError, match=str(entries)):
        ft.flow_table(entries)


def test_a_full_table_keeps_the_newest_and_counts_the_lost():
    """Sixteen times as many keys as rows, none of them idle: each group ends with its last eight."""
    table = ft.flow_table(4096)
    hashes = np.random.default_rng(7).integers(0, 2**32, 16 * 4096, dtype=np.uint32)
    fill(table, hashes, 1, IDLE)
    made, idle, used = table.counts
    there = present(table, hashes)
    assert made == hashes.size
    assert idle == 0
    assert used == made - ft.in_use(table)
    assert there.sum() == ft.in_use(table) == 4096
    groups = Counter()
    order = np.argsort(present_groups := group_numbers(hashes, 4096), kind="stable")
    for i in order[::-1]:
        groups[present_groups[i]] += 1
        assert there[i] == (groups[present_groups[i]] <= ft.WAYS)


def group_numbers(hashes, entries):
    """What `flow_table` says of Fibonacci hashing, written anew with Python's whole numbers."""
    return [((int(h) * 0x9E3779B97F4A7C15 & (1 << 64) - 1) >> 32 & entries - 1) // ft.WAYS for h in hashes]


def test_idle_entries_are_counted_apart():
    table = ft.flow_table(512)
    hashes = np.random.default_rng(8).integers(0, 2**32, 4096, dtype=np.uint32)
    fill(table, hashes, 1, IDLE)
    before = table.counts.copy()
    fill(table, hashes[::-1].copy(), 10 * IDLE, IDLE)
    made, idle, used = table.counts - before
    assert idle > 0.9 * 512
    assert made == idle + used


def test_groups_fill_evenly():
    """Half full, hardly a key finds its group full: the share is what a Poisson distribution has beyond eight."""
    table = ft.flow_table(1 << 16)
    hashes = np.random.default_rng(9).integers(0, 2**32, 1 << 15, dtype=np.uint32)
    fill(table, hashes, 1, IDLE)
    assert table.counts[2] / table.counts[0] < 0.02
    assert fill.signatures, "compiled"


# ------------------------------------------------------------------------------------------ the promise, by its packets
def pool(count=10):
    return [Backend(f"10.0.0.{i}", 0, f"02:00:00:00:00:{i:02x}") for i in range(1, count + 1)]


def config(count=10, **more):
    more = {"ring_size": 1031, "flows": 1 << 15} | more
    return Config([Service(VIP, 80, "tcp", "dsr", pool(count))], **more)


SYN_FRAME, ACK_FRAME = syn(f"{VIP}:80"), ack(f"{VIP}:80")


def crowd(count, seed=0):
    return Crowd.of("10.128.0.0/9", count, seed)


def strangers(count):
    return Crowd.of("198.18.0.0/15", count, 1)


def connect(clients, forwarder, now):
    return clients.connect(forwarder, f"{VIP}:80", now)


@pytest.mark.parametrize("flood", [SYN_FRAME, ACK_FRAME], ids=["SYN", "ACK"])
def test_a_million_strangers_push_out_no_connection(flood):
    """Each forged sender shows itself once. Then the ring changes: only memory can keep connections in place."""
    forwarder = Forwarder(config())
    clients = crowd(3000)
    before = connect(clients, forwarder, SECOND)
    tables = forwarder.balancer.tables
    assert ft.in_use(tables.established) == 3000
    strangers(1_000_000).send(forwarder, flood, 2 * SECOND)
    assert tables.attempts.counts[2] > 900_000, "the flood is larger than its table, or the test shows nothing"
    assert ft.in_use(tables.established) <= 3000 + 1_000_000 // 50, "few strangers look alike twice"
    forwarder.balancer.set_state("10.0.0.1", DRAINING)
    assert (clients.send(forwarder, ACK_FRAME, 3 * SECOND) == before).all()
    assert (before == 1).sum() > 200, "those of the backend that left the ring are the witnesses"


def test_with_one_table_they_would():
    """The same crowd in a single table of more memory than both: what the second table is for."""
    assert one_table(1 << 16, 3000, [0, 1_000_000]) == [3000, 0]


def test_strangers_that_come_twice_are_not_kept_out():
    """What is not promised: who shows two packets is established. With more of those than rows the oldest give way."""
    forwarder = Forwarder(config(flows=1 << 12))
    clients, flood = crowd(500), strangers(20_000)
    before = connect(clients, forwarder, SECOND)
    for start in range(0, 20_000, 250):  # few at a time: each answers before its attempt is forgotten
        connect(flood.part(start, start + 250), forwarder, 2 * SECOND + start)
    assert forwarder.balancer.tables.established.counts[2] > 10_000
    assert (clients.send(forwarder, ACK_FRAME, 3 * SECOND) == before).all(), "the ring still says the same"
    forwarder.balancer.tables.attempts.tags[:] = 0
    forwarder.balancer.set_state("10.0.0.1", DRAINING)
    after = clients.send(forwarder, ACK_FRAME, 4 * SECOND)
    assert (after[before == 1] != 1).all(), "forgotten, and the ring has changed: these connections are lost"


def test_a_handshake_that_a_flood_forgets_goes_on_all_the_same():
    """Between a SYN and its ACK the flood takes the attempt's row. The ring leads the ACK to the same backend."""
    forwarder = Forwarder(config(flows=1 << 10))
    clients = crowd(500)
    first = clients.send(forwarder, SYN_FRAME, SECOND)
    strangers(100_000).send(forwarder, SYN_FRAME, SECOND + 1)
    assert (clients.send(forwarder, ACK_FRAME, SECOND + 2) == first).all()


def test_connections_do_not_time_out_datagrams_do():
    """TCP ends with the table's room, UDP with `idle`: a DNS client's next question may go elsewhere."""
    udp = Config([Service(VIP, 53, "udp", "dsr", pool())], ring_size=1031, flows=1 << 15, idle=30)
    question = udp_frame(source="192.0.2.1:1024", destination=f"{VIP}:53", payload=b"?")
    clients = crowd(2000)
    for kind, frame, stays in ((udp, question, False), (config(idle=30), ACK_FRAME, True)):
        forwarder = Forwarder(kind)
        before = clients.send(forwarder, frame, SECOND)
        clients.send(forwarder, frame, SECOND + 1)
        forwarder.balancer.set_state("10.0.0.1", DRAINING)
        assert (clients.send(forwarder, frame, 29 * SECOND) == before).all()
        late = clients.send(forwarder, frame, 90 * SECOND)
        assert ((late == before)[before == 1].all()) == stays


# ------------------------------------------------------------------------------------------------- just enough tracking
def test_only_what_could_move_is_remembered():
    """One backend of ten may go: its tenth of the slots is tracked, and what Maglev would move besides."""
    forwarder = Forwarder(config(ring_size=65537, horizon=("10.0.0.3",)))
    ring = forwarder.balancer.tables.rings[0]
    share = float((ring & TRACK != 0).mean())
    assert 0.1 <= share < 0.12
    connect(crowd(10_000), forwarder, SECOND)
    assert ft.in_use(forwarder.balancer.tables.established) / 10_000 == pytest.approx(share, abs=0.02)
    whole = Forwarder(config(flows=1 << 18))
    connect(crowd(10_000), whole, SECOND)
    assert ft.in_use(whole.balancer.tables.established) == 10_000


@settings(max_examples=40)
@given(data=st.data(), count=st.integers(2, 9), seed=st.integers(0, 1000))
def test_nothing_moves_when_a_backend_of_the_horizon_goes_or_comes(data, count, seed):
    addresses = [b.address for b in pool(count)]
    horizon = data.draw(st.lists(st.sampled_from(addresses), min_size=1, max_size=3, unique=True))
    one = data.draw(st.sampled_from(horizon))
    number = addresses.index(one) + 1
    leaving = data.draw(st.sampled_from([GONE, DRAINING]))
    forwarder = Forwarder(Balancer(config(count, horizon=horizon)))
    old, new = crowd(300, seed), crowd(300, seed + 10_000)
    before = connect(old, forwarder, SECOND)
    forwarder.balancer.set_state(one, leaving)
    during = old.send(forwarder, ACK_FRAME, 2 * SECOND)
    stayed = (before != number) | (leaving == DRAINING)
    assert (during == before)[stayed].all(), "one goes"
    newer = connect(new, forwarder, 3 * SECOND)
    assert (newer != number).all()
    old.send(forwarder, ACK_FRAME, 4 * SECOND)
    forwarder.balancer.set_state(one, ACTIVE)
    assert (old.send(forwarder, ACK_FRAME, 5 * SECOND) == during).all(), "one comes: those that were there before"
    assert (new.send(forwarder, ACK_FRAME, 5 * SECOND) == newer).all(), "and those that came meanwhile"


def test_a_backend_outside_the_horizon_moves_what_nobody_remembered():
    """The price: what was not foreseen is not kept. Shown, so that nobody reads more into the promise."""
    forwarder = Forwarder(config(horizon=("10.0.0.3",)))
    clients = crowd(5000)
    before = connect(clients, forwarder, SECOND)
    forwarder.balancer.set_state("10.0.0.7", DRAINING)
    after = clients.send(forwarder, ACK_FRAME, 2 * SECOND)
    assert (after != before)[before == 7].mean() > 0.8
