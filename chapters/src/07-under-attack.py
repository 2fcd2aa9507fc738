# ---
# book:
#   title: Under attack
#   question: The link is half empty, the processors idle, and nobody can connect. What has run out?
#   tier: 2
#   minutes: 55
#   memory_mb: 500
#   after: [kernel-fast-path]
#   lab:
# ---

# %% [markdown]
# ## The outage without a load
#
# It is Friday evening and nobody can reach the shop. You look for the flood: the uplink is half empty. You look for the
# bottleneck: the balancer's processors idle, the web servers' too. People who were logged in still buy things. Only new
# connections hang, for a minute, and fail. One of the servers says `possible SYN flooding on port 443`.
#
# Something has run out, and it is neither bandwidth nor processor time. **What was it, how little does it take to use
# it up, and whose job is it to prevent that?**

# %%
import numpy as np

from lbcore import measure, show
from lbcore.l4 import choose, crowd, flow_table, guard, syn_cookie
from lbcore.l4.config import DRAINING, Backend, Config, Service
from lbcore.l4.crowd import Crowd, ack, syn
from lbcore.l4.forwarder import Forwarder, batch
from lbcore.measure import under_fire
from lbcore.sim.loss import served
from lbcore.wire.compose import tcp_frame
from lbcore.wire.dissect import dissect
from lbcore.wire.floods import forged, senders

# %% [markdown]
# ## Four kinds of "large"
#
# A *denial of service* uses something up so that others get none of it. Which thing decides how large an attack has to
# be, and there are at least four: bits a second (links), packets a second (whatever looks at each packet), connections
# (whatever remembers them), and requests a second (whatever answers them). A headline has one number, and often not
# the one that hurt.
#
# Take an attack that is often told. On 18 to 21 June 2020 Cloudflare was hit from more than 316,000 source addresses,
# with a peak of 754 million packets a second
# ([Cloudflare](https://blog.cloudflare.com/no-humans-involved-mitigating-a-754-million-pps-ddos-attack-automatically/)).
# These were packets with TCP flags and little else. [Chapter 00](00-start-here.ipynb) did the sum: had all of them been
# the smallest Ethernet frames, of 84 bytes with the preamble and the gap,

# %%
gigabits = 754e6 * 84 * 8 / 1e9
line_rate = 100e9 / (84 * 8) / 1e6
assert round(gigabits) == 507 and round(line_rate, 1) == 148.8
print(f"{gigabits:.0f} Gb/s, or {754 / line_rate:.1f} links of 100 Gb/s filled with the smallest frames")

# %% [markdown]
# Five links of a data centre: for bits, nothing much. For packets it was among the largest. Much of what is told about
# that week is wrong:
#
# - **"It had 765 Gb/s."** The report counts packets, and gives no peak in bits.
# - **"It was the largest ever."** On 21 June [Akamai](https://www.dvhardware.net/article73263.html) saw 809 million
#   packets a second, and [AWS](https://www.verdict.co.uk/ddos-attack-aws/) had reported 2.3 Tb/s for February.
# - **"Katran absorbed it."** Katran is [Meta's](https://github.com/facebookincubator/katran). Cloudflare names Gatebot
#   for the detection; its dropper is [L4Drop](https://blog.cloudflare.com/l4drop-xdp-ebpf-based-ddos-mitigations/), an
#   XDP program.
# - **"Not one request reached an origin."** There were no requests in it, only SYN, ACK and SYN-ACK packets. What the
#   report claims is that nothing was down or slow.
#
# Note which program did the work in the end. It was one that drops packets, not one that balances them.

# %% [markdown]
# ## Anybody can be the sender
#
# The source address of a packet is what its sender wrote there. A *SYN flood* sends nothing but the first packets of
# connections, each from another address that somebody made up. Here is one of them. The marked fields are all that
# differs between any two.

# %%
VIP, SECOND = "203.0.113.80:80", 10**9
fields = ["ipv4.source", "tcp.source_port", "ipv4.checksum", "tcp.checksum"]
show.packet(syn(VIP), dissect(syn(VIP)), highlight=fields, caption="a SYN from an address that need not exist")

