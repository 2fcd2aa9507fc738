"""Lab 07, exercise 4: one request's life between a client and a backend that may fail.

Rule of this file: specification, cases and hints. What is played, and how a book is kept of it, is `world`.

Theory. The specification is a table of fates, not a program that sends and reads: so it shares no idea with what it
judges. Students' mistakes come in mixtures; so no answers of known mistakes are compared here, but the first row of the
book that is wrong says by itself what happened.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

from lbcore.labs.judge import Case, Exercise, Property, Verdict, judge
from lbcore.labs.proxy.world import ATTEMPTS, CLIENTS, FATES, IDEMPOTENT, Row, Script, played

GOT = {"works": "[200] abcdefgh", "closes": "[200] abcdefgh", "chatters": "[200] abcdefgh", "empty": "[204]"}
GOT["breaks"] = "[200] abc, cut off"
LEAVING = {"leaves at once": "nothing, gone", "leaves": "[200], gone", "is stopped": "[200], gone"}


def right_exchange(script: Script) -> list[Row]:
    """The book of a proxy that does as it should."""
    rows: list[Row] = []
    idle = 0
    for method, who, *fates in script:
        got, worked, taken = "[502]" if who != "leaves at once" else "nothing, gone", 0, list[str]()
        for fate in [*fates, *["works"] * ATTEMPTS][:ATTEMPTS]:
            if fate == "refuses" and not idle:
                continue  # nothing was sent: any method may be tried again
            begin, idle = ("again", idle - 1) if idle else ("new", 0)
            worked += fate not in ("lost", "refuses")
            if fate in ("lost", "refuses", "dies"):
                taken.append(f"{begin}: closed")
                if method not in IDEMPOTENT:
                    break
                continue
            got = LEAVING.get(who, GOT[fate])
            keeps = who == "stays" and fate in ("works", "empty")
            taken.append(f"{begin}: {'kept' if keeps else 'closed'}")
            idle += keeps
            break
        rows.append([got, worked, taken])
    return rows


# ------------------------------------------------------------------------------------------------------------- cases
SMALL: list[Script] = [
    [["GET", "stays"]],
    [["GET", "stays", "empty"]],
    [["POST", "stays"], ["GET", "stays"], ["POST", "stays"]],
    [["GET", "stays", "closes"], ["GET", "stays"]],
    [["POST", "stays", "chatters"], ["GET", "stays"]],
    [["GET", "stays", "dies"]],
    [["PUT", "stays", "lost", "dies"]],
    [["POST", "stays", "dies"], ["GET", "stays"]],
    [["POST", "stays", "lost"]],
    [["POST", "stays", "refuses"]],
    [["POST", "stays", "refuses", "refuses", "dies"]],
    [["GET", "stays", "refuses", "refuses", "refuses"], ["GET", "stays", "dies", "lost", "dies"]],
    [["GET", "stays"], ["GET", "stays", "lost"], ["POST", "stays", "lost"], ["POST", "stays"]],
    [["GET", "stays", "breaks"], ["GET", "stays"]],
    [["GET", "leaves at once"], ["GET", "stays"]],
    [["GET", "leaves"], ["POST", "leaves"], ["GET", "stays"]],
    [["POST", "is stopped"], ["GET", "stays"]],
]


def exchange_cases(seed: int) -> list[Case]:
    """Short scripts, one idea each; then long ones by chance."""
    rng = random.Random(seed)
    found = list(SMALL)
    for _ in range(25):
        script = []
        for _ in range(rng.randrange(3, 9)):
            fates = rng.choices([*FATES, "works", "works"], k=rng.randrange(3))
            who = "stays" if "empty" in fates or rng.random() < 0.7 else rng.choice(CLIENTS)
            script.append([rng.choice(["GET", "POST", "PUT", "DELETE", "PATCH"]), who, *fates])
        found.append(script)
    return [Case((script,)) for script in found]


# ------------------------------------------------------------------------------------------------------------- hints
Test = Callable[[Row, Row, list[str]], bool]


def ended(words: str) -> Test:
    """A connection ended so."""
    return lambda got, wanted, asked: any(words in one for one in got[2])


SIGNS: list[tuple[str, Test, str]] = [
    (
        "done_twice",
        lambda got, wanted, asked: got[1] > wanted[1] and asked[0] not in IDEMPOTENT,
        "A {0} was carried out {1} times. Once it has been sent, nobody can tell a lost request from a lost answer: "
        "only what is idempotent may be sent again.",
    ),
    (
        "sent_twice",
        lambda got, wanted, asked: got[0].count("[") > 1,
        "The client got two answers in one. From its first byte on there is only this answer, or a cut.",
    ),
    (
        "waits",
        lambda got, wanted, asked: "waits for ever" in got[0],
        "You read on after the answer's last byte. A kept connection does not end: answer.length says when to stop.",
    ),
    (
        "held_back",
        lambda got, wanted, asked: "held back" in got[0],
        "You hold bytes back until others have come. Send the head before you read the body, and each piece before you "
        "read the next: an answer may be larger than your memory, or last for hours.",
    ),
    (
        "too_much",
        lambda got, wanted, asked: "hE" in got[0],
        "The client got bytes behind the end of its answer; to it they are the next one. Ask for at most what is left.",
    ),
    (
        "cut_not_told",
        lambda got, wanted, asked: "cut off" in wanted[0] and "cut off" not in got[0],
        "The answer broke off, and the client was not told. Its head is out: client.abort() is the one way left.",
    ),
    (
        "tried_for_the_dead",
        lambda got, wanted, asked: "gone" in wanted[0] and got[1] > wanted[1],
        "The client has left, and you ask the backend again. A ConnectionError of client.send is no fault of the "
        "backend's.",
    ),
    (
        "no_answer",
        lambda got, wanted, asked: got[0] == "nothing",
        "The client got nothing at all. If no attempt gives an answer, send BAD_GATEWAY.",
    ),
    (
        "gave_up",
        lambda got, wanted, asked: got[0] == "[502]" and wanted[0] != "[502]",
        "You gave up where another attempt was due: what is idempotent may be sent again, and what never left (take "
        "failed) as well; ATTEMPTS in all.",
    ),
    (
        "one_more",
        lambda got, wanted, asked: wanted[0] == "[502]" and got[0] != "[502]",
        "You tried more often than ATTEMPTS. The first one counts.",
    ),
    (
        "kept_broken",
        ended("kept, though it was broken"),
        "You kept a connection that had broken. The next request would be lost on it.",
    ),
    (
        "kept_half_read",
        ended("kept, with its answer half read"),
        "You kept a connection with its answer half read. The next client would get the rest of it.",
    ),
    (
        "kept_though_close",
        ended("kept, though it said close"),
        "The backend said Connection: close, and you kept the connection. The next request runs into its end.",
    ),
    (
        "kept_unread",
        ended("kept, with bytes unread"),
        "You kept a connection with bytes on it that nobody asked for. The next client would take them for its answer.",
    ),
    (
        "left_open",
        ended("left open"),
        "A connection was neither kept nor closed, and nobody knows it any more. Each comes to one of the two ends, "
        "also when the client leaves or the task is stopped (finally).",
    ),
    (
        "never_kept",
        lambda got, wanted, asked: str(wanted[2]).count("kept") > str(got[2]).count("kept"),
        "You closed a connection that could be kept: its answer was read to the end, nothing was left over, nobody "
        "said close.",
    ),
    (
        "another_answer",
        lambda got, wanted, asked: got[0] != wanted[0],
        "The client did not get what it should: head and body as they came.",
    ),
]


def sign(test: Test, hint: str) -> Callable[[Any, Script], str | None]:
    """A property that is broken if the first wrong row of the book shows this sign."""

    def broken(book: list[Row], script: Script) -> str | None:
        for got, wanted, asked in zip(book, right_exchange(script), script, strict=True):
            if got != wanted:
                return hint.format(asked[0], got[1]) if test(got, wanted, asked) else None
        return None

    return broken


def rows(book: Any, other: Any) -> str:
    """The first row where two books part."""
    parted = next((number for number, (one, two) in enumerate(zip(book, other, strict=True)) if one != two), None)
    return "" if parted is None else f"request {parted + 1}: right {other[parted]}, yours {book[parted]}"


EXCHANGE = Exercise(
    names=("script",),
    right=right_exchange,
    praise="Right in all {cases} scripts: no order done twice, no answer mixed with another, no connection forgotten.",
    mistakes=(),
    properties=tuple(Property(key, sign(test, hint)) for key, test, hint in SIGNS),
    difference=rows,
    advice=dict.fromkeys(
        ("AttributeError", "TypeError"), ("not_awaited", "is exchange an `async def`, and all awaited that has to be?")
    ),
)


def check_exchange(exchange: Any, seed: int = 1) -> Verdict:
    """Exercise 4: the coroutine function exchange(method, request, pool, client)."""
    return judge(EXCHANGE, played(exchange) if callable(exchange) else exchange, exchange_cases(seed))
