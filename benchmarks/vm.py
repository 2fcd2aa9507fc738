"""How many instructions a second the book's machine executes, by kind of instruction, in CPU time of this process.

    python benchmarks/vm.py [--millions 50] [--rounds 5]

Each program is a loop whose body is one kind of instruction over and over; the loop's own two instructions are counted
too, since the machine executes them. The best of the rounds is shown: noise only ever adds time. The last column is the
ratio to stepping through ten thousand instructions of the same loop in plain Python (`vm.trace`), which is what the
widgets of the book do.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

from lbcore.ebpf import vm
from lbcore.ebpf.assembler import assemble

UNROLLED = 30
BODIES = {
    "add, xor, shift (64 bits)": ("r2 += r3", "r4 ^= r2", "r5 <<= 3"),
    "add, xor, shift (32 bits)": ("w2 += w3", "w4 ^= w2", "w5 <<= 3"),
    "multiply": ("r2 *= 31",),
    "divide": ("r2 /= r3",),
    "branch not taken": ("if r2 == 1 goto +0",),
    "load and store on the stack": ("*(u64 *)(r10 -8) = r2", "r3 = *(u64 *)(r10 -8)"),
    "load from memory": ("r2 = *(u32 *)(r8 +4)",),
    "atomic add": ("lock *(u64 *)(r10 -8) += r2",),
    "call of an own function, and back": ("call local leaf",),
}


def program(body: tuple[str, ...], times: int) -> bytes:
    """A loop of `times` rounds over the body, repeated until it has about UNROLLED instructions."""
    start = ["r8 = r1", "r7 = 0", "r2 = 12345", "r3 = 7", "r4 = 0", "r5 = 1", "*(u64 *)(r10 -8) = 0"]
    lines = ["again:", *body * (UNROLLED // len(body)), "r7 += 1", f"if r7 != {times} goto again"]
    return assemble("\n".join([*start, *lines, "r0 = 0", "exit", "leaf: exit"]))


def best(run: Callable[[], int], rounds: int) -> float:
    """Instructions a second of CPU time, in the best round."""
    rates = []
    for _ in range(rounds):
        before = time.process_time()
        executed = run()
        rates.append(executed / (time.process_time() - before))
    return max(rates)


def main() -> None:
    options = argparse.ArgumentParser(description="Instructions a second in the book's machine.")
    options.add_argument("--millions", type=int, default=50, help="instructions a round, in millions")
    options.add_argument("--rounds", type=int, default=5)
    given = options.parse_args()
    print(f"{'':36}{'million/s':>12}{'ns each':>10}{'x stepping':>12}")
    for name, body in BODIES.items():
        length = UNROLLED // len(body) * len(body)
        machine = vm.Vm(program(body, given.millions * 1_000_000 // (length + 2)))
        machine.place(bytearray(64), None)

        def fast(machine: vm.Vm = machine) -> int:
            machine.run(1 << 40)
            return machine.executed

        def slow(body: tuple[str, ...] = body) -> int:
            return sum(1 for _ in vm.trace(program(body, 10_000 // UNROLLED), bytearray(64)))

        fast()  # numba compiles, or reads its cache
        rate, stepping = best(fast, given.rounds), best(slow, 1)
        print(f"{name:36}{rate / 1e6:12.0f}{1e9 / rate:10.2f}{rate / stepping:12.0f}")


if __name__ == "__main__":
    main()
