"""How a database is copied: `wal_log` (its pages, through the log) or `file_copy` (its files, between two checkpoints).

The rule is by size alone, unless the file system shares blocks between files (reflink): then copying files costs
next to nothing. Measured in docs/decisions.md.
"""

import contextlib
import fcntl
import os
import tempfile
from pathlib import Path

from seedtool.postgres.cluster import Cluster, DatabaseFacts
from seedtool.reset import notes

#: From this size on files are copied: the log would have to hold every page.
LARGE = 300 * 2**20
#: From this size on they are where they need not be copied really: below it the two checkpoints cost more.
LARGE_FOR_REFLINK = 64 * 2**20
#: ioctl_ficlone(2): let one file share the blocks of another.
_FICLONE = 0x40049409


def choose(cluster: Cluster, source: DatabaseFacts) -> str:
    """Return the strategy by which a database is cloned: `wal_log` or `file_copy`.

    Where it shares blocks, this session and the errands that are sent later are set to do so.
    """
    size = known_size(cluster, source)
    if size >= LARGE_FOR_REFLINK and cluster.version >= 180000 and _reflinks(cluster):
        cluster.connection.execute("SET file_copy_method = clone")
        cluster.errand_settings["file_copy_method"] = "clone"
        return "file_copy"
    return "file_copy" if size >= LARGE else "wal_log"


def known_size(cluster: Cluster, facts: DatabaseFacts) -> int:
    """Return the bytes that a database takes: a template remembers it."""
    note = notes.read(facts)
    return note.size if note is not None else size_of(cluster, facts.name)


def size_of(cluster: Cluster, name: str) -> int:
    """Return the bytes that a database takes; 0 where this role may not ask."""
    row = cluster.connection.execute(
        "SELECT pg_database_size(oid) FROM pg_database WHERE datname = %s"
        " AND (has_database_privilege(oid, 'CONNECT') OR pg_has_role('pg_read_all_stats', 'MEMBER'))",
        [name],
    ).fetchone()
    return row[0] if row else 0


def _reflinks(cluster: Cluster) -> bool:
    """Tell whether the file system of the embedded server shares blocks; of others we see no files."""
    embedded = cluster.target.embedded
    return embedded is not None and can_reflink(embedded.data_dir.parent.parent)


def can_reflink(folder: Path) -> bool:
    """Tell whether files in a folder can share blocks; asked once, the answer stays there."""
    answer = folder / "reflink"
    with contextlib.suppress(OSError):
        return answer.read_text(encoding="ascii") == "yes"
    found = _try(folder)
    with contextlib.suppress(OSError):
        answer.write_text("yes" if found else "no", encoding="ascii")
    return found


def _try(folder: Path) -> bool:
    try:
        with tempfile.TemporaryFile(dir=folder) as one, tempfile.TemporaryFile(dir=folder) as two:
            os.write(one.fileno(), b"\0" * 4096)
            fcntl.ioctl(two.fileno(), _FICLONE, one.fileno())
            return True
    except OSError:
        return False
