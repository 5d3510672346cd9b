"""Files of many rows are streamed; what they hold and what is wrong with them is told as of small ones."""

import time
import tracemalloc

import pytest

from seedtool.errors import FixtureError
from seedtool.listener import Listener
from seedtool.seeding.fixtures import read_fixtures
from seedtool.seeding.merge import seed

ROWS = 12_000


@pytest.fixture
def table(project):
    project.run("CREATE TABLE plain (id int PRIMARY KEY, name text, note text)")
    return project


def rows_of(project):
    return project.rows("SELECT id, name, note FROM plain ORDER BY id")


@pytest.mark.parametrize(("delimiter", "end"), [(",", "\n"), (";", "\r\n"), ("\t", "\r")])
def test_cells_of_every_kind_arrive_as_they_are_written(table, delimiter, end):
    """Cells on one line are COPY's to read, the others are read here; the order of both makes no difference."""
    cells = ["\\.", "\\N", "\\n", " a ", "'", '"', '""', "é", ",", ";", "\t", "a\nb", "a\r\nb\n\\.\nc", "NULL", ""]
    lines = ["id,name,note".replace(",", delimiter)]
    for number, cell in enumerate(cells):
        quoted = '"' + cell.replace('"', '""') + '"'
        bare = cell if not {*cell} & {*'",;\t\r\n'} else quoted
        lines += [f"{number}{delimiter}{bare}{delimiter}", "", f"{number + 100}{delimiter}{delimiter}{quoted}"]
    table.write("plain.csv", end.join([*lines, ""]))
    table.seed()
    expected = [(number, cell or None, None) for number, cell in enumerate(cells)]
    assert rows_of(table) == expected + [(number + 100, None, cell) for number, cell in enumerate(cells)]


def test_a_fault_far_down_is_told_with_its_line(table):
    lines = [f'{number},"a\nb",{number}' for number in range(ROWS)]
    lines[ROWS - 7] = f"{'x' * 3},a,"
    table.write("plain.csv", "id,name,note\n" + "\n".join(lines))
    with pytest.raises(FixtureError) as caught:
        table.seed()
    assert (caught.value.line, caught.value.column) == (2 + 2 * (ROWS - 7), "id")
    assert rows_of(table) == []


def test_the_client_holds_no_rows(table):
    """A file of twice the rows takes no more memory."""
    peaks = []
    for rows in (ROWS, 2 * ROWS):
        table.write("plain.csv", "id,name,note\n" + "".join(f"{n},{'x' * 80},\n" for n in range(rows)))
        tracemalloc.start()
        table.seed()
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < peaks[0] + 200_000


def test_a_header_that_changes_while_the_seed_waits_is_told(table):
    """Otherwise the values would go into the columns of the header that was read first."""
    table.write("plain.csv", "id,name,note\n1,a,b\n")
    fixtures = read_fixtures(table.root / "seeds", ["local"], table.root)
    table.write("plain.csv", "id,note,name\n1,b,a\n")
    with pytest.raises(FixtureError, match="another header") as caught:
        seed(table.connection, fixtures)
    assert caught.value.file == "seeds/local/plain.csv"
    assert rows_of(table) == []


@pytest.mark.parametrize("name", ["plain.csv", "plain.yaml"])
def test_a_file_that_is_written_while_it_is_seeded_is_compared_next_time(table, name):
    first, second = (
        ("id,name\n1,a\n", "id,name\n1,b\n") if name == "plain.csv" else ("- {id: 1, name: a}", "- {id: 1, name: b}")
    )
    table.write(name, first)
    fixtures = read_fixtures(table.root / "seeds", ["local"], table.root)
    time.sleep(0.05)
    table.write(name, second)
    seed(table.connection, fixtures)
    table.seed()
    assert rows_of(table) == [(1, "b", None)]


def test_a_file_that_goes_is_told(table):
    table.write("plain.csv", "id,name\n1,a\n")
    fixtures = read_fixtures(table.root / "seeds", ["local"], table.root)
    table.remove("plain.csv")
    with pytest.raises(FixtureError, match="cannot be read"):
        seed(table.connection, fixtures)


class Rows(Listener):
    def __init__(self):
        self.heard = []

    def progress(self, what, done, total=None):
        self.heard.append((what, done, total))


@pytest.mark.parametrize("empty", [True, False])
def test_a_listener_hears_how_many_rows_are_copied(table, empty):
    """An empty table is loaded straight from the file, and the rows of another are compared first."""
    if not empty:
        table.run("INSERT INTO plain VALUES (-1, 'somebody', NULL)")
    note = "x" * 100  # a file of more than a megabyte, whose lines are counted
    table.write("plain.csv", "id,name,note\n" + "".join(f"{number},a,{note}\n" for number in range(ROWS)))
    listener = Rows()
    table.seed(listener=listener)
    assert listener.heard == [("rows", done, ROWS) for done in range(2000, ROWS + 1, 2000)]
