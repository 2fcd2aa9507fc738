"""No byte twice: not after a refill, not in a child."""

from __future__ import annotations

import os

from hypothesis import given
from hypothesis import strategies as st

from lbcore.l7.entropy import PIECE, Entropy


@given(st.lists(st.integers(1, PIECE), min_size=1, max_size=20))
def test_pieces_are_of_their_size_and_no_byte_is_handed_out_twice(sizes):
    made = []

    def source(size):
        made.append(os.urandom(size))
        return made[-1]

    entropy, whole, start = Entropy(source), b"", 0
    for size in sizes:
        drawn = entropy.take(size)
        assert len(drawn) == size
        whole = b"".join(made)
        start = whole.index(drawn, start) + size  # further on than the one before
    assert start <= len(whole)


def test_a_child_draws_others_than_its_parent():
    entropy = Entropy()
    entropy.take(1)
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        os.write(writing, entropy.take(32))
        os._exit(0)
    os.waitpid(child, 0)
    assert os.read(reading, 32) != entropy.take(32)
    os.close(reading)
    os.close(writing)
