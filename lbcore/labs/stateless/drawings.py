"""Lab 09's drawings: tables of what a student's functions said, and two shops that share a student's store.

Rule of this file: it shows what it was given, right or wrong. Where there is nothing to show it gives back the reason
in words.
"""

from __future__ import annotations

from typing import Any

from lbcore.labs.drawing import called
from lbcore.labs.judge import Verdict
from lbcore.labs.stateless.affinity import KEYS, NAMES, sign
from lbcore.labs.stateless.draining import SMALL as BACKENDS
from lbcore.labs.stateless.storing import SMALL as SCRIPT
from lbcore.labs.stateless.storing import played
from lbcore.labs.stateless.tokens import KEY, NOW, token
from lbcore.measure.table import Table

CLIENTS = 300


def told(value: Any) -> str:
    """A value in a word or two."""
    return value if isinstance(value, str) and len(value) <= 24 else f"{str(value)[:22]}{'…' * (len(str(value)) > 22)}"


def show_choose(choose: Any) -> Table | Verdict:
    """Three hundred clients, then the same after `cat` is lost: who had to move."""
    clients = [f"198.51.{i // 250}.{i % 250}:{1024 + i}" for i in range(CLIENTS)]
    left = [name for name in NAMES if name != "cat"]
    outcomes, reason = called(choose, *((one, list(names)) for names in (NAMES, left) for one in clients))
    if reason:
        return reason
    answers = [one.value for one in outcomes]
    before, after = answers[:CLIENTS], answers[CLIENTS:]
    rows = []
    for name in NAMES:
        moved = sum(old == name != new for old, new in zip(before, after, strict=True))
        rows.append((name, before.count(name), after.count(name), moved))
    columns = ("backend", "clients", "clients when cat is gone", "of the first, had to move")
    return Table(columns, tuple(rows))


def show_affinity(affinity: Any) -> Table | Verdict:
    """Cookies of all sorts. The new key is the first; dog is whoever is next in turn."""
    good = sign(KEYS[0], "ant")
    cookies = {
        "none": None,
        "ant's, by the new key": good,
        "ant's, by the old key": sign(KEYS[1], "ant"),
        "ant's, last letter changed": good[:-1] + ("0" if good[-1] != "0" else "1"),
        "bee's name, ant's signature": good.replace("ant", "bee"),
        "a name alone": "bee",
    }
    outcomes, reason = called(affinity, *((list(KEYS), one, "dog") for one in cookies.values()))
    if reason:
        return reason
    rows = []
    for name, one in zip(cookies, outcomes, strict=True):
        backend, new = one.value if isinstance(one.value, list) and len(one.value) == 2 else (one.value, "?")
        rows.append((name, told(backend), told(new)))
    return Table(("cookie", "yours: goes to", "yours: sets"), tuple(rows))


def show_serve(serve: Any) -> Table | Verdict:
    """A small table of backends, around the end of ant's window."""
    homes = ["ant", "bee", "dog", None]
    times = [50, 99, 100]
    outcomes, reason = called(
        serve, *((home, [list(each) for each in BACKENDS], now) for home in homes for now in times)
    )
    if reason:
        return reason
    answers = [told(one.value) for one in outcomes]
    rows = [(home or "(nobody's)", *answers[3 * row : 3 * row + 3]) for row, home in enumerate(homes)]
    caption = "; ".join(f"{name}: {state}, load {load}" for name, state, _, load in BACKENDS)
    return Table(("client of", *(f"now = {now}" for now in times)), tuple(rows), f"{caption}. ant drains until 100.")


def show_store(store: Any) -> Table | Verdict:
    """Two shops that share your store."""
    outcomes, reason = called(played(store) if callable(store) else store, (SCRIPT,))
    if reason:
        return reason
    rows = [
        (server, f"{method}({', '.join(map(repr, given))})", told(value))
        for (server, method, *given), value in zip(SCRIPT, outcomes[0].value, strict=True)
    ]
    return Table(("server", "asks", "your store says"), tuple(rows), "idle = 10")


def show_accept(accept: Any) -> Table | Verdict:
    """A handful of tokens."""
    claims = {"sub": "customer-7", "jti": "t1", "exp": NOW + 60}
    good = token(claims)
    tokens = {
        "in order": (good, []),
        "expired": (token({**claims, "exp": NOW - 60}), []),
        "revoked": (good, ["t1"]),
        "signed by somebody else": (token(claims, b"another key" * 3), []),
        "alg: none": (token(claims, alg="none"), []),
        "no token": ("hello", []),
    }
    outcomes, reason = called(accept, *((one, KEY, NOW, revoked) for one, revoked in tokens.values()))
    if reason:
        return reason
    rows = [(name, len(one), told(out.value)) for (name, (one, _)), out in zip(tokens.items(), outcomes, strict=True)]
    return Table(("token", "bytes", "yours: whose it is"), tuple(rows))
