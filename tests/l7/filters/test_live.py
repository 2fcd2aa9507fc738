"""All filters in the engine, between a raw client and a raw backend."""

from __future__ import annotations

import io
import json

import msgspec
import pytest

from lbcore.l7.filters.access_log import AccessLog, AccessLogOptions
from lbcore.l7.filters.kinds import AnyOptions, make
from lbcore.l7.filters.metrics import Metrics, exposition
from lbcore.l7.http1 import scan
from lbcore.l7.http1.scan import Scratch
from tests.l7.filters.test_all import SAMPLE
from tests.l7.live import Seen, answering, backend, get, proxying, say, together

LIES = (
    "X-Forwarded-For: 6.6.6.6",
    "X-Request-Id: mine-12345",
    "Traceparent: nonsense",
    "Connection: close, x-forwarded-for",
)
ANSWER = b"HTTP/1.1 %b\r\ncontent-length: %d\r\ncontent-type: text/plain\r\nserver: old\r\n\r\n%b"


@pytest.fixture(autouse=True, scope="module")
def compiled():
    """Reading is compiled code: it is compiled, or loaded, before anybody's patience is measured."""
    scratch = Scratch(1000)
    scan.request(get(), 100, 10, scratch.block)
    scan.response(ANSWER % (b"200 OK", 0, b""), 10, scratch.block)


def filters(*more):
    return tuple(make(options) for options in msgspec.convert([*SAMPLE, *more], list[AnyOptions]))


def fields(head):
    lines = head.partition(b"\r\n\r\n")[0].split(b"\r\n")[1:]
    return dict(line.split(b": ", 1) for line in lines)


def test_what_backend_and_client_get_and_the_log_says():
    out = io.BytesIO()
    row = (AccessLog(AccessLogOptions(), out), *filters())

    async def main():
        seen = Seen()
        async with (
            backend(answering(ANSWER % (b"200 OK", 2, b"ok"), seen)) as behind,
            proxying(behind, filters=row) as (_, port),
        ):
            answer = await say(port, get("/api/a?token=hunter2", *LIES, "User-Agent: me", close=False))
        return bytes(seen.all), answer

    asked, answer = together(main)
    row[0].close()
    assert asked.startswith(b"GET /a?token=hunter2 HTTP/1.1\r\n")
    told = fields(asked)
    assert told[b"x-forwarded-for"] == b"127.0.0.1"
    assert told[b"x-forwarded-host"] == b"example.org"
    assert told[b"x-request-id"] != b"mine-12345"
    assert len(told[b"traceparent"]) == 55
    assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
    got = fields(answer)
    assert (got[b"server"], got[b"x-request-id"], got[b"vary"]) == (b"x", told[b"x-request-id"], b"origin")
    assert answer.endswith(b"\r\n\r\nok")
    line = json.loads(out.getvalue())
    assert line["request_id"].encode() == told[b"x-request-id"]
    assert (line["client"], line["target"], line["user_agent"]) == ("127.0.0.1", "/api/a?token=-", "me")
    assert (line["status"], line["bytes_out"], line["route"]) == (200, 2, "all")
    metrics = exposition([one for one in row if isinstance(one, Metrics)])
    assert b'status="2xx"} 1\n' in metrics
    assert b"lbcore_requests_in_flight 0\n" in metrics


def test_nobody_behind_gets_a_page_and_the_connection_goes_on():
    async def main():
        async with backend(answering(b"")) as gone:
            pass
        async with proxying(gone, filters=filters()) as (_, port):
            return await say(port, get("/1", "Accept: text/html", close=False), get("/old/x"))

    answer = together(main)
    assert answer.startswith(b"HTTP/1.1 502 Bad Gateway\r\n")
    assert b"<h1>502 Bad Gateway</h1>" in answer
    assert b"HTTP/1.1 308 Permanent Redirect\r\n" in answer
    assert b"\r\nlocation: /new/x\r\n" in answer


def test_head_gets_the_length_of_a_page_and_no_page():
    async def main():
        answer = b"HTTP/1.1 404 No\r\ncontent-length: 9999\r\n\r\n"
        async with backend(answering(answer)) as behind, proxying(behind, filters=filters()) as (_, port):
            head = get("/1", close=False).replace(b"GET", b"HEAD")
            return await say(port, head, get("/old/3").replace(b"GET", b"HEAD"))

    first, second, nothing = together(main).split(b"\r\n\r\n")
    assert first.startswith(b"HTTP/1.1 404 ")
    assert 0 < int(fields(first)[b"content-length"]) < 9999
    assert second.startswith(b"HTTP/1.1 308 ")
    assert nothing == b""


def test_a_backends_error_is_replaced_whole_and_the_next_answer_stands_behind_it():
    old = b"secret stack trace " * 1000

    async def main():
        async with (
            backend(answering(ANSWER % (b"500 Oh", len(old), old))) as behind,
            proxying(behind, filters=filters()) as (_, port),
        ):
            return await say(port, get("/1", close=False), get("/2"))

    answer = together(main)
    assert b"stack trace" not in answer
    assert answer.count(b"HTTP/1.1 500 ") == 2
    assert answer.count(b'"message":"Something went wrong."') == 2
