"""Lab 09, exercise 5: a signed token, its time, and the list of those that no longer count.

Rule of this file: specification, cases and hints. Tokens are JSON Web Tokens (RFC 7519) with HS256; a client may send
anything, and nothing that it sends may raise.
"""

from __future__ import annotations

import hmac
import json
import random
from base64 import urlsafe_b64decode, urlsafe_b64encode
from typing import Any

from lbcore.labs.judge import Case, Exercise, Mistake, Property, Verdict, judge

KEY, NOW = b"a secret of 32 bytes or more ....", 1_000_000


def packed(value: Any) -> str:
    """JSON in base64url, without padding (RFC 7515, section 2)."""
    return urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()


def token(claims: Any, key: bytes = KEY, alg: str = "HS256") -> str:
    """A token with these claims."""
    text = f"{packed({'alg': alg, 'typ': 'JWT'})}.{packed(claims)}"
    mac = hmac.digest(key, text.encode(), "sha256") if alg == "HS256" else b""
    return f"{text}.{urlsafe_b64encode(mac).rstrip(b'=').decode()}"


def model(
    token: str,
    key: bytes,
    now: int,
    revoked: list[str],
    *,
    signature: bool = True,
    none: bool = False,  # alg "none" needs no signature
    alg: bool = True,  # other algorithms are refused
    late: int = 0,
    listed: bool = True,
) -> str | None:
    """The right answer with the defaults; each keyword is a mistake."""
    try:
        head, body, mac = (urlsafe_b64decode(part + "=" * (-len(part) % 4)) for part in token.split("."))
        named, claims = json.loads(head)["alg"], json.loads(body)
        good = hmac.compare_digest(hmac.digest(key, token.rpartition(".")[0].encode(), "sha256"), mac)
        in_time = bool(now < claims["exp"] + late)
        if signature and not (good and (named == "HS256" or not alg)) and not (none and named == "none"):
            return None
        return str(claims["sub"]) if in_time and not (listed and claims["jti"] in revoked) else None
    except (ValueError, KeyError, TypeError):  # not three parts, not base64, not JSON, not an object, no such claim
        return None


def right_accept(token: str, key: bytes, now: int, revoked: list[str]) -> str | None:
    """Whose token it is; None if it does not count."""
    return model(token, key, now, revoked)


def accept_cases(seed: int) -> list[Case]:
    """Good ones; out of time, revoked, forged, by no algorithm; then what is no token."""
    rng = random.Random(seed)
    found: list[tuple[str, list[str]]] = []
    for number in range(4):
        claims = {"sub": f"customer-{rng.randrange(10**number, 10 ** (number + 1))}", "jti": f"t{number}"}
        good = token({**claims, "exp": NOW + 1 + number})
        head, body, mac = good.split(".")
        found += [(good, []), (good, ["t9"]), (good, ["t9", f"t{number}"])]
        found += [(token({**claims, "exp": NOW - number}), []), (token({**claims, "exp": NOW - 900}), [])]
        found += [(token({**claims, "exp": NOW + 9}, b"another key" * 3), [])]
        found += [(token({**claims, "exp": NOW + 9}, alg="none"), [])]
        found += [(f"{head}.{packed({**claims, 'sub': 'admin', 'exp': NOW + 9})}.{mac}", [])]
        found += [(good[: -1 - number], []), (f"{head}.{body}.", []), (f"{head}.{body}", [])]
    text = f"{packed({'alg': 'HS512'})}.{packed({'sub': 'x', 'jti': 'x', 'exp': NOW + 9})}"
    wrong = urlsafe_b64encode(hmac.digest(KEY, text.encode(), "sha256")).rstrip(b"=").decode()
    found += [(f"{text}.{wrong}", [])]
    found += [(token(claims), []) for claims in ({"sub": "x"}, {"exp": NOW + 9}, [1, 2], "x", 7)]
    found += [(one, []) for one in ("", ".", "..", "a.b.c", "x" * 50, "é.é.é", "a.b.c.d", "{}.{}.{}")]
    return [Case((one, KEY, NOW, revoked)) for one, revoked in found]


def a_subject(answer: Any, *_: Any) -> str | None:
    """Text, or None."""
    return None if answer is None or type(answer) is str else "Give back the claim sub, or None."


GARBAGE = "garbage", "a client may send anything: whatever is no token gets None, never an exception."

ACCEPT = Exercise(
    names=("token", "key", "now", "revoked"),
    right=right_accept,
    praise="Right in all {cases} cases. No server knows anything, and all of them know who it is.",
    mistakes=(
        Mistake(
            "not_signed",
            lambda *given: model(*given, signature=False),
            "You believe the claims without their signature. Anybody can write claims.",
        ),
        Mistake(
            "none_believed",
            lambda *given: model(*given, none=True),
            "You let the token say that it needs no signature (alg: none). The server decides by what it is checked.",
        ),
        Mistake(
            "alg_not_read",
            lambda *given: model(*given, alg=False),
            "A token that names another algorithm than HS256 passed. Refuse it: it is not one of yours.",
        ),
        Mistake(
            "for_ever",
            lambda *given: model(*given, late=10**9),
            "You do not look at exp: the token counts for ever.",
        ),
        Mistake(
            "one_too_long",
            lambda *given: model(*given, late=1),
            "At now == exp it is over (RFC 7519, 4.1.4): now < exp.",
        ),
        Mistake(
            "never_revoked",
            lambda *given: model(*given, listed=False),
            "A token whose jti is in revoked was accepted. That customer has logged out.",
        ),
    ),
    properties=(Property("not_a_subject", a_subject),),
    advice=dict.fromkeys(
        ("AttributeError", "Error", "IndexError", "JSONDecodeError", "KeyError", "TypeError", "UnicodeDecodeError"),
        GARBAGE,
    ),
)  # fmt: skip


def check_accept(accept: Any, seed: int = 1) -> Verdict:
    """Exercise 5: accept(token, key, now, revoked) -> the subject, or None."""
    return judge(ACCEPT, accept, accept_cases(seed))
