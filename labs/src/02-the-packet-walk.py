# ---
# jupyter:
#   jupytext:
#     text_representation:
#       format_name: percent
# book:
#   title: The packet walk
#   question: Can you send a packet to another server, and its answer back, without reading what is in it?
#   tier: 0
#   minutes: 60
#   memory_mb: 400
#   after: [04-forwarding-modes]
# ---

# %% [markdown]
# You will write a translator: the NAT mode of a layer 4 balancer, by hand, on real frames. First one word of a
# checksum, then a request on its way in, then UDP's two zeros, and last the reply on its way back.
#
# Each exercise has a specification, a stub, a drawing (`show_…`) of what your code did to a packet, and a checker
# (`check_…`). The checkers run your code in a process of its own, so nothing that it does can do harm.
#
# All frames here are Ethernet, IPv4 without options, TCP. So every field has its place:
#
# | bytes | field | bytes | field |
# |---|---|---|---|
# | 0 to 5 | Ethernet destination | 30 to 33 | IP destination |
# | 6 to 11 | Ethernet source | 34, 35 | source port |
# | 22 | hop count (TTL) | 36, 37 | destination port |
# | 24, 25 | IP header checksum | 50, 51 | TCP checksum |
# | 26 to 29 | IP source | from 54 | data |
#
# Numbers on the wire are big-endian: `int.from_bytes(two_bytes, "big")`, `number.to_bytes(2, "big")`.

# %%
from lbcore import labs

# %% [markdown]
# ## Exercise 1 · One word
#
# A checksum is the complement of a sum of 16-bit words; what is carried out at the top of that sum comes back in at the
# bottom. One word has changed from `old` to `new`. Give back the new checksum, by RFC 1624, equation 3:
# ~(~value + ~old + new), where ~ complements 16 bits.


# %%
def update(value: int, old: int, new: int) -> int:
    """The checksum `value` after one 16-bit word has changed; all numbers are 16 bits."""
    ### BEGIN SOLUTION
    total = (value ^ 0xFFFF) + (old ^ 0xFFFF) + new
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return total ^ 0xFFFF
    ### END SOLUTION


# %% [markdown]
# A packet gets a new port and a new address. Your function is asked three times; the library's answers are beside it.

# %%
labs.nat.show_update(update)

# %%
labs.nat.check_update(update)

# %%
### BEGIN HIDDEN TESTS
assert labs.nat.check_update(update, seed=2026).passed
### END HIDDEN TESTS

# %% [markdown]
# The first case of the checker is the one in [RFC 1624](https://www.rfc-editor.org/rfc/rfc1624): an older formula
# had been in routers for years, and was wrong for one sum in 65536.
#
# ## Exercise 2 · The way in
#
# Send a frame to a backend: write `address` (4 bytes) over its IP destination and `port` over its destination port,
# count the hop, and repair both checksums. TCP's covers the two IP addresses as well; the IP header's covers the hop
# count, in one word with byte 23. Leave everything else as it is. With a hop count of 1 or 0 it goes nowhere: `None`.


# %%
def translate(frame: bytes, address: bytes, port: int) -> bytes | None:
    """The frame for the backend at `address` and `port`; None if it has no hop left."""
    ### BEGIN SOLUTION
    if frame[22] <= 1:
        return None
    out = bytearray(frame)
    out[22] -= 1
    out[30:34] = address
    out[36:38] = port.to_bytes(2, "big")
    for checksum, words in ((24, (22, 30, 32)), (50, (30, 32, 36))):
        value = int.from_bytes(frame[checksum : checksum + 2], "big")
        for at in words:
            old, new = (int.from_bytes(one[at : at + 2], "big") for one in (frame, out))
            value = update(value, old, new)
        out[checksum : checksum + 2] = value.to_bytes(2, "big")
    return bytes(out)
    ### END SOLUTION


# %% [markdown]
# A client's request on its way to 10.0.0.12, port 8080. Framed is what you have changed. The tables below say which
# fields those are, and whether their checksums are right.

