"""Lab 06: answers that must pass, and mistakes with the key of the hint each must get.

Rule of this file: no answer shares code with the checker, which has its own models of the mistakes.
"""

# mypy: ignore-errors

import struct

from lbcore.labs.answers import Answers

ANSWERS = Answers()
RIGHT, WRONG, right, wrong = ANSWERS.RIGHT, ANSWERS.WRONG, ANSWERS.right, ANSWERS.wrong


# --------------------------------------------------------------------------------------------------- 1: missing
@right("missing")
def missing_plain(data):
    if len(data) > 0 and data[0] != 22:
        raise ValueError("type")
    if len(data) > 1 and data[1] != 3:
        raise ValueError("version")
    if len(data) < 5:
        return 5 - len(data)
    size = data[3] * 256 + data[4]
    if size == 0 or size > 16384:
        raise ValueError("length")
    return size + 5 - len(data) if size + 5 > len(data) else 0


@right("missing")
def missing_unpacked(data):
    if not b"\x16\x03".startswith(data[:2]):
        raise ValueError(data[:2])
    if len(data) < 5:
        return 5 - len(data)
    (size,) = struct.unpack_from("!H", data, 3)
    if size not in range(1, 16385):
        raise ValueError(size)
    return max(5 + size, len(data)) - len(data)


@wrong("missing", "header_forgotten")
def missing_header(data):
    missing_plain(data)
    return max(0, int.from_bytes(data[3:5], "big") - len(data)) if len(data) > 4 else 5 - len(data)


@wrong("missing", "little_endian")
def missing_little(data):
    missing_plain(data)
    return max(0, 5 + struct.unpack_from("<H", data, 3)[0] - len(data)) if len(data) > 4 else 5 - len(data)


@wrong("missing", "one_byte_length")
def missing_low_byte(data):
    missing_plain(data)
    return max(0, 5 + data[4] - len(data)) if len(data) > 4 else 5 - len(data)


@wrong("missing", "short_is_whole")
def missing_no_wait(data):
    return missing_plain(data) if len(data) > 4 else missing_plain(data) * 0


@wrong("missing", "all_of_it")
def missing_total(data):
    if missing_plain(data) == 0:
        return 0
    return 5 + struct.unpack_from("!H", data, 3)[0] if len(data) > 4 else 5


@wrong("missing", "accepted")
def missing_trusting(data):
    return max(0, 5 + int.from_bytes(data[3:5], "big") - len(data)) if len(data) > 4 else 5 - len(data)


@wrong("missing", "accepted")
def missing_trusting_lengths(data):
    if not b"\x16\x03".startswith(data[:2]):
        raise ValueError(data[:2])
    return max(0, 5 + int.from_bytes(data[3:5], "big") - len(data)) if len(data) > 4 else 5 - len(data)


@wrong("missing", "not_there")
def missing_indexing(data):
    if data[0] != 22 or data[1] != 3:
        raise ValueError("no record")
    return missing_plain(data)


@wrong("missing", "not_a_count")
def missing_negative(data):
    missing_plain(data)
    return 5 + int.from_bytes(data[3:5], "big") - len(data) if len(data) > 4 else 5 - len(data)


@wrong("missing", "refused")
def missing_version(data):
    if not b"\x16\x03\x01".startswith(data[:3]):
        raise ValueError("TLS 1.0 wanted")
    return missing_plain(data)


# --------------------------------------------------------------------------------------------------- 2: message
def bodies(data):
    """The bodies of whole records; ValueError at one that is none."""
    while data:
        if missing_plain(data):
            return
        (size,) = struct.unpack_from("!H", data, 3)
        yield data[5 : 5 + size]
        data = data[5 + size :]


def grown(data):
    """The message so far, and whether it is whole."""
    out = b""
    for one in bodies(data):
        out += one
        if out[0] != 1:
            raise ValueError("no hello")
        if len(out) > 3 and len(out) >= int.from_bytes(out[:4], "big") - (1 << 24) + 4:
            return out, True
    return out, False


@right("message")
def message_by_generator(data):
    out, whole = grown(data)
    return out if whole else None


@right("message")
def message_by_place(data):
    at, out, wanted = 0, bytearray(), None
    while wanted is None or len(out) < wanted:
        if missing_unpacked(data[at:]):
            return None
        size = data[at + 3] << 8 | data[at + 4]
        out += data[at + 5 : at + 5 + size]
        at += 5 + size
        if not out.startswith(b"\x01"):
            raise ValueError("no hello")
        if len(out) >= 4:
            wanted = 4 + (out[1] << 16 | out[2] << 8 | out[3])
    return bytes(out[:wanted])


@wrong("message", "first_record_only")
def message_first(data):
    if not data or missing_plain(data):
        return None
    grown(data)
    return next(bodies(data))


@wrong("message", "headers_left_in")
def message_with_headers(data):
    grown(data)
    if len(data) < 9:
        return None
    end = 9 + int.from_bytes(data[6:9], "big")
    return data[5:end] if len(data) >= end else None


