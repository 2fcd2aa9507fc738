"""Lab 01: answers that must pass, and mistakes with the key of the hint each must get.

Rule of this file: no answer shares code with the checker, which has its own models of the mistakes.
"""

# ruff: noqa: E722, B006
# mypy: ignore-errors

import itertools
import random
import sys

import numpy as np

from lbcore.labs.answers import Answers

ANSWERS = Answers()
RIGHT, WRONG, right, wrong = ANSWERS.RIGHT, ANSWERS.WRONG, ANSWERS.right, ANSWERS.wrong


# ------------------------------------------------------------------------------------------------------ 1: walk
@right("walk")
def walk_plain(offset_hash, skip_hash, size):
    if size < 2 or any(size % divisor == 0 for divisor in range(2, int(size**0.5) + 1)):
        raise ValueError(f"{size} is not a prime")
    return offset_hash % size, skip_hash % (size - 1) + 1


@right("walk")
def walk_by_sieve(offset_hash, skip_hash, size):
    sieve = np.ones(size + 1, bool)
    for number in range(2, size + 1):
        sieve[2 * number :: number] = False
    if not sieve[size]:
        raise ValueError(size)
    return [divmod(offset_hash, size)[1], 1 + divmod(skip_hash, size - 1)[1]]


@right("walk")
def walk_by_wilson(offset_hash, skip_hash, size):
    product = 1
    for factor in range(1, size):
        product = product * factor % size
    if product != size - 1:
        raise ValueError("not prime")
    return np.array([offset_hash % size, 1 + skip_hash % (size - 1)])


@wrong("walk", "skip_zero")
def walk_skip_zero(offset_hash, skip_hash, size):
    return offset_hash % size, skip_hash % max(size - 1, 1)


@wrong("walk", "skip_mod_size")
def walk_skip_mod_size(offset_hash, skip_hash, size):
    return offset_hash % size, skip_hash % size


@wrong("walk", "skip_whole_turn")
def walk_skip_whole_turn(offset_hash, skip_hash, size):
    return offset_hash % size, 1 + skip_hash % size


@wrong("walk", "offset_short")
def walk_offset_short(offset_hash, skip_hash, size):
    return offset_hash % (size - 1), skip_hash % (size - 1) + 1


@wrong("walk", "hashes_swapped")
def walk_swapped(offset_hash, skip_hash, size):
    return skip_hash % size, offset_hash % (size - 1) + 1


@wrong("walk", "accepted")
def walk_any_size(offset_hash, skip_hash, size):
    return offset_hash % size, skip_hash % (size - 1) + 1


@wrong("walk", "accepted")
def walk_odd_is_prime(offset_hash, skip_hash, size):
    if size > 2 and size % 2 == 0:
        raise ValueError
    return offset_hash % size, skip_hash % (size - 1) + 1


@wrong("walk", "accepted")
def walk_fermat(offset_hash, skip_hash, size):
    if size != 2 and pow(2, size, size) != 2:
        raise ValueError
    return offset_hash % size, skip_hash % (size - 1) + 1


@wrong("walk", "refused")
def walk_two_is_no_prime(offset_hash, skip_hash, size):
    if any(size % divisor == 0 for divisor in range(2, size + 1)):
        raise ValueError("not prime")
    return offset_hash % size, skip_hash % (size - 1) + 1


@wrong("walk", "wrong_form")
def walk_division(offset_hash, skip_hash, size):
    return offset_hash / size, skip_hash / size


@wrong("walk", "not_the_same_twice")
def walk_random(offset_hash, skip_hash, size):
    return random.randrange(10**9), random.randrange(1, 10**9)


# -------------------------------------------------------------------------------------------------- 2: populate
@right("populate")
def populate_paper(offsets, skips, size):
    n = len(offsets)
    following = [0] * n
    entry = [-1] * size
    filled = 0
    while True:
        for i in range(n):
            c = (offsets[i] + following[i] * skips[i]) % size
            while entry[c] >= 0:
                following[i] += 1
                c = (offsets[i] + following[i] * skips[i]) % size
            entry[c] = i
            following[i] += 1
            filled += 1
            if filled == size:
                return entry


