"""Code of a project runs as it is written now, whatever its modification time says."""

import os
import subprocess
import sys
import textwrap

import pytest

from seedtool.files.code import run_from_text
from seedtool.postgres import server
from seedtool.schema.layer import Schema
from seedtool.settings import load

ENV = """
from alembic import context
connection = context.config.attributes["connection"]
context.configure(connection=connection)
with context.begin_transaction():
    context.run_migrations()
"""
REVISION = """
from alembic import op
from tables import NAME
revision, down_revision = "1", None
def upgrade():
    op.execute(f"CREATE TABLE {NAME} (id int)")
    op.execute("CREATE TABLE own_red (id int)")
"""


@pytest.fixture
def write(tmp_path):
    """Write a file of the project with the time that all its files have."""

    def writing(name, text):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        os.utime(path, (1_700_000_000, 1_700_000_000))

    return writing


@pytest.fixture
def alembic_project(tmp_path, write, database, monkeypatch):
    monkeypatch.delenv("PYTHONDONTWRITEBYTECODE", raising=False)
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    write("alembic.ini", "[alembic]\nscript_location = %(here)s/db\nprepend_sys_path = .\npath_separator = os\n")
    write("db/env.py", ENV)
    write("db/versions/1.py", REVISION)
    write("tables.py", "NAME = 'red_'\n")
    return load(tmp_path, environ={"HOME": str(tmp_path), "DATABASE_URL": database.conninfo})


def tables(database):
    with server.connect(database) as connection:
        found = connection.execute("SELECT relname FROM pg_class WHERE oid >= 16384 AND relkind = 'r'").fetchall()
        return {name for (name,) in found} - {"alembic_version"}


def emptied(database):
    with server.connect(database) as connection:
        connection.execute("DROP SCHEMA public CASCADE; CREATE SCHEMA public")


def test_an_edited_module_and_an_edited_revision_run_as_they_are(alembic_project, database, write, tmp_path):
    Schema(alembic_project).build(database)
    assert tables(database) == {"red_", "own_red"}
    emptied(database)
    write("tables.py", "NAME = 'blue'\n")
    write("db/versions/1.py", REVISION.replace("own_red", "own_sea"))
    Schema(alembic_project).build(database)
    assert tables(database) == {"blue", "own_sea"}
    assert list(tmp_path.rglob("*.pyc")) == []


def test_what_another_program_has_compiled_is_not_read(alembic_project, database, write, tmp_path):
    environ = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    subprocess.run([sys.executable, "-m", "compileall", "-q", str(tmp_path)], check=True, env=environ)
    assert list(tmp_path.rglob("*.pyc"))
    write("tables.py", "NAME = 'blue'\n")
    Schema(alembic_project).build(database)
    assert tables(database) == {"blue", "own_red"}


def test_a_module_that_a_fixture_imports(tmp_path, write, monkeypatch):
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    write("seeds/local/pupils.py", "from names_of_pupils import NAMES\ndef rows():\n    yield {'name': NAMES[0]}\n")
    for name in ("Ana", "Eva"):
        write("names_of_pupils.py", f"NAMES = ['{name}']\n")
        code = textwrap.dedent(
            """
            import sys
            from pathlib import Path
            from seedtool.seeding.fixtures import read_fixtures
            root = Path(sys.argv[1])
            fixtures = read_fixtures(root / "seeds", ["local"], root)
            print(fixtures.files[0].batches[0].rows[0][0])
            """
        )
        environ = {key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}
        done = subprocess.run(
            [sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=True, env=environ
        )
        assert done.stdout.strip() == name
    assert list(tmp_path.rglob("*.pyc")) == []


def test_packages_installed_below_the_project_are_loaded_as_usual(tmp_path, write, monkeypatch):
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    write(".venv/lib/site-packages/installed_thing.py", "VALUE = 1\n")
    monkeypatch.syspath_prepend(tmp_path / ".venv/lib/site-packages")
    with run_from_text(tmp_path):
        import installed_thing  # noqa: F401
    del sys.modules["installed_thing"]
    assert [path.name.split(".")[0] for path in tmp_path.rglob("*.pyc")] == ["installed_thing"]
