# ---
# book:
#   title: The kernel fast path
#   question: A flood fills the link, the capture shows no packet, the processor idles. Who is handling it, and where?
#   tier: 2
#   minutes: 60
#   memory_mb: 400
#   after: [05-flows-and-fleets]
#   lab: 04-xdp-ladder
# ---

# %% [markdown]
# ## The flood that no tool could see
#
# The graph of the uplink says a million packets a second. You log in to the server. `tcpdump` on that interface shows
# a few SSH packets and nothing else. The firewall's counters stand still. The load is next to zero. The interface's
# own counter, though, runs like a fuel pump.
#
# Nothing is broken. Somebody put a small program into the network driver, and it throws the flood
# away before any of your tools gets to see it. The same place, and the same kind of program, is where some of the
# largest load balancers do their work. **What runs there, who lets it, and what does it cost?**

# %%
import numpy as np

from lbcore import measure, show
from lbcore.ebpf import native
from lbcore.ebpf.assembler import assemble
from lbcore.ebpf.compiler import xdp
from lbcore.ebpf.contexts import XDP_DROP, XDP_PASS
from lbcore.ebpf.machine import Machine
from lbcore.ebpf.packet import SK_BUFF, XDP_MD
from lbcore.ebpf.program import VmError
from lbcore.ebpf.programs.count_protocols import count_protocols
from lbcore.ebpf.programs.no_reflection import no_reflection
from lbcore.ebpf.storage import Map
from lbcore.ebpf.verifier import DIFFERENCES, verify
from lbcore.testbed import fast_path, switches
from lbcore.wire import compose, dissect
from lbcore.wire.seam import u16, view

# %% [markdown]
# This flood is of a common kind. Somebody sends small questions to thousands of DNS servers, with *your* address as
# the sender, and the servers send their large answers to you. All those packets have one thing in common: they are UDP
# and come from port 53. Here is one of them, and one that is welcome.

# %%
flood = compose.udp_frame(source="192.0.2.53:53", destination="10.0.0.9:4000", payload=bytes(18))
welcome = compose.udp_frame(source="192.0.2.7:40000", destination="10.0.0.9:443", payload=bytes(18))
show.packet(flood, dissect.dissect(flood), highlight=["udp.source_port"], caption="one packet of the flood")

# %% [markdown]
# ## A program for the kernel
#
# *eBPF* is a machine inside the kernel: eleven registers of 64 bits, a small stack, and instructions for arithmetic,
# memory and jumps ([RFC 9669](https://www.rfc-editor.org/rfc/rfc9669)). A program for it is handed to the running
# kernel, which checks it, translates it, and calls it at a place that you name, a *hook*. BPF once meant "Berkeley
# packet filter", and the e "extended"; today the letters stand for nothing.
#
# *XDP*, the express data path, is such a hook: it is called for each packet that a network driver receives. The
# program gets the packet and returns a *verdict*: pass it on, drop it, send it back out, or redirect it. This is ours:

# %%
show.source(no_reflection.function)

# %% [markdown]
# `view` looks at the packet, `need` asks whether so many bytes are there, `u8` and `u16` read numbers at an offset. It
# is a Python function, and can simply be called:

# %%
assert no_reflection(flood) == XDP_DROP and no_reflection(welcome) == XDP_PASS
no_reflection(flood), no_reflection(welcome)

# %% [markdown]
# The kernel has no Python, of course, and will never see this text. numba translates the function into the language
# of the compiler LLVM, and LLVM has a back end for this machine, as it has one for your processor. What comes out is
# the *bytecode*:

# %%
bytecode = no_reflection.object.assembly
assert bytecode.count("\n") == 18
print(bytecode)

# %% [markdown]
# Read it against the Python. `r1` holds the address of the *context*: a small structure that says where the packet
# begins (`+0`) and ends (`+4`). The third, fourth and sixth instructions are `need(p, 38)`: the address 38 bytes in
# must not lie behind the end. The verdict is whatever `r0` holds at `exit` (`w0` is its lower half). Seven lines of
# Python have become eighteen instructions, and no call is left. The last two stand behind the exit: the compiler has
# put one way there, and it jumps back.
#
# One number looks wrong.

