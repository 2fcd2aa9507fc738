# ---
# book:
#   title: Forwarding modes
#   question: A packet for one address is answered by a server that has another. What was changed, and who replies?
#   tier: 1
#   minutes: 60
#   memory_mb: 400
#   after: [maglev]
#   lab: 02-the-packet-walk
# ---

# %% [markdown]
# ## The upload that hangs
#
# A site moves to a new balancer over the weekend. On Monday the home page loads, logins work, the graphs are green.
# Then support calls: photos cannot be uploaded. Small ones can. The bar goes to a few percent, and stays there. On the
# web servers there is no error, for as far as they know nothing is wrong. The balancer has dropped no packet.
#
# "What changed?" "Nothing, the same servers, the same hash. We only went from NAT to tunnels." That *only* is this
# chapter. The last one chose a backend. Now the packet has to get there, and an answer has to get back. **What may a
# balancer change in a packet, what must it change, and who has to know?**

# %%
from collections import Counter

from lbcore import measure, show
from lbcore.l4 import core, flags
from lbcore.l4.reasons import REPLY
from lbcore.l4.walk import CLIENT, VIP, Site, arriving, ends, icmp_too_big, next_hop, outer_ends, received, size_outside
from lbcore.measure import walked
from lbcore.show.packet_walk import Page
from lbcore.sim.exchange import exchange, totals
from lbcore.testbed import direct
from lbcore.wire import checksum
from lbcore.wire.dissect import dissect, find
from lbcore.wire.summary import summary

# %% [markdown]
# ## The problem
#
# A *virtual address* (VIP) is an address that a service is known by and that belongs to no single server. Routers lead
# it to a balancer. Here is the network of this chapter:
#
# ```mermaid
# flowchart LR
#   C[client<br/>198.51.100.7] --- R[router]
#   R --- S((segment<br/>10.0.0.0/24))
#   S --- L[balancer<br/>10.0.0.2<br/>VIP 203.0.113.80]
#   S --- B[backends<br/>10.0.0.11, .12]
#   R --- F[more backends<br/>10.9.0.11, .12]
# ```
#
# The balancer has one interface, and sends packets out where they came in (a *one-armed* balancer). It is the data
# plane of this book: the same Python that is compiled for the kernel. A client's request arrives. We take the frame as
# it is, and ask what would happen if it went to a backend like that.

# %%
summary(arriving(payload=b"GET / HTTP/1.1\r\nHost: shop.example\r\n\r\n"))

# %%
show.quiz(
    "The balancer hands this frame, unchanged, to the segment again. Which backend takes it?",
    {
        "The first, 10.0.0.11": "Its network card looks at the Ethernet destination first. That is the balancer's.",
        "None": "The Ethernet address is the balancer's, the IP address is nobody's, and perhaps nobody listens on "
        "port 80. Each mode of this chapter solves these three in another way.",
        "Both": "A switch delivers to one port, and a card drops what is for another.",
    },
    correct="None",
)

# %% [markdown]
# Three locks, then: the *Ethernet address*, checked by the card; the *IP address*, checked by the stack; the *port*,
# checked when a socket is looked for. A *forwarding mode* is a decision which of them the balancer opens by rewriting
# the packet, and which the backend opens by its configuration.
#
# ## NAT: write the backend's address over it
#
# *Network address translation* opens all three itself. In this chapter the backends listen on 8080 for it.
#
# Where networks can be built, we send the request along real cables and capture it at four points: at the client, on
# both sides of the balancer, and at the backend, whose answer goes the way back. The router is the kernel's, and client
# and backend write on the wire what TCP would have said. Elsewhere the walk is computed. The frames are the same, byte
# for byte; a test compares them.

# %% tags=["nbval-ignore-output"]
nat, full, dsr = Site("nat", backend_port=8080), Site("full_nat", backend_port=8080), Site("dsr")
walks = walked.walks(nat, full, dsr, *map(Site, ("ipip", "gre", "gue")))
walks.label

