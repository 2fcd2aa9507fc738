# ---
# jupyter:
#   jupytext:
#     text_representation:
#       format_name: percent
# book:
#   title: From sticky to stateless
#   question: Can you take the memory out of a shop's servers, step by step, until any of them will do?
#   tier: 0
#   minutes: 75
#   memory_mb: 400
#   after: [13-sticky-sessions]
# ---

# %% [markdown]
# A shop keeps its carts in the memory of its servers. You will first make clients stick, then let servers go without
# harm, and at last make it all unnecessary: a store that all servers share, and a token that needs none.
#
# Each exercise has a specification, a stub, a table (`show_…`) of what your code says, and a checker (`check_…`). The
# checkers run your code in a process of its own, so nothing that it does can do harm.

# %%
import hmac
import json
from base64 import urlsafe_b64decode

from lbcore import labs
from lbcore.labs.stateless import score, sign

# %% [markdown]
# ## Exercise 1 · Affinity by address
#
# `source` is a client's address and port: `192.0.2.7:40001`, or `[2001:db8::7]:5000` for IPv6. `alive` lists backends.
# `score(address, backend)` is a number from a hash of both. Choose the backend with the highest score for the
# *address*: all its connections have to come to the same. When one backend is lost, only its own clients may move.
# Nobody alive: ValueError.


# %%
def choose(source: str, alive: list[str]) -> str:
    """The backend of `alive` to which the client's address belongs."""
    ### BEGIN SOLUTION
    if not alive:
        raise ValueError("nobody is alive")
    address = source.rpartition(":")[0]
    return max(alive, key=lambda backend: score(address, backend))
    ### END SOLUTION


# %%
labs.stateless.show_choose(choose)

# %%
labs.stateless.check_choose(choose)

# %%
### BEGIN HIDDEN TESTS
assert labs.stateless.check_choose(choose, seed=2026).passed
### END HIDDEN TESTS

# %% [markdown]
# This is rendezvous hashing. It still sends a whole mobile network to one backend, so on to cookies.
#
# ## Exercise 2 · Affinity by cookie
#
# `sign(key, backend)` makes a cookie: the backend's name, a dot, and an HMAC in hexadecimal. (Names may have dots,
# too.) A cookie is good if one of `keys` made it. The first key signs; the others are older, and believed until they
# are removed. Give back two things: the backend, and the cookie to set.
#
# | the client brings | backend | to set |
# |---|---|---|
# | a good cookie by the first key | the cookie's | `None` |
# | a good cookie by another key | the cookie's | the same, signed by the first key |
# | anything else, or nothing (`None`) | `fresh` | one for `fresh`, signed by the first key |
#
# Compare with `hmac.compare_digest`, which takes the same time wherever the difference is. It takes bytes, or ASCII
# text; a client may send any text.


# %%
def affinity(keys: list[bytes], cookie: str | None, fresh: str) -> tuple[str, str | None]:
    """(backend, cookie to set or None)."""
    ### BEGIN SOLUTION
    brought = (cookie or "").encode()
    backend = (cookie or "").rpartition(".")[0]
    for key in keys:
        if hmac.compare_digest(sign(key, backend).encode(), brought):
            return backend, None if key == keys[0] else sign(keys[0], backend)
    return fresh, sign(keys[0], fresh)
    ### END SOLUTION


# %%
labs.stateless.show_affinity(affinity)

# %%
labs.stateless.check_affinity(affinity)

# %%
### BEGIN HIDDEN TESTS
assert labs.stateless.check_affinity(affinity, seed=2026).passed
### END HIDDEN TESTS

# %% [markdown]
# ## Exercise 3 · Draining
#
# Backends come as lists `[name, state, until, load]`. An *active* one serves everybody. A *draining* one serves those
# who belong to it, as long as `now < until`, and nobody else. One that is *down* serves nobody. `home` names the
# backend that a client belongs to (`None`: nobody's yet; it may also be gone from the table).
#
# Send the client home if home may serve it. Else to the active backend with the least load. If there is none: `None`.


# %%
def serve(home: str | None, backends: list[list], now: int) -> str | None:
    """The name of the backend that serves this client now."""
    ### BEGIN SOLUTION
    for name, state, until, _ in backends:
        if name == home and (state == "active" or (state == "draining" and now < until)):
            return name
    active = [(load, name) for name, state, _, load in backends if state == "active"]
    return min(active)[1] if active else None
    ### END SOLUTION


# %%
labs.stateless.show_serve(serve)

# %%
labs.stateless.check_serve(serve)

# %%
### BEGIN HIDDEN TESTS
assert labs.stateless.check_serve(serve, seed=2026).passed
### END HIDDEN TESTS

