# ---
# book:
#   title: What TLS costs
#   question: The edge is out of CPU at nine every morning. What does TLS cost, and who should pay for it?
#   tier: 0
#   minutes: 60
#   memory_mb: 500
#   after: [peeking-without-opening]
#   lab: tls-bill
# ---

# %% [markdown]
# ## Nine o'clock
#
# At nine everybody logs in. For ten minutes the edge, where TLS ends, is out of CPU, while its network is at a tenth of
# what it could do. Three remedies are proposed before the first coffee:
#
# - *"Encryption eats the CPU. Buy an accelerator card."*
# - *"Re-encryption to the backends doubles the cost. Use plain HTTP inside."*
# - *"An L4 balancer never touches TLS. Pass it through, and the cost is gone."*
#
# Each of these has a number in it that somebody believes and nobody has measured. By the end of this chapter you will
# have a price list from your own machine, and can say what each would do at nine o'clock.

# %%
import ssl
from contextlib import AsyncExitStack

from lbcore import show
from lbcore.l4.relay import Listener, Options, Pool, Relay, Target
from lbcore.measure import crypto_speed
from lbcore.measure.tls_placement import PASSED, Load, measure
from lbcore.show import tls_costs
from lbcore.sim.round_trips import SETUPS, first_byte
from lbcore.sim.tls_bill import BYTES, Prices, bill
from lbcore.testbed import aside, tls_doors, tls_memory
from lbcore.testbed.smallest import listening
from lbcore.testbed.tls_memory import KEYS, VERSIONS, Identity, handshake

# %% [markdown]
# ## What a handshake does
#
# Before the first byte of HTTP, client and server have to agree on keys, and the server has to prove who it is. In TLS
# 1.3 ([RFC 8446](https://www.rfc-editor.org/rfc/rfc8446#section-2)):
#
# ```mermaid
# sequenceDiagram
#     participant C as client
#     participant S as server
#     C->>S: ClientHello: a fresh key share
#     Note over S: key share, secret, SIGN with the certificate's key
#     S->>C: ServerHello, certificate, signature, Finished
#     Note over C: secret, VERIFY certificate and signature
#     C->>S: Finished, and the first request
#     S->>C: tickets, answer
# ```
#
# The *key exchange* makes a secret that nobody else has, the *signature* ties it to the certificate. A *ticket* is the
# server's note to itself: it holds what has been agreed on, sealed with a key that only the server has, and the client
# keeps it. With a ticket the next handshake is *resumed*: no certificate, no signature.
#
# A network would only blur what this costs. So here both ends sit in one thread, and we hand over the bytes and charge
# each end for its turn.

# %%
show.source(handshake)

# %%
site = Identity("P-256")
front, visitor = site.server(), site.client()
first = handshake(front, visitor)
again = handshake(front, visitor, first.session)
first.resumed, again.resumed

# %% [markdown]
# ## The price of a greeting
#
# Two kinds of key are common in certificates. *RSA*, mostly as RSA-2048, is the old one; *ECDSA* on the curve P-256 is
# younger and shorter. Which choice matters most?

# %%
show.quiz(
    "An RSA site speaks TLS 1.2, every visitor is new. What relieves its server most?",
    {
        "A processor with AES instructions": "They speed up the bytes that follow. A handshake has hardly any.",
        "TLS 1.3 instead of 1.2": "That saves a round trip. The signature stays, and the key exchange, too.",
        "Letting visitors resume": "The signature is the dearest step, and a resumed handshake has none.",
    },
    correct="Letting visitors resume",
)

# %% tags=["nbval-ignore-output"]
server, client = tls_memory.microseconds(tls_memory.measure_handshakes())
tls_costs.handshake_table(server, client, f"CPU time. {ssl.OPENSSL_VERSION}")

# %% tags=["nbval-ignore-output"]
tls_costs.handshake_bars(server)

