# ---
# book:
#   title: Peeking without opening
#   question: TLS hides where a connection should go, a proxy hides who sent it. Who still knows, and whom can you ask?
#   tier: 0
#   minutes: 55
#   memory_mb: 500
#   after: [what-each-layer-sees, forwarding-modes]
#   lab: sni-router
# ---

# %% [markdown]
# ## Three incidents before lunch
#
# *9:10.* Three teams share one address. In front stands a router that picks the team by the server's name and holds no
# certificate. Since a browser update on Tuesday, four visitors in ten of the shop arrive at the default site. The
# router's tests are green.
#
# *10:20.* The shop's rate limiter has banned one address for good reason: half a million requests in ten minutes. The
# address is the router's. Now everybody is banned.
#
# *11:40.* Somebody makes the limiter read `X-Forwarded-For`. The ban is lifted, the graphs look right, until an
# attacker tries passwords from a new address with every request, one of them 127.0.0.1.
#
# Two questions have gone wrong here. **Where does this connection want to go? And who sent it?**

# %%
from contextlib import asynccontextmanager
from ipaddress import ip_network

from lbcore import show
from lbcore.l4.relay import Listener, Options, Pool, Relay, Route, Target, Timeouts, opening, router
from lbcore.l4.walk import Site
from lbcore.show.first_flight import places
from lbcore.show.hearsay_diagram import CLIENTS, LIES, RULES
from lbcore.testbed import aside, callers, hops, smallest, tls_sites, whoami
from lbcore.wire import forwarded, proxy_protocol, proxy_tlv, tls_hello
from lbcore.wire.dissect import dissect, find
from lbcore.wire.proxy_protocol import Header, Inet
from lbcore.wire.tls_compose import client_hello, records

# %% [markdown]
# ## What is said before the lock closes
#
# A TLS connection starts with a *ClientHello*: the client's offer of versions, ciphers and keys. Nothing in it can be
# encrypted in the usual way, for no key has been agreed. Here is the one that Python sends.

# %% tags=["nbval-ignore-output"]
sent = tls_sites.first_flight("shop.example")
show.hello_bytes(sent, max_rows=20)

# %%
hello = tls_hello.parse(sent)
hello.server_name, hello.alpn, [hex(version) for version in hello.versions]

# %% [markdown]
# The framed bytes are what a router lives on. The *server name indication* (SNI,
# [RFC 6066](https://www.rfc-editor.org/rfc/rfc6066#section-3)) is the host that the client wants, there so that one
# address can serve many certificates. *ALPN* ([RFC 7301](https://www.rfc-editor.org/rfc/rfc7301)) lists the application
# protocols that it would speak. Path, headers and cookies come later, encrypted. And the name may be missing: whoever
# dials an address has no name to say.

# %%
assert tls_hello.parse(tls_sites.first_flight("127.0.0.1")).server_name is None

# %% [markdown]
# ## A router without a key
#
# "An L4 balancer can route by SNI" is true with one correction. The hello is sent when the TCP handshake is over, so
# somebody has to have answered it ([chapter 01](01-what-each-layer-sees.ipynb)). A balancer that forwards packets, by
# DSR say, chose its backend at the SYN. What routes by SNI is **a TCP proxy that peeks**: it accepts, waits for the
# hello, dials a backend, sends the same bytes on, and copies from then on.
#
# Our relay does that. Behind it stand two sites of Python's own TLS, each with its own certificate.


# %%
@asynccontextmanager
async def sni_router(routes=None, default="shop.example", **more):
    async with tls_sites.sites(["shop.example", "api.example"], alpn=("h2", "http/1.1", "acme-tls/1")) as (doors, ca):
        pools = [Pool(name, [Target(f"{host}:{port}")]) for name, (host, port) in doors.items()]
        listener = Listener(default, routes=routes or [Route(name, [name]) for name in doors])
        async with Relay(Options([listener], pools, **more)) as relay:
            yield relay, ca


