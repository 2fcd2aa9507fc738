"""The router against one that asks every route in turn; and what each condition takes and refuses."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import replace
from urllib.parse import unquote_to_bytes

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lbcore.l7.message import Headers, Peer, Request
from lbcore.l7.routing.match import FieldOptions, MatchOptions, match
from lbcore.l7.routing.router import Route, Router


def request(target: str = "/", host: str = "shop.example", method: str = "GET", *lines: tuple[str, str]) -> Request:
    headers = Headers((name.encode(), value.encode()) for name, value in lines)
    return Request(method.encode(), target.encode(), host.encode(), b"http", headers, Peer("127.0.0.1", 1))


def route(name: str, options: MatchOptions) -> Route:
    return Route(name, match(options), lambda request: None)


def router(options: Iterable[MatchOptions], order: str = "first") -> Router:
    return Router([route(str(number), one) for number, one in enumerate(options)], order=order)


# The oracle: conditions in their plainest form, over text, one route after the other.


FIELDS = ("headers", "query", "cookies")


def fits_host(pattern: str, host: str) -> bool:
    if pattern.startswith("*."):
        return len(host) <= 253 and re.fullmatch(r".+\." + re.escape(pattern[2:]), host, re.DOTALL) is not None
    return pattern == host


def values(options: FieldOptions, where: str, asked: Request) -> list[str]:
    if where == "headers":
        return [value.decode() for name, value in asked.headers if name.decode() == options.name.lower()]
    if where == "cookies":
        lines = [value.decode() for name, value in asked.headers if name == b"cookie"]
        pairs = [pair.strip(" ").split("=", 1) for line in lines for pair in line.split(";") if "=" in pair]
        return [value for name, value in pairs if name == options.name]
    query = asked.target.decode().split("?", 1)[1] if b"?" in asked.target else ""
    found = []
    for pair in query.split("&"):
        name, _, value = pair.replace("+", " ").partition("=")
        if unquote_to_bytes(name).decode() == options.name:
            found.append(unquote_to_bytes(value).decode())
    return found


def fits_field(options: FieldOptions, where: str, asked: Request) -> bool:
    there = values(options, where, asked)
    if options.value is not None:
        return options.value in there
    if options.regex is not None:
        return any(re.fullmatch(options.regex, value) for value in there)
    return bool(there) == options.present


def fits(options: MatchOptions, asked: Request) -> bool:
    path = asked.target.decode().split("?", 1)[0]
    host = asked.authority.decode().split(":")[0].rstrip(".")
    segments = (options.prefix or "").rstrip("/").split("/")
    return all((
        not options.hosts or any(fits_host(pattern, host) for pattern in options.hosts),
        options.path in (None, path),
        not options.prefix or path.split("/")[: len(segments)] == segments,
        options.regex is None or re.fullmatch(options.regex, path) is not None,
        not options.methods or asked.method.decode() in options.methods,
        *(fits_field(one, where, asked) for where in FIELDS for one in getattr(options, where)),
    ))  # fmt: skip


def breadth(options: MatchOptions, host: str) -> tuple[object, ...]:
    """Of those that fit, the smallest is the most specific."""
    patterns = [pattern for pattern in options.hosts if fits_host(pattern, host)]
    by_host = min(((pattern[0] == "*", -len(pattern)) for pattern in patterns), default=(2, 0))
    prefix = len((options.prefix or "").rstrip("/"))
    by_path = 0 if options.path is not None else 1 if prefix else 2 if options.regex is not None else 3
    others = len(options.headers) + len(options.query) + len(options.cookies) + bool(options.methods)
    return *by_host[:1], by_host[1] if by_host[0] else 0, by_path, -prefix, -others


def plainly(options: list[MatchOptions], order: str, asked: Request) -> str | None:
    found = [(number, one) for number, one in enumerate(options) if fits(one, asked)]
    host = asked.authority.decode().split(":")[0].rstrip(".")
    if order == "longest":
        found.sort(key=lambda entry: breadth(entry[1], host))
    return str(found[0][0]) if found else None


names = st.sampled_from(["a", "b", "ab", "a.b", "b.a.b", "a-b.b", "b.b.b.b"])
hosts = st.one_of(names, names.map("*.{}".format))
segments = st.lists(st.sampled_from(["a", "b", "ab", "", "a+", "."]), max_size=4)
paths = segments.map(lambda parts: "/" + "/".join(parts))
tests = st.one_of(
    st.builds(FieldOptions, name=st.sampled_from(["x", "y"])),
    st.builds(FieldOptions, name=st.sampled_from(["x", "y"]), value=st.sampled_from(["", "a", "a b"])),
    st.builds(FieldOptions, name=st.sampled_from(["x", "y"]), regex=st.sampled_from(["a.*", "", "a|ab", "b*"])),
    st.builds(FieldOptions, name=st.sampled_from(["x", "y"]), present=st.booleans()),
)


@st.composite
def conditions(draw: st.DrawFn) -> MatchOptions:
    regexes = st.sampled_from(["/a.*", "/(a|ab)", "/a/b|/b", ".*", "/a", "/b+/?"])
    path = draw(st.sampled_from([{}, {"path": paths}, {"prefix": paths}, {"regex": regexes}]))
    some = {name: st.lists(tests, max_size=2).map(tuple) for name in FIELDS}
    return MatchOptions(
        hosts=tuple(draw(st.lists(hosts, max_size=2))),
        methods=tuple(draw(st.lists(st.sampled_from(["GET", "POST"]), max_size=1))),
        **{name: draw(strategy) for name, strategy in path.items()},
        **{name: draw(some[name]) for name in draw(st.sets(st.sampled_from(list(some)), max_size=1))},
    )


@st.composite
def requests(draw: st.DrawFn) -> Request:
    lines = draw(st.lists(st.tuples(st.sampled_from(["x", "y"]), st.sampled_from(["a", "", "ab", "b"])), max_size=2))
    jar = draw(st.lists(st.sampled_from(["x=a", "x=", "y=ab", "z", "y"]), max_size=2))
    asks = draw(st.lists(st.sampled_from(["x=a", "x", "y=a+b", "%78=%61", "", "y=ab=b"]), max_size=2))
    target = draw(paths) + ("?" + "&".join(asks) if asks else "")
    host = draw(names) + draw(st.sampled_from(["", "", ".", ":80", ".:80"]))
    cookies = [("cookie", "; ".join(jar))] if jar else []
    return request(target, host, draw(st.sampled_from(["GET", "POST"])), *lines, *cookies)


@given(
    st.lists(conditions(), max_size=8),
    st.lists(requests(), min_size=1, max_size=8),
    st.sampled_from(["first", "longest"]),
)
def test_the_tables_find_what_asking_every_route_finds(
    options: list[MatchOptions], asked: list[Request], order: str
) -> None:
    routes = router(options, order)
    dead = {one.name for one in routes.unreachable()}
    for one in asked:
        found = routes.find(one)
        assert (found.name if found else None) == plainly(options, order, one)
        assert found is None or found.name not in dead


@given(conditions(), requests())
def test_a_match_by_itself_says_the_same(options: MatchOptions, asked: Request) -> None:
    assert match(options)(asked) == fits(options, asked)


@given(st.lists(conditions(), max_size=5), st.sampled_from(["first", "longest"]))
def test_a_route_twice_is_unreachable_once(options: list[MatchOptions], order: str) -> None:
    everything = [*options, MatchOptions(), MatchOptions()]
    dead = router(everything, order).unreachable()
    assert str(len(options) + 1) in {one.name for one in dead}
    assert len(dead) < len(everything)


def field(name: str, **more: object) -> tuple[FieldOptions]:
    return (FieldOptions(name=name, **more),)


GRPC = ("content-type", "application/grpc+proto")
CONDITIONS: dict[str, tuple[MatchOptions, list[Request], list[Request]]] = {
    "a host": (
        MatchOptions(hosts=("a.example",)),
        [request(host="a.example"), request(host="a.example:8080"), request(host="a.example.")],
        [request(host="b.a.example"), request(host="a.example.org"), request(host=""), request(host="xa.example")],
    ),
    "an address": (
        MatchOptions(hosts=("127.0.0.1", "0:0::1")),
        [request(host="127.0.0.1:80"), request(host="[::1]"), request(host="[::1]:80")],
        [request(host="127.0.0.11"), request(host="::1"), request(host="[::1")],
    ),
    "all below a host": (
        MatchOptions(hosts=("*.a.example",)),
        [request(host="b.a.example"), request(host="c.b.a.example:80")],
        [request(host="a.example"), request(host=".a.example"), request(host="ba.example"),
         request(host="x" * 250 + ".a.example")],
    ),
    "a path": (
        MatchOptions(path="/a"),
        [request("/a"), request("/a?b"), request("/a?/b")],
        [request("/a/"), request("/A"), request("/"), request("*")],
    ),
    "a prefix": (
        MatchOptions(prefix="/a"),
        [request("/a"), request("/a/"), request("/a/b/c?d"), request("/a?x")],
        [request("/ab"), request("/"), request("/b/a"), request("a")],
    ),
    "a prefix with a slash": (
        MatchOptions(prefix="/a/"), [request("/a"), request("/a/"), request("/a/b")], [request("/ab")],
    ),
    "a whole path by expression": (
        MatchOptions(regex="/(a|ab)"),
        [request("/a"), request("/ab")],
        [request("/abc"), request("x/a"), request("/a\n")],
    ),
    "methods": (
        MatchOptions(methods=("GET", "BREW")), [request(), request(method="BREW")], [request(method="get")],
    ),
    "a service": (
        MatchOptions(grpc="pkg.Shop"),
        [request("/pkg.Shop/Buy", "h", "POST", GRPC),
         request("/pkg.Shop/Sell", "h", "POST", ("content-type", "application/grpc"))],
        [request("/pkg.Shop/Buy", "h", "POST"), request("/pkg.Shop/Buy", "h", "GET", GRPC),
         request("/pkg.Shopping/Buy", "h", "POST", GRPC),
         request("/pkg.Shop/Buy", "h", "POST", ("content-type", "application/grpc-web"))],
    ),
    "a method of a service": (
        MatchOptions(grpc="pkg.Shop/Buy"),
        [request("/pkg.Shop/Buy", "h", "POST", GRPC)],
        [request("/pkg.Shop/Sell", "h", "POST", GRPC), request("/pkg.Shop/Buy/x", "h", "POST", GRPC)],
    ),
    "a header": (
        MatchOptions(headers=field("X-Beta", value="1")),
        [request("/", "h", "GET", ("x-beta", "0"), ("x-beta", "1"))],
        [request(), request("/", "h", "GET", ("x-beta", "11"))],
    ),
    "no header": (
        MatchOptions(headers=field("x-beta", present=False)), [request()], [request("/", "h", "GET", ("x-beta", ""))],
    ),
    "a cookie": (
        MatchOptions(cookies=field("side", regex="c.*")),
        [request("/", "h", "GET", ("cookie", "a=b; side=canary"))],
        [request("/", "h", "GET", ("cookie", "aside=canary")), request("/", "h", "GET", ("cookie", "side=xc"))],
    ),
    "a parameter": (
        MatchOptions(query=field("q", value="a b&c")),
        [request("/?q=a+b%26c"), request("/?x&q=a%20b%26c&q=2"), request("/?%71=a+b%26c")],
        [request("/?q=a+b&c"), request("/?Q=a+b%26c"), request("/q=a+b%26c")],
    ),
    "a parameter without a value": (
        MatchOptions(query=field("q")), [request("/?q"), request("/?a&q=1")], [request("/?qq")],
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CONDITIONS)
def test_a_condition_takes_and_refuses(name: str) -> None:
    options, takes, refuses = CONDITIONS[name]
    one = router([options])
    assert all(one.find(asked) for asked in takes)
    assert not any(one.find(asked) for asked in refuses)


def test_the_longest_is_found_whatever_the_order() -> None:
    options = [
        MatchOptions(), MatchOptions(prefix="/"), MatchOptions(regex="/a/.*"), MatchOptions(prefix="/a"),
        MatchOptions(prefix="/a/b"), MatchOptions(prefix="/a/b", headers=field("x")), MatchOptions(path="/a/b"),
        MatchOptions(hosts=("*.example",)), MatchOptions(hosts=("shop.example",), prefix="/z"),
    ]  # fmt: skip
    found = {
        request("/a/b").target: "6", request("/a/b/c").target: "4", request("/a/c").target: "3",
        request("/c").target: "0", request("/z").target: "0",
    }  # fmt: skip
    for target, name in found.items():
        assert router(options, "longest").find(request(target.decode(), "other")).name == name
    assert router(options, "longest").find(request("/a/b/c", "other", "GET", ("x", ""))).name == "5"
    assert router(options, "longest").find(request("/a/b")).name == "7"
    assert router(options, "longest").find(request("/z/a")).name == "8"
    assert router(options).find(request("/a/b")).name == "0"


def test_a_function_is_a_condition_too() -> None:
    odd = Route("odd", lambda asked: len(asked.target) % 2 == 1, lambda asked: None)
    one = Router([odd, route("even", MatchOptions())])
    assert [one.find(request(target)).name for target in ("/", "/a", "/ab")] == ["odd", "even", "odd"]
    assert one.unreachable() == []


def test_many_segments_and_labels_cost_no_more_than_the_configuration_has() -> None:
    """What a client sends is looked at only as deep as routes are: the work is counted, not timed."""

    class Counted(dict[bytes, object]):
        asked = 0

        def get(self, key: bytes, default: object = None) -> object:
            self.asked += 1
            return super().get(key, default)

    one = router([MatchOptions(prefix="/a/b"), MatchOptions(hosts=("*.b.example",), prefix="/a")])
    for paths in (*one._wildcards.values(), one._others):
        assert paths.longest <= 4
    counted = Counted(one._others.prefixes)
    assert replace(one._others, prefixes=counted).under(b"/a" * 10_000) == ()
    assert counted.asked <= 2
    one._wildcards = hosts = Counted(one._wildcards)  # type: ignore[misc]
    assert one.find(request("/", "a." * 5000 + "example")) is None
    assert hosts.asked == 0
    assert one.find(request("/a", "a." * 100 + "b.example")).name == "1"
    assert hosts.asked <= 127
