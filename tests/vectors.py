"""Test material that others wrote: where it lies, and how a test gets at it.

    CASES = vectors.load("siphash.json")       at the top of a file, for parametrize
    vectors.path("bpf_conformance/tests")      a file or folder to read oneself

It is not part of the repository. It is looked for in LBCORE_VECTORS, else in `shared/vectors` beside the checkout or
one folder further up. Without it the tests that want it are skipped, in words (needs.py says when that is a failure).
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from tests import needs

ROOT = Path(__file__).resolve().parents[1]
BESIDE = (ROOT.parent / "shared", ROOT.parent.parent / "shared")


def folder() -> Path | None:
    """The folder of the material, or None."""
    named = os.environ.get("LBCORE_VECTORS")
    places = [Path(named)] if named else [shared / "vectors" for shared in BESIDE]
    return next((place for place in places if place.is_dir()), None)


def lack(name: str) -> needs.Lack | None:
    """What is missing for `name`, in words; it could be there if anything is told or stands beside the checkout."""
    found = folder()
    if found and (found / name).exists():
        return None
    told = bool(os.environ.get("LBCORE_VECTORS")) or any(shared.is_dir() for shared in BESIDE)
    where = f"not in {found}" if found else "no shared/vectors beside the checkout, no LBCORE_VECTORS"
    return needs.Lack(f"needs the test vectors {name}: {where}", could=told)


def path(name: str) -> Path:
    """The path of `name`; skips (or fails) the test, or the file that is being imported, when it is missing."""
    needs.demand(lack(name))
    found = folder()
    assert found is not None
    return found / name


def load(name: str) -> Any:
    """The content of the JSON file `name`."""
    return json.loads(path(name).read_text(encoding="utf-8"))
