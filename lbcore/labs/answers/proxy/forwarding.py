"""Lab 07, exercise 2: answers that must pass, and mistakes with the key of the hint each must get.

Rule of this file: no answer shares code with the checker, which has its own models of the mistakes.
"""

# mypy: ignore-errors

from lbcore.labs.answers import Answers

ANSWERS = Answers()
RIGHT, WRONG, right, wrong = ANSWERS.RIGHT, ANSWERS.WRONG, ANSWERS.right, ANSWERS.wrong


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
