# ---
# book:
#   title: Who is alive, who may leave
#   question: How does a balancer find out that a server is gone, and how does a server go without anybody noticing?
#   tier: 0
#   minutes: 60
#   memory_mb: 500
#   after: [inside-the-proxy]
# ---

# %% [markdown]
# ## Three evenings
#
# *Tuesday.* One checkout in four fails, for forty minutes. The balancer's page shows four servers, all green. One of
# them has hung: the process is there, its port is open, and nobody is home.
#
# *Wednesday.* The checks are stricter now. A server loses its power supply. It takes half a minute until the page
# shows three green servers and a red one, and some thousands of customers have seen an error by then.
#
# *Thursday.* Nobody is ill. A new version is rolled out, one server after the other. Draining is switched on,
# somebody looked twice. At each step a handful of customers get a 502.
#
# A balancer has to know who is alive. It can only ask, and asking takes time. **How does it find out that a server is
# gone, and how does a server go without anybody noticing?**

# %%
import socket

import numpy as np

from lbcore import show
from lbcore.l7.pools.health import Health
from lbcore.l7.pools.options import HttpProbeOptions, OutlierOptions, RetryOptions, TcpProbeOptions, TimeoutsOptions
from lbcore.l7.pools.pool import Pool
from lbcore.measure import counted, leaked, leaving
from lbcore.sim import draining, outage
from lbcore.testbed import aside, callers

# %% [markdown]
# ## What a check asks
#
# A *health check* is a small request of the balancer's own, sent every few seconds. It can stop at the first step (does
# somebody take the connection?) or ask for a page and read the answer. Tuesday's server had hung. In one line, that is
# a socket which listens, in a program that never comes back to it:

# %%
show.quiz(
    "A program hangs. What does a check find that opens a TCP connection to it and closes it again?",
    {
        "connection refused": "That is said for a port on which nobody listens. Here somebody does, and is busy.",
        "no answer": "To the connection itself there is one: the handshake is done by the kernel, not by the program.",
        "a connection, all is well": "The kernel takes connections for the program, up to the length of its queue.",
    },
    correct="a connection, all is well",
)

# %%
with socket.create_server(("127.0.0.1", 0)) as hung:
    answer = aside.run(callers.ask(hung.getsockname(), b"GET / HTTP/1.1\r\nhost: a\r\n\r\n", seconds=0.2))
assert answer == callers.SILENCE  # a connection that was not taken would have raised an error
answer

# %% [markdown]
# Connected at once, and then silence. Now three ways to be ill, and three checks. "Refuses" is a process that is gone.
# "Answers 503" is one that has lost its database and says so to everybody, except on `/health`. There it says "here I
# am", for that is all its author thought of.

# %%
probes = {"TCP": TcpProbeOptions()} | {f"GET {path}": HttpProbeOptions(path=path) for path in ("/health", "/")}
found = {condition: leaked.verdicts(condition, probes) for condition in ("", *outage.FAULTS)}

# %%
words = {True: "well", False: "ill"}
rows = [(name or "works", status, *(words[not why] for why in said.values())) for name, (status, said) in found.items()]
assert [row[2:] for row in rows] == [("well",) * 3, ("ill",) * 3, ("well", "ill", "ill"), ("well", "well", "ill")]
show.table(rows, ("the server", "a client gets", *probes), caption="What each check says of it")

# %% [markdown]
# A check sees what it asks for. The rule is short: **take the check that fails when requests would.** And a page
# `/health` that the balancer answers by itself tells about the balancer. Where there are several tiers, each is checked
# by the one in front: the layer 4 balancer asks the proxies, the proxies ask the servers.
#
# "Balancers of layer 4 check by TCP, those of layer 7 by HTTP" is a misconception. How to forward and how to check are
# two settings. AWS's network load balancer forwards at layer 4 and checks by HTTP if told
# ([documentation](https://docs.aws.amazon.com/elasticloadbalancing/latest/network/target-group-health-checks.html)).
# The proxy of this book forwards HTTP, and its checks are by TCP unless you say otherwise.
#
# ## From a bad answer to a verdict
#
# One bad answer proves little: packets get lost, programs pause to collect garbage. So it takes several in a row,
# `fall` of them, to take a server out, and `rise` good ones to take it back.

# %%
show.source(Health.end)

