"""REST to gRPC: JSON in, a call, JSON out. An example of what a gateway does, small enough to see all of it.

Rule of this file: one unary call for one request; flat messages of strings, integers, booleans and floats.

Theory. A gRPC method is a path and two kinds of messages; REST is a method, a path and JSON. What connects them has to
be written down by somebody: here it is a table of fields by number, as in a .proto file. The outcome of the call is in
its trailers, which come last, and a status of HTTP comes first; so a gateway has to wait for the whole answer.

    [[route.filter]]
    kind = "rest_to_grpc"
    [[route.filter.calls]]
    path = "/greet"                                                       # POST {"name": "Ann", "times": 2}
    method = "/shop.Greeter/Greet"
    takes = [{ name = "name", number = 1, kind = "string" }, { name = "times", number = 2, kind = "int64" }]
    gives = [{ name = "text", number = 1, kind = "string" }]

The pool of such a route has protocol "h2" or "h2c"; what is in no table goes there as it came.

The codec is the part of protobuf's encoding that such messages need (protobuf.dev/programming-guides/encoding): each
field is a number, a wire type and a value; what is missing has the default; what is unknown is skipped.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Awaitable, Mapping
from typing import Any, Final, Literal

from msgspec import Struct

from lbcore.l7.errors import Malformed
from lbcore.l7.filters.filter import Answer, Exchange, Filter
from lbcore.l7.message import Headers, Request, Response, text
from lbcore.l7.rpc import grpc

Kind = Literal["string", "int64", "bool", "double"]
TYPES: Final[dict[Kind, type]] = {"string": str, "int64": int, "bool": bool, "double": float}
VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5  # wire types
JSON: Final = (b"content-type", b"application/json")


class Field(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A field of a message."""

    name: str
    """In JSON."""
    number: int
    """In protobuf."""
    kind: Kind
    """What it holds."""

    def __post_init__(self) -> None:
        if not 1 <= self.number < 1 << 29:
            raise ValueError(f"number of {self.name!r} is {self.number}: 1 to 536870911")


