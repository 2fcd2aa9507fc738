"""Pieces and conditions (RFC 9110, 13 and 14)."""

from __future__ import annotations

import email
import email.policy

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from lbcore.l7.cache import conditions, ranges
from lbcore.l7.cache.answer import answer
from tests.l7.cache.messages import at, stored

BODY = bytes(range(65, 85))


@pytest.mark.parametrize(
    ("value", "found"),
    [
        ("bytes=0-4", [(0, 5)]),
        ("bytes=15-", [(15, 20)]),
        ("bytes=-3", [(17, 20)]),
        ("bytes=0-99", [(0, 20)]),
        ("bytes=-99", [(0, 20)]),
        ("BYTES=0-4", [(0, 5)]),
        ("bytes=0-0, 2-2", [(0, 1), (2, 3)]),
        ("bytes=9-9,0-0", [(9, 10), (0, 1)]),
        ("bytes=20-", []),
        ("bytes=-0", []),
        ("bytes=20-,0-1", [(0, 2)]),
        # not to be obeyed: no range, or too much of it
        ("bytes=5-4", None),
        ("bytes=", None),
        ("bytes=,", None),
        ("bytes=a-b", None),
        ("bytes=-", None),
        ("items=0-4", None),
        ("bytes", None),
        ("bytes=0-4,3-9", None),
        ("bytes=0-,0-", None),
        ("bytes=" + ",".join(["0-0"] * 17), None),
        ("bytes=1-2-3", None),
        ("bytes=+1-2", None),
        ("bytes=" + "9" * 19 + "-", None),
    ],
)
def test_ranges(value: str, found: list[tuple[int, int]] | None) -> None:
    assert ranges.parse(value.encode(), len(BODY)) == found


@example(b"-1", 0)
@given(st.text(alphabet="bytes=0123456789-, ").map(str.encode), st.integers(0, 30))
def test_no_range_leaves_the_body_and_all_together_are_no_longer_than_it(value: bytes, length: int) -> None:
    found = ranges.parse(b"bytes=" + value, length)
    for start, end in found or ():
        assert 0 <= start < end <= length
    assert sum(end - start for start, end in found or ()) <= length


def ask(
    *lines: str, method: bytes = b"GET", of: tuple[str, ...] = ('etag: "a"', "content-type: text/x")
) -> tuple[int, bytes, bytes]:
    entry = stored(*of, f"date: {at(0)}", body=BODY)
    fields = {name.encode(): value.encode() for name, _, value in (line.partition(": ") for line in lines)}
    got = answer(entry, method, fields, b"age: 0\r\n", lambda n: b"\x01" * n)
    return got.status, got.unread or b"", got.body or b""


def test_one_piece() -> None:
    status, head, body = ask("range: bytes=2-5")
    assert (status, body) == (206, BODY[2:6])
    assert b"content-range: bytes 2-5/20\r\n" in head
    assert ask("range: bytes=2-5", method=b"HEAD")[0] == 200  # 14.2: for GET only


def test_several_pieces_as_a_mail_reader_takes_them_apart() -> None:
    status, head, body = ask("range: bytes=2-5,10-,0-0")
    message = email.message_from_bytes(head + b"\r\n" + body, policy=email.policy.HTTP)
    assert status == 206
    assert message.get_content_type() == "multipart/byteranges"
    parts = list(message.iter_parts())
    assert [part.get_payload().encode() for part in parts] == [BODY[2:6], BODY[10:], BODY[:1]]
    assert [part["content-range"] for part in parts] == ["bytes 2-5/20", "bytes 10-19/20", "bytes 0-0/20"]
    assert {part["content-type"] for part in parts} == {"text/x"}


def test_what_does_not_fit_is_416() -> None:
    status, head, body = ask("range: bytes=20-")
    assert (status, body) == (416, b"")
    assert b"content-range: bytes */20\r\n" in head


@pytest.mark.parametrize(
    ("if_range", "status"),
    [('"a"', 206), ('"b"', 200), ('W/"a"', 200), (at(-9), 206), (at(-8), 200), ("rubbish", 200)],
)
def test_if_range_compares_strongly(if_range: str, status: int) -> None:
    of = ('etag: "a"', f"last-modified: {at(-9)}")
    assert ask("range: bytes=0-1", f"if-range: {if_range}", of=of)[0] == status


def test_a_weak_validator_holds_no_pieces_together() -> None:
    assert ask("range: bytes=0-1", 'if-range: W/"a"', of=('etag: W/"a"',))[0] == 200
    assert (
        ask("range: bytes=0-1", f"if-range: {at(0)}", of=(f"last-modified: {at(0)}",))[0] == 200
    )  # changed that second


CONDITIONS = [
    (['if-none-match: "a"'], 304),
    (['if-none-match: W/"a"'], 304),
    (['if-none-match: "b", "a"'], 304),
    (["if-none-match: *"], 304),
    (['if-none-match: "b"'], 200),
    (["if-none-match: a"], 200),
    (['if-none-match: "b,", "a"'], 304),
    ([f"if-modified-since: {at(-9)}"], 304),
    ([f"if-modified-since: {at(0)}"], 304),
    ([f"if-modified-since: {at(-10)}"], 200),
    (["if-modified-since: rubbish"], 200),
    ([f"if-modified-since: {at(0)}", 'if-none-match: "b"'], 200),  # 13.1.3
    (['if-none-match: "a"', "range: bytes=0-1"], 304),
    (['if-none-match: "b"', "range: bytes=0-1"], 206),  # 13.2.2
]


@pytest.mark.parametrize(("lines", "status"), CONDITIONS)
def test_who_has_it_gets_304(lines: list[str], status: int) -> None:
    got, head, _ = ask(*lines, of=('etag: "a"', f"last-modified: {at(-9)}", "content-type: text/x"))
    assert got == status
    assert (b"content-type" in head) is (status != 304)
    assert b'etag: "a"\r\n' in head
    assert b"age: 0\r\n" in head


def test_only_a_200_is_what_somebody_may_have() -> None:
    assert not conditions.not_modified(stored('etag: "a"', status=404), b'"a"', None)
