"""Tokens: which pass, which never, and what the backend is told."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json

import jwt
import msgspec
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from hypothesis import given, settings
from hypothesis import strategies as st

from lbcore.l7.filters.jwt import CLAIMS, Jwt, JwtOptions, KeyOptions
from lbcore.l7.message import Response
from tests.l7.fakes import FakeExchange, request

NOW = 1_800_000_000.0
SECRET = "0123456789abcdef0123456789abcdef"
RSA = rsa.generate_private_key(65537, 2048)
OTHER_RSA = rsa.generate_private_key(65537, 2048)
EC = ec.generate_private_key(ec.SECP256R1())
SAID = {"sub": "ann", "exp": NOW + 60, "iss": "https://issuer.example", "aud": "shop"}


def pem(key):
    kind = serialization.PublicFormat.SubjectPublicKeyInfo
    return key.public_key().public_bytes(serialization.Encoding.PEM, kind).decode()


def jwk(key, kid, **more):
    kind = jwt.algorithms.RSAAlgorithm if isinstance(key, rsa.RSAPrivateKey) else jwt.algorithms.ECAlgorithm
    return kind.to_jwk(key.public_key(), as_dict=True) | {"kid": kid, **more}


KEYS = (
    KeyOptions(algorithm="HS256", id="h", secret=SECRET),
    KeyOptions(algorithm="RS256", id="r", public=pem(RSA)),
    KeyOptions(algorithm="RS256", id="r2", public=pem(OTHER_RSA)),
    KeyOptions(algorithm="ES256", id="e", public=pem(EC)),
)
OPTIONS = JwtOptions(
    keys=KEYS,
    issuer="https://issuer.example",
    audience=("shop", "store"),
    claims={"sub": "X-User", "roles": "X-Roles"},
    leeway=5,
)
SIGNERS = {"h": ("HS256", SECRET), "r": ("RS256", RSA), "r2": ("RS256", OTHER_RSA), "e": ("ES256", EC)}


class Clock:
    now = NOW

    def __call__(self):
        return self.now


def token(kid="h", *, head=None, **claims):
    algorithm, key = SIGNERS[kid]
    said = {name: value for name, value in (SAID | claims).items() if value is not None}
    return jwt.encode(said, key, algorithm, headers={"kid": kid} | (head or {})).encode()


def by_hand(head, claims, sign=lambda data: b""):
    """A token that no library would make."""
    parts = [base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=") for part in (head, claims)]
    data = b".".join(parts)
    return data + b"." + base64.urlsafe_b64encode(sign(data)).rstrip(b"=")


def filter(options=OPTIONS, clock=None):
    return Jwt(options, clock or Clock())


def asked(one, sent, *lines):
    exchange = FakeExchange(request(b"/", (b"authorization", b"Bearer " + sent), *lines))

    async def main():
        said = one.on_request(exchange)
        return said if said is None or isinstance(said, Response) else await said

    return asyncio.run(main()), exchange


def refused(sent, one=None):
    answer, exchange = asked(one or filter(), sent)
    assert answer is not None
    assert answer.status == 401
    assert CLAIMS not in exchange.notes
    assert b'error="invalid_token"' in answer.headers.get(b"www-authenticate")
    return answer.body.decode()


@pytest.mark.parametrize("kid", SIGNERS)
def test_each_algorithm_and_each_key(kid):
    lies = [(b"x-user", b"root"), (b"x_user", b"root"), (b"x-roles", b"admin"), (b"accept", b"*/*")]
    one, sent = filter(), token(kid)
    for _ in range(2):  # checked, then remembered
        answer, exchange = asked(one, sent, *lies)
        assert answer is None
        assert exchange.request.headers[1:] == [(b"accept", b"*/*"), (b"x-user", b"ann")]
        assert exchange.notes[CLAIMS]["sub"] == "ann"


def test_a_token_without_a_name_is_tried_with_the_keys_of_its_algorithm():
    said = jwt.encode(SAID, OTHER_RSA, "RS256").encode()
    assert asked(filter(), said)[0] is None
    stranger = rsa.generate_private_key(65537, 2048)
    assert "signature" in refused(jwt.encode(SAID, stranger, "RS256").encode())


def test_haproxy_3_4_6_alg_none_never_passes():
    """Named after HAProxy 3.4.6: a token that says of itself that it needs no signature."""
    for name in ("none", "None", "NONE", "nOnE", "", None, 0, [], ["none"], "HS256 ", "none\0"):
        for sign in (lambda data: b"", lambda data: b"x"):
            for extra in ({}, {"kid": "h"}, {"kid": "r"}):
                refused(by_hand({"alg": name, "typ": "JWT", **extra}, SAID, sign))
    assert "algorithm" in refused(by_hand({"alg": "none"}, SAID, lambda data: b"x"))
    refused(token().rpartition(b".")[0] + b".")
    refused(by_hand({"typ": "JWT", "kid": "h"}, SAID, lambda data: b"x"))


def test_a_public_key_is_never_a_secret():
    """Key confusion: signed by HMAC with what everybody knows, the public key, in each of its spellings."""
    for key, kid in ((RSA, "r"), (EC, "e")):
        for text in (pem(key).encode(), pem(key).strip().encode(), pem(key).replace("\n", "\r\n").encode()):
            sign = lambda data, text=text: hmac.digest(text, data, "sha256")  # noqa: E731
            for head in ({"kid": kid}, {}):
                refused(by_hand({"alg": "HS256", **head}, SAID, sign))
    with pytest.raises(ValueError, match="secret"):
        KeyOptions(algorithm="HS256", secret=pem(RSA))


def test_a_name_does_not_lead_to_a_key_of_another_algorithm():
    for kid in SIGNERS:
        for other in SIGNERS:
            if SIGNERS[kid][0] != SIGNERS[other][0]:
                assert "key is not known" in refused(token(kid, head={"kid": other}))


@pytest.mark.parametrize(
    ("claims", "words"),
    [
        ({"exp": NOW - 6}, "expired"),
        ({"exp": NOW - 5}, "expired"),
        ({"exp": None}, "no exp"),
        ({"exp": "soon"}, "exp"),
        ({"exp": True}, "exp"),
        ({"exp": float("nan")}, "exp"),
        ({"exp": float("inf")}, "exp"),
        ({"exp": 1e300}, "exp"),
        ({"nbf": NOW + 6}, "not hold yet"),
        ({"nbf": float("nan")}, "nbf"),
        ({"iat": NOW + 6}, "not hold yet"),
        ({"iss": "https://evil.example"}, "issuer"),
        ({"iss": None}, ""),
        ({"iss": ["https://issuer.example"]}, ""),
        ({"aud": "bank"}, "audience"),
        ({"aud": ["bank"]}, "audience"),
        ({"aud": None}, ""),
        ({"aud": {"shop": 1}}, ""),
        ({"sub": "ann\r\nx-admin: 1"}, "passed on"),
        ({"sub": " ann"}, "passed on"),
        ({"sub": "\ud800"}, "passed on"),
    ],
)
def test_what_a_token_must_say(claims, words):
    head = {"alg": "HS256", "kid": "h"}
    said = {name: value for name, value in (SAID | claims).items() if value is not None}
    assert words in refused(by_hand(head, said, lambda data: hmac.digest(SECRET.encode(), data, "sha256")))


@pytest.mark.parametrize("claims", [{"exp": NOW - 4}, {"nbf": NOW + 4}, {"aud": ["bank", "store"]}, {"iat": NOW}])
def test_clocks_may_differ_a_little_and_one_audience_is_enough(claims):
    assert asked(filter(), token(**claims))[0] is None


def test_a_token_for_somebody_does_not_pass_where_nobody_is_named():
    assert "audience" in refused(token(), filter(JwtOptions(keys=KEYS)))


def test_what_is_remembered_expires_all_the_same():
    clock = Clock()
    one, sent = filter(clock=clock), token()
    assert asked(one, sent)[0] is None
    clock.now = NOW + 64.9
    assert asked(one, sent)[0] is None
    clock.now = NOW + 65
    assert "expired" in refused(sent, one)
    assert not one._passed


def test_what_is_remembered_is_bounded_and_right_tokens_only():
    one = filter(msgspec.structs.replace(OPTIONS, remember=3))
    for number in range(10):
        assert asked(one, token(sub=str(number)))[0] is None
        refused(token(sub=str(number)) + b"A", one)
    assert len(one._passed) == 3


def test_other_life_times_and_sizes():
    one = filter(msgspec.structs.replace(OPTIONS, lifetime=50, largest=400))
    assert "too long" in refused(token(exp=NOW + 56), one)
    assert asked(one, token(exp=NOW + 40))[0] is None
    assert "too long" in refused(token(exp=NOW + 40, more="x" * 400), one)


@pytest.mark.parametrize("head", [{"crit": ["exp"]}, {"crit": []}, {"b64": False}, {"kid": 7}, {"kid": "../../etc"}])
def test_heads_that_do_not_pass(head):
    sign = lambda data: hmac.digest(SECRET.encode(), data, "sha256")  # noqa: E731
    refused(by_hand({"alg": "HS256", "kid": "h", **head}, SAID, sign))


def test_keys_that_a_token_brings_along_are_not_looked_at():
    mine = rsa.generate_private_key(65537, 2048)
    head = {"jwk": jwk(mine, "r"), "jku": "http://127.0.0.1:1/", "kid": "r"}
    assert "signature" in refused(jwt.encode(SAID, mine, "RS256", headers=head).encode())


def test_duplicate_authorization_is_refused_even_if_both_are_right():
    sent = (b"authorization", b"Bearer " + token())
    for lines in ((sent, sent), (sent, (b"authorization", b"Basic YTpi")), ((b"authorization", b"x"), sent)):
        assert filter().on_request(FakeExchange(request(b"/", *lines))).status == 400


@pytest.mark.parametrize("value", [None, b"", b"Bearer", b"Basic YTpi", token(), b"Bearer,"])
def test_no_token_is_no_error_but_a_question(value):
    lines = [] if value is None else [(b"authorization", value)]
    answer = filter().on_request(FakeExchange(request(b"/", *lines)))
    assert (answer.status, answer.headers.get(b"www-authenticate")) == (401, b'Bearer realm="api"')


@given(st.binary(max_size=200) | st.text("AZaz09-_.=", max_size=80).map(str.encode))
@settings(max_examples=200, deadline=None)
def test_nothing_made_up_passes_or_breaks(data):
    answer = FILTER.on_request(FakeExchange(request(b"/", (b"authorization", b"Bearer " + data))))
    assert answer.status == 401


@given(st.integers(0, 10_000), st.integers(1, 255))
@settings(max_examples=100, deadline=None)
def test_a_changed_letter_is_a_wrong_token(at, change):
    """But for bits of base64 that mean nothing: what is read is the same then."""
    sent = GOOD[at % 4]
    at %= len(sent)
    changed = sent[:at] + bytes([sent[at] ^ change]) + sent[at + 1 :]
    answer = FILTER.on_request(FakeExchange(request(b"/", (b"authorization", b"Bearer " + changed))))
    if answer is None:
        assert at == len(sent) - 1
    else:
        assert answer.status == 401


FILTER = filter(msgspec.structs.replace(OPTIONS, remember=0))
GOOD = [token(kid) for kid in SIGNERS]


def test_claims_that_are_no_strings_go_as_json():
    _, exchange = asked(filter(), token(roles=["a", "ü"], sub="Jürgen"))
    assert exchange.request.headers.get(b"x-roles") == b'["a","\\u00fc"]'
    assert exchange.request.headers.get(b"x-user") == "Jürgen".encode()


def test_strip_keeps_the_token_from_the_backend():
    _, exchange = asked(filter(msgspec.structs.replace(OPTIONS, strip=True)), token())
    assert exchange.request.headers == [(b"x-user", b"ann")]


def test_secrets_are_not_shown():
    one = filter()
    assert SECRET not in repr(OPTIONS) + repr(KEYS) + repr(one.ring._fixed)
    with pytest.raises(ValueError, match="32") as caught:
        KeyOptions(algorithm="HS256", secret="hunter2")
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    "options",
    [
        {"algorithm": "HS256"},
        {"algorithm": "HS256", "secret": SECRET, "secret_file": "x"},
        {"algorithm": "RS256", "secret": SECRET},
        {"algorithm": "ES256", "public": pem(RSA)},
        {"algorithm": "RS256", "public": pem(EC)},
        {"algorithm": "RS256", "public": pem(rsa.generate_private_key(65537, 1024))},
        {"algorithm": "ES256", "public": pem(ec.generate_private_key(ec.SECP384R1()))},
        {"algorithm": "RS256", "public": "hello"},
    ],
)
def test_keys_are_checked(options):
    with pytest.raises(ValueError, match="must"):
        KeyOptions(**options)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"keys": KEYS, "jwks_file": "x"},
        {"jwks_url": "http://issuer.example/jwks"},
        {"jwks_url": "file:///etc/passwd"},
        {"jwks_url": "https://[issuer.example"},
        {"jwks_url": "https://issuer.example:port/"},
        {"keys": (KEYS[0], KEYS[0])},
        {"keys": KEYS, "claims": {"sub": "host"}},
        {"keys": KEYS, "leeway": 1000},
        {"keys": KEYS, "refresh": float("nan")},
    ],
)
def test_options_are_checked(options):
    with pytest.raises(ValueError, match="must"):
        JwtOptions(**options)


def test_keys_from_files(tmp_path):
    (tmp_path / "s").write_text(SECRET + "\n")
    (tmp_path / "p").write_text(pem(EC))
    keys = (
        KeyOptions(algorithm="HS256", id="h", secret_file=str(tmp_path / "s")),
        KeyOptions(algorithm="ES256", id="e", public_file=str(tmp_path / "p")),
    )
    one = filter(msgspec.structs.replace(OPTIONS, keys=keys))
    assert asked(one, token("h"))[0] is None
    assert asked(one, token("e"))[0] is None
    assert hashlib.sha256(SECRET.encode()).hexdigest() not in repr(one.__dict__)
