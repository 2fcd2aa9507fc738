"""To whom a client belongs: by a signed cookie, or by a table of who was served where.

Rule of this file: it finds backends and keeps what it needs to find them again. Whether one may be asked is the pool's.

Theory. The cookie's value is HMAC-SHA256(key, pool, backend): name and signature in one. Nobody without the key can
make one, nobody can read a backend's address out of it, every proxy with the key knows it, and so does the same proxy
after a reload. To check it is to look it up among the values that there can be, one for each key and backend.

The table serves clients that send something of their own but no cookie: a header, an address. It has a bound, and who
was not seen for long is forgotten; it is this proxy's own, and another proxy has another.

Traps
- The cookie says where, not who: it can be copied. It is no session and no proof of anything.
- Look-up takes a time that depends on the value only through Python's own keyed hash, and values are compared only when
  all 64 bits of that agree: there is nothing to learn by measuring.
- A Set-Cookie that a shared cache stores sends everybody to one backend: hence `private`.
- After an answer from another backend (the own one was down, or a retry went elsewhere) a client belongs to that other:
  that is where its state is now.
"""

from __future__ import annotations

import hmac
from base64 import urlsafe_b64encode
from collections import OrderedDict
from collections.abc import Sequence
from hashlib import blake2b
from pathlib import Path
from secrets import token_bytes
from typing import Protocol

from lbcore.l7.message import Request, Response
from lbcore.l7.pools.backend import Backend
from lbcore.l7.pools.key import Said, reader
from lbcore.l7.pools.options import (
    KEY_BYTES,
    StickyCookieOptions,
    StickyHeaderOptions,
    StickyOptions,
    StickySourceOptions,
    check_keys,
)


class Sticky(Protocol):
    """Who belongs where."""

    def find(self, request: Request, now: float) -> Backend | None:
        """Whose client this is; None: nobody's yet."""
        ...

    def chose(self, request: Request, backend: Backend, now: float) -> None:
        """It was sent there."""
        ...

    def mark(self, request: Request, backend: Backend, response: Response) -> None:
        """It was answered from there; the response may be told."""
        ...

    def take_over(self, old: Sticky, heirs: dict[Backend, Backend]) -> None:
        """Know what another knew, of whose backends these are the heirs."""
        ...


def sticky_of(options: StickyOptions, pool: str, backends: Sequence[Backend]) -> Sticky:
    """The pool's memory of who belongs where. OSError or ValueError if its keys cannot be had."""
    if isinstance(options, StickyCookieOptions):
        return CookieSticky(options, keys_of(options), pool, backends)
    return TableSticky(options)


def keys_of(options: StickyCookieOptions) -> tuple[bytes, ...]:
    """The keys, the first of which signs; none given: none."""
    keys = options.keys
    if options.keys_file:
        lines = Path(options.keys_file).read_text("utf-8").splitlines()
        keys = tuple(line.strip() for line in lines if line.strip())
        if not keys:
            raise ValueError(f"keys_file {options.keys_file} has no key in it: write one to a line, the newest first")
        check_keys(keys, f"keys_file {options.keys_file}, key ")
    return tuple(key.encode() for key in keys)


def token(key: bytes, pool: str, backend: str) -> bytes:
    """The cookie's value for a backend: 43 characters of base64url."""
    parts = (b"lbcore sticky cookie", pool.encode(), backend.encode())
    text = b"".join(len(part).to_bytes(4, "big") + part for part in parts)
    return urlsafe_b64encode(hmac.digest(key, text, "sha256")).rstrip(b"=")


