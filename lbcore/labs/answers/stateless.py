"""Lab 09: answers that must pass, and mistakes with the key of the hint each must get.

Rule of this file: no answer shares code with the checker, which has its own models of the mistakes.
"""

# mypy: ignore-errors

import base64
import hashlib
import hmac
import json
import secrets
from binascii import Error
from hmac import compare_digest

from lbcore.labs.answers import Answers

ANSWERS = Answers()
RIGHT, WRONG, right, wrong = ANSWERS.RIGHT, ANSWERS.WRONG, ANSWERS.right, ANSWERS.wrong


def points(address, backend):
    return hashlib.sha256(f"{address} {backend}".encode()).digest()[:8]


def cookie_for(key, backend):
    return backend + "." + hmac.HMAC(key, backend.encode(), hashlib.sha256).hexdigest()


# -------------------------------------------------------------------------------------------------- 1: choose
@right("choose")
def choose_sorted(source, alive):
    if not alive:
        raise ValueError("nobody")
    address, _, _ = source.rpartition(":")
    return sorted(alive, key=lambda one: points(address, one))[-1]


@right("choose")
def choose_loop(source, alive):
    best, most = None, b""
    for one in alive:
        if points(source[: source.rindex(":")], one) > most:
            best, most = one, points(source[: source.rindex(":")], one)
    if best is None:
        raise ValueError("nobody")
    return best


@wrong("choose", "lowest")
def choose_lowest(source, alive):
    if not alive:
        raise ValueError("nobody")
    return min(alive, key=lambda one: points(source.rpartition(":")[0], one))


@wrong("choose", "port_counts")
def choose_port(source, alive):
    if not alive:
        raise ValueError("nobody")
    return max(alive, key=lambda one: points(source, one))


@wrong("choose", "first_colon")
def choose_split(source, alive):
    if not alive:
        raise ValueError("nobody")
    return max(alive, key=lambda one: points(source.split(":")[0], one))


@wrong("choose", "modulo")
def choose_modulo(source, alive):
    if not alive:
        raise ValueError("nobody")
    return alive[int.from_bytes(points(source.rpartition(":")[0], ""), "big") % len(alive)]


@wrong("choose", "first_listed")
def choose_first(source, alive):
    if not alive:
        raise ValueError("nobody")
    return alive[0]


@wrong("choose", "nobody")
def choose_index(source, alive):
    return sorted(alive, key=lambda one: points(source.rpartition(":")[0], one))[-1]


@wrong("choose", "accepted")
def choose_none(source, alive):
    return choose_loop(source, alive) if alive else None


@wrong("choose", "not_one_of_them")
def choose_number(source, alive):
    return alive.index(choose_sorted(source, alive))


@wrong("choose", "differs")
def choose_other_hash(source, alive):
    if not alive:
        raise ValueError("nobody")
    return max(alive, key=lambda one: hashlib.md5((source.rpartition(":")[0] + one).encode()).digest())


# ------------------------------------------------------------------------------------------------ 2: affinity
@right("affinity")
def affinity_plain(keys, cookie, fresh):
    if cookie is not None:
        name = cookie.rpartition(".")[0]
        for number, key in enumerate(keys):
            if compare_digest(cookie_for(key, name).encode("utf-8"), cookie.encode("utf-8")):
                return (name, None) if number == 0 else (name, cookie_for(keys[0], name))
    return fresh, cookie_for(keys[0], fresh)


@right("affinity")
def affinity_by_parts(keys, cookie, fresh):
    name, dot, mac = (cookie or "").rpartition(".")
    fits = [secrets.compare_digest(cookie_for(key, name).rpartition(".")[2].encode(), mac.encode()) for key in keys]
    if not (dot and any(fits)):
        return fresh, cookie_for(keys[0], fresh)
    return name, None if fits[0] else cookie_for(keys[0], name)


@wrong("affinity", "not_constant_time")
def affinity_equal(keys, cookie, fresh):
    name = (cookie or "").rpartition(".")[0]
    made = [cookie_for(key, name) for key in keys]
    if cookie not in made:
        return fresh, cookie_for(keys[0], fresh)
    return name, None if cookie == made[0] else made[0]


@wrong("affinity", "name_believed")
def affinity_trusting(keys, cookie, fresh):
    if cookie and cookie.rpartition(".")[0]:
        return cookie.rpartition(".")[0], None
    return fresh, cookie_for(keys[0], fresh)


@wrong("affinity", "first_key_only")
def affinity_one_key(keys, cookie, fresh):
    return affinity_plain(keys[:1], cookie, fresh)


@wrong("affinity", "not_renewed")
def affinity_lazy(keys, cookie, fresh):
    name, new = affinity_plain(keys, cookie, fresh)
    return name, new if new and cookie not in [cookie_for(key, name) for key in keys] else None


@wrong("affinity", "always_set")
def affinity_eager(keys, cookie, fresh):
    name, _ = affinity_plain(keys, cookie, fresh)
    return name, cookie_for(keys[0], name)


@wrong("affinity", "nothing_set")
def affinity_silent(keys, cookie, fresh):
    return affinity_plain(keys, cookie, fresh)[0], None


