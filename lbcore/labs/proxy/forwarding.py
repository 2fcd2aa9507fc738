"""Lab 07, exercise 2: what the backend is told.

Rule of this file: specification, cases and hints. Fields are [name, value], names in lower case.

Theory. Hop-by-hop fields speak of one connection (RFC 9110, 7.6.1). An entry of X-Forwarded-For is as true as the one
who wrote it, and that is whoever stands right of it; the peer, whom TCP names, wrote the last.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

from lbcore.labs.judge import Case, Exercise, Mistake, Property, Verdict, judge

Fields = list[list[str]]
HOP_BY_HOP = (
    "connection", "keep-alive", "proxy-authorization", "proxy-connection", "te", "transfer-encoding", "upgrade",
)  # fmt: skip
"""Of one connection, whether Connection names them or not."""
FOR_ALL = ("authorization", "content-length", "cookie", "host", "x-forwarded-for")
"""Meant for everybody on the way: to name them in Connection takes nothing out."""
XFF = "x-forwarded-for"


# ------------------------------------------------------------------------------------------------- the specification
def right_way(entries: list[str], peer: str, trusted: list[str]) -> list[str]:
    """What is kept of a list, and the peer: each entry as long as whoever stands right of it is trusted."""
    kept = [peer]
    for entry in reversed(entries):
        if kept[0] not in trusted:
            break
        kept.insert(0, entry)
    return kept


def named(fields: Fields) -> list[str]:
    """All that Connection names."""
    return [option.strip() for name, value in fields if name == "connection" for option in value.split(",")]


def model(
    fields: Fields,
    peer: str,
    trusted: list[str],
    *,
    way: Callable[[list[str], str, list[str]], list[str]] = right_way,
    hop: tuple[str, ...] = HOP_BY_HOP,
    kept: tuple[str, ...] = FOR_ALL,
    obeys: bool = True,
    folds: bool = True,
    lines: slice = slice(None),
    apart: bool = False,
) -> Fields:
    """The right answer with the defaults; each of the others is a mistake."""
    said = {one.lower() if folds else one for one in named(fields)} if obeys else set()
    gone = {*hop, *(said - set(kept))}
    told = [value for name, value in fields if name == XFF][lines] if XFF not in gone else []
    entries = [entry.strip() for value in told for entry in value.split(",")]
    out = [list(one) for one in fields if one[0] not in gone and (one[0] != XFF or apart)]
    return [*out, [XFF, peer if apart else ", ".join(way(entries, peer, trusted))]]


def right_forwarded(fields: Fields, peer: str, trusted: list[str]) -> Fields:
    """The fields for the backend."""
    return model(fields, peer, trusted)


def wrong(**mistake: Any) -> Callable[..., Fields]:
    """The answers of somebody who makes this mistake."""
    return lambda *given: model(*given, **mistake)


# ------------------------------------------------------------------------------------------------------------- cases
EDGE, INNER = "10.0.0.1", "10.0.0.2"
TRUSTED = [EDGE, INNER]
CLIENT, FORGED = "192.0.2.7", "127.0.0.1"
HOST, ACCEPT = ["host", "shop.example"], ["accept", "*/*"]
SMALL: list[tuple[Fields, str]] = [
    ([HOST, ACCEPT], CLIENT),
    ([HOST, ["connection", "keep-alive"], ["keep-alive", "timeout=5"], ["te", "gzip"], ACCEPT], CLIENT),
    ([HOST, ["upgrade", "h2c"], ["proxy-connection", "close"], ["proxy-authorization", "Basic eDp5"], ACCEPT], CLIENT),
    ([HOST, ["x-debug", "1"], ["connection", "close, x-debug"]], CLIENT),
    (
        [HOST, ["connection", "X-Debug"], ["connection", "X-Hop"], ["x-debug", "1"], ["x-hop", "2"], ["x-a", "3"]],
        CLIENT,
    ),
    ([HOST, ["transfer-encoding", "chunked"], ["x-debug", "1"], ["x-debug", "2"]], CLIENT),
    ([HOST, [XFF, FORGED]], CLIENT),
    ([HOST, [XFF, CLIENT], ACCEPT], EDGE),
    ([HOST, [XFF, f"{CLIENT}, {EDGE}"]], INNER),
    ([HOST, [XFF, f"{FORGED}, {CLIENT}"]], EDGE),
    ([HOST, [XFF, f"{FORGED},{CLIENT},  {EDGE}"]], INNER),
    ([HOST, [XFF, FORGED], ACCEPT, [XFF, f"{CLIENT}, {EDGE}"]], INNER),
    ([HOST, [XFF, CLIENT], [XFF, EDGE]], INNER),
    ([HOST, [XFF, INNER]], EDGE),
    ([HOST], EDGE),
    ([HOST, [XFF, CLIENT], ["connection", "close, X-Forwarded-For, Host"]], EDGE),
    ([HOST, ["content-length", "5"], ["cookie", "a=b"], ["connection", "content-length, cookie"]], CLIENT),
]


def forwarded_cases(seed: int) -> list[Case]:
    """One idea each; then all of it by chance."""
    rng = random.Random(seed)
    found: list[tuple[Fields, str]] = list(SMALL)
    for _ in range(60):
        fields = [[name, "v"] for name in rng.sample(["accept", "x-debug", "x-hop", "x-a", "x-b", "via"], 4)]
        fields += [[name, "v"] for name in rng.sample(HOP_BY_HOP[1:], 2)]
        for _ in range(rng.randrange(3)):
            options = rng.sample(["close", "X-Debug", "x-hop", "Host", "X-Forwarded-For", "cookie", "TE"], 2)
            fields.append(["connection", rng.choice([", ", ",", " ,  "]).join(options)])
        for _ in range(rng.randrange(3)):
            chain = rng.choices([CLIENT, FORGED, EDGE, INNER, "198.51.100.4"], k=rng.randrange(1, 4))
            fields.append([XFF, rng.choice([", ", ","]).join(chain)])
        rng.shuffle(fields)
        found.append(([HOST, *fields], rng.choice([CLIENT, EDGE, INNER, INNER])))
    return [Case(([list(one) for one in fields], peer, list(TRUSTED))) for fields, peer in found]


def pairs(answer: Any, *_: Any) -> str | None:
    """Fields."""
    if isinstance(answer, list) and all(isinstance(one, list) and list(map(type, one)) == [str, str] for one in answer):
        return None
    return "Give back a list of fields, each a pair of texts: name and value."


def for_the_backend(answer: Fields, fields: Fields, peer: str, trusted: list[str]) -> str | None:
    """Nothing of the client's connection, all else in its order."""
    wanted = right_forwarded(fields, peer, trusted)
    lists = [[one for one in some if one[0] != XFF] for some in (answer, wanted)]
    if lists[0] != lists[1]:
        extra = next((name for name, _ in lists[0] if name not in [one[0] for one in lists[1]]), None)
        lost = next((name for name, _ in lists[1] if name not in [one[0] for one in lists[0]]), None)
        what = f"{extra} is not for the backend" if extra else f"{lost} is missing" if lost else "the order has changed"
        return f"Look at the fields apart from {XFF}: {what}."
    return None


