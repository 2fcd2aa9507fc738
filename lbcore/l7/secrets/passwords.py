"""Passwords as they may be kept: salted hashes by scrypt (RFC 7914), as text.

Rule of this file: text and bytes; who asks for a password, and how often, is the filter's business.

Theory. A list of users gets lost one day. What stands in it must cost whoever tries passwords as much as possible, in
memory too, and the salt makes every entry a search of its own. The form is `$scrypt$ln=14,r=8,p=1$salt$hash`, both in
base64 without `=`: it says how it was made, so the cost can be raised for new entries while old ones go on.

Traps
- Checking is slow on purpose (ln=14: some 40 ms and 16 MiB), so never on an event loop, never without a limit.
- Equal or not is asked in constant time.

`python -m lbcore.l7.secrets.passwords` asks for a password and prints its line.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from base64 import b64decode, b64encode
from typing import Final, NamedTuple

LINE: Final = re.compile(
    r"\$scrypt\$ln=(\d{1,2}),r=(\d{1,2}),p=(\d{1,2})\$([A-Za-z0-9+/]{11,86})\$([A-Za-z0-9+/]{43,86})"
)
FORM: Final = "$scrypt$ln=14,r=8,p=1$SALT$HASH, as python -m lbcore.l7.secrets.passwords prints it"


class Hash(NamedTuple):
    """One line, read."""

    cost: int
    """Base 2 logarithm of scrypt's N."""
    block: int
    lanes: int
    salt: bytes
    digest: bytes


def _scrypt(password: bytes, salt: bytes, cost: int, block: int, lanes: int, size: int) -> bytes:
    memory = 128 * block * ((1 << cost) + lanes + 2) + (1 << 20)
    return hashlib.scrypt(password, salt=salt, n=1 << cost, r=block, p=lanes, maxmem=memory, dklen=size)


def _text(data: bytes) -> str:
    return b64encode(data).rstrip(b"=").decode()


def _bytes(text: str) -> bytes:
    return b64decode(text + "=" * (-len(text) % 4), validate=True)


def hashed(password: bytes, *, salt: bytes | None = None, cost: int = 14) -> str:
    """The line for a password, with a salt of 16 random bytes if none is given."""
    salt = secrets.token_bytes(16) if salt is None else salt
    return f"$scrypt$ln={cost},r=8,p=1${_text(salt)}${_text(_scrypt(password, salt, cost, 8, 1, 32))}"


def read(line: str, where: str) -> Hash:
    """A line's parts. ValueError names `where` and never shows the line: it may be somebody's password."""
    found = LINE.fullmatch(line)
    if not found:
        raise ValueError(f"{where} is no hash of a password; must be like {FORM}")
    cost, block, lanes = map(int, found.groups()[:3])
    if not (10 <= cost <= 20 and 1 <= block <= 32 and 1 <= lanes <= 16 and (block * lanes) << cost <= 1 << 24):
        raise ValueError(f"{where} has ln={cost},r={block},p={lanes}; must be ln 10 to 20 with N*r*p at most 2**24")
    try:
        return Hash(cost, block, lanes, _bytes(found[4]), _bytes(found[5]))
    except ValueError:
        raise ValueError(f"{where} has a salt or hash that is no base64; must be like {FORM}") from None


def right(password: bytes, hash: Hash) -> bool:
    """Is it this password? Takes as long for a wrong one."""
    made = _scrypt(password, hash.salt, hash.cost, hash.block, hash.lanes, len(hash.digest))
    return hmac.compare_digest(made, hash.digest)


def decoy(hash: Hash) -> Hash:
    """A hash that no password fits and that costs the same: for names that nobody has."""
    return hash._replace(salt=secrets.token_bytes(16), digest=secrets.token_bytes(len(hash.digest)))


def main() -> None:
    """Ask for a password, print its line."""
    import getpass
    import sys

    password = getpass.getpass() if sys.stdin.isatty() else sys.stdin.readline().rstrip("\n")
    print(hashed(password.encode()))


if __name__ == "__main__":
    main()
