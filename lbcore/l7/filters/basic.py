"""Name and password with every request (RFC 7617).

Rule of this file: who may pass; how passwords are kept is `passwords`.

Theory. A client sends the same password with each request, and checking one takes tens of milliseconds on purpose. So a
pair that was found right is remembered, as a keyed digest whose key this process alone has: at most one for each
user, never the password. What is not remembered is checked in a thread, a few at once, the same pair only once.

Traps
- The password is readable to everyone on the way: only behind TLS. It is also sent on to the backend unless `strip`.
- A name that nobody has costs as much as a wrong password, or the time would tell who exists.
- Somebody who tries passwords makes the proxy work. More than `waiting` checks at once are refused with 503: others
  who are remembered still pass. A rate limit by address belongs in front.
- A browser repeats the password for requests that other pages make it send: no protection against forged requests.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
import secrets
from base64 import b64decode
from collections.abc import Awaitable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

import msgspec

from lbcore.l7.field import legal, name_of
from lbcore.l7.filters.authorization import Several, challenge, credentials, quotable, two_answers
from lbcore.l7.filters.filter import Answer, Exchange, Filter
from lbcore.l7.filters.forwarded import spellings
from lbcore.l7.message import Names, Request, Response, text
from lbcore.l7.secrets import passwords

CONTROL: Final = re.compile(rb"[\x00-\x1f\x7f]")
LONGEST: Final = 1024
"""Bytes of name and password together; nobody types more, and no client makes the proxy hash more."""


class BasicOptions(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, tag_field="kind", tag="basic"
):
    """Who may pass. Users by `users` or `users_file`, or both."""

    users: dict[str, str] = {}
    """Name to hash, as `python -m lbcore.l7.secrets.passwords` prints it."""
    users_file: str = ""
    """A file with a line `name:hash` for each user; empty lines and those that begin with # say nothing."""
    realm: str = "restricted"
    """What the browser calls it when it asks for a password (RFC 7617, 2)."""
    strip: bool = True
    """Keep Authorization from the backend."""
    user_header: str = ""
    """Field in which the backend is told the name; what a client sends in it is taken out. Empty: it is not told."""
    parallel: int = 2
    """Checks at once, each in a thread."""
    waiting: int = 32
    """Checks that may be under way or wait; one more is answered with 503."""
    remember: int = 1024
    """Pairs that are remembered."""

    def __post_init__(self) -> None:
        quotable(self.realm, "realm")
        if self.user_header:
            name_of(self.user_header, "user_header")
        if not self.users and not self.users_file:
            raise ValueError("users is empty and users_file too; must name somebody who may pass")
        for name, line in self.users.items():
            _check(name, line, "users")
        if not 1 <= self.parallel <= self.waiting:
            raise ValueError(f"parallel is {self.parallel}, waiting {self.waiting}; must be 1 or more, and no more")
        if self.remember < 1:
            raise ValueError(f"remember is {self.remember}; must be 1 or more")

    def __repr__(self) -> str:
        return f"BasicOptions(users=<{len(self.users)} secrets>, users_file={self.users_file!r}, realm={self.realm!r})"


def _check(name: str, line: str, where: str) -> passwords.Hash:
    if not name or ":" in name or not legal(name.encode()):
        raise ValueError(f"{where} holds the name {name!r}; must be without ':', control bytes and blanks around it")
    return passwords.read(line, f"{where}[{name!r}]")


def users_of(path: str) -> dict[str, str]:
    """Names and hashes of a file. ValueError names the file and the line, and shows nothing of what stands there."""
    found: dict[str, str] = {}
    for number, line in enumerate(Path(path).read_text("utf-8").splitlines(), 1):
        if line.strip() and not line.startswith("#"):
            name, colon, hash = line.strip().partition(":")
            if not colon or name in found:
                raise ValueError(f"users_file {path!r}, line {number}; must be name:hash, each name once")
            found[name] = hash
    return found


class Basic(Filter):
    """Lets pass whoever has a name and the password for it."""

    def __init__(self, options: BasicOptions) -> None:
        everybody = (users_of(options.users_file) if options.users_file else {}) | options.users
        self._users = {name.encode(): _check(name, line, "users") for name, line in everybody.items()}
        if not self._users:
            raise ValueError(f"users_file {options.users_file!r} names nobody; must name somebody who may pass")
        self._nobody = passwords.decoy(max(self._users.values(), key=lambda hash: hash.cost))
        self._options = options
        self._challenge = b'Basic realm="%b", charset="UTF-8"' % quotable(options.realm, "realm")
        self._header = options.user_header.lower().encode()
        stripped = {b"authorization"} if options.strip else set()
        self._dropped = Names(stripped | (spellings(options.user_header) if self._header else set()))
        self._key = secrets.token_bytes(32)
        self._right: dict[bytes, bytes] = {}
        self._checks: dict[bytes, asyncio.Future[bool]] = {}
        self._threads: ThreadPoolExecutor | None = None

    def on_request(self, exchange: Exchange) -> Answer | Awaitable[Answer]:
        request = exchange.request
        try:
            sent = credentials(request, b"basic")
        except Several:
            return two_answers()
        pair = None if sent is None else _pair(sent)
        if pair is None:
            return self._refuse()
        digest = hashlib.blake2b(pair, key=self._key, digest_size=32).digest()
        name = self._right.get(digest)
        if name is not None:
            return self._pass(request, name)
        if digest not in self._checks and len(self._checks) >= self._options.waiting:
            return text(503, "Too many passwords to check.", (b"retry-after", b"1"))
        return self._later(request, pair, digest)

    async def _later(self, request: Request, pair: bytes, digest: bytes) -> Answer:
        name, _, password = pair.partition(b":")
        check = self._checks.get(digest)
        if check is None:
            if self._threads is None:
                self._threads = ThreadPoolExecutor(self._options.parallel, "passwords")
            hash = self._users.get(name, self._nobody)
            loop = asyncio.get_running_loop()
            check = self._checks[digest] = loop.run_in_executor(self._threads, passwords.right, password, hash)
            check.add_done_callback(lambda _: self._checks.pop(digest, None))
        if not await asyncio.shield(check) or name not in self._users:
            return self._refuse()
        while len(self._right) >= self._options.remember:
            del self._right[next(iter(self._right))]
        self._right[digest] = name
        return self._pass(request, name)

    def _pass(self, request: Request, name: bytes) -> Answer:
        if self._dropped:
            request.drop(self._dropped)
            if self._header:
                request.put(b"%b: %b\r\n" % (self._header, name))
        return None

    def _refuse(self) -> Response:
        return challenge(401, "Name and password, please.", self._challenge)

    def close(self) -> None:
        """What is being checked comes to its end: somebody waits for it."""
        if self._threads is not None:
            self._threads.shutdown(wait=False)
            self._threads = None


def _pair(sent: bytes) -> bytes | None:
    """name:password; None if it is no such thing."""
    if len(sent) > LONGEST * 4 // 3 + 4:
        return None
    try:
        pair = b64decode(sent, validate=True)
    except ValueError:
        return None
    return pair if b":" in pair and not CONTROL.search(pair) else None
