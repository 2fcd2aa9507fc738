# ---
# book:
#   title: Choosing a backend
#   question: Ten backends, one request. Who gets it, and what does a poor choice cost everybody else?
#   tier: 0
#   minutes: 45
#   memory_mb: 500
#   after: [what-each-layer-sees]
# ---

# %% [markdown]
# ## The backend that everybody liked
#
# A deploy goes well on nine of ten backends. The tenth starts with a wrong password for its database: it accepts
# connections, and answers every request with an error after one millisecond. The other nine need a hundred. Nobody
# worries. One backend in ten is broken, so one request in ten fails, and somebody will look at it after lunch.
#
# The balancer in front is set to *least connections*: each request goes to the backend with the fewest requests still
# unanswered. That choice was praised in review, since it avoids busy backends.

# %%
from random import Random

import numpy as np

from lbcore import measure, show
from lbcore.balance import disruption, round_robin
from lbcore.balance.jump import Jump
from lbcore.balance.least_connections import LeastConnections
from lbcore.balance.modulo import Modulo
from lbcore.balance.power_of_two import PowerOfTwo
from lbcore.balance.rendezvous import Rendezvous
from lbcore.balance.ring import Ring
from lbcore.sim import queues, rules
from lbcore.testbed import open_loop

# %%
show.predict(
    "Were all well, forty requests would be in flight at any time. What share of them fails now?",
    answer=0.7,
    tolerance=0.1,
    unit="%",
    why="The broken backend is the only one that never has anything to do. This chapter measures it, twice.",
)

# %% [markdown]
# ## Two things a balancer can go by
#
# Every method in this chapter belongs to one of two families.
#
# A **picker** goes by a *key*: some bytes of the request, such as the client's address or the URL, made into one
# number by a hash function. The same key gives the same backend, at every balancer, today and tomorrow. It remembers
# nothing.
#
# A **scheduler** goes by what it *remembers*: whose turn it is, or who is busy. The next request may go anywhere.

# %%
names = [f"10.0.0.{i}:80" for i in range(10)]
picker, scheduler = Rendezvous(names), round_robin.RoundRobin(names)
[picker.pick(12345) for _ in range(4)], [scheduler.pick() for _ in range(4)]

# %% [markdown]
# Both families serve at both layers. What changes is the thing that is placed. A balancer at layer 4 places a
# *connection* once; everything on that connection follows. One at layer 7 places every *request*. With HTTP/2, where
# one connection carries many requests at once, two backends with one connection each may differ greatly in load, and
# "least connections" at layer 4 cannot see it.
#
# ## Taking turns
#
# **Round robin** goes down the list and starts again. It needs one number of memory, and every backend gets the same
# *number* of requests.
#
# Machines differ, so give each a **weight**: a backend of weight four gets four turns for every turn of a backend of
# weight one. The simple way deals the turns out in blocks. The one that nginx uses spreads them: in each round every
# backend earns its weight in credit, the richest is picked, and pays the sum of all weights.

# %%
show.source(round_robin.smooth_turn)

# %%
weights = [4, 2, 1]
smooth = round_robin.SmoothWeighted(["a", "b", "c"], weights)
turns = [smooth.pick() for _ in range(14)]
blocks = np.tile(np.repeat([0, 1, 2], weights), 2)

# %%
fig, ax = show.figure(height=2.3)
for row, sequence in ((1, blocks), (0, turns)):
    for turn, i in enumerate(sequence, 1):
        ax.scatter(turn, row, s=330, marker="s", color=show.PALETTE[i])
        ax.text(turn, row, "abc"[i], color="white", ha="center", va="center", weight="bold")
ax.set(xlabel="turn", ylabel="order", yticks=[0, 1], yticklabels=["smooth", "blocks"], ylim=(-0.6, 1.6))
ax.grid(visible=False)
show.finish(
    fig,
    title="The same shares, without the bursts",
    alt="Two rows of fourteen coloured squares. In blocks: aaaabbc, twice. Smooth: no run of a longer than two.",
)

# %% [markdown]
# Does the order matter, when the shares are the same? That depends on what waiting costs, and for that we need
# queues.
#
# ## A model of waiting
#
# From here to the live test below, results come from a **simulation**, and the code says so: `queues`. Requests
# arrive at random moments, independently of each other (a Poisson stream). Each brings some work; the unit of time is
# the mean work of one request. A backend does one thing at a time, and what cannot start yet waits in line.
# **Utilisation** is the share of time that backends are busy. Every method is run on the *same* arrivals and the same
# work, so differences are due to the method.
#
# A simulation is worth what it can be checked against. If requests are spread at random, queueing theory knows the
# mean wait, $\rho\,(1 + c^2) / (2\,(1 - \rho))$, the Pollaczek-Khinchine formula. It needs the utilisation $\rho$ and
# the **coefficient of variation** (CV) $c$ of the work: standard deviation over mean. CV 0 means all requests cost
# the same; at CV 1 work is exponentially distributed; beyond that, a few giants share the queue with many trifles.


