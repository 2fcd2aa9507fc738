# ---
# jupyter:
#   jupytext:
#     text_representation:
#       format_name: percent
# book:
#   title: Route and proxy
#   question: Can you build the heart of a proxy that nobody can talk past, and that no order goes through twice?
#   tier: 0
#   minutes: 90
#   memory_mb: 400
#   after: [09-inside-the-proxy]
# ---

# %% [markdown]
# You will write the four decisions of an HTTP proxy: whose request is it, what is the backend told, where does the
# request end, and what if the backend fails? At the end real requests go through your four functions on loopback,
# friendly ones and others.
#
# Each exercise has a specification, a stub, a table (`show_…`) of what your code did, and a checker (`check_…`). The
# checkers run your code in a process of its own, so nothing that it does can do harm.

# %%
import re

from lbcore import labs
from lbcore.labs.proxy import ATTEMPTS, BAD_GATEWAY, FOR_ALL, HOP_BY_HOP, IDEMPOTENT, TOKEN, UNRESERVED

# %% [markdown]
# ## Exercise 1 · Whose request is it?
#
# First the path gets its one form: a list of segments. `segments` does so in three steps.
#
# - `%` and two hexadecimal digits stand for a character. If that one is in `UNRESERVED` (letters, digits, `-._~`), put
#   it there; once, and leave other escapes as they are.
# - Split at `/`. Empty segments do not count.
# - `.` goes; `..` goes and takes the segment before it along.
#
# ValueError for what two programs could take differently: `%2F`, `%5C` and `\`, a `%` without its two digits, a `..`
# with nothing before it.
#
# Then `route`. A route is `[host, prefix, method, backend]`; its prefixes have no escapes and no dots.
#
# | column | fits |
# |---|---|
# | host | itself; `*.shop.example`: all below shop.example, not shop.example; `*`: any |
# | prefix | if the path's segments begin with the prefix's: `/api` takes /api/v1, not /apiary |
# | method | itself; `*`: any |
#
# Of the routes that fit take the most specific: by host (exact, longest wildcard, any), then by the longest prefix,
# then one that names the method, then the first listed. Give back its backend; `None` if no route fits. Hosts are in
# lower case, without a port.


# %%
def segments(path: str) -> list[str]:
    """The path's segments in their one form."""
    ### BEGIN SOLUTION
    if "\\" in path or re.search("%2f|%5c|%(?![0-9a-f]{2})", path, re.IGNORECASE):
        raise ValueError(f"{path} has more than one meaning")
    found = []
    for part in path.split("/"):
        part = re.sub("%(..)", lambda code: c if (c := chr(int(code[1], 16))) in UNRESERVED else code[0], part)
        if part == "..":
            if not found:
                raise ValueError(f"{path} leads above the root")
            found.pop()
        elif part not in ("", "."):
            found.append(part)
    return found
    ### END SOLUTION


def route(method: str, host: str, path: str, routes: list[list[str]]) -> str | None:
    """The backend of the most specific route that fits."""
    ### BEGIN SOLUTION
    path, best = segments(path), None
    for name, prefix, verb, backend in routes:
        parts = segments(prefix)
        hosts = name in ("*", host) or (name[0] == "*" and host.endswith(name[1:]))
        if hosts and path[: len(parts)] == parts and verb in ("*", method):
            rank = (name == host, len(name), len(parts), verb == method)
            if best is None or rank > best[0]:
                best = rank, backend
    return best and best[1]
    ### END SOLUTION


# %%
labs.proxy.show_route(route)

# %%
labs.proxy.check_route(route)

# %%
### BEGIN HIDDEN TESTS
assert labs.proxy.check_route(route, seed=2026).passed
### END HIDDEN TESTS

# %% [markdown]
# ## Exercise 2 · What is the backend told?
#
# `fields` are a request's header fields as they came: pairs of a name in lower case and a value. `peer` is the address
# that the connection came from. `trusted` lists the addresses of our own proxies. Give back the fields that go on, in
# their order.
#
# - Without those in `HOP_BY_HOP`: they speak of the client's connection.
# - Without those that any `connection` field names (a list with commas, in upper or lower case), except for the names
#   in `FOR_ALL`, which everybody on the way relies on.
# - All `x-forwarded-for` lines (lists with commas) become one, at the end. Each hop appends whom *it* was asked by. So
#   an entry was written by whoever stands right of it, and the peer, whom you know, wrote the last. Append the peer;
#   from the right keep each entry as long as its writer is trusted. Join them by `", "`.