# %% [markdown]
# Walk along: each page is the frame at one place, and bytes that are new since the place before are framed.

# %%
hint = "Next, to the backend's answer and its way back. Which fields change there, and to what?"
show.packet_steps(walks["nat"], hint=hint)

# %% [markdown]
# Five things are new: two Ethernet addresses, the destination's IP address and port, and the hop count, since who
# translates is a router and counts as one. And two checksums, because they cover what was changed. On the way back
# the same happens to the source.
#
# ## Checksums without reading the packet
#
# The Internet checksum adds the data up as 16-bit words, carries included, and stores the complement
# ([RFC 1071](https://www.rfc-editor.org/rfc/rfc1071)). TCP's covers the data, too, all 1460 bytes of them in a
# full packet. Must a balancer add all that up again for one new address?

# %%
show.source(checksum.update16)

# %% [markdown]
# A sum does not care for order. So take the old word out, put the new one in
# ([RFC 1624](https://www.rfc-editor.org/rfc/rfc1624), equation 3), and never look at the data. The tables
# above are exactly that, word by word. By hand for TCP, from the stepper's third page:

# %%
value = 0x91AD
for old, new in ((80, 8080), (0xCB00, 0x0A00), (0x7150, 0x000C)):  # the port, 203.0.113.80, 10.0.0.12
    value = checksum.update16(value, old, new)
after = walks["nat"][2].frame
assert value == find(dissect(after), "tcp").field("checksum").value == 0xA4B2
f"{value:#06x}"

# %% [markdown]
# Three words for a packet of any length. The classic mistake is to stop after the first of them: the port is in
# TCP's header, so TCP's checksum is repaired for the port. But TCP sums a *pseudo-header* as well, and the addresses
# are in it. Here is a translator that forgot.

# %%
forgot = bytearray(after)
forgot[50:52] = checksum.update16(0x91AD, 80, 8080).to_bytes(2, "big")
find(dissect(bytes(forgot)), "tcp").field("checksum").text

# %% [markdown]
# The IP header is right, so routers are content. The backend's TCP drops the packet without a word, and counts it in a
# place where few look (`nstat -az TcpInCsumErrors`).
#
# ## The way back decides
#
# "NAT needs no configuration of the backends" is often said. Look who translates the answer: the balancer does, *if it
# gets it*. The answer is addressed to the client. A backend with the router for its default route sends it there.

# %%
answer = nat.answer(received(walks["nat"]))
rows = [("past the balancer", *ends(answer)), ("through it", *ends(nat.forward(answer)[1]))]
show.table(rows, ("way", "from", "to"))

# %%
show.quiz(
    "The client asked 203.0.113.80:80. What does it do with the answer that came past the balancer?",
    {
        "Takes it: sequence numbers match": "A connection is found by both addresses and both ports. This is another.",
        "Sends a reset to 10.0.0.12:8080": "No such connection exists there. And it goes on repeating its SYN.",
        "Asks the balancer": "It knows nothing of a balancer.",
    },
    correct="Sends a reset to 10.0.0.12:8080",
)

# %% [markdown]
# So NAT has a condition: **replies must come through the balancer**. Either the backends' default route leads to it,
# which makes it the gateway of a segment, or the balancer makes itself the client. Note the state, too: an entry for
# each flow, made on the way in, needed on the way out. A balancer that does not have it passes a reply on as it is:

# %%
reason, same = Site("nat", backend_port=8080).forward(answer)
assert same == answer and nat.forward(answer)[0] == REPLY
reason.name

# %% [markdown]
# ## Full NAT: become the client
#
# Write over the source as well, and any backend that can reach the balancer will answer it, whatever its routes.

# %%
show.packet_steps(walks["full_nat"], hint="on page 4, be the backend: whose address goes into your log?")

# %% [markdown]
# The price is on that page. The client's address is gone, and with it the log, the rate limit per client, the
# block list. A second price is in the ports: one source address has only so many of them towards one backend.

