"""Run a function that may do anything, and always get something back.

Rule of this file: it calls and reports; what is right, it does not know.

Theory. The function runs in a forked child, so whatever it does to memory, globals, files on 1 and 2 or itself ends
with the child. An endless loop is found by counting: the child traces itself and gives up after `steps` lines, which
is the same number on every machine, however slow. The limit is no exception in the function's own frame, so a bare
`except:` cannot swallow it. A loop inside C code (`sum(itertools.count())`) has no lines to count; the parent's clock
ends that. What comes back is made plain (numbers, strings, bytes, lists) in the child, so comparing it calls none of
the function's code.

Traps. Fork needs Linux or macOS; Windows readers are in WSL. A fork copies only the calling thread: the child must
not touch the notebook's sockets, so output goes to /dev/null and `input` is refused.
"""

from __future__ import annotations

import builtins
import copy
import inspect
import linecache
import multiprocessing
import os
import pickle
import resource
import signal
import sys
import time
import warnings
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any, NoReturn

import numpy as np

STEPS = 1_000_000  # lines of Python for one call; the longest right answer of any lab needs under a tenth
SECONDS = 20.0  # for all calls of a run together; right answers need about one
MEMORY = 512 << 20  # bytes the child may take on top of what it starts with
DEPTH, LENGTH = 3, 1_000_000  # of a plain value


@dataclass(frozen=True)
class Outcome:
    """What became of one call.

    kind: "answer", "raised", "stub" (NotImplementedError), "endless" or "died".
    value: the plain answer; of an exception its class name. note: message, or how it died. line: of the student's code.
    """

    kind: str
    value: Any = None
    note: str = ""
    line: str = ""
    changed: bool = False  # whether the call changed its arguments


@dataclass(frozen=True)
class Foreign:
    """Stands for a value that is neither number, string, bytes, None nor a list of such."""

    type: str


def plain(value: Any, depth: int = DEPTH) -> Any:
    """`value` made of Python's own numbers, strings, bytes, None and lists; anything else becomes `Foreign`."""
    if type(value) in (bool, int, float, str, bytes, type(None)):
        return value
    if type(value) is bytearray:
        return bytes(value)
    if type(value) is np.ndarray or (isinstance(value, np.generic) and not isinstance(value, np.void)):
        return plain(value.tolist(), depth)
    if (type(value) is list or isinstance(value, tuple)) and depth and len(value) <= LENGTH:
        return [plain(item, depth - 1) for item in value]
    return Foreign(type(value).__name__)


def run(
    function: Callable[..., Any], calls: Sequence[tuple[Any, ...]], *, steps: int = STEPS, seconds: float = SECONDS
) -> list[Outcome]:
    """The outcome of `function(*arguments)` for each of `calls`, in order; after an endless or deadly one no more."""
    fork = multiprocessing.get_context("fork")
    receiver, sender = fork.Pipe(duplex=False)
    child = fork.Process(target=serve, args=(function, calls, steps, sender))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # 3.12 on: fork beside threads; see Traps
        child.start()
    sender.close()
    outcomes: list[Outcome] = []
    end = time.monotonic() + seconds
    try:
        while len(outcomes) < len(calls) and (not outcomes or outcomes[-1].kind not in ("endless", "died")):
            outcomes.append(receive(receiver, end - time.monotonic()))
    finally:
        with suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGKILL) if child.pid else None
        child.kill()
        child.join()
        receiver.close()
    return outcomes


def receive(receiver: Any, left: float) -> Outcome:
    """The child's next report, or what its silence for the seconds that are left means."""
    try:
        if receiver.poll(max(left, 0.0)):
            report: Outcome = receiver.recv()
            return report
    except (EOFError, OSError, pickle.UnpicklingError):
        return Outcome("died", note="the process that ran it ended without an answer")
    return Outcome("endless", note="still running when the checker's time was up")


# ------------------------------------------------------------------------------------------------- in the child
def serve(function: Callable[..., Any], calls: Sequence[tuple[Any, ...]], steps: int, sender: Any) -> NoReturn:
    """Make the calls one by one and report each."""
    os.setsid()  # so that whatever it starts ends with it
    silence()
    for arguments in calls:
        sender.send(attempt(function, arguments, steps, sender))
    os._exit(0)


def silence() -> None:
    """No output, no input, no more memory than a lab needs."""
    null = os.open(os.devnull, os.O_RDWR)
    for number in (0, 1, 2):
        os.dup2(null, number)
    sys.stdout = sys.stderr = open(os.devnull, "w")  # noqa: SIM115 - stays open as long as the child lives
    builtins.input = refuse_input
    if (pages := Path("/proc/self/statm")).exists():
        limit = int(pages.read_text().split()[0]) * resource.getpagesize() + MEMORY
        with suppress(ValueError):  # a lower limit is set already
            resource.setrlimit(resource.RLIMIT_AS, (limit, resource.getrlimit(resource.RLIMIT_AS)[1]))


def refuse_input(prompt: object = "") -> NoReturn:
    """What `input` is while a checker runs."""
    raise EOFError("input() has nobody to ask while the checker runs")


def attempt(function: Callable[..., Any], arguments: tuple[Any, ...], steps: int, sender: Any) -> Outcome:
    """One call, with a count of its lines."""
    own = getattr(getattr(inspect.unwrap(function), "__code__", None), "co_filename", "")
    given, left = copy.deepcopy(arguments), steps
    at = ""

    def count(frame: FrameType, event: str, _: Any) -> Any:
        nonlocal left, at
        left -= event == "line"
        if event == "line" and frame.f_code.co_filename == own and left < 50:
            at = source_line(own, frame.f_lineno)
        if left <= 0:
            sender.send(Outcome("endless", note=f"still running after {steps:,} lines", line=at))
            os._exit(0)
        return count

    try:
        sys.settrace(count)
        value = plain(function(*given))
    except NotImplementedError as error:
        outcome = Outcome("stub", note=message(error))
    except MemoryError:
        outcome = Outcome("died", note=f"it wanted more than {MEMORY >> 20} MB of memory")
    except BaseException as error:  # SystemExit and KeyboardInterrupt too: all of it is the student's
        outcome = Outcome("raised", type(error).__name__, message(error), where(error.__traceback__, own))
    else:
        outcome = Outcome("answer", value, changed=plain(given) != plain(arguments))
    finally:
        sys.settrace(None)
    return outcome


def message(error: BaseException) -> str:
    """The text of an exception, as far as it has one."""
    try:
        return str(error)
    except Exception:
        return "(its message could not be made)"


def where(trace: TracebackType | None, own: str) -> str:
    """The last line of the student's own file that an exception came through."""
    line = ""
    while trace:
        if trace.tb_frame.f_code.co_filename == own:
            line = source_line(own, trace.tb_lineno)
        trace = trace.tb_next
    return line


def source_line(file: str, number: int) -> str:
    """A line of source, as the student would recognise it."""
    return linecache.getline(file, number).strip()
