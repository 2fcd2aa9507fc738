# ---
# book:
#   title: Flows and fleets
#   question: Draining a backend broke nothing. Rebooting a balancer broke nothing. Why did doing both?
#   tier: 0
#   minutes: 50
#   memory_mb: 400
#   after: [04-forwarding-modes]
#   lab:
# ---

# %% [markdown]
# ## Two harmless jobs
#
# On Monday a backend was drained for repair. New connections went to the other nine, old ones stayed. Nobody
# noticed. On Thursday one of the four balancers in front was rebooted. That had been rehearsed: routers send its
# packets to the other three, which all have the same table and agree on everything. In the rehearsal nobody noticed.
#
# On Thursday somebody did. A few percent of the long connections were reset, at backends in good health, among them
# WebSockets that had been open since the weekend. **Each of the two jobs had been tested. What had not?**

# %%
from asyncio.sslproto import SSLProtocol

import numpy as np

from lbcore import measure, show
from lbcore.l4 import ahead, flow_table, tables
from lbcore.l4.config import Balancer, Config
from lbcore.l4.forwarder import Forwarder
from lbcore.sim import clients, ecmp, fleet
from lbcore.sim.groups import forced_out
from lbcore.testbed import connection_memory
from lbcore.wire import tcp

# %% [markdown]
# ## A balancer that forgets
#
# A *flow* is one connection as the network sees it: protocol, two addresses, two ports. Here is the book's own packet
# balancer, with ten backends behind one virtual address. It finds a flow's backend by Maglev ([chapter
# 03](03-maglev.ipynb)) and sends the packet there by changing one thing, the Ethernet address that it goes to. Its last
# byte tells us who was chosen.

# %%
show.source(clients.chosen)

# %% [markdown]
# Two thousand clients open a connection: a SYN, and later a data packet of each.

# %%
syns, data = (clients.packets(range(2000), flags) for flags in (tcp.SYN, tcp.ACK))
balancer = Forwarder(Config([clients.web(10)]))
at_first = clients.chosen(balancer, syns)
np.bincount(at_first)[1:]

# %% [markdown]
# Then backend 3 is *drained*: it gets nothing new, and is to keep what it has. The connections go on.

# %%
clients.chosen(balancer, data)
balancer.balancer.set_state("10.0.0.3", tables.DRAINING)
assert (clients.chosen(balancer, data) == at_first).all()

# %% [markdown]
# The assertion held: none moved, although the Maglev table is another one now. The balancer keeps a *flow table*: it
# writes down where each flow went. Now take that away, as a reboot does, and send the same packets once more.

# %%
show.predict(
    "Backend 3 of ten is draining and the flow table is empty. What share of all connections is sent elsewhere?",
    answer=0.10,
    tolerance=0.015,
    unit="%",
    why="All of backend 3's, which is a tenth of them. And a few whose backend never changed state at all.",
)

# %%
clients.forget(balancer)
moved, its_own = clients.chosen(balancer, data) != at_first, at_first == 3
assert moved[its_own].all() and 0 < moved[~its_own].mean() < 0.01 and 0.09 < moved.mean() < 0.12
f"{moved.mean():.1%} moved: {moved[its_own].sum()} of backend 3's, and {moved[~its_own].sum()} of the others'"

# %% [markdown]
# Two groups broke, for two reasons. Backend 3's flows were alive only by memory, for it is not in the table any more.
# So **draining works because flows are remembered**; a consistent hash by itself cuts off a draining
# backend as if it had died. The few others are Maglev's needless moves: slots that changed hands between healthy
# backends when the table was filled anew.
#
# One often reads that draining "relies on the consistent hash". It does not. The hash keeps the second group small.
#
# ## The flow table, opened
#
# It is one array. A *row* is eight words, one cache line: five hold the key, one when the flow was last seen, one its
# backend, one is free. Beside each row stands a *tag*, one byte of the hash, so that a search need not read rows that
# cannot be meant.