# %%
show.predict(
    "How many connections at once can this balancer have with one backend's port, with one address of its own?",
    answer=core.PORTS,
    tolerance=1100,
    unit="connections",
    why="A port has 16 bits. The first 1024 are left alone. Another backend, or another own address, starts anew.",
)

# %%
lent = {ends(full.forward(arriving(port=port))[1]) for port in range(30000, 30200)}
assert len(lent) == 200 and core.PORTS == 65536 - 1024
sorted(lent)[:3]

# %% [markdown]
# "An L4 balancer is transparent, the backend sees the client" is therefore a misconception, if said of all of them.
# Full NAT hides the client, and so does each TCP proxy, which is called L4 as well and has two connections
# (nginx's `stream`, HAProxy's `mode tcp`). With AWS's network balancer it depends on the type of target and a setting
# ([documentation](https://docs.aws.amazon.com/elasticloadbalancing/latest/network/edit-target-group-attributes.html)).
# We will tabulate it below.
#
# ## DSR: leave the packet alone
#
# *Direct server return* opens the first lock and nothing else. What the backend needs, it must have.

# %%
show.packet_steps(walks["dsr"], hint="count the stops: where is the balancer on the way back?")

# %% [markdown]
# Twelve bytes changed, no checksum. The packet that the backend's stack sees is the one that the client sent, down to
# the hop count that the balancer left alone. So the backend must hold the virtual address itself, usually on its
# loopback interface, and answers from it. The reply goes to the router, and the balancer never hears of it.
#
# "Layer 4 balancing is NAT" is the next misconception: nothing was translated here.
#
# Now every host on the segment holds the same address. When the router asks by ARP "who has 203.0.113.80?", who
# answers? Where namespaces can be had, the next cell asks real hosts; elsewhere it shows a recording.

# %% tags=["nbval-ignore-output"]
arp = measure.live_or_recorded("dsr-arp", 1, direct.who_answers)
assert arp.samples == {"arp_ignore = 1": [1, 0, 0], "arp_ignore = 0": [1, 1, 1]}
rows = [(setting, *map(int, counts)) for setting, counts in arp.samples.items()]
show.table(rows, ("on the backends", "balancer", "backend 1", "backend 2"), caption=f"ARP replies; {arp.label}")

# %% [markdown]
# Linux answers for any address that it has, on whichever interface it was asked: `arp_ignore` 0 is the default
# ([ip-sysctl](https://docs.kernel.org/networking/ip-sysctl.html)). Then three hosts answer, the router believes one of
# them, and perhaps all traffic goes to one backend, without balancer. With 1 they answer only for addresses of the
# interface asked. `arp_announce` 2 is its sister: do not *ask* with the virtual address as the sender either.
#
# The other conditions can be tried without a balancer: tell a client that the virtual address is at the backend's
# Ethernet address. That is all a DSR balancer does.

# %% tags=["nbval-ignore-output"]
tried = measure.live_or_recorded("dsr-backends", 1, direct.backends_say)
rows = [key.split("\n") for key in tried.samples]
assert [outcome for _, outcome in rows] == ["an answer", "refused", "silence"]
show.table(rows, ("the backend", "the client gets"), caption=tried.label)

# %% [markdown]
# The line in the middle is the reason why DSR cannot translate ports. We can configure 8080 as much as we like:

# %%
hopeful = Site("dsr", backend_port=8080)
assert ends(received(hopeful.walk())) == (f"{CLIENT}:40000", f"{VIP}:80")
ends(received(hopeful.walk()))

# %% [markdown]
# Could the balancer not write 8080 into the packet, with the checksum repaired? The packet would be taken. The answer
# would come from port 8080, past the balancer, and nobody would turn it back. That is NAT without its way back. Linux's
# [`ipvsadm`](https://git.kernel.org/pub/scm/utils/kernel/ipvsadm/ipvsadm.git) refuses the idea quietly: for direct
# routing and tunnels it replaces a server's port by the service's.
#
# [Lab 03](../labs/03-dsr-in-namespaces.ipynb) has you set up such a network, and then find the one mistake in others.
#
# ## What DSR saves
#
# "It takes 90 % off the balancer." Of what? It removes the packets *to* the client, and no others. So everything
# depends on the conversation.

