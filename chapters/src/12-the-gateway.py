# ---
# book:
#   title: The gateway
#   question: Tokens, limits, a firewall, compression, a cache. What does each cost, and what does each really stop?
#   tier: 0
#   minutes: 60
#   memory_mb: 500
#   after: [peeking-without-opening]
# ---

# %% [markdown]
# ## Five small things
#
# In January the proxy passes requests on and does nothing else. In February it learns to check tokens, in March to
# limit customers. Then somebody buys a firewall, somebody switches compression to "best", somebody adds a cache. It is
# called the *API gateway* now. In June the fleet has tripled, and you are asked which of the five to switch off.
#
# The same week brings three tickets. A customer was shown another customer's start page. A whole office is locked out
# by a rate limit. And somebody opened `/admin`, which the gateway refuses, as every test shows.
#
# **What does each function cost, and what does it really stop?** The gateway here is the book's own proxy. Its parts
# are *filters*: one concern each, asked on the way in, told on the way out.

# %%
import itertools
import sqlite3
import time

import numpy as np

from lbcore import show
from lbcore.l7.cache.key import key
from lbcore.l7.cache.options import CacheOptions
from lbcore.l7.filters.cache import Cache
from lbcore.l7.filters.headers import Changes, HeaderChanges, HeadersOptions
from lbcore.l7.filters.jwt import Jwt, JwtOptions
from lbcore.l7.filters.rate_limit import RateLimit, RateLimitOptions
from lbcore.l7.filters.rate_store import Memory, Unreachable
from lbcore.l7.filters.rewrite import Rewrite, RewriteOptions
from lbcore.l7.filters.security_headers import SecurityHeaders, SecurityHeadersOptions
from lbcore.l7.filters.waf import Waf, WafOptions
from lbcore.l7.message import Headers, Response
from lbcore.l7.rpc import gateway as rest
from lbcore.l7.rpc import grpc
from lbcore.measure import gateway_live as live
from lbcore.measure import gateway_prices as prices
from lbcore.measure.gateway_prices import Passage, request
from lbcore.sim import popularity, two_readers
from lbcore.testbed import aside

# %% [markdown]
# ## One request, opened
#
# First, what all of this is good for. A gateway has the request as HTTP, not as bytes, so it can change any of it. We
# lead one request through three filters in memory: take a version out of the path, remove a field that is only for
# inside, add security fields to the answer.

# %%
visit = Passage(request(b"/v2/users?page=3", (b"x-debug", b"on"), (b"accept", b"*/*")))
answer = visit.through(
    Rewrite(RewriteOptions(prefix="/v2", to="/")),
    HeaderChanges(HeadersOptions(request=Changes(remove=("x-debug",)))),
    SecurityHeaders(SecurityHeadersOptions()),
)
visit.request.target, list(visit.request.headers)

# %%
show.table([(name.decode(), value.decode()) for name, value in answer.headers], ("field", "value"))

# %% [markdown]
# Request ids, CORS fields, caching, compression and error pages of one's own go the same way. None of it can be done by
# a balancer that copies bytes or packets: it has no request, only a stream. And with TLS, whoever wants to read the
# request needs the key. Who the client is, and what `X-Forwarded-For` is worth, is told in
# [chapter 08](08-peeking-without-opening.ipynb).
#
# A gateway *can* also write a tracking script into pages, and some lists name that as an advantage. It collides with
# compression, with content security policies and with checks of integrity. Put the script into the page.
#
# ## The price list
#
# A *JSON Web Token* (JWT, [RFC 7519](https://www.rfc-editor.org/rfc/rfc7519)) is a statement with a signature. HS256
# signs with a secret that both sides have; RS256 and ES256 with a private key, so that who checks cannot forge. A *web
# application firewall* (WAF) looks for text that attacks are known by. Before you see the list:

# %%
show.quiz(
    "Which of these costs the most CPU time for one request?",
    {
        "checking an ES256 signature": "Dear, but only once for each token: it is remembered until it expires.",
        "a WAF reading a new query": "Some dozen patterns over a short text, and most are ruled out by one search.",
        "brotli at its best for 20 kB": "Quality 11 is meant for files that are compressed once and sent for years.",
        "a rate limit by key": "One look into a table and one subtraction.",
    },
    correct="brotli at its best for 20 kB",
)

# %% tags=["nbval-ignore-output"]
measured = prices.price_list()
cost = prices.prices(measured)
rows = [(name, f"{price:.1f}", f"{price / cost['rate limit by key']:.1f}") for name, price in cost.items()]
show.table(rows, ("function", "microseconds a request", "rate limits"), caption="CPU time, in memory, this machine")

