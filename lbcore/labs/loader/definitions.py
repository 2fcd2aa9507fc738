"""Lab 05, exercise 3: the maps that a program wants, from the types that define them.

Rule of this file: specification, cases and hints.

Theory. A map's definition is a variable in section .maps, and all that matters of it is its type: a struct whose
members are pointers to arrays, whose lengths are the numbers. Nobody ever makes such an array. It is a way to write
numbers so that they survive in the debugging information, which a compiler leaves alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import Any

from lbcore.labs.judge import Case, Exercise, Mistake, Property, Verdict, judge
from lbcore.labs.loader.objects import PROGRAMS, Type, compiled, types

FIELDS = ("type", "key_size", "value_size", "max_entries", "map_flags")


def right_maps(types: Sequence[Type], *, step: int = 0, by_place: bool = False, short: bool = False) -> list[Any]:
    """(name, type, key_size, value_size, max_entries, map_flags) of every map, in the order of section .maps.

    For models of mistakes: step: added to every number of a type; by_place: members taken in the order in which they
    stand; short: the number of the type instead of the length of the array.
    """
    listed = next((one.members for one in types if (one.kind, one.name) == ("section", ".maps")), ())
    found = []
    for name, number in listed:
        struct_type = types[types[number].to]
        counts = {
            member: types[pointer].to if short else types[types[pointer + step].to + step].length
            for member, pointer in struct_type.members
        }
        values = list(counts.values()) if by_place else [counts.get(field, 0) for field in FIELDS]
        found.append((name, *values))
    return found


def map_cases(seed: int) -> list[Case]:
    """Types of compiled objects, then drawn ones: members in any order, some left out, other variables between."""
    rng = Random(seed)
    made = [types(compiled(name).elf) for name in PROGRAMS]
    return [Case((one,)) for one in made + [drawn(rng, maps) for maps in (1, 2, 3, 4)]]


def drawn(rng: Random, maps: int) -> list[Type]:
    """Types that define so many maps, among others that do not."""
    made = [Type("other", "void", 0, 0, ()), Type("other", "int", 4, 0, ())]

    def add(*fields: Any) -> int:
        made.append(Type(*fields))
        return len(made) - 1

    def map_struct() -> int:
        members = []
        for field in rng.sample(FIELDS, 4 + rng.randrange(2)):
            array = add("array", "", 1, rng.choice([0, 1, 2, 4, 8, 16, 1024]), ())
            members.append((field, add("pointer", "", array, 0, ())))
        return add("struct", "", 0, 0, tuple(members))

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
            "You stop one step early: a member's type is a pointer, and it points to an array. The number is in the "
            "array's length, not in the number of its type.",
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
        "KeyError": ("missing_member", "a map need not have all five members: 0 for what is missing."),
        "StopIteration": ("no_maps", "an object may have no section .maps: then the list is empty."),
        "IndexError": ("off_by_one", "types are numbered from 0, which is void: types[number], as it is."),
    },
)


def check_maps(maps: Any, seed: int = 1) -> Verdict:
    """Exercise 3: maps(types) -> [(name, type, key_size, value_size, max_entries, map_flags), ...]."""
    return judge(MAPS, maps, map_cases(seed))
