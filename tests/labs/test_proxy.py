"""Lab 07: its specifications are what the library's router, filters, reader of heads and engine do."""

import asyncio
import multiprocessing
import random
import signal
from contextlib import AsyncExitStack

import pytest

from lbcore.l7.engine.proxy import Proxy, run
from lbcore.l7.errors import Malformed
from lbcore.l7.filters.forwarded import Forwarded, ForwardedOptions
from lbcore.l7.front.door import listen
from lbcore.l7.hop_by_hop import strip_request
from lbcore.l7.http1.requests import RequestReader
from lbcore.l7.limits import Limits
from lbcore.l7.message import Headers, Peer, Request
from lbcore.l7.pools.options import BackendOptions, PoolOptions
from lbcore.l7.pools.pool import Pool
from lbcore.l7.pools.retry import RetryOptions
from lbcore.l7.routing.match import MatchOptions, match
from lbcore.l7.routing.router import Route, Router
from lbcore.l7.target import BadTarget, normal
from lbcore.labs import proxy
from lbcore.labs.answers import proxy as answers
from lbcore.labs.proxy import exchanging, forwarding, live, measuring, routing, world
from lbcore.testbed import aside, smallest
from tests.labs.notebook import cells, run_cell

PEER = Peer("192.0.2.1", 1)


def get(method, host, path):
    return Request(method.encode(), path.encode(), host.encode(), b"http", Headers(), PEER)


def routed(method, host, path, routes):
    """What the library's router says, by longest prefix on the normal path; "refused" where there is none."""

    def options(pattern, prefix, verb):
        hosts, methods = (() if one == "*" else (one,) for one in (pattern, verb))
        return MatchOptions(hosts=hosts, prefix=prefix, methods=methods)

    table = [Route(name, match(options(*conditions)), lambda request: None) for *conditions, name in routes]
    try:
        found = Router(table, order="longest").find(get(method, host, normal(path.encode()).decode()))
    except BadTarget:
        return "refused"
    return found and found.name


def said(function, *given):
    try:
        return function(*given)
    except ValueError:
        return "refused"


@pytest.mark.parametrize("seed", range(10))
def test_routes_are_the_routers(seed):
    for case in routing.route_cases(seed):
        assert said(routing.right_route, *case.arguments) == routed(*case.arguments), case


@pytest.mark.parametrize("seed", range(5))
def test_any_path_has_the_segments_of_its_normal_form(seed):
    rng = random.Random(seed)
    pieces = ["/", "/", "a", "..", ".", "%2e", "%2E", "%41", "%252e", "%20", "%2f", "%5C", "\\", "%", "%4", "~"]
    for _ in range(2000):
        path = "/" + "".join(rng.choices(pieces, k=rng.randrange(8)))
        if "//" in path:
            continue  # the library refuses to walk out of an empty segment, the lab does not know any
        try:  # the lab leaves the letters of an escape as they are
            wanted = [one for one in normal(path.encode()).decode().lower().split("/") if one]
        except BadTarget:
            wanted = "refused"
        found = said(routing.right_segments, path)
        assert (found if found == "refused" else [one.lower() for one in found]) == wanted, path


@pytest.mark.parametrize("seed", range(10))
def test_what_goes_on_is_what_the_proxy_passes_on(seed):
    for case in forwarding.forwarded_cases(seed):
        fields, peer, trusted = case.arguments
        lines = [(name.encode(), value.encode()) for name, value in fields if name != "host"]
        request = Request(b"GET", b"/", b"shop.example", b"http", Headers(lines), Peer(peer, 1))
        strip_request(request.headers)
        exchange = type("Exchange", (), {"request": request, "notes": {}})()
        assert Forwarded(ForwardedOptions(trusted=tuple(trusted))).on_request(exchange) is None
        wanted = [[name.decode(), value.decode()] for name, value in request.headers]
        kept = [one for one in wanted if not one[0].startswith("x-forwarded-")]
        *others, way = forwarding.right_forwarded(*case.arguments)
        assert [one for one in others if one[0] != "host"] == kept
        assert way in wanted


class Reading(RequestReader):
    """Takes note of the length of the body that the library's reader expects."""

    found = "nothing"

    def on_head(self, request):
        self.found = request.length

    def on_data(self, data):
        pass

    def on_end(self, trailers):
        pass


@pytest.mark.parametrize("seed", range(10))
def test_ends_are_those_of_the_librarys_reader(seed):
    for case in measuring.framing_cases(seed):
        (head,) = case.arguments
        reader = Reading(Limits(), PEER, b"http")
        try:
            reader.feed(head.encode("latin-1"))
            wanted = reader.found
        except Malformed:
            wanted = "refused"
        assert said(measuring.right_framing, head) == wanted, head


