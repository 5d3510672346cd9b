"""Words about the form of a text: patterns, sequences, templates, tokens and constants."""

import datetime as dt
import json
import string
from typing import TYPE_CHECKING

import numpy as np

from seedtool.values.cells import Cells, concat, digits, hexadecimal, signed
from seedtool.values.hashing import draw
from seedtool.values.pools import Pool, of_weights
from seedtool.values.word import (
    ANY,
    INTEGER,
    TEXT,
    Context,
    Kind,
    Scalar,
    Values,
    Weights,
    counted,
    drawn,
    related,
    word,
    wrong,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Bits = NDArray[np.uint64]

_SYMBOLS = {"#": "0123456789", "%": "23456789", "?": string.ascii_uppercase, "^": string.ascii_lowercase}


@word
def pattern(*, format: str) -> Kind:
    """A text of a pattern.

    Args:
        format: `#` is a digit, `%` a digit from 2 to 9, `?` a capital, `^` a small letter; all else stands as it is.
    """
    choices = [np.frombuffer(_SYMBOLS[symbol].encode(), dtype=np.uint8) for symbol in format if symbol in _SYMBOLS]
    capacity = 1
    for letters in choices:
        capacity *= len(letters)
    if not 1 <= capacity <= 2**63 or not format:
        raise wrong("pattern", "format", "must stand for 1 to 2**63 different texts")
    encoded = [symbol if symbol in _SYMBOLS else symbol.encode() for symbol in format]
    width = sum(1 if isinstance(part, str) else len(part) for part in encoded)

    def nth(numbers: "Bits") -> Cells:
        matrix = np.empty((len(numbers), width), dtype=np.uint8)
        rest, at = numbers, width
        for part in reversed(encoded):
            if isinstance(part, bytes):
                at -= len(part)
                matrix[:, at : at + len(part)] = np.frombuffer(part, dtype=np.uint8)
                continue
            at -= 1
            letters = np.frombuffer(_SYMBOLS[part].encode(), dtype=np.uint8)
            size = np.uint64(len(letters))
            above = rest // size
            matrix[:, at] = letters[rest - above * size]
            rest = above
        return Cells(matrix, np.full(len(numbers), width, np.int32), plain="\\" not in format and format.isprintable())

    types = INTEGER if set(format) <= set("#%0123456789") and len(format) <= 18 else TEXT
    return counted(capacity, nth, types, len(format))


@word
def sequence(*, start: int = 1, step: int = 1) -> Kind:
    """Whole numbers in the order of the rows.

    Args:
        start: the number of the first row.
        step: what each row adds.
    """
    if step == 0:
        raise wrong("sequence", "step", "must not be 0")
    return related(lambda _bits, context: signed(context.rows * step + start), INTEGER, 20, distinct=True)


@word
def template(*, format: str, start: int = 1) -> Kind:
    """A text with the row's number and other columns in it.

    Args:
        format: `{n}` is the row's number, `{n:06}` with leading zeros, `{first_name}` another column.
        start: the number of the first row.
    """
    try:
        parsed = list(string.Formatter().parse(format))
    except ValueError as error:
        raise wrong("template", "format", f"cannot be read: {error}") from error
    parts: list[tuple[bytes, str, int]] = []
    for literal, name, form, _conversion in parsed:
        width = form or ""
        if name is not None and (not name or (width and (name != "n" or not width.isdecimal()))):
            raise wrong("template", "format", "has a place that is not {n}, {n:06} or {column}")
        parts.append((literal.encode(), name or "", int(width or 0)))
    needs = tuple(dict.fromkeys(name for _, name, _ in parts if name and name != "n"))

    def make(_bits: "Bits", context: Context) -> Cells:
        pieces: list[Cells | bytes] = [Cells.constant(b"", len(context.rows))]
        for literal, name, width in parts:
            pieces.append(literal)
            if name == "n":
                pieces.append(digits((context.rows + start).astype(np.uint64), width=width))
            elif name:
                pieces.append(context.columns[name])
        return concat(pieces)

    longest = sum(len(literal.decode()) + (max(width, 12) if name else 0) for literal, name, width in parts)
    return related(make, TEXT, longest, needs=needs, distinct=any(name == "n" for _, name, _ in parts))


@word
def choice(*, values: Values, weights: Weights = ()) -> Kind:
    """One of the values that are given.

    Args:
        values: these values.
        weights: how often each comes, as whole numbers in the order of the values.
    """
    texts = [written(value) for value in values]
    longest = max(len((text or b"").decode()) for text in texts)
    if weights:
        if len(weights) != len(values) or not sum(weights):
            raise wrong("choice", "weights", f"must be {len(values)} whole numbers, not all 0")
        shares = of_weights({str(position): weight for position, weight in enumerate(weights)})
        kept = [position for position, weight in enumerate(weights) if weight]
        weighted = Pool(Cells.of(texts[position] for position in kept), shares.slots)
        return drawn(weighted.pick, ANY, longest)
    cells = Cells.of(texts)
    return counted(len(texts), cells.take, ANY, longest)


@word
def constant(*, value: Scalar) -> Kind:
    """The same value in every row.

    Args:
        value: that value.
    """
    text = written(value)
    return drawn(lambda bits: Cells.constant(text, len(bits)), ANY, len((text or b"").decode()))


@word
def null() -> Kind:
    """NULL in every row."""
    return related(lambda bits, _context: Cells.constant(None, len(bits)), ANY, 0, nullable=True)


@word
def uuid() -> Kind:
    """A random UUID of version 4 (RFC 9562)."""

    def make(bits: "Bits") -> Cells:
        high = (draw(bits, 1) & np.uint64(0xFFFFFFFFFFFF0FFF)) | np.uint64(0x4000)
        low = (draw(bits, 2) & np.uint64(0x3FFFFFFFFFFFFFFF)) | np.uint64(0x8000000000000000)
        left, right = hexadecimal(high).matrix, hexadecimal(low).matrix
        matrix = np.full((len(bits), 36), 0x2D, dtype=np.uint8)
        matrix[:, 0:8], matrix[:, 9:13], matrix[:, 14:18] = left[:, 0:8], left[:, 8:12], left[:, 12:16]
        matrix[:, 19:23], matrix[:, 24:36] = right[:, 0:4], right[:, 4:16]
        return Cells(matrix, np.full(len(bits), 36, np.int32), plain=True)

    return drawn(make, frozenset({"uuid", "text"}), 36)


_LETTERS = "0123456789abcdefghjkmnpqrstvwxyz"  # Crockford's 32, in small letters
_PAIRS = np.array([(one + two).encode() for one in _LETTERS for two in _LETTERS], dtype="S2").view(np.uint16)


@word
def token(*, length: int = 12) -> Kind:
    """Random small letters and digits, such as a password's hash or a key would have.

    Args:
        length: characters, 1 to 64.
    """
    if not 1 <= length <= 64:
        raise wrong("token", "length", f"must be 1 to 64, not {length}")

    def make(bits: "Bits") -> Cells:
        pairs = np.empty((len(bits), (length + 1) // 2), dtype=np.uint16)
        for at in range(pairs.shape[1]):
            if at % 6 == 0:
                rest = draw(bits, 3 + at // 6)
            pairs[:, at] = _PAIRS[rest & np.uint64(1023)]
            rest = rest >> np.uint64(10)
        matrix = np.ascontiguousarray(pairs.view(np.uint8)[:, :length])
        return Cells(matrix, np.full(len(bits), length, np.int32), plain=True)

    return drawn(make, TEXT, length)


def written(value: object) -> bytes | None:
    """A value of a recipe as PostgreSQL reads it."""
    match value:
        case None:
            return None
        case bool():
            return b"t" if value else b"f"
        case dt.datetime():
            return value.isoformat(sep=" ").encode()
        case dt.date() | dt.time():
            return value.isoformat().encode()
        case dict() | list():
            return json.dumps(value, ensure_ascii=False, separators=(",", ":"), default=str).encode()
        case _:
            return str(value).encode()
