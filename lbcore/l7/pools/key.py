"""What a request is hashed by: from what it says to a 64-bit key.

Rule of this file: it reads requests, and knows no backends.

Traps
- A key that is missing is a key that many share: if all requests without the header were hashed by "", one backend
  would get them all. They are hashed by their source.
- Bytes are hashed as they stand: `%41` in a query is not `A`. Whoever writes a key in two ways has two backends.
- Not Python's own `hash`: its secret is another in every process, and a fleet has to agree.
"""

from __future__ import annotations

from collections.abc import Callable
from hashlib import blake2b
from typing import Literal, TypeAlias

from lbcore.l7.message import Request
from lbcore.l7.pools.checks import Checked, is_token, want

Said: TypeAlias = Callable[[Request], bytes | None]


class HashOptions(Checked, frozen=True, kw_only=True):
    """What a picker by key hashes: the source's address, a header's value, a cookie's, the path, or a parameter of the
    query. A request that lacks it is hashed by its source. seed: the same on all of a fleet, to choose alike."""

    on: Literal["source", "header", "cookie", "path", "query"] = "source"
    """What is hashed."""
    name: str = ""
    """Of the header, the cookie or the parameter."""
    seed: int = 0

    def __post_init__(self) -> None:
        if self.on in ("header", "cookie"):
            want(is_token(self.name), "name", self.name, f"the name of the {self.on}")
        elif self.on == "query":
            want(self.name != "", "name", self.name, "the name of the parameter")
        else:
            want(self.name == "", "name", self.name, f"left out: the {self.on} has none")
        want(0 <= self.seed < 1 << 64, "seed", self.seed, "0 to 2**64 - 1")


def reader(on: str, name: str) -> Said:
    """What a request says under `name`; None if it says nothing. on: as in `HashOptions`."""
    wanted = name.encode()
    if on == "header":
        lower = wanted.lower()
        return lambda request: request.authority if lower == b"host" else request.get(lower)
    if on == "cookie":
        return lambda request: request.cookie(wanted)
    if on == "path":
        return lambda request: request.path
    if on == "query":
        return lambda request: parameter(request.query, wanted)
    return source


def source(request: Request) -> bytes:
    """The client's address, without its port."""
    return request.peer.address.encode()


def parameter(query: bytes, wanted: bytes) -> bytes | None:
    """The first value of a parameter, undecoded."""
    for pair in query.split(b"&"):
        name, _, value = pair.partition(b"=")
        if name == wanted:
            return value
    return None


def hashed(options: HashOptions) -> Callable[[Request], int]:
    """The 64-bit key of a request: keyed BLAKE2b, the same on every proxy with the same seed."""
    said, secret = reader(options.on, options.name), options.seed.to_bytes(8, "little")

    def key(request: Request) -> int:
        text = said(request) or source(request)
        return int.from_bytes(blake2b(text, digest_size=8, key=secret).digest(), "little")

    return key