# %%
async def tour(*visits, routes=None):
    async with sni_router(routes) as (relay, ca):
        return [await tls_sites.visit(relay.addresses[0], name, ca, **how) for name, how in visits]


names = ["shop.example", "api.example", "API.example", None]
whole = aside.run(tour(*[(name, {}) for name in names]))
show.table([(name, visit.certificate) for name, visit in zip(names, whole, strict=True)], ("asked for", "certificate"))

# %% [markdown]
# The certificates prove that nobody opened anything. Only the site that holds the key can complete a handshake with its
# certificate, and the relay has no key. It read one name, once per connection.
# [HAProxy](https://docs.haproxy.org/3.2/configuration.html#7.3.5-req.ssl_sni) and nginx
# ([ssl_preread](https://nginx.org/en/docs/stream/ngx_stream_ssl_preread_module.html), not in the default build) do the
# same.
#
# A name is not a permission. A client that says `shop.example` here may ask for `Host: admin.example` inside, where the
# router cannot see it. The backend has to check.
#
# ## Half a hello
#
# A hello is one message, and TCP has no messages: it comes in segments, of 1460 bytes on an ordinary
# Ethernet path. That it fits in one was a habit, never a promise. Post-quantum key exchange ended it:
# X25519MLKEM768 sends a share of 1216 bytes
# ([draft](https://datatracker.ietf.org/doc/draft-ietf-tls-ecdhe-mlkem/)), and [tldr.fail](https://tldr.fail) lists what
# broke. Our TLS library may be too old to send one, so here are hellos written by hand, to scale.

# %%
NEW = {"post_quantum": True, "ech": True, "shuffled": True}
hellos = {
    "classic": records(client_hello()),
    "post-quantum": records(client_hello(post_quantum=True)),
    "shuffled": records(client_hello(**NEW, seed=0)),
    "shuffled anew": records(client_hello(**NEW, seed=1)),
}
assert len(hellos["classic"]) < 300 and len(hellos["post-quantum"]) > 1460
show.hello_map(hellos, title="A post-quantum hello needs a second segment")

# %% [markdown]
# The second row explains the green tests. The hello is too long, but the name stands in front of the key share, and a
# parser that reads once still finds it. Then there is Chrome, which puts its extensions into a new random order for
# every connection, from version 110 on ([chromestatus](https://chromestatus.com/feature/5124606246518784)). (ECH, the
# purple block, is explained below.)

# %%
show.predict(
    "Shuffled hellos of this size, 1460 bytes a segment: what share has no name in the first one?",
    answer=0.39,
    tolerance=0.08,
    unit="%",
    why="The name is behind the key share in half of them, and then it often lies beyond the cut.",
)

# %%
ends = [places(records(client_hello(**NEW, seed=seed)))["server name"][1] for seed in range(1000)]
share = sum(end > 1460 for end in ends) / len(ends)
assert 0.34 < share < 0.44
f"{share:.0%} have their name in the second segment"

# %%
sizes = range(600, 1751, 50)
found = [100 * sum(end <= size for end in ends) / len(ends) for size in sizes]
show.lines(
    sizes,
    {"reassembles": [100] * len(sizes), "reads once": found},
    x_label="bytes in the first segment",
    y_label="connections with a name (%)",
    title="Who reads a shuffled hello once finds its name by luck",
    alt="Share of connections whose name is found, against the size of the first segment. Reassembling: 100 % "
    "throughout. Reading once: a half up to 1400 bytes, then rising, with all found from 1700 bytes on.",
)

# %% [markdown]
# That was the 9:10 incident. (The share depends on what else is in a hello; this is our mix.) The tests had the name at
# the left edge, a visitor has it anywhere. Draw another order, or make the segments smaller, as tunnels do
# ([chapter 04](04-forwarding-modes.ipynb)).


# %%
def draw(kind="post-quantum, ECH", shuffled=True, order=1, segment=1460):
    kinds = {"classic": {}, "ECH": {"ech": True}, "post-quantum": {"post_quantum": True}, "post-quantum, ECH": NEW}
    data = records(client_hello(**{**kinds[kind], "shuffled": shuffled}, seed=order))
    return show.hello_map({kind: data}, segment=segment)


