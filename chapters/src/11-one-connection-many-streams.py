# ---
# book:
#   title: One connection, many streams
#   question: One backend of ten does all the work, and the balancer is in perfect health. Whose fault is it?
#   tier: 0
#   minutes: 60
#   memory_mb: 500
#   after: [inside-the-proxy, what-tls-costs]
#   lab:
# ---

# %% [markdown]
# ## Nine idle backends
#
# The cart service has ten backends behind an L4 balancer, and for years they were equally busy. In spring its callers
# move from JSON over HTTP/1.1 to gRPC. The next morning one backend is at its limit and nine are idle. The autoscaler
# adds ten more. Nineteen are idle.
#
# The balancer is in perfect health, and so are the backends. Four remedies are proposed:
#
# - *"gRPC does not work behind L4. We need an L7 proxy."*
# - *"Let callers open more connections."*
# - *"Let callers balance by themselves."*
# - *"Restart the callers every night."*
#
# Each of them works somewhere, the last one, too. **What exactly is stuck, and what is each cure worth?**

# %%
import numpy as np

from lbcore import show
from lbcore.l7.http2 import frames, hpack
from lbcore.measure import downgrade, mishaps, pinned, stream_prices, windows, wiretap
from lbcore.sim import head_of_line, pinning, two_readers

# %% [markdown]
# First the crime, on loopback. *HTTP/2* ([RFC 9113](https://www.rfc-editor.org/rfc/rfc9113)) carries many requests over
# one connection, each on a *stream* of its own. *gRPC* is calls over HTTP/2: a call is a stream. Our caller makes 240
# calls over one connection; four services count what they get.

# %%
show.predict(
    "Behind L4: what share of the 240 calls does the busiest of the four backends get?",
    answer=1,
    tolerance=0.01,
    unit="%",
    why="The balancer is asked when the connection begins. There was one connection, so it was asked once.",
)

# %% tags=["nbval-ignore-output"]
one = {mode: pinned.trial(mode) for mode in pinned.MODES}
assert one["L4"].shares[0] == 1 and max(one["L7"].shares[0], one["client side"].shares[0]) < 0.27
assert not any(trial.failed for trial in one.values()) and one["L4, ageing"].shares[0] < 1

# %% tags=["nbval-ignore-output"]
show.bars(
    ["busiest", "second", "third", "fourth"],
    {mode: 100 * trial.shares for mode, trial in one.items()},
    x_label="backend",
    y_label="share of the calls (%)",
    title="One caller: L4 gives all of its calls to one backend",
    alt="Groups of bars for four backends. Behind L4 the busiest has all calls; L7 and client side give each a "
    "quarter; L4 with ageing is in between.",
)

# %% [markdown]
# "L4" is the relay of [chapter 08](08-peeking-without-opening.ipynb), "L7" the proxy of
# [chapter 09](09-inside-the-proxy.ipynb). With "client side" the caller knows all four addresses and takes them in
# turn. "L4, ageing" is the relay again, before services that end a connection after some calls. We come to that. (The
# calls are ours, frame by frame, and speak with gRPC's own library at either end: the book's tests let them.)
#
# HTTP/1.1 had hidden the problem. It carries one request at a time on a connection, so a busy caller needs many, and
# many connections are many draws. HTTP/2 took that away, on purpose.
#
# ## What the balancer sees
#
# Two calls at once, and all bytes that the caller sent. HTTP/2 sends *frames*: nine bytes of length, type, flags and
# stream, then a payload. HEADERS carries a head or trailers, DATA a piece of a body.

# %%
tape = wiretap.calls(b"one", b"two")
show.frame_bytes(tape.sent)

# %% [markdown]
# Stream 0 is the connection itself, streams 1 and 3 are the calls (a client's numbers are odd). Anybody who can read
# can tell the calls apart. A balancer at L4 does not read:

# %%
show.frame_bytes(tape.sent, locked=True, max_rows=4, caption="The same for L4, even without TLS")

# %% [markdown]
# Could it learn to? Here are two longer answers on their way back, again as they really crossed the wire.

# %%
answers = wiretap.calls(b"one", b"two", answer=40_000).received
show.frame_lanes(
    answers, title="Two answers take turns on one TCP stream, frame by frame",
    alt="Three lanes over the bytes of a TCP stream. DATA frames of streams 1 and 3 alternate, each stream begins and "
    "ends with HEADERS. The lane of layer 4 is one grey bar."
)  # fmt: skip

# %% [markdown]
# To send stream 3 elsewhere, somebody would have to cut frames out of a TCP stream and put them into another one. That
# alone is more than L4 does: sequence numbers, windows and acknowledgements of both would change. But there is a better
# reason why no stream can be moved as it is.
#
# ## The shared notebook
#
# Heads repeat themselves. *HPACK* ([RFC 7541](https://www.rfc-editor.org/rfc/rfc7541)) lets both ends keep a table of
# the lines that were sent, and name a line by its number from then on. Compare the heads of the two calls:

