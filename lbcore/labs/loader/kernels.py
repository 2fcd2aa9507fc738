"""Two kernels for one loader: a pretended one, which runs anywhere, and the one below us.

Rule of this file: three calls, the same for both: `create_map`, `load`, `close`. They take what bpf(2) takes, give what
it gives, and fail as it fails (OSError with its numbers).

Theory. The pretended kernel has the book's verifier for a judge, and the book's machine could run what it takes. It
keeps a journal of calls, so that a drawing can show and a checker can ask what a loader did. Its descriptors are small
numbers that mean something in its own table alone.
"""

from __future__ import annotations

import ctypes
import errno
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

import numpy as np

from lbcore.ebpf import isa, kinds, system_call
from lbcore.ebpf.kernel import Run
from lbcore.ebpf.object import MapSpec
from lbcore.ebpf.storage import KINDS
from lbcore.labs.loader.linking import right_patch

FIRST_FD = 3
"""0, 1 and 2 are a process's input, output and errors."""
XDP = kinds.PROGRAMS.index("xdp")
XDP_ATTACH = 37


class Kernel(Protocol):
    """What a loader asks of a kernel. Descriptors are whole numbers; errors are OSError."""

    def create_map(self, name: str, type: int, key_size: int, value_size: int, max_entries: int, map_flags: int) -> int:
        """A new map's descriptor."""

    def load(self, code: bytes, license: str, log_level: int = 0, log: bytearray | None = None) -> int:
        """A new program's descriptor. EACCES: the verifier refuses it. ENOSPC: `log` is too small for what it says.

        With log_level 1, the verifier writes into `log`, and a zero byte behind its last word.
        """

    def close(self, fd: int) -> None:
        """Give a descriptor back."""


@dataclass(frozen=True)
class Unlinked:
    """A program as a file has it. maps: (name, type, key_size, value_size, max_entries, map_flags) of each."""

    code: bytes
    license: str
    maps: Sequence[tuple[Any, ...]]
    holes: Sequence[tuple[int, str]]
    patch: Callable[..., bytes] = right_patch

    def __repr__(self) -> str:
        maps = ", ".join(one[0] for one in self.maps) or "none"
        return f"<program of {len(self.code) // isa.SLOT} slots, {self.license}, maps: {maps}>"

    def link(self, fds: dict[str, int]) -> bytes:
        """The code with these descriptors, by name of the map, in its wide loads: your exercise 5."""
        return self.patch(self.code, self.holes, fds)


class Call(NamedTuple):
    """A line of the journal."""

    name: str
    arguments: str
    result: str


Judge = Callable[[bytes, dict[int, MapSpec], str], tuple[bool, str]]
"""Whether the verifier takes a program whose wide loads hold these descriptors, under this license; and its log."""


