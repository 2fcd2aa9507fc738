"""Lab 02, exercises 1 and 3: a checksum after words have changed (RFC 1624), and UDP's two zeros (RFC 768).

Rule of this file: specifications, cases and hints; no frames.
"""

from __future__ import annotations

import random
from typing import Any

from lbcore.labs.judge import Case, Exercise, Mistake, Property, Verdict, judge
from lbcore.wire import checksum

Words = list[tuple[int, int]]


# ----------------------------------------------------------------------------------------- 1: one word of a checksum
def update_cases(seed: int) -> list[Case]:
    """RFC 1624's own example first: the one where the older formula fails. Then carries, then random words."""
    rng = random.Random(seed)
    known = [(0xDD2F, 0x5555, 0x3285), (0xFFFE, 0, 1), (0, 0, 0xFFFF), (0x0001, 0xFFFF, 0), (0x8000, 0x8000, 0x7FFF)]
    words = [(rng.getrandbits(16), rng.getrandbits(16), rng.getrandbits(16)) for _ in range(200)]
    return [Case(one) for one in [*known, *words]]


def folded(total: int) -> int:
    """All carries brought back in."""
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return total


def sixteen_bits(answer: Any, *_: Any) -> str | None:
    """A checksum is a whole number of 16 bits."""
    if type(answer) is not int:
        return "Give back a whole number: the new checksum."
    if not 0 <= answer <= 0xFFFF:
        return f"{answer:#x} does not fit 16 bits. What is carried out at the top comes back in at the bottom."
    return None


UPDATE = Exercise(
    names=("value", "old", "new"),
    right=checksum.update16,
    praise="Right in all {cases} cases, the trap of RFC 1624 among them.",
    mistakes=(
        Mistake(
            "older_formula",
            lambda value, old, new: folded(value + old + (new ^ 0xFFFF)),
            "This is the formula of RFC 1141. It differs in one case: it gives 0xffff where 0x0000 is right. Take the "
            "complement of the checksum first, add, and complement the result.",
        ),
        Mistake(
            "no_complement",
            lambda value, old, new: folded(value + (old ^ 0xFFFF) + new),
            "You add to the checksum itself. What is stored is the complement of the sum: complement it, add, and "
            "complement again.",
        ),
        Mistake(
            "not_complemented_back",
            lambda value, old, new: folded((value ^ 0xFFFF) + (old ^ 0xFFFF) + new),
            "Your answer is the sum. What is stored is its complement.",
        ),
        Mistake(
            "swapped",
            lambda value, old, new: checksum.update16(value, new, old),
            "You put the old word in and take the new one out.",
        ),
        Mistake(
            "carry_lost",
            lambda value, old, new: ((value ^ 0xFFFF) + (old ^ 0xFFFF) + new) & 0xFFFF ^ 0xFFFF,
            "You cut the carry off. In ones' complement it comes back in at the bottom: (total & 0xffff) + (total >> "
            "16).",
        ),
        Mistake(
            "old_left_in",
            lambda value, old, new: folded((value ^ 0xFFFF) + new) ^ 0xFFFF,
            "The new word is in, but the old one is not out. To subtract a word, add its complement.",
        ),
    ),
    properties=(Property("not_sixteen_bits", sixteen_bits),),
)


def check_update(update: Any, seed: int = 1) -> Verdict:
    """Exercise 1: update(value, old, new) -> the checksum after one word has changed."""
    return judge(UPDATE, update, update_cases(seed))


# ------------------------------------------------------------------------------------------------ 3: UDP's two zeros
def right_udp(value: int, words: Words) -> int:
    """UDP's checksum after words have changed: none stays none, and a computed 0 is sent as 0xFFFF."""
    return (repaired(value, words) or 0xFFFF) if value else 0


def repaired(value: int, words: Words) -> int:
    """A checksum after words have changed."""
    for old, new in words:
        value = checksum.update16(value, old, new)
    return value


def udp_cases(seed: int) -> list[Case]:
    """No word and one word; then none sent; then results that come out as 0; then random ones."""
    rng = random.Random(seed)

    def words(count: int) -> Words:
        return [(rng.getrandbits(16), rng.getrandbits(16)) for _ in range(count)]

    found = [(0x1234, []), (0x1234, [(80, 8080)])]
    found += [(0, words(count)) for count in (0, 1, 3)]
    for _ in range(6):
        value, some = rng.randrange(1, 0xFFFF), words(2)
        missing = repaired(value, some)
        found.append((value, [*some, (0, missing)]))
    return [Case(one) for one in found + [(rng.randrange(1, 0x10000), words(rng.randrange(5))) for _ in range(80)]]


UDP = Exercise(
    names=("value", "words"),
    right=right_udp,
    praise="Right in all {cases} cases: no checksum stays none, and no computed zero is sent.",
    mistakes=(
        Mistake(
            "none_repaired",
            lambda value, words: repaired(value, words) or 0xFFFF,
            "The sender sent no checksum: 0. You repaired it, and now there is one, and it is wrong.",
        ),
        Mistake(
            "zero_sent",
            lambda value, words: repaired(value, words) if value else 0,
            "Your result is 0, and to a receiver 0 says: there is none. Send 0xffff, which adds up to the same.",
        ),
        Mistake(
            "both_zeros", repaired, "You treat UDP as TCP. A 0 that comes in means none; a 0 that results is 0xffff."
        ),
        Mistake(
            "none_becomes_ones",
            lambda value, words: (repaired(value, words) if value else 0) or 0xFFFF,
            "Where the sender sent none you send 0xffff: a checksum, and a wrong one.",
        ),
        Mistake(
            "first_word_only",
            lambda value, words: right_udp(value, words[:1]),
            "You repair for the first word only.",
        ),
    ),
    properties=(Property("not_sixteen_bits", sixteen_bits),),
)


def check_udp(repair_udp: Any, seed: int = 1) -> Verdict:
    """Exercise 3: repair_udp(value, words) -> UDP's checksum after words have changed."""
    return judge(UDP, repair_udp, udp_cases(seed))
