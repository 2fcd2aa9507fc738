"""Lab 05, exercise 3: the maps that a program wants, from the types that define them.

Rule of this file: specification, cases and hints.

Theory. A map's definition is a variable in section .maps, and all that matters of it is its type: a struct whose
members are pointers. Some point to arrays, whose lengths are numbers; two, `key` and `value`, may point to the types
of what the map will hold, whose sizes are what the kernel is told. Nobody ever makes such an array or such a pointer.
It is a way to write all this so that it survives in the debugging information, which a compiler leaves alone.

Trap. A size may also be given as a number, `key_size`, with no type at all; kinds without keys have neither.
"""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import Any

from lbcore.labs.judge import Case, Exercise, Mistake, Property, Verdict, judge
from lbcore.labs.loader.objects import PROGRAMS, Type, compiled, types

FIELDS = ("type", "key_size", "value_size", "max_entries", "map_flags")
TYPED = {"key": "key_size", "value": "value_size"}
"""Members that point to a type of what the map holds, and the field that its size is."""


def right_maps(types: Sequence[Type], **flaws: bool) -> list[Any]:
    """(name, type, key_size, value_size, max_entries, map_flags) of every map, in the order of section .maps.

    For models of mistakes: by_place: members taken in the order in which they stand; short: the number of the type
    pointed to instead of what it says; untyped: no heed of `key` and `value`; lengths: their lengths, not their sizes;
    pointers: the size of the pointer to them.
    """

    def number(member: str, at: int) -> int:
        pointed = types[types[at].to]
        if flaws.get("short"):
            return types[at].to
        if member not in TYPED or flaws.get("lengths"):
            return pointed.length
        return 0 if flaws.get("untyped") else types[at].size if flaws.get("pointers") else pointed.size

    listed = next((one.members for one in types if (one.kind, one.name) == ("section", ".maps")), ())
    found = []
    for name, variable in listed:
        members = types[types[variable].to].members
        counts = {TYPED.get(member, member): number(member, at) for member, at in members}
        values = list(counts.values()) if flaws.get("by_place") else [counts.get(field, 0) for field in FIELDS]
        found.append((name, *values))
    return found


def map_cases(seed: int) -> list[Case]:
    """Types of compiled objects, then drawn ones: members in any order, some left out, sizes given in both ways."""
    rng = Random(seed)
    made = [types(compiled(name).elf) for name in PROGRAMS]
    return [Case((one,)) for one in made + [drawn(rng, maps) for maps in (1, 2, 3, 4)]]


def drawn(rng: Random, maps: int) -> list[Type]:
    """Types that define so many maps, among others that do not."""
    made = [Type("other", "void", 0, 0, ()), Type("other", "int", 0, 0, (), 4)]

    def add(*fields: Any) -> int:
        made.append(Type(*fields))
        return len(made) - 1

    def map_struct() -> int:
        members = []
        typed = {size: member for member, size in TYPED.items() if rng.randrange(2)}
        for field in rng.sample(FIELDS, 4 + rng.randrange(2)):
            length = rng.choice([0, 1, 2, 4, 8, 16, 1024])
            pointed = held() if field in typed else add("array", "", 1, length, (), 4 * length)
            members.append((typed.get(field, field), add("pointer", "", pointed, 0, (), 8)))
        return add("struct", "", 0, 0, tuple(members), 8 * len(members))

    def held() -> int:
        """A type of keys or values: a number, a typedef of it, a struct, an array of bytes."""
        size = rng.choice([1, 2, 4, 12, 16, 20, 64])
        named, byte = add("other", "__be32", 1, 0, (), 4), add("other", "char", 0, 0, (), 1)
        struct = add("struct", "flow", 0, 0, (("port", named),), size)
        return rng.choice([1, named, struct, add("array", "", byte, size, (), size)])

    listed = []
    for number in range(maps):
        add("variable", f"unrelated{number}", 1, 0, ())
        name = rng.choice(["flows", "backends", "counters", "vips"]) + str(number)
        listed.append((name, add("variable", name, map_struct(), 0, ())))
    rng.shuffle(listed)
    add("section", ".rodata", 0, 0, (("unrelated0", 2),))
    add("section", ".maps", 0, 0, tuple(listed))
    return made


def definitions(answer: Any, types: Sequence[Type]) -> str | None:
    """A name and five numbers for each map."""
    if not isinstance(answer, list) or not all(isinstance(one, list) and len(one) == 6 for one in answer):
        return "Give back a list of tuples: a name, then five numbers (type, key, value, entries, flags)."
    if not all(type(one[0]) is str and all(type(n) is int for n in one[1:]) for one in answer):
        return "Each tuple is the variable's name, then five whole numbers; a member that is not there counts 0."
    wanted = [one[0] for one in right_maps(types)]
    if [one[0] for one in answer] != wanted:
        listed, got = (", ".join(names) or "nothing" for names in (wanted, [one[0] for one in answer]))
        return f"Section .maps lists {listed}, in this order; you give {got}."
    return None


MAPS = Exercise(
    names=("types",),
    right=right_maps,
    praise="Right: the maps of {cases} objects, the book's own and others, whatever order their members have.",
    mistakes=(
        Mistake(
            "one_step_short",
            lambda types: right_maps(types, short=True),
            "You stop one step early: a member's type is a pointer, and it points to an array (or, of `key` and "
            "`value`, to a type). What counts is the array's length (the type's size), not the number of its type.",
        ),
        Mistake(
            "untyped",
            lambda types: right_maps(types, untyped=True),
            "You find no size where a map has no member key_size, value_size. Then it has `key`, `value`: what these "
            "point to is a type, and its size is the number.",
        ),
        Mistake(
            "length_not_size",
            lambda types: right_maps(types, lengths=True),
            "You take the length of what `key` and `value` point to. That is no array written to hold a number, it is "
            "the type of a key: its .size counts.",
        ),
        Mistake(
            "size_of_the_pointer",
            lambda types: right_maps(types, pointers=True),
            "You take the size of the pointer, 8 for every map. The key is what it points to (.to).",
        ),
        Mistake(
            "by_place",
            lambda types: right_maps(types, by_place=True),
            "You take members in the order in which they stand. C lets a programmer write them in any order and leave "
            "some out: go by their names, 0 for what is missing.",
        ),
    ),
    properties=(Property("wrong_form", definitions),),
    advice={
        "KeyError": (
            "missing_member",
            "a map need not have every member: 0 for what is missing, but look for `key`, `value`.",
        ),
        "StopIteration": ("no_maps", "an object may have no section .maps: then the list is empty."),
        "IndexError": ("off_by_one", "types are numbered from 0, which is void: types[number], as it is."),
    },
)


def check_maps(maps: Any, seed: int = 1) -> Verdict:
    """Exercise 3: maps(types) -> [(name, type, key_size, value_size, max_entries, map_flags), ...]."""
    return judge(MAPS, maps, map_cases(seed))
