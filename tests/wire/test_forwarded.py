"""X-Forwarded-For and Forwarded: no client can name itself, however it tries, and the RFC's examples."""

from __future__ import annotations

from ipaddress import ip_address, ip_network

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from lbcore.wire.errors import Malformed
from lbcore.wire.forwarded import CHAINS, address_of, client_of, element, forwarded, x_forwarded_for

OURS = [ip_network("10.0.0.0/8"), ip_network("2001:db8:a::/48")]
PROXIES = st.sampled_from(["10.0.0.1", "10.9.8.7", "2001:db8:a::5", "::ffff:10.0.0.2"])
OUTSIDE = st.ip_addresses().filter(
    lambda a: not any(a in net for net in OURS) and not (a.version == 6 and (a.ipv4_mapped or a.scope_id))
)
VALUE = st.text(st.characters(min_codepoint=0x20, max_codepoint=0xFF, exclude_characters="\x7f"), max_size=60)
APPEND = {"x-forwarded-for": lambda peer: peer, "forwarded": lambda peer: element(peer, proto="https")}


def through(field, lines, ends, in_one_line):
    """(peer, the field's values) at the backend: each of the proxies appends who called it. ends: client, proxies."""
    for caller in ends[:-1]:
        entry = APPEND[field](caller)
        lines = [*lines[:-1], f"{lines[-1]}, {entry}"] if lines and in_one_line else [*lines, entry]
    return ends[-1], lines


@pytest.mark.parametrize("field", CHAINS)
@given(
    lies=st.lists(VALUE | st.just("10.0.0.1") | st.just("for=10.0.0.1"), max_size=3),
    client=OUTSIDE.map(str),
    proxies=st.lists(PROXIES, max_size=4),
    in_one_line=st.booleans(),
)
@example(lies=['for="'], client="198.51.100.9", proxies=["10.0.0.1", "10.0.0.2"], in_one_line=True)
@example(lies=["1.2.3.4,10.0.0.1"], client="198.51.100.9", proxies=["10.0.0.1"], in_one_line=True)
@example(lies=[","], client="198.51.100.9", proxies=["10.0.0.1"], in_one_line=True)
def test_whatever_a_client_writes_it_is_itself(field, lies, client, proxies, in_one_line):
    peer, values = through(field, lies, [client, *proxies], in_one_line)
    for trusted in (OURS, len(proxies)):
        try:
            assert client_of(peer, values, trusted, field) == str(ip_address(client))
        except Malformed:
            assert field == "forwarded"
            with pytest.raises(Malformed):
                forwarded(lies)


def test_leftmost_is_what_the_client_wrote():
    """Why one reads from the right."""
    peer, values = through("x-forwarded-for", ["1.2.3.4"], ["198.51.100.9", "10.0.0.1", "10.0.0.2"], True)
    assert x_forwarded_for(values) == [
        "1.2.3.4",
        "198.51.100.9",
        "10.0.0.1",
    ]
    assert client_of(peer, values, 3) == "1.2.3.4"  # one too many
    assert client_of(peer, values, 1) == "10.0.0.1"  # one too few


def test_a_way_around_a_proxy_breaks_the_count_and_not_the_networks():
    peer, values = through("x-forwarded-for", ["1.2.3.4"], ["198.51.100.9", "10.0.0.2"], True)
    assert client_of(peer, values, 2) == "1.2.3.4"
    assert client_of(peer, values, OURS) == "198.51.100.9"
    assert client_of(peer, [], 2) is None


def test_a_trusted_proxy_that_does_not_know_names_nobody():
    for entry in ("unknown", "_hidden", "", "for"):
        value = f"1.2.3.4, {entry or 'x'}"
        assert client_of("10.0.0.1", [value], OURS) is None
        assert client_of("10.0.0.1", [value], 1) is None
    assert client_of("10.0.0.1", ["for=1.2.3.4, proto=https"], OURS, "forwarded") is None


def test_all_of_the_chain_is_ours():
    """A client inside: nobody left of it."""
    assert client_of("10.0.0.1", ["10.0.0.7"], OURS) == "10.0.0.7"
    assert client_of("10.0.0.1", [], OURS) == "10.0.0.1"


