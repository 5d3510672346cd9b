"""The random bits that values are made of: streams of row numbers, and a keyed hash of original values.

Everything is whole numbers of 64 bits, which wrap alike on each machine and in each version of numpy.
"""

import hashlib
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Bits = NDArray[np.uint64]

#: The increment and the two multipliers of SplitMix64: G. Steele, D. Lea, C. Flood, "Fast splittable pseudorandom
#: number generators", OOPSLA 2014; the multipliers are David Stafford's variant 13 of the finalizer of MurmurHash3.
_GAMMA = np.uint64(0x9E3779B97F4A7C15)
_FIRST = np.uint64(0xBF58476D1CE4E5B9)
_SECOND = np.uint64(0x94D049BB133111EB)
_27, _30, _31, _32 = (np.uint64(shift) for shift in (27, 30, 31, 32))

#: numpy works on this many values at a time, so that they stay in the processor's cache.
_CHUNK = 4096


def key_of(secret: bytes, *names: str) -> bytes:
    """A key of 16 bytes for one purpose.

    It is BLAKE2b of the names, keyed with the secret. Each name has its length before it, so that `("ab", "c")` and
    `("a", "bc")` have different keys.

    Args:
        secret: the seed of a recipe, or the secret of a refresh.
        names: the purpose, such as `"mask", "email"` or `"rows", "students", "email"`.
    """
    if len(secret) > hashlib.blake2b.MAX_KEY_SIZE:
        secret = hashlib.blake2b(secret).digest()
    named = b"".join(len(name.encode()).to_bytes(4, "little") + name.encode() for name in names)
    return hashlib.blake2b(named, key=secret, digest_size=16, person=b"seedtool values").digest()


def mix(bits: "Bits") -> "Bits":
    """SplitMix64's finalizer: a bijection of 64 bits, in which each bit of the result depends on each bit given."""
    mixed = bits ^ (bits >> _30)
    mixed *= _FIRST
    mixed ^= mixed >> _27
    mixed *= _SECOND
    mixed ^= mixed >> _31
    return mixed


def stream(key: bytes, rows: "NDArray[np.int64] | range", draw: int = 0) -> "Bits":
    """The bits of row numbers: the same for a row whatever other rows are asked for.

    It is SplitMix64 with the row number as the counter, finalized twice with one half of the key each time.

    Args:
        key: 16 bytes, from `key_of`.
        rows: int64[n], or a range.
        draw: a number for each independent draw of the same row.
    """
    if draw:
        key = key_of(key, "draw", str(draw))
    low, high = (np.uint64(int.from_bytes(key[at : at + 8], "little")) for at in (0, 8))
    if isinstance(rows, range):
        numbers = np.arange(rows.start, rows.stop, rows.step, dtype=np.int64).view(np.uint64)
    else:
        numbers = rows.astype(np.int64, copy=False).view(np.uint64)
    return mix(mix(numbers * _GAMMA + low) ^ high)


def draw(bits: "Bits", number: int) -> "Bits":
    """Further bits from the bits of a value, independent for each number."""
    return mix(bits + np.uint64((number + 1) * int(_GAMMA) % 2**64))


def below(bits: "Bits", bound: int) -> "Bits":
    """A number below `bound` from each value's bits, by multiplication.

    D. Lemire, "Fast random integer generation in an interval", 2019, without the rejection: a number's chance is wrong
    by less than one in 2**32.

    Args:
        bits: uint64[n].
        bound: at least 1, at most 2**63.
    """
    if bound <= 2**32:
        short: Bits = ((bits >> _32) * np.uint64(bound)) >> _32
        return short
    # the upper half of a product of 64 by 64 bits, from four products of 32 by 32
    low, high = np.uint64(bound & 0xFFFFFFFF), np.uint64(bound >> 32)
    mask = np.uint64(0xFFFFFFFF)
    bits_low, bits_high = bits & mask, bits >> _32
    middle = bits_high * low + ((bits_low * low) >> _32)
    other = bits_low * high + (middle & mask)
    product: Bits = bits_high * high + (middle >> _32) + (other >> _32)
    return product


