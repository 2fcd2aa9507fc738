"""`lbcore l4 CONFIG.toml`: the balancer as a program.

    lbcore l4 balancer.toml             until Ctrl-C or SIGTERM, with a table of what it does each second
    lbcore l4 balancer.toml --once      one table, after the first second, and the end
    lbcore l4 balancer.toml --check     is the file right? Nothing is started
    kill -HUP ...                       read the file again: backends' states may have changed, and nothing else

A file with a section [relay] is run by `relay.program`; SIGTERM then drains.

Rule of this file: from start to end, and everything given back at the end, however it comes. What the file may say is
`config_file`, what the table says `console`.

Theory. A signal may come at any moment, so its handler only notes that it came; the main thread waits for notes, and
prints in between. Packets are handled by the kernel, or by a thread of compiled code: neither waits for the console.

Exit status: 0 after a clean end, 1 where the machine refuses (rights, interface, file), 2 for a configuration or a
command line that cannot be.
"""

from __future__ import annotations

import argparse
import functools
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import NamedTuple

from lbcore.ebpf.kernel import Rejected
from lbcore.l4 import config_file, console
from lbcore.l4.config import BadConfig, Balancer
from lbcore.l4.config_file import File, Port
from lbcore.l4.data_plane import DataPlane, run
from lbcore.l4.drivers.af_packet import AfPacket
from lbcore.l4.drivers.af_xdp import AfXdp
from lbcore.l4.drivers.driver import Driver, index_of
from lbcore.l4.drivers.memory import Memory
from lbcore.l4.drivers.pcap import Pcap
from lbcore.l4.relay import program as relay
from lbcore.l4.relay.file import RelayFile
from lbcore.l4.steer import steered
from lbcore.l4.tables import ACTIVE
from lbcore.l4.xdp import InKernel

CLEAR = "\x1b[H\x1b[2J"
REFUSED, WRONG = 1, 2


class Running(NamedTuple):
    """A balancer at work, and the driver it works over, if it is not the kernel's."""

    lb: DataPlane | InKernel
    driver: Driver | None

    def look(self, start: float) -> console.Look:
        told = self.driver.statistics() if self.driver else {}
        return console.Look(time.monotonic() - start, self.lb.counters(), told)

    def check(self) -> None:
        """Raise what the loop raised, if it has ended."""
        if isinstance(self.lb, DataPlane) and not self.lb.running:
            self.lb.stop()


class Notes:
    """What signals have said. `came`: something has."""

    def __init__(self) -> None:
        self.came = threading.Event()
        self.end = False
        self.again = False

    def note(self, number: int, frame: object) -> None:
        if number == signal.SIGHUP:
            self.again = True
        else:
            self.end = True
        self.came.set()


