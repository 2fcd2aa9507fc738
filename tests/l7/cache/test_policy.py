"""The rules of RFC 9111 as tables, one line for each sentence of it."""

from __future__ import annotations

import email.utils
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lbcore.l7.cache import dates, directives, policy, vary
from lbcore.l7.cache.policy import Use
from tests.l7.cache.messages import DAY, NOW, at, cc, headers, stored

# ---- 3: storing ----

STORING = [
    # 3: leave by max-age, s-maxage, Expires, public, or by a status that needs none
    (200, "max-age=1", [], "", ""),
    (201, "max-age=1", [], "", ""),
    (201, "", [], "", "no freshness"),
    (201, "public", [], "", ""),
    (201, "s-maxage=1", [], "", ""),
    (201, "", [f"expires: {at(9)}"], "", ""),
    (404, "", [], "", ""),
    (503, "", [], "", "no freshness"),
    (503, "max-age=5", [], "", ""),
    (599, "", [], "", "no freshness"),
    # 3: final, and not a part
    (103, "max-age=1", [], "", "status"),
    (206, "max-age=1", [], "", "status"),
    (304, "max-age=1", [], "", "status"),
    # 5.2.2.5, 5.2.2.3, 5.2.1.5: no-store, and what outweighs it
    (200, "no-store", [], "", "no-store"),
    (200, "max-age=9, NO-STORE", [], "", "no-store"),
    (200, "must-understand, no-store, max-age=9", [], "", ""),
    (599, "must-understand, max-age=9", [], "", "must-understand"),
    (599, "must-understand, no-store, max-age=9", [], "", "must-understand"),
    (200, "max-age=9", [], "no-store", "request no-store"),
    # 5.2.2.7: private, whole or in part
    (200, "private, max-age=9", [], "", "private"),
    (200, 'private="x-user", max-age=9', [], "", ""),
    (200, 'private="x-user", private, max-age=9', [], "", "private"),
    (200, 'private="x", max-age=9', [], "", ""),
    # 4.1: Vary: * fits nobody
    (200, "max-age=9", ["vary: *"], "", "vary"),
    (200, "max-age=9", ["vary: a", "vary: b, *"], "", "vary"),
    # ours: cookies
    (200, "max-age=9", ["set-cookie: a=b"], "", "set-cookie"),
]


@pytest.mark.parametrize(("status", "said", "lines", "asked", "why"), STORING)
def test_what_may_be_stored(status: int, said: str, lines: list[str], asked: str, why: str) -> None:
    assert policy.unstorable(False, cc(asked), status, headers(*lines), cc(said)) == why


@pytest.mark.parametrize(
    ("said", "why"),
    [
        ("max-age=9", "authorization"),
        ("max-age=9, public", ""),
        ("max-age=9, must-revalidate", ""),
        ("s-maxage=9", ""),
        ("max-age=9, proxy-revalidate", "authorization"),
    ],
)
def test_an_answer_to_an_authorized_request_needs_leave(said: str, why: str) -> None:  # 3.5
    assert policy.unstorable(True, cc(""), 200, headers(), cc(said)) == why


def test_fields_that_are_for_one_user_are_not_stored() -> None:  # 5.2.2.4, 5.2.2.7, 3.1
    said = cc('private="X-User", no-cache="x-hint, x-two", max-age=9')
    lines = headers("x-user: me", "x-hint: 1", "x-two: 2", "x-all: 3", "set-cookie: a=b")
    assert policy.kept(lines, said, "strip") == headers("x-all: 3")
    assert policy.kept(lines, said, "store") == headers("x-all: 3", "set-cookie: a=b")


@pytest.mark.parametrize("name", ["private", "no-cache"])
def test_of_two_lists_of_fields_both_are_obeyed(name: str) -> None:
    lines = headers("x-user: me", "x-hint: 1", "x-all: 3")
    assert policy.kept(lines, cc(f'{name}="x-user", max-age=9, {name}=x-hint')) == headers("x-all: 3")
    assert cc(f'{name}="x-user", {name}, {name}="x-hint"')[name.encode()] is None  # of all fields


