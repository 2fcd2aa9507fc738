"""Random programs of what the teaching verifier models: mostly right, and often wrong in one place.

Rule of this file: every program is put together from idioms that are right when they are whole; then mistakes are made.
A generator that only rolled instructions would make programs that any verifier refuses at the first one.
"""

from __future__ import annotations

from random import Random

from lbcore.ebpf.assembler import AssemblyError, assemble

SCALARS = (0, 1, 2, 3, 7, 8, 14, 15, 16, 31, 255, 256, 65535, -1, -8, 1 << 31, (1 << 31) - 1, -(1 << 31))
ALU = ("+=", "-=", "*=", "|=", "&=", "^=", "<<=", ">>=", "s>>=", "/=", "%=")
TESTS = ("==", "!=", ">", ">=", "<", "<=", "s>", "s>=", "s<", "s<=", "&")
FLIPPED = {">": ">=", ">=": ">", "<": "<=", "<=": "<", "==": "!=", "!=": "=="}


class Maker:
    """One program in the making. r6: the context, r7: the packet, r8: its end; r9: a number; r10: the stack."""

    def __init__(self, random: Random) -> None:
        self.random, self.labels, self.lines = random, 0, ["r6 = r1", "r9 = 0"]
        self.packet = 0  # bytes that were asked for, through r7

    def label(self) -> str:
        self.labels += 1
        return f"l{self.labels}"

    def add(self, *lines: str) -> None:
        self.lines += lines

    def number(self) -> None:
        """r9 becomes something else."""
        choice = self.random.randrange(4)
        if choice == 0:
            self.add("call get_prandom_u32#7", "r9 = r0")
            self.packet = self.packet if self.random.random() < 0.98 else 0
        elif choice == 1:
            self.add(f"r9 = {self.random.choice(SCALARS)}")
        else:
            operator, value = self.random.choice(ALU), self.random.choice(SCALARS)
            value = abs(value) % 63 + 1 if operator in ("<<=", ">>=", "s>>=") else value or 1
            if self.random.random() < 0.3:
                self.add(f"w9 {operator} {value % 31 + 1 if '<<' in operator or '>>' in operator else value}")
            else:
                self.add(f"r9 {operator} {value}")

    def bound(self) -> None:
        """Ask about r9, and learn from it."""
        label, wide = self.label(), "w" if self.random.random() < 0.25 else "r"
        limit = self.random.choice(SCALARS)
        self.add(f"if {wide}9 {self.random.choice(TESTS)} {limit} goto {label}")
        if self.random.random() < 0.5:
            self.number()
        self.add(f"{label}:")

    def look_at_packet(self) -> None:
        size, out = self.random.choice((1, 8, 14, 20, 34, 64)), self.label()
        self.add("r7 = *(u32 *)(r6 +0)", "r8 = *(u32 *)(r6 +4)", "r1 = r7", f"r1 += {size}")
        if self.random.random() < 0.5:
            self.add(f"if r1 > r8 goto {out}")
            self.reads("r7", size)
            self.add(f"{out}:")
        else:
            go = self.label()
            self.add(f"if r8 >= r1 goto {go}", f"goto {out}", f"{go}:")
            self.reads("r7", size)
            self.add(f"{out}:")

    def variable_packet(self) -> None:
        out, size = self.label(), self.random.choice((1, 2, 4, 8))
        mask = self.random.choice((15, 63, 255, 0xFFFF, 0x7FFFFFFF))
        self.add("r7 = *(u32 *)(r6 +0)", "r8 = *(u32 *)(r6 +4)", f"r9 &= {mask}", "r7 += r9")
        self.add("r1 = r7", f"r1 += {size}")
        self.add(f"if r1 > r8 goto {out}")
        self.reads("r7", size)
        self.add(f"{out}:")

    def reads(self, base: str, room: int) -> None:
        for _ in range(self.random.randrange(1, 3)):
            size = self.random.choice([n for n in (1, 2, 4, 8) if n <= room])
            offset = self.random.randrange(room - size + 1)
            kind = f"u{8 * size}"
            if self.random.random() < 0.3:
                self.add(f"*({kind} *)({base} +{offset}) = r9")
            else:
                self.add(f"r{self.random.choice((0, 1, 2))} = *({kind} *)({base} +{offset})")

    def stack(self) -> None:
        slot = -8 * self.random.randrange(1, 65)
        self.add(f"*(u64 *)(r10 {slot}) = r9")
        if self.random.random() < 0.7:
            self.add(f"r9 = *(u64 *)(r10 {slot})")

    def variable_stack(self) -> None:
        self.add("r1 = 0", "*(u64 *)(r10 -16) = r1", "*(u64 *)(r10 -8) = r1")
        self.add("r9 &= 7", "r1 = r10", "r1 += -16", "r1 += r9")
        self.add("r0 = *(u8 *)(r1 +0)")

    def map_value(self) -> None:
        out, number, size = self.label(), *self.random.choice(((0, 8), (1, 16), (2, 64)))
        self.add("w1 = w9", "*(u32 *)(r10 -4) = r1", "r2 = r10", "r2 += -4", f"r1 = map_by_fd({number})")
        self.add("call map_lookup_elem#1", f"if r0 == 0 goto {out}")
        if self.random.random() < 0.4:
            mask = self.random.choice((3, 7, 15)) if size > 8 else 0
            self.add(f"r9 &= {mask}", "r0 += r9")
            size -= mask
        self.reads_value(size)
        self.add(f"{out}:")

    def reads_value(self, room: int) -> None:
        size = self.random.choice([n for n in (1, 2, 4, 8) if n <= room])
        offset = self.random.randrange(room - size + 1) if self.random.random() < 0.7 else room - size
        if self.random.random() < 0.5:
            self.add(f"r1 = *(u{8 * size} *)(r0 +{offset})")
        else:
            self.add(f"*(u{8 * size} *)(r0 +{offset}) = r9")

    def move_head(self) -> None:
        self.add("r1 = r6", f"r2 = {self.random.choice((-8, 0, 4))}", "call xdp_adjust_head#44")

    def loop(self) -> None:
        again, turns = self.label(), self.random.randrange(1, 12)
        self.add("r9 = 0", f"{again}:", "r9 += 1")
        if self.random.random() < 0.4:
            self.add("r1 = r9", "r1 *= 3", "r1 &= 63")
        self.add(f"if r9 < {turns} goto {again}")

    def record(self) -> None:
        out, done = self.label(), self.label()
        self.add("r1 = map_by_fd(3)", "r2 = 16", "r3 = 0", "call ringbuf_reserve#131", f"if r0 == 0 goto {out}")
        self.add(f"*(u64 *)(r0 +{self.random.choice((0, 8))}) = r9", "r1 = r0", "r2 = 0")
        self.add(self.random.choice(("call ringbuf_submit#132", "call ringbuf_discard#133")))
        self.add(f"goto {done}", f"{out}:", "r9 = 1")
        self.add(f"{done}:")

    def text(self) -> str:
        idioms = [self.number, self.bound, self.look_at_packet, self.variable_packet, self.stack, self.variable_stack]
        idioms += [self.map_value, self.move_head, self.loop, self.record, self.number, self.bound, self.map_value]
        for _ in range(self.random.randrange(1, 7)):
            self.random.choice(idioms)()
        return "\n".join([*self.lines, "r0 = 2", "exit"])


