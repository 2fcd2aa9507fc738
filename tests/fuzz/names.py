"""Harnesses by name, imported when they are asked for."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from importlib import import_module

WHERE = {
    "core": "packets",
    "quic": "packets",
    "opening": "streams",
    "proxy_protocol": "streams",
    "tls_hello": "streams",
    "config": "files",
}


def harness(name: str) -> Callable[[bytes], None]:
    """The function that is given inputs."""
    found: Callable[[bytes], None] = getattr(import_module(f"tests.fuzz.{WHERE[name]}"), name)
    return found


HARNESSES = {name: partial(harness, name) for name in WHERE}
