"""Lab 08: answers that must pass, and mistakes with the key of the hint each must get.

Rule of this file: no answer shares code with the checker, which has its own models of the mistakes.
"""

# mypy: ignore-errors

import math
from fractions import Fraction
from itertools import pairwise

from lbcore.labs.answers import Answers

ANSWERS = Answers()
RIGHT, WRONG, right, wrong = ANSWERS.RIGHT, ANSWERS.WRONG, ANSWERS.right, ANSWERS.wrong


# ------------------------------------------------------------------------------------------------------------ 1: cpu
@right("cpu")
def cpu_in_one_sum(mix, full, resumed, kilobyte, request):
    return sum(a * full + b * resumed + (a + b) * n * (request + kb * kilobyte) for a, b, n, kb in mix)


@right("cpu")
def cpu_by_part(mix, full, resumed, kilobyte, request):
    handshakes = sum(a for a, *_ in mix) * full + sum(b for _, b, *_ in mix) * resumed
    asked = sum((a + b) * n for a, b, n, _ in mix)
    sent = sum((a + b) * n * kb for a, b, n, kb in mix)
    return handshakes + asked * request + sent * kilobyte


@wrong("cpu", "handshake_each_request")
def cpu_no_keep_alive(mix, full, resumed, kilobyte, request):
    return sum(n * (a * full + b * resumed + (a + b) * (request + kb * kilobyte)) for a, b, n, kb in mix)


@wrong("cpu", "bytes_once")
def cpu_one_answer(mix, full, resumed, kilobyte, request):
    return sum(a * full + b * resumed + (a + b) * (n * request + kb * kilobyte) for a, b, n, kb in mix)


@wrong("cpu", "all_new")
def cpu_no_tickets(mix, full, resumed, kilobyte, request):
    return sum((a + b) * (full + n * (request + kb * kilobyte)) for a, b, n, kb in mix)


@wrong("cpu", "returning_free")
def cpu_free_tickets(mix, full, resumed, kilobyte, request):
    return sum(a * full + (a + b) * n * (request + kb * kilobyte) for a, b, n, kb in mix)


@wrong("cpu", "only_new_ask")
def cpu_precedence(mix, full, resumed, kilobyte, request):
    return sum(a * full + b * resumed + a * n * (request + kb * kilobyte) for a, b, n, kb in mix)


@wrong("cpu", "tls_only")
def cpu_without_requests(mix, full, resumed, kilobyte, request):
    return sum(a * full + b * resumed + (a + b) * n * kb * kilobyte for a, b, n, kb in mix)


@wrong("cpu", "not_whole")
def cpu_in_seconds(mix, full, resumed, kilobyte, request):
    return cpu_in_one_sum(mix, full, resumed, kilobyte, request) / 1e9


# -------------------------------------------------------------------------------------------------------- 2: resumed
@right("resumed")
def resumed_pairwise(visits, keys, lifetime):
    fits = [keys[a] == keys[b] and now - then <= lifetime for (then, a), (now, b) in pairwise(visits)]
    return [False, *fits][: len(visits)]


@right("resumed")
def resumed_with_a_jar(visits, keys, lifetime):
    jar, out = [], []
    for now, backend in visits:
        good = [until for until, key in jar[-1:] if key == keys[backend] and now <= until]
        out.append(len(good) == 1)
        jar.append((now + lifetime, keys[backend]))
    return out


@wrong("resumed", "any_key")
def resumed_anywhere(visits, keys, lifetime):
    return [n > 0 and now - visits[n - 1][0] <= lifetime for n, (now, _) in enumerate(visits)]


@wrong("resumed", "for_ever")
def resumed_for_ever(visits, keys, lifetime):
    return [n > 0 and keys[visits[n - 1][1]] == keys[backend] for n, (_, backend) in enumerate(visits)]


@wrong("resumed", "same_backend")
def resumed_at_home(visits, keys, lifetime):
    return [
        n > 0 and visits[n - 1][1] == backend and now - visits[n - 1][0] <= lifetime
        for n, (now, backend) in enumerate(visits)
    ]


@wrong("resumed", "exactly_too_old")
def resumed_strictly(visits, keys, lifetime):
    return resumed_pairwise(visits, keys, lifetime - 1)


