"""Fields added, set and removed, on the way in and on the way out.

Rule of this file: fixed names and fixed values; what depends on the exchange is another filter's concern.

Traps. Framing fields and Host are refused when the filter is made, not when a request comes: a Content-Length that
somebody sets is the beginning of request smuggling. "add" on a field that is not a list makes two lines where a reader
expects one; use "set".
"""

from __future__ import annotations

import msgspec

from lbcore.l7.field import name_of, value_of
from lbcore.l7.filters.filter import Answer, Exchange, Filter
from lbcore.l7.message import Message, Names, Response, block_of


class Changes(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What is done to one message's headers: first `remove`, then `set`, then `add`."""

    remove: tuple[str, ...] = ()
    """No line of these names."""
    set: dict[str, str] = {}
    """One line with this value, whatever was there."""
    add: dict[str, str] = {}
    """One line more."""


class HeadersOptions(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, tag_field="kind", tag="headers"
):
    """Changes to requests and to responses."""

    request: Changes = Changes()
    """Of requests, before they go to the backend."""
    response: Changes = Changes()

    def __post_init__(self) -> None:
        _Compiled(self.request, "request")
        _Compiled(self.response, "response")


class _Compiled:
    """Changes as bytes, done in one pass."""

    def __init__(self, changes: Changes, where: str) -> None:
        new = [
            (name_of(name, f"{where}.{verb}"), value_of(value, f"{where}.{verb}.{name}"))
            for verb, lines in (("set", changes.set), ("add", changes.add))
            for name, value in lines.items()
        ]
        self.new, self.count = block_of(new), len(new)
        removed = (name_of(name, f"{where}.{verb}") for verb in ("remove", "set") for name in getattr(changes, verb))
        self.gone = Names(removed)

    def apply(self, message: Message) -> None:
        if self.gone:
            message.drop(self.gone)
        if self.count:
            message.put(self.new, self.count)


class HeaderChanges(Filter):
    """Adds, sets and removes fields."""

    def __init__(self, options: HeadersOptions) -> None:
        self._request = _Compiled(options.request, "request")
        self._response = _Compiled(options.response, "response")

    def on_request(self, exchange: Exchange) -> Answer:
        self._request.apply(exchange.request)
        return None

    def on_response(self, exchange: Exchange, response: Response) -> None:
        self._response.apply(response)