# ---- 4.2: freshness and age ----

LIFETIMES = [
    (["cache-control: max-age=5"], 5),
    (["cache-control: s-maxage=7, max-age=5"], 7),
    (["cache-control: max-age=5", f"expires: {at(99)}"], 5),
    ([f"expires: {at(99)}", f"date: {at(0)}"], 99),
    ([f"expires: {at(99)}"], 99),
    ([f"expires: {at(99)}", f"date: {at(50)}"], 49),
    ([f"expires: {at(-9)}"], 0),
    (["expires: 0", f"last-modified: {at(-1000)}"], 0),  # 5.3: not a date, so it has expired
    ([f"last-modified: {at(-1000)}"], 100),
    ([f"last-modified: {at(-1000 * DAY)}"], DAY),
    ([f"last-modified: {at(50)}"], 0),
    ([], 0),
    (["cache-control: max-age=x", f"expires: {at(99)}"], 0),
    (["cache-control: max-age"], 0),
    (["cache-control: max-age=1, max-age=9"], 1),
    (["cache-control: max-age=9", "cache-control: max-age=1"], 9),  # 4.2.1: the first
    (['cache-control: max-age="9"'], 9),
    (["cache-control: max-age=009"], 9),
    (["cache-control: max-age=-1"], 0),
    (["cache-control: max-age=1.5"], 0),
    (["cache-control: max-age=99999999999999999999999"], 2**31),
    (['cache-control: x="max-age=99", max-age=1'], 1),
    (["cache-control: max-age =9"], 0),
    (["cache-control: max-age='9'"], 0),
]


@pytest.mark.parametrize(("lines", "seconds"), LIFETIMES)
def test_how_long_it_is_fresh(lines: list[str], seconds: float) -> None:
    assert stored(*lines).lifetime == pytest.approx(seconds)


@pytest.mark.parametrize(
    ("status", "said", "seconds"), [(404, "", 100), (403, "", 0), (403, "public", 100), (302, "", 0)]
)
def test_guessing_is_for_some_statuses_only(status: int, said: str, seconds: float) -> None:  # 4.2.2
    assert stored(f"cache-control: {said}", f"last-modified: {at(-1000)}", status=status).lifetime == seconds


AGES = [
    ([], 0),
    ([f"date: {at(-10)}"], 10),
    ([f"date: {at(10)}"], 0),
    (["age: 30"], 32),
    ([f"date: {at(-50)}", "age: 30"], 50),
    # 5.1: the first of a list; what is no number is ignored
    (["age: 30, 99"], 32),
    (["age: 30", "age: 99"], 32),
    (["age: x"], 2),
    (["age: -5"], 2),
    (["age: 1.5"], 2),
    (["age: "], 2),
    (["age: 99999999999999999999"], 2**31 + 2),  # 1.2.2: a number all the same, and it is old
]


@pytest.mark.parametrize(("lines", "seconds"), AGES)
def test_how_old_it_was_when_it_came(lines: list[str], seconds: float) -> None:  # 4.2.3; two seconds on its way
    delay = 2 if any(line.startswith("age") for line in lines) else 0
    entry = stored(*lines, requested=NOW - delay)
    assert entry.initial_age == seconds
    assert entry.age(NOW + 7) == seconds + 7
    assert entry.age(NOW - 1000) == seconds  # the clock was set back


# ---- 4, 4.2.4, 5.2.1: giving ----

