# ---
# jupyter:
#   jupytext:
#     text_representation:
#       format_name: percent
# book:
#   title: The XDP ladder
#   question: How many lines of Python lie between a packet and a balancer in the kernel?
#   tier: 0
#   minutes: 90
#   memory_mb: 700
#   after: [06-kernel-fast-path]
# ---

# %% [markdown]
# You will climb seven rungs: pass, drop, count, parse, rewrite, redirect, and at the top a small balancer. Each is an
# XDP program: a function that the kernel runs on every frame as it leaves the network card, before anything else has
# seen it. You write it in Python; `@xdp` turns it into the kernel's bytecode.
#
# Every rung has a specification, a stub, a drawing (`show_…`) of what your program did to real packets, and a checker
# (`check_…`). A checker runs your function as plain Python first, where mistakes are easiest to name. Then it compiles
# it, asks a verifier whether it is safe, and runs it in the book's machine, and in your kernel if it may.

# %%
from lbcore import labs
from lbcore.balance.hashes.jhash import jhash_4words
from lbcore.ebpf import maps
from lbcore.ebpf.compiler import xdp
from lbcore.ebpf.contexts import XDP_DROP, XDP_PASS, XDP_TX
from lbcore.wire import checksum, ethernet, ipv4
from lbcore.wire.seam import advance, need, set8, set16, set32, u8, u16, u32, view

# %% tags=["nbval-ignore-output"]
print(labs.xdp.judges())

# %% [markdown]
# ## Rung 1 · Pass
#
# Every packet goes on to the network stack, unchanged. A program gives back its verdict: `XDP_DROP` (gone), `XDP_PASS`
# (go on), `XDP_TX` (out again where it came in) or what `redirect` gives (out of another port).


# %%
@xdp
def pass_all(context):
    ### BEGIN SOLUTION
    return XDP_PASS
    ### END SOLUTION


# %%
labs.xdp.show_pass(pass_all)

# %%
labs.xdp.check_pass(pass_all)

# %%
### BEGIN HIDDEN TESTS
assert labs.xdp.check_pass(pass_all, seed=2026).passed
### END HIDDEN TESTS

# %% [markdown]
# ## Rung 2 · Drop
#
# Drop every frame whose type, bytes 12 and 13, is IPv6 (0x86DD). All else passes, frames too short to have a type too.
#
# | | |
# |---|---|
# | `p = view(context)` | the frame, from its first byte |
# | `need(p, n)` | are its first n bytes there? |
# | `u8(p, 5)`, `u16(p, 12)`, `u32(p, 30)` | the number at that byte; big-endian on the wire, plain numbers here |
# | `advance(p, 14)` | the view that starts 14 bytes further on |
#
# Ask `need` before you read. A program that might read what is not there is not let into the kernel.


# %%
@xdp
def drop_ipv6(context):
    ### BEGIN SOLUTION
    p = view(context)
    if need(p, 14) and u16(p, 12) == 0x86DD:
        return XDP_DROP
    return XDP_PASS
    ### END SOLUTION


# %%
labs.xdp.show_drop(drop_ipv6)

# %%
labs.xdp.check_drop(drop_ipv6)

# %%
### BEGIN HIDDEN TESTS
assert labs.xdp.check_drop(drop_ipv6, seed=2026).passed
### END HIDDEN TESTS

# %% [markdown]
# Take your `need` away and check again: you will read what a verifier says. Then put it back.
#
# ## Rung 3 · Count
#
# Count IPv4 packets (type 0x0800) by their protocol, byte 23 of the frame, in the map `protocols`. Everything passes.
#
# A program forgets everything at its end; what is to last is in a map. `protocols.increment(key)` adds one, in a step
# that no other processor can split.

# %%
protocols = maps.array("protocols", 256)


# %%
@xdp
def count(context):
    ### BEGIN SOLUTION
    p = view(context)
    if need(p, 24) and u16(p, 12) == 0x0800:
        protocols.increment(u8(p, 23))
    return XDP_PASS
    ### END SOLUTION


# %%
labs.xdp.show_count(count, protocols)

# %%
labs.xdp.check_count(count, protocols)

# %%
### BEGIN HIDDEN TESTS
assert labs.xdp.check_count(count, protocols, seed=2026).passed
### END HIDDEN TESTS

