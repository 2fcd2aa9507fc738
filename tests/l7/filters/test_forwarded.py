"""Who is believed, and what backends are told: with a plain model of the rule, and clients that lie."""

from __future__ import annotations

from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lbcore.l7 import notes
from lbcore.l7.field import legal
from lbcore.l7.filters.forwarded import Forwarded, ForwardedOptions, spellings
from tests.l7.fakes import FakeExchange, request

OURS = "10.0.0.0/8"
EVERY = {"x_forwarded": True, "forwarded": True, "real_ip": True}
LIES = [
    (b"x-forwarded-for", b"6.6.6.6"), (b"x_forwarded_for", b"6.6.6.6"), (b"x-forwarded_for", b"6.6.6.6"),
    (b"forwarded", b"for=6.6.6.6;proto=https"), (b"x-real-ip", b"6.6.6.6"), (b"x-forwarded-proto", b"https"),
    (b"x-forwarded-host", b"evil.example"), (b"x-forwarded-port", b"6666"), (b"true-client-ip", b"6.6.6.6"),
    (b"x-client-ip", b"6.6.6.6"), (b"x-forwarded-ssl", b"on"),
]  # fmt: skip


def told(address, *lines, authority=b"www.example.org", scheme=b"http", **options):
    exchange = FakeExchange(request(b"/", *lines, address=address, authority=authority, scheme=scheme))
    return exchange, exchange.passes(Forwarded(ForwardedOptions(**options)))


@pytest.mark.parametrize("options", [{}, {"trusted": (OURS,)}, {"trusted": (OURS,), "field": "forwarded"}])
def test_nothing_that_a_stranger_says_gets_through(options):
    exchange, _ = told("192.0.2.7", *LIES, (b"accept", b"*/*"), **options, **EVERY)
    assert exchange.request.headers == [
        (b"accept", b"*/*"),
        (b"x-forwarded-for", b"192.0.2.7"),
        (b"x-forwarded-proto", b"http"),
        (b"x-forwarded-host", b"www.example.org"),
        (b"x-forwarded-port", b"80"),
        (b"forwarded", b"for=192.0.2.7;proto=http;host=www.example.org"),
        (b"x-real-ip", b"192.0.2.7"),
    ]
    assert notes.client(exchange) == "192.0.2.7"
    assert notes.scheme(exchange) == b"http"


addresses = st.sampled_from(
    ["10.0.0.1", "10.0.0.2", "192.0.2.1", "198.51.100.9", "2001:db8::1", "unknown", "x;y", "a b"]
)


@given(st.lists(addresses, max_size=6), st.sampled_from(["10.0.0.1", "192.0.2.1", "::ffff:10.0.0.9"]))
def test_networks_the_model_walks_from_the_right(entries, peer):
    exchange, _ = told(peer, (b"x-forwarded-for", ", ".join(entries).encode()), trusted=(OURS,), **EVERY)

    def plain(text):
        try:
            found = ip_address(text)
        except ValueError:
            return None
        return str(getattr(found, "ipv4_mapped", None) or found)

    way = [plain(peer)]
    for entry in reversed(entries):
        if not way[0] or not way[0].startswith("10."):
            break
        way.insert(0, plain(entry))
    wanted = way if way[0] else [plain(peer)]
    assert exchange.request.headers.get(b"x-forwarded-for").decode().split(", ") == wanted
    assert exchange.request.headers.get(b"x-real-ip").decode() == wanted[0] == notes.client(exchange)


@given(st.lists(addresses, max_size=5), st.integers(1, 4))
def test_hops_are_counted_from_the_right(entries, hops):
    exchange, _ = told("10.0.0.1", (b"x-forwarded-for", ",".join(entries).encode()), hops=hops)
    there = [*entries, "10.0.0.1"]
    client = there[-1 - hops] if hops < len(there) else "10.0.0.1"
    wanted = client if client not in {"unknown", "x;y", "a b"} else "10.0.0.1"
    assert notes.client(exchange) == wanted


def test_what_a_trusted_proxy_says_of_scheme_host_and_port_is_passed_on():
    lines = [
        (b"x-forwarded-for", b"6.6.6.6, 192.0.2.1"),
        (b"x-forwarded-proto", b"HTTPS"),
        (b"x-forwarded-host", b"A.example:8443"),
    ]
    exchange, _ = told("10.0.0.1", *lines, trusted=(OURS,), **EVERY)
    get = exchange.request.headers.get
    assert get(b"x-forwarded-for") == b"192.0.2.1, 10.0.0.1"  # what the client had written is cut off
    assert (get(b"x-forwarded-proto"), get(b"x-forwarded-host")) == (b"https", b"a.example:8443")
    assert get(b"x-forwarded-port") == b"443"
    assert get(b"forwarded") == b'for=192.0.2.1;proto=https;host="a.example:8443", for=10.0.0.1'
    assert exchange.notes[notes.CLIENT] == notes.Client("192.0.2.1", b"https", b"a.example:8443", 443)


