"""A lab's master, cell by cell."""

import ast
from pathlib import Path

import jupytext


def cells(name):
    """The code cells of a master."""
    master = Path(__file__).parents[2] / "labs" / "src" / f"{name}.py"
    return [cell.source for cell in jupytext.read(master, fmt="py:percent").cells if cell.cell_type == "code"]


def run_cell(source, names):
    """Run a cell as a notebook does; its last expression's value."""
    body = ast.parse(source).body
    last = body.pop() if body and isinstance(body[-1], ast.Expr) else None
    exec(compile(ast.Module(body, []), "cell", "exec"), names)
    return eval(compile(ast.Expression(last.value), "cell", "eval"), names) if last else None