# %%
sent = tape.sent.removeprefix(frames.PREFACE)
first, second = [payload for kind, _, _, payload in frames.split(sent) if kind == frames.HEADERS]
len(first), len(second)

# %%
reader = hpack.Decoder()
(reader.decode(first, 4096), reader.decode(second, 4096))[1]

# %% [markdown]
# Seven lines out of so few bytes. Now somebody gets the second call who has not seen the first:

# %%
try:
    hpack.Decoder().decode(second, 4096)
except hpack.BadBlock as error:
    print(error)

# %% [markdown]
# The head of a call means something only to who has read *all* heads before it on this connection. Stream numbers and
# windows belong to the connection as well. So whoever wants to place calls singly has to be an end of HTTP/2 towards
# the caller: read each head, choose, and write a new head for a connection of its own. That is a proxy of layer 7, and
# "L7 can balance streams" means precisely this. What it speaks to the backends is another question. nginx took HTTP/2
# from clients for years and spoke HTTP/1.1 to backends; for `proxy_pass` it has HTTP/2 to them
# [since 1.29.4](https://nginx.org/en/docs/http/ngx_http_proxy_module.html#proxy_http_version), for gRPC with a module
# of its own [since 1.13.10](https://nginx.org/en/docs/http/ngx_http_grpc_module.html).
#
# Routing has the same answer. In gRPC, service and method *are* the path (`/shop.Cart/Add`), so the routes of
# [chapter 09](09-inside-the-proxy.ipynb) tell methods apart. For L4 there is no path.
#
# ## How uneven, exactly?
#
# One number for evenness is *Jain's index*: the square of the sum, over N times the sum of squares. It is 1 if all
# have the same, and 1/N if one has everything.

# %% tags=["nbval-ignore-output"]
assert pinning.jain(one["L4"].shares) == 0.25 and pinning.jain(one["L7"].shares) > 0.99
{mode: round(pinning.jain(trial.shares), 2) for mode, trial in one.items()}

# %% [markdown]
# That was one caller with one connection. "gRPC is broken behind L4" is often said as if there were no other case. With
# more connections there are more draws. In a model: every caller is equally busy, every connection lands on one of ten
# backends by chance.

# %%
fleets, each = [1, 2, 5, 10, 20, 50, 100, 200], [1, 2, 4, 8, 16]
index = np.array([[pinning.typical(pinning.rates(n), c, 10) for n in fleets] for c in each])
assert np.isclose(index.min(), 0.1) and index.argmin() == 0 and (np.diff(index) > 0).all()  # 1/N, then upwards

# %%
show.heat(
    index, each, fleets, x_label="callers", y_label="connections of each", value_label="Jain's index",
    title="Ten backends: what counts is the number of connections",
    alt="Heat map of Jain's index. One connection gives 0.10, ten about 0.55, a hundred 0.92, however they are shared "
    "out among callers.",
)  # fmt: skip

# %% [markdown]
# Follow a diagonal: ten callers with one connection and five with two are nearly the same. The bottom is 1/N, and the
# rise has a simple form. For n equal connections on N backends, the index is about n / (n + N - 1).

# %%
connections = np.outer(each, fleets)
formula = pinning.expected(connections, 10)
assert (abs(index - formula) < 0.05).all()
[f"{n}: {pinning.expected(n, 10):.2f}" for n in (1, 10, 90, 200)]

# %% [markdown]
# And live, with four backends: forty callers this time, thirty calls each.

# %% tags=["nbval-ignore-output"]
forty = {mode: pinning.jain(pinned.trial(mode, clients=40, calls=1200).shares) for mode in ("L4", "L7")}
assert 0.6 < forty["L4"] <= forty["L7"] and forty["L7"] > 0.99
print(f"L4: {forty['L4']:.2f}, by the formula {pinning.expected(40, 4):.2f}; L7: {forty['L7']:.2f}")

# %% [markdown]
# So as many connections as backends give about one half, and it takes *many more connections than backends* before L4
# is even. For browsers and phones that holds without anybody's doing. For five services that call a sixth it does not.
# The correct sentence is: *L4 pins a connection, with all of its streams; how bad that is depends on how many there
# are.*
#
# ## Not all callers are alike
#
# Most fleets have a few callers that make most of the calls. How many *equal* callers would be as lumpy? That is n
# times Jain's index of their rates. A thousand callers, the r-th with a rate of 1/r<sup>skew</sup>:

# %%
rows = []
for skew in (0, 0.5, 1, 1.5):
    rate = pinning.rates(1000, skew)
    rows.append((skew, f"{rate[0]:.1%}", round(pinning.effective(rate)), f"{pinning.typical(rate, 1, 10):.2f}"))
