"""Assembler and disassembler: programs as text.

Rule of this file: it knows words and lines; what can be written is the table in `forms`.

Theory. Every template of the table is cut into tokens; registers, numbers and labels become the marks `%r`, `%w`,
`#` and `@`, and all the token sequences are merged into one tree. Reading a line is a walk down that tree, and where
the walk gets stuck, the branches that were there are what would have been right.

Reading what `disassemble` printed gives the same bytes again, for any bytes at all: slots that are no instruction are
printed as `.8byte`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from difflib import get_close_matches
from typing import Any, NamedTuple

from lbcore.ebpf import forms, isa
from lbcore.ebpf.forms import FORMS, Form
from lbcore.ebpf.isa import Instruction


class AssemblyError(ValueError):
    """A line that cannot be read: `line` (from 1), `token` (what stands there), `expected` (what would be right)."""

    def __init__(self, line: int, token: str, expected: str) -> None:
        super().__init__(f"line {line}: {token or 'end of line'}: {expected}")
        self.line, self.token, self.expected = line, token, expected


class Token(NamedTuple):
    """`mark` is what the grammar sees: %r, %w, # (a number), @ (a label), or the word or sign itself."""

    mark: str
    text: str
    value: int = 0


_TOKEN = re.compile(
    r"""(?P<blank>\s+|//.*|(?:(?<=\s)|^)\#.*|;.*)
      | %?(?P<register>[rw])(?P<index>\d+)\b
      | (?P<number>[+-]?\s*(?:0x[0-9a-f]+|\d+))\b
      | [a-z_.][\w.]*\#(?P<called>\d+)\b
      | (?P<operator>s?(?:<<|>>|[/%])=|s[<>]=?|[-+*&|^=!<>]=|[-+*&=<>()\[\],:])
      | (?P<word>[a-z_.$][\w.$]*)
      | (?P<unknown>.)""",
    re.VERBOSE | re.IGNORECASE,
)

_MARKS = {
    "%r": "a register r0 to r10",
    "%w": "a 32-bit register w0 to w10",
    "#": "a number",
    "@": "a label",
    "": "end of line",
}

_OPERANDS = ("%r", "%w", "#")

_RANGES = {
    # field: smallest, largest as written; immediates may be written as signed or as unsigned bits
    "offset": (-(1 << 15), (1 << 15) - 1),
    "imm": (-(1 << 31), (1 << 32) - 1),
    "low": (-(1 << 31), (1 << 32) - 1),
    "high": (-(1 << 31), (1 << 32) - 1),
    "wide": (-(1 << 63), (1 << 64) - 1),
    "zero": (0, 0),
}
_NAMES = {"offset": "an offset", "imm": "a number", "low": "a number", "high": "an offset", "wide": "a number"}


def assemble(text: str) -> bytes:
    """The program written in `text`, one instruction a line, `label:` before any of them.

    Comments start with `#`, `//` or `;`. A jump to `exit` means the last `exit` unless there is a label of that name.
    Raises AssemblyError.
    """
    labels: dict[str, int] = {}
    found: list[tuple[int, _Line]] = []
    slot = 0
    for number, line in enumerate(text.splitlines(), 1):
        tokens = list(_tokens(number, line))
        while len(tokens) > 1 and tokens[1].mark == ":":
            _define(labels, number, tokens, slot)
            del tokens[:2]
        if tokens:
            read = _read(number, tokens)
            found.append((slot, read))
            slot += read.slots
    exits = [slot for slot, read in found if read.name == "exit"]
    if exits:
        labels.setdefault("exit", exits[-1])
    return b"".join(read.encode(slot, labels) for slot, read in found)


