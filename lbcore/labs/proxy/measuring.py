"""Lab 07, exercise 3: where does the body of a request end?

Rule of this file: specification, cases and hints. A head is text, one character for each byte (latin-1), from the first
line to the empty one.

Theory. Two programs that find different ends for one message read different requests behind it: request smuggling. RFC
9112, 6.3, says which end is right; this lab refuses whatever somebody is known to read otherwise, also where the RFC
would allow it.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable
from typing import Any

from lbcore.labs.judge import Case, Exercise, Mistake, Property, Verdict, judge

TOKEN = "[!#$%&'*+.^_`|~0-9A-Za-z-]+"
"""A field's name (RFC 9110, 5.6.2)."""
FIELD = re.compile(rf"({TOKEN}):[ \t]*((?:[\t -~\x80-\xff]*[!-~\x80-\xff])?)[ \t]*\r\n")
LENGTH, CODING = "content-length", "transfer-encoding"


# ------------------------------------------------------------------------------------------------- the specification
def right_framing(head: str) -> int | None:
    """Bytes of the body that follows; None: it is chunked. ValueError if two readers could differ."""
    first, _, rest = head.removesuffix("\r\n").partition("\r\n")
    lines = list(FIELD.finditer(rest))
    if sum(len(line[0]) for line in lines) != len(rest):
        raise ValueError("something is no field line")
    fields = [line.groups() for line in lines]
    lengths = [value for name, value in fields if name.lower() == LENGTH]
    codings = [value.lower() for name, value in fields if name.lower() == CODING]
    if len(lengths + codings) > 1:
        raise ValueError("more than one word on where the body ends")
    if codings:
        if codings != ["chunked"] or first.endswith("1.0"):
            raise ValueError(f"transfer-encoding {codings[0]!r} in {first[-8:]}")
        return None
    if lengths and not re.fullmatch("[0-9]{1,18}", lengths[0]):
        raise ValueError(f"content-length {lengths[0]!r} is no number of bytes")
    return int(lengths[0]) if lengths else 0


def lenient(
    head: str,
    *,
    name: Callable[[str], str] = str.lower,
    coding: Callable[[str], str] = str.lower,
    missing: int | None = 0,
    found: Callable[[str], bool] = lambda name: name == LENGTH,
    size: Callable[[str], int] = int,
) -> int | None:
    """A reader of heads that are in order; each of the keywords is a mistake."""
    fields = [(name(key), value) for key, value in FIELD.findall(head)]
    if any(key == CODING and coding(value) == "chunked" for key, value in fields):
        return None
    return next((size(value) for key, value in fields if found(key)), missing)


def wrong(**mistake: Any) -> Callable[[str], int | None]:
    """The answers of somebody who makes this mistake."""
    return lambda head: lenient(head, **mistake)


# ------------------------------------------------------------------------------------------------------------- cases
def head_of(*lines: str, first: str = "POST /order HTTP/1.1") -> str:
    """A head with these lines behind its Host."""
    return "".join(f"{line}\r\n" for line in (first, "Host: shop.example", *lines, ""))


GOOD = [
    [], ["Content-Length: 5"], ["Content-Length: 0"], ["Transfer-Encoding: chunked"], ["content-length:12"],
    ["CONTENT-LENGTH: \t 7 \t"], ["transfer-encoding:  Chunked "], ["X-Content-Length: 9"], ["Content-Length-Hint: 9"],
    ["Content-Length: 0000123"], ["Content-Length: 123456789012345678"], ["Accept: */*", "Content-Length: 33", "A:"],
    ["Referer: http://x.example/?a=content-length: 4"], ["X-Note: Content-Length: 3", "Content-Length: 4"],
    ["Trailer: expires", "Transfer-Encoding: CHUNKED"], ["TE: chunked"], ["X-Blank: ", "Content-Length: 1"],
]  # fmt: skip
BAD = {
    "both": [["Content-Length: 5", "Transfer-Encoding: chunked"], ["transfer-encoding: chunked", "content-length: 5"]],
    "two_lengths": [["Content-Length: 5", "Content-Length: 6"], ["Content-Length: 5", "A: b", "content-length: 5"]],
    "no_number": [
        [f"Content-Length: {value}"]
        for value in ("+5", "-1", "5 5", "5, 5", "1_0", "0x10", "", "5.0", "\xb2", "five", "1" * 19)
    ],
    "other_coding": [
        *([f"Transfer-Encoding: {value}"] for value in ("gzip", "gzip, chunked", "chunked, gzip", "xchunked")),
        *([f"Transfer-Encoding: {value}"] for value in ("chunked;a=b", "identity", '"chunked"', "")),
        ["Transfer-Encoding: chunked", "Transfer-Encoding: chunked"],
        ["Transfer-Encoding: chunked", "Transfer-Encoding: identity"],
    ],
    "no_field": [
        ["Content-Length : 5"], ["Transfer-Encoding : chunked"], ["A: b", " Content-Length: 5"], ["Content-Length 5"],
        ["Transfer-Encoding:", " chunked"], [": 5"], ["Content Length: 5"], ["X: y", "\tz"], ["Content-Length\xa0: 5"],
    ],
    "other_line_ends": [
        ["X: y\nTransfer-Encoding: chunked"], ["Content-Length: 5\rX: y"], ["X: y\n"], ["X: y\r\r"],
    ],
    "other_blanks": [
        ["Transfer-Encoding: \x0bchunked"], ["Transfer-Encoding:\x0cchunked"], ["Content-Length: 5\x0b"], ["X: a\0b"],
        ["Content-Length: \x1c5"],
    ],
}  # fmt: skip


