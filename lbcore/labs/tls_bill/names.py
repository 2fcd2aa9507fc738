"""Lab 08, exercise 3: the certificate for a server name.

Rule of this file: specification, cases and hints. Wildcards as RFC 9525 section 6.3 has them: a whole label, the first,
and one label only.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

from lbcore.labs.judge import Case, Exercise, Mistake, Property, Verdict, judge

Certificates = list[list[str]]  # the names of each


def right_certificate(name: str | None, certificates: Certificates) -> int:
    """The number of the certificate: with the name itself, else with its wildcard, else the first."""
    if name is None:
        return 0
    name = name.lower()
    for wanted in (name, "*." + name.partition(".")[2]):
        for number, names in enumerate(certificates):
            if wanted in names:
                return number
    return 0


SHOP: Certificates = [
    ["default.example"],
    ["*.shop.example", "shop.example"],
    ["pay.shop.example", "pay.example"],
    ["*.eu.shop.example"],
    ["pay.example"],
]


def name_cases(seed: int) -> list[Case]:
    """Names of each kind against a table, and against the same in another order."""
    rng = random.Random(seed)
    names = ["default.example", "shop.example", "www.shop.example", "pay.shop.example", "a.eu.shop.example"]
    names += ["eu.shop.example", "a.b.shop.example", "evilshop.example", "WWW.Shop.Example", "PAY.example"]
    names += ["other.example", "example", "shop.example.org", "x.pay.example"]
    found: list[tuple[Any, ...]] = [(name, [list(one) for one in SHOP]) for name in [*names, None]]
    found.append(("www.shop.example", [["*.example"], ["w*.shop.example"], ["*.shop.example"]]))
    for name in [*names, None]:
        turned = [list(one) for one in SHOP]
        rng.shuffle(turned)
        found.append((name, turned))
    return [Case(one) for one in found]


def fitting(name: str | None, certificates: Certificates, fits: Callable[[str, str], bool]) -> int:
    """For who has another idea of what a wildcard fits: the name itself first, then what fits, longest first."""
    if name is None:
        return 0
    name = name.lower()
    for number, names in enumerate(certificates):
        if name in names:
            return number
    found = [(-len(one), number) for number, names in enumerate(certificates) for one in names if fits(name, one)]
    return min(found)[1] if found else 0


def first_that_fits(name: str | None, certificates: Certificates) -> int:
    """For whom the order of certificates decides."""
    wanted = () if name is None else (name.lower(), "*." + name.lower().partition(".")[2])
    return next((n for n, names in enumerate(certificates) if any(one in names for one in wanted)), 0)


def as_asked(name: str | None, certificates: Certificates) -> int:
    """For who compares letters."""
    wanted = () if name is None else (name, "*." + name.partition(".")[2])
    return next((n for one in wanted for n, names in enumerate(certificates) if one in names), 0)


def a_number(answer: Any, name: Any, certificates: Certificates) -> str | None:
    """A place in the list."""
    if type(answer) is not int or not 0 <= answer < len(certificates):
        return "Give back the certificate's place in the list, from 0. Who fits none gets the first."
    return None


CERTIFICATE = Exercise(
    names=("name", "certificates"),
    right=right_certificate,
    praise="Right in all {cases} cases: the name itself, then its wildcard, then the first.",
    mistakes=(
        Mistake(
            "any_depth",
            lambda name, certificates: fitting(
                name, certificates, lambda asked, one: one[:2] == "*." and asked.endswith(one[1:])
            ),
            "Your * stands for any number of labels. In a certificate it is one: *.shop.example is not for "
            "a.b.shop.example.",
        ),
        Mistake(
            "bare_name",
            lambda name, certificates: fitting(
                name,
                certificates,
                lambda asked, one: one[:2] == "*." and one[2:] in (asked, asked.partition(".")[2]),
            ),
            "*.eu.shop.example is for what is below eu.shop.example, not for eu.shop.example itself.",
        ),
        Mistake(
            "no_dot",
            lambda name, certificates: fitting(
                name,
                certificates,
                lambda asked, one: (
                    one[:2] == "*." and asked.endswith(one[2:]) and "." not in asked[: -len(one[2:])].rstrip(".")
                    and asked != one[2:]
                ),
            ),
            "evilshop.example ends in shop.example and is somebody else's. The dot belongs to the comparison.",
        ),
        Mistake(
            "wildcard_first",
            first_that_fits,
            "A wildcard further up has won over the name itself. Look for the name in all certificates first.",
        ),
        Mistake(
            "exact_only",
            lambda name, certificates: fitting(name, certificates, lambda asked, one: False),
            "You look for the name itself only. Then comes the wildcard: * for its first label.",
        ),
        Mistake(
            "letters",
            as_asked,
            "Host names do not know capitals: WWW.Shop.Example is www.shop.example.",
        ),
        Mistake(
            "part_of_a_label",
            lambda name, certificates: fitting(
                name,
                certificates,
                lambda asked, one: (
                    one.partition(".")[2] == asked.partition(".")[2]
                    and "*" in one
                    and asked.startswith(one.partition("*")[0])
                ),
            ),
            "A * that stands for a part of a label, as in w*.shop.example, is believed by nobody today.",
        ),
    ),
    properties=(Property("not_a_place", a_number),),
    advice={
        "AttributeError": ("no_name", "a client may name nobody: None. It gets the first certificate."),
        "StopIteration": ("nobodys", "a name that fits no certificate gets the first."),
    },
)  # fmt: skip


def check_certificate(certificate: Any, seed: int = 1) -> Verdict:
    """Exercise 3: certificate(name, certificates) -> place in the list."""
    return judge(CERTIFICATE, certificate, name_cases(seed))