def mistaken(random: Random, text: str) -> str:
    """The program with one thing wrong: a line lost, doubled or moved, a number or a comparison changed."""
    lines = text.split("\n")
    for _ in range(random.choice((1, 1, 2))):
        at = random.randrange(len(lines))
        line, kind = lines[at], random.randrange(6)
        if kind == 0 and not line.endswith(":"):
            del lines[at]
        elif kind == 1:
            lines.insert(random.randrange(len(lines)), line if not line.endswith(":") else "r9 = 1")
        elif kind == 2 and "+" in line and "(" in line:
            head, tail = line.split("+", 1)
            digits = "".join(c for c in tail if c.isdigit())
            if digits:
                lines[at] = f"{head}+{int(digits) + random.choice((1, 2, 7, 8, 100))}{tail[len(digits) :]}"
        elif kind == 3 and line.startswith("if"):
            for a, b in FLIPPED.items():
                if f" {a} " in line:
                    lines[at] = line.replace(f" {a} ", f" {b} ", 1)
                    break
        elif kind == 4 and " = " in line and line[0] == "r":
            lines[at] = f"r{random.randrange(10)}" + line[line.index(" ") :]
        elif kind == 5 and "&=" in line:
            lines[at] = line.split("&=")[0] + f"&= {random.choice((0, 1, 16, 31, 64, 1 << 20))}"
    return "\n".join(lines)


def programs(seed: int, count: int) -> list[str]:
    """So many programs in the assembler's language, half of them with a mistake."""
    random, made = Random(seed), []
    while len(made) < count:
        text = Maker(random).text()
        if random.random() < 0.5:
            text = mistaken(random, text)
        try:
            assemble(text)
        except AssemblyError:
            continue  # a jump lost its label
        made.append(text)
    return made


def mutated(random: Random, code: bytes) -> bytes:
    """A program's code with some fields of some instructions changed: anything may come of it."""
    changed = bytearray(code)
    for _ in range(random.choice((1, 1, 1, 2, 3))):
        at = random.randrange(len(changed) // 8) * 8
        field = random.randrange(6)
        if field == 0:
            changed[at] = random.randrange(256)
        elif field == 1:
            changed[at + 1] = random.randrange(12) | random.randrange(12) << 4
        elif field in (2, 3):
            offset = int.from_bytes(changed[at + 2 : at + 4], "little", signed=True)
            offset += random.choice((-8, -2, -1, 1, 2, 8))
            changed[at + 2 : at + 4] = (offset & 0xFFFF).to_bytes(2, "little")
        elif field == 4:
            changed[at + 4 : at + 8] = (random.choice(SCALARS) & 0xFFFFFFFF).to_bytes(4, "little")
        else:
            del changed[at : at + 8]
            changed += bytes(8) if random.random() < 0.1 else b""
            changed = changed if len(changed) >= 16 else bytearray(code)
    return bytes(changed)
