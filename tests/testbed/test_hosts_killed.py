"""A network that is killed at any moment, in any way, leaves nothing on the machine."""

from __future__ import annotations

import gc
import os
import queue
import random
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest

from tests import nbval_kernels, needs
from tests.testbed import leftovers

pytestmark = [needs.linux(), needs.tier(1)]

ROOT = Path(__file__).resolve().parents[2]
VICTIM = """
import os, subprocess, sys, threading
from lbcore.testbed import backends, capabilities, hosts, traffic

capabilities.machine()
rootless = sys.argv[1] == "rootless"
print("ready", flush=True)

def say(net):
    for space in (*(host._space.net for host in net.hosts.values()), net._user):
        if space is not None:
            print(os.fstat(space.fileno()).st_ino, flush=True)

try:
    while True:
        with hosts.Topology(rootless=rootless) as net:
            client, server = net.lan("client", "server")
            say(net)
            backends.serve_http(server)
            server.start(subprocess.run, ["sh", "-c", "setsid sleep 1000 & sleep 1000 & wait"])
            threading.Thread(target=lambda: client.start(os.system, "sleep 1000")).start()
            ear = server.capture()
            client.run(traffic.ask, "10.0.0.2")
except KeyboardInterrupt:
    print("interrupted", flush=True)
"""


def build_and_kill(number, delay, how="as root"):
    """Start the victim, send it the signal `delay` seconds after it began to build; returns (its output, mark)."""
    mark = os.urandom(8).hex()
    environment = {**os.environ, leftovers.MARK: mark, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(
        [sys.executable, "-c", VICTIM, how], env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as victim:
        assert victim.stdout.readline() == "ready\n"
        time.sleep(delay)
        victim.send_signal(number)
        out, err = victim.communicate(timeout=30)
    return out, err, victim.returncode, mark


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT], ids=lambda number: number.name)
@pytest.mark.parametrize("how", [pytest.param("as root", marks=needs.root()), "rootless"])
def test_nothing_is_left_whenever_it_is_killed(number, how):
    before = leftovers.our_interfaces(), leftovers.named_namespaces()
    draw = random.Random(f"{number} {how}")
    spaces = 0
    for attempt in range(20):
        if attempt >= 5 and spaces:
            break
        late = 1 + attempt // 5  # on a busy machine a victim takes longer to have anything
        out, err, code, mark = build_and_kill(number, draw.uniform(0, 0.6) * late, how)
        inodes = {int(line) for line in out.split() if line.isdigit()}
        spaces += len(inodes)
        if number == signal.SIGINT:
            assert "interrupted" in out, err
            assert code == 0, err
        else:
            assert code == -number, err
        assert leftovers.until(lambda mark=mark: not leftovers.marked(mark)), leftovers.marked(mark)
        assert leftovers.until(lambda inodes=inodes: not leftovers.holders(inodes)), leftovers.holders(inodes)
    assert spaces > 0, "no victim lived long enough to build anything: the test has seen nothing"
    assert (leftovers.our_interfaces(), leftovers.named_namespaces()) == before


def test_the_search_for_leftovers_finds_them(monkeypatch):
    """Or the test above could not fail."""
    mark = os.urandom(8).hex()
    with subprocess.Popen(["sleep", "100"], env={**os.environ, leftovers.MARK: mark}) as left:
        try:
            assert leftovers.until(lambda: leftovers.marked(mark) == [left.pid])
            inode = os.stat("/proc/self/ns/net").st_ino
            assert f"/proc/{left.pid}/ns/net" in leftovers.holders({inode})
        finally:
            left.kill()


