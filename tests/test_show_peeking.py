"""What chapter 08 draws: the picture and its words say what the parsers say."""

from __future__ import annotations

import re
from itertools import product

import pytest

from lbcore import show
from lbcore.show import first_flight
from lbcore.show.hearsay_diagram import CLIENTS, LIES, RULES
from lbcore.wire import tls_hello
from lbcore.wire.tls_compose import client_hello, records

EVERY = [show.hearsay(*one) for one in product(RULES, LIES, CLIENTS, range(1, 4), range(4)) if one[4] <= one[3]]


@pytest.mark.parametrize("rule", RULES)
def test_the_marked_entry_is_the_one_believed(rule):
    for one in (one for one in EVERY if one.rule == rule):
        assert (one.entries[one.chosen][0] if one.chosen is not None else None) == one.believed
        assert one._repr_html_().count("▲") == (one.chosen is not None)
        assert one.words in repr(one)


def test_no_rule_is_always_right_and_each_is_fooled_as_it_says():
    def verdicts(**fixed):
        return {one.verdict for one in EVERY if all(getattr(one, name) == value for name, value in fixed.items())}

    assert verdicts(rule="2 proxies", proxies=2, skipped=0) == {"client"}
    assert "lie" in verdicts(rule="2 proxies", proxies=2, skipped=1)
    assert verdicts(rule="networks", client="anywhere") == {"client"}
    assert "lie" in verdicts(rule="networks", client="in the edge's network")
    assert verdicts(rule="leftmost", lie="1.2.3.4") == {"lie"}
    assert verdicts(rule="peer") == {"client", "proxy"}


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("segment", [100, 536, 1460])
def test_the_verdict_on_a_hello_is_the_parsers(seed, segment):
    hello = records(client_hello(post_quantum=True, ech=True, shuffled=True, seed=seed))
    said = first_flight.verdict(hello, segment)
    start, end = first_flight.places(hello)["server name"]
    assert hello[start:end] == b"shop.example"
    with pytest.raises(tls_hello.Incomplete):
        tls_hello.parse(hello[:segment])
    assert (b"shop.example" in hello[:segment]) == (said != "no name in the first segment")


def test_a_map_names_size_and_verdict_of_each():
    hellos = {"small": records(client_hello()), "nameless": records(client_hello(None))}
    drawn = show.hello_map(hellos)
    assert re.search(rf"small: {len(hellos['small'])} bytes, all in the first segment", drawn.alt)
    assert "nameless" in drawn.alt
    assert "there is no name" in drawn.alt


@pytest.mark.parametrize("wrong", [{"rule": "first"}, {"lie": "x"}, {"client": "y"}, {"proxies": 4}, {"skipped": 3}])
def test_a_stage_that_is_not_there_is_named(wrong):
    with pytest.raises(ValueError, match="wanted"):
        show.hearsay(**wrong)
