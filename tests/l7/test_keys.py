"""JWK sets: what is taken from them, when they are read again, and what holds while they cannot be."""

from __future__ import annotations

import asyncio
import contextlib
import http.server
import json
import threading
import time

import jwt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lbcore.l7.filters.jwt import Jwt, JwtOptions
from lbcore.l7.message import Response
from lbcore.l7.secrets import key_source
from lbcore.l7.secrets.keys import LARGEST, MOST, read_set
from tests.l7.fakes import FakeExchange, request
from tests.l7.filters.test_jwt import EC, NOW, OTHER_RSA, RSA, SAID, Clock, jwk


def keyset(*keys):
    return json.dumps({"keys": keys}).encode()


def test_keys_that_tokens_can_be_checked_with_and_no_others():
    good = [jwk(RSA, "r"), jwk(EC, "e", alg="ES256", use="sig", key_ops=["verify"], x5c=["?"])]
    other = [
        {"kty": "oct", "k": "c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0", "kid": "o", "alg": "HS256"},
        {"kty": "OKP", "crv": "Ed25519", "x": "AA", "kid": "k"},
        jwk(RSA, "enc", use="enc"),
        jwk(RSA, "ps", alg="PS256"),
        jwk(RSA, "hs", alg="HS256"),
        jwk(RSA, "ops", key_ops=["encrypt"]),
        {"kty": "RSA", "n": "AQAB", "e": "AQAB", "kid": "small"},
        {"kty": "EC", "crv": "P-256", "x": "AA", "y": "AA", "kid": "off the curve"},
        {"kty": "RSA", "kid": "empty"},
        {"kty": 7},
        jwk(RSA, "private") | {"d": "AQAB"},
        {},
    ]
    assert [(key.algorithm, key.id) for key in read_set(keyset(*other, *good))] == [("RS256", "r"), ("ES256", "e")]


@pytest.mark.parametrize(
    "data",
    [b"", b"[]", b"{}", b'{"keys": 1}', b'{"keys": [1]}', b"\xff", keyset(*[{}] * (MOST + 1)), b" " * (LARGEST + 1),
     b'{"keys":' + b"[" * 100_000, keyset(jwk(RSA, "a"), jwk(OTHER_RSA, "a"))],
)  # fmt: skip
def test_sets_that_are_none(data):
    with pytest.raises(ValueError, match="JWK set"):
        read_set(data)


def test_one_name_may_stand_for_a_key_of_each_kind():
    """RFC 7517, 4.5: equivalent alternatives. The rest of the set must not be lost for it."""
    found = read_set(keyset(jwk(RSA, "a"), jwk(EC, "a"), jwk(OTHER_RSA, "b")))
    assert [(key.algorithm, key.id) for key in found] == [("RS256", "a"), ("ES256", "a"), ("RS256", "b")]


@given(st.recursive(st.none() | st.text(max_size=5) | st.integers(), lambda x: st.lists(x) | st.dictionaries(
    st.sampled_from(["keys", "kty", "kid", "n", "e", "crv", "x", "y", "alg", "use"]), x)))  # fmt: skip
def test_whatever_stands_in_a_set_it_is_read_or_refused(value):
    for data in (json.dumps(value), json.dumps({"keys": [value]}), json.dumps({"keys": [{"kty": "RSA", "n": value}]})):
        with contextlib.suppress(ValueError):
            assert read_set(data.encode()) == ()


class Issuer:
    """A source that counts."""

    def __init__(self, *keys):
        self.data, self.asked, self.fails = keyset(*keys), 0, False

    async def __call__(self):
        self.asked += 1
        if self.fails:
            raise ConnectionRefusedError("down")
        return self.data


def make(issuer, clock):
    one = Jwt(JwtOptions(jwks_file="-", audience=("shop",), refresh=300, cooldown=30, stale=1000), clock)
    one.ring._load = issuer
    return one


def signed(key, kid):
    algorithm = "ES256" if key is EC else "RS256"
    return jwt.encode(SAID | {"exp": NOW + 1e6}, key, algorithm, headers={"kid": kid}).encode()


