"""A schema that the application's own command builds, in place of Alembic."""

import contextlib
import os
import signal
import sys
import time

import pytest

from seedtool.errors import MigrationError, SettingsError
from seedtool.postgres import server
from seedtool.postgres.cluster import open_cluster
from seedtool.resetting.guard import Consent
from seedtool.resetting.reset import plan, reset
from seedtool.resetting.transaction import LeavesTransaction, one_transaction
from seedtool.schema.layer import Schema
from seedtool.settings import load
from seedtool.testing.databases import plain_url
from seedtool.workflows.doctor import examine
from seedtool.workflows.reset import migrate

#: An application with a command of its own: `app database upgrade` applies each .sql file once.
APP = """
import os, sys
from pathlib import Path
import psycopg
from steps_of_app import STEPS
assert sys.argv[1:] == ["database", "upgrade"], sys.argv
assert os.environ["PGDATABASE"] in os.environ["DATABASE_URL"]
assert "@/" in os.environ["DATABASE_URL"], "Django would take a host before the path, and not the socket"
for conninfo in (os.environ["DATABASE_URL"], ""):
    with psycopg.connect(conninfo) as connection:
        connection.execute("CREATE TABLE IF NOT EXISTS applied (step text PRIMARY KEY, database text)")
        for path in sorted(Path(STEPS).glob("*.sql")):
            if connection.execute("SELECT FROM applied WHERE step = %s", [path.name]).fetchone() is None:
                connection.execute(path.read_text())
                connection.execute("INSERT INTO applied VALUES (%s, current_database())", [path.name])
"""


@pytest.fixture
def project(tmp_path, database):
    """Write the application and return its settings."""

    def write(app=APP, command=f"'{sys.executable}' app.py database upgrade", paths='["app.py", "steps"]'):
        (tmp_path / "pyproject.toml").write_text(
            f'[tool.seedtool]\nbuild_command = "{command}"\nfingerprint_paths = {paths}\n'
        )
        (tmp_path / "app.py").write_text(app)
        (tmp_path / "steps_of_app.py").write_text("STEPS = 'steps'\n")
        (tmp_path / "steps").mkdir(exist_ok=True)
        (tmp_path / "steps/1.sql").write_text("CREATE TABLE ships (name text PRIMARY KEY)")
        return load(tmp_path, environ={"SEEDTOOL_HOME": f"{tmp_path}-state", "DATABASE_URL": plain_url(database)})

    yield write
    with open_cluster(database) as cluster:
        for each in cluster.private_databases():
            cluster.drop(each.name)


def ask(database, query):
    with server.connect(database) as connection:
        return connection.execute(query).fetchall()


def test_a_reset_runs_it_once_on_the_database_that_is_built(project, database):
    settings = project()

    def again():
        return reset(settings, database, [Schema(settings)], consent=Consent.NAME).built

    assert (again(), again()) == (True, False)
    [(step, built)] = ask(database, "SELECT * FROM applied")
    assert (step, built.startswith("seedtool_building_")) == ("1.sql", True)
    assert ask(database, "SELECT count(*) FROM ships") == [(0,)]
    (settings.root / "steps/2.sql").write_text("CREATE TABLE crews (name text)")
    assert (again(), again()) == (True, False)
    (settings.root / "steps_of_app.py").write_text("STEPS = 'steps'  # changed\n")
    assert again()
    assert ask(database, "SELECT step FROM applied ORDER BY 1") == [("1.sql",), ("2.sql",)]


def test_migrate_runs_it_on_the_target_and_doctor_knows_it(project, database):
    settings = project()
    migrate(settings=settings, target=database)
    assert ask(database, "SELECT database FROM applied") == [(database.name,)]
    checks = {check.name: check for check in examine(settings=settings)}
    assert checks["migrations"].state == checks["database"].state == "ok"
    assert "app.py database upgrade`; 2 files in fingerprint_paths" in checks["migrations"].detail