# %%
show.quiz(
    "The Python compares with 53. The bytecode compares with 0x3500. Why?",
    {
        "It is an address": "Addresses are in r1, and the comparison is with w1 after a load.",
        "The bytes are the other way round": "The wire is big-endian, this processor little-endian; LLVM turned the "
        "constant once instead of turning every packet's port.",
        "53 is written in octal": "53 is 0x35. Where do the two zeros come from?",
    },
    correct="The bytes are the other way round",
)

# %% [markdown]
# ## Step by step
#
# Any computer can pretend to be this machine. The book's own runs the bytecode on your packet, wherever you read this,
# and can stop after each instruction. A register that has just changed is marked, and so are the bytes of the packet
# that an instruction touched.

# %%
show.machine_steps(
    no_reflection,
    flood,
    start=7,
    hint="press Next until the port is read: which bytes, into which register? Then go on to the verdict",
)

# %% [markdown]
# Note what is *not* there: no allocation, no copy, no call, no loop. The program looks at six bytes of the
# packet, where it lies. The other packet takes a different way through the same instructions:

# %%
steps = {
    name: list(Machine(no_reflection.object.program).trace(p)) for name, p in (("flood", flood), ("other", welcome))
}
[(name, len(every), every[-1].after[0]) for name, every in steps.items()]

# %% [markdown]
# ## From bytecode to machine code
#
# Interpreting bytecode would cost several processor instructions for each of its own. So the kernel translates it once,
# when it is loaded (*just in time*, JIT). Where you may ask the kernel, the next cell asks; elsewhere it shows what a
# kernel answered, and says so.

# %% tags=["nbval-ignore-output"]
jit = measure.live_or_recorded("fast-path-machine-code", 2, lambda: fast_path.machine_code(no_reflection))
print(jit.label, *(f"{at:4}  {text}" for at, text in native.in_order(jit.samples)), sep="\n")

# %% [markdown]
# Find the offsets: 12 is `0xc`, 34 is `0x22`. On x86, each instruction of the bytecode has become one of the
# processor, a comparison with a jump two, with a few more at the beginning and the end. The registers of the one are
# simply registers of the other. No interpreter is left, and nothing that watches: this runs as a part of the kernel,
# with all its rights.
#
# LLVM can also compile the same program for your processor directly. It knows more tricks, and needs more time:

# %% tags=["nbval-ignore-output"]
print(*native.assembly(no_reflection), sep="\n")

# %% [markdown]
# So one text runs as Python, in the book's machine, and in the kernel. (Compiled for user space it runs,
# too: so did the balancer of [chapter 05](05-flows-and-fleets.ipynb).) How far apart are they? Guess before you look.

# %%
show.predict(
    "How many times longer does plain Python take for one packet than the kernel?",
    answer=100,
    tolerance=70,
    unit="times",
    why="Python takes microseconds for a dozen small calls. The kernel needs tens of nanoseconds, most of which is "
    "the loop that calls the program.",
)

# %% tags=["nbval-ignore-output"]
vm = Machine(no_reflection.object.program)
times = measure.compare(
    {"plain Python": lambda: no_reflection(flood), "the book's machine": lambda: vm.run(flood)},
    operations=1, rounds=5, min_seconds=0.01, baseline="plain Python",
)  # fmt: skip
inside = measure.live_or_recorded("fast-path-run-times", 2, lambda: fast_path.run_times(no_reflection, flood))
ratios = {name: times.ns(name) / np.median(inside.samples["in the kernel"]) for name in times.samples}
assert min(ratios.values()) > 20
print(inside.label, *(f"{name}: {ratio:,.0f} times as long as the kernel" for name, ratio in ratios.items()), sep="\n")

# %% [markdown]
# The book's machine is the slowest of all for a single packet. It is made to be asked: it checks every access, and
# tells. That is a quality that one learns to value in the next section.
#
# ## Why the kernel trusts it
#
# Code in the kernel that follows a wrong pointer takes the whole machine down. Now forget one line: the question
# whether the bytes are there.


# %%
@xdp
def careless(context):
    p = view(context)
    return XDP_DROP if u16(p, 34) == 53 else XDP_PASS


careless(flood), careless(welcome)

# %% [markdown]
# It works, with every packet we have. It fails with one that we do not have, and that anybody may send: a short one.
# The book's machine checks every access as it happens.

# %%
try:
    Machine(careless.object.program).run(flood[:20])
except VmError as error:
    print(error)

# %% [markdown]
# The kernel could check each access as well, and pay for it with each packet. It does not. It looks at the program
# *before* it ever runs, and takes it only if no packet at all can lead it astray. The part that decides is the
# *verifier*.

