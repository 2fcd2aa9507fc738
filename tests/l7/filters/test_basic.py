"""Names and passwords: who passes, what it costs, what nobody gets to see."""

from __future__ import annotations

import asyncio
from base64 import b64encode

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lbcore.l7.filters.basic import Basic, BasicOptions
from lbcore.l7.message import Response
from lbcore.l7.secrets import passwords
from tests.l7.fakes import FakeExchange, request

CHEAP = passwords.hashed("pässword:with colon".encode(), cost=10)
OPTIONS = BasicOptions(users={"ann": CHEAP, "bob": passwords.hashed(b"b", cost=10)}, user_header="X-User")


def sent(pair, scheme=b"Basic"):
    return (b"authorization", scheme + b" " + b64encode(pair))


def asked(one, *lines):
    """The answer, None if it passes; and the exchange."""
    exchange = FakeExchange(request(b"/", *lines))

    async def main():
        said = one.on_request(exchange)
        return said if said is None or isinstance(said, Response) else await said

    return asyncio.run(main()), exchange


ANN = "ann:pässword:with colon".encode()


def test_the_right_pair_passes_and_the_backend_is_told_the_name_only():
    one = Basic(OPTIONS)
    for scheme in (b"Basic", b"basic", b"BASIC"):
        answer, exchange = asked(
            one, sent(ANN, scheme), (b"x-user", b"root"), (b"x_user", b"root"), (b"accept", b"*/*")
        )
        assert answer is None
        assert exchange.request.headers == [(b"accept", b"*/*"), (b"x-user", b"ann")]
    one.close()


@pytest.mark.parametrize(
    "line",
    [
        sent(b"ann:wrong"),
        sent(b"nobody:b"),
        sent(b"ann"),
        sent(b"ann:"),
        sent(b":"),
        sent(b"ANN:" + ANN[4:]),
        sent(ANN + b"\0"),
        sent(ANN[4:]),
        sent(b"bob:" + b"x" * 5000),
        (b"authorization", b"Basic"),
        (b"authorization", b"Basic !!!!"),
        (b"authorization", b"Bearer " + b64encode(ANN)),
        (b"authorization", b64encode(ANN)),
        (b"x-authorization", b"Basic " + b64encode(ANN)),
    ],
)
def test_anything_else_is_asked_for_a_password(line):
    answer, _ = asked(Basic(OPTIONS), line)
    assert answer.status == 401
    assert answer.headers.get(b"www-authenticate") == b'Basic realm="restricted", charset="UTF-8"'
    assert answer.headers.get(b"cache-control") == b"no-store"


def test_two_lines_are_refused_whichever_is_right():
    for lines in ((sent(ANN), sent(b"bob:b")), (sent(ANN), sent(ANN)), (sent(ANN), (b"authorization", b"Bearer x"))):
        for order in (lines, lines[::-1]):
            assert asked(Basic(OPTIONS), *order)[0].status == 400


@given(st.binary(max_size=60))
@settings(max_examples=60, deadline=None)
def test_no_bytes_pass_but_the_pair(data):
    exchange = FakeExchange(request(b"/", (b"authorization", data)))
    said = Basic(OPTIONS).on_request(exchange)
    assert isinstance(said, Response) or said is not None  # never None: nothing passes unchecked
    if not isinstance(said, Response):
        said.close()


def test_a_pair_is_hashed_once_even_if_it_comes_often_at_the_same_time(monkeypatch):
    calls = []
    right = passwords.right
    monkeypatch.setattr(passwords, "right", lambda *pair: calls.append(1) or right(*pair))
    one = Basic(OPTIONS)

    async def main():
        said = [one.on_request(FakeExchange(request(b"/", sent(ANN)))) for _ in range(20)]
        assert await asyncio.gather(*said) == [None] * 20
        assert one.on_request(FakeExchange(request(b"/", sent(ANN)))) is None

    asyncio.run(main())
    assert len(calls) == 1


def test_a_wrong_pair_is_never_remembered(monkeypatch):
    calls = []
    right = passwords.right
    monkeypatch.setattr(passwords, "right", lambda *pair: calls.append(1) or right(*pair))
    one = Basic(OPTIONS)
    for _ in range(3):
        assert asked(one, sent(b"ann:wrong"))[0].status == 401
    assert len(calls) == 3


