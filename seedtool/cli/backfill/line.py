"""The one line that shows how far a backfill is, fitted to the terminal."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from seedtool.backfill import Progress
    from seedtool.cli.console import Console

# Columns of the bar at most, and at least in the long and in the short form.
_LONGEST, _LONG, _SHORT = 60, 10, 4


class Line:
    """Writes the line over itself on stderr, where that is a terminal; otherwise nothing, but that it is ending.

    Args:
        console: with --quiet it shows nothing.
    """

    def __init__(self, console: Console) -> None:
        self._console = console
        self._shows = not console.quiet and sys.stderr.isatty() and os.environ.get("TERM") != "dumb"
        blocks = "utf" in (sys.stderr.encoding or "").lower()
        self._full, self._empty = ("█", "░") if blocks else ("#", "-")
        self._written = 0
        self._told = False

    def __call__(self, progress: Progress) -> None:
        """Show how far it is."""
        if progress.ending and not self._told:
            self._told = True
            self.clear()
            self._console.note("finishing what is in flight; another Ctrl+C stops at once, and nothing is lost either")
        if self._shows:
            try:
                columns = os.get_terminal_size(sys.stderr.fileno()).columns
            except (OSError, ValueError):
                columns = 80
            text = line(progress, (columns or 80) - 1, self._full, self._empty)
            sys.stderr.write("\r" + text.ljust(min(self._written, (columns or 80) - 1)))
            sys.stderr.flush()
            self._written = len(text)

    def clear(self) -> None:
        """Make room for what comes next."""
        if self._written:
            sys.stderr.write("\r" + " " * self._written + "\r")
            sys.stderr.flush()
            self._written = 0


def line(progress: Progress, width: int, full: str = "#", empty: str = "-") -> str:
    """Return bar, percent, done of total, succeeded, failed, faces and the time left, in so many columns at most.

    What does not fit is shortened first, then the bar goes, then what others tell already.

    Args:
        progress: how far it is.
        width: columns.
        full: a column of the bar that is done.
        empty: one that is not.
    """
    share = progress.done / progress.total if progress.total else 1.0
    percent = f"{int(100 * share)}%"
    left = "ending" if progress.ending else _left(progress.seconds_left)
    long = (
        f"{percent:>4}  {progress.done:,}/{progress.total:,}  {progress.succeeded:,} succeeded  "
        f"{progress.failed:,} failed  {progress.faces:,} faces  {left}{'' if progress.ending else ' left'}"
    )
    done = f"{percent} {progress.done}/{progress.total}"
    short = f"{done} {progress.succeeded} ok {progress.failed} bad {progress.faces} faces {left}"
    terse = f"{done} +{progress.succeeded} -{progress.failed} {progress.faces}f {left}"
    tiny = f"{done} -{progress.failed} {left}"
    for text, least in ((long, _LONG), (short, _SHORT), (terse, _SHORT)):
        room = width - len(text) - 3
        if room >= least:
            columns = min(_LONGEST, room)
            filled = int(columns * share)
            return f"[{full * filled}{empty * (columns - filled)}] {text}"
    return next((text for text in (terse, tiny) if len(text) <= width), tiny[: max(0, width)])


def _left(seconds: float | None) -> str:
    if seconds is None:
        return "?"
    whole = round(seconds)
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m{whole % 60:02}s"
    return f"{whole // 3600}h{whole % 3600 // 60:02}m"
