"""What chapter 12 measures and draws: filters led through in memory, the proxy on loopback, bucket and bill."""

from __future__ import annotations

import time

import numpy as np
import pytest

from lbcore import show
from lbcore.l7.cache.options import CacheOptions
from lbcore.l7.filters.cache import Cache
from lbcore.l7.filters.filter import Filter
from lbcore.l7.filters.rate_limit import RateLimit, RateLimitOptions
from lbcore.l7.filters.rate_store import Memory
from lbcore.l7.message import Headers, Response, text
from lbcore.measure import gateway_live as live
from lbcore.measure import gateway_prices as prices
from lbcore.measure.clock import Comparison
from lbcore.measure.gateway_prices import Passage, request
from lbcore.show.bucket_chart import play


class Notes(Filter):
    def __init__(self, name, log, answer=None):
        self.name, self.log, self.answer = name, log, answer

    def on_request(self, exchange):
        self.log.append(f"{self.name} in")
        return self.answer

    def on_response(self, exchange, response):
        self.log.append(f"{self.name} out")

    def on_end(self, exchange):
        self.log.append(f"{self.name} end")


def test_filters_are_passed_in_order_and_those_behind_an_answer_never():
    log = []
    found = Passage(request()).through(Notes("a", log), Notes("b", log, text(403, "no")), Notes("c", log))
    assert found.status == 403
    assert log == ["a in", "b in", "b out", "a out", "a end", "b end"]


def test_a_filter_that_waits_is_refused_in_words():
    class Waits(Filter):
        def on_request(self, exchange):
            return exchange.fetch(exchange.request)

    passage = Passage(request(), behind=lambda asked: text(200, "well"))
    with pytest.raises(TypeError, match="has to wait"):
        passage.through(Waits())


def test_fields_stay_unread_until_somebody_looks():
    assert request(b"/", (b"a", b"1")).unread == b"a: 1\r\n"
    assert request(b"/", (b"a", b"1")).headers == Headers([(b"a", b"1")])


@pytest.mark.parametrize("name", ["HS256", "RS256", "ES256"])
def test_tokens_pass_their_own_key_only(name):
    made, others = prices.tokens(), prices.tokens()
    line = (b"authorization", b"Bearer " + made[name][0].encode())
    assert Passage(request(b"/", line)).through(prices.verifier(made[name][1])).status == 200
    if name != "HS256":  # whose secret is always the same
        assert Passage(request(b"/", line)).through(prices.verifier(others[name][1])).status == 401


def test_prices_are_differences_within_rounds():
    samples = {"nothing": (1000.0, 2000.0, 3000.0), "look at the fields": (2000.0, 3000.0, 4000.0),
               "x": (7000.0, 8000.0, 9000.0), "y": (0.0, 0.0, 0.0)}  # fmt: skip
    found = prices.prices(Comparison(samples, "nothing"))
    assert found == {"look at the fields": 1.0, "x": 6.0, "y": 0.0}


def test_pages_have_the_size_that_was_asked_for():
    assert [len(prices.page(size, np.random.default_rng(1))) for size in (100, 5000)] == [100, 5000]


def test_the_origin_sees_what_the_proxy_sends_and_the_client_what_it_answers():
    log = []
    sent = b"POST /x HTTP/1.1\r\nHost: a.example\r\nContent-Length: 3\r\nConnection: close\r\n\r\nabc"
    talked = live.talk(sent, live.get("/y"), filters=[Notes("a", log)], answer=lambda head: live.ok(head[:6]))
    assert [answer.rpartition("\r\n")[2] for answer in talked.answers] == ["POST /", "GET /y"]
    assert [head.partition(b" HTTP")[0] for head in talked.seen] == [b"POST /x", b"GET /y"]
    assert log == ["a in", "a out", "a end"] * 2


def test_costs_are_of_each_row_of_filters():
    class Slow(Filter):
        def on_request(self, exchange):
            sum(range(20_000))

    found = live.exchange_costs({"bare": (), "slow": (Slow(),)}, lambda head: live.ok(b"well"), ["/"], rounds=3)
    assert found.ratio("slow") > 1.5


def test_a_shared_store_is_used_even_while_it_is_empty():
    """An empty table is false in Python: it must not be taken for none."""
    store = Memory(1, 3, 10, clock=lambda: 0.0)
    pair = [RateLimit(RateLimitOptions(rate=1, burst=3), store=store) for _ in range(2)]
    assert [Passage(request()).through(pair[n % 2]).status for n in range(6)] == [200] * 3 + [429] * 3


def test_the_drawn_bucket_is_a_bucket():
    story = play([0, 0, 0, 1, 5], rate=1, burst=2)
    assert [one.passed for one in story] == [True, True, False, True, True]
    assert [(one.before, one.after) for one in story] == [
        pytest.approx(pair) for pair in [(2, 1), (1, 0), (0, 0), (1, 0), (2, 1)]
    ]
    assert "4 of 5 pass" in show.bucket([0, 0, 0, 1, 5], 1, 2).alt
    with pytest.raises(ValueError, match="arrivals is empty"):
        show.bucket([], 1, 2)


def test_the_bill_adds_up():
    drawn = show.bill({"exchange": 60.0, "limit": 2.5, "brotli 11": 20_000.0})
    assert "limit 2.5" in drawn.alt
    assert "together 20,062" in drawn.alt
    with pytest.raises(ValueError, match="positions is"):
        show.bill({"exchange": -1.0})


def test_an_answer_of_ones_own_goes_through_all():
    answer = Response(204, Headers())
    assert Passage(request()).through(answer=answer) is answer


def test_a_crowd_is_one_request_when_it_is_collapsed():
    def slow(head):
        time.sleep(0.2)
        return live.ok(b"news\n", b"cache-control: max-age=60")

    alone = live.crowd(20, live.get("/"), answer=slow)
    together = live.crowd(20, live.get("/"), Cache(CacheOptions()), answer=slow)
    assert (len(alone.seen), len(together.seen)) == (20, 1)
    assert {answer.rpartition("\r\n")[2] for answer in (*alone.answers, *together.answers)} == {"news\n"}


def test_a_pause_lies_between_visits():
    began = time.monotonic()
    assert len(live.talk(live.get("/"), live.get("/"), live.get("/"), pause=0.1).answers) == 3
    assert time.monotonic() - began >= 0.2