def disassemble(code: bytes) -> list[str]:
    """`code` as text, an item for each instruction, as the kernel writes it.

    What RFC 9669 does not define is printed as `.8byte`, slot by slot. Raises BadCode for a length that is no multiple
    of 8 bytes.
    """
    if len(code) % isa.SLOT:
        raise isa.BadCode(len(code) // isa.SLOT, f"code: {len(code)} bytes; instructions are {isa.SLOT} bytes each")
    lines = []
    at = 0
    while at < len(code):
        instruction = _decode_one(code, at)
        lines.append(describe(instruction) if instruction else f".8byte {_word(code, at):#x}")
        at += isa.SLOT * (instruction.slots if instruction else 1)
    return lines


def describe(instruction: Instruction) -> str:
    """One instruction as text; one that is none is shown by its fields."""
    form = forms.find(instruction)
    return form.text(instruction) if form else f"{instruction}"


def _word(code: bytes, at: int) -> int:
    return int.from_bytes(code[at : at + isa.SLOT], "little")


def _decode_one(code: bytes, at: int) -> Instruction | None:
    """The instruction at byte `at`, if there is one that text can say."""
    size = 2 * isa.SLOT if code[at] == isa.LDDW else isa.SLOT
    try:
        (instruction,) = isa.decode(code[at : at + size])
    except isa.BadCode:
        return None
    known = forms.find(instruction) and max(instruction.dst, instruction.src) < 11
    return instruction if known else None


# ---- reading a line ----


class _Line(NamedTuple):
    """An instruction read, its jump perhaps still a label."""

    number: int
    form: Form | None
    fields: dict[str, int]
    label: tuple[str, Token] | None = None

    @property
    def name(self) -> str:
        return self.form.name if self.form else ".8byte"

    @property
    def slots(self) -> int:
        return 2 if self.form and self.form.opcode == isa.LDDW else 1

    def encode(self, slot: int, labels: dict[str, int]) -> bytes:
        if self.form is None:
            return (self.fields["imm"] & (1 << 64) - 1).to_bytes(isa.SLOT, "little")
        fields = self.form.fixed | self.fields
        if self.label:
            field, token = self.label
            if token.text not in labels:
                raise AssemblyError(
                    self.number, token.text, f"no such label; defined are: {', '.join(labels) or 'none'}"
                )
            distance = labels[token.text] - slot - 1
            fields[field] = _ranged(self.number, token._replace(value=distance), field)
        if self.form.opcode == isa.LDDW:
            low, high = fields.pop("low", 0), fields.pop("high", 0)
            fields["imm"] = fields.get("imm", (high & 0xFFFFFFFF) << 32 | low & 0xFFFFFFFF) & (1 << 64) - 1
        return isa.encode([Instruction(self.form.opcode, **fields)])


def _tokens(number: int, line: str) -> Iterator[Token]:
    for match in _TOKEN.finditer(line):
        text = match[0]
        if match["register"]:
            yield Token("%" + match["register"].lower(), text, _number(number, text, match["index"]))
        elif match["number"]:
            yield Token("#", text, _number(number, text, match["number"]))
        elif match["called"]:
            yield Token("#", text, _number(number, text, match["called"]))
        elif match["unknown"]:
            raise AssemblyError(number, text, "no word, number or sign of this language")
        elif match["operator"] or match["word"]:
            yield Token(text, text)


def _number(line: int, text: str, digits: str) -> int:
    digits = re.sub(r"\s", "", digits)
    if len(digits) > 24:
        raise AssemblyError(line, text, "at most 64 bits")
    return int(digits, 16 if "x" in digits.lower() else 10)


def _define(labels: dict[str, int], number: int, tokens: list[Token], slot: int) -> None:
    name = tokens[0].text
    if not _is_name(name) or tokens[0].mark in _OPERANDS:
        raise AssemblyError(
            number, name, "a label is a name of its own: letters, digits, _ . $, no word of the language"
        )
    if name in labels:
        raise AssemblyError(number, name, "this label is there already")
    labels[name] = slot


def _read(number: int, tokens: list[Token]) -> _Line:
    """The instruction that the tokens of a line make."""
    node = _TREE
    for position, token in enumerate(tokens):
        mark = "@" if token.mark not in node and "@" in node and _is_name(token.text) else token.mark
        if mark not in node:
            raise AssemblyError(number, token.text, f"expected {_choices(node)}" if position else _no_such(token.text))
        node = node[mark]
    if "" not in node:
        raise AssemblyError(number, "", f"expected {_choices(node)}")
    form, names = node[""]
    if form is None:
        return _Line(number, None, {"imm": _ranged(number, tokens[1], "wide")})
    fields: dict[str, int] = {}
    label = None
    for name, token in zip(names, tokens, strict=True):
        if name and token.mark in _OPERANDS:
            value = _ranged(number, token, "wide" if (name, form.opcode) == ("imm", isa.LDDW) else name)
            if fields.setdefault(name, value) != value:
                raise AssemblyError(number, token.text, f"expected the same register again, r{fields[name]}")
        elif name:
            label = (name, token)
    fields.pop("zero", None)
    return _Line(number, form, fields, label)


def _ranged(number: int, token: Token, field: str) -> int:
    """The token's value as the field stores it."""
    low, high = _RANGES.get(field, (0, 10))
    if not low <= token.value <= high:
        far = f"; it is {token.value}" if token.mark not in _OPERANDS else ""
        raise AssemblyError(number, token.text, f"expected {_NAMES.get(field, 'a register')} from {low} to {high}{far}")
    if field in ("imm", "low", "high"):
        return (token.value & 0xFFFFFFFF ^ 0x80000000) - 0x80000000
    return token.value


def _is_name(text: str) -> bool:
    """Could this name a label?"""
    return bool(re.fullmatch(r"[A-Za-z_.$][\w.$]*", text)) and (text not in _WORDS or text == "exit")


def _choices(node: dict[str, Any]) -> str:
    """What may stand here, in words: operands first, then the words of the language, of many only some."""
    marks = [words for mark, words in _MARKS.items() if mark in node]
    words = sorted(f"`{mark}`" for mark in node if mark not in _MARKS)
    shown = marks + (words if len(words) <= 6 else [*words[:5], f"one of {len(words) - 5} more words"])
    return ", ".join(shown[:-1]) + " or " + shown[-1] if len(shown) > 1 else shown[0]


def _no_such(word: str) -> str:
    near = get_close_matches(word, [mark for mark in _TREE if _is_name(mark) or mark in _WORDS], 3)
    start = "; an instruction starts with a register, *(...), if, goto, call, exit, lock, or a mnemonic such as mov"
    return "no such instruction" + (f"; there is {' and '.join(f'`{one}`' for one in near)}" if near else start)


# ---- the tree of all forms ----

_SAMPLE = {"dst": 1, "src": 2, "offset": 3, "imm": 4, "low": 5, "high": 6}
_FIELD = {number: name for name, number in _SAMPLE.items()} | {0: "zero"}
_TARGETS = {"ja32": "imm", "call local": "imm"}


def _grow(tree: dict[str, Any], form: Form | None, text: str, target: str) -> None:
    """Put the template `text` into the tree; where `target` is an operand, a label will do as well."""
    tokens = list(_tokens(0, text.format_map(_SAMPLE)))
    names = tuple(_FIELD[token.value] if token.mark in _OPERANDS else "" for token in tokens)
    nodes = [tree]
    for token, name in zip(tokens, names, strict=True):
        marks = [token.mark]
        if name and name == target:
            marks.append("@")
        nodes = [node.setdefault(mark, {}) for node in nodes for mark in marks]
    for node in nodes:
        node.setdefault("", (form, names))


def _tree() -> dict[str, Any]:
    tree: dict[str, Any] = {}
    for form in FORMS:
        jumps = form.opcode & 0x07 in (isa.JMP, isa.JMP32)
        for text in form.texts:
            _grow(tree, form, text, _TARGETS.get(form.name, "offset" if jumps else ""))
    _grow(tree, None, ".8byte {imm}", "")
    return tree


def _words(tree: dict[str, Any]) -> set[str]:
    return {word for mark, node in tree.items() if mark for word in {mark} | _words(node)}


_TREE = _tree()
_WORDS = _words(_TREE)
