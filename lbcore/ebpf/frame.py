"""What stands around a program in its object file: its entry, its maps, its licence, as LLVM assembly.

Rule of this file: text in, text out, and the names in it. It knows what loaders look for: a function in a section that
says its kind, variables in `.maps` whose BTF type says everything about the map, four letters in `license`.

Theory. A map's definition is a variable without content. All is in the type that debug information gives it, a struct
of pointers: `int (*max_entries)[256]` says 256, and `struct flows_key *key` what a key is, field by field. LLVM turns
debug information into BTF, so that a loader needs no compiler to read it, and whoever dumps a map sees names instead
of bytes; libbpf's macros __uint and __type are the same trick in C.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from itertools import pairwise
from typing import Any

from llvmlite import binding as llvm

from lbcore.ebpf import target
from lbcore.ebpf.contexts import Kind
from lbcore.ebpf.emitter import LAYOUT, TRIPLE
from lbcore.ebpf.layouts import Field, Layout
from lbcore.ebpf.maps import Map
from lbcore.ebpf.storage import KINDS

LICENSE = "GPL"
"""Some helpers, printing among them, are only for programs under the kernel's own licence."""

NO_PREALLOC = 1
"""BPF_F_NO_PREALLOC, which the kernel wants of every trie."""

C_NAMES = {1: "unsigned char", 2: "unsigned short", 4: "unsigned int", 8: "unsigned long long"}

UNTYPED = ("devmap", "devmap_hash", "cpumap", "xskmap", "prog_array", "ringbuf")
"""Kinds of maps for which the kernel takes no types: what they hold is its own business."""

RESULTS = {"int64": "i64", "uint64": "i64", "int32": "i32", "uint32": "i32", "bool": "i8"}
"""What a program may return, and what that is in memory; and literals, which are int64."""


class Metadata:
    """Numbered nodes of LLVM metadata."""

    def __init__(self) -> None:
        self.nodes: list[str] = []

    def add(self, text: str, *, distinct: bool = False) -> str:
        """A node, as what others call it."""
        self.nodes.append(f"{'distinct ' if distinct else ''}!{text}")
        return f"!{len(self.nodes) - 1}"

    def __str__(self) -> str:
        return "\n".join(f"!{number} = {node}" for number, node in enumerate(self.nodes))


def text(function: Callable[..., Any], lowered: target.Lowered, kind: Kind, maps: list[Map]) -> str:
    """The module to be linked with the lowered function; the entry has the function's own name."""
    meta = Metadata()
    code = function.__code__
    folder, name = os.path.split(code.co_filename)
    file = meta.add(f"DIFile(filename: {quoted(name)}, directory: {quoted(folder)})")
    unit = meta.add(
        f'DICompileUnit(language: DW_LANG_C, file: {file}, producer: "lbcore", '
        "emissionKind: DebugDirectivesOnly, globals: !2)",
        distinct=True,
    )
    meta.add("")  # !2: the variables, known further down
    definitions = [_define(map_, meta, file, unit) for map_ in maps]
    meta.nodes[2] = f"!{{{', '.join(expression for expression, _ in definitions)}}}"
    number = meta.add('DIBasicType(name: "int", size: 32, encoding: DW_ATE_signed)')
    pointer = meta.add("DIDerivedType(tag: DW_TAG_pointer_type, baseType: null, size: 64)")
    proto = meta.add(f"DISubroutineType(types: !{{{number}, {pointer}}})")
    where = f"scope: {file}, file: {file}, line: {code.co_firstlineno}"
    # The kernel takes no function type in which an argument has no name; names are those of variables kept for it.
    kept = meta.add("")
    entry = meta.add(
        f"DISubprogram(name: {quoted(function.__name__)}, {where}, type: {proto}, unit: {unit}, "
        f"spFlags: DISPFlagDefinition, retainedNodes: {kept})",
        distinct=True,
    )
    context = meta.add(f'DILocalVariable(name: "context", arg: 1, scope: {entry}, file: {file}, type: {pointer})')
    meta.nodes[int(kept[1:])] = f"!{{{context}}}"
    line = meta.add(f"DILocation(line: {code.co_firstlineno}, scope: {entry})")
    version = meta.add('{i32 2, !"Debug Info Version", i32 3}')
    width = RESULTS.get(str(lowered.result), "i64")
    shorter = (
        "add i32 %result, 0" if width == "i32" else f"{'trunc' if width == 'i64' else 'zext'} {width} %result to i32"
    )
    return f"""
target triple = "{TRIPLE}"
target datalayout = "{LAYOUT}"
{chr(10).join(variable for _, variable in definitions)}
@_license = constant [{len(LICENSE) + 1} x i8] c"{LICENSE}\\00", section "license"
declare i32 @{quoted(lowered.name)}(ptr, ptr, i64)
define i32 @{quoted(function.__name__)}(ptr %context) section "{kind.section}" !dbg {entry} {{
  %place = alloca {width}, align 8
  %excuse = alloca ptr, align 8
  %address = ptrtoint ptr %context to i64, !dbg {line}
  %status = call i32 @{quoted(lowered.name)}(ptr %place, ptr %excuse, i64 %address), !dbg {line}
  %result = load {width}, ptr %place, !dbg {line}
  %verdict = {shorter}, !dbg {line}
  %good = icmp eq i32 %status, 0, !dbg {line}
  %answer = select i1 %good, i32 %verdict, i32 {kind.default}, !dbg {line}
  ret i32 %answer, !dbg {line}
}}
!llvm.dbg.cu = !{{{unit}}}
!llvm.module.flags = !{{{version}}}
{meta}
"""


