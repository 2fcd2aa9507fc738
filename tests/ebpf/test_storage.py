"""Maps against plain Python: dictionaries, an ordered one for LRU, a list of prefixes, a queue."""

from __future__ import annotations

import errno
from collections import OrderedDict, deque
from random import Random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lbcore.ebpf import ring, storage
from lbcore.ebpf.storage import EXIST, NOEXIST, Map
from lbcore.jit import kernel


def key(number: int, size: int) -> bytes:
    return number.to_bytes(size, "little")


STEPS = st.lists(
    st.tuples(
        st.sampled_from("uuudl"), st.integers(0, 23), st.binary(min_size=5, max_size=5), st.sampled_from([0, 0, 1, 2])
    )
)


@settings(max_examples=200)
@given(STEPS, st.integers(1, 12), st.sampled_from([1, 4, 6, 8, 13, 16]))
def test_a_hash_table_is_a_dictionary_with_a_limit(
    steps: list[tuple[str, int, bytes, int]], most: int, size: int
) -> None:
    table, model = Map("hash", size, 5, most), dict[bytes, bytes]()
    for what, number, value, flags in steps:
        k = key(number, size)
        if what == "u":
            expected = 0
            if flags == NOEXIST and k in model:
                expected = errno.EEXIST
            elif flags == EXIST and k not in model:
                expected = errno.ENOENT
            elif k not in model and len(model) == most:
                expected = errno.E2BIG
            else:
                model[k] = value
            if expected:
                with pytest.raises(OSError, match="hash") as caught:
                    table.update_entry(k, value, flags)
                assert caught.value.errno == expected
            else:
                table.update_entry(k, value, flags)
        elif what == "d":
            if k in model:
                del model[k], table[k]
            else:
                with pytest.raises(KeyError):
                    del table[k]
        else:
            assert table.get(k) == model.get(k)
        assert len(table) == len(model)
    assert dict(table) == model


@settings(max_examples=200)
@given(STEPS, st.integers(1, 12))
def test_an_lru_table_forgets_what_was_used_longest_ago(steps: list[tuple[str, int, bytes, int]], most: int) -> None:
    table, model = Map("lru_hash", 4, 5, most), OrderedDict[bytes, bytes]()
    for what, number, value, _ in steps:
        k = key(number, 4)
        if what == "u":
            table[k] = model[k] = value
            model.move_to_end(k)
            if len(model) > most:
                model.popitem(last=False)
        elif what == "d":
            assert table.pop(k, None) == model.pop(k, None)
        else:
            slot = table.slot(k, use=True)
            assert (slot >= 0) == (k in model)
            if k in model:
                model.move_to_end(k)
    assert dict(table) == dict(model)


def test_looking_from_outside_is_no_use() -> None:
    table = Map("lru_hash", 4, 4, 2)
    table[key(1, 4)] = table[key(2, 4)] = b"four"
    assert table[key(1, 4)] == b"four"
    assert key(1, 4) in table
    table[key(3, 4)] = b"four"
    assert set(table) == {key(2, 4), key(3, 4)}


def test_slots_stay_while_others_come_and_go() -> None:
    random = Random(3)
    table = Map("hash", 4, 8, 64)
    table[key(7, 4)] = b"stays on"
    slot = table.slot(key(7, 4))
    for _ in range(2_000):
        k = key(random.randrange(8, 200), 4)
        if k in table:
            del table[k]
        elif len(table) < 64:
            table[k] = bytes(8)
        assert table.slot(key(7, 4)) == slot
    assert table[key(7, 4)] == b"stays on"


def test_a_table_does_not_age() -> None:
    """No tombstones: after many deletions the index holds as many places as there are entries."""
    table = Map("hash", 4, 4, 16)
    for number in range(1_000):
        table[key(number, 4)] = b"four"
        if number >= 16 - 1:
            del table[key(number - 15, 4)]
    assert np.count_nonzero(table.table.index >= 0) == len(table) == 15


PREFIXES = st.tuples(st.integers(0, 32), st.integers(0, 15)).map(
    lambda p: (p[0], (p[1] << 28 | p[1] << 12 | p[1]).to_bytes(4, "big"))
)


def bits(data: bytes, length: int) -> int:
    return int.from_bytes(data, "big") >> (32 - length) if length else 0


