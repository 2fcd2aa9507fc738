"""Random instructions and programs for the tests of the machine."""

from __future__ import annotations

from dataclasses import replace
from random import Random

from hypothesis import strategies as st

from lbcore.ebpf import forms, isa
from lbcore.ebpf.forms import Form
from lbcore.ebpf.isa import Instruction

EDGES = (0, 1, -1, 2, 3, 7, 8, 13, -13, 31, 32, 33, 63, 64, 127, -128, 255, 32767, -32768, 2**31 - 1, -(2**31))


MOV, STXDW, LDXDW = isa.ALU64 | isa.MOV, isa.STX | isa.MEM | isa.DW, isa.LDX | isa.MEM | isa.DW


def instruction(random: Random, form: Form, **chosen: int) -> Instruction:
    """One with this form: operands are random, with a liking for edges, unless chosen."""
    fields = {
        "dst": random.randrange(11),
        "src": random.randrange(11),
        "offset": random.choice((random.randrange(-(2**15), 2**15), random.randrange(-8, 9))),
        "imm": random.choice((random.choice(EDGES), random.randrange(-(2**31), 2**31))),
    }
    fields |= chosen | form.fixed
    if form.opcode == isa.LDDW:
        low = fields.pop("low", fields["imm"]) & 0xFFFFFFFF
        fields["imm"] = fields.pop("high", random.choice(EDGES)) % 2**32 << 32 | low
    return Instruction(form.opcode, **fields)


FORMS = st.sampled_from(forms.FORMS)
INSTRUCTIONS = st.builds(lambda seed, form: instruction(Random(seed), form), st.integers(0, 2**32), FORMS)


def straight(random: Random, length: int) -> list[Instruction]:
    """A program that ends: arithmetic on all registers, stores to the stack before loads from it, jumps forward only.

    All registers are set first; every 8-byte word of the 64 bytes below r10 is written before anything is read. r0
    gathers all registers at the end. The kernel's verifier takes such programs.
    """
    start = [_constant(random, r) for r in range(10)]
    start += [Instruction(STXDW, dst=10, src=random.randrange(10), offset=-8 * n) for n in range(1, 9)]
    body = [_some(random) for _ in range(length)]
    for index, one in enumerate(body):
        if forms.distance(one) is not None:
            hops = isa.slots(body[index + 1 :])
            field = "imm" if one.opcode == isa.JMP32 | isa.JA else "offset"
            body[index] = replace(one, **{field: random.choice(hops[:6])})
    fold = []
    for r in range(1, 10):
        fold.append(Instruction(isa.ALU64 | isa.MUL, dst=0, imm=0x01000193))
        fold.append(Instruction(isa.ALU64 | isa.XOR | isa.X, dst=0, src=r))
    for n in range(1, 9):
        fold.append(Instruction(LDXDW, dst=1, src=10, offset=-8 * n))
        fold.append(Instruction(isa.ALU64 | isa.MUL, dst=0, imm=0x01000193))
        fold.append(Instruction(isa.ALU64 | isa.XOR | isa.X, dst=0, src=1))
    return start + body + fold + [Instruction(isa.JMP | isa.EXIT)]


def halves(program: list[Instruction]) -> list[Instruction]:
    """The same with the upper half of r0 folded into the lower: XDP verdicts have 32 bits."""
    fold = [
        Instruction(isa.ALU64 | isa.MOV | isa.X, dst=1, src=0),
        Instruction(isa.ALU64 | isa.RSH, dst=1, imm=32),
        Instruction(isa.ALU64 | isa.XOR | isa.X, dst=0, src=1),
    ]
    return program[:-1] + fold + program[-1:]


_ARITHMETIC = [f for f in forms.FORMS if f.opcode & 7 in (isa.ALU, isa.ALU64)]
_JUMPS = [f for f in forms.FORMS if f.name.startswith("j")]
_MEMORY = [f for f in forms.FORMS if f.opcode & 7 in (isa.LDX, isa.ST, isa.STX) and f.opcode & 0xE0 != isa.ATOMIC]
_ATOMICS = [f for f in forms.FORMS if f.name.startswith("lock")]


def _constant(random: Random, register: int) -> Instruction:
    """One that gives the register a value."""
    if random.random() < 0.5:
        return Instruction(MOV, dst=register, imm=random.choice(EDGES))
    return Instruction(isa.LDDW, dst=register, imm=random.getrandbits(64))


def _some(random: Random) -> Instruction:
    """An instruction that is safe anywhere; jumps get their distance later."""
    form = random.choice(random.choice((_ARITHMETIC, _ARITHMETIC, _JUMPS, _MEMORY, _ATOMICS)))
    low, klass = random.randrange(10), form.opcode & 7
    chosen = {"dst": low, "src": random.randrange(10)}
    if klass in (isa.ALU, isa.ALU64):
        code = form.opcode & 0xF0
        if code in (isa.LSH, isa.RSH, isa.ARSH) and not form.opcode & isa.X:
            chosen["imm"] = random.randrange(64 if klass == isa.ALU64 else 32)
        elif code in (isa.DIV, isa.MOD) and not form.opcode & isa.X:
            chosen["imm"] = random.choice([edge for edge in EDGES if edge])
    elif klass in (isa.LDX, isa.ST, isa.STX):
        size = isa.SIZES[form.opcode & 0x18]
        chosen["offset"] = -size * random.randrange(1, 64 // size + 1)
        chosen["src" if klass == isa.LDX else "dst"] = 10
    return instruction(random, form, **chosen)
