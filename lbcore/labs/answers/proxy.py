"""Lab 07: answers that must pass, and mistakes with the key of the hint each must get.

Rule of this file: no answer shares code with the checker, which has its own models of the mistakes.
"""

# mypy: ignore-errors

import asyncio
import contextlib
import re
import string
from urllib.parse import unquote

from lbcore.labs.answers import Answers

ANSWERS = Answers()
RIGHT, WRONG, right, wrong = ANSWERS.RIGHT, ANSWERS.WRONG, ANSWERS.right, ANSWERS.wrong

PLAIN = string.ascii_letters + string.digits + "-._~"


# ---------------------------------------------------------------------------------------------------- 1: route
def strict(path):
    """ValueError for what the exercise refuses; else the path."""
    lower = path.lower()
    if "%2f" in lower or "%5c" in lower or "\\" in lower:
        raise ValueError("a slash or a letter?")
    for place, one in enumerate(path):
        if one == "%" and not (len(path) > place + 2 and set(path[place + 1 : place + 3]) <= set(string.hexdigits)):
            raise ValueError("half an escape")
    return path


def opened(path):
    """The escapes of plain characters, decoded letter by letter."""
    out, rest = "", path
    while rest:
        letter = chr(int(rest[1:3], 16)) if rest[0] == "%" else ""
        out += letter if letter and letter in PLAIN else rest[:3] if letter else rest[0]
        rest = rest[3 if letter else 1 :]
    return out


def steps(path):
    """Dots walked; what leads above the root is refused."""
    done = []
    for one in filter(None, path.split("/")):
        if one == "..":
            if not done:
                raise ValueError("above the root")
            done = done[:-1]
        elif one != ".":
            done = [*done, one]
    return done


def cut(path):
    return steps(opened(strict(path)))


def fits_host(pattern, host):
    return pattern == "*" or pattern == host or (pattern.startswith("*.") and host.endswith(pattern[1:]))


def host_rank(pattern):
    return 0 if pattern == "*" else len(pattern) if pattern.startswith("*") else 1000


@right("route")
def route_sorted(method, host, path, routes):
    here = "/".join(["", *cut(path), ""])
    table = sorted(routes, key=lambda one: (host_rank(one[0]), len(one[1].strip("/")), one[2] != "*"), reverse=True)
    for pattern, prefix, verb, backend in table:
        if fits_host(pattern, host) and verb in ("*", method) and here.startswith(prefix.rstrip("/") + "/"):
            return backend
    return None


@right("route")
def route_in_passes(method, host, path, routes):
    """Walks from the escape to the decision, throwing out routes on its way."""
    here = []
    for part in strict(path).split("/"):
        plain = re.sub("%[0-9A-Fa-f]{2}", lambda code: c if (c := unquote(code[0])) in PLAIN else code[0], part)
        if plain == "..":
            if here == []:
                raise ValueError("above the root")
            del here[-1]
        elif plain not in (".", ""):
            here.append(plain)
    left = [one for one in routes if fits_host(one[0], host) and one[2] in (method, "*")]
    left = [
        one
        for one in left
        if here[: one[1].count("/") if one[1] != "/" else 0] == one[1].split("/")[1:] or one[1] == "/"
    ]
    for better in (lambda one: host_rank(one[0]), lambda one: len(one[1]), lambda one: one[2] != "*"):
        best = max(map(better, left), default=0)
        left = [one for one in left if better(one) == best]
    return left[0][3] if left else None


def chosen(method, host, here, routes, key=None, under=None, on=fits_host):
    """Routing with a mistake in it."""
    under = under or (lambda prefix: here[: len(steps(prefix))] == steps(prefix))
    key = key or (lambda one: (host_rank(one[0]), len(one[1].strip("/")), one[2] != "*"))
    fits = [one for one in routes if on(one[0], host) and under(one[1]) and one[2] in ("*", method)]
    return max(fits, key=key)[3] if fits else None


