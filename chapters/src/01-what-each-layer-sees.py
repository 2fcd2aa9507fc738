# ---
# book:
#   title: What each layer sees
#   question: Two balancers look at the same request. Why can one route it by its path, and the other never?
#   tier: 0
#   minutes: 40
#   memory_mb: 500
#   after: [start-here]
#   lab:
# ---

# %% [markdown]
# ## The rule that could not be written
#
# The video pages are slow today, and because `/video` and `/api` share their servers, so is everything else. The
# ticket says: "On the load balancer, send `/video` to machines of its own. Ten minutes." A day later it is still
# open. The balancer has fields for addresses, ports, weights and timeouts. It has no field for a path, and no amount
# of tuning will grow one.
#
# It is a *layer 4* balancer (L4): it decides with the addresses and ports of a TCP connection or a UDP datagram, and
# whatever travels inside is only bytes to it. A *layer 7* balancer (L7) reads the messages of an application
# protocol, such as HTTP, and decides with what they say.
#
# Which of the two is better is the wrong question. The right one is: **what must the balancer see?** This chapter
# puts real bytes in front of both, and looks at what each reads, what it can decide, and what that costs on your
# machine.

# %%
import numpy as np

from lbcore import measure, show
from lbcore.balance.maglev import Maglev
from lbcore.testbed import aside, flow, inspector, keep_alive, layer_costs, loopback, smallest, tls_open
from lbcore.testbed.routes import Rule, Seen, Site
from lbcore.wire import compose, tls_hello
from lbcore.wire.seam import view
from lbcore.wire.summary import summary

# %% [markdown]
# ## Two recordings
#
# We make one request twice, over loopback, with Python's own HTTP client and server: once in the clear, once over
# TLS. Every frame is kept. Where the operating system allows it, these are the very frames from the interface;
# elsewhere their headers are rebuilt around the real payload, and the next cell says which.

# %% tags=["nbval-ignore-output"]
request = {"path": "/video/42", "host": "shop.example", "headers": {"User-Agent": "tv/2.1", "X-Canary": "yes"}}
http = loopback.capture_http(**request, frames=True)
http.frames_origin

# %% [markdown]
# For the second one we ask the TLS library to write down the session's secrets, as one does for a network analyser.
# They stay on our side, and we shall need them later: nothing else in the world opens these records.

# %% tags=["nbval-ignore-output"]
with tls_open.key_log() as secrets:
    https = loopback.capture_http(**request, tls=True, frames=True)
show.table([(i + 1, summary(frame)) for i, frame in enumerate(https.frames)], ("packet", "HTTPS, on the wire"))

# %% [markdown]
# Three packets before anyone has said anything: SYN, SYN+ACK, ACK, the TCP handshake. Then data, and a goodbye.
# Here is the packet that holds the plain request, byte by byte.

# %% tags=["nbval-ignore-output"]
tapes = {"HTTP": inspector.record(http), "HTTPS": inspector.record(https, secrets)}
plain = inspector.inspect(tapes["HTTP"], tapes["HTTP"].moments()["request"], "L7", Site((), {}))
show.packet(plain.frame, plain.layers, highlight=["http.request line", "http.host"])

# %%
[layer.name for layer in plain.layers]

# %% [markdown]
# Ethernet, IP, TCP, HTTP. In the numbers of the OSI model, these are layers 2, 3, 4 and 7:
#
# | layer | OSI calls it | in this packet |
# |---|---|---|
# | 7 | application | HTTP (others: DNS, SMTP, gRPC, WebSocket) |
# | 6 | presentation | nothing; TLS and compression are often put here |
# | 5 | session | nothing |
# | 4 | transport | TCP (or UDP): ports, order, retransmission |
# | 3 | network | IP: addresses |
# | 2 | data link | Ethernet: the next machine on this cable |
# | 1 | physical | the cable |
#
# There are no bytes for 5 and 6. The Internet's own model knows four layers and neither of these
# ([RFC 1122, section 1.1.3](https://www.rfc-editor.org/rfc/rfc1122#section-1.1.3)), and TLS, which has sessions *and*
# encrypts, fits neither box. "TLS is layer 6" is a convention for talking, not something that a packet can tell you.
# What matters for a balancer is simpler: bytes before the payload, bytes in it, and whether those are locked.