# %%
random = np.random.default_rng(7)
flood = forged(syn(VIP), senders("198.18.0.0/15", 20_000, random), random.integers(1024, 65536, 20_000))
differ = np.flatnonzero((flood != flood[0]).any(axis=0)).tolist()
assert differ == [24, 25, 27, 28, 29, 34, 35, 50, 51]
f"{len(flood):,} SYNs; bytes that differ: {differ}"

# %% [markdown]
# Twenty thousand strangers in one array. (The network 198.18.0.0/15 is set aside for tests,
# [RFC 2544](https://www.rfc-editor.org/rfc/rfc2544), so nobody lives there; its first byte is common to all.) Forging
# costs the attacker nothing, and it takes away the defender's favourite question: *who is it?*
#
# ## A million strangers against the flow table
#
# The balancer has a memory, the *flow table*: which connection went to which backend. [Chapter
# 05](05-flows-and-fleets.ipynb) opened it: a fixed number of rows in groups of eight, and where a group is full, the
# connection that was idle for longest has to go. So the table cannot be exhausted: it never grows, and a new connection
# always gets a row. It can only *forget*. How quickly? Put a thousand connections into a table with room for eight
# thousand, and let strangers come.

# %%
show.predict(
    "One table with 8192 rows, 1000 connections in it. After 32768 SYNs from strangers, how many are left?",
    answer=0,
    tolerance=20,
    unit="connections",
    why="By then four strangers have come for every row, and all of them are newer.",
)

# %%
came = list(range(0, 32_769, 2048))
one_table = crowd.one_table(8192, 1000, came)
assert one_table[0] == 1000 and one_table[-1] == 0 and one_table[4] < 600
one_table

# %% [markdown]
# One thing tells a connection from a stranger: a client that exists answers the server's answer, so it sends a *second*
# packet. A forged address does not. Hence the two tables of chapter 05. Whoever is new goes into `attempts`; whoever
# comes again moves to `established`, which strangers never enter. Read the middle of this function:

# %%
show.source(choose.choose)

# %% [markdown]
# Ten backends behind the balancer of this book, in memory, with fewer rows in both tables together than the one above
# had. A thousand clients connect. Then not thirty thousand strangers, but a million.

# %%
pool = [Backend(f"10.0.0.{i}", ethernet=f"02:00:00:00:00:{i:02x}") for i in range(1, 11)]
shop = [Service("203.0.113.80", 80, "tcp", "dsr", pool)]
clients, strangers = Crowd.of("10.128.0.0/9", 1000), Crowd.of("198.18.0.0/15", 1_000_000, seed=1)
forwarder = Forwarder(Config(shop, ring_size=1031, flows=4096))
before = clients.connect(forwarder, VIP, SECOND)
tables = forwarder.balancer.tables
flow_table.in_use(tables.established)

# %%
two_tables = [1000]
for start in came[:-1]:
    strangers.part(start, start + 2048).send(forwarder, syn(VIP), 2 * SECOND + start)
    two_tables.append(flow_table.in_use(tables.established))

# %%
show.lines(
    came,
    {"one table, 8192 rows": one_table, "two tables, 6144 rows": two_tables},
    x_label="SYNs from strangers",
    y_label="connections remembered",
    title="Who must show two packets to get in cannot be pushed out by one",
    alt="Connections remembered against forged SYNs. With one table the line falls from 1000 to nearly nothing by the "
    "time twice as many strangers came as there are rows; with two tables it stays at 1000.",
)

# %%
strangers.send(forwarder, syn(VIP), 3 * SECOND)
made, _, pushed_out = tables.attempts.counts
assert two_tables[-1] == flow_table.in_use(tables.established) == 1000 and pushed_out > 900_000
print(f"{made:,} attempts, {pushed_out:,} pushed out by others; established: 1000 of 1000")

# %% [markdown]
# The promise is exact: *a connection that has shown a second packet is never pushed out by one that has not.* The
# flood took the whole of `attempts`, hundreds of times over, and nothing else.
#
# ## What forgetting costs, and when
#
# Suppose a connection *is* forgotten. Is it broken? Its next packet is looked up in the ring, and the ring says what it
# said the first time. Nothing happens at all, until the ring changes.

# %%
forgetful = Forwarder(Config(shop, ring_size=1031, flows=4096))  # it has never heard of these connections
went = clients.send(forgetful, ack(VIP), SECOND)
f"moved: {(went != before).sum()} of 1000"