# %%
def waits(load, policy, **how):
    """Waiting time of each request, without the start in which the queues fill."""
    outcome = queues.run(load, policy, **how)
    return outcome.settled(outcome.waiting)


# %%
rows = []
for utilisation, cv in ((0.5, 0), (0.5, 1), (0.8, 0), (0.8, 1), (0.8, 2)):
    simulated = waits(queues.poisson(10, utilisation, 300_000, cv=cv, seed=1), "random").mean()
    theory = queues.pollaczek_khinchine(utilisation, cv)
    assert abs(simulated / theory - 1) < 0.1
    rows.append((f"{utilisation:.0%}", cv, f"{theory:.2f}", f"{simulated:.2f}"))
show.table(rows, ("utilisation", "CV of work", "mean wait in theory", "mean wait simulated"))

# %% [markdown]
# They agree, so we may ask the simulation what the formula cannot answer. First the open question about the two
# orders, on three machines whose speeds are as 4 : 2 : 1. Some configurations write such weights as 40, 20 and 10.

# %%
load = queues.poisson(3, 0.7, 210_000, cv=0.5, seed=2)
speeds = 3 * np.array(weights) / sum(weights)
orders = {"smooth": turns, "blocks of 4, 2, 1": blocks, "blocks of 40, 20, 10": np.repeat([0, 1, 2], [40, 20, 10])}
order_wait = {name: waits(load, np.resize(order, 210_000), speeds=speeds).mean() for name, order in orders.items()}

# %%
assert 1.05 < order_wait["blocks of 4, 2, 1"] / order_wait["smooth"] < 2
assert order_wait["blocks of 40, 20, 10"] > 3 * order_wait["smooth"]
show.table([(name, f"{wait:.2f}") for name, wait in order_wait.items()], ("order", "mean wait"))

# %% [markdown]
# The order alone makes requests wait: a burst fills one queue while the others run dry. In short blocks that costs a
# little, in long ones a lot. The smooth order does not care in which units the weights were written.
#
# ## When is round robin enough?
#
# It is usual to say that round robin is fine when requests cost the same, and least connections better when they do
# not. Both halves can be measured. Backends at 80 % utilisation, and the variation of the work as the only thing that
# changes. Two more methods join: **random**, and the **power of two choices**, which draws two backends at random and
# takes the one with fewer unanswered requests. Before you look: at CV 0, who wins?

# %%
cvs = [0, 0.5, 1, 2, 3]
loads = {cv: queues.poisson(10, 0.8, 200_000, cv=cv, seed=3) for cv in cvs}
mean_wait = {policy: [waits(loads[cv], policy).mean() for cv in cvs] for policy in queues.POLICIES}

# %%
show.lines(
    cvs, mean_wait, y_log=True,
    x_label="coefficient of variation of the work", y_label="mean wait (units of mean work)",
    title="Equal costs: take turns. Unequal costs: look who is busy (simulation)",
    alt="Mean wait against the variation of the work, log scale, four rising lines. Round robin starts lowest of all "
    "and climbs towards random; least connections is lowest from CV 0.5 on, power of two between.",
)  # fmt: skip

# %%
turn_wait, look_wait, random_wait = (mean_wait[p] for p in ("round robin", "least connections", "random"))
assert turn_wait[0] < 0.9 * look_wait[0]  # CV 0
assert turn_wait[3] > 5 * look_wait[3] and turn_wait[3] > 0.7 * random_wait[3]  # CV 2
{cv: min(mean_wait, key=lambda policy, i=i: mean_wait[policy][i]) for i, cv in enumerate(cvs)}

# %% [markdown]
# With equal costs round robin does not merely keep up, it beats least connections: the backend that was served
# longest ago is the one nearest to being free, and ties among equal counts are broken blindly. With unequal costs a
# turn says nothing about work, and round robin drifts towards plain random.
#
# Means hide the requests that people complain about. So look at the wait that one request in a hundred exceeds (p99),
# and move the load yourself.


# %%
def tail(utilisation=0.8, cv=2.0, backends=10):
    """p99 of the wait under each policy, as bars."""
    load = queues.poisson(backends, utilisation, 100_000, cv=cv, seed=4)
    fig, ax = show.figure(height=2.6)
    for policy, colour, hatch in zip(queues.POLICIES, show.PALETTE, show.HATCHES, strict=False):
        ax.barh(policy, np.percentile(waits(load, policy), 99), color=colour, hatch=hatch)
    ax.invert_yaxis()
    ax.set(xlabel="p99 of the wait (units of mean work)", ylabel="policy", xscale="symlog", xlim=(0, 1000))
    alt = f"Bars of the p99 wait of four policies at utilisation {utilisation}, CV {cv}, {backends} backends."
    return show.finish(fig, title="Who is not looked at waits in the longest line (simulation)", alt=alt)


show.explore(
    tail,
    hint="cv 0, then 3; then utilisation 0.95 with 50 backends: which bars hardly move?",
    utilisation=(0.3, 0.95, 0.05),
    cv=(0.0, 3.0, 0.5),
    backends=(2, 50),
)

