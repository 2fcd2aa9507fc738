"""Lines: what they say, what they never say, and that nobody can write one but the log."""

from __future__ import annotations

import io
import json
import os
import re
import threading
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lbcore.l7 import notes
from lbcore.l7.filters.access_log import SECRET, AccessLog, AccessLogOptions
from lbcore.l7.filters.line_file import BATCH, LineFile
from lbcore.l7.message import Response
from tests.l7.fakes import FakeExchange, request

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
COMBINED = re.compile(
    r'(?P<client>\S+) - - \[(?P<time>[^\]]+)\] "(?P<method>[^" ]*) (?P<target>[^"]*) HTTP/(?P<version>[\d.]+)" '
    r'(?P<status>\d+) (?P<bytes>\d+|-) "(?P<referer>[^"]*)" "(?P<agent>[^"]*)"(?: \w[\w-]*=(?:"[^"]*"|[^" ]+))*'
)


def logged(exchange, **options):
    out = io.BytesIO()
    log = AccessLog(AccessLogOptions(**options), out, clock=lambda: 1_700_000_000.75, monotonic=lambda: 0.25)
    exchange.passes(log)
    log.close()
    assert log.lost == 0
    return out.getvalue().decode("ascii")


def test_json_has_everything():
    exchange = FakeExchange(request(b"/a?b", (b"user-agent", b"me"), method=b"POST"), bytes_in=3, bytes_out=5)
    exchange.notes |= {notes.REQUEST_ID: b"id-1", notes.CLIENT: notes.Client("198.51.100.1", b"https", b"h", 1)}
    assert json.loads(logged(exchange)) == {
        "time": "2023-11-14T22:13:20.500Z",
        "referer": "",
        "error": "",
        "trace_id": "",
        "client": "198.51.100.1",
        "method": "POST",
        "host": "www.example.org",
        "target": "/a?b",
        "version": "1.1",
        "status": 200,
        "seconds": 0.25,
        "bytes_in": 3,
        "bytes_out": 5,
        "route": "main",
        "backend": "127.0.0.1:8000",
        "attempts": 1,
        "user_agent": "me",
        "request_id": "id-1",
    }


def test_combined_is_what_log_readers_know():
    line = logged(FakeExchange(request(b"/a", (b"referer", b"http://x/"))), format="combined", headers=("X-A",))
    assert line == (
        '192.0.2.7 - - [14/Nov/2023:22:13:20 +0000] "GET /a HTTP/1.1" 200 0 "http://x/" "-" host="www.example.org" '
        'route="main" backend="127.0.0.1:8000" attempts=1 seconds=0.250000 bytes_in=0 error="" request_id="" '
        'trace_id="" x-a=""\n'
    )
    assert COMBINED.fullmatch(line.strip())


@given(st.binary(max_size=60), st.binary(max_size=60), st.binary(max_size=60), st.sampled_from(["json", "combined"]))
def test_nobody_else_writes_a_line_or_steers_a_terminal(target, agent, host, form):
    lines = [(b"user-agent", agent), (b"referer", agent), (b"x-a", agent)]
    exchange = FakeExchange(request(target, *lines, method=agent, authority=host))
    line = logged(exchange, format=form, headers=("x-a",))
    assert line.endswith("\n")
    assert line[:-1].isprintable()
    if form == "json":
        assert json.loads(line)["status"] == 200
    else:
        assert line.count('"') % 2 == 0
        assert re.fullmatch(r'(?:[^"]*"[^"]*")*[^"]*\n', line)
        assert '" 200 0 "' in line


def test_backslash_and_quote_cannot_close_a_quote():
    line = logged(FakeExchange(request(b"/", (b"user-agent", b'\\" 500 "x'))), format="combined")
    assert r'"\x5c\x22 500 \x22x"' in line


@pytest.mark.parametrize("form", ["json", "combined"])
def test_secrets_are_not_in_it(form):
    lines = [
        (b"authorization", b"hunter2"),
        (b"cookie", b"sid=hunter2"),
        (b"referer", b"http://x/?a=1&Token=hunter2#f"),
    ]
    target = b"/cb?state=1&code=hunter2&ACCESS_TOKEN=hunter2;key=hunter2&q=fine"
    line = logged(FakeExchange(request(target, *lines)), format=form)
    assert "hunter2" not in line
    assert "/cb?state=1&code=-&ACCESS_TOKEN=-;key=-&q=fine" in line


@pytest.mark.parametrize("name", sorted(SECRET))
def test_fields_of_secrets_cannot_be_asked_for(name):
    with pytest.raises(ValueError, match="must not be a field that holds secrets"):
        AccessLogOptions(headers=(name.title(),))


