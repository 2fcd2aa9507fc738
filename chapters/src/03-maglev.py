# ---
# book:
#   title: Maglev
#   question: One of ten backends fails. How many connections to the other nine break, and why any?
#   tier: 0
#   minutes: 45
#   memory_mb: 500
#   after: [choosing-a-backend]
#   lab: 01-maglev
# ---

# %% [markdown]
# ## The ticket about the other nine
#
# A site has ten web servers behind a balancer. At 14:02 one of them is taken out for a kernel update. It was drained
# beforehand, so nobody expects to notice. At 14:02:01 the error rate is not zero, not a tenth, but most of the
# traffic: users are logged out, uploads stop, WebSockets reconnect by the thousand. Nine servers are in perfect
# health. **They are simply being sent other people's connections.**
#
# The balancer's rule is one line, `hash % 10`. You will not find the fault by reading it, because as a rule for a
# pool that never changes it has none.

# %%
import numpy as np

from lbcore import measure, show
from lbcore.balance.disruption import compare
from lbcore.balance.maglev import RECIPES, Maglev, claim, disruption, is_prime, populate
from lbcore.balance.modulo import Modulo
from lbcore.balance.rendezvous import Rendezvous
from lbcore.balance.ring import Ring

# %% [markdown]
# A *flow* is one connection as the network sees it: protocol, two addresses, two ports. A balancer hashes those to a
# 64-bit number, the *flow hash* or *key*. A good hash looks random, so random numbers stand for flows here. The
# *pool* is the list of backends in service.

# %%
flows = np.random.default_rng(3).integers(0, 2**64, 100_000, dtype=np.uint64)
pool = [f"10.0.0.{i}:80" for i in range(1, 11)]
gone = pool[3]
rest = [name for name in pool if name != gone]

# %%
show.predict(
    "One of ten backends leaves, and the rule changes from hash % 10 to hash % 9. "
    "Of the flows whose backend is still there, what share is sent to another one?",
    answer=0.89,
    tolerance=0.02,
    unit="%",
    why="A flow stays only where both remainders point to the same server. That is one case in nine.",
)

# %% [markdown]
# Now ask. A move is *needless* when the flow's backend was there before and is there after. `compare` looks at
# names, not positions: taking out the fourth server shifts the number of the six behind it.

# %%
change = compare(Modulo(pool), Modulo(rest), flows)
had_to = change.moved & ~change.needless
needless = change.needless.sum() / (~had_to).sum()
assert abs(needless - 8 / 9) < 0.01
f"{had_to.mean():.1%} had to move; of the others, {needless:.1%} moved needlessly"

# %% [markdown]
# ## Why so many
#
# The remainder by ten and the remainder by nine of a large random number have nothing to do with each other. Whatever
# the first said, the second is a fresh draw from nine servers, and by luck one flow in nine draws its old one. With
# more servers the luck gets worse: of a hundred, one in ninety-nine stays.

# %%
hundred = [f"10.0.1.{i}:80" for i in range(100)]
worse = compare(Modulo(hundred), Modulo(hundred[1:]), flows).needless_share
assert worse > 0.97
f"{worse:.1%} of all flows moved needlessly"

# %% [markdown]
# So the thing to keep is not a formula but an *assignment*: who had what before. One could write that down for
# every flow (we come back to this), or find a rule whose answers hardly depend on the length of the list. Rendezvous
# hashing and the hash ring are such rules. Maglev, from Google's paper of 2016, is the one made for a packet path.
#
# ## A table, filled in turns
#
# Maglev keeps a *look-up table*. It has a fixed number of *slots*, whatever the pool, and each slot names a backend. A
# flow with hash h belongs to slot `h % size`. The divisor never changes. All the art is in filling the table so
# that another pool gives nearly the same one.
#
# Three backends, thirteen slots. Each backend's name is hashed twice: to an *offset*, where it starts, and a *skip*,
# how far it goes each time.

# %%
names, size = ["ant", "bee", "cat"], 13
walks = [RECIPES["envoy"].walk(name, size) for name in names]
walks

# %% [markdown]
# That makes a *permutation* for each backend: all slots, each once, in an order of its own. It is the backend's list
# of wishes. It depends on the backend's name and on the size of the table, and on nobody else in the pool.

