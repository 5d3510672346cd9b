"""psycopg's errors as ours."""

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
from psycopg import errors as pg

from seedtool.errors import DatabaseError


@contextmanager
def database_errors(table: str) -> Iterator[None]:
    """Raise psycopg's errors inside as ours. Their details, which quote rows, are left out.

    Raises:
        DatabaseError: with the server's own sentence.
    """
    try:
        yield
    except psycopg.Error as error:
        reason = error.diag.message_primary or str(error).split("\n", maxsplit=1)[0] or type(error).__name__
        remedy = "Nothing was changed."
        if isinstance(error, pg.InsufficientPrivilege):
            remedy = "The role needs SELECT, INSERT and UPDATE on the table, and TEMPORARY on the database."
        elif isinstance(error, pg.LockNotAvailable | pg.DeadlockDetected | pg.QueryCanceled):
            remedy = "Something else holds these rows: run it again. Nothing was changed."
        elif isinstance(error, psycopg.OperationalError):
            remedy = "The connection was lost: run it again. What was not committed was not changed."
        raise DatabaseError(f"{table}: {reason}", remedy=remedy) from error