# %% [markdown]
# Two cautions belong here. HAProxy's manual recommends `leastconn` for long sessions rather than for short HTTP
# requests ([configuration manual](https://docs.haproxy.org/3.0/configuration.html#4.2-balance)). Where answers come
# at once, the count is zero nearly everywhere nearly always, and says little. And our backends do one thing at a
# time; a backend that shares its processor among all its requests forgives giants more easily (exercise 1).
#
# ## What a second look is worth
#
# Least connections looks at every backend. How many looks are worth their price? For many backends and exponential
# work there is a formula for the share of queues with at least $k$ requests, when each request takes the shortest of
# $d$: $\lambda^{(d^k-1)/(d-1)}$ at utilisation $\lambda$
# ([Mitzenmacher 2001](https://www.eecs.harvard.edu/~michaelm/postscripts/tpds2001.pdf)). With one choice it is
# $\lambda^k$. With two, $k$ sits in an exponent of an exponent.

# %%
load, k = queues.poisson(1000, 0.9, 900_000, seed=5), np.arange(13)
lengths = {d: queues.run(load, d).outstanding(np.linspace(400, 990, 200)) for d in (1, 2, 3)}
tails = {d: np.array([(lengths[d] >= n).mean() for n in k]) for d in lengths}
formula = {d: np.array([queues.mean_field_tail(0.9, d, n) for n in k]) for d in lengths}

# %%
fig, ax = show.figure()
for d in lengths:
    (line,) = ax.plot(k, np.where(tails[d] > 1e-4, tails[d], np.nan), linestyle="", label=f"simulated, {d} looked at")
    ax.plot(k, formula[d], color=line.get_color(), linestyle="-", marker="")
ax.plot([], [], color="grey", linestyle="-", marker="", label="formula")
ax.set(xlabel="queue length k (requests)", ylabel="share of backends with at least k", yscale="log", ylim=(1e-4, 1.5))
ax.legend(frameon=False, loc="lower right")
show.finish(
    fig,
    title="The second look ends long queues (simulated points on the formula's lines)",
    alt="Share of backends with at least k requests, log scale. With one choice a straight line falling slowly to a "
    "quarter at twelve. With two it bends down and is gone beyond six, with three beyond four; the points follow.",
)

# %%
assert all(np.abs(tails[d] - formula[d]).max() < 0.02 for d in lengths)
assert lengths[1].mean() - 0.9 > 5 * (lengths[2].mean() - 0.9)  # 0.9: nobody waits, and this many are being served
{d: f"{lengths[d].mean():.1f} requests at a backend, {(lengths[d] >= 6).mean():.1%} hold 6 or more" for d in lengths}

# %% [markdown]
# The second look takes away most of the waiting, and nearly all long queues. Looking at everybody would take away the
# rest. But two looks cost the same with ten backends and with ten thousand, and the next sections show where looking
# at everybody turns against you. Envoy's *least request* draws two unless told otherwise
# ([Envoy manual](https://www.envoyproxy.io/docs/envoy/latest/intro/arch_overview/upstream/load_balancing/load_balancers)),
# HAProxy's `random` and nginx's `random two` draw two as well
# ([HAProxy manual](https://docs.haproxy.org/3.0/configuration.html#4.2-balance),
# [nginx manual](https://nginx.org/en/docs/http/ngx_http_upstream_module.html#random)).
#
# ## Several balancers, each with its own count
#
# So far one balancer saw everything. In production there are several, and each counts only what it sent itself.
#
# ```mermaid
# flowchart LR
#   C[clients] --> A[balancer 1<br/>my counts: 1 0 0]
#   C --> B[balancer 2<br/>my counts: 0 2 0]
#   A --> X[backend: 1 + 0]
#   A --> Y[backend: 0 + 2]
#   B --> Y
#   B --> Z[backend: 0 + 0]
# ```
#
# Balancer 1 believes that the second and third backend are equally idle. One of them has two requests.

# %%
many = [1, 2, 5, 10, 20, 50, 100]
load = queues.poisson(10, 0.8, 200_000, seed=6)
chance = waits(load, "random").mean()
split = {policy: [waits(load, policy, balancers=n).mean() for n in many] for policy in queues.POLICIES[1:]}

# %%
show.lines(
    many, {"random": [chance] * len(many), **split}, x_log=True,
    x_label="balancers", y_label="mean wait (units of mean work)",
    title="The more balancers share the traffic, the less each one knows (simulation)",
    alt="Mean wait against the number of balancers, one to a hundred. Round robin, least connections and power of two "
    "start far apart and rise together towards the level line of random choice.",
)  # fmt: skip

# %%
assert split["least connections"][-1] > 5 * split["least connections"][0]
assert all(0.6 * chance < values[-1] < 1.05 * chance for values in split.values())
{p: f"one: {values[0] / chance:.0%} of random, a hundred: {values[-1] / chance:.0%}" for p, values in split.items()}