# %%
wishes = [[(offset + turn * skip) % size for turn in range(size)] for offset, skip in walks]
assert all(sorted(wish) == list(range(size)) for wish in wishes)
show.table(
    [(name, *wish) for name, wish in zip(names, wishes, strict=True)], ("backend", *map(str, range(1, size + 1)))
)

# %% [markdown]
# Then they take turns, as children choosing sides do. Each takes the first slot on its list that is still free. Here
# is the whole algorithm in the plainest Python there is; it notes the wishes it tried on the way.


# %%
def turns(wishes):
    table, lists = {}, [iter(wish) for wish in wishes]
    while True:
        for backend, wish in enumerate(lists):
            tried = []
            for slot in wish:
                tried.append(slot)
                if slot not in table:
                    break
            table[slot] = backend
            yield backend, tried
            if len(table) == len(wishes[0]):
                return


# %%
protocol = [(names[backend], ", ".join(map(str, tried[:-1])), tried[-1]) for backend, tried in turns(wishes)]
show.table(protocol, ("turn of", "already taken", "takes slot"), caption="Thirteen turns fill thirteen slots")

# %% [markdown]
# `ant` and `bee` both wished for slot 2. `ant` came first, so `bee` got its second wish. Early turns mostly get
# what they want; late ones search. Read the finished table by slot:

# %%
table = {tried[-1]: names[backend] for backend, tried in turns(wishes)}
" ".join(table[slot] for slot in range(size))

# %% [markdown]
# The library's version is the same loop over arrays. It is what the rest of this chapter measures, so look at it
# once. `claim` is one turn: `step` to the next wish while the slot is taken.

# %%
show.source(claim)

# %%
show.source(populate)

# %%
offsets, skips = np.array(walks).T
filled = populate(offsets, skips, size)
assert [names[owner] for owner in filled] == [table[slot] for slot in range(size)]
filled

# %% [markdown]
# ## Balance for free
#
# Taking turns has a consequence that no hash has: when the last slot is filled, nobody has had more than one turn
# more than anybody else. Shares of the table differ by *at most one slot*. The fullest backend is therefore ahead
# of the mean by less than N / M, where N is the number of backends and M that of slots.

# %%
sizes = (251, 509, 1021, 2039, 4093, 8191, 16381, 32749, 65537)
excess = {}
for n in (10, 100):
    counts = [np.bincount(Maglev(hundred[:n], size=m).table, minlength=n) for m in sizes]
    assert all(c.max() - c.min() <= 1 for c in counts)
    excess[n] = [c.max() / c.mean() - 1 for c in counts]

# %%
fig, ax = show.figure()
for n, values in excess.items():
    ax.plot([m / n for m in sizes], np.multiply(values, 100), linestyle="", label=f"{n} backends")
ax.plot([2, 8000], [50, 1 / 80], color="black", linestyle="-", marker="", label="N / M")
ax.set(xscale="log", yscale="log", xlabel="slots per backend, M / N", ylabel="fullest backend above the mean (%)")
ax.axvline(100, color="#777777", linestyle="--", linewidth=1, label="the paper's rule")
ax.legend(frameon=False)
show.finish(
    fig,
    title="The fullest backend is never further ahead than N / M",
    alt="Excess of the fullest backend in percent against slots per backend, both axes logarithmic. All points, for 10 "
    "and for 100 backends, lie on or below the falling line N / M, which reaches one percent at 100 slots a backend.",
)

# %% [markdown]
# Points far below the line are sizes just short of a multiple of N: luck. The line is the promise, and this is where
# the paper's rule comes from: choose M larger than 100 N, and shares differ by at most one percent
# ([section 3.4](https://www.usenix.org/system/files/conference/nsdi16/nsdi16-paper-eisenbud.pdf)). Below the
# rule it gets coarse quickly, for a reason that needs no theory: 251 slots do not divide evenly by a hundred.

# %%
coarse, fine = excess[100][sizes.index(251)], excess[100][sizes.index(16381)]
assert coarse > 0.15 and fine < 0.01
f"100 backends: {coarse:.0%} above the mean with 251 slots, {fine:.2%} with 16381"

# %% [markdown]
# Compare the ring, where balance is a matter of luck. Each backend has 160 points on it here, and owns whatever arcs
# these happen to cut.