# %% [markdown]
# Now the same with a backend that is about to be restarted: it *drains*, which means that it keeps the connections it
# has and gets no new ones. One balancer has been through the flood and remembers; the other starts without a memory.

# %%
forgetful = Forwarder(Config(shop, ring_size=1031, flows=4096))
for lb in (forwarder, forgetful):
    lb.balancer.set_state("10.0.0.1", DRAINING)
kept, lost = (clients.send(lb, ack(VIP), 4 * SECOND) for lb in (forwarder, forgetful))
assert (kept == before).all() and (lost[before == 1] != 1).all()
print(f"remembered: {(kept != before).sum()} moved; forgotten: {(lost != before).sum()} moved")

# %% [markdown]
# So a flood against the flow table does harm only *together with* a change of the pool: a deployment, a failed
# health check. Floods cause failed health checks. This is why the promise is worth a second table.
#
# Consistent hashing is the first line of defence and memory the second.
#
# ## What breaks the promise
#
# Three things, and a good engineer names them unasked.
#
# **Strangers who come twice.** Nothing stops a forger from sending a second packet. It costs twice as many packets, and
# they must be close together, before the flood itself has pushed the first one out of `attempts`. Four packets for
# every row, and the oldest connections are gone:

# %%
weak = Forwarder(Config(shop, ring_size=1031, flows=4096))
clients.connect(weak, VIP, SECOND)
for start in range(0, 40_000, 250):
    strangers.part(start, start + 250).connect(weak, VIP, 2 * SECOND + start)
weak.balancer.set_state("10.0.0.1", DRAINING)
gone = clients.send(weak, ack(VIP), 4 * SECOND) != before
assert gone[before == 1].all()
f"moved: {gone.sum()} connections, all {(before == 1).sum()} of the backend that left among them"

# %% [markdown]
# **Clients slower than the flood.** A row of `attempts` lives for as long as the flood takes to fill the table. A
# client that needs longer for its second packet has been forgotten, and is a stranger again. Rows over packets a
# second:

# %%
rows, answer = 2**16, 0.03  # rows of attempts; seconds until a client's second packet
lives = {f"{rate / 1e6:g} Mpps": rows / rate for rate in (1e5, 1e6, 1e7)}
assert 2e6 < rows / answer < 2.3e6
{rate: f"{life * 1000:.0f} ms" for rate, life in lives.items()}

# %% [markdown]
# From some two million packets a second on, connections that begin *during* the flood are not remembered by 65,536
# rows, if clients take 30 ms. They work, by the ring. They are merely as fragile as without a table.
#
# **Whoever knows the hash.** Keys that are chosen to fall into one group push out that group's eight. The hash is
# seeded for that reason, and the seed belongs with the secrets.
#
# ## Where the shop really broke
#
# The balancer came through. The web servers did not. A listening socket keeps the connections whose handshake
# is not yet finished, the *SYN backlog*. It has a fixed number of places, and a place is held until the client answers
# or the kernel gives up: after about 63 seconds, with the usual five repetitions of its answer
# ([ip-sysctl](https://docs.kernel.org/networking/ip-sysctl.html)). Forged clients never answer.

# %%
show.predict(
    "A backlog with 1024 places, each held for 63 seconds. How many forged SYNs a second keep it full?",
    answer=16,
    tolerance=4,
    unit="SYNs/s",
    why="1024 places every 63 seconds. This needs no botnet; a phone will do.",
)

# %%
show.source(served)

# %%
rates = [2**n for n in range(13)]
good = {f"{places:,} places": [served(places, 63 * rate) for rate in rates] for places in (128, 1024, 8192)}
assert good["1,024 places"][2] > 0.99 and good["1,024 places"][-1] < 0.01

# %%
show.lines(
    rates,
    good,
    x_label="forged SYNs a second",
    y_label="share of good SYNs that find a place",
    x_log=True,
    title="A handful of SYNs a second fills a backlog; a larger one moves the cliff",
    alt="Share of good SYNs that find a place against forged SYNs a second, logarithmic. Each line is flat at one and "
    "then falls towards zero: for 128 places from about 2 a second, for 1024 from 16, for 8192 from 130.",
)