def _define(map_: Map, meta: Metadata, file: str, unit: str) -> tuple[str, str]:
    """The metadata of one map's variable, and the variable."""
    number = meta.add('DIBasicType(name: "int", size: 32, encoding: DW_ATE_signed)')
    facts: dict[str, str] = {}
    for name, value in (
        ("type", KINDS[map_.kind].number),
        ("max_entries", map_.max_entries),
        ("map_flags", NO_PREALLOC if map_.kind == "lpm_trie" else 0),
    ):
        facts[name] = _count(meta, number, value)
    for what, layout in (("key", map_.key), ("value", map_.value)):
        if map_.kind in UNTYPED:
            facts[f"{what}_size"] = _count(meta, number, layout.size)
        else:
            facts[what] = _type(meta, file, f"{map_.name}_{what}", layout)
    members = [
        _member(meta, file, name, _pointer(meta, kind), 8, 8 * i) for i, (name, kind) in enumerate(facts.items())
    ]
    elements = ", ".join(members)
    struct = meta.add(
        f"DICompositeType(tag: DW_TAG_structure_type, file: {file}, line: 1, size: {64 * len(facts)}, "
        f"elements: !{{{elements}}})",
        distinct=True,
    )
    variable = meta.add(
        f"DIGlobalVariable(name: {quoted(map_.name)}, scope: {unit}, file: {file}, line: 1, type: {struct}, "
        "isLocal: false, isDefinition: true)",
        distinct=True,
    )
    expression = meta.add(f"DIGlobalVariableExpression(var: {variable}, expr: !DIExpression())")
    return expression, (
        f"@{quoted(map_.name)} = global [{len(facts)} x ptr] zeroinitializer, "
        f'section ".maps", align 8, !dbg {expression}'
    )


def _count(meta: Metadata, number: str, value: int) -> str:
    """An array type that is as long as the value says."""
    count = meta.add(f"DISubrange(count: {value})")
    return meta.add(
        f"DICompositeType(tag: DW_TAG_array_type, baseType: {number}, size: {32 * value}, elements: !{{{count}}})"
    )


def _pointer(meta: Metadata, kind: str) -> str:
    return meta.add(f"DIDerivedType(tag: DW_TAG_pointer_type, baseType: {kind}, size: 64)")


def _member(meta: Metadata, file: str, name: str, kind: str, size: int, offset: int) -> str:
    """A member of a struct; size and offset in bytes."""
    return meta.add(
        f"DIDerivedType(tag: DW_TAG_member, name: {quoted(name)}, file: {file}, line: 1, baseType: {kind}, "
        f"size: {8 * size}, offset: {8 * offset})"
    )


def _type(meta: Metadata, file: str, name: str, layout: Layout) -> str:
    """The type of a key or value: a number, or a struct."""
    kinds = [_number(meta, file, field) for field in layout.fields]
    if layout.single:
        return kinds[0]
    fields = zip(layout.names, kinds, layout.fields, layout.offsets, strict=True)
    members = [_member(meta, file, one, kind, field.size, offset) for one, kind, field, offset in fields]
    return meta.add(
        f"DICompositeType(tag: DW_TAG_structure_type, name: {quoted(name)}, file: {file}, line: 1, "
        f"size: {8 * layout.size}, elements: !{{{', '.join(members)}}})",
        distinct=True,
    )


def _number(meta: Metadata, file: str, field: Field) -> str:
    """An unsigned number; the type of one in network order has a name that says so."""
    kind = meta.add(f'DIBasicType(name: "{C_NAMES[field.size]}", size: {8 * field.size}, encoding: DW_ATE_unsigned)')
    if field.order == "little":
        return kind
    return meta.add(
        f'DIDerivedType(tag: DW_TAG_typedef, name: "__be{8 * field.size}", file: {file}, line: 1, baseType: {kind})'
    )


def quoted(name: str) -> str:
    """A name as LLVM assembly writes it."""
    plain = set(b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-/ ")
    return '"' + "".join(chr(byte) if byte in plain else f"\\{byte:02X}" for byte in name.encode()) + '"'


def maps_of(module: llvm.ModuleRef) -> list[Map]:
    """The maps a lowered module refers to, sorted by name. ValueError if two have the same name."""
    known = target.maps()
    used = sorted((known[one.name] for one in module.global_variables if one.name in known), key=lambda one: one.name)
    for one, following in pairwise(used):
        if one.name == following.name:
            raise ValueError(f"two maps are called {one.name!r}: an object knows its maps by name")
    return used
