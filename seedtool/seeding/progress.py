"""How many rows of the files are copied, for the listener of a seed."""

from collections.abc import Iterable, Iterator
from typing import TypeVar

from seedtool.listener import Listener
from seedtool.seeding.fixtures import Fixture

Row = TypeVar("Row")

#: Rows after which the listener hears of them.
_OFTEN = 2000
#: Bytes from which on the lines of a file are counted first; what is smaller is copied before anybody looks.
_LARGE = 1 << 20


class Rows:
    """Counts rows on their way.

    Args:
        listener: hears how many rows are copied.
        fixtures: the files that will be copied.
    """

    def __init__(self, listener: Listener, fixtures: Iterable[Fixture]) -> None:
        self._listener = listener
        self._done = 0
        fixtures = list(fixtures)
        large = sum(each.stamp[1] for each in fixtures) >= _LARGE
        # a cell of several lines makes it too many, which nobody minds
        self._total = sum(map(_count, fixtures)) if large else None

    def through(self, rows: Iterable[Row]) -> Iterator[Row]:
        """Yield rows, and count them."""
        for row in rows:
            yield row
            self._done += 1
            if self._done % _OFTEN == 0:
                total = None if self._total is None else max(self._total, self._done)
                self._listener.progress("rows", self._done, total)


def _count(fixture: Fixture) -> int:
    if all(each.form is None for each in fixture.batches):
        return sum(len(each.rows) for each in fixture.batches)
    lines = 0
    with fixture.path.open("rb") as file:
        while piece := file.read(1 << 16):
            lines += piece.count(b"\n")
    return max(lines - 1, 0)