assert rows[2][2] < 40 and rows[3][2] < 8
show.table(rows, ("skew", "the busiest caller has", "as lumpy as so many", "Jain's index"), caption="1000 callers")

# %% [markdown]
# With Zipf's law, skew 1, a thousand callers are no smoother than three dozen. Count the connections that carry the
# traffic, not those that are open. Database pools and message brokers behind L4 have this problem as well: few
# connections, long-lived, unequal.


# %%
def draw(mode="L4", callers=8, connections_each=1, backends=10, skew=0.0):
    rate = pinning.rates(callers, skew)
    return show.placement(pinning.shares(mode, rate, connections_each, backends, np.random.default_rng(3)))


show.explore(
    draw,
    hint="with 8 callers, how many connections each until no backend is idle? Then 100 callers, and move the skew",
    mode=list(pinning.MODES),
    callers=[1, 2, 4, 8, 20, 50, 100],
    connections_each=[1, 2, 4, 16],
    backends=[2, 4, 10, 20],
    skew=[0.0, 0.5, 1.0, 1.5],
)

# %% [markdown]
# ## Even is not yet fast
#
# What users feel is waiting. The same placements in front of queues: ten backends, at 60 % of what they can do
# together. *p99* is the time that all calls but one in a hundred stay under; 1 is the mean work of a call.

# %%
rows, many = [], {}
for callers in (8, 100):
    for mode in pinning.MODES:
        seen = many[mode] = pinning.trial(mode, clients=callers, backends=10, utilisation=0.6)
        wait = "no end" if 0.6 * seen.busiest > 1 else f"{seen.wait:.0f}"
        rows.append((callers, mode, f"{seen.jain:.2f}", f"{seen.busiest:.1f}", wait))
assert many["L4"].wait > 2.5 * many["L7"].wait and many["client side"].wait > 1.3 * many["L7"].wait
show.table(rows, ("callers", "mode", "Jain's index", "busiest / mean", "p99"))

# %% [markdown]
# "No end" means that a backend gets more than it can do, so that its queue grows as long as we look, while the fleet as
# a whole has two fifths to spare. An index of 0.96 for a hundred callers looks fine, and p99 is three times that of L7:
# the index is an average, the tail belongs to the busiest backend.
#
# And one finding that is easily missed: client side has the same evenness as L7 and a longer tail. The proxy deals all
# calls from one row. A hundred callers, each with a row of its own, now and then come to the same backend at the same
# moment ([chapter 02](02-choosing-a-backend.ipynb)).
#
# ## The cures, and their bills
#
# | cure | who decides, when | what it costs |
# |---|---|---|
# | more connections | L4, for each connection | memory; helps by the formula above |
# | an L7 proxy | the proxy, for each call | CPU, a hop, and it has to read everything |
# | client side | the caller, for each call | every language needs it; callers must learn addresses |
# | subset | the caller, for each call, among a few | some evenness |
# | connection ageing | L4, again and again | new connections all the time |
#
# gRPC's libraries begin with `pick_first`: one address, one connection. With `round_robin` and a resolver that gives
# *all* addresses they balance by call ([load balancing in
# gRPC](https://github.com/grpc/grpc/blob/master/doc/load-balancing.md)). In Kubernetes a normal Service gives one
# virtual address, to be placed at L4; a [headless
# one](https://kubernetes.io/docs/concepts/services-networking/service/#headless-services) gives those of the pods.
#
# *Look-aside* balancing keeps the caller simple: it asks a service of its own where to go, and calls there directly.
# *xDS*, the protocol by which Envoy learns its configuration, is today's form of it. A gRPC library can
# [speak it](https://github.com/grpc/grpc/blob/master/doc/grpc_xds_features.md), and is told addresses, weights and
# routes. The data does not cross a proxy; the knowledge comes from outside.
#
# If every caller has a connection to every backend, there are callers times backends of them. *Subsetting* lets each
# caller draw a few.

# %%
rng, callers, backends = np.random.default_rng(7), pinning.rates(1000), 200
sizes = {size: pinning.shares("subset", callers, 1, backends, rng, size).sum(axis=0) for size in (1, 5, 20, 200)}
rows = [(n, f"{1000 * n:,}", f"{pinning.jain(load):.2f}", f"{pinning.busiest(load):.1f}") for n, load in sizes.items()]
assert pinning.jain(sizes[1]) < 0.9 < 0.98 < pinning.jain(sizes[20])
show.table(
    rows, ("backends known", "connections", "Jain's index", "busiest / mean"), caption="1000 callers, 200 backends"
)

# %% [markdown]
# Twenty of two hundred is nearly even, for a tenth of the connections. gRPC has a
# [proposal](https://github.com/grpc/proposal/blob/master/A68-random-subsetting.md) for it, which draws by rendezvous
# hashing, so that a backend more or less changes one entry at most.
#
# ## The autoscaler that helped nobody
#
# Back to the nineteen. Ten backends were added, and L4 was asked nothing.

