"""One line for each exchange: who asked for what, what was answered, how long it took.

Rule of this file: what a line says; how lines get into a file without anybody waiting is `line_file`.

Theory. Two forms. JSON, for programs, has everything. "combined" is the form of Apache's servers that every log reader
knows; what it has no place for follows behind it as name=value.

Traps
- Clients write most of what a line says. Whatever could end a line, close a quote or steer a terminal is escaped: all
  but visible ASCII, and in "combined" `"` and `\\` too. Each text has a limit.
- Secrets: Authorization, cookies and keys cannot be logged at all, and parameters of the query that are named like
  secrets (`hidden`) have their values taken out: access tokens do stand in queries (RFC 6750, 2.3).
- The time is the request's, the line is written at its end: lines are not in order of time.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from typing import Any, BinaryIO, Final, Literal

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
PLAIN: Final = re.compile(rb"[ !#-\[\]-~]*")
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
            name_of(name, "headers")
            if name.lower() in SECRET:
                raise ValueError(f"headers holds {name!r}; must not be a field that holds secrets")
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
        self._names = [(name_of(name, "headers"), name.lower()) for name in options.headers]
        names = b"|".join(re.escape(name.encode()) for name in options.hidden)
        self._hidden = re.compile(rb"(?i)([?&;](?:%b)=)[^&;]*" % names) if options.hidden else None
        self._line = self._json if options.format == "json" else self._combined
        self._clock, self._monotonic = clock, monotonic
        self._file = LineFile(options.path, out, options.pending, options.flush)
        self._second, self._stamp = -1, ""

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
        request, response, now = exchange.request, exchange.response, self._clock()
        seconds = self._monotonic() - exchange.started
        begun = now - seconds
        second = int(begun)
        if second != self._second:
            self._second, self._stamp = second, time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))
        agent, referer = request.headers.get(b"user-agent"), request.headers.get(b"referer")
        line: dict[str, Any] = {
            "time": f"{self._stamp}.{int((begun - second) * 1000):03d}Z",
            "client": notes.client(exchange),
            "method": visible(request.method),
            "host": visible(request.authority),
            "target": visible(self._public(exchange.notes.get(self, request.target))),
            "version": request.version,
            "status": response.status if response else 0,
            "seconds": round(seconds, 6),
            "bytes_in": exchange.bytes_in,
            "bytes_out": exchange.bytes_out,
            "route": exchange.route,
            "backend": exchange.backend,
            "attempts": exchange.attempts,
        }
        if exchange.error:
            line["error"] = exchange.error
        if agent:
            line["user_agent"] = visible(agent)
        if referer:
            line["referer"] = visible(self._public(referer))
        for key in (notes.REQUEST_ID, notes.TRACE_ID):
            if key in exchange.notes:
                line[key] = visible(exchange.notes[key])
        for name, label in self._names:
            line[label] = visible(request.headers.joined(name))
        return msgspec.json.encode(line) + b"\n"

    def _combined(self, exchange: Exchange) -> bytes:
        request, response, now = exchange.request, exchange.response, self._clock()
        seconds = self._monotonic() - exchange.started
        second = int(now - seconds)
        if second != self._second:
            self._second, self._stamp = second, time.strftime("%d/%b/%Y:%H:%M:%S +0000", time.gmtime(second))
        get, status = request.headers.get, response.status if response else 0
        target = quoted(self._public(exchange.notes.get(self, request.target)))
        agent, referer = quoted(get(b"user-agent") or b"-"), quoted(self._public(get(b"referer") or b"-"))
        route, error = quoted(exchange.route.encode()), quoted(exchange.error.encode())
        identity = quoted(exchange.notes.get(notes.REQUEST_ID, b"-"))
        more = "".join([f' {label}="{quoted(request.headers.joined(name))}"' for name, label in self._names])
        return (
            f"{quoted(notes.client(exchange).encode())} - - [{self._stamp}] "
            f'"{quoted(request.method)} {target} HTTP/{request.version}" {status} {exchange.bytes_out or "-"} '
            f'"{referer}" "{agent}" host="{quoted(request.authority)}" route="{route}" '
            f'backend="{exchange.backend}" seconds={seconds:.6f} error="{error}" id="{identity}"{more}\n'
        ).encode("ascii", "backslashreplace")


def visible(value: bytes) -> str:
    """As text of visible ASCII and blanks, everything else as `\\xNN`, at most LIMIT bytes of it."""
    if len(value) > LIMIT:
        value = value[:LIMIT] + b"..."
    text = value.decode("ascii", "backslashreplace")
    return text if text.isprintable() else "".join(c if c.isprintable() else f"\\x{ord(c):02x}" for c in text)


def quoted(value: bytes) -> str:
    """The same, for between quotes: `"` and `\\` are escaped too, so that nothing ends there but the quote itself."""
    if len(value) <= LIMIT and PLAIN.fullmatch(value):
        return value.decode("ascii")
    more = b"..." if len(value) > LIMIT else b""
    return "".join(chr(b) if 32 <= b < 127 and b not in b'"\\' else f"\\x{b:02x}" for b in value[:LIMIT] + more)