# %% [markdown]
# The price is time. While the count goes on, requests are sent to the server as before. That is the *detection
# window*:
#
# ```mermaid
# sequenceDiagram
#     participant C as clients
#     participant B as balancer
#     participant S as server
#     B->>S: check
#     S->>B: fine
#     Note over S: breaks
#     C->>B: requests
#     B-xS: lost
#     B-xS: check fails, 1
#     C->>B: requests
#     B-xS: lost
#     B-xS: check fails, 2
#     C->>B: requests
#     B-xS: lost
#     B-xS: check fails, 3: out
# ```

# %%
show.predict(
    "A check every 5 s, out after 3 failures in a row. A server's port closes. For how many seconds is it still asked?",
    answer=12.5,
    tolerance=1,
    unit="s",
    why="Until the first check 2.5 s on average, for it breaks at some moment between two. Then two intervals more.",
)

# %% [markdown]
# Let $I$ be the interval and $T$ what a failing check takes: nothing if the port is closed, the check's whole timeout
# if nobody answers. Checks of one server do not overlap. So the window is $U + (fall-1)\max(I,T) + T$, where $U$, the
# time until the next check, is anything from nothing to $I$.

# %%
windows = {takes: (outage.expected_window(5, 3, takes), outage.longest_window(5, 3, takes)) for takes in (0, 2)}
assert windows == {0: (12.5, 15), 2: (14.5, 17)}
rows = [(takes, mean, most, f"{mean * 1000 / 4:,.0f}") for takes, (mean, most) in windows.items()]
show.table(rows, ("a failing check takes (s)", "window (s)", "at most (s)", "requests at 1000/s on 4 servers"))

# %% [markdown]
# Rate times share times window: thousands of requests, with settings that look careful. Is it so? Live: four servers
# behind the proxy, a hundred requests a second, and the first server's process ends. Two failed checks put it out; four
# intervals are tried, each three times, without second attempts. Beside it a model: the same pool, without sockets and
# with a clock that is moved by hand, forty times each.

# %%
once, intervals = RetryOptions(attempts=1), [0.1, 0.2, 0.4, 0.8]
policies = [{"health": outage.checks(interval, 2, timeout=0.1), "retry": once} for interval in intervals]

# %%
model = [outage.leaks("refuses", rate=100, seconds=3, runs=40, **policy).mean() for policy in policies]
assert np.allclose(model, [25 * outage.expected_window(interval, 2) for interval in intervals], rtol=0.25)

# %% tags=["nbval-ignore-output"]
live = [[one.failed for one in leaked.outages("refuses", repeat=3, rate=100, **policy)] for policy in policies]
assert min(live[3]) > max(live[0]) / 2 and np.mean(live[3]) > 2 * np.mean(live[0])
dict(zip(intervals, live, strict=True))

# %% tags=["nbval-ignore-output"]
show.leaks(intervals, 2, 25, model, live)

# %% [markdown]
# A window is seldom the mean, for the moment of the break is chance: that is the band. Live runs may leave it by a
# little: sockets add their milliseconds, and a machine that has other things to do sends less.
#
# So check more often? Each proxy checks each server, and each check may fail for nothing. Say one in a hundred does.
# How often is a healthy server taken out?

# %%
false, day = 0.01, 86_400
rows = [(i, n, outage.expected_window(i, n), false**n * day / i) for i, n in ((5, 3), (1, 3), (5, 1), (1, 1))]
assert rows[0][3] < 0.02 < 100 < rows[2][3]
show.table([(*row[:3], f"{row[3]:,.2f}") for row in rows], ("interval", "failures", "window (s)", "false alarms a day"))

# %% [markdown]
# The count buys quiet, the interval buys speed. One failure and out would be as fast as 1 s and three failures, and
# would raise a false alarm every few minutes. (If bad checks come in bunches, it is worse than this table.)
#
# ## Ask those who ask anyway
#
# A thousand requests a second are a thousand checks a second, and of the right kind. *Passive* checks watch them. Our
# pool calls it ejection: so many failures in a row, and a server is left out for a while. Nobody is asked anything
# extra.

# %%
show.predict(
    "Ejected after 5 failures in a row, no active checks, 100 requests a second. How many requests fail?",
    answer=5,
    tolerance=0.5,
    why="Five, and not more at any rate. What is counted is failures, not seconds.",
)

