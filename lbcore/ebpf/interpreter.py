"""The machine's loop, compiled by numba: one instruction after the other, until something needs attention.

Rule of this file: it executes what `program` made of a program that has been checked. It raises nothing and calls
nobody: helpers, faults and the end of the program are events that it returns with, and `vm` deals with them.

Theory. Each instruction is one 64-bit word: opcode (8 bits), destination (4), source (20), argument (32: offset, or
the distance of a jump). An immediate is a register that nobody writes: constants follow the eleven registers in the
same array, so `r1 += 5` and `r1 += r2` are one case, and the opcodes with source K are free again: the signed
divisions and moves live there. Jumps are in instructions here, not in slots. LLVM turns the long chain of comparisons
with one number into a jump table. (Two short chains, class and then operation, were four times slower.)

Safety. Every load and store asks the table of regions (`access`), every target of a jump was checked beforehand, and
the budget of instructions ends any loop.
"""

# What numba compiles has no annotations.
# mypy: disable-error-code="no-untyped-def"
from __future__ import annotations

from lbcore.ebpf import isa
from lbcore.ebpf.access import (
    DEPTH,
    HIGH,
    LEFT,
    MAX_FRAMES,
    PC,
    WRITABLE,
    atomic,
    enter,
    leave,
    load8,
    load16,
    load32,
    load64,
    locate,
    store8,
    store16,
    store32,
    store64,
)
from lbcore.ebpf.arithmetic import (
    I16,
    I32,
    I64,
    LOW32,
    U64,
    ZERO,
    bswap,
    divide,
    extend,
    keep,
    modulo,
    shift_signed,
    signed32,
    signed_divide,
    signed_modulo,
)
from lbcore.jit import kernel

# Events
EXITED, TRAP, FAULT, LIMIT, TOO_DEEP, FELL_OFF = range(6)