# %% tags=["nbval-ignore-output"]
first = {name: cost[f"JWT {name}, first"] for name in ("HS256", "RS256", "ES256")}
again = {name: cost[f"JWT {name}, remembered"] for name in first}
assert all(first[name] > 4 * again[name] for name in first) and max(again.values()) < 6 * cost["rate limit by key"]
{name: f"{first[name] / again[name]:.0f} times" for name in first}

# %% [markdown]
# Two prices for one function. "JWT is too slow for the edge" is a misconception, and so is "JWT is free": the
# signature is checked once, then the token is found in a table, and that costs about what a rate limit costs. What
# decides is how many requests come with a token that was seen before. Even HS256 is dear at first, for the token has to
# be decoded and read as JSON whatever its signature is.
#
# The table needs a bound, or somebody fills it. And work that anybody can ask for wants a limit *in front*: a flood of
# wrong tokens is never remembered.

# %% tags=["nbval-ignore-output"]
made = prices.tokens(scope="orders:read", name="Ann Example")
sizes = {name: len(token) for name, (token, _) in made.items()}
assert sizes["RS256"] > sizes["ES256"] > sizes["HS256"] > 150
sizes

# %% [markdown]
# A token is paid for on the wire as well: some hundred bytes with each request, an RSA signature being the
# longest. (HTTP/2 can [compress](https://www.rfc-editor.org/rfc/rfc7541) a repeated field away.)
#
# How much is that beside the work of passing a request on at all? We ask the real proxy on loopback and take the CPU
# time of its thread alone, without client and backend.

# %% tags=["nbval-ignore-output"]
text = prices.page(2000, np.random.default_rng(1))
reply = live.ok(text, b"content-type: application/json", b"cache-control: max-age=60")
rows = {"pass on": [], "answer from the cache": [Cache(CacheOptions())]}
whole = live.exchange_costs(rows, lambda head: reply, [f"/{number}" for number in range(20)])

# %% tags=["nbval-ignore-output"]
assert 0.2 < whole.ratio("answer from the cache") < 1.1 and sorted(cost.values())[7] < whole.ns("pass on") / 1000
whole

# %% [markdown]
# Passing on costs more than nearly all of the list, and even the answer from the cache costs a good part of it: a
# client's request has to be read and answered in either case. Keep that in mind for later.
#
# ## Compression: the dial with the long tail
#
# Compression has a dial, and its ends are far apart. The data is a list of products in JSON.

# %%
rng = np.random.default_rng(2)
data = prices.page(20_000, rng)
data[:130].decode()

# %% tags=["nbval-ignore-output"]
squeezed = prices.squeezed(data)
left = {name: len(pack(data)) / len(data) for name, pack in prices.CODINGS.items()}
rows = [(name, f"{left[name]:.0%}", f"{squeezed.ratio(name):.1f}") for name in left]
show.table(rows, ("coding and level", "bytes left", "CPU, gzip 1 is 1"), caption="20 kB of JSON")

# %% tags=["nbval-ignore-output"]
fig, ax = show.figure()
for coding, levels in (("gzip", (1, 5, 9)), ("brotli", (1, 4, 11))):
    names = [f"{coding} {level}" for level in levels]
    ax.plot([squeezed.ns(name) / 1000 for name in names], [100 * left[name] for name in names], label=coding)
    for name in names:
        place, side = ((6, 6), "left") if coding == "gzip" else ((-8, -10), "right")
        ax.annotate(name, (squeezed.ns(name) / 1000, 100 * left[name]), place, textcoords="offset points", ha=side)
ax.set(xscale="log", xlabel="CPU time (microseconds, logarithmic)", ylabel="bytes left (%)", ylim=(0, 30))
ax.margins(x=0.15)
ax.legend(frameon=False, loc="lower left")
assert squeezed.ratio("brotli 11") > 100 and squeezed.ratio("gzip 9", "gzip 5") > 1.5
show.finish(fig, title="The last few percent cost a hundred times the rest", alt="Bytes left against CPU time for gzip "
    "1, 5, 9 and brotli 1, 4, 11. The cheapest win most; brotli 11 wins little, far right.")  # fmt: skip

# %% [markdown]
# The first levels win nearly all there is. Brotli 11 costs hundreds of times gzip 1, for a few points: right for a file
# that is compressed once, at build time. Gzip's own "best", level 9, wins next to nothing over level 5 and costs
# several times as much. In our story that was the new machines.
#
# Size matters too. A short answer fits into a packet either way, and what is random, encrypted or compressed already
# (photographs, video) does not shrink:

# %% tags=["nbval-ignore-output"]
samples = {f"{n:,} B of JSON": prices.page(n, rng) for n in (100, 1000, 100_000)} | {"random bytes": rng.bytes(10_000)}
shrunk = {name: len(prices.gzipped(sample, 5)) / len(sample) for name, sample in samples.items()}
assert shrunk["random bytes"] > 1 and shrunk["100,000 B of JSON"] < 0.3
{name: f"{share:.0%} left" for name, share in shrunk.items()}

# %% [markdown]
# ### What a length tells
#
# One more price is not paid in CPU. Compression makes text shorter where it repeats itself. If an answer holds a secret
# *and* something that an attacker may write (a search term, say), its length tells whether the two are alike. TLS
# hides the text and not its length. The page below holds the token `7f3a91`. The attacker asks for `token=`
# and a guess:


# %% tags=["nbval-ignore-output"]
def length(guess):
    page = f"<p>Nothing found for {guess}</p><form><input name=csrf value='token=7f3a91'></form>"
    return len(prices.gzipped(page.encode(), 5))


lengths = {guess: length("token=" + guess) for guess in ("7f3a91", "22b1c8", "e5d04c", "81a7f3")}
assert lengths["7f3a91"] < min(length for guess, length in lengths.items() if guess != "7f3a91")
lengths

# %% [markdown]
# The right guess gives the shortest answer. That is the attack [BREACH](https://www.breachattack.com/), and it needs
# no whole guess: it goes letter by letter. Answers with secrets and foreign text: no compression, or a secret that is
# masked anew in each answer.
#
# ## Your bill
#
# Now put a gateway together. The positions are the ones measured above; the page that is compressed has 20 kB.


# %% tags=["nbval-ignore-output"]
def draw(token="ES256, first", limit=True, waf="new text", coding="gzip 9", hits=0):
    share, us = hits / 100, 1 / 1000
    passing = (1 - share) * whole.ns("pass on") + share * whole.ns("answer from the cache")
    positions = {f"exchange, {hits} % from the cache": passing * us, "fields": cost["look at the fields"]}
    if token != "none":
        positions[f"JWT {token}"] = cost[f"JWT {token}"]
    if limit:
        positions["rate limit by key"] = cost["rate limit by key"]
    if waf != "none":
        positions[f"WAF, {waf}"] = cost[f"WAF, {waf}"]
    if coding != "none":
        positions[coding] = squeezed.ns(coding) * us
    return show.bill(positions)


show.explore(
    draw,
    hint="halve the bill by moving one menu; find the second best thing to change; then see what brotli 11 does",
    token=["none", *(f"{name}, {when}" for name in first for when in ("first", "remembered"))],
    limit=True,
    waf=["none", "seen before", "new text"],
    coding=["none", *prices.CODINGS],
    hits=(0, 90, 10),
)

# %% [markdown]
# That answers June's question: nobody has to switch off a function. Turn the dial of one.
#
# (Python is slow, and a proxy in C pays far less for its own work. That shifts the list: signatures and compressors are
# C here too, and stay as dear as they are.)
#
# ## The cache
#
# A cache answers for the backend. What it saves is the *hit ratio*, the share of requests that it can answer, times
# what an answer costs. So the question is how often things are wanted again. On the Web the *n*-th most popular thing
# is wanted about 1/*n*<sup>s</sup> times as often as the first, with *s* a little below 1
# ([Breslau and others, 1999](https://doi.org/10.1109/INFCOM.1999.749260)). That is Zipf's law.

# %%
show.predict(
    "10,000 things, s = 0.9, room for 100 of them. What share of requests is a hit?",
    answer=0.26,
    tolerance=0.06,
    unit="%",
    why="One percent of the room catches a quarter of the requests, because a few things are wanted by everybody.",
)

# %%
rooms = [10, 30, 100, 300, 1000, 3000, 10_000]
curves = {}
for s in (0.7, 0.9, 1.1):
    asked = popularity.wanted(10_000, s, 20_000, np.random.default_rng(5))
    curves[f"s = {s}"] = [100 * popularity.hits(asked, room) for room in rooms]
assert 20 < curves["s = 0.9"][2] < 32
show.lines(
    rooms, curves, x_log=True, x_label="room in the cache (things, of 10,000)", y_label="hits (%)",
    title="Each further share of hits costs several times the room",
    alt="Hit ratio against room, logarithmic, for s 0.7, 0.9 and 1.1. All rise steadily with each tenfold room; the "
    "steeper the popularity, the higher. With room for everything the first request of each thing still misses.",
)  # fmt: skip

