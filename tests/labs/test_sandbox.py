"""The sandbox comes back from anything, with the kind of outcome that fits."""

import itertools
import os
import select
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from lbcore.labs.sandbox import Foreign, plain, run


def one(function, *arguments, **limits):
    return run(function, [arguments], **limits)[0]


def endless_in_c():
    return sum(itertools.repeat(0))


def untraced():
    sys.settrace(None)
    while True:
        pass


def killed():
    os.kill(os.getpid(), signal.SIGKILL)


def leaves():
    os._exit(0)


def evil_message():
    class Evil(Exception):
        def __str__(self):
            raise RuntimeError

    raise Evil


class Hostile:
    def __eq__(self, other):
        raise RuntimeError

    def __reduce__(self):
        raise RuntimeError


@pytest.mark.parametrize(
    ("function", "kind"),
    [
        (endless_in_c, "endless"),
        (untraced, "endless"),
        (killed, "died"),
        (leaves, "died"),
        (lambda: (yield), "answer"),
        (lambda: Hostile(), "answer"),
        (lambda: [Hostile()], "answer"),
        (lambda: sys.exit(), "raised"),
        (lambda: input("?"), "raised"),
        (lambda: [0] * 10**12, "died"),
        (lambda: list(itertools.repeat(0)), "died"),
        (lambda missing: 0, "raised"),
        (evil_message, "raised"),
        (lambda: [None for _ in itertools.count()], "endless"),
    ],
)
def test_comes_back_with_the_outcome_that_fits(function, kind):
    assert one(function, seconds=2 if kind == "endless" else 60).kind == kind  # only these use all of the time


def test_step_limit_counts_lines_and_no_time():
    def loop(lines):
        for _ in range(lines):
            pass

    assert one(loop, 400, steps=1000).kind == "answer"
    assert one(loop, 1000, steps=1000).kind == "endless"
    slow = one(lambda: time.sleep(0.5) or 1, steps=100)
    assert (slow.kind, slow.value) == ("answer", 1)


def test_time_is_for_all_calls_together():
    outcomes = run(time.sleep, [(0.6,)] * 5, seconds=2)
    assert [outcome.kind for outcome in outcomes][-1] == "endless"
    assert len(outcomes) < 5


def test_bare_except_does_not_swallow_the_limit():
    def stubborn():
        while True:
            try:
                pass
            except:  # noqa: E722
                continue

    outcome = one(stubborn, steps=1000)
    assert outcome.note == "still running after 1,000 lines"


def test_nothing_leaks_into_this_process(capfd):
    seen = []

    def messy(given):
        print("loud")
        os.write(1, b"louder")
        seen.append(1)
        given.append(2)
        return given

    given = [1]
    outcome = one(messy, given)
    assert (outcome.value, outcome.changed) == ([1, 2], True)
    assert (given, seen) == ([1], [])
    assert capfd.readouterr().out == ""


def test_names_the_line_that_raised():
    def broken(values):
        return values[7]

    outcome = one(broken, [1])
    assert (outcome.value, outcome.line) == ("IndexError", "return values[7]")


def test_calls_after_an_exception_go_on_and_after_an_endless_one_do_not():
    def fussy(number):
        if number == 1:
            raise KeyError(number)
        while number == 2:
            pass
        return number

    outcomes = run(fussy, [(0,), (1,), (0,), (2,), (0,)], steps=1000)
    assert [outcome.kind for outcome in outcomes] == ["answer", "raised", "answer", "endless"]


def test_plain_values():
    assert plain((1, np.int32(2), np.array([3.5]))) == [1, 2, [3.5]]
    assert plain({1: 2}) == Foreign("dict")
    endless: list = []
    endless.append(endless)
    assert plain(endless) == [[[Foreign("list")]]]


def test_processes_that_it_starts_end_with_it():
    reader, writer = os.pipe()
    os.set_inheritable(writer, True)
    one(lambda: subprocess.Popen(["sleep", "60"], close_fds=False).pid)
    os.close(writer)
    assert select.select([reader], [], [], 10)[0], "a process it started still holds the pipe"
    os.close(reader)
