"""The queue between two: against a list, across the wrap of its indexes, and between two threads."""

from __future__ import annotations

from collections import deque

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lbcore.jit import kernel
from lbcore.l4.drivers import rings, umem
from lbcore.l4.drivers.loop import Loop, stopped


@kernel
def write(ring, numbers):
    """Append as many as there is room for; how many."""
    count, first = min(rings.room(ring), len(numbers)), rings.made(ring)
    for i in range(count):
        ring.entries[rings.slot(ring, first + i), 0] = numbers[i]
    rings.publish(ring, count)
    return count


@kernel
def read(ring, numbers):
    """Take as many as there are and fit; how many."""
    count, first = min(rings.filled(ring), len(numbers)), rings.taken(ring)
    for i in range(count):
        numbers[i] = ring.entries[rings.slot(ring, first + i), 0]
    rings.consume(ring, count)
    return count


@given(
    size=st.sampled_from([1, 2, 8, 64]),
    start=st.sampled_from([0, 2**31 - 3, 2**32 - 5, 2**32 - 1]),
    steps=st.lists(st.tuples(st.booleans(), st.integers(0, 80)), max_size=60),
)
def test_it_is_a_queue(size: int, start: int, steps: list[tuple[bool, int]]) -> None:
    ring, model, next_number = rings.new(size), deque[int](), 0
    ring.producer[0] = ring.consumer[0] = start
    for writing, count in steps:
        if writing:
            numbers = np.arange(next_number, next_number + count, dtype=np.uint64)
            done = write(ring, numbers)
            assert done == min(count, size - len(model))
            model.extend(range(next_number, next_number + done))
            next_number += done
        else:
            numbers = np.zeros(count, np.uint64)
            done = read(ring, numbers)
            assert list(numbers[:done]) == [model.popleft() for _ in range(min(count, len(model)))]


@kernel
def produce(stop, ring, count):
    number, one = 0, np.zeros(7, np.uint64)
    while number < count and not stopped(stop):
        for i in range(len(one)):
            one[i] = number + i
        number += write(ring, one)
    return number


@kernel
def consume(stop, ring, count):
    """How many came, up to the first that was not next in order."""
    number, some = 0, np.zeros(5, np.uint64)
    while number < count and not stopped(stop):
        for i in range(read(ring, some)):
            if some[i] != number:
                return number
            number += 1
    return number


def test_two_threads_lose_nothing_and_keep_the_order() -> None:
    ring, count = rings.new(16), 700_000
    with Loop(produce, ring, count) as producer, Loop(consume, ring, count) as consumer:
        for loop in (producer, consumer):
            loop._thread.join(60)
    assert min(producer.result, consumer.result) >= count


def test_a_ring_has_a_power_of_two_of_places() -> None:
    with pytest.raises(ValueError, match="size is 12, wanted a power of two"):
        rings.new(12)


@kernel
def take_and_give(memory, offsets, gives):
    """Follow a script: take a frame where `gives` is negative, give the one at that position of `offsets` back."""
    count = 0
    for i in range(len(gives)):
        if gives[i] < 0:
            offsets[count] = umem.take(memory)
            count += 1
        else:
            umem.give(memory, offsets[gives[i]])
    return count


@given(st.lists(st.integers(0, 1000), max_size=40))
def test_frames_are_never_with_two(choices: list[int]) -> None:
    """Whatever is taken and given back, from wherever inside its frame: the free ones and the taken ones are all."""
    memory = umem.new(np.zeros(8 * 2048, np.uint8), 2048)
    held: list[int] = []
    for choice in choices:
        if choice % 2 and len(held) < 8:
            place = np.zeros(1, np.uint64)
            take_and_give(memory, place, np.array([-1]))
            held.append(int(place[0]))
        elif held:
            place = np.array([held.pop(choice % len(held)) + choice % 2048], np.uint64)
            take_and_give(memory, place, np.array([0]))
        free = memory.free[: memory.state[umem.FREE]]
        assert sorted([*held, *map(int, free)]) == [2048 * i for i in range(8)]


@kernel
def fail(stop, number):
    if number:
        raise ValueError("this loop fails")
    return 7


def test_a_loop_tells_its_result_and_its_error() -> None:
    with Loop(fail, 0) as loop:
        pass
    assert (loop.result, loop.running) == (7, False)
    broken = Loop(fail, 1)
    with pytest.raises(ValueError, match="this loop fails"):
        broken.stop()
    broken.stop()
