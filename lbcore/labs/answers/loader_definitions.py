"""Lab 05, exercise 3: answers that must pass, and mistakes with the key of the hint each must get.

Rule of this file: no answer shares code with the checker, which has its own models of the mistakes.
"""

# mypy: ignore-errors

from lbcore.labs.answers import Answers

ANSWERS = Answers()
RIGHT, WRONG, right, wrong = ANSWERS.RIGHT, ANSWERS.WRONG, ANSWERS.right, ANSWERS.wrong

NAMES = ["type", "key_size", "value_size", "max_entries", "map_flags"]


@right("maps")
def maps_plain(types):
    found = []
    for one in types:
        if one.kind == "section" and one.name == ".maps":
            for name, number in one.members:
                struct_type = types[types[number].to]
                numbers = dict.fromkeys(NAMES, 0)
                for member, pointer in struct_type.members:
                    numbers[member] = types[types[pointer].to].length
                found.append((name, *numbers.values()))
    return found


@right("maps")
def maps_recursive(types):
    def follow(number):
        one = types[number]
        if one.kind == "array":
            return one.length
        if one.kind == "struct":
            members = dict(one.members)
            return [follow(members[name]) if name in members else 0 for name in NAMES]
        return follow(one.to)

    section = [one for one in types if (one.kind, one.name) == ("section", ".maps")]
    return [[name, *follow(number)] for one in section for name, number in one.members]


def define(types, read, variables=None):
    section = next((one for one in types if (one.kind, one.name) == ("section", ".maps")), None)
    listed = section.members if section else ()
    return [(name, *read(dict(types[types[number].to].members))) for name, number in variables or listed]


@wrong("maps", "one_step_short")
def maps_type_numbers(types):
    return define(types, lambda members: [types[members[n]].to if n in members else 0 for n in NAMES])


@wrong("maps", "by_place")
def maps_by_place(types):
    return define(types, lambda members: [types[types[number].to].length for number in members.values()])


@wrong("maps", "missing_member")
def maps_all_members(types):
    return define(types, lambda members: [types[types[members[n]].to].length for n in NAMES])


@wrong("maps", "no_maps")
def maps_always_some(types):
    next(one for one in types if (one.kind, one.name) == ("section", ".maps"))
    return maps_plain(types)


@wrong("maps", "wrong_form")
def maps_every_variable(types):
    listed = [(one.name, number) for number, one in enumerate(types) if one.kind == "variable"]
    return define(types, lambda members: [types[types[members[n]].to].length if n in members else 0 for n in NAMES],
                  listed)  # fmt: skip


@wrong("maps", "wrong_form")
def maps_dictionary(types):
    return {one[0]: one[1:] for one in maps_plain(types)}


@wrong("maps", "wrong_form")
def maps_sorted(types):
    return sorted(maps_plain(types), reverse=True)


@wrong("maps", "wrong_form")
def maps_without_flags(types):
    return [one[:5] for one in maps_plain(types)]
