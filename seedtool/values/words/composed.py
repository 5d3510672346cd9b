"""Words that are made of others: JSON, arrays, ranges, copies of columns, and the project's own functions."""

import hashlib
import importlib.util
import json as json_text
import sys
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np

from seedtool.errors import SeedError
from seedtool.values.cells import Cells, concat, hexadecimal, signed
from seedtool.values.hashing import below, draw
from seedtool.values.word import (
    ANY,
    ColumnName,
    ColumnNames,
    Context,
    Kind,
    Line,
    Scalar,
    Table,
    drawn,
    kind,
    line,
    related,
    word,
    wrong,
)
from seedtool.values.words.patterns import written
from seedtool.values.words.times import dates_of, day_of, moment_of, moments_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Bits = NDArray[np.uint64]

_JSON = frozenset({"json", "text"})


@word
def json(*, fields: Table, folder: Path | None = None) -> Kind:
    """A JSON object.

    Args:
        fields: name -> word, or a table with `kind`. Each field has random bits of its own, by its name.
        folder: the folder of the project.
    """
    inner = {name: _json_kind(given, folder) for name, given in fields.items()}

    def make(bits: "Bits", context: Context) -> Cells:
        parts: list[Cells | bytes] = [Cells.constant(b"{", len(bits))]
        for number, (name, (made, quote)) in enumerate(inner.items()):
            label = json_text.dumps(name, ensure_ascii=False)
            parts += [
                f"{', ' if number else ''}{label}: ".encode(),
                quote(made.make(draw(bits, _number(name)), context)),
            ]
        return concat([*parts, b"}"])

    longest = 2 + sum(len(name) + 6 + 2 * made.longest for name, (made, _) in inner.items())
    return related(
        make,
        _JSON,
        longest,
        needs=_needs(made for made, _ in inner.values()),
        identifying=any(made.identifying for made, _ in inner.values()),
    )


@word
def array(*, of: Line, min: int = 0, max: int = 3, folder: Path | None = None) -> Kind:
    """An array of PostgreSQL.

    Args:
        of: the word of its elements, or a table with `kind`.
        min: the fewest elements.
        max: the most, up to 100.
        folder: the folder of the project.
    """
    made = line(of, folder)
    return _array("array", made, lambda cells: _quoted(cells, b"NULL"), min, max, b"{,}", frozenset({"array", "text"}))


@word
def json_array(*, of: Line, min: int = 0, max: int = 3, folder: Path | None = None) -> Kind:
    """An array of JSON.

    Args:
        of: the word of its elements, or a table with `kind`.
        min: the fewest elements.
        max: the most, up to 100.
        folder: the folder of the project.
    """
    made, quote = _json_kind(of, folder)
    return _array("json_array", made, quote, min, max, b"[,]", _JSON)


@word
def copy(*, of: ColumnName) -> Kind:
    """The value of another column of the row.

    Args:
        of: that column.
    """
    return related(lambda _bits, context: context.columns[of], ANY, 200, needs=(of,))


@word
def map_(*, of: ColumnName, values: Table, otherwise: Scalar = None) -> Kind:
    """A value that follows from another column of the row.

    Args:
        of: that column.
        values: its value -> the value here.
        otherwise: the value for all others; NULL when left out.
    """
    keys = [key.encode() for key in values]
    known = Cells.of([*(written(value) for value in values.values()), written(otherwise)])
    width = 1 + max(len(key) for key in keys) if keys else 1

    def make(_bits: "Bits", context: Context) -> Cells:
        words = context.columns[of].words(width)
        different, where = np.unique(words, return_inverse=True)
        positions = {key: number for number, key in enumerate(keys)}
        chosen = np.array([positions.get(one, len(keys)) for one in different.tolist()], dtype=np.int64)
        missing = context.columns[of].lengths < 0
        return known.take(np.where(missing, len(keys), chosen[where.reshape(-1)]))

    longest = max(len((value or b"").decode()) for value in known.tolist())
    return related(make, ANY, longest, needs=(of,), nullable=otherwise is None)


