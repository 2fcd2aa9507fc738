"""Text and bytes: each way is the other's inverse, LLVM agrees, and bad text is told so at its line and token."""

from __future__ import annotations

import re
import subprocess
from dataclasses import replace
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lbcore.ebpf import assembler, forms, isa
from lbcore.ebpf.assembler import AssemblyError, assemble, disassemble
from lbcore.ebpf.isa import Instruction
from tests import needs
from tests.ebpf.programs import INSTRUCTIONS, instruction

WORDS = sorted({token for form in forms.FORMS for text in form.texts for token in re.findall(r"[\w.]+|\S", text)})


@given(st.lists(INSTRUCTIONS, max_size=20))
def test_what_is_printed_is_read_again(program: list[Instruction]) -> None:
    code = isa.encode(program)
    assert isa.decode(code) == program
    assert assemble("\n".join(disassemble(code))) == code


@given(st.binary(max_size=160).map(lambda noise: noise[: len(noise) // 8 * 8]))
def test_noise_is_printed_and_read_again(noise: bytes) -> None:
    assert assemble("\n".join(disassemble(noise))) == noise


def left_out(form: forms.Form, text: str) -> list[str]:
    """Operands of the form that this way to write it has no place for, because they are zero."""
    return [name for name in ("offset", "imm") if f"{{{name}" in form.texts[0] and f"{{{name}" not in text]


@pytest.mark.parametrize("form", forms.FORMS, ids=lambda form: f"{form.name} {form.opcode:#x}")
def test_every_way_to_write_a_form_means_it(form: forms.Form) -> None:
    random = Random(form.opcode)
    for _ in range(20):
        one = instruction(random, form)
        for text in form.texts:
            of = replace(one, **dict.fromkeys(left_out(form, text), 0))
            fields = {name: getattr(of, name) for name in ("dst", "src", "offset", "imm", "low", "high")}
            assert isa.decode(assemble(text.format_map(fields))) == [of], text


@given(INSTRUCTIONS, st.sampled_from(["dst", "src", "offset", "imm"]))
def test_a_field_that_must_be_zero_makes_an_instruction_none(one: Instruction, field: str) -> None:
    form = forms.find(one)
    assert form is not None
    changed = Instruction(**{n: getattr(one, n) for n in ("opcode", "dst", "src", "offset", "imm")} | {field: 9})
    other = forms.find(changed)
    if field in form.fixed:  # unless it became another instruction: another source of a wide load, another atomic
        assert other is None or other.name != form.name
    else:
        assert other == form or field == "imm"


@needs.command("llvm-mc")
def test_llvm_encodes_the_same() -> None:
    """Of the lines that LLVM's assembler takes (it has its own manner), each gives the same bytes."""
    random = Random(0)
    lines, ours = [], []
    for form in (form for form in forms.FORMS if not form.name.startswith("call")):  # to LLVM those are symbols
        for text in dict.fromkeys(text.replace(" pc", " ") for text in form.texts):
            one = instruction(random, form, imm=random.randrange(2, 2**30), offset=random.randrange(-4000, 4000) * 8)
            fields = {name: getattr(one, name) for name in ("dst", "src", "offset", "imm", "low", "high")}
            line = text.format_map(fields)
            if not left_out(form, text):
                lines.append(re.sub(r" ([+-])(\d+)\)", r" \1 \2)", line))
                ours.append(isa.encode([one]))
    command = ["llvm-mc", "-triple=bpfel", "-mcpu=v3", "--show-encoding"]
    done = subprocess.run(command, input="\n".join(lines), capture_output=True, text=True, check=False)
    refused = {int(number) for number in re.findall(r"<stdin>:(\d+):\d+: error", done.stderr)}
    theirs = [bytes(int(b, 16) for b in found.split(",")) for found in re.findall(r"encoding: \[(.*)\]", done.stdout)]
    accepted = [n for n in range(len(lines)) if n + 1 not in refused]
    assert len(accepted) == len(theirs) > 90
    differ = [lines[n] for n, code in zip(accepted, theirs, strict=True) if code != ours[n]]
    assert not differ


def test_both_dialects_say_the_same() -> None:
    kernel = """
        r0 = 0 ; from the top
        r2 = 0x1122334455667788 ll
    again:
        if r1 == 7 goto done   // labels
        w1 += -1
        *(u32 *)(r10 - 4) = r1
        r3 = *(s8 *)(r10 -4)
        lock *(u64 *)(r10 -16) += r2
        r2 = atomic64_fetch_add((u64 *)(r10 -16), r2)
        goto again
    done: exit
    """
    mnemonics = """
        mov %r0, 0 # from the top
        lddw %r2, 0x1122334455667788
    again: jeq %r1, 7, exit
        add32 %r1, 0xffffffff
        stxw [%r10-4], %r1
        ldxsb %r3, [%r10-4]
        lock add [%r10-16], %r2
        lock fetch add [%r10-16], %r2
        ja again
        exit
    """
    assert assemble(kernel) == assemble(mnemonics)
    assert disassemble(assemble(kernel))[2] == "if r1 == 0x7 goto pc+6"


@pytest.mark.parametrize(
    ("text", "line", "token", "hint"),
    [
        ("r0 = 1\nfoo r1", 2, "foo", "an instruction starts with a register"),
        ("movv r1, 2", 1, "movv", "no such instruction; there is `mov`"),
        ("r11 = 4", 1, "r11", "a register from 0 to 10"),
        ("r1 = 0x1ffffffff", 1, "0x1ffffffff", "from -2147483648 to 4294967295"),
        ("r1 +=", 1, "", "a register r0 to r10 or a number"),
        ("r1 += w2", 1, "w2", "a register r0 to r10 or a number"),
        ("if r1 > 5 goto away", 1, "away", "no such label"),
        ("x: exit\nx: exit", 2, "x", "there already"),
        ("add: exit", 1, "add", "a label is a name of its own"),
        ("ldxw r1, [r2 + 40000]", 1, "+ 40000", "an offset from -32768 to 32767"),
        ("r1 = atomic_fetch_add((u64 *)(r2 + 0), r3)", 1, "r3", "the same register again, r1"),
        ("r0 = cmpxchg_64(r1 + 0, r5, r2)", 1, "r5", "from 0 to 0"),
        ("r1 = 5 é", 1, "é", "no word"),
        ("exit\n\nexit exit", 3, "exit", "expected end of line"),
    ],
)
def test_errors_name_line_token_and_what_would_be_right(text: str, line: int, token: str, hint: str) -> None:
    with pytest.raises(AssemblyError) as caught:
        assemble(text)
    assert (caught.value.line, caught.value.token) == (line, token)
    assert hint in caught.value.expected


def test_a_label_too_far_away_is_told_so() -> None:
    with pytest.raises(AssemblyError, match="32769"):
        assemble("if r1 > 5 goto far\n" + "r0 = 1\n" * 32769 + "far: exit")
    assemble("gotol far\n" + "r0 = 1\n" * 32769 + "far: exit")


@given(
    st.lists(st.lists(st.sampled_from([*WORDS, "r1", "%r10", "-4", "0x7f", "x:", "x", "#", "+"]) | st.text(max_size=4)))
)
def test_any_text_is_read_or_refused(lines: list[list[str]]) -> None:
    text = "\n".join(" ".join(words) for words in lines)
    try:
        assert len(assemble(text)) % 8 == 0
    except AssemblyError as refused:
        error = refused
    else:
        return
    assert 1 <= error.line <= len(text.splitlines())
    assert error.expected


@given(INSTRUCTIONS, st.integers(0, 60), st.text(max_size=2))
def test_a_line_with_a_mistake_is_read_or_refused(one: Instruction, at: int, typo: str) -> None:
    (line,) = disassemble(isa.encode([one]))
    text = line[:at] + typo + line[at + 1 :]
    try:
        isa.decode(assemble(text))
    except AssemblyError as refused:
        error = refused
    else:
        return
    assert error.line >= 1


@pytest.mark.parametrize("size", [1, 7, 9])
def test_code_is_made_of_whole_instructions(size: int) -> None:
    with pytest.raises(isa.BadCode, match="8 bytes each"):
        disassemble(bytes(size))
    with pytest.raises(isa.BadCode, match="8 bytes each"):
        isa.decode(bytes(size))


def test_a_wide_load_needs_its_second_half() -> None:
    wide = assemble("r1 = 1 ll")
    with pytest.raises(isa.BadCode, match="ends within"):
        isa.decode(wide[:8])
    with pytest.raises(isa.BadCode, match="instruction 3"):
        isa.decode(wide + wide[:8] + assemble("exit"))


def test_describe_shows_what_is_no_instruction() -> None:
    assert "255" in assembler.describe(Instruction(0xFF))