@pytest.mark.parametrize("who", ["keeper", "process 1"])
def test_when_either_process_of_a_task_is_killed_the_rest_ends(who, monkeypatch):
    from lbcore.testbed.hosts import Topology
    from lbcore.testbed.namespaces import Died

    monkeypatch.setenv(leftovers.MARK, mark := os.urandom(8).hex())
    with Topology() as net:
        task = net.host("h").start(subprocess.run, ["sh", "-c", "setsid sleep 1000 & wait"])
        assert leftovers.until(lambda: len(leftovers.marked(mark)) == 2)
        keeper = task._process
        (first,) = Path(f"/proc/{keeper}/task/{keeper}/children").read_text().split()
        os.kill(keeper if who == "keeper" else int(first), signal.SIGKILL)
        with pytest.raises(Died, match=r"run in h was ended by signal 9"):
            task.result(timeout=10)
        assert leftovers.until(lambda: not leftovers.marked(mark))


class Interrupted(BaseException):
    pass


@pytest.mark.parametrize("seed", range(3))
def test_an_interrupt_at_any_moment_leaves_this_process_as_it_was(seed, monkeypatch):
    from lbcore.testbed.hosts import Topology

    def interrupt(*_):
        raise Interrupted

    def build():
        with Topology() as net:
            client, server = net.lan("client", "server")
            server.start(subprocess.run, ["sleep", "1000"])
            server.capture()
            client.run(time.sleep, 0.01)

    build()
    monkeypatch.setenv(leftovers.MARK, mark := os.urandom(8).hex())
    before, draw, hits = leftovers.of_this_process(), random.Random(seed), 0
    old = signal.signal(signal.SIGALRM, interrupt)
    try:
        for _ in range(8):
            try:
                signal.setitimer(signal.ITIMER_REAL, draw.uniform(0.001, 0.3))
                build()
                signal.setitimer(signal.ITIMER_REAL, 0)
            except Interrupted:
                hits += 1
            gc.collect()  # what was under way when the interrupt came had no owner yet
            assert leftovers.until(lambda: leftovers.of_this_process() == before), (leftovers.of_this_process(), before)
            assert leftovers.marked(mark) == []
    finally:
        signal.signal(signal.SIGALRM, old)
    assert hits > 0


CELL = """
import subprocess
from lbcore.testbed.hosts import Topology
with Topology() as net:
    client, server = net.lan("client", "server")
    print(server.run(lambda: "from the host"))
    server.run(print, "printed in the host")
    server.start(subprocess.run, ["sleep", "1000"])
    client.command("sh", "-c", "setsid sleep 1000 & wait", timeout=1000)
"""


def test_a_kernel_interrupt_ends_the_cell_and_the_network_and_nothing_else(tmp_path):
    """Also: what a function prints in a host is shown under the cell."""
    mark, printed = os.urandom(8).hex(), []
    manager = nbval_kernels.manager()
    environment = {**os.environ, leftovers.MARK: mark, "PYTHONPATH": str(ROOT)}
    environment.pop("PYTEST_CURRENT_TEST")  # a kernel that sees it does not read its descriptors 1 and 2
    manager.start_kernel(env=environment)
    try:
        client = manager.blocking_client()
        client.start_channels()
        client.wait_for_ready(timeout=60)
        alone = set(leftovers.marked(mark))
        message = client.execute(CELL)

        def see():
            with suppress(queue.Empty):
                while True:
                    printed.append(client.get_iopub_msg(timeout=0.05)["content"].get("text", ""))
            return len(leftovers.marked(mark)) >= len(alone) + 4 + 3  # two tasks of two processes, and their programs

        def lines():
            return set("".join(printed).splitlines())

        assert leftovers.until(see, 60), printed
        manager.interrupt_kernel()
        while (reply := client.get_shell_msg(timeout=30))["parent_header"]["msg_id"] != message:
            pass  # answers to earlier questions
        assert reply["content"]["ename"] == "KeyboardInterrupt"
        assert set(leftovers.marked(mark)) == alone
        assert leftovers.until(lambda: see() or {"from the host", "printed in the host"} <= lines(), 5), printed
        client.stop_channels()
    finally:
        manager.shutdown_kernel(now=True)
    assert leftovers.until(lambda: not leftovers.marked(mark))