@word
def bytes_(*, length: int = 16) -> Kind:
    """Random bytes, for bytea.

    Args:
        length: how many, 1 to 1024.
    """
    if not 1 <= length <= 1024:
        raise wrong("bytes", "length", f"must be 1 to 1024, not {length}")

    def make(bits: "Bits") -> Cells:
        matrix = np.empty((len(bits), 2 + (length + 7) // 8 * 16), dtype=np.uint8)
        matrix[:, 0], matrix[:, 1] = ord("\\"), ord("x")
        for number in range((length + 7) // 8):
            matrix[:, 2 + number * 16 : 18 + number * 16] = hexadecimal(draw(bits, 1 + number)).matrix
        return Cells(np.ascontiguousarray(matrix[:, : 2 + 2 * length]), np.full(len(bits), 2 + 2 * length, np.int32))

    return drawn(make, frozenset({"bytea", "text"}), 2 + 2 * length)


@word
def range_(*, type: str = "integer", start: Scalar = 0, length: int = 10, gap: int = 0, zone: str = "") -> Kind:
    """A range of PostgreSQL. Ranges of different rows do not overlap.

    Args:
        type: `integer`, `date` or `timestamp`.
        start: where the first row's range begins.
        length: how long each is: in whole numbers, days or seconds.
        gap: how much is free between two rows' ranges.
        zone: the offset from UTC behind times, such as -03.
    """
    if type not in {"integer", "date", "timestamp"}:
        raise wrong("range", "type", f"must be integer, date or timestamp, not {type!r}")
    if length < 1 or gap < 0:
        raise wrong("range", "length", f"must be at least 1, not {length}")
    if type == "integer":
        first = start if isinstance(start, int) else int(str(start))
    else:
        first = (day_of if type == "date" else moment_of)("range", "start", start or "2025-01-01")
    write: Callable[[Any], Cells] = {"integer": signed, "date": dates_of}.get(
        type, lambda numbers: moments_of(numbers, zone.encode())
    )

    def make(_bits: "Bits", context: Context) -> Cells:
        low = context.rows * (length + gap) + first
        return concat([Cells.constant(b'["', len(low)), write(low), b'","', write(low + length), b'")'])

    return related(make, frozenset({"range", "text"}), 60, distinct=True)


@word
def function(*, name: str, of: ColumnNames = (), folder: Path | None = None) -> Kind:
    """Values of a function of the project.

    It is called with the random bits (uint64[n]) and the row numbers (int64[n]), and with each column of `of` as a list
    of texts by its name. It gives n values, as an array or a list, and must depend on nothing else.

    Args:
        name: the file and the function, such as `seeds/kinds.py:plate`.
        of: the other columns that it needs.
        folder: the folder of the project.
    """
    file, colon, attribute = name.rpartition(":")
    path = (folder or Path()) / file
    if not colon or not file.endswith(".py") or Path(file).is_absolute() or ".." in Path(file).parts:
        raise wrong(
            "function", "name", f"must be a file of the project and a function, such as kinds.py:plate, not {name!r}"
        )
    called = getattr(_loaded(path), attribute, None)
    if not callable(called):
        raise SeedError(
            f"{file} has no function {attribute}", file=str(path), remedy=f"Write def {attribute}(bits, rows):"
        )

    def make(bits: "Bits", context: Context) -> Cells:
        columns = {
            one: [None if value is None else value.decode() for value in context.columns[one].tolist()] for one in of
        }
        try:
            values = called(bits, context.rows, **columns)
        except Exception as error:
            raise SeedError(f"{name} failed: {type(error).__name__}: {error}", file=str(path)) from error
        if len(values) != len(bits):
            raise SeedError(f"{name} gave {len(values)} values for {len(bits)} rows", file=str(path))
        if isinstance(values, Cells):
            return values
        return Cells.of(written(value) for value in (values.tolist() if hasattr(values, "tolist") else values))

    return related(make, ANY, 10_000, needs=tuple(of), nullable=True)


def _loaded(path: Path) -> ModuleType:
    """A module of the project by its path."""
    spec = importlib.util.spec_from_file_location(f"seedtool_kinds_{path.stem}", path)
    if spec is None or spec.loader is None or not path.is_file():
        raise SeedError(f"{path.name} cannot be read", file=str(path), remedy="Write the file, or correct the name.")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        raise SeedError(f"{path.name} cannot be run: {type(error).__name__}: {error}", file=str(path)) from error
    return module


def _array(
    name: str,
    made: Kind,
    quote: "Callable[[Cells], Cells]",
    least: int,
    most: int,
    marks: bytes,
    types: frozenset[str],
) -> Kind:
    if not 0 <= least <= most <= 100:
        raise wrong(name, "max", f"must be between min and 100, not {most}")
    opening, comma, closing = (marks[at : at + 1] for at in range(3))

    def make(bits: "Bits", context: Context) -> Cells:
        count = below(draw(bits, 0), most - least + 1).astype(np.int64) + least
        empty = Cells.constant(b"", len(bits))
        parts: list[Cells | bytes] = [Cells.constant(opening, len(bits))]
        for number in range(most):
            element = quote(made.make(draw(bits, 1 + number), context))
            if number:
                element = concat([Cells.constant(comma, len(bits)), element])
            parts.append(element if number < least else element.choose(count > number, empty))
        return concat([*parts, closing])

    longest = 2 + most * (2 * made.longest + 3)
    return related(make, types, longest, needs=made.needs, identifying=made.identifying)


def _json_kind(given: str | Mapping[str, Any], folder: Path | None) -> "tuple[Kind, Callable[[Cells], Cells]]":
    """The kind of a JSON value, and what writes its cells as JSON."""
    if isinstance(given, Mapping) and given.get("kind") in {"choice", "constant"}:
        # their values have JSON's own types
        parameters = {key: value for key, value in given.items() if key != "kind"}
        if "values" in parameters:
            parameters["values"] = [json_text.dumps(value, ensure_ascii=False) for value in parameters["values"]]
        else:
            parameters["value"] = json_text.dumps(parameters.get("value"), ensure_ascii=False)
        return kind(str(given["kind"]), folder=folder, **parameters), _raw
    made = line(given, folder)
    if made.name in {"json", "json_array"} or made.types & {"integer", "numeric"}:
        return made, _raw
    if "boolean" in made.types:
        return made, _truth
    return made, lambda cells: _quoted(cells, b"null")


def _raw(cells: Cells) -> Cells:
    return _nulls(cells, b"null")


def _truth(cells: Cells) -> Cells:
    both = Cells.of(["false", "true", "null"])
    return both.take(np.where(cells.lengths < 0, 2, (cells.matrix[:, 0] == ord("t")).astype(np.int64)))


def _nulls(cells: Cells, null: bytes) -> Cells:
    missing = cells.lengths < 0
    if not missing.any():
        return cells
    return Cells.constant(null, len(cells)).choose(missing, cells)


def _quoted(cells: Cells, null: bytes) -> Cells:
    """The cells in double quotes; what JSON and PostgreSQL's arrays escape has a backslash before it."""
    missing = cells.lengths < 0
    filled = Cells(cells.matrix, np.maximum(cells.lengths, 0), plain=cells.plain)
    special = ((filled.matrix == 0x22) | (filled.matrix == 0x5C) | (filled.matrix < 0x20)) & (
        np.arange(filled.width, dtype=np.int32) < filled.lengths[:, None]
    )
    if special.any():
        texts = [json_text.dumps((value or b"").decode(), ensure_ascii=False)[1:-1] for value in filled.tolist()]
        filled = Cells.of(texts)
    quoted = concat([Cells.constant(b'"', len(cells)), filled, b'"'])
    return Cells.constant(null, len(cells)).choose(missing, quoted) if missing.any() else quoted


def _needs(kinds: Iterable[Kind]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(name for made in kinds for name in made.needs))


def _number(name: str) -> int:
    """A number for the bits of a field, by its name: another field changes nothing."""
    return 2**32 + int.from_bytes(hashlib.blake2b(name.encode(), digest_size=4).digest(), "little")
