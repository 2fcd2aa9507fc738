"""CRC32C (Castagnoli): a checksum that finds damage, used as a hash because processors have an instruction for it.

Rule of this file: it reads bytes and keeps no state. It stands here because headers carry it; `balance.hashes` lists it
among its hashes.

Theory. The data is one long polynomial over single bits; what is left after dividing it by the polynomial 0x1EDC6F41
is the CRC. Bits go in lowest first, so the constant appears mirrored. The table holds the remainder of each byte.
RFC 3720 section 12.1 and appendix B.4 (iSCSI); the PROXY protocol v2 carries it in PP2_TYPE_CRC32C.

Trap. Users differ about the ends: the CRC starts from all ones and is inverted at the end, the bare instruction does
neither. `crc32c` is the CRC, `crc32c_update` the instruction.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from lbcore.wire.portable import portable
from lbcore.wire.words import MASK32

POLYNOMIAL = 0x82F63B78  # 0x1EDC6F41 with its bits in the opposite order


def remainder(byte: int) -> int:
    """The remainder of one byte."""
    for _ in range(8):
        byte = byte >> 1 ^ (POLYNOMIAL if byte & 1 else 0)
    return byte


REMAINDERS = np.array([remainder(byte) for byte in range(256)], np.uint32)


@portable
def crc32c_update(crc: int, data: Any) -> int:
    """`crc` (32 bits) after the bytes of `data` (bytes, or uint8[n]), neither started nor inverted: SSE4.2's crc32."""
    for i in range(len(data)):
        crc = crc >> 8 ^ int(REMAINDERS[(crc ^ int(data[i])) & 0xFF])
    return crc


@portable
def crc32c(data: Any) -> int:
    """CRC32C of `data` (bytes, or uint8[n]; any n): a 32-bit word."""
    return crc32c_update(MASK32, data) ^ MASK32