# %% [markdown]
# Two readings. For the *backend*, each halving of the misses halves the load, and the curve says what room that
# takes. For the *gateway* little changes, as we measured: it still talks to every client. "Put a cache in, then the
# proxy is fast" mixes the two up. A cache of answers that differ for each user has no hits, however large.
#
# ### A hundred at once
#
# The curve counts requests one after another. A page that many want gets stale for all of them in the same moment, and
# until the new one is there each of them is a miss: the *thundering herd*. Let a hundred ask at once for something
# that is not there yet. The origin takes a fifth of a second.


# %%
def slow(head):
    time.sleep(0.2)
    return live.ok(b"news\n", b"cache-control: max-age=60")


# %% tags=["nbval-ignore-output"]
caches = {"no cache": [], "each for itself": [Cache(CacheOptions(collapse=0))], "collapsing": [Cache(CacheOptions())]}
herds = {name: live.crowd(100, live.get("/hot"), *filters, answer=slow) for name, filters in caches.items()}
reached = {name: len(herd.seen) for name, herd in herds.items()}
assert reached["no cache"] == 100 and reached["each for itself"] > 30 and reached["collapsing"] == 1
assert all(answer.endswith("news\n") for herd in herds.values() for answer in herd.answers)
reached

# %% [markdown]
# The second row is a cache that is no help in the moment when it matters. With *collapsing* the first one goes and the
# others wait for what it brings ([RFC 9111, section 4](https://www.rfc-editor.org/rfc/rfc9111#section-4)). It has a
# trap of its own: if the answer turns out not to be for all, the others have waited for nothing, and to send them on
# one by one would be worse. Ours sends them on together, and remembers for a while that this key does not collapse.
#
# Still somebody waits, a hundred of them. The origin may allow a better way: with `stale-while-revalidate`
# ([RFC 5861](https://www.rfc-editor.org/rfc/rfc5861)) a stale answer is given at once and a new one fetched behind it.
# An origin that counts its answers, four visits, each a little later than `max-age`:


# %%
def visits(said):
    numbers = itertools.count(1)
    cache = Cache(CacheOptions(), now=lambda: 10 * time.time())  # its clock runs ten times as fast
    talked = live.talk(
        *[live.get("/")] * 4, filters=[cache], pause=0.3, answer=lambda head: live.ok(b"v%d" % next(numbers), said)
    )
    return [answer[-2:] for answer in talked.answers]


plain, behind = visits(b"cache-control: max-age=1"), visits(b"cache-control: max-age=1, stale-while-revalidate=60")
assert plain == ["v1", "v2", "v3", "v4"] and behind == ["v1", "v1", "v2", "v3"]
plain, behind

# %% [markdown]
# In the second row everybody sees the version before, and nobody has waited for the origin but the very first. That is
# the trade: freshness against waiting, and the origin says how much of it it can bear.
#
# ## Whose page is this?
#
# The ticket: a customer saw another one's start page. A cache finds answers by a *key*. Here is one that looks fine in
# the test environment, where there is one host:


# %%
def toy(key_of, store):
    visits = [("ann.example", "/"), ("bob.example", "/"), ("bob.example", "/cart")]
    return [store.setdefault(key_of(host, path), f"{host}'s {path}") for host, path in visits]


toy(lambda host, path: path, {}), toy(lambda host, path: (host, path), {})

# %% [markdown]
# In the first row Bob's visitors get Ann's page. That is not made up: the framework Pingora had a default key without
# host and scheme in its caching, then an alpha feature, until version
# 0.8.0 ([CVE-2026-2836](https://nvd.nist.gov/vuln/detail/CVE-2026-2836)). Whoever may host a page behind such a proxy
# can place it under everybody's name. In our key each part that makes another request is whole, and none can run
# into the next:

# %%
show.source(key)

# %% [markdown]
# The second way in is harder to see. Say the backend builds links from `X-Forwarded-Host`, as many frameworks do. Its
# answer then depends on a field that is *not* in the key. One visitor sends that field; what do the others get?


# %%
def page(head):
    fields = dict(line.split(b": ", 1) for line in head.lower().split(b"\r\n")[1:-2])
    host = fields.get(b"x-forwarded-host", fields[b"host"])
    return live.ok(b"<script src='//%b/a.js'>" % host, b"cache-control: max-age=60")


evil = live.get("/", "X-Forwarded-Host: evil.example")


def second_visitor(*filters):
    talked = live.talk(evil, live.get("/"), filters=filters, answer=page)
    return talked.answers[1].partition("\r\n\r\n")[2]


