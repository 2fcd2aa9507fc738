"""What is wrong with a program, in words, at the line of Python where it is wrong.

Rule of this file: it reads what others say, numba about types and the kernel's verifier about instructions, and says
it again as a `CompileError`. A table of phrases for each; what no phrase fits is quoted.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from numba import types
from numba.core import errors

from lbcore.ebpf import grammar
from lbcore.ebpf.emitter import Refused
from lbcore.ebpf.errors import CompileError
from lbcore.ebpf.rejection import Rejected
from lbcore.ebpf.rules import machinery
from lbcore.ebpf.verify import refusal as categories
from lbcore.ebpf.verify.verdict import Verdict

HAVE = grammar.ELSE

IN_WORDS = (
    (r"Literal\[int\]\(-?\d+\)|\bu?int64\b", "a number"),
    (r"\bMap\((\w+)\.\d+\)", r"map '\1'"),
    (r"\bEntry\((\w+)\.\d+\)", r"an entry of map '\1'"),
    (r"\b(?:XdpMd|SkBuff|SocketBuff)\b", "the context"),
    (r"\bTuple\(bool, .*?\)+", "what a look-up gives, (found, value)"),
    (r"\bUniTuple\((?:a number|uint64) x 2\)", "a view"),
    (r"\bUniTuple\((?:a number|uint64) x (\d+)\)", r"a tuple of \1 numbers"),
    (r"\bunicode_type\b|Literal\[str\]\(.*?\)", "a string"),
    (r"\bfloat64\b", "a float"),
    (r"\b(?:Uni)?Tuple\(", "a tuple ("),
)
"""numba's names of types, and ours."""

NUMBA_SAYS = (
    (r"((?:key|value|record) of map '.*)", "{}"),
    (r"(map '\w+' is of kind .*)", "{}"),
    (r"not told: (.*)", "{}"),
    (
        r">>> getitem\((map '\w+')",
        "{} is no dictionary in a program: lookup(key) gives (found, value), update(key, value) writes",
    ),
    (r">>> getitem\(the context", "a context has no bytes: take a view of it, and read with u8, u16, u32, u64"),
    (r">>> contains\((map '\w+')", "`in` does not ask {}: its lookup(key) gives (found, value)"),
    (r"<function (\w+) at[\s\S]*missing a required argument: '(\w+)'", "{0} lacks its argument {1!r}"),
    (r"expected (\d+), got (\d+)", "{} names for {} values"),
    (
        r"^(?:AssertionError)?$",
        "numba says no word of it; a named tuple made with keywords does that, for one",
    ),
    (r"Int value is too large: (-?\d+)", "{} has more than 64 bits: longer numbers are several words"),
    (r"<function _empty_string", "this is a string: a program has only numbers (printk takes a literal)"),
    (r"Unknown attribute '(\w+)' of type Module\(<module '(\w+)'", "{1}.{0} is not for programs: " + HAVE),
    (
        r"Unknown attribute '(\w+)' of type the context",
        "a context has no field {!r} here: take a view of it",
    ),
    (r"Unknown attribute '(\w+)' of type (.+)", "{1} has no {0!r}: " + HAVE),
    (
        r"Untyped global name '(\w+)'[\s\S]*of <class '(dict|set)'>",
        "{} is a {}: a program cannot reach memory of this process; use a map",
    ),
    (r"Untyped global name '(\w+)'", "{!r} is not for programs: " + HAVE),
    (r"NameError: name '(\w+)'", "name {!r} is not defined"),
    (r"Cannot unify (.+?) and (.+?) for '(\w+)", "{2} is {0} on one way here and {1} on another"),
    (r"No implementation of function Function\(<function (set\w+)", "{} writes, and this kind of program only reads"),
    (r"No implementation of function Function\(<function (\w+)", "{} does not take these arguments"),
    (r">>> (\w+)\((.*)\)", "{} does not go with {}"),
)