@pytest.mark.parametrize(
    "line",
    [(b"x-forwarded-proto", b"https, http"), (b"x-forwarded-proto", b"javascript"), (b"x-forwarded-host", b"a/b"),
     (b"x-forwarded-host", b"a,b"), (b"x-forwarded-port", b"0"), (b"x-forwarded-port", b"99999"),
     (b"x-forwarded-port", b"8 0")],
)  # fmt: skip
def test_what_cannot_be_is_not_passed_on_even_from_ours(line):
    exchange, _ = told("10.0.0.1", line, trusted=(OURS,))
    get = exchange.request.headers.get
    assert (get(b"x-forwarded-proto"), get(b"x-forwarded-host"), get(b"x-forwarded-port")) == (
        b"http",
        b"www.example.org",
        b"80",
    )


def test_two_lines_leave_open_which_is_right():
    lines = [(b"x-forwarded-proto", b"https"), (b"x-forwarded-proto", b"https")]
    exchange, _ = told("10.0.0.1", *lines, trusted=(OURS,))
    assert exchange.request.headers.all(b"x-forwarded-proto") == [b"http"]


def test_only_the_field_that_our_proxies_write_is_read():
    lines = [(b"forwarded", b'for="[2001:db8::1]:99"'), (b"x-forwarded-for", b"6.6.6.6")]
    exchange, _ = told("10.0.0.1", *lines, trusted=(OURS,), field="forwarded", forwarded=True)
    assert notes.client(exchange) == "2001:db8::1"
    assert exchange.request.headers.get(b"x-forwarded-for") == b"2001:db8::1, 10.0.0.1"


@pytest.mark.parametrize(
    ("value", "client"),
    [
        (b"for=192.0.2.1", ("192.0.2.1", b"http", b"www.example.org", 80)),
        (b"for=192.0.2.1;proto=https;host=a.example", ("192.0.2.1", b"https", b"a.example", 443)),
        (
            b'for=192.0.2.1;proto=https;host="a.example:8443", for=10.0.0.2',
            ("192.0.2.1", b"https", b"a.example:8443", 443),
        ),
        (b"for=6.6.6.6;proto=https;host=evil.example, for=192.0.2.1", ("192.0.2.1", b"http", b"www.example.org", 80)),
        (b"for=_hidden;proto=https", ("10.0.0.1", b"https", b"www.example.org", 443)),
        (b'for=192.0.2.1;proto=ftp;host="a/b"', ("192.0.2.1", b"http", b"www.example.org", 80)),
    ],
)
def test_scheme_and_host_come_from_the_field_that_our_proxies_write_too(value, client):
    """A proxy that writes Forwarded passes on what its client says in X-Forwarded-Proto and -Host."""
    lies = [(b"x-forwarded-proto", b"https"), (b"x-forwarded-host", b"evil.example"), (b"x-forwarded-port", b"6666")]
    exchange, _ = told("10.0.0.1", (b"forwarded", value), *lies, trusted=(OURS,), field="forwarded")
    assert exchange.notes[notes.CLIENT] == notes.Client(*client)


def test_a_list_that_cannot_be_read_is_refused_from_ours_and_ignored_from_strangers():
    line = (b"forwarded", b'for=1.2.3.4, for="6.6.6.6')
    assert told("10.0.0.1", line, trusted=(OURS,), field="forwarded")[1].status == 400
    assert told("192.0.2.7", line, trusted=(OURS,), field="forwarded")[1].status == 200


@given(
    st.lists(st.tuples(st.sampled_from([name for name, _ in LIES]), st.binary(max_size=30).filter(legal))),
    st.sampled_from(["10.0.0.1", "192.0.2.7", "", "fe80::1%eth0"]),
    st.sampled_from([{"trusted": (OURS,)}, {"trusted": (OURS,), "field": "forwarded"}, {"hops": 1}, {}]),
)
def test_what_goes_out_is_legal_whatever_comes_in(lines, address, options):
    exchange, answer = told(address, *lines, **options, **EVERY)
    assert all(legal(value) for _, value in answer.headers)
    if answer.status == 200:
        assert all(legal(value) for _, value in exchange.request.headers)
        assert len({name for name, _ in exchange.request.headers}) == len(exchange.request.headers)


def test_spellings_that_cgi_cannot_tell_apart():
    assert spellings("X-Real-IP") == {b"x-real-ip", b"x_real-ip", b"x-real_ip", b"x_real_ip"}


@pytest.mark.parametrize(
    "wrong", [{"trusted": ("10.0.0.1/8",)}, {"trusted": ("x",)}, {"hops": -1}, {"hops": 1, "trusted": (OURS,)}]
)
def test_options_that_cannot_be(wrong):
    with pytest.raises(ValueError, match="must"):
        ForwardedOptions(**wrong)
