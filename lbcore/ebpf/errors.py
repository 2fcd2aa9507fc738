"""What a compiler says when a function cannot become a program."""

from __future__ import annotations

import linecache


class CompileError(ValueError):
    """`why` it cannot, at `line` of `file`, which reads `text`."""

    def __init__(self, file: str, line: int, why: str) -> None:
        self.file, self.line, self.why = file, line, why
        self.text = linecache.getline(file, line).strip()
        super().__init__(f"{file}:{line}: {why}\n    {self.text}")
