"""One database for the tests of a worker, each in a transaction that is rolled back.

A test gets connections on which `commit()` and `rollback()` work as everywhere, within savepoints. All connections of a
test, psycopg's and SQLAlchemy's, blocking and asynchronous, are one session of the server: what one writes the others
see. They are made anew for each test around that session, so nothing of one test (a row factory, say) reaches the next.

Nobody else may connect to the database meanwhile: what another connection wrote would stay. So PostgreSQL refuses it.
"""

import asyncio
from typing import TYPE_CHECKING, Any, LiteralString

import psycopg
from psycopg import sql
from psycopg.pq import ExecStatus, PipelineStatus, TransactionStatus

from seedtool.errors import UsageError
from seedtool.postgres import server
from seedtool.testing.databases import Databases, Lease

if TYPE_CHECKING:
    from sqlalchemy import Engine
    from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession
    from sqlalchemy.orm import Session

_BEGIN = b"BEGIN; SAVEPOINT seedtool_test; SAVEPOINT seedtool_commit"
# Whoever has ended the transaction has removed the savepoint, too, and then this fails.
_END = b"ROLLBACK TO SAVEPOINT seedtool_test; ROLLBACK; DEALLOCATE ALL; SELECT pg_advisory_unlock_all()"
# A commit checks deferred constraints. The savepoint around that brings back which of them are deferred.
_COMMIT: tuple[LiteralString, ...] = (
    "SAVEPOINT seedtool_check",
    "SET CONSTRAINTS ALL IMMEDIATE",
    "ROLLBACK TO SAVEPOINT seedtool_check",
    "RELEASE SAVEPOINT seedtool_commit",
    "SAVEPOINT seedtool_commit",
)
_ROLLBACK = "ROLLBACK TO SAVEPOINT seedtool_commit"

#: What PostgreSQL and psycopg say of what cannot be done within the transaction, and what we say of it.
_HINTS = {
    "is not currently accepting connections": "The test, or what it calls, opened a connection of its own to the"
    " database, which stays for other tests.",
    "cannot run inside a transaction block": "The test runs a statement that PostgreSQL allows outside transactions"
    " only.",
    "connection in transaction status": "The test changes how transactions begin (autocommit, an isolation level), and"
    " its own has begun.",
}
_REMEDY = "Use seeded_database for this test: it has a database of its own."


class _Connection(psycopg.Connection[Any]):
    """psycopg's connection, whose transactions are savepoints, and which leaves the session open."""

    def commit(self) -> None:
        """Keep what was done for the rest of the test; deferred constraints are checked."""
        if self.pgconn.transaction_status == TransactionStatus.INERROR:
            return self.rollback()  # as a COMMIT does
        try:
            for statement in _statements(self.pgconn.pipeline_status):
                self.execute(statement)
        except psycopg.IntegrityError:
            self.rollback()
            raise

    def rollback(self) -> None:
        """Undo what was done since the last commit."""
        self.execute(_ROLLBACK)

    def close(self) -> None:
        """Undo what was not committed, as the end of a session does. The connection goes on."""
        if self.pgconn.transaction_status in _WITHIN:
            self.rollback()

    def __del__(self, *_: object) -> None:
        """Leave the session open without a warning."""


class _AsyncConnection(psycopg.AsyncConnection[Any]):
    """The same for asyncio."""

    async def commit(self) -> None:
        """Keep what was done for the rest of the test; deferred constraints are checked."""
        if self.pgconn.transaction_status == TransactionStatus.INERROR:
            return await self.rollback()
        try:
            for statement in _statements(self.pgconn.pipeline_status):
                await self.execute(statement)
        except psycopg.IntegrityError:
            await self.rollback()
            raise

    async def rollback(self) -> None:
        """Undo what was done since the last commit."""
        await self.execute(_ROLLBACK)

    async def close(self) -> None:
        """Undo what was not committed. The connection goes on."""
        if self.pgconn.transaction_status in _WITHIN:
            await self.rollback()

    def __del__(self, *_: object) -> None:
        """Leave the session open without a warning."""


_WITHIN = (TransactionStatus.INTRANS, TransactionStatus.INERROR)


def _statements(pipeline: int) -> tuple[LiteralString, ...]:
    """Return the statements of a commit: in one message, which a pipeline does not take."""
    return _COMMIT if pipeline else ("; ".join(_COMMIT),)