@dataclass
class Pretended:
    """A kernel in this process. room: how many maps it can hold; `opened`: what each descriptor means.

    license: what it was shown last; unlinked: whether it was shown a program with a hole where a map was wanted.
    """

    judge: Judge
    room: int = 64
    opened: dict[int, Any] = field(default_factory=dict)
    journal: list[Call] = field(default_factory=list)
    next_fd: int = FIRST_FD
    license: str | None = None
    unlinked: bool = False

    def create_map(self, name: str, type: int, key_size: int, value_size: int, max_entries: int, map_flags: int) -> int:
        numbers = (type, key_size, value_size, max_entries, map_flags)
        what = f"{name!r}, {', '.join(map(str, numbers))}"
        if not all(isinstance(one, int) and 0 <= one < 1 << 32 for one in numbers) or not _sound(*numbers[:4]):
            raise self._failed("create_map", what, errno.EINVAL)
        if sum(isinstance(one, MapSpec) for one in self.opened.values()) >= self.room:
            raise self._failed("create_map", what, errno.ENOMEM)
        return self._open("create_map", what, MapSpec(name, kinds.MAPS[type], *numbers[1:]))

    def load(self, code: bytes, license: str, log_level: int = 0, log: bytearray | None = None) -> int:
        room = len(log or b"")
        what = f"{len(code)} bytes, {license!r}" + f", log_level={log_level}, log of {room} bytes" * bool(log_level)
        self.license = license
        if not code or len(code) % isa.SLOT or (room and not log_level):
            raise self._failed("load", what, errno.EINVAL)
        taken, text = self._verify(bytes(code), license)
        if log_level and log is not None:
            said = text.encode()[: max(room - 1, 0)] + b"\0"
            log[: len(said)] = said[:room]
            if len(text.encode()) >= room:
                raise self._failed("load", what, errno.ENOSPC)
        if not taken:
            raise self._failed("load", what, errno.EACCES)
        return self._open("load", what, bytes(code))

    def close(self, fd: int) -> None:
        if self.opened.pop(fd, None) is None:
            raise self._failed("close", f"{fd}", errno.EBADF)
        self.journal.append(Call("close", f"{fd}", "0"))

    def _verify(self, code: bytes, license: str) -> tuple[bool, str]:
        """What comes before the verifier's walk, then the walk."""
        maps = {fd: one for fd, one in self.opened.items() if isinstance(one, MapSpec)}
        instructions = isa.decode(code)
        for one in instructions:
            if one.wide and one.src == isa.MAP_FD and one.low not in maps:
                return False, f"fd {one.low} is not pointing to valid bpf_map\n"
            self.unlinked |= one.wide and one.src == isa.IMM64 and not one.imm
        return self.judge(code, maps, license)

    def _open(self, name: str, arguments: str, thing: object) -> int:
        fd, self.next_fd = self.next_fd, self.next_fd + 1
        self.opened[fd] = thing
        self.journal.append(Call(name, arguments, str(fd)))
        return fd

    def _failed(self, name: str, arguments: str, code: int) -> OSError:
        self.journal.append(Call(name, arguments, errno.errorcode[code]))
        return OSError(code, f"{name}: {os.strerror(code)}")


def _sound(type: int, key_size: int, value_size: int, max_entries: int) -> bool:
    """Whether there are such maps."""
    kind = KINDS.get(kinds.MAPS[type]) if type < len(kinds.MAPS) else None
    return kind is not None and key_size in kind.key_sizes and value_size in kind.value_sizes and max_entries > 0


class Real:
    """The kernel below us, for XDP programs, by bpf(2). It takes root, or CAP_BPF and CAP_NET_ADMIN."""

    def create_map(self, name: str, type: int, key_size: int, value_size: int, max_entries: int, map_flags: int) -> int:
        return system_call.bpf(
            system_call.MapCreate(
                map_type=type, key_size=key_size, value_size=value_size, max_entries=max_entries, map_flags=map_flags,
                map_name=system_call.name(name),
            )
        )  # fmt: skip

    def load(self, code: bytes, license: str, log_level: int = 0, log: bytearray | None = None) -> int:
        instructions, text = np.frombuffer(bytes(code), np.uint8), ctypes.create_string_buffer(license.encode())
        room = np.frombuffer(log, np.uint8) if log else np.zeros(0, np.uint8)  # not copied: the kernel writes to it
        return system_call.bpf(
            system_call.ProgramLoad(
                prog_type=XDP, expected_attach_type=XDP_ATTACH, insns=instructions.ctypes.data,
                insn_cnt=len(code) // isa.SLOT, license=ctypes.addressof(text), log_level=log_level,
                log_size=len(room), log_buf=room.ctypes.data if len(room) else 0,
            )
        )  # fmt: skip

    def close(self, fd: int) -> None:
        os.close(fd)

    def run(self, fd: int, packet: bytes) -> Run:
        """What the program makes of a packet (BPF_PROG_TEST_RUN)."""
        sent, got = np.frombuffer(packet, np.uint8), np.empty(len(packet) + 4096, np.uint8)
        call: Any = system_call.TestRun(
            prog_fd=fd, data_in=sent.ctypes.data, data_size_in=len(sent), data_out=got.ctypes.data,
            data_size_out=len(got), repeat=1,
        )  # fmt: skip
        system_call.bpf(call)
        return Run(call.retval, got[: call.data_size_out].tobytes(), call.duration)

    def value(self, fd: int, key: bytes, size: int) -> bytes:
        """A map's value of `size` bytes."""
        found, sought = np.zeros(size, np.uint8), np.frombuffer(key, np.uint8)
        system_call.bpf(system_call.MapLookup(map_fd=fd, key=sought.ctypes.data, value=found.ctypes.data))
        return found.tobytes()
