"""Every form an instruction can take, with how it is written: one table for reading, printing and judging.

Rule of this file: a table, and how to find an entry. `assembler` reads and prints by it.

Theory. A form is an opcode and a template, such as `r{dst} += {imm}`. The fields named in the template are the
operands; every other field has to be what `fixed` says, or zero: "unused fields shall be cleared to zero" (RFC 9669,
section 3.1). So the same line that prints an instruction also decides whether it is one.

The first text of a form is printed: it is how the kernel prints its own programs. The others are read as well: the
manner of LLVM's assembler, and mnemonics (`jeq %r1, 5, label`), in which the conformance suite of the instruction set
is written.
"""

from __future__ import annotations

from collections.abc import Iterator
from string import Formatter
from typing import NamedTuple

from lbcore.ebpf import isa
from lbcore.ebpf.isa import ALU, ALU64, JMP, JMP32, LD, LDX, ST, STX, Instruction, K, X


class Form(NamedTuple):
    """One way to fill the fields of an instruction.

    `fixed` says what fields must hold that are no operands: {"src": 0, "offset": 1, ...}.
    """

    name: str
    opcode: int
    fixed: dict[str, int]
    texts: tuple[str, ...]

    def fits(self, instruction: Instruction) -> bool:
        return all(getattr(instruction, field) == value for field, value in self.fixed.items())

    def text(self, instruction: Instruction) -> str:
        """The instruction as the kernel would print it."""
        return self.texts[0].format_map(_Fields(instruction))


ARITHMETIC = {
    # name: operation, offset (section 4.1), symbol
    "add": (isa.ADD, 0, "+="),
    "sub": (isa.SUB, 0, "-="),
    "mul": (isa.MUL, 0, "*="),
    "div": (isa.DIV, 0, "/="),
    "sdiv": (isa.DIV, 1, "s/="),
    "or": (isa.OR, 0, "|="),
    "and": (isa.AND, 0, "&="),
    "lsh": (isa.LSH, 0, "<<="),
    "rsh": (isa.RSH, 0, ">>="),
    "arsh": (isa.ARSH, 0, "s>>="),
    "mod": (isa.MOD, 0, "%="),
    "smod": (isa.MOD, 1, "s%="),
    "xor": (isa.XOR, 0, "^="),
    "mov": (isa.MOV, 0, "="),
}

COMPARISONS = {
    # name: operation (section 4.3), symbol
    "jeq": (isa.JEQ, "=="),
    "jne": (isa.JNE, "!="),
    "jgt": (isa.JGT, ">"),
    "jge": (isa.JGE, ">="),
    "jlt": (isa.JLT, "<"),
    "jle": (isa.JLE, "<="),
    "jsgt": (isa.JSGT, "s>"),
    "jsge": (isa.JSGE, "s>="),
    "jslt": (isa.JSLT, "s<"),
    "jsle": (isa.JSLE, "s<="),
    "jset": (isa.JSET, "&"),
}

WIDTHS = {"b": (isa.B, 8), "h": (isa.H, 16), "w": (isa.W, 32), "dw": (isa.DW, 64)}

WIDE = {
    # what the src field of a wide load selects (section 5.4)
    "lddw": (isa.IMM64, ("r{dst} = {imm:#x} ll", "lddw r{dst}, {imm}")),
    "map_by_fd": (isa.MAP_FD, ("r{dst} = map_by_fd({low})",)),
    "map_value_by_fd": (isa.MAP_VALUE_FD, ("r{dst} = map_val(map_by_fd({low})) {high:+d}",)),
    "var_addr": (isa.VARIABLE, ("r{dst} = var_addr({low})",)),
    "code_addr": (isa.CODE, ("r{dst} = code_addr({low})",)),
    "map_by_idx": (isa.MAP_INDEX, ("r{dst} = map_by_idx({low})",)),
    "map_value_by_idx": (isa.MAP_VALUE_INDEX, ("r{dst} = map_val(map_by_idx({low})) {high:+d}",)),
}


def find(instruction: Instruction) -> Form | None:
    """The instruction's form; None if RFC 9669 knows no such instruction."""
    return next((form for form in _BY_OPCODE.get(instruction.opcode, ()) if form.fits(instruction)), None)


def problem(instruction: Instruction) -> str:
    """Why an instruction is none, in words; empty if it is one."""
    candidates = _BY_OPCODE.get(instruction.opcode)
    if not candidates:
        return f"opcode {instruction.opcode:#04x} is not assigned"
    if find(instruction) is None:
        names = " or ".join(sorted({form.name for form in candidates}))
        rules = " or ".join(sorted({_rule(form) for form in candidates}))
        return f"not a valid {names}: {rules} is wanted"
    for name, number in (("dst", instruction.dst), ("src", instruction.src)):
        if number >= isa.REGISTERS:
            return f"{name} is register {number}; there are r0 to r10"
    if isa.FRAME in written(instruction):
        return "it writes r10, the frame pointer, which is read-only"
    return ""