async def status(one, sent):
    said = one.on_request(FakeExchange(request(b"/", (b"authorization", b"Bearer " + sent))))
    if said is not None and not isinstance(said, Response):
        said = await said
    for _ in range(3):
        await asyncio.sleep(0)  # what goes on behind
    return 200 if said is None else said.status


def test_a_changed_set_is_found_and_a_withdrawn_key_holds_no_more():
    async def main():
        clock, issuer = Clock(), Issuer(jwk(RSA, "a"))
        one = make(issuer, clock)
        assert await status(one, signed(RSA, "a")) == 200
        assert issuer.asked == 1
        issuer.data = keyset(jwk(RSA, "a"), jwk(EC, "b"))
        clock.now += 31
        assert await status(one, signed(EC, "b")) == 200  # an unknown name: it is read at once
        assert issuer.asked == 2
        issuer.data = keyset(jwk(EC, "b"))
        clock.now += 301
        assert await status(one, signed(RSA, "a")) == 200  # begins to read, waits for nothing
        assert await status(one, signed(RSA, "a")) == 401  # remembered, but by a key that is gone
        assert await status(one, signed(EC, "b")) == 200

    asyncio.run(main())


def test_made_up_names_do_not_make_the_proxy_ask_each_time():
    async def main():
        clock, issuer = Clock(), Issuer(jwk(RSA, "a"))
        one = make(issuer, clock)
        for number in range(50):
            clock.now += 1
            assert await status(one, signed(RSA, f"x{number}")) == 401
        assert issuer.asked == 2

    asyncio.run(main())


def test_many_who_wait_for_keys_make_one_reading():
    async def main():
        issuer = Issuer(jwk(RSA, "a"))
        one = make(issuer, Clock())
        assert await asyncio.gather(*(status(one, signed(RSA, "a")) for _ in range(20))) == [200] * 20
        assert issuer.asked == 1

    asyncio.run(main())


def test_an_issuer_that_is_down_changes_nothing_until_its_keys_are_too_old():
    async def main():
        clock, issuer = Clock(), Issuer(jwk(RSA, "a"))
        one = make(issuer, clock)
        assert await status(one, signed(RSA, "a")) == 200
        issuer.fails = True
        clock.now += 900
        assert await status(one, signed(RSA, "a")) == 200
        assert await status(one, signed(RSA, "a")) == 200
        clock.now += 101
        assert await status(one, signed(RSA, "a")) == 401
        issuer.fails = False
        clock.now += 31
        assert await status(one, signed(RSA, "a")) == 200

    asyncio.run(main())


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        if self.path == "/moved":
            self.send_response(302)
            self.send_header("location", "/keys")
            self.end_headers()
            return
        self.send_response(200 if self.path != "/error" else 500)
        self.end_headers()
        if self.path == "/endless":
            for _ in range(100):
                self.wfile.write(b" " * 65536)
        elif self.path == "/slow":
            for _ in range(40):
                self.wfile.write(b" ")
                self.wfile.flush()
                time.sleep(0.05)
        else:
            self.wfile.write(keyset(jwk(OTHER_RSA, "web")))

    def log_message(self, *_):
        pass


@pytest.fixture
def issuer():
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_set_from_a_url(issuer, monkeypatch):
    one = Jwt(JwtOptions(jwks_url=f"{issuer}/keys", audience=("shop",)), Clock())
    assert asyncio.run(status(one, signed(OTHER_RSA, "web"))) == 200
    monkeypatch.setattr(key_source, "PATIENCE", 0.2)
    for path, error in (("/moved", OSError), ("/error", OSError), ("/slow", TimeoutError)):
        with pytest.raises(error):
            asyncio.run(key_source.from_url(issuer + path)())
    with pytest.raises(ValueError, match="bytes"):
        read_set(asyncio.run(key_source.from_url(f"{issuer}/endless")()))


def test_a_set_from_a_file(tmp_path):
    path = tmp_path / "keys.json"
    one = Jwt(JwtOptions(jwks_file=str(path), audience=("shop",)), Clock())
    assert asyncio.run(status(one, signed(RSA, "a"))) == 401
    path.write_bytes(keyset(jwk(RSA, "a")))
    one = Jwt(JwtOptions(jwks_file=str(path), audience=("shop",)), Clock())
    assert asyncio.run(status(one, signed(RSA, "a"))) == 200