# %% tags=["nbval-ignore-output"]
refused = measure.live_or_recorded("fast-path-refusal", 2, lambda: fast_path.refusal(careless))
assert len(refused.samples) == 1
print(refused.label, *(f"instruction {at:.0f}: {text}" for text, (at,) in refused.samples.items()), sep="\n")

# %% [markdown]
# The message names the line of Python. An object file can carry the source line of each instruction, and the verifier
# names the instruction at which it gave up. Its reason reads: two bytes at offset 34, through a register that
# points into the packet with `r=0`. That is the *range*, the number of bytes known to be there. Nobody has asked, so
# none is. ([Lab 05](../labs/05-write-the-loader.ipynb) has you write the loader that hands such a file to the kernel.)


# %% [markdown]
# The kernel writes what it does into a log that is hard to love. The book has a verifier of its own, with the kernel's
# rules, written to be watched. It takes `no_reflection`, and says the same of `careless`:

# %%
judged, mended = verify(careless.object), verify(no_reflection.object)
assert mended and not judged
print(f"line: {judged.line.text.strip()}\nwhy:  {judged.reason}")

# %% [markdown]
# How can one run a program for *every* packet at once? By not running it. A register here holds no value but all that
# is known of it: "the context", "the packet, of which 0 bytes are known to be there", "a number from 0 to 255". Each
# instruction does to that knowledge what it would do to the value. At a jump that could go either way, both ways are
# walked, and on each of them something has been learned.

# %%
show.verifier_steps(
    no_reflection,
    start=5,
    hint="this page is the comparison with the packet's end. Press Back, and see the range of r1 without it. Then find "
    "the path on which the range stays 0: why is nothing wrong there?",
)

# %% [markdown]
# That one comparison is all the difference that counts between the two programs. On the path where it fails, nothing is
# known, and nothing is read either. Note also what makes the walk end soon: paths that come to a place where the walk
# has been before, with all that was known then, are *pruned*. A larger program shows what that is worth:

# %%
large = verify(count_protocols.object)
branches = sum(" goto " in text and text.startswith("if") for text in count_protocols.object.assembly.splitlines())
assert large and large.pruned > large.paths / 2
f"{branches} branches; {large.paths} paths begun, {large.pruned} of them pruned; {large.processed} instructions walked"

# %% [markdown]
# Without pruning there may be as many ways as two to the power of the branches. Even so the kernel gives up after a
# million instructions
# ([BPF_COMPLEXITY_LIMIT_INSNS](https://github.com/torvalds/linux/blob/v6.12/include/linux/bpf.h)). Loops are walked
# round by round: their bounds must show, and be small.
#
# Now be the verifier. What a program wants to remember is in a *map*, a table in the kernel that programs share with
# each other and with user space. A helper function of the kernel looks a key up.

# %%
show.quiz(
    "A program looks up a counter in a map and adds one to it. The key is always there. Does the verifier take it?",
    {
        "Yes, the key is always there": "Who says so? The verifier knows what a look-up returns: an address, or null.",
        "Only after a comparison with 0": "It may return null. Where it did not, the address may be used.",
        "Only with the packet's bounds checked": "The counter is not in the packet.",
    },
    correct="Only after a comparison with 0",
)

# %% [markdown]
# The same in the language of the machine, for a map with one counter:

# %%
bold = assemble("""
    r1 = 0
    *(u32 *)(r10 -4) = r1
    r2 = r10
    r2 += -4
    r1 = map_by_idx(0)
    call map_lookup_elem#1
    r1 = *(u64 *)(r0 +0)
    r0 = 2
    exit
""")
print(verify(bold, [Map("array", 4, 8, 1, name="counters")]).reason)

# %% [markdown]
# A refusal is no proof that a program is wrong. It says that a proof is lacking that it is right: a compiler may turn a
# check into one that convinces people and no verifier. And our verifier is not the kernel's. These are the differences
# that we know of; where they disagree, ours is nearly always the stricter one.

# %%
show.table([(one.feature, one.ours, one.kernel) for one in DIFFERENCES], ("feature", "this verifier", "Linux"))