# %%
million = flow_table.flow_table(1_000_000)
assert flow_table.BYTES == 65 and million.rows.nbytes + million.tags.nbytes == million.tags.size * 65
f"{flow_table.BYTES} bytes an entry; a million of them: {million.tags.size * flow_table.BYTES / 2**20:.0f} MiB"

# %%
show.source(flow_table.find)

# %% [markdown]
# The hash names a *group* of eight rows, and the flow is there or nowhere. It also names the row of the group to begin
# with, and mostly the search ends right there. At most eight tags are looked at. That bound is the point: no packet,
# not even one made by an attacker, can make a search long.
#
# The price comes when a group is full. Then somebody must go: an entry not seen for long, else the one that has been
# silent for longest among these eight. That is *least recently used*, LRU, done locally.

# %%
show.source(flow_table._make_room)

# %% [markdown]
# How full may the table be before this hurts? Put random flows in, and count those that find their group taken. The
# real table does what counting says, so counting will do for other group sizes.

# %%
real = flow_table.flow_table(1 << 12)
for flow in fleet.random_flows(int(0.6 * real.tags.size), seed=2).tolist():
    flow_table.put(real, flow >> 32, (flow, 0, 0, 0, 0), now=1, idle=10**9, backend=1)
assert abs(real.counts[2] / real.counts[0] - forced_out(0.6, 8)) < 0.01

fills = np.linspace(0.2, 1, 9)
losses = {f"groups of {ways}": [100 * forced_out(fill, ways) for fill in fills] for ways in (1, 4, 8, 16)}
assert losses["groups of 8"][3] < 1.5 and 10 < losses["groups of 8"][-1] < 18

# %%
show.lines(
    [round(100 * fill) for fill in fills],
    losses,
    x_label="flows, as a share of the table's rows (%)",
    y_label="flows forced out (%)",
    title="Groups of eight lose next to nothing up to half full",
    alt="Share of flows forced out against how full the table is, for groups of 1, 4, 8 and 16 rows. With one row it "
    "rises from a tenth to over a third. With eight it stays near zero up to half full and reaches about an eighth.",
)

# %% [markdown]
# Two lessons for sizing. Give the table twice the rows of the flows you expect. And wider groups fill better but cost
# more looks.
#
# ## What if it is full of rubbish?
#
# A *SYN flood* is a stream of first packets from forged addresses. Each looks like a new flow. An LRU table
# believes them: the flood's entries are the newest, so real ones are the "least recently used". Watch
# one table lose a thousand quiet connections to twenty thousand SYNs.

# %%
single, strangers = flow_table.flow_table(8192), fleet.random_flows(21_000, seed=3).tolist()
for now, flow in enumerate(strangers):
    flow_table.put(single, flow >> 32, (flow, 0, 0, 0, 0), now, idle=10**9, backend=1)

kept = sum(flow_table.find(single, flow >> 32, (flow, 0, 0, 0, 0)).row >= 0 for flow in strangers[:1000])
assert kept < 100
f"{kept} of the first 1000 still remembered, in a table with {single.tags.size} rows"

# %% [markdown]
# The book's balancer has two tables, and with them a promise: *a connection that has shown a second packet is never
# pushed out by one that has not*. A new flow goes to `attempts`. When it comes again, other than with a SYN, it moves
# to `established`. A flood of SYNs from random addresses shows each flow once. It fills `attempts`, and nothing else.

# %%
small = Forwarder(Config([clients.web(10)], flows=8192))
regulars = clients.packets(range(1000), tcp.ACK)
first = clients.chosen(small, clients.packets(range(1000), tcp.SYN))
assert (clients.chosen(small, regulars) == first).all()

# %%
clients.chosen(small, clients.packets(range(1000, 21_000), tcp.SYN))
small.balancer.set_state("10.0.0.3", tables.DRAINING)
assert (clients.chosen(small, regulars) == first).all()
[flow_table.in_use(table) for table in (small.balancer.tables.established, small.balancer.tables.attempts)]

