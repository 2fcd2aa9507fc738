"""Pages of one's own for answers that say no.

Rule of this file: it replaces the body of an answer from 400 on; the status stays, and so do the fields that belong to
it (WWW-Authenticate, Retry-After, Allow).

Theory. What kind of page it is the client says in Accept (RFC 9110, 12.5.1): the kind with the highest weight, of equal
ones the first of JSON, HTML, plain text. Browsers name HTML; programs say `*/*`, or nothing, and get JSON.
An answer is the proxy's own if no backend was asked or something went wrong (`exchange.error`), and it does not come
from a cache (Age, RFC 9111, 5.1).

Traps. Everything that is put into a page is escaped for it; nothing of the request is put in but the name of the
request, by `request_id`. gRPC clients read no pages: theirs are left alone. What described the old body (type, coding,
language, range, validators, digests) goes with it.
"""

from __future__ import annotations

import html
import string
from collections.abc import Mapping
from http import HTTPStatus
from typing import Final, TypeVar

import msgspec

from lbcore.l7 import notes
from lbcore.l7.filters.cors import add_vary
from lbcore.l7.filters.filter import Exchange, Filter
from lbcore.l7.message import Response

T = TypeVar("T")
PAGE: Final = """<!doctype html>
<html lang="en"><meta charset="utf-8"><title>$status $reason</title>
<h1>$status $reason</h1>
<p>$message</p>
<p><small>$id</small></p>
</html>
"""
MESSAGES: Final = {
    400: "The request could not be understood.", 401: "This needs a name and a proof.", 403: "This is not allowed.",
    404: "There is nothing here.", 408: "The request took too long to arrive.", 413: "The request is too large.",
    421: "This is not the server for that name.", 429: "Too many requests. Please wait a little.",
    431: "The request's header is too large.", 500: "Something went wrong.",
    502: "The server behind this one gave no proper answer.", 503: "Nobody is there to answer now. Please try again.",
    504: "The server behind this one took too long.",
}  # fmt: skip
KINDS: Final = (b"application/json", b"text/html", b"text/plain")
NAMES: Final = frozenset({"status", "reason", "message", "id"})
OLD_BODY: Final = frozenset(
    {
        b"content-type", b"content-encoding", b"content-language", b"content-location", b"content-range",
        b"content-disposition", b"content-digest", b"repr-digest", b"digest", b"etag", b"last-modified",
        b"accept-ranges", b"content-length",
    }
)  # fmt: skip


class ErrorPagesOptions(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, tag_field="kind", tag="error_pages"
):
    """Pages by status; `$status`, `$reason`, `$message` and `$id` in them are filled in, `$$` is a dollar sign."""

    pages: dict[str, str] = {}
    """HTML for "404", for "5xx", for "default"."""
    messages: dict[str, str] = {}
    """What `$message` says, by the same keys; text."""
    backend: bool = False
    """Replace what backends answer, too."""

    def __post_init__(self) -> None:
        for field, texts in (("pages", self.pages), ("messages", self.messages)):
            for key in texts:
                if key not in {"4xx", "5xx", "default"} and not (
                    key.isascii() and key.isdigit() and 400 <= int(key) <= 599
                ):
                    raise ValueError(f"{field} has {key!r}; must be a status of 400 to 599, '4xx', '5xx' or 'default'")
        for key, page in self.pages.items():
            template = string.Template(page)
            if not template.is_valid() or not NAMES.issuperset(template.get_identifiers()):
                raise ValueError(
                    f"pages.{key} holds a '$' that is none of ${', $'.join(sorted(NAMES))}; '$$' is one '$'"
                )


