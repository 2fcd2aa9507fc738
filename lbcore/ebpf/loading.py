"""One program's way into the kernel: types, holes filled, the question, and the answer in words.

Rule of this file: descriptors and arrays for bpf(2). Which programs and maps there are, and how long they live, is
`kernel`'s.

Theory. The kernel is asked first without a log, for most programs are good, and writing a log is slow. Where it
refuses, it is asked again with a log, and `rejection` says what the log means.

Trap. The kernel takes records about functions and lines only in the order of instructions, and those about functions
for all functions of a program or for none.
"""

from __future__ import annotations

import ctypes
import errno
import os
import struct
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from lbcore.ebpf import isa, kernel_symbols, kinds, system_call
from lbcore.ebpf.kernel_symbols import Symbols
from lbcore.ebpf.object import BadObject, Object, Program
from lbcore.ebpf.rejection import Rejected
from lbcore.ebpf.system_call import Descriptor, bpf

LOG_SIZES = (1 << 20, 1 << 26)


class HasFd(Protocol):
    @property
    def fd(self) -> int: ...


class Types(NamedTuple):
    """The object's BTF in the kernel: its descriptor, or 0 and, if the kernel did not take it, why."""

    fd: int
    error: OSError | None


@contextmanager
def load_types(source: Object) -> Iterator[Types]:
    """The kernel need not know an object's types (they are for people), unless there are CO-RE relocations."""
    if not source.btf:
        yield Types(0, None)
        return
    raw = np.frombuffer(source.btf, np.uint8)
    try:
        types = Descriptor(bpf(system_call.BtfLoad(btf=raw.ctypes.data, btf_size=len(raw))))
    except OSError as error:
        yield Types(0, _explained(raw, error))
        return
    with types:
        yield Types(types.fd, None)


def _explained(raw: npt.NDArray[np.uint8], error: OSError) -> OSError:
    """The kernel's refusal of types, with the last thing that it says about it."""
    log = np.zeros(LOG_SIZES[0], np.uint8)
    call = system_call.BtfLoad(
        btf=raw.ctypes.data, btf_size=len(raw), btf_log_buf=log.ctypes.data, btf_log_size=len(log), btf_log_level=1
    )
    with suppress(OSError):
        os.close(bpf(call))
    said = log.tobytes().split(b"\0")[0].decode(errors="replace").strip().splitlines()
    return OSError(error.errno, ": ".join((str(error.strerror), *said[-1:])))


def _linked(program: Program, maps: Mapping[str, HasFd], symbols: Symbols) -> bytes:
    """The program's code with the descriptors of maps in the loads that want them, and the kernel's own numbers."""
    code = bytearray(kernel_symbols.resolve(program, symbols))
    for relocation in program.relocations:
        if relocation.kind not in ("map", "data"):
            continue
        struct.pack_into("<i", code, relocation.instruction * isa.SLOT + 4, maps[relocation.symbol].fd)
    return bytes(code)


def load_program(source: Object, program: Program, maps: Mapping[str, HasFd], types: Types, symbols: Symbols) -> int:
    """The descriptor of the program: without a log first, for most programs are good; then with one, to say why."""
    rule = kinds.convention(program.section)
    code = _linked(program, maps, symbols)
    instructions, license_text = np.frombuffer(code, np.uint8), ctypes.create_string_buffer(source.license.encode())
    if program.core and not types.fd:
        why = f"CO-RE relocations need the object's types in the kernel; it says: {types.error or 'there are none'}"
        raise BadObject(".BTF", "CO-RE relocations", len(program.core), why) from types.error
    call: Any = system_call.ProgramLoad(
        prog_type=kinds.PROGRAMS.index(program.kind), insns=instructions.ctypes.data, insn_cnt=len(code) // isa.SLOT,
        license=ctypes.addressof(license_text), prog_name=system_call.name(program.name), prog_flags=rule.flags,
        expected_attach_type=rule.attach,
        attach_btf_id=kernel_symbols.hook(program, symbols) if program.kind in kinds.BY_TARGET else 0,
    )  # fmt: skip
    told = _debugging(source, program) if types.fd else None
    if told:
        told.put_into(call, types.fd)
    try:
        return bpf(call)
    except OSError as error:
        return _explain(program, call, error)


def _explain(program: Program, call: Any, error: OSError) -> int:
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
    # The verifier has not said a word: it was not asked.
    why = f"; has this kernel programs of kind {program.kind}?" if error.errno == errno.EINVAL else ""
    raise OSError(error.errno, f"program {program.name} ({program.kind}): {error.strerror}{why}") from error


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


def _debugging(source: Object, program: Program) -> _Debugging:
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