@wrong("resumed", "not_renewed")
def resumed_without_renewal(visits, keys, lifetime):
    out, got, key = [], None, None
    for now, backend in visits:
        ok = got is not None and now - got <= lifetime and key == keys[backend]
        if not ok:
            got, key = now, keys[backend]
        out.append(ok)
    return out


@wrong("resumed", "first_ticket")
def resumed_with_the_first(visits, keys, lifetime):
    if not visits:
        return []
    then, there = visits[0]
    return [n > 0 and now - then <= lifetime and keys[b] == keys[there] for n, (now, b) in enumerate(visits)]


@wrong("resumed", "every_ticket")
def resumed_with_any(visits, keys, lifetime):
    out, got = [], {}
    for now, backend in visits:
        out.append(keys[backend] in got and now - got[keys[backend]] <= lifetime)
        got[keys[backend]] = now
    return out


@wrong("resumed", "not_one_each")
def resumed_counted(visits, keys, lifetime):
    return sum(resumed_pairwise(visits, keys, lifetime))


@wrong("resumed", "no_visits")
def resumed_at_least_one(visits, keys, lifetime):
    last, out = visits[0], [False]
    for visit in visits[1:]:
        out.append(keys[last[1]] == keys[visit[1]] and visit[0] - last[0] <= lifetime)
        last = visit
    return out


# ---------------------------------------------------------------------------------------------------- 3: certificate
@right("certificate")
def certificate_by_table(name, certificates):
    table = {}
    for place, names in enumerate(certificates):
        for one in names:
            table.setdefault(one, place)
    if name is None:
        return 0
    labels = name.lower().split(".")
    return table.get(".".join(labels), table.get(".".join(["*", *labels[1:]]), 0))


@right("certificate")
def certificate_by_rank(name, certificates):
    wanted = (name or "").casefold()
    rank = []
    for place, names in enumerate(certificates):
        if wanted in names:
            rank.append((0, place))
        elif any(one.startswith("*.") and one[1:] == wanted[wanted.find(".") :] and "." in wanted for one in names):
            rank.append((1, place))
    return min(rank, default=(2, 0))[1]


def certificate_if(name, certificates, fits):
    """The name itself, else the longest wildcard that fits."""
    if name is None:
        return 0
    name = name.lower()
    exact = [place for place, names in enumerate(certificates) if name in names]
    if exact:
        return exact[0]
    wild = [(len(one), -place) for place, names in enumerate(certificates) for one in names if fits(name, one)]
    return -max(wild)[1] if wild else 0


@wrong("certificate", "any_depth")
def certificate_deep(name, certificates):
    return certificate_if(name, certificates, lambda n, one: one.startswith("*.") and n.endswith(one[1:]))


@wrong("certificate", "bare_name")
def certificate_bare(name, certificates):
    return certificate_if(
        name, certificates, lambda n, one: one.startswith("*.") and (n == one[2:] or n.split(".", 1)[1:] == [one[2:]])
    )


@wrong("certificate", "wildcard_first")
def certificate_in_order(name, certificates):
    if name is None:
        return 0
    name = name.lower()
    for place, names in enumerate(certificates):
        if name in names or "*." + name.partition(".")[2] in names:
            return place
    return 0


@wrong("certificate", "exact_only")
def certificate_exact(name, certificates):
    return certificate_if(name, certificates, lambda n, one: False)


@wrong("certificate", "letters")
def certificate_of_letters(name, certificates):
    for wanted in () if name is None else (name, "*." + name.partition(".")[2]):
        for place, names in enumerate(certificates):
            if wanted in names:
                return place
    return 0


@wrong("certificate", "part_of_a_label")
def certificate_in_parts(name, certificates):
    def fits(asked, one):
        first, _, rest = one.partition(".")
        return first.endswith("*") and asked.partition(".")[2] == rest and asked.startswith(first[:-1])

    return certificate_if(name, certificates, fits)


@wrong("certificate", "no_name")
def certificate_of_somebody(name, certificates):
    return certificate_by_table(name.lower(), certificates)


@wrong("certificate", "not_a_place")
def certificate_or_nothing(name, certificates):
    place = certificate_by_table(name, certificates)
    return place or None