# %%
rates = [1, 3, 10, 30, 100, 300]
active, passive = {"health": outage.checks(5, 3, 2)}, {"outlier": OutlierOptions(consecutive=5)}
lost = {
    name: [outage.leaks("refuses", rate=rate, seconds=25, runs=3, retry=once, **policy).mean() for rate in rates]
    for name, policy in {"active": active, "passive": passive, "both": active | passive}.items()
}
assert set(lost["passive"][1:]) == {5} and lost["active"][5] > 800 and max(lost["both"]) <= 5

# %%
show.lines(
    rates, lost, x_log=True, y_log=True,
    x_label="requests a second, on four servers", y_label="requests that fail",
    title="Active checks leak by the second, passive ones by the failure",
    alt="Failed requests against the rate, both logarithmic. Active checks: a straight line up, from three at one "
    "request a second to nearly a thousand at 300. Passive ones: flat at five. Both together follow the lower of the "
    "two.",
)  # fmt: skip

# %% [markdown]
# The lines cross where five requests take as long as the window. A busy site learns from its requests, a quiet
# one from its checks. And passive checks see what no check asks for. Here is the server that answers 503 to everybody
# but `/health`, live:

# %% tags=["nbval-ignore-output"]
healthy = outage.checks(0.1, 2, timeout=0.1)  # by TCP
noticed = leaked.outages("answers 503", health=healthy, outlier=OutlierOptions(consecutive=5), retry=once)
assert all(5 <= one.failed <= 8 for one in noticed)
[one.failed for one in noticed]

# %% [markdown]
# (Sometimes one more: it was under way already.) What can it not do? It cannot know before the request does. When a
# server *hangs*, the first failure comes after the first timeout, and until then everything is sent there:

# %%
waits = {t: TimeoutsOptions(head=t) for t in (0.5, 2, 10)}
how = {"rate": 100, "seconds": 25, "runs": 10, "retry": once} | passive
hung = {t: outage.leaks("hangs", timeouts=wait, **how).mean() for t, wait in waits.items()}
assert all(0.9 < hung[t] / (5 + 25 * t) < 1.1 for t in hung)

# %%
show.table(hung.items(), ("timeout of requests (s)", "requests that fail, mean of ten"))

# %% [markdown]
# Five, and rate times share times timeout: the request's timeout takes the place of the window. A timeout of half a
# minute is a detection window of half a minute.
#
# Second, it does not know when a server is well again. An ejection ends by itself, and real requests find out:

# %%
pools = [outage.pool_options(retry=once, **policy) for policy in (passive, active | passive)]
moments = [outage.play(pool, "refuses", rate=40, seconds=95).failed.round().astype(int).tolist() for pool in pools]
assert [len(each) for each in moments] == [15, 5]
dict(zip(("passive", "both"), moments, strict=True))

# %% [markdown]
# Seconds at which a request failed: five at once, five when the ejection of 30 s is over, five after the next one,
# which is twice as long. With active checks beside it, the server stays out until it passes them. **Passive checks are
# for going out, active ones for coming back.** Third, it believes clients. A request that always fails, everywhere,
# makes all servers look ill; so ejection takes out half of a pool at most, and never the last one.
#
# nginx's free version has passive checks alone; one failure puts a server out for 10 s by default, and a single server
# is never put out
# ([upstream](https://nginx.org/en/docs/http/ngx_http_upstream_module.html#max_fails)). Active ones are
# [commercial](https://nginx.org/en/docs/http/ngx_http_upstream_hc_module.html). Envoy has both, and
# [ejects after five](https://www.envoyproxy.io/docs/envoy/latest/intro/arch_overview/upstream/outlier). AWS's network
# load balancer [adds passive ones](https://docs.aws.amazon.com/elasticloadbalancing/latest/network/target-group-health-checks.html),
# except for UDP.
#
# ## A second attempt
#
# "A crash leaks 502s until it is detected." Only if nobody tries again. [Chapter 09](09-inside-the-proxy.ipynb) had the
# rule: what never left may be sent again, what means the same twice also. Active checks as above, 100 requests a
# second:

# %%
tries = {"no retry": {"retry": once}, "second attempt": {}, "and ejection": passive}
cases = [(fault, method) for fault in outage.FAULTS for method in ("GET", "POST")]


def failed(fault, method, policy):
    how = {"rate": 100, "seconds": 25, "before": 10, "runs": 3, "timeouts": TimeoutsOptions(head=2)}
    return round(outage.leaks(fault, method=method, **how, **active, **policy).mean())