# %% [markdown]
# A place for eight times as many moves the cliff by eight. The attacker moves, too, and cheaper. What helps is to need
# no place at all.
#
# ## SYN cookies
#
# The server has to remember of a SYN: who it was, and a few options. Why not let the client keep it? The server answers
# with a sequence number of its own choice, and an honest client returns that number, plus one. So the number can carry
# the state, sealed with a secret: D. J. Bernstein's *SYN cookie*
# ([RFC 4987, section 3.6](https://www.rfc-editor.org/rfc/rfc4987#section-3.6)).

# %%
show.source(syn_cookie.make)

# %%
key = bytes(range(16))
given = syn_cookie.make(key, "192.0.2.1:1024", VIP, minute=1000, size=3)
accepted = [syn_cookie.accepts(key, given, "192.0.2.1:1024", VIP, minute) for minute in (1000, 1001, 1002)]
assert accepted == [True, True, False] and not syn_cookie.accepts(key, given, "192.0.2.2:1024", VIP, 1000)
f"{given:#010x}", accepted

# %% [markdown]
# Between the two packets, nothing about the client is stored anywhere. There is a price: what does not fit into the
# number is lost. Without TCP timestamps that is the window scale and selective acknowledgements. So Linux sends cookies
# only when the backlog is full (`tcp_syncookies=1`, the default).
#
# ## Should the balancer send the cookies?
#
# It sees the SYNs first, and the kernel has helpers with which an XDP program can make cookies
# ([synproxy, Netdev 0x15](https://netdevconf.info/0x15/loadsessions/Accelerating-synproxy-with-XDP.html)). Follow the
# numbers before you answer.
#
# ```mermaid
# sequenceDiagram
#   participant C as client
#   participant L as balancer
#   participant B as backend
#   C->>L: SYN, my numbers start at 100
#   L->>C: SYN-ACK, ours start at 7777 (the cookie)
#   C->>L: ACK 7778: proven, it exists
#   L->>B: SYN, as if from the client
#   B-->>C: SYN-ACK, mine start at 4242
#   Note over C: 4242? I am connected, to 7777
# ```

# %%
show.quiz(
    "What would the balancer have to do for the rest of this connection?",
    {
        "Nothing, the handshake is done": "The client counts from 7777, the backend from 4242.",
        "Add 3535 to each number of the backend's, and subtract it from each acknowledgment": "For every packet, both "
        "ways: a state for each connection, and the replies must come through the balancer.",
        "Tell the backend to start at 7777": "Plain TCP has no way to say so. A kernel that is taught to, has.",
    },
    correct="Add 3535 to each number of the backend's, and subtract it from each acknowledgment",
)

# %% [markdown]
# With direct server return the balancer never sees the backend's packets, so for ours the answer is no. It need not be
# sad: the backends' kernels have cookies, and the ring sends the SYN and its ACK to the same backend without having
# remembered either. The third answer is real, too. AWS puts proxies without state before backends that accept
# the proxies' cookies, and Linux has a function for that
# ([patch set](http://git.maquefel.me/?a=commitdiff&h=4eaafe5a5b7b5f2fcec22914bc5b8b2d860896b7&p=linux.git),
# [bpf_sk_assign_tcp_reqsk](https://docs.ebpf.io/linux/kfuncs/bpf_sk_assign_tcp_reqsk)).
#
# ## Dropping early
#
# What the balancer *can* do is say no, before it has spent anything. Ours has a guard in front: a block list of
# prefixes, and a *token bucket* for each source. Each SYN takes a token, tokens drip in at a fixed rate, and who has
# none left is dropped.

# %%
show.source(guard.refused)

# %% [markdown]
# Now everything at once. A client, an attacker, our balancer in the kernel, and two backends with 64 places in
# their backlogs. Good clients ask forty times a second, and the attacker sends two thousand SYNs a second, which is
# nothing for any of the machines. Two floods: one from forged addresses all over a network, one from four addresses.
# These are the cases:

# %%
show.source(under_fire.cases)

# %% [markdown]
# Before you run it: which of the five serve the good clients?

