"""Adoption: `seedtool init` in projects that know nothing of seedtool (tests/projects)."""

import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from seedtool.settings import load

BIN = Path(sys.executable).parent
TESTS = Path(__file__).resolve().parents[1]
PORTRAIT = TESTS.parent / "seeds/photos/students/student-001/photo-1.jpg"


@pytest.fixture
def adopt(bare, tmp_path_factory):
    """Copy a project of tests/projects and have seedtool adopt it; the commands then run there."""
    projects = []

    def copy(name):
        root = tmp_path_factory.mktemp("projects") / name
        shutil.copytree(TESTS / "projects" / name, root)
        projects.append(type(bare)(root))
        return projects[-1]

    yield copy
    for project in projects:
        project.stop()


def files(project):
    return {
        str(path.relative_to(project.root)): path.read_bytes()
        for path in project.root.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }


def test_a_project_without_faces_is_adopted_and_seeded(adopt):
    library = adopt("library")
    before = files(library)
    first = library.ok("init")
    assert "wrote  [tool.seedtool] in pyproject.toml" in first.out
    assert "wrote  seeds/local/authors.csv" in first.out
    assert "tables with faces" not in first.out
    after = files(library)
    settings = after.pop("pyproject.toml")
    assert settings.startswith(before.pop("pyproject.toml"))
    assert before.items() <= after.items()
    assert after.keys() - before.keys() == {"seeds/profiles.toml", "seeds/local/authors.csv"}
    assert (after["seeds/local/authors.csv"], load(library.root).aws) == (b"id,name,born\n", "embedded")

    again = library.ok("init")
    assert "wrote" not in again.out
    assert again.out.count("kept") == 3
    assert files(library) == {**after, "pyproject.toml": settings}

    authors = library.root / "seeds/local/authors.csv"
    authors.write_text("id,name,born\n1,Gabriela Mistral,1889-04-07\n", encoding="utf-8")
    (library.root / "seeds/local/books.csv").write_text("isbn,author_id,title\n1,1,Tala\n", encoding="utf-8")
    command = again.out.splitlines()[-1].removeprefix("then: seedtool ")
    assert command == "db-reset --seed local"  # what init made holds nothing that could be lost
    assert "2 rows" in library.ok(command).out
    refused = library.run(command)
    assert (refused.code, "--yes" in refused.err) == (3, True)
    assert library.query("SELECT name, title FROM books JOIN authors ON author_id = id") == [
        ("Gabriela Mistral", "Tala")
    ]
    doctor = library.ok("doctor")
    assert "everything is in order" in doctor.out
    assert "no table is bound to faces" in doctor.out
    for command in ("sync-faces", "enroll --all"):
        refused = library.run(command)
        assert refused.code == 2
        assert "[[tool.seedtool.faces]]" in refused.err


def test_a_project_with_faces_goes_from_adoption_to_recognition(adopt):
    dojo = adopt("dojo")
    assert "tables with faces: student_photos" in dojo.ok("init").out
    assert "wrote" not in dojo.ok("init").out
    (dojo.root / "seeds/local/students.csv").write_text("id,name\nana,Ana\n", encoding="utf-8")
    dojo.ok("db-reset --yes --seed local")
    assert "does not exist yet, and no row needs it" in dojo.ok("doctor").out
    dojo.ok("enroll --all")
    enrolled = dojo.ok("enroll ana", PORTRAIT)
    header, line = enrolled.out.split("seeds/local/student_photos.csv:\n")[1].splitlines()
    assert "seedtool seed-dump --table student_photos" in enrolled.out
    (dojo.root / "seeds/local/student_photos.csv").write_text(f"{header}\n{line}\n", encoding="utf-8")
    dojo.ok("db-reset --yes --seed full")
    assert "Ana (ana)" in dojo.ok("recognize", PORTRAIT).out
    assert "everything is in order" in dojo.ok("doctor").out


def test_init_wants_an_alembic_project(bare):
    (bare.root / "alembic.ini").unlink()
    done = bare.run("init")
    assert done.code == 1
    assert "alembic init" in done.err
    before = files(bare)
    assert files(bare) == before


def test_init_writes_what_it_can_and_shows_what_failed(adopt):
    library = adopt("library")
    (library.root / "alembic/versions/3c.py").write_text("def upgrade(:\n", encoding="utf-8")
    done = library.run("init")
    assert done.code == 1
    assert "wrote  [tool.seedtool] in pyproject.toml\nwrote  seeds/profiles.toml\n" in done.out
    assert "run seedtool init again" in done.out
    assert "alembic/versions/3c.py:1: SyntaxError" in done.err
    (library.root / "alembic/versions/3c.py").unlink()
    assert "wrote  seeds/local/authors.csv" in library.ok("init").out


@pytest.fixture
def dojo(adopt):
    """A project whose database holds a row, to see whether it stays."""
    project = adopt("dojo")
    project.ok("db-reset --yes")
    project.query("INSERT INTO students (id, name) VALUES ('ana', 'Ana')")
    return project


REVISION = """
from alembic import op
revision, down_revision = "0002", "0001"
def upgrade():
    {}
"""


@pytest.mark.parametrize(
    ("file", "text", "told"),
    [
        ("db/versions/0002.py", "def upgrade(:", "db/versions/0002.py:1: SyntaxError"),
        (
            "db/versions/0002.py",
            REVISION.format('op.execute("SELECT nonsense")'),
            "revision 0002 (db/versions/0002.py) failed: column",
        ),
        ("db/env.py", "import sys; sys.exit('set TENANT')", "db/env.py:1: it ended the program: set TENANT"),
    ],
    ids=["syntax", "sql", "exit"],
)
def test_a_failure_leaves_target_and_cache_as_they_were(dojo, file, text, told):
    databases = "SELECT array_agg(datname ORDER BY oid) FROM pg_database WHERE datname !~ 'spare'"
    before = dojo.query(databases)
    (dojo.root / file).write_text(text, encoding="utf-8")
    done = dojo.run("db-reset --yes")
    assert (done.code, done.out) == (1, "")
    assert told in done.err
    assert "Traceback" not in done.err
    assert dojo.query("SELECT id FROM students") == [("ana",)]
    assert settled(dojo, databases, before)


def test_ctrl_c_while_a_revision_waits_leaves_target_and_cache_as_they_were(dojo):
    databases = "SELECT array_agg(datname ORDER BY oid) FROM pg_database WHERE datname !~ 'spare'"
    before = dojo.query(databases)
    (dojo.root / "db/versions/0002.py").write_text(
        REVISION.format('op.execute("SELECT pg_sleep(60)")'), encoding="utf-8"
    )
    running = subprocess.Popen(
        [BIN / "seedtool", "db-reset", "--yes"], cwd=dojo.root, stderr=subprocess.PIPE, text=True
    )
    with running:
        assert settled(dojo, "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep'", [(1,)])
        running.send_signal(signal.SIGINT)
        _, err = running.communicate(timeout=30)
    assert (running.returncode, err.splitlines()[-1]) == (130, "interrupted")
    assert dojo.query("SELECT id FROM students") == [("ana",)]
    assert settled(dojo, databases, before)


def settled(project, query, expected):
    """Whether a query comes to give what is expected: the server drops databases without anybody waiting."""
    for _ in range(500):
        if project.query(query) == expected:
            return True
        time.sleep(0.02)
    return project.query(query) == expected
