"""Pages that are shared: let go of at once, and never gone under an array."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from lbcore.l4.drivers.mapping import Mapping
from tests import needs

pytestmark = needs.linux()
SIZE = 1 << 16


def mapped(what: str) -> bool:
    return what in Path("/proc/self/maps").read_text()


def test_fresh_pages_are_zero_and_go_with_the_last_array() -> None:
    made = Mapping(SIZE)
    where, numbers = f"{made.address:x}-", made.array(np.uint32, 4, 8)
    made.array(np.uint8, SIZE)[8] = 7
    del made
    assert mapped(where)
    assert list(numbers) == [7, 0, 0, 0]
    del numbers
    assert not mapped(where)


def test_a_release_lets_go_of_the_file_and_leaves_zeros(tmp_path: Path) -> None:
    file = tmp_path / "shared"
    file.write_bytes(bytes(range(256)) * (SIZE // 256))
    with file.open("r+b") as opened:
        made = Mapping(SIZE - 4096, opened.fileno(), 4096)
    numbers = made.array(np.uint8, 256)
    assert bytes(numbers) == bytes(range(256))
    numbers[3] = 99
    assert file.read_bytes()[4096 + 3] == 99
    assert mapped(str(file))
    made.release()
    assert not mapped(str(file))
    assert not numbers.any()
    numbers[3] = 5
    assert file.read_bytes()[4096 + 3] == 99


def test_a_child_does_not_inherit_the_pages(tmp_path: Path) -> None:
    file = tmp_path / "shared"
    file.write_bytes(bytes(SIZE))
    with file.open("r+b") as opened:
        made = Mapping(SIZE, opened.fileno())
    child = os.fork()
    if child == 0:
        os._exit(int(mapped(str(file))))
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert mapped(str(file))
    made.release()


def test_what_cannot_be_mapped_is_said() -> None:
    with pytest.raises(OSError, match=r"mmap\(2\) of 4096 bytes: Bad file descriptor"):
        Mapping(4096, 1 << 20)