# %% [markdown]
# Nothing dramatic happens, and that is the trap: everything decays towards random, quietly. A count of one's own
# connections is a good measure only while one's own connections are a good part of all. Round robin decays as well: a
# hundred rotations that know nothing of each other mix into chance.
#
# ## The herd
#
# So let the balancers share: a board shows the queue length of every backend, all of them read it, and it is renewed
# every few units of time. Everybody now knows everything, a little late.

# %%
time = np.linspace(0, 40, 800)
fig, axes = show.figure(2, 1, height=4.6, sharex=True, sharey=True)
for ax, policy in zip(axes, ("least connections", "power of two"), strict=True):
    length = queues.run(load, policy, refresh=4.0).outstanding(5000 + time)
    ax.plot(time, length, color="#999999", linestyle="-", linewidth=0.8, marker="")
    ax.plot(time, length.max(axis=1), color=show.PALETTE[1], linestyle="-", marker="")
    ax.set_xticks(range(0, 41, 4))
    ax.set_ylabel("requests")
    ax.set_title(policy, loc="left", size=10)
axes[1].set_xlabel("time (units of mean work); a grid line at each renewal of the board")
show.finish(
    fig,
    title="Everybody runs to whoever was idle when the board was written (simulation)",
    alt="Requests at each of ten backends over forty units of time, thin grey lines, the longest queue in red. Least "
    "connections: one queue after another shoots up within a renewal and drains slowly. Power of two: all stay lower.",
)

# %%
delays = [0, 0.5, 1, 2, 4, 8]
late = {p: [waits(load, p, refresh=t).mean() / chance for t in delays] for p in ("least connections", "power of two")}
assert late["least connections"][-1] > 1.5 and late["power of two"][-1] < 0.9
rows = [(policy, *(f"{value:.2f}" for value in values)) for policy, values in late.items()]
show.table(rows, ("mean wait, random = 1", *(f"renewed every {t}" for t in delays)))

# %% [markdown]
# Let the board be as old as a few requests take, and least connections becomes worse than not looking at all. The
# cure is not better information but a little randomness. Two balancers that draw two backends each rarely draw the
# same two, so no great herd forms
# ([Mitzenmacher 2000](https://www.eecs.harvard.edu/~michaelm/abstracts/tpds2000.html)).
#
# > **Misconception.** "More information makes a better choice." Old information that everybody acts on at once makes
# > the worst one.
#
# ## Slow machines, and the broken one
#
# Give half of the backends a third of the other half's speed, and tell nobody.

# %%
load = queues.poisson(10, 0.7, 200_000, seed=7)
to_slow = {p: queues.run(load, p, speeds=[0.5] * 5 + [1.5] * 5).counts[:5].sum() / 2e5 for p in queues.POLICIES}
assert to_slow["least connections"] < 0.35 < 0.49 < to_slow["round robin"]
{policy: f"{share:.0%} of requests to the slow half" for policy, share in to_slow.items()}

# %% [markdown]
# The slow half can do a quarter of all work. Round robin and random give it half of the requests, and its queues grow
# without end, while the fast half idles. Weights of 1 and 3 would mend it; somebody has to know and to keep them
# true. A count of unanswered requests finds out by itself: a slow backend keeps its requests longer, so it looks
# busier.
#
# Now turn that virtue around. A backend that fails at once keeps nothing, so it never looks busy. Back to the deploy
# at the start: backends that mostly wait for a database, a hundred times slower than the error page of the broken
# one.

# %%
load = queues.poisson(10, 4, 100_000, seed=8)
waiting_for_others = {"concurrency": 500, "processors": np.inf}  # any number at once: none slows another down
failed = {p: queues.run(load, p, broken={9: 0.01}, **waiting_for_others).counts[9] / 100_000 for p in queues.POLICIES}
{policy: f"{share:.0%} of requests fail" for policy, share in failed.items()}

# %% [markdown]
# ## The same on real connections
#
# That was a model. Here are ten real backends on 127.0.0.1, a real connection for each request, and the schedulers of
# `lbcore.balance` in between. Nine backends answer after a tenth of a second, the tenth at once. The arrivals do not
# wait for the answers.

# %%
show.source(open_loop.balance)

# %% tags=["nbval-ignore-output"]
answers, arrivals = [0.1] * 9 + [0.0], np.cumsum(np.random.default_rng(9).exponential(1 / 400, 500))
schedulers = [round_robin.RoundRobin(names), PowerOfTwo(names, random=Random(9)), LeastConnections(names)]
real = {type(one).__name__: (open_loop.drive(one, answers, arrivals) == 9).mean() for one in schedulers}
assert real["LeastConnections"] > 0.5 and abs(real["PowerOfTwo"] - 0.2) < 0.08 and real["RoundRobin"] == 0.1
{name: f"{share:.0%} of requests fail" for name, share in real.items()}