second_visitor(Cache(CacheOptions()))

# %% [markdown]
# *Cache poisoning*: one request, and everybody loads the attacker's script until the answer expires. No cache can know
# such fields by itself; the backend should name them in `Vary`, and does not. Put the field into the key, or do not
# let it through:

# %%
drop = HeaderChanges(HeadersOptions(request=Changes(remove=("x-forwarded-host",))))
keyed = Cache(CacheOptions(key_headers=("x-forwarded-host",)))
cures = [second_visitor(keyed), second_visitor(drop, Cache(CacheOptions()))]
assert cures == ["<script src='//shop.example/a.js'>"] * 2
cures

# %% [markdown]
# The second cure is the better one. A key with a field that anybody can make up gives anybody a way to fill the cache
# with copies.
#
# ## A bucket of tokens
#
# *Rate limits* are mostly *token buckets*. A bucket holds `burst` tokens and is filled with `rate` tokens a second. A
# request takes one, and is refused with 429 ([RFC 6585](https://www.rfc-editor.org/rfc/rfc6585#section-4)) if there is
# none.

# %%
calm = [0.25 * n for n in range(8)]
crowd = [3.0 + 0.01 * n for n in range(12)]
busy = [4 + n / 15 for n in range(30)]
show.bucket([*calm, *crowd, *busy], rate=5, burst=8)

# %% [markdown]
# The rate is what one gets in the long run, the burst is what one gets after a pause. A page that loads twenty things
# at once needs a burst, not a rate. A refused request takes nothing here: who keeps asking gets the rate. And a limit
# is no limit of concurrency: five slow requests a second can still occupy a whole backend.
#
# ## A limit is as good as its key
#
# The second ticket: an office behind one address, fifty people with keys of their own, and one script that asks 45
# times a second. An L4 balancer can count by address only. Key and token are in the request, so only something that
# reads HTTP can count by those.


# %%
def refused(**options):
    now, rng = 0.0, np.random.default_rng(6)
    limit = RateLimit(RateLimitOptions(burst=10, **options), clock=lambda: now)
    fate = {"script": [], "colleague": []}
    for tick in range(1000):
        now, who = tick / 50, "script" if rng.random() < 0.9 else "colleague"
        api_key = b"script" if who == "script" else b"colleague %d" % rng.integers(50)
        answer = Passage(request(b"/", (b"x-api-key", api_key))).through(limit)
        fate[who].append(answer.status == 429)
    return {who: f"{np.mean(found):.0%} refused" for who, found in fate.items()}


by_address, by_key = refused(rate=10), refused(rate=2, by="header", name="x-api-key")
assert by_key["colleague"] == "0% refused" != by_address["colleague"]
by_address, by_key

# %% [markdown]
# By address everybody pays for the script. This is no corner case: mobile networks put many people behind one address
# (CGNAT), and Cloudflare found such addresses
# [limited about three times as often](https://blog.cloudflare.com/detecting-cgn-to-reduce-collateral-damage/) as
# others.
#
# But a header costs nothing to make up. What if the script writes a new key each time?

# %%
limit = RateLimit(RateLimitOptions(rate=2, burst=10, by="header", name="x-api-key"))
made_up = [Passage(request(b"/", (b"x-api-key", b"%d" % n))).through(limit).status for n in range(500)]
assert made_up == [200] * 500
"all 500 pass"

# %% [markdown]
# So the order is: address (coarse, in front), then check the key or token, then limit by what was *checked*. Our filter
# can count by a claim of a verified token.
#
# ## Many gateways, one limit
#
# Each process has a table of its own. Two gateways with a limit of 10 let 20 through, unless they share a store:


# %%
def two_gateways(stores, calls=100):
    options = RateLimitOptions(rate=1, burst=10, by="route")
    pair = [RateLimit(options, store=store) for store in stores]
    return sum(Passage(request()).through(pair[n % 2]).status == 200 for n in range(calls))


def table():
    return Memory(1, 10, 100, clock=lambda: 0.0)


shared = table()
two_gateways([table(), table()]), two_gateways([shared, shared])

# %% [markdown]
# A shared store (Redis, mostly) is a network hop for every request, and something new that can fail. What then? The
# usual words are *fail open*, all pass, and *fail closed*, none does.


# %%
class Gone(Memory):
    def take(self, key):
        raise Unreachable("gone")


def without_store(policy):
    options = RateLimitOptions(rate=1, burst=10, on_failure=policy, policy=policy)
    return Passage(request()).through(RateLimit(options, store=Gone(1, 10, 100, clock=lambda: 0.0))).status