# %%
show.predict(
    "A request of 700 bytes, a page of 30 kB. What share of the bytes through the balancer does DSR save?",
    answer=0.95,
    tolerance=0.03,
    unit="%",
    why="The page is 21 full segments. What remains is the request, and some small acknowledgments.",
)

# %% [markdown]
# We count instead of arguing. `exchange` lists the packets of one connection: three to open it, data in segments of
# a size that fits, one acknowledgment for every two segments, three to close. `carry` takes them through the balancer.

# %%
page = list(exchange(700, 30_000))
through = {mode: Site(mode).carry(page) for mode in ("nat", "dsr")}
saved = {what: 1 - through["dsr"][i] / through["nat"][i] for i, what in enumerate(("packets", "bytes"))}
t = totals(700, 30_000)
assert abs(t.bytes_saved - saved["bytes"]) < 1e-9 and 0.94 < saved["bytes"] < 0.96 and saved["packets"] == 0.6
through, {what: f"{share:.0%}" for what, share in saved.items()}

# %% [markdown]
# Two answers: 95 % of the bytes, but 60 % of the packets. The acknowledgments still come in, one for each two
# segments, and a balancer's work is per packet. What about other conversations?

# %%
talks = {"tiny API": (500, 300), "JSON": (700, 2000), "page": (700, 30_000), "video": (700, 4_000_000)}
talks["upload of a video"] = (4_000_000, 300)
rows = []
for name, talk in talks.items():
    t = totals(*talk)
    rows.append((name, *talk, f"{t.bytes_saved:.0%}", f"{t.packets_saved:.0%}"))
assert [row[3] for row in rows] == ["39%", "68%", "95%", "98%", "2%"]
show.table(rows, ("conversation", "request (bytes)", "response (bytes)", "bytes saved", "packets saved"))

# %%
sizes = [100, 300, 1000, 3000, 10_000, 30_000, 100_000, 1_000_000, 10_000_000]


def saving(request=700, segments_per_ack=2):
    found = [totals(request, size, per_ack=segments_per_ack) for size in sizes]
    return show.lines(
        sizes,
        {"bytes": [100 * t.bytes_saved for t in found], "packets": [100 * t.packets_saved for t in found]},
        x_label="response (bytes)", y_label="kept off the balancer (%)", x_log=True,
        title="DSR saves nearly all bytes of large responses, and not nearly all packets",
        alt="Share of traffic that direct server return keeps off the balancer, against the response's size. Bytes "
        "rise from about a third to nearly all; packets level off far below.",
    )  # fmt: skip


# %%
show.explore(
    saving,
    hint="acknowledge every segment (1), then every twentieth: which curve moves? Then make the request an upload",
    request=[100, 700, 10_000, 100_000, 4_000_000],
    segments_per_ack=[1, 2, 4, 20],
)

# %% [markdown]
# With an acknowledgment for two segments the packets stop at two thirds. And an upload goes through the balancer in
# full, in every mode: DSR saves its acknowledgments. "The balancer is a bottleneck only in NAT mode" fails for the same
# reason, and for the proxies above.
#
# ## Half a conversation
#
# What does not come through cannot be changed: no header added to a response, no compression, no retry. It cannot be
# seen either.

# %%
views = {mode: Site(mode) for mode in ("nat", "dsr")}
counters = {mode: (site.carry(page), site.balancer.tables.vip_counters[0]) for mode, site in views.items()}
rows = [(mode, *map(int, numbers)) for mode, (_, numbers) in counters.items()]
show.table(rows, ("mode", "packets in", "bytes in", "reply packets", "reply bytes"))

