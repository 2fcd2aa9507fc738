"""Run the sources and write the notebooks.

Rule of this file: the only one with a kernel. A product is replaced whole or, when a cell fails, not at all.

Theory. Deterministic cells give the same bytes again, so a second build changes nothing. Cells tagged
`nbval-ignore-output` hold measurements; as long as no code cell of the notebook has changed, their stored outputs
stay (`--fresh` measures again). The run happens anyway: what no longer works fails here.
"""

from __future__ import annotations

import os
import re
import sys
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError
from nbformat import NotebookNode
from traitlets.config import Config

import lbcore
from lbcore.notebooks import normal
from lbcore.notebooks.source import Draft, Product, draft

CELL_SECONDS = 120
MEASURED = "nbval-ignore-output"
ANSI = re.compile(r"\x1b\[[0-9;]*m")


class CellFailed(Exception):
    """A cell did not run; the text starts with the source's file and line."""


def build(product: Product, everything: Iterable[Product], root: Path, *, fresh: bool = False) -> bool:
    """Make one product; True when the file changed.

    Raises CellFailed when a cell fails (the old product stays), ValueError when the source is malformed.
    """
    made = draft(product, everything)
    notebook = made.notebook
    if product.runs:
        run(product, made)
        normalise(notebook, normal.rules(root / "tests" / "nbval_sanitize.cfg"))
        if not fresh:
            keep_measured(notebook, product.path)
        refuse_paths(product, made, root)
    notebook.metadata["book"]["source"] = normal.source_digest(notebook)
    notebook.metadata["book"]["outputs"] = normal.output_digest(notebook)
    nbformat.validate(notebook)
    return write(product.path, normal.dumps(notebook))


def run(product: Product, made: Draft) -> None:
    """Execute the draft's cells in place, in the product's folder."""
    current = 0

    def note(cell: NotebookNode, cell_index: int) -> None:
        nonlocal current
        current = cell_index

    product.path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="lbcore-build-") as scratch:
        client = NotebookClient(
            made.notebook,
            timeout=CELL_SECONDS,
            record_timing=False,
            resources={"metadata": {"path": str(product.path.parent)}},
            on_cell_execute=note,
            config=kernel_config(Path(scratch)),
        )
        try:
            client.execute(env=environment(Path(scratch)))
        except (CellExecutionError, CellTimeoutError, DeadKernelError) as error:
            raise CellFailed(explain(product, made, current, error)) from error


def kernel_config(scratch: Path) -> Config:
    """This Python's kernel, whatever the user may have called python3, reached through files that only we can read."""
    return Config(
        KernelSpecManager={"kernel_dirs": [f"{sys.prefix}/share/jupyter/kernels"]},
        KernelManager={"transport": "ipc", "ip": f"{scratch}/kernel", "connection_file": f"{scratch}/kernel.json"},
    )


def environment(scratch: Path) -> dict[str, str]:
    """The kernel's environment: this machine's own tier, our lbcore first, nothing of the user's IPython."""
    (scratch / "matplotlibrc").write_text("svg.hashsalt: lbcore\n", encoding="utf-8")
    path = [str(Path(lbcore.__file__).parents[1]), *filter(None, [os.environ.get("PYTHONPATH")])]
    ours = {
        "PYTHONPATH": os.pathsep.join(path),
        "PYTHONHASHSEED": "0",
        "IPYTHONDIR": str(scratch),
        "MATPLOTLIBRC": str(scratch / "matplotlibrc"),
        "SOURCE_DATE_EPOCH": "0",  # the date in an SVG
    }
    return {key: value for key, value in os.environ.items() if key not in ("LBCORE_TIER", "MPLBACKEND")} | ours


def explain(product: Product, made: Draft, index: int, error: Exception) -> str:
    """What an author needs: file and line in the source, the exception, and the way to it."""
    cell, start = made.notebook.cells[index], made.lines[index] or 1
    failed: Any = next((output for output in cell.outputs if output.output_type == "error"), None)
    trace = ANSI.sub("", "\n".join(failed.traceback)) if failed else ""
    if isinstance(error, CellTimeoutError):
        what, trace = f"still running after {CELL_SECONDS} s", ""  # the interrupt's trace is not the author's
    elif failed:
        what = f"{failed.ename}: {failed.evalue}"
    else:
        what = "the kernel died"
    count = 1 + sum(map(normal.executed, made.notebook.cells[:index]))
    frames = re.findall(rf"Cell In\[{count}\], line (\d+)", trace)
    line = start + int(frames[-1]) - 1 if frames else start
    indented = "".join(f"    {text}\n" for text in trace.splitlines())
    return f"{product.entry.path}:{line}: {what}\n{indented}  {product.path} is as it was"


def normalise(notebook: NotebookNode, sanitise: normal.Rules) -> None:
    """Bring what a run left in the notebook into normal form."""
    count = 0
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)
        if normal.executed(cell):
            count += 1
            cell.execution_count = count
            cell.outputs = normal.outputs(cell.outputs, count, sanitise)
    notebook.metadata.pop("widgets", None)
    notebook.metadata["language_info"] = NotebookNode(name="python")


def keep_measured(notebook: NotebookNode, path: Path) -> None:
    """Put back the stored outputs of measured cells if no code has changed and nobody touched the product."""
    try:
        old = normal.read(path)
        intact = old.metadata["book"]["outputs"] == normal.output_digest(old)
    except (FileNotFoundError, KeyError, ValueError):  # no old product, or not one of ours: nothing to keep
        return
    before, now = ([cell for cell in one.cells if cell.cell_type == "code"] for one in (old, notebook))
    if not intact or [cell.id for cell in before] != [cell.id for cell in now]:
        return
    for stored, cell in zip(before, now, strict=True):
        if all(MEASURED in one.metadata.get("tags", []) for one in (stored, cell)):
            cell.outputs = stored.outputs


def refuse_paths(product: Product, made: Draft, root: Path) -> None:
    """Raise CellFailed when an output shows where on this machine the book was built."""
    private = [f"{folder}{os.sep}" for folder in (root.resolve(), Path.home()) if len(folder.parts) > 1]
    for cell, line in zip(made.notebook.cells, made.lines, strict=True):
        text = str([words(output) for output in cell.get("outputs", [])])
        for found in (path for path in private if path in text):
            raise CellFailed(
                f"{product.entry.path}:{line}: the output shows a path of this machine, {found}; "
                f"print a relative one; {product.path} is as it was"
            )


def words(output: NotebookNode) -> dict[str, Any]:
    """An output without its pictures, whose base64 may spell anything."""
    data = {kind: value for kind, value in output.get("data", {}).items() if not kind.startswith("image/")}
    return {**output, "data": data}


def write(path: Path, text: str) -> bool:
    """Replace the file at once, if its text differs; True when it did."""
    if path.exists() and path.read_text(encoding="utf-8") == text:
        return False
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".part")
    part.write_text(text, encoding="utf-8", newline="\n")
    part.replace(path)
    return True


def main(products: list[Product], chosen: list[Product], root: Path, *, fresh: bool) -> int:
    """Build what was chosen, a line each; the exit status is 1 when any failed."""
    failures = 0
    for product in chosen:
        began = time.monotonic()
        name = product.path.relative_to(root)
        try:
            changed = build(product, products, root, fresh=fresh)
        except (CellFailed, ValueError) as error:
            failures += 1
            print(f"{name}: failed\n  {error}", file=sys.stderr)
        else:
            print(f"{name}: {'built' if changed else 'unchanged'} in {time.monotonic() - began:.1f} s", flush=True)
    return int(failures > 0)
