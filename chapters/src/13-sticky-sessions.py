# ---
# book:
#   title: Sticky sessions
#   question: A server knows its customers and a balancer moves them around. Who should remember, and what does it cost?
#   tier: 0
#   minutes: 55
#   memory_mb: 500
#   after: [peeking-without-opening, maglev]
#   lab: from-sticky-to-stateless
# ---

# %% [markdown]
# ## Three tickets
#
# *Monday.* Eight shop servers behind one balancer, which sends each client address to a server of its own. One of the
# eight is on its knees, the others idle. Whoever complains uses the same mobile network.
#
# *Tuesday.* A server has to go for maintenance. It was told at noon to take nobody new. It is eight in the evening, and
# the script still waits for the last customer.
#
# *Wednesday.* Another server crashes. One customer in eight has an empty cart. The post-mortem says: "sticky sessions
# are a single point of failure; use JWT".
#
# All three have to do with one question, and the post-mortem has the answer to another one. **Where is the state, and
# who else could have it?**

# %%
import secrets
import tempfile
import time
from collections import Counter
from functools import partial
from pathlib import Path

import jwt
import numpy as np

from lbcore import show
from lbcore.l7.pools import sticky_cookie
from lbcore.l7.pools.options import StickyCookieOptions
from lbcore.measure import session_costs, shopping
from lbcore.sim import sessions
from lbcore.testbed import aside, shops
from lbcore.testbed.session_stores import Sqlite

# %% [markdown]
# ## What a session is
#
# HTTP has no memory. Every request stands alone, and two requests of one customer have nothing in common that the
# protocol knows of. So servers hand out a *cookie*: a small text that the browser brings back with each request
# ([RFC 6265](https://www.rfc-editor.org/rfc/rfc6265)). What is kept under that text is the *session*: a cart, a login.
#
# Here is a shop with a cart. `/add` puts an item in; the answer is the shop's name and the number of items.

# %%
show.source(shops.Shop.answer)


# %%
async def one_shop():
    async with shops.opened(["ant"]) as (shop,):
        browser = shops.Browser(shop.address)
        return [answer.body for answer in await browser.visit("/add", "/add", "/add")], list(browser.jar)


aside.run(one_shop())

# %% [markdown]
# The cookie holds only a name, `sid`, 16 random bytes. The cart is in a dictionary in the shop's memory. Now three
# shops behind the book's proxy, each with a dictionary of its own. This row of shops serves the whole chapter:

# %%
show.source(shopping.street)

# %%
show.predict(
    "Three shops in turn, six times /add from one browser. How many items does the last answer count?",
    answer=1,
    tolerance=0.5,
    why="Each shop meets a name that it never gave out, begins a new session, and overwrites the cookie of the last.",
)

# %%
in_turn = aside.run(shopping.one_customer(*["/add"] * 6))
assert {body.split()[1] for body in in_turn} == {"1"}
in_turn

# %% [markdown]
# It does not even become two carts by the second round: with every answer the browser loses the name of its last cart.
# (That a shop refuses names that it did not give is right. A shop that adopts them lets an attacker choose a victim's
# session beforehand: *session fixation*.)
#
# The oldest cure is *affinity*, or *stickiness*: the balancer sends all requests of a client to one server. For that it
# must recognise a client.
#
# ## By address
#
# The address is there before the first byte. Hash it, and any picker that goes by a key ([chapter 03](03-maglev.ipynb))
# does the rest. Five clients, 127.0.0.2 to 127.0.0.6, three requests each. (On macOS such addresses have to be added
# first, [as in chapter 08](08-peeking-without-opening.ipynb#Who-sent-it?).)

# %%
by_address = aside.run(shopping.one_each(*[f"127.0.0.{i}" for i in range(2, 7)], picker="maglev"))
assert all(len({body.split()[0] for body in bodies}) == 1 for bodies in by_address.values())
[[body.split()[1] for body in bodies] for bodies in by_address.values()]

# %% [markdown]
# Every cart counts to three. No cookie of the balancer's, no table, and any number of balancers agree. What it takes
# for granted is that an address is a client.
#
# It is not. Mobile networks and many cable networks put their customers behind *carrier-grade NAT*: translators that
# share one public IPv4 address among many. An address may stand for
# [hundreds or thousands of users](https://ipv6.net/news/one-ip-address-many-users-detecting-cgnat-to-reduce-collateral-effects).
# Twelve people, one address:

