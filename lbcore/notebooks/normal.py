"""What is left of a run: outputs that a second run on the same code reproduces byte for byte.

Rule of this file: it never looks at sources; it takes away what differs between two equal runs, and nothing else.

Traps. Durations and hexadecimal numbers are this book's content and stay. Only what `tests/nbval_sanitize.cfg`
names (object addresses, uuids, kernel temp paths) is replaced, so build and test share one set of rules.
"""

from __future__ import annotations

import base64
import configparser
import hashlib
import json
import re
import struct
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import nbformat
from nbformat import NotebookNode

WIDGET_VIEW = "application/vnd.jupyter.widget-view+json"
PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
PNG_CHATTER = (b"tEXt", b"zTXt", b"iTXt", b"tIME", b"eXIf")  # software, versions, dates: not pixels
Rules = Sequence[tuple[re.Pattern[str], str]]


def rules(path: Path) -> Rules:
    """The sanitising rules of an nbval configuration; none when the file is absent."""
    parser = configparser.RawConfigParser()
    parser.read(path, encoding="utf-8")
    return [(re.compile(parser[name]["regex"]), parser[name]["replace"]) for name in parser.sections()]


def png(data: bytes) -> bytes:
    """A PNG without its text and time chunks (PNG specification, section 5.3). Raises ValueError for other bytes."""
    if not data.startswith(PNG_SIGNATURE):
        raise ValueError(f"not a PNG: it starts with {data[:8]!r}")
    kept, at = [PNG_SIGNATURE], len(PNG_SIGNATURE)
    while at < len(data):
        if at + 12 > len(data):
            raise ValueError(f"PNG cut off in the chunk at byte {at}")
        (length,) = struct.unpack_from(">I", data, at)
        end = at + 12 + length
        if end > len(data):
            raise ValueError(f"PNG cut off in the chunk at byte {at}")
        if data[at + 4 : at + 8] not in PNG_CHATTER:
            kept.append(data[at:end])
        at = end
    return b"".join(kept)


def outputs(raw: Iterable[NotebookNode], count: int, sanitise: Rules) -> list[NotebookNode]:
    """The outputs of one cell in normal form; `count` is the cell's execution count."""
    return [one for one in (tidy(output, count, sanitise) for output in merge_streams(raw)) if one is not None]


def merge_streams(raw: Iterable[NotebookNode]) -> Iterator[NotebookNode]:
    """Consecutive stream outputs as one for each name, stdout first: how a run slices them is chance."""
    run: dict[str, str] = {}
    for output in [*raw, None]:
        if output is not None and output.output_type == "stream":
            run[output.name] = run.get(output.name, "") + output.text
            continue
        for name in sorted(run, reverse=True):
            yield NotebookNode(output_type="stream", name=name, text=run[name])
        run = {}
        if output is not None:
            yield output


def tidy(output: NotebookNode, count: int, sanitise: Rules) -> NotebookNode | None:
    """One output without what changes from run to run; None when nothing is left."""
    if output.output_type == "stream":
        return NotebookNode(output_type="stream", name=output.name, text=replaced(output.text, sanitise))
    if output.output_type == "error":
        # Frames hold paths of the machine; nbval compares name and value.
        value = replaced(output.evalue, sanitise)
        lines = [f"{output.ename}: {value}"]
        return NotebookNode(output_type="error", ename=output.ename, evalue=value, traceback=lines)
    data = {kind: tidy_data(kind, value, sanitise) for kind, value in output.data.items() if kind != WIDGET_VIEW}
    if not data:
        return None
    counted = {"execution_count": count} if output.output_type == "execute_result" else {}
    return NotebookNode(output_type=output.output_type, data=NotebookNode(data), metadata=output.metadata, **counted)


def tidy_data(kind: str, value: Any, sanitise: Rules) -> Any:
    """One representation of an output: PNG without chatter, text without addresses, the rest as it is."""
    if kind == "image/png":
        return base64.b64encode(png(base64.b64decode(value))).decode("ascii")
    return replaced(value, sanitise) if isinstance(value, str) and kind.startswith("text/") else value


def replaced(text: str, sanitise: Rules) -> str:
    """`text` after every rule."""
    for pattern, replacement in sanitise:
        text = pattern.sub(replacement, text)
    return text


def executed(cell: NotebookNode) -> bool:
    """Whether a run executes this cell."""
    return cell.cell_type == "code" and "skip-execution" not in cell.metadata.get("tags", [])


def source_digest(notebook: NotebookNode) -> str:
    """SHA-256 of what the cells say: id, type, source, metadata, in order."""
    return digest([[cell.id, cell.cell_type, cell.source, cell.metadata] for cell in notebook.cells])


def output_digest(notebook: NotebookNode) -> str:
    """SHA-256 of what the cells gave: execution counts and outputs, in order."""
    return digest([[cell.execution_count, cell.outputs] for cell in notebook.cells if cell.cell_type == "code"])


def digest(value: Any) -> str:
    """SHA-256 of the value's canonical JSON."""
    text = json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def read(path: Path) -> NotebookNode:
    """The notebook in a file. Raises FileNotFoundError, or ValueError for anything that is not a valid notebook."""
    try:
        notebook = nbformat.reads(path.read_text(encoding="utf-8"), as_version=4)
        nbformat.validate(notebook)
    except FileNotFoundError:
        raise
    except Exception as error:  # JSON of an unforeseen shape fails in nbformat with whatever it meets first
        raise ValueError(f"{path}: not a valid notebook: {str(error).partition(chr(10))[0]}") from error
    return notebook


def dumps(notebook: NotebookNode) -> str:
    """The notebook's one way to be written: sorted keys, indent 1, a newline at the end."""
    return str(nbformat.writes(notebook, version=4)).rstrip("\n") + "\n"
