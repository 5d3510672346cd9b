"""Rows as files, and a look at what would be made: neither writes into the database."""

import csv
import datetime as dt
import xml.etree.ElementTree as ET

import pytest

from seedtool.errors import UsageError
from seedtool.workflows import load as workflow

TABLES = ("families", "pupils", "photos")


def arguments(school):
    return {"settings": school.settings, "target": school.target}


def rows_of(school, table, columns):
    return [
        tuple("" if value is None else str(value).removesuffix("+00:00") for value in row)
        for row in school.query(f"SELECT {', '.join(columns)} FROM {table}")
    ]


def test_files_hold_the_rows_that_a_load_would_write(school, tmp_path):
    files = workflow.load_files("district", tmp_path / "out", **arguments(school))
    assert school.value("SELECT to_regnamespace('seedtool')") is None
    school.load()
    for table, written in zip(TABLES, files, strict=True):
        with (tmp_path / "out" / f"{table}.csv").open(newline="") as file:
            header, *rows = csv.reader(file)
        assert [tuple(row) for row in rows] == rows_of(school, table, header)
        assert written.rows == len(rows)
    assert not list((tmp_path / "out").glob("*.part"))
    with pytest.raises(UsageError) as raised:
        workflow.load_files("district", tmp_path / "out", **arguments(school))
    assert raised.value.place["option"] == "--to"


AWKWARD = """
[rows]
a = 8
[tables.a]
x = { kind = "cycle", values = ['say "no"', "a, b", "two\\nlines", "", "tab\\t\\\\"], each = 1 }
n = { kind = "integer", min = -5, max = 5, nulls = 0.5 }
b = "boolean"
d = "date"
"""


def test_awkward_values_come_through_files_and_copy(school, tmp_path):
    school.execute("CREATE TABLE a (x text, n int, b boolean, d date)")
    school.write(AWKWARD)
    workflow.load_files("district", tmp_path, **arguments(school))
    school.load()
    expected = school.query("SELECT x, n FROM a")
    with (tmp_path / "a.csv").open(newline="") as file:
        rows = [(row["x"], int(row["n"]) if row["n"] else None) for row in csv.DictReader(file)]
    assert rows == expected
    assert {None, 'say "no"', "a, b", "two\nlines", "", "tab\t\\"} - {None} == {x for x, _ in rows}


def test_parquet_has_the_types_of_the_columns(school, tmp_path):
    parquet = pytest.importorskip("pyarrow.parquet")
    school.execute("CREATE TABLE a (x text, n int, b boolean, d date)")
    school.write(AWKWARD)
    workflow.load_files("district", tmp_path, form="parquet", **arguments(school))
    school.load()
    table = parquet.read_table(tmp_path / "a.parquet")
    found = list(zip(*(table.column(name).to_pylist() for name in ("x", "n", "b", "d")), strict=True))
    assert found == school.query("SELECT x, n, b, d FROM a")
    assert isinstance(found[0][3], dt.date)


def test_a_dry_run_shows_tables_in_order_with_rows_references_sizes_and_samples(school):
    shown = workflow.preview("district", scale=2, **arguments(school))
    assert [each.table for each in shown.tables] == ["families", "pupils", "photos"]
    assert [each.rows for each in shown.tables] == [60, 120, 120]
    assert shown.tables[1].references == {"family_id": "families"}
    assert len(shown.tables[1].sample) == 5
    assert shown.tables[1].sample[0]["id"] == "pupil-0001"
    assert 1_000 < shown.size < 100_000
    assert school.value("SELECT count(*) FROM families") == 0


def test_the_report_has_a_picture_of_the_recipe(school, tmp_path):
    report = school.load()
    shown = workflow.preview("district", **arguments(school))
    workflow.write_page(shown, report, tmp_path / "report.html")
    text = (tmp_path / "report.html").read_text()
    picture = ET.fromstring(text[text.index("<svg") : text.index("</svg>") + 6])  # noqa: S314 - our own
    labels = [each.text for each in picture.iter("{http://www.w3.org/2000/svg}text")]
    assert labels == ["families", "30 rows", "pupils", "60 rows", "photos", "60 rows"]
    assert len(list(picture.iter("{http://www.w3.org/2000/svg}path"))) == 2
    assert "pupil-0005" in text