# %%
natted = aside.run(shopping.crowd(picker="maglev"))
assert natted == [0, 0, 24]
natted

# %% [markdown]
# Requests per shop: one has all. No better hash helps, for a hash places keys and cannot split one.
#
# nginx's `ip_hash` goes one step further: its key for IPv4 is
# [the first three octets](https://nginx.org/en/docs/http/ngx_http_upstream_module.html#ip_hash) of the address. The
# whole /24, 256 neighbours, goes to one server. And an operator's translators are neighbours.
#
# How bad is that? A model: 100,000 users, most addresses with a handful of them, a few with very many.

# %%
people = sessions.crowds(users=100_000, addresses=20_000)
blocks = sessions.blocks(people)
assert 0.02 < people.max() / people.sum() < 0.05 < 2 / 16 < blocks.max() / blocks.sum() < 0.2
rows = [(key, each.size, int(np.median(each)), each.max()) for key, each in (("address", people), ("/24", blocks))]
show.table(rows, ("key", "keys", "users, median", "users, most"))

# %%
show.predict(
    "16 servers, keyed by /24. How many times its fair share of users does the fullest server have?",
    answer=3,
    tolerance=0.8,
    why="The largest /24 alone has more users than two servers should have, and it cannot be split.",
)

# %%
sizes = [2, 4, 8, 16, 32, 64]
uneven = {key: [sessions.unevenness(people, key, n, draws=9) for n in sizes] for key in sessions.KEYS}
assert 2 < uneven["/24"][3] < 4 and uneven["cookie"][3] < 1.01 < 1.2 < uneven["address"][3] < 2

# %%
show.lines(
    sizes,
    {"by /24": uneven["/24"], "by address": uneven["address"], "by cookie": uneven["cookie"]},
    x_label="servers",
    y_label="users of the fullest server (times the mean)",
    title="More servers do not help a crowd that cannot be split",
    alt="Largest over mean load against the number of servers, 2 to 64. By cookie: flat at 1. By address: rising "
    "slowly to about 3 at 64 servers. By /24: rising ever faster to about 9.",
    x_log=True,
)

# %% [markdown]
# That was Monday. The mean falls with every server that is added, the largest crowd does not. Scaling out makes the
# ratio worse, and the fullest server keeps its crowd.


# %%
def draw(key="/24", servers=16, tail=0.8):
    load = np.sort(sessions.loads(sessions.crowds(tail=tail), key, servers))[::-1]
    fig, ax = show.figure()
    ax.bar(range(1, servers + 1), load, label="users")
    ax.axhline(load.mean(), color="black", linestyle="--", label="fair share")
    ax.set(xlabel="server, fullest first", ylabel="users", xticks=[1, servers])
    ax.grid(False, axis="x")
    ax.legend(frameon=False)
    ratio = sessions.max_over_mean(load)
    alt = f"Users of each of {servers} servers keyed by {key}, sorted. The fullest has {ratio:.1f} times the mean."
    return show.finish(fig, title=f"By {key}, the fullest server has {ratio:.1f} times its share", alt=alt)


show.explore(
    draw,
    hint="double the servers at /24: does the first bar fall? At which tail does keying by address become harmless?",
    key=list(sessions.KEYS),
    servers=[2, 4, 8, 16, 32, 64],
    tail=[0.0, 0.4, 0.6, 0.8, 1.0, 1.2],
)

# %% [markdown]
# Two more things go wrong with addresses. Behind another proxy, *all* clients have one address, the proxy's, unless
# the true one is recovered first ([chapter 08](08-peeking-without-opening.ipynb); in nginx, the realip module). And a
# phone that leaves the house changes its address, and so its server, with the cart still in the old one.
#
# Is an address all that layer 4 has? Often said, and not quite true. HTTP cookies it has not. But it can hold on to
# anything that it can read without opening the connection:
#
# | key | known at | who does it |
# |---|---|---|
# | source address | the SYN | most balancers |
# | five-tuple: addresses, ports, protocol | the SYN | Maglev: a connection stays, a client does not |
# | cookie of remote desktop | the first bytes | [HAProxy](https://docs.haproxy.org/3.2/configuration.html) |
# | QUIC connection id | every packet | [QUIC-LB](https://datatracker.ietf.org/doc/draft-ietf-quic-load-balancers) |
#
# ## By cookie
#
# A proxy that speaks HTTP can do what the shop did: give the client a name of its own making. The proxy's cookie says
# which server; the shop's cookie says which cart. They have nothing to do with each other.
#
# The twelve behind one address again:

# %%
KEY = "a secret of at least 32 bytes ..."
by_cookie = {"sticky": StickyCookieOptions(keys=(KEY,))}
even = aside.run(shopping.crowd(**by_cookie))
assert even == [8, 8, 8]
even, aside.run(shopping.one_customer(*["/add"] * 6, **by_cookie))

# %% [markdown]
# Four people for each shop, two requests each, and carts that count to six. What is in that cookie? It could be the
# server's address, and in some products it is: then everybody can read your network plan, and write it, too. Ours is
# a *message authentication code* (HMAC, [RFC 2104](https://www.rfc-editor.org/rfc/rfc2104)), a hash that takes a secret
# key:

# %%
show.source(sticky_cookie.token)

# %% [markdown]
# There are only as many valid values as there are servers and keys. The proxy computes them once and looks a cookie up
# among them. It keeps nothing about clients: every proxy with the same key knows every cookie, also after a restart.
# And a client can try what it likes:

# %%
ATTEMPTS = {
    "as it was": lambda value: value,
    "one character changed": lambda value: ("B" if value[0] == "A" else "A") + value[1:],
    "cut off": lambda value: value[:20],
    "a server's address": lambda value: "10.0.0.1:80",
    "signed with another key": lambda value: sticky_cookie.token(b"x" * 32, "shop", "127.0.0.1:80").decode(),
}

# %%
tried = {name: aside.run(shopping.tampered(change, **by_cookie)) for name, change in ATTEMPTS.items()}
assert tried["as it was"] == (200, "ant", False)
assert all(result == (200, "bee", True) for name, result in tried.items() if name != "as it was")
show.table([(name, *result) for name, result in tried.items()], ("cookie", "status", "shop", "new cookie"))

# %% [markdown]
# A bad cookie is no error. It is treated like none: the client is placed anew, next in turn, and gets a good one.
#
# > **A signature is no lock.** The cookie may be *copied*: whoever has it comes to the same server. So it must never
# > stand for a login. It says where, not who.
#
# The price: cookies need HTTP in the clear for the proxy, so TLS has to end there; and clients that keep no cookies
# (scripts, many API clients) never stick. In nginx, `sticky cookie` was long part of the commercial version; since
# 1.29.6 it is [in the open one](https://nginx.org/en/docs/http/ngx_http_upstream_module.html#sticky). HAProxy has had
# `cookie` always.
#
# ## What a crash loses
#
# Wednesday. Thirty customers, three shops, affinity by cookie. Everybody fills a cart, then `ant` dies.

# %%
show.source(shopping.after_a_crash)

# %%
show.predict(
    "How many of the thirty have lost their cart?",
    answer=10,
    tolerance=0.5,
    why="The third that lived on ant. Nobody gets an error: the proxy asks another shop, which knows nothing.",
)

# %%
seen = aside.run(shopping.after_a_crash(**by_cookie))
lost = sum(answer.items != 2 for answer in seen)
assert lost == 10 and {answer.status for answer in seen} == {200}
Counter(answer.items for answer in seen), Counter(answer.shop for answer in seen)

# %% [markdown]
# Nobody gets an error: the proxy found the door closed, asked another shop, and set a new cookie. A third lose their
# cart. With $N$ servers it is $1/N$.
#
# So is stickiness a "single point of failure"? That is a part whose loss stops *everything*. Here the loss is a share,
# and the service goes on. What is true: for that share nothing can be done any more, and it happens with every crash,
# every deployment, every server that is taken away at night to save money. Keep the term for something else; we shall
# need it soon.
#
# ## What a drain waits for
#
# A server that is to go can be *drained*: nobody new is sent to it, those who belong to it still come. The pool's clock
# is moved by hand here, so that nobody has to wait for ten minutes.

