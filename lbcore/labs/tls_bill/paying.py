"""Lab 08, exercises 1 and 5: the bill of a traffic mix, and the edge for a login peak.

Rule of this file: specifications, cases and hints. All numbers are whole: nanoseconds, kilobytes, connections.
"""

from __future__ import annotations

import random
from typing import Any

from lbcore.labs.judge import Case, Exercise, Mistake, Property, Verdict, judge

Mix = list[tuple[int, int, int, int]]  # new connections, returning ones, requests on each, kilobytes an answer
Peak = list[tuple[int, int]]  # each second: new connections, returning ones
SECOND = 10**9  # nanoseconds


def whole(answer: Any, *_: Any) -> str | None:
    """A whole number, not below 0."""
    if type(answer) is not int:
        return f"Give back a whole number, not a {type(answer).__name__}. Nothing here needs a fraction: use //."
    return "A bill below 0 is none." if answer < 0 else None


# -------------------------------------------------------------------------------------------------------- 1: the bill
def right_cpu(mix: Mix, full: int, resumed: int, kilobyte: int, request: int) -> int:
    """Nanoseconds of CPU time for all of it."""
    total = 0
    for new, returning, requests, size in mix:
        total += new * full + returning * resumed + (new + returning) * requests * (request + size * kilobyte)
    return total


def cpu_cases(seed: int) -> list[Case]:
    """Nothing; one kind of traffic with everything else at 0 or 1; then mixes."""
    rng = random.Random(seed)
    found: list[tuple[Any, ...]] = [([], 500, 200, 1, 50), ([(1, 0, 1, 0)], 500, 200, 1, 50)]
    found += [([(0, 1, 1, 0)], 500, 200, 1, 50), ([(1, 0, 1, 30)], 500, 200, 1, 50), ([(1, 0, 4, 0)], 500, 200, 1, 50)]
    found += [([(2, 3, 4, 5)], 7, 11, 13, 17), ([(0, 9, 2, 100)], 500_000, 60_000, 400, 90_000)]
    for _ in range(12):
        mix = [
            (rng.randrange(0, 900), rng.randrange(0, 900), rng.randrange(1, 40), rng.randrange(0, 2000))
            for _ in range(rng.randrange(1, 4))
        ]
        found.append(
            (mix, rng.randrange(200, 900) * 1000, rng.randrange(50, 300) * 1000, rng.randrange(300, 900), 90_000)
        )
    return [Case(one) for one in found]


CPU = Exercise(
    names=("mix", "full", "resumed", "kilobyte", "request"),
    right=right_cpu,
    praise="Right in all {cases} cases: connections pay for handshakes, requests pay for themselves and their bytes.",
    mistakes=(
        Mistake(
            "handshake_each_request",
            lambda mix, full, resumed, kilobyte, request: sum(
                requests * right_cpu([(new, back, 1, size)], full, resumed, kilobyte, request)
                for new, back, requests, size in mix
            ),
            "You pay a handshake for each request. It is paid once a connection, however many requests follow.",
        ),
        Mistake(
            "bytes_once",
            lambda mix, full, resumed, kilobyte, request: sum(
                new * full + back * resumed + (new + back) * (requests * request + size * kilobyte)
                for new, back, requests, size in mix
            ),
            "You pay for one answer's bytes on each connection. Every request has an answer.",
        ),
        Mistake(
            "all_new",
            lambda mix, full, resumed, kilobyte, request: right_cpu(mix, full, full, kilobyte, request),
            "You pay the full price for those who come back. They bring a ticket: that is the price `resumed`.",
        ),
        Mistake(
            "returning_free",
            lambda mix, full, resumed, kilobyte, request: right_cpu(mix, full, 0, kilobyte, request),
            "Those who come back pay nothing for their handshake with you. Resumed is cheaper, not free.",
        ),
        Mistake(
            "only_new_ask",
            lambda mix, full, resumed, kilobyte, request: sum(
                new * full + back * resumed + new * requests * (request + size * kilobyte)
                for new, back, requests, size in mix
            ),
            "Only new connections make requests with you. Those who come back ask, too.",
        ),
        Mistake(
            "tls_only",
            lambda mix, full, resumed, kilobyte, request: right_cpu(mix, full, resumed, kilobyte, 0),
            "You leave out the request itself: `request`, for each of them, whatever its size.",
        ),
    ),
    properties=(Property("not_whole", whole),),
)


