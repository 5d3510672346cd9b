"""A keyed permutation of [0, size): different numbers stay different, so a unique column is unique by construction."""

import math
from typing import TYPE_CHECKING

import numpy as np

from seedtool.values.hashing import key_of, mix

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Numbers = NDArray[np.uint64]

#: Rounds of the Feistel network. Four make a pseudorandom permutation of random functions (M. Luby, C. Rackoff, 1988);
#: a network of small halves wants more.
_ROUNDS = 6

#: The largest size: the two halves' product stays below 2**64.
LARGEST = 2**63

_ODD = np.uint64(0x9E3779B97F4A7C15)
_32 = np.uint64(32)

#: numpy works on this many numbers at a time, so that they stay in the processor's cache.
_CHUNK = 4096


def permute(key: bytes, values: "Numbers", size: int) -> "Numbers":
    """Where each number goes.

    J. Black, P. Rogaway, "Ciphers with arbitrary finite domains", 2002: a Feistel network whose halves are numbers
    below a and b with a * b >= size, repeated for what falls outside [0, size).

    Args:
        key: 16 bytes, from `key_of`.
        values: uint64[n], all below `size`.
        size: how many numbers are permuted; at most `LARGEST`.

    Raises:
        ValueError: a number is not below `size`, or `size` is too large.
    """
    return _walk(key, values, size, range(_ROUNDS))


def unpermute(key: bytes, values: "Numbers", size: int) -> "Numbers":
    """Where each number came from: the inverse of `permute`.

    Raises:
        ValueError: as `permute` does.
    """
    return _walk(key, values, size, range(_ROUNDS - 1, -1, -1))


def _walk(key: bytes, values: "Numbers", size: int, rounds: range) -> "Numbers":
    """Put the numbers through the network until each is below the size (a cycle always comes back)."""
    if not 1 <= size <= LARGEST:
        raise ValueError(f"a permutation of {size} numbers is not possible: 1 to 2**63 are")
    if len(values) and int(values.max()) >= size:
        raise ValueError(f"a number is not below {size}")
    left = math.isqrt(size - 1) + 1
    right = -(-size // left)
    schedule = key_of(key, "permutation", str(size))
    keys = [int.from_bytes(key_of(schedule, str(number))[:8], "little") for number in range(_ROUNDS)]
    out = np.empty(len(values), dtype=np.uint64)
    for at in range(0, len(values), _CHUNK):
        out[at : at + _CHUNK] = _through(values[at : at + _CHUNK], left, right, keys, rounds)
    outside = np.flatnonzero(out >= np.uint64(size))
    while len(outside):
        out[outside] = _through(out[outside], left, right, keys, rounds)
        outside = outside[out[outside] >= np.uint64(size)]
    return out


def _through(values: "Numbers", left: int, right: int, keys: list[int], rounds: range) -> "Numbers":
    """One pass: even rounds change the upper half by the lower one, odd rounds the lower half by the upper one."""
    sizes = np.uint64(left), np.uint64(right)
    high = values // sizes[1]
    halves = [high, values - high * sizes[1]]
    forward = rounds.step > 0
    for number in rounds:
        changed, size = number % 2, sizes[number % 2]
        bits = mix(halves[1 - changed] * _ODD + np.uint64(keys[number]))
        bits = ((bits >> _32) * size) >> _32 if int(size) <= 2**32 else bits % size
        moved = halves[changed] + (bits if forward else size - bits)
        moved -= size * (moved >= size)
        halves[changed] = moved
    halves[0] *= sizes[1]
    halves[0] += halves[1]
    return halves[0]
