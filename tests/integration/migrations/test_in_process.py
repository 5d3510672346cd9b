"""seedtool.schema.migrations: Alembic in this process, on this repository and on other people's projects."""

import logging
import os
import subprocess
import sys
import threading
import uuid
from pathlib import Path

import msgspec
import pytest
from psycopg import sql

from seedtool.errors import DatabaseError, MigrationError
from seedtool.postgres import server
from seedtool.postgres.extensions import created_in
from seedtool.schema import migrations
from seedtool.settings import Settings, load
from seedtool.workflows.doctor import examine

ENV_GIVEN = """
from alembic import context
def run(connection):
    context.configure(connection=connection, target_metadata=None)
    with context.begin_transaction():
        context.run_migrations()
run(context.config.attributes["connection"])
"""
# what `alembic init` writes, in short
ENV_INI = """
from logging.config import fileConfig
from alembic import context
from sqlalchemy import engine_from_config, pool
config = context.config
fileConfig(config.config_file_name)
connectable = engine_from_config(config.get_section(config.config_ini_section), poolclass=pool.NullPool)
with connectable.connect() as connection:
    context.configure(connection=connection)
    with context.begin_transaction():
        context.run_migrations()
"""
ENV_VARIABLE = """
import os
from alembic import context
from sqlalchemy import create_engine, pool
from models import URL
with create_engine(URL, poolclass=pool.NullPool).connect() as connection:
    context.configure(connection=connection, version_table="versions", transaction_per_migration=True)
    with context.begin_transaction():
        context.run_migrations()
"""
INI = """
[alembic]
script_location = db
prepend_sys_path = .
sqlalchemy.url = postgresql://nobody:secret@localhost/production
"""
REVISION = """
from alembic import op, context
revision = "{revision}"
down_revision = {down!r}
def upgrade():
    {body}
def downgrade():
    pass
"""


def revision(number: int, body: str) -> dict[str, str]:
    down = f"r{number - 1}" if number > 1 else None
    return {f"db/versions/r{number}_step.py": REVISION.format(revision=f"r{number}", down=down, body=body)}


CREATE = revision(1, 'op.execute("CREATE TABLE t (a int PRIMARY KEY, email text UNIQUE)")')


@pytest.fixture
def project(tmp_path: Path):
    """Write a project's files and return its settings."""

    def write(files: dict[str, str]) -> Settings:
        for name, content in {"alembic.ini": INI, "db/env.py": ENV_GIVEN, **files}.items():
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content, encoding="utf-8")
        return load(tmp_path)

    return write


def tables(database) -> set[str]:
    with server.connect(database) as connection:
        found = connection.execute(
            "SELECT relname FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace"
        )
        return {name for (name,) in found}


@pytest.fixture
def process():
    """The process afterwards is as it was before."""

    def state() -> dict[str, object]:
        return {
            "folder": Path.cwd(),
            "path": list(sys.path),
            "environment": {key: value for key, value in os.environ.items() if key != "PYTEST_CURRENT_TEST"},
            "logging": (logging.root.level, list(logging.root.handlers), logging.root.manager.disable),
            "modules": {name for name in sys.modules if name.split(".")[0] in {"models", "migrations", "env_py", "db"}},
        }

    before = state()
    yield
    after = state()
    for name, value in before.items():
        assert after[name] == value, name


pytestmark = pytest.mark.usefixtures("process")


