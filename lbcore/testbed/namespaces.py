"""Functions in other network namespaces: made, entered and ended without leaving anything behind.

Rule of this file: it knows namespaces and processes, nothing of networks.

Theory. A namespace lives as long as something refers to it: a process in it, or an open descriptor of /proc/PID/ns/net.
Here it is only descriptors, held by this process, so that however this process ends (SIGKILL too) the kernel takes
every namespace down, and with it every link in it. There is nothing to clean up, hence nothing to forget.

A function runs in a forked child, which enters the namespaces and tells its result through a socket. A fork carries
closures and functions of a notebook's cells as they are; only the result is pickled. The child is two processes: a
keeper, and the function as process 1 of a PID namespace of its own. When process 1 ends, the kernel ends all that it
started (pid_namespaces(7)). When the keeper ends, process 1 is killed (PR_SET_PDEATHSIG); when this process ends, so is
the keeper.

Traps
- PR_SET_PDEATHSIG speaks of the parent *thread*. All forks come from one thread that lives as long as the launcher.
- setns(2) into a user namespace is refused to a process with threads; a fork has one thread. That is why a fork.
- A notebook's sys.stdout sends to the kernel's port on 127.0.0.1, which in there is another 127.0.0.1, and waits
  for ever. A function prints to descriptor 1 instead, which the kernel reads and shows under the cell.
- A lock that another thread held at the fork stays locked in the child: a function should not use what other threads
  of the parent are using at that moment. Every wait here has a timeout. The C library is such a thing: to find a
  function in it takes the loader's lock, so they are found before the first fork. And a child asks to die with its
  parent before all else, and once more when it has entered its namespaces, for new credentials undo the first time.
"""

from __future__ import annotations

import ctypes
import io
import os
import pickle
import select
import signal
import socket
import struct
import sys
import time
import traceback
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Any, Generic, NamedTuple, NoReturn, ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")

CLONE_NEWNET, CLONE_NEWUSER, CLONE_NEWPID = 0x40000000, 0x10000000, 0x20000000  # linux/sched.h
PR_SET_PDEATHSIG = 1  # linux/prctl.h
HEADER = struct.Struct("=cQ")  # what follows: v a value, e an exception, s a socket, f a file; bytes of pickle
SIGNALS = {signal.SIGINT, signal.SIGTERM, signal.SIGCHLD}


class Died(ChildProcessError):
    """A function's process ended without a result."""


class Space(NamedTuple):
    """Where a function runs. None: where this process is. `fresh_user`: in a new user namespace, as its root."""

    user: io.FileIO | None = None
    net: io.FileIO | None = None
    fresh_user: bool = False

    def enter(self) -> None:
        """Move this process there, for good; it must have one thread only."""
        if self.fresh_user:
            user, group = os.geteuid(), os.getegid()
            unshare(CLONE_NEWUSER)
            Path("/proc/self/setgroups").write_text("deny")  # or the group map is refused: user_namespaces(7)
            Path("/proc/self/uid_map").write_text(f"0 {user} 1")
            Path("/proc/self/gid_map").write_text(f"0 {group} 1")
        if self.user:
            setns(self.user, CLONE_NEWUSER)
        if self.net:
            setns(self.net, CLONE_NEWNET)


class Task(Generic[T]):
    """A function running in another namespace."""

    def __init__(self, name: str, process: int, channel: socket.socket, launcher: Launcher) -> None:
        self.name = name
        self._process: int | None = process
        self._channel = channel
        self._launcher = launcher
        self._outcome: Callable[[], T] | None = None

    def running(self) -> bool:
        """Whether there is no result yet."""
        return self._outcome is None and not select.select([self._channel], [], [], 0)[0]

    def result(self, timeout: float = 30.0) -> T:
        """What the function returned; raises what it raised, with the place noted.

        Died if its process was killed. TimeoutError after `timeout` seconds: the function goes on (see `stop`).
        """
        if self._outcome is None:
            if self._process is None:
                raise Died(f"{self.name} was stopped before it had a result")
            try:
                deadline = time.monotonic() + timeout
                if not select.select([self._channel], [], [], timeout)[0]:
                    raise TimeoutError
                self._outcome = self._launcher.undisturbed(_receive, self._channel, deadline)
            except EOFError:
                code = self._reap()
                number = -code if code < 0 else code - 128  # the keeper's own end, or what it tells of process 1's
                how = f"was ended by signal {number}" if number > 0 else f"ended with status {code}"
                raise Died(f"{self.name} {how} without a result") from None
            except TimeoutError:
                raise TimeoutError(f"{self.name} has no result after {timeout:g} s") from None
            self._reap()
        return self._outcome()

    def stop(self) -> None:
        """End the function and all that it started; returns when they are gone. Stopping twice does no harm."""
        if self._process is not None:
            with suppress(ProcessLookupError):
                os.kill(self._process, signal.SIGTERM)  # the keeper's sign to kill process 1
            self._reap()

    def _reap(self) -> int:
        assert self._process is not None
        status = 1 << 8
        with suppress(ChildProcessError):  # an interrupt came between waiting and noting it, or SIGCHLD is ignored
            _, status = os.waitpid(self._process, 0)
        self._process = None
        self._channel.close()
        self._launcher.forget(self)
        return os.waitstatus_to_exitcode(status)

    def __enter__(self) -> Task[T]:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


