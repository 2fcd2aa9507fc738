"""Splits: shares come out as they were given, and a client stays where it is."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lbcore.l7.message import Headers, Peer, Request
from lbcore.l7.pools.key import hashed
from lbcore.l7.pools.options import HashOptions
from lbcore.l7.pools.pool import Backend, Pool
from lbcore.l7.routing.split import by_chance, by_key


def pools(count: int) -> list[Pool]:
    return [Pool(f"p{number}", [Backend("127.0.0.1", 1)]) for number in range(count)]


def request(uid: str = "") -> Request:
    headers = Headers([(b"cookie", f"uid={uid}".encode())] if uid else [])
    return Request(b"GET", b"/", b"h", b"http", headers, Peer("192.0.2.1", 1))


KEY = hashed(HashOptions(on="cookie", name="uid"))
some_weights = st.lists(st.integers(0, 100), min_size=2, max_size=5).filter(any)


@given(some_weights, st.integers(0, 10**6 - 1))
def test_a_draw_falls_where_the_weights_lie(weights: list[int], draw: int) -> None:
    """Against the definition: of a line as long as all weights, the piece that the draw is in."""
    there = pools(len(weights))
    at, wanted = draw * sum(weights), 0
    while at >= weights[wanted] * 10**6:
        at -= weights[wanted] * 10**6
        wanted += 1
    found = by_chance(there, weights, lambda: draw / 10**6)(request())
    assert there.index(found) == wanted or draw * sum(weights) % 10**6 == 0  # on a border floats may fall either way
    assert weights[there.index(found)] > 0


def test_the_end_of_the_line_is_somebodys() -> None:
    there = pools(3)
    assert by_chance(there, [1, 2, 0], lambda: 1 - 2**-53)(request()) is there[1]


def test_by_key_a_client_stays_on_its_side() -> None:
    choose = by_key(pools(2), [95, 5], KEY)
    assert {choose(request("carol")).name for _ in range(20)} == {choose(request("carol")).name}


@pytest.mark.parametrize("weights", [[95, 5], [1, 1], [3, 2, 1]])
def test_by_key_each_gets_its_share_of_the_clients(weights: list[int]) -> None:
    choose, clients = by_key(pools(len(weights)), weights, KEY), 4000
    counts = Counter(choose(request(str(client))).name for client in range(clients))
    for number, weight in enumerate(weights):
        share = weight / sum(weights)
        error = (share * (1 - share) / clients) ** 0.5
        assert counts[f"p{number}"] / clients == pytest.approx(share, abs=5 * error)


@given(some_weights, st.data())
def test_a_weight_that_grows_moves_clients_only_to_its_pool(weights: list[int], data: st.DataObject) -> None:
    grown = data.draw(st.integers(0, len(weights) - 1))
    more = [weight + 20 * (number == grown) for number, weight in enumerate(weights)]
    before, after = by_key(pools(len(weights)), weights, KEY), by_key(pools(len(weights)), more, KEY)
    for client in range(40):
        old, new = before(request(str(client))).name, after(request(str(client))).name
        assert new in (old, f"p{grown}")


@pytest.mark.parametrize("weights", [[], [1], [0, 0], [1, -1], [1, float("nan")], [1, float("inf")]])
def test_what_cannot_be_shared_is_refused(weights: list[float]) -> None:
    with pytest.raises(ValueError, match="weight"):
        by_chance(pools(2), weights)
    with pytest.raises(ValueError, match="weight"):
        by_key(pools(2), weights, KEY)