# %% tags=["nbval-ignore-output"]
rsa, p256 = server["RSA-2048", "TLS 1.3", False], server["P-256", "TLS 1.3", False]
old, ticket, fresh = (server["RSA-2048", *kind] for kind in (("TLS 1.2", False), ("TLS 1.2", True), ("TLS 1.3", True)))
assert rsa > 1.15 * p256 and old > 2.5 * ticket and fresh > 1.3 * ticket
print(f"a full handshake with RSA costs the server {rsa / p256:.1f} x one with P-256")
print(f"full against resumed, RSA: {old / ticket:.1f} x in TLS 1.2, {rsa / fresh:.1f} x in TLS 1.3")

# %% [markdown]
# Three things to read off.
#
# **The server pays for its key.** To sign with RSA is slow and to verify is quick; with P-256 it is nearly the other
# way round. So the kind of key moves work between the two ends. (Our client also verifies the authority's signature.)
#
# **Resumption in TLS 1.3 saves less.** A resumed 1.2 handshake only unseals a secret. In 1.3 it makes a fresh key
# exchange as well, so that who steals the ticket key one day cannot read what was recorded before. That is worth its
# price; it also means that "resumption is nearly free" is a sentence about TLS 1.2.
#
# **A version is not a discount.** TLS 1.3 costs the processor no less than 1.2. What it saves is time on the way:
# below.
#
# The numbers move with the library. [OpenSSL from 3.5
# on](https://github.com/openssl/openssl/blob/openssl-3.5.0/NEWS.md) adds a post-quantum key exchange unless told
# otherwise, which every handshake pays, the resumed one, too. Your version stands under the table.
#
# ## One handshake, how many requests?
#
# A handshake is paid once per *connection*. So its share in a request is the price divided by something you control:
# how long clients, and the proxies in front of you, keep their connections.

# %% tags=["nbval-ignore-output"]
tls_costs.per_request(server)

# %% [markdown]
# Compare the left edge with the right one. No choice of key, version or ticket gives a factor like this. And the login
# peak lives at the left edge: everybody new, one connection each, a request or two.
#
# ## And the bytes?
#
# "Encryption eats the CPU" was a fair sentence once. Since 2010 processors have had instructions for AES and for the
# multiplication that GCM needs. To see what they do we take them away: OpenSSL looks at the processor when it is
# loaded, and an environment variable can talk it out of what it sees. So we measure in two child processes. *ChaCha20*
# is a cipher made for processors without such instructions.

# %%
show.source(crypto_speed.speeds)

# %% tags=["nbval-ignore-output"]
with_aes, without = crypto_speed.speeds(masked=False), crypto_speed.speeds(masked=True)
factor = {name: without.ns(name) / with_aes.ns(name) for name in with_aes.samples}
with_aes

# %% tags=["nbval-ignore-output"]
tls_costs.masked(factor)

# %% tags=["nbval-ignore-output"]
AES, CHACHA = crypto_speed.AES, crypto_speed.CHACHA
hidden = with_aes.ns(AES) > with_aes.ns(CHACHA)  # no such instructions here, or a hypervisor hides them
assert factor[AES] > 4 or hidden
assert all(0.5 < factor[name] < 2 for name in factor if name != AES)
"nothing to take away here" if hidden else f"without its instructions AES costs {factor[AES]:.0f} times as much"

# %% [markdown]
# So "AES instructions make TLS fast" is right about bytes and says nothing about handshakes. Where they are missing
# (old or small machines, or a virtual machine whose host hides them), prefer ChaCha20; servers usually follow the
# client's wish there.
#
# Now put the two prices side by side. How much would you have to encrypt to spend what one handshake costs? The price
# of a byte is measured through Python's TLS, records and all, as that of the handshake was.

# %% tags=["nbval-ignore-output"]
byte = tls_memory.bulk(1 << 24)[0] / 1000
price = {key: Prices(server[key, "TLS 1.3", False], server[key, "TLS 1.3", True], byte) for key in KEYS}
worth = {key: prices.full / byte for key, prices in price.items()}
assert min(worth.values()) > 50_000
[f"one full handshake with {key}: as dear as the encryption of {size / 1e6:.1f} MB" for key, size in worth.items()]