# %% [markdown]
# One backend in ten is broken, and well over half of all requests fail. It is a **black hole**, and Google's
# engineers report having learned of it the hard way
# ([SRE book](https://sre.google/sre-book/load-balancing-datacenter/)). Round robin loses its one in ten. The power of
# two choices loses two in ten and hardly more, because the hole has to be drawn to be chosen: another reason to like
# it.
#
# The mistake is to take *few unanswered* for *has capacity*. What helps: count an error as an unanswered request for
# a while (exercise 2), and take a backend out when its answers are errors (this is called *outlier
# ejection*).
#
# ## Choosing by key
#
# Sometimes the choice should *not* depend on load. A cache is only useful to requests for what it holds; a session in
# one backend's memory needs that backend; packets of one connection, at a balancer without memory, must all go to the
# same place. So hash a key, and let the number decide. Modulo is the obvious way: `hash % number_of_backends`. What
# happens when that number changes?

# %%
show.quiz(
    "Ten backends, chosen by hash % 10. One dies, and it becomes hash % 9. Which keys change their backend?",
    {
        "those of the dead backend, one in ten": "That is what must move. Modulo moves far more: the divisor changed.",
        "about half": "A key stays only when both remainders name the same backend, and that is rare.",
        "nearly all": "A key stays only when both remainders name the same backend: about one key in ten.",
    },
    correct="nearly all",
)

# %% [markdown]
# Keys of the dead backend have to move. Every other move is **needless**: the backend was alive, had the state, and
# lost the key all the same. Three methods keep needless moves at zero, each in its way.
#
# - **Ring** (consistent hashing): each backend stands at many points of a circle; a key belongs to the next point
#   clockwise ([Karger et al. 1997](https://doi.org/10.1145/258533.258660)). Take away a backend's points, and only
#   the arcs that ended there change hands.
# - **Rendezvous** (highest random weight): each backend draws a number for the key, by hashing both together; the
#   highest draw wins ([Thaler and Ravishankar 1998](https://doi.org/10.1109/90.663936)). Take away a loser, and
#   nothing changes.
# - **Jump**: walks through the history "one bucket, two buckets, three", and asks when the key would have moved
#   ([Lamping and Veach 2014](https://arxiv.org/abs/1406.2294)). Buckets are numbers, so only the last one can leave.

# %%
keys = np.random.default_rng(10).integers(0, 2**64, 100_000, dtype=np.uint64)
methods = {"modulo": Modulo, "ring": Ring, "rendezvous": Rendezvous, "jump": Jump}
fourth_gone, last_gone, one_more = names[:3] + names[4:], names[:-1], [*names, "10.0.0.10:80"]
changes = {"the fourth of ten leaves": fourth_gone, "the last leaves": last_gone, "an eleventh joins": one_more}

# %%
moves = {
    (change, name): disruption.compare(method(names), method(after), keys)
    for change, after in changes.items()
    for name, method in methods.items()
}

# %%
fig, axes = show.figure(1, 3, height=2.6, sharey=True)
for ax, change in zip(axes, changes, strict=True):
    needless = np.array([moves[change, name].needless_share for name in methods])
    needed = np.array([moves[change, name].moved_share for name in methods]) - needless
    ax.barh(list(methods), needed, color=show.PALETTE[0], label="had to move")
    ax.barh(list(methods), needless, left=needed, color=show.PALETTE[1], hatch="//", label="needless")
    ax.set(xlabel="share of keys", xlim=(0, 1))
    ax.set_title(change, loc="left", size=10)
axes[0].set_ylabel("method")
axes[1].legend(frameon=False, loc="upper right")
show.finish(
    fig,
    title="Ring and rendezvous move what must move; jump depends on who leaves",
    alt="Three groups of bars. Modulo moves most keys each time, nearly all needlessly. Ring and rendezvous move only "
    "what has to move, about a tenth. Jump is like them for the last backend and for a new one, bad for the fourth.",
)

# %%
share = {key: found.needless_share for key, found in moves.items()}
assert all(share[change, name] == 0 for change in changes for name in ("ring", "rendezvous"))
assert share["the last leaves", "jump"] == 0 < 0.4 < share["the fourth of ten leaves", "jump"]
f"modulo moves {moves['the last leaves', 'modulo'].moved_share:.0%} of all keys when the last one leaves"

# %% [markdown]
# > **Misconception.** "Consistent hashing moves no keys." It moves the keys of whoever left, and those that a
# > newcomer takes over: about $1/n$. What it saves is all the others.
#
# Maglev, the subject of [the next chapter](03-maglev.ipynb), gives up a little of this promise for a faster look-up.
#
# ## What each method costs
#
# *Balance.* Rendezvous and jump spread keys evenly, up to chance. The ring does not: arcs between random points
# differ in length. More points for each backend make it fairer, and bigger.

# %%
rings = {p: Ring(names, points_per_weight=p) for p in (4, 16, 64, 160, 640, 2560)}
fullest = {p: np.bincount(ring.pick_many(keys)).max() / 10_000 for p, ring in rings.items()}
assert np.bincount(Rendezvous(names).pick_many(keys)).max() / 10_000 < 1.03 < 1.3 < fullest[4]
show.table([(p, f"{share:.2f}") for p, share in fullest.items()], ("points for each backend", "fullest backend / mean"))

