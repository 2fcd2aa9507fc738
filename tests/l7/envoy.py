"""Is this a configuration of Envoy's? Asked of Envoy's own message definitions (package xds-protos).

Every key has to be one of its message, every value of its type, every word one of its enumeration. Envoy itself is not
run: what it would find only when it starts (a cluster that nobody defined, say) is not found here, except for the names
of clusters, which are looked at by hand.
"""

from __future__ import annotations

from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import yaml
from envoy.config.bootstrap.v3 import bootstrap_pb2
from google.protobuf import json_format


def read(text: str) -> Any:
    """The configuration as Envoy's Bootstrap message. json_format.ParseError: it is none."""
    told = yaml.safe_load(text)
    for name in types(told):
        known(name)
    return json_format.ParseDict(told, bootstrap_pb2.Bootstrap())


def types(told: Any) -> Iterator[str]:
    """The messages that are named by `@type`."""
    if isinstance(told, dict):
        if "@type" in told:
            yield told["@type"].rpartition("/")[2]
        for value in told.values():
            yield from types(value)
    elif isinstance(told, list):
        for value in told:
            yield from types(value)


def known(name: str) -> None:
    """Import the messages of this one's package."""
    package = name.rpartition(".")[0]
    root = Path(bootstrap_pb2.__file__).parents[4]
    for path in sorted((root / package.replace(".", "/")).glob("*_pb2.py")):
        import_module(f"{package}.{path.stem}")


def clusters(told: Any) -> Iterator[str]:
    """The clusters that something leads to."""
    if isinstance(told, dict):
        if isinstance(told.get("cluster"), str):
            yield told["cluster"]
        for one in told.get("weighted_clusters", {}).get("clusters", ()):
            yield one["name"]
        for value in told.values():
            yield from clusters(value)
    elif isinstance(told, list):
        for value in told:
            yield from clusters(value)
