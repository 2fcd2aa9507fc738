"""The parts without sockets: options, opening, routes, backends, limits."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lbcore.l4.relay.backends import PICKERS, Backends, key_of
from lbcore.l4.relay.limits import Room
from lbcore.l4.relay.opening import Opening
from lbcore.l4.relay.options import BadOptions, Limits, Listener, Options, Pool, Route, Target, Timeouts, endpoint
from lbcore.l4.relay.router import Router, patterns
from lbcore.wire import tls_hello
from lbcore.wire.errors import Malformed
from lbcore.wire.proxy_protocol import Header, Inet, encode
from tests.l4.relay.stage import hello, in_records, with_extension

WEB = Pool("web", [Target("127.0.0.1:1")])
GOOD = Options([Listener("web")], [WEB])


# ------------------------------------------------------------------------------------------------------------- options
@pytest.mark.parametrize(
    ("changed", "key"),
    [
        ({"listeners": []}, "listeners"),
        ({"listeners": [Listener("nobody")]}, "listeners[0].pool"),
        ({"listeners": [Listener("")]}, "listeners[0].pool"),
        ({"listeners": [Listener("web", "0.0.0.0:80")]}, "listeners[0].address"),
        ({"listeners": [Listener("web", "localhost:80")]}, "listeners[0].address"),
        ({"listeners": [Listener("web", "::1:80")]}, "listeners[0].address"),
        ({"listeners": [Listener("web", "127.0.0.1")]}, "listeners[0].address"),
        ({"listeners": [Listener("web", "127.0.0.1:65536")]}, "listeners[0].address"),
        ({"listeners": [Listener("web", "127.0.0.1:+1")]}, "listeners[0].address"),
        ({"listeners": [Listener("web", protocol="sctp")]}, "listeners[0].protocol"),
        ({"listeners": [Listener("web", accept_proxy=["10.0.0.1/8"])]}, "listeners[0].accept_proxy[0]"),
        ({"listeners": [Listener("web", routes=[Route("api")])]}, "listeners[0].routes[0].pool"),
        (
            {"listeners": [Listener("web", routes=[Route("web", names=["Shop.example"])])]},
            "listeners[0].routes[0].names",
        ),
        ({"listeners": [Listener("web", routes=[Route("web", names=["*"])])]}, "listeners[0].routes[0].names"),
        ({"listeners": [Listener("web", protocol="udp", routes=[Route("web")])]}, "listeners[0].routes"),
        ({"listeners": [Listener("web", "0.0.0.0:53", "udp")], "expose": True}, "listeners[0].address"),
        (
            {"listeners": [Listener("web", protocol="udp")], "pools": [replace(WEB, send_proxy=1)]},
            "pools.web.send_proxy",
        ),
        ({"pools": [WEB, WEB]}, "pools[1].name"),
        ({"pools": [replace(WEB, targets=[])]}, "pools.web.targets"),
        ({"pools": [replace(WEB, targets=[Target("10.0.0.1:0")])]}, "pools.web.targets[0].address"),
        ({"pools": [replace(WEB, targets=[Target("[::1]:8")] * 2)]}, "pools.web.targets[1].address"),
        ({"pools": [replace(WEB, targets=[Target("[::1]:8", 0)])]}, "pools.web.targets[0].weight"),
        ({"pools": [replace(WEB, picker="best")]}, "pools.web.picker"),
        ({"pools": [replace(WEB, hash_on="cookie")]}, "pools.web.hash_on"),
        ({"pools": [replace(WEB, send_proxy=3)]}, "pools.web.send_proxy"),
        ({"pools": [replace(WEB, send_proxy=1, proxy_extras=["crc32c"])]}, "pools.web.proxy_extras"),
        ({"pools": [replace(WEB, send_proxy=2, proxy_extras=["alpn"])]}, "pools.web.proxy_extras"),
        ({"limits": Limits(connections=-1)}, "limits.connections"),
        ({"limits": Limits(attempts=0)}, "limits.attempts"),
        ({"timeouts": Timeouts(idle=0)}, "timeouts.idle"),
        ({"timeouts": Timeouts(drain=float("nan"))}, "timeouts.drain"),
        ({"timeouts": Timeouts(connect=float("inf"))}, "timeouts.connect"),
        ({"seed": -1}, "seed"),
    ],
)
def test_what_cannot_be_is_named_by_its_key(changed, key):
    GOOD.check()
    with pytest.raises(BadOptions) as caught:
        replace(GOOD, **changed).check()
    assert caught.value.key == key


def test_beyond_loopback_only_when_told():
    replace(GOOD, listeners=[Listener("web", "0.0.0.0:80")], expose=True).check()
    assert endpoint("[2001:DB8::0]:1") == ("2001:db8::", 1)


# ------------------------------------------------------------------------------------------------------------- opening
@given(st.lists(st.integers(1, 400)), st.booleans(), st.booleans(), st.binary(max_size=50))
def test_an_opening_is_the_same_however_it_is_cut(cuts, proxy, peek, rest):
    header = Header(2, "TCP4", Inet("192.0.2.1", 1), Inet("192.0.2.2", 2))
    data = (encode(header) if proxy else b"") + (hello() if peek else b"") + rest
    opening, at = Opening(proxy=proxy, hello=peek), 0
    for size in [*cuts, len(data)]:
        if not opening.done:
            opening.feed(data[at : at + size])
            at += size
    assert opening.done
    assert opening.header == (header if proxy else None)
    assert (opening.hello.server_name if opening.hello else None) == ("shop.example" if peek else None)
    assert bytes(opening.pending) + data[at:] == data[len(encode(header)) if proxy else 0 :]


@given(st.binary(max_size=200), st.lists(st.integers(1, 20)))
def test_bytes_without_sense_end_an_opening_and_never_crash_it(data, cuts):
    for prefix in (b"", b"\x16\x03\x01", encode(Header(1)), b"\r\n\r\n\0\r\nQUIT\n\x21\x11"):
        opening, at = Opening(proxy=True, hello=True), 0
        whole = prefix + data
        try:
            for size in [*cuts, len(whole)]:
                opening.feed(whole[at : at + size])
                at += size
        except Malformed:
            continue
        assert len(opening.pending) <= len(whole)


def test_a_post_quantum_hello_in_single_bytes():
    """1216 bytes of key share, cut into records of 100 bytes and fed byte by byte."""
    share = b"\x11\xec" + (1216).to_bytes(2, "big") + bytes(1216)
    records = in_records(with_extension(hello(), 51, len(share).to_bytes(2, "big") + share), 100)
    opening = Opening(proxy=False, hello=True)
    assert [opening.feed(bytes([byte])) for byte in records] == [False] * (len(records) - 1) + [True]
    assert opening.hello.server_name == "shop.example"
    assert opening.hello.key_shares == ((tls_hello.X25519MLKEM768, 1216),)
    assert opening.pending == records


# -------------------------------------------------------------------------------------------------------------- router
def said(name, alpn=(), ech=False):
    return replace(tls_hello.parse(hello("x.example", ())), server_name=name, alpn=alpn, ech=ech)


def test_the_most_specific_name_wins_then_the_first_route():
    routes = [
        Route("any"),
        Route("below", names=["*.shop.example"]),
        Route("h2", names=["shop.example"], alpn=["h2"]),
        Route("shop", names=["shop.example"]),
        Route("front", names=["front.example"], ech=True),
    ]
    router = Router(routes, "default")
    for name, alpn, ech, pool in (
        ("shop.example", (), False, "shop"),
        ("shop.example", ("http/1.1", "h2"), False, "h2"),
        ("a.b.shop.example", ("h2",), False, "below"),
        ("notshop.example", (), False, "any"),
        ("front.example", (), True, "front"),
        ("front.example", (), False, "any"),
        (None, (), False, "any"),
    ):
        assert router.pool(said(name, alpn, ech)) == pool, name
    assert Router(routes[1:], "default").pool(said("x.example")) == "default"
    assert router.pool(None) == "default"


labels = st.lists(st.sampled_from(["a", "b", "shop", "example"]), min_size=1, max_size=4).map(".".join)


@given(labels, st.lists(st.tuples(st.booleans(), labels), max_size=6))
def test_a_route_is_found_as_a_search_through_all_would_find_it(name, names):
    routes = [Route(str(i), names=[f"*.{tail}" if below else tail]) for i, (below, tail) in enumerate(names)]
    fitting = [
        (len(tail) + (not below) * 1000, -i)
        for i, (below, tail) in enumerate(names)
        if (name.endswith(f".{tail}") if below else name == tail)
    ]
    wanted = str(-max(fitting)[1]) if fitting else "default"
    assert Router(routes, "default").pool(said(name)) == wanted
    assert len(list(patterns(name))) == name.count(".") + 2


# ------------------------------------------------------------------------------------------------------------ backends
NAMES = [f"10.0.0.{i}:80" for i in range(1, 6)]


@pytest.mark.parametrize("picker", PICKERS)
def test_every_backend_is_chosen_and_counted(picker):
    backends = Backends(NAMES, [1.0] * 5, picker, 1.0, lambda: 0.0)
    chosen = [backends.choose(key_of("connection", Inet("10.1.1.1", i), Inet("10.2.2.2", 2), 0)) for i in range(300)]
    assert set(chosen) == set(range(5))
    assert backends.open == [chosen.count(i) for i in range(5)]
    for number in chosen:
        backends.done(number)
    assert backends.open == [0] * 5


@pytest.mark.parametrize("picker", PICKERS)
@given(down=st.sets(st.integers(0, 4)), resting=st.sets(st.integers(0, 4)), tried=st.sets(st.integers(0, 4)))
def test_who_is_drained_or_tried_is_never_chosen_and_who_failed_only_last(picker, down, resting, tried):
    now = 0.0
    backends = Backends(NAMES, [1.0] * 5, picker, 1.0, lambda: now)
    for number in down:
        backends.set_state(number, "draining")
    for number in resting:
        backends.failed(number)
    left = set(range(5)) - down - tried
    for key in range(20):
        number = backends.choose(key, tried)
        assert (number is None) == (not left)
        if number is not None:
            assert number in (left - resting or left)
            backends.done(number)
    now = 1.0
    assert {backends.choose(key, tried) for key in range(0, 1 << 62, 1 << 54)} >= ({None} if not left else set())
    if left and picker == "round_robin":
        assert {backends.choose(0, tried) for _ in range(20)} == left


@pytest.mark.parametrize("picker", ["maglev", "ring", "rendezvous"])
def test_when_one_drains_the_flows_of_others_stay_and_come_to_the_same_on_every_relay(picker):
    keys = [key_of("connection", Inet("10.1.1.1", i), Inet("10.2.2.2", 2), 7) for i in range(500)]
    one, other = (Backends(NAMES, [1.0] * 5, picker, 1.0, lambda: 0.0) for _ in range(2))
    before = [one.choose(key) for key in keys]
    one.set_state(2, "draining"), other.set_state(2, "draining")
    after = [one.choose(key) for key in keys]
    assert after == [other.choose(key) for key in keys]
    assert all(a == b for a, b in zip(before, after, strict=True) if a != 2)
    moved = [a for a, b in zip(after, before, strict=True) if b == 2]
    assert set(moved) == {0, 1, 3, 4}


def test_the_source_alone_or_the_whole_connection():
    a, b, to = Inet("10.1.1.1", 1), Inet("10.1.1.1", 2), Inet("10.2.2.2", 2)
    assert key_of("source", a, to, 0) == key_of("source", b, to, 0)
    assert key_of("connection", a, to, 0) != key_of("connection", b, to, 0)
    assert key_of("source", a, to, 0) != key_of("source", a, to, 1)


# -------------------------------------------------------------------------------------------------------------- limits
def test_room_remembers_only_who_is_there():
    async def scene():
        room = Room(2, 1)
        room.taken = 2
        third = asyncio.create_task(room.free())
        await asyncio.sleep(0)
        assert (room.admit("a"), room.admit("a"), room.admit("b")) == (True, False, True)
        room.dismiss("a"), room.dismiss("b")
        assert room.by_source == {}
        assert not third.done()
        room.leave()
        await third
        assert room.left == 1

    asyncio.run(scene())