# %% [markdown]
# *Memory and time.* Modulo and jump keep nothing. Rendezvous keeps one number for each backend, the ring all its
# points, here 160 for each backend as in ketama ([libketama](https://github.com/RJ/ketama)).

# %%
thousand = [f"10.0.{i // 256}.{i % 256}:80" for i in range(1000)]
ring, draws = Ring(thousand), Rendezvous(thousand)
memory = {"rendezvous": draws.seeds.nbytes, "ring": ring.points.nbytes + ring.owners.nbytes}
{name: f"{size / 1000:,.0f} kB for 1000 backends" for name, size in memory.items()}

# %% tags=["nbval-ignore-output"]
sizes, sample = [10, 30, 100, 300, 1000], keys[:2000]
pickers = {(name, n): method(thousand[:n]) for name, method in methods.items() for n in sizes}
work = {f"{name} {n}": lambda picker=picker: picker.pick_many(sample) for (name, n), picker in pickers.items()}
cost = measure.compare(work, rounds=5, min_seconds=0.004, operations=sample.size)
assert cost.ratio("rendezvous 1000", "rendezvous 10") > 20 and cost.ratio("rendezvous 1000", "ring 1000") > 3
assert all(cost.ratio(f"{name} 1000", f"{name} 10") < 15 for name in ("modulo", "jump", "ring"))

# %% tags=["nbval-ignore-output"]
show.lines(
    sizes, {name: [cost.ns(f"{name} {n}") for n in sizes] for name in methods}, x_log=True, y_log=True,
    x_label="backends", y_label="CPU time for a look-up (ns)",
    title="Rendezvous asks everybody; the others hardly notice how many there are",
    alt="CPU time of a look-up against the number of backends, both log scale. Rendezvous rises in proportion; "
    "ring and jump rise slowly, modulo not at all.",
)  # fmt: skip

# %% [markdown]
# Rendezvous is the simplest to get right: no table to build, exact weights, and a dead backend's keys spread over all
# others. Take it until its cost shows: among tens of backends, for a request, it does not. In front of every packet
# and a thousand backends it does.
#
# *Load.* A hash does not know it. With all keys different it is random choice, no better. And keys are seldom alike:
# a few URLs, tenants or addresses bring much of the traffic. Give the client of rank $r$ traffic in proportion to
# $1/r$:

# %%
traffic = 1 / np.arange(1, 1001)
client = np.random.default_rng(11).choice(1000, 200_000, p=traffic / traffic.sum())
shares = np.bincount(Rendezvous(names).pick_many(keys[client]), minlength=10) / 20_000
assert shares.max() > 1.5
f"the fullest backend gets {shares.max():.1f} times its fair share, the emptiest {shares.min():.1f}"

# %% [markdown]
# With such keys the pool is full when one backend is, while others are half idle. More points on a ring do not help:
# a single key cannot be divided. *Consistent hashing with bounded loads* lets a key overflow to the next backend when
# its own is too full ([Mirrokni et al. 2016](https://arxiv.org/abs/1608.01350)).
#
# Which bytes make a good key is a question of its own. nginx's `ip_hash` uses the first three octets of an IPv4
# address ([nginx manual](https://nginx.org/en/docs/http/ngx_http_upstream_module.html#ip_hash)), so that a whole /24
# goes to one backend; [chapter 13](13-sticky-sessions.ipynb) measures what that does.
#
# ## Before the choice: finding the service
#
# A node of a Kubernetes cluster balances thousands of services. Before it can choose a backend it must find out which
# service a packet is for. `kube-proxy` in its iptables mode writes one rule for each service into a chain, and the
# kernel reads them from the top until one fits. Its IPVS and nftables modes ask a hash table. (Then iptables and
# nftables mode pick one of the service's backends at random,
# [Kubernetes manual](https://kubernetes.io/docs/reference/networking/virtual-ips/).) Here are the list and the table
# as a twin in user space: real code, not the kernel's.

# %%
show.source(rules.walk)

# %% tags=["nbval-ignore-output"]
counts, work, packets_per_call = [10, 100, 1000, 10_000, 30_000], {}, {}
for n in counts:
    listed = rules.services(n)
    few, more, table = rules.first_packets(listed, 200), rules.first_packets(listed, 20_000), rules.build(listed)
    assert (rules.walk(listed, few) == rules.look_up(listed, table, few)).all()
    work |= {f"list {n}": lambda listed=listed, few=few: rules.walk(listed, few)}
    work |= {f"table {n}": lambda listed=listed, table=table, more=more: rules.look_up(listed, table, more)}
    packets_per_call |= {f"list {n}": 200, f"table {n}": 20_000}
