"""From TOML to structs: what is right is made, and of what is wrong every line is told, all at once.

Rule of this file: it knows types, and nothing about proxies. What the types cannot say (a pool that nobody defined) is
for whoever reads the file to look at, with `complain`.

Theory. msgspec checks a value against a type in microseconds, and stops at the first mistake. A person who mends a file
wants all of them, with the line each stands in. So the types of the fields, which msgspec can tell, are walked through
together with what TOML has read; a struct is made when all of its fields are right, and may then still refuse what no
field shows by itself, with a ValueError that begins with the field's name.

Traps
- TOML has `nan` and `inf`. A timeout of nan seconds is over before it begins, or never: neither is a number here.
- A key that is silently ignored is a setting that somebody believes in: unknown ones are complaints.
"""

from __future__ import annotations

import difflib
import math
import re
import tomllib
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Annotated, Any, Final, Literal, TypeVar

import msgspec
from msgspec import inspect as types

from lbcore.l4.toml_lines import Place, lines_of

T = TypeVar("T")
WRONG: Final = object()
"""What a wrong value becomes: a complaint has been made."""
BLAMED: Final = re.compile(r"[A-Za-z_]\w*(?:\.\w+|\[\d+\])*")
"""What a ValueError begins with: `certificates[0].key is ...`."""
PART: Final = re.compile(r"\[(\d+)\]|(\w+)")
SECRETS: Final = frozenset({"key", "keys", "password", "passwords", "secret", "secrets", "token", "tokens", "users"})
"""Keys whose values no complaint shows."""
MISSED: Final = re.compile(r"is '(\w+)'.*one of ([\w.-]+(?:, [\w.-]+)+)$")
"""A word that is none of those."""
KINDS: Final = {str: "text in quotes", int: "a whole number", float: "a number", bool: "true or false"}
MOST: Final = (1 << 63) - 1  # what TOML promises of whole numbers, and all that anybody needs
LONGEST: Final = 60
"""Letters of a value in a complaint."""


class BadConfig(ValueError):
    """All that is wrong with a file, one complaint a line: `name:line: key is value, wanted ...`."""