class Shared:
    """One profile's database for the tests of this worker.

    Args:
        databases: where it comes from.
        profile: the profile's name; None for the bare schema.

    Attributes:
        connection: the present test's, psycopg's.
    """

    def __init__(self, databases: Databases, profile: str | None) -> None:
        self._databases = databases
        self._profile = profile
        self._lease: Lease | None = None
        self._session: psycopg.Connection | None = None
        self._engine: Engine | None = None
        self._async_engine: AsyncEngine | None = None
        self.connection: _Connection

    @property
    def lease(self) -> Lease:
        """The database."""
        assert self._lease is not None  # noqa: S101 - a test has begun
        return self._lease

    def begin(self, expected: int) -> None:
        """Begin a test's transaction.

        Args:
            expected: how many tests will ask for a database of their own with this profile.

        Raises:
            SeedtoolError: as `Databases.lease`.
        """
        if self._session is None or not _done(self._session, _BEGIN):  # the server may have been started anew
            self.close()
            self._open(expected)
            assert self._session is not None  # noqa: S101 - just opened
            self._session.pgconn.exec_(_BEGIN)
        self.connection = _Connection(self._session.pgconn)
        self.connection.prepare_threshold = None  # the names would meet those of the asynchronous one

    def end(self) -> None:
        """Roll the test's transaction back.

        Raises:
            UsageError: the test has ended it; the database is given up, since rows may have stayed.
        """
        assert self._session is not None  # noqa: S101 - begin() was called
        pgconn = self._session.pgconn
        if pgconn.pipeline_status != PipelineStatus.OFF or pgconn.transaction_status not in (
            *_WITHIN, TransactionStatus.IDLE
        ):  # fmt: skip
            self.close()  # in the middle of something (a COPY), or lost: the server rolls back
            return
        if _done(self._session, _END):
            return
        lost = self._session.closed
        self.close()
        if not lost:
            raise UsageError(
                "the test ended the transaction in which it runs, by a COMMIT or ROLLBACK of its own in SQL, and what"
                " it wrote may have stayed. The next test gets a new database",
                remedy=f"Call commit() or rollback() of the connection. Or else: {_REMEDY}",
            )

    def close(self) -> None:
        """Give the database back."""
        if self._session is not None:
            self._session.close()
            self._session = None
        if self._lease is not None:
            self._databases.release(self._lease)
            self._lease = None

    def async_connection(self) -> _AsyncConnection:
        """Return the test's connection for asyncio."""
        made = _AsyncConnection(self.connection.pgconn)
        made.prepare_threshold = None
        return made

    def session(self) -> "Session":
        """Return a session of SQLAlchemy's."""
        from sqlalchemy import NullPool, create_engine
        from sqlalchemy.orm import Session

        if self._engine is None:
            self._engine = create_engine("postgresql+psycopg://", creator=lambda: self.connection, poolclass=NullPool)
        return Session(self._engine)

    def async_session(self) -> "AsyncSession":
        """Return a session of SQLAlchemy's for asyncio; its rows need no `refresh` after a commit."""
        from sqlalchemy import NullPool
        from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine

        async def connection() -> _AsyncConnection:
            return self.async_connection()

        if self._async_engine is None:
            self._async_engine = create_async_engine(
                "postgresql+psycopg://", async_creator=connection, poolclass=NullPool
            )
        return AsyncSession(self._async_engine, expire_on_commit=False)

    def _open(self, expected: int) -> None:
        self._lease = self._databases.lease(self._profile, expected)
        self._session = server.connect(self._lease.target, autocommit=True)
        target = self._databases.target
        with server.connect(target, target.maintenance, autocommit=True) as connection:
            connection.execute(
                sql.SQL("ALTER DATABASE {} ALLOW_CONNECTIONS false").format(sql.Identifier(self._lease.target.name))
            )


def _done(session: psycopg.Connection, statements: bytes) -> bool:
    """Send statements, and tell whether all of them were carried out; libpq alone takes half the time of a cursor."""
    try:
        return session.pgconn.exec_(statements).status in {ExecStatus.COMMAND_OK, ExecStatus.TUPLES_OK}
    except psycopg.OperationalError:  # the connection is closed
        return False


def end_async(session: "AsyncSession") -> None:
    """Close a session for asyncio that a test left open, outside of any loop."""
    if not session.sync_session.in_transaction():
        return
    loop = asyncio.new_event_loop()
    try:
        loop.run_until_complete(session.close())
    finally:
        loop.close()


def hint(error: BaseException) -> str | None:
    """Return what a test's error has to do with its transaction, if it has, with the remedy."""
    cause: BaseException | None = error
    while cause is not None:
        text = str(cause)
        for said, meaning in _HINTS.items():
            if said in text:
                return f"{meaning} {_REMEDY}"
        cause = cause.__cause__ or cause.__context__
    return None
