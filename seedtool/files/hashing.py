"""Hashes of what files hold, and the walk through folders that finds the files.

The hashes of large files are remembered, since reading a gigabyte takes longer than a reset. A hash is remembered with
the file's size, inode and times. Nobody can set the time of the inode's change, so a file that was changed and given
its old time again is seen. A file that was changed a moment ago is read again: its next change may fall into the same
tick of the file system's clock (git's index does the same).
"""

import contextlib
import errno
import hashlib
import os
import re
import time
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from typing import Generic, NamedTuple, TypeVar

import msgspec

from seedtool.errors import SettingsError
from seedtool.files.writing import write_whole

#: Files below this are read each time (bytes); a thousand times as many take a second.
LARGE = 2**20
#: How long ago the last change has to be (nanoseconds): the coarsest clocks tick every two seconds (FAT).
SETTLED = 3 * 10**9
#: Files are read in parts of so many bytes.
_PIECE = 2**18
#: So many bytes of a part of a file are in the next part, too; longer than any word that is looked for.
_OVERLAP = 64


Answer = TypeVar("Answer")


class Digest:
    """A hash of entries, each a list of parts. No byte can move from one part to its neighbour unseen."""

    def __init__(self) -> None:
        self._hash = hashlib.sha256()

    def add(self, *parts: bytes) -> None:
        """Add an entry: the number of its parts, then each part after its length in bytes."""
        self._hash.update(b"%d:" % len(parts))
        for part in parts:
            self._hash.update(b"%d:" % len(part))
            self._hash.update(part)

    def hexdigest(self) -> str:
        """Return the SHA-256 of all entries so far, in hex."""
        return self._hash.hexdigest()


def files_below(
    folder: Path,
    ignored: re.Pattern[str],
    but_not: Collection[Path] = (),
    above: frozenset[tuple[int, int]] = frozenset(),
) -> Iterator[Path]:
    """Yield the files in a folder and in those below it, in no order; links are followed.

    Args:
        folder: where to begin.
        ignored: names of files and folders that do not count.
        but_not: files and folders that do not count.
        above: device and inode of the folders that lead to this one.

    Raises:
        SettingsError: a link leads to itself, or to a folder that it is in.
        OSError: a folder cannot be read.
    """
    here = folder.stat()
    above |= {(here.st_dev, here.st_ino)}
    with os.scandir(folder) as entries:
        for entry in entries:
            path = Path(entry.path)
            if ignored.fullmatch(entry.name) or path in but_not:
                continue
            try:
                is_folder = entry.is_dir()
            except OSError as error:
                if error.errno != errno.ELOOP:
                    raise
                raise _loop(path) from error
            if is_folder:
                if entry.is_symlink() and (path.stat().st_dev, path.stat().st_ino) in above:
                    raise _loop(path)
                yield from files_below(path, ignored, but_not, above)
            elif entry.is_file():
                yield path


def _loop(link: Path) -> SettingsError:
    return SettingsError(
        f"{link} is a link that leads to itself or to a folder that it is in", remedy="Remove the link.", file=str(link)
    )


class Found(NamedTuple, Generic[Answer]):
    """What is known of a file.

    Args:
        digest: hex SHA-256 of its bytes.
        answer: what the question about its content was answered with.
    """

    digest: str
    answer: Answer


def hash_file(path: Path, question: Callable[[Path, bytes], bool]) -> Found[bool]:
    """Read a file of any size, and return what is known of it then.

    Args:
        path: the file.
        question: is asked about parts of the file until one is answered with True. Parts overlap, so that a word stands
            whole in one.

    Raises:
        OSError: it cannot be read.
    """
    digest, answer, before = hashlib.sha256(), False, b""
    with path.open("rb") as file:
        while piece := file.read(_PIECE):
            digest.update(piece)
            answer = answer or question(path, before + piece)
            before = piece[-_OVERLAP:]
    return Found(digest.hexdigest(), answer)


class Hashes(Generic[Answer]):
    """Hashes of files and what a question about each gave, remembered in a file where that can be written.

    Args:
        file: where they are remembered; its folder is not made.
        question: a question about a file's content whose answer is remembered, too.
        kind: the type of the answer, one that JSON has.
        least: smaller files are read each time (bytes); `LARGE` when None.
    """

    def __init__(
        self, file: Path, question: Callable[[Path, bytes], Answer], kind: type[Answer], *, least: int | None = None
    ) -> None:
        self._file = file
        self._question = question
        self._entries = dict[str, tuple[list[int], str, kind]]  # type: ignore[valid-type]
        self._least = LARGE if least is None else least
        self._known: dict[str, tuple[list[int], str, Answer]] | None = None
        self._changed = False

    def of(self, path: Path | str) -> Found[Answer]:
        """Return what is known of a file, reading it where that is needed."""
        stat = os.stat(path)  # noqa: PTH116 - a text is not made a Path for it: there may be thousands
        if stat.st_size < self._least:
            return self._read(Path(path))
        identity = [stat.st_size, stat.st_ino, stat.st_dev, stat.st_mtime_ns, stat.st_ctime_ns]
        if self._known is None:
            self._known = self._load()
        entry = self._known.get(os.fspath(path))
        if entry is not None and entry[0] == identity:
            return Found(entry[1], entry[2])
        found = self._read(Path(path))
        if time.time_ns() - max(stat.st_mtime_ns, stat.st_ctime_ns) > SETTLED:
            self._known[os.fspath(path)] = (identity, *found)
            self._changed = True
        return found

    def save(self) -> None:
        """Remember what is new. Where that cannot be written, the files are read again next time."""
        if not self._changed or self._known is None:
            return
        there = {path: entry for path, entry in self._known.items() if os.path.exists(path)}  # noqa: PTH110 - many
        with contextlib.suppress(OSError):
            write_whole(self._file, msgspec.json.encode(there), durable=False)

    def _read(self, path: Path) -> Found[Answer]:
        content = path.read_bytes()
        return Found(hashlib.sha256(content).hexdigest(), self._question(path, content))

    def _load(self) -> dict[str, tuple[list[int], str, Answer]]:
        with contextlib.suppress(OSError, msgspec.DecodeError):
            loaded: dict[str, tuple[list[int], str, Answer]] = msgspec.json.decode(
                self._file.read_bytes(), type=self._entries
            )
            return loaded
        return {}