# %% [markdown]
# ## Thirteen bytes
#
# Begin where an L4 balancer begins.

# %%
show.quiz(
    "A client opens a connection and sends an HTTP request. When does an L4 balancer choose the backend?",
    {
        "With the first packet, the SYN": "The SYN has to go somewhere, and it has no payload yet.",
        "With the first packet that carries data": "By then the TCP handshake is over: somebody has answered the SYN.",
        "When the request is complete": "That is what an L7 balancer waits for. L4 does not know what a request is.",
    },
    correct="With the first packet, the SYN",
)

# %% [markdown]
# The SYN names a *flow*: protocol, two addresses, two ports. Those five numbers fill thirteen bytes. They are the
# same in every packet of the connection, so a hash of them is, too. A look-up table turns the hash into a backend. A
# balancer may even forget the connection and hash every packet anew: as long as the pool does not change, it comes to
# the same answer. (When it does change is what [chapter 03](03-maglev.ipynb) is about.)

# %%
syn = compose.tcp_frame(source="192.0.2.7:40000", destination="203.0.113.1:443")
five = flow.parse(view(syn))
five, hex(flow.hash64(five))

# %% [markdown]
# Now the site that this chapter routes for. Four rules, tried in order; the first that holds names the pool.

# %%
site = Site(
    rules=(
        Rule("canary", host="shop.example", prefix="/video", header=("x-canary", "yes")),
        Rule("video", host="shop.example", prefix="/video"),
        Rule("api", host="shop.example", prefix="/api"),
        Rule("images", host="img.example"),
    ),
    pools={
        "canary": ["canary-1"],
        "video": ["video-1", "video-2"],
        "api": ["api-1", "api-2", "api-3"],
        "images": ["img-1", "img-2"],
    },
)

# %% [markdown]
# Our request belongs to `canary-1` and nowhere else. But a rule can only be tried on what has been seen. So give each
# balancer what it sees, and ask which pools the rules leave possible.

# %%
headers = {"x-canary": "yes", "user-agent": "tv/2.1"}
sights = {
    "L4: no part of the request": Seen(),
    "L4 + SNI: the host": Seen("shop.example"),
    "L7: everything": Seen("shop.example", "/video/42", headers),
}
show.table([(name, ", ".join(site.possible(seen))) for name, seen in sights.items()], ("sees", "pools left possible"))

# %% [markdown]
# That is the whole chapter in three lines. What a balancer cannot see does not make it choose badly. It leaves more
# choices open, and something that knows nothing about the request, the hash, makes the rest of the choice.

# %% [markdown]
# It is often said that L4 then routes "by luck". Not so: the same flow gets the same backend every time, and that is
# what keeps a connection together. It is only that the answer has nothing to do with the question. Ask it with 4096
# client ports, and count how often our request lands where it belongs, with 1 right backend among 8.

# %%
everyone = site.choose(Seen(), 0).candidates
syns = [
    compose.tcp_frame(source=f"192.0.2.7:{port}", destination="203.0.113.1:443") for port in range(40000, 40000 + 4096)
]
hashes = [flow.hash64(flow.parse(view(frame))) for frame in syns]
picks = Maglev(everyone).pick_many(hashes)

# %%
share = np.mean(picks == everyone.index("canary-1"))
assert (picks == Maglev(everyone).pick_many(hashes)).all() and abs(share - 1 / len(everyone)) < 0.03
f"{share:.1%} of the flows reach canary-1; one backend in {len(everyone)} is {1 / len(everyone):.1%}"

# %% [markdown]
# ## The packet inspector
#
# Before you look: what does each step of a decision cost? Rank these four by CPU time, and then let the machine rank
# them: hash five numbers; read the head of an HTTP request; decrypt one TLS record; answer a TLS ClientHello.

