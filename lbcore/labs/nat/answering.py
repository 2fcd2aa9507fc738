"""Lab 02, exercise 4: the way back.

Rule of this file: specification, cases and hints; a reply is translated by the same rewrite, at its other end.
"""

from __future__ import annotations

import random
from typing import Any

from lbcore.labs.judge import Case, Exercise, Mistake, Property, Verdict, judge
from lbcore.labs.nat.translating import (
    COMMON,
    DESTINATION,
    IMMUTABLE,
    PORTS,
    SOURCE,
    differing,
    elsewhere,
    frames,
    mistakes,
    rewritten,
    whole_frame,
)

Ways = dict[bytes, tuple[bytes, int]]


def right_back(frame: bytes, ways: Ways) -> bytes | None:
    """A reply with its flow's virtual end for its source; None if there is no such flow, or no hop left."""
    way = ways.get(frame[SOURCE : PORTS + 4])
    return rewritten(frame, *way, end="source") if way else None


def by_client(frame: bytes, ways: Ways) -> bytes | None:
    """The first flow of the same client's end."""
    mine = frame[DESTINATION:PORTS] + frame[PORTS + 2 : PORTS + 4]
    way = next((way for key, way in ways.items() if key[4:8] + key[10:12] == mine), None)
    return rewritten(frame, *way, end="source") if way else None


def by_backend(frame: bytes, ways: Ways) -> bytes | None:
    """The first flow of the same backend."""
    way = next((way for key, way in ways.items() if key[:4] == frame[SOURCE:DESTINATION]), None)
    return rewritten(frame, *way, end="source") if way else None


def back_cases(seed: int) -> list[Case]:
    """Replies of flows among others: one client's port at two services, and replies of no flow at all."""
    rng = random.Random(seed + 2)
    replies, ways = frames(seed), Ways()
    for frame in replies:
        other = bytes([10, 0, 1, rng.randrange(256)])
        key = frame[SOURCE : PORTS + 4]
        # The same client's end with another backend, and the same backend with another client: both first.
        ways[other + key[4:]] = (bytes([203, 0, 113, 1]), 443)
        ways[key[:4] + other + key[8:]] = (bytes([203, 0, 113, 2]), 25)
        ways[key] = (bytes([203, 0, 113, rng.randrange(3, 255)]), rng.randrange(1, 65536))
    few = [{key: ways[key] for key in list(ways)[3 * n : 3 * n + 3]} for n in range(len(replies))]
    stray = [(frame, few[n - 1]) for n, frame in enumerate(replies[:4])]
    return [Case(one) for one in [*zip(replies, few, strict=True), *stray]]


def known(makes: Any) -> Any:
    """A mistake of the rewrite, made to the right flow."""
    return lambda frame, ways: (
        makes(frame, *ways[frame[SOURCE : PORTS + 4]]) if frame[SOURCE : PORTS + 4] in ways else None
    )


BACK = Exercise(
    names=("frame", "ways"),
    right=right_back,
    praise="Right: {cases} replies, and those of no flow go nowhere.",
    mistakes=(
        *(Mistake(one.key, known(one.makes), one.hint) for one in mistakes("source")),
        Mistake(
            "by_client",
            by_client,
            "You look for the client's address and port. One client's port may talk to two services: the backend's end "
            "belongs to the key. All of bytes 26 to 37.",
        ),
        Mistake("by_backend", by_backend, "You look for the backend's address. It has many clients."),
        Mistake(
            "wrong_end",
            known(rewritten),
            "You wrote over the destination, which is the client. On the way back the source changes: bytes 26 to 29, "
            "port at 34.",
        ),
        Mistake(
            "passed_on",
            lambda frame, ways: right_back(frame, ways) if frame[SOURCE : PORTS + 4] in ways else frame,
            "A packet of no flow is given back as it is. It is not a reply that you know of: None.",
        ),
    ),
    properties=(
        Property("wrong_form", whole_frame),
        Property(
            "elsewhere",
            elsewhere(COMMON | set(range(SOURCE, DESTINATION)) | {34, 35}, "source, its port, hop count and checksums"),
        ),
    ),
    advice={
        **IMMUTABLE,
        "KeyError": ("unknown_flow", "there is no such flow, and then the answer is None: ways.get(key)."),
    },
    difference=differing,
)


def check_back(translate_back: Any, seed: int = 1) -> Verdict:
    """Exercise 4: translate_back(frame, ways) -> the reply for the client, or None."""
    return judge(BACK, translate_back, back_cases(seed))