@kernel
def execute(code, registers, regions, frames, state):
    """Run until something happens; returns the event.

    code uint64[n]; registers uint64[11 + constants]; regions uint64[n, 7]; frames int64[MAX_FRAMES, 5]: where to go on
    and r6 to r9 of each caller; state int64[6]. When it returns, state[PC] is the instruction that the event is about.
    """
    pc, left, count = state[PC], state[LEFT], U64(code.size)
    event = LIMIT
    while left > 0:
        if U64(pc) >= count:
            event = FELL_OFF
            break
        left -= 1
        word = code[U64(pc)]
        pc += 1
        opcode = I64(word & U64(0xFF))
        dst, src = word >> U64(8) & U64(0xF), word >> U64(12) & U64(0xFFFFF)
        argument = I64(word) >> 32
        a, b = registers[dst], registers[src]

        if opcode == isa.ALU64 | isa.ADD | isa.X:
            registers[dst] = a + b
        elif opcode == isa.ALU64 | isa.SUB | isa.X:
            registers[dst] = a - b
        elif opcode == isa.ALU64 | isa.MUL | isa.X:
            registers[dst] = a * b
        elif opcode == isa.ALU64 | isa.DIV | isa.X:
            registers[dst] = divide(a, b)
        elif opcode == isa.ALU64 | isa.DIV | isa.K:
            registers[dst] = signed_divide(a, b)
        elif opcode == isa.ALU64 | isa.OR | isa.X:
            registers[dst] = a | b
        elif opcode == isa.ALU64 | isa.AND | isa.X:
            registers[dst] = a & b
        elif opcode == isa.ALU64 | isa.LSH | isa.X:
            registers[dst] = a << (b & U64(63))
        elif opcode == isa.ALU64 | isa.RSH | isa.X:
            registers[dst] = a >> (b & U64(63))
        elif opcode == isa.ALU64 | isa.NEG:
            registers[dst] = ZERO - a
        elif opcode == isa.ALU64 | isa.MOD | isa.X:
            registers[dst] = modulo(a, b)
        elif opcode == isa.ALU64 | isa.MOD | isa.K:
            registers[dst] = signed_modulo(a, b)
        elif opcode == isa.ALU64 | isa.XOR | isa.X:
            registers[dst] = a ^ b
        elif opcode == isa.ALU64 | isa.MOV | isa.X:
            registers[dst] = b
        elif opcode == isa.ALU64 | isa.MOV | isa.K:
            registers[dst] = extend(argument, b)
        elif opcode == isa.ALU64 | isa.ARSH | isa.X:
            registers[dst] = shift_signed(a, b & U64(63))
        elif opcode == isa.ALU64 | isa.END:
            registers[dst] = bswap(b, a)
        elif opcode == isa.ALU | isa.ADD | isa.X:
            registers[dst] = a + b & LOW32
        elif opcode == isa.ALU | isa.SUB | isa.X:
            registers[dst] = a - b & LOW32
        elif opcode == isa.ALU | isa.MUL | isa.X:
            registers[dst] = a * b & LOW32
        elif opcode == isa.ALU | isa.DIV | isa.X:
            registers[dst] = divide(a & LOW32, b & LOW32)
        elif opcode == isa.ALU | isa.DIV | isa.K:
            registers[dst] = signed_divide(signed32(a), signed32(b)) & LOW32
        elif opcode == isa.ALU | isa.OR | isa.X:
            registers[dst] = (a | b) & LOW32
        elif opcode == isa.ALU | isa.AND | isa.X:
            registers[dst] = a & b & LOW32
        elif opcode == isa.ALU | isa.LSH | isa.X:
            registers[dst] = a << (b & U64(31)) & LOW32
        elif opcode == isa.ALU | isa.RSH | isa.X:
            registers[dst] = (a & LOW32) >> (b & U64(31))
        elif opcode == isa.ALU | isa.NEG:
            registers[dst] = ZERO - a & LOW32
        elif opcode == isa.ALU | isa.MOD | isa.X:
            registers[dst] = modulo(a & LOW32, b & LOW32)
        elif opcode == isa.ALU | isa.MOD | isa.K:
            registers[dst] = signed_modulo(signed32(a), signed32(b)) & LOW32
        elif opcode == isa.ALU | isa.XOR | isa.X:
            registers[dst] = (a ^ b) & LOW32
        elif opcode == isa.ALU | isa.MOV | isa.X:
            registers[dst] = b & LOW32
        elif opcode == isa.ALU | isa.MOV | isa.K:
            registers[dst] = extend(argument, b) & LOW32
        elif opcode == isa.ALU | isa.ARSH | isa.X:
            registers[dst] = shift_signed(signed32(a), b & U64(31)) & LOW32
        elif opcode == isa.ALU | isa.END:
            registers[dst] = keep(b, a)
        elif opcode == isa.JMP | isa.JA:
            pc += argument
        elif opcode == isa.JMP | isa.JEQ | isa.X:
            if a == b:
                pc += argument
        elif opcode == isa.JMP | isa.JGT | isa.X:
            if a > b:
                pc += argument
        elif opcode == isa.JMP | isa.JGE | isa.X:
            if a >= b:
                pc += argument
        elif opcode == isa.JMP | isa.JNE | isa.X:
            if a != b:
                pc += argument
        elif opcode == isa.JMP | isa.JLT | isa.X:
            if a < b:
                pc += argument
        elif opcode == isa.JMP | isa.JLE | isa.X:
            if a <= b:
                pc += argument
        elif opcode == isa.JMP | isa.JSGT | isa.X:
            if I64(a) > I64(b):
                pc += argument
        elif opcode == isa.JMP | isa.JSGE | isa.X:
            if I64(a) >= I64(b):
                pc += argument
        elif opcode == isa.JMP | isa.JSLT | isa.X:
            if I64(a) < I64(b):
                pc += argument
        elif opcode == isa.JMP | isa.JSLE | isa.X:
            if I64(a) <= I64(b):
                pc += argument
        elif opcode == isa.JMP | isa.JSET | isa.X:
            if a & b != ZERO:
                pc += argument
        elif opcode == isa.JMP32 | isa.JEQ | isa.X:
            if a & LOW32 == b & LOW32:
                pc += argument
        elif opcode == isa.JMP32 | isa.JGT | isa.X:
            if a & LOW32 > b & LOW32:
                pc += argument
        elif opcode == isa.JMP32 | isa.JGE | isa.X:
            if a & LOW32 >= b & LOW32:
                pc += argument
        elif opcode == isa.JMP32 | isa.JNE | isa.X:
            if a & LOW32 != b & LOW32:
                pc += argument
        elif opcode == isa.JMP32 | isa.JLT | isa.X:
            if a & LOW32 < b & LOW32:
                pc += argument
        elif opcode == isa.JMP32 | isa.JLE | isa.X:
            if a & LOW32 <= b & LOW32:
                pc += argument
        elif opcode == isa.JMP32 | isa.JSGT | isa.X:
            if I32(a) > I32(b):
                pc += argument
        elif opcode == isa.JMP32 | isa.JSGE | isa.X:
            if I32(a) >= I32(b):
                pc += argument
        elif opcode == isa.JMP32 | isa.JSLT | isa.X:
            if I32(a) < I32(b):
                pc += argument
        elif opcode == isa.JMP32 | isa.JSLE | isa.X:
            if I32(a) <= I32(b):
                pc += argument
        elif opcode == isa.JMP32 | isa.JSET | isa.X:
            if a & b & LOW32 != ZERO:
                pc += argument
        elif opcode == isa.LDX | isa.MEM | isa.B:
            at = locate(regions, b + U64(argument), 1, HIGH, state)
            if at == ZERO:
                event = FAULT
                break
            registers[dst] = U64(load8(at, 0))
        elif opcode == isa.LDX | isa.MEM | isa.H:
            at = locate(regions, b + U64(argument), 2, HIGH, state)
            if at == ZERO:
                event = FAULT
                break
            registers[dst] = U64(load16(at, 0))
        elif opcode == isa.LDX | isa.MEM | isa.W:
            at = locate(regions, b + U64(argument), 4, HIGH, state)
            if at == ZERO:
                event = FAULT
                break
            registers[dst] = U64(load32(at, 0))
        elif opcode == isa.LDX | isa.MEM | isa.DW:
            at = locate(regions, b + U64(argument), 8, HIGH, state)
            if at == ZERO:
                event = FAULT
                break
            registers[dst] = load64(at, 0)
        elif opcode == isa.LDX | isa.MEMSX | isa.B:
            at = locate(regions, b + U64(argument), 1, HIGH, state)
            if at == ZERO:
                event = FAULT
                break
            registers[dst] = extend(8, U64(load8(at, 0)))
        elif opcode == isa.LDX | isa.MEMSX | isa.H:
            at = locate(regions, b + U64(argument), 2, HIGH, state)
            if at == ZERO:
                event = FAULT
                break
            registers[dst] = extend(16, U64(load16(at, 0)))
        elif opcode == isa.LDX | isa.MEMSX | isa.W:
            at = locate(regions, b + U64(argument), 4, HIGH, state)
            if at == ZERO:
                event = FAULT
                break
            registers[dst] = extend(32, U64(load32(at, 0)))
        elif opcode == isa.STX | isa.MEM | isa.B:
            at = locate(regions, a + U64(argument), 1, WRITABLE, state)
            if at == ZERO:
                event = FAULT
                break
            store8(at, 0, I64(b))
        elif opcode == isa.STX | isa.MEM | isa.H:
            at = locate(regions, a + U64(argument), 2, WRITABLE, state)
            if at == ZERO:
                event = FAULT
                break
            store16(at, 0, I64(b))
        elif opcode == isa.STX | isa.MEM | isa.W:
            at = locate(regions, a + U64(argument), 4, WRITABLE, state)
            if at == ZERO:
                event = FAULT
                break
            store32(at, 0, I64(b))
        elif opcode == isa.STX | isa.MEM | isa.DW:
            at = locate(regions, a + U64(argument), 8, WRITABLE, state)
            if at == ZERO:
                event = FAULT
                break
            store64(at, 0, b)
        elif opcode == isa.STX | isa.ATOMIC | isa.W:
            at = locate(regions, a + U64(I64(I16(argument))), 4, WRITABLE, state)
            if at == ZERO:
                event = FAULT
                break
            atomic(argument >> 16, registers, src, at, False)
        elif opcode == isa.STX | isa.ATOMIC | isa.DW:
            at = locate(regions, a + U64(I64(I16(argument))), 8, WRITABLE, state)
            if at == ZERO:
                event = FAULT
                break
            atomic(argument >> 16, registers, src, at, True)
        elif opcode == isa.LDDW:
            registers[dst] = b
        elif opcode == isa.JMP | isa.CALL | isa.K:
            if state[DEPTH] + 1 >= MAX_FRAMES:
                event = TOO_DEEP
                break
            enter(registers, regions, frames, state, pc)
            pc += argument
        elif opcode == isa.JMP | isa.EXIT:
            if state[DEPTH] == 0:
                event = EXITED
                break
            pc = leave(registers, regions, frames, state)
        else:  # whatever `vm` has to do: helpers, and the packet loads of old
            event = TRAP
            break
    state[PC], state[LEFT] = (pc if event in (LIMIT, FELL_OFF) else pc - 1), left
    return event