# %% tags=["nbval-ignore-output"]
suite = tls_open.suite_of(tapes["HTTPS"].server)
steps = layer_costs.steps(tapes["HTTP"], tapes["HTTPS"], suite, site, "shop.example")
work = {name: step.work for name, step in steps.items()}
operations = {name: step.operations for name, step in steps.items()}
costs = measure.compare(work, operations=operations, rounds=5, min_seconds=0.01)
costs

# %% [markdown]
# Now the recordings, packet by packet. Choose a balancer, a protocol, and a moment of the conversation. Bytes shown
# as `▒▒` are not read by this balancer; the framed ones are those that it goes by. Below are the bars of
# what you have just measured, and in bold those that this packet makes the balancer pay.

# %% tags=["nbval-ignore-output"]
show.inspector(tapes, site, steps, costs)

# %% [markdown]
# Three things to find in it, and the cell that checks them:
#
# 1. **L4** has decided at the SYN, and never looks at another byte. HTTP or HTTPS is the same to it.
# 2. **L4 + SNI** reads one thing more: the *server name indication*, the host that a TLS client names in its first
#    message, the ClientHello, before anything is encrypted. One pool is ruled out. On plain HTTP there is no such
#    message, and it is an L4 balancer again.
# 3. **L7** is left with one pool. On HTTPS its decision comes last of all.


# %%
def left(mode, protocol, moment="request"):
    choice = inspector.inspect(tapes[protocol], tapes[protocol].moments()[moment], mode, site).choice
    return len(choice.candidates) if choice else None


show.table([(mode, left(mode, "HTTP"), left(mode, "HTTPS")) for mode in inspector.MODES], ("left", "HTTP", "HTTPS"))

# %%
assert [left(mode, "HTTPS") for mode in inspector.MODES] == [8, 6, 1] and left("L4 + SNI", "HTTP") == 8
[(mode, [left(mode, "HTTPS", moment) for moment in ("SYN", "first bytes", "request")]) for mode in inspector.MODES]

# %% [markdown]
# ### Open, and locked
#
# Two reasons keep a byte unread, and they are often confused. The plain request stands open to everyone on the way;
# L4 leaves it alone, because when it decides not one byte of it has been sent. The picture of a sorter who reads the
# envelope but not the letter misses this: when the envelope is sorted, the letter is not written yet. The encrypted
# request is locked, and no balancer in the middle reads it, L7 or not.

# %%
reading = inspector.inspect(tapes["HTTPS"], tapes["HTTPS"].moments()["request"], "L7", site)
assert b"/video/42" not in reading.frame
assert b"/video/42" in reading.opened
print(reading.opened.decode().rstrip())

# %% [markdown]
# And yet the text is there. Not in the packet: an L7 balancer in front of HTTPS *is* the TLS server. It holds a
# certificate and its key, the handshake was made with it, and what you see was opened with the secrets that we kept.
# This is called *TLS termination*, and it is the price of sight: somebody hands the balancer a key, and every byte of
# every user passes through it in the clear. ([Chapter 10](10-what-tls-costs.ipynb) says who else
# could pay it.)

# %% [markdown]
# ## To see the first byte, answer the SYN
#
# A TCP client says nothing until its SYN has been answered. A balancer that wants to see even one byte has to answer
# it, and whoever answers is one end of the connection. It then opens a second one to the backend: it is a *proxy*.
#
# ```mermaid
# sequenceDiagram
#     participant C as client
#     participant B as balancer
#     participant S as backend
#     Note over C,S: L4, forwarding packets: one TCP connection
#     C->>B: SYN
#     B->>S: SYN (backend chosen now)
#     S-->>C: SYN+ACK
#     C->>S: request
#     Note over C,S: L7 (and L4 + SNI): two TCP connections
#     C->>B: SYN
#     B-->>C: SYN+ACK
#     C->>B: request, or ClientHello
#     B->>S: SYN (backend chosen now)
#     S-->>B: SYN+ACK
#     B->>S: request
# ```
#
# The reverse does not hold. L4 is often described as "fast NAT", but rewriting addresses is only one of its ways:
# others rewrite a MAC address or wrap the packet, and leave the addresses inside alone
# ([IPVS](https://github.com/torvalds/linux/blob/v6.12/net/netfilter/ipvs/Kconfig) has all three), and many an L4
# product is a TCP proxy, such as [nginx's stream
# module](https://nginx.org/en/docs/stream/ngx_stream_proxy_module.html). [Chapter 04](04-forwarding-modes.ipynb) walks
# a packet through each. What makes them L4 is what they decide by.

