"""Random programs of all that the verifier models: most of them nearly right, many of them wrong.

Rule of this file: a random number in, the text of a program out. A program is a row of fragments, each of which does
something a programmer would do: ask for packet bytes and read them, look something up, count in a loop. Each may get
its check wrong, by one or altogether, and may use what an earlier fragment left in the registers.

Registers: r6 context, r7 packet, r8 packet end, r9 a number, r0 to r5 whatever comes.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random

from lbcore.ebpf import forms, isa, signatures
from lbcore.ebpf.assembler import assemble
from lbcore.ebpf.semantics import ARITHMETIC, COMPARISONS
from lbcore.ebpf.verify import calls
from tests.ebpf.verified import MAPS

SIZES = {"u8": 1, "u16": 2, "u32": 4, "u64": 8}
NUMBERS = (0, 1, 2, 3, 4, 7, 8, 13, 14, 15, 16, 20, 31, 60, 63, 64, 255, 256, 1023, 4096, 65535, 1 << 20, -1, -8, -64,
           (1 << 31) - 1, -(1 << 31))  # fmt: skip
SYMBOLS = {"add": "+=", "sub": "-=", "mul": "*=", "div": "/=", "or": "|=", "and": "&=", "lsh": "<<=", "rsh": ">>=",
           "arsh": "s>>=", "mod": "%=", "xor": "^=", "mov": "=", "sdiv": "s/=", "smod": "s%="}  # fmt: skip
TESTS = {"jeq": "==", "jne": "!=", "jgt": ">", "jge": ">=", "jlt": "<", "jle": "<=", "jsgt": "s>", "jsge": "s>=",
         "jslt": "s<", "jsle": "s<=", "jset": "&"}  # fmt: skip
assert {*SYMBOLS, "neg"} == set(ARITHMETIC)
assert set(TESTS) == set(COMPARISONS)


class Writer:
    """One program in the making. careful: how likely each check is right."""

    def __init__(self, seed: int) -> None:
        self.random = Random(seed)
        self.careful = self.random.choice((0.9, 0.97, 1.0))
        self.lines: list[str] = []
        self.functions: list[str] = []
        self.labels = 0

    def text(self) -> str:
        self.lines += ["r6 = r1", "r7 = *(u32 *)(r6 +0)", "r8 = *(u32 *)(r6 +4)", f"r9 = {self.number()}"]
        for n in range(6):
            if self.random.random() < 0.97:
                self.lines.append(f"r{n} = {self.number()}")
        for _ in range(self.random.randrange(2, 9)):
            self.random.choice(FRAGMENTS)(self)
            self.refill()
        ends = [f"r0 = {self.number()}", "exit", "out:", "r0 = 1", "exit"]
        return "\n".join([*self.lines, "if r9 == 77 goto out", *ends, *self.functions])

    def refill(self) -> None:
        """Numbers where a call may have left nothing, or a fragment a pointer; mostly."""
        called = any(line.startswith("call") for line in self.lines[-12:])
        for n in range(6):
            if self.random.random() < (0.98 if called else 0.6):
                self.lines.append(f"r{n} = {self.random.choice((self.number(), 'r9', 'r9'))}")

    def right(self) -> bool:
        return self.random.random() < self.careful

    def number(self) -> int:
        return self.random.choice(NUMBERS) if self.random.random() < 0.8 else self.random.randrange(-(1 << 31), 1 << 31)

    def scratch(self) -> str:
        return f"r{self.random.randrange(6)}"

    def label(self) -> str:
        self.labels += 1
        return f"l{self.labels}"

    def add(self, *lines: str) -> None:
        self.lines += lines

    def size(self) -> str:
        return self.random.choice(list(SIZES))


def constant(w: Writer) -> None:
    w.add(f"{w.scratch()} = {w.number()}")


def field(w: Writer) -> None:
    offset = w.random.choice((12, 16)) if w.right() else w.random.choice((20, 8))
    w.add(f"{w.random.choice((w.scratch(), 'r9'))} = *(u32 *)(r6 +{offset})")


def arithmetic(w: Writer) -> None:
    for _ in range(w.random.randrange(1, 6)):
        name = w.random.choice(list(SYMBOLS))
        a, b = w.scratch(), w.random.choice((w.scratch(), str(w.number()), "r9"))
        if name in ("lsh", "rsh", "arsh") and not b.startswith("r"):
            b = str(w.random.randrange(31))
        if name in ("div", "mod", "sdiv", "smod") and b == "0":
            b = "3"
        if w.random.random() < 0.4:
            a, b = a.replace("r", "w"), b.replace("r", "w")
        w.add(f"{a} {SYMBOLS[name]} {b}")


def extend(w: Writer) -> None:
    if w.random.random() < 0.7:
        w.add(f"{w.scratch()} = (s{w.random.choice((8, 16, 32))}){w.random.choice((w.scratch(), 'r9'))}")
    else:
        register = w.scratch()
        w.add(f"{register} = {w.random.choice(('be16', 'be32', 'be64', 'bswap32'))} {register}")


def condition(w: Writer) -> None:
    """A jump over some arithmetic, or out."""
    a, b = w.random.choice((w.scratch(), "r9")), w.random.choice((w.scratch(), str(w.number()), "r9"))
    if w.random.random() < 0.3:
        a, b = a.replace("r", "w"), b.replace("r", "w")
    target = "out" if w.random.random() < 0.4 else w.label()
    w.add(f"if {a} {w.random.choice(list(TESTS.values()))} {b} goto {target}")
    if target != "out":
        w.random.choice((constant, arithmetic, field, spill))(w)
        w.add(f"{target}:")


def ask(w: Writer, pointer: str, size: int) -> None:
    """Leave unless `size` bytes are there, by one of the ways to say so."""
    other = "r5" if pointer != "r5" else "r4"
    w.add(f"{other} = {pointer}", f"{other} += {size}")
    if w.right():
        w.add(w.random.choice((f"if {other} > r8 goto out", f"if r8 < {other} goto out", f"if {other} >= r8 goto out")))
    elif w.random.random() < 0.7:
        w.add(f"if {other} {w.random.choice(list(TESTS.values()))} r8 goto out")


def touch(w: Writer, pointer: str, size: int, *, writing: bool = True) -> None:
    """Access somewhere in `size` bytes, or near."""
    kind = w.random.choice([kind for kind in SIZES if SIZES[kind] <= size] or ["u8"])
    offset = w.random.randrange(size - SIZES[kind] + 1) if size >= SIZES[kind] else 0
    if not w.right():
        offset = w.random.randrange(-8, size + 8)
    if not writing or w.random.random() < 0.6:
        w.add(f"{w.random.choice(('r0', 'r1', 'r9'))} = *({kind} *)({pointer} {offset:+d})")
    else:
        w.add(f"*({kind} *)({pointer} {offset:+d}) = {w.random.choice((w.scratch(), '1', 'r9'))}")


def packet(w: Writer) -> None:
    size = w.random.choice((1, 2, 8, 14, 20, 34, 64))
    ask(w, "r7", size)
    for _ in range(w.random.randrange(1, 4)):
        touch(w, "r7", size)


def deep_packet(w: Writer) -> None:
    """A header behind a header whose length the packet tells."""
    fixed = w.random.choice((1, 14, 34))
    ask(w, "r7", fixed)
    w.add(f"r2 = *({w.random.choice(('u8', 'u8', 'u16')) if w.right() else w.random.choice(('s8', 'u32'))} *)(r7 +0)")
    if w.random.random() < 0.7:
        w.add(f"r2 &= {w.random.choice((15, 60, 255, 4095))}")
    if w.random.random() < 0.5:
        w.add(f"r2 {w.random.choice(('<<=', '>>='))} 2")
    w.add("r3 = r7", f"r3 += {w.random.choice((0, fixed))}", "r3 += r2" if w.right() else "r3 -= r2")
    size = w.random.choice((1, 4, 8, 20))
    ask(w, "r3", size)
    touch(w, "r3", size)
    if w.random.random() < 0.2:
        w.add("r7 = r3")


def spill(w: Writer) -> None:
    at = -8 * w.random.randrange(1, 5)
    w.add(f"*(u64 *)(r10 {at}) = {w.random.choice((w.scratch(), 'r6', 'r7', 'r9', '5'))}")
    arithmetic(w) if w.random.random() < 0.5 else None
    back = w.random.choice((w.scratch(), "r9"))
    if w.right():
        w.add(f"{back} = *(u64 *)(r10 {at})")
    else:
        w.add(f"{back} = *({w.size()} *)(r10 {at + w.random.randrange(-4, 5)})")


def stack(w: Writer) -> None:
    for _ in range(w.random.randrange(1, 4)):
        kind = w.size()
        at = -SIZES[kind] * w.random.randrange(1, 64 // SIZES[kind])
        if not w.right():
            at = w.random.choice((at + 1, -512, -513, -520, 0, 8, -1))
        if w.random.random() < 0.6:
            w.add(f"*({kind} *)(r10 {at:+d}) = {w.random.choice((w.scratch(), '0', '7', 'r9'))}")
        else:
            w.add(f"{w.random.choice((w.scratch(), 'r9'))} = *({kind} *)(r10 {at:+d})")


def stack_index(w: Writer) -> None:
    """An index into an array on the stack."""
    w.add(*(f"*(u64 *)(r10 -{8 * n}) = 0" for n in range(1, 5) if w.right()))
    bound(w, "r9", 31)
    w.add("r1 = r10", "r1 += -32", "r1 += r9")
    w.add(w.random.choice((f"*(u8 *)(r1 +0) = {w.scratch()}", "r2 = *(u8 *)(r1 +0)", "r2 = *(u16 *)(r1 +0)")))


def bound(w: Writer, register: str, most: int) -> None:
    """Make a register be 0 to most, `most` being all ones, in one of the ways there are; or nearly."""
    if not w.right():
        most += w.random.choice((-1, 1, 2, 32, 64))
    w.add(
        *w.random.choice(
            (
                (f"{register} &= {most}",),
                (f"if {register} > {most} goto out",),
                (f"if {register} s> {most} goto out", f"if {register} s< 0 goto out"),
                (f"if {register.replace('r', 'w')} > {most} goto out", f"{register.replace('r', 'w')} += 0"),
                (f"if {register} s> {most} goto out",),
                (f"{register} %= {most + 1}",),
                (f"{register} <<= 56", f"{register} >>= {64 - most.bit_length()}"),
                (f"{register} <<= 32", f"{register} s>>= 32", f"if {register} > {most} goto out"),
            )
        )
    )


def key(w: Writer) -> None:
    w.add(f"*(u32 *)(r10 -4) = {w.random.choice(('1', '0', 'r9'))}", "r2 = r10", "r2 += -4")
    if not w.right():
        w.add(w.random.choice(("r2 = r7", "r2 += 4", "r2 = r9", "r2 += -4")))


def null_check(w: Writer, register: str) -> None:
    if w.right():
        w.add(f"if {register} == 0 goto out")
    elif w.random.random() < 0.6:
        w.add(w.random.choice((f"if {register} != 0 goto out", f"if {register} == 1 goto out")))


def lookup(w: Writer) -> None:
    number, size = w.random.choice(
        (
            (0, 8),
            (0, 8),
            (1, 16),
            (1, 16),
            (1, 16),
            (6, 4) if not w.right() else (0, 8),
            (8, 4) if not w.right() else (1, 16),
        )
    )
    key(w)
    w.add(f"r1 = map_by_fd({number})", "call map_lookup_elem#1")
    if w.random.random() < 0.2:
        w.add("*(u64 *)(r10 -16) = r0")
    null_check(w, "r0")
    what = w.random.random()
    if what < 0.5:
        touch(w, "r0", size)
    elif what < 0.7:
        w.add(
            f"r1 = {w.number()}",
            f"lock *(u{w.random.choice((32, 64))} *)(r0 +{0 if w.right() else w.random.choice((4, 2, 12))}) += r1",
        )
    else:
        w.add(w.random.choice(("r1 = *(u32 *)(r6 +12)", "r1 = r9", "r1 = *(u32 *)(r0 +0)")))
        bound(w, "r1", 7)
        w.add("r0 += r1")
        touch(w, "r0", max(size - 7, 1))
    if w.random.random() < 0.2:
        w.add("r3 = *(u64 *)(r10 -16)")
        touch(w, "r3", size)


def change(w: Writer) -> None:
    key(w)
    if w.random.random() < 0.5:
        w.add(f"*(u64 *)(r10 -16) = {w.scratch() if not w.right() else 3}", "r3 = r10", "r3 += -16", "r4 = 0")
        w.add(
            f"r1 = map_by_fd({w.random.choice((0, 0, 0, 1, 0, 1, 7, 0 if w.right() else 5))})", "call map_update_elem#2"
        )
    else:
        w.add(f"r1 = map_by_fd({w.random.choice((0, 0, 0, 1, 0, 0 if w.right() else 4))})", "call map_delete_elem#3")


def globals_(w: Writer) -> None:
    w.add(f"r3 = map_val(map_by_fd({w.random.choice((2, 2, 4))})) +{w.random.choice((0, 4, 8))}")
    touch(w, "r3", 4)


def record(w: Writer) -> None:
    size = w.random.choice((8, 16, 24))
    w.add("r1 = map_by_fd(3)", f"r2 = {size if w.right() else 'r9'}", "r3 = 0", "call ringbuf_reserve#131")
    null_check(w, "r0")
    w.add("r5 = r0")
    for _ in range(w.random.randrange(3)):
        touch(w, "r5", size)
    if w.right():
        w.add("r1 = r5", "r2 = 0", w.random.choice(("call ringbuf_submit#132", "call ringbuf_discard#133")))
    if not w.right():
        touch(w, "r5", size)


def helper(w: Writer) -> None:
    w.add(w.random.choice(("call ktime_get_ns#5", "call get_prandom_u32#7", "call get_smp_processor_id#8")))
    if w.random.random() < 0.6:
        w.add("r9 = r0")


def move(w: Writer) -> None:
    w.add("r1 = r6", f"r2 = {w.random.choice((-4, 4, 0))}", "call xdp_adjust_head#44")
    if w.right():
        w.add("r7 = *(u32 *)(r6 +0)", "r8 = *(u32 *)(r6 +4)")
    packet(w)


def sized(w: Writer) -> None:
    """A sum over bytes of the stack or of the packet."""
    ask(w, "r7", 32)
    w.add(*(f"*(u64 *)(r10 -{8 * n}) = 0" for n in range(1, 5)))
    w.add("r2 = r9")
    bound(w, "r2", 31)
    w.add(*w.random.choice((("r1 = r10", "r1 += -32"), ("r1 = r7",), ("r1 = 0", "r2 = 0"))))
    w.add("r3 = 0", "r4 = 0", "r5 = 0", "call csum_diff#28", "r9 = r0")


def loop(w: Writer) -> None:
    again, rounds = w.label(), w.random.choice((1, 2, 5, 16, 40))
    w.add(f"r9 = {w.random.choice((0, 0, 1))}", f"{again}:")
    w.random.choice((arithmetic, packet, stack, constant, spill, lookup))(w)
    if w.random.random() < 0.3:
        w.add(f"if {w.scratch()} == {w.number()} goto out")
    w.add(f"r9 += {1 if w.right() else 0}", f"if r9 {w.random.choice(('<', '<', '!=', 's<'))} {rounds} goto {again}")


def function(w: Writer) -> None:
    name = w.label()
    w.add(f"r1 = {w.random.choice(('r7', 'r9', 'r6', 'r10', '5'))}", "r2 = r8", f"call local {name}", "r9 = r0")
    w.functions += [f"{name}:", "r0 = 0"]
    w.functions += w.random.choice(
        (
            ["r0 = r1", "exit"],
            ["r3 = r1", "r3 += 4", "if r3 > r2 goto +1", "r0 = *(u32 *)(r1 +0)", "exit"],
            ["*(u64 *)(r10 -8) = r1", "r4 = *(u64 *)(r10 -8)", "r0 = r4", "exit"],
            ["r0 = *(u32 *)(r1 +12)", "exit"],
            ["*(u64 *)(r1 -8) = 3", "exit"],
            ["if r1 > 7 goto +1", "r0 = r1", "exit"],
        )
    )


FRAGMENTS: tuple[Callable[[Writer], None], ...] = (
    constant, field, arithmetic, arithmetic, extend, condition, condition, packet, packet, deep_packet, deep_packet,
    spill, stack, stack_index, lookup, lookup, lookup, change, globals_, record, helper, move, sized, loop, loop,
    function,
)  # fmt: skip


def generate(seed: int) -> str:
    """The program of this number."""
    return Writer(seed).text()


# ---- single instructions, on whatever there is ----

START = """
    r6 = r1
    *(u32 *)(r10 -4) = 1
    *(u64 *)(r10 -16) = 0
    *(u64 *)(r10 -24) = r6
    *(u32 *)(r10 -32) = 77
    r2 = r10
    r2 += -4
    r1 = map_by_fd({map})
    call map_lookup_elem#1
    if r0 != 0 goto +2
    r0 = 0
    exit
    r2 = *(u32 *)(r6 +{start})
    r3 = *(u32 *)(r6 +{end})
    r1 = r2
    r1 += 16
    if r1 > r3 goto +1
    goto +2
    r0 = 0
    exit
    r4 = r10
    r4 += {stack}
    r1 = map_by_fd(0)
    r5 = *(u32 *)(r6 +{number})
    r7 = {constant}
    r8 = *(u8 *)(r2 +0)
    r9 = *(u64 *)(r0 +0)