# %% [markdown]
# People say that eBPF programs run "in a sandbox". The word misleads. A sandbox watches while a program runs; here the
# machine code above runs unwatched, in the kernel's own address space. *Verified* is the accurate word
# ([XDP paper, section 3.4](https://doi.org/10.1145/3281411.3281443)). It also says where the risk is: an error in the
# verifier itself is a hole in the kernel. That is one reason why loading such a program takes root, or the capabilities
# for it.
#
# ## Where the hook is
#
# A packet that arrives walks through the kernel, from the driver to a socket:
#
# ```mermaid
# flowchart LR
#   N[network card] --> D[driver]
#   D --> X{{XDP}}
#   X -- pass --> B[socket buffer<br/>is made]
#   B --> C[taps: tcpdump]
#   C --> T{{tc}}
#   T --> I[IP]
#   I --> F{{netfilter}}
#   F --> U[UDP, TCP]
#   U --> S{{socket filter}} --> P[the process]
#   X -- drop --> G[gone]
#   X -- send back, redirect --> D
# ```
#
# Why believe a drawing? Two hosts, one cable, twenty datagrams. We drop them at each of these places in turn, and ask
# everybody on the way what they saw.

# %% tags=["nbval-ignore-output"]
seen = measure.live_or_recorded("fast-path-drops", 2, fast_path.drops)
print(seen.label)
rows = [(place, *map(int, counts)) for place, counts in seen.samples.items()]
assert rows[0][1:] == (20, 0, 0, 0, 0) and rows[-1][1:] == (20, 20, 20, 20, 20)
show.table(rows, ("dropped at", "driver", "tcpdump", "IP", "UDP", "socket"), caption="datagrams counted, of twenty")

# %% [markdown]
# Read the triangle. Each observer stands behind the drops that blind it, and the rows come out in the order of the
# drawing. The first row is the riddle of the beginning: the driver counts everything, and `tcpdump` nothing, because
# it listens at a place that the packet never reached. (The tools that do look there are `bpftool prog` and the
# statistics of the driver.)
#
# Three sentences that one reads about this place are now easy to judge.
#
# > **"XDP handles packets before they reach the Linux kernel."** A misconception. The driver is kernel code, and so is
# > the program. It runs before the kernel's *network stack*: before a socket buffer exists.
#
# > **"The network card does it, the processor never notices."** A misconception, except for the offload mode below.
# > Those instructions ran on your processor, and a flood takes its share of it.
#
# > **"XDP bypasses the kernel."** The other way round. *Kernel bypass* takes the card away from the kernel and gives it
# > to a process ([Maglev](https://www.usenix.org/system/files/conference/nsdi16/nsdi16-paper-eisenbud.pdf) did that).
# > XDP moves the logic *into* the kernel. What is passed goes on through the whole stack.
#
# ## What a packet costs by then
#
# The later a packet is dropped, the more has been done for it in vain. It begins with the *socket buffer*, the
# kernel's record of a packet. At XDP that record does not exist yet, so there is little that a program could be told. A
# program at tc gets the record.

# %%
{"at XDP": XDP_MD.size, "at tc": SK_BUFF.size}

# %% [markdown]
# Bytes of context, both as programs see them; the kernel's own record behind the second is larger still.
#
# So what does a drop cost at each place? The next figure is from a recording: one core, a cable between two hosts,
# a blast of small frames handed over as a driver has them, and the processor's time per packet, whoever it is charged
# to. What sending alone costs is taken off.

# %%
bench = measure.load("xdp")
places = ("XDP, native", "XDP, generic", "nftables, ingress", "nftables, prerouting", "no socket",
          "a socket that discards")  # fmt: skip
cpu = {name: np.array(bench.samples[f"drop, frames, {name}, CPU"]) for name in ("sending alone", *places)}
cost = {name: float(np.median(cpu[name] - cpu["sending alone"])) for name in places}
assert list(cost.values()) == sorted(cost.values()) and cost[places[-1]] > 10 * cost[places[0]]
print(bench.label)

# %%
fig, ax = show.figure(height=3.2)
bars = ax.barh(list(cost), list(cost.values()), hatch=[show.HATCHES[i] for i in range(len(cost))], edgecolor="white")
ax.bar_label(bars, [f"{value / cost[places[0]]:.1f} x" for value in cost.values()], padding=4)
ax.set(xlabel="processor time per packet (ns)", ylabel="dropped at", xlim=(0, 1.15 * max(cost.values())))
ax.invert_yaxis()
show.finish(
    fig,
    title="The later a packet is dropped, the more was done for it in vain",
    alt="Bars of processor time per packet by the place of the drop. Native XDP is the shortest by far; generic XDP "
    "and the two places of nftables are several times as long; one that finds no socket, and one that is read from "
    "a socket and thrown away, are tens of times as long.",
)

