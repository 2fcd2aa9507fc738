"""A head of HTTP/1.x: lines of text taken apart, and nothing accepted that two readers could take differently.

Rule of this file: bytes of one whole head in, its parts out, or Malformed. No state.

Theory. Request smuggling is a disagreement: a proxy and its backend find different ends for one message, and what one
of them takes for the rest of a body the other takes for a new request. So this reader is one pass of two regular
expressions over the whole head, which know only what RFC 9112 writes: CRLF and nothing else ends a line, no line
continues another (5.2), no space stands before a colon (5.1), no NUL, CR or LF in a value. Every field line must have
matched from its first byte to its last: their number is compared with the number of line ends.

Traps
- Content-Length: several lines are refused even if they agree (RFC 9112, 6.3, lets one agree with a list of
  the same number, and that list is where readers differ); so are signs, spaces inside, and lists.
- Transfer-Encoding: `chunked` and nothing else, never together with Content-Length, never in HTTP/1.0.
- A backend is not trusted more than a client: its heads are read by the same rules.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from lbcore.l7 import hop_by_hop
from lbcore.l7.errors import Malformed
from lbcore.l7.limits import Limits
from lbcore.l7.message import Headers

TOKEN = rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+"  # RFC 9110, 5.6.2
REQUEST_LINE = re.compile(rb"(%b) ([\x21\x22\x24-\x7e]+) HTTP/1\.([01])\r\n" % TOKEN)  # RFC 9112, 3; no fragment
STATUS_LINE = re.compile(rb"HTTP/1\.([01]) ([1-5][0-9][0-9])(?: ([\t\x20-\x7e\x80-\xff]*))?\r\n")  # RFC 9112, 4
FIELD = re.compile(rb"(?<=\n)(%b):[ \t]*([\t\x20-\x7e\x80-\xff]*)\r\n" % TOKEN)  # RFC 9112, 5
LENGTH = re.compile(rb"[0-9]{1,18}")  # RFC 9110, 8.6
HOST = re.compile(rb"(?:[0-9A-Za-z._~-]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]{1,5})?")  # RFC 9110, 7.2, without the exotic
LONELY = re.compile(rb"(?<!\r)\n|\r(?!\n)|\0")  # what ends a line for some and not for others
ABSOLUTE = re.compile(rb"(?i:https?)://([^/?]*)(/?.*)")  # RFC 9112, 3.2.2


@dataclass(slots=True)
class Framing:
    """What a head says of its own message and connection; not passed on. (RFC 9112, 6 and 9)"""

    minor: int
    """1 of HTTP/1.1, 0 of HTTP/1.0."""
    length: int | None = None
    """Content-Length."""
    chunked: bool = False
    keep_alive: bool = True
    expects: bool = False
    """`Expect: 100-continue`: the body waits for a word."""
    upgrade: bytes = b""
    """The protocol that the connection is to become, or has become."""
    host: bytes | None = None
    normal: bool = False
    """The target is seen to be in its normal form (see `target`)."""
    trailers: bool = False
    """`TE: trailers`: the sender takes trailers."""


def split(head: bytes, start: int, minor: int, limits: Limits) -> tuple[Headers, Framing]:
    """The field lines of a head that ends with an empty line, from `start`, the first byte after the first line.

    Names come in lower case, values without blanks around them; fields of one connection go into the framing.
    Malformed: any byte that belongs to no field line, or framing that can be read in two ways.
    """
    found = FIELD.findall(head, start)
    if len(found) != head.count(b"\n", start) - 1:
        raise Malformed(_what_is_wrong(head, start))
    if len(found) > limits.fields:
        raise Malformed(f"{len(found)} field lines; at most {limits.fields} are taken", 431)
    headers, framing = Headers(), Framing(minor, keep_alive=minor == 1)
    blanks = b" \r\n" in head or b"\t\r\n" in head
    nominated: list[bytes] = []
    append = headers.append
    for name, value in found:
        if blanks:
            value = value.rstrip(b" \t")
        name = name.lower()
        note = NOTED.get(name)
        if note is None or note(framing, value, nominated):
            append((name, value))
    if framing.chunked and (framing.length is not None or minor == 0):
        with_what = "Content-Length" if framing.length is not None else "HTTP/1.0"
        raise Malformed(f"Transfer-Encoding together with {with_what}: where does the body end?")
    if nominated:
        _obey(nominated, headers, framing)
    return headers, framing


def _connection(framing: Framing, value: bytes, nominated: list[bytes]) -> bool:
    nominated += [option.strip(b" \t").lower() for option in value.split(b",")]
    return False


def _content_length(framing: Framing, value: bytes, nominated: list[bytes]) -> bool:
    if framing.length is not None:
        raise Malformed("more than one Content-Length")
    if not LENGTH.fullmatch(value):
        raise Malformed(f"Content-Length: {value!r} is not a number of bytes, digits only")
    framing.length = int(value)
    return False


def _transfer_encoding(framing: Framing, value: bytes, nominated: list[bytes]) -> bool:
    if framing.chunked or value.lower() != b"chunked":
        raise Malformed(f"Transfer-Encoding: {value!r}: only `chunked`, once, is understood", 501)
    framing.chunked = True
    return False


def _host(framing: Framing, value: bytes, nominated: list[bytes]) -> bool:
    if framing.host is not None:
        raise Malformed("more than one Host")
    if not HOST.fullmatch(value):
        raise Malformed(f"Host: {value!r} is not a name or an address, with or without a port")
    framing.host = value.lower()
    return False


OTHER_HTTP = frozenset((b"h2c", b"h2", b"http", b"tls"))
"""What nobody gets to tunnel through us, in any version nor as one of several: requests inside would pass no route and
no filter ("h2c smuggling"). A server may ignore an Upgrade (RFC 9110, 7.8), and does."""


def _upgrade(framing: Framing, value: bytes, nominated: list[bytes]) -> bool:
    protocol = value.lower()
    if OTHER_HTTP.isdisjoint(option.partition(b"/")[0].strip(b" \t") for option in protocol.split(b",")):
        framing.upgrade = protocol
    return False


def _te(framing: Framing, value: bytes, nominated: list[bytes]) -> bool:
    framing.trailers = b"trailers" in value.lower()
    return False


def _expect(framing: Framing, value: bytes, nominated: list[bytes]) -> bool:
    if value.lower() != b"100-continue":
        raise Malformed(f"Expect: {value!r} cannot be met; only 100-continue", 417)
    framing.expects = framing.minor == 1
    return False


def _drop(framing: Framing, value: bytes, nominated: list[bytes]) -> bool:
    return False


NOTED = dict.fromkeys(hop_by_hop.HOP_BY_HOP | hop_by_hop.LOOKALIKES, _drop) | {
    b"connection": _connection,
    b"content-length": _content_length,
    b"transfer-encoding": _transfer_encoding,
    b"host": _host,
    b"upgrade": _upgrade,
    b"te": _te,
    b"expect": _expect,
}


def _obey(nominated: list[bytes], headers: Headers, framing: Framing) -> None:
    """What the Connection field asks for (RFC 9110, 7.6.1)."""
    if b"close" in nominated:
        framing.keep_alive = False
    elif b"keep-alive" in nominated:
        framing.keep_alive = True
    if b"upgrade" not in nominated:
        framing.upgrade = b""
    if private := hop_by_hop.nominated(nominated):
        headers.drop(*private)


def _what_is_wrong(head: bytes, start: int) -> str:
    """The first field line that is none, and why."""
    if LONELY.search(head, start):
        return "a CR, an LF or a NUL by itself in the head; lines end with CRLF"
    at = start
    for line in head[start:-2].splitlines(keepends=True):
        if not FIELD.match(head, at):
            if line[:1] in b" \t":
                return f"a folded line: {line[:40]!r}; each field is one line"
            name = line.partition(b":")[0]
            if name != name.rstrip(b" \t"):
                return f"a blank before the colon: {line[:40]!r}"
            return f"not a field line: {line[:40]!r}; it should be `name: value`"
        at += len(line)
    return "the head ends too early"
