# ---
# book:
#   title: Inside the proxy
#   question: Between one request and its answer, what does a proxy decide, and which of its decisions can hurt you?
#   tier: 0
#   minutes: 60
#   memory_mb: 600
#   after: [what-each-layer-sees, peeking-without-opening]
#   lab: route-and-proxy
# ---

# %% [markdown]
# ## One click, two orders
#
# *Monday.* A customer has been charged twice. Her browser's log shows one POST and one answer, 200. So does the
# proxy's access log. The payment service has two orders, one second apart, and swears that it was asked twice.
#
# *Tuesday.* The chat drops everybody who is silent for a minute. Somebody turns on sticky sessions, "because of the
# WebSockets". Nothing changes.
#
# *Wednesday.* The new version gets one request in twenty. Of this month's canaries, one got half of that, another
# twice as much.
#
# All three happened between a request and its answer, in the same program. **What does a proxy decide there, and
# which of its decisions can hurt you?**

# %%
import numpy as np

from lbcore import measure, show
from lbcore.l7 import websocket
from lbcore.l7.engine.exchange import Exchange
from lbcore.l7.filters.filter import Filter
from lbcore.l7.pools import retry
from lbcore.l7.pools.options import StickySourceOptions
from lbcore.l7.pools.pool import Pool
from lbcore.l7.routing import split
from lbcore.l7.routing.match import FieldOptions
from lbcore.l7.routing.router import Router
from lbcore.l7.target import STRICT, normal
from lbcore.measure import (
    canary_live,
    chat,
    counted,
    double_order,
    head_reading,
    pool_sizes,
    retry_storm,
    right_pool,
    upload,
)

# %% [markdown]
# ## How often is the question asked?
#
# [Chapter 01](01-what-each-layer-sees.ipynb) had two small models. Now the real things: the relay of
# [chapter 08](08-peeking-without-opening.ipynb), and the proxy of this book. `/api` and `/video` are served by two
# backends each. Eighty clients ask for a mix of both, five requests on a connection.

# %%
show.predict(
    "At L4, what share of connections gets five right answers out of five, if half of the requests are for /video?",
    answer=0.03,
    tolerance=0.03,
    unit="%",
    why="The connection's one backend is right for each request with probability a half: 0.5 to the power of 5.",
)

# %% tags=["nbval-ignore-output"]
mixes = {"10 % video": 0.1, "50 % video": 0.5, "90 % video": 0.9}
right = {
    layer: [right_pool.trial(layer, video=video, connections=80, requests=5) for video in mixes.values()]
    for layer in ("L4", "L7")
}
assert all(one.all() for one in right["L7"]) and all(0.25 < one.mean() < 0.75 for one in right["L4"])

# %% tags=["nbval-ignore-output"]
show.stacked(
    [f"{layer}\n{mix}" for mix in mixes for layer in right],
    {
        "right pool": [100 * right[layer][i].mean() for i in range(3) for layer in right],
        "wrong pool": [100 - 100 * right[layer][i].mean() for i in range(3) for layer in right],
    },
    x_label="balancer, and what is asked for",
    y_label="requests (%)",
    title="L4 is right by chance, whatever is asked for",
    alt="Six stacked bars. The three for L7 are right in all requests; the three for L4 in about half of them.",
)