# %% [markdown]
# Native to generic is the price of the socket buffer. From there to a rule of nftables is a short way. The long one is
# the rest of the stack, to a socket and out of it. On a real 100 Gb/s card, the authors of XDP measured drops of 24
# million packets a second on one core in XDP, 4.8 in the raw table of the firewall, and 1.8 with connection tracking
# ([section 4.1](https://doi.org/10.1145/3281411.3281443)).

# %%
mpps = {"XDP": 24, "raw table": 4.8, "connection tracking": 1.8}
{name: f"{1000 / value:.0f} ns" for name, value in mpps.items()}

# %% [markdown]
# ## Is there a context switch for each packet?
#
# "The kernel does a context switch for every packet, that is why plain forwarding is slow." This is told so often that
# it deserves an experiment. First the words. A *system call* enters the kernel and returns to the same process. A
# *context switch* takes one process off a processor and puts another one on it: registers, stack, often the address
# space. The second is dearer, and it is the one the sentence is about.

# %%
show.predict(
    "A router forwards 20000 packets inside the kernel. How many context switches does the machine make for each?",
    answer=0.0,
    tolerance=0.3,
    unit="switches",
    why="Received packets are handled in a soft interrupt, which borrows the processor from whoever has it. No process "
    "is woken, because no process waits.",
)

# %% [markdown]
# The router below is a host without a single process in it. Its packets are counted behind it, and switches for the
# *whole machine*, so whatever else your computer does just now is included.

# %% tags=["nbval-ignore-output"]
through = measure.live_or_recorded("fast-path-switches", 2, fast_path.kernel_path)
print(through.label)
rows = [(way, int(packets), f"{count / packets:.3f}") for way, (packets, count) in through.samples.items()]
assert all(count / packets < 0.5 for packets, count in through.samples.values())
show.table(rows, ("way", "packets", "context switches per packet"))

# %% [markdown]
# Nothing. When packets arrive, the card interrupts, the kernel's *NAPI* takes them from the driver in batches inside a
# *soft interrupt*, and everything up to the socket happens there
# ([kernel documentation](https://docs.kernel.org/networking/napi.html)). Only under overload is that work handed to a
# kernel thread (`ksoftirqd`), and then one switch serves many packets. Plain forwarding costs what the table of
# drops costs: buffers, look-ups, rules.
#
# So who does pay? A *process* that reads packets. This much can be counted on any machine: another process sends UDP
# over loopback, and we count our own switches with `getrusage` (on Linux, `/proc/self/status` shows the same counters).

# %% tags=["nbval-ignore-output"]
counts = {"each finds the reader asleep": switches.one_by_one(500), "all were waiting": switches.backlog(500)}
if switches.BATCHES:
    counts["the same, 64 with each call"] = switches.backlog(500, batch=64)

# %% tags=["nbval-ignore-output"]
rows = [(way, count.packets, count.calls, count.switches) for way, count in counts.items()]
assert rows[0][3] > 250 and rows[1][3] < 100
show.table(rows, ("datagrams", "packets", "system calls", "context switches"))

# %% [markdown]
# On an idle link, one for each packet: the reader sleeps, is woken, reads, sleeps again. But when packets are already
# there, a reader does not sleep, and the number drops to nothing. The system calls remain, and can be had in bulk, too:
# Linux has `recvmmsg`, which takes many datagrams with one call.
#
# In between lies every real server. Let the sender send in bursts, and let the reader work a little on each packet, as
# a proxy would. (Other programs on your machine disturb this; the lowest of three tries counts.)

# %% tags=["nbval-ignore-output"]
sizes = [1, 2, 4, 8, 16, 32, 64]
measured = [min(switches.bursts(256, size, work=30e-6).per_packet for _ in range(3)) for size in sizes]
assert measured[0] > 0.5 > 2 * np.median(measured[-3:])
show.lines(
    sizes,
    {"measured": measured, "one wake-up for each burst": [1 / size for size in sizes]},
    x_label="packets that arrive together",
    y_label="context switches per packet",
    x_log=True,
    y_log=True,
    title="A busy reader is woken for bursts, not for packets",
    alt="Context switches per packet against the size of bursts, both axes logarithmic. The measured points start near "
    "one for single packets and fall along the line one over the burst's size.",
)

