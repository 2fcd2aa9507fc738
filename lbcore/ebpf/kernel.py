"""Programs in the kernel: loading an object, running it on a packet, attaching it, counting what it costs.

    with kernel.load(object) as program:
        program.test_run(packet).verdict
        with program.attach("eth0"):
            ...

Rule of this file: an object's programs become the kernel's. Maps are `maps_kernel`'s, interfaces are `attach`'s.

Theory. Loading is four steps. The types go first (BTF), then maps are made, then each wide load that wants a map gets
its descriptor, and then the kernel is asked to take the program: it verifies it, compiles it to machine code, and gives
a descriptor. CO-RE relocations go along as they are: the kernel knows its own types best and applies them itself.

Trap. Nothing of this outlives its descriptors. A program that goes out of use is detached and closed even if nobody
says so; what is to stay must be pinned.
"""

from __future__ import annotations

import ctypes
import errno
import os
import struct
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, NamedTuple, Protocol

import numpy as np

from lbcore.ebpf import attach, isa, kinds, system_call
from lbcore.ebpf import object as objects
from lbcore.ebpf.maps_kernel import KernelMap
from lbcore.ebpf.object import BadObject, Object
from lbcore.ebpf.rejection import Rejected
from lbcore.ebpf.system_call import Descriptor, ProgramInformation, bpf

__all__ = ["KernelMap", "Program", "Rejected", "Run", "create_maps", "load", "statistics"]

ROOM = 1 << 12
"""Bytes a test run may add to a packet."""
LOG_SIZES = (1 << 20, 1 << 26)
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


class HasFd(Protocol):
    @property
    def fd(self) -> int: ...


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
    """
    with _types(source) as types:
        return _maps(source, dict(given or {}), types.fd)


def load(source: Object, name: str = "", *, maps: Mapping[str, KernelMap] | None = None, kind: str = "") -> Program:
    """Load the object's only program, or the one called `name`; maps that are not given are created.

    kind: what the program is ("xdp", "tc", ...), where the name of its section does not tell.

    Raises Rejected if the verifier does not take it, BadObject for what this loader cannot do, OSError otherwise
    (EPERM: loading takes root, or CAP_BPF and CAP_NET_ADMIN).
    """
    program = _chosen(source, name)
    program = replace(program, kind=kind or program.kind)
    _refuse_unsupported(program)
    given = dict(maps or {})
    with _types(source) as types:
        named = _maps(source, given, types.fd)
        own = [map_ for key, map_ in named.items() if key not in given]
        try:
            fd = _load(source, program, _linked(program, named), types)
            return Program(fd, program, named, own)
        except BaseException:
            for map_ in own:
                map_.close()
            raise


def _chosen(source: Object, name: str) -> objects.Program:
    if not name:
        return source.program
    for program in source.programs:
        if program.name == name:
            return program
    there = ", ".join(program.name for program in source.programs) or "none"
    raise ValueError(f"program {name!r}: the object has {there}")


def _refuse_unsupported(program: objects.Program) -> None:
    for relocation in program.relocations:
        if relocation.kind == "kernel":
            why = "declared extern: this loader does not look up the kernel's own functions, variables and settings"
            raise BadObject(program.section, "symbol", relocation.symbol, why)
    if program.kind in kinds.BY_TARGET:
        why = f"{program.kind} programs are loaded for one function of the kernel; this loader does not look it up"
        raise BadObject(program.section, "name of the section", program.section, why)
    if program.kind not in kinds.PROGRAMS[1:]:
        why = f"it tells no kind of program, and load's kind is {program.kind!r}; known are xdp, tc, socket and others"
        raise BadObject(program.section, "name of the section", program.section, why)


class _Types(NamedTuple):
    """The object's BTF in the kernel: its descriptor, or 0 and, if the kernel did not take it, why."""

    fd: int
    error: OSError | None


@contextmanager
def _types(source: Object) -> Iterator[_Types]:
    """The kernel need not know an object's types (they are for people), unless there are CO-RE relocations."""
    if not source.btf:
        yield _Types(0, None)
        return
    raw = np.frombuffer(source.btf, np.uint8)
    try:
        types = Descriptor(bpf(system_call.BtfLoad(btf=raw.ctypes.data, btf_size=len(raw))))
    except OSError as error:
        yield _Types(0, error)
        return
    with types:
        yield _Types(types.fd, None)


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


