# ---
# book:
#   title: Start here
#   question: "\"Put it behind an L4, it is faster.\" Faster than what, at what, and how would you know?"
#   tier: 0
#   minutes: 20
#   memory_mb: 400
#   after: []
#   lab:
# ---

# %% [markdown]
# ## A sentence you will hear this week
#
# A service is slow, five people sit around a table, and one of them says: "Put it behind an L4, it is faster." Heads
# nod. Everybody has read that somewhere.
#
# *L4* is short for a balancer at layer 4, which passes packets on by their addresses and ports. *L7* is one at layer
# 7, which reads the request first. The sentence may be true. It may also be worth nothing, because it does not say
# what is faster: a packet, a connection, a request? By how much, and is that a share of anything that users notice?
#
# This book takes such sentences one by one and measures them, in cells like the next one, on the machine in front of
# you. If a sentence holds, you will know when. If it does not, you will know what to say at the table. Run the cells
# from the top, with Shift+Enter.

# %%
import time

import numpy as np

from lbcore import measure, show
from lbcore.testbed import flow, layer_costs
from lbcore.testbed.capabilities import TIERS, machine
from lbcore.wire import compose, dissect, ethernet, tcp
from lbcore.wire.seam import view

# %% [markdown]
# ## What your machine can do
#
# Some experiments build whole networks of hosts, and some load programs into the kernel. Not every machine lets you.
# The book knows three *tiers*, and the next cell asks which one is yours. Nothing here needs more than tier 0: where
# your machine cannot do a thing, you see the result of one that could, with its name and date beside it.

# %% tags=["nbval-ignore-output"]
here = machine()
print(f"tier {here.tier}: {TIERS[here.tier]}")
print(measure.facts_line())

# %% [markdown]
# To see all that was tried, and why something is missing, run `lbcore doctor` in a terminal.

# %% [markdown]
# ## A packet is bytes
#
# Here is what a layer 4 balancer has to work with. This is a TCP packet to port 443, the very first of a connection,
# as it travels on a cable. Point at a byte to see what it is.

# %%
syn = compose.tcp_frame(source="192.0.2.7:40000", destination="203.0.113.1:443")
read = ["ipv4.protocol", "ipv4.source", "ipv4.destination", "tcp.source_port", "tcp.destination_port"]
show.packet(syn, dissect.dissect(syn), highlight=read)

# %% [markdown]
# The framed fields are all that a balancer at this layer decides by: protocol, two addresses, two ports. Five numbers
# that stay the same for as long as the connection lives. The code that reads them is code of this book, and short
# enough to be read. This is how it reads the TCP header:

# %%
show.source(tcp.parse)

# %% [markdown]
# `u16(p, 2)` means: the 16-bit number two bytes into the view `p`. `need(p, n)` asks whether `n` bytes are there at
# all, and nobody reads a byte without having asked. That is all the vocabulary there is, and it is small for a
# reason that comes next.

# %%
five = flow.parse(view(syn))
five

# %% [markdown]
# ## One source, two speeds
#
# That was plain Python: good to read, good to debug, and slow. The same function can be compiled to machine code by
# [numba](https://numba.pydata.org). Not a second version, the same one; [chapter 06](06-kernel-fast-path.ipynb)
# compiles such code a third time, for the Linux kernel. First a guess, and please write it down before you go on: a
# guess that was written down is how a number turns into something you remember.

# %%
show.quiz(
    "How many times faster is the compiled form than plain Python, reading these five numbers?",
    {
        "about twice": "That is what one hopes for from a better interpreter.",
        "about ten times": "Common for array code that is already half compiled.",
        "hundreds of times, or more": "Python spends its time on everything around the few loads that are the work.",
    },
    correct="hundreds of times, or more",
)

# %% tags=["nbval-ignore-output"]
packets = layer_costs.batch(syn)
speeds = measure.compare(
    {"compiled": lambda: layer_costs.read_headers(*packets), "plain Python": lambda: flow.parse(view(syn))},
    operations={"compiled": layer_costs.BATCH, "plain Python": 1},
)
speeds