# %%
story = aside.run(shopping.drained(**by_cookie))
assert [mine for _, mine, _, _ in story][:2] == ["ant 2", "ant 3"] and story[2][1].endswith(" 1")
assert all(new != "ant" for _, _, new, _ in story)
show.table(story, ("second", "old customer", "new customer goes to", "may be switched off"))

# %% [markdown]
# The new customer never sees `ant`. The old one is served there until the window ends, and then loses the cart after
# all. So how long must a window be? As long as sessions, one would say: ten minutes in the median, in this model of
# 200,000 sessions whose lengths vary as people do.

# %%
lengths = sessions.lengths(200_000, median=600)
left = sessions.remaining(lengths)
show.predict(
    "Sessions last 20 minutes on average. Of those running now, how many minutes are left on average?",
    answer=36,
    tolerance=8,
    why="You look at a random moment, and long sessions cover more moments. Those you find are the long ones.",
)

# %%
average, ahead = lengths.mean() / 60, left.mean() / 60
assert 19 < average < 22 and 28 < ahead < 46
f"a session: {average:.0f} min on average; of those that run, {ahead:.0f} min are still to come"

# %%
minutes = np.array([1, 2, 5, 10, 20, 50, 100, 200, 500])
begun, met = ([100 * np.mean(every > 60 * minute) for minute in minutes] for every in (lengths, left))
assert 45 < begun[3] < 55 < 60 < met[3] < 75 and met[6] > 2 * begun[6]

# %%
show.lines(
    minutes,
    {"of those that run when a drain begins": met, "of those that begin": begun},
    x_label="minutes later",
    y_label="sessions still there (%)",
    title="A drain meets the long sessions",
    alt="Share of sessions still there against minutes on a logarithmic axis. Of those that begin, half are over after "
    "10 minutes and nearly all after 100. Of those that run when a drain begins, two thirds are there after 10 "
    "minutes, one in twelve after 100, and some after 500.",
    x_log=True,
)

# %% [markdown]
# This is the *inspection paradox*, and it was Tuesday. A drain without end waits for its longest session. In practice
# it is worse: a session ends when nobody has come for a while, and a tab that polls every minute comes for ever. So a
# drain has a window, and stickiness means that somebody loses something at its end.
#
# ## Whales
#
# Cookies spread *clients* evenly. Requests are another matter. One client that asks as often as all others together,
# a price robot that keeps cookies, say:

# %%
stuck, free = aside.run(shopping.whale(**by_cookie)), aside.run(shopping.whale())
assert stuck == [40, 10, 10] and free == [20, 20, 20]
stuck, free

# %% [markdown]
# A client with a share $w$ of the requests gives its server $1 + w(N-1)$ times the mean: twice here, $w = 1/2$ and
# $N = 3$. And whoever adds a server when load is high adds one for *new* clients. Those who make the load stay
# where they are.
#
# ## Moving the state out
#
# Three problems, one cause: the server *has* something. If carts lie where all shops can reach them, any shop will do
# for any request. Not one line of the shop changes, only the store that it is given: an SQLite file here, which all
# three open.

# %%
folder = tempfile.TemporaryDirectory()
shared = partial(Sqlite, Path(folder.name) / "sessions.sqlite")
aside.run(shopping.one_customer(*["/add"] * 6, store=shared))

# %%
seen = aside.run(shopping.after_a_crash(store=shared))
assert all(answer.items == 2 for answer in seen)
Counter(answer.items for answer in seen)

# %% [markdown]
# The balancer is free again: round robin, the shortest queue, whatever suits. A crash loses no cart, a drain waits for
# requests instead of sessions, and the whale is shared out. What has it cost? First, the store:

# %%
aside.run(shopping.store_dies(shared))

# %% [markdown]
# *That* is a single point of failure: not a share but all, at once. So real stores are replicated, and somebody is
# woken for them. Second, time per request. Measured twice, as CPU time of the shop and as time that goes by:

# %% tags=["nbval-ignore-output"]
price = session_costs.prices()
assert all(5 < ratio < 5000 for store in ("SQLite", "Redis") for ratio in price[store])
print("Redis:", price.label)

# %% tags=["nbval-ignore-output"]
show.bars(
    ["CPU of the shop", "time that goes by"],
    {"SQLite": price["SQLite"], "Redis": price["Redis"]},
    x_label="one more item in the cart",
    y_label="times a dictionary in memory",
    title="A shared store costs tens to hundreds of dictionary look-ups",
    alt="Cost of one update of a session in SQLite and in Redis, as a multiple of a dictionary in the server's memory: "
    "tens to hundreds of times, in CPU and in time.",
)