FRESH, STALE, BEHIND, ASK = Use.FRESH, Use.STALE, Use.WHILE_REVALIDATE, Use.VALIDATE
GIVING = [
    # response, request, seconds after it came, what may be done
    ("max-age=10", "", 9, FRESH),
    ("max-age=10", "", 10, ASK),
    ("max-age=0", "", 0, ASK),
    ("no-cache, max-age=10", "", 1, ASK),
    ('no-cache="x", max-age=10', "", 1, FRESH),
    ("max-age=10", "no-cache", 1, ASK),
    ("max-age=10", "max-age=5", 5, FRESH),
    ("max-age=10", "max-age=5", 6, ASK),
    ("max-age=10", "max-age=0", 0, FRESH),
    ("max-age=10", "max-age=0", 1, ASK),
    ("max-age=10", "min-fresh=4", 6, FRESH),
    ("max-age=10", "min-fresh=4", 7, ASK),
    ("max-age=10", "min-fresh=0", 10, ASK),
    ("max-age=10", "max-stale", 9999, STALE),
    ("max-age=10", "max-stale=5", 15, STALE),
    ("max-age=10", "max-stale=5", 16, ASK),
    ("max-age=10", "max-stale=x", 11, ASK),
    ("max-age=10", "max-stale, max-age=5", 11, ASK),
    ("max-age=10, must-revalidate", "max-stale", 11, ASK),
    ("max-age=10, proxy-revalidate", "max-stale", 11, ASK),
    ("s-maxage=10", "max-stale", 11, ASK),
    ("max-age=10, must-revalidate", "", 9, FRESH),
    ("max-age=10, no-cache", "max-stale", 11, ASK),
    # RFC 5861, 3
    ("max-age=10, stale-while-revalidate=5", "", 9, FRESH),
    ("max-age=10, stale-while-revalidate=5", "", 14, BEHIND),
    ("max-age=10, stale-while-revalidate=5", "", 15, ASK),
    ("max-age=10, stale-while-revalidate=5, must-revalidate", "", 11, ASK),
    ("s-maxage=10, stale-while-revalidate=5", "", 11, ASK),
    ("max-age=10, stale-while-revalidate=5", "no-cache", 11, ASK),
    ("max-age=10, stale-while-revalidate=5", "min-fresh=1", 11, ASK),
    ("max-age=10, stale-while-revalidate=5", "max-age=10", 11, ASK),
]


@pytest.mark.parametrize(("said", "asked", "seconds", "use"), GIVING)
def test_what_may_be_given(said: str, asked: str, seconds: float, use: Use) -> None:
    assert policy.use(stored(f"cache-control: {said}"), cc(asked), NOW + seconds) is use


@pytest.mark.parametrize(
    ("said", "asked", "anyway", "seconds", "may"),
    [
        ("max-age=10, stale-if-error=5", "", 0, 14, True),
        ("max-age=10, stale-if-error=5", "", 0, 15, False),
        ("max-age=10", "", 0, 11, False),
        ("max-age=10", "stale-if-error=5", 0, 11, True),
        ("max-age=10", "", 60, 69, True),
        ("max-age=10, must-revalidate", "", 60, 11, False),
        ("s-maxage=10, stale-if-error=5", "", 60, 11, False),
        ("max-age=10, no-cache, stale-if-error=5", "", 0, 1, False),
        ("max-age=10, stale-if-error=5", "no-cache", 0, 11, False),
        ("max-age=10, stale-if-error=5", "max-age=3", 0, 11, False),
    ],
)
def test_what_may_replace_an_error(said: str, asked: str, anyway: float, seconds: float, may: bool) -> None:
    assert policy.may_replace_error(stored(f"cache-control: {said}"), cc(asked), NOW + seconds, anyway) is may


SECONDS = st.integers(0, 200)
NAMES = ("max-age", "s-maxage", "stale-while-revalidate", "stale-if-error", "max-stale", "min-fresh")
SAID = st.lists(
    st.one_of(
        st.builds("{}={}".format, st.sampled_from(NAMES), SECONDS),
        st.sampled_from(("no-cache", "no-store", "must-revalidate", "proxy-revalidate", "public", "max-stale", "x=y")),
    ),
    max_size=4,
).map(", ".join)