@settings(max_examples=200)
@given(st.lists(st.tuples(PREFIXES, st.binary(min_size=3, max_size=3), st.booleans()), max_size=30), st.lists(PREFIXES))
def test_the_longest_prefix_is_found(
    changes: list[tuple[tuple[int, bytes], bytes, bool]], asked: list[tuple[int, bytes]]
) -> None:
    trie, model = Map("lpm_trie", 8, 3, 100), dict[tuple[int, int], bytes]()
    for (length, data), value, remove in changes:
        k, prefix = key(length, 4) + data, (length, bits(data, length))
        if remove:
            if model.pop(prefix, None) is None:
                with pytest.raises(KeyError):
                    del trie[k]
            else:
                del trie[k]
        else:
            trie[k] = model[prefix] = value
    assert len(trie) == len(model)
    for length, data in [*asked, *((32, data) for _, data in asked)]:
        found = [model[n, bits(data, n)] for n in range(length, -1, -1) if (n, bits(data, n)) in model]
        assert trie.get(key(length, 4) + data) == (found[0] if found else None)


def test_prefixes_have_their_own_errors() -> None:
    trie = Map("lpm_trie", 8, 1, 2)
    with pytest.raises(OSError, match="Invalid") as caught:
        trie[key(33, 4) + bytes(4)] = b"x"
    assert caught.value.errno == errno.EINVAL
    assert trie.get(key(33, 4) + bytes(4)) is None
    trie[key(8, 4) + b"\x0a\0\0\0"] = trie[key(9, 4) + b"\x0a\0\0\0"] = b"x"
    with pytest.raises(OSError, match="space") as caught:
        trie[key(10, 4) + b"\x0a\0\0\0"] = b"x"
    assert caught.value.errno == errno.ENOSPC


def test_an_array_has_all_its_entries_always() -> None:
    array = Map("array", 4, 8, 3, name="counters")
    assert list(array) == [key(0, 4), key(1, 4), key(2, 4)]
    array[key(2, 4)] = key(9, 8)
    assert array.as_array("<u8").tolist() == [0, 0, 9]
    array.as_array("<u8")[0] = 5
    assert array[key(0, 4)] == key(5, 8)
    assert array.get(key(3, 4)) is None
    for action, number in (
        (lambda: array.update_entry(key(3, 4), bytes(8)), errno.E2BIG),
        (lambda: array.update_entry(key(0, 4), bytes(8), NOEXIST), errno.EEXIST),
        (lambda: array.update_entry(key(0, 4), bytes(8), 8), errno.EINVAL),
        (lambda: array.pop(key(0, 4)), errno.EINVAL),
    ):
        with pytest.raises(OSError, match="counters") as caught:
            action()
        assert caught.value.errno == number


@pytest.mark.parametrize("kind", ["prog_array", "devmap", "xskmap", "cpumap", "array_of_maps"])
def test_arrays_of_things_may_have_gaps(kind: str) -> None:
    table = Map(kind, 4, 4, 8)
    assert len(table) == 0
    table[key(3, 4)] = key(1, 4)
    table[key(3, 4)] = key(2, 4)
    assert dict(table) == {key(3, 4): key(2, 4)}
    assert key(4, 4) not in table
    del table[key(3, 4)]
    assert list(table) == []
    with pytest.raises(KeyError):
        del table[key(3, 4)]