show.explore(
    draw,
    hint="find an order whose name is in the third segment of 536 bytes; can a classic hello lose its name?",
    kind=["classic", "ECH", "post-quantum", "post-quantum, ECH"],
    shuffled=True,
    order=(1, 30),
    segment=[100, 300, 536, 1000, 1240, 1460],
)

# %% [markdown]
# ## Wait, but not for ever
#
# The cure is to keep what has come until the hello is whole. The parser says how much is missing at least, and the
# relay's `Opening` keeps the bytes, for the backend must get every one of them. It costs no round trip: a sender may
# have ten segments on the way from the start ([RFC 6928](https://www.rfc-editor.org/rfc/rfc6928)).

# %%
peek, data = tls_hello.Peek(), hellos["shuffled anew"]
try:
    peek.feed(data[:1460])
except tls_hello.Incomplete as wait:
    print(wait)
peek.feed(data[1460:]).server_name

# %%
show.source(opening.Opening.feed)

# %% [markdown]
# Does it hold with a real client on a real socket? One that sends its hello in pieces of 40 bytes:

# %%
pieces = aside.run(tour(*[(name, {"piece": 40}) for name in names]))
assert pieces == whole
pieces[1]

# %% [markdown]
# Waiting is a new weakness. A client may send half a hello and fall silent, a thousand times over. So a router that
# reassembles has a limit for bytes, a limit for time, and a word for each refusal.


# %%
async def refused(*openings):
    async with sni_router(default="", timeouts=Timeouts(opening=0.2)) as (relay, _):
        for data in openings:
            await callers.ask(relay.addresses[0], data, end=False)
        return [f"{count} x {reason}" for reason, count in relay.counters.ended.items()]


aside.run(refused(hellos["classic"][:100], b"GET / HTTP/1.1\r\n\r\n", records(client_hello("nobody.example"))))

# %% [markdown]
# ## ALPN: what it would like to speak
#
# The second framed field routes, too. A certificate authority can check that you own a name by connecting with the
# protocol `acme-tls/1` ([RFC 8737](https://www.rfc-editor.org/rfc/rfc8737)). That has to reach the certificate robot,
# whatever the name. Let `api.example` be the robot.

# %%
offers, robot = [("h2", "http/1.1"), ("http/1.1",), ("acme-tls/1",)], [Route("api.example", alpn=["acme-tls/1"])]
went = aside.run(tour(*[("shop.example", {"alpn": offer}) for offer in offers], routes=robot))
rows = [(", ".join(offer), visit.certificate, visit.alpn) for offer, visit in zip(offers, went, strict=True)]
show.table(rows, ("offered", "arrived at", "chosen"))

# %% [markdown]
# *Offered* is what the router sees. *Chosen* it does not: in TLS 1.3 the server's choice is already encrypted
# ([RFC 8446, section 4.3.1](https://www.rfc-editor.org/rfc/rfc8446#section-4.3.1)). "Offers h2" must not be read as
# "speaks h2".
#
# ## ECH: a hello within a hello
#
# The name in the clear tells everybody on the way which site you visit. *Encrypted Client Hello*
# ([RFC 9849](https://www.rfc-editor.org/rfc/rfc9849), 2026) hides it. The client fetches a public key from DNS,
# encrypts the true hello, the *inner* one, and sends it inside an *outer* hello. The outer one names the server that
# holds the key.
#
# ```mermaid
# sequenceDiagram
#     participant C as client
#     participant R as router without key
#     participant F as client-facing server
#     participant B as hidden.example
#     C->>R: outer hello: name public.example, inner hello locked
#     R->>F: the same bytes, by the outer name
#     Note over F: opens the inner hello
#     F->>B: inner hello: name hidden.example
# ```

# %%
show.hello_bytes(records(client_hello("public.example", ech=True)), max_rows=30)