# %% [markdown]
# Those zeros would be zeros as well if every reply got lost. A DSR balancer cannot tell a backend that answers
# from one whose way back is cut, so its health checks must ask by themselves, and by the same way: to the virtual
# address on each backend.
#
# ## Tunnels: DSR across routers
#
# An Ethernet address reaches as far as the segment. To reach further, put the whole packet into another one, addressed
# to the backend: *encapsulation*. The backend takes the outer header off and goes on as in DSR. Meta's Katran works
# like that ([README](https://github.com/facebookincubator/katran)).


# %%
def tunnel(mode="ipip", stop=2):
    return Page(walks[mode], stop)


show.explore(
    tunnel,
    hint="compare the three tunnels. Then move the stop to 3 (behind the router) and 4 (opened)",
    mode=["ipip", "gre", "gue"],
    stop=(2, 4),
)

# %% [markdown]
# *IPIP* ([RFC 2003](https://www.rfc-editor.org/rfc/rfc2003)) is one IP header more. *GRE*
# ([RFC 2784](https://www.rfc-editor.org/rfc/rfc2784)) adds four bytes that name what is inside. *GUE* adds a UDP
# header, for which there is a good reason. Routers and cards spread packets over links and cores by hashing the outer
# header. How many different ones do they see for 200 clients' connections?

# %%
different = {mode: Counter() for mode in ("ipip", "gre", "gue")}
for mode, seen in different.items():
    site = Site(mode)
    seen.update(outer_ends(site.forward(arriving(port=port))[1]) for port in range(30000, 30200))
assert len(different["ipip"]) == len(different["gre"]) == 2
{mode: len(seen) for mode, seen in different.items()}

# %% [markdown]
# Two: one for each backend, so one link and one core would carry all of a backend's traffic. GUE puts bits of the
# flow into its source port. Katran does the same for IPIP by inventing source addresses, for which `spread4` stands in
# our configuration; whoever filters by source on the way must know.
#
# There is a second filter to know of. A backend in another data centre answers from an address that is not of its
# network. Routers that drop such packets are doing what they should against forgery
# ([BCP 38](https://www.rfc-editor.org/rfc/rfc2827)). So "tunnels work across data centres" holds where the routers
# agree.
#
# ## Twenty bytes too many
#
# Back to the upload. A link has a largest packet, its *MTU*, 1500 bytes on plain Ethernet. TCP's two ends
# agree on segments that just fit: 1460 bytes of data and 40 of headers. Neither knows of the tunnel.

# %%
kinds = [(mode, False) for mode in flags.NAMES] + [(mode, True) for mode in ("ipip", "gre", "gue")]
added = {(mode, six): size_outside(mode, 1000, far6=six) - 1040 for mode, six in kinds}
assert all(size_outside(mode, 1460 - more, far6=six) == 1500 for (mode, six), more in added.items())
rows = [(mode + " over IPv6" * six, more, 1460 - more, 1500 + more) for (mode, six), more in added.items()]
show.table(rows, ("mode", "bytes added", "largest data in 1500", "a full packet becomes"))

# %% [markdown]
# The logins were small. The first full packet of an upload is 1500 bytes when it arrives, and 1520 when it should
# leave. The balancer cannot send that over such a link, and it does not fragment. In our data plane, and in
# Katran's, its size is checked against a limit when it comes in, not when it goes out; what the link refuses is
# refused below, and nobody tells the client. It repeats the same packet until it gives up. Downloads are well: they do
# not go through the tunnel.
#
# And if the balancer's own link could carry it, but not one behind a router? Then the router reads the outer header:

# %%
_, left = Site("ipip").forward(arriving(payload=bytes(1460)))
outer, inner = [layer for layer in dissect(left) if layer.name == "ipv4"]
[(name, outer.field(name).text, inner.field(name).text) for name in ("dont_fragment", "identification")]

