"""What a program may be made of, checked when numba knows the types and before it generates code.

Rule of this file: one function per rule; each yields the places where it is broken. Only programs
and what they call are judged, not the machinery below them.
"""

from __future__ import annotations

import linecache
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numba
from numba import types
from numba.core import ir
from numba.core.analysis import compute_cfg_from_blocks
from numba.core.compiler import Compiler
from numba.core.compiler_machinery import FunctionPass, register_pass
from numba.core.typed_passes import NopythonTypeInference
from numba.core.untyped_passes import IRProcessing

from lbcore.ebpf import grammar
from lbcore.ebpf.errors import CompileError
from lbcore.ebpf.helpers import printk
from lbcore.ebpf.layouts_numba import EntryType, MapType

NUMBA, HERE = Path(numba.__file__).parent, Path(__file__).parent


def machinery(file: str) -> bool:
    """Does this source file implement what programs are written with? What goes wrong there is the caller's doing."""
    path = Path(file)
    return path.is_relative_to(NUMBA) or path.parent == HERE or path.name.endswith("_numba.py")


FORBIDDEN = {
    types.Float: "is a float: the kernel has no floating point; use // instead of /, and integers",
    types.Complex: "is a complex number: the kernel has no floating point",
    types.UnicodeType: "is a string: a program has only numbers (printk takes a literal)",
    types.Bytes: "is a bytes object: a program has only numbers; packet bytes are read with u8, u16, u32, u64",
    types.List: "is a list: a program cannot allocate memory; use a map",
    types.Set: "is a set: a program cannot allocate memory; use a map",
    types.DictType: "is a dictionary: a program cannot allocate memory; use a map",
    types.Array: "is an array: a program cannot reach memory of this process; use a map",
}

Place = tuple[Any, str]
"""Where (a numba Loc), and why."""


def unbounded_loops(function_ir: Any) -> Iterator[Place]:
    """A `while` says nowhere how often it will turn."""
    for loop in compute_cfg_from_blocks(function_ir.blocks).loops().values():
        header = function_ir.blocks[loop.header]
        if not any(True for _ in header.find_exprs("iternext")):
            yield (
                _while_above(header.body[0].loc),
                (
                    "this loop has no bound: the kernel runs a program only if it is sure to end; "
                    "use `for _ in range(n)` with a constant n, and break"
                ),
            )


def raises(function_ir: Any) -> Iterator[Place]:
    for block in function_ir.blocks.values():
        for statement in block.body:
            if isinstance(statement, ir.Raise | ir.StaticRaise | ir.DynamicRaise):
                yield statement.loc, "a program cannot raise: nobody is there to catch; return a verdict"


def forbidden_types(function_ir: Any, typemap: Any) -> Iterator[Place]:
    """Values that the kernel does not have, where they first appear."""
    for block in function_ir.blocks.values():
        for statement in block.find_insts(ir.Assign):
            kind = typemap.get(statement.target.name)
            for bad, why in FORBIDDEN.items():
                if isinstance(kind, bad):
                    yield statement.loc, f"{_named(statement)} {why}"


def unset(function_ir: Any) -> Iterator[Place]:
    """Variables that have a value on one way only: numba would take zero, Python would raise."""
    for block in function_ir.blocks.values():
        for statement in block.find_insts(ir.Assign):
            phi = statement.value
            if isinstance(phi, ir.Expr) and phi.op == "phi" and ir.UNDEFINED in phi.incoming_values:
                yield (
                    statement.loc,
                    f"{_named(statement)} has no value on one of the ways to this line: give it one first",
                )


def stray_strings(function_ir: Any, typemap: Any) -> Iterator[Place]:
    """String literals that are not the text of a printk, nor the name of a field of a map's value."""
    named: set[str] = set()
    for block in function_ir.blocks.values():
        for call in block.find_exprs("call"):
            called = typemap[call.func.name]
            if getattr(called, "typing_key", None) is printk or isinstance(
                getattr(called, "this", None), MapType | EntryType
            ):
                named.update(one.name for one in (*call.args, *dict(call.kws).values()))
    for block in function_ir.blocks.values():
        for statement in block.find_insts(ir.Assign):
            constant = isinstance(statement.value, ir.Const | ir.Global | ir.FreeVar)
            if constant and isinstance(statement.value.value, str) and statement.target.name not in named:
                yield statement.loc, f"{_named(statement)} {FORBIDDEN[types.UnicodeType]}"


def _named(statement: Any) -> str:
    name = statement.target.name
    return "this value" if name.startswith("$") else name.split(".")[0]


def _while_above(loc: Any) -> Any:
    """The nearest line above that starts with `while`; the place itself if there is none."""
    for line in range(loc.line, max(loc.line - 50, 0), -1):
        if linecache.getline(loc.filename, line).lstrip().startswith("while"):
            return loc.with_lineno(line)
    return loc


def _judge(function_ir: Any, places: Iterator[Place]) -> None:
    if machinery(function_ir.loc.filename):
        return
    first = min(places, key=lambda place: place[0].line, default=None)
    if first is not None:
        loc, why = first
        raise CompileError(loc.filename, loc.line, why)


class _Rule(FunctionPass):  # type: ignore[misc]
    """A pass that changes nothing."""

    def __init__(self) -> None:
        FunctionPass.__init__(self)

    def run_pass(self, state: Any) -> bool:
        for places in self.places(state):
            _judge(state.func_ir, places)
        return False

    places: Callable[[Any], list[Iterator[Place]]]


@register_pass(mutates_CFG=False, analysis_only=True)
class Shape(_Rule):
    """What can be judged before types are known."""

    _name = "lbcore_bpf_shape"

    def places(self, state: Any) -> list[Iterator[Place]]:
        return [unbounded_loops(state.func_ir), raises(state.func_ir)]


@register_pass(mutates_CFG=False, analysis_only=True)
class Types(_Rule):
    """What needs types."""

    _name = "lbcore_bpf_types"

    def places(self, state: Any) -> list[Iterator[Place]]:
        return [
            unset(state.func_ir),
            forbidden_types(state.func_ir, state.typemap),
            stray_strings(state.func_ir, state.typemap),
        ]


class Pipeline(Compiler):  # type: ignore[misc]
    """numba's compiler with the rules between its passes."""

    def _compile_bytecode(self) -> Any:
        if not machinery(self.state.func_id.filename):
            grammar.judge(self.state.func_id.func)
        return super()._compile_bytecode()

    def define_pipelines(self) -> list[Any]:
        pipelines: list[Any] = super().define_pipelines()
        for pipeline in pipelines:
            pipeline.add_pass_after(Shape, IRProcessing)
            pipeline.add_pass_after(Types, NopythonTypeInference)
            pipeline.finalize()
        return pipelines
