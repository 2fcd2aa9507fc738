"""To whom a client belongs, by a signed cookie.

Rule of this file: it finds backends by what a request brings. Whether one may be asked is the pool's business.

Theory. The cookie's value is HMAC-SHA256(key, pool, backend): name and signature in one. Nobody without the key can
make one, nobody can read a backend's address out of it, every proxy with the key knows it, and so does the same proxy
after a reload. To check it is to look it up among the values that there can be, one for each key and backend.

Traps
- The cookie says where, not who: it can be copied. It is no session and no proof of anything.
- A look-up takes a time that depends on the value only through Python's own keyed hash, and values are compared only
  when all 64 bits of that agree: there is nothing to learn by measuring.
- A Set-Cookie that a shared cache stores sends everybody to one backend: hence `private`.
- After an answer from another backend (the own one was down, or a retry went elsewhere) a client belongs to that other:
  that is where its state is now.
"""

from __future__ import annotations

import hmac
from base64 import urlsafe_b64encode
from collections.abc import Sequence
from pathlib import Path
from secrets import token_bytes
from typing import Literal

from lbcore.l7.message import Request, Response, checked
from lbcore.l7.pools.backend import Backend
from lbcore.l7.pools.checks import Checked, at_least, is_token, want

KEY_BYTES = 32


class StickyCookieOptions(Checked, frozen=True, kw_only=True, tag_field="kind", tag="cookie"):
    """A client belongs to the backend that its cookie names.

    keys, or keys_file with one to a line: secrets of 32 bytes or more; the first signs, all are believed. None at all:
    one is drawn, which no other proxy knows and no restart survives. secure: None follows the client's scheme.
    max_age: 0 is a cookie that ends with the browser's session; it binds the browser only (to end all cookies, change
    the keys). private: where a cookie is set, keep the response out of shared caches (RFC 9111, 5.2.2.7).
    """

    name: str = "lb"
    """Of the cookie."""
    keys: tuple[str, ...] = ()
    keys_file: str = ""
    path: str = "/"
    """Attribute Path (RFC 6265, 5.2.4)."""
    domain: str = ""
    """Attribute Domain; empty: the host alone that set it."""
    max_age: int = 0
    secure: bool | None = None
    http_only: bool = True
    """Attribute HttpOnly: scripts of a page cannot read it."""
    same_site: Literal["Strict", "Lax", "None"] = "Lax"
    """Attribute SameSite: is it sent along when another site leads here?"""
    private: bool = True

    def __post_init__(self) -> None:
        want(is_token(self.name), "name", self.name, "a token (RFC 6265, 4.1.1)")
        right = self.path.startswith("/") and self.path.isascii() and self.path.isprintable() and ";" not in self.path
        want(right, "path", self.path, "a path such as /, without a semicolon")
        right = all(c.isalnum() or c in "-." for c in self.domain) and self.domain.isascii()
        want(right, "domain", self.domain, "a domain such as shop.example, or left out")
        at_least(0, max_age=self.max_age)
        want(not (self.keys and self.keys_file), "keys_file", self.keys_file, "left out where keys are given")
        check_keys(self.keys, "keys")
        if self.same_site == "None":
            want(self.secure is True, "secure", self.secure, "true with same_site = None: browsers drop it otherwise")
        if self.name.startswith(("__Secure-", "__Host-")):
            want(
                self.secure is True, "secure", self.secure, f"true for a cookie named {self.name} (RFC 6265bis, 4.1.3)"
            )
        if self.name.startswith("__Host-"):
            right = self.path == "/" and self.domain == ""
            want(right, "path", self.path, f"/, and no domain, for a cookie named {self.name} (RFC 6265bis, 4.1.3)")

    def __repr__(self) -> str:
        return f"StickyCookieOptions(name={self.name!r}, {len(self.keys)} keys, keys_file={self.keys_file!r})"


def check_keys(keys: tuple[str, ...], field: str) -> None:
    """ValueError, which does not show them, unless each can be a key."""
    for place, key in enumerate(keys):
        if len(key.encode()) < KEY_BYTES:
            raise ValueError(
                f"{field}[{place}] has {len(key.encode())} bytes: it must have {KEY_BYTES}, as many as the hash gives "
                f"(RFC 2104, section 3)"
            )


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
        self._own = {backend: token(self._keys[0], self._pool, backend.name) for backend in self._backends}
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
        if request.cookie(self._name) == self._own[backend]:
            return
        secure = self._options.secure
        cookies = self._secure if (request.scheme == b"https" if secure is None else secure) else self._plain
        response.put_checked(cookies[backend])

    def take_over(self, old: object, heirs: dict[Backend, Backend]) -> None:
        """A key that was drawn is kept; one that was given comes from the configuration, or does not."""
        if isinstance(old, CookieSticky) and old._own_key and self._own_key:
            self._keys = old._keys
            self._learn()

    def _cookie(self, backend: Backend, secure: bool) -> bytes:
        """The line Set-Cookie (RFC 6265, 4.1; SameSite: RFC 6265bis), and what keeps it out of shared caches."""
        options = self._options
        parts = [f"{options.name}={self._own[backend].decode()}", f"Path={options.path}"]
        parts += [f"Domain={options.domain}"] if options.domain else []
        parts += [f"Max-Age={options.max_age}"] if options.max_age else []
        parts += ["Secure"] if secure else []
        parts += ["HttpOnly"] if options.http_only else []
        value = "; ".join([*parts, f"SameSite={options.same_site}"])
        private = "cache-control: private\r\n" if options.private else ""
        return checked(f"set-cookie: {value}\r\n{private}".encode("ascii"), 2 if options.private else 1)
