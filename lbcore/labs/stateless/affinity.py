"""Lab 09, exercises 1 and 2: affinity by address, and by a signed cookie.

Rule of this file: specifications, cases and hints; `score` and `sign` are given to the student as well.

Theory. Whether two strings were compared in constant time cannot be told from the answer. So a right answer is run once
more with a `compare_digest` that takes note of being called.
"""

from __future__ import annotations

import hmac
import random
from collections.abc import Callable
from hashlib import sha256
from typing import Any

from lbcore.labs.judge import Case, Exercise, Mistake, Property, Verdict, judge
from lbcore.labs.sandbox import run

NAMES = ["ant", "bee", "cat", "dog", "elk"]
SOURCES = ["192.0.2.7:40001", "192.0.2.7:40002", "198.51.100.9:443", "[2001:db8::7]:5000", "[2001:db8:9::1]:5000"]


def score(address: str, backend: str) -> int:
    """How well a backend suits an address: 64 bits of a hash of both."""
    return int.from_bytes(sha256(f"{address} {backend}".encode()).digest()[:8], "big")


def sign(key: bytes, backend: str) -> str:
    """The cookie for a backend: its name, a dot, and the HMAC of the name (RFC 2104) in hexadecimal."""
    return f"{backend}.{hmac.new(key, backend.encode(), 'sha256').hexdigest()}"


# ----------------------------------------------------------------------------------------------------- 1: by address
def right_choose(source: str, alive: list[str]) -> str:
    """The backend with the highest score for the source's address."""
    if not alive:
        raise ValueError("nobody is alive")
    address = source.rpartition(":")[0]
    return max(alive, key=lambda backend: score(address, backend))


def choose_cases(seed: int) -> list[Case]:
    """All alive, one gone, another order, one left; then nobody."""
    rng = random.Random(seed)
    sources = [*SOURCES, *(f"10.{rng.randrange(256)}.0.{i}:{rng.randrange(1024, 65536)}" for i in range(12))]
    found = [Case((source, list(NAMES))) for source in sources]
    found += [Case((source, [name for name in NAMES if name != gone])) for source in sources for gone in ("ant", "dog")]
    found += [Case((source, rng.sample(NAMES, 4))) for source in sources] + [Case((SOURCES[0], ["cat"]))]
    return [*found, Case((SOURCES[0], []))]


def one_of_them(answer: Any, source: str, alive: list[str]) -> str | None:
    """A backend that is alive."""
    return None if answer in alive else "Give back one of the backends in alive."


def by(best: Callable[..., str], address: Callable[[str], str]) -> Callable[..., str]:
    """Another idea of the best, or of the address."""
    return lambda source, alive: best(alive, key=lambda backend: score(address(source), backend))


CHOOSE = Exercise(
    names=("source", "alive"),
    right=right_choose,
    praise="Right in all {cases} cases. Who loses nothing stays where they are.",
    mistakes=(
        Mistake(
            "lowest",
            by(min, lambda source: source.rpartition(":")[0]),
            "You take the lowest score. Either would do, but all balancers have to agree: the highest.",
        ),
        Mistake(
            "port_counts",
            by(max, lambda source: source),
            "You hash the port, too. The client's next connection has another port, and would go elsewhere.",
        ),
        Mistake(
            "first_colon",
            by(max, lambda source: source.partition(":")[0]),
            "You cut the source at its first colon. In [2001:db8::7]:5000 that is in the address; take the last one.",
        ),
        Mistake(
            "modulo",
            lambda source, alive: alive[score(source.rpartition(":")[0], "") % len(alive)],
            "A remainder by the number of backends: when one is lost nearly all clients move, and who counts in "
            "another order disagrees. Score each backend, take the best.",
        ),
        Mistake(
            "first_listed",
            lambda source, alive: alive[0],
            "You always take the first. Score each backend with this address, and take the best.",
        ),
    ),
    properties=(Property("not_one_of_them", one_of_them),),
    accepted=lambda *_: "Nobody is alive: there is no answer. Raise ValueError.",
    advice={
        "IndexError": ("nobody", "the list may be empty: raise ValueError."),
        "ZeroDivisionError": ("nobody", "the list may be empty: raise ValueError."),
    },
)


def check_choose(choose: Any, seed: int = 1) -> Verdict:
    """Exercise 1: choose(source, alive) -> a backend, or ValueError."""
    return judge(CHOOSE, choose, choose_cases(seed))


# ------------------------------------------------------------------------------------------------------ 2: by cookie
KEYS = [b"new" * 11, b"old" * 11]
Given = tuple[str, str | None]


def right_affinity(keys: list[bytes], cookie: str | None, fresh: str) -> Given:
    """(backend, cookie to set or None)."""
    backend = (cookie or "").rpartition(".")[0]
    for place, key in enumerate(keys):
        if cookie is not None and hmac.compare_digest(sign(key, backend).encode(), cookie.encode()):
            return backend, None if place == 0 else sign(keys[0], backend)
    return fresh, sign(keys[0], fresh)