@wrong("route", "no_border")
def route_by_letters(method, host, path, routes):
    here = cut(path)
    return chosen(method, host, here, routes, under=lambda prefix: ("/" + "/".join(here)).startswith(prefix))


@wrong("route", "shortest")
def route_shortest(method, host, path, routes):
    return chosen(
        method, host, cut(path), routes, lambda one: (host_rank(one[0]), -len(one[1].strip("/")), one[2] != "*")
    )


@wrong("route", "first_that_fits")
def route_first(method, host, path, routes):
    return chosen(method, host, cut(path), routes, lambda one: 0)


@wrong("route", "path_before_host")
def route_path_first(method, host, path, routes):
    return chosen(
        method, host, cut(path), routes, lambda one: (len(one[1].strip("/")), host_rank(one[0]), one[2] != "*")
    )


@wrong("route", "hosts_alike")
def route_any_host(method, host, path, routes):
    return chosen(method, host, cut(path), routes, lambda one: (len(one[1].strip("/")), one[2] != "*"))


@wrong("route", "bare_name")
def route_bare(method, host, path, routes):
    return chosen(method, host, cut(path), routes, on=lambda p, h: fits_host(p, h) or p == "*." + h)


@wrong("route", "no_dot")
def route_suffix(method, host, path, routes):
    def on(pattern, host):
        if pattern.startswith("*"):
            return host.endswith(pattern[2:])
        return pattern == host

    return chosen(method, host, cut(path), routes, on=on)


@wrong("route", "any_method")
def route_method_blind(method, host, path, routes):
    ranked = [[a, b, "*", number] for number, (a, b, _, _) in enumerate(routes)]
    key = lambda one: (host_rank(one[0]), len(one[1].strip("/")), routes[one[3]][2] != "*")  # noqa: E731
    found = chosen(method, host, cut(path), ranked, key)
    return None if found is None else routes[found][3]


@wrong("route", "method_no_matter")
def route_method_equal(method, host, path, routes):
    return chosen(method, host, cut(path), routes, lambda one: (host_rank(one[0]), len(one[1].strip("/"))))


@wrong("route", "last_listed")
def route_last(method, host, path, routes):
    return chosen(method, host, cut(path), routes[::-1])


@wrong("route", "as_written")
def route_raw(method, host, path, routes):
    cut(path)
    return chosen(method, host, [one for one in path.split("/") if one], routes)


@wrong("route", "escapes_left")
def route_not_decoded(method, host, path, routes):
    cut(path)
    return chosen(method, host, steps(path), routes)


@wrong("route", "dots_left")
def route_not_walked(method, host, path, routes):
    cut(path)
    return chosen(method, host, [one for one in opened(path).split("/") if one], routes)


@wrong("route", "decoded_late")
def route_late(method, host, path, routes):
    cut(path)
    return chosen(method, host, [opened(one) for one in steps(path)], routes)


@wrong("route", "decoded_twice")
def route_twice(method, host, path, routes):
    cut(path)
    return chosen(method, host, steps(unquote(unquote(path))), routes)


@wrong("route", "slash_or_not")
def route_unquoting(method, host, path, routes):
    here = steps("/".join(unquote(one) if "%25" not in one else one for one in path.split("/")))
    return chosen(method, host, here, routes)


@wrong("route", "above_the_root")
def route_forgiving(method, host, path, routes):
    here = []
    for one in opened(strict(path)).split("/"):
        here = here[:-1] if one == ".." else [*here, one] if one.strip(".") or len(one) > 2 else here
    return chosen(method, host, here, routes)


@wrong("route", "half_an_escape")
def route_int(method, host, path, routes):
    if re.search(r"%2f|%5c|\\", path, re.IGNORECASE):
        raise ValueError("a slash or a letter?")
    found = re.sub("%([0-9A-Fa-f]{2})", lambda code: c if (c := chr(int(code[1], 16))) in PLAIN else code[0], path)
    return chosen(method, host, steps(found), routes)