# %% [markdown]
# The client forbade fragments. The outer header, in Katran's layout, allows them, though RFC 2003 (section 3.1) wants
# the bit copied. So a router may cut the packet in two, and the backend has to put it together again. If it
# were set, the router would report to the outer source: the balancer, whose host knows nothing of any connection.
# Katran's authors name three remedies
# ([issue 82](https://github.com/facebookincubator/katran/issues/82)): a larger MTU on all links between balancer and
# backends; backends that announce a smaller segment size (*MSS*) in their SYN-ACK, so that clients never send more;
# or a balancer built to answer large packets with an ICMP error itself. For the second,
# on Linux, there is a route's `advmss`: 1440 for IPIP, 1436 for GRE, from the table above.
#
# ## Errors must find their flow
#
# The opposite direction has small links, too. A router near the client cannot forward a backend's large packet. It
# sends an ICMP error, *fragmentation needed*, to the packet's source. In every mode that is the virtual address, so the
# error arrives at the balancer. Its own addresses say nothing of the flow: the sender is that router. Its ports? ICMP
# has none. But an error quotes the packet that it is about.

# %%
summary(icmp_too_big(port=40000))

# %%
flows = [next_hop(dsr.forward(arriving(port=port))[1]) for port in range(30000, 30200)]
errors = [next_hop(dsr.forward(icmp_too_big(port=port))[1]) for port in range(30000, 30200)]
assert flows == errors
Counter(flows)

# %% [markdown]
# Each error went where its flow goes, although all 200 come from one router. A balancer that hashed the error's own
# addresses would send them all to one backend, and be right for about half. The others would go on sending what
# does not fit: *downloads* that hang, for some clients. With NAT, the quote must be translated back, too, or the
# backend does not recognise its own packet.

# %%
_, translated = nat.forward(icmp_too_big(port=40000))
assert "wrong" not in str(dissect(translated))
summary(translated)

# %% [markdown]
# ## All modes in one table
#
# Ask the frames. For each mode: whom does the backend's stack see as the client, was the port translated, what must the
# backend hold or open, where does its answer go?


# %%
def asked(mode):
    site = Site(mode, backend_port=8080)
    stops = site.walk()
    client, here = ends(received(stops))
    answer = next(stop.frame for stop in stops if stop.name == "backend, out")
    said = (client.startswith(CLIENT), here.endswith("8080"), here.startswith(VIP), site.tunnel)
    return (mode, here, *("yes" if one else "no" for one in said), next_hop(answer))


# %%
rows = [asked(mode) for mode in flags.NAMES]
assert [row[0] for row in rows if row[2] == "no"] == ["full_nat"]
assert [row[0] for row in rows if row[3] == "yes"] == ["nat", "full_nat"]
columns = ("client seen", "port translated", "VIP on backend", "tunnel to open", "answer goes to the")
show.table(rows, ("mode", "packet is for", *columns))

