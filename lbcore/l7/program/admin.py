"""The admin endpoint: what the proxy is doing, and the few things that are changed while it runs.

    curl -s http://127.0.0.1:9901/state
    curl -s -X POST -H 'x-lbcore-admin: 1' http://127.0.0.1:9901/pools/web/127.0.0.1:9001/drain

Rule of this file: questions and orders, by one table. What is served here goes through the same engine as everything
else: the endpoint is a proxy of its own whose one route has one filter, which answers.

Theory. Whoever reaches this can take every backend out. So it listens on loopback only (`options.AdminOptions`), which
keeps other machines out, and not the browser on this one: a page of anywhere can make it send requests here. Hence two
more locks. Host has to be one of ours, or a name that its owner points to 127.0.0.1 would make the page's origin ours
(DNS rebinding). And an order has to be a POST with a field that no page can send without asking (Fetch, CORS-unsafe
request-header names): x-lbcore-admin, or with a token `authorization: Bearer ...`, which also keeps out other users of
this machine.

Trap. What is changed here is gone after the next reload or start, but for states, which a reload takes over: the file
is what holds.
"""

from __future__ import annotations

import hmac
import json
import math
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Any, Final, NamedTuple
from urllib.parse import unquote

from lbcore import __version__
from lbcore.l7.config.options import AdminOptions
from lbcore.l7.engine.proxy import Proxy
from lbcore.l7.filters.filter import Answer, Exchange, Filter
from lbcore.l7.front.door import listen
from lbcore.l7.limits import Limits
from lbcore.l7.message import Headers, Request, Response, text
from lbcore.l7.pools.pool import ACTIVE, DOWN, Backend, Pool
from lbcore.l7.program import figures
from lbcore.l7.routing.router import Route, Router

if TYPE_CHECKING:
    from lbcore.l7.program.service import Service

ORDER: Final = b"x-lbcore-admin"
LIMITS: Final = Limits(connections=64, body=4096, head_time=5.0, idle_time=10.0)
PATIENCE: Final = 2.0
"""Seconds that answers under way have when the endpoint moves."""


class Endpoint:
    """Where the admin filter listens."""

    def __init__(self, proxy: Proxy, address: str) -> None:
        self.proxy, self.address = proxy, address

    @classmethod
    async def open(cls, service: Service, options: AdminOptions) -> Endpoint:
        """Listen. ValueError or OSError: it is not loopback, it is taken, the token's file is not there."""
        admin = Admin(service, options)
        proxy = Proxy(Router([Route("admin", lambda request: True, lambda request: None, (admin,))]), LIMITS)
        await proxy.__aenter__()
        try:
            address, port = await listen(proxy, options.address, options.port)
        except BaseException as error:
            await proxy.close()
            if isinstance(error, OSError):
                raise OSError(error.errno, f"cannot listen on {options.name}: {error.strerror}") from None
            raise
        admin.hosts = hosts(address, port)
        return cls(proxy, f"[{address}]:{port}" if ":" in address else f"{address}:{port}")

    async def leave(self) -> None:
        """Let answers under way come to their end, then close."""
        try:
            await self.proxy.drain(PATIENCE)
        finally:
            await self.close()

    async def close(self) -> None:
        """Close, now."""
        await self.proxy.close()


def hosts(address: str, port: int) -> frozenset[bytes]:
    """What Host may say: the address, or localhost."""
    written = f"[{address}]" if ":" in address else address
    return frozenset(f"{name}:{port}".encode() for name in (written, "localhost"))


class Call(NamedTuple):
    """A question or an order. words: those of the path that its pattern leaves open. told: the body's object."""

    words: list[str]
    told: dict[str, Any]


class Refused(Exception):
    """An answer that is none; `status` and words for whoever asked."""

    def __init__(self, status: int, why: str) -> None:
        super().__init__(why)
        self.status = status


