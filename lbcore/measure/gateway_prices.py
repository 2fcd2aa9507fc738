"""What each filter of a gateway costs for one request: the real filters, led through in memory.

Rule of this file: no sockets, no engine; what those cost is measured by `gateway_live`.

Theory. The price of a filter is the difference between an exchange with it and one without it, in the same round. A
request comes as the engine makes it: with its fields as bytes. These filters find what they want in the bytes; what a
filter pays that has them taken apart, to go through them all, has a line of its own in the list.
"""

from __future__ import annotations

import zlib
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from itertools import count
from statistics import median
from typing import Any, Final

import brotli
import jwt
import numpy as np
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from lbcore.l7.filters.compress import BROTLI_WINDOW
from lbcore.l7.filters.filter import Filter
from lbcore.l7.filters.jwt import Jwt, JwtOptions, KeyOptions
from lbcore.l7.filters.rate_limit import RateLimit, RateLimitOptions
from lbcore.l7.filters.request_id import RequestId, RequestIdOptions
from lbcore.l7.filters.security_headers import SecurityHeaders, SecurityHeadersOptions
from lbcore.l7.filters.waf import Waf, WafOptions
from lbcore.l7.message import Headers, Peer, Request, Response
from lbcore.measure.clock import Comparison, compare

EACH: Final = 200  # exchanges in one timed call
SECRET: Final = "a secret of at least thirty-two bytes"
PEER: Final = Peer("192.0.2.7", 50000, 443)
BROWSER: Final = (
    (b"user-agent", b"Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0"),
    (b"accept", b"text/html,application/xhtml+xml,*/*;q=0.8"), (b"accept-language", b"en-GB,en;q=0.7"),
    (b"accept-encoding", b"gzip, deflate, br"), (b"referer", b"https://shop.example/"),
    (b"cookie", b"theme=dark; seen=2026-11-20; basket=4f1c"), (b"x-api-key", b"k-4711"),
)  # fmt: skip


def request(
    target: bytes = b"/", *fields: tuple[bytes, bytes], method: bytes = b"GET", body: bytes | None = None
) -> Request:
    """A request to shop.example, its fields unread."""
    block = b"".join(b"%b: %b\r\n" % line for line in fields)
    return Request(method, target, b"shop.example", b"https", block, PEER, length=len(body or b""), body=body)


class Passage:
    """One exchange in memory; see `lbcore.l7.filters.filter.Exchange`. `behind` answers what a filter fetches."""

    def __init__(self, request: Request, behind: Callable[[Request], Response] | None = None) -> None:
        self.request, self._behind = request, behind
        self.response: Response | None = None
        self.notes: dict[Any, Any] = {}
        self.started, self.attempts, self.bytes_in, self.bytes_out = 0.0, 0, 0, 0
        self.route, self.backend, self.error = "all", "", ""

    async def fetch(self, request: Request) -> Response:
        """What is behind the gateway."""
        if self._behind is None:
            raise ConnectionError("nobody is behind this exchange")
        return self._behind(request)

    def through(self, *filters: Filter, answer: Response | None = None) -> Response:
        """In and out again through filters that decide at once; `answer` is the backend's, 200 without one."""
        asked = []
        response: Response | Awaitable[Response | None] | None = None
        for one in filters:
            asked.append(one)
            response = one.on_request(self)
            if response is not None:
                break
        if response is None:
            response = answer or Response(200, Headers([(b"content-type", b"text/plain")]), b"well\n")
        if not isinstance(response, Response):
            if isinstance(response, Coroutine):
                response.close()
            raise TypeError("a filter has to wait; only those that decide at once can be led through here")
        for one in reversed(asked):
            one.on_response(self, response)
        for one in asked:
            one.on_end(self)
        self.response = response
        return response


class Reads(Filter):
    """Looks at the fields, and does nothing else."""

    def on_request(self, exchange: Any) -> None:
        _ = exchange.request.headers


def tokens(**claims: Any) -> dict[str, tuple[str, KeyOptions]]:
    """A token and the gateway's key for it, by algorithm; new key pairs each time. It expires in 2100."""
    said = {"sub": "ann", "iss": "https://id.example", "exp": 4102444800} | claims
    private: dict[str, Any] = {
        "RS256": rsa.generate_private_key(65537, 2048),
        "ES256": ec.generate_private_key(ec.SECP256R1()),
    }
    made = {"HS256": (jwt.encode(said, SECRET, "HS256"), KeyOptions(algorithm="HS256", secret=SECRET))}
    for name, key in private.items():
        pem = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
        made[name] = (jwt.encode(said, key, name), KeyOptions(algorithm=name, public=pem))  # type: ignore[arg-type]
    return made


