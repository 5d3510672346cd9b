"""Revision 0003 on a table that is in use."""

import importlib.util
import threading
import time
from pathlib import Path
from typing import Self

import psycopg
import pytest
from alembic.util import CommandError
from sqlalchemy.exc import DBAPIError, OperationalError, PendingRollbackError

from seedtool.postgres import server

REVISION = Path(__file__).resolve().parents[3] / "migrations" / "versions" / "0003_add_external_image_id.py"

COLUMN = "ALTER TABLE student_faces ADD external_image_id text"
CHECK = """ALTER TABLE student_faces ADD CONSTRAINT ck_student_faces_external_image_id
           CHECK (external_image_id ~ '^[a-zA-Z0-9_.:-]+$' AND length(external_image_id) <= 255) NOT VALID"""
INDEX = "CREATE UNIQUE INDEX uq_student_faces_external_image_id ON student_faces (external_image_id)"
HALF = """UPDATE student_faces SET external_image_id = student_id || '-photo-' || n FROM (
              SELECT id, row_number() OVER (PARTITION BY student_id ORDER BY indexed_at, id COLLATE "C") AS n
              FROM student_faces
          ) AS numbered WHERE numbered.id = student_faces.id AND n <= 2"""
CONSTRAINT = "ALTER TABLE student_faces ADD UNIQUE USING INDEX uq_student_faces_external_image_id"


def ids(session) -> dict[str, str | None]:
    return dict(session.execute("SELECT id, external_image_id FROM student_faces").fetchall())


def assert_constrained(session) -> None:
    found = session.execute(
        "SELECT conname, contype, convalidated FROM pg_constraint "
        "WHERE conrelid = 'student_faces'::regclass AND conname LIKE '%external_image_id'"
    ).fetchall()
    assert set(found) == {
        ("ck_student_faces_external_image_id", "c", True),
        ("uq_student_faces_external_image_id", "u", True),
    }
    assert session.execute("SELECT version_num FROM alembic_version").fetchone() == ("0003",)


class Application(threading.Thread):
    """A writer that goes on while the revision runs, in the old way and, once the column is there, in the new one."""

    def __init__(self, database, students: int, first_free: int) -> None:
        super().__init__()
        self.database = database
        self.students = students
        self.first_free = first_free
        self.stop = threading.Event()
        self.slowest = 0.0
        self.old = self.new = self.updates = 0
        self.error: BaseException | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop.set()
        self.join()

    def run(self) -> None:
        try:
            with server.connect(self.database, autocommit=True) as connection:
                number = 0
                while not self.stop.is_set():
                    number += 1
                    before = time.perf_counter()
                    with connection.transaction():
                        self.write(connection, number)
                    self.slowest = max(self.slowest, time.perf_counter() - before)
                    time.sleep(0.001)
        except BaseException as error:  # noqa: BLE001 - told by the test
            self.error = error

    def write(self, connection: psycopg.Connection, number: int) -> None:
        student = f"student-{number * 7919 % self.students + 1:05}"
        if number % 3 == 0:
            # backwards through two far students, against the order in which the revision goes
            other = f"student-{number * 104729 % self.students + 1:05}"
            for name in sorted((student, other), reverse=True):
                connection.execute("UPDATE student_faces SET quality_score = 99 WHERE student_id = %s", [name])
            self.updates += 1
            return
        has_column = connection.execute(
            "SELECT EXISTS (SELECT FROM pg_attribute WHERE attrelid = to_regclass('student_faces') "
            "AND attname = 'external_image_id')"
        ).fetchone()
        if has_column == (True,) and number % 3 == 1:
            self.new += 1
            connection.execute(
                "INSERT INTO student_faces (id, student_id, face_id, external_image_id) VALUES (%s, %s, 'f', %s)",
                [f"new-{number}", student, f"{student}-photo-{self.first_free + number}"],
            )
        else:
            self.old += 1
            connection.execute(
                "INSERT INTO student_faces (id, student_id, face_id) VALUES (%s, %s, 'f')", [f"old-{number}", student]
            )


