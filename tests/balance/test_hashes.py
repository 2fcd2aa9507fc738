"""Hashes against implementations and values that are not ours, and against themselves on every target."""

import ipaddress
import struct

import mmh3
import numpy as np
import pytest
import xxhash
from hypothesis import example, given, settings
from hypothesis import strategies as st
from numba import njit

from lbcore.balance import hashes
from lbcore.wire.words import MASK32, MASK64

data = st.binary(max_size=200)
word32 = st.integers(0, MASK32)
word64 = st.integers(0, MASK64)
compiled_once = settings(deadline=None, max_examples=150)  # the first call of a compiled function takes seconds

K0, K1 = hashes.key_words(bytes(range(16)))

# Every hash of bytes, with the arguments that follow the bytes.
ON_BYTES = {
    "siphash24": (hashes.siphash24, (K0, K1)),
    "jhash": (hashes.jhash, (0xDEADBEEF,)),
    "xxhash64": (hashes.xxhash64, (0xFEDCBA9876543210,)),
    "murmur3_x64_128": (hashes.murmur3_x64_128, (2307,)),
    "murmur3_x86_32": (hashes.murmur3_x86_32, (0xFFFFFFFF,)),
    "fnv1a_32": (hashes.fnv1a_32, ()),
    "fnv1a_64": (hashes.fnv1a_64, ()),
    "fnv1_32": (hashes.fnv1_32, ()),
    "fnv1_64": (hashes.fnv1_64, ()),
    "toeplitz": (hashes.toeplitz, (bytes(range(7, 250)),)),
    "crc32c": (hashes.crc32c, ()),
}


@pytest.mark.parametrize("name", ON_BYTES)
def test_bytes_arrays_and_compiled_code_agree(name):
    function, arguments = ON_BYTES[name]
    compiled = njit(lambda data, *arguments: function(data, *arguments))

    @compiled_once
    @given(data)
    @example(b"")
    @example(bytes([255]) * 65)
    def agree(data):
        array = np.frombuffer(data, np.uint8)
        assert function(data, *arguments) == function(array, *arguments) == compiled(array, *arguments)

    agree()


@given(data, word64)
def test_xxhash64_is_the_xxhash_package(data, seed):
    assert hashes.xxhash64(data, seed) == xxhash.xxh64_intdigest(data, seed)


@given(data, word32)
def test_murmur3_is_the_mmh3_package(data, seed):
    assert hashes.murmur3_x64_128(data, seed) == mmh3.hash64(data, seed, signed=False)
    assert hashes.murmur3_x86_32(data, seed) == mmh3.hash(data, seed, signed=False)


# ------------------------------------------------------------------------------------- forms on words, as on bytes
@given(st.lists(word64, min_size=5, max_size=5), word64, word64)
def test_64_bit_words_hash_as_their_little_endian_bytes(words, k0, k1):
    one, two, four, five = (struct.pack(f"<{n}Q", *words[:n]) for n in (1, 2, 4, 5))
    assert hashes.siphash24_2words(*words[:2], k0, k1) == hashes.siphash24(two, k0, k1)
    assert hashes.siphash24_4words(*words[:4], k0, k1) == hashes.siphash24(four, k0, k1)
    assert hashes.siphash24_5words(*words, k0, k1) == hashes.siphash24(five, k0, k1)
    assert hashes.xxhash64_word(words[0], k0) == hashes.xxhash64(one, k0)
    assert hashes.murmur3_x64_2words(*words[:2], k0 & MASK32) == hashes.murmur3_x64_128(two, k0 & MASK32)[0]
    assert hashes.fnv1a_64_word(words[0]) == hashes.fnv1a_64(one)


@given(st.lists(word32, max_size=9), word32)
def test_32_bit_words_hash_as_their_little_endian_bytes(words, initval):
    packed = hashes.jhash(struct.pack(f"<{len(words)}I", *words), initval)
    assert hashes.jhash2(words, initval) == hashes.jhash2(np.array(words, np.uint32), initval) == packed
    by_count = {1: hashes.jhash_1word, 2: hashes.jhash_2words, 3: hashes.jhash_3words, 4: hashes.jhash_4words}
    if len(words) in by_count:
        assert by_count[len(words)](*words, initval) == packed