# %% [markdown]
# The sentence had it backwards. Switches per packet are *highest when nothing is going on*, and fall as the load rises.
# They are a cost of user-space proxies, and mostly of idle ones.
#
# With it falls a number that goes with the tale: "at 100 Gb/s, 80 % of the processor is spent on context switches".
# No source for it could be found, and its mechanism does not exist. An honest way to say that 100 Gb/s is hard is a
# budget of time. Between two frames there are 20 bytes of silence and preamble:

# %%
budget = {size: (size + 20) * 8 / 100 for size in (64, 1518)}
assert round(budget[64], 1) == 6.7 and round(budget[1518]) == 123
{f"{size} bytes": f"{ns:.1f} ns" for size, ns in budget.items()}

# %% [markdown]
# One access to memory that is in no cache takes longer than a small packet's budget. No single core keeps up with
# that, whoever programs it. Cards therefore spread flows over many queues, and each queue over a core of its own.
#
# ## Native, generic, offload
#
# | mode | runs | needs | good for |
# |---|---|---|---|
# | *native* | on the processor, in the driver, before a socket buffer exists | a driver that knows XDP | work |
# | *generic* | on the processor, in the stack, with a socket buffer | nothing | tests |
# | *offload* | on the card | a card that runs BPF | rare |
#
# In the table of drops, native and generic look alike: both act before the taps. The difference is the price, as the
# figure of costs shows. In generic mode the socket buffer has been made by then, which is the very thing that XDP was
# to spare ([the commit that added it](https://github.com/torvalds/linux/commit/b5cdae3291f7)). Cilium calls it "testing
# only" ([pull request 10910](https://github.com/cilium/cilium/pull/10910)).
# Offload is the one mode in which "the processor never notices" is true.
#
# One trap waits for everybody who tries this on a virtual cable (*veth*). A program sends packets back (`XDP_TX`), its
# verdict is right, and nothing arrives: a veth delivers such frames only if its other end runs an XDP program, too. The
# book's test-bed puts a stub there (`Host.xdp_ready`).
#
# ## Katran and Cilium, told correctly
#
# **Katran** is Meta's layer 4 balancer, a BPF program at XDP and a library that feeds it
# ([README](https://github.com/facebookincubator/katran)). For each packet to a virtual address it looks into a
# connection table of fixed size that forgets the least recently used; a new flow is hashed and finds its backend in a
# Maglev table with weights; then the packet is wrapped in another IP packet and sent to the backend, out of the
# interface it came from. Replies do not come back this way. Tables are per processor, so nothing is locked, and
# throughput grows with the number of queues.
#
# | one hears | in fact |
# |---|---|
# | Katran is based on DPDK | It is based on XDP, in the kernel. DPDK is a library for bypassing it. |
# | "before kernel had any chance to run" (its README) | The driver is the kernel. Before the kernel's *stack*. |
# | it costs no CPU | None when idle: it does not poll. Under load, what the packets cost. |
# | it is always that fast | In driver mode. It runs in generic mode too, slower. |
#
# The XDP paper measured it against IPVS, the balancer inside the kernel's stack
# ([CoNEXT 2018, section 5.3](https://doi.org/10.1145/3281411.3281443)), in million packets a second. On one core: 5.2
# against 1.2; on six: 29.3 against 7.3.

# %%
mpps = {"Katran, one core": 5.2, "IPVS, one core": 1.2, "Katran, six cores": 29.3, "IPVS, six cores": 7.3}
assert round(mpps["Katran, one core"] / mpps["IPVS, one core"], 1) == 4.3
assert round(mpps["Katran, six cores"] / mpps["IPVS, six cores"], 1) == 4.0
show.table([(name, value, f"{1000 / value:.0f}") for name, value in mpps.items()], ("", "Mpps", "ns between packets"))

