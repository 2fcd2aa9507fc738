"""Maps in the kernel, as Python sees them: dictionaries from bytes to bytes, and numpy arrays of everything in them.

Rule of this file: the same names as `storage.Map` has, so that what reads the one reads the other.

Theory. Programs and user space share nothing but maps. A look-up from user space copies a value; `dump` copies a map in
a few calls (batches), which is how one reads a million counters. A per-CPU map has one value for each CPU the machine
could have, so that programs count without waiting for one another, and the reader adds up.

Trap. Values of a per-CPU map are padded to eight bytes on their way to user space; `possible_cpus` is not the number of
CPUs that run. And nothing stops the map from changing while it is dumped: an entry may be seen or not.
"""

from __future__ import annotations

import ctypes
import errno
import mmap
import os
from collections.abc import Iterator, MutableMapping
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from lbcore.ebpf import kinds, system_call
from lbcore.ebpf.object import PROGRAM_READS_ONLY, MapSpec
from lbcore.ebpf.storage import ANY
from lbcore.ebpf.system_call import Descriptor, MapInformation, bpf

Bytes = npt.NDArray[np.uint8]

BATCH = 4096
"""Entries a call, at first."""
UNSUPPORTED = (errno.EINVAL, errno.EOPNOTSUPP, 524)
"""How a kind of map says that it knows no batches; 524 is the kernel's ENOTSUPP."""
PER_CPU_ALIGNMENT = 8
SIZED = ("array", "percpu_array", "hash", "percpu_hash", "lru_hash", "lru_percpu_hash", "lpm_trie", "queue", "stack")
INDEX, NO_PREALLOC = 4, 1
"""Bytes in the key of an array; the flag without which the kernel makes no LPM trie."""
BUSY, DISCARD, RECORD_HEADER = 1 << 31, 1 << 30, 8
"""Of a ring buffer's records: two bits of the length, and the bytes before the data."""


def possible_cpus() -> int:
    """How many CPUs the kernel has made room for."""
    ranges = Path("/sys/devices/system/cpu/possible").read_text().strip().split(",")
    return 1 + max(int(part.split("-")[-1]) for part in ranges)


