"""One line for each exchange: who asked for what, what was answered, how long it took.

Rule of this file: what a line says; how lines get into a file without anybody waiting is `line_file`.

Theory. Two forms. JSON, for programs, has everything. "combined" is the form of Apache's servers that every log reader
knows; what it has no place for follows behind it as name=value.

Traps
- Clients write most of what a line says. Whatever could end a line, close a quote or steer a terminal is escaped: all
  but visible ASCII, and `"` and `\\` too, so that `\\x0a` always means that byte. Each text has a limit.
- Secrets: Authorization, cookies and keys cannot be logged at all, and parameters of the query that are named like
  secrets (`hidden`) have their values taken out: access tokens do stand in queries (RFC 6750, 2.3).
- The time is the request's, the line is written at its end: lines are not in order of time.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from typing import BinaryIO, Final, Literal

import msgspec

from lbcore.l7 import notes
from lbcore.l7.field import name_of
from lbcore.l7.filters.filter import Answer, Exchange, Filter
from lbcore.l7.filters.line_file import LineFile

SECRET: Final = frozenset(
    {
        "authorization", "proxy-authorization", "cookie", "set-cookie", "x-api-key", "x-auth-token", "x-csrf-token",
        "x-amz-security-token", "authentication-info",
    }
)  # fmt: skip
HIDDEN: Final = (
    "access_token", "id_token", "refresh_token", "token", "code", "password", "secret", "api_key", "apikey", "key",
    "signature", "sig", "jwt", "x-amz-signature", "x-amz-credential", "x-amz-security-token",
)  # fmt: skip
VISIBLE: Final = bytes(byte for byte in range(32, 127) if byte not in b'"\\')
IN_JSON: Final = rb"\\x"
"""JSON has no `\\xNN`: there the backslash is escaped once more, and a reader gets the same text as from "combined"."""
LIMIT: Final = 2048


class AccessLogOptions(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, tag_field="kind", tag="access_log"
):
    """Where lines go and what they say."""

    path: str = "-"
    """A file, lines are put at its end; `-`: standard output."""
    format: Literal["json", "combined"] = "json"
    headers: tuple[str, ...] = ()
    """Fields of the request that are logged beside the usual ones."""
    hidden: tuple[str, ...] = HIDDEN
    """Parameters of the query whose values are not logged."""
    pending: int = 65536
    """Lines that may wait to be written; further ones are counted and lost."""
    flush: float = 1.0
    """Seconds that a line waits at most, as long as the file takes lines."""

    def __post_init__(self) -> None:
        for name in self.headers:
            if name.lower() in SECRET:
                raise ValueError(f"headers holds {name!r}; must not be a field that holds secrets")
            name_of(name, "headers")
        if self.pending < 1:
            raise ValueError(f"pending is {self.pending}; must be 1 line or more")
        if not 0 < self.flush <= 60:
            raise ValueError(f"flush is {self.flush}; must be seconds, more than 0 and at most 60")


class AccessLog(Filter):
    """Writes a line when an exchange ends. clock: seconds since 1970. monotonic: the clock of `exchange.started`."""

    def __init__(
        self,
        options: AccessLogOptions,
        out: BinaryIO | None = None,
        clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._names = [(name_of(name, "headers"), name.lower().encode()) for name in options.headers]
        names = b"|".join(re.escape(name.encode()) for name in options.hidden)
        self._hidden = re.compile(rb"(?i)([?&;](?:%b)=)[^&;]*" % names) if options.hidden else None
        self._line = self._json if options.format == "json" else self._combined
        self._clock, self._monotonic = clock, monotonic
        self._file = LineFile(options.path, out, options.pending, options.flush)
        self._second, self._stamp = -1, b""

    def on_request(self, exchange: Exchange) -> Answer:
        # What other filters make of the request is not what the client asked for.
        exchange.notes[self] = exchange.request.target
        return None

    def on_end(self, exchange: Exchange) -> None:
        self._file.add(self._line(exchange))

    def reopen(self) -> None:
        """Go on in a new file of the same name: the old one was moved away (SIGHUP)."""
        self._file.reopen()

    def close(self) -> None:
        self._file.close()

    @property
    def lost(self) -> int:
        """Lines that were not written: too many waited, or the file took none."""
        return self._file.lost

    def _public(self, target: bytes) -> bytes:
        """The target, or a URI, without values that are secrets."""
        return self._hidden.sub(rb"\1-", target) if self._hidden and b"?" in target else target

    def _json(self, exchange: Exchange) -> bytes:
        request, response, get, noted = (
            exchange.request,
            exchange.response,
            exchange.request.headers.get,
            exchange.notes,
        )
        seconds = self._monotonic() - exchange.started
        begun = self._clock() - seconds
        if int(begun) != self._second:
            self._second = int(begun)
            self._stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(begun)).encode()
        line = (
            b'{"time":"%b.%03dZ","client":"%b","method":"%b","host":"%b","target":"%b","version":"%b","status":%d,'
            b'"seconds":%.6f,"bytes_in":%d,"bytes_out":%d,"route":"%b","backend":"%b","attempts":%d'
        ) % (
            self._stamp,
            (begun % 1) * 1000,
            escaped(notes.client(exchange).encode(), IN_JSON),
            escaped(request.method, IN_JSON),
            escaped(request.authority, IN_JSON),
            escaped(self._public(noted.get(self, request.target)), IN_JSON),
            request.version.encode(),
            response.status if response else 0,
            seconds,
            exchange.bytes_in,
            exchange.bytes_out,
            escaped(exchange.route.encode(), IN_JSON),
            escaped(exchange.backend.encode(), IN_JSON),
            exchange.attempts,
        )
        more = [
            (b"error", exchange.error.encode()),
            (b"user_agent", get(b"user-agent")),
            (b"referer", self._public(get(b"referer", b""))),
            (b"request_id", noted.get(notes.REQUEST_ID)),
            (b"trace_id", noted.get(notes.TRACE_ID)),
        ]
        if self._names:
            more += [(label, request.headers.joined(name)) for name, label in self._names]
        rest = [b',"%b":"%b"' % (label, escaped(value, IN_JSON)) for label, value in more if value]
        return line + b"".join(rest) + b"}\n"

    def _combined(self, exchange: Exchange) -> bytes:
        request, response, get, noted = (
            exchange.request,
            exchange.response,
            exchange.request.headers.get,
            exchange.notes,
        )
        seconds = self._monotonic() - exchange.started
        begun = int(self._clock() - seconds)
        if begun != self._second:
            self._second = begun
            self._stamp = time.strftime("%d/%b/%Y:%H:%M:%S +0000", time.gmtime(begun)).encode()
        line = (
            b'%b - - [%b] "%b %b HTTP/%b" %d %d "%b" "%b" '
            b'host="%b" route="%b" backend="%b" seconds=%.6f error="%b" id="%b"'
        ) % (
            escaped(notes.client(exchange).encode()),
            self._stamp,
            escaped(request.method),
            escaped(self._public(noted.get(self, request.target))),
            request.version.encode(),
            response.status if response else 0,
            exchange.bytes_out,
            escaped(self._public(get(b"referer", b"-"))),
            escaped(get(b"user-agent", b"-")),
            escaped(request.authority),
            escaped(exchange.route.encode()),
            escaped(exchange.backend.encode()),
            seconds,
            escaped(exchange.error.encode()),
            escaped(noted.get(notes.REQUEST_ID, b"-")),
        )
        rest = [b' %b="%b"' % (label, escaped(request.headers.joined(name))) for name, label in self._names]
        return line + b"".join(rest) + b"\n"


def escaped(value: bytes, mark: bytes = b"\\x") -> bytes:
    """For between quotes: visible ASCII without `"` and `\\` as it is, any other byte as `\\xNN`; at most LIMIT bytes."""
    if len(value) > LIMIT:
        value = value[:LIMIT] + b"..."
    if not value.translate(None, VISIBLE):
        return value
    return b"".join([bytes([byte]) if byte in VISIBLE else mark + b"%02x" % byte for byte in value])
