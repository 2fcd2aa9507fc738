"""Hashes, one file each. Bytes go in as bytes or uint8[n]; the forms that take words read no memory at all.

| file | for | size | key |
|---|---|---|---|
| siphash | keys that strangers choose: flow tables, cookies | 64 | 128 bits, secret |
| jhash | the Linux kernel, IPVS, Katran | 32 | 32-bit start value |
| xxhash64 | speed: Envoy, and our Maglev's backends | 64 | 64-bit seed |
| murmur3 | speed: Katran's backends | 128, 32 | 32-bit seed |
| fnv | names, and the reader's patience | 32, 64 | none |
| toeplitz | network cards (RSS) | 32 | 40 bytes, known |
| crc32c | finding damage: PROXY protocol v2 | 32 | none |

All of them run as plain Python, and in numba code when called from it; `..._many` are compiled loops over arrays.
"""

from lbcore.balance.hashes.fnv import fnv1_32, fnv1_64, fnv1a_32, fnv1a_64, fnv1a_64_word
from lbcore.balance.hashes.jhash import (
    jhash,
    jhash2,
    jhash_1word,
    jhash_2words,
    jhash_3words,
    jhash_3words_many,
    jhash_4words,
)
from lbcore.balance.hashes.murmur3 import (
    fmix64,
    murmur3_x64_2words,
    murmur3_x64_2words_many,
    murmur3_x64_128,
    murmur3_x86_32,
)
from lbcore.balance.hashes.siphash import (
    key_words,
    siphash24,
    siphash24_2words,
    siphash24_2words_many,
    siphash24_4words,
    siphash24_5words,
)
from lbcore.balance.hashes.toeplitz import MICROSOFT_KEY, toeplitz, toeplitz_3words, toeplitz_3words_many, toeplitz_word
from lbcore.balance.hashes.xxhash64 import xxhash64, xxhash64_word, xxhash64_word_many
from lbcore.wire.crc32c import crc32c, crc32c_update

__all__ = [
    "MICROSOFT_KEY",
    "crc32c",
    "crc32c_update",
    "fmix64",
    "fnv1_32",
    "fnv1_64",
    "fnv1a_32",
    "fnv1a_64",
    "fnv1a_64_word",
    "jhash",
    "jhash2",
    "jhash_1word",
    "jhash_2words",
    "jhash_3words",
    "jhash_3words_many",
    "jhash_4words",
    "key_words",
    "murmur3_x64_2words",
    "murmur3_x64_2words_many",
    "murmur3_x64_128",
    "murmur3_x86_32",
    "siphash24",
    "siphash24_2words",
    "siphash24_2words_many",
    "siphash24_4words",
    "siphash24_5words",
    "toeplitz",
    "toeplitz_3words",
    "toeplitz_3words_many",
    "toeplitz_word",
    "xxhash64",
    "xxhash64_word",
    "xxhash64_word_many",
]
