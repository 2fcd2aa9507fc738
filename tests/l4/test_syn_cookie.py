"""A cookie is accepted from whom it was given to, for a minute or two, and from nobody else."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lbcore.l4.syn_cookie import accepts, make

KEY, CLIENT, SERVER = bytes(range(16)), "192.0.2.1:1024", "203.0.113.80:80"


@given(minute=st.integers(1, 10**7), size=st.integers(0, 7), later=st.integers(0, 40))
def test_for_a_minute_or_two(minute, size, later):
    number = make(KEY, CLIENT, SERVER, minute, size)
    assert 0 <= number < 1 << 32
    assert number >> 24 & 7 == size
    assert accepts(KEY, number, CLIENT, SERVER, minute + later) == (later < 2)


@given(bit=st.integers(0, 31), minute=st.integers(1, 10**7))
def test_no_bit_can_be_changed(bit, minute):
    number = make(KEY, CLIENT, SERVER, minute, 3) ^ 1 << bit
    assert not accepts(KEY, number, CLIENT, SERVER, minute)


def test_from_nobody_else():
    number = make(KEY, CLIENT, SERVER, 1000, 3)
    assert not accepts(KEY, number, "192.0.2.2:1024", SERVER, 1000)
    assert not accepts(KEY, number, CLIENT, "203.0.113.80:443", 1000)
    assert not accepts(bytes(16), number, CLIENT, SERVER, 1000)


@pytest.mark.parametrize("size", [-1, 8])
def test_eight_sizes(size):
    with pytest.raises(ValueError, match="0 to 7"):
        make(KEY, CLIENT, SERVER, 1000, size)
