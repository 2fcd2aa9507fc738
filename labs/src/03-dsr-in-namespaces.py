# ---
# jupyter:
#   jupytext:
#     text_representation:
#       format_name: percent
# book:
#   title: DSR in namespaces
#   question: Half of the connections hang, and every machine looks well. Which line of which configuration is it?
#   tier: 0
#   minutes: 75
#   memory_mb: 500
#   after: [04-forwarding-modes]
# ---

# %% [markdown]
# In direct server return (DSR) the balancer changes twelve bytes and the rest is up to the hosts. First you make it
# work. Then you get networks in which somebody made one mistake, and you find it from captures, readings and counters.
#
# ```mermaid
# flowchart LR
#   C[client<br/>198.51.100.7] --- R[router]
#   R -- eth1 --- S((segment<br/>10.0.0.0/24))
#   S --- L[balancer<br/>10.0.0.2, has the VIP]
#   S -- eth0 --- B[b1, b2<br/>10.0.0.11, .12]
#   B -- eth1 --- K((back<br/>10.1.0.0/24))
#   K -- eth2 --- R
# ```
#
# Requests go by the segment, by way of the balancer. Answers leave a backend by its second interface: its default route
# is the router's 10.1.0.1.
#
# Where networks can be built (`lbcore doctor` says so), these are hosts of your own machine, in network namespaces, and
# the balancer is the book's. Elsewhere you see recordings of the same hosts, marked as recorded. The checkers judge by
# recordings and by a model of Linux's rules everywhere, so they say the same on every machine.

# %%
from lbcore import labs

# %% [markdown]
# ## Exercise 1 · The balancer
#
# A frame has arrived. Give it to the Ethernet address `backend` (6 bytes), and from you: from the address that it was
# sent to. Destination is bytes 0 to 5, source 6 to 11. Nothing else changes.


# %%
def readdress(frame: bytes, backend: bytes) -> bytes:
    """The frame, on its way to a backend on the same segment."""
    ### BEGIN SOLUTION
    return backend + frame[:6] + frame[12:]
    ### END SOLUTION


# %%
labs.dsr.show_readdress(readdress)

# %%
labs.dsr.check_readdress(readdress)

# %%
### BEGIN HIDDEN TESTS
assert labs.dsr.check_readdress(readdress, seed=2026).passed
### END HIDDEN TESTS

# %% [markdown]
# ## Exercise 2 · The backends
#
# A backend arrives from stock with a strict filter on every interface and ARP as Linux has it. Give back the commands
# after which it takes packets for `vip` that come in by eth0 and answers them by eth1, and neither claims `vip` when
# asked by ARP, nor asks others in its name. There are these:
#
# | command | for |
# |---|---|
# | `ip addr add ADDRESS/32 dev lo` | one address more; `lo`, `eth0`, `eth1` |
# | `sysctl -w net.ipv4.conf.all.arp_ignore=1` | one setting of `all`, or of one interface |
#
# The settings are [Linux's](https://docs.kernel.org/networking/ip-sysctl.html), and of `all` and the interface's own
# **the larger value counts**.
#
# | setting | 0 | 1 | 2 |
# |---|---|---|---|
# | `rp_filter` | no filter | a packet's source must be reached by where it came in | by any interface |
# | `arp_ignore` | answer for any address of the host | of the interface asked | same, for its own subnet |
# | `arp_announce` | ask in the name of the packet that waits | a name that fits, if it can | always the best one |


# %%
def backend(vip: str) -> list[str]:
    """The commands that make a host a backend for the virtual address `vip`."""
    ### BEGIN SOLUTION
    return [
        f"ip addr add {vip}/32 dev lo",
        "sysctl -w net.ipv4.conf.all.arp_ignore=1",
        "sysctl -w net.ipv4.conf.all.arp_announce=2",
        "sysctl -w net.ipv4.conf.all.rp_filter=2",
    ]
    ### END SOLUTION


