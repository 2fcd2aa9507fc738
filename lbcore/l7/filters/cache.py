"""The cache as a filter: what is stored answers at once, what the backend answers is listened to.

Rule of this file: it puts together what `lbcore.l7.cache` decides; no rule of HTTP is written down here.

Theory. A request takes one of these ways:

    hit        a stored response fits and is fresh: it is the answer, no backend is asked
    validate   it fits but is stale: the backend is asked whether it still holds; 304: it is fresh again and is given
    fill       nothing fits: the answer passes to the client and, piece by piece, into the store, delayed by nothing
    follow     somebody is on their way with the same question: wait for what they bring
    past       not for caches: other methods, a body in a GET, If-Match, CONNECT and the like

A response that was not whole is never stored. Age says how old what is given is, Cache-Status (RFC 9211) why it was
given or not.

Where it stands. What is stored is what the filters further in made of the backend's answer, and what was asked is what
those further out made of the request. So who may ask at all (JWT, limits, rules) is decided further out. Requests that
the cache makes by itself (behind a stale response) go past all filters.

Traps
- Poisoning: a field of the request that changes the answer, and that the answer's Vary does not name, lets one client
  choose what all others get. No cache can find such fields; name them in `key_headers`, or take them out further out.
  Cookie is one of them: pages for one user need `Cache-Control: private`.
- A GET with a body is not looked up and not stored: the body is not part of the key, the answer may depend on it.
- A 416 or a 206 answers one Range, not the target; neither is stored.
- A client's own conditions are not sent on when something is to be stored: their 304 has no body. They are looked at
  when the answer is there.
- Trailers are not stored (RFC 9111, 3.1 leaves it open): the tap sees the body only.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Final

import msgspec

from lbcore.l7 import notes
from lbcore.l7.cache import conditions, directives, policy, vary
from lbcore.l7.cache import key as keys
from lbcore.l7.cache.answer import IN_304, answer
from lbcore.l7.cache.collapse import Flights, Remembered
from lbcore.l7.cache.entry import Entry, entry_of
from lbcore.l7.cache.options import CacheOptions
from lbcore.l7.cache.policy import Use
from lbcore.l7.cache.sqlite import SqliteStore
from lbcore.l7.cache.store import MemoryStore, Store
from lbcore.l7.cache.tap import Room, Tap
from lbcore.l7.cache.visit import Visit
from lbcore.l7.entropy import Entropy
from lbcore.l7.field import name_of
from lbcore.l7.filters.error_pages import Instead
from lbcore.l7.filters.filter import Answer, Exchange, Filter
from lbcore.l7.message import Headers, Request, Response, text

FLIGHTS: Final = 3
"""That one request waits for, at most: leaders that fail one after the other must not hold up many for long."""
RELEVANT: Final = frozenset(
    (
        b"authorization", b"cache-control", b"if-match", b"if-modified-since", b"if-none-match", b"if-range",
        b"if-unmodified-since", b"range",
    )
)  # fmt: skip
AFTER_304: Final = b"fwd=stale; fwd-status=304"
INSTEAD: Final = b"hit; fwd=stale; detail=stale-if-error"
CONDITIONS: Final = (b"if-none-match", b"if-modified-since")
ASKED_FOR: Final = ("request no-store", "authorization")
"""Why an answer is not for others, although the backend has said nothing against it: what is stored stays as it is."""
WHOSE: Final = (b"authorization", b"cache-control")
"""What a request says that its answer may not be stored for, whoever sends it on."""


class Cache(Filter):
    """Stores and gives. now: seconds since 1970; monotonic: seconds of a clock that is never set."""

    def __init__(
        self,
        options: CacheOptions,
        store: Store | None = None,
        now: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.options = options
        self.store = store or (
            SqliteStore(options.path, options.size, now) if options.path else MemoryStore(options.size)
        )
        self.flights = Flights(monotonic)
        self.counts = dict.fromkeys(
            ("hits", "stale", "confirmed", "followed", "asked", "stored", "too_large", "broken", "failed"), 0
        )
        self._failing = Remembered(1.0, monotonic)
        self._now, self._monotonic, self._entropy = now, monotonic, Entropy()
        self._key_headers = tuple(name_of(name, "key_headers") for name in options.key_headers)
        self._name = options.name.encode()
        self._room = Room(options.filling)
        self._under_way: dict[bytes, set[Visit]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._given_on = False  # another one has the store now

    def share(self, other: Cache) -> bool:
        """Before the first exchange: go on with what another one has stored and has under way; that one may be closed.

        False, nothing done: the two are configured differently.
        """
        if other.options != self.options:
            return False
        self.store.close()
        self.store, self.counts, self._under_way = other.store, other.counts, other._under_way
        self.flights, self._failing, self._room = other.flights, other._failing, other._room
        other._given_on = True
        return True

    # ---- inwards ----

    def on_request(self, exchange: Exchange) -> Answer | Awaitable[Answer]:
        request = exchange.request
        if self in exchange.notes:  # twice in one row
            return None
        if (request.method != b"GET" and request.method != b"HEAD") or request.length != 0 or request.protocol:
            return None
        fields: dict[bytes, bytes] = {}
        for name, value in request.headers:
            if name in RELEVANT:
                fields[name] = fields[name] + b", " + value if name in fields else value
        visit = exchange.notes[self] = Visit(self._key(exchange), fields)
        if b"if-match" in fields or b"if-unmodified-since" in fields:
            visit.past, visit.forward = True, b"bypass"
            return None
        found = self._look(exchange, visit)
        if found is not None:
            return found
        if b"only-if-cached" in visit.asked:
            return self._refused(visit)
        return self._lead_or_follow(exchange, visit)

    def _key(self, exchange: Exchange) -> bytes:
        request = exchange.request
        client: notes.Client | None = exchange.notes.get(notes.CLIENT)
        if client is None:
            return keys.key(exchange.route, request.scheme, request.authority, request.target)
        other = client.host if client.host != request.authority else b""
        return keys.key(exchange.route, client.scheme, request.authority, request.target, other)

    def _look(self, exchange: Exchange, visit: Visit) -> Response | None:
        """The answer from the store; None: the backend has to be asked, with `visit.entry` if that can be confirmed."""
        stored = self.store.get(visit.key)
        if not stored:
            return None
        entry = vary.select(stored, exchange.request.headers)
        if entry is None:
            visit.forward = b"vary-miss"
            return None
        now = self._now()
        use = policy.use(entry, visit.asked, now)
        if use is Use.FRESH:
            self.counts["hits"] += 1
            return self._answer(entry, exchange.request.method, visit, now)
        if use is Use.VALIDATE and not self._must_do(entry, visit, now):
            visit.entry = entry
            visit.forward = b"request" if entry.age(now) < entry.lifetime and not entry.validate else b"stale"
            return None
        if use is Use.WHILE_REVALIDATE:
            self._revalidate_behind(exchange, visit, entry)
        self.counts["stale"] += 1
        return self._answer(entry, exchange.request.method, visit, now)

    def _must_do(self, entry: Entry, visit: Visit, now: float) -> bool:
        """The backend failed a moment ago: is this entry good enough until it is asked again?"""
        return visit.key in self._failing and self._replaces_error(entry, visit, now)

    def _replaces_error(self, entry: Entry, visit: Visit, now: float) -> bool:
        return policy.may_replace_error(entry, visit.asked, now, self.options.stale_if_error)

    def _refused(self, visit: Visit) -> Response:
        visit.served = True
        return text(504, "not in the cache, and the request wants it from nowhere else")  # RFC 9111, 5.2.1.7

    def _lead_or_follow(self, exchange: Exchange, visit: Visit) -> Answer | Awaitable[Answer]:
        if not self._collapses(exchange.request, visit):
            self._go(exchange, visit)
            return None
        visit.flight = self.flights.lead(visit.key)
        if visit.flight is None:
            return self._follow(exchange, visit)
        self._go(exchange, visit)
        return None

    def _collapses(self, request: Request, visit: Visit) -> bool:
        """Could this request be answered with what another one brings, and the other way round?"""
        return (
            self.options.collapse > 0
            and request.method == b"GET"
            and not (visit.fields and (b"authorization" in visit.fields or self._past_range(visit)))
            and not (visit.asked and (b"no-store" in visit.asked or b"no-cache" in visit.asked))
            and visit.key not in self.flights.alone
        )

    def _past_range(self, visit: Visit) -> bool:
        """A range is asked for, and there is nothing that could be confirmed: the backend will send just that."""
        return b"range" in visit.fields and not (visit.entry and policy.conditions(visit.entry))

    async def _follow(self, exchange: Exchange, visit: Visit) -> Answer:
        """Wait until there is something to be given; lead if it is our turn; in the end go by ourselves."""
        until = self._monotonic() + self.options.collapse
        for _ in range(FLIGHTS):
            landed = await self.flights.wait(visit.key, until - self._monotonic())
            if visit.over:
                return None
            found = self._look(exchange, visit)
            if found is not None:
                self.counts["followed"] += 1
                return found
            if not landed or visit.key in self.flights.alone:
                break
            visit.flight = self.flights.lead(visit.key)
            if visit.flight is not None:
                break
        self._go(exchange, visit)
        return None

    def _go(self, exchange: Exchange, visit: Visit) -> None:
        """To the backend, with the conditions that are ours instead of the client's."""
        self.counts["asked"] += 1
        request, entry = exchange.request, visit.entry
        self._depart(visit, request)
        if request.method != b"GET":
            return
        lines = policy.conditions(entry) if entry is not None else []
        if lines:
            visit.validating = True
            request.headers.drop(*CONDITIONS, b"range", b"if-range")
            request.headers.extend(lines)
        elif visit.flight is not None and visit.fields:
            request.headers.drop(*CONDITIONS)

    def _depart(self, visit: Visit, request: Request) -> None:
        """What was asked is kept as it was: filters further in may change it."""
        visit.requested, visit.headers = self._now(), request.headers.copy()
        self._under_way.setdefault(visit.key, set()).add(visit)

    def _arrive(self, visit: Visit) -> None:
        """It is over, however it ended."""
        visit.over = True
        self._land(visit)
        others = self._under_way.get(visit.key)
        if others is not None:
            others.discard(visit)
            if not others:
                del self._under_way[visit.key]

    # ---- what is given ----

    def _answer(self, entry: Entry, method: bytes, visit: Visit, now: float, status: bytes = b"hit") -> Response:
        visit.served = True
        age = int(entry.age(now))
        tail = b"age: %d\r\n" % age
        if self._name:
            tail += b"cache-status: %b; %b; ttl=%d\r\n" % (self._name, status, int(entry.lifetime) - age)
        return answer(entry, method, visit.fields, tail, self._entropy.take)

    def _become(self, response: Response, given: Response, *, at_once: bool) -> None:
        """Give this in the place of the backend's. at_once: what the backend has still to say does not matter."""
        for one in response.transforms or ():
            one.abort()
        response.transforms, response.reason = None, b""
        response.status, response.headers = given.status, given.headers
        body = given.body or b""
        if response.body is not None or at_once:
            response.body = body
        else:  # a 304 is over already: its connection can be used again if it is heard to its end
            response.length, response.transforms = len(body), [Instead(body)]

    # ---- outwards ----

    def on_response(self, exchange: Exchange, response: Response) -> Awaitable[None] | None:
        visit: Visit | None = exchange.notes.get(self)
        if visit is None:
            if policy.invalidates(exchange.request.method, response.status):
                self._invalidate(exchange, response)
            return None
        if visit.served:
            return None
        now, entry, request = self._now(), visit.entry, exchange.request
        if entry is not None and visit.validating and response.status == 304:
            if not policy.confirms(entry, response.headers):
                return self._ask_again(exchange, visit, response)
            fresh = self._freshened(visit, entry, response.headers, now)
            self._become(response, self._answer(fresh, request.method, visit, now, AFTER_304), at_once=False)
            return None
        if entry is not None and response.status in policy.ERRORS and self._replaces_error(entry, visit, now):
            self._failing.add(visit.key)
            self._land(visit)
            self.counts["stale"] += 1
            self._become(response, self._answer(entry, request.method, visit, now, INSTEAD), at_once=True)
            return None
        if request.method == b"HEAD":
            self._head(visit, response, now)
        elif not visit.past:
            self._listen(exchange, visit, response, now)
        if self._name:
            response.headers.append((b"cache-status", b"%b; fwd=%b" % (self._name, visit.forward)))
        return None

    def _freshened(self, visit: Visit, entry: Entry, headers: Headers, now: float) -> Entry:
        options = self.options
        fresh = policy.freshened(entry, headers, visit.requested, now, options.heuristic_limit, options.set_cookie)
        self.counts["confirmed"] += 1
        why = self._takes_back(visit, fresh)
        if not why:
            self._keep(visit, fresh)
        elif why not in ASKED_FOR:
            self.store.drop(visit.key)
        self._land(visit, alone=bool(why) or policy.use(fresh, directives.NONE, now) is not Use.FRESH)
        return fresh

    def _takes_back(self, visit: Visit, fresh: Entry) -> str:
        """Why a response must not be stored any more, with what its 304 said anew; empty if it may."""
        headers, options = fresh.headers, self.options
        if not {name for name, _ in fresh.vary}.issuperset(headers.tokens(b"vary")):  # it depends on more than we asked
            return "vary"
        said = directives.parse(headers.joined(b"cache-control"))
        return policy.unstorable(
            b"authorization" in visit.fields, visit.asked, fresh.status, headers, said, options.set_cookie
        )

    async def _ask_again(self, exchange: Exchange, visit: Visit, response: Response) -> None:
        """A 304 that speaks of something else than what we have: only a whole answer helps."""
        self.store.drop(visit.key)
        self._become(response, await exchange.fetch(plain(exchange.request)), at_once=False)

    def _head(self, visit: Visit, response: Response, now: float) -> None:
        """The answer to HEAD says something of what is stored for GET (RFC 9111, 4.3.5)."""
        entry = visit.entry
        if entry is None or response.status in policy.ERRORS or response.status == 304:
            return
        if policy.head_confirms(entry, response.status, response.headers, response.length):
            self._freshened(visit, entry, response.headers, now)
        else:
            self.store.drop(visit.key)

    def _listen(self, exchange: Exchange, visit: Visit, response: Response, now: float) -> None:
        """Store it while it passes, if that is allowed and of any use."""
        error = bool(exchange.error) or response.status in policy.ERRORS
        if visit.validating and not error:
            self.store.drop(visit.key)  # there is another one, whether it may be stored or not
        entry = None if exchange.error else self._entry(visit, response, now)
        if entry is None or (response.length is not None and response.length > self.options.largest):
            self._land(visit, alone=not error)
            return
        if policy.use(entry, directives.NONE, now) is not Use.FRESH:
            self._land(visit, alone=True)
        response.transform(self._tap(visit, entry))
        fields = visit.fields
        if (visit.flight is not None or visit.validating) and conditions.not_modified(
            entry, fields.get(b"if-none-match"), fields.get(b"if-modified-since")
        ):  # the client has it: what comes is for the store only
            response.status, response.reason = 304, b""
            response.headers = Headers([line for line in response.headers if line[0] in IN_304])

    def _entry(self, visit: Visit, response: Response, now: float) -> Entry | None:
        """What is to be stored, without its body; None: nothing."""
        headers, options, fields = response.headers, self.options, visit.fields
        value = headers.joined(b"cache-control")
        said = directives.parse(value) if value else directives.NONE
        if b"range" in fields and not visit.validating and response.status != 200:
            return None
        if policy.unstorable(
            b"authorization" in fields, visit.asked, response.status, headers, said, options.set_cookie
        ):
            return None
        names = (*headers.tokens(b"vary"), *self._key_headers)
        chosen = vary.chosen_by(visit.headers, names) if names else ()
        kept = policy.kept(headers, said, options.set_cookie)
        entry = entry_of(response.status, kept, chosen, visit.requested, now, options.heuristic_limit)
        beyond = max(entry.while_revalidate, entry.if_error, options.stale_if_error)
        of_use = entry.etag or entry.modified or entry.age(now) < entry.lifetime + beyond
        return entry if of_use else None

    # ---- into the store ----

    def _tap(self, visit: Visit, entry: Entry) -> Tap:
        def whole(body: bytes) -> None:
            self._keep(visit, msgspec.structs.replace(entry, body=body))
            self._land(visit)

        def lost(why: str) -> None:
            self.counts[why] += 1
            self._land(visit, alone=why == "too_large")

        return Tap(self._room, self.options.largest, whole, lost)

    def _keep(self, visit: Visit, entry: Entry) -> None:
        self._failing.discard(visit.key)
        if not visit.spoiled:
            self.counts["stored" if self.store.put(visit.key, entry) else "failed"] += 1

    def _land(self, visit: Visit, *, alone: bool = False) -> None:
        if visit.flight is not None:
            self.flights.land(visit.key, visit.flight, alone=alone)

    def on_end(self, exchange: Exchange) -> None:
        visit: Visit | None = exchange.notes.get(self)
        if visit is not None:
            self._arrive(visit)

    # ---- behind a stale response ----

    def _revalidate_behind(self, exchange: Exchange, of: Visit, entry: Entry) -> None:
        """Fetch a new one, for those who come later; once at a time."""
        if of.key in self._failing:
            return
        behind = Visit(of.key, {name: of.fields[name] for name in WHOSE if name in of.fields})
        behind.flight = self.flights.lead(of.key)
        if behind.flight is None:
            return
        request = plain(exchange.request)
        self._depart(behind, request)
        request.headers.extend(policy.conditions(entry))
        behind.entry, behind.validating = entry, True
        task = asyncio.ensure_future(self._behind(exchange, behind, entry, request))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _behind(self, exchange: Exchange, visit: Visit, entry: Entry, request: Request) -> None:
        try:
            response, now = await exchange.fetch(request), self._now()
            if response.status in policy.ERRORS:
                self._failing.add(visit.key)
            elif response.status == 304 and policy.confirms(entry, response.headers):
                self._freshened(visit, entry, response.headers, now)
            else:
                new, body = self._entry(visit, response, now), response.body or b""
                self.store.drop(visit.key)  # there is another one, whether it may be stored or not
                if new is not None and len(body) <= self.options.largest:
                    self._keep(visit, msgspec.structs.replace(new, body=body))
        except ConnectionError:
            self.counts["broken"] += 1
            self._failing.add(visit.key)
        finally:
            self._arrive(visit)

    # ---- forgetting ----

    def _invalidate(self, exchange: Exchange, response: Response) -> None:
        """A change: of the target, and of what Location and Content-Location name if it is at the same origin."""
        of, request = self._key(exchange), exchange.request
        self._forget(of)
        for name in (b"location", b"content-location"):
            reference = response.headers.get(name)
            if reference is not None:
                target = keys.same_origin(reference, *keys.origin(of), request.target)
                if target is not None and target != request.target:
                    self._forget(keys.with_target(of, target))

    def _forget(self, key: bytes) -> int:
        """What is stored, and what is on its way: that may be from before the change."""
        for visit in self._under_way.get(key, ()):
            visit.spoiled = True
        self.flights.forget(key)
        return self.store.drop(key)

    def purge(self, pattern: str) -> int:
        """Forget what is stored under a url, `https://example.org/a?b`; with a `*` at its end: under all that begin so.

        How many responses there were. What is on its way is not stored any more.
        """
        wanted = pattern.encode("utf-8")

        def fits(url: bytes) -> bool:
            return url.startswith(wanted[:-1]) if wanted.endswith(b"*") else url == wanted

        under_way = sum(self._forget(key) for key in [key for key in self._under_way if fits(keys.url(key))])
        return under_way + self.store.purge(fits)

    def state(self) -> dict[str, int]:
        """What was counted, and what is there: for an admin's eyes."""
        entries, size = self.store.size()
        more = {"evicted": self.store.evicted, "store_failed": self.store.failed, "flights": len(self.flights)}
        return {**self.counts, **more, "entries": entries, "bytes": size, "filling": self._room.used}

    def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        if not self._given_on:
            self.store.close()


def plain(request: Request) -> Request:
    """The same question, for the whole answer."""
    headers = request.headers.copy()
    headers.drop(*CONDITIONS, b"range", b"if-range")
    return Request(b"GET", request.target, request.authority, request.scheme, headers, request.peer, request.version)