# %%
show.predict(
    "A new visitor with one request gets a page of 30 kB, over TLS 1.3 with a P-256 key. What share of the server's "
    "TLS bill is encryption?",
    answer=0.04,
    tolerance=0.04,
    unit="%",
    why="A handshake is worth some hundreds of kilobytes, where AES has its instructions. The page is small change.",
)

# %% tags=["nbval-ignore-output"]
page = bill(price["P-256"], requests=1, size=30_000, resumed=0)
share = page[BYTES] / sum(page.values())
assert share < 0.5
f"{share:.1%} of the TLS bill of a new visitor's page is encryption"

# %% [markdown]
# The misconception has a name, then: **"encryption is the CPU cost of TLS"**. For small answers to new visitors the
# cost is the handshake. Google moved all of Gmail to HTTPS in 2010 and reported less than 1 % of CPU load, without
# extra hardware ([quoted here](https://makandracards.com/makandra/949-computational-cost-ssl-connections)). It is the
# other way round for whoever sends films: Netflix lets network cards encrypt, at [400 Gb/s a
# server](https://papers.freebsd.org/2021/eurobsdcon/gallatin-netflix-freebsd-400gbps/).
#
# That answers the first proposal. A card that encrypts bytes does nothing at nine o'clock. (An *HSM*, a hardware
# security module, is no accelerator either: it exists so that the key cannot be copied, and each signature has to go
# there. Its rate of signatures may become your limit. Cards that sign fast exist, too: ask for that number.)
#
# ## Distance
#
# CPU is one price, waiting is the other. "TLS adds one or two round trips", it is said. We can count them: whenever the
# client in our harness has to wait for bytes, a network would take a round trip.

# %%
waits = tls_memory.count_waits(site)
assert [waits[version, False] for version in ("TLS 1.2", "TLS 1.3")] == [SETUPS["TLS 1.2"].tls, SETUPS["TLS 1.3"].tls]
assert waits["TLS 1.2", True] == SETUPS["TLS 1.2 resumed"].tls
{f"{version} {'resumed' if again else 'full'}": count for (version, again), count in waits.items()}

# %% [markdown]
# Two for TLS 1.2, one when resumed; one for TLS 1.3, resumed or not. Around it TCP takes one to connect, and the
# request itself takes one. Does a real connection agree? Here is one at a distance, made by a door that hands on each
# byte 0.04 seconds later, in both directions. (It cannot delay the kernel's TCP handshake on loopback, so that one is
# added.)

# %% tags=["nbval-ignore-output"]
full, resumed = zip(*(aside.run(tls_doors.trips(site, version, delay=0.04)) for version in VERSIONS), strict=True)
assert 3.9 < full[0] < 4.9 and 2.9 < full[1] < 3.9 and all(2.9 < value < 3.9 for value in resumed)
show.table([(*row,) for row in zip(VERSIONS, map("{:.1f}".format, full), map("{:.1f}".format, resumed), strict=True)],
           ("version", "full", "resumed"), caption="Round trips to the first byte, by the clock")  # fmt: skip

# %% [markdown]
# Round trips to the first byte of the answer, full and resumed: near the whole numbers of the model, and a little
# above, for the ends have to think. With the model we can go as far as we like.

# %%
tls_costs.distance()

# %% [markdown]
# *Early data* (0-RTT) sends the request along with a resumed hello. It can be replayed by whoever recorded it, so it is
# for requests that may happen twice ([RFC 8470](https://www.rfc-editor.org/rfc/rfc8470)). *QUIC* does the handshakes of
# transport and TLS at once ([RFC 9001](https://www.rfc-editor.org/rfc/rfc9001)). And a kept connection beats them all.
#
# ## Who adds the round trips?
#
# "Terminating TLS at the balancer adds round trips": look at who is far away. With pass-through the client does the
# same handshake, with the backend. Say the edge is 20 ms from the client, and the backend some way beyond.

