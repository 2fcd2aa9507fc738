"""What options have in common: structs that a configuration file can fill, and words for what is wrong with them.

Rule of this file: a fault names its field, its value and what would have been right.
"""

from __future__ import annotations

import math

from msgspec import Struct

TOKEN = frozenset(b"!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")  # RFC 9110, 5.6.2


def want(right: bool, field: str, value: object, wanted: str) -> None:
    """ValueError in the project's words unless `right`."""
    if not right:
        raise ValueError(f"{field} is {value!r}: it must be {wanted}")


def seconds(value: float, field: str, *, zero: bool = False) -> None:
    """ValueError unless it is a duration."""
    right = math.isfinite(value) and (value > 0 or (zero and value == 0))
    want(right, field, value, "seconds, 0 or more" if zero else "seconds, over 0")


def share(value: float, field: str) -> None:
    """ValueError unless it is from 0 to 1."""
    want(0 <= value <= 1, field, value, "a share from 0 to 1")


def at_least(least: int, **values: int) -> None:
    """ValueError unless every value is `least` or more."""
    for name, value in values.items():
        want(value >= least, name, value, f"a whole number from {least} on")


def is_token(text: str) -> bool:
    """May it be the name of a field, a cookie, a method (RFC 9110, 5.6.2)?"""
    return text != "" and text.isascii() and TOKEN.issuperset(text.encode())


def each_status(statuses: tuple[int, ...], first: int = 100) -> None:
    """ValueError unless all are statuses, and no lower than the first."""
    for status in statuses:
        want(first <= status <= 599, "statuses", status, f"a status from {first} to 599")


class Checked(Struct, frozen=True, forbid_unknown_fields=True):
    """What all options have in common."""
