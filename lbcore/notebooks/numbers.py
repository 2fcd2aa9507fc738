"""Numbers in prose: each is computed next to where it stands, or its paragraph links a source.

Rule of this file: it judges digits that make a claim. A claim is a number with a unit or percent sign, a decimal
fraction, or anything from a thousand up. Names and places are not claims: code, formulas, links, addresses, ports,
years, versions, RFC, chapter and section numbers. Nor are questions (a prediction to make), quotations (a claim that is
being examined) and exercises (they set, they do not tell).

Theory. Next to means the nearest code cell before or after. It grounds a number when the number stands in its code
(comments and strings do not count) or in the text of its outputs. Prose rounds, so the match does: "about 90 %" is
grounded by 0.894, "2 million" by 1_998_000, "65,537" by 65537 alone.
"""

from __future__ import annotations

import ast
import operator
import re
from collections.abc import Callable, Iterator

from nbformat import NotebookNode

FENCE = re.compile(r"^(?P<fence>```+|~~~+).*?^(?P=fence)", re.MULTILINE | re.DOTALL)
CODE_SPAN = re.compile(r"(?P<ticks>`+)(?:.|\n)+?(?P=ticks)")
COMMENT = re.compile(r"<!--.*?-->", re.DOTALL)
SOURCE_LINK = re.compile(r"\]\((?:https?://|#|[^)]*\.ipynb)|<https?://|(?<![(\"'])https?://|\]\[[^\]]+\]")
EXERCISES = re.compile(r"^#+ .*\bexercises?\b", re.IGNORECASE | re.MULTILINE)
HEADING = re.compile(r"^#+ ", re.MULTILINE)

PLACES = (
    "chapter|lab|section|sections|rfc|exercise|step|layer|layers|tier|figure|table|equation|page|port|ports|version"
)
PLACES += "|python|linux|kernel|debian|ubuntu|tls|http|ssl|level|line|lines|slot|slots|backend|seed|draft|appendix"
NOT_CLAIMS = [
    re.compile(pattern, flags)
    for pattern, flags in (
        (r"\]\([^)]*\)|<https?://[^>]*>|https?://\S+", 0),  # where links lead
        (r"(?<![\w$])\$(?=\S)[^$\n]+(?<=\S)\$(?![\w$])", 0),  # formulas
        (r"\"[^\"\n]*\"|“[^”]*”", 0),  # quotations
        (r"[^.!?\n][^.!?]*\?(?=\s|[*_)]|$)", 0),  # questions
        (r"\b\d{1,3}(?:\.\d{1,3}){3}(?:/\d+)?(?::\d+)?", 0),  # IPv4, with prefix length or port
        (r"\b\d+(?:\.\d+){2,}\b", 0),  # versions and sections: 1.2.3
        (r"\b\d{4}-\d\d(?:-\d\d)?\b", 0),  # dates
        (rf"\b(?:{PLACES})s?[ /]\d[\d.]*(?:(?:, | and | or | to |, and |[-–])\d[\d.]*)*", re.IGNORECASE),
    )
]
UNITS = "ns µs us ms s seconds? minutes? hours? days? bytes? B [kKMGT]i?B bits? [kKMGT]?b(?:it)?/s [kKMGT]?B/s [MGk]?Hz"
UNITS += " [kM]?pps [kM]?rps cycles? times fold instructions? km dollars? euros? packets?/s requests?/s"
NUMBER = re.compile(
    r"(?<![\w.:#@/])(?<![A-Za-z]-)"
    r"(?P<digits>\d{1,3}(?:,\d{3}){1,9}(?:\.\d{1,30})?|\d{1,30}(?:\.\d{1,30})?)"
    r"(?P<scale> ?(?:thousand|million|billion|trillion)\b)?"
    rf"(?P<unit>x\b| ?(?:%|percent\b|per cent\b|×|(?:{'|'.join(UNITS.split())})(?![\w-])))?"
    r"(?![\w]|-[A-Za-z]|[.,:]\d)"
)
SCALES = {"thousand": 1e3, "million": 1e6, "billion": 1e9, "trillion": 1e12}
PREFIXES = {"k": 1e3, "K": 1e3, "M": 1e6, "G": 1e9, "T": 1e12}
SMALL_UNITS = {"ns": 1e-9, "µs": 1e-6, "us": 1e-6, "ms": 1e-3}
BIG, YEARS = 1000, range(1900, 2100)

OUTPUT_NUMBER = re.compile(r"(?<![\w.])-?\d[\d,_]*(?:\.\d+)?(?:e[+-]?\d+)?", re.IGNORECASE)
ARITHMETIC: dict[type[ast.operator], Callable[[float, float], float]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.Pow: operator.pow,
    ast.LShift: lambda value, bits: value * 2.0**bits,
}