# %% [markdown]
# ## Once a connection, or once a request
#
# Here is the smallest L4 balancer that works, and the smallest L7 one. Both are proxies, both copy with the same
# `pump`. Look for the line that calls `decide`, what it is given, and how often it runs.

# %%
show.source(smallest.layer4)

# %%
show.source(smallest.layer7)

# %% [markdown]
# In front of four real HTTP servers, two for `/api` and two for `/video`, we put one of these balancers. Clients keep
# their connections open (*keep-alive*) and send 20 requests over each, half of them for either path. A server says
# who it is in its answer, so a request in the wrong place is seen by the client, as a 404 would be.

# %%
show.predict(
    "The L4 balancer hashes each connection to one of four servers. What share of requests reaches the right pool?",
    answer=0.5,
    tolerance=0.05,
    unit="%",
    why="Two of four servers are right for any request, and the hash knows nothing of paths.",
)

# %% tags=["nbval-ignore-output"]
answers = {layer: keep_alive.trial(layer, connections=8, requests=20) for layer in ("L4", "L7")}
show.table(
    [(layer, f"{np.mean([a.right for a in each]):.0%}") for layer, each in answers.items()], ("balancer", "right pool")
)

# %% tags=["nbval-ignore-output"]
counts = {layer: keep_alive.tally(each) for layer, each in answers.items()}
fig, axes = show.figure(1, 2, height=3.4, sharey=True)
for ax, (layer, count) in zip(axes, counts.items(), strict=True):
    for i, name in enumerate(keep_alive.BACKENDS):
        style = {"color": show.PALETTE[i], "hatch": show.HATCHES[i], "edgecolor": "white"}
        ax.bar(range(1, 9), count[:, i], bottom=count[:, :i].sum(axis=1), label=name, **style)
    ax.set(title=layer, xticks=range(1, 9), xlabel="client connection")
    ax.set(yticks=range(0, 21, 5), ylabel="requests answered")
    ax.label_outer()
fig.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=4)
show.finish(
    fig,
    title="At L4 a connection has one backend, at L7 as many as it needs",
    alt="Two bar charts of eight client connections with twenty requests each. Under L4 every bar has a single colour: "
    "one backend answered all. Under L7 every bar is made of all four backends.",
)

# %% tags=["nbval-ignore-output"]
backends = {layer: (count > 0).sum(axis=1).tolist() for layer, count in counts.items()}
assert max(backends["L4"]) == 1
assert min(backends["L7"]) > 1
backends

# %% [markdown]
# Would shorter connections help? With a new connection for every request, L4 decides for every request as well.
# Say what you expect before you run it.