class CookieSticky:
    """By signed cookie."""

    def __init__(
        self, options: StickyCookieOptions, keys: Sequence[bytes], pool: str, backends: Sequence[Backend]
    ) -> None:
        self._own_key = not keys
        self._keys = tuple(keys) or (token_bytes(KEY_BYTES),)
        self._pool, self._backends = pool, tuple(backends)
        self._name = options.name.encode()
        self._options = options
        self._learn()

    def _learn(self) -> None:
        """Every value that there can be."""
        self._known = {token(key, self._pool, b.name): b for key in reversed(self._keys) for b in self._backends}
        self._signed = {backend: token(self._keys[0], self._pool, backend.name) for backend in self._backends}
        self._plain = {backend: self._cookie(backend, False) for backend in self._backends}
        self._secure = {backend: self._cookie(backend, True) for backend in self._backends}

    def find(self, request: Request, now: float) -> Backend | None:
        """Whose cookie it brought."""
        value = request.cookie(self._name)
        return None if value is None else self._known.get(value)

    def chose(self, request: Request, backend: Backend, now: float) -> None:
        """The client keeps it, not we."""

    def mark(self, request: Request, backend: Backend, response: Response) -> None:
        """Set the cookie, unless the client has that very one."""
        if request.cookie(self._name) == self._signed[backend]:
            return
        secure = self._options.secure
        cookies = self._secure if (request.scheme == b"https" if secure is None else secure) else self._plain
        response.headers.append((b"set-cookie", cookies[backend]))
        if self._options.private:
            response.headers.append((b"cache-control", b"private"))

    def take_over(self, old: Sticky, heirs: dict[Backend, Backend]) -> None:
        """A key that was drawn is kept; one that was given comes from the configuration, or does not."""
        if isinstance(old, CookieSticky) and old._own_key and self._own_key:
            self._keys = old._keys
            self._learn()

    def _cookie(self, backend: Backend, secure: bool) -> bytes:
        """A Set-Cookie line's value (RFC 6265, 4.1; SameSite: RFC 6265bis)."""
        options = self._options
        parts = [f"{options.name}={self._signed[backend].decode()}", f"Path={options.path}"]
        parts += [f"Domain={options.domain}"] if options.domain else []
        parts += [f"Max-Age={options.max_age}"] if options.max_age else []
        parts += ["Secure"] if secure else []
        parts += ["HttpOnly"] if options.http_only else []
        return "; ".join([*parts, f"SameSite={options.same_site}"]).encode("ascii")


class TableSticky:
    """By what a client sends of its own accord: the value of a header, or its address."""

    def __init__(self, options: StickyHeaderOptions | StickySourceOptions) -> None:
        self._said: Said = (
            reader("header", options.name) if isinstance(options, StickyHeaderOptions) else reader("source", "")
        )
        self._entries, self._idle = options.entries, options.idle
        self._table: OrderedDict[bytes, tuple[Backend, float]] = OrderedDict()  # the longest unused first
        self._asks = type(options), getattr(options, "name", "").lower()

    def __len__(self) -> int:
        return len(self._table)

    def find(self, request: Request, now: float) -> Backend | None:
        """Who served that value last."""
        key = self._key(request)
        entry = self._table.get(key) if key else None
        return entry[0] if entry and now - entry[1] <= self._idle else None

    def chose(self, request: Request, backend: Backend, now: float) -> None:
        """Remember."""
        key = self._key(request)
        if not key:
            return
        self._table[key] = (backend, now)
        self._table.move_to_end(key)
        oldest = next(iter(self._table.values()))
        if len(self._table) > self._entries or now - oldest[1] > self._idle:
            self._table.popitem(last=False)

    def mark(self, request: Request, backend: Backend, response: Response) -> None:
        """The client need not know."""

    def take_over(self, old: Sticky, heirs: dict[Backend, Backend]) -> None:
        """Keep those whose backend is still there, the last used if there is less room."""
        if isinstance(old, TableSticky) and old._asks == self._asks:
            kept = [(key, (heirs[b], when)) for key, (b, when) in old._table.items() if b in heirs]
            self._table = OrderedDict(kept[-self._entries :])

    def _key(self, request: Request) -> bytes:
        """16 bytes, however long the value: that is the bound on memory. Empty: it said nothing."""
        text = self._said(request)
        return blake2b(text, digest_size=16).digest() if text else b""