def ungrounded(notebook: NotebookNode) -> Iterator[tuple[int, str]]:
    """(index of the Markdown cell, the number as written) for each claim without a computing cell or a source."""
    exercises = False
    for index, cell in enumerate(notebook.cells):
        if cell.cell_type != "markdown" or "generated" in cell.metadata.get("tags", []):
            continue
        if HEADING.search(cell.source):
            exercises = bool(EXERCISES.search(cell.source))
        if exercises:
            continue
        grounds = neighbours(notebook, index)
        for paragraph in re.split(r"\n(?:[ \t>]*\n)+", without_code(cell.source)):
            if not SOURCE_LINK.search(paragraph):
                yield from ((index, written) for written, readings in claims(paragraph) if not meets(readings, grounds))


def without_code(text: str) -> str:
    """Markdown without code blocks, diagrams, code spans and comments."""
    for pattern in (FENCE, CODE_SPAN, COMMENT):
        text = pattern.sub(" ` ", text)
    return text


def claims(paragraph: str) -> Iterator[tuple[str, list[tuple[float, float]]]]:
    """(the number as written, its readings) of each claim in a paragraph of Markdown without code."""
    for pattern in NOT_CLAIMS:
        paragraph = pattern.sub(" ` ", paragraph)
    for found in NUMBER.finditer(paragraph):
        digits = found["digits"].replace(",", "")
        bare = not (found["scale"] or found["unit"])
        if bare and "." not in digits and (int(digits) < BIG or ("," not in found["digits"] and int(digits) in YEARS)):
            continue
        yield found[0].strip(), readings(digits, (found["scale"] or "").strip(), (found["unit"] or "").strip())


def readings(digits: str, scale: str, unit: str) -> list[tuple[float, float]]:
    """(value, tolerance) of each way in which code or output may write the number."""
    value = float(digits)
    whole, _, fraction = digits.partition(".")
    last = 10.0 ** -len(fraction) if fraction else 10.0 ** (len(whole) - len(whole.rstrip("0"))) if value else 1.0
    tolerance = min(0.5 * last, max(0.1 * value, 0.5)) if not fraction else 0.5 * last
    factors = [SCALES.get(scale, 1.0)]
    if unit in ("%", "percent", "per cent"):
        factors.append(0.01)
    if len(unit) > 1 and unit[0] in PREFIXES:
        factors += [factors[0] * PREFIXES[unit[0]], factors[0] * 1024.0 ** (1 + "KMGT".index(unit[0].upper()))]
    factors += [factors[0] * SMALL_UNITS[unit]] if unit in SMALL_UNITS else []
    factors += [1.0] if scale else []
    return [(value * factor, tolerance * factor * (1 + 1e-9)) for factor in factors]


def meets(wanted: list[tuple[float, float]], grounds: set[float]) -> bool:
    """Whether some number of the neighbours is what a reading means."""
    return any(abs(ground - value) <= tolerance for value, tolerance in wanted for ground in grounds)


def neighbours(notebook: NotebookNode, index: int) -> set[float]:
    """The numbers in code and text output of the nearest code cells before and after the cell at `index`."""
    before = [cell for cell in notebook.cells[:index] if cell.cell_type == "code"][-1:]
    after = [cell for cell in notebook.cells[index:] if cell.cell_type == "code"][:1]
    return {number for cell in before + after for number in (*in_code(cell.source), *in_outputs(cell.outputs))}


def in_code(source: str) -> Iterator[float]:
    """Numbers written in Python code, constant arithmetic (2**16, 64 * 1024) worked out."""
    try:
        tree = ast.parse("\n".join(line for line in source.splitlines() if not line.startswith(("%", "!"))))
    except SyntaxError:
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.expr) and (value := constant(node)) is not None:
            yield value


def constant(node: ast.expr) -> float | None:
    """The value of a number or of arithmetic on numbers; None for anything else, and where there is no such value."""
    if isinstance(node, ast.Constant) and isinstance(node.value, int | float):
        return float(node.value) if abs(node.value) < 1e30 else None
    if not isinstance(node, ast.BinOp) or type(node.op) not in ARITHMETIC:
        return None
    left, right = constant(node.left), constant(node.right)
    if left is None or right is None or left < 0:  # a negative base could leave the real numbers
        return None
    try:
        return ARITHMETIC[type(node.op)](left, right)
    except (OverflowError, ZeroDivisionError):
        return None


def in_outputs(outputs: list[NotebookNode]) -> Iterator[float]:
    """Numbers in what a cell printed or displayed as text."""
    for output in outputs:
        data = output.get("data", {})
        text = "\n".join([output.get("text", ""), data.get("text/plain", ""), data.get("text/markdown", "")])
        text += re.sub(r"<[^>]*>", " ", data.get("text/html", ""))
        for found in OUTPUT_NUMBER.finditer(text):
            yield float(found[0].replace(",", "").replace("_", ""))