@pytest.mark.parametrize(
    ("app", "told"),
    [
        (
            "import sys\nprint('step 2 failed')\nprint('postgresql://u:hidden@h/d', file=sys.stderr)\nsys.exit(3)",
            "build_command failed with exit code 3:\n",
        ),
        ("def f():\n    raise ValueError('line 1\\nline 2')\nf()", "ValueError: line 1\nline 2"),
        ("import os, signal\nos.kill(os.getpid(), signal.SIGKILL)", "build_command was ended by signal 9"),
        ("pass", "is still empty"),
    ],
)
def test_when_it_fails_its_words_are_shown_and_nothing_has_changed(project, database, app, told):
    with server.connect(database) as connection:
        connection.execute("CREATE TABLE mine (a int)")
    settings = project(app)
    with pytest.raises(MigrationError) as raised:
        reset(settings, database, [Schema(settings)], consent=Consent.NAME)
    assert told in raised.value.message
    assert "hidden" not in raised.value.message
    assert raised.value.remedy
    assert ask(database, "SELECT * FROM mine") == []
    assert plan(database, [Schema(settings)]).template is None


@pytest.mark.parametrize("code", [0, 3])
def test_a_process_that_it_leaves_in_the_background_is_not_waited_for(project, database, code):
    leave = "import subprocess\nleft = subprocess.Popen(['sleep', '60'])\nopen('left', 'w').write(str(left.pid))\n"
    settings = project(f"{APP}{leave}print('the last line')\nsys.exit({code})")
    started = time.monotonic()
    with contextlib.ExitStack() as stack:
        if code:
            failed = stack.enter_context(pytest.raises(MigrationError))
        Schema(settings).build(database)
    assert time.monotonic() - started < 30
    os.kill(int((settings.root / "left").read_text()), signal.SIGKILL)
    assert not code or failed.value.message == "build_command failed with exit code 3:\nthe last line"


def test_a_program_that_is_not_there_is_told(project, database, approved):
    settings = project(command="no-such-program upgrade")
    with pytest.raises(MigrationError, match="no-such-program") as raised:
        Schema(settings).build(database)
    assert raised.value.place == {"setting": "build_command"}
    approved(raised.value)


def test_it_needs_the_files_that_shape_what_it_builds(project):
    with pytest.raises(SettingsError) as raised:
        Schema(project(paths="[]"))
    assert raised.value.place == {"setting": "build_command"}
    assert "fingerprint_paths = [" in raised.value.remedy


def test_it_cannot_share_the_one_transaction_of_a_rebuild_in_place(project, database):
    layer = Schema(project())
    with one_transaction(database) as connection, pytest.raises(LeavesTransaction, match="build_command"):
        layer.build_in_place(connection)
    assert layer.leaves_transaction() == ["build_command"]


@pytest.mark.parametrize("remembers", [True, False])
def test_an_edited_module_runs_as_it_is_whatever_its_time_says(project, database, remembers):
    settings = project()
    if remembers:
        settings.state_dir.mkdir(parents=True)
    module = settings.root / "steps_of_app.py"
    for text, table in (("STEPS = 'steps'\n", "ships"), ("STEPS = 'other'\n", "boats")):
        (settings.root / "other").mkdir(exist_ok=True)
        (settings.root / "other/1.sql").write_text("CREATE TABLE boats (a int)")
        module.write_text(text)
        os.utime(module, (1_700_000_000, 1_700_000_000))
        with server.connect(database) as connection:
            connection.execute("DROP SCHEMA public CASCADE; CREATE SCHEMA public")
        Schema(settings).build(database)
        assert ask(database, f"SELECT count(*) FROM {table}") == [(0,)]
    assert [path for path in settings.root.rglob("*.pyc") if settings.state_dir not in path.parents] == []
    # what is installed is compiled once
    assert any(path.name.startswith("psycopg") for path in settings.state_dir.rglob("psycopg*")) == remembers