@wrong("route", "nobody")
def route_certain(method, host, path, routes):
    here = cut(path)
    fits = [one for one in routes if chosen(method, host, here, [one])]
    return sorted(fits, key=lambda one: (host_rank(one[0]), len(one[1].strip("/")), one[2] != "*"), reverse=True)[0][3]


@wrong("route", "not_a_backend")
def route_whole(method, host, path, routes):
    return next((one for one in routes if chosen(method, host, cut(path), [one])), None)


@wrong("route", "another_route")
def route_no_wildcards(method, host, path, routes):
    return chosen(method, host, cut(path), routes, on=lambda pattern, host: pattern in ("*", host))


# ------------------------------------------------------------------------------------------------ 2: forwarded
HOP = {"connection", "keep-alive", "proxy-authorization", "proxy-connection", "te", "transfer-encoding", "upgrade"}
ALL = {"authorization", "content-length", "cookie", "host", "x-forwarded-for"}
XFF = "x-forwarded-for"


def values(fields, wanted):
    """The elements of a list field, over all its lines."""
    return [part.strip() for part in ",".join(value for name, value in fields if name == wanted).split(",") if part]


def options(fields):
    return {one.lower() for one in values(fields, "connection")} - ALL


def others(fields, gone):
    return [(name, value) for name, value in fields if name not in gone and name != XFF]


def believed(hops, trusted):
    """From the right, as long as the writer is trusted."""
    while len(hops) > 1 and all(one in trusted for one in hops[1:]) is False:
        hops = hops[1:]
    return hops


@right("forwarded")
def forwarded_by_cutting(fields, peer, trusted):
    hops = believed([*values(fields, XFF), peer], trusted)
    return [*others(fields, HOP | options(fields)), (XFF, ", ".join(hops))]


@right("forwarded")
def forwarded_by_walking(fields, peer, trusted):
    out, chain, dropped = [], [], set(HOP)
    for name, value in fields:
        if name == "connection":
            dropped.update(o for o in map(str.strip, value.lower().split(",")) if o not in ALL)
        if name == XFF:
            chain += [one.strip() for one in value.split(",")]
    for name, value in fields:
        if name in dropped or name == XFF:
            continue
        out.append([name, value])
    way, writer = peer, peer
    while chain and writer in trusted:
        writer = chain.pop()
        way = f"{writer}, {way}"
    out.append([XFF, way])
    return out


@wrong("forwarded", "named_passed_on")
def forwarded_unasked(fields, peer, trusted):
    return [*others(fields, HOP), [XFF, ", ".join(believed([*values(fields, XFF), peer], trusted))]]


@wrong("forwarded", "hop_by_hop_passed_on")
def forwarded_named_only(fields, peer, trusted):
    gone = {"connection"} | options(fields)
    return [*others(fields, gone), [XFF, ", ".join(believed([*values(fields, XFF), peer], trusted))]]


@wrong("forwarded", "obeyed_blindly")
def forwarded_obedient(fields, peer, trusted):
    gone = HOP | {one.lower() for one in values(fields, "connection")}
    chain = [] if XFF in gone else values(fields, XFF)
    return [*others(fields, gone), [XFF, ", ".join(believed([*chain, peer], trusted))]]


@wrong("forwarded", "case_told_apart")
def forwarded_exact(fields, peer, trusted):
    gone = HOP | (set(values(fields, "connection")) - ALL)
    return [*others(fields, gone), [XFF, ", ".join(believed([*values(fields, XFF), peer], trusted))]]


@wrong("forwarded", "anybody_trusted")
def forwarded_append(fields, peer, trusted):
    return [*others(fields, HOP | options(fields)), [XFF, ", ".join([*values(fields, XFF), peer])]]


@wrong("forwarded", "replaced")
def forwarded_replace(fields, peer, trusted):
    return [*others(fields, HOP | options(fields)), [XFF, peer]]