# %% tags=["nbval-ignore-output"]
fire = measure.live_or_recorded("under-attack-goodput", 2, under_fire.run)
answered = {name: series[1] / series[0] for name, series in fire.samples.items()}
for name, case in under_fire.cases().items():
    assert answered[name] > 0.8 if case.helps else answered[name] < 0.4, answered

# %% tags=["nbval-ignore-output"]
rows = [
    (name, f"{answered[name]:.0%}", f"{series[2]:,.0f}", f"{series[3]:,.0f}") for name, series in fire.samples.items()
]
print(fire.label)
show.table(rows, ("flood and defence", "good requests answered", "packets of the flood", "cookies sent"))

# %% [markdown]
# Each defence fits one flood, and the wrong one changes nothing. It depends on what each one *knows*. A block list
# knows a sign of the flood, here its prefix, and somebody had to find that sign. A limit knows who is who, and is blind
# where addresses are forged: each stranger has a full bucket. Cookies know nothing, and need not. But with cookies the
# flood still crosses the balancer, and each of its packets gets an answer. At two thousand a second nobody notices.
#
# ## How large must it be?
#
# Two thousand was generous. Without cookies, Linux keeps the last quarter of the backlog for clients that it has met
# before ([tcp_conn_request](https://github.com/torvalds/linux/blob/v6.12/net/ipv4/tcp_input.c)), so two backends have
# room for 96 strangers. Each flood below is 0.3 seconds ahead of the good clients, who then ask for half a second.

# %%
show.predict(
    "From which flood on will the last of these good clients find no place?",
    answer=120,
    tolerance=40,
    unit="SYNs/s",
    why="96 places within 0.8 seconds. Who has a minute needs two SYNs a second.",
)

# %% tags=["nbval-ignore-output"]
curve = measure.live_or_recorded("under-attack-curve", 2, under_fire.curve)
floods, *lines = curve.samples.values()
assert min(lines[1]) > 60 and max(lines[0][-2:]) < 40 < lines[0][0]
print(curve.label)

# %% tags=["nbval-ignore-output"]
fig, ax = show.figure(height=3.2)
for name, line in zip(under_fire.CURVES, lines, strict=True):
    ax.plot(floods, line, label=name)
ax.set_xscale("symlog", linthresh=100, linscale=0.5)
ax.set_xticks(floods, [f"{flood:,.0f}" for flood in floods])
ax.minorticks_off()
ax.set(xlabel="flood (SYNs a second)", ylabel="good requests answered (%)")
ax.legend(title="the flood is", frameon=False)
show.finish(
    fig,
    title="A small flood closes the shop, unless it is dropped early",
    alt="Good requests answered against the flood's rate, from none to thousands a second. Let through, the flood "
    "brings the line to zero between one hundred and some hundred SYNs a second; dropped early, it leaves it flat.",
)

# %% [markdown]
# The cliff stands where the places are used up while we look; look for a minute, and it stands at two a second, as the
# model above has it. A drop at the balancer moves no cliff: the backends never hear of the flood. What is left is the
# price of dropping.
#
# ## Where early drop pays
#
# Dropping has a price, too, and at a few million packets a second it shows. [Chapter 06](06-kernel-fast-path.ipynb)
# measured what a packet costs by where it ends. What is left of a processor when a flood has been paid for?

# %%
bench = measure.load("xdp")
median = lambda place: float(np.median(bench.samples[f"drop, frames, {place}, CPU"]))  # noqa: E731
places = ["XDP, native", "nftables, prerouting", "no socket"]
price = {place: median(place) - median("sending alone") for place in places}
assert price["XDP, native"] * 5 < price["nftables, prerouting"] < price["no socket"]

# %%
fig, ax = show.figure(height=3.2)
million = np.linspace(0, 12, 1201)
for place, ns in price.items():
    ax.plot(million, np.clip(100 * (1 - million * ns / 1000), 0, 100), label=place, marker="")
ax.set(xlabel="flood (million packets a second)", ylabel="processor time left (%)")
ax.legend(title="dropped at", frameon=False)
show.finish(
    fig,
    title="The cheaper the drop, the further away the cliff",
    alt="Processor time left against the size of the flood. Dropped where no socket is found, nothing is left below "
    "one million packets a second; dropped by nftables, at about two; at XDP, more than a third is left at twelve.",
)