def framing_cases(seed: int) -> list[Case]:
    """Heads in order, then those that are to be refused, one reason after the other; orders and letters by chance."""
    rng = random.Random(seed)
    found = [Case((head_of(*lines),)) for lines in GOOD]
    found += [Case((head_of(first=f"{method} / HTTP/1.{minor}"),)) for method in ("GET", "POST") for minor in (0, 1)]
    found += [Case((head_of("Content-Length: 8", first="POST / HTTP/1.0"),))]
    for _ in range(20):
        said = rng.choice([[], [f"Content-Length: {rng.randrange(10**6)}"], ["Transfer-Encoding: chunked"]])
        others = rng.sample(["Accept: */*", "X-A: 1", "Cookie: a=b; c=d", "Expires: 0", "Via: 1.1 edge"], 3)
        lines = [letters(line, rng) for line in [*said, *others]]
        rng.shuffle(lines)
        found.append(Case((head_of(*lines),)))
    for group, some in BAD.items():
        for lines in some:
            found.append(Case((head_of(*lines),), group))
            found.append(Case((head_of("Accept: */*", *lines, f"X-{rng.randrange(100)}: 1"),), group))
    old = head_of("Transfer-Encoding: chunked", first="POST / HTTP/1.0")
    return [*found, Case((old,), "older_than_chunks")]


def letters(line: str, rng: random.Random) -> str:
    """The line with its name's letters in any case."""
    name, colon, value = line.partition(":")
    return "".join(rng.choice([one.lower(), one.upper()]) for one in name) + colon + value


def a_size(answer: Any, head: str) -> str | None:
    """A number, or None."""
    if answer is None or (type(answer) is int and answer >= 0):
        return None
    return "Give back a number of bytes, 0 without a body, or None if it is chunked."


def another_end(answer: Any, head: str) -> str | None:
    """The right end."""
    wanted = right_framing(head)
    says = "it is chunked: None" if wanted is None else f"{wanted} bytes of body follow"
    return None if answer == wanted else f"Of this head, {says}."


FRAMING = Exercise(
    names=("head",),
    right=right_framing,
    praise="Right in all {cases} cases: whoever stands behind you finds the same end, or nothing at all.",
    mistakes=(
        Mistake(
            "names_as_written",
            wrong(name=lambda name: name.lower() if name.istitle() else ""),
            "You look for Content-Length as it is written here. Names of fields know no upper and lower case.",
        ),
        Mistake(
            "codings_as_written",
            wrong(coding=str),
            "Chunked and chunked are the same coding (RFC 9112, 7): compare in lower case.",
        ),
        Mistake(
            "waits_for_the_end",
            wrong(missing=None),
            "A request without either field has no body: 0. Nobody would end it, for the client waits for an answer.",
        ),
        Mistake(
            "found_anywhere",
            wrong(found=lambda name: LENGTH in name),
            "X-Content-Length is another field. Compare the whole name.",
        ),
        Mistake(
            "chunks_not_known",
            wrong(coding=lambda value: ""),
            "A body with Transfer-Encoding: chunked has no length in the head: None.",
        ),
        Mistake(
            "octal",
            wrong(size=lambda value: int(value, 8) if value[0] == "0" and len(value) > 1 else int(value)),
            "0000123 are decimal digits, zeros in front or not.",
        ),
    ),
    properties=(Property("not_a_size", a_size), Property("another_end", another_end)),
    refusals={
        "both": "Content-Length and Transfer-Encoding in one head: one reader goes by the first, another by the other, "
        "and what lies between is a request that only one of them sees. ValueError.",
        "two_lengths": "Two Content-Length fields: some take the first, some the last. ValueError, also if they agree.",
        "no_number": "That is no number of bytes. int() takes signs, blanks, underscores and digits of other scripts; "
        "HTTP takes one to eighteen of 0 to 9 (longer ones overflow somewhere). ValueError.",
        "other_coding": "A Transfer-Encoding that is not chunked, once, and nothing else: who does not know it cannot "
        "see where the body ends. ValueError.",
        "no_field": "That line is no `name: value`: a blank before the colon, no colon, or it goes on with the line "
        "before. Some readers mend it, and see a field that you did not. ValueError.",
        "other_line_ends": "A CR or an LF by itself ends a line for some readers. ValueError. (splitlines() is one of "
        "them.)",
        "other_blanks": "Control characters are no blanks to HTTP. strip() without arguments takes them off, and finds "
        "a field that others do not. Blank is space and tab: ValueError.",
        "older_than_chunks": "HTTP/1.0 knows no chunks; a program that speaks it reads until the connection ends. "
        "ValueError.",
    },
    advice={"IndexError": ("not_there", "fields may be missing, and values empty.")},
)


def check_framing(framing: Any, seed: int = 1) -> Verdict:
    """Exercise 3: framing(head) -> bytes of the body, or None for chunked."""
    return judge(FRAMING, framing, framing_cases(seed))
