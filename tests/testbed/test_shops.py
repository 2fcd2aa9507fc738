"""Shops and stores: the same promises whichever store it is; what each of them loses."""

from __future__ import annotations

import asyncio
from shutil import which

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from lbcore.testbed import shops
from lbcore.testbed.session_stores import Memory, Redis, Sqlite, StoreGone, redis_server
from lbcore.testbed.shops import Browser

NAMES = st.sampled_from(["a", "b", "ä", "a' OR 1=1 --"])


class StoresAgree(RuleBasedStateMachine):
    """Memory and SQLite, one clock: the same answers whatever is asked, and those of a plain dictionary."""

    @initialize()
    def begin(self):
        self.now, self.model = 0.0, {}
        self.stores = [Memory(10, lambda: self.now), Sqlite(":memory:", 10, lambda: self.now)]

    def teardown(self):
        self.stores[1].close()

    def alive(self, name):
        items, until = self.model.get(name, (None, 0))
        return items if until > self.now else None

    @rule(name=NAMES)
    def get(self, name):
        assert [store.get(name) for store in self.stores] == [self.alive(name)] * 2

    @rule(name=NAMES, items=st.integers(0, 1000))
    def put(self, name, items):
        for store in self.stores:
            store.put(name, items)
        self.model[name] = items, self.now + 10

    @rule(name=NAMES)
    def add(self, name):
        wanted = (self.alive(name) or 0) + 1
        assert [store.add(name) for store in self.stores] == [wanted] * 2
        self.model[name] = wanted, self.now + 10

    @rule(name=NAMES)
    def forget(self, name):
        for store in self.stores:
            store.forget(name)
        self.model.pop(name, None)

    @rule(seconds=st.sampled_from([1.0, 9.0, 10.0]))
    def wait(self, seconds):
        self.now += seconds

    @rule()
    def sweep(self):
        self.stores[1].sweep()


StoresAgree.TestCase.settings = settings(max_examples=30, stateful_step_count=25, deadline=None)
test_stores_agree = StoresAgree.TestCase


def test_two_servers_share_a_file(tmp_path):
    one, other = Sqlite(tmp_path / "s"), Sqlite(tmp_path / "s")
    assert [one.add("x"), other.add("x"), one.get("x")] == [1, 2, 2]
    one.close()
    with pytest.raises(StoreGone):
        one.get("x")
    assert other.get("x") == 2
    other.close()


def test_redis_keeps_the_same_promises():
    if which("redis-server") is None:
        pytest.skip("there is no redis-server on PATH")
    with redis_server() as port:
        one, other = Redis(port), Redis(port)
        assert one.get("x") is None
        assert [one.add("x"), other.add("x"), one.get("x")] == [1, 2, 2]
        one.put("x", 7)
        assert other.get("x") == 7
        other.forget("x")
        assert one.get("x") is None
        short = Redis(port, idle=0.001)  # a second at the least
        short.put("y", 1)
        assert 0 < short._server.pttl("y") <= 1000
    with pytest.raises(StoreGone):
        one.get("x")


def test_a_name_that_the_shop_did_not_give_is_not_taken_over():
    async def scene():
        async with shops.opened(["ant"]) as (shop,):
            browser = Browser(shop.address)
            browser.jar["sid"] = "chosen-by-an-attacker"
            answer = await browser.get("/add")
            assert (answer.shop, answer.items, answer.status) == ("ant", 1, 200)
            assert browser.jar["sid"] != "chosen-by-an-attacker"
            assert len(browser.jar["sid"]) == 32

    asyncio.run(scene())


def test_who_keeps_no_cookies_begins_anew_each_time():
    async def scene():
        async with shops.opened(["ant"]) as (shop,):
            answers = await Browser(shop.address, keeps_cookies=False).visit("/add", "/add")
            assert [answer.items for answer in answers] == [1, 1]

    asyncio.run(scene())


def test_a_shop_that_crashed_is_gone():
    async def scene():
        async with shops.opened(["ant", "bee"]) as (ant, bee):
            await ant.crash()
            with pytest.raises(ConnectionError):
                await Browser(ant.address).chat(1)
            assert await Browser(bee.address).chat(2) == ["bee", "bee"]

    asyncio.run(scene())


@pytest.mark.parametrize("field", ["", "a=b", "a=b; c=d", 'x="q', "=;;=", "\x00", "a" * 5000])
def test_no_cookie_field_is_too_odd_to_be_read(field):
    assert isinstance(shops.cookies(field), dict)