# %% [markdown]
# Read it by columns, as a checklist. *VIP on backend* brings `arp_ignore` and `arp_announce` with it where the
# balancer shares the segment. *Tunnel to open* brings a tunnel device, a smaller MSS, and, as packets now come in by
# an interface that no route to the client uses, `rp_filter` off or loose. *The answer goes to the balancer* means its
# capacity is that of both directions.
#
# ## Summary
#
# - Three locks: Ethernet address, IP address, port. A mode says which of them the balancer opens, and which the
#   backend.
# - NAT rewrites the destination, repairs two checksums from the words that changed, and needs the replies to come back
#   through it. Full NAT gets them for certain, and pays with the client's address and with ports.
# - DSR changes Ethernet addresses only. Backends hold the virtual address and keep silent about it. No port
#   translation, no changed response, no view of replies.
# - It saves the bytes towards the client: nearly all for downloads, nearly none for uploads, and at most about two
#   thirds of packets with usual acknowledgments.
# - Tunnels carry DSR across routers, for 20 to 48 bytes a packet. Mind MTU and MSS, or small things work and
#   large ones hang.
# - ICMP errors belong to the flow that they quote.
#
# ## Exercises
#
# 1. A backend sees packets from clients with a hop count of 63 by DSR, of 62 by NAT. Why, and what would tell you
#    that a colleague's "transparent" balancer is a proxy?
#    <details><summary>Solution</summary>
#    A translator is a router and counts a hop; DSR does not touch the packet. A proxy's packets are its own: the hop
#    count, TCP options and sequence numbers start at the proxy, whatever address they bear.</details>
# 2. Why can a SYN-ACK's MSS save a tunnel, but not a UDP service?
#    <details><summary>Solution</summary>
#    MSS is an agreement of TCP. A UDP sender learns of a smaller path only from ICMP errors, or by trying, as QUIC
#    does. So for UDP the links between balancer and backend need the larger MTU.</details>
# 3. Compute the saving of an exchange with `mss=8948` (jumbo frames). Bytes or packets: which changes more?
#    <details><summary>Solution</summary>
#    <code>totals(700, 30_000, mss=8948)</code>: the share of bytes rises a little, as fewer headers and acknowledgments
#    are left. That of packets falls, for opening and closing weigh more among so few.</details>
# 4. `core.PORTS` connections to one backend are not enough. Name three ways out without leaving full NAT.
#    <details><summary>Solution</summary>
#    More source addresses; more backend addresses or ports (the same host may listen on several); fewer
#    connections, by keeping them open and reusing them, which needs a proxy.</details>
# 5. Let a client's packet arrive with a hop count of 1, in `nat` and in `dsr`. What does the data plane do, and is
#    either wrong?
#    <details><summary>Solution</summary>
#    Set <code>frame[22] = 1</code> and repair the IP checksum. NAT drops it (<code>TTL</code>), as a router must. DSR
#    forwards: on the same segment nothing is routed. The packet has arrived.</details>
#
# ## Interview questions
#
# **"How does DSR work?"**
# *Weak:* "The response bypasses the balancer." *Strong:* only the destination's Ethernet address is rewritten; the
# VIP is on the backend's loopback, with ARP silenced; the backend answers from the VIP. Hence one segment or a
# tunnel, the same port, and half a view.
#
# **"Do L4 balancers preserve the client's address?"**
# *Weak:* "Yes, L7 ones do not." *Strong:* asks for the mode. NAT of the destination, DSR and tunnels do; full NAT and
# TCP proxies do not, unless they spoof or say it in a PROXY protocol header.
#
# **"How much does DSR save?"**
# *Weak:* "90 %." *Strong:* the share of bytes that go to the client, so it depends on the response; fewer of the
# packets; nothing for uploads. Gives an example with numbers.
#
# **"After moving to IPIP, small requests work and large uploads hang. Why?"**
# *Weak:* "A firewall." *Strong:* 1500 plus 20. The full packets of uploads are too large inside. Checks with
# `ping -M do -s`, then lowers the advertised MSS or raises the inner MTU; asks whether ICMP errors reach anyone.
#
# ## Sources
#
# - [RFC 1624](https://www.rfc-editor.org/rfc/rfc1624): incremental checksums.
#   [RFC 3022](https://www.rfc-editor.org/rfc/rfc3022): NAT. [RFC 5508](https://www.rfc-editor.org/rfc/rfc5508): NAT of
#   ICMP errors.
# - [RFC 2003](https://www.rfc-editor.org/rfc/rfc2003): IPIP. [RFC 2784](https://www.rfc-editor.org/rfc/rfc2784) and
#   [RFC 2890](https://www.rfc-editor.org/rfc/rfc2890): GRE, and its optional fields.
# - [Katran](https://github.com/facebookincubator/katran): README,
#   [issue 82](https://github.com/facebookincubator/katran/issues/82) on MTU.
# - Linux: [IPVS](https://github.com/torvalds/linux/blob/v6.12/net/netfilter/ipvs/Kconfig),
#   [ip-sysctl](https://docs.kernel.org/networking/ip-sysctl.html).
