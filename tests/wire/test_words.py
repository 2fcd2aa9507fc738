"""Word arithmetic: plain Python and numba agree, on any words."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from lbcore.jit import kernel
from lbcore.wire import words
from lbcore.wire.portable import portable
from tests.wire.packets import number


@portable
def every(a, b, n, data, row):
    """Each function once. `a`, `b`: 64-bit words; n: a rotation, 1 to 31; data: 16 bytes."""
    x, y = words.int64(a >> 32), words.int64(b >> 32)
    row[0] = words.word64(x - y)
    row[1] = words.int64(a >> 1)
    row[2] = words.add32(x, y)
    row[3] = words.sub32(x, y)
    row[4] = words.mul32(x, y)
    row[5] = words.add64(a, b)
    row[6] = words.mul64(a, b)
    row[7] = words.mod64(a, y + 1)
    row[8] = words.bswap32(x)
    row[9] = words.bswap64(a)
    row[10] = words.le32(data, n & 7)
    row[11] = words.le64(data, n & 7)
    row[12] = words.rotl32(x, n)
    row[13] = words.rotl64(a, n)
    row[14] = words.rotl64(b, 2 * n)


@kernel
def every_compiled(a, b, n, data, row):
    every(a, b, n, data, row)


def same(a, b, n, data):
    plain, compiled = [0] * 15, np.zeros(15, np.uint64)
    every(a, b, n, data, plain)
    every_compiled(np.uint64(a), np.uint64(b), n, np.frombuffer(data, np.uint8), compiled)
    assert plain == compiled.tolist()


@given(number(64), number(64), st.integers(1, 31), st.binary(min_size=16, max_size=16))
def test_every_function_is_the_same_compiled(a, b, n, data):
    same(a, b, n, data)


def test_every_function_is_the_same_compiled_on_words_of_all_sizes():
    random = np.random.default_rng(64)
    for _ in range(5_000):
        a, b = (int(word) >> int(random.choice([0, 0, 1, 33])) for word in random.integers(0, 2**64, 2, np.uint64))
        same(a, b, int(random.integers(1, 32)), random.bytes(16))


@given(number(64), number(64), number(32), number(32), st.integers(1, 31))
def test_words_wrap_as_their_names_say(a, b, x, y, n):
    assert words.add64(a, b) == (a + b) % 2**64
    assert words.mul64(a, b) == a * b % 2**64
    assert words.add32(x, y) == (x + y) % 2**32
    assert words.sub32(x, y) == (x - y) % 2**32
    assert words.mul32(x, y) == x * y % 2**32
    assert words.mod64(a, x + 1) == a % (x + 1)
    assert words.word64(-a) == -a % 2**64
    assert words.rotl32(words.rotl32(x, n), 32 - n) == x
    assert f"{words.rotl64(a, n):064b}" == f"{a:064b}"[n:] + f"{a:064b}"[:n]
    assert words.bswap64(a).to_bytes(8, "big") == a.to_bytes(8, "little")
    assert words.bswap32(x).to_bytes(4, "big") == x.to_bytes(4, "little")


def test_no_function_is_forgotten_here():
    public = {name for name, value in vars(words).items() if getattr(value, "__module__", "") == words.__name__}
    assert public <= set(every.__code__.co_names)
