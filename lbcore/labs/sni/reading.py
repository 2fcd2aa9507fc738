"""Lab 06, exercises 1 and 2: is this a record, and the handshake message that lies in records.

Rule of this file: specifications, cases and hints. Cases are hellos written by hand, cut into records and cut again
where the network might: in every header and at both ends. What is no TLS must be refused by ValueError.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

from lbcore.labs.judge import Case, Exercise, Mistake, Property, Verdict, judge
from lbcore.wire.tls_compose import client_hello, handshake, records

HEADER, LIMIT, HELLO = 5, 2**14, 1
HTTP = b"GET / HTTP/1.1\r\nHost: shop.example\r\n\r\n"
ALERT = bytes([21, 3, 3, 0, 2, 2, 40])
EARLY = bytes([20, 3, 3, 0, 1, 1, 23, 3, 3, 0, 9]) + b"encrypted"  # what a client may send right after its hello


def number(data: bytes, at: int, size: int) -> int:
    """A big-endian number. ValueError if it is not there."""
    if at + size > len(data):
        raise ValueError(f"bytes {at} to {at + size - 1} are beyond the end")
    return int.from_bytes(data[at : at + size], "big")


# ------------------------------------------------------------------------------------------- 1: a record, or more of it
def right_missing(data: bytes) -> int:
    """How many bytes at least are missing from the first record; 0 when it is whole."""
    if data[:1] not in (b"", b"\x16") or data[1:2] not in (b"", b"\x03"):
        raise ValueError("not a handshake record")
    if len(data) < HEADER:
        return HEADER - len(data)
    size = number(data, 3, 2)
    if not 1 <= size <= LIMIT:
        raise ValueError("not a record's length")
    return max(0, HEADER + size - len(data))


def missing_cases(seed: int) -> list[Case]:
    """Nothing, headers cut short, bodies cut short, whole records, more than one; then what is none."""
    rng = random.Random(seed)
    whole = [records(client_hello(seed=seed)), records(client_hello(post_quantum=True, seed=seed))]
    whole += [bytes([22, 3, 1, 0x01, 0x02]) + rng.randbytes(0x102), bytes([22, 3, 4, 0x40, 0]) + rng.randbytes(LIMIT)]
    cuts = [0, 1, 3, 4, 5, 6, 100, 260]
    found = [one[:cut] for one in whole for cut in [*cuts, len(one) - 1, len(one)]]
    found += [one + more for one in whole for more in (b"\x16", one)]
    none = [
        HTTP,
        b"G",
        ALERT,
        b"\x16\x02",
        bytes([22, 3, 1, 0, 0]),
        bytes([22, 3, 1, 0x40, 1]),
        b"\r\n\r\n\0\r\nQUIT\n",
    ]
    return [Case((one,)) for one in [*found, *none]]


def no_record(data: bytes) -> str:
    """Why a stream is none of TLS."""
    if data[:1] != b"\x16":
        return "The first byte of a handshake record is 22. This is something else, and no further byte can mend it."
    if data[1:2] != b"\x03":
        return "Byte 1, the version's first, is 3 in all of TLS. Anything else is no TLS: raise ValueError."
    return "A record's length is 1 to 16384. This one is not: raise ValueError."


def a_count(answer: Any, *_: Any) -> str | None:
    """A number of bytes."""
    if type(answer) is not int:
        return "Give back a whole number: how many bytes are missing."
    return "A record cannot miss fewer than 0 bytes. What follows it is the next record's." if answer < 0 else None


MISSING = Exercise(
    names=("data",),
    right=right_missing,
    praise="Right in all {cases} cases: you know when to wait, and for what to refuse at the first byte.",
    mistakes=(
        Mistake(
            "header_forgotten",
            lambda data: max(0, number(data, 3, 2) - len(data)) if len(data) >= 5 else 5 - len(data),
            "The length counts what comes after the header. The record is 5 bytes longer.",
        ),
        Mistake(
            "little_endian",
            lambda data: (
                max(0, 5 + int.from_bytes(data[3:5], "little") - len(data)) if len(data) >= 5 else 5 - len(data)
            ),
            "You read the length with its low byte first. On the wire the high byte comes first: big.",
        ),
        Mistake(
            "one_byte_length",
            lambda data: max(0, 5 + data[4] - len(data)) if len(data) >= 5 else 5 - len(data),
            "The length has two bytes, 3 and 4. You read the second one only.",
        ),
        Mistake(
            "short_is_whole",
            lambda data: right_missing(data) if len(data) >= 5 else 0,
            "With fewer than 5 bytes the length has not arrived. Ask for the rest of the header.",
        ),
        Mistake(
            "all_of_it",
            lambda data: 0 if right_missing(data) == 0 else 5 + number(data, 3, 2) if len(data) >= 5 else 5,
            "You give the record's size. Part of it is here already.",
        ),
    ),
    properties=(Property("not_a_count", a_count),),
    advice={"IndexError": ("not_there", "you read a byte that has not arrived. Look at len(data) first.")},
    accepted=no_record,
)


def check_missing(missing: Any, seed: int = 1) -> Verdict:
    """Exercise 1: missing(data) -> bytes that the first record lacks at least, or ValueError."""
    return judge(MISSING, missing, missing_cases(seed))


# ------------------------------------------------------------------------------------------ 2: the message in records
def whole_records(data: bytes) -> list[bytes]:
    """The bodies of the records that are whole, up to the first that is not."""
    found = []
    while data and not right_missing(data):
        size = number(data, 3, 2)
        found.append(data[HEADER : HEADER + size])
        data = data[HEADER + size :]
    return found


def right_message(data: bytes) -> bytes | None:
    """The ClientHello message, its own 4 bytes of header included; None as long as it is not whole."""
    message = b""
    while data and not right_missing(data):
        size = number(data, 3, 2)
        message += data[HEADER : HEADER + size]
        data = data[HEADER + size :]
        if message[0] != HELLO:
            raise ValueError("not a ClientHello")
        if len(message) >= 4 and len(message) >= 4 + number(message, 1, 3):
            return message[: 4 + number(message, 1, 3)]
    return None


def message_cases(seed: int) -> list[Case]:
    """One record; several, cut anywhere; parts of them; what follows; then what is no hello."""
    rng = random.Random(seed)
    small, large = client_hello(seed=seed), client_hello(post_quantum=True, ech=True, shuffled=True, seed=seed)
    found = [records(small), records(small)[:-1], records(large), b"", records(small)[:3]]
    found += [records(one, size) for one in (small, large) for size in (1, 3, 4, 100, 1000)]
    found += [records(large, size)[: rng.randrange(1, 1500)] for size in (50, 400, 1000) for _ in range(3)]
    found += [records(one, 200) + EARLY for one in (small, large)] + [records(small) + records(small)]
    second = records(large, 300)
    none = [HTTP, ALERT, records(handshake(bytes(70), 2)), second[:305] + ALERT + second[305:]]
    return [Case((one,)) for one in [*found, *none]]


def no_hello(data: bytes) -> str:
    """Why records carry no hello."""
    if data[:1] == b"\x16" and data[5:6] != b"\x01":
        return "The message's first byte is its type, and a ClientHello is 1. This is another: raise ValueError."
    return "There is a record here that is no handshake record, and the hello is not whole: raise ValueError."


def some_bytes(answer: Any, *_: Any) -> str | None:
    """Bytes, or None."""
    return (
        None if answer is None or type(answer) is bytes else "Give back bytes, or None as long as they do not suffice."
    )


def until(data: bytes, end: Callable[[bytes], int], *, wait: bool = True) -> bytes | None:
    """A message whose end is where `end` says."""
    right = right_message(data)  # ValueError where there is none
    message = b"".join(whole_records(data)) if right is None else right
    if right is None:
        return None if wait else message
    return message[: end(message)]


MESSAGE = Exercise(
    names=("data",),
    right=right_message,
    praise="Right in all {cases} cases, with records of a single byte among them.",
    mistakes=(
        Mistake(
            "first_record_only",
            lambda data: data[HEADER : HEADER + number(data, 3, 2)] if data and not right_missing(data) else None,
            "You give back the first record. A message may lie in several: go on until it is as long as it says.",
        ),
        Mistake(
            "headers_left_in",
            lambda data: (
                data[HEADER : HEADER + 4 + number(data, 6, 3)]
                if len(data) >= 9 and len(data) >= 9 + number(data, 6, 3)
                else None
            ),
            "Every record has a header of 5 bytes. You took off the first one; the others are inside your message.",
        ),
        Mistake(
            "four_bytes_short",
            lambda data: until(data, lambda message: number(message, 1, 3)),
            "The message's length does not count its own header: type and length, 4 bytes.",
        ),
        Mistake(
            "did_not_wait",
            lambda data: until(data, len, wait=False),
            "You give back what has come so far. Until it is whole the answer is None.",
        ),
        Mistake(
            "header_cut_off",
            lambda data: (right_message(data) or b"")[4:] or None,
            "The first 4 bytes, type and length, are part of the message. Leave them in.",
        ),
    ),
    properties=(Property("not_bytes", some_bytes),),
    advice={"IndexError": ("not_there", "you read a byte that has not arrived: a header may be cut as well.")},
    accepted=no_hello,
)


def check_message(message: Any, seed: int = 1) -> Verdict:
    """Exercise 2: message(data) -> the handshake message, None while it is not whole, or ValueError."""
    return judge(MESSAGE, message, message_cases(seed))
