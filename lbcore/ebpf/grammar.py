"""What a program cannot be written with, told by its syntax: before numba has seen it, at its line, in words.

Rule of this file: two tables. What needs types to be judged is in `rules`; what only a verifier sees is in `explain`.

Theory. A program is a function of numbers: no memory of its own, no one to catch what it raises, and an end that can be
foreseen. Much of Python is a way to have one of those, and a syntax tree shows it. A function without source text (made
by `exec`, say) is not judged here; what is wrong with it is then told by numba, in numba's words.
"""

from __future__ import annotations

import ast
import builtins
import inspect
import sys
import textwrap
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any

from lbcore.ebpf.errors import CompileError

RAISING = "a program cannot raise: nobody is there to catch; return a verdict"
MEMORY = "a program cannot allocate memory; use a map"
INSIDE = "a function within a program: write it outside, mark it @portable, and call it"
OPENED = "a program has nothing to open and close"

SYNTAX: dict[type[ast.AST], str] = {
    ast.Try: "a program cannot catch, for nothing raises: ask need() before reading, and look at what a look-up found",
    ast.Raise: RAISING,
    ast.Assert: f"an assertion raises, and {RAISING}",
    ast.With: OPENED,
    ast.AsyncWith: OPENED,
    ast.While: "this loop has no bound: the kernel runs a program only if it is sure to end; "
    "use `for _ in range(n)` with a constant n, and break",
    ast.Global: "a global variable is a constant here: what is to last from packet to packet goes into a map",
    ast.Nonlocal: "a variable of another function is a constant here: what is to last goes into a map",
    ast.Yield: "a program returns one verdict and is over: there is nobody to yield to",
    ast.YieldFrom: "a program returns one verdict and is over: there is nobody to yield to",
    ast.Await: "a program waits for nothing",
    ast.ClassDef: "a program has only numbers, views and maps: a class belongs outside, and cannot be used here",
    ast.FunctionDef: INSIDE,
    ast.AsyncFunctionDef: INSIDE,
    ast.Lambda: INSIDE,
    ast.Import: "a program cannot import: import outside",
    ast.ImportFrom: "a program cannot import: import outside",
    ast.Delete: "`del` is not for programs: a variable ends by itself, and a map's entry with .delete(key)",
    ast.JoinedStr: "an f-string is a string: a program has only numbers; printk takes a literal with %d and the number",
    ast.List: f"this is a list: {MEMORY}",
    ast.ListComp: f"this is a list: {MEMORY}",
    ast.GeneratorExp: f"this is a generator: {MEMORY}, or a `for` loop",
    ast.Dict: f"this is a dictionary: {MEMORY}",
    ast.DictComp: f"this is a dictionary: {MEMORY}",
    ast.Set: f"this is a set: {MEMORY}; for `in`, a tuple",
    ast.SetComp: f"this is a set: {MEMORY}",
    ast.Pow: "** is not for programs: shift (1 << n), or multiply",
    ast.Div: "/ gives a float, and the kernel has no floating point; use //",
    ast.Slice: "a program has no slices: u8, u16, u32 and u64 read the packet at an offset, advance() moves a view",
}
"""What is refused, and what would have been right."""

PRESENT = {"abs", "bool", "int", "len", "max", "min", "pow", "range", "divmod", "enumerate", "zip", "reversed", "tuple"}
"""Of the functions that Python brings along, those that numba makes code of."""

BUILTINS = {
    "print": "the kernel has no screen: printk writes to its log",
    "float": "the kernel has no floating point",
    "str": "a program has only numbers",
}
LIBRARY = {
    "random": "chance comes from get_prandom_u32()",
    "time": "the time is ktime_get_ns()",
    "struct": "packet bytes are read with u8, u16, u32, u64, and written with set8, set16, set32, set64",
    "ipaddress": "addresses are numbers: make them outside of the program",
}
"""What a program has instead of a module of Python's library."""
ELSE = "a program has the seam, `words`, maps, helpers, and functions marked @portable"


def judge(function: Callable[..., Any]) -> None:
    """Raises CompileError for the first line of a function that no program can have."""
    try:
        lines, first = inspect.getsourcelines(function)
        tree = ast.parse(textwrap.dedent("".join(lines)))
    except (OSError, TypeError, SyntaxError):
        return
    if not tree.body or not isinstance(tree.body[0], ast.FunctionDef):
        return
    code = function.__code__
    wrong = min(_wrong(tree.body[0], function), key=lambda place: place[0], default=None)
    if wrong is not None:
        raise CompileError(code.co_filename, first + wrong[0] - 1, wrong[1])


def _wrong(body: ast.FunctionDef, function: Callable[..., Any]) -> Iterator[tuple[int, str]]:
    """(line, why) of all that is wrong."""
    for statement in body.body:
        for node in ast.walk(statement):
            line = getattr(node, "lineno", 0)
            if line and type(node) in SYNTAX:
                yield line, SYNTAX[type(node)]
            elif isinstance(node, ast.BinOp) and type(node.op) in SYNTAX:
                yield line, SYNTAX[type(node.op)]
            elif isinstance(node, ast.Subscript) and isinstance(node.slice, ast.Slice):
                yield line, SYNTAX[ast.Slice]
            elif isinstance(node, ast.Constant):
                yield from _constant(line, node.value)
            elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                yield from _call(line, node.func.id, function)
            elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
                yield from _of_module(line, node.value.id, node.attr, function.__globals__)


def _constant(line: int, value: object) -> Iterator[tuple[int, str]]:
    if isinstance(value, float | complex):
        yield line, f"{value} is no whole number: the kernel has no floating point"
    elif isinstance(value, int) and value >> 64 not in (0, -1):
        yield line, f"{value} has more than 64 bits: longer numbers are several words, an IPv6 address is (high, low)"


def _call(line: int, name: str, function: Callable[..., Any]) -> Iterator[tuple[int, str]]:
    known = function.__globals__
    if known.get(name) is function or name == function.__name__:
        yield line, f"{name} calls itself, and the kernel's stack has 512 bytes for all: use a loop with a bound"
    elif hasattr(builtins, name) and name not in known and name not in PRESENT | set(function.__code__.co_freevars):
        yield line, f"{name!r} is not for programs: {BUILTINS.get(name, ELSE)}"


def _of_module(line: int, name: str, attribute: str, known: dict[str, Any]) -> Iterator[tuple[int, str]]:
    """Anything of Python's own library but a number."""
    module = known.get(name)
    if not isinstance(module, ModuleType) or module.__name__.split(".")[0] not in sys.stdlib_module_names:
        return
    if not isinstance(getattr(module, attribute, None), int):
        yield line, f"{name}.{attribute} is not for programs: {LIBRARY.get(module.__name__, ELSE)}"