def siphash(key: bytes, buffer: "NDArray[np.uint8]", starts: "NDArray[np.int64]", ends: "NDArray[np.int64]") -> "Bits":
    """SipHash-2-4 of each value that lies in a buffer.

    J.-P. Aumasson, D. J. Bernstein, "SipHash: a fast short-input PRF", 2012; the tests hold it to the paper's vectors.

    Args:
        key: 16 bytes.
        buffer: uint8[size].
        starts: int64[n]: where each value begins.
        ends: int64[n]: where each ends; an end before its start counts as an empty value.
    """
    out = np.empty(len(starts), dtype=np.uint64)
    for at in range(0, len(starts), _CHUNK):
        part = slice(at, at + _CHUNK)
        out[part] = _siphash(key, buffer, starts[part], np.maximum(ends[part], starts[part]))
    return out


def _siphash(key: bytes, buffer: "NDArray[np.uint8]", starts: "NDArray[np.int64]", ends: "NDArray[np.int64]") -> "Bits":
    lengths = ends - starts
    blocks = lengths >> 3
    most = int(blocks.max(initial=0))
    order = None
    if int(blocks.min(initial=most)) != most:  # long values first: round k concerns the first so many of them
        order = np.argsort(-blocks, kind="stable")
        starts, lengths, blocks = starts[order], lengths[order], blocks[order]
    count = len(starts)
    padded = buffer
    if count and int((starts + (blocks << 3)).max()) + 8 > len(buffer):
        padded = np.concatenate([buffer, np.zeros(8, dtype=np.uint8)])
    words = np.ndarray((len(padded) - 7,), dtype="<u8", buffer=padded, strides=(1,))

    k0, k1 = (int.from_bytes(key[at : at + 8], "little") for at in (0, 8))
    constants = (0x736F6D6570736575, 0x646F72616E646F6D, 0x6C7967656E657261, 0x7465646279746573)  # the paper's
    state = [
        np.full(count, half ^ constant, np.uint64) for half, constant in zip((k0, k1, k0, k1), constants, strict=True)
    ]
    spare = np.empty(count, dtype=np.uint64)
    for number in range(most):
        active = count if order is None else int(np.searchsorted(-blocks, -number, side="left"))
        part = [array[:active] for array in state]
        word = words[starts[:active] + (number << 3)].astype(np.uint64, copy=False)
        _absorb(part, word, spare[:active])
    rest = lengths & 7
    last = words[starts + (blocks << 3)].astype(np.uint64, copy=False)
    last = (last & _REST[rest]) | ((lengths & 0xFF).view(np.uint64) << np.uint64(56))
    _absorb(state, last, spare)
    state[2] ^= np.uint64(0xFF)
    for _ in range(4):
        _round(state, spare)
    hashed = state[0] ^ state[1] ^ state[2] ^ state[3]
    if order is None:
        return hashed
    out = np.empty_like(hashed)
    out[order] = hashed
    return out


#: What remains of a word of which only so many bytes belong to the value.
_REST = np.array([(1 << (8 * size)) - 1 for size in range(8)], dtype=np.uint64)

_ROTATIONS = {bits: (np.uint64(bits), np.uint64(64 - bits)) for bits in (13, 16, 17, 21, 32)}


def _absorb(state: "list[Bits]", word: "Bits", spare: "Bits") -> None:
    state[3] ^= word
    _round(state, spare)
    _round(state, spare)
    state[0] ^= word


def _rotate(value: "Bits", bits: int, spare: "Bits") -> None:
    left, right = _ROTATIONS[bits]
    np.right_shift(value, right, out=spare)
    np.left_shift(value, left, out=value)
    np.bitwise_or(value, spare, out=value)


def _round(state: "list[Bits]", spare: "Bits") -> None:
    """SipRound, in place."""
    a, b, c, d = state
    a += b
    c += d
    _rotate(b, 13, spare)
    _rotate(d, 16, spare)
    b ^= a
    d ^= c
    _rotate(a, 32, spare)
    c += b
    a += d
    _rotate(b, 17, spare)
    _rotate(d, 21, spare)
    b ^= c
    d ^= a
    _rotate(c, 32, spare)
