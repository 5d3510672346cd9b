"""Generated rows as files, for a warehouse or for reading: csv, or parquet where pyarrow is installed."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from seedtool import extras
from seedtool.errors import UsageError
from seedtool.generating.inference import family
from seedtool.generating.rows import ROWS_A_BLOCK
from seedtool.listener import SILENT, Listener
from seedtool.values.cells import Cells, concat

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from seedtool.generating.planning import Plan
    from seedtool.generating.rows import PlannedTable
    from seedtool.postgres.catalog import Column

Form = Literal["csv", "parquet"]

#: Rows of a group in a parquet file: readers skip whole groups.
_GROUP = 32 * ROWS_A_BLOCK


class Written(msgspec.Struct, frozen=True, kw_only=True):
    """A file that was written."""

    table: str
    file: str
    rows: int
    size: int


def write(plan: Plan, folder: Path, form: Form, listener: Listener = SILENT) -> list[Written]:
    """Write each table of a plan into a file of its own.

    A file has its name when it is whole. Before that it ends in `.part`.

    Args:
        plan: the plan.
        folder: it is made when it is missing.
        form: `csv` has a header, NULL is an empty cell and an empty text is `""`; `parquet` has the columns' types.
        listener: hears how many rows are written.

    Raises:
        UsageError: a file is there already, or pyarrow is missing.
    """
    if form == "parquet":
        _pyarrow()
    folder.mkdir(parents=True, exist_ok=True)
    files = {planned.name: folder / f"{planned.name}.{form}" for planned in plan.tables}
    for file in files.values():
        if file.exists():
            raise UsageError(f"{file} is there already", remedy="Remove it, or name another folder.", option="--to")
    total = sum(plan.rows(planned) for planned in plan.tables)
    done, written = 0, []
    for planned in plan.tables:
        file = files[planned.name]
        part = file.with_name(f"{file.name}.part")
        count = plan.rows(planned)
        for rows in (_csv if form == "csv" else _parquet)(planned, count, part):
            done += rows
            listener.progress("rows", done, total)
        part.rename(file)
        written.append(Written(table=planned.name, file=str(file), rows=count, size=file.stat().st_size))
    return written


def _batches(planned: PlannedTable, count: int, size: int) -> Iterator[list[Cells]]:
    import numpy as np

    for start in range(0, count, size):
        batch = planned.batch(np.arange(start, min(start + size, count), dtype=np.int64))
        yield [batch.cells(name) for name in planned.written]


def _csv(planned: PlannedTable, count: int, file: Path) -> Iterator[int]:
    import numpy as np

    with file.open("wb") as out:
        out.write(",".join(map(_quoted_name, planned.written)).encode() + b"\n")
        for columns in _batches(planned, count, ROWS_A_BLOCK):
            parts: list[Cells | bytes] = []
            for place, cells in enumerate(columns):
                parts += [b","] if place else []
                parts.append(_quoted(cells))
            rows = concat([*parts, b"\n"])
            out.write(rows.matrix[np.arange(rows.width, dtype=np.int32) < rows.lengths[:, None]].tobytes())
            yield len(rows)


def _quoted_name(name: str) -> str:
    return '"' + name.replace('"', '""') + '"' if set(name) & set('",\n') else name


def _quoted(cells: Cells) -> Cells:
    """Return cells as a csv has them: quoted where they need it, NULL as nothing (RFC 4180, section 2)."""
    import numpy as np

    matrix = cells.matrix
    special = (matrix == 0x22) | (matrix == 0x2C) | (matrix == 0x0A) | (matrix == 0x0D)  # " , and the ends of lines
    inside = (special & (np.arange(cells.width, dtype=np.int32) < cells.lengths[:, None])).any(axis=1)
    inside |= cells.lengths == 0
    plain = Cells(matrix, np.maximum(cells.lengths, 0))
    if not inside.any():
        return plain
    where = np.flatnonzero(inside)
    texts = Cells.of([b'"' + (value or b"").replace(b'"', b'""') + b'"' for value in cells.take(where).tolist()])
    other = np.zeros(len(cells), dtype=np.int64)
    other[where] = np.arange(len(where))
    return texts.take(other).choose(inside, plain)


def _pyarrow() -> Any:  # noqa: ANN401 - the package is optional, and has no types
    extras.require("fast", option="--format")
    import pyarrow.parquet

    return pyarrow


def _parquet(planned: PlannedTable, count: int, file: Path) -> Iterator[int]:
    pyarrow = _pyarrow()
    types = [_type(pyarrow, planned.table.columns[name]) for name in planned.written]
    schema = pyarrow.schema(list(zip(planned.written, types, strict=True)))
    with contextlib.closing(pyarrow.parquet.ParquetWriter(file, schema)) as writer:
        for columns in _batches(planned, count, _GROUP):
            arrays = [_array(pyarrow, cells, type_) for cells, type_ in zip(columns, types, strict=True)]
            writer.write_table(pyarrow.Table.from_arrays(arrays, schema=schema))
            yield len(columns[0])


def _type(pyarrow: Any, column: Column) -> Any:  # noqa: ANN401 - see `_pyarrow`
    """Return the type of a column in a parquet file: its own for whole numbers, dates and truth values, else text."""
    match family(column):
        case "integer":
            return pyarrow.int64()
        case "boolean":
            return pyarrow.bool_()
        case "date":
            return pyarrow.date32()
        case "numeric" if column.value.name in {"float4", "float8"}:
            return pyarrow.float64()
    return pyarrow.string()


def _array(pyarrow: Any, cells: Cells, type_: Any) -> Any:  # noqa: ANN401 - see `_pyarrow`
    """Return cells as an array of Arrow, without an object for each."""
    import numpy as np

    lengths = np.maximum(cells.lengths, 0)
    data = cells.matrix[np.arange(cells.width, dtype=np.int32) < lengths[:, None]]
    offsets = np.concatenate([np.zeros(1, dtype=np.int32), np.cumsum(lengths, dtype=np.int32)])
    valid = np.packbits(cells.lengths >= 0, bitorder="little")
    texts = pyarrow.StringArray.from_buffers(
        len(cells), pyarrow.py_buffer(offsets), pyarrow.py_buffer(data), pyarrow.py_buffer(valid)
    )
    if type_ == pyarrow.string():
        return texts
    if type_ == pyarrow.bool_():
        from pyarrow import compute

        return compute.starts_with(texts, "t")
    return texts.cast(type_)