# %%
show.predict(
    "Ten backends join ten. Callers keep their connections. What share of the calls do the new have an hour later?",
    answer=0,
    tolerance=0.01,
    unit="%",
    why="No connection begins, so nobody is placed. The same holds for a backend that comes back after a restart.",
)

# %%
minutes = np.arange(0, 61, 2)
growth = {
    name: 100 * pinning.newcomers(2000, 10, 20, age, minutes, np.random.default_rng(3))
    for name, age in {"no age": np.inf, "age 60 min": 60, "age 30 min": 30, "age 10 min": 10}.items()
}
assert growth["no age"].max() == 0 and growth["age 10 min"][6] > 45 and growth["age 30 min"][7] < 30

# %%
show.lines(
    minutes, growth, x_label="minutes since they joined", y_label="calls on the new backends (%)",
    title="New backends get work as fast as old connections die",
    alt="Share of calls on ten new backends beside ten old ones. Without an age it stays at zero. With an age it rises "
    "in a straight line to about 50 percent and is there when the age is over.",
)  # fmt: skip

# %% [markdown]
# *Connection ageing* is the cure that L4 leaves you: the *server* ends each connection after a while. gRPC calls it
# [MAX_CONNECTION_AGE](https://github.com/grpc/proposal/blob/master/A9-server-side-conn-mgt.md); off by default, and
# with 10 % of jitter, so that a storm of connections does not come back as a storm. Callers reconnect, L4 chooses anew.
# The nightly restart in our story was this, done badly. Our live services above counted calls instead of minutes:

# %% tags=["nbval-ignore-output"]
aged = one["L4, ageing"]
assert aged.failed == 0 and aged.opened == 240 // pinned.AGE
print(f"{aged.opened} connections for 240 calls, {aged.failed} failed, Jain's index {pinning.jain(aged.shares):.2f}")

# %% [markdown]
# No call failed (the next section says why). But look what the number hides. A caller whose one connection moves every
# half hour:

# %%
day = np.random.default_rng(8).integers(0, 10, 48)
over_the_day = pinning.jain(np.bincount(day, minlength=10))
assert over_the_day > 0.7
print(f"over a day: {over_the_day:.2f}; at any moment: {pinning.jain(np.bincount(day[:1], minlength=10)):.2f}")

# %% [markdown]
# Ageing spreads load over *time*. A caller that is too much for one backend stays too much for one backend, each half
# hour for another one. It cures growth and restarts of a fleet with many connections. And it has a running cost: so
# many new connections a second, each with a [handshake](10-what-tls-costs.ipynb).

# %%
[f"10,000 connections, {age:g} s: {10_000 / age:.0f} handshakes a second" for age in (30, 300, 1800)]

# %% [markdown]
# Calls that last for hours do not notice: their connection is told to end and lives on for them, unless a *grace* cuts
# it off.
#
# ## Saying goodbye
#
# How can a connection end without a call being lost? TCP has no way to say "no more from you, but let us finish".
# HTTP/2 has one, the frame GOAWAY ([RFC 9113, section 6.8](https://www.rfc-editor.org/rfc/rfc9113#section-6.8)):
#
# ```mermaid
# sequenceDiagram
#     participant C as caller
#     participant S as service
#     C->>S: HEADERS, stream 41
#     S->>C: GOAWAY, last stream 2147483647 (soon)
#     S->>C: PING
#     C->>S: HEADERS, stream 43 (was on its way)
#     C->>S: PING, acknowledged
#     S->>C: GOAWAY, last stream 43 (now)
#     Note over C: new calls go to a new connection
#     S->>C: answers of 41 and 43
#     S->>C: end of the connection
# ```
#
# The number matters. A stream above it was never looked at, so its call may be sent again, whatever it does. Two
# services behind the relay; while 120 calls run, eight at a time, the one that has them leaves.

# %% tags=["nbval-ignore-output"]
goodbye, cut = mishaps.leaving("goodbye"), mishaps.leaving("cut")
assert goodbye == {0: 120} and cut[14] >= 1 and sum(cut.values()) == 120
print(f"with GOAWAY: {goodbye}; cut off: {cut}    (calls by status: 0 is OK, 14 UNAVAILABLE)")

# %% [markdown]
# One cut, and all calls of the connection are lost together. That is the other price of sharing.
#
# Note who can say goodbye: an end of HTTP/2. An L4 balancer that drains a backend can stop sending new connections
# there, and wait, or cut. It cannot write a GOAWAY into a stream that it does not understand. So the order is: take the
# backend out at L4 first, then let the *service* say GOAWAY, then wait for its calls. The other way round, callers that
# reconnect at once are sent back to it. (Our relay noticed, for the connection was refused, and took the other one.)
#
# ## The limit that nobody set
#
# A server tells how many streams it takes at a time, `MAX_CONCURRENT_STREAMS`; the RFC recommends
# [no fewer than 100](https://www.rfc-editor.org/rfc/rfc9113#section-6.5.2). A caller that has reached the limit waits,
# silently: no error, no log line, merely latency. One caller, 16 calls at once, a backend that takes 4:

