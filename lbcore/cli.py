"""The `lbcore` command: one sub-command a line of the table, each imported only when it is called."""

from __future__ import annotations

import importlib
import sys

COMMANDS = {
    "doctor": ("lbcore.testbed.doctor", "what this machine can do, and why not the rest"),
    "l4": ("lbcore.l4.command", "run an L4 load balancer from a configuration file"),
    "proxy": ("lbcore.l7.program.command", "run an HTTP proxy from a configuration file"),
    "contents": ("lbcore.readme", "write the table of chapters into README.md"),
    "notebooks": ("lbcore.notebooks", "build or check the notebooks from their sources"),
}


def usage() -> str:
    """The help text: a line for each command."""
    width = max(map(len, COMMANDS))
    lines = [f"  {name:<{width}}  {text}" for name, (_, text) in COMMANDS.items()]
    return "\n".join(["usage: lbcore COMMAND [ARGUMENTS]", "", *lines, "", "lbcore COMMAND --help tells more."])


def main(argv: list[str] | None = None) -> int:
    """Run `lbcore ARGV`; each command's module has `main(argv) -> exit status`."""
    argv = sys.argv[1:] if argv is None else argv
    if not argv or argv[0] in ("-h", "--help"):
        print(usage())
        return 0 if argv else 2
    if argv[0] not in COMMANDS:
        print(f"lbcore: no command {argv[0]!r}; there are: {', '.join(COMMANDS)}", file=sys.stderr)
        return 2
    return int(importlib.import_module(COMMANDS[argv[0]][0]).main(argv[1:]) or 0)


if __name__ == "__main__":
    sys.exit(main())
