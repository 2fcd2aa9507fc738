"""Answers made smaller on the way (content coding: RFC 9110, 8.4; gzip: RFC 1952; br: RFC 7932).

Rule of this file: whether and how; the choice by Accept-Encoding is `accept_encoding`, the work is zlib's and brotli's.

Theory. A compressed answer is another representation of the same thing: another length, another entity tag, and a cache
has to know what it depends on (Vary). What a tag says of bytes holds no more, so a strong tag becomes a weak one: equal
in meaning, not in bytes (RFC 9110, 8.8.1). Ranges of the bytes in front of us are none of what the client gets, so
Accept-Ranges goes; digests go too (RFC 9530).

Not touched: what is encoded already, no-transform, 206 (a piece of something), 204, 304, HEAD, upgrades, small answers,
what is compressed in itself (images, video).

Traps
- A compressor keeps back what it may still shorten. For an event stream every piece is flushed, which costs most of
  what compression wins: event streams are taken only if `types` names them.
- BREACH: where an answer holds a secret and also text that an attacker chooses, its length tells the secret, letter by
  letter, in spite of TLS. Not for such answers: leave their routes without this filter, or mask the secret.
- A 304 from behind has the strong tag and the plain answer's Vary. A cache further out that took them over (RFC 9111,
  3.2) would put pieces of the plain answer to the compressed one, and give that to who cannot read it.
- A cache further in sees plain answers and each hit is compressed anew; a cache further out keeps one answer for each
  Accept-Encoding.
- Each answer under way holds a compressor's memory: some 220 kB for gzip, up to 1 MB for brotli.
- Nothing is ever decompressed: the few bytes that stand for gigabytes do their harm elsewhere.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from typing import Any, Final, Literal

import brotli
import msgspec

from lbcore.l7.filters.accept_encoding import choose
from lbcore.l7.filters.cors import add_vary
from lbcore.l7.filters.filter import Exchange, Filter
from lbcore.l7.message import Names, Request, Response, Transform

TYPES: Final = (
    "text/html", "text/css", "text/plain", "text/javascript", "text/xml", "text/csv", "text/markdown",
    "application/json", "application/javascript", "application/xml", "application/manifest+json",
    "application/ld+json", "application/problem+json", "application/graphql-response+json", "application/rss+xml",
    "application/atom+xml", "application/wasm", "image/svg+xml",
)  # fmt: skip
FLUSHED: Final = frozenset((b"text/event-stream", b"application/x-ndjson", b"application/stream+json"))
"""Types whose readers wait for each piece."""
SAID: Final = Names((b"content-type", b"content-encoding", b"cache-control", b"etag"))
ASKED: Final = Names((b"accept-encoding", b"cache-control"))
HAS: Final = Names((b"if-none-match",))
UNTRUE: Final = Names((b"accept-ranges", b"content-digest", b"repr-digest", b"digest", b"content-md5"))
"""What does not hold of the compressed answer."""
NEVER: Final = frozenset((101, 204, 205, 206, 304))
BROTLI_WINDOW: Final = 18
"""256 kB back, more than most pages have; the usual 22 may grow to 4 MB."""
REMEMBERED: Final = 1024
"""Values of Accept-Encoding; browsers know few."""


class CompressOptions(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, tag_field="kind", tag="compress"
):
    """What is compressed, and how hard."""

    codings: tuple[Literal["br", "gzip"], ...] = ("br", "gzip")
    """The first of those that the client likes equally is taken."""
    types: tuple[str, ...] = TYPES
    """Media types, without parameters."""
    minimum: int = 1024
    """Bytes; a shorter answer fits into a packet or two either way. One of unknown length is compressed."""
    gzip_level: int = 5
    """From 1, fast, to 9, small."""
    brotli_quality: int = 4
    """From 0, fast, to 11, small."""

    def __post_init__(self) -> None:
        if not self.codings or len(set(self.codings)) < len(self.codings):
            raise ValueError(f"codings is {self.codings!r}; must be 'br', 'gzip' or both, each once")
        for kind in self.types:
            if kind.count("/") != 1 or kind != kind.lower().strip() or "*" in kind or ";" in kind:
                raise ValueError(f"types holds {kind!r}; must be like 'text/html', in lower case, without parameters")
        if not 1 <= self.gzip_level <= 9:
            raise ValueError(f"gzip_level is {self.gzip_level}; must be 1 (fast) to 9 (small)")
        if not 0 <= self.brotli_quality <= 11:
            raise ValueError(f"brotli_quality is {self.brotli_quality}; must be 0 (fast) to 11 (small)")
        if self.minimum < 0:
            raise ValueError(f"minimum is {self.minimum}; must be bytes, 0 or more")


class Compressor:
    """A Transform. `process` may keep data back; `flush` gives out what was kept, `end` also ends the coding."""

    def __init__(
        self, process: Callable[[bytes], bytes], flush: Callable[[], bytes] | None, end: Callable[[], bytes]
    ) -> None:
        self._process, self._flush, self.finish = process, flush, end

    def feed(self, data: bytes) -> bytes:
        """See Transform."""
        if self._flush is None:
            return self._process(data)
        return self._process(data) + self._flush()

    def abort(self) -> None:
        """See Transform."""


class Compress(Filter):
    """Compresses what is worth it."""

    def __init__(self, options: CompressOptions) -> None:
        self._options = options
        self._codings = tuple(coding.encode() for coding in options.codings)
        self._types = frozenset(kind.encode() for kind in options.types)
        self._kinds: dict[bytes, bytes] = {}
        self._choices: dict[bytes, bytes | None] = {}

    def on_response(self, exchange: Exchange, response: Response) -> None:
        status, request = response.status, exchange.request
        if status == 304:
            self._confirm(request, response)
        if status in NEVER or status < 200 or request.protocol is not None:
            return
        size = response.length if response.body is None else len(response.body)
        head = request.method == b"HEAD"
        if size is not None and size < self._options.minimum:
            return
        kind = tag = None
        for name, value in response.lines(SAID):
            if name == b"content-type":
                kind = value.partition(b";")[0].rstrip().lower()
            elif name == b"content-encoding" or (name == b"cache-control" and b"no-transform" in value.lower()):
                return
            elif name == b"etag":
                tag = value
        if kind not in self._types:
            return
        add_vary(response, b"accept-encoding")
        coding = self._choice(request)
        if coding is None:
            return
        if head:  # a length told here would have to be that of GET's answer, which is not known (RFC 9110, 8.6)
            if response.body is None:
                response.length = None
            return
        response.drop(UNTRUE)
        response.put(b"content-encoding: %b\r\n" % coding)
        if tag is not None and not tag.startswith(b"W/"):
            response.headers.set(b"etag", b"W/" + tag)
        response.length = None
        response.transform(self._compressor(coding, kind in FLUSHED))

    def _confirm(self, request: Request, response: Response) -> None:
        """A 304 to somebody who has the compressed answer, as its weak tag tells: say of it what was said with it."""
        tag, has = response.get(b"etag"), b",".join([value for _, value in request.lines(HAS)])
        if tag is not None and not tag.startswith(b"W/") and b"W/" + tag in has:
            response.headers.set(b"etag", b"W/" + tag)
            add_vary(response, b"accept-encoding")

    def _choice(self, request: Request) -> bytes | None:
        accepted = no_transform = None
        for name, value in request.lines(ASKED):
            if name == b"accept-encoding":
                accepted = value if accepted is None else accepted + b"," + value
            elif name == b"cache-control" and b"no-transform" in value.lower():
                no_transform = True
        if accepted is None or no_transform:
            return None
        if accepted not in self._choices:
            if len(self._choices) >= REMEMBERED:
                self._choices.clear()
            self._choices[accepted] = choose(accepted, self._codings)
        return self._choices[accepted]

    def _compressor(self, coding: bytes, flushed: bool) -> Transform:
        if coding == b"gzip":
            gzip = zlib.compressobj(self._options.gzip_level, zlib.DEFLATED, 31)
            return Compressor(gzip.compress, (lambda: gzip.flush(zlib.Z_SYNC_FLUSH)) if flushed else None, gzip.flush)
        made: Any = brotli.Compressor(quality=self._options.brotli_quality, lgwin=BROTLI_WINDOW)
        return Compressor(made.process, made.flush if flushed else None, made.finish)