# %% tags=["nbval-ignore-output"]
crowds = {mode: mishaps.crowd(mode) for mode in ("L4", "L7")}
assert crowds == {"L4": (4, 1), "L7": (16, 4)}
{mode: f"calls at a time: {most}, connections: {connections}" for mode, (most, connections) in crowds.items()}

# %% [markdown]
# The caller kept its one connection. Our proxy opened more, as many as it took. Client libraries mostly do not; a
# [proposal for gRPC](https://github.com/grpc/proposal/blob/master/A105-max_concurrent_streams-connection-scaling.md)
# would change that. By Little's law ([chapter 02](02-choosing-a-backend.ipynb)), one connection carries at most
# `streams / seconds of a call` calls a second. With 100 streams:

# %%
{f"{ms} ms a call": f"{100 / (ms / 1000):,.0f} calls a second" for ms in (5, 50, 500)}

# %% [markdown]
# If a service gets slow, each connection of its callers carries less, and they queue inside of the callers, where the
# service's own metrics do not see them.
#
# ## One lost packet
#
# HTTP/2 removed a queue: behind a slow answer no other has to wait, as frames take turns. Beneath it is still TCP, and
# TCP hands over bytes *in order*. If one packet is lost, everything that was sent after it waits, whatever stream it
# belongs to. This is *head-of-line blocking*. A model: calls of one packet each, fifty in one round trip.

# %%
show.predict(
    "One packet in a hundred is lost. What share of the calls is late, if all are streams of one TCP connection?",
    answer=0.4,
    tolerance=0.1,
    unit="%",
    why="A call waits if any of the fifty packets of the last round trip was lost: 1 - 0.99 to the power of 50.",
)

# %%
losses, ways = [0, 0.001, 0.003, 0.01, 0.02], {"one TCP connection": 1, "six TCP connections": 6, "QUIC": 0}
late = {
    name: [100 * (head_of_line.lateness(p, in_flight=50, connections=n) > 1e-6).mean() for p in losses]
    for name, n in ways.items()
}
assert abs(late["one TCP connection"][3] - 100 * head_of_line.late(0.01, 50)) < 5 and late["QUIC"][3] < 1.5

# %%
show.lines(
    [100 * p for p in losses], late, x_label="packets lost (%)", y_label="calls that are late (%)",
    title="On one TCP connection, everybody waits for everybody's losses",
    alt="Share of late calls against loss. One TCP connection rises steeply to above 60 percent at two percent of "
    "loss, six connections to about 20, QUIC stays near the loss itself.",
)  # fmt: skip

# %% [markdown]
# (The model has no congestion control, its losses come singly, and each is repaired in one round trip. It shows who
# waits for whom, not how long a download takes.) In a data centre with hardly any loss, this does not matter. On a
# phone it does. Mind the proxy: where callers had a connection each, it puts calls of *strangers* onto one connection
# to a backend.
#
# ## A caller who does not read
#
# A second queue is in HTTP/2 itself. Each stream has a *window*: so many bytes may be sent before the receiver says
# that it has read some. And the connection has a window for all streams together ([section
# 5.2](https://www.rfc-editor.org/rfc/rfc9113#section-5.2)). Three answers of 500,000 bytes; the caller reads the second
# and the third, and never the first.

# %%
cases = {
    "65,535 for each stream and for all": windows.progress(stream=65_535, connection=65_535),
    "65,535 for each, a million for all": windows.progress(stream=65_535, connection=1_000_000),
    "262,144 for each, 65,535 for all": windows.progress(stream=262_144, connection=65_535),
}
whole = [read == {1: 0, 3: 500_000, 5: 500_000} for read in cases.values()]
assert whole == [False, True, False]
rows = [(name, *(f"{n:,}" for n in read.values())) for name, read in cases.items()]
show.table(rows, ("windows", "first", "second", "third"), caption="Bytes read when nothing moves any more")

# %% [markdown]
# In the first row, the answer that nobody reads has used up the window of all, and the two others stand still for ever.
# These are the values that a connection begins with: 65,535 for each stream *and* for the connection
# ([section 6.9.2](https://www.rfc-editor.org/rfc/rfc9113#section-6.9.2)). Larger windows for streams, the usual tuning,
# do not help. The window of the connection has to be larger than that of a few streams together, and SETTINGS cannot
# change it: it takes a WINDOW_UPDATE.
#
# In a proxy this gets worse. Each caller who does not read leaves a stream standing on the connection to the backend,
# which he shares with strangers. A proxy has to notice. Three who do not read, and one who does:

# %% tags=["nbval-ignore-output"]
status, connections = mishaps.strangers(3)
assert status == 0 and connections > 1
print(f"the one who reads: status {status}; connections to the backend: {connections}")