table = [(*case, *(failed(*case, policy) for policy in tries.values())) for case in cases]
assert [row[4] for row in table if row[1] == "GET"] == [0, 0, 0] and 0.25 < table[0][3] / table[0][2] < 0.4

# %%
show.table(table, ("the server", "method", *tries), caption="Requests that clients saw fail, mean of three outages")

# %% [markdown]
# Read the first row from the left. A second attempt hides two thirds of the errors, and not all. Why not? The *budget*:
# of the last ten seconds' requests a fifth may be retries (and a few more). One of four servers gone takes a quarter,
# or so it seems. In fact it takes a third: the second attempt takes a turn as well, so the broken server's next turn
# comes one request sooner. The budget lasts for some seconds. With ejection the need ends after five failures, the
# budget is hardly touched, and nobody sees anything.
#
# A refused POST never left, so it is as well off as a GET. One that was sent is not: the last column is what remains,
# and no proxy can do better. And a hang that is hidden is not free: each of those requests *waited* for its timeout
# first.
#
# One trap lies in the choice of servers. A server that refuses at once has no requests in flight, so it looks idle, and
# least connections sends it far more than its share ([chapter 02](02-choosing-a-backend.ipynb)): all the numbers above
# grow. A server that hangs looks busy instead, and is spared.
#
# ## When all seem ill
#
# "Take the check that fails when requests would", so `/health` asks the database. There is one database, for all four
# servers. It pauses for twenty seconds.


# %%
def all_fail(panic):
    pool = Pool.build(outage.pool_options(panic=panic, health=outage.checks(5, 3)), clock=lambda: 0.0)
    for backend in pool.backends:
        for _ in range(3):
            pool.checked(backend, "the database does not answer")
    backend = pool.pick(counted.get("/"))
    return pool.why if backend is None else f"{backend.name} is asked"


{f"panic {share:.0%}": all_fail(share) for share in (0, 0.5)}

# %% [markdown]
# Without more ado the balancer answers 503 to everybody, also to those who wanted a page without any data. And when the
# database is back, the checks need `rise` rounds to believe it. A *panic threshold* says: if so many seem ill, it is
# likely that the check is wrong, and certain that the rest cannot carry the load. So all are asked again. Envoy does
# that below
# [50 %](https://www.envoyproxy.io/docs/envoy/latest/intro/arch_overview/upstream/load_balancing/panic_threshold) by
# default. Better still: a check asks for what this *one* server can lose. What all share has an alarm of its own.
#
# ## Leaving
#
# Now the other direction. A server is to go: a new version, a repair, a smaller fleet. Nobody is surprised, so nothing
# need be lost.

# %%
show.quiz(
    "Four servers run at 80 % of what they can do. You want to take one out. What comes first?",
    {
        "stop new requests to it": "Then the other three get them at once. Can they take them?",
        "stop its process": "What it works on dies with it.",
        "see whether the others can carry the load": "Draining moves load. If there is no room, it moves an outage.",
        "wait for its requests to end": "They never end while new ones come.",
    },
    correct="see whether the others can carry the load",
)

# %%
rest = {n: 0.8 * n / (n - 1) for n in (2, 4, 10)}
assert rest[4] > 1 > rest[10]
{f"{n} servers": f"{load:.0%} on the rest" for n, load in rest.items()}

# %% [markdown]
# So the order is: look at what is left; *drain*, that is, nothing new and what runs may end; wait; stop the process;
# look again. Here is the proxy as an operator has it, by its configuration file (port 0 takes any that is free):

# %%
print(leaving.configuration([("10.0.0.1", 80), ("10.0.0.2", 80), ("10.0.0.3", 80)]).strip())

# %% [markdown]
# `[admin]` opens an endpoint for the operator, on loopback only. `POST /pools/site/10.0.0.1:80/drain` is the order, and
# `GET /pools/site` says when a server is `finished`. We try four ways to exchange a server: stop it; let it close its
# port and finish what it has; drain it, but for a tenth of a second only; drain it as long as it takes. `server.stop`
# is what happens on SIGTERM, with some seconds of grace or with none:

# %%
show.source(leaving.take_out)