# %%
tls_costs.beyond(to_edge=20)

# %%
gain = first_byte("TLS 1.3", 20, 100) - first_byte("TLS 1.3", 20, 100, ends_at="edge")
assert gain == 200
f"a backend 100 ms beyond the edge: the first byte comes {gain:.0f} ms sooner if TLS ends at the edge"

# %% [markdown]
# The balancer adds nothing: it decides *how far away* the handshake is. This, and not CPU, is why content delivery
# networks end TLS near you.
#
# ## Three places, and who can read
#
# ```mermaid
# flowchart LR
#     c1([client]) -- TLS --> e1[terminate] -- plain --> b1[backend]
#     c2([client]) -- TLS --> e2[re-encrypt] -- another TLS --> b2[backend]
#     c3([client]) -- TLS --> e3[pass through] -- same TLS --> b3[backend]
# ```
#
# To *terminate* is to end TLS in the middle; what goes on is plain. To *re-encrypt* is to end it and begin another one
# towards the backend. (To read HTTP inside TLS there is no other way; plain HTTP needs neither.) To *pass through* is
# to hand on what cannot be read, and nothing else: no headers, no cache, no retries. A client says a password; who in
# the middle hears it?

# %%
heard = {mode: aside.run(tls_doors.overhear(mode, b"my password")) for mode in tls_doors.LEGS}
show.table([(mode, answer.decode(), could) for mode, (answer, could) in heard.items()],
           ("mode", "answer", "the middle read it"))  # fmt: skip

# %% [markdown]
# **"Re-encryption protects traffic end to end" is wrong.** It protects the second leg against everybody on that leg.
# The middle holds the plaintext, in memory, and often in its logs. Only pass-through is end to end. And re-encryption
# is worth its name only if the proxy *verifies* the backend's certificate; to encrypt for whoever answers keeps out
# those who only listen.
#
# Look at what was in the middle just now:

# %%
show.source(tls_doors.passing)

# %% [markdown]
# It copies bytes. The protocol that it carried is no HTTP: lines come back in capitals. Put this handler behind a door
# with a certificate, and TLS ends there. So **"an L4 balancer cannot terminate TLS" is wrong, too**: a TCP proxy with a
# key can, and stunnel, HAProxy in TCP mode and [AWS's Network Load
# Balancer](https://docs.aws.amazon.com/elasticloadbalancing/latest/network/load-balancer-listeners.html) do. What it
# lacks is HTTP, not TLS. What cannot end TLS is a *packet forwarder*: it has no connection to end. Likewise "the L4
# tier needs no certificates" is true of pass-through alone.
#
# ## The bill, in two accounts
#
# Now the CPU of proxy and backend, each a process with an account of its own, under three loads: small answers (1 kB)
# on a new connection each; small answers on connections that stay; answers of 1 MB. The proxy is this book's L7 proxy,
# for pass-through its TCP relay ([chapter 08](08-peeking-without-opening.ipynb)). Before you run it: which mode is the
# cheapest, and is it the same one three times?

# %% tags=["nbval-ignore-output"]
loads = {
    "1 kB, new connections": Load(50, 1, 1_000),
    "1 kB, kept connections": Load(2, 60, 1_000),
    "1 MB": Load(1, 15, 1 << 20),
}
costs = measure(list(loads.values()))

# %% tags=["nbval-ignore-output"]
tls_costs.places(costs, list(loads))

# %% tags=["nbval-ignore-output"]
ended, again, alone, passed = (costs[mode] for mode in ("terminate", "re-encrypt", "re-encrypt, no reuse", PASSED))
rows = [(name, f"{b.proxy / a.proxy:.1f}", f"{b.total / a.total:.1f}", f"{c.total / a.total:.1f}")
        for name, a, b, c in zip(loads, ended, again, alone, strict=True)]  # fmt: skip
assert again[0].total < 2 * ended[0].total and alone[1].total > 3 * again[1].total
show.table(
    rows, ("load", "the proxy's account", "both accounts", "both, no reuse"), caption="Re-encrypt, times terminate"
)