# %%
labs.dsr.show_backend(backend)

# %%
labs.dsr.check_backend(backend)

# %%
### BEGIN HIDDEN TESTS
assert labs.dsr.check_backend(backend, seed=2026).passed
### END HIDDEN TESTS

# %% [markdown]
# Both together: your rewrite is the balancer of a real network, your commands are carried out on b1 and b2, and the
# client asks for six pages.

# %% tags=["nbval-ignore-output"]
labs.dsr.real_traffic(readdress, backend)

# %% [markdown]
# ## A broken network
#
# `broken(seed)` builds the network with the book's balancer in it, makes **one** mistake, lets the client try six
# connections (the balancer means three for each backend), and gives you what was seen. The mistake is one of four:
#
# | name | what is wrong | made by |
# |---|---|---|
# | `rp_filter` | a strict filter where the way back is another one | `b1`, `b2` or `router` |
# | `no_vip` | a backend has not got the virtual address, or a mistyped one | `b1` or `b2` |
# | `arp` | somebody else answered the router's question for the virtual address | `b1` or `b2` |
# | `wrong_mac` | the balancer has a wrong Ethernet address for a backend | `balancer` |
#
# There are other oddities, which harm nobody. Where do SYNs get to, and where do answers stop? Before you look further,
# name the two mistakes that this table still allows:

# %% tags=["nbval-ignore-output"]
seen = labs.dsr.broken(seed=2)
labs.dsr.hops(seen)

# %% [markdown]
# Look closer: the frames at one hop (`"client"`, `"router"`, `"balancer"`, `"b1"`, `"b2"`, `"back"`: the router's
# interface towards the backends' answers), and the readings of one host.

# %% tags=["nbval-ignore-output"]
labs.dsr.capture(seen, "b1")

# %% tags=["nbval-ignore-output"]
labs.dsr.readings(seen, "b1")

# %% [markdown]
# A SYN for b1 arrives at b1, with the right Ethernet address, and nothing comes out. So it is b1 itself, which lets two
# mistakes remain, and one counter tells them apart. Now a network in which the client is content:

# %% tags=["nbval-ignore-output"]
happy = labs.dsr.broken(seed=7)
labs.dsr.hops(happy)

# %% [markdown]
# All six connections, and not one packet at the balancer: a load balancer that nobody misses until b1 is too slow, or
# gone. Look at `labs.dsr.readings(happy, "router")` and find out why. Try other seeds.
#
# ## Exercise 3 · The diagnosis
#
# The same as data. `evidence` has
#
# - `.vip`; `.backends`, the balancer's configuration (address to Ethernet address); `.reasons`, what became of packets;
# - `.answered` (client's port: connected or not); `.frames["b1"]`, a list of `(way, data)` for each hop;
# - `.hosts["b1"]`, and there `.addresses["lo"]` (a list), `.ethernet["eth0"]`, `.neighbours["eth0"]` (address to
#   Ethernet address), `.settings["all.rp_filter"]`, and `.counters`: by how much `"TcpExtIPReversePathFilter"`,
#   `"IpInAddrErrors"`, `"TcpPassiveOpens"` and `"IpInReceives"` grew.
#
# Give back the mistake and who makes it. A setting that harms nobody is no mistake.


# %%
def diagnosis(evidence: labs.dsr.Evidence) -> tuple[str, str]:
    """("rp_filter", "no_vip", "arp" or "wrong_mac"; the host that makes the mistake)."""
    ### BEGIN SOLUTION
    hosts, vip = evidence.hosts, evidence.vip
    for name in ("b1", "b2", "router"):
        if hosts[name].counters["TcpExtIPReversePathFilter"]:
            return "rp_filter", name
    for name in ("b1", "b2"):
        if hosts["router"].neighbours["eth1"].get(vip) == hosts[name].ethernet["eth0"]:
            return "arp", name
        if vip not in hosts[name].addresses["lo"]:
            return "no_vip", name
    return "wrong_mac", "balancer"
    ### END SOLUTION