# %% [markdown]
# What a router still sees is the outer name, and that is enough to reach whoever can open the rest. In RFC 9849's
# *split mode* that server passes the inner hello on, which makes it an SNI router with a key. For the others, "SNI is
# readable" has become "the *public* name is readable".

# %%
show.quiz(
    "A router sees the ECH extension in a hello for shop.example. What does it know?",
    {
        "The true name is another one": "Clients without an ECH key send the extension, too, filled with random bytes.",
        "The client supports ECH, and nothing more": "Real and pretended look the same to everybody without the key.",
        "The backend must support ECH": "A server that does not know the extension ignores it.",
    },
    correct="The client supports ECH, and nothing more",
)

# %% [markdown]
# The pretended kind is called *GREASE*, and its purpose is that nobody can treat the real one differently. A rule that
# tries anyway does this. The bytes below are random, and the name is the true one:

# %%
tempting = router.Router([Route("ech servers", ech=True), Route("shop", ["shop.example"], ech=False)], "default")
plain = router.Router([Route("shop", ["shop.example"])], "default")
greased = tls_hello.parse(records(client_hello("shop.example", ech=True)))
tempting.pool(greased), plain.pool(greased)

# %% [markdown]
# So: route by the name that you see, and let the extension alone. Whatever sits behind one public name must be
# reachable through one place.
#
# ## Who sent it?
#
# Now the other direction, and the 10:20 incident. Three clients with addresses of their own go through a relay to a
# backend that says whom it sees. (Linux lets anybody speak from all of 127.0.0.0/8. On macOS add addresses first:
# `sudo ifconfig lo0 alias 127.0.0.5`, and likewise 6, 7, 9, 11, 12.)


# %%
async def through(backend, data=b"", *, send_proxy=0, source="127.0.0.5", **how):
    async with smallest.listening(backend) as (host, port):
        pool = Pool("web", [Target(f"{host}:{port}")], send_proxy=send_proxy)
        async with Relay(Options([Listener("web")], [pool])) as relay:
            return await callers.ask(relay.addresses[0], data, source=source, **how)


people = ["127.0.0.5", "127.0.0.6", "127.0.0.7"]
{client: aside.run(through(whoami.by_socket, source=client)) for client in people}

# %% [markdown]
# Two connections, two pairs of addresses. The backend's connection comes from the relay, so that is what its socket
# says. It has nothing to do with HTTP or layer 7: *any* proxy hides the client, and this one does not know what it
# copies.
#
# Who banned the router did right with what it had. What is needed is for the proxy to *say* who came.
#
# ## One line before the first byte
#
# The *PROXY protocol* ([its text](https://www.haproxy.org/download/3.2/doc/proxy-protocol.txt), from HAProxy) does it
# below all applications: in front of the client's first byte, the proxy sends a header with the addresses of *its*
# client connection. Version 1 is a line of text:

# %%
ends_of = {"source": Inet("198.51.100.7", 40000), "destination": Inet("203.0.113.80", 443)}
proxy_protocol.encode(Header(1, "TCP4", **ends_of))

# %% [markdown]
# Version 2 says the same in binary, and has room for more: entries of type, length and value (*TLVs*), for the server
# name, say, or a checksum.

# %%
extra = (proxy_tlv.Tlv(proxy_tlv.AUTHORITY, b"shop.example"),)
header = proxy_protocol.encode(Header(2, "TCP4", **ends_of, tlvs=extra))
parts = {"signature": 12, "version, command": 13, "family": 14, "length": 16, "client": 20, "destination": 24,
         "client's port": 26, "destination's port": 28, "TLV": len(header)}  # fmt: skip
starts = [0, *parts.values()]
show.packet(header, [show.Span(start, end, name, "16 fixed bytes" if end <= 16 else name.split("'")[0])
                     for start, (name, end) in zip(starts, parts.items(), strict=False)])  # fmt: skip