def test_40_000_faces_get_their_ids_while_another_session_keeps_writing(database, alembic, faces, session):
    expected = faces(4_000, 10)
    with Application(database, 4_000, 11) as application:
        time.sleep(0.3)
        alembic("upgrade", "0003")
        written = application.old + application.new
    assert application.error is None
    assert application.slowest < 1
    assert min(application.old, application.new, application.updates) > 10
    found = ids(session)
    assert {face: found[face] for face in expected} == expected
    assert len(found) >= len(expected) + written
    assert_constrained(session)
    # whoever still writes in the old way goes on doing so
    session.execute("INSERT INTO student_faces (id, student_id, face_id) VALUES ('last', 'student-00001', 'f')")


def test_going_down_waits_for_a_writer_without_holding_up_others(database, alembic, faces, session):
    faces(10, 2)
    alembic("upgrade", "0003")
    with server.connect(database) as writer, Application(database, 10, 3) as application:
        writer.execute("INSERT INTO student_faces (id, student_id, face_id) VALUES ('slow', 'student-00001', 'f')")
        timer = threading.Timer(1.5, writer.commit)
        timer.start()
        # the application's inserts fail once the column is gone, as they must; its waits are what counts here
        alembic("downgrade", "0002")
        timer.join()
        application.stop.set()
    assert application.slowest < 1


def test_numbers_go_on_after_those_that_are_there_and_around_those_that_are_taken(alembic, faces, session):
    faces(3, 3)
    session.execute(COLUMN)
    # by time: student-00001-2, -1, -3; a new writer has given the last of student 1 a number that counts on,
    # the first of student 2 a higher one, and in student 3 somebody took what belongs to another
    session.execute("UPDATE student_faces SET indexed_at = '2026-03-01', id = replace(id, 'face', 'f')")
    for face, given in {
        "f-student-00001-3": "student-00001-photo-3",
        "f-student-00002-1": "student-00002-photo-7",
        "f-student-00003-3": "student-00003-photo-1",
        "f-student-00001-1": "student-00003-photo-2",
    }.items():
        session.execute("UPDATE student_faces SET external_image_id = %s WHERE id = %s", [given, face])
    alembic("upgrade", "0003")
    assert ids(session) == {
        "f-student-00001-1": "student-00003-photo-2",
        "f-student-00001-2": "student-00001-photo-1",
        "f-student-00001-3": "student-00001-photo-3",
        "f-student-00002-1": "student-00002-photo-7",
        "f-student-00002-2": "student-00002-photo-8",
        "f-student-00002-3": "student-00002-photo-9",
        "f-student-00003-1": "student-00003-photo-3",
        "f-student-00003-2": "student-00003-photo-4",
        "f-student-00003-3": "student-00003-photo-1",
    }


@pytest.mark.parametrize(
    "done",
    [
        [COLUMN],
        [COLUMN, CHECK],
        [COLUMN, CHECK, INDEX],
        [COLUMN, CHECK, INDEX, HALF],
        [
            COLUMN,
            CHECK,
            INDEX,
            HALF,
            "ALTER TABLE student_faces VALIDATE CONSTRAINT ck_student_faces_external_image_id",
        ],
        [COLUMN, CHECK, INDEX, HALF, CONSTRAINT],
        # by hand, in the order of somebody who knew it from SCHEMA.md
        [COLUMN, HALF, INDEX, CONSTRAINT],
    ],
    ids=["column", "check", "index", "half filled", "validated", "attached", "by hand"],
)
@pytest.mark.parametrize("rows", [True, False], ids=["rows", "empty"])
def test_an_interrupted_run_is_continued(alembic, faces, session, done, rows):
    expected = faces(5, 4)
    if not rows:
        session.execute("DELETE FROM student_faces")
        expected = {}
    for statement in done:
        session.execute(statement)
    alembic("upgrade", "0003")
    assert ids(session) == expected
    assert_constrained(session)


