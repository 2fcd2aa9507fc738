"""Programs in the kernel: loading an object, running it on a packet, attaching it, counting what it costs.

    with kernel.load(object) as program:
        program.test_run(packet).verdict
        with program.attach("eth0"):
            ...

Rule of this file: an object's programs become the kernel's. Maps are `maps_kernel`'s, interfaces are `attach`'s.

Theory. Loading is four steps. The types go first (BTF), then maps are made, then each wide load that wants a map gets
its descriptor, and then the kernel is asked to take the program: it verifies it, compiles it to machine code, and gives
a descriptor. CO-RE relocations go along as they are: the kernel knows its own types best and applies them itself.
What programs ask of the kernel's configuration is put into one more map (`settings`). What an object wants in a map of
programs is loaded with the program, and lives as long as it does.

Trap. Nothing of this outlives its descriptors. A program that goes out of use is detached and closed even if nobody
says so; what is to stay must be pinned.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from lbcore.ebpf import attach, kinds, settings, system_call
from lbcore.ebpf import object as objects
from lbcore.ebpf.kernel_symbols import Symbols
from lbcore.ebpf.loading import Types, load_program, load_types
from lbcore.ebpf.maps_kernel import KernelMap
from lbcore.ebpf.object import BadObject, Object
from lbcore.ebpf.rejection import Rejected
from lbcore.ebpf.system_call import Descriptor, ProgramInformation, bpf

__all__ = ["KernelMap", "Program", "Rejected", "Run", "create_maps", "load", "statistics"]

ROOM = 1 << 12
"""Bytes a test run may add to a packet."""
XDP_LEAST = 14


class Run(NamedTuple):
    """What a program made of a packet, and how many nanoseconds a run took on average."""

    verdict: int
    packet: bytes
    nanoseconds: int


class Statistics(NamedTuple):
    """Runs of a program and the nanoseconds they took, since `statistics` was switched on."""

    runs: int
    nanoseconds: int


class Program(Descriptor):
    """A program in the kernel, with its `maps` by name. Closing it detaches it and closes the maps it brought along."""

    def __init__(
        self, fd: int, source: objects.Program, maps: Mapping[str, KernelMap], own: Iterable[KernelMap]
    ) -> None:
        super().__init__(fd)
        self.source, self.name, self.maps = source, source.name, dict(maps)
        self._own = tuple(own)
        self._attached: list[attach.Attachment] = []

    def test_run(self, packet: bytes, repeat: int = 1, *, context: bytes = b"") -> Run:
        """Run on a packet without an interface (BPF_PROG_TEST_RUN), `repeat` times; each run sees what the last left.

        Raises OSError: for XDP and tc the kernel wants at least 14 bytes, and less than a page.
        """
        sent, got = np.frombuffer(bytes(packet), np.uint8), np.empty(len(packet) + ROOM, np.uint8)
        extra = np.frombuffer(bytes(context), np.uint8)
        call: Any = system_call.TestRun(
            prog_fd=self.fd, data_in=sent.ctypes.data, data_size_in=len(sent), data_out=got.ctypes.data,
            data_size_out=len(got), repeat=repeat, ctx_in=extra.ctypes.data if context else 0, ctx_size_in=len(extra),
        )  # fmt: skip
        try:
            bpf(call)
        except OSError as error:
            what = f"test run of {self.name} on {len(packet)} bytes"
            why = f"; a packet has at least {XDP_LEAST}" if len(packet) < XDP_LEAST else ""
            raise OSError(error.errno, f"{what}: {error.strerror}{why}") from error
        return Run(call.retval, got[: call.data_size_out].tobytes(), call.duration)

    def attach(self, to: attach.Target, mode: str = "native", *, way: str = "any") -> attach.Attachment:
        """Let the program see an interface's packets (a socket's, if it is a socket filter); see `attach.attach`."""
        made = attach.attach(self.fd, self.source.kind, to, mode, way)
        self._attached.append(made)
        return made

    def detach(self) -> None:
        """Take it from wherever it is attached."""
        while self._attached:
            self._attached.pop().detach()

    def close(self) -> None:
        try:
            self.detach()
        finally:
            for map_ in self._own:
                map_.close()
            super().close()

    def pin(self, path: str | os.PathLike[str]) -> None:
        """Give the program a name in the BPF file system, where it outlives the process."""
        where = ctypes.create_string_buffer(os.fsencode(path))
        bpf(system_call.Pin(pathname=ctypes.addressof(where), bpf_fd=self.fd))

    @property
    def id(self) -> int:
        """The kernel's number for it, which `bpftool prog` and `ip link` show."""
        return int(self._told().id)

    @property
    def statistics(self) -> Statistics:
        """Runs and time, counted only inside `with kernel.statistics():`."""
        told = self._told()
        return Statistics(told.run_cnt, told.run_time_ns)

    @property
    def machine_code(self) -> bytes:
        """What the kernel's compiler made of it, for this machine's processor; empty if it interprets."""
        return self._code("jited_prog_len", "jited_prog_insns")

    @property
    def translated(self) -> bytes:
        """The instructions as the verifier left them: helpers inlined, accesses to the context rewritten."""
        return self._code("xlated_prog_len", "xlated_prog_insns")

    @property
    def verified_instructions(self) -> int:
        """How many the verifier looked at, on all paths together; it gives up after a million."""
        return int(self._told().verified_insns)

    def _told(self, **pointers: int) -> Any:
        return system_call.information(self.fd, ProgramInformation, **pointers)

    def _code(self, length: str, pointer: str) -> bytes:
        size = getattr(self._told(), length)
        code = np.zeros(size, np.uint8)
        self._told(**{length: size, pointer: code.ctypes.data})
        return code.tobytes()