# %%
labs.nat.show_translate(translate)

# %%
labs.nat.check_translate(translate)

# %%
### BEGIN HIDDEN TESTS
assert labs.nat.check_translate(translate, seed=2026).passed
### END HIDDEN TESTS

# %% [markdown]
# Some of the checker's frames arrive damaged. If you repair a checksum, the damage stays visible to whoever
# receives the packet. If you compute it anew, you sign for data that you have not seen.
#
# ## Exercise 3 · UDP's two zeros
#
# UDP over IPv4 may come without a checksum; then the field is 0, and has to stay 0. A checksum that comes out as 0 is
# sent as 0xFFFF instead. `words` is a list of (old, new), which may be empty.


# %%
def repair_udp(value: int, words: list[tuple[int, int]]) -> int:
    """UDP's checksum after the words have changed."""
    ### BEGIN SOLUTION
    if value == 0:
        return 0
    for old, new in words:
        value = update(value, old, new)
    return value or 0xFFFF
    ### END SOLUTION


# %%
labs.nat.show_udp(repair_udp)

# %%
labs.nat.check_udp(repair_udp)

# %%
### BEGIN HIDDEN TESTS
assert labs.nat.check_udp(repair_udp, seed=2026).passed
### END HIDDEN TESTS

# %% [markdown]
# ## Exercise 4 · The way back
#
# The backend answers the client, and the answer comes by your translator. `ways` says what became of which flow: its
# keys are bytes 26 to 37 of a reply (both addresses, both ports), its values `(address, port)` of the virtual end.
# Write that over the *source*, count the hop, repair the checksums. Without a known flow, or a hop left: `None`.


# %%
def translate_back(frame: bytes, ways: dict[bytes, tuple[bytes, int]]) -> bytes | None:
    """The reply for the client; None if it belongs to no flow, or has no hop left."""
    ### BEGIN SOLUTION
    way = ways.get(frame[26:38])
    if way is None or frame[22] <= 1:
        return None
    out = bytearray(frame)
    out[22] -= 1
    out[26:30] = way[0]
    out[34:36] = way[1].to_bytes(2, "big")
    for checksum, words in ((24, (22, 26, 28)), (50, (26, 28, 34))):
        value = int.from_bytes(frame[checksum : checksum + 2], "big")
        for at in words:
            old, new = (int.from_bytes(one[at : at + 2], "big") for one in (frame, out))
            value = update(value, old, new)
        out[checksum : checksum + 2] = value.to_bytes(2, "big")
    return bytes(out)
    ### END SOLUTION


# %%
labs.nat.show_back(translate_back)

# %%
labs.nat.check_back(translate_back)

# %%
### BEGIN HIDDEN TESTS
assert labs.nat.check_back(translate_back, seed=2026).passed
### END HIDDEN TESTS

# %% [markdown]
# ## What you have built
#
# The NAT mode of `lbcore.l4`, whose file `nat.py` does the same on the packet where it lies, for IPv6 and inside ICMP
# errors too, and runs in the kernel. What is missing is the choice of a backend, which is Lab 01, and a table
# of ways that forgets.
#
# ## As in an interview
#
# **Why is the IP header's checksum so much easier to keep right than TCP's?**
# <details><summary>Answer</summary>
#
# It covers the header alone, 20 bytes. TCP's covers all data and a pseudo-header of the addresses. A repair makes both
# equally cheap, and it is the pseudo-header that people forget.
#
# </details>
#
# **A balancer recomputes checksums, or leaves that to its network card. What is lost?**
# <details><summary>Answer</summary>
#
# The end-to-end check. Damage that happened before or inside the balancer gets a right checksum. (Cards that check on
# the way in close half of that gap; a balancer's own memory is the other half.)
#
# </details>
#
# **Why must the key of the way back hold both ends?**
# <details><summary>Answer</summary>
#
# One client's address and port may talk to several services at once: a connection is both ends. With the client's end
# alone, the second service's replies would leave with the first one's address.
#
# </details>