def written(instruction: Instruction) -> tuple[int, ...]:
    """The registers an instruction may write; a call leaves nothing in r0 to r5 that could be relied on."""
    if instruction.klass in (ALU, ALU64, LDX) or instruction.wide:
        return (instruction.dst,)
    if instruction.klass == LD:
        return (0, 1, 2, 3, 4, 5)
    if instruction.klass == JMP and instruction.code == isa.CALL:
        return (0, 1, 2, 3, 4, 5)
    if instruction.klass == STX and instruction.mode == isa.ATOMIC and instruction.imm & isa.FETCH:
        return (0,) if instruction.imm == isa.CMPXCHG else (instruction.src,)
    return ()


def distance(instruction: Instruction) -> int | None:
    """How many slots a jump or local call moves on from the next instruction; None for everything else."""
    if instruction.klass not in (JMP, JMP32) or instruction.code == isa.EXIT:
        return None
    if instruction.code == isa.CALL:
        return instruction.imm if instruction.src == isa.LOCAL and not instruction.source else None
    if instruction.opcode == JMP32 | isa.JA:
        return instruction.imm
    return instruction.offset


class _Fields(dict[str, int]):
    """An instruction as the mapping that a template is filled from."""

    def __init__(self, instruction: Instruction) -> None:
        names = ("dst", "src", "offset", "imm", "low", "high")
        super().__init__({name: getattr(instruction, name) for name in names})


def _rule(form: Form) -> str:
    return ", ".join(f"{field} {value:#x}" for field, value in form.fixed.items())


def _form(name: str, opcode: int, *texts: str, **fixed: int) -> Form:
    operands = {field for _, field, _, _ in Formatter().parse(texts[0]) if field}
    fields = ["dst", "src", "offset"]
    if "imm" not in operands:
        fields += ["low", "high"] if opcode == isa.LDDW else ["imm"]
    return Form(name, opcode, {field: fixed.get(field, 0) for field in fields if field not in operands}, texts)


def _memory(name: str, opcode: int, *texts: str, **fixed: int) -> Form:
    """A form with an address; an offset of zero need not be written."""
    bare = tuple(text.replace(" {offset:+d}", "") for text in texts)
    return _form(name, opcode, *texts, *bare, **fixed)


def _arithmetic() -> Iterator[Form]:
    for klass, r, bits, suffixes in ((ALU64, "r", 64, ("", "64")), (ALU, "w", 32, ("32",))):
        for name, (code, offset, symbol) in ARITHMETIC.items():
            for source, kernel, operand in ((K, "{imm}", "{imm}"), (X, r + "{src}", "r{src}")):
                classic = (f"{name}{suffix} r{{dst}}, {operand}" for suffix in suffixes)
                text = f"{r}{{dst}} {symbol} {kernel}"
                yield _form(name + suffixes[0], klass | code | source, text, *classic, offset=offset)
        classic = (f"neg{suffix} r{{dst}}" for suffix in suffixes)
        yield _form("neg" + suffixes[0], klass | isa.NEG, f"{r}{{dst}} = -{r}{{dst}}", *classic)
        for width in (8, 16, 32):
            if width < bits:
                name = f"movsx{width}{bits}"
                text = f"{r}{{dst}} = (s{width}){r}{{src}}"
                yield _form(name, klass | isa.MOV | X, text, f"{name} r{{dst}}, r{{src}}", offset=width)
    for name, opcode, others in (
        ("le", ALU | isa.END | isa.TO_LE, ("le",)),
        ("be", ALU | isa.END | isa.TO_BE, ("be",)),
        ("bswap", ALU64 | isa.END, ("bswap", "swap")),
    ):
        for width in (16, 32, 64):
            classic = (f"{other}{width} r{{dst}}" for other in others)
            yield _form(f"{name}{width}", opcode, f"r{{dst}} = {name}{width} r{{dst}}", *classic, imm=width)


def _jumps() -> Iterator[Form]:
    for klass, r, suffix in ((JMP, "r", ""), (JMP32, "w", "32")):
        for name, (code, symbol) in COMPARISONS.items():
            for source, kernel, operand in ((K, "{imm:#x}", "{imm}"), (X, r + "{src}", "r{src}")):
                yield _form(
                    name + suffix,
                    klass | code | source,
                    f"if {r}{{dst}} {symbol} {kernel} goto pc{{offset:+d}}",
                    f"if {r}{{dst}} {symbol} {kernel} goto {{offset:+d}}",
                    f"{name}{suffix} r{{dst}}, {operand}, {{offset:+d}}",
                )
    yield _form("ja", JMP | isa.JA, "goto pc{offset:+d}", "goto {offset:+d}", "ja {offset:+d}")
    yield _form("ja32", JMP32 | isa.JA, "gotol pc{imm:+d}", "gotol {imm:+d}", "ja32 {imm:+d}")
    call = JMP | isa.CALL
    yield _form("call", call, "call {imm}", src=isa.HELPER)
    yield _form("call local", call, "call pc{imm:+d}", "call local {imm:+d}", src=isa.LOCAL)
    yield _form("call kernel", call, "call btf {imm}", src=isa.KERNEL)
    # Not in the RFC: a call of the helper whose number is in a register, as conformance suite and compilers have it.
    yield _form("callx", call | X, "callx r{dst}", "call r{dst}")
    yield _form("exit", JMP | isa.EXIT, "exit")