# %% [markdown]
# **"Re-encryption doubles the cost"** wants the question: of what? For small answers on kept backend connections it is
# nowhere near double. The handshake with the backend is shared by all the requests that its connection carries.
#
# For large answers count the passes over each byte. *Terminate* has one: the proxy encrypts. *Re-encrypt* has three:
# the backend encrypts, the proxy decrypts and encrypts again. So the proxy's account comes near double, or above it
# where its TLS copies much, and both together go higher. That is the case in which the sentence is right.
#
# What beats all of them is the last column: a new backend connection for each request. Then the proxy is a client that
# verifies certificates all day. Before you give up encryption inside, look at your keep-alive settings: nginx kept no
# connections to its backends unless told to, until
# [1.29.7](https://nginx.org/en/docs/http/ngx_http_upstream_module.html#keepalive).

# %% tags=["nbval-ignore-output"]
assert passed[0].backend > 2 * ended[0].backend
assert passed[0].total > ended[0].total and 0.5 < passed[1].total / ended[1].total < 2
rows = [(name, f"{b.total / a.total:.1f}", f"{b.backend / a.backend:.1f}")
        for name, a, b in zip(loads, ended, passed, strict=True)]  # fmt: skip
show.table(rows, ("load", "both accounts", "the backend's"), caption="Pass through, times terminate")

# %% [markdown]
# **"Pass it through, and the cost is gone."** It is gone from one account and turns up in the other, where the
# application wanted the CPU. With new connections the backend makes each handshake and accepts each connection. Ending
# TLS at the edge turns thousands of short client connections into a few long ones behind it, so "one termination at the
# edge can be cheaper in all" is true for short connections. On long ones there is little between them: what
# pass-through saves because nobody parses, the backend pays to encrypt. For large answers it makes one pass like
# *terminate*, on the backend's account.
#
# The shape travels, the numbers do not. In another proxy parsing costs less than here, and TLS weighs more; and our
# relay runs on a slower event loop than our proxy, so its new connections look somewhat too dear.
#
# ## Tickets and many backends
#
# A ticket is sealed with a key of the server that gave it. At the edge that is one server. Passed through to three
# backends, each makes up its own ticket key at start, as most software does unless told otherwise.

# %%
show.quiz(
    "Three backends with ticket keys of their own, in turn. A client comes back nine times, each time with the "
    "ticket it got last. How many handshakes are resumed?",
    {
        "9: a ticket is a ticket": "It opens only where it was sealed.",
        "3: one in three": "That would be so at random. In turn is worse.",
        "0": "The next backend in turn is never the one that the last ticket came from.",
    },
    correct="0",
)


# %%
async def returning(shared_keys=False, picker="round_robin", backends=3):
    contexts = [site.server()] * backends if shared_keys else [site.server() for _ in range(backends)]
    async with AsyncExitStack() as stack:
        doors = [await stack.enter_async_context(listening(tls_doors.greet, one)) for one in contexts]
        pool = Pool("web", [Target(f"{host}:{port}") for host, port in doors], picker=picker, hash_on="source")
        relay = await stack.enter_async_context(Relay(Options([Listener("web")], [pool])))
        return sum((await tls_doors.come_back(relay.addresses[0], site.client(), 9))[1:])


cases = {
    "one end, at the edge": {"backends": 1},
    "three backends in turn, keys of their own": {},
    "three backends by client address, keys of their own": {"picker": "maglev"},
    "three backends in turn, shared ticket keys": {"shared_keys": True},
}
resumed = {name: aside.run(returning(**case)) for name, case in cases.items()}
assert list(resumed.values()) == [9, 0, 9, 9]
show.table(list(resumed.items()), ("who ends TLS", "resumed of 9"))