@given(said=SAID, asked=SAID, age=st.integers(-50, 300), delay=st.integers(0, 50), times=st.lists(SECONDS, min_size=1))
def test_nothing_is_given_beyond_its_time_without_leave(
    said: str, asked: str, age: int, delay: int, times: list[int]
) -> None:
    """A clock that goes on and is set back: ages are never below 0, and what is given stale somebody has allowed."""
    entry = stored(f"cache-control: {said}", f"age: {age}", requested=NOW - delay)
    for seconds in times:
        now = NOW + seconds - 20
        assert entry.age(now) >= max(0, age)
        use = policy.use(entry, cc(asked), now)
        if use is not Use.VALIDATE:
            assert "no-cache" not in said
            assert "no-cache" not in asked
        if use is Use.FRESH:
            assert entry.age(now) < entry.lifetime
        if use in (Use.STALE, Use.WHILE_REVALIDATE):
            assert entry.age(now) >= entry.lifetime
            assert not {"must-revalidate", "proxy-revalidate"} & set(said.split(", "))
            assert "s-maxage" not in said
            assert "max-stale" in asked if use is Use.STALE else "stale-while-revalidate" in said


@given(said=SAID, asked=SAID, more=SAID, seconds=SECONDS)
def test_a_request_can_only_ask_for_less(said: str, asked: str, more: str, seconds: int) -> None:
    """Except by max-stale, no directive of a request makes something usable that was not."""
    entry, now = stored(f"cache-control: {said}"), NOW + seconds
    if "max-stale" not in asked + more and policy.use(entry, cc(asked), now) is Use.VALIDATE:
        assert policy.use(entry, cc(f"{asked}, {more}"), now) is Use.VALIDATE


# ---- 4.3: validation ----


def test_conditions_ask_with_what_is_there() -> None:  # 4.3.1
    both = stored('etag: "a"', f"last-modified: {at(-9)}")
    assert policy.conditions(both) == headers('if-none-match: "a"', f"if-modified-since: {at(-9)}")
    assert policy.conditions(stored()) == []


@pytest.mark.parametrize(
    ("ours", "theirs", "yes"),
    [
        (['etag: "a"'], ['etag: "a"'], True),
        (['etag: W/"a"'], ['etag: "a"'], True),
        (['etag: "a"'], ['etag: "b"'], False),
        (['etag: "a"'], [], True),
        ([f"last-modified: {at(-9)}"], [f"last-modified: {at(-9)}"], True),
        ([f"last-modified: {at(-9)}"], [f"last-modified: {at(-8)}"], False),
    ],
)
def test_a_304_must_speak_of_what_is_stored(ours: list[str], theirs: list[str], yes: bool) -> None:  # 4.3.4
    assert policy.confirms(stored(*ours), headers(*theirs)) is yes


def test_a_304_brings_new_fields_but_none_of_the_body() -> None:  # 3.2
    old = stored(
        'etag: "a"', "cache-control: max-age=1", "content-encoding: gzip", "x-old: 1", "x-two: 1", f"date: {at(0)}"
    )
    news = headers("cache-control: max-age=50", "content-encoding: br", "x-two: 2", "x-new: 3", 'etag: W/"a"')
    new = policy.freshened(old, news, NOW + 100, NOW + 101, DAY)
    assert new.headers.get(b"content-encoding") == b"gzip"
    assert new.headers.get(b"etag") == b'"a"'
    assert (new.headers.get(b"x-old"), new.headers.all(b"x-two"), new.headers.get(b"x-new")) == (b"1", [b"2"], b"3")
    assert new.body == old.body
    assert policy.use(new, {}, NOW + 140) is Use.FRESH  # a 304 without Date is as young as it came


@pytest.mark.parametrize(
    ("status", "lines", "length", "yes"),
    [
        (200, [], 5, True),
        (200, [], 6, False),
        (200, ['etag: "b"'], 5, False),
        (404, [], 5, False),
        (200, [], None, True),
    ],
)
def test_a_head_says_something_of_the_stored_get(status: int, lines: list[str], length: int | None, yes: bool) -> None:
    assert policy.head_confirms(stored('etag: "a"'), status, headers(*lines), length) is yes  # 4.3.5