cost = measure.compare(work, rounds=5, min_seconds=0.005, operations=packets_per_call)
assert cost.ratio("list 30000", "list 100") > 50 and cost.ratio("list 30000", "table 30000") > 100
assert cost.ratio("table 30000", "table 100") < 20

# %% tags=["nbval-ignore-output"]
show.lines(
    counts, {way: [cost.ns(f"{way} {n}") for n in counts] for way in ("list", "table")}, x_log=True, y_log=True,
    x_label="services", y_label="CPU time to find the service (ns)",
    title="A list costs in proportion to the services, a table hardly anything",
    alt="CPU time to find a service against the number of services, both log scale. The list rises in proportion; the "
    "hash table stays nearly flat.",
)  # fmt: skip

# %% [markdown]
# What this says about a real cluster, and what it does not:
#
# - The shape is the kernel's. Time in the iptables chain grows in proportion to the number of services, and nftables
#   replaced the chain by a map ([Kubernetes blog](https://kubernetes.io/blog/2025/02/28/nftables-kube-proxy)).
# - The nanoseconds are not. A real rule holds more to compare, so a real list is dearer.
# - Only the *first* packet of a connection pays
#   ([same post](https://kubernetes.io/blog/2025/02/28/nftables-kube-proxy)): connection tracking remembers the answer
#   for all the others. Long connections hardly notice; many short ones do.
# - "Use IPVS mode for scale" was good advice and is out of date: that mode has been deprecated since Kubernetes 1.35
#   ([KEP-5495](https://kubernetes.dev/resources/keps/5495)). The successor is the nftables mode, stable since 1.33,
#   while iptables is still the default
#   ([Kubernetes manual](https://kubernetes.io/docs/reference/networking/virtual-ips/)).
#
# ## Summary
#
# | Method | Goes by | When a backend leaves | Look-up | Memory | Where it fits |
# |---|---|---|---|---|---|
# | round robin | turns | nothing to lose | constant | one number | equal requests, equal machines |
# | smooth weighted | turns by weight | nothing to lose | each backend | one number each | unequal machines |
# | least connections | own counts | nothing to lose | each backend | one count each | long sessions, few balancers |
# | power of two | counts of two | nothing to lose | constant | one count each | unequal requests, many balancers |
# | modulo | key | nearly all keys move | constant | none | pools that never change |
# | ring | key | its keys move | logarithmic | many points each | caches; big pools that change |
# | rendezvous | key | its keys move, spread evenly | each backend | one number each | up to some tens of backends |
# | jump | key | its keys, if it is the last | logarithmic | none | numbered shards, grown at the end |
#
# - Equal work: take turns. Unequal work: look before you choose; the second look brings most of it.
# - Counts of one's own are worth what one's own traffic is worth. Shared counts that are late make herds.
# - Few unanswered requests mean "idle" or "broken". Only health checking can tell.
# - A key is for state, not for balance. Count *needless* moves, not moves.
#
# ## Exercises
#
# **1. A processor that is shared.** Repeat the comparison by CV with backends that work on all their requests at once
# (`concurrency=256`). Which method no longer cares about the variation, and which still does?
#
# <details><summary>Solution</summary>
#
# ```python
# for cv in cvs:
#     print(cv, {p: round(waits(loads[cv], p, concurrency=256).mean(), 2) for p in queues.POLICIES})
# ```
# Random, power of two and least connections hardly change with CV: a small request is not stuck behind a giant, it
# shares with it. For random choice that is a theorem, the mean response under processor sharing depends on the mean
# work alone. Round robin loses its advantage all the same: what it gained at CV 0 was order, and giants destroy
# order.
# </details>
#
# **2. Close the hole.** A balancer may keep a failed request in its count for some time after the error came. In the
# model that is the same as a broken backend that takes longer: how long must it be held, so that least connections
# gives the broken backend no more than its fair tenth?
#
# <details><summary>Solution</summary>
#
# ```python
# for held in (0.01, 0.1, 0.5, 1.0, 2.0):
#     outcome = queues.run(load4, "least connections", broken={9: held}, **waiting_for_others)
#     print(held, outcome.counts[9] / 100_000)
# ```
# with `load4 = queues.poisson(10, 4, 100_000, seed=8)`. Held for as long as a healthy answer takes (1.0) it gets a
# tenth: it now looks like everybody else. Held twice as long it gets half of that. Outlier ejection takes it to zero.
# </details>
#
# **3. The packet for nobody.** What does a packet cost that is for *no* service, in the list and in the table?
#
# <details><summary>Solution</summary>
#
# ```python
# strangers = more + [[1 << 33, 0]]        # addresses that no rule has
# measure.compare({"hit": lambda: rules.walk(listed, few), "miss": lambda: rules.walk(listed, strangers[:200])},
#                 operations=200)
# ```
# It reads the whole list, on average twice as far as a packet that finds its rule half way. In the table it meets a
# free slot at once, and is if anything cheaper. Traffic that has nothing to do with any service pays for the list as
# well.
# </details>
#
# **4. A dead bucket in the middle.** Jump can lose only its last bucket. Keep a list of names, and when the fourth
# dies, move the last name into its place and shorten the list. How many keys move, and how many of them needlessly?
#
# <details><summary>Solution</summary>
#
# ```python
# patched = [*names[:3], names[9], *names[4:9]]
# found = disruption.compare(Jump(names), Jump(patched), keys)
# found.moved_share, found.needless_share
# ```
# About two tenths move: the keys of the dead backend, which must, and those of the one that changed its number, which
# need not. Far better than renumbering everybody, and it works for one death. After the second you keep a table of
# patches, and may as well take a method that knows names.
# </details>
#
# **5. More looks, old board.** With a board renewed every 4 units of time, compare `queues.run(load, d, refresh=4.0)`
# for 1, 2, 3, 5 and 10 looks at 80 % utilisation. Which number is best, and why is it not the largest?
#
# <details><summary>Solution</summary>
#
# ```python
# load = queues.poisson(10, 0.8, 200_000, seed=6)
# {d: waits(load, d, refresh=4.0).mean() for d in (1, 2, 3, 5, 10)}
# ```
# Two. Each further look makes it likelier that everybody finds the same short queue on the board, and it is as old
# for all. Fresh information rewards looking, old information punishes it.
# </details>
#
# ## Interview questions
#
# **"Round robin or least connections?"**
# A weak answer: least connections, because it takes load into account. A strong answer asks back: how much does the
# work vary, how long do requests last, how many balancers are there? Equal short requests: round robin, which is then
# better. Unequal ones and several balancers: power of two. And it names what least connections does with a backend
# that fails fast.
#
# **"Ten proxies use least connections, and yet one backend is overloaded. Why?"**
# A weak answer: a bug in the counters. A strong answer: each proxy sees a tenth of the picture. Each may be perfectly
# balanced while their sum is not. If counts are shared, ask how old they are: a herd looks like one backend after
# another being flooded, at the rhythm of the updates.
#
# **"Why does everybody use consistent hashing?"**
# A weak answer: because it is balanced. A strong answer: a ring is *less* balanced than modulo. What it buys is that
# keys of healthy backends stay where they are when the pool changes. Then: ring, rendezvous or jump, by the size of
# the pool, the need for weights, and whether members leave from the middle; and none of them helps against one hot
# key.
#
# **"After a partial outage the error rate rose from 10 % to 70 %. The pool lost one machine in ten."**
# A weak answer: a cascade, the others were overloaded. A strong answer looks at the *latency* of the failing machine
# first: errors faster than answers, together with a scheduler that counts unanswered requests, is a black hole. The
# others will be found idle.
#
# **"We have 20,000 services in the cluster and new connections are slow. Shall we switch to IPVS?"**
# A weak answer: yes, hash tables are faster than lists. A strong answer: the list is the right suspect for *first*
# packets, and established connections are not touched by it. But that mode is deprecated; look at nftables mode or at
# an eBPF data plane, and measure connection set-up before and after.
#
# ## Sources
#
# - M. Mitzenmacher,
#   [The Power of Two Choices in Randomized Load Balancing](https://www.eecs.harvard.edu/~michaelm/postscripts/tpds2001.pdf),
#   IEEE TPDS 12(10), 2001
# - M. Mitzenmacher, [How Useful Is Old Information?](https://www.eecs.harvard.edu/~michaelm/abstracts/tpds2000.html),
#   IEEE TPDS 11(1), 2000
# - D. Karger et al., [Consistent Hashing and Random Trees](https://doi.org/10.1145/258533.258660), STOC 1997
# - D. Thaler and C. Ravishankar,
#   [Using Name-Based Mappings to Increase Hit Rates](https://doi.org/10.1109/90.663936), IEEE/ACM ToN 6(1), 1998
# - J. Lamping and E. Veach, [A Fast, Minimal Memory, Consistent Hash Algorithm](https://arxiv.org/abs/1406.2294),
#   2014
# - V. Mirrokni, M. Thorup, M. Zadimoghaddam,
#   [Consistent Hashing with Bounded Loads](https://arxiv.org/abs/1608.01350), 2016
# - [nginx: smooth weighted round robin](https://github.com/nginx/nginx/commit/52327e0627f49dbda1e8db695e63a4b0af4448b1)
#   and the [upstream module](https://nginx.org/en/docs/http/ngx_http_upstream_module.html)
# - [HAProxy configuration manual, `balance`](https://docs.haproxy.org/3.0/configuration.html#4.2-balance)
# - [Envoy: supported load balancers](https://www.envoyproxy.io/docs/envoy/latest/intro/arch_overview/upstream/load_balancing/load_balancers)
# - [Site Reliability Engineering, chapter 20: Load Balancing in the Datacenter](https://sre.google/sre-book/load-balancing-datacenter/)
# - Kubernetes: [NFTables mode for kube-proxy](https://kubernetes.io/blog/2025/02/28/nftables-kube-proxy),
#   [KEP-5495: deprecate IPVS mode](https://kubernetes.dev/resources/keps/5495)