@given(word32, word32, word32)
def test_toeplitz_of_three_words_is_that_of_their_bytes(a, b, c):
    k = struct.unpack(">4I", hashes.MICROSOFT_KEY[:16])
    assert hashes.toeplitz_3words(a, b, c, *k) == hashes.toeplitz(struct.pack(">3I", a, b, c), hashes.MICROSOFT_KEY)


MANY = {
    "siphash24_2words_many": (hashes.siphash24_2words_many, hashes.siphash24_2words, 2, np.uint64, (K0, K1)),
    "siphash24_2words_many, key with the top bit set": (
        hashes.siphash24_2words_many,
        hashes.siphash24_2words,
        2,
        np.uint64,
        (MASK64, 1 << 63),
    ),
    "xxhash64_word_many": (hashes.xxhash64_word_many, hashes.xxhash64_word, 1, np.uint64, (2**63 + 1,)),
    "murmur3_x64_2words_many": (hashes.murmur3_x64_2words_many, hashes.murmur3_x64_2words, 2, np.uint64, (42,)),
    "jhash_3words_many": (hashes.jhash_3words_many, hashes.jhash_3words, 3, np.uint32, (0x2000140,)),
    "jhash_3words_many of int64": (hashes.jhash_3words_many, hashes.jhash_3words, 3, np.int64, (MASK32,)),
    "toeplitz_3words_many": (
        hashes.toeplitz_3words_many,
        hashes.toeplitz_3words,
        3,
        np.uint32,
        struct.unpack(">4I", hashes.MICROSOFT_KEY[:16]),
    ),
}


@pytest.mark.parametrize("name", MANY)
def test_the_compiled_loops_give_what_the_plain_functions_give(name):
    many, one, columns, dtype, arguments = MANY[name]
    top = MASK64 if dtype is np.uint64 else MASK32
    rng = np.random.default_rng(1)
    arrays = rng.integers(0, top, (columns, 300), dtype=np.uint64, endpoint=True)
    arrays[:, :2] = [[0, top]] * columns
    expected = [one(*(int(word) for word in row), *arguments) for row in arrays.T]
    assert many(*arrays.astype(dtype), *arguments).tolist() == expected


# ------------------------------------------------------------------------------------------------ published values
# FNV: Fowler, Noll, Vo, draft-eastlake-fnv, test values.
@pytest.mark.parametrize(
    ("text", "fnv1_32", "fnv1a_32", "fnv1_64", "fnv1a_64"),
    [
        (b"", 0x811C9DC5, 0x811C9DC5, 0xCBF29CE484222325, 0xCBF29CE484222325),
        (b"a", 0x050C5D7E, 0xE40C292C, 0xAF63BD4C8601B7BE, 0xAF63DC4C8601EC8C),
        (b"foobar", 0x31F0B262, 0xBF9CF968, 0x340D8765A4DDA9C2, 0x85944171F73967E8),
    ],
)
def test_fnv_gives_the_published_values(text, fnv1_32, fnv1a_32, fnv1_64, fnv1a_64):
    assert (hashes.fnv1_32(text), hashes.fnv1a_32(text)) == (fnv1_32, fnv1a_32)
    assert (hashes.fnv1_64(text), hashes.fnv1a_64(text)) == (fnv1_64, fnv1a_64)


