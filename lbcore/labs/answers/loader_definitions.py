"""Lab 05, exercise 3: answers that must pass, and mistakes with the key of the hint each must get.

Rule of this file: no answer shares code with the checker, which has its own models of the mistakes.
"""

# mypy: ignore-errors

from lbcore.labs.answers import Answers

ANSWERS = Answers()
RIGHT, WRONG, right, wrong = ANSWERS.RIGHT, ANSWERS.WRONG, ANSWERS.right, ANSWERS.wrong

NAMES = ["type", "key_size", "value_size", "max_entries", "map_flags"]
SIZES = {"key_size": "key", "value_size": "value"}


@right("maps")
def maps_plain(types):
    found = []
    for one in types:
        if one.kind == "section" and one.name == ".maps":
            for name, number in one.members:
                struct_type = types[types[number].to]
                numbers = dict.fromkeys(NAMES, 0)
                for member, pointer in struct_type.members:
                    pointed = types[types[pointer].to]
                    if member in ("key", "value"):
                        numbers[member + "_size"] = pointed.size
                    else:
                        numbers[member] = pointed.length
                found.append((name, *numbers.values()))
    return found


@right("maps")
def maps_recursive(types):
    def behind(number, *kinds):
        return types[number] if types[number].kind in kinds else behind(types[number].to, *kinds)

    def field(members, name):
        if name in members:
            return behind(members[name], "array").length
        return types[types[members[SIZES[name]]].to].size if SIZES.get(name) in members else 0

    section = [one for one in types if (one.kind, one.name) == ("section", ".maps")]
    listed = [(name, dict(behind(number, "struct").members)) for one in section for name, number in one.members]
    return [[name, *(field(members, one) for one in NAMES)] for name, members in listed]


def define(types, read, variables=None):
    section = next((one for one in types if (one.kind, one.name) == ("section", ".maps")), None)
    listed = section.members if section else ()
    return [(name, *read(dict(types[types[number].to].members))) for name, number in variables or listed]


def numbers(types, sized):
    """Reads all fields; what a size is, `sized` says, of the pointer in member key or value."""

    def read(members):
        lengths = {name: types[types[at].to].length for name, at in members.items()}
        sizes = {name: sized(types[members[member]]) for name, member in SIZES.items() if member in members}
        return [(lengths | sizes).get(name, 0) for name in NAMES]

    return read


@wrong("maps", "one_step_short")
def maps_type_numbers(types):
    def read(members):
        found = {member: types[at].to for member, at in members.items()}
        return [found.get(name, found.get(SIZES.get(name), 0)) for name in NAMES]

    return define(types, read)


@wrong("maps", "by_place")
def maps_by_place(types):
    def read(members):
        pointed = [(member, types[types[at].to]) for member, at in members.items()]
        return [one.size if member in SIZES.values() else one.length for member, one in pointed]

    return define(types, read)


@wrong("maps", "untyped")
def maps_of_numbers_only(types):
    return define(types, lambda members: [types[types[members[n]].to].length if n in members else 0 for n in NAMES])


@wrong("maps", "length_not_size")
def maps_lengths_of_keys(types):
    return define(types, numbers(types, lambda pointer: types[pointer.to].length))


@wrong("maps", "size_of_the_pointer")
def maps_sizes_of_pointers(types):
    return define(types, numbers(types, lambda pointer: pointer.size))


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
    return define(types, numbers(types, lambda pointer: types[pointer.to].size), listed)


@wrong("maps", "wrong_form")
def maps_dictionary(types):
    return {one[0]: one[1:] for one in maps_plain(types)}


@wrong("maps", "wrong_form")
def maps_sorted(types):
    return sorted(maps_plain(types), reverse=True)


@wrong("maps", "wrong_form")
def maps_without_flags(types):
    return [one[:5] for one in maps_plain(types)]