# %% [markdown]
# Ours stops using a connection when unread streams hold half of its window: whoever comes next goes to another one.
#
# ## Deadlines and second attempts
#
# A gRPC call can carry its *deadline*, the time that is left, in `grpc-timeout`. A relay passes it on without knowing;
# caller, proxy and service can each enforce it. A call whose work takes five times as long as it may:

# %% tags=["nbval-ignore-output"]
late_calls = {mode: mishaps.too_late(mode) for mode in ("L4", "L7")}
assert set(late_calls.values()) == {(4, True)}
{mode: f"status {status}, backend was told to stop: {told}" for mode, (status, told) in late_calls.items()}

# %% [markdown]
# Status 4 is DEADLINE_EXCEEDED. RST_STREAM ends this one stream and leaves the connection alone; HTTP/1.1 would have to
# close it. Whether the *code* behind stops working is its own business: a handler must ask. The deadline is one for all
# attempts together ([gRPC retries](https://github.com/grpc/proposal/blob/master/A6-client-retries.md)), including the
# time in queues.
#
# Now a backend does the work and dies before it answers. What does the caller see, and what if it tries again on
# UNAVAILABLE, as many configurations say?

# %% tags=["nbval-ignore-output"]
died = {(mode, tries): mishaps.dying(mode, tries) for mode in ("L4", "L7") for tries in (1, 2)}
assert all(seen == ((14, 1) if tries == 1 else (0, 2)) for (_, tries), seen in died.items())
show.table([(*case, *seen) for case, seen in died.items()], ("behind", "attempts", "status", "times done"))

# %% [markdown]
# "UNAVAILABLE means that nothing happened" is a misconception. [Its
# definition](https://grpc.github.io/grpc/core/md_doc_statuscodes.html) warns that it is not always safe to retry. Safe
# are streams *refused*: above the number of a GOAWAY, or reset with REFUSED_STREAM. gRPC repeats those by itself. A
# proxy is in the same position as in [chapter 09](09-inside-the-proxy.ipynb): a gRPC call is a POST, and ours does not
# send one twice unless it never left.
#
# ## HTTP/2 outside, HTTP/1.1 inside
#
# Many proxies speak HTTP/2 to the world and HTTP/1.1 to backends. That is a fine way to modernise an old service. What
# becomes of 16 calls at once?

# %% tags=["nbval-ignore-output"]
inner = {name: mishaps.inside(protocol) for name, protocol in {"HTTP/2 inside": "h2c", "HTTP/1.1 inside": "h1"}.items()}
assert inner["HTTP/2 inside"] == (0, 1) and inner["HTTP/1.1 inside"] == (2, 16)
{name: f"connections: {seen.connections}, status of all calls: {seen.status}" for name, seen in inner.items()}

# %% [markdown]
# Sixteen connections: multiplexing ends at the proxy, and inside you need a [pool](09-inside-the-proxy.ipynb). And
# status 2, UNKNOWN, for every call. The messages arrived, but gRPC's outcome is in the *trailers*, and an HTTP/1.1
# answer with a Content-Length has no place for them. (With chunks it could have one; little software uses it. gRPC-Web,
# made for browsers, puts the outcome into the [body](https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-WEB.md) for
# that reason.) So for gRPC it has to be HTTP/2 all the way; for pages and JSON it need not.
#
# There is a danger in the translation. In HTTP/2, frames say where a body ends, and a value may hold any byte. HTTP/1.1
# says both with text that the client chose. Here is a careless gateway, and behind it the lenient reader of
# [chapter 12](12-the-gateway.ipynb):

# %%
lying = downgrade.lines((b"content-length", b"0")), two_readers.INNER
broken = downgrade.lines((b"x", b"y\r\ntransfer-encoding: chunked")), two_readers.LAST_CHUNK + two_readers.INNER
print(downgrade.careless(*lying).decode())
[two_readers.requests(downgrade.careless(*request), two_readers.BACK) for request in (lying, broken)]

# %% [markdown]
# One request outside, two inside, and no rule of the gateway has seen `/admin`. It is request smuggling again, through
# a [downgrade](https://portswigger.net/web-security/request-smuggling/advanced/http2-downgrading). Through the real
# proxy:

# %%
assert downgrade.through(downgrade.lines((b"content-length", b"2")), b"ok").seen == 1
[downgrade.through(*request) for request in (lying, broken)]

# %% [markdown]
# An honest request passes, both others are reset, and nothing reaches the backend. Either speak HTTP/2 on both sides,
# or judge each head by what HTTP/1.1 can carry *before* you write it.
#
# ## What reading costs
#
# The relay moves bytes, the proxy reads each head, decides and writes another. We take the CPU time of the thread in
# the middle, with one call at a time and with 48 at once: over HTTP/2 on one connection, over HTTP/1.1 on 48.