class ErrorPages(Filter):
    """Replaces bodies of errors."""

    def __init__(self, options: ErrorPagesOptions) -> None:
        self._backend = options.backend
        self._pages = {key: string.Template(page) for key, page in options.pages.items()}
        self._messages = options.messages
        self._default = string.Template(PAGE)

    def on_response(self, exchange: Exchange, response: Response) -> None:
        if response.status < 400 or not self._ours(exchange, response):
            return
        request = exchange.request
        if (request.get(b"content-type") or b"").lower().startswith(b"application/grpc"):
            return
        status = response.status
        kind = preferred(request.headers.joined(b"accept"), KINDS) or b"text/plain"
        words = {
            "status": str(status),
            "reason": reason(status),
            "message": _find(self._messages, status) or MESSAGES.get(status) or reason(status),
            "id": exchange.notes.get(notes.REQUEST_ID, b"").decode("ascii", "replace"),
        }
        for transform in response.transforms or ():
            transform.abort()
        response.transforms = None
        page = self._render(kind, status, words)
        if response.body is None:
            response.length = len(page)
            if request.method != b"HEAD":
                response.transforms = [Instead(page)]
        else:
            response.body, response.length = page, None
        response.headers[:] = [line for line in response.headers if line[0] not in OLD_BODY]
        coded = kind if kind == b"application/json" else kind + b"; charset=utf-8"
        response.headers.append((b"content-type", coded))
        add_vary(response, b"accept")

    def _ours(self, exchange: Exchange, response: Response) -> bool:
        """Is this answer one to be replaced?"""
        return self._backend or bool(exchange.error) or (not exchange.backend and response.get(b"age") is None)

    def _render(self, kind: bytes, status: int, words: dict[str, str]) -> bytes:
        if kind == b"application/json":
            return msgspec.json.encode({**words, "status": status}) + b"\n"
        if kind == b"text/html":
            page = _find(self._pages, status) or self._default
            return page.substitute({name: html.escape(word) for name, word in words.items()}).encode()
        lines = (f"{words['status']} {words['reason']}", words["message"], words["id"])
        return "".join(f"{line}\n" for line in lines if line).encode()


class Instead:
    """The page, where a body was on its way: all of that is read, none of it is passed on."""

    def __init__(self, page: bytes) -> None:
        self._page = page

    def feed(self, data: bytes) -> bytes:
        return b""

    def finish(self) -> bytes:
        return self._page

    def abort(self) -> None:
        pass


def _find(texts: Mapping[str, T], status: int) -> T | None:
    """What the table has for a status: by its number, by its class, by default."""
    return next((texts[key] for key in (str(status), f"{status // 100}xx", "default") if key in texts), None)


def reason(status: int) -> str:
    """The usual phrase of a status; `Error` for one that nobody registered."""
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Error"


def preferred(accept: bytes, offers: tuple[bytes, ...]) -> bytes | None:
    """The offer with the highest weight in Accept (RFC 9110, 12.5.1), the first of equals; None if none is wanted.

    The most specific range decides about an offer. Without Accept the first is taken. Ranges that cannot be read, or
    with a weight that is none, are left out.
    """
    if not accept.strip():
        return offers[0]
    weights: dict[bytes, float] = {}
    for part in accept.split(b",")[:64]:
        kind, *parameters = (piece.strip(b" \t").lower() for piece in part.split(b";"))
        weight = weight_of(parameters)
        if weight is not None:
            weights[kind] = max(weight, weights.get(kind, 0.0))
    best, found = 0.0, None
    for offer in offers:
        ranges = (offer, offer.partition(b"/")[0] + b"/*", b"*/*")
        weight = next((weights[one] for one in ranges if one in weights), 0.0)
        if weight > best:
            best, found = weight, offer
    return found


def weight_of(parameters: list[bytes]) -> float | None:
    """The q of these parameters, 0 to 1, at most three digits; 1 if there is none, None if it is no weight."""
    for parameter in parameters:
        if parameter.startswith(b"q="):
            digits = parameter[2:]
            number, _, rest = digits.partition(b".")
            fine = number in (b"0", b"1") and len(rest) <= 3 and (not rest or rest.isdigit())
            return float(digits) if fine and float(digits) <= 1 else None
    return 1.0