# %% [markdown]
# Nothing fails, no log says a word, every visitor gets the page. The price list just moved from *resumed* to *full* for
# everybody, on the day the second backend was added. Two cures: the same client to the same backend, or the same ticket
# keys everywhere ([nginx](https://nginx.org/en/docs/http/ngx_http_ssl_module.html#ssl_session_ticket_key) reads them
# from a file). Shared keys have to be changed on all machines, often, with the old one still accepted for a while: who
# gets hold of one can unseal every ticket made with it.
#
# ## The bill, yours
#
# Everything so far in one drawing, at the prices that your machine has just named.


# %% tags=["nbval-ignore-output"]
def draw(key="RSA-2048", requests=1, kilobytes=30, resumed_percent=0):
    return tls_costs.bill_of(price, key, requests, kilobytes * 1000, resumed_percent / 100)


show.explore(
    draw,
    hint="new RSA visitors: which single change helps most? From which size on is encryption more than half?",
    key=list(KEYS),
    requests=[1, 2, 5, 10, 50, 100],
    kilobytes=[1, 10, 30, 100, 1000, 10_000],
    resumed_percent=(0, 100),
)

# %% [markdown]
# ## How large an edge?
#
# "Termination creates a bottleneck" is true of an edge that was sized by bandwidth. Size it by handshakes. Let nine
# o'clock be 3000 new connections a second, two requests each, 30 kB an answer; a core should be busy at most for half
# of its time.


# %% tags=["nbval-ignore-output"]
def cores(key, resumed, requests=2, connections=3000, busy=0.5):
    parts = bill(price[key], requests, 30_000, resumed)
    return sum(parts.values()) * requests * connections / 1e6 / busy


plans = {"RSA, all new": ("RSA-2048", 0), "P-256, all new": ("P-256", 0), "P-256, 80 % resumed": ("P-256", 0.8)}
needed = {name: cores(*plan) for name, plan in plans.items()}
assert needed["RSA, all new"] > needed["P-256, all new"] > needed["P-256, 80 % resumed"]
[f"{name}: {value:.1f} cores for TLS" for name, value in needed.items()]