# %% [markdown]
# Large ratios of something tiny: tens to hundreds of microseconds on most machines, on loopback. On a network add a
# round trip ([chapter 02](02-choosing-a-backend.ipynb) on what waiting does), and remember that a real session is no
# number but some kilobytes to pack and unpack. Whether that matters depends on what else the request does. A page that
# asks a database ten times will not notice an eleventh.
#
# Third, a trap that no single server has. Two requests of one customer may now run on two servers at once:

# %%
bee, cat, cart = shared(), shared(), secrets.token_hex(16)
bee.put(cart, 0)
in_bee, in_cat = bee.get(cart), cat.get(cart)  # two tabs, at the same moment
bee.put(cart, in_bee + 1)
cat.put(cart, in_cat + 1)
lost_update = bee.get(cart)
bee.put(cart, 0)
bee.add(cart)
cat_sees = cat.add(cart)
folder.cleanup()
lost_update, cat_sees

# %% [markdown]
# Read, add, write: one of two items is gone. `add` does it in one step *inside* the store (`INCR` in Redis, one
# `UPDATE` in SQL), and both are there. Stickiness had hidden this, for a client's requests met in one process.
#
# ## Giving the state to the client
#
# Who else could have it? The client. A *JSON Web Token* (JWT, [RFC 7519](https://www.rfc-editor.org/rfc/rfc7519)) is a
# list of claims with a signature, which the client brings with each request. The server checks it and knows who this
# is, without asking anybody.

# %%
SECRET = "another secret, of 32 bytes or more"
now = int(time.time())
token = jwt.encode({"sub": "customer-4711", "iat": now, "exp": now + 900, "jti": "a1"}, SECRET, "HS256")
jwt.decode(token, SECRET, algorithms=["HS256"])["sub"]

# %% [markdown]
# No store to ask, none to fail, any server will do. "Even better than a store", one reads. Let the customer log out,
# because the laptop was stolen. Where does the logout go?

# %%
show.quiz(
    "The customer logs out. The token has 15 minutes to live. What happens to requests that bring it?",
    {
        "Refused: the session is over": "There is no session. The servers know the key, and nothing about this token.",
        "Accepted until it expires": "The signature is good and the time is not over. Nothing else is asked.",
        "Accepted by some servers": "They all know the same: the key.",
    },
    correct="Accepted until it expires",
)

# %% [markdown]
# To refuse it earlier, the servers need a list of tokens that no longer count, each by its `jti` (its id), kept until
# it would have expired anyway. That is a store, which all servers ask at every request: what had been got rid of. It is
# a smaller one: it has only those who left early, and may be copied to every server with some delay.

# %%
revoked = {"a1"}  # shared by all servers, or copied to them


def accept(token, leeway=0):
    try:
        claims = jwt.decode(token, SECRET, algorithms=["HS256"], leeway=leeway)
    except jwt.InvalidTokenError as fault:
        return type(fault).__name__
    return "revoked" if claims["jti"] in revoked else "accepted"


# %% [markdown]
# And there is a third party, the clock. One server writes "valid from now until", another reads it, and they have to
# agree on the time. Here, tokens from a server whose clock is 30 seconds ahead, and one that expired 30 seconds ago.


# %%
def made(offset, jti="b2"):
    start = int(time.time()) + offset
    return jwt.encode({"sub": "x", "nbf": start, "exp": start + 900, "jti": jti}, SECRET, "HS256")


kinds = {"logged out": made(-10, "a1"), "clock ahead": made(30), "expired": made(-930), "in order": made(-10)}
verdicts = [(name, accept(one), accept(one, leeway=120)) for name, one in kinds.items()]
assert [row[1] for row in verdicts] == ["revoked", "ImmatureSignatureError", "ExpiredSignatureError", "accepted"]
show.table(verdicts, ("token", "clocks must agree", "120 s of leeway"))

# %% [markdown]
# Leeway cures both, also the one that should stay refused. Nothing is stateless about time.
#
# And the bill. A session's name is 32 characters. The same claims by three algorithms (HS256 shares one secret among
# all who check; ES256 and RS256 let others check without being able to sign):