def affinity_cases(seed: int) -> list[Case]:
    """No cookie; good ones by each key; other keys, other names, cut, changed, strange."""
    rng = random.Random(seed)
    found: list[str | None] = [None]
    for name in ("ant", "10.0.0.1:80", "shop.example"):
        good = sign(KEYS[0], name)
        at = rng.randrange(len(name) + 1, len(good))
        other = "0" if good[at] != "0" else "1"
        found += [good, sign(KEYS[1], name), sign(b"other" * 8, name), good[:at] + other + good[at + 1 :], good[:-1]]
        found += [good.replace(name, "bee"), name, name + "."]
    found += ["", ".", "...", "ant.é", "ä" * 10 + ".00"]
    return [Case((list(keys), one, "dog")) for keys in (KEYS, KEYS[:1]) for one in found]


def pair(answer: Any, *_: Any) -> str | None:
    """Two things."""
    if not isinstance(answer, list) or len(answer) != 2 or type(answer[0]) is not str:
        return "Give back two things: the backend, and the cookie to set (None: no need)."
    return None


def trusting(keys: list[bytes], cookie: str | None, fresh: str) -> Given:
    """The name is believed as it stands."""
    backend = (cookie or "").rpartition(".")[0]
    return (backend, None) if backend else (fresh, sign(keys[0], fresh))


def renewing(keys: list[bytes], cookie: str | None, fresh: str, *, own: bool, old: bool) -> Given:
    """Cookies are set anew for good ones of the first key, or not for those of old ones."""
    backend, new = right_affinity(keys, cookie, fresh)
    first = cookie == sign(keys[0], backend)
    good = any(cookie == sign(key, backend) for key in keys)
    return backend, sign(keys[0], backend) if (first and own) or (new and (not good or old)) else None


AFFINITY = Exercise(
    names=("keys", "cookie", "fresh"),
    right=right_affinity,
    praise="Right in all {cases} cases, and nothing to be learnt by measuring time.",
    mistakes=(
        Mistake(
            "name_believed", trusting, "You believe the name without its signature. Anybody can write a name: sign it "
            "yourself, and compare.",
        ),
        Mistake(
            "first_key_only",
            lambda keys, cookie, fresh: right_affinity(keys[:1], cookie, fresh),
            "You try the first key only. While keys rotate, cookies by the older ones are still out there, and good.",
        ),
        Mistake(
            "not_renewed",
            lambda keys, cookie, fresh: renewing(keys, cookie, fresh, own=False, old=False),
            "A cookie by an old key is good, but that key will go. Set it anew, signed by the first.",
        ),
        Mistake(
            "always_set",
            lambda keys, cookie, fresh: renewing(keys, cookie, fresh, own=True, old=True),
            "You set a cookie that the client has already. By the first key: None.",
        ),
        Mistake(
            "nothing_set",
            lambda keys, cookie, fresh: (right_affinity(keys, cookie, fresh)[0], None),
            "You never set a cookie. Who comes without a good one gets one for fresh.",
        ),
        Mistake(
            "signed_by_last",
            lambda keys, cookie, fresh: (
                (found := right_affinity(keys, cookie, fresh))[0],
                None if found[1] is None else sign(keys[-1], found[0]),
            ),
            "You sign with the last key. The first one signs, the others are only believed.",
        ),
    ),
    properties=(Property("not_a_pair", pair),),
    advice={
        "TypeError": ("not_ascii", "compare_digest takes text only if it is ASCII, and a client sends what it likes. "
                      "Compare bytes: encode both. (And no cookie is None.)"),
        "AttributeError": ("no_cookie", "a client without a cookie brings None."),
    },
)  # fmt: skip


def check_affinity(affinity: Any, seed: int = 1) -> Verdict:
    """Exercise 2: affinity(keys, cookie, fresh) -> (backend, cookie to set or None)."""
    verdict = judge(AFFINITY, affinity, affinity_cases(seed))
    if verdict.passed and not compares_in_constant_time(affinity):
        return Verdict(
            "not_constant_time",
            "Right answers, but == stops at the first difference, and from how long it took an attacker can learn a "
            "signature byte by byte. Compare with hmac.compare_digest.",
            "right: hmac.compare_digest(a, b)\nyours: it was never called",
        )
    return verdict


def compares_in_constant_time(affinity: Any) -> bool:
    """Whether a good cookie is compared by `compare_digest`, under whatever name the student has it."""
    original, called = hmac.compare_digest, []

    def noting(one: Any, other: Any) -> bool:
        called.append(True)
        return original(one, other)

    def watched(*given: Any) -> bool:  # in the sandbox's own process: what is replaced here ends with it
        import secrets

        hmac.compare_digest = secrets.compare_digest = noting  # type: ignore[assignment]
        own = getattr(affinity, "__globals__", {})
        own.update({name: noting for name, value in own.items() if value is original})
        affinity(*given)
        return bool(called)

    outcomes = run(watched, [(list(KEYS), sign(KEYS[0], "ant"), "dog")])
    return outcomes[0].kind == "answer" and outcomes[0].value is True