@wrong("forwarded", "all_or_nothing")
def forwarded_peer_only(fields, peer, trusted):
    chain = values(fields, XFF) if peer in trusted else []
    return [*others(fields, HOP | options(fields)), [XFF, ", ".join([*chain, peer])]]


@wrong("forwarded", "client_only")
def forwarded_client(fields, peer, trusted):
    return [*others(fields, HOP | options(fields)), [XFF, believed([*values(fields, XFF), peer], trusted)[0]]]


@wrong("forwarded", "peer_first")
def forwarded_prepend(fields, peer, trusted):
    chain = believed([*values(fields, XFF), peer], trusted)[:-1]
    return [*others(fields, HOP | options(fields)), [XFF, ", ".join([peer, *chain])]]


@wrong("forwarded", "second_line")
def forwarded_add(fields, peer, trusted):
    gone = HOP | options(fields)
    return [*([n, v] for n, v in fields if n not in gone), [XFF, peer]]


@wrong("forwarded", "last_line_only")
def forwarded_dict(fields, peer, trusted):
    last = [value for name, value in fields if name == XFF][-1:]
    chain = values([[XFF, one] for one in last], XFF)
    return [*others(fields, HOP | options(fields)), [XFF, ", ".join(believed([*chain, peer], trusted))]]


@wrong("forwarded", "first_line_only")
def forwarded_next(fields, peer, trusted):
    first = next((value for name, value in fields if name == XFF), "")
    chain = values([[XFF, first]], XFF)
    return [*others(fields, HOP | options(fields)), [XFF, ", ".join(believed([*chain, peer], trusted))]]


@wrong("forwarded", "not_fields")
def forwarded_mapping(fields, peer, trusted):
    return dict(forwarded_by_cutting(fields, peer, trusted))


@wrong("forwarded", "other_fields")
def forwarded_without_host(fields, peer, trusted):
    return [one for one in forwarded_by_cutting(fields, peer, trusted) if one[0] != "host"]


@wrong("forwarded", "another_way")
def forwarded_at_its_place(fields, peer, trusted):
    *rest, way = forwarded_by_cutting(fields, peer, trusted)
    return [way, *rest]


@wrong("forwarded", "not_there")
def forwarded_lookup(fields, peer, trusted):
    dict(fields)["connection"]
    return forwarded_by_cutting(fields, peer, trusted)


@wrong("forwarded", "changed_input")
def forwarded_in_place(fields, peer, trusted):
    out = forwarded_by_walking(fields, peer, trusted)
    fields[:] = out
    return out


# -------------------------------------------------------------------------------------------------- 3: framing
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


# ------------------------------------------------------------------------------------------------- 4: exchange
BAD_GATEWAY = b"HTTP/1.1 502 Bad Gateway\r\ncontent-length: 0\r\n\r\n"
TWICE = ("GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE")


@right("exchange")
async def exchange_in_two_parts(method, request, pool, client):
    """First an answer, then its delivery."""

    async def answered():
        for _ in range(3):
            try:
                backend = await pool.take()
            except ConnectionError:
                continue
            try:
                await backend.send(request)
                return backend, await backend.head()
            except ConnectionError:
                backend.close()
                if method not in TWICE:
                    return None, None
            except BaseException:
                backend.close()
                raise
        return None, None

    backend, answer = await answered()
    if backend is None:
        await client.send(BAD_GATEWAY)
        return
    done = False
    try:
        await client.send(answer.head)
        done = await delivered(backend, answer.length, client)
    finally:
        backend.close() if not done or answer.closes or backend.unread else pool.keep(backend)


async def delivered(backend, left, client):
    """Whether all of it was sent; if not, the client knows."""
    while left > 0:
        piece = await backend.read(min(left, 65536))
        if piece == b"":
            client.abort()
            return False
        await client.send(piece)
        left -= len(piece)
    return True