# ---------------------------------------------------------------------------------------------------------- 4: place
@right("place")
def place_by_questions(needs):
    reads = "route by path" in needs or "cache answers" in needs
    sealed = "unreadable in the middle" in needs or "backend verifies the client's certificate itself" in needs
    bare, inside = "backends without certificates" in needs, "encrypted on the inside" in needs
    if (sealed and (reads or bare)) or (bare and inside):
        raise ValueError(needs)
    if not reads and not bare:
        return "pass through"
    return "re-encrypt" if inside else "terminate"


@right("place")
def place_by_points(needs):
    able = {
        "route by server name": "ptr",
        "a protocol that is not HTTP": "ptr",
        "route by path": "tr",
        "cache answers": "tr",
        "encrypted on the inside": "pr",
        "unreadable in the middle": "p",
        "backends without certificates": "t",
        "backend verifies the client's certificate itself": "p",
    }
    left = [mode for mode in ("pass through", "terminate", "re-encrypt") if all(mode[0] in able[one] for one in needs)]
    if not left:
        raise ValueError("none")
    return left[0]


@wrong("place", "accepted")
def place_trusting_the_edge(needs):
    return place_by_points(["encrypted on the inside" if one == "unreadable in the middle" else one for one in needs])


@wrong("place", "plain_inside")
def place_in_the_clear(needs):
    return place_by_points([one for one in needs if one != "encrypted on the inside"])


@wrong("place", "sees_through")
def place_all_seeing(needs):
    return place_by_points([one for one in needs if one not in ("route by path", "cache answers")])


@wrong("place", "reencrypt_for_sure")
def place_safe(needs):
    mode = place_by_points(needs)
    return "re-encrypt" if mode == "terminate" and "backends without certificates" not in needs else mode


@wrong("place", "http_only")
def place_http(needs):
    return "pass through" if "a protocol that is not HTTP" in needs else place_by_points(needs)


@wrong("place", "name_inside")
def place_name_hidden(needs):
    return place_by_points(["route by path" if one == "route by server name" else one for one in needs])


@wrong("place", "accepted")
def place_always(needs):
    try:
        return place_by_points(needs)
    except ValueError:
        return "terminate"


@wrong("place", "not_a_mode")
def place_capitals(needs):
    return place_by_points(needs).upper()


# ------------------------------------------------------------------------------------------------------- 5: machines
@right("machines")
def machines_exact(peak, full, resumed, cores, busy):
    able = Fraction(10**9 * cores * busy, 100)
    return max(math.ceil(max(map(sum, peak)) * full / able), 1) + 1


@right("machines")
def machines_counted(peak, full, resumed, cores, busy):
    work, count = max(a + b for a, b in peak) * full * 100, 1
    while count * cores * busy * 10**9 < work:
        count += 1
    return count + 1


def machines_for(work, cores, busy):
    """Rounded up, and one more."""
    return max(1, math.ceil(Fraction(work * 100, 10**9 * cores * busy))) + 1


@wrong("machines", "trusts_tickets")
def machines_with_tickets(peak, full, resumed, cores, busy):
    return machines_for(max(a * full + b * resumed for a, b in peak), cores, busy)


@wrong("machines", "average")
def machines_on_average(peak, full, resumed, cores, busy):
    return machines_for(math.ceil(Fraction(sum(map(sum, peak)) * full, len(peak))), cores, busy)


@wrong("machines", "no_spare")
def machines_alone(peak, full, resumed, cores, busy):
    return machines_exact(peak, full, resumed, cores, busy) - 1


@wrong("machines", "rounded_down")
def machines_floored(peak, full, resumed, cores, busy):
    return max(1, int(Fraction(max(map(sum, peak)) * full * 100, 10**9 * cores * busy))) + 1


@wrong("machines", "too_busy")
def machines_to_the_brim(peak, full, resumed, cores, busy):
    return machines_for(max(map(sum, peak)) * full, cores, 100)


@wrong("machines", "one_core")
def machines_of_one_core(peak, full, resumed, cores, busy):
    return machines_for(max(map(sum, peak)) * full, 1, busy)


@wrong("machines", "one_too_many")
def machines_plus_one(peak, full, resumed, cores, busy):
    return int(Fraction(max(map(sum, peak)) * full * 100, 10**9 * cores * busy)) + 2


@wrong("machines", "not_whole")
def machines_in_parts(peak, full, resumed, cores, busy):
    return max(map(sum, peak)) * full * 100 / (10**9 * cores * busy) + 1