"""
"""r0: a map's value; r1 a map; r2, r3 the packet; r4 stack; r5 u32; r6 context; r7 a constant; r8 u8; r9 anything."""
PLACES = {"xdp": (0, 4, 12), "tc": (76, 80, 8)}
_OPERATIONS = [f for f in forms.FORMS if f.opcode & 7 in (isa.ALU, isa.ALU64) or f.name.startswith("j")]
_ACCESSES = [f for f in forms.FORMS if f.opcode & 7 in (isa.LDX, isa.ST, isa.STX)]


def single(seed: int, kind: str) -> bytes:
    """A program that has something of everything in its registers and does one to three random things with it."""
    random = Random(seed)
    start, end, number = PLACES[kind]
    text = START.format(
        map=random.choice((0, 1, 2, 4)), start=start, end=end, number=number, stack=random.choice((0, -8, -12, -32)),
        constant=random.choice(NUMBERS),
    )  # fmt: skip
    body = [_single(random) for _ in range(random.choice((1, 1, 2, 3)))]
    return assemble(text) + isa.encode(body) + assemble("r0 = 0\nr0 = 1\nr0 = 2\nexit")


def _single(random: Random) -> isa.Instruction:
    form = random.choice(random.choice((_OPERATIONS, _ACCESSES)))
    fields = {
        "dst": random.randrange(10 if random.random() < 0.97 else 11), "src": random.randrange(11),
        "imm": random.choice(NUMBERS),
        "offset": random.choice((0, 0, 4, 8, 12, 16, -4, -8, -16, -24, -32, 1, -1)),
    } | form.fixed  # fmt: skip
    if form.opcode & 7 in (isa.ALU, isa.ALU64) and "imm" not in form.fixed:
        fields["imm"] = random.choice((*range(1, 32), *NUMBERS))
    if form.opcode & 7 == isa.STX or form.opcode & 7 == isa.ST:
        fields["dst"] = random.choice((0, 1, 2, 3, 4, 6, 10, 10))
    if form.opcode & 7 in (isa.JMP, isa.JMP32):
        fields["imm" if form.name == "ja32" else "offset"] = 0 if form.name.startswith("ja") else random.choice((0, 2))
    return isa.Instruction(form.opcode, **fields)