# %%
show.quiz(
    "Three servers are exchanged in turn, under load. All requests are POST. Which ways lose requests?",
    {
        "only: stop": "A drain that is too short is followed by the same stop. What still runs is cut.",
        "stop, and a drain of a tenth of a second": "In both, requests that run are cut, and a POST is not sent twice.",
        "none: the proxy tries again": "What was sent and got no answer may have been done. No POST is sent twice.",
    },
    correct="stop, and a drain of a tenth of a second",
)

# %% tags=["nbval-ignore-output"]
ways = ("stop", "drain briefly, then stop", "finish, then stop", "drain, then stop")
deploys = {way: [one.status for one in leaving.deploy(way)] for way in ways}
bad = {way: sum(status != 200 for status in statuses) for way, statuses in deploys.items()}
assert bad["stop"] > 0 and bad["drain, then stop"] == 0 and bad["finish, then stop"] <= bad["stop"]
show.table([(way, len(deploys[way]), bad[way]) for way in ways], ("way", "requests", "failed"))

# %% [markdown]
# The last one is the right one: not a single request. The third is nearly as good, and instructive: the server does not
# tell anybody, but closes its port and finishes its work. New requests are refused, and *refused* ones may be tried
# elsewhere. Without a second attempt they would be errors:

# %% tags=["nbval-ignore-output"]
alone = [one.status for one in leaving.deploy("finish, then stop", more="[pool.retry]\nattempts = 1")]
assert sum(status != 200 for status in alone) > bad["finish, then stop"]
f"{sum(status != 200 for status in alone)} of {len(alone)} failed"

# %% [markdown]
# Thursday was the second way: "draining is on" is half a sentence. On AWS it is on by default, with a window of
# 300 s, anything from 0 to 3600 s
# ([attributes](https://docs.aws.amazon.com/elasticloadbalancing/latest/APIReference/API_TargetGroupAttribute.html)).
# nginx's free version has `drain` since 1.29.6
# ([upstream](https://nginx.org/en/docs/http/ngx_http_upstream_module.html#server)). What goes wrong is a window
# shorter than the requests, or a process that dies on SIGTERM while its window still runs. (A balancer that forwards
# packets can drain as well, as far as it remembers its flows: [chapter 05](05-flows-and-fleets.ipynb).)
#
# ## How long a window?
#
# Requests that take a tenth of a second in the median, some much longer: log-normal, the logarithm has a spread of 1.2.
# Of those that *begin*, one in eight takes more than 0.4 s.

# %%
moments = np.array([0, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 1])
begin, there = draining.begun(moments, 0.1, 1.2), draining.at_work(moments, 0.1, 1.2)
assert round(1 / begin[4]) == 8
f"{begin[4]:.1%} of those that begin last longer than {moments[4]} s"

# %%
show.predict(
    "A drain begins. What share of the requests that run at this moment still run 0.4 s later?",
    answer=0.28,
    tolerance=0.04,
    unit="%",
    why="At any moment, long requests are over-represented among those that run: they are there for longer.",
)

# %% [markdown]
# It is the *inspection paradox* again, which [chapter 13](13-sticky-sessions.ipynb) met with sessions. One often reads
# that a window of $w$ kills a share $1 - F(w)$ of requests, $F$ being the distribution of durations. That is the share
# of those that begin. A drain meets those that *run*, and what is left of them is another distribution:
# $E[(L-w)^+] / E[L]$. Live: three of four servers are drained at once, and we count what they still work on.

# %% tags=["nbval-ignore-output"]
counted_live = leaving.ending(moments, median=0.1, spread=1.2)
assert counted_live[0] == 1 and abs(counted_live - there).mean() < 0.12
counted_live.round(2).tolist()

# %% tags=["nbval-ignore-output"]
show.drains(0.1, 1.2, moments, counted_live)

# %% [markdown]
# A share of what? At $r$ requests a second a server has $r\,E[L]$ of them at work (Little's law), so a deploy kills
# $r\,E[(L-w)^+]$ requests on each server. Find your own window:

# %%
show.explore(
    show.drain_windows,
    hint="which hurts more, ten times the rate or twice the spread? When are 300 s not enough?",
    median=[0.03, 0.1, 0.3, 1.0, 3.0, 10.0],
    spread=[0.3, 0.6, 0.9, 1.2, 1.5, 2.0],
    rate=[5, 50, 500],
)

# %% [markdown]
# ## What never ends
#
# A WebSocket has no answer that would end it, a stream of *server-sent events* neither. Both on a server that drains
# for half a second and is stopped then. The table is what the operator sees, and the last line what the clients heard
# last:

# %% tags=["nbval-ignore-output"]
story, last_words = leaving.streams(0.5, polite=False)
assert [row[1:] for row in story] == [(2, False), (2, False), (2, True)] and set(last_words.values()) == {"cut"}
show.table(story, ("second", "at work", "may be stopped"), caption=f"Last words: {last_words}")

# %% [markdown]
# The window ends, nothing has ended, the server may be stopped, and both are cut. No window is long enough: a chat
# lasts as long as the browser's tab. A longer one only makes deploys slow. The end has to come from the server, which
# alone knows the protocol:

# %% tags=["nbval-ignore-output"]
_, last_words = leaving.streams(0.5, polite=True)
assert set(last_words.values()) == {"bye"}
last_words

# %% [markdown]
# On SIGTERM it says goodbye and ends its streams, and clients connect again, elsewhere. WebSocket has a close frame
# with the code 1001, "going away" ([RFC 6455](https://www.rfc-editor.org/rfc/rfc6455#section-7.4.1)); HTTP/2 has GOAWAY
# ([RFC 9113](https://www.rfc-editor.org/rfc/rfc9113#section-6.8)); a browser's event stream comes back
# [by itself](https://html.spec.whatwg.org/multipage/server-sent-events.html). But ten thousand clients who come back in
# the same second are a new problem. End streams one by one, over the window.
#
# ## To announce takes a window, too
#
# So far an operator told the proxy. Often nobody does: a server gets SIGTERM, and the balancer finds out by itself,
# through its checks. Then leaving is a crash, unless it is announced: `/health` fails first, while everything else goes
# on. For how long? Here checks come ten times a second, three failures count, and there are no second attempts:

# %%
show.quiz(
    "After /health began to fail, when may the server close its port?",
    {
        "at once": "The balancer does not know yet. Every new request is refused.",
        "after the next check": "That is one failure of three. It is asked as before.",
        "after the longest window": "Then the third check has failed, wherever in an interval it all began.",
    },
    correct="after the longest window",
)

# %% tags=["nbval-ignore-output"]
longest = outage.longest_window(0.1, 3)
waits = {wait: leaving.announced(wait, interval=0.1, fall=3) for wait in (0, longest / 2, longest, 2 * longest)}
assert waits[0][0] > 0 and waits[2 * longest][0] == 0
show.table([(f"{wait:.2f}", *seen) for wait, seen in waits.items()], ("waits (s)", "failed", "of"))

