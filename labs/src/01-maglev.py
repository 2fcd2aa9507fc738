# ---
# jupyter:
#   jupytext:
#     text_representation:
#       format_name: percent
# book:
#   title: Build Maglev
#   question: Can a hundred balancers agree on every connection without a word between them?
#   tier: 0
#   minutes: 60
#   memory_mb: 600
#   after: [03-maglev]
# ---

# %% [markdown]
# You will write the table that Google's Maglev sends packets by, in four short functions. Every balancer that knows
# the same backends builds the same table; a packet then costs one hash, one remainder and one look into memory.
#
# Each exercise has a specification, a stub, a drawing (`show_…`) of what your code did, and a checker (`check_…`).
# The checkers run your code in a process of its own: an endless loop, a crash or a flood of prints does no harm.
# Run the drawing and the checker as often as you like, wrong answers teach most.

# %%
from lbcore import labs

# %% [markdown]
# ## Exercise 1 · A walk through the table
#
# Every backend visits all slots in an order of its own: it starts at `offset` and goes on by `skip`, modulo `size`.
# From two 64-bit hashes of the backend's name give back `(offset, skip)`: any slot from 0 to size - 1 by remainder,
# any skip from 1 to size - 1 by remainder plus 1. Raise `ValueError` unless `size` is a prime.


# %%
def walk(offset_hash: int, skip_hash: int, size: int) -> tuple[int, int]:
    """(offset, skip) of a backend in a table of `size` slots; ValueError unless `size` is a prime."""
    ### BEGIN SOLUTION
    if size < 2 or any(size % divisor == 0 for divisor in range(2, int(size**0.5) + 1)):
        raise ValueError(f"size: {size} is not a prime")
    return offset_hash % size, skip_hash % (size - 1) + 1
    ### END SOLUTION


# %% [markdown]
# Five backends in a table of 13 slots. Each row is one backend, each number says in which step it comes to the slot.
# A question mark is a slot that it never reaches.

# %%
labs.maglev.show_walk(walk)

# %%
labs.maglev.check_walk(walk)

# %%
### BEGIN HIDDEN TESTS
assert labs.maglev.check_walk(walk, seed=2026).passed
### END HIDDEN TESTS

# %% [markdown]
# Why a prime? The walk meets a slot twice only after size / gcd(skip, size) steps. With a prime size every skip
# has gcd 1, so the walk is a permutation. With 9 slots, skip 3 would visit three of them and go round for ever.
#
# ## Exercise 2 · Fill the table
#
# Backends take turns, backend 0 first. In its turn a backend takes the first slot of its walk that has no owner yet.
# Give back the list of owners (indices of backends) when every slot has one. Do not change the lists you are given.


# %%
def populate(offsets: list[int], skips: list[int], size: int) -> list[int]:
    """The owner of each slot; backend i walks from offsets[i] by skips[i]."""
    ### BEGIN SOLUTION
    table = [-1] * size
    places = list(offsets)
    for turn in range(size):
        backend = turn % len(places)
        while table[places[backend]] >= 0:
            places[backend] = (places[backend] + skips[backend]) % size
        table[places[backend]] = backend
    return table
    ### END SOLUTION


# %% [markdown]
# A table of 31 slots for five backends, and where two thousand flows (addresses and ports, hashed) find their backend.
# Before you run it: by how much can the slots of two backends differ?

# %%
labs.maglev.show_populate(populate)

# %%
labs.maglev.check_populate(populate)

# %%
### BEGIN HIDDEN TESTS
assert labs.maglev.check_populate(populate, seed=2026).passed
### END HIDDEN TESTS

# %% [markdown]
# A slot a turn, so shares differ by one slot at most. In 31 slots one slot is much, in 65537 it is nothing: that is why
# tables are about a hundred times as large as the pool.
#
# ## Exercise 3 · Weights
#
# As exercise 2, but in turn t = 1, 2, 3, … backend i takes a slot only if t × weights[i] has reached `due[i]`, and
# for each slot it takes, `due[i]` grows by the largest weight. `due` starts at 0. Within a turn, backend 0 still goes
# first, and you stop as soon as the table is full.


