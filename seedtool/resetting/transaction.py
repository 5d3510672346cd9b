"""One transaction for everything: dropping a schema and all the revisions that build it again.

Alembic and env.py commit as they please; on this connection a commit only moves a savepoint. And a COMMIT that a
revision writes out as SQL is refused by the server itself, so that nobody can make half of the work stand.
"""

import contextlib
from collections.abc import Iterator
from typing import Any

import psycopg

from seedtool.errors import MigrationError
from seedtool.postgres import server
from seedtool.postgres.server import Target


class LeavesTransaction(MigrationError):
    """A revision, or env.py, needs a connection outside of any transaction."""


class OneTransaction(psycopg.Connection[Any]):
    """A connection whose work stands as a whole or not at all: `finish` commits, everything else only seems to."""

    #: somebody asked for autocommit, in vain
    left = False

    def fence(self) -> None:
        """Begin the part in which commit and rollback only move a savepoint, and COMMIT as SQL fails."""
        self.execute(_FENCE)
        self.execute("SAVEPOINT seedtool")

    def lower_fence(self) -> None:
        """Let deferred constraints be checked early, for statements that are ours: that would meet the fence."""
        self.execute("SET LOCAL seedtool.may_commit = 'yes'")

    def commit(self) -> None:
        """Keep what was done so far from a later rollback."""
        self.execute("RELEASE SAVEPOINT seedtool")
        self.execute("SAVEPOINT seedtool")

    def rollback(self) -> None:
        """Undo what was done since the last commit."""
        if self.info.transaction_status == psycopg.pq.TransactionStatus.IDLE:
            self.left = True  # the fence has held, and nothing is left to go back to
            return
        self.execute("ROLLBACK TO SAVEPOINT seedtool")

    def commit_emptied(self) -> None:
        """Commit before the fence is up: what follows is not part of it."""
        super().commit()

    def finish(self) -> None:
        """Commit.

        Raises:
            LeavesTransaction: the transaction was ended by somebody else; nothing of it stands.
        """
        if self.left or self.execute("SELECT to_regclass('pg_temp.seedtool_fence')").fetchone() == (None,):
            raise LeavesTransaction("the transaction was ended by a revision")
        self.execute("SET LOCAL seedtool.may_commit = 'yes'")
        super().commit()

    def close(self) -> None:
        """Do nothing: env.py's pool lets go of it, and others go on."""

    terminate = close  # what a pool of SQLAlchemy's asyncio calls

    def give_up(self) -> None:
        """Close the connection in earnest; what was not finished is undone by the server."""
        super().close()

    @property
    def driver_connection(self) -> "OneTransaction":
        """What SQLAlchemy's asyncio asks its connections for."""
        return self

    @property
    def autocommit(self) -> bool:
        """Never."""
        return False

    @autocommit.setter
    def autocommit(self, value: bool) -> None:
        self.set_autocommit(value)

    def set_autocommit(self, value: bool) -> None:
        """Refuse: it would end the transaction."""
        if value:
            self.left = True
            raise LeavesTransaction("it needs a connection in autocommit")

    @property
    def isolation_level(self) -> None:
        """The server's default; another one could not be had in the middle of a transaction."""

    @isolation_level.setter
    def isolation_level(self, value: object) -> None:
        pass

    def set_isolation_level(self, value: object) -> None:
        """Do nothing."""


# at COMMIT the server runs what was deferred; and a transaction with a temporary table cannot be prepared either
_FENCE = """
CREATE TEMPORARY TABLE seedtool_fence (stands boolean);
CREATE FUNCTION pg_temp.seedtool_fence() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    IF current_setting('seedtool.may_commit', true) IS DISTINCT FROM 'yes' THEN
        RAISE EXCEPTION 'COMMIT within what has to be one transaction'
            USING ERRCODE = 'invalid_transaction_termination';
    END IF;
    RETURN NULL;
END $$;
CREATE CONSTRAINT TRIGGER seedtool_fence AFTER INSERT ON pg_temp.seedtool_fence
DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION pg_temp.seedtool_fence();
INSERT INTO pg_temp.seedtool_fence VALUES (true)
"""


@contextlib.contextmanager
def one_transaction(target: Target) -> Iterator[OneTransaction]:
    """Open a connection to the target on which everything stands or falls together; without `finish` it falls."""
    connection = server.connect(target, application="seedtool rebuild", kind=OneTransaction)
    try:
        yield connection
    finally:
        connection.give_up()
