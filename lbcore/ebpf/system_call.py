"""bpf(2): one system call, some twenty commands, and the file descriptors it gives.

Rule of this file: what the call takes and gives, field by field; what to do with it is in `maps_kernel`, `kernel`
and `attach`.

Theory. Whatever the kernel holds for BPF (a program, a map, a link, types) is a file descriptor in user space and lives
as long as something refers to it: a descriptor, another such thing, or a pin in the BPF file system. So a process that
dies, however it dies, leaves nothing behind but what it pinned or attached without a link.

Trap. The attributes are a union that grew for ten years. A kernel takes a longer one than it knows if the rest is zero,
so each command has its own structure here, and the bytes a command does not use are not there to be wrong.
"""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import re
import weakref
from ctypes import c_char, c_uint32, c_uint64, sizeof
from types import TracebackType
from typing import ClassVar, Self

NUMBERS = {"x86_64": 321, "aarch64": 280, "riscv64": 280, "ppc64le": 361, "s390x": 351}
"""The number of bpf(2) by architecture."""


class Attributes(ctypes.Structure):
    """What a command takes; fields are named as in include/uapi/linux/bpf.h."""

    command: ClassVar[int]


def _command(number: int, name: str, **fields: type) -> type[Attributes]:
    return type(name, (Attributes,), {"command": number, "_fields_": list(fields.items())})


MapCreate = _command(
    0, "MapCreate", map_type=c_uint32, key_size=c_uint32, value_size=c_uint32, max_entries=c_uint32,
    map_flags=c_uint32, inner_map_fd=c_uint32, numa_node=c_uint32, map_name=c_char * 16, map_ifindex=c_uint32,
    btf_fd=c_uint32, btf_key_type_id=c_uint32, btf_value_type_id=c_uint32,
)  # fmt: skip
_ELEMENT = {"map_fd": c_uint32, "key": c_uint64, "value": c_uint64, "flags": c_uint64}
MapLookup = _command(1, "MapLookup", **_ELEMENT)
MapUpdate = _command(2, "MapUpdate", **_ELEMENT)
MapDelete = _command(3, "MapDelete", **_ELEMENT)
MapNextKey = _command(4, "MapNextKey", **_ELEMENT)
MapFreeze = _command(22, "MapFreeze", map_fd=c_uint32)
_BATCH = {"in_batch": c_uint64, "out_batch": c_uint64, "keys": c_uint64, "values": c_uint64, "count": c_uint32,
          "map_fd": c_uint32, "elem_flags": c_uint64, "flags": c_uint64}  # fmt: skip
MapLookupBatch = _command(24, "MapLookupBatch", **_BATCH)
MapUpdateBatch = _command(26, "MapUpdateBatch", **_BATCH)
ProgramLoad = _command(
    5, "ProgramLoad", prog_type=c_uint32, insn_cnt=c_uint32, insns=c_uint64, license=c_uint64, log_level=c_uint32,
    log_size=c_uint32, log_buf=c_uint64, kern_version=c_uint32, prog_flags=c_uint32, prog_name=c_char * 16,
    prog_ifindex=c_uint32, expected_attach_type=c_uint32, prog_btf_fd=c_uint32, func_info_rec_size=c_uint32,
    func_info=c_uint64, func_info_cnt=c_uint32, line_info_rec_size=c_uint32, line_info=c_uint64,
    line_info_cnt=c_uint32, attach_btf_id=c_uint32, attach_prog_fd=c_uint32, core_relo_cnt=c_uint32,
    fd_array=c_uint64, core_relos=c_uint64, core_relo_rec_size=c_uint32,
)  # fmt: skip
Pin = _command(6, "Pin", pathname=c_uint64, bpf_fd=c_uint32, file_flags=c_uint32)
Get = _command(7, "Get", pathname=c_uint64, bpf_fd=c_uint32, file_flags=c_uint32)
TestRun = _command(
    10, "TestRun", prog_fd=c_uint32, retval=c_uint32, data_size_in=c_uint32, data_size_out=c_uint32,
    data_in=c_uint64, data_out=c_uint64, repeat=c_uint32, duration=c_uint32, ctx_size_in=c_uint32,
    ctx_size_out=c_uint32, ctx_in=c_uint64, ctx_out=c_uint64, flags=c_uint32, cpu=c_uint32, batch_size=c_uint32,
)  # fmt: skip
Information = _command(15, "Information", bpf_fd=c_uint32, info_len=c_uint32, info=c_uint64)
BtfLoad = _command(
    18, "BtfLoad", btf=c_uint64, btf_log_buf=c_uint64, btf_size=c_uint32, btf_log_size=c_uint32, btf_log_level=c_uint32
)
LinkCreate = _command(28, "LinkCreate", prog_fd=c_uint32, target_ifindex=c_uint32, attach_type=c_uint32, flags=c_uint32)
LinkDetach = _command(34, "LinkDetach", link_fd=c_uint32)
EnableStatistics = _command(32, "EnableStatistics", type=c_uint32)