@wrong("affinity", "signed_by_last")
def affinity_last(keys, cookie, fresh):
    name, new = affinity_plain(keys, cookie, fresh)
    return name, new and cookie_for(keys[-1], name)


@wrong("affinity", "not_ascii")
def affinity_text(keys, cookie, fresh):
    name = (cookie or "").rpartition(".")[0]
    for key in keys:
        if hmac.compare_digest(cookie_for(key, name), cookie or ""):
            return name, None if key is keys[0] else cookie_for(keys[0], name)
    return fresh, cookie_for(keys[0], fresh)


@wrong("affinity", "no_cookie")
def affinity_certain(keys, cookie, fresh):
    return affinity_plain(keys, cookie.strip(), fresh)


@wrong("affinity", "refused")
def affinity_two_parts(keys, cookie, fresh):
    if cookie:
        _name, _mac = cookie.split(".")
    return affinity_plain(keys, cookie, fresh)


@wrong("affinity", "not_a_pair")
def affinity_backend(keys, cookie, fresh):
    return affinity_plain(keys, cookie, fresh)[0]


# --------------------------------------------------------------------------------------------------- 3: serve
@right("serve")
def serve_by_name(home, backends, now):
    table = {name: (state, until) for name, state, until, _ in backends}
    state, until = table.get(home, ("down", 0))
    if state == "active" or (state == "draining" and until > now):
        return home
    open_ = sorted((one for one in backends if one[1] == "active"), key=lambda one: one[3])
    return open_[0][0] if open_ else None


@right("serve")
def serve_one_pass(home, backends, now):
    best = None
    for one in backends:
        name, state, until, load = one
        if name == home and state != "down" and (state == "active" or now < until):
            return name
        if state == "active" and (best is None or load < best[3]):
            best = one
    return None if best is None else best[0]


def least(backends, states=("active",)):
    open_ = sorted((load, name) for name, state, _, load in backends if state in states)
    return open_[0][1] if open_ else None


@wrong("serve", "strangers_let_in")
def serve_all(home, backends, now):
    mine = [n for n, s, u, _ in backends if n == home and (s == "active" or (s == "draining" and now < u))]
    return mine[0] if mine else least(backends, ("active", "draining"))


@wrong("serve", "own_refused")
def serve_hard(home, backends, now):
    mine = [n for n, s, _, _ in backends if n == home and s == "active"]
    return mine[0] if mine else least(backends)


@wrong("serve", "never_ends")
def serve_for_ever(home, backends, now):
    mine = [n for n, s, _, _ in backends if n == home and s != "down"]
    return mine[0] if mine else least(backends)


@wrong("serve", "one_too_long")
def serve_longer(home, backends, now):
    mine = [n for n, s, u, _ in backends if n == home and (s == "active" or (s == "draining" and now <= u))]
    return mine[0] if mine else least(backends)


@wrong("serve", "dead_home")
def serve_dead(home, backends, now):
    return home if home in [one[0] for one in backends] else least(backends)


@wrong("serve", "busiest")
def serve_busiest(home, backends, now):
    mine = [n for n, s, u, _ in backends if n == home and (s == "active" or (s == "draining" and now < u))]
    open_ = sorted((load, name) for name, state, _, load in backends if state == "active")
    return mine[0] if mine else open_[-1][1] if open_ else None


@wrong("serve", "no_affinity")
def serve_anybody(home, backends, now):
    return least(backends)


def least_loaded(backends):
    open_ = [one for one in backends if one[1] == "active"]
    return open_[0]


@wrong("serve", "nobody")
def serve_somebody(home, backends, now):
    return serve_by_name(home, backends, now) or least_loaded(backends)[0]


@wrong("serve", "not_a_name")
def serve_row(home, backends, now):
    name = serve_by_name(home, backends, now)
    return next((one for one in backends if one[0] == name), None)


# --------------------------------------------------------------------------------------------------- 4: store
@right("store")
class StoreOfEnds:
    """Keeps when each session ends."""

    def __init__(self, idle):
        self.idle, self.items, self.ends = idle, {}, {}

    def alive(self, session, now):
        return session in self.items and now < self.ends[session]

    def get(self, session, now):
        if not self.alive(session, now):
            return None
        self.ends[session] = now + self.idle
        return self.items[session]

    def add(self, session, now):
        self.items[session] = self.items[session] + 1 if self.alive(session, now) else 1
        self.ends[session] = now + self.idle
        return self.items[session]

    def forget(self, session):
        if session in self.items:
            del self.items[session], self.ends[session]

    def sweep(self, now):
        gone = [one for one in self.items if not self.alive(one, now)]
        for one in gone:
            self.forget(one)
        return len(gone)


@right("store")
class StoreOfPairs:
    """Rebuilds its table when it sweeps."""

    def __init__(self, idle):
        self.idle, self.table = idle, {}

    def get(self, session, now):
        pair = self.table.get(session)
        if not pair or now - pair[1] >= self.idle:
            return None
        pair[1] = now
        return pair[0]

    def add(self, session, now):
        self.table[session] = [(self.get(session, now) or 0) + 1, now]
        return self.table[session][0]

    def forget(self, session):
        self.table.pop(session, 0)

    def sweep(self, now):
        before = len(self.table)
        self.table = {one: pair for one, pair in self.table.items() if now - pair[1] < self.idle}
        return before - len(self.table)


