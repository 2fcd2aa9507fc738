"""A pool under any sequence of events, next to a model that keeps only facts: who may be asked, who never."""

from __future__ import annotations

from random import Random

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from lbcore.balance.chooser import CHOOSERS, WITHOUT_WEIGHTS
from lbcore.l7.pools.options import (
    BreakerOptions,
    HealthOptions,
    OutlierOptions,
    SlowStartOptions,
    StickySourceOptions,
)
from lbcore.l7.pools.pool import ACTIVE, DOWN, DRAINING, Backend, Pool, Result
from tests.l7.pools.stage import GOOD, REFUSED, RESET, Clock, a_request, options

FALL, RISE, IN_ROW, EJECTION = 2, 2, 3, 20.0
OUTCOMES = [GOOD, RESET, REFUSED, Result(503, "", 0.01, True), Result(404, "", 0.01, True)]
BLAMELESS = [Result(0, "client gone", 0.01, True), Result(0, "stale", 0.01, True), Result(0, "", 0.0, False)]


class Facts:
    """Of one backend, as the operator, the checks and the requests made them."""

    def __init__(self) -> None:
        self.state, self.up, self.row_of_checks, self.failures = ACTIVE, True, 0, 0
        self.ejected_until = 0.0
        self.drained = float("inf")

    def check(self, good: bool) -> None:
        self.row_of_checks = 0 if good == self.up else self.row_of_checks + 1
        if self.row_of_checks >= (RISE if good else FALL):
            self.up, self.row_of_checks = good, 0


