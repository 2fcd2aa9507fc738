"""Hashes against outside test material: every case."""

import pytest

from lbcore.balance import hashes
from tests import vectors

SIPHASH = vectors.load("siphash.json")["vectors"]["vectors_sip64"]
LOOKUP3 = vectors.load("jhash_crc32c_dpdk.json")["cases"]


@pytest.mark.parametrize(("size", "expected"), list(enumerate(SIPHASH)))
def test_siphash(size, expected):
    key = hashes.key_words(bytes(range(16)))
    assert hashes.siphash24(bytes(range(size)), *key).to_bytes(8, "little").hex() == expected


@pytest.mark.parametrize("case", LOOKUP3, ids=lambda case: f"{len(case['key']) // 2} bytes from {case['initval']:#x}")
def test_jhash_and_crc32c(case):
    key = bytes.fromhex(case["key"])
    assert f"{hashes.jhash(key, case['initval']):08x}" == case["jhash"]
    assert f"{hashes.crc32c_update(case['initval'], key):08x}" == case["crc32c"]


def test_the_files_hold_what_their_readme_says():
    assert (len(SIPHASH), len(LOOKUP3)) == (64, 24)