# %%
def forwarded(fields: list[list[str]], peer: str, trusted: list[str]) -> list[list[str]]:
    """The fields for the backend."""
    ### BEGIN SOLUTION
    named = {option.strip().lower() for name, value in fields if name == "connection" for option in value.split(",")}
    gone = {*HOP_BY_HOP, "x-forwarded-for", *(named - set(FOR_ALL))}
    hops = [hop.strip() for name, value in fields if name == "x-forwarded-for" for hop in value.split(",")] + [peer]
    start = len(hops) - 1
    while start > 0 and hops[start] in trusted:
        start -= 1
    return [field for field in fields if field[0] not in gone] + [["x-forwarded-for", ", ".join(hops[start:])]]
    ### END SOLUTION


# %%
labs.proxy.show_forwarded(forwarded)

# %%
labs.proxy.check_forwarded(forwarded)

# %%
### BEGIN HIDDEN TESTS
assert labs.proxy.check_forwarded(forwarded, seed=2026).passed
### END HIDDEN TESTS

# %% [markdown]
# ## Exercise 3 · Where does the request end?
#
# `head` is text, a character for each byte, from the request line to the empty line. Every line ends with CR LF. Give
# back how many bytes of body follow; 0 without a body; `None` if it comes in chunks, which say themselves where they
# end. The backend will look for the end as well. If it finds another one than you, a client can put a request between
# the two that only one of you sees. So raise ValueError wherever two programs could differ:
#
# | | in order is only |
# |---|---|
# | lines | `name:value`; all up to the colon fits the regular expression `TOKEN` (letters, digits, some signs) |
# | values | no control character but tab (that is: no bare CR or LF, no NUL); space and tab around it do not count |
# | Content-Length | one such field at most; 1 to 18 digits 0 to 9 |
# | Transfer-Encoding | one such field at most; `chunked`, in upper or lower case; not in HTTP/1.0 |
# | both | not in one head |
#
# Names know no upper and lower case.


# %%
def framing(head: str) -> int | None:
    """Bytes of the body that follows; None: it is chunked."""
    ### BEGIN SOLUTION
    first, *lines = head.removesuffix("\r\n\r\n").split("\r\n")
    ends = []
    for line in lines:
        field = re.fullmatch(f"({TOKEN}):[ \t]*([^\0-\x08\n-\x1f\x7f]*)", line)
        if not field:
            raise ValueError(f"no field: {line!r}")
        if field[1].lower() in ("content-length", "transfer-encoding"):
            ends.append((field[1].lower(), field[2].rstrip(" \t")))
    if not ends:
        return 0
    [(name, value)] = ends  # ValueError if there are two
    if name == "content-length" and re.fullmatch("[0-9]{1,18}", value):
        return int(value)
    if name == "transfer-encoding" and value.lower() == "chunked" and first.endswith("HTTP/1.1"):
        return None
    raise ValueError(f"{name}: {value!r} in {first!r}")
    ### END SOLUTION


# %%
labs.proxy.show_framing(framing)

# %%
labs.proxy.check_framing(framing)

# %%
### BEGIN HIDDEN TESTS
assert labs.proxy.check_framing(framing, seed=2026).passed
### END HIDDEN TESTS

