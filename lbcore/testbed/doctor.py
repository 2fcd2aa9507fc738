"""`lbcore doctor`: what this machine can do, what it cannot and why, and what that means for reading the book."""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
import textwrap

from lbcore.testbed.capabilities import TIERS, VARIABLE, Machine, machine

MEANING = {
    "network namespaces": (
        "Cells that build a network of hosts show recorded results, beside the same experiment in memory.",
        "run as root on Linux, or allow user namespaces (sysctl user.max_user_namespaces; on Ubuntu also "
        "kernel.apparmor_restrict_unprivileged_userns=0); a container needs CAP_SYS_ADMIN or an open seccomp profile.",
    ),
    "BPF": (
        "eBPF programs run in the book's own BPF machine; kernel timings are recorded ones.",
        "run as root on Linux, outside a container or in one with CAP_BPF and CAP_NET_ADMIN.",
    ),
    "AF_XDP": ("The AF_XDP driver is shown recorded.", "a kernel with CONFIG_XDP_SOCKETS, and CAP_NET_RAW."),
    "AF_PACKET": ("Captures are made in memory instead of from an interface.", "CAP_NET_RAW, as root has it."),
    "BTF": ("Nothing in the book needs it.", "a kernel built with CONFIG_DEBUG_INFO_BTF."),
    "unprivileged BPF": ("Nothing: XDP wants capabilities either way.", "leave it as it is, it is the safe setting."),
    "loopback range": ("Backends share 127.0.0.1 and differ by port.", "on macOS: sudo ifconfig lo0 alias 127.0.0.2."),
    "clang": ("Nothing: the book brings its own compiler to BPF.", "install clang, for comparison only."),
    "gcc": ("Benchmarks leave out their comparison with C.", "install gcc."),
    "nginx": ("Benchmarks leave out their comparison with nginx.", "install nginx."),
    "haproxy": ("Benchmarks leave out their comparison with HAProxy.", "install haproxy."),
}


def report(found: Machine) -> str:
    """The readable report."""
    lines = [f"This machine is tier {found.tier} of {len(TIERS) - 1}: {TIERS[found.tier]}."]
    if found.tier < found.natural_tier:
        own = found.natural_tier
        lines.append(f"{VARIABLE} holds it there; its own tier is {own}: {TIERS[own]}.")
    lines += ["", "What works"]
    lines += [f"  yes  {fact.name}: {fact.why}" for fact in found.facts if fact.available]
    missing = [fact for fact in found.facts if not fact.available]
    if missing:
        lines += ["", "What does not, and what that means"]
    for fact in missing:
        means, change = MEANING.get(fact.name, ("Nothing in the book needs it.", "nothing."))
        lines.append(f"   no  {fact.name}: {fact.why}")
        for text in (means, f"To change it: {change}"):
            lines += textwrap.wrap(text, 108, initial_indent=" " * 7, subsequent_indent=" " * 7)
    lines += ["", "Every chapter can be read and run at every tier."]
    return "\n".join(lines)


def main(argv: list[str]) -> int:
    """Print the report; `--json` prints the same for programs. Status 0, or 2 where LBCORE_TIER cannot be read."""
    parser = argparse.ArgumentParser(prog="lbcore doctor", description="what this machine can do, and why not the rest")
    parser.add_argument("--json", action="store_true", help="print it for programs")
    arguments = parser.parse_args(argv)
    try:
        found = machine()
    except ValueError as error:
        print(f"lbcore doctor: {error}", file=sys.stderr)
        return 2
    print(json.dumps(dataclasses.asdict(found), indent=2) if arguments.json else report(found))
    return 0