def one_list_of_hops(answer: Fields, fields: Fields, peer: str, trusted: list[str]) -> str | None:
    """X-Forwarded-For, once, at the end."""
    wanted = right_forwarded(fields, peer, trusted)
    if answer == wanted:
        return None
    return f"{XFF} belongs at the end, in one line: {wanted[-1][1]!r} here. Who wrote each entry, and is that one ours?"


NOT_THERE = "not_there", "neither Connection nor X-Forwarded-For need be there."

FORWARDED = Exercise(
    names=("fields", "peer", "trusted"),
    right=right_forwarded,
    praise="Right in all {cases} cases: no backend of yours will ban its own proxy, or believe a stranger.",
    mistakes=(
        Mistake(
            "named_passed_on",
            wrong(obeys=False),
            "Connection names further fields that are for you alone (close, x-debug). They have to go as well.",
        ),
        Mistake(
            "hop_by_hop_passed_on",
            wrong(hop=("connection",)),
            "You take out what Connection names. The others of HOP_BY_HOP go whether anybody names them or not.",
        ),
        Mistake(
            "obeyed_blindly",
            wrong(kept=()),
            "A client that writes Connection: host, x-forwarded-for made you take out what others rely on. What is in "
            "FOR_ALL stays.",
        ),
        Mistake(
            "case_told_apart",
            wrong(folds=False),
            "Connection: X-Debug names the field x-debug: names of fields know no upper and lower case.",
        ),
        Mistake(
            "anybody_trusted",
            wrong(way=lambda entries, peer, trusted: [*entries, peer]),
            "You append to whatever came. A stranger's list is a stranger's invention: it has to go.",
        ),
        Mistake(
            "replaced",
            wrong(way=lambda entries, peer, trusted: [peer]),
            "You write the peer and nothing else. From a proxy of ours the list says who the client is: keep it.",
        ),
        Mistake(
            "all_or_nothing",
            wrong(way=lambda entries, peer, trusted: [*(entries if peer in trusted else []), peer]),
            "You trust the peer, and with it all that stands in the list. It wrote the last entry only. Is that one "
            "ours, too? Then the one before counts, and so on.",
        ),
        Mistake(
            "client_only",
            wrong(way=lambda entries, peer, trusted: right_way(entries, peer, trusted)[:1]),
            "You found the client and threw away the way from it. All hops that are believed, and the peer at the end.",
        ),
        Mistake(
            "peer_first",
            wrong(way=lambda entries, peer, trusted: [peer, *right_way(entries, peer, trusted)[:-1]]),
            "Each hop appends at the end: the peer is the last entry.",
        ),
        Mistake("second_line", wrong(apart=True), "You add a line, and leave those that came where they are."),
        Mistake(
            "last_line_only",
            wrong(lines=slice(-1, None)),
            "x-forwarded-for may come in several lines. They are one list, in order.",
        ),
        Mistake(
            "first_line_only",
            wrong(lines=slice(1)),
            "x-forwarded-for may come in several lines, and the client's is the first. They are one list, in order.",
        ),
    ),
    properties=(
        Property("not_fields", pairs),
        Property("other_fields", for_the_backend),
        Property("another_way", one_list_of_hops),
    ),
    advice=dict.fromkeys(("KeyError", "IndexError", "StopIteration"), NOT_THERE),
)


def check_forwarded(forwarded: Any, seed: int = 1) -> Verdict:
    """Exercise 2: forwarded(fields, peer, trusted) -> fields."""
    return judge(FORWARDED, forwarded, forwarded_cases(seed))
