"""The filters that decide, in the engine, in front of the others: in which order, and what reaches the backend."""

from __future__ import annotations

import gzip
from base64 import b64encode

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lbcore.l7.field import FRAMING, TOKEN, legal
from lbcore.l7.filters import AnyOptions, make
from lbcore.l7.filters.jwt import Jwt
from lbcore.l7.message import Headers, Response
from lbcore.l7.secrets import passwords
from tests.l7.fakes import FakeExchange, request
from tests.l7.filters.test_all import SAMPLE, lines
from tests.l7.filters.test_jwt import SECRET, Clock, token
from tests.l7.live import Seen, answering, backend, get, proxying, say, together

JWT = {
    "kind": "jwt",
    "keys": [{"algorithm": "HS256", "id": "h", "secret": SECRET}],
    "issuer": "https://issuer.example",
    "audience": ["shop"],
    "claims": {"sub": "x-user"},
    "strip": True,
}
BASIC = {"kind": "basic", "users": {"ann": passwords.hashed(b"b", cost=10)}, "user_header": "x-user"}
COMPRESS = {"kind": "compress"}
WAF = {"kind": "waf", "body": 1000}
BY_CLAIM = {"kind": "rate_limit", "rate": 0.01, "burst": 3, "by": "claim", "name": "sub"}
PAGE = b"<p>well</p>" * 300
ANSWER = b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\ncontent-type: text/html\r\n\r\n%b" % (len(PAGE), PAGE)


def row(*options):
    made = [make(one) for one in msgspec.convert(list(options), list[AnyOptions])]
    for one in made:
        if isinstance(one, Jwt):
            one._clock = Clock()
    return tuple(made)


def test_all_in_a_row():
    filters = row(COMPRESS, *SAMPLE, WAF, JWT, BY_CLAIM)

    async def main():
        seen = Seen()
        bearer = f"Authorization: Bearer {token().decode()}"
        async with backend(answering(ANSWER, seen)) as behind, proxying(behind, filters=filters) as (_, port):
            first = await say(port, get("/api/a", bearer, "X-User: root", "Accept-Encoding: gzip", "X_User: root"))
            refused = await say(port, get("/api/a"), get("/api/?q=%3Cscript%3E", bearer))
            more = [await say(port, get("/api/a", bearer)) for _ in range(3)]
        return bytes(seen.all), first, refused, more

    asked, first, refused, more = together(main)
    assert asked.count(b"x-user: ann\r\n") == 3
    assert b"root" not in asked
    assert b"authorization" not in asked.lower()
    assert b"content-encoding: gzip" in first
    assert gzip.decompress(first.partition(b"\r\n\r\n")[2]) == PAGE
    assert refused.startswith(b"HTTP/1.1 401 ")
    assert [answer[9:12] for answer in more] == [b"200", b"200", b"429"]
    assert b"retry-after: " in more[2]


def test_passwords_in_the_engine():
    async def main():
        seen = Seen()
        right = f"Authorization: Basic {b64encode(b'ann:b').decode()}"
        wrong = f"Authorization: Basic {b64encode(b'ann:c').decode()}"
        async with (
            backend(answering(ANSWER, seen)) as behind,
            proxying(behind, filters=row(BASIC)) as (_, port),
        ):
            # one connection: what has to wait is answered in order
            answers = await say(
                port, get("/1", wrong, close=False), get("/2", right, close=False), get("/3", right, close=False), get()
            )
        return bytes(seen.all), answers

    asked, answers = together(main)
    statuses = [part[:3] for part in answers.split(b"HTTP/1.1 ")[1:]]
    assert statuses == [b"401", b"200", b"200", b"401"]
    assert asked.count(b"x-user: ann") == 2
    assert b"uthorization" not in asked


def test_a_bomb_is_not_opened_and_a_long_body_not_read():
    bomb = gzip.compress(bytes(100_000_000), 9)[:900]
    head = b"POST / HTTP/1.1\r\nhost: a\r\nconnection: close\r\ncontent-length: %d\r\n"

    async def main():
        seen = Seen()
        async with backend(answering(ANSWER, seen)) as behind, proxying(behind, filters=row(WAF)) as (_, port):
            answers = [
                await say(port, head % len(bomb) + b"content-encoding: gzip\r\n\r\n" + bomb),
                await say(port, head % 5000 + b"\r\n" + b"x" * 5000),
                await say(port, head % 14 + b"\r\nq=%3Cscript%3E"),
                await say(port, head % 5 + b"\r\nhello"),
            ]
        return bytes(seen.all), [answer[9:12] for answer in answers]

    asked, statuses = together(main)
    assert statuses == [b"415", b"413", b"403", b"200"]
    assert asked.count(b"POST") == 1


@given(lines, lines, st.sampled_from([200, 204, 206, 304, 401, 500]), st.binary(max_size=40).filter(legal))
@settings(deadline=None)
def test_whatever_comes_in_what_goes_out_is_legal(asked, answered, status, credentials):
    for options in ((COMPRESS, WAF, JWT), (COMPRESS, WAF, {"kind": "rate_limit", "rate": 1, "burst": 2})):
        exchange = FakeExchange(request(b"/a?b=c", *asked, (b"authorization", credentials)))
        answer = exchange.passes(*row(*options), answer=Response(status, Headers(answered), b"x" * 2000))
        for name, value in [*exchange.request.headers, *answer.headers]:
            assert TOKEN.fullmatch(name)
            assert name == name.lower()
            assert legal(value)
            assert name not in FRAMING - {b"te"}


@pytest.mark.parametrize("options", [JWT, BASIC, COMPRESS, WAF, BY_CLAIM], ids=lambda options: options["kind"])
def test_close_can_be_called_on_each_and_secrets_do_not_show(options):
    (read,) = msgspec.convert([options], list[AnyOptions])
    assert SECRET not in repr(read)
    assert "$scrypt" not in repr(read)
    one = make(read)
    one.close()
    one.close()