class Call(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """`POST path` with an object of `takes` becomes the method `/package.Service/Method`; its answer is of `gives`."""

    path: str
    """Of the requests that become this call."""
    method: str
    """As gRPC writes it."""
    takes: tuple[Field, ...]
    """Fields of the message that is sent."""
    gives: tuple[Field, ...]
    """Fields of the message that comes back."""


class GatewayOptions(
    Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, tag_field="kind", tag="rest_to_grpc"
):
    """JSON in, a call of gRPC, JSON out: unary calls with flat messages, after a table.

    body: bytes of JSON that a request may have. timeout: seconds that a call may take.
    """

    calls: tuple[Call, ...]
    """Which path is which method; requests for other paths go on as they are."""
    body: int = 65_536
    timeout: float = 10.0

    def __post_init__(self) -> None:
        if self.body <= 0:
            raise ValueError(f"body is {self.body}: bytes, more than 0")
        if not 0 < self.timeout <= 99_999:  # what eight digits of milliseconds hold
            raise ValueError(f"timeout is {self.timeout}: seconds, more than 0 and less than 100000")
        paths = [call.path for call in self.calls]
        if len(set(paths)) < len(paths) or not paths:
            raise ValueError(f"calls has the paths {', '.join(paths) or 'none'}: one at least, and each once")
        for call in self.calls:
            if not call.path.startswith("/") or call.method.count("/") != 2 or not call.method.startswith("/"):
                raise ValueError(f"calls has {call.path!r}, {call.method!r}: /a/path and /package.Service/Method")


class Gateway(Filter):
    """What is in the table becomes a call, what is not goes on as it is."""

    def __init__(self, options: GatewayOptions) -> None:
        self._calls: Mapping[bytes, Call] = {call.path.encode(): call for call in options.calls}
        self._timeout = b"%dm" % round(options.timeout * 1000)
        self.body_limit = options.body

    def on_request(self, exchange: Exchange) -> Answer | Awaitable[Answer]:
        request = exchange.request
        call = self._calls.get(request.path)
        if call is None:
            return None
        if request.method != b"POST":
            return text(405, "POST is the method of a call", (b"allow", b"POST"))
        try:
            message = encode(json.loads(request.body or b"{}"), call.takes)
        except ValueError as error:
            return text(400, f"not what {call.method} takes: {error}")
        return self._call(exchange, call, message)

    async def _call(self, exchange: Exchange, call: Call, message: bytes) -> Response:
        asked = exchange.request
        headers = Headers([grpc.CONTENT_TYPE, (b"grpc-timeout", self._timeout)])
        body = grpc.framed(message)
        request = Request(
            b"POST", call.method.encode(), asked.authority, asked.scheme, headers, asked.peer, "2", len(body), body
        )
        try:
            answer = await exchange.fetch(request)
            return _answer(answer, call)
        except (ConnectionError, ValueError) as error:
            return text(502, f"{call.method}: {error}")


def _answer(answer: Response, call: Call) -> Response:
    trailers = answer.trailers or Headers()
    written = trailers.get(b"grpc-status") or answer.headers.get(b"grpc-status")
    if written is None:
        return answer if answer.status >= 400 else text(502, f"{call.method} ended without a status")
    if written != b"0":
        words = trailers.get(b"grpc-message") or answer.headers.get(b"grpc-message") or b""
        status = int(written) if written.isdigit() else grpc.UNKNOWN
        body = json.dumps({"code": status, "message": words.decode("utf-8", "replace")}).encode()
        return Response(grpc.TO_HTTP.get(status, 500), Headers([JSON]), body)
    messages = grpc.unframed(answer.body or b"")
    if len(messages) != 1:
        raise Malformed(f"{len(messages)} messages in the answer to one call")
    return Response(200, Headers([JSON]), json.dumps(decode(messages[0], call.gives)).encode())


def encode(values: Any, fields: tuple[Field, ...]) -> bytes:
    """A message. values: the object of JSON. ValueError names the field, what it is and what it should be."""
    if not isinstance(values, dict):
        raise ValueError(f"{type(values).__name__}: an object")
    known = {field.name: field for field in fields}
    out = bytearray()
    for name, value in values.items():
        field = known.get(name)
        if field is None:
            raise ValueError(f"{name!r}: one of {', '.join(known)}")
        if not _fits(value, field.kind):
            raise ValueError(f"{name!r} is {value!r}: {field.kind}")
        if field.kind == "string":
            data = value.encode()
            out += _varint(field.number << 3 | BYTES) + _varint(len(data)) + data
        elif field.kind == "double":
            out += _varint(field.number << 3 | FIXED64) + struct.pack("<d", value)
        else:
            if not -(1 << 63) <= value < 1 << 63:
                raise ValueError(f"{name!r} is {value!r}: an integer of 64 bits")
            out += _varint(field.number << 3 | VARINT) + _varint(value & (1 << 64) - 1)
    return bytes(out)


def _fits(value: Any, kind: Kind) -> bool:
    return type(value) is TYPES[kind] or (kind == "double" and type(value) is int)


def decode(message: bytes, fields: tuple[Field, ...]) -> dict[str, Any]:
    """The object for JSON, with defaults for what is not there. Malformed: not protobuf, or of another type."""
    values: dict[str, Any] = {field.name: TYPES[field.kind]() for field in fields}
    known = {field.number: field for field in fields}
    at = 0
    try:
        while at < len(message):
            tag, at = _read_varint(message, at)
            raw, at = _read_value(message, at, tag & 7)
            field = known.get(tag >> 3)
            if field is not None:
                values[field.name] = _typed(raw, field)
    except (IndexError, struct.error, UnicodeDecodeError):
        raise Malformed("a message that is cut off, or no protobuf") from None
    return values


def _typed(raw: int | bytes, field: Field) -> Any:
    if isinstance(raw, int):
        if field.kind in ("int64", "bool"):
            return bool(raw) if field.kind == "bool" else raw - (1 << 64 if raw >> 63 else 0)
    elif field.kind == "string":
        return raw.decode()
    elif field.kind == "double":
        return struct.unpack("<d", raw)[0]
    raise Malformed(f"field {field.number} has another type than {field.kind}")


def _read_value(message: bytes, at: int, wire: int) -> tuple[int | bytes, int]:
    if wire == VARINT:
        return _read_varint(message, at)
    if wire == BYTES:
        size, at = _read_varint(message, at)
    elif wire in (FIXED64, FIXED32):
        size = 8 if wire == FIXED64 else 4
    else:
        raise Malformed(f"wire type {wire}: 0, 1, 2 or 5")
    if at + size > len(message):
        raise IndexError
    return message[at : at + size], at + size


def _varint(number: int) -> bytes:
    out = bytearray()
    while number > 0x7F:
        out.append(0x80 | number & 0x7F)
        number >>= 7
    out.append(number)
    return bytes(out)


def _read_varint(message: bytes, at: int) -> tuple[int, int]:
    number = shift = 0
    while shift < 70:
        byte = message[at]
        at += 1
        number |= (byte & 0x7F) << shift
        if not byte & 0x80:
            return number & (1 << 64) - 1, at
        shift += 7
    raise Malformed("a number of more than ten bytes")