class ProgramInformation(ctypes.Structure):
    """The beginning of struct bpf_prog_info."""

    _fields_: ClassVar = [
        ("type", c_uint32), ("id", c_uint32), ("tag", c_char * 8), ("jited_prog_len", c_uint32),
        ("xlated_prog_len", c_uint32), ("jited_prog_insns", c_uint64), ("xlated_prog_insns", c_uint64),
        ("load_time", c_uint64), ("created_by_uid", c_uint32), ("nr_map_ids", c_uint32), ("map_ids", c_uint64),
        ("name", c_char * 16), ("ifindex", c_uint32), ("gpl_compatible", c_uint32), ("netns_dev", c_uint64),
        ("netns_ino", c_uint64), ("nr_jited_ksyms", c_uint32), ("nr_jited_func_lens", c_uint32),
        ("jited_ksyms", c_uint64), ("jited_func_lens", c_uint64), ("btf_id", c_uint32),
        ("func_info_rec_size", c_uint32), ("func_info", c_uint64), ("nr_func_info", c_uint32),
        ("nr_line_info", c_uint32), ("line_info", c_uint64), ("jited_line_info", c_uint64),
        ("nr_jited_line_info", c_uint32), ("line_info_rec_size", c_uint32), ("jited_line_info_rec_size", c_uint32),
        ("nr_prog_tags", c_uint32), ("prog_tags", c_uint64), ("run_time_ns", c_uint64), ("run_cnt", c_uint64),
        ("recursion_misses", c_uint64), ("verified_insns", c_uint32),
    ]  # fmt: skip


class MapInformation(ctypes.Structure):
    """The beginning of struct bpf_map_info."""

    _fields_: ClassVar = [
        ("type", c_uint32), ("id", c_uint32), ("key_size", c_uint32), ("value_size", c_uint32),
        ("max_entries", c_uint32), ("map_flags", c_uint32), ("name", c_char * 16),
        ("ifindex", c_uint32), ("btf_vmlinux_value_type_id", c_uint32), ("netns_dev", c_uint64),
        ("netns_ino", c_uint64), ("btf_id", c_uint32), ("btf_key_type_id", c_uint32), ("btf_value_type_id", c_uint32),
    ]  # fmt: skip


def bpf(attributes: Attributes) -> int:
    """Make the call; the kernel may write to the attributes. Returns what it returns, or raises OSError."""
    number = NUMBERS.get(platform.machine())
    if number is None or platform.system() != "Linux":
        here = f"{platform.system()} {platform.machine()}"
        raise OSError(errno.ENOSYS, f"bpf(2): not on {here}; the book's own machine runs programs anywhere")
    result = int(_libc().syscall(number, attributes.command, ctypes.byref(attributes), sizeof(attributes)))
    if result < 0:
        code = ctypes.get_errno()
        hint = "; it takes root, or CAP_BPF and CAP_NET_ADMIN (to trace: CAP_PERFMON)" if code == errno.EPERM else ""
        raise OSError(code, f"bpf(2), {type(attributes).__name__}: {_words(code)}{hint}")
    return result


def information(fd: int, what: type[ctypes.Structure], **pointers: int) -> ctypes.Structure:
    """What the kernel tells of a program or map: `what`, with buffers that it is to fill put in beforehand."""
    found = what(**pointers)
    bpf(Information(bpf_fd=fd, info_len=sizeof(found), info=ctypes.addressof(found)))
    return found


class Descriptor:
    """A file descriptor that is closed by `close`, at the end of a `with`, or when nobody refers to it any more."""

    def __init__(self, fd: int) -> None:
        self.fd = fd
        self._close = weakref.finalize(self, os.close, fd)

    def close(self) -> None:
        self._close()

    @property
    def closed(self) -> bool:
        return not self._close.alive

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()


def name(text: str) -> bytes:
    """A name as the kernel takes it: up to 15 letters, digits, `_` and `.`."""
    return re.sub(r"[^0-9A-Za-z_.]", "_", text)[:15].encode()


def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def _words(code: int) -> str:
    """The error in words; one of the kernel's own numbers has none in the C library."""
    return "not supported (ENOTSUPP)" if code == 524 else os.strerror(code)