# %% [markdown]
# This is arithmetic on recorded costs, not a flood; a shared machine is no place for one. The authors of XDP did it
# with real cards ([CoNEXT 2018, section 5.2](https://doi.org/10.1145/3281411.3281443)). Without the filter, a server's
# TCP transactions had halved at 3 million packets of flood a second and were at zero by 3.5. With the filter in XDP
# they held out up to 19.5, on one core.
#
# ## The flood that passes every check
#
# So far, a packet gave itself away: it was forged, or of the wrong kind, or one too many. In August 2023 attackers sent
# packets that did nothing wrong. HTTP/2 lets a client open many *streams*, requests in one connection, and cancel any
# of them. Servers limit how many are open at a time, often to a hundred. Open, cancel, open, cancel:


# %%
def frame(kind, flags, stream, payload):
    """An HTTP/2 frame (RFC 9113 section 4.1)."""
    return len(payload).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + payload


# %%
def open_and_cancel(stream):
    """GET / in four bytes of HPACK (indexed fields), then RST_STREAM with CANCEL."""
    return frame(1, 5, stream, b"\x82\x84\x87\xbe") + frame(3, 0, stream, (8).to_bytes(4, "big"))


# %%
requests = 1400 // len(open_and_cancel(1))
segment = b"".join(open_and_cancel(2 * n + 1) for n in range(requests))
assert requests == 53
f"{requests} requests in one packet of {len(segment)} bytes; open at a time: 1"

# %% [markdown]
# The limit on open streams is never reached, because a cancelled one no longer counts. The server, or the proxy in
# front of it, has parsed fifty requests by then and begun to answer them. Now ask the packet balancer what it sees of
# such a client, beside one who uploads a picture.


# %%
def thousand(client, data):
    return [tcp_frame(source=client, destination=VIP, payload=data, flags=0x18)] * 1000


# %%
l4 = Forwarder(Config(shop, ring_size=1031))
frames, lengths = batch(thousand("192.0.2.1:5000", bytes(len(segment))) + thousand("192.0.2.2:5000", segment))
verdicts = l4.process(frames, lengths)[0]
assert (verdicts == verdicts[0]).all() and l4.reasons() == {"forwarded": 2000} and 1000 * requests == 53_000
f"{l4.reasons()}, {flow_table.in_use(l4.balancer.tables.established)} connections"

# %% [markdown]
# Two connections, a thousand packets each, all forwarded. Inside TLS it could not tell them apart even if it looked.
# One of them was 53,000 requests.
#
# The wave that used this, *Rapid Reset*, peaked above 201 million requests a second at
# [Cloudflare](https://blog.cloudflare.com/technical-breakdown-http2-rapid-reset-ddos-attack/) and at 398 million at
# [Google](https://cloud.google.com/blog/products/identity-security/how-it-works-the-novel-http2-rapid-reset-ddos-attack),
# from a botnet of some 20,000 machines. Put it beside the flood of 2020.

# %%
packets = 201e6 / requests / 1e6
assert 3 < packets < 5 and packets / 754 < 0.01
f"201 million requests a second fit into {packets:.1f} million packets a second: {packets / 754:.1%} of 2020's"