# %% [markdown]
# A thousand rows in `established`, `attempts` full, and not one connection moved, though the drain would have exposed
# every one that was forgotten. Know the limits of the promise. It does not protect a connection that is just being
# opened. And the balancer checks no handshake: an attacker who sends an ACK after each forged SYN gets into
# `established`. Against that one needs SYN cookies: see [chapter 07](07-under-attack.ipynb).
#
# ## Many balancers, one address
#
# One balancer is one machine that can fail. So there is a fleet: routers know the same virtual address by several
# routes of equal cost (*ECMP*, equal-cost multi-path), hash each packet's flow and pick a next hop.
#
# ```mermaid
# flowchart LR
#   C[clients] --> R{router<br/>hash of the flow}
#   R --> A[balancer 1<br/>Maglev + flow table]
#   R --> B[balancer 2<br/>Maglev + flow table]
#   R --> D[balancer 3<br/>Maglev + flow table]
#   A --> P[backends]
#   B --> P
#   D --> P
# ```
#
# The balancers tell each other nothing. They need not: with the same pool, Maglev gives them the same table. But look
# at where the memory is. Each balancer remembers *the flows that its router happened to send it*.

# %%
show.quiz(
    "One of eight balancers dies. The router picks the next hop by hash % n. What else happens?",
    {
        "Only the dead one's flows go to others": "That is what one would wish, and what resilient routers do.",
        "Most flows change their balancer": "Seven of eight do: the remainder by 8 and by 7 have little in common.",
        "Most connections break": "Not by this alone: every balancer gives the same answer for every flow.",
    },
    correct="Most flows change their balancer",
)

# %% [markdown]
# It is the problem of [chapter 03](03-maglev.ipynb) once more, one storey up. Routers have three answers.
# *Modulo* takes the remainder. *Hash-threshold* cuts the hash space into equal ranges ([RFC
# 2992](https://www.rfc-editor.org/rfc/rfc2992)). *Resilient* hashing keeps a table of buckets and gives away only those
# of the lost next hop; Linux has it as [resilient next-hop
# groups](https://docs.kernel.org/networking/nexthop-group-resilient.html).

# %%
show.source(ecmp.Resilient)

# %%
flows, counts = fleet.random_flows(20_000, seed=1), (2, 3, 4, 6, 8, 12, 16)
elsewhere = {kind: [ecmp.moved_share(kind, n, flows) for n in counts] for kind in ecmp.ROUTERS}
assert np.allclose(elsewhere["resilient"], [1 / n for n in counts], atol=0.01)
assert np.allclose(elsewhere["modulo"], [1 - 1 / n for n in counts], atol=0.01)

# %%
show.lines(
    counts,
    {kind: np.multiply(shares, 100) for kind, shares in elsewhere.items()},
    x_label="balancers before the loss",
    y_label="flows at another balancer (%)",
    title="What one lost balancer moves depends on the router",
    alt="Flows that reach another balancer after one is lost, against the number of balancers. Modulo rises from half "
    "towards all, hash-threshold falls from a half towards a third, resilient falls as one over n.",
)

# %% [markdown]
# A flow at another balancer is not a broken flow. It is a flow whose memory is elsewhere, and which now depends on the
# hash alone.
#
# ## One loss, two losses
#
# A connection breaks when it is sent to another backend than before. Two things stand against that: the
# memory of the balancer that it passes, and a hash that still gives the old answer. Ask what each loss takes away.
# The simulator keeps no packets, only flows; but pickers and flow tables in it are the real ones.

# %%
show.source(fleet.Fleet.send)

# %%
show.source(fleet.broken_by)

# %%
show.predict(
    "Four balancers with flow tables and Maglev behind a resilient router; ten backends. One balancer is lost, and "
    "one backend is draining. What share of the connections breaks?",
    answer=0.025,
    tolerance=0.008,
    unit="%",
    why="A quarter has lost its memory. Of that quarter, the tenth that is at the draining backend has lost its "
    "answer, too, and a few that Maglev moved needlessly.",
)

# %%
designs = {
    "modulo alone": {"picker": "modulo", "entries": 0},
    "Maglev alone": {"entries": 0},
    "modulo + memory": {"picker": "modulo"},
    "Maglev + memory": {},
}
both = {"balancer": True, "backend": True}
events = [{"balancer": True}, {"backend": True}, both]
broke = {name: [100 * fleet.broken_by(flows, **event, **kind) for event in events] for name, kind in designs.items()}

