"""Test material that others wrote. It is not part of this repository (licences differ): tests find it beside the
checkout, and skip, saying so, where it is absent.

Looked for in this order: $LBCORE_VECTORS, ../shared/vectors beside the checkout, the same one level further up.
"""

import json
import os
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[1]


def folder() -> Path:
    """The folder of vectors; skips the calling test (or module) when there is none."""
    named = os.environ.get("LBCORE_VECTORS")
    places = [Path(named)] if named else [up / "shared" / "vectors" for up in (ROOT.parent, ROOT.parent.parent)]
    for place in places:
        if place.is_dir():
            return place
    pytest.skip(f"no outside test material: looked for {' and '.join(map(str, places))}", allow_module_level=True)


def load(name: str) -> Any:
    """The parsed JSON file `name` of the vectors."""
    return json.loads((folder() / name).read_text())
