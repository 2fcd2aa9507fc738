"""The kernel as a numba target: the same front end, LLVM's BPF back end.

Rule of this file: it knows numba and LLVM, nothing about programs, maps or the kernel's system calls.

Theory. numba types and lowers a function for a *target*: a context that lowers, a code generator that owns a target
machine, a dispatcher that compiles callees. This one borrows everything from the CPU's and replaces the machine. What
numba would do to run a function (wrappers for the interpreter, an execution engine, reference counting) is left out.
Callees are linked into one module and inlined: a BPF program is one function, and that is also what the verifier
follows best. Line numbers travel along as debug information; LLVM turns them into BTF.

Trap. The kernel wants the fields of a context read as whole words, and LLVM takes apart what it does not know to be
aligned. So loads and stores promise natural alignment here, true or not (`natural_alignment`, see `seam_numba`): the
kernel's own machines do not mind.
"""

from __future__ import annotations

import operator
import warnings
from functools import cached_property
from typing import Any, NamedTuple

from llvmlite import binding as llvm
from llvmlite import ir
from numba import types
from numba.core import cgutils, codegen, compiler, cpu, errors, imputils, typing
from numba.core.compiler_lock import global_compiler_lock
from numba.core.descriptors import TargetDescriptor
from numba.core.dispatcher import Dispatcher
from numba.core.target_extension import (
    Generic,
    JitDecorator,
    dispatcher_registry,
    jit_registry,
    target_override,
    target_registry,
)

from lbcore.ebpf.emitter import LAYOUT, TRIPLE, machine
from lbcore.ebpf.rules import Pipeline, machinery


class Kernel(Generic):  # type: ignore[misc]
    """The target's place in numba's hierarchy: it takes whatever is written for every target."""


KERNEL = "bpf"
"""Its name. Who gives a function a meaning for it that has another in user space takes the name from here: numba looks
through all meanings of a function, whatever it compiles for, and stumbles over a target that it has not heard of."""
target_registry[KERNEL] = Kernel


class Library(codegen.CPUCodeLibrary):  # type: ignore[misc]
    """A module and the modules it calls into, linked and left unoptimised: `compiler` optimises the whole at once."""

    def _optimize_functions(self, module: Any) -> None:
        module.data_layout = LAYOUT

    def _optimize_final_module(self) -> None:
        pass

    def _finalize_specific(self) -> None:
        pass

    def get_pointer_to_function(self, name: str) -> int:
        return 0


class Codegen(codegen.CPUCodegen):  # type: ignore[misc]
    """Modules with the kernel's triple and layout, and a machine that emits BPF."""

    _library_class = Library

    def _init(self, module: Any) -> None:
        self._data_layout = LAYOUT
        self._tm = machine()
        self._target_data = llvm.create_target_data(LAYOUT)
        self._tm_features = ""
        self._loopvect, self._opt_level = False, 0

    def _create_empty_module(self, name: str) -> Any:
        module = super()._create_empty_module(name)
        module.triple, module.data_layout = TRIPLE, LAYOUT
        return module

    def _add_module(self, module: Any) -> None:
        return None

    def set_env(self, name: str, environment: Any) -> None:
        return None


class Context(cpu.CPUContext):  # type: ignore[misc]
    """Lowers like the CPU's, without anything that exists to be called from Python."""

    natural_alignment = True

    maps: dict[str, Any]
    """Maps that lowered code refers to, by symbol."""

    def init(self) -> None:
        self.is32bit = False
        self.maps = {}
        self._internal_codegen = Codegen("lbcore.ebpf")

    def load_additional_registries(self) -> None:
        super().load_additional_registries()
        self.install_registry(lowering)

    def create_cpython_wrapper(self, *arguments: Any, **options: Any) -> None:
        return None

    def create_cfunc_wrapper(self, *arguments: Any, **options: Any) -> None:
        return None

    def post_lowering(self, module: Any, library: Any) -> None:
        return None

    def get_executable(self, library: Any, description: Any, environment: Any) -> object:
        """Nothing to call; but numba finds callees again by this object, so each has one of its own."""
        return object()


lowering = imputils.Registry("lbcore.ebpf")


