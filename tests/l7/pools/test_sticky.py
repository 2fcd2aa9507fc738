"""Clients that belong to a backend: by cookie, header, address."""

from __future__ import annotations

import hmac
from base64 import urlsafe_b64decode
from http.cookies import SimpleCookie

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lbcore.l7.message import Response
from lbcore.l7.pools.options import (
    HealthOptions,
    OutlierOptions,
    StickyCookieOptions,
    StickyHeaderOptions,
    StickySourceOptions,
)
from lbcore.l7.pools.pool import ACTIVE, DOWN, DRAINING, Pool
from lbcore.l7.pools.sticky_cookie import keys_of, token
from lbcore.l7.pools.sticky_table import TableSticky
from tests.l7.pools.stage import RESET, Clock, a_pool, a_request, attempt, options

OLD, NEW, OTHER = "o" * 32, "n" * 32, "x" * 32


def sticky_pool(count=3, clock=None, **fields) -> Pool:
    cookie = StickyCookieOptions(**({"keys": (NEW,)} | fields.pop("cookie", {})))
    return a_pool(count, clock, sticky=cookie, **fields)


def cookie_of(pool, request, backend):
    """The cookie that this response sets, parsed by the standard library; None if it sets none."""
    response = Response(200)
    pool.mark(request, backend, response)
    lines = response.headers.all(b"set-cookie")
    assert len(lines) <= 1
    return next(iter(SimpleCookie(lines[0].decode()).values())) if lines else None


def visit(pool, **headers):
    """One request: who answers, and the cookie that was set."""
    request = a_request(**headers)
    backend = pool.pick(request)
    attempt(pool, backend)
    return backend, cookie_of(pool, request, backend)


# --------------------------------------------------------------------------------------------------------------- cookie
def test_who_brings_the_cookie_comes_to_the_same_backend_and_gets_no_other():
    pool = sticky_pool()
    home, set_one = visit(pool)
    for _ in range(5):
        assert visit(pool, cookie=f"a=b; lb={set_one.value}; c=d") == (home, None)
    assert {visit(pool)[0] for _ in range(3)} == set(pool.backends)  # others are dealt out as ever


def test_the_value_is_an_hmac_and_tells_nothing():
    pool = sticky_pool()
    for backend in pool.backends:
        value = token(NEW.encode(), "web", backend.name)
        assert len(urlsafe_b64decode(value + b"=")) == 32
        parts = (b"lbcore sticky cookie", b"web", backend.name.encode())
        text = b"".join(len(part).to_bytes(4, "big") + part for part in parts)
        assert urlsafe_b64decode(value + b"=") == hmac.new(NEW.encode(), text, "sha256").digest()
        assert visit(pool, cookie=f"lb={value.decode()}") == (backend, None)
    assert len({token(NEW.encode(), pool, b.name) for pool in ("web", "api") for b in sticky_pool().backends}) == 6


@given(st.binary(max_size=64), st.data())
def test_a_value_that_was_not_signed_is_no_value(junk, data):
    """Random bytes, and real ones with anything changed."""
    pool = sticky_pool()
    real = token(NEW.encode(), "web", pool.backends[1].name)
    at = data.draw(st.integers(0, len(real) - 1))
    forged = data.draw(st.sampled_from([junk, real[:at], real + b"A", real[:at] + junk[:1] + real[at + 1 :]]))
    request = a_request()
    request.headers.add(b"cookie", b"lb=" + forged)
    found = pool._sticky.find(request, 0.0)
    assert found is (pool.backends[1] if request.cookie(b"lb") == real else None)
    backend = pool.pick(request)
    set_one = cookie_of(pool, request, backend)
    assert (set_one is None) == (request.cookie(b"lb") == real)
    if set_one is not None:
        assert set_one.value.encode() == token(NEW.encode(), "web", backend.name)


def test_a_cookie_of_another_pool_or_key_is_no_cookie():
    pool = sticky_pool()
    for key, name in ((OTHER, "web"), (NEW, "api")):
        value = token(key.encode(), name, pool.backends[0].name).decode()
        assert visit(pool, cookie=f"lb={value}")[1] is not None


def test_keys_rotate_without_anybody_losing_their_backend():
    old = sticky_pool(cookie={"keys": (OLD,)})
    visit(old)
    home, first = visit(old)  # the second: a new pool would begin with the first
    both = sticky_pool(cookie={"keys": (NEW, OLD)})
    again, second = visit(both, cookie=f"lb={first.value}")
    assert again.name == home.name
    assert second.value != first.value  # signed anew, by the first key
    assert visit(both, cookie=f"lb={second.value}")[1] is None
    new = sticky_pool(cookie={"keys": (NEW,)})
    third, none = visit(new, cookie=f"lb={second.value}")
    assert (third.name, none) == (home.name, None)
    assert visit(new, cookie=f"lb={first.value}")[1] is not None


@pytest.mark.parametrize("gone", ["down", "ill", "ejected", "drained"])
def test_when_their_backend_is_out_they_get_another_and_its_cookie(gone):
    clock = Clock()
    pool = sticky_pool(
        clock=clock, health=HealthOptions(fall=1), outlier=OutlierOptions(consecutive=1), picker="smooth_weighted"
    )
    home, first = visit(pool)
    if gone == "down":
        home.state = DOWN
    elif gone == "ill":
        pool.checked(home, "status 500")
    elif gone == "ejected":
        attempt(pool, home, RESET)
    else:
        pool.drain(home, 10)
        assert visit(pool, cookie=f"lb={first.value}") == (home, None)
        clock.now += 10
    other, second = visit(pool, cookie=f"lb={first.value}")
    assert other is not home
    assert visit(pool, cookie=f"lb={second.value}") == (other, None)


