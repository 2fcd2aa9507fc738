"""What is wrong with a program, at the line where it is wrong, in words.

Rule of this file: it turns what numba, LLVM and the rules of the kernel say into `CompileError`.
"""

from __future__ import annotations

import linecache
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numba
from numba.core import errors, ir, types
from numba.core.compiler_machinery import FunctionPass, register_pass

NUMBA = str(Path(numba.__file__).parent)


class CompileError(ValueError):
    """A function that cannot become a program: `why`, at `line` of `file`, which reads `text`."""

    def __init__(self, file: str, line: int, why: str) -> None:
        self.file, self.line, self.why = file, line, why
        self.text = linecache.getline(file, line).strip()
        super().__init__(f"{file}:{line}: {why}\n    {self.text}")


@contextmanager
def errors_of(function: Callable[..., Any]) -> Iterator[None]:
    """Turns numba's errors into ours."""
    try:
        yield
    except CompileError:
        raise
    except errors.NumbaError as error:
        raise translated(error, function) from None


def translated(error: errors.NumbaError, function: Callable[..., Any]) -> CompileError:
    return CompileError(function.__code__.co_filename, function.__code__.co_firstlineno, str(error))


def check_result(function: Callable[..., Any], result: Any) -> None:
    """A verdict is a number."""


def check_module(module: Any, function: Callable[..., Any]) -> None:
    """Nothing may be left that a loader cannot provide."""