@right("exchange")
async def exchange_by_stack(method, request, pool, client, attempt=1):
    """One attempt; further ones by calling itself."""
    again = attempt < 3
    async with contextlib.AsyncExitStack() as stack:
        try:
            backend = await pool.take()
            stack.callback(backend.close)
            again = again and method in TWICE
            await backend.send(request)
            answer = await backend.head()
        except ConnectionError:
            answer = None
        if answer is not None:
            again = False
            await client.send(answer.head)
            if await delivered(backend, answer.length, client) and not (answer.closes or backend.unread):
                stack.pop_all()
                pool.keep(backend)
    if again:
        await exchange_by_stack(method, request, pool, client, attempt + 1)
    elif answer is None:
        await client.send(BAD_GATEWAY)


async def life(method, request, pool, client, *, again, keep, attempts=3, stop=None, deliver=delivered, closing=True):
    """A proxy with its decisions as arguments: which of them is the mistake, the caller knows."""
    for _ in range(attempts):
        backend, kept = None, False
        try:
            backend = await pool.take()
            await backend.send(request)
            answer = await backend.head()
        except ConnectionError:
            if backend:
                backend.close()
            if backend and not again(method):
                break
            continue
        try:
            await client.send(answer.head)
            kept = keep(await deliver(backend, answer.length, client), answer, backend)
        finally:
            if kept:
                pool.keep(backend)
            elif closing:
                backend.close()
        return
    if stop is None:
        await client.send(BAD_GATEWAY)


def only_idempotent(method):
    return method in TWICE


def in_order(done, answer, backend):
    return done and not answer.closes and not backend.unread


def living(**mistake):
    return {"again": only_idempotent, "keep": in_order} | mistake


@wrong("exchange", "done_twice")
async def exchange_always_again(method, request, pool, client):
    await life(method, request, pool, client, **living(again=lambda method: True))


@wrong("exchange", "done_twice")
async def exchange_post_is_idempotent(method, request, pool, client):
    await life(method, request, pool, client, **living(again=lambda method: method in (*TWICE, "POST")))


@wrong("exchange", "gave_up")
async def exchange_once(method, request, pool, client):
    await life(method, request, pool, client, **living(again=lambda method: False))


@wrong("exchange", "gave_up")
async def exchange_gets_only(method, request, pool, client):
    await life(method, request, pool, client, **living(again=lambda method: method == "GET"))


@wrong("exchange", "one_more")
async def exchange_four(method, request, pool, client):
    await life(method, request, pool, client, **living(attempts=4))


@wrong("exchange", "kept_though_close")
async def exchange_keeps_closing(method, request, pool, client):
    await life(method, request, pool, client, **living(keep=lambda done, answer, backend: done and not backend.unread))


@wrong("exchange", "kept_unread")
async def exchange_keeps_unread(method, request, pool, client):
    await life(method, request, pool, client, **living(keep=lambda done, answer, backend: done and not answer.closes))


@wrong("exchange", "kept_broken")
async def exchange_keeps_broken(method, request, pool, client):
    keep = lambda done, answer, backend: not answer.closes and not backend.unread  # noqa: E731
    await life(method, request, pool, client, **living(keep=keep))


@wrong("exchange", "never_kept")
async def exchange_closes(method, request, pool, client):
    await life(method, request, pool, client, **living(keep=lambda *_: False))


@wrong("exchange", "left_open")
async def exchange_forgets(method, request, pool, client):
    await life(method, request, pool, client, **living(closing=False))


@wrong("exchange", "no_answer")
async def exchange_silent(method, request, pool, client):
    await life(method, request, pool, client, **living(stop=True))


@wrong("exchange", "cut_not_told")
async def exchange_no_abort(method, request, pool, client):
    async def deliver(backend, left, client):
        while left and (piece := await backend.read(left)):
            await client.send(piece)
            left -= len(piece)
        return not left

    await life(method, request, pool, client, **living(deliver=deliver))


@wrong("exchange", "held_back")
async def exchange_collects(method, request, pool, client):
    async def deliver(backend, left, client):
        body = b""
        while len(body) < left:
            piece = await backend.read(left - len(body))
            if not piece:
                client.abort()
                return False
            body += piece
        await client.send(body)
        return True

    await life(method, request, pool, client, **living(deliver=deliver))