# %%
assert broke["modulo + memory"][:2] == broke["Maglev + memory"][:2] == [0, 0]
assert 1.5 < broke["Maglev + memory"][2] < 3.5 and broke["modulo + memory"][2] > 20
show.bars(
    ("a balancer", "a backend, drained", "both"),
    broke,
    x_label="what the fleet loses",
    y_label="connections that break (%)",
    title="With memory, one loss breaks nothing; for two, the hash decides",
    alt="Bars of broken connections in percent for four designs and three losses. A lost balancer breaks none. A "
    "drained backend breaks nine tenths with modulo alone, a tenth with Maglev alone, none with memory. Both break "
    "nine tenths, a tenth, about a quarter with modulo and memory, and two to three percent with Maglev and memory.",
)

# %% [markdown]
# A lost balancer by itself breaks nothing, in any design. Without memory, a drained backend costs a tenth under
# Maglev and nearly all under modulo. With memory it costs nothing, **under any hash**. The hash shows its worth on the
# right, where memory is lost: modulo breaks nearly the whole quarter, Maglev a tenth of it.
#
# The two losses are independent, so their shares multiply: what the router moved, times what the hash answers
# differently now. That is worth checking, because it tells what each improvement is worth.

# %%
shares = {router: ecmp.moved_share(router, 4, flows, lost=1) for router in ecmp.ROUTERS}
product = {router: lost * broke["Maglev alone"][1] / 100 for router, lost in shares.items()}
real = {router: fleet.broken_by(flows, router=router, **both) for router in shares}
assert all(abs(product[router] - real[router]) < 0.005 for router in shares)
rows = [(router, *(f"{x[router]:.1%}" for x in (shares, product, real))) for router in shares]
show.table(rows, ("router", "memory lost", "times Maglev's moves", "broken in the simulator"))

# %% [markdown]
# ## They need not come together
#
# "At once" was wrong in one respect: Monday and Thursday are not the same moment. When the pool changed on Monday,
# some connections were from then on held by memory only. They stayed so until they ended. Think of it as a debt. It
# costs nothing while the memory lives, and falls due when a balancer goes. Here backends are *added*, one by one,
# under connections that stay open.

# %%
steps = range(11)
debts = {picker: [100 * fleet.debt(flows, added, picker=picker) for added in steps] for picker in fleet.PICKERS}
assert debts["modulo"][1] > 85 and 9 < debts["Maglev"][1] < 12 and 48 < debts["Maglev"][10] < 55

# %%
show.lines(
    list(steps),
    debts,
    x_label="backends added to ten since the connections were opened",
    y_label="held by memory alone (%)",
    title="Every change of the pool adds connections that only memory holds",
    alt="Share of open connections that only memory keeps, against backends added. Modulo jumps above 85 percent with "
    "the first and stays high but for 15 and 20 backends. Maglev rises by about a tenth with the first and to about a "
    "half with the tenth.",
)

# %% [markdown]
# (Modulo's dips are the luck of numbers with common factors: from ten to twenty, every second flow stays.)
#
# Autoscaling that goes from ten backends to twenty breaks nothing, and leaves half of the long connections with one
# life instead of two. The next lost balancer breaks its share of them. What saves most services is that connections
# are short: the debt is only as old as the connections. Those who should worry have WebSockets, database sessions,
# video calls.
#
# ## See it
#
# A cell is a connection. Grey ones the hash alone would keep; those with a dot stay only because their balancer
# remembers them; crosses are broken. The balancer that dies is the second, the backend that is drained the third.

# %%
show.explore(
    show.fleet,
    hint="lose only a backend: the dots are the debt. Then both, with the router at modulo: crosses in every row",
    backends=(3, 20),
    balancers=(2, 8),
    lose=["a balancer", "a backend", "a balancer and a backend"],
    router=list(ecmp.ROUTERS),
    picker=["Maglev", "modulo"],
    memory=True,
)

