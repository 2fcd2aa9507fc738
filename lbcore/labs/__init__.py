"""Labs: run what a student wrote, draw what it did, say whether it is right and, if not, where to look.

`labs.NAME` is imported when it is first used.
"""

from importlib import import_module
from typing import Any

__all__ = ["dsr", "loader", "maglev", "nat", "proxy", "sni", "stateless", "tls_bill", "xdp"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"lbcore.labs has no {name!r}; it has: {', '.join(__all__)}")
    return import_module(f"lbcore.labs.{name}")


def __dir__() -> list[str]:
    return __all__
