# ---
# jupyter:
#   jupytext:
#     text_representation:
#       format_name: percent
# book:
#   title: The TLS bill
#   question: Nine o'clock again. What will TLS cost, who should pay, and how many machines does it take?
#   tier: 0
#   minutes: 60
#   memory_mb: 400
#   after: [10-what-tls-costs]
# ---

# %% [markdown]
# You will write what an engineer works out before an edge is built: the bill of a traffic mix, which handshakes can be
# resumed, which certificate a client gets, where TLS should end, and how many machines that takes.
#
# Each exercise has a specification, a stub, a drawing (`show_…`) of what your code did, and a checker (`check_…`). The
# checkers run your code in a process of its own, so nothing that it does can do harm. Two of the drawings ask OpenSSL,
# which does not know this lab.

# %%
from lbcore import labs

# %% [markdown]
# ## Exercise 1 · The bill
#
# A traffic mix is a list of kinds. Each kind: so many new connections, so many that come back with a ticket, so many
# requests on each of them, and the size of an answer in kilobytes:
#
# `mix = [(new, returning, requests, size), ...]`
#
# Prices are in nanoseconds: of a `full` handshake, of a `resumed` one, of each `kilobyte` of answer, and of each
# `request` by itself. Give the CPU time of it all, a whole number.


# %%
def cpu(mix: list[tuple[int, int, int, int]], full: int, resumed: int, kilobyte: int, request: int) -> int:
    """Nanoseconds of CPU time for a traffic mix."""
    ### BEGIN SOLUTION
    total = 0
    for new, returning, requests, size in mix:
        total += new * full + returning * resumed
        total += (new + returning) * requests * (request + size * kilobyte)
    return total
    ### END SOLUTION


# %% [markdown]
# Three kinds of traffic, at prices that are measured on your machine when you run this:

# %% tags=["nbval-ignore-output"]
labs.tls_bill.show_cpu(cpu)

# %%
labs.tls_bill.check_cpu(cpu)

# %%
### BEGIN HIDDEN TESTS
assert labs.tls_bill.check_cpu(cpu, seed=2026).passed
### END HIDDEN TESTS

# %% [markdown]
# ## Exercise 2 · Which of them can be resumed?
#
# One client visits, again and again: `visits` is a list of (second, backend). It always offers the ticket that it got
# last, and every handshake, full or resumed, gives it a fresh one. `keys` says which ticket key each backend has. A
# ticket opens at whoever has the key that it was sealed with, as long as it is at most `lifetime` seconds old. Say for
# each visit whether its handshake is resumed.


# %%
def resumed(visits: list[tuple[int, str]], keys: dict[str, str], lifetime: int) -> list[bool]:
    """For each visit: is it resumed?"""
    ### BEGIN SOLUTION
    found, ticket = [], None
    for second, backend in visits:
        key = keys[backend]
        found.append(ticket is not None and ticket[1] == key and second - ticket[0] <= lifetime)
        ticket = (second, key)
    return found
    ### END SOLUTION


# %%
labs.tls_bill.show_resumed(resumed)

# %%
labs.tls_bill.check_resumed(resumed)

# %%
### BEGIN HIDDEN TESTS
assert labs.tls_bill.check_resumed(resumed, seed=2026).passed
### END HIDDEN TESTS

# %% [markdown]
# ## Exercise 3 · Which certificate?
#
# A client names the server it wants (SNI), or nobody (`None`). `certificates` is a list; each is the list of names that
# it is for, in lower case. Give the place of the right one in the list:
#
# - one that has the name itself, the first of these;
# - else one that has it as a wildcard, the first of these. `*.shop.example` is for `www.shop.example`, for exactly one
#   label in place of the `*`, and the `*` is a whole label, the first;
# - else the first certificate of all.


# %%
def certificate(name: str | None, certificates: list[list[str]]) -> int:
    """The place of the certificate for a server name."""
    ### BEGIN SOLUTION
    name = (name or "").lower()
    for wanted in (name, "*." + name.partition(".")[2]):
        for place, names in enumerate(certificates):
            if wanted in names:
                return place
    return 0
    ### END SOLUTION


# %%
labs.tls_bill.show_certificate(certificate)