# %%
shares = np.bincount(Ring(pool).pick_many(flows)) / flows.size
assert 1.03 < shares.max() / shares.mean() < 1.4
f"ring: the fullest backend has {shares.max() / shares.mean():.2f} times the mean, the emptiest {shares.min() * 10:.2f}"

# %% [markdown]
# Even *slots* are not even *load*, mind. A slot with a backup job in it weighs more than a slot of
# idle phones, and no table can know.
#
# ## What one departure does
#
# Back to thirteen slots. `bee` leaves, and the table is filled anew by `ant` and `cat`.

# %%
full, without = Maglev(names, size=13), Maglev(["ant", "cat"], size=13)
before, after = ([m.backends[i] for i in m.table] for m in (full, without))
moved = [(slot, a, b) for slot, (a, b) in enumerate(zip(before, after, strict=True)) if a != b]
show.table(moved, ("slot", "before", "after"))

# %% [markdown]
# `bee` had slots 4, 6, 8 and 12, and those had to go to someone. But slot 0 went from `ant` to `cat`, and both are
# alive. Why? In its fifth turn `ant` used to find slot 12 taken by `bee`, then 8, then 4, and settled for 0. Now
# slot 12 is free, and `ant` takes it. So slot 0 is free when `cat` asks for it.
#
# A departure frees slots; a survivor that gets an earlier wish leaves a later one to others. These small
# chains are the needless moves. Most slots were won early by someone who still wishes for them first, and stay.

# %%
one = disruption(full, without)
assert list(np.flatnonzero(one.needless)) == [0]
int((one.moved & ~one.needless).sum()), int(one.needless.sum())

# %% [markdown]
# ## See it
#
# Each cell below is one key, one for every slot of the Maglev table. All three pickers are asked about the same keys.
# Grey stayed. Blue had to move, for its backend left. A cross was moved although its backend is in good health.


# %%
def explorer(backends=10, size=251, remove=4):
    return show.removal(backends, size, remove)


show.explore(
    explorer,
    hint="make the table larger: Maglev's crosses thin out. Then add backends: they come back",
    backends=(2, 20),
    size=[29, 53, 101, 251, 509, 1021],
    remove=(1, 20),
)

# %% [markdown]
# From a handful of backends on, modulo is a field of crosses. The ring has none, ever. Maglev has some, and their
# number depends on the table. How? Take each of ten backends out in turn, for every table size, and average.


# %%
def healthy_moved(backends, size):
    full, shares = Maglev(backends, size=size), []
    for name in backends[:10]:
        change = disruption(full, Maglev([other for other in backends if other != name], size=size))
        shares.append(change.needless.sum() / (~change.moved | change.needless).sum())
    return np.mean(shares)


excess_moves = {n: [healthy_moved(hundred[:n], m) for m in sizes] for n in (10, 100)}

# %%
series = {f"Maglev, {n} backends": np.multiply(values, 100) for n, values in excess_moves.items()}
show.lines(
    sizes,
    {"modulo, 10 backends": [100 * 8 / 9] * len(sizes), **series},
    x_label="table size (slots)",
    y_label="healthy slots moved (%)",
    x_log=True,
    y_log=True,
    title="Many slots for each backend: few healthy slots moved, but always some",
    alt="Share of healthy slots moved when one backend leaves, against table size, both logarithmic. Maglev goes from "
    "several percent at 251 slots to below one percent at 65537, for 100 backends after a flat stretch; modulo is a "
    "flat line near 89 percent.",
)

# %%
small, large = excess_moves[10][0], excess_moves[10][-1]
assert 0.04 < small < 0.11 and 0.001 < large < 0.005 and min(excess_moves[100]) > 0
assert min(excess_moves[100][:5]) > 0.8 * max(excess_moves[100][:5]) > 4 * excess_moves[100][-1]  # flat to 4093
f"10 backends: {small:.1%} with 251 slots, {large:.2%} with 65537; 100: {excess_moves[100][4]:.1%} even with 4093"

# %% [markdown]
# With a hundred backends the line is flat up to 4093 slots, and only then falls. What counts is the number of slots
# for each backend: in a crowded table nearly every turn is a search, and one freed slot sets off a chain.
#
# The common sentence "consistent hashing moves only 1/N of the keys" is therefore a misconception about Maglev. It
# moves 1/N because it must, plus this excess. The ring and rendezvous hashing do keep the sentence's promise.
#
# ## Then why not the ring?

