"""The proxy of lbcore against its like: CPU time a request, and requests a second, in one run.

    python -m benchmarks.l7 [--rounds 3] [--seconds 3] [--only WORKLOAD] [--targets nginx,haproxy,lbcore] [--json FILE]

Rule of this file: what is asked, and how it is counted. How each proxy is set up is in `l7_targets`.

Theory. On a machine that is shared, requests a second say more about the neighbours than about the proxy. The time that
the kernel charges to the proxy's processes, divided by the requests answered, stays within a tenth when the rate
halves. So that is what ratios are made of. The proxy has one processor to itself, its load and its backend the other;
the proxies take turns, round by round, and medians are over rounds.

Whoever writes to a process that sleeps is charged for waking it up, and in a virtual machine a processor that sleeps
has to be woken by way of the host. A proxy that is slower than its load finds it asleep more often: 0.4 (bare) and 1.1
(filters) such calls a request were counted in /proc/interrupts, none for nginx, and the kernel's share of a request
with filters was 27 us where that of one passed on by uvloop alone was 12. With a network in between its card would
wake. So idle processors wait awake here (`awake`), and load and backend run in batches (SCHED_BATCH): 0.2 and 0.03
calls were left.

Where lbcore's time goes (keep-alive, 1 KB; microseconds). Requests come in batches of some thirty a turn of the event
loop; two reads and two writes for each are all its system calls, as nginx's. What is not there "in memory"
(`l7_memory`) is the event loop, the kernel, and the caches that the kernel has filled with its own.

| | in memory | recorded | in nginx's (18.0) |
|---|---|---|---|
| uvloop alone, nothing read | | 16.4 | 0.91 |
| lbcore | 10.0 | 31.5 | 1.75 |
| lbcore compiled | 4.3 | 21.9 | 1.22 |
| lbcore+filters | 21.0 | 46.4 | 2.58 |
| lbcore+filters compiled | 10.4 | 34.3 | 1.91 (1.62 in that of nginx+filters) |

One run is one opinion: three others gave 1.35, 1.39 and 1.52 for the compiled one, 2.22, 2.23 and 2.25 with filters.
They had an interpreter built without profile-guided optimization (pyenv's default), which takes a tenth more for either
form; the recorded run had Debian's, as nginx and HAProxy were Debian's.

Tried, and not kept: no garbage collector, or one that leaves the past alone (nothing: it runs a few times a second);
requests and exchanges as C structs (0.2 us); the dispatcher of numba passed by (0.1 us for a head, by way of what is
not meant for it); reading all sockets first and deciding then (for what a batch saves in caches its list costs again).

Traps. wrk counts an answer of any status: rounds with errors or other statuses than 2xx are refused, not averaged. A
proxy that did not get its processor for most of a round is told (`share`), for it was not what limited the rate.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from benchmarks import l7_targets
from benchmarks.l7_targets import TARGETS, Target
from lbcore.measure import Table, facts_line, record

TICK = os.sysconf("SC_CLK_TCK")
PROXY, LOAD = 0, 1
"""Processors: one for the proxy, one for everything else."""


@dataclass(frozen=True)
class Workload:
    """command: of the load generator; {url} {seconds} are filled in. ports: which port of a target it wants."""

    name: str
    command: tuple[str, ...]
    port: str = "plain"
    path: str = "/1k"


WRK = ("wrk", "-t1", "-d{seconds}s")
WORKLOADS = (
    Workload("keep-alive, 1 KB", (*WRK, "-c64", "{url}")),
    Workload("keep-alive, 100 KB", (*WRK, "-c64", "{url}"), path="/100k"),
    Workload("keep-alive, 10 MB", (*WRK, "-c8", "{url}"), path="/10m"),
    Workload("a connection for each", (*WRK, "-c64", "-H", "Connection: close", "{url}")),
    Workload("TLS 1.3, keep-alive", (*WRK, "-c64", "{url}"), port="tls"),
    Workload("TLS 1.3, full handshake", (*WRK, "-c64", "-H", "Connection: close", "{url}"), port="tls"),
    Workload("TLS 1.3, resumed", (sys.executable, "-m", "benchmarks.l7_resume", "{url}", "{seconds}"), port="tls"),
    Workload("HTTP/2 over TLS", ("h2load", "-t1", "-c16", "-m8", "-D{seconds}", "{url}"), port="h2"),
)


@dataclass(frozen=True)
class Round:
    """requests answered in so many seconds, for so many seconds of CPU time."""

    requests: int
    seconds: float
    cpu: float

    @property
    def microseconds(self) -> float:
        """CPU time of a request."""
        return self.cpu / self.requests * 1e6

    @property
    def share(self) -> float:
        """Of a processor, in use."""
        return self.cpu / self.seconds


@contextmanager
def awake() -> Iterator[bool]:
    """Processors with nothing to do wait awake as long as the block lasts. False: this user may not ask for it."""
    latency = Path("/dev/cpu_dma_latency")
    if not os.access(latency, os.W_OK):
        yield False
        return
    with latency.open("wb", buffering=0) as file:
        file.write(bytes(4))  # microseconds that waking up may take: none
        yield True


def cpu_seconds(pids: Sequence[int]) -> float:
    """CPU time of these processes so far, their ended children included."""
    total = 0
    for pid in pids:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        total += sum(int(field) for field in fields[11:15])
    return total / TICK


def answered(output: str) -> int:
    """Requests that the load generator says were answered well. ValueError: something else happened, too."""
    if re.search(r"Non-2xx|Socket errors: connect [1-9]|(\d+) failed(?<!0 failed)", output):
        raise ValueError(f"the load generator met errors:\n{output}")
    found = re.search(r"(\d+) requests in|, (\d+) succeeded", output)
    if not found or not int(found[1] or found[2]):
        raise ValueError(f"the load generator got no answers:\n{output}")
    return int(found[1] or found[2])


def once(target: Target, workload: Workload, seconds: float) -> Round:
    """One round."""
    scheme = "http" if workload.port == "plain" else "https"
    url = f"{scheme}://127.0.0.1:{target.ports[workload.port]}{workload.path}"
    command = [part.format(url=url, seconds=str(max(1, round(seconds)))) for part in workload.command]
    before, began = cpu_seconds(target.pids), time.monotonic()
    result = subprocess.run(
        [*l7_targets.load_on(LOAD), *command], capture_output=True, text=True, timeout=seconds * 5 + 30, check=False
    )
    took = time.monotonic() - began
    return Round(answered(result.stdout + result.stderr), took, cpu_seconds(target.pids) - before)


def run(names: Sequence[str], workloads: Sequence[Workload], rounds: int, seconds: float) -> dict[str, list[Round]]:
    """All rounds, by `workload: target`."""
    results: dict[str, list[Round]] = {}
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        site = stack.enter_context(l7_targets.site(Path(folder), LOAD))
        targets = {name: stack.enter_context(TARGETS[name].start(site, PROXY)) for name in names}
        for workload in workloads:
            able = {name: target for name, target in targets.items() if workload.port in target.ports}
            for target in able.values():
                once(target, workload, 1.0)
            for number in range(rounds):
                order = list(able) if number % 2 == 0 else list(reversed(able))
                for name in order:
                    results.setdefault(f"{workload.name}: {name}", []).append(once(able[name], workload, seconds))
    return results


def table(workload: Workload, results: dict[str, list[Round]]) -> Table | None:
    """One workload: a line for each proxy, ratios to nginx."""
    rows = {key.partition(": ")[2]: value for key, value in results.items() if key.startswith(f"{workload.name}: ")}
    if not rows:
        return None
    base = median(one.microseconds for one in rows["nginx"]) if "nginx" in rows else 0.0
    lines = []
    for name, rounds in rows.items():
        cpu = median(one.microseconds for one in rounds)
        rate = median(one.requests / one.seconds for one in rounds)
        share = median(one.share for one in rounds)
        lines.append([name, f"{rate:,.0f}", f"{cpu:,.1f}", f"{cpu / base:.2f}" if base else "", f"{share:.0%}"])
    return Table(["proxy", "requests/s", "CPU µs/request", "x nginx", "of a core"], lines, caption=workload.name)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--only", help="part of a workload's name")
    parser.add_argument("--targets", default="", help="names with commas between; all that are installed otherwise")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write CPU times there too, as a recorded result")
    options = parser.parse_args(arguments)
    for command in ("nginx", "wrk", "taskset"):
        if shutil.which(command) is None:
            print(f"benchmarks.l7: wants {command}, which is not on PATH")
            return 2
    names = options.targets.split(",") if options.targets else [n for n, one in TARGETS.items() if not one.lacking()]
    for name in names:
        if lack := TARGETS[name].lacking():
            print(f"benchmarks.l7: {name}: {lack}")
            return 2
    workloads = [
        one for one in WORKLOADS if (options.only or "") in one.name and shutil.which(one.command[0]) is not None
    ]
    with awake() as are:
        results = run(names, workloads, options.rounds, options.seconds)
    print(facts_line(), f"idle processors {'awake' if are else 'asleep: to keep them awake wants root'}", sep="; ")
    print()
    for workload in workloads:
        if made := table(workload, results):
            print(made, end="\n\n", flush=True)
    if options.json:
        samples = {key: [one.microseconds for one in rounds] for key, rounds in results.items()}
        print(
            "written:", record(options.json.stem, samples, "python -m benchmarks.l7", folder=options.json.parent).name
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
