"""Why a program is refused.

Rule of this file: names of reasons, and the exception that carries one from a rule to the walk.
"""

from __future__ import annotations

CODE = "not a program"
SHAPE = "control flow"
REGISTER = "register without a value"
CONTEXT = "context"
PACKET = "packet bounds"
STACK = "stack bounds"
UNWRITTEN = "stack without a value"
VALUE = "map value bounds"
RECORD = "record bounds"
NULL = "null not ruled out"
POINTER = "pointer arithmetic"
NOT_A_POINTER = "not a pointer"
READ_ONLY = "read-only"
ALIGNMENT = "alignment"
ARITHMETIC = "arithmetic"
HELPER = "helper"
ARGUMENT = "argument"
MAP = "map"
REFERENCE = "record not given back"
CALL = "call depth"
LOOP = "endless loop"
LIMIT = "too long"
UNKNOWN = "not modelled"

CATEGORIES = (
    CODE, SHAPE, REGISTER, CONTEXT, PACKET, STACK, UNWRITTEN, VALUE, RECORD, NULL, POINTER, NOT_A_POINTER, READ_ONLY,
    ALIGNMENT, ARITHMETIC, HELPER, ARGUMENT, MAP, REFERENCE, CALL, LOOP, LIMIT, UNKNOWN,
)  # fmt: skip


class Refusal(Exception):
    """category: one of CATEGORIES; why: what is wrong, in words; instead: what would have been right.

    index: of the instruction; None: where the walk is.
    """

    def __init__(self, category: str, why: str, instead: str = "", *, index: int | None = None) -> None:
        super().__init__(f"{why}; {instead}" if instead else why)
        self.category, self.why, self.instead, self.index = category, why, instead, index