def _linked(program: objects.Program, maps: Mapping[str, HasFd]) -> bytes:
    """The program's code with the descriptors of maps in the loads that want them."""
    code = bytearray(program.code)
    for relocation in program.relocations:
        struct.pack_into("<i", code, relocation.instruction * isa.SLOT + 4, maps[relocation.symbol].fd)
    return bytes(code)


def _load(source: Object, program: objects.Program, code: bytes, types: _Types) -> int:
    """The descriptor of the program: without a log first, for most programs are good; then with one, to say why."""
    rule = kinds.convention(program.section)
    instructions, license_text = np.frombuffer(code, np.uint8), ctypes.create_string_buffer(source.license.encode())
    if program.core and not types.fd:
        why = f"CO-RE relocations need the object's types in the kernel; it says: {types.error or 'there are none'}"
        raise BadObject(".BTF", "CO-RE relocations", len(program.core), why) from types.error
    call: Any = system_call.ProgramLoad(
        prog_type=kinds.PROGRAMS.index(program.kind), insns=instructions.ctypes.data, insn_cnt=len(code) // isa.SLOT,
        license=ctypes.addressof(license_text), prog_name=system_call.name(program.name), prog_flags=rule.flags,
        expected_attach_type=rule.attach,
    )  # fmt: skip
    told = _debugging(source, program) if types.fd else None
    if told:
        told.put_into(call, types.fd)
    try:
        return bpf(call)
    except OSError as error:
        if error.errno == errno.EPERM:
            raise
        return _explain(program, call, error)


def _explain(program: objects.Program, call: Any, error: OSError) -> int:
    """Load again with a log, and raise what it says."""
    for size in LOG_SIZES:
        log = np.zeros(size, np.uint8)
        call.log_level, call.log_size, call.log_buf = 1, size, log.ctypes.data
        try:
            return bpf(call)  # it may have been a passing trouble
        except OSError as again:
            error = again
        if error.errno != errno.ENOSPC:
            break
    text = log.tobytes().split(b"\0")[0].decode(errors="replace")
    if text.strip():
        raise Rejected(program, text) from error
    raise OSError(error.errno, f"program {program.name} ({program.kind}): {error.strerror}") from error


class _Debugging(NamedTuple):
    """Functions, lines and CO-RE relocations as arrays of the kernel's records."""

    functions: Any
    lines: Any
    core: Any

    def put_into(self, call: Any, btf: int) -> None:
        call.prog_btf_fd = btf
        for name, size, table in (
            ("func_info", "func_info_rec_size", self.functions),
            ("line_info", "line_info_rec_size", self.lines),
            ("core_relos", "core_relo_rec_size", self.core),
        ):
            if len(table):
                setattr(call, name, table.ctypes.data)
                setattr(call, size, table.strides[0])
                setattr(call, name.replace("relos", "relo") + "_cnt", len(table))


def _debugging(source: Object, program: objects.Program) -> _Debugging:
    at = _Strings(source.btf)
    functions = [(one.instruction, one.type) for one in program.functions]
    if not all(number for _, number in functions):  # the kernel takes all of them or none
        functions = []
    lines = [
        (line.instruction, at[line.file], at[line.text], line.line << 10 | line.column)
        for line in program.lines
        if functions
    ]
    core = [(one.instruction * isa.SLOT, one.type, at[one.access], one.kind) for one in program.core]
    return _Debugging(*(np.array(rows, np.uint32) for rows in (functions, lines, core)))


class _Strings(dict[str, int]):
    """Where in the BTF each string is."""

    def __init__(self, btf: bytes) -> None:
        header, start = struct.unpack_from("<I", btf, 4)[0], struct.unpack_from("<I", btf, 16)[0]
        self.strings = btf[header + start :]

    def __missing__(self, text: str) -> int:
        wanted = text.encode(errors="surrogateescape") + b"\0"
        self[text] = max(self.strings.find(wanted), 0)
        return self[text]