# %% [markdown]
# ## A memory that is too small
#
# A full table forgets without any reboot. One balancer, twenty thousand connections, a drained backend, and
# tables of growing size:

# %%
some, sizes = fleet.random_flows(20_000, seed=4), [1 << k for k in range(12, 18)]
forgotten = [100 * fleet.broken_by(some, backend=True, balancers=1, entries=entries) for entries in sizes]
assert forgotten == sorted(forgotten, reverse=True) and forgotten[0] > 7 and forgotten[3] < 0.5 and forgotten[4] == 0

# %%
show.lines(
    [size / some.size for size in sizes],
    {"one balancer, one backend drained": forgotten},
    x_label="rows in the table, for each open connection",
    y_label="connections that break (%)",
    title="From two rows for each connection on, hardly anything is forgotten",
    alt="Broken connections in percent against table rows for each connection. With a fifth of a row most of the "
    "drained tenth breaks, as if there were no memory; near two rows almost none, beyond three none.",
)

# %% [markdown]
# ## Track only what could move
#
# Most of the memory is never needed: the hash alone would have given the same answer. Which flows are these? If one
# knew *which* backends may come or go next, one could compare today's table with tomorrow's, and remember only flows
# whose slot differs. This is JET, *just enough tracking* ([Mendelson et al.,
# 2021](https://doi.org/10.1145/3485983.3494851)), which reports tables an order of magnitude smaller. Backends that may
# change are called the *horizon*.

# %%
show.source(Balancer.ring)

# %% [markdown]
# For each backend of the horizon: what would the table be if it came, or went? Slots that would change get a mark,
# and only marked slots' flows are written down. Say two spares are ready to join ten backends.

# %%
spares = ("10.0.0.11", "10.0.0.12")


def after_change(horizon, address, state):
    forwarder = Forwarder(Config([clients.web(12)], horizon=horizon))
    for spare in spares:
        forwarder.balancer.set_state(spare, tables.GONE)
    first = clients.chosen(forwarder, syns)
    clients.chosen(forwarder, data)
    forwarder.balancer.set_state(address, state)
    tracked = flow_table.in_use(forwarder.balancer.tables.established)
    return tracked / first.size, int((clients.chosen(forwarder, data) != first).sum())


# %%
tries = [("nothing said: all", ()), ("the two spares", spares), ("spares and backend 3", (*spares, "10.0.0.3"))]
joins = [after_change(horizon, "10.0.0.11", tables.ACTIVE) for _, horizon in tries]
drains = [after_change(horizon, "10.0.0.3", tables.DRAINING) for _, horizon in tries]
rows = [(name, f"{j[0]:.0%}", j[1], d[1]) for (name, _), j, d in zip(tries, joins, drains, strict=True)]

# %%
assert [row[2] for row in rows] == [0, 0, 0] and rows[0][3] == rows[2][3] == 0 and rows[1][3] > 100
assert 0.12 < joins[1][0] < 0.22 and 0.2 < joins[2][0] < 0.3
show.table(rows, ("horizon", "flows in the table", "moved when a spare joins", "moved when backend 3 drains"))

# %% [markdown]
# A sixth of the memory, and the change that was foreseen broke nothing. The one that was not foreseen cut off most of
# backend 3's connections: just enough tracking is enough for what one has said. So put a backend into the horizon
# *before* you drain it, early enough for its connections to be written down. A crash cannot be announced, but a
# crashed backend's flows are lost anyway. With the ring or rendezvous nobody else's are; with Maglev, untracked
# flows may be moved needlessly.
#
# ## What does a row far away cost?
#
# A table for a hundred thousand flows is too large for the caches next to the processor. A flow's row may be anywhere
# in it, so the processor waits for memory. But packets come in batches. What a later one will need can be known now:
# read its header, hash it, ask for the row, and go on without waiting. By the time of its turn the row is there. This
# is *prefetching*, and the book's data plane does it, eight packets ahead, where its tables are large.

# %%
show.source(ahead.ask)

# %% [markdown]
# It reads each header twice. Predict: with 64,000 flows, is a packet dearer or cheaper for it, and by what factor? The
# same packets, all of known flows, with and without looking ahead:


# %% tags=["nbval-ignore-output"]
def cost_of(flows):
    packets, forwarder = clients.packets(range(flows), tcp.ACK), Forwarder(Config([clients.web(10)], flows=4 * flows))

    def forward(lead):
        forwarder.lead = lead
        forwarder.process(*packets)

    done = measure.compare({str(lead): lambda lead=lead: forward(lead) for lead in (0, 8)}, operations=flows, rounds=5)
    assert flow_table.in_use(forwarder.balancer.tables.established) > 0.95 * flows
    return done.ns("0"), done.ns("8")


counts = [1000, 4000, 16_000, 64_000]
waiting, asked = np.array([cost_of(flows) for flows in counts]).T
assert waiting[-1] > waiting[0] and waiting[-1] > 0.9 * asked[-1]
show.lines(
    counts,
    {"each row asked for when needed": waiting, "asked for eight packets ahead": asked},
    x_label="flows in the table",
    y_label="a packet (ns)",
    title=f"With 64,000 flows, asking ahead makes packets {waiting[-1] / asked[-1]:.1f} times as fast",
    alt="Nanoseconds of a packet against flows in the table. Rows asked for when needed: it rises steeply once the "
    "table has outgrown the processor's caches. Asked for eight packets ahead: dearer at first, and it rises less.",
    x_log=True,
)

# %% [markdown]
# In a small table rows are near anyway, and looking ahead is only work. In a large one waiting is most of what a packet
# costs, and reading its header twice is cheap beside it. No answer changes, only when the question is put. That is one
# more reason for *batches* in a data plane: nobody can look ahead in a batch of one.
#
# ## How many rows, how many new ones a second?
#
# Rows needed are new flows a second, times the seconds that an entry is kept (Little's law: what is inside is rate
# times stay). Mind that an entry outlives its connection: a balancer that sees one direction only cannot be sure of a
# close.

# %%
needed = 50_000 * 30  # new flows a second, seconds
size = flow_table.BYTES * (2 * needed + needed)  # twice the rows, and half as many again for `attempts`
assert round(size / 2**20) == 279
f"{needed:,} flows; both tables with twice the rows: {size / 2**20:.0f} MiB"

# %% [markdown]
# A packet of a known flow is found and forwarded. A new flow's first packet is looked for in two tables, in vain, then
# asks Maglev, then is written down. So *packets a second* and *new flows a second* are two figures, and published ones
# are nearly always the first. How far apart are they here?


# %% tags=["nbval-ignore-output"]
def new():
    clients.forget(fresh)
    fresh.process(*syns)


fresh, settled = (Forwarder(Config([clients.web(10)])) for _ in range(2))
for block in (syns, data):
    clients.chosen(settled, block)
work = {"known flow": lambda: settled.process(*data), "new flow": new}
cost = measure.compare(work, operations=2000, rounds=7, baseline="known flow")
assert 0.8 < cost.ratio("new flow") < 30
f"a new flow's packet costs {cost.ratio('new flow'):.1f} times a known flow's"

# %% [markdown]
# A factor, not a different world: nothing is allocated, locked or moved for a new flow. In such a design it is not so
# much the processor as the room that limits new flows: rate times stay. A design that allocates each entry and links
# it into lists has more to do; measure it before you believe either figure.
#
# ## What a connection weighs
#
# A sentence that goes around says: 128 bytes a connection at L4, the size of a conntrack entry; 16 kilobytes at L7.
# Both numbers exist, and neither is what it is said to be. The 128 bytes are from the help text of Linux's *IPVS*
# ([Kconfig](https://github.com/torvalds/linux/blob/v6.12/net/netfilter/ipvs/Kconfig)). Conntrack is another part of
# the kernel, with larger entries. And 16 kilobytes is the size of one of HAProxy's buffers ([manual][manual]), which
# an idle connection need not hold.
#
# [manual]: https://github.com/haproxy/haproxy/blob/v3.2.0/doc/configuration.txt
#
# Measure. A server in a process of its own gets hundreds of connections that say nothing, and looks up its own
# memory. What the kernel keeps is read from `/proc/slabinfo` where we may.