# %% [markdown]
# **Cilium** connects the containers of a cluster. Most of its programs do *not* run at XDP. Where it replaces
# kube-proxy, a process in the cluster that calls `connect` with the address of a service gets the address of a backend,
# by a hook at the socket: then no packet needs to be translated at all. What comes from outside is handled at tc, and,
# if one asks for it, at XDP: `loadBalancer.acceleration=native`, by default off, for packets whose backend is on
# another node ([documentation](https://docs.cilium.io/en/stable/network/kubernetes/kubeproxy-free/)). That page also
# warns of the riddle this chapter began with: packets sent back out at XDP do not show in `tcpdump`.
#
# Neither is magic. The gain is that of doing less before deciding, and it is largest where the answer is "drop".
#
# ## Summary
#
# - A BPF program is bytecode that the kernel verifies when it is loaded, translates to machine code, and calls at a
#   hook. It is not watched while it runs.
# - The verifier follows every path and knows of each register what it may hold. A packet may be read only as far as the
#   program has asked. A refusal names the line.
# - XDP runs in the driver, on the processor, before a socket buffer exists. It is a part of the kernel. Captures,
#   firewall and sockets see only what it passes.
# - The price of a packet grows with every station it passes. Most of what XDP saves is the socket buffer and what
#   follows.
# - Forwarding in the kernel makes no context switch per packet. A process that reads makes at most one for each time it
#   was woken, and fewer the busier it is.
# - Native mode is the fast one, generic mode works everywhere, offload is rare.
#
# ## Exercises
#
# 1. Which packets of a DNS flood does `no_reflection` let through? Find two kinds, and make one with
#    `compose.udp_frame`.
#    <details><summary>Solution</summary>
#    Whatever is not plain IPv4 over plain Ethernet: <code>vlan=3</code> shifts everything by four bytes,
#    <code>ip_options=bytes(4)</code> makes the header longer, IPv6 has another ethertype. Large answers arrive as
#    fragments, too, and only the first has a port. <code>lbcore.ebpf.programs.parse</code> walks the headers.</details>
# 2. And which harmless packets does it drop?
#    <details><summary>Solution</summary>
#    The answers that this host has asked for itself. And later fragments of any UDP datagram, if by chance the number
#    53 stands where the port would be. A program that tests the fragment offset (the low 13 bits at 20) is one line
#    longer.</details>
# 3. Ask for 36 bytes instead of 38 in `need`. Will the verifier mind? And 35?
#    <details><summary>Solution</summary>
#    The last access is two bytes at 34, so 36 is enough and 35 is refused: <code>verify</code> says so. 38 is a
#    courtesy to the next reader: with it, both ports are there.</details>
# 4. Let `switches.bursts` read without work (`work=0`). Why does the curve fall so much later?
#    <details><summary>Solution</summary>
#    A reader as fast as the sender empties the socket between two packets, and sleeps each time. To profit from a
#    burst one has to be slow, or wait a little on purpose. Network cards do the latter, and call it interrupt
#    moderation.</details>
#
# ## Interview questions
#
# **"Why is XDP fast?"**
# *Weak:* "It bypasses the kernel." *Strong:* it runs in the kernel, in the driver's receive path, before a socket
# buffer is allocated and before the stack's look-ups. For a drop or a bounce nothing else is needed. For packets that
# are passed on it costs a little extra.
#
# **"How does the kernel know that my program is safe?"**
# *Weak:* "It runs in a sandbox." *Strong:* it is verified when it is loaded: all paths, types of registers, ranges of
# packet pointers, bounded loops. Then it runs unchecked. So the limits are the verifier's: what it cannot prove is
# refused, even if it is right.
#
# **"Does forwarding cost a context switch for each packet?"**
# *Weak:* "Yes, that is why one uses DPDK." *Strong:* separates system calls, interrupts and switches. Forwarding
# happens in soft interrupts; switches belong to processes that sleep, and fall with load. Offers to measure it.
#
# **"tcpdump shows nothing, the interface counts a million. What do you check?"**
# *Weak:* "The driver." *Strong:* `ip link` shows whether an XDP program is attached, `bpftool prog` which. Then the
# counters before and behind it, hook by hook.
#
# ## Sources
#
# - T. Høiland-Jørgensen et al.: [The eXpress Data Path](https://doi.org/10.1145/3281411.3281443), CoNEXT 2018.
# - [RFC 9669](https://www.rfc-editor.org/rfc/rfc9669): the instruction set.
# - Linux: [the verifier](https://docs.kernel.org/bpf/verifier.html),
#   [NAPI](https://docs.kernel.org/networking/napi.html).
# - [Katran](https://github.com/facebookincubator/katran), Meta.
# - Cilium: [hooks](https://docs.cilium.io/en/latest/network/ebpf/intro/),
#   [kube-proxy replacement](https://docs.cilium.io/en/stable/network/kubernetes/kubeproxy-free/).