# %% [markdown]
# ## Rung 4 · Parse
#
# Count TCP (6) and UDP (17) over IPv4 by destination port in `ports`: behind up to two VLAN tags, behind IPv4 options,
# and only where there is a port: a later fragment has none. Everything passes.
#
# Read raw bytes, or stand on the book's parsers: `ethernet.parse(p)` gives `verdict` (0: well-formed), `header_length`
# and `ethertype`; `ipv4.parse(p)` gives `verdict`, `header_length`, `protocol`, `fragment_offset`, `source`,
# `destination`. Loops need a bound: `for _ in range(2)`.

# %%
ports = maps.hash_map("ports", 1024, key=maps.U16)


# %%
@xdp
def parse(context):
    ### BEGIN SOLUTION
    p = view(context)
    link = ethernet.parse(p)
    if link.verdict or link.ethertype != ethernet.IPV4:
        return XDP_PASS
    p = advance(p, link.header_length)
    ip = ipv4.parse(p)
    if ip.verdict or ip.fragment_offset or ip.protocol not in (ipv4.TCP, ipv4.UDP):
        return XDP_PASS
    p = advance(p, ip.header_length)
    if need(p, 4):
        ports.increment(u16(p, 2))
    return XDP_PASS
    ### END SOLUTION


# %%
labs.xdp.show_parse(parse, ports)

# %%
labs.xdp.check_parse(parse, ports)

# %%
### BEGIN HIDDEN TESTS
assert labs.xdp.check_parse(parse, ports, seed=2026).passed
### END HIDDEN TESTS

# %% [markdown]
# ## Rung 5 · Rewrite
#
# An untagged IPv4 packet has one hop less to go: lower the TTL (byte 22) by one, and make the header checksum (bytes 24
# and 25) right again. One that comes with TTL 0 or 1 is dropped. All else passes untouched.
#
# `set8`, `set16` and `set32` write. `checksum.update16(sum, old, new)` mends a checksum when one 16-bit word of the
# header has changed, and the TTL is the upper half of the word at 22. Or do it by hand, if you like ones' complement.


# %%
@xdp
def one_hop(context):
    ### BEGIN SOLUTION
    p = view(context)
    if not need(p, 34) or u16(p, 12) != 0x0800:
        return XDP_PASS
    if u8(p, 22) <= 1:
        return XDP_DROP
    old = u16(p, 22)
    set8(p, 22, u8(p, 22) - 1)
    set16(p, 24, checksum.update16(u16(p, 24), old, u16(p, 22)))
    return XDP_PASS
    ### END SOLUTION


# %%
labs.xdp.show_rewrite(one_hop)

# %%
labs.xdp.check_rewrite(one_hop)

# %%
### BEGIN HIDDEN TESTS
assert labs.xdp.check_rewrite(one_hop, seed=2026).passed
### END HIDDEN TESTS

# %% [markdown]
# ## Rung 6 · Redirect
#
# You are a router. `CLIENT` is at port 0, `SERVER` at port 1. An untagged IPv4 packet for one of them (destination:
# byte 30) leaves by that port, addressed to the host's hardware address (bytes 0 to 5), and from yours (bytes 6 to 11),
# which is the one it was sent to. Nothing else changes; all else passes.
#
# `return doors.redirect(port, XDP_PASS)` sends a packet to a port of the map. A hardware address is 48 bits: write the
# upper 16 with `set16(p, 0, mac >> 32)` and the lower 32 with `set32(p, 2, mac)`.

# %%
CLIENT, CLIENT_MAC = 0x0A000102, 0x02000000000C
SERVER, SERVER_MAC = 0x0A000202, 0x020000000005
doors = maps.devmap("doors", 2)


# %%
@xdp
def route(context):
    ### BEGIN SOLUTION
    p = view(context)
    if not need(p, 34) or u16(p, 12) != 0x0800:
        return XDP_PASS
    if u32(p, 30) == CLIENT:
        port, mac = 0, CLIENT_MAC
    elif u32(p, 30) == SERVER:
        port, mac = 1, SERVER_MAC
    else:
        return XDP_PASS
    set16(p, 6, u16(p, 0))
    set32(p, 8, u32(p, 2))
    set16(p, 0, mac >> 32)
    set32(p, 2, mac)
    return doors.redirect(port, XDP_PASS)
    ### END SOLUTION


# %%
labs.xdp.show_redirect(route, doors)

# %%
labs.xdp.check_redirect(route, doors)

# %%
### BEGIN HIDDEN TESTS
assert labs.xdp.check_redirect(route, doors, seed=2026).passed
### END HIDDEN TESTS