# %% tags=["nbval-ignore-output"]
lengths = [1, 2, 5, 20]
whole = {
    n: {layer: right_pool.trial(layer, video=0.5, connections=200 // n + 20, requests=n).all(axis=1) for layer in right}
    for n in lengths
}
assert all(one["L7"].all() for one in whole.values()) and whole[20]["L4"].mean() < 0.1
show.table(
    [(n, *(f"{one.mean():.0%}" for one in whole[n].values())) for n in lengths],
    ("requests per connection", "L4: all right", "L7: all right"),
)

# %% [markdown]
# No stale health check, no bug: L4 was asked once per connection, before there was a path. The proxy is asked for every
# request, and requests of one connection go to several pools. (Unless something pins them: affinity, or a connection
# that became something else. Both come below.) AWS says the same of its own products: listeners of a network load
# balancer have no rules on content
# ([NLB listeners](https://docs.aws.amazon.com/elasticloadbalancing/latest/network/load-balancer-listeners.html)).
#
# ## The way of a request
#
# In this proxy one request and what becomes of it is an *exchange*.
#
# ```mermaid
# sequenceDiagram
#     participant C as client's connection
#     participant E as exchange
#     participant F as filters
#     participant P as pool
#     participant B as backend's connection
#     C->>E: begin (the head is there)
#     E->>E: find the route
#     E->>F: on_request, from the outside to the inside
#     E->>P: pick
#     E->>B: take an idle one, or connect
#     B->>E: response_head
#     E->>F: on_response, from the inside to the outside
#     E->>C: head, body, end
#     E->>P: ended
# ```
#
# The first step, as it is written:

# %%
show.source(Exchange.begin)

# %% [markdown]
# A *filter* is one concern: authentication, limits, a cache. Filters are layers of an onion. Let two of them note
# what they are told.


# %%
class Note(Filter):
    def __init__(self, name, said):
        self.name, self.said = name, said

    def on_request(self, exchange):
        self.said.append(f"{self.name} in")

    def on_response(self, exchange, response):
        self.said.append(f"{self.name} out, {response.status}")


said = []
reply, backend = counted.once(Note("outer", said), Note("inner", said))
said

# %% [markdown]
# What arrives at the backend is not what the client sent. The proxy reads a message and *writes another one*. Fields
# that speak of the client's connection are taken out: *hop-by-hop* fields, and those that `Connection` names
# ([RFC 9110, section 7.6.1](https://www.rfc-editor.org/rfc/rfc9110#section-7.6.1)).

# %%
fields = ("Connection: keep-alive, X-Debug, X-Forwarded-For", "X-Debug: 1", "TE: gzip", "X-Forwarded-For: 192.0.2.7")
_, backend = counted.once(fields=fields)
print(backend.heads[0].decode())
assert b"x-debug" not in backend.heads[0] and b"x-forwarded-for" in backend.heads[0]

# %% [markdown]
# `X-Debug` is gone, as its sender wished. `X-Forwarded-For` was named as well, and stayed. Obeying here would let any
# client delete what the proxy before us wrote for the backends to rely on. (`lbcore.l7.hop_by_hop.KEPT` has the list.)
#
# All that only a proxy of layer 7 can do follows from this rewriting: add and strip headers, rewrite paths, tell GET
# from POST, compress, cache, answer with its own error page. A device that forwards packets can do none of it, because
# it never has a message in hand. (Ending TLS is not on the list: an L4 proxy can do that, too.)
#
# ## A short cut through the head
#
# So each request is taken apart and put together again. Most heads are dull: no folding, one Host, plain names. For
# these one pass of compiled code checks each byte and copies the lines that go on. What is not dull is left to the
# careful reader. The short cut says yes or "look closer", never no, so there is one authority on what is accepted.

# %%
lines = [f"x-field-{i}: {'v' * 20}" for i in range(12)]
head = "\r\n".join(("GET /api/cart?id=7 HTTP/1.1", "host: shop.example", *lines, "", "")).encode()


# %% tags=["nbval-ignore-output"]
cost = measure.compare(head_reading.ways(head), baseline="short cut")
assert cost.ratio("careful") > cost.ratio("short cut, headers read") > 1
cost

# %% [markdown]
# The second row is the same short cut when a filter asks for a header: then the list is made that was saved before.
# Both prices are worth knowing, in any proxy. *Looking costs.* A filter that nobody needs is not free even when it lets
# everything pass.
#
# How far does this get a proxy in Python? You may not have nginx and HAProxy at hand, so here are all of them as
# recorded, in turns on one processor: CPU time of a request, with nginx as 1. The rows *+filters* do what most sites
# want done, nginx as well: a log, forwarded addresses, ids, a rate limit, security fields, a cookie.

# %%
told = measure.load("l7")
works = ("keep-alive, 1 KB", "keep-alive, 100 KB", "a connection for each")
ours = ("lbcore", "lbcore compiled", "lbcore+filters", "lbcore+filters compiled")
rows = {
    who: [np.median(told.samples[f"{work}: {who}"]) / np.median(told.samples[f"{work}: nginx"]) for work in works]
    for who in ("nginx", "nginx+filters", "haproxy", *ours, "aiohttp", "proxy.py", "mitmproxy")
}
assert rows["lbcore compiled"][0] < rows["lbcore"][0] < 2.5 < 3 * rows["lbcore"][0] < rows["aiohttp"][0]
assert rows["lbcore"][1] < 1
show.table([(who, *(f"{x:.2f}" for x in row)) for who, row in rows.items()], ("proxy", *works), caption=told.label)

# %% [markdown]
# For a small answer everything is decided per request, and there a proxy in C needs a little more than half of what
# ours does. The rows *compiled* are the same files. `lbcore proxy --compiled` has
# [mypyc](https://mypyc.readthedocs.io/en/latest/index.html) make C of them once, by the types that they say anyway,
# and runs that. It decides the same: tests of the proxy run against both. What goes is most of the interpreter's
# share; what stays is the kernel's, two reads and two writes for each request, and those cost nginx as much.
#
# For large answers the kernel copies bytes, and the language hardly matters. *aiohttp* is a good library for clients
# and servers, with a task for each request: what that costs you see in its row. *mitmproxy* is made for looking into
# traffic, not for carrying it.
#
# ## Which route?
#
# Routes have conditions on host, path, method, headers. Two rules decide between routes that fit. *First match*: the
# one that stands first. *Longest prefix*: the most specific. Four routes, in an order that somebody wrote on a
# Friday:

# %%
prefixes = {"everything": "/", "api": "/api", "api v2": "/api/v2", "apiary": "/apiary"}
nobody = counted.pool("nobody", [("127.0.0.1", 1)])
friday = [counted.route(name, nobody, prefix=prefix) for name, prefix in prefixes.items()]

# %%
show.quiz(
    "With longest prefix, where does /apix go?",
    {
        "api": "As text, /api is a prefix of /apix. As a path it is not: segments are compared whole.",
        "everything": "Prefixes end at segment borders, so only / is one of /apix.",
        "apiary": "The path would have to be /apiary, or below it.",
    },
    correct="everything",
)

# %%
paths = ["/api", "/api/v1", "/api/v2/cart", "/apiary", "/apix"]
orders = {order: Router(friday, order=order) for order in ("first", "longest")}
found = [(path, *(router.find(counted.get(path)).name for router in orders.values())) for path in paths]
assert [row[1] for row in found] == ["everything"] * 5 and found[2][2] == "api v2" and found[4][2] == "everything"
show.table(found, ("path", "first match", "longest prefix"))

# %% [markdown]
# First match is easy to reason about and easy to get wrong: three of the routes can never be reached. No request will
# ever report that, so the configuration has to.

# %%
{order: [route.name for route in router.unreachable()] for order, router in orders.items()}

# %% [markdown]
# Conditions on the host and on headers work the same way, and a route takes a request only if all of them hold.
# A wildcard takes the names below it, and not the name itself.

# %%
version_2 = counted.route("canary", nobody, headers=(FieldOptions(name="x-version", value="2"),))
router = Router([version_2, counted.route("regional", nobody, hosts=("*.shop.example",)), *friday])
asked = [counted.get("/", **{"x-version": "2"}), counted.get("/", "de.shop.example"), counted.get("/")]
[router.find(one).name for one in asked]

# %% [markdown]
# Two traps remain. The first: `%2e` is a dot. A router that compares what the client wrote, in front of a backend that
# decodes it, lets in as `/public` what is served as `/admin`. So the path gets its one normal form before anybody
# decides by it, and in that form it goes on.

# %%
[normal(path, STRICT) for path in (b"/public/%2e%2e/admin", b"/%61pi/v2", b"/a%252e")]

# %% [markdown]
# The second: routing on the *body* sounds like one more condition. But a proxy passes a body on as it comes. To decide
# by it, it has to hold all of it first. A client sends five pieces, and we look after how many of them the backend
# hears the first byte:


# %%
class Reads(Filter):
    body_limit = 40_000


cases = {"nobody reads": [], "a filter reads, 4 pieces": [Reads()], "a filter reads, 5 pieces": [Reads()]}
held = {name: upload.trial(*filters, pieces=4 if "4" in name else 5) for name, filters in cases.items()}
assert list(held.values()) == [(1, 200), (4, 200), (None, 413)]
show.table([(name, *one) for name, one in held.items()], ("body, in pieces of 10 kB", "pieces sent", "status"))

# %% [markdown]
# What was a stream comes in one lump at the end; it lies in memory until then, times the number of clients; and what is
# larger than the limit is refused with 413. Some proxies route by bodies at this price. Ours reads them for a filter
# that asks (a firewall), and even then the route has been chosen, by the head. If a decision depends on the body, put
# it into a header.
#
# ## Kept connections
#
# The client's connection and the backend's are two. When an answer has come, the backend's goes back into a *pool* of
# idle ones, for whoever comes next. How large should it be? Sixteen clients at a time, forty requests each:

# %% tags=["nbval-ignore-output"]
sizes = [0, 1, 2, 4, 8, 16, 32]
costs = {size: pool_sizes.trial(size) for size in sizes}
assert costs[0].connections == 1 and costs[16].connections < 0.1 and costs[0].cpu > 1.5 * costs[16].cpu

# %% tags=["nbval-ignore-output"]
show.lines(
    sizes,
    {
        "processor time (32 kept = 1)": [costs[size].cpu / costs[32].cpu for size in sizes],
        "new backend connections": [costs[size].connections for size in sizes],
    },
    x_label="idle connections kept",
    y_label="for each request",
    title="A pool half as large as the load still opens many connections",
    alt="Two falling lines against the number of idle connections kept. Both level off at sixteen, the number of "
    "clients: hardly any new connections, and a fraction of the processor time that no pool costs.",
)

# %% tags=["nbval-ignore-output"]
f"no pool: {costs[0].cpu / costs[32].cpu:.1f} times the processor time; half a pool: {costs[8].cpu / costs[32].cpu:.1f}"

# %% [markdown]
# (The time is that of proxy, clients and backend together, over loopback. On a network a new connection also waits one
# round trip, and more with TLS.) The curve has no best point but a knee: as many as are in use at once. Beyond it
# connections cost the backend memory and buy nothing. Below it you pay quietly: nothing fails, everything is dearer.
# nginx kept none by default until version 1.29.7
# ([documentation](https://nginx.org/en/docs/http/ngx_http_upstream_module.html#keepalive)). If a layer 7
# tier seems slow, look there first.
#
# A kept connection has a trap: the backend may close it while we send. That race is ordinary, so a request that fails
# on a *reused* connection is sent again on a new one. Only if it may be sent twice. Hold that thought.
#
# (Which servers may be asked at all, how a pool finds out, and how one leaves without a failed request, is a chapter of
# its own: [who is alive, who may leave](14-who-is-alive.ipynb).)
#
# ## Trying again
#
# Now Monday. A backend that was asked and did not answer is one of two: it did not do the work, or it did and the
# answer was lost. **From outside they look the same.** Our test backend does the work, keeps a book, and dies before it
# answers; a second one stands by. Here is a retry policy as people write it:

# %%
show.source(double_order.Careless)

# %%
kinds, methods = {"careless": double_order.Careless, "ours": Pool}, ("GET", "PUT", "POST")
outcome = {(name, method): double_order.order(method, kind) for name, kind in kinds.items() for method in methods}
assert outcome["careless", "POST"] == (200, 2) and outcome["ours", "POST"] == (502, 1)
show.table([(*case, *seen) for case, seen in outcome.items()], ("policy", "method", "client sees", "times done"))

# %% [markdown]
# The careless row for POST is Monday: one request, one 200, two orders. Ours gives the client a 502, which is the
# honest answer: nobody here knows. The rule is short.

# %%
show.source(retry.repeatable)

# %% [markdown]
# *Idempotent* methods ([RFC 9110, section 9.2.2](https://www.rfc-editor.org/rfc/rfc9110#section-9.2.2)) mean the same
# once or twice, so PUT above was done twice and nobody is poorer. And what never left may always be sent: if the
# backend *refuses* the connection, POST goes on to the next one. nginx holds the same line: no second attempt for POST
# once it was sent, unless `non_idempotent` is set
# ([proxy_next_upstream](https://nginx.org/en/docs/http/ngx_http_proxy_module.html#proxy_next_upstream)).


# %%
assert double_order.refused("POST") == (200, 1)

# %% [markdown]
# What if neither a lost order nor a double one will do? Then the *client* makes the request idempotent: it invents a
# key and sends it with every attempt, and the service does each key once. The memory of keys must be common to all
# replicas, for the second attempt goes to another one. With that, even the careless policy is right:

# %%
assert double_order.order("POST", double_order.Careless, keys=set()) == (200, 1)

# %% [markdown]
# ## The storm
#
# Retries have a second way to hurt. A backend that fails because it has too much to do gets, as a cure, more.
# With three attempts each, how much more? Here the pool's own decisions run without sockets, for a thousand
# requests a second.

# %%
show.predict(
    "Every backend answers 503. With three attempts, how many requests reach them for each of a client?",
    answer=3,
    tolerance=0.1,
    unit="requests",
    why="Each attempt fails, so each request uses all three. Behind another such proxy it is nine.",
)

# %%
failing = [0, 0.1, 0.25, 0.5, 0.75, 1]
storm = {
    "3 attempts": [retry_storm.load(p) for p in failing],
    "3 attempts, budget 20 %": [retry_storm.load(p, budget=0.2) for p in failing],
}
assert storm["3 attempts"][-1] == 3 and max(storm["3 attempts, budget 20 %"]) <= 1.2

# %%
show.lines(
    failing,
    storm,
    x_label="share of attempts that fail",
    y_label="attempts for each request",
    title="A budget lets single failures be repaired, and an outage be an outage",
    alt="Attempts for each request against the share that fails. Without a budget the line rises from one to three; "
    "with a budget of a fifth it stays below 1.2.",
)

# %% [markdown]
# A *retry budget* is a share of the requests of the last seconds. With one failure in ten all retries fit into it; in
# an outage it caps what we add. A limit on attempts alone is a multiplier, and proxies in a row multiply:

# %%
layers = 3
assert (3**layers, round(1.2**layers, 2)) == (27, 1.73)
f"{layers} proxies: {3**layers} times the load without a budget, {1.2**layers:.2f} times with it"

# %% [markdown]
# ## A request that becomes a tunnel
#
# Tuesday's chat uses a *WebSocket*: a request asks to turn its connection into a two-way stream of messages. `Upgrade`
# is hop-by-hop, so a proxy that merely copies would strip it. It has to understand the request, and ask anew.

# %%
assert websocket.proof(b"dGhlIHNhbXBsZSBub25jZQ==") == b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo="  # RFC 6455, section 1.3
reply, heard = chat.websocket("hello", "still there?", "and now?")
reply.status, sorted(reply.fields), heard

# %% [markdown]
# The 101 carries `Connection`, `Upgrade`, and a proof made of the client's key
# ([RFC 6455](https://www.rfc-editor.org/rfc/rfc6455#section-4)); sketches in tutorials often leave these out. Over
# HTTP/2 there is no Upgrade at all: the client sends an extended CONNECT and the answer is 200
# ([RFC 8441](https://www.rfc-editor.org/rfc/rfc8441)).
#
# All three lines were heard by one server, without any affinity. "WebSockets need sticky sessions" is a misconception.
# An open WebSocket *is* one connection, to one backend, until it ends. What needs affinity is a session spread over
# several requests: the fall-back to long polling. Four servers in turn, sessions in memory, twelve polls:

# %%
show.predict(
    "What share of the polls fails?",
    answer=0.75,
    tolerance=0.05,
    unit="%",
    why="One server of four knows the session.",
)


# %%
unstuck, stuck = chat.polling(12), chat.polling(12, sticky=StickySourceOptions())
assert unstuck.count(400) == 9 and stuck.count(400) == 0
unstuck.count(400) / 12, stuck.count(400) / 12

# %% [markdown]
# Socket.IO's documentation says the same: with the WebSocket transport alone, no stickiness is needed
# ([multiple nodes](https://socket.io/docs/using-multiple-nodes)). After a *reconnect* a client may land elsewhere; if
# the server kept something for it in memory, that is a reason for affinity, or for a shared store.
#
# So what broke the chat? After the 101 the proxy is a tunnel, and its *idle timeout* still runs. Ours is set to a
# quarter of a second here:


# %%
assert not chat.outlives(0.8, idle=0.25) and chat.outlives(0.8, idle=30)

# %% [markdown]
# The cure is a ping more often than the shortest timeout on the way, not affinity. Whoever wants to take a server out
# of service has the same problem from the other side: a tunnel has no end of its own
# ([chapter 14](14-who-is-alive.ipynb)).
#
# ## Five per cent of what?
#
# Wednesday's canary. The common claim is that canaries need layer 7. By header or cookie they do. By *weight* they do
# not: AWS's network load balancer has weighted target groups
# ([announcement](https://aws.amazon.com/blogs/networking-and-content-delivery/network-load-balancers-now-support-weighted-target-groups)).
# But it weighs connections. If each brings many requests, few draws decide a lot.

# %%
show.canary_funnel(
    0.05,
    [1, 3, 10, 30, 100, 300],
    requests=10_000,
    title="The fewer connections decide, the less 5 % means",
    alt="Funnel of dots around 5 percent: at one request per connection they lie close to it, at 300 they spread from "
    "zero to fifteen. Dashed lines of theory enclose most of them.",
)

# %% [markdown]
# The error grows as the root of requests per connection. That is so by chance; a single balancer can deal by turns and
# give the canary its share of connections to the last one. But real connections differ in length. Live: the relay of
# [chapter 08](08-peeking-without-opening.ipynb) and the proxy, both with weights 95 and 5, sixty connections a day:

# %% tags=["nbval-ignore-output"]
rng = np.random.default_rng(3)
days = [np.ceil(rng.lognormal(1.5, 1.2, 60)).astype(int).tolist() for _ in range(5)]
dealt = {layer: [canary_live.shares(layer, weight=0.05, lengths=day) for day in days] for layer in ("L4", "L7")}
assert all(one[0] == 0.05 for one in dealt["L4"]) and all(0.04 < one[1] < 0.06 for one in dealt["L7"])
rows = [(f"{l4[0]:.0%}", f"{l4[1]:.1%}", f"{l7[1]:.1%}") for l4, l7 in zip(*dealt.values(), strict=True)]
show.table(rows, ("L4: connections", "L4: requests", "L7: requests"), caption="On the canary, five days")

# %% [markdown]
# Three connections of sixty, each day. What they bring is luck. With chance on top, how far off can it be? Try it.


# %%
def draw(weight=5, per_connection=100, requests=10_000):
    return show.canary_histogram(weight / 100, per_connection, requests)


show.explore(
    draw,
    hint="how long may connections be before one canary in ten gets less than half of what you wanted?",
    weight=[1, 5, 10, 20],
    per_connection=[1, 10, 30, 100, 300],
    requests=[1000, 10_000, 100_000],
)

# %% [markdown]
# By request, then? Drawing anew for each request hits 5 % well, and gives every *client* both versions, now this, now
# that. What you nearly always want is a draw for each client: hash something that stays the same, and give each pool
# its share of the hashes.

# %%
random = np.random.default_rng(9)
old, new = (counted.pool(name, [("127.0.0.1", port)]) for port, name in enumerate(("old", "new"), 1))
clients = [counted.get(f"/{n}") for n in random.integers(0, 2**63, 4000).tolist()]

# %%
chance = split.by_chance([old, new], [95, 5], random.random)
both = np.mean([len({chance(client).name for _ in range(50)}) == 2 for client in clients[:400]])
assert both > 0.85
f"by chance, {both:.0%} of clients see both versions in 50 requests"

# %%
on = {}
for weight in (5, 10):
    choose = split.by_key([old, new], [100 - weight, weight], lambda request: int(request.path[1:]))
    on[weight] = {client.path for client in clients if choose(client) is new}
assert on[5] < on[10] and 0.04 < len(on[5]) / 4000 < 0.06
print(f"by key: {len(on[5]) / 4000:.1%}, then {len(on[10]) / 4000:.1%}; who was on it stayed on it")

# %% [markdown]
# A client writes its own cookies, so a split is no lock: whoever wants to see the canary can. And a canary by key needs
# enough *clients*, for the funnel holds for them as it held for connections.
#
# ## Summary
#
# - L4 is asked once per connection, L7 once per request. A path is known only to the second.
# - A proxy writes new messages. What speaks of one connection is taken out; what others rely on stays.
# - Routes: compare whole segments of the normal path; let the configuration report routes that nothing reaches.
# - Keep as many idle connections as requests run at once. Below that, everything works and is dearer.
# - Retry what means the same twice, or what never left. Nothing else, and all within a budget.
# - WebSockets pin themselves. Polling needs affinity. Idle timeouts apply to both.
# - Canaries: by client, hashed. By connection, the share is a rumour.
#
# ## Exercises
#
# 1. A service keeps its idempotency keys for ten minutes, each replica its own. Name two ways to a double order.
#    <details><summary>Solution</summary>
#    The second attempt goes to another replica; or it comes from a client that was asleep for eleven minutes. A third:
#    the work is done and the key is written in two transactions, and the process dies in between.</details>
# 2. Put `double_order.Careless` in front of two backends that answer 503 *before* they work
#    (`counted.Counting("a", "busy")`). Is it still wrong?
#    <details><summary>Solution</summary>
#    No order is done twice, since none was done. But a 503 does not prove that: another service may send it after its
#    work. What the status means is the service's word, not HTTP's.</details>
# 3. A route for `/api` stands behind one for `*.shop.example` with `prefix="/"`. For which hosts is it reachable under
#    first match?
#    <details><summary>Solution</summary>
#    For all that are not below shop.example, shop.example itself among them: the wildcard takes names below it
#    only.</details>
# 4. Sixteen clients, pool of sixteen, and the clients now send in bursts with pauses longer than the pool's `keep`
#    time. What does the curve look like?
#    <details><summary>Solution</summary>
#    Flat and high: each burst finds the idle ones gone. Pool size and idle time are one setting in two fields. Keep
#    our time shorter than the backend's, or we send on connections that it is just closing.</details>
# 5. Your canary is 1 %, keyed by client, and 300 clients do half of all requests. How sure is its share of requests?
#    <details><summary>Solution</summary>
#    Of these 300, three are expected on it, with a deviation of about 1.7: so their half of the traffic is off by more
#    than half of what was wanted as a matter of course. Measure the share; never assume it.</details>
#
# ## Interview questions
#
# **"Why can the network load balancer not send /video elsewhere?"**
# *Weak:* "It is not configured for it." *Strong:* it decides when the connection begins, before there is a path, and
# keep-alive puts many paths on one connection. Mentions that the same holds for weights.
#
# **"A POST timed out. Do you retry?"**
# *Weak:* "Yes, three times with backoff." *Strong:* asks whether it was sent; says that a lost answer looks like a
# lost request; wants an idempotency key, a budget, and one layer that retries instead of all.
#
# **"The L7 tier is slow. Where do you look first?"**
# *Weak:* "Replace it by L4." *Strong:* new backend connections per second against requests per second. Then TLS
# resumption, then what the filters read.
#
# **"Do WebSockets need sticky sessions?"**
# *Weak:* "Yes." *Strong:* the open connection is pinned by being one; fall-backs by polling and state across reconnects
# are what need affinity. Brings up idle timeouts and draining unasked.
#
# **"How would you build a canary?"**
# *Weak:* "Send 5 % of traffic to it." *Strong:* asks: of requests, connections or clients? Hashes clients, keeps who is
# on it when the share grows, and compares error rates with their uncertainty.
#
# ## Sources
#
# - [RFC 9110](https://www.rfc-editor.org/rfc/rfc9110): HTTP; 7.6.1 (hop-by-hop) and 9.2.2 (idempotent).
# - [RFC 9112](https://www.rfc-editor.org/rfc/rfc9112): HTTP/1.1. [RFC 6455](https://www.rfc-editor.org/rfc/rfc6455) and
#   [RFC 8441](https://www.rfc-editor.org/rfc/rfc8441): WebSocket, and over HTTP/2.
# - nginx: [upstream](https://nginx.org/en/docs/http/ngx_http_upstream_module.html),
#   [proxy](https://nginx.org/en/docs/http/ngx_http_proxy_module.html),
#   [WebSocket proxying](https://nginx.org/en/docs/http/websocket.html).
# - AWS: [NLB listeners](https://docs.aws.amazon.com/elasticloadbalancing/latest/network/load-balancer-listeners.html),
#   [weighted target groups](https://aws.amazon.com/blogs/networking-and-content-delivery/network-load-balancers-now-support-weighted-target-groups).
# - Socket.IO: [using multiple nodes](https://socket.io/docs/using-multiple-nodes).