# %%
show.quiz(
    "The ring moves no key needlessly. Why would a packet balancer take Maglev, which does?",
    {
        "Its table moves fewer keys in all": "No: both move the keys of the dead backend, and Maglev a few more.",
        "Even shares, and a cheaper look-up": "A remainder and one memory access, whatever the size of the pool.",
        "It needs less memory": "The ring here has 1600 points; a table of 65537 slots is larger.",
        "It needs no hash of the flow": "Every one of them does.",
    },
    correct="Even shares, and a cheaper look-up",
)

# %% [markdown]
# Here are all four on our flows, with the same backend gone. Each has its strength, and each pays for it.

# %%
makers = {"modulo": Modulo, "Maglev": Maglev, "ring": Ring, "rendezvous": Rendezvous}
rows = []
for name, make in makers.items():
    loads, moves = np.bincount(make(pool).pick_many(flows)), compare(make(pool), make(rest), flows)
    rows.append((name, f"{loads.max() / loads.mean():.2f}", f"{moves.moved_share:.1%}", f"{moves.needless_share:.2%}"))
assert [row[-1] for row in rows[2:]] == ["0.00%", "0.00%"]
show.table(rows, ("picker", "fullest / mean", "flows moved", "needlessly"))

# %% [markdown]
# The last hundredths in the second column are the luck of these flows: even slots, uneven draws.
#
# A look-up happens for every packet that is not remembered, so its cost matters. Modulo divides. Maglev
# divides and reads one entry. The ring searches its sorted points, halving the range again and again. Rendezvous
# hashes the key once for every backend. We time all four on the same flows, in alternation, and look at ratios.


# %%
def look_up_costs(backends):
    batch, pickers = flows[:4000], {name: make(backends) for name, make in makers.items()}
    work = {name: lambda picker=picker: picker.pick_many(batch) for name, picker in pickers.items()}
    for call in work.values():
        call()  # the first call compiles
    return measure.compare(work, operations=batch.size, rounds=5, min_seconds=0.005, baseline="Maglev")


# %% tags=["nbval-ignore-output"]
costs = {n: look_up_costs([f"10.1.{i // 250}.{i % 250}:80" for i in range(n)]) for n in (10, 100, 1000)}
assert costs[10].ratio("ring") > 2 and costs[1000].ratio("rendezvous") > 30
assert costs[1000].ratio("rendezvous") > 10 * costs[10].ratio("rendezvous")
costs[1000]

# %% tags=["nbval-ignore-output"]
series = {name: [cost.ratio(name) for cost in costs.values()] for name in costs[10].samples}
show.lines(
    list(costs),
    series,
    x_label="backends in the pool",
    y_label="cost of a look-up (Maglev = 1)",
    x_log=True,
    y_log=True,
    title="Maglev costs what modulo costs; the ring searches, rendezvous asks everyone",
    alt="Cost of one look-up relative to Maglev against the number of backends. Modulo stays near 1, the ring lies "
    "far above and rises slowly, rendezvous rises in proportion to the number of backends.",
)

# %% [markdown]
# The shape is the same on every machine: two flat lines, one that climbs slowly as the ring's points multiply and
# leave the caches, and one that climbs in step with the pool.
#
# "One memory access" hides a condition, though: the entry must be in a cache. Table size buys balance and calm, and
# pays in cache. The largest table below outgrows the caches of most cores, and on most machines it is dearer to read.

# %% tags=["nbval-ignore-output"]
tables = {m: Maglev(pool, size=m) for m in (251, 65537, 5000011)}
work = {f"{m} slots": lambda table=table: table.pick_many(flows) for m, table in tables.items()}
cache = measure.compare(work, operations=flows.size, rounds=5, min_seconds=0.005, baseline="251 slots")
assert cache.ratio("5000011 slots") > 0.8
cache

