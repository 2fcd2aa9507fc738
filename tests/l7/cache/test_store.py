"""The two stores: alike while all is well, bounded, and no burden when it is not."""

from __future__ import annotations

import os
import resource
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lbcore.l7.cache import key as keys
from lbcore.l7.cache.sqlite import SqliteStore
from lbcore.l7.cache.store import VARIANTS, MemoryStore, Store
from tests.l7.cache.messages import stored

LIMIT = 20_000


@pytest.fixture(params=["memory", "sqlite"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    ticks = iter(range(10**9))
    one: Store
    one = (
        MemoryStore(LIMIT)
        if request.param == "memory"
        else SqliteStore(tmp_path / "c", LIMIT, lambda: next(ticks) * 60)
    )
    yield one
    assert one.failed == 0
    one.close()


def key(name: int | str) -> bytes:
    return keys.key("r", b"http", b"example.org", b"/%b" % str(name).encode())


def test_what_is_put_is_there_until_it_is_dropped(store: Store) -> None:
    one, other = stored("etag: 1", body=b"a" * 100), stored("etag: 2", vary=((b"x", b"1"), (b"y", None)))
    assert store.put(key(1), one)
    assert store.put(key(1), other)
    assert list(store.get(key(1))) == [one, other]
    newer = stored("etag: 3")
    assert store.put(key(1), newer)
    assert sorted(entry.etag for entry in store.get(key(1))) == [b"2", b"3"]
    assert store.size()[0] == 2
    assert store.drop(key(1)) == 2
    assert not store.get(key(1))
    assert store.size() == (0, 0)


def test_what_was_not_used_for_longest_goes(store: Store) -> None:
    for i in range(4):
        store.put(key(i), stored(body=b"x" * 4000))
    store.get(key(0))
    store.put(key(4), stored(body=b"x" * 4000))
    assert [bool(store.get(key(i))) for i in range(5)] == [True, False, True, True, True]
    assert store.evicted == 1
    assert store.size()[1] <= LIMIT


def test_what_is_larger_than_the_store_is_not_kept_and_what_it_replaces_is_gone(store: Store) -> None:
    store.put(key(1), stored())
    assert not store.put(key(1), stored(body=b"x" * LIMIT))
    assert not store.get(key(1))


def test_one_key_does_not_fill_the_store(store: Store) -> None:
    for i in range(VARIANTS + 10):
        store.put(key(1), stored(vary=((b"x", b"%d" % i),)))
    assert len(store.get(key(1))) <= VARIANTS
    assert store.size()[1] <= LIMIT


def test_purge_by_url(store: Store) -> None:
    for name in ("a/1", "a/2", "b"):
        store.put(key(name), stored())
    assert store.purge(lambda url: url.startswith(b"http://example.org/a/")) == 2
    assert [bool(store.get(key(name))) for name in ("a/1", "a/2", "b")] == [False, False, True]


OPERATIONS = st.lists(
    st.tuples(st.sampled_from("putgetdrop"), st.integers(0, 6), st.integers(0, 2), st.integers(0, 9000)), max_size=40
)


@settings(max_examples=60, deadline=None)
@given(OPERATIONS)
def test_both_stores_give_the_same_and_never_exceed_their_bound(operations: list[tuple[str, int, int, int]]) -> None:
    """Whatever is done: what a store gives is the last that was put there; a big one forgets nothing."""
    with tempfile.TemporaryDirectory() as folder:
        small: list[Store] = [MemoryStore(LIMIT), SqliteStore(Path(folder) / "a", LIMIT)]
        large: list[Store] = [MemoryStore(10**7), SqliteStore(Path(folder) / "b", 10**7)]
        last: dict[tuple[bytes, int], bytes] = {}
        for number, (what, name, variant, size) in enumerate(operations):
            entry = stored(vary=((b"x", b"%d" % variant),), body=b"%d" % number * (size // 4))
            for store in (*small, *large):
                if what in "put":
                    store.put(key(name), entry)
                elif what in "get":
                    store.get(key(name))
                else:
                    store.drop(key(name))
            if what in "put":
                last[key(name), variant] = entry.body
            elif what not in "get":
                last = {place: body for place, body in last.items() if place[0] != key(name)}
        for name in range(7):
            expected = {body for (of, _), body in last.items() if of == key(name)}
            for store in large:
                assert {entry.body for entry in store.get(key(name))} == expected
            for store in small:
                assert {entry.body for entry in store.get(key(name))} <= expected
        for store in (*small, *large):
            count, size = store.size()
            found = [entry for name in range(7) for entry in store.get(key(name))]
            assert count == len(found)
            assert size >= sum(entry.size for entry in found)
            assert store.failed == 0
            store.close()
        for store in small:
            assert store.size()[1] <= LIMIT


PARTS = st.binary(max_size=6).map(lambda part: part.replace(b"\0", b""))


@given(PARTS, PARTS, PARTS, PARTS, PARTS, PARTS)
def test_two_requests_never_have_one_key(a: bytes, b: bytes, c: bytes, d: bytes, e: bytes, f: bytes) -> None:
    """CVE-2026-2836: a key that was the path alone served one host's pages as another's."""
    one, other = keys.key("r", a, b, c), keys.key("r", d, e, f)
    assert (one == other) == ((a, b, c) == (d, e, f))


@pytest.mark.parametrize(
    ("reference", "target"),
    [
        ("/b", b"/b"),
        ("b?c=d", b"/x/b?c=d"),
        ("http://example.org/b", b"/b"),
        ("HTTP://Example.ORG", b"/"),
        ("../b", b"/b"),
        ("https://example.org/b", None),
        ("http://evil.example/b", None),
        ("//evil.example/b", None),
        ("http://[", None),
    ],
)
def test_only_the_same_origin_is_made_invalid(reference: str, target: bytes | None) -> None:  # RFC 9111, 4.4
    assert keys.same_origin(reference.encode(), b"http", b"example.org", b"/x/y?z") == target


# ---- a file that outlives, and a file that fails ----


def test_a_new_process_finds_it(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "c", LIMIT)
    store.put(key(1), stored("etag: 1"))
    code = (
        "import sys; from lbcore.l7.cache.sqlite import SqliteStore\n"
        f"print(SqliteStore(sys.argv[1], {LIMIT}).get({key(1)!r})[0].etag)"
    )
    found = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "c")], capture_output=True, text=True, timeout=60, check=True
    )
    assert found.stdout == "b'1'\n"
    store.close()


def test_a_file_of_somebody_else_is_not_touched(tmp_path: Path) -> None:
    theirs = tmp_path / "theirs"
    with sqlite3.connect(theirs) as db:
        db.execute("create table precious (x)")
    db.close()
    text = tmp_path / "text"
    text.write_bytes(b"no database at all, but long enough to be looked at" * 100)
    before = theirs.read_bytes(), text.read_bytes()
    with pytest.raises(ValueError, match="another database"):
        SqliteStore(theirs, LIMIT)
    with pytest.raises(OSError, match="file is not a database"):
        SqliteStore(text, LIMIT)
    with pytest.raises(OSError, match="must be a file that can be written"):
        SqliteStore(tmp_path / "nowhere" / "c", LIMIT)
    assert (theirs.read_bytes(), text.read_bytes()) == before


def test_a_locked_file_costs_nobody_any_time(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "c", LIMIT)
    store.put(key(1), stored())
    holder = sqlite3.connect(tmp_path / "c", isolation_level=None)
    holder.execute("begin immediate")
    assert store.get(key(1))  # who writes does not stop who reads
    assert not store.put(key(2), stored())
    assert store.failed > 0
    holder.execute("rollback")
    holder.close()
    assert store.put(key(2), stored())
    store.close()


def test_a_damaged_file_is_counted(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "c", 10**6)
    for i in range(50):
        store.put(key(i), stored(body=os.urandom(3000)))
    store.close()
    size = (tmp_path / "c").stat().st_size
    with open(tmp_path / "c", "r+b") as file:
        file.seek(4096)
        file.write(os.urandom(size - 4096))
    try:
        store = SqliteStore(tmp_path / "c", 10**6)
    except OSError:
        return  # seen when it was opened
    assert not any(store.get(key(i)) for i in range(50))
    assert not store.put(key(1), stored())
    assert store.failed > 0
    store.close()


def test_a_full_disk_is_counted_and_the_cache_lives(tmp_path: Path) -> None:
    """No file of this process may grow beyond so many bytes: what a full disk does to SQLite, without being root."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    store = SqliteStore(tmp_path / "c", 10**8)
    store.put(key("first"), stored())
    resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, hard))
    try:
        kept = [store.put(key(i), stored(body=os.urandom(20_000))) for i in range(40)]
        assert not all(kept)
        assert store.failed > 0
        for i in range(40):
            store.get(key(i))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert store.put(key("last"), stored())
    assert store.get(key("last"))
    store.close()


def test_the_file_stays_about_as_large_as_it_may(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "c", 500_000)
    for i in range(300):
        assert store.put(key(i), stored(body=os.urandom(i * 37 % 20_000)))
    store.close()
    assert sum(file.stat().st_size for file in tmp_path.iterdir()) < 3 * 500_000