class Admin(Filter):
    """Answers every request."""

    body_limit = LIMITS.body

    def __init__(self, service: Service, options: AdminOptions) -> None:
        self.service = service
        self.hosts: frozenset[bytes] = frozenset()
        token = options.token or (Path(options.token_file).read_text().strip() if options.token_file else "")
        if options.token_file and not token:
            raise ValueError(f"token_file is {options.token_file!r}, which is empty: wanted a token in it")
        self._bearer = f"Bearer {token}".encode() if token else None

    def on_request(self, exchange: Exchange) -> Answer | Awaitable[Answer]:
        request = exchange.request
        try:
            if request.authority not in self.hosts:
                names = " or ".join(sorted(name.decode() for name in self.hosts))
                raise Refused(421, f"Host is {request.authority.decode('latin-1')!r}, wanted {names}")
            method, words, does = find(request.path.decode("latin-1"))
            wanted = ("GET", "HEAD") if method == "GET" else (method,)
            if request.method.decode("latin-1") not in wanted:
                raise Refused(405, f"wanted {method}")
            if method != "GET":
                self._allowed(request)
            answer = does(self.service, Call(words, told_by(request)))
        except Refused as error:
            return text(error.status, str(error))
        if isinstance(answer, Response):
            return answer
        return self._later(answer) if isinstance(answer, Awaitable) else as_json(answer)

    async def _later(self, answer: Awaitable[Any]) -> Response:
        try:
            return as_json(await answer)
        except Refused as error:
            return text(error.status, str(error))

    def _allowed(self, request: Request) -> None:
        """Refused, unless whoever gives an order may."""
        if self._bearer is None:
            if request.headers.get(ORDER) is None:
                raise Refused(403, f"wanted the field {ORDER.decode()}, which no page of another origin can send")
        elif not hmac.compare_digest(request.headers.get(b"authorization") or b"", self._bearer):
            raise Refused(401, "wanted authorization: Bearer, with the token of the configuration")


def told_by(request: Request) -> dict[str, Any]:
    """The object that the body is. Refused: it is something else."""
    if not request.body:
        return {}
    try:
        told = json.loads(request.body)
    except (ValueError, RecursionError) as error:
        raise Refused(400, f"the body is no JSON: {error}") from None
    if not isinstance(told, dict):
        raise Refused(400, 'wanted a JSON object in the body, such as {"weight": 2}')
    return told


def as_json(answer: Any) -> Response:
    """For people too: a field to a line."""
    body = json.dumps(answer, indent=1).encode() + b"\n"
    headers = Headers([(b"content-type", b"application/json"), (b"cache-control", b"no-store")])
    return Response(200, headers, body)


# ---- questions ----


def state(service: Service, call: Call) -> Any:
    """All of it."""
    return {
        "version": __version__,
        "file": str(service.path),
        "uptime": round(monotonic() - service.started, 3),
        "reloads": service.reloads,
        "refused": service.refused,
        "draining": service.proxy.draining,
        "listeners": [listener.address for listener in service.listeners],
        "clients": len(service.proxy.clients),
        "exchanges": len(service.proxy.exchanges),
        "routes": [route.name for route in service.parts.router.routes],
        "pools": [pool.snapshot() for pool in service.parts.pools.values()],
    }


def pools(service: Service, call: Call) -> Any:
    """Every pool."""
    return [pool.snapshot() for pool in service.parts.pools.values()]


def one_pool(service: Service, call: Call) -> Any:
    """One pool."""
    return pool_of(service, call).snapshot()


def certificates(service: Service, call: Call) -> Any:
    """Whose they are, for which names, and until when."""
    now = datetime.now(UTC)
    return [
        {
            "listener": listener.address,
            "subject": one.subject,
            "issuer": one.issuer,
            "names": list(one.names),
            "chain": one.chain,
            "expires": one.expires.isoformat(),
            "days": math.floor((one.expires - now).total_seconds() / 86400),
            "warning": one.warning(now),
        }
        for listener in service.listeners
        if listener.tls is not None
        for one in listener.tls.certificates
    ]


def metrics(service: Service, call: Call) -> Any:
    """For Prometheus: what the filters count, and how pools and backends are."""
    kind = b"text/plain; version=0.0.4; charset=utf-8"
    return Response(200, Headers([(b"content-type", kind), (b"cache-control", b"no-store")]), figures.text(service))


def version(service: Service, call: Call) -> Any:
    """Which one this is."""
    return {"version": __version__}


def index(service: Service, call: Call) -> Any:
    """What there is."""
    width = max(len(pattern) for _, pattern, _ in CALLS)
    lines = [
        f"{method:<4} {pattern:<{width}}  {(does.__doc__ or '').splitlines()[0]}" for method, pattern, does in CALLS
    ]
    return text(200, "\n".join(lines))


def caches(service: Service, call: Call) -> Any:
    """What each cache holds, and how often it could answer."""
    return [cache.state() for cache in service.parts.caches]


# ---- orders ----