# %%
six = {"source": Inet("2001:db8::7", 40000), "destination": Inet("2001:db8::80", 443)}
sizes = [len(proxy_protocol.encode(Header(2, f"TCP{v}", **where))) for v, where in ((4, ends_of), (6, six))]
assert sizes == [16 + 12, 16 + 36] and proxy_protocol.LINE_LIMIT == 107
sizes

# %% [markdown]
# Binary is 28 bytes for IPv4 and 52 for IPv6; a line of text is never longer than 107. It is sent once a connection,
# together with the first data, and costs no round trip. Now the same three clients:

# %%
{client: aside.run(through(whoami.by_header, send_proxy=2, source=client)) for client in people}

# %% [markdown]
# The price is elsewhere. The header speaks for a *connection*, so a connection to the backend can serve one client
# only: a pool of warm connections, shared by all, is out. And both sides must agree, which brings us to the
# protocol's one rule: **a receiver must not guess.**
#
# ## When one side does not know
#
# Mail servers and some databases speak first. A web server waits for a request. Give each of them a header that it does
# not expect, and then none where it does.

# %%
show.quiz(
    "A mail server expects a header, and the proxy in front sends none. What does its client see?",
    {
        "A refused connection": "The proxy has accepted it, and the mail server, too.",
        "An error message": "The server says nothing before the header. That is the trouble.",
        "Silence": "The server waits for the header, the client for the greeting, the proxy for either.",
    },
    correct="Silence",
)

# %%
HELO, GET = b"HELO me\r\n", b"GET / HTTP/1.1\r\nHost: shop.example\r\n\r\n"
trials = {
    "web, no header expected": (whoami.web, GET),
    "mail, no header expected": (whoami.mail, HELO),
    "mail, header expected": (whoami.mail_told, b""),
}


def trial(backend, data, version):
    text = aside.run(through(backend, data, send_proxy=version, end=bool(data), seconds=0.5))
    return text.strip().replace("\r\n", " / ")


lines = [(name, *(trial(*given, version) for version in (0, 1, 2))) for name, given in trials.items()]
show.table(lines, ("backend", "proxy sends none", "version 1", "version 2"))

# %% [markdown]
# Three ways to fail, none of which mentions the PROXY protocol. A web server answers 400 to its own proxy. A mail
# server takes the header for a command, and from then on everything is off by one. And silence, which looks like a
# network fault. A TLS server takes the header for a broken hello, and hangs up. Health checks belong here, too: they
# come from the balancer itself and need a header of their own (the command LOCAL), or all backends are "down" the
# moment you switch it on.
#
# ## The receiver that was kind
#
# Why not accept both, header or none? It would make the migration so easy.

# %%
show.source(whoami.by_guess)

# %%
lie = proxy_protocol.encode(Header(1, "TCP4", Inet("10.0.0.1", 1), Inet("10.0.0.2", 443)))
lie


# %%
async def knock(backend, data, source="127.0.0.9"):
    async with smallest.listening(backend) as door:
        return await callers.ask(door, data, source=source)


aside.run(knock(whoami.by_guess, lie))

# %% [markdown]
# The client at 127.0.0.9 has just become 10.0.0.1, with one line of text. So the protocol wants two things of a
# receiver: the header is required, not optional; and it is taken from named proxies only. Our relay has one setting for
# both. Whoever is not on the list is refused, header or not:


# %%
async def guarded(source, data):
    async with smallest.listening(whoami.by_header) as (host, port):
        listener = Listener("web", accept_proxy=["127.0.0.5/32"])
        pool = Pool("web", [Target(f"{host}:{port}")], send_proxy=2)
        async with Relay(Options([listener], [pool])) as relay:
            return await callers.ask(relay.addresses[0], data, source=source)


[aside.run(guarded(source, data)) for source, data in (("127.0.0.5", lie), ("127.0.0.9", lie), ("127.0.0.5", GET))]

# %% [markdown]
# Trusted with a header, a stranger with a header, trusted without one.
#
# ## X-Forwarded-For: everybody may write
#
# HTTP has a place for such a message inside: a header field. Each proxy *appends* the address that called it. Here
# are two real proxies, 127.0.0.11 and 127.0.0.12, in front of a backend that tells what it got. Our client is
# 127.0.0.7, and honest.