def test_this_repositorys_revisions_are_applied_and_told(database, settings, capsys):
    assert migrations.current(database, settings) == []
    assert tables(database) == set()
    assert migrations.upgrade(database, settings, "0001") == ["0000", "0001"]
    assert migrations.current(database, settings) == ["0001"]
    assert migrations.upgrade(database, settings) == ["0002", "0003", "0004"]
    assert migrations.upgrade(database, settings) == []
    assert migrations.current(database, settings) == migrations.heads(settings) == ["0004"]
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize("env", [ENV_GIVEN, ENV_INI, ENV_VARIABLE], ids=["attributes", "ini", "DATABASE_URL"])
def test_any_env_py_migrates_the_database_that_it_is_given(database, project, monkeypatch, env):
    monkeypatch.setenv("DATABASE_URL", "postgresql+psycopg://nobody:secret@localhost/production")
    settings = project({"db/env.py": env, "models.py": "import os\nURL = os.environ['DATABASE_URL']\n", **CREATE})
    assert migrations.upgrade(database, settings) == ["r1"]
    assert migrations.current(database, settings) == ["r1"]
    assert "t" in tables(database)


def test_what_env_py_prints_stays_off_stdout(database, project, capsys):
    settings = project(
        {"db/env.py": f"print('hello')\nimport logging\nlogging.getLogger('x').info('hi')\n{ENV_GIVEN}", **CREATE}
    )
    migrations.upgrade(database, settings)
    assert capsys.readouterr() == ("", "hello\n")


def test_arguments_reach_env_py_as_alembic_x(database, project):
    body = "op.execute(\"CREATE TABLE \" + context.get_x_argument(as_dictionary=True)['tenant'] + '()')"
    settings = msgspec.structs.replace(project(revision(1, body)), alembic_x=("tenant=blue",))
    migrations.upgrade(database, settings)
    assert "blue" in tables(database)


def test_two_projects_with_modules_of_one_name_do_not_meet(database, project, tmp_path_factory, settings):
    env = f"from models import TABLE\n{ENV_GIVEN}"
    body = 'import models; op.execute(f"CREATE TABLE {models.TABLE}()")'
    migrations.upgrade(database, project({"db/env.py": env, "models.py": "TABLE = 'one'", **revision(1, body)}))
    assert "models" not in sys.modules
    other = tmp_path_factory.mktemp("other")
    stranger = type(sys)("models")
    stranger.__file__ = str(other / "models.py")
    sys.modules["models"] = stranger
    try:
        changed = project({"models.py": "TABLE = 'two'", **revision(2, body)})
        migrations.upgrade(database, changed)
        assert sys.modules["models"] is stranger
    finally:
        del sys.modules["models"]
    assert {"one", "two"} < tables(database)


@pytest.fixture
def production(target):
    """Another database, of the kind that must not be touched."""
    name = f"production_{uuid.uuid4().hex[:8]}"
    with server.connect(target, target.maintenance, autocommit=True) as maintenance:
        maintenance.execute(
            sql.SQL("CREATE DATABASE {} TEMPLATE template0 STRATEGY file_copy").format(sql.Identifier(name))
        )
        yield msgspec.structs.replace(target, name=name, conninfo=target.conninfo_for(name))
        maintenance.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


@pytest.mark.parametrize("run", [migrations.upgrade, migrations.current])
def test_another_database_is_never_migrated(database, project, production, monkeypatch, run):
    monkeypatch.setenv("APP_DATABASE", production.url)
    env = ENV_VARIABLE.replace("models import URL", "os import environ").replace("URL,", "environ['APP_DATABASE'],")
    settings = project({"db/env.py": env, **CREATE})
    with pytest.raises(MigrationError) as raised:
        run(database, settings)
    assert raised.value.place == {"database": production.name}
    assert "DATABASE_URL" in raised.value.remedy
    assert tables(production) == set()
    assert tables(database) == set()


def test_a_failing_revision_is_named_with_its_file_and_the_databases_words(database, project, approved):
    files = {**CREATE, **revision(2, "op.execute(\"INSERT INTO t VALUES (1, 'ana@x'), (2, 'ana@x')\")")}
    with pytest.raises(MigrationError) as raised:
        migrations.upgrade(database, project(files))
    place = {"revision": "r2", "file": "db/versions/r2_step.py", "code": "23505"}  # unique_violation
    assert raised.value.place == place
    assert "ana@x" not in raised.value.message
    approved(raised.value)
    assert tables(database) == set()