# %% tags=["nbval-ignore-output"]
faster = speeds.ratio("plain Python", "compiled")
assert faster > 100, faster
f"compiled is {faster:.0f} times faster"

# %% [markdown]
# So code that you can read in one minute runs at a speed that means something. That matters for what follows: a
# measurement of slow code tells you about the code. And that both forms *agree* is not taken on trust; the tests run
# them against each other, and against other people's parsers, on thousands of random and damaged packets.

# %% [markdown]
# ## How fast is fast enough?
#
# "Fast" needs a yardstick, and the network has one. On a link of so many gigabits a second, packets arrive at most
# so often, and each leaves a certain time until the next. The smallest Ethernet frame is 64 bytes; a preamble of 8
# and a gap of 12 come with every frame
# ([IEEE 802.3](https://standards.ieee.org/ieee/802.3/10422/)). The largest ordinary one is 1518 bytes.

# %%
links = np.array([1, 10, 25, 40, 100])  # gigabits a second, which is bits a nanosecond


def budget(frame_bytes):
    return (frame_bytes + 8 + 12) * 8 / links


rates = [(f"{link} Gb/s", f"{1000 / least:.2f}", f"{least:.1f}") for link, least in zip(links, budget(64), strict=True)]
show.table(rates, ("link", "million frames of 64 bytes a second", "ns for each"))

# %% [markdown]
# One core against a full link of 100 Gb/s in the smallest packets has 6.7 ns for each. Hold that beside what you
# measured above, and it is plain why nobody forwards packets in an interpreter. Full-size packets are kinder.

# %%
assert round(budget(64)[-1], 1) == 6.7
fig, ax = show.figure(height=3.2)
for size in (64, 1518):
    ax.plot(links, budget(size), label=f"frames of {size} bytes")
ax.set(xscale="log", yscale="log", xlabel="link speed (Gb/s)", ylabel="time until the next frame (ns)")
ax.set_xticks(links, [str(link) for link in links])
ax.legend()
show.finish(
    fig,
    title="Ten times the link leaves a tenth of the time, and small frames twenty times less",
    alt="Time until the next frame against link speed, both axes logarithmic: two parallel falling lines, the one for "
    "frames of 64 bytes about twenty times below the one for 1518 bytes.",
)

# %% [markdown]
# ## Four speedometers
#
# There are four, and much confusion in this field comes from reading one and quoting another:
#
# | what | is used up by | typical limit |
# |---|---|---|
# | packets a second | looking at headers | CPU per packet |
# | bits a second | moving payload | the link, memory |
# | connections a second | handshakes, new table entries | CPU per connection |
# | requests a second | parsing, routing, logging | CPU per request |
#
# An attack that is famous for its size in one of them can be small in another. In June 2020 an attack was reported
# at 754 million packets a second
# ([Cloudflare](https://blog.cloudflare.com/no-humans-involved-mitigating-a-754-million-pps-ddos-attack-automatically/)).
# It is often retold with a number of gigabits that nobody published. If every frame was the smallest possible, how
# many would it have been?

# %%
show.predict(
    "754 million frames of 64 bytes a second: how many Gb/s on the wire, preamble and gap included?",
    answer=754e6 * (64 + 20) * 8 / 1e9,
    tolerance=0.1,
    unit="Gb/s",
    why="84 bytes on the wire for each, 8 bits a byte.",
)

# %%
f"{754e6 * (64 + 20) * 8 / 1e9:.0f} Gb/s: five full links of 100 Gb/s"

# %% [markdown]
# ## How not to be fooled by a stopwatch
#
# Measure the same thing twice, and you get two numbers. To see how far apart they can be, we time one and the same call
# again and again, by the clock on the wall, as everyone does.