@lowering.lower(operator.contains, types.UniTuple, types.Integer)  # type: ignore[untyped-decorator]
def contains(context: Any, b: Any, signature: Any, values: Any) -> Any:
    """`x in (A, B, C)`, as C has it: a switch, or a jump for each. numba's loop becomes numbers to be combined."""
    wanted = context.cast(b, values[1], signature.args[1], signature.args[0].dtype)
    found, end = b.append_basic_block(), b.append_basic_block()
    given = _constants(values[0])
    if given is not None:
        otherwise = b.block
        switch = b.switch(wanted, end)
        for number in given:
            switch.add_case(number, found)
    else:
        for one in cgutils.unpack_tuple(b, values[0]):
            otherwise = b.append_basic_block()
            b.cbranch(b.icmp_unsigned("==", one, wanted), found, otherwise)
            b.position_at_end(otherwise)
        b.branch(end)
    b.position_at_end(found)
    b.branch(end)
    b.position_at_end(end)
    answer = b.phi(ir.IntType(1))
    answer.add_incoming(ir.IntType(1)(1), found)
    answer.add_incoming(ir.IntType(1)(0), otherwise)
    return answer


def _constants(values: Any) -> set[Any] | None:
    """The numbers of a tuple, if it was put together from constants; else None."""
    found = set()
    while isinstance(values, ir.instructions.InsertValue):
        found.add(values.value)
        values = values.aggregate
    complete = isinstance(values, ir.Constant) and all(isinstance(one, ir.Constant) for one in found)
    return found if complete else None


class Options(cpu.CPUTargetOptions):  # type: ignore[misc]
    """Every function, the program and its callees alike: inlined, with line numbers and no other debug information."""

    def finalize(self, flags: Any, options: Any) -> None:
        flags.nrt = False
        flags.debuginfo, flags.dbg_directives_only = options["debug"], True
        flags.dbg_extend_lifetimes = flags.boundscheck = False
        flags.error_model = "numpy"
        flags.forceinline = True
        flags.no_cpython_wrapper = flags.no_cfunc_wrapper = True
        super().finalize(flags, options)
        flags.enable_pyobject = flags.enable_looplift = flags.enable_pyobject_looplift = False


class Target(TargetDescriptor):  # type: ignore[misc]
    options = Options

    @cached_property
    def target_context(self) -> Context:
        return Context(self.typing_context, self._target_name)

    @cached_property
    def typing_context(self) -> Any:
        return typing.Context()


target = Target("bpf")


class BpfDispatcher(Dispatcher):  # type: ignore[misc]
    targetdescr = target

    def __init__(self, py_func: Any, locals: Any = None, targetoptions: Any = None, pipeline_class: Any = None) -> None:
        # Without lines of its own, inlined code counts as the line that called it: the one that means something.
        lines = not machinery(py_func.__code__.co_filename)
        super().__init__(py_func, locals or {}, {"nopython": True, "debug": lines}, Pipeline)

    def compile(self, signature: Any) -> Any:
        with target_override("bpf"):
            return super().compile(signature)

    def add_overload(self, compiled: Any) -> None:
        """Remember the compiled callee; there is nothing here that the interpreter could call."""
        self.overloads[tuple(compiled.signature.args)] = compiled


dispatcher_registry[Kernel] = BpfDispatcher


class jit(JitDecorator):  # type: ignore[misc]
    """What numba's `overload` uses to compile a callee for this target."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        pass

    def __call__(self, function: Any) -> Any:
        return BpfDispatcher(function)


jit_registry[Kernel] = jit


def maps() -> dict[str, Any]:
    """Every map that lowered code may refer to, by its symbol there."""
    found: dict[str, Any] = target.target_context.maps
    return found


class Lowered(NamedTuple):
    """One LLVM module with all callees linked in, not optimised; the function's name there; what it returns."""

    module: Any
    name: str
    result: Any


@global_compiler_lock  # type: ignore[untyped-decorator]
def lower(function: Any, arguments: tuple[Any, ...]) -> Lowered:
    """numba's front end and lowering for one function, called with arguments of these numba types."""
    flags = compiler.Flags()
    Options.parse_as_flags(flags, {"nopython": True, "debug": True})
    with target_override("bpf"), warnings.catch_warnings():
        # numba finds no body in a lambda; its line is right all the same.
        warnings.simplefilter("ignore", errors.NumbaDebugInfoWarning)
        target.typing_context.refresh()
        target.target_context.refresh()
        made = compiler.compile_extra(
            target.typing_context, target.target_context, function, arguments, None, flags, {}, pipeline_class=Pipeline
        )
    made.library._ensure_finalized()
    return Lowered(made.library._final_module, made.fndesc.llvm_func_name, made.signature.return_type)