# %% tags=["nbval-ignore-output"]
prices = {at_once: stream_prices.costs(at_once) for at_once in (1, 48)}
rows = [(way, *(f"{prices[n].ratio(way):.1f}" for n in prices)) for way in stream_prices.WAYS]
show.table(rows, ("in the middle", "one at a time", "48 at once"), caption="CPU time for a call; the relay is 1")

# %% tags=["nbval-ignore-output"]
both, old = "HTTP/2 to HTTP/2", "HTTP/1.1 to HTTP/1.1"
least = {n: {way: min(taken) for way, taken in seen.samples.items()} for n, seen in prices.items()}
further = {n: {"relay": one[both] / one["relay"], "HTTP/1.1": one[both] / one[old]} for n, one in least.items()}
assert further[1]["relay"] > 1.5 and further[48]["relay"] > further[1]["relay"] / 1.3  # a busy machine blurs this
assert further[1]["HTTP/1.1"] > 1 and further[48]["HTTP/1.1"] < 1.3 * further[1]["HTTP/1.1"]
print(f"against the relay {further[1]['relay']:.0f} and {further[48]['relay']:.0f} times, "
      f"against HTTP/1.1 {further[1]['HTTP/1.1']:.1f} and {further[48]['HTTP/1.1']:.1f} times")  # fmt: skip