def _loads_and_stores() -> Iterator[Form]:
    for letter, (size, bits) in WIDTHS.items():
        for dialect in ((isa.MEM, "", "u"), (isa.MEMSX, "s", "s")):
            mode, sign, u = dialect
            if bits == 64 and sign:
                continue
            name = f"ldx{sign}{letter}"
            text = f"r{{dst}} = *({u}{bits} *)(r{{src}} {{offset:+d}})"
            others = [f"{name} r{{dst}}, [r{{src}} {{offset:+d}}]"]
            if bits < 64 and not sign:
                others.append(f"w{text.removeprefix('r')}")  # LLVM's: the upper half becomes zero either way
            yield _memory(name, LDX | mode | size, text, *others)
        where, classic = f"*(u{bits} *)(r{{dst}} {{offset:+d}})", "[r{dst} {offset:+d}]"
        yield _memory(f"st{letter}", ST | isa.MEM | size, f"{where} = {{imm}}", f"st{letter} {classic}, {{imm}}")
        stores = [f"{where} = r{{src}}", f"stx{letter} {classic}, r{{src}}"]
        if bits < 64:
            stores.append(f"{where} = w{{src}}")
        yield _memory(f"stx{letter}", STX | isa.MEM | size, *stores)


def _atomics() -> Iterator[Form]:
    for bits, size, r, long, suffixes in ((64, isa.DW, "r", "64", ("", "64")), (32, isa.W, "w", "", ("32",))):
        opcode, classic = STX | isa.ATOMIC | size, "[r{dst} {offset:+d}], r{src}"
        where = f"(u{bits} *)(r{{dst}} {{offset:+d}})"
        short = f"{'' if long else '32'}_{bits}(r{{dst}} {{offset:+d}}"  # LLVM's: xchg_64(r1 + 0, r2), xchg32_32(...)
        for name in ("add", "or", "and", "xor"):
            code, _, symbol = ARITHMETIC[name]
            texts = [f"lock *{where} {symbol} {s}{{src}}" for s in dict.fromkeys(("r", r))]
            texts += [f"lock {name}{suffix} {classic}" for suffix in suffixes]
            yield _memory(f"lock {name}{suffixes[0]}", opcode, *texts, imm=code)
            texts = [f"r{{src}} = atomic{long}_fetch_{name}({where}, r{{src}})"]
            texts += [f"{r}{{src}} = atomic_fetch_{name}({where}, {r}{{src}})"]
            texts += [f"lock fetch {name}{suffix} {classic}" for suffix in suffixes]
            yield _memory(f"lock fetch {name}{suffixes[0]}", opcode, *texts, imm=code | isa.FETCH)
        texts = [f"r{{src}} = atomic{long}_xchg({where}, r{{src}})", f"{r}{{src}} = xchg{short}, {r}{{src}})"]
        texts += [f"lock xchg{suffix} {classic}" for suffix in suffixes]
        yield _memory(f"lock xchg{suffixes[0]}", opcode, *texts, imm=isa.XCHG)
        texts = [f"r0 = atomic{long}_cmpxchg({where}, r0, r{{src}})", f"{r}0 = cmpxchg{short}, {r}0, {r}{{src}})"]
        texts += [f"lock cmpxchg{suffix} {classic}" for suffix in suffixes]
        yield _memory(f"lock cmpxchg{suffixes[0]}", opcode, *texts, imm=isa.CMPXCHG)


def _constants_and_packets() -> Iterator[Form]:
    for name, (source, texts) in WIDE.items():
        yield _form(name, isa.LDDW, *texts, src=source)
    for letter in ("b", "h", "w"):  # section 5.5: deprecated, and still met
        size, bits = WIDTHS[letter]
        yield _form(f"ldabs{letter}", LD | isa.ABS | size, f"r0 = *(u{bits} *)skb[{{imm}}]")
        texts = (f"r0 = *(u{bits} *)skb[r{{src}} {{imm:+d}}]", f"r0 = *(u{bits} *)skb[r{{src}}]")
        yield _form(f"ldind{letter}", LD | isa.IND | size, *texts)


FORMS = (*_arithmetic(), *_jumps(), *_loads_and_stores(), *_atomics(), *_constants_and_packets())

_BY_OPCODE: dict[int, list[Form]] = {}
for _entry in FORMS:
    _BY_OPCODE.setdefault(_entry.opcode, []).append(_entry)
