"""How a database is copied: `wal_log` (its pages, through the log) or `file_copy` (its files, between two checkpoints).

Size decides, with two exceptions. Where the file system shares blocks between files (reflink), copying files costs
next to nothing. Where the server does not wait for the disk (`fsync = off`), files are the quicker way from the start.
docs/decisions.md has the measurements.
"""

import contextlib
import os
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import psycopg

from seedtool.errors import DatabaseError, SeedtoolError
from seedtool.listener import SILENT
from seedtool.postgres import server
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


#: So long (seconds) a large clone says nothing, and so often its bytes are counted then.
_PATIENCE, _OFTEN = 1.0, 0.5

# Nobody sees the row of a database that is being made, and pg_database_size refuses one without a row. Its folder is
# there: the newest of those without a row. A superuser may look, as on the embedded server; others hear of no bytes.
_SIZE_OF_NEWEST = """
SELECT sum((pg_stat_file(folder || '/' || file, true)).size)::bigint FROM (
    SELECT 'base/' || max(made) FROM (
        SELECT name::oid FROM pg_ls_dir('base') name WHERE name ~ '^[0-9]+$' EXCEPT SELECT oid FROM pg_database
    ) folders (made)
) newest (folder), pg_ls_dir(folder, true, false) file"""


def choose(cluster: Cluster, source: DatabaseFacts) -> Strategy:
    """Return the strategy by which a database is best cloned. Changes nothing."""
    return choose_for(cluster, known_size(cluster, source))


def choose_for(cluster: Cluster, size: int) -> Strategy:
    """Return the strategy by which a database of a size (bytes) is best cloned; a new one has 0. Changes nothing."""
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
    size = known_size(cluster, source)
    with _counted(cluster, size) if size >= LARGE else contextlib.nullcontext():
        cluster.create(name, source.name, like, connectable=connectable, strategy=choose_for(cluster, size))


@contextlib.contextmanager
def _counted(cluster: Cluster, size: int) -> Iterator[None]:
    """Let the listener hear how many bytes of a clone are there, of `size`, while it is made."""
    if cluster.listener is SILENT:
        yield
        return
    ended = threading.Event()
    thread = threading.Thread(target=_count, args=(cluster, size, ended), name="clone", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def _count(cluster: Cluster, size: int, ended: threading.Event) -> None:
    if ended.wait(_PATIENCE):
        return
    target = cluster.target
    # what may not be looked at is not told
    with (
        contextlib.suppress(psycopg.Error, SeedtoolError),
        server.connect(target, target.maintenance, autocommit=True, patience=0) as connection,
    ):
        while not ended.wait(_OFTEN):
            row = connection.execute(_SIZE_OF_NEWEST).fetchone()
            if row is not None and row[0] is not None:
                cluster.listener.progress("bytes", min(row[0], size), size)


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