class Reader:
    """Goes through what TOML has read, and notes what is wrong. ValueError: it is no TOML at all."""

    def __init__(self, data: bytes, name: str) -> None:
        self.name = name
        self.made: dict[Place, Any] = {}
        """Every struct that could be made, by its place: what is wrong with one says nothing about the others."""
        self.complaints: list[tuple[int, str]] = []
        try:
            text = data.decode()
            self.told = tomllib.loads(text)
            self.lines: Mapping[Place, int] = lines_of(text)
        except UnicodeDecodeError as error:
            line = data.count(b"\n", 0, error.start) + 1
            raise BadConfig(f"{name}:{line}: byte {data[error.start]:#04x}: TOML is text in UTF-8") from None
        except tomllib.TOMLDecodeError as error:
            line = int(found[1]) if (found := re.search(r"at line (\d+)", str(error))) else text.count("\n") + 1
            raise BadConfig(f"{name}:{line}: {error}") from None
        except (ValueError, RecursionError) as error:  # a number of 5000 digits, a date in February's fifth week
            why = "nested too deep" if isinstance(error, RecursionError) else str(error)
            raise BadConfig(f"{name}:1: {why}") from None

    def read(self, wanted: type[T]) -> T | None:
        """The whole file as this struct; None: there are complaints."""
        made = self.value((), self.told, types.type_info(wanted))
        return None if made is WRONG else made  # type: ignore[return-value]

    def end(self) -> None:
        """BadConfig if anything was wrong."""
        if self.complaints:
            raise BadConfig("\n".join(text for _, text in sorted(set(self.complaints))))

    def complain(self, place: Place, text: str) -> None:
        """Note it, with the line of the place, or of what it stands in."""
        known = (self.lines[place[:size]] for size in range(len(place), 0, -1) if place[:size] in self.lines)
        line = next(known, 1)
        self.complaints.append((line, f"{self.name}:{line}: {text}"))

    def blame(self, place: Place, error: ValueError, names: Mapping[str, str] | None = None) -> None:
        """Note what a struct said of itself: its words begin with the field that is to blame, if it is one's fault.
        names: of its fields, as they stand in the file."""
        words = str(error)
        found = BLAMED.match(words)
        if missed := MISSED.search(words):
            words += suggestion(missed[1], missed[2].split(", "))
        inner = [int(part[1]) if part[1] else part[2] for part in PART.finditer(found[0] if found else "")]
        there = (*place, *((names or {}).get(str(part), part) for part in inner[:1]), *inner[1:])
        if found and lookup(self.told, there[: len(place) + 1]) is not WRONG:
            self.complain(there, f"{written(there)}{words[found.end() :]}")
        else:
            self.complain(place, f"{written(place)}: {words}" if place else words)

    def value(self, place: Place, told: Any, wanted: types.Type) -> Any:
        """`told` as a value of the wanted type, or WRONG."""
        if isinstance(wanted, types.Metadata):
            return self.value(place, told, wanted.type)
        if isinstance(wanted, types.UnionType):
            return self.union(place, told, wanted)
        if isinstance(wanted, types.StructType | types.DataclassType):
            return self.struct(place, told, wanted) if isinstance(told, dict) else self.wrong(place, told, wanted)
        if isinstance(wanted, types.DictType):
            return self.table(place, told, wanted) if isinstance(told, dict) else self.wrong(place, told, wanted)
        if isinstance(wanted, types.CollectionType):
            return self.array(place, told, wanted) if isinstance(told, list) else self.wrong(place, told, wanted)
        try:
            if (isinstance(told, float) and not math.isfinite(told)) or (isinstance(told, int) and abs(told) > MOST):
                return self.wrong(place, told, wanted)
            return msgspec.convert(told, as_type(wanted))
        except (msgspec.ValidationError, OverflowError):
            return self.wrong(place, told, wanted)

    def wrong(self, place: Place, told: Any, wanted: types.Type) -> Any:
        """The complaint that the types are enough for."""
        near = ""
        if isinstance(wanted, types.LiteralType | types.EnumType) and isinstance(told, str):
            near = suggestion(told, map(str, choices(wanted)))
        value = shown(told) if SECRETS.isdisjoint(place) else f"of type {type(told).__name__}"
        self.complain(place, f"{written(place)} is {value}, wanted {in_words(wanted)}{near}")
        return WRONG

    def union(self, place: Place, told: Any, wanted: types.UnionType) -> Any:
        """One of several types: there is no null in TOML; structs are told apart by their tag, others by trying."""
        those = [one for one in wanted.types if not isinstance(one, types.NoneType)]
        structs = {one.tag: one for one in those if isinstance(one, types.StructType) and one.tag is not None}
        if len(those) == 1:
            return self.value(place, told, those[0])
        if isinstance(told, dict) and structs:
            field = str(next(iter(structs.values())).tag_field)
            if field not in told:
                self.complain(place, f"{written((*place, field))}: missing, wanted {one_of(structs)}")
                return WRONG
            tag = told[field]
            if not isinstance(tag, str) or tag not in structs:
                near = suggestion(tag, map(str, structs)) if isinstance(tag, str) else ""
                here = (*place, field)
                self.complain(here, f"{written(here)} is {shown(tag)}, wanted {one_of(structs)}{near}")
                return WRONG
            return self.struct(place, told, structs[tag])
        for one in those:
            if fits_shape(told, one):
                return self.value(place, told, one)
        return self.wrong(place, told, wanted)

    def struct(self, place: Place, told: Mapping[str, Any], wanted: types.StructType | types.DataclassType) -> Any:
        fields = {field.encode_name: field for field in wanted.fields}
        tag = wanted.tag_field if isinstance(wanted, types.StructType) else None
        names = [*([tag] if tag else []), *fields]
        good, right = {}, True
        for name, value in told.items():
            if name in fields:
                made = self.value((*place, name), value, fields[name].type)
                right = right and made is not WRONG
                good[fields[name].name] = made
            elif name != tag:
                here, right = (*place, name), False
                near = suggestion(name, names)
                self.complain(here, f"{written(here)}: no such key{near}; there are {', '.join(names)}")
        for name, field in fields.items():
            if field.required and name not in told:
                right = False
                self.complain(place, f"{written((*place, name))}: missing, wanted {in_words(field.type)}")
        if not right:
            return WRONG
        try:
            self.made[place] = wanted.cls(**good)
        except ValueError as error:
            self.blame(place, error, {field.name: name for name, field in fields.items()})
            return WRONG
        return self.made[place]

    def table(self, place: Place, told: Mapping[str, Any], wanted: types.DictType) -> Any:
        made = {}
        for name, value in told.items():
            key = self.value((*place, name), name, wanted.key_type)
            one = self.value((*place, name), value, wanted.value_type)
            if key is not WRONG:
                made[key] = one
        return WRONG if any(one is WRONG for one in made.values()) or len(made) < len(told) else made

    def array(self, place: Place, told: list[Any], wanted: types.CollectionType) -> Any:
        made = [self.value((*place, number), one, wanted.item_type) for number, one in enumerate(told)]
        if any(one is WRONG for one in made):
            return WRONG
        if not (wanted.min_length or 0) <= len(made) <= (len(made) if wanted.max_length is None else wanted.max_length):
            return self.wrong(place, told, wanted)
        kind: Callable[[list[Any]], Any] = list
        if isinstance(wanted, types.VarTupleType):
            kind = tuple
        elif isinstance(wanted, types.SetType | types.FrozenSetType):
            kind = frozenset
        return kind(made)