# %%
sizes = {name: len(value) for name, (value, _) in session_costs.tokens().items()}
assert 200 < sizes["HS256"] < sizes["ES256"] < 320 < 500 < sizes["RS256"]
show.table([("sid", 32), *sizes.items()], ("what the client brings", "bytes in every request"))

# %% tags=["nbval-ignore-output"]
checks = session_costs.compare_tokens()
assert min(checks.ratio(name) for name in ("HS256", "ES256", "RS256")) > 10
checks

# %% [markdown]
# The tokens here carry five claims. Put in roles and preferences and they grow, on every request, for images too.
# Checking one costs about as much CPU as asking a store. What it saves is the *waiting*, and the thing that can fail.
# So it is a trade, not a step up:
#
# | | server's memory | shared store | signed token |
# |---|---|---|---|
# | any server will do | no | yes | yes |
# | a crash loses | 1/N of sessions | nothing; all, if the store dies | nothing |
# | log out now | yes | yes | only with a list, that is, a store |
# | change a right or a role now | yes | yes | when the token is renewed |
# | a request pays | nothing | CPU and a round trip | CPU and hundreds of bytes |
# | needs | stickiness | somebody who runs it | clocks, keys and their rotation |
#
# Common in practice: a token that lives for minutes, renewed with a long-lived one that *is* in a store. A logout then
# takes effect within minutes, and the store is asked seldom.
#
# ## Two misconceptions
#
# **"Applications with a login need sticky sessions."** Wrong: they need the login's state to be somewhere that the
# server can reach. You have seen two such places, a store and a token. Only a login kept in one server's memory needs
# stickiness.
#
# **"WebSockets need sticky sessions."** Wrong as well, and the reason is worth seeing. A *WebSocket*
# ([RFC 6455](https://www.rfc-editor.org/rfc/rfc6455)) begins as one HTTP request and then keeps its TCP connection for
# messages both ways. The proxy chooses once, for that request.

# %%
first, second = aside.run(shopping.sockets())
assert set(first) == {"ant"} and set(second) == {"bee"}
first, second

# %% [markdown]
# In turn, no stickiness, and all messages of a connection arrive at one server: there is no second place where a TCP
# connection could go. Then where does the rule come from? From what libraries do when WebSocket fails: *long polling*,
# one HTTP request after another, under a session id which only the first server knows.

# %%
loose, sticky = aside.run(shopping.polling()), aside.run(shopping.polling(**by_cookie))
assert loose.count(400) == 6 and set(sticky) == {200}
loose, sticky