def test_after_a_retry_they_belong_to_who_answered():
    pool = sticky_pool()
    home, first = visit(pool)
    request = a_request(cookie=f"lb={first.value}")
    second = pool.pick(request, [home])
    assert second is not home
    assert cookie_of(pool, request, second).value != first.value


@pytest.mark.parametrize(
    ("fields", "scheme", "wanted"),
    [
        ({}, "http", {"path": "/", "secure": "", "httponly": True, "samesite": "Lax", "max-age": "", "domain": ""}),
        ({}, "https", {"secure": True}),
        ({"secure": False}, "https", {"secure": ""}),
        ({"secure": True, "same_site": "None"}, "http", {"secure": True, "samesite": "None"}),
        ({"http_only": False, "same_site": "Strict"}, "http", {"httponly": "", "samesite": "Strict"}),
        (
            {"path": "/shop", "domain": "shop.example", "max_age": 60},
            "http",
            {"path": "/shop", "domain": "shop.example", "max-age": "60"},
        ),
    ],
)
def test_attributes(fields, scheme, wanted):
    pool = sticky_pool(cookie=fields)
    request = a_request(scheme=scheme)
    set_one = cookie_of(pool, request, pool.pick(request))
    assert {name: set_one[name] for name in wanted} == wanted


def test_a_response_with_a_cookie_is_kept_out_of_shared_caches():
    for private in (True, False):
        pool, response = sticky_pool(cookie={"private": private}), Response(200)
        pool.mark(a_request(), pool.backends[0], response)
        assert (b"private" in response.headers.tokens(b"cache-control")) is private


def test_without_keys_one_is_drawn_that_survives_a_reload():
    one, other = sticky_pool(cookie={"keys": ()}), sticky_pool(cookie={"keys": ()})
    home, first = visit(one)
    assert visit(other, cookie=f"lb={first.value}")[1] is not None
    other = sticky_pool(cookie={"keys": ()})
    other.take_over(one)
    backend, none = visit(other, cookie=f"lb={first.value}")
    assert (backend.name, none) == (home.name, None)


def test_keys_come_from_a_file_and_are_never_shown(tmp_path):
    path = tmp_path / "keys"
    path.write_text(f"{NEW}\n\n  {OLD}\n")
    told = StickyCookieOptions(keys_file=str(path))
    assert keys_of(told) == (NEW.encode(), OLD.encode())
    assert keys_of(StickyCookieOptions(keys=(NEW, OLD))) == keys_of(told)
    path.write_text("\n")
    with pytest.raises(ValueError, match="has no key in it"):
        keys_of(told)
    path.write_text("too short to be a key\n")
    with pytest.raises(ValueError, match="has 21 bytes: it must have 32") as caught:
        keys_of(told)
    assert "too short" not in str(caught.value)
    with pytest.raises(FileNotFoundError):
        keys_of(StickyCookieOptions(keys_file=str(tmp_path / "nowhere")))
    shown = repr(options(sticky=StickyCookieOptions(keys=(NEW, OLD))))
    assert NEW not in shown
    assert "2 keys" in shown


# -------------------------------------------------------------------------------------------------- header and address
@pytest.mark.parametrize(
    ("sticky", "says"),
    [
        (StickyHeaderOptions(name="X-Session"), lambda who: {"x_session": who}),
        (StickySourceOptions(), lambda who: {"source": f"192.0.2.{who}"}),
    ],
)
def test_a_table_remembers_who_was_served_where(sticky, says):
    pool = a_pool(sticky=sticky)
    homes = {who: pool.pick(a_request(**says(who))) for who in "123456"}
    assert set(homes.values()) == set(pool.backends)
    assert {who: pool.pick(a_request(**says(who))) for who in "654321"} == homes
    pool.drain(homes["1"], 60)
    assert pool.pick(a_request(**says("1"))) is homes["1"]
    assert pool.pick(a_request(**says("9"))) is not homes["1"]


def test_the_table_has_a_bound_and_forgets_the_longest_unused():
    clock = Clock()
    pool = a_pool(2, clock, sticky=StickySourceOptions(entries=100, idle=60))
    first = pool.pick(a_request(source="192.0.2.1"))
    for i in range(10_000):
        clock.now += 0.001
        pool.pick(a_request(source=f"2001:db8::{i:x}"))
        if i % 50 == 0:
            assert pool.pick(a_request(source="192.0.2.1")) is first
    assert len(pool._sticky) == 100


def test_who_was_away_for_long_is_dealt_out_anew():
    clock = Clock()
    pool = a_pool(2, clock, sticky=StickySourceOptions(idle=60))
    first = pool.pick(a_request())
    clock.now += 60
    assert pool.pick(a_request()) is first
    clock.now += 61
    assert pool.pick(a_request()) is not first
    assert isinstance(pool._sticky, TableSticky)


def test_who_says_nothing_belongs_to_nobody():
    pool = a_pool(2, sticky=StickyHeaderOptions(name="x-session"))
    assert {pool.pick(a_request()) for _ in range(4)} == set(pool.backends)
    assert len(pool._sticky) == 0


# ------------------------------------------------------------------------------------------------------------- draining
@pytest.mark.parametrize("state", [ACTIVE, DRAINING])
def test_weight_nothing_takes_nobody_new(state):
    pool = sticky_pool(2)
    home, first = visit(pool)
    home.weight, home.state = 0.0, state
    assert visit(pool, cookie=f"lb={first.value}") == (home, None)
    assert all(visit(pool)[0] is not home for _ in range(5))


def test_a_sticky_pool_has_drained_when_the_window_ends():
    clock = Clock()
    pool = sticky_pool(clock=clock)
    home, _ = visit(pool)
    pool.drain(home, 10)
    assert not pool.finished(home)
    clock.now += 10
    assert pool.finished(home)