@wrong("exchange", "too_much")
async def exchange_greedy(method, request, pool, client):
    async def deliver(backend, left, client):
        while left > 0:
            piece = await backend.read(65536)
            if not piece:
                client.abort()
                return False
            await client.send(piece)
            left -= len(piece)
        return True

    await life(method, request, pool, client, **living(deliver=deliver))


@wrong("exchange", "waits")
async def exchange_to_the_end(method, request, pool, client):
    async def deliver(backend, left, client):
        while piece := await backend.read(65536):
            await client.send(piece)
        return True

    await life(method, request, pool, client, **living(deliver=deliver))


@wrong("exchange", "sent_twice")
async def exchange_starts_over(method, request, pool, client):
    """What breaks within the body is begun anew."""
    for _ in range(3):
        try:
            backend = await pool.take()
        except ConnectionError:
            continue
        try:
            await backend.send(request)
            answer = await backend.head()
            await client.send(answer.head)
            left = answer.length
            while left:
                piece = await backend.read(left)
                if not piece:
                    raise ConnectionResetError("the backend")
                await client.send(piece)
                left -= len(piece)
            backend.close() if answer.closes or backend.unread else pool.keep(backend)
            return
        except ConnectionError:
            backend.close()
            if method not in TWICE:
                break
        except asyncio.CancelledError:
            backend.close()
            raise
    await client.send(BAD_GATEWAY)


@wrong("exchange", "tried_for_the_dead")
async def exchange_one_try(method, request, pool, client):
    """All in one `try`: whose ConnectionError was it?"""
    backend, begun = None, False
    for _ in range(3):
        try:
            backend = None
            backend = await pool.take()
            await backend.send(request)
            answer = await backend.head()
            await client.send(answer.head)
            begun = True
            done = await delivered(backend, answer.length, client)
            pool.keep(backend) if in_order(done, answer, backend) else backend.close()
            return
        except ConnectionError:
            if backend:
                backend.close()
            if begun:
                return
            if backend and method not in TWICE:
                break
        except BaseException:
            backend.close()
            raise
    await client.send(BAD_GATEWAY)


@wrong("exchange", "left_open")
async def exchange_not_finally(method, request, pool, client):
    """Closes where it thinks of it: not when the client leaves."""
    backend = await taken(pool)
    if backend is None:
        return await client.send(BAD_GATEWAY)
    try:
        await backend.send(request)
        answer = await backend.head()
    except ConnectionError:
        backend.close()
        if method in TWICE:
            return await exchange_by_stack(method, request, pool, client, 2)
        return await client.send(BAD_GATEWAY)
    await client.send(answer.head)
    done = await delivered(backend, answer.length, client)
    return pool.keep(backend) if in_order(done, answer, backend) else backend.close()


async def taken(pool):
    """A connection, or None."""
    for _ in range(3):
        with contextlib.suppress(ConnectionError):
            return await pool.take()
    return None


@wrong("exchange", "kept_half_read")
async def exchange_keeps_always(method, request, pool, client):
    async def deliver(backend, left, client):
        with contextlib.suppress(ConnectionError, asyncio.CancelledError):
            return await delivered(backend, left, client)
        return None  # the client left: the backend did nothing wrong

    def keep(done, answer, backend):
        return done is not False and not answer.closes and (done is None or not backend.unread)

    await life(method, request, pool, client, **living(deliver=deliver, keep=keep))


@wrong("exchange", "another_answer")
async def exchange_body_only(method, request, pool, client):
    async def deliver(backend, left, client):
        done = await delivered(backend, left, client)
        await client.send(b"\r\n")
        return done

    await life(method, request, pool, client, **living(deliver=deliver))


@wrong("exchange", "not_awaited")
def exchange_plain(method, request, pool, client):
    """Not a coroutine function."""
    return pool