@wrong("store", "never_over")
class StoreForEver(StoreOfEnds):
    def alive(self, session, now):
        return session in self.items


@wrong("store", "not_renewed")
class StoreOfBuyers(StoreOfEnds):
    def get(self, session, now):
        return self.items[session] if self.alive(session, now) else None


@wrong("store", "one_too_long")
class StoreInclusive(StoreOfEnds):
    def alive(self, session, now):
        return session in self.items and now <= self.ends[session]


@wrong("store", "old_cart")
class StoreOfOldCarts(StoreOfEnds):
    def add(self, session, now):
        self.items[session] = self.items.get(session, 0) + 1
        self.ends[session] = now + self.idle
        return self.items[session]


@wrong("store", "swept_nothing")
class StoreThatCounts(StoreOfEnds):
    def sweep(self, now):
        return sum(not self.alive(one, now) for one in self.items)


@wrong("store", "unknown")
class StoreThatTrusts(StoreOfEnds):
    def forget(self, session):
        del self.items[session], self.ends[session]


@wrong("store", "not_a_number")
class StoreThatIsSilent(StoreOfEnds):
    def sweep(self, now):
        super().sweep(now)


@wrong("store", "not_the_same_twice")
class StoreOfAll(StoreOfEnds):
    """One table for all stores there are."""

    shared_items, shared_ends = {}, {}

    def __init__(self, idle):
        self.idle, self.items, self.ends = idle, self.shared_items, self.shared_ends


# -------------------------------------------------------------------------------------------------- 5: accept
def unpadded(part):
    return base64.b64decode(part.encode("ascii") + b"=" * (-len(part) % 4), altchars=b"-_")


def parts(token, key):
    """(header, claims, is the signature good?)."""
    head, body, mac = token.split(".")
    wanted = hmac.new(key, f"{head}.{body}".encode(), hashlib.sha256).digest()
    return json.loads(unpadded(head)), json.loads(unpadded(body)), secrets.compare_digest(wanted, unpadded(mac))


@right("accept")
def accept_plain(token, key, now, revoked):
    try:
        header, claims, good = parts(token, key)
        if good and header["alg"] == "HS256" and claims["exp"] > now and claims["jti"] not in revoked:
            return claims["sub"]
    except (ValueError, KeyError, TypeError, Error):
        pass
    return None


@right("accept")
def accept_encoded(token, key, now, revoked):
    text, dot, given = token.rpartition(".")
    mac = base64.urlsafe_b64encode(hmac.digest(key, text.encode(), "sha256")).decode().rstrip("=")
    if not dot or not hmac.compare_digest(mac.encode(), given.encode()):
        return None
    header, claims = (json.loads(unpadded(part)) for part in text.split("."))
    if not isinstance(claims, dict) or header.get("alg") != "HS256":
        return None
    if claims.get("exp", 0) <= now or claims.get("jti") in revoked:
        return None
    return claims.get("sub")


def lenient(token, key, now, revoked, signed=True, none=False, alg=True, times=True, late=0, listed=True):
    try:
        header, claims, good = parts(token, key)
        ok = not signed or (good and (not alg or header["alg"] == "HS256")) or (none and header["alg"] == "none")
        ok = ok and (not times or now < claims["exp"] + late) and not (listed and claims["jti"] in revoked)
        return claims["sub"] if ok and claims["exp"] else None
    except (ValueError, KeyError, TypeError, Error):
        return None


@wrong("accept", "not_signed")
def accept_unsigned(token, key, now, revoked):
    return lenient(token, key, now, revoked, signed=False)


@wrong("accept", "none_believed")
def accept_none(token, key, now, revoked):
    return lenient(token, key, now, revoked, none=True)


@wrong("accept", "alg_not_read")
def accept_any_alg(token, key, now, revoked):
    return lenient(token, key, now, revoked, alg=False)


@wrong("accept", "for_ever")
def accept_for_ever(token, key, now, revoked):
    return lenient(token, key, now, revoked, times=False)


@wrong("accept", "one_too_long")
def accept_inclusive(token, key, now, revoked):
    return lenient(token, key, now, revoked, late=1)


@wrong("accept", "never_revoked")
def accept_revoked(token, key, now, revoked):
    return lenient(token, key, now, revoked, listed=False)


@wrong("accept", "garbage")
def accept_without_claims(token, key, now, revoked):
    if accept_plain(token, key, now, revoked):
        return accept_plain(token, key, now, revoked)
    try:
        _, claims, good = parts(token, key)
    except (ValueError, Error):
        return None
    return claims["sub"] if good and not claims["exp"] else None


@wrong("accept", "refused")
def accept_strict(token, key, now, revoked):
    _head, _body, _mac = token.split(".")
    return accept_plain(token, key, now, revoked)


@wrong("accept", "not_a_subject")
def accept_yes(token, key, now, revoked):
    return accept_plain(token, key, now, revoked) is not None
