"""The forwarder by itself: a program that imports nothing else of the house."""

import os
import subprocess
import sys
from pathlib import Path

ALONE = """
from lbcore.l4.config import Backend, Config, Service
from lbcore.l4.forwarder import Forwarder, batch
from lbcore.wire.compose import tcp_frame
forwarder = Forwarder(Config([Service("10.0.0.9", 80, "tcp", "dsr", [Backend("10.0.0.2")])]))
forwarder.process(*batch([tcp_frame(destination="10.0.0.9:80")]))
print(forwarder.reasons())
"""


def test_it_compiles_where_nobody_has_spoken_of_the_kernel(tmp_path):
    """The cache is a fresh one: from an old one comes what was compiled where somebody had."""
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path), "PYTHONPATH": str(Path(__file__).parents[2])}
    done = subprocess.run([sys.executable, "-c", ALONE], env=environment, capture_output=True, text=True, timeout=300)
    assert done.stdout == "{'forwarded': 1}\n", done.stderr[-2000:]