# %% [markdown]
# That largest size is the most that
# [Envoy accepts](https://www.envoyproxy.io/docs/envoy/latest/api-v3/extensions/load_balancing_policies/maglev/v3/maglev.proto);
# its default is 65537. Linux's IPVS scheduler `mh` offers
# [ten primes from 251 to 131071](https://github.com/torvalds/linux/blob/v6.12/net/netfilter/ipvs/ip_vs_mh.c).
#
# ## Why always a prime?
#
# The walk adds `skip` and takes the remainder. If size and skip share a factor, it comes home early.

# %%
[(2 + turn * 4) % 12 for turn in range(12)], [(2 + turn * 4) % 13 for turn in range(13)]

# %% [markdown]
# With twelve slots, a skip of 4 visits three of them for ever. Once those are taken, the backend's next turn is an
# endless loop: inside a balancer, while every packet waits for the new table. Our `populate` refuses instead.

# %%
try:
    populate(np.array([2]), np.array([4]), 12)
except ValueError as error:
    print(error)

# %% [markdown]
# Skips come from a hash, so one cannot choose good ones. One can only choose a size for which none is bad. A power of
# two, so tempting because the remainder becomes a bit mask, spoils every even skip. A prime spoils none.

# %%
good = {m: np.mean(np.gcd(np.arange(1, m), m) == 1) for m in (65536, 65537)}
assert is_prime(65537) and good[65537] == 1 and abs(good[65536] - 0.5) < 0.001
{m: f"{share:.1%} of skips visit every slot" for m, share in good.items()}

# %% [markdown]
# ## Unequal backends
#
# One server has three times the cores of the others. The paper mentions weights in a sentence and leaves the method
# open: let turns come more often. Ours follows Envoy: turn t of a backend comes when t times its weight has reached
# the next multiple of the largest weight.

# %%
weights = [1, 1, 1, 1, 1, 1, 1, 1, 1, 3]
weighted = Maglev(pool, weights=weights)
slots = np.bincount(weighted.table)
assert abs(slots / slots.sum() * 12 - weights).max() < 0.001
(slots / slots.sum() * 12).round(3).tolist()

# %% [markdown]
# Exact to a thousandth. A weight is also a change like any other: raising it takes slots from all the others.
# Those flows had a healthy backend, so all of these moves count as needless.

# %%
raised = disruption(Maglev(pool), weighted)
assert raised.moved_share == raised.needless_share and abs(raised.moved_share - 0.15) < 0.01
f"{raised.moved_share:.1%} of slots moved to the heavier backend, or among the others"

# %% [markdown]
# At the least, its share grows from 1/10 to 3/12, by 15 percent of the table. Maglev needed hardly more. The trap is
# a controller that adjusts weights every few seconds by CPU load: each small correction moves live connections.
#
# ## The price of a change
#
# The table is cheap to read because it is dear to make. Count the wishes that were tried for each slot, in a table
# of 65537.

# %%
tries = {}
for n in (10, 100):
    ways = (RECIPES["envoy"].walk(name, 65537) for name in hundred[:n])
    lists = [(offset + np.arange(65537) * skip) % 65537 for offset, skip in ways]
    tries[n] = sum(len(tried) for _, tried in turns(lists)) / 65537
assert tries[10] < tries[100] < np.log(65537)
{n: round(value, 1) for n, value in tries.items()}, round(float(np.log(65537)), 1)

# %% [markdown]
# When a share f of the table is free, a random wish is free with probability f, and takes 1 / f tries. Summed over a
# table of M slots, that is about ln M tries a slot, so M ln M in all: the logarithm is the last number above. Few
# backends do better, because none asks for a slot twice. How many look-ups is one rebuild worth?

# %% tags=["nbval-ignore-output"]
work = {"one look-up": lambda: weighted.pick_many(flows), "one rebuild": lambda: Maglev(hundred)}
rebuild = measure.compare(
    work, operations={"one look-up": flows.size, "one rebuild": 1}, rounds=5, min_seconds=0.005, baseline="one look-up"
)
assert rebuild.ratio("one rebuild") > 10_000
f"one rebuild costs as much as {rebuild.ratio('one rebuild'):,.0f} look-ups"

# %% [markdown]
# That is nothing once an hour. It is something when health checks flap, and it must never happen
# in the packet path: build the new table aside, then swap one pointer.
#
# ## What balancers need not tell each other
#
# A fleet of balancers stands behind routers that spread packets over them by ECMP (*equal-cost multi-path*: the router
# hashes the flow and picks a next hop). They choose alike without telling each other anything
# ([Katran](https://github.com/facebookincubator/katran) makes a point of it), because the table is a pure function of
# the set of names. Order does not matter, nor does history.

