"""The bits of rows and values: SipHash's reference vectors, streams that do not depend on batches, permutations."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from seedtool.values.hashing import below, draw, key_of, siphash, stream
from seedtool.values.permutation import LARGEST, permute, unpermute

KEY = bytes(range(16))

#: SipHash-2-4 of 0, 1, 2, ... bytes 00 01 02 ... under the key 00 ... 0f: vectors.h of the reference implementation by
#: its authors (https://github.com/veorq/SipHash), as little-endian numbers
VECTORS = {
    0: 0x726FDB47DD0E0E31,
    1: 0x74F839C593DC67FD,
    2: 0x0D6C8009D9A94F5A,
    3: 0x85676696D7FB7E2D,
    7: 0xAB0200F58B01D137,
    8: 0x93F5F5799A932462,
    15: 0xA129CA6149BE45E5,
    63: 0x958A324CEB064572,
}


def scalar_siphash(key: bytes, data: bytes) -> int:
    """SipHash-2-4 as the paper writes it."""
    mask = 2**64 - 1
    k0, k1 = int.from_bytes(key[:8], "little"), int.from_bytes(key[8:], "little")
    a, b, c, d = k0 ^ 0x736F6D6570736575, k1 ^ 0x646F72616E646F6D, k0 ^ 0x6C7967656E657261, k1 ^ 0x7465646279746573

    def rotated(value, by):
        return (value << by | value >> (64 - by)) & mask

    def rounds(count):
        nonlocal a, b, c, d
        for _ in range(count):
            a, b = (a + b) & mask, rotated(b, 13)
            b, a = b ^ a, rotated(a, 32)
            c, d = (c + d) & mask, rotated(d, 16)
            d ^= c
            a, d = (a + d) & mask, rotated(d, 21)
            d ^= a
            c, b = (c + b) & mask, rotated(b, 17)
            b, c = b ^ c, rotated(c, 32)

    padded = data + bytes(-len(data) % 8 - 1 if len(data) % 8 != 0 else 7) + bytes([len(data) & 0xFF])
    for at in range(0, len(padded), 8):
        word = int.from_bytes(padded[at : at + 8], "little")
        d ^= word
        rounds(2)
        a ^= word
    c ^= 0xFF
    rounds(4)
    return a ^ b ^ c ^ d


def test_siphash_gives_the_vectors_of_its_authors():
    data = np.arange(64, dtype=np.uint8)
    hashed = siphash(KEY, data, np.zeros(64, np.int64), np.arange(64, dtype=np.int64))
    assert {size: int(hashed[size]) for size in VECTORS} == VECTORS


@given(st.lists(st.binary(max_size=70), max_size=40), st.binary(min_size=16, max_size=16))
def test_siphash_of_many_values_is_that_of_each(values, key):
    ends = np.cumsum([len(value) for value in values], dtype=np.int64)
    starts = ends - np.array([len(value) for value in values], dtype=np.int64)
    buffer = np.frombuffer(b"".join(values), dtype=np.uint8)
    assert siphash(key, buffer, starts, ends).tolist() == [scalar_siphash(key, value) for value in values]


def test_a_key_differs_with_each_boundary_between_names():
    keys = {key_of(b"s", "ab", "c"), key_of(b"s", "a", "bc"), key_of(b"s", "abc"), key_of(b"t", "ab", "c")}
    assert len(keys) == 4
    assert key_of(b"x" * 200, "a") != key_of(b"x" * 199, "a")


@given(st.integers(0, 2**40), st.integers(1, 300), st.integers(1, 50))
def test_a_rows_bits_do_not_depend_on_the_batch(first, count, batch):
    whole = stream(KEY, range(first, first + count)).tolist()
    parts = [
        stream(KEY, range(at, min(at + batch, first + count))).tolist() for at in range(first, first + count, batch)
    ]
    assert whole == [bits for part in parts for bits in part]
    backwards = np.arange(first + count - 1, first - 1, -1, dtype=np.int64)
    assert stream(KEY, backwards).tolist() == whole[::-1]


def test_draws_of_one_row_differ():
    bits = stream(KEY, range(1000))
    assert (
        len({*bits.tolist(), *draw(bits, 0).tolist(), *draw(bits, 1).tolist(), *stream(KEY, range(1000), 1).tolist()})
        == 4000
    )


def test_each_bit_of_a_stream_is_set_in_half_of_the_rows():
    bits = stream(KEY, range(20_000))
    for bit in range(64):
        assert 0.48 < float((bits >> np.uint64(bit) & np.uint64(1)).mean()) < 0.52


@given(st.lists(st.integers(0, 2**64 - 1), min_size=1, max_size=20), st.integers(1, 2**63))
def test_a_number_below_a_bound_is_the_product_above_the_point(values, bound):
    bits = np.array(values, dtype=np.uint64)
    expected = [value * bound >> 64 if bound > 2**32 else (value >> 32) * bound >> 32 for value in values]
    assert below(bits, bound).tolist() == expected


@pytest.mark.parametrize("size", [1, 2, 3, 5, 7, 10, 16, 97, 100, 1000, 1001, 65_536])
def test_a_permutation_takes_each_number_once_and_back(size):
    numbers = np.arange(size, dtype=np.uint64)
    moved = permute(KEY, numbers, size)
    assert sorted(moved.tolist()) == numbers.tolist()
    assert unpermute(KEY, moved, size).tolist() == numbers.tolist()


@given(st.integers(1, LARGEST), st.binary(min_size=16, max_size=16), st.data())
def test_a_permutation_of_any_size_has_an_inverse(size, key, data):
    numbers = np.array(data.draw(st.lists(st.integers(0, size - 1), max_size=20)), dtype=np.uint64)
    moved = permute(key, numbers, size)
    assert all(number < size for number in moved.tolist())
    assert unpermute(key, moved, size).tolist() == numbers.tolist()


def test_a_permutation_refuses_a_number_outside():
    with pytest.raises(ValueError, match="not below 5"):
        permute(KEY, np.array([5], dtype=np.uint64), 5)
    with pytest.raises(ValueError, match="not possible"):
        permute(KEY, np.array([], dtype=np.uint64), LARGEST + 1)