class Launcher:
    """Starts tasks, and ends those that are left when it is closed."""

    def __init__(self) -> None:
        _ = _libc().prctl, _libc().unshare, _libc().setns
        self._thread = ThreadPoolExecutor(1, "launcher", signal.pthread_sigmask, (signal.SIG_BLOCK, SIGNALS))
        self._tasks: set[Task[Any]] = set()
        self._closed = False

    def start(self, space: Space, name: str, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> Task[T]:
        """Run `function` there. What it returns is pickled; an open socket or io.FileIO is handed over itself."""
        return self.undisturbed(self._fork, space, name, lambda: function(*args, **kwargs))

    def run(self, space: Space, name: str, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """The same, waited for."""
        with self.start(space, name, function, *args, **kwargs) as task:
            return task.result()

    def new_user_namespace(self) -> io.FileIO:
        """One in which this user is root."""
        return self.run(Space(fresh_user=True), "a new user namespace", _open, "user")

    def new_net_namespace(self, user: io.FileIO | None) -> io.FileIO:
        """An empty network, owned by that user namespace."""
        return self.run(Space(user), "a new network namespace", _new_net)

    def undisturbed(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Call it in the launcher's thread: an interrupt is raised in the main thread only, and so cannot come between
        receiving a descriptor and giving it an owner."""
        return self._thread.submit(function, *args, **kwargs).result()

    def forget(self, task: Task[Any]) -> None:
        """It has ended."""
        self._tasks.discard(task)

    def close(self) -> None:
        """Stop all tasks; closing twice does no harm. In the launcher's thread: behind a fork that was under way, and
        whole even if the caller is interrupted."""
        if not self._closed:
            done = self._thread.submit(self._stop_all)
            self._closed = True
            try:
                done.result()
            finally:
                self._thread.shutdown()

    def _stop_all(self) -> None:
        for task in list(self._tasks):
            task.stop()

    def _fork(self, space: Space, name: str, body: Callable[[], T]) -> Task[T]:
        here, there = socket.socketpair()
        parent = os.getpid()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # of forking with threads: see the traps above
            process = os.fork()
        if process == 0:
            _keep(space, there, body, parent)
        there.close()
        task: Task[T] = Task(name, process, here, self)
        self._tasks.add(task)  # at once: whoever waits for it may be interrupted
        return task


@contextmanager
def inside(net: io.FileIO) -> Iterator[None]:
    """This thread, in that network namespace, until the block ends. PermissionError without root."""
    with open("/proc/thread-self/ns/net", "rb", buffering=0) as home:
        setns(net, CLONE_NEWNET)
        try:
            yield
        finally:
            setns(home, CLONE_NEWNET)


def unshare(flags: int) -> None:
    """unshare(2); OSError."""
    _check(_libc().unshare(flags), "unshare(2)")


def setns(namespace: io.FileIO, kind: int) -> None:
    """setns(2); OSError."""
    _check(_libc().setns(namespace.fileno(), kind), "setns(2)")


# -------------------------------------------------------------------------------------------------------- in the child
def _keep(space: Space, channel: socket.socket, body: Callable[[], Any], parent: int) -> NoReturn:
    """The keeper: starts process 1, waits for its end, or for the sign to end it. SIGNALS are blocked on entry."""
    code = 1
    try:
        _die_with_parent()
        os.setsid()  # Ctrl-C in a terminal is for the parent, which then ends us
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        space.enter()
        _die_with_parent()
        if os.getppid() != parent:
            os._exit(1)  # it died before we could ask to be told
        unshare(CLONE_NEWPID)
        ours, its = socket.socketpair()
        first = os.fork()
        if first == 0:
            ours.close()
            _work(channel, body, its)
        channel.close()
        its.close()
        ours.sendall(ours.recv(1))  # whoever gets this back has asked to be told of our death, and we live
        while True:
            if signal.sigwait({signal.SIGTERM, signal.SIGCHLD}) == signal.SIGTERM:
                os.kill(first, signal.SIGKILL)
            elif os.waitid(os.P_PID, first, os.WEXITED | os.WNOHANG | os.WNOWAIT):
                code = os.waitstatus_to_exitcode(os.waitpid(first, 0)[1])
                code = code if code >= 0 else 128 - code
                break
    except BaseException as error:
        _send_error(channel, error)
    finally:
        os._exit(code)


def _work(channel: socket.socket, body: Callable[[], Any], keeper: socket.socket) -> NoReturn:
    """Process 1 of its PID namespace: the function itself."""
    code = 1
    try:
        _die_with_parent()
        keeper.sendall(b"?")
        if keeper.recv(1):  # nothing: the keeper died before we could ask to be told
            signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
            os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
            with open(1, "w", 1, closefd=False) as sys.stdout, open(2, "w", 1, closefd=False) as sys.stderr:
                value = body()
            _send_value(channel, value)
            code = 0
    except BaseException as error:
        _send_error(channel, error)
    finally:
        os._exit(code)


def _die_with_parent() -> None:
    _check(_libc().prctl(PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0), "prctl(2)")


def _new_net() -> io.FileIO:
    unshare(CLONE_NEWNET)
    return _open("net")


def _open(kind: str) -> io.FileIO:
    return open(f"/proc/self/ns/{kind}", "rb", buffering=0)


# ---------------------------------------------------------------------------------------------------------- the result
def _send_value(channel: socket.socket, value: Any) -> None:
    if isinstance(value, (socket.socket, io.FileIO)):
        socket.send_fds(channel, [HEADER.pack(b"s" if isinstance(value, socket.socket) else b"f", 0)], [value.fileno()])
    else:
        data = pickle.dumps(value)
        channel.sendall(HEADER.pack(b"v", len(data)) + data)


def _send_error(channel: socket.socket, error: BaseException) -> None:
    error.add_note("in the other namespace:\n" + "".join(traceback.format_tb(error.__traceback__)))
    try:
        data = pickle.dumps(error)
        pickle.loads(data)
        if not isinstance(error, Exception):
            raise TypeError("SystemExit and KeyboardInterrupt are about the process that raised them")
    except Exception:
        substitute = RuntimeError(f"{type(error).__name__}: {error}")
        substitute.add_note("\n".join(error.__notes__))
        data = pickle.dumps(substitute)
    with suppress(OSError):  # nobody listens any more
        channel.sendall(HEADER.pack(b"e", len(data)) + data)


def _receive(channel: socket.socket, deadline: float) -> Callable[[], Any]:
    """The outcome, as something to call: it returns or raises. EOFError where the other side died."""
    data, handles = b"", list[int]()
    size = HEADER.size
    chunks: list[bytes] = []
    kind = b""
    while size:
        channel.settimeout(max(deadline - time.monotonic(), 0.001))
        try:
            data, more, _, _ = socket.recv_fds(channel, min(size, 1 << 20), 1)
        except ConnectionResetError:
            data, more = b"", []
        handles += more
        if not data:
            raise EOFError
        chunks.append(data)
        size -= len(data)
        if not size and not kind:
            kind, size = HEADER.unpack(b"".join(chunks))
            chunks = []
    if kind == b"s":
        connection = socket.socket(fileno=handles[0])
        return lambda: connection
    if kind == b"f":
        file = os.fdopen(handles[0], "rb", buffering=0)
        return lambda: file
    value = pickle.loads(b"".join(chunks))
    return (lambda: value) if kind == b"v" else (lambda: _raise(value))


def _raise(error: BaseException) -> NoReturn:
    raise error


@cache
def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def _check(result: int, what: str) -> None:
    if result:
        error = ctypes.get_errno()
        raise OSError(error, f"{what}: {os.strerror(error)}")