@pytest.mark.parametrize(
    ("method", "status", "yes"),
    [(b"POST", 200, True), (b"PUT", 201, True), (b"DELETE", 303, True), (b"X", 200, True), (b"POST", 404, False),
     (b"POST", 500, False), (b"GET", 200, False), (b"HEAD", 200, False), (b"OPTIONS", 204, False)],
)  # fmt: skip
def test_what_makes_the_stored_invalid(method: bytes, status: int, yes: bool) -> None:  # 4.4
    assert policy.invalidates(method, status) is yes


# ---- 4.1: Vary ----


def test_vary_compares_what_was_said() -> None:
    def entry(name: str, value: str | None, date: float = 0) -> policy.Entry:
        request = headers(f"{name}: {value}") if value is not None else headers()
        return stored(f"date: {at(date)}", vary=vary.chosen_by(request, [name.encode()]))

    german, none, english = (
        entry("accept-language", "de"),
        entry("accept-language", None),
        entry("accept-language", "en"),
    )
    pick = [german, none, english]
    assert vary.select(pick, headers("accept-language: en")) is english
    assert vary.select(pick, headers()) is none
    assert vary.select(pick, headers("accept-language: fr")) is None
    assert vary.select([entry("accept-encoding", "gzip, br")], headers("accept-encoding: BR,gzip")) is not None
    assert vary.select([entry("x-a", "gzip, br")], headers("x-a: br, gzip")) is None
    old, young = entry("x-a", "1", date=-9), entry("x-b", "1")
    assert vary.select([young, old], headers("x-a: 1", "x-b: 1")) is young


# ---- 5.2 and dates: taken apart ----


@given(st.text(alphabet='abmx-ge=", \\0123456789*;\t').map(str.encode))
def test_any_bytes_are_taken_apart(value: bytes) -> None:
    for name, argument in directives.parse(value).items():
        assert name == name.lower()
        assert argument is None or argument in value
        assert directives.seconds({name: argument}, name) is not None


@given(st.dictionaries(st.from_regex(r"[a-z]{1,5}", fullmatch=True), st.from_regex(r"[a-z0-9]{1,4}", fullmatch=True)))
def test_tokens_and_quoted_strings_say_the_same(given_: dict[str, str]) -> None:
    plain = ", ".join(f"{name}={value}" for name, value in given_.items())
    quoted = " ,,".join(f'{name.upper()}="{value}"' for name, value in given_.items())
    expected = {name.encode(): value.encode() for name, value in given_.items()}
    assert cc(plain) == cc(quoted) == expected


@given(st.integers(0, 4_000_000_000))
def test_dates_against_the_library(seconds: int) -> None:
    written = dates.written(seconds)
    assert written.decode() == email.utils.formatdate(seconds, usegmt=True)
    at_ = time.gmtime(seconds)
    assert dates.parse(written) == seconds
    assert dates.parse(written.upper()) == seconds
    assert dates.parse(time.asctime(at_).encode()) == seconds
    if 1990 < at_.tm_year < 2040:
        assert dates.parse(time.strftime("%A, %d-%b-%y %H:%M:%S GMT", at_).encode(), NOW) == seconds


@pytest.mark.parametrize(
    "value",
    ["0", "", "-1", "Thu, 18 Aug 2050 02:01:18 UTC", "Thu, 18 Aug 2050 2:01:18 GMT", "Thu, 31 Feb 2050 02:01:18 GMT",
     "Thu, 18 Aug 2050 24:00:00 GMT", "Thu 18 Aug 2050 02:01:18 GMT", "Thu, 18 Xyz 2050 02:01:18 GMT",
     "Thu, 00 Aug 2050 02:01:18 GMT", "Thu, 18 Aug 0000 02:01:18 GMT\n"],
)  # fmt: skip
def test_what_is_no_date(value: str) -> None:
    assert dates.parse(value.encode()) is None