# %%
labs.tls_bill.check_certificate(certificate)

# %%
### BEGIN HIDDEN TESTS
assert labs.tls_bill.check_certificate(certificate, seed=2026).passed
### END HIDDEN TESTS

# %% [markdown]
# ## Exercise 4 · Where should TLS end?
#
# `needs` is a list of some of these:
#
# - `"route by server name"`, `"route by path"`, `"cache answers"`;
# - `"encrypted on the inside"`: between the middle and the backends;
# - `"unreadable in the middle"`;
# - `"backends without certificates"`: they have none, and will get none;
# - `"backend verifies the client's certificate itself"`;
# - `"a protocol that is not HTTP"`.
#
# Which modes can do what, you know from chapter 10. Of those that can do all, give the one whose middle has the least
# work: `"pass through"`, then `"terminate"`, then `"re-encrypt"`. If none can, raise ValueError.


# %%
def place(needs: list[str]) -> str:
    """Pass through, terminate or re-encrypt."""
    ### BEGIN SOLUTION
    cannot = {
        "pass through": {"route by path", "cache answers", "backends without certificates"},
        "terminate": {
            "encrypted on the inside",
            "unreadable in the middle",
            "backend verifies the client's certificate itself",
        },
        "re-encrypt": {
            "unreadable in the middle",
            "backends without certificates",
            "backend verifies the client's certificate itself",
        },
    }
    for mode, lacking in cannot.items():
        if not lacking.intersection(needs):
            return mode
    raise ValueError(f"nothing can do all of {needs}")
    ### END SOLUTION


# %%
labs.tls_bill.show_place(place)

# %%
labs.tls_bill.check_place(place)

# %%
### BEGIN HIDDEN TESTS
assert labs.tls_bill.check_place(place, seed=2026).passed
### END HIDDEN TESTS

# %% [markdown]
# ## Exercise 5 · How many machines?
#
# `peak` has for each second (new connections, returning ones). Prices `full` and `resumed` are as before. Each machine
# has so many `cores`, and they should be busy for at most `busy` percent of a second. Size the edge for handshakes
# alone, so that
#
# - the worst second fits,
# - on a day after a restart, when no ticket opens any more,
# - with one machine missing.
#
# Two machines is the least: one, and one that may be missing. Stay with whole numbers: `-(-a // b)` divides and rounds
# up.


# %%
def machines(peak: list[tuple[int, int]], full: int, resumed: int, cores: int, busy: int) -> int:
    """How many machines stand a login peak."""
    ### BEGIN SOLUTION
    worst = max(new + returning for new, returning in peak) * full
    able = 10**9 * cores * busy
    return max(1, -(-worst * 100 // able)) + 1
    ### END SOLUTION


# %%
labs.tls_bill.show_machines(machines)

# %%
labs.tls_bill.check_machines(machines)

# %%
### BEGIN HIDDEN TESTS
assert labs.tls_bill.check_machines(machines, seed=2026).passed
### END HIDDEN TESTS

# %% [markdown]
# ## What you have built
#
# A capacity plan, in five functions. What it leaves out: memory of connections, the request itself where the edge reads
# it, and bytes where answers are large. All three are one more price in exercise 1.
#
# ## As in an interview
#
# **Your plan says four machines, and somebody offers two with cards that encrypt AES. Do you take them?**
# <details><summary>Answer</summary>
#
# Not for a login peak: its bill is handshakes, and those are signatures. Ask what the card does to signatures, and at
# which rate. For a film server the same card may be the right thing.
#
# </details>
#
# **The edge restarts one machine after the other, with new ticket keys each time. What happens to the bill?**
# <details><summary>Answer</summary>
#
# It rises during the whole roll-out: clients that come back find another machine, which cannot open their ticket. Keep
# the ticket keys outside the process, share them, and let the old one open tickets for a while.
#
# </details>
#
# **Why does exercise 3 not simply give an error to a client that names nobody?**
# <details><summary>Answer</summary>
#
# Some clients dial addresses, health checks among them, and have no name to say. A default certificate gets them
# through or lets them refuse by themselves. An edge may also decide to turn them away: then it should be a decision.
#
# </details>