def lookup(told: Any, place: Place) -> Any:
    """What stands at a place, or WRONG."""
    for part in place:
        try:
            told = told[part]
        except (KeyError, IndexError, TypeError):
            return WRONG
    return told


def fits_shape(told: Any, wanted: types.Type) -> bool:
    """Is the value of this kind at all, right or wrong? A whole number is a number too."""
    if isinstance(wanted, types.Metadata):
        return fits_shape(told, wanted.type)
    shapes: list[tuple[type, tuple[type, ...]]] = [
        (types.BoolType, (bool,)),
        (types.IntType, (int,)),
        (types.FloatType, (int, float)),
        (types.StrType, (str,)),
        (types.LiteralType, tuple({type(one) for one in getattr(wanted, "values", ())})),
        (types.CollectionType, (list,)),
        (types.DictType, (dict,)),
        (types.StructType, (dict,)),
        (types.DataclassType, (dict,)),
    ]
    kinds = next((kinds for shape, kinds in shapes if isinstance(wanted, shape)), ())
    return isinstance(told, kinds) and (not isinstance(told, bool) or bool in kinds)


def as_type(wanted: types.Type) -> Any:
    """What msgspec can convert to, of a type as it describes it."""
    plain = {types.BoolType: bool, types.IntType: int, types.FloatType: float, types.StrType: str, types.AnyType: Any}
    if isinstance(wanted, types.LiteralType):
        return Literal[tuple(wanted.values)]
    if isinstance(wanted, types.EnumType):
        return wanted.cls
    kind = plain[type(wanted)]
    names = ("gt", "ge", "lt", "le", "multiple_of", "pattern", "min_length", "max_length")
    limits = {name: value for name in names if (value := getattr(wanted, name, None)) is not None}
    if limits:
        return Annotated[kind, msgspec.Meta(**limits)]
    return kind


def choices(wanted: types.LiteralType | types.EnumType) -> Iterable[Any]:
    """The values that there are."""
    return wanted.values if isinstance(wanted, types.LiteralType) else [one.value for one in wanted.cls]


def one_of(words: Iterable[Any]) -> str:
    return f"one of {', '.join(map(str, words))}"


def in_words(wanted: types.Type) -> str:
    """A type, as a person would say what is wanted."""
    if isinstance(wanted, types.Metadata):
        return in_words(wanted.type)
    if isinstance(wanted, types.UnionType):
        those = [in_words(one) for one in wanted.types if not isinstance(one, types.NoneType)]
        return " or ".join(dict.fromkeys(those))
    if isinstance(wanted, types.LiteralType | types.EnumType):
        return one_of(choices(wanted))
    if isinstance(wanted, types.StructType | types.DataclassType):
        return "a table"
    if isinstance(wanted, types.DictType):
        return f"a table of {in_words(wanted.value_type)}"
    if isinstance(wanted, types.CollectionType):
        least = f"at least {wanted.min_length}, " if wanted.min_length else ""
        return f"a list ({least}each {in_words(wanted.item_type)})"
    if isinstance(wanted, types.IntType | types.FloatType):
        return f"{KINDS[int if isinstance(wanted, types.IntType) else float]}{''.join(limits_of(wanted))}"
    if isinstance(wanted, types.StrType):
        like = f" like {wanted.pattern}" if wanted.pattern else " that is not empty" if wanted.min_length else ""
        return KINDS[str] + like
    return KINDS[bool] if isinstance(wanted, types.BoolType) else "anything"


def limits_of(wanted: types.IntType | types.FloatType) -> Iterator[str]:
    """What a number has to be, in words."""
    if wanted.ge is not None and wanted.le is not None:
        yield f" from {wanted.ge} to {wanted.le}"
        return
    names = {"ge": "at least", "gt": "more than", "le": "at most", "lt": "less than"}
    said = [f"{words} {limit:g}" for name, words in names.items() if (limit := getattr(wanted, name)) is not None]
    if said:
        yield ", " + ", ".join(said)


def suggestion(word: str, there: Iterable[str]) -> str:
    """'; did you mean ...?', or nothing."""
    near = difflib.get_close_matches(word, list(there), 1)
    return f"; did you mean {near[0]}?" if near else ""


def shown(value: Any) -> str:
    """A value in a complaint, not too long."""
    text = repr(value)
    return text if len(text) <= LONGEST else text[: LONGEST - 3] + "..."


def written(place: Place) -> str:
    """service[1].backend[2].port: numbers count from 1, as people do."""
    text = "".join(f"[{part + 1}]" if isinstance(part, int) else f".{part}" for part in place)
    return text.removeprefix(".")
