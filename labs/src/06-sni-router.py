# ---
# jupyter:
#   jupytext:
#     text_representation:
#       format_name: percent
# book:
#   title: An SNI router
#   question: Can you bring an encrypted connection to its server without a key, however the network cuts it up?
#   tier: 0
#   minutes: 75
#   memory_mb: 400
#   after: [08-peeking-without-opening]
# ---

# %% [markdown]
# You will write the part of a TCP proxy that reads a ClientHello and picks a backend. It gets the bytes that have come
# so far, and says: this backend; or more bytes, please; or this is no TLS. At the end Python's own TLS clients are sent
# through it.
#
# Each exercise has a specification, a stub, a drawing (`show_…`) of what your code did, and a checker (`check_…`). The
# checkers run your code in a process of its own, so nothing that it does can do harm. Later exercises use your earlier
# functions.
#
# All numbers are big-endian: `int.from_bytes(two_bytes, "big")`.

# %%
from lbcore import labs

# %% [markdown]
# ## Exercise 1 · Is it a record, and is it whole?
#
# TLS travels in *records*:
#
# | byte | holds |
# |---|---|
# | 0 | type: 22 for handshake |
# | 1, 2 | version: 3, and a number that means nothing |
# | 3, 4 | length of what follows: 1 to 16384 |
#
# `data` is the stream as far as it has come, perhaps nothing. Say how many bytes the first record lacks *at least*: 0
# if it is whole, and as long as the header is not there, the rest of the header. Raise ValueError as soon as the bytes
# show that this is no handshake record.


# %%
def missing(data: bytes) -> int:
    """How many bytes at least the first record lacks; ValueError if it is none."""
    ### BEGIN SOLUTION
    if data[:1] not in (b"", b"\x16") or data[1:2] not in (b"", b"\x03"):
        raise ValueError("no handshake record")
    if len(data) < 5:
        return 5 - len(data)
    size = int.from_bytes(data[3:5], "big")
    if not 1 <= size <= 16384:
        raise ValueError(f"a record of {size} bytes")
    return max(0, 5 + size - len(data))
    ### END SOLUTION


# %%
labs.sni.show_missing(missing)

# %%
labs.sni.check_missing(missing)

# %%
### BEGIN HIDDEN TESTS
assert labs.sni.check_missing(missing, seed=2026).passed
### END HIDDEN TESTS

# %% [markdown]
# Plain HTTP is refused at its first byte. A router that waits for five would wait for ever where a client sends three.
#
# ## Exercise 2 · The message in the records
#
# Inside lies a *handshake message*: type (1 for ClientHello), length (3 bytes), and so many bytes more. Records may cut
# it anywhere, also within these four. Put it together from whole records, its own header included. As long as it is not
# whole: `None`. If a record or the message is of another type: ValueError. When the message is whole, look no further:
# a client in a hurry sends other records right behind it.


# %%
def message(data: bytes) -> bytes | None:
    """The ClientHello message at the start of the stream; None as long as it is not whole."""
    ### BEGIN SOLUTION
    found = b""
    while data and missing(data) == 0:
        end = 5 + int.from_bytes(data[3:5], "big")
        found, data = found + data[5:end], data[end:]
        if found[0] != 1:
            raise ValueError(f"message type {found[0]}")
        size = 4 + int.from_bytes(found[1:4], "big")
        if len(found) >= 4 and len(found) >= size:
            return found[:size]
    return None
    ### END SOLUTION


# %% [markdown]
# A hello with a post-quantum key share, in records of 500 bytes, arrives 600 bytes at a time:

# %%
labs.sni.show_message(message)

# %%
labs.sni.check_message(message)

# %%
### BEGIN HIDDEN TESTS
assert labs.sni.check_message(message, seed=2026).passed
### END HIDDEN TESTS

# %% [markdown]
# ## Exercise 3 · Walk to the name
#
# The message: 4 bytes of header, 2 of version, 32 random ones. Then, each behind its length:
#
# | field | its length takes |
# |---|---|
# | session id | 1 byte |
# | cipher suites | 2 bytes |
# | compression methods | 1 byte |
# | extensions; may be missing altogether | 2 bytes |
#
# An extension is a type (2 bytes), a length (2), a body. Type 0 is server_name; its body is the length of a list (2), a
# type (1), the name's length (2), the name. Give the name in lower case, or `None` if there is none. If a length leads
# beyond what it is in: ValueError.