@pytest.mark.parametrize(
    "files",
    [
        pytest.param(revision(1, 'op.execute("SELECT nonsense")'), id="a column that there is not"),
        pytest.param(revision(1, "op.execute(\"SELECT cast('María' AS int)\")"), id="a value of a wrong type"),
        pytest.param(revision(1, "1 / 0"), id="an exception"),
        pytest.param(revision(1, "def"), id="a revision that is no Python"),
        pytest.param({"db/env.py": "import nowhere_at_all", **CREATE}, id="a module that there is not"),
        pytest.param({"db/env.py": "pass", **CREATE}, id="an env.py that does nothing"),
        pytest.param(revision(1, "raise SystemExit('no tenant')"), id="a revision that ends the program"),
        pytest.param({"db/env.py": "import sys; sys.exit(3)", **CREATE}, id="an env.py that ends the program"),
        pytest.param({**CREATE, "db/versions/x.py": "revision = 'x'\ndown_revision = 'gone'"}, id="a missing revision"),
        pytest.param({"db/versions/readme.txt": ""}, id="no revisions"),
        pytest.param({"alembic.ini": "[alembic]\n"}, id="no script_location"),
        pytest.param({"alembic.ini": "[alembic]\nscript_location = gone\n"}, id="a script_location that there is not"),
    ],
)
def test_what_is_wrong_with_a_project_is_told(database, project, files, approved):
    with pytest.raises(MigrationError) as raised:
        migrations.upgrade(database, project(files))
    assert "María" not in raised.value.message
    assert raised.value.remedy
    approved(raised.value)


@pytest.mark.parametrize(
    "statement",
    [
        'CREATE EXTENSION IF NOT EXISTS "uuid-ossp"',
        "CREATE EXTENSION pgcrypto",
        "CREATE EXTENSION postgis",
        "CREATE TABLE x AS SELECT xml '<a/>' AS a",
        "CREATE COLLATION x (provider = icu, locale = 'de')",
    ],
)
def test_what_the_embedded_server_lacks_is_told_with_what_is_there_instead(database, project, statement, approved):
    with pytest.raises(MigrationError) as raised:
        migrations.upgrade(database, project(revision(1, f"op.execute({statement!r})")))
    assert (raised.value.place["revision"], raised.value.place["file"]) == ("r1", "db/versions/r1_step.py")
    assert "DATABASE_URL" in raised.value.remedy
    approved(raised.value)


def test_what_another_server_lacks_is_its_administrators_to_install(database, project, approved):
    settings = msgspec.structs.replace(
        project(revision(1, "op.execute('CREATE EXTENSION postgis')")), database_url=database.url
    )
    with pytest.raises(MigrationError, match="postgis") as raised:
        migrations.upgrade(database, settings)
    assert (raised.value.place["revision"], raised.value.place["file"]) == ("r1", "db/versions/r1_step.py")
    approved(raised.value)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (r"""op.execute("CREATE EXTENSION IF NOT EXISTS \"uuid-ossp\"")""", {"uuid-ossp"}),
        ('op.execute("create extension PostGIS; CREATE EXTENSION hstore SCHEMA x")', {"postgis", "hstore"}),
        ('CREATE EXTENSION "uuid-ossp";', {"uuid-ossp"}),
        ("op.execute(f'CREATE EXTENSION {name}')", set()),
        ("# CREATE EXTENSION postgis\n-- CREATE EXTENSION hstore", set()),
        ("op.execute('DROP EXTENSION hstore')", set()),
    ],
)
def test_extensions_are_found_in_the_text_of_a_revision(text, found):
    assert created_in(text.encode()) == found


def test_doctor_compares_the_extensions_before_anything_runs(database, project):
    files = revision(1, "op.execute('CREATE EXTENSION hstore; CREATE EXTENSION postgis')")
    settings = msgspec.structs.replace(project(files), database_url=database.url)
    checks = {check.name: check for check in examine(settings=settings)}
    assert checks["server"].state == "wrong"
    detail = "the server has no extension postgis, which the migrations create (db/versions/r1_step.py)"
    assert detail in checks["server"].detail
    assert "administrator" in checks["server"].cure
    assert tables(database) == set()


