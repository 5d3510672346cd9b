from pathlib import Path

import pytest

from seedtool.files.shown import shown_path, shown_size
from seedtool.printable import printable


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 bytes"), (999, "999 bytes"), (1000, "1.0 kB"), (11_100, "11 kB"), (10_900_000, "11 MB"),
        (1_500_000_000, "1.5 GB"), (2 * 10**13, "20000 GB"),
    ],
)  # fmt: skip
def test_a_size_is_shown_in_the_largest_unit_that_it_fills(count, text):
    assert shown_size(count) == text


def test_a_path_is_shown_from_the_projects_root():
    assert shown_path(Path("/shop/seeds/local"), Path("/shop")) == "seeds/local"
    assert shown_path(Path("/elsewhere/a.csv"), Path("/shop")) == "/elsewhere/a.csv"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("Muñoz 佐藤 👩‍👩‍👧", "Muñoz 佐藤 👩‍👩‍👧"),
        ("two\nlines\tand a tab", "two\nlines\tand a tab"),
        ("\x1b]0;title\x07\x1b[2J", r"\x1b]0;title\x07\x1b[2J"),
        ("over\rwritten", r"over\rwritten"),
        ("\x9b31m \x7f", r"\x9b31m \x7f"),
        ("txt.\u202egnp", r"txt.\u202egnp"),
        ("caf\udce9", r"caf\udce9"),
    ],
)
def test_what_steers_a_terminal_is_written_out(text, shown):
    assert printable(text) == shown
    assert printable(shown) == shown


def test_a_cell_of_a_table_stays_on_its_line():
    assert printable("two\nlines\tand a tab", one_line=True) == r"two\nlines\tand a tab"