# %% tags=["nbval-ignore-output"]
def sample(clock):
    start = clock()
    layer_costs.read_headers(*packets)
    return clock() - start


wall = np.array([sample(time.perf_counter_ns) for _ in range(2000)])
f"the slowest of 2000 runs took {wall.max() / np.median(wall):.0f} times as long as the middle one"

# %% [markdown]
# Nothing in the work had changed. Another process ran, the clock speed moved, a page was not in the cache. So this
# book keeps three habits: *CPU time* instead of wall time where CPU is the question; the things compared take turns,
# round by round, so that a slow second hits all of them; and what is reported is the *ratio* within each round, its
# middle value and its spread.

# %% tags=["nbval-ignore-output"]
twice = measure.compare({name: lambda: layer_costs.read_headers(*packets) for name in ("once", "again")}, rounds=15)
assert 0.7 < twice.ratio("again", "once") < 1.4
f"the same work against itself, as a ratio: {twice.ratio('again', 'once'):.2f}"

# %% [markdown]
# Close to one, as it should be, on a machine that is never quiet. That is why prose here says "tens of nanoseconds" or
# "twenty times", and leaves the digits to the cell: the digits are yours, the ratio is everyone's.

# %% [markdown]
# ## Sentences that do not survive
#
# Each of these is in print somewhere. One of them is true.

# %%
show.quiz(
    "Which sentence is true?",
    {
        "XDP programs run on the network card, the CPU never notices": (
            "Native XDP runs in the driver, on the host's CPU: about 42 ns a packet in the authors' own test."
        ),
        "L4 balancers are transparent: backends see the client's address": (
            "Some modes keep it. Every TCP proxy, which many L4 balancers are, replaces it by its own."
        ),
        "The kernel makes a context switch for every packet": (
            "Packets are received in a soft interrupt. Switches are what a proxy in user space costs."
        ),
        "An L4 balancer cannot route by URL path": "When it decides, the path has not been sent. Chapter 01 shows it.",
        "Health checks at L4 can only test TCP": "How a check asks has nothing to do with how packets are forwarded.",
    },
    correct="An L4 balancer cannot route by URL path",
)

# %% [markdown]
# The figure for XDP, the kernel's earliest place to run a program on a packet, is from its authors: 24 million
# packets a second on one core
# ([Høiland-Jørgensen and others, 2018](https://doi.org/10.1145/3281411.3281443)). Turned round:

# %%
f"{1e9 / 24e6:.0f} ns a packet"

# %% [markdown]
# ## The way through
#
# A request from a browser to a large site meets most of what this book is about. Follow it once:
#
# ```mermaid
# flowchart LR
#     B[browser] -->|"names and addresses"| E{{"routers: equal paths, a hash"}}
#     E --> A1["L4 balancer: which L7 proxy?"]
#     E --> A2["L4 balancer"]
#     A1 --> P1["L7 proxy: ends TLS, reads the request"]
#     A1 --> P2["L7 proxy"]
#     A2 --> P2
#     P1 -->|"which pool? which backend?"| S1[backend]
#     P1 --> S2[backend]
#     P2 --> S2
# ```
#
# At each box stands a question, and each question has a chapter:
#
# - What can a box see, and so decide? [01](01-what-each-layer-sees.ipynb)
# - By which rule does it choose? [02](02-choosing-a-backend.ipynb)
# - What happens to everybody else when one choice goes away? [03](03-maglev.ipynb)
# - How does the answer come back? [04](04-forwarding-modes.ipynb)
# - What if a balancer dies? [05](05-flows-and-fleets.ipynb)
# - Where in the machine is a packet handled, and at what price? [06](06-kernel-fast-path.ipynb)
# - What does an attack use up? [07](07-under-attack.ipynb)
# - Whose request is it by then, and for whom? [08](08-peeking-without-opening.ipynb)
# - What does a proxy decide for each request? [09](09-inside-the-proxy.ipynb)
# - Who pays for the encryption? [10](10-what-tls-costs.ipynb)
# - What do a gateway's services cost? [12](12-the-gateway.ipynb)
# - Who remembers the customer? [13](13-sticky-sessions.ipynb)
#
# Chapters ask one question each and can be read alone; what one needs from another stands at its head.
#
# Every chapter has the same order: a question, your guess, an experiment, what it means, what breaks it. At its end
# are exercises with solutions, questions as they are asked in interviews, and sources. Labs are where you write the
# code yourself, and a checker tells you not only that it is wrong, but how.