LLVM_SAYS = (
    (r"stack limit is exceeded", "its keys, values and texts take more than the 512 bytes of stack a program has"),
    (r"built-in function '(\w+)'", "it needs {}, a function of the compiler's own library, which the kernel lacks"),
)

VERIFIER_SAYS = (
    (r"invalid access to packet", "the packet is read or written here beyond what need() was asked for"),
    (
        r"invalid mem access 'scalar'",
        "this address may be anything: a view taken before the packet moved, or none",
    ),
    (r"infinite loop detected|back-edge", "the kernel cannot see that this loop ends"),
    (r"program is too large|too many instructions|too complex", "too many ways through the program: bound loops lower"),
    (r"misaligned", "this access is not aligned as the kernel wants it"),
)


REFUSED = {
    categories.PACKET: "the packet is read or written here beyond what need() was asked for",
    categories.NOT_A_POINTER: "this address may be anything: a view taken before the packet moved, or none",
    categories.NULL: "what was looked up may not be there: ask `if entry:` first",
    categories.LOOP: "nobody can see that this loop ends",
    categories.LIMIT: "too many ways through the program: bound loops lower",
}
"""Why the teaching verifier refuses a program."""


@contextmanager
def errors_of(function: Callable[..., Any]) -> Iterator[None]:
    """Turns what numba raises into CompileError."""
    try:
        yield
    except (errors.NumbaError, AssertionError) as error:
        file, line = _place(error, function)
        raise CompileError(file, line, _words(_plain(str(error)), NUMBA_SAYS)) from None
    except Refused as error:
        code = function.__code__
        raise CompileError(code.co_filename, code.co_firstlineno, _words(str(error), LLVM_SAYS)) from None


def rejection(rejected: Rejected) -> CompileError:
    """The kernel's refusal of a program in the compiler's words, where there are any for it."""
    line = rejected.line
    why = _words(rejected.reason, VERIFIER_SAYS, f"the kernel's verifier says: {rejected.reason}")
    return CompileError(line.file if line else "?", line.line if line else 0, why)


def refusal(verdict: Verdict) -> CompileError:
    """The teaching verifier's refusal of a program in the compiler's words, and its own."""
    line = verdict.line
    words = REFUSED.get(verdict.category, "this is not safe, or cannot be seen to be")
    return CompileError(line.file if line else "?", line.line if line else 0, f"{words}: {verdict.reason}")


def check_result(function: Callable[..., Any], result: Any) -> None:
    """A verdict is a number, on every way through the program. Raises CompileError."""
    if not isinstance(result, types.Integer | types.Boolean):
        lacks = isinstance(result, types.Optional | types.NoneType)
        several = "a tuple" if isinstance(result, types.BaseTuple) else f"a value of type {result}"
        what = "nothing, at least at one of its ends" if lacks else several
        code = function.__code__
        raise CompileError(code.co_filename, code.co_firstlineno, f"a program returns its verdict; this returns {what}")


def _place(error: Exception, function: Callable[..., Any]) -> tuple[str, int]:
    """The innermost place that numba names outside of the machinery."""
    text = str(error)
    named = re.findall(r"During: (?:typing|resolving|lowering).* at (\S+) \((\d+)\)", text)
    here = getattr(error, "loc", None)
    if here is not None:
        named.append((here.filename, str(here.line)))
    for file, line in named:
        if not machinery(file):
            return file, int(line)
    return function.__code__.co_filename, function.__code__.co_firstlineno


def _plain(text: str) -> str:
    """What numba says, with types in words."""
    for pattern, words in IN_WORDS:
        text = re.sub(pattern, words, text)
    return text


def _words(text: str, phrases: tuple[tuple[str, str], ...], otherwise: str = "") -> str:
    """The first phrase that fits, filled in."""
    for pattern, words in phrases:
        found = re.search(pattern, text)
        if found:
            return words.format(*found.groups())
    lines = [line.strip(" -") for line in text.splitlines() if line.strip() and "nopython" not in line]
    return otherwise or (lines[0] if lines else "this cannot be compiled")