# %%
async def request(*fields, policies=("append", "append"), source="127.0.0.7"):
    async with hops.row(policies) as doors:
        return await hops.fetch(doors[0], *fields, source=source)


aside.run(request())

# %% [markdown]
# The peer is the last proxy, the rightmost entry is the one before it, and leftmost stands the client. Many a page
# says: take the first entry. That is the 11:40 incident:

# %%
peer, values = aside.run(request("X-Forwarded-For: 127.0.0.1"))
values

# %% [markdown]
# The client wrote the field before it knocked, and the proxies, as told, appended. (nginx's
# [`$proxy_add_x_forwarded_for`](https://nginx.org/en/docs/http/ngx_http_proxy_module.html#var_proxy_add_x_forwarded_for)
# does just this.) No look at the list can tell the lie: it is a well-formed address.
#
# Position tells. An entry was written by whoever stands *right* of it. So read from the right: the peer is a fact.
# If the peer is a proxy of ours, its entry can be believed, and so on, until an address is not ours. **That is the
# client; what is left of it is what the client says of itself.**

# %%
show.source(forwarded.believed)

# %%
ours = [ip_network("127.0.0.11/32"), ip_network("127.0.0.12/32")]
forwarded.client_of(peer, values, ours), forwarded.client_of(peer, values, 2)

# %% [markdown]
# Two ways to say what is ours: networks, or a number of proxies. Both are right here, and each can be fooled. Move
# the hops:


# %%
def believe(rule="leftmost", client_writes="1.2.3.4", client_sits="anywhere", proxies=2, goes_around=0):
    return show.hearsay(rule, client_writes, client_sits, proxies, min(goes_around, proxies))


show.explore(
    believe,
    hint="fool '2 proxies', then 'networks'; find the rule that is never fooled, and what it costs",
    rule=list(RULES),
    client_writes=list(LIES),
    client_sits=list(CLIENTS),
    proxies=(1, 3),
    goes_around=(0, 2),
)

# %%
cases = {
    "as planned": {},
    "around the edge": {"skipped": 1},
    "from the edge's network": {"client": "in the edge's network"},
}
verdicts = {rule: [show.hearsay(rule, **case).verdict for case in cases.values()] for rule in RULES}
assert verdicts["2 proxies"] == ["client", "lie", "client"] and verdicts["networks"] == ["client", "client", "lie"]
show.table([(rule, *row) for rule, row in verdicts.items()], ("backend believes", *cases),
           caption="Two proxies; a client that lies. Whom does the backend take it for?")  # fmt: skip

# %% [markdown]
# The peer never lies, and is always the balancer: 10:20 again. Leftmost believes every lie. A **count** is right as
# long as there is no way around: whoever finds the balancer's own address, past the edge, is one proxy short, and the
# count lands on what the client wrote. **Networks** survive that, and fail where strangers live in a network of ours: a
# content delivery network carries other people's programs, too, and they may call you.
#
# So close the side doors (let the balancer take connections from the edge only) and count; or list the addresses of
# your own proxies, and not a whole network that others live in.
#
# The other cure is to forget. The first proxy that is yours may write over whatever it finds, as the usual
# `X-Real-IP $remote_addr` of nginx does:

# %%
mixes = [("append", "append"), ("overwrite", "append"), ("append", "overwrite"), ("pass on", "append")]
lied = {mix: aside.run(request("X-Forwarded-For: 1.2.3.4", policies=mix))[1][0] for mix in mixes}
show.table([(*mix, listed) for mix, listed in lied.items()], ("first proxy", "second proxy", "X-Forwarded-For"))

# %% [markdown]
# *Overwrite* belongs at the first proxy and only there: at the second it wipes out the client. A proxy that passes the
# field on untouched hands the pen to the client, and the second one's signature makes it look official.
#
# ## Forwarded, the standard
#
# [RFC 7239](https://www.rfc-editor.org/rfc/rfc7239) gave the idea a grammar: `Forwarded`, with `for`, `by`, `proto`
# and `host`.

