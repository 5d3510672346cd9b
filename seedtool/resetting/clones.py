"""How a database is copied: `wal_log` (its pages, through the log) or `file_copy` (its files, between two checkpoints).

Size decides, with two exceptions. Where the file system shares blocks between files (reflink), copying files costs
next to nothing. Where the server does not wait for the disk (`fsync = off`), files are the quicker way from the start.
docs/decisions.md has the measurements.
"""

import contextlib
import os
import tempfile
import time
from pathlib import Path

from seedtool.errors import DatabaseError
from seedtool.postgres.cluster import WAL_LOG, Cluster, DatabaseFacts, Strategy
from seedtool.postgres.server import SNAPSHOT_NAME
from seedtool.resetting import notes

#: From this size on (bytes) files are copied: the log would have to hold every page.
LARGE = 300 * 2**20
#: From this size on files are copied where blocks are shared: below it the two checkpoints cost more than they save.
LARGE_FOR_REFLINK = 64 * 2**20
#: So often `Trials` tries each way: the first clone of a kind also pays for reading the source.
_TRIES = 2
FILE_COPY = Strategy("file_copy", {})
#: ioctl_ficlone(2): let one file share the blocks of another.
_FICLONE = 0x40049409


def choose(cluster: Cluster, source: DatabaseFacts) -> Strategy:
    """Return the strategy by which a database is best cloned. Changes nothing."""
    size = known_size(cluster, source)
    if size >= LARGE_FOR_REFLINK and cluster.version >= 180000 and _reflinks(cluster):
        return Strategy(FILE_COPY.name, {"file_copy_method": "clone"})
    return FILE_COPY if size >= LARGE or not cluster.fsync else WAL_LOG


def clone(cluster: Cluster, source: DatabaseFacts, name: str, like: DatabaseFacts, *, connectable: bool = True) -> None:
    """Clone a database that has no sessions.

    Args:
        cluster: the server.
        source: the database to clone.
        name: the clone's name.
        like: owner and tablespace of the clone.
        connectable: False keeps everybody out, so that nobody stands in the way of the renaming.

    Raises:
        BlockedError: the source is in use, or this role may not clone it.
        DatabaseError: its collation has another version now.
    """
    refuse_outdated(source)
    cluster.create(name, source.name, like, connectable=connectable, strategy=choose(cluster, source))


def refuse_outdated(facts: DatabaseFacts) -> None:
    """Refuse to clone a database whose indexes were built under another version of its collation.

    PostgreSQL refuses it itself, but a clone that was made ahead would bring such indexes, too.

    Raises:
        DatabaseError: they were; nothing has changed.
    """
    if not facts.outdated:
        return
    refresh, reindex = f'ALTER DATABASE "{facts.name}" REFRESH COLLATION VERSION;', "REINDEX DATABASE"
    raise DatabaseError(
        f"the indexes of {facts.name} were built under version {facts.collation_version} of its collation, and the"
        f" server has version {facts.present_collation_version or 'none'} now: it cannot be copied",
        remedy=f"Run {refresh} Then restore it and run {reindex} in the restored database."
        if SNAPSHOT_NAME.fullmatch(facts.name)
        else f'Connect to it and run: {reindex} "{facts.name}"; {refresh}',
    )


class Trials:
    """Clones one source many times: each way of copying is tried twice, the one of `choose` first; then the quicker.

    Which way that is depends also on what nobody can ask the server for: on a file system in memory, copying files
    takes half the time, although the server asks it to wait for a disk. For a single clone, trying costs more than it
    gains.
    """

    def __init__(self) -> None:
        self._seconds: dict[str, list[float]] = {way.name: [] for way in (WAL_LOG, FILE_COPY)}

    def clone(self, cluster: Cluster, source: DatabaseFacts, name: str, like: DatabaseFacts) -> None:
        """Clone the source; arguments and errors are those of the function `clone`."""
        way, started = self._next(choose(cluster, source)), time.perf_counter()
        cluster.create(name, source.name, like, strategy=way)
        self._seconds[way.name].append(time.perf_counter() - started)

    def _next(self, chosen: Strategy) -> Strategy:
        ways = {way.name: way for way in (WAL_LOG, FILE_COPY, chosen)}
        untried = min(ways, key=lambda name: (len(self._seconds[name]), name != chosen.name))
        if len(self._seconds[untried]) < _TRIES:
            return ways[untried]
        return ways[min(ways, key=lambda name: min(self._seconds[name]))]


def known_size(cluster: Cluster, facts: DatabaseFacts) -> int:
    """Return the bytes that a database takes: a template's note has them."""
    note = notes.read(facts)
    return note.size if note is not None else cluster.size_of(facts.name)


def _reflinks(cluster: Cluster) -> bool:
    """Tell whether the file system of the embedded server shares blocks; files of other servers cannot be seen."""
    embedded = cluster.target.embedded
    return embedded is not None and can_reflink(embedded.data_dir.parent.parent)


def can_reflink(folder: Path) -> bool:
    """Tell whether files in a folder can share blocks; it is tried once, and the answer is kept in the folder."""
    answer = folder / "reflink"
    with contextlib.suppress(OSError):
        return answer.read_text(encoding="ascii") == "yes"
    found = _try(folder)
    with contextlib.suppress(OSError):
        answer.write_text("yes" if found else "no", encoding="ascii")
    return found


def _try(folder: Path) -> bool:
    try:
        import fcntl  # Windows has none

        with tempfile.TemporaryFile(dir=folder) as one, tempfile.TemporaryFile(dir=folder) as two:
            os.write(one.fileno(), b"\0" * 4096)
            fcntl.ioctl(two.fileno(), _FICLONE, one.fileno())
            return True
    except (ImportError, OSError):
        return False