# %%
shuffled = Maglev(pool[::-1])
agree = [pool[i] for i in Maglev(pool).table] == [shuffled.backends[i] for i in shuffled.table]
assert agree
f"the same table from the reversed list: {agree}"

# %% [markdown]
# Hence the claim that "any Maglev can serve any packet of any connection". It is true *while all of them see the same
# pool*. And a departure alone is survivable too: each balancer keeps a *connection table* that remembers the backend of
# every flow it has seen, and asks the Maglev table only about new ones. (The paper's abstract names both features.)
#
# So two things can go wrong: the pool changes, or routers send a flow to a balancer that has never seen it.


# %%
owner = np.array(pool)[Maglev(pool).pick_many(flows)]
heir = np.array(rest)[Maglev(rest).pick_many(flows)]
alive = owner != gone


def broken(pool_changed, remembered):
    looked_up = heir if pool_changed else owner
    goes_to = owner if remembered else looked_up
    return f"{np.mean(goes_to[alive] != owner[alive]):.2%}"


# %%
cases = [(broken(False, known), broken(True, known)) for known in (True, False)]
assert cases[0] == ("0.00%", "0.00%") and cases[1][0] == "0.00%" and 0.1 < float(cases[1][1][:-1]) < 1
rows = [("a balancer that remembers", *cases[0]), ("a balancer that does not", *cases[1])]
show.table(rows, ("the flow arrives at", "same pool", "one backend gone"), caption="Healthy flows that break")

# %% [markdown]
# Each alone does no harm. Both together break the needless share, and only that. This is the right way to
# say what the two parts are for: **the connection table keeps old flows where they are; the hash decides for those
# that nobody remembers, and limits the damage when a memory is lost.** Draining works the same way. A backend that is
# taken out of the table gets no new flow, and its old ones stay because they are remembered, not because of the hash.
#
# ```mermaid
# flowchart LR
#   R[router, ECMP] --> A[balancer A]
#   R --> B[balancer B]
#   A --> Q{flow in the<br/>connection table?}
#   Q -- yes --> S[same backend as before]
#   Q -- no --> M[Maglev table] --> N[backend, and remember it]
# ```
#
# How large that memory is, what it forgets under attack, and what a fleet does when both change at once, is the subject
# of [chapter 05](05-flows-and-fleets.ipynb).
#
# ## Who uses it, told correctly
#
# | system | where packets are handled | source |
# |---|---|---|
# | Google Maglev | its own forwarder, bypassing the kernel | [paper] |
# | Katran (Meta) | XDP: a BPF program *in* the kernel | [Katran] |
# | Linux IPVS, `mh` | in the kernel's network stack | [ip_vs_mh.c] |
# | Envoy | a proxy: picks a host per request or connection | [Envoy] |
#
# [paper]: https://www.usenix.org/system/files/conference/nsdi16/nsdi16-paper-eisenbud.pdf
# [Katran]: https://github.com/facebookincubator/katran
# [ip_vs_mh.c]: https://github.com/torvalds/linux/blob/v6.12/net/netfilter/ipvs/ip_vs_mh.c
# [Envoy]: https://www.envoyproxy.io/docs/envoy/latest/intro/arch_overview/upstream/load_balancing/load_balancers
#
# One often reads that Maglev and Katran are "DPDK-based". Neither is presented so by its authors. DPDK is a library
# for kernel bypass; Maglev's bypass is Google's own, and Katran does not bypass the kernel at all.
#
# One also reads "ten million connections a second". The paper's abstract says that one machine saturates a 10 Gb/s link
# with small packets ([Maglev](https://www.usenix.org/system/files/conference/nsdi16/nsdi16-paper-eisenbud.pdf)).
# That is packets. The most that link can carry, with 64-byte frames and the 20 bytes between frames:

# %%
packets = 10e9 / ((64 + 20) * 8)
assert round(packets / 1e6, 2) == 14.88
f"{packets / 1e6:.2f} million packets a second"

