"""Who may enroll what at one time: advisory locks, which the server drops with the session that holds them."""

from collections.abc import Collection, Iterator
from contextlib import contextmanager

import psycopg


@contextmanager
def alone(connection: psycopg.Connection, table: str) -> Iterator[None]:
    """Let one run at a time work on a table: the second waits, and then finds nothing to do."""
    name = f"seedtool.enroll_all:{table}"
    connection.execute("SELECT pg_advisory_lock(hashtextextended(%s, 0))", [name])
    connection.commit()
    try:
        yield
    finally:
        if not connection.closed:
            connection.rollback()
            connection.execute("SELECT pg_advisory_unlock(hashtextextended(%s, 0))", [name])
            connection.commit()


def wait_for_student(connection: psycopg.Connection, student_id: str) -> None:
    """Take a student until the transaction ends, so that two enrollments never choose the same number."""
    connection.execute(_WAIT, [student_id])


def try_students(connection: psycopg.Connection, student_ids: Collection[str]) -> set[str]:
    """Take those students that nobody else is enrolling, until they are let go; returns which."""
    with connection.transaction():
        return {student for (student,) in connection.execute(_TRY, [list(student_ids)])}


def let_go(connection: psycopg.Connection, student_ids: Collection[str]) -> None:
    """Let students go that `try_students` took."""
    if student_ids and not connection.closed:
        with connection.transaction():
            connection.execute(_LET_GO, [list(student_ids)])


_WAIT = "SELECT pg_advisory_xact_lock(hashtextextended('seedtool.enroll:' || %s::text, 0))"

# MATERIALIZED: each lock is tried once, whatever the planner makes of the filter
_TRY = """
WITH tried AS MATERIALIZED (
    SELECT s, pg_try_advisory_lock(hashtextextended('seedtool.enroll:' || s, 0)) AS got FROM unnest(%s::text[]) s
)
SELECT s FROM tried WHERE got"""

_LET_GO = "SELECT pg_advisory_unlock(hashtextextended('seedtool.enroll:' || s, 0)) FROM unnest(%s::text[]) s"
