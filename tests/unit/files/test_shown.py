from pathlib import Path

import pytest

from seedtool.files.shown import shown_path, shown_size


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