@contextmanager
def statistics() -> Iterator[None]:
    """The kernel counts runs of all programs and their time, at some cost to each run."""
    with Descriptor(bpf(system_call.EnableStatistics(type=0))):
        yield


def create_maps(source: Object, given: Mapping[str, KernelMap] | None = None) -> dict[str, KernelMap]:
    """The object's maps by name: those `given`, the others new. For programs that are to share them.

    Maps of maps start with the maps that the object names; maps of programs start empty, for there is no program yet.
    Nothing is pinned, and nothing is looked for among what is pinned.
    """
    with load_types(source) as types:
        return _maps(source, dict(given or {}), types.fd)


def load(
    source: Object,
    name: str = "",
    *,
    maps: Mapping[str, KernelMap] | None = None,
    kind: str = "",
    pins: str | os.PathLike[str] | None = None,
) -> Program:
    """Load the object's only program, or the one called `name`; maps that are not given are created.

    kind: what the program is ("xdp", "tc", ...), where the name of its section does not tell. pins: a directory of
    the BPF file system: maps that the object wants pinned are taken from there, and put there if they are new.

    Raises Rejected if the verifier does not take it, BadObject for what this loader cannot do, OSError otherwise
    (EPERM: loading takes root, or CAP_BPF and CAP_NET_ADMIN).
    """
    source = settings.filled(source)
    program = _chosen(source, name)
    program = replace(program, kind=kind or program.kind)
    _refuse_unsupported(program)
    given, symbols = dict(maps or {}), Symbols()
    with ExitStack() as undo, load_types(source) as types:
        places = {spec.name: Path(pins) / spec.name for spec in source.maps if spec.pinned} if pins is not None else {}
        found = _pinned(source, {name: path for name, path in places.items() if name not in given}, undo)
        named = _maps(source, given | found, types.fd)
        new = {key: map_ for key, map_ in named.items() if key not in given and key not in found}
        for map_ in new.values():
            undo.callback(map_.close)
        fd = load_program(source, program, named, types, symbols)
        made = undo.enter_context(Program(fd, program, named, [*found.values(), *new.values()]))
        _enter_programs(source, made, new, types, symbols)
        for key in places.keys() & new.keys():
            new[key].pin(places[key])
            undo.callback(os.unlink, places[key])
        undo.pop_all()
        return made


def _chosen(source: Object, name: str) -> objects.Program:
    if not name:
        return source.program
    for program in source.programs:
        if program.name == name:
            return program
    there = ", ".join(program.name for program in source.programs) or "none"
    raise ValueError(f"program {name!r}: the object has {there}")


def _refuse_unsupported(program: objects.Program) -> None:
    if program.kind not in kinds.PROGRAMS[1:]:
        why = f"it tells no kind of program, and load's kind is {program.kind!r}; known are xdp, tc, socket and others"
        raise BadObject(program.section, "name of the section", program.section, why)


def _pinned(source: Object, places: Mapping[str, Path], undo: ExitStack) -> dict[str, KernelMap]:
    """The maps that are at their places already. Raises ValueError for one that is not the map that is wanted."""
    found: dict[str, KernelMap] = {}
    for spec in source.maps:
        if spec.name not in places or not places[spec.name].exists():
            continue
        map_ = found[spec.name] = undo.enter_context(KernelMap.open(places[spec.name]))
        for what in ("kind", "key_size", "value_size", "max_entries"):
            there, wanted = getattr(map_.spec, what), getattr(spec, what)
            if there != wanted:
                why = f"{what} of the pinned map is {there!r}, and the object wants {wanted!r}"
                raise ValueError(f"{places[spec.name]}: {why}")
    return found


def _enter_programs(
    source: Object, loaded: Program, new: Mapping[str, KernelMap], types: Types, symbols: Symbols
) -> None:
    """Put into new maps of programs what the object wants there, loading what is not loaded."""
    for spec in source.maps:
        if spec.kind != "prog_array" or spec.name not in new:
            continue
        for index, name in spec.entries:
            with ExitStack() as held:
                fd = loaded.fd
                if name != loaded.name:
                    other = replace(_chosen(source, name), kind=loaded.source.kind)
                    fd = held.enter_context(Descriptor(load_program(source, other, loaded.maps, types, symbols))).fd
                new[spec.name][index.to_bytes(spec.key_size, "little")] = fd.to_bytes(4, "little")


def _maps(source: Object, given: dict[str, KernelMap], btf: int) -> dict[str, KernelMap]:
    made: dict[str, KernelMap] = {}
    try:
        for spec in source.maps:
            if spec.name not in given:
                made[spec.name] = KernelMap.create(spec, btf)
        named = given | made
        for spec in source.maps:
            for index, name in spec.entries if spec.inner and spec.name in made else ():
                made[spec.name][index.to_bytes(spec.key_size, "little")] = named[name].fd.to_bytes(4, "little")
    except BaseException:
        for map_ in made.values():
            map_.close()
        raise
    return named