# %%
line = f"{forwarded.element('198.51.100.9')}, {forwarded.element('2001:db8::1', proto='https')}"
print(line)
forwarded.forwarded([line])

# %% [markdown]
# It has traps of its own. One is the quote. A client that opens one and does not close it swallows what comes behind:

# %%
try:
    forwarded.client_of("10.0.0.2", ['for="1.2.3.4, for=198.51.100.9'], 1, "forwarded")
except ValueError as fault:
    print(fault)

# %% [markdown]
# Such a request wants a 400. The other trap: there are two fields now. Proxies that write one of them pass the other
# on as the client wrote it. Choose one, and strip the other at the door.
#
# ## Who is the client?
#
# All modes side by side. For those that forward packets we ask the frames of [chapter 04](04-forwarding-modes.ipynb);
# the relay and the HTTP proxies you have just run.


# %%
def socket_says(mode):
    stops = Site(mode).walk()
    arrived = [stop.frame for stop in stops if stop.place == "backend" and stop.way in ("in", "opened")][-1]
    return "the client" if find(dissect(arrived), "ipv4").field("source").text == "198.51.100.7" else "the balancer"


seen = {mode: socket_says(mode) for mode in ("nat", "dsr", "ipip", "full_nat")}
assert list(seen.values()) == ["the client"] * 3 + ["the balancer"]
seen