def test_the_rfcs_examples():
    """RFC 7239 sections 4, 6.3, 7.1 and 7.4."""
    assert forwarded(['for="_gazonk"']) == [{"for": "_gazonk"}]
    assert forwarded(['For="[2001:db8:cafe::17]:4711"']) == [{"for": "[2001:db8:cafe::17]:4711"}]
    assert forwarded(["for=192.0.2.60;proto=http;by=203.0.113.43"]) == [
        {"for": "192.0.2.60", "proto": "http", "by": "203.0.113.43"}
    ]
    three = ['for=192.0.2.43,for="[2001:db8:cafe::17]",for=unknown']
    assert forwarded(three) == forwarded(['for=192.0.2.43, for="[2001:db8:cafe::17]"', "for=unknown"])
    assert forwarded(["for=_hidden, for=_SEVKISEK"]) == [{"for": "_hidden"}, {"for": "_SEVKISEK"}]
    old, new = ["192.0.2.43, 2001:db8:cafe::17"], ['for=192.0.2.43, for="[2001:db8:cafe::17]"']
    assert CHAINS["x-forwarded-for"](old) == CHAINS["forwarded"](new) == ["192.0.2.43", "2001:db8:cafe::17"]


@pytest.mark.parametrize(
    "value",
    ["for", "for=", "=a", 'for="', 'for="a', 'for="a"b', "for=a b", "for=a;for=b", "for=a;;for=b", "for =a", 'for="\\',
     "for=[::1]", "for=1.2.3.4:80", 'a\x00="b"'],
)  # fmt: skip
def test_what_is_no_list(value):
    with pytest.raises(Malformed):
        forwarded(["for=192.0.2.1, " + value])


def test_a_pair_may_be_left_out():
    """RFC 7239 section 4: between semicolons there may be nothing; an element of nothing names nobody."""
    for value in ("for=192.0.2.1;by=a", "for=192.0.2.1;;by=a", ";for=192.0.2.1 ;by=a;", "for=192.0.2.1;; ;by=a"):
        assert forwarded([f"{value}, for=b"]) == [{"for": "192.0.2.1", "by": "a"}, {"for": "b"}]
    assert CHAINS["forwarded"](["for=192.0.2.1, ;, for=192.0.2.2"]) == ["192.0.2.1", None, "192.0.2.2"]


@given(st.lists(st.dictionaries(st.sampled_from(["by", "host", "proto", "secret"]), VALUE, max_size=4), max_size=4))
def test_what_is_written_can_be_read(saids):
    lines = [element("2001:db8::1", **said) for said in saids]
    wanted = [{"for": "[2001:db8::1]", **said} for said in saids]
    assert forwarded(lines) == forwarded([", ".join(lines)]) == wanted


@pytest.mark.parametrize(
    ("node", "address"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("192.0.2.7:65535", "192.0.2.7"),
        ("192.0.2.7:_port", "192.0.2.7"),
        ("[2001:DB8:0::1]:80", "2001:db8::1"),
        ("2001:db8::1", "2001:db8::1"),
        ("::ffff:10.0.0.1", "10.0.0.1"),
        ("[::ffff:10.0.0.1]", "10.0.0.1"),
        *((wrong, None) for wrong in ("unknown", "_x", "192.0.2.007", "192.0.2.7:", "192.0.2.7:x", "1", "[192.0.2.7]")),
        *((wrong, None) for wrong in ("fe80::1%eth0", "[::1", "::1]:80", "1.2.3.4.5", "192.0.2.7 ", "\u0661.2.3.4")),
    ],
)
def test_addresses_of_entries(node, address):
    assert address_of(node) == address


@given(peer=st.ip_addresses().map(str), lines=st.lists(VALUE, max_size=3), trusted=st.integers(0, 4) | st.just(OURS))
def test_any_list_gives_an_address_nobody_or_a_refusal(peer, lines, trusted):
    for field in CHAINS:
        try:
            client = client_of(peer, lines, trusted, field)
        except Malformed:
            assert field == "forwarded"
            continue
        assert client is None or str(ip_address(client)) == client


def test_what_the_caller_gets_wrong_is_told():
    with pytest.raises(ValueError, match="x-forwarded-for, forwarded"):
        client_of("10.0.0.1", [], 1, "x-real-ip")
    with pytest.raises(ValueError, match="peer is 'web'"):
        client_of("web", [], 1)
    with pytest.raises(ValueError, match="trusted is -1"):
        client_of("10.0.0.1", [], -1)
