"""Who has a signed token passes (JWT: RFC 7519; how to take them: RFC 8725; Bearer: RFC 6750).

Rule of this file: what a token must say. Which key fits is `keys` and `key_ring`; the signature is PyJWT's work.

Theory. A token is a statement with a signature: whoever has the issuer's key can check it without asking the issuer.
That costs a signature's verification, which is dear for public keys, so a token that was found right is remembered
until it expires. What it says is passed to the backend in fields that a client cannot write: its own are taken out.

Traps
- The token names its algorithm, and `none` is one. The list here is closed, the key decides, `crit` is refused, and
  keys that a token brings along (jwk, jku, x5u, x5c) are not looked at.
- A signature says who issued it, not for whom: check `issuer` and `audience`, or a token for another service passes.
- It holds until `exp`, whatever happens to its user meanwhile. Short lives are the only remedy here.
- `exp` may be any JSON number, and Python reads NaN and Infinity as numbers too: neither ever expires by `<`.
- Checking is work that anybody can ask for. A rate limit by address belongs in front.
- Backends that can be reached past the proxy must check for themselves: anybody can write X-User there.
"""

from __future__ import annotations

import json
import math
import re
import time
from base64 import urlsafe_b64decode
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Final

import jwt
import msgspec

from lbcore.l7.field import legal, name_of
from lbcore.l7.filters.authorization import Several, challenge, credentials, quotable, two_answers
from lbcore.l7.filters.filter import Answer, Exchange, Filter
from lbcore.l7.filters.forwarded import spellings
from lbcore.l7.message import Names, Response, block_of
from lbcore.l7.secrets import key_source, keys
from lbcore.l7.secrets.key_ring import KeyRing

CLAIMS: Final = "claims"
"""Key of `exchange.notes`: what the token says, a dict that is not to be changed."""
TOKEN: Final = re.compile(rb"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+")
ALGORITHMS: Final = ("HS256", "RS256", "ES256")