# %% tags=["nbval-ignore-output"]
lengths = [1, 2, 5, 10, 20, 50]
trials = {
    n: {layer: keep_alive.trial(layer, connections=300 // n, requests=n) for layer in ("L4", "L7")} for n in lengths
}
right = {layer: [np.mean([a.right for a in trials[n][layer]]) for n in lengths] for layer in ("L4", "L7")}
assert set(right["L7"]) == {1} and 0.3 < min(right["L4"]) <= max(right["L4"]) < 0.7

# %% tags=["nbval-ignore-output"]
fig, ax = show.figure(height=3)
for layer, shares in right.items():
    ax.plot(lengths, np.array(shares) * 100, label=layer)
ax.set(xscale="log", xticks=lengths, xticklabels=lengths, ylim=(0, 105))
ax.set(xlabel="requests per connection (logarithmic)", ylabel="requests in the right pool (%)")
ax.legend(loc="lower left")
show.finish(
    fig,
    title="L4 is right as often as chance, however short the connections",
    alt="Share of requests in the right pool against requests per connection, one to fifty. L7 is a line at 100 "
    "percent. L4 stays near 50 percent throughout.",
)

# %% [markdown]
# Deciding more often does not help whoever cannot see. That is why no setting of an L4 balancer closed the ticket.
# (Cloud products blur the line a little: one can now [split an L4 listener's connections by
# weight](https://aws.amazon.com/blogs/networking-and-content-delivery/network-load-balancers-now-support-weighted-target-groups),
# or [keep a QUIC connection
# together](https://aws.amazon.com/blogs/networking-and-content-delivery/introducing-quic-protocol-support-for-network-load-balancer-accelerating-mobile-first-applications)
# by an identifier that QUIC leaves readable. Never by path.)
#
# Two footnotes. UDP has no connections, so for it "once" means once for each flow, remembered until a time-out, or
# once for each datagram. And an L7 balancer keeps a connection on one backend when it is told to (session affinity)
# or has to (a WebSocket, after its upgrade).

# %% [markdown]
# ## An L7 balancer speaks only what it has learned
#
# Behind the balancers we now put something that is not HTTP: a server that answers `PING` with `+PONG`, as Redis
# does.


# %%
async def redis(reader, writer):
    while await reader.readline() == b"PING\r\n":
        writer.write(b"+PONG\r\n")


async def ask(balancer, data):
    async with (
        smallest.listening(redis) as backend,
        smallest.listening(balancer(lambda seen: backend)) as door,
        smallest.connected(door) as (reader, writer),
    ):
        writer.write(data)
        writer.write_eof()
        return (await reader.read()).decode()


# %%
print(aside.run(ask(smallest.layer4, b"PING\r\n")))

# %%
print(aside.run(ask(smallest.layer7, b"PING\r\n\r\n")))

# %% [markdown]
# L4 passed on what it did not understand, which is its strength: databases, queues, mail, protocols not yet invented.
# L7 refused, and had to. To find where a request ends it must speak the language; a proxy that guesses lets a client
# hide a second request inside the first. Our `smallest.layer7` knows HTTP/1.1 with Content-Length and says no to the
# rest. A grown-up one knows HTTP/2, gRPC and WebSocket too, because somebody has written each of them.
#
# "Any protocol" has limits at L4 as well, only lower down.
# [IPVS](https://github.com/torvalds/linux/blob/v6.12/net/netfilter/ipvs/Kconfig) knows TCP, UDP, SCTP, ESP and AH;
# [Katran](https://github.com/facebookincubator/katran) forwards neither fragments nor packets with IP options. You
# will see why under "What breaks it".

# %% [markdown]
# ## "L4 is fast and blind, L7 is slow and smart"
#
# The second half you have seen. For the first half, add up the steps from above into whole decisions.

# %% tags=["nbval-ignore-output"]
pick = (inspector.HASH, inspector.TABLE)
decisions = {
    "L4: a packet": (inspector.HEADERS, *pick),
    "L7: a request, HTTP": (inspector.HEAD, inspector.RULES, *pick),
    "L7: a request, HTTPS": (inspector.DECRYPT, inspector.HEAD, inspector.RULES, *pick),
    "L4 + SNI: a connection": (inspector.HELLO, inspector.RULES, *pick),
    "L7: a new HTTPS connection": (inspector.HANDSHAKE_WORK,),
}
totals = np.array([sum(map(costs.ns, parts)) for parts in decisions.values()])
in_python = np.array([sum(costs.ns(p) for p in parts if not steps[p].compiled) for parts in decisions.values()])

# %% tags=["nbval-ignore-output"]
fig, ax = show.figure(height=2.8)
ax.barh(list(decisions), totals, color=show.PALETTE[0], label="mostly machine code")
mostly = in_python > totals / 2
ax.barh(
    np.flatnonzero(mostly), totals[mostly], color=show.PALETTE[1], hatch="//", edgecolor="white", label="mostly Python"
)
ax.set(xscale="log", xlim=(1, 1e6), xlabel="CPU time (logarithmic)", ylabel="one decision")
ax.set_xticks(10.0 ** np.arange(7), ["1 ns", "10 ns", "100 ns", "1 µs", "10 µs", "100 µs", "1 ms"])
ax.legend(loc="lower right")
show.finish(
    fig,
    title="A new HTTPS connection outweighs every decision",
    alt="Five horizontal bars on a logarithmic axis: an L4 packet in tens of nanoseconds, an L7 request in a few "
    "microseconds with or without TLS, an SNI decision longer because it is read in Python, and a new HTTPS connection "
    "at some hundred microseconds.",
)

# %% tags=["nbval-ignore-output"]
l4 = sum(costs.ns(step) for step in (inspector.HEADERS, inspector.HASH, inspector.TABLE))
head, head_python = costs.ns(inspector.HEAD), costs.ns(layer_costs.HEAD_PYTHON)
handshake = costs.ns(inspector.HANDSHAKE_WORK)
assert l4 < head / 5 and head < handshake / 10 and head < head_python
print(f"L4 decision {l4:.0f} ns; an HTTP head {head / l4:.0f} times that; a handshake {handshake / head:.0f} heads")
print(f"the same head read by Python instead of C: {head_python / head:.1f} times as long")

# %% [markdown]
# So for one packet the saying is right: tens of nanoseconds against microseconds. (The hatched bar measures Python:
# OpenSSL reads the same ClientHello within the handshake's bar, and does much else there.) But users do not wait for
# packets, and a balancer is not paid for them. Ask for the CPU time of one *request*, and count what is left out when
# it moves elsewhere:
#
# - L4 decides for every packet, L7 once for all of them.
# - Decryption is cheap, the handshake is dear, and it is paid once for a connection. Behind an L4 balancer it has not
#   gone away: the backend pays it.
# - The backend reads the HTTP head in any case. What L7 adds is to read it once more.

# %% tags=["nbval-ignore-output"]
reuse = np.array([1, 3, 10, 30, 100, 300, 1000])
decrypt, rules = costs.ns(inspector.DECRYPT), costs.ns(inspector.RULES)
through_l4 = len(tapes["HTTP"].frames) * l4 + handshake / reuse + decrypt + head
ended_at_l7 = handshake / reuse + decrypt + head + rules + l4 + head

# %% tags=["nbval-ignore-output"]
fig, ax = show.figure(height=3.2)
ax.plot(reuse, through_l4 / 1000, label="L4 balancer + backend that speaks TLS")
ax.plot(reuse, ended_at_l7 / 1000, label="L7 balancer that ends TLS + plain backend")
ax.set(xscale="log", yscale="log", xlabel="requests per connection (logarithmic)", ylabel="CPU time per request (µs)")
ax.legend()
show.finish(
    fig,
    title="The handshake outweighs the layer, until a connection carries many requests",
    alt="CPU time per request, both machines together, against requests per connection. The two lines lie on each "
    "other at one request per connection and fall together; at a thousand the L7 line is somewhat higher.",
)

# %% tags=["nbval-ignore-output"]
more = ended_at_l7 / through_l4
assert more[0] < 1.2 and more[-1] < 5
for n, times in zip(reuse, more, strict=True):
    print(f"{n:5} requests a connection: CPU time of the L7 way is {times:.2f} times that of the L4 way")

# %% [markdown]
# What decides the bill is not the layer but how often a connection is used again. And at L7 there are ways to
# make it smaller that L4 does not have: answer from a cache, share a few warm connections to each backend, resume TLS
# sessions.
#
# What these lines leave out: a proxy's system calls, and copying the bytes through its memory. So this is the cost of
# *deciding*; moving the bytes comes on top, and there packet-forwarding L4 has a real lead. One sentence for both:
# **per packet L4 is cheaper; per request it depends on where TLS, caching and connection reuse sit.**

# %% [markdown]
# ## So what must it see?
#
# | you want to | it must see | so you need |
# |---|---|---|
# | spread connections of any protocol | addresses and ports | L4 |
# | keep the key on the backends, but have several hosts on one address | the name in the ClientHello | L4 + SNI |
# | route by path, method, header or cookie | the request | L7, and for HTTPS the key |
# | balance request by request on long connections | where requests end | L7 |
# | change requests, cache answers, retry | the request and the answer | L7 |
#
# The least that suffices is the best choice, for what is seen must be parsed, kept safe and kept up to date. And the
# choice settles more than routing: who holds the keys, which protocols you can run, where a connection ends, what a
# log can show. Large sites use both: L4 in front, to spread packets over a row of L7 proxies.

# %%
show.quiz(
    "Traffic is HTTPS, and the balancer has no key. /admin must go to machines of its own. What works?",
    {
        "A rule for /admin on the L4 balancer": "There is no path in anything that it reads.",
        "SNI routing with a rule for /admin": "The ClientHello names a host. The path comes later, encrypted.",
        "Give /admin a host name of its own, and route by SNI": "The name carries what the path cannot. No key needed.",
        "A faster hash": "It would be wrong sooner.",
    },
    correct="Give /admin a host name of its own, and route by SNI",
)

# %% [markdown]
# ## What breaks it
#
# **No ports.** IP may cut a packet into fragments, and only the first one holds the ports. In the others there is
# somebody's data at that place. Reading it as ports would send the parts of one packet to different machines, so our
# parser gives no flow but a verdict (1 is `TRUNCATED`: no ports here), and real L4 devices drop such packets or treat
# them apart.

# %%
middle = compose.tcp_frame(source="192.0.2.7:40000", destination="203.0.113.1:443", fragment_offset=1480)
flow.parse(view(middle))

# %% [markdown]
# **Half a ClientHello.** Nobody promised that it fits in one packet, and since browsers send post-quantum key shares
# it often [does not](https://tldr.fail). An SNI balancer that looks at the first packet only finds no name, now and
# then, on some networks. Ours says how much is missing, and waits.

# %% tags=["nbval-ignore-output"]
try:
    tls_hello.parse(tapes["HTTPS"].client[:100])
except tls_hello.Incomplete as missing:
    print(missing)

# %% [markdown]
# **A name that is not the destination.** With Encrypted Client Hello ([RFC
# 9849](https://www.rfc-editor.org/rfc/rfc9849)) the readable name is that of the provider in front, and the true one
# is encrypted. And an HTTP/2 client may send requests for a second host over a connection that it opened for the
# first, when the certificate covers both ([RFC 9113, section
# 9.1.1](https://www.rfc-editor.org/rfc/rfc9113#section-9.1.1)): SNI chose once, for the connection, and does not see
# it happen.
#
# **A connection that never ends.** L4 decides at the SYN and can correct nothing until the connection closes. Add a
# server, and long connections do not come to it.

# %% [markdown]
# ## Summary
#
# - L4 decides once for each connection, by addresses and ports, at the SYN. L7 decides for each request, by its
#   content.
# - What a balancer cannot see leaves choices open; a hash fills the gap, repeatably, without regard to the request.
# - To see a byte of payload, the balancer must answer the SYN: it is then a proxy, with two connections.
# - On HTTPS the host is readable in the ClientHello. For the path, the balancer must be the TLS server.
# - L4 carries any protocol; L7 carries those that it speaks.
# - Per packet L4 is cheaper. Per request, handshakes and reuse decide.
# - First ask what must be seen. The layer follows.

# %% [markdown]
# ## Exercises
#
# **1.** Switch the inspector to L7, HTTPS, and the moment "first bytes". Which bars are bold, and why is the backend
# still open although the host is known?
#
# <details><summary>Solution</summary>
#
# Reading the ClientHello and answering it. The host would rule out one pool, as it does for SNI routing; but this
# balancer needs the path, and for that the handshake must be complete. It uses the name for something else: to pick
# the certificate.
#
# </details>
#
# **2.** Change the trial so that only one request in five asks for `/video` (`keep_alive.trial("L4", connections=60,
# requests=20, video=0.2)`). What is the share in the right pool now? Look at single connections as well.
#
# <details><summary>Solution</summary>
#
# Still about a half on average, but no single client sees a half: a connection that landed on an `api` server is
# right four times in five, one on a `video` server once in five. An average over connections hides what users have.
#
# </details>
#
# **3.** Add a rule to `site` that sends the paths under `/` of `shop.example` with a cookie `beta=1` to `canary-1`.
# What is left possible for L4 + SNI?
#
# <details><summary>Solution</summary>
#
# `Rule("canary", host="shop.example", header=("cookie", "beta=1"))`, first in the tuple. L4 + SNI still cannot
# exclude anything: the host fits, the cookie is not seen. (Comparing a whole Cookie field is too simple for real
# sites: there may be others in it.)
#
# </details>
#
# **4.** How large must an answer be until forwarding its packets at L4 costs more decisions than L7's single one? Use
# `l4`, `head`, `rules`, and 1448 bytes a packet.
#
# <details><summary>Solution</summary>
#
# `packets = (head + rules + l4) / l4`, and `packets * 1448` bytes: about a hundred packets, so an ordinary picture is
# enough. Then the L4 side has spent more on deciding. It has still not copied a byte through a socket.
#
# </details>

# %% [markdown]
# ## Interview questions
#
# **"What is the difference between L4 and L7 load balancing?"**
#
# - *Weak:* "L4 is fast and simple, L7 is slow and smart."
# - *Strong:* says what each decides by and how often (a connection by addresses and ports; a request by its content),
#   then what follows: L7 ends TCP and usually TLS, so it needs the key and speaks only the protocols it implements.
#   Then asks what has to be routed on.
#
# **"Can we route by path on our L4 balancer?"**
#
# - *Weak:* "Yes, with the right configuration."
# - *Strong:* "No. When it decides, the path has not been sent, and on HTTPS it never sees it. Either an L7 proxy
#   behind it, or a host name for that path and SNI routing, if we must not hand out the key."
#
# **"Is SNI routing L4 or L7?"**
#
# - *Weak:* picks one.
# - *Strong:* "It decides once a connection, like L4, but by a byte of payload, so it must answer the SYN, like L7. It
#   needs no key. It ends where ECH begins, and where one HTTP/2 connection carries two hosts."
#
# **"What does an L7 balancer cost us?"**
#
# - *Weak:* "Milliseconds" or "a lot of CPU".
# - *Strong:* splits it: parsing is microseconds, a handshake some hundred times that, paid by somebody at
#   either layer; reuse and resumption decide the total; the proxy's own system calls are the rest. Then offers to
#   measure.
#
# **"Users of one customer all land on one server. Why?"**
#
# - *Weak:* "The hash is bad."
# - *Strong:* asks how many connections they have. A few long connections (gRPC, WebSocket, one proxy in front of many
#   users) are a few decisions for L4, whatever the hash.

# %% [markdown]
# ## Sources
#
# - TCP and its handshake: [RFC 9293](https://www.rfc-editor.org/rfc/rfc9293). HTTP/1.1 messages:
#   [RFC 9112](https://www.rfc-editor.org/rfc/rfc9112). TLS 1.3: [RFC 8446](https://www.rfc-editor.org/rfc/rfc8446);
#   the server name: [RFC 6066, section 3](https://www.rfc-editor.org/rfc/rfc6066#section-3).
# - Layers of the Internet: [RFC 1122, section 1.1.3](https://www.rfc-editor.org/rfc/rfc1122#section-1.1.3).
# - An L4 balancer that hashes and forwards: [Katran](https://github.com/facebookincubator/katran); the paper behind
#   its table is Eisenbud and others, "Maglev", NSDI 2016.
# - A cloud L4 product and what its listeners can match: [Network Load
#   Balancer](https://docs.aws.amazon.com/elasticloadbalancing/latest/network/load-balancer-listeners.html); [as TCP
#   proxy](https://nginx.org/en/docs/stream/ngx_stream_proxy_module.html): nginx.
# - L7, where requests choose: [nginx's upstream
#   module](https://nginx.org/en/docs/http/ngx_http_upstream_module.html).
# - How far one L7 machine goes: [HAProxy, two million requests per
#   second](https://www.haproxy.com/blog/haproxy-forwards-over-2-million-http-requests-per-second-on-a-single-aws-arm-instance/).