# %% [markdown]
# ## Rung 7 · A first balancer
#
# Untagged IPv4 packets to `VIP` that carry TCP or UDP and are no fragments go to a backend by `XDP_TX`: hash the
# 5-tuple, take the remainder by 251, look up the backend's hardware address in `slots`, readdress the frame to it, from
# yours. All packets of a connection go to one backend, connections to all. Nothing else changes; all else passes.
#
# `slots` holds the Maglev table of lab 01, filled by the checker: `found, mac = slots.lookup(slot)`. Backends have the
# VIP themselves and answer the client directly (direct server return). `jhash_4words(a, b, c, d, 0)` mixes four 32-bit
# numbers into one; addresses are 32 bits, and so are both ports together.

# %%
VIP = 0xCB007150  # 203.0.113.80
slots = maps.array("slots", 251)


# %%
@xdp
def balance(context):
    ### BEGIN SOLUTION
    frame = view(context)
    packet = advance(frame, 14)
    ip = ipv4.parse(packet)
    if not need(frame, 14) or u16(frame, 12) != 0x0800 or ip.verdict or ipv4.is_fragment(ip):
        return XDP_PASS
    segment = advance(packet, ip.header_length)
    if ip.destination != VIP or ip.protocol not in (ipv4.TCP, ipv4.UDP) or not need(segment, 4):
        return XDP_PASS
    found, mac = slots.lookup(jhash_4words(ip.source, ip.destination, u32(segment, 0), ip.protocol, 0) % 251)
    if not found:
        return XDP_PASS
    set16(frame, 6, u16(frame, 0))
    set32(frame, 8, u32(frame, 2))
    set16(frame, 0, mac >> 32)
    set32(frame, 2, mac)
    return XDP_TX
    ### END SOLUTION


# %% [markdown]
# Six connections of six packets each, and where they go. What would you see if the hash took in one field too many?

# %%
labs.xdp.show_balance(balance, slots)

# %%
labs.xdp.check_balance(balance, slots)

# %%
### BEGIN HIDDEN TESTS
assert labs.xdp.check_balance(balance, slots, seed=2026).passed
### END HIDDEN TESTS

# %% [markdown]
# ## Real traffic
#
# With root, this cell builds a client, a balancer and four web servers as hosts of their own on one switch, loads your
# program into the kernel of the balancer, and lets the client open forty connections to the VIP. Try it with a program
# that chooses for each packet: the connections do not even open.

# %% tags=["nbval-ignore-output"]
labs.xdp.real_traffic(balance, slots)

# %% [markdown]
# ## What you have built
#
# The bones of [Katran](https://github.com/facebookincubator/katran): parse, hash, look up, send. By its README it has
# on top a table of the sessions it has seen, which comes before the hash, and IPIP encapsulation, which reaches
# backends behind routers. Like yours it sees one half of each connection and forwards no fragments; packets with IPv4
# options, which yours can, it does not support. The ladder itself follows the
# [xdp-tutorial](https://github.com/xdp-project/xdp-tutorial), which climbs it in C.
#
# ## As in an interview
#
# **Your balancer passes its tests, and on the wire no packet arrives. Where do you look?**
# <details><summary>Answer</summary>
#
# At the edges, for the program is the same. Does anything reach it: is the route to the VIP, or the ARP answer for it,
# the balancer's? Does the switch accept its frames: whose source address do they carry? Do backends take them: is the
# VIP on `lo`, is reverse-path filtering off? On a veth: does the other end run a program, without which XDP_TX is lost?
#
# </details>
#
# **Why does only half of each connection pass the balancer, and what does that cost?**
# <details><summary>Answer</summary>
#
# Backends answer with the VIP as their source, straight to the client. Replies are most of the bytes, so the balancer
# needs a fraction of the capacity. It costs sight: it never sees whether a backend answered, cannot rewrite ports, and
# balancer and backends must share a link, unless it encapsulates.
#
# </details>
#
# **A colleague adds a per-packet round robin, "for evenness". What do users see?**
# <details><summary>Answer</summary>
#
# Resets. The SYN reaches one backend, the ACK another, which knows of no connection and says RST. For UDP of one packet
# it would go unnoticed, which is how such a thing gets through a test. Evenness is for connections, not packets.
#
# </details>
#
# **You rewrite the destination port as well. Which checksums change, and how do you mend them?**
# <details><summary>Answer</summary>
#
# TCP's or UDP's: the port is in what it covers. The IPv4 header's does not. No need to read the data again: take the
# old word out and put the new one in (RFC 1624), as in rung 5. A UDP checksum of 0 means that there is none: leave it.
#
# </details>