@right("populate")
def populate_generators(offsets, skips, size):
    walks = [iter([(o + k * s) % size for k in range(size)]) for o, s in zip(offsets, skips, strict=True)]
    owners = {}
    for backend in itertools.islice(itertools.cycle(range(len(walks))), size):
        owners[next(slot for slot in walks[backend] if slot not in owners)] = backend
    return tuple(owners[slot] for slot in range(size))


@right("populate")
def populate_vectorised(offsets, skips, size):
    lists = (np.array(offsets)[:, None] + np.arange(size) * np.array(skips)[:, None]) % size
    table = np.full(size, -1)
    for turn in range(size):
        backend = turn % len(offsets)
        table[lists[backend][table[lists[backend]] < 0][0]] = backend
    return table


@right("populate")
def populate_recursive(offsets, skips, size):
    def fill(owners, turn):
        if len(owners) == size:
            return owners
        backend = turn % len(offsets)
        return fill({first_free(owners, backend, offsets[backend]): backend, **owners}, turn + 1)

    def first_free(owners, backend, slot):
        return first_free(owners, backend, (slot + skips[backend]) % size) if slot in owners else slot

    return [owner for _, owner in sorted(fill({}, 0).items())]


@wrong("populate", "not_the_same_twice")
def populate_random(offsets, skips, size):
    return [random.randrange(len(offsets)) for _ in range(size)]


@wrong("populate", "not_the_same_twice")
def populate_remembers(offsets, skips, size, seen=[]):
    seen.append(size)
    if len(seen) > 80:
        return [0] * size
    return populate_paper(offsets, skips, size)


@wrong("populate", "modulo")
def populate_modulo(offsets, skips, size):
    return (list(range(len(offsets))) * size)[:size]


@wrong("populate", "skip_off_by_one")
def populate_skip_plus_one(offsets, skips, size):
    table = [None] * size
    at = list(offsets)
    turn = 0
    while None in table:
        i = turn % len(at)
        for _ in range(size):
            if table[at[i]] is None:
                break
            at[i] = (at[i] + skips[i] + 1) % size
        if table[at[i]] is None:
            table[at[i]] = i
        at[i] = (at[i] + skips[i] + 1) % size
        turn += 1
        if turn > 50 * size:
            sys.exit("gave up")
    return table


@wrong("populate", "taken")
def populate_overwrites(offsets, skips, size):
    table, k = [-1] * size, 0
    while -1 in table:
        for i in range(len(offsets)):
            table[(offsets[i] + k * skips[i]) % size] = i
            if -1 not in table:
                break
        k += 1
    return table


@wrong("populate", "taken")
def populate_overwrites_and_counts(offsets, skips, size):
    table = np.full(size, -1)
    for turn in range(size):
        i, k = turn % len(offsets), turn // len(offsets)
        table[(offsets[i] + k * skips[i]) % size] = i
    return table


@wrong("populate", "loses_turn")
def populate_loses_turn(offsets, skips, size):
    table, k = {}, 0
    while len(table) < size:
        for i, (offset, skip) in enumerate(zip(offsets, skips, strict=True)):
            table.setdefault((offset + k * skip) % size, i)
        k += 1
    return [table[slot] for slot in range(size)]


@wrong("populate", "neighbour")
def populate_neighbour(offsets, skips, size):
    table, at = [-1] * size, list(offsets)
    for turn in range(size):
        i = turn % len(at)
        while table[at[i]] != -1:
            at[i] = (at[i] + 1) % size
        table[at[i]] = i
        at[i] = (at[i] + skips[i]) % size
    return table


@wrong("populate", "starts_late")
def populate_starts_late(offsets, skips, size):
    return populate_paper([o + s for o, s in zip(offsets, skips, strict=True)], skips, size)


@wrong("populate", "no_turns")
def populate_no_turns(offsets, skips, size):
    table = [-1] * size
    for i in range(len(offsets)):
        for k in range(size):
            slot = (offsets[i] + k * skips[i]) % size
            if table[slot] == -1:
                table[slot] = i
    return table


