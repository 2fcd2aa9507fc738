"""Jump hash against outside test material: every case."""

import numpy as np
import pytest

from lbcore.balance.jump import jump, jump_many
from tests import vectors

CASES = vectors.load("jump_hash.json")["cases"]


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case['key']:#x} in {case['buckets']}")
def test_jump(case):
    key = case["key"] % 2**64
    assert jump(key, case["buckets"]) == case["bucket"]
    assert jump_many(np.array([key], np.uint64), case["buckets"]).tolist() == [case["bucket"]]


def test_the_file_holds_what_its_readme_says():
    assert len(CASES) == 108
