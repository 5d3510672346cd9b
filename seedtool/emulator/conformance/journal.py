"""What a run has made, on disk before it is made: the next run deletes what a killed one has left."""

from __future__ import annotations

import json
import os
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple

from seedtool import locks
from seedtool.emulator.process import EmulatorError

if TYPE_CHECKING:
    from collections.abc import Iterator

State = Literal["asked", "made", "deleted"]
#: The tag of a collection that a run has made. Its value is the run.
TAG = "seedtool-conformance"


class Place(NamedTuple):
    """Where a run made its collections."""

    endpoint: str
    region: str


class Journal:
    """The collections of one run, each with how far it got. A line is on the disk before the request is sent.

    Args:
        path: the file.
        place: where the run plays; None reads a file that is there.

    Attributes:
        run: the run's number: 32 random hexadecimal digits. The names of its collections begin with `prefix`.
        place: where the run plays.
        account: the account number, once it is known.
        collections: the state of each collection.
    """

    def __init__(self, path: Path, place: Place | None) -> None:
        self.path = path
        self.run = path.stem
        self.collections: dict[str, State] = {}
        self.account: str | None = None
        self._file = path.open("rb+" if place is None else "xb")
        try:
            self.place = self._read() if place is None else self._begin(place)
        except BaseException:
            self._file.close()
            raise

    @property
    def prefix(self) -> str:
        """What the names of this run's collections begin with. Nobody else can have made one."""
        return f"{TAG}-{self.run}-"

    def note(self, collection: str, state: State, account: str | None = None) -> None:
        """Write down that a collection is about to be made, was made, or was deleted."""
        self._write({"collection": collection, "state": state, "account": account})
        self.collections[collection] = state
        self.account = account or self.account

    def left(self) -> list[str]:
        """Return the collections that are not deleted, or may not be."""
        return [name for name, state in self.collections.items() if state != "deleted"]

    def close(self) -> None:
        """Let go of the file, and delete it if nothing is left."""
        self._file.close()  # first: Windows deletes no open file
        if not self.left():
            self.path.unlink(missing_ok=True)

    def _write(self, line: dict[str, str | None]) -> None:
        self._file.write(json.dumps(line).encode() + b"\n")
        self._file.flush()
        os.fsync(self._file.fileno())

    def _begin(self, place: Place) -> Place:
        locks.lock(self._file.fileno())
        self._write({"endpoint": place.endpoint, "region": place.region})
        return place

    def _read(self) -> Place:
        if not locks.try_lock(self._file.fileno()):
            raise BlockingIOError(f"a run holds {self.path}")
        # A killed run may have written half of its last line. What that announced was not sent.
        whole = [line for line in self._file if line.endswith(b"\n")]
        self._file.seek(sum(map(len, whole)))
        self._file.truncate()
        try:
            first, *lines = [json.loads(line) for line in whole] or [{"endpoint": "", "region": ""}]
            for line in lines:
                self.collections[line["collection"]] = line["state"]
                self.account = line["account"] or self.account
            return Place(first["endpoint"], first["region"])
        except (ValueError, TypeError, KeyError):
            raise EmulatorError(
                f"The journal {self.path} is damaged.",
                f"Look for collections whose names begin with {self.prefix}, delete them, then delete the journal.",
            ) from None


def folder() -> Path:
    """Return the folder of the journals, made if it is missing.

    Raises:
        EmulatorError: it cannot be made.
    """
    base = os.environ.get("XDG_STATE_HOME")
    path = (Path(base) if base else Path.home() / ".local" / "state") / "seedtool" / "conformance"
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise EmulatorError(
            f"The folder {path} cannot be made: {error.strerror}.", "Set XDG_STATE_HOME to a folder of yours."
        ) from error
    return path


def begin(place: Place) -> Journal:
    """Begin the journal of a new run."""
    return Journal(folder() / f"{uuid.uuid4().hex}.jsonl", place)


def unfinished() -> Iterator[Journal]:
    """Yield the journals of runs that ended without deleting everything. One that still runs is left out."""
    for path in sorted(folder().glob("*.jsonl")):
        try:
            yield Journal(path, None)
        except (BlockingIOError, FileNotFoundError):  # it still runs, or has just ended
            continue