@wrong("populate", "order_reversed")
def populate_reversed(offsets, skips, size):
    return [len(offsets) - 1 - owner for owner in populate_paper(offsets[::-1], skips[::-1], size)]


@wrong("populate", "not_a_full_table")
def populate_one_round(offsets, skips, size):
    table = [-1] * size
    for i in range(len(offsets)):
        table[offsets[i]] = i
    return table


@wrong("populate", "not_a_full_table")
def populate_too_long(offsets, skips, size):
    return [*populate_paper(offsets, skips, size), 0]


@wrong("populate", "not_a_full_table")
def populate_returns_nothing(offsets, skips, size):
    populate_paper(offsets, skips, size)


@wrong("populate", "not_a_full_table")
def populate_floats(offsets, skips, size):
    return np.array(populate_paper(offsets, skips, size), float)


@wrong("populate", "not_a_full_table")
def populate_generator(offsets, skips, size):
    yield from populate_paper(offsets, skips, size)


@wrong("populate", "uneven")
def populate_all_to_the_last(offsets, skips, size):
    return [len(offsets) - 1] * size


@wrong("populate", "past_the_end")
def populate_no_wrap(offsets, skips, size):
    table, at = [-1] * size, list(offsets)
    for turn in range(size):
        i = turn % len(at)
        while table[at[i]] != -1:
            at[i] += skips[i]
        table[at[i]] = i
    return table


@wrong("populate", "raised")
def populate_exits(offsets, skips, size):
    sys.exit(0)


@wrong("populate", "raised")
def populate_too_few_arguments(offsets, skips):
    return []


@wrong("populate", "endless")
def populate_endless(offsets, skips, size):
    table = [-1] * size
    while -1 in table:
        table[offsets[0]] = 0
    return table


@wrong("populate", "endless")
def populate_endless_and_swallowing(offsets, skips, size):
    while True:
        try:
            print("still here")
        except:
            continue


@wrong("populate", "changed_input")
def populate_in_place(offsets, skips, size):
    table = [-1] * size
    for turn in range(size):
        i = turn % len(offsets)
        while table[offsets[i]] != -1:
            offsets[i] = (offsets[i] + skips[i]) % size
        table[offsets[i]] = i
    return table


# -------------------------------------------------------------------------------------------------- 3: weighted
@right("weighted")
def weighted_plain(offsets, skips, weights, size):
    table, at, due, turn = [-1] * size, list(offsets), [0] * len(offsets), 0
    while True:
        turn += 1
        for i, weight in enumerate(weights):
            if turn * weight < due[i]:
                continue
            due[i] += max(weights)
            while table[at[i]] != -1:
                at[i] = (at[i] + skips[i]) % size
            table[at[i]] = i
            if -1 not in table:
                return table