# %% [markdown]
# And it scales out: handshakes of different clients have nothing to say to each other, provided the tickets fit
# everywhere. The remedies of nine o'clock, then: a P-256 certificate beside the RSA one (servers can hold both),
# tickets that really resume, connections that are kept, and only then more cores.
#
# ## Where to do the work
#
# | you need | so |
# |---|---|
# | routes by path, cache, retries, HTTP metrics, a WAF | end TLS at the edge |
# | many short connections from far away | end it at the edge, near them; keep backend connections |
# | a network inside that you do not trust, or a rule that says so | re-encrypt, verify, keep connections |
# | nobody in the middle may read; clients prove themselves to the backend; not HTTP | pass through |
#
# Certificates in one place are a benefit of the edge, and a modest one: the same certificate can be installed many
# times, and [ACME](https://www.rfc-editor.org/rfc/rfc8555) renews it by itself. With re-encryption the backends need
# certificates again, from an authority of your own.
#
# ## What breaks it
#
# - **Whoever asks for handshakes and does not finish them.** To ask is cheaper than to sign. Limit new connections per
#   source, and have room.
# - **A ticket key that never changes.** In TLS 1.2 it unlocks everything that was recorded; in 1.3 early data.
# - **A ticket that says more than it should.** It stands for a client certificate that was checked once. Names with
#   different rules for clients must not accept each other's tickets
#   ([CVE-2025-23419](https://nvd.nist.gov/vuln/detail/CVE-2025-23419)).
# - **A restart.** New ticket keys, and the whole crowd comes with full handshakes, all at once.
# - **A clock.** Certificates expire, also the inner ones that nobody watches.
#
# ## Summary
#
# - A handshake is the price of a connection, a byte the price of an answer. For small answers and new visitors the
#   handshake is nearly all.
# - Signatures are the dear part: RSA-2048 more than P-256. AES instructions speed up bytes only.
# - Resumption saves the signature; in TLS 1.3 the key exchange stays. TLS 1.3 saves a round trip, not CPU.
# - The balancer adds no round trip. Where TLS ends decides how long each one is.
# - Re-encryption is hop by hop. It is dear for large answers, and without kept connections for all.
# - L4 may end TLS if it is a proxy with a key. Pass-through moves the cost to the backends, and may lose resumption
#   there.
#
# ## Exercises
#
# 1. Somebody posts this for nginx. It has two mistakes, and nginx refuses to start over either.
#    `server { listen 443 ssl; ssl_certificate /etc/site.pem; proxy_pass http://pool; }`
#    <details><summary>Solution</summary>
#    <code>proxy_pass</code> is allowed in a <code>location</code> (and in <code>if</code> and
#    <code>limit_except</code> there), not in <code>server</code> itself: put <code>location / { ... }</code> around it.
#    And a certificate wants its key: <code>ssl_certificate_key</code>.</details>
# 2. Your visitors come once a day, tickets live for an hour. What does resumption save at nine o'clock?
#    <details><summary>Solution</summary>
#    Nothing: every ticket has expired. Longer tickets (RFC 8446 allows seven days) help, and want ticket keys that live
#    as long, with the risk that goes with it.</details>
# 3. Suppose the relay chose among three backends at random, each with keys of its own. What share of the visits is
#    resumed? With N backends?
#    <details><summary>Solution</summary>
#    One in N: the last ticket's backend has to come up again. In turn it is none at all, for every N above
#    one.</details>
# 4. From which size of answer on is encryption more than half of the TLS bill, for a new visitor with one request?
#    <details><summary>Solution</summary>
#    Where it equals the handshake: <code>price["P-256"].full / byte</code> bytes, some hundreds of kilobytes up to a
#    megabyte or two. With ten requests on a connection a tenth of that.</details>
# 5. Measure `measure([Load(50, 1, 1_000, resume=True)], ["terminate", "pass through"])` against the same without
#    `resume`. Whose account gets smaller?
#    <details><summary>Solution</summary>
#    The one that makes the handshake: the proxy's in <em>terminate</em>, the backend's in <em>pass through</em>.
#    With one backend the ticket always fits.</details>
#
# ## Interview questions
#
# **"Is TLS expensive?"**
# *Weak:* "Yes, encryption costs a lot of CPU." *Strong:* separates the handshake from the bytes, names the signature,
# asks how many requests a connection carries, how many visitors resume, and how large answers are. Then estimates.
#
# **"We terminate at the load balancer. Should we re-encrypt to the backends?"**
# *Weak:* "No, it doubles the cost," or "Yes, then it is end to end." *Strong:* it is hop by hop, against listeners
# inside; with kept connections it costs little for small answers; it wants verification, and certificates inside.
#
# **"Can an L4 load balancer terminate TLS?"** *Weak:* "No, that is layer 7." *Strong:* a packet forwarder cannot, a TCP
# proxy with a key can, and need not know HTTP. Says what is still missing then: paths, headers, retries.
#
# **"After we switched to pass-through, CPU on the backends tripled. Why?"** *Weak:* "TLS is slow there." *Strong:* the
# handshakes have moved; connections are no longer pooled; and tickets sealed by one backend do not open at another, so
# resumption is gone. Asks for the share of resumed handshakes before and after.
#
# ## Sources
#
# - [RFC 8446](https://www.rfc-editor.org/rfc/rfc8446): TLS 1.3. [RFC 5246](https://www.rfc-editor.org/rfc/rfc5246): TLS
#   1.2. [RFC 8470](https://www.rfc-editor.org/rfc/rfc8470): early data in HTTP.
#   [RFC 9001](https://www.rfc-editor.org/rfc/rfc9001): TLS in QUIC.
# - [OPENSSL_ia32cap](https://docs.openssl.org/3.0/man3/OPENSSL_ia32cap/): the mask.
# - HAProxy: [introduction](https://docs.haproxy.org/3.2/intro.html#3.5), with connection rates plain, resumed and full.
# - nginx: [proxy_pass](https://nginx.org/en/docs/http/ngx_http_proxy_module.html#proxy_pass) and where it may stand.
