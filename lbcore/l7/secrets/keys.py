"""Keys that signed tokens are checked with: made from configuration, or read from a JWK set (RFC 7517).

Rule of this file: a key knows the one algorithm that it is for. No file, no socket, no clock.

Theory. A token names the algorithm it is signed with, and whoever writes the token writes that name. If the name alone
decides how a key is used, a public RSA key, which everybody has, becomes the secret of an HMAC: key confusion. Here the
key decides: a token that names another algorithm finds no key (RFC 8725, 3.1).

Traps
- A JWK set comes from elsewhere, so it has limits, and gives public keys only: a shared secret has no place in it.
- Sets hold keys for other purposes and of kinds yet unknown; those are passed over, the rest holds (RFC 7517, 5).
"""

from __future__ import annotations

from typing import Any, Final, Literal, NamedTuple, TypeAlias

import msgspec
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key

Algorithm: TypeAlias = Literal["HS256", "RS256", "ES256"]
KINDS: Final = {"RSA": "RS256", "EC": "ES256"}
LARGEST: Final = 256 << 10
"""Bytes of a JWK set."""
MOST: Final = 100
"""Keys of a JWK set."""


class Key(NamedTuple):
    """A key, its name and what it is for."""

    algorithm: Algorithm
    id: str
    """`kid`; empty: it has no name."""
    key: Any
    """bytes of HS256, a public key otherwise."""

    def __repr__(self) -> str:
        return f"Key({self.algorithm}, id={self.id!r})"


def secret(data: bytes, id: str, where: str) -> Key:
    """A shared secret for HS256. ValueError if it is shorter than its hash (RFC 7518, 3.2), or a public key."""
    if len(data) < 32:
        raise ValueError(f"{where} has {len(data)} bytes; must have 32 or more (RFC 7518, 3.2)")
    if data.lstrip().startswith((b"-----BEGIN", b"ssh-", b"ecdsa-")):
        raise ValueError(f"{where} is a key of RS256 or ES256; must be a secret that nobody else has")
    return Key("HS256", id, data)


def public(pem: bytes, algorithm: Algorithm, id: str, where: str) -> Key:
    """A public key in PEM. ValueError if it is none, or not one for this algorithm."""
    try:
        key: Any = load_pem_public_key(pem)
    except (ValueError, UnsupportedAlgorithm):
        raise ValueError(f"{where} is no public key; must be PEM that begins with -----BEGIN PUBLIC KEY-----") from None
    return checked(Key(algorithm, id, key), where)


def checked(key: Key, where: str) -> Key:
    """The key, if its kind and size are right for its algorithm; ValueError otherwise."""
    if key.algorithm == "RS256" and isinstance(key.key, RSAPublicKey) and 2048 <= key.key.key_size <= 8192:
        return key
    if (
        key.algorithm == "ES256"
        and isinstance(key.key, EllipticCurvePublicKey)
        and isinstance(key.key.curve, SECP256R1)
    ):
        return key
    raise ValueError(f"{where} does not fit {key.algorithm}; must be RSA of 2048 to 8192 bits, or a key on P-256")


class _Set(msgspec.Struct):
    keys: list[dict[str, Any]]


def read_set(data: bytes) -> tuple[Key, ...]:
    """The keys of a JWK set that tokens can be checked with. ValueError: none, too large, two of one name."""
    import jwt

    if len(data) > LARGEST:
        raise ValueError(f"the JWK set has {len(data)} bytes; must have {LARGEST} at most")
    try:
        entries = msgspec.json.decode(data, type=_Set).keys
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"the JWK set cannot be read: {error}; must be an object with a list 'keys'") from None
    if len(entries) > MOST:
        raise ValueError(f"the JWK set has {len(entries)} keys; must have {MOST} at most")
    found: list[Key] = []
    for entry in entries:
        algorithm, id = KINDS.get(str(entry.get("kty"))), entry.get("kid", "")
        operations = entry.get("key_ops", ["verify"])
        if (
            algorithm is None
            or entry.get("alg", algorithm) != algorithm
            or entry.get("use", "sig") != "sig"
            or not isinstance(operations, list)
            or "verify" not in operations
            or not isinstance(id, str)
            or "d" in entry  # a private key that was published is nobody's any more
        ):
            continue
        try:
            found.append(checked(Key(algorithm, id, jwt.PyJWK(entry, algorithm).key), "key"))  # type: ignore[arg-type]
        except (ValueError, TypeError, jwt.PyJWTError, UnsupportedAlgorithm):
            continue
    names = [(key.algorithm, key.id) for key in found if key.id]
    if len(set(names)) < len(names):
        raise ValueError("the JWK set has two keys of one kid and kty; must have one")
    return tuple(found)