@right("weighted")
def weighted_sorted_turns(offsets, skips, weights, size):
    turns = []
    for i, weight in enumerate(weights):
        turn = 0
        for k in range(size):  # the k-th slot: when turn * weight has reached k times the largest, and one a turn
            turn = max(turn + 1, -(-k * max(weights) // weight))
            turns.append((turn, i))
    turns.sort()
    owners = {}
    for _, i in turns[:size]:
        slot = offsets[i]
        while slot in owners:
            slot = (slot + skips[i]) % size
        owners[slot] = i
    return [owners[slot] for slot in range(size)]


@wrong("weighted", "weights_ignored")
def weighted_ignores(offsets, skips, weights, size):
    return populate_paper(offsets, skips, size)


@wrong("weighted", "first_turn_only")
def weighted_first_turn_only(offsets, skips, weights, size):
    turns = [i for i, weight in enumerate(weights) for _ in range(weight)] + list(range(len(weights))) * size
    return deal(turns, offsets, skips, size)


@wrong("weighted", "in_blocks")
def weighted_blocks(offsets, skips, weights, size):
    return deal([i for i, weight in enumerate(weights) for _ in range(weight)] * size, offsets, skips, size)


@wrong("weighted", "late_start")
def weighted_late(offsets, skips, weights, size):
    saved, turns = [0] * len(weights), []
    while len(turns) < size:
        for i, weight in enumerate(weights):
            saved[i] += weight
            if saved[i] >= max(weights):
                saved[i] -= max(weights)
                turns.append(i)
    return deal(turns, offsets, skips, size)


@wrong("weighted", "strictly_more")
def weighted_strict(offsets, skips, weights, size):
    due, turns = [0] * len(weights), []
    for turn in range(1, 5 * size):
        for i, weight in enumerate(weights):
            if turn * weight > due[i]:
                due[i] += max(weights)
                turns.append(i)
    return deal(turns, offsets, skips, size)


@wrong("weighted", "not_the_same_twice")
def weighted_lottery(offsets, skips, weights, size):
    return random.choices(range(len(weights)), weights, k=size)


@wrong("weighted", "differs")
def weighted_by_shares(offsets, skips, weights, size):
    return deal(sorted(range(len(weights)), key=weights.__getitem__) * size, offsets, skips, size)


def deal(turns, offsets, skips, size):
    """The table when backends take turns in this order."""
    table = [-1] * size
    for i in turns[:size]:
        slot = offsets[i]
        while table[slot] != -1:
            slot = (slot + skips[i]) % size
        table[slot] = i
    return table


# ------------------------------------------------------------------------------------------------ 4: disruption
@right("disruption")
def disruption_plain(before, old_pool, after, new_pool):
    moved = needless = 0
    for old, new in zip(before, after, strict=True):
        owner, heir = old_pool[old], new_pool[new]
        if owner != heir:
            moved += 1
            needless += owner in new_pool and heir in old_pool
    return moved, needless


@right("disruption")
def disruption_vectorised(before, old_pool, after, new_pool):
    owner, heir = np.array(old_pool)[before], np.array(new_pool)[after]
    moved = owner != heir
    stayed = np.intersect1d(old_pool, new_pool)
    return moved.sum(), (moved & np.isin(owner, stayed) & np.isin(heir, stayed)).sum()


@wrong("disruption", "indices")
def disruption_by_index(before, old_pool, after, new_pool):
    moved = [(a, b) for a, b in zip(before, after, strict=True) if a != b]
    return len(moved), len([1 for a, b in moved if old_pool[a] in new_pool and new_pool[b] in old_pool])


@wrong("disruption", "indices")
def disruption_by_index_alone(before, old_pool, after, new_pool):
    moved = int((np.array(before) != np.array(after)).sum())
    return moved, moved


@wrong("disruption", "all_needless")
def disruption_all(before, old_pool, after, new_pool):
    moved, _ = disruption_plain(before, old_pool, after, new_pool)
    return moved, moved


@wrong("disruption", "newcomers_needless")
def disruption_forgets_newcomers(before, old_pool, after, new_pool):
    names = [(old_pool[a], new_pool[b]) for a, b in zip(before, after, strict=True)]
    return sum(a != b for a, b in names), sum(a != b and a in new_pool for a, b in names)


@wrong("disruption", "gone_needless")
def disruption_forgets_the_dead(before, old_pool, after, new_pool):
    names = [(old_pool[a], new_pool[b]) for a, b in zip(before, after, strict=True)]
    return sum(a != b for a, b in names), sum(a != b and b in old_pool for a, b in names)


@wrong("disruption", "needful")
def disruption_needful(before, old_pool, after, new_pool):
    moved, needless = disruption_plain(before, old_pool, after, new_pool)
    return moved, moved - needless


@wrong("disruption", "order")
def disruption_backwards(before, old_pool, after, new_pool):
    return disruption_plain(before, old_pool, after, new_pool)[::-1]


@wrong("disruption", "shares")
def disruption_shares(before, old_pool, after, new_pool):
    moved, needless = disruption_plain(before, old_pool, after, new_pool)
    return moved / len(before), needless / len(before)


@wrong("disruption", "wrong_form")
def disruption_one_number(before, old_pool, after, new_pool):
    return disruption_plain(before, old_pool, after, new_pool)[1]
