"""Hellos written by hand: our parser reads what was meant, and a real server takes them for a client's."""

from __future__ import annotations

import ssl

import pytest
import trustme
from hypothesis import given
from hypothesis import strategies as st

from lbcore.wire import tls_hello
from lbcore.wire.tls_compose import client_hello, handshake, records

KINDS = [
    {},
    {"post_quantum": True},
    {"ech": True},
    {"shuffled": True, "post_quantum": True, "ech": True, "seed": 3},
    {"session_id": False},
    {"alpn": ()},
]


@given(
    name=st.none() | st.sampled_from(["shop.example", "a.b.c", "Upper.EXAMPLE"]),
    alpn=st.lists(st.sampled_from(["h2", "http/1.1", "acme-tls/1"]), unique=True),
    flags=st.fixed_dictionaries({k: st.booleans() for k in ("post_quantum", "ech", "shuffled", "session_id")}),
    seed=st.integers(0, 99),
    size=st.sampled_from([1, 4, 100, 2**14]),
)
def test_it_says_what_was_meant(name, alpn, flags, seed, size):
    data = records(client_hello(name, alpn=alpn, **flags, seed=seed), size)
    assert data == records(client_hello(name, alpn=alpn, **flags, seed=seed), size)
    hello = tls_hello.parse(data)
    assert hello.size == len(data)
    assert hello.server_name == (name.lower() if name else None)
    assert hello.alpn == tuple(alpn)
    assert hello.ech is flags["ech"]
    assert len(hello.session_id) == 32 * flags["session_id"]
    assert [share.size for share in hello.key_shares] == [1216] * flags["post_quantum"] + [32]


@pytest.mark.parametrize("kind", KINDS, ids=str)
@pytest.mark.parametrize("size", [2**14, 50])
def test_a_real_server_answers(kind, size):
    """OpenSSL gives a ServerHello: handshake record, message type 2."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    trustme.CA().issue_cert("shop.example").configure_cert(context)
    names = []
    context.sni_callback = lambda connection, name, _: names.append(name)
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    server = context.wrap_bio(incoming, outgoing, server_side=True)
    incoming.write(records(client_hello(**kind), size))
    with pytest.raises(ssl.SSLWantReadError):
        server.do_handshake()
    answer = outgoing.read()
    assert (answer[0], answer[5]) == (22, 2)
    assert names == ["shop.example"]


def test_a_handshake_message_says_its_size():
    assert handshake(b"abc", 2) == b"\x02\x00\x00\x03abc"