@contextmanager
def signals() -> Iterator[Notes]:
    """Ctrl-C, SIGTERM and SIGHUP are noted, until the end of the block."""
    notes = Notes()
    before = {number: signal.signal(number, notes.note) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    try:
        yield notes
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def started(file: File) -> Iterator[Running]:
    """The balancer over the file's driver, detached and closed at the end of the block."""
    balancer = balancer_of(file)
    port = file.driver
    with ExitStack() as stack:
        index_of(port.interface)  # before a program is compiled for an interface that is not there
        if port.kind == "xdp":
            in_kernel = stack.enter_context(InKernel(balancer))
            stack.enter_context(in_kernel.attach(port.interface, port.mode))
            yield Running(in_kernel, None)
        else:
            driver = stack.enter_context(opened(port))
            lb = stack.enter_context(DataPlane(balancer, driver))
            if isinstance(driver, AfXdp):
                stack.enter_context(steered(driver, file.config, port.mode))
            yield Running(lb, driver)


def opened(port: Port) -> AfXdp | AfPacket:
    """The driver of a kind that works packet by packet in this process."""
    if port.kind == "af_xdp":
        return AfXdp(port.interface, port.queue, busy_poll=port.busy_poll)
    return AfPacket(port.interface)


def balancer_of(file: File) -> Balancer:
    """The configuration in force, with the backends' states."""
    balancer = Balancer(file.config)
    for address, state in file.states.items():
        if state != ACTIVE:
            balancer.set_state(address, state)
    return balancer


def read_again(path: str, file: File, lb: DataPlane | InKernel) -> File:
    """The file as it is now, its states in force; or, if it is wrong or more has changed, as it was, and why."""
    try:
        new = config_file.read(path)
        if not isinstance(new, File) or not config_file.same_but_states(new, file):
            raise BadConfig(f"{path}: more than states has changed, so nothing was done: that takes a new start")
    except (BadConfig, OSError) as error:
        print(f"lbcore l4: {error}", file=sys.stderr)
        return file
    for address, state in new.states.items():
        if state != file.states[address]:
            lb.set_state(address, state)
    return new


def serve(path: str, file: File, every: float, once: bool) -> None:
    """Run until a signal, or until one table was shown. OSError, BadConfig."""
    port = file.driver
    title = f"lbcore l4: {port.kind} on {port.interface}"
    with signals() as notes, started(file) as running:
        start, before = time.monotonic(), None
        while not notes.end:
            notes.came.wait(every)
            notes.came.clear()
            running.check()
            if notes.again:
                notes.again = False
                file = read_again(path, file, running.lb)
            before = show(title, running.lb.balancer, running.look(start), before)
            if once:
                break


def show(title: str, balancer: Balancer, now: console.Look, before: console.Look | None = None) -> console.Look:
    """Show the table of a balancer of packets."""
    shown(console.state(title, balancer, now, before))
    return now


def shown(text: str) -> None:
    """Print a table; on a terminal in place of the last one."""
    print(CLEAR + text if sys.stdout.isatty() else text, flush=True)


def convert(file: File) -> None:
    """A capture through the balancer, as fast as it goes, and one table. OSError, Malformed."""
    port, balancer = file.driver, balancer_of(file)
    run(balancer, Memory())  # compiles, so that the time is the packets'
    start = time.monotonic()
    with Pcap(port.input, port.output or None) as driver:
        run(balancer, driver)
    show(
        f"lbcore l4: pcap {port.input}",
        balancer,
        console.Look(time.monotonic() - start, balancer.counters(), driver.statistics()),
    )


def main(argv: list[str]) -> int:
    """Run the balancer of a file; see the head of this file."""
    parser = argparse.ArgumentParser(
        prog="lbcore l4", description="run an L4 load balancer, of packets or of connections, from a configuration file"
    )
    parser.add_argument("config", metavar="CONFIG.toml", help="examples stand in lbcore/l4/examples")
    parser.add_argument("--check", action="store_true", help="only say whether the file is right")
    parser.add_argument("--once", action="store_true", help="show the table of counters once and end")
    parser.add_argument(
        "--every",
        type=float,
        default=1.0,
        metavar="SECONDS",
        help="how often to show the table of counters (default: 1)",
    )
    arguments = parser.parse_args(argv)
    if not 0.01 <= arguments.every <= 3600:
        parser.error(f"--every is {arguments.every:g}, wanted 0.01 to 3600 seconds")
    try:
        file = config_file.read(arguments.config)
        if arguments.check:
            print(f"{arguments.config}: right")
        elif isinstance(file, RelayFile):
            again = functools.partial(config_file.read, arguments.config)
            relay.serve(file, again, shown, arguments.every, arguments.once)
        elif file.driver.kind == "pcap":
            convert(file)
        else:
            serve(arguments.config, file, arguments.every, arguments.once)
    except BadConfig as error:
        print(error, file=sys.stderr)
        return WRONG
    except (OSError, ValueError, Rejected) as error:
        print(f"lbcore l4: {error}", file=sys.stderr)
        return REFUSED
    return 0