{policy: without_store(policy) for policy in ("pass", "refuse")}

# %% [markdown]
# Neither is right by itself. A limit that protects a login from guessing should fail closed; one that shares out
# capacity should fail open, or the store's outage becomes everybody's. Either way it must be seen: each failure is
# counted, and logged when it begins and ends. A deadline belongs to it, too. A store that is slow and not dead would
# otherwise hold up every request.
#
# ## The gateway says who you are
#
# After the token is checked, the backend is told the name in a field. Then the field must not come from anywhere else.

# %%
token, pair = made["ES256"]
fields = [(b"authorization", b"Bearer " + token.encode()), (b"x-user", b"root"), (b"x_user", b"root")]
(claimed := Passage(request(b"/", *fields))).through(prices.verifier(pair))
[line for line in claimed.request.headers if line[0] != b"authorization"]

# %% [markdown]
# What the client wrote is gone, in both spellings, for some servers read `_` and `-` as one. That is half of the rule.
# The other half is not the gateway's: **"validate at the edge, so that services need not" holds only if nobody can go
# round the edge.** A service that listens to the whole network believes any `X-User`. It needs to check the token
# again, or to take connections from the gateway only, proven by mutual TLS.
#
# Then there is time. A token cannot be taken back. Ann's token below lives for ten minutes. After one second she is
# dismissed:

# %% tags=["nbval-ignore-output"]
now = 0.0
token, pair = prices.tokens(exp=600)["HS256"]
door = Jwt(JwtOptions(keys=(pair,)), clock=lambda: now)
statuses = {}
for now in (0, 1, 599, 611):
    statuses[now] = Passage(request(b"/", (b"authorization", b"Bearer " + token.encode()))).through(door).status
assert list(statuses.values()) == [200, 200, 200, 401]
statuses

# %% [markdown]
# Ten minutes (and ten seconds, for clocks that differ). "Better than a session store" is a trade: no store to ask, and
# no way to revoke without a list of exceptions, which is a store. Keep lives short.
#
# ## Two readers, one stream
#
# The third ticket. The gateway refuses `/admin`, and somebody was there. A connection carries one request after
# another, and only the head tells where a body ends, by `Content-Length` or by `Transfer-Encoding: chunked`. What if it
# says both?

# %%
streams = two_readers.variants()
print(streams["length and chunked"].decode())

# %% [markdown]
# Count for yourself: for a reader that believes the length, `GET /admin` is part of the body. For one that believes
# `chunked`, the body ended at `0`. Here are two lenient toys, each with habits that readers in use have had.

# %%
bad = streams["length and chunked"]
two_readers.requests(bad, two_readers.FRONT), two_readers.requests(bad, two_readers.BACK)

# %% [markdown]
# ```mermaid
# sequenceDiagram
#     participant A as attacker
#     participant F as front, believes the length
#     participant B as back, believes chunked
#     A->>F: POST /search with a body
#     Note over F: one request, allowed
#     F->>B: the same bytes
#     Note over B: POST /search, then GET /admin
# ```
#
# This is *request smuggling*. The front's rule was never asked, since the front saw no such request. Neither reader is
# broken alone: what is wrong is that there are two. And there are many ways to disagree.

# %%
rows = []
for name, stream in streams.items():
    front, back = (two_readers.requests(stream, habits) for habits in (two_readers.FRONT, two_readers.BACK))
    strict = two_readers.strict(stream)
    rows.append((name, len(front), len(back), strict if isinstance(strict, str) else f"{len(strict)}, taken"))
assert [row[1:3] for row in rows] == [(1, 1)] + [(1, 2)] * 7
show.table(rows, ("stream", "front sees", "back sees", "the book's reader"), caption="Requests in the same bytes")

# %% [markdown]
# The last column is no toy, it is the reader of our proxy. It has no opinion about which of two lengths is meant. It
# refuses, and that is what [RFC 9112](https://www.rfc-editor.org/rfc/rfc9112#section-6.3) allows or demands in each of
# these cases. Does the whole proxy do it on a socket, and does nothing reach the backend?

# %%
talked = live.talk(*(stream.replace(b"Host", b"Connection: close\r\nHost", 1) for stream in streams.values()))
heads = [head.partition(b"\r\n")[0] for head in talked.seen]
assert heads == [b"POST /search HTTP/1.1"]
[answer.partition("\r\n")[0] for answer in talked.answers], heads