def verifier(key: KeyOptions, remember: int = 4096) -> Jwt:
    """A filter for the tokens of this key, which tells the backend `sub` in X-User."""
    return Jwt(JwtOptions(keys=(key,), claims={"sub": "x-user"}, remember=remember))


def price_list(rounds: int = 7) -> Comparison:
    """CPU time of one exchange in memory for each function; the baseline is `nothing`."""
    number = count()

    def work(*filters: Filter, token: str = "", new: bool = False) -> Callable[[], None]:
        fields = (*BROWSER, (b"authorization", b"Bearer " + token.encode())) if token else BROWSER
        block = b"".join(b"%b: %b\r\n" % line for line in fields)

        def run() -> None:
            for _ in range(EACH):
                target = b"/search?q=red%%20shoes,%%20size%%20%d" % (next(number) if new else 42)
                asked = Request(b"GET", target, b"shop.example", b"https", block, PEER)
                Passage(asked).through(*filters)

        return run

    limit = RateLimit(RateLimitOptions(rate=1e6, burst=10**6, by="header", name="x-api-key"))
    works = {
        "nothing": work(),
        "look at the fields": work(Reads()),
        "request id, security headers": work(RequestId(RequestIdOptions()), SecurityHeaders(SecurityHeadersOptions())),
        "rate limit by key": work(limit),
        "WAF, seen before": work(Waf(WafOptions())),
        "WAF, new text": work(Waf(WafOptions()), new=True),
    }
    for name, (token, key) in tokens().items():
        works[f"JWT {name}, remembered"] = work(verifier(key), token=token)
        works[f"JWT {name}, first"] = work(verifier(key, remember=0), token=token)
    return compare(works, rounds=rounds, min_seconds=0.01, operations=EACH, baseline="nothing")


def prices(measured: Comparison) -> dict[str, float]:
    """Microseconds that each function adds to an exchange: paired in rounds, median."""
    base = measured.samples["nothing"]

    def above(name: str) -> float:
        return max(0.0, median(a - b for a, b in zip(measured.samples[name], base, strict=True)) / 1000)

    return {name: above(name) for name in measured.samples if name != "nothing"}


# ---- compression ----


def page(size: int, rng: np.random.Generator) -> bytes:
    """A list of products in JSON, about `size` bytes: as alike and as unlike as such lists are."""
    colours = ("red", "blue", "green", "black", "white", "yellow")
    rows, total = [], 2
    while total < size:
        shoe, price, left = (int(rng.integers(*bounds)) for bounds in ((1, 10**6), (999, 19999), (0, 50)))
        colour = colours[int(rng.integers(6))]
        rows.append(f'{{"id": {shoe}, "name": "{colour} shoe", "price": {price / 100:.2f}, "left": {left}}}')
        total += len(rows[-1]) + 2
    return ("[" + ", ".join(rows) + "]").encode()[:size]


def gzipped(data: bytes, level: int) -> bytes:
    """As the filter does it."""
    made = zlib.compressobj(level, zlib.DEFLATED, 31)
    return made.compress(data) + made.flush()


def brotlied(data: bytes, quality: int) -> bytes:
    """As the filter does it."""
    made = brotli.Compressor(quality=quality, lgwin=BROTLI_WINDOW)
    return bytes(made.process(data) + made.finish())


CODINGS: Final[Mapping[str, Callable[[bytes], bytes]]] = {
    "gzip 1": lambda data: gzipped(data, 1),
    "gzip 5": lambda data: gzipped(data, 5),
    "gzip 9": lambda data: gzipped(data, 9),
    "brotli 1": lambda data: brotlied(data, 1),
    "brotli 4": lambda data: brotlied(data, 4),
    "brotli 11": lambda data: brotlied(data, 11),
}
"""Name to function; the filter's defaults are gzip 5 and brotli 4."""


def squeezed(data: bytes, rounds: int = 3) -> Comparison:
    """CPU time of compressing this once, for each of CODINGS."""
    return compare({name: lambda one=one: one(data) for name, one in CODINGS.items()}, rounds=rounds, min_seconds=0.003)  # type: ignore[misc]