def check_cpu(cpu: Any, seed: int = 1) -> Verdict:
    """Exercise 1: cpu(mix, full, resumed, kilobyte, request) -> nanoseconds."""
    return judge(CPU, cpu, cpu_cases(seed))


# -------------------------------------------------------------------------------------------------------- 5: the edge
def right_machines(peak: Peak, full: int, resumed: int, cores: int, busy: int) -> int:
    """Machines so that one of them may be missing in the worst second, on a day when no ticket opens."""
    worst = max(new + returning for new, returning in peak) * full
    return max(1, up(worst * 100, SECOND * cores * busy)) + 1


def up(amount: int, by: int) -> int:
    """Divided and rounded up."""
    return -(-amount // by)


def machine_cases(seed: int) -> list[Case]:
    """Quiet days; peaks that fit exactly, and by one too many; days whose worst second is not the first."""
    rng = random.Random(seed)
    found: list[tuple[Any, ...]] = [([(0, 0)], 500_000, 60_000, 4, 50), ([(1, 1)], 500_000, 60_000, 4, 50)]
    found += [([(4000, 0)], 500_000, 60_000, 4, 50), ([(4001, 0)], 500_000, 60_000, 4, 50)]
    found += [([(2000, 2000)], 500_000, 60_000, 2, 50), ([(10, 0), (9000, 100), (20, 5)], 300_000, 200_000, 4, 70)]
    found += [([(0, 12_000), (6000, 0)], 300_000, 200_000, 8, 60)]
    for _ in range(12):
        peak = [(rng.randrange(0, 9000), rng.randrange(0, 9000)) for _ in range(rng.randrange(2, 9))]
        found.append((peak, rng.randrange(200, 900) * 1000, rng.randrange(50, 190) * 1000, rng.choice((2, 4, 8)),
                      rng.choice((50, 60, 70))))  # fmt: skip
    return [Case(one) for one in found]


def sized(work: int, cores: int, busy: int, spare: int = 1) -> int:
    """Machines for `work` nanoseconds a second."""
    return max(1, up(work * 100, SECOND * cores * busy)) + spare


MACHINES = Exercise(
    names=("peak", "full", "resumed", "cores", "busy"),
    right=right_machines,
    praise="Right in all {cases} cases: this edge gets through nine o'clock, a dead machine and a restart.",
    mistakes=(
        Mistake(
            "trusts_tickets",
            lambda peak, full, resumed, cores, busy: sized(
                max(new * full + back * resumed for new, back in peak), cores, busy
            ),
            "You count on tickets. After a restart with new ticket keys none opens: everybody pays in full.",
        ),
        Mistake(
            "average",
            lambda peak, full, resumed, cores, busy: sized(
                up(sum(new + back for new, back in peak) * full, len(peak)), cores, busy
            ),
            "You size for the average second. Those who come in the worst one do not want to wait for it to be over.",
        ),
        Mistake(
            "no_spare",
            lambda peak, full, resumed, cores, busy: right_machines(peak, full, resumed, cores, busy) - 1,
            "That suffices as long as nothing breaks. One machine may be missing: one more.",
        ),
        Mistake(
            "rounded_down",
            lambda peak, full, resumed, cores, busy: (
                max(1, max(new + back for new, back in peak) * full * 100 // (SECOND * cores * busy)) + 1
            ),
            "You round down. Half a machine too few is a machine too few: round up.",
        ),
        Mistake(
            "too_busy",
            lambda peak, full, resumed, cores, busy: right_machines(peak, full, resumed, cores, 100),
            "You load cores to the brim. They should be busy for `busy` percent of the time at most.",
        ),
        Mistake(
            "one_core",
            lambda peak, full, resumed, cores, busy: right_machines(peak, full, resumed, 1, busy),
            "You count cores. A machine has `cores` of them.",
        ),
        Mistake(
            "one_too_many",
            lambda peak, full, resumed, cores, busy: (
                max(new + back for new, back in peak) * full * 100 // (SECOND * cores * busy) + 2
            ),
            "Where the work fits exactly you take one machine too many. Rounding up is -(-a // b).",
        ),
    ),
    properties=(Property("not_whole", whole),),
)


def check_machines(machines: Any, seed: int = 1) -> Verdict:
    """Exercise 5: machines(peak, full, resumed, cores, busy) -> how many."""
    return judge(MACHINES, machines, machine_cases(seed))