# %% [markdown]
# | mode | socket shows | client known by | what it takes | forged |
# |---|---|---|---|---|
# | NAT, DSR, tunnels | the client | the packet | routes, ARP, MTU | only without getting an answer |
# | full NAT, plain TCP proxy | the balancer | nothing | nothing | nothing to forge |
# | transparent TCP proxy (TPROXY) | the client | the packet | root; replies routed back through it | as with NAT |
# | TCP proxy, PROXY protocol | the balancer | the header | both sides agree; no shared pool | if taken from strangers |
# | HTTP proxy, X-Forwarded-For | the balancer | an entry | HTTP in the clear | if one too many is trusted |
#
# "The PROXY protocol is how L4 passes the client on" is thus half true. It is how *TCP proxies* do it. A balancer that
# forwards packets cannot put bytes into a stream without becoming a proxy, and has no need to: it left the address
# where it was. And the header needs neither HTTP nor a key: it works in front of TLS that stays closed.
#
# ## What breaks it
#
# - **A second hello.** A server may ask for another (HelloRetryRequest). The router has chosen by then, and does not
#   look again.
# - **One connection, two hosts.** An HTTP/2 client may reuse a connection for a second name on the same certificate
#   ([RFC 9113, section 9.1.1](https://www.rfc-editor.org/rfc/rfc9113#section-9.1.1)). SNI chose for the first.
# - **An address is not a person.** Behind one address may be an office or a mobile network. All that this chapter
#   recovers is the address.
#
# ## Summary
#
# - A ClientHello shows name, protocols offered and sizes, before any key exists. What routes by it is a TCP proxy that
#   peeks, not a packet forwarder.
# - A hello may come in any number of pieces. Reassemble, with a limit for bytes and for time.
# - With ECH the readable name is the public one. GREASE looks the same, so never route by the extension.
# - Any proxy hides the client from the backend's socket, at layer 4 as at layer 7.
# - PROXY protocol: 28 bytes in front of the stream, required or forbidden, never guessed, from listed proxies only.
# - X-Forwarded-For: read from the right, as far as you trust. The leftmost entry is whatever the client wrote.
#
# ## Exercises
#
# 1. Give `sni_router` the routes `[Route("api.example", ["*.example"]), Route("shop.example", ["shop.example"])]`.
#    Where do `shop.example`, `blog.example` and `example` go?
#    <details><summary>Solution</summary>
#    To the shop, to the API, to the default. The most specific name wins, whatever the order; and a wildcard stands for
#    what is below it, not for the name itself.</details>
# 2. A router finds the name with `data.find(b"shop.example")`. Write a hello that fools it.
#    <details><summary>Solution</summary>
#    <code>client_hello("evil.example", alpn=["shop.example"])</code>: the same bytes elsewhere. Fields have places,
#    and to know them one has to walk the lengths.</details>
# 3. Why does the relay's limit for a hello count record headers as well? (Look at
#    `len(records(client_hello(), 1))`.)
#    <details><summary>Solution</summary>
#    A record may carry a single byte of the message, at six bytes on the wire. A limit for the message alone could be
#    overrun six times.</details>
# 4. Two relays in a row, both with `send_proxy=2`, the second with `accept_proxy`. Whom does the backend hear of? What
#    if the second one has no `accept_proxy`?
#    <details><summary>Solution</summary>
#    Of the client: the second hands on what it was told. Without <code>accept_proxy</code> it puts its own header in
#    front of the first one's, the backend hears of the first relay, and finds a header where the data should
#    begin.</details>
# 5. Your count says 2 proxies, and the list has one entry. `client_of` gives `None`. Why not that one entry?
#    <details><summary>Solution</summary>
#    Somebody came by a shorter way than all clients should. The entry may be the client's own text. Refuse, or
#    treat it as unknown; above all, do not log a guess as a fact.</details>
#
# ## Interview questions
#
# **"Can we route by host name without the certificate?"**
# *Weak:* "Yes, SNI, any L4 balancer does it." *Strong:* a TCP proxy that reads the ClientHello does; a packet forwarder
# has decided before. Names what it must do (reassemble, time out) and where it ends: no SNI, ECH, two hosts on one
# connection, no paths.
#
# **"Some Chrome users get the wrong site since last week. Others never."**
# *Weak:* "Their cache." *Strong:* asks what reads the hello. Post-quantum shares split it, random extension order moves
# the name: a parser that reads once fails for a share of connections, not of users.
#
# **"The backend logs only the balancer's address."**
# *Weak:* "Read X-Forwarded-For." *Strong:* asks for the mode and protocol. HTTP: the field, from the right, with a list
# of proxies. Anything else: PROXY protocol, on both sides at once, receivers closed to strangers. Or a mode that keeps
# the address.
#
# **"Which entry of X-Forwarded-For is the client?"**
# *Weak:* "The first." *Strong:* the rightmost that is no proxy of ours; everything left of it is a claim. Mentions
# the way around the edge, and that the edge may overwrite.
#
# **"We switched the PROXY protocol on, and every backend went down."**
# *Weak:* "Roll back, it is broken." *Strong:* one side did not know: either backends do not expect the header, or the
# health checks do not send it. Switches with a second port, not in place.
#
# ## Sources
#
# - [RFC 8446](https://www.rfc-editor.org/rfc/rfc8446): TLS 1.3. [RFC 6066](https://www.rfc-editor.org/rfc/rfc6066):
#   server name. [RFC 7301](https://www.rfc-editor.org/rfc/rfc7301): ALPN.
#   [RFC 9849](https://www.rfc-editor.org/rfc/rfc9849): ECH and its GREASE.
# - [tldr.fail](https://tldr.fail): what broke when hellos outgrew a segment.
#   [X25519MLKEM768](https://datatracker.ietf.org/doc/draft-ietf-tls-ecdhe-mlkem/).
# - [The PROXY protocol](https://www.haproxy.org/download/3.2/doc/proxy-protocol.txt), versions 1 and 2.
# - [RFC 7239](https://www.rfc-editor.org/rfc/rfc7239): Forwarded. nginx:
#   [realip](https://nginx.org/en/docs/http/ngx_http_realip_module.html), which reads from the right
#   (`real_ip_recursive`).
# - A. Pritchard: [The perils of the "real" client IP](https://adam-p.ca/blog/2022/03/x-forwarded-for/), with many
#   programs that read the wrong end.