@given(st.lists(st.tuples(st.text('a%"\\\n\xe9', max_size=4), st.sampled_from([200, 404])), max_size=6))
def test_labels_are_escaped_and_lines_of_other_labels_are_other_lines(labels):
    out = io.BytesIO()
    log = AccessLog(AccessLogOptions(headers=("x-100%d",)), out)
    for label, status in labels:
        exchange = FakeExchange(request(b"/%d", (b"x-100%d", b"%s")), Response(status), route=label, error=label + "%b")
        log.on_end(exchange)
    log.close()
    lines = [json.loads(line) for line in out.getvalue().decode("ascii").splitlines()]
    told = [(line["route"], line["error"], line["status"], line["target"], line["x-100%d"]) for line in lines]
    plain = [
        re.sub(rb"[^ !#-[\]-~]", lambda byte: rb"\x%02x" % byte[0][0], label.encode()).decode() for label, _ in labels
    ]
    assert told == [(name, name + "%b", status, "/%d", "%s") for name, (_, status) in zip(plain, labels, strict=True)]


@given(st.lists(st.integers(0, 4_000_000_000_000), min_size=1, max_size=8))
def test_times_are_those_of_the_calendar_in_whatever_order_they_come(moments):
    out, clock = io.BytesIO(), iter(moments)
    log = AccessLog(AccessLogOptions(), out, clock=lambda: next(clock) / 1000 + 1e-4, monotonic=lambda: 0.0)
    for _ in moments:
        log.on_end(FakeExchange(request()))
    log.close()
    told = [datetime.fromisoformat(json.loads(line)["time"]) for line in out.getvalue().splitlines()]
    assert told == [EPOCH + timedelta(milliseconds=moment) for moment in moments]


def test_long_texts_are_cut():
    assert len(logged(FakeExchange(request(b"/" + b"x" * 100_000)))) < 4000


def test_what_the_client_asked_for_is_logged_and_an_exchange_without_answer_too():
    exchange = FakeExchange(request(b"/asked"), error="client gone")
    out = io.BytesIO()
    log = AccessLog(AccessLogOptions(), out)
    log.on_request(exchange)
    exchange.request.target = b"/rewritten"
    log.on_end(exchange)
    log.close()
    line = json.loads(out.getvalue())
    assert (line["target"], line["status"], line["error"]) == ("/asked", 0, "client gone")


def test_reopened_after_the_file_was_moved(tmp_path):
    path = tmp_path / "log"
    log = AccessLog(AccessLogOptions(path=str(path)))
    FakeExchange(request(b"/1")).passes(log)
    path.rename(tmp_path / "old")
    FakeExchange(request(b"/2")).passes(log)
    log.reopen()
    FakeExchange(request(b"/3")).passes(log)
    log.close()
    log.close()
    assert [json.loads(line)["target"] for line in (tmp_path / "old").open()] == ["/1", "/2"]
    assert [json.loads(line)["target"] for line in path.open()] == ["/3"]


def test_a_reader_that_does_not_read_costs_lines_not_time_nor_memory():
    reading, writing = os.pipe()
    with os.fdopen(reading, "rb") as reader, os.fdopen(writing, "wb", buffering=0) as out:
        lines = LineFile("-", out, pending=100, flush=0.01)
        line = b"x" * 9999 + b"\n"
        for _ in range(500):  # far more than a pipe holds: who adds is never kept waiting
            lines.add(line)
        assert lines.lost >= 100
        assert len(lines._lines) <= 100
        got = bytearray()
        drain = threading.Thread(target=lambda: got.extend(reader.read()))
        drain.start()
        lines.close()
        out.close()
        drain.join(10)
        assert bytes(got) == line * (500 - lines.lost)


def test_a_full_disk_loses_lines_counts_them_and_goes_on():
    class Full(io.BytesIO):
        full = True

        def write(self, data):
            if self.full:
                raise OSError(28, "No space left on device")
            return super().write(data[:7])  # and a disk may take a part

    out = Full()
    lines = LineFile("-", out)
    lines.add(b"one\n")
    lines.flush()
    assert lines.lost == 1
    out.full = False
    lines.add(b"two two two\n")
    lines.close()
    assert out.getvalue() == b"two two two\n"
    lines.add(b"late\n")
    assert lines.lost == 2


def test_many_lines_from_one_side_all_arrive_in_order(tmp_path):
    path = tmp_path / "log"
    lines = LineFile(str(path), flush=0.001)
    wanted = [b"%d\n" % number for number in range(10 * BATCH)]
    for line in wanted:
        lines.add(line)
    lines.close()
    assert path.read_bytes() == b"".join(wanted)


@pytest.mark.parametrize("wrong", [{"pending": 0}, {"flush": 0}, {"flush": 61}, {"headers": ("a b",)}])
def test_options_that_cannot_be(wrong):
    with pytest.raises(ValueError, match="must"):
        AccessLogOptions(**wrong)