# %% [markdown]
# A connection has many packets, and only its first needs a new entry in the connection table. New connections per
# second are a different, much lower number.
#
# ## Summary
#
# - `hash % N` is even, stateless and fast. Change N, and it moves all but one in N - 1 of the healthy flows.
# - Maglev divides by a *fixed, prime* number of slots. Backends fill them in turns, each by its own permutation.
# - Turns make shares equal to within one slot. M larger than 100 N bounds the difference by one percent.
# - A departure moves the slots of the departed, and needlessly a few more. More slots for each backend, fewer
#   such moves. None is not promised.
# - A look-up is a remainder and one memory access, whatever the pool. A rebuild costs about M ln M tries.
# - The connection table protects known flows. The hash protects those whose memory was lost. One needs both.
#
# ## Exercises
#
# 1. A thousand backends, and shares may differ by one percent at most. Which size do you ask for?
#    <details><summary>Solution</summary>
#    More than 100 N slots, so the next prime after a hundred thousand:
#    <code>next(m for m in range(100_000, 200_000) if is_prime(m))</code>. The usual 65537 is too small: some
#    backends have 66 slots and some 65, which is 1.5 percent more.</details>
# 2. Add an eleventh backend instead of removing one. Which moves are needless now, and how many are there?
#    <details><summary>Solution</summary>
#    <code>disruption(Maglev(pool), Maglev([*pool, "10.0.0.11:80"]))</code>. Moves to the newcomer are what it is for;
#    moves between old backends are needless. Their number is exactly what the departure of that newcomer would
#    cause: the same two tables, read the other way round.</details>
# 3. A backend flaps: out, in, out, in. How do the tables differ after each pair?
#    <details><summary>Solution</summary>
#    Not at all: the table depends on the set of names and has no history. But flows that arrived while it was out are
#    with others now, and without a connection table they are torn away when it returns.</details>
# 4. Remove the sorting: fill one table by <code>populate</code> for a list of names, one for the reversed list. How
#    many slots differ in their owner?
#    <details><summary>Solution</summary>
#    Compare by name. Who comes first in a round wins ties, so some slots change hands. Two balancers that list
#    the same pool in different orders disagree about those flows: sort before you fill.</details>
#
# ## Interview questions
#
# **"Why not `hash % N`?"**
# *Weak:* "It is not consistent." *Strong:* says what happens: on any change of N, a healthy flow stays only by luck,
# one time in about N. Then asks whether the pool changes at all, and whether the flows have state to lose.
#
# **"Consistent hashing moves only 1/N of the keys. True for Maglev?"**
# *Weak:* "Yes." *Strong:* 1/N had to move; Maglev moves a small share on top, which shrinks with the table. The
# ring and rendezvous move none needlessly, and pay with uneven shares or a cost that grows with the pool.
#
# **"Maglev has consistent hashing. What does it need a connection table for?"**
# *Weak:* "For speed." *Strong:* the table changes when the pool does, and remembered flows must not follow it. And the
# reverse: memory is lost when routers reshuffle, so the hash must agree across the fleet. Each covers the other's
# failure; both at once still break some flows.
#
# **"Why is the table size prime?"**
# *Weak:* "Primes hash better." *Strong:* a backend walks by a fixed skip; it meets every slot only if skip and size
# share no factor. A prime makes every skip good. Otherwise populating may never end.
#
# ## Sources
#
# - D. Eisenbud et al.:
#   [Maglev](https://www.usenix.org/system/files/conference/nsdi16/nsdi16-paper-eisenbud.pdf), NSDI 2016. Section 3.4
#   is the algorithm.
# - [Katran](https://github.com/facebookincubator/katran): XDP, a connection table, Maglev hashing with weights.
# - Linux IPVS's scheduler: [ip_vs_mh.c](https://github.com/torvalds/linux/blob/v6.12/net/netfilter/ipvs/ip_vs_mh.c).
# - Envoy's [Maglev policy][policy].
# - D. Karger et al.: [Consistent Hashing and Random Trees](https://doi.org/10.1145/258533.258660), STOC 1997.
# - D. Thaler, C. Ravishankar: [Using Name-Based Mappings](https://doi.org/10.1109/90.663936), 1998: rendezvous.
#
# [policy]: https://www.envoyproxy.io/docs/envoy/latest/api-v3/extensions/load_balancing_policies/maglev/v3/maglev.proto