# --------------------------------------------------------------------------------------------------------- exchanges
FATES = ["works", "closes", "dies", "lost", "breaks"]


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "PATCH"])
@pytest.mark.parametrize("fate", FATES)
def test_orders_are_done_as_often_as_behind_the_engine(method, fate):
    """The book of the lab's specification, and those of real shops behind the book's own proxy."""

    async def through_the_engine():
        shop = live.Shop("abcdefgh", [])
        shop.fates = [fate]
        async with AsyncExitStack() as stack:
            doors = [await stack.enter_async_context(smallest.listening(shop.serve)) for _ in range(3)]
            backends = tuple(BackendOptions(address=f"{host}:{port}") for host, port in doors)
            pool = Pool.build(PoolOptions(name="shop", backends=backends, retry=RetryOptions(attempts=3)))
            route = Route("all", lambda request: True, lambda request: pool)
            engine = await stack.enter_async_context(Proxy(Router([route])))
            door = await listen(engine, "127.0.0.1")
            got = await live.say(door, f"{method} / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n".encode())
        return got, len(shop.done)

    got, done = run(through_the_engine())
    ((wanted, worked, _),) = exchanging.right_exchange([[method, "stays", fate]])
    assert (got[:5], done) == (wanted[:5], worked)
    assert ("cut off" in got) == ("cut off" in wanted)


@pytest.mark.parametrize("answer", answers.RIGHT["exchange"])
def test_the_world_without_sockets_is_the_one_with_them(answer):
    """A script on real connections leaves the same book."""
    script = [["GET", "stays", fate] for fate in FATES] + [["POST", "stays", fate] for fate in FATES]
    wanted = exchanging.right_exchange(script)
    assert world.played(answer)(script) == wanted

    async def played():
        shop, rows = live.Shop("abcdefgh", []), []
        parts = live.Parts(lambda *_: shop.name, lambda fields, *_: fields, measuring.right_framing, answer)
        async with live.standing(parts, [shop], []) as (door, _):
            for method, _, fate in script:
                shop.fates, done = [fate], len(shop.done)
                got = await live.say(door, f"{method} / HTTP/1.1\r\nHost: a\r\n\r\n".encode())
                rows.append([got, len(shop.done) - done])
        return rows, shop.connections

    rows, connections = aside.run(played())
    assert rows == [[got, worked] for got, worked, _ in wanted]
    assert connections == sum(one.startswith("new") for *_, taken in wanted for one in taken)


def test_what_stands_behind_a_wrong_answer_is_shown():
    careless = next(answer for answer, key in answers.WRONG["exchange"] if key == "done_twice")
    rows = {(row[0], row[1]): row for row in proxy.show_exchange(careless).rows}
    assert rows["POST", world.FATES["dies"]][2:4] == ("[200] cart 42", 2)
    right = {(row[0], row[1]): row for row in proxy.show_exchange(answers.RIGHT["exchange"][0]).rows}
    assert right["POST", world.FATES["dies"]][2:4] == ("[502]", 1)


def whole(**instead):
    """Four functions, right ones but for those given."""
    names = ("route", "forwarded", "framing", "exchange")
    return proxy.show_proxy(*(instead.get(name, answers.RIGHT[name][0]) for name in names))


def test_the_whole_proxy_lets_no_request_hide_in_another():
    rows = {row[0]: row[1:] for row in whole().rows}
    assert rows["admin in disguise"][1] == "admin"
    assert rows["one inside another"][:2] == ("[400]", "")
    assert rows["two on one connection"][:2] == ("[200] api [200] site", "api, site")
    assert all(way in ("", "127.0.0.1", "127.0.0.1; 127.0.0.1") for *_, way in rows.values())


def test_the_whole_proxy_shows_what_wrong_parts_let_through():
    disguised = {row[0]: row[1:] for row in whole(route=answers.routing.route_raw).rows}
    assert disguised["admin in disguise"][1] == "files"
    hidden = {row[0]: row[1:] for row in whole(framing=answers.framing.framing_chunks_win).rows}
    assert "admin" in hidden["one inside another"][1]


def test_a_proxy_that_hangs_or_is_no_proxy_is_told():
    async def hangs(method, request, pool, client):
        await asyncio.sleep(3600)

    assert whole(exchange=hangs).key == proxy.show_exchange(hangs).key == "endless"
    for name in ("route", "forwarded", "framing", "exchange"):
        assert whole(**{name: None}).key == "not_a_function"


def test_an_interrupt_leaves_no_process_behind():
    async def hangs(method, request, pool, client):
        await asyncio.sleep(3600)

    before = signal.signal(signal.SIGALRM, signal.default_int_handler)
    try:
        signal.setitimer(signal.ITIMER_REAL, 1.0)
        with pytest.raises(KeyboardInterrupt):
            proxy.show_exchange(hangs)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert not multiprocessing.active_children()


def test_a_proxy_that_hangs_where_there_are_sockets_is_shown_once():
    """It holds back what it has until more comes, and nothing more comes."""

    async def waits(method, request, pool, client):
        backend = await pool.take()
        await backend.send(request)
        await client.send((await backend.head()).head)
        while piece := await backend.read(65536):
            await client.send(piece)

    shown = proxy.show_exchange(waits)
    assert [row[2] for row in shown.rows] == [f"[200] cart 42, {live.HANGS}"]


def test_stubs_of_all_exercises_but_the_last_do_not_hide_it():
    scope = {}
    for source in cells("07-route-and-proxy"):
        if "async def exchange" in source or source.startswith(("import", "from")):
            run_cell(source, scope)
    assert proxy.check_exchange(scope["exchange"]).passed


def test_the_line_that_raised_is_the_students_not_the_worlds():
    async def forgets(method, request, pool, client):
        backend = pool.take()
        await backend.send(request)

    verdict = proxy.check_exchange(forgets)
    assert verdict.key == "not_awaited"
    assert "The line: await backend.send(request)" in verdict.text