# %% [markdown]
# In turn over three servers, two polls of three are refused; that is $(N-1)/N$. Socket.IO says so in its manual: it
# wants stickiness for polling, and
# [none if WebSocket is the only transport](https://socket.io/docs/v4/using-multiple-nodes/). What is left: a client
# that *reconnects* may come to another server. If the chat's state is in the old one's memory, we are back where we
# began.
#
# ## When sticky is right
#
# Stickiness as an *optimisation* is fine: a server that has a customer's data in its cache answers faster, and one that
# has not fetches it from where it truly is. The test is one sentence: **if every client is moved right now, what is
# lost?** If the answer is "some milliseconds", stick. If it is "carts", move the carts.
#
# ## What breaks it
#
# - **Retries.** A request that fails on the own server is tried on another, and from then on the client belongs there.
#   If it was only a hiccup, the state stays behind.
# - **Caches.** A `Set-Cookie` in a response that a shared cache stores sends everybody to one server. The proxy adds
#   `Cache-Control: private` where it sets one.
# - **Key rotation.** To exchange the key in one step moves all clients. New key first, old one still believed, until
#   the old cookies are gone.
# - **Two proxies, two keys.** Without a key of yours, each proxy draws its own, and clients that alternate between them
#   are placed anew each time.
#
# ## Summary
#
# - A session is a name that the client brings, and state that somebody keeps. Stickiness is needed only where that
#   somebody is one server.
# - An address is not a client. By address, and more so by /24, a crowd lands on one server, and more servers do not
#   help.
# - A signed cookie spreads clients evenly, wants TLS to end at the proxy, and says where, not who.
# - A crash loses 1/N of the sessions; a drain waits for the longest; a whale stays whole.
# - A shared store cures all three and is itself the single point of failure. Updates must be one step.
# - A token needs no store until you must revoke it. It costs CPU, bytes and clocks.
# - Logins do not need stickiness, WebSockets do not; state in one server's memory does.
#
# ## Exercises
#
# 1. Run `shopping.crowd` with `picker="maglev"` and `sticky=StickyCookieOptions(keys=(KEY,))` together.
#    Predict the numbers.
#    <details><summary>Solution</summary>
#    <code>[0, 0, 24]</code>. The cookie keeps a client where it is; the picker decides where it is put first, and that
#    still goes by address. Sticky by cookie wants a picker that spreads.</details>
# 2. One customer of `shopping.after_a_crash` stays away until `ant` has been restarted, empty. Where does the request
#    go, and what is in the cart? And if the customer had come during the outage, too?
#    <details><summary>Solution</summary>
#    To <code>ant</code>, which knows nothing: a new cart. Had the customer come during the outage, the shop that
#    answered would have set its own cookie, and the cart begun there would still be there.</details>
# 3. Sessions of all the same length: `sessions.lengths(200_000, spread=0)`. What is left on average of those that run?
#    <details><summary>Solution</summary>
#    Half a length: the moment falls evenly into them. The paradox comes from the spread: the mean of what is left is
#    E[L²] / (2 E[L]).</details>
# 4. Tokens live 15 minutes, and 200 customers log out per minute. How long does the list of revoked tokens get?
#    <details><summary>Solution</summary>
#    At most 200 · 15 = 3000 entries, for each is needed only until its token expires. With tokens that live for 30
#    days it is 8.6 million. Short lives are what keeps the list small.</details>
# 5. Let a whale have a tenth of all requests. With how many servers has its server twice the mean?
#    <details><summary>Solution</summary>
#    1 + 0.1 (N - 1) = 2, so N = 11. The more servers, the smaller the whale that suffices.</details>
#
# ## Interview questions
#
# **"One of our servers is hot, all others idle. We use ip_hash."**
# *Weak:* "Add servers" or "a better hash". *Strong:* asks how many users stand behind the largest key; knows that
# ip_hash keys by /24 and that behind another proxy there is a single key. Goes to cookies, or removes the need.
#
# **"Our application has a login. Do we need sticky sessions?"**
# *Weak:* "Yes, else users are logged out." *Strong:* asks where the login is kept. Store or token: no. Memory: yes, and
# then names what a crash, a deployment and a scale-out will do.
#
# **"Should we replace our Redis sessions with JWT?"**
# *Weak:* "Yes, stateless scales." *Strong:* asks what must take effect at once: logout, a blocked account, a role. Then
# weighs bytes, CPU, clocks and key rotation against a round trip, and mentions short tokens with a stored refresh.
#
# **"The drain of a server never finishes."**
# *Weak:* "Kill it." *Strong:* sessions that are running are the long ones, polling tabs never end. Sets a window, says
# who loses what at its end, and what would have to move out so that nobody does.
#
# **"We use WebSockets, so the balancer must be sticky."**
# *Weak:* "Of course." *Strong:* the connection is pinned by TCP. Asks about the polling fallback and about what a
# reconnecting client expects to find.
#
# ## Sources
#
# - [RFC 6265](https://www.rfc-editor.org/rfc/rfc6265): cookies. [RFC 2104](https://www.rfc-editor.org/rfc/rfc2104):
#   HMAC. [RFC 7519](https://www.rfc-editor.org/rfc/rfc7519): JWT.
#   [RFC 8725](https://www.rfc-editor.org/rfc/rfc8725): how to use it safely.
# - nginx: [upstream](https://nginx.org/en/docs/http/ngx_http_upstream_module.html), with `ip_hash` and `sticky`.
#   HAProxy: [configuration manual](https://docs.haproxy.org/3.2/configuration.html), `cookie` and `stick-table`.
# - Cloudflare on
#   [many users behind one address](https://ipv6.net/news/one-ip-address-many-users-detecting-cgnat-to-reduce-collateral-effects)
#   (a copy of the article).
# - Auth0: [deny lists for tokens](https://auth0.com/blog/denylist-json-web-token-api-keys/).
# - Socket.IO: [several nodes](https://socket.io/docs/v4/using-multiple-nodes/).
