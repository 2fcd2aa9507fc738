"""A name for each request, the same in every log on its way.

Rule of this file: it names; who writes the name down is `access_log`, the backend, the client.

Traps. A name that any client may choose can be chosen twice, or to be a megabyte, or to look like something else in a
log: only peers in `trusted` may bring one, and only of the form `SANE`. What the backend answers in that field is
overwritten: one exchange has one name.
"""

from __future__ import annotations

import re
from typing import Final

import msgspec

from lbcore.l7.entropy import Entropy, digits
from lbcore.l7.field import name_of
from lbcore.l7.filters.filter import Answer, Exchange, Filter
from lbcore.l7.message import Names, Response
from lbcore.l7.notes import REQUEST_ID
from lbcore.l7.trust import Trust, networks_of

SANE: Final = re.compile(rb"[A-Za-z0-9][A-Za-z0-9._:/+=@-]{7,127}")


class RequestIdOptions(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, tag_field="kind", tag="request_id"
):
    """Where the name stands, and who may bring one."""

    header: str = "x-request-id"
    """The field's name."""
    trusted: tuple[str, ...] = ()
    """Networks of peers that may bring a name of 8 to 128 letters, digits and some signs."""
    echo: bool = True
    """Say it in the response."""

    def __post_init__(self) -> None:
        name_of(self.header, "header")
        networks_of(self.trusted, "trusted")


class RequestId(Filter):
    """Names requests, with digits of `entropy`."""

    def __init__(self, options: RequestIdOptions, entropy: Entropy | None = None) -> None:
        name = name_of(options.header, "header")
        self._names, self._line = Names((name,)), name.replace(b"%", b"%%") + b": %b\r\n"
        self._echo = options.echo
        self._trust = Trust(networks_of(options.trusted, "trusted")) if options.trusted else None
        self._entropy = entropy or Entropy(digits)

    def on_request(self, exchange: Exchange) -> Answer:
        request = exchange.request
        given, brought = request.lines(self._names), b""
        if given:
            ((_, value), *more) = given
            if self._trust and not more and SANE.fullmatch(value) and request.peer.address in self._trust:
                brought = value
            request.drop(self._names)
        identity = brought or self._entropy.take(32)
        exchange.notes[REQUEST_ID] = identity
        request.put_checked(self._line % identity)
        return None

    def on_response(self, exchange: Exchange, response: Response) -> None:
        if self._echo:
            response.drop(self._names)
            response.put_checked(self._line % exchange.notes[REQUEST_ID])