# %%
def populate_weighted(offsets: list[int], skips: list[int], weights: list[float], size: int) -> list[int]:
    """The owner of each slot; a backend's turns come in proportion to its weight (above 0)."""
    ### BEGIN SOLUTION
    table = [-1] * size
    places, due, turn = list(offsets), [0.0] * len(offsets), 0
    while True:
        turn += 1
        for backend, weight in enumerate(weights):
            if turn * weight < due[backend]:
                continue
            due[backend] += max(weights)
            while table[places[backend]] >= 0:
                places[backend] = (places[backend] + skips[backend]) % size
            table[places[backend]] = backend
            if -1 not in table:
                return table
    ### END SOLUTION


# %% [markdown]
# A larger table, weights 1, 1, 2, 2 and 4. The black lines are the fair shares.

# %%
labs.maglev.show_weighted(populate_weighted)

# %%
labs.maglev.check_weighted(populate_weighted)

# %%
### BEGIN HIDDEN TESTS
assert labs.maglev.check_weighted(populate_weighted, seed=2026).passed
### END HIDDEN TESTS

# %% [markdown]
# ## Exercise 4 · What a change costs
#
# `before` and `after` are tables of one size, over the names `old_pool` and `new_pool`. Give back how many slots went
# to a backend of another name (moved), and how many of those did so needlessly: the old owner is still in the new pool,
# and the new owner was in the old one.


# %%
def disruption(before: list[int], old_pool: list[str], after: list[int], new_pool: list[str]) -> tuple[int, int]:
    """(moved, needless): numbers of slots."""
    ### BEGIN SOLUTION
    owners = [(old_pool[old], new_pool[new]) for old, new in zip(before, after, strict=True)]
    moves = [(old, new) for old, new in owners if old != new]
    return len(moves), sum(old in new_pool and new in old_pool for old, new in moves)
    ### END SOLUTION


# %% [markdown]
# One of ten backends dies. Your function counts what happens to the connections of the nine others, under modulo and
# under Maglev, in small and in large tables. Write down a guess for both before you run it.

# %%
labs.maglev.show_disruption(disruption)

# %%
labs.maglev.check_disruption(disruption)

# %%
### BEGIN HIDDEN TESTS
assert labs.maglev.check_disruption(disruption, seed=2026).passed
### END HIDDEN TESTS

# %% [markdown]
# ## All of it together
#
# Ten names, hashed, walked by your `walk`, filled by your `populate_weighted`: is it the library's table?

# %%
labs.maglev.check_whole(walk, populate_weighted)

# %%
### BEGIN HIDDEN TESTS
assert labs.maglev.check_whole(walk, populate_weighted, size=1009).passed
### END HIDDEN TESTS

# %% [markdown]
# ## What you have built
#
# The look-up table of a layer-4 balancer. `lbcore.balance.maglev` has the same code, compiled. Its weight rule is
# [Envoy's](https://www.envoyproxy.io/docs/envoy/latest/intro/arch_overview/upstream/load_balancing/load_balancers);
# [Katran](https://github.com/facebookincubator/katran) and
# [Linux IPVS](https://docs.kernel.org/networking/ipvs-sysctl.html) (scheduler `mh`) fill theirs in the same spirit, and
# the [paper](https://www.usenix.org/conference/nsdi16/technical-sessions/presentation/eisenbud) tells why. Your last
# function is how the book judges every way of choosing a backend.
#
# ## As in an interview
#
# **Two balancers know the same ten backends, and send one connection to different ones. Why could that be?**
# <details><summary>Answer</summary>
#
# Turns: they list the backends in different orders, so other backends go first. Sort by name. Or they differ in
# hash, seed, table size or weights, or one has heard of a change that the other has not.
#
# </details>
#
# **Why not rebuild with `hash % n`? It is one instruction, and perfectly even.**
# <details><summary>Answer</summary>
#
# Because of your drawing: when one backend goes, most connections of the healthy ones move, and each of them breaks
# unless a flow table remembers it. Evenness is what both have; small disruption is what Maglev adds.
#
# </details>
#
# **Maglev still moves some slots needlessly. What do you do about those connections?**
# <details><summary>Answer</summary>
#
# A larger table makes them fewer, never none. A flow table remembers established connections and outvotes the table, on
# the balancer that has seen them. What is left are connections that change balancer and backend set at the same time.
#
# </details>