def test_nobody_costs_what_somebody_costs(monkeypatch):
    hashes = []
    monkeypatch.setattr(passwords, "right", lambda password, hash: hashes.append(hash) or True)
    answer, _ = asked(Basic(OPTIONS), sent(b"nobody:x"))
    assert answer.status == 401  # though its hash fits
    assert hashes[0].cost == 10


def test_who_tries_many_gets_503_and_who_is_known_passes():
    one = Basic(msgspec.structs.replace(OPTIONS, parallel=1, waiting=4))

    async def main():
        assert await one.on_request(FakeExchange(request(b"/", sent(ANN)))) is None
        answers = []
        for number in range(50):
            said = one.on_request(FakeExchange(request(b"/", sent(b"ann:%d" % number))))
            answers.append(said if isinstance(said, Response) else asyncio.ensure_future(said))
            await asyncio.sleep(0)
        assert one.on_request(FakeExchange(request(b"/", sent(ANN)))) is None
        return [one if isinstance(one, Response) else await one for one in answers]

    statuses = [answer.status for answer in asyncio.run(main())]
    assert set(statuses) == {401, 503}
    assert statuses.count(503) > 10
    one.close()


def test_who_waits_when_the_filter_is_closed_gets_an_answer_all_the_same():
    one = Basic(msgspec.structs.replace(OPTIONS, parallel=1))

    async def main():
        said = [one.on_request(FakeExchange(request(b"/", sent(pair)))) for pair in (ANN, b"bob:b", b"ann:x")]
        waiting = [asyncio.ensure_future(each) for each in said]
        await asyncio.sleep(0)
        one.close()
        return [each and each.status for each in await asyncio.wait_for(asyncio.gather(*waiting), 10)]

    assert asyncio.run(main()) == [None, None, 401]


def test_what_is_remembered_is_bounded_and_holds_no_password():
    one = Basic(msgspec.structs.replace(OPTIONS, remember=1))
    for pair in (ANN, b"bob:b", ANN):
        assert asked(one, sent(pair))[0] is None
    assert len(one._right) == 1
    assert all(ANN[4:] not in key for key in one._right)


def test_secrets_are_not_shown():
    assert CHEAP not in repr(OPTIONS)
    for wrong in ("hunter2", "$scrypt$ln=14,r=8,p=1$x$hunter2", "$2b$12$hunter2"):
        with pytest.raises(ValueError, match="ann") as caught:
            BasicOptions(users={"ann": wrong})
        assert "hunter2" not in str(caught.value)


def test_a_file_of_users(tmp_path):
    path = tmp_path / "users"
    path.write_text(f"# people\n\nann:{CHEAP}\n")
    assert asked(Basic(BasicOptions(users_file=str(path))), sent(ANN))[0] is None
    path.write_text(f"ann:{CHEAP}\nann:{CHEAP}\n")
    with pytest.raises(ValueError, match="line 2"):
        Basic(BasicOptions(users_file=str(path)))
    path.write_text("# nobody\n")
    with pytest.raises(ValueError, match="nobody"):
        Basic(BasicOptions(users_file=str(path)))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({}, "users"),
        ({"users": {"a:b": CHEAP}}, "a:b"),
        ({"users": {"": CHEAP}}, "name"),
        ({"users": {"a\nb": CHEAP}}, "name"),
        ({"users": {"a": CHEAP}, "realm": 'a"b'}, "realm"),
        ({"users": {"a": CHEAP}, "user_header": "content-length"}, "user_header"),
        ({"users": {"a": CHEAP}, "parallel": 9, "waiting": 2}, "waiting"),
        ({"users": {"a": CHEAP.replace("ln=10", "ln=31")}}, "ln"),
    ],
)
def test_options_are_checked(options, words):
    with pytest.raises(ValueError, match=words):
        BasicOptions(**options)


@given(st.binary(max_size=20), st.binary(max_size=20))
@settings(max_examples=20, deadline=None)
def test_a_hash_fits_its_password_only(one, other):
    hash = passwords.read(passwords.hashed(one, cost=10), "it")
    assert passwords.right(one, hash)
    assert passwords.right(other, hash) == (one == other)


def test_the_hash_is_the_one_of_rfc_7914():
    """Section 12, third vector: N=16384, r=8, p=1."""
    line = passwords.hashed(b"pleaseletmein", salt=b"SodiumChloride")
    digest = bytes.fromhex("7023bdcb3afd7348461c06cd81fd38ebfda8fbba904f8e3ea9b543f6545da1f2")
    assert passwords.read(line, "it").digest == digest