# %% [markdown]
# The detection window again, and this time it is good for something. Kubernetes has the same gap in another place. When
# a pod is to end, its removal from the lists of all balancers and its SIGTERM begin *at the same time*, and nobody
# waits for the other ([pod termination](https://kubernetes.io/docs/concepts/workloads/pods/pod-lifecycle/#pod-termination)).
# Hence the odd advice to sleep in `preStop`. The sleep is the announcement's window. And all of it, sleep and drain,
# has to fit into `terminationGracePeriodSeconds`, 30 s by default; after it comes SIGKILL.
#
# A proxy that leaves has the same duties towards whoever stands in front of it. Ours stops listening, answers what is
# under way, and tells each kept connection with its last answer that this was the last one (`Connection: close`).
#
# ## What breaks it
#
# - **The page that is always green.** `/health` without a look at what requests need; or answered by a proxy in front.
# - **The page that takes all down.** `/health` with a look at what all servers share.
# - **Timeouts of requests.** They are the passive detection window. Nobody looks at them as such.
# - **Flapping.** A server that dies under its full share comes back well rested, and dies again. `rise`, and a share
#   that grows slowly (*slow start*), break the circle.
# - **A window nobody waits for.** The balancer drains for minutes, the process supervisor kills after ten seconds.
#
# ## Summary
#
# - A check sees what it asks. A hung program passes every TCP check. How to check and how to forward are two choices.
# - Window: until the next check, then (fall - 1) intervals, then a timeout. Leaks: rate × share × window.
# - Passive checks count failures and not seconds, and see what requests see. They need victims, wait for timeouts, and
#   cannot tell who is well again.
# - A second attempt hides what may be sent twice, within a budget. With ejection the budget lasts.
# - If all seem ill, doubt the check.
# - Leaving: look at what is left, announce, drain longer than the *running* requests last, stop, look again.
# - Streams do not end by waiting. The server says goodbye.
#
# ## Exercises
#
# 1. Ten proxies check 200 servers every second by `GET /health`. How many checks a second does each server answer, and
#    all together? What would you do?
#    <details><summary>Solution</summary>
#    Ten each, 2000 together. Harmless if <code>/health</code> is cheap, not if it asks the database. Let the server
#    find out once a second and remember the answer; or check seldom, and eject by requests.</details>
# 2. `checks(1.0, 3, timeout=3.0)`: what is the longest window when a server hangs? Why is it not
#    interval × failures?
#    <details><summary>Solution</summary>
#    1 + 2·3 + 3 = 10 s (<code>outage.longest_window(1, 3, 3)</code>). Checks do not overlap, so each takes the timeout.
#    A timeout longer than the interval makes the interval meaningless.</details>
# 3. Play a hang with `picker="power_of_two"` and `backends=2`, timeout 2 s, ejection after five, no retry. What is
#    lost? And what with `backends=1`?
#    <details><summary>Solution</summary>
#    Five, and not five plus what is sent in 2 s: a server with one hanging request looks busier than an idle one, and
#    gets the next only when that has timed out. With one server everything is lost: it is never ejected, for there is
#    nobody better.</details>
# 4. Put these in order: SIGTERM; the balancer's list is updated; `/health` fails; the last request ends; the port is
#    closed; SIGKILL. Which two may change places?
#    <details><summary>Solution</summary>
#    SIGTERM, /health fails, list updated, port closed, last request ends, (no) SIGKILL. Port and last request may
#    change places: once the list is updated nobody knocks.</details>
# 5. Reports take ten minutes, at one request a second in all, on five servers. Which window? What else could you do?
#    <details><summary>Solution</summary>
#    Ten minutes and more, and a rollout of five servers takes an hour. Better: answer at once with 202 and a place to
#    look at, do the work in a queue. Then no request is long.</details>
#
# ## Interview questions
#
# **"All health checks are green, and a quarter of the requests fails."**
# *Weak:* "Make the checks more frequent." *Strong:* asks what the check asks. Hung process and TCP check, shallow page,
# a proxy that answers for it. Wants ejection by real requests beside the checks.
#
# **"How many errors does a crash cost us?"**
# *Weak:* "None, we have health checks." *Strong:* rate × share × window, gives the window by interval, count and
# timeout, then says what retries hide and what they may not.
#
# **"Should /health test the database?"**
# *Weak:* "Yes, deep checks are better." *Strong:* what one server can lose, yes; what all share, no, or with a panic
# threshold. Separates "restart me" from "send me nothing".
#
# **"Explain connection draining."**
# *Weak:* "The balancer waits 300 seconds." *Strong:* nothing new, what runs ends, within a window; names AWS's default
# and range; compares the window with the longest *running* requests and with the supervisor's grace; brings up streams.
#
# **"We see resets at every deploy although draining is on."**
# *Weak:* "Increase the delay." *Strong:* looks for the process that dies on SIGTERM, the port that closes before the
# balancer knows, the window shorter than requests, kept connections, and streams; each leaves another trace.
#
# ## Sources
#
# - AWS: [NLB health checks](https://docs.aws.amazon.com/elasticloadbalancing/latest/network/target-group-health-checks.html),
#   [target group attributes](https://docs.aws.amazon.com/elasticloadbalancing/latest/APIReference/API_TargetGroupAttribute.html).
# - nginx: [upstream](https://nginx.org/en/docs/http/ngx_http_upstream_module.html),
#   [active checks](https://nginx.org/en/docs/http/ngx_http_upstream_hc_module.html),
#   [proxy_next_upstream](https://nginx.org/en/docs/http/ngx_http_proxy_module.html#proxy_next_upstream).
# - Envoy: [outlier detection](https://www.envoyproxy.io/docs/envoy/latest/intro/arch_overview/upstream/outlier),
#   [panic threshold](https://www.envoyproxy.io/docs/envoy/latest/intro/arch_overview/upstream/load_balancing/panic_threshold).
# - Kubernetes: [pod lifecycle](https://kubernetes.io/docs/concepts/workloads/pods/pod-lifecycle/).
# - [RFC 6455](https://www.rfc-editor.org/rfc/rfc6455), [RFC 9113](https://www.rfc-editor.org/rfc/rfc9113): close frames
#   and GOAWAY.
# - D. R. Cox: *Renewal Theory*, 1962: what is left of what runs.