# %% tags=["nbval-ignore-output"]
weights = {"flow table, an entry": flow_table.BYTES, "IPVS, an entry (by its help text)": 128}
kernel = connection_memory.kernel_objects("nf_conntrack", "TCP")
weights |= {f"kernel, {name} object": size for name, size in kernel.items()}
slopes = {kind: connection_memory.memory_slope(kind) for kind in connection_memory.KINDS}
weights |= {f"asyncio, idle: {kind}": slope for kind, slope in slopes.items()}
weights = dict(sorted(weights.items(), key=lambda one: one[1]))
assert 300 < slopes["protocol"] < slopes["streams"] < slopes["tls"] / 4
show.table([(name, f"{size:,.0f}") for name, size in weights.items()], ("what", "bytes"))

# %% tags=["nbval-ignore-output"]
fig, ax = show.figure(height=3.4)
ax.barh(list(weights)[::-1], list(weights.values())[::-1], height=0.6)
ax.set(xscale="log", xlabel="bytes for one more connection (logarithmic)", ylabel="what remembers it")
ax.grid(False, axis="y")
show.finish(
    fig,
    title="What a connection weighs depends on who remembers it",
    alt="Horizontal bars on a logarithmic axis: bytes for one more connection, smallest for a flow table entry, then "
    "kernel objects, asyncio protocols and streams, and by far the largest for asyncio with TLS.",
)

# %% [markdown]
# The flow table's entry is tens of bytes. The kernel's objects are hundreds to thousands; a proxy pays for a socket
# on each side. An idle asyncio connection adds one to several kilobytes. TLS is the surprise: hundreds of kilobytes.
# Is that cryptography?

# %% tags=["nbval-ignore-output"]
rest = slopes["tls"] - slopes["streams"] - SSLProtocol.max_size
assert SSLProtocol.max_size == 256 * 1024 and rest < slopes["tls"] / 3
f"{SSLProtocol.max_size / slopes['tls']:.0%} of it is one buffer; about {rest / 1000:.0f} kB are left for TLS itself"