@wrong("message", "four_bytes_short")
def message_short(data):
    out, whole = grown(data)
    return out[: int.from_bytes(out[1:4], "big")] if whole else None


@wrong("message", "did_not_wait")
def message_hasty(data):
    return grown(data)[0]


@wrong("message", "header_cut_off")
def message_body(data):
    out, whole = grown(data)
    return out[4:] if whole else None


@wrong("message", "refused")
def message_too_far(data):
    """Looks at all records, also at those behind the hello."""
    out = b"".join(bodies(data))
    if out and out[0] != 1:
        raise ValueError("no hello")
    size = 4 + int.from_bytes(out[1:4], "big")
    return out[:size] if len(out) >= max(4, size) else None


@wrong("message", "accepted")
def message_any_type(data):
    out = b""
    for one in bodies(data):
        out += one
        if len(out) > 3 and len(out) >= 4 + int.from_bytes(out[1:4], "big"):
            return out
    return None


@wrong("message", "not_bytes")
def message_list(data):
    out, whole = grown(data)
    return [out] if whole else None


@wrong("message", "not_there")
def message_indexing(data):
    out = b""
    for one in bodies(data):
        out += one
        if out[0] != 1:
            raise ValueError("no hello")
        if len(out) >= 4 + (out[1] << 16) + (out[2] << 8) + out[3]:
            return out
    return None


# ------------------------------------------------------------------------------------------------------ 3: name
class Reader:
    """Takes fields off the front, and refuses to take what is not there."""

    def __init__(self, data):
        self.data = data

    def take(self, size):
        if size > len(self.data):
            raise ValueError("beyond the end")
        out, self.data = self.data[:size], self.data[size:]
        return out

    def vector(self, width):
        return Reader(self.take(int.from_bytes(self.take(width), "big")))


@right("name")
def name_by_reader(message):
    whole = Reader(message)
    whole.take(4 + 2 + 32)
    for width in (1, 2, 1):
        whole.vector(width)
    if not whole.data:
        return None
    rest = whole.vector(2)
    while rest.data:
        kind, body = rest.take(2), rest.vector(2)
        if kind == b"\0\0":
            names = Reader(body.data[2:])
            names.take(1)
            return names.vector(2).data.decode("ascii").lower()
    return None


def places(message, session=None):
    """type: (start, end) of each extension."""
    at = 38
    at += 1 + (message[38] if session is None else session)
    at += 2 + int.from_bytes(message[at : at + 2], "big")
    if at >= len(message):
        raise ValueError("beyond the end")
    at += 1 + message[at]
    at += 2
    found = {}
    while at + 4 <= len(message):
        kind, size = struct.unpack_from("!HH", message, at)
        if at + 4 + size > len(message):
            raise ValueError("beyond the end")
        found[kind] = (at + 4, at + 4 + size)
        at += 4 + size
    return found


@right("name")
def name_by_places(message):
    if 0 not in (found := places(message)):
        return None
    start, end = found[0]
    size = message[start + 3] << 8 | message[start + 4]
    if start + 5 + size > end:
        raise ValueError("beyond its extension")
    return str(message[start + 5 : start + 5 + size], "ascii").lower()


@wrong("name", "as_written")
def name_with_capitals(message):
    if name_by_places(message) is None:
        return None
    start, end = places(message)[0]
    return message[start + 5 : end].decode()


@wrong("name", "first_extension")
def name_first(message):
    name = name_by_places(message)
    return name if name and next(iter(places(message))) == 0 else None


@wrong("name", "session_id_assumed")
def name_fixed(message):
    try:
        found = places(message, 32)
    except (ValueError, IndexError):
        found = {}
    if message[38] == 32:
        return name_by_places(message)
    return message[found[0][0] + 5 : found[0][1]].decode().lower() if 0 in found else None


@wrong("name", "list_and_all")
def name_whole_body(message):
    if name_by_places(message) is None:
        return None
    start, end = places(message)[0]
    return message[start:end].decode().lower()


@wrong("name", "list_length_only")
def name_half_body(message):
    if name_by_places(message) is None:
        return None
    start, end = places(message)[0]
    return message[start + 2 : end].decode().lower()


@wrong("name", "empty_text")
def name_empty(message):
    return name_by_places(message) or ""


@wrong("name", "accepted")
def name_by_slices(message):
    at = 39 + message[38]
    at += 2 + int.from_bytes(message[at : at + 2], "big")
    at += 1 + int.from_bytes(message[at : at + 1], "big") + 2
    while at < len(message):
        kind, size = int.from_bytes(message[at : at + 2], "big"), int.from_bytes(message[at + 2 : at + 4], "big")
        if kind == 0:
            size = int.from_bytes(message[at + 7 : at + 9], "big")
            return message[at + 9 : at + 9 + size].decode("latin-1").lower()
        at += 4 + size
    return None


@wrong("name", "outside")
def name_indexing(message):
    at = 39 + message[38]
    at += 2 + (message[at] << 8 | message[at + 1])
    at += 1 + message[at]
    return name_by_places(message)


