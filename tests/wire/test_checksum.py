"""The Internet checksum: against scapy, against arithmetic modulo 65535, and repaired against computed anew."""

from __future__ import annotations

import numpy as np
from hypothesis import example, given
from hypothesis import strategies as st
from scapy.utils import checksum as scapy_checksum

from lbcore.jit import kernel
from lbcore.wire import checksum
from lbcore.wire.seam import view
from lbcore.wire.seam_numba import checked_context, new_cell, place
from tests import vectors
from tests.wire.packets import number


@kernel
def compiled(data):
    cell = new_cell()
    place(cell, data, 0, data.size)
    return checksum.finish(checksum.add(view(checked_context(cell)), 0, data.size))


@given(st.binary(max_size=1600))
@example(b"")
@example(b"\xff")
@example(b"\xff" * 65535)
@example(bytes(64))
def test_any_data_of_any_length_as_scapy_computes_it(data):
    ours = checksum.finish(checksum.add(view(data), 0, len(data)))
    assert ours == scapy_checksum(data)
    assert ours == compiled(np.frombuffer(data + b"\0", np.uint8)[: len(data)])


@given(st.binary(min_size=2, max_size=64), st.data())
def test_a_sum_may_be_taken_in_parts(data, draw):
    cut = 2 * draw.draw(st.integers(0, len(data) // 2))
    p = view(data)
    parts = checksum.add(p, 0, cut) + checksum.add(p, cut, len(data))
    assert parts == checksum.add(p, 0, len(data))


@given(st.integers(0, 2**48 - 1))
def test_fold_keeps_the_value_modulo_65535(total):
    folded = checksum.fold(total)
    assert 0 <= folded <= 0xFFFF
    assert (folded % 0xFFFF, folded == 0) == (total % 0xFFFF, total == 0)


@given(number(64))
def test_words64_is_four_words(word):
    assert checksum.words64(word) == sum(word >> shift & 0xFFFF for shift in (0, 16, 32, 48))


@kernel
def rewrites(rounds, seed):
    """Rewrite one word, then a pair of words, of a random header: (repairs that differ from a checksum computed anew,
    by 65535 minus the sum modulo 65535; checksums that came out 0x0000)."""
    np.random.seed(seed)
    words = np.random.randint(0, 65536, 10)
    wrong, zeros = 0, 0
    for i in range(rounds):
        total = words.sum()
        before = 65535 - ((total - 1) % 65535 + 1)
        at = np.random.randint(0, 9)
        old, old32 = words[at], words[at] << 16 | words[at + 1]
        words[at] = np.random.randint(0, 65536)
        if i & 1:
            words[at + 1] = np.random.randint(0, 65536)
        if i & 2:  # what makes the sum all ones and the checksum 0, which RFC 1141 gets wrong
            words[at] = 65535 - (words.sum() - words[at]) % 65535
        if i & 1:
            after = checksum.update32(before, old32, words[at] << 16 | words[at + 1])
        else:
            after = checksum.update16(before, old, words[at])
        anew = 65535 - ((words.sum() - 1) % 65535 + 1)
        wrong += after != anew
        zeros += anew == 0
    return wrong, zeros


def test_a_million_repairs_equal_a_million_checksums_computed_anew():
    wrong, zeros = rewrites(1_000_000, 1624)
    assert wrong == 0
    assert zeros >= 500_000


@given(number(16), number(16), number(16), number(32), number(32))
def test_a_repair_is_the_same_in_plain_python_and_undoes_itself(sum_, old, new, old32, new32):
    assert checksum.update32(sum_, old32, new32) == checksum.update16(
        checksum.update16(sum_, old32 >> 16, new32 >> 16), old32 & 0xFFFF, new32 & 0xFFFF
    )
    back = checksum.update16(checksum.update16(sum_, old, new), new, old)
    assert (back - sum_) % 0xFFFF == 0  # 0x0000 and 0xFFFF are one number in ones' complement


def test_the_examples_of_the_rfcs():
    cases = vectors.load("checksum_rfc.json")
    data = bytes.fromhex(cases["rfc1071"]["bytes"])
    total = checksum.add(view(data), 0, len(data))
    assert f"{checksum.fold(total):04x}" == cases["rfc1071"]["sum"]
    assert f"{checksum.finish(total):04x}" == cases["rfc1071"]["checksum"]
    before, old, new = (int(cases["rfc1624"][name], 16) for name in ("HC", "m", "m_new"))
    assert f"{checksum.update16(before, old, new):04x}" == cases["rfc1624"]["eqn3_HC_new"]
