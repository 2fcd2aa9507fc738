"""What must hold for any bytes at all that are given as a configuration: they load, or each complaint names a line."""

from __future__ import annotations

import re

from lbcore.l4.config import BadConfig
from lbcore.l4.config_file import File, parse
from lbcore.l4.relay.file import RelayFile


def config(data: bytes) -> None:
    try:
        made = parse(data, "f.toml")
    except BadConfig as error:
        for complaint in str(error).split("\n"):
            found = re.match(r"f\.toml:(\d+): .", complaint)
            assert found, complaint
            assert 1 <= int(found[1]) <= data.count(b"\n") + 1
    else:
        assert isinstance(made, File | RelayFile)
