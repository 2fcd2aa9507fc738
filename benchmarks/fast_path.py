"""Records what chapter 06 shows where the kernel cannot be asked.

    python -m benchmarks.fast_path

Exit status: 0, 2 without the rights that this takes.
"""

from __future__ import annotations

import sys
from typing import Any

from lbcore.ebpf.compiler import xdp
from lbcore.ebpf.contexts import XDP_DROP, XDP_PASS
from lbcore.ebpf.programs.no_reflection import no_reflection
from lbcore.measure import record
from lbcore.testbed import fast_path
from lbcore.testbed.capabilities import machine
from lbcore.wire import compose
from lbcore.wire.seam import u16, view

FLOOD = compose.udp_frame(source="192.0.2.53:53", destination="10.0.0.9:4000", payload=bytes(18))
COMMAND = "python -m benchmarks.fast_path"


@xdp
def careless(context: Any) -> int:
    p = view(context)
    return XDP_DROP if u16(p, 34) == 53 else XDP_PASS


EXPERIMENTS = {
    "fast-path-machine-code": lambda: fast_path.machine_code(no_reflection),
    "fast-path-refusal": lambda: fast_path.refusal(careless),
    "fast-path-run-times": lambda: fast_path.run_times(no_reflection, FLOOD),
    "fast-path-drops": fast_path.drops,
    "fast-path-switches": fast_path.kernel_path,
}


def main() -> int:
    if machine().tier < 2:
        print(f"this takes the kernel's BPF: {machine()['BPF'].why}", file=sys.stderr)
        return 2
    for name, run in EXPERIMENTS.items():
        print("written:", record(name, run(), COMMAND).name)
    return 0


if __name__ == "__main__":
    sys.exit(main())