# %% [markdown]
# ## Summary
#
# - A claim about speed needs three things: what is counted, against what, and measured how.
# - Packets, bits, connections and requests are four different speeds.
# - The code shown is the code measured. Compiled, it is fast enough to be worth measuring.
# - Ratios travel between machines. Milliseconds do not.

# %% [markdown]
# ## Exercises
#
# **1.** Damage the packet: `flow.parse(view(syn[:40]))`. What does the first number of the answer say? (The list is in
# `lbcore.wire.verdict`.)
#
# <details><summary>Solution</summary>
#
# 4, `BAD_TOTAL_LENGTH`: the IP header promises more bytes than there are. The parser has read nothing behind the
# end; every read stands behind a `need`.
#
# </details>
#
# **2.** How many cores does your machine need, at its compiled speed, to read the headers of a 100 Gb/s link full of
# 64-byte frames? And of 1518-byte frames?
#
# <details><summary>Solution</summary>
#
# `speeds.ns("compiled") / budget(64)[-1]` and the same with 1518: one or two cores for the smallest frames, a small
# part of one for the largest. Reading is not forwarding, though: taking packets from the card costs more.
#
# </details>
#
# **3.** `show.header(dissect.dissect(syn)[2])` draws the TCP header as the RFC does. Which fields did the balancer
# not look at, and who does?
#
# <details><summary>Solution</summary>
#
# All but the ports. Sequence and acknowledgment numbers, window and flags are the business of the two ends. (A
# balancer that keeps a table of connections reads the flags as well, to know when one begins and ends.)
#
# </details>

# %%
eth = ethernet.parse(view(syn))
assert flow.parse(view(syn[:40])).verdict == 4 and eth.ethertype == ethernet.IPV4
show.header(dissect.dissect(syn)[2])

# %% [markdown]
# ## Interview questions
#
# **"How many requests a second can a load balancer handle?"**
#
# - *Weak:* a number.
# - *Strong:* asks back: requests or connections, how large, with or without TLS, connections kept open or not. Then
#   names which of the four speeds runs out first in that case, and roughly why.
#
# **"You measured 40 microseconds and your colleague 60, with the same code. Who is right?"**
#
# - *Weak:* "The newer machine."
# - *Strong:* "Perhaps both. I would run the two versions we want to compare in turn, in one process, and compare the
#   ratio. And I would look at CPU time, so that the neighbours are not in it."
#
# **"Is L4 faster than L7?"**
#
# - *Weak:* "Yes."
# - *Strong:* "Per packet, by far. Whether a user notices depends on what else the request pays for: handshakes,
#   queueing, distance. What are we trying to make faster?"

# %% [markdown]
# ## Sources
#
# - Frame sizes, preamble and gap: [IEEE 802.3](https://standards.ieee.org/ieee/802.3/10422/).
# - TCP: [RFC 9293](https://www.rfc-editor.org/rfc/rfc9293). IPv4: [RFC 791](https://www.rfc-editor.org/rfc/rfc791).
# - XDP's speed, and what the kernel does without it: [The eXpress Data Path, CoNEXT
#   2018](https://doi.org/10.1145/3281411.3281443).
# - The attack of June 2020, in the words of those who received it:
#   [Cloudflare](https://blog.cloudflare.com/no-humans-involved-mitigating-a-754-million-pps-ddos-attack-automatically/).
# - How context switches and soft interrupts are counted: `man 5 proc`.
