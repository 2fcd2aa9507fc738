"""From a Python function to a BPF object file.

    @xdp
    def drop_udp(context):                          drop_udp.object.assembly
        p = view(context)                           Machine(drop_udp.object.program).run(packet)
        ...                                         kernel.load(drop_udp.object)

Rule of this file: the order of things. `target` lowers, `frame` writes what a compiler for C would put around it, LLVM
optimises and emits, `elf` reads. The function stays what it was, so it also runs as plain Python and under numba.

Theory. numba's calling convention passes a place for the result and returns a status; the kernel's passes the context
and returns the verdict. The frame's entry is the bridge. Everything else becomes internal and is inlined into it, and
with it goes all that cannot be reached: a program is one function, however many it was written as.
"""

from __future__ import annotations

import linecache
from collections.abc import Callable
from dataclasses import replace
from functools import cached_property
from typing import Any

from llvmlite import binding as llvm

from lbcore.ebpf import elf, emitter, explain, frame, methods_numba, target, verifier  # noqa: F401 (what maps mean compiled)
from lbcore.ebpf.contexts import KINDS
from lbcore.ebpf.maps import Map, TailCall
from lbcore.ebpf.object import Line, Object

Function = Callable[[Any], int]


class Source:
    """A program as it is written. Called, it is the Python function; `object` is the program for kernel and machine."""

    def __init__(self, function: Function, kind: str) -> None:
        self.function, self.kind = function, kind
        self.__name__, self.__doc__ = function.__name__, function.__doc__

    def __call__(self, context: Any) -> int:
        try:
            return self.function(context)
        except TailCall as tail:
            function = tail.function
        while True:
            try:
                verdict = (function.function if isinstance(function, Source) else function)(context)
            except TailCall as tail:
                function = tail.function
            else:
                context.tail_calls = 0
                return verdict

    def __repr__(self) -> str:
        return f"<{self.kind} program {self.__name__}>"

    @cached_property
    def object(self) -> Object:
        """Compiled; the first time takes seconds. Raises `explain.CompileError`."""
        return compile(self.function, self.kind)

    def check(self) -> None:
        """Compile it and have the teaching verifier judge it. Raises `explain.CompileError`."""
        compile(self.function, self.kind, verify=True)

    @cached_property
    def maps(self) -> dict[str, Map]:
        """The maps that the program uses, by name."""
        return lower(self.function, self.kind)[1]


def xdp(function: Function) -> Source:
    """Marks an XDP program: context is a frame as it arrives, the verdict one of XDP_DROP, XDP_PASS, XDP_TX ..."""
    return Source(function, "xdp")


def tc(function: Function) -> Source:
    """Marks a program of the traffic control layer: the verdict is one of TC_ACT_OK, TC_ACT_SHOT ..."""
    return Source(function, "tc")


def socket_filter(function: Function) -> Source:
    """Marks a socket's filter: it reads, and the verdict is how many bytes of the packet the socket is to get."""
    return Source(function, "socket")


def compile(function: Function | Source, kind: str = "xdp", *, verify: bool = False) -> Object:
    """The object of one program. Raises `explain.CompileError`, which names the line that cannot be compiled.

    verify: have the teaching verifier judge it too, which takes up to a second or two: so an access that was not asked
    for with need() is told at its line on any machine, not only where a kernel refuses it.
    """
    made = elf.read(emit(function.function if isinstance(function, Source) else function, kind))
    made = replace(made, programs=tuple(replace(one, lines=tuple(map(_with_text, one.lines))) for one in made.programs))
    if verify:
        verdict = verifier.verify(made, keep=1)
        if not verdict.accepted:
            raise explain.refusal(verdict)
    return made


def _with_text(line: Line) -> Line:
    """LLVM reads a line's text from its file; a notebook's cells are in none, and Python knows them."""
    return line if line.text else replace(line, text=linecache.getline(line.file, line.line).rstrip("\n"))


def emit(function: Function, kind: str = "xdp") -> bytes:
    """The object file of one program: an ELF file for the machine EM_BPF."""
    with explain.errors_of(function):
        return emitter.emit(bitcode(function, kind))


def bitcode(function: Function, kind: str = "xdp") -> bytes:
    """The program and all that it calls as one LLVM module, not optimised."""
    lowered, maps = lower(function, kind)
    module = lowered.module.clone()
    for symbol in module.global_variables:
        if symbol.name in target.maps():
            symbol.name = target.maps()[symbol.name].name
    around = llvm.parse_assembly(frame.text(function, lowered, KINDS[kind], list(maps.values())))
    kept = {one.name for one in (*around.functions, *around.global_variables) if not one.is_declaration}
    module.link_in(around)
    for one in (*module.functions, *module.global_variables):
        if not one.is_declaration and one.name not in kept:
            one.linkage = "internal"
    code: bytes = module.as_bitcode()
    return code


def lower(function: Function, kind: str = "xdp") -> tuple[target.Lowered, dict[str, Map]]:
    """The function and its callees as LLVM code, and the maps they use."""
    if kind not in KINDS:
        raise ValueError(f"kind {kind!r}: there are {', '.join(KINDS)}")
    with explain.errors_of(function):
        lowered = target.lower(function, (KINDS[kind].context,))
    explain.check_result(function, lowered.result)
    return lowered, {map_.name: map_ for map_ in frame.maps_of(lowered.module)}
