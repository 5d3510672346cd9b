"""What the tests of the migrations share: Alembic's commands on a fresh database, and rows to migrate."""

from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest
import sqlalchemy
from alembic import command
from alembic.config import Config
from sqlalchemy.pool import NullPool

from seedtool.postgres import server

ROOT = Path(__file__).resolve().parents[3]

GUARDIAN = """
INSERT INTO legal_guardians (id, first_name, last_name, identification_number, phone, email)
VALUES ('guardian-01', 'A', 'B', '11.111.111-1', '+56', 'a@b.example')
"""
STUDENTS = """
INSERT INTO students (id, first_name, last_name, identification_number, guardian_id, enrollment_date)
SELECT format('student-%s', lpad(n::text, 5, '0')), 'A', 'B', n, 'guardian-01', date '2026-03-04'
FROM generate_series(1, {count}) AS n
"""
# the second by time is written first, and two share a time, so that neither order of writing nor time alone tells
FACES = """
INSERT INTO student_faces (id, student_id, face_id, indexed_at)
SELECT format('face-%s-%s', student.id, photo), student.id, gen_random_uuid(),
       timestamptz '2026-03-01' + (CASE WHEN photo % {faces} < 2 THEN 1 ELSE {faces} - photo END) * interval '1 hour'
FROM students AS student, generate_series(1, {faces}) AS photo
"""
EXPECTED = """
SELECT id, student_id || '-photo-' || row_number() OVER (PARTITION BY student_id ORDER BY indexed_at, id COLLATE "C")
FROM student_faces
"""


@pytest.fixture
def engine(database) -> Iterator[sqlalchemy.Engine]:
    made = sqlalchemy.create_engine(
        "postgresql+psycopg://", creator=lambda: server.connect(database), poolclass=NullPool
    )
    yield made
    made.dispose()


@pytest.fixture
def alembic(engine) -> Callable[[str, str], None]:
    """Run a command of Alembic on the fresh database: `alembic("upgrade", "0002")`."""

    def run(name: str, revision: str) -> None:
        config = Config(str(ROOT / "alembic.ini"))
        with engine.connect() as connection:
            config.attributes["connection"] = connection
            getattr(command, name)(config, revision)

    return run


@pytest.fixture
def session(database) -> Iterator[psycopg.Connection]:
    """An autocommitting connection to the fresh database."""
    with server.connect(database, autocommit=True) as opened:
        yield opened


@pytest.fixture
def faces(alembic, session) -> Callable[[int, int], dict[str, str]]:
    """Fill a database of revision 0002 with students and faces; returns the id that each face must get."""

    def fill(students: int, faces_each: int) -> dict[str, str]:
        alembic("upgrade", "0002")
        session.execute(GUARDIAN)
        session.execute(STUDENTS.format(count=students))
        session.execute(FACES.format(faces=faces_each))
        return dict(session.execute(EXPECTED).fetchall())

    return fill
