"""The least that runs an object in the kernel: maps, one program, BPF_PROG_TEST_RUN."""

from __future__ import annotations

import ctypes
import os
import platform
import struct

from lbcore.ebpf import isa
from lbcore.ebpf.storage import KINDS

MAP_CREATE, MAP_LOOKUP, MAP_UPDATE, NEXT_KEY, PROG_LOAD, TEST_RUN, BTF_LOAD = 0, 1, 2, 4, 5, 10, 18
SYSCALL = {"x86_64": 321, "aarch64": 280}[platform.machine()]
TYPES = {"xdp": 6, "tc": 3}
LIBC = ctypes.CDLL(None, use_errno=True)
NO_PREALLOC = 1


def bpf(command, attributes):
    buffer = ctypes.create_string_buffer(attributes.ljust(144, b"\0"), 144)
    return LIBC.syscall(SYSCALL, command, buffer, 144), buffer.raw


class Loaded:
    """An object's only program and its maps, in the kernel until closed."""

    def __init__(self, obj):
        self.maps, self.specs, self.fds = {}, {spec.name: spec for spec in obj.maps}, []
        for spec in obj.maps:
            flags = NO_PREALLOC if spec.kind == "lpm_trie" else 0
            sizes = spec.key_size, spec.value_size, spec.max_entries
            fd, _ = bpf(MAP_CREATE, struct.pack("<IIIII", KINDS[spec.kind].number, *sizes, flags))
            assert fd >= 0, (spec, os.strerror(ctypes.get_errno()))
            self.maps[spec.name] = fd
            self.fds.append(fd)
        program = obj.program
        code = bytearray(program.code)
        for relocation in program.relocations:
            at = 8 * relocation.instruction
            code[at + 1] = code[at + 1] & 15 | isa.MAP_FD << 4
            struct.pack_into("<i", code, at + 4, self.maps[relocation.symbol])
        text, gpl = ctypes.create_string_buffer(bytes(code)), ctypes.create_string_buffer(b"GPL")
        log = ctypes.create_string_buffer(1 << 24)
        where = ctypes.addressof(text), ctypes.addressof(gpl)
        attributes = struct.pack(
            "<IIQQIIQI", TYPES[program.kind], len(code) // 8, *where, 1, len(log), ctypes.addressof(log), 0
        )
        self.fd, _ = bpf(PROG_LOAD, attributes)
        self.log = log.value.decode().strip()
        if self.fd >= 0:
            self.fds.append(self.fd)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for fd in self.fds:
            os.close(fd)

    def run(self, packet):
        """(verdict, packet)."""
        source, out = ctypes.create_string_buffer(packet, len(packet)), ctypes.create_string_buffer(4096)
        where = ctypes.addressof(source), ctypes.addressof(out)
        result, attributes = bpf(TEST_RUN, struct.pack("<IIIIQQII", self.fd, 0, len(packet), 4096, *where, 1, 0))
        assert result == 0, os.strerror(ctypes.get_errno())
        _, verdict, _, size = struct.unpack_from("<IIII", attributes)
        return verdict, out.raw[:size]

    def update(self, name, key, value):
        k, v = ctypes.create_string_buffer(key, len(key)), ctypes.create_string_buffer(value, len(value))
        attributes = struct.pack("<I4xQQQ", self.maps[name], ctypes.addressof(k), ctypes.addressof(v), 0)
        assert bpf(MAP_UPDATE, attributes)[0] == 0, (name, os.strerror(ctypes.get_errno()))

    def items(self, name):
        """A map's content; of a per-CPU map the sum over the CPUs, as numbers of the value's size."""
        spec, fd = self.specs[name], self.maps[name]
        cpus = os.sysconf("SC_NPROCESSORS_CONF") if spec.kind.startswith("percpu") else 1
        stride = -(-spec.value_size // 8) * 8 if cpus > 1 else spec.value_size
        key, after = None, ctypes.create_string_buffer(max(spec.key_size, 1))
        value = ctypes.create_string_buffer(stride * max(cpus, 1024))
        content = {}
        while (
            bpf(NEXT_KEY, struct.pack("<I4xQQ", fd, ctypes.addressof(key) if key else 0, ctypes.addressof(after)))[0]
            == 0
        ):
            key = ctypes.create_string_buffer(after.raw, spec.key_size)
            attributes = struct.pack("<I4xQQQ", fd, ctypes.addressof(key), ctypes.addressof(value), 0)
            assert bpf(MAP_LOOKUP, attributes)[0] == 0
            parts = [value.raw[i * stride : i * stride + spec.value_size] for i in range(cpus)]
            total = sum(int.from_bytes(part, "little") for part in parts)
            content[key.raw] = total.to_bytes(spec.value_size, "little") if cpus > 1 else parts[0]
        return content
