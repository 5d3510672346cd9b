"""Plain `alembic`, as a developer types it: the same settings, the same database."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from seedtool.postgres import server
from tests import processes

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture
def run(database, tmp_path):
    """Run `alembic` in this repository, on the fresh database unless the variables say otherwise.

    It is a fork (tests/processes.py), or the `real` program.
    """

    def call(
        *arguments: str, cwd: Path = ROOT, real: bool = False, **variables: str
    ) -> subprocess.CompletedProcess[str]:
        environ = {**os.environ, "SEEDTOOL_DATABASE": database.name, **variables}
        if not real:
            return processes.run(*arguments, code="from alembic.config import main; main()", cwd=cwd, env=environ)
        command = [sys.executable, "-m", "alembic", *arguments]
        return subprocess.run(command, cwd=cwd, env=environ, capture_output=True, text=True, check=False)

    return call


def version(database) -> list[tuple[str]]:
    with server.connect(database) as connection:
        return connection.execute("SELECT version_num FROM alembic_version").fetchall()


def test_upgrade_head_starts_the_embedded_server_and_migrates(target, database, run):
    target.embedded.stop()
    done = run("upgrade", "head", real=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert version(database) == [("0004",)]
    assert run("check").stdout == "No new upgrade operations detected.\n"


def test_database_url_names_the_database(database, run):
    done = run("upgrade", "0001", DATABASE_URL=database.url, SEEDTOOL_DATABASE="nowhere")
    assert done.returncode == 0, done.stderr
    assert version(database) == [("0001",)]


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        ({"SEEDTOOL_DATABASE": "nowhere"}, "FAILED: the database nowhere does not exist. Run seedtool"),
        ({"DATABASE_URL": "mysql://u:secret@h/d"}, "FAILED: setting database_url: "),
    ],
)
def test_what_is_wrong_is_told_in_one_line(run, variables, message):
    done = run("upgrade", "head", **variables)
    told = done.stdout + done.stderr
    assert done.returncode != 0
    assert message in told
    assert "Traceback" not in told
    assert "secret" not in told


def test_the_sql_of_offline_mode_does_the_same(database, run):
    def apply(revisions: str) -> None:
        done = run("upgrade", revisions, "--sql", DATABASE_URL="postgresql://nobody@nowhere.invalid/nothing")
        assert done.returncode == 0, done.stderr
        with server.connect(database, autocommit=True) as connection:
            connection.execute(done.stdout)

    apply("0002")
    with server.connect(database) as connection:
        connection.execute(
            """INSERT INTO legal_guardians (id, first_name, last_name, identification_number, phone, email)
                   VALUES ('g', 'A', 'B', '1-9', '+56', 'a@b.example');
               INSERT INTO students (id, first_name, last_name, identification_number, guardian_id, enrollment_date)
                   VALUES ('s-1', 'A', 'B', '2-7', 'g', '2026-03-04');
               INSERT INTO student_faces (id, student_id, face_id, indexed_at)
                   VALUES ('b', 's-1', 'f', '2026-03-01'), ('a', 's-1', 'f', '2026-03-02')"""
        )
    apply("0002:head")
    assert run("check").returncode == 0
    with server.connect(database) as connection:
        found = connection.execute("SELECT id, external_image_id FROM student_faces ORDER BY id").fetchall()
    assert found == [("a", "s-1-photo-2"), ("b", "s-1-photo-1")]


def test_it_works_from_another_folder(database, run, tmp_path):
    done = run("-c", str(ROOT / "alembic.ini"), "upgrade", "0001", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert version(database) == [("0001",)]
