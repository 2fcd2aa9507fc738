"""Lab 09: the specifications are what the library does."""

import json

import jwt
import pytest

from lbcore.l7.message import Headers, Peer, Request, Response
from lbcore.l7.pools.options import BackendOptions, PoolOptions, StickyCookieOptions
from lbcore.l7.pools.pool import Backend, Pool
from lbcore.labs.stateless import affinity, draining, storing, tokens
from lbcore.testbed.session_stores import Memory


def test_who_loses_nothing_stays():
    clients = [f"10.0.{i}.1:80" for i in range(200)]
    before = {one: affinity.right_choose(one, affinity.NAMES) for one in clients}
    left = [name for name in affinity.NAMES if name != "bee"]
    assert {one for one in clients if affinity.right_choose(one, left) != before[one]} == {
        one for one, name in before.items() if name == "bee"
    }
    assert len(set(before.values())) == len(affinity.NAMES)


def test_cookies_and_drains_are_the_pools():
    """Scenes that both know: a good cookie, a forged one, an old key; a drain's window."""
    now = [0.0]
    keys = ("n" * 32, "o" * 32)

    def pool(*with_keys):
        backends = tuple(BackendOptions(address=f"10.0.0.{i}:80") for i in (1, 2))
        sticky = StickyCookieOptions(keys=with_keys)
        return Pool.build(PoolOptions(name="p", backends=backends, sticky=sticky), lambda: now[0])

    def visit(one: Pool, cookie: str = "") -> tuple[Backend, str | None]:
        headers = Headers([(b"cookie", f"lb={cookie}".encode())] if cookie else [])
        request = Request(b"GET", b"/", b"a", b"http", headers, Peer("192.0.2.1", 1))
        backend, response = one.pick(request), Response(200)
        one.mark(request, backend, response)
        found = response.headers.get(b"set-cookie")
        return backend, found and found.decode().partition(";")[0].partition("=")[2]

    old_pool = pool(keys[1])
    home, old = visit(old_pool)
    both = pool(*keys)
    again, renewed = visit(both, old)
    lab_keys = [key.encode() for key in keys]
    lab = affinity.right_affinity(lab_keys, affinity.sign(lab_keys[1], home.name), "x")
    assert (again.name, renewed is None) == (lab[0], lab[1] is None) == (home.name, False)
    kept = visit(both, renewed)
    lab = affinity.right_affinity(lab_keys, lab[1], "x")
    assert (kept[0].name, kept[1]) == (lab[0], lab[1]) == (home.name, None)
    assert visit(both, renewed[:-1])[1] is not None and affinity.right_affinity(lab_keys, "x.0", "x")[1]  # noqa: PT018
    both.drain(kept[0], 100)
    other = next(each for each in both.backends if each is not kept[0])
    table = [[kept[0].name, "draining", 100, 0], [other.name, "active", 0, 0]]
    for now[0] in (0.0, 99.0, 100.0):
        for cookie, belongs in ((renewed, kept[0].name), ("", None)):
            assert visit(both, cookie)[0].name == draining.right_serve(belongs, table, int(now[0]))


@pytest.mark.parametrize("seed", range(5))
def test_the_store_is_the_test_beds(seed):
    now = [0.0]
    for case in storing.store_cases(seed):
        wanted: list[object] = []
        store = Memory(storing.IDLE, lambda: now[0])
        for _, method, *given in case.arguments[0]:
            if method != "forget":
                now[0] = float(given[-1])
            if method == "get":
                items = store.get(given[0])
                if items is not None:
                    store.put(given[0], items)
                wanted.append(items)
            elif method == "sweep":
                wanted.append("?")
            else:
                wanted.append(getattr(store, method)(given[0]))
        found = storing.right_store(case.arguments[0])
        assert [one for one, other in zip(found, wanted, strict=True) if other != "?"] == [
            one for one in wanted if one != "?"
        ]


@pytest.mark.parametrize("seed", [1, 2026])
def test_tokens_are_those_of_pyjwt(seed):
    options = {"verify_exp": False, "require": ["exp", "jti", "sub"]}  # its clock is the machine's
    for case in tokens.accept_cases(seed):
        token, key, now, revoked = case.arguments
        try:
            claims = jwt.decode(token, key, ["HS256"], options=options)
            good = now < claims["exp"] and claims["jti"] not in revoked
        except (jwt.InvalidTokenError, UnicodeEncodeError, ValueError):
            good = False
        assert tokens.right_accept(*case.arguments) == (claims["sub"] if good else None), token
    made = jwt.encode({"sub": "x", "jti": "y", "exp": tokens.NOW + 1}, tokens.KEY, "HS256")
    assert tokens.right_accept(made, tokens.KEY, tokens.NOW, []) == "x"
    assert json.loads(json.dumps(jwt.get_unverified_header(tokens.token({})))) == {"alg": "HS256", "typ": "JWT"}