# ---- calls of helpers, with arguments of all kinds ----

BEFORE = """
    r7 = r0
    r8 = r2
    r9 = *(u8 *)(r2 +0)
    *(u64 *)(r10 -40) = 0
    *(u64 *)(r10 -48) = r9
"""
"""r6 context, r7 a map's value, r8 packet (16 bytes), r9 u8; the stack is written from -48 to -1, but for two words."""
POINTERS = ("r10 -4", "r10 -8", "r10 -16", "r10 -48", "r10 -32", "r10 -28", "r10 -512", "r10 -520", "r10 +0", "r8 +0",
            "r8 +8", "r8 +14", "r7 +0", "r7 +4", "r7 +60", "r6 +0", "r9 +0")  # fmt: skip
ARGUMENTS = {
    signatures.CONTEXT: ("r6 +0", "r6 +0", "r6 +0", "r6 +0", "r6 +4", "r7 +0"),
    signatures.MAP: tuple(f"map {n}" for n in range(10)),
    signatures.SIZE: (
        "0",
        "1",
        "2",
        "4",
        "8",
        "16",
        "17",
        "32",
        "48",
        "49",
        "64",
        "512",
        "-1",
        "r9 +0",
        "r9 +1",
        "r7 +0",
    ),
    signatures.SCALAR: ("0", "1", "8", "16", "r9 +0", "r7 +0", "nothing"),
    signatures.RECORD: ("r7 +0", "r6 +0", "0"),
}


