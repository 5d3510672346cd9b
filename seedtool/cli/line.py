"""One line of stderr that says what is being done, how much of it, and for how long. It appears after a second."""

from __future__ import annotations

import os
import sys
import threading
import time

from seedtool.printable import count, printable

# Seconds until the line appears (what is quick says nothing), and between two drawings.
_PATIENCE, _OFTEN = 1.0, 0.2
_BAR = 20

#: The steps of commands in words, by the names that listeners hear.
WORDS = {
    "connect": "connecting",
    "lock": "waiting for another command",
    "sweep": "dropping what killed commands left behind",
    "fingerprint": "reading the project's files",
    "build": "running the migrations",
    "migrate": "running the migrations",
    "seed": "loading the seeds",
    "load": "loading rows",
    "stage": "reading the rows of the files",
    "check": "comparing rows",
    "write": "writing rows",
    "finish": "setting sequences",
    "seal": "sealing the template",
    "clone": "copying the database",
    "then": "running the file of SQL in the copy",
    "spare": "taking a spare",
    "empty": "emptying the schemas",
    "rebuild": "rebuilding the schemas",
    "swap": "swapping the databases",
    "look again": "looking into the old database",
    "drop": "dropping the old database",
    "dump": "writing the file",
    "read": "reading the file",
    "create": "making a database",
    "look": "looking through the copy",
    "sync": "linking faces",
}


class Line:
    """The line, drawn by a thread, for the work that goes on may wait for a server."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._words = ""
        self._counted: tuple[str, int, int | None] | None = None
        self._began = time.monotonic()
        self._width = 0
        self._thread: threading.Thread | None = None

    def step(self, name: str) -> None:
        """Show another step. One that has no words leaves the last one."""
        if name not in WORDS:
            return
        with self._lock:
            self._words, self._counted, self._began = WORDS[name], None, time.monotonic()
        self._start()

    def count(self, what: str, done: int, total: int | None) -> None:
        """Show how much of the step is done."""
        with self._lock:
            self._counted = (what, done, total)
        self._start()

    def clear(self) -> None:
        """Remove the line for a moment: something else is printed."""
        with self._lock:
            self._erase()

    def end(self) -> None:
        """Remove the line for good."""
        self._ended.set()
        if self._thread is not None:
            self._thread.join()

    def _start(self) -> None:
        # only now: a command that has a thread may not fork (seedtool/workflows/ahead.py)
        if self._thread is None and not self._ended.is_set():
            self._thread = threading.Thread(target=self._draw, name="progress", daemon=True)
            self._thread.start()

    def _draw(self) -> None:
        pause = _PATIENCE
        while not self._ended.wait(pause):
            pause = _OFTEN
            with self._lock:
                text = shown(self._words, self._counted, time.monotonic() - self._began)
                self._erase()
                room = _room()
                self._write(text[:room])
                self._width = min(len(text), room)
        self.clear()

    def _erase(self) -> None:
        if self._width:
            self._write("\r" + " " * min(self._width, _room()) + "\r")
            self._width = 0

    def _write(self, text: str) -> None:
        try:
            sys.stderr.write(text)
            sys.stderr.flush()
        except (OSError, ValueError):  # the project's code closed it
            self._ended.set()


def shown(words: str, counted: tuple[str, int, int | None] | None, seconds: float) -> str:
    """Return the line.

    Args:
        words: what is being done.
        counted: what is counted, how many are done, and of how many.
        seconds: since this began.
    """
    parts = [printable(words, one_line=True), _clock(seconds)]
    if counted is not None:
        what, done, total = counted
        number, of = (_size(done), total and _size(total)) if what == "bytes" else (count(done), total and count(total))
        unit = "" if what == "bytes" else f" {what}"
        if total:
            share = min(done / total, 1.0)
            full = int(share * _BAR)
            parts.insert(1, f"[{'#' * full}{'-' * (_BAR - full)}] {share:4.0%}  {number} of {of}{unit}")
            if 0 < share < 1:
                parts.append(f"{_clock(seconds / share - seconds)} left")
        else:
            parts.insert(1, f"{number}{unit}")
    return "  ".join(part for part in parts if part)


def _clock(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    return f"{minutes}:{rest:02}"


def _size(number: int) -> str:
    from seedtool.files.shown import shown_size

    return shown_size(number)


def _room() -> int:
    """Return the columns that may be written without a new line."""
    try:
        return max(os.get_terminal_size(sys.stderr.fileno()).columns - 1, 1)
    except (OSError, ValueError):
        return 79