@pytest.mark.parametrize(
    ("env", "cure"),
    [
        (ENV_VARIABLE.replace("URL,", "'postgresql+pg8000://u@h/x',"), "pip install pg8000"),
        (ENV_VARIABLE.replace("URL,", "'postgresql+psycopg://u@127.0.0.1:1/x',"), "sqlalchemy.url"),
        ("import os; os.environ['APP_DSN']", "let it name the target"),
        ("from flask import current_app; current_app.config", "app_context()"),
    ],
)
def test_what_an_env_py_lacks_is_told_with_the_cure(database, project, env, cure):
    settings = project({"db/env.py": env, "models.py": "URL = ''", **CREATE})
    with pytest.raises(MigrationError) as raised:
        migrations.upgrade(database, settings)
    assert raised.value.place["file"] == "db/env.py"
    assert f"db/env.py:{raised.value.place['line']}: " in raised.value.message
    assert cure in raised.value.remedy


def test_two_heads_where_one_was_asked_for_are_told(database, project):
    settings = project(
        {**CREATE, "db/versions/x.py": REVISION.format(revision="x", down="r1", body="pass"), **revision(2, "pass")}
    )
    with pytest.raises(MigrationError, match=r"\bhead\b") as raised:
        migrations.upgrade(database, settings, "head")
    assert "alembic history" in raised.value.remedy
    assert sorted(migrations.upgrade(database, settings)) == ["r1", "r2", "x"]
    assert migrations.current(database, settings) == migrations.heads(settings) == ["r2", "x"]


def test_a_revision_that_nobody_knows_is_told(database, settings):
    with pytest.raises(MigrationError, match="9999"):
        migrations.upgrade(database, settings, "9999")


def test_an_env_py_that_forgets_to_commit_is_found_out(database, project):
    env = ENV_GIVEN.replace(
        "    with context.begin_transaction():\n        context.run_migrations()",
        "    connection.begin()\n    context.run_migrations()",
    )
    with pytest.raises(MigrationError) as raised:
        migrations.upgrade(database, project({"db/env.py": env, **CREATE}))
    assert "context.begin_transaction()" in raised.value.remedy


def test_pyproject_alone_may_configure_alembic(database, project):
    settings = project({"pyproject.toml": '[tool.alembic]\nscript_location = "%(here)s/db"\n', **CREATE})
    settings.alembic_ini.unlink()
    assert migrations.upgrade(database, settings) == ["r1"]
    assert migrations.heads(settings) == ["r1"]


def test_a_database_that_does_not_exist_is_told(target, settings):
    with pytest.raises(DatabaseError) as raised:
        migrations.upgrade(target.at("nowhere"), settings)
    assert raised.value.place == {"database": "nowhere"}


def test_a_lost_connection_is_told_with_the_revision(database, project):
    body = 'op.execute("SELECT pg_terminate_backend(pg_backend_pid())")'
    with pytest.raises(MigrationError) as raised:
        migrations.upgrade(database, project(revision(1, body)))
    place = {"revision": "r1", "file": "db/versions/r1_step.py", "code": "57P01"}  # admin_shutdown
    assert raised.value.place == place


def test_two_threads_take_turns(database, settings):
    results: list[list[str]] = []
    threads = [
        threading.Thread(target=lambda: results.append(migrations.upgrade(database, settings))) for _ in range(2)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(results) == [[], ["0000", "0001", "0002", "0003", "0004"]]


def test_the_import_is_light():
    code = (
        "import sys, seedtool.schema.migrations, seedtool.schema.schema_files;"
        "print({'alembic', 'sqlalchemy', 'mako', 'boto3', 'rich'} & {name.split('.')[0] for name in sys.modules})"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout == "set()\n"