def purge(service: Service, call: Call) -> Any:
    """Forget what is stored under {"url": "https://host/path"}, or under all that begin so with a * at the end."""
    url = call.told.get("url")
    if not isinstance(url, str) or not url or set(call.told) != {"url"}:
        raise Refused(
            400, f'the body is {call.told!r}, wanted {{"url": "https://host/path"}}, with a * at its end or not'
        )
    return {"purged": sum(cache.purge(url) for cache in service.parts.caches)}


def drain(service: Service, call: Call) -> Any:
    """Nothing new for this backend, those stuck to it excepted for {"seconds": ...}, or the pool's own window."""
    pool, backend = backend_of(service, call)
    seconds = number(call, "seconds", None)
    pool.drain(backend, seconds) if seconds is not None else pool.drain(backend)
    return pool.snapshot()


def undrain(service: Service, call: Call) -> Any:
    """The backend takes its share again."""
    pool, backend = backend_of(service, call)
    backend.state = ACTIVE
    return pool.snapshot()


def down(service: Service, call: Call) -> Any:
    """The backend is not asked any more, by nobody."""
    pool, backend = backend_of(service, call)
    backend.state = DOWN
    return pool.snapshot()


def weight(service: Service, call: Call) -> Any:
    """Its share from now on: {"weight": ...}."""
    pool, backend = backend_of(service, call)
    wanted = number(call, "weight", None)
    if wanted is None:
        raise Refused(400, 'wanted {"weight": ...} in the body')
    try:
        backend.weight = wanted
    except ValueError as error:  # not with this pool's picker
        raise Refused(400, str(error)) from None
    return pool.snapshot()


async def reload(service: Service, call: Call) -> Any:
    """The file is read again and put in force, or all stays as it was."""
    why = await service.reload()
    if why:
        raise Refused(409, f"not reloaded, all stays as it was:\n{why}")
    return {"reloads": service.reloads}


def pool_of(service: Service, call: Call) -> Pool:
    """The pool that the path names."""
    pool = service.parts.pools.get(call.words[0])
    if pool is None:
        raise Refused(404, f"no pool {call.words[0]!r}; there are {', '.join(service.parts.pools)}")
    return pool


def backend_of(service: Service, call: Call) -> tuple[Pool, Backend]:
    """The backend that the path names, and its pool."""
    pool = pool_of(service, call)
    backend = pool.find(call.words[1])
    if backend is None:
        there = ", ".join(one.name for one in pool.backends)
        raise Refused(404, f"no backend {call.words[1]!r} in pool {pool.name!r}; there are {there}")
    return pool, backend


def number(call: Call, name: str, default: float | None) -> float | None:
    """A number of the body, 0 or more. Refused: it is something else, or there is more in the body."""
    if strange := set(call.told) - {name}:
        raise Refused(400, f"{', '.join(sorted(strange))}: no such key, wanted {name}")
    value = call.told.get(name, default)
    if value is not None and (isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1e9):
        raise Refused(400, f"{name} is {value!r}, wanted a number, 0 or more")
    return value


Does = Callable[["Service", Call], Any]
CALLS: Final[tuple[tuple[str, str, Does], ...]] = (
    ("GET", "/", index),
    ("GET", "/version", version),
    ("GET", "/state", state),
    ("GET", "/pools", pools),
    ("GET", "/pools/POOL", one_pool),
    ("GET", "/certificates", certificates),
    ("GET", "/metrics", metrics),
    ("GET", "/caches", caches),
    ("POST", "/caches/purge", purge),
    ("POST", "/reload", reload),
    ("POST", "/pools/POOL/BACKEND/drain", drain),
    ("POST", "/pools/POOL/BACKEND/undrain", undrain),
    ("POST", "/pools/POOL/BACKEND/down", down),
    ("POST", "/pools/POOL/BACKEND/weight", weight),
)
"""Method, path (a word in capitals stands for any), and what is done."""


def find(path: str) -> tuple[str, list[str], Does]:
    """The call of this path, and what stands at its open places. Refused: there is none."""
    parts = path.split("/")
    for method, pattern, does in CALLS:
        wanted = pattern.split("/")
        if len(wanted) == len(parts) and all(a.isupper() or a == b for a, b in zip(wanted, parts, strict=True)):
            return method, [unquote(part) for a, part in zip(wanted, parts, strict=True) if a.isupper()], does
    raise Refused(404, "no such call; GET / lists those that there are")