class PoolMachine(RuleBasedStateMachine):
    """No breaker and no panic here: what they do is looked at by itself."""

    sticky = False

    @initialize(
        count=st.integers(1, 5),
        picker=st.sampled_from(sorted(CHOOSERS)),
        most=st.sampled_from([0.0, 0.34, 0.5, 1.0]),
        limit=st.sampled_from([0, 2]),
        slow=st.booleans(),
    )
    def start(self, count, picker, most, limit, slow):
        self.clock = Clock()
        self.most, self.limit = most, limit or float("inf")
        told = options(
            count,
            picker=picker,
            health=HealthOptions(rise=RISE, fall=FALL),
            outlier=OutlierOptions(consecutive=IN_ROW, ejection=EJECTION, longest=EJECTION, most=most),
            breaker=BreakerOptions(active=limit),
            slow_start=SlowStartOptions(window=10) if slow and picker != "round_robin" else None,
            sticky=StickySourceOptions(idle=1e9) if self.sticky else None,
        )
        self.pool = Pool.build(told, self.clock, Random(7))
        self.facts = {backend: Facts() for backend in self.pool.backends}
        self.flying: list[Backend] = []
        self.homes: dict[str, Backend] = {}

    # -- what can happen

    @rule(source=st.integers(0, 3), data=st.data())
    def pick(self, source, data):
        tried = data.draw(st.lists(st.sampled_from(self.pool.backends), unique=True, max_size=2))
        request = a_request(source=f"192.0.2.{source}")
        chosen = self.pool.pick(request, tried)
        left = [b for b in self.pool.backends if b not in tried and b.active < self.limit and b.weight > 0]
        up = [b for b in left if self.facts[b].state == ACTIVE and self.facts[b].up]
        good = [b for b in up if self.facts[b].ejected_until <= self.clock.now]
        home = self.homes.get(request.peer.address) if self.sticky else None
        at_home = home is not None and home not in tried and self.serves_its_own(home)
        if at_home:
            assert chosen is home
        elif good:
            assert chosen in good
        elif up:
            assert chosen in up  # suspects are better than nobody
        else:
            assert chosen is None
            assert all(backend.name in self.pool.why for backend in self.pool.backends)
        if chosen is not None:
            self.homes[request.peer.address] = chosen
            self.pool.began(chosen)
            self.flying.append(chosen)

    def serves_its_own(self, backend):
        facts = self.facts[backend]
        wanted = facts.state == ACTIVE or (facts.state == DRAINING and self.clock.now < facts.drained)
        well = facts.up and facts.ejected_until <= self.clock.now
        return wanted and well and backend.active < self.limit

    @precondition(lambda self: self.flying)
    @rule(result=st.sampled_from(OUTCOMES + BLAMELESS), data=st.data())
    def end(self, result, data):
        backend = self.flying.pop(data.draw(st.integers(0, len(self.flying) - 1)))
        self.settle(backend, result)

    def settle(self, backend, result):
        facts = self.facts[backend]
        self.pool.ended(backend, result)
        if result in BLAMELESS:
            return
        failed = bool(result.error) or result.status == 503
        facts.failures = facts.failures + 1 if failed else 0
        out = sum(other.ejected_until > self.clock.now for other in self.facts.values())
        room = out + 1 <= int(self.most * len(self.facts))
        if facts.failures >= IN_ROW and facts.ejected_until <= self.clock.now and room and failed:
            facts.ejected_until, facts.failures = self.clock.now + EJECTION, 0

    @rule(seconds=st.sampled_from([0.0, 0.3, 1.0, 7.0, 25.0]))
    def pass_time(self, seconds):
        self.clock.now += seconds
        for facts, backend in zip(self.facts.values(), self.pool.backends, strict=True):
            if 0 < facts.ejected_until <= self.clock.now:
                facts.ejected_until, facts.failures = 0.0, 0
                self.pool.why_not(backend)  # the pool looks at the clock, as it does at every pick

    @rule(good=st.booleans(), data=st.data())
    def check(self, good, data):
        backend = data.draw(st.sampled_from(self.pool.backends))
        health = self.pool.health(backend)
        health.begin(self.clock.now)
        self.pool.checked(backend, "" if good else "status 500")
        self.facts[backend].check(good)

    @rule(state=st.sampled_from([ACTIVE, DRAINING, DOWN]), data=st.data())
    def set_state(self, state, data):
        backend = data.draw(st.sampled_from(self.pool.backends))
        backend.state = self.facts[backend].state = state
        if state == ACTIVE:
            self.facts[backend].drained = float("inf")
            self.pool.why_not(backend)

    @rule(seconds=st.sampled_from([0.0, 5.0, 30.0]), data=st.data())
    def drain(self, seconds, data):
        backend = data.draw(st.sampled_from(self.pool.backends))
        self.pool.drain(backend, seconds)
        self.facts[backend].state, self.facts[backend].drained = DRAINING, self.clock.now + seconds

    @rule(weight=st.sampled_from([0.0, 1.0, 3.0]), data=st.data())
    def set_weight(self, weight, data):
        if self.pool.options.picker in WITHOUT_WEIGHTS:
            weight = min(weight, 1.0)
        data.draw(st.sampled_from(self.pool.backends)).weight = weight

    # -- what holds at any time

    @invariant()
    def counts_are_those_of_requests_in_flight(self):
        if hasattr(self, "pool"):
            assert [b.active for b in self.pool.backends] == [self.flying.count(b) for b in self.pool.backends]
            assert self.pool.in_flight == len(self.flying)

    @invariant()
    def the_cap_on_ejections_is_held(self):
        if hasattr(self, "pool"):
            shown = self.pool.snapshot()["backends"]
            out = [each["name"] for each in shown if each["ejection"]["left"] > 0]
            assert len(out) <= self.most * len(shown)
            assert out == [b.name for b in self.pool.backends if self.facts[b].ejected_until > self.clock.now]

    @invariant()
    def what_is_shown_is_so(self):
        if not hasattr(self, "pool"):
            return
        for backend, shown in zip(self.pool.backends, self.pool.snapshot()["backends"], strict=True):
            facts = self.facts[backend]
            well = facts.state == ACTIVE and facts.up and facts.ejected_until <= self.clock.now and backend.weight > 0
            assert (shown["why"] == "") == well == (shown["share"] > 0)
            assert shown["share"] <= backend.weight

    def teardown(self):
        if not hasattr(self, "pool"):
            return
        for backend in self.flying:
            self.pool.ended(backend, GOOD)
        assert [backend.active for backend in self.pool.backends] == [0] * len(self.pool.backends)
        assert self.pool.in_flight == 0


class StickyPoolMachine(PoolMachine):
    """The same where clients belong to backends, by their address."""

    sticky = True


TestPool = PoolMachine.TestCase
TestStickyPool = StickyPoolMachine.TestCase
TestPool.settings = TestStickyPool.settings = settings(max_examples=40, stateful_step_count=40, deadline=None)