# %% [markdown]
# The RFC itself lets some of that pass: two lengths that agree, or both fields, of which the chunks win
# ([RFC 9112, 6.3](https://www.rfc-editor.org/rfc/rfc9112#section-6.3)). You may be right, and the program behind you
# old.
#
# ## Exercise 4 · And if the backend fails?
#
# Send `request` (bytes) to a backend, and its answer to the client. You are given:
#
# | call | does |
# |---|---|
# | `await pool.take()` | a connection: a kept one, or a new one |
# | `await backend.send(request)` | sends it |
# | `await backend.head()` | the answer's head: `.head` (bytes for the client), `.length` (of the body), `.closes` |
# | `await backend.read(most)` | the next piece of the body, at most so many bytes; `b""`: the connection broke |
# | `backend.unread` | how many bytes have come that nobody has read |
# | `backend.close()`, `pool.keep(backend)` | the two ends of a connection |
# | `await client.send(data)`, `client.abort()` | sends to the client; cuts it off |
#
# The first three raise ConnectionError if they fail, `client.send` if the client has left.
#
# - *Try again* on another connection, `ATTEMPTS` in all, if `take` failed (nothing was sent), or if the method is in
#   `IDEMPOTENT`. Otherwise, or if no attempt is left: send `BAD_GATEWAY`.
# - *Stream*: send the head at once, and each piece of the body before you read the next. When `length` bytes have gone,
#   you are done. If the backend breaks before, `client.abort()`: there is no other way left to say so.
# - *Keep* the backend's connection if its answer was read and sent to the end, did not say `closes`, and nothing is
#   `unread`. Otherwise close it, always: also if the client leaves, and if your task is cancelled (`finally`).


# %%
async def exchange(method: str, request: bytes, pool, client) -> None:
    """One request, from the client to a backend, and its answer."""
    ### BEGIN SOLUTION
    for _ in range(ATTEMPTS):
        backend, keep = None, False
        try:
            try:
                backend = await pool.take()
                await backend.send(request)
                answer = await backend.head()
            except ConnectionError:
                if backend and method not in IDEMPOTENT:
                    break
                continue
            await client.send(answer.head)
            left = answer.length
            while left:
                piece = await backend.read(left)
                if not piece:
                    return client.abort()
                await client.send(piece)
                left -= len(piece)
            keep = not answer.closes and not backend.unread
            return None
        finally:
            if keep:
                pool.keep(backend)
            elif backend:
                backend.close()
    return await client.send(BAD_GATEWAY)
    ### END SOLUTION


# %% [markdown]
# A shop on loopback keeps a book of the orders that it carried out. One client after the other, through your function:

# %%
labs.proxy.show_exchange(exchange)

# %%
labs.proxy.check_exchange(exchange)

# %%
### BEGIN HIDDEN TESTS
assert labs.proxy.check_exchange(exchange, seed=2026).passed
### END HIDDEN TESTS

# %% [markdown]
# ## All four together
#
# Your functions as one proxy, in front of a shop for each backend in the table of exercise 1. What holds them together
# (`lbcore.labs.proxy.live.proxy`) reads heads, moves bytes and decides nothing. *Admin in disguise* asks for
# `/public/%2e%2e/admin`. *One inside another* has both a length and chunks, and behind the last chunk a request for
# `/admin`. Where do the two go if you let `framing` give back `None` for such heads?

# %%
labs.proxy.show_proxy(route, forwarded, framing, exchange)

# %% [markdown]
# ## What you have built
#
# What `lbcore.l7` does in `routing.router` and `target`, `hop_by_hop` and `filters.forwarded`, `http1.head`, and
# `engine.exchange`. Still missing in yours: timeouts (a backend that says nothing holds you for ever), a budget for
# retries, and request bodies that are streamed, too. A body that has been streamed cannot be sent again.
#
# ## As in an interview
#
# **The backend answers 503. Do you try another?**
# <details><summary>Answer</summary>
#
# As far as the method goes, it is the same question: what is idempotent may be sent again. And a 503 is an answer, so
# for a POST one knows as much as the application says: nothing, unless it promises that a 503 means "not done".
#
# </details>
#
# **A POST fails on a kept connection, with a reset before the first byte of an answer. Surely the backend had just
# closed it?**
# <details><summary>Answer</summary>
#
# Most likely, and that is all. A backend that reads the order, carries it out and crashes looks the same from here.
# What helps is to make it rare: let the pool's idle time be shorter than the backend's.
#
# </details>
#
# **Why not decode the path as often as it takes, until nothing changes?**
# <details><summary>Answer</summary>
#
# Because the backend decodes once. `%252e%252e` is a folder with an odd name to it. Who decodes more often than the
# backend decides by another path than the one that is served, which is the mistake that this was meant to prevent.
#
# </details>
#
# **Your proxy refuses two Content-Length fields that agree. RFC 9112 lets them pass as one. Who is right?**
# <details><summary>Answer</summary>
#
# Both conform: a recipient may refuse them, or take them for one. No client in order sends them, so to refuse costs
# nothing, and it spares you the question what the backend makes of them.
#
# </details>
