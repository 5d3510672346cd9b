"""What psycopg raises, as an error of ours: the only place where one becomes the other.

The server's main sentence is kept. Its details are left out, for they quote rows; so does the main sentence of a
data exception (SQLSTATE class 22), which is cut before the value.
"""

import contextlib
from collections.abc import Iterator

import psycopg
from psycopg import errors as pg

from seedtool.errors import BlockedError, DatabaseError

_NOTHING_CHANGED = "Nothing was changed."
#: What to do when a session ended before its transaction did.
RUN_AGAIN = "The connection was lost. Run again. What was not committed was not changed."
#: The function of PostgreSQL that refuses a table where row_security is off (rls.c). Its sentence, in the server's
#: language, names the table.
_ROW_SECURITY = "check_enable_rls"
HIDDEN_ROWS = (
    "A policy of the table may hide rows from this role, which would be lost or taken for missing. Let an administrator"
    " ALTER ROLE ... BYPASSRLS, or work as the table's owner after ALTER TABLE ... NO FORCE ROW LEVEL SECURITY."
)


def translate(error: psycopg.Error, what: str, *, remedy: str = "") -> DatabaseError:
    """Return the error of ours for one of psycopg's.

    Args:
        error: what psycopg raised.
        what: what was being done, or the table that it was done to; the message begins with it.
        remedy: what to do, where the caller knows better than the kind of error tells.

    Returns:
        A `BlockedError` where another session or a missing privilege is in the way, else a `DatabaseError`.
    """
    kind, usual = _kind(error)
    return kind(f"{what}: {reason(error)}", remedy=remedy or usual, code=error.sqlstate)


@contextlib.contextmanager
def translated(what: str) -> Iterator[None]:
    """Raise what psycopg raises inside as an error of ours.

    Args:
        what: as `translate` takes it.

    Raises:
        DatabaseError: a statement failed or the connection was lost.
    """
    try:
        yield
    except psycopg.Error as error:
        raise translate(error, what) from error


def reason(error: psycopg.Error) -> str:
    """Return the server's sentence, in one line and without a value; psycopg's own where the server did not answer."""
    words = error.diag.message_primary or str(error).strip().split("\n", maxsplit=1)[0] or type(error).__name__
    return words.split(': "', maxsplit=1)[0] if (error.sqlstate or "").startswith("22") else words


def _kind(error: psycopg.Error) -> tuple[type[DatabaseError], str]:
    if isinstance(error, pg.InsufficientPrivilege):
        if error.diag.source_function == _ROW_SECURITY:
            return BlockedError, f"{HIDDEN_ROWS} {_NOTHING_CHANGED}"
        return BlockedError, f"Work as the owner, or let an administrator grant what is missing. {_NOTHING_CHANGED}"
    if isinstance(error, pg.ObjectInUse | pg.DuplicateDatabase | pg.InvalidCatalogName):
        return BlockedError, "End what uses it (a session, a subscription, another program) and run again."
    if isinstance(error, pg.LockNotAvailable | pg.DeadlockDetected | pg.QueryCanceled):
        return BlockedError, f"Another session holds these rows. Run again. {_NOTHING_CHANGED}"
    if isinstance(error, pg.DiskFull):
        return DatabaseError, f"The server's disk is full. Make room there and run again. {_NOTHING_CHANGED}"
    if isinstance(error, pg.ReadOnlySqlTransaction):
        return DatabaseError, "The session may only read. Is this a replica, or is default_transaction_read_only set?"
    kind = (error.sqlstate or "")[:2]  # source: PostgreSQL's appendix A, the classes of errors
    if kind == "53":
        return DatabaseError, f"The server lacks memory, connections or another resource. {_NOTHING_CHANGED}"
    if kind == "58":
        return DatabaseError, f"The server's disk or system failed: see its log. {_NOTHING_CHANGED}"
    if isinstance(error, psycopg.OperationalError):
        return DatabaseError, RUN_AGAIN
    return DatabaseError, _NOTHING_CHANGED