# %% [markdown]
# At the end of the window the carts of those who stayed are lost all the same. The cart has to move out.
#
# ## Exercise 4 · Moving the session out
#
# A store, one for all servers. A session is a number of items. It is over when it was not used for `idle` seconds
# (`now - last >= idle`); `get` and `add` use it.
#
# | method | does | gives |
# |---|---|---|
# | `get(session, now)` | looks | the items, or `None` if there is no such session or it is over |
# | `add(session, now)` | one item more; a new session if there was none, or it was over | the items now |
# | `forget(session)` | ends it, if it is there | nothing |
# | `sweep(now)` | throws out all that are over | how many they were |


# %%
class Store:
    """Sessions with expiry."""

    def __init__(self, idle: int) -> None:
        ### BEGIN SOLUTION
        self.idle = idle
        self.kept = {}  # session: (items, last used)
        ### END SOLUTION

    def get(self, session: str, now: int) -> int | None:
        """Its items, or None."""
        ### BEGIN SOLUTION
        items, last = self.kept.get(session, (0, None))
        if last is None or now - last >= self.idle:
            return None
        self.kept[session] = items, now
        return items
        ### END SOLUTION

    def add(self, session: str, now: int) -> int:
        """One item more; how many there are."""
        ### BEGIN SOLUTION
        items = (self.get(session, now) or 0) + 1
        self.kept[session] = items, now
        return items
        ### END SOLUTION

    def forget(self, session: str) -> None:
        """End it."""
        ### BEGIN SOLUTION
        self.kept.pop(session, None)
        ### END SOLUTION

    def sweep(self, now: int) -> int:
        """Throw out what is over; how many."""
        ### BEGIN SOLUTION
        gone = [session for session, (_, last) in self.kept.items() if now - last >= self.idle]
        for session in gone:
            del self.kept[session]
        return len(gone)
        ### END SOLUTION


# %%
labs.stateless.show_store(Store)

# %%
labs.stateless.check_store(Store)

# %%
### BEGIN HIDDEN TESTS
assert labs.stateless.check_store(Store, seed=2026).passed
### END HIDDEN TESTS

# %% [markdown]
# ## Exercise 5 · A token, and a list of those that no longer count
#
# A JSON Web Token has three parts with dots between them: header, claims, signature. Each is base64url without its
# padding (`urlsafe_b64decode` wants it back: `=` until the length divides by 4). Header and claims are JSON objects. It
# counts if
#
# - the header's `alg` is `HS256`, and nothing else;
# - the signature is `hmac.digest(key, text, "sha256")`, where `text` is the first two parts with their dot, as bytes;
# - `now` is before the claim `exp`;
# - the claim `jti` is not in `revoked`.
#
# Give back the claim `sub`, or `None` if it does not count. A client may send anything: nothing may raise.


# %%
def accept(token: str, key: bytes, now: int, revoked: list[str]) -> str | None:
    """Whose token this is; None if it does not count."""
    ### BEGIN SOLUTION
    try:
        text, _, _ = token.rpartition(".")
        header, claims, signature = (urlsafe_b64decode(part + "=" * (-len(part) % 4)) for part in token.split("."))
        if json.loads(header)["alg"] != "HS256":
            return None
        if not hmac.compare_digest(hmac.digest(key, text.encode(), "sha256"), signature):
            return None
        claims = json.loads(claims)
        return claims["sub"] if now < claims["exp"] and claims["jti"] not in revoked else None
    except (ValueError, KeyError, TypeError):
        return None
    ### END SOLUTION


# %%
labs.stateless.show_accept(accept)

# %%
labs.stateless.check_accept(accept)

# %%
### BEGIN HIDDEN TESTS
assert labs.stateless.check_accept(accept, seed=2026).passed
### END HIDDEN TESTS

# %% [markdown]
# ## What you have built
#
# What `lbcore.l7.pools` does with a request's cookie and a draining backend, what `lbcore.testbed.session_stores` does
# in SQLite and Redis, and the part of PyJWT that this needs. For real tokens take the library: it knows more ways to be
# wrong than this lab could show.
#
# ## As in an interview
#
# **Your `affinity` compares in constant time. The proxy's own does not compare at all: it looks the cookie up in a
# dictionary of all good ones. Is that worse?**
# <details><summary>Answer</summary>
#
# No. A dictionary first compares hashes that depend on a secret of the process, and values only when all bits of those
# agree, so the time tells nothing about how close a guess was. It works because there are so few good values.
#
# </details>
#
# **Who calls `sweep`, and what if nobody does?**
# <details><summary>Answer</summary>
#
# Answers stay right, for `get` looks at the time itself, and memory grows for ever: every robot that keeps no cookies
# leaves a session behind with each request. Real stores sweep a little with each request, or in the background.
#
# </details>
#
# **How long does the list of revoked tokens get, and when may an entry go?**
# <details><summary>Answer</summary>
#
# An entry may go when its token has expired: from then on `exp` refuses it. So the list holds the logouts of one
# token's life. With lives of minutes it is small enough to be copied to every server.
#
# </details>