# %% [markdown]
# Seven refused, one passed on. Strictness at the front alone would be enough only if it also *writes* what it
# understood, instead of passing bytes on. Ours does: the head that the backend gets is made anew.
#
# HTTP/2 has frames, and so no such question. But a gateway that speaks HTTP/2 outside and HTTP/1.1 inside has to make
# such a head from fields that the client chose
# ([downgrading](https://portswigger.net/web-security/request-smuggling/advanced/http2-downgrading)). If it copies a
# length that is not true, the same disagreement is back behind the door.
#
# ## What a firewall does not stop
#
# "The WAF blocks SQL injection" is loose. It refuses text that looks like the injections somebody wrote down. Here is a
# shop that glues its query together, and a firewall in front.

# %%
shop = sqlite3.connect(":memory:")
shop.executescript("create table goods (id, name, secret); insert into goods values (1, 'shoe', 0), (2, 'plan', 1)")
waf = Waf(WafOptions())


def search(id):
    status = Passage(request(b"/goods?id=" + id.replace(" ", "%20").encode())).through(waf).status
    rows = shop.execute(f"select name from goods where secret = 0 and id = {id}").fetchall() if status == 200 else []
    return status, [name for (name,) in rows]


{id: search(id) for id in ("1", "1 or 1=1", "1 or 2")}

# %% [markdown]
# The classic is refused. Its sibling, in which nothing is compared, passes and does the same. The firewall's own tests
# keep a list of such ways round. The other side is innocent text:

# %%
Passage(request(b"/forum?q=how%20do%20I%20use%20the%20%3Cscript%3E%20tag")).through(waf).status

# %% [markdown]
# So a WAF buys time, until a new hole is mended behind it. The mending is done where the text meets the
# interpreter, and then there is nothing to find:

# %%
[shop.execute("select name from goods where secret = 0 and id = ?", (id,)).fetchall() for id in ("1 or 1=1", "1 or 2")]

# %% [markdown]
# (The text `1 or 2` is no id. The parameter is compared, never executed.) Begin with a WAF that only reports, and read
# for a week what it would have refused. "L4 for address lists, L7 for the WAF" is right as a division of labour; it
# says nothing of how much either stops.
#
# ## REST outside, gRPC inside
#
# Gateways translate. [gRPC](https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md) is calls over HTTP/2:
# binary messages, the outcome in the trailers. A "REST to gRPC gateway" does not come by itself. Somebody writes down
# which path is which method, and which name is which field number:

# %%
asks = (rest.Field(name="name", number=1, kind="string"), rest.Field(name="times", number=2, kind="int64"))
says = (rest.Field(name="text", number=1, kind="string"),)
call = rest.Call(path="/greet", method="/shop.Greeter/Greet", takes=asks, gives=says)
rest.encode({"name": "Ann", "times": 2}, asks)

# %% [markdown]
# `\n` is field 1 and "a text follows", `\x03` its length, then the text; `\x10` is field 2, `\x02` the number. The
# names are gone: without the table nobody can read it. Now a whole call, with a service that we play ourselves.


# %%
def service(request):
    asked = rest.decode(grpc.unframed(request.body)[0], asks)
    if asked["times"] > 3:
        return grpc.trailers_only(grpc.OUT_OF_RANGE, "at most three times")
    said = rest.encode({"text": "hello " * asked["times"] + asked["name"]}, says)
    return Response(200, Headers(), grpc.framed(said), trailers=Headers([(b"grpc-status", b"0")]))


def post(body):
    converter = rest.Gateway(rest.GatewayOptions(calls=(call,)))
    answer = converter.on_request(Passage(request(b"/greet", method=b"POST", body=body), behind=service))
    answer = answer if isinstance(answer, Response) else aside.run(answer)
    return answer.status, answer.body


[post(body) for body in (b'{"name": "Ann", "times": 2}', b'{"name": "Ann", "times": 9}', b'{"nam": "Ann"}')]