# %% [markdown]
# For a layer 4 balancer a quiet day. So the sentence "put an L4 tier in front, then the L7 tier is never exposed" is a
# misconception. An L4 balancer is not even a filter by nature: it *forwards*, and without a guard it forwards a
# flood to many backends instead of one. Against request floods the work is at layer 7, where requests can be
# seen: the fix for Rapid Reset counts cancellations for each connection and closes it
# ([CVE-2023-44487](https://nvd.nist.gov/vuln/detail/CVE-2023-44487)). What layer 4 can do after that is to drop whom
# layer 7 has named: those connections are complete, so their addresses are true.
#
# ## Summary
#
# - Ask of each attack what it uses up: bits, packets, connections or requests. The numbers cannot be compared.
# - A flow table of fixed size cannot be exhausted, only made to forget. Two tables keep those who have shown two
#   packets; strangers who come twice, and slow clients in a fast flood, are not covered.
# - Forgetting breaks a connection only when the pool changes, too. Consistent hashing is the first defence.
# - A SYN backlog is full at its places divided by a minute. SYN cookies need no places; they belong where the sequence
#   numbers are made, at the backends.
# - A block list needs a sign, a limit needs true addresses. Both are cheapest at XDP.
# - A request flood is good traffic to layer 4.
#
# ## Exercises
#
# 1. A limit of `rate` SYNs a second with `burst` is set for each source. With how many true sources does an attacker
#    still fill a backlog of 1024 places?
#    <details><summary>Solution</summary>
#    In 63 seconds each gets <code>burst + 63 * rate</code> SYNs through, so 1024 divided by that. For rate 1 and burst
#    5: sixteen sources are enough. Limits buy a factor, and bots are cheap.</details>
# 2. A mobile operator hides ten thousand customers behind one address. What does the limit do to them?
#    <details><summary>Solution</summary>
#    They share a bucket, so on a busy evening they are "the attacker". Limits want exceptions (<code>allowed</code> is
#    for the block list only: what would you add?), or a height that only machines reach.</details>
# 3. An attacker reads in this chapter that you block whole prefixes by what the flood's packets say. What is their next
#    flood?
#    <details><summary>Solution</summary>
#    One forged from your best customers' network. Whoever acts on what an attacker writes lets the attacker
#    act.</details>
# 4. Let strangers send an ACK instead of a SYN to `forwarder`. Does the promise hold? What do backends do with these?
#    <details><summary>Solution</summary>
#    <code>Crowd.of("198.18.0.0/15", 1_000_000, seed=2).send(forwarder, ack(VIP), 5 * SECOND)</code>: it holds, for it
#    counts packets, not flags. Backends answer each with a reset, and hold nothing.</details>
# 5. Why may a cookie be accepted in the next minute, too, and what does a longer time cost?
#    <details><summary>Solution</summary>
#    A SYN at the end of a minute has its ACK in the next. Guesses are right once in 2 to the 24 for each minute that is
#    accepted, so each doubles the chance; and a cookie once seen can be replayed for longer.</details>
#
# ## Interview questions
#
# **"Your balancer is stateful. What does a SYN flood do to it?"**
# *Weak:* "The connection table fills up and it crashes." *Strong:* asks whether it is of fixed size, and who is pushed
# out. Separates first packets from proven ones. Says that losing an entry is harmless until the pool changes.
#
# **"Where do SYN cookies go?"**
# *Weak:* "On the balancer, it is in front." *Strong:* where the sequence number is chosen. With direct return that is
# the backend; at a proxy that terminates TCP, the proxy. Knows what a cookie cannot carry.
#
# **"We rate-limit by source address. Are we safe?"**
# *Weak:* "Yes, if the limit is low enough." *Strong:* forged addresses are each new, botnets have many true ones, and
# shared addresses punish the innocent. A limit is one layer, for one kind of flood.
#
# **"Does the L4 tier protect the L7 tier from DDoS?"**
# *Weak:* "Yes, it absorbs it." *Strong:* from packets that can be told apart at layer 4, if something there drops them.
# A request flood passes. Gives Rapid Reset, and its requests per packet, as the example.
#
# ## Sources
#
# - Cloudflare: [754 million packets a second](https://blog.cloudflare.com/no-humans-involved-mitigating-a-754-million-pps-ddos-attack-automatically/),
#   [L4Drop](https://blog.cloudflare.com/l4drop-xdp-ebpf-based-ddos-mitigations/),
#   [Rapid Reset](https://blog.cloudflare.com/technical-breakdown-http2-rapid-reset-ddos-attack/).
# - Google: [Rapid Reset](https://cloud.google.com/blog/products/identity-security/how-it-works-the-novel-http2-rapid-reset-ddos-attack).
# - [RFC 4987](https://www.rfc-editor.org/rfc/rfc4987): TCP SYN flooding attacks and common mitigations.
# - [RFC 9113](https://www.rfc-editor.org/rfc/rfc9113): HTTP/2, streams and RST_STREAM.
# - T. Høiland-Jørgensen et al.: [The eXpress Data Path](https://doi.org/10.1145/3281411.3281443), CoNEXT 2018.
# - Linux: [ip-sysctl](https://docs.kernel.org/networking/ip-sysctl.html), `tcp_syncookies` and its neighbours.