class KernelMap(Descriptor, MutableMapping[bytes, bytes]):
    """One map. Keys are bytes of `key_size`, values bytes of `value_size`, numbers in them little-endian.

    A value of a per-CPU map is the values of all CPUs one after another, `cpus * value_size` bytes; one value of
    `value_size` may be written and goes to every CPU. Errors: KeyError where a dictionary has it, else OSError.
    """

    def __init__(self, fd: int, spec: MapSpec) -> None:
        super().__init__(fd)
        self.spec, self.name, self.kind = spec, spec.name, spec.kind
        self.key_size, self.value_size, self.max_entries = spec.key_size, spec.value_size, spec.max_entries
        self.cpus = possible_cpus() if spec.kind in kinds.PER_CPU else 1
        wide = -(-spec.value_size // PER_CPU_ALIGNMENT) * PER_CPU_ALIGNMENT
        self._stride = wide if spec.kind in kinds.PER_CPU else spec.value_size

    @classmethod
    def create(cls, spec: MapSpec, btf: int = 0) -> Self:
        """A new map as `spec` has it; btf: descriptor of the types that its ids mean. Raises OSError."""
        if spec.kind not in kinds.MAPS or not spec.kind:
            raise ValueError(f"map {spec.name!r}: kind is {spec.kind!r}; there are: {', '.join(kinds.MAPS[1:])}")
        inner = cls.create(spec.inner) if spec.inner else None
        entries = spec.max_entries or (possible_cpus() if spec.kind == "perf_event_array" else 0)
        attributes = system_call.MapCreate(
            map_type=kinds.MAPS.index(spec.kind), key_size=spec.key_size, value_size=spec.value_size,
            max_entries=entries, map_flags=spec.flags, inner_map_fd=0 if inner is None else inner.fd,
            map_name=system_call.name(spec.name),
        )  # fmt: skip
        try:
            made = cls(_create(attributes, spec, btf), spec)
        finally:
            if inner is not None:
                inner.close()  # it was the pattern; the kernel has copied what it needs
        try:
            if any(spec.content):
                made[bytes(spec.key_size)] = spec.content
            if spec.content and spec.flags & PROGRAM_READS_ONLY:
                bpf(system_call.MapFreeze(map_fd=made.fd))
        except BaseException:
            made.close()
            raise
        return made

    @classmethod
    def open(cls, path: str | Path) -> Self:
        """The map that is pinned at `path` in the BPF file system. Raises OSError."""
        where = ctypes.create_string_buffer(os.fsencode(path))
        fd = bpf(system_call.Get(pathname=ctypes.addressof(where)))
        try:
            told: Any = system_call.information(fd, MapInformation)
            kind = kinds.MAPS[told.type] if told.type < len(kinds.MAPS) else str(told.type)
            spec = MapSpec(told.name.decode(), kind, told.key_size, told.value_size, told.max_entries, told.map_flags)
        except BaseException:
            os.close(fd)
            raise
        return cls(fd, spec)

    def pin(self, path: str | Path) -> None:
        """Give the map a name in the BPF file system, where it outlives the process; delete the file to unpin it."""
        where = ctypes.create_string_buffer(os.fsencode(path))
        bpf(system_call.Pin(pathname=ctypes.addressof(where), bpf_fd=self.fd))

    # ---- one entry ----

    def __getitem__(self, key: bytes) -> bytes:
        value = np.empty(self.cpus * self._stride, np.uint8)
        try:
            self._element(system_call.MapLookup, key, value.ctypes.data)
        except OSError as error:
            raise _missing(error, key) from None
        return self._unpadded(value).tobytes()

    def __setitem__(self, key: bytes, value: bytes) -> None:
        self.update_entry(key, value)

    def update_entry(self, key: bytes, value: bytes, flags: int = ANY) -> None:
        """Write an entry; NOEXIST wants it to be new (else EEXIST), EXIST to be there (else ENOENT)."""
        if len(value) not in (self.value_size, self.cpus * self.value_size):
            wanted = f"{self.value_size}" + (f" or {self.cpus} times that" if self.cpus > 1 else "")
            raise ValueError(f"map {self.name!r}: value has {len(value)} bytes, wanted {wanted}")
        padded = self._padded(np.frombuffer(value, np.uint8).reshape(-1, self.value_size))
        self._element(system_call.MapUpdate, key, padded.ctypes.data, flags)

    def __delitem__(self, key: bytes) -> None:
        try:
            self._element(system_call.MapDelete, key, 0)
        except OSError as error:
            raise _missing(error, key) from None

    def __contains__(self, key: object) -> bool:
        return isinstance(key, bytes) and self.get(key) is not None

    # ---- all of them ----

    def __iter__(self) -> Iterator[bytes]:
        """The keys at this moment: deleting on the way is safe."""
        return iter([key.tobytes() for key in self._entries()[0]])

    def __len__(self) -> int:
        return len(self._entries()[0])

    def dump(
        self, key: npt.DTypeLike | None = None, value: npt.DTypeLike | None = None
    ) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
        """All keys and all values. With dtypes (as "<u4", or a structured one) [n] and [n] or, per CPU, [n, cpus];

        without, rows of uint8. ValueError if a dtype has not the size of a key or value.
        """
        keys, values = self._entries()
        plain = values.reshape(len(keys), self.cpus, self._stride)[:, :, : self.value_size]
        shaped = plain if self.kind in kinds.PER_CPU else plain[:, 0]
        return self._as("key", keys, key), self._as("value", np.ascontiguousarray(shaped), value)

    def as_array(self, dtype: npt.DTypeLike | None) -> npt.NDArray[Any]:
        """A copy of all values, as `dump` gives them."""
        return self.dump(None, dtype)[1]

    def update_many(self, keys: npt.NDArray[Any], values: npt.NDArray[Any]) -> None:
        """Write keys[i] -> values[i] for all i, in batches where the kind of map has them."""
        raw = np.ascontiguousarray(keys).view(np.uint8).reshape(len(keys), -1)
        rows = np.ascontiguousarray(values).view(np.uint8).reshape(len(keys), -1, self.value_size)
        if raw.shape[1:] != (self.key_size,) or rows.shape[1] not in (1, self.cpus):
            why = f"wanted ({len(raw)}, {self.key_size}) and ({len(raw)}, 1 or {self.cpus}, {self.value_size})"
            raise ValueError(f"map {self.name!r}: keys are {raw.shape} and values {rows.shape} bytes, {why}")
        padded = np.ascontiguousarray(np.stack([self._padded(row) for row in rows])) if len(rows) else rows
        batch = system_call.MapUpdateBatch(
            keys=raw.ctypes.data, values=padded.ctypes.data, count=len(raw), map_fd=self.fd
        )
        try:
            if len(raw):
                bpf(batch)
        except OSError as error:
            if error.errno not in UNSUPPORTED:
                raise
            for one, row in zip(raw, rows, strict=True):
                self[one.tobytes()] = row.tobytes()

    def consume(self) -> list[bytes]:
        """The records of a ring buffer that were not consumed before."""
        return list(_records(self.fd, self.max_entries))

    # ---- how ----

    def _element(self, command: Any, key: bytes, value: int, flags: int = 0) -> None:
        if len(key) != self.key_size:
            raise ValueError(f"map {self.name!r}: key has {len(key)} bytes, wanted {self.key_size}")
        at = ctypes.create_string_buffer(bytes(key), max(len(key), 1))
        bpf(command(map_fd=self.fd, key=ctypes.addressof(at) if key else 0, value=value, flags=flags))

    def _padded(self, value: Bytes) -> Bytes:
        """[1 or cpus, value_size] as the kernel takes it."""
        padded = np.zeros((self.cpus, self._stride), np.uint8)
        padded[:, : self.value_size] = value
        return padded

    def _unpadded(self, value: Bytes) -> Bytes:
        return value.reshape(self.cpus, self._stride)[:, : self.value_size]

    def _as(self, what: str, rows: Bytes, dtype: npt.DTypeLike | None) -> npt.NDArray[Any]:
        if dtype is None:
            return rows
        wanted = np.dtype(dtype)
        if wanted.itemsize != rows.shape[-1]:
            raise ValueError(f"map {self.name!r}: a {what} has {rows.shape[-1]} bytes, {wanted} has {wanted.itemsize}")
        return np.ascontiguousarray(rows).view(wanted).reshape(rows.shape[:-1])

    def _entries(self) -> tuple[Bytes, Bytes]:
        """Keys [n, key_size] and values [n, cpus * stride]."""
        try:
            return self._batches()
        except OSError as error:
            if error.errno not in UNSUPPORTED:
                raise
            return self._one_by_one()

    def _batches(self) -> tuple[Bytes, Bytes]:
        width = self.cpus * self._stride
        size = max(min(BATCH, self.max_entries), 1)
        place, after = np.zeros(max(self.key_size, 8), np.uint8), np.zeros(max(self.key_size, 8), np.uint8)
        found: list[tuple[Bytes, Bytes]] = [(np.empty((0, self.key_size), np.uint8), np.empty((0, width), np.uint8))]
        begun, more = False, True
        while more:
            keys, values = np.empty((size, self.key_size), np.uint8), np.empty((size, width), np.uint8)
            call: Any = system_call.MapLookupBatch(
                in_batch=place.ctypes.data if begun else 0, out_batch=after.ctypes.data, keys=keys.ctypes.data,
                values=values.ctypes.data, count=size, map_fd=self.fd,
            )  # fmt: skip
            try:
                bpf(call)
            except OSError as error:
                if error.errno == errno.ENOSPC:  # one bucket of the hash table holds more than `size`
                    size *= 2
                    continue
                if error.errno != errno.ENOENT:
                    raise
                more = False  # the end, and the last entries with it
            found.append((keys[: call.count], values[: call.count]))
            begun, place, after = True, after, place
        return np.concatenate([keys for keys, _ in found]), np.concatenate([values for _, values in found])

    def _one_by_one(self) -> tuple[Bytes, Bytes]:
        keys, values = [], []
        for key in self._walk():
            value = self.get(key)
            if value is not None:  # else deleted since
                keys.append(np.frombuffer(key, np.uint8))
                values.append(self._padded(np.frombuffer(value, np.uint8).reshape(-1, self.value_size)).ravel())
        width = self.cpus * self._stride
        return (
            np.array(keys, np.uint8).reshape(len(keys), self.key_size),
            np.array(values, np.uint8).reshape(len(keys), width),
        )

    def _walk(self) -> Iterator[bytes]:
        """Keys as the kernel hands them out; at most `max_entries`, because a deleted key starts the walk again."""
        key = None
        for _ in range(self.max_entries):
            after = np.empty(max(self.key_size, 1), np.uint8)
            at = ctypes.create_string_buffer(key, self.key_size) if key is not None else None
            where = ctypes.addressof(at) if at is not None else 0
            try:
                bpf(system_call.MapNextKey(map_fd=self.fd, key=where, value=after.ctypes.data))
            except OSError as error:
                if error.errno != errno.ENOENT:
                    raise
                return
            key = after[: self.key_size].tobytes()
            yield key


def _create(attributes: Any, spec: MapSpec, btf: int) -> int:
    """The new map's descriptor: with its types if the kernel takes them for this kind of map, else without."""
    if btf and (spec.key_type or spec.value_type):
        attributes.btf_fd = btf
        attributes.btf_key_type_id, attributes.btf_value_type_id = spec.key_type, spec.value_type
        try:
            return bpf(attributes)
        except OSError:
            attributes.btf_fd = attributes.btf_key_type_id = attributes.btf_value_type_id = 0
    try:
        return bpf(attributes)
    except OSError as error:
        sizes = f"key {spec.key_size}, value {spec.value_size}, {spec.max_entries} entries, flags {spec.flags:#x}"
        why = "".join(f"; {words}" for wrong, words in _suspects(spec) if wrong)
        raise OSError(error.errno, f"map {spec.name!r} ({spec.kind}, {sizes}): {error.strerror}{why}") from error


def _suspects(spec: MapSpec) -> tuple[tuple[bool, str], ...]:
    """What is usually meant by EINVAL, in words."""
    indexed = spec.kind in ("array", "percpu_array", "prog_array", "array_of_maps", "devmap", "xskmap", "cpumap")
    whole = "; give the map itself to load instead"
    return (
        (spec.kind in kinds.NESTED and spec.inner is None, f"it holds maps, and of what kind is not said{whole}"),
        (not spec.max_entries and spec.kind != "perf_event_array", f"how many entries is left to who loads it{whole}"),
        (not spec.value_size and spec.kind in SIZED, "a value of this kind has at least a byte"),
        (indexed and spec.key_size != INDEX, f"the key of this kind has {INDEX} bytes, a number"),
        (
            spec.kind == "lpm_trie" and not spec.flags & NO_PREALLOC,
            f"this kind wants flag {NO_PREALLOC:#x}, BPF_F_NO_PREALLOC",
        ),
    )


def _missing(error: OSError, key: bytes) -> Exception:
    return KeyError(key) if error.errno == errno.ENOENT else error


def _records(fd: int, size: int) -> Iterator[bytes]:
    """A ring buffer's memory: a page with the consumer's position, one with the producer's, then the data twice."""
    page = mmap.PAGESIZE
    with mmap.mmap(fd, page) as ours, mmap.mmap(fd, page + 2 * size, prot=mmap.PROT_READ, offset=page) as theirs:
        at = int.from_bytes(ours[:8], "little")
        while at < int.from_bytes(theirs[:8], "little"):
            start = page + at % size
            length = int.from_bytes(theirs[start : start + 4], "little")
            if length & BUSY:
                return
            plain = length & ~DISCARD
            if not length & DISCARD:
                yield theirs[start + RECORD_HEADER : start + RECORD_HEADER + plain]
            at += -(-(plain + RECORD_HEADER) // 8) * 8
            ours[:8] = at.to_bytes(8, "little")