class KeyOptions(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One key. Of HS256 a secret, of the others a public key in PEM, as text or in a file."""

    algorithm: keys.Algorithm
    """The one that this key is for: what a token says of itself is not believed."""
    id: str = ""
    """`kid` of the tokens it is for; empty: those without."""
    secret: str = ""
    """Of HS256."""
    secret_file: str = ""
    """A file of which all bytes but one line's end at its end are the secret."""
    public: str = ""
    """Of RS256 and ES256, in PEM."""
    public_file: str = ""
    """A file with it, instead."""

    def __post_init__(self) -> None:
        given = [name for name in ("secret", "secret_file", "public", "public_file") if getattr(self, name)]
        fits = ("secret", "secret_file") if self.algorithm == "HS256" else ("public", "public_file")
        if len(given) != 1 or given[0] not in fits:
            raise ValueError(f"key of {self.algorithm} has {given or 'nothing'}; must have one of {fits}")
        if given[0] in ("secret", "public"):
            self.read()

    def read(self) -> keys.Key:
        """The key. OSError: no such file. ValueError: it does not fit."""
        where = f"key {self.id!r}" if self.id else f"key of {self.algorithm}"
        if self.algorithm == "HS256":
            data = Path(self.secret_file).read_bytes() if self.secret_file else self.secret.encode()
            return keys.secret(data.removesuffix(b"\n") if self.secret_file else data, self.id, where)
        data = Path(self.public_file).read_bytes() if self.public_file else self.public.encode()
        return keys.public(data, self.algorithm, self.id, where)

    def __repr__(self) -> str:
        return f"KeyOptions({self.algorithm}, id={self.id!r})"


class JwtOptions(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, tag_field="kind", tag="jwt"):
    """Whose tokens, for whom. Keys by `keys`, `jwks_file` or `jwks_url`."""

    keys: tuple[KeyOptions, ...] = ()
    """Keys that stand in the file; others come from `jwks_file`."""
    jwks_file: str = ""
    """A JSON Web Key Set (RFC 7517, 5)."""
    jwks_url: str = ""
    """https, or http to this machine."""
    refresh: float = 300.0
    """Seconds after which the set is read again."""
    cooldown: float = 30.0
    """Seconds between two readings at least, whatever tokens name."""
    stale: float = 86400.0
    """Seconds for which keys hold if their set cannot be read any more."""
    issuer: str = ""
    """`iss` must be this; empty: it is not asked."""
    audience: tuple[str, ...] = ()
    """One of these must be in `aud`; empty: the token must not have any."""
    leeway: float = 10.0
    """Seconds by which clocks may differ."""
    lifetime: float = 0.0
    """Seconds from now to `exp` at most; 0: any."""
    claims: dict[str, str] = {}
    """Claim to the field that tells it to the backend: {"sub": "x-user"}."""
    strip: bool = False
    """Keep Authorization from the backend."""
    realm: str = "api"
    """What is protected, for the answer 401 (RFC 6750, 3)."""
    largest: int = 8192
    """Bytes of a token."""
    remember: int = 4096
    """Tokens that are remembered; 0: none."""

    def __post_init__(self) -> None:
        quotable(self.realm, "realm")
        if self.jwks_url:
            key_source.check(self.jwks_url, "jwks_url")
        if bool(self.keys) + bool(self.jwks_file) + bool(self.jwks_url) != 1:
            raise ValueError("keys, jwks_file and jwks_url; must be one of the three")
        ids = [key.id for key in self.keys if key.id]
        if len(set(ids)) < len(ids):
            raise ValueError(f"keys have the ids {ids!r}; must have each once")
        for claim, name in self.claims.items():
            name_of(name, f"claims[{claim!r}]")
        for field, least in (("refresh", 1), ("cooldown", 1), ("stale", 1), ("leeway", 0), ("lifetime", 0)):
            if not least <= getattr(self, field) < math.inf:
                raise ValueError(f"{field} is {getattr(self, field)}; must be seconds, {least} or more")
        if not 0 <= self.leeway <= 300:
            raise ValueError(f"leeway is {self.leeway}; must be 300 s at most: it makes every token live longer")
        for field in ("largest", "remember"):
            if getattr(self, field) < 0:
                raise ValueError(f"{field} is {getattr(self, field)}; must be 0 or more")


class Refused(ValueError):
    """Why a token does not pass, in words that may be told to whoever sent it."""


class UnknownKey(Refused):
    """No key fits; a newer set may have it."""


class Passed(msgspec.Struct, frozen=True):
    """A token that was found right."""

    until: float
    """When it ceases to be, leeway included; seconds of `time.time()`."""
    claims: dict[str, Any]
    lines: list[tuple[bytes, bytes]]
    """What the backend is told."""


class Jwt(Filter):
    """Lets pass whoever has a token, and tells the backend what it says. `clock` is of the kind of `time.time`."""

    def __init__(self, options: JwtOptions, clock: Callable[[], float] = time.time) -> None:
        self._options, self._clock = options, clock
        load = None
        if options.jwks_file:
            load = key_source.from_file(options.jwks_file)
        elif options.jwks_url:
            load = key_source.from_url(options.jwks_url)
        self.ring = KeyRing(
            [key.read() for key in options.keys], load, clock,
            refresh=options.refresh, cooldown=options.cooldown, stale=options.stale,
        )  # fmt: skip
        self._fields = {claim: name.lower().encode() for claim, name in options.claims.items()}
        stripped = {b"authorization"} if options.strip else set()
        self._dropped = Names(stripped.union(*map(spellings, options.claims.values())))
        self._challenge = b'Bearer realm="%b"' % quotable(options.realm, "realm")
        self._passed: dict[bytes, Passed] = {}
        self._version = 0

    def on_request(self, exchange: Exchange) -> Answer | Awaitable[Answer]:
        try:
            token = credentials(exchange.request, b"bearer")
        except Several:
            return two_answers()
        if token is None:
            return challenge(401, "A token, please.", self._challenge)
        self.ring.keep_fresh()
        if self._version != self.ring.version:
            self._passed.clear()
            self._version = self.ring.version
        passed = self._passed.get(token)
        if passed is not None:
            if self._clock() < passed.until:
                return self._pass(exchange, passed)
            del self._passed[token]
        try:
            return self._pass(exchange, self._remembered(token))
        except UnknownKey as error:
            reading = self.ring.look_again()
            return self._refuse(error) if reading is None else self._later(exchange, token, reading)
        except Refused as error:
            return self._refuse(error)

    async def _later(self, exchange: Exchange, token: bytes, reading: Awaitable[None]) -> Answer:
        await reading
        try:
            return self._pass(exchange, self._remembered(token))
        except Refused as error:
            return self._refuse(error)

    def _remembered(self, token: bytes) -> Passed:
        passed, room = self.check(token), self._options.remember
        if room:
            if len(self._passed) >= room:
                del self._passed[next(iter(self._passed))]
            self._passed[token] = passed
        return passed

    def _pass(self, exchange: Exchange, passed: Passed) -> Answer:
        if self._dropped:
            exchange.request.drop(self._dropped)
            exchange.request.put(block_of(passed.lines), len(passed.lines))
        exchange.notes[CLAIMS] = passed.claims
        return None

    def _refuse(self, why: Refused) -> Response:
        return challenge(
            401,
            f"This token does not pass: {why}.",
            b'%b, error="invalid_token", error_description="%b"' % (self._challenge, str(why).encode()),
        )

    # ---- what a token must say ----

    def check(self, token: bytes) -> Passed:
        """What a right token says. Refused if it is not right now, UnknownKey if its key is not known."""
        options, now = self._options, self._clock()
        if len(token) > options.largest:
            raise Refused("it is too long")
        if not TOKEN.fullmatch(token):
            raise Refused("it is no signed token in compact form")
        head = _object(token.partition(b".")[0])
        algorithm, id = head.get("alg"), head.get("kid")
        if algorithm not in ALGORITHMS:
            raise Refused("its algorithm is not taken")
        if "crit" in head or "b64" in head:
            raise Refused("it has critical extensions")
        if id is not None and not isinstance(id, str):
            raise Refused("its kid is no string")
        claims = self._verified(token, algorithm, id)
        expires = self._lives(claims, now)
        lines = []
        for claim, name in self._fields.items():
            if claim in claims:
                value = _value(claims[claim])
                if not legal(value):
                    raise Refused("a claim cannot be passed on")
                lines.append((name, value))
        return Passed(expires + options.leeway, claims, lines)

    def _verified(self, token: bytes, algorithm: str, id: str | None) -> dict[str, Any]:
        options = self._options
        found = self.ring.find(algorithm, id)
        if not found:
            raise UnknownKey("its key is not known")
        for key in found:
            try:
                claims: dict[str, Any] = jwt.decode(
                    token,
                    key.key,
                    algorithms=[key.algorithm],
                    audience=options.audience or None,
                    issuer=options.issuer or None,
                    # times are checked below, by our own clock
                    options={"require": ["exp"], "verify_exp": False, "verify_nbf": False, "verify_iat": False},
                )
            except jwt.InvalidSignatureError:
                continue
            except (jwt.InvalidIssuerError, jwt.InvalidAudienceError):
                raise Refused("it is of another issuer or for another audience") from None
            except jwt.MissingRequiredClaimError as error:
                raise Refused(f"it has no {error.claim}") from None
            except (jwt.PyJWTError, ValueError, TypeError, RecursionError):
                raise Refused("it cannot be read") from None
            return claims
        raise Refused("its signature is wrong")

    def _lives(self, claims: dict[str, Any], now: float) -> float:
        """When it expires, if it has begun and not expired yet."""
        options = self._options
        expires, begins, issued = (_seconds(claims, name) for name in ("exp", "nbf", "iat"))
        assert expires is not None
        if not now < expires + options.leeway:
            raise Refused("it has expired")
        if (begins is not None and begins > now + options.leeway) or (
            issued is not None and issued > now + options.leeway
        ):
            raise Refused("it does not hold yet")
        if options.lifetime and expires > now + options.lifetime + options.leeway:
            raise Refused("it lives too long")
        return expires


def _seconds(claims: dict[str, Any], name: str) -> float | None:
    if name not in claims:
        return None
    value = claims[name]
    if isinstance(value, bool) or not isinstance(value, int | float) or not -1e12 < value < 1e12:
        raise Refused(f"its {name} is no time")
    return float(value)


def _object(part: bytes) -> dict[str, Any]:
    """The token's first part. Refused: it is no JSON object."""
    try:
        found = json.loads(urlsafe_b64decode(part + b"=" * (-len(part) % 4)))
    except (ValueError, RecursionError):
        raise Refused("it cannot be read") from None
    if not isinstance(found, dict):
        raise Refused("it cannot be read")
    return found


def _value(claim: Any) -> bytes:
    """A claim as a field's value: a string as it is, anything else as JSON in ASCII. Refused: half a character."""
    if isinstance(claim, str):
        try:
            return claim.encode()
        except UnicodeEncodeError:
            raise Refused("a claim cannot be passed on") from None
    return json.dumps(claim, separators=(",", ":")).encode()