# %% [markdown]
# Two lessons. For the relay, calls that come together are one piece of bytes, read and written at once. The proxy saves
# system calls, too, but must understand each call. So the busier a connection, the further apart the two are: several
# times for single calls, an order of magnitude when many share. And HTTP/2 costs our proxy more than HTTP/1.1, most of
# all for single requests; the gap shrinks as streams share wake-ups. What HTTP/2 saves is connections, and waiting. It
# never was a discount on CPU. (Our relay and our proxy are Python. In C both are far cheaper; what one of them does for
# each wake-up and the other for each call stays so.)
#
# ## QUIC, in short
#
# *QUIC* ([RFC 9000](https://www.rfc-editor.org/rfc/rfc9000)) brings streams, encryption and loss repair over UDP,
# HTTP/3 is HTTP over it.
#
# - **Head-of-line blocking.** Each stream has an order of its own, so a lost packet delays those whose bytes it carried
#   ([RFC 9114, section 1.1](https://www.rfc-editor.org/rfc/rfc9114#section-1.1)). HPACK would have brought the waiting
#   back, since its table needs every head in order; so HTTP/3 has another,
#   [QPACK](https://www.rfc-editor.org/rfc/rfc9204).
# - **Connection ids.** A connection is not named by addresses and ports but by ids, and survives a change of the
#   client's address ([sections 5.1 and 9](https://www.rfc-editor.org/rfc/rfc9000#section-5.1)). A balancer that hashes
#   addresses and ports sends it elsewhere when that happens. One that reads the id, which is
#   [readable](https://www.rfc-editor.org/rfc/rfc8999), can find its backend again, if the backend has put a hint
#   into it ([QUIC-LB](https://datatracker.ietf.org/doc/draft-ietf-quic-load-balancers)).
# - **What L4 sees of it** is UDP datagrams, and fewer facts than of TCP: acknowledgements and the end of a connection
#   are encrypted ([RFC 9312](https://www.rfc-editor.org/rfc/rfc9312)). And *all streams of a connection still go to one
#   backend*. QUIC cures waiting, not pinning.
#
# ## What breaks it
#
# - **Two balancers in a row.** L4 in front of L7 proxies: calls are now even over backends, and connections are uneven
#   over *proxies*. The problem has moved one floor up.
# - **A mesh with sidecars.** One proxy beside each caller is client-side balancing in other words, with as many rows as
#   there are callers.
# - **One stream that is the load.** A call that streams all day is pinned by nature, at L7 as well. Only its ends can
#   cut it into smaller ones.
# - **Balancing by count.** Calls differ. Ten cheap ones and ten dear ones are even on paper. Least outstanding
#   ([chapter 02](02-choosing-a-backend.ipynb)) helps; L4 counts connections, which say nothing here.
# - **Addresses that grow old.** A caller that resolved the name once knows yesterday's backends. Ageing cures that,
#   too.
#
# ## Summary
#
# - L4 is asked once for each connection. All streams of it go where it went.
# - A stream cannot be moved without being read: HPACK ties each head to all heads before it.
# - Jain's index at L4 is about n / (n + N - 1). With far more equal connections than backends, gRPC behind L4 is even.
# - Count the connections that carry traffic. A skewed fleet is smaller than it looks.
# - Proxy, client side, subset, ageing: all four work, each has its own bill. Ageing spreads over time, not at a moment.
# - GOAWAY ends a connection without losing a call, and only an end of HTTP/2 can send it.
# - Sharing has prices: one cut, one lost packet, one reader who does not read, one limit of streams hit all calls.
# - UNAVAILABLE does not say that nothing was done. A refused stream does.
#
# ## Exercises
#
# 1. Forty equal callers, one connection each, twenty backends. What is Jain's index about? How many connections each
#    for 0.95?
#    <details><summary>Solution</summary>
#    40 / (40 + 19) is 0.68. For 0.95, n must be 19 · 19 = 361: nine connections each, as good as.</details>
# 2. L4 with "least connections" instead of a hash: build the heat map's first row in your head. What does it cure, and
#    what not?
#    <details><summary>Solution</summary>
#    Ten connections on ten backends are then even, from the start. It cures the luck, not the pinning: one caller is
#    still on one backend, rates are still unequal, and after a scale-out all *new* connections go to the new backends
#    first, which may be too many at once.</details>
# 3. Predict p99 of `pinning.trial("L4", clients=100, connections=16, backends=10)`: nearer to L7's or to L4's in the
#    table? Then run it.
#    <details><summary>Solution</summary>
#    About 12: near client side's. Sixteen hundred draws are nearly even. What is left is chance from call to call, for
#    nobody takes turns.</details>
# 4. Your service sets MAX_CONNECTION_AGE to one minute, and some calls stream for an hour. What do its connections look
#    like after a day?
#    <details><summary>Solution</summary> Each stream keeps an old connection open by itself, and new calls go to
#    others: many connections with one call each. The proposal names this, and a grace period ends it by cutting those
#    calls.</details>
# 5. In `windows.progress`, find the smallest connection window (streams: 65,535) with which both other answers arrive.
#    <details><summary>Solution</summary>
#    98,303: the 65,535 that the unread stream can hold, and half as much again, for our end gives back what was read
#    when it is half of a stream's window.</details>
#
# ## Interview questions
#
# **"We moved to gRPC and one pod is on fire. Why?"**
# *Weak:* "The load balancer is broken." *Strong:* one connection for each caller, placed once; asks how many callers
# there are, how unequal, and how long connections live. Offers cures with their prices.
#
# **"So gRPC needs L7?"**
# *Weak:* "Yes." *Strong:* for a decision by call, somebody has to read calls: a proxy or the caller itself. With very
# many equal connections L4 is even enough. Scaling out is a separate problem, and ageing solves it.
#
# **"Why can't the L4 balancer just move a stream?"**
# *Weak:* "It isn't smart enough." *Strong:* the frames are in one TCP byte stream, maybe encrypted; the head refers to
# a table that only this connection's ends have; numbers and windows are the connection's. Moving means ending HTTP/2.
#
# **"How do you take a gRPC server out of service?"**
# *Weak:* "SIGTERM." *Strong:* out of the balancer first, then GOAWAY twice with a PING between, wait for calls, a grace
# for long ones, then end. Knows that L4 cannot say GOAWAY for it.
#
# **"Latency went up and the servers are idle. HTTP/2 is in use."**
# *Weak:* "Network." *Strong:* callers queue at MAX_CONCURRENT_STREAMS, or a connection's window is held by a stream
# that nobody reads, or loss on a shared connection. Says which number would tell them apart.
#
# ## Sources
#
# - [RFC 9113](https://www.rfc-editor.org/rfc/rfc9113): HTTP/2. [RFC 7541](https://www.rfc-editor.org/rfc/rfc7541):
#   HPACK.
# - [RFC 9000](https://www.rfc-editor.org/rfc/rfc9000): QUIC. [RFC 9114](https://www.rfc-editor.org/rfc/rfc9114):
#   HTTP/3. [RFC 9204](https://www.rfc-editor.org/rfc/rfc9204): QPACK. [RFC
#   8999](https://www.rfc-editor.org/rfc/rfc8999): what stays readable of QUIC.
# - gRPC: [over HTTP/2](https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md), [load
#   balancing](https://github.com/grpc/grpc/blob/master/doc/load-balancing.md), [server-side connection
#   management](https://github.com/grpc/proposal/blob/master/A9-server-side-conn-mgt.md),
#   [retries](https://github.com/grpc/proposal/blob/master/A6-client-retries.md), [status
#   codes](https://grpc.github.io/grpc/core/md_doc_statuscodes.html).
# - Kubernetes: [gRPC load balancing without
#   tears](https://kubernetes.io/blog/2018/11/07/grpc-load-balancing-on-kubernetes-without-tears/).
# - nginx: [proxy](https://nginx.org/en/docs/http/ngx_http_proxy_module.html#proxy_http_version) and
#   [gRPC](https://nginx.org/en/docs/http/ngx_http_grpc_module.html).
# - R. Jain, D. Chiu, W. Hawe: [A quantitative measure of fairness](https://arxiv.org/abs/cs/9809099), 1984.
# - PortSwigger: [HTTP/2
#   downgrading](https://portswigger.net/web-security/request-smuggling/advanced/http2-downgrading).
