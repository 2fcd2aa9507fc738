"""Lab 06, exercise 3: the server name in a handshake message.

Rule of this file: specification, cases and hints. Some messages lie about their lengths: those must be refused.
"""

from __future__ import annotations

import random
from typing import Any

from lbcore.labs.judge import Case, Exercise, Mistake, Property, Verdict, judge
from lbcore.labs.sni.reading import number
from lbcore.wire.tls_compose import client_hello, handshake


# ------------------------------------------------------------------------------------------------- 3: the name in it
def right_name(message: bytes) -> str | None:
    """The server name, in lower case; None if there is none."""
    for kind, start, end in extensions(message):
        if kind == 0:
            size = number(message, start + 3, 2)
            if start + 5 + size > end:
                raise ValueError("the name is longer than what it is in")
            return message[start + 5 : start + 5 + size].decode().lower()
    return None


def extensions(message: bytes, session_id: int | None = None) -> list[tuple[int, int, int]]:
    """(type, start, end) of each extension's body. session_id: a size to take instead of the one that is said."""
    at = 39 + (number(message, 38, 1) if session_id is None else session_id)
    at += 2 + number(message, at, 2)
    at += 1 + number(message, at, 1)
    found = []
    if at < len(message):
        at += 2
    while at < len(message):
        start = at + 4
        end = start + number(message, at + 2, 2)
        if end > len(message):
            raise ValueError("an extension is longer than the message")
        found.append((number(message, at, 2), start, end))
        at = end
    return found


def name_cases(seed: int) -> list[Case]:
    """The name first, in other places, in capitals, not there; no session id; no extensions; then lies."""
    rng = random.Random(seed)
    plain = client_hello("shop.example", seed=seed)
    found = [plain, client_hello("shop.example", session_id=False, seed=seed)]
    found += [client_hello(f"www{n}.shop.example", shuffled=True, seed=seed + n) for n in range(1, 6)]
    found += [
        client_hello("Shop.EXAMPLE", seed=seed),
        client_hello(None, seed=seed),
        client_hello(None, alpn=(), seed=1),
    ]
    found.append(client_hello("evil.example", alpn=["shop.example"], shuffled=True, seed=seed))
    fixed = b"\3\3" + rng.randbytes(32) + b"\0" + b"\0\2\x13\1" + b"\1\0"
    found += [handshake(fixed), handshake(fixed + b"\0\0")]
    found.append(client_hello("big.example", post_quantum=True, ech=True, shuffled=True, seed=seed + 9))
    at = plain.index(b"shop.example")
    lies = [plain[: at - 2] + b"\0\x0d" + plain[at:], plain[: at - 2] + b"\xff\xff" + plain[at:]]
    lies += [plain[: at - 7] + b"\x7f\xff" + plain[at - 5 :], plain[:71] + b"\xff\xff" + plain[73:]]
    return [Case((one,)) for one in [*found, *lies]]


def text_or_none(answer: Any, *_: Any) -> str | None:
    """Text, or None."""
    if answer is None or type(answer) is str:
        return None
    return "Give back text (decode the bytes), or None where there is no name."


def body(message: bytes, cut: int = 0) -> str | None:
    """The extension's body as text, from `cut` on."""
    found = next(((start, end) for kind, start, end in extensions(message) if kind == 0), None)
    return None if found is None else message[found[0] + cut : found[1]].decode().lower()


def assumed(message: bytes, session_id: int = 32) -> str | None:
    """The name for who takes the session id to have this size."""
    try:
        places = extensions(message, session_id)
    except ValueError:
        return None
    return next((message[start + 5 : end].decode("latin-1").lower() for kind, start, end in places if kind == 0), None)


def first_one(message: bytes) -> str | None:
    """The name if it is the first extension."""
    places = extensions(message)
    return right_name(message) if places and places[0][0] == 0 else None


def capital(message: bytes) -> str | None:
    """The name as it was written."""
    name = right_name(message)
    at = -1 if name is None else message.lower().index(name.encode())
    return name if name is None else message[at : at + len(name)].decode()


NAME = Exercise(
    names=("message",),
    right=right_name,
    praise="Right in all {cases} cases: you walk by the lengths, and do not walk off the end.",
    mistakes=(
        Mistake(
            "as_written",
            capital,
            "Host names do not know capitals, and your table will be asked for this one: give it in lower case.",
        ),
        Mistake(
            "first_extension",
            first_one,
            "You look at the first extension. They may stand in any order, and browsers shuffle them: walk to type 0.",
        ),
        Mistake(
            "session_id_assumed",
            assumed,
            "The session id has 32 bytes often, not always. Its length is byte 38: add what it says.",
        ),
        Mistake(
            "list_and_all",
            body,
            "The body is a list: two bytes of length, a type (0), two bytes of the name's length, then the name.",
        ),
        Mistake(
            "list_length_only",
            lambda message: body(message, 2),
            "Behind the list's length come a type and the name's own length: three more bytes before the name.",
        ),
        Mistake(
            "empty_text",
            lambda message: right_name(message) or "",
            "Where there is no name the answer is None. Empty text would be a name, of nobody.",
        ),
    ),
    properties=(Property("not_text", text_or_none),),
    advice={
        "IndexError": ("outside", "a length led you beyond the end. Such a hello lies: raise ValueError instead."),
        "UnicodeDecodeError": ("not_the_name", "what you decode is not the name. Are you at the right place?"),
    },
    accepted=lambda message: (
        "A length here leads beyond what it is in. Slices do not complain, so you must: raise ValueError."
    ),
)


def check_server_name(server_name: Any, seed: int = 1) -> Verdict:
    """Exercise 3: server_name(message) -> the name in lower case, None, or ValueError."""
    return judge(NAME, server_name, name_cases(seed))