def called(seed: int, kind: str) -> bytes:
    """A program that calls a random helper, with arguments that are often what it wants."""
    random = Random(seed)
    start, end, number = PLACES[kind]
    text = (
        START.format(map=random.choice((0, 1, 2, 4)), start=start, end=end, number=number, stack=0, constant=1) + BEFORE
    )
    if random.random() < 0.3:
        text += f"r9 &= {random.choice((7, 15, 16, 31, 63))}\n"
    for _ in range(random.choice((1, 1, 2))):
        helper = random.choice(list(signatures.HELPERS.values()))
        for position, wanted in enumerate(helper.arguments, 1):
            wanted = wanted if random.random() < 0.95 else random.choice((signatures.SCALAR, signatures.MAP))
            text += _argument(random, position, helper, wanted)
        text += f"call {helper.number}\n"
        text += random.choice(("", "r9 = r0\n", "if r0 == 0 goto +1\nr0 = *(u8 *)(r0 +0)\n", "r9 = *(u8 *)(r8 +0)\n"))
    return assemble(text + "r0 = 0\nexit")


def _argument(random: Random, position: int, helper: signatures.Signature, wanted: str) -> str:
    chosen = random.choice(ARGUMENTS.get(wanted, POINTERS))
    if wanted == signatures.MAP and random.random() < 0.7:
        good = [n for n, one in enumerate(MAPS) if helper.name in calls.TAKEN_BY.get(one.kind, ())]
        chosen = f"map {random.choice(good)}" if good else chosen
    if chosen.startswith("map"):
        return f"r{position} = map_by_fd({chosen[4:]})\n"
    if chosen == "nothing":
        return ""
    if chosen.startswith("r"):
        base, offset = chosen.split()
        return f"r{position} = {base}\n" + ("" if offset == "+0" else f"r{position} += {int(offset)}\n")
    return f"r{position} = {chosen}\n"