# %% [markdown]
# The service said 200 in its head both times, as gRPC does. The gateway had to wait for the trailers to know its own
# status, so it cannot stream such an answer. That is the price of this conversion, beside the CPU.
#
# ## What breaks it
#
# - **Retries.** A gateway may repeat a request that failed. That is safe for idempotent methods; nginx does not repeat
#   a POST that was sent unless [told to](https://nginx.org/en/docs/http/ngx_http_proxy_module.html#proxy_next_upstream).
# - **One gateway for everything.** It holds keys, tokens and plain text of all services. A mistake in it is everybody's
#   outage, and its parser is the first that strangers meet.
# - **The wrong order.** Limit behind the cache: hits are not counted. WAF behind the rewrite: it sees another path than
#   the client wrote. The cache before the token check: strangers get hits.
#
# ## Summary
#
# - Most functions cost a few microseconds, less than passing the request on. The exceptions are a signature seen for
#   the first time and compression at a high level.
# - A cache helps the backend in the measure of its hit ratio; Zipf says how much room that takes.
# - What a hundred want at once, a cache should fetch once: collapse, and give what is stale while fetching.
# - A cache key needs everything that makes another answer. Host first.
# - A limit is as good as its key, and needs a word for the day its store is gone.
# - Checking tokens at the edge is the *first* check. Identity fields from clients are dropped, side doors closed.
# - Two parsers that disagree make a hole. Refuse what can be read in two ways.
# - A WAF is a list of known attacks. The remedy is behind it.
#
# ## Exercises
#
# 1. A page loads 30 things at once, and users look at a page every ten seconds. Choose rate and burst.
#    <details><summary>Solution</summary>
#    Burst 30 at least, and a rate of 3 a second, so that the bucket is full again for the next page. A rate of 30 would
#    let a script take ten times that for ever.</details>
# 2. Take one habit out of `two_readers.BACK` with `dataclasses.replace`, say `lone_lf=False`. Which rows of the table
#    change? Which single habit helps most?
#    <details><summary>Solution</summary>
#    Each habit removes one row, but <code>chunked_wins=False</code> removes all in which both fields are (or seem)
#    there: then both toys believe the length. They agree, and two lengths and the sign still part them.</details>
# 3. `search("1 or secret")`: what do you get, and which rule would have found it? Which innocent text would that
#    rule refuse?
#    <details><summary>Solution</summary>
#    The plan, too. A rule "digits, or, a word" finds it, and refuses "2 or more" and "size 7 or bigger".</details>
# 4. Make the office fair without keys: `refused(rate=55)`. What has been lost?
#    <details><summary>Solution</summary>
#    Nobody is refused, the script included: the limit is above all that comes. By address, you choose whom to
#    hurt.</details>
#
# ## Interview questions
#
# **"Should JWTs be validated at the gateway?"**
# *Weak:* "Yes, then services need not care." *Strong:* yes, as a first check, remembered by token; client's own
# identity fields dropped; services are reachable through it only or check again; short lives since there is no
# revocation.
#
# **"Our rate limiter's Redis is down. What should happen?"**
# *Weak:* "Fail open, always." *Strong:* asks what the limit protects, sets a deadline of milliseconds, falls back on a
# limit in memory perhaps, and has an alarm, since open or closed looks the same in the graphs of a quiet night.
#
# **"How can a request reach a path that the proxy forbids?"**
# *Weak:* "It cannot." *Strong:* a body that two parsers end differently, or a path that two decoders read differently.
# Refuses ambiguity at the front, writes messages anew, knows that an HTTP/2 front does not end it.
#
# **"We turned on the cache, and users see strangers' pages."**
# *Weak:* "Clear it." *Strong:* clears it, then asks for the key (host, scheme, fields that change the answer), for
# `private` on personal pages, for Set-Cookie in stored answers.
#
# **"The gateway's CPU doubled. Where do you look?"**
# *Weak:* "Scale out." *Strong:* prices by function: levels of compression, the share of tokens seen first, new
# connections ([TLS](10-what-tls-costs.ipynb) handshakes), sizes of answers; then turns one dial.
#
# ## Sources
#
# - [RFC 7519](https://www.rfc-editor.org/rfc/rfc7519) and [RFC 8725](https://www.rfc-editor.org/rfc/rfc8725): JWT, and
#   how to take them. [RFC 6585](https://www.rfc-editor.org/rfc/rfc6585): 429.
# - [RFC 9111](https://www.rfc-editor.org/rfc/rfc9111): HTTP caching;
#   [RFC 5861](https://www.rfc-editor.org/rfc/rfc5861): stale answers. [RFC 9112](https://www.rfc-editor.org/rfc/rfc9112):
#   where messages end.
# - [CVE-2026-2836](https://nvd.nist.gov/vuln/detail/CVE-2026-2836): a cache key without the host.
# - J. Kettle: [Practical web cache poisoning](https://portswigger.net/research/practical-web-cache-poisoning), and
#   [HTTP desync attacks](https://portswigger.net/research/http-desync-attacks-request-smuggling-reborn).
# - L. Breslau and others: [Web caching and Zipf-like distributions](https://doi.org/10.1109/INFCOM.1999.749260), 1999.
# - Y. Gluck, N. Harris, A. Prado: [BREACH](https://www.breachattack.com/), 2013.
# - Cloudflare: [detecting CGNAT](https://blog.cloudflare.com/detecting-cgn-to-reduce-collateral-damage/).