@settings(max_examples=100)
@given(st.lists(st.tuples(st.sampled_from("oorsdc"), st.integers(0, 1500)), max_size=60))
def test_a_ring_buffer_is_a_queue_with_a_size(steps: list[tuple[str, int]]) -> None:
    buffer = Map("ringbuf", 0, 0, 4096)
    queue: deque[list[object]] = deque()  # [state, bytes, offset]
    for number, (what, size) in enumerate(steps):
        data = bytes([number % 251]) * size
        if what in "or":
            used = sum((len(record[1]) + 8 + 7) & ~7 for record in queue)  # type: ignore[arg-type]
            offset = ring.reserve(buffer.table, size)
            assert (offset >= 0) == (used + ((size + 15) & ~7) <= 4096)
            if offset < 0:
                assert offset == -errno.EAGAIN
                continue
            buffer.table.values[0, offset : offset + size] = np.frombuffer(data, np.uint8)
            queue.append(["busy", data, offset])
            if what == "o":
                ring.commit(buffer.table, offset, False)
                queue[-1][0] = "ready"
        elif what in "sd":
            waiting = [record for record in queue if record[0] == "busy"]
            if waiting:
                assert ring.is_reserved(buffer.table, int(waiting[0][2]))  # type: ignore[call-overload]
                ring.commit(buffer.table, waiting[0][2], what == "d")
                waiting[0][0] = "ready" if what == "s" else "dropped"
                assert not ring.is_reserved(buffer.table, int(waiting[0][2]))  # type: ignore[call-overload]
        else:
            taken = []
            while queue and queue[0][0] != "busy":
                state, content, _ = queue.popleft()
                taken += [content] if state == "ready" else []
            assert buffer.consume() == taken


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("tree1", 4, 4, 1), "kind 'tree1'"),
        (("array", 8, 4, 1), "key_size 8 of a map of kind array: 4 bytes"),
        (("hash", 0, 4, 1), "key_size 0 of a map of kind hash: 1 to 512"),
        (("hash", 4, 0, 1), "value_size 0"),
        (("hash", 4, 4, 0), "max_entries 0: at least 1"),
        (("devmap", 4, 5, 1), "value_size 5 of a map of kind devmap: 4 or 8 bytes"),
        (("ringbuf", 0, 0, 5000), "a power of two from 4096"),
        (("ringbuf", 0, 0, 0), "a power of two from 4096"),
        (("lpm_trie", 4, 1, 1), "key_size 4"),
        (("hash", 4, 4, 2**32 - 1), "bytes; the machine gives"),
    ],
)
def test_impossible_maps_are_refused_in_words(arguments: tuple[str, int, int, int], words: str) -> None:
    with pytest.raises(ValueError, match=r"\d") as caught:
        Map(*arguments)
    assert words in str(caught.value)


def test_keys_and_values_have_the_maps_sizes() -> None:
    table = Map("hash", 4, 4, 1, name="flows")
    with pytest.raises(ValueError, match="key of 'flows': 3 bytes; this map's have 4"):
        table[b"abc"] = b"four"
    with pytest.raises(ValueError, match="value of 'flows': 5 bytes"):
        table[b"abcd"] = b"fives"


@pytest.mark.parametrize("kind", sorted(storage.KINDS))
def test_numbers_are_the_kernels(kind: str) -> None:
    """Every kind can be made, with some size it allows."""
    entry = storage.KINDS[kind]
    made = Map(kind, entry.key_sizes[-1], entry.value_sizes[min(3, len(entry.value_sizes) - 1)], 4096)
    assert (made.kind, made.max_entries, KERNEL[kind]) == (kind, 4096, entry.number)


# include/uapi/linux/bpf.h, enum bpf_map_type
ORDER = """
    unspec hash array prog_array perf_event_array percpu_hash percpu_array stack_trace cgroup_array lru_hash
    lru_percpu_hash lpm_trie array_of_maps hash_of_maps devmap sockmap cpumap xskmap sockhash cgroup_storage
    reuseport_sockarray percpu_cgroup_storage queue stack sk_storage devmap_hash struct_ops ringbuf
"""
KERNEL = {name: number for number, name in enumerate(ORDER.split())}


@kernel
def count(table, keys):  # type: ignore[no-untyped-def]
    """What a compiled packet program does with a map: look up, add one, or start with one."""
    one = np.ones(1, np.uint64)
    for i in range(keys.size):
        at = np.uint64(keys[i:].ctypes.data)
        slot = storage.lookup(table, at)
        if slot >= 0:
            table.values[slot].view(np.uint64)[0] += np.uint64(1)
        else:
            storage.update(table, at, np.uint64(one.ctypes.data), storage.ANY)


def test_compiled_functions_work_on_the_same_map() -> None:
    keys = np.random.default_rng(0).integers(0, 50, 5_000, dtype=np.uint32)
    table = Map("hash", 4, 8, 64)
    count(table.table, keys)
    found = {int.from_bytes(k, "little"): int.from_bytes(v, "little") for k, v in table.items()}
    assert found == dict(zip(*map(np.ndarray.tolist, np.unique(keys, return_counts=True)), strict=True))