# %%
labs.dsr.show_diagnosis(diagnosis)

# %%
labs.dsr.check_diagnosis(diagnosis)

# %%
### BEGIN HIDDEN TESTS
assert labs.dsr.check_diagnosis(diagnosis, seed=2026).passed
### END HIDDEN TESTS

# %% [markdown]
# ## Exercise 4 · The repair
#
# Give back (host, command) pairs, carried out in order. Change what is wrong, and no more: the next one to look has to
# understand it. It must last, too, when the router forgets its neighbours and asks again. Two commands more:
#
# | command | for |
# |---|---|
# | `ip neigh del ADDRESS dev eth1` | forget a neighbour |
# | `ethernet 10.0.0.11 02:00:00:00:00:0b` | on `balancer`: a line of its configuration; it starts again with it |


# %%
def repair(evidence: labs.dsr.Evidence, fault: str, host: str) -> list[tuple[str, str]]:
    """What to do, given the right diagnosis."""
    ### BEGIN SOLUTION
    if fault == "rp_filter":
        return [(host, "sysctl -w net.ipv4.conf.all.rp_filter=2")]
    if fault == "no_vip":
        return [(host, f"ip addr add {evidence.vip}/32 dev lo")]
    if fault == "arp":
        quiet = (host, "sysctl -w net.ipv4.conf.all.arp_ignore=1")
        return [quiet, ("router", f"ip neigh del {evidence.vip} dev eth1")]
    own = {one.addresses["eth0"][0]: one.ethernet["eth0"] for one in evidence.hosts.values()}
    wrong = [address for address, mac in evidence.backends.items() if mac != own[address]]
    return [("balancer", f"ethernet {address} {own[address]}") for address in wrong]
    ### END SOLUTION


# %%
labs.dsr.show_repair(repair)

# %%
labs.dsr.check_repair(repair)

# %%
### BEGIN HIDDEN TESTS
assert labs.dsr.check_repair(repair, seed=2026).passed
### END HIDDEN TESTS

# %% [markdown]
# At last the whole of it, on networks that nobody has recorded: built, broken, diagnosed by your function, repaired by
# the other, and then the client asks again. Give it other seeds: `seeds=range(200, 204)`.

# %% tags=["nbval-ignore-output"]
labs.dsr.mend(diagnosis, repair)

# %% [markdown]
# ## What you have built
#
# A DSR balancer's packet path, the configuration of its backends, and a procedure: follow the packet from hop to hop to
# where it stops, and only then ask that host why. `lbcore.l4` forwards in the same way, with a table of flows and
# consistent hashing in place of a choice by hand.
#
# ## As in an interview
#
# **A DSR backend gets SYNs, by a capture on it, and sends nothing. Three causes, and what tells them apart?**
# <details><summary>Answer</summary>
#
# The frame's Ethernet address is not the host's (the capture shows it: `tcpdump -e`). The virtual address is missing
# (`ip addr`, `IpInAddrErrors` grows). The reverse path filter drops it (`TcpExtIPReversePathFilter` grows). If nobody
# listened on the port there would be a reset: that is an answer.
#
# </details>
#
# **Everything works, and one backend has all the load. What do you look at first?**
# <details><summary>Answer</summary>
#
# Whether the balancer sees the traffic at all. If its counters stand still, the router's neighbour entry for the
# virtual address says who gets it: a backend that answered ARP. Mending that backend is half of it: the router
# remembers.
#
# </details>
#
# **A colleague sets `net.ipv4.conf.eth0.rp_filter=0`, and nothing changes. Why?**
# <details><summary>Answer</summary>
#
# The larger of `all` and `eth0` is in force. If `all` is 1, eth0 stays strict. 2 on the interface would have helped: it
# is the larger, and means loose.
#
# </details>