@wrong("name", "not_text")
def name_bytes(message):
    name = name_by_places(message)
    return name and name.encode()


@wrong("name", "differs")
def name_searched(message):
    """Looks for what looks like a name."""
    name_by_places(message)
    at = message.find(b".example")
    if at < 0:
        return None
    start = at
    while chr(message[start - 1]).isalnum():
        start -= 1
    return message[start : at + 8].decode().lower()


# ---------------------------------------------------------------------------------------------------- 4: choose
@right("choose")
def choose_by_tails(name, ech, routes, default):
    labels = name.split(".") if name else []
    keys = [name] + ["*." + ".".join(labels[at:]) for at in range(1, len(labels))]
    for key in keys:
        if key in routes:
            return routes[key]
    return default


@right("choose")
def choose_by_length(name, ech, routes, default):
    if not name:
        return default
    fits = [p for p in routes if p == name or (p.startswith("*") and name.endswith(p[1:]))]
    return routes[max(fits, key=lambda p: (p == name, len(p)))] if fits else default


@wrong("choose", "ech_apart")
def choose_ech(name, ech, routes, default):
    return default if ech else choose_by_tails(name, ech, routes, default)


@wrong("choose", "bare_name")
def choose_bare(name, ech, routes, default):
    if name in routes:
        return routes[name]
    while name:
        if "*." + name in routes:
            return routes["*." + name]
        name = name.partition(".")[2]
    return default


@wrong("choose", "no_dot")
def choose_suffix(name, ech, routes, default):
    if name in routes:
        return routes[name]
    fits = [p for p in routes if name and p[0] == "*" and name.endswith(p[2:]) and name != p[2:]]
    return routes[max(fits, key=len)] if fits else default


@wrong("choose", "one_label")
def choose_certificate(name, ech, routes, default):
    if name is None:
        return default
    return routes.get(name) or routes.get("*." + name.partition(".")[2]) or default


@wrong("choose", "first_that_fits")
def choose_in_order(name, ech, routes, default):
    for pattern, backend in routes.items():
        if name and (name == pattern or (pattern[0] == "*" and name.endswith(pattern[1:]))):
            return backend
    return default


@wrong("choose", "exact_only")
def choose_exact(name, ech, routes, default):
    return routes.get(name, default)


@wrong("choose", "wildcard_first")
def choose_wild(name, ech, routes, default):
    for at in range(len(name or "")):
        if name[at] == "." and "*" + name[at:] in routes:
            return routes["*" + name[at:]]
    return routes.get(name, default)


@wrong("choose", "no_name")
def choose_nameless(name, ech, routes, default):
    if name in routes:
        return routes[name]
    return choose_by_tails(name.lower(), ech, routes, default)


@wrong("choose", "nobody")
def choose_nobody(name, ech, routes, default):
    return routes.get(choose_by_tails(name, ech, {key: key for key in routes}, ""))


@wrong("choose", "unknown")
def choose_certain(name, ech, routes, default):
    return routes[choose_by_tails(name, ech, {key: key for key in routes}, "")]


# ----------------------------------------------------------------------------------------------------- 5: route
@right("route")
def route_plain(data, routes, default):
    hello = message_by_place(data)
    if hello is None and len(data) > 16384:
        raise ValueError("too long")
    return None if hello is None else choose_by_length(name_by_reader(hello), True, routes, default)


@right("route")
def route_by_growing(data, routes, default):
    out, whole = grown(data)
    if whole:
        return choose_by_tails(name_by_places(out), False, routes, default)
    if len(data) <= 16384:
        return None
    raise ValueError("too long")


@wrong("route", "reads_once")
def route_once(data, routes, default):
    return route_plain(data, routes, default) or default


@wrong("route", "name_with_capitals")
def route_capitals(data, routes, default):
    out, whole = grown(data)
    route_plain(data, routes, default)
    return choose_by_tails(name_with_capitals(out), False, routes, default) if whole else None


@wrong("route", "first_record_only")
def route_first(data, routes, default):
    route_plain(data, routes, default)
    out, whole = grown(data)
    if not whole:
        return None
    one = next(bodies(data)) == out
    return choose_by_tails(name_by_places(out), False, routes, default) if one else default


@wrong("route", "nameless_waits")
def route_wants_names(data, routes, default):
    out, whole = grown(data)
    route_plain(data, routes, default)
    return route_plain(data, routes, default) if whole and name_by_places(out) else None


@wrong("route", "accepted")
def route_patient(data, routes, default):
    out, whole = grown(data)
    return choose_by_tails(name_by_places(out), False, routes, default) if whole else None


@wrong("route", "not_a_backend")
def route_name(data, routes, default):
    out, whole = grown(data)
    route_plain(data, routes, default)
    return (name_by_places(out) or default) if whole else None


@wrong("route", "raised")
def route_not_waiting(data, routes, default):
    return choose_by_tails(name_by_places(grown(data)[0]), False, routes, default)
