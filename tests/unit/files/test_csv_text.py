import csv
import io
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seedtool.files import Malformed, csv_text


def read(content):
    """Return the columns, the lines on which rows begin, and the rows."""
    reader = csv_text.Reader(io.BytesIO(content))
    rows = list(reader)
    return reader.columns, [line for line, _ in rows], [record for _, record in rows]


cells = st.none() | st.text(st.characters(exclude_categories=("Cs",))) | st.sampled_from(
    ["", '"', ",", "\n", "\r", "\r\n", " a", "a ", "\u2028", "\x0b", "\x1c", "\ufeff", 'say ""hi""', "\n\n", "a;b", "a\tb"]
)  # fmt: skip


@given(st.lists(st.lists(cells, min_size=3, max_size=3)))
def test_what_is_written_is_read_again(rows):
    text = "".join(csv_text.write(["a", "b", "c"], rows))
    columns, _, found = read(text.encode())
    assert columns == ("a", "b", "c")
    assert found == rows


forms = st.builds(
    csv_text.Form,
    delimiter=st.sampled_from([",", ";", "\t"]),
    line_end=st.sampled_from(["\n", "\r\n", "\r"]),
    mark=st.booleans(),
)
names = st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\0"), min_size=1).filter(
    str.strip
) | st.sampled_from(["a;b", "a,b", "a\tb"])


@given(st.lists(names, min_size=2, max_size=3, unique=True), st.data(), forms)
def test_what_is_written_in_any_form_is_read_again_in_that_form(columns, data, form):
    rows = data.draw(st.lists(st.lists(cells, min_size=len(columns), max_size=len(columns))))
    reader = csv_text.Reader(io.BytesIO("".join(csv_text.write(columns, rows, form)).encode()))
    assert reader.columns == tuple(columns)
    assert [record for _, record in reader] == rows
    assert reader.form == form


@pytest.mark.parametrize(
    ("header", "delimiter", "columns"),
    [
        ("id", ",", ("id",)), ("id;name", ";", ("id", "name")), ("id\tname", "\t", ("id", "name")),
        ("id;x,name", ",", ("id;x", "name")), ('id;"a,b"', ";", ("id", "a,b")), ('"a;b",id', ",", ("a;b", "id")),
        ('"a\nb";id', ";", ("a\nb", "id")), ("\n\nid;name", ";", ("id", "name")),
    ],
)  # fmt: skip
def test_the_header_tells_what_separates_cells(header, delimiter, columns):
    reader = csv_text.Reader(io.BytesIO(f"{header}\n".encode()))
    assert reader.form.delimiter == delimiter
    assert reader.columns == columns
    assert list(reader) == []


@pytest.mark.parametrize("content", [b"", b"\n\r\n", "\ufeff \n\n".encode(), b" \t \r\n"])
def test_a_file_without_a_header_has_no_columns(content):
    assert read(content) == ((), [], [])


def test_the_headers_line_is_known():
    assert csv_text.Reader(io.BytesIO(b"\r\n\nid,name\n")).line == 3


def test_rows_are_read_as_they_are_asked_for():
    class Endless(io.RawIOBase):
        def readable(self):
            return True

        def readinto(self, buffer):
            buffer[:4] = b"1;2\n"
            return 4

    reader = csv_text.Reader(io.BufferedReader(Endless()))
    assert next(iter(reader)) == (2, ["1", "2"])


def test_a_cell_of_many_lines_is_read_in_the_time_of_its_length():
    cell = "line\n" * 100_000
    started = time.process_time()
    assert read(f'id,text\n1,"{cell}"\n'.encode())[2] == [["1", cell]]
    assert time.process_time() - started < 2


@given(st.lists(st.lists(cells, min_size=2, max_size=2)))
def test_pythons_own_reader_agrees(rows):
    text = "".join(csv_text.write(["a", "b"], rows))
    expected = [[cell or "" for cell in row] for row in rows]
    assert list(csv.reader(io.StringIO(text, newline=""), strict=True))[1:] == expected


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_line_ends_and_byte_order_marks_of_every_program(end, mark):
    text = mark + end.join(["id,name", '1,"a, b"', "", "2,", f'3,"x{end}y"', '4,""']) + end
    columns, lines, rows = read(text.encode())
    assert columns == ("id", "name")
    assert rows == [["1", "a, b"], ["2", None], ["3", f"x{end}y"], ["4", ""]]
    assert lines == [2, 4, 5, 7]


def test_a_last_line_without_an_end_counts():
    assert read(b"id,name\n1,")[2] == [["1", None]]
    assert read(b'id,name\n1,"a"')[2] == [["1", "a"]]


def test_a_header_alone_is_a_table_without_rows():
    assert read(b"id,name\n") == (("id", "name"), [], [])


@pytest.mark.parametrize(
    ("content", "line", "column"),
    [
        (b'id,name\n1,"a', 2, "name"),
        (b'id,name\n1,"a\n\nb', 2, "name"),
        (b'"id,name\n', 1, None),
        (b'id,name\n"1"x,a\n', 2, "id"),
        (b'id,name\n1,a"b\n', 2, "name"),
        (b'id,name\n1,a,"b\n', 2, None),
        (b"id,name\n\xff,a\n", 2, "id"),
        (b"id,na\xffme\n", 1, None),
        (b'id,name\n1,"x\ny"\n2,\xff\n', 4, "name"),
        (b'id,name\n1,"\n2,\xff\n', 3, None),
        (b'id,name\n1,a"b\n2,\xff\n', 3, None),
        (b'id;name\n1;"a', 2, "name"),
        (b"id;name\n1;2;3\n", 2, "name"),
        (b"id\tname\n1,2\n", 2, "name"),
        ("id,name\n1,ña\n".encode("cp1252"), 2, "name"),
        ("id,name\n1,ña\n".encode("utf-16"), 1, None),
        ("id,name\n1,ña\n".encode("utf-16-be"), 1, None),
        (b"id,id\n", 1, "id"),
        (b"\nid,,name\n", 2, None),
    ],
)
def test_what_is_malformed_is_told_with_its_place(content, line, column, approved):
    with pytest.raises(Malformed) as caught:
        read(content)
    assert (caught.value.line, caught.value.column) == (line, column)
    assert caught.value.remedy
    approved(caught.value)


lines_of_any_kind = st.lists(st.sampled_from(["a", "b", "", '"', ",", "\n", "\r\n", "\r", " ", '""']), max_size=30)


@given(lines_of_any_kind.map(lambda parts: "x,y\n" + "".join(parts)))
def test_whole_lines_are_the_same_rows(content):
    """Split by Python's reader they are what iterating yields, and the same content is malformed in the same way."""

    def rows(whole):
        reader = csv_text.Reader(io.BytesIO(content.encode()))
        try:
            for line, row in reader.whole_lines() if whole else reader:
                cells = next(csv.reader([row])) if isinstance(row, str) else ["" if c is None else c for c in row]
                yield line, cells
        except Malformed as fault:
            yield fault.line, fault.column, str(fault)

    assert list(rows(whole=True)) == list(rows(whole=False))


@given(st.lists(cells, min_size=2, max_size=4))
def test_a_quoted_row_is_read_again(row):
    text = ",".join("abcd"[: len(row)]) + "\n" + csv_text.quoted_row(row, ",")
    assert [record for _, record in csv_text.Reader(io.BytesIO(text.encode()))] == [row]