# %% [markdown]
# It is one read buffer that asyncio allocates for each TLS connection, before a byte arrives. The weight of a
# connection is mostly a *design*, not a law of its layer. nginx states about 2.5 MB for 10,000 idle keep-alive
# connections, that is 250 bytes each ([nginx.org](https://nginx.org/en/)). HAProxy counts on 20,000 busy ones for a
# gigabyte, about 50 kB each, and more with TLS ([introduction][intro]). What an L7 proxy's memory follows is
# concurrent *requests*, because that is when buffers are held.
#
# [intro]: https://github.com/haproxy/haproxy/blob/v3.2.0/doc/intro.txt
#
# ## Thursday, explained
#
# Monday's drain left a tenth of the long connections with memory as their only hold. Thursday's reboot took the memory
# of a quarter. A quarter of a tenth is what the pagers saw. The rehearsals had tested each loss on a fleet that had no
# debt.
#
# What to do: let drains finish before balancers are touched, and touch one balancer at a time. Ask the network team
# which ECMP the routers do. Give the table twice the rows. And where a connection must survive everything, let the
# packet itself name its backend, as QUIC connection ids can; then nobody needs to remember.
#
# ## Summary
#
# - A flow breaks only if memory *and* hash both fail it. Either alone keeps every connection.
# - Draining lives on memory. A consistent hash does not drain; it limits what a lost memory costs.
# - Broken share = flows that lost their memory x flows whose hash answer has changed since they began.
# - The two losses may lie days apart. Pool changes leave a debt that lasts as long as connections do.
# - "Any balancer can take any packet" holds while the pool has not changed since the flow began.
# - A flow table has a fixed size and bounded looks. Two tables keep a SYN flood away from established flows.
# - Just enough tracking stores only flows that a foreseen change could move.
# - Packets a second and new flows a second are different limits. So are idle and busy bytes a connection.
#
# ## Exercises
#
# 1. Let backend 3 *fail* instead of draining (`group.fail(3)`), and lose a balancer. What share breaks now, and why is
#    it so much smaller?
#    <details><summary>Solution</summary>
#    Write it as <code>broken_by</code> is written. Dead backends' flows are not counted as broken: no balancer could
#    have saved them. Only Maglev's needless moves in the lost quarter are left, less than a tenth of a percent.
#    </details>
# 2. Take each of ten backends out of the pool in turn and put it back. How large is the debt of connections that were
#    open before, when all is done? And of those that were opened in between?
#    <details><summary>Solution</summary>
#    Zero for the first: the pool is what it was, and so is the table. Connections that were opened while a backend was
#    out carry a debt of about a tenth, and keep it. Use <code>set_pool</code>, and <code>fates</code> with a
#    second set of flows.</details>
# 3. Put both spares into the horizon. Let them join one after the other, with data packets in between; then,
#    in a fresh balancer, both at once. Take 20,000 clients. Does anything move?
#    <details><summary>Solution</summary>
#    One after the other: nothing. Both at once: a few dozen. Marks are made for one change at a time, and a slot that
#    only changes when both have come had no mark. In between, packets give the balancer the chance to write down flows
#    whose slots were marked anew. The paper compares with the whole horizon at once.</details>
# 4. A table of a million rows has groups of eight. An attacker knows the hash. What can he do with eight flows, and
#    what is the remedy?
#    <details><summary>Solution</summary>
#    Fill one group and push out its entries, at most eight. With a chosen set of flows he can do so for group after
#    group. Seed the hash with a number that he does not know.</details>
# 5. Your routers do modulo. Is it better to have 4 balancers or 16?
#    <details><summary>Solution</summary>
#    Losing one moves 3/4 or 15/16 of all flows: nearly all memory is lost in both cases. With 16 it also happens four
#    times as often. With resilient routers, 16 are better: a sixteenth each time.</details>
#
# ## Interview questions
#
# **"Your balancers use consistent hashing. Why do they keep connection state?"**
# *Weak:* "For performance." *Strong:* because the table changes when the pool does, and open connections must not
# follow it. Names draining as the case where a *whole backend's* flows live on state alone. Then turns it round:
# state is lost when a balancer dies, and then the hash limits the damage.
#
# **"A balancer in an ECMP group dies. Which connections break?"**
# *Weak:* "Those that went through it." *Strong:* asks for the router's hashing and for what the pool has done in the
# lifetime of the connections. With an unchanged pool: none. Otherwise the product of two shares, and says both.
#
# **"How much memory does a connection take at L4 and at L7?"**
# *Weak:* two numbers. *Strong:* asks which design. Tens of bytes for a table entry, hundreds in the kernel's
# conntrack; at L7 from hundreds of bytes idle to tens or hundreds of kilobytes with buffers and TLS. Offers to
# measure the slope.
#
# **"Somebody floods you with SYNs. What happens to the flow table?"**
# *Weak:* "It fills up and we drop." *Strong:* says who gets evicted. In a single LRU it is the real, quiet
# connections; then explains one way to prevent it and what that way does not cover.
#
# ## Sources
#
# - D. Eisenbud et al.: [Maglev](https://www.usenix.org/system/files/conference/nsdi16/nsdi16-paper-eisenbud.pdf),
#   NSDI 2016: ECMP, consistent hashing and connection tracking together.
# - G. Mendelson et al.: [Load Balancing with JET](https://doi.org/10.1145/3485983.3494851), CoNEXT 2021.
# - [RFC 2992](https://www.rfc-editor.org/rfc/rfc2992): hash-threshold, and what it disrupts.
# - Linux: [resilient next-hop groups](https://docs.kernel.org/networking/nexthop-group-resilient.html).
# - [Katran](https://github.com/facebookincubator/katran): an LRU table of flows beside Maglev, in XDP.
# - Conntrack's entry [weighed in 2009][conntrack]: 304 bytes. Yours is in `/proc/slabinfo`.
#
# [conntrack]: https://johnleach.co.uk/posts/2009/06/17/netfilter-conntrack-memory-usage/