# %%
def server_name(message: bytes) -> str | None:
    """The name in a whole ClientHello message."""

    ### BEGIN SOLUTION
    def number(at: int, size: int) -> int:
        if at + size > len(message):
            raise ValueError(f"no bytes at {at}")
        return int.from_bytes(message[at : at + size], "big")

    at = 39 + number(38, 1)
    at += 2 + number(at, 2)
    at += 1 + number(at, 1) + 2
    while at < len(message):
        body, end = at + 4, at + 4 + number(at + 2, 2)
        if end > len(message):
            raise ValueError("an extension leads beyond the message")
        if number(at, 2) == 0:
            size = number(body + 3, 2)
            if body + 5 + size > end:
                raise ValueError("a name leads beyond its extension")
            return message[body + 5 : body + 5 + size].decode().lower()
        at = end
    return None
    ### END SOLUTION


# %%
labs.sni.show_server_name(server_name)

# %%
labs.sni.check_server_name(server_name)

# %%
### BEGIN HIDDEN TESTS
assert labs.sni.check_server_name(server_name, seed=2026).passed
### END HIDDEN TESTS

# %% [markdown]
# ## Exercise 4 · Whose is it?
#
# `routes` has names, and wildcards such as `*.shop.example`, which stand for everything below `shop.example` at any
# depth, and not for `shop.example` itself. The name itself wins, then the longest wildcard; else `default`, also for a
# hello without a name (`None`). `ech` says whether the Encrypted Client Hello extension is there. What does it change?


# %%
def choose(name: str | None, ech: bool, routes: dict[str, str], default: str) -> str:
    """The backend for a name in lower case."""
    ### BEGIN SOLUTION
    if name in routes:
        return routes[name]
    while name:
        _, _, name = name.partition(".")
        if f"*.{name}" in routes:
            return routes[f"*.{name}"]
    return default
    ### END SOLUTION


# %%
labs.sni.show_choose(choose)

# %%
labs.sni.check_choose(choose)

# %%
### BEGIN HIDDEN TESTS
assert labs.sni.check_choose(choose, seed=2026).passed
### END HIDDEN TESTS

# %% [markdown]
# ## Exercise 5 · Route
#
# Put it together: the backend for the stream so far, or `None`: more bytes are needed. ValueError if it is no TLS, and
# if the hello is not whole although more than 16384 bytes are here. (For `ech` you may pass what you like. Why?)


# %%
def route(data: bytes, routes: dict[str, str], default: str) -> str | None:
    """The backend for the connection that begins with `data`; None: more bytes are needed."""
    ### BEGIN SOLUTION
    hello = message(data)
    if hello is not None:
        return choose(server_name(hello), False, routes, default)
    if len(data) > 16384:
        raise ValueError("more than a hello should take")
    return None
    ### END SOLUTION


# %% [markdown]
# Now real ones. Three sites with certificates of their own, Python's TLS clients, and your router between them, which
# is asked again whenever bytes arrive. The last column was seen by the client.

# %%
labs.sni.show_route(route)

# %%
labs.sni.check_route(route)

# %%
### BEGIN HIDDEN TESTS
assert labs.sni.check_route(route, seed=2026).passed
### END HIDDEN TESTS

# %% [markdown]
# ## What you have built
#
# What `lbcore.wire.tls_hello` and `lbcore.l4.relay.router` do. They are stricter, and cheaper: `message` starts anew
# with every byte that comes, which a client that drips can use against you. `tls_hello.Peek` reads each byte once.
#
# ## As in an interview
#
# **Your router forwards what it has read. Must it send the records as they came?**
# <details><summary>Answer</summary>
#
# Byte for byte. The handshake's keys are bound to every byte of the messages, and a router that has no key may not even
# change a letter's case. (Record borders are not covered, but who changes them gains nothing.)
#
# </details>
#
# **A client connects and sends nothing. Which of your five functions sees it?**
# <details><summary>Answer</summary>
#
# None: a function of bytes knows no time. The proxy around it needs a timer for the whole opening, and one per chunk is
# not enough: a byte a second would keep it happy for hours.
#
# </details>
#
# **A hello with ECH comes for public.example. Where does it go, and what if public.example has no route?**
# <details><summary>Answer</summary>
#
# Where its readable name says: only there is the key to the rest. Without a route it goes to the default like any
# other; to guess from the extension would be wrong for everybody who sends it as GREASE.
#
# </details>
