"""The notebook pipeline: what authors edit (`chapters/src`, `labs/src`) becomes what readers open.

    lbcore notebooks build [NAME ...] [--fresh]     run and write; NAME is maglev, 03-maglev or a path; default: all
    lbcore notebooks check [--style] [NAME ...]     compare products with sources, without a kernel

`source` reads, `labs` cuts, `build` runs, `normal` tidies, `check` guards, `style` measures.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # jupytext and nbclient are imported when a command runs, not for --help
    from lbcore.notebooks.source import Product


def main(argv: list[str]) -> int:
    """Run `lbcore notebooks ARGV` in the folder that holds `chapters/`; the exit status."""
    parser = argparse.ArgumentParser(prog="lbcore notebooks", description=(__doc__ or "").partition("\n")[0])
    commands = parser.add_subparsers(dest="command", required=True)
    build = commands.add_parser("build", help="run the sources and write the notebooks")
    build.add_argument("--fresh", action="store_true", help="measure again instead of keeping stored measurements")
    check = commands.add_parser("check", help="compare the notebooks with their sources, without a kernel")
    check.add_argument("--style", action="store_true", help="measure cell sizes, words, alt text and numbers as well")
    for command in (build, check):
        command.add_argument("names", nargs="*", metavar="NAME", help="maglev, 03-maglev or a path; default: all")
        command.add_argument("--root", type=Path, default=Path(), help="folder that holds chapters/ and labs/")
    wanted = parser.parse_args(argv)

    from lbcore.notebooks import build as builder
    from lbcore.notebooks import source

    root: Path = wanted.root
    try:
        products = source.products(root)
        chosen = select(products, wanted.names)
    except ValueError as error:
        print(error, file=sys.stderr)
        return 1
    if wanted.command == "build":
        return builder.main(products, chosen, root, fresh=wanted.fresh)

    from lbcore.notebooks import check as guard
    from lbcore.notebooks import style

    found = guard.problems(root) + (style.problems(root) if wanted.style else [])
    shown = [one for one in found if not wanted.names or one.path in {str(product.path) for product in chosen}]
    print("\n".join(map(str, shown)) if shown else f"{len(chosen)} notebooks are what their sources say")
    return int(bool(shown))


def select(products: list[Product], names: list[str]) -> list[Product]:
    """The products that `names` mean; all when there are none. Raises ValueError for a name that means nothing."""
    stems = [Path(name).stem for name in names]
    known = {key for product in products for key in (product.entry.name, product.entry.path.stem)}
    if unknown := [stem for stem in stems if stem not in known]:
        raise ValueError(
            f"no source is called {unknown[0]!r}; there are: "
            + ", ".join(dict.fromkeys(product.entry.path.stem for product in products))
        )
    return [one for one in products if not stems or one.entry.name in stems or one.entry.path.stem in stems]
