"""Every key of a configuration, as a table that is made from the structs themselves: it cannot be out of date.

Rule of this file: it reads types and their documentation, and prints. What a key means is written where the key is: in
the text under the field, or in the class's, as `key: what it means`.
"""

from __future__ import annotations

import ast
import inspect
import re
import textwrap
from collections.abc import Iterator
from typing import Any, Final, NamedTuple

import msgspec
from msgspec import inspect as types

from lbcore.l7.config.toml_struct import in_words


class Key(NamedTuple):
    """One row. name: `listen[].tls.alpn`; after `kind = ...` in brackets, of that kind alone."""

    name: str
    kind: str
    default: str
    meaning: str


def keys(struct: type[Any]) -> list[Key]:
    """All keys of a file that is read as this struct, in order."""
    return list(_of("", types.type_info(struct)))


def table(rows: list[Key]) -> str:
    """As Markdown."""
    lines = ["| key | value | if left out | meaning |", "|---|---|---|---|"]
    lines += ["| " + " | ".join(cell.replace("|", "\\|") for cell in (f"`{row[0]}`", *row[1:])) + " |" for row in rows]
    return "\n".join(lines)


ELSEWHERE: Final = {"route[].filter[]"}
"""What is listed in full at another place."""


def _of(place: str, wanted: types.Type) -> Iterator[Key]:
    """The keys inside of a value of this type."""
    if isinstance(wanted, types.Metadata):
        yield from _of(place, wanted.type)
    elif isinstance(wanted, types.UnionType):
        for one in wanted.types:
            yield from _of(place, one)
    elif isinstance(wanted, types.CollectionType):
        yield from _of(f"{place}[]", wanted.item_type)
    elif isinstance(wanted, types.DictType):
        yield from _of(f"{place}.NAME", wanted.value_type)
    elif isinstance(wanted, types.StructType | types.DataclassType) and place not in ELSEWHERE:
        yield from _struct(place, wanted)


def _struct(place: str, wanted: types.StructType | types.DataclassType) -> Iterator[Key]:
    if isinstance(wanted, types.StructType) and wanted.tag is not None:
        yield Key(f'{place}.{wanted.tag_field} = "{wanted.tag}"', "", "", _first(wanted.cls))
        place = f"{place}({wanted.tag})"
    meanings = documentation(wanted.cls)
    for field in wanted.fields:
        name = f"{place}.{field.encode_name}".removeprefix(".")
        meaning = meanings.get(field.name) or _first(_class_of(field.type))
        yield Key(name, in_words(field.type), _default(field), meaning)
        yield from _of(name, field.type)


def _class_of(wanted: types.Type) -> type[Any] | None:
    """The one struct that a value is, if it is one: a section means what its class says."""
    if isinstance(wanted, types.UnionType):
        there = [one for one in wanted.types if not isinstance(one, types.NoneType)]
        return _class_of(there[0]) if len(there) == 1 else None
    return wanted.cls if isinstance(wanted, types.StructType | types.DataclassType) else None


def _default(field: Any) -> str:
    if field.required:
        return "(needed)"
    value = field.default if field.default is not msgspec.NODEFAULT else field.default_factory()
    if value is None or value in ("", (), {}, []):
        return "none"
    if isinstance(value, msgspec.Struct) or hasattr(value, "__dataclass_fields__"):
        return "as below"
    if isinstance(value, bool):
        return str(value).lower()
    return ", ".join(map(str, value)) if isinstance(value, tuple) else str(value)


def _first(kind: type[Any] | None) -> str:
    """The first paragraph of a class's documentation, in one line."""
    return " ".join((inspect.getdoc(kind) or "").split("\n\n")[0].split()) if kind else ""


def documentation(kind: type[Any]) -> dict[str, str]:
    """What the fields of a class mean, in one line each."""
    found: dict[str, str] = {}
    for base in reversed(kind.__mro__):
        if base.__module__.startswith("lbcore."):
            found |= _from_words(base) | _from_source(base)
    return found


def _from_source(kind: type[Any]) -> dict[str, str]:
    """The text under a field."""
    tree = ast.parse(textwrap.dedent(inspect.getsource(kind))).body[0]
    assert isinstance(tree, ast.ClassDef)
    found = {}
    for field, text in zip(tree.body, tree.body[1:], strict=False):
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name) and isinstance(text, ast.Expr):
            value = getattr(text.value, "value", None)
            if isinstance(value, str):
                found[field.target.id] = " ".join(value.split())
    return found


def _from_words(kind: type[Any]) -> dict[str, str]:
    """`name: meaning` in the class's text; `a, b: meaning` is both's."""
    text = " ".join((kind.__doc__ or "").split())
    names = sorted(inspect.get_annotations(kind), key=len, reverse=True)
    if not names:
        return {}
    any_name = "|".join(map(re.escape, names))
    heads = list(re.finditer(rf"\b((?:{any_name})(?:, (?:or )?(?:{any_name}))*)(?: with [^:.]*)?: ", text))
    found: dict[str, str] = {}
    for head, after in zip(heads, [*heads[1:], None], strict=False):
        meaning = text[head.end() : after.start() if after else len(text)].strip()
        found |= dict.fromkeys(re.findall(any_name, head[1]), meaning)
    return found