def test_a_build_of_the_index_that_was_killed_is_done_again(database, alembic, faces, session):
    expected = faces(50, 3)
    with server.connect(database) as reader:
        # a snapshot from before: the concurrent build waits for it to go, with the index still invalid
        reader.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        reader.execute("SELECT FROM students")
        killer = threading.Thread(target=kill_the_build, args=[database])
        killer.start()
        with pytest.raises((DBAPIError, PendingRollbackError)):
            alembic("upgrade", "0003")
        killer.join()
    index = "SELECT indisvalid FROM pg_index WHERE indexrelid = 'uq_student_faces_external_image_id'::regclass"
    assert session.execute(index).fetchone() == (False,)
    assert session.execute("SELECT version_num FROM alembic_version").fetchone() == ("0002",)
    alembic("upgrade", "0003")
    assert ids(session) == expected
    assert_constrained(session)


def kill_the_build(database) -> None:
    with server.connect(database, autocommit=True) as connection:
        for _ in range(500):
            killed = connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_progress_create_index "
                "WHERE datname = current_database() AND phase = 'waiting for old snapshots'"
            ).fetchall()
            if killed:
                return
            time.sleep(0.02)


def test_student_ids_outside_the_alphabet_stop_it_before_anything_changes(alembic, faces, session):
    faces(3, 2)
    for place, wrong in enumerate(["peña 1", "a/b", "x" * 250], start=1):
        session.execute(
            "INSERT INTO students (id, first_name, last_name, identification_number, guardian_id, enrollment_date) "
            "VALUES (%s, 'Ana', 'B', %s, 'guardian-01', '2026-03-04')",
            [wrong, f"n-{place}"],
        )
        session.execute(
            "INSERT INTO student_faces (id, student_id, face_id) VALUES (%s, %s, 'f')", [f"w-{place}", wrong]
        )
    with pytest.raises(CommandError) as raised:
        alembic("upgrade", "0003")
    for expected in ("'peña 1'", "'a/b'", "xxx", "Nothing was changed", "other ids"):
        assert expected in str(raised.value)
    assert "Ana" not in str(raised.value)
    assert "student-00001" not in str(raised.value)
    columns = "SELECT FROM pg_attribute WHERE attrelid = 'student_faces'::regclass AND attname = 'external_image_id'"
    assert session.execute(columns).fetchall() == []
    session.execute("DELETE FROM student_faces WHERE id LIKE 'w-%'")
    alembic("upgrade", "0003")
    assert_constrained(session)


def test_settings_of_the_session_are_as_before(database, engine, alembic, faces, session):
    faces(2, 2)
    session.execute(f"ALTER DATABASE {database.name} SET lock_timeout = '7s'")
    from alembic import command
    from alembic.config import Config

    config = Config(str(REVISION.parents[2] / "alembic.ini"))
    with engine.connect() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "0003")
        raw = connection.connection.driver_connection
        assert raw.execute("SHOW lock_timeout").fetchone() == ("7s",)
        assert raw.execute("SHOW statement_timeout").fetchone() == ("0",)
        assert not raw.autocommit
        raw.rollback()


def test_after_all_attempts_it_says_who_is_in_the_way(monkeypatch):
    spec = importlib.util.spec_from_file_location("revision_0003", REVISION)
    revision = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(revision)
    monkeypatch.setattr(revision, "ATTEMPTS", 3)
    monkeypatch.setattr(revision, "PAUSE", 0)
    tried = []

    def step() -> None:
        tried.append(1)
        raise OperationalError("", {}, psycopg.errors.LockNotAvailable())

    with pytest.raises(CommandError, match=r"student_faces\b.*\b3\b"):
        revision._patiently(step)
    assert len(tried) == 3
