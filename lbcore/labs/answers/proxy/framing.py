"""Lab 07, exercise 3: answers that must pass, and mistakes with the key of the hint each must get.

Rule of this file: no answer shares code with the checker, which has its own models of the mistakes.
"""

# mypy: ignore-errors

import re
import string

from lbcore.labs.answers import Answers

ANSWERS = Answers()
RIGHT, WRONG, right, wrong = ANSWERS.RIGHT, ANSWERS.WRONG, ANSWERS.right, ANSWERS.wrong


TOKEN = frozenset(string.ascii_letters + string.digits + "!#$%&'*+.^_`|~-")


def pairs(head):
    """Name and value of each line; ValueError for what is no field."""
    found = []
    for line in head.split("\r\n")[1:-2]:
        name, colon, value = line.partition(":")
        if not (colon and name and set(name) <= TOKEN) or any(
            (ord(c) < 32 and c != "\t") or ord(c) == 127 for c in value
        ):
            raise ValueError(line)
        found.append((name.lower(), value.strip(" \t")))
    return found


def one(fields, wanted):
    found = [value for name, value in fields if name == wanted]
    if len(found) > 1:
        raise ValueError(f"{wanted} twice")
    return found[0] if found else None


@right("framing")
def framing_by_pairs(head):
    fields = pairs(head)
    length, coding = one(fields, "content-length"), one(fields, "transfer-encoding")
    if coding is not None:
        if length is not None or coding.lower() != "chunked" or head.split("\r\n")[0].endswith("/1.0"):
            raise ValueError("transfer-encoding")
        return None
    if length is None:
        return 0
    if not length or len(length) > 18 or not set(length) <= set(string.digits):
        raise ValueError("content-length")
    return int(length)


@right("framing")
def framing_by_pattern(head):
    """One pattern for a head in order, and a second for what it may say of its body."""
    field = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+:[\t\x20-\x7e\x80-\xff]*\r\n"
    first, _, rest = head.partition("\r\n")
    if not re.fullmatch(rf"(?:{field})*\r\n", rest):
        raise ValueError("not in order")
    said = re.findall(r"(?im)^((?:content-length|transfer-encoding):.*?)[ \t]*\r$", rest)
    if not said:
        return 0
    if len(said) > 1:
        raise ValueError("said twice")
    if found := re.fullmatch(r"(?i)content-length:[ \t]*([0-9]{1,18})", said[0]):
        return int(found[1])
    if re.fullmatch(r"(?i)transfer-encoding:[ \t]*chunked", said[0]) and "HTTP/1.1" in first:
        return None
    raise ValueError(said[0])


def sloppy(head, **instead):
    """The right answer, but for one kind of head."""
    fields = pairs(head)
    lengths = [value for name, value in fields if name == "content-length"]
    codings = [value for name, value in fields if name == "transfer-encoding"]
    for name, test in {
        "both": lengths and codings,
        "lengths": len(lengths) > 1,
        "codings": codings and [one.lower() for one in codings] != ["chunked"],
        "old": codings and head.split("\r\n")[0].endswith("1.0"),
        "number": lengths and not re.fullmatch("[0-9]{1,18}", lengths[0]),
    }.items():
        if test and name in instead:
            return instead[name](lengths, codings)
    return framing_by_pairs(head)


@wrong("framing", "both")
def framing_chunks_win(head):
    return sloppy(head, both=lambda lengths, codings: None)


@wrong("framing", "both")
def framing_length_wins(head):
    return sloppy(head, both=lambda lengths, codings: int(lengths[0]))


@wrong("framing", "two_lengths")
def framing_last_wins(head):
    return sloppy(head, lengths=lambda lengths, codings: int(lengths[-1]))


@wrong("framing", "two_lengths")
def framing_first_wins(head):
    return sloppy(head, lengths=lambda lengths, codings: int(lengths[0]))


@wrong("framing", "no_number")
def framing_int(head):
    return sloppy(head, number=lambda lengths, codings: int(lengths[0]))


@wrong("framing", "no_number")
def framing_isdigit(head):
    def number(lengths, codings):
        if not lengths[0].isdigit():
            raise ValueError(lengths[0])
        return int(lengths[0])

    return sloppy(head, number=number)


@wrong("framing", "other_coding")
def framing_last_coding(head):
    def last(lengths, codings):
        if not codings[-1].lower().endswith("chunked"):
            raise ValueError(codings)

    return sloppy(head, codings=last)


@wrong("framing", "no_field")
def framing_mends_names(head):
    return framing_by_pairs(re.sub(r"[ \t\xa0]+:", ":", head))


@wrong("framing", "no_field")
def framing_unfolds(head):
    return framing_by_pairs(re.sub(r"\r\n[ \t]+", " ", head))


@wrong("framing", "other_line_ends")
def framing_splitlines(head):
    return framing_by_pairs("".join(f"{line}\r\n" for line in re.split("\r\n|\n|\r", head)[:-1]))


@wrong("framing", "other_blanks")
def framing_strips(head):
    """As str.strip() does."""
    lines = [line.partition(":") for line in head.split("\r\n")]
    return framing_by_pairs("\r\n".join(name + colon + value.strip(" \t\x0b\x0c\x1c") for name, colon, value in lines))


@wrong("framing", "older_than_chunks")
def framing_ageless(head):
    return sloppy(head, old=lambda lengths, codings: None)


@wrong("framing", "names_as_written")
def framing_title_case(head):
    framing_by_pairs(head)
    if re.search(r"\r\nTransfer-Encoding:[ \t]*(?i:chunked)[ \t]*\r\n", head):
        return None
    found = re.search(r"\r\nContent-Length:[ \t]*([0-9]+)[ \t]*\r\n", head)
    return int(found[1]) if found else 0


@wrong("framing", "codings_as_written")
def framing_lower_only(head):
    wanted = framing_by_pairs(head)
    return wanted if wanted is not None or one(pairs(head), "transfer-encoding") == "chunked" else 0


@wrong("framing", "waits_for_the_end")
def framing_until_close(head):
    wanted = framing_by_pairs(head)
    return wanted if one(pairs(head), "content-length") else None


@wrong("framing", "found_anywhere")
def framing_searching(head):
    wanted = framing_by_pairs(head)
    found = [value for name, value in pairs(head) if "content-length" in name]
    return wanted if wanted is None or not found else int(found[0])


@wrong("framing", "chunks_not_known")
def framing_lengths_only(head):
    return framing_by_pairs(head) or 0


@wrong("framing", "octal")
def framing_octal(head):
    wanted = framing_by_pairs(head)
    text = one(pairs(head), "content-length") or ""
    return int(text, 8) if text.startswith("00") else wanted


@wrong("framing", "not_a_size")
def framing_text(head):
    framing_by_pairs(head)
    return one(pairs(head), "content-length") or framing_by_pairs(head)


@wrong("framing", "another_end")
def framing_head_too(head):
    wanted = framing_by_pairs(head)
    return wanted and wanted + len(head)


@wrong("framing", "refused")
def framing_needs_value(head):
    if any(not value for _, value in pairs(head)):
        raise ValueError("an empty value")
    return framing_by_pairs(head)
