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

import math
import re
import time
from collections.abc import Callable
from typing import BinaryIO, Final, Literal, NamedTuple, TypeAlias

import msgspec

from lbcore.l7 import notes
from lbcore.l7.field import name_of
from lbcore.l7.filters.filter import Answer, Exchange, Filter
from lbcore.l7.filters.line_file import LineFile
from lbcore.l7.message import Names
from lbcore.l7.trust import REMEMBERED

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
SEEN: Final = bytes(byte if byte in VISIBLE else ord("?") for byte in range(256))
"""A table that changes every text but one that is visible."""
PARAMETER: Final = re.compile(rb"[?&;]([^=&;]*)=")
QUESTION: Final = ord("?")
LIMIT: Final = 2048
THOUSANDTHS: Final = [b".%03dZ" % number for number in range(1000)]
"""How a time ends in each of a second's milliseconds."""

Labels: TypeAlias = tuple[str, int, str, str, int, str]
"""What few lines differ in: version, status, route, backend, attempts, error."""


class Form(NamedTuple):
    """How a line is written."""

    clock: str
    """The time, for strftime."""
    line: bytes
    """The template: first for a label each, then, `%%`, for what is each request's own."""
    field: bytes
    """What stands at its end for each further field of the request."""
    mark: bytes
    """What stands before the two digits of an escaped byte."""
    nothing: bytes
    """What stands for a field that is not there."""


FORMS: Final = {
    "json": Form(
        "%Y-%m-%dT%H:%M:%S",
        b'{"client":"%%b","time":"%%b","method":"%%b","target":"%%b","version":"%b","status":%d,"bytes_out":%%d,'
        b'"referer":"%%b","user_agent":"%%b","host":"%%b","route":"%b","backend":"%b","attempts":%d,"seconds":%%.6f,'
        b'"bytes_in":%%d,"error":"%b","request_id":"%%b","trace_id":"%%b"%%b}\n',
        b',"%b":"%b"',
        rb"\\x",  # JSON has no \xNN; so its reader gets the same text as that of "combined"
        b"",
    ),
    "combined": Form(
        "%d/%b/%Y:%H:%M:%S +0000",
        b'%%b - - [%%b] "%%b %%b HTTP/%b" %d %%d "%%b" "%%b" host="%%b" route="%b" backend="%b" attempts=%d '
        b'seconds=%%.6f bytes_in=%%d error="%b" request_id="%%b" trace_id="%%b"%%b\n',
        b' %b="%b"',
        rb"\x",
        b"-",
    ),
}


class AccessLogOptions(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, tag_field="kind", tag="access_log"
):
    """Where lines go and what they say."""

    path: str = "-"
    """A file, lines are put at its end; `-`: standard output."""
    format: Literal["json", "combined"] = "json"
    """An object of JSON to a line, or the combined format of web servers."""
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
        names = [name_of(name, "headers") for name in options.headers]
        self._names, self._wanted = names, Names((b"referer", b"user-agent", *names))
        self._secrets = frozenset(name.lower().encode() for name in options.hidden)
        self._hidden = re.compile(rb"(?i)([?&;](?:%b)=)[^&;#]*" % b"|".join(map(re.escape, sorted(self._secrets))))
        self._form = FORMS[options.format]
        self._nothing = self._form.nothing
        self._templates: dict[Labels, bytes] = {}
        self._clock, self._monotonic = clock, monotonic
        self._file = LineFile(options.path, out, options.pending, options.flush)
        self._second, self._stamp = -2, b""

    def on_request(self, exchange: Exchange) -> Answer:
        # What other filters make of the request is not what the client asked for.
        exchange.notes[self] = exchange.request.target
        return None

    def on_end(self, exchange: Exchange) -> None:
        request, response, noted = exchange.request, exchange.response, exchange.notes
        seconds = self._monotonic() - exchange.started
        said = request.lines(self._wanted)
        referer = agent = self._nothing
        if said:
            for name, value in reversed(said):  # so that the first of a name has the last word
                if name == b"referer":
                    referer = self._public(value) or self._nothing
                elif name == b"user-agent":
                    agent = value or self._nothing
        client = notes.client(exchange).encode()
        stamp = self._time(self._clock() - seconds)
        method, target, host = request.method, self._public(noted.get(self, request.target)), request.authority
        request_id, trace_id = noted.get(notes.REQUEST_ID, b""), noted.get(notes.TRACE_ID, b"")
        texts = client, method, target, referer, agent, host, request_id, trace_id
        whole = b"".join(texts)
        if len(whole) > LIMIT or whole.translate(SEEN) != whole:  # seldom: something wants escaping
            client, method, target, referer, agent, host, request_id, trace_id = map(self._escaped, texts)
        more = self._more(said) if self._names else b""
        status = response.status if response else 0
        labels = request.version, status, exchange.route, exchange.backend, exchange.attempts, exchange.error
        template = self._templates.get(labels) or self._learn(labels)
        self._file.add(
            template
            % (
                client, stamp, method, target, exchange.bytes_out, referer, agent, host, seconds, exchange.bytes_in,
                request_id, trace_id, more,
            )
        )  # fmt: skip

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
        if QUESTION not in target or self._secrets.isdisjoint(PARAMETER.findall(target.lower())):
            return target
        return self._hidden.sub(rb"\1-", target)

    def _more(self, said: list[tuple[bytes, bytes]]) -> bytes:
        """What is said of the fields that the options name."""
        values = [b", ".join([value for key, value in said if key == name]) for name in self._names]
        pairs = zip(self._names, map(self._escaped, values), strict=True)
        return b"".join([self._form.field % pair for pair in pairs])

    def _learn(self, labels: Labels) -> bytes:
        """The template of lines with these labels: a bounded number is remembered, whoever thinks of new ones."""
        texts = [self._escaped(one.encode()).replace(b"%", b"%%") if isinstance(one, str) else one for one in labels]
        if len(self._templates) >= REMEMBERED:
            self._templates.clear()
        template = self._templates[labels] = self._form.line % tuple(texts)
        return template

    def _escaped(self, value: bytes) -> bytes:
        """Visible ASCII without `"` and `\\` as it is, others as a mark and two digits; LIMIT bytes of it at most."""
        if len(value) > LIMIT:
            value = value[:LIMIT] + b"..."
        if value.translate(SEEN) == value:
            return value
        return b"".join([bytes([byte]) if byte in VISIBLE else self._form.mark + b"%02x" % byte for byte in value])

    def _time(self, begun: float) -> bytes:
        """When the request began, in the form's own way; most of it changes once a second."""
        rest = begun - self._second
        if not 0 <= rest < 1:
            self._second = second = math.floor(begun)
            self._stamp = time.strftime(self._form.clock, time.gmtime(second)).encode()
            rest = begun - second
        return self._stamp if self._nothing else self._stamp + THOUSANDTHS[int(rest * 1000)]