# Toeplitz: Microsoft, "Verifying the RSS hash calculation": destination, source, with ports, addresses alone.
@pytest.mark.parametrize(
    ("destination", "source", "with_ports", "without"),
    [
        (("161.142.100.80", 1766), ("66.9.149.187", 2794), 0x51CCC178, 0x323E8FC2),
        (("65.69.140.83", 4739), ("199.92.111.2", 14230), 0xC626B0EA, 0xD718262A),
        (("12.22.207.184", 38024), ("24.19.198.95", 12898), 0x5C2B394A, 0xD2D0A5DE),
        (("209.142.163.6", 2217), ("38.27.205.30", 48228), 0xAFC7327F, 0x82989176),
        (("202.188.127.2", 1303), ("153.39.163.191", 44251), 0x10E828A2, 0x5D1809C5),
        (("3ffe:2501:200:3::1", 1766), ("3ffe:2501:200:1fff::7", 2794), 0x40207D3D, 0x2CC18CD5),
        (("ff02::1", 4739), ("3ffe:501:8::260:97ff:fe40:efab", 14230), 0xDDE51BBF, 0x0F0C461C),
        (("fe80::200:f8ff:fe21:67cf", 38024), ("3ffe:1900:4545:3:200:f8ff:fe21:67cf", 44251), 0x02D1FEEF, 0x4B61E985),
    ],
)
def test_toeplitz_gives_the_values_of_microsofts_verification_suite(destination, source, with_ports, without):
    addresses = b"".join(ipaddress.ip_address(host).packed for host, _ in (source, destination))
    ports = struct.pack(">2H", source[1], destination[1])
    assert hashes.toeplitz(addresses, hashes.MICROSOFT_KEY) == without
    assert hashes.toeplitz(addresses + ports, hashes.MICROSOFT_KEY) == with_ports


# CRC32C: RFC 3720 appendix B.4, given there as bytes on the wire, and the check value of the CRC catalogues.
@pytest.mark.parametrize(
    ("data", "crc"),
    [
        (bytes(32), 0x8A9136AA),
        (b"\xff" * 32, 0x62A8AB43),
        (bytes(range(32)), 0x46DD794E),
        (bytes(reversed(range(32))), 0x113FDB5C),
        (b"123456789", 0xE3069283),
    ],
)
def test_crc32c_gives_the_published_values(data, crc):
    assert hashes.crc32c(data) == crc


# ------------------------------------------------------------------------------------------------------ definitions
def mirrored(number, bits):
    return int(f"{number:0{bits}b}"[::-1], 2)


@given(st.binary(max_size=40))
def test_crc32c_update_is_the_remainder_of_a_polynomial_division(data):
    dividend = 0
    for byte in data:
        dividend = dividend << 8 | mirrored(byte, 8)
    dividend <<= 32
    for bit in reversed(range(32, dividend.bit_length())):
        if dividend >> bit & 1:
            dividend ^= 0x11EDC6F41 << (bit - 32)
    assert hashes.crc32c_update(0, data) == mirrored(dividend, 32)


@given(st.binary(max_size=36))
def test_toeplitz_xors_the_windows_of_the_key_at_the_set_bits(data):
    key = int.from_bytes(hashes.MICROSOFT_KEY)
    expected = 0
    for bit in range(8 * len(data)):
        if data[bit // 8] >> (7 - bit % 8) & 1:
            expected ^= key >> (320 - 32 - bit) & MASK32
    assert hashes.toeplitz(data, hashes.MICROSOFT_KEY) == expected


@given(st.binary(min_size=12, max_size=12), st.binary(min_size=12, max_size=12))
def test_toeplitz_is_linear(x, y):
    both = bytes(a ^ b for a, b in zip(x, y, strict=True))
    x, y, both = (hashes.toeplitz(each, hashes.MICROSOFT_KEY) for each in (x, y, both))
    assert both == x ^ y


def test_toeplitz_refuses_a_key_that_is_too_short():
    with pytest.raises(ValueError, match="39 bytes for 36"):
        hashes.toeplitz(bytes(36), bytes(39))


def test_siphash_refuses_a_key_of_another_length():
    with pytest.raises(ValueError, match="15 bytes given; a SipHash key has 16"):
        hashes.key_words(bytes(15))


@pytest.mark.parametrize("name", ["siphash24", "xxhash64", "fnv1a_64"])
def test_one_bit_of_input_changes_half_of_the_output(name):
    function, arguments = ON_BYTES[name]
    rng = np.random.default_rng(2)
    flipped = []
    for _ in range(300):
        text = bytearray(rng.bytes(24))
        before = function(bytes(text), *arguments)
        text[rng.integers(0, 8)] ^= 1 << rng.integers(0, 8)
        flipped.append((before ^ function(bytes(text), *arguments)).bit_count())
    assert 30 < np.mean(flipped) < 34
